"""A fit that is told nothing of its length: it ends by itself, on all rows."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae._data.rows import Rows
from skvae._fit.optimizer import Adam
from skvae._fit.training import STEPS_OF_DECAY, Training

X = load_iris().data
# No rise counts after the first score, so that training ends as soon as it may.
SOON = {"early_stopping": True, "tol": 1e9}


def small(**parameters):
    settings = {"n_components": 2, "hidden_layer_sizes": (8,), "random_state": 0}
    return BNVAEEstimator(**settings | parameters)


def noise(n_rows, n_features=3, seed=0):
    return np.random.RandomState(seed).randn(n_rows, n_features)


def n_judged(model):
    return np.isfinite(model.validation_scores_).sum()


# -- it ends by itself -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_default():
    return BNVAEEstimator(2, random_state=0).fit(X)  # a warning would be an error


@pytest.fixture(scope="module")
def judged():
    return BNVAEEstimator(2, early_stopping=True, random_state=0).fit(X)


def test_it_ends_by_itself(judged):
    n_batches = 5  # of 135 rows, at most 32 in each
    assert 500 / n_batches < judged.n_iter_ < max(1000, 10_000 // n_batches)
    assert len(judged.validation_scores_) == len(judged.loss_curve_) == judged.n_iter_


def test_a_small_table_takes_2000_steps_on_all_rows(by_default):
    n_batches = 5  # of 150 rows, at most 32 in each
    assert by_default.n_iter_ * n_batches == 2000
    assert by_default.validation_scores_ == []


def test_both_are_finite_and_keep_the_floor(by_default, judged):
    for model in by_default, judged:
        assert np.isfinite(model.loss_curve_).all()
        assert np.isfinite(model.transform(X)).all()
        assert model.kl_per_component_.sum() >= model.kl_floor_


@pytest.mark.parametrize("rows", [X, noise(300), noise(20)], ids=len)
def test_the_floor_is_that_of_tau(rows):
    model = small().fit(rows)
    assert model.kl_floor_ == pytest.approx(-math.log(1 - 0.5), rel=1e-4)


@pytest.mark.slow
def test_the_floor_of_sentences_is_that_of_tau():
    sentences = ["the cat sleeps .", "the dog sleeps .", "a dog barks !", "a cat runs ."] * 25
    sizes = {"embedding_size": 16, "hidden_size": 32, "random_state": 0}
    model = BNVAETextEstimator(4, tau=0.5, **sizes).fit(sentences)
    assert model.kl_floor_ == pytest.approx(-2 * math.log(1 - 0.5), rel=1e-3)


def test_it_is_better_than_a_short_fit_on_rows_that_it_has_not_seen():
    short, by_itself = small(max_iter=20).fit(X[::2]), small().fit(X[::2])
    assert by_itself.score(X[1::2]) > short.score(X[1::2]) + 0.1


def test_it_is_the_same_each_time(judged):
    again = BNVAEEstimator(2, early_stopping=True, random_state=0).fit(X)
    assert repr(again.history_) == repr(judged.history_)
    assert repr(again.validation_scores_) == repr(judged.validation_scores_)
    np.testing.assert_array_equal(again.transform(X), judged.transform(X))


def test_scores_lie_fifty_steps_apart_and_end_before_the_fit_does(judged):
    n_batches = 5
    epochs = np.isfinite(judged.validation_scores_).nonzero()[0]
    assert epochs[0] == 0
    assert set(np.diff(epochs)) == {50 // n_batches}
    assert epochs[-1] < judged.n_iter_ - 1


@pytest.mark.slow
def test_sentences_end_by_themselves():
    sentences = [" ".join("abcdef"[(i + j) % 6] for j in range(i % 4 + 1)) for i in range(40)]
    sizes = {"embedding_size": 4, "hidden_size": 8, "random_state": 0}
    model = BNVAETextEstimator(2, tol=1e9, **sizes).fit(sentences)
    assert 0 < n_judged(model) < model.n_iter_ < 1000
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("parameters", [{}, {"tau": (0.1, 0.9)}, {"average": True}], ids=str)
@pytest.mark.parametrize("n_rows", [130, 1200])  # trained anew, and from the best weights
def test_rows_held_out_are_trained_on_in_the_end(n_rows, parameters, steps):
    counts = CountsSteps(steps)
    settings = {**SOON, "n_iter_no_change": 1, "max_iter": 200, "batch_size": 40, **parameters}
    model = small(**settings).set_callbacks(counts).fit(noise(n_rows))
    before, after = (math.ceil(n / 40) for n in (0.9 * n_rows, n_rows))
    assert before < after
    assert counts.found[: n_judged(model)] == [before] * n_judged(model)
    assert set(counts.found[n_judged(model) :]) == {after}


class CountsSteps:
    """A callback that notes the number of steps of the optimizer in each epoch."""

    def __init__(self, steps):
        self.steps, self.found = steps, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "epoch":
            self.found.append(-len(self.steps))

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.found[-1] += len(self.steps)

    teardown = setup


@pytest.fixture
def steps(monkeypatch):
    """The optimizer and the fraction of the learning rate of each step that is taken."""
    taken, step = [], Adam.step

    def noted(self, gradients, fraction=1.0):
        taken.append((self, fraction))
        return step(self, gradients, fraction)

    monkeypatch.setattr(Adam, "step", noted)
    return taken


# -- its limits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "weight_decay", "stops"),
    [(19, 0.0, False), (20, 0.0, True), (999, "auto", False), (1000, "auto", True)],
)
def test_rows_are_held_out_where_they_are_missed_least(n_rows, weight_decay, stops):
    model = small(tol=1e9, batch_size=500, weight_decay=weight_decay).fit(noise(n_rows))
    assert (n_judged(model) > 0) == stops


@pytest.mark.parametrize("n_rows", [10, 60])
def test_max_iter_alone_is_exactly_so_many_epochs(n_rows):
    model = small(max_iter=7).fit(noise(n_rows))  # a warning would be an error
    assert (model.n_iter_, model.validation_scores_) == (7, [])


@pytest.mark.parametrize(
    ("early_stopping", "n_batches", "limit"),
    [
        *[(True, 1, 10_000), (True, 9, 1111), (True, 10, 1000), (True, 5000, 1000)],
        *[(False, 1, 2000), (False, 3, 667), (False, 10, 200), (False, 5000, 200)],
    ],
)
def test_the_largest_number_of_epochs(early_stopping, n_batches, limit, monkeypatch):
    class Prepared(Training):
        def run(self, callbacks, checkpoint):
            raise RuntimeError(f"at most {self.n_epochs} epochs")

    monkeypatch.setattr(Rows, "n_batches", lambda self, batch_size: n_batches)
    monkeypatch.setattr(BNVAEEstimator, "_training_type", Prepared)
    with pytest.raises(RuntimeError, match=f"^at most {limit} epochs"):
        small(early_stopping=early_stopping).fit(X)


def test_a_fit_that_reaches_its_limit_says_so_once():
    with pytest.warns(ConvergenceWarning) as said:
        model = small(early_stopping=True, max_iter=3).fit(X)
    assert model.n_iter_ == len(model.validation_scores_) == 3
    (warning,) = said
    assert str(warning.message) == (
        "Training ended at the limit of 3 epochs, and the held-out rows were still getting better. "
        "Raise max_iter, or set early_stopping=False if you want exactly so many epochs."
    )


def test_a_fit_that_a_callback_ends_does_not_warn():
    class Ends(CountsSteps):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch"

    assert small(early_stopping=True, max_iter=3).set_callbacks(Ends([])).fit(X).n_iter_ == 1


@pytest.mark.parametrize("patience", [1, 3])
def test_n_iter_no_change_counts_epochs(patience):
    model = small(**SOON, max_iter=100, n_iter_no_change=patience).fit(X)
    assert n_judged(model) == 1 + patience
    assert np.isfinite(model.validation_scores_[: 1 + patience]).all()


# -- rate and decay ----------------------------------------------------------------------------


def test_the_rate_of_a_fit_rises_and_falls(steps):
    small(max_iter=400, batch_size=32).fit(X)  # 5 batches
    fractions = [fraction for _, fraction in steps]
    assert len(fractions) == 2000
    assert fractions[:3] == [0.02, 0.04, 0.06]
    assert fractions[50:1500] == [1.0] * 1450
    np.testing.assert_allclose(fractions[1500:], np.arange(500, 0, -1) / 500)


def test_the_rate_falls_to_zero_at_an_end_that_was_found(steps):
    for n_times in (1, 8):
        steps.clear()
        model = small(**SOON, n_iter_no_change=10, max_iter=200).fit(np.tile(X, (n_times, 1)))
        assert n_judged(model) < model.n_iter_ < 200
        last = [fraction for _, fraction in steps[-2:]]
        assert 0.0 < last[1] < last[0] < 0.6


def test_partial_fit_keeps_a_constant_rate_and_no_decay(steps):
    model = small(batch_size=32)
    for _ in range(50):
        model.partial_fit(X)
    assert [fraction for _, fraction in steps[:2]] == [0.02, 0.04]
    assert len(steps) == 250
    assert {fraction for _, fraction in steps[50:]} == {1.0}
    assert {decay for optimizer, _ in steps for _, decay, _ in optimizer.groups} == {0.0}
    assert model.validation_scores_ == []


@pytest.mark.parametrize(
    ("weight_decay", "expected"), [("auto", 1 / (STEPS_OF_DECAY * 150 * 0.01)), (0.7, 0.7)]
)
def test_decay_is_of_the_weight_matrices_of_the_decoder(weight_decay, expected, steps):
    small(max_iter=1, batch_size=32, learning_rate=0.01, weight_decay=weight_decay).fit(X)
    optimizer = steps[0][0]
    decays = {decay: places for _, decay, places in optimizer.groups}
    assert list(decays) == [0.0, pytest.approx(expected)]
    shapes = [tuple(optimizer.parameters[place].shape) for place in decays[expected]]
    assert shapes == [(8, 2), (4, 8)]


@pytest.mark.parametrize("tau", [0.5, (0.2, 0.8)])
def test_weights_into_hidden_units_take_smaller_steps(tau, steps):
    wide = np.random.default_rng(0).normal(size=(150, 20))
    small(max_iter=1, hidden_layer_sizes=(64, 16), tau=tau).fit(wide)
    optimizer = steps[0][0]
    slow = [(rate, places) for rate, _, places in optimizer.groups if rate != 1.0]
    shapes = [tuple(optimizer.parameters[place].shape) for _, places in slow for place in places]
    assert [rate for rate, _ in slow] == [16 / 20, 32 / 64]
    assert shapes == [(64, 20), (16, 64)]  # of the encoder; the decoder's have 16 inputs


def test_no_decay_is_one_group(steps):
    small(max_iter=1, weight_decay=0.0).fit(X)
    assert [(rate, decay) for rate, decay, _ in steps[0][0].groups] == [(1.0, 0.0)]


# -- values that are refused -------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [BNVAEEstimator, BNVAETextEstimator])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_iter", 0),
        ("max_iter", "auto"),
        ("max_iter", 2.0),
        ("early_stopping", "yes"),
        ("early_stopping", None),
        ("n_iter_no_change", 0),
        ("n_iter_no_change", "auto"),
        ("tol", -1e-9),
        ("tol", None),
        ("weight_decay", -1e-9),
        ("weight_decay", "none"),
        ("weight_decay", None),
        ("learning_rate", 0.0),
    ],
)
def test_bad_values_are_refused_by_name(estimator, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {estimator.__name__} must be"):
        estimator(2, **{name: value}).fit(X if estimator is BNVAEEstimator else ["a b"] * 30)
