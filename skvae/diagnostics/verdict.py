"""The verdict on a code: all its measures in one result, and a warning if it collapsed."""

from dataclasses import dataclass

import numpy as np

from skvae._data.rows import Rows
from skvae._warnings import warn
from skvae.diagnostics.evaluation import encode, mean_bounds, reconstruction_gaps, require_draws
from skvae.diagnostics.measures import (
    LIVE_VARIANCE,
    AggregatedMoments,
    aggregated_moments,
    energy_distance,
    kl_per_component,
    missing_information,
    mutual_information,
    participation_of_covariance,
    require_two_rows,
)
from skvae.diagnostics.printing import as_html, as_text
from skvae.model import VAE

# A code cannot say more about a row than its rate, since I(x;z) <= rate. Below this rate, a
# fourteenth of a bit, it is dead. A plain VAE fitted to pure noise, which it partly memorizes, ends
# at 0.03.
COLLAPSED_RATE = 0.05
# Adam moves a weight by at most about learning_rate per step. Until weights can have moved this far
# (34 steps at the default rate), a code has had no time to come alive, and there is no warning.
SHORTEST_TRAVEL = 0.1
# The mutual information is called saturated if there are so few rows that half a nat is missing.
SATURATED_BY = 0.5
# A decoder that knows p(x|z) loses at least I(x;z) when codes are exchanged, see
# `reconstruction_gaps`. A decoder ignores the code if it loses less than a tenth of the mutual
# information, or of a hundredth of a nat where the information is too small to be estimated.
LEAST_LOST_SHARE, LEAST_INFORMATION = 0.1, 0.01
# Two components repeat each other if they share nine tenths of their variance.
REPEATED_CORRELATION = 0.95
# All components say the same thing if their effective rank is at most a quarter of their number,
# or hardly above 1 if there are few of them. For comparison, 16 components of a sound code of
# digits, each at its floor, have a rank of 8.
SAME_RANK_SHARE, SAME_RANK = 0.25, 1.1
# Among fewer rows than this, components look alike by chance.
LEAST_ROWS_TO_CORRELATE = 10


def _frozen(array):
    """Return a read-only copy in double precision."""
    array = np.array(array, dtype=np.float64)
    array.flags.writeable = False
    return array


def _named(indices, most=8):
    """Name components by their indices, in a phrase that spells out only the first few."""
    noun = "component" if len(indices) == 1 else "components"
    rest = f" and {len(indices) - most} more" * (len(indices) > most)
    return f"{noun} {', '.join(map(str, indices[:most]))}{rest}"


class PosteriorCollapseWarning(UserWarning):
    """Warning that a fit ended with a dead code, which says almost nothing about any row."""


