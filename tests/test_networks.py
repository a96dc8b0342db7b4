"""MLPs are stacks of linear layers and activations."""

import pytest
import torch
from torch import nn

from skvae.networks import ACTIVATIONS, MLP


def test_without_layers_it_is_the_identity():
    x = torch.randn(4, 3)
    assert torch.equal(MLP(3)(x), x)
    assert MLP(3).out_features == 3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_follows_hidden_layers_but_not_the_output(activation):
    net, x = MLP(3, (5, 4), 2, activation=activation), torch.randn(6, 3)
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    activate = ACTIVATIONS[activation]()
    hidden = activate(x @ first.weight.T + first.bias)
    hidden = activate(hidden @ second.weight.T + second.bias)
    torch.testing.assert_close(net(x), hidden @ last.weight.T + last.bias)


def test_without_an_output_layer_the_last_activation_is_the_output():
    net = MLP(3, (5, 4), activation="relu")
    assert net.out_features == 4
    assert (net(torch.randn(50, 3)) >= 0).all()


@pytest.mark.parametrize(
    ("sizes", "out_features", "width"), [((), None, 3), ((), 7, 7), ((5,), None, 5), ((5,), 7, 7)]
)
def test_out_features_is_the_width_of_the_output(sizes, out_features, width):
    net = MLP(3, sizes, out_features)
    assert net.out_features == width
    assert net(torch.randn(2, 3)).shape == (2, width)


def test_context_is_concatenated_to_the_input():
    x, context = torch.randn(4, 3), torch.randn(4, 2)
    net = MLP(3, (5,), 2, context_features=2)
    torch.testing.assert_close(net(x, context), net.layers(torch.cat([x, context], 1)))


def test_context_changes_the_output():
    net, x = MLP(3, (), 2, context_features=1), torch.randn(4, 3)
    assert not torch.allclose(net(x, torch.zeros(4, 1)), net(x, torch.ones(4, 1)))


def test_sizes_may_be_a_list():
    assert MLP(3, [5, 4], 2)(torch.randn(1, 3)).shape == (1, 2)
