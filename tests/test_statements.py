"""Every numbered statement of the theory pages, checked where it could fail.

One test a statement, in the order of docs/statements.rst; then tests of that page, and tests
that the checks of the floor and of the moments go red when what they check is broken. A
Monte-Carlo check says its error and allows five of them.
"""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import Normal, kl_divergence

from skvae import bounds
from skvae._fit.optimizer import Adam
from skvae.diagnostics import mutual_information, participation_ratio
from skvae.likelihoods import BernoulliLikelihood, GaussianLikelihood
from skvae.model import VAE
from skvae.networks import MLP
from skvae.objectives import elbo_terms, importance_bound
from skvae.posteriors import (
    POSTERIORS,
    BatchNormMeanPosterior,
    BatchNormPosterior,
    GaussianPosterior,
    LayerNormPosterior,
    MomentPosterior,
    Moments,
    gamma_squares,
)
from skvae.priors import StandardNormal

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "statements.rst"
TAUS = (0.02, 0.3, 0.5, 0.9, 0.99)
STANDARD = Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))


# -- small parts -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def exact(posterior, eps=0.0):
    """A posterior in double precision, with an epsilon of its own."""
    posterior = posterior.double()
    posterior.eps = eps
    return posterior


def of_heads(posterior, location, spread):
    """q(z|x) of given raw heads, with the moments of these rows."""
    location, spread = (torch.as_tensor(head, dtype=torch.float64) for head in (location, spread))
    spread = posterior.spread(spread)
    moments = posterior.stored_moments()
    if len(moments.mean):  # the plain posterior asks for none
        moments = Moments.of(*posterior.collect(location, spread))
        for stored, new in zip(posterior.stored_moments(), moments, strict=True):
            stored.copy_(new)
    with torch.no_grad():
        return Normal(*posterior.standardise(location, spread, moments), validate_args=False)


def heads(n_rows=50, n_components=3, scale=1.0, seed=0):
    """Raw heads whose components differ in location, scale and tails."""
    rng = np.random.default_rng(seed)
    width = scale * np.array([0.1, 1.0, 10.0])[:n_components]
    location = 5.0 + width * rng.standard_t(4, (n_rows, n_components))
    return location, rng.normal(-1.0, 2.0, (n_rows, n_components))


def mean_kl(q):
    """Mean over the rows of the KL of every component, (n_components,)."""
    return kl_divergence(q, STANDARD).mean(0).detach().numpy()


def mixture_terms(q):
    """Information between row and code, and divergence of the mixture from N(0, 1), by quadrature.

    For a posterior of a single component: both as integrals over the real line.
    """
    loc, scale = (t.detach().numpy()[:, 0] for t in (q.loc, q.scale))

    def log_density(z):
        parts = -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
        return special.logsumexp(parts) - np.log(len(loc))

    lower, upper = (loc - 12 * scale).min(), (loc + 12 * scale).max()
    points = np.unique(np.clip(loc, lower, upper).round(6))
    points = points if len(points) <= 10 else points[:: len(points) // 8]

    def integral(function):
        return integrate.quad(function, lower, upper, points=points, limit=2000)[0]

    entropy = integral(lambda z: -np.exp(log_density(z)) * log_density(z))
    second = np.mean(loc**2 + scale**2)
    information = entropy - np.mean(0.5 * np.log(2 * np.pi * np.e * scale**2))
    return information, -entropy + 0.5 * np.log(2 * np.pi) + 0.5 * second


class Shift(nn.Module):
    """Outputs that do not depend on the code."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(torch.as_tensor(outputs, dtype=torch.float64))

    def forward(self, z):
        return self.outputs.expand(len(z), -1)


def linear_vae(posterior, n_features=3, n_components=2, decoder=None):
    """A linear-Gaussian VAE in double precision, with heads of its own."""
    model = VAE(
        nn.Identity(),
        posterior(n_features, n_components),
        decoder or nn.Linear(n_components, n_features),
        GaussianLikelihood(n_features),
        StandardNormal(n_components),
    )
    return model.double().eval()


def evidence(model, x):
    """log p(x) and the exact posterior's mean and covariance, of a linear decoder."""
    W = model.decoder.weight.detach().numpy()
    offset = model.decoder.bias.detach().numpy()
    noise = model.likelihood_layer.scale().detach().numpy() ** 2
    x = x.numpy()
    marginal = stats.multivariate_normal(offset, W @ W.T + np.diag(noise))
    log_p = np.atleast_1d(marginal.logpdf(x))
    precision = np.eye(W.shape[1]) + W.T @ (W / noise[:, None])
    covariance = np.linalg.inv(precision)
    return log_p, (x - offset) / noise @ W @ covariance, covariance


def kl_to_gaussian(loc, scale, mean, covariance):
    """KL from the diagonal N(loc, scale^2) to N(mean, covariance), for each row."""
    precision = np.linalg.inv(covariance)
    step = mean - loc
    return 0.5 * (
        (scale**2) @ np.diag(precision)
        + np.einsum("ij,jk,ik->i", step, precision, step)
        - loc.shape[1]
        + np.linalg.slogdet(covariance)[1]
        - 2 * np.log(scale).sum(1)
    )


# -- the VAE and its objective -----------------------------------------------------------------


def test_evidence_lower_bound():
    model = linear_vae(GaussianPosterior)
    x = torch.randn(4, 3, dtype=torch.float64)
    n_draws = 40_000
    noise = torch.randn(n_draws, 2, dtype=torch.float64)
    for row in x:
        rows = row.expand(n_draws, -1)
        elbo = elbo_terms(model, rows, noise).elbo().detach().numpy()
        q = model.posterior(row[None])
        log_p, mean, covariance = evidence(model, row[None])
        gap = kl_to_gaussian(q.loc.detach().numpy(), q.scale.detach().numpy(), mean, covariance)
        error = elbo.std() / np.sqrt(n_draws)
        assert abs(elbo.mean() + gap[0] - log_p[0]) < 5 * error
        assert gap[0] > 50 * error  # the gap is there to be seen


def test_kl_divergence_to_the_prior():
    for loc, scale in [(0.0, 1.0), (1.5, 0.2), (-0.3, 3.0)]:
        q = stats.norm(loc, scale)
        by_quadrature = integrate.quad(
            lambda z, q=q: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)),
            loc - 12 * scale,
            loc + 12 * scale,
        )[0]
        assert bounds.gaussian_kl(loc, scale) == pytest.approx(by_quadrature, abs=1e-9)


