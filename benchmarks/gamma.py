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

from skvae import BNVAEEstimator
from skvae.posteriors import MomentPosterior


class SlowTheta(MomentPosterior):
    """Theta at the pace of the other parameters, as in the article."""

    theta_pace = 1.0


TAUS = (0.1, 0.5)
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


def measure(X, settings, posterior, tau, epochs, seed):
    """Held-out ELBO and importance bound of one fit."""
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    model = BNVAEEstimator(
        posterior=posterior, tau=tau, max_iter=epochs, random_state=seed, **settings
    ).fit(train)
    return [model.score_samples(test, 64, bound=name).mean() for name in ("elbo", "importance")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    print(f"{'':32}{'ELBO':>16}{'importance':>16}")
    for data, epochs in ((digits, 1), (breast_cancer, 4), (wine, 5), (patches, 1)):
        X, _, settings = data()
        for name, posterior in POSTERIORS.items():
            for tau in TAUS if posterior != "gaussian" else TAUS[:1]:
                fits = [
                    measure(X, settings, posterior, tau, epochs * args.epochs, seed)
                    for seed in range(args.seeds)
                ]
                name_and_tau = name if posterior == "gaussian" else f"{name}, tau {tau}"
                pairs = zip(np.mean(fits, 0), np.std(fits, 0), strict=True)
                cells = "".join(f"{mean:9.2f} ±{spread:5.2f}" for mean, spread in pairs)
                print(f"{data.__name__:14}{name_and_tau:18}{cells}", flush=True)


if __name__ == "__main__":
    main()
