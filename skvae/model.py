"""The variational autoencoder: encoder, posterior, decoder, likelihood and prior as one module."""

import torch
from torch import nn


class VAE(nn.Module):
    """Three distributions: q(z|x), p(x|z) and p(z).

    Parameters
    ----------
    encoder : Module
        From rows (n_samples, n_features) to features.
    posterior : skvae.posteriors.Posterior
        From features to q(z|x).
    decoder : Module
        From codes (n_samples, n_components) to the likelihood's outputs.
    likelihood : skvae.likelihoods.Likelihood
        From outputs to p(x|z).
    prior : Module
        Returns p(z) when called.

    Notes
    -----
    `context`, where the methods take it, is what encoder and decoder are told beside x and z.

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
    """

    def __init__(self, encoder, posterior, decoder, likelihood, prior):
        super().__init__()
        self.encoder = encoder
        self.posterior_layer = posterior
        self.decoder = decoder
        self.likelihood_layer = likelihood
        self.prior_layer = prior

    def features(self, x, context=None):
        """Encode rows, short of the posterior.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows, in the units of the networks.
        context : Tensor of shape (n_samples, n_context), optional
            What the encoder is told beside them.

        Returns
        -------
        Tensor of shape (n_samples, in_features)
            What the posterior takes.
        """
        inputs = self.likelihood_layer.inputs(x)
        return self.encoder(inputs) if context is None else self.encoder(inputs, context)

    def posterior(self, x, context=None, weight=None):
        """Return q(z|x).

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows, in the units of the networks.
        context : Tensor of shape (n_samples, n_context), optional
            What the encoder is told beside them.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows in the batch's moments.

        Returns
        -------
        Normal
            Of batch shape (n_samples, n_components).
        """
        return self.posterior_layer(self.features(x, context), weight)

    def likelihood(self, z, context=None):
        """Return p(x|z).

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.
        context : Tensor of shape (n_samples, n_context), optional
            What the decoder is told beside them.

        Returns
        -------
        Distribution
            Of batch shape (n_samples,) and event shape (n_features,).
        """
        return self.likelihood_layer(
            self.decoder(z) if context is None else self.decoder(z, context)
        )

    def prior(self):
        """Return p(z).

        Returns
        -------
        Normal
            Of batch shape (n_components,).
        """
        return self.prior_layer()

    def noise(self, x, generator):
        """Draw the noise of one code for every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            The rows.
        generator : torch.Generator
            Source of the noise, on the device of the rows.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Standard normal.
        """
        shape, like = (len(x), self.posterior_layer.n_components), self.prior().loc
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    @torch.no_grad()
    def finalise(self, batches, previous=None):
        """Store the moments of all rows in the posterior, for evaluation.

        Parameters
        ----------
        batches : iterable of skvae.batches.Batch
            All rows.
        previous : skvae.posteriors.Moments, optional
            Moments to merge with, of rows seen before.
        """
        features = ((self.features(b.x, b.context), b.weight) for b in batches)
        self.posterior_layer.finalise(features, previous)
