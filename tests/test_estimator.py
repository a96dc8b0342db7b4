"""The estimator as its users meet it: inputs, options, callbacks, files, errors."""

import copy
import pickle
import subprocess
import sys
import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LearningCurveDisplay, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvae import BNVAEEstimator
from skvae._fit.torch_state import restored_process
from skvae.likelihoods import GaussianLikelihood
from skvae.objectives import FreeBits, importance_bound
from skvae.posteriors import MomentPosterior


def small(**parameters):
    return BNVAEEstimator(
        **{"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
        | parameters
    )


def rows(n=60, n_features=4, seed=0):
    return np.random.RandomState(seed).randn(n, n_features)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(rows())


# -- what goes in --------------------------------------------------------------


@pytest.mark.parametrize("container", [csr_array, csr_matrix, csc_array])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_sparse_rows_give_what_dense_rows_give(container, likelihood):
    X = (rows(90, 6) > 0.8).astype(float)
    dense = small(likelihood=likelihood, batch_size=16).fit(X)
    sparse = small(likelihood=likelihood, batch_size=16).fit(container(X))
    np.testing.assert_allclose(sparse.transform(container(X)), dense.transform(X), atol=1e-6)
    np.testing.assert_allclose(
        sparse.score_samples(container(X)), dense.score_samples(X), rtol=1e-6
    )


@pytest.mark.parametrize("container", [csr_array, csc_array])
@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_cells_that_are_stored_in_parts_are_their_sums(container, likelihood):
    parts = np.random.RandomState(0).poisson(2.0, (60, 3, 2)).astype(float)
    place = np.repeat(np.arange(3), 2)
    entries = parts.ravel(), np.tile(place, 60), np.arange(0, 361, 6)
    X = csr_array(entries, shape=(60, 3))
    if container is csc_array:
        columns = parts.swapaxes(0, 1)
        entries = columns.ravel(), np.tile(np.repeat(np.arange(60), 2), 3), np.arange(0, 361, 120)
        X = csc_array(entries, shape=(60, 3))
    dense = small(likelihood=likelihood).fit(parts.sum(2))
    sparse = small(likelihood=likelihood).fit(X)
    np.testing.assert_allclose(sparse.transform(X), dense.transform(parts.sum(2)), atol=1e-6)
    assert X.nnz == 360  # that of the caller stays as it was


def test_cells_that_are_stored_in_parts_have_the_support_of_their_sums():
    X = csr_array((np.full(4, 0.7), [0, 0, 1, 1], [0, 2, 4]), shape=(2, 2))
    with pytest.raises(ValueError, match=r"bernoulli.* 1\.4"):
        small(likelihood="bernoulli").fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_precision_of_the_rows(fitted, dtype):
    X = rows().astype(dtype)
    for model in (fitted, small().fit(X)):
        code = model.transform(X)
        assert code.dtype == dtype
        assert model.inverse_transform(code).dtype == dtype
        assert model.score_samples(X).dtype == dtype


def test_single_precision_agrees_with_double(fitted):
    X = rows().astype(np.float32)
    np.testing.assert_allclose(fitted.transform(X), fitted.transform(X.astype(float)), atol=1e-5)
    np.testing.assert_allclose(
        fitted.score_samples(X), fitted.score_samples(X.astype(float)), rtol=5e-4
    )


@pytest.mark.parametrize(
    "convert", [torch.from_numpy, lambda X: torch.tensor(X, requires_grad=True)]
)
def test_torch_tensors_are_rows_too(fitted, convert):
    np.testing.assert_array_equal(fitted.transform(convert(rows())), fitted.transform(rows()))


@pytest.mark.parametrize(("frame", "library"), [(pd.DataFrame, "pandas"), (pl.DataFrame, "polars")])
def test_frames_in_and_out(frame, library):
    X = frame({name: column for name, column in zip("abcd", rows().T, strict=True)})
    model = small().set_output(transform=library).fit(X)
    code = model.transform(X)
    assert isinstance(code, frame)
    assert list(code.columns) == ["bnvaeestimator0", "bnvaeestimator1"]
    assert list(model.feature_names_in_) == list("abcd")
    expected = small().fit(rows()).transform(rows())
    np.testing.assert_allclose(np.asarray(code), expected, rtol=1e-10)


def test_sample_weights_are_routed_through_a_pipeline():
    X, weight = rows(), np.arange(60.0)
    with config_context(enable_metadata_routing=True):
        vae = small().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(vae).fit(X, sample_weight=weight)
    expected = small().fit(X, sample_weight=weight).transform(X)
    np.testing.assert_array_equal(pipeline.transform(X), expected)


def test_rows_of_weight_0_are_as_if_they_were_not_there():
    X, weight = rows(), np.ones(60)
    weight[::3] = 0
    code = small().fit(X, sample_weight=weight).transform(X)
    np.testing.assert_allclose(
        code, small().fit(X[weight > 0], sample_weight=np.ones(40)).transform(X)
    )


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_of_rows_of_weight_0_nothing_is_learned(library):
    random = np.random.RandomState(0)
    table = {
        "a": random.randn(60),
        "kind": ["x", "y"] * 20 + ["z"] * 20,
        "number": [*range(40), *[-1] * 20],
        "given": np.r_[random.randn(40), np.full(20, 100.0)],
        "group": ["u", "v"] * 20 + ["w"] * 20,
    }
    X, weight = library(table), np.repeat([1.0, 0.0], [40, 20])
    settings = {"likelihood": "auto", "conditions": ["given", "group"]}
    all_rows = small(**settings).fit(X, sample_weight=weight)
    there = small(**settings).fit(X[:40], sample_weight=weight[:40])
    np.testing.assert_array_equal(all_rows.transform(X[:40]), there.transform(X[:40]))
    drawn = (vae.sample(50, random_state=0) for vae in (all_rows, there))
    assert next(drawn).equals(next(drawn))


@pytest.mark.parametrize("container", [list, csr_matrix, csc_array, coo_array, torch.tensor])
def test_rows_of_weight_0_are_left_out_of_any_container(container):
    X, weight = rows(), np.repeat([1.0, 0.0], [40, 20])
    found = small().fit(container(X), sample_weight=weight)
    expected = small().fit(X[:40], sample_weight=weight[:40])
    np.testing.assert_allclose(found.transform(X), expected.transform(X), atol=1e-6)


def test_only_the_ratios_of_weights_matter():
    X, weight = rows(), 1 + np.arange(60.0)
    one, other = (small().fit(X, sample_weight=scale * weight).transform(X) for scale in (1, 64))
    np.testing.assert_allclose(one, other)


# -- what comes out ------------------------------------------------------------


def test_fit_transform_is_fit_then_transform():
    X = rows()
    np.testing.assert_array_equal(small().fit_transform(X), small().fit(X).transform(X))


def test_encoding_gives_the_posteriors(fitted):
    loc, scale = fitted.encode(rows())
    np.testing.assert_array_equal(loc, fitted.transform(rows()))
    kl = (loc**2 + scale**2 - 1) / 2 - np.log(scale)
    np.testing.assert_allclose(kl.mean(axis=0), fitted.kl_per_component_, rtol=1e-10)


def test_sampling_is_seeded_by_the_call(fitted):
    assert fitted.sample().shape == (1, 4)
    np.testing.assert_array_equal(*(fitted.sample(5, random_state=0) for _ in range(2)))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5))
    generator = np.random.RandomState(0)
    draws = [fitted.sample(5, random_state=generator) for _ in range(2)]
    assert not np.array_equal(*draws)


