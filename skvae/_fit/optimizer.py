"""The optimizer, and running averages of the weights. It knows no VAE."""

import copy

import torch

from skvae._torch import fused_adam_, lerp_all_


class Adam:
    """Adam (Kingma & Ba 2015) on a list of parameters.

    This calls PyTorch's own fused kernel. `torch.optim.Adam` is avoided because its first object
    in a process imports the compiler: 1 to 2 s and 70 MB, in every worker of a search too.
    Parameters that require no gradient are left out.
    """

    def __init__(self, parameters, learning_rate, average=False):
        self.learning_rate = learning_rate
        self.parameters = [p for p in parameters if p.requires_grad]
        self.averages = Averages(self.parameters) if average else None
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.n_steps = torch.zeros((), device=self.parameters[0].device)

    def state(self):
        """Return the tensors that another optimizer continues from by `load`."""
        return [self.means, self.squares, [self.n_steps]]

    def load(self, state):
        """Continue from the `state` of an optimizer of the same parameters."""
        for mine, theirs in zip(self.state(), state, strict=True):
            for tensor, other in zip(mine, theirs, strict=True):
                tensor.copy_(other)

    def travel(self):
        """Return how far a weight can have moved: about the learning rate in each step."""
        return self.learning_rate * float(self.n_steps)

    @torch.no_grad()
    def step(self, gradients):
        """Move the parameters one step down the gradients."""
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

    They remove the noise that mini-batches bring to the weights. In a short training they reach
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

    def copied_into(self, module):
        """Return a copy of the module that holds the parameters, with the averages instead."""
        copied = copy.deepcopy(module)
        trained = [parameter for parameter in copied.parameters() if parameter.requires_grad]
        with torch.no_grad():
            for parameter, average in zip(trained, self.values, strict=True):
                parameter.copy_(average)
        return copied

    def state(self):
        """Return what other averages of the same parameters continue from by `load`."""
        return {"values": self.values, "n_steps": self.n_steps}

    def load(self, state):
        """Continue from the `state` of other averages."""
        for mine, theirs in zip(self.values, state["values"], strict=True):
            mine.copy_(theirs)
        self.n_steps = state["n_steps"]
