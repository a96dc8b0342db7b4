"""Diagnostics against closed forms, and the verdict on cases made to have it.

The closed forms are those of a linear-Gaussian model: rate, information, what the decoder loses
by shuffled codes and log p(x) itself are known. A Monte-Carlo check says its error and allows
five of them.
"""

import math
import pickle
import tracemalloc
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from torch import nn

import skvae
from skvae import BNVAEEstimator, PosteriorCollapseWarning
from skvae._data import units
from skvae._data.rows import Rows
from skvae._data.units import Units
from skvae.diagnostics import (
    Diagnosis,
    active_units,
    aggregated_moments,
    diagnose,
    encode,
    energy_distance,
    evaluation,
    kl_per_component,
    measures,
    missing_information,
    mutual_information,
    participation_ratio,
    printing,
    reconstruction_gaps,
    warn_if_collapsed,
)
from skvae.likelihoods import GaussianLikelihood
from skvae.model import VAE
from skvae.posteriors import GaussianPosterior, MomentPosterior
from skvae.priors import StandardNormal


def model_of(encoding, scale, loadings, noise):
    """q(z|x) = N(x @ encoding, scale^2), p(x|z) = N(z @ loadings, noise^2)."""
    n_features, d = encoding.shape
    posterior, decoder = GaussianPosterior(n_features, d), nn.Linear(d, n_features, bias=False)
    likelihood = GaussianLikelihood(n_features)
    with torch.no_grad():
        posterior.heads.weight.zero_()[:d] = torch.from_numpy(encoding.T)
        posterior.heads.bias.zero_()[d:] = 2 * torch.from_numpy(np.log(scale))
        decoder.weight.copy_(torch.from_numpy(loadings.T))
        likelihood.log_scale.fill_(math.log(noise) / likelihood.pace)
        likelihood.scale_floor.zero_()
    model = VAE(nn.Identity(), posterior, decoder, likelihood, StandardNormal(d))
    return model.double().eval()


def exact_model(strengths, n_samples=500, n_features=6, seed=0):
    """A model with loadings of these lengths and noise 1, its exact posterior, and rows of it."""
    rng = np.random.RandomState(seed)
    strengths = np.asarray(strengths, dtype=float)
    basis = np.linalg.qr(rng.standard_normal((n_features, len(strengths))))[0]
    loadings = (basis * strengths).T
    total = strengths**2 + 1
    X = rng.standard_normal((n_samples, len(strengths))) @ loadings
    X += rng.standard_normal(X.shape)
    return model_of(loadings.T / total, total**-0.5, loadings, 1.0), X


def rows_of(X):
    return Rows(X, Units.identity(X.shape[1]), None, torch.device("cpu"))


def numpys_state():
    """Of the global generator, which is not to be touched."""
    return np.random.get_state()[1].tolist()  # noqa: NPY002  this generator is what is tested


def of_replicates(function, n_replicates=30):
    """Mean and error of `function(seed)`."""
    values = np.array([function(seed) for seed in range(n_replicates)])
    return values.mean(0), values.std(0) / np.sqrt(n_replicates)


# -- over arrays -----------------------------------------------------------------------------


def test_kl_is_that_of_two_normals():
    loc, scale = np.random.RandomState(0).rand(2, 40, 3)
    q = torch.distributions.Normal(*map(torch.from_numpy, (loc, scale)))
    p = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(q, p).mean(0)
    np.testing.assert_allclose(kl_per_component(loc, scale), expected, rtol=1e-12)


def test_live_components_are_counted_by_the_variance_of_their_mean():
    loc = np.array([1.0, -1.0])[:, None] * np.sqrt([0.0101, 0.0099, 4.0]) + [0, 100, 0]
    assert active_units(loc) == 2
    assert active_units(loc, threshold=1) == 1
    assert active_units(np.ones((5, 3))) == 0


def test_participation_ratio_of_known_eigenvalues():
    basis = np.linalg.qr(np.random.RandomState(0).standard_normal((60, 4)))[0]
    basis = np.linalg.qr(basis - basis.mean(0))[0]
    eigenvalues = np.array([4.0, 2.0, 1.0, 1.0])
    rotation = np.linalg.qr(np.random.RandomState(1).standard_normal((4, 4)))[0]
    loc = basis * np.sqrt(eigenvalues) @ rotation
    assert participation_ratio(loc) == pytest.approx(64 / 22)
    assert participation_ratio(1e-100 * loc) == pytest.approx(64 / 22)
    assert participation_ratio(basis) == pytest.approx(4)
    assert participation_ratio(np.ones((5, 3))) == 0.0
    assert participation_ratio(np.arange(3.0)[:, None]) == pytest.approx(1)


