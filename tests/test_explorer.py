"""The explorer's page in a real browser: its numbers are the estimator's, and it asks no server."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from browsing import Opener, chromium, put
from sklearn.datasets import load_digits, load_iris
from torch import nn

from skvae import BNVAEEstimator, BNVAETextEstimator, ConvDecoder, ConvEncoder, Explorer
from skvae.datasets import make_sentences
from skvae.display.explorer.description import described_model
from skvae.display.explorer.packing import packed, unpacked
from skvae.display.explorer.page import ARITHMETIC, HERE, VIEWS, script
from skvae.every_tau import nodes
from skvae.likelihoods import GaussianLikelihood, PoissonLikelihood
from skvae.posteriors import MomentPosterior

X, Y = load_digits(return_X_y=True)
X, Y = X[:120] / 16, Y[:120]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, tmp_path):
    """Opens an explorer; at the end, its page was quiet."""
    opener = Opener(browser, tmp_path)
    yield lambda explorer, **settings: opener(explorer.html(), **settings)
    opener.close()


def set_sliders(page, code):
    put(page, {f"#component-{j}": value for j, value in enumerate(code)})


def turn_dial(page, tau):
    put(page, {"#tau": float(np.log(tau / (1 - tau)))})
    wait_for_map(page)
    return page.evaluate("explorer.model.at")  # as a slider can have it


def wait_for_map(page):
    """Wait until all rows are encoded for the tau of the dial."""
    page.evaluate(
        "() => new Promise((done) => { const check = () => "
        "explorer.nOutdated ? requestAnimationFrame(check) : done(); check(); })"
    )


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


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
def test_columns_and_conditions_that_never_vary(opened, likelihood):
    rows = np.column_stack([load_iris().data, np.full(150, 3.0), np.full(150, 5.0)])
    vae = BNVAEEstimator(2, likelihood=likelihood, conditions=[5], max_iter=2, random_state=0)
    page = opened(Explorer.from_estimator(vae.fit(rows), rows))
    assert_encodes(page, vae, rows)
    for code in codes_to_try(2):
        set_sliders(page, code)
        wanted = vae.inverse_transform(code[None], conditions=[[5.0]])[0, :5]
        assert np.allclose(page.evaluate("explorer.decoded"), wanted, rtol=1e-4, atol=1e-4)


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
    return vae._read(frame, vae._model.reader)[0]


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
        assert np.allclose(found, vae._model.units.array(mean)[0], rtol=1e-4, atol=1e-4)
        city = vae.inverse_transform(code[None])["city"][0]
        assert page.locator("tr", has_text="city").locator("td").first.inner_text() == city


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


def test_a_row_is_rebuilt_with_its_own_conditions(opened, people):
    vae = BNVAEEstimator(2, tau=(0.1, 0.9), likelihood="auto", conditions=["city"], max_iter=3)
    vae.set_params(random_state=0).fit(people)
    page = opened(Explorer.from_estimator(vae, people))
    own = people["city"][0]
    other = next(city for city in people["city"] if city != own)
    page.evaluate("explorer.view.show = (rows) => Object.assign((explorer.shown ??= {}), rows)")
    for given in (own, other):
        page.get_by_label("city").select_option(given)
        moved = vae.at_tau(turn_dial(page, 0.7))
        code = moved.transform(people[:1])
        for key, city in (("decoded", given), ("reconstruction", own)):
            wanted = moved.inverse_transform(code, conditions=pd.DataFrame({"city": [city]}))
            height = page.evaluate(f"explorer.shown.{key}[0]")
            assert height == pytest.approx(wanted["height"][0], rel=1e-4), (given, key)


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


# -- the page ----------------------------------------------------------------------------------


def test_a_click_takes_a_row_and_dragging_moves_the_code(opened):
    vae = digits(2)
    page = opened(Explorer.from_estimator(vae, X, Y, image_shape=(8, 8)))
    box = page.locator("canvas.map").bounding_box()
    for row in (7, 30):
        place = "([row]) => explorer.map.pixelsOf(explorer.rows[row].loc)"
        x, y = page.evaluate(place, [row])
        page.mouse.click(box["x"] + x, box["y"] + y)
        taken = page.evaluate("explorer.row")
        assert page.evaluate(place, [taken]) == pytest.approx([x, y], abs=3)
        assert page.evaluate("Array.from(explorer.code)") == pytest.approx(
            vae.transform(X)[taken], abs=1e-4
        )
    page.mouse.move(box["x"] + 50, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 80, steps=4)
    page.mouse.up()
    moved = page.evaluate("explorer.map.pixelsOf(explorer.code)")
    assert moved == pytest.approx([90, 80], abs=1.5)
    assert page.evaluate("explorer.row") == taken


def test_the_newest_tau_wins_while_rows_are_encoded_in_slices(opened):
    vae = digits(2, tau=(0.1, 0.9))
    page = opened(Explorer.from_estimator(vae, X, image_shape=(8, 8)))
    before, during, outdated = page.evaluate(
        """() => {
            const codes = () => explorer.rows.map((row) => Array.from(row.loc));
            const before = codes();
            explorer.setTau(0.2);
            for (let i = 0; i < 7; i++) explorer.encodedRow(i); // as the start of a slice
            explorer.encodeRows(-1); // no time is left
            const during = codes();
            explorer.setTau(0.8);
            return [before, during, explorer.nOutdated];
        }"""
    )
    assert outdated == len(X)
    changed = np.any(np.not_equal(before, during), axis=1)
    assert changed[:7].all()
    assert not changed[7:].any()  # old codes stay until they are encoded again
    wait_for_map(page)
    assert_encodes(page, vae.at_tau(0.8), X)
    drawn = "explorer.map.codes.map((code) => Array.from(code))"
    page.wait_for_timeout(50)
    assert np.allclose(page.evaluate(drawn), vae.at_tau(0.8).transform(X), atol=1e-4)


def test_tab_reaches_every_control_visibly_and_leaves_the_page(opened):
    page = opened(Explorer.from_estimator(digits(2, tau=(0.1, 0.9)), X, image_shape=(8, 8)))
    controls = "document.querySelectorAll('input, select, button, canvas[tabindex]')"
    stop = (
        f"[Array.from({controls}).indexOf(document.activeElement), "
        "getComputedStyle(document.activeElement).outlineStyle]"
    )
    stops = []
    while len(stops) < 99:
        page.keyboard.press("Tab")
        number, outline = page.evaluate(stop)
        if number < 0:
            break
        assert outline == "solid"
        stops.append(number)
    assert stops == list(range(page.evaluate(f"{controls}.length")))


def test_arrow_keys_move_sliders_by_a_fiftieth_of_their_range(opened):
    page = opened(Explorer.from_estimator(digits(2, tau=(0.1, 0.9)), X, image_shape=(8, 8)))
    for slider in ("#tau", "#component-0", ".walk input[type=range]"):
        place = page.locator(slider)
        place.focus()
        low, high, at = place.evaluate("(one) => [one.min, one.max, one.value].map(Number)")
        key, sign = ("ArrowUp", 1) if at < (low + high) / 2 else ("ArrowLeft", -1)
        page.keyboard.press(key)
        moved = place.evaluate("(one) => Number(one.value)")
        assert moved - at == pytest.approx(sign * (high - low) / 50, abs=0.006), slider  # its step
        assert place.evaluate("(one) => document.activeElement === one")


def test_focus_stays_in_a_strip_that_is_drawn_again(opened):
    page = opened(Explorer.from_estimator(digits(2), X, image_shape=(8, 8)))
    for strip in (".row", ".draws", ".walk"):
        page.locator(f"{strip} li button").nth(2).focus()
        page.keyboard.press("Enter")
        page.evaluate("explorer.showStrips()")
        held = "document.activeElement === document.querySelectorAll(`{} li button`)[2]"
        assert page.evaluate(held.replace("{}", strip)), strip


def test_everything_answers_to_the_keyboard(opened):
    page = opened(Explorer.from_estimator(digits(2, tau=(0.1, 0.9)), X, image_shape=(8, 8)))
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "[document.activeElement.id, document.activeElement.className, "
                "document.activeElement.textContent].join(' ').trim()"
            )
        )
    for wanted in ("tau", "component-0", "component-1", "map", "row", "draw 8 more", "next"):
        assert any(wanted in one for one in seen), wanted
    before = page.evaluate("[explorer.model.at, ...explorer.code, explorer.row]")
    for place, key in (("#tau", "ArrowRight"), ("#component-0", "ArrowLeft")):
        page.locator(place).focus()
        page.keyboard.press(key)
    page.locator("canvas.map").focus()
    page.keyboard.press("Shift+ArrowUp")
    first = page.evaluate("[explorer.model.at, ...explorer.code, explorer.row]")
    assert all(a != b for a, b in zip(before[:3], first[:3], strict=True))
    page.locator("#row").fill("5")
    page.keyboard.press("Tab")
    assert page.evaluate("explorer.row") == 5
    page.locator("canvas.map").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("explorer.row") == 5  # the nearest to its own code


def test_draws_neighbors_and_walks_lead_to_their_codes(opened):
    vae = digits(2)
    page = opened(Explorer.from_estimator(vae, X, Y, image_shape=(8, 8), y_name="digit"))
    page.get_by_role("button", name="draw 8 more").click()
    page.wait_for_timeout(200)  # small pictures wait until the hand rests
    page.locator(".draws li button").nth(3).click()
    assert page.evaluate("explorer.code.join() === explorer.draws[3].join()")
    page.locator(".row li button").first.click()
    distances = np.linalg.norm(vae.transform(X) - vae.transform(X[:1]), axis=1)
    assert page.evaluate("explorer.row") == np.argsort(distances)[1]
    page.get_by_role("spinbutton", name="to row").fill("9")
    page.get_by_role("spinbutton", name="from row").fill("4")
    page.keyboard.press("Tab")
    page.wait_for_timeout(200)
    page.locator(".walk li button").nth(3).click()
    half = vae.transform(X[[4, 9]]).mean(0)
    assert page.evaluate("Array.from(explorer.code)") == pytest.approx(half, abs=1e-4)


NASTY = "</script><script>document.title = 'broken'</script><b>bold</b>"


def test_text_from_the_data_is_text(opened):
    rng = np.random.RandomState(0)
    kinds = pd.Categorical(rng.choice([NASTY, "<!--"], 40))
    frame = pd.DataFrame({NASTY: rng.randn(40), "<script>": kinds, "given": kinds})
    vae = BNVAEEstimator(2, likelihood="auto", conditions=["given"], max_iter=1, random_state=0)
    vae.fit(frame)
    page = opened(Explorer.from_estimator(vae, frame, kinds, title=NASTY, y_name=NASTY))
    assert page.title() == NASTY
    assert page.locator("b", has_text="bold").filter(has_not_text="<b>").count() == 0
    assert page.locator("h1").inner_text() == NASTY
    assert page.locator("th[scope=row]").first.inner_text().startswith(NASTY)
    assert page.locator("script").count() == 2


def test_a_file_without_addresses_and_a_policy_against_requests():
    html = Explorer.from_estimator(digits(2, max_iter=1), X, n_rows=5).html()
    assert "default-src 'none'" in html
    assert re.findall(r"https?://.*|\b(?:src|href)=.*|url\(.*", html) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page_and_text_has_contrast(opened, people, width, scheme):
    vae = BNVAEEstimator(12, tau=(0.1, 0.9), likelihood="auto", max_iter=1, random_state=0)
    explorer = Explorer.from_estimator(vae.fit(people), people, people["city"], y_name="city")
    page = opened(explorer, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    style = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    colors = {
        name: page.evaluate(style.format(name))
        for name in ("paper", "panel", "ink", "muted", "model", "floor", "focus")
    }
    for ground in ("paper", "panel"):
        for text in ("ink", "muted"):
            assert contrast(colors[text], colors[ground]) >= 4.5
        for mark in ("model", "floor", "focus"):
            assert contrast(colors[mark], colors[ground]) >= 3


def contrast(a, b):
    """Ratio of the luminances of two colors, by WCAG."""

    def luminance(color):
        channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_control_has_a_name(opened, people):
    vae = BNVAEEstimator(2, tau=(0.1, 0.9), likelihood="auto", conditions=["city"], max_iter=1)
    page = opened(Explorer.from_estimator(vae.set_params(random_state=0).fit(people), people))
    nameless = page.evaluate(
        "Array.from(document.querySelectorAll('input, select, button, canvas'))"
        ".filter((one) => !(one.labels?.length || one.getAttribute('aria-label') "
        "|| one.textContent.trim() || one.title)).map((one) => one.outerHTML)"
    )
    assert nameless == []


def test_saving_writes_the_page_and_nothing_else(tmp_path):
    explorer = Explorer.from_estimator(digits(2, max_iter=1), X, n_rows=3)
    assert explorer.save(tmp_path / "page.html") is explorer
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == explorer.html()
    assert len(list(tmp_path.iterdir())) == 1


def test_notebooks_show_it_in_a_frame(browser, tmp_path):
    explorer = Explorer.from_estimator(digits(2), X, image_shape=(8, 8))
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html>{explorer._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.frame_locator("iframe").locator("#component-0").count() == 1
    page.close()


# -- what goes into the file -------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 7, 500])
def test_no_more_rows_than_asked_for_are_in_the_file(n_rows):
    data = Explorer.from_estimator(digits(2), X, Y, n_rows=n_rows).data
    index = data["index"]
    assert len(index) == min(n_rows, len(X))
    assert np.array_equal(unpacked(data["rows"]["values"]), X[index].astype(np.float32))
    assert len(data["colors"]["rows"]) == len(data["labels"]) == len(index)


def test_a_page_is_as_large_as_its_weights():
    vae = digits(8, hidden_layer_sizes=(64,))
    n_bytes = 4 * sum(p.numel() for p in vae.module_.parameters())
    overhead = len(Explorer.from_estimator(vae, X, n_rows=1).html()) - 4 / 3 * n_bytes
    assert 0 < overhead < 75_000  # style and script


@pytest.mark.parametrize("shape", [(3,), (4, 5), (0, 2)])
def test_packing(shape):
    values = np.random.RandomState(0).randn(*shape).astype(np.float32)
    assert np.array_equal(unpacked(packed(values)), values)


def test_few_values_take_a_byte_each_and_stay_exact():
    values = np.random.RandomState(0).choice([0.1, np.nan, 7.5], (50, 20)).astype(np.float32)
    found = packed(values)
    assert "uint8" in found
    assert np.array_equal(unpacked(found), values, equal_nan=True)


def test_a_description_is_plain_data():
    vae = digits(2, tau=(0.1, 0.9))
    assert json.loads(json.dumps(described_model(vae), allow_nan=False))["n_components"] == 2


def test_nodes_go_from_end_to_end():
    assert nodes(3) == pytest.approx([-1, 0, 1])
    assert np.all(np.diff(nodes(33)) > 0)


def test_modules_of_the_page_have_no_name_twice():
    names = re.findall(r"^(?:async )?(?:function|class|const) (\w+)", script(), re.MULTILINE)
    assert sorted(set(names)) == sorted(names)


def test_every_module_is_on_the_page():
    assert {path.stem for path in HERE.glob("*.js")} == {*ARITHMETIC, *VIEWS}


def test_a_module_imports_only_from_those_before_it():
    order = [*ARITHMETIC, *VIEWS]
    for i, name in enumerate(order):
        found = re.findall(r'from "\./(\w+)\.js"', (HERE / f"{name}.js").read_text())
        assert {*found} <= {*order[:i]}, name


# -- what it refuses ---------------------------------------------------------------------------


class Twice(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], dim=1)


class OwnPosterior(MomentPosterior):
    pass


class OwnLikelihood(GaussianLikelihood):
    pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": lambda n: Twice()}, "The encoder holds a layer .* Twice"),
        ({"encoder": lambda n: nn.Sequential(nn.Linear(n, 4), nn.LayerNorm(4))}, "LayerNorm"),
        ({"encoder": lambda n: nn.Sequential(nn.Linear(n, 4), nn.ELU(0.5))}, r"ELU\(alpha=0.5\)"),
        (
            {"decoder": lambda d, n: nn.Sequential(nn.Linear(d, n), nn.Softplus())},
            "The decoder .*Soft",
        ),
        ({"posterior": OwnPosterior}, "the custom posterior OwnPosterior; it computes"),
        ({"likelihood": OwnLikelihood}, "the custom likelihood OwnLikelihood; it computes"),
    ],
)
def test_networks_that_it_cannot_compute(settings, message):
    with pytest.raises(TypeError, match=message):
        Explorer.from_estimator(digits(2, max_iter=1, **({"likelihood": "gaussian"} | settings)), X)


def test_networks_that_are_too_large_for_a_page(monkeypatch):
    monkeypatch.setattr("skvae.display.explorer.description.MOST_WEIGHTS", 1000)
    with pytest.raises(TypeError, match=r"have 2,\d+ weights, and a page takes at most 1,000"):
        Explorer.from_estimator(digits(2, max_iter=1), X)


def test_a_code_that_says_nothing():
    vae = BNVAETextEstimator(2, posterior="none", hidden_size=4, embedding_size=4, max_iter=1)
    with pytest.raises(TypeError, match="posterior='none' has no code to explore"):
        Explorer.from_estimator(vae.fit(SENTENCES[:40]), SENTENCES[:40])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_rows": 0}, "n_rows must be an int of at least 1; got 0"),
        ({"n_rows": 1.5}, "n_rows must be an int of at least 1; got 1.5"),
        ({"y": Y[:5]}, r"y must have shape \(120,\), one for each row of X; got \(5,\)"),
        ({"image_shape": (8, 9)}, r"image_shape \(8, 9\) takes rows of 72 columns"),
    ],
)
def test_settings_that_make_no_page(settings, message):
    with pytest.raises(ValueError, match=message):
        Explorer.from_estimator(digits(2, max_iter=1), X, **settings)


def test_an_estimator_that_is_not_fitted():
    with pytest.raises(ValueError, match="must have module_"):
        Explorer.from_estimator(BNVAEEstimator(), X)


@pytest.mark.parametrize(
    "kind",
    [tuple, np.array, pl.Series, lambda s: pd.Series(s, index=range(39, -1, -1))],
    ids=["tuple", "array", "polars", "pandas"],
)
def test_rows_of_any_sequence_have_their_own_sentences(kind):
    vae = BNVAETextEstimator(2, hidden_size=4, embedding_size=4, max_iter=1, random_state=0)
    vae.fit(SENTENCES[:40])
    rows = Explorer.from_estimator(vae, kind(SENTENCES[:40])).data["rows"]
    assert rows["sentences"] == SENTENCES[:40]


def test_images_of_sentences():
    vae = BNVAETextEstimator(2, hidden_size=4, embedding_size=4, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match="image_shape is for rows of numbers"):
        Explorer.from_estimator(vae.fit(SENTENCES[:40]), SENTENCES[:40], image_shape=(2, 2))


def test_sentences_of_a_script_without_spaces(opened):
    sentences = ["我 爱 你 。", "他 爱 我 。", "you love me , 我 知道 。"] * 20
    vae = BNVAETextEstimator(2, tau=0.7, embedding_size=8, hidden_size=12, learning_rate=3e-2)
    vae.set_params(max_iter=8, random_state=0).fit(sentences)
    page = opened(Explorer.from_estimator(vae, sentences, n_rows=3))
    for code in codes_to_try(2, n=6):
        set_sliders(page, code)
        assert page.evaluate("explorer.decoded") == vae.inverse_transform(np.float32([code]))[0]


def test_a_number_for_each_row_gives_a_scale_of_colors():
    X = load_iris().data
    vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(X)
    data = Explorer.from_estimator(vae, X, y=X[:, 0], n_rows=150, y_name="length").data
    legend = data["colors"]["legend"]
    assert legend["name"] == "length"
    assert (legend["scale"]["low"], legend["scale"]["high"]) == (X[:, 0].min(), X[:, 0].max())
    rows, scale = data["colors"]["rows"], legend["scale"]["colors"]
    assert rows[np.argmin(X[:, 0])] == scale[0]
    assert rows[np.argmax(X[:, 0])] == scale[-1]
    assert data["labels"][0] == "length 5.1"


@pytest.mark.parametrize(("scale", "high"), [(1.0, 1.0), (255.0, 255.0)])
def test_color_images_have_the_range_of_their_kind(scale, high):
    X = scale * np.random.default_rng(0).uniform(0.2, 0.8, size=(20, 12))
    vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(X)
    image = Explorer.from_estimator(vae, X, image_shape=(2, 2, 3)).data["image"]
    assert image == {"shape": [2, 2, 3], "low": 0.0, "high": high}
