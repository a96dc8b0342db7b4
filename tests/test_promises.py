"""What the estimator promises, one section a promise."""

import pickle
import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvae import BNVAEEstimator
from skvae.bounds import kl_floor, layer_norm_kl_floor
from skvae.posteriors import POSTERIORS

BATCH_NORMALIZED = ["moment", "batchnorm"]


def small(**parameters):
    return BNVAEEstimator(
        **{"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
        | parameters
    )


def rows(n=60, n_features=4, seed=0):
    return np.random.RandomState(seed).randn(n, n_features)


# -- 1. the floor holds --------------------------------------------------------


# Rows that are all the same, and a plain VAE, have no code.
@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 70),
    n_features=st.integers(1, 5),
    d=st.integers(1, 5),
    tau=st.floats(0.01, 0.99),
    batch_size=st.integers(1, 40),
    distinct=st.integers(1, 70),
    posterior=st.sampled_from(list(POSTERIORS)),
    seed=st.integers(0, 1000),
)
def test_floor_holds_for_whatever_fits(
    n, n_features, d, tau, batch_size, distinct, posterior, seed
):
    X = rows(n, n_features, seed)[np.arange(n) % distinct]
    model = small(
        n_components=d, tau=tau, posterior=posterior, batch_size=batch_size, max_iter=1
    ).fit(X)
    assert model.kl_per_component_.sum() >= model.kl_floor_ - 1e-9


@pytest.mark.parametrize("posterior", BATCH_NORMALIZED)
@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_floor_is_that_of_tau(posterior, tau):
    model = small(n_components=3, tau=tau, posterior=posterior, max_iter=5).fit(rows())
    assert model.kl_floor_ == pytest.approx(kl_floor(tau, 3), rel=1e-5)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_rows_that_are_the_same_have_no_floor(posterior):
    model = small(posterior=posterior).fit(np.ones((20, 3)))
    # The paper's shift, layer normalization's and delta-VAE's constant codes cost KL all the same.
    layer = model.module_.posterior_layer
    expected = {
        "batchnorm-mean": lambda: 0.5 * float(layer.beta.detach().square().sum()),
        "layernorm": lambda: layer_norm_kl_floor(layer.tau, 2),
        "delta": lambda: kl_floor(layer.tau, 2),
    }.get(posterior, lambda: 0.0)()
    assert model.kl_floor_ == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("sample_weight", [None, np.arange(60.0)])
def test_code_of_the_training_rows_has_mean_0_and_variance_gamma_squared(sample_weight):
    X = rows()
    model = small(posterior="batchnorm", tau=0.3).fit(X, sample_weight=sample_weight)
    code = model.transform(X)
    mean = np.average(code, axis=0, weights=sample_weight)
    variance = np.average((code - mean) ** 2, axis=0, weights=sample_weight)
    theta = model.module_.posterior_layer.theta.detach().numpy()
    gamma_squared = 0.3 + 0.7 / (1 + np.exp(-theta))
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(variance, gamma_squared, rtol=1e-6)  # eps 1e-8


@pytest.mark.parametrize("posterior", BATCH_NORMALIZED)
def test_aggregated_posterior_of_the_training_rows_has_the_moments_of_the_prior(posterior):
    X = rows()
    model = small(posterior=posterior).fit(X)
    q = model.module_.posterior(torch.from_numpy(StandardScaler().fit_transform(X)))
    second = (q.loc.square() + q.scale.square()).mean(0).detach().numpy()
    np.testing.assert_allclose(q.loc.mean(0).detach().numpy(), 0, atol=1e-12)
    np.testing.assert_allclose(second, 1, rtol=1e-5)


