"""Fully connected networks."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLP(nn.Module):
    """A stack of linear layers and activations; without any layer it is the identity.

    Parameters
    ----------
    in_features : int
        Number of columns of the input.
    hidden_layer_sizes : tuple of int, default=()
        Number of units of each hidden layer. The activation follows each layer.
    out_features : int or None, default=None
        Number of columns of a final linear layer without activation. None leaves this layer out,
        and the output is that of the last hidden layer.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of the hidden layers.
    context_features : int, default=0
        Number of columns of a second input, which is concatenated to the first.

    Attributes
    ----------
    out_features : int
        Number of columns of the output.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import MLP
    >>> MLP(64, (32, 16))(torch.zeros(5, 64)).shape
    torch.Size([5, 16])
    """

    def __init__(
        self,
        in_features: int,
        hidden_layer_sizes: Sequence[int] = (),
        out_features: int | None = None,
        activation: str = "relu",
        context_features: int = 0,
    ) -> None:
        super().__init__()
        sizes = [in_features + context_features, *hidden_layer_sizes]
        layers = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        if out_features is not None:
            layers.append(nn.Linear(sizes[-1], out_features))
        self.layers = nn.Sequential(*layers)
        self.out_features = sizes[-1] if out_features is None else out_features

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Map rows to the output.

        Parameters
        ----------
        x : Tensor of shape (n_samples, in_features)
            Rows.
        context : Tensor of shape (n_samples, context_features), optional
            Second input.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            Output of the last layer.
        """
        return self.layers(x if context is None else torch.cat([x, context], dim=-1))

    def code_weights(self) -> list[nn.Parameter]:
        """Return the weights that multiply the code if this network is a decoder.

        Returns
        -------
        list of Parameter
            Weight matrix of the first layer; empty if there are no layers.
        """
        return [layer.weight for layer in self.layers[:1]]


class Constant(nn.Module):
    """The same zeros for every row, in place of a network that carries no information.

    Parameters
    ----------
    out_features : int
        Number of columns of the output.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import Constant
    >>> Constant(2)(torch.randn(3, 5)).unique().tolist()
    [0.0]
    """

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features
        self.register_buffer("zeros", torch.zeros(1, out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return zeros for each row, whatever its values.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Rows.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            Zeros.
        """
        return self.zeros.expand(len(x), -1)
