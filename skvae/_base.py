"""What estimators of tables and of sentences share: training, and use of the code."""

import copy
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Self, TypeVar, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skvae._data.rows import Rows, fingerprint
from skvae._data.streams import in_chunks
from skvae._data.units import Units
from skvae._fit.files import Checkpoint, in_words
from skvae._fit.optimizer import EarlyStopping
from skvae._fit.saving import SavingMixin
from skvae._fit.torch_state import SeededDraws, borrowed_process, plain_torch
from skvae._fit.training import Fit, Fitted, NotFinite, RangeFit
from skvae._sklearn import UNUSED, Interval, StrOptions, check_sample_weight
from skvae._warnings import warn
from skvae.diagnostics import Diagnosis, diagnose, warn_if_collapsed
from skvae.distributed import LostProcess, processes
from skvae.every_tau import EveryTau
from skvae.likelihoods import Likelihood
from skvae.objectives import BOUNDS, OBJECTIVES, Objective, row_noise, shared_draws
from skvae.posteriors import POSTERIORS, PriorPosterior

Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(fit: Method) -> Method:
    """Leave the estimator as it was if `fit` does not reach its end."""

    @wraps(fit)
    def restoring_fit(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, restoring_fit)


def managing_callbacks(fit: Method) -> Method:
    """Let scikit-learn look after callbacks; it has no type annotations, which hide those here."""
    return cast(Method, with_callbacks(fit))


