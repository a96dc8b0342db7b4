"""The lesson "Play with tau" in a real browser, with models that were hardly trained."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from browsing import Opener, chromium, put

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS / "_lesson"))
import make_lesson  # noqa: E402

PARTS = ["dead", "dial", "trade", "own", "collapse"]


@pytest.fixture(scope="module")
def models():
    return make_lesson.digits_models(max_iter=2)


@pytest.fixture(scope="module")
def html(models):
    script = make_lesson.lesson_script(make_lesson.lesson(*models))
    style = (DOCS / "_static" / "play.css").read_text(encoding="utf-8")
    parts = "".join(f'<div class="play" data-play="{part}"></div>' for part in PARTS)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{style}</style>'
        f"<body>{parts}<script>{script}</script>"
    )


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, tmp_path):
    opener = Opener(browser, tmp_path)
    yield opener
    opener.close()


def drawn(page, selector, number=0):
    """Share of ink in each pixel of a canvas."""
    # Read from a copy: the browser advises against reading what is drawn on often.
    pixels = (
        page.locator(selector)
        .nth(number)
        .evaluate(
            "(canvas) => {"
            "const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d');"
            "copy.drawImage(canvas, 0, 0);"
            "return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data); }"
        )
    )
    red = np.array(pixels[::4], dtype=float)
    return (255 - red) / (255 - 0x16)


def test_a_drawing_is_what_both_models_make_of_it(opened, html, models):
    plain, every, _, _ = models
    page = opened(html)
    pad = page.locator("canvas.pad")
    page.get_by_role("button", name="clear").click()
    assert np.allclose(drawn(page, "canvas.pad"), 0, atol=0.01)
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 10, steps=12)
    page.mouse.up()
    pad.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    put(page, {"[data-play=own] input[type=range]": float(np.log(0.8 / 0.2))})
    tau = page.evaluate("lesson.models.every.at")
    assert tau == pytest.approx(0.8, abs=0.01)
    row = drawn(page, "canvas.pad")[None]
    assert row.sum() > 4
    for number, model in enumerate((plain, every.at_tau(tau))):
        wanted = model.inverse_transform(model.transform(row))[0]
        found = drawn(page, "[data-play=own] canvas.large", number)
        assert np.allclose(found, wanted, atol=0.02)  # a pixel has 256 levels


def test_the_pad_is_drawn_on_with_the_keyboard(opened, html):
    page = opened(html)
    page.get_by_role("button", name="clear").focus()
    page.keyboard.press("Enter")
    assert np.allclose(drawn(page, "canvas.pad"), 0, atol=0.01)
    page.keyboard.press("Shift+Tab")
    assert page.locator(".pen").is_visible()
    for key in ("ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    box, pen = (page.locator(place).bounding_box() for place in ("canvas.pad", ".pen"))
    for axis, size in (("x", "width"), ("y", "height")):
        share = (pen[axis] + pen[size] / 2 - box[axis]) / box[size]
        assert 8 * share == pytest.approx({"x": 4.5, "y": 2.5}[axis], abs=0.1)
    assert np.argmax(drawn(page, "canvas.pad")) == 2 * 8 + 4
    page.keyboard.press("Tab")
    assert not page.locator(".pen").is_visible()


def test_tab_reaches_every_control_of_the_lesson(opened, html):
    page = opened(html)
    controls = page.locator("input, button, canvas[tabindex]")
    stops = 0
    while stops < 99:
        page.keyboard.press("Tab")
        if not page.evaluate("document.activeElement.matches('input, button, canvas')"):
            break
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
        stops += 1
    assert stops == controls.count()


def test_a_change_of_theme_draws_everything_again(opened, html):
    page = opened(html)
    corner = "[data-play=dead] canvas"
    light = [drawn(page, corner, number) for number in (0, 1)]
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(100)
    for number in (0, 1):
        assert not np.allclose(light[number], drawn(page, corner, number), atol=0.2)


def test_the_dial_is_one_wherever_it_stands(opened, html, models):
    page = opened(html)
    put(page, {"[data-play=dial] input": float(np.log(0.9 / 0.1))})
    values = page.locator("input[aria-valuetext^=τ]").evaluate_all(
        "(dials) => dials.map((dial) => dial.value)"
    )
    assert len(values) == 3
    assert len(set(values)) == 1
    tau = page.evaluate("lesson.models.every.at")
    moved = models[1].at_tau(tau)
    facts = page.locator("[data-play=dial] .play-facts").nth(1).inner_text()
    rate, floor = moved.kl_per_component_.sum(), moved.kl_floor_
    assert facts == f"rate {rate:.2f} nats · floor {floor:.2f} · live components 16/16"


def test_sliders_of_the_first_part_decode(opened, html, models):
    page = opened(html)
    page.locator("[data-play=dead]").get_by_role("button", name="digit 5").click()
    _, _, X, y = models
    row = X[np.flatnonzero(y == 5)[:1]]
    for number, model in enumerate(models[:2]):
        wanted = model.inverse_transform(model.transform(row))[0]
        assert np.allclose(drawn(page, "[data-play=dead] canvas", number), wanted, atol=0.02)
    before = drawn(page, "[data-play=dead] canvas", 1)
    put(page, {"[data-play=dead] .play-columns > :nth-child(2) input": -3})
    assert not np.allclose(before, drawn(page, "[data-play=dead] canvas", 1), atol=0.02)


def test_the_snapshots_go_by(opened, html):
    page = opened(html)
    text = json.loads(make_lesson.SNAPSHOTS.read_text(encoding="utf-8"))
    last = len(text["plain"]["snapshots"]) - 1
    for step in (0, last):
        put(page, {"[data-play=collapse] input": step})
        rebuilt = text["plain"]["snapshots"][step]["rebuilt"]
        lines = page.locator("[data-play=collapse] .play-columns ul").first.locator("li")
        assert lines.all_inner_texts() == rebuilt


def test_chinese_pages_speak_chinese(opened, html):
    page = opened(html.replace('lang="en"', 'lang="zh-CN"'))
    assert "下界" in page.locator("[data-play=dial]").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_is_not_pushed_apart(opened, html, theme):
    settings = {"viewport": {"width": 390, "height": 800}}
    page = opened(html.replace("<html", f'<html data-theme="{theme}"'), **settings)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_lesson_is_small(models):
    assert len(make_lesson.lesson_script(make_lesson.lesson(*models)).encode()) < 600_000


def test_what_is_stored_shows_a_collapse_and_none():
    text = json.loads(make_lesson.SNAPSHOTS.read_text(encoding="utf-8"))
    rates = [sum(one["kl"]) for one in text["plain"]["snapshots"]]
    assert max(rates) > 10
    assert rates[-1] < 0.05
    for one in text["moments"]["snapshots"]:
        assert sum(one["kl"]) >= sum(one["floor"]) - 1e-3  # both are rounded
        assert sum(one["floor"]) > 2
    assert [one["weight"] for one in text["plain"]["snapshots"][:4]] == [0, 0, 0, 1]


@pytest.mark.slow
def test_what_is_stored_is_what_training_gives():
    stored = json.loads(make_lesson.SNAPSHOTS.read_text(encoding="utf-8"))
    made = make_lesson.text_snapshots()
    for name in ("plain", "moments"):
        for ours, theirs in zip(stored[name]["snapshots"], made[name]["snapshots"], strict=True):
            assert np.allclose(ours["kl"], theirs["kl"], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("page", ["play.rst", "zh/play.rst"])
def test_the_pages_have_every_part(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.findall(r'data-play="(\w+)"', text) == PARTS
    assert text.count(".. admonition::") == len(PARTS)
