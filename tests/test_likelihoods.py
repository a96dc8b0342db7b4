"""Likelihoods and prior agree with SciPy's distributions and with their own samples."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.sparse import csr_matrix
from torch.distributions import NegativeBinomial, Poisson
from torch.testing import assert_close

from skvae._data.units import Marginals
from skvae._torch import TorchDispatchMode
from skvae.likelihoods import (
    LIKELIHOODS,
    BernoulliLikelihood,
    CategoricalLikelihood,
    GaussianLikelihood,
    Likelihood,
    LogPoisson,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from skvae.priors import StandardNormal

N_FEATURES = 4
N_CATEGORIES = [2, 3, 1, 4]
COUNTS = ["poisson", "negative_binomial"]
TOTALS = [f"{name}, exposure" for name in COUNTS]


def mixed(n_features):
    """Parts in another order than their columns; the columns from the fourth on are counts."""
    parts = [(BernoulliLikelihood(1), [1]), (GaussianLikelihood(1), [0])]
    parts.append((CategoricalLikelihood([3]), [2]))
    return MixedLikelihood([*parts, (PoissonLikelihood(n_features - 3), range(3, n_features))])


EVERY = LIKELIHOODS | {
    "categorical": lambda n_features: CategoricalLikelihood(
        (N_CATEGORIES * n_features)[:n_features]
    ),
    "poisson, exposure": partial(PoissonLikelihood, exposure="total"),
    "negative_binomial, exposure": partial(NegativeBinomialLikelihood, exposure="total"),
    "mixed": mixed,
}
every = pytest.mark.parametrize("name", EVERY)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(name, n_features=N_FEATURES):
    """A likelihood in double precision with parameters drawn at random."""
    likelihood = EVERY[name](n_features).double()
    with torch.no_grad():
        for i, parameter in enumerate(likelihood.parameters()):
            parameter.add_(0.1 * normal(*parameter.shape, seed=7 + i))
    return likelihood


def outputs_of(likelihood, *leading):
    return normal(*leading, likelihood.n_outputs)


def data(name, n_rows=6, n_features=N_FEATURES):
    rng = np.random.default_rng(1)
    real, counts = rng.normal(size=(n_rows, n_features)), rng.poisson(2.0, (n_rows, n_features))
    numbers = rng.integers((N_CATEGORIES * n_features)[:n_features], size=(n_rows, n_features))
    if name == "mixed":
        x = np.column_stack([real[:, 0], real[:, 1] > 0, counts[:, 2] % 3, counts[:, 3:]])
    else:
        x = {"gaussian": real, "student_t": real, "bernoulli": real > 0, "categorical": numbers}
        x = x.get(name, counts)
    return torch.from_numpy(x.astype(float))


class Multinomial:
    """SciPy's multinomial of a single draw, as a distribution over numbers of categories."""

    def __init__(self, probs):
        self.probs = probs  # (n_samples, n_features, most categories)

    def logpmf(self, x):
        one_hot = np.eye(self.probs.shape[-1])[x.astype(int)]
        return stats.multinomial(1, self.probs).logpmf(one_hot)

    def mean(self):
        return self.probs.argmax(-1)

    def moments(self):
        numbers = np.arange(self.probs.shape[-1])
        mean = self.probs @ numbers
        return mean, self.probs @ numbers**2 - mean**2


def scipy_distribution(name, likelihood, outputs, x=None):
    """SciPy's distribution; with exposure, at the totals of `x` or else at the median total."""
    o = outputs.detach().numpy()
    p = {k: v.detach().numpy() for k, v in likelihood.named_parameters()}
    if name in ("gaussian", "student_t"):
        scale = likelihood.scale().detach().numpy()
        if name == "gaussian":
            return stats.norm(o, scale)
        return stats.t(likelihood.df().detach().numpy(), o, scale)
    if name == "bernoulli":
        return stats.bernoulli(special.expit(o + p["bias"]))
    if name == "categorical":
        ends = np.cumsum(N_CATEGORIES)[:-1]
        probs = [special.softmax(part, axis=-1) for part in np.split(o + p["bias"], ends, axis=-1)]
        most = max(N_CATEGORIES)
        return Multinomial(
            np.stack([np.pad(q, ((0, 0), (0, most - q.shape[1]))) for q in probs], axis=1)
        )
    rate = np.exp(o + p["log_mean"])
    if name in TOTALS:
        total = np.exp(likelihood.log_total[0].item()) if x is None else x.sum(1, keepdims=True)
        rate = total * special.softmax(o + p["log_mean"], axis=-1)
    if name.startswith("poisson"):
        return stats.poisson(rate)
    shape = 1 / likelihood.dispersion().detach().numpy()
    return stats.nbinom(shape, shape / (shape + rate))


