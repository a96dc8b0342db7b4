"""The explorer's page in a real browser: its numbers are the estimator's, and it asks no server."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from torch import nn

from skvae import BNVAEEstimator, BNVAETextEstimator, ConvDecoder, ConvEncoder, Explorer
from skvae.datasets import make_sentences
from skvae.display.explorer.description import described_model, nodes
from skvae.display.explorer.packing import packed, unpacked
from skvae.display.explorer.page import ARITHMETIC, HERE, VIEWS, script
from skvae.likelihoods import GaussianLikelihood, PoissonLikelihood
from skvae.posteriors import MomentPosterior

X, Y = load_digits(return_X_y=True)
X, Y = X[:120] / 16, Y[:120]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail(
            "The explorer is tested in a real browser, and there is no chromium here. "
            "Debian has it: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens an explorer as a user does, from a file; at the end, all was quiet."""
    noise, pages = [], []

    def open_(explorer, **settings):
        path = tmp_path / f"explorer_{len(pages)}.html"
        explorer.save(path)
        page = browser.new_page(**settings)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda request: noise.append(request.url))
        pages.append(page)
        page.goto(path.as_uri())
        assert noise.pop(0) == path.as_uri()
        return page

    yield open_
    for page in pages:
        page.close()
    assert noise == []