def test_mean_kl_from_three_averages():
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(100, 3)), rng.gamma(2.0, size=(100, 3))
    averages = (loc**2).mean(0) + (scale**2).mean(0) - np.log(scale**2).mean(0) - 1
    np.testing.assert_allclose(bounds.gaussian_kl(loc, scale).mean(0), averages / 2, rtol=1e-12)
    # which mean goes with which deviation does not matter
    shuffled = rng.permutation(scale)
    np.testing.assert_allclose(bounds.gaussian_kl(loc, shuffled).mean(0), averages / 2, rtol=1e-12)


def test_importance_weighted_bound():
    model = linear_vae(GaussianPosterior)
    x = torch.randn(1, 3, dtype=torch.float64)
    n_trials, most = 4000, 16
    noise = torch.randn(most, n_trials, 2, dtype=torch.float64)
    rows = x.expand(n_trials, -1)
    with torch.no_grad():
        values = {k: importance_bound(model, rows, noise[:k]) for k in (1, 4, most)}
        terms = elbo_terms(model, rows, noise[0])
    log_p, mean, covariance = evidence(model, x)
    q = model.posterior(x)
    gap = kl_to_gaussian(q.loc.detach().numpy(), q.scale.detach().numpy(), mean, covariance)
    expected = {k: float(v.mean()) for k, v in values.items()}
    error = {k: float(v.std()) / np.sqrt(n_trials) for k, v in values.items()}
    assert terms.kl.shape == (n_trials, 2)
    assert abs(expected[1] - (log_p[0] - gap[0])) < 5 * error[1]  # one draw: the ELBO
    assert expected[1] < expected[4] < expected[most] < log_p[0] + 5 * error[most]
    weights = np.exp(values[most].numpy() - log_p[0])  # unbiased before the logarithm
    assert abs(weights.mean() - 1) < 5 * weights.std() / np.sqrt(n_trials)


# -- KL vanishing ------------------------------------------------------------------------------


def test_rate_is_information_plus_mismatch():
    for posterior in ("gaussian", "batchnorm-mean", "moment"):
        q = of_heads(exact(POSTERIORS[posterior](1, 1)), *heads(8, 1))
        rate = bounds.gaussian_kl(q.loc.detach().numpy(), q.scale.detach().numpy()).mean()
        information, mismatch = mixture_terms(q)
        assert information + mismatch == pytest.approx(rate, abs=1e-6)
        assert 0 < information <= np.log(8) + 1e-6
        assert mismatch > 0


def test_an_ignored_code():
    model = linear_vae(GaussianPosterior, decoder=Shift([0.3, -1.0, 0.0]))
    x = torch.randn(20, 3, dtype=torch.float64)
    for _ in range(3):
        terms = elbo_terms(model, x, torch.randn(20, 2, dtype=torch.float64))
        log_p = model.likelihood(torch.zeros(1, 2, dtype=torch.float64)).log_prob(x)
        kl = kl_divergence(model.posterior(x), STANDARD).sum(-1)
        torch.testing.assert_close(terms.elbo(), log_p - kl)
        assert (kl > 0).all()  # so that the prior, at 0, is better than this posterior


def test_collapse_is_a_stationary_point():
    model = VAE(
        MLP(3, (8,)),
        GaussianPosterior(8, 2),
        MLP(2, (8,), 3, activation="tanh"),
        BernoulliLikelihood(3),
        StandardNormal(2),
    ).double()
    first = model.decoder.layers[0]
    with torch.no_grad():
        model.posterior_layer.heads.weight.zero_()
        model.posterior_layer.heads.bias.zero_()
        first.weight.zero_()
    x = torch.randint(0, 2, (20, 3)).double()

    def gradients(noise):
        of = [*model.encoder.parameters(), *model.posterior_layer.parameters(), first.weight]
        return torch.autograd.grad(elbo_terms(model, x, noise).elbo().mean(), of)

    noise = torch.randn(20, 2, dtype=torch.float64)
    for plus, minus in zip(gradients(noise), gradients(-noise), strict=True):
        torch.testing.assert_close(plus + minus, torch.zeros_like(plus), atol=1e-14, rtol=0)
    assert gradients(noise)[-1].abs().max() > 1e-3  # only in expectation, for the decoder
    with torch.no_grad():
        first.weight.fill_(0.5)
    assert max((p + m).abs().max() for p, m in zip(gradients(noise), gradients(-noise))) > 1e-3  # noqa: B905


# -- the floor from batch normalization on the mean --------------------------------------------


def test_moments_after_batch_norm():
    location, spread = heads()
    for eps in (0.0, 1e-2):
        layer = exact(BatchNormMeanPosterior(1, 3, tau=0.49), eps)
        with torch.no_grad():
            layer.beta.copy_(torch.tensor([0.0, 0.5, -1.0]))
        loc = of_heads(layer, location, spread).loc.detach().numpy()
        variance = 0.49 * bounds.shrinkage(location.var(0), eps)
        np.testing.assert_allclose(loc.mean(0), [0.0, 0.5, -1.0], atol=1e-12)
        np.testing.assert_allclose(loc.var(0), variance, rtol=1e-10)
        np.testing.assert_allclose((loc**2).mean(0), variance + loc.mean(0) ** 2, rtol=1e-10)


def check_mean_kl_floor(floor):
    """Statement 9: never below the floor, and on it for a standard deviation of 1."""
    for seed, eps in [(0, 0.0), (1, 1e-2), (2, 1.0)]:
        location, spread = heads(seed=seed)
        layer = exact(BatchNormMeanPosterior(1, 3, tau=0.36), eps)
        with torch.no_grad():
            layer.beta.copy_(torch.tensor([0.0, 0.5, -1.0]))
        beta = np.array([0.0, 0.5, -1.0])
        low = floor(0.6, beta, variance=location.var(0), eps=eps)
        assert (mean_kl(of_heads(layer, location, spread)) > low).all()
        on_it = of_heads(layer, location, np.zeros_like(spread))
        np.testing.assert_allclose(mean_kl(on_it), low, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.component_floors(), low, rtol=1e-9)


def test_floor_from_batch_norm_on_the_mean():
    check_mean_kl_floor(bounds.mean_kl_floor)
    assert 32 * bounds.mean_kl_floor(0.5) == 4.0


def test_batches_of_one_and_two_rows():
    layer = exact(BatchNormMeanPosterior(1, 3, tau=0.25), eps=1e-3)
    location, spread = heads(2)
    one = of_heads(layer, location[:1], spread[:1])
    torch.testing.assert_close(one.loc, layer.beta.expand(1, -1).detach())
    np.testing.assert_array_equal(layer.component_floors(), 0)
    two = of_heads(layer, location, spread).loc.detach().numpy()
    size = 0.5 * np.sqrt(bounds.shrinkage(location.var(0), 1e-3))
    np.testing.assert_allclose(two, np.sign(location - location.mean(0)) * size, rtol=1e-9)


