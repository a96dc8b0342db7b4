"""One model for a whole range of tau: some of its weights are functions of tau.

In training every batch has another tau; afterwards the model at any tau of the range is a plain
:class:`~skvae.model.VAE`, with its weights and moments worked out.
"""

import copy
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit
from torch import nn
from torch.func import functional_call
from torch.nn.functional import linear

from skvae.model import VAE
from skvae.objectives import Terms, mean_terms
from skvae.posteriors import MomentPosterior, Moments

GOLDEN_RATIO = (5**0.5 - 1) / 2
N_MOMENTS, N_TERMS = 33, 9  # nodes at which moments and terms of the ELBO are measured
N_RUNNING = 5  # nodes of the running moments, since variances are polynomials of degree 4


class EveryTau(nn.Module):
    """A VAE for every tau of a range.

    The encoder does not depend on tau. The weights of the posterior, those of the decoder that
    multiply the code, and all biases of decoder and likelihood are parabolas along the logit of
    tau, which runs over ``t`` from -1 to 1::

        w(t) = w_0 + t w_1 + (3 t^2 - 1) / 2 w_2

    Parameters
    ----------
    module : skvae.model.VAE
        The VAE whose weights are the starting point at every tau.
    low, high : float
        Ends of the range, 0 < low < high < 1.

    Attributes
    ----------
    tau : float
        The tau of the last call; in training every call takes another one.
    places : dict of str to (int, int)
        First and last place in `coefficients` of each weight that depends on tau, by its name in
        `module`.
    coefficients : Parameter of shape (3, n_weights)
        ``w_0``, ``w_1`` and ``w_2`` of all weights that depend on tau.

    Examples
    --------
    >>> import torch
    >>> from skvae.every_tau import EveryTau
    >>> from skvae.likelihoods import GaussianLikelihood
    >>> from skvae.model import VAE
    >>> from skvae.networks import MLP
    >>> from skvae.posteriors import MomentPosterior
    >>> from skvae.priors import StandardNormal
    >>> vae = VAE(
    ...     MLP(5, (8,)), MomentPosterior(8, 2), MLP(2, (8,), 5), GaussianLikelihood(5),
    ...     StandardNormal(2),
    ... )
    >>> every = EveryTau(vae, 0.05, 0.95)
    >>> terms = every(torch.randn(100, 5), torch.randn(100, 2))
    >>> bool(terms.kl.sum(1).mean() >= -0.5 * 2 * torch.tensor(1 - every.tau).log())
    True
    """

    def __init__(self, module: VAE, low: float, high: float) -> None:
        super().__init__()
        self.module, self.low, self.high = module, low, high
        self._middle = (logit(low) + logit(high)) / 2
        self._half_range = (logit(high) - logit(low)) / 2
        weights = _weights_of_tau(module)
        ends = np.cumsum([weight.numel() for weight in weights.values()]).tolist()
        starts = [0, *ends[:-1]]
        self.places = dict(zip(weights, zip(starts, ends, strict=True), strict=True))
        self._matrices = [
            self.places[name]
            for name, weight in weights.items()
            if name.startswith(("decoder.", "likelihood_layer.")) and weight.dim() > 1
        ]
        start = torch.cat([weight.detach().flatten() for weight in weights.values()])
        self.coefficients = nn.Parameter(torch.stack([start, 0 * start, 0 * start]))
        for weight in weights.values():
            weight.requires_grad_(False)  # the coefficients are trained in their place
        # Of all rows, at nodes of the range; set by `finalise` and by `_measure_terms`.
        self.moments = self.reconstruction = self.excess = None
        for name, moment in zip(
            Moments._fields, module.posterior_layer.stored_moments(), strict=True
        ):
            shape = (N_RUNNING, *moment.shape)
            self.register_buffer(f"running_{name}", moment.detach().expand(shape).clone())
        self.tau = self.tau_at(0.0)
        self._restart(0)

    @property
    def posterior_layer(self) -> MomentPosterior:
        """The posterior of the VAE."""
        return self.module.posterior_layer

    # -- tau along the range ---------------------------------------------------------------

    def tau_at(self, t: float) -> float:
        """Return the tau at a place of the range.

        Parameters
        ----------
        t : float
            Place from -1 to 1.

        Returns
        -------
        float
            Tau between low and high.
        """
        return float(np.clip(expit(self._middle + self._half_range * t), self.low, self.high))

    def _place_of(self, tau):
        """Return the place from -1 to 1 of a tau in the range."""
        return float(np.clip((logit(tau) - self._middle) / self._half_range, -1.0, 1.0))

    def _restart(self, seed):
        """Begin a training, whose taus are those of a seed."""
        self.n_steps, self._first = 0, np.random.RandomState(seed).rand()

    def _tau_of_step(self, number):
        """Return the tau of a training step, spread evenly however few steps are taken.

        The places have the arcsine distribution, which is denser at the ends of the range, because
        a polynomial is determined there by neighbors on one side only.
        """
        share = (self._first + (number + 1) * GOLDEN_RATIO) % 1.0
        return self.tau_at(-np.cos(np.pi * share))

    # PyTorch keeps this state in the `state_dict`, beside parameters and buffers.
    def get_extra_state(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps, "first": self._first}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.n_steps, self._first = int(state["n_steps"]), float(state["first"])

    # -- weights and running moments as functions of tau -----------------------------------

    def forward(
        self,
        x: torch.Tensor,
        noise: torch.Tensor,
        context: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
    ) -> Terms:
        """Return the two terms of the ELBO of every row, at the tau of this step.

        Parameters
        ----------
        x, noise, context, weight : Tensor
            Arguments of `skvae.objectives.elbo_terms`.

        Returns
        -------
        skvae.objectives.Terms
            Reconstruction and KL, in nats.
        """
        if self.training:
            self.tau = self._tau_of_step(self.n_steps)
            self.n_steps += 1
        self.posterior_layer.tau = self.tau
        weights = self._weights(self.tau)
        with self._running_moments_of_all():
            return functional_call(self.module, weights, (x, noise, context, weight))

    def _weights(self, tau):
        """Return the weights that depend on tau, by their names in the VAE."""
        flat = self._polynomials(tau) @ self.coefficients
        shapes = dict(self.module.named_parameters())
        return {
            name: flat[slice(*place)].view_as(shapes[name]) for name, place in self.places.items()
        }

    def _polynomials(self, tau):
        t = self._place_of(tau)
        return self.coefficients.new_tensor([1.0, t, (3 * t * t - 1) / 2])

    def _coefficients_of(self, name):
        return self.coefficients[:, slice(*self.places[name])]

    @contextmanager
    def _running_moments_of_all(self):
        """Update the running moments of every tau when the block calls the posterior.

        They are kept at five nodes. Means and variances of the mean head are polynomials of degree
        four at most, so their values at any tau follow from the nodes up to rounding. The logarithm
        of the mean square is nearly such a polynomial (within 0.5 percent on the measured tables).
        """
        if not self.training or not len(self.posterior_layer.mean):  # nothing to update
            yield
            return
        handle = self.posterior_layer.register_forward_pre_hook(self._update_running)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _update_running(self, posterior, inputs):
        """Give the posterior the moments of its tau to update, and update those of all nodes."""
        features, *weight = inputs
        running = self._running_moments()
        posterior._store(_interpolated(running, self._place_of(posterior.tau)))
        share = posterior._share_of_batch()
        batch = Moments.of(*posterior.collect(*posterior._read(self._heads(features))), *weight)
        for stored, new in zip(running, running._mixed(batch, share), strict=True):
            stored.copy_(new)

    def _running_moments(self):
        """Return the running moments at the nodes, which are their first axis."""
        return Moments(*(getattr(self, f"running_{name}") for name in Moments._fields))

    def _heads(self, features):
        """Return the raw heads at the nodes of the running moments, along the second axis."""
        heads = self.posterior_layer.heads
        basis = torch.stack([self._polynomials(self.tau_at(t)) for t in nodes(N_RUNNING)])
        weight, bias = (
            basis @ self._coefficients_of(f"posterior_layer.heads.{name}")
            for name in ("weight", "bias")
        )
        at_nodes = linear(features, weight.view(-1, heads.in_features), bias.flatten())
        return at_nodes.view(len(features), N_RUNNING, heads.out_features)

    @torch.no_grad()
    def stagger(self, log_ratio: float = 4.0) -> None:
        """Let the components begin at different shares of signal where tau is low.

        Where tau is high, every component must carry signal. Where it is low, only some should, and
        training decides sooner which ones if they do not start alike. So the logarithm of the
        signal-to-noise ratio starts `log_ratio` higher for the first component and as much lower
        for the last.

        Parameters
        ----------
        log_ratio : float, default=4.0
            Amount by which the logarithm of the first component's ratio starts higher.
        """
        posterior = self.posterior_layer
        if not isinstance(posterior, MomentPosterior):
            return
        bias = self._coefficients_of("posterior_layer.heads.bias")
        log_variances = bias[:, posterior.n_components :]
        ramp = torch.linspace(-log_ratio / 2, log_ratio / 2, posterior.n_components)
        log_variances[0] += ramp.to(log_variances)
        log_variances[1] -= ramp.to(log_variances)

    @torch.no_grad()
    def _shrink(self, share):
        """Shrink the matrices that depend on tau by a share: the weight decay of these matrices."""
        for start, end in self._matrices:
            self.coefficients[:, start:end] *= 1.0 - share

    # -- after training --------------------------------------------------------------------

    def at_tau(self, tau: float) -> VAE:
        """Return the plain VAE of one tau; this model stays as it is.

        Parameters
        ----------
        tau : float
            Tau in the range.

        Returns
        -------
        skvae.model.VAE
            In evaluation mode; after `finalise`, with the moments of all rows.
        """
        module = self._with_weights(copy.deepcopy(self.module), tau)
        module.posterior_layer.tau = tau
        if self.moments is not None:
            stacked = Moments(*(torch.stack(parts) for parts in zip(*self.moments, strict=True)))
            module.posterior_layer._store(_interpolated(stacked, self._place_of(tau)))
        return module

    @torch.no_grad()
    def _with_weights(self, module, tau, prefix=""):
        """Give a copy of the VAE, or of a part of it, the weights of a tau."""
        weights = self._weights(tau)
        for name, parameter in module.named_parameters():
            if prefix + name in weights:
                parameter.copy_(weights[prefix + name]).requires_grad_()
        return module.eval()

    @torch.no_grad()
    def finalise(
        self, batches: Iterable[Any], previous: Moments | None = None, n_nodes: int = N_MOMENTS
    ) -> None:
        """Measure the moments of all rows, for every tau.

        The heads are linear in weights that are parabolas in t. So mean and variance of the first
        are polynomials in t, and the mean square of the second is a mean of exponentials of
        parabolas. The values between the nodes follow from those at the nodes up to rounding.

        Parameters
        ----------
        batches : iterable of skvae._data.rows.Batch
            All rows.
        previous : list of skvae.posteriors.Moments, optional
            Moments of the rows of former calls, to merge with.
        n_nodes : int, default=33
            Number of values of tau at which the moments are measured.
        """
        self.moments = None
        layers = []
        for tau in map(self.tau_at, nodes(n_nodes)):
            layer = copy.deepcopy(self.posterior_layer)
            layers.append(self._with_weights(layer, tau, "posterior_layer."))
            layer.tau = tau
        found = previous
        for x, weight, context in batches:
            features = self.module.features(x, context)
            parts = [layer._measured(features, weight) for layer in layers]
            found = (
                parts if found is None else [a.merge(b) for a, b in zip(found, parts, strict=True)]
            )
        if found is None:
            raise ValueError("finalise needs at least one batch of rows; got none")
        self.moments = found

    def _measure_terms(self, batches, generator):
        """Measure the mean terms of all rows at nine values of tau; after `finalise`.

        `batches` and `generator` are functions that return all rows, and the same noise, each time.
        """
        self.reconstruction, self.excess = [], []
        for t in nodes(N_TERMS):
            module = self.at_tau(self.tau_at(t))
            terms = mean_terms(module, batches(), generator())
            self.reconstruction.append(float(terms.reconstruction))
            floors = module.posterior_layer.component_floors()
            self.excess.append(terms.kl.double().cpu().numpy() - floors)

    def _at_tau_with_terms(self, tau):
        """Return the plain VAE of one tau and its mean terms; after `_measure_terms`.

        The terms are exact at nine values of tau, the ends and the middle of the range among them,
        and interpolated between.
        """
        module, t = self.at_tau(tau), self._place_of(tau)
        excess = np.array(self.excess)
        # Where the floor binds, the excess is almost 0, and the polynomial must not undershoot it.
        kl = np.maximum(_between(excess, t), excess.min(0))
        kl += module.posterior_layer.component_floors()
        return module, Terms(float(_between(np.array(self.reconstruction), t)), kl)


