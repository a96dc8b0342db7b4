"""From a table to numbers and back: the likelihood of each column, its categories and its type.

Tables are arrays, CSR matrices, or frames of pandas, polars or pyarrow.
"""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse

from skvae._data.columns import columns_of, numbers_of
from skvae._data.conditions import Conditions
from skvae._data.frames import (
    FrameSchema,
    array_at_once,
    cells_of,
    has_float_columns,
    has_sparse_columns,
    is_frame,
    names_of,
)
from skvae._sklearn import column_indices
from skvae._warnings import warn
from skvae.likelihoods import LIKELIHOODS

# What "auto" stands for, by the kind of a column.
LIKELIHOOD_OF = {"number": "gaussian", "bool": "bernoulli", "category": "categorical"}
CONDITION_OF = {"number": "numeric", "bool": "categorical", "category": "categorical"}
MANY_CATEGORIES = 1000  # more in a column cause a warning: each has an indicator and a logit
LARGEST_EXACT = 2.0**53  # beyond, doubles skip whole numbers


class Table:
    """The columns of a table, as `fit` saw them.

    `likelihood` and `conditions` are those of `skvae.BNVAEEstimator`, of one likelihood or several.
    `likelihoods` pairs each likelihood with the positions of its columns, and `modeled` are the
    positions of all columns that have one. `names` are positions too if X is not a frame.
    """

    def __init__(self, X, likelihood, conditions=None):
        # A frame of floats under one likelihood may be wide: its columns are not read one by one.
        single = not isinstance(likelihood, list) and likelihood != "categorical" and not conditions
        skip = issparse(X) or has_sparse_columns(X) or (single and has_float_columns(X))
        self.schema = FrameSchema.of(X) if is_frame(X) else None
        self.names = names_of(X) if is_frame(X) else list(range(X.shape[1]))
        columns = None if skip else columns_of(X)

        named = _read_pairs("conditions", conditions or [], X, {*CONDITION_OF.values()}, "auto")
        condition_kinds = _resolved(named, columns, CONDITION_OF)
        self.modeled = np.array([j for j in range(X.shape[1]) if j not in condition_kinds])
        if not len(self.modeled):
            none_left = "conditions name all columns of X and leave none to be modeled"
            raise ValueError(none_left if X.shape[1] else "X has no columns; at least 1 is needed")
        chosen = self._choices(X, likelihood, condition_kinds)
        likelihood_of = _resolved(chosen, columns, LIKELIHOOD_OF)
        self.likelihoods = [
            (one, np.array(sorted(j for j in likelihood_of if likelihood_of[j] == one)))
            for one in dict.fromkeys(likelihood_of.values())
        ]

        kinds = likelihood_of | condition_kinds
        categorical = sorted(j for j in kinds if kinds[j] == "categorical")
        if columns is None and (categorical or condition_kinds):
            raise TypeError(
                "Categories and conditions need a dense X; got a sparse matrix. Pass X.toarray()."
            )
        self.categories = {j: columns[j].categories() for j in categorical}
        self._warn_of_identifiers(columns, chosen | named)
        self._learn_types(columns or [])
        self.conditions = Conditions(
            {j: columns[j] for j in sorted(condition_kinds)},
            {j: self.categories[j] for j in categorical if j in condition_kinds},
        )

    def _choices(self, X, likelihood, conditions):
        """Return the likelihood that the user chose for each column that is not a condition."""
        if not isinstance(likelihood, list):
            return dict.fromkeys(self.modeled.tolist(), likelihood)
        named = _read_pairs("likelihood", likelihood, X, LIKELIHOODS)
        for j in named.keys() & conditions.keys():
            raise ValueError(
                f"Column {self.names[j]!r} is named both in likelihood and in conditions"
            )
        return named | {j: "auto" for j in self.modeled.tolist() if j not in named}

    def _warn_of_identifiers(self, columns, choices):
        """Warn about categories that "auto" chose and that are probably identifiers."""
        for j in self.categories:
            if choices[j] != "auto":
                continue
            n, n_rows = len(self.categories[j]), len(columns[j].values)
            if n > MANY_CATEGORIES or (n > 50 and n > n_rows / 2 and not columns[j].declared):
                warn(
                    f"Column {self.names[j]!r} has {n} different values in {n_rows} rows and is "
                    "taken as a category, with a logit and an indicator for each. If they are "
                    "identifiers, leave the column out; if they are categories, name it in "
                    "likelihood=[('categorical', [...])]."
                )

    def _learn_types(self, columns):
        """Find the columns whose numbers become whole numbers or booleans again in `to_table`."""
        self.limits, self.booleans = {}, set()  # limits are the smallest and the largest value
        for j, column in enumerate(columns):
            if j in self.categories or (self.schema is None and column.values.dtype != object):
                continue  # an array of numbers comes back in floats
            if column.kind == "bool":
                self.booleans.add(j)
            elif column.limits is not None:
                low, high = column.limits
                values = column.values[~column.missing]
                never_negative = len(values) and min(values) >= 0
                self.limits[j] = (0 if never_negative else low), high

    has_kinds = True  # it knows the kinds of its columns, unlike `Numbers`

    @property
    def n_context(self):
        """Number of columns of the second input of the networks."""
        return self.conditions.n_context

    @property
    def is_homogeneous(self):
        """Whether all columns are numbers under one likelihood."""
        return len(self.likelihoods) == 1 and not self.categories and not self.conditions.columns

    def to_numbers(self, X):
        """Convert a table of the same columns to numbers, NaN where missing.

        An array of numbers without categories is returned as it is.
        """
        if issparse(X) or (not is_frame(X) and not self.categories and X.dtype.kind in "fiub"):
            return X
        numbers = array_at_once(X) if self.is_homogeneous else None
        if numbers is not None:
            return numbers
        return numbers_of(dict(enumerate(columns_of(X))), self.categories)

    def modeled_columns(self, numbers):
        """Return the columns of numbers that have a likelihood."""
        return numbers[:, self.modeled] if self.conditions.columns else numbers

    def context(self, numbers):
        """Return the second input of the networks for rows of numbers; None without conditions."""
        if not self.conditions.columns:
            return None
        return self.conditions.context(numbers[:, self.conditions.columns])

    def modeled_name(self, place):
        """Return the name of a modeled column, by its place among them."""
        name = self.names[int(self.modeled[place])]
        return str(name) if isinstance(name, str) else name

    def restored(self, values, conditions=None, index=None):
        """Return modeled values, and conditions beside them, as a table such as `fit` saw."""
        values = numbers = self.rounded(values, self.modeled)
        if conditions is not None:
            numbers = np.empty((len(values), len(self.names)))
            numbers[:, self.modeled] = values
            numbers[:, self.conditions.columns] = conditions
        return self.to_table(numbers, index)

    def filled(self, numbers, values, X, index=None):
        """Return X, whose cells are these numbers, with missing modeled cells replaced by values.

        Present whole numbers that floats cannot hold are those of X.
        """
        exact = {
            j: (np.flatnonzero(~np.isnan(numbers[:, j])), cells_of(X, j))
            for j in self.limits
            if (np.abs(numbers[:, j]) >= LARGEST_EXACT).any()
        }
        numbers = numbers.copy()  # it may be X itself
        cells, values = self.modeled_columns(numbers), self.rounded(values, self.modeled)
        numbers[:, self.modeled] = np.where(np.isnan(cells), values, cells)
        return self.to_table(numbers, index, exact)

    def rounded(self, numbers, columns):
        """Round numbers of these columns to values that the columns can hold, in place.

        Columns of whole numbers get whole numbers within the limits of their type, which are not
        negative if no training row was.
        """
        for place, j in enumerate(columns):
            if j in self.limits:
                numbers[:, place] = np.rint(numbers[:, place]).clip(*self.limits[j])
        return numbers

    def sample_conditions(self, n_samples, random_state):
        """Draw conditions, as numbers, as they were distributed over the training rows."""
        numbers = self.conditions.distribution.sample(n_samples, random_state)
        return self.rounded(numbers, self.conditions.columns)

    def to_table(self, numbers, index=None, exact=None):
        """Convert numbers without missing cells to a table of the kind and types that `fit` saw.

        The index labels the rows of a frame of pandas. `exact` holds, by column, rows whose whole
        numbers are taken from other cells.
        """
        if not (self.schema or self.limits or self.booleans or self.categories):
            return numbers
        columns = [self._values(j, column) for j, column in enumerate(numbers.T)]
        for j, (rows, cells) in (exact or {}).items():
            for i in rows:
                if isinstance(cells[i], Integral):
                    columns[j][i] = cells[i]
        if self.schema is not None:
            return self.schema.build(columns, index)
        table = np.column_stack(
            [np.fromiter(column, dtype=object, count=len(numbers)) for column in columns]
        )
        named = [np.array(categories) for categories in self.categories.values()]
        numeric = all(categories.dtype.kind in "fiub" for categories in named)
        holds_objects = self.limits or self.booleans
        return table.astype(numbers.dtype) if numeric and not holds_objects else table

    def _values(self, j, column):
        """Return the values that the numbers of a column stand for."""
        if j in self.categories:
            return [self.categories[j][position] for position in column.astype(int)]
        if j in self.booleans:
            return (column >= 0.5).tolist()
        if j in self.limits:
            return [int(value) for value in column]
        return column if self.schema is not None else column.tolist()


