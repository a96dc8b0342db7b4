"""How long a default fit takes to be as good as 60 epochs of other libraries.

pythae, skorch and a loop written by hand train a plain VAE for 60 epochs in their usual way: Adam
at 1e-3, batches of 128, a constant rate, the last weights. BNVAEEstimator trains the same network
on the same rows with its defaults, as a plain VAE and with its default posterior at tau 0.1; early
stopping sets a tenth of those rows aside, as always. After every epoch the same code takes the ELBO
of the same held-out rows with the same noise. The clock counts processor seconds of one thread,
from the array of rows on, and stands still meanwhile. It counts what it takes to finish the model
at that epoch: an ELBO of ours is that of the estimator if the fit ended there. "by hand, 3e-3" is
the loop at the default step size of BNVAEEstimator, to see how much that alone does.

    python benchmarks/time_to_quality.py [--seeds 1] [--epochs 60] [--only images digits]
                                         [--output curves.png]

Peers that are not installed are left out; speed.py says how to install them.
"""

import argparse
import math
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from functools import partial
from operator import itemgetter

import moments
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from speed import PEERS, HandWritten, by_hand, peers
from torch.nn import functional as F

from skvae import BNVAEEstimator
from skvae._fit.training import Training
from skvae.diagnostics import PosteriorCollapseWarning

BATCH_SIZE = 128
DEFAULT_FITS = {"skvae, plain": "gaussian", "skvae, moment": "moment"}


class Binary(HandWritten):
    """The plain VAE of many a tutorial, for binary values and gray levels."""

    loss_in_pythae = "bce"

    def distortion(self, outputs, x):
        return F.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(-1)

    def mean(self, outputs):
        return outputs.sigmoid()


def images():
    X, _, settings = moments.images()
    return X, settings["hidden_layer_sizes"], settings["n_components"]


def digits():
    return load_digits().data / 16, (128,), 10


DATA = {"images": images, "digits": digits}


class Judge:
    """The clock of a training, and its held-out ELBO after every epoch.

    `elapsed` are the processor seconds so far without those of the judge, and `curve` has a pair
    for every epoch: seconds and ELBO.
    """

    def __init__(self, held_out, n_draws=16):
        self.x, self.n_draws = torch.from_numpy(held_out), n_draws
        self.curve, self.elapsed = [], 0.0
        self.started = time.process_time()

    def note(self, finished):
        """Add the model that `finished` returns: functions for code and logits."""
        self.elapsed += time.process_time() - self.started
        start = time.process_time()
        posterior, logits = finished()
        finishing = time.process_time() - start
        self.curve.append((self.elapsed + finishing, self.elbo(posterior, logits)))
        self.started = time.process_time()

    @torch.no_grad()
    def elbo(self, posterior, logits):
        loc, scale = posterior(self.x)
        kl = 0.5 * (loc.square() + scale.square() - 1) - scale.log()
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for _ in range(self.n_draws):
            outputs = logits(loc + scale * torch.randn(loc.shape, generator=generator))
            total += (self.x * outputs - F.softplus(outputs)).sum(-1).mean().item()
        return total / self.n_draws - kl.sum(-1).mean().item()


def peer(build, X, held_out, hidden, d, seed, n_epochs):
    """The curve of the epochs of a peer."""
    judge = Judge(held_out)
    torch.manual_seed(seed)
    module = Binary(X.shape[1], hidden, d)
    shape = (X.shape[1], hidden, d, BATCH_SIZE, len(X))
    epoch = build(shape, X, torch.device("cpu"), module)

    def posterior(x):
        h = module.encoder(x)
        return module.loc(h), torch.exp(0.5 * module.log_variance(h))

    for _ in range(n_epochs):
        epoch()
        judge.note(lambda: (posterior, module.decoder))
    return judge.curve


def ours(name, X, held_out, hidden, d, seed):
    """The curve of the default fit with a posterior, with the whole fit as its last point."""
    judge = Judge(held_out)

    class JudgedTraining(Training):
        def settle_if_no_better(self):
            super().settle_if_no_better()
            judge.note(lambda: parts(self.ended_here()))

        def ended_here(self):
            """The model of a fit whose limit is the present epoch: that epoch is always scored."""
            before = self.stopping.state()
            if not self.settled and math.isnan(self.scores[-1]):
                self.should_stop()
                self.scores.pop()
            module = self.finished().module
            self.stopping.load(before)
            return module

    class Judged(BNVAEEstimator):
        _training_type = JudgedTraining

    vae = Judged(d, likelihood="bernoulli", hidden_layer_sizes=hidden, tau=0.1)
    vae.set_params(posterior=name, random_state=seed).fit(X)
    judge.note(lambda: parts(vae.module_))
    return judge.curve


def parts(module):
    """The functions for code and logits of one of our modules, in float32."""
    module = module.float().eval()

    def posterior(x):
        q = module.posterior(x)
        return q.loc, q.scale

    return posterior, lambda z: module.decoder(z) + module.likelihood_layer.bias


