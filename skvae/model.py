"""The variational autoencoder: encoder, posterior, decoder, likelihood and prior in one module."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution, Normal

from skvae.likelihoods import Likelihood
from skvae.objectives import Terms, elbo_terms
from skvae.posteriors import Moments, Posterior


class VAE(nn.Module):
    """A variational autoencoder: the distributions q(z|x), p(x|z) and p(z).

    `context`, where the methods take it, is a second input of encoder and decoder: conditions such
    as a label, beside x and z.

    Parameters
    ----------
    encoder : Module
        Network from rows (n_samples, n_features) to features.
    posterior : skvae.posteriors.Posterior
        Layer from features to q(z|x).
    decoder : Module
        Network from codes (n_samples, n_components) to the likelihood's outputs.
    likelihood : skvae.likelihoods.Likelihood
        Layer from outputs to p(x|z).
    prior : Module
        Module that returns p(z) when called.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import GaussianLikelihood
    >>> from skvae.model import VAE
    >>> from skvae.networks import MLP
    >>> from skvae.posteriors import MomentPosterior
    >>> from skvae.priors import StandardNormal
    >>> vae = VAE(
    ...     MLP(5, (8,)), MomentPosterior(8, 2), MLP(2, (8,), 5), GaussianLikelihood(5),
    ...     StandardNormal(2),
    ... )
    >>> x = torch.randn(10, 5)
    >>> z = vae.posterior(x).rsample()
    >>> vae.likelihood(z).log_prob(x).shape
    torch.Size([10])
    >>> vae(x, noise=torch.randn(10, 2)).elbo().shape
    torch.Size([10])
    """

    __call__: Callable[..., Terms]  # what type checkers know of a call

    def __init__(
        self,
        encoder: nn.Module,
        posterior: Posterior,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: nn.Module,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.posterior_layer = posterior
        self.decoder = decoder
        self.likelihood_layer = likelihood
        self.prior_layer = prior

    forward = elbo_terms  # a call, `vae(x, noise, context, weight)`, returns both terms of the ELBO

    def features(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Encode rows into the features that the posterior takes.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows, in the units of the networks.
        context : Tensor of shape (n_samples, n_context), optional
            Second input of the encoder.

        Returns
        -------
        Tensor of shape (n_samples, in_features)
            Features.
        """
        inputs = self.likelihood_layer.inputs(x)
        return self.encoder(inputs) if context is None else self.encoder(inputs, context)

    def posterior(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
    ) -> Normal:
        """Return q(z|x).

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows, in the units of the networks.
        context : Tensor of shape (n_samples, n_context), optional
            Second input of the encoder.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows in the batch's moments.

        Returns
        -------
        Normal
            Distribution of batch shape (n_samples, n_components).
        """
        return self.posterior_layer(self.features(x, context), weight)

    def likelihood(self, z: torch.Tensor, context: torch.Tensor | None = None) -> Distribution:
        """Return p(x|z).

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.
        context : Tensor of shape (n_samples, n_context), optional
            Second input of the decoder.

        Returns
        -------
        Distribution
            Distribution of batch shape (n_samples,) and event shape (n_features,).
        """
        return self.likelihood_layer(
            self.decoder(z) if context is None else self.decoder(z, context)
        )

    def prior(self) -> Normal:
        """Return p(z).

        Returns
        -------
        Normal
            Distribution of batch shape (n_components,).
        """
        return self.prior_layer()

    def noise(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw the noise of one code for every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows for which noise is drawn.
        generator : torch.Generator
            Source of the noise, on the device of the rows.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Standard normal noise.
        """
        shape, like = (len(x), self.posterior_layer.n_components), self.posterior_layer.weight
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    @torch.no_grad()
    def finalise(self, batches: Iterable[Any], previous: Moments | None = None) -> None:
        """Store the moments of all rows in the posterior, for evaluation.

        Parameters
        ----------
        batches : iterable of skvae._data.rows.Batch
            All rows.
        previous : skvae.posteriors.Moments, optional
            Moments to merge with, of rows seen before.
        """
        features = ((self.features(b.x, b.context), b.weight) for b in batches)
        self.posterior_layer.finalise(features, previous)


def module_of(name, build, *args, **options):
    """Return the module that `build` builds; refuse anything else."""
    if isinstance(build, nn.Module):
        raise TypeError(
            f"{name} must be a function that builds a module, so that each fit starts anew; got "
            f"a module, {type(build).__name__}. Pass its class, or a function returning it."
        )
    module = build(*args, **options)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name} must return a torch.nn.Module; {name}{args} returned a {type(module).__name__}"
        )
    vars(module)["_built_by"] = (name, args, options)  # for `skvae._fit.plain`, to call it again
    return module


def width_of(name, module, n_inputs, expected=None, n_context=0):
    """Return the number of columns of a network's output, found by a trial run."""
    was_training = module.training
    trial = [torch.zeros(2, n) for n in (n_inputs, n_context) if n]
    with torch.no_grad():
        shape = tuple(module.eval()(*trial).shape)
    module.train(was_training)
    if len(shape) != 2 or shape[0] != 2 or (expected is not None and shape[1] != expected):
        width = "anything" if expected is None else expected
        raise ValueError(
            f"{name} must map (n_samples, {n_inputs}) to (n_samples, {width}); "
            f"it mapped (2, {n_inputs}) to {shape}"
        )
    return shape[1]
