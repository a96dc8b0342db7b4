"""What a training step costs, in multiples of the matrix products it cannot do without.

Three things take turns in one process: the products of the network alone (forward, and both
gradients of the backward pass), an epoch of skvae, and an epoch of the loop that one would
write by hand (DataLoader, torch.optim.Adam, loss.item()). Ratios are medians over the rounds.

    python benchmarks/step.py [--device cuda] [--rounds 15]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skvae import BNVAEEstimator

SHAPES = {
    "64-256-256-16, batch 128": (64, (256, 256), 16, 128, 12_800),
    "20-64-8, batch 200": (20, (64,), 8, 200, 20_000),
    "784-500-500-32, batch 128": (784, (500, 500), 32, 128, 2_560),
}


class HandWritten(nn.Module):
    """The plain VAE of many a tutorial."""

    def __init__(self, n_features, hidden, d):
        super().__init__()
        sizes = [n_features, *hidden]
        self.encoder = nn.Sequential(*_layers(sizes))
        self.loc, self.log_variance = nn.Linear(sizes[-1], d), nn.Linear(sizes[-1], d)
        self.decoder = nn.Sequential(*_layers([d, *hidden[::-1]]), nn.Linear(sizes[1], n_features))

    def loss(self, x):
        h = self.encoder(x)
        loc, log_variance = self.loc(h), self.log_variance(h)
        z = loc + torch.randn_like(loc) * torch.exp(0.5 * log_variance)
        reconstruction = 0.5 * (self.decoder(z) - x).square().sum()
        kl = 0.5 * (loc.square() + log_variance.exp() - log_variance - 1).sum()
        return (reconstruction + kl) / len(x)


def _layers(sizes):
    pairs = itertools.pairwise(sizes)
    return [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())]


def products(n_features, hidden, d, batch_size, device):
    """One step's matrix products on random numbers, as a function to call."""
    up, down = [n_features, *hidden, 2 * d], [d, *hidden[::-1], n_features]
    operands = []
    for sizes in (up, down):
        for a, b in itertools.pairwise(sizes):
            x, w, g = (
                torch.randn(s, device=device) for s in ((batch_size, a), (b, a), (batch_size, b))
            )
            operands.append((x, w, g))

    def step():
        for i, (x, w, g) in enumerate(operands):
            x @ w.T
            g.T @ x
            if i:  # nothing asks for the gradient of the data
                g @ w

    return step


def seconds(function, device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(shape, posterior, device, rounds):
    """Seconds a step of the products, skvae and the loop by hand, one row a round."""
    n_features, hidden, d, batch_size, n_rows = shape
    X = np.random.RandomState(0).randn(n_rows, n_features).astype(np.float32)
    n_steps = n_rows // batch_size
    floor = products(n_features, hidden, d, batch_size, device)

    estimator = BNVAEEstimator(
        d, hidden_layer_sizes=hidden, batch_size=batch_size, posterior=posterior, device=device
    )
    fit = estimator._prepare(X, None, device, n_epochs=1)

    by_hand = HandWritten(n_features, hidden, d).to(device)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=batch_size, shuffle=True)

    def epoch_by_hand():
        total = 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            loss = by_hand.loss(x.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    def epoch_of_products():
        for _ in range(n_steps):
            floor()

    runs = (epoch_of_products, fit.epoch, epoch_by_hand)
    for run in runs:
        run()
    return np.array([[seconds(run, device) / n_steps for run in runs] for _ in range(rounds)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} thread(s)\n")
    print(f"{'':28}{'posterior':12}{'products':>10}{'skvae':>9}{'by hand':>9}")
    for name, shape in SHAPES.items():
        for posterior in ("gaussian", "moment"):
            times = measure(shape, posterior, device, options.rounds)
            skvae, hand = np.median(times[:, 1:] / times[:, :1], axis=0)
            floor = 1e3 * np.median(times[:, 0])
            print(f"{name:28}{posterior:12}{floor:7.2f} ms{skvae:8.2f}x{hand:8.2f}x", flush=True)


if __name__ == "__main__":
    main()
