"""The main job: codes of handwritten digits from PCA, a plain VAE and BN-VAE, side by side.

python -m skvae --output digits.png --explore digits.html
"""

import argparse
import os
import sys
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks: see the guide to speed

import numpy as np
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator, Explorer
from skvae.diagnostics import active_units

N_COMPONENTS = 16
N_FEW = 100


def encoders(max_iter, seed):
    """The encoders to compare, by name."""

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
        "BN-VAE, tau 0.5": vae("moment", tau=0.5),
    }


def split(seed):
    """Digits as grey levels from 0 to 1: X, X_test, y, y_test."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=seed)


def compare(max_iter, seeds, show_progress):
    """Print a row for each encoder, means over the splits; return the first split's encoders."""
    X, X_test, _, _ = split(seeds[0])
    print(
        f"Digits: {len(X)} rows to train on, {len(X_test)} held out, mean of {len(seeds)} splits; "
        f"{N_COMPONENTS} components, {max_iter} epochs.\n"
        "Accuracy of a logistic regression on the held-out code, standardized or not, whichever\n"
        "is better; information in nats per row.\n\n"
        f"{'':16}{'accuracy':>9}{f'{N_FEW} labels':>12}{'ELBO':>9}{'KL':>7}{'floor':>7}{'live':>10}"
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
            rows.append(measure(encoder, *data))
            fitted.setdefault(name, encoder)
        accuracy, few, elbo, rate, floor, live = np.mean(rows, axis=0)
        row = f"{name:16}{accuracy:9.3f}{few:12.3f}"
        if not np.isnan(elbo):
            row += f"{elbo:9.2f}{rate:7.2f}{floor:7.2f}{live:7.1f}/{N_COMPONENTS}"
        print(row, flush=True)
    return fitted


def measure(encoder, X, X_test, y, y_test):
    """Accuracy with all labels and with few, ELBO, KL, floor and live components."""
    code, code_test = encoder.transform(X), encoder.transform(X_test)
    draws = [np.random.RandomState(seed).choice(len(X), N_FEW, False) for seed in range(10)]
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
    """Latent maps, reconstructions and samples of plain VAE and BN-VAE, into a picture."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    X_train, X, y_train, y = data
    models = {name: fitted[name] for name in ("plain VAE", "BN-VAE, tau 0.5")}
    figure, axes = plt.subplots(2, 4, figsize=(16, 7.2), layout="constrained")
    for (name, model), (kl, latent, rebuilt, sampled) in zip(models.items(), axes, strict=True):
        kl.bar(range(N_COMPONENTS), np.sort(model.kl_per_component_)[::-1], color="tab:blue")
        floor = model.kl_floor_ / N_COMPONENTS
        kl.axhline(floor, color="tab:red", label=f"floor {floor:.2f}")
        kl.set(
            title=f"{name}: KL of each component",
            xlabel="component, sorted",
            ylabel="nats",
            ylim=(0, 1.2),
            xticks=[],
        )
        kl.legend(frameon=False)
        code = model.transform(X)
        plane = LinearDiscriminantAnalysis(n_components=2).fit(model.transform(X_train), y_train)
        points = latent.scatter(
            *plane.transform(code).T, c=y, cmap="tab10", s=9, vmin=-0.5, vmax=9.5
        )
        latent.set(title="code of held-out rows (discriminant plane)", xticks=[], yticks=[])
        figure.colorbar(points, ax=latent, ticks=range(10), label="digit")
        pairs = np.stack([X[:24], model.inverse_transform(code[:24])], axis=1)
        _mosaic(rebuilt, pairs.reshape(-1, 8, 8), "held-out rows and their reconstructions")
        prior = np.random.RandomState(0).randn(48, N_COMPONENTS)
        _mosaic(sampled, model.inverse_transform(prior).reshape(-1, 8, 8), "samples (means)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def explore(fitted, data, path):
    """Write a page on which the code of the held-out rows can be explored."""
    _, X, _, y = data
    model = fitted["BN-VAE, tau 0.5"]
    title = "Handwritten digits, held out: BN-VAE, tau 0.5"
    Explorer.from_estimator(model, X, y, image_shape=(8, 8), y_name="digit", title=title).save(path)


def _mosaic(ax, images, title, n_columns=8):
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=0.0)
    rows = framed.reshape(-1, n_columns, *framed.shape[1:]).swapaxes(1, 2)
    ax.imshow(rows.reshape(rows.shape[0] * rows.shape[1], -1), cmap="gray_r", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])


def main(arguments=None):
    """Run the comparison and write the picture where it is wanted."""
    parser = argparse.ArgumentParser(prog="python -m skvae", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", metavar="FILE", help="where to write a picture (.png, .svg, .pdf)"
    )
    parser.add_argument(
        "--explore",
        metavar="FILE",
        help="where to write a page that explores BN-VAE (.html)",
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
