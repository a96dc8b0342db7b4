"""Every tau from one training run: rate-distortion curve, and choice by cross-validation."""

import time
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.pipeline import make_pipeline
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, indexable
from torch import nn

from skvae._sklearn import HasMethods, Interval, StrOptions, check_sample_weight, safe_indexing
from skvae.bounds import gaussian_kl
from skvae.estimator import BNVAEEstimator
from skvae.objectives import Objective


class RateDistortionCurve(NamedTuple):
    """What one model reaches along a range of tau; means over rows, in nats.

    Parameters
    ----------
    tau : ndarray of shape (n_taus,)
        Operating points, rising.
    floor : ndarray of shape (n_taus,)
        What each guarantees for the rate over the training rows.
    rate : ndarray of shape (n_taus,)
        KL.
    distortion : ndarray of shape (n_taus,)
        Expected ``-log p(x|z)``, in the units of the data.
    """

    tau: np.ndarray
    floor: np.ndarray
    rate: np.ndarray
    distortion: np.ndarray

    @property
    def elbo(self):
        """Less rate and distortion, of shape (n_taus,)."""
        return -(self.rate + self.distortion)


def rate_distortion_curve(
    estimator: BNVAEEstimator, X: Any = None, taus: Iterable[float] | None = None
) -> RateDistortionCurve:
    """Follow rate and distortion along the range of tau that an estimator was fitted for.

    Parameters
    ----------
    estimator : BNVAEEstimator
        Fitted with ``tau=(low, high)``.
    X : {array-like, CSR} of shape (n_samples, n_features), default=None
        The rows to take the means over; None is the training rows.
    taus : array-like of shape (n_taus,), default=None
        In the range; None takes nine, evenly spaced by their logit.

    Returns
    -------
    RateDistortionCurve
        Of arrays, from the lowest tau to the highest.

    See Also
    --------
    RateDistortionDisplay : Its picture.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, rate_distortion_curve
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(2, tau=(0.05, 0.95), max_iter=5, random_state=0).fit(X)
    >>> curve = rate_distortion_curve(vae)
    >>> curve.tau.round(2).tolist()
    [0.05, 0.1, 0.19, 0.32, 0.5, 0.68, 0.81, 0.9, 0.95]
    >>> bool((curve.rate >= curve.floor).all())
    True
    """
    check_is_fitted(estimator)
    if taus is None:
        taus = _evenly(9, *estimator._ends())
    moved = [estimator.at_tau(tau) for tau in sorted(taus)]
    if X is None:
        rate = np.array([model.kl_per_component_.sum() for model in moved])
        elbo = np.array([model.lower_bound_ for model in moved])
    else:
        rate = np.array([gaussian_kl(*model.encode(X)).sum(1).mean() for model in moved])
        elbo = np.array([model.score_samples(X, bound="elbo").mean() for model in moved])
    tau = np.array([model.tau_ for model in moved])
    floor = np.array([model.kl_floor_ for model in moved])
    return RateDistortionCurve(tau, floor, rate, -elbo - rate)


