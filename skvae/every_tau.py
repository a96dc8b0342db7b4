"""One training for a whole range of tau: some weights of the model are functions of tau.

The moments of a batch come before the scales that tau fixes, so one encoder can serve every tau.
What changes with tau is what the code says and how it is read, and few weights are enough for
that. During training tau is another one for every batch; afterwards the model at any tau of the
range is a plain :class:`~skvae.model.VAE`, with its weights and moments worked out.
"""

import copy
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit, logit
from torch import nn

from skvae._fit.optimizer import Adam
from skvae.model import VAE
from skvae.objectives import Terms, mean_terms
from skvae.posteriors import MomentPosterior, Moments

GOLDEN_RATIO = (5**0.5 - 1) / 2
N_MOMENTS, N_TERMS = 33, 9  # nodes at which they are measured
N_RUNNING = 5  # nodes of the running moments: variances are polynomials of degree 4


class AtTau(NamedTuple):
    """A model of one tau, and what it reaches on the training rows.

    Parameters
    ----------
    module : skvae.model.VAE
        In evaluation mode.
    terms : skvae.objectives.Terms
        Mean reconstruction and mean KL of each component, in nats and in the networks' units.
    """

    module: VAE
    terms: Terms


class EveryTau(nn.Module):
    """A VAE for every tau of a range.

    The encoder does not depend on tau. The weights of the posterior, those of the decoder that
    read the code, and all biases of decoder and likelihood are parabolas along the logit of tau,
    which runs over ``t`` from -1 to 1::

        w(t) = w_0 + t w_1 + (3 t^2 - 1) / 2 w_2

    Parameters
    ----------
    module : skvae.model.VAE
        Where to start from; its weights are changed in place.
    low, high : float
        The range, 0 < low < high < 1.

    Attributes
    ----------
    told : list of Parameter
        The weights of the module that depend on tau.
    shared : list of Parameter
        All others.
    coefficients : Parameter of shape (3, n_told)
        ``w_0``, ``w_1`` and ``w_2`` of all told weights.

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
    >>> q = every.move(0.8).posterior(torch.randn(100, 5))
    >>> bool((q.loc.square().mean(0) >= 0.8).all())
    True
    """

    def __init__(self, module, low, high):
        super().__init__()
        self.module, self.low, self.high = module, low, high
        self._middle = (logit(low) + logit(high)) / 2
        self._reach = (logit(high) - logit(low)) / 2
        self.told = _told(module)
        told = {id(parameter) for parameter in self.told}
        trained = (p for p in module.parameters() if p.requires_grad)
        self.shared = [p for p in trained if id(p) not in told]
        start = torch.cat([p.detach().flatten() for p in self.told])
        self.coefficients = nn.Parameter(torch.stack([start, 0 * start, 0 * start]))
        self.moments = None
        for name, moment in zip(
            Moments._fields, module.posterior_layer.stored_moments(), strict=True
        ):
            shape = (N_RUNNING, *moment.shape)
            self.register_buffer(f"running_{name}", moment.detach().expand(shape).clone())

    @torch.no_grad()
    def stagger(self, spread=4.0):
        """Let the components begin at different shares of signal where tau is low.

        Where tau is high every component must speak. Where it is low some should and the others
        be still, and which ones is decided sooner if they do not start alike: there, the log of
        the signal-to-noise ratio of the first is `spread` above, of the last as much below.

        Parameters
        ----------
        spread : float, default=4.0
            In nats of the variance ratio.
        """
        posterior = self.module.posterior_layer
        if not isinstance(posterior, MomentPosterior):
            return
        bias = _place_of(posterior.heads.bias, self.told)
        log_variances = self.coefficients[:, bias][:, posterior.n_components :]
        ramp = torch.linspace(-spread / 2, spread / 2, posterior.n_components)
        log_variances[0] += ramp.to(log_variances)
        log_variances[1] -= ramp.to(log_variances)
        self.move(self.tau(0.0))

    def tau(self, t):
        """Return the tau at a place of the range.

        Parameters
        ----------
        t : float
            From -1 to 1.

        Returns
        -------
        float
            Between low and high.
        """
        return float(np.clip(expit(self._middle + self._reach * t), self.low, self.high))

    def draws(self, seed):
        """Yield one tau after the other, spread evenly however few are taken.

        Their places in the range have the arcsine distribution, which takes more from the ends: a
        polynomial is held there by neighbours on one side only.

        Parameters
        ----------
        seed : int
            Of the first.

        Yields
        ------
        float
            Without end.
        """
        share = np.random.RandomState(seed).rand()
        while True:
            share = (share + GOLDEN_RATIO) % 1.0
            yield self.tau(-np.cos(np.pi * share))

    @torch.no_grad()
    def move(self, tau):
        """Set the weights of the module to those of a tau.

        Parameters
        ----------
        tau : float
            In the range.

        Returns
        -------
        skvae.model.VAE
            The module, changed in place.
        """
        self._basis = self._polynomials(tau)
        _write(self._basis @ self.coefficients, self.told)
        self.module.posterior_layer.tau = tau
        return self.module

    @contextmanager
    def running(self):
        """Keep running moments for every tau inside, by what the posterior is given.

        They are kept at five nodes. Means and variances of the mean head are polynomials of a
        degree up to four, so that their values at any tau follow to rounding; the logarithm of
        the mean square is nearly one (within 0.5 percent on trained tables).
        """
        if not len(self.module.posterior_layer.mean):  # it needs none
            yield
            return
        handle = self.module.posterior_layer.register_forward_pre_hook(self._run)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _run(self, posterior, inputs):
        """Give the posterior the moments that it is to update, and update those of all tau."""
        features, *weight = inputs
        running = self.running_moments()
        posterior.store(_interpolated(running, self._t(posterior.tau)))
        share = posterior.share_of_batch()
        batch = Moments.of(*posterior.collect(*posterior.read(self._heads(features))), *weight)
        for stored, new in zip(running, running.mix(batch, share), strict=True):
            stored.copy_(new)

    def running_moments(self):
        """Return the running moments.

        Returns
        -------
        skvae.posteriors.Moments
            Views of the buffers, with the nodes along their first axis.
        """
        return Moments(*(getattr(self, f"running_{name}") for name in Moments._fields))

    def _heads(self, features):
        """The raw heads at the nodes of the running moments, along the second axis."""
        heads = self.module.posterior_layer.heads
        basis = torch.stack([self._polynomials(self.tau(t)) for t in _nodes(N_RUNNING)])
        weight, bias = (
            basis @ self.coefficients[:, _place_of(parameter, self.told)]
            for parameter in (heads.weight, heads.bias)
        )
        at_nodes = torch.nn.functional.linear(
            features, weight.view(-1, heads.in_features), bias.flatten()
        )
        return at_nodes.view(len(features), N_RUNNING, heads.out_features)

    def gradient(self, gradients):
        """Gradient of the coefficients, where the last `move` went.

        Parameters
        ----------
        gradients : list of Tensor
            Those of the told weights.

        Returns
        -------
        Tensor of shape (3, n_told)
            By the chain rule: an outer product.
        """
        return torch.outer(self._basis, torch.cat([gradient.flatten() for gradient in gradients]))

    @torch.no_grad()
    def finalise(self, batches, previous=None, n_nodes=N_MOMENTS):
        """Measure the moments of all rows, for every tau.

        The heads are linear in weights that are parabolas, so mean and variance of the first are
        polynomials in t and the mean square of the second is a mean of exponentials of parabolas:
        what lies between the nodes follows to rounding.

        Parameters
        ----------
        batches : iterable of skvae._data.rows.Batch
            All rows.
        previous : list of skvae.posteriors.Moments, optional
            Moments to merge with, of rows seen before.
        n_nodes : int, default=33
            Values of tau at which the moments are measured.
        """
        taus = [self.tau(t) for t in _nodes(n_nodes)]
        found = previous
        for x, weight, context in batches:
            features = self.module.features(x, context)
            layers = (self.move(tau).posterior_layer for tau in taus)
            parts = [layer.measure(features, weight) for layer in layers]
            found = (
                parts if found is None else [a.merge(b) for a, b in zip(found, parts, strict=True)]
            )
        if found is None:
            raise ValueError("finalise needs at least one batch of rows; got none")
        self.moments = found

    def measure(self, batches, generator):
        """Measure what the model reaches, for every tau; after `finalise`.

        Parameters
        ----------
        batches : callable
            Returns an iterable of `skvae._data.rows.Batch`, all rows, each time.
        generator : callable
            Returns a torch.Generator, the same each time.
        """
        self.reconstruction, self.excess = [], []
        for t in _nodes(N_TERMS):
            module = self.model(self.tau(t))
            terms = mean_terms(module, batches(), generator())
            self.reconstruction.append(float(terms.reconstruction))
            floors = module.posterior_layer.component_floors()
            self.excess.append(terms.kl.double().cpu().numpy() - floors)

    def at(self, tau):
        """Make the plain model of one tau and say what it reaches. After `measure`.

        Parameters
        ----------
        tau : float
            In the range.

        Returns
        -------
        AtTau
            The terms are exact at nine values of tau, the ends and the middle of the range among
            them, and interpolated between.
        """
        module, t = self.model(tau), self._t(tau)
        excess = np.array(self.excess)
        # Where the floor binds the excess is next to nothing: the polynomial must not go below.
        kl = np.maximum(_between(excess, t), excess.min(0))
        kl += module.posterior_layer.component_floors()
        return AtTau(module, Terms(float(_between(np.array(self.reconstruction), t)), kl))

    def model(self, tau):
        """Make the plain model of one tau; this one stays as it is. After `finalise`.

        Parameters
        ----------
        tau : float
            In the range.

        Returns
        -------
        skvae.model.VAE
            In evaluation mode.
        """
        module = copy.deepcopy(self.module).eval()
        with torch.no_grad():
            _write(self._polynomials(tau) @ self.coefficients, _told(module))
        module.posterior_layer.tau = tau
        module.posterior_layer.store(self._moments_at(tau))
        return module

    def _moments_at(self, tau):
        stacked = Moments(*(torch.stack(parts) for parts in zip(*self.moments, strict=True)))
        return _interpolated(stacked, self._t(tau))

    def _t(self, tau):
        return float(np.clip((logit(tau) - self._middle) / self._reach, -1.0, 1.0))

    def _polynomials(self, tau):
        t = self._t(tau)
        return self.coefficients.new_tensor([1.0, t, (3 * t * t - 1) / 2])


