"""What every posterior must keep, what sets them apart, and the mistakes that ports made."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from skvae._fit.optimizer import Adam
from skvae.bounds import gaussian_kl, kl_floor, shrinkage
from skvae.posteriors import (
    POSTERIORS,
    BatchNormMeanPosterior,
    BatchNormPosterior,
    DeltaPosterior,
    GaussianPosterior,
    LayerNormPosterior,
    MomentPosterior,
    Moments,
    Posterior,
    gamma_squares,
)
from skvae.priors import StandardNormal


def moment_theta(in_features, n_components, tau=0.5):
    return MomentPosterior(in_features, n_components, tau, gamma="theta")


FAMILY = {**POSTERIORS, "moment-theta": moment_theta}
MATCHED = ["batchnorm", "moment", "moment-theta"]  # E mu^2 + E sigma^2 = 1
CENTRED = ["batchnorm-mean", *MATCHED]
WITH_THETA = ["batchnorm", "moment-theta"]
IN_FEATURES = 5

every = pytest.mark.parametrize("name", FAMILY)
cases = given(
    n_rows=st.integers(3, 40),
    tau=st.floats(0.01, 0.99),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**31 - 1),
    weighted=st.booleans(),
)
some = settings(max_examples=40, deadline=None, derandomize=True)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def make(name, d=3, tau=0.5, seed=0):
    """A posterior in double precision with all its parameters drawn at random."""
    posterior = FAMILY[name](IN_FEATURES, d, tau).double()
    with torch.no_grad():
        for i, parameter in enumerate(posterior.parameters()):
            parameter.copy_(0.4 * normal(*parameter.shape, seed=seed + i))
    return posterior


def see_raw_heads(posterior):
    """Let the features of a posterior be its two raw heads from now on."""
    d = posterior.n_components
    posterior.heads = type(posterior.heads)(2 * d, 2 * d).double()
    with torch.no_grad():
        posterior.heads.weight.copy_(torch.eye(2 * d))
        posterior.heads.bias.zero_()


def make_direct(cls, d=1, tau=0.5, **options):
    """A posterior whose features are its two raw heads."""
    posterior = cls(2 * d, d, tau, **options).double()
    see_raw_heads(posterior)
    return posterior


def draw(n_rows, seed, weighted):
    features = normal(n_rows, IN_FEATURES, seed=seed) * 2 + 1
    weight = torch.rand(n_rows, generator=seeded(seed), dtype=torch.float64) + 0.1
    return features, weight if weighted else None


def average(values, weight=None):
    """Mean over the rows."""
    weight = torch.ones(len(values)).to(values) if weight is None else weight
    return weight @ values / weight.sum()


def mean_kl(q, weight=None):
    prior = Normal(torch.zeros((), dtype=q.loc.dtype), 1.0)
    return average(kl_divergence(q, prior), weight).detach().numpy()


def evaluated(posterior, features, weight=None):
    """The posterior of all rows in evaluation mode, after the finalising pass over them."""
    posterior.finalise([(features, weight)])
    return posterior.eval()(features)


def signal(posterior, features=None, weight=None):
    """gamma_mu^2 as the equations have it."""
    if getattr(posterior, "theta", None) is not None:
        theta = posterior.theta * getattr(posterior, "theta_pace", 1.0)
    else:
        location, spread = posterior.heads(features).chunk(2, dim=-1)
        variance = average((location - average(location, weight)).square(), weight)
        theta = (variance + posterior.eps).log() - average(spread.exp(), weight).log()
    return (posterior.tau + (1 - posterior.tau) * theta.sigmoid()).detach()


def left_by_eps(posterior, features, weight=None):
    """Part of the unit variance of both heads that normalizing with eps leaves."""
    heads = posterior.heads(features)
    variance = average((heads - average(heads, weight)).square(), weight)
    return variance / (variance + posterior.eps)


# -- moments of a training batch -----------------------------------------------------------


@pytest.mark.parametrize("name", MATCHED)
@cases
@some
def test_a_batch_has_the_moments_of_the_prior(name, n_rows, tau, d, seed, weighted):
    posterior, (features, weight) = make(name, d, tau, seed), draw(n_rows, seed, weighted)
    q = posterior(features, weight)
    assert_close(average(q.loc, weight), torch.zeros(d).double(), atol=1e-9, rtol=0)
    second = average(q.loc.square() + q.scale.square(), weight)
    expected = torch.ones(d).double()
    if name == "batchnorm":  # what eps takes from either head is not given back
        gamma_sq, left = signal(posterior), left_by_eps(posterior, features, weight)
        expected = gamma_sq * left[:d] + (1 - gamma_sq) * left[d:]
    assert_close(second, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", MATCHED)
@cases
@some
def test_the_signal_of_a_batch_is_gamma(name, n_rows, tau, d, seed, weighted):
    posterior, (features, weight) = make(name, d, tau, seed), draw(n_rows, seed, weighted)
    second = average(posterior(features, weight).loc.square(), weight)
    gamma_sq = signal(posterior, features, weight)
    assert (gamma_sq > tau).all()
    left = left_by_eps(posterior, features, weight)[:d]
    assert_close(second, gamma_sq * left, atol=1e-10, rtol=0)


@cases
@some
def test_the_papers_mean_has_mean_beta_and_variance_tau(n_rows, tau, d, seed, weighted):
    posterior = make("batchnorm-mean", d, tau, seed)
    features, weight = draw(n_rows, seed, weighted)
    loc = posterior(features, weight).loc
    assert_close(average(loc, weight), posterior.beta, atol=1e-9, rtol=0)
    variance = average((loc - posterior.beta).square(), weight)
    expected = tau * left_by_eps(posterior, features, weight)[:d]
    assert_close(variance, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["gaussian", "batchnorm-mean", "layernorm"])
def test_a_free_spread_is_the_log_variance(name):
    posterior, features = make(name), normal(9, IN_FEATURES)
    spread = posterior.heads(features)[:, 3:]
    assert_close(posterior(features).scale.square().log(), spread)


def test_the_plain_mean_is_its_head():
    posterior, features = make("gaussian"), normal(9, IN_FEATURES)
    assert_close(posterior(features).loc, posterior.heads(features)[:, :3])


def test_layer_norm_standardises_each_row():
    tau = 0.3
    loc = make("layernorm", d=6, tau=tau)(normal(9, IN_FEATURES)).loc
    assert_close(loc.mean(1), torch.zeros(9).double(), atol=1e-12, rtol=0)
    assert_close(loc.square().mean(1), torch.full((9,), tau).double(), atol=1e-6, rtol=0)


@every
def test_the_scale_is_positive_and_finite(name):
    scale = make(name)(normal(50, IN_FEATURES)).scale
    assert (scale > 0).all()
    assert scale.isfinite().all()


def test_matched_moments_divide_the_head_by_its_root_mean_square():
    posterior = make("moment-theta")
    features = normal(20, IN_FEATURES)
    std = (0.5 * posterior.heads(features)[:, 3:]).exp()
    expected = (1 - signal(posterior)).sqrt() * std / std.square().mean(0).sqrt()
    # eps gives the noise 1e-8 gamma_mu^2 / Var m more, of a gamma_sigma^2 that may be small
    assert_close(posterior(features).scale, expected, rtol=1e-4, atol=0)


def test_reading_gamma_off_the_heads_is_the_ratio_of_signal_to_noise():
    tau = 0.2
    posterior, features = make("moment", tau=tau), normal(20, IN_FEATURES)
    location, spread = posterior.heads(features).chunk(2, dim=-1)
    v, r = location.var(0, correction=0), spread.exp().mean(0)
    second = posterior(features).loc.square().mean(0)
    assert_close(second, tau + (1 - tau) * v / (v + r), rtol=1e-6, atol=0)


# -- the floor -----------------------------------------------------------------------------


@every
@cases
@some
def test_no_rows_fall_below_the_floor(name, n_rows, tau, d, seed, weighted):
    posterior, (features, weight) = make(name, d, tau, seed), draw(n_rows, seed, weighted)
    kl = mean_kl(evaluated(posterior, features, weight), weight)
    assert (kl >= posterior.component_floors() - 1e-10).all()
    assert kl.sum() >= posterior.kl_floor() - 1e-10


@pytest.mark.parametrize("name", CENTRED)
@pytest.mark.parametrize("size", [1e-8, 1e-5, 1e-3, 1.0, 1e4])
def test_the_floor_holds_however_small_the_heads_are(name, size):
    posterior, features = make(name), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[:3] *= size
    kl = mean_kl(evaluated(posterior, features))
    assert (kl >= posterior.component_floors() - 1e-10).all()


@pytest.mark.parametrize("name", FAMILY)
def test_the_floor_follows_from_tau_and_eps(name):
    tau, d = 0.3, 3
    posterior, features = make(name, d, tau), normal(30, IN_FEATURES)
    evaluated(posterior, features)
    v = posterior.heads(features)[:, :d].var(0, correction=0).detach().numpy()
    part = v / (v + 1e-8)
    row = posterior.heads(features)[:, :d].var(1, correction=0).detach().numpy()
    matched = (-0.5 * np.log(1 - tau * part)).sum()
    expected = {
        "gaussian": 0.0,
        "batchnorm-mean": (
            0.5 * (tau * part + np.square(getattr(posterior, "beta", torch.zeros(d)).tolist()))
        ).sum(),
        "layernorm": 0.5 * d * tau * (row / (row + 1e-8)).mean(),
        "delta": -0.5 * d * np.log(1 - tau),
    }.get(name, matched)
    assert posterior.kl_floor() == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", ["batchnorm-mean", "moment-theta"])
def test_a_constant_scale_reaches_the_floor(name):
    tau = 0.4
    posterior, features = make(name, tau=tau), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[3:] = 0.0
        posterior.heads.bias[3:] = 0.0
        if name == "moment-theta":
            posterior.theta.fill_(-5.0)  # gamma_mu^2 down to tau
    kl = mean_kl(evaluated(posterior, features))
    np.testing.assert_allclose(kl, posterior.component_floors(), rtol=1e-7)


def test_unit_noise_reaches_the_floor_of_layer_norm():
    posterior, features = make("layernorm"), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[3:] = 0.0
        posterior.heads.bias[3:] = 0.0
    kl = mean_kl(evaluated(posterior, features))
    assert kl.sum() == pytest.approx(posterior.kl_floor(), rel=1e-12)


def test_at_matched_moments_the_kl_is_the_mean_log_scale():
    q = make("moment")(normal(30, IN_FEATURES))
    np.testing.assert_allclose(mean_kl(q), -q.scale.log().mean(0).detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", ["batchnorm-mean", *MATCHED])
def test_identical_rows_have_no_floor_but_that_of_beta(name):
    posterior, features = make(name), normal(1, IN_FEATURES).expand(8, -1)
    kl = mean_kl(evaluated(posterior, features))
    beta = 0.5 * posterior.beta.square().sum().item() if name == "batchnorm-mean" else 0.0
    assert posterior.kl_floor() == pytest.approx(beta, abs=1e-12)
    assert (kl >= posterior.component_floors() - 1e-10).all()


@pytest.mark.parametrize("name", CENTRED)
def test_eps_takes_its_part_of_the_mean(name):
    # With eps = 1e-5 and a small initialisation most of gamma is gone.
    posterior, features = make(name), normal(200, IN_FEATURES)
    posterior.eps = 1e-5
    nn.init.uniform_(posterior.heads.weight, -2e-4, 2e-4, generator=seeded(0))
    loc = posterior(features).loc
    v = posterior.heads(features)[:, :3].var(0, correction=0).detach().numpy()
    gamma_sq = posterior.tau if name == "batchnorm-mean" else signal(posterior, features).numpy()
    left = loc.var(0, correction=0).detach().numpy()
    np.testing.assert_allclose(left, gamma_sq * shrinkage(v, 1e-5), rtol=1e-9)
    assert (left < 0.05 * gamma_sq).all()


@pytest.mark.parametrize("name", ["moment", "moment-theta"])
def test_what_eps_takes_from_the_mean_goes_to_the_noise(name):
    posterior, features = make(name), normal(20, IN_FEATURES)
    posterior.eps = 0.5
    q = posterior(features)
    assert (q.loc.square().mean(0) < signal(posterior, features) - 0.01).all()
    second = (q.loc.square() + q.scale.square()).mean(0)
    assert_close(second, torch.ones(3).double(), atol=1e-12, rtol=0)


def test_the_floor_of_one_posterior_is_that_of_the_theory():
    posterior = MomentPosterior(IN_FEATURES, 16, tau=0.5)
    posterior.finalise([(torch.randn(100, IN_FEATURES, generator=seeded(0)), None)])
    assert posterior.kl_floor() == pytest.approx(kl_floor(0.5, 16), rel=1e-5)


# -- one row and two rows ------------------------------------------------------------------


@pytest.mark.parametrize("name", MATCHED)
def test_one_row_has_mean_zero(name):
    assert make(name)(normal(1, IN_FEATURES)).loc.abs().max() == 0.0


@pytest.mark.parametrize("name", CENTRED)
def test_one_row_has_no_floor_but_that_of_beta(name):
    posterior = make(name)
    evaluated(posterior, normal(1, IN_FEATURES))
    beta = 0.5 * posterior.beta.square().sum().item() if name == "batchnorm-mean" else 0.0
    assert posterior.kl_floor() == pytest.approx(beta, abs=1e-15)


@every
def test_one_row_gives_finite_values_and_gradients(name):
    posterior = make(name)
    q = posterior(normal(1, IN_FEATURES))
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum()
    gradients = torch.autograd.grad(kl, list(posterior.parameters()), materialize_grads=True)
    assert kl.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_one_row_of_matched_moments_is_the_prior():
    q = make("moment")(normal(1, IN_FEATURES))
    assert_close(q.scale, torch.ones(1, 3).double())


@pytest.mark.parametrize("name", CENTRED)
def test_two_rows_stand_at_plus_and_minus_gamma(name):
    posterior, features = make(name), normal(2, IN_FEATURES)
    loc = posterior(features).loc
    centre = posterior.beta if name == "batchnorm-mean" else torch.zeros(3).double()
    gamma_sq = 0.5 if name == "batchnorm-mean" else signal(posterior, features)
    gamma = torch.as_tensor(gamma_sq).sqrt().double().expand(3)
    assert_close(loc[0] - centre, -(loc[1] - centre))
    assert_close((loc[0] - centre).abs(), gamma, rtol=1e-6, atol=0)


# -- evaluation ----------------------------------------------------------------------------


@every
def test_in_evaluation_a_row_is_on_its_own(name):
    posterior, features = make(name), normal(20, IN_FEATURES)
    q = evaluated(posterior, features)
    for rows in (slice(3, 4), slice(0, 20, 3), slice(19, None)):
        alone = posterior(features[rows])
        assert_close(alone.loc, q.loc[rows], rtol=1e-10, atol=1e-12)
        assert_close(alone.scale, q.scale[rows], rtol=1e-10, atol=1e-12)


@every
def test_evaluation_leaves_the_stored_moments_alone(name):
    posterior = make(name)
    evaluated(posterior, normal(20, IN_FEATURES))
    before = copy.deepcopy(posterior.state_dict())
    posterior(normal(20, IN_FEATURES, seed=1))
    assert_close(posterior.state_dict(), before, rtol=0, atol=0)


@every
def test_finalised_rows_look_in_evaluation_as_in_a_batch_of_all(name):
    posterior, features = make(name), normal(20, IN_FEATURES)
    whole = posterior.train()(features)
    q = evaluated(posterior, features)
    assert_close(q.loc, whole.loc, rtol=1e-10, atol=1e-12)
    assert_close(q.scale, whole.scale, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CENTRED)
def test_running_moments_are_those_of_all_rows_with_fading_weights(name):
    posterior = make(name)
    batches = [normal(10, IN_FEATURES, seed=seed) for seed in range(3)]
    for batch in batches:
        posterior(batch)
    shares = 1.0, 9 / 10, 9 / 11  # of each batch when it came
    weight = torch.tensor([0.1 * (1 - shares[2]), shares[1] * (1 - shares[2]), shares[2]])
    columns, squares = posterior.collect(*posterior._read(posterior.heads(torch.cat(batches))))
    expected = Moments.of(columns, squares, weight.double().repeat_interleave(10))
    assert_close(list(posterior.stored_moments()[1:]), list(expected[1:]))


def test_the_share_of_a_batch_falls_to_a_twentieth():
    posterior = make("moment")
    shares = []
    for _ in range(200):
        shares.append(float(posterior._share_of_batch()))
        posterior(normal(4, IN_FEATURES))
    assert shares[0] == 1.0
    assert shares[9] == pytest.approx(0.5)
    assert shares[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["batchnorm-mean", "moment", "moment-theta"])
def test_training_takes_the_values_of_running_moments(name):
    posterior = make(name)
    for seed in range(3):
        features = normal(10, IN_FEATURES, seed=seed)
        q = posterior(features)
    stored = posterior.eval()(features)
    assert_close((q.loc, q.scale), (stored.loc, stored.scale))


def test_the_literal_article_takes_those_of_the_batch():
    posterior = make("batchnorm")
    for seed in range(3):
        q = posterior(normal(10, IN_FEATURES, seed=seed))
    assert_close(q.loc.mean(0), torch.zeros(3).double())


@pytest.mark.parametrize("name", CENTRED)
def test_running_moments_settle_on_those_of_a_constant_batch(name):
    posterior, features = make(name), normal(10, IN_FEATURES)
    for _ in range(400):
        trained = posterior(features)
    seen = posterior.eval()(features)
    assert_close(seen.loc, trained.loc, rtol=1e-8, atol=1e-10)
    assert_close(seen.scale, trained.scale, rtol=1e-8, atol=1e-10)


@every
def test_running_moments_carry_no_gradient(name):
    posterior = make(name)
    posterior(normal(10, IN_FEATURES))
    assert not any(buffer.requires_grad for buffer in posterior.buffers())


# -- the finalising pass -------------------------------------------------------------------


def stored(posterior):
    return [moment.clone() for moment in posterior.stored_moments()]


@every
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 13], [1, 18, 1]])
def test_finalising_in_pieces_is_finalising_at_once(name, weighted, sizes):
    posterior, (features, weight) = make(name), draw(20, 0, weighted)
    posterior.finalise([(features, weight)])
    at_once = stored(posterior)
    weights = [None] * len(sizes) if weight is None else weight.split(sizes)
    pieces = list(zip(features.split(sizes), weights, strict=True))
    for order in (pieces, pieces[::-1]):  # and in any order
        posterior.finalise(order)
        assert_close(stored(posterior), at_once, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
def test_finalised_moments_are_numpys(weighted):
    posterior, (features, weight) = make("moment"), draw(50, 0, weighted)
    weights = [None, None] if weight is None else weight.split([20, 30])
    posterior.finalise(zip(features.split([20, 30]), weights, strict=True))
    location, spread = np.split(posterior.heads(features).detach().numpy(), 2, axis=1)
    weight = np.ones(50) if weight is None else weight.numpy()
    total = weight.sum()
    mean = np.average(location, axis=0, weights=weight)
    np.testing.assert_allclose(posterior.weight, total, rtol=1e-12)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-12)
    variance = np.average((location - mean) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(posterior.variance, variance, rtol=1e-12)
    square = np.average(np.exp(spread), axis=0, weights=weight)
    np.testing.assert_allclose(posterior.mean_square, square, rtol=1e-12)


@every
def test_the_finalised_mean_is_exact_far_from_zero(name):
    # In single precision the sums would lose the variance; the merge of pieces must not.
    posterior, features = make(name), normal(1000, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.bias[:3] += 1e6
    q = evaluated_in_pieces(posterior, features)
    if name in CENTRED:
        centre = getattr(posterior, "beta", torch.zeros(3).double())
        assert_close(q.loc.mean(0), centre, rtol=0, atol=1e-8)


def evaluated_in_pieces(posterior, features):
    posterior.finalise((piece, None) for piece in features.split(100))
    return posterior.eval()(features)


@every
@given(repeats=st.lists(st.integers(1, 4), min_size=3, max_size=10), seed=st.integers(0, 10**6))
@some
def test_an_integer_weight_is_that_many_rows(name, repeats, seed):
    features, counts = normal(len(repeats), IN_FEATURES, seed=seed), torch.tensor(repeats)
    weighted, repeated = make(name, seed=seed), make(name, seed=seed)
    q = weighted(features, counts.double())
    many = repeated(features.repeat_interleave(counts, 0))
    assert_close(q.loc.repeat_interleave(counts, 0), many.loc, rtol=1e-8, atol=1e-10)
    assert_close(q.scale.repeat_interleave(counts, 0), many.scale, rtol=1e-8, atol=1e-10)
    weighted.finalise([(features, counts.double())])
    repeated.finalise([(features.repeat_interleave(counts, 0), None)])
    assert_close(stored(weighted), stored(repeated), rtol=1e-10, atol=1e-12)


@every
def test_the_scale_of_the_weights_does_not_matter_to_a_batch(name):
    features, weight = draw(12, 0, True)
    assert_close(make(name)(features, weight).loc, make(name)(features, 1e3 * weight).loc)


@every
def test_a_row_without_weight_moves_nothing(name):
    features, weight = draw(12, 0, True)
    weight[5] = 0.0
    rest = torch.arange(12) != 5
    q = make(name)(features, weight)
    assert_close(q.loc[rest], make(name)(features[rest], weight[rest]).loc)
    assert_close(q.scale[rest], make(name)(features[rest], weight[rest]).scale)


@every
def test_moments_merged_with_previous_ones_are_those_of_all_rows(name):
    posterior, (features, weight) = make(name), draw(20, 0, True)
    posterior.finalise([(features, weight)])
    together = stored(posterior)
    posterior.finalise([(features[:6], weight[:6])])
    previous = Moments(*stored(posterior))
    posterior.finalise([(features[6:], weight[6:])], previous)
    assert_close(stored(posterior), together, rtol=1e-12, atol=1e-14)


@every
def test_previous_moments_of_no_weight_change_nothing(name):
    posterior, (features, weight) = make(name), draw(20, 0, True)
    fresh = Moments(*stored(posterior))  # never finalised
    posterior.finalise([(features, weight)])
    alone = stored(posterior)
    posterior.finalise([(features, weight)], fresh)
    assert_close(stored(posterior), alone, rtol=1e-12, atol=1e-14)


def test_a_fresh_posterior_says_that_it_has_seen_no_rows():
    assert MomentPosterior(IN_FEATURES, 2).stored_moments().weight == 0.0


@every
def test_finalising_a_single_precision_module_keeps_its_precision(name):
    posterior = FAMILY[name](IN_FEATURES, 3)
    posterior.finalise([(normal(20, IN_FEATURES).float(), None)])
    assert {buffer.dtype for buffer in posterior.buffers()} == {torch.float32}


@every
def test_finalising_does_not_touch_the_parameters(name):
    posterior = make(name)
    before = [parameter.clone() for parameter in posterior.parameters()]
    posterior.finalise([(normal(20, IN_FEATURES), None)])
    assert_close(list(posterior.parameters()), before, rtol=0, atol=0)


@every
def test_a_state_dict_carries_the_finalised_posterior(name):
    posterior, features = make(name), normal(20, IN_FEATURES)
    q = evaluated(posterior, features)
    other = FAMILY[name](IN_FEATURES, 3).double()
    other.load_state_dict(posterior.state_dict())
    again = other.eval()(features)
    assert_close([again.loc, again.scale], [q.loc, q.scale], rtol=0, atol=0)
    assert other.kl_floor() == posterior.kl_floor()


def test_moments_of_one_set_are_an_identity_of_merge():
    parts = [Moments.of(normal(n, 2, seed=n), normal(n, 2, seed=-n % 97)) for n in (3, 5, 8)]
    left = parts[0].merge(parts[1]).merge(parts[2])
    right = parts[0].merge(parts[1].merge(parts[2]))
    assert_close(list(left), list(right))


# -- gradients -----------------------------------------------------------------------------


def spread_gradient(posterior, location, spread):
    """Largest gradient of the summed mean KL over the raw spreads."""
    features = torch.cat([location, spread], dim=1).requires_grad_()
    kl = kl_divergence(posterior(features), Normal(0.0, 1.0)).mean(0).sum()
    (gradient,) = torch.autograd.grad(kl, features)
    return gradient[:, location.shape[1] :].abs().max().item()


def crossing(distance):
    """Raw heads of 20 rows, one of whose spreads lies that near to the mean of all."""
    location, spread = normal(20, 1), normal(20, 1, seed=1)
    spread[0] = spread[1:].mean() + distance
    return location, spread


def test_the_articles_gradient_explodes_where_the_std_head_crosses_zero():
    sizes = [
        spread_gradient(make_direct(BatchNormPosterior), *crossing(distance))
        for distance in (1e-2, 1e-4, 1e-6)
    ]
    np.testing.assert_allclose(np.array(sizes[1:]) / sizes[:-1], 100.0, rtol=0.1)


@pytest.mark.parametrize("gamma", ["heads", "theta"])
@pytest.mark.parametrize("distance", [1e-2, 1e-6, 0.0])
def test_matched_moments_keep_the_gradient_bounded_there(gamma, distance):
    posterior = make_direct(MomentPosterior, gamma=gamma)
    assert spread_gradient(posterior, *crossing(distance)) < 1.0


@given(st.integers(2, 20), st.floats(0.1, 10), st.integers(0, 10**6))
@some
def test_matched_moments_bound_every_spread_gradient(n_rows, size, seed):
    # d KL / d l_i is a difference of two shares of a batch, 1/2b and softmax_i, and so below 1.
    location, spread = normal(n_rows, 1, seed=seed), size * normal(n_rows, 1, seed=seed + 1)
    assert spread_gradient(make_direct(MomentPosterior), location, spread) <= 1.0


@every
def test_every_parameter_gets_a_gradient(name):
    posterior = make(name)
    q = posterior(normal(20, IN_FEATURES))
    value = (q.loc.sin() + q.scale.cos()).sum()
    gradients = torch.autograd.grad(value, list(posterior.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)


@pytest.mark.parametrize("name", CENTRED)
def test_the_gradient_goes_through_the_moments(name):
    # A shift of the mean head is undone by its moments: its bias must get no gradient.
    posterior = make(name)
    value = posterior(normal(20, IN_FEATURES)).loc.sin().sum()
    (gradient,) = torch.autograd.grad(value, posterior.heads.bias)
    assert gradient[:3].abs().max() < 1e-10


@pytest.mark.parametrize("name", FAMILY)
def test_gradients_agree_with_finite_differences(name):
    posterior = make(name)

    def values(features):
        q = posterior(features)
        return q.loc, q.scale

    # The numeric derivative moves the batch: the moments must be its own, as in the first step.
    def first(features):
        posterior.n_batches = 0
        return values(features)

    features = normal(4, IN_FEATURES).requires_grad_()
    assert torch.autograd.gradcheck(first, features)
    assert torch.autograd.gradgradcheck(first, features)


def later(name, seed=0):
    """A posterior that has seen batches of another kind."""
    posterior = make(name, seed=seed)
    for shift in range(30):
        posterior(normal(20, IN_FEATURES, seed=shift) * 3 + 1)
    return posterior


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_batch_of_equal_rows_leaves_values_and_gradients_finite(name, scale):
    posterior = make(name).float()
    for seed in range(30):
        posterior(scale * normal(20, IN_FEATURES, seed=seed).float())
    features = torch.ones(20, IN_FEATURES, requires_grad=True)
    q = posterior(features)
    value = 100 * wavy(q.loc, q.scale)
    found = torch.autograd.grad(value, [features, *posterior.parameters()], allow_unused=True)
    assert all(one.isfinite().all() for one in (q.loc, q.scale, *found) if one is not None)


def gradient_of_heads(posterior, features, value):
    """Gradient of a value of mean and scale over the raw heads, and these."""
    raw = posterior.heads(features).detach()
    see_raw_heads(posterior)
    q = posterior(raw.requires_grad_())
    (gradient,) = torch.autograd.grad(value(q.loc, q.scale), raw)
    return gradient, raw.detach()


def wavy(loc, scale):
    return (loc.sin() + (3 * scale).cos()).sum()


@pytest.mark.parametrize("name", CENTRED)
def test_the_gradient_is_blind_to_a_shift_whatever_the_values(name):
    gradient, _ = gradient_of_heads(later(name), normal(20, IN_FEATURES), wavy)
    assert_close(gradient[:, :3].sum(0), torch.zeros(3).double())


def test_the_gradient_is_blind_to_the_scale_of_the_mean_head():
    gradient, raw = gradient_of_heads(later("batchnorm-mean"), normal(20, IN_FEATURES), wavy)
    centred = raw[:, :3] - raw[:, :3].mean(0)
    assert_close((gradient[:, :3] * centred).sum(0), torch.zeros(3).double(), rtol=0, atol=1e-6)


class Whole(MomentPosterior):
    """Lets all of the gradient through."""

    def gradient_share(self, running, share):
        return torch.ones(self.n_components).double()


class Without(MomentPosterior):
    """Lets none of it through."""

    def gradient_share(self, running, share):
        return torch.zeros(self.n_components).double()


def scale_gradient(posterior):
    """Derivative along a common scale of both raw heads."""
    gradient, raw = gradient_of_heads(posterior, normal(20, IN_FEATURES, seed=7), wavy)
    centred = raw[:, :3] - raw[:, :3].mean(0)
    return (gradient[:, :3] * centred + 2 * gradient[:, 3:]).sum(0)


def test_the_common_scale_of_the_heads_has_the_share_that_is_left():
    posteriors = [later("moment") for _ in range(3)]
    posteriors[1].__class__, posteriors[2].__class__ = Whole, Without
    found, none, free = (scale_gradient(posterior) for posterior in posteriors)
    assert none.abs().max() < 1e-6
    assert free.abs().min() > 1e-3
    posterior = later("moment")
    share = posterior._share_of_batch()
    posterior(normal(20, IN_FEATURES, seed=7))
    flows = posterior.gradient_share(posterior.stored_moments(), share)
    assert_close(found, (1 - flows) * free, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("log_variance", [-20.0, 0.0, 20.0])
def test_the_projection_is_as_strong_as_the_component_is_noisy(log_variance):
    posterior = make_direct(MomentPosterior)
    variance, share = torch.tensor([1.0]).double(), 0.05
    moments = Moments(variance.sum(), 0 * variance, variance, variance * np.exp(log_variance))
    noise = 1 / (1 + np.exp(-log_variance))
    expected = 0.05 + 0.95 * noise
    assert posterior.gradient_share(moments, share).item() == pytest.approx(expected)


def test_in_the_first_step_all_of_the_gradient_flows():
    posterior, one = make_direct(MomentPosterior), torch.tensor(1.0).double()
    precise = Moments(one, torch.zeros(1).double(), torch.ones(1).double(), torch.zeros(1).double())
    assert posterior.gradient_share(precise, 1.0).item() == 1.0


def test_heads_of_another_kind_are_trained_by_the_equations():
    class Scaled(nn.Linear):
        def forward(self, features):
            return 3 * super().forward(features)

    features, found = normal(9, IN_FEATURES), []
    for heads_type, factor in ((Scaled, 1.0), (nn.Linear, 3.0)):
        posterior = make("moment")
        weight = posterior.heads.weight.detach()
        posterior.heads = heads_type(IN_FEATURES, 6, bias=False).double()
        with torch.no_grad():
            posterior.heads.weight.copy_(factor * weight)
        q = posterior(features)
        found.append((q.loc, q.scale))
    assert_close(*found)


def test_frozen_heads_get_no_gradient():
    posterior, features = make("moment"), normal(9, IN_FEATURES).requires_grad_()
    posterior.heads.requires_grad_(False)
    q = posterior(features)
    (gradient,) = torch.autograd.grad(wavy(q.loc, q.scale), features)
    assert gradient.abs().max() > 0
    posterior.heads.weight.requires_grad_(True)
    q = posterior(features.detach())
    (gradient,) = torch.autograd.grad(wavy(q.loc, q.scale), posterior.heads.weight)
    assert gradient.abs().max() > 0


def test_two_batches_may_pass_before_the_gradient_of_the_first():
    def gradient(n_between):
        posterior = make("moment")
        first = posterior(normal(9, IN_FEATURES))
        for seed in range(n_between):
            posterior(normal(9, IN_FEATURES, seed=seed + 1))
        return torch.autograd.grad(wavy(first.loc, first.scale), posterior.heads.weight)

    assert_close(gradient(2), gradient(0), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["batchnorm-mean", "moment", "moment-theta"])
def test_the_bias_that_the_moments_take_out_gets_no_gradient_at_all(name):
    posterior = later(name)
    q = posterior(normal(20, IN_FEATURES))
    (gradient,) = torch.autograd.grad(wavy(q.loc, q.scale), posterior.heads.bias)
    assert gradient[:3].tolist() == [0.0, 0.0, 0.0]
    assert gradient[3:].abs().min() > 0.0


def test_a_posterior_of_ones_own_equations_needs_no_more_than_them():
    class Wider(MomentPosterior):
        def standardise(self, location, spread, moments):
            loc, scale = super().standardise(location, spread, moments)
            return loc, 2 * scale

    posterior = Wider(IN_FEATURES, 2)
    q = posterior(torch.randn(50, IN_FEATURES, generator=seeded(0)))
    assert_close(q.loc.square().mean(0) + q.scale.square().mean(0) / 4, torch.ones(2))


def test_the_kl_to_the_prior_and_its_derivatives_are_those_of_pytorch():
    prior = StandardNormal(3).double()()
    loc, scale = normal(9, 3).requires_grad_(), normal(9, 3, seed=1).exp().requires_grad_()

    def to_prior(loc, scale):
        return kl_divergence(Normal(loc, scale), prior)

    assert_close(to_prior(loc, scale), kl_divergence(Normal(loc, scale), Normal(0.0, 1.0)))
    assert torch.autograd.gradcheck(to_prior, (loc, scale))
    assert torch.autograd.gradgradcheck(to_prior, (loc, scale))


# -- links to the plain VAE ----------------------------------------------------------------


def test_at_a_vanishing_tau_it_is_the_plain_posterior_shifted_and_rescaled():
    plain, matched = make("gaussian"), make("moment", tau=1e-12)
    matched.heads.load_state_dict(plain.heads.state_dict())
    features = normal(30, IN_FEATURES)
    p, q = plain(features), matched(features)
    scale = (p.loc.var(0, correction=0) + p.scale.square().mean(0)).rsqrt()
    assert_close(q.loc, scale * (p.loc - p.loc.mean(0)), rtol=1e-6, atol=1e-8)
    assert_close(q.scale, scale * p.scale, rtol=1e-6, atol=0)


def test_the_moments_are_those_that_a_plain_vae_wants():
    # Of all shifted and rescaled copies of a plain posterior, the KL likes this one best.
    plain, matched = make("gaussian", d=1), make("moment", d=1, tau=1e-12)
    matched.heads.load_state_dict(plain.heads.state_dict())
    features = normal(30, IN_FEATURES)
    p = plain(features)
    loc, scale = (p.loc - p.loc.mean()).detach().numpy(), p.scale.detach().numpy()
    best = minimize_scalar(lambda c: gaussian_kl(c * loc, c * scale).mean(), bounds=(0.01, 100))
    assert mean_kl(matched(features)).item() == pytest.approx(best.fun, rel=1e-6)


# -- layer normalization does not help -----------------------------------------------------


def test_layer_norm_meets_its_floor_with_one_mean_for_all_rows():
    posterior, features = make("layernorm", d=4), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[:4] = 0.0  # no mean looks at its row
    q = evaluated(posterior, features)
    assert posterior.kl_floor() == pytest.approx(4 * 0.5 / 2, rel=1e-5)
    assert mean_kl(q).sum() >= posterior.kl_floor() - 1e-10
    assert q.loc.var(0).max() < 1e-20


@pytest.mark.parametrize("name", CENTRED)
def test_batch_norm_has_no_floor_there(name):
    posterior, features = make(name, d=4), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[:4] = 0.0
        if name == "batchnorm-mean":
            posterior.beta.zero_()
    evaluated(posterior, features)
    assert posterior.kl_floor() == pytest.approx(0.0, abs=1e-15)


def test_layer_norm_promises_nothing_for_a_component():
    assert make("layernorm").component_floors().tolist() == [0.0, 0.0, 0.0]


def test_batch_norm_does_not_make_components_differ():
    posterior, features = make("moment", d=2), normal(30, IN_FEATURES)
    with torch.no_grad():
        posterior.heads.weight[1] = posterior.heads.weight[0]
    loc = evaluated(posterior, features).loc.detach().numpy()
    assert np.linalg.matrix_rank(np.cov(loc.T), tol=1e-6) == 1


def test_the_signed_head_pays_for_its_shape():
    # A Gaussian-shaped head: 0.635 nats over a constant scale, at the same moments.
    posterior = make_direct(BatchNormPosterior)
    features = normal(200_000, 2)
    kl = mean_kl(posterior(features)).item()
    floor = kl_floor(signal(posterior).item())
    assert kl - floor == pytest.approx(0.635, abs=0.015)  # 3 standard errors: sd 1.11 a row


# -- mistakes that ports of the article's layer made ---------------------------------------
# Each is one property that ours have and that a layer with the mistake has not: the second
# half of each pair shows that the property can fail.


class TwoThetas(BatchNormPosterior):
    def __init__(self, *args):
        super().__init__(*args)
        self.theta_sigma = nn.Parameter(torch.ones(self.n_components))

    def standardise(self, location, spread, moments):
        loc, _ = super().standardise(location, spread, moments)
        mine, self.theta = self.theta, self.theta_sigma
        _, scale = super().standardise(location, spread, moments)
        self.theta = mine
        return loc, scale


class OneNormForBothHeads(BatchNormPosterior):
    def _moments(self, location, spread, weight=None):
        if not self.training:
            return self.stored_moments()
        both = [Moments.of(head, head[:, :0], weight) for head in (location, spread)]
        with torch.no_grad():
            for new in both:  # one set of running statistics, fed by both
                self.mean.lerp_(new.mean.repeat(2), 0.1)
                self.variance.lerp_(new.variance.repeat(2), 0.1)
        mean, variance = (torch.cat([getattr(m, k) for m in both]) for k in ("mean", "variance"))
        return both[0]._replace(mean=mean, variance=variance)


class StdReadAsLogVariance(BatchNormPosterior):
    def standardise(self, location, spread, moments):
        loc, _ = super().standardise(location, spread, moments)
        d = self.n_components
        standard = (spread - moments.mean[d:]) * (moments.variance[d:] + self.eps).rsqrt()
        gamma_sigma = gamma_squares(self.tau, self.theta)[1].sqrt()
        return loc, (0.5 * gamma_sigma * standard).exp()


class PositiveModeOnBothHeads(BatchNormPosterior):
    def standardise(self, location, spread, moments):
        loc, _ = super().standardise(location, spread, moments)
        positive = gamma_squares(self.tau, self.theta)[0].sqrt()
        d = self.n_components
        signed = (spread - moments.mean[d:]) * (moments.variance[d:] + self.eps).rsqrt()
        return loc, (positive * signed).abs()


class ThetaIsAPlainTensor(BatchNormPosterior):
    def __init__(self, *args):
        super().__init__(*args)
        del self.theta
        self.theta = torch.zeros(self.n_components)


class GammasFromTheConstructor(BatchNormPosterior):
    def __init__(self, *args):
        super().__init__(*args)
        self.fixed = torch.zeros(self.n_components)

    def standardise(self, location, spread, moments):
        mine = self.theta
        del self.theta
        self.theta = self.fixed.to(location)
        result = super().standardise(location, spread, moments)
        del self.theta
        self.theta = mine
        return result


def squares_sum_to_one(posterior):
    with torch.no_grad():
        posterior.theta.copy_(torch.tensor([-2.0, 0.5, 3.0]))
    q = posterior(normal(30, IN_FEATURES))
    second = (q.loc.square() + q.scale.square()).mean(0)
    assert_close(second, torch.ones(3).double(), atol=1e-5, rtol=0)


def each_head_keeps_its_own_statistics(posterior):
    with torch.no_grad():
        posterior.heads.bias[:3] += 5.0  # the heads are nothing like each other
        posterior.heads.weight[3:] *= 0.1
    features = normal(30, IN_FEATURES)
    for _ in range(300):
        trained = posterior.train()(features)
    q = posterior.eval()(features)
    assert_close(q.loc, trained.loc, rtol=1e-6, atol=1e-8)
    assert_close(q.scale, trained.scale, rtol=1e-6, atol=1e-8)


def noise_is_below_one(posterior):
    q = posterior(normal(30, IN_FEATURES))
    assert (q.scale.square().mean(0) < 1 - posterior.tau).all()


def theta_trades_noise_for_signal(posterior):
    features, moments = normal(30, IN_FEATURES), []
    for theta in (-3.0, 3.0):
        with torch.no_grad():
            posterior.theta.fill_(theta)
        q = posterior(features)
        moments.append((q.loc.square().mean(0), q.scale.square().mean(0)))
    (signal_before, noise_before), (signal_after, noise_after) = moments
    assert (signal_after > signal_before).all()
    assert (noise_after < noise_before).all()


def theta_trains(posterior):
    with torch.no_grad():
        posterior.theta.zero_()
    optimizer = Adam(posterior.parameters(), 0.01)
    features = normal(30, IN_FEATURES)
    for _ in range(20):
        kl = kl_divergence(posterior(features), Normal(0.0, 1.0)).mean()
        optimizer.step(torch.autograd.grad(kl, optimizer.parameters, materialize_grads=True))
    assert (posterior.theta < -0.05).all()  # down to the floor
    assert "theta" in posterior.state_dict()


def gammas_follow_theta(posterior):
    features = normal(30, IN_FEATURES)
    before = posterior(features).loc
    with torch.no_grad():
        posterior.theta.add_(1.0)
    assert (posterior(features).loc.abs() > before.abs()).all()


MISTAKES = {
    TwoThetas: squares_sum_to_one,
    OneNormForBothHeads: each_head_keeps_its_own_statistics,
    StdReadAsLogVariance: noise_is_below_one,
    PositiveModeOnBothHeads: theta_trades_noise_for_signal,
    ThetaIsAPlainTensor: theta_trains,
    GammasFromTheConstructor: gammas_follow_theta,
}


@pytest.mark.parametrize("name", WITH_THETA)
@pytest.mark.parametrize("holds", MISTAKES.values(), ids=lambda f: f.__name__)
def test_ours_has_the_property(name, holds):
    holds(make(name))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_layer_with_the_mistake_has_not(mistake, monkeypatch):
    monkeypatch.setitem(FAMILY, "mistake", mistake)
    with pytest.raises(AssertionError):
        MISTAKES[mistake](make("mistake"))


@pytest.mark.parametrize("name", ["batchnorm", "moment-theta"])
def test_there_is_one_theta_for_a_component(name):
    shapes = {key: tuple(p.shape) for key, p in make(name).named_parameters()}
    assert shapes == {
        "theta": (3,),
        "heads.weight": (6, IN_FEATURES),
        "heads.bias": (6,),
    }


def test_gamma_squares_start_in_the_middle_and_end_at_tau_and_one():
    tau = 0.3
    signals, noises = gamma_squares(tau, torch.tensor([-1e3, 0.0, 1e3]))
    assert_close(signals, torch.tensor([tau, (1 + tau) / 2, 1.0]))
    assert_close(noises, torch.tensor([1 - tau, (1 - tau) / 2, 0.0]))


def test_theta_takes_ten_times_the_step():
    fast, slow = moment_theta(IN_FEATURES, 3).double(), make("batchnorm")
    with torch.no_grad():
        fast.heads.load_state_dict(slow.heads.state_dict())
        slow.theta.fill_(0.7)
        fast.theta.fill_(0.07)
    features = normal(20, IN_FEATURES)
    assert_close(fast(features).loc, slow(features).loc)


# -- parameters ----------------------------------------------------------------------------


@every
@pytest.mark.parametrize("tau", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_tau_must_lie_inside(name, tau):
    with pytest.raises(ValueError, match=f"tau must lie between 0 and 1, .*; got {tau}"):
        FAMILY[name](IN_FEATURES, 2, tau)


def test_gamma_must_be_known():
    with pytest.raises(ValueError, match="gamma must be 'heads' or 'theta'; got 'tail'"):
        MomentPosterior(IN_FEATURES, 2, gamma="tail")


@pytest.mark.parametrize("method", ["component_floors", "kl_floor"])
def test_the_base_knows_no_floor(method):
    with pytest.raises(NotImplementedError):
        getattr(Posterior(IN_FEATURES, 2), method)()


def test_the_base_knows_no_posterior():
    with pytest.raises(NotImplementedError):
        Posterior(IN_FEATURES, 2)(torch.zeros(1, IN_FEATURES))


@every
def test_its_repr_shows_tau(name):
    assert "n_components=2, tau=0.25" in repr(FAMILY[name](IN_FEATURES, 2, 0.25))


def test_the_table_has_them_all():
    assert list(POSTERIORS.values()) == [
        GaussianPosterior,
        BatchNormMeanPosterior,
        BatchNormPosterior,
        MomentPosterior,
        LayerNormPosterior,
        DeltaPosterior,
    ]


# -- delta-VAE's constraint ----------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_delta_is_a_floor_for_every_row_and_component(tau, size):
    posterior = make("delta", tau=tau)
    q = posterior(size * normal(200, IN_FEATURES))
    kl = gaussian_kl(q.loc.detach().numpy(), q.scale.detach().numpy())
    assert kl.min() >= -0.5 * np.log(1 - tau) - 1e-9


def test_delta_is_met_by_one_code_for_all_rows():
    posterior = make("delta", tau=0.5)
    with torch.no_grad():
        posterior.heads.weight.zero_()
        posterior.heads.bias[:3] = -1.0  # max(0, m) = 0
    q = posterior(normal(50, IN_FEATURES))
    kl = gaussian_kl(q.loc.detach().numpy(), q.scale.detach().numpy())
    np.testing.assert_allclose(kl, -0.5 * np.log(0.5), atol=1e-7)
    assert q.loc.std(0).max() == 0


def test_delta_follows_tau():
    posterior = make("delta", tau=0.5)
    posterior.tau = 0.9
    q = posterior(normal(50, IN_FEATURES))
    kl = gaussian_kl(q.loc.detach().numpy(), q.scale.detach().numpy())
    assert kl.min() >= -0.5 * np.log(0.1) - 1e-9


def test_finalise_without_rows_says_so():
    with pytest.raises(ValueError, match="finalise needs at least one batch of rows; got none"):
        MomentPosterior(3, 2).finalise([])
