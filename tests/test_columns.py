"""Columns as they come: without spread, next to constant, in any units."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import norm

from skvae import BNVAEEstimator
from skvae._data.columns import column_of
from skvae._data.units import N_IN_CACHE, N_IN_MEMORY, Marginals, Units

REAL = ["gaussian", "student_t"]
real = pytest.mark.parametrize("likelihood", REAL)


def small(likelihood="gaussian", **parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return BNVAEEstimator(2, likelihood=likelihood, **(settings | parameters))


def table(constant, n_rows=100, seed=0):
    X = np.random.default_rng(seed).normal(size=(n_rows, 3))
    X[:, 1] = constant
    return X


# -- columns with a single value -----------------------------------------------------------


@real
@pytest.mark.parametrize("value", [0.0, 0.1, 3e-6, -1e12, 1e200, np.float32(0.1)])
def test_a_constant_comes_back_as_itself(likelihood, value):
    dtype = np.asarray(value).dtype
    X = (1e-6 * table(0.0)).astype(dtype)
    X[:, 1] = value
    model = small(likelihood).fit(X)
    assert (model.sample(50, random_state=0)[:, 1] == X[0, 1]).all()
    assert (model.inverse_transform(model.transform(X))[:, 1] == X[0, 1]).all()
    drawn = model.sample(2000, random_state=0)[:, 0]
    assert np.diff(np.quantile(drawn, [0.25, 0.75])) == pytest.approx(1.35e-6, rel=0.5)


@real
def test_a_missing_cell_of_a_constant_column_is_filled_with_the_constant(likelihood):
    X = table(7.25)
    X[::3] = np.nan
    assert (small(likelihood).fit(X).impute(X)[:, 1] == 7.25).all()


@pytest.mark.parametrize("likelihood", [*REAL, [("gaussian", [0, 1]), ("student_t", [2])]])
def test_a_single_row_comes_back_as_itself(likelihood):
    X = np.array([[1.5, -2e9, 0.1]])
    model = small(likelihood).fit(X)
    np.testing.assert_array_equal(model.sample(3, random_state=0), np.tile(X, (3, 1)))
    # Half a row of something else beside the only one, in each of three columns.
    assert model.score(X) == pytest.approx(3 * np.log(1.5 / 2), abs=1e-4)


@real
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_another_value_than_the_constant_costs_what_its_probability_says(likelihood, form):
    X = table(0.0)
    model = small(likelihood).fit(form(X))
    expected = np.log(100.5 / 101) - np.log(0.5 / 101)
    for value in (1e-9, -5.0, 1e30):
        other = X.copy()
        other[:, 1] = value
        difference = model.score_samples(form(X)) - model.score_samples(form(other))
        np.testing.assert_allclose(difference, expected, rtol=1e-6)
        np.testing.assert_array_equal(model.transform(form(other)), model.transform(form(X)))


@real
def test_the_unit_of_a_constant_changes_nothing(likelihood):
    scores = []
    for shift, scale in ((0, 1), (5, 1), (0, 1e-6), (-3, 1e6)):
        X = table(0.7)
        X[:, 1] = scale * (X[:, 1] + shift)
        scores.append(small(likelihood).fit(X).score_samples(X))
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])


@real
def test_a_constant_is_the_same_in_single_precision(likelihood):
    X = table(0.1)
    model = small(likelihood).fit(X)
    np.testing.assert_allclose(
        model.score_samples(X.astype(np.float32)), model.score_samples(X), atol=0.1
    )  # and no five nats for another value


@real
def test_a_constant_column_takes_no_part_in_the_training(likelihood):
    model = small(likelihood, warm_start=True, learning_rate=0.1, weight_decay=0.0)
    model.fit(table(3.0))
    first = model.module_.decoder.layers[-1].weight.detach().numpy().copy()
    last = model.fit(table(3.0)).module_.decoder.layers[-1].weight.detach().numpy()
    moved = (first != last).any(1)
    assert moved.tolist() == [True, False, True]


# -- columns that vary little --------------------------------------------------------------


@real
def test_the_unit_of_a_nearly_constant_column_follows_its_own_values(likelihood):
    rng = np.random.default_rng(0)
    X = table(0.0, 2000)
    X[:, 1] = np.where(rng.random(2000) < 0.9, 0.0, 1e-5 * rng.normal(size=2000))
    for scale in (1e-7, 1.0, 1e20):
        model = small(likelihood, max_iter=10).fit(scale * X)
        drawn = model.sample(4000, random_state=0)[:, 1]
        quarters = np.quantile(drawn, [0.25, 0.75])
        assert np.diff(quarters)[0] < 10 * scale * X[:, 1].std()
        assert np.isfinite(model.score_samples(scale * X)).all()


def test_what_varies_far_from_zero_is_no_constant():
    # Beside a mean of 1e9 the variation is at the 13th digit, which doubles still have.
    X = 1e9 + 1e-4 * np.random.default_rng(0).normal(size=(5000, 1))
    marginals = Marginals(X)
    assert not marginals.constant[0]
    assert marginals.scale[0] == pytest.approx(X.std(), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-20, 1e170, 1e300])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_marginals_of_any_magnitude(scale, form):
    X = np.random.default_rng(0).normal(size=(50, 2))
    one, other = Marginals(X), Marginals(form(scale * X))
    for name in ("mean", "scale", "median", "robust_scale"):
        np.testing.assert_allclose(getattr(other, name) / scale, getattr(one, name), rtol=1e-10)


@real
@pytest.mark.parametrize("scale", [1e-250, 1e200])
def test_a_column_of_any_magnitude_is_learnt(likelihood, scale):
    X = table(0.0)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 2]
    moved = X * [1, scale, 1]
    one, other = small(likelihood).fit(X), small(likelihood).fit(moved)
    np.testing.assert_allclose(other.transform(moved), one.transform(X), atol=1e-4)
    shift = one.score(X) - other.score(moved)
    assert shift == pytest.approx(np.log(scale), rel=1e-5)


def test_the_robust_scale_of_what_is_mostly_one_value_is_that_of_the_others():
    X = np.full((1000, 1), 5.0)
    X[:100, 0] += 0.01 * np.random.default_rng(0).normal(size=100)
    expected = np.median(abs(X[:100] - 5.0)) / norm.ppf(0.75)
    assert Marginals(X).robust_scale[0] == pytest.approx(expected)
    assert Marginals(csr_matrix(X)).robust_scale[0] == pytest.approx(expected)


def test_marginals_pass_over_gaps_in_every_chunk(monkeypatch):
    monkeypatch.setattr("skvae._data.streams.CHUNK", 200)
    X = table(4.0)
    X[:50, 1] = np.nan
    marginals = Marginals(X)
    assert marginals.constant.tolist() == [False, True, False]
    assert marginals.mean[1] == 4.0


# -- rows without difference ---------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 3.0])
def test_the_floor_of_identical_rows_is_zero_and_holds(dtype, value):
    X = np.full((50, 3), value, dtype=dtype)
    model = small(max_iter=2).fit(X)
    assert model.kl_floor_ == 0.0
    assert model.kl_per_component_.sum() >= model.kl_floor_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_floor_is_rounded_down_and_no_further(dtype):
    X = table(0.0).astype(dtype)
    model = small(tau=0.5).fit(X)
    exact = model.module_.posterior_layer.kl_floor()
    assert 0 < exact - model.kl_floor_ < 32 * np.finfo(dtype).eps
    assert model.kl_per_component_.sum() >= model.kl_floor_


# -- chunks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_columns", "n_rows"),
    [
        (10, 4096),
        (784, N_IN_CACHE // 784),
        (20_000, 64),
        (200_000, N_IN_MEMORY // 200_000),
        (10**7, 1),
    ],
)
def test_a_chunk_balances_its_rows_and_the_weights(n_columns, n_rows):
    first, *_ = Units.identity(n_columns).chunks(10_000)
    assert first.stop - first.start == n_rows


def test_a_row_of_a_wide_table_is_the_same_in_any_chunk():
    X = csr_matrix(np.random.default_rng(0).poisson(0.01, size=(130, 5000)).astype(float))
    model = small(max_iter=1).fit(X)
    alone = np.concatenate([model.transform(X[[i]]) for i in (0, 63, 64, 129)])
    np.testing.assert_allclose(model.transform(X)[[0, 63, 64, 129]], alone, rtol=1e-9, atol=1e-12)


def test_dates_may_be_missing_and_are_no_numbers():
    dates = np.array(["2020-01-01", "NaT", "2020-01-03"], dtype="datetime64[D]")
    column = column_of("day", dates)
    assert column.missing.tolist() == [False, True, False]
    assert column.kind == "other"


def test_arrays_in_cells_are_neither_missing_nor_numbers():
    cells = np.empty(2, dtype=object)
    cells[:] = [np.array([1.0, 2.0]), 3.0]
    column = column_of("pair", cells)
    assert column.missing.tolist() == [False, False]
    assert column.kind == "other"
