"""A search on a Dask cluster, by joblib's backend."""

import os

import distributed
import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skvae import BNVAEEstimator, BNVAEEstimatorCV

X = np.random.RandomState(0).randn(60, 4)


@pytest.fixture(scope="module")
def client():
    """Two worker processes on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, env={"OMP_NUM_THREADS": "1"}
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


VAE = BNVAEEstimator(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0)


def search():
    return GridSearchCV(VAE, {"tau": [0.2, 0.8]}, cv=3)


def test_the_workers_are_other_processes(client):
    pids = client.run(os.getpid).values()
    assert len({*pids, os.getpid()}) == 3


def test_a_grid_search_on_a_cluster_gives_the_result_of_one_process(client):
    with joblib.parallel_config(backend="dask"):
        found = search().set_params(n_jobs=2).fit(X)
    alone = search().fit(X)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(found.transform(X), alone.transform(X))


def test_a_search_over_one_range_gives_the_result_of_one_process(client):
    with joblib.parallel_config(backend="dask"):
        found = BNVAEEstimatorCV(VAE, n_jobs=2).fit(X)
    alone = BNVAEEstimatorCV(VAE).fit(X)
    np.testing.assert_array_equal(found.transform(X), alone.transform(X))
