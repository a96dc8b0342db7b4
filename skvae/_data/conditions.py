"""Conditions: columns that are inputs of encoder and decoder, and are not modeled."""

import numpy as np

from skvae._data.columns import column_of, columns_of, numbers_of
from skvae._data.frames import is_frame, names_of
from skvae._data.units import safe_exponent


class LocationModel:
    """Distribution of the conditions, from which new ones are drawn; it keeps no rows.

    This is the general location model of Olkin and Tate (1961): the frequency of each combination
    of categories, the means of the numeric columns for each combination, and one covariance
    around these means.
    """

    def __init__(self, numbers, categorical):
        self.categorical = categorical  # mask of the categorical columns of numbers
        numeric = numbers[:, ~categorical]
        self.combinations, group = np.zeros((1, 0)), np.zeros(len(numbers), dtype=int)
        if categorical.any():
            self.combinations, group = np.unique(
                numbers[:, categorical], axis=0, return_inverse=True
            )
        group = group.ravel()
        counts = np.bincount(group)
        self.shares = counts / len(numbers)
        self.low, self.high = numeric.min(0), numeric.max(0)
        divided = np.ldexp(numeric, -self._exponent)
        sums = np.zeros((len(counts), numeric.shape[1]))
        np.add.at(sums, group, divided)
        means = sums / counts[:, None]
        deviations = divided - means[group]
        self.means = np.ldexp(means, self._exponent)
        self.covariance = deviations.T @ deviations / len(numbers)  # of the divided numbers

    @property
    def _exponent(self):
        """Powers of 2 by which to divide the numeric columns before they are squared."""
        return safe_exponent(self.low, self.high)

    def sample(self, n_samples, random_state):
        """Draw combinations of categories that occurred, and numbers within the observed range."""
        group = random_state.choice(len(self.shares), size=n_samples, p=self.shares)
        numbers = np.empty((n_samples, len(self.categorical)))
        numbers[:, self.categorical] = self.combinations[group]
        if len(self.low):
            zeros = np.zeros(len(self.low))
            deviations = random_state.multivariate_normal(zeros, self.covariance, size=n_samples)
            deviations = np.ldexp(deviations, self._exponent)
            numeric = (self.means[group] + deviations).clip(self.low, self.high)
            numbers[:, ~self.categorical] = numeric
        return numbers


class Conditions:
    """The columns of a table that are conditions."""

    def __init__(self, columns, categories):
        self.columns = list(columns)  # positions in the table, which are the keys of all dicts here
        self.names = [column.name for column in columns.values()]
        self.categories = categories  # of each categorical column
        self.standards = {}  # mean and standard deviation of each numeric column
        self.distribution = None  # of the conditions over the training rows
        if not columns:
            return
        numbers = numbers_of(columns, categories)
        self._check_complete(numbers)
        categorical = np.array([j in categories for j in columns])
        self.distribution = LocationModel(numbers, categorical)
        for j, column in zip(columns, numbers.T, strict=True):
            if j not in categories:
                # A constant carries no information, not even if a new row has another value.
                low, high = column.min(), column.max()
                exponent = safe_exponent(low, high)
                divided = np.ldexp(column, -exponent)
                scale = np.ldexp(divided.std(), exponent) if low < high else np.inf
                self.standards[j] = float(np.ldexp(divided.mean(), exponent)), float(scale)

    def _check_complete(self, numbers):
        for name, column in zip(self.names, numbers.T, strict=True):
            if np.isnan(column).any():
                raise ValueError(
                    f"Column {name!r} is a condition, and none of its cells may be missing"
                )
            if np.isinf(column).any():
                raise ValueError(f"Column {name!r} is a condition, and its cells must be finite")

    @property
    def n_context(self):
        """Number of columns of `context`."""
        return sum(len(self.categories[j]) if j in self.categories else 1 for j in self.columns)

    def context(self, numbers):
        """Convert conditions to inputs of the networks, of shape (n_samples, n_context).

        Categories become indicators; numbers get mean 0 and variance 1 over the training rows.
        """
        self._check_complete(numbers)
        context = []
        for j, column in zip(self.columns, numbers.T, strict=True):
            if j in self.categories:
                context.append(column[:, None] == np.arange(len(self.categories[j])))
            else:
                mean, scale = self.standards[j]
                context.append((column[:, None] - mean) / scale)
        return np.hstack(context).astype(float)

    def read(self, values):
        """Convert the values that a user passes for the conditions to numbers that `context` takes.

        A frame or a dict holds them by name, an array in the order of the table. A single row may
        be an array of one dimension.
        """
        if is_frame(values) or isinstance(values, dict):
            there = values if isinstance(values, dict) else names_of(values)
            absent = [name for name in self.names if name not in there]
            if absent:
                raise ValueError(f"conditions lack {absent}; the conditions are {self.names}")
        if is_frame(values):
            by_name = {column.name: column for column in columns_of(values)}
            columns = [by_name[name] for name in self.names]
        else:
            if isinstance(values, dict):
                values = [[values[name] for name in self.names]]
            values = np.atleast_2d(np.asarray(values, dtype=object))
            if values.ndim != 2 or values.shape[1] != len(self.names):
                raise ValueError(
                    f"conditions must have a column for each of {self.names}; got an array of "
                    f"shape {values.shape}"
                )
            pairs = zip(self.names, values.T, strict=True)
            columns = [column_of(name, column) for name, column in pairs]
        return numbers_of(dict(zip(self.columns, columns, strict=True)), self.categories)
