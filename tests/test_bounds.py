"""The closed forms against derivations of their own: integrals, minimisers and plain sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from skvae import bounds

taus = st.floats(1e-6, 1 - 1e-6)
GRID = np.linspace(0.001, 0.999, 999)


# -- KL to the standard normal -------------------------------------------------------------


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (1.3, 0.2), (-2.0, 1.7), (0.1, 0.9)])
def test_gaussian_kl_is_the_integral(loc, scale):
    q, p = stats.norm(loc, scale), stats.norm()
    integral, _ = quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -20, 20, points=[loc])
    assert bounds.gaussian_kl(loc, scale) == pytest.approx(integral, abs=1e-8)


@given(st.floats(-100, 100), st.floats(1e-6, 1e3))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_gaussian_kl_is_never_negative(loc, scale):
    assert bounds.gaussian_kl(loc, scale) >= -1e-15


def test_gaussian_kl_is_zero_at_the_prior():
    assert bounds.gaussian_kl(0.0, 1.0) == 0.0


def test_gaussian_kl_ignores_the_sign_of_the_scale():
    assert bounds.gaussian_kl(0.3, -0.5) == bounds.gaussian_kl(0.3, 0.5)


# -- shrinkage and the paper's floor -------------------------------------------------------


def test_shrinkage_is_the_variance_that_a_normalization_with_eps_leaves():
    eps = 0.5
    x = np.random.default_rng(0).normal(2.0, 0.7, 1000)
    normalized = (x - x.mean()) / np.sqrt(x.var() + eps)
    assert bounds.shrinkage(x.var(), eps) == pytest.approx(normalized.var(), rel=1e-12)


@pytest.mark.parametrize(
    ("variance", "eps", "expected"),
    [(0.0, 1e-8, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (np.inf, 1e-8, 1.0), (np.inf, 0.0, 1.0)],
)
def test_shrinkage_at_its_ends(variance, eps, expected):
    assert bounds.shrinkage(variance, eps) == expected


def test_a_small_initialisation_under_a_large_eps_leaves_an_eighth_of_gamma():
    assert np.sqrt(bounds.shrinkage(1.46e-7, 1e-5)) == pytest.approx(0.12, abs=1e-3)
    assert np.sqrt(bounds.shrinkage(1.46e-7, 1e-8)) > 0.96


def test_the_papers_floor_is_the_kl_at_unit_scale():
    gamma, beta, eps = 0.6, 0.3, 0.2
    head = np.random.default_rng(1).normal(5.0, 2.0, 500)
    loc = gamma * (head - head.mean()) / np.sqrt(head.var() + eps) + beta
    floor = bounds.mean_kl_floor(gamma, beta, variance=head.var(), eps=eps)
    assert floor == pytest.approx(bounds.gaussian_kl(loc, 1.0).mean(), rel=1e-12)


def test_the_papers_floor_for_32_components_at_gamma_one_half():
    assert 32 * bounds.mean_kl_floor(0.5) == 4.0


# -- the floor of moment matching ----------------------------------------------------------


@pytest.mark.parametrize("tau", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_floor_is_the_least_kl_that_matched_moments_allow(tau):
    # For a second moment m of the mean, constant sigma^2 = 1 - m is best, whatever the rows.
    least = minimize_scalar(
        lambda s: bounds.gaussian_kl(np.sqrt(1 - (1 - tau) * s), np.sqrt((1 - tau) * s)),
        bounds=(1e-9, 1.0),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert bounds.kl_floor(tau) == pytest.approx(least.fun, rel=1e-5)


@given(taus, st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_no_batch_of_matched_moments_falls_below_the_floor(tau, n_rows, seed):
    rng = np.random.default_rng(seed)
    loc, variance = rng.normal(size=n_rows), rng.gamma(rng.uniform(0.1, 5.0), size=n_rows) + 1e-9
    loc *= np.sqrt(tau / np.square(loc).mean())
    variance *= (1 - tau) / variance.mean()
    kl = bounds.gaussian_kl(loc, np.sqrt(variance)).mean()
    assert kl >= bounds.kl_floor(tau) - 1e-9


def test_constant_scale_reaches_the_floor_whatever_the_mean_of_mu():
    tau = 0.4
    loc = np.array([0.1, 0.2, 1.0])  # not centred: only second moments count
    loc *= np.sqrt(tau / np.square(loc).mean())
    kl = bounds.gaussian_kl(loc, np.sqrt(1 - tau)).mean()
    assert kl == pytest.approx(bounds.kl_floor(tau), rel=1e-12)


def test_the_floor_is_sharper_than_the_articles_for_every_tau():
    assert (bounds.kl_floor(GRID) > bounds.article_kl_floor(GRID)).all()


def test_the_floors_agree_to_first_order_in_tau():
    assert bounds.kl_floor(1e-9) == pytest.approx(bounds.article_kl_floor(1e-9), rel=1e-8)


def test_the_floor_at_one_half_is_half_a_bit():
    assert bounds.kl_floor(0.5) == pytest.approx(0.3466, abs=5e-5)
    assert bounds.kl_floor(0.5) == pytest.approx(0.5 * np.log(2), rel=1e-15)
    assert bounds.article_kl_floor(0.5) == 0.25


@pytest.mark.parametrize("floor", [bounds.kl_floor, bounds.article_kl_floor])
def test_floors_add_up_over_components(floor):
    assert floor(0.3, 7) == pytest.approx(7 * floor(0.3), rel=1e-15)


@given(st.floats(0, 30), st.integers(1, 100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_tau_for_rate_inverts_the_floor(rate, d):
    tau = bounds.tau_for_rate(rate, d)
    if tau < 1 - 1e-9:  # closer to 1, tau itself has no digits left
        assert bounds.kl_floor(tau, d) == pytest.approx(rate, rel=1e-6, abs=1e-15)


@given(taus)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_floor_inverts_tau_for_rate(tau):
    assert bounds.tau_for_rate(bounds.kl_floor(tau, 5), 5) == pytest.approx(tau, rel=1e-12)


def test_tau_for_rate_keeps_the_digits_of_a_tiny_rate():
    assert bounds.tau_for_rate(1e-20, 2) == pytest.approx(1e-20, rel=1e-12)


def test_the_layer_norm_floor_is_the_kl_of_every_row_at_unit_scale():
    tau, d = 0.3, 6
    heads = np.random.default_rng(2).normal(size=(10, d))
    loc = np.sqrt(tau) * (heads - heads.mean(1, keepdims=True)) / heads.std(1, keepdims=True)
    rows = bounds.gaussian_kl(loc, 1.0).sum(1)
    np.testing.assert_allclose(rows, bounds.layer_norm_kl_floor(tau, d), rtol=1e-12)


def test_layer_norm_of_a_single_component_has_no_floor():
    assert bounds.layer_norm_kl_floor(0.5, 1) == 0.0


# -- the channel ---------------------------------------------------------------------------


def _entropy(distribution):
    spread = 12 * distribution.std()
    return quad(lambda y: -distribution.pdf(y) * distribution.logpdf(y), -spread, spread)[0]


@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.5])
def test_capacity_is_the_information_that_passes_the_channel(ratio):
    received, noise = stats.norm(0, np.sqrt(1 + ratio)), stats.norm(0, 1)
    information = _entropy(received) - _entropy(noise)
    assert bounds.channel_capacity(ratio) == pytest.approx(information, rel=1e-7)


def test_capacity_at_the_snr_of_tau_is_the_floor():
    capacity = bounds.channel_capacity(bounds.snr(GRID))
    np.testing.assert_allclose(capacity, bounds.kl_floor(GRID), rtol=1e-12)


def test_snr_is_signal_over_noise():
    np.testing.assert_allclose(bounds.snr(GRID) * (1 - GRID), GRID, rtol=1e-12)


# -- the cost of a signed standard deviation -----------------------------------------------


@pytest.mark.parametrize(
    ("shape", "density", "end"),
    [
        ("normal", stats.norm.pdf, 12.0),
        ("uniform", lambda s: 0.5, 1.0),
    ],
)
def test_std_shape_cost_is_the_integral(shape, density, end):
    power = 2 * quad(lambda s: density(s) * s**2, 0, end)[0]
    cost = 2 * quad(lambda s: -0.5 * density(s) * np.log(s**2 / power), 0, end)[0]
    assert bounds.std_shape_cost(shape) == pytest.approx(cost, abs=1e-7)


@pytest.mark.parametrize(
    ("shape", "cost"), [("constant", 0), ("normal", 0.635), ("uniform", 0.451)]
)
def test_std_shape_cost_in_three_digits(shape, cost):
    assert bounds.std_shape_cost(shape) == pytest.approx(cost, abs=5e-4)


def test_std_shape_cost_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"shape must be one of \['constant', .*got 'cauchy'"):
        bounds.std_shape_cost("cauchy")


# -- probabilistic PCA ---------------------------------------------------------------------

SPECTRUM = np.array([9.0, 4.0, 1.5, 1.0, 0.6, 0.1])


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_pca_gamma_is_the_share_that_minimises_error_and_rate(noise):
    def objective(share, eigenvalue):  # squared error at the best decoder, in nats; and the rate
        return eigenvalue * (1 - share) / (2 * noise) - 0.5 * np.log(1 - share)

    best = [
        minimize_scalar(
            objective, args=(e,), bounds=(0, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}
        ).x
        for e in SPECTRUM
    ]
    np.testing.assert_allclose(bounds.pca_gamma(SPECTRUM, noise), best, atol=1e-6)


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_pca_rate_is_reverse_water_filling(noise):
    distortion = np.minimum(SPECTRUM, noise)  # the water line
    rate = 0.5 * np.log(SPECTRUM / distortion)
    np.testing.assert_allclose(bounds.pca_rate(SPECTRUM, noise), rate, atol=1e-14)


def test_pca_rates_sum_to_the_information_of_the_linear_model():
    noise = 0.7
    # I(x; z) of x = W z + noise, from two determinants, W W' + s^2 having the leading eigenvalues
    leading = SPECTRUM[noise < SPECTRUM]
    basis, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(9, len(leading))))
    weights = np.sqrt(leading - noise) * basis
    covariance = weights @ weights.T + noise * np.eye(9)
    information = 0.5 * (np.linalg.slogdet(covariance)[1] - 9 * np.log(noise))
    assert bounds.pca_rate(SPECTRUM, noise).sum() == pytest.approx(information, rel=1e-12)


@given(taus, st.floats(0.01, 100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_tau_binds_where_the_eigenvalue_is_small(tau, ratio):
    threshold = 1 / (1 - tau)
    if abs(ratio / threshold - 1) > 1e-9:
        assert (bounds.pca_gamma(ratio, 1.0) < tau) == (ratio < threshold)


# -- all of them ---------------------------------------------------------------------------

FUNCTIONS = {
    "gaussian_kl": lambda t: bounds.gaussian_kl(t, t),
    "mean_kl_floor": bounds.mean_kl_floor,
    "shrinkage": lambda t: bounds.shrinkage(t, 1e-8),
    "article_kl_floor": bounds.article_kl_floor,
    "kl_floor": bounds.kl_floor,
    "tau_for_rate": bounds.tau_for_rate,
    "layer_norm_kl_floor": lambda t: bounds.layer_norm_kl_floor(t, 3),
    "snr": bounds.snr,
    "channel_capacity": bounds.channel_capacity,
    "pca_gamma": lambda t: bounds.pca_gamma(t, 0.2),
    "pca_rate": lambda t: bounds.pca_rate(t, 0.2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_give_what_their_floats_give(name):
    function, values = FUNCTIONS[name], np.array([[0.1, 0.25], [0.5, 0.9]])
    result = function(values)
    assert result.shape == values.shape
    one_by_one = [function(float(t)) for t in values.ravel()]
    np.testing.assert_allclose(result.ravel(), one_by_one, rtol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_floats_give_floats(name):
    assert isinstance(FUNCTIONS[name](0.3), float)