class RangeAdam:
    """Adam on an `EveryTau`, which it moves to another tau after every step.

    Running averages of the weights matter more here than elsewhere: they also leave out the noise
    that the changes of tau bring.

    Parameters
    ----------
    every : EveryTau
        What to train.
    learning_rate : float
        Size of a step.
    seed : int
        Of the taus.
    average : bool, default=False
        As of `Adam`.

    Attributes
    ----------
    parameters : list of Parameter
        The weights of the module, whose gradients `step` takes.
    n_steps : int
        Steps that were taken.
    """

    def __init__(self, every, learning_rate, seed, average=False):
        self.every, self.learning_rate = every, learning_rate
        self.adam = Adam([every.coefficients, *every.shared], learning_rate, average)
        self.parameters = [*every.told, *every.shared]
        self.seed = seed
        self.go_to(0)

    @property
    def averages(self):
        """As of `Adam`."""
        return self.adam.averages

    def step(self, gradients):
        """Move the weights down the gradients, and on to the next tau."""
        told = self.every.gradient(gradients[: len(self.every.told)])
        self.adam.step([told, *gradients[len(self.every.told) :]])
        self.n_steps += 1
        self.every.move(next(self.taus))

    def go_to(self, n_steps):
        """Have the tau that comes after a number of steps.

        Parameters
        ----------
        n_steps : int
            How many were taken.
        """
        self.n_steps, self.taus = n_steps, islice(self.every.draws(self.seed), n_steps, None)
        self.every.move(next(self.taus))

    def state(self):
        """As `Adam.state`."""
        return self.adam.state()

    def load(self, state):
        """As `Adam.load`."""
        self.adam.load(state)

    def travel(self):
        """As `Adam.travel`."""
        return self.adam.travel()


