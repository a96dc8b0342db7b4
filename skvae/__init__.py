"""Variational autoencoders that do not collapse, as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors see, without running it
    from skvae import bounds as bounds
    from skvae import datasets as datasets
    from skvae import diagnostics as diagnostics
    from skvae import display as display
    from skvae import distributed as distributed
    from skvae import every_tau as every_tau
    from skvae import likelihoods as likelihoods
    from skvae import model as model
    from skvae import networks as networks
    from skvae import objectives as objectives
    from skvae import posteriors as posteriors
    from skvae import priors as priors
    from skvae import search as search
    from skvae import text as text
    from skvae.diagnostics import PosteriorCollapseWarning as PosteriorCollapseWarning
    from skvae.display import AggregatedPosteriorDisplay as AggregatedPosteriorDisplay
    from skvae.display import Explorer as Explorer
    from skvae.display import KLDisplay as KLDisplay
    from skvae.display import LatentMapDisplay as LatentMapDisplay
    from skvae.display import RateDistortionDisplay as RateDistortionDisplay
    from skvae.display import ReconstructionDisplay as ReconstructionDisplay
    from skvae.display import TauTableDisplay as TauTableDisplay
    from skvae.display import TrainingCurveDisplay as TrainingCurveDisplay
    from skvae.display import TraversalDisplay as TraversalDisplay
    from skvae.estimator import BNVAEEstimator as BNVAEEstimator
    from skvae.networks import ConvDecoder as ConvDecoder
    from skvae.networks import ConvEncoder as ConvEncoder
    from skvae.posteriors import MomentPosterior as MomentPosterior
    from skvae.search import BNVAEEstimatorCV as BNVAEEstimatorCV
    from skvae.search import rate_distortion_curve as rate_distortion_curve
    from skvae.text import BNVAETextEstimator as BNVAETextEstimator

__version__ = "0.1.0"

# The module that defines each public name; None for names that are modules themselves. They are
# loaded when first asked for, so that importing skvae does not load PyTorch.
_HOMES = {
    "BNVAEEstimator": "skvae.estimator",
    "ConvDecoder": "skvae.networks",
    "ConvEncoder": "skvae.networks",
    "BNVAEEstimatorCV": "skvae.search",
    "BNVAETextEstimator": "skvae.text",
    "MomentPosterior": "skvae.posteriors",
    "PosteriorCollapseWarning": "skvae.diagnostics",
    "AggregatedPosteriorDisplay": "skvae.display",
    "Explorer": "skvae.display",
    "KLDisplay": "skvae.display",
    "LatentMapDisplay": "skvae.display",
    "RateDistortionDisplay": "skvae.display",
    "ReconstructionDisplay": "skvae.display",
    "TauTableDisplay": "skvae.display",
    "TrainingCurveDisplay": "skvae.display",
    "TraversalDisplay": "skvae.display",
    "rate_distortion_curve": "skvae.search",
    "bounds": None,
    "datasets": None,
    "diagnostics": None,
    "display": None,
    "distributed": None,
    "every_tau": None,
    "likelihoods": None,
    "model": None,
    "networks": None,
    "objectives": None,
    "posteriors": None,
    "priors": None,
    "search": None,
    "text": None,
}

__all__ = sorted(name for name, home in _HOMES.items() if home)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'skvae' has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(import_module(home), name) if home else import_module(f"skvae.{name}")


def __dir__() -> list[str]:
    return sorted({*_HOMES, *(name for name in globals() if name.startswith("__"))})
