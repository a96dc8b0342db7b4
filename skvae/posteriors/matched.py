"""Matched moments, the default: the code of a batch has mean and second moment of the prior."""

from typing import Literal

import numpy as np
import torch
from torch import nn

from skvae.bounds import kl_floor, shrinkage
from skvae.posteriors.base import Posterior
from skvae.posteriors.moments import Moments


class MomentPosterior(Posterior):
    """Matched moments with a positive standard deviation; the default.

    The mean is batch-normalized, the variance divided by its mean over the batch::

        mu      = gamma_mu (m - E m) / sqrt(Var m + eps)
        sigma^2 = gamma_sigma^2 r / E r,    r = exp(l)

    with ``gamma_mu^2 = tau + (1 - tau) sigmoid(theta)`` and ``gamma_sigma^2`` the rest of 1, so
    that ``E mu = 0`` and ``E mu^2 + E sigma^2 = 1`` over the batch, eps included: what eps
    takes from the mean goes to the noise. The mean KL over the batch is at least
    ``-d/2 log(1 - tau)``, and the gradients are as small as in a plain VAE.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Lower bound on ``gamma_mu^2``, in (0, 1).
    gamma : {"heads", "theta"}, default="heads"
        Source of theta: the logarithm of the heads' signal-to-noise ratio ``Var m / E r``, or a
        separate parameter. The parameter moves ten times as fast as the others under Adam,
        because at their pace it would hardly leave 0 in a short fit.

    Examples
    --------
    The posterior of a batch has the moments of the prior, and its KL a floor:

    >>> import torch
    >>> from skvae.posteriors import MomentPosterior
    >>> posterior = MomentPosterior(8, 2, tau=0.5)
    >>> q = posterior(torch.randn(100, 8))
    >>> (q.loc.square() + q.scale.square()).mean(0).round(decimals=3).tolist()
    [1.0, 1.0]
    >>> kl = -q.scale.log().mean(0)
    >>> bool((kl > 0.3466).all())
    True
    """

    centered = True
    theta_pace = 10.0

    def __init__(
        self,
        in_features: int,
        n_components: int,
        tau: float = 0.5,
        gamma: Literal["heads", "theta"] = "heads",
    ) -> None:
        super().__init__(in_features, n_components, tau)
        if gamma not in ("heads", "theta"):
            raise ValueError(f"gamma must be 'heads' or 'theta'; got {gamma!r}")
        self.theta = nn.Parameter(torch.zeros(n_components)) if gamma == "theta" else None

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        signal, noise = self._gains(moments)
        return signal.sqrt() * (location - moments.mean), (noise * spread).sqrt()

    def _gains(self, moments):
        """Divide the unit second moment of each component between mean and noise.

        Return the factors of ``(m - E m)^2`` and of r: ``gamma_mu^2 / (Var m + eps)``, and
        ``gamma_sigma^2 / E r`` plus what eps takes from the mean.
        """
        gamma_sigma_sq = (1 - self.tau) * self._noise_share(moments)
        signal = (1 - gamma_sigma_sq) / (moments.variance + self.eps)
        return signal, torch.add(gamma_sigma_sq, signal, alpha=self.eps) / moments.mean_square

    def _noise_share(self, moments):
        """Return the share ``sigmoid(-theta)`` that the noise has in ``1 - tau``.

        It is ``E r / (Var m + eps + E r)`` where theta comes from the heads.
        """
        if self.theta is not None:
            return (-self.theta_pace * self.theta).sigmoid()
        return moments.mean_square / (moments.variance + self.eps + moments.mean_square)

    def gradient_share(self, running: Moments, share: float) -> float | torch.Tensor:
        """Return the share of the batch's gradient, which grows with the component's noise.

        In a component that is all noise, the floor is active, and the loss pulls at the scale of
        its raw heads in every step; the gradient through the moments cancels that pull. A precise
        component feels no such pull on average, and the gradient through its moments is only noise.

        Parameters
        ----------
        running : Moments
            Running moments, the batch included.
        share : float
            Share of the batch in them.

        Returns
        -------
        Tensor of shape (n_components,)
            Share of the batch in them, plus the rest times the noise's share of ``1 - tau``.
        """
        return self._noise_share(running).mul_(1 - share).add_(share)

    def component_floors(self) -> np.ndarray:
        return kl_floor(self.tau * shrinkage(self.location_variance(), self.eps))
