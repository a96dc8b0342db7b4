"""What a column is, by its values in any container; and frames there and back, rows in place."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae import BNVAEEstimator
from skvae._data.columns import columns_of
from skvae._data.frames import FrameSchema, raw_columns
from skvae._data.tables import Table

N = 40


def small(likelihood="auto", **parameters):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    return BNVAEEstimator(2, likelihood=likelihood, **(settings | parameters))


def objects(values):
    return np.fromiter(values, dtype=object, count=len(values))


def column(values):
    """The values as a column of objects, in every container that takes them."""
    array = objects(values)
    yield array[:, None]
    yield pd.DataFrame({"x": pd.Series(array, dtype=object)})
    yield pl.DataFrame({"x": pl.Series(values, dtype=pl.Object)})


# -- one kind, whatever the container ------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "number"),
        ([1.5, None, float("nan")], "number"),
        ([Decimal("1.5"), Decimal("2.5")], "number"),
        ([np.float32(1), np.int8(2)], "number"),
        ([True, False, None], "bool"),
        ([np.True_, np.False_], "bool"),
        (["a", "b", None], "category"),
        ([b"a", b"b"], "category"),
        (["a", 1], "category"),
        ([None, None], "number"),
        ([pd.Timestamp("2020-01-01"), None], "other"),
        ([object(), object()], "other"),
        ([[1], [2]], "other"),
    ],
)
def test_values_decide_what_a_column_is(values, kind):
    for X in column(values):
        assert [one.kind for one in columns_of(X)] == [kind]


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT, Decimal("NaN")])
def test_whatever_stands_for_nothing_is_missing(nothing):
    for X in column(["a", nothing, "b"]):
        assert columns_of(X)[0].missing.tolist() == [False, True, False]


numbers = np.array([1.0, 2.0, 4.0])
TYPED = {
    "arrow numbers": (pd.array([1, 2, 4], dtype="int64[pyarrow]"), "number"),
    "arrow doubles": (pd.array([1.0, 2.0, 4.0], dtype="double[pyarrow]"), "number"),
    "arrow booleans": (pd.array([True, False, True], dtype="bool[pyarrow]"), "bool"),
    "arrow strings": (pd.array(["a", "b", "a"], dtype=pd.ArrowDtype(pa.string())), "category"),
    "arrow dictionary": (
        pd.array(["a", "b", "a"], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        "category",
    ),
    "arrow decimals": (
        pd.array(
            [Decimal("1"), Decimal("2"), Decimal("4")], dtype=pd.ArrowDtype(pa.decimal128(5, 2))
        ),
        "number",
    ),
    "arrow nulls": (pd.array([None] * 3, dtype=pd.ArrowDtype(pa.null())), "number"),
    "arrow dates": (
        pd.array([pd.Timestamp("2020-01-01")] * 3, dtype=pd.ArrowDtype(pa.timestamp("ns"))),
        "other",
    ),
    "nullable": (pd.array([1, None, 4], dtype="Int8"), "number"),
    "nullable booleans": (pd.array([True, None, True], dtype="boolean"), "bool"),
    "sparse": (pd.arrays.SparseArray([1.0, 0.0, 4.0], fill_value=0.0), "number"),
    "sparse booleans": (pd.arrays.SparseArray([True, False, True]), "bool"),
    "strings": (pd.array(["a", "b", None], dtype="string"), "category"),
    "categories": (pd.Categorical([1, 2, 1]), "category"),
    "intervals": (pd.qcut(numbers, 2), "category"),
    "dates": (pd.to_datetime(["2020-01-01"] * 3), "other"),
}


@pytest.mark.parametrize("name", TYPED)
def test_types_of_pandas_are_told_apart_by_their_values(name):
    array, kind = TYPED[name]
    assert columns_of(pd.DataFrame({"x": array}))[0].kind == kind


@pytest.mark.parametrize(
    ("series", "kind"),
    [
        (pl.Series([1, 2], dtype=pl.UInt8), "number"),
        (pl.Series([Decimal("1.5"), None]), "number"),
        (pl.Series([None, None]), "number"),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "category"),
        (pl.Series([True, None]), "bool"),
        (pl.Series([[1], [2]]), "other"),
        (pl.Series([pd.Timestamp("2020-01-01").date()] * 2), "other"),
    ],
)
def test_types_of_polars_are_told_apart_by_their_values(series, kind):
    frame = pl.DataFrame({"x": series})
    assert columns_of(frame)[0].kind == kind
    if kind != "other":
        assert columns_of(frame.to_arrow())[0].kind == kind


def mixed():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "n": rng.integers(0, 5, size=N),
            "s": rng.choice(["a", "b"], size=N),
            "b": rng.random(N) < 0.5,
        }
    )


def test_the_container_makes_no_difference():
    X = mixed()
    frames = [X, X.astype(object), pl.DataFrame(X.to_dict("list")), pa.Table.from_pandas(X)]
    codes = [small().fit(frame).transform(frame) for frame in frames]
    codes.append(small().fit(X.to_numpy(dtype=object)).transform(X.to_numpy(dtype=object)))
    for other in codes[1:]:
        np.testing.assert_allclose(other, codes[0], rtol=1e-9)


def test_a_sparse_frame_stays_sparse():
    X = pd.DataFrame(np.random.default_rng(0).poisson(0.3, size=(N, 5)).astype(float))
    sparse = X.astype(pd.SparseDtype(float, 0.0))
    one, other = small("gaussian").fit(X), small("gaussian").fit(sparse)
    np.testing.assert_allclose(other.transform(sparse), one.transform(X), atol=1e-6)
    assert list(other.sample(2, random_state=0).dtypes) == list(sparse.dtypes)


def test_what_has_no_likelihood_is_refused_by_name():
    X = mixed().assign(born=pd.Timestamp("2000-01-01"))
    for frame in (X, pl.DataFrame(X.to_dict("list")), pa.Table.from_pandas(X)):
        with pytest.raises(ValueError, match="Column 'born' is of type (?i:timestamp|datetime)"):
            small().fit(frame)
        with pytest.raises(
            ValueError, match="Column 's' holds values that are not numbers.*'auto'"
        ):
            small("gaussian").fit(frame)


def test_dates_are_no_numbers():
    X = pl.DataFrame({"x": [1.0, 2.0], "born": [pd.Timestamp("2000-01-01").date()] * 2})
    with pytest.raises(ValueError, match="Column 'born' is of type Date, which is not a number"):
        small("gaussian").fit(X)


@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[s]"])
@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_dates_in_an_array_are_no_numbers(dtype, likelihood):
    X = np.arange(40).astype(dtype)[:, None]
    with pytest.raises(ValueError, match=r"is of type (date|time).*64"):
        small(likelihood).fit(X)
    model = small(likelihood).fit(np.arange(40.0)[:, None])
    with pytest.raises(ValueError, match=r"is of type (date|time).*64"):
        model.transform(X)


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_complex_numbers_are_refused_by_name(likelihood):
    X = pd.DataFrame({"a": np.arange(40.0), "wave": np.arange(40) * 1j})
    with pytest.raises(ValueError, match="Column 'wave' is of type complex128"):
        small(likelihood).fit(X)


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_a_lazy_frame_is_to_be_collected(likelihood):
    X = pl.DataFrame({"x": np.arange(40.0)})
    model = small(likelihood).fit(X)
    for call in (small(likelihood).fit, model.transform):
        with pytest.raises(TypeError, match=r"X is a lazy frame.* Pass X.collect\(\)"):
            call(X.lazy())


def test_identifiers_are_noted():
    X = mixed().assign(key=[f"key {i}" for i in range(N)]).loc[np.arange(3 * N) % N]
    X["key"] = [f"key {i}" for i in range(3 * N)]
    with pytest.warns(UserWarning, match="Column 'key' has 120 different values in 120 rows"):
        small().fit(X)
    small([("categorical", ["key"])]).fit(X)  # no word where it is meant


# -- there and back ------------------------------------------------------------------------


FRAMES = [
    pd.DataFrame({name: array for name, (array, kind) in TYPED.items() if kind != "other"}).drop(
        columns="arrow nulls"
    ),
    pl.DataFrame(
        {
            "i": pl.Series([1, 2, 4], dtype=pl.Int16),
            "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a", "c"])),
            "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "d": pl.Series([Decimal("1.5"), Decimal("2.5"), Decimal("4.5")]),
            "f": pl.Series([1.5, 2.5, 3.5], dtype=pl.Float32),
        }
    ),
    pa.table(
        {
            "i": pa.array([1, 2, 4], pa.int16()),
            "s": pa.array(["a", "b", "a"], pa.large_string()),
            "d": pa.array(["a", "b", "a"]).dictionary_encode(),
            "f": pa.array([1.5, 2.5, 3.5], pa.float32()),
            "b": pa.array([True, False, True]),
        }
    ),
]


def types(frame):
    return list(frame.schema.types) if isinstance(frame, pa.Table) else list(frame.dtypes)


@pytest.mark.parametrize("X", FRAMES, ids=["pandas", "polars", "pyarrow"])
def test_types_come_back_as_they_were(X):
    table = Table(X, "auto")
    # A whole number where one is missing: what is drawn is never missing.
    back = table.to_table(np.nan_to_num(table.to_numbers(X)))
    assert type(back) is type(X)
    assert types(back) == types(X)
    for old, new in zip(raw_columns(X), raw_columns(back), strict=True):
        there = ~old.missing
        assert new.values[there].tolist() == old.values[there].tolist()


@pytest.mark.parametrize("X", FRAMES, ids=["pandas", "polars", "pyarrow"])
def test_a_file_gives_the_types_back(X, tmp_path):
    from skvae._fit.files import read, write
    from skvae._fit.plain import restored, state_of

    write(tmp_path / "schema", state_of(FrameSchema.of(X)))
    empty = restored(read(tmp_path / "schema")).build([[] for _ in range(X.shape[1])])
    assert types(empty) == types(X)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (FrameSchema("os", ["x"], ["float64"]), "library must be one of .*; got 'os'"),
        (
            FrameSchema("polars", ["x"], [("read_csv", {"source": "x"})]),
            "types of polars.*'read_csv'",
        ),
    ],
)
def test_a_forged_schema_calls_nothing(schema, message):
    with pytest.raises(ValueError, match=message):
        schema.build([[1.0]])


def test_numbers_of_a_frame_come_back_as_a_frame():
    X = mixed()[["x", "n"]]
    for frame in (X, pl.DataFrame(X.to_dict("list")), pa.Table.from_pandas(X)):
        model = small("gaussian").fit(frame)
        for back in (model.sample(3), model.inverse_transform(model.transform(frame)[:3])):
            assert type(back) is type(frame)
            assert types(back) == types(frame)
        assert isinstance(model.transform(frame), np.ndarray)
        assert isinstance(model.score_samples(frame), np.ndarray)


def test_arrays_come_back_as_arrays():
    X = mixed()[["x", "n"]].to_numpy()
    for likelihood in ("gaussian", "auto"):
        model = small(likelihood).fit(X)
        for back in (model.sample(3), model.inverse_transform(model.transform(X)), model.impute(X)):
            assert isinstance(back, np.ndarray)
            assert back.dtype == X.dtype


def test_rows_keep_their_labels():
    X = mixed().set_index(pd.Index([f"row {i}" for i in range(N)], name="row")).sample(frac=1)
    X.loc[X.index[::3], "x"] = np.nan
    model = small().set_output(transform="pandas").fit(X)
    codes = model.transform(X)
    for back in (codes, model.inverse_transform(codes), model.impute(X)):
        assert back.index.equals(X.index)
    filled = X.fillna(model.impute(X))
    assert not filled.isna().any(axis=None)
    there = X["x"].notna()
    assert filled["x"][there].equals(X["x"][there])


@pytest.mark.parametrize("names", [[("a", 1), ("a", 2)], [3, 1], ["a", "b"]])
def test_names_of_any_kind_come_back(names):
    X = mixed()[["x", "n"]]
    X.columns = pd.MultiIndex.from_tuples(names) if names[0] == ("a", 1) else names
    assert small("gaussian").fit(X).sample(2, random_state=0).columns.equals(X.columns)


def test_columns_of_one_name_are_refused():
    X = mixed()[["x", "n", "x"]]
    with pytest.raises(ValueError, match=r"must be unique; \['x'\] occur more than once. Rename"):
        small("gaussian").fit(X)


def test_single_precision_stays_single():
    X = mixed()[["x", "n"]].astype(np.float32)
    assert small("gaussian").fit(X).transform(X).dtype == np.float32


def test_a_frame_of_numbers_is_taken_after_an_array():
    X = mixed()[["x", "n"]]
    model = small("gaussian").fit(X.to_numpy())
    with pytest.warns(UserWarning, match="feature names"):
        np.testing.assert_array_equal(model.transform(X), model.transform(X.to_numpy()))


# -- whole numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars", "objects"])
def test_whole_numbers_that_were_never_negative_are_drawn_so(library):
    n = np.random.default_rng(0).poisson(0.7, size=(200, 2))
    X = {
        "pandas": lambda: pd.DataFrame(n, columns=["a", "b"]),
        "polars": lambda: pl.DataFrame(n, schema=["a", "b"]),
        "objects": lambda: n.astype(object),
    }[library]()
    drawn = np.asarray(small().fit(X).sample(500, random_state=0))
    assert drawn.min() == 0
    assert all(float(value).is_integer() for value in drawn.ravel())


def test_whole_numbers_stay_within_their_type():
    X = pd.DataFrame({"a": np.array([-128, 127] * 30, dtype=np.int8), "b": np.arange(60.0)})
    drawn = small().fit(X).sample(500, random_state=0)["a"]
    assert drawn.dtype == np.int8
    assert (drawn.min(), drawn.max()) == (-128, 127)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", 2**62), ("int64", -(2**63)), ("uint64", 2**63), ("int64", 2**63 - 1)],
)
def test_whole_numbers_beyond_those_that_doubles_count_keep_their_size(dtype, value):
    X = pd.DataFrame({"a": np.full(40, value, dtype), "b": np.arange(40.0)})
    drawn = small().fit(X).sample(5, random_state=0)["a"]
    assert drawn.dtype == dtype
    assert all(abs(int(one) - value) <= 2**10 for one in drawn)


def test_what_is_there_is_not_touched_by_what_may_be_drawn():
    X = pd.DataFrame({"a": [0, 1, 2, 3] * 10, "b": np.arange(40.0)}).astype({"a": "Int64"})
    X.loc[3, "b"] = np.nan
    new = X.assign(a=[-7] * 40)
    assert (small().fit(X).impute(new)["a"] == -7).all()


@pytest.mark.parametrize("library", ["pandas", "nullable", "polars", "pyarrow", "objects"])
@pytest.mark.parametrize("conditions", [None, [0]])
def test_whole_numbers_that_no_double_holds_come_back_from_impute_as_they_were(library, conditions):
    ids = [2**60 + j for j in range(40)]
    frame = pd.DataFrame({"id": ids, "b": np.arange(40.0)})
    frame.loc[3, "b"] = np.nan
    nullable = frame.astype({"id": "Int64"})
    if conditions is None:
        nullable.loc[5, "id"] = pd.NA
    X = {
        "pandas": lambda: frame,
        "nullable": lambda: nullable,
        "polars": lambda: pl.DataFrame({"id": ids, "b": frame["b"].to_numpy()}, nan_to_null=True),
        "pyarrow": lambda: pa.Table.from_pandas(nullable, preserve_index=False),
        "objects": lambda: frame.astype(object).to_numpy(),
    }[library]()
    back = small(conditions=conditions).fit(X).impute(X)
    assert type(back) is type(X)
    found = back[:, 0] if isinstance(back, np.ndarray) else back["id"]
    found = found.to_pylist() if library == "pyarrow" else list(found)
    gap = 5 if library in ("nullable", "pyarrow") and conditions is None else None
    assert [one for j, one in enumerate(found) if j != gap] == [
        one for j, one in enumerate(ids) if j != gap
    ]
