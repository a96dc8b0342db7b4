"""The distribution of each column by itself, and the units in which the networks see it."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse
from scipy.stats import norm
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from skvae._data import streams
from skvae._data.streams import Stream
from skvae.networks.recurrent import PADDING

NORMAL_QUARTILES = 2 * norm.ppf(0.75)  # interquartile range of the standard normal distribution
N_IN_CACHE, N_IN_MEMORY = 2**18, 2**22  # numbers in a chunk, as doubles 2 MB and 32 MB
N_ROWS_WORTH_WEIGHTS = 64  # rows in a chunk from which on weights take longer to use than to read


def in_chunks(X):
    """Yield rows in arrays that fit into memory together with `X`.

    A small array and a CSR matrix come as a whole.
    """
    if isinstance(X, Stream):
        yield from X.in_chunks()
    elif issparse(X) or X.nbytes <= streams.CHUNK:
        yield X
    else:
        n_rows = max(1, streams.CHUNK * len(X) // X.nbytes)
        yield from (X[start : start + n_rows] for start in range(0, len(X), n_rows))


def safe_exponent(smallest, largest):
    """Return powers of 2 by which to divide, so that squares neither overflow nor underflow."""
    exponent = np.frexp(np.maximum(abs(smallest), abs(largest)))[1]
    return np.where(abs(exponent) > 400, exponent, 0)


class Marginals:
    """The distribution of each column by itself, without the cells that are NaN."""

    def __init__(self, X, weight=None):
        self.X, self.weight = X, weight

    @property
    def n_samples(self):
        """Number of rows."""
        return self.X.shape[0]

    @cached_property
    def _range(self):
        """Smallest and largest value of each column."""
        smallest, largest = np.full((2, self.X.shape[1]), np.nan)
        for rows in in_chunks(self.X):
            if issparse(rows):
                low, high = min_max_axis(rows, axis=0, ignore_nan=True)
            else:
                low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)
            smallest, largest = np.fmin(smallest, low), np.fmax(largest, high)
        return smallest, largest

    @property
    def constant(self):
        """Whether the column has a single value."""
        return self._range[0] == self._range[1]

    @cached_property
    def _exponent(self):
        return safe_exponent(*self._range)

    @cached_property
    def _moments(self):
        """Means and variances of the columns divided by ``2 ** _exponent``."""
        total, mean, variance = np.zeros((3, self.X.shape[1]))
        start = 0
        for rows in in_chunks(self.X):
            stop = start + rows.shape[0]
            weight = None if self.weight is None else self.weight[start:stop]
            more, its_mean, its_variance = _moments_of(_divided(rows, self._exponent), weight)
            total, start = total + more, stop
            share = np.divide(more, total, out=np.zeros_like(total), where=total > 0)
            step = its_mean - mean  # merging as in Chan et al. (1979)
            mean = mean + share * step
            variance += share * (its_variance - variance) + share * (1 - share) * np.square(step)
        return mean, variance

    @property
    def mean(self):
        """Means. That of a constant column is exactly its value."""
        return np.where(self.constant, self._range[0], np.ldexp(self._moments[0], self._exponent))

    @property
    def scale(self):
        """Standard deviations. That of a constant column is 1."""
        return np.where(self.constant, 1.0, np.ldexp(np.sqrt(self._moments[1]), self._exponent))

    @cached_property
    def _quartiles(self):
        """Medians, and interquartile ranges over that of the standard normal distribution."""
        X = self.X.evenly_spaced() if isinstance(self.X, Stream) else _dense(self.X)
        quartiles = np.nanquantile(X, [0.25, 0.5, 0.75], axis=0)
        scale = (quartiles[2] - quartiles[0]) / NORMAL_QUARTILES
        for j in np.flatnonzero((scale == 0) & ~self.constant):
            distance = abs(X[:, j] - quartiles[1, j])
            others = distance[distance > 0]  # the sampled rows of a stream may hold none
            scale[j] = np.median(others) * 2 / NORMAL_QUARTILES if len(others) else self.scale[j]
        return quartiles[1], scale

    @property
    def median(self):
        """Medians without regard to weights. Those of a stream come from a sample of its rows."""
        return np.where(self.constant, self._range[0], self._quartiles[0])

    @property
    def robust_scale(self):
        """Interquartile ranges over that of the standard normal; 1 for a constant column.

        In a column of which at least half of the values are the same, it is the median distance
        of the other values from that one, in the same units.
        """
        return np.where(self.constant, 1.0, self._quartiles[1])

    def log1p(self):
        """Return the marginals of ``log(1 + X)``."""
        if isinstance(self.X, Stream):
            return Marginals(_Mapped(self.X, np.log1p), self.weight)
        return Marginals(self.X.log1p() if issparse(self.X) else np.log1p(self.X), self.weight)

    def log_total(self):
        """Return mean and standard deviation of the log of the rows' sums, without empty rows."""
        total = np.concatenate([_totals(rows) for rows in in_chunks(self.X)])
        if not (total > 0).any():
            return 0.0, 0.0
        weight = None if self.weight is None else self.weight[total > 0]
        log_total = Marginals(np.log(total[total > 0])[:, None], weight)
        return float(log_total.mean[0]), float(log_total.scale[0] * ~log_total.constant[0])

    def frequencies(self, column, n_categories):
        """Return the share of each of the numbers 0, 1, ... in a column."""
        numbers = _dense(self.X[:, [column]]).ravel()
        present = ~np.isnan(numbers)
        weight = None if self.weight is None else self.weight[present]
        counts = np.bincount(numbers[present].astype(int), weight, minlength=n_categories)
        return counts / counts.sum()

    def of_columns(self, columns):
        """Return the marginals of some of the columns."""
        return Marginals(self.X[:, columns], self.weight)


