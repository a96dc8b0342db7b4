"""One fit for every tau of a range: functions of tau, their training, and what the model keeps."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.polynomial.legendre import legval
from sklearn.base import clone
from torch import nn
from torch.testing import assert_close

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae._data.rows import Batch
from skvae._fit.optimizer import Adam
from skvae.bounds import gaussian_kl, kl_floor
from skvae.every_tau import EveryTau, _between, _interpolated, nodes
from skvae.likelihoods import GaussianLikelihood
from skvae.likelihoods.sentences import TokensLikelihood
from skvae.model import VAE
from skvae.networks import MLP, ConvDecoder
from skvae.networks.recurrent import RecurrentEncoder
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal

D = 3
TAUS = (0.05, 0.07, 0.2, 0.5, 0.61, 0.9, 0.95)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(posterior="moment"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = MLP(5, (8,)), POSTERIORS[posterior](8, D), MLP(D, (8,), 5)
        return VAE(*layers, GaussianLikelihood(5), StandardNormal(D))


def wavy(posterior="moment"):
    """A range whose functions are not constant, in double precision."""
    every = EveryTau(make(posterior).double(), 0.05, 0.95)
    with torch.no_grad():
        every.coefficients += 0.3 * noise(*every.coefficients.shape, seed=1)
    return every


def rows(n=80):
    rng = np.random.RandomState(0)
    return rng.randn(n, D) @ rng.randn(D, 5) + 0.3 * rng.randn(n, 5)


def small(**parameters):
    settings = {"n_components": D, "hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
    return BNVAEEstimator(**settings | {"tau": (0.05, 0.95)} | parameters)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(rows())


def mean_kl(model, X):
    return gaussian_kl(*model.encode(X)).mean(0)


# -- functions of tau ----------------------------------------------------------


def test_posterior_biases_and_the_matrix_that_reads_the_code_depend_on_tau():
    assert {*EveryTau(make(), 0.1, 0.9).places} == {
        "posterior_layer.heads.weight",
        "posterior_layer.heads.bias",
        "decoder.layers.0.bias",
        "decoder.layers.2.bias",
        "likelihood_layer.log_scale",
        "decoder.layers.0.weight",
    }


def matrices_of_tau(module):
    """Names of the matrices outside the posterior that depend on tau."""
    places = EveryTau(module, 0.1, 0.9).places
    matrices = {name for name, parameter in module.named_parameters() if parameter.dim() > 1}
    return sorted(name for name in matrices & {*places} if "posterior_layer" not in name)


@pytest.mark.parametrize("sizes", [(4, 8, 6), (8, 8, 6), (6, 8, 6), (6, 6, 6)], ids=str)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sizes_that_coincide_do_not_change_which_weights_depend_on_tau(sizes, tied, cell):
    d, embedding, hidden = sizes
    likelihood = TokensLikelihood(9, 5, d, embedding, hidden, cell, tied)
    encoder = RecurrentEncoder(9, embedding, hidden)
    posterior, prior = POSTERIORS["moment"](hidden, d), StandardNormal(d)
    assert matrices_of_tau(VAE(encoder, posterior, nn.Identity(), likelihood, prior)) == [
        f"likelihood_layer.network.to_{way}.weight" for way in ("input", "output", "state")
    ]


def with_decoder(decoder):
    layers = MLP(12, (8,)), POSTERIORS["moment"](8, D), decoder
    return VAE(*layers, GaussianLikelihood(12), StandardNormal(D))


def test_of_images_the_matrix_that_reads_the_code_depends_on_tau():
    decoder = ConvDecoder((1, 3, 4), channels=(4,), hidden_layer_sizes=(8,))(D, 12)
    assert matrices_of_tau(with_decoder(decoder)) == ["decoder.first.layers.0.weight"]


def test_of_a_decoder_that_does_not_say_the_first_weights_depend_on_tau():
    decoder = nn.Sequential(
        nn.Unflatten(1, (D, 1, 1)),
        nn.ConvTranspose2d(D, 2, (3, 2)),
        nn.Flatten(),
        nn.Linear(12, 12),
    )
    assert matrices_of_tau(with_decoder(decoder)) == ["decoder.1.weight"]


class Glance(nn.Module):
    """A decoder whose second layer reads the code, too, and which says so."""

    def __init__(self):
        super().__init__()
        self.scale, self.last = nn.Linear(8, 12), nn.Linear(D + 8, 12)
        self.first = nn.Linear(D, 8)

    def forward(self, z):
        hidden = self.first(z).relu()
        return self.scale(hidden) * self.last(torch.cat([z, hidden], dim=1))

    def code_weights(self):
        return [self.first.weight, self.last.weight]


def test_a_decoder_can_say_which_weights_read_the_code():
    assert matrices_of_tau(with_decoder(Glance())) == [
        "decoder.first.weight",
        "decoder.last.weight",
    ]


@pytest.mark.parametrize("declared", [nn.Parameter(torch.zeros(2, 2)), [torch.zeros(2, 2)]])
def test_what_a_decoder_says_are_parameters_of_its_own(declared):
    decoder = Glance()
    decoder.code_weights = lambda: declared
    with pytest.raises(TypeError, match=r"Glance.code_weights\(\) must return a list of the"):
        EveryTau(with_decoder(decoder), 0.1, 0.9)


def test_coefficients_are_trained_in_place_of_the_weights_that_depend_on_tau():
    module = make()
    every = EveryTau(module, 0.1, 0.9)
    trained = {name for name, p in every.named_parameters() if p.requires_grad}
    others = {f"module.{name}" for name, _ in module.named_parameters() if name not in every.places}
    assert trained == {"coefficients", *others}


@pytest.mark.parametrize("t", [-1.0, -0.3, 0.0, 1.0])
def test_weights_are_legendre_series_along_the_logit(t):
    every = wavy()
    expected = legval(t, every.coefficients.detach().numpy())
    found = torch.cat([w.detach().flatten() for w in every._weights(every.tau_at(t)).values()])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_new_range_is_the_module_at_every_tau():
    module = make()
    before = copy.deepcopy(module.state_dict())
    assert_close(EveryTau(module, 0.1, 0.9).at_tau(0.3).state_dict(), before)


@pytest.mark.parametrize(("t", "tau"), [(-1.0, 0.1), (0.0, 0.5), (1.0, 0.9)])
def test_the_range_runs_along_the_logit(t, tau):
    assert EveryTau(make(), 0.1, 0.9).tau_at(t) == pytest.approx(tau)


def test_the_posterior_follows():
    assert EveryTau(make(), 0.1, 0.9).at_tau(0.3).posterior_layer.tau == 0.3


def test_features_do_not_depend_on_tau():
    every, x = wavy(), noise(10, 5).double()
    low, high = (every.at_tau(tau).features(x) for tau in (0.05, 0.95))
    assert_close(low, high, rtol=0, atol=0)


def test_the_gradient_of_the_coefficients_is_an_outer_product():
    every, x = wavy(), noise(20, 5).double()
    draw = noise(20, D, seed=2).double()
    alone = every.at_tau(every._tau_of_step(0)).train()  # the tau that the first step takes
    loss = every.train()(x, draw).elbo().mean()
    (found,) = torch.autograd.grad(loss, [every.coefficients])
    expected = torch.autograd.grad(alone(x, draw).elbo().mean(), [*alone.parameters()])
    by_name = dict(zip(dict(alone.named_parameters()), expected, strict=True))
    flat = torch.cat([by_name[name].flatten() for name in every.places])
    t = every._place_of(every.tau)
    basis = torch.tensor([1.0, t, (3 * t**2 - 1) / 2], dtype=torch.float64)
    assert_close(found, torch.outer(basis, flat))


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_weights_that_do_not_depend_on_tau_have_the_gradient_of_the_plain_model(posterior):
    every, x = wavy(posterior), noise(20, 5).double()
    draw = noise(20, D, seed=2).double()
    plain = every.at_tau(every._tau_of_step(0)).train()
    alone = {name: p for name, p in plain.named_parameters() if name not in every.places}
    own = dict(every.module.named_parameters())
    found = torch.autograd.grad(every(x, draw).elbo().mean(), [own[name] for name in alone])
    expected = torch.autograd.grad(plain(x, draw).elbo().mean(), [*alone.values()])
    assert_close(found, expected)
    assert_close(every.posterior_layer.stored_moments(), plain.posterior_layer.stored_moments())


def test_the_terms_are_those_of_the_plain_model_of_that_tau():
    every, x = wavy(), noise(20, 5).double()
    draw = noise(20, D, seed=2).double()
    for step in range(3):
        alone = every.at_tau(every._tau_of_step(step)).train()
        alone.posterior_layer._store(
            _interpolated(every._running_moments(), every._place_of(every._tau_of_step(step)))
        )
        assert_close(every.train()(x, draw), alone(x, draw))


def gru_range():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        likelihood = TokensLikelihood(9, 5, D, 4, 6, "gru")
        parts = RecurrentEncoder(9, 4, 6), POSTERIORS["moment"](6, D), nn.Identity(), likelihood
        return EveryTau(VAE(*parts, StandardNormal(D)), 0.1, 0.9)


def test_biases_of_a_recurrence_of_pytorch_depend_on_tau():
    # It keeps its weights in a list of its own, which must follow.
    every = gru_range()
    with torch.no_grad():
        every.coefficients += 0.3 * noise(*every.coefficients.shape, seed=1)
    x = torch.tensor([[1, 4, 5, 1], [1, 6, 1, 0], [1, 3, 7, 1]])
    draw = noise(3, D)
    alone = every.at_tau(every._tau_of_step(0)).train()
    assert_close(every.train()(x, draw), alone(x, draw))


@pytest.mark.parametrize("name", ["moment", "batchnorm-mean"])
def test_running_moments_at_any_tau_are_those_of_a_fit_at_that_tau(name):
    every = wavy(name)
    with torch.no_grad():
        every.coefficients[1:] *= 0.3  # as far as trained weights move along the range
    weight = noise(20, seed=9).double().square()
    batches = [noise(20, 5, seed=seed).double() for seed in range(5)]
    alone = {tau: every.at_tau(tau).train() for tau in TAUS}
    for x in batches:  # each at another tau
        every.train()(x, noise(20, D).double(), weight=weight)
    for tau, module in alone.items():
        for x in batches:
            module.posterior(x, weight=weight)
        found = _interpolated(every._running_moments(), every._place_of(tau))
        layer = module.posterior_layer
        assert_close(found.mean, layer.mean)
        assert_close(found.variance, layer.variance)
        assert_close(found.mean_square, layer.mean_square, rtol=5e-3, atol=0)


def test_in_training_the_posterior_has_the_running_moments_of_the_present_tau():
    every = wavy().train()
    for seed in range(3):
        every(noise(20, 5, seed=seed).double(), noise(20, D).double())
    expected = _interpolated(every._running_moments(), every._place_of(every.tau))
    assert_close(every.posterior_layer.mean, expected.mean)
    assert_close(every.posterior_layer.variance, expected.variance)


def test_staggered_components_differ_where_tau_is_low_and_not_where_it_is_high():
    every = EveryTau(make(), 0.05, 0.95)
    start = every.module.posterior_layer.heads.bias.detach().clone()[D:]
    every.stagger(4.0)
    low, high = (every.at_tau(tau).posterior_layer.heads.bias[D:] for tau in (0.05, 0.95))
    assert_close((low - start).detach(), torch.tensor([-4.0, 0.0, 4.0]))
    assert_close((high - start).detach(), torch.zeros(3))


@pytest.mark.parametrize("posterior", sorted({*POSTERIORS} - {"moment"}))
def test_only_the_moment_posterior_is_staggered(posterior):
    every = EveryTau(make(posterior), 0.05, 0.95)
    before = every.coefficients.clone()
    every.stagger()
    assert_close(every.coefficients, before)


# -- the taus of the training --------------------------------------------------


def taus_of(seed, n_steps):
    every = EveryTau(make(), 0.05, 0.95)
    every._restart(seed)
    return [every._tau_of_step(number) for number in range(n_steps)]


def test_taus_stay_in_the_range():
    taus = taus_of(0, 500)
    assert 0.05 <= min(taus) < 0.051
    assert 0.949 < max(taus) <= 0.95


def test_taus_are_spread_evenly_however_few():
    every = EveryTau(make(), 0.05, 0.95)
    places = [every._place_of(tau) for tau in taus_of(3, 40)]
    share = np.arccos(-np.array(places)) / np.pi  # uniform, if the places have the arcsine law
    counts = np.histogram(share, bins=10, range=(0, 1))[0]
    assert counts.min() >= 3
    assert counts.max() <= 5


def test_taus_depend_on_the_seed_alone():
    first, again, other = (taus_of(seed, 5) for seed in (0, 0, 1))
    assert first == again != other


def test_each_step_of_training_takes_another_tau_and_evaluation_none():
    every = EveryTau(make(), 0.05, 0.95).train()
    found = []
    for _ in range(2):
        every(noise(8, 5), noise(8, D))
        found.append(every.tau)
    every.eval()(noise(8, 5), noise(8, D))
    assert found == taus_of(0, 2)
    assert every.tau == found[-1]
    assert every.n_steps == 2


def test_averages_are_of_what_is_trained():
    every = EveryTau(make(), 0.05, 0.95)
    optimizer = Adam(every.parameters(), 0.1, average=True)
    before = every.coefficients.detach().clone()
    optimizer.step([torch.ones_like(parameter) for parameter in optimizer.parameters])
    expected = 0.1 * before + 0.9 * every.coefficients.detach()
    assert_close(optimizer.averages.copied_into(every).coefficients.detach(), expected)


# -- between the nodes ---------------------------------------------------------


@pytest.mark.parametrize("t", [-1.0, -0.77, 0.0, 0.2, 1.0])
def test_a_polynomial_is_met_between_the_nodes(t):
    coefficients = np.random.RandomState(0).randn(9, 2)
    values = legval(nodes(9), coefficients).T
    np.testing.assert_allclose(_between(values, t), legval(t, coefficients), atol=1e-12)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("tau", TAUS)
def test_moments_at_any_tau_are_those_of_the_rows(posterior, tau):
    every, x = wavy(posterior), noise(60, 5).double()
    weight = torch.linspace(0.1, 2, 60).double()
    every.finalise([Batch(x[:25], weight[:25]), Batch(x[25:], weight[25:])])
    found = every.at_tau(tau)
    every.moments = None
    expected = every.at_tau(tau)
    expected.finalise([Batch(x, weight)])
    # What layer normalization asks for, v / (v + eps) of each row, is steep where v is near 0.
    rtol = 1e-6 if posterior == "layernorm" else 1e-9
    assert_close(found.state_dict(), expected.state_dict(), rtol=rtol, atol=1e-11)


def test_finalise_needs_rows():
    with pytest.raises(ValueError, match="at least one batch"):
        wavy().finalise([])


def test_the_model_of_a_tau_has_weights_of_its_own():
    every, x = wavy(), noise(60, 5).double()
    every.finalise([Batch(x)])
    before = copy.deepcopy(every.state_dict())
    with torch.no_grad():
        for parameter in every.at_tau(0.3).parameters():
            parameter.zero_()
    assert_close(every.state_dict(), before)


# -- the estimator -------------------------------------------------------------


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_floor_holds_at_every_tau(posterior):
    X = rows()
    model = small(posterior=posterior, max_iter=3).fit(X)
    for tau in TAUS:
        moved = model.at_tau(tau)
        assert mean_kl(moved, X).sum() >= moved.kl_floor_ - 1e-9
        assert moved.kl_per_component_.sum() >= moved.kl_floor_ - 1e-9


@pytest.mark.parametrize("tau", TAUS)
def test_the_floor_is_that_of_the_tau(fitted, tau):
    assert fitted.at_tau(tau).kl_floor_ == pytest.approx(kl_floor(tau, D), rel=1e-4)


@pytest.mark.parametrize("tau", TAUS)
def test_the_code_has_the_moments_of_the_prior_at_every_tau(fitted, tau):
    loc, scale = fitted.at_tau(tau).encode(rows())
    np.testing.assert_allclose(loc.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose((loc**2 + scale**2).mean(0), 1, rtol=1e-9)


@pytest.mark.parametrize("tau", [0.05, 0.5, 0.95])
def test_kl_is_exact_at_the_ends_and_in_the_middle(fitted, tau):
    moved = fitted.at_tau(tau)
    np.testing.assert_allclose(moved.kl_per_component_, mean_kl(moved, rows()), rtol=1e-9)


@pytest.mark.parametrize("tau", TAUS)
def test_kl_is_close_between(fitted, tau):
    moved = fitted.at_tau(tau)
    np.testing.assert_allclose(moved.kl_per_component_, mean_kl(moved, rows()), atol=0.01)


@pytest.mark.parametrize("tau", TAUS)
def test_lower_bound_is_that_of_the_tau(fitted, tau):
    # One draw a row here and many there: they differ by the noise, the taus by whole nats.
    moved = fitted.at_tau(tau)
    elbo = moved.score_samples(rows(), 256, bound="elbo").mean()
    assert moved.lower_bound_ == pytest.approx(elbo, abs=0.4)


def test_the_operating_point_is_the_middle_of_the_logit():
    assert small(tau=(0.2, 0.8)).fit(rows()).tau_ == pytest.approx(0.5)


def test_a_single_tau_is_its_operating_point():
    assert small(tau=0.3).fit(rows()).tau_ == 0.3


@pytest.mark.parametrize("tau", [[0.05, 0.95], np.array([0.05, 0.95])])
def test_a_range_may_be_any_pair(fitted, tau):
    np.testing.assert_array_equal(
        small(tau=tau).fit(rows()).transform(rows()), fitted.transform(rows())
    )


@pytest.mark.parametrize(
    "tau",
    [
        (0.5, 0.5),
        (0.9, 0.1),
        (0.0, 0.5),
        (0.5, 1.0),
        (0.1, 0.2, 0.3),
        (0.1,),
        [[0.1, 0.2]],
        (0.1, "b"),
    ],
)
def test_what_is_no_range(tau):
    with pytest.raises(ValueError, match="two of them, the lowest and the highest"):
        small(tau=tau).fit(rows())


def test_moving_leaves_the_estimator_as_it_was(fitted):
    before = fitted.transform(rows()), fitted.tau_, fitted.lower_bound_
    fitted.at_tau(0.9).at_tau(0.1)
    np.testing.assert_array_equal(fitted.transform(rows()), before[0])
    assert (fitted.tau_, fitted.lower_bound_) == before[1:]


def test_moving_there_and_back_changes_nothing(fitted):
    back = fitted.at_tau(0.9).at_tau(fitted.tau_)
    np.testing.assert_allclose(back.transform(rows()), fitted.transform(rows()), rtol=1e-12)
    assert back.lower_bound_ == pytest.approx(fitted.lower_bound_)


def test_a_moved_estimator_has_the_parameters_of_the_fit(fitted):
    moved = fitted.at_tau(0.9)
    assert moved.get_params() == fitted.get_params()
    assert not hasattr(clone(moved), "tau_")


def test_a_moved_estimator_is_pickled_with_its_range(fitted):
    again = pickle.loads(pickle.dumps(fitted.at_tau(0.9)))
    assert again.tau_ == 0.9
    np.testing.assert_array_equal(
        again.at_tau(0.2).transform(rows()), fitted.at_tau(0.2).transform(rows())
    )


@pytest.mark.parametrize("tau", [0.04, 0.96, (0.1, 0.2), None])
def test_the_operating_point_lies_in_the_range(fitted, tau):
    with pytest.raises(
        ValueError, match=r"tau must lie in the range of the fit, from 0\.05 to 0\.95"
    ):
        fitted.at_tau(tau)


def test_a_fit_of_a_single_tau_cannot_be_moved():
    with pytest.raises(ValueError, match=r"fitted for tau=0\.5 alone"):
        small(tau=0.5).fit(rows()).at_tau(0.3)


def test_a_seed_is_enough():
    first, again = (small().fit(rows()).at_tau(0.7).transform(rows()) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_training_raises_the_bound_at_every_tau():
    short, long = (small(max_iter=n).fit(rows()) for n in (1, 60))
    for tau in (0.05, 0.5, 0.95):
        assert long.at_tau(tau).lower_bound_ > short.at_tau(tau).lower_bound_ + 0.1


def test_rows_in_single_precision_have_the_floor_to_rounding():
    X = rows().astype(np.float32)
    moved = small().fit(X).at_tau(0.9)
    assert moved.transform(X).dtype == np.float32
    assert mean_kl(moved, X).sum() >= moved.kl_floor_ - 1e-4


def test_the_floor_of_weighted_rows():
    X, weight = rows(), np.linspace(0, 2, 80)
    moved = small().fit(X, sample_weight=weight).at_tau(0.8)
    kl = np.average(gaussian_kl(*moved.encode(X)).sum(1), weights=weight)
    assert kl >= moved.kl_floor_ - 1e-9


def test_early_stopping_goes_back_to_the_best_range():
    model = small(early_stopping=True, max_iter=40, n_iter_no_change=2, learning_rate=0.1)
    model.fit(rows())
    assert model.n_iter_ == len(model.validation_scores_) < 40
    assert mean_kl(model.at_tau(0.9), rows()).sum() >= kl_floor(0.9, D) - 1e-6


def test_partial_fit_goes_on_over_the_range_where_it_was():
    X = rows()
    model = small().fit(X).at_tau(0.8).partial_fit(X)
    assert model.tau_ == 0.8
    assert model.n_iter_ == 6
    moved = model.at_tau(0.2)
    assert moved.kl_floor_ == pytest.approx(kl_floor(0.2, D), rel=1e-4)


def test_a_warm_start_goes_on_where_it_was():
    X = rows()
    first = small(warm_start=True, max_iter=30).fit(X)
    again = copy.deepcopy(first).set_params(max_iter=1).fit(X)
    assert again.n_iter_ == 31
    assert again.at_tau(0.5).lower_bound_ > first.lower_bound_ - 0.5


def test_a_warm_start_may_leave_the_range():
    model = small(warm_start=True).fit(rows()).set_params(tau=0.7).fit(rows())
    assert model.tau_ == 0.7
    assert model.kl_floor_ == pytest.approx(kl_floor(0.7, D), rel=1e-4)


@pytest.mark.parametrize(("first", "then"), [(0.5, (0.1, 0.9)), ((0.1, 0.9), 0.5)])
def test_partial_fit_keeps_to_its_range(first, then):
    model = small(tau=first).partial_fit(rows()).set_params(tau=then)
    with pytest.raises(ValueError, match="partial_fit goes on with the range of tau"):
        model.partial_fit(rows())


def test_conditions_gaps_and_categories_at_every_tau():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.randn(60, 2), columns=["a", "b"])
    frame["colour"] = rng.choice(["red", "green"], 60)
    frame["kind"] = rng.choice(["x", "y"], 60)
    frame.loc[:5, "a"] = np.nan
    model = small(likelihood="auto", conditions=["kind"]).fit(frame)
    for tau in (0.1, 0.9):
        moved = model.at_tau(tau)
        assert mean_kl(moved, frame).sum() >= moved.kl_floor_ - 1e-9
        assert list(moved.sample(3, random_state=0).columns) == list(frame.columns)


def test_sentences_at_every_tau():
    sentences = ["the cat sleeps .", "a dog barks !", "a cat runs .", "the dog sleeps ."] * 10
    sizes = {"hidden_size": 8, "embedding_size": 8, "max_iter": 2, "random_state": 0}
    model = BNVAETextEstimator(D, tau=(0.1, 0.9), **sizes).fit(sentences)
    for tau in (0.1, 0.9):
        moved = model.at_tau(tau)
        assert mean_kl(moved, sentences).sum() >= moved.kl_floor_ - 1e-4 > 0
        assert len(moved.sample(2, random_state=0)) == 2
