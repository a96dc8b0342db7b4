"""Whether a code is alive: what it says, what it costs, and whether the decoder listens.

The functions over arrays take the posteriors of some rows, means and standard deviations, as
`encode` returns them. `diagnose` brings everything into one result with a verdict in words.
Every information is in nats.
"""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.distance import cdist

from skvae._data.units import chunk_slices
from skvae._warnings import warn
from skvae.bounds import gaussian_kl
from skvae.objectives import elbo, importance_bound, row_noise, shared_draws

# A component is live if its mean varies by more than this over the rows (Burda et al. 2016).
LIVE_VARIANCE = 0.01
# A code cannot say more about a row than its rate, since I(x;z) <= rate; below this, a fourteenth
# of a bit, it is dead. A plain VAE of pure noise, with some of it learnt by heart, ends at 0.03.
COLLAPSED_RATE = 0.05
# Adam moves a weight by at most about learning_rate a step. Before the weights could travel this
# far, 100 steps at the default rate, a code has had no time to come alive: no warning.
SHORTEST_TRAVEL = 0.1
# The information is called saturated when the number of rows hides half a nat of it.
SATURATED_BY = 0.5
# A decoder that knows p(x|z) loses at least I(x;z) when codes are exchanged, see
# `reconstruction_gaps`. One that loses less than a tenth of it, or of a hundredth of a nat
# where the information is too small to be estimated, does not listen.
HEARD_SHARE, LEAST_INFORMATION = 0.1, 0.01
# Two components repeat each other if they share nine tenths of their variance. All say the same
# thing if their effective rank is at most a quarter of their number (16 components of a sound
# code of digits, each at its floor, have a rank of 8) or hardly above 1, for the few. Among fewer
# rows than ten, components look alike by chance.
REPEATED_CORRELATION = 0.95
SAME_SHARE, SAME_RANK = 0.25, 1.1
FEWEST_ROWS = 10
# Draws for the energy distance: its error is of the order 1 / N, its time of N^2.
MOST_ENERGY_DRAWS = 4096


class PosteriorCollapseWarning(UserWarning):
    """The code that `fit` ended with is dead: it says next to nothing about any row."""


# -- over arrays -----------------------------------------------------------------------------


def kl_per_component(loc, scale):
    """Mean KL divergence from posterior to prior, per component.

    ``KL_j = 1/2 E(mu_j^2 + sigma_j^2 - log sigma_j^2 - 1)``, the mean taken over the rows. Their
    sum is the rate.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.

    Returns
    -------
    ndarray of shape (n_components,)
        Nats.

    Raises
    ------
    ValueError
        If these are not means and standard deviations of some rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import kl_per_component
    >>> kl_per_component(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones((2, 2))).tolist()
    [0.5, 0.0]
    """
    return gaussian_kl(*_posteriors(loc, scale)).mean(0)


def active_units(loc, threshold=LIVE_VARIANCE):
    """Number of live components, those whose mean varies over the rows.

    ``Var mu_j > threshold``. Under batch normalization and matched moments this is automatic: it
    tells collapse in a plain VAE, and nothing about the decoder in any.

    Parameters
    ----------
    loc : ndarray of shape (n_samples, n_components)
        Means of the posteriors.
    threshold : float, default=0.01
        In squared units of the code.

    Returns
    -------
    int
        Between 0 and n_components.

    Raises
    ------
    ValueError
        If `loc` is not a finite array of two dimensions.

    References
    ----------
    Burda et al. (2016), *Importance weighted autoencoders*, arXiv:1509.00519.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import active_units
    >>> active_units(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    1
    """
    return int(np.sum(_rows("loc", loc).var(0) > threshold))


def participation_ratio(loc):
    """Number of directions that the code uses, a rank that is not whole.

    ``(sum_j l_j)^2 / sum_j l_j^2`` for the eigenvalues l of Cov(mu): 1 if all components are
    multiples of one feature, n_components if they are uncorrelated and of equal variance.

    Parameters
    ----------
    loc : ndarray of shape (n_samples, n_components)
        Means of the posteriors.

    Returns
    -------
    float
        Between 1 and n_components; 0 if the mean is the same for all rows.

    Raises
    ------
    ValueError
        If `loc` is not a finite array of two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import participation_ratio
    >>> feature = np.array([[1.0], [0.0], [-1.0]])
    >>> participation_ratio(feature @ np.array([[1.0, -2.0, 0.5]]))
    1.0
    """
    return _participation(_covariance(_rows("loc", loc)))


