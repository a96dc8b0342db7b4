"""From a table to numbers and back: what a column is, and which categories it has.

Tables are arrays, CSR matrices, or frames of pandas or polars. In the numbers, a category is its
place among the column's categories, and a missing cell is NaN.
"""

from importlib import import_module
from typing import NamedTuple

import narwhals as nw
import numpy as np
from scipy.sparse import issparse
from sklearn.utils._indexing import _get_column_indices

from skvae.likelihoods import LIKELIHOODS

# By a column's type, what it is described by and how it is a condition.
LIKELIHOOD_OF = {"number": "gaussian", "bool": "bernoulli", "category": "categorical"}
CONDITION_OF = {"number": "numeric", "bool": "categorical", "category": "categorical"}


class Column(NamedTuple):
    """A column as it comes.

    Parameters
    ----------
    name : object
        What errors call it.
    kind : {"number", "bool", "category"}
        By its type.
    values : ndarray of shape (n_samples,)
        Anything where missing.
    missing : ndarray of bool of shape (n_samples,)
        Where no value is.
    declared : tuple
        Categories that the type names, whether they occur or not.
    """

    name: object
    kind: str
    values: np.ndarray
    missing: np.ndarray
    declared: tuple = ()

    def numbers(self):
        """The values as floats.

        Returns
        -------
        ndarray of shape (n_samples,)
            NaN where missing.
        """
        numbers = np.full(len(self.values), np.nan)
        try:
            numbers[~self.missing] = self.values[~self.missing].astype(float)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Column {self.name!r} holds what is not a number: {error}. Convert it, or give it "
                "the likelihood 'categorical'."
            ) from error
        return numbers

    def categories(self):
        """All values that there are or can be, in their order.

        Returns
        -------
        list
            Each once.
        """
        found = {*self.values[~self.missing].tolist(), *self.declared}
        try:
            return sorted(found)
        except TypeError as error:
            raise ValueError(
                f"Column {self.name!r} holds categories that have no order: {error}. Convert them "
                "to strings."
            ) from error

    def places(self, categories):
        """The place of each value among the categories.

        Parameters
        ----------
        categories : list
            What there can be.

        Returns
        -------
        ndarray of shape (n_samples,)
            From 0 on; NaN where missing.
        """
        place = {category: i for i, category in enumerate(categories)}
        values = self.values[~self.missing].tolist()
        unknown = sorted({value for value in values if value not in place}, key=str)
        if unknown:
            raise ValueError(
                f"Column {self.name!r} holds categories that were not there in fit: {unknown[:5]}. "
                "Name all of them in fit, by a categorical dtype, or leave these cells empty."
            )
        places = np.full(len(self.values), np.nan)
        places[~self.missing] = [place[value] for value in values]
        return places


def columns_of(X):
    """The columns of a table.

    Parameters
    ----------
    X : ndarray or DataFrame
        The table.

    Returns
    -------
    list of Column
        One for each.

    Raises
    ------
    ValueError
        If one is neither numbers nor categories, dates say.
    """
    if is_frame(X):
        return [_of_series(series) for series in nw.from_native(X).iter_columns()]
    return [_of_array(j, values) for j, values in enumerate(X.T)]


def is_frame(X):
    """Whether something is a DataFrame, of whatever library.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
        Not of lazy frames, whose rows are nowhere yet.
    """
    return isinstance(nw.from_native(X, eager_only=True, pass_through=True), nw.DataFrame)


def _of_series(series):
    dtype, native = series.dtype, series.to_native()
    missing = series.is_null().to_numpy().astype(bool)
    if dtype.is_float() or dtype.is_integer():
        values = series.cast(nw.Float64).to_numpy()
        return Column(series.name, "number", values, missing | np.isnan(values))
    values = series.to_numpy()
    if dtype == nw.Boolean:
        return Column(series.name, "bool", values, missing)
    if dtype not in (nw.String, nw.Categorical, nw.Enum, nw.Object):
        raise ValueError(
            f"Column {series.name!r} is of type {dtype}, for which there is no likelihood. Convert "
            "it to numbers, booleans or categories, or leave it out."
        )
    # An Enum names its categories; of pandas, any categorical type does.
    declared = dtype.categories if dtype == nw.Enum else ()
    if dtype == nw.Categorical:
        declared = getattr(native.cat, "categories", ())
    return Column(series.name, "category", values, missing, tuple(declared))


def _of_array(j, values):
    # Of an array of objects, None and NaN (which does not equal itself) are missing.
    missing = np.equal(values, None).astype(bool) | (values != values).astype(bool)
    types = {type(value) for value in values[~missing].tolist()}
    kind = "bool" if types == {bool} else "category" if types & {str, bytes} else "number"
    return Column(j, kind, values, missing)


