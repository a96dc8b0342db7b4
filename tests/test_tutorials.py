"""Every tutorial is there, as narrow as its page, with a picture; the gallery runs them."""

import ast
import re
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parent.parent / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("*/plot_*.py"))


@pytest.mark.parametrize(
    "topic",
    [
        "1_pipelines/plot_1_digits_pipeline",
        "1_pipelines/plot_2_few_labels",
        "1_pipelines/plot_3_anomalies",
        "2_text/plot_1_text_collapse",
        "2_text/plot_2_text_few_labels",
        "2_text/plot_3_text_walk",
        "3_data/plot_1_gaps",
        "3_data/plot_2_images",
        "4_inside/plot_1_collapse",
        "4_inside/plot_2_five_posteriors",
        "4_inside/plot_3_why_not_layer_norm",
        "4_inside/plot_4_tau_dial",
        "4_inside/plot_5_every_tau",
        "4_inside/plot_6_pca_to_vae",
        "4_inside/plot_7_pytorch",
        "4_inside/plot_8_displays",
    ],
)
def test_the_gallery_has(topic):
    assert TUTORIALS / f"{topic}.py" in SCRIPTS


@pytest.mark.parametrize("folder", sorted({path.parent for path in SCRIPTS}), ids=lambda p: p.name)
def test_each_group_of_the_gallery_has_a_title(folder):
    assert "\n---" in (folder / "GALLERY_HEADER.rst").read_text(encoding="utf-8")


def test_the_gallery_has_a_first_page():
    assert "=========" in (TUTORIALS / "GALLERY_HEADER.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_code_fits_the_column_of_the_page(script):
    code = [x for x in script.read_text(encoding="utf-8").splitlines() if not x.startswith("#")]
    header = code.index('"""', 1) if code[0] == '"""' else 0
    assert [line for line in code[header:] if len(line) > 72] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_picture_is_named_for_the_index(script):
    text = script.read_text(encoding="utf-8")
    (number,) = re.findall(r"^# sphinx_gallery_thumbnail_number = (\d+)$", text, re.MULTILINE)
    assert 1 <= int(number) <= n_figures(text)


def n_figures(text):
    """Number of figures: those of `subplots`, and of displays that are given no axes."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = [(ast.unparse(call.func), {word.arg for word in call.keywords}) for call in calls]
    display = re.compile(r"\w+Display\.from_estimators?")
    return sum(
        name == "plt.subplots" or bool(display.fullmatch(name) and "ax" not in words)
        for name, words in named
    )