def test_information_of_a_gaussian_channel():
    # I = 1/2 logdet(1 + S^-1/2 C S^-1/2) for the population. Over N rows the estimate is lower,
    # by about E q(z|x)/q(z) / N, here 16 / 600.
    signal = np.array([[2.0, 0.9], [0.9, 1.0]])
    scale = np.array([0.8, 0.5])
    exact = 0.5 * np.linalg.slogdet(np.eye(2) + signal / np.outer(scale, scale))[1]
    n = 600

    def estimate(seed):
        loc = np.random.RandomState(seed).multivariate_normal([5, 0], signal, size=n)
        return mutual_information(loc, np.tile(scale, (n, 1)), random_state=1000 + seed)

    mean, error = of_replicates(estimate)
    assert error < 0.01
    assert exact - 16 / n - 5 * error < mean < exact + 5 * error


def test_information_over_given_rows_by_quadrature():
    # scales differ from row to row
    loc, scale = np.array([-1.0, 0.2, 1.5]), np.array([0.5, 1.0, 0.2])
    z = np.linspace(-4, 4, 40001)
    q = stats.norm.pdf(z, loc[:, None], scale[:, None])
    exact = (special.xlogy(q, q) - q * np.log(q.mean(0))).sum(1).mean() * (z[1] - z[0])
    mean, error = of_replicates(
        lambda seed: mutual_information(loc[:, None], scale[:, None], seed), 4000
    )
    assert abs(mean - exact) < 5 * error
    assert error < 0.01


def test_information_stays_when_components_are_moved_and_rescaled():
    rng = np.random.RandomState(0)
    loc, scale = rng.standard_normal((80, 3)), 0.1 + rng.rand(80, 3)
    factor = np.array([1e-3, 1.0, 1e4])
    one, other = (
        mutual_information(loc, scale, 0),
        mutual_information(factor * loc + [1e6, -3.0, 1e5], factor * scale, 0),
    )
    assert one == pytest.approx(other, rel=1e-5)


def test_information_of_precise_codes():
    loc = np.random.RandomState(0).standard_normal((300, 2))
    for scale in (1e-4, 1e-9, 1e-150):
        information = mutual_information(loc, np.full(loc.shape, scale), 0)
        assert information == pytest.approx(np.log(300), abs=1e-3)
        twice = mutual_information(np.tile(loc, (2, 1)), np.full((600, 2), scale), 0)
        assert twice == pytest.approx(np.log(300), abs=1e-3)  # copies cannot be told apart


def test_information_of_a_code_that_says_nothing():
    assert mutual_information(np.ones((50, 2)), np.ones((50, 2)), 0) == pytest.approx(0, abs=1e-12)
    loc = np.array([[-0.05], [0.05]])
    estimates = [mutual_information(loc, np.ones((2, 1)), seed) for seed in range(50)]
    assert min(estimates) < 0 < max(estimates)  # reported as they are
    assert mutual_information(np.ones((1, 2)), np.ones((1, 2))) == 0.0


def test_a_seed_is_enough_and_chunks_do_not_matter(monkeypatch):
    rng = np.random.RandomState(0)
    loc, scale = rng.standard_normal((90, 3)), 0.1 + rng.rand(90, 3)
    model, X = exact_model([2.0, 1.0], 90)
    state = numpys_state(), torch.random.get_rng_state()

    def everything():
        return [
            mutual_information(loc, scale, 3),
            energy_distance(loc, scale, 3),
            *reconstruction_gaps(model, rows_of(X), 2, 3),
            diagnose(model, rows_of(X), 4, 3).elbo,
        ]

    whole = everything()
    assert whole == everything()
    for module in (measures, units):
        monkeypatch.setattr(
            module, "chunk_slices", lambda n, *_: [slice(i, i + 7) for i in range(0, n, 7)]
        )
    np.testing.assert_allclose(everything(), whole, rtol=1e-11)
    assert numpys_state() == state[0]
    assert torch.equal(torch.random.get_rng_state(), state[1])


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generators_are_seeds_too(make):
    loc, scale = np.arange(10.0)[:, None], np.ones((10, 1))
    one, other, third = (mutual_information(loc, scale, make(s)) for s in (0, 0, 1))
    assert one == other != third