def test_more_draws_tighten_the_bound(fitted):
    X = rows()
    few = np.mean([small(random_state=i).fit(X).score_samples(X, 2).mean() for i in range(10)])
    many = np.mean([small(random_state=i).fit(X).score_samples(X, 128).mean() for i in range(10)])
    assert few < many
    elbo = fitted.score_samples(X, 512, bound="elbo").mean()
    assert elbo < fitted.score_samples(X, 512).mean()


@pytest.mark.parametrize("posterior", ["moment", "gaussian", "batchnorm-mean", "layernorm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_rows_far_away_are_low_but_finite(posterior, dtype):
    X = rows().astype(dtype)
    model = small(posterior=posterior, max_iter=20).fit(X)
    scores = [model.score_samples(scale * X) for scale in (1, 100, 1000)]
    assert np.isfinite(scores).all()
    assert scores[0].mean() > scores[1].mean() > scores[2].mean()


def test_score_is_the_mean_of_score_samples(fitted):
    assert fitted.score(rows()) == pytest.approx(fitted.score_samples(rows()).mean())


def test_curves_have_a_value_an_epoch():
    model = small(max_iter=5).fit(rows())
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.slow
def test_code_of_digits_is_alive_and_better_than_that_of_a_plain_vae():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    accuracy, live = {}, {}
    for posterior in ("gaussian", "moment"):
        accuracy[posterior], live[posterior] = [], []
        for seed in range(5):  # of one seed, an accuracy has a standard error of 0.013
            vae = BNVAEEstimator(
                16,
                posterior=posterior,
                likelihood="bernoulli",
                hidden_layer_sizes=(256, 256),
                max_iter=40,
                random_state=seed,
            )
            pipeline = make_pipeline(vae, StandardScaler(), LogisticRegression(max_iter=2000))
            pipeline.fit(X[:1300], y[:1300])
            accuracy[posterior].append(pipeline.score(X[1300:], y[1300:]))
            live[posterior].append((pipeline[0].transform(X).var(0) > 0.01).sum())
    assert live["moment"] == [16] * 5
    assert np.mean(live["gaussian"]) + 4 < 16
    assert np.mean(accuracy["moment"]) > np.mean(accuracy["gaussian"]) + 0.01


def test_score_of_many_rows_hardly_depends_on_the_noise():
    X = rows(2000)
    model = small(max_iter=10).fit(X)
    scores = []
    for seed in range(5):
        model._model.seed = seed
        scores.append(model.score(X))
    shared = [elbo_of_shared_noise(model, X, seed) for seed in range(5)]
    assert np.std(scores) < 0.02 < np.std(shared)


def elbo_of_shared_noise(model, X, seed):
    noise = torch.from_numpy(np.random.RandomState(seed).randn(32, 1, 2))
    with torch.no_grad():
        x = torch.from_numpy(StandardScaler().fit_transform(X))
        return float(importance_bound(model.module_, x, noise).mean())


@pytest.mark.parametrize("objective", ["cyclical-annealing", FreeBits(0.2, per="code")])
def test_objectives_fit_clone_search_and_pickle(objective):
    X = rows()
    model = small(objective=objective).fit(X)
    np.testing.assert_array_equal(clone(model).fit(X).transform(X), model.transform(X))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).transform(X), model.transform(X)
    )
    assert GridSearchCV(small(), {"objective": ["elbo", objective]}, cv=2).fit(X).best_score_ < 0


