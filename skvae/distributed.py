"""One fit in several processes: each takes its part of every batch, and all hold the same weights.

Every process draws the same permutation and the same noise, and encodes its part of each batch.
The features of all parts are put together before the posterior, so that its moments are those of
the whole batch, whatever the posterior; gradients are sums over the processes. So the result is
that of a single process, to rounding. What needs no gradient, the pass that stores the moments of
all rows and the evaluation of rows set aside, each process does for itself.
"""

import os
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributions import Normal

from skvae.objectives import Terms, elbo_terms


class LostProcess(RuntimeError):
    """Another process of the fit has ended or does not answer."""


@contextmanager
def joined(timeout=600.0):
    """Let `fit` be one fit of all processes that ``torchrun`` started.

    Inside, every process calls `fit` with the same rows and parameters: rows in a file of which
    each reads what it needs, say, as `numpy.memmap` does. All get the same estimator. Where
    there is but one process this does nothing, so that a script runs by itself too.

    Parameters
    ----------
    timeout : float, default=600.0
        Seconds after which a process that does not answer is given up.

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


def processes():
    """The processes that fit together.

    Returns
    -------
    Processes or None
        None for a process by itself.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    size = distributed.get_world_size()
    return Processes(distributed.get_rank(), size) if size > 1 else None


class Processes:
    """This process and the others.

    Parameters
    ----------
    rank, size : int
        Number of this process, and how many there are.
    """

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def part(self, n_rows):
        """Which of the rows of a batch are this process's.

        Parameters
        ----------
        n_rows : int
            Rows of the batch.

        Returns
        -------
        slice
            Like those of the others, to one row.
        """
        ends = [n_rows * rank // self.size for rank in (self.rank, self.rank + 1)]
        return slice(*ends)

    def check(self, n_rows, batch_size):
        """Refuse batches of which some processes would have no row.

        Parameters
        ----------
        n_rows, batch_size : int
            Of the training.
        """
        least = n_rows // max(1, -(-n_rows // batch_size))
        if least < self.size:
            raise ValueError(
                f"batch_size must be such that each of the {self.size} processes has a row of "
                f"every batch; with {batch_size} some batches of the {n_rows} rows have {least}. "
                "Raise it, or use fewer processes."
            )

    def terms(self, module, batch, noise):
        """Mean reconstruction and KL of a batch, whose rows the processes share out.

        Parameters
        ----------
        module : skvae.model.VAE
            The model, with the same weights everywhere.
        batch : skvae._data.rows.Batch
            The whole batch.
        noise : Tensor of shape (n_samples, n_components)
            That of the whole batch.

        Returns
        -------
        skvae.objectives.Terms
            Of the whole batch; of their gradient, this process has the share of its rows.
        """
        n_rows = len(batch.x)
        own = self.part(n_rows)
        x, weight, context = (None if part is None else part[own] for part in batch)
        parts = _Parts(module, self, n_rows, own, batch.weight)
        terms = elbo_terms(parts, x, noise[own], context, weight).mean(weight)
        share = len(x) / n_rows
        return Terms(*(_Total.apply(share * value, self) for value in terms))

    def joint(self, optimizer):
        """An optimiser that adds up the gradients of all processes.

        Parameters
        ----------
        optimizer : skvae._fit.optimizer.Adam or skvae.every_tau.RangeAdam
            What takes the step.

        Returns
        -------
        object
            With the `parameters` and the `step` that `train_epoch` needs.
        """
        return _Joint(optimizer, self)

    def total(self, tensor):
        """Add up over the processes, in place.

        Parameters
        ----------
        tensor : Tensor
            Of the same shape everywhere.

        Returns
        -------
        Tensor
            The sum, the same to the bit everywhere.

        Raises
        ------
        LostProcess
            If a process has ended or does not answer in time.
        """
        return self._ask(distributed.all_reduce, tensor)

    def from_first(self, numbers):
        """What the first process says.

        Parameters
        ----------
        numbers : list of int
            Of the same length everywhere.

        Returns
        -------
        list of int
            Those of process 0.
        """
        return self._ask(distributed.broadcast, torch.tensor(numbers), 0).tolist()

    def check_equal(self, name, digest):
        """Refuse to go on if the processes do not agree.

        Parameters
        ----------
        name : str
            What it is, for the error.
        digest : str
            In hexadecimal digits, of the same length everywhere.
        """
        mine = torch.frombuffer(bytearray(bytes.fromhex(digest)), dtype=torch.uint8).long()
        unequal = torch.tensor([self.from_first(mine.tolist()) != mine.tolist()]).long()
        if self.total(unequal).item():
            raise ValueError(
                f"All processes of a fit must have the same {name}; they do not. Each takes its "
                "part by itself: give all of them all rows, in a file that they share say."
            )

    def _ask(self, collective, tensor, *arguments):
        try:
            collective(tensor, *arguments)
        except RuntimeError as error:
            raise LostProcess(
                f"Another process of this fit has ended or does not answer: {error}"
            ) from error
        return tensor


class _Joint:
    """Gradients are added up before each step."""

    def __init__(self, optimizer, processes):
        self.optimizer, self.processes = optimizer, processes
        self.parameters = optimizer.parameters

    def step(self, gradients):
        flat = self.processes.total(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        pairs = zip(parts, gradients, strict=True)
        self.optimizer.step([part.view_as(gradient) for part, gradient in pairs])


class _Parts:
    """A VAE that sees its own rows of a batch, with the posterior of the whole batch."""

    def __init__(self, module, processes, n_rows, own, weight):
        self.module, self.processes = module, processes
        self.n_rows, self.own, self.weight = n_rows, own, weight
        self.likelihood, self.prior = module.likelihood, module.prior

    def posterior(self, x, context=None, weight=None):
        """As `VAE.posterior`; the weights are those of the whole batch."""
        features = self.module.features(x, context)
        features = _Gathered.apply(features, self.processes, self.n_rows, self.own)
        q = self.module.posterior_layer(features, self.weight)
        return Normal(q.loc[self.own], q.scale[self.own], validate_args=False)


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of a row comes from all processes too."""

    @staticmethod
    def forward(ctx, rows, processes, n_rows, own):
        ctx.processes, ctx.own = processes, own
        whole = rows.new_zeros((n_rows, *rows.shape[1:]))
        whole[own] = rows
        return processes.total(whole)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.processes.total(gradient.contiguous().clone())[ctx.own], None, None, None


class _Total(torch.autograd.Function):
    """Sum over the processes; each keeps the gradient of its own summand."""

    @staticmethod
    def forward(ctx, value, processes):
        return processes.total(value.clone())

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None
