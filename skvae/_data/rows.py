"""From rows to batches of tensors, in the units of the networks.

Where rows come from, an array, a CSR matrix or sentences, is known here only. Batches are made of
whole arrays; nothing is done row by row.
"""

import hashlib
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse
from scipy.stats import norm
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from skvae._data.streams import Stream, give_back, in_pieces
from skvae.networks.recurrent import PADDING

NORMAL_QUARTILES = 2 * norm.ppf(0.75)  # the interquartile range of the normal distribution


class Batch(NamedTuple):
    """Rows, their weights and what the networks are told beside them.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features)
        The rows, in the units of the networks.
    weight : Tensor of shape (n_samples,), optional
        Their weights.
    context : Tensor of shape (n_samples, n_context), optional
        What encoder and decoder are told beside x and z.
    """

    x: torch.Tensor
    weight: torch.Tensor | None = None
    context: torch.Tensor | None = None


class Marginals:
    """What each column looks like by itself; cells that are NaN are passed over.

    Parameters
    ----------
    X : ndarray or CSR of shape (n_samples, n_features)
        The rows.
    weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the rows.
    """

    def __init__(self, X, weight=None):
        self.X, self.weight = X, weight

    @property
    def n_samples(self):
        """Number of rows."""
        return self.X.shape[0]

    @cached_property
    def _ends(self):
        """Least and largest values."""
        least, most = np.full((2, self.X.shape[1]), np.nan)
        for rows in in_pieces(self.X):
            if issparse(rows):
                ends = min_max_axis(rows, axis=0, ignore_nan=True)
            else:
                ends = np.fmin.reduce(rows), np.fmax.reduce(rows)
            least, most = np.fmin(least, ends[0]), np.fmax(most, ends[1])
        return least, most

    @property
    def constant(self):
        """Whether the column has a single value."""
        return self._ends[0] == self._ends[1]

    @cached_property
    def _power(self):
        """By which power of 2 to divide, so that squares neither overflow nor vanish."""
        exponent = np.frexp(np.maximum(*np.abs(self._ends)))[1]
        return np.where(abs(exponent) > 400, exponent, 0)

    @cached_property
    def _moments(self):
        """Means and variances, in units of powers of 2."""
        total, mean, variance = np.zeros((3, self.X.shape[1]))
        start = 0
        for rows in in_pieces(self.X):
            stop = start + rows.shape[0]
            weight = None if self.weight is None else self.weight[start:stop]
            new_total, *new = _moments_of(_divided(rows, self._power), weight)
            total, start = total + new_total, stop
            share = np.divide(new_total, total, out=np.zeros_like(total), where=total > 0)
            step = new[0] - mean  # (Chan et al. 1979)
            mean = mean + share * step
            variance += share * (new[1] - variance) + share * (1 - share) * np.square(step)
        return mean, variance

    @property
    def mean(self):
        """Means; of a constant column its very value."""
        return np.where(self.constant, self._ends[0], np.ldexp(self._moments[0], self._power))

    @property
    def scale(self):
        """Standard deviations, and 1 for a constant column."""
        return np.where(self.constant, 1.0, np.ldexp(np.sqrt(self._moments[1]), self._power))

    @cached_property
    def _quartiles(self):
        X = self.X.sampled() if isinstance(self.X, Stream) else _dense(self.X)
        quartiles = np.nanquantile(X, [0.25, 0.5, 0.75], axis=0)
        spread = (quartiles[2] - quartiles[0]) / NORMAL_QUARTILES
        for j in np.flatnonzero((spread == 0) & ~self.constant):
            distance = abs(X[:, j] - quartiles[1, j])
            others = distance[distance > 0]  # none, if they are rare and a stream was sampled
            spread[j] = np.median(others) * 2 / NORMAL_QUARTILES if len(others) else self.scale[j]
        return quartiles[1], spread

    @property
    def median(self):
        """Medians, of the rows without their weights; of a stream, of some of its rows."""
        return np.where(self.constant, self._ends[0], self._quartiles[0])

    @property
    def spread(self):
        """Interquartile ranges in units of the normal distribution's; 1 for a constant column.

        Where half of the values and more are one and the same, the median distance of the others
        from it, in the same units.
        """
        return np.where(self.constant, 1.0, self._quartiles[1])

    def log1p(self):
        """The marginals of ``log(1 + X)``."""
        if isinstance(self.X, Stream):
            return Marginals(_Mapped(self.X, np.log1p), self.weight)
        return Marginals(self.X.log1p() if issparse(self.X) else np.log1p(self.X), self.weight)

    def log_total(self):
        """Mean and standard deviation of the logarithm of the rows' totals, empty rows aside."""
        total = np.concatenate([_totals(rows) for rows in in_pieces(self.X)])
        if not (total > 0).any():
            return 0.0, 0.0
        weight = None if self.weight is None else self.weight[total > 0]
        log_total = Marginals(np.log(total[total > 0])[:, None], weight)
        return float(log_total.mean[0]), float(log_total.scale[0] * ~log_total.constant[0])

    def frequencies(self, column, n_categories):
        """Share of each of the numbers 0, 1, ... in a column."""
        numbers = _dense(self.X[:, [column]]).ravel()
        there = ~np.isnan(numbers)
        weight = None if self.weight is None else self.weight[there]
        counts = np.bincount(numbers[there].astype(int), weight, minlength=n_categories)
        return counts / counts.sum()

    def part(self, columns):
        """The marginals of some columns."""
        return Marginals(self.X[:, columns], self.weight)