@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
def test_free_bits_keep_a_plain_vae_from_dying_on_noise():
    X = rows(300, 6)
    kl = {}
    for objective in ("elbo", FreeBits(0.2)):
        model = small(posterior="gaussian", objective=objective, max_iter=60).fit(X)
        kl[objective] = model.kl_per_component_
    assert kl["elbo"].max() < 0.05
    assert kl[FreeBits(0.2)].min() > 0.1


def test_history_and_curves_agree():
    with pytest.warns(ConvergenceWarning, match="at the limit of 4 epochs"):
        model = small(max_iter=4, early_stopping=True).fit(rows())
    assert model.loss_curve_ is model.history_["loss"]
    lengths = {name: len(curve) for name, curve in model.history_.items()}
    assert lengths == {"loss": 4, "rate": 4, "distortion": 4, "kl_weight": 4}
    assert model.history_["kl_weight"] == [1.0] * 4


# -- training goes on ----------------------------------------------------------


def test_partial_fit_counts_epochs_and_improves():
    X = rows(200) @ rows(4)
    model = small()
    for _ in range(30):
        model.partial_fit(X)
    assert model.n_iter_ == len(model.loss_curve_) == 30
    assert model.loss_curve_[-1] < model.loss_curve_[0] - 0.3
    assert model.kl_per_component_.sum() >= model.kl_floor_


def test_partial_fit_merges_the_moments_of_its_calls():
    X = np.concatenate([rows(100), rows(100, seed=1) + 3.0])
    model = small(learning_rate=1e-12)  # the encoder stands still, so moments must agree
    model.partial_fit(X[:100]).partial_fit(X[100:])
    code = model.transform(X)
    np.testing.assert_allclose(code.mean(0), 0, atol=1e-5)
    layer = model.module_.posterior_layer
    assert float(layer.weight) == 200


