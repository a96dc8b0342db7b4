"""Frames of pandas, polars and pyarrow: their columns as arrays, and arrays as such frames again.

What a frame was is remembered in words (`Frame`), so that a file can hold it.
"""

from importlib import import_module
from typing import NamedTuple

import narwhals as nw
import numpy as np
from narwhals.dependencies import (
    is_pandas_dataframe,
    is_polars_dataframe,
    is_pyarrow_table,
)

LIBRARIES = {
    "pandas": is_pandas_dataframe,
    "polars": is_polars_dataframe,
    "pyarrow": is_pyarrow_table,
}


def library_of(X):
    """Of which library a frame is.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    {"pandas", "polars", "pyarrow"} or None
        None if it is no frame, or a lazy one, whose rows are nowhere yet.
    """
    return next((name for name, is_one in LIBRARIES.items() if is_one(X)), None)


def is_frame(X):
    """Whether something is a frame of pandas, polars or pyarrow.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
        Not of lazy frames, whose rows are nowhere yet.
    """
    return library_of(X) is not None


def names_of(X):
    """Names of a frame's columns.

    Parameters
    ----------
    X : DataFrame or Table
        The frame.

    Returns
    -------
    list
        Of strings, mostly.
    """
    return list(X.column_names) if library_of(X) == "pyarrow" else list(X.columns)


class RawColumn(NamedTuple):
    """A column of a frame.

    Parameters
    ----------
    name : object
        Its name.
    type : str
        Its type in words.
    values : ndarray of shape (n_samples,)
        Numbers as numbers and all else as objects; anything where missing.
    missing : ndarray of bool of shape (n_samples,)
        Where no value is.
    declared : list or None
        Categories that the type names. Empty, if it is one of categories and names none.
    """

    name: object
    type: str
    values: np.ndarray
    missing: np.ndarray
    declared: list | None = None


def raw_columns(X):
    """The columns of a frame.

    Parameters
    ----------
    X : DataFrame or Table
        The frame.

    Returns
    -------
    list of RawColumn
        One for each.
    """
    if library_of(X) == "pandas":  # by place, as its names may occur twice or be no strings
        pairs = zip(X.columns, (X.iloc[:, j] for j in range(X.shape[1])), strict=True)
        return [_of_pandas(name, series) for name, series in pairs]
    frame = nw.from_native(X)
    return [_of_narwhals(name, frame.get_column(name)) for name in frame.columns]


def _of_pandas(name, series):
    types, dtype = import_module("pandas").api.types, series.dtype
    missing, declared = series.isna().to_numpy(dtype=bool), None
    if isinstance(dtype, import_module("pandas").CategoricalDtype):
        declared = dtype.categories.tolist()
    elif str(dtype).startswith("dictionary<"):  # of arrow
        declared = []
    if declared is None and isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        values = series.to_numpy()
    elif declared is None and hasattr(dtype, "fill_value"):  # sparse
        values = np.asarray(series)
    elif declared is None and types.is_numeric_dtype(dtype) and not _is_exact(dtype):
        kind = np.float32 if "float32" in str(dtype).lower() else np.float64
        kind = object if types.is_bool_dtype(dtype) else kind
        values = series.to_numpy(dtype=kind, na_value=None if kind is object else np.nan)
    else:
        values = series.astype(object).to_numpy()
    return RawColumn(name, str(dtype), values, missing, declared)


def _is_exact(dtype):
    return "decimal" in str(dtype)


def _of_narwhals(name, series):
    dtype = series.dtype
    missing = series.is_null().to_numpy().astype(bool)
    if dtype.is_float() or dtype.is_integer():
        kind = nw.Float32 if dtype == nw.Float32 else nw.Float64
        return RawColumn(name, str(dtype), series.cast(kind).to_numpy(), missing)
    values = np.fromiter(series.to_list(), dtype=object, count=len(series))
    declared = list(dtype.categories) if dtype == nw.Enum else None
    if dtype == nw.Categorical:
        declared = []
    native = getattr(series.to_native(), "dtype", None) or series.to_native().type
    return RawColumn(name, str(native), values, missing, declared)


def whole_limits(type_in_words):
    """Least and largest number of a type of whole numbers.

    Parameters
    ----------
    type_in_words : str
        As of `RawColumn`.

    Returns
    -------
    tuple of int or None
        None if it is no such type.
    """
    name = type_in_words.lower().removeprefix("sparse[").partition("[")[0].partition(",")[0]
    if name not in {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}:
        return None
    limits = np.iinfo(name)
    exact = 2**53  # what a double can count
    return max(int(limits.min), -exact), min(int(limits.max), exact)


def sparse_matrix(X):
    """A frame whose columns are all sparse numbers, as a CSR matrix.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    CSR or None
        None if it is anything else.
    """
    if library_of(X) != "pandas":
        return None
    sparse = [getattr(dtype, "fill_value", None) == 0 for dtype in X.dtypes]
    return X.sparse.to_coo().tocsr() if sparse and all(sparse) else None