def peak_of_information(n, d=32):
    rng = np.random.RandomState(0)
    loc, scale = rng.standard_normal((n, d)), np.ones((n, d))
    tracemalloc.start()
    try:
        mutual_information(loc, scale, 0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_the_information_is_linear_in_rows():
    assert peak_of_information(12_000) < 150e6  # a matrix of all pairs has 1.2 GB


def test_missing_information():
    # a code of 50 symbols, seen in 100 rows: log 50 nats
    estimates = []
    for seed in range(40):
        symbols = np.random.RandomState(seed).randint(50, size=(100, 1)) * 100.0
        estimates.append(mutual_information(symbols, np.ones((100, 1)), seed))
    estimate = np.mean(estimates)
    assert estimate < np.log(50) - 0.25
    assert estimate + missing_information(estimate, 100) == pytest.approx(np.log(50), abs=0.2)
    assert missing_information(0.0, 2) == 0
    assert missing_information(np.log(7), 7) == np.inf
    assert missing_information(np.log(7) + 1e-12, 7) == np.inf
    assert missing_information(np.log(1e6) - 0.93, 1e6) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="n_samples must be at least 2 .* got 1"):
        missing_information(0.0, 1)


def test_aggregated_moments_are_those_of_draws():
    rng = np.random.RandomState(0)
    loc = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 3)) + [1, 0, 0]
    scale = 0.1 + rng.rand(20, 3)
    moments = aggregated_moments(loc, scale)
    z = (loc + scale * rng.standard_normal((100_000, 20, 3))).reshape(-1, 3)
    np.testing.assert_allclose(moments.mean, z.mean(0), atol=0.01)
    np.testing.assert_allclose(moments.covariance, np.cov(z.T), atol=0.02)
    assert moments.mean_error == np.abs(loc.mean(0)).max()
    assert moments.variance_error == np.abs(np.diag(moments.covariance) - 1).max()
    off = moments.covariance[~np.eye(3, dtype=bool)]
    assert moments.covariance_error == pytest.approx(np.abs(off).max())


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize("spread", [1.0, 0.4, 3.0])
def test_energy_distance_of_two_normals(d, spread):
    # all mean distances are that of a standard normal from 0, times a standard deviation
    exact = 1 - math.sqrt(2) * (1 + spread) / (2 * math.hypot(1, spread))

    def estimate(seed):
        loc = 0.6 * spread * np.random.RandomState(seed).standard_normal((300, d))
        return energy_distance(loc, np.full((300, d), 0.8 * spread), 1000 + seed)

    mean, error = of_replicates(estimate)
    assert abs(mean - exact) < 5 * error
    assert error < 0.005


def test_energy_distance_of_a_line_is_scipys():
    z, p = np.random.RandomState(0).standard_normal((2, 5000)) + np.array([[1.5], [0.0]])
    theirs = stats.energy_distance(z, p) ** 2 / (2 * np.abs(z[:, None] - p).mean())
    ours = energy_distance(z[:, None], np.full((5000, 1), 1e-9), 0)
    assert ours == pytest.approx(theirs, rel=0.05)  # other draws from the prior


# -- over a model and rows -------------------------------------------------------------------


def test_encode_gives_the_posteriors_of_all_rows():
    model, X = exact_model([2.0, 1.0])
    loc, scale = encode(model, rows_of(X))
    q = model.posterior(torch.from_numpy(X))
    np.testing.assert_array_equal(loc, q.loc.detach())
    np.testing.assert_array_equal(scale, q.scale.detach())


