"""Finished networks with running averages of their weights, and with the last weights.

First on the data sets of `gamma.py`: same fits, held-out ELBO and importance bound. Then what
batches do to a code that must be precise: the two linear components of the breast cancer table at
a tau of next to nothing, where factor analysis is the exact answer.

    python benchmarks/averages.py [--seeds 3] [--only data batches]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
from gamma import breast_cancer, digits, patches, wine
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator
from skvae.diagnostics import PosteriorCollapseWarning

EPOCHS = {digits: 60, breast_cancer: 120, wine: 240, patches: 40}
POSTERIORS = (("gaussian", 0.5), ("moment", 0.1))


def split(X, settings, seed):
    """Rows to train on and rows held out; numeric columns of variance 1."""
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    if "likelihood" in settings:
        return train, test
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def bounds(data, posterior, tau, average, seed):
    X, _, settings = data()
    train, test = split(X, settings, seed)
    vae = BNVAEEstimator(
        posterior=posterior, tau=tau, average=average, max_iter=EPOCHS[data], random_state=seed
    )
    vae.set_params(**settings).fit(train)
    return [vae.score_samples(test, 64, bound=name).mean() for name in ("elbo", "importance")]


def on_data(n_seeds):
    print(f"{'':32}{'ELBO':>16}{'importance':>22}")
    print(f"{'':32}{'last':>8}{'average':>10}{'last':>12}{'average':>10}")
    for data in EPOCHS:
        for posterior, tau in POSTERIORS:
            elbo, importance = np.mean(
                [
                    [bounds(data, posterior, tau, average, seed) for average in (False, True)]
                    for seed in range(n_seeds)
                ],
                axis=0,
            ).T
            name = posterior if posterior == "gaussian" else f"{posterior}, tau {tau}"
            cells = f"{elbo[0]:8.2f}{elbo[1]:10.2f}{importance[0]:12.2f}{importance[1]:10.2f}"
            print(f"{data.__name__:16}{name:16}{cells}", flush=True)


def on_batches(n_seeds, n_steps=4_000):
    X, _ = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(X, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    exact = FactorAnalysis(2).fit(train).score(test)
    print(f"\nfactor analysis, the exact answer: {exact:.2f}")
    sizes = (16, 32, 64, 128, len(train))
    print(f"{'batch_size':28}" + "".join(f"{size:9}" for size in sizes))
    for posterior in ("gaussian", "moment"):
        for average in (False, True):
            scores = []
            for size in sizes:
                vae = BNVAEEstimator(
                    2,
                    posterior=posterior,
                    tau=0.01,
                    hidden_layer_sizes=(),
                    learning_rate=3e-3,
                    average=average,
                    batch_size=size,
                    max_iter=round(n_steps * size / len(train)),
                )
                seeds = range(n_seeds)
                found = [vae.set_params(random_state=s).fit(train).score(test) for s in seeds]
                scores.append(np.mean(found))
            name = f"{posterior}, {'average' if average else 'last weights'}"
            print(f"{name:28}" + "".join(f"{score:9.2f}" for score in scores), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parts = {"data": on_data, "batches": on_batches}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    for name in options.only:
        parts[name](options.seeds)


if __name__ == "__main__":
    main()
