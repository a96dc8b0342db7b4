"""The likelihoods and the prior against SciPy's distributions and against their own samples."""

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.testing import assert_close

from skvae.likelihoods import (
    LIKELIHOODS,
    BernoulliLikelihood,
    GaussianLikelihood,
    Likelihood,
)
from skvae.priors import StandardNormal

every = pytest.mark.parametrize("name", LIKELIHOODS)
N_FEATURES = 4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(name, n_features=N_FEATURES):
    """A likelihood in double precision with parameters drawn at random."""
    likelihood = LIKELIHOODS[name](n_features).double()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.copy_(0.1 * normal(*parameter.shape, seed=7))
    return likelihood


def data(name, n_rows=6):
    x = normal(n_rows, N_FEATURES, seed=1)
    return x if name == "gaussian" else (x > 0).double()


def of_scipy(name, likelihood, outputs):
    outputs = outputs.detach().numpy()
    if name == "gaussian":
        return stats.norm(outputs, likelihood.scale().detach().numpy())
    return stats.bernoulli(special.expit(outputs + likelihood.bias.detach().numpy()))


# -- every likelihood ----------------------------------------------------------------------


@every
def test_log_prob_is_scipys(name):
    likelihood, outputs, x = make(name), normal(6, N_FEATURES), data(name)
    theirs = of_scipy(name, likelihood, outputs)
    log_density = theirs.logpdf if name == "gaussian" else theirs.logpmf
    ours = likelihood(outputs).log_prob(x).detach().numpy()
    np.testing.assert_allclose(ours, log_density(x.numpy()).sum(1), rtol=1e-12)


@every
def test_mean_is_scipys(name):
    likelihood, outputs = make(name), normal(6, N_FEATURES)
    ours = likelihood(outputs).mean.detach().numpy()
    np.testing.assert_allclose(ours, of_scipy(name, likelihood, outputs).mean(), rtol=1e-12)