class BaseVAE(
    SavingMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Abstract base of the estimators.

    A subclass says how rows are read (`_validate_rows`), of what the module is built (`_build`)
    and in which units it sees the rows (`_measure`).
    """

    _doc_link_module = "skvae"
    _doc_link_template = "https://skvae.readthedocs.io/en/stable/api/skvae.{estimator_name}.html"

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tau": "no_validation",  # `_range` does, whose words fit a number and a pair
        "posterior": [StrOptions(set(POSTERIORS)), callable],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "beta": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "average": ["boolean"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _validate_rows(self, X, reset):
        """Rows in the form that `Rows` takes, if they are such as `fit` takes."""
        raise NotImplementedError

    def _build(self, X):
        """A module for the rows of X, with new weights drawn from PyTorch's generator."""
        raise NotImplementedError

    def _measure(self, module, X, weight):
        """The units in which the module sees rows; starts the likelihood from the marginals."""
        raise NotImplementedError

    # -- training --------------------------------------------------------------------------

    @plain_torch()
    @all_or_nothing
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
            the epoch before.
        UserWarning
            If training was interrupted by Ctrl-C: the weights are those of the last whole epoch.
        """
        again = self.warm_start and hasattr(self, "module_")
        return self._fit(X, y, sample_weight, n_epochs=self.max_iter, again=again)

    @plain_torch()
    @all_or_nothing
    @managing_callbacks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X`, going on from the last call.

        The units of the columns are those of the first call, and a column that had a single value
        in it stays a constant: give it rows that vary. The moments are merged with
        those of former calls, whose weight is at most nine times that of this one, because
        the encoder has moved on since. So is the optimiser's state, which is therefore in pickles
        and files of an estimator that was trained by `partial_fit`, and makes two thirds of them;
        after `fit` it is not kept, and the optimiser starts anew.

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
        again = hasattr(self, "module_")
        return self._fit(X, y, sample_weight, n_epochs=1, again=again, partial=True)

    def _fit(self, X, y, sample_weight, *, n_epochs, again, partial=False):
        self._validate_params()
        _range(self.tau)
        device = _device(self.device)
        rows = self._validate_rows(X, reset=not again)
        y = X if y is None else y  # what an autoencoder is to predict, for monitors that score
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        checkpoint = None if partial else self._checkpoint(rows, sample_weight, again)
        found = checkpoint and checkpoint.read()
        seeds = found["seeds"] if found else self._seeds()
        together = processes()
        if together:
            together.check_equal("X and sample_weight", fingerprint(rows, _floats(sample_weight)))
            n_done = len(found["fit"]["history"]["loss"]) if found else 0
            together.check_equal("checkpoint", f"{n_done:08x}")
            seeds = together.from_first(seeds)
        fit = self._prepare(rows, sample_weight, device, n_epochs, seeds, again)
        if partial and again:
            if self._fitted_range() != _range(self.tau):
                raise ValueError(
                    f"partial_fit goes on with the range of tau of former calls, "
                    f"{self._fitted_range() or 'a single one'}; now tau={self.tau!r} is asked for. "
                    "Set it back, or call fit."
                )
            fit.continue_from(self._optimizer_state)
        dtype = _precision(rows.dtype, device)
        with borrowed_process(0, device):
            work = 3 * min(fit.batch_size, len(fit.train)) * fit.row_work  # forward, and twice back
        with borrowed_process(work, device, fit.seed):
            if found:
                fit.load(found["fit"])
            error = None
            try:
                over = bool(found) and found["over"]
                while not over and fit.n_epochs_done < n_epochs:
                    over = self._epoch(fit, context, X, y, dtype)
                    if together:
                        (over,) = map(bool, together.from_first([over]))
                    if checkpoint and not (together and together.rank):
                        checkpoint.write({"seeds": seeds, "over": over, "fit": fit.state()})
            except (KeyboardInterrupt, NotFinite) as ended_by:
                error = ended_by
            except LostProcess as lost:
                raise LostProcess(
                    f"{lost}. {fit.n_epochs_done} epochs of {n_epochs} were done. Start all "
                    f"processes again{' to go on from the checkpoint' * bool(checkpoint)}."
                ) from lost
            if together:  # nobody reads the checkpoint before it is written
                together.from_first([0])
            attributes = self._after(fit, dtype, error, n_epochs)
        if not partial:  # nothing goes on from it: two thirds of a pickle or a file saved
            attributes["_optimizer_state"] = None
        if again:
            for name, curve in attributes["history_"].items():
                curve[:0] = self.history_[name]
            attributes["validation_scores_"][:0] = self.validation_scores_
        vars(self).update(attributes)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        if not partial and not isinstance(self.module_.posterior_layer, PriorPosterior):
            warn_if_collapsed(self.kl_per_component_, fit.optimizer.travel())
        return self

    def _epoch(self, fit, context, X, y, dtype):
        """Train for an epoch, with what callbacks want of it; return whether it was the last."""
        told = {"estimator": self, "X": X, "y": y}
        task = context.subcontext(task_name="epoch")
        task.call_on_fit_task_begin(**told)
        stop = fit.epoch()
        fit.keep()
        if self.verbose:
            loss = fit.history["loss"][-1]
            print(f"[{type(self).__name__}] epoch {fit.n_epochs_done}, loss {loss:.6g}")
        return stop | task.call_on_fit_task_end(
            reconstruction_attributes=lambda: self._attributes(fit, dtype), **told
        )

    def _after(self, fit, dtype, error, n_epochs):
        """What has been learnt, even if an error ended the training: by the last whole epoch."""
        if error is None:
            return self._attributes(fit, dtype)
        if not fit.go_back() and isinstance(error, NotFinite):
            raise error
        try:
            attributes = self._attributes(fit, dtype)
        except NotFinite:
            raise error from None
        n_done = fit.n_epochs_done
        when = f"after epoch {n_done} of {n_epochs}" if n_done else "in the middle of epoch 1"
        if isinstance(error, NotFinite):
            message = f"{error.reason}. The estimator is as it was {when}."
            warn(message, ConvergenceWarning)
        else:
            message = f"Training was interrupted; the estimator is as it was {when}."
            warn(message)
        return attributes

    def _checkpoint(self, X, sample_weight, again):
        """The file to go on from, if one is asked for."""
        if self.checkpoint is None:
            return None
        if again:
            raise ValueError(
                "checkpoint does not go with warm_start=True: a fit that goes on from another is "
                "not the fit of the checkpoint. Use one of the two."
            )
        apart = ("checkpoint", "device", "verbose", "warm_start")
        identity = {
            name: in_words(value)
            for name, value in self.get_params(deep=False).items()
            if name not in apart
        }
        rows = fingerprint(X, _floats(sample_weight))
        return Checkpoint(
            self.checkpoint, {"estimator": type(self).__name__, **identity, "X": rows}
        )

    def _seeds(self):
        return random_state_of(self.random_state).randint(2**31 - 1, size=2).tolist()

    def _prepare(self, X, sample_weight, device, n_epochs, seeds, again=False):
        """Everything that changes during the fit, before its first epoch."""
        X, weight = _weighted(X, sample_weight)
        if again:  # else every call would meet the same noise
            seeds = seeds[0], (seeds[1] + self.n_iter_) % 2**31
        module, units = self._resume() if again else self._start(X, weight, seeds[0])
        rows = train = self._rows_of(X, units, weight, device)
        self._check_rows(module, rows)
        aside = stopping = None
        if self.early_stopping:
            train, aside = self._set_aside(rows, seeds[1])
            stopping = EarlyStopping(self.n_iter_no_change, self.tol)
        settings = {
            "train": train,
            "aside": aside,
            "objective": OBJECTIVES.get(self.objective, self.objective),
            "beta": self.beta,
            "n_epochs": n_epochs,
            "learning_rate": self.learning_rate,
            "average": self.average,
            "batch_size": self._batch_size(len(train)),
            "stopping": stopping,
            "seed": seeds[1],
        }
        if _range(self.tau) is None:
            return Fit(module.to(device), rows, **settings)
        every = self._spread_out(module, again)
        return RangeFit(every.to(device), rows, self._point(every, again), **settings)

    def _spread_out(self, module, again):
        """The module for every tau of the range, going on where there is one."""
        low, high = _range(self.tau)
        if again and self._fitted_range() == (low, high):
            return copy.deepcopy(self._every).float().train()
        every = EveryTau(module, low, high)
        if not again:
            every.stagger()
        return every

    def _point(self, every, again):
        """The operating point: where it was, or the middle of the range."""
        if again and every.low <= self.tau_ <= every.high:
            return self.tau_
        return every.tau(0.0)

    def _fitted_range(self):
        return None if self._every is None else (self._every.low, self._every.high)

    def _ends(self):
        """The range of tau that this was fitted for, if it was for one."""
        if self._every is None:
            raise ValueError(
                f"a range of tau is needed, and this was fitted for tau={self.tau_:g} alone. "
                "Fit it with tau=(lowest, highest)."
            )
        return self._fitted_range()

    def _first_tau(self):
        """A single tau, to build the posterior with."""
        ends = _range(self.tau)
        return self.tau if ends is None else sum(ends) / 2

    def _set_aside(self, rows, seed):
        n_aside = max(1, round(self.validation_fraction * len(rows)))
        if n_aside >= len(rows):
            raise ValueError(
                f"early_stopping=True sets {n_aside} of {len(rows)} rows aside and leaves none to "
                "train on. Lower validation_fraction, bring more rows or switch it off."
            )
        split = train_test_split(np.arange(len(rows)), test_size=n_aside, random_state=seed)
        return [rows.subset(index) for index in split]

    def _attributes(self, fit, dtype):
        """What the estimator has learnt if training ends here."""
        fitted = fit.finished(dtype)
        return {
            **_reached(fitted),
            "history_": {name: list(curve) for name, curve in fit.history.items()},
            "validation_scores_": list(fit.scores),
            "_units": fit.rows.units,
            "_log_jacobian": fit.rows.log_jacobian(),
            "_optimizer_state": fit.optimizer.state(),
            "_seed": fit.seed,
            "_every": fitted.every,
            "_row_work": fit.row_work,
        }

    def _start(self, X, weight, seed):
        """A module with new weights, and the units in which it sees the rows of X."""
        cpu = torch.device("cpu")  # so that the weights do not depend on the device
        with borrowed_process(0, cpu), SeededDraws(seed):
            module = self._build(X)
        return module.float(), self._measure(module, X, weight)

    def _resume(self):
        """A copy of the trained module, to go on with; its units stay."""
        module = copy.deepcopy(self.module_).float().train()
        if module.posterior_layer.n_components != self.n_components:
            raise ValueError(
                "n_components must stay the same to go on with a fitted estimator: it has "
                f"{module.posterior_layer.n_components}, now {self.n_components} are asked for. "
                "Set it back, or clone the estimator."
            )
        module.posterior_layer.tau = self._first_tau()
        return module, self._units

    @plain_torch()
    def at_tau(self, tau: float) -> Self:
        """Move to another tau of the range that this was fitted for, without training.

        Parameters
        ----------
        tau : float
            The operating point, in the range.

        Returns
        -------
        estimator instance
            A fitted estimator whose `tau_` is that tau; this one stays as it is. Its parameters
            are the same, so that a clone of it would be fitted for the range again.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, tau=(0.1, 0.9), max_iter=5, random_state=0).fit(X)
        >>> for tau in (0.1, 0.5, 0.9):
        ...     print(f"tau {tau}: at least {vae.at_tau(tau).kl_floor_:.2f} nats")
        tau 0.1: at least 0.11 nats
        tau 0.5: at least 0.69 nats
        tau 0.9: at least 2.30 nats
        """
        check_is_fitted(self)
        low, high = self._ends()
        if not isinstance(tau, Real) or not low <= tau <= high:
            raise ValueError(
                f"tau must lie in the range of the fit, from {low:g} to {high:g}; got {tau!r}. "
                "Fit a wider range."
            )
        fitted = Fitted.of(*self._every.at(float(tau)), self._log_jacobian, self._every)
        moved = type(self).__new__(type(self))
        vars(moved).update(vars(self) | _reached(fitted))
        return moved

    @property
    def n_iter_(self) -> int:
        """Epochs run."""
        return len(self.history_["loss"])

    @property
    def loss_curve_(self) -> list[float]:
        """Mean negative objective of a row in each epoch, in nats."""
        return self.history_["loss"]

    # -- using the code --------------------------------------------------------------------

    __metadata_request__transform = {"out": UNUSED}  # it is no metadata of the rows

    @plain_torch()
    def transform(self, X: Any, out: Any = None) -> Any:
        """Encode rows: the posterior means.

        Parameters
        ----------
        X : {array-like, CSR, stream} of shape (n_samples, n_features)
            The rows.
        out : array of shape (n_samples, n_components), default=None
            Where to put the codes, piece by piece: an ndarray or memmap, a dataset of h5py or
            whatever takes slices of rows. It is returned.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The same for the same row in any company; never a random draw.
        """
        return self._infer(X, lambda module, x, context: module.posterior(x, context).loc, out)

    @plain_torch()
    def encode(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows: means and standard deviations of the posteriors.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        tuple of ndarray of shape (n_samples, n_components)
            The means, as `transform` returns them, and the standard deviations.
        """

        def moments(module, x, context):
            q = module.posterior(x, context)
            return torch.stack([q.loc, q.scale], dim=1)

        loc, scale = np.moveaxis(self._infer(X, moments), 1, 0)
        return loc, scale

    @plain_torch()
    def score_samples(
        self,
        X: Any,
        n_draws: int = 32,
        bound: Literal["importance", "elbo"] = "importance",
        out: Any = None,
    ) -> np.ndarray:
        """Lower bound on the log-density of each row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        n_draws : int, default=32
            Codes drawn for each row. The noise is a fixed function of the row.
        bound : {"importance", "elbo"}, default="importance"
            The importance-weighted bound, which more draws tighten, or the ELBO, which more
            draws only estimate better.
        out : array of shape (n_samples,), default=None
            Where to put the scores, as in `transform`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Nats per row, in the units of the data; larger is better.
        """
        check_is_fitted(self)
        check_n_draws(n_draws)
        if bound not in BOUNDS:
            raise ValueError(f"bound must be one of {sorted(BOUNDS)}; got {bound!r}")
        uniform, mixing = shared_draws(n_draws, self._n_features_out, self._seed)

        def nats(module, x, context):
            loc = module.posterior(x, context).loc
            noise = row_noise(uniform.to(loc), loc, mixing.to(loc))
            return BOUNDS[bound](module, x, noise, context)

        rows = self._read_rows(X)
        return self._filled(rows, nats, out, rows.log_jacobians())

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: a lower bound on the log-likelihood of a row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Nats per row; larger is better, so that `GridSearchCV` works as it is.
        """
        return float(self.score_samples(X).mean())

    @plain_torch()
    def diagnose(self, X: Any, n_draws: int = 32) -> Diagnosis:
        """Find out whether the code is alive and whether the decoder listens.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            At least two rows; held-out ones say more than those of the fit.
        n_draws : int, default=32
            Codes drawn for each row in ELBO and importance bound, the same as in
            `score_samples`. What is drawn is fixed by the fit: the same rows give the same
            result.

        Returns
        -------
        skvae.diagnostics.Diagnosis
            Prints as a table, with a verdict in words; in nats per row and in the units of the
            data.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=100, random_state=0).fit(X)
        >>> vae.diagnose(X).verdict
        'alive'
        """
        check_n_draws(n_draws)
        rows = self._read_rows(X)
        module = self._in_precision(rows.X.dtype)
        with borrowed_process(self._piece_work(rows.chunks()), rows.device):
            return diagnose(module, rows, n_draws, self._seed)

    def _read_rows(self, X):
        check_is_fitted(self)
        rows = self._rows_of(self._validate_rows(X, reset=False), self._units)
        self._check_rows(self.module_, rows)
        return rows

    def _rows_of(self, X, units, weight=None, device=None):
        """Rows as the networks are given them; by default, where the module is."""
        return Rows(X, units, weight, device or _home(self.module_))

    def _check_rows(self, module, rows):
        """Refuse rows that the module cannot take."""
        check_support(module.likelihood_layer, rows.X)

    def _infer(self, X, function, out=None):
        return self._filled(self._read_rows(X), function, out)

    def _infer_codes(self, X, function, context=None):
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but inverse_transform takes codes of "
                f"{self._n_features_out} components, as transform returns them"
            )
        units = Units.identity(X.shape[1])
        return self._map(Rows(X, units, None, _home(self.module_), context), function)

    def _map(self, rows, function):
        """Apply ``function(module, x, context)`` to pieces of the rows, in their precision."""
        return torch.cat([found for _, found in self._mapped(rows, function)])

    def _filled(self, rows, function, out=None, more=None):
        """As `_map`, plus `more`, into an array."""
        for piece, found in self._mapped(rows, function):
            found = found.numpy()
            if more is not None:
                found += more[piece]  # in place: in the precision of the rows
            shape = (len(rows), *found.shape[1:])
            if out is None:
                out = np.empty(shape, dtype=found.dtype)
            elif piece.start == 0:
                _check_out(out, shape)
            out[piece] = found
        return out

    def _mapped(self, rows, function):
        """Slices of the rows, and what the function makes of them."""
        module = self._in_precision(rows.X.dtype)
        dtype = module.prior().loc.dtype
        pieces = rows.chunks()
        with borrowed_process(self._piece_work(pieces), rows.device), torch.no_grad():
            for piece, batch in zip(pieces, rows.in_order(dtype), strict=True):
                yield piece, function(module, batch.x, batch.context).cpu()

    def _in_precision(self, dtype):
        """The module in the precision for data of that dtype."""
        dtype = _precision(dtype, _home(self.module_))
        if self.module_.prior().loc.dtype == dtype:
            return self.module_
        return copy.deepcopy(self.module_).to(dtype)

    def _draw(self, n_samples, random_state, draw, context=None):
        """Codes from the prior, and pieces of what ``draw(p, draws)`` makes of the likelihood."""
        check_is_fitted(self)
        check_n_samples(n_samples)
        draws = SeededDraws(int(random_state_of(random_state).randint(2**31 - 1)))
        module, pieces, drawn = self.module_, self._units.chunks(n_samples), []
        with borrowed_process(self._piece_work(pieces), _home(module)), torch.no_grad():
            for piece in pieces:
                with draws:
                    z = module.prior().sample((piece.stop - piece.start,))
                told = None if context is None else torch.from_numpy(context[piece]).to(z)
                drawn.append(draw(module.likelihood(z, told), draws).cpu())
        return drawn

    def _piece_work(self, pieces):
        """Multiplications for one of the slices of rows, the first of which is the longest."""
        return (pieces[0].stop - pieces[0].start) * self._row_work

    @property
    def _n_features_out(self):
        return self.module_.posterior_layer.n_components

    def _batch_size(self, n_rows):
        if self.batch_size == "auto":
            return min(max(n_rows // 8, 32), 128)
        return self.batch_size


def _floats(sample_weight):
    return None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)


def _range(tau):
    """The ends of a range of tau; None if there is a single one."""
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


def _reached(fitted):
    """What depends on the operating point."""
    return {
        "module_": fitted.module,
        "tau_": float(fitted.module.posterior_layer.tau),
        "lower_bound_": fitted.lower_bound,
        "kl_per_component_": fitted.kl_per_component,
        "kl_floor_": fitted.kl_floor,
    }


def _device(device):
    """The torch.device of a `device` parameter, if it exists."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    # An unknown name, a build without CUDA and a backend that is not there: PyTorch raises each.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here: {str(error).splitlines()[0]} "
            "Pass 'auto' to take what there is, or 'cpu'."
        ) from error
    return device