def test_linear_gaussian_model_in_closed_form():
    # loadings of length a_j and noise 1: rate and information 1/2 sum log(1 + a_j^2), and either
    # gap sum a_j^2, the information and its reverse; both bounds are log p(x) itself
    a = np.array([2.0, 1.0, 0.5])
    model, X = exact_model(a, 3000)
    found = diagnose(model, rows_of(X), 16, 0)
    covariance = np.eye(6) + (loadings := model.decoder.weight.detach().numpy()) @ loadings.T
    log_p = stats.multivariate_normal(np.zeros(6), covariance).logpdf(X).mean()
    assert found.importance_bound == pytest.approx(log_p, rel=1e-10)  # draw by draw
    assert found.elbo == pytest.approx(log_p, abs=5 * a @ a / math.sqrt(16 * 3000))
    assert found.elbo == -found.distortion - found.rate
    assert found.distortion == pytest.approx(3 * math.log(2 * math.pi) + 3, abs=0.15)
    rates = 0.5 * np.log1p(a**2)
    np.testing.assert_allclose(found.kl_per_component, rates, atol=0.05)
    information = rates.sum()  # less E q(z|x)/q(z) / N = 12.5 / 3000
    assert found.mutual_information == pytest.approx(information, abs=0.08)
    assert found.shuffled_gap == pytest.approx(a @ a, abs=0.5)
    assert found.prior_gap == pytest.approx(a @ a, abs=0.5)
    assert abs(found.energy_distance) < 1e-3
    assert found.moments.variance_error < 0.1
    variances = a**2 / (1 + a**2)
    assert found.participation_ratio == pytest.approx(
        variances.sum() ** 2 / (variances**2).sum(), rel=0.05
    )
    assert found.effective_rank == pytest.approx(3, abs=0.02)
    assert found.active_units == 3
    assert not found.saturated
    assert found.verdict == "alive"


def test_gaps_in_closed_form_within_their_error():
    a = np.array([1.5, 0.7])

    def estimate(seed):
        model, X = exact_model(a, 400, seed=seed)
        return reconstruction_gaps(model, rows_of(X), 2, seed)

    mean, error = of_replicates(estimate)
    assert (np.abs(mean - a @ a) < 5 * error).all()
    assert (error < 0.1).all()


@pytest.mark.parametrize("n", [2, 3, 50])
def test_no_row_keeps_its_code(n):
    rng = np.random.RandomState(0)
    for _ in range(20):
        partner = evaluation._derangement(n, rng)
        assert sorted(partner) == list(range(n))
        assert (partner != np.arange(n)).all()


# -- the verdict -----------------------------------------------------------------------------


def verdict_on(model, X):
    return diagnose(model, rows_of(X), 8, 0).verdict


def test_healthy():
    assert verdict_on(*exact_model([2.0, 1.0, 1.0])) == "alive"


def test_collapsed():
    model, X = exact_model([0.0, 0.0])
    found = diagnose(model, rows_of(X), 8, 0)
    assert found.verdict == "collapsed"
    assert found.dead_components == (0, 1)
    assert found.effective_rank == found.participation_ratio == 0
    assert found.mutual_information == pytest.approx(0, abs=1e-12)


def test_the_same_code_for_all_rows_is_collapsed_whatever_it_costs():
    model, X = exact_model([0.0, 0.0])
    with torch.no_grad():
        model.posterior_layer.heads.bias[:2] = 2.0  # as under layer normalization
    found = diagnose(model, rows_of(X), 8, 0)
    assert found.rate == pytest.approx(4)
    assert found.verdict == "collapsed"


def test_a_rate_near_0_is_collapsed_though_a_mean_varies():
    model, X = exact_model([0.2], 5000)
    found = diagnose(model, rows_of(X))
    assert found.active_units == 1
    assert found.rate < 0.05
    assert found.verdict == "collapsed"


def test_partly_dead():
    model, X = exact_model([2.0, 0.0, 1.0, 1.0, 0.0], n_features=5)
    assert verdict_on(model, X) == "partly dead: components 1, 4"
    assert verdict_on(*exact_model([2.0, 0.0])) == "partly dead: component 1"
    strengths = [2.0] + 12 * [0.0]
    assert verdict_on(*exact_model(strengths, n_features=13)) == (
        "partly dead: components 1, 2, 3, 4, 5, 6, 7, 8 and 4 more"
    )


