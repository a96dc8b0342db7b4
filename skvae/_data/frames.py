"""Frames of pandas, polars and pyarrow: their columns as arrays, and frames built from arrays.

The library and the types of a frame are kept as plain strings and lists (`FrameSchema`), which a
file can hold.
"""

from importlib import import_module
from typing import NamedTuple

import narwhals as nw
import numpy as np
from narwhals.dependencies import (
    is_pandas_dataframe,
    is_polars_dataframe,
    is_polars_lazyframe,
    is_pyarrow_table,
)

LIBRARIES = {
    "pandas": is_pandas_dataframe,
    "polars": is_polars_dataframe,
    "pyarrow": is_pyarrow_table,
}


def library_of(X):
    """Return the name of a frame's library; None for other objects and for lazy frames."""
    return next((name for name, is_one in LIBRARIES.items() if is_one(X)), None)


def is_frame(X):
    """Tell whether X is a frame; refuse a lazy one of polars, which has no rows yet."""
    if is_polars_lazyframe(X):
        raise TypeError("X is a lazy frame, which has no rows yet. Pass X.collect().")
    return library_of(X) is not None


def names_of(X):
    """List the names of a frame's columns. Those of pandas may be of any type."""
    return list(X.column_names) if library_of(X) == "pyarrow" else list(X.columns)


def has_float_columns(X):
    """Return whether an object is a frame of pandas or polars, all of whose columns are floats."""
    library = library_of(X)
    if library == "pandas":
        return {str(dtype) for dtype in X.dtypes} <= {"float64", "float32"}
    return library == "polars" and all(dtype.is_float() for dtype in X.dtypes)


def has_sparse_columns(X):
    """Return whether an object is a frame of pandas, all of whose columns are sparse around 0."""
    if library_of(X) != "pandas" or not len(X.dtypes):
        return False
    return all(getattr(dtype, "fill_value", None) == 0 for dtype in X.dtypes)


def array_at_once(X):
    """Convert a frame of floats to an array, or of sparse numbers to CSR; return None for others.

    It does not look at single columns, because that takes time in a wide frame.
    """
    if has_sparse_columns(X):
        return X.sparse.to_coo().tocsr()
    return X.to_numpy() if has_float_columns(X) else None


def cells_of(X, j):
    """List the cells of a column of a table as they are, and not as floats."""
    if library_of(X) == "pandas":
        return X.iloc[:, j].astype(object).tolist()
    if is_frame(X):
        frame = nw.from_native(X)
        return frame.get_column(frame.columns[j]).to_list()
    return np.asarray(X, dtype=object)[:, j].tolist()


class RawColumn(NamedTuple):
    """A column of a frame, as it is stored: the arguments of `skvae._data.columns.column_of`."""

    name: object
    values: np.ndarray  # numbers or objects; those of missing cells have no meaning
    missing: np.ndarray  # mask of the missing cells
    declared: list | None  # categories that the type declares; None if it is not categorical
    type: str


def raw_columns(X):
    """List the columns of a frame, in order."""
    if library_of(X) == "pandas":  # by position, as names need not be strings or unique
        pairs = zip(X.columns, (X.iloc[:, j] for j in range(X.shape[1])), strict=True)
        return [_of_pandas(name, series) for name, series in pairs]
    frame = nw.from_native(X)
    return [_of_narwhals(name, frame.get_column(name)) for name in frame.columns]


def _of_pandas(name, series):
    import pandas

    types, dtype = pandas.api.types, series.dtype
    missing, declared = series.isna().to_numpy(dtype=bool), None
    if isinstance(dtype, pandas.CategoricalDtype):
        declared = dtype.categories.tolist()
    elif str(dtype).startswith("dictionary<"):  # categories of arrow
        declared = []
    if declared is None and isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        values = series.to_numpy()
    elif declared is None and hasattr(dtype, "fill_value"):  # sparse
        values = np.asarray(series)
    elif declared is None and _is_real(dtype):
        kind = np.float32 if "float32" in str(dtype).lower() else np.float64
        kind = object if types.is_bool_dtype(dtype) else kind
        values = series.to_numpy(dtype=kind, na_value=None if kind is object else np.nan)
    else:
        values = series.astype(object).to_numpy()
    return RawColumn(name, values, missing, declared, str(dtype))


def _is_real(dtype):
    """Tell whether a type of pandas is one of numbers or booleans that floats can hold."""
    from pandas.api import types

    is_numeric = types.is_numeric_dtype(dtype) and "decimal" not in str(dtype)
    return is_numeric and not types.is_complex_dtype(dtype)