def test_sorted_batches():
    rows = torch.sort(torch.randn(60, 2, dtype=torch.float64), dim=0).values
    empty = rows[:, :0]
    parts = [Moments.of(part, empty) for part in rows.split([10, 20, 30])]
    whole = parts[0].merge(parts[1]).merge(parts[2])
    torch.testing.assert_close(whole.variance, rows.var(0, correction=0))
    weight = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)[:, None] / 60
    within = (weight * torch.stack([part.variance for part in parts])).sum(0)
    means = torch.stack([part.mean for part in parts])
    between = (weight * (means - whole.mean).square()).sum(0)
    torch.testing.assert_close(within + between, whole.variance)
    assert (within < 0.3 * whole.variance).all()  # sorted: most of it lies between the batches


@pytest.mark.parametrize("name", ["batchnorm-mean", "batchnorm", "moment"])
def test_finalised_moments(name):
    layer = POSTERIORS[name](4, 3, tau=0.3).double()
    features = torch.randn(101, 4, dtype=torch.float64) * torch.tensor([0.1, 1.0, 3.0, 10.0])
    layer.train()
    for batch in features.split(20):
        layer(batch)  # leaves a running average, which the next lines replace
    layer.eval()
    running = layer(features).loc.detach()
    layer.finalise((batch, None) for batch in features.flip(0).split(33))
    q = layer(features)
    loc = q.loc.detach().numpy()
    np.testing.assert_allclose(loc.mean(0), 0, atol=1e-12)
    theta = getattr(layer, "theta", None)
    if name == "batchnorm-mean":
        gamma_sq = np.full(3, 0.3)
    elif name == "batchnorm":
        gamma_sq = gamma_squares(0.3, theta)[0].detach().numpy()
    else:
        gamma_sq = loc.var(0)  # statement 32 has it
    raw = layer.heads(features)[:, :3].detach().numpy()
    part = bounds.shrinkage(raw.var(0), layer.eps)
    if name != "moment":
        np.testing.assert_allclose(loc.var(0), gamma_sq * part, rtol=1e-9)
    assert (mean_kl(q) >= layer.component_floors() - 1e-12).all()
    assert layer.kl_floor() > 0.1
    assert np.abs(running.numpy().mean(0)).max() > 1e-4  # a running average is not that exact
    torch.testing.assert_close(layer(features[7:8]).loc, q.loc[7:8])


def test_gamma_above_one():
    rng = np.random.default_rng(0)
    for gamma, beta in [(1.2, 0.0), (2.0, 0.5)]:
        raw = rng.standard_t(5, 12)
        loc = gamma * (raw - raw.mean()) / raw.std() + beta
        for scale in (0.3, 1.0):
            q = Normal(torch.as_tensor(loc)[:, None], torch.full((12, 1), scale).double())
            mismatch = mixture_terms(q)[1]
            assert mismatch > bounds.gaussian_kl(beta, gamma) > 0


# -- why BN and not LN -------------------------------------------------------------------------


def test_layer_norm_fixes_a_total_per_row():
    location, spread = heads(20)
    for eps in (0.0, 0.1):
        q = of_heads(exact(LayerNormPosterior(1, 3, tau=0.4), eps), location, spread)
        part = bounds.shrinkage(location.var(1), eps)
        np.testing.assert_allclose(q.loc.square().sum(1).numpy(), 3 * 0.4 * part, rtol=1e-10)
        low = bounds.layer_norm_kl_floor(0.4, 3) * part
        assert (kl_divergence(q, STANDARD).sum(1).numpy() >= low).all()
    single = of_heads(
        exact(LayerNormPosterior(1, 1, tau=0.4), 1e-8), location[:, :1], spread[:, :1]
    )
    assert (single.loc == 0).all()
    assert bounds.layer_norm_kl_floor(0.4, 1) == 0.0


def test_a_constant_code_satisfies_layer_norm():
    location = np.tile([3.0, 0.0, -1.0], (20, 1))
    q = of_heads(exact(LayerNormPosterior(1, 3, tau=0.4)), location, np.zeros((20, 3)))
    kl = kl_divergence(q, STANDARD).sum(1).numpy()
    np.testing.assert_allclose(kl, bounds.layer_norm_kl_floor(0.4, 3), rtol=1e-12)
    assert (q.loc == q.loc[0]).all()  # no variance
    assert (q.scale == q.scale[0]).all()  # and no information, every row has the same posterior
    normalized = of_heads(
        exact(BatchNormMeanPosterior(1, 3, tau=0.4), 1e-8), location, location * 0
    )
    assert normalized.loc.abs().max() < 1e-6  # BN leaves nothing of a constant


def test_batch_norm_makes_every_component_vary():
    location, spread = heads()
    for posterior in (BatchNormMeanPosterior, MomentPosterior):
        varied = of_heads(exact(posterior(1, 3, tau=0.4)), location, spread).loc
        assert (varied.var(0, correction=0) >= 0.4 - 1e-9).all()
        copies = np.tile(location[:, :1], (1, 3))
        loc = of_heads(exact(posterior(1, 3, tau=0.4)), copies, spread).loc
        assert (loc.var(0, correction=0) >= 0.4 - 1e-9).all()
        eigenvalues = torch.linalg.eigvalsh(torch.cov(loc.detach().T))
        assert eigenvalues[-2] < 1e-12 < eigenvalues[-1]  # rank 1


# -- matched moments ---------------------------------------------------------------------------


def check_moments(posterior):
    """Statement 17, for every epsilon and number of rows."""
    for n_rows in (1, 2, 50):
        for eps in (0.0, 1e-8, 1.0):
            if n_rows == 1 and eps == 0.0:
                continue  # 0/0: the one case that needs an epsilon
            for gamma in ("heads", "theta"):
                layer = exact(posterior(1, 3, tau=0.3, gamma=gamma), eps)
                q = of_heads(layer, *heads(n_rows))
                np.testing.assert_allclose(q.loc.mean(0), 0, atol=1e-11)
                total = q.loc.square().mean(0) + q.scale.square().mean(0)
                np.testing.assert_allclose(total, 1, rtol=1e-9)
                if n_rows == 1:
                    np.testing.assert_allclose(mean_kl(q), 0, atol=1e-12)


