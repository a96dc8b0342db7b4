"""The five posteriors on digits: ELBO, importance bound, rate, 5-NN accuracy, largest gradient.

64-256-256-16, bernoulli, 60 epochs, a quarter of the rows held out, means over the seeds.

    python benchmarks/posteriors.py [--seeds 3]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import BNVAEEstimator
from skvae._fit import optimizer as training
from skvae._fit import training as fitting

RUNS = [("gaussian", 0.5)] + [
    (posterior, tau)
    for posterior in ("batchnorm-mean", "batchnorm", "moment", "layernorm")
    for tau in (0.1, 0.5, 0.9)
]


class Watched(training.Adam):
    """Remembers the largest gradient norm of all steps."""

    largest = 0.0

    def step(self, gradients, fraction=1.0):
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        Watched.largest = max(Watched.largest, float(norm))
        super().step(gradients, fraction)


def measure(posterior, tau, seed):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X / 16, y, test_size=0.25, stratify=y, random_state=seed
    )
    Watched.largest = 0.0
    model = BNVAEEstimator(
        16,
        posterior=posterior,
        tau=tau,
        likelihood="bernoulli",
        hidden_layer_sizes=(256, 256),
        batch_size=128,
        max_iter=60,
        random_state=seed,
    ).fit(X)
    knn = KNeighborsClassifier(5).fit(model.transform(X), y)
    return (
        model.score_samples(X_test, bound="elbo").mean(),
        model.score_samples(X_test, 200).mean(),
        model.kl_per_component_.sum(),
        model.kl_floor_,
        knn.score(model.transform(X_test), y_test),
        Watched.largest,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    fitting.Adam = Watched
    heads = ("ELBO", "importance", "KL", "floor", "5-NN", "gradient")
    print(f"{'posterior':16}{'tau':>5}" + "".join(f"{head:>11}" for head in heads))
    for posterior, tau in RUNS:
        runs = np.array([measure(posterior, tau, seed) for seed in range(options.seeds)])
        *means, _ = runs.mean(0)
        row = "".join(f"{mean:11.3f}" for mean in means)
        print(f"{posterior:16}{tau:5.1f}{row}{runs[:, -1].max():11.0f}", flush=True)


if __name__ == "__main__":
    main()
