"""The optimizer against PyTorch's, averages of the weights, and means over an epoch."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skvae._fit.optimizer import Adam, Averages, rates_of
from skvae._fit.training import RunningMean

CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    with torch.no_grad():
        for seed, parameter in enumerate(net.parameters()):
            parameter.copy_(0.5 * normal(*parameter.shape, seed=seed))
    return net


def squared_error(net, x):
    return (net(x) - x.sum(1, keepdim=True).sin()).square().mean()


# -- Adam ----------------------------------------------------------------------------------


def train(net, n_steps, learning_rate=0.01, optimizer=None):
    optimizer = optimizer or Adam(net.parameters(), learning_rate)
    for step in range(n_steps):
        loss = squared_error(net, normal(16, 4, seed=100 + step))
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters))
    return optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("every", [10**9, 7])
def test_steps_are_those_of_torch_optim(weight_decay, every):
    ours, theirs = network(), network()
    optimizer = Adam(
        ours.parameters(),
        0.01,
        weight_decay=weight_decay,
        decayed=[ours[0].weight, ours[2].weight],
    )
    groups = [
        {"params": [theirs[0].weight, theirs[2].weight], "weight_decay": weight_decay},
        {"params": [theirs[0].bias, theirs[2].bias], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, 0.01)
    for step in range(150):
        x, scale = normal(16, 4, seed=100 + step), 50.0 if step % every == every - 1 else 1.0
        loss = scale * squared_error(ours, x)
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters))
        (scale * squared_error(theirs, x)).backward()
        reference.step()
        reference.zero_grad()
    assert not torch.allclose(ours[0].weight, network()[0].weight, atol=0.1)
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-5)


def test_only_the_named_weights_shrink():
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = Adam(net.parameters(), 0.01, weight_decay=0.5, decayed=[net[2].weight])
    for _ in range(3):
        optimizer.step([torch.zeros_like(p) for p in net.parameters()], fraction=0.4)
    before["2.weight"] *= (1 - 0.4 * 0.01 * 0.5) ** 3
    assert_close(dict(net.named_parameters()), before, rtol=1e-6, atol=0)


def test_a_fraction_is_one_of_the_learning_rate():
    one, other = network(), network()
    for net, learning_rate, fraction in ((one, 0.01, 0.3), (other, 0.003, 1.0)):
        optimizer = Adam(net.parameters(), learning_rate)
        for step in range(5):
            loss = squared_error(net, normal(16, 4, seed=step))
            optimizer.step(torch.autograd.grad(loss, optimizer.parameters), fraction)
    assert_close(one.state_dict(), other.state_dict(), rtol=1e-6, atol=1e-7)


def test_some_weights_take_smaller_steps_and_the_same_decay():
    ours, theirs = network(), network()
    weight_decay = {"weight_decay": 0.5, "decayed": [ours[2].weight]}
    optimizer = Adam(ours.parameters(), 0.01, **weight_decay, rates={ours[2].weight: 0.25})
    groups = [
        {"params": [theirs[0].weight, theirs[0].bias, theirs[2].bias], "weight_decay": 0.0},
        {"params": [theirs[2].weight], "lr": 0.0025, "weight_decay": 2.0},
    ]
    reference = torch.optim.AdamW(groups, 0.01)
    for step in range(50):
        x = normal(16, 4, seed=100 + step)
        optimizer.step(torch.autograd.grad(squared_error(ours, x), optimizer.parameters))
        squared_error(theirs, x).backward()
        reference.step()
        reference.zero_grad()
    assert not torch.allclose(ours[2].weight, network()[2].weight, atol=0.01)
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-5)


def test_steps_into_hidden_units_are_divided_by_the_number_of_inputs():
    deep = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
    deep.extend([nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 9)])
    features = nn.Sequential(nn.Linear(500, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU())
    flat = nn.Sequential(nn.Flatten(), nn.Linear(500, 64), nn.ReLU(), nn.Linear(64, 3))
    few = nn.Sequential(nn.Linear(9, 64), nn.ReLU())
    encoder = nn.ModuleDict({"features": features, "flat": flat, "few": few})
    model = nn.ModuleDict({"deep": deep, "encoder": encoder})
    # Not the first layer of a decoder, nor a last one without activation.
    expected = {deep[2].weight: 32 / 64, deep[4].weight: 1.0, features[2].weight: 32 / 64}
    # Of the encoder only a first layer that reads the rows themselves; at least a quarter.
    expected |= {features[0].weight: 0.25, few[0].weight: 1.0}
    assert rates_of(model, encoder) == expected
    features[0] = nn.Linear(20, 64)
    assert rates_of(model, encoder)[features[0].weight] == 16 / 20


def test_an_optimizer_that_is_restarted_is_a_new_one():
    net, other = network(), network()
    optimizer = train(net, 20, optimizer=Adam(net.parameters(), 0.01, average=True))
    net.load_state_dict(other.state_dict())
    optimizer.restart()
    train(net, 20, optimizer=optimizer)
    new = train(other, 20, optimizer=Adam(other.parameters(), 0.01, average=True))
    assert_close(net.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert_close(optimizer.averages.state(), new.averages.state(), rtol=0, atol=0)
    assert_close(optimizer.state(), new.state(), rtol=0, atol=0)


# -- Adam alone ------------------------------------------------------------------------------


def test_a_step_is_the_equation():
    # Kingma and Ba (2015), algorithm 1, on a number
    parameter, gradients = nn.Parameter(torch.tensor([1.0])), [0.3, -0.2, 0.5]
    optimizer = Adam([parameter], 0.1)
    x, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        optimizer.step([torch.tensor([g])])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert parameter.item() == pytest.approx(x, rel=1e-6)


def test_using_it_does_not_import_the_compiler():
    code = (
        "import sys, torch; from skvae._fit.optimizer import Adam;"
        "p = torch.nn.Parameter(torch.ones(3));"
        "Adam([p], 0.1).step([torch.ones(3)]);"
        "assert p[0] < 1; print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_frozen_parameters_stay():
    net = network()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    assert len(train(net, 3).parameters) == 3
    assert_close(net[0].weight, before, rtol=0, atol=0)


def test_training_goes_on_from_a_state():
    whole, halves = network(), network()
    train(whole, 20)
    first = train(halves, 10)
    second = Adam(halves.parameters(), 0.01)
    second.load(first.state())
    for step in range(10, 20):
        loss = squared_error(halves, normal(16, 4, seed=100 + step))
        second.step(torch.autograd.grad(loss, second.parameters))
    assert_close(halves.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_loaded_state_is_a_copy():
    net = network()
    first, second = train(net, 5), Adam(net.parameters(), 0.01)
    second.load(first.state())
    before = [tensor.clone() for tensor in first.means]
    train(net, 5, optimizer=second)
    assert_close(first.means, before, rtol=0, atol=0)


# -- averages of the weights -----------------------------------------------------------------


def test_averages_of_a_short_training_weigh_a_step_by_a_power_of_its_number():
    # Shamir and Zhang (2013): step i of n has the share C(i + 8, 8) / C(n + 9, 9)
    weight, n_steps = torch.zeros(1), 30
    averages, values = Averages([weight]), normal(n_steps)
    for value in values:
        weight.copy_(value)
        averages.update()
    shares = [math.comb(i + 8, 8) / math.comb(n_steps + 9, 9) for i in range(1, n_steps + 1)]
    assert averages.values[0].item() == pytest.approx(np.dot(shares, values.numpy()), rel=1e-5)


# At first a tenth of the training; in the end every fourth step has the share 0.08, so that the
# mean age is 4 (1 / 0.08 - 1).
@pytest.mark.parametrize(("n_steps", "age", "error"), [(400, 40, 4), (5000, 46, 1e-6)])
def test_averages_reach_back_a_tenth_and_at_most_fifty_steps(n_steps, age, error):
    weight = torch.zeros(1, dtype=torch.double)
    averages = Averages([weight])
    for number in range(1, n_steps + 1):
        weight.fill_(number)
        averages.update()
    assert averages.values[0].item() == pytest.approx(n_steps - age, abs=error)


def test_averages_leave_the_weights_alone():
    net, other = network(), network()
    train(other, 20)
    optimizer = Adam(net.parameters(), 0.01, average=True)
    train(net, 20, optimizer=optimizer)
    assert_close(net.state_dict(), other.state_dict(), rtol=0, atol=0)
    copied = optimizer.averages.copied_into(net)
    assert_close(list(copied.parameters()), [nn.Parameter(v) for v in optimizer.averages.values])
    assert not torch.allclose(copied[0].weight, net[0].weight, atol=1e-3)
    train(copied, 1)
    assert not torch.equal(copied[0].weight, optimizer.averages.values[0])


def test_a_copy_with_averages_keeps_what_is_frozen():
    net = network()
    net[0].weight.requires_grad_(False)
    optimizer = Adam(net.parameters(), 0.01, average=True)
    train(net, 3, optimizer=optimizer)
    copied = optimizer.averages.copied_into(net)
    assert_close(copied[0].weight, net[0].weight, rtol=0, atol=0)
    assert not copied[0].weight.requires_grad


def test_averages_go_on_from_a_state():
    weight = torch.zeros(1)
    whole, first = Averages([weight]), Averages([weight])
    second = Averages([weight])
    for number, value in enumerate(normal(20)):
        weight.copy_(value)
        whole.update()
        if number == 10:
            second.load(first.state())
        (second if number >= 10 else first).update()
    assert_close(second.values, whole.values, rtol=0, atol=0)


# -- an epoch ------------------------------------------------------------------------------


class NoSteps:
    def __init__(self, parameters):
        self.parameters, self.n_steps = list(parameters), 0

    def step(self, gradients):
        self.n_steps += 1


@pytest.mark.parametrize("n_batches", [1, 64, 65, 200])
def test_a_running_mean_is_the_mean_over_all_rows(n_batches):
    rng = np.random.RandomState(0)
    values, sizes = rng.standard_normal((n_batches, 3)), rng.randint(1, 9, n_batches)
    mean = RunningMean()
    for value, size in zip(torch.from_numpy(values), sizes.tolist(), strict=True):
        mean.add(value, size)
        assert len(mean.waiting) < RunningMean.n_together  # what waits is bounded
    expected = np.average(values, axis=0, weights=sizes)
    np.testing.assert_allclose(mean.value().numpy(), expected, rtol=1e-12)


def test_steps_move_down():
    net = network()
    optimizer = train(net, 40)
    x = normal(64, 4, seed=7)
    assert squared_error(net, x) < 0.7 * squared_error(network(), x)
    assert optimizer.n_steps == 40
