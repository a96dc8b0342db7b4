"""What a fitted estimator keeps, in memory, in pickles and in files, and what it does not."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skvae import BNVAEEstimator
from skvae._data.conditions import LocationModel
from skvae._fit import saving


def small(**parameters):
    settings = {"hidden_layer_sizes": (32,), "max_iter": 2, "random_state": 0}
    return BNVAEEstimator(2, **(settings | parameters))


def rows(n_rows=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, 20))


def test_after_fit_nothing_of_the_optimiser_is_kept(tmp_path):
    model = small(hidden_layer_sizes=(512,), max_iter=1).fit(rows())
    weights = sum(value.numel() * 8 for value in model.module_.state_dict().values())
    model.save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < 1.5 * weights
    assert len(pickle.dumps(model)) < 1.5 * weights


@pytest.mark.parametrize("tau", [0.5, (0.2, 0.8)])
def test_after_partial_fit_it_goes_on_from_a_file_to_the_bit(tau, tmp_path):
    model = small(tau=tau).partial_fit(rows())
    model.save(tmp_path / "model")
    fresh = small(tau=tau).partial_fit(rows())
    fresh._optimizer_state = None
    models = model, BNVAEEstimator.load(tmp_path / "model"), fresh
    codes = [one.partial_fit(rows(seed=1)).transform(rows()) for one in models]
    np.testing.assert_array_equal(codes[1], codes[0])
    assert not np.array_equal(codes[2], codes[0])  # the optimiser's state matters, then


def test_a_fit_goes_on_by_partial_fit():
    X = rows()
    model = small(max_iter=2).fit(X)
    before = model.lower_bound_
    for _ in range(20):
        model.partial_fit(X)
    assert model.lower_bound_ > before


# -- conditions ----------------------------------------------------------------------------


def table(n_rows=3000):
    rng = np.random.default_rng(0)
    town = rng.choice(3, size=n_rows, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {
            "x": rng.normal(size=n_rows) + town,
            "town": pd.Categorical.from_codes(town, ["Aachen", "Bonn", "Celle"]),
            "country": np.where(town == 2, "there", "here"),
            "age": rng.normal(size=n_rows) + 10 * town,
            "size": rng.normal(size=n_rows),
        }
    ).assign(size=lambda X: 2 * (X["age"] - 10 * town) + 0.1 * X["size"])


def test_conditions_are_drawn_by_their_moments():
    X = table()
    given = ["town", "country", "age", "size"]
    drawn = small(likelihood="auto", conditions=given, max_iter=1).fit(X).sample(3000, 0)
    pairs = set(zip(drawn["town"], drawn["country"], strict=True))
    assert pairs == set(zip(X["town"], X["country"], strict=True))
    for frame in (drawn, X):
        by_town = frame.groupby("town", observed=True)
        np.testing.assert_allclose(by_town.size() / 3000, [0.6, 0.3, 0.1], atol=0.04)
        np.testing.assert_allclose(by_town["age"].mean(), [0, 10, 20], atol=0.2)
        within = frame[["age", "size"]] - by_town[["age", "size"]].transform("mean")
        np.testing.assert_allclose(within.cov(), [[1, 2], [2, 4.01]], rtol=0.15)


def test_numbers_that_are_drawn_stay_in_their_range():
    numbers = np.random.default_rng(0).exponential(size=(500, 2))
    drawn = LocationModel(numbers, np.array([False, False])).sample(2000, np.random.RandomState(0))
    assert (drawn.min(0) == numbers.min(0)).all()
    assert (drawn.max(0) <= numbers.max(0)).all()


def test_a_pickle_does_not_grow_with_the_rows():
    sizes = []
    for n_rows in (100, 3000):
        model = small(likelihood="auto", conditions=["age", "town"], max_iter=1)
        sizes.append(len(pickle.dumps(model.fit(table(n_rows)))))
    assert abs(sizes[1] - sizes[0]) < 100


def test_a_condition_that_never_varied_tells_nothing():
    X = table(100).assign(age=0.1)
    model = small(likelihood="auto", conditions=["age"], max_iter=1).fit(X)
    np.testing.assert_array_equal(model.transform(X.assign(age=1e9)), model.transform(X))


# -- versions ------------------------------------------------------------------------------


def test_a_pickle_of_another_version_says_so(monkeypatch):
    model = small().fit(rows())
    monkeypatch.setattr(saving, "VERSION", "0.0.9")
    pickled = pickle.dumps(model)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"was pickled by skvae 0\.0\.9, and this is skvae"):
        again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.transform(rows()), model.transform(rows()))


def test_a_pickle_without_a_version_is_older_than_any():
    state = small().fit(rows()).__getstate__()
    del state["_skvae_version"]
    again = BNVAEEstimator()
    with pytest.warns(UserWarning, match=r"pickled by skvae before 0\.1"):
        again.__setstate__(state)


def test_a_pickle_that_cannot_be_read_says_whose_it_is():
    state = small().fit(rows()).__getstate__() | {"_skvae_version": "9.9"}
    state["_state"] = state["_state"] | {"settings": '{"hologram": 1}'}
    with pytest.raises(ValueError, match=r"pickled by skvae 9\.9 and cannot be read by skvae"):
        BNVAEEstimator().__setstate__(state)


def test_what_was_not_fitted_is_of_no_version(recwarn):
    pickle.loads(pickle.dumps(small()))
    assert not recwarn