single = pytest.mark.parametrize("name", [name for name in EVERY if name != "mixed"])


# -- every likelihood ----------------------------------------------------------------------


@single
def test_log_prob_is_scipys(name):
    likelihood, x = make(name), data(name)
    outputs = outputs_of(likelihood, 6)
    theirs = scipy_distribution(name, likelihood, outputs, x.numpy())
    log_density = theirs.logpdf if name in ("gaussian", "student_t") else theirs.logpmf
    ours = likelihood(outputs).log_prob(x).detach().numpy()
    np.testing.assert_allclose(ours, log_density(x.numpy()).sum(1), rtol=1e-10)


@single
def test_mean_is_scipys(name):
    likelihood = make(name)
    outputs = outputs_of(likelihood, 6)
    ours = likelihood(outputs).mean.detach().numpy()
    np.testing.assert_allclose(
        ours, scipy_distribution(name, likelihood, outputs).mean(), rtol=1e-10
    )


@single
def test_samples_have_the_mean_and_variance(name):
    n_draws = 20_000
    likelihood = make(name)
    outputs = outputs_of(likelihood, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = likelihood(outputs).sample((n_draws,)).numpy()
    theirs = scipy_distribution(name, likelihood, outputs)
    mean, variance = theirs.moments() if name == "categorical" else (theirs.mean(), theirs.var())
    error = 5 * np.sqrt(variance / n_draws)  # 5 standard errors
    assert (abs(draws.mean(0) - mean) <= error).all()
    heavy = name == "student_t"  # its samples' variance converges slowly
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.5 if heavy else 0.1)


@every
def test_its_samples_are_in_its_support(name):
    likelihood = make(name)
    likelihood.check_support(likelihood(outputs_of(likelihood, 500)).sample().numpy())


@every
def test_a_row_is_one_event(name):
    likelihood = make(name)
    p = likelihood(outputs_of(likelihood, 6))
    assert p.batch_shape == (6,)
    assert p.event_shape == (N_FEATURES,)
    assert p.sample().shape == p.mean.shape == (6, N_FEATURES)
    assert p.sample((3, 2)).shape == (3, 2, 6, N_FEATURES)


@every
def test_codes_may_have_several_leading_axes(name):
    likelihood, x = make(name), data(name)
    outputs = outputs_of(likelihood, 3, 6)
    ours = likelihood(outputs).log_prob(x)
    assert_close(ours, torch.stack([likelihood(one).log_prob(x) for one in outputs]))


@every
def test_gradients_agree_with_finite_differences(name):
    likelihood, x = make(name), data(name)
    outputs = outputs_of(likelihood, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda o: likelihood(o).log_prob(x), outputs)


@every
@pytest.mark.parametrize("far", [50.0, 1000.0])
@pytest.mark.parametrize("missing", [False, True])
def test_gradients_are_finite_far_out(name, far, missing):
    likelihood = EVERY[name](N_FEATURES)
    likelihood.missing = missing
    outputs = far * torch.sign(outputs_of(likelihood, 2).float())
    for sign in (1, -1):
        o = (sign * outputs).requires_grad_()
        x = data(name, 2).float()
        if missing:
            x[0], x[1, 1] = torch.nan, torch.nan
        log_prob = likelihood(o).log_prob(x)
        gradients = torch.autograd.grad(log_prob.sum(), [o, *likelihood.parameters()])
        assert log_prob.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


