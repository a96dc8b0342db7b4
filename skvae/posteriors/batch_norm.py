"""Batch normalization, as in the paper and in the article."""

import numpy as np
import torch
from torch import nn

from skvae.bounds import kl_floor, mean_kl_floor, shrinkage
from skvae.posteriors.base import Posterior
from skvae.posteriors.moments import Moments


def gamma_squares(
    tau: float | torch.Tensor, theta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the article's scales ``gamma_mu^2`` and ``gamma_sigma^2``.

    These are ``tau + (1 - tau) sigmoid(theta)`` and the rest of 1.

    Parameters
    ----------
    tau : float or Tensor
        Lower bound on ``gamma_mu^2``, in (0, 1).
    theta : Tensor of shape (n_components,)
        Any real numbers.

    Returns
    -------
    tuple of Tensor
        ``gamma_mu^2`` and ``gamma_sigma^2``, whose sum is 1.
    """
    return tau + (1 - tau) * theta.sigmoid(), (1 - tau) * (-theta).sigmoid()


class BatchNormMeanPosterior(Posterior):
    """Batch normalization on the mean only, as in the paper (Zhu et al. 2020, arXiv:2004.12585).

    ``mu = gamma (m - E m) / sqrt(Var m + eps) + beta`` with ``gamma = sqrt(tau)`` fixed and
    ``beta`` learned; ``log sigma^2`` free. The mean KL over the batch is at least
    ``1/2 sum_j (gamma^2 + beta_j^2)``. Tau is ``gamma^2`` here, so that it means the same in all
    posteriors: the paper's gamma 0.7 is tau 0.49.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        ``gamma^2``, in (0, 1).

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import BatchNormMeanPosterior
    >>> q = BatchNormMeanPosterior(8, 2, tau=0.25)(torch.randn(100, 8))
    >>> q.loc.std(0, correction=0).round(decimals=3).tolist()
    [0.5, 0.5]
    """

    centered = True

    def __init__(self, in_features: int, n_components: int, tau: float = 0.5) -> None:
        super().__init__(in_features, n_components, tau)
        self.beta = nn.Parameter(torch.zeros(n_components))

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gamma = (self.tau / (moments.variance + self.eps)).sqrt()
        return gamma * (location - moments.mean) + self.beta, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        beta = self.beta.detach().double().cpu().numpy()
        return mean_kl_floor(self.tau**0.5, beta, variance=self.location_variance(), eps=self.eps)


class BatchNormPosterior(Posterior):
    """Batch normalization on mean *and* standard deviation (Su 2020, kexue.fm/archives/7381).

    Both heads go through a batch normalization without scale and shift (eps 1e-8) and are then
    multiplied by ``gamma_mu`` and ``gamma_sigma``, tied by one learned ``theta`` per component::

        gamma_mu^2    = tau + (1 - tau) sigmoid( theta)
        gamma_sigma^2 =       (1 - tau) sigmoid(-theta)

    so that ``E mu = 0`` and ``E mu^2 + E sigma^2 = 1`` over the batch, as under the prior. The
    second head is a *signed* standard deviation; its sign has no effect, since the noise is
    symmetric. It crosses zero within the batch, where the gradient of ``log sigma^2`` is
    unbounded. :class:`MomentPosterior` has the same moments without this flaw.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Lower bound on ``gamma_mu^2``, in (0, 1).

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import BatchNormPosterior
    >>> q = BatchNormPosterior(8, 2)(torch.randn(100, 8))
    >>> (q.loc.square() + q.scale.square()).mean(0).round(decimals=3).tolist()
    [1.0, 1.0]
    """

    renormalized = False  # plain BN, as in the article

    def __init__(self, in_features: int, n_components: int, tau: float = 0.5) -> None:
        super().__init__(in_features, n_components, tau)
        self.theta = nn.Parameter(torch.zeros(n_components))

    def spread(self, head: torch.Tensor) -> torch.Tensor:
        return head  # a standard deviation with a sign

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([location, spread], dim=-1), spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        columns, _ = self.collect(location, spread)
        standard = (columns - moments.mean) * (moments.variance + self.eps).rsqrt()
        loc, signed = standard.chunk(2, dim=-1)
        gamma_mu, gamma_sigma = (square.sqrt() for square in gamma_squares(self.tau, self.theta))
        # Only a head of almost exactly 0 is changed: its logarithm must stay finite.
        return gamma_mu * loc, (gamma_sigma * signed).abs().clamp_min(1e-15)

    def component_floors(self) -> np.ndarray:
        return kl_floor(self.tau * shrinkage(self.location_variance(), self.eps))
