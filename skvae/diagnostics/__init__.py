"""Whether a code is alive: measures of posteriors, and a verdict in words."""

from skvae.diagnostics.evaluation import Gaps, encode, reconstruction_gaps
from skvae.diagnostics.measures import (
    AggregatedMoments,
    active_units,
    aggregated_moments,
    energy_distance,
    kl_per_component,
    missing_information,
    mutual_information,
    participation_ratio,
)
from skvae.diagnostics.verdict import (
    Diagnosis,
    PosteriorCollapseWarning,
    diagnose,
    warn_if_collapsed,
)

__all__ = [
    "AggregatedMoments",
    "Diagnosis",
    "Gaps",
    "PosteriorCollapseWarning",
    "active_units",
    "aggregated_moments",
    "diagnose",
    "encode",
    "energy_distance",
    "kl_per_component",
    "missing_information",
    "mutual_information",
    "participation_ratio",
    "reconstruction_gaps",
    "warn_if_collapsed",
]