def mutual_information(loc, scale, random_state=None):
    """Estimate what the code says about which row it came from.

    ``mean_i log q(z_i|x_i) / q(z_i)`` with one draw ``z_i ~ q(z|x_i)`` a row and ``q(z)`` the
    mixture of the posteriors of these rows: an estimate of ``E KL(q(z|x) || q(z))``.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws.

    Returns
    -------
    float
        Nats, at most ``log n_samples``: see `missing_information` for when it is close. It can
        come out slightly negative where the code says next to nothing, and is not cut off.

    Raises
    ------
    ValueError
        If these are not means and standard deviations of some rows.

    Notes
    -----
    Time grows with the square of the rows, memory with the rows. Standard deviations below
    1e-5 of the spread of their component's means are taken as that: such a component tells
    1e5 rows apart either way.

    References
    ----------
    Hoffman & Johnson (2016), *ELBO surgery*.

    Examples
    --------
    Two rows that cannot be mistaken for each other, and two that cannot be told apart:

    >>> import numpy as np
    >>> from skvae.diagnostics import mutual_information
    >>> scale = np.ones((2, 1))
    >>> round(mutual_information(np.array([[-50.0], [50.0]]), scale, random_state=0), 4)
    0.6931
    >>> mutual_information(np.array([[0.0], [0.0]]), scale, random_state=0)
    0.0
    """
    loc, scale = _posteriors(loc, scale)
    n_samples = len(loc)
    loc = loc - loc.mean(0)
    scale = np.maximum(scale, 1e-5 * loc.std(0))
    noise = _random_state(random_state).standard_normal(loc.shape)
    z = loc + scale * noise
    # log q(z_i|x_k) = a_k + sum_j b_kj z_ij + c_kj z_ij^2, short of d/2 log(2 pi) on both sides
    precision = scale**-2.0
    log_scale = np.log(scale).sum(1)
    constant = -0.5 * (loc**2 * precision).sum(1) - log_scale
    linear, square = (loc * precision).T, -0.5 * precision.T
    own = -0.5 * (noise**2).sum(1) - log_scale  # exact, where the polynomial rounds
    total = 0.0
    for rows in chunk_slices(n_samples, n_samples):
        log_q = z[rows] @ linear  # (chunk, n_samples)
        log_q += z[rows] ** 2 @ square
        log_q += constant
        index = np.arange(n_samples)[rows]
        log_q[np.arange(len(index)), index] = own[rows]
        log_q -= own[rows, None]
        largest = log_q.max(1)  # at least 0, the own row's
        log_q -= largest[:, None]
        np.exp(log_q, out=log_q)
        total += (largest + np.log(log_q.sum(1))).sum()
    return float(np.log(n_samples) - total / n_samples)


def missing_information(information, n_samples):
    """About how much `mutual_information` falls short for want of rows.

    Were the density ratio ``r = q(z|x) / q(z)`` of all rows together the same everywhere, the
    estimate over N of them would be ``log r / (r/N + 1 - 1/N)``, the own row being part of its
    mixture, instead of ``log r``. The difference is ``log (N - 1) / (N - e^I)`` for the
    estimate I: nothing at 0, half a nat at 0.9 nats below log N, and without bound at log N.
    For codes whose ratio varies it is a rough guide.

    Parameters
    ----------
    information : float
        The estimate, in nats.
    n_samples : int
        Rows N it was made over, at least 2.

    Returns
    -------
    float
        Nats; infinite at ``log n_samples``, where there is no telling.

    Raises
    ------
    ValueError
        If there are fewer than 2 rows.

    Examples
    --------
    >>> from skvae.diagnostics import missing_information
    >>> round(missing_information(4.0, 1000), 3), round(missing_information(6.5, 1000), 3)
    (0.055, 1.093)
    """
    if n_samples < 2:
        raise ValueError(f"n_samples must be at least 2 to tell rows apart; got {n_samples}")
    others = n_samples - np.exp(information)
    # Rounding may take a saturated estimate above its limit.
    if others <= 1e-9 * n_samples:
        return float("inf")
    return float(np.log((n_samples - 1) / others))


