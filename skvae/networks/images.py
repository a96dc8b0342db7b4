"""Convolutional encoders and decoders of images, given by settings from which they are built."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from numbers import Integral

from torch import nn

from skvae.networks.mlp import ACTIVATIONS, MLP


class _Chain(nn.Module):
    """Two networks in sequence, of which one, the first or the second, takes the context."""

    def __init__(self, first, second, context_first):
        super().__init__()
        self.first, self.second, self.context_first = first, second, context_first

    def forward(self, x, context=None):
        if self.context_first:
            return self.second(self.first(x, context))
        return self.second(self.first(x), context)

    def code_weights(self):
        return self.first.code_weights()


@dataclass(frozen=True)
class Convolutions:
    """Settings of a convolutional encoder or decoder.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    channels : tuple of int, default=(32, 64)
        Number of output channels of each convolution of the encoder.
    hidden_layer_sizes : tuple of int, default=(128,)
        Number of units of each hidden layer of the encoder.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity.
    """

    shape: tuple
    channels: tuple = (32, 64)
    hidden_layer_sizes: tuple = (128,)
    activation: str = "relu"

    def __post_init__(self):
        if len(self.shape) != 3:
            raise ValueError(f"shape must be (channels, height, width); got {self.shape!r}")
        for name in ("shape", "channels", "hidden_layer_sizes"):
            value = getattr(self, name)
            if not all(isinstance(n, Integral) and n >= 1 for n in value):
                raise ValueError(f"{name} must hold integers of at least 1; got {value!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}; got {self.activation!r}"
            )

    def _sizes(self):
        """List height and width of the image and of the output of each convolution."""
        sizes = [self.shape[1:]]
        for _ in self.channels:
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        return sizes

    def _n_planes(self, name, n_columns):
        """Number of channels of rows with `n_columns` columns, the channels of a mask included."""
        n_planes, rest = divmod(n_columns, prod(self.shape[1:]))
        if rest or n_planes % self.shape[0]:
            raise ValueError(
                f"shape={self.shape!r} makes rows of {prod(self.shape)} columns; {name} has "
                f"{n_columns}. Pass the shape of the images in X."
            )
        return n_planes


class ConvEncoder(Convolutions):
    """Settings from which a convolutional encoder is built, for the parameter `encoder`.

    Each convolution has a kernel of 3 by 3 pixels and halves height and width. Hidden layers
    follow, at which conditions enter. If cells may be missing, the mask enters as further channels.
    Two objects with the same settings are equal, and they can be pickled, so that estimators can
    clone them and search over them.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width. Each row is an image of this shape, flattened.
    channels : tuple of int, default=(32, 64)
        Number of output channels of each convolution.
    hidden_layer_sizes : tuple of int, default=(128,)
        Number of units of each hidden layer after the convolutions.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of all layers.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import ConvEncoder
    >>> encoder = ConvEncoder((1, 8, 8), channels=(16, 32))
    >>> encoder(64)(torch.zeros(5, 64)).shape
    torch.Size([5, 128])
    >>> encoder == ConvEncoder((1, 8, 8), channels=(16, 32))
    True
    """

    def __call__(self, n_inputs: int, context_features: int = 0) -> nn.Module:
        """Build an encoder.

        Parameters
        ----------
        n_inputs : int
            Number of columns of the rows.
        context_features : int, default=0
            Number of columns of a second input.

        Returns
        -------
        Module
            Network from rows to features.
        """
        n_planes = self._n_planes("X", n_inputs)
        layers = [nn.Unflatten(1, (n_planes, *self.shape[1:]))]
        for before, after in pairwise([n_planes, *self.channels]):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                ACTIVATIONS[self.activation](),
            ]
        width = self.channels[-1] * prod(self._sizes()[-1]) if self.channels else n_inputs
        dense = MLP(
            width, self.hidden_layer_sizes, None, self.activation, context_features=context_features
        )
        return _Chain(nn.Sequential(*layers, nn.Flatten()), dense, context_first=False)


class ConvDecoder(Convolutions):
    """Settings from which a convolutional decoder is built, for the parameter `decoder`.

    The network mirrors that of `ConvEncoder` with the same settings: hidden layers in reverse
    order, then convolutions before each of which height and width are doubled.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width. Each row is an image of this shape, flattened.
    channels : tuple of int, default=(32, 64)
        Number of output channels of each convolution of the encoder.
    hidden_layer_sizes : tuple of int, default=(128,)
        Number of units of each hidden layer of the encoder.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of all layers but the last.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import ConvDecoder
    >>> ConvDecoder((1, 7, 9), channels=(16, 32))(4, 63)(torch.zeros(5, 4)).shape
    torch.Size([5, 63])
    """

    def __call__(self, n_components: int, n_outputs: int, context_features: int = 0) -> nn.Module:
        """Build a decoder.

        Parameters
        ----------
        n_components : int
            Number of columns of the codes.
        n_outputs : int
            Number of outputs that the likelihood needs.
        context_features : int, default=0
            Number of columns of a second input.

        Returns
        -------
        Module
            Network from codes to outputs.
        """
        n_planes = self._n_planes("the decoder's output", n_outputs)
        channels, sizes = [n_planes, *self.channels][::-1], self._sizes()[::-1]
        dense = MLP(
            n_components,
            self.hidden_layer_sizes[::-1],
            channels[0] * prod(sizes[0]),
            self.activation,
            context_features=context_features,
        )
        layers = [nn.Unflatten(1, (channels[0], *sizes[0]))]
        for (before, after), larger in zip(pairwise(channels), sizes[1:], strict=True):
            # A transposed convolution would leave a checkerboard, since its kernels overlap
            # unevenly.
            layers += [
                ACTIVATIONS[self.activation](),
                nn.Upsample(size=larger),
                nn.Conv2d(before, after, 3, padding=1),
            ]
        return _Chain(dense, nn.Sequential(*layers, nn.Flatten()), context_first=True)