def test_every_call_of_partial_fit_meets_noise_of_its_own():
    model = small(learning_rate=1e-12)
    for _ in range(3):
        model.partial_fit(rows())
    assert len(set(np.round(model.loss_curve_, 6))) == 3


def test_partial_fit_forgets_in_the_end():
    model = small().partial_fit(rows(1000))
    for _ in range(3):
        model.partial_fit(rows(10))
    assert float(model.module_.posterior_layer.weight) == 100  # 9 times the last, and the last


def test_warm_start_goes_on_where_fit_ended():
    X = rows(200) @ rows(4)
    model = small(max_iter=5, warm_start=True).fit(X)
    first = model.lower_bound_
    model.fit(X)
    assert model.n_iter_ == len(model.loss_curve_) == 10
    assert model.lower_bound_ > first
    assert small(max_iter=20).fit(X).fit(X).n_iter_ == 20


def test_warm_start_takes_a_new_tau():
    model = small(warm_start=True, tau=0.2).fit(rows()).set_params(tau=0.7).fit(rows())
    assert model.kl_floor_ == pytest.approx(-np.log(1 - 0.7), rel=1e-4)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_going_on_with_another_number_of_components_is_refused(call):
    model = small(warm_start=True).fit(rows())
    model.set_params(n_components=3)
    with pytest.raises(ValueError, match="n_components must stay the same"):
        getattr(model, call)(rows())


def test_early_stopping_stops_and_keeps_the_best():
    X = rows(40, 20)  # noise: without decay the network soon learns by heart
    settings = {"max_iter": 400, "learning_rate": 1e-2, "weight_decay": 0.0}
    model = small(early_stopping=True, n_iter_no_change=5, **settings).fit(X)
    scores = np.array(model.validation_scores_)
    n_judged = np.isfinite(scores).sum()
    assert 5 < n_judged < model.n_iter_ == len(scores) < 400
    assert np.isfinite(scores[:n_judged]).all()  # the rest is the end, on all rows
    others = rows(400, 20, seed=1)
    full = small(**settings).fit(X)
    assert model.score(others) > full.score(others)


def test_without_early_stopping_all_epochs_are_run():
    assert small(max_iter=30, tol=1e9).fit(rows()).n_iter_ == 30


# -- networks of one's own -----------------------------------------------------


class Encoder(nn.Sequential):
    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 5), nn.Tanh())


class Decoder(nn.Sequential):
    def __init__(self, n_components, n_outputs):
        super().__init__(nn.Linear(n_components, 7), nn.Tanh(), nn.Linear(7, n_outputs))


def test_networks_of_ones_own_fit_clone_pickle_and_search():
    X = rows()
    model = small(encoder=Encoder, decoder=Decoder).fit(X)
    assert isinstance(model.module_.encoder, Encoder)
    np.testing.assert_array_equal(clone(model).fit(X).transform(X), model.transform(X))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).transform(X), model.transform(X)
    )
    GridSearchCV(model, {"tau": [0.2, 0.4]}, cv=2).fit(X)


def test_a_posterior_of_ones_own():
    model = small(posterior=partial(MomentPosterior, gamma="theta")).fit(rows())
    assert model.module_.posterior_layer.theta is not None


class SharperGaussian(GaussianLikelihood):
    smallest_scale = 1e-5


def test_a_likelihood_of_ones_own():
    model = small(likelihood=SharperGaussian).fit(rows())
    assert model.module_.likelihood_layer.scale_floor.max() < 1e-4


def not_a_module(n_features):
    return "encoder"


def wrong_width(n_components, n_outputs):
    return nn.Linear(n_components, n_outputs + 1)


def flattens(n_features):
    return nn.Flatten(0)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"encoder": nn.Linear(4, 8)},
            TypeError,
            "encoder must be a function that builds a module",
        ),
        ({"encoder": not_a_module}, TypeError, r"encoder must return a torch.nn.Module.*a str"),
        ({"encoder": flattens}, ValueError, r"encoder must map \(n_samples, 4\)"),
        (
            {"decoder": wrong_width},
            ValueError,
            r"decoder must map \(n_samples, 2\) to \(n_samples, 4\)",
        ),
    ],
)
def test_networks_that_do_not_fit_are_named(parameters, error, message):
    with pytest.raises(error, match=message):
        small(**parameters).fit(rows())


