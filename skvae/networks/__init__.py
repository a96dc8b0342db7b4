"""Encoders and decoders: plain PyTorch networks, without any probability."""

from skvae.networks.images import ConvDecoder, ConvEncoder
from skvae.networks.mlp import ACTIVATIONS, MLP, Constant
from skvae.networks.recurrent import RecurrentDecoder, RecurrentEncoder

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Constant",
    "ConvDecoder",
    "ConvEncoder",
    "RecurrentDecoder",
    "RecurrentEncoder",
]