def _told(module):
    """The weights that depend on tau."""
    decoder, likelihood = module.decoder, module.likelihood_layer
    reading = [*decoder.parameters(), *likelihood.parameters()]
    told = [*module.posterior_layer.parameters(), *(p for p in reading if p.dim() < 2)]
    told += [*_code_weights(decoder), *likelihood.code_weights()]
    return [p for p in dict.fromkeys(told) if p.requires_grad]


def _code_weights(decoder):
    """The weights that multiply the code: what the decoder says, or the first that it has."""
    if not hasattr(decoder, "code_weights"):
        return [p for p in decoder.parameters() if p.dim() > 1][:1]
    declared, own = decoder.code_weights(), {*map(id, decoder.parameters())}
    if not isinstance(declared, list) or not own.issuperset(map(id, declared)):
        raise TypeError(
            f"{type(decoder).__name__}.code_weights() must return a list of the decoder's own "
            f"parameters; got {type(declared).__name__}"
        )
    return declared


def _place_of(parameter, parameters):
    """Where a parameter lies in all of them, flattened one after the other."""
    ends = np.cumsum([p.numel() for p in parameters]).tolist()
    number = [p is parameter for p in parameters].index(True)
    return slice(ends[number] - parameter.numel(), ends[number])


def _write(flat, parameters):
    parts = flat.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def _interpolated(moments, t):
    """Moments at t, of those at the nodes along the first axis."""
    mean_square = _between(moments.mean_square.log(), t).exp()
    mean, variance = _between(moments.mean, t), _between(moments.variance, t)
    return Moments(moments.weight[0], mean, variance, mean_square)


def _nodes(n):
    """Places of the extremes of a Chebyshev polynomial, from -1 to 1; the middle one is 0."""
    return np.sin(np.pi * np.arange(1 - n, n, 2) / (2 * (n - 1)))


def _between(values, t):
    """Value at t of the polynomial through values at the nodes (Salzer 1972)."""
    distance = t - _nodes(len(values))
    if not distance.all():
        return values[int(np.flatnonzero(distance == 0)[0])]
    weights = (-1.0) ** np.arange(len(values)) / distance
    weights[[0, -1]] /= 2
    weights /= weights.sum()
    if isinstance(values, torch.Tensor):
        return torch.tensordot(values.new_tensor(weights), values, 1)
    return np.tensordot(weights, values, 1)
