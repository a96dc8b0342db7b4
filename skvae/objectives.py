"""What is maximised and reported: reconstruction, KL, ELBO and the importance bound, in nats.

Reconstruction and KL arrive separately, one value a row (and component), so that weights and
diagnostics read the same numbers. Noise is an argument: the caller decides what is random.
"""

import math
from typing import NamedTuple

import torch
from torch.distributions import kl_divergence

LOG_2_PI = math.log(2 * math.pi)


class Terms(NamedTuple):
    """The two terms of the ELBO, in nats.

    Parameters
    ----------
    reconstruction : Tensor of shape (n_samples,)
        ``log p(x|z)``.
    kl : Tensor of shape (n_samples, n_components)
        ``KL(q(z_j|x) || p(z_j))``.
    """

    reconstruction: torch.Tensor
    kl: torch.Tensor

    def elbo(self, beta=1.0):
        """Weigh and add them: ``log p(x|z) - beta KL``.

        Parameters
        ----------
        beta : float, default=1.0
            Weight of the KL.

        Returns
        -------
        Tensor of shape (n_samples,)
            The ELBO of every row if beta is 1.
        """
        return self.reconstruction - beta * self.kl.sum(-1)


def elbo_terms(model, x, noise, context=None, weight=None):
    """Reconstruction at ``z = mu + sigma * noise``, and the KL in closed form.

    Parameters
    ----------
    model : skvae.model.VAE
        The model.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_samples, n_components) or (1, n_components)
        Standard normal noise: one draw.
    context, weight : Tensor, optional
        As in `VAE.posterior`.

    Returns
    -------
    Terms
        In nats.
    """
    q = model.posterior(x, context, weight)
    z = q.loc + q.scale * noise
    return Terms(model.likelihood(z, context).log_prob(x), kl_divergence(q, model.prior()))


def elbo(model, x, noise, context=None):
    """The ELBO, its reconstruction averaged over the draws and its KL in closed form.

    Parameters
    ----------
    model : skvae.model.VAE
        The model, in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        Standard normal noise.
    context : Tensor, optional
        As in `VAE.posterior`.

    Returns
    -------
    Tensor of shape (n_samples,)
        In nats.
    """
    q = model.posterior(x, context)
    codes = (q.loc + q.scale * draw for draw in noise)
    reconstructions = [model.likelihood(z, context).log_prob(x) for z in codes]
    kl = kl_divergence(q, model.prior())
    return Terms(torch.stack(reconstructions).mean(0), kl).elbo()


def row_noise(uniform, code, mixing):
    """Standard normal noise for every row, decided by the row's own code.

    Noise that all rows share makes a row's score depend on that row alone, but its error does
    not average out over the rows. Here each row turns the shared draws ``u`` by a shift of its
    own, ``Phi^-1((u + s) mod 1)`` with ``s = code @ mixing`` (Cranley & Patterson 1976): for
    every row exactly standard normal, since u is uniform, and between rows nearly independent.

    Parameters
    ----------
    uniform : Tensor of shape (n_draws, 1, n_components)
        Draws from the uniform distribution on [0, 1).
    code : Tensor of shape (n_samples, n_components)
        Posterior means.
    mixing : Tensor of shape (n_components, n_components)
        Any numbers that spread the codes over some units.

    Returns
    -------
    Tensor of shape (n_draws, n_samples, n_components)
        The noise.
    """
    tiny = torch.finfo(code.dtype).eps
    return torch.special.ndtri(((uniform + code @ mixing) % 1.0).clamp(tiny, 1.0 - tiny))


def importance_bound(model, x, noise, context=None):
    """The importance-weighted bound on log p(x) (Burda et al. 2016).

    ``log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)``: in expectation over the draws at most log p(x),
    never decreasing in K, and with K = 1 the ELBO.

    Parameters
    ----------
    model : skvae.model.VAE
        The model, in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        Standard normal noise; `row_noise` makes it so that the bound of a row depends on no
        other row.
    context : Tensor, optional
        As in `VAE.posterior`.

    Returns
    -------
    Tensor of shape (n_samples,)
        In nats.
    """
    q, p = model.posterior(x, context), model.prior()

    def log_weight(draw):
        z = q.loc + q.scale * draw
        # log q(z|x) from the draw itself: (z - mu) / sigma is lost to rounding for a tiny sigma
        log_q = -(q.scale.log() + 0.5 * (draw.square() + LOG_2_PI)).sum(-1)
        return model.likelihood(z, context).log_prob(x) + p.log_prob(z).sum(-1) - log_q

    log_weights = torch.stack([log_weight(draw) for draw in noise])  # (n_draws, n_samples)
    return log_weights.logsumexp(0) - math.log(len(noise))


@torch.no_grad()
def mean_terms(model, batches, generator):
    """Weighted means of reconstruction and KL over all rows, with one draw a row.

    Parameters
    ----------
    model : skvae.model.VAE
        The model, in evaluation mode.
    batches : iterable of skvae.batches.Batch
        All rows.
    generator : torch.Generator
        Source of the noise.

    Returns
    -------
    Terms
        Of a single value, and of one a component; in nats.
    """
    total = Terms(0.0, 0.0)
    n_rows = 0.0
    for x, weight, context in batches:
        terms = elbo_terms(model, x, model.noise(x, generator), context)
        weight = torch.ones_like(terms.reconstruction) if weight is None else weight
        sums = weight @ terms.reconstruction, weight @ terms.kl
        total = Terms(*(old + new for old, new in zip(total, sums, strict=True)))
        n_rows += float(weight.sum())
    return Terms(*(sum_ / n_rows for sum_ in total))


BOUNDS = {"importance": importance_bound, "elbo": elbo}
