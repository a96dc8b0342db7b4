"""Where should gamma come from? Three answers on four data sets.

The moment posterior ties the scales of mean and noise by one number a component, theta. It can
be a parameter at the pace of all others, one at ten times that pace, or be read off the heads
as their signal-to-noise ratio. Same network, same batches, several seeds; held-out numbers.

    python benchmarks/gamma.py [--seeds 3] [--epochs 60]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_image, load_wine
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import BNVAEEstimator
from skvae.posteriors import MomentPosterior


class SlowTheta(MomentPosterior):
    """Theta at the pace of the other parameters, as in the article."""

    theta_pace = 1.0


POSTERIORS = {
    "plain VAE": "gaussian",
    "theta": partial(SlowTheta, gamma="theta"),
    "theta x10": partial(MomentPosterior, gamma="theta"),
    "heads": "moment",
}


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y, dict(n_components=16, likelihood="bernoulli", hidden_layer_sizes=(256, 256))


def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return X, y, dict(n_components=8, hidden_layer_sizes=(64,))


def wine():
    X, y = load_wine(return_X_y=True)
    return X, y, dict(n_components=4, hidden_layer_sizes=(64,))


def patches():
    grey = load_sample_image("china.jpg").mean(-1) / 255
    X = extract_patches_2d(grey, (8, 8), max_patches=6000, random_state=0).reshape(6000, 64)
    return X, None, dict(n_components=16, hidden_layer_sizes=(256, 256))


def measure(X, y, settings, posterior, tau, epochs, seed):
    """Held-out ELBO, importance bound, rate and 5-NN accuracy of one fit."""
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    model = BNVAEEstimator(
        posterior=posterior,
        tau=tau,
        max_iter=epochs,
        random_state=seed,
        **settings,
    ).fit(X[train])
    elbo = model.score_samples(X[test], 64, bound="elbo").mean()
    bound = model.score_samples(X[test], 64).mean()
    accuracy = np.nan
    if y is not None:
        knn = KNeighborsClassifier(5).fit(model.transform(X[train]), y[train])
        accuracy = knn.score(model.transform(X[test]), y[test])
    return elbo, bound, model.kl_per_component_.sum(), accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    for data, epochs in ((digits, 1), (breast_cancer, 5), (wine, 10), (patches, 1)):
        X, y, settings = data()
        for tau in (0.1, 0.3, 0.5):
            print(f"\n{data.__name__}, {X.shape[0]} x {X.shape[1]}, tau {tau}")
            print(f"{'gamma from':12}{'ELBO':>16}{'importance':>16}{'rate':>8}{'5-NN':>8}")
            for name, posterior in POSTERIORS.items():
                runs = np.array(
                    [
                        measure(X, y, settings, posterior, tau, epochs * args.epochs, seed)
                        for seed in range(args.seeds)
                    ]
                )
                mean, std = runs.mean(0), runs.std(0)
                print(
                    f"{name:12}{mean[0]:9.2f} ±{std[0]:5.2f}{mean[1]:9.2f} ±{std[1]:5.2f}"
                    f"{mean[2]:8.2f}{mean[3]:8.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
