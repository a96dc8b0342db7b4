"""Warnings that point at the line of whoever called the library."""

import sys
import warnings

# Frames of these may stand between the caller and the library: decorators, pipelines, searches.
_BETWEEN = {"skvae", "sklearn", "joblib", "contextlib", "functools"}


def warn(message, category=UserWarning):
    """Warn, at the innermost line that is neither in this package nor in scikit-learn.

    Parameters
    ----------
    message : str
        What is the matter, and what to do.
    category : type, default=UserWarning
        A subclass of Warning.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _package(frame) in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