@every
def test_parameters_are_finite_and_trainable_after_start(name):
    likelihood = EVERY[name](N_FEATURES)
    likelihood.start(Marginals(data(name).numpy()))
    assert all(parameter.requires_grad for parameter in likelihood.parameters())
    assert all(parameter.isfinite().all() for parameter in likelihood.parameters())


@every
def test_after_start_it_has_the_means_of_the_data(name):
    x = data(name, 4000)
    likelihood = EVERY[name](N_FEATURES).double()
    likelihood.start(Marginals(x.numpy()))
    units = likelihood.units(Marginals(x.numpy()))
    p = likelihood(torch.zeros(1, likelihood.n_outputs).double())
    mean = p.mean[0].detach().numpy() * units[1] + units[0]
    if name in ("categorical", "mixed"):  # the most frequent category
        for j in {"mixed": [2]}.get(name, range(N_FEATURES)):
            assert mean[j] == np.bincount(x[:, j].int()).argmax()
    if name != "categorical":
        columns = [0, 1, 3] if name == "mixed" else range(N_FEATURES)
        np.testing.assert_allclose(mean[columns], x.numpy().mean(0)[columns], rtol=0.05, atol=0.05)


@every
def test_start_raises_the_log_prob_of_the_data(name):
    x = 3 * data(name, 400) + 1 if name == "gaussian" else data(name, 400)
    marginals = Marginals(x.numpy())
    likelihood = EVERY[name](N_FEATURES).double()
    zeros = torch.zeros(400, likelihood.n_outputs).double()
    offset, scale = (torch.from_numpy(u) for u in likelihood.units(marginals))
    units = (x - offset) / scale
    before = likelihood(zeros).log_prob(units).mean()
    likelihood.start(marginals)
    assert likelihood(zeros).log_prob(units).mean() >= before - 0.05


@every
@pytest.mark.parametrize("row", [[0], [0, 0]])
def test_log_prob_and_input_are_finite_after_start_at_constant_columns(name, row):
    likelihood = EVERY[name](N_FEATURES)
    likelihood.start(Marginals(np.zeros((len(row), N_FEATURES))))
    p = likelihood(torch.zeros(1, likelihood.n_outputs))
    assert p.log_prob(torch.zeros(1, N_FEATURES)).isfinite().all()
    assert likelihood.see(torch.zeros(1, N_FEATURES)).isfinite().all()


@every
def test_the_encoders_input_is_of_order_1(name):
    x = data(name, 400).numpy()
    x = 50 * x if name in ("gaussian", "student_t", *COUNTS, *TOTALS) else x
    likelihood = EVERY[name](N_FEATURES).double()
    marginals = Marginals(x)
    likelihood.start(marginals)
    offset, scale = likelihood.units(marginals)
    seen = likelihood.see(torch.from_numpy((x - offset) / scale))
    assert seen.shape == (400, likelihood.n_seen)
    assert seen.mean(0).abs().max() <= 1
    assert seen.std(0).max() < 1.5


# -- missing cells -------------------------------------------------------------------------


def with_gaps(name, n_rows=6):
    x = data(name, n_rows)
    there = torch.from_numpy(np.random.default_rng(2).random(x.shape) < 0.6)
    return x.where(there, torch.nan), there


@every
def test_with_nothing_missing_rows_have_the_same_log_prob(name):
    likelihood, x = make(name), data(name)
    outputs = outputs_of(likelihood, 6)
    complete = likelihood(outputs).log_prob(x)
    likelihood.missing = True
    assert_close(likelihood(outputs).log_prob(x), complete)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in TOTALS])
def test_log_prob_of_a_row_is_the_sum_over_its_cells(name):
    likelihood, x = make(name), data(name)
    likelihood.missing = True
    p = likelihood(outputs_of(likelihood, 6))
    cells = [
        p.log_prob(x.where(torch.arange(N_FEATURES) == j, torch.nan)) for j in range(N_FEATURES)
    ]
    assert_close(p.log_prob(x), sum(cells))
    x, there = with_gaps(name)
    assert_close(p.log_prob(x), (torch.stack(cells, 1) * there).sum(1))


