"""One training loop: optimiser, epochs, early stopping. It knows no VAE."""

import copy
import math

import torch
from torch import nn

from skvae._torch import fused_adam_, lerp_all_


class Adam:
    """Adam (Kingma & Ba 2015) on a list of parameters.

    This is PyTorch's own fused kernel. What it is usually called by is avoided because the first
    `torch.optim.Adam` of a process imports the compiler: 1 to 2 s and 70 MB, in every worker of a
    search too.

    Parameters
    ----------
    parameters : iterable of Parameter
        What to train.
    learning_rate : float
        Size of a step.
    average : bool, default=False
        Whether to keep running averages of the parameters.

    Attributes
    ----------
    averages : Averages or None
        Those.
    """

    def __init__(self, parameters, learning_rate, average=False):
        self.learning_rate = learning_rate
        self.parameters = [p for p in parameters if p.requires_grad]
        self.averages = Averages(self.parameters) if average else None
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.n_steps = torch.zeros((), device=self.parameters[0].device)

    def state(self):
        """The tensors that a later optimiser continues from."""
        return [self.means, self.squares, [self.n_steps]]

    def load(self, state):
        """Continue from the `state` of an optimiser of the same parameters."""
        for mine, theirs in zip(self.state(), state, strict=True):
            for tensor, other in zip(mine, theirs, strict=True):
                tensor.copy_(other)

    def travel(self):
        """How far a weight can have moved: about the learning rate in each step.

        Returns
        -------
        float
            In units of the weights.
        """
        return self.learning_rate * float(self.n_steps)

    @torch.no_grad()
    def step(self, gradients):
        """Move the parameters down the gradients."""
        self.n_steps += 1.0
        fused_adam_(
            self.parameters,
            gradients,
            self.means,
            self.squares,
            [],
            [self.n_steps] * len(self.parameters),
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        if self.averages is not None:
            self.averages.update()


class Averages:
    """Running averages of weights over the last 50 steps or so (Polyak & Juditsky 1992).

    They leave out the noise that batches bring to the weights. Of a short training they reach
    back a tenth of it: the share of step t is about proportional to ``t^8`` (Shamir & Zhang 2013).

    Parameters
    ----------
    parameters : list of Parameter
        What to average.

    Examples
    --------
    >>> import torch
    >>> from skvae._fit.optimizer import Averages
    >>> weight = torch.zeros(1)
    >>> averages = Averages([weight])
    >>> for number in range(1, 1001):
    ...     _ = weight.fill_(number)
    ...     averages.update()
    >>> float(averages.values[0].round())
    954.0
    """

    newest = 0.02  # share of the newest step

    def __init__(self, parameters):
        self.parameters = parameters
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.n_steps = 0

    @torch.no_grad()
    def update(self):
        """Take in the weights as they are now."""
        self.n_steps += 1
        # Later on every fourth step stands for four: a pass over all weights takes its time.
        n_together = 1 if self.n_steps <= 100 else 4
        if self.n_steps % n_together == 0:
            share = n_together * max(self.newest, 9 / (9 + self.n_steps))
            lerp_all_(self.values, self.parameters, share)

    def copied_into(self, module):
        """Return a copy of a module of the parameters, with the averages in their place."""
        pairs = zip(self.parameters, self.values, strict=True)
        copies = {id(weight): nn.Parameter(average.clone()) for weight, average in pairs}
        return copy.deepcopy(module, copies)

    def state(self):
        """What later averages of the same parameters go on from, by `load`."""
        return {"values": self.values, "n_steps": self.n_steps}

    def load(self, state):
        """Go on from the `state` of others."""
        for mine, theirs in zip(self.values, state["values"], strict=True):
            mine.copy_(theirs)
        self.n_steps = state["n_steps"]


def train_epoch(loss, batches, optimizer):
    """Take one step a batch; return the mean loss of a row.

    Parameters
    ----------
    loss : callable
        From a batch to the mean loss of its rows.
    batches : iterable of Batch
        One epoch.
    optimizer : Adam
        What moves the parameters.

    Returns
    -------
    float
        May be non-finite: read once an epoch, so that no step waits for the device.
    """
    mean = RunningMean()
    for batch in batches:
        value = loss(batch)
        gradients = torch.autograd.grad(value, optimizer.parameters, materialize_grads=True)
        optimizer.step(gradients)
        mean.add(value.detach(), len(batch.x))
    return float(mean.value())


class RunningMean:
    """Mean over the rows of all batches, of means over the rows of each.

    Values are added up now and then, not each by itself, which would take a few operations a step;
    nor all in the end, because small tensors that stay keep the memory between them from being
    used again.

    Examples
    --------
    >>> import torch
    >>> from skvae._fit.optimizer import RunningMean
    >>> mean = RunningMean()
    >>> mean.add(torch.tensor(1.0), 3)
    >>> mean.add(torch.tensor(5.0), 1)
    >>> float(mean.value())
    2.0
    """

    at_once = 64

    def __init__(self):
        self.waiting, self.total, self.n_rows = [], 0.0, 0

    def add(self, value, n_rows):
        """Take the mean of a batch.

        Parameters
        ----------
        value : Tensor
            Of the same shape for all.
        n_rows : int
            Rows of the batch.
        """
        self.waiting.append((value, n_rows))
        if len(self.waiting) == self.at_once:
            self._add_up()

    def value(self):
        """Return the mean.

        Returns
        -------
        Tensor
            Of the shape of the values.
        """
        if self.waiting:
            self._add_up()
        return self.total / self.n_rows

    def _add_up(self):
        values, sizes = zip(*self.waiting, strict=True)
        weights = torch.tensor(sizes, dtype=values[0].dtype, device=values[0].device)
        self.total = self.total + torch.tensordot(weights, torch.stack(values), 1)
        self.n_rows += sum(sizes)
        self.waiting = []


class EarlyStopping:
    """Remembers the best weights, and says when to stop looking for better ones.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.
    tol : float
        What counts as an improvement.
    """

    def __init__(self, patience, tol):
        self.patience, self.tol = patience, tol
        self.best, self.best_state, self.n_without = -math.inf, None, 0

    def state(self):
        """What a later one goes on from, by `load`."""
        return {"best": self.best, "best_state": self.best_state, "n_without": self.n_without}

    def load(self, state):
        """Go on from the `state` of another."""
        vars(self).update(state)

    def should_stop(self, score, module):
        """Take the score of an epoch, larger being better."""
        self.n_without = 0 if score > self.best + self.tol else self.n_without + 1
        if score > self.best:
            self.best = score
            self.best_state = copy.deepcopy(module.state_dict())
        return self.n_without >= self.patience
