"""The main job, and the code that the README shows."""

import re
from pathlib import Path

from skvae.__main__ import main

README = Path(__file__).parent.parent / "README.md"


def test_main_job_prints_a_row_for_each_encoder_and_writes_picture_and_page(tmp_path, capsys):
    picture, page = tmp_path / "digits.png", tmp_path / "digits.html"
    options = ["--max-iter", "1", "--splits", "1", "--output", str(picture)]
    main([*options, "--explore", str(page)])
    out = capsys.readouterr().out
    for name in ("PCA", "plain VAE", "BN-VAE, tau 0.1", "BN-VAE, tau 0.5"):
        assert re.search(rf"^{name} +0\.\d+", out, re.M)
    assert "100%" in out  # progress
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_main_job_can_be_quiet_and_writes_no_file_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["--max-iter", "1", "--splits", "1", "--quiet"])
    assert "%" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def names_after(marker):
    """What the README's example that holds `marker` defines when it is run."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    names = {}
    exec(compile(next(code for code in examples if marker in code), "README.md", "exec"), names)
    return names


def test_ten_lines_of_the_readme_search_tau_and_keep_the_floor(capsys):
    names = names_after("GridSearchCV")
    assert names["search"].best_params_["bnvaeestimator__tau"] in (0.1, 0.5)
    assert names["vae"].kl_per_component_.sum() >= names["vae"].kl_floor_ > 0
    assert ">=" in capsys.readouterr().out


def test_layer_of_the_readme_keeps_its_floor():
    names = names_after("rsample")
    assert float(names["kl"].detach().mean()) >= 8 * 0.3465


def test_no_example_of_the_readme_is_left_out():
    assert len(re.findall(r"```python\n", README.read_text())) == 2
