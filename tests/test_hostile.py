"""Nothing diverges where batches are small, steps are large and columns are unkind."""

import numpy as np
import pytest

from skvae import BNVAEEstimator


def normal(rng):
    return rng.normal(size=(40, 6))


def duplicated(rng):
    return np.repeat(rng.normal(size=(4, 6)), 10, axis=0)


def constant_column(rng):
    return np.c_[rng.normal(size=(40, 5)), np.ones(40)]


def heavy_tails(rng):
    return rng.standard_t(1.1, size=(40, 6))


def one_row_far_out(rng):
    X = rng.normal(size=(40, 6))
    X[-1] *= 1e4
    return X


# A divergence would warn, and a warning is an error here.
@pytest.mark.parametrize("tau", [0.05, 0.95, (0.05, 0.95)])
@pytest.mark.parametrize(
    "table", [normal, duplicated, constant_column, heavy_tails, one_row_far_out]
)
def test_forty_rows_in_batches_of_eight_with_large_steps(table, tau):
    X = table(np.random.default_rng(0))
    vae = BNVAEEstimator(
        4,
        tau=tau,
        hidden_layer_sizes=(32,),
        batch_size=8,
        learning_rate=1e-2,
        max_iter=60,
        random_state=0,
    ).fit(X)
    assert np.isfinite(vae.loss_curve_).all()
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.sample(20, random_state=0)).all()
    assert vae.kl_per_component_.sum() >= vae.kl_floor_ * (1 - 1e-6)
    # It has learned something, and kept it. A batch with a row far out is a peak for any posterior,
    # and epochs over a range do not compare, because each has other values of tau.
    assert vae.lower_bound_ > -vae.loss_curve_[0]
    if not isinstance(tau, tuple):
        assert np.median(vae.loss_curve_[-10:]) < vae.loss_curve_[0]


@pytest.mark.parametrize(
    ("posterior", "tau"),
    [("moment", 0.1), ("moment", (0.05, 0.95)), ("batchnorm-mean", 0.1), ("batchnorm", 0.1)],
)
def test_batches_of_equal_rows(posterior, tau):
    # Most rows are zeros, so that many a batch has no variance at all.
    rng = np.random.default_rng(0)
    X = np.zeros((1200, 5))
    X[::60] = rng.normal(size=(20, 5))
    settings = {"tau": tau, "batch_size": 8, "max_iter": 12, "random_state": 0}
    vae = BNVAEEstimator(2, posterior=posterior, **settings).fit(X)
    assert vae.n_iter_ == 12
    assert np.isfinite(vae.score_samples(X)).all()
