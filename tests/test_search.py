"""The rate-distortion curve, and tau by cross-validation from one fit a fold."""

import inspect

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline

from skvae import BNVAEEstimator, BNVAEEstimatorCV, rate_distortion_curve
from skvae.bounds import gaussian_kl, kl_floor

X, Y = load_iris(return_X_y=True)
TAUS = [0.1, 0.4, 0.9]
SETTINGS = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0}


def small(**parameters):
    return BNVAEEstimatorCV(**SETTINGS | {"taus": TAUS, "cv": 3} | parameters)


@pytest.fixture(scope="module")
def every():
    return BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X)


@pytest.fixture(scope="module")
def by_score():
    return small().fit(X)


@pytest.fixture(scope="module")
def by_accuracy():
    return small(final_estimator=LogisticRegression()).fit(X, Y)


# -- the curve -----------------------------------------------------------------


def test_without_taus_nine_are_spaced_evenly_by_their_logit(every):
    tau = rate_distortion_curve(every).tau
    np.testing.assert_allclose(np.diff(logit(tau)), 2 * logit(0.9) / 8)
    assert (tau[0], tau[-1]) == (0.1, 0.9)


def test_the_curve_of_the_training_rows_is_what_the_estimators_know(every):
    curve = rate_distortion_curve(every, taus=[0.7, 0.2])
    moved = [every.at_tau(tau) for tau in (0.2, 0.7)]
    np.testing.assert_array_equal(curve.tau, [0.2, 0.7])
    np.testing.assert_allclose(curve.rate, [model.kl_per_component_.sum() for model in moved])
    np.testing.assert_allclose(curve.elbo, [model.lower_bound_ for model in moved])
    np.testing.assert_allclose(curve.floor, kl_floor(np.array([0.2, 0.7]), 2), rtol=1e-4)


def test_the_curve_of_other_rows_is_that_of_their_encoding(every):
    curve = rate_distortion_curve(every, X[:40], taus=[0.3])
    moved = every.at_tau(0.3)
    assert curve.rate[0] == pytest.approx(gaussian_kl(*moved.encode(X[:40])).sum(1).mean())
    assert curve.elbo[0] == pytest.approx(moved.score_samples(X[:40], bound="elbo").mean())


def test_the_rate_is_above_its_floor_all_along(every):
    curve = rate_distortion_curve(every, X, taus=np.linspace(0.1, 0.9, 30))
    assert (curve.rate >= curve.floor - 1e-9).all()


def test_a_curve_needs_a_range():
    with pytest.raises(ValueError, match=r"fitted for tau=0\.5 alone"):
        rate_distortion_curve(BNVAEEstimator(**SETTINGS).fit(X))


def test_a_curve_needs_a_fit():
    with pytest.raises(NotFittedError):
        rate_distortion_curve(BNVAEEstimator(tau=(0.1, 0.9)))


# -- what is chosen ------------------------------------------------------------


def test_results_have_the_form_of_a_grid_search(by_score):
    grid = GridSearchCV(BNVAEEstimator(**SETTINGS), {"tau": TAUS}, cv=3).fit(X)
    assert [*by_score.cv_results_] == [*grid.cv_results_]
    for name, column in grid.cv_results_.items():
        assert type(by_score.cv_results_[name]) is type(column)
        assert len(by_score.cv_results_[name]) == len(column)
    assert by_score.cv_results_["params"] == grid.cv_results_["params"]
    assert by_score.n_splits_ == grid.n_splits_ == 3


def test_scores_are_those_of_a_fit_of_the_fold(by_score):
    for number, (train, test) in enumerate(KFold(3).split(X)):
        fold = BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X[train])
        scores = [fold.at_tau(tau).score(X[test]) for tau in TAUS]
        np.testing.assert_allclose(by_score.cv_results_[f"split{number}_test_score"], scores)


def test_scores_of_a_final_estimator_are_those_on_the_codes(by_accuracy):
    for number, (train, test) in enumerate(StratifiedKFold(3).split(X, Y)):
        fold = BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X[train])
        for place, tau in enumerate(TAUS):
            code = fold.at_tau(tau).transform
            classifier = LogisticRegression().fit(code(X[train]), Y[train])
            score = by_accuracy.cv_results_[f"split{number}_test_score"][place]
            assert score == pytest.approx(classifier.score(code(X[test]), Y[test]))


@pytest.mark.parametrize("search", ["by_score", "by_accuracy"])
def test_the_best_mean_score_is_taken(search, request):
    model = request.getfixturevalue(search)
    results = model.cv_results_
    splits = np.array([results[f"split{number}_test_score"] for number in range(3)])
    np.testing.assert_allclose(results["mean_test_score"], splits.mean(0))
    np.testing.assert_allclose(results["std_test_score"], splits.std(0))
    assert model.best_index_ == splits.mean(0).argmax()
    assert model.best_score_ == splits.mean(0).max()
    assert model.tau_ == TAUS[model.best_index_]
    assert results["rank_test_score"][model.best_index_] == 1


def test_it_is_refitted_to_all_rows_over_the_range(by_score, every):
    expected = every.at_tau(by_score.tau_)
    np.testing.assert_array_equal(by_score.transform(X), expected.transform(X))
    np.testing.assert_array_equal(by_score.at_tau(0.3).transform(X), every.at_tau(0.3).transform(X))


