"""Warnings that point at the line of code that called the library."""

import sys
import warnings

# Packages whose frames may lie between the caller and the library: decorators, pipelines, searches.
_BETWEEN = {"skvae", "sklearn", "joblib", "contextlib", "functools"}


def warn(message, category=UserWarning):
    """Issue a warning that points at the innermost line outside this package and `_BETWEEN`."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _package(frame) in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