class _Mapped(Stream):
    """A function of a stream's values."""

    def __init__(self, stream, function):
        super().__init__(stream.source, stream.index)
        self.function = function

    def _checked(self, rows, start):
        return self.function(super()._checked(rows, start))


def _moments_of(rows, weight=None):
    """Sum of the weights, mean and variance of each column, of the cells that are there."""
    if issparse(rows):
        mean, variance, total = mean_variance_axis(rows, 0, weight, return_sum_weights=True)
        return total.astype(float), mean.astype(float), variance.astype(float)
    weight = np.ones(len(rows)) if weight is None else weight
    gappy = np.isnan(rows)
    total = weight @ ~gappy if gappy.any() else np.full(rows.shape[1], weight.sum())
    seen = np.maximum(total, np.finfo(float).tiny)
    mean = 0.0
    for _ in range(2):  # the second time for what rounding has left in the mean
        centred = np.subtract(rows, mean, dtype=float)
        centred[gappy] = 0.0
        mean += weight @ centred / seen
    centred = np.square(np.subtract(rows, mean, dtype=float, out=centred), out=centred)
    centred[gappy] = 0.0
    return total, mean, weight @ centred / seen


def _divided(X, power):
    """X with its columns divided by powers of 2, which is exact."""
    if not power.any():
        return X
    if not issparse(X):
        return np.ldexp(X, -power)
    divided = X.copy()
    divided.data = np.ldexp(X.data, -power[X.indices])
    return divided


def _totals(X):
    return np.asarray(X.sum(1)).ravel() if issparse(X) else np.nansum(X, axis=1)


def gaps(X):
    """Which cells are missing.

    Parameters
    ----------
    X : ndarray or CSR of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    ndarray or CSR of bool of shape (n_samples, n_features)
        True where X is NaN.
    """
    if not issparse(X):
        return np.isnan(X)
    found = X.copy()
    found.data = np.isnan(X.data)
    return found


def _dense(X):
    return X.toarray() if issparse(X) else X


class Units(NamedTuple):
    """Offset and scale of each column: the networks see ``(X - offset) / scale``.

    Parameters
    ----------
    offset, scale : ndarray of shape (n_features,)
        In the units of the data.
    """

    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def identity(cls, n_features):
        """Leave the columns as they are.

        Parameters
        ----------
        n_features : int
            Their number.

        Returns
        -------
        Units
            Of offset 0 and scale 1.
        """
        return cls(np.zeros(n_features), np.ones(n_features))

    def pieces(self, n_rows):
        """Cut that many rows into pieces that fit the cache, for what needs no gradient.

        But a piece reads all weights, so that it has some rows to use them on, up to the bound of
        what may be in memory.
        """
        n_columns = len(self.scale)
        enough = min(FEWEST_ROWS * n_columns, IN_MEMORY)
        return chunk_slices(n_rows, n_columns, max(IN_CACHE, enough))

    def log_jacobian(self):
        """What a log-density in the networks' units is short of one in the data's, in nats."""
        return -float(np.log(self.scale).sum())

    def tensor(self, X, dtype, device="cpu"):
        """Rows as a dense tensor in the networks' units."""
        # In double precision: far from 0, float32 would lose what the offset is to remove.
        rows = np.subtract(_dense(X), self.offset, dtype=np.float64)
        rows /= self.scale
        return torch.from_numpy(rows).to(dtype).to(device)

    def standardized(self, x):
        """Return a tensor of rows in the networks' units, in its own precision."""
        offset, scale = (torch.from_numpy(values).to(x.device) for values in self)
        return ((x.double() - offset) / scale).to(x.dtype)

    def array(self, x):
        """Rows of a tensor as an array in the data's units."""
        x = x.cpu().numpy()
        return (x * self.scale + self.offset).astype(x.dtype)


