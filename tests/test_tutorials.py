"""Every tutorial is there, as narrow as its page, with a picture; the gallery runs them."""

import re
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parent.parent / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("plot_*.py"))


@pytest.mark.parametrize(
    "topic",
    [
        "1_digits_pipeline",
        "2_collapse",
        "3_five_posteriors",
        "4_why_not_layer_norm",
        "5_tau_dial",
        "6_pca_to_vae",
        "7_pytorch",
        "8_few_labels",
        "9_displays",
        "10_text_collapse",
        "11_text_few_labels",
        "12_text_walk",
        "13_every_tau",
        "14_gaps",
        "15_images",
        "16_anomalies",
    ],
)
def test_the_gallery_has(topic):
    assert TUTORIALS / f"plot_{topic}.py" in SCRIPTS


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
    assert 1 <= int(number) <= text.count("plt.subplots(")
