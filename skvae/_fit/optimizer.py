"""The optimizer, and running averages of the weights. Both work for any module."""

import copy
from collections import defaultdict

import torch
from torch import nn

from skvae._torch import fused_adamw_, lerp_all_

# Numbers of inputs up to which weights take full steps: between hidden layers, and in the first.
FULL_STEP_HIDDEN, FULL_STEP_COLUMNS = 32, 16
SMALLEST_SHARE_OF_COLUMNS = 0.25  # of a full step; many columns seldom all move together


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019).

    This calls PyTorch's own fused kernel. `torch.optim.AdamW` is avoided because its first object
    in a process imports the compiler: 1 to 2 s and 70 MB, in every worker of a search too.
    Parameters that require no gradient are left out.

    Parameters
    ----------
    parameters : iterable of Parameter
        Parameters to train.
    learning_rate : float
        Step size, of which `step` takes a fraction.
    average : bool
        Whether to keep running averages of the parameters.
    weight_decay : float
        Share of a weight, times the step size, by which every step shrinks it.
    decayed : collection of Parameter
        Parameters that are shrunk.
    rates : dict of Parameter to float, optional
        Multipliers of the step size of single parameters; they leave the decay as it is.
    """

    def __init__(
        self, parameters, learning_rate, average=False, weight_decay=0.0, decayed=(), rates=None
    ):
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.parameters = [p for p in parameters if p.requires_grad]
        self.averages = Averages(self.parameters) if average else None
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.n_steps = torch.zeros((), device=self.parameters[0].device)
        rates, decayed, groups = rates or {}, set(decayed), defaultdict(list)
        for place, parameter in enumerate(self.parameters):
            rate = rates.get(parameter, 1.0)
            groups[rate, weight_decay / rate if parameter in decayed else 0.0].append(place)
        self.groups = [(*key, places) for key, places in groups.items()]

    def state(self):
        """Return the tensors that another optimizer continues from by `load`."""
        return [self.means, self.squares, [self.n_steps]]

    def load(self, state):
        """Continue from the `state` of an optimizer of the same parameters."""
        for mine, theirs in zip(self.state(), state, strict=True):
            for tensor, other in zip(mine, theirs, strict=True):
                tensor.copy_(other)

    def restart(self):
        """Begin anew with the present parameters."""
        for tensors in self.state():
            for tensor in tensors:
                tensor.zero_()
        self.restart_averages()

    def restart_averages(self):
        """Take the present parameters for their averages so far."""
        if self.averages is not None:
            self.averages.restart()

    def travel(self):
        """Return how far a weight can have moved: about the learning rate in each step."""
        return self.learning_rate * float(self.n_steps)

    @torch.no_grad()
    def step(self, gradients, fraction=1.0):
        """Move the parameters down the gradients, by a fraction of the learning rate."""
        self.n_steps += 1.0
        for rate, weight_decay, places in self.groups:
            fused_adamw_(
                [self.parameters[place] for place in places],
                [gradients[place] for place in places],
                [self.means[place] for place in places],
                [self.squares[place] for place in places],
                [],
                [self.n_steps] * len(places),
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=rate * fraction * self.learning_rate,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )
        if self.averages is not None:
            self.averages.update()


def rates_of(model, encoder):
    """Return multipliers of the step size for weights with many inputs that feed hidden units.

    Adam moves all weights of a unit by about the same length, at first in one direction, so a step
    moves the unit in proportion to the number of its inputs. With 256 of them that is the whole
    width of its values. Many ReLU units are soon negative for every row, for good, and components
    of the code end at their floor. The step of weights between hidden layers is therefore divided
    by the number, as in Yang et al. (2021, arXiv:2203.03466), and that of the encoder's first
    layer too, down to a quarter.
    """
    rates = {}
    for part in model.modules():
        for layer in _feeding_hidden_units(part)[1:]:
            rates[layer.weight] = min(1.0, FULL_STEP_HIDDEN / layer.in_features)
    for part in encoder.modules():
        for layer in _feeding_hidden_units(part)[:1]:
            if layer is part[0]:
                share = max(SMALLEST_SHARE_OF_COLUMNS, FULL_STEP_COLUMNS / layer.in_features)
                rates[layer.weight] = min(1.0, share)
    return rates


def _feeding_hidden_units(part):
    """Return the linear layers of a `Sequential` module, without one at its end."""
    if not isinstance(part, nn.Sequential):
        return []
    return [layer for layer in part if isinstance(layer, nn.Linear) and layer is not part[-1]]


class Averages:
    """Running averages of weights over the last 50 steps or so (Polyak & Juditsky 1992).

    They remove the noise that batches bring to the weights. In a short training they reach
    back over a tenth of it: the share of step t is about proportional to ``t^8`` (Shamir & Zhang
    2013).

    Examples
    --------
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
        """Add the present weights to the averages."""
        self.n_steps += 1
        # Later every fourth step stands for four, because a pass over all weights takes time.
        n_together = 1 if self.n_steps <= 100 else 4
        if self.n_steps % n_together == 0:
            share = n_together * max(self.newest, 9 / (9 + self.n_steps))
            lerp_all_(self.values, self.parameters, share)

    def restart(self):
        """Begin anew with the present weights."""
        self.n_steps = 0
        for average, parameter in zip(self.values, self.parameters, strict=True):
            average.copy_(parameter.detach())

    def copied_into(self, module):
        """Return a copy of the module that holds the parameters, with the averages instead."""
        copied = copy.deepcopy(module)
        self.write_into(copied)
        return copied

    @torch.no_grad()
    def write_into(self, module):
        """Set the parameters of a copy of the module that holds the parameters to the averages."""
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter, average in zip(trained, self.values, strict=True):
            parameter.copy_(average)

    def state(self):
        """Return what other averages of the same parameters continue from by `load`."""
        return {"values": self.values, "n_steps": self.n_steps}

    def load(self, state):
        """Continue from the `state` of other averages."""
        for mine, theirs in zip(self.values, state["values"], strict=True):
            mine.copy_(theirs)
        self.n_steps = state["n_steps"]
