"""How the learning rate runs, and the rule that ends a training."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skvae._fit.course import Course, EarlyStopping


def factors(course, steps):
    return [course.factor(step) for step in steps]


# -- the course of the learning rate ---------------------------------------------------------


@pytest.mark.parametrize(
    ("n_steps", "n_rise", "n_fall"),
    # of a short training the rise is a tenth
    [(2500, 50, 625), (400, 41, 100), (1990, 50, 497), (10, 2, 2), (3, 1, 0), (1, 1, 0)],
)
def test_the_rate_rises_is_constant_and_falls_over_the_last_quarter(n_steps, n_rise, n_fall):
    course = Course(n_steps)
    rise = [(step + 1) / n_rise for step in range(n_rise)]
    fall = [left / n_fall for left in range(n_fall, 0, -1)]
    constant = [1.0] * (n_steps - n_rise - n_fall)
    np.testing.assert_allclose(factors(course, range(n_steps)), [*rise, *constant, *fall])


def test_every_step_of_a_training_has_a_rate_above_zero_and_none_after_it():
    for n_steps in range(1, 120):
        course = Course(n_steps)
        assert all(0.0 < factor <= 1.0 for factor in factors(course, range(n_steps)))
    assert factors(course, range(119, 125)) == [0.0] * 6


def test_without_an_end_the_rate_stays():
    course = Course()
    assert factors(course, (0, 24, 49, 50, 10**9)) == [0.02, 0.5, 1.0, 1.0, 1.0]


def test_a_fall_can_be_begun():
    course = Course(1000)
    course.fall(300, 400)
    assert factors(course, (299, 300, 350, 399)) == [1.0, 1.0, 0.5, 0.01]
    assert factors(course, (400, 800)) == [0.0, 0.0]


def test_a_fall_within_the_rise_is_never_above_it():
    course = Course(2500)
    course.fall(40, 440)
    np.testing.assert_allclose(factors(course, (39, 40, 160, 360)), [0.8, 0.82, 0.7, 0.2])


def test_a_course_goes_on_from_a_state():
    course, other = Course(2500), Course(10)
    course.fall(300, 400)
    other.load(course.state())
    course.fall(0, 1)  # the state is a copy
    assert factors(other, (0, 49, 299, 350, 400)) == [0.02, 1.0, 1.0, 0.5, 0.0]


# -- the rule ----------------------------------------------------------------------------------


def run(scores, patience, tol):
    """Step of the stop (None if there is none) and of the remembered weights, from 0."""
    stopping, module = EarlyStopping(patience, tol), nn.Linear(1, 1)
    for step, score in enumerate(scores):
        nn.init.constant_(module.weight, step)
        if stopping.should_stop(score, torch.tensor([score]), None, module, step):
            break
    else:
        step = None
    return step, stopping.kept["weight"].item()


@pytest.mark.parametrize(
    ("scores", "patience", "tol", "stop", "best"),
    [
        ([1, 2, 3, 4], 1, 0.0, None, 3),  # always better
        ([4, 3, 2, 1], 2, 0.0, 2, 0),  # never: two steps later it stops
        ([1, 3, 2, 2, 4, 1], 3, 0.0, None, 4),  # better just in time
        ([1, 3, 2, 2, 2, 4], 3, 0.0, 4, 1),  # too late
        ([1.0, 1.1, 1.2], 2, 0.5, 2, 2),  # better by less than tol: remembered, not counted
        ([1.0, 1.0, 1.0], 2, 0.0, 2, 2),  # equal is not better, and not worse
    ],
)
def test_it_stops_and_remembers(scores, patience, tol, stop, best):
    scores = [float(score) for score in scores]
    assert run(scores, patience, tol) == (stop, best)


def test_slow_progress_adds_up():
    # Small rises count once their sum since the last that counted exceeds tol.
    assert run([0.0, 0.4, 0.8, 1.2, 1.6], 3, 0.5) == (None, 4)
    assert run([0.0, 0.1, 0.2, 0.3, 0.4], 3, 0.5) == (3, 3)


def stopping_after(rise, weight=None, tol=0.0):
    """Whether a rise of rows counts, as `should_stop` notes it."""
    stopping, module = EarlyStopping(None, tol), nn.Linear(1, 1)
    rows = 100.0 * torch.arange(float(len(rise)))  # rows that differ far more than their rises
    for step, scores in ((50, rows), (100, rows + torch.tensor(rise))):
        stopping.should_stop(float(scores.mean()), scores, weight, module, step)
    return stopping.improved_at == 100


def test_a_rise_is_judged_row_by_row():
    # The same rise of all rows has no spread, however much the rows differ.
    assert stopping_after([0.25] * 40)
    assert not stopping_after([-0.25] * 40)


@pytest.mark.parametrize("n_rows", [4, 100])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_rise_counts_beyond_tol_and_half_of_its_standard_error(n_rows, share):
    tol = 0.5
    spread = np.tile([-8.0, 8.0], n_rows // 2)
    bar = tol + 0.5 * 8.0 / math.sqrt(n_rows)
    assert stopping_after((spread + share * bar).tolist(), tol=tol) == (share > 1)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_bar_is_that_of_weighted_rows(share):
    rng = np.random.RandomState(0)
    weight, rise = rng.uniform(0.1, 5.0, 30), rng.standard_normal(30)
    rise -= np.average(rise, weights=weight)
    w = weight / weight.sum()
    bar = 0.1 + np.sqrt(np.sum(w**2 * rise**2)) / 2
    found = stopping_after((rise + share * bar).tolist(), torch.from_numpy(weight), tol=0.1)
    assert found == (share > 1)


def test_only_the_ratios_of_weights_matter():
    rule, rise = EarlyStopping(None, 0.1), torch.tensor([0.5, -0.3, 0.6, 0.2])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    bars = []
    for scale in (1.0, 1e-3, 1e3):
        shifts = np.linspace(-1, 1, 201)
        bars.append(
            [rule.is_above(0.1, rise + shift, scale * weight) for shift in shifts].index(True)
        )
    assert len(set(bars)) == 1
    assert bars[0] > 0


def test_a_row_of_weight_zero_has_no_say():
    weight = torch.tensor([1.0, 1.0, 0.0])
    assert stopping_after([0.2, 0.2, -100.0], weight)
    assert not stopping_after([-0.2, -0.2, 100.0], weight)


def test_the_reference_is_the_last_rise_that_counted():
    stopping, module = EarlyStopping(None, 0.5), nn.Linear(1, 1)
    for step, score in ((50, 0.0), (100, 0.4), (150, 0.8), (200, 1.2)):
        stopping.should_stop(score, torch.full((3,), score), None, module, step)
        assert stopping.reference.tolist() == pytest.approx([0.0 if step < 150 else 0.8] * 3)
    assert (stopping.improved_at, stopping.best, stopping.kept_at) == (150, 1.2, 200)


@pytest.mark.parametrize(("share", "kept_at"), [(0.9, 200), (1.1, 100)])
def test_weights_are_kept_that_are_not_worse_than_the_best_up_to_half_a_standard_error(
    share, kept_at
):
    stopping, module = EarlyStopping(None, 0.5), nn.Linear(1, 1)
    spread = torch.tensor([-8.0, 8.0]).repeat(8)
    rows = 100.0 * torch.arange(16.0)
    bar = 0.5 * 8.0 / math.sqrt(16)
    for step, scores in (
        (50, rows - 1.0),
        (100, rows),
        (150, rows - 10.0),  # worse for sure
        (200, rows + spread - share * bar),
    ):
        nn.init.constant_(module.weight, step)
        stopping.should_stop(float(scores.mean()), scores, None, module, step)
    assert stopping.best == rows.mean()
    assert (stopping.kept_at, stopping.kept["weight"].item()) == (kept_at, kept_at)


@pytest.mark.parametrize(
    ("improved_at", "last"),
    [(50, 550), (450, 950), (1000, 1500), (1500, 2250), (6000, 9000)],
)
def test_without_a_number_the_patience_is_a_third_of_all_steps_but_at_least_500(improved_at, last):
    stopping, module = EarlyStopping(None, 0.0), nn.Linear(1, 1)
    for step in range(50, 20_000, 50):
        score = float(min(step, improved_at))
        if stopping.should_stop(score, torch.tensor([score]), None, module, step):
            break
    assert (stopping.improved_at, step) == (improved_at, last)


def test_without_a_number_fifty_steps_lie_between_two_scores():
    stopping, module = EarlyStopping(None, 0.0), nn.Linear(1, 1)
    scored = []
    for step in range(7, 200, 7):
        if stopping.is_due(step):
            scored.append(step)
            stopping.should_stop(0.0, torch.zeros(1), None, module, step)
    assert scored == [7, 63, 119, 175]


def test_with_a_number_every_epoch_is_scored():
    stopping, module = EarlyStopping(30, 0.0), nn.Linear(1, 1)
    for step in (1, 2, 3):
        assert stopping.is_due(step)
        stopping.should_stop(0.0, torch.zeros(1), None, module, step)


def test_the_remembered_weights_are_a_copy():
    stopping, module = EarlyStopping(3, 0.0), nn.Linear(1, 1)
    nn.init.constant_(module.weight, 1.0)
    stopping.should_stop(1.0, torch.ones(1), None, module, 1)
    nn.init.constant_(module.weight, 2.0)
    assert stopping.kept["weight"].item() == 1.0


def test_a_rule_goes_on_from_a_state():
    rng = np.random.RandomState(0)
    rows = torch.from_numpy(rng.standard_normal((60, 5)) - np.exp(-np.arange(60) / 5)[:, None])
    whole, first, second = (EarlyStopping(15, 0.01) for _ in range(3))
    stops, module = [], nn.Linear(1, 1)
    for step, scores in enumerate(rows):
        nn.init.constant_(module.weight, step)
        if step == 8:
            second.load(first.state())
        parts = first if step < 8 else second
        stops.append(
            [
                rule.should_stop(float(scores.mean()), scores, None, module, step)
                for rule in (whole, parts)
            ]
        )
    assert all(one == other for one, other in stops)
    assert stops[-1] == [True, True]
    assert_close(second.state(), whole.state(), rtol=0, atol=0)


def test_patience_and_tol_are_those_of_the_rule_that_goes_on():
    first, second = EarlyStopping(3, 0.1), EarlyStopping(None, 0.2)
    second.load(first.state())
    assert (second.patience, second.tol) == (None, 0.2)
