"""Closed forms of the theory: KL floors, tau and rate, channel capacity, probabilistic PCA.

Every function takes floats or NumPy arrays and returns the same; every amount of information is
in nats. No function needs a fitted model, so each statement of the theory can be tried at once.
"""

from typing import Any, Literal

import numpy as np

Floats = float | np.ndarray


def gaussian_kl(loc: Floats, scale: Floats) -> Any:
    """Compute the KL divergence from ``N(loc, scale**2)`` to the standard normal, per component.

    It is ``1/2 (loc^2 + scale^2 - log scale^2 - 1)``.

    Parameters
    ----------
    loc, scale : float or ndarray
        Mean and standard deviation; the shapes broadcast.

    Returns
    -------
    float or ndarray
        Divergence in nats, zero only at ``loc=0, scale=1``.

    Examples
    --------
    >>> from skvae.bounds import gaussian_kl
    >>> float(gaussian_kl(1.0, 1.0))
    0.5
    """
    variance = np.square(scale)
    return 0.5 * (np.square(loc) + variance - np.log(variance) - 1.0)


def mean_kl_floor(
    gamma: Floats, beta: Floats = 0.0, *, variance: Floats = np.inf, eps: float = 0.0
) -> Any:
    """Compute the floor of batch normalization on the posterior mean alone (Zhu et al. 2020).

    ``KL_j >= 1/2 (gamma^2 v / (v + eps) + beta^2)``, averaged over the rows whose moments
    the normalization used. It holds whatever the standard deviation head does, because
    ``scale^2 - log scale^2 - 1 >= 0``.

    Parameters
    ----------
    gamma, beta : float or ndarray
        Scale and shift of the normalization, per component.
    variance : float or ndarray, default=inf
        Variance ``v`` of the mean head over those rows, before the normalization; infinity leaves
        eps without effect.
    eps : float, default=0
        Epsilon of the normalization.

    Returns
    -------
    float or ndarray
        Floor in nats per component.

    Examples
    --------
    >>> from skvae.bounds import mean_kl_floor
    >>> float(32 * mean_kl_floor(0.5))
    4.0
    """
    return 0.5 * (np.square(gamma) * shrinkage(variance, eps) + np.square(beta))


