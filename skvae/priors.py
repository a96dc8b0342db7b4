"""Priors p(z): the distribution of the code before a row has been seen."""

from collections.abc import Callable

import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions.kl import register_kl

from skvae._normal import normal


class _Standard(Normal):
    """The standard normal distribution, as a type of its own with a shorter KL."""


@register_kl(Normal, _Standard)
def _kl_to_standard(q, p):
    return 0.5 * (q.loc.square() + q.scale.square() - 1.0) - q.scale.log()


class StandardNormal(nn.Module):
    """The prior ``N(0, I)`` over the components.

    Parameters
    ----------
    n_components : int
        Number of components.

    Examples
    --------
    >>> from skvae.priors import StandardNormal
    >>> StandardNormal(2)().batch_shape
    torch.Size([2])
    """

    __call__: Callable[..., Normal]  # what type checkers know of a call

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(n_components))
        self.register_buffer("scale", torch.ones(n_components))

    def forward(self) -> Normal:
        """Return the distribution p(z).

        Returns
        -------
        Normal
            Distribution of batch shape (n_components,).
        """
        return normal(self.loc, self.scale, _Standard)
