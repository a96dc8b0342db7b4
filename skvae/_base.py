"""The training of an estimator, for tables and sentences alike."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import train_test_split

from skvae._data.rows import fingerprint
from skvae._data.streams import Stream, is_stream, open_stream
from skvae._fit.checkpoints import Checkpoint, NoCheckpoint, in_words
from skvae._fit.course import Course, EarlyStopping
from skvae._fit.processes import LostProcess, processes
from skvae._fit.range_training import RangeTraining
from skvae._fit.saving import SavingMixin
from skvae._fit.torch_state import SeededDraws, plain_torch, restored_process
from skvae._fit.training import SMALL, NotFinite, Training
from skvae._random import random_state_of
from skvae._sklearn import Interval, StrOptions, check_sample_weight, safe_indexing
from skvae._use import UseMixin
from skvae.diagnostics import warn_if_collapsed
from skvae.every_tau import EveryTau
from skvae.objectives import OBJECTIVES, Objective
from skvae.posteriors import POSTERIORS, PriorPosterior

FEWEST_TO_HOLD_OUT = 20  # rows; a tenth of fewer cannot tell when to stop
N_STEPS = 2_000  # of a fit to a small table; with weight decay their number matters little

Method = TypeVar("Method", bound=Callable[..., Any])


def managing_callbacks(fit: Method) -> Method:
    """Apply `with_callbacks`, which is not annotated, without losing the annotations of `fit`."""
    return cast(Method, with_callbacks(fit))


@contextmanager
def unchanged_on_error(estimator):
    """Leave the estimator as it was if the block does not reach its end."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        # These two belong to scikit-learn, which removes them itself when it ends the callbacks.
        names = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")
        of_callbacks = {name: vars(estimator)[name] for name in names if name in vars(estimator)}
        vars(estimator).clear()
        vars(estimator).update(before | of_callbacks)
        raise