def shrinkage(variance: Floats, eps: float) -> Any:
    """Compute the share ``v / (v + eps)`` of unit variance that a normalization with eps leaves.

    Parameters
    ----------
    variance : float or ndarray
        Variance before the normalization; infinity gives 1.
    eps : float
        Epsilon of the normalization.

    Returns
    -------
    float or ndarray
        Share from 0 (identical rows) to 1.

    Examples
    --------
    >>> from skvae.bounds import shrinkage
    >>> float(shrinkage(1e-5, 1e-5))
    0.5
    """
    variance = np.asarray(variance, dtype=float)
    finite = np.where(np.isinf(variance), 1.0, variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(finite > 0, finite / (finite + eps), 0.0)
    return np.where(np.isinf(variance), 1.0, share)[()]


def article_kl_floor(tau: Floats, n_components: int = 1) -> Any:
    """Compute the article's floor ``d tau / 2``, from the mean's second moment alone (Su 2020).

    Parameters
    ----------
    tau : float or ndarray
        Lower bound on ``gamma_mu^2``, in (0, 1).
    n_components : int, default=1
        Number of components ``d``.

    Returns
    -------
    float or ndarray
        Floor in nats, for all components together.

    Examples
    --------
    >>> from skvae.bounds import article_kl_floor
    >>> float(article_kl_floor(0.5, 32))
    8.0
    """
    return 0.5 * n_components * np.asarray(tau, dtype=float)[()]


def kl_floor(tau: Floats, n_components: int = 1) -> Any:
    """Compute the floor of moment matching, ``-d/2 log(1 - tau)``.

    With ``E mu^2 + E sigma^2 = 1`` the mean KL is exactly ``-1/2 E log sigma^2`` per component,
    and by Jensen's inequality at least ``-1/2 log E sigma^2 >= -1/2 log(1 - tau)``. This floor is
    sharper than :func:`article_kl_floor` for every tau, and is reached when sigma is the same for
    all rows.

    Parameters
    ----------
    tau : float or ndarray
        Lower bound on ``E mu^2`` over the rows whose moments are matched, in [0, 1).
    n_components : int, default=1
        Number of components ``d``.

    Returns
    -------
    float or ndarray
        Floor in nats, for all components together.

    Examples
    --------
    >>> from skvae.bounds import kl_floor
    >>> round(float(kl_floor(0.5)), 4)
    0.3466
    """
    return -0.5 * n_components * np.log1p(-np.asarray(tau, dtype=float))[()]


def tau_for_rate(rate: Floats, n_components: int = 1) -> Any:
    """Compute the tau whose floor is a given rate, ``1 - exp(-2 R / d)``.

    This is the inverse of :func:`kl_floor`.

    Parameters
    ----------
    rate : float or ndarray
        Floor ``R`` for all components together, in nats.
    n_components : int, default=1
        Number of components ``d``.

    Returns
    -------
    float or ndarray
        Tau, in [0, 1).

    Examples
    --------
    >>> from skvae.bounds import kl_floor, tau_for_rate
    >>> round(float(kl_floor(tau_for_rate(5.0, 16), 16)), 12)
    5.0
    """
    return -np.expm1(-2.0 * np.asarray(rate, dtype=float) / n_components)[()]


def layer_norm_kl_floor(tau: Floats, n_components: int) -> Any:
    """Compute the floor of layer normalization, for each row's total KL but for no component.

    Normalization of the ``d`` means *within* a row fixes ``sum_j mu_j^2 = d tau``, so the row's
    KL is at least ``d tau / 2``. A mean vector that is the same for every row reaches this floor
    and says nothing about the row.

    Parameters
    ----------
    tau : float or ndarray
        Square ``gamma^2`` of the fixed scale.
    n_components : int
        Number of components ``d``; a single normalized mean is 0, and so is its floor.

    Returns
    -------
    float or ndarray
        Floor in nats per row, for all components together.

    Examples
    --------
    >>> from skvae.bounds import layer_norm_kl_floor
    >>> float(layer_norm_kl_floor(0.5, 16)), float(layer_norm_kl_floor(0.5, 1))
    (4.0, 0.0)
    """
    return article_kl_floor(tau, n_components) * (n_components > 1)


def snr(tau: Floats) -> Any:
    """Compute the signal-to-noise ratio ``tau / (1 - tau)`` of a component at its floor.

    Parameters
    ----------
    tau : float or ndarray
        Second moment of the mean, in [0, 1); the remaining ``1 - tau`` is noise.

    Returns
    -------
    float or ndarray
        Ratio of powers, not in decibels.

    Examples
    --------
    >>> from skvae.bounds import snr
    >>> float(snr(0.5))
    1.0
    """
    tau = np.asarray(tau, dtype=float)
    return (tau / (1.0 - tau))[()]


def channel_capacity(ratio: Floats) -> Any:
    """Compute the capacity ``1/2 log(1 + SNR)`` of a Gaussian channel (Shannon 1948).

    At ``SNR = tau / (1 - tau)`` it equals :func:`kl_floor`: the floor is the capacity of the
    channel that tau guarantees.

    Parameters
    ----------
    ratio : float or ndarray
        Signal-to-noise ratio of powers.

    Returns
    -------
    float or ndarray
        Capacity in nats per use of the channel.

    Examples
    --------
    >>> from skvae.bounds import channel_capacity, kl_floor, snr
    >>> bool(abs(channel_capacity(snr(0.3)) - kl_floor(0.3)) < 1e-15)
    True
    """
    return 0.5 * np.log1p(np.asarray(ratio, dtype=float))[()]


def std_shape_cost(shape: Literal["constant", "normal", "uniform"]) -> float:
    """Return the extra KL of a zero-mean head for the standard deviation over a constant one.

    The KL of a component with matched moments is ``-1/2 E log sigma^2``. If batch normalization
    centers the head ``s`` of the standard deviation at 0, the shape of its distribution adds
    ``-1/2 E log(s^2 / E s^2)``, which is 0 only for a constant ``|s|``.

    Parameters
    ----------
    shape : {"constant", "normal", "uniform"}
        Distribution of the head over the rows.

    Returns
    -------
    float
        Extra nats per component: 0, ``(gamma_E + log 2) / 2 = 0.635`` or
        ``1 - log(3)/2 = 0.451``.

    Raises
    ------
    ValueError
        If `shape` is not one of the three.

    Examples
    --------
    >>> from skvae.bounds import std_shape_cost
    >>> round(std_shape_cost("normal"), 3), round(std_shape_cost("uniform"), 3)
    (0.635, 0.451)
    """
    costs = {
        "constant": 0.0,
        "normal": 0.5 * float(np.euler_gamma + np.log(2.0)),
        "uniform": 1.0 - 0.5 * float(np.log(3.0)),
    }
    if shape not in costs:
        raise ValueError(f"shape must be one of {sorted(costs)}; got {shape!r}")
    return costs[shape]


def pca_gamma(eigenvalues: Floats, noise_variance: float) -> Any:
    """Compute the optimal ``gamma_mu^2`` of a linear-Gaussian VAE, ``max(0, 1 - s^2 / lambda)``.

    In probabilistic PCA (Tipping & Bishop 1999), this is the share of signal in a component's unit
    second moment.

    Parameters
    ----------
    eigenvalues : float or ndarray
        Eigenvalues ``lambda`` of the data covariance.
    noise_variance : float
        Noise variance ``s^2`` of the decoder.

    Returns
    -------
    float or ndarray
        Optimum in [0, 1). Where it is smaller than tau, tau is the active constraint.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.bounds import pca_gamma
    >>> pca_gamma(np.array([4.0, 2.0, 0.5]), 1.0).tolist()
    [0.75, 0.5, 0.0]
    """
    return np.maximum(0.0, 1.0 - noise_variance / np.asarray(eigenvalues, dtype=float))[()]


def pca_rate(eigenvalues: Floats, noise_variance: float) -> Any:
    """Compute the optimal rate of each component by reverse water-filling.

    It is ``1/2 log(lambda / s^2)``, and 0 where the eigenvalue lies below the water level ``s^2``.

    Parameters
    ----------
    eigenvalues : float or ndarray
        Eigenvalues ``lambda`` of the data covariance.
    noise_variance : float
        Noise variance ``s^2`` of the decoder, the water level.

    Returns
    -------
    float or ndarray
        Rate in nats per component.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.bounds import pca_rate
    >>> pca_rate(np.array([4.0, 1.0, 0.5]), 1.0).round(3).tolist()
    [0.693, 0.0, 0.0]
    """
    return kl_floor(pca_gamma(eigenvalues, noise_variance))