def test_decoder_that_ignores_the_code():
    model, X = exact_model([2.0, 1.0])
    with torch.no_grad():
        model.decoder.weight.zero_()
    found = diagnose(model, rows_of(X), 8, 0)
    assert found.shuffled_gap == pytest.approx(0, abs=1e-12)
    assert found.mutual_information > 1
    assert found.verdict == "alive but ignored by the decoder"
    model, X = exact_model([2.0, 0.0])
    with torch.no_grad():
        model.decoder.weight.zero_()
    assert verdict_on(model, X) == "partly dead: component 1; ignored by the decoder"


def batch_normalized(weights, X, decoder_weight=1.0):
    """Matched moments whose raw means are these functions of the rows."""
    d, n_features = weights.shape
    posterior, decoder = MomentPosterior(n_features, d), nn.Linear(d, n_features)
    with torch.no_grad():
        posterior.heads.weight.zero_()[:d] = torch.from_numpy(weights)
        decoder.weight.copy_(decoder_weight * torch.from_numpy(weights.T) / d)
    model = VAE(
        nn.Identity(), posterior, decoder, GaussianLikelihood(n_features), StandardNormal(d)
    )
    model.double().eval().finalise(rows_of(X).in_order(torch.float64))
    return model


@pytest.mark.parametrize("d", [2, 3, 8])
def test_one_component_copied_under_batch_normalization(d):
    X = np.random.RandomState(0).standard_normal((300, 10))
    weights = np.zeros((d, 10))
    weights[:, 0] = np.linspace(1, 2, d) * (-1) ** np.arange(d)
    model = batch_normalized(weights, X)
    found = diagnose(model, rows_of(X), 8, 0)
    assert found.active_units == d  # automatic
    assert found.participation_ratio == pytest.approx(1)
    assert found.verdict == (
        f"alive, but the components say the same thing (effective rank 1.0 of {d})"
    )
    with torch.no_grad():
        model.decoder.weight.zero_()
    assert verdict_on(model, X) == (
        "alive but ignored by the decoder; the components say the same thing "
        f"(effective rank 1.0 of {d})"
    )


def test_some_components_copied():
    X = np.random.RandomState(0).standard_normal((300, 10))
    weights = np.eye(5, 10)
    assert verdict_on(batch_normalized(weights, X), X) == "alive"
    weights[3] = -weights[1]
    assert verdict_on(batch_normalized(weights, X), X) == "alive, but component 3 repeats others"
    weights[4] = weights[0]
    assert verdict_on(batch_normalized(weights, X), X) == (
        "alive, but components 3, 4 repeat others"
    )


def test_components_of_uneven_strength_do_not_repeat_each_other():
    model, X = exact_model([5.0] + 5 * [0.2], 2000)
    found = diagnose(model, rows_of(X))
    assert found.participation_ratio < 1.7
    assert found.effective_rank > 5.5
    assert found.verdict == "alive"


def test_few_rows_are_not_said_to_repeat_each_other():
    verdict = verdict_on(*exact_model([2.0, 1.0, 1.0], 2))
    assert "repeat" not in verdict
    assert "same thing" not in verdict


def test_saturated():
    model, X = exact_model([30.0, 30.0, 30.0], 200)
    found = diagnose(model, rows_of(X), 8, 0)
    assert found.saturated
    assert found.rate > 9
    assert found.verdict == "alive; saturated at log 200 = 5.3 nats"
    assert ": saturated" in repr(found)
    model, X = exact_model([1.0], 2)
    assert verdict_on(model, X) == "alive"  # 2 rows alone do not make it so


# -- the result ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    model, X = exact_model([2.0, 1.0, 0.0], 300)
    return diagnose(model, rows_of(X), 8, 0)


def test_nothing_in_it_can_be_changed(found):
    with pytest.raises(FrozenInstanceError):
        found.n_samples = 3
    for array in (found.kl_per_component, found.floor_per_component, *found.moments):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_it_can_be_pickled(found):
    assert repr(pickle.loads(pickle.dumps(found))) == repr(found)


def test_printed_it_is_an_aligned_table(found):
    lines = repr(found).splitlines()
    assert lines[0] == "Diagnosis of 300 rows: partly dead: component 2"
    table = lines[2 : lines.index("", 2)]
    width = len("lost by codes of the prior")
    values = [line[width:].split()[0] for line in table]
    ends = {
        line.index(value, width) + len(value) for line, value in zip(table, values, strict=True)
    }
    assert len(ends) == 1
    assert f"{found.elbo:.3f}  nats" in repr(found)
    assert f"{found.importance_bound:.3f}  nats, 8 draws" in repr(found)
    components = lines[lines.index("", 2) + 1 :]
    assert len(components) == 4
    assert len({len(line) for line in components[1:]}) == 1


