"""Convolutional networks against dense ones of the same size, on images that none has seen.

Sprites of 16 by 16 pixels under the Bernoulli likelihood, and patches of scikit-learn's two
photographs under the Gaussian. Means and standard deviations over the seeds, in nats per image.

    python benchmarks/images.py [--seeds 3] [--epochs 40]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator
from skvae.datasets import make_sprites
from skvae.networks import ConvDecoder, ConvEncoder

SHAPE, CHANNELS, UNITS = (1, 16, 16), (16, 32), (128,)
NETWORKS = {
    "dense": {"hidden_layer_sizes": (164, 164)},
    "convolutional": {
        "encoder": ConvEncoder(SHAPE, CHANNELS, UNITS),
        "decoder": ConvDecoder(SHAPE, CHANNELS, UNITS),
    },
}


def sprites(seed):
    return make_sprites(2400, random_state=seed)[0]


def patches(seed):
    photographs = [image.mean(-1) / 255 for image in load_sample_images().images]
    cut = [
        extract_patches_2d(p, SHAPE[1:], max_patches=1200, random_state=seed) for p in photographs
    ]
    return np.concatenate(cut).reshape(2400, -1)


def measure(X, likelihood, settings, epochs, seed):
    X, X_test = train_test_split(X, test_size=400, random_state=seed)
    model = BNVAEEstimator(
        16,
        tau=0.2,
        likelihood=likelihood,
        learning_rate=2e-3,
        max_iter=epochs,
        random_state=seed,
        **settings,
    )
    start = time.perf_counter()
    model.fit(X)
    seconds = time.perf_counter() - start
    elbo = model.score_samples(X_test, bound="elbo").mean()
    return elbo, model.score(X_test), model.lower_bound_, seconds, model.module_


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    print(f"{'':22}{'weights':>9}{'ELBO':>16}{'bound':>16}{'ELBO, training':>16}{'seconds':>9}")
    for data, likelihood in ((sprites, "bernoulli"), (patches, "gaussian")):
        runs = {name: [] for name in NETWORKS}
        for seed in range(options.seeds):  # in turn, so that a busy minute meets both alike
            for name, settings in NETWORKS.items():
                runs[name].append(measure(data(seed), likelihood, settings, options.epochs, seed))
        for name, found in runs.items():
            weights = sum(p.numel() for p in found[0][-1].parameters())
            values = np.array([run[:-1] for run in found])
            pairs = zip(values.mean(0)[:3], values.std(0)[:3], strict=True)
            cells = [f"{mean:9.2f} ±{spread:5.2f}" for mean, spread in pairs]
            cells = "".join(f"{cell:>16}" for cell in cells)
            print(f"{data.__name__ + ', ' + name:22}{weights:9}{cells}{values[:, 3].mean():9.0f}")


if __name__ == "__main__":
    main()
