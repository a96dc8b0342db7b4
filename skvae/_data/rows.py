"""From rows to batches of tensors, in the units of the networks.

The training loop need not know whether rows come from an array, a CSR matrix, a stream or
sentences. Batches are made by operations on whole arrays.
"""

import copy
import hashlib
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse

from skvae._data.streams import Stream, release_memory
from skvae._data.units import Units


class Batch(NamedTuple):
    """Rows in the units of the networks, their weights, and the networks' second input."""

    x: torch.Tensor
    weight: torch.Tensor | None = None
    context: torch.Tensor | None = None


def missing_cells(X):
    """Return the mask of the cells that are NaN, as an array or CSR matrix like X."""
    if not issparse(X):
        return np.isnan(X)
    found = X.copy()
    found.data = np.isnan(X.data)
    return found


def fingerprint(X, weight=None, n_rows=1024):
    """Return a digest by which different data are told apart.

    It covers the shape, the type and `n_rows` evenly spaced rows.
    """
    digest = hashlib.sha256(f"{X.shape} {X.dtype}".encode())
    if isinstance(X, Stream):
        digest.update(X.evenly_spaced(n_rows).tobytes())
        X = np.empty((X.shape[0], 0))
    index = np.unique(np.linspace(0, X.shape[0] - 1, n_rows).astype(int))
    for values in (X, weight):
        if values is not None:
            chosen = values[index]
            digest.update(np.asarray(chosen.toarray() if issparse(chosen) else chosen).tobytes())
    return digest.hexdigest()


