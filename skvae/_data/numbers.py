"""The reader of arrays of numbers under one likelihood: rows are used as they are."""

import numpy as np


class Numbers:
    """A reader with nothing to translate, with the calls of `skvae._data.tables.Table`.

    Parameters
    ----------
    names : ndarray of str of shape (n_features,) or None, default=None
        Names of the columns.
    """

    has_kinds, plain, frame = False, True, None  # no categories, one likelihood, no frame
    n_context, conditions = 0, {}

    def __init__(self, names=None):
        self.names = names

    def modeled(self, X):
        """Return the columns that have a likelihood: all."""
        return X

    def context_of(self, X):
        """Return the second input of the networks: none."""

    def context(self, conditions):
        """Return the second input of the networks for given conditions: none."""

    def modeled_name(self, place):
        """Return the name of a column, or its number where it has none."""
        return int(place) if self.names is None else str(self.names[place])

    def finished(self, values, conditions=None, index=None):
        """Return values as the model gives them."""
        return values

    def filled(self, numbers, values, index=None):
        """Return numbers with missing cells replaced by values."""
        return np.where(np.isnan(numbers), values, numbers)
