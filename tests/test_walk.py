"""The way from `fit` to the ELBO stays short: frames, and changes of file, counted in real fits."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import skvae
from skvae import BNVAEEstimator, BNVAETextEstimator

PACKAGE = str(Path(skvae.__file__).parent)


def array():
    BNVAEEstimator(2, max_iter=1, random_state=0).fit(load_iris().data)


def frame():
    table = pd.DataFrame(load_iris().data, columns=list("abcd"))
    table["kind"] = np.where(table["a"] > 5.5, "long", "short")
    table.loc[3, "b"] = np.nan
    BNVAEEstimator(2, likelihood="auto", max_iter=1, random_state=0).fit(table)


def sentences():
    sizes = {"hidden_size": 8, "embedding_size": 8}
    vae = BNVAETextEstimator(2, max_iter=1, random_state=0, **sizes)
    vae.fit(["the cat sleeps .", "a dog barks !"] * 40)


def range_of_tau():
    BNVAEEstimator(2, tau=(0.1, 0.9), max_iter=1, random_state=0).fit(load_iris().data)


def walked(fit):
    """Our functions in the order of their first calls, and our frames at the first ELBO."""
    calls, at_elbo = [], []

    def note(stack_frame, event, argument):
        if event != "call" or not stack_frame.f_code.co_filename.startswith(PACKAGE):
            return
        calls.append((stack_frame.f_code.co_filename, stack_frame.f_code.co_qualname))
        if stack_frame.f_code.co_name == "elbo_terms" and not at_elbo:
            while stack_frame is not None:
                if stack_frame.f_code.co_filename.startswith(PACKAGE):
                    at_elbo.append(stack_frame.f_code.co_qualname)
                stack_frame = stack_frame.f_back

    fit()  # imports and caches
    former = sys.getprofile()
    sys.setprofile(note)
    try:
        fit()
    finally:
        sys.setprofile(former)
    return list(dict.fromkeys(calls)), at_elbo[::-1]


@pytest.mark.parametrize(
    ("fit", "way"),
    [
        (array, ["BaseVAE.fit"]),
        (frame, ["BaseVAE.fit"]),
        (sentences, ["BNVAETextEstimator.fit"]),
        (range_of_tau, ["BaseVAE.fit"]),
    ],
)
def test_the_elbo_is_at_most_five_frames_below_fit(fit, way):
    _, frames = walked(fit)
    # One more over a range: the model whose weights depend on tau calls the plain one.
    every = ["EveryTau.forward"] if fit is range_of_tau else []
    assert frames == [*way, "BaseVAE._fit", "Training.run", *every, "elbo_terms"]
    assert len(frames) <= 5


@pytest.mark.parametrize(
    ("fit", "most"), [(array, 107), (frame, 140), (sentences, 104), (range_of_tau, 128)]
)
def test_the_reader_changes_files_no_more_often_than_today(fit, most):
    functions, _ = walked(fit)
    files = [file for file, _ in functions]
    assert sum(one != other for one, other in pairwise(files)) <= most