class Rows:
    """All rows of a fit, as shuffled batches or in order.

    X is an array, CSR matrix or `Stream`, not yet in the `units` of the networks. Only the ratios
    of the weights matter. `context` (n_samples, n_context) is the second input of encoder and
    decoder. Batches are moved to `device`; dense rows are moved there as a whole if they fit.
    """

    def __init__(self, X, units, weight, device, context=None):
        self.X, self.units, self.device, self.context = X, units, device, context
        self.weight = None
        if weight is not None:
            self.weight = torch.from_numpy(weight / weight.mean())
        self._dense = None  # a copy of the rows, made when they are first shuffled

    def __len__(self):
        return self.X.shape[0]

    def seen_in(self, units):
        """Return the same rows, which the networks are to see in these units."""
        seen = copy.copy(self)
        seen.units = units
        return seen

    @property
    def dtype(self):
        """Double precision for double data, where the device has it; single otherwise."""
        double = self.X.dtype == np.float64 and self.device.type != "mps"
        return torch.float64 if double else torch.float32

    def log_jacobian(self):
        """Return the weighted mean of `log_jacobians` over the rows."""
        if not self.missing:
            return self.units.log_jacobian()
        return float(np.average(self.log_jacobians, weights=self.weight))

    @cached_property
    def log_jacobians(self):
        """`Units.log_jacobian` of each row, without the columns that it misses."""
        nats = np.broadcast_to(self.units.log_jacobian(), len(self))  # takes no memory
        return nats + missing_cells(self.X) @ np.log(self.units.scale) if self.missing else nats

    @cached_property
    def missing(self):
        """Whether any cell is missing; in a stream none may be."""
        if isinstance(self.X, Stream):
            return False
        stored = self.X.data if issparse(self.X) else self.X
        # A sum that is not NaN has no NaN in it, and unlike a mask it takes no memory.
        return bool(np.isnan(np.sum(stored)) and np.isnan(stored).any())

    def subset(self, index):
        """Return the rows at these positions."""
        index = np.sort(index) if isinstance(self.X, Stream) else index
        weight = None if self.weight is None else self.weight[index].numpy()
        context = None if self.context is None else self.context[index]
        return Rows(self.X[index], self.units, weight, self.device, context)

    def evenly_spaced(self, n_rows=16):
        """Return a few evenly spaced rows; of a stream the first rows, so as to read it once."""
        step = 1 if isinstance(self.X, Stream) else max(1, len(self) // n_rows)
        return self.subset(np.arange(0, len(self), step)[:n_rows])

    def chunks(self):
        """Return the slices of rows that `in_order` yields, as `Units.chunks` cuts them."""
        return self.units.chunks(len(self))

    def in_order(self, dtype):
        """Yield batches of consecutive rows in `dtype`, until all rows have come once."""
        for rows in self.chunks():
            weight = None if self.weight is None else self.weight[rows].to(dtype).to(self.device)
            context = None
            if self.context is not None:
                context = torch.from_numpy(self.context[rows]).to(dtype).to(self.device)
            yield Batch(self.units.tensor(self.X[rows], dtype, self.device), weight, context)

    def n_batches(self, batch_size):
        """Return the number of batches that `shuffled` yields."""
        n_batches = -(-len(self) // batch_size)
        return n_batches if batch_size == 1 else max(1, min(n_batches, len(self) // 2))

    def shuffled(self, batch_size, generator):
        """Yield batches of rows in random order, until all rows have come once.

        Their sizes differ by at most one row. No batch has a single row, which has no variance:
        with ``batch_size=2`` and an odd number of rows, one batch has three.

        A stream is shuffled in two steps, which bounds the memory: first its blocks of
        neighboring rows, then the rows of the blocks that are in memory together.
        """
        n_batches = self.n_batches(batch_size)
        batches = self._batches_of_stream if isinstance(self.X, Stream) else self._batches
        weights = None if self.weight is None else self.weight.float().to(self.device)
        for index, x in batches(n_batches, generator):
            weight, context = None if weights is None else weights[index], None
            if self.context is not None:
                context = torch.from_numpy(self.context[index.cpu().numpy()]).float()
                context = context.to(self.device)
            yield Batch(x, weight, context)

    def _batches(self, n_batches, generator):
        """Yield the positions of the rows of each batch, and the rows."""
        if self._dense is None and isinstance(self.units, Units) and not issparse(self.X):
            self._dense = self._dense_copy()
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        for index in order.tensor_split(n_batches):
            yield index, self._rows_at(index)

    def _batches_of_stream(self, n_batches, generator):
        """Yield the same with a buffer, in which the rows of some blocks are shuffled together."""

        def permutation(n):
            return torch.randperm(n, generator=generator, device=generator.device).cpu()

        sizes = [len(range(i, len(self), n_batches)) for i in range(n_batches)]
        blocks, n_together = self.X.blocks(), self.X.n_blocks_of_buffer()
        size = min(len(self), n_together * self.X.block_size + sizes[0])
        index, x = torch.empty(size, dtype=torch.long), torch.empty(size, self.X.shape[1])
        n = 0  # rows in the buffer
        for chosen in permutation(len(blocks)).split(n_together):
            for number in chosen.tolist():
                rows = range(len(self))[blocks[number]]
                index[n : n + len(rows)] = torch.arange(rows.start, rows.stop)
                x[n : n + len(rows)] = self.units.tensor(self.X[blocks[number]], torch.float32)
                n += len(rows)
            release_memory()
            order, start = permutation(n), 0
            while sizes and start + sizes[0] <= n:
                rows = order[start : start + sizes[0]]
                yield index[rows], x.index_select(0, rows).to(self.device)
                start += sizes.pop(0)
            rest = order[start:]  # too few for a batch; they wait for the next blocks
            n = len(rest)
            index[:n], x[:n] = index[rest], x[rest]

    def _dense_copy(self):
        dense = torch.empty(self.X.shape, dtype=torch.float32)
        for rows in self.chunks():
            dense[rows] = self.units.tensor(self.X[rows], torch.float32)
        cuda = self.device.type == "cuda"
        if cuda and 2 * dense.nbytes >= torch.cuda.mem_get_info(self.device)[0]:
            return dense  # it would take more than half of the free memory of the device
        return dense.to(self.device)

    def _rows_at(self, index):
        if self._dense is None:
            X = self.X[index.cpu().numpy()]
            return self.units.tensor(X, torch.float32, self.device)
        return self._dense.index_select(0, index.to(self._dense.device)).to(self.device)