class AggregatedMoments(NamedTuple):
    """Mean and covariance of the aggregated posterior, the covariance in its two parts.

    Under the prior the mean is 0 and the covariance the identity.

    Parameters
    ----------
    mean : ndarray of shape (n_components,)
        Mean of the code.
    signal : ndarray of shape (n_components, n_components)
        Covariance of the posterior means over the rows.
    noise : ndarray of shape (n_components,)
        Mean posterior variance.
    """

    mean: np.ndarray
    signal: np.ndarray
    noise: np.ndarray

    @property
    def covariance(self):
        """Covariance of the code, of shape (n_components, n_components)."""
        return self.signal + np.diag(self.noise)

    @property
    def mean_error(self):
        """Largest absolute mean of a component."""
        return float(np.abs(self.mean).max())

    @property
    def variance_error(self):
        """Largest distance of a component's variance from 1."""
        return float(np.abs(np.diag(self.covariance) - 1).max())

    @property
    def covariance_error(self):
        """Largest absolute covariance of two components; 0 if there is only one."""
        return float(np.abs(self.signal - np.diag(np.diag(self.signal))).max())


def aggregated_moments(loc, scale):
    """Mean and covariance of the aggregated posterior, the mixture of the rows' posteriors.

    ``E z = E mu`` and ``Cov z = Cov mu + diag E sigma^2``, exactly: nothing is drawn.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.

    Returns
    -------
    AggregatedMoments
        To hold against mean 0 and covariance I.

    Raises
    ------
    ValueError
        If these are not means and standard deviations of some rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import aggregated_moments
    >>> loc = np.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> moments = aggregated_moments(loc, np.full((2, 2), 0.5))
    >>> moments.mean_error, moments.variance_error, moments.covariance_error
    (0.0, 0.25, 1.0)
    """
    loc, scale = _posteriors(loc, scale)
    return AggregatedMoments(loc.mean(0), _covariance(loc), np.square(scale).mean(0))


def energy_distance(loc, scale, random_state=None):
    """Distance of the aggregated posterior from the prior, between 0 and 1.

    The energy coefficient ``H = 1 - (E|z - z'| + E|p - p'|) / (2 E|z - p|)``, z and z' being
    drawn from the aggregated posterior and p and p' from the prior, in Euclidean distance. It is
    0 if and only if the two are the same distribution, and sees what moments do not.

    Parameters
    ----------
    loc, scale : ndarray of shape (n_samples, n_components)
        Means and standard deviations of the posteriors.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws.

    Returns
    -------
    float
        Without unit. The averages leave out the distance of a draw from itself, so that the
        estimate is centred at 0 where the distributions agree, and can be slightly negative.

    Raises
    ------
    ValueError
        If these are not means and standard deviations of at least two rows.

    Notes
    -----
    One draw a row, of at most 4,096 rows chosen at random, and as many from the prior.

    References
    ----------
    Szekely & Rizzo (2013), *Energy statistics: a class of statistics based on distances*.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.diagnostics import energy_distance
    >>> loc = np.zeros((500, 2))
    >>> abs(energy_distance(loc, np.ones((500, 2)), random_state=0)) < 0.01
    True
    >>> energy_distance(loc + 3, np.ones((500, 2)), random_state=0) > 0.3
    True
    """
    loc, scale = _posteriors(loc, scale)
    _at_least_two(loc)
    rng = _random_state(random_state)
    if len(loc) > MOST_ENERGY_DRAWS:
        chosen = rng.permutation(len(loc))[:MOST_ENERGY_DRAWS]
        loc, scale = loc[chosen], scale[chosen]
    z = loc + scale * rng.standard_normal(loc.shape)
    p = rng.standard_normal(loc.shape)
    n = len(z)
    within = (_total_distance(z, z) + _total_distance(p, p)) / (n * (n - 1))
    return float(1 - within / (2 * _total_distance(z, p) / n**2))


# -- over a model and rows -------------------------------------------------------------------