class Frame(NamedTuple):
    """Of which library a frame is, and the types of its columns, in words.

    Parameters
    ----------
    library : {"pandas", "polars"}
        The library.
    types : list of tuple
        Of each column the name of its type, its declared categories or None, and whether these
        have an order.
    """

    library: str
    types: list

    @classmethod
    def of(cls, X):
        """Describe a frame."""
        if not nw.from_native(X).implementation.is_pandas():
            kinds = [
                (str(kind.base_type()), getattr(kind, "categories", None)) for kind in X.dtypes
            ]
            return cls("polars", [(name, _plain(found), False) for name, found in kinds])
        kinds = [(str(kind), getattr(kind, "categories", None), kind) for kind in X.dtypes]
        return cls(
            "pandas",
            [
                (name, _plain(found), bool(getattr(kind, "ordered", 0)))
                for name, found, kind in kinds
            ],
        )

    def empty(self, names):
        """A frame of these types without rows."""
        library = import_module(self.library)
        if self.library == "polars":
            kinds = (getattr(library, name) for name, *_ in self.types)
            told = zip(kinds, self.types, strict=True)
            types = [kind(found) if kind is library.Enum else kind for kind, (_, found, _) in told]
            return library.DataFrame(schema=dict(zip(names, types, strict=True)))
        types = [
            name if found is None else library.CategoricalDtype(found, ordered)
            for name, found, ordered in self.types
        ]
        return library.DataFrame(columns=names).astype(dict(zip(names, types, strict=True)))


def _plain(categories):
    # A Categorical of polars does not say which they are, an Enum does.
    return list(categories.to_list()) if hasattr(categories, "to_list") else None


class Table:
    """What is known of a table after `fit`: what its columns are, and their categories.

    Parameters
    ----------
    X : ndarray, CSR or DataFrame of shape (n_samples, n_features)
        The table.
    likelihood : str, callable or list of (str or callable, columns)
        The likelihood of all columns, or of those. "auto" goes by their types, and so do the
        columns that no pair names.
    conditions : list or None, default=None
        Columns that are given and not described: a list of columns, or of pairs of "numeric" or
        "categorical" and columns.

    Attributes
    ----------
    parts : list of (str or callable, ndarray of int)
        Likelihoods, each with its columns.
    described : ndarray of int
        The columns that have a likelihood.
    conditions : dict
        Of each column that is a condition, "numeric" or "categorical".
    seen_conditions : ndarray of shape (n_samples, n_conditions)
        Their numbers in this table.
    categories : dict of list
        Of each column that is categorical, what there can be.
    """

    def __init__(self, X, likelihood, conditions=None):
        columns = None if issparse(X) else columns_of(X)
        self.frame = Frame.of(X) if is_frame(X) else None
        self.names = nw.from_native(X).columns if is_frame(X) else list(range(X.shape[1]))
        kinds = ["number"] * X.shape[1] if columns is None else [column.kind for column in columns]
        self.conditions = {}
        if conditions is not None:
            given = _pairs("conditions", conditions, X, {*CONDITION_OF.values()}, plain="auto")
            self.conditions = dict(sorted(_of_kinds(given, kinds, CONDITION_OF).items()))
        self.described = np.array([j for j in range(X.shape[1]) if j not in self.conditions])
        if not len(self.described):
            raise ValueError("conditions name all columns of X and leave none to be described")
        pairs = likelihood if isinstance(likelihood, list) else [(likelihood, self.described)]
        given = _pairs("likelihood", pairs, X, LIKELIHOODS)
        for j in given.keys() & self.conditions.keys():
            raise ValueError(
                f"Column {self.names[j]!r} is named both in likelihood and in conditions"
            )
        rest = {j: "auto" for j in self.described.tolist() if j not in given}
        described = _of_kinds(given | rest, kinds, LIKELIHOOD_OF)
        self.parts = [
            (one, np.array(sorted(j for j in described if described[j] == one)))
            for one in dict.fromkeys(described.values())
        ]
        both = described | self.conditions
        categorical = sorted(j for j in both if both[j] == "categorical")
        if columns is None and (categorical or self.conditions):
            raise TypeError(
                "Categories and conditions need a dense X; got a sparse matrix. Pass X.toarray()."
            )
        self.categories = {j: columns[j].categories() for j in categorical}
        self.seen_conditions = self._numbers(columns, self.conditions)

    def numbers(self, X):
        """The table as numbers.

        Parameters
        ----------
        X : ndarray, CSR or DataFrame of shape (n_samples, n_features)
            A table of the same columns.

        Returns
        -------
        ndarray or CSR of shape (n_samples, n_features)
            Numbers, NaN where missing; what has no categories is an array as it is.
        """
        if issparse(X) or (not is_frame(X) and not self.categories and X.dtype.kind in "fiub"):
            return X
        return self._numbers(columns_of(X), range(X.shape[1]))

    def _numbers(self, columns, which):
        """Numbers of those of the columns."""
        numbers = []
        for j in which:
            categories = self.categories.get(j)
            one = columns[j]
            numbers.append(one.numbers() if categories is None else one.places(categories))
        return np.column_stack(numbers) if numbers else None

    def given(self, conditions):
        """Values of the conditions as numbers.

        Parameters
        ----------
        conditions : dict, array-like or DataFrame of shape (n_samples, n_conditions)
            A frame or dict by the names of the columns, an array in their order in X; a single
            row may be flat.

        Returns
        -------
        ndarray of shape (n_samples, n_conditions)
            As in `seen_conditions`.
        """
        names = self.names
        wanted = [names[j] for j in self.conditions]
        if is_frame(conditions) or isinstance(conditions, dict):
            there = (
                conditions if isinstance(conditions, dict) else nw.from_native(conditions).columns
            )
            absent = [name for name in wanted if name not in there]
            if absent:
                raise ValueError(f"conditions lack {absent}; the conditions are {wanted}")
        if is_frame(conditions):
            frame = nw.from_native(conditions)
            columns = [_of_series(frame.get_column(name)) for name in wanted]
        else:
            if isinstance(conditions, dict):
                conditions = [[conditions[name] for name in wanted]]
            values = np.atleast_2d(np.asarray(conditions, dtype=object))
            if values.ndim != 2 or values.shape[1] != len(wanted):
                raise ValueError(
                    f"conditions must have a column for each of {wanted}; got an array of shape "
                    f"{values.shape}"
                )
            pairs = zip(wanted, values.T, strict=True)
            columns = [_of_array(name, column) for name, column in pairs]
        return self._numbers(dict(zip(self.conditions, columns, strict=True)), self.conditions)

    @property
    def n_context(self):
        """Columns of `context`."""
        return sum(len(self.categories.get(j, [0])) for j in self.conditions)

    def context(self, numbers):
        """What encoder and decoder are told of the conditions.

        Parameters
        ----------
        numbers : ndarray of shape (n_samples, n_conditions)
            The conditions' columns, in their order in X.

        Returns
        -------
        ndarray of shape (n_samples, n_context)
            Numeric columns as mean 0 and variance 1 in `fit`, categories as indicators.
        """
        told = []
        for j, column in zip(self.conditions, numbers.T, strict=True):
            if np.isnan(column).any():
                raise ValueError(
                    f"Column {self.names[j]!r} is a condition, and none of its cells may be missing"
                )
            if j in self.categories:
                told.append(column[:, None] == np.arange(len(self.categories[j])))
            else:
                seen = self.seen_conditions[:, list(self.conditions).index(j)]
                told.append((column[:, None] - seen.mean()) / (seen.std() or 1.0))
        return np.hstack(told).astype(float)

    def table(self, numbers):
        """Numbers as a table of the kind that the columns were learnt of.

        Parameters
        ----------
        numbers : ndarray of shape (n_samples, n_features)
            As `numbers` returns them, but none missing.

        Returns
        -------
        ndarray or DataFrame
            Of the same columns; in a frame, of the same types.
        """
        columns = list(numbers.T)
        for j, categories in self.categories.items():
            values = np.array(categories)
            if values.dtype.kind not in "fiub":
                values = np.array(
                    [*categories, None], dtype=object
                )  # of one axis, whatever they are
            columns[j] = values[columns[j].astype(int)]
        if self.frame is None:
            if all(column.dtype != object for column in columns):
                return np.column_stack(columns).astype(numbers.dtype)
            return np.column_stack([column.astype(object) for column in columns])
        empty = self.frame.empty(self.names)
        template = nw.from_native(empty)
        columns = {
            name: _typed(values, template.schema[name])
            for name, values in zip(template.columns, columns, strict=True)
        }
        frame = nw.from_dict(columns, backend=template.implementation)
        if template.implementation.is_pandas():  # it has types that narwhals does not tell apart
            return frame.to_native().astype(empty.dtypes.to_dict())
        types = template.schema.items()
        return frame.select(nw.col(name).cast(dtype) for name, dtype in types).to_native()


