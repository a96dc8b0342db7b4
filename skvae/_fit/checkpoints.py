"""Checkpoints: files from which interrupted fits go on."""

import hashlib
import os
from functools import partial

import numpy as np

from skvae._fit.files import read, write
from skvae._fit.plain import CannotSave, restored, state_of
from skvae._warnings import warn


class Checkpoint:
    """A file that a fit writes after each epoch, and reads when it begins."""

    def __init__(self, path, identity, writes=True):
        self.path = path
        self.identity = identity  # in words, what has to be equal for two fits to be the same
        self.writes = writes  # False for all but the first of several processes

    def read(self):
        """Return what was written last, None if nothing was; refuse a file of another fit."""
        if not os.fspath(self.path):
            raise ValueError("checkpoint must name a file; got an empty name. None writes none.")
        if os.path.isdir(self.path):
            raise IsADirectoryError(
                f"checkpoint must name a file, and {str(self.path)!r} is a folder. Pass a name in "
                "it."
            )
        if not os.path.exists(self.path):
            return None
        state = read(self.path)
        try:
            identity, contents = state.settings["identity"], state.settings["fit"]
            found = restored(state._replace(settings=contents))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint that this version of skvae can read: "
                f"{error}. Delete it to start anew, or pass another path as checkpoint."
            ) from error
        differences = [
            f"{name} was {identity.get(name)} and is {self.identity.get(name)}"
            for name in {**identity, **self.identity}
            if identity.get(name) != self.identity.get(name)
        ]
        if differences:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} is of another fit: {'; '.join(differences)}. "
                "Delete it to start anew, or pass another path as checkpoint."
            )
        return found

    def write(self, contents):
        """Replace the contents of the file; warn if the disk does not take them."""
        if not self.writes:
            return
        state = state_of(contents)
        settings = {"identity": self.identity, "fit": state.settings}
        try:
            write(self.path, state._replace(settings=settings))
        except OSError as error:
            warn(
                f"The checkpoint {str(self.path)!r} could not be written: {error}. Training goes "
                "on; what was written before is still there.",
                RuntimeWarning,
            )


class NoCheckpoint:
    """The checkpoint of a fit that keeps none."""

    def read(self):
        """Return None: there is nothing to go on from."""

    def write(self, contents):
        """Write nothing."""


def in_words(value):
    """Return a parameter in words, to compare it with that of an earlier run."""
    if isinstance(value, np.ndarray) and value.size > 20:  # NumPy would print its ends only
        digest = hashlib.sha256(in_words(value.tolist()).encode()).hexdigest()
        return f"an array of the shape {value.shape} and the digest {digest[:8]}"
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if type(value) in (list, tuple):
        words = [in_words(one) for one in value]
        if type(value) is list:
            return f"[{', '.join(words)}]"
        return f"({', '.join(words)}{',' * (len(words) == 1)})"
    if isinstance(value, partial):
        given = [f"{name}={in_words(one)}" for name, one in value.keywords.items()]
        return f"partial({', '.join([*map(in_words, (value.func, *value.args)), *given])})"
    try:
        state_of(value)
    except CannotSave:
        return described(value)
    return "a RandomState" if isinstance(value, np.random.RandomState) else repr(value)


def described(value):
    """Return a name for an object that a file cannot hold."""
    return getattr(value, "__qualname__", None) or type(value).__qualname__
