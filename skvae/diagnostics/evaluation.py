"""What a model makes of rows: posteriors, bounds, and the loss if codes are exchanged."""

from typing import NamedTuple

import numpy as np
import torch

from skvae._data.rows import Rows
from skvae._random import random_state_of
from skvae.diagnostics.measures import require_two_rows
from skvae.model import VAE
from skvae.objectives import elbo, importance_bound, row_noise, shared_draws


def require_draws(n_draws):
    """Refuse an evaluation without any draw."""
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1; got {n_draws}")


def _batches(model, rows):
    """Yield batches of all rows, in order and in the precision of the model."""
    return rows.in_order(model.prior().loc.dtype)


def _as_float64(tensor):
    """Return a tensor as an array in double precision."""
    return tensor.cpu().double().numpy()


def _total(tensor):
    """Return the sum of a tensor, in double precision."""
    return float(tensor.cpu().double().sum())


def _derangement(n, rng):
    """Return a random permutation that leaves nothing in place: one cycle through all places."""
    order = rng.permutation(n)
    partner = np.empty(n, dtype=int)
    partner[order] = np.roll(order, 1)
    return partner


@torch.no_grad()
def encode(model: VAE, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Compute means and standard deviations of the posteriors of all rows.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    rows : skvae._data.rows.Rows
        Rows to encode.

    Returns
    -------
    tuple of ndarray of shape (n_samples, n_components)
        Means `loc` and standard deviations `scale`, in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows, Units
    >>> from skvae.diagnostics import encode
    >>> X = np.random.RandomState(0).rand(50, 4)
    >>> vae = BNVAEEstimator(2, likelihood="bernoulli", max_iter=2, random_state=0).fit(X)
    >>> loc, scale = encode(vae.module_, Rows(X, Units.identity(4), None, "cpu"))
    >>> bool(np.allclose(loc, vae.transform(X)))
    True
    """
    posteriors = [model.posterior(batch.x, batch.context) for batch in _batches(model, rows)]
    loc = np.concatenate([_as_float64(q.loc) for q in posteriors])
    scale = np.concatenate([_as_float64(q.scale) for q in posteriors])
    return loc, scale


def noise_of_rows(model, x, context, n_draws, seed):
    """Return the noise of the draws for each row, a fixed function of the row and of the seed."""
    loc = model.posterior(x, context).loc
    uniform, mixing = shared_draws(n_draws, loc.shape[1], seed)
    return row_noise(uniform.to(loc), loc, mixing.to(loc))


@torch.no_grad()
def mean_bounds(model, rows, n_draws, seed):
    """Return mean ELBO and mean importance bound of rows, in nats and in the units of the data."""
    totals = np.zeros(2)
    for x, _, context in _batches(model, rows):
        noise = noise_of_rows(model, x, context, n_draws, seed)
        for k, bound in enumerate((elbo, importance_bound)):
            totals[k] += _total(bound(model, x, noise, context))
    return totals / len(rows) + rows.log_jacobian()


class Gaps(NamedTuple):
    """Loss of reconstruction with codes that are not the row's own, in nats per row.

    Parameters
    ----------
    shuffled : float
        Loss with the codes of other rows.
    prior : float
        Loss with codes drawn from the prior.
    """

    shuffled: float
    prior: float


@torch.no_grad()
def reconstruction_gaps(
    model: VAE,
    rows: Rows,
    n_draws: int = 1,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> Gaps:
    """Measure how much reconstruction is lost with codes that are not the row's own.

    The gaps are the mean of ``log p(x|z)`` over codes from the row's posterior, minus its mean
    over the codes of other rows, and minus its mean over codes from the prior. They show whether
    the decoder uses the code, which no KL can show. A decoder that knows ``p(x|z)`` exactly loses
    by shuffling the mutual information plus the reverse divergence, the KL divergence from the
    shuffled pairs of row and code to the original pairs.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    rows : skvae._data.rows.Rows
        At least two rows.
    n_draws : int, default=1
        Number of codes drawn for each row, and of times that the rows are shuffled. No row ever
        keeps its own code.
    random_state : int, RandomState, Generator or None, default=None
        Seed of draws and shuffling.

    Returns
    -------
    Gaps
        Gaps in nats per row, which do not depend on the units of the columns.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or if `n_draws` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import BNVAEEstimator
    >>> from skvae._data.rows import Rows, Units
    >>> from skvae.diagnostics import reconstruction_gaps
    >>> X = np.random.RandomState(0).randint(2, size=(100, 1)) * np.ones((1, 6))
    >>> vae = BNVAEEstimator(1, likelihood="bernoulli", max_iter=60, random_state=0).fit(X)
    >>> rows = Rows(X, Units.identity(6), None, "cpu")
    >>> reconstruction_gaps(vae.module_, rows, random_state=0).shuffled > 1
    True
    """
    require_draws(n_draws)
    loc, scale = encode(model, rows)
    require_two_rows(loc)
    rng = random_state_of(random_state)
    prior = model.prior()
    prior_loc, prior_scale = _as_float64(prior.loc), _as_float64(prior.scale)
    totals = np.zeros(3)
    for _ in range(n_draws):
        noise = rng.standard_normal(loc.shape)
        own = loc + scale * noise
        of_other_rows = own[_derangement(len(own), rng)]
        from_prior = prior_loc + prior_scale * noise
        totals += _total_log_likelihoods(model, rows, (own, of_other_rows, from_prior))
    with_own, with_others, with_prior = totals / (n_draws * len(loc))
    return Gaps(float(with_own - with_others), float(with_own - with_prior))


def _total_log_likelihoods(model, rows, code_sets):
    """Sum ``log p(x|z)`` over the rows for each set of codes, in one pass over the rows."""
    totals = np.zeros(len(code_sets))
    like_prior = model.prior().loc
    start = 0
    for x, _, context in _batches(model, rows):
        here = slice(start, start + len(x))
        start += len(x)
        for k, codes in enumerate(code_sets):
            z = torch.from_numpy(codes[here]).to(like_prior)
            totals[k] += _total(model.likelihood(z, context).log_prob(x))
    return totals