class TokenUnits(NamedTuple):
    """Rows of token numbers, padded on the right: the networks see them as they are, less padding.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, the special tokens included.
    max_length : int
        Words of the longest sentence.
    """

    n_tokens: int
    max_length: int

    def pieces(self, n_rows):
        """As `Units.pieces`: what counts is the output layer, with a logit for every token."""
        return chunk_slices(n_rows, (self.max_length + 1) * self.n_tokens)

    def log_jacobian(self):
        """As `Units.log_jacobian`: nothing."""
        return 0.0

    def tensor(self, X, dtype, device="cpu"):
        """Rows as a tensor of integers, no longer than the longest of them."""
        longest = int((X != PADDING).sum(1).max())
        return torch.from_numpy(X[:, :longest]).long().to(device)

    def array(self, x):
        """Rows of a tensor as an array."""
        return x.cpu().numpy()


IN_CACHE, IN_MEMORY = 2**18, 2**22  # doubles: 2 MB and 32 MB
FEWEST_ROWS = 64  # of a piece: from here on weights are read less than they are computed with


def chunk_slices(n_rows, n_columns, n_numbers=IN_MEMORY):
    """Cut rows into pieces of a bounded size, for what needs no gradient.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the data.
    n_numbers : int, default=2**22
        Numbers of a piece, at most; but no piece has less than a row or more than 4,096.

    Returns
    -------
    list of slice
        They cover all rows, in order.
    """
    size = max(1, min(4096, n_numbers // max(1, n_columns)))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def fingerprint(X, weight=None, n_rows=1024):
    """Tell data from other data.

    Parameters
    ----------
    X : ndarray or CSR of shape (n_samples, n_features)
        The data.
    weight : ndarray of shape (n_samples,), optional
        Weights of the rows.
    n_rows : int, default=1024
        How many rows are looked at, at even distances.

    Returns
    -------
    str
        The same for the same data.
    """
    digest = hashlib.sha256(f"{X.shape} {X.dtype}".encode())
    if isinstance(X, Stream):
        digest.update(X.sampled(n_rows).tobytes())
        X = np.empty((X.shape[0], 0))
    index = np.unique(np.linspace(0, X.shape[0] - 1, n_rows).astype(int))
    for part in (X, weight):
        if part is not None:
            seen = part[index]
            digest.update(np.asarray(seen.toarray() if issparse(seen) else seen).tobytes())
    return digest.hexdigest()


class Rows:
    """All rows of one fit, to be drawn in shuffled batches or read in order.

    Parameters
    ----------
    X : ndarray, CSR or Stream of shape (n_samples, n_features)
        The data.
    units : Units or TokenUnits
        The units of the networks.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows, taken relative to their mean.
    device : torch.device
        Where batches go. Dense rows are copied there once, if they fit, to be shuffled.
    context : ndarray of shape (n_samples, n_context), optional
        What encoder and decoder are told beside the rows.
    """

    def __init__(self, X, units, weight, device, context=None):
        self.X, self.units, self.device, self.context = X, units, device, context
        self.weight = None
        if weight is not None:
            self.weight = torch.from_numpy(weight / weight.mean())
        self._dense = None  # made when first shuffled

    def __len__(self):
        return self.X.shape[0]

    def log_jacobian(self):
        """Mean of `log_jacobians` over the rows."""
        if not self.missing:
            return self.units.log_jacobian()
        return float(np.average(self.log_jacobians(), weights=self.weight))

    def log_jacobians(self):
        """As `Units.log_jacobian`, for each row: a missing cell has no density to convert."""
        return self._log_jacobians

    @cached_property
    def _log_jacobians(self):
        nats = np.broadcast_to(self.units.log_jacobian(), len(self))  # in no memory
        return nats + gaps(self.X) @ np.log(self.units.scale) if self.missing else nats

    @cached_property
    def missing(self):
        """Whether cells are missing; of a stream, none may be."""
        if isinstance(self.X, Stream):
            return False
        stored = self.X.data if issparse(self.X) else self.X
        # Nothing is NaN if the sum is not, and that needs no memory of the size of X.
        return bool(np.isnan(np.sum(stored)) and np.isnan(stored).any())

    def part(self, index):
        """The rows of an index."""
        index = np.sort(index) if isinstance(self.X, Stream) else index
        weight = None if self.weight is None else self.weight[index].numpy()
        context = None if self.context is None else self.context[index]
        return Rows(self.X[index], self.units, weight, self.device, context)

    def few(self, n_rows=16):
        """Some rows at even distances; of a stream the first, which are read at once."""
        step = 1 if isinstance(self.X, Stream) else max(1, len(self) // n_rows)
        return self.part(np.arange(0, len(self), step)[:n_rows])

    def pieces(self):
        """As `Units.pieces`, of these rows."""
        return self.units.pieces(len(self))

    def shuffled(self, batch_size, generator):
        """Yield every row once, in batches that differ by at most one row in size.

        Nor is any left with a single row, whose moments would say nothing: rather than that, one
        of the batches of two has a third. A stream is shuffled in two steps, so that memory is
        bounded: blocks of neighbouring rows, and all rows of as many blocks as are read together.
        """
        n_batches = -(-len(self) // batch_size)
        if batch_size > 1:
            n_batches = max(1, min(n_batches, len(self) // 2))
        drawn = self._drawn_from_stream if isinstance(self.X, Stream) else self._drawn
        weights = None if self.weight is None else self.weight.float().to(self.device)
        for index, x in drawn(n_batches, generator):
            weight = None if weights is None else weights[index]
            yield Batch(x, weight, self._context(index.cpu().numpy(), torch.float32))

    def _drawn(self, n_batches, generator):
        """Numbers of the rows of each batch, and the rows."""
        if self._dense is None and isinstance(self.units, Units) and not issparse(self.X):
            self._dense = self._copied()
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        for index in order.tensor_split(n_batches):
            yield index, self._take(index)

    def _drawn_from_stream(self, n_batches, generator):
        def permutation(n):
            return torch.randperm(n, generator=generator, device=generator.device).cpu()

        sizes = [len(range(i, len(self), n_batches)) for i in range(n_batches)]
        blocks, n_together = self.X.blocks(), self.X.blocks_of_a_buffer()
        size = min(len(self), n_together * self.X.n_block + sizes[0])
        index, x = torch.empty(size, dtype=torch.long), torch.empty(size, self.X.shape[1])
        n = 0  # rows in the buffer
        for chosen in permutation(len(blocks)).split(n_together):
            for number in chosen.tolist():
                rows = range(len(self))[blocks[number]]
                index[n : n + len(rows)] = torch.arange(rows.start, rows.stop)
                x[n : n + len(rows)] = self.units.tensor(self.X[blocks[number]], torch.float32)
                n += len(rows)
            give_back()
            order, start = permutation(n), 0
            while sizes and start + sizes[0] <= n:
                rows = order[start : start + sizes[0]]
                yield index[rows], x.index_select(0, rows).to(self.device)
                start += sizes.pop(0)
            left = order[start:]
            n = len(left)
            index[:n], x[:n] = index[left], x[left]

    def _copied(self):
        dense = torch.empty(self.X.shape, dtype=torch.float32)
        for rows in self.pieces():
            dense[rows] = self.units.tensor(self.X[rows], torch.float32)
        return dense.to(self.device) if _fits(self.X.size * 4, self.device) else dense

    def _take(self, index):
        if self._dense is None:
            X = self.X[index.cpu().numpy()]
            return self.units.tensor(X, torch.float32, self.device)
        return self._dense.index_select(0, index.to(self._dense.device)).to(self.device)

    def in_order(self, dtype):
        """Yield every row once, in order and in `dtype`."""
        for rows in self.pieces():
            weight = None if self.weight is None else self.weight[rows].to(dtype).to(self.device)
            x = self.units.tensor(self.X[rows], dtype, self.device)
            yield Batch(x, weight, self._context(rows, dtype))

    def _context(self, index, dtype):
        if self.context is None:
            return None
        return torch.from_numpy(self.context[index]).to(dtype).to(self.device)


def _fits(n_bytes, device):
    """Whether data of that size leave half of the device's free memory to the rest."""
    return device.type != "cuda" or 2 * n_bytes < torch.cuda.mem_get_info(device)[0]
