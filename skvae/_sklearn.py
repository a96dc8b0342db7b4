"""Everything of scikit-learn that is not public, in one place, each with the reason it is used.

A release that moves one of these breaks this file and no other; `tests/test_house.py` says which.
"""

from numbers import Integral

# What transform's `out` is to metadata routing: no metadata of the rows.
from sklearn.utils import _safe_indexing as safe_indexing  # rows of a list, an array or a frame

# Names, positions, masks and slices of columns, as ColumnTransformer understands them.
from sklearn.utils._indexing import _get_column_indices as column_indices
from sklearn.utils._metadata_requests import UNUSED

# The table of constraints that `BaseEstimator._validate_params` reads.
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils._param_validation import Interval as _Interval

# Sample weights as scikit-learn's own estimators check them, and the number of rows of anything.
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as n_samples_of

__all__ = [
    "UNUSED",
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_sample_weight",
    "column_indices",
    "n_samples_of",
    "safe_indexing",
]


class Interval(_Interval):
    """The same, but True and False are no whole numbers."""

    def is_satisfied_by(self, val):
        """Return whether the value lies in the interval."""
        if self.type is Integral and isinstance(val, bool):
            return False
        return super().is_satisfied_by(val)
