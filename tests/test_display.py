"""Displays: what is drawn is what was given, where it was asked for, and nothing else happens."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import (
    AggregatedPosteriorDisplay,
    BNVAEEstimator,
    KLDisplay,
    LatentMapDisplay,
    RateDistortionDisplay,
    ReconstructionDisplay,
    TauTableDisplay,
    TrainingCurveDisplay,
    TraversalDisplay,
    rate_distortion_curve,
)
from skvae.bounds import gaussian_kl

X, Y = load_digits(return_X_y=True)
X, Y = X[:120] / 16, Y[:120]
CODES = np.random.RandomState(0).randn(40, 3) * [0.5, 1.0, 0.7]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Nothing is shown, no global setting is changed, and no figure is left open."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    yield
    for number in plt.get_fignums():  # that what was drawn can be rendered
        plt.figure(number).draw_without_rendering()
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def fit(n_components=4, **settings):
    settings = {"likelihood": "bernoulli", "max_iter": 3, "random_state": 0} | settings
    return BNVAEEstimator(n_components, hidden_layer_sizes=(16,), **settings).fit(X)


@pytest.fixture(scope="module")
def vae():
    return fit()


@pytest.fixture(scope="module")
def fits(vae):
    return [fit(tau=0.9), vae, fit(posterior="gaussian", tau=0.1)]


FROM_ESTIMATOR = {
    "training": (lambda vae, **k: TrainingCurveDisplay.from_estimator(vae, **k)),
    "kl": (lambda vae, **k: KLDisplay.from_estimator(vae, **k)),
    "kl of rows": (lambda vae, **k: KLDisplay.from_estimator(vae, X, **k)),
    "map": (lambda vae, **k: LatentMapDisplay.from_estimator(vae, X, y=Y, **k)),
    "traversal": (lambda vae, **k: TraversalDisplay.from_estimator(vae, image_shape=(8, 8), **k)),
    "reconstruction": (
        lambda vae, **k: ReconstructionDisplay.from_estimator(vae, X[:3], image_shape=(8, 8), **k)
    ),
    "aggregated": (lambda vae, **k: AggregatedPosteriorDisplay.from_estimator(vae, X, **k)),
    "plane": (lambda vae, **k: RateDistortionDisplay.from_estimators([vae], **k)),
    "table": (lambda vae, **k: TauTableDisplay.from_estimators([vae], **k)),
}


@pytest.mark.parametrize("name", FROM_ESTIMATOR)
def test_makes_one_figure_or_none(name, vae):
    FROM_ESTIMATOR[name](vae)
    assert len(plt.get_fignums()) == 1
    figure, axes = plt.subplots(1, 2)
    display = FROM_ESTIMATOR[name](vae, ax=axes[1])
    assert len(plt.get_fignums()) == 2
    assert display.figure_ is figure
    if name == "training":
        assert all(ax.figure is figure for ax in display.axes_)
    else:
        assert display.ax_ is axes[1]
    assert not axes[0].has_data()


@pytest.mark.parametrize("name", FROM_ESTIMATOR)
def test_leaves_the_estimator_alone(name, vae):
    code, before = vae.transform(X), set(vars(vae))
    FROM_ESTIMATOR[name](vae)
    assert np.array_equal(vae.transform(X), code)
    assert set(vars(vae)) == before
    assert not vae.module_.posterior_layer._forward_hooks


@pytest.mark.parametrize("name", FROM_ESTIMATOR)
def test_can_be_drawn_again(name, vae):
    display = FROM_ESTIMATOR[name](vae)
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first


TILES = np.zeros((1, 2, 3, 3))
FROM_ARRAYS = {
    "TrainingCurveDisplay": TrainingCurveDisplay([1], [1]),
    "KLDisplay": KLDisplay([1]),
    "LatentMapDisplay": LatentMapDisplay(CODES),
    "TraversalDisplay": TraversalDisplay(TILES, components=[0], values=[0, 1]),
    "ReconstructionDisplay": ReconstructionDisplay(TILES[0], TILES[0]),
    "AggregatedPosteriorDisplay": AggregatedPosteriorDisplay([0, 1], [[1, 1]]),
    "RateDistortionDisplay": RateDistortionDisplay([1], [1]),
    "TauTableDisplay": TauTableDisplay([0.5], floor=[1], rate=[1], elbo=[1]),
}


def test_every_public_display_is_tested():
    assert set(FROM_ARRAYS) == {name for name in skvae.__all__ if name.endswith("Display")}


@pytest.mark.parametrize("name", FROM_ARRAYS)
def test_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"{name}.plot needs .* pip install skvae\[plot\]"):
        FROM_ARRAYS[name].plot()


def test_importing_displays_loads_no_matplotlib_and_no_torch():
    code = (
        "import sys; from skvae import KLDisplay; print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# -- training curves ---------------------------------------------------------------------------


def test_training_curves_are_the_history(vae):
    display = TrainingCurveDisplay.from_estimator(vae)
    history = vae.history_
    for name in ("rate", "distortion"):
        line = getattr(display, f"{name}_line_")
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == history[name]
    assert np.allclose(
        display.elbo_line_.get_ydata(), -np.add(*map(history.get, ("rate", "distortion")))
    )
    assert set(display.floor_line_.get_ydata()) == {vae.kl_floor_}
    assert display.validation_line_ is None
    assert display.objective_line_ is None


def test_training_curves_show_the_rows_set_aside():
    vae = fit(early_stopping=True, n_iter_no_change=1, tol=1e9, max_iter=10)
    display = TrainingCurveDisplay.from_estimator(vae)
    scores = np.array(vae.validation_scores_)
    np.testing.assert_array_equal(display.validation, scores)
    judged = np.isfinite(scores)
    assert 0 < judged.sum() < len(judged)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), 1 + judged.nonzero()[0])
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), scores[judged])
    assert display.validation_line_.get_label() == "held-out rows"


def test_training_curves_show_an_objective_that_is_not_the_elbo():
    vae = fit(beta=0.1, early_stopping=True, n_iter_no_change=1, tol=1e9, max_iter=10)
    display = TrainingCurveDisplay.from_estimator(vae)
    assert (
        display.objective_line_.get_ydata().tolist() == np.negative(vae.history_["loss"]).tolist()
    )
    assert display.validation_line_.get_label() == "objective, held-out rows"


def test_a_line_goes_on_over_epochs_without_a_score():
    validation = [-5.0, np.nan, -4.0, np.nan, np.nan]
    display = TrainingCurveDisplay([1.0] * 5, [2.0] * 5, validation=validation).plot()
    assert display.validation_line_.get_xydata().tolist() == [[1.0, -5.0], [3.0, -4.0]]
    display = TrainingCurveDisplay([1.0] * 2, [2.0] * 2, validation=[-5.0, np.nan]).plot()
    assert display.validation_line_.get_marker() == "."  # a single point is no line


def test_training_curves_without_a_floor_have_no_line():
    assert TrainingCurveDisplay([1.0], [2.0], floor=0.0).plot().floor_line_ is None


def test_training_curves_go_into_three_axes():
    figure, axes = plt.subplots(3, 1)
    display = TrainingCurveDisplay([1, 2], [3, 2]).plot(axes)
    assert list(display.axes_) == list(axes)
    assert display.figure_ is figure


def test_training_curves_need_a_place():
    with pytest.raises(ValueError, match="one axes or three; got 2"):
        TrainingCurveDisplay([1], [1]).plot(plt.subplots(1, 2)[1])
    with pytest.raises(ValueError, match="part of a grid"):
        TrainingCurveDisplay([1], [1]).plot(plt.figure().add_axes((0, 0, 1, 1)))


# -- KL ----------------------------------------------------------------------------------------


def test_kl_bars_are_sorted():
    kl = [0.2, 0.0, 0.7, 0.004]
    display = KLDisplay(kl, 0.1).plot()
    assert display.order.tolist() == [2, 0, 3, 1]
    assert [bar.get_height() for bar in display.bars_] == [0.7, 0.2, 0.004, 0.0]
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["2", "0", "3", "1"]
    assert set(display.floor_line_.get_ydata()) == {0.1}
    blue, _, grey, _ = (bar.get_facecolor() for bar in display.bars_)
    assert (blue, grey) == (to_rgba("tab:blue"), to_rgba("0.75"))
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["2 live", "2 dead (below 0.005 nats)", "floor 0.10"]


def test_kl_of_an_estimator(vae):
    display = KLDisplay.from_estimator(vae, color="black")
    assert np.array_equal(display.kl, vae.kl_per_component_)
    assert display.floor.sum() == pytest.approx(vae.kl_floor_)
    assert display.bars_[0].get_facecolor() == to_rgba("black")


def test_kl_over_the_training_rows_is_the_estimators(vae):
    display = KLDisplay.from_estimator(vae, X)
    assert np.allclose(display.kl, vae.kl_per_component_)


def test_floors_may_differ_and_all_may_be_dead():
    display = KLDisplay([0.001, 0.002], [0.0005, 0.001]).plot()
    assert display.floor_line_.get_ydata().tolist() == [0.001, 0.001, 0.0005, 0.0005]
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["2 dead (below 0.005 nats)", "floor 0.00"]


@pytest.mark.parametrize("d", [1, 64, 300])
def test_any_number_of_components(d):
    display = KLDisplay(np.linspace(1, 0, d)).plot()
    assert len(display.bars_) == d
    assert display.floor_line_ is None
    assert display.ax_.get_xlabel() == ("component" if d == 1 else "component, by rank")


# -- latent map --------------------------------------------------------------------------------


def offsets(display):
    return np.concatenate([points.get_offsets() for points in display.points_])


def test_map_shows_the_components_of_largest_kl(vae):
    display = LatentMapDisplay.from_estimator(vae, X)
    first, second = np.argsort(-vae.kl_per_component_)[:2]
    assert display.components.tolist() == [first, second]
    assert np.array_equal(offsets(display), vae.transform(X)[:, [first, second]])
    name = f"component {first} ({vae.kl_per_component_[first]:.2f} nats)"
    assert display.ax_.get_xlabel() == name
    assert display.legend_ is display.colorbar_ is None


def test_map_of_codes_shows_those_of_largest_variance():
    assert LatentMapDisplay(CODES).components.tolist() == [1, 2]


def test_map_of_given_components():
    display = LatentMapDisplay(CODES, components=(2, 0)).plot()
    assert np.array_equal(offsets(display), CODES[:, [2, 0]])
    assert display.ax_.get_ylabel() == "component 0"


def test_map_of_any_transformer():
    pipeline = make_pipeline(StandardScaler(), PCA(3)).fit(X)
    display = LatentMapDisplay.from_estimator(pipeline, X)
    assert np.allclose(offsets(display), pipeline.transform(X)[:, :2])


def test_map_has_the_priors_circles_and_equal_aspect():
    display = LatentMapDisplay(CODES).plot()
    assert [circle.get_radius() for circle in display.prior_] == [1, 2]
    assert display.ax_.get_aspect() == 1
    low, high = display.ax_.get_xlim()
    assert low < -2 < 2 < high


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array(["b", "a"] * 20), ["a", "b"]),
        (np.array([True, False] * 20), ["False", "True"]),
        (np.arange(40) % 10, list("0123456789")),
        (np.arange(40.0) % 2, ["0", "1"]),
        (np.array(["b", None] * 20, dtype=object), ["None", "b"]),
        (pd.Series(["b", "a"] * 20, dtype="category"), ["a", "b"]),
    ],
)
def test_map_has_a_colour_for_each_class(y, names):
    display = LatentMapDisplay(CODES, y=y).plot()
    assert [text.get_text() for text in display.legend_.get_texts()] == names
    for name, points in zip(names, display.points_, strict=True):
        rows = np.array([str(value).removesuffix(".0") == name for value in np.asarray(y)])
        assert np.array_equal(points.get_offsets(), CODES[rows][:, [1, 2]])
    assert len({tuple(points.get_facecolor()[0]) for points in display.points_}) == len(names)


def test_map_of_many_classes_names_the_largest():
    y = np.array([f"class {i}" for i in [*range(12), *range(9), *range(19)]])
    display = LatentMapDisplay(CODES, y=y).plot()
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert names == [*(f"class {i}" for i in range(8)), "11 others"]
    assert len(offsets(display)) == 40


def test_map_has_a_scale_for_amounts():
    y = np.linspace(0, 1, 40)
    display = LatentMapDisplay(CODES, y=y).plot()
    assert np.array_equal(display.points_[0].get_array(), y)
    assert display.legend_ is None
    assert display.colorbar_.ax.figure is display.figure_


def test_map_takes_the_title_from_a_series(vae):
    display = LatentMapDisplay.from_estimator(vae, X, y=pd.Series(Y, name="digit"))
    assert display.legend_.get_title().get_text() == "digit"


@pytest.mark.parametrize("y", [None, ["a"], [0.5]])
def test_map_of_a_single_row(y):
    display = LatentMapDisplay(CODES[:1], y=y).plot()
    assert len(offsets(display)) == 1


def test_map_of_one_component_is_a_strip():
    display = LatentMapDisplay(CODES[:, :1]).plot()
    across, up = offsets(display).T
    assert np.array_equal(across, CODES[:, 0])
    assert np.abs(up).max() <= 1
    assert [line.get_xdata()[0] for line in display.prior_] == [-2, -1, 1, 2]
    assert display.ax_.get_yticks().size == 0


def test_map_passes_arguments_on():
    display = LatentMapDisplay(CODES).plot(s=50, color="black")
    assert display.points_[0].get_sizes().tolist() == [50]


# -- pictures ----------------------------------------------------------------------------------


def mosaic_of(display):
    return np.ma.filled(display.image_.get_array(), np.nan)


def test_traversal_decodes_the_priors_quantiles(vae):
    quantiles = [0.1, 0.5, 0.9]
    display = TraversalDisplay.from_estimator(
        vae, image_shape=(8, 8), components=[3, 1], quantiles=quantiles
    )
    code = np.zeros((1, 4))
    code[0, 1] = norm.ppf(0.9)
    last = vae.inverse_transform(code).reshape(8, 8)
    assert np.allclose(display.images[1, 2], last)
    assert display.image_.get_array().shape == (17, 26)
    assert np.array_equal(display.image_.get_array()[9:17, 18:26], display.images[1, 2])
    assert np.allclose(display.values, norm.ppf(quantiles))
    names = [tick.get_text().split("\n")[0] for tick in display.ax_.get_yticklabels()]
    assert names == ["component 3", "component 1"]
    ticks = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert ticks == ["\N{MINUS SIGN}1.3", "0", "+1.3"]


def test_traversal_starts_from_a_row(vae):
    display = TraversalDisplay.from_estimator(vae, X[:1], image_shape=(8, 8), n_shown=2)
    assert display.components.tolist() == np.argsort(-vae.kl_per_component_)[:2].tolist()
    code = vae.transform(X[:1])
    code[0, display.components[0]] = 0
    assert np.allclose(display.images[0, 4], vae.inverse_transform(code).reshape(8, 8))


def test_traversal_of_arrays(vae):
    made = TraversalDisplay.from_estimator(vae, image_shape=(8, 8))
    given = TraversalDisplay(made.images, components=made.components, values=made.values).plot()
    assert np.array_equal(mosaic_of(made), mosaic_of(given), equal_nan=True)
    assert given.ax_.get_yticklabels()[0].get_text() == f"component {made.components[0]}"


def test_reconstructions_stand_below_their_rows(vae):
    display = ReconstructionDisplay.from_estimator(vae, X[:5], image_shape=(8, 8), n_columns=3)
    decoded = vae.inverse_transform(vae.transform(X[:5])).reshape(-1, 8, 8)
    mosaic = mosaic_of(display)
    assert np.array_equal(mosaic[:8, 9:17], X[1].reshape(8, 8))
    assert np.array_equal(mosaic[9:17, 9:17], decoded[1])
    assert np.array_equal(mosaic[21:29, 9:17], X[4].reshape(8, 8))
    assert np.isnan(mosaic[21:29, 18:]).all()  # there is no sixth
    given = ReconstructionDisplay.from_arrays(X[:5], decoded.reshape(5, -1), image_shape=(8, 8))
    assert np.array_equal(mosaic_of(given.plot(n_columns=3)), mosaic, equal_nan=True)


@pytest.mark.parametrize("top", [1, 255])
def test_pictures_in_colour(top):
    images = np.random.RandomState(0).rand(2, 5, 4, 3)
    images[0, 0, 0] = 1
    display = ReconstructionDisplay(images * top, images * top / 2).plot()
    mosaic = display.image_.get_array()
    assert np.allclose(mosaic[:5, 5:9, :3], images[1])
    assert np.allclose(mosaic[6:, 5:9, :3], images[1] / 2)
    assert (mosaic[5, :, 3] == 0).all()
    assert (mosaic[:5, :4, 3] == 1).all()


def test_pictures_pass_arguments_on():
    display = ReconstructionDisplay(CODES[:, None], CODES[:, None]).plot(cmap="viridis", vmax=7)
    assert display.image_.get_cmap().name == "viridis"
    assert display.image_.get_clim() == (CODES.min(), 7)


# -- aggregated posterior ----------------------------------------------------------------------


def test_aggregated_posterior_is_the_exact_mixture():
    loc, scale = CODES, np.exp(CODES[::-1] / 2)
    display = AggregatedPosteriorDisplay.from_arrays(loc, scale).plot()
    for j, line in enumerate(display.lines_):
        expected = norm(loc[:, j], scale[:, j]).pdf(display.grid[:, None]).mean(axis=1)
        assert np.allclose(line.get_ydata(), expected)
        assert np.array_equal(line.get_xdata(), display.grid)


def test_aggregated_posterior_of_the_prior_is_the_prior():
    display = AggregatedPosteriorDisplay.from_arrays(np.zeros((3, 2)), np.ones((3, 2)))
    assert np.allclose(display.density, norm.pdf(display.grid))
    assert np.allclose(display.total_variation, 0)


def test_aggregated_posterior_marks_the_farthest():
    loc = np.array([[0.0, 9.0], [0.0, -9.0]])
    display = AggregatedPosteriorDisplay.from_arrays(loc, np.ones((2, 2))).plot()
    assert display.total_variation[1] > 0.98
    assert [line.get_linewidth() for line in display.lines_] == [1, 2]
    assert "component 1, the farthest" in display.ax_.get_legend().get_texts()[2].get_text()


def test_aggregated_posterior_loses_no_narrow_row():
    display = AggregatedPosteriorDisplay.from_arrays(np.array([[0.021]]), np.array([[1e-6]]))
    assert np.trapezoid(display.density[0], display.grid) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aggregated_posterior_of_an_estimator(vae, dtype, monkeypatch):
    cut = []

    def pieces(n_rows, n_columns, n_numbers):
        cut.append(n_rows)
        return [slice(0, 50), slice(50, n_rows)]

    monkeypatch.setattr("skvae._data.units.chunk_slices", pieces)
    display = AggregatedPosteriorDisplay.from_estimator(vae, X.astype(dtype))
    assert cut  # else the rows came in one piece, and joining pieces was not tried
    mean = np.trapezoid(display.grid * display.density, display.grid, axis=1)
    assert np.allclose(mean, vae.transform(X).mean(axis=0), atol=1e-2)
    square = np.trapezoid(display.grid**2 * display.density, display.grid, axis=1)
    assert np.allclose(square, 1, atol=0.05)  # matched moments


def test_posteriors_of_rows_are_in_the_units_of_the_module():
    rows = np.random.RandomState(0).randn(50, 3) * [1, 10, 100] + 5
    vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(rows)
    assert np.allclose(KLDisplay.from_estimator(vae, rows).kl, vae.kl_per_component_)


# -- rate and distortion -----------------------------------------------------------------------


def test_plane_shows_the_fits_by_rate(fits):
    display = RateDistortionDisplay.from_estimators(fits)
    rate = np.array([fit.kl_per_component_.sum() for fit in fits])
    order = np.argsort(rate)
    elbo = np.array([fit.lower_bound_ for fit in fits])[order]
    assert np.array_equal(display.line_.get_xdata(), rate[order])
    assert np.allclose(display.line_.get_ydata(), -(elbo + rate[order]))
    assert np.allclose(display.elbo, elbo)
    assert display.tau.tolist() == np.array([0.9, 0.5, 0.1])[order].tolist()


@pytest.fixture(scope="module")
def curve():
    vae = BNVAEEstimator(2, tau=(0.1, 0.9), max_iter=2, random_state=0).fit(X[:200])
    return rate_distortion_curve(vae, taus=[0.1, 1 / 3, 0.9])


def test_plane_shows_a_fit_along_its_range(curve):
    display = RateDistortionDisplay.from_curve(curve)
    order = np.argsort(curve.rate, kind="stable")
    assert np.array_equal(display.line_.get_xdata(), curve.rate[order])
    assert np.array_equal(display.line_.get_ydata(), curve.distortion[order])
    assert display.tau.tolist() == np.array([0.1, 0.333, 0.9])[order].tolist()


def test_table_of_a_fit_along_its_range(curve):
    display = TauTableDisplay.from_curve(curve, accuracy=[0.7, 0.8, 0.9])
    texts = [display.table_[row, 0].get_text().get_text() for row in (1, 2, 3)]
    assert texts == ["0.100", "0.333", "0.900"]
    assert np.array_equal(display.elbo, curve.elbo)
    assert display.accuracy.tolist() == [0.7, 0.8, 0.9]


def test_plane_over_rows(fits):
    display = RateDistortionDisplay.from_estimators(fits, X[:50])
    elbo = sorted(fit.score_samples(X[:50], bound="elbo").mean() for fit in fits)
    assert np.allclose(sorted(display.elbo), elbo)
    everything = RateDistortionDisplay.from_estimators(fits, X)
    assert np.allclose(everything.rate, sorted(fit.kl_per_component_.sum() for fit in fits))


def test_lines_of_equal_elbo_have_slope_minus_one():
    display = RateDistortionDisplay([2, 8], [30, 20]).plot()
    assert len(display.elbo_lines_) >= 3
    assert {line.get_slope() for line in display.elbo_lines_} == {-1}
    assert all(label in display.ax_.texts for label in display.elbo_labels_)
    assert display.labels_ == []


def test_plane_names_no_tau_that_has_no_effect(fits):
    assert RateDistortionDisplay.from_estimators(fits[2:]).labels_ == []


@pytest.mark.parametrize("display", [RateDistortionDisplay, TauTableDisplay])
def test_fits_may_come_from_a_generator(display, fits):
    one, other = display.from_estimators(iter(fits)), display.from_estimators(fits)
    np.testing.assert_array_equal(one.rate, other.rate)
    np.testing.assert_array_equal(one.elbo, other.elbo)
    np.testing.assert_array_equal(one.tau, other.tau)


def test_labels_are_tau_and_neighbours_share_one():
    display = RateDistortionDisplay([5, 1, 1.01], [20, 30, 30], tau=[0.9, 0.1, 0.2]).plot()
    assert [text.get_text() for text in display.labels_] == [r"$\tau$ = 0.1, 0.2", "0.9"]


def test_a_second_curve_shares_the_lines():
    first = RateDistortionDisplay([2, 8], [30, 20]).plot(label="one")
    second = RateDistortionDisplay([20], [10]).plot(first.ax_, label="two", color="black")
    lines = [line for line in first.ax_.lines if line.get_gid() == "equal ELBO"]
    assert lines == second.elbo_lines_
    assert first.ax_.get_xlim()[1] > 20
    assert [text.get_text() for text in first.ax_.get_legend().get_texts()] == ["one", "two"]


def test_table_holds_the_numbers(fits):
    display = TauTableDisplay.from_estimators(fits, accuracy=[0.5, 0.75, 0.6])
    texts = {place: cell.get_text() for place, cell in display.table_.get_celld().items()}
    assert [texts[0, j].get_text() for j in range(1, 5)] == [
        "floor (nats)",
        "rate (nats)",
        "ELBO (nats)",
        "accuracy",
    ]
    for number, vae in enumerate(fits, start=1):
        values = vae.kl_floor_, vae.kl_per_component_.sum(), vae.lower_bound_
        row = [f"{vae.tau:.1f}", *(f"{value:.2f}" for value in values)]
        shown = [texts[number, j].get_text().replace("\N{MINUS SIGN}", "-") for j in range(4)]
        assert shown == row
    best = 1 + np.argmax([vae.lower_bound_ for vae in fits])
    bold = {place for place, text in texts.items() if text.get_weight() == "bold"}
    assert bold == {(best, 3), (2, 4)}


def test_table_over_rows(fits):
    display = TauTableDisplay.from_estimators(fits, X[:50], fontsize=8)
    assert display.accuracy is None
    assert display.elbo[1] == pytest.approx(fits[1].score_samples(X[:50], bound="elbo").mean())
    assert display.table_[1, 1].get_fontsize() == 8


# -- what cannot be drawn ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KLDisplay([[1.0]]), r"kl must have shape \(n,\) with n > 0; got \(1, 1\)"),
        (lambda: KLDisplay([]), r"kl must have shape \(n,\) with n > 0; got \(0,\)"),
        (lambda: KLDisplay([1.0, np.nan]), "kl must be finite"),
        (lambda: KLDisplay([1.0], [1.0, 2.0]), r"floor must have shape \(1,\); got \(2,\)"),
        (lambda: TrainingCurveDisplay([1], [1, 2]), r"distortion must have shape \(1,\)"),
        (lambda: TrainingCurveDisplay([1], [1], validation=[np.inf]), "validation must be finite"),
        (lambda: TrainingCurveDisplay([1], [1], validation=[-np.inf]), "validation must be finite"),
        (lambda: TrainingCurveDisplay([1], [1], validation=[1, 2]), r"validation must have shape"),
        (lambda: LatentMapDisplay(CODES[0]), r"codes must have shape .*got \(3,\)"),
        (lambda: LatentMapDisplay(CODES[:0]), r"codes must have shape .*got \(0, 3\)"),
        (lambda: LatentMapDisplay(CODES, y=[1]), r"y must hold .* 40 rows; got shape \(1,\)"),
        (lambda: LatentMapDisplay(CODES, kl=[1]), r"kl must have shape \(3,\)"),
        (lambda: LatentMapDisplay(CODES, components=(0, 3)), "from 0 to 2; got"),
        (lambda: LatentMapDisplay(CODES, components=(0.5, 1)), "from 0 to 2; got"),
        (lambda: LatentMapDisplay(CODES, components=(0, 1, 2)), "must name 2 of 3; got"),
        (lambda: LatentMapDisplay(CODES, y=np.full(40, np.nan)).plot(), "y must be finite"),
        (
            lambda: TraversalDisplay(np.zeros((2, 3, 4, 4)), components=[0], values=[0, 1, 2]),
            r"1 components times 3 values; got shape \(2, 3, 4, 4\)",
        ),
        (
            lambda: TraversalDisplay(np.zeros((2, 3, 4)), components=[0, 1], values=[0, 1, 2]),
            r"behind 2 axes; got shape \(2, 3, 4\)",
        ),
        (
            lambda: ReconstructionDisplay(np.zeros((1, 4, 4, 2)), np.zeros((1, 4, 4, 2))),
            r"behind 1 axis; got shape \(1, 4, 4, 2\)",
        ),
        (
            lambda: ReconstructionDisplay(np.zeros((1, 4, 4)), np.zeros((2, 4, 4))),
            r"same shape; got \(1, 4, 4\) and \(2, 4, 4\)",
        ),
        (
            lambda: ReconstructionDisplay.from_arrays(X, X, image_shape=(8, 9)),
            r"image_shape \(8, 9\) takes rows of 72 columns; got shape \(120, 64\)",
        ),
        (
            lambda: ReconstructionDisplay.from_arrays(X, X, image_shape=64),
            r"image_shape must be \(h, w\) or \(h, w, 3\); got 64",
        ),
        (
            lambda: ReconstructionDisplay(CODES[:, None], CODES[:, None]).plot(n_columns=0),
            "n_columns must be at least 1; got 0",
        ),
        (
            lambda: AggregatedPosteriorDisplay.from_arrays(CODES, CODES[:3]),
            r"loc and scale must both have shape .*; got \(40, 3\) and \(3, 3\)",
        ),
        (lambda: AggregatedPosteriorDisplay.from_arrays(CODES, CODES), "scale must be positive"),
        (
            lambda: AggregatedPosteriorDisplay([0, 1], [1, 1]),
            r"density must have shape \(n_components, 2\), as grid; got \(2,\)",
        ),
        (lambda: RateDistortionDisplay([1], [1], tau=[0.1, 0.2]), r"tau must have shape \(1,\)"),
        (lambda: TauTableDisplay([1], floor=[1], rate=[1, 2], elbo=[1]), r"rate must have shape"),
        (
            lambda: KLDisplay.from_estimator(BNVAEEstimator()),
            "must have kl_per_component_.* this BNVAEEstimator has none. Fit it first",
        ),
        (
            lambda: TrainingCurveDisplay.from_estimator(make_pipeline(PCA())),
            "must have history_.* this Pipeline has none.* pass the step",
        ),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("quantiles", [(0.0, 0.5), (0.5, 1.0)])
def test_traversal_refuses_the_ends_of_the_prior(vae, quantiles):
    with pytest.raises(ValueError, match="quantiles must lie between 0 and 1"):
        TraversalDisplay.from_estimator(vae, image_shape=(8, 8), quantiles=quantiles)


def test_a_failing_transform_leaves_no_hook(vae):
    with pytest.raises(ValueError, match="features"):
        AggregatedPosteriorDisplay.from_estimator(vae, X[:, :3])
    assert not vae.module_.posterior_layer._forward_hooks


def test_the_default_below_which_a_component_is_dead_follows_from_its_mean():
    assert KLDisplay([1.0]).dead_below == pytest.approx(gaussian_kl(0.01**0.5, 1.0))
