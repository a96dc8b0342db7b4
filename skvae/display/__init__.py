"""Pictures of fitted models with matplotlib, in the manner of scikit-learn's Display classes.

The constructor takes arrays, ``from_estimator`` computes them, and ``plot`` draws them into a given
``ax`` or a new figure. The artists are kept as attributes. Nothing is shown and no global setting
of matplotlib is changed. In every picture the model is blue, the floor dashed red and the prior
gray, and information is in nats.
"""

from skvae.display.aggregated_posterior import AggregatedPosteriorDisplay
from skvae.display.axes import Display
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
    "Display",
    "Explorer",
    "KLDisplay",
    "LatentMapDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "TauTableDisplay",
    "TrainingCurveDisplay",
    "TraversalDisplay",
]
