"""BNVAEEstimator: the VAE as a scikit-learn transformer, density and generator."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from skvae.base import BaseVAE, module_of, width_of
from skvae.batches import Marginals, Units
from skvae.likelihoods import LIKELIHOODS
from skvae.model import VAE
from skvae.networks import ACTIVATIONS, MLP
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal


class BNVAEEstimator(BaseVAE):
    """Variational autoencoder whose code cannot collapse.

    Encoder and decoder are neural networks; between them stands a Gaussian posterior whose
    moments over the data are those of the prior, with at least `tau` of each component's unit
    second moment carried by its mean. So the mean KL is at least ``-d/2 log(1 - tau)`` nats:
    the code always says something about the row.

    Parameters
    ----------
    n_components : int, default=10
        Components ``d`` of the code.
    tau : float, default=0.5
        Lower bound, in (0, 1), of the share of signal in each component. A floor of ``R`` nats
        in total needs ``tau = 1 - exp(-2 R / d)``: see `skvae.bounds.tau_for_rate`.
    posterior : {"moment", "batchnorm", "batchnorm-mean", "gaussian", "layernorm", "delta"} or \
            callable, default="moment"
        How the posterior is made of the encoder's features: matched moments (the default), the
        article's and the paper's batch normalization, the plain VAE; and for comparison layer
        normalization and delta-VAE's constraint. A callable takes ``(in_features, n_components,
        tau)`` and returns a `skvae.posteriors.Posterior`.
    likelihood : {"gaussian", "bernoulli"} or callable, default="gaussian"
        Distribution of a row given its code. "gaussian" has one noise scale per feature and
        does not depend on the scale of the columns; "bernoulli" takes values in [0, 1]. A
        callable takes ``n_features`` and returns a `skvae.likelihoods.Likelihood`.
    hidden_layer_sizes : tuple of int, default=(128,)
        Units of the encoder's hidden layers; the decoder's are the reverse. ``()`` makes both
        linear.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of the hidden layers.
    encoder : callable or None, default=None
        Takes ``n_features`` and returns the `torch.nn.Module` to use as the encoder, from
        rows to features of any width. None builds one from `hidden_layer_sizes`.
    decoder : callable or None, default=None
        Takes ``(n_components, n_outputs)`` and returns the `torch.nn.Module` to use as the
        decoder. None builds one from `hidden_layer_sizes`.
    objective : {"elbo", "linear-annealing", "cyclical-annealing", "free-bits", \
            "lagging-encoder"} or skvae.objectives.Objective, default="elbo"
        What training maximises. The others are remedies of the literature, to compare with: a
        name stands for its defaults, an object such as ``FreeBits(nats=0.5)`` for its settings.
    beta : float, default=1.0
        Weight of the KL in the objective, on top of the objective's own schedule.
    learning_rate : float, default=1e-3
        Step of the Adam optimiser.
    batch_size : int or "auto", default="auto"
        Rows of a batch; the batches of an epoch differ by at most one row. "auto" is an eighth
        of the rows, but at least 32 and at most 128.
    max_iter : int, default=200
        Epochs. All of them are run unless `early_stopping` is set.
    early_stopping : bool, default=False
        Whether to set rows aside, stop when their ELBO no longer rises and go back to the
        best weights.
    validation_fraction : float, default=0.1
        Share of the rows set aside by `early_stopping`.
    n_iter_no_change : int, default=10
        Epochs without improvement after which `early_stopping` stops.
    tol : float, default=1e-4
        Rise of the ELBO, in nats per row, that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last call.
    checkpoint : str, PathLike or None, default=None
        File that `fit` writes after each epoch, and goes on from if it is there: with the same
        result, to the bit, as if it had not been interrupted. Where training was over, it has
        nothing to do; delete the file to start anew. A file of other parameters or other data is
        an error. `partial_fit` does without: use `save` there.
    device : str or torch.device, default="auto"
        "cpu", "cuda", "cuda:1", "mps" and so on; "auto" takes CUDA where it is available and
        the CPU elsewhere.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling and noise. Pass an int for reproducible results.
    verbose : int, default=0
        Prints the loss of every epoch if not 0. For progress bars and monitoring use
        scikit-learn's callbacks, ``set_callbacks(ProgressBar())``.

    Attributes
    ----------
    module_ : skvae.model.VAE
        The trained PyTorch module, in evaluation mode. It sees columns of mean 0 and variance 1
        if the likelihood is "gaussian".
    n_features_in_ : int
        Columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if they were all strings.
    n_iter_ : int
        Epochs run.
    loss_curve_ : list of float
        Mean negative objective of a row in each epoch, in nats.
    history_ : dict of list of float
        One value an epoch, means over the training rows in nats: "loss" (as `loss_curve_`), "rate"
        (KL), "distortion" (negative reconstruction), and the "kl_weight" they were trained with.
    validation_scores_ : list of float
        Mean objective of the rows set aside, in nats; with `early_stopping` only.
    lower_bound_ : float
        Mean ELBO of the training rows after training, in nats, with one draw a row.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL of each component over the training rows, in nats.
    kl_floor_ : float
        What tau guarantees for the sum of `kl_per_component_`, in nats. Rows that the encoder
        cannot tell apart have none.

    See Also
    --------
    sklearn.decomposition.FactorAnalysis : What this becomes with ``hidden_layer_sizes=()``.
    sklearn.decomposition.PCA : The linear code without noise per feature.

    Notes
    -----
    After training, the moments that the posterior is normalized with are computed once over
    all training rows. From then on a row's code depends on that row alone, the floor holds
    exactly for the training rows, and their code has mean 0.

    References
    ----------
    Zhu et al. (2020), *A batch normalized inference network keeps the KL vanishing away*, ACL
    2020, arXiv:2004.12585. Su (2020), *VAE + BN = a better VAE* (in Chinese),
    kexue.fm/archives/7381.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, tau=0.5, max_iter=20, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> bool(vae.kl_per_component_.sum() >= vae.kl_floor_)
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 4)
    """

    _parameter_constraints = {
        **BaseVAE._parameter_constraints,
        "likelihood": [StrOptions(set(LIKELIHOODS)), callable],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "encoder": [callable, None],
        "decoder": [callable, None],
    }

    def __init__(
        self,
        n_components=10,
        *,
        tau=0.5,
        posterior="moment",
        likelihood="gaussian",
        hidden_layer_sizes=(128,),
        activation="relu",
        encoder=None,
        decoder=None,
        objective="elbo",
        beta=1.0,
        learning_rate=1e-3,
        batch_size="auto",
        max_iter=200,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        checkpoint=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.tau = tau
        self.posterior = posterior
        self.likelihood = likelihood
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.encoder = encoder
        self.decoder = decoder
        self.objective = objective
        self.beta = beta
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- training --------------------------------------------------------------------------

    def _validate_rows(self, X, reset):
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        return validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32]
        )

    def _build(self, X):
        sizes = _sizes(self.hidden_layer_sizes)
        n_features, d = X.shape[1], self.n_components
        make_likelihood = LIKELIHOODS.get(self.likelihood, self.likelihood)
        likelihood = module_of("likelihood", make_likelihood, n_features)
        make_encoder = self.encoder or (lambda n: MLP(n, sizes, activation=self.activation))
        make_decoder = self.decoder or (
            lambda d, n: MLP(d, sizes[::-1], n, activation=self.activation)
        )
        encoder = module_of("encoder", make_encoder, n_features)
        width = width_of("encoder", encoder, n_features)
        decoder = module_of("decoder", make_decoder, d, likelihood.n_outputs)
        width_of("decoder", decoder, d, expected=likelihood.n_outputs)
        make_posterior = POSTERIORS.get(self.posterior, self.posterior)
        posterior = module_of("posterior", make_posterior, width, d, self.tau)
        return VAE(encoder, posterior, decoder, likelihood, StandardNormal(d))

    def _measure(self, module, X, weight):
        marginals = Marginals.of(X, weight)
        units = Units.identity(X.shape[1])
        if module.likelihood_layer.standardises:
            units = Units(marginals.mean, marginals.scale)
        mean = torch.from_numpy((marginals.mean - units.offset) / units.scale)
        module.likelihood_layer.start(mean, torch.from_numpy(marginals.constant))
        return units

    # -- using the code --------------------------------------------------------------------

    def inverse_transform(self, X):
        """Decode codes: the means of the likelihood, in the units of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Expected rows.
        """
        rows = self._infer_codes(X, lambda module, z, _: module.likelihood(z).mean)
        return self._units.array(rows)

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows: codes from the prior, rows from the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed of this call; None draws other rows each time.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the data.
        """
        rows = self._draw(n_samples, random_state, lambda module, z: module.likelihood(z).sample())
        return self._units.array(torch.cat(rows))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _sizes(hidden_layer_sizes):
    """Hidden layer sizes as a tuple, if they are sizes."""
    sizes = tuple(hidden_layer_sizes)
    if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must hold integers of at least 1; got {hidden_layer_sizes!r}. "
            "() makes the networks linear."
        )
    return sizes
