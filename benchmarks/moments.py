"""What the moments of a batch cost, and what running moments with the batch's gradient give back.

Four posteriors on the same rows and networks: the plain VAE, moments of the batch (as in plain
batch normalization), running moments with all of the batch's gradient, and the default, which
lets that gradient through only where the floor holds a component up. Held-out nats per row;
Gaussian columns are brought to variance 1. Then batches of all sizes in the linear case, where
factor analysis is the exact answer, and hostile settings, in which nothing may diverge.

    python benchmarks/moments.py [--seeds 3] [--tau 0.1] [--epochs 60] [--only data sizes hostile]
                                 [--posterior "running (default)"]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
from averages import split
from counts import genes, pixels
from gamma import breast_cancer, digits, patches, wine
from scipy.ndimage import affine_transform, zoom
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_image
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator
from skvae.diagnostics import PosteriorCollapseWarning
from skvae.posteriors import MomentPosterior


class OfTheBatch(MomentPosterior):
    """Plain batch normalization: values and gradient by the moments of the batch."""

    renormalized = False


class AllOfTheGradient(MomentPosterior):
    """Batch renormalization as in Ioffe (2017)."""

    def gradient_share(self, running, share):
        return 1.0


POSTERIORS = {
    "plain VAE": "gaussian",
    "moments of the batch": OfTheBatch,
    "running, all gradient": AllOfTheGradient,
    "running (default)": "moment",
}


def color_patches():
    image = load_sample_image("flower.jpg") / 255
    X = extract_patches_2d(image, (6, 6), max_patches=6000, random_state=0).reshape(6000, -1)
    return X, None, dict(n_components=16, hidden_layer_sizes=(256, 256))


def gene_counts():
    X = genes(0)
    return X, None, dict(n_components=8, likelihood="negative_binomial")


def pixel_counts():
    return pixels(0), None, dict(n_components=8, likelihood="negative_binomial")


def images(n_samples=4000):
    """Digits of 28 by 28 pixels, each turned, sheared, scaled and moved at random."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(X), size=n_samples)
    found = []
    for image in X[chosen].reshape(-1, 8, 8) / 16:
        large = np.clip(zoom(np.pad(image, 1), 2.8, order=3), 0, 1)
        turn = np.eye(2) + rng.normal(scale=0.12, size=(2, 2))
        center = np.array([13.5, 13.5])
        offset = center - turn @ center + rng.normal(scale=1.0, size=2)
        found.append(affine_transform(large, turn, offset, order=1).ravel())
    settings = dict(n_components=20, likelihood="bernoulli", hidden_layer_sizes=(256, 256))
    return np.clip(found, 0, 1), y[chosen], settings


DATA = (
    breast_cancer,
    wine,
    digits,
    gene_counts,
    pixel_counts,
    patches,
    color_patches,
    images,
)


def measure(data, posterior, tau, epochs, seed):
    """Held-out ELBO and importance bound, largest KL of a component, 5-NN accuracy of the code."""
    X, y, settings = data()
    rows, held_out = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    train, test = split(X, settings, seed)
    vae = BNVAEEstimator(posterior=posterior, tau=tau, max_iter=epochs, random_state=seed)
    vae.set_params(**settings).fit(train)
    elbo, bound = (vae.score_samples(test, 64, bound=b).mean() for b in ("elbo", "importance"))
    accuracy = np.nan
    if y is not None:
        knn = KNeighborsClassifier(5).fit(vae.transform(train), y[rows])
        accuracy = knn.score(vae.transform(test), y[held_out])
    return elbo, bound, vae.kl_per_component_.max(), accuracy


def on_data(options):
    print(f"{'tau ' + str(options.tau):38}{'ELBO':>8}{'bound':>9}{'KL max':>8}{'5-NN':>7}  bounds")
    for data in DATA:
        if options.data and data.__name__ not in options.data:
            continue
        for name in options.posterior:
            posterior = POSTERIORS[name]
            fixed = data, posterior, options.tau, options.epochs
            runs = [measure(*fixed, seed) for seed in range(options.seeds)]
            elbo, bound, largest, accuracy = np.mean(runs, axis=0)
            cells = f"{elbo:8.2f}{bound:9.2f}{largest:8.2f}{accuracy:7.3f}"
            each = " ".join(f"{run[1]:.2f}" for run in runs)
            print(f"{data.__name__:16}{name:22}{cells}  {each}", flush=True)


def linear_rows():
    X, _ = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(X, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def linear_score(posterior, rows, size, seed, learning_rate=3e-3, n_steps=4_000):
    train, test = rows
    vae = BNVAEEstimator(
        2,
        posterior=posterior,
        tau=0.01,
        hidden_layer_sizes=(),
        learning_rate=learning_rate,
        batch_size=size,
        max_iter=round(n_steps * size / len(train)),
        random_state=seed,
    )
    return vae.fit(train).score(test)


def on_sizes(options):
    rows = linear_rows()
    exact = FactorAnalysis(2).fit(rows[0]).score(rows[1])
    print(f"\nfactor analysis, the exact answer: {exact:.2f}")
    some = ["plain VAE", "running (default)"]
    for rate, sizes, names in (
        (3e-3, (8, 16, 32, 64, 128, len(rows[0])), POSTERIORS),
        (1e-2, (8, 16), some),
        (3e-2, (8, 16), some),
    ):
        print(f"{'batch_size, steps of ' + str(rate):34}" + "".join(f"{size:9}" for size in sizes))
        for name in (name for name in names if name in options.posterior):
            scores = [
                [linear_score(POSTERIORS[name], rows, s, k, rate) for k in range(options.seeds)]
                for s in sizes
            ]
            cells = "".join(f"{np.mean(score):9.2f}" for score in scores)
            print(f"{name:34}{cells}", flush=True)


def hostile(rng):
    """Tables of 40 rows that batches of 8 find hard."""
    X = rng.normal(size=(40, 6))
    yield "normal", X
    yield "duplicated", np.repeat(X[:4], 10, axis=0)
    yield "constant column", np.c_[X[:, :5], np.ones(40)]
    yield "heavy tails", rng.standard_t(1.1, size=(40, 6))
    yield "one row far out", np.r_[X[:39], 1e4 * X[39:]]


def on_hostile(options):
    print(f"\n{'bound on the training rows':34}{'tau':>6}" + f"{'plain VAE':>12}{'default':>12}")
    for name, X in hostile(np.random.default_rng(0)):
        for tau in (0.05, 0.95):
            scores = [
                BNVAEEstimator(
                    4,
                    posterior=posterior,
                    tau=tau,
                    batch_size=8,
                    learning_rate=1e-2,
                    max_iter=100,
                    random_state=0,
                )
                .fit(X)
                .score(X)
                for posterior in ("gaussian", "moment")
            ]
            print(f"{name:34}{tau:6}" + "".join(f"{s:12.2f}" for s in scores), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tau", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, help="of all fits; by default each finds its end")
    parts = {"data": on_data, "sizes": on_sizes, "hostile": on_hostile}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--data", nargs="+", help="names of data sets; all by default")
    parser.add_argument("--posterior", nargs="+", choices=POSTERIORS, default=list(POSTERIORS))
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in options.only:
        parts[name](options)


if __name__ == "__main__":
    main()