@torch.no_grad()
def encode(model, rows):
    """Means and standard deviations of the posteriors of all rows.

    Parameters
    ----------
    model : skvae.model.VAE
        In evaluation mode.
    rows : skvae._data.rows.Rows
        The rows.

    Returns
    -------
    tuple of ndarray of shape (n_samples, n_components)
        Means `loc` and standard deviations `scale`, in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows
    >>> from skvae._data.units import Units
    >>> from skvae.diagnostics import encode
    >>> X = np.random.RandomState(0).rand(50, 4)
    >>> vae = BNVAEEstimator(2, likelihood="bernoulli", max_iter=2, random_state=0).fit(X)
    >>> loc, scale = encode(vae.module_, Rows(X, Units.identity(4), None, "cpu"))
    >>> bool(np.allclose(loc, vae.transform(X)))
    True
    """
    posteriors = [model.posterior(batch.x, batch.context) for batch in _batches(model, rows)]
    return tuple(
        np.concatenate([_array(part(q)) for q in posteriors])
        for part in (lambda q: q.loc, lambda q: q.scale)
    )


class Gaps(NamedTuple):
    """Reconstruction lost with codes that are not the row's own, in nats per row.

    Parameters
    ----------
    shuffled : float
        With the codes of other rows.
    prior : float
        With codes drawn from the prior.
    """

    shuffled: float
    prior: float


@torch.no_grad()
def reconstruction_gaps(model, rows, n_draws=1, random_state=None):
    """What the decoder loses when it is given codes that are not the row's own.

    The mean of ``log p(x|z)`` over codes from the row's posterior, less its mean over the codes
    of other rows, and over codes from the prior. It shows whether the decoder listens, which no
    KL can. A decoder that knows ``p(x|z)`` exactly loses the mutual information by the
    shuffling, and the divergence the other way round, from the pairs torn apart to the pairs
    as they are, on top.

    Parameters
    ----------
    model : skvae.model.VAE
        In evaluation mode.
    rows : skvae._data.rows.Rows
        At least two rows.
    n_draws : int, default=1
        Codes drawn for each row, and times that the rows are shuffled. No row ever keeps its
        own code.
    random_state : int, RandomState, Generator or None, default=None
        Seed of draws and shuffling.

    Returns
    -------
    Gaps
        Nats per row, the same in whatever units the columns are.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or no draw is to be made.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows
    >>> from skvae._data.units import Units
    >>> from skvae.diagnostics import reconstruction_gaps
    >>> X = np.random.RandomState(0).randint(2, size=(100, 1)) * np.ones((1, 6))
    >>> vae = BNVAEEstimator(1, likelihood="bernoulli", max_iter=60, random_state=0).fit(X)
    >>> rows = Rows(X, Units.identity(6), None, "cpu")
    >>> reconstruction_gaps(vae.module_, rows, random_state=0).shuffled > 1
    True
    """
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1; got {n_draws}")
    loc, scale = encode(model, rows)
    _at_least_two(loc)
    rng = _random_state(random_state)
    prior = model.prior()
    prior_loc, prior_scale = _array(prior.loc), _array(prior.scale)
    totals = np.zeros(3)
    for _ in range(n_draws):
        noise = rng.standard_normal(loc.shape)
        own = loc + scale * noise
        codes = own, own[_derangement(len(own), rng)], prior_loc + prior_scale * noise
        done = 0
        for x, _, context in _batches(model, rows):
            here = slice(done, done + len(x))
            done += len(x)
            for k, z in enumerate(codes):
                z = torch.from_numpy(z[here]).to(prior.loc)
                totals[k] += float(model.likelihood(z, context).log_prob(x).cpu().double().sum())
    reconstruction, shuffled, from_prior = totals / (n_draws * len(loc))
    return Gaps(float(reconstruction - shuffled), float(reconstruction - from_prior))