def _resolved(choices, columns, by_kind):
    """Replace each choice "auto" according to the kind of the column."""
    found = {}
    for j, choice in choices.items():
        kind = "number" if columns is None else columns[j].kind
        if choice == "auto" and kind == "other":
            raise columns[j].type_error(
                "for which there is no likelihood. Convert it to numbers, booleans or "
                "categories, or leave it out."
            )
        found[j] = by_kind[kind] if choice == "auto" else choice
    return found


def _read_pairs(name, pairs, X, allowed, alone=None):
    """Read a list of pairs (choice, columns) as a dict from column to choice.

    An entry that is a column instead of a pair stands for the choice `alone`, unless that is None.
    """
    found = {}
    for entry in pairs:
        choice, columns = _choice_and_columns(name, entry, alone)
        if not callable(choice) and choice not in ("auto", *allowed):
            raise ValueError(f"{name} names {choice!r}, which is none of {sorted(allowed)}")
        if callable(columns):  # as make_column_selector
            columns = columns(X)
        for j in _positions(name, columns, X):
            if j in found:
                called = f", {names_of(X)[j]!r}" if is_frame(X) else ""
                raise ValueError(f"{name} names a column twice, number {j}{called}")
            found[int(j)] = choice
    return found


def _choice_and_columns(name, entry, alone):
    """Read an entry of the list that `_read_pairs` reads."""
    if isinstance(entry, tuple) and len(entry) == 2 and not any(part is None for part in entry):
        return entry
    is_column = isinstance(entry, str | Integral) and not isinstance(entry, bool)
    if is_column and alone is not None:
        return alone, [entry]
    what = "pairs (likelihood, columns)"
    if alone is not None:
        what = (
            "columns, each by its name or number, or pairs ('numeric', columns) and "
            "('categorical', columns)"
        )
    raise ValueError(f"{name} must hold {what}; got {entry!r}")


def _positions(name, columns, X):
    """Find the positions of columns; refuse numbers if the names of X are other numbers."""
    keys = columns if isinstance(columns, list | tuple | np.ndarray) else [columns]
    integers = all(isinstance(key, Integral) and not isinstance(key, bool) for key in keys)
    names = names_of(X) if is_frame(X) and integers else []
    if any(isinstance(one, Integral) and one != j for j, one in enumerate(names)):
        raise ValueError(
            f"{name} names columns {keys!r}, which are positions in X, but the columns of X have "
            f"other numbers as names, {names[:5]}. Rename them to strings, by "
            "X.columns.astype(str) for example."
        )
    try:
        return column_indices(X, columns)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{name} names columns that X does not have: {error}") from error
