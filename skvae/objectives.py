"""What training maximizes and scores report: ELBO, its two terms and the importance bound, in nats.

Reconstruction and KL stay separate, with one value per row (and component), so that objectives
and diagnostics read the same numbers. Noise is an argument, so the caller decides what is random.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def elbo(self) -> torch.Tensor:
        """Reconstruction minus KL.

        Returns
        -------
        Tensor of shape (n_samples,)
            ELBO of each row.
        """
        return self.reconstruction - self.kl.sum(-1)

    def mean(self, weight: torch.Tensor | None = None) -> "Terms":
        """Average over the rows.

        Parameters
        ----------
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows, with mean 1 over the whole data.

        Returns
        -------
        Terms
            Mean reconstruction of shape (), and mean KL of shape (n_components,).
        """
        if weight is None:
            return Terms(self.reconstruction.mean(), self.kl.mean(0))
        n_rows = len(weight)
        return Terms(weight @ self.reconstruction / n_rows, weight @ self.kl / n_rows)


@dataclass(frozen=True)
class Objective:
    """Objective that training maximizes: mean reconstruction minus a weighted mean KL.

    This class is the ELBO. Subclasses are remedies against posterior collapse, which change the
    weight of the KL over the course of training (`kl_weight`) or the amount of KL that counts
    (`penalty`).

    Examples
    --------
    >>> import torch
    >>> from skvae.objectives import Objective, Terms
    >>> terms = Terms(torch.tensor(-2.0), torch.tensor([0.5, 0.0]))
    >>> float(Objective()(terms))
    -2.5
    """

    def kl_weight(self, progress: float) -> float:
        """Weight of the KL after a share of the training.

        Parameters
        ----------
        progress : float
            Share of the training's steps that have been taken, in [0, 1].

        Returns
        -------
        float
            Weight in [0, 1], and 1 from `constant_from` on.
        """
        return 1.0

    @property
    def constant_from(self) -> float:
        """Share of the training after which the weight of the KL stays at 1."""
        return 0.0

    def penalty(self, kl: torch.Tensor) -> torch.Tensor:
        """Penalty for the KL, which the objective subtracts from the reconstruction.

        Parameters
        ----------
        kl : Tensor of shape (n_components,)
            Mean KL of each component over the batch.

        Returns
        -------
        Tensor of shape ()
            Penalty in nats.
        """
        return kl.sum()

    def __call__(self, terms: Terms, weight: float = 1.0) -> torch.Tensor:
        """Value of the objective for the result of `Terms.mean` and a weight of the KL."""
        return terms.reconstruction - weight * self.penalty(terms.kl)


@dataclass(frozen=True)
class LinearAnnealing(Objective):
    """ELBO with a weight of the KL that rises linearly from 0 to 1 (Bowman et al. 2016).

    Parameters
    ----------
    fraction : float, default=0.5
        Share of the training over which the weight rises, in (0, 1]. Every fit that runs to the
        end therefore reaches the ELBO.

    Examples
    --------
    >>> from skvae.objectives import LinearAnnealing
    >>> [LinearAnnealing(fraction=0.5).kl_weight(share) for share in (0, 0.25, 0.5, 1)]
    [0.0, 0.5, 1.0, 1.0]
    """

    fraction: float = 0.5

    def __post_init__(self):
        _check_share("fraction", self.fraction)

    def kl_weight(self, progress: float) -> float:
        return min(1.0, progress / self.fraction)

    @property
    def constant_from(self) -> float:
        return self.fraction


@dataclass(frozen=True)
class CyclicalAnnealing(Objective):
    """ELBO with a weight of the KL that rises from 0 to 1 several times (Fu et al. 2019).

    See arXiv:1903.10145.

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

    def kl_weight(self, progress: float) -> float:
        if progress >= 1.0:
            return 1.0
        return min(1.0, (progress * self.n_cycles % 1.0) / self.fraction)

    @property
    def constant_from(self) -> float:
        return (self.n_cycles - 1 + self.fraction) / self.n_cycles


