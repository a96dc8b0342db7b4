"""All remedies against KL vanishing and all posteriors, on equal terms.

Same networks, same batches, same number of epochs, several seeds; held-out numbers, mean and
spread. "time" is that of a shorter fit in multiples of the plain VAE's, the two in turn: processor
time on one thread, median over the rounds and half the distance between the quartiles.

    python benchmarks/remedies.py [--seeds 3] [--data digits sequences]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings

import numpy as np
from lagging import LaggingVAE
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator, PosteriorCollapseWarning
from skvae.objectives import FreeBits

REMEDIES = {
    "plain VAE": {"posterior": "gaussian"},
    "beta 0.4": {"posterior": "gaussian", "beta": 0.4},
    "linear annealing": {"posterior": "gaussian", "objective": "linear-annealing"},
    "cyclical annealing": {"posterior": "gaussian", "objective": "cyclical-annealing"},
    "free bits 0.25 each": {"posterior": "gaussian", "objective": FreeBits(0.25)},
    "free bits 4 in all": {"posterior": "gaussian", "objective": FreeBits(4.0, per="code")},
    "lagging encoder": {"posterior": "gaussian", "type": LaggingVAE},
    "delta, tau 0.3": {"posterior": "delta", "tau": 0.3},
    "layer norm, tau 0.5": {"posterior": "layernorm", "tau": 0.5},
    "BN mean, gamma 0.6": {"posterior": "batchnorm-mean", "tau": 0.36},
    "BN mean, gamma 0.7": {"posterior": "batchnorm-mean", "tau": 0.49},
    "article, tau 0.5": {"posterior": "batchnorm", "tau": 0.5},
    "moment, tau 0.1": {"posterior": "moment", "tau": 0.1},
    "moment, tau 0.3": {"posterior": "moment", "tau": 0.3},
    "moment, tau 0.5": {"posterior": "moment", "tau": 0.5},
}
COLUMNS = ("ELBO", "bound", "rate", "MI", "active", "shuffled", "probe", "time")


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def sequences():
    """24 symbols out of 6, one-hot, from one of 8 faint Markov chains: mostly noise."""
    rng = np.random.RandomState(0)
    chains = rng.dirichlet(np.full(6, 3.0), size=(8, 6)).cumsum(-1)
    y = rng.randint(8, size=2400)
    symbols = np.zeros((2400, 24), dtype=int)
    symbols[:, 0] = rng.randint(6, size=2400)
    for t in range(1, 24):
        symbols[:, t] = (rng.rand(2400, 1) > chains[y, symbols[:, t - 1]]).sum(1).clip(max=5)
    return np.eye(6)[symbols].reshape(2400, -1), y


def model_of(settings, seed, max_iter=60):
    settings = dict(settings)
    return settings.pop("type", BNVAEEstimator)(
        16,
        likelihood="bernoulli",
        hidden_layer_sizes=(256, 256),
        batch_size=128,
        max_iter=max_iter,
        random_state=seed,
        **settings,
    )


def time_ratio(X, settings, rounds=9):
    """Time of a fit in multiples of the plain VAE's: median, and half the quartiles' distance."""
    times = np.zeros((rounds, 2))
    for turn in times:
        for k, one in enumerate((REMEDIES["plain VAE"], settings)):
            model = model_of(one, 0, max_iter=15)
            start = time.process_time()
            model.fit(X)
            turn[k] = time.process_time() - start
    low, median, high = np.percentile(times[:, 1] / times[:, 0], [25, 50, 75])
    return median, (high - low) / 2


def measure(X, y, settings, seed):
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    model = model_of(settings, seed).fit(X)
    found = model.diagnose(X_test, n_draws=128)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(model.transform(X), y)
    return (
        found.elbo,
        found.importance_bound,
        found.rate,
        found.mutual_information,
        found.active_units,
        found.shuffled_gap,
        probe.score(model.transform(X_test), y_test),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=["digits", "sequences"])
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)  # it is what this is about
    for name in options.data:
        X, y = {"digits": digits, "sequences": sequences}[name]()
        print(f"\n{name}, {X.shape[0]} x {X.shape[1]}, means and standard deviations")
        print(f"{'':21}" + "".join(f"{column:>15}" for column in COLUMNS))
        for remedy, settings in REMEDIES.items():
            runs = [measure(X, y, settings, seed) for seed in range(options.seeds)]
            pairs = [*zip(np.mean(runs, 0), np.std(runs, 0), strict=True)]
            pairs.append(time_ratio(X, settings))
            cells = [f"{mean:9.2f} ±{spread:4.2f}" for mean, spread in pairs]
            print(f"{remedy:21}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
