"""The objectives against a linear-Gaussian model, whose evidence is known exactly."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal, norm
from torch import nn
from torch.testing import assert_close

from skvae._data.rows import Batch
from skvae.bounds import gaussian_kl
from skvae.likelihoods import GaussianLikelihood
from skvae.model import VAE
from skvae.networks import MLP
from skvae.objectives import (
    BOUNDS,
    OBJECTIVES,
    CyclicalAnnealing,
    FreeBits,
    LinearAnnealing,
    Objective,
    Terms,
    elbo,
    elbo_terms,
    importance_bound,
    mean_terms,
    row_noise,
)
from skvae.posteriors import GaussianPosterior
from skvae.priors import StandardNormal

D, N_FEATURES = 2, 5


def linear_gaussian(shift=0.0, stretch=1.0):
    """x = W z + b + noise with the exact posterior, or one shifted and stretched from it.

    The columns of ``noise^-1/2 W`` are orthogonal, so that the exact posterior is diagonal.
    """
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.3, 1.2, N_FEATURES)  # standard deviations
    basis, _ = np.linalg.qr(rng.normal(size=(N_FEATURES, D)))
    strength = np.array([2.0, 0.7])
    weights, bias = noise[:, None] * basis * strength, rng.normal(size=N_FEATURES)
    variance = 1 / (1 + strength**2)  # of the exact posterior
    to_mean = variance[:, None] * (weights / noise[:, None] ** 2).T

    model = VAE(
        MLP(N_FEATURES),
        GaussianPosterior(N_FEATURES, D),
        nn.Linear(D, N_FEATURES),
        GaussianLikelihood(N_FEATURES),
        StandardNormal(D),
    ).double()
    heads, likelihood = model.posterior_layer.heads, model.likelihood_layer
    free = np.sqrt(noise**2 - likelihood.smallest_scale**2)
    with torch.no_grad():
        likelihood.scale_floor.fill_(likelihood.smallest_scale)  # not its rounding to float32
        for parameter, value in [
            (model.decoder.weight, weights),
            (model.decoder.bias, bias),
            (likelihood.log_scale, np.log(free) / likelihood.pace),
            (heads.weight, np.vstack([to_mean, np.zeros((D, N_FEATURES))])),
            (heads.bias, np.r_[shift - to_mean @ bias, np.log(variance * stretch**2)]),
        ]:
            parameter.copy_(torch.from_numpy(value))
    exact = multivariate_normal(bias, weights @ weights.T + np.diag(noise**2))
    x = np.random.default_rng(1).normal(size=(7, N_FEATURES)) * 2
    return SimpleNamespace(
        model=model.eval(),
        x=torch.from_numpy(x),
        evidence=exact.logpdf(x),
        variance=variance,
        weights=weights,
        bias=bias,
        noise=noise,
        loc=(x - bias) @ to_mean.T + shift,
        scale=np.sqrt(variance) * stretch,
    )


def draws(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# Noise of mean 0 and covariance I on four points: exact for the mean of any quadratic.
SIGNS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=D))).double()


# -- ELBO ----------------------------------------------------------------------------------


def test_reconstruction_is_the_log_density_at_that_code():
    known, noise = linear_gaussian(0.3, 1.5), draws(7, D)
    z = known.loc + known.scale * noise.numpy()
    mean = z @ known.weights.T + known.bias
    expected = norm.logpdf(known.x.numpy(), mean, known.noise).sum(1)
    terms = elbo_terms(known.model, known.x, noise)
    np.testing.assert_allclose(terms.reconstruction.detach(), expected, rtol=1e-12)


def test_kl_is_the_closed_form_of_every_component():
    known = linear_gaussian(0.3, 1.5)
    terms = elbo_terms(known.model, known.x, draws(7, D))
    expected = gaussian_kl(known.loc, known.scale)
    np.testing.assert_allclose(terms.kl.detach(), expected, rtol=1e-12)


def test_at_the_exact_posterior_the_mean_elbo_is_the_evidence():
    known = linear_gaussian()
    elbos = [elbo_terms(known.model, known.x, noise[None]).elbo().detach() for noise in SIGNS]
    np.testing.assert_allclose(np.mean(elbos, axis=0), known.evidence, rtol=1e-12)


def test_elsewhere_the_gap_is_the_kl_to_the_exact_posterior():
    shift, stretch = 0.3, 1.5
    known = linear_gaussian(shift, stretch)
    elbos = [elbo_terms(known.model, known.x, noise[None]).elbo().detach() for noise in SIGNS]
    gap = gaussian_kl(shift / np.sqrt(known.variance), stretch).sum()
    np.testing.assert_allclose(known.evidence - np.mean(elbos, axis=0), gap, rtol=1e-11)


# -- objectives ----------------------------------------------------------------------------

TERMS = Terms(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 3.0], [0.5, 0.25]]))


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0, 3.0])
def test_the_weight_weighs_the_kl_alone(weight):
    assert_close(Objective()(TERMS.mean(), weight), torch.tensor(1.5 - 2.375 * weight))


def test_weights_of_rows_average_both_terms():
    mean = TERMS.mean(torch.tensor([0.5, 1.5]))
    assert_close(mean.reconstruction, torch.tensor(1.75))
    assert_close(mean.kl, torch.tensor([0.625, 0.9375]))


@pytest.mark.parametrize("objective", OBJECTIVES.values())
def test_a_schedule_starts_between_0_and_1_and_stays_at_1_in_the_end(objective):
    shares = np.linspace(0, 1, 401)
    weights = np.array([objective.kl_weight(share) for share in shares])
    assert weights.min() >= 0
    assert weights.max() == 1
    assert (weights[shares >= objective.constant_from] == 1).all()
    if objective.constant_from:
        assert (weights[shares < objective.constant_from - 0.01] < 1).any()


def test_linear_annealing_is_linear():
    weights = [LinearAnnealing(0.8).kl_weight(share) for share in (0, 0.2, 0.4, 0.8, 0.9, 1)]
    np.testing.assert_allclose(weights, [0, 0.25, 0.5, 1, 1, 1])


def test_cyclical_annealing_starts_again():
    objective = CyclicalAnnealing(n_cycles=2, fraction=0.5)
    weights = [objective.kl_weight(share) for share in (0, 0.125, 0.25, 0.49, 0.5, 0.625, 0.75, 1)]
    np.testing.assert_allclose(weights, [0, 0.5, 1, 1, 0, 0.5, 1, 1])


def test_free_bits_count_each_component_or_all_together():
    kl = torch.tensor([0.1, 0.6, 0.0])
    assert_close(FreeBits(0.25).penalty(kl), torch.tensor(0.25 + 0.6 + 0.25))
    assert_close(FreeBits(0.25, per="code").penalty(kl), torch.tensor(0.7))
    assert_close(FreeBits(0.9, per="code").penalty(kl), torch.tensor(0.9))


def test_free_bits_leave_a_dead_component_without_a_gradient():
    kl = torch.tensor([0.1, 0.6], requires_grad=True)
    (gradient,) = torch.autograd.grad(FreeBits(0.25).penalty(kl), kl)
    assert gradient.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearAnnealing(0.0), r"fraction must lie in \(0, 1\]; got 0.0"),
        (lambda: LinearAnnealing(1.5), r"fraction must lie in \(0, 1\]; got 1.5"),
        (lambda: CyclicalAnnealing(0), "n_cycles must be at least 1; got 0"),
        (lambda: CyclicalAnnealing(2, 2.0), "fraction must lie"),
        (lambda: FreeBits(-1.0), "nats must be at least 0; got -1.0"),
        (lambda: FreeBits(1.0, per="row"), "per must be 'component' or 'code'; got 'row'"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_noise_for_all_rows_is_that_noise_in_every_row():
    known, noise = linear_gaussian(0.3, 1.5), draws(1, D)
    shared = elbo_terms(known.model, known.x, noise).reconstruction
    assert_close(shared, elbo_terms(known.model, known.x, noise.expand(7, D)).reconstruction)


def test_gradients_reach_every_parameter():
    known = linear_gaussian(0.3, 1.5)
    value = elbo_terms(known.model, known.x, draws(7, D)).elbo().sum()
    gradients = torch.autograd.grad(value, list(known.model.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)


def test_at_the_exact_posterior_the_mean_elbo_is_stationary_in_it():
    known = linear_gaussian()
    value = sum(elbo_terms(known.model, known.x, noise[None]).elbo().sum() for noise in SIGNS)
    gradients = torch.autograd.grad(value, list(known.model.posterior_layer.parameters()))
    assert all(gradient.abs().max() < 1e-10 for gradient in gradients)


# -- ELBO of several draws -----------------------------------------------------------------


def test_over_all_signs_the_elbo_is_the_evidence_less_the_gap():
    shift, stretch = 0.3, 1.5
    known = linear_gaussian(shift, stretch)
    gap = gaussian_kl(shift / np.sqrt(known.variance), stretch).sum()
    bound = elbo(known.model, known.x, SIGNS[:, None]).detach()
    np.testing.assert_allclose(bound, known.evidence - gap, rtol=1e-12)


def test_the_elbo_of_draws_is_the_mean_of_their_elbos():
    known, noise = linear_gaussian(0.3, 1.5), draws(6, 7, D)
    one_by_one = [elbo_terms(known.model, known.x, one).elbo() for one in noise]
    assert_close(elbo(known.model, known.x, noise), torch.stack(one_by_one).mean(0))


def test_the_importance_bound_is_tighter():
    known, noise = linear_gaussian(0.3, 1.5), draws(500, 1, D)
    gap = known.evidence - elbo(known.model, known.x, noise).detach().numpy()
    left = known.evidence - importance_bound(known.model, known.x, noise).detach().numpy()
    assert (abs(left) < 0.5 * gap).all()


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("rows", [[3], [6, 0, 2], [1, 1]])
def test_with_shared_noise_a_row_does_not_depend_on_the_others(name, rows):
    known, noise = linear_gaussian(0.3, 1.5), draws(8, 1, D)
    whole = BOUNDS[name](known.model, known.x, noise)
    alone = BOUNDS[name](known.model, known.x[rows], noise)
    assert_close(alone, whole[rows], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", BOUNDS)
def test_noise_may_be_each_rows_own(name):
    known, noise = linear_gaussian(0.3, 1.5), draws(8, 7, D)
    whole = BOUNDS[name](known.model, known.x, noise)
    alone = BOUNDS[name](known.model, known.x[2:3], noise[:, 2:3])
    assert_close(whole[2:3], alone)


# -- importance bound ----------------------------------------------------------------------


@pytest.mark.parametrize("n_draws", [1, 2, 50])
def test_at_the_exact_posterior_any_draw_gives_the_evidence(n_draws):
    known = linear_gaussian()
    bound = importance_bound(known.model, known.x, 3 * draws(n_draws, 1, D))
    np.testing.assert_allclose(bound.detach(), known.evidence, rtol=1e-12)


def test_the_mean_of_the_weights_is_the_evidence():
    # exp(bound) is unbiased for p(x): over many draws it must meet it from a wrong posterior too.
    known = linear_gaussian(0.2, 1.3)
    bound = importance_bound(known.model, known.x, draws(2000, 1, D)).detach()
    np.testing.assert_allclose(bound, known.evidence, atol=0.035, rtol=0)  # 5 standard errors


def test_more_draws_are_never_worse_in_the_mean():
    # Jensen, exactly and for any noise: the bound of a pool is at least its parts' mean bound.
    known, noise = linear_gaussian(0.5, 0.6), draws(64, 1, D)
    means = []
    for n_draws in (1, 2, 4, 8, 16, 32, 64):
        bounds = [importance_bound(known.model, known.x, part) for part in noise.split(n_draws)]
        means.append(torch.stack(bounds).mean(0))
    steps = torch.stack(means).diff(dim=0)
    assert (steps > 0).all()


def test_with_one_draw_the_mean_bound_is_the_elbo():
    known = linear_gaussian(0.3, 1.5)
    bounds = [importance_bound(known.model, known.x, noise[None, None]) for noise in SIGNS]
    elbos = [elbo_terms(known.model, known.x, noise[None]).elbo() for noise in SIGNS]
    assert_close(sum(bounds), sum(elbos))


def test_a_tiny_scale_keeps_its_density():
    # (z - mu) / sigma would be lost to rounding where mu + sigma * noise is all but mu.
    known = linear_gaussian(0.0, 1e-8)
    noise = draws(1, 1, D)
    bound = importance_bound(known.model, known.x, noise).detach()
    log_q = norm.logpdf(noise[0, 0]).sum() - np.log(known.scale).sum()
    mean = known.loc @ known.weights.T + known.bias
    joint = norm.logpdf(known.x, mean, known.noise).sum(1) + norm.logpdf(known.loc).sum(1)
    np.testing.assert_allclose(bound, joint - log_q, rtol=1e-8)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 1e6])
def test_row_noise_is_standard_normal_for_every_row(spread):
    rng = torch.Generator().manual_seed(0)
    code = spread * torch.randn(3, D, generator=rng, dtype=torch.float64)
    mixing = torch.randn(D, D, generator=rng, dtype=torch.float64)
    uniform = torch.rand(20_000, 1, D, generator=rng, dtype=torch.float64)
    noise = row_noise(uniform, code, mixing)
    for row in range(3):
        for component in range(D):
            assert kstest(noise[:, row, component].numpy(), "norm").pvalue > 1e-4


def test_row_noise_of_different_rows_is_all_but_uncorrelated():
    rng = torch.Generator().manual_seed(0)
    code = torch.randn(400, D, generator=rng, dtype=torch.float64)
    mixing = 3 * torch.randn(D, D, generator=rng, dtype=torch.float64)
    uniform = torch.rand(1, 1, D, generator=rng, dtype=torch.float64)
    one_draw = row_noise(uniform, code, mixing)[0]  # shared noise would have no spread here
    np.testing.assert_allclose(one_draw.std(0), 1, atol=0.2)
    np.testing.assert_allclose(one_draw.mean(0), 0, atol=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_noise_is_finite_at_the_ends_of_the_interval(dtype):
    uniform = torch.tensor([0.0, 1.0 - torch.finfo(dtype).eps], dtype=dtype).view(2, 1, 1)
    assert torch.isfinite(
        row_noise(uniform, torch.zeros(1, 1, dtype=dtype), torch.eye(1, dtype=dtype))
    ).all()


def test_weights_beyond_the_range_of_floats_are_added_in_logs():
    known = linear_gaussian(0.3, 1.5)
    far = known.x + 1e4  # log p(x) around -1e8
    bound = importance_bound(known.model, far, draws(16, 1, D))
    assert bound.isfinite().all()


# -- means over all rows -------------------------------------------------------------------


def total(known, batches, seed=0):
    return mean_terms(known.model, batches, torch.Generator().manual_seed(seed))


def test_mean_terms_are_the_means_of_the_terms():
    known = linear_gaussian(0.3, 1.5)
    terms = elbo_terms(known.model, known.x, draws(7, D, seed=3))
    mean = total(known, [Batch(known.x)], seed=3)
    assert_close(mean.reconstruction, terms.reconstruction.mean().detach())
    assert_close(mean.kl, terms.kl.mean(0).detach())


def test_mean_terms_do_not_depend_on_the_cut():
    known = linear_gaussian(0.3, 1.5)
    in_pieces = total(known, [Batch(piece) for piece in known.x.split([3, 4])])
    assert_close(in_pieces.kl, total(known, [Batch(known.x)]).kl)


def test_a_pieces_share_is_its_rows():
    known = linear_gaussian(0.3, 1.5)
    pieces = [Batch(known.x[:1]), Batch(known.x[1:])]
    expected = gaussian_kl(known.loc, known.scale).mean(0)
    np.testing.assert_allclose(total(known, pieces).kl, expected, rtol=1e-12)


def test_an_integer_weight_is_that_many_rows():
    known, counts = linear_gaussian(0.3, 1e-9), torch.tensor([1, 2, 3, 1, 1, 4, 2])
    # At that scale the draw does not matter, and so not how many are made.
    weighted = total(known, [Batch(known.x, counts.double())])
    repeated = total(known, [Batch(known.x.repeat_interleave(counts, 0))])
    assert_close(weighted.kl, repeated.kl, rtol=1e-12, atol=0)
    assert_close(weighted.reconstruction, repeated.reconstruction, rtol=1e-7, atol=0)


def test_mean_terms_give_one_elbo():
    known = linear_gaussian(0.3, 1.5)
    mean = total(known, [Batch(known.x)])
    assert mean.elbo().shape == ()
    assert_close(mean.elbo(), mean.reconstruction - mean.kl.sum())
    assert not mean.kl.requires_grad


def test_the_constant_of_the_normal_density():
    known, noise = linear_gaussian(), torch.zeros(1, D).double()
    at_mean = known.model.likelihood(noise[0][None]).mean
    log_prob = known.model.likelihood(noise).log_prob(at_mean).item()
    expected = -np.log(known.noise).sum() - N_FEATURES / 2 * math.log(2 * math.pi)
    assert log_prob == pytest.approx(expected, rel=1e-12)
