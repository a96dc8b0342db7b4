"""The main job, and the code that the README shows."""

import re
from pathlib import Path

import pytest

from skvae.__main__ import main

README = Path(__file__).parent.parent / "README.md"


def test_main_job_prints_a_row_for_each_encoder_and_writes_the_picture(tmp_path, capsys):
    picture = tmp_path / "digits.png"
    main(["--max-iter", "1", "--splits", "1", "--output", str(picture)])
    out = capsys.readouterr().out
    for name in ("PCA", "plain VAE", "BN-VAE, tau 0.1", "BN-VAE, tau 0.5"):
        assert re.search(rf"^{name} +0\.\d+", out, re.M)
    assert "100%" in out  # progress
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_main_job_can_be_quiet_and_writes_no_file_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["--max-iter", "1", "--splits", "1", "--quiet"])
    assert "%" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README.read_text(), re.S))
def test_code_of_the_readme_runs(code):
    exec(compile(code, "README.md", "exec"), {})


def test_layer_of_the_readme_keeps_its_floor():
    code = next(
        c for c in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "rsample" in c
    )
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert float(names["kl"].detach().mean()) >= 8 * 0.3465
