"""The rate-distortion curve, and tau by cross-validation from one fit a fold."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import logit
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from skvae import BNVAEEstimator, BNVAEEstimatorCV, BNVAETextEstimator, rate_distortion_curve
from skvae.bounds import gaussian_kl, kl_floor

X, Y = load_iris(return_X_y=True)
TAUS = [0.1, 0.4, 0.9]
SETTINGS = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0}


SENTENCES = ["the cat sleeps", "a dog barks", "the dog sleeps", "a cat runs"] * 6


def small(vae=None, **parameters):
    vae = BNVAEEstimator(**SETTINGS) if vae is None else vae
    return BNVAEEstimatorCV(vae, **{"taus": TAUS, "cv": 3} | parameters)


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


def test_a_curve_without_a_point_is_refused(every):
    with pytest.raises(ValueError, match="taus must hold at least one number; got none"):
        rate_distortion_curve(every, taus=[])


@pytest.mark.parametrize("taus", [0.5, np.float64(0.5), np.array(0.5)])
def test_a_curve_of_a_bare_number_is_refused(every, taus):
    with pytest.raises(ValueError, match="taus must hold numbers, as .* got .*0.5"):
        rate_distortion_curve(every, taus=taus)


def test_the_rate_is_above_its_floor_all_along(every):
    curve = rate_distortion_curve(every, X, taus=np.linspace(0.1, 0.9, 30))
    assert (curve.rate >= curve.floor - 1e-9).all()


def test_the_curve_of_a_search_is_that_of_its_best_estimator(by_score):
    for curve, expected in zip(
        rate_distortion_curve(by_score, X),
        rate_distortion_curve(by_score.best_estimator_, X),
        strict=True,
    ):
        np.testing.assert_array_equal(curve, expected)


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
    assert model.best_params_ == {"tau": TAUS[model.best_index_]}
    assert model.best_estimator_.tau_ == TAUS[model.best_index_]
    assert results["rank_test_score"][model.best_index_] == 1


def test_it_is_refitted_to_all_rows_over_the_range(by_score, every):
    expected = every.at_tau(by_score.best_params_["tau"])
    np.testing.assert_array_equal(by_score.transform(X), expected.transform(X))
    np.testing.assert_array_equal(by_score.at_tau(0.3).transform(X), every.at_tau(0.3).transform(X))


def test_it_can_do_what_the_estimator_can(by_accuracy):
    best, code = by_accuracy.best_estimator_, by_accuracy.transform(X)
    np.testing.assert_array_equal(code, best.transform(X))
    np.testing.assert_array_equal(by_accuracy.encode(X), best.encode(X))
    np.testing.assert_array_equal(by_accuracy.inverse_transform(code), best.inverse_transform(code))
    np.testing.assert_array_equal(by_accuracy.sample(4, random_state=0), best.sample(4, 0))
    np.testing.assert_array_equal(by_accuracy.score_samples(X, 4), best.score_samples(X, 4))
    np.testing.assert_array_equal(by_accuracy.impute(X), best.impute(X))
    assert by_accuracy.score(X, Y) == best.score(X)
    assert by_accuracy.diagnose(X).kl_per_component.shape == (2,)
    assert [*by_accuracy.get_feature_names_out()] == ["bnvaeestimator0", "bnvaeestimator1"]
    assert by_accuracy.n_features_in_ == 4


@pytest.mark.parametrize(
    ("estimator", "has", "lacks"),
    [
        (None, ["impute", "export"], ["interpolate", "perplexity"]),
        (BNVAETextEstimator(), ["interpolate", "perplexity"], ["impute", "export"]),
    ],
)
def test_it_has_the_calls_of_its_estimator_and_no_others(estimator, has, lacks):
    search = BNVAEEstimatorCV(estimator)
    assert all(hasattr(search, name) for name in ["transform", "sample", "set_output", *has])
    assert not any(hasattr(search, name) for name in ["n_features_in_", "best_index_", *lacks])


@pytest.mark.parametrize("name", ["transform", "sample", "score", "at_tau"])
def test_calls_need_a_fit(name):
    with pytest.raises(NotFittedError):
        getattr(small(), name)(X)


@pytest.mark.parametrize("estimator", [BNVAEEstimator(), BNVAETextEstimator()])
def test_tags_are_those_of_the_estimator(estimator):
    assert get_tags(BNVAEEstimatorCV(estimator)) == get_tags(estimator)


def test_without_an_estimator_it_is_that_of_the_default_parameters():
    assert get_tags(BNVAEEstimatorCV()) == get_tags(BNVAEEstimator())
    search = BNVAEEstimatorCV(taus=2, cv=2).fit(X[:20])
    assert type(search.best_estimator_) is BNVAEEstimator
    assert search.best_estimator_.get_params() == BNVAEEstimator(tau=(0.05, 0.95)).get_params()
    assert search.estimator is None


def test_output_is_set_at_either_place():
    for search in (
        small(BNVAEEstimator(**SETTINGS).set_output(transform="pandas"), cv=2),
        small(cv=2).set_output(transform="pandas"),
    ):
        frame = pd.DataFrame(X, columns=list("abcd"))
        code = search.fit(frame).transform(frame)
        assert list(code.columns) == ["bnvaeestimator0", "bnvaeestimator1"]
        assert list(search.feature_names_in_) == list("abcd")


@pytest.mark.parametrize("kind", [list, iter, np.array, pd.Series])
def test_sentences_are_searched(kind):
    vae = BNVAETextEstimator(2, embedding_size=4, hidden_size=8, max_iter=1, random_state=0)
    weight, labels = np.linspace(1, 2, 24), np.tile([0, 1, 0, 1], 6)
    final = LogisticRegression()
    search = small(vae, cv=2, final_estimator=final).fit(kind(SENTENCES), labels, weight)
    whole = clone(vae).set_params(tau=(0.1, 0.9)).fit(SENTENCES, sample_weight=weight)
    expected = whole.at_tau(search.best_params_["tau"]).transform(SENTENCES)
    np.testing.assert_array_equal(search.transform(SENTENCES), expected)
    assert isinstance(search.sample(random_state=0)[0], str)
    train, test = next(StratifiedKFold(2).split(SENTENCES, labels))
    fold = clone(vae).set_params(tau=(0.1, 0.9))
    fold.fit([SENTENCES[row] for row in train], sample_weight=weight[train])
    code = fold.at_tau(0.4).transform(SENTENCES)
    score = LogisticRegression().fit(code[train], labels[train]).score(code[test], labels[test])
    assert search.cv_results_["split0_test_score"][1] == pytest.approx(score)


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
    assert model.best_params_ == {"tau": 0.1}
    np.testing.assert_allclose(model.cv_results_["mean_test_score"], [-0.1, -0.4, -0.9])


def test_a_score_that_is_no_number_is_never_the_best():
    model = small(scoring=lambda model, X: np.nan if model.tau_ < 0.5 else model.tau_).fit(X)
    assert model.best_params_ == {"tau": 0.9}
    assert [*model.cv_results_["rank_test_score"]] == [2, 2, 1]


def test_a_final_estimator_may_do_without_y():
    model = small(final_estimator=KMeans(3, random_state=0)).fit(X)
    assert np.isfinite(model.best_score_)


def test_its_estimators_are_left_as_they_were():
    vae, final = BNVAEEstimator(**SETTINGS), LogisticRegression()
    small(vae, final_estimator=final).fit(X, Y)
    assert not hasattr(final, "coef_")
    assert not hasattr(vae, "module_")
    assert vae.tau == 0.5


def test_the_checkpoint_is_of_the_fit_to_all_rows(tmp_path, by_score):
    path = tmp_path / "checkpoint"
    vae = BNVAEEstimator(**SETTINGS, checkpoint=path)
    model = small(vae).fit(X)
    np.testing.assert_array_equal(model.transform(X), by_score.transform(X))
    again = clone(vae).set_params(tau=(0.1, 0.9), max_iter=4).fit(X)  # reads it, or refuses it
    np.testing.assert_array_equal(again.at_tau(0.3).transform(X), model.at_tau(0.3).transform(X))


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
    tau = small(taus=3).fit(X).cv_results_["param_tau"]
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
    best = whole.at_tau(model.best_params_["tau"])
    np.testing.assert_array_equal(model.transform(X), best.transform(X))


@pytest.mark.parametrize(
    "kind", ["memmap", "h5py", "zarr", "masked", "list", "csr", "tensor", "polars", "pyarrow"]
)
def test_rows_of_any_kind_are_cut_into_folds(kind, by_score, tmp_path):
    cv = ShuffleSplit(2, random_state=0)
    model = small(cv=cv).fit(rows_as(kind, tmp_path))
    np.testing.assert_allclose(
        model.cv_results_["mean_test_score"], small(cv=cv).fit(X).cv_results_["mean_test_score"]
    )


def rows_as(kind, folder):
    if kind == "memmap":
        rows = np.memmap(folder / "rows", dtype=np.float64, mode="w+", shape=X.shape)
        rows[:] = X
        return rows
    if kind == "h5py":
        h5py = pytest.importorskip("h5py")
        return h5py.File(folder / "rows", "w").create_dataset("X", data=X)
    if kind == "zarr":
        return pytest.importorskip("zarr").array(X)
    if kind in ("polars", "pyarrow"):
        module = pytest.importorskip(kind)
        make = module.DataFrame if kind == "polars" else module.table
        return make({name: X[:, number] for number, name in enumerate("abcd")})
    kinds = {"masked": np.ma.array, "list": np.ndarray.tolist, "csr": csr_array}
    return kinds.get(kind, torch.tensor)(X)


def test_tables_of_several_kinds_are_cut_into_folds_as_they_are():
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150) * 2)
    frame["kind"] = np.array(["red", "green", "blue"])[Y]
    cv = StratifiedKFold(2).split(X, Y)
    vae = BNVAEEstimator(2, likelihood="auto", conditions=["kind"], max_iter=2, random_state=0)
    model = small(vae, cv=cv).fit(frame)
    assert list(model.sample(2, random_state=0).columns) == list(frame.columns)


# -- parameters ----------------------------------------------------------------


@pytest.mark.parametrize("estimator", [2, PCA(), make_pipeline(BNVAEEstimator())])
def test_the_estimator_must_be_one_with_tau(estimator):
    with pytest.raises(ValueError, match="'estimator' parameter .* must be .*BNVAEEstimator'"):
        BNVAEEstimatorCV(estimator).fit(X)


def test_a_clone_has_the_parameters():
    model = small(final_estimator=LogisticRegression(C=0.5))
    assert clone(model).get_params()["final_estimator__C"] == 0.5
    assert clone(model).get_params()["estimator__n_components"] == 2


def test_pickle_keeps_the_search(by_score):
    found = pickle.loads(pickle.dumps(by_score))
    assert vars(found).keys() == vars(by_score).keys()
    assert found.best_score_ == by_score.best_score_
    np.testing.assert_array_equal(found.transform(X), by_score.transform(X))


@pytest.mark.parametrize("taus", [[0.5], [0.5, 0.5], [[0.1, 0.2]], ["a", "b"]])
def test_there_must_be_a_choice(taus):
    with pytest.raises(ValueError, match="taus must hold at least two different numbers"):
        small(taus=taus).fit(X)


@pytest.mark.parametrize("taus", [[0.0, 0.5], [0.5, 1.0], [0.5, np.nan]])
def test_each_choice_is_a_tau(taus):
    with pytest.raises(ValueError, match="taus must lie between 0 and 1"):
        small(taus=taus).fit(X)


@pytest.mark.parametrize("fails_at", ["check", "fold", "fit to all rows"])
def test_what_fails_leaves_the_estimator_as_it_was(fails_at, tmp_path):
    class Failing(BaseEstimator):
        def fit(self, X, y):
            raise ValueError("the fold failed, NaN")

    model = small().fit(X)
    if fails_at == "fold":
        model.set_params(final_estimator=Failing())
    elif fails_at == "fit to all rows":
        (tmp_path / "checkpoint").write_bytes(b"NaN")
        model.set_params(estimator__checkpoint=tmp_path / "checkpoint")
    before = vars(model).copy()
    with pytest.raises(ValueError, match="NaN" if fails_at != "fit to all rows" else "checkpoint"):
        model.fit(X, Y, sample_weight=np.full(150, np.nan) if fails_at == "check" else None)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before)


def test_a_failed_first_fit_leaves_it_unfitted():
    model = small()
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.fit(X[:, 0])
    with pytest.raises(NotFittedError):
        model.transform(X)
