"""The reader of arrays of numbers under one likelihood: rows are used as they are."""

import numpy as np


class Numbers:
    """A reader that has nothing to translate, with the methods of `skvae._data.tables.Table`."""

    has_kinds, is_homogeneous, schema, n_context = False, True, None, 0

    def __init__(self, names=None):
        self.names = names

    def modeled_columns(self, numbers):
        """Return all columns: each has a likelihood."""
        return numbers

    def context(self, numbers):
        """Return None: the networks have no second input."""

    def modeled_name(self, place):
        """Return the name of a column, or its number where it has none."""
        return int(place) if self.names is None else str(self.names[place])

    def restored(self, values, conditions=None, index=None):
        """Return values as the model gives them."""
        return values

    def filled(self, numbers, values, X=None, index=None):
        """Return numbers with missing cells replaced by values."""
        return np.where(np.isnan(numbers), values, numbers)
