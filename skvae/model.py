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
        """What the encoder makes of rows `x`."""
        return self.encoder(x) if context is None else self.encoder(x, context)

    def posterior(self, x, context=None, weight=None):
        """q(z|x), of batch shape (n_samples, n_components)."""
        return self.posterior_layer(self.features(x, context), weight)

    def likelihood(self, z, context=None):
        """p(x|z), of batch shape (n_samples,)."""
        return self.likelihood_layer(
            self.decoder(z) if context is None else self.decoder(z, context)
        )

    def prior(self):
        """p(z), of batch shape (n_components,)."""
        return self.prior_layer()

    def noise(self, x, generator):
        """Standard normal noise for one code of every row of `x`."""
        shape = len(x), self.posterior_layer.n_components
        return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)

    @torch.no_grad()
    def finalise(self, batches, previous=None):
        """Store the moments of all rows in the posterior; `batches` as in `skvae.batches`."""
        features = ((self.features(b.x, b.context), b.weight) for b in batches)
        self.posterior_layer.finalise(features, previous)
