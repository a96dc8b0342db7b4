"""The start of a linear model: the result of factor analysis.

Without hidden layers, a VAE with a Gaussian likelihood is factor analysis. The EM algorithm reaches
its maximum likelihood in a second, gradient steps take minutes. So training starts at that maximum.
The code can be rotated without changing the likelihood; the start is the rotation for which the
posterior has independent components, the only one that the encoder can express::

    W' diag(1/psi) W = diag(l)
    q(z_j|x) = N(w_j' diag(1/psi) (x - mean) / (1 + l_j), 1 / (1 + l_j))
"""

import warnings

import numpy as np
import torch
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from skvae.likelihoods import GaussianLikelihood
from skvae.posteriors import Posterior

MOST_ROWS = 10_000  # for factor analysis; enough for a start


def start_linear(module, X, units):
    """Set a linear model to the result of factor analysis.

    Nothing is done unless the model is linear and Gaussian, and the training rows X are an array
    without missing cells that has more rows than columns. The model sees X in the `units`.
    """
    if not (_is_linear(module) and isinstance(X, np.ndarray) and len(X) > X.shape[1]):
        return
    x = units.tensor(X[:: -(-len(X) // MOST_ROWS)], torch.float64).numpy()
    if not np.isfinite(x).all():
        return
    weights, noise, strength = factors(x, module.posterior_layer.n_components)
    n, d = len(strength), module.posterior_layer.n_components
    readout = (weights / noise[:, None]).T / (1 + strength[:, None])
    decoder, heads, likelihood = (
        module.decoder.layers[0],
        module.posterior_layer.heads,
        module.likelihood_layer,
    )
    with torch.no_grad():
        decoder.weight[:, :n] = torch.from_numpy(weights)
        decoder.bias.zero_()
        heads.weight[:n] = torch.from_numpy(readout)
        heads.weight[d : d + n] = 0.0
        heads.bias[:n] = 0.0
        heads.bias[d : d + n] = -torch.from_numpy(np.log1p(strength))
        free = torch.from_numpy(noise) - likelihood.scale_floor.double().square()
        likelihood.log_scale.copy_(free.clamp_min(1e-12).log() / 2 / likelihood.pace)


def factors(x, n_components):
    """Return the factors of centered rows in the rotation whose posterior is diagonal.

    The result is the factors that carry any signal, of shape (n_columns, n_factors), the variance
    of the noise of each column, and the ratio of signal to noise in each component of the code, in
    descending order.
    """
    analysis = FactorAnalysis(min(n_components, x.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is only a start
        analysis.fit(x)
    weights, noise = analysis.components_.T, analysis.noise_variance_
    strength, rotation = np.linalg.eigh((weights / noise[:, None]).T @ weights)
    kept = np.flatnonzero(strength > 1e-3)[::-1]
    return weights @ rotation[:, kept], noise, strength[kept]


def _is_linear(module):
    """Return whether a model is linear and Gaussian, and made of the estimator's own networks."""
    posterior, likelihood = module.posterior_layer, module.likelihood_layer
    return (
        type(likelihood) is GaussianLikelihood
        and not likelihood.constant.any()
        and not likelihood.missing
        and isinstance(posterior, Posterior)
        and type(posterior).spread is Posterior.spread
        and not list(module.encoder.parameters())
        and [type(layer) for layer in getattr(module.decoder, "layers", ())] == [torch.nn.Linear]
        and module.decoder.layers[0].in_features == posterior.n_components
    )
