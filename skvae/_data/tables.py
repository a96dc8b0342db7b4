"""From a table to numbers and back: what a column is, and which categories it has.

Tables are arrays, CSR matrices, or frames of pandas, polars or pyarrow. In the numbers, a category
is its place among the column's categories, and a missing cell is NaN.
"""

from decimal import Decimal
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from skvae._data.frames import (
    Frame,
    floats_of,
    is_frame,
    names_of,
    raw_columns,
    sparse_matrix,
    whole_limits,
)
from skvae._sklearn import column_indices
from skvae._warnings import warn
from skvae.likelihoods import LIKELIHOODS

# By a column's kind, what it is described by and how it is a condition.
LIKELIHOOD_OF = {"number": "gaussian", "bool": "bernoulli", "category": "categorical"}
CONDITION_OF = {"number": "numeric", "bool": "categorical", "category": "categorical"}

# What Python objects are, the first that fits: a bool is a number to Python.
KINDS = [((bool, np.bool_), "bool"), ((Real, Decimal), "number"), ((str, bytes), "category")]
MANY_CATEGORIES = 1000  # with as many indicators and logits


class Column(NamedTuple):
    """A column as it comes.

    Parameters
    ----------
    name : object
        What errors call it.
    kind : {"number", "bool", "category", "other"}
        By its values, see `column_of`.
    type : str
        What it holds, in words.
    values : ndarray of shape (n_samples,)
        Anything where missing.
    missing : ndarray of bool of shape (n_samples,)
        Where no value is.
    declared : tuple
        Categories that the type names, whether they occur or not.
    limits : tuple of int or None
        Least and largest value, if these are whole numbers.
    """

    name: object
    kind: str
    type: str
    values: np.ndarray
    missing: np.ndarray
    declared: tuple = ()
    limits: tuple | None = None

    def foreign(self, why):
        """Make the error that refuses values that are no numbers, strings or booleans.

        Parameters
        ----------
        why : str
            The rule, and what to do.

        Returns
        -------
        TypeError or ValueError
            The former for objects of Python, as scikit-learn has it.
        """
        if self.type.startswith("object"):
            return TypeError(
                f"Column {self.name!r} is of type {self.type}, {why} Each argument must be a "
                "string or a number."
            )
        return ValueError(f"Column {self.name!r} is of type {self.type}, {why}")

    def numbers(self):
        """The values as floats.

        Returns
        -------
        ndarray of shape (n_samples,)
            NaN where missing; of single precision if the values are.
        """
        dtype = np.float32 if self.values.dtype == np.float32 else np.float64
        numbers = np.full(len(self.values), np.nan, dtype)
        hint = (
            "Convert it to numbers, or pass likelihood='auto', which takes strings, booleans and "
            "categories as categories, or likelihood=[('categorical', [...])]."
        )
        if self.kind == "other":
            raise self.foreign(f"which is not a number. {hint}")
        try:
            numbers[~self.missing] = self.values[~self.missing].astype(dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Column {self.name!r} holds what is not a number: {error}. {hint}"
            ) from error
        return numbers

    def categories(self):
        """All values that there are or can be, in their order.

        Returns
        -------
        list
            Each once.
        """
        try:
            return sorted({*self.values[~self.missing].tolist(), *self.declared})
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


def column_of(name, values, missing=None, declared=None, type_in_words=None):
    """A column of any container, told by its values: the one place where kinds are decided.

    What is there counts and not the array it is in: booleans are "bool", real numbers of any type
    "number" (decimals and fractions too), strings "category", and so is all of which the type says
    that these are categories. Strings among numbers make categories. All else, dates say, is
    "other", for which there is no likelihood. Where nothing is, "number".

    Parameters
    ----------
    name : object
        What errors call it.
    values : ndarray of shape (n_samples,)
        The values.
    missing : ndarray of bool of shape (n_samples,), optional
        Where no value is; by default where they are None, NaN, or what pandas has for it.
    declared : list or None, default=None
        Categories that the type names; None if it is no type of categories.
    type_in_words : str, optional
        The type, for errors; by default that of the values.

    Returns
    -------
    Column
        With its kind.
    """
    empty = _empty(values)
    missing = empty if missing is None else missing | empty
    type_in_words = type_in_words or str(values.dtype)
    limits = whole_limits(type_in_words)
    if declared is not None:
        return Column(name, "category", type_in_words, values, missing, tuple(declared))
    kind = {"b": "bool", "i": "number", "u": "number", "f": "number", "U": "category"}
    kind |= {"S": "category"}
    kind = kind.get(values.dtype.kind, "other")
    if values.dtype == object:
        types = {type(value) for value in values[~missing].tolist()}
        kinds = {_kind_of_type(one): one for one in types}
        kind = next((k for k in ("other", "category", "number", "bool") if k in kinds), "number")
        if types and kind == "other" and type_in_words == "object":
            type_in_words = f"{type_in_words} ({kinds['other'].__name__})"
        if types and all(issubclass(one, int | np.integer) for one in types):
            limits = whole_limits("int64")
    return Column(name, kind, type_in_words, values, missing, (), limits)


