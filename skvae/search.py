"""Every tau from one fit: the rate-distortion curve, and the choice of tau."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, indexable

from skvae._data.streams import Stream, is_stream, open_stream
from skvae._sklearn import HasMethods, Interval, StrOptions, check_sample_weight, safe_indexing
from skvae.bounds import gaussian_kl
from skvae.diagnostics import Diagnosis
from skvae.estimator import BNVAEEstimator
from skvae.text import BNVAETextEstimator


class RateDistortionCurve(NamedTuple):
    """Rate and distortion of one model along a range of tau: means over rows, in nats.

    Parameters
    ----------
    tau : ndarray of shape (n_taus,)
        Values of tau, in ascending order.
    floor : ndarray of shape (n_taus,)
        Lower bound on the mean rate of the training rows, guaranteed by each tau.
    rate : ndarray of shape (n_taus,)
        Mean KL divergence of the posteriors from the prior.
    distortion : ndarray of shape (n_taus,)
        Mean expected ``-log p(x|z)``, in the units of the data.
    """

    tau: np.ndarray
    floor: np.ndarray
    rate: np.ndarray
    distortion: np.ndarray

    @property
    def elbo(self) -> np.ndarray:
        """Mean ELBO, ``-(rate + distortion)``, of shape (n_taus,)."""
        return -(self.rate + self.distortion)


def rate_distortion_curve(
    estimator: Any, X: Any = None, taus: Iterable[float] | None = None
) -> RateDistortionCurve:
    """Compute rate and distortion along the range of tau that an estimator was fitted for.

    Parameters
    ----------
    estimator : BNVAEEstimator, BNVAETextEstimator or BNVAEEstimatorCV
        Estimator fitted with ``tau=(low, high)``, or a fitted search, which stands for its
        `best_estimator_`.
    X : {array-like, CSR} of shape (n_samples, n_features) or iterable of str, default=None
        Rows over which the means are taken. None takes the training rows.
    taus : array-like of shape (n_taus,), default=None
        Values in the range of the fit. None takes nine, evenly spaced by their logit.

    Returns
    -------
    RateDistortionCurve
        Arrays of shape (n_taus,), from the lowest tau to the highest.

    Raises
    ------
    ValueError
        If the estimator was fitted for a single tau, if a tau lies outside of the range, or if
        `taus` is empty.

    See Also
    --------
    RateDistortionDisplay : Plot of the curve.

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
    estimator = getattr(estimator, "best_estimator_", estimator)
    if taus is None:
        taus = _evenly_spaced(9, *estimator._required_range())
    try:
        taus = sorted(taus)
    except TypeError as error:
        raise ValueError(
            f"taus must hold numbers, as [0.1, 0.5] does, or be None; got {taus!r}"
        ) from error
    models = [estimator.at_tau(tau) for tau in taus]
    if not models:
        raise ValueError("taus must hold at least one number; got none. None stands for nine.")
    if X is None:
        rate = np.array([model.kl_per_component_.sum() for model in models])
        elbo = np.array([model.lower_bound_ for model in models])
    else:
        rate = np.array([gaussian_kl(*model.encode(X)).sum(1).mean() for model in models])
        elbo = np.array([model.score_samples(X, bound="elbo").mean() for model in models])
    tau = np.array([model.tau_ for model in models])
    floor = np.array([model.kl_floor_ for model in models])
    return RateDistortionCurve(tau, floor, rate, -elbo - rate)


def _delegated(name: str) -> Any:
    """Make a method that calls `name` of `best_estimator_` and exists only if that does."""

    def estimator_has(search):
        return hasattr(getattr(search, "best_estimator_", search._template()), name)

    def method(self, *args: Any, **kwargs: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.best_estimator_, name)(*args, **kwargs)

    method.__name__, method.__qualname__ = name, f"BNVAEEstimatorCV.{name}"
    method.__doc__ = f"""Call `{name}` of `best_estimator_`, if the estimator has it.

        Parameters
        ----------
        *args : object
            Positional arguments of the estimator's method.
        **kwargs : object
            Keyword arguments of the estimator's method.

        Returns
        -------
        object
            Result of the estimator's method.
        """
    return available_if(estimator_has)(method)


