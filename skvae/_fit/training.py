"""The training loop: what an epoch does, what ends the training and what is kept of it."""

import copy
import math
from functools import cached_property

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from skvae._fit.course import SHARE_OF_FALL, Course
from skvae._fit.fitted import FittedModel
from skvae._fit.optimizer import Adam, rates_of
from skvae._fit.processes import LostProcess, processes
from skvae._fit.torch_state import (
    generator_states,
    multiplications_per_row,
    restored_process,
    set_generators,
)
from skvae._warnings import warn
from skvae.objectives import Terms, mean_terms, row_terms
from skvae.posteriors import Moments

# weight_decay="auto" shrinks a weight that no gradient drives by a factor e in so many steps a row.
STEPS_OF_DECAY = 2
SMALL = 1_000  # rows; a smaller table would miss the tenth that is held out
FEWEST_STEPS = 500  # of a training anew with weight decay; fewer leave the noise of batches
# Attributes of a training that change in it and are plain values.
PROGRESS = [
    *("over", "history", "scores", "n_rows_seen", "n_steps", "n_epochs"),
    *("settled", "converged"),
]


class NotFinite(ValueError):
    """The objective became infinite or NaN.

    Parameters
    ----------
    reason : str
        The epoch, and what to do.
    """

    def __init__(self, reason):
        super().__init__(f"{reason}; nothing was kept.")
        self.reason = reason


class RunningMean:
    """The mean over all rows, from the means of the batches.

    Values are added up 64 at a time: one at a time would cost a few operations in every step, and
    all at the end would leave small tensors in memory between which no space is used again.
    """

    n_together = 64

    def __init__(self):
        self.waiting, self.total, self.n_rows = [], 0.0, 0

    def add(self, value, n_rows):
        """Add the mean of a batch of `n_rows` rows; it may be non-finite."""
        self.waiting.append((value, n_rows))
        if len(self.waiting) == self.n_together:
            self._add_up()

    def value(self):
        """Return the mean of all rows that were added."""
        if self.waiting:
            self._add_up()
        return self.total / self.n_rows

    def _add_up(self):
        values, sizes = zip(*self.waiting, strict=True)
        weights = torch.tensor(sizes, dtype=values[0].dtype, device=values[0].device)
        self.total = self.total + torch.tensordot(weights, torch.stack(values), 1)
        self.n_rows += sum(sizes)
        self.waiting = []