def bound(estimator, X, y):
    return estimator.score(X)


SCORING = {"bound": bound}  # scoring=None fails in scikit-learn 1.9.1, whatever the estimator


# -- callbacks -----------------------------------------------------------------


def test_scoring_monitor_sees_every_epoch_without_y():
    monitor = ScoringMonitor(scoring=SCORING)
    model = small(max_iter=4).set_callbacks(monitor).fit(rows())
    log = monitor.get_logs().data_as_pandas
    scores = log[log["task_name"] == "epoch"]["bound"].to_numpy()
    assert len(scores) == 4
    assert scores[-1] == pytest.approx(model.score(rows()))


def test_monitoring_does_not_change_the_fit():
    X = rows()
    watched = small(max_iter=4).set_callbacks(ScoringMonitor(scoring=SCORING)).fit(X)
    np.testing.assert_array_equal(watched.transform(X), small(max_iter=4).fit(X).transform(X))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_work_inside_a_grid_search(n_jobs, capsys):
    X = load_iris().data
    monitor = ScoringMonitor(scoring=SCORING)
    pipeline = make_pipeline(StandardScaler(), small().set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"bnvaeestimator__tau": [0.2, 0.6]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar()).fit(X)
    logs = monitor.get_logs(select="all")
    assert sum(len(log.data) for log in logs) >= 2 * 2 * 2 + 2
    assert "100%" in capsys.readouterr().out


class StopAtTwo:
    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and context.task_id == 1

    def teardown(self, estimator, context):
        pass


def test_a_callback_can_stop_the_fit():
    assert small(max_iter=50).set_callbacks(StopAtTwo()).fit(rows()).n_iter_ == 2


class Raises(StopAtTwo):
    torn_down = False

    def on_fit_task_end(self, estimator, context):
        raise RuntimeError("broken")

    def teardown(self, estimator, context):
        self.torn_down = True


def test_a_broken_callback_leaves_the_former_fit_and_tears_callbacks_down():
    model = small().fit(rows())
    before = model.transform(rows())
    callback = Raises()
    with pytest.raises(RuntimeError, match="broken"):
        model.set_callbacks(callback).fit(rows(seed=1))
    assert callback.torn_down
    np.testing.assert_array_equal(model.transform(rows()), before)


def test_verbose_prints_a_line_an_epoch_and_silence_is_the_default(capsys):
    small(verbose=1, max_iter=3).fit(rows())
    assert capsys.readouterr().out.count("[BNVAEEstimator] epoch") == 3
    small().fit(rows())
    assert capsys.readouterr().out == ""


# -- scikit-learn at large -----------------------------------------------------


def test_displays_and_cross_validation_work_without_y():
    X = rows()
    assert np.isfinite(cross_validate(small(), X, cv=2)["test_score"]).all()
    display = LearningCurveDisplay.from_estimator(small(), X, None, cv=2, train_sizes=[0.5, 1.0])
    assert display.ax_ is not None
    plt.close(display.figure_)  # or tests of our own displays find it


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_go_on_alike(duplicate):
    X = rows()
    model = small().fit(X)
    twin = duplicate(model)
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(
        twin.partial_fit(X).transform(X), model.partial_fit(X).transform(X)
    )


