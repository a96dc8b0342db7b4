"""Posteriors whose floor holds for each row by itself, even if all rows have the same code."""

import numpy as np
import torch
from scipy.special import lambertw

from skvae.bounds import kl_floor, layer_norm_kl_floor
from skvae.posteriors.base import Posterior
from skvae.posteriors.moments import Moments


class LayerNormPosterior(Posterior):
    """Normalization within each row instead of over the batch, to show why that is not enough.

    ``mu = gamma (m - mean_j m) / sqrt(var_j m + eps)`` with ``gamma = sqrt(tau)``, the mean and
    variance taken over the components of one row; ``log sigma^2`` free. Every row's KL is at
    least ``d tau / 2``, yet the same ``mu`` for all rows reaches that and carries no information.

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
    >>> from skvae.posteriors import LayerNormPosterior
    >>> q = LayerNormPosterior(8, 4, tau=0.5)(torch.randn(3, 8))
    >>> q.loc.square().sum(1).round(decimals=3).tolist()
    [2.0, 2.0, 2.0]
    """

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        variance = location.var(dim=-1, correction=0, keepdim=True)
        return variance / (variance + self.eps), spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        variance, mean = torch.var_mean(location, dim=-1, correction=0, keepdim=True)
        standard = (location - mean) * (variance + self.eps).rsqrt()
        return self.tau**0.5 * standard, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.zeros(self.n_components)

    def kl_floor(self) -> float:
        return float(layer_norm_kl_floor(self.tau, self.n_components) * self.mean)


class DeltaPosterior(Posterior):
    """The constraint of delta-VAEs: every row's KL is at least delta in every component.

    ``sigma^2`` lies between the roots of ``u - log u - 1 = 2 delta``, and
    ``mu = sqrt(2 delta + 1 + log sigma^2 - sigma^2) + max(0, m)`` adds what is missing. Delta is
    the floor that tau implies in the other posteriors, ``-1/2 log(1 - tau)``. It is a floor for
    each row and does not require that rows differ: a code that is the same for all rows meets it.
    See Razavi et al. (2019), arXiv:1901.03416.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Number in (0, 1) from which delta follows, as `skvae.bounds.kl_floor` of it.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal, kl_divergence
    >>> from skvae.posteriors import DeltaPosterior
    >>> kl = kl_divergence(DeltaPosterior(8, 2)(torch.randn(5, 8)), Normal(0.0, 1.0))
    >>> bool((kl > 0.3465).all())
    True
    """

    @property
    def delta(self) -> float:
        """Floor of each row's KL in each component, in nats."""
        return float(kl_floor(self.tau))

    def spread(self, head: torch.Tensor) -> torch.Tensor:
        lowest, highest = (
            np.log(-lambertw(-np.exp(-1 - 2 * self.delta), branch).real) for branch in (0, -1)
        )
        return (float(lowest) + float(highest - lowest) * head.sigmoid()).exp()

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        missing = 2 * self.delta + 1 + spread.log() - spread
        return (missing.clamp_min(0.0) + self.eps).sqrt() + location.relu(), spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.full(self.n_components, self.delta)