class _Mapped(Stream):
    """A stream with a function applied to its values."""

    def __init__(self, stream, function):
        super().__init__(stream.source, stream.index)
        self.function = function

    def _checked(self, rows, start):
        return self.function(super()._checked(rows, start))


def _moments_of(rows, weight=None):
    """Return the sum of weights, mean and variance of each column, without missing cells."""
    if issparse(rows):
        mean, variance, total = mean_variance_axis(rows, 0, weight, return_sum_weights=True)
        return total.astype(float), mean.astype(float), variance.astype(float)
    weight = np.ones(len(rows)) if weight is None else weight
    missing = np.isnan(rows)
    total = weight @ ~missing if missing.any() else np.full(rows.shape[1], weight.sum())
    divisor = np.maximum(total, np.finfo(float).tiny)
    mean = 0.0
    for _ in range(2):  # the second pass removes the rounding error of the first
        centered = np.subtract(rows, mean, dtype=float)
        centered[missing] = 0.0
        mean += weight @ centered / divisor
    centered = np.square(np.subtract(rows, mean, dtype=float, out=centered), out=centered)
    centered[missing] = 0.0
    return total, mean, weight @ centered / divisor


def _divided(X, exponent):
    """Divide the columns by powers of 2, which is exact."""
    if not exponent.any():
        return X
    if not issparse(X):
        return np.ldexp(X, -exponent)
    divided = X.copy()
    divided.data = np.ldexp(X.data, -exponent[X.indices])
    return divided


def _totals(X):
    return np.asarray(X.sum(1)).ravel() if issparse(X) else np.nansum(X, axis=1)


def _dense(X):
    return X.toarray() if issparse(X) else X


def chunk_slices(n_rows, n_columns, n_numbers=N_IN_MEMORY):
    """Cut rows into slices of at most `n_numbers` numbers, for computations without gradients.

    A slice has at least one row and at most 4,096.
    """
    size = max(1, min(4096, n_numbers // max(1, n_columns)))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


class Units(NamedTuple):
    """Offset and scale of each column: the networks see ``(X - offset) / scale``."""

    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def identity(cls, n_features):
        """Make the units that leave the columns as they are."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def chunks(self, n_rows):
        """Cut rows into chunks that fit the cache, for computations without gradients.

        Every chunk reads all weights of the networks. A wide table therefore has chunks of more
        rows than fit the cache, up to the bound of what may be in memory.
        """
        n_columns = len(self.scale)
        n_numbers = max(N_IN_CACHE, min(N_ROWS_WORTH_WEIGHTS * n_columns, N_IN_MEMORY))
        return chunk_slices(n_rows, n_columns, n_numbers)

    def log_jacobian(self):
        """Return ``-sum(log(scale))``, in nats.

        A row's log-density in the units of the data is its log-density in those of the networks
        plus this number.
        """
        return -float(np.log(self.scale).sum())

    def tensor(self, X, dtype, device="cpu"):
        """Return rows as a dense tensor in the units of the networks."""
        # Far from 0, single precision would lose the digits that the subtraction is to keep.
        rows = np.subtract(_dense(X), self.offset, dtype=np.float64)
        rows /= self.scale
        return torch.from_numpy(rows).to(dtype).to(device)

    def standardized(self, x):
        """Return a tensor of rows in the units of the networks, in its own precision."""
        offset, scale = (torch.from_numpy(values).to(x.device) for values in self)
        return ((x.double() - offset) / scale).to(x.dtype)

    def array(self, x):
        """Return the rows of a tensor as an array in the units of the data."""
        x = x.cpu().numpy()
        return (x * self.scale + self.offset).astype(x.dtype)


class TokenUnits(NamedTuple):
    """Units of rows of token numbers: the networks see them without the padding of all rows."""

    n_tokens: int  # including the special tokens
    max_length: int  # words of the longest sentence

    def chunks(self, n_rows):
        """Cut rows into chunks, by the size of the output layer: a logit for every token."""
        return chunk_slices(n_rows, (self.max_length + 1) * self.n_tokens)

    def log_jacobian(self):
        """Return 0: token numbers have no units."""
        return 0.0

    def tensor(self, X, dtype, device="cpu"):
        """Return rows as a tensor of integers, as wide as the longest of them."""
        longest = int((X != PADDING).sum(1).max())
        return torch.from_numpy(X[:, :longest]).long().to(device)

    def array(self, x):
        """Return the rows of a tensor as an array."""
        return x.cpu().numpy()