# Put sliders somewhere, as a hand does, and wait for the next frame.
PUT = """(values) => {
    for (const [id, value] of Object.entries(values)) {
        const input = document.getElementById(id);
        input.value = value;
        input.dispatchEvent(new Event("input"));
        input.dispatchEvent(new Event("change"));
    }
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def set_sliders(page, code):
    page.evaluate(PUT, {f"component-{j}": value for j, value in enumerate(code)})


def turn_dial(page, tau):
    page.evaluate(PUT, {"tau": float(np.log(tau / (1 - tau)))})
    return page.evaluate("explorer.model.at")  # as a slider can have it


def codes_to_try(d, n=4):
    return np.random.RandomState(1).uniform(-2.5, 2.5, (n, d)).round(2)


def settled(decoded):
    """A decoded row as `inverse_transform` has it: of categories the most probable."""
    return [np.argmax(one) if isinstance(one, list) else one for one in decoded]


def assert_decodes(page, estimator, scale=1.0, **given):
    for code in codes_to_try(estimator.module_.posterior_layer.n_components):
        set_sliders(page, code)
        wanted = np.asarray(estimator.inverse_transform(code[None], **given), dtype=float)[0]
        found = np.array(settled(page.evaluate("explorer.decoded")))
        assert np.allclose(found / scale, wanted / scale, rtol=1e-4, atol=1e-4)


def assert_encodes(page, estimator, rows):
    found = page.evaluate(
        "explorer.rows.map((row) => [Array.from(row.loc), Array.from(row.scale)])"
    )
    for name, ours, wanted in zip(
        ("loc", "scale"), np.moveaxis(found, 1, 0), estimator.encode(rows), strict=True
    ):
        assert np.allclose(ours, wanted, rtol=1e-4, atol=1e-4), name


def digits(d=3, **settings):
    settings = {"likelihood": "bernoulli", "hidden_layer_sizes": (16,), "max_iter": 3} | settings
    return BNVAEEstimator(d, random_state=0, **settings).fit(X)


# -- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "elu", "gelu", "silu"])
def test_mlp(opened, activation):
    vae = digits(activation=activation, hidden_layer_sizes=(16, 8))
    page = opened(Explorer.from_estimator(vae, X, Y, image_shape=(8, 8), n_rows=200))
    assert_decodes(page, vae)
    assert_encodes(page, vae, X)


def test_units_of_the_columns(opened):
    rows, y = load_iris(return_X_y=True)
    rows = 1000 * rows - 7000
    vae = BNVAEEstimator(2, max_iter=3, random_state=0).fit(rows)
    page = opened(Explorer.from_estimator(vae, rows, y))
    assert_decodes(page, vae, scale=rows.std(0))
    assert_encodes(page, vae, rows)


@pytest.mark.parametrize(
    "posterior", ["moment", "gaussian", "batchnorm", "batchnorm-mean", "layernorm", "delta"]
)
def test_posteriors_over_a_range_of_tau(opened, posterior):
    vae = digits(4, tau=(0.1, 0.9), posterior=posterior)
    page = opened(Explorer.from_estimator(vae, X, image_shape=(8, 8)))
    for tau in (0.1, 0.37, 0.9):
        moved = vae.at_tau(np.clip(turn_dial(page, tau), 0.1, 0.9))
        assert moved.tau_ == pytest.approx(tau, abs=1e-6)
        assert_encodes(page, moved, X)
        assert_decodes(page, moved)
        kl, floor, distortion = page.evaluate(
            "[Array.from(explorer.model.kl), Array.from(explorer.model.floor), "
            "explorer.model.distortion]"
        )
        assert np.allclose(kl, moved.kl_per_component_, atol=1e-4)
        assert np.allclose(floor, moved.module_.posterior_layer.component_floors(), atol=1e-4)
        assert -distortion - sum(kl) == pytest.approx(moved.lower_bound_, abs=1e-3)


def test_gamma_that_is_a_parameter(opened):
    vae = digits(posterior=lambda n, d, tau: MomentPosterior(n, d, tau, gamma="theta"))
    assert_encodes(opened(Explorer.from_estimator(vae, X)), vae, X)


COUNTS = np.random.RandomState(0).poisson([0.3, 2.0, 30.0], (80, 3)).astype(float)


def shares(n_features):
    return PoissonLikelihood(n_features, exposure="total")


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "student_t", shares])
def test_likelihoods(opened, likelihood):
    vae = BNVAEEstimator(2, likelihood=likelihood, max_iter=3, random_state=0).fit(COUNTS)
    page = opened(Explorer.from_estimator(vae, COUNTS))
    assert_decodes(page, vae)
    assert_encodes(page, vae, COUNTS)


def test_rates_far_out(opened):
    vae = BNVAEEstimator(2, likelihood="poisson", max_iter=3, random_state=0).fit(COUNTS)
    with torch.no_grad():
        vae.module_.decoder.layers[-1].weight *= 100
    assert_decodes(opened(Explorer.from_estimator(vae, COUNTS)), vae, scale=1e4)


@pytest.fixture(scope="module")
def people():
    rng = np.random.RandomState(0)
    n = 90
    frame = pd.DataFrame(
        {
            "height": rng.normal(170, 10, n),
            "smokes": rng.rand(n) < 0.3,
            "city": pd.Categorical(rng.choice(["Oslo", "Rome", "Lima"], n)),
            "visits": rng.poisson(3.0, n),
        }
    )
    frame.loc[::7, "height"] = np.nan
    return frame


def as_numbers(frame, vae):
    return vae._validate_rows(frame, reset=False)


def test_mixed_table_with_gaps(opened, people):
    likelihood = [("poisson", ["visits"])]
    vae = BNVAEEstimator(3, likelihood=likelihood, max_iter=3, random_state=0).fit(people)
    page = opened(Explorer.from_estimator(vae, people, people["city"]))
    assert_encodes(page, vae, people)
    for code in codes_to_try(3):
        set_sliders(page, code)
        module = vae.module_
        with torch.no_grad():
            mean = module.likelihood(torch.from_numpy(code[None]).to(module.prior().loc)).mean
        found = settled(page.evaluate("explorer.decoded"))
        assert np.allclose(found, vae._units.array(mean)[0], rtol=1e-4, atol=1e-4)
        city = vae.inverse_transform(code[None])["city"][0]
        assert page.locator("tr", has_text="city").locator("td").nth(1).inner_text() == city


def test_conditional_table(opened, people):
    vae = BNVAEEstimator(2, likelihood="auto", conditions=["city", "visits"], max_iter=3)
    vae.set_params(random_state=0).fit(people)
    page = opened(Explorer.from_estimator(vae, people))
    assert_encodes(page, vae, people)
    page.get_by_label("city").select_option("Rome")
    page.get_by_label("visits").fill("5")
    given = pd.DataFrame({"city": ["Rome"], "visits": [5]})
    for code in codes_to_try(2):
        set_sliders(page, code)
        wanted = vae.inverse_transform(code[None], conditions=given)
        height, smokes = page.evaluate("explorer.decoded")
        assert height == pytest.approx(wanted["height"][0], rel=1e-4)
        assert (smokes >= 0.5) == wanted["smokes"][0]


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 4)])
def test_convolutions(opened, shape):
    settings = {"shape": shape, "channels": (3, 4), "hidden_layer_sizes": (8,)}
    vae = digits(encoder=ConvEncoder(**settings), decoder=ConvDecoder(**settings))
    page = opened(Explorer.from_estimator(vae, X, image_shape=(8, 8)))
    assert_decodes(page, vae)
    assert_encodes(page, vae, X)


def test_convolutions_that_are_given_a_column(opened):
    settings = {"shape": (1, 8, 8), "channels": (3,), "hidden_layer_sizes": (8,)}
    rows = np.column_stack([X, Y])
    vae = BNVAEEstimator(
        2,
        conditions=[("categorical", [64])],
        encoder=ConvEncoder(**settings),
        decoder=ConvDecoder(**settings),
        max_iter=2,
        random_state=0,
    ).fit(rows)
    page = opened(Explorer.from_estimator(vae, rows, Y, image_shape=(8, 8)))
    assert_encodes(page, vae, rows)
    page.get_by_label("column 64").select_option("7.0")
    for code in codes_to_try(2):
        set_sliders(page, code)
        wanted = vae.inverse_transform(code[None], conditions=[[7]])[0, :64]
        assert np.allclose(page.evaluate("explorer.decoded"), wanted, rtol=1e-4, atol=1e-4)


def network_of(n_inputs, n_outputs=8):
    layers = nn.Linear(n_inputs, 6, bias=False), nn.Tanh(), nn.Dropout(0.5)
    return nn.Sequential(*layers, nn.Linear(6, n_outputs))


def test_networks_of_the_usual_layers(opened):
    vae = digits(encoder=network_of, decoder=network_of)
    page = opened(Explorer.from_estimator(vae, X))
    assert_decodes(page, vae)
    assert_encodes(page, vae, X)


SENTENCES, FACTORS = make_sentences(300, random_state=0)


@pytest.mark.parametrize(
    "settings",
    [{"cell": "lstm"}, {"cell": "gru", "tied": False}, {"tau": (0.3, 0.9)}, {"analyzer": "char"}],
    ids=["lstm", "gru", "range", "char"],
)
def test_sentences(opened, settings):
    sizes = {"embedding_size": 16, "hidden_size": 24, "learning_rate": 2e-2, "max_iter": 3}
    vae = BNVAETextEstimator(4, **({"tau": 0.7} | sizes | settings), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters of long sentences are cut
        vae.fit(SENTENCES)
        page = opened(Explorer.from_estimator(vae, SENTENCES, FACTORS[:, 0], n_rows=300))
        moved = vae
        if "tau" in settings:
            moved = vae.at_tau(turn_dial(page, 0.8))
        assert_encodes(page, moved, SENTENCES)
    seen = set()
    for code in codes_to_try(4, n=8):
        set_sliders(page, code)
        (wanted,) = moved.inverse_transform(code[None].astype(np.float32))
        assert page.evaluate("explorer.decoded") == wanted
        assert page.locator("dd").first.inner_text() == (wanted.strip() or "(no word)")
        seen.add(wanted)
    assert len(seen) > 1