def test_moments_of_the_code():
    check_moments(MomentPosterior)
    # and the code itself has them, over rows and draws
    q = of_heads(exact(MomentPosterior(1, 3)), *heads())
    draws = q.sample((20_000,)).reshape(-1, 3).numpy()
    for power, expected in ((1, 0.0), (2, 1.0)):
        values = draws**power
        error = values.std(0) / np.sqrt(20_000)  # of the draws; the rows are not sampled
        assert (np.abs(values.mean(0) - expected) < 5 * error).all()
    constant = of_heads(exact(MomentPosterior(1, 3), 1e-8), np.ones((5, 3)), heads(5)[1])
    assert (constant.loc == 0).all()
    np.testing.assert_allclose(constant.scale.detach().square().mean(0), 1, rtol=1e-9)
    # the article's second head loses what eps takes
    q = of_heads(exact(BatchNormPosterior(1, 3), 1.0), *heads())
    assert ((q.loc.square() + q.scale.square()).mean(0) < 1).all()


def test_two_shares_that_sum_to_one():
    theta = torch.linspace(-40, 40, 81, dtype=torch.float64)
    for tau in TAUS:
        signal, noise = gamma_squares(tau, theta)
        torch.testing.assert_close(signal + noise, torch.ones_like(theta))
        assert (signal.diff() >= 0).all()
        assert float(signal[0]) == pytest.approx(tau)
        assert float(signal[-1]) == pytest.approx(1.0)
        assert (signal >= tau).all()
        assert float(signal[40]) == pytest.approx((1 + tau) / 2)


def test_article_floor():
    for posterior in (BatchNormPosterior, MomentPosterior):
        for tau in TAUS:
            q = of_heads(exact(posterior(1, 3, tau=tau)), *heads())
            signal = q.loc.detach().square().mean(0).numpy()
            assert mean_kl(q).sum() > 0.5 * signal.sum() > bounds.article_kl_floor(tau, 3)


# -- the sharper floor -------------------------------------------------------------------------


def test_rate_under_matched_moments():
    for eps in (0.0, 1.0):
        q = of_heads(exact(MomentPosterior(1, 3), eps), *heads())
        np.testing.assert_allclose(mean_kl(q), -q.scale.detach().log().mean(0), rtol=1e-9)
    free = of_heads(exact(GaussianPosterior(1, 3)), *heads())  # not so without the moments
    assert (np.abs(mean_kl(free) + free.scale.log().mean(0).numpy()) > 0.1).all()


def check_kl_floor(floor):
    """Statement 21: never below, and reached by constant deviations at gamma^2 = tau."""
    for tau in TAUS:
        for posterior in (BatchNormPosterior, MomentPosterior):
            for scale, eps in [(1.0, 0.0), (1.0, 1e-2), (1e-3, 1e-2)]:
                location, spread = heads(scale=scale)
                layer = exact(posterior(1, 3, tau=tau), eps)
                q = of_heads(layer, location, spread)
                low = floor(tau * bounds.shrinkage(location.var(0), eps))
                assert (mean_kl(q) >= low - 1e-9).all()
                np.testing.assert_allclose(layer.component_floors(), low, rtol=1e-9)
        for eps in (0.0, 1e-2):
            location, spread = heads()
            layer = exact(MomentPosterior(1, 3, tau=tau, gamma="theta"), eps)
            with torch.no_grad():
                layer.theta.fill_(-10.0)  # gamma^2 = tau to rounding
            q = of_heads(layer, location, np.full_like(spread, 2.0))
            low = floor(tau * bounds.shrinkage(location.var(0), eps))
            np.testing.assert_allclose(mean_kl(q), low, rtol=1e-9)


def test_sharper_floor():
    check_kl_floor(bounds.kl_floor)
    # only the sum of the second moments is used: a mean away from 0 does no harm
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(0.3, 1.0, 100), rng.gamma(3.0, size=100)
    size = np.sqrt(np.mean(loc**2) + np.mean(scale**2))
    loc, scale = loc / size, scale / size
    assert bounds.gaussian_kl(loc, scale).mean() > bounds.kl_floor(np.mean(loc**2))


def test_order_of_the_two_floors():
    tau = np.linspace(1e-3, 0.999, 200)
    assert (bounds.kl_floor(tau) > bounds.article_kl_floor(tau)).all()
    powers = np.arange(1, 60)
    for t in (0.1, 0.5):
        assert bounds.kl_floor(t) == pytest.approx(np.sum(t**powers / (2 * powers)), rel=1e-12)
    assert bounds.kl_floor(1 - 1e-12) > 10 > bounds.article_kl_floor(1.0)
    assert bounds.kl_floor(0.5) == pytest.approx(0.5 * np.log(2))  # half a bit


def test_tau_for_a_rate():
    for rate in (0.01, 5.0, 40.0):
        for d in (1, 16):
            tau = bounds.tau_for_rate(rate, d)
            assert tau == pytest.approx(1 - np.exp(-2 * rate / d))
            if tau < 1 - 1e-12:
                assert bounds.kl_floor(tau, d) == pytest.approx(rate)


def test_floor_is_a_channel_capacity():
    for tau in TAUS:
        assert bounds.channel_capacity(bounds.snr(tau)) == pytest.approx(bounds.kl_floor(tau))
        # the capacity is information: many rows with a Gaussian mean and a constant deviation
        loc = np.sqrt(tau) * stats.norm.ppf((np.arange(400) + 0.5) / 400)
        if tau > 0.1:
            scale = np.full((400, 1), np.sqrt(1 - tau))
            q = Normal(torch.as_tensor(loc)[:, None], torch.as_tensor(scale))
            assert mixture_terms(q)[0] == pytest.approx(bounds.kl_floor(tau), rel=0.02)


def test_floor_is_not_information():
    previous = np.inf
    for b in (4, 32, 256):
        location, spread = np.zeros((b, 1)), np.zeros((b, 1))
        location[0] = 1.0
        layer = exact(MomentPosterior(1, 1, tau=0.5, gamma="theta"))
        q = of_heads(layer, location, spread)
        signal = 0.75  # at theta = 0
        assert float(q.loc[0]) == pytest.approx(np.sqrt(signal * (b - 1)))
        assert float(q.loc[1]) == pytest.approx(-np.sqrt(signal / (b - 1)))
        assert mean_kl(q)[0] == pytest.approx(bounds.kl_floor(signal))
        information = mixture_terms(q)[0]
        entropy = np.log(b) / b + (1 - 1 / b) * np.log(b / (b - 1))
        assert 0 < information <= entropy + 1e-6
        assert information < previous
        previous = information
    assert previous < 0.05 * bounds.kl_floor(signal)


# -- the standard deviation head ---------------------------------------------------------------


