"""Measures of a code, from the posteriors of some rows.

Every function takes means, or means and standard deviations, of the posteriors, as
`skvae.diagnostics.encode` returns them. Every amount of information is in nats.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from skvae._data.units import chunk_slices
from skvae._random import random_state_of
from skvae.bounds import gaussian_kl

# A component is live if its mean varies by more than this over the rows (Burda et al. 2016).
LIVE_VARIANCE = 0.01
# Limit of the N draws for the energy distance: the error falls as 1 / N, the time grows as N^2.
MOST_ENERGY_DRAWS = 4096


def _checked_rows(name, array):
    """Return rows of finite numbers, in double precision; refuse anything else."""
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"{name} must have the shape (n_samples, n_components), both at least 1; "
            f"got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return array


def checked_posteriors(loc, scale):
    """Return loc and scale in double precision; refuse impossible means and deviations."""
    loc, scale = _checked_rows("loc", loc), _checked_rows("scale", scale)
    if loc.shape != scale.shape:
        raise ValueError(
            f"loc and scale must have the same shape; got {loc.shape} and {scale.shape}"
        )
    if scale.min() <= 0:
        raise ValueError(f"scale must be positive, as a standard deviation; got {scale.min():g}")
    return loc, scale


def require_two_rows(loc):
    """Refuse a single row, which cannot be compared with any other."""
    if len(loc) < 2:
        raise ValueError(f"At least 2 rows are needed to compare codes; got {len(loc)}")


def _covariance(loc):
    """Return the covariance over the rows, which is a matrix even for one component."""
    return np.cov(loc, rowvar=False, bias=True).reshape(loc.shape[1], -1)


def participation_of_covariance(covariance):
    """Return ``(tr C)^2 / tr C^2`` of a covariance matrix C, and 0 for C = 0."""
    largest = np.abs(covariance).max(initial=0.0)
    if largest == 0:
        return 0.0
    covariance = covariance / largest  # so that squares neither overflow nor vanish
    return float(np.trace(covariance) ** 2 / np.square(covariance).sum())


def _total_distance(a, b):
    """Sum the Euclidean distances of all rows of a from all rows of b."""
    return sum(cdist(a[rows], b).sum() for rows in chunk_slices(len(a), len(b)))


def kl_per_component(loc: ArrayLike, scale: ArrayLike) -> np.ndarray:
    """Compute the mean KL divergence from posterior to prior, per component.

    ``KL_j = 1/2 E(mu_j^2 + sigma_j^2 - log sigma_j^2 - 1)``, with the mean taken over the rows.
    The sum over the components is the rate.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.

    Returns
    -------
    ndarray of shape (n_components,)
        KL of each component, in nats.

    Raises
    ------
    ValueError
        If `loc` and `scale` are not the means and standard deviations of some rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import kl_per_component
    >>> kl_per_component(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones((2, 2))).tolist()
    [0.5, 0.0]
    """
    return gaussian_kl(*checked_posteriors(loc, scale)).mean(0)


def active_units(loc: ArrayLike, threshold: float = LIVE_VARIANCE) -> int:
    """Count the live components, whose posterior mean varies over the rows.

    A component is live if ``Var mu_j > threshold`` (Burda et al. 2016, arXiv:1509.00519). Batch
    normalization and moment matching make every component live, so the number shows collapse in a
    plain VAE only. It says nothing about the decoder of any model.

    Parameters
    ----------
    loc : ndarray of shape (n_samples, n_components)
        Means of the posteriors.
    threshold : float, default=0.01
        Least variance of a live component, in squared units of the code.

    Returns
    -------
    int
        Number of live components, from 0 to n_components.

    Raises
    ------
    ValueError
        If `loc` is not a finite array of two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import active_units
    >>> active_units(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    1
    """
    return int(np.sum(_checked_rows("loc", loc).var(0) > threshold))


def participation_ratio(loc: ArrayLike) -> float:
    """Estimate the number of directions that the code uses, as a rank that need not be whole.

    ``(sum_j l_j)^2 / sum_j l_j^2`` for the eigenvalues l of Cov(mu). It is 1 if all components
    are multiples of one feature, and n_components if they are uncorrelated and of equal variance.

    Parameters
    ----------
    loc : ndarray of shape (n_samples, n_components)
        Means of the posteriors.

    Returns
    -------
    float
        Number from 1 to n_components, or 0 if the mean is the same for all rows.

    Raises
    ------
    ValueError
        If `loc` is not a finite array of two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import participation_ratio
    >>> feature = np.array([[1.0], [0.0], [-1.0]])
    >>> participation_ratio(feature @ np.array([[1.0, -2.0, 0.5]]))
    1.0
    """
    return participation_of_covariance(_covariance(_checked_rows("loc", loc)))


def mutual_information(
    loc: ArrayLike,
    scale: ArrayLike,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> float:
    """Estimate the mutual information of code and row (Hoffman & Johnson 2016, *ELBO surgery*).

    ``mean_i log q(z_i|x_i) / q(z_i)`` with one draw ``z_i ~ q(z|x_i)`` per row, where ``q(z)`` is
    the mixture of the posteriors of these rows. It estimates ``E KL(q(z|x) || q(z))``. Time grows
    with the square of the number of rows, and memory linearly. A posterior standard deviation below
    1e-5 times the standard deviation of its component's means is raised to that value; such a
    component distinguishes 1e5 rows either way.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws.

    Returns
    -------
    float
        Estimate in nats, at most ``log n_samples``; `missing_information` says how much an estimate
        close to that limit misses. It can be slightly negative if the code carries almost no
        information, and is not clipped at 0.

    Raises
    ------
    ValueError
        If `loc` and `scale` are not the means and standard deviations of some rows.

    Examples
    --------
    Two rows with distinct codes, and two rows with the same code:

    >>> import numpy as np
    >>> from skvae.diagnostics import mutual_information
    >>> scale = np.ones((2, 1))
    >>> round(mutual_information(np.array([[-50.0], [50.0]]), scale, random_state=0), 4)
    0.6931
    >>> mutual_information(np.array([[0.0], [0.0]]), scale, random_state=0)
    0.0
    """
    loc, scale = checked_posteriors(loc, scale)
    loc = loc - loc.mean(0)
    scale = np.maximum(scale, 1e-5 * loc.std(0))
    noise = random_state_of(random_state).standard_normal(loc.shape)
    n_samples = len(loc)
    return float(np.log(n_samples) - _summed_log_ratios(loc, scale, noise) / n_samples)


def _summed_log_ratios(loc, scale, noise):
    """Sum ``log sum_k q(z_i|x_k) / q(z_i|x_i)`` over the rows i, each at one draw ``z_i``."""
    n_samples, z = len(loc), loc + scale * noise
    precision, log_scale = scale**-2.0, np.log(scale).sum(1)
    # log q(z|x_k) is a polynomial in z, here without -d/2 log(2 pi), which cancels in every ratio.
    constant = -0.5 * (loc**2 * precision).sum(1) - log_scale
    linear, quadratic = (loc * precision).T, -0.5 * precision.T
    # A row's own density follows from the noise exactly, where the polynomial rounds.
    log_own = -0.5 * (noise**2).sum(1) - log_scale
    total = 0.0
    for chunk in chunk_slices(n_samples, n_samples):
        log_q = z[chunk] @ linear  # (n_chunk, n_samples)
        log_q += z[chunk] ** 2 @ quadratic
        log_q += constant
        rows = np.arange(n_samples)[chunk]
        log_q[np.arange(len(rows)), rows] = log_own[chunk]
        log_q -= log_own[chunk, None]
        largest = log_q.max(1)  # log sum exp in place, which spares the memory of a copy
        log_q -= largest[:, None]
        np.exp(log_q, out=log_q)
        total += (largest + np.log(log_q.sum(1))).sum()
    return total


def missing_information(information: float, n_samples: int) -> float:
    """Approximate how much `mutual_information` falls short because there are too few rows.

    Suppose that the density ratio ``r = q(z|x) / q(z)`` over the whole population is the same
    everywhere. The estimate over N rows is then ``log r / (r/N + 1 - 1/N)``, because each row is
    part of the mixture that it is compared with, and the true value is ``log r``. The difference
    is ``log (N - 1) / (N - e^I)`` for the estimate I: 0 at I = 0, half a nat at 0.9 nats below
    log N, and unbounded at log N. For codes whose ratio varies it is a rough guide.

    Parameters
    ----------
    information : float
        Estimate I of the mutual information, in nats.
    n_samples : int
        Number N of rows in the estimate, at least 2.

    Returns
    -------
    float
        Missing nats; infinite at ``log n_samples``, where the true value can be arbitrarily large.

    Raises
    ------
    ValueError
        If there are fewer than 2 rows.

    Examples
    --------
    >>> from skvae.diagnostics import missing_information
    >>> round(missing_information(4.0, 1000), 3), round(missing_information(6.5, 1000), 3)
    (0.055, 1.093)
    """
    if n_samples < 2:
        raise ValueError(f"n_samples must be at least 2 to compare rows; got {n_samples}")
    below_limit = n_samples - np.exp(information)
    # Rounding may take a saturated estimate above its limit.
    if below_limit <= 1e-9 * n_samples:
        return float("inf")
    return float(np.log((n_samples - 1) / below_limit))


class AggregatedMoments(NamedTuple):
    """Mean of the aggregated posterior, and the two terms of its covariance.

    The prior has mean 0 and the identity as its covariance.

    Parameters
    ----------
    mean : ndarray of shape (n_components,)
        Mean of the code.
    signal : ndarray of shape (n_components, n_components)
        Covariance of the posterior means over the rows.
    noise : ndarray of shape (n_components,)
        Mean posterior variance.
    """

    mean: np.ndarray
    signal: np.ndarray
    noise: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the code, of shape (n_components, n_components)."""
        return self.signal + np.diag(self.noise)

    @property
    def mean_error(self) -> float:
        """Largest absolute mean of a component."""
        return float(np.abs(self.mean).max())

    @property
    def variance_error(self) -> float:
        """Largest absolute difference of a component's variance from 1."""
        return float(np.abs(np.diag(self.covariance) - 1).max())

    @property
    def covariance_error(self) -> float:
        """Largest absolute covariance of two components; 0 if there is only one."""
        return float(np.abs(self.signal - np.diag(np.diag(self.signal))).max())


def aggregated_moments(loc: ArrayLike, scale: ArrayLike) -> AggregatedMoments:
    """Compute mean and covariance of the aggregated posterior, the mixture of all posteriors.

    ``E z = E mu`` and ``Cov z = Cov mu + diag E sigma^2`` hold exactly, so no code is drawn.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.

    Returns
    -------
    AggregatedMoments
        Moments to compare with those of the prior, mean 0 and covariance I.

    Raises
    ------
    ValueError
        If `loc` and `scale` are not the means and standard deviations of some rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import aggregated_moments
    >>> loc = np.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> moments = aggregated_moments(loc, np.full((2, 2), 0.5))
    >>> moments.mean_error, moments.variance_error, moments.covariance_error
    (0.0, 0.25, 1.0)
    """
    loc, scale = checked_posteriors(loc, scale)
    return AggregatedMoments(loc.mean(0), _covariance(loc), np.square(scale).mean(0))


def energy_distance(
    loc: ArrayLike,
    scale: ArrayLike,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> float:
    """Estimate the distance of the aggregated posterior from the prior, between 0 and 1.

    The energy coefficient is ``H = 1 - (E|z - z'| + E|p - p'|) / (2 E|z - p|)``, with z and z'
    drawn from the aggregated posterior, p and p' from the prior, and Euclidean distances. It is
    0 if and only if the two distributions are the same, so it also shows differences that mean
    and covariance do not (Szekely & Rizzo 2013, *Energy statistics*). One code is drawn for each
    of at most 4,096 rows, which are chosen at random, and as many from the prior.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws.

    Returns
    -------
    float
        Energy coefficient, without a unit. The averages leave out the distance of a draw from
        itself, so the estimate is centered at 0 where the distributions agree and can be
        slightly negative.

    Raises
    ------
    ValueError
        If `loc` and `scale` are not the means and standard deviations of at least two rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import energy_distance
    >>> loc = np.zeros((500, 2))
    >>> abs(energy_distance(loc, np.ones((500, 2)), random_state=0)) < 0.01
    True
    >>> energy_distance(loc + 3, np.ones((500, 2)), random_state=0) > 0.3
    True
    """
    loc, scale = checked_posteriors(loc, scale)
    require_two_rows(loc)
    rng = random_state_of(random_state)
    if len(loc) > MOST_ENERGY_DRAWS:
        chosen = rng.permutation(len(loc))[:MOST_ENERGY_DRAWS]
        loc, scale = loc[chosen], scale[chosen]
    z = loc + scale * rng.standard_normal(loc.shape)
    p = rng.standard_normal(loc.shape)
    n = len(z)
    within = (_total_distance(z, z) + _total_distance(p, p)) / (n * (n - 1))
    return float(1 - within / (2 * _total_distance(z, p) / n**2))
