"""The likelihood of tables whose columns are of different kinds."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution

from skvae.likelihoods.base import Likelihood


def _in_column_order(values, columns):
    """Join tensors, each of which holds some columns, into one that holds all of them in order."""
    return torch.cat(values, dim=-1)[..., torch.cat(list(columns)).argsort()]


class Side(Distribution):
    """Distribution of rows, made of independent distributions of some of the columns each.

    Parameters
    ----------
    rows : sequence of Distribution
        Distributions of the same batch shape, each of event shape (n_columns,).
    columns : sequence of Tensor of int
        Numbers of the columns of each distribution.
    """

    arg_constraints = {}

    def __init__(self, rows: Sequence[Distribution], columns: Sequence[torch.Tensor]) -> None:
        n_features = sum(len(c) for c in columns)
        super().__init__(rows[0].batch_shape, torch.Size([n_features]), validate_args=False)
        self.rows, self.columns = rows, columns

    @property
    def mean(self) -> torch.Tensor:
        return _in_column_order([row.mean for row in self.rows], self.columns)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.rows, self.columns, strict=True)
        return sum(row.log_prob(value[..., columns]) for row, columns in pairs)

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        return _in_column_order([row.sample(sample_shape) for row in self.rows], self.columns)


class MixedLikelihood(Likelihood):
    """Columns of different kinds, each under a likelihood of its own.

    Parameters
    ----------
    parts : sequence of (Likelihood, sequence of int)
        Likelihoods and the numbers of their columns. Each column belongs to one likelihood.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import BernoulliLikelihood, GaussianLikelihood, MixedLikelihood
    >>> p = MixedLikelihood([(GaussianLikelihood(2), [0, 2]), (BernoulliLikelihood(1), [1])])
    >>> p(torch.zeros(5, 3)).mean[0].tolist()
    [0.0, 0.5, 0.0]
    """

    def __init__(self, parts: Sequence[tuple[Likelihood, Sequence[int]]]) -> None:
        likelihoods, columns = zip(*parts, strict=True)
        super().__init__(sum(len(c) for c in columns))
        self.parts = nn.ModuleList(likelihoods)
        self.columns = [np.asarray(c) for c in columns]
        self.n_outputs = sum(part.n_outputs for part in likelihoods)
        self.n_seen = sum(part.n_seen for part in likelihoods)
        for i, c in enumerate(self.columns):
            self.register_buffer(f"columns_{i}", torch.from_numpy(c), persistent=False)

    @property
    def missing(self) -> bool:
        """Whether cells may be missing, in any part."""
        return self.parts[0].missing

    @missing.setter
    def missing(self, value: bool) -> None:
        for part in self.parts:
            part.missing = value

    def parts_and_columns(self) -> Iterator[tuple[Likelihood, np.ndarray]]:
        """Pair the likelihoods with their columns.

        Returns
        -------
        iterator of (Likelihood, array of int)
            Each likelihood and the numbers of its columns.
        """
        return zip(self.parts, self.columns, strict=True)

    def _column_tensors(self):
        """Return the numbers of each part's columns as tensors, on the device of the parameters."""
        return [getattr(self, f"columns_{i}") for i in range(len(self.parts))]

    def check_support(self, X: Any) -> None:
        for part, columns in self.parts_and_columns():
            part.check_support(X[:, columns])

    def units(self, marginals: Any) -> tuple[np.ndarray, np.ndarray]:
        offset, scale = np.empty((2, self.n_features))
        for part, columns in self.parts_and_columns():
            offset[columns], scale[columns] = part.units(marginals.of_columns(columns))
        return offset, scale

    def start(self, marginals: Any) -> None:
        for part, columns in self.parts_and_columns():
            part.start(marginals.of_columns(columns))

    def see(self, x: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.parts, self._column_tensors(), strict=True)
        return torch.cat([part.see(x[..., columns]) for part, columns in pairs], dim=-1)

    def expectation(self, p: Distribution) -> torch.Tensor:
        pairs = zip(self.parts, p.rows, strict=True)
        return torch.cat([part.expectation(row) for part, row in pairs], dim=-1)

    def point_estimate(self, expectation: torch.Tensor) -> torch.Tensor:
        split = expectation.split([part.n_seen for part in self.parts], dim=-1)
        pairs = zip(self.parts, split, strict=True)
        rows = [part.point_estimate(its_expectation) for part, its_expectation in pairs]
        return _in_column_order(rows, self._column_tensors())

    def forward(self, outputs: torch.Tensor) -> Distribution:
        split = outputs.split([part.n_outputs for part in self.parts], dim=-1)
        rows = [part(its_outputs) for part, its_outputs in zip(self.parts, split, strict=True)]
        return Side(rows, self._column_tensors())