@every
def test_samples_have_the_mean_and_variance(name):
    n_draws = 20_000
    likelihood, outputs = make(name), normal(2, N_FEATURES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = likelihood(outputs).sample((n_draws,)).numpy()
    theirs = of_scipy(name, likelihood, outputs)
    error = 5 * theirs.std() / np.sqrt(n_draws)  # 5 standard errors
    assert (abs(draws.mean(0) - theirs.mean()) < error).all()
    np.testing.assert_allclose(draws.var(0), theirs.var(), rtol=0.1)


@every
def test_its_samples_are_in_its_support(name):
    draws = make(name)(normal(500, N_FEATURES)).sample()
    LIKELIHOODS[name].check_support(draws.min(), draws.max())


@every
def test_a_row_is_one_event(name):
    p = make(name)(normal(6, N_FEATURES))
    assert p.batch_shape == (6,)
    assert p.event_shape == (N_FEATURES,)


@every
def test_codes_may_have_several_leading_axes(name):
    likelihood, outputs, x = make(name), normal(3, 6, N_FEATURES), data(name)
    ours = likelihood(outputs).log_prob(x)
    assert_close(ours, torch.stack([likelihood(one).log_prob(x) for one in outputs]))


@every
def test_n_outputs_is_the_width_that_it_takes(name):
    likelihood = make(name)
    assert likelihood(normal(2, likelihood.n_outputs)).event_shape == (likelihood.n_features,)


@every
def test_gradients_agree_with_finite_differences(name):
    likelihood, x = make(name), data(name)
    outputs = normal(6, N_FEATURES).requires_grad_()
    assert torch.autograd.gradcheck(lambda o: likelihood(o).log_prob(x), outputs)


@every
def test_gradients_are_finite_far_out(name):
    likelihood = LIKELIHOODS[name](2)
    outputs = torch.tensor([[-50.0, 50.0], [50.0, -50.0]], requires_grad=True)
    for x in (torch.zeros(2, 2), torch.ones(2, 2)):
        log_prob = likelihood(outputs).log_prob(x)
        gradients = torch.autograd.grad(log_prob.sum(), [outputs, *likelihood.parameters()])
        assert log_prob.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


@every
def test_the_start_is_trained_further(name):
    likelihood = LIKELIHOODS[name](3)
    likelihood.start(torch.full((3,), 0.25), torch.tensor([False, True, False]))
    assert all(parameter.requires_grad for parameter in likelihood.parameters())


def test_the_base_takes_all_data_and_gives_no_distribution():
    likelihood = Likelihood(3)
    likelihood.check_support(-np.inf, np.inf)
    likelihood.start(torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(NotImplementedError):
        likelihood(torch.zeros(1, 3))


# -- gaussian ------------------------------------------------------------------------------


def test_gaussian_takes_all_real_numbers():
    GaussianLikelihood.check_support(-1e300, 1e300)


def test_only_gaussian_sees_standardised_columns():
    assert [name for name in LIKELIHOODS if LIKELIHOODS[name].standardises] == ["gaussian"]


@pytest.mark.parametrize("constant", [False, True])
def test_gaussian_starts_at_the_unit_scale_of_the_columns(constant):
    likelihood = GaussianLikelihood(2).double()
    likelihood.start(torch.zeros(2), torch.tensor([constant, constant]))
    assert_close(likelihood.scale(), torch.ones(2).double(), rtol=1e-6, atol=0)


def test_the_noise_cannot_fall_below_a_thousandth():
    likelihood = GaussianLikelihood(2)
    with torch.no_grad():
        likelihood.log_scale.fill_(-100.0)
    assert_close(likelihood.scale(), torch.full((2,), 1e-3))


def test_a_constant_column_keeps_its_unit_scale_whatever_is_learnt():
    likelihood = GaussianLikelihood(2)
    likelihood.start(torch.zeros(2), torch.tensor([True, False]))
    with torch.no_grad():
        likelihood.log_scale.fill_(-100.0)
    assert_close(likelihood.scale(), torch.tensor([1.0, 1e-3]))


def test_the_noise_at_its_floor_has_a_finite_gradient():
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
        wanted = (best.square() - likelihood.scale_floor.square()).sqrt()
        likelihood.log_scale.copy_(wanted.log() / likelihood.pace)
    assert_close(likelihood.scale(), best.expand(1))
    log_prob = likelihood(torch.zeros(1000, 1).double()).log_prob(residuals).mean()
    (gradient,) = torch.autograd.grad(log_prob, likelihood.log_scale)
    assert gradient.abs() < 1e-10


# -- bernoulli -----------------------------------------------------------------------------


@pytest.mark.parametrize(("minimum", "maximum"), [(0.0, 1.0), (0.0, 0.0), (0.3, 0.7)])
def test_bernoulli_takes_values_from_0_to_1(minimum, maximum):
    BernoulliLikelihood.check_support(minimum, maximum)


@pytest.mark.parametrize(("minimum", "maximum"), [(-0.5, 1.0), (0.0, 255.0), (-1e-9, 0.0)])
def test_bernoulli_refuses_others_by_name(minimum, maximum):
    came = f"got values from {minimum:g} to {maximum:g}. Rescale X, with MinMaxScaler"
    with pytest.raises(
        ValueError, match=f"likelihood='bernoulli' takes values from 0 to 1; {came}"
    ):
        BernoulliLikelihood.check_support(minimum, maximum)


def test_bernoulli_starts_at_the_means_of_the_columns():
    likelihood, mean = BernoulliLikelihood(3), torch.tensor([0.1, 0.5, 0.98])
    likelihood.start(mean, torch.zeros(3, dtype=torch.bool))
    assert_close(likelihood(torch.zeros(1, 3)).mean[0], mean)


def test_bernoulli_starts_finite_at_constant_columns():
    likelihood = BernoulliLikelihood(2)
    likelihood.start(torch.tensor([0.0, 1.0]), torch.tensor([True, True]))
    assert_close(likelihood(torch.zeros(1, 2)).mean[0], torch.tensor([1e-3, 1 - 1e-3]))


def test_bernoulli_log_prob_is_finite_at_a_certain_mistake():
    log_prob = BernoulliLikelihood(1)(torch.tensor([[50.0]])).log_prob(torch.zeros(1, 1))
    assert_close(log_prob, torch.tensor([-50.0]))


def test_grey_levels_have_the_cross_entropy():
    likelihood, outputs = make("bernoulli"), normal(6, N_FEATURES)
    grey = torch.rand(6, N_FEATURES, dtype=torch.float64)
    p = likelihood(outputs).mean
    expected = (grey * p.log() + (1 - grey) * (1 - p).log()).sum(1)
    assert_close(likelihood(outputs).log_prob(grey), expected)


# -- the prior -----------------------------------------------------------------------------


def test_the_prior_is_the_standard_normal():
    z = normal(5, 3)
    ours = StandardNormal(3).double()().log_prob(z).numpy()
    np.testing.assert_allclose(ours, stats.norm.logpdf(z.numpy()), rtol=1e-12)


def test_the_prior_has_nothing_to_train_and_moves_with_its_module():
    prior = StandardNormal(3).double()
    assert list(prior.parameters()) == []
    assert prior().loc.dtype == torch.float64
