"""Convolutional encoders and decoders take images of any size and are settings of an estimator."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch.testing import assert_close

from skvae import BNVAEEstimator
from skvae._data.rows import Batch
from skvae._fit.torch_state import multiplications_per_row
from skvae.networks import ConvDecoder, ConvEncoder

SHAPES = [(1, 8, 8), (3, 7, 5), (2, 1, 9), (1, 2, 1), (1, 1, 1)]
FACTORIES = [ConvEncoder, ConvDecoder]
factories = pytest.mark.parametrize("factory", FACTORIES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [(), (4,), (4, 6), (4, 6, 8)])
@pytest.mark.parametrize("n_context", [0, 3])
def test_images_of_any_size_are_encoded_and_decoded(shape, channels, n_context):
    n = int(np.prod(shape))
    context = [torch.randn(5, n_context)] if n_context else []
    encoder = ConvEncoder(shape, channels, (16,))(n, context_features=n_context)
    decoder = ConvDecoder(shape, channels, (16,))(4, n, context_features=n_context)
    assert encoder(torch.randn(5, n), *context).shape == (5, 16)
    assert decoder(torch.randn(5, 4), *context).shape == (5, n)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_context_changes_the_output(name):
    n = 16
    network = {
        "encoder": ConvEncoder((1, 4, 4))(n, context_features=2),
        "decoder": ConvDecoder((1, 4, 4))(n, n, context_features=2),
    }[name]
    x = torch.randn(3, n)
    assert not torch.allclose(network(x, torch.zeros(3, 2)), network(x, torch.ones(3, 2)))


def test_a_row_is_channels_of_rows_of_pixels():
    # A single convolution with the weight of one pixel sees that pixel, in its channel.
    encoder = ConvEncoder((2, 2, 2), (1,), ())(8)
    convolution = encoder.first[1]
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.bias.zero_()
        convolution.weight[0, 1, 1, 1] = 1.0  # second channel, the pixel that the kernel is on
    x = torch.arange(8.0)[None]
    assert encoder(x).item() == x[0, 4]


def test_a_convolution_is_equivariant_under_translations():
    # Two steps to the right in the image are one in a plane of half the size.
    convolution = ConvEncoder((1, 8, 8), (3,), ())(64).first[:2]
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 3:5, 2:4] = 1.0
    moved = image.roll(2, dims=3)
    original, shifted = (convolution(one.flatten(1)) for one in (image, moved))
    assert_close(original.roll(1, dims=3)[..., 1:], shifted[..., 1:])


def test_a_mask_of_missing_cells_adds_channels():
    assert ConvEncoder((1, 4, 4))(32).first[1].in_channels == 2


@factories
def test_the_same_settings_are_equal_and_can_be_copied(factory):
    one = factory((1, 8, 8), channels=(16,), activation="silu")
    assert one == factory((1, 8, 8), channels=(16,), activation="silu")
    assert one != factory((1, 8, 8), channels=(8,), activation="silu")
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), clone(one, safe=False)):
        assert again == one
    assert hash(one) == hash(again)
    assert repr(one).startswith(f"{factory.__name__}(shape=(1, 8, 8), channels=(16,)")


def test_encoder_and_decoder_are_not_equal():
    assert ConvEncoder((1, 8, 8)) != ConvDecoder((1, 8, 8))


@factories
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (8, 8)}, r"shape must be .channels, height, width.; got \(8, 8\)"),
        ({"shape": (1, 8, 0)}, r"shape must hold integers of at least 1; got \(1, 8, 0\)"),
        ({"shape": (1, 8, 8), "channels": (1.5,)}, "channels must hold integers of at least 1"),
        ({"shape": (1, 8, 8), "activation": "step"}, "activation must be one of .*got 'step'"),
    ],
)
def test_invalid_settings_are_refused(factory, settings, message):
    with pytest.raises(ValueError, match=message):
        factory(**settings)


@pytest.mark.parametrize("width", [63, 65])
def test_rows_of_another_size_than_the_images_are_refused(width):
    with pytest.raises(ValueError, match=f"makes rows of 64 columns; X has {width}"):
        ConvEncoder((1, 8, 8))(width)
    with pytest.raises(ValueError, match=f"makes rows of 64 columns; .* has {width}"):
        ConvDecoder((1, 8, 8))(4, width)


def test_the_estimator_takes_and_searches_them():
    X = np.random.default_rng(0).random((40, 2 * 3 * 3))
    shape, channels = (2, 3, 3), [(4,), (4, 4)]
    vae = BNVAEEstimator(
        2,
        likelihood="bernoulli",
        encoder=ConvEncoder(shape, (4,)),
        decoder=ConvDecoder(shape, (4,)),
        max_iter=2,
        random_state=0,
    )
    grid = {"encoder": [ConvEncoder(shape, c) for c in channels]}
    search = GridSearchCV(vae, grid, cv=2).fit(X)
    assert search.best_params_["encoder"] in grid["encoder"]
    assert clone(search.best_estimator_).encoder == search.best_params_["encoder"]
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.transform(X), search.transform(X))


def test_images_may_have_missing_cells_and_conditions():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random((60, 16)), rng.integers(0, 2, 60)])
    X[rng.random(60) < 0.5, 3] = np.nan
    vae = BNVAEEstimator(
        2,
        likelihood="bernoulli",
        conditions=[("categorical", [16])],
        encoder=ConvEncoder((1, 4, 4), (4,)),
        decoder=ConvDecoder((1, 4, 4), (4,)),
        max_iter=2,
        random_state=0,
    ).fit(X)
    assert vae.sample(3, random_state=0, conditions=[1]).shape == (3, 17)
    assert np.isfinite(vae.impute(X)).all()


def test_work_counts_every_convolution_at_every_pixel():
    shape = 2, 5, 7
    networks = dict(
        encoder=ConvEncoder(shape, (4, 6), (8,)), decoder=ConvDecoder(shape, (4, 6), (8,))
    )
    X = np.random.default_rng(0).normal(size=(20, 70))
    vae = BNVAEEstimator(3, max_iter=1, random_state=0, **networks).fit(X)
    encoder = 12 * (2 * 4 * 9) + 4 * (4 * 6 * 9) + 24 * 8 + 8 * 6  # planes of 3 by 4, then 2 by 2
    decoder = 3 * 8 + 8 * 24 + 12 * (6 * 4 * 9) + 35 * (4 * 2 * 9)
    assert (
        multiplications_per_row(vae.module_, [Batch(torch.zeros(3, 70).double())])
        == encoder + decoder
    )
