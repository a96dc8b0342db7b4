"""Rows that stay where they are, in a file say, and are read piece by piece.

A stream is anything with a shape, a dtype and rows by slices: `numpy.memmap`, a dataset of h5py,
an array of zarr or dask. Of any of them, a few pieces are in memory at a time.
"""

import ctypes
import os

import numpy as np
from scipy.sparse import issparse

IN_MEMORY = 2**30  # bytes up to which a stream is read at once, to be shuffled as a whole
PIECE = 2**23  # bytes read at a time, unless the source is cut into larger chunks
BLOCK = 2**18  # bytes of neighbouring rows that are shuffled together
BUFFER = 2**27  # bytes of rows among which batches are drawn

_C = ctypes.CDLL(None) if os.name == "posix" else None


def is_stream(X):
    """Whether `X` is an array that is not in memory.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
        True for a `numpy.memmap`, and for what has shape, dtype and rows but is no array of
        NumPy or of the array API, no sparse matrix and no tensor.
    """
    if isinstance(X, np.memmap):
        return True
    if isinstance(X, np.ndarray | np.generic) or issparse(X) or hasattr(X, "__array_namespace__"):
        return False
    has_rows = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    return has_rows and not hasattr(X, "iloc") and not type(X).__module__.startswith("torch")


def opened(X):
    """A stream as rows to work with.

    Parameters
    ----------
    X : memmap, dataset of h5py, array of zarr or dask, and so on, of shape (n_samples, n_features)
        The source.

    Returns
    -------
    ndarray or Stream
        What is small is read.

    Raises
    ------
    ValueError
        If its shape is not that of a table with rows and columns.
    TypeError
        If it does not hold numbers.
    """
    if len(X.shape) != 2 or not all(X.shape):
        raise ValueError(
            f"X must have two dimensions and at least one row and one column; got the shape "
            f"{tuple(X.shape)}"
        )
    if np.dtype(X.dtype).kind not in "biuf":
        raise TypeError(f"X must hold real numbers; got the dtype {X.dtype}")
    stream = Stream(X)
    return stream[:] if stream.size * stream.dtype.itemsize <= IN_MEMORY else stream


class Stream:
    """Rows that are read when they are asked for.

    Parameters
    ----------
    source : object
        With shape, dtype and rows by slices.
    index : ndarray of int of shape (n_samples,), optional
        Which of its rows are meant, in ascending order; all by default.
    """

    def __init__(self, source, index=None):
        self.source, self.index = source, index
        n_rows = source.shape[0] if index is None else len(index)
        self.shape = int(n_rows), int(source.shape[1])
        single = np.dtype(source.dtype) == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.ndim, self.size = 2, self.shape[0] * self.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Read a slice of rows, or name some: by their numbers in any order, or a mask."""
        if isinstance(rows, slice):
            return self._read(*rows.indices(len(self))[:2])
        chosen = np.arange(len(self)) if self.index is None else self.index
        return Stream(self.source, np.sort(chosen[np.asarray(rows)]))

    def _read(self, start, stop):
        if self.index is None:
            return self._checked(self.source[start:stop], start)
        wanted = self.index[start:stop]
        parts = []
        for first in range(0, len(wanted), self.n_block):  # so that little is read in vain
            some = wanted[first : first + self.n_block]
            near = self._checked(self.source[some[0] : some[-1] + 1], some[0])
            parts.append(near[some - some[0]])
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), self.dtype)

    def _checked(self, rows, start):
        rows = np.array(rows, dtype=self.dtype)  # a copy, so that no map of a file lives on
        if not np.isfinite(rows).all():
            raise ValueError(
                f"X holds NaN or infinity between rows {start} and {start + len(rows)}; where rows "
                "stay in a file, no cell may be missing. Replace them there."
            )
        return rows

    @property
    def n_block(self):
        """Rows of a block of neighbours: whole chunks, where the source is cut into chunks."""
        n_rows = max(1, BLOCK // (self.shape[1] * self.dtype.itemsize))
        chunks = getattr(self.source, "chunks", None)
        chunk = int(np.max(chunks[0])) if chunks else 1
        return -(-n_rows // chunk) * chunk

    def pieces(self):
        """Yield all rows in order, as arrays.

        Yields
        ------
        ndarray
            Some rows.
        """
        n_blocks = max(1, PIECE // (self.n_block * self.shape[1] * self.dtype.itemsize))
        for start in range(0, len(self), n_blocks * self.n_block):
            yield self[start : start + n_blocks * self.n_block]

    def blocks(self):
        """Cut the rows into blocks of neighbours.

        Returns
        -------
        list of slice
            They cover all rows, in order.
        """
        n, step = len(self), self.n_block
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def blocks_of_a_buffer(self):
        """How many blocks are in memory at a time.

        Returns
        -------
        int
            At least two.
        """
        return max(2, BUFFER // (self.n_block * self.shape[1] * 4))

    def sampled(self, n_rows=2**16):
        """Some rows at even distances, as an array.

        Parameters
        ----------
        n_rows : int, default=65536
            How many.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Read in 64 places.
        """
        step = max(1, n_rows // 64)
        starts = np.unique(np.linspace(0, max(0, len(self) - step), 64).astype(int))
        return np.concatenate([self[start : start + step] for start in starts])


def in_pieces(X):
    """Yield `X` in arrays that fit the memory, beside X itself if it is there.

    Parameters
    ----------
    X : ndarray, CSR or Stream
        Rows.

    Yields
    ------
    ndarray or CSR
        All of `X` at once if it is small or CSR.
    """
    if isinstance(X, Stream):
        yield from X.pieces()
    elif issparse(X) or X.nbytes <= PIECE:
        yield X
    else:
        n_rows = max(1, PIECE * len(X) // X.nbytes)
        yield from (X[start : start + n_rows] for start in range(0, len(X), n_rows))


def give_back():
    """Return free memory to the system, where the C library would keep it.

    The results of a step lie between the arrays of the next, so that glibc can use neither again
    for something larger: without this, what a process holds grows by some 100 kB a step.
    """
    trim = getattr(_C, "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
