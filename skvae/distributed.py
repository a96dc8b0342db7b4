"""One fit in several processes: each takes its part of every batch, and all get the same result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed


@contextmanager
def joined(timeout: float = 600.0) -> Iterator[None]:
    """Let all processes that ``torchrun`` started share every `fit` in this block.

    Each process calls `fit` with the same rows and parameters; the rows may stay in a file of
    which each process reads what it needs, as `numpy.memmap` does. All get the same estimator.
    Without ``torchrun`` the block changes nothing, so that the same script also runs by itself.

    Parameters
    ----------
    timeout : float, default=600.0
        Seconds to wait for an answer of another process before the fit ends with an error.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator
    >>> from skvae.distributed import joined
    >>> X, _ = load_iris(return_X_y=True)
    >>> with joined():
    ...     vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(X)
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield
    finally:
        distributed.destroy_process_group()