def test_cost_of_the_heads_shape():
    normal = integrate.quad(lambda s: -2 * stats.norm.pdf(s) * np.log(s), 0, 40, points=[1e-3, 1])[
        0
    ]
    root = np.sqrt(3.0)
    uniform = integrate.quad(lambda s: -np.log(s) / root, 0, root)[0]
    assert bounds.std_shape_cost("normal") == pytest.approx(normal, abs=1e-8)
    assert bounds.std_shape_cost("uniform") == pytest.approx(uniform, abs=1e-8)
    assert bounds.std_shape_cost("constant") == 0.0
    # and the layer pays it: a normal head, at the quantiles of the normal distribution
    head = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)[:, None]
    layer = exact(BatchNormPosterior(1, 1, tau=0.5))
    paid = mean_kl(of_heads(layer, head, head))[0] - bounds.kl_floor(0.75)
    assert paid == pytest.approx(bounds.std_shape_cost("normal"), abs=1e-3)


def test_heavy_tailed_gradients():
    layer = exact(BatchNormPosterior(1, 1, tau=0.5)).eval()  # stored moments: mean 0, variance 1
    n_rows = 400_000
    head = torch.randn(n_rows, 1, dtype=torch.float64, requires_grad=True)
    loc, scale = layer.standardise(torch.zeros_like(head), head, layer.stored_moments())
    kl = kl_divergence(Normal(loc, scale), STANDARD).sum()
    (gradient,) = torch.autograd.grad(kl, head)
    torch.testing.assert_close(gradient, 0.25 * head - 1 / head)
    inverse = (1 / head).abs().detach().numpy()[:, 0]
    for t in (10.0, 100.0, 1000.0):
        share = special.erf(1 / (t * np.sqrt(2)))
        error = np.sqrt(share / n_rows)
        assert abs((inverse > t).mean() - share) < 5 * error
        assert share == pytest.approx(np.sqrt(2 / np.pi) / t, rel=0.01)
    largest = inverse.reshape(-1, 100).max(1)  # of batches of 100 rows
    below = (largest < np.sqrt(2 / np.pi) * 100 / np.log(2)).mean()
    assert abs(below - 0.5) < 5 * 0.5 / np.sqrt(len(largest)) + 0.005
    # the mean has no bound: cut off at t, it grows like log t
    cut = [integrate.quad(lambda s: 2 * stats.norm.pdf(s) / s, 1 / t, 40)[0] for t in (1e2, 1e4)]
    assert cut[1] - cut[0] == pytest.approx(np.sqrt(2 / np.pi) * np.log(100), rel=1e-3)


def test_division_by_the_root_mean_square():
    for gamma in ("heads", "theta"):
        for eps in (0.0, 1.0):
            location, spread = heads()
            layer = exact(MomentPosterior(1, 3, tau=0.3, gamma=gamma), eps)
            q = of_heads(layer, location, spread)
            signal = q.loc.detach().var(0, correction=0).numpy()
            v = location.var(0)
            gamma_sq = signal * (v + eps) / v
            expected = 1 - gamma_sq + gamma_sq * eps / (v + eps)
            np.testing.assert_allclose(q.scale.detach().square().mean(0), expected, rtol=1e-9)
            assert (q.scale > 0).all()
            same = of_heads(layer, location, np.full_like(spread, 700.0))  # exp(700) overflows not
            np.testing.assert_allclose(same.scale.detach(), same.scale.detach()[:1].expand(50, -1))


def test_bounded_gradients():
    for gamma in ("heads", "theta"):
        for width in (1.0, 30.0):
            layer = exact(MomentPosterior(1, 3, tau=0.3, gamma=gamma))
            location, _ = heads()
            head = (width * torch.randn(50, 3, dtype=torch.float64)).requires_grad_()
            location, spread = torch.as_tensor(location), layer.spread(head)
            moments = Moments.of(*layer.collect(location, spread))
            _, scale = layer.standardise(location, spread, moments)
            kl = -scale.log().mean(0).sum()  # statement 20
            (gradient,) = torch.autograd.grad(kl, head)
            assert (gradient.abs().sum(0) <= 1 + 1e-9).all()
            assert gradient.abs().sum() > 0.1


# -- where gamma comes from --------------------------------------------------------------------


def test_free_shift_and_scale():
    model = linear_vae(GaussianPosterior)
    x = torch.randn(40, 3, dtype=torch.float64)
    noise = torch.randn(40, 2, dtype=torch.float64)
    before = elbo_terms(model, x, noise)
    q = model.posterior(x)
    loc, scale = q.loc.detach().numpy(), q.scale.detach().numpy()
    M = loc.var(0) + (scale**2).mean(0)

    def kl(a, c, j=0):
        moments = M[j] + (loc[:, j].mean() - a) ** 2
        return 0.5 * (c**2 * moments - 2 * np.log(c) - np.log(scale[:, j] ** 2).mean() - 1)

    for a, c in [(0.0, 1.0), (0.7, 0.4), (-1.0, 2.0)]:
        transformed = bounds.gaussian_kl(c * (loc[:, 0] - a), c * scale[:, 0]).mean()
        assert transformed == pytest.approx(kl(a, c), rel=1e-10)
    best = optimize.minimize(lambda p: kl(p[0], np.exp(p[1])), [0.0, 0.0], tol=1e-12)
    assert best.x == pytest.approx([loc[:, 0].mean(), -0.5 * np.log(M[0])], abs=1e-4)
    assert best.fun == pytest.approx(0.5 * (np.log(M[0]) - np.log(scale[:, 0] ** 2).mean()))

    # the decoder's first layer undoes it
    a, c = torch.as_tensor(loc.mean(0)), torch.as_tensor(M**-0.5)
    with torch.no_grad():
        layer, decoder = model.posterior_layer.heads, model.decoder
        decoder.bias += decoder.weight @ a
        decoder.weight /= c
        layer.bias[:2] -= a
        layer.weight[:2] *= c[:, None]
        layer.bias[:2] *= c
        layer.bias[2:] += 2 * c.log()
    after = elbo_terms(model, x, noise)
    torch.testing.assert_close(after.reconstruction, before.reconstruction)
    assert after.kl.mean() < before.kl.mean() - 1e-3
    q = model.posterior(x)
    total = q.loc.square().mean(0) + q.scale.square().mean(0)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_pace_of_adam():
    for size in (1e-3, 1.0, 1e3):
        theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = Adam([theta], learning_rate=1e-3)
        for _ in range(200):
            optimizer.step([torch.full((1,), -size, dtype=torch.float64)])
        assert float(theta.detach()) == pytest.approx(0.2, rel=1e-3)