def _typed(values, dtype):
    """Values as the Python objects that a column of that type can be made of."""
    if values.dtype == object:
        return values.tolist()
    if dtype == nw.Boolean:
        return (values >= 0.5).tolist()
    if dtype.is_integer():
        values = np.rint(values)
        return (np.maximum(values, 0.0) if dtype.is_unsigned_integer() else values).astype(int)
    return values


def _pairs(name, pairs, X, known, plain=None):
    """What each column named by the pairs is; `plain` for columns that stand by themselves."""
    found = {}
    for pair in pairs:
        what, columns = pair if isinstance(pair, tuple) else (plain, [pair])
        if what is None:
            raise ValueError(f"{name} must hold pairs (likelihood, columns); got {pair!r}")
        if not callable(what) and what not in ("auto", *known):
            raise ValueError(f"{name} names {what!r}, which is none of {sorted(known)}")
        if callable(columns):  # as make_column_selector
            columns = columns(X)
        try:
            numbers = _get_column_indices(X, columns)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{name} names columns that X does not have: {error}") from error
        for j in numbers:
            if j in found:
                raise ValueError(f"{name} names a column twice, number {j}")
            found[int(j)] = what
    return found


def _of_kinds(given, kinds, of_kind):
    """The same with "auto" replaced by what a column's type stands for."""
    return {j: of_kind[kinds[j]] if what == "auto" else what for j, what in given.items()}
