"""Counts under likelihoods of counts, and under the Gaussian.

Held-out importance bounds on the log-probability of the counts, nats per row. To make a density of
real numbers comparable, the Gaussian is trained on ``x + u`` and scored on ``x' + u``, with u
uniform between -1/2 and 1/2: the mean of ``log p(x + u)`` is at most the log-probability of x.

    python benchmarks/counts.py [--seeds 3]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator

LIKELIHOODS = ("gaussian", "student_t", "poisson", "negative_binomial")


def genes(seed, n_samples=1500, n_genes=60):
    """Counts of genes in cells of five kinds and three processes, over-dispersed."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(5, n_genes))[rng.integers(5, size=n_samples)]
    processes = 0.5 * rng.normal(size=(n_samples, 3)) @ rng.normal(size=(3, n_genes))
    depth = rng.normal(scale=0.4, size=(n_samples, 1))
    rates = np.exp(rng.normal(0.5, 1.0, n_genes) + kinds + processes + depth)
    return rng.poisson(rates * rng.gamma(2.0, 0.5, rates.shape)).astype(float)


def pixels(seed):
    """Digits: in each pixel the ink of 4 by 4 finer ones."""
    return load_digits().data


def score(X, X_test, likelihood, seed):
    if likelihood in ("gaussian", "student_t"):
        rng = np.random.default_rng(seed)
        X, X_test = (x + rng.uniform(-0.5, 0.5, x.shape) for x in (X, X_test))
    model = BNVAEEstimator(8, tau=0.3, likelihood=likelihood, max_iter=60, random_state=seed)
    return model.fit(X).score(X_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for load in (genes, pixels):
        for likelihood in LIKELIHOODS:
            scores = []
            for seed in range(options.seeds):
                X, X_test = train_test_split(load(seed), test_size=0.25, random_state=seed)
                scores.append(score(X, X_test, likelihood, seed))
            name = f"{load.__name__}, {likelihood}"
            print(f"{name:28}{np.mean(scores):10.2f} ±{np.std(scores):5.2f}", flush=True)


if __name__ == "__main__":
    main()
