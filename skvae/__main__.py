"""A comparison of codes of handwritten digits: PCA, a plain VAE and BN-VAE.

python -m skvae --output digits.png --explore digits.html
"""

import argparse
import os
import sys
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # faster for small networks: docs/guide/speed.rst

import numpy as np
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator, Explorer, KLDisplay, LatentMapDisplay, ReconstructionDisplay
from skvae.diagnostics import active_units
from skvae.display.arrays import tiled

N_COMPONENTS = 16
N_LABELS = 100  # for the second accuracy, that of a classifier with few labels
IMAGE_SHAPE = (8, 8)
BEST = "BN-VAE, tau 0.5"


def encoders(max_iter, seed):
    """Make the encoders to compare, by name."""

    def vae(posterior, tau=0.5):
        return BNVAEEstimator(
            N_COMPONENTS,
            tau=tau,
            posterior=posterior,
            likelihood="bernoulli",
            hidden_layer_sizes=(256, 256),
            max_iter=max_iter,
            random_state=seed,
        )

    return {
        "PCA": PCA(N_COMPONENTS, random_state=seed),
        "plain VAE": vae("gaussian"),
        "BN-VAE, tau 0.1": vae("moment", tau=0.1),
        BEST: vae("moment", tau=0.5),
    }


def split(seed):
    """Split digits, with gray levels from 0 to 1, into X, X_test, y and y_test."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=seed)


def compare(max_iter, seeds, show_progress):
    """Print mean measures of each encoder over the splits; return the encoders of the first one."""
    X, X_test, _, _ = split(seeds[0])
    print(
        f"Digits: {len(X)} rows to train on, {len(X_test)} held out, mean of {len(seeds)} splits; "
        f"{N_COMPONENTS} components, {max_iter} epochs.\n"
        "Accuracy of a logistic regression on the held-out code, standardized or not, whichever\n"
        "is better; information in nats per row.\n\n"
        f"{'':16}{'accuracy':>9}{f'{N_LABELS} labels':>12}"
        f"{'ELBO':>9}{'KL':>7}{'floor':>7}{'live':>10}"
    )
    fitted = {}
    for name in encoders(max_iter, 0):
        rows = []
        for seed in seeds:
            encoder = encoders(max_iter, seed)[name]
            data = split(seed)
            if isinstance(encoder, BNVAEEstimator) and show_progress and find_spec("rich"):
                encoder.set_callbacks(ProgressBar()).fit(data[0]).set_callbacks()
            else:
                encoder.fit(data[0])
            rows.append(evaluate(encoder, *data))
            fitted.setdefault(name, encoder)
        accuracy, with_few_labels, elbo, rate, floor, live = np.mean(rows, axis=0)
        row = f"{name:16}{accuracy:9.3f}{with_few_labels:12.3f}"
        if not np.isnan(elbo):
            row += f"{elbo:9.2f}{rate:7.2f}{floor:7.2f}{live:7.1f}/{N_COMPONENTS}"
        print(row, flush=True)
    return fitted


def evaluate(encoder, X, X_test, y, y_test):
    """Measure accuracy with all labels and with few, ELBO, rate, floor and live components."""
    code, code_test = encoder.transform(X), encoder.transform(X_test)
    draws = [np.random.RandomState(seed).choice(len(X), N_LABELS, False) for seed in range(10)]
    accuracies = np.max(
        [
            (
                make_pipeline(FrozenEstimator(encoder), classifier).fit(X, y).score(X_test, y_test),
                np.mean([classifier.fit(code[i], y[i]).score(code_test, y_test) for i in draws]),
            )
            for classifier in (
                LogisticRegression(max_iter=2000),
                make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
            )
        ],
        axis=0,
    )
    if isinstance(encoder, PCA):
        return *accuracies, np.nan, np.nan, np.nan, np.nan
    elbo = encoder.score_samples(X_test, bound="elbo").mean()
    live = active_units(code_test)
    return *accuracies, elbo, encoder.kl_per_component_.sum(), encoder.kl_floor_, live


def draw(fitted, data, path):
    """Draw KL, codes, reconstructions and samples of the plain VAE and of BN-VAE into a file."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    X_train, X, y_train, y = data
    figure, axes = plt.subplots(2, 4, figsize=(17, 7.6), layout="constrained")
    for name, (kl, latent, rebuilt, sampled) in zip(("plain VAE", BEST), axes, strict=True):
        model = fitted[name]
        KLDisplay.from_estimator(model, ax=kl)
        kl.set(title=f"{name}: KL of each component", ylim=(0, 1.2))
        plane = plane_of_class_means(model.transform(X_train), y_train)
        LatentMapDisplay(model.transform(X) @ plane, y=y, y_name="digit").plot(latent)
        latent.set(
            title="code of held-out rows, prior in gray",
            xlabel="first direction of the class means",
            ylabel="second direction",
        )
        ReconstructionDisplay.from_estimator(
            model, X[:24], image_shape=IMAGE_SHAPE, n_columns=8, ax=rebuilt
        )
        rebuilt.set_title("held-out rows and their reconstructions")
        codes = np.random.RandomState(0).randn(48, N_COMPONENTS)
        samples = model.inverse_transform(codes).reshape(6, 8, *IMAGE_SHAPE)
        sampled.imshow(tiled(samples, gap=1)[0], cmap="gray_r")
        sampled.set_title("samples (means)")
        sampled.set_axis_off()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plane_of_class_means(code, y):
    """Return an orthonormal basis of the plane in which the mean codes of the classes differ most.

    A standard normal prior is standard normal in this plane, too.
    """
    means = [code[y == label].mean(axis=0) for label in np.unique(y)]
    return PCA(n_components=2).fit(means).components_.T


def explore(fitted, data, path):
    """Write a page on which the codes of the held-out rows can be explored."""
    _, X, _, y = data
    options = {"y_name": "digit", "title": f"Handwritten digits, held out: {BEST}"}
    Explorer.from_estimator(fitted[BEST], X, y, image_shape=IMAGE_SHAPE, **options).save(path)


def main(arguments=None):
    """Run the comparison, and write the picture and the page if they are asked for."""
    parser = argparse.ArgumentParser(prog="python -m skvae", description=__doc__.splitlines()[0])
    parser.add_argument("--output", metavar="FILE", help="file for a picture (.png, .svg, .pdf)")
    parser.add_argument(
        "--explore", metavar="FILE", help="file for a page that explores BN-VAE (.html)"
    )
    parser.add_argument("--max-iter", type=int, default=60, help="epochs (default: 60)")
    parser.add_argument("--splits", type=int, default=3, help="train/test splits (default: 3)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    seeds = range(options.splits)
    fitted = compare(options.max_iter, seeds, not options.quiet)
    if options.output:
        draw(fitted, split(seeds[0]), options.output)
        print(f"\nPicture: {options.output}")
    if options.explore:
        explore(fitted, split(seeds[0]), options.explore)
        print(f"\nPage, to be opened in a browser: {options.explore}")


if __name__ == "__main__":
    sys.exit(main())