def test_many_components_are_cut_short_when_printed():
    model, X = exact_model(np.full(20, 2.0), 100, n_features=20)
    found = diagnose(model, rows_of(X), 2, 0)
    lines = repr(found).splitlines()
    assert lines[-9].split() == ["..."] * 4
    assert lines[-1].split()[0] == "19"
    assert found._repr_html_().count("<tr>") == 13 + 21


def test_html_is_escaped(found, monkeypatch):
    assert "partly dead: component 2" in found._repr_html_()
    assert "<td>ELBO</td>" in found._repr_html_()
    assert "style" not in found._repr_html_()
    monkeypatch.setattr(Diagnosis, "verdict", "<b>&")
    monkeypatch.setattr(printing, "summary_lines", lambda diagnosis: [("a<b", "1", '"')])
    html = found._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<td>a&lt;b</td><td>1</td><td>&quot;</td>" in html


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loc", "scale", "match"),
    [
        (np.ones(3), np.ones(3), r"loc must have the shape .* got \(3,\)"),
        (np.ones((0, 2)), np.ones((0, 2)), r"loc must have the shape .* got \(0, 2\)"),
        (np.ones((3, 2)), np.ones((3, 1)), r"same shape; got \(3, 2\) and \(3, 1\)"),
        (np.ones((3, 2)), np.zeros((3, 2)), "scale must be positive, .* got 0"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "loc must be finite"),
        (np.ones((3, 2)), np.full((3, 2), np.inf), "scale must be finite"),
    ],
)
@pytest.mark.parametrize(
    "function", [kl_per_component, mutual_information, aggregated_moments, energy_distance]
)
def test_what_are_no_posteriors_is_refused(function, loc, scale, match):
    with pytest.raises(ValueError, match=match):
        function(loc, scale)


@pytest.mark.parametrize("function", [active_units, participation_ratio])
def test_what_are_no_means_is_refused(function):
    with pytest.raises(ValueError, match="loc must have the shape"):
        function(np.ones(3))


@pytest.mark.parametrize("function", [diagnose, reconstruction_gaps])
def test_a_single_row_and_no_draws_are_refused(function):
    model, X = exact_model([1.0])
    with pytest.raises(ValueError, match="At least 2 rows are needed .* got 1"):
        function(model, rows_of(X[:1]))
    with pytest.raises(ValueError, match="n_draws must be at least 1; got 0"):
        function(model, rows_of(X), n_draws=0)


def test_a_single_row_has_no_energy_distance():
    with pytest.raises(ValueError, match="At least 2 rows"):
        energy_distance(np.ones((1, 1)), np.ones((1, 1)))


# -- from the estimator ----------------------------------------------------------------------


def rows(n=120, n_features=4, seed=0):
    X = np.random.RandomState(seed).standard_normal((n, n_features))
    X[:, 1] += 2 * X[:, 0]
    return X


