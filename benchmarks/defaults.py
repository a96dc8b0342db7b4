"""Does a fit without settings end where the best choice of length and learning rate would?

For each data set: the default fit, a blind 200 epochs, and the best held-out bound over a grid of
lengths and learning rates, which nobody could choose without looking at the held-out rows. Then
the linear model beside factor analysis, which is its exact answer. Gaussian columns are brought
to variance 1; bounds are importance bounds of held-out rows in nats, means over seeds.

    python benchmarks/defaults.py [--seeds 3] [--tau 0.1] [--data wine iris] [--only nets linear]
                                  [--posterior moment gaussian] [--grid wine patches]
                                  [--lengths 50 200 1000] [--rates 1e-3 3e-3]

With --sentences, the text estimator on sentences that `text.py` reads. Every seed takes the next
--n-sentences of them to train on; the held-out ones are always the same:

    python benchmarks/defaults.py --sentences yelp [--n-sentences 10000] [--lengths 4 8 16]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from pathlib import Path

import numpy as np
import text
from averages import split
from gamma import breast_cancer, digits, patches, wine
from moments import gene_counts, images, pixel_counts
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae.diagnostics import PosteriorCollapseWarning

LENGTHS = 50, 100, 200, 400, 1_000
RATES = 3e-4, 1e-3, 3e-3, 1e-2


def iris():
    return *load_iris(return_X_y=True), dict(n_components=2)


def diabetes():
    return *load_diabetes(return_X_y=True), dict(n_components=3)


def generated(n_samples=100_000, n_features=30):
    """A curved surface of six dimensions with noise of all sizes."""
    rng = np.random.default_rng(0)
    hidden = np.tanh(rng.normal(size=(n_samples, 6)) @ rng.normal(size=(6, 40)) * 0.7)
    noise = rng.normal(size=(n_samples, n_features)) * rng.uniform(0.1, 0.6, size=n_features)
    return hidden @ rng.normal(size=(40, n_features)) / 4 + noise, None, dict(n_components=8)


DATA = {
    data.__name__: data
    for data in (
        iris,
        wine,
        breast_cancer,
        diabetes,
        digits,
        gene_counts,
        pixel_counts,
        patches,
        images,
        generated,
    )
}
GRID = "iris", "wine", "breast_cancer", "diabetes", "digits"  # of the others it takes hours


def fit(data, seed, **parameters):
    """Held-out bound, steps and processor seconds of a fit."""
    X, _, settings = data
    train, test = split(X, settings, seed)
    vae = BNVAEEstimator(random_state=seed).set_params(**settings).set_params(**parameters)
    start = time.process_time()
    vae.fit(train)
    seconds = time.process_time() - start
    n_steps = vae.n_iter_ * -(-len(train) // vae._batch_size(len(train)))
    return vae.score_samples(test, 64).mean(), n_steps, seconds


def mean(data, seeds, **parameters):
    return np.mean([fit(data, seed, **parameters) for seed in range(seeds)], axis=0)


def on_nets(options):
    print(f"{'':16}{'posterior':10}{'default':>9}{'steps':>8}{'s':>7}{'200':>9}{'best':>9}  by")
    for name in options.data:
        data = DATA[name]()
        for posterior in options.posterior:
            fixed = dict(posterior=posterior, tau=options.tau)
            bound, n_steps, seconds = mean(data, options.seeds, **fixed)
            cells = f"{name:16}{posterior:10}{bound:9.2f}{n_steps:8.0f}{seconds:7.1f}"
            if name in options.grid:
                blind = mean(data, options.seeds, max_iter=200, **fixed)[0]
                grid = {
                    (length, rate): mean(
                        data, options.seeds, max_iter=length, learning_rate=rate, **fixed
                    )[0]
                    for length in options.lengths
                    for rate in options.rates
                }
                length, rate = max(grid, key=grid.get)
                cells += f"{blind:9.2f}{grid[length, rate]:9.2f}  {length} epochs, {rate:g}"
            print(cells, flush=True)


def on_linear(options):
    print(f"\n{'linear':16}{'factors':>8}{'default':>9}{'exact':>9}  each seed, ours and exact")
    tables = dict(iris=load_iris, wine=load_wine, breast_cancer=load_breast_cancer)
    for name, load in tables.items():
        for n_factors in (2, 4) if name != "iris" else (2,):
            data = *load(return_X_y=True), dict(n_components=n_factors, hidden_layer_sizes=())
            ours, exact = [], []
            for seed in range(options.seeds):
                train, test = split(data[0], data[2], seed)
                ours.append(fit(data, seed, tau=options.tau)[0])
                exact.append(FactorAnalysis(n_factors).fit(train).score(test))
            pairs = ", ".join(f"{a:.2f} {b:.2f}" for a, b in zip(ours, exact, strict=True))
            cells = f"{name:16}{n_factors:8}{np.mean(ours):9.2f}{np.mean(exact):9.2f}"
            print(f"{cells}  {pairs}", flush=True)


def on_sentences(options):
    n_train = options.n_sentences
    sentences, y = text.read(options.sentences)
    _, _, test, _ = text.split(sentences, y, n_train)

    def fitted(seed, **parameters):
        train = sentences[n_train * seed : n_train * (seed + 1)]
        model = BNVAETextEstimator(32, tokenizer=str.split, min_df=5, max_length=text.WORDS)
        model.set_params(tau=options.tau, random_state=seed, **parameters).fit(train)
        n_steps = model.n_iter_ * -(-len(train) // model._batch_size(len(train)))
        return model.score_samples(test[:1_000], 32).mean(), n_steps

    def row(name, **parameters):
        found = np.array([fitted(seed, **parameters) for seed in range(options.seeds)])
        bound, n_steps = found.mean(0)
        each = ", ".join(f"{one:.2f}" for one in found[:, 0])
        print(f"{name:24}{bound:9.2f}{n_steps:8.0f}  {each}", flush=True)

    print(f"{n_train:,} sentences{'':9}{'bound':>9}{'steps':>8}  each seed")
    row("default")
    for length in options.lengths:
        for rate in options.rates:
            row(f"{length} epochs, {rate:g}", max_iter=length, learning_rate=rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tau", type=float, default=0.1)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--grid", nargs="*", choices=DATA, default=GRID)
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, help="epochs")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--posterior", nargs="+", default=["moment", "gaussian"])
    parts = {"nets": on_nets, "linear": on_linear}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--sentences", type=Path, help="folder of the two files of `text.py`")
    parser.add_argument("--n-sentences", type=int, default=10_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)
    if options.sentences:
        on_sentences(options)
        return
    for name in options.only:
        parts[name](options)


if __name__ == "__main__":
    main()
