"""Posteriors q(z|x): from the encoder's features to a Gaussian that cannot collapse.

They differ in how the two raw heads become mean and standard deviation. Most normalize the heads
by moments over the rows.
"""

from skvae.posteriors.base import Heads, Posterior
from skvae.posteriors.batch_norm import BatchNormMeanPosterior, BatchNormPosterior, gamma_squares
from skvae.posteriors.each_row import DeltaPosterior, LayerNormPosterior
from skvae.posteriors.free import GaussianPosterior, PriorPosterior
from skvae.posteriors.matched import MomentPosterior
from skvae.posteriors.moments import Moments

POSTERIORS = {
    "gaussian": GaussianPosterior,
    "batchnorm-mean": BatchNormMeanPosterior,
    "batchnorm": BatchNormPosterior,
    "moment": MomentPosterior,
    "layernorm": LayerNormPosterior,
    "delta": DeltaPosterior,
}

__all__ = [
    "POSTERIORS",
    "BatchNormMeanPosterior",
    "BatchNormPosterior",
    "DeltaPosterior",
    "GaussianPosterior",
    "Heads",
    "LayerNormPosterior",
    "MomentPosterior",
    "Moments",
    "Posterior",
    "PriorPosterior",
    "gamma_squares",
]