def first_reach(curve, elbo):
    """Seconds after which a curve first reaches an ELBO; infinite if never."""
    return next((seconds for seconds, found in curve if found >= elbo), np.inf)


def run(data, seed, n_epochs):
    """The curves of all, by name."""
    X, hidden, d = DATA[data]()
    X, held_out = train_test_split(X.astype(np.float32), test_size=0.25, random_state=seed)
    print(f"\n{data}, seed {seed}: {len(X):,} rows, {X.shape[1]} pixels, hidden {hidden}, code {d}")
    contenders = {"by hand": by_hand, "by hand, 3e-3": partial(by_hand, learning_rate=3e-3)}
    contenders |= peers()
    for build in contenders.values():  # the first steps of all load what later ones find
        peer(build, X[:BATCH_SIZE], held_out[:1], hidden, d, seed, n_epochs=1)
    BNVAEEstimator(2, likelihood="bernoulli", max_iter=1).fit(X[:BATCH_SIZE])
    found = {}
    for name, build in contenders.items():
        found[name] = peer(build, X, held_out, hidden, d, seed, n_epochs)
    for name, posterior in DEFAULT_FITS.items():
        found[name] = ours(posterior, X, held_out, hidden, d, seed)
    return found


def print_comparison(curves):
    """One line for each contender: its end, its best, and when ours are as good as its end."""
    print(f"{'':16}{'ELBO':>9}{'seconds':>9}{'best':>10}{'at':>8}", end="")
    print("".join(f"{name + ' at':>18}{'ratio':>7}" for name in DEFAULT_FITS))
    for name, curve in curves.items():
        end, (at, best) = curve[-1], max(curve, key=itemgetter(1))
        line = f"{name:16}{end[1]:9.2f}{end[0]:8.2f}s{best:10.2f}{at:7.2f}s"
        if name not in DEFAULT_FITS:
            for fit in DEFAULT_FITS:
                seconds = first_reach(curves[fit], end[1])
                line += f"{seconds:17.2f}s{end[0] / seconds:6.1f}x"
        print(line, flush=True)


def print_curves(curves, n_times=10):
    """The ELBO of what was finished at some times, which grow by a constant factor."""
    longest = max(curve[-1][0] for curve in curves.values())
    first = max(curve[0][0] for curve in curves.values())
    print(f"{'seconds':>9}" + "".join(f"{name:>15}" for name in curves))
    for time_ in np.geomspace(first, longest, n_times):
        cells = []
        for curve in curves.values():
            # One that ended earlier keeps the ELBO of its end.
            cells.append([elbo for seconds, elbo in curve if seconds <= time_ * 1.0001][-1])
        print(f"{time_:9.2f}" + "".join(f"{elbo:15.2f}" for elbo in cells), flush=True)


def print_summary(data, every, n_epochs):
    """Means over seeds: time of a peer, and time until ours are as good as its end."""
    print(f"\n{data}, mean seconds over {len(every)} seeds")
    print(
        f"{'':16}{f'{n_epochs} epochs':>11}" + "".join(f"{n:>16}{'ratio':>7}" for n in DEFAULT_FITS)
    )
    for name in every[0]:
        if name in DEFAULT_FITS:
            continue
        ends = [curves[name][-1] for curves in every]
        line = f"{name:16}{np.mean([seconds for seconds, _ in ends]):10.2f}s"
        for fit in DEFAULT_FITS:
            pairs = zip(every, ends, strict=True)
            times = np.array([first_reach(curves[fit], end[1]) for curves, end in pairs])
            ratio = np.median([end[0] for end in ends] / times)
            line += f"{times.mean():15.2f}s{ratio:6.1f}x"
        print(line, flush=True)


def draw(found, path):
    """A picture of the curves of the first seed, a panel for each data set."""
    import matplotlib.pyplot as plt

    _, panels = plt.subplots(1, len(found), figsize=(6 * len(found), 4), squeeze=False)
    for panel, (data, every) in zip(panels[0], found.items(), strict=True):
        for name, curve in every[0].items():
            panel.plot(*zip(*curve, strict=True), label=name)
        ends = [elbo for curve in every[0].values() for _, elbo in curve[-1:]]
        panel.set(title=data, xscale="log", xlabel="processor seconds", ylabel="held-out ELBO")
        panel.set_ylim(min(ends) - 10, max(ends) + 2)
        panel.legend()
    plt.savefig(path, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60, help="epochs of all but the default fits")
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--output", help="where to save a picture of the curves, with matplotlib")
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    torch.set_num_threads(1)
    absent = sorted(set(PEERS) - set(peers()))
    print(f"torch {torch.__version__}; not installed and left out: {', '.join(absent) or 'none'}")
    found = {}
    for data in options.only:
        found[data] = []
        for seed in range(options.seeds):
            curves = run(data, seed, options.epochs)
            print_comparison(curves)
            print_curves(curves)
            found[data].append(curves)
        print_summary(data, found[data], options.epochs)
    if options.output:
        draw(found, options.output)


if __name__ == "__main__":
    main()