@dataclass(frozen=True)
class FreeBits(Objective):
    """ELBO in which some nats of KL cost nothing (Kingma et al. 2016).

    The penalty is ``sum_j max(nats, KL_j)`` for the mean KL over the batch. Below the threshold,
    the penalty neither lowers nor raises the KL of a component.

    Parameters
    ----------
    nats : float, default=0.25
        Amount of KL that is free, for each component or for all together.
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

    def penalty(self, kl: torch.Tensor) -> torch.Tensor:
        kl = kl if self.per == "component" else kl.sum()
        return kl.clamp_min(self.nats).sum()


def _check_share(name, value):
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} must lie in (0, 1]; got {value!r}")


OBJECTIVES = {
    "elbo": Objective(),
    "linear-annealing": LinearAnnealing(),
    "cyclical-annealing": CyclicalAnnealing(),
    "free-bits": FreeBits(),
}


def elbo_terms(
    model: Any,
    x: torch.Tensor,
    noise: torch.Tensor,
    context: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> Terms:
    """Compute reconstruction at ``z = mu + sigma * noise``, and the KL in closed form.

    Parameters
    ----------
    model : skvae.model.VAE
        Model that gives posterior, likelihood and prior.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_samples, n_components) or (1, n_components)
        Standard normal noise of one draw, as `VAE.noise` draws it.
    context, weight : Tensor, optional
        Context and weights of the rows, which `VAE.posterior` describes.

    Returns
    -------
    Terms
        Both terms in nats.
    """
    q = model.posterior(x, context, weight)
    z = q.loc + q.scale * noise
    return Terms(model.likelihood(z, context).log_prob(x), kl_divergence(q, model.prior()))


def elbo(
    model: Any, x: torch.Tensor, noise: torch.Tensor, context: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute the ELBO, with a mean reconstruction over the draws and the KL in closed form.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        Standard normal noise.
    context : Tensor, optional
        Context of the rows, which `VAE.posterior` describes.

    Returns
    -------
    Tensor of shape (n_samples,)
        ELBO of each row, in nats.
    """
    q = model.posterior(x, context)
    codes = (q.loc + q.scale * draw for draw in noise)
    reconstructions = [model.likelihood(z, context).log_prob(x) for z in codes]
    kl = kl_divergence(q, model.prior())
    return Terms(torch.stack(reconstructions).mean(0), kl).elbo()


