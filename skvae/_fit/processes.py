"""The processes of one fit: how they share a batch, add up gradients and agree.

Every process draws the same permutation and the same noise, and encodes its part of each batch.
The features of all parts are gathered before the posterior, so that its moments are those of the
whole batch; gradients are summed. Whatever needs no gradient is computed by every process.
"""

import torch
from torch import distributed
from torch.distributions import Normal

from skvae.objectives import Terms


class LostProcess(RuntimeError):
    """Error for a fit of which another process has ended or does not answer."""


def processes():
    """Return the processes that fit together.

    It is `OneProcess` unless `skvae.distributed.joined` has connected several.
    """
    if distributed.is_available() and distributed.is_initialized():
        size = distributed.get_world_size()
        if size > 1:
            return Processes(distributed.get_rank(), size)
    return OneProcess()


class OneProcess:
    """A process that fits alone: the methods of `Processes`, with nothing to share."""

    rank, size = 0, 1

    def check_batches(self, n_rows, batch_size):
        """Accept batches of any size."""

    def check_equal(self, name, digest):
        """Agree with itself."""

    def shared(self, model):
        """Return the model: all rows of a batch are this process's."""
        return model

    def total(self, gradients):
        """Return the gradients: there are no others to add."""
        return gradients

    def from_first(self, numbers):
        """Return the numbers: this process is the first."""
        return numbers


class Processes:
    """This process, number `rank` of `size`, and the others."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def check_batches(self, n_rows, batch_size):
        """Refuse batches of which some process would have no row."""
        fewest = n_rows // max(1, -(-n_rows // batch_size))
        if fewest < self.size:
            raise ValueError(
                f"batch_size must be such that each of the {self.size} processes has a row of "
                f"every batch; with {batch_size} some batches of the {n_rows} rows have {fewest}. "
                "Raise it, or use fewer processes."
            )

    def check_equal(self, name, digest):
        """Raise an error in all processes if their digests differ.

        `digest` returns the same number of hexadecimal digits in all processes; the error mentions
        `name`.
        """
        mine = torch.frombuffer(bytearray(bytes.fromhex(digest())), dtype=torch.uint8).long()
        unequal = torch.tensor([self.from_first(mine.tolist()) != mine.tolist()]).long()
        if self.sum(unequal).item():
            raise ValueError(
                f"All processes of a fit must have the same {name}; they do not. Each takes its "
                "part of the rows by itself: give all of them all rows, for example in a file "
                "that they share."
            )

    def shared(self, model):
        """Return a model of whole batches that computes the rows of this process only.

        It has the arguments and the result of the model. The gradient of the result is that of this
        process's rows; `total` adds up those of all.
        """
        return _SharedModel(model, self)

    def total(self, gradients):
        """Add up the gradients of all processes; the sums are the same to the bit in all."""
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        return [part.view_as(one) for part, one in zip(parts, gradients, strict=True)]

    def from_first(self, numbers):
        """Return the integers that process 0 passed, which are as many as here."""
        return self._collective(distributed.broadcast, torch.tensor(numbers), 0).tolist()

    def sum(self, tensor):
        """Add up tensors of one shape in place; the sum is the same to the bit in all processes."""
        return self._collective(distributed.all_reduce, tensor)

    def _collective(self, operation, tensor, *arguments):
        try:
            operation(tensor, *arguments)
        except RuntimeError as error:
            raise LostProcess(
                f"Another process of this fit has ended or does not answer: {error}"
            ) from error
        return tensor


class _SharedModel:
    """A model that computes its own rows of a batch, with the posterior of the whole batch."""

    def __init__(self, model, processes):
        self.model, self.processes = model, processes

    def __call__(self, x, noise, context=None, weight=None):
        n_rows, processes = len(x), self.processes
        ends = [n_rows * rank // processes.size for rank in (processes.rank, processes.rank + 1)]
        own = slice(*ends)

        def gather_features(posterior, arguments):
            features, *_ = arguments
            return _Gathered.apply(features, processes, n_rows, own), weight

        def take_own_rows(posterior, arguments, q):
            return Normal(q.loc[own], q.scale[own], validate_args=False)

        layer = self.model.posterior_layer
        hooks = [
            layer.register_forward_pre_hook(gather_features, prepend=True),
            layer.register_forward_hook(take_own_rows),
        ]
        try:
            own_context = None if context is None else context[own]
            terms = self.model(x[own], noise[own], own_context)
        finally:
            for hook in hooks:
                hook.remove()
        return Terms(*(_GatheredTerms.apply(part, processes, n_rows, own) for part in terms))


class _Gathered(torch.autograd.Function):
    """Features of all processes. Each process uses all of them, so their gradients are summed."""

    @staticmethod
    def forward(ctx, rows, processes, n_rows, own):
        ctx.processes, ctx.own = processes, own
        whole = rows.new_zeros((n_rows, *rows.shape[1:]))
        whole[own] = rows
        return processes.sum(whole)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.processes.sum(gradient.contiguous().clone())[ctx.own], None, None, None


class _GatheredTerms(_Gathered):
    """Terms of all processes, which compute the same loss: each takes the gradient of its rows."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient[ctx.own], None, None, None
