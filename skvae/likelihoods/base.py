"""What all likelihoods share: the contract, rows with missing cells, and checks of the data.

A cell that is NaN is missing: it adds nothing to the log-likelihood, and the encoder is given a
mask of the cells present.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn
from torch.distributions import Distribution, Independent


def present_values(X):
    """Return the values that are not missing, of a sparse matrix those that it stores."""
    values = X.data if issparse(X) else np.asarray(X).ravel()
    return values[~np.isnan(values)] if np.isnan(values.sum()) else values


def value_range(X):
    """Return the smallest and the largest value, or 0 and 0 if all are missing."""
    values = present_values(X)
    if not values.size:
        return 0.0, 0.0
    # A sparse matrix stores everything but zeros.
    smallest, largest = (0.0, 0.0) if issparse(X) else (np.inf, -np.inf)
    return min(smallest, float(values.min())), max(largest, float(values.max()))


def fractional_values(X):
    """Return the values that are not whole numbers."""
    values = present_values(X)
    return values[values != np.floor(values)]


class Observed(Independent):
    """Independent cells of a row, where missing cells add nothing to the log-probability.

    Parameters
    ----------
    base_distribution : Distribution
        Distribution of the cells, with 0 in its support.
    reinterpreted_batch_ndims : int
        Number of batch axes that become event axes; here 1, since a row is one event.
    validate_args : bool or None, default=None
        Whether to check arguments, as in `torch.distributions`.
    """

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        present = ~value.isnan()
        nats = self.base_dist.log_prob(value.where(present, 0.0))
        return nats.where(present, 0.0).sum(-1)


class Likelihood(nn.Module):
    """Abstract base of the likelihoods.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.

    Attributes
    ----------
    n_outputs : int
        Number of columns of the decoder's output.
    n_seen : int
        Number of columns of what `see` returns.
    missing : bool
        Whether cells may be missing; False until set.
    """

    missing = False
    # Parameters on a log scale are stored divided by this, so that a step of Adam, whose size does
    # not depend on that of the gradient, changes them by this many learning rates.
    pace = 10.0

    __call__: Callable[..., Distribution]  # what type checkers know of a call

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_outputs = n_features
        self.n_seen = n_features

    @property
    def n_inputs(self) -> int:
        """Number of columns that the encoder is given, which is that of `inputs`."""
        return self.n_seen + self.missing * self.n_features

    def check_support(self, X: Any) -> None:
        """Refuse data outside the support of the distribution.

        Parameters
        ----------
        X : ndarray or CSR of shape (n_samples, n_features)
            Rows in the units of the data; NaN where missing.

        Raises
        ------
        ValueError
            If a value lies outside the support.
        """

    def units(self, marginals: Any) -> tuple[np.ndarray, np.ndarray]:
        """Choose the units in which the networks see the rows: ``x = (X - offset) / scale``.

        Parameters
        ----------
        marginals : skvae._data.units.Marginals
            Moments and quantiles of each column of the training rows.

        Returns
        -------
        tuple of ndarray of shape (n_features,)
            Offset and scale; 0 and 1 in this base class.
        """
        return np.zeros(self.n_features), np.ones(self.n_features)

    def start(self, marginals: Any) -> None:
        """Initialize the parameters from the marginal distributions of the data.

        Parameters
        ----------
        marginals : skvae._data.units.Marginals
            Moments and quantiles of each column of the training rows, in the units of the data.
        """

    def code_weights(self) -> list[nn.Parameter]:
        """Return the weights that multiply the code, for a likelihood that reads it directly.

        Returns
        -------
        list of Parameter
            Empty in this base class, since it is the decoder that reads the code.
        """
        return []

    def see(self, x: torch.Tensor) -> torch.Tensor:
        """Transform rows into the form in which the encoder sees them.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows in the likelihood's units.

        Returns
        -------
        Tensor of shape (n_samples, n_seen)
            The rows unchanged, in this base class.
        """
        return x

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input of the encoder: the transformed rows and a mask of their cells.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows in the likelihood's units; NaN where missing.

        Returns
        -------
        Tensor of shape (n_samples, n_inputs)
            What `see` returns, with 0 for missing values. If cells may be `missing`, the mask
            follows: 1 for each cell that is present and 0 for each that is missing.
        """
        if not self.missing:
            return self.see(x)
        return torch.cat([self.see(x).nan_to_num(0.0), (~x.isnan()).to(x)], dim=-1)

    def expectation(self, p: Distribution) -> torch.Tensor:
        """Return what can be averaged over codes: means, and probabilities of categories.

        Parameters
        ----------
        p : Distribution
            Distribution over rows that `forward` returned.

        Returns
        -------
        Tensor of shape (n_samples, n_seen)
            The mean, in this base class.
        """
        return p.mean

    def point_estimate(self, expectation: torch.Tensor) -> torch.Tensor:
        """Turn averaged expectations into rows.

        Parameters
        ----------
        expectation : Tensor of shape (n_samples, n_seen)
            Weighted mean over several codes of what `expectation` returns.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Averages of numbers, and the most probable of the categories.
        """
        return expectation

    def row(self, cells: Distribution) -> Distribution:
        """Join independent cells, some of which may be missing, into rows.

        Parameters
        ----------
        cells : Distribution
            Distribution of batch shape (n_samples, n_features), with 0 in its support.

        Returns
        -------
        Distribution
            Distribution of batch shape (n_samples,) and event shape (n_features,). Its
            ``log_prob`` is the sum over the cells that are present.
        """
        kind = Observed if self.missing else Independent
        return kind(cells, 1, validate_args=False)

    def forward(self, outputs: torch.Tensor) -> Distribution:
        """Map the decoder's outputs to the distribution p(x|z) over rows.

        Parameters
        ----------
        outputs : Tensor of shape (n_samples, n_outputs)
            Decoder's outputs.

        Returns
        -------
        Distribution
            Distribution of batch shape (n_samples,) and event shape (n_features,).
        """
        raise NotImplementedError
