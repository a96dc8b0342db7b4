"""When a training ends, and how its learning rate runs until then."""

import copy
import math

import torch

N_RISE = 50  # steps
SHARE_OF_FALL = 0.25


class Course:
    """Multiplier of the learning rate: a short rise, a constant stretch and a fall to zero.

    A constant rate says nothing of the end, so a rule may find the end during the training. The
    fall takes out of the weights what is left of the noise of the batches: the same number of
    steps at a constant rate ends worse (Zhai et al. 2022, arXiv:2106.04560, section 3.5; Hägele
    et al. 2024, arXiv:2405.18392).

    Parameters
    ----------
    n_steps : int or None
        Number of steps, of which the last quarter is the fall. None if nothing is known of the
        end; there is no fall then until one is begun.

    Examples
    --------
    >>> from skvae._fit.course import Course
    >>> course = Course(1_000)
    >>> [round(course.factor(step), 2) for step in (0, 24, 49, 500, 750, 875, 999)]
    [0.02, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, n_steps=None):
        self.fall_from = self.end = math.inf
        self.n_rise = N_RISE
        if n_steps is not None:
            self.n_rise = min(N_RISE, n_steps // 10 + 1)
            self.fall(n_steps - int(SHARE_OF_FALL * n_steps), n_steps)

    def fall(self, start, end):
        """Let the rate fall from a step on, to zero at the end."""
        self.fall_from, self.end = start, end

    def state(self):
        """Return what another course continues from by `load`."""
        return dict(vars(self))

    def load(self, state):
        """Continue from the `state` of another course."""
        vars(self).update(state)

    def factor(self, step):
        """Return the multiplier of the learning rate at a step, which counts from 0."""
        rise = (step + 1) / self.n_rise
        if step < self.fall_from:
            return min(1.0, rise)
        return min(1.0, rise, max(0.0, (self.end - step) / (self.end - self.fall_from)))


class EarlyStopping:
    """A rule that says when held-out rows get no better, and keeps weights to go back to.

    Scores are compared row by row, because most of the spread of a mean over few rows is that of
    the rows. A rise counts if it exceeds `tol` and half of its standard error together. The
    weights that are kept are the last that are not worse than the best, up to half of the
    standard error of the difference: few rows do not say that a training was too long.

    Parameters
    ----------
    patience : int or None
        Number of steps without a rise that counts, after which to stop. None stands for a third
        of all steps so far, but at least 500.
    tol : float
        Rise of the mean score that counts.

    Attributes
    ----------
    best : float
        Largest score.
    kept : dict
        State of the module to go back to.
    kept_at : int
        Step of this state.
    improved_at : int
        Step of the last rise that counted.
    """

    n_between = 50  # steps between two scores, each of which costs a pass over some rows

    def __init__(self, patience, tol):
        self.patience, self.tol = patience, tol
        self.best, self.rows_of_best, self.kept, self.kept_at = -math.inf, None, None, 0
        self.reference, self.improved_at, self.scored_at = None, 0, -math.inf

    def state(self):
        """Return what another rule continues from by `load`."""
        return {
            name: value for name, value in vars(self).items() if name not in ("patience", "tol")
        }

    def load(self, state):
        """Continue from the `state` of another rule."""
        vars(self).update(state)

    def is_due(self, step):
        """Return whether to score the model after a step."""
        return self.patience is not None or step - self.scored_at >= self.n_between

    def should_stop(self, score, row_scores, weight, module, step):
        """Note the scores of the held-out rows after a step; return whether to stop.

        Parameters
        ----------
        score : float
            Score of all rows; larger is better.
        row_scores : Tensor of shape (n_samples,)
            Score of each row.
        weight : Tensor of shape (n_samples,) or None
            Weights of the rows.
        module : torch.nn.Module
            Module that was scored.
        step : int
            Number of steps so far.

        Returns
        -------
        bool
            Whether to stop.
        """
        self.scored_at = step
        if self.reference is None or self.is_above(self.tol, row_scores - self.reference, weight):
            self.reference, self.improved_at = row_scores, step
        if score > self.best:
            self.best, self.rows_of_best = score, row_scores
        if not self.is_above(0.0, self.rows_of_best - row_scores, weight):
            self.kept, self.kept_at = copy.deepcopy(module.state_dict()), step
        patience = max(500, step // 3) if self.patience is None else self.patience
        return step - self.improved_at >= patience

    def is_above(self, threshold, rise, weight):
        """Return whether a mean rise exceeds a threshold and half of its standard error."""
        weight = torch.ones_like(rise) if weight is None else weight.to(rise)
        weight = weight / weight.sum()
        mean = weight @ rise
        error = (weight.square() @ (rise - mean).square()).sqrt()
        return bool(mean > threshold + error / 2)
