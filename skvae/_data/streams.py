"""Rows that are too many for memory and are read in chunks, from a file for example.

A stream is anything with a shape, a dtype and rows by slices: a `numpy.memmap`, a dataset of h5py,
an array of zarr or dask.
"""

import ctypes
import os

import numpy as np
from scipy.sparse import issparse

# Sizes in bytes.
IN_MEMORY = 2**30  # largest stream that is read into memory
CHUNK = 2**23  # rows read at a time, unless the source stores its rows in larger chunks
BLOCK = 2**18  # neighboring rows that stay together when blocks are shuffled
BUFFER = 2**27  # rows in memory together, from which batches are drawn

_C = ctypes.CDLL(None) if os.name == "posix" else None


def is_stream(X):
    """Return whether `X` is an array that is not in memory.

    Such are a `numpy.memmap`, and any object with shape, dtype and rows that is not an array of
    NumPy or of the array API, a sparse matrix, a frame or a tensor.
    """
    if isinstance(X, np.memmap):
        return True
    if isinstance(X, np.ndarray | np.generic) or issparse(X) or hasattr(X, "__array_namespace__"):
        return False
    has_rows = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    return has_rows and not hasattr(X, "iloc") and not type(X).__module__.startswith("torch")


def open_stream(X):
    """Return a checked source of rows as a stream, or as an array if it has few bytes."""
    if len(X.shape) != 2 or not all(X.shape):
        raise ValueError(
            f"X must have two dimensions and at least one row and one column; got the shape "
            f"{tuple(X.shape)}"
        )
    if np.dtype(X.dtype).kind not in "biuf":
        raise TypeError(f"X must hold real numbers; got the dtype {X.dtype}")
    stream = Stream(X)
    if stream.size * stream.dtype.itemsize > IN_MEMORY:
        return stream
    return np.array(X[:], dtype=stream.dtype)  # like any array, it may have missing cells


class Stream:
    """Rows that are read on demand."""

    def __init__(self, source, index=None):
        self.source = source  # has shape, dtype and rows by slices
        self.index = index  # positions of the rows, in ascending order; None stands for all
        n_rows = source.shape[0] if index is None else len(index)
        self.shape = int(n_rows), int(source.shape[1])
        single = np.dtype(source.dtype) == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.ndim, self.size = 2, self.shape[0] * self.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Read a slice of rows, or return the stream of the rows in an index or a mask."""
        if isinstance(rows, slice):
            return self._read(*rows.indices(len(self))[:2])
        chosen = np.arange(len(self)) if self.index is None else self.index
        return Stream(self.source, np.sort(chosen[np.asarray(rows)]))

    def _read(self, start, stop):
        if self.index is None:
            return self._checked(self.source[start:stop], start)
        wanted = self.index[start:stop]
        found = []
        for first in range(0, len(wanted), self.block_size):  # so that few other rows are read
            some = wanted[first : first + self.block_size]
            neighbors = self._checked(self.source[some[0] : some[-1] + 1], some[0])
            found.append(neighbors[some - some[0]])
        return np.concatenate(found) if found else np.empty((0, self.shape[1]), self.dtype)

    def _checked(self, rows, start):
        rows = np.array(rows, dtype=self.dtype)  # a copy: a view would keep the file mapped
        if not np.isfinite(rows).all():
            raise ValueError(
                f"X holds NaN or infinity between rows {start} and {start + len(rows)}. Rows that "
                "stay in a file must have no missing cells: replace them in the file."
            )
        return rows

    @property
    def block_size(self):
        """Number of rows of a block; if the source is stored in chunks, a block is whole chunks."""
        n_rows = max(1, BLOCK // (self.shape[1] * self.dtype.itemsize))
        chunks = getattr(self.source, "chunks", None)
        chunk = int(np.max(chunks[0])) if chunks else 1
        return -(-n_rows // chunk) * chunk

    def blocks(self):
        """Cut all rows into slices of neighbors, in order."""
        n, step = len(self), self.block_size
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def n_blocks_of_buffer(self):
        """Return the number of blocks, at least two, that are shuffled together in memory."""
        return max(2, BUFFER // (self.block_size * self.shape[1] * 4))

    def in_chunks(self):
        """Yield all rows in order, as arrays of whole blocks."""
        n_blocks = max(1, CHUNK // (self.block_size * self.shape[1] * self.dtype.itemsize))
        for start in range(0, len(self), n_blocks * self.block_size):
            yield self[start : start + n_blocks * self.block_size]

    def evenly_spaced(self, n_rows=2**16):
        """Read about `n_rows` rows, in order, from 64 evenly spaced places."""
        step = max(1, n_rows // 64)
        starts = np.unique(np.linspace(0, max(0, len(self) - step), 64).astype(int))
        return np.concatenate([self[start : start + step] for start in starts])


def release_memory():
    """Return free memory to the system, if the C library can.

    The small results of one training step end up between the large arrays of the next, and glibc
    does not reuse such scattered space. Without this call, the process grows by some 100 kB a step.
    """
    trim = getattr(_C, "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