def warn_if_collapsed(kl: np.ndarray, travel: float) -> None:
    """Warn if a fit ended with a dead code, whose rate is below 0.05 nats.

    A short fit gives no warning, because the rate of a plain VAE starts near 0 and rises only
    after some steps.

    Parameters
    ----------
    kl : ndarray of shape (n_components,)
        Mean KL of each component over the training rows, in nats.
    travel : float
        Distance that a weight could move: number of steps times learning rate.

    Warns
    -----
    PosteriorCollapseWarning
        If the code is dead and `travel` is at least 0.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import warn_if_collapsed
    >>> warn_if_collapsed(np.array([0.3, 0.0]), travel=1.0)
    """
    rate = kl.sum()
    if travel < SHORTEST_TRAVEL or rate >= COLLAPSED_RATE:
        return
    warn(
        f"The code collapsed: its rate is {rate:.2g} nats for all components together, and "
        "transform(X) says no more than that about X. "
        "posterior='moment' gives each component a floor, set by tau. In a plain VAE, a smaller "
        "beta, more epochs (max_iter) or a weaker decoder may help. If the posterior already has "
        "a floor, the encoder cannot distinguish the rows: look for identical rows, constant "
        "columns or a tau near 0. See diagnose(X).",
        PosteriorCollapseWarning,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Measures of a code over some rows, with a verdict in words; information in nats per row.

    It prints as a table, and a notebook shows it as an HTML table.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    n_draws : int
        Number of codes drawn for each row in ELBO and importance bound.
    kl_per_component : ndarray of shape (n_components,)
        Mean KL of each component.
    floor_per_component : ndarray of shape (n_components,)
        Floor of each component's mean KL over the *training* rows, whose moments are matched.
    distortion : float
        Mean negative reconstruction, ``-E log p(x|z)``, in the units of the data.
    importance_bound : float
        Mean importance-weighted bound on log p(x), in the units of the data.
    mutual_information : float
        Estimated mutual information of code and row, at most log n_samples.
    shuffled_gap, prior_gap : float
        Loss of reconstruction with the codes of other rows, and with codes from the prior.
    moments : AggregatedMoments
        Mean and covariance of the aggregated posterior.
    energy_distance : float
        Distance of the aggregated posterior from the prior, from 0 (equal) to 1; no unit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(2, posterior="gaussian", max_iter=3, random_state=0).fit(X)
    >>> diagnosis = vae.diagnose(X)
    >>> abs(diagnosis.elbo + diagnosis.rate + diagnosis.distortion) < 1e-9
    True
    """

    n_samples: int
    n_draws: int
    kl_per_component: np.ndarray
    floor_per_component: np.ndarray
    distortion: float
    importance_bound: float
    mutual_information: float
    shuffled_gap: float
    prior_gap: float
    moments: AggregatedMoments
    energy_distance: float

    @property
    def rate(self) -> float:
        """Mean KL of all components together."""
        return float(self.kl_per_component.sum())

    @property
    def elbo(self) -> float:
        """Mean ELBO, ``-distortion - rate``, in the units of the data."""
        return -self.distortion - self.rate

    @property
    def active_units(self) -> int:
        """Number of live components, whose mean varies by more than 0.01 over the rows."""
        return int(self._live().sum())

    @property
    def dead_components(self) -> tuple[int, ...]:
        """Indices of the components that are not live, a tuple of int."""
        return tuple(np.flatnonzero(~self._live()).tolist())

    @property
    def saturated(self) -> bool:
        """Whether there are so few rows that more than half a nat of the information is missing."""
        return missing_information(self.mutual_information, self.n_samples) > SATURATED_BY

    @property
    def participation_ratio(self) -> float:
        """Number of directions that the code uses (`skvae.diagnostics.participation_ratio`)."""
        return participation_of_covariance(self.moments.signal)

    @property
    def effective_rank(self) -> float:
        """Participation ratio of the live components, each scaled to variance 1.

        Unlike `participation_ratio`, it is below the number of live components only if some of
        them are correlated, and not because one is stronger than another.
        """
        return participation_of_covariance(self._correlation())

    @property
    def repeated_components(self) -> tuple[int, ...]:
        """Indices of live components that repeat an earlier one, a tuple of int.

        The absolute correlation of their means with those of the earlier one is above 0.95.
        """
        repeats = np.abs(np.tril(self._correlation(), -1)).max(1, initial=0.0)
        return tuple(np.flatnonzero(self._live())[repeats > REPEATED_CORRELATION].tolist())

    @property
    def verdict(self) -> str:
        """The state of the code in words.

        It is "collapsed" if no component is live or the rate is below 0.05 nats. Otherwise it is
        "alive", or "partly dead" with the indices of the dead components, followed by what else
        is wrong:

        - "ignored by the decoder" if shuffling the codes loses less than a tenth of their
          mutual information;
        - "the components say the same thing" if the effective rank is at most a quarter of the
          number of live components, or at most 1.1; otherwise the components that repeat others;
        - "saturated" if there are too few rows to show the mutual information.
        """
        if not self.active_units or self.rate < COLLAPSED_RATE:
            return "collapsed"
        faults = list(self._faults())
        dead = self.dead_components
        if dead:
            verdict = "; ".join([f"partly dead: {_named(dead)}", *faults])
        elif faults:
            joint = " but " if faults[0].startswith("ignored") else ", but "
            verdict = "alive" + joint + "; ".join(faults)
        else:
            verdict = "alive"
        if self.saturated:
            verdict += f"; saturated at log {self.n_samples} = {np.log(self.n_samples):.1f} nats"
        return verdict

    def _faults(self):
        """Yield phrases that say what is wrong with a code that has not collapsed."""
        information = max(self.mutual_information, LEAST_INFORMATION)
        if self.shuffled_gap < LEAST_LOST_SHARE * information:
            yield "ignored by the decoder"
        n_live = self.active_units
        if n_live == 1 or self.n_samples < LEAST_ROWS_TO_CORRELATE:
            return
        rank, repeated = self.effective_rank, self.repeated_components
        # Centered rows span at most n_samples - 1 directions.
        if rank <= max(SAME_RANK, SAME_RANK_SHARE * min(n_live, self.n_samples - 1)):
            yield f"the components say the same thing (effective rank {rank:.1f} of {n_live})"
        elif repeated:
            yield f"{_named(repeated)} repeat{'s' * (len(repeated) == 1)} others"

    def _live(self):
        """Return which components are live, as an array of bool."""
        return np.diag(self.moments.signal) > LIVE_VARIANCE

    def _correlation(self):
        """Return the correlation matrix of the posterior means of the live components."""
        live = self._live()
        signal = self.moments.signal[np.ix_(live, live)]
        scale = np.sqrt(np.diag(signal))
        return signal / np.outer(scale, scale)

    def __repr__(self):
        return as_text(self)

    def _repr_html_(self):
        return as_html(self)


def diagnose(model: VAE, rows: Rows, n_draws: int = 32, random_state: int = 0) -> Diagnosis:
    """Measure whether a model's code is alive, and say so in words.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    rows : skvae._data.rows.Rows
        At least two rows; their weights do not count.
    n_draws : int, default=32
        Number of codes drawn for each row in ELBO and importance bound. The reconstruction gaps
        are means over all rows and need fewer draws: they take an eighth of that number.
    random_state : int, default=0
        Seed of all draws.

    Returns
    -------
    Diagnosis
        Measures in nats per row and in the units of the data, with a verdict.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or if `n_draws` is below 1.

    See Also
    --------
    skvae.BNVAEEstimator.diagnose : The same for an estimator and an array.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows, Units
    >>> from skvae.diagnostics import diagnose
    >>> X = np.random.RandomState(0).rand(50, 4)
    >>> vae = BNVAEEstimator(2, likelihood="bernoulli", max_iter=2, random_state=0).fit(X)
    >>> diagnosis = diagnose(vae.module_, Rows(X, Units.identity(4), None, "cpu"))
    >>> diagnosis.n_samples, diagnosis.active_units
    (50, 2)
    """
    require_draws(n_draws)
    loc, scale = encode(model, rows)
    require_two_rows(loc)
    mean_elbo, mean_importance_bound = mean_bounds(model, rows, n_draws, random_state)
    rng = np.random.RandomState(random_state)
    kl = kl_per_component(loc, scale)
    gaps = reconstruction_gaps(model, rows, max(1, n_draws // 8), rng)
    return Diagnosis(
        n_samples=len(loc),
        n_draws=int(n_draws),
        kl_per_component=_frozen(kl),
        floor_per_component=_frozen(model.posterior_layer.component_floors()),
        distortion=float(-mean_elbo - kl.sum()),
        importance_bound=float(mean_importance_bound),
        mutual_information=mutual_information(loc, scale, rng),
        shuffled_gap=gaps.shuffled,
        prior_gap=gaps.prior,
        moments=AggregatedMoments(*map(_frozen, aggregated_moments(loc, scale))),
        energy_distance=energy_distance(loc, scale, rng),
    )
