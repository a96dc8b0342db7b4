"""Every warning of the library points at the line of the caller."""

import pickle
import re
import warnings
from inspect import currentframe
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skvae
from skvae import BNVAEEstimator, BNVAEEstimatorCV, BNVAETextEstimator, PosteriorCollapseWarning
from skvae._fit import saving
from skvae._warnings import warn
from skvae.diagnostics import warn_if_collapsed

X = np.random.RandomState(0).randn(60, 4)
SENTENCES = ["a b c d", "b c d a"] * 4


def small(**parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 20, "random_state": 0}
    return BNVAEEstimator(2, **settings | parameters)


def collapsing():
    return small(
        posterior="gaussian",
        beta=1e4,
        max_iter=100,
        learning_rate=1e-2,
        batch_size=60,
    )


def small_text(**parameters):
    settings = {"embedding_size": 4, "hidden_size": 8, "max_iter": 1, "max_length": 4}
    return BNVAETextEstimator(2, random_state=0, **settings | parameters)


class Stops(nn.Linear):
    """Goes wrong after some steps of training."""

    error, steps_left = None, 8

    def __init__(self, n_features):
        super().__init__(n_features, 8)

    def forward(self, x):
        self.steps_left -= self.training
        over = self.training and self.steps_left <= 0
        if over and self.error is not None:
            raise self.error
        return super().forward(x) * (np.inf if over else 1.0)


class Interrupted(Stops):
    error = KeyboardInterrupt


class Diverging(Stops):
    pass


def into_a_folder_that_goes(folder):
    class Encoder(nn.Linear):
        def __init__(self, n_features):
            super().__init__(n_features, 8)
            (folder / "gone").rmdir()

    (folder / "gone").mkdir()
    return small(encoder=Encoder, checkpoint=folder / "gone" / "checkpoint")


def pickled_by_another_version():
    with patch.object(saving, "VERSION", "0.0.9"):
        return pickle.dumps(fitted)


fitted, fitted_text = small().fit(X), small_text().fit(SENTENCES)
PICKLED = pickled_by_another_version()
IDENTIFIERS = np.array([[f"row {i}", float(i)] for i in range(60)], dtype=object)

CASES = {
    "collapsed": (PosteriorCollapseWarning, lambda _: collapsing().fit(X)),
    "collapsed in a pipeline": (
        PosteriorCollapseWarning,
        lambda _: make_pipeline(StandardScaler(), collapsing()).fit(X),
    ),
    "collapsed in a search": (
        PosteriorCollapseWarning,
        lambda _: cross_val_score(collapsing(), X, cv=2),
    ),
    "collapsed by fit_transform": (
        PosteriorCollapseWarning,
        lambda _: collapsing().fit_transform(X),
    ),
    "collapsed in the core": (
        PosteriorCollapseWarning,
        lambda _: warn_if_collapsed(np.zeros(2), travel=1e9),
    ),
    "collapsed in the search of tau": (
        PosteriorCollapseWarning,
        lambda _: BNVAEEstimatorCV(collapsing(), taus=(0.1, 0.2), cv=2).fit(X),
    ),
    "diverged": (ConvergenceWarning, lambda _: small(encoder=Diverging).fit(X)),
    "interrupted": (UserWarning, lambda _: small(encoder=Interrupted).fit(X)),
    "interrupted later": (
        UserWarning,
        lambda _: small(encoder=Interrupted, batch_size=6).partial_fit(X),
    ),
    "cut": (UserWarning, lambda _: small_text(max_length=2).fit(SENTENCES)),
    "cut in transform": (UserWarning, lambda _: fitted_text.transform(["a b c d a b"])),
    "cut in perplexity": (UserWarning, lambda _: fitted_text.perplexity(["a b c d a b"])),
    "unknown": (UserWarning, lambda _: fitted_text.transform(["x y z"])),
    "unknown in partial_fit": (
        UserWarning,
        lambda _: small_text().fit(SENTENCES).partial_fit(["x"] * 4),
    ),
    "identifiers": (UserWarning, lambda _: small(likelihood="auto").fit(IDENTIFIERS)),
    "identifiers in a pipeline": (
        UserWarning,
        lambda _: make_pipeline(small(likelihood="auto")).fit(IDENTIFIERS),
    ),
    "pickled by another version": (UserWarning, lambda _: pickle.loads(PICKLED)),
    "unwritten checkpoint": (RuntimeWarning, lambda folder: into_a_folder_that_goes(folder).fit(X)),
}


@pytest.mark.parametrize(("category", "call"), CASES.values(), ids=CASES.keys())
def test_a_warning_points_at_the_line_of_the_caller(category, call, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(tmp_path)
    places = {(warning.filename, warning.lineno) for warning in caught}
    assert caught
    assert {warning.category for warning in caught} == {category}
    first = call.__code__.co_firstlineno
    lines = {line for *_, line in call.__code__.co_lines()} - {None}
    assert {name for name, _ in places} == {__file__}
    assert {line for _, line in places} <= lines | {first}


def test_a_warning_out_of_nowhere_points_at_the_outermost_line():
    with pytest.warns(UserWarning, match="hear") as caught:
        warn("hear")
    assert (caught[0].filename, caught[0].lineno) == (__file__, currentframe().f_lineno - 1)
    with pytest.warns(UserWarning, match="hear"):
        exec(compile("warn('hear')", "nowhere", "exec"), {"warn": warn, "__name__": "sklearn.x"})


def test_nothing_warns_by_itself():
    files = Path(skvae.__file__).parent.rglob("*.py")
    found = {path.stem for path in files if re.search(r"warnings\.warn", path.read_text("utf-8"))}
    assert found == {"_warnings"}
