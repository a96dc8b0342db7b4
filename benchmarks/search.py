"""A grid search over tau in one process and in two: same scores, and what it takes.

python benchmarks/search.py
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator


def main():
    X, y = load_digits(return_X_y=True)
    vae = BNVAEEstimator(
        16, likelihood="bernoulli", hidden_layer_sizes=(256, 256), max_iter=60, random_state=0
    )
    pipeline = make_pipeline(vae, StandardScaler(), LogisticRegression(max_iter=2000))
    grid = {"bnvaeestimator__tau": [0.1, 0.3, 0.5, 0.7]}
    seconds, scores = {}, {}
    for n_jobs in (1, 2, 1, 2):  # the second worker pool is warm
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs, refit=False)
        start = time.perf_counter()
        search.fit(X / 16, y)
        seconds.setdefault(n_jobs, []).append(time.perf_counter() - start)
        scores[n_jobs] = search.cv_results_["mean_test_score"]
    assert np.array_equal(scores[1], scores[2])
    print("scores", scores[1].round(4), "the same in one process and in two")
    for name, run in (("first", 0), ("second", 1)):
        one, two = seconds[1][run], seconds[2][run]
        print(f"{name} search: two processes take {two / one:.2f} of the time of one")


if __name__ == "__main__":
    main()