def test_gamma_from_the_heads():
    location, spread = heads()
    v, r = location.var(0), np.exp(spread).mean(0)
    for tau in TAUS:
        q = of_heads(exact(MomentPosterior(1, 3, tau=tau)), location, spread)
        signal = q.loc.detach().var(0, correction=0).numpy()
        np.testing.assert_allclose(signal, tau + (1 - tau) * v / (v + r), rtol=1e-9)
        noise = q.scale.detach().square().mean(0).numpy()
        np.testing.assert_allclose(noise, (1 - tau) * r / (v + r), rtol=1e-8)
        # a common factor in both heads changes nothing
        scaled = of_heads(exact(MomentPosterior(1, 3, tau=tau)), 7 * location, spread + np.log(49))
        torch.testing.assert_close(scaled.loc, q.loc)
        torch.testing.assert_close(scaled.scale, q.scale)


def test_tau_to_zero_is_the_plain_vae():
    location, spread = heads()
    v, r = location.var(0), np.exp(spread).mean(0)
    matched = of_heads(exact(MomentPosterior(1, 3, tau=1e-13)), location, spread)
    plain = of_heads(exact(GaussianPosterior(1, 3)), location, spread)
    c = 1 / np.sqrt(v + r)
    loc = c * (plain.loc.numpy() - location.mean(0))
    np.testing.assert_allclose(matched.loc, loc, rtol=1e-9)
    np.testing.assert_allclose(matched.scale, c * plain.scale.numpy(), rtol=1e-9)
    rate = 0.5 * np.log(v + r) - 0.5 * spread.mean(0)
    np.testing.assert_allclose(mean_kl(matched), rate, rtol=1e-9)
    np.testing.assert_allclose(bounds.gaussian_kl(loc, matched.scale.numpy()).mean(0), rate)


# -- probabilistic PCA -------------------------------------------------------------------------


def linear_elbo(g, rho, w=None):
    """Mean ELBO of one component, up to a constant: x ~ N(0, rho), noise 1, best or given w."""
    w = np.sqrt(g * rho) if w is None else w
    error = rho - 2 * w * np.sqrt(g * rho) + w**2
    return -0.5 * error - bounds.kl_floor(g)


def test_best_share_of_signal():
    for eigenvalue in (0.3, 1.0, 1.5, 20.0):
        for noise in (0.5, 1.0):
            rho = eigenvalue / noise
            best = bounds.pca_gamma(eigenvalue, noise)
            grid = np.linspace(0, 0.9999, 2001)
            assert linear_elbo(best, rho) >= linear_elbo(grid, rho).max() - 1e-12
            for w in np.linspace(0, 5, 26):  # and no other decoder weight does better
                assert linear_elbo(best, rho) >= linear_elbo(best, rho, w) - 1e-12


def test_reverse_water_filling():
    spectrum = np.array([9.0, 4.0, 2.0, 0.5, 0.1])
    level = 1.3
    rates = bounds.pca_rate(spectrum, level)
    np.testing.assert_allclose(rates, np.maximum(0, 0.5 * np.log(spectrum / level)), atol=1e-12)

    # the least distortion at that total rate, found without the formula
    def distortion(share):
        return np.sum(spectrum * np.exp(-2 * share))

    found = optimize.minimize(
        distortion,
        np.full(5, rates.sum() / 5),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda share: share.sum() - rates.sum()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found.x, rates, atol=1e-3)


def test_price_of_tau():
    for tau in (0.1, 0.5, 0.9):
        floor = bounds.kl_floor(tau)
        for rho in (0.0, 0.5, 1.0, 1.05, 1.5, 9.9, 10.5):
            grid = np.linspace(tau, 0.99999, 20_001)
            forced = linear_elbo(grid, rho).max()
            free = linear_elbo(bounds.pca_gamma(rho, 1.0) if rho else 0.0, rho)
            if rho >= 1 / (1 - tau):
                price = 0.0
            elif rho >= 1:
                price = 0.5 * (rho * (1 - tau) - 1 - np.log(rho * (1 - tau)))
            else:
                price = 0.5 * (-np.log(1 - tau) - rho * tau)
            assert free - forced == pytest.approx(price, abs=1e-6)
            assert price <= floor
            assert (price == 0) == (rho > 0 and bounds.pca_gamma(max(rho, 1e-9), 1.0) >= tau)
    assert 0.5 * (-np.log(1 - 0.5)) == bounds.kl_floor(0.5)


def test_one_draw_gives_the_evidence():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5)) * 2 + rng.normal(size=(300, 5)) + 3
    pca = PCA(2).fit(X)
    covariance = pca.get_covariance()
    noise = pca.noise_variance_
    eigenvalues, U = np.linalg.eigh(covariance)
    eigenvalues, U = eigenvalues[:-3:-1].copy(), U[:, :-3:-1].copy()
    tau = 0.3
    best = bounds.pca_gamma(eigenvalues, noise)
    assert (best > tau).all()

    model = VAE(
        nn.Identity(),
        MomentPosterior(5, 2, tau=tau),
        nn.Linear(2, 5),
        GaussianLikelihood(5),
        StandardNormal(2),
    )
    model = model.double().eval()
    model.posterior_layer.eps = 0.0
    to = torch.as_tensor
    with torch.no_grad():
        likelihood = model.likelihood_layer
        likelihood.scale_floor.zero_()
        likelihood.log_scale.fill_(0.5 * np.log(noise) / likelihood.pace)
        model.decoder.weight.copy_(to(U * np.sqrt(eigenvalues - noise)))
        model.decoder.bias.copy_(to(X.mean(0)))
        layer = model.posterior_layer.heads
        layer.weight.zero_()
        layer.weight[:2] = to(U.T.copy())
        layer.bias.zero_()
    # scikit-learn's eigenvalues divide by n - 1; the moments are those of the fitted Gaussian
    stored = model.posterior_layer.stored_moments()
    stored.mean.copy_(to(X.mean(0) @ U))
    stored.variance.copy_(to(eigenvalues))
    ratio = (best - tau) / (1 - tau)
    stored.mean_square.copy_(to(eigenvalues * (1 - ratio) / ratio))
    with torch.no_grad():  # a constant deviation: l = log E exp(l)
        layer.bias[2:] = stored.mean_square.log()
    for _ in range(3):
        one_draw = torch.randn(1, 300, 2, dtype=torch.float64)
        with torch.no_grad():
            log_p = importance_bound(model, to(X), one_draw).numpy()
        np.testing.assert_allclose(log_p, pca.score_samples(X), rtol=1e-10)


# -- what the usual diagnostics hide -----------------------------------------------------------