@every
def test_log_prob_of_a_row_without_any_cell_is_0(name):
    likelihood = make(name)
    likelihood.missing = True
    nothing = torch.full((2, N_FEATURES), torch.nan).double()
    assert likelihood(outputs_of(likelihood, 2)).log_prob(nothing).tolist() == [0.0, 0.0]


@every
def test_the_encoder_sees_which_cells_are_there(name):
    likelihood, (x, there) = make(name), with_gaps(name)
    likelihood.missing = True
    inputs = likelihood.inputs(x)
    assert inputs.shape == (6, likelihood.n_inputs)
    assert inputs.isfinite().all()
    assert torch.equal(inputs[:, likelihood.n_seen :], there.double())


@every
def test_there_is_no_mask_if_no_cells_are_missing(name):
    likelihood, x = make(name), data(name)
    assert likelihood.n_inputs == likelihood.n_seen
    assert_close(likelihood.inputs(x), likelihood.see(x))


@every
def test_support_and_start_ignore_missing_cells(name):
    x = data(name, 400)
    likelihood, complete = EVERY[name](N_FEATURES), EVERY[name](N_FEATURES)
    gaps = np.insert(x.numpy(), [0, 100], np.nan, axis=0)
    likelihood.check_support(gaps)
    likelihood.start(Marginals(gaps))
    complete.start(Marginals(x.numpy()))
    for pair in zip(likelihood.parameters(), complete.parameters(), strict=True):
        assert_close(*pair, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("name", TOTALS)
def test_shares_of_a_row_with_missing_cells_are_those_of_its_other_cells(name):
    # The same as under a likelihood of the other columns only.
    likelihood, x = make(name), data(name)
    likelihood.missing = True
    outputs = outputs_of(likelihood, 6)
    x[:, 0] = torch.nan
    others = EVERY[name](N_FEATURES - 1).double()
    others.load_state_dict(
        {k: v if k == "log_total" else v[1:] for k, v in likelihood.state_dict().items()}
    )
    assert_close(likelihood(outputs).log_prob(x), others(outputs[:, 1:]).log_prob(x[:, 1:]))


def test_the_base_class_accepts_all_data_and_has_no_distribution():
    likelihood = Likelihood(3)
    likelihood.check_support(np.array([[-1e300, 0.0, 1e300]]))
    likelihood.start(Marginals(np.zeros((1, 3))))
    with pytest.raises(NotImplementedError):
        likelihood(torch.zeros(1, 3))


# -- support -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bernoulli", -0.5, "from 0 to 1; got values from -0.5 to 0"),
        ("bernoulli", 255.0, "from 0 to 1; got values from 0 to 255"),
        ("bernoulli", -1e-9, "from 0 to 1; got values from -1e-09 to 0"),
        ("poisson", -1.0, "counts, whole numbers from 0 on; got -1"),
        ("poisson", 2.5, "counts, whole numbers from 0 on; got 2.5"),
        ("negative_binomial", 0.1, "counts, whole numbers from 0 on; got 0.1"),
        ("categorical", 5.0, "from 0 to 2 in column 1; got values from 0 to 5"),
        ("categorical", 0.5, "from 0 to 2 in column 1; got values from 0 to 0.5"),
        ("categorical", -1.0, "from 0 to 2 in column 1; got values from -1 to 0"),
    ],
)
def test_data_outside_the_support_are_refused_by_name(form, name, value, message):
    X = np.zeros((3, N_FEATURES))
    X[1, 1] = value
    with pytest.raises(ValueError, match=f"likelihood='{name}' takes .*{message}"):
        EVERY[name](N_FEATURES).check_support(form(X))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bernoulli", [0.0, 1.0]),
        ("bernoulli", [0.3, 0.7]),
        ("gaussian", [-1e300, 1e300]),
        ("student_t", [-1e300, 1e300]),
        ("poisson", [0.0, 1e6]),
        ("negative_binomial", [0.0, 1e6]),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_data_in_the_support_are_accepted(form, name, values):
    EVERY[name](2).check_support(form([values, values]))