# -- 2. a row's result depends on that row only --------------------------------


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_a_row_alone_is_as_it_is_in_company(posterior, method):
    X = rows()
    compute = getattr(small(posterior=posterior).fit(X), method)
    alone = np.concatenate([compute(X[[i]]) for i in range(10)])
    np.testing.assert_allclose(compute(X)[:10], alone, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(compute(X[::-1])[::-1][:10], alone, rtol=1e-10, atol=1e-12)


def test_result_does_not_depend_on_how_rows_are_cut(monkeypatch):
    X = rows(300)
    model = small().fit(X)
    whole = model.transform(X), model.score_samples(X)

    def pieces(n_rows, n_columns, n_numbers):
        return [slice(start, start + 7) for start in range(0, n_rows, 7)]

    monkeypatch.setattr("skvae._data.units.chunk_slices", pieces)
    np.testing.assert_allclose(model.transform(X), whole[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(X), whole[1], rtol=1e-10, atol=1e-12)


def test_result_does_not_depend_on_the_number_of_threads():
    X = rows(500, 30)
    one = small(max_iter=3).fit(X).transform(X)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = small(max_iter=3).fit(X).transform(X)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


def test_grid_search_in_two_processes_gives_the_scores_of_one():
    X = load_iris().data
    pipeline = make_pipeline(StandardScaler(), small())
    grid = {"bnvaeestimator__tau": [0.1, 0.5]}
    scores = [
        GridSearchCV(pipeline, grid, cv=3, n_jobs=jobs).fit(X).cv_results_["mean_test_score"]
        for jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


# -- 3. scale does not matter --------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    scale=st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4),
    shift=st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4),
)
def test_gaussian_scale_and_shift_change_the_score_by_the_log_jacobian_only(scale, shift):
    X, scale = rows(), np.array(scale)
    moved = (X + shift) * scale
    model, other = small().fit(X), small().fit(moved)
    np.testing.assert_allclose(other.transform(moved), model.transform(X), atol=1e-4)
    expected = model.score_samples(X) - np.log(scale).sum()
    np.testing.assert_allclose(other.score_samples(moved), expected, atol=1e-3)
    np.testing.assert_allclose(
        other.lower_bound_, model.lower_bound_ - np.log(scale).sum(), atol=1e-3
    )
    np.testing.assert_allclose(
        other.inverse_transform(model.transform(X)),
        (model.inverse_transform(model.transform(X)) + shift) * scale,
        rtol=1e-3,
        atol=1e-3 * scale.max(),
    )


# -- 4. the likelihood fixes the output ----------------------------------------


def test_bernoulli_decodes_to_probabilities_and_samples_coins():
    X = (rows() > 0).astype(float)
    model = small(likelihood="bernoulli").fit(X)
    decoded = model.inverse_transform(10 * rows(50, 2))
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert set(np.unique(model.sample(100, random_state=0))) == {0.0, 1.0}


def test_gaussian_samples_have_the_marginals_of_the_data():
    X = 5 + rows(500) * [1, 10, 100, 1000]
    model = small(max_iter=50, learning_rate=1e-2, hidden_layer_sizes=()).fit(X)
    sample = model.sample(20_000, random_state=0)
    np.testing.assert_allclose((sample.mean(0) - X.mean(0)) / X.std(0), 0, atol=0.1)
    np.testing.assert_allclose(sample.std(0), X.std(0), rtol=0.1)


@pytest.mark.parametrize("method", ["fit", "transform", "score_samples"])
@pytest.mark.parametrize("bad", [-0.1, 1.5])
def test_bernoulli_refuses_values_outside_its_support(method, bad):
    X = (rows() > 0).astype(float)
    model = small(likelihood="bernoulli").fit(X)
    X[3, 1] = bad
    with pytest.raises(ValueError, match=r"likelihood='bernoulli' takes values from 0 to 1; got"):
        getattr(model, method)(X)


def test_lower_bound_is_the_elbo_that_was_trained():
    X = rows(400)
    model = small(max_iter=20, batch_size=400).fit(X)
    assert model.lower_bound_ == pytest.approx(
        model.score_samples(X, 256, bound="elbo").mean(), abs=0.1
    )
    assert model.lower_bound_ == pytest.approx(-model.loss_curve_[-1], abs=0.2)


# -- 5. any n trains, or says why not ------------------------------------------


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("n", [1, 2, 3, 9, 17])
def test_any_number_of_rows_trains(posterior, n):
    X = rows(n)
    model = small(posterior=posterior, batch_size=8, max_iter=3).fit(X)
    fresh = small(posterior=posterior, batch_size=8, max_iter=1).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))
    trained, start = (m.module_.decoder.layers[0].bias for m in (model, fresh))
    if n > 1:
        assert not torch.equal(trained, start)  # never a fit without a step
    else:  # all columns are constants, and there is nothing that a step could better
        np.testing.assert_array_equal(model.sample(2), X[[0, 0]])


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_constant_and_repeated_columns_train(posterior):
    X = np.column_stack([np.ones(50), np.full(50, 1e6), rows(50, 1), rows(50, 1)])
    model = small(posterior=posterior, max_iter=5).fit(X)
    assert np.isfinite(model.score(X))
    assert np.isfinite(model.transform(X + 1.0)).all()


# -- 6. a seed is enough, and stays inside -------------------------------------


def state(model):
    return {name: value.numpy().copy() for name, value in model.module_.state_dict().items()}


@pytest.mark.parametrize("seed", [0, 1, np.random.RandomState(3)])
def test_same_seed_same_result(seed):
    X = rows()
    fits = [small(random_state=clone(seed, safe=False)).fit(X) for _ in range(2)]
    for one, other in zip(*(state(fit).values() for fit in fits), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(*(fit.sample(5, random_state=0) for fit in fits))


def test_other_seeds_give_other_results():
    X = rows()
    codes = [small(random_state=seed).fit(X).transform(X) for seed in (0, 1, None, None)]
    assert len({code.tobytes() for code in codes}) == 4


class WithDropout(nn.Sequential):
    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.5))


