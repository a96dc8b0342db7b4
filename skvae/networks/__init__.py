"""Encoders and decoders: plain PyTorch networks that know nothing of probability."""

from skvae.networks.images import ConvDecoder, ConvEncoder, Convolutions
from skvae.networks.lstm import LSTM, pack
from skvae.networks.mlp import ACTIVATIONS, MLP, Constant
from skvae.networks.recurrent import RecurrentDecoder, RecurrentEncoder

__all__ = [
    "ACTIVATIONS",
    "LSTM",
    "MLP",
    "Constant",
    "ConvDecoder",
    "ConvEncoder",
    "Convolutions",
    "RecurrentDecoder",
    "RecurrentEncoder",
    "pack",
]