class BNVAEEstimatorCV(BNVAEEstimator):
    """`BNVAEEstimator` with tau chosen by cross-validation, at the price of one fit a fold.

    Each fold is fitted once, for the whole range of `taus`, and scored at each of them. Then the
    range is fitted to all rows and `tau_` set to the best. Everything that a `BNVAEEstimator` can
    do this can, at that tau or, with `at_tau`, at any other of the range.

    Parameters
    ----------
    n_components : int, default=10
        As in `BNVAEEstimator`, like all that are not named here.
    taus : int or array-like of shape (n_taus,), default=10
        What to choose from, at least two values in (0, 1). A number takes as many from 0.05 to
        0.95, evenly spaced by their logit.
    cv : int, cross-validation generator or iterable, default=None
        As in `sklearn.model_selection.GridSearchCV`; None makes five folds.
    scoring : str, callable or None, default=None
        A scorer, of the final estimator if there is one. None takes the estimator's own: the
        mean of `score_samples`, or what the final estimator's `score` is.
    final_estimator : estimator or None, default=None
        What the code is for, a classifier say: it is fitted to the codes of each fold's training
        rows, at each tau, and scored on those of the others. None scores the model itself.
    n_jobs : int or None, default=None
        Folds that are fitted at a time; -1 is all processors.
    posterior, likelihood, conditions, hidden_layer_sizes, activation, encoder, decoder : object
        As in `BNVAEEstimator`.
    objective, beta, learning_rate, average, batch_size, max_iter, early_stopping : object
        As in `BNVAEEstimator`.
    validation_fraction, n_iter_no_change, tol, warm_start, device, random_state, verbose : object
        As in `BNVAEEstimator`.

    Attributes
    ----------
    tau_ : float
        The best of `taus`.
    best_score_ : float
        Its mean score over the folds.
    best_index_ : int
        Its row in `cv_results_`.
    cv_results_ : dict of ndarray
        In the form of `sklearn.model_selection.GridSearchCV`. The seconds of a fold's single fit
        are shared out among the taus.
    n_splits_ : int
        Folds.

    See Also
    --------
    BNVAEEstimator : All other attributes.
    sklearn.model_selection.GridSearchCV : Any parameters, at a fit for each value and fold.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvae import BNVAEEstimatorCV
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimatorCV(
    ...     2, taus=[0.1, 0.5, 0.9], final_estimator=LogisticRegression(), cv=3, max_iter=20,
    ...     random_state=0,
    ... ).fit(X, y)
    >>> vae.tau_ in (0.1, 0.5, 0.9)
    True
    >>> vae.cv_results_["mean_test_score"].shape
    (3,)
    >>> vae.transform(X).shape
    (150, 2)
    """

    _parameter_constraints = {
        **BNVAEEstimator._parameter_constraints,
        "taus": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "final_estimator": [HasMethods("fit"), None],
        "n_jobs": [Integral, None],
    }
    _parameter_constraints.pop("tau")
    _parameter_constraints.pop("checkpoint")
    checkpoint = None  # which fit's should it be?

    def __init__(
        self,
        n_components: int = 10,
        *,
        taus: int | Sequence[float] | np.ndarray = 10,
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        final_estimator: Any = None,
        n_jobs: int | None = None,
        posterior: str | Callable[..., nn.Module] = "moment",
        likelihood: str | Callable[..., nn.Module] | list[Any] = "gaussian",
        conditions: list[Any] | None = None,
        hidden_layer_sizes: Sequence[int] = (128,),
        activation: str = "relu",
        encoder: Callable[..., nn.Module] | None = None,
        decoder: Callable[..., nn.Module] | None = None,
        objective: str | Objective = "elbo",
        beta: float = 1.0,
        learning_rate: float = 1e-3,
        average: bool = True,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.taus = taus
        self.cv = cv
        self.scoring = scoring
        self.final_estimator = final_estimator
        self.n_jobs = n_jobs
        self.posterior = posterior
        self.likelihood = likelihood
        self.conditions = conditions
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.encoder = encoder
        self.decoder = decoder
        self.objective = objective
        self.beta = beta
        self.learning_rate = learning_rate
        self.average = average
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def tau(self):
        """The range of `taus`, lowest and highest."""
        taus = self._candidates()
        return float(taus.min()), float(taus.max())

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Choose tau, and train on `X`.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,), default=None
            What the final estimator is to predict.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in training the model, not in the scores.

        Returns
        -------
        self : BNVAEEstimatorCV
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `BNVAEEstimator.fit`. The estimator is then as it was before the call.
        """
        self._validate_params()
        taus = self._candidates()
        numbers = self._validate_rows(X, reset=True)
        searched = self._search(taus, X if self._table else numbers, y, sample_weight)
        super().fit(X, y, sample_weight)
        best = self.at_tau(taus[searched["best_index_"]])
        vars(self).update(vars(best) | searched)
        return self

    def _search(self, taus, X, y, sample_weight):
        """What cross-validation finds."""
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        X, y, sample_weight = indexable(X, y, sample_weight)
        final = self.final_estimator
        classifies = final is not None and is_classifier(final)
        folds = list(check_cv(self.cv, y, classifier=classifies).split(X, y))
        own = BNVAEEstimator().get_params(deep=False).keys() - {"tau", "checkpoint"}
        vae = BNVAEEstimator(tau=self.tau, **{name: getattr(self, name) for name in own})
        run = delayed(_score_fold)
        found = Parallel(n_jobs=self.n_jobs)(
            run(clone(vae), self.final_estimator, self.scoring, taus, X, y, sample_weight, *fold)
            for fold in folds
        )
        results = _results(taus, *(np.array(part).T for part in zip(*found, strict=True)))
        best = int(np.argmin(results["rank_test_score"]))
        return {
            "cv_results_": results,
            "best_index_": best,
            "best_score_": float(results["mean_test_score"][best]),
            "n_splits_": len(folds),
        }

    def _candidates(self):
        if isinstance(self.taus, Integral):
            return _evenly(self.taus, 0.05, 0.95)
        taus = np.asarray(self.taus)
        if taus.ndim != 1 or taus.dtype.kind not in "fiu" or len(np.unique(taus)) < 2:
            raise ValueError(
                f"taus must hold at least two different numbers, or be their number; got "
                f"{self.taus!r}. For a single tau take BNVAEEstimator."
            )
        if not ((taus > 0) & (taus < 1)).all():
            raise ValueError(f"taus must lie between 0 and 1, both excluded; got {self.taus!r}")
        return taus.astype(float)


def _score_fold(vae, final_estimator, scoring, taus, X, y, sample_weight, train, test):
    """Scores and seconds at each tau, from a single fit."""
    X_train, X_test = (safe_indexing(X, index) for index in (train, test))
    y_train, y_test = (None if y is None else safe_indexing(y, index) for index in (train, test))
    weight = None if sample_weight is None else safe_indexing(sample_weight, train)
    start = time.perf_counter()
    every = vae.fit(X_train, sample_weight=weight)
    fit_seconds = [(time.perf_counter() - start) / len(taus)] * len(taus)
    scores, score_seconds = [], []
    for number, tau in enumerate(taus):
        start = time.perf_counter()
        model = every.at_tau(tau)
        if final_estimator is not None:
            final = clone(final_estimator).fit(model.transform(X_train), y_train)
            model = make_pipeline(model, final)
            fit_seconds[number] += time.perf_counter() - start
            start = time.perf_counter()
        scorer = check_scoring(model, scoring)
        scores.append(scorer(model, X_test) if y is None else scorer(model, X_test, y_test))
        score_seconds.append(time.perf_counter() - start)
    return scores, fit_seconds, score_seconds


def _results(taus, scores, fit_seconds, score_seconds):
    """The dictionary of `GridSearchCV.cv_results_`; rows of the arrays are taus."""
    results = {}
    for name, values in (("fit_time", fit_seconds), ("score_time", score_seconds)):
        results[f"mean_{name}"], results[f"std_{name}"] = values.mean(1), values.std(1)
    results["param_tau"] = np.ma.MaskedArray(taus, mask=np.zeros(len(taus), dtype=bool))
    results["params"] = [{"tau": float(tau)} for tau in taus]
    results |= {f"split{number}_test_score": split for number, split in enumerate(scores.T)}
    results["mean_test_score"], results["std_test_score"] = scores.mean(1), scores.std(1)
    results["rank_test_score"] = rankdata(-scores.mean(1), method="min").astype(np.int32)
    return results


def _evenly(n, low, high):
    """Taus from low to high, evenly spaced by their logit."""
    taus = expit(np.linspace(logit(low), logit(high), n))
    taus[[0, -1]] = low, high  # not beside them by rounding
    return taus
