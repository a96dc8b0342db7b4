"""Any data and any parameters within their limits give finite results."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skvae import BNVAEEstimator


def small(**parameters):
    return BNVAEEstimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (4,),
            "max_iter": 1,
            "random_state": 0,
            **parameters,
        }
    )


def check(model, X):
    """What holds of every fit: finite numbers and the floor."""
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X, n_draws=2)).all()
    assert np.isfinite(model.inverse_transform(model.transform(X))).all()
    assert model.kl_per_component_.sum() >= model.kl_floor_ - 1e-6
    assert np.isfinite(model.lower_bound_)


@st.composite
def tables(draw):
    """Rows of any size and scale, with what real tables have of duplicates and constants."""
    n, p = draw(st.integers(1, 70)), draw(st.integers(1, 6))
    rng = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    X = rng.randn(n, p) * 10.0 ** draw(st.floats(-30, 30))
    X *= 10.0 ** rng.uniform(*sorted(draw(st.tuples(st.floats(-3, 3), st.floats(-3, 3)))), size=p)
    X += draw(st.sampled_from([0.0, 1.0, -1e3])) * np.abs(X).mean()
    if draw(st.booleans()):
        X[:, draw(st.integers(0, p - 1))] = draw(st.sampled_from([0.0, 1.0, -1e30, 1e-30]))
    if draw(st.booleans()):
        X[rng.randint(n, size=n // 2)] = X[0]
    if draw(st.booleans()):
        X[rng.rand(n) < 0.3] = 0.0
    if draw(st.booleans()):
        X = np.hstack([X, X[:, :1]])
    return X


@given(tables(), st.sampled_from([np.float64, np.float32]))
@settings(max_examples=60, deadline=None)
def test_any_table_of_numbers_is_fitted(X, dtype):
    X = X.astype(dtype)
    check(small().fit(X), X)


@given(tables())
@settings(max_examples=15, deadline=None)
def test_any_sparse_table_is_fitted(X):
    X = csr_array(np.where(np.abs(X) < np.abs(X).mean(), 0.0, X))
    check(small().fit(X), X)


@given(
    st.sampled_from([np.int8, np.uint8, np.int64, np.float16, bool]),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_any_dtype_is_fitted(dtype, n, p, seed):
    X = np.random.RandomState(seed).randint(0, 100, size=(n, p)).astype(dtype)
    check(small().fit(X), X)


@pytest.mark.parametrize("shape", [(20_000, 1), (3, 3000), (1, 1), (1, 500), (2, 2)])
def test_long_wide_and_tiny_tables_are_fitted(shape):
    X = np.random.RandomState(0).randn(*shape)
    check(small().fit(X), X)


STOPS = {"early_stopping": True, "tol": 1e300, "n_iter_no_change": 1, "max_iter": 10}
LIMITS = [
    {"n_components": 1},
    {"n_components": 200},
    {"tau": 1e-9},
    {"tau": 1 - 1e-6},
    {"tau": (1e-6, 1 - 1e-6)},
    {"beta": 0},
    {"beta": 1e6},
    {"learning_rate": 1e-30},
    {"batch_size": 1},
    {"batch_size": 10**9},
    {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": (1,) * 6},
    {**STOPS, "validation_fraction": 1e-9},
    {**STOPS, "validation_fraction": 0.98},
    {**STOPS, "tol": 0, "max_iter": 60},
    STOPS,
    {"max_iter": None, "early_stopping": True},
    {"random_state": 2**32 - 1},
    {"max_iter": 300, "hidden_layer_sizes": ()},
]


@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
@pytest.mark.parametrize("parameters", LIMITS, ids=str)
def test_parameters_work_at_their_limits(parameters):
    X = np.random.RandomState(0).randn(60, 4)
    check(small(**parameters).fit(X), X)


def test_sixteen_threads_fit_and_transform_alike():
    X = np.random.RandomState(0).randn(60, 4)
    fitted, found, errors = small().fit(X), [], []
    expected = fitted.transform(X), small(random_state=1).fit(X).transform(X)

    def work():
        try:
            for _ in range(3):
                found.append((fitted.transform(X), small(random_state=1).fit(X).transform(X)))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 48
    for codes in found:
        np.testing.assert_array_equal(codes, expected)


def memory():
    """The process's own memory, in MB."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the memory from /proc")
def test_a_thousand_fits_leave_no_memory_and_no_thread_behind():
    X = np.random.RandomState(0).randn(200, 10)
    for _ in range(100):  # until all that is made once is there
        small(max_iter=2).fit(X).transform(X)
    before, threads = memory(), threading.active_count()
    for _ in range(1000):
        small(max_iter=2).fit(X).transform(X)
    grown = memory() - before
    print(f"grown by {grown:.1f} MB in 1000 fits")
    assert grown < 10
    assert threading.active_count() <= threads  # those of other tests may end meanwhile