def _check_out(out, shape):
    if tuple(getattr(out, "shape", ())) != shape:
        raise ValueError(f"out must have the shape {shape}; got {getattr(out, 'shape', type(out))}")


def _home(module):
    return module.prior().loc.device


def check_support(likelihood, X):
    """Refuse rows that the likelihood cannot take."""
    if type(likelihood).check_support is not Likelihood.check_support:  # else it takes anything
        for rows in in_chunks(X):
            likelihood.check_support(rows)


def check_n_draws(n_draws):
    """Refuse what is no number of draws."""
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be an int of at least 1; got {n_draws!r}")


def check_n_samples(n_samples):
    """Refuse what is no number of rows to draw."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be an int of at least 1; got {n_samples!r}")


def _precision(dtype, device):
    """Double precision for double data, where the device has it."""
    double = dtype == np.float64 and device.type != "mps"
    return torch.float64 if double else torch.float32


def random_state_of(random_state):
    """As check_random_state, but None leaves NumPy's global generator alone."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def _weighted(X, sample_weight):
    """The rows of positive weight, and those weights (None if there are none)."""
    if sample_weight is None:
        return X, None
    weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    weight = weight / weight.max()  # only ratios matter, and sums of large ones may overflow
    return X[weight > 0], weight[weight > 0]
