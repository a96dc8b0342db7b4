"""What is maximised and reported: reconstruction, KL, ELBO and the importance bound, in nats.

Reconstruction and KL arrive separately, one value a row (and component), so that weights and
diagnostics read the same numbers. Noise is an argument: the caller decides what is random.
"""

import math
from dataclasses import dataclass
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

    def elbo(self):
        """Reconstruction less KL.

        Returns
        -------
        Tensor of shape (n_samples,)
            The ELBO of every row.
        """
        return self.reconstruction - self.kl.sum(-1)

    def mean(self, weight=None):
        """Average over the rows.

        Parameters
        ----------
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows, of mean 1 over all rows there are.

        Returns
        -------
        Terms
            Of a single reconstruction, and of one KL a component.
        """
        if weight is None:
            return Terms(self.reconstruction.mean(), self.kl.mean(0))
        n_rows = len(weight)
        return Terms(weight @ self.reconstruction / n_rows, weight @ self.kl / n_rows)


@dataclass(frozen=True)
class Objective:
    """What training maximises: mean reconstruction less a weighted mean KL.

    This one is the ELBO; subclasses are remedies against KL vanishing that change the weight of
    the KL over the course of training (`kl_weight`), what counts as KL (`penalty`) or how many
    steps the encoder is ahead (`encoder_steps`).

    Examples
    --------
    >>> import torch
    >>> from skvae.objectives import Objective, Terms
    >>> terms = Terms(torch.tensor(-2.0), torch.tensor([0.5, 0.0]))
    >>> float(Objective()(terms))
    -2.5
    """

    @property
    def encoder_steps(self):
        """Extra steps of the encoder before each step, while its information still grows."""
        return 0

    def kl_weight(self, progress):
        """Weight of the KL after a share of the training, from 0 to 1.

        Parameters
        ----------
        progress : float
            Share of the training's steps that have been taken, in [0, 1].

        Returns
        -------
        float
            In [0, 1], and 1 from `settled` on.
        """
        return 1.0

    @property
    def settled(self):
        """Share of the training after which the weight stays at 1."""
        return 0.0

    def penalty(self, kl):
        """What is deducted, of the mean KL of each component.

        Parameters
        ----------
        kl : Tensor of shape (n_components,)
            Mean KL of each component over the batch.

        Returns
        -------
        Tensor of shape ()
            In nats.
        """
        return kl.sum()

    def __call__(self, terms, weight=1.0):
        """Value of mean terms, as of `Terms.mean`, at a weight of the KL."""
        return terms.reconstruction - weight * self.penalty(terms.kl)


@dataclass(frozen=True)
class LinearAnnealing(Objective):
    """The KL's weight rises linearly from 0 to 1 (Bowman et al. 2016).

    Parameters
    ----------
    fraction : float, default=0.5
        Share of the training over which it rises, in (0, 1]. So it always ends within the fit.

    Examples
    --------
    >>> from skvae.objectives import LinearAnnealing
    >>> [LinearAnnealing(fraction=0.5).kl_weight(share) for share in (0, 0.25, 0.5, 1)]
    [0.0, 0.5, 1.0, 1.0]
    """

    fraction: float = 0.5

    def __post_init__(self):
        _check_share("fraction", self.fraction)

    def kl_weight(self, progress):
        return min(1.0, progress / self.fraction)

    @property
    def settled(self):
        return self.fraction