def _weights_of_tau(module):
    """Return the parameters of a VAE that depend on tau, by name."""
    decoder, likelihood = module.decoder, module.likelihood_layer
    reading = [*decoder.parameters(), *likelihood.parameters()]
    chosen = [*module.posterior_layer.parameters(), *(p for p in reading if p.dim() < 2)]
    chosen += [*_code_weights(decoder), *likelihood.code_weights()]
    ids = {id(p) for p in chosen if p.requires_grad}
    return {name: p for name, p in module.named_parameters() if id(p) in ids}


def _code_weights(decoder):
    """Return the weights that multiply the code: those the decoder names, or its first matrix."""
    if not hasattr(decoder, "code_weights"):
        return [p for p in decoder.parameters() if p.dim() > 1][:1]
    declared, own = decoder.code_weights(), {*map(id, decoder.parameters())}
    if not isinstance(declared, list) or not own.issuperset(map(id, declared)):
        raise TypeError(
            f"{type(decoder).__name__}.code_weights() must return a list of the decoder's own "
            f"parameters; got {type(declared).__name__}"
        )
    return declared


def _interpolated(moments, t):
    """Return the moments at t, interpolated between those at the nodes, their first axis."""
    mean_square = _between(moments.mean_square.log(), t).exp()
    mean, variance = _between(moments.mean, t), _between(moments.variance, t)
    return Moments(moments.weight[0], mean, variance, mean_square)


def nodes(n):
    """Return n Chebyshev nodes, from -1 to 1 inclusive; for an odd n the middle one is 0."""
    return np.sin(np.pi * np.arange(1 - n, n, 2) / (2 * (n - 1)))


def _between(values, t):
    """Return the value at t of the polynomial through the values at the nodes (Salzer 1972)."""
    distance = t - nodes(len(values))
    if not distance.all():
        return values[int(np.flatnonzero(distance == 0)[0])]
    weights = (-1.0) ** np.arange(len(values)) / distance
    weights[[0, -1]] /= 2
    weights /= weights.sum()
    if isinstance(values, torch.Tensor):
        return torch.tensordot(values.new_tensor(weights), values, 1)
    return np.tensordot(weights, values, 1)