@pytest.mark.parametrize("name", COUNTS)
def test_an_unknown_exposure_is_refused(name):
    with pytest.raises(ValueError, match="exposure must be None or 'total'.*got 'size'"):
        EVERY[name](3, exposure="size")


# -- student_t, counts, categories and mixes -----------------------------------------------


def test_student_t_of_many_degrees_of_freedom_is_the_gaussian():
    t, gaussian = StudentTLikelihood(3).double(), GaussianLikelihood(3).double()
    with torch.no_grad():
        t.log_df.fill_(100.0)
    outputs, x = normal(5, 3), normal(5, 3, seed=1)
    assert_close(t(outputs).log_prob(x), gaussian(outputs).log_prob(x), rtol=1e-2, atol=0)


def test_the_units_of_student_t_are_robust_to_outliers():
    x = data("gaussian", 1000).numpy()
    wild = x.copy()
    wild[:10] = 1e9
    without, with_outliers = (
        StudentTLikelihood(4).units(Marginals(x)),
        StudentTLikelihood(4).units(Marginals(wild)),
    )
    np.testing.assert_allclose(without[1], with_outliers[1], rtol=0.1)
    np.testing.assert_allclose(without[1], x.std(0), rtol=0.1)  # standard scale for normal data


def test_negative_binomial_starts_at_the_dispersion_of_the_data():
    X = np.random.default_rng(0).negative_binomial(2, 0.1, size=(20_000, 2)).astype(float)
    likelihood = NegativeBinomialLikelihood(2)
    likelihood.start(Marginals(X))
    assert_close(likelihood.dispersion(), torch.full((2,), 0.5), rtol=0.05, atol=0)


def test_negative_binomial_of_the_smallest_dispersion_is_close_to_poisson():
    likelihood, poisson = NegativeBinomialLikelihood(4).double(), PoissonLikelihood(4).double()
    with torch.no_grad():
        likelihood.log_dispersion.fill_(-100.0)
    outputs, x = normal(6, 4), data("poisson")
    assert_close(likelihood(outputs).log_prob(x), poisson(outputs).log_prob(x), rtol=0, atol=0.05)


@pytest.mark.parametrize("name", COUNTS)
def test_very_large_rates_grow_linearly(name):
    p = EVERY[name](1)(torch.tensor([[10.0], [10.0 + 1], [10.0 + 2]]))
    assert_close(p.mean.ravel(), np.exp(10) * torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("name", TOTALS)
def test_the_encoders_input_of_shares_does_not_depend_on_the_total(name):
    likelihood, x = make(name), data(name)
    likelihood.start(Marginals(x.numpy()))
    assert_close(likelihood.see(3 * x), likelihood.see(x))
    once, thrice = (likelihood(outputs_of(likelihood, 6)).log_prob(k * x).sum() for k in (1, 3))
    assert once.isfinite()
    assert thrice.isfinite()


@pytest.mark.parametrize("name", TOTALS)
def test_sampled_totals_are_distributed_as_those_of_the_data(name):
    rng = np.random.default_rng(0)
    X = rng.poisson(rng.lognormal(3.0, 0.5, size=(4000, 1)) * np.ones(5)).astype(float)
    likelihood = EVERY[name](5)
    likelihood.start(Marginals(X))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        total = likelihood(torch.zeros(4000, 5)).sample().sum(1)
    assert total.log().mean() == pytest.approx(np.log(X.sum(1)).mean(), abs=0.1)
    assert total.log().std() == pytest.approx(np.log(X.sum(1)).std(), rel=0.2)


def test_a_row_of_no_counts_has_shares_too():
    likelihood = make("poisson, exposure")
    outputs = outputs_of(likelihood, 1)
    assert likelihood.see(torch.zeros(1, 4).double()).isfinite().all()
    assert likelihood(outputs).log_prob(torch.zeros(1, 4)).isfinite().all()


class CellsOfGammaFunctions(TorchDispatchMode):
    """Counts the cells of which logarithms of gamma functions and their derivatives are taken."""

    n_cells = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.lgamma.default, torch.ops.aten.digamma.default):
            self.n_cells += args[0].numel()
        return func(*args, **kwargs or {})