class Training:
    """One training of a model, from its first batch to the finished model.

    Parameters
    ----------
    model : skvae.model.VAE
        The model to train; changed in place.
    rows : skvae._data.rows.Rows
        All training rows, whose moments the finished model is given.
    reader : object or None
        Reader of the rows, for the finished model.
    vae : skvae.model.VAE, optional
        The VAE that the model is made of, if it is not one itself.
    train, held_out : skvae._data.rows.Rows
        The rows to train on and the rows to stop by; `held_out` is None without early stopping.
    objective : skvae.objectives.Objective
        The objective to maximize, in training and stopping alike.
    beta : float
        Multiplier of the KL weight.
    n_epochs : int
        Largest number of epochs, over which the objective's schedule runs.
    learning_rate : float
        Step size of the optimizer, of which `course` takes a fraction at each step.
    course : skvae._fit.course.Course
        Course of the learning rate.
    weight_decay : float or "auto"
        Share of a weight, times the step size, by which every step shrinks it; "auto" is that of
        `skvae.BNVAEEstimator`.
    average : bool
        Whether the finished model has running averages of the weights.
    batch_size : int
        Rows of a batch, as in `Rows.shuffled`.
    stopping : EarlyStopping or None
        The rule by which `held_out` ends the training.
    seeds : list of int
        Seed of the initial weights, and seed of shuffling and noise.
    dtype : torch.dtype
        Precision of the finished model.

    Attributes
    ----------
    history : dict of list of float
        One value an epoch, means over the training rows in nats per row: "loss" (the negative
        objective), "rate" (KL), "distortion" (negative reconstruction) and "kl_weight" (beta times
        schedule, at the last step).
    scores : list of float
        Mean objective of the held-out rows after each epoch, at the same "kl_weight".
    over : bool
        Whether a callback has ended the training.
    converged : bool
        Whether the held-out rows have stopped getting better.
    settled : bool
        Whether `settle` has decided on the end: the held-out rows are in training by then.
    """

    def __init__(
        self,
        model,
        rows,
        reader=None,
        *,
        vae=None,
        train,
        held_out,
        objective,
        beta,
        n_epochs,
        learning_rate,
        course,
        weight_decay,
        average,
        batch_size,
        stopping,
        seeds,
        dtype,
    ):
        self.model, self.rows, self.reader = model, rows, reader
        self.vae = model if vae is None else vae
        self.train, self.held_out = train, held_out
        self.objective, self.beta, self.n_epochs = objective, beta, n_epochs
        self.course, self.n_rows_of_schedule = course, len(train) * n_epochs
        self.batch_size, self.stopping, self.seeds, self.dtype = batch_size, stopping, seeds, dtype
        self.generator = torch.Generator(rows.device).manual_seed(self.seed)
        # The matrices of p(x|z), not those of the encoder: normalized heads cancel their scale, and
        # nothing stops the decay.
        parts = self.vae.decoder, self.vae.likelihood_layer
        decayed = [weight for part in parts for weight in part.parameters() if weight.ndim > 1]
        if weight_decay == "auto":
            # A linear model has its maximum likelihood for an answer, as factor analysis gives it.
            is_linear = len(decayed) < 2
            weight_decay = 0.0 if is_linear else 1 / (STEPS_OF_DECAY * len(rows) * learning_rate)
        rates = rates_of(model, self.vae.encoder)
        self.optimizer = Adam(
            model.parameters(), learning_rate, average, weight_decay, decayed, rates
        )
        self.processes = processes()
        self.processes.check_batches(len(train), batch_size)
        self.history = {"loss": [], "rate": [], "distortion": [], "kl_weight": []}
        self.scores, self.n_rows_seen, self.n_steps = [], 0, 0
        self.over = self.settled = self.converged = False
        self.previous = None  # moments of rows of former calls
        self.kept = None  # state after the last whole epoch
        self.initial = None if stopping is None else copy.deepcopy(model.state_dict())
        model.train()

    def run(self, callbacks, checkpoint):
        """Train until the last epoch, or until a callback ends it."""
        model = self.processes.shared(self.model)
        while not self.over and self.n_epochs_done < self.n_epochs:
            callbacks.begin_epoch()
            objectives, reconstructions, rates = RunningMean(), RunningMean(), RunningMean()
            for x, weight, context in self.batches():
                noise = self.vae.noise(x, self.generator)
                terms = model(x, noise, context, weight).mean(weight)
                objective = self.objective(terms, self.kl_weight())
                self.step(-objective)
                self.n_rows_seen += len(x)
                objectives.add(objective.detach(), len(x))
                reconstructions.add(terms.reconstruction.detach(), len(x))
                rates.add(terms.kl.detach(), len(x))
            self.record(objectives, reconstructions, rates)
            self.settle_if_no_better()
            self.kept = _copy_of(self.state())
            stop = callbacks.end_epoch(self)
            (self.over,) = map(bool, self.processes.from_first([stop]))
            checkpoint.write({**self.kept, "over": self.over})
        self.processes.from_first([0])  # no process goes on before the checkpoint is written

    def batches(self):
        """Yield the training rows of one epoch, in shuffled batches."""
        return self.train.shuffled(self.batch_size, self.generator)

    def step(self, loss):
        """Move all parameters one step down the gradient of the loss."""
        gradients = torch.autograd.grad(loss, self.optimizer.parameters, materialize_grads=True)
        self.optimizer.step(self.processes.total(gradients), self.course.factor(self.n_steps))
        self.n_steps += 1

    def kl_weight(self):
        """Return the present weight of the KL."""
        return self.beta * self.objective.kl_weight(self.progress())

    def progress(self):
        """Return the share of the training that is done, from 0 to 1."""
        return min(1.0, self.n_rows_seen / self.n_rows_of_schedule)

    @property
    def n_epochs_done(self):
        """Number of whole epochs."""
        return len(self.history["loss"])

    @property
    def seed(self):
        """Seed of shuffling and noise."""
        return self.seeds[1]

    def step_work(self):
        """Return the multiplications of a step: forward, and twice as many backward."""
        with restored_process(0, self.rows.device):
            return 3 * min(self.batch_size, len(self.train)) * self.row_work

    @cached_property
    def row_work(self):
        """Multiplications for one row; counted in `restored_process`."""
        return multiplications_per_row(self.vae, self.rows.evenly_spaced().in_order(torch.float32))

    # -- what ends it ----------------------------------------------------------------------

    def record(self, objectives, reconstructions, rates):
        """Add an epoch to the history, from its running means; refuse what is not finite."""
        objective = float(objectives.value())
        log_jacobian = self.rows.log_jacobian()
        self.history["loss"].append(-objective - log_jacobian)
        self.history["rate"].append(float(rates.value().sum()))
        self.history["distortion"].append(-float(reconstructions.value()) - log_jacobian)
        self.history["kl_weight"].append(self.kl_weight())
        self.check_finite(objective)

    def settle_if_no_better(self):
        """Score the held-out rows where that is due; begin the end if they get no better."""
        if self.stopping is None:
            return
        stop, is_last = False, self.n_epochs_done == self.n_epochs
        if self.settled or not (is_last or self.stopping.is_due(self.n_steps)):
            self.scores.append(math.nan)
        else:
            stop = self.should_stop()
        stop, self.stopping.kept_at = self.processes.from_first([stop, self.stopping.kept_at])
        self.converged = self.converged or bool(stop)
        if stop and self.n_steps < self.course.fall_from:
            self.settle()

    def should_stop(self):
        """Score the held-out rows; return whether they get no better."""
        model, terms, row_scores = self.judged()
        score = float(self.objective(terms, self.kl_weight()))
        self.check_finite(score)
        self.scores.append(score + self.rows.log_jacobian())
        # While the weight of the KL still changes, scores of two epochs do not compare.
        if self.progress() < self.objective.constant_from:
            return False
        weight = self.held_out.weight
        return self.stopping.should_stop(self.scores[-1], row_scores, weight, model, self.n_steps)

    def settle(self):
        """End the training on all rows, in one of two ways.

        Of many rows those held out are hardly missed: from the best weights, the learning rate
        falls. A small table misses them: it is trained anew, for the best number of steps, unless
        the objective has a schedule, which would be over by then.
        """
        n_batches, n_best = self.rows.n_batches(self.batch_size), self.stopping.kept_at
        # Whole epochs, rounded down because sentences overfit in the fall.
        n_fall = max(1, int(SHARE_OF_FALL * n_best / n_batches))
        # Without weight decay only the length prevents overfitting.
        has_decay = self.optimizer.weight_decay > 0.0
        n_steps = (1 + SHARE_OF_FALL) * max(n_best, FEWEST_STEPS) if has_decay else n_best
        n_anew = math.ceil(n_steps / n_batches)
        is_room = self.n_epochs_done + n_anew <= self.n_epochs
        if len(self.rows) < SMALL and is_room and self.objective.constant_from == 0.0:
            self.model.load_state_dict(self.initial)
            self.optimizer.restart()
            self.n_steps, self.course = 0, Course(n_anew * n_batches)
            self.n_epochs = self.n_epochs_done + n_anew
        else:
            self.model.load_state_dict(self.stopping.kept)
            self.optimizer.restart_averages()
            self.n_epochs = min(self.n_epochs, self.n_epochs_done + n_fall)
            n_left = (self.n_epochs - self.n_epochs_done) * n_batches
            self.course.fall(self.n_steps, self.n_steps + n_left)
        self.train, self.settled = self.rows, True

    def judged(self):
        """Return the model as it would be finished now, and what `scores_of` returns of it."""
        model = self.judge()
        # The running moments are those of the last weights, not of their averages.
        model.finalise(self.some_rows().in_order(torch.float32))
        return model, *self.scores_of(model)

    def judge(self):
        """Return what `averaged` does, but the same object each time: a copy takes many steps."""
        self._judge.load_state_dict(self.model.state_dict())
        if self.optimizer.averages is not None:
            self.optimizer.averages.write_into(self._judge)
        return self._judge

    @cached_property
    def _judge(self):
        return copy.deepcopy(self.model).eval()

    def some_rows(self):
        """Return as many training rows as moments to judge by need."""
        n_rows = 10_000
        return self.train if len(self.train) <= n_rows else self.train.evenly_spaced(n_rows)

    def scores_of(self, *models):
        """Return the mean terms of the held-out rows and the ELBO of each, means over models."""
        held_out = (self.held_out.in_order(torch.float32) for _ in models)
        every = [row_terms(*pair, self.same_noise()) for pair in zip(models, held_out, strict=True)]
        rows = Terms(*(torch.stack(parts).mean(0) for parts in zip(*every, strict=True)))
        weight = self.held_out.weight
        mean = rows.mean(None if weight is None else weight.to(rows.reconstruction))
        return mean, rows.reconstruction - self.kl_weight() * rows.kl.sum(-1)

    def check_finite(self, value):
        """Raise `NotFinite` for a value that is infinite or NaN."""
        if not np.isfinite(value):
            raise NotFinite(
                f"The objective became {value} in epoch {self.n_epochs_done}. Lower "
                f"learning_rate (now {self.optimizer.learning_rate:g}), look for extreme values "
                "in X or, with a posterior or network of your own, for a division by zero"
            )

    # -- what is kept ----------------------------------------------------------------------

    def finished(self):
        """Return the fitted model if training ends here; training can go on afterwards."""
        module, terms, every = self.measured()
        self.check_finite(float(terms.elbo()))
        return FittedModel(
            module,
            self.rows.units,
            self.reader,
            terms=terms,
            log_jacobian=self.rows.log_jacobian(),
            seed=self.seed,
            row_work=self.row_work,
            every=every,
        )

    def measured(self):
        """Return the finished module, its mean terms, and the model of a range if it is of one."""
        noise, model = self.same_noise(), self.best()
        model.finalise(self.rows.in_order(self.dtype), self.previous)
        return model, mean_terms(model, self.rows.in_order(self.dtype), noise), None

    def finished_after(self, error):
        """Return the fitted model of the last whole epoch, with a warning about the error."""
        diverged = isinstance(error, NotFinite)
        if self.kept is not None:
            self.load(self.kept)
        elif diverged:
            raise error
        try:
            fitted = self.finished()
        except NotFinite:
            raise error from None
        n_done = self.n_epochs_done
        when = f"after epoch {n_done} of {self.n_epochs}" if n_done else "in the middle of epoch 1"
        reason = f"{error.reason}." if diverged else "Training was interrupted;"
        rest = f"The estimator is as it was {when}."
        warn(
            f"{reason} {rest if diverged else rest[0].lower() + rest[1:]}",
            ConvergenceWarning if diverged else UserWarning,
        )
        return fitted

    def warn_if_still_improving(self):
        """Warn if the last epoch came before the held-out rows stopped getting better."""
        if self.stopping is not None and not (self.converged or self.over):
            warn(
                f"Training ended at the limit of {self.n_epochs} epochs, and the held-out rows "
                "were still getting better. Raise max_iter, or set early_stopping=False if you "
                "want exactly so many epochs.",
                ConvergenceWarning,
            )

    def lost_process_error(self, error, resumable):
        """Return the error about a lost process, with the epochs that were done."""
        return LostProcess(
            f"{error}. {self.n_epochs_done} epochs of {self.n_epochs} were done. Start all "
            f"processes again{' to go on from the checkpoint' * resumable}."
        )

    def averaged(self):
        """Return a copy of the model with the averages as its weights, in evaluation mode."""
        averages = self.optimizer.averages
        if averages is None:
            return copy.deepcopy(self.model).eval()
        return averages.copied_into(self.model).eval()

    def best(self):
        """Return a copy of the model with the weights to keep, in the final precision."""
        model = self.averaged()
        stopping = self.stopping
        if stopping is not None and not self.settled and stopping.kept is not None:
            model.load_state_dict(self.stopping.kept)
        return model.to(self.dtype)

    def same_noise(self):
        """Return a new generator of the same noise."""
        return torch.Generator(self.rows.device).manual_seed(self.seed)

    # -- going on --------------------------------------------------------------------------

    def state(self):
        """Return all that changes during training, for `load`; in `restored_process`."""
        averages, stopping = self.optimizer.averages, self.stopping
        return {
            **{name: getattr(self, name) for name in ("seeds", *PROGRESS)},
            "weights": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state(),
            "averages": None if averages is None else averages.state(),
            "generator": self.generator.get_state(),
            "generators": generator_states(self.rows.device),
            "course": self.course.state(),
            "stopping": None if stopping is None else stopping.state(),
        }

    def load(self, state):
        """Continue from the `state` of a training of the same settings; in `restored_process`."""
        self.model.load_state_dict(state["weights"])
        self.optimizer.load(state["optimizer"])
        if self.optimizer.averages is not None:
            self.optimizer.averages.load(state["averages"])
        self.generator.set_state(state["generator"])
        set_generators(self.rows.device, state["generators"])
        for name in PROGRESS:
            setattr(self, name, state[name])
        self.course.load(state["course"])
        if self.settled:
            self.train = self.rows
        if self.stopping is not None:
            self.stopping.load(state["stopping"])

    def continue_from(self, optimizer_state):
        """Continue from a former call: with its optimizer, if kept, and its rows' moments."""
        self.continue_steps(optimizer_state)
        moments = Moments(*(m.clone() for m in self.vae.posterior_layer.stored_moments()))
        self.previous = self.faded(moments)

    def continue_steps(self, optimizer_state):
        """Continue from the optimizer of a former call, if it was kept."""
        if optimizer_state is not None:
            self.optimizer.load(optimizer_state)
            self.n_steps = int(self.optimizer.n_steps)

    def faded(self, moments):
        """Return moments of former rows with less weight: the encoder has changed since."""
        return moments._replace(weight=moments.weight.clamp_max(9.0 * len(self.rows)))


def _copy_of(thing):
    """Return a copy of tensors in dicts and lists that shares nothing with them."""
    if isinstance(thing, torch.Tensor):
        return thing.clone()
    if isinstance(thing, dict):
        return {name: _copy_of(one) for name, one in thing.items()}
    return [_copy_of(one) for one in thing] if isinstance(thing, list) else thing
