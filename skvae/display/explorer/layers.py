"""Networks as lists of layers that the page can compute."""

from torch import nn

from skvae.networks import ACTIVATIONS, MLP
from skvae.networks.images import _Chain

ACTIVATION_NAMES = {layer: name for name, layer in ACTIVATIONS.items()}


class NotComputable(TypeError):
    """Error for a model that the page cannot compute."""


def linear(layer, weights):
    """Describe a linear layer."""
    bias = {} if layer.bias is None else {"bias": weights.of(layer, "bias")}
    return {"layer": "linear", "weight": weights.of(layer, "weight"), **bias}


def _convolution(layer, weights):
    is_plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    if not is_plain or isinstance(layer.padding, str) or layer.bias is None:
        return None
    return {
        "layer": "convolution",
        "weight": weights.of(layer, "weight"),
        "bias": weights.of(layer, "bias"),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
    }


def _upsample(layer, weights):
    if layer.mode != "nearest" or not isinstance(layer.size, tuple):
        return None
    return {"layer": "upsample", "size": list(layer.size)}


def _unflatten(layer, weights):
    return {"layer": "shape", "shape": list(layer.unflattened_size)}


def _activation(layer, weights):
    name = ACTIVATION_NAMES[type(layer)]
    has_defaults = repr(layer).replace("inplace=True", "") == repr(ACTIVATIONS[name]())
    return {"layer": name} if has_defaults else None


# Description of a layer by its type; None means that its settings are not supported.
LAYERS = {
    nn.Linear: linear,
    nn.Conv2d: _convolution,
    nn.Upsample: _upsample,
    nn.Unflatten: _unflatten,
    **dict.fromkeys(ACTIVATION_NAMES, _activation),
}
# Layers without an effect: dropout is off in evaluation, and the page computes with flat arrays.
WITHOUT_EFFECT = (nn.Flatten, nn.Identity, nn.Dropout)


def described_network(name, network, weights):
    """Describe a network as a list of layers."""
    if type(network) is MLP:
        # The context is appended to the input; without a context this layer has no effect.
        return [{"layer": "context"}, *described_network(name, network.layers, weights)]
    if type(network) is _Chain:
        children = network.first, network.second
        return [layer for part in children for layer in described_network(name, part, weights)]
    if type(network) is nn.Sequential:
        return [layer for part in network for layer in described_network(name, part, weights)]
    if type(network) in WITHOUT_EFFECT:
        return []
    described = LAYERS[type(network)](network, weights) if type(network) in LAYERS else None
    if described is None:
        supported = sorted(kind.__name__ for kind in (*LAYERS, *WITHOUT_EFFECT, nn.Sequential))
        raise NotComputable(
            f"The {name} holds a layer that the page cannot compute: {network!r}. It computes "
            "those of BNVAEEstimator, ConvEncoder and ConvDecoder, and networks of "
            f"{', '.join(supported)} in their usual forms."
        )
    return [described]