def test_dropout_in_a_network_of_ones_own_is_seeded_too():
    X = rows()
    one = small(encoder=WithDropout).fit(X).transform(X)
    torch.randn(7)  # whatever else the process draws
    np.testing.assert_array_equal(small(encoder=WithDropout).fit(X).transform(X), one)


@pytest.mark.parametrize("random_state", [0, None])
def test_global_generators_are_untouched(random_state):
    np.random.seed(7)  # noqa: NPY002 (the global generator is what this is about)
    torch.manual_seed(7)
    before = pickle.dumps(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    stops = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9, "max_iter": 10}
    model = small(random_state=random_state, encoder=WithDropout, **stops).fit(rows())
    assert model.n_iter_ > np.isfinite(model.validation_scores_).sum()  # the end, on all rows, too
    model.partial_fit(rows())
    model.sample(3, random_state=random_state)
    model.score(rows())
    after = pickle.dumps(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])


def test_fits_in_threads_at_once_are_as_they_are_alone():
    X = rows(200)
    alone = [small(random_state=seed, max_iter=5).fit(X).transform(X) for seed in range(4)]
    together = [None] * 4
    before = torch.get_rng_state(), torch.get_num_threads()

    def fit(seed):
        together[seed] = small(random_state=seed, max_iter=5).fit(X).transform(X)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(alone, together)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


# -- 7. divergence is caught ---------------------------------------------------


class Explodes(nn.Module):
    """A decoder whose outputs become infinite after some steps."""

    def __init__(self, n_components, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_components, n_outputs)
        self.calls = 0

    def forward(self, z):
        self.calls += self.training
        return self.linear(z) / (self.calls < 5)


def test_infinite_objective_names_epoch_and_remedy_and_keeps_the_former_fit():
    X = rows(64)
    model = small().fit(X)
    before = model.transform(X)
    model.set_params(decoder=Explodes, batch_size=32, max_iter=10)
    # The network stays broken, so that there is no good epoch to go back to.
    with pytest.raises(ValueError, match=r"became nan in epoch 3\. Lower learning_rate"):
        model.fit(X)
    model.set_params(decoder=None)
    np.testing.assert_array_equal(model.transform(X), before)


@pytest.mark.parametrize("learning_rate", [1.0, 1e2, 1e10, 1e30])
def test_a_learning_rate_beyond_all_bounds_is_an_error_and_never_nan(learning_rate):
    X = rows(64)
    model = small(learning_rate=learning_rate, max_iter=5)
    outcome = "finite"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an epoch before was finite
            model.fit(X)
    except ValueError as error:
        outcome = str(error)
    if outcome == "finite":
        assert np.isfinite(model.transform(X)).all()
    else:
        assert outcome.startswith("The objective became")
        assert not hasattr(model, "module_")


# -- 9. scikit-learn's checks: test_sklearn_checks.py --------------------------
# -- 10. a linear decoder is factor analysis -----------------------------------


# Full batches: the moments of a batch are themselves noisy, which blurs a component of high
# signal-to-noise ratio (the guide to tau says how much), and closed forms know no such noise.
@pytest.mark.parametrize(
    ("load", "d", "max_iter"),
    [(load_iris, 1, 700), (load_wine, 3, 700), (load_breast_cancer, 2, 1500)],
)
def test_linear_networks_reach_the_scores_of_factor_analysis(load, d, max_iter):
    X = StandardScaler().fit_transform(load(return_X_y=True)[0])
    X, X_test = train_test_split(X, test_size=0.3, random_state=0)
    model = BNVAEEstimator(
        d,
        tau=0.01,
        hidden_layer_sizes=(),
        learning_rate=1e-2,
        batch_size=len(X),
        max_iter=max_iter,
        random_state=0,
    ).fit(X)
    exact = FactorAnalysis(d, tol=1e-6, max_iter=20_000, svd_method="lapack").fit(X)
    assert model.score_samples(X, 256).mean() == pytest.approx(exact.score(X), abs=0.05)
    assert model.score_samples(X_test, 256).mean() == pytest.approx(exact.score(X_test), abs=0.05)
    # In shares of the columns' variance, which is 1.
    np.testing.assert_allclose(model.noise_variance_, exact.noise_variance_, rtol=0, atol=0.05)


def test_linear_networks_on_columns_of_equal_noise_reach_probabilistic_pca():
    rng = np.random.RandomState(0)
    signal = rng.randn(2, 6)
    signal /= np.sqrt(np.square(signal).sum(0))
    X = rng.randn(2000, 2) @ signal + 0.5 * rng.randn(2000, 6)
    X, X_test = X[:1000], X[1000:]
    model = BNVAEEstimator(
        2, tau=0.01, hidden_layer_sizes=(), learning_rate=1e-2, max_iter=50, random_state=0
    ).fit(X)
    assert model.score(X_test) == pytest.approx(PCA(2).fit(X).score(X_test), abs=0.05)