@torch.no_grad()
def diagnose(model, rows, n_draws=32, random_state=0):
    """Bring together what shows whether a model's code is alive.

    Parameters
    ----------
    model : skvae.model.VAE
        In evaluation mode.
    rows : skvae._data.rows.Rows
        At least two rows; their weights do not count.
    n_draws : int, default=32
        Codes drawn for each row in ELBO and importance bound. The reconstruction gaps, means
        over rows that need fewer, take an eighth of that.
    random_state : int, default=0
        Seed of everything that is drawn.

    Returns
    -------
    Diagnosis
        In nats per row and in the units of the data.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or no draw is to be made.

    See Also
    --------
    skvae.BNVAEEstimator.diagnose : The same for an estimator and an array.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows
    >>> from skvae._data.units import Units
    >>> from skvae.diagnostics import diagnose
    >>> X = np.random.RandomState(0).rand(50, 4)
    >>> vae = BNVAEEstimator(2, likelihood="bernoulli", max_iter=2, random_state=0).fit(X)
    >>> diagnosis = diagnose(vae.module_, Rows(X, Units.identity(4), None, "cpu"))
    >>> diagnosis.n_samples, diagnosis.active_units
    (50, 2)
    """
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1; got {n_draws}")
    loc, scale = encode(model, rows)
    _at_least_two(loc)
    uniform, mixing = shared_draws(n_draws, loc.shape[1], random_state)
    bounds = np.zeros(2)  # sums of ELBO and importance bound
    for x, _, context in _batches(model, rows):
        loc_here = model.posterior(x, context).loc
        noise = row_noise(uniform.to(loc_here), loc_here, mixing.to(loc_here))
        for k, bound in enumerate((elbo, importance_bound)):
            bounds[k] += float(bound(model, x, noise, context).cpu().double().sum())
    mean_elbo, mean_importance = bounds / len(loc) + rows.log_jacobian()
    rng = np.random.RandomState(random_state)
    kl = kl_per_component(loc, scale)
    gaps = reconstruction_gaps(model, rows, max(1, n_draws // 8), rng)
    return Diagnosis(
        n_samples=len(loc),
        n_draws=int(n_draws),
        kl_per_component=_frozen(kl),
        floor_per_component=_frozen(model.posterior_layer.component_floors()),
        distortion=float(-mean_elbo - kl.sum()),
        importance_bound=float(mean_importance),
        mutual_information=mutual_information(loc, scale, rng),
        shuffled_gap=gaps.shuffled,
        prior_gap=gaps.prior,
        moments=AggregatedMoments(*map(_frozen, aggregated_moments(loc, scale))),
        energy_distance=energy_distance(loc, scale, rng),
    )


# -- the result ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found over some rows; every information in nats per row.

    Printed, it is a table; in a notebook, too.

    Parameters
    ----------
    n_samples : int
        Rows.
    n_draws : int
        Codes drawn for each row in ELBO and importance bound.
    kl_per_component : ndarray of shape (n_components,)
        Mean KL of each component.
    floor_per_component : ndarray of shape (n_components,)
        The least it can be over the *training* rows, whose moments are matched.
    distortion : float
        Negative reconstruction, ``-E log p(x|z)``, in the units of the data.
    importance_bound : float
        Mean importance-weighted bound on log p(x), in the units of the data.
    mutual_information : float
        Estimate of what the code says about which row it came from, at most log n_samples.
    shuffled_gap, prior_gap : float
        Reconstruction lost with the codes of other rows, and with codes from the prior.
    moments : AggregatedMoments
        Of the aggregated posterior.
    energy_distance : float
        Of the aggregated posterior from the prior: 0 for none, at most 1; no unit.

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
    def rate(self):
        """Mean KL of all components together: what the code costs."""
        return float(self.kl_per_component.sum())

    @property
    def elbo(self):
        """Mean ELBO, ``-distortion - rate``, in the units of the data."""
        return -self.distortion - self.rate

    @property
    def active_units(self):
        """Number of live components, whose mean varies by more than 0.01 over the rows."""
        return int(self._live().sum())

    @property
    def dead_components(self):
        """Indices of the others, a tuple of int."""
        return tuple(np.flatnonzero(~self._live()).tolist())

    @property
    def saturated(self):
        """Whether the number of rows hides half a nat of the mutual information or more."""
        return missing_information(self.mutual_information, self.n_samples) > SATURATED_BY

    @property
    def participation_ratio(self):
        """Number of directions that the code uses: see `participation_ratio`."""
        return _participation(self.moments.signal)

    @property
    def effective_rank(self):
        """Participation ratio of the live components, each scaled to variance 1.

        Unlike `participation_ratio` it falls short of their number only if they repeat each
        other, not because one is stronger than another.
        """
        return _participation(self._correlation())

    @property
    def repeated_components(self):
        """Indices of live components that repeat an earlier one, a tuple of int.

        Their means are correlated by more than 0.95, or less than -0.95.
        """
        repeats = np.abs(np.tril(self._correlation(), -1)).max(1, initial=0.0)
        return tuple(np.flatnonzero(self._live())[repeats > REPEATED_CORRELATION].tolist())

    @property
    def verdict(self):
        """What all this means, in words.

        "collapsed" if no component is live or the rate is below 0.05 nats. Otherwise "alive", or
        "partly dead" with the names of the dead components; then what else is the matter:

        - "ignored by the decoder" if shuffling the codes loses less than a tenth of their
          mutual information;
        - "the components say the same thing" if their effective rank is at most a quarter of
          their number, or 1.1; else which of them repeat others, if any do;
        - "saturated" if the rows are too few to show the mutual information.
        """
        if not self.active_units or self.rate < COLLAPSED_RATE:
            return "collapsed"
        faults = list(self._faults())
        dead = self.dead_components
        if dead:
            verdict = "; ".join([f"partly dead: {_named(dead)}", *faults])
        elif faults:
            but = " but " if faults[0].startswith("ignored") else ", but "
            verdict = "alive" + but + "; ".join(faults)
        else:
            verdict = "alive"
        if self.saturated:
            verdict += f"; saturated at log {self.n_samples} = {np.log(self.n_samples):.1f} nats"
        return verdict

    def _faults(self):
        information = max(self.mutual_information, LEAST_INFORMATION)
        if self.shuffled_gap < HEARD_SHARE * information:
            yield "ignored by the decoder"
        n_live = self.active_units
        if n_live == 1 or self.n_samples < FEWEST_ROWS:
            return
        rank, repeated = self.effective_rank, self.repeated_components
        # Rows span no more directions than there are of them.
        if rank <= max(SAME_RANK, SAME_SHARE * min(n_live, self.n_samples - 1)):
            yield f"the components say the same thing (effective rank {rank:.1f} of {n_live})"
        elif repeated:
            yield f"{_named(repeated)} repeat{'s' * (len(repeated) == 1)} others"

    def _live(self):
        return np.diag(self.moments.signal) > LIVE_VARIANCE

    def _correlation(self):
        """Of the means of the live components."""
        live = self._live()
        signal = self.moments.signal[np.ix_(live, live)]
        scale = np.sqrt(np.diag(signal))
        return signal / np.outer(scale, scale)

    def _summary(self):
        """Name, value and remark of each line."""
        d = len(self.kl_per_component)
        limit = f"nats, of at most log {self.n_samples} = {np.log(self.n_samples):.2f}"
        moments = self.moments
        return [
            ("rate", f"{self.rate:.3f}", f"nats, floor {self.floor_per_component.sum():.3f}"),
            ("distortion", f"{self.distortion:.3f}", "nats"),
            ("ELBO", f"{self.elbo:.3f}", "nats"),
            ("importance bound", f"{self.importance_bound:.3f}", f"nats, {self.n_draws} draws"),
            (
                "mutual information",
                f"{self.mutual_information:.3f}",
                limit + (": saturated" if self.saturated else ""),
            ),
            ("lost by shuffled codes", f"{self.shuffled_gap:.3f}", "nats"),
            ("lost by codes of the prior", f"{self.prior_gap:.3f}", "nats"),
            ("live components", f"{self.active_units}", f"of {d}"),
            ("participation ratio", f"{self.participation_ratio:.2f}", f"of {d}"),
            ("aggregated |mean|", f"{moments.mean_error:.3f}", "largest; prior 0"),
            ("aggregated |variance - 1|", f"{moments.variance_error:.3f}", "largest; prior 0"),
            ("aggregated |covariance|", f"{moments.covariance_error:.3f}", "largest; prior 0"),
            ("energy distance", f"{self.energy_distance:.4f}", "of 1; prior 0"),
        ]

    def _components(self):
        """Index, KL, floor and variance of the mean of each component."""
        columns = self.kl_per_component, self.floor_per_component, np.diag(self.moments.signal)
        return [
            (str(j), *(f"{value:.3f}" for value in values))
            for j, values in enumerate(zip(*columns, strict=True))
        ]

    def __repr__(self):
        summary = self._summary()
        names, values = (max(len(row[k]) for row in summary) for k in (0, 1))
        lines = [f"Diagnosis of {self.n_samples} rows: {self.verdict}", ""]
        lines += [f"{name:{names}}  {value:>{values}}  {note}" for name, value, note in summary]
        components = self._components()
        if len(components) > 16:
            components = [*components[:8], ("...",) * 4, *components[-8:]]
        lines += ["", "component        KL     floor  Var mean   (KL and floor in nats)"]
        lines += [f"{j:>9}{kl:>10}{floor:>10}{var:>10}" for j, kl, floor, var in components]
        return "\n".join(lines)

    def _repr_html_(self):
        header = "component", "KL (nats)", "floor (nats)", "variance of the mean"
        return (
            f"<p><b>Diagnosis of {self.n_samples} rows:</b> {escape(self.verdict)}</p>"
            f"<table>{_html_rows('td', self._summary())}</table>"
            f"<details><summary>Components</summary><table>{_html_rows('th', [header])}"
            f"{_html_rows('td', self._components())}</table></details>"
        )


def warn_if_collapsed(kl, travel):
    """Warn if a fit ended with a dead code, whose rate is below 0.05 nats.

    A fit too short to tell gives no warning: plain VAEs start near 0, and rise from there only
    after some steps.

    Parameters
    ----------
    kl : ndarray of shape (n_components,)
        Mean KL of each component over the training rows, in nats.
    travel : float
        How far the weights could move: steps taken times learning rate.

    Warns
    -----
    PosteriorCollapseWarning
        If the code is dead and the fit was not too short.

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
        f"The code collapsed: its rate is {rate:.2g} nats, all components together, and "
        "transform(X) says no more than that about X. "
        "posterior='moment' gives each component a floor, set by tau; in a plain VAE a smaller "
        "beta, more epochs (max_iter) or a weaker decoder may help. If the posterior has a floor "
        "already, its encoder cannot tell the rows apart: look for identical rows, constant "
        "columns or a tau near 0. See diagnose(X).",
        PosteriorCollapseWarning,
    )


# -- small parts -----------------------------------------------------------------------------


def _rows(name, array):
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"{name} must have the shape (n_samples, n_components), neither of them 0; "
            f"got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return array


def _posteriors(loc, scale):
    loc, scale = _rows("loc", loc), _rows("scale", scale)
    if loc.shape != scale.shape:
        raise ValueError(
            f"loc and scale must have the same shape; got {loc.shape} and {scale.shape}"
        )
    if scale.min() <= 0:
        raise ValueError(f"scale must be positive, as a standard deviation; got {scale.min():g}")
    return loc, scale


def _at_least_two(loc):
    if len(loc) < 2:
        raise ValueError(f"At least 2 rows are needed to compare them; got {len(loc)}")


def _covariance(loc):
    return np.cov(loc, rowvar=False, bias=True).reshape(loc.shape[1], -1)


def _participation(covariance):
    """(tr C)^2 / tr C^2, and 0 for C = 0."""
    largest = np.abs(covariance).max(initial=0.0)
    if largest == 0:
        return 0.0
    covariance = covariance / largest  # whose squares neither overflow nor vanish
    return float(np.trace(covariance) ** 2 / np.square(covariance).sum())


def _total_distance(a, b):
    return sum(cdist(a[rows], b).sum() for rows in chunk_slices(len(a), len(b)))


def _random_state(random_state):
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    return np.random.RandomState(random_state)


def _derangement(n, rng):
    """A random permutation that leaves nothing in place: a cycle through all."""
    order = rng.permutation(n)
    partner = np.empty(n, dtype=int)
    partner[order] = np.roll(order, 1)
    return partner


def _batches(model, rows):
    return rows.in_order(model.prior().loc.dtype)


def _array(tensor):
    return tensor.cpu().double().numpy()


def _frozen(array):
    array = np.array(array, dtype=np.float64)
    array.flags.writeable = False
    return array


def _named(indices, most=8):
    noun = "component" if len(indices) == 1 else "components"
    rest = f" and {len(indices) - most} more" * (len(indices) > most)
    return f"{noun} {', '.join(map(str, indices[:most]))}{rest}"


def _html_rows(tag, rows):
    cells = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for row in rows)
    return "".join(f"<tr>{row}</tr>" for row in cells)
