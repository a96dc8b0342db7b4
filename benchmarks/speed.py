"""What training and encoding cost, as ratios within one run.

`step`: one training step in multiples of the matrix products that it cannot do without (forward,
and both gradients of the backward pass). In turn in one process: those products, skvae's plain VAE
and its default posterior, the loop that one would write by hand (DataLoader, torch.optim.Adam,
loss.item()), and pythae and skorch where they are installed. A step of skvae is what a fit of twice
as many epochs takes more. Ratios are medians over the rounds.
`transform`: the codes of many rows against the bare forward pass of the same network.
`rows`: seconds an epoch and peak memory over the data, from 1e3 to 1e6 rows.

    python benchmarks/speed.py [step transform rows] [--device cuda] [--rounds 15]

Peers go into an environment of their own, because they bring much with them:

    python -m venv .venv-peers
    .venv-peers/bin/python -m pip install -c constraints.txt -e . pythae==0.1.2 skorch==1.4.0
    .venv-peers/bin/python benchmarks/speed.py step
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skvae import BNVAEEstimator
from skvae.diagnostics import PosteriorCollapseWarning

SHAPES = {
    "64-256-256-16, batch 128": (64, (256, 256), 16, 128, 12_800),
    "20-64-8, batch 200": (20, (64,), 8, 200, 2_000),
    "784-500-500-32, batch 128": (784, (500, 500), 32, 128, 2_560),
}


class HandWritten(nn.Module):
    """The plain VAE of many a tutorial."""

    loss_in_pythae = "mse"

    def __init__(self, n_features, hidden, d):
        super().__init__()
        sizes = [n_features, *hidden]
        self.encoder = nn.Sequential(*_layers(sizes))
        self.loc, self.log_variance = nn.Linear(sizes[-1], d), nn.Linear(sizes[-1], d)
        self.decoder = nn.Sequential(*_layers([d, *hidden[::-1]]), nn.Linear(sizes[1], n_features))

    def forward(self, x):
        """The negative ELBO of every row, up to a constant."""
        h = self.encoder(x)
        loc, log_variance = self.loc(h), self.log_variance(h)
        z = loc + torch.randn_like(loc) * torch.exp(0.5 * log_variance)
        kl = 0.5 * (loc.square() + log_variance.exp() - log_variance - 1).sum(-1)
        return self.distortion(self.decoder(z), x) + kl

    def distortion(self, outputs, x):
        """The negative log-likelihood of every row, up to a constant."""
        return 0.5 * (outputs - x).square().sum(-1)

    def mean(self, outputs):
        """The mean of p(x|z)."""
        return outputs


def _layers(sizes):
    pairs = itertools.pairwise(sizes)
    return [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())]


def products(shape, X, device):
    """An epoch of the matrix products alone, on random numbers."""
    n_features, hidden, d, batch_size, n_rows = shape
    operands = []
    for sizes in ([n_features, *hidden, 2 * d], [d, *hidden[::-1], n_features]):
        for a, b in itertools.pairwise(sizes):
            shapes = (batch_size, a), (b, a), (batch_size, b)
            operands.append([torch.randn(s, device=device) for s in shapes])

    def epoch():
        for _ in range(n_rows // batch_size):
            for i, (x, w, g) in enumerate(operands):
                x @ w.T
                g.T @ x
                if i:  # nothing asks for the gradient of the data
                    g @ w

    return epoch


def ours(posterior, n_epochs=3):
    def build(shape, X, device):
        _, hidden, d, batch_size, _ = shape
        estimator = BNVAEEstimator(
            d, hidden_layer_sizes=hidden, batch_size=batch_size, posterior=posterior, device=device
        )

        def fit(factor):
            estimator.set_params(max_iter=factor * n_epochs).fit(X)

        def epoch():
            once, twice = (seconds(partial(fit, factor), device) for factor in (1, 2))
            return (twice - once) / n_epochs

        return epoch

    return build


def timed(build):
    """A function that returns the seconds of an epoch, from one that runs it."""
    return lambda shape, X, device: partial(seconds, build(shape, X, device), device)


def by_hand(shape, X, device, module=None, learning_rate=1e-3):
    *sizes, batch_size, _ = shape
    module = (module or HandWritten(*sizes)).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=batch_size, shuffle=True)

    def epoch():
        total = 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            loss = module(x.to(device)).mean()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def with_skorch(shape, X, device, module=None):
    from skorch import NeuralNet

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return y_pred.mean()

    *sizes, batch_size, _ = shape
    net = Net(
        module or HandWritten(*sizes),
        criterion=nn.Identity,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        max_epochs=1,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
        device=str(device),
    )
    return lambda: net.partial_fit(X)


def with_pythae(shape, X, device, module=None):
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    n_features, hidden, d, batch_size, _ = shape
    net = module or HandWritten(n_features, hidden, d)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net, self.loc, self.log_variance = net.encoder, net.loc, net.log_variance

        def forward(self, x):
            h = self.net(x)
            return ModelOutput(embedding=self.loc(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.net = net.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=net.mean(self.net(z)))

    logging.disable(logging.INFO)
    config = VAEConfig((n_features,), d, reconstruction_loss=net.loss_in_pythae)
    model = VAE(config, Encoder(), Decoder())
    rows = torch.from_numpy(X)
    trainer = BaseTrainer(
        model,
        BaseDataset(rows, torch.zeros(len(rows))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(),
            num_epochs=1,
            learning_rate=1e-3,
            per_device_train_batch_size=batch_size,
            seed=torch.initial_seed() % 2**32,
            no_cuda=device.type != "cuda",
        ),
    )
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # no progress bar
    return lambda: trainer.train_step(1)


CONTENDERS = {
    "products": timed(products),
    "plain": ours("gaussian"),
    "moment": ours("moment"),
    "by hand": timed(by_hand),
}
PEERS = {"skorch": with_skorch, "pythae": with_pythae}


def seconds(function, device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peers():
    """Builders of those peers that are installed."""
    return {name: build for name, build in PEERS.items() if find_spec(name)}


def step(device, rounds):
    contenders = CONTENDERS | {name: timed(build) for name, build in peers().items()}
    print(f"{'a step, in multiples of':28}" + "".join(f"{name:>11}" for name in contenders))
    for name, shape in SHAPES.items():
        X = np.random.RandomState(0).randn(shape[-1], shape[0]).astype(np.float32)
        runs = [build(shape, X, device) for build in contenders.values()]
        for run in runs:
            run()
        times = np.array([[run() for run in runs] for _ in range(rounds)])
        floor = 1e3 * np.median(times[:, 0]) / (shape[-1] // shape[3])
        ratios = np.median(times / times[:, :1], axis=0)[1:]
        print(f"{name:28}{floor:8.2f} ms" + "".join(f"{r:10.2f}x" for r in ratios), flush=True)


def bare(module, x, device):
    with torch.no_grad():
        return [module.posterior(part).loc.cpu() for part in x.to(device).split(4096)]


def transform(device, rounds):
    print(f"{'transform of 50,000 rows':40}{'bare pass':>12}{'share of it':>14}")
    for name, (n_features, hidden, d, _, _) in SHAPES.items():
        X = np.random.RandomState(0).randn(50_000, n_features).astype(np.float32)
        estimator = BNVAEEstimator(d, hidden_layer_sizes=hidden, max_iter=1, device=device)
        module = estimator.fit(X[:1000]).module_
        runs = partial(bare, module, torch.from_numpy(X), device), partial(estimator.transform, X)
        times = np.array([[seconds(run, device) for run in runs] for _ in range(rounds)])
        share = np.median(times[1:, 0] / times[1:, 1])
        print(f"{name:40}{1e3 * np.median(times[:, 0]):9.1f} ms{share:14.2f}", flush=True)


def rows(device, rounds):
    print(f"{'rows of 64 columns':>20}{'data':>12}{'epoch':>12}{'a 1e3 rows':>12}{'peak':>12}")
    for n_rows in (1_000, 10_000, 100_000, 1_000_000):
        code = f"""
import resource, time, numpy as np
from skvae import BNVAEEstimator
X = np.random.default_rng(0).standard_normal(({n_rows}, 64), dtype=np.float32)
vae = BNVAEEstimator(16, hidden_layer_sizes=(64,), batch_size=256, device={str(device)!r})
vae.set_params(max_iter=1).fit(X[:500])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
vae.set_params(max_iter=2).fit(X)
seconds = (time.perf_counter() - start) / 2
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
        )
        epoch, peak = (float(word) for word in done.stdout.split())
        data = n_rows * 64 * 4 / 2**20
        print(
            f"{n_rows:20,}{data:9.1f} MB{epoch:10.2f} s{1e6 * epoch / n_rows:9.2f} ms"
            f"{peak / 1024:9.1f} MB",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"step": step, "transform": transform, "rows": rows}
    parser.add_argument("parts", nargs="*", default=list(parts), help="step, transform, rows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    device = torch.device(options.device)
    warnings.simplefilter("ignore", PosteriorCollapseWarning)  # there is nothing in noise
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} thread(s)")
    for part in options.parts:
        print()
        parts[part](device, options.rounds)


if __name__ == "__main__":
    main()
