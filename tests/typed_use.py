"""What type checkers are to know of the package; they read this file, nothing runs it."""

from typing import assert_type

import numpy as np
import torch

from skvae import (
    BNVAEEstimator,
    BNVAEEstimatorCV,
    BNVAETextEstimator,
    ConvDecoder,
    ConvEncoder,
    MomentPosterior,
    PosteriorCollapseWarning,
    TrainingCurveDisplay,
    rate_distortion_curve,
)
from skvae.bounds import kl_floor
from skvae.diagnostics import Diagnosis
from skvae.search import RateDistortionCurve

X = np.zeros((20, 64))
vae = assert_type(BNVAEEstimator(2, tau=(0.1, 0.9), hidden_layer_sizes=[8]).fit(X), BNVAEEstimator)
assert_type(vae.at_tau(0.5).n_iter_, int)
assert_type(vae.score(X), float)
assert_type(vae.score_samples(X, bound="elbo"), np.ndarray)
assert_type(vae.encode(X), tuple[np.ndarray, np.ndarray])
assert_type(vae.diagnose(X), Diagnosis)
assert_type(vae.export(), torch.export.ExportedProgram)
assert_type(BNVAEEstimator.load("file"), BNVAEEstimator)
assert_type(rate_distortion_curve(vae), RateDistortionCurve)
assert_type(BNVAEEstimatorCV(vae, taus=[0.1, 0.9], n_jobs=2).fit(X), BNVAEEstimatorCV)
assert_type(TrainingCurveDisplay.from_estimator(vae), TrainingCurveDisplay)

text = assert_type(BNVAETextEstimator(cell="gru").fit(["a", "b"]), BNVAETextEstimator)
assert_type(text.partial_fit(["a"]).sample(2, temperature=0.5), list[str])
assert_type(text.perplexity(["a"]), float)

BNVAEEstimator(encoder=ConvEncoder((1, 8, 8)), decoder=ConvDecoder((1, 8, 8)))
assert_type(ConvEncoder((1, 8, 8))(64), torch.nn.Module)
assert_type(MomentPosterior(8, 2, gamma="theta"), MomentPosterior)
float(kl_floor(0.5, 2) + kl_floor(np.array([0.5])).sum())
assert issubclass(PosteriorCollapseWarning, UserWarning)

BNVAEEstimator("two")  # type: ignore[arg-type]
BNVAEEstimator(verbosity=1)  # type: ignore[call-arg]
vae.at_tau("high")  # type: ignore[arg-type]
BNVAETextEstimator(cell="rnn")  # type: ignore[arg-type]