def test_threads_are_put_back(fitted):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        small().fit(rows())
        fitted.transform(rows())
        fitted.sample(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def asked(monkeypatch):
    """The work that threads are asked for."""
    works = []

    def restored(work, *others):
        works.append(work)
        return restored_process(0, *others)

    for module in ("_base", "_fit.training", "_fit.fitted"):
        monkeypatch.setattr(f"skvae.{module}.restored_process", restored)
    return works


ROW_WORK = 4 * 8 + 8 * 4 + 2 * 8 + 8 * 4  # of `small` over four columns


def with_gaps(X):
    X[::3, 1] = np.nan
    return X


@pytest.mark.parametrize(
    ("X", "settings", "more"),
    [
        (rows(), {}, 0),
        (rows(), {"tau": (0.1, 0.9)}, 0),
        (csr_array(rows()), {}, 0),
        (with_gaps(rows()), {}, 4 * 8),  # the mask
        (rows(n_features=5), {"conditions": [4]}, 8 + 8),
    ],
    ids=["dense", "range", "sparse", "gaps", "conditions"],
)
def test_a_fit_asks_threads_for_the_work_of_a_step(asked, X, settings, more):
    model = small(batch_size=20, **settings).fit(X)
    assert max(asked) == 3 * 20 * (ROW_WORK + more)
    asked.clear()
    model.partial_fit(X)
    assert max(asked) == 3 * 20 * (ROW_WORK + more)


def test_a_batch_is_no_more_work_than_all_rows(asked):
    small(batch_size=1000).fit(rows(60))
    assert max(asked) == 3 * 60 * ROW_WORK


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.transform(rows(7)),
        lambda model: model.score_samples(rows(7), n_draws=2),
        lambda model: model.inverse_transform(np.zeros((7, 2))),
        lambda model: model.impute(rows(7), n_draws=2),
        lambda model: model.sample(7, random_state=0),
        lambda model: model.diagnose(rows(7), n_draws=2),
    ],
)
def test_what_is_fitted_asks_for_the_work_of_its_rows(asked, fitted, use, tmp_path):
    fitted.save(tmp_path / "vae.safetensors")
    restored = BNVAEEstimator.load(tmp_path / "vae.safetensors")
    for model in (fitted, pickle.loads(pickle.dumps(fitted)), restored):
        use(model)
        assert asked.pop() == 7 * ROW_WORK
    assert not asked