def shared_draws(n_draws: int, n_components: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the two arguments of `row_noise` that all rows share.

    Parameters
    ----------
    n_draws, n_components : int
        Number of draws for each row, and number of components of the code.
    seed : int
        Seed of the draws.

    Returns
    -------
    uniform : Tensor of shape (n_draws, 1, n_components)
        Draws from the uniform distribution on [0, 1), in double precision.
    mixing : Tensor of shape (n_components, n_components)
        Normal draws that spread typical codes over some units, in double precision.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = (n_draws, 1, n_components), (n_components, n_components)
    uniform = torch.rand(shapes[0], generator=generator, dtype=torch.float64)
    mixing = torch.randn(shapes[1], generator=generator, dtype=torch.float64)
    return uniform, mixing * (3 / n_components**0.5)


def row_noise(uniform: torch.Tensor, code: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """Make standard normal noise for every row, which depends only on the row's own code.

    With the same noise for all rows, the score of a row would depend on that row alone, but the
    error would not average out over the rows. Here each row shifts the shared draws ``u`` by an
    amount of its own, ``Phi^-1((u + s) mod 1)`` with ``s = code @ mixing`` (Cranley & Patterson
    1976). The noise of every row is exactly standard normal, because u is uniform, and nearly
    independent of that of the other rows.

    Parameters
    ----------
    uniform : Tensor of shape (n_draws, 1, n_components)
        Draws from the uniform distribution on [0, 1).
    code : Tensor of shape (n_samples, n_components)
        Posterior means.
    mixing : Tensor of shape (n_components, n_components)
        Factors that spread the codes over some units.

    Returns
    -------
    Tensor of shape (n_draws, n_samples, n_components)
        Standard normal noise.
    """
    tiny = torch.finfo(code.dtype).eps
    return torch.special.ndtri(((uniform + code @ mixing) % 1.0).clamp(tiny, 1.0 - tiny))


def importance_bound(
    model: Any, x: torch.Tensor, noise: torch.Tensor, context: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute the importance-weighted bound on log p(x) (Burda et al. 2016).

    ``log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)``. Its expectation over the draws is at most
    log p(x), never decreases in K, and is the ELBO for K = 1.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        Standard normal noise. With that of `row_noise`, the bound of a row depends on no other
        row.
    context : Tensor, optional
        Context of the rows, which `VAE.posterior` describes.

    Returns
    -------
    Tensor of shape (n_samples,)
        Bound for each row, in nats.
    """
    draws = _weighted_likelihoods(model, x, noise, context)
    log_weights = torch.stack([log_weight for _, log_weight in draws])
    return log_weights.logsumexp(0) - math.log(len(noise))


def _weighted_likelihoods(model, x, noise, context):
    """Yield, for each draw, the likelihood at its codes and the log of its importance weights."""
    q, p = model.posterior(x, context), model.prior()
    for draw in noise:
        z = q.loc + q.scale * draw
        # The draw stands for (z - mu) / sigma, which rounding would destroy for a tiny sigma.
        log_q = -(q.scale.log() + 0.5 * (draw.square() + LOG_2_PI)).sum(-1)
        likelihood = model.likelihood(z, context)
        yield likelihood, likelihood.log_prob(x) + p.log_prob(z).sum(-1) - log_q


def conditional_mean(
    model: Any, x: torch.Tensor, noise: torch.Tensor, context: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute expected rows given their observed cells, by importance weights (MIWAE).

    ``sum_k w_k E[x|z_k]`` with ``w_k`` proportional to ``p(x_obs|z_k) p(z_k) / q(z_k|x_obs)``, the
    weights of `importance_bound`. For many draws this is ``E[x|x_obs]`` under the model, whatever
    the encoder (Mattei & Frellsen 2019, arXiv:1812.02633).

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    x : Tensor of shape (n_samples, n_features)
        Rows, in the units of the networks; NaN where missing.
    noise : Tensor of shape (n_draws, n_samples, n_components) or (n_draws, 1, n_components)
        Standard normal noise.
    context : Tensor, optional
        Context of the rows, which `VAE.posterior` describes.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        Expected values of all cells, missing or observed; for categories the most probable one.
    """
    layer = model.likelihood_layer
    largest, total, expected = -torch.inf, 0.0, 0.0
    # The softmax is a running one, because the expected rows of all draws would not fit in memory.
    for likelihood, log_weight in _weighted_likelihoods(model, x, noise, context):
        previous = largest
        largest = torch.maximum(log_weight, torch.as_tensor(largest).to(log_weight))
        rescale, weight = (previous - largest).exp(), (log_weight - largest).exp()
        total = total * rescale + weight
        expected = expected * rescale[:, None] + weight[:, None] * layer.expectation(likelihood)
    return layer.point_estimate(expected / total[:, None])


@torch.no_grad()
def row_terms(model: Any, batches: Iterable[Any], generator: torch.Generator) -> Terms:
    """Compute reconstruction and KL of every row of batches, with one draw per row."""
    terms = [elbo_terms(model, x, model.noise(x, generator), context) for x, _, context in batches]
    return Terms(*(torch.cat(parts) for parts in zip(*terms, strict=True)))


@torch.no_grad()
def mean_terms(model: Any, batches: Iterable[Any], generator: torch.Generator) -> Terms:
    """Compute weighted means of reconstruction and KL over all rows, with one draw per row.

    Parameters
    ----------
    model : skvae.model.VAE
        Model in evaluation mode.
    batches : iterable of skvae._data.rows.Batch
        Mini-batches that cover all rows.
    generator : torch.Generator
        Source of the noise.

    Returns
    -------
    Terms
        Mean reconstruction of shape (), and mean KL of shape (n_components,), in nats.
    """
    total = Terms(0.0, 0.0)
    n_rows = 0.0
    for x, weight, context in batches:
        terms = elbo_terms(model, x, model.noise(x, generator), context)
        weight = torch.ones_like(terms.reconstruction) if weight is None else weight
        total = Terms(
            total.reconstruction + weight @ terms.reconstruction, total.kl + weight @ terms.kl
        )
        n_rows += float(weight.sum())
    return Terms(total.reconstruction / n_rows, total.kl / n_rows)


BOUNDS = {"importance": importance_bound, "elbo": elbo}
