"""Posteriors without a floor: the plain VAE, and the prior itself."""

import numpy as np
import torch

from skvae.posteriors.base import Posterior
from skvae.posteriors.moments import Moments


class GaussianPosterior(Posterior):
    """The plain VAE: ``mu`` and ``log sigma^2`` are free, and nothing stops them collapsing.

    See Kingma and Welling (2014), arXiv:1312.6114.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Ignored, because there is no floor.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import GaussianPosterior
    >>> GaussianPosterior(8, 2)(torch.randn(5, 8)).batch_shape
    torch.Size([5, 2])
    """

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.zeros(self.n_components)


class PriorPosterior(GaussianPosterior):
    """The prior itself for every row: a code without information, and a KL of exactly 0.

    With a decoder that ignores the code, what remains is a model of x alone.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Ignored, because there is no floor.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import PriorPosterior
    >>> q = PriorPosterior(8, 2)(torch.randn(5, 8))
    >>> q.loc.unique().tolist(), q.scale.unique().tolist()
    ([0.0], [1.0])
    """

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(location), torch.ones_like(location)