@dataclass(frozen=True)
class CyclicalAnnealing(Objective):
    """The KL's weight rises from 0 to 1 several times (Fu et al. 2019, arXiv:1903.10145).

    Parameters
    ----------
    n_cycles : int, default=4
        Number of cycles.
    fraction : float, default=0.5
        Share of each cycle over which the weight rises, in (0, 1]; for the rest it is 1.

    Examples
    --------
    >>> from skvae.objectives import CyclicalAnnealing
    >>> [CyclicalAnnealing().kl_weight(share / 16) for share in (0, 1, 2, 3, 4, 5)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    n_cycles: int = 4
    fraction: float = 0.5

    def __post_init__(self):
        if self.n_cycles < 1:
            raise ValueError(f"n_cycles must be at least 1; got {self.n_cycles!r}")
        _check_share("fraction", self.fraction)

    def kl_weight(self, progress):
        if progress >= 1.0:
            return 1.0
        return min(1.0, (progress * self.n_cycles % 1.0) / self.fraction)

    @property
    def settled(self):
        return (self.n_cycles - 1 + self.fraction) / self.n_cycles


@dataclass(frozen=True)
class FreeBits(Objective):
    """Nats that cost nothing (Kingma et al. 2016): ``sum_j max(nats, KL_j)``.

    A component below the threshold has no reason to fall further, and none to rise. The KL is
    the batch's mean.

    Parameters
    ----------
    nats : float, default=0.25
        What is free, for each component or for all together.
    per : {"component", "code"}, default="component"
        Whether the threshold holds for each component's KL or for their sum.

    Examples
    --------
    >>> import torch
    >>> from skvae.objectives import FreeBits
    >>> kl = torch.tensor([0.5, 0.0])
    >>> float(FreeBits(0.25).penalty(kl)), float(FreeBits(0.25, per="code").penalty(kl))
    (0.75, 0.5)
    """

    nats: float = 0.25
    per: str = "component"

    def __post_init__(self):
        if not self.nats >= 0.0:
            raise ValueError(f"nats must be at least 0; got {self.nats!r}")
        if self.per not in ("component", "code"):
            raise ValueError(f"per must be 'component' or 'code'; got {self.per!r}")

    def penalty(self, kl):
        kl = kl if self.per == "component" else kl.sum()
        return kl.clamp_min(self.nats).sum()


@dataclass(frozen=True)
class LaggingEncoder(Objective):
    """Extra steps of the encoder, so that it does not lag behind the decoder (He et al. 2019).

    Before each step of the whole, encoder and posterior alone take `n_steps` on other batches,
    until the mutual information of code and row, taken after each epoch over up to 500 training
    rows, has not risen. arXiv:1901.05534.

    Parameters
    ----------
    n_steps : int, default=10
        Extra steps.

    Examples
    --------
    >>> from skvae.objectives import LaggingEncoder
    >>> LaggingEncoder().encoder_steps
    10
    """

    n_steps: int = 10

    def __post_init__(self):
        if self.n_steps < 1:
            raise ValueError(f"n_steps must be at least 1; got {self.n_steps!r}")

    @property
    def encoder_steps(self):
        return self.n_steps


def _check_share(name, value):
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} must lie in (0, 1]; got {value!r}")


OBJECTIVES = {
    "elbo": Objective(),
    "linear-annealing": LinearAnnealing(),
    "cyclical-annealing": CyclicalAnnealing(),
    "free-bits": FreeBits(),
    "lagging-encoder": LaggingEncoder(),
}


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


def shared_draws(n_draws, n_components, seed):
    """The two arguments of `row_noise` that all rows share.

    Parameters
    ----------
    n_draws, n_components : int
        Draws for each row, and components of the code.
    seed : int
        Of both.

    Returns
    -------
    tuple of Tensor
        `uniform` of shape (n_draws, 1, n_components) and `mixing` of shape (n_components,
        n_components), in double precision.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = (n_draws, 1, n_components), (n_components, n_components)
    uniform = torch.rand(shapes[0], generator=generator, dtype=torch.float64)
    mixing = torch.randn(shapes[1], generator=generator, dtype=torch.float64)
    return uniform, mixing * (3 / n_components**0.5)


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
    log_weights = torch.stack([nats for _, nats in _weighted_codes(model, x, noise, context)])
    return log_weights.logsumexp(0) - math.log(len(noise))


def _weighted_codes(model, x, noise, context):
    """Yield the likelihood at each draw's codes, and the log of the draw's importance weight."""
    q, p = model.posterior(x, context), model.prior()
    for draw in noise:
        z = q.loc + q.scale * draw
        # log q(z|x) from the draw itself: (z - mu) / sigma is lost to rounding for a tiny sigma
        log_q = -(q.scale.log() + 0.5 * (draw.square() + LOG_2_PI)).sum(-1)
        likelihood = model.likelihood(z, context)
        yield likelihood, likelihood.log_prob(x) + p.log_prob(z).sum(-1) - log_q


def conditional_mean(model, x, noise, context=None):
    """Expected rows given the cells that are there, by importance weights (MIWAE).

    ``sum_k w_k E[x|z_k]`` with ``w_k`` in proportion to ``p(x_there|z_k) p(z_k) / q(z_k|x_there)``,
    the weights of `importance_bound`; for many draws ``E[x|x_there]`` under the model, whatever
    the encoder. Mattei and Frellsen 2019, arXiv:1812.02633.

    Parameters
    ----------
    model : skvae.model.VAE
        The model, in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks; NaN where missing.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        As in `importance_bound`.
    context : Tensor, optional
        As in `VAE.posterior`.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        Expected values, of categories the most probable: of missing cells and of the others.
    """
    layer = model.likelihood_layer
    highest, total, expected = -torch.inf, 0.0, 0.0
    # A running softmax: what all draws expect would not fit the memory.
    for likelihood, nats in _weighted_codes(model, x, noise, context):
        before, highest = highest, torch.maximum(nats, torch.as_tensor(highest).to(nats))
        fading, weight = (before - highest).exp(), (nats - highest).exp()
        total = total * fading + weight
        expected = expected * fading[:, None] + weight[:, None] * layer.expectation(likelihood)
    return layer.point_estimate(expected / total[:, None])


@torch.no_grad()
def mean_terms(model, batches, generator):
    """Weighted means of reconstruction and KL over all rows, with one draw a row.

    Parameters
    ----------
    model : skvae.model.VAE
        The model, in evaluation mode.
    batches : iterable of skvae._data.rows.Batch
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