def test_active_units_are_automatic():
    features = torch.randn(200, 4)
    for name in ("batchnorm-mean", "batchnorm", "moment"):
        layer = POSTERIORS[name](4, 3, tau=0.02)  # random weights, nothing learnt
        layer.eval()
        layer.finalise([(features, None)])
        variance = layer(features).loc.detach().var(0, correction=0).numpy()
        raw = layer.heads(features)[:, :3].detach().double().numpy()
        low = 0.02 * bounds.shrinkage(raw.var(0), layer.eps)
        assert (variance >= low * (1 - 1e-4)).all()
        assert (variance > 0.01).all()
    plain = GaussianPosterior(4, 3)
    with torch.no_grad():
        plain.heads.weight.mul_(1e-3)
    assert (plain(features).loc.var(0) < 0.01).all()  # there it tells something


def estimated_information(q, seed):
    """The estimate of statement 39, from one draw a row."""
    return mutual_information(q.loc.detach().numpy(), q.scale.detach().numpy(), seed)


def test_estimated_information_saturates():
    # far more information than log N: it says log N
    layer = exact(MomentPosterior(1, 3, tau=0.99999))
    q = of_heads(layer, *heads(20))
    assert np.log(20) - 1e-6 < estimated_information(q, 0) <= np.log(20) + 1e-12
    # less than that: unbiased over the draws
    q = of_heads(exact(MomentPosterior(1, 1, tau=0.3)), *heads(8, 1))
    estimates = np.array([estimated_information(q, seed) for seed in range(3000)])
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - mixture_terms(q)[0]) < 5 * error
    assert estimates.max() <= np.log(8) + 1e-12
    assert estimates.min() < 0  # a single one can be negative


def test_participation_ratio():
    rng = np.random.default_rng(0)
    code = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    eigenvalues = np.linalg.eigvalsh(np.cov(code, rowvar=False))
    ratio = participation_ratio(code)
    assert ratio == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    assert 1 < ratio < 4
    copies = of_heads(exact(MomentPosterior(1, 3)), np.tile(heads(50, 1)[0], (1, 3)), heads()[1])
    assert participation_ratio(copies.loc.detach().numpy()) == pytest.approx(1)
    whitened = np.linalg.qr(code - code.mean(0))[0]
    assert participation_ratio(whitened) == pytest.approx(4)


# -- what a batch does to its moments -----------------------------------------------------------


def drawn(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_blur_of_a_batch():
    for n_rows in (50, 400):
        raw = 3.0 + 2.0 * drawn(n_rows, 20_000, seed=n_rows)  # a batch in each column
        moments = Moments.of(raw, raw[:, :0])
        u = drawn(20_000, seed=1)
        blurred = (3.0 + 2.0 * u - moments.mean) / moments.variance.sqrt()
        found = n_rows * (blurred - u).square()
        error = 5 * found.std().item() / 20_000**0.5
        assert found.mean().item() == pytest.approx(1.5, abs=error + 10 / n_rows)


def test_price_of_a_wrong_scale():
    for eigenvalue, noise in ((4.0, 1.0), (30.0, 0.5)):
        signal = bounds.pca_gamma(eigenvalue, noise)
        rho = eigenvalue / noise
        w = np.sqrt(signal * rho)  # weight of the decoder, in units of the noise
        assert 1 / (1 - signal) == pytest.approx(1 + w**2)

        def loss(scale, signal=signal, rho=rho, w=w):
            # E (x - w scale mu - w sigma epsilon)^2 / 2, of x and mu that correlate as they should
            error = rho - 2 * w * scale * np.sqrt(signal * rho) + w**2 * scale**2 * signal
            moments = scale**2 * signal + (1 - signal)
            return 0.5 * (error + w**2 * (1 - signal)) + 0.5 * (moments - np.log(1 - signal) - 1)

        for delta in (-0.3, 0.01, 0.2):
            price = delta**2 / 2 * signal / (1 - signal)
            assert loss(1 + delta) - loss(1.0) == pytest.approx(price, rel=1e-9)
        assert -loss(1.0) == pytest.approx(linear_elbo(signal, rho))


def test_reach_of_running_moments():
    posterior = exact(MomentPosterior(1, 1))
    posterior.n_batches = 10**6  # the share has come to rest
    zero = torch.zeros(1, dtype=torch.float64)
    weights = []
    # A linear filter is known by its answer to one batch that differs from all others.
    posterior.update_running(Moments(zero.sum(), zero + 1.0, zero, zero + 1.0))
    for _ in range(500):
        weights.append(posterior.mean.item())
        posterior.update_running(Moments(zero.sum(), zero, zero, zero + 1.0))
    share = posterior._share_of_batch()
    assert weights[0] == pytest.approx(share)
    assert 1 / np.square(weights).sum() == pytest.approx((2 - share) / share, rel=1e-6)
    assert (2 - share) / share == pytest.approx(39)
    assert posterior.smallest_share == 0.05


def in_training(posterior, location, spread, n_before=0):
    """Raw heads that require a gradient, and their q(z|x) in training, after other batches."""
    width = 2 * posterior.n_components
    posterior.heads = type(posterior.heads)(width, width).double()
    with torch.no_grad():
        posterior.heads.weight.copy_(torch.eye(width))
        posterior.heads.bias.zero_()
    posterior.train()
    for seed in range(n_before):
        posterior(2.0 * drawn(20, width, seed=seed) + 1.0)
    raw = torch.as_tensor(np.hstack([location, spread])).requires_grad_()
    return raw, posterior(raw)


class AllOfTheGradient(MomentPosterior):
    def gradient_share(self, running, share):
        return 1.0


def test_what_the_gradient_is_blind_to():
    location, spread = heads()
    for n_before in (0, 5):
        raw, q = in_training(exact(AllOfTheGradient(1, 3)), location, spread, n_before)
        loss = (q.loc.sin() + (3 * q.scale).cos()).sum()
        (gradient,) = torch.autograd.grad(loss, raw)
        along, rest = gradient.chunk(2, dim=1)
        size = gradient.abs().max()
        assert along.sum(0).abs().max() < 1e-9 * size
        centered = torch.as_tensor(location - location.mean(0))
        common = (centered * along).sum(0) + 2 * rest.sum(0)
        assert common.abs().max() < 1e-9 * (centered.abs().max() * size)


def test_values_and_gradient_meet_at_share_one():
    class OfTheBatch(MomentPosterior):
        renormalized = False

    location, spread = heads()
    found = []
    for cls in (MomentPosterior, OfTheBatch):
        raw, q = in_training(exact(cls(1, 3)), location, spread)
        (gradient,) = torch.autograd.grad((q.loc.sin() + (3 * q.scale).cos()).sum(), raw)
        found.append((q.loc, q.scale, gradient))
    torch.testing.assert_close(*found)

    def first(raw):
        posterior = exact(MomentPosterior(1, 1))
        posterior.heads = nn.Identity()
        q = posterior(raw)
        return q.loc, q.scale

    assert torch.autograd.gradgradcheck(first, drawn(4, 2, seed=3).requires_grad_())


def test_share_of_the_gradient_that_flows():
    posterior = exact(MomentPosterior(1, 7))
    ratio = torch.logspace(-3, 3, 7, dtype=torch.float64)  # of signal to noise, raw
    moments = Moments(ratio.sum(), 0 * ratio, ratio, 1 + 0 * ratio)
    q = posterior.gradient_share(moments, 0.0).numpy()
    for found, rho in zip(q, ratio.tolist(), strict=True):
        best = optimize.minimize_scalar(
            lambda q, rho=rho: (1 - q) ** 2 + q**2 * rho,
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert found == pytest.approx(best.x, abs=1e-6)
    for share in (0.05, 1.0):
        flows = posterior.gradient_share(moments, share).numpy()
        np.testing.assert_allclose(flows, share + (1 - share) * q)


# -- the checks can fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        bounds.article_kl_floor,  # true, but not reached
        lambda tau: -0.5 * np.log2(1 - tau),  # in bits
        lambda tau: -np.log1p(-tau),  # without the half
        lambda tau: 0.999 * bounds.kl_floor(tau),
    ],
)
def test_a_wrong_kl_floor_is_noticed(wrong):
    with pytest.raises(AssertionError):
        check_kl_floor(wrong)