class BaseVAE(SavingMixin, CallbackSupportMixin, UseMixin, BaseEstimator):
    """Abstract base of the estimators.

    A subclass defines how rows are read (`_read`), how the module is built (`_build`) and in which
    units it sees the rows (`_initialize`). All that a fit has learned is one object,
    `_model`; the fitted attributes are views of it.
    """

    _doc_link_module = "skvae"
    _doc_link_template = "https://skvae.readthedocs.io/en/stable/api/skvae.{estimator_name}.html"
    _training_type = Training  # for one tau; a subclass can train in another way
    _largest_batch = 128  # rows of a batch if batch_size is "auto"

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tau": "no_validation",  # left to `range_of`, whose error explains both forms
        "posterior": [StrOptions(set(POSTERIORS)), callable],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "beta": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "average": ["boolean"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _build(self, rows, reader, tau):
        """Return a VAE for rows, with new weights drawn from PyTorch's generator."""
        raise NotImplementedError

    def _initialize(self, module, X, reader, weight):
        """Initialize the likelihood from the rows; return the units in which it sees them."""
        raise NotImplementedError

    # -- training --------------------------------------------------------------------------

    @plain_torch()
    @managing_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train on `X`.

        Parameters
        ----------
        X : {array-like, CSR, stream} of shape (n_samples, n_features)
            The rows. A stream is anything with a shape, a dtype and rows by slices, such as a
            `numpy.memmap`, a dataset of h5py or an array of zarr or dask: beyond 1 GB it stays
            where it is, and is read and shuffled block by block.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the objective and in the moments.

        Returns
        -------
        self : estimator instance
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used, or if the objective became infinite or
            NaN in the first epoch. The estimator is then as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If the objective became infinite or NaN in a later epoch: the weights are those of
            the epoch before. With early stopping, also if held-out rows were still improving in the
            last epoch.
        UserWarning
            If training was interrupted by Ctrl-C: the weights are those of the last complete epoch.
        """
        return self._fit(X, y, sample_weight)

    @plain_torch()
    @managing_callbacks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X`, continuing from the last call.

        The units of the columns are those of the first call, and a column that had a single value
        in that call stays a constant, so pass rows that vary in it. The moments are merged with
        those of earlier calls, which have at most nine times the weight of this one, because the
        encoder has changed since. So `kl_floor_` is the floor for all these rows together and need
        not hold for the rows of the last call alone. The state of the optimizer is kept between
        calls, and makes up two thirds of the pickles and files of an estimator that was trained by
        `partial_fit`; `fit` does not keep it and starts anew.

        Parameters
        ----------
        X : {array-like, CSR, stream} of shape (n_samples, n_features)
            The rows. A stream is anything with a shape, a dtype and rows by slices, such as a
            `numpy.memmap`, a dataset of h5py or an array of zarr or dask: beyond 1 GB it stays
            where it is, and is read and shuffled block by block.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the objective and in the moments.

        Returns
        -------
        self : estimator instance
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`.
        """
        return self._fit(X, y, sample_weight, partial=True)

    def _fit(self, X, y, sample_weight, partial=False):
        with unchanged_on_error(self):
            self._validate_params()
            range_of(self.tau)  # raises an error if it is neither a tau nor a range
            continues = (partial or self.warm_start) and self.__sklearn_is_fitted__()
            device = available_device(self.device)
            weighted, weight = _weighted(X, sample_weight)
            data, reader = self._read(weighted, self._model.reader if continues else None)
            checkpoint, found, seeds = self._beginning(data, weight, continues, partial)
            training = self._prepare(data, reader, weight, device, seeds, continues, partial)
            callbacks = _Callbacks(self, training.n_epochs, X, y)
            with restored_process(training.step_work(), device, training.seed):
                if found:
                    training.load(found)
                try:
                    training.run(callbacks, checkpoint)
                except (KeyboardInterrupt, NotFinite) as error:
                    model = training.finished_after(error)
                except LostProcess as error:
                    raise training.lost_process_error(
                        error, resumable=self.checkpoint is not None
                    ) from error
                else:
                    model = training.finished()
                    if not partial:
                        training.warn_if_still_improving()
            vars(self).update(self._learned(model, training, continues, partial))
            callbacks.end_fit()
            if not partial and not isinstance(model.module.posterior_layer, PriorPosterior):
                warn_if_collapsed(model.kl_per_component, training.optimizer.travel())
        return self

    def _beginning(self, data, weight, continues, partial):
        """Return the checkpoint, what it holds, and the seeds of weights and training.

        All processes of a fit agree on them.
        """
        checkpoint = self._checkpoint(data, weight, continues, partial)
        found = checkpoint.read()
        if found:
            seeds, n_done = found["seeds"], len(found["history"]["loss"])
        else:
            source, n_done = random_state_of(self.random_state), 0
            seeds = source.randint(2**31 - 1, size=2).tolist()
        group = processes()
        group.check_equal("X and sample_weight", lambda: fingerprint(data, weight))
        group.check_equal("checkpoint", lambda: f"{n_done:08x}")
        return checkpoint, found, group.from_first(seeds)

    def _checkpoint(self, data, weight, continues, partial):
        """Return the checkpoint of the fit, which does nothing unless a file is wanted."""
        if self.checkpoint is None or partial:
            return NoCheckpoint()
        if continues:
            raise ValueError(
                "checkpoint does not go with warm_start=True: a fit that goes on from another is "
                "not the fit of the checkpoint. Use one of the two."
            )
        excluded = ("checkpoint", "device", "verbose", "warm_start")
        identity = {
            name: in_words(value)
            for name, value in self.get_params(deep=False).items()
            if name not in excluded
        }
        identity = {"estimator": type(self).__name__, **identity}
        identity["X"] = fingerprint(data, weight)
        return Checkpoint(self.checkpoint, identity, writes=processes().rank == 0)

    def _prepare(self, data, reader, weight, device, seeds, continues, partial):
        """Return the training, before its first epoch."""
        if continues:  # otherwise every call would draw the same noise
            seeds = [seeds[0], (seeds[1] + self.n_iter_) % 2**31]
        module, rows = self._module_and_rows(data, reader, weight, device, seeds, continues)
        n_rows, dtype = len(rows), rows.dtype
        batch_size, stops_early = self._batch_size(n_rows), self._stops_early(n_rows, partial)
        train, held_out = self._held_out(rows, seeds[1]) if stops_early else (rows, None)
        n_batches, stopping = train.n_batches(batch_size), None
        n_epochs = 1 if partial else self.max_iter
        if n_epochs is None and stops_early:
            n_epochs = max(1_000, 10_000 // n_batches)
        elif n_epochs is None:
            n_epochs = max(200, math.ceil(N_STEPS / n_batches))
        if stops_early:
            patience = self.n_iter_no_change
            n_steps = None if patience is None else patience * n_batches
            stopping = EarlyStopping(n_steps, self.tol)
        settings = {
            "train": train,
            "held_out": held_out,
            "objective": OBJECTIVES.get(self.objective, self.objective),
            "beta": self.beta,
            "n_epochs": n_epochs,
            "learning_rate": self.learning_rate,
            "course": Course(None if partial else n_epochs * n_batches),
            "weight_decay": 0.0 if partial else self.weight_decay,
            "average": self.average,
            "batch_size": batch_size,
            "stopping": stopping,
            "seeds": seeds,
            "dtype": dtype,
        }
        if range_of(self.tau) is None:
            training = self._training_type(module.to(device), rows, reader, **settings)
        else:
            every = self._every_tau(module, continues)
            keeps_tau = continues and every.low <= self.tau_ <= every.high
            tau = self.tau_ if keeps_tau else every.tau_at(0.0)
            training = RangeTraining(every.to(device), rows, reader, tau=tau, **settings)
        if partial and continues:
            self._check_range_of_former_calls()
            training.continue_from(self._optimizer_state)
        return training

    def _module_and_rows(self, data, reader, weight, device, seeds, continues):
        """Return the module to train, new or a copy of the last, and the rows as it sees them."""
        rows, ends = self._rows(data, reader, None, weight, device), range_of(self.tau)
        tau = self.tau if ends is None else sum(ends) / 2  # to build the posterior with
        if continues:
            module, units = self._module_to_go_on_with(tau), self._model.units
            self._check_rows(module.likelihood_layer, rows, reader)
            return module, rows.seen_in(units)
        cpu = torch.device("cpu")  # so that the weights do not depend on the device
        with restored_process(0, cpu), SeededDraws(seeds[0]):
            module = self._build(rows, reader, tau).float()
        self._check_rows(module.likelihood_layer, rows, reader)
        return module, rows.seen_in(self._initialize(module, rows.X, reader, weight))

    def _module_to_go_on_with(self, tau):
        """Return a copy of the trained module."""
        module = copy.deepcopy(self.module_).float().train()
        if module.posterior_layer.n_components != self.n_components:
            raise ValueError(
                "n_components must stay the same to go on with a fitted estimator: it has "
                f"{module.posterior_layer.n_components}, now {self.n_components} are asked for. "
                "Set it back, or clone the estimator."
            )
        module.posterior_layer.tau = tau
        return module

    def _every_tau(self, module, continues):
        """Return the model for every tau of the range: a copy of the last one if there is one."""
        low, high = range_of(self.tau)
        if continues and self._fitted_range() == (low, high):
            return copy.deepcopy(self._model.every).float().train()
        every = EveryTau(module, low, high)
        if not continues:
            every.stagger()
        return every

    def _check_range_of_former_calls(self):
        """Refuse to go on by `partial_fit` with another range of tau."""
        if self._fitted_range() != range_of(self.tau):
            raise ValueError(
                "partial_fit goes on with the range of tau of former calls, "
                f"{self._fitted_range() or 'a single one'}; now tau={self.tau!r} is asked for. "
                "Set it back, or call fit."
            )

    def _stops_early(self, n_rows, partial):
        """Return whether held-out rows decide when to stop."""
        if self.early_stopping != "auto":
            return self.early_stopping
        # A tenth of a small table is no better a judge of the length than a fixed number of steps.
        fewest = FEWEST_TO_HOLD_OUT if self.weight_decay == 0.0 else SMALL
        return self.max_iter is None and n_rows >= fewest and not partial

    def _held_out(self, rows, seed):
        """Return the rows to train on and the rows to stop by."""
        n_held_out = max(1, round(self.validation_fraction * len(rows)))
        if n_held_out >= len(rows):
            raise ValueError(
                f"early_stopping=True sets {n_held_out} of {len(rows)} rows aside and leaves none "
                "to train on. Lower validation_fraction, bring more rows or switch it off."
            )
        split = train_test_split(np.arange(len(rows)), test_size=n_held_out, random_state=seed)
        return [rows.subset(index) for index in split]

    def _batch_size(self, n_rows):
        """Return the number of rows of a batch."""
        if self.batch_size == "auto":
            return min(max(n_rows // 8, 32), self._largest_batch)
        return self.batch_size

    def _learned(self, model, training, continues=False, partial=False):
        """Return the attributes that a training sets."""
        history = {name: list(curve) for name, curve in training.history.items()}
        scores = list(training.scores)
        if continues:
            history = {name: [*self.history_[name], *curve] for name, curve in history.items()}
            scores = [*self.validation_scores_, *scores]
        return {
            "_fitted_model": model,
            "history_": history,
            "validation_scores_": scores,
            # Only partial_fit continues from it, and it takes two thirds of a pickle or a file.
            "_optimizer_state": training.optimizer.state() if partial else None,
        }


class _Callbacks:
    """The callbacks of one fit, as scikit-learn calls them, and what `verbose` prints."""

    def __init__(self, estimator, n_epochs, X, y):
        self.estimator, self.X = estimator, X
        self.y = X if y is None else y  # the target of an autoencoder, for callbacks that score
        self.context = estimator._init_callback_context(max_subtasks=n_epochs)
        self.context.call_on_fit_task_begin(estimator=estimator, X=X, y=self.y)

    def begin_epoch(self):
        """Tell callbacks that an epoch begins."""
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def end_epoch(self, training):
        """Tell callbacks that an epoch has ended; return whether one of them ends the fit."""
        if self.estimator.verbose:
            name, loss = type(self.estimator).__name__, training.history["loss"][-1]
            print(f"[{name}] epoch {training.n_epochs_done}, loss {loss:.6g}")

        def learned():
            return self.estimator._learned(training.finished(), training)

        return self.epoch.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=learned
        )

    def end_fit(self):
        """Tell callbacks that the fit has ended."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=dict
        )


def range_of(tau):
    """Return the ends of a range of tau; None for a single tau."""
    single = isinstance(tau, Real)
    try:
        low, high = (0.0, float(tau)) if single else (float(end) for end in tau)
    except (TypeError, ValueError):
        low = high = np.nan
    if single and 0.0 < high < 1.0:
        return None
    if single or not 0.0 < low < high < 1.0:
        raise ValueError(
            "tau must be a number between 0 and 1, both excluded, or two of them, the lowest and "
            f"the highest, to train one model for all between; got {tau!r}"
        )
    return low, high


def available_device(device):
    """Return the torch.device of a `device` parameter; refuse one that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    # PyTorch raises these for an unknown name, a build without CUDA and a missing backend.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here: {str(error).splitlines()[0]} "
            "Pass 'auto' to take what there is, or 'cpu'."
        ) from error
    if device.type == "meta":
        raise ValueError(
            "device='meta' cannot be used here: its tensors hold no values. Pass 'auto' to take "
            "what there is, or 'cpu'."
        )
    return device


def _weighted(X, sample_weight):
    """Return the rows of positive weight, and those weights (None if there are none).

    The others are left out before they are read: their categories and words are not learned.
    """
    if sample_weight is None:
        return X, None
    if isinstance(X, Iterator):
        X = list(X)
    weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    weight = weight / weight.max()  # only ratios matter, and sums of large ones may overflow
    if (weight > 0).all():
        return X, weight
    if is_stream(X) and len(X.shape) == 2:  # a series of polars has one dimension
        X = open_stream(X)
    if isinstance(X, Stream):
        return X[weight > 0], weight[weight > 0]
    X = X.tocsr() if issparse(X) else X
    return safe_indexing(X, np.flatnonzero(weight)), weight[weight > 0]
