"""Encoders and decoders of images, as settings that can be compared, copied and searched over."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from numbers import Integral

from torch import nn

from skvae.networks.mlp import ACTIVATIONS, MLP


@dataclass(frozen=True)
class Convolutions:
    """What both factories are told.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width.
    channels : tuple of int, default=(32, 64)
        What each convolution of the encoder puts out.
    hidden_layer_sizes : tuple of int, default=(128,)
        Units of the hidden layers of the encoder.
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
        """Height and width of the image and of what each convolution makes of it."""
        sizes = [self.shape[1:]]
        for _ in self.channels:
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        return sizes

    def _planes(self, name, width):
        """How many planes of the image's height and width the columns are."""
        planes, rest = divmod(width, prod(self.shape[1:]))
        if rest or planes % self.shape[0]:
            raise ValueError(
                f"shape={self.shape!r} makes rows of {prod(self.shape)} columns; {name} has {width}"
            )
        return planes


class ConvEncoder(Convolutions):
    """Builds convolutional encoders of images, as the estimator's `encoder`.

    Each convolution, of 3 by 3 pixels, halves height and width; hidden layers follow.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width: a row is an image of that shape, flattened.
    channels : tuple of int, default=(32, 64)
        What each convolution puts out.
    hidden_layer_sizes : tuple of int, default=(128,)
        Units of the hidden layers behind them.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of all layers.

    See Also
    --------
    ConvDecoder : The way back.

    Notes
    -----
    Two of the same settings are equal, and they pickle: so they can be cloned and searched over.
    Where cells are missing, the mask comes as further channels; conditions join the
    hidden layers.

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
            Columns of the rows.
        context_features : int, default=0
            Columns of a second input.

        Returns
        -------
        Module
            From rows to features.
        """
        planes = self._planes("X", n_inputs)
        layers = [nn.Unflatten(1, (planes, *self.shape[1:]))]
        for before, after in pairwise([planes, *self.channels]):
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
    """Builds convolutional decoders to images, as the estimator's `decoder`.

    The mirror image of `ConvEncoder` with the same settings: hidden layers in reverse, and
    convolutions before each of which the image is enlarged to twice its height and width.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width: a row is an image of that shape, flattened.
    channels : tuple of int, default=(32, 64)
        What each convolution of the encoder puts out.
    hidden_layer_sizes : tuple of int, default=(128,)
        Units of the hidden layers of the encoder.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of all layers but the last.

    See Also
    --------
    ConvEncoder : The way there.

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
            Columns of the codes.
        n_outputs : int
            Columns that the likelihood needs.
        context_features : int, default=0
            Columns of a second input.

        Returns
        -------
        Module
            From codes to outputs.
        """
        planes = self._planes("what the likelihood needs", n_outputs)
        channels, sizes = [planes, *self.channels][::-1], self._sizes()[::-1]
        dense = MLP(
            n_components,
            self.hidden_layer_sizes[::-1],
            channels[0] * prod(sizes[0]),
            self.activation,
            context_features=context_features,
        )
        layers = [nn.Unflatten(1, (channels[0], *sizes[0]))]
        for (before, after), larger in zip(pairwise(channels), sizes[1:], strict=True):
            # Not a transposed convolution, whose kernels overlap unevenly: a checkerboard.
            layers += [
                ACTIVATIONS[self.activation](),
                nn.Upsample(size=larger),
                nn.Conv2d(before, after, 3, padding=1),
            ]
        return _Chain(dense, nn.Sequential(*layers, nn.Flatten()), context_first=True)


class _Chain(nn.Module):
    """Two networks, the first or the second of which is told the context."""

    def __init__(self, first, second, context_first):
        super().__init__()
        self.first, self.second, self.context_first = first, second, context_first

    def forward(self, x, context=None):
        if self.context_first:
            return self.second(self.first(x, context))
        return self.second(self.first(x), context)

    def code_weights(self):
        return self.first.code_weights()