def test_a_wrong_kl_floor_of_the_library_is_noticed(monkeypatch):
    monkeypatch.setattr("skvae.posteriors.matched.kl_floor", bounds.article_kl_floor)
    with pytest.raises(AssertionError):
        check_kl_floor(bounds.kl_floor)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda *args, **kwargs: 2 * bounds.mean_kl_floor(*args, **kwargs),
        lambda gamma, beta, variance, eps: bounds.mean_kl_floor(gamma, beta),  # eps forgotten
        lambda gamma, beta, variance, eps: bounds.mean_kl_floor(
            gamma, 0.0, variance=variance, eps=eps
        ),
    ],
)
def test_a_wrong_floor_of_the_mean_is_noticed(wrong):
    with pytest.raises(AssertionError):
        check_mean_kl_floor(wrong)


class NotDivided(MomentPosterior):
    """The second head as it comes, not divided by its root mean square."""

    def standardise(self, location, spread, moments):
        moments = moments._replace(mean_square=torch.ones_like(moments.mean_square))
        return super().standardise(location, spread, moments)


class EpsilonLost(MomentPosterior):
    """What epsilon takes from the mean goes nowhere."""

    def standardise(self, location, spread, moments):
        loc, scale = super().standardise(location, spread, moments)
        signal = loc.square().mean(0)
        variance = moments.variance
        lost = signal * self.eps / variance.clamp_min(1e-300)
        return loc, scale * ((1 - signal - lost) / (1 - signal)).clamp_min(0).sqrt()


class LogVariance(MomentPosterior):
    """The second head batch-normalized and read as a log-variance."""

    def standardise(self, location, spread, moments):
        loc, _ = super().standardise(location, spread, moments)
        return loc, (0.5 * (spread - spread.mean(0))).exp()


@pytest.mark.parametrize("wrong", [NotDivided, EpsilonLost, LogVariance])
def test_wrong_moments_are_noticed(wrong):
    with pytest.raises(AssertionError):
        check_moments(wrong)


def test_a_broken_layer_of_the_library_is_noticed(monkeypatch):
    intact = MomentPosterior.standardise

    def without_division(self, location, spread, moments):
        one = torch.ones_like(moments.mean_square)
        return intact(self, location, spread, moments._replace(mean_square=one))

    monkeypatch.setattr(MomentPosterior, "standardise", without_division)
    with pytest.raises(AssertionError):
        check_moments(MomentPosterior)


# -- the page of statements --------------------------------------------------------------------


def listed():
    """Rows of the table: number, functions and test."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.split(r"\n   \* - ", text)[2:]  # without the header
    return [
        (
            int(re.match(r"S(\d+)", row)[1]),
            re.search(r":eq:`([\w-]+)`", row)[1],
            # a private one has no page to link to and stands in plain code markup
            re.findall(r"(?::(?:func|class|meth):`~?|``)(skvae\.[\w.]+)`", row),
            re.findall(r"``(test_\w+)``", row),
        )
        for row in rows
    ]


def on_the_pages():
    """Numbered statements of the theory pages, in order: number, labels of its formula, text."""
    theory = ROOT / "docs" / "theory"
    index = (theory / "index.rst").read_text(encoding="utf-8")
    pages = re.findall(r"^   (\w+)$", index.split(".. toctree::")[1].split("Notation")[0], re.M)
    found = []
    for page in pages:
        text = (theory / f"{page}.rst").read_text(encoding="utf-8")
        parts = re.split(r"^\*\*Statement (\d+) \(", text, flags=re.M)[1:]
        for number, part in zip(parts[::2], parts[1::2], strict=True):
            found.append((int(number), re.search(r":label: ([\w-]+)", part)[1], part))
    return found


def test_every_listed_test_exists_and_every_function_can_be_imported():
    rows = listed()
    assert [number for number, *_ in rows] == list(range(1, len(rows) + 1))
    for number, _, functions, tests in rows:
        assert functions, f"S{number} names no function"
        assert len(tests) == 1, f"S{number} names {len(tests)} tests"
        assert callable(globals()[tests[0]])
        for name in functions:
            parts = name.split(".")
            for cut in range(len(parts) - 1, 0, -1):
                try:
                    found = importlib.import_module(".".join(parts[:cut]))
                except ModuleNotFoundError:
                    continue
                for part in parts[cut:]:
                    found = getattr(found, part)
                assert callable(found)
                break
            else:
                pytest.fail(f"{name} cannot be imported")
    names = [tests[0] for *_, tests in rows]
    assert len(set(names)) == len(names)


def test_every_statement_of_the_pages_is_listed():
    rows = {number: (label, tests[0]) for number, label, _, tests in listed()}
    pages = on_the_pages()
    assert [number for number, *_ in pages] == sorted(rows)
    for number, label, text in pages:
        assert rows[number][0] == label
        named = re.search(r"\*checked by\*\s+``(\w+)``", text)
        assert named, f"Statement {number} names no test"
        assert named[1] == rows[number][1]
        assert re.search(r"\*Computed by\*", text), f"Statement {number} names no function"
