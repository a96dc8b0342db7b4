"""All of scikit-learn's private names that this package uses, in one place.

A release that moves one of them breaks this file and no other, because `tests/test_house.py` lets
no other file import private names.
"""

# Rows of a list, an array or a frame, by their positions.
from sklearn.utils import _safe_indexing as safe_indexing

# Names, positions, masks and slices of columns, as ColumnTransformer understands them.
from sklearn.utils._indexing import _get_column_indices as column_indices

# Marks an argument of a method, here `out` of transform, as none of the metadata of the rows.
from sklearn.utils._metadata_requests import UNUSED

# Entries of the table of constraints that `BaseEstimator._validate_params` reads.
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

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
