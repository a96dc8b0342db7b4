"""`transform` as a program: the same numbers without skvae."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from skvae import BNVAEEstimator
from skvae.posteriors import POSTERIORS

X = np.random.RandomState(0).randn(40, 5) * [1, 10, 100, 1e-3, 1] + [0, 1e3, -5, 0, 7]


def small(**parameters):
    return BNVAEEstimator(
        2, hidden_layer_sizes=(8,), max_iter=2, batch_size=20, random_state=0, **parameters
    )


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X)


@pytest.fixture(scope="module")
def program(fitted):
    return fitted.export()


@pytest.mark.parametrize("n_rows", [1, 2, 40])
def test_any_number_of_rows_has_the_codes_of_transform(fitted, program, n_rows):
    codes = program.module()(torch.from_numpy(X[:n_rows]))
    np.testing.assert_allclose(codes.numpy(), fitted.transform(X[:n_rows]), rtol=0, atol=1e-5)


VARIANTS = [
    *({"posterior": name} for name in POSTERIORS if name not in ("moment", "gaussian")),
    {"likelihood": "student_t"},
    {"tau": (0.1, 0.9)},
]


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_variants_have_the_codes_of_transform(parameters):
    single = X.astype(np.float32)
    model = small(**parameters).fit(single)
    codes = model.export().module()(torch.from_numpy(single))
    np.testing.assert_allclose(codes.numpy(), model.transform(single), rtol=0, atol=1e-5)


def test_missing_cells_are_encoded_as_in_transform():
    gaps = np.where(X > 1e3, np.nan, X)
    model = small().fit(gaps)
    codes = model.export().module()(torch.from_numpy(gaps))
    np.testing.assert_allclose(codes.numpy(), model.transform(gaps), rtol=0, atol=1e-5)


def test_a_file_of_it_runs_without_skvae(fitted, program, tmp_path):
    torch.export.save(program, tmp_path / "transform.pt2")
    np.save(tmp_path / "rows.npy", X)
    code = (
        "import sys, numpy as np, torch; "
        "program = torch.export.load(sys.argv[1] + '/transform.pt2').module(); "
        "codes = program(torch.from_numpy(np.load(sys.argv[1] + '/rows.npy'))); "
        "assert 'skvae' not in sys.modules; np.save(sys.argv[1] + '/codes.npy', codes.numpy())"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    codes = np.load(tmp_path / "codes.npy")
    np.testing.assert_allclose(codes, fitted.transform(X), rtol=0, atol=1e-5)


def test_exporting_leaves_the_estimator_as_it_was(fitted, program):
    assert not fitted.module_.training
    assert torch.is_grad_enabled()


def test_columns_of_different_kinds_are_refused():
    with pytest.raises(ValueError, match="export takes tables of numbers under one likelihood"):
        small(likelihood=[("student_t", [0])]).fit(X).export()


def test_a_frame_of_numbers_is_exported_as_an_array_of_them():
    frame = pd.DataFrame(X)
    program, expected = (small().fit(rows).export().module() for rows in (frame, X))
    assert_close(program(torch.from_numpy(X)), expected(torch.from_numpy(X)))