def test_it_can_do_what_the_estimator_can(by_accuracy):
    code = by_accuracy.transform(X)
    assert by_accuracy.inverse_transform(code).shape == X.shape
    assert by_accuracy.sample(4, random_state=0).shape == (4, 4)
    assert by_accuracy.score_samples(X).shape == (150,)
    assert by_accuracy.diagnose(X).kl_per_component.shape == (2,)
    assert [*by_accuracy.get_feature_names_out()] == ["bnvaeestimatorcv0", "bnvaeestimatorcv1"]


@pytest.mark.parametrize(
    "scoring",
    ["neg_log_loss", lambda model, X, y: -log_loss(y, model.predict_proba(X))],
    ids=["name", "callable"],
)
def test_scoring_is_that_of_the_final_estimator(scoring):
    model = small(final_estimator=LogisticRegression(), scoring=scoring).fit(X, Y)
    train, test = next(StratifiedKFold(3).split(X, Y))
    code = BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X[train]).at_tau(0.4).transform
    classifier = LogisticRegression().fit(code(X[train]), Y[train])
    expected = -log_loss(Y[test], classifier.predict_proba(code(X[test])))
    assert model.cv_results_["split0_test_score"][1] == pytest.approx(expected)


def test_scoring_without_a_final_estimator_is_of_the_model():
    model = small(scoring=lambda model, X: -model.tau_).fit(X)
    assert model.tau_ == 0.1
    np.testing.assert_allclose(model.cv_results_["mean_test_score"], [-0.1, -0.4, -0.9])


def test_a_final_estimator_may_do_without_y():
    model = small(final_estimator=KMeans(3, random_state=0)).fit(X)
    assert np.isfinite(model.best_score_)


def test_a_final_estimator_is_left_unfitted():
    final = LogisticRegression()
    small(final_estimator=final).fit(X, Y)
    assert not hasattr(final, "coef_")


def test_folds_at_a_time_give_what_folds_in_turn_give(by_score):
    with joblib.parallel_config("threading"):
        model = small(n_jobs=2).fit(X)
    np.testing.assert_array_equal(
        model.cv_results_["mean_test_score"], by_score.cv_results_["mean_test_score"]
    )


def test_it_stands_in_a_pipeline():
    model = small(final_estimator=LogisticRegression())
    assert make_pipeline(model, LogisticRegression()).fit(X, Y).score(X, Y) > 0.6


def test_a_number_of_taus_is_spaced_evenly_by_logit():
    tau = small(taus=3, max_iter=1).fit(X).cv_results_["param_tau"]
    np.testing.assert_allclose(tau.data, [0.05, 0.5, 0.95])


def test_weights_reach_every_fit():
    weight = np.linspace(0.1, 2, 150)
    model = small().fit(X, sample_weight=weight)
    train, test = next(KFold(3).split(X))
    fold = BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X[train], sample_weight=weight[train])
    assert model.cv_results_["split0_test_score"][0] == pytest.approx(
        fold.at_tau(0.1).score(X[test])
    )
    whole = BNVAEEstimator(tau=(0.1, 0.9), **SETTINGS).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(model.transform(X), whole.at_tau(model.tau_).transform(X))


def test_tables_of_several_kinds_are_cut_into_folds_as_they_are():
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150) * 2)
    frame["kind"] = np.array(["red", "green", "blue"])[Y]
    cv = StratifiedKFold(2).split(X, Y)
    model = small(likelihood="auto", conditions=["kind"], cv=cv, max_iter=2).fit(frame)
    assert list(model.sample(2, random_state=0).columns) == list(frame.columns)


# -- parameters ----------------------------------------------------------------


def test_all_parameters_but_tau_are_those_of_the_estimator():
    own = {"taus", "cv", "scoring", "final_estimator", "n_jobs"}
    parameters = inspect.signature(BNVAEEstimatorCV).parameters
    others = inspect.signature(BNVAEEstimator).parameters
    # Nor is there one checkpoint for the fits of all folds.
    assert {*parameters} - own == {*others} - {"tau", "checkpoint"}
    assert all(parameters[name] == others[name] for name in {*parameters} - own)


def test_a_clone_has_the_parameters():
    model = small(final_estimator=LogisticRegression(C=0.5))
    assert clone(model).get_params()["final_estimator__C"] == 0.5


@pytest.mark.parametrize("taus", [[0.5], [0.5, 0.5], [[0.1, 0.2]], ["a", "b"]])
def test_there_must_be_a_choice(taus):
    with pytest.raises(ValueError, match="taus must hold at least two different numbers"):
        small(taus=taus).fit(X)


@pytest.mark.parametrize("taus", [[0.0, 0.5], [0.5, 1.0], [0.5, np.nan]])
def test_each_choice_is_a_tau(taus):
    with pytest.raises(ValueError, match="taus must lie between 0 and 1"):
        small(taus=taus).fit(X)


def test_what_fails_leaves_the_estimator_as_it_was():
    model = small().fit(X)
    before = vars(model).copy()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, sample_weight=np.full(150, np.nan))
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before)