def floats_of(X):
    """A frame all of whose columns are floats, as an array; one by one takes time if it is wide.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    ndarray or None
        None if it is anything else.
    """
    library = library_of(X)
    if library == "pandas":
        found = {str(dtype) for dtype in X.dtypes} <= {"float64", "float32"}
    else:
        found = library == "polars" and all(dtype.is_float() for dtype in X.dtypes)
    return X.to_numpy() if found else None


class Frame(NamedTuple):
    """What a frame was, in words: its library, the names of its columns and their types.

    Parameters
    ----------
    library : {"pandas", "polars", "pyarrow"}
        The library.
    names : list
        Names of the columns.
    types : list or str
        Their types, as `_in_words` puts them; for pyarrow all of them together.
    """

    library: str
    names: list
    types: object

    @classmethod
    def of(cls, X):
        """Describe a frame.

        Parameters
        ----------
        X : DataFrame or Table
            A frame of pandas, polars or pyarrow.

        Returns
        -------
        Frame
            Its library, names and types.
        """
        library = library_of(X)
        if library == "pyarrow":
            return cls(library, names_of(X), _arrow_in_words(X.schema.remove_metadata()))
        in_words = _pandas_in_words if library == "pandas" else _polars_in_words
        return cls(library, names_of(X), [in_words(dtype) for dtype in X.dtypes])

    def table(self, columns, index=None):
        """A frame of these names and types.

        Parameters
        ----------
        columns : list of list
            Values of each column.
        index : Index, optional
            Of pandas: of the rows.

        Returns
        -------
        DataFrame or Table
            Of the library.
        """
        if self.library not in LIBRARIES:  # it may come from a file
            raise ValueError(f"library must be one of {sorted(LIBRARIES)}; got {self.library!r}")
        library = import_module(self.library)
        if self.library == "pyarrow":
            schema = _arrow_of_words(self.types)
            pairs = zip(columns, schema, strict=True)
            arrays = [library.array(values, type=field.type) for values, field in pairs]
            return library.Table.from_arrays(arrays, schema=schema)
        pairs = zip(columns, self.types, strict=True)
        if self.library == "polars":
            series = [_polars_series(values, _polars_of_words(words)) for values, words in pairs]
            return library.DataFrame(dict(zip(self.names, series, strict=True)))
        if {*map(str, self.types)} in ({"float64"}, {"float32"}):  # at once
            frame = library.DataFrame(np.column_stack(columns), index, dtype=self.types[0])
        else:
            series = {
                j: library.Series(values, index=index, dtype=_pandas_of_words(words))
                for j, (values, words) in enumerate(pairs)
            }
            frame = library.DataFrame(series, index=index)
        frame.columns = self.names
        return frame


def _pandas_in_words(dtype):
    pandas = import_module("pandas")
    if isinstance(dtype, pandas.CategoricalDtype):
        index = dtype.categories
        return ("categories", index.tolist(), _pandas_in_words(index.dtype), bool(dtype.ordered))
    if isinstance(dtype, pandas.StringDtype):
        return ("string", dtype.storage, dtype.na_value is pandas.NA)
    if isinstance(dtype, pandas.SparseDtype):
        return ("sparse", _pandas_in_words(dtype.subtype), dtype.fill_value)
    if isinstance(dtype, pandas.ArrowDtype):
        arrow = import_module("pyarrow")
        return ("arrow", _arrow_in_words(arrow.schema([("", dtype.pyarrow_dtype)])))
    return str(dtype)


def _pandas_of_words(words):
    pandas = import_module("pandas")
    if isinstance(words, str):
        return pandas.api.types.pandas_dtype(words)
    kind, *told = words
    if kind == "categories":
        values, dtype, ordered = told
        index = pandas.Index(values, dtype=_pandas_of_words(dtype))
        return pandas.CategoricalDtype(index, ordered)
    if kind == "string":
        storage, nullable = told
        return pandas.StringDtype(storage, na_value=pandas.NA if nullable else np.nan)
    if kind == "sparse":
        return pandas.SparseDtype(_pandas_of_words(told[0]), told[1])
    return pandas.ArrowDtype(_arrow_of_words(told[0]).field(0).type)


def _polars_in_words(dtype):
    settings = {}
    for name in ("categories", "precision", "scale", "time_unit", "time_zone"):
        value = getattr(dtype, name, None)
        if value is not None:
            settings[name] = value.to_list() if hasattr(value, "to_list") else value
    base = str(dtype.base_type())
    if base == "Categorical":  # of which categories it does not say
        settings = {}
    return (base, settings)


def _polars_of_words(words):
    name, settings = words
    polars = import_module("polars")
    dtype = getattr(polars, name)
    if not (isinstance(dtype, type) and issubclass(dtype, polars.DataType)):
        raise ValueError(f"types of polars are wanted; got {name!r}")
    return dtype(**settings) if settings else dtype


def _polars_series(values, dtype):
    polars = import_module("polars")
    if dtype == polars.Object:
        return polars.Series(values, dtype=dtype)
    return polars.Series(values, strict=False).cast(dtype)


def _arrow_in_words(schema):
    return schema.serialize().to_pybytes().hex()


def _arrow_of_words(words):
    arrow = import_module("pyarrow")
    return import_module("pyarrow.ipc").read_schema(arrow.py_buffer(bytes.fromhex(words)))
