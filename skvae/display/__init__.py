"""Pictures of fitted models, as scikit-learn's Display classes: arrays in, matplotlib out.

The constructor takes what is drawn, ``from_estimator`` computes it, and ``plot`` draws it,
into a given ``ax`` or a figure of its own. Artists stay at hand as attributes. Nothing is shown
and no global setting of matplotlib is changed. In every picture blue is the model, dashed red
the floor and grey the prior, and information is in nats.
"""

from skvae.display.aggregated_posterior import AggregatedPosteriorDisplay
from skvae.display.explorer import Explorer
from skvae.display.kl import KLDisplay
from skvae.display.latent_map import LatentMapDisplay
from skvae.display.rate_distortion import RateDistortionDisplay
from skvae.display.reconstruction import ReconstructionDisplay
from skvae.display.tau_table import TauTableDisplay
from skvae.display.training_curve import TrainingCurveDisplay
from skvae.display.traversal import TraversalDisplay

__all__ = [
    "AggregatedPosteriorDisplay",
    "Explorer",
    "KLDisplay",
    "LatentMapDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "TauTableDisplay",
    "TrainingCurveDisplay",
    "TraversalDisplay",
]