class BNVAEEstimatorCV(MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Choice of an estimator's tau by cross-validation, with a single fit for each fold.

    Each fold is fitted once, for the whole range of `taus`, and scored at each of them. Then the
    range is fitted to all rows, and `best_estimator_` is that fit at the best tau. The methods of
    `best_estimator_` are methods of this estimator too.

    Parameters
    ----------
    estimator : BNVAEEstimator, BNVAETextEstimator or None, default=None
        Estimator whose tau is chosen, for rows of a table or for sentences. It is cloned, its
        `tau` is replaced by the range of `taus`, and only the fit to all rows uses its
        `checkpoint`. None stands for ``BNVAEEstimator()``.
    taus : int or array-like of shape (n_taus,), default=10
        Candidates, at least two different values in (0, 1). A number takes as many from 0.05 to
        0.95, evenly spaced by their logit.
    cv : int, cross-validation generator or iterable, default=None
        Folds, as in `sklearn.model_selection.GridSearchCV`. None makes five.
    scoring : str, callable or None, default=None
        Name of a scorer, or a callable ``scorer(model, X, y)``. The model is the estimator, or
        the pipeline of estimator and `final_estimator`. None takes the model's own `score`:
        without `final_estimator`, a lower bound on the mean log-density in nats.
    final_estimator : estimator or None, default=None
        Consumer of the code, such as a classifier. For each fold and tau it is fitted to the
        codes of the training rows and scored on the codes of the test rows.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time; -1 uses all processors.

    Attributes
    ----------
    best_estimator_ : BNVAEEstimator or BNVAETextEstimator
        Estimator fitted to all rows, at the best tau. Its method `save` writes it to a file,
        without the results of the search; pickle keeps both.
    best_params_ : dict
        Best tau, as ``{"tau": float}``.
    best_score_ : float
        Mean score of the best tau over the folds.
    best_index_ : int
        Position of the best tau in `cv_results_`.
    cv_results_ : dict of ndarray
        Scores and times in the form of `sklearn.model_selection.GridSearchCV`. The time of a
        fold's single fit is divided equally among the taus.
    n_splits_ : int
        Number of folds.

    See Also
    --------
    rate_distortion_curve : Rate and distortion at each tau of the range.
    sklearn.model_selection.GridSearchCV : Choice of any parameters, with a fit for each
        candidate and fold.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvae import BNVAEEstimator, BNVAEEstimatorCV
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(2, max_iter=20, random_state=0)
    >>> search = BNVAEEstimatorCV(
    ...     vae, taus=[0.1, 0.5, 0.9], final_estimator=LogisticRegression(), cv=3
    ... ).fit(X, y)
    >>> search.best_params_["tau"] in (0.1, 0.5, 0.9)
    True
    >>> search.cv_results_["mean_test_score"].shape
    (3,)
    >>> search.transform(X).shape
    (150, 2)
    """

    best_estimator_: Any
    best_params_: dict[str, float]
    best_score_: float
    best_index_: int
    cv_results_: dict[str, Any]
    n_splits_: int

    _doc_link_module = BNVAEEstimator._doc_link_module
    _doc_link_template = BNVAEEstimator._doc_link_template

    _parameter_constraints = {
        "estimator": [BNVAEEstimator, BNVAETextEstimator, None],
        "taus": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "final_estimator": [HasMethods("fit"), None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: BNVAEEstimator | BNVAETextEstimator | None = None,
        *,
        taus: int | Sequence[float] | np.ndarray = 10,
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        final_estimator: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.taus = taus
        self.cv = cv
        self.scoring = scoring
        self.final_estimator = final_estimator
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Choose tau by cross-validation, and fit the range of tau to all rows.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features) or iterable of str
            Rows or sentences, as the estimator takes them.
        y : array-like of shape (n_samples,), default=None
            Targets of the final estimator and of the scorer.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the fits of the estimator. The final estimator and the scores
            do not use them.

        Returns
        -------
        self : BNVAEEstimatorCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used. The estimator is then as it was before the
            call.
        """
        self._validate_params()
        taus = self._candidates()
        vae = clone(self._template()).set_params(tau=(float(taus.min()), float(taus.max())))
        X = _with_rows_by_number(X)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        X, y, sample_weight = indexable(X, y, sample_weight)
        final = self.final_estimator
        stratified = final is not None and is_classifier(final)
        folds = list(check_cv(self.cv, y, classifier=stratified).split(X, y))
        score_fold = delayed(_score_fold)
        by_fold = Parallel(n_jobs=self.n_jobs)(
            score_fold(
                clone(vae).set_params(checkpoint=None),  # a file can belong to one fit only
                *(final, self.scoring, taus, X, y, sample_weight, train, test),
            )
            for train, test in folds
        )
        results = _cv_results(taus, *(np.array(each).T for each in zip(*by_fold, strict=True)))
        best = int(np.argmin(results["rank_test_score"]))
        vae.fit(X, y, sample_weight)
        fitted = {
            "best_estimator_": vae.at_tau(taus[best]),
            "best_params_": results["params"][best],
            "best_score_": float(results["mean_test_score"][best]),
            "best_index_": best,
            "cv_results_": results,
            "n_splits_": len(folds),
        }
        vars(self).update(fitted)  # in one step: a fit that fails changes nothing
        return self

    def score(self, X: Any, y: Any = None) -> float:
        """Call `score` of `best_estimator_`, whatever `scoring` and `final_estimator` are.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features) or iterable of str
            Rows or sentences.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Lower bound on the mean log-density of a row, in nats; larger is better.
        """
        check_is_fitted(self)
        return self.best_estimator_.score(X, y)

    at_tau = _delegated("at_tau")
    diagnose: Callable[..., Diagnosis] = _delegated("diagnose")
    encode: Callable[..., tuple[np.ndarray, np.ndarray]] = _delegated("encode")
    export: Callable[..., torch.export.ExportedProgram] = _delegated("export")
    get_feature_names_out: Callable[..., np.ndarray] = _delegated("get_feature_names_out")
    impute = _delegated("impute")
    interpolate: Callable[..., list[str]] = _delegated("interpolate")
    inverse_transform = _delegated("inverse_transform")
    perplexity: Callable[..., float] = _delegated("perplexity")
    sample = _delegated("sample")
    sample_posterior: Callable[..., np.ndarray] = _delegated("sample_posterior")
    score_samples: Callable[..., np.ndarray] = _delegated("score_samples")
    transform = _delegated("transform")

    @property
    def n_features_in_(self) -> int:
        """Number of columns seen in `fit`, of rows of a table."""
        return self.best_estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns seen in `fit`, if all of them are strings."""
        return self.best_estimator_.feature_names_in_

    def __sklearn_tags__(self):
        return get_tags(self._template())

    def _template(self):
        """Return the estimator to clone."""
        return BNVAEEstimator() if self.estimator is None else self.estimator

    def _candidates(self):
        """Return the values of tau to choose from, in the order of `taus`."""
        if isinstance(self.taus, Integral):
            return _evenly_spaced(self.taus, 0.05, 0.95)
        taus = np.asarray(self.taus)
        if taus.ndim != 1 or taus.dtype.kind not in "fiu" or len(np.unique(taus)) < 2:
            raise ValueError(
                f"taus must hold at least two different numbers, or be their number; got "
                f"{self.taus!r}. For a single tau, fit the estimator itself."
            )
        if not ((taus > 0) & (taus < 1)).all():
            raise ValueError(f"taus must lie between 0 and 1, both excluded; got {self.taus!r}")
        return taus.astype(float)


def _with_rows_by_number(X):
    """Return X in a form from which folds can take rows by their numbers, in any order."""
    if isinstance(X, Iterator):  # which the first fit would use up
        return list(X)
    if is_stream(X) and len(X.shape) == 2:  # h5py and zarr restrict the order of row numbers
        rows = open_stream(X)
        return X if isinstance(rows, Stream) else rows
    return X


def _score_fold(vae, final_estimator, scoring, taus, X, y, sample_weight, train, test):
    """Return scores, seconds of fitting and seconds of scoring at each tau, from a single fit."""
    X_train, X_test = (safe_indexing(X, index) for index in (train, test))
    y_train, y_test = (None if y is None else safe_indexing(y, index) for index in (train, test))
    weight = None if sample_weight is None else safe_indexing(sample_weight, train)
    start = time.perf_counter()
    vae.fit(X_train, y_train, weight)
    fit_seconds = [(time.perf_counter() - start) / len(taus)] * len(taus)
    scores, score_seconds = [], []
    for number, tau in enumerate(taus):
        start = time.perf_counter()
        model = vae.at_tau(tau)
        if final_estimator is not None:
            final = clone(final_estimator).fit(model.transform(X_train), y_train)
            model = make_pipeline(model, final)
            fit_seconds[number] += time.perf_counter() - start
            start = time.perf_counter()
        scorer = check_scoring(model, scoring)
        scores.append(scorer(model, X_test) if y is None else scorer(model, X_test, y_test))
        score_seconds.append(time.perf_counter() - start)
    return scores, fit_seconds, score_seconds


def _cv_results(taus, scores, fit_seconds, score_seconds):
    """Return the results in the form of GridSearchCV, from arrays of shape (n_taus, n_folds)."""
    results = {}
    for name, seconds in (("fit_time", fit_seconds), ("score_time", score_seconds)):
        results[f"mean_{name}"], results[f"std_{name}"] = seconds.mean(1), seconds.std(1)
    results["param_tau"] = np.ma.MaskedArray(taus, mask=np.zeros(len(taus), dtype=bool))
    results["params"] = [{"tau": float(tau)} for tau in taus]
    results |= {f"split{number}_test_score": split for number, split in enumerate(scores.T)}
    mean = scores.mean(1)
    results["mean_test_score"], results["std_test_score"] = mean, scores.std(1)
    comparable = np.where(np.isnan(mean), -np.inf, mean)  # a score of NaN ranks last
    results["rank_test_score"] = rankdata(-comparable, method="min").astype(np.int32)
    return results


def _evenly_spaced(n, low, high):
    """Return taus from low to high, evenly spaced by their logit."""
    taus = expit(np.linspace(logit(low), logit(high), n))
    taus[[0, -1]] = low, high  # exactly, without the rounding of logit and expit
    return taus
