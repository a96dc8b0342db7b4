"""`export` to ONNX, as the guide shows it, run by onnxruntime."""

import numpy as np
import pytest
import torch

from skvae import BNVAEEstimator

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

X = np.random.RandomState(0).randn(40, 5) * [1, 10, 100, 1e-3, 1] + [0, 1e3, -5, 0, 7]

pytestmark = pytest.mark.filterwarnings(  # of the converter
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:overflow encountered in cast:RuntimeWarning",
)


def small(**parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 2, "batch_size": 20, "random_state": 0}
    return BNVAEEstimator(2, **settings | parameters)


def session_of(vae):
    program = torch.onnx.export(vae.export(), dynamo=True, verbose=False)
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


def codes_of(session, rows):
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


@pytest.mark.parametrize(
    ("parameters", "dtype"),
    [
        ({}, np.float32),
        ({}, np.float64),
        ({"likelihood": "student_t"}, np.float32),
        ({"posterior": "batchnorm", "tau": (0.1, 0.9)}, np.float32),
    ],
    ids=str,
)
def test_onnxruntime_has_the_codes_of_transform(parameters, dtype):
    rows = np.where(X > 1e3, np.nan, X).astype(dtype)
    vae = small(**parameters).fit(rows)
    session = session_of(vae)
    for n in (1, 40):
        codes = codes_of(session, rows[:n])
        assert codes.dtype == dtype
        np.testing.assert_allclose(codes, vae.transform(rows[:n]), rtol=0, atol=1e-4)


def test_student_t_in_double_precision_does_not_run_there():
    """If this fails, onnxruntime has learnt it: `export` and the guide say that it has not."""
    assert "asinh" in BNVAEEstimator.export.__doc__
    vae = small(likelihood="student_t").fit(X)
    with pytest.raises(Exception, match="NOT_IMPLEMENTED.*Asinh"):
        session_of(vae)