def _kind_of_type(cls):
    return next((kind for classes, kind in KINDS if issubclass(cls, classes)), "other")


def _empty(values):
    """Where an array holds nothing."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype != object:
        return np.zeros(len(values), dtype=bool)
    return np.fromiter((_is_nothing(value) for value in values), dtype=bool, count=len(values))


def _is_nothing(value):
    """Whether it is None, or not equal to itself as NaN is, or nobody knows, as of pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True
    except ValueError:  # of an array
        return False


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
    """
    if is_frame(X):
        return [
            column_of(raw.name, raw.values, raw.missing, raw.declared, raw.type)
            for raw in raw_columns(X)
        ]
    return [column_of(j, values) for j, values in enumerate(X.T)]


class Drawn:
    """Moments of the conditions' columns, to draw new ones from. It keeps no rows.

    How often each combination of categories was, and of the numbers their means in it and the
    covariance around these (the general location model, Olkin and Tate 1961).

    Parameters
    ----------
    numbers : ndarray of shape (n_samples, n_conditions)
        The conditions.
    categorical : ndarray of bool of shape (n_conditions,)
        Which of them are categories.
    """

    def __init__(self, numbers, categorical):
        self.categorical = categorical
        real = numbers[:, ~categorical]
        self.combinations, group = np.zeros((1, 0)), np.zeros(len(numbers), dtype=int)
        if categorical.any():
            self.combinations, group = np.unique(
                numbers[:, categorical], axis=0, return_inverse=True
            )
        counts = np.bincount(group.ravel())
        self.shares = counts / len(numbers)
        sums = np.zeros((len(counts), real.shape[1]))
        np.add.at(sums, group.ravel(), real)
        self.means = sums / counts[:, None]
        around = real - self.means[group.ravel()]
        self.covariance = around.T @ around / len(numbers)
        self.least, self.most = real.min(0), real.max(0)

    def draw(self, n_samples, random_state):
        """Draw new rows of conditions.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : RandomState
            Source of randomness.

        Returns
        -------
        ndarray of shape (n_samples, n_conditions)
            Combinations that there were; numbers within the range that there was.
        """
        group = random_state.choice(len(self.shares), size=n_samples, p=self.shares)
        drawn = np.empty((n_samples, len(self.categorical)))
        drawn[:, self.categorical] = self.combinations[group]
        if len(self.least):
            zeros = np.zeros(len(self.least))
            around = random_state.multivariate_normal(zeros, self.covariance, size=n_samples)
            drawn[:, ~self.categorical] = (self.means[group] + around).clip(self.least, self.most)
        return drawn


class Table:
    """What is known of a table after `fit`: what its columns are, and their categories.

    Parameters
    ----------
    X : ndarray, CSR or DataFrame of shape (n_samples, n_features)
        The table.
    likelihood : str, callable or list of (str or callable, columns)
        The likelihood of all columns, or of those. "auto" goes by their kinds, and so do the
        columns that no pair names.
    conditions : list or None, default=None
        Columns that are given and not described: a list of columns, or of pairs of "numeric" or
        "categorical" and columns.

    Attributes
    ----------
    frame : skvae._data.frames.Frame or None
        What frame it was; None for arrays.
    parts : list of (str or callable, ndarray of int)
        Likelihoods, each with its columns.
    described : ndarray of int
        The columns that have a likelihood.
    conditions : dict
        Of each column that is a condition, "numeric" or "categorical".
    drawn : Drawn or None
        Moments of the conditions.
    categories : dict of list
        Of each column that is categorical, what there can be.
    whole : dict of tuple
        Of each column of whole numbers that come back as such, the least and the largest that may.
    truths : set of int
        Columns of booleans that come back as such.
    """

    def __init__(self, X, likelihood, conditions=None):
        numbers = floats_of(X) is not None and conditions is None
        numbers = numbers and not isinstance(likelihood, list) and likelihood != "categorical"
        columns = None if _is_sparse(X) or numbers else columns_of(X)
        self.frame = Frame.of(X) if is_frame(X) else None
        self.names = names_of(X) if is_frame(X) else list(range(X.shape[1]))
        asked, self.conditions = {}, {}
        if conditions is not None:
            asked = _pairs("conditions", conditions, X, {*CONDITION_OF.values()}, plain="auto")
            self.conditions = dict(sorted(self._of_kinds(asked, columns, CONDITION_OF).items()))
        self.described = np.array([j for j in range(X.shape[1]) if j not in self.conditions])
        if not len(self.described):
            raise ValueError("conditions name all columns of X and leave none to be described")
        if isinstance(likelihood, list):
            given = _pairs("likelihood", likelihood, X, LIKELIHOODS)
        else:
            given = dict.fromkeys(self.described.tolist(), likelihood)
        for j in given.keys() & self.conditions.keys():
            raise ValueError(
                f"Column {self.names[j]!r} is named both in likelihood and in conditions"
            )
        given |= {j: "auto" for j in self.described.tolist() if j not in given}
        asked |= given
        described = self._of_kinds(given, columns, LIKELIHOOD_OF)
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
        self._warn_of_many({j for j, what in asked.items() if what == "auto"}, columns)
        self._learn_limits(columns)
        self._learn_conditions(columns)

    def _of_kinds(self, given, columns, of_kind):
        """The same with "auto" replaced by what a column's kind stands for."""
        found = {}
        for j, what in given.items():
            kind = "number" if columns is None else columns[j].kind
            if what == "auto" and kind == "other":
                raise columns[j].foreign(
                    "for which there is no likelihood. Convert it to numbers, booleans or "
                    "categories, or leave it out."
                )
            found[j] = of_kind[kind] if what == "auto" else what
        return found

    def _warn_of_many(self, by_kind, columns):
        """Say when identifiers have probably been taken for categories."""
        for j in sorted(self.categories.keys() & by_kind):
            n, n_rows = len(self.categories[j]), len(columns[j].values)
            if n > MANY_CATEGORIES or (n > 50 and n > n_rows / 2 and not columns[j].declared):
                warn(
                    f"Column {self.names[j]!r} has {n} different values in {n_rows} rows and is "
                    "taken for a category, with a logit and an indicator for each. If these are "
                    "identifiers, leave the column out; name it in likelihood=[('categorical', "
                    "[...])] if it is meant."
                )

    def _learn_limits(self, columns):
        """Which columns come back as whole numbers or as booleans."""
        self.whole, self.truths = {}, set()
        for j, column in enumerate(columns or []):
            if j in self.categories or (self.frame is None and column.values.dtype != object):
                continue  # numbers in an array come back as the floats that they are
            if column.kind == "bool":
                self.truths.add(j)
            elif column.limits is not None:
                least, most = column.limits
                there = column.values[~column.missing]
                never_negative = len(there) and min(there) >= 0
                self.whole[j] = (0 if never_negative else least), most

    def _learn_conditions(self, columns):
        self.drawn, self.centres = None, {}
        if not self.conditions:
            return
        seen = self._numbers(columns, self.conditions)
        self._check_there(seen)
        categorical = np.array([j in self.categories for j in self.conditions])
        self.drawn = Drawn(seen, categorical)
        for j, column in zip(self.conditions, seen.T, strict=True):
            # What never varied tells nothing, however far from it a new value is.
            scale = column.std() if column.min() < column.max() else np.inf
            self.centres[j] = float(column.mean()), float(scale)

    @property
    def plain(self):
        """Whether all columns are numbers under one likelihood."""
        return len(self.parts) == 1 and not self.categories and not self.conditions

    has_kinds = True  # unlike `Numbers`, it knows what its columns are

    def modeled(self, X):
        """Return the columns of numbers that have a likelihood."""
        return X[:, self.described] if self.conditions else X

    def context_of(self, X):
        """Return the second input of the networks for rows of numbers; None without conditions."""
        return self.context(X[:, list(self.conditions)]) if self.conditions else None

    def modeled_name(self, place):
        """Return the name of a modeled column, by its place among them."""
        name = self.names[int(self.described[place])]
        return str(name) if isinstance(name, str) else name

    def drawn_conditions(self, n_samples, random_state):
        """Return new conditions, distributed as those of `fit`; None without conditions."""
        if not self.conditions:
            return None
        return self.settled(self.drawn.draw(n_samples, random_state), self.conditions)

    def finished(self, values, conditions=None, index=None):
        """Return what a model says of the modeled columns as a table, conditions in their place."""
        values = numbers = self.settled(values, self.described)
        if conditions is not None:
            numbers = np.empty((len(values), len(self.names)))
            numbers[:, self.described] = values
            numbers[:, list(self.conditions)] = conditions
        return self.table(numbers, index)

    def filled(self, numbers, values, index=None):
        """Return rows of numbers as a table, with missing modeled cells replaced by values."""
        values, modeled = self.settled(values, self.described), self.modeled(numbers)
        numbers[:, self.described] = np.where(np.isnan(modeled), values, modeled)
        return self.table(numbers, index)

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
        if self.plain:
            at_once = sparse_matrix(X)
            at_once = floats_of(X) if at_once is None else at_once
            if at_once is not None:
                return at_once
        return self._numbers(columns_of(X), range(X.shape[1]))

    def _numbers(self, columns, which):
        """Numbers of those of the columns."""
        numbers = []
        for j in which:
            categories = self.categories.get(j)
            one = columns[j]
            numbers.append(one.numbers() if categories is None else one.places(categories))
        return np.column_stack(numbers)

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
            As `context` takes them.
        """
        wanted = [self.names[j] for j in self.conditions]
        if is_frame(conditions) or isinstance(conditions, dict):
            there = conditions if isinstance(conditions, dict) else names_of(conditions)
            absent = [name for name in wanted if name not in there]
            if absent:
                raise ValueError(f"conditions lack {absent}; the conditions are {wanted}")
        if is_frame(conditions):
            by_name = {column.name: column for column in columns_of(conditions)}
            columns = [by_name[name] for name in wanted]
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
            columns = [column_of(name, column) for name, column in pairs]
        return self._numbers(dict(zip(self.conditions, columns, strict=True)), self.conditions)

    @property
    def n_context(self):
        """Columns of `context`."""
        return sum(len(self.categories.get(j, [0])) for j in self.conditions)

    def _check_there(self, numbers):
        for j, column in zip(self.conditions, numbers.T, strict=True):
            if np.isnan(column).any():
                raise ValueError(
                    f"Column {self.names[j]!r} is a condition, and none of its cells may be missing"
                )

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
        self._check_there(numbers)
        told = []
        for j, column in zip(self.conditions, numbers.T, strict=True):
            if j in self.categories:
                told.append(column[:, None] == np.arange(len(self.categories[j])))
            else:
                mean, scale = self.centres[j]
                told.append((column[:, None] - mean) / scale)
        return np.hstack(told).astype(float)

    def settled(self, numbers, columns):
        """What a model says of the columns, as what can stand in them.

        Parameters
        ----------
        numbers : ndarray of shape (n_samples, n_columns)
            Expected or drawn; changed in place.
        columns : sequence of int
            Their numbers in the table.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            Whole numbers where the column holds such, within what its type can hold, and not
            negative where it never was in `fit`.
        """
        for place, j in enumerate(columns):
            if j in self.whole:
                numbers[:, place] = np.rint(numbers[:, place]).clip(*self.whole[j])
        return numbers

    def table(self, numbers, index=None):
        """Numbers as a table of the kind that the columns were learnt of.

        Parameters
        ----------
        numbers : ndarray of shape (n_samples, n_features)
            As `numbers` returns them, but none missing.
        index : Index, optional
            Of pandas: labels of the rows.

        Returns
        -------
        ndarray or DataFrame
            Of the same columns; in a frame, of the same types.
        """
        if self.frame is None and not self.whole and not self.truths and not self.categories:
            return numbers
        columns = [self._cells(j, column) for j, column in enumerate(numbers.T)]
        if self.frame is not None:
            return self.frame.table(columns, index)
        arrays = [np.fromiter(column, dtype=object, count=len(numbers)) for column in columns]
        named = [np.array(self.categories.get(j, [0.0])) for j in range(len(columns))]
        if not self.whole and not self.truths and all(one.dtype.kind in "fiub" for one in named):
            return np.column_stack(arrays).astype(numbers.dtype)
        return np.column_stack(arrays)

    def _cells(self, j, column):
        """The values that numbers of a column stand for."""
        if j in self.categories:
            return [self.categories[j][place] for place in column.astype(int)]
        if j in self.truths:
            return (column >= 0.5).tolist()
        if j in self.whole:
            return [int(value) for value in column]
        return column if self.frame is not None else column.tolist()


def _is_sparse(X):
    return issparse(X) or sparse_matrix(X) is not None


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
        _check_unambiguous(name, X, columns)
        try:
            numbers = column_indices(X, columns)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{name} names columns that X does not have: {error}") from error
        for j in numbers:
            if j in found:
                raise ValueError(f"{name} names a column twice, number {j}{_called(X, j)}")
            found[int(j)] = what
    return found


def _called(X, j):
    return f", {names_of(X)[j]!r}" if is_frame(X) else ""


def _check_unambiguous(name, X, columns):
    """Refuse numbers for columns that are called by other numbers."""
    keys = columns if isinstance(columns, list | tuple | np.ndarray) else [columns]
    counts = all(isinstance(key, Integral) and not isinstance(key, bool) for key in keys)
    names = names_of(X) if is_frame(X) and counts else []
    if any(isinstance(one, Integral) and one != j for j, one in enumerate(names)):
        raise ValueError(
            f"{name} names columns {keys!r}, which are positions in X, but X calls its columns by "
            f"other numbers, {names[:5]}. Call them by strings, X.columns.astype(str) say."
        )