def small(**parameters):
    return BNVAEEstimator(
        **{"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}
        | parameters
    )


@pytest.fixture(scope="module")
def fitted():
    return small().fit(rows())


def test_its_bounds_are_the_scores(fitted):
    X = rows(seed=1)
    found = fitted.diagnose(X, n_draws=8)
    assert found.elbo == pytest.approx(fitted.score_samples(X, 8, bound="elbo").mean())
    assert found.importance_bound == pytest.approx(fitted.score_samples(X, 8).mean())
    assert fitted.diagnose(X).importance_bound == pytest.approx(fitted.score(X))
    assert found.n_samples == 120
    assert found.n_draws == 8


def test_over_the_training_rows_it_meets_the_fit(fitted):
    found = fitted.diagnose(rows())
    np.testing.assert_allclose(found.kl_per_component, fitted.kl_per_component_, rtol=1e-10)
    assert found.floor_per_component.sum() == pytest.approx(fitted.kl_floor_)
    assert found.moments.mean_error < 1e-6
    assert found.moments.variance_error < 1e-6


def test_the_same_rows_give_the_same_diagnosis(fitted):
    state = numpys_state()
    assert repr(fitted.diagnose(rows())) == repr(fitted.diagnose(rows()))
    assert numpys_state() == state


def test_only_bounds_and_distortion_know_the_units_of_the_columns(fitted):
    factor = np.array([1e-3, 1.0, 50.0, 7.0])
    moved = small().fit(factor * rows() + 3)
    one, other = fitted.diagnose(rows()), moved.diagnose(factor * rows() + 3)
    jacobian = np.log(factor).sum()
    assert other.elbo == pytest.approx(one.elbo - jacobian, abs=1e-3)
    assert other.distortion == pytest.approx(one.distortion + jacobian, abs=1e-3)
    for name in ("rate", "mutual_information", "shuffled_gap", "prior_gap", "energy_distance"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-3)


def test_rows_of_other_kinds(fitted):
    whole = fitted.diagnose(rows())
    single = fitted.diagnose(rows().astype(np.float32))
    assert single.elbo == pytest.approx(whole.elbo, rel=1e-4)
    assert single.mutual_information == pytest.approx(whole.mutual_information, rel=1e-3)
    sparse = fitted.diagnose(csr_array(rows()))
    assert sparse.elbo == pytest.approx(whole.elbo, rel=1e-12)
    assert next(fitted.module_.parameters()).dtype == torch.float64  # left as it was


@pytest.mark.parametrize(
    ("X", "n_draws", "match"),
    [
        (rows(1), 32, "At least 2 rows"),
        (rows(5, 3), 32, "X has 3 features"),
        (rows(), 0, "n_draws must be an int of at least 1; got 0"),
        (rows(), 2.5, "n_draws must be an int of at least 1; got 2.5"),
    ],
)
def test_what_the_estimator_refuses(fitted, X, n_draws, match):
    with pytest.raises(ValueError, match=match):
        fitted.diagnose(X, n_draws)


def test_other_refusals():
    with pytest.raises(NotFittedError):
        small().diagnose(rows())
    model = small(likelihood="bernoulli").fit(rows() > 0)
    with pytest.raises(ValueError, match="takes values from 0 to 1"):
        model.diagnose(rows())


# -- the warning -----------------------------------------------------------------------------


def noise(n=400):
    return np.random.RandomState(0).standard_normal((n, 3))


def plain(**parameters):
    return small(posterior="gaussian", max_iter=40, **parameters)


def test_a_plain_vae_of_noise_warns_and_says_what_to_do():
    with pytest.warns(PosteriorCollapseWarning, match="collapsed: its rate is 0.0") as caught:
        model = plain().fit(noise())
    assert "posterior='moment'" in str(caught[0].message)
    assert model.kl_per_component_.sum() < 0.05
    assert model.diagnose(noise()).verdict == "collapsed"


def test_matched_moments_do_not_warn():
    model = small(max_iter=40).fit(noise())  # a warning would be an error
    assert model.diagnose(noise()).verdict.startswith("alive")


def test_short_fits_and_epochs_of_partial_fit_do_not_warn():
    model = plain(batch_size=400, learning_rate=2e-3)  # 40 steps
    model.fit(np.zeros((400, 3)))
    assert model.kl_per_component_.sum() < 0.05
    model = plain(batch_size=4, learning_rate=1e-3)  # 100 steps an epoch
    for _ in range(2):
        model.partial_fit(np.zeros((400, 3)))
    assert model.kl_per_component_.sum() < 0.05


def test_rows_that_cannot_be_told_apart_warn_whatever_the_posterior():
    with pytest.warns(PosteriorCollapseWarning, match="look for identical rows"):
        small(max_iter=40).fit(np.ones((400, 3)))


def test_the_warning_can_be_silenced_and_be_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", skvae.PosteriorCollapseWarning)
        plain().fit(noise())
    model = plain()
    with pytest.raises(PosteriorCollapseWarning):
        model.fit(noise())
    assert not hasattr(model, "module_")


def test_when_a_rate_is_worth_a_warning():
    with pytest.warns(PosteriorCollapseWarning, match="0.049 nats"):
        warn_if_collapsed(np.array([0.049, 0.0]), travel=0.1)
    warn_if_collapsed(np.array([0.049, 0.0]), travel=0.099)
    warn_if_collapsed(np.array([0.03, 0.03]), travel=1.0)