def sparse_counts(share):
    generator = torch.Generator().manual_seed(0)
    rates = torch.full((40, 50), 3.0, dtype=torch.double)
    x = torch.poisson(rates, generator) * (torch.rand(40, 50, generator=generator) < share)
    x[0, :2] = torch.tensor([1.0, 1e6])
    return x


@pytest.mark.parametrize("share", [0.02, 0.9], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_have_the_log_probability_of_pytorch(name, share):
    layer, x = EVERY[name](50).double(), sparse_counts(share)
    outputs = normal(40, 50).double().requires_grad_()
    if name == "poisson":
        expected = Poisson(outputs.exp(), validate_args=False)
    else:
        dispersion = layer.dispersion()
        logits = outputs + dispersion.log()
        expected = NegativeBinomial(1 / dispersion, logits=logits, validate_args=False)
    sums = [p.log_prob(x).sum() for p in (layer(outputs).base_dist, expected)]
    parameters = [outputs, *([] if name == "poisson" else [layer.log_dispersion])]
    assert_close(*sums)
    assert_close(*(torch.autograd.grad(nats, parameters) for nats in sums))


@pytest.mark.parametrize(("name", "n_calls"), [("poisson", 1), ("negative_binomial", 5)])
def test_gamma_functions_are_of_the_counts_that_are_not_0(name, n_calls):
    # They take most of the time of a score, and a wide table has few such counts.
    layer, x = EVERY[name](50), sparse_counts(0.02).float()
    outputs = normal(40, 50).requires_grad_()
    with CellsOfGammaFunctions() as counted:
        layer(outputs).log_prob(x).sum().backward()
    assert counted.n_cells == n_calls * x.count_nonzero()


def test_counts_of_which_a_gradient_is_taken_have_one():
    x = torch.zeros(4, 5).requires_grad_()
    LogPoisson(torch.zeros(4, 5)).log_prob(x).sum().backward()
    assert_close(x.grad, torch.full((4, 5), 0.5772157))  # Euler's constant: minus digamma(1)


def test_the_rates_of_outputs_that_diverge_are_the_same_for_all_rows():
    layer = PoissonLikelihood(3)
    outputs = torch.tensor([[9.0, -1.0, 0.0], [12.0, 1.0, 11.0]])
    together, alone = layer(outputs).mean, torch.cat([layer(row[None]).mean for row in outputs])
    assert_close(together, alone, rtol=0, atol=0)


def test_log_poisson_has_its_rate_for_variance():
    p = PoissonLikelihood(3)(torch.tensor([[0.0, 1.0, 2.0]]))
    assert_close(p.base_dist.variance, p.base_dist.mean)


def test_the_encoder_sees_categories_as_one_hot_vectors():
    likelihood = CategoricalLikelihood([2, 3])
    seen = likelihood.see(torch.tensor([[1.0, 2.0], [0.0, torch.nan]]))
    assert seen.tolist() == [[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]


def test_probabilities_of_the_categories_sum_to_1_and_are_0_where_there_is_none():
    likelihood = make("categorical")
    probs = likelihood(outputs_of(likelihood, 5)).base_dist.probs
    assert_close(probs.sum(-1), torch.ones(5, N_FEATURES).double())
    assert (probs[:, 0, 2:] == 0).all()


def test_categorical_starts_at_the_frequencies():
    x = data("categorical", 1000)
    likelihood = CategoricalLikelihood(N_CATEGORIES).double()
    likelihood.start(Marginals(x.numpy()))
    probs = likelihood(torch.zeros(1, 10).double()).base_dist.probs[0, 3].detach().numpy()
    np.testing.assert_allclose(probs, np.bincount(x[:, 3].int()) / 1000, atol=1e-3)


def test_a_category_never_seen_can_still_happen():
    likelihood = CategoricalLikelihood([3])
    likelihood.start(Marginals(np.zeros((10, 1))))
    assert likelihood(torch.zeros(1, 3)).log_prob(torch.tensor([[2.0]])) > -4


def test_frequencies_of_categories_use_the_weights_of_rows():
    likelihood = CategoricalLikelihood([2])
    X, weight = np.array([[0.0], [1.0]]), np.array([3.0, 1.0])
    assert Marginals(X, weight).frequencies(0, 2).tolist() == [0.75, 0.25]
    likelihood.start(Marginals(X, weight))
    assert likelihood.bias[0] > likelihood.bias[1]


def test_log_prob_and_mean_of_a_mix_are_those_of_its_parts():
    likelihood, x = make("mixed"), data("mixed")
    outputs = outputs_of(likelihood, 6)
    bernoulli, gaussian, categorical, poisson = likelihood.parts
    log_prob = (
        bernoulli(outputs[:, :1]).log_prob(x[:, [1]])
        + gaussian(outputs[:, 1:2]).log_prob(x[:, [0]])
        + categorical(outputs[:, 2:5]).log_prob(x[:, [2]])
        + poisson(outputs[:, 5:]).log_prob(x[:, [3]])
    )
    assert_close(likelihood(outputs).log_prob(x), log_prob)
    mean = likelihood(outputs).mean
    assert_close(mean[:, [0]], gaussian(outputs[:, 1:2]).mean)
    assert_close(mean[:, [1]], bernoulli(outputs[:, :1]).mean)


def test_a_mix_has_the_units_of_its_parts():
    x = 3 * data("mixed", 100).numpy() + 1
    offset, scale = mixed(4).units(Marginals(x))
    np.testing.assert_allclose(offset, [x[:, 0].mean(), 0, 0, 0])
    np.testing.assert_allclose(scale, [x[:, 0].std(), 1, 1, 1])


def test_a_mix_refuses_data_that_one_of_its_parts_refuses():
    X = data("mixed").numpy()
    X[0, 1] = 3
    with pytest.raises(ValueError, match="likelihood='bernoulli' takes values from 0 to 1"):
        mixed(4).check_support(X)


# -- gaussian ------------------------------------------------------------------------------


def test_only_likelihoods_of_real_numbers_change_the_units():
    X = 2 + 3 * np.random.default_rng(0).random((20, 4)).round()
    moved = [name for name in LIKELIHOODS if EVERY[name](4).units(Marginals(X))[0].any()]
    assert moved == ["gaussian", "student_t"]


def columns(*constant):
    """Marginals of columns of unit variance, or of a single value."""
    return Marginals(np.where(constant, 0.0, [[-1.0], [1.0]]))


@pytest.mark.parametrize("constant", [False, True])
def test_gaussian_starts_at_the_unit_scale_of_the_columns(constant):
    likelihood = GaussianLikelihood(2).double()
    likelihood.start(columns(constant, constant))
    assert_close(likelihood.scale(), torch.ones(2).double(), rtol=1e-6, atol=0)


def test_the_noise_scale_is_at_least_a_thousandth():
    likelihood = GaussianLikelihood(2)
    with torch.no_grad():
        likelihood.log_scale.fill_(-100.0)
    assert_close(likelihood.scale(), torch.full((2,), 1e-3))


def test_a_constant_column_keeps_unit_scale_whatever_is_learned():
    likelihood = GaussianLikelihood(2)
    likelihood.start(columns(True, False))
    with torch.no_grad():
        likelihood.log_scale.fill_(-100.0)
    assert_close(likelihood.scale(), torch.tensor([1.0, 1e-3]))


def test_the_gradient_of_the_smallest_noise_scale_is_finite():
    likelihood = GaussianLikelihood(2)
    with torch.no_grad():
        likelihood.log_scale.fill_(-100.0)
    log_prob = likelihood(torch.zeros(1, 2)).log_prob(torch.ones(1, 2))
    (gradient,) = torch.autograd.grad(log_prob.sum(), [likelihood.log_scale])
    assert gradient.isfinite().all()


def test_the_best_noise_is_the_root_mean_squared_error():
    # The scale that maximises the likelihood of residuals is their root mean square.
    likelihood, residuals = GaussianLikelihood(1).double(), 0.3 * normal(1000, 1)
    best = residuals.square().mean().sqrt()
    with torch.no_grad():
        above_floor = (best.square() - likelihood.scale_floor.square()).sqrt()
        likelihood.log_scale.copy_(above_floor.log() / likelihood.pace)
    assert_close(likelihood.scale(), best.expand(1))
    log_prob = likelihood(torch.zeros(1000, 1).double()).log_prob(residuals).mean()
    (gradient,) = torch.autograd.grad(log_prob, likelihood.log_scale)
    assert gradient.abs() < 1e-10


@pytest.mark.parametrize("missing", [False, True])
def test_the_noise_variance_is_that_of_p(missing):
    gaussian, student_t = make("gaussian"), make("student_t")
    gaussian.missing = student_t.missing = missing
    assert_close(gaussian.noise_variance(), gaussian.scale().square())
    df = student_t.df()
    assert_close(student_t.noise_variance(), student_t.scale().square() * df / (df - 2))
    for likelihood in (gaussian, student_t):
        assert likelihood.noise_variance().shape == (N_FEATURES,)
        p = likelihood(outputs_of(likelihood, 6))
        assert_close(likelihood.noise_variance().expand(6, -1), p.variance)


@pytest.mark.parametrize("kind", [GaussianLikelihood, StudentTLikelihood])
def test_a_constant_column_has_no_noise(kind):
    likelihood = kind(2)
    likelihood.start(columns(True, False))
    constant, varying = likelihood.noise_variance().tolist()
    assert constant == 0
    assert varying > 0.5


def test_the_noise_variance_has_a_gradient():
    likelihood = GaussianLikelihood(2)
    (gradient,) = torch.autograd.grad(likelihood.noise_variance().sum(), [likelihood.log_scale])
    assert (gradient > 0).all()


# -- bernoulli -----------------------------------------------------------------------------


def test_bernoulli_starts_finite_at_constant_columns():
    likelihood = BernoulliLikelihood(2)
    likelihood.start(Marginals(np.array([[0.0, 1.0]])))
    assert_close(likelihood(torch.zeros(1, 2)).mean[0], torch.tensor([1e-3, 1 - 1e-3]))


def test_bernoulli_log_prob_is_finite_where_the_probability_underflows():
    log_prob = BernoulliLikelihood(1)(torch.tensor([[50.0]])).log_prob(torch.zeros(1, 1))
    assert_close(log_prob, torch.tensor([-50.0]))


def test_log_prob_of_gray_levels_is_the_cross_entropy():
    likelihood, outputs = make("bernoulli"), normal(6, N_FEATURES)
    gray = torch.rand(6, N_FEATURES, dtype=torch.float64)
    p = likelihood(outputs).mean
    expected = (gray * p.log() + (1 - gray) * (1 - p).log()).sum(1)
    assert_close(likelihood(outputs).log_prob(gray), expected)


# -- the prior -----------------------------------------------------------------------------


def test_the_prior_is_the_standard_normal():
    z = normal(5, 3)
    ours = StandardNormal(3).double()().log_prob(z).numpy()
    np.testing.assert_allclose(ours, stats.norm.logpdf(z.numpy()), rtol=1e-12)


def test_the_prior_has_no_parameters_and_follows_the_dtype_of_its_module():
    prior = StandardNormal(3).double()
    assert list(prior.parameters()) == []
    assert prior().loc.dtype == torch.float64


@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3)])
def test_gradients_of_the_gaussian_agree_with_finite_differences(shape):
    generator = torch.Generator().manual_seed(0)
    x, loc = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    likelihood = GaussianLikelihood(3).double()

    def log_prob(x, loc, log_scale):
        return likelihood(loc).log_prob(x)

    log_scale = likelihood.log_scale
    assert torch.autograd.gradcheck(log_prob, (x, loc, log_scale))