def _of_narwhals(name, series):
    dtype = series.dtype
    missing = series.is_null().to_numpy().astype(bool)
    if dtype.is_integer():  # not by a cast, which pyarrow refuses beyond 2**53
        return RawColumn(name, series.to_numpy().astype(np.float64), missing, None, str(dtype))
    if dtype.is_float():
        kind = nw.Float32 if dtype == nw.Float32 else nw.Float64
        return RawColumn(name, series.cast(kind).to_numpy(), missing, None, str(dtype))
    values = np.fromiter(series.to_list(), dtype=object, count=len(series))
    declared = list(dtype.categories) if dtype == nw.Enum else None
    if dtype == nw.Categorical:
        declared = []
    native = getattr(series.to_native(), "dtype", None) or series.to_native().type
    return RawColumn(name, values, missing, declared, str(native))


class FrameSchema(NamedTuple):
    """Library, names and types of a frame, as plain strings and lists."""

    library: str
    names: list
    types: object  # descriptions of the types, in strings, tuples and dicts; one for all of pyarrow

    @classmethod
    def of(cls, X):
        """Describe a frame."""
        library = library_of(X)
        if library == "pyarrow":
            return cls(library, names_of(X), _describe_schema(X.schema.remove_metadata()))
        describe = _describe_pandas if library == "pandas" else _describe_polars
        return cls(library, names_of(X), [describe(dtype) for dtype in X.dtypes])

    def build(self, columns, index=None):
        """Build a frame of these names and types from the values of each column.

        The index labels the rows of a frame of pandas.
        """
        if self.library not in LIBRARIES:  # it may come from a file
            raise ValueError(f"library must be one of {sorted(LIBRARIES)}; got {self.library!r}")
        library = import_module(self.library)
        if self.library == "pyarrow":
            schema = _arrow_schema(self.types)
            pairs = zip(columns, schema, strict=True)
            arrays = [library.array(values, type=field.type) for values, field in pairs]
            return library.Table.from_arrays(arrays, schema=schema)
        pairs = zip(columns, self.types, strict=True)
        if self.library == "polars":
            series = [
                _polars_series(values, _polars_type(description)) for values, description in pairs
            ]
            return library.DataFrame(dict(zip(self.names, series, strict=True)))
        if {*map(str, self.types)} in ({"float64"}, {"float32"}):  # faster if the frame is wide
            frame = library.DataFrame(np.column_stack(columns), index, dtype=self.types[0])
        else:
            series = {
                j: library.Series(values, index=index, dtype=_pandas_type(description))
                for j, (values, description) in enumerate(pairs)
            }
            frame = library.DataFrame(series, index=index)
        frame.columns = self.names
        return frame


def _describe_pandas(dtype):
    import pandas

    if isinstance(dtype, pandas.CategoricalDtype):
        index = dtype.categories
        return ("categories", index.tolist(), _describe_pandas(index.dtype), bool(dtype.ordered))
    if isinstance(dtype, pandas.StringDtype):
        return ("string", dtype.storage, dtype.na_value is pandas.NA)
    if isinstance(dtype, pandas.SparseDtype):
        return ("sparse", _describe_pandas(dtype.subtype), dtype.fill_value)
    if isinstance(dtype, pandas.ArrowDtype):
        import pyarrow

        return ("arrow", _describe_schema(pyarrow.schema([("", dtype.pyarrow_dtype)])))
    return str(dtype)


def _pandas_type(description):
    import pandas

    if isinstance(description, str):
        return pandas.api.types.pandas_dtype(description)
    kind, *settings = description
    if kind == "categories":
        values, dtype, ordered = settings
        index = pandas.Index(values, dtype=_pandas_type(dtype))
        return pandas.CategoricalDtype(index, ordered)
    if kind == "string":
        storage, nullable = settings
        return pandas.StringDtype(storage, na_value=pandas.NA if nullable else np.nan)
    if kind == "sparse":
        return pandas.SparseDtype(_pandas_type(settings[0]), settings[1])
    return pandas.ArrowDtype(_arrow_schema(settings[0]).field(0).type)


def _describe_polars(dtype):
    settings = {}
    for name in ("categories", "precision", "scale", "time_unit", "time_zone"):
        value = getattr(dtype, name, None)
        if value is not None:
            settings[name] = value.to_list() if hasattr(value, "to_list") else value
    base = str(dtype.base_type())
    if base == "Categorical":  # its categories are not part of the type
        settings = {}
    return (base, settings)


def _polars_type(description):
    import polars

    name, settings = description
    dtype = getattr(polars, name)
    if not (isinstance(dtype, type) and issubclass(dtype, polars.DataType)):
        raise ValueError(f"types of polars are needed; got {name!r}")
    return dtype(**settings) if settings else dtype


def _polars_series(values, dtype):
    import polars

    if dtype == polars.Object:
        return polars.Series(values, dtype=dtype)
    return polars.Series(values, strict=False).cast(dtype)


def _describe_schema(schema):
    return schema.serialize().to_pybytes().hex()


def _arrow_schema(description):
    from pyarrow import ipc, py_buffer

    return ipc.read_schema(py_buffer(bytes.fromhex(description)))
