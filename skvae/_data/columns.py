"""The columns of a table in any container: their kinds, and their values as numbers.

In the numbers, a category is its position among the categories of the column, and a missing cell
is NaN.
"""

from decimal import Decimal
from numbers import Real
from typing import NamedTuple

import numpy as np

from skvae._data.frames import is_frame, raw_columns

# Kinds of Python objects. The first that fits counts, because a bool is also a number in Python.
KINDS_OF_OBJECTS = [
    ((bool, np.bool_), "bool"),
    ((Real, Decimal), "number"),
    ((str, bytes), "category"),
]
KINDS_OF_DTYPES = dict.fromkeys("iuf", "number") | dict.fromkeys("US", "category") | {"b": "bool"}


class Column(NamedTuple):
    """A column of a table, with its kind."""

    name: object  # for errors
    kind: str  # "number", "bool", "category" or "other", as `column_of` finds it
    type: str  # name of its type, for errors
    values: np.ndarray  # (n_samples,); those of missing cells have no meaning
    missing: np.ndarray  # (n_samples,), mask of the missing cells
    declared: tuple = ()  # categories that the type declares, whether they occur or not
    limits: tuple | None = None  # smallest and largest value of an integer type

    def type_error(self, reason):
        """Return the error for values of this type: a TypeError for objects, as in scikit-learn."""
        if self.type.startswith("object"):
            return TypeError(
                f"Column {self.name!r} is of type {self.type}, {reason} Each argument must be a "
                "string or a number."
            )
        return ValueError(f"Column {self.name!r} is of type {self.type}, {reason}")

    def numbers(self):
        """Convert the values to floats, in single precision if stored in it; NaN where missing."""
        dtype = np.float32 if self.values.dtype == np.float32 else np.float64
        numbers = np.full(len(self.values), np.nan, dtype)
        hint = (
            "Convert it to numbers, or pass likelihood='auto', which takes strings, booleans and "
            "categories as categories, or likelihood=[('categorical', [...])]."
        )
        if self.kind == "other":
            raise self.type_error(f"which is not a number. {hint}")
        try:
            numbers[~self.missing] = self.values[~self.missing].astype(dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Column {self.name!r} holds values that are not numbers: {error}. {hint}"
            ) from error
        return numbers

    def categories(self):
        """List the values that occur or are declared, each once, in ascending order."""
        try:
            return sorted({*self.values[~self.missing].tolist(), *self.declared})
        except TypeError as error:
            raise ValueError(
                f"Column {self.name!r} holds categories that have no order: {error}. Convert them "
                "to strings."
            ) from error

    def positions(self, categories):
        """Find the position of each value among the categories; NaN where missing."""
        position = {category: i for i, category in enumerate(categories)}
        values = self.values[~self.missing].tolist()
        unknown = sorted({value for value in values if value not in position}, key=str)
        if unknown:
            raise ValueError(
                f"Column {self.name!r} holds categories that fit has not seen: {unknown[:5]}. "
                "Name all of them in fit, by a categorical dtype, or leave these cells empty."
            )
        positions = np.full(len(self.values), np.nan)
        positions[~self.missing] = [position[value] for value in values]
        return positions


def numbers_of(columns, categories):
    """Convert columns to an array of shape (n_samples, n_columns), NaN where missing.

    Columns and the categories of the categorical ones are dicts by position in the table.
    """
    return np.column_stack(
        [
            column.positions(categories[j]) if j in categories else column.numbers()
            for j, column in columns.items()
        ]
    )


def column_of(name, values, missing=None, declared=None, type_name=None):
    """Make a column, and find its kind from its values rather than the type of their container.

    Booleans are "bool"; real numbers of any type, decimals and fractions included, are "number";
    strings are "category", and so are strings among numbers, and all values whose type declares
    categories (`declared` is not None). Dates and all other values, for which there is no
    likelihood, are "other". A column without values is "number".

    Cells that hold None, NaN or pandas' NA are missing in addition to those of the mask `missing`.
    """
    empty = _empty(values)
    missing = empty if missing is None else missing | empty
    type_name = type_name or str(values.dtype)
    limits = _integer_limits(type_name)
    if declared is not None:
        return Column(name, "category", type_name, values, missing, tuple(declared))
    if values.dtype != object:
        kind = KINDS_OF_DTYPES.get(values.dtype.kind, "other")
        return Column(name, kind, type_name, values, missing, (), limits)
    types = {type(value) for value in values[~missing].tolist()}
    of_kind = {_kind_of(one): one for one in types}
    kind = next((k for k in ("other", "category", "number", "bool") if k in of_kind), "number")
    if kind == "other" and type_name == "object":
        type_name = f"object ({of_kind['other'].__name__})"
    if types and all(issubclass(one, int | np.integer) for one in types):
        limits = _integer_limits("int64")
    return Column(name, kind, type_name, values, missing, (), limits)


def _integer_limits(type_name):
    """Find the smallest and largest number of an integer type; None for other types.

    Both are numbers that doubles can hold.
    """
    name = type_name.lower().removeprefix("sparse[").partition("[")[0].partition(",")[0]
    if name not in {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}:
        return None
    limits = np.iinfo(name)
    largest = float(limits.max)
    if largest > int(limits.max):  # rounded up
        largest = np.nextafter(largest, 0.0)
    return int(limits.min), int(largest)


def _kind_of(object_type):
    kinds = (kind for types, kind in KINDS_OF_OBJECTS if issubclass(object_type, types))
    return next(kinds, "other")


def _empty(values):
    """Return the mask of the cells that hold None, NaN, NaT or pandas' NA."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype != object:
        return np.zeros(len(values), dtype=bool)
    return np.fromiter((_is_nothing(value) for value in values), dtype=bool, count=len(values))


def _is_nothing(value):
    if value is None:
        return True
    try:
        return bool(value != value)  # true of NaN and NaT
    except TypeError:  # pandas' NA, whose comparisons are neither true nor false
        return True
    except ValueError:  # an array
        return False


def columns_of(X):
    """List the columns of an array or a frame, in order."""
    if is_frame(X):
        return [column_of(*raw) for raw in raw_columns(X)]
    return [column_of(j, values) for j, values in enumerate(X.T)]
