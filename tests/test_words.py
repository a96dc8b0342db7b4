"""What errors say: the column by its name, the rule, what came and what to do."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from skvae import BNVAEEstimator
from skvae._fit.plain import restored, state_of


def small(likelihood="gaussian", **parameters):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    return BNVAEEstimator(2, likelihood=likelihood, **(settings | parameters))


def frame(n_rows=30):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"age": rng.normal(size=n_rows), "n": rng.poisson(2.0, size=n_rows)})


# -- columns by name -----------------------------------------------------------------------


@pytest.mark.parametrize("conditions", [None, ["age"]])
def test_a_column_without_a_value_is_named(conditions):
    X = frame().assign(size=np.nan)
    with pytest.raises(ValueError, match=r"Columns \['size'\] of X have no value at all"):
        small(conditions=conditions).fit(X)


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ("bernoulli", "Column 'n': likelihood='bernoulli' takes values from 0 to 1"),
        ([("poisson", ["n"])], "Column 'n': likelihood='poisson' takes counts.*got -1"),
    ],
)
def test_a_column_outside_the_support_is_named(likelihood, message):
    X = frame().abs().clip(0, 1).round()
    model = small(likelihood).fit(X)
    with pytest.raises(ValueError, match=message):
        model.transform(X.assign(n=-1))
    with pytest.raises(ValueError, match=message):
        small(likelihood).fit(X.assign(n=-1))


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_counts_that_are_none_are_refused(likelihood):
    X = np.array([[1.0, 2.0], [3.0, 1e200]])
    with pytest.raises(ValueError, match=r"takes counts up to 2\*\*53.*got 1e\+200"):
        small(likelihood).fit(X)


def test_columns_without_names_are_not_called_anything():
    with pytest.raises(ValueError, match="^likelihood='bernoulli' takes values from 0 to 1"):
        small("bernoulli").fit(frame().to_numpy())


@pytest.mark.parametrize("X", [[["a", 1.0], ["b", 2.0]], np.array([["a"], ["b"]])])
def test_strings_are_pointed_to_auto(X):
    with pytest.raises(ValueError, match="X must hold numbers.*Pass likelihood='auto'"):
        small().fit(X)


def test_numbers_for_columns_that_are_called_by_others_are_refused():
    X = frame()
    X.columns = [1, 0]
    with pytest.raises(ValueError, match=r"likelihood names columns \[1\], which are positions"):
        small([("poisson", [1])]).fit(X)


# -- parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [1, 0.0, "half", None, [0.5], (0.9, 0.1), float("nan")])
def test_tau_is_explained_in_one_sentence(tau):
    with pytest.raises(ValueError, match="tau must be a number between 0 and 1, both excl.*got"):
        small(tau=tau).fit(np.eye(4))


def test_a_single_hidden_layer_may_be_a_number():
    X = frame()
    one, other = (small(hidden_layer_sizes=sizes).fit(X) for sizes in (8, (8,)))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


# -- masks and weights ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_masked_cells_are_missing(dtype):
    X = np.random.default_rng(0).integers(0, 9, size=(40, 3)).astype(dtype)
    mask = np.random.default_rng(1).random(X.shape) < 0.2
    masked, gaps = np.ma.array(np.where(mask, 999, X), mask=mask), np.where(mask, np.nan, X)
    one, other = small().fit(masked), small().fit(gaps)
    np.testing.assert_array_equal(one.transform(masked), other.transform(gaps))
    np.testing.assert_array_equal(one.impute(masked), other.impute(gaps))


def test_masked_codes_are_refused():
    model = small().fit(np.eye(4))
    codes = np.ma.array(np.zeros((2, 2)), mask=[[True, False], [False, False]])
    with pytest.raises(ValueError, match="X contains NaN"):
        model.inverse_transform(codes)


def test_only_ratios_of_weights_matter_and_not_their_size():
    X, weight = frame(), np.arange(1.0, 31.0)
    one = small().fit(X, sample_weight=weight)
    for scale in (1e300, 1e-300):
        other = small().fit(X, sample_weight=scale * weight)
        np.testing.assert_allclose(other.transform(X), one.transform(X), rtol=1e-6)


# -- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("absent/model", FileNotFoundError, "path must name a file in a folder that exists"),
        (".", IsADirectoryError, "path must name a file, and .* is a folder. Pass a name in it"),
    ],
)
def test_a_path_that_cannot_be_a_file_is_refused(name, error, message, tmp_path):
    model = small().fit(np.eye(4))
    with pytest.raises(error, match=message):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_empty_path_is_refused():
    with pytest.raises(ValueError, match="path must name a file; got an empty name"):
        small().fit(np.eye(4)).save("")


def test_a_folder_is_not_loaded(tmp_path):
    with pytest.raises(IsADirectoryError, match="must name a file that save wrote.*is a folder"):
        BNVAEEstimator.load(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        date(2020, 2, 29),
        pd.Timestamp("2020-02-29 12:00:00.123456789"),
        pd.Timestamp("2020-02-29", tz="Europe/Paris"),
        pd.Timestamp("2020-02-29").to_pydatetime(),
        pd.Timedelta("1 day 2 s"),
        pd.Timedelta("1 day").to_pytimedelta(),
        pd.Period("2020-02", freq="M"),
        pd.Interval(0.25, 1.5, closed="left"),
        pd.Interval(pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")),
        Decimal("1.10"),
        b"\x00\xff",
    ],
)
def test_values_of_tables_go_into_files(value):
    found = restored(state_of([value]))[0]
    assert type(found) is type(value)
    assert found == value
    assert str(found) == str(value)


def test_a_table_of_ranges_and_dates_is_saved(tmp_path):
    X = frame().assign(
        range=lambda X: pd.qcut(X["age"], 3),
        day=pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"] * 10)),
    )
    model = small("auto").fit(X)
    model.save(tmp_path / "model")
    again = BNVAEEstimator.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.sample(5, random_state=0), model.sample(5, random_state=0))