def test_a_fit_does_not_import_the_compiler():
    code = (
        "import sys, numpy as np; from skvae import BNVAEEstimator;"
        "BNVAEEstimator(2, max_iter=1).fit(np.eye(9));"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_repr_html_links_to_the_documentation():
    html = small()._repr_html_()
    assert "api/skvae.BNVAEEstimator.html" in html


def test_module_lies_ready_for_pytorch(fitted):
    x = torch.from_numpy(StandardScaler().fit_transform(rows()))
    assert not fitted.module_.training
    np.testing.assert_allclose(
        fitted.module_.posterior(x).loc.detach().numpy(), fitted.transform(rows()), atol=1e-12
    )


# -- bad input: named, and nothing is lost -------------------------------------


def broken(value):
    X = rows()
    X[3, 1] = value
    return X


BAD_ROWS = [
    (broken(np.inf), "Input X contains infinity"),
    (np.array([["a", "b", "c", "d"]] * 3), "could not convert string to float|dtype"),
    (np.empty((0, 4)), "Found array with 0 sample"),
    (np.empty((5, 0)), "0 feature"),
    (rows()[0], "Expected 2D array, got 1D array"),
    (rows() + 1j, "Complex data not supported"),
]


@pytest.mark.parametrize("method", ["partial_fit", "transform", "score_samples"])
def test_gaps_are_refused_where_fit_had_none(method):
    with pytest.raises(ValueError, match="X has missing cells, but in fit it had none.*Fit on"):
        getattr(small().fit(rows()), method)(broken(np.nan))


@pytest.mark.parametrize(("X", "message"), BAD_ROWS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_bad_rows_are_refused_and_the_fit_is_kept(method, X, message):
    model = small().fit(rows())
    before = model.transform(rows())
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X)
    np.testing.assert_array_equal(model.transform(rows()), before)
    assert model.n_features_in_ == 4


@pytest.mark.parametrize("method", ["partial_fit", "transform", "score_samples"])
def test_wrong_number_of_columns_is_refused(fitted, method):
    with pytest.raises(ValueError, match="X has 3 features, but BNVAEEstimator is expecting 4"):
        getattr(fitted, method)(rows(n_features=3))


def test_wrong_number_of_components_is_refused(fitted):
    with pytest.raises(ValueError, match="X has 4 columns, but inverse_transform takes codes of 2"):
        fitted.inverse_transform(rows())


def test_sparse_codes_are_refused(fitted):
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        fitted.inverse_transform(csr_array(np.eye(2)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tau": 0.0}, r"tau must be a number between 0 and 1, both excluded, or two.*got 0\.0"),
        ({"tau": 1.0}, r"tau must be a number between 0 and 1.*got 1\.0"),
        ({"tau": "half"}, "tau must be a number between 0 and 1.*got 'half'"),
        ({"n_components": 0}, "'n_components' parameter"),
        ({"posterior": "bn"}, "'posterior' parameter .* Got 'bn' instead"),
        ({"likelihood": "normal"}, "'likelihood' parameter"),
        ({"activation": "step"}, "'activation' parameter"),
        ({"objective": "iwae"}, "'objective' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes must hold integers of at least 1"),
        ({"hidden_layer_sizes": (8, 2.5)}, r"hidden_layer_sizes must hold integers"),
        ({"device": "cuda:99"}, r"device='cuda:99' cannot be used here"),
        ({"device": "abacus"}, r"device='abacus' cannot be used here"),
        ({"device": "meta"}, r"device='meta' cannot be used here: its tensors hold no values"),
    ],
)
def test_bad_parameters_are_named_and_the_fit_is_kept(parameters, message):
    model = small().fit(rows())
    before = model.transform(rows())
    good = {name: getattr(model, name) for name in parameters}
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(rows())
    model.set_params(**good)
    np.testing.assert_array_equal(model.transform(rows()), before)


def test_nothing_is_checked_before_fit():
    model = BNVAEEstimator(n_components=-1, tau=7, device="abacus")
    assert model.get_params()["tau"] == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(0), "n_samples must be an int of at least 1; got 0"),
        (lambda m: m.sample(1.5), "n_samples must be an int"),
        (
            lambda m: m.score_samples(rows(), n_draws=0),
            "n_draws must be an int of at least 1; got 0",
        ),
        (
            lambda m: m.score_samples(rows(), bound="evidence"),
            "bound must be one of .*got 'evidence'",
        ),
    ],
)
def test_bad_arguments_are_named(fitted, call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples", "score"])
def test_unfitted_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(small(), method)(rows())
    with pytest.raises(NotFittedError):
        small().sample()


def test_early_stopping_needs_a_row_to_train_on():
    with pytest.raises(ValueError, match="sets 1 of 1 rows aside and leaves none"):
        small(early_stopping=True).fit(rows(1))
    with pytest.warns(ConvergenceWarning, match="at the limit of 2 epochs"):
        small(early_stopping=True).fit(rows(2))


@pytest.mark.parametrize("weight", [np.zeros(60), -np.ones(60), np.ones(59)])
def test_weights_that_weigh_nothing_are_refused(weight):
    with pytest.raises(ValueError, match="sample_weight|Sample weights|weights"):
        small().fit(rows(), sample_weight=weight)


def test_a_fit_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X = rows()
        X.flags.writeable = False
        small().fit(X).transform(X[::-1])


# -- draws from the posterior, and the noise -------------------------------------------------------


def test_draws_from_the_posterior_have_its_moments(fitted):
    X = rows(20)
    loc, scale = fitted.encode(X)
    draws = fitted.sample_posterior(X, n_draws=4000, random_state=0)
    assert draws.shape == (4000, 20, 2)
    standard = (draws - loc) / scale
    np.testing.assert_allclose(standard.mean(0), 0.0, atol=0.08)
    np.testing.assert_allclose(standard.std(0), 1.0, atol=0.06)


def test_draws_from_the_posterior_belong_to_their_seed(fitted):
    first, again, other = (
        fitted.sample_posterior(rows(5), 2, random_state=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    with pytest.raises(ValueError, match="n_draws must be an int of at least 1; got 0"):
        fitted.sample_posterior(rows(5), 0)


def test_the_noise_variance_is_in_the_units_of_the_data():
    X = rows(200)
    noise = small(max_iter=5).fit(X).noise_variance_
    assert noise.shape == (4,)
    assert (noise > 0).all()
    scale = np.array([1.0, 10.0, 0.1, 1e3])
    np.testing.assert_allclose(
        small(max_iter=5).fit(X * scale + 3.0).noise_variance_, noise * scale**2, rtol=1e-3
    )


def test_a_constant_column_has_no_noise():
    X = np.c_[rows(60), np.full(60, 3.0)]
    assert small().fit(X).noise_variance_[-1] == 0.0


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson"])
def test_only_noise_scales_have_a_noise_variance(likelihood):
    model = small(likelihood=likelihood).fit((rows() > 0).astype(float))
    with pytest.raises(AttributeError, match=r"noise_variance_ exists only under .*gaussian"):
        model.noise_variance_  # noqa: B018
    assert not hasattr(model, "noise_variance_")
