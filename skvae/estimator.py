"""BNVAEEstimator: the VAE as a scikit-learn transformer, density and generator."""

import copy
from functools import wraps
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import nn

from skvae.batches import Marginals, Rows, Units, chunk_slices
from skvae.diagnostics import diagnose, warn_if_collapsed
from skvae.fitting import Fit
from skvae.likelihoods import LIKELIHOODS
from skvae.model import VAE
from skvae.networks import ACTIVATIONS, MLP
from skvae.objectives import BOUNDS, OBJECTIVES, Objective, row_noise, shared_draws
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal
from skvae.training import EarlyStopping, borrowed_process, seeded


def _all_or_nothing(fit):
    """Leave the estimator as it was if `fit` does not reach its end."""

    @wraps(fit)
    def restoring_fit(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return restoring_fit


class BNVAEEstimator(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
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

    _doc_link_module = "skvae"
    _doc_link_template = "https://skvae.readthedocs.io/en/stable/api/skvae.{estimator_name}.html"

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tau": [Interval(Real, 0, 1, closed="neither")],
        "posterior": [StrOptions(set(POSTERIORS)), callable],
        "likelihood": [StrOptions(set(LIKELIHOODS)), callable],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "encoder": [callable, None],
        "decoder": [callable, None],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "beta": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
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
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- training --------------------------------------------------------------------------

    @_all_or_nothing
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Train on `X`.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the objective and in the moments.

        Returns
        -------
        self : BNVAEEstimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used, or if the objective became infinite or
            NaN. The estimator is then as it was before the call.
        """
        again = self.warm_start and hasattr(self, "module_")
        return self._fit(X, y, sample_weight, n_epochs=self.max_iter, again=again)

    @_all_or_nothing
    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch on `X`, going on from the last call.

        The units of the columns are those of the first call. The moments are merged with
        those of former calls, whose weight is at most nine times that of this one, because
        the encoder has moved on since.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the objective and in the moments.

        Returns
        -------
        self : BNVAEEstimator
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`.
        """
        again = hasattr(self, "module_")
        return self._fit(X, y, sample_weight, n_epochs=1, again=again, partial=True)

    def _fit(self, X, y, sample_weight, *, n_epochs, again, partial=False):
        self._validate_params()
        device = _device(self.device)
        X = self._validate_rows(X, reset=not again)
        y = X if y is None else y  # what an autoencoder is to predict, for monitors that score
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        fit = self._prepare(X, sample_weight, device, n_epochs, again)
        if partial and again:
            fit.continue_from(self._optimizer_state)
        dtype = _precision(X.dtype, device)
        work = 3 * fit.batch_size * _n_weights(fit.module)
        with borrowed_process(work, device, fit.seed):
            for epoch in range(1, n_epochs + 1):
                task = context.subcontext(task_name="epoch")
                task.call_on_fit_task_begin(estimator=self, X=X, y=y)
                stop = fit.epoch()
                if self.verbose:
                    print(
                        f"[{type(self).__name__}] epoch {epoch}, loss {fit.history['loss'][-1]:.6g}"
                    )
                stop |= task.call_on_fit_task_end(
                    estimator=self,
                    X=X,
                    y=y,
                    reconstruction_attributes=lambda: self._attributes(fit, dtype),
                )
                if stop:
                    break
            attributes = self._attributes(fit, dtype)
        if again:
            for name, curve in attributes["history_"].items():
                curve[:0] = self.history_[name]
            attributes["validation_scores_"][:0] = self.validation_scores_
        vars(self).update(attributes)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        if not partial:
            warn_if_collapsed(self.kl_per_component_, fit.optimizer.travel())
        return self

    def _prepare(self, X, sample_weight, device, n_epochs, again=False):
        """Everything that changes during the fit, before its first epoch."""
        X, weight = _weighted(X, sample_weight)
        seeds = _random_state(self.random_state).randint(2**31 - 1, size=2).tolist()
        if again:  # else every call would meet the same noise
            seeds[1] = (seeds[1] + self.n_iter_) % 2**31
        module, units = self._resume() if again else self._start(X, weight, seeds[0])
        module.likelihood_layer.check_support(X.min(), X.max())
        rows = train = Rows(X, units, weight, device)
        aside = stopping = None
        if self.early_stopping:
            train, aside = self._set_aside(rows, seeds[1])
            stopping = EarlyStopping(self.n_iter_no_change, self.tol)
        return Fit(
            module.to(device),
            rows,
            train=train,
            aside=aside,
            objective=OBJECTIVES.get(self.objective, self.objective),
            beta=self.beta,
            n_epochs=n_epochs,
            learning_rate=self.learning_rate,
            batch_size=self._batch_size(len(train)),
            stopping=stopping,
            seed=seeds[1],
        )

    def _set_aside(self, rows, seed):
        n_aside = max(1, round(self.validation_fraction * len(rows)))
        if n_aside >= len(rows):
            raise ValueError(
                f"early_stopping=True sets {n_aside} of {len(rows)} rows aside and leaves none to "
                "train on. Lower validation_fraction, bring more rows or switch it off."
            )
        split = train_test_split(np.arange(len(rows)), test_size=n_aside, random_state=seed)
        return [rows.part(index) for index in split]

    def _attributes(self, fit, dtype):
        """What the estimator has learnt if training ends here."""
        fitted = fit.finished(dtype)
        return {
            "module_": fitted.module,
            "lower_bound_": fitted.lower_bound,
            "kl_per_component_": fitted.kl_per_component,
            "kl_floor_": fitted.kl_floor,
            "history_": {name: list(curve) for name, curve in fit.history.items()},
            "validation_scores_": list(fit.scores),
            "_units": fit.rows.units,
            "_optimizer_state": fit.optimizer.state(),
            "_seed": fit.seed,
        }

    def _validate_rows(self, X, reset):
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        return validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32]
        )

    def _start(self, X, weight, seed):
        """A module with new weights, and the units in which it sees the columns of X."""
        cpu = torch.device("cpu")  # so that the weights do not depend on the device
        with borrowed_process(0, cpu):
            module = seeded(lambda: self._build(X.shape[1]), seed, cpu)
        marginals = Marginals.of(X, weight)
        units = Units.identity(X.shape[1])
        if module.likelihood_layer.standardises:
            units = Units(marginals.mean, marginals.scale)
        mean = torch.from_numpy((marginals.mean - units.offset) / units.scale)
        module.likelihood_layer.start(mean, torch.from_numpy(marginals.constant))
        return module, units

    def _build(self, n_features):
        sizes = _sizes(self.hidden_layer_sizes)
        d = self.n_components
        make_likelihood = LIKELIHOODS.get(self.likelihood, self.likelihood)
        likelihood = _module("likelihood", make_likelihood, n_features)
        make_encoder = self.encoder or (lambda n: MLP(n, sizes, activation=self.activation))
        make_decoder = self.decoder or (
            lambda d, n: MLP(d, sizes[::-1], n, activation=self.activation)
        )
        encoder = _module("encoder", make_encoder, n_features)
        width = _width("encoder", encoder, n_features)
        decoder = _module("decoder", make_decoder, d, likelihood.n_outputs)
        _width("decoder", decoder, d, expected=likelihood.n_outputs)
        make_posterior = POSTERIORS.get(self.posterior, self.posterior)
        posterior = _module("posterior", make_posterior, width, d, self.tau)
        return VAE(encoder, posterior, decoder, likelihood, StandardNormal(d)).float()

    def _resume(self):
        """A copy of the trained module, to go on with; its units stay."""
        module = copy.deepcopy(self.module_).float().train()
        if module.posterior_layer.n_components != self.n_components:
            raise ValueError(
                "n_components must stay the same to go on with a fitted estimator: it has "
                f"{module.posterior_layer.n_components}, now {self.n_components} are asked for. "
                "Set it back, or clone the estimator."
            )
        module.posterior_layer.tau = self.tau
        return module, self._units

    @property
    def n_iter_(self):
        """Epochs run."""
        return len(self.history_["loss"])

    @property
    def loss_curve_(self):
        """Mean negative objective of a row in each epoch, in nats."""
        return self.history_["loss"]

    # -- using the code --------------------------------------------------------------------

    def transform(self, X):
        """Encode rows: the posterior means.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The same for the same row in any company; never a random draw.
        """
        return self._infer(X, lambda module, x: module.posterior(x).loc)

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
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but inverse_transform takes codes of "
                f"{self._n_features_out} components, as transform returns them"
            )
        rows = self._map(X, Units.identity(X.shape[1]), lambda module, z: module.likelihood(z).mean)
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
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be an int of at least 1; got {n_samples!r}")
        seed = int(_random_state(random_state).randint(2**31 - 1))
        module, device = self.module_, _home(self.module_)

        def draw():
            pieces = chunk_slices(n_samples, self.n_features_in_)
            sizes = [len(range(n_samples)[piece]) for piece in pieces]
            codes = (module.prior().sample((size,)) for size in sizes)
            return torch.cat([module.likelihood(z).sample().cpu() for z in codes])

        with borrowed_process(0, device), torch.no_grad():
            return self._units.array(seeded(draw, seed, device))

    def score_samples(self, X, n_draws=32, bound="importance"):
        """Lower bound on the log-density of each row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        n_draws : int, default=32
            Codes drawn for each row. The noise is a fixed function of the row.
        bound : {"importance", "elbo"}, default="importance"
            The importance-weighted bound, which more draws tighten, or the ELBO, which more
            draws only estimate better.

        Returns
        -------
        ndarray of shape (n_samples,)
            Nats per row, in the units of the data; larger is better.
        """
        check_is_fitted(self)
        _check_n_draws(n_draws)
        if bound not in BOUNDS:
            raise ValueError(f"bound must be one of {sorted(BOUNDS)}; got {bound!r}")
        uniform, mixing = shared_draws(n_draws, self._n_features_out, self._seed)

        def nats(module, x):
            noise = row_noise(uniform.to(x), module.posterior(x).loc, mixing.to(x))
            return BOUNDS[bound](module, x, noise)

        return self._infer(X, nats) + self._units.log_jacobian()

    def score(self, X, y=None):
        """Mean of `score_samples`: a lower bound on the log-likelihood of a row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Nats per row; larger is better, so that `GridSearchCV` works as it is.
        """
        return float(self.score_samples(X).mean())

    def diagnose(self, X, n_draws=32):
        """Find out whether the code is alive and whether the decoder listens.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            At least two rows; held-out ones say more than those of the fit.
        n_draws : int, default=32
            Codes drawn for each row in ELBO and importance bound, the same as in
            `score_samples`. What is drawn is fixed by the fit: the same rows give the same
            result.

        Returns
        -------
        skvae.diagnostics.Diagnosis
            Prints as a table, with a verdict in words; in nats per row and in the units of the
            data.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=100, random_state=0).fit(X)
        >>> vae.diagnose(X).verdict
        'alive'
        """
        _check_n_draws(n_draws)
        X = self._read_rows(X)
        module, device = self._in_precision(X.dtype), _home(self.module_)
        rows = Rows(X, self._units, None, device)
        with borrowed_process(_chunk_work(X, module), device):
            return diagnose(module, rows, n_draws, self._seed)

    def _infer(self, X, function):
        return self._map(self._read_rows(X), self._units, function).numpy()

    def _read_rows(self, X):
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        self.module_.likelihood_layer.check_support(X.min(), X.max())
        return X

    def _map(self, X, units, function):
        """Apply ``function(module, batch)`` to pieces of X, in the precision of X."""
        module, device = self._in_precision(X.dtype), _home(self.module_)
        dtype = module.prior().loc.dtype
        pieces = chunk_slices(*X.shape)
        with borrowed_process(_chunk_work(X, module), device), torch.no_grad():
            parts = [function(module, units.tensor(X[p], dtype, device)).cpu() for p in pieces]
        return torch.cat(parts)

    def _in_precision(self, dtype):
        """The module in the precision for data of that dtype."""
        dtype = _precision(dtype, _home(self.module_))
        if self.module_.prior().loc.dtype == dtype:
            return self.module_
        return copy.deepcopy(self.module_).to(dtype)

    @property
    def _n_features_out(self):
        return self.module_.posterior_layer.n_components

    def _batch_size(self, n_rows):
        if self.batch_size == "auto":
            return min(max(n_rows // 8, 32), 128)
        return self.batch_size

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "module_" in state:  # to be read where there is no such device
            state["module_"] = copy.deepcopy(self.module_).cpu()
            state["_optimizer_state"] = [[t.cpu() for t in ts] for ts in self._optimizer_state]
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _device(device):
    """The torch.device of a `device` parameter, if it exists."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    # An unknown name, a build without CUDA and a backend that is not there: PyTorch raises each.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here: {str(error).splitlines()[0]} "
            "Pass 'auto' to take what there is, or 'cpu'."
        ) from error
    return device


def _home(module):
    return module.prior().loc.device


def _n_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def _chunk_work(X, module):
    """Multiplications for a chunk of the rows of X."""
    return len(range(X.shape[0])[chunk_slices(*X.shape)[0]]) * _n_weights(module)


def _check_n_draws(n_draws):
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be an int of at least 1; got {n_draws!r}")


def _precision(dtype, device):
    """Double precision for double data, where the device has it."""
    double = dtype == np.float64 and device.type != "mps"
    return torch.float64 if double else torch.float32


def _random_state(random_state):
    """As check_random_state, but None leaves NumPy's global generator alone."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def _weighted(X, sample_weight):
    """The rows of positive weight, and those weights (None if there are none)."""
    if sample_weight is None:
        return X, None
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return X[weight > 0], weight[weight > 0]


def _sizes(hidden_layer_sizes):
    """Hidden layer sizes as a tuple, if they are sizes."""
    sizes = tuple(hidden_layer_sizes)
    if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must hold integers of at least 1; got {hidden_layer_sizes!r}. "
            "() makes the networks linear."
        )
    return sizes


def _module(name, build, *args):
    """What `build` returns, if it is a module."""
    if isinstance(build, nn.Module):
        raise TypeError(
            f"{name} must be a function that builds a module, so that each fit starts anew; got "
            f"a module, {type(build).__name__}. Pass its class, or a function returning it."
        )
    module = build(*args)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name} must return a torch.nn.Module; {name}{args} returned a {type(module).__name__}"
        )
    return module


def _width(name, module, n_inputs, expected=None):
    """Columns that a network puts out, found by a trial."""
    was_training = module.training
    with torch.no_grad():
        shape = tuple(module.eval()(torch.zeros(2, n_inputs)).shape)
    module.train(was_training)
    if len(shape) != 2 or shape[0] != 2 or (expected is not None and shape[1] != expected):
        width = "anything" if expected is None else expected
        raise ValueError(
            f"{name} must map (n_samples, {n_inputs}) to (n_samples, {width}); "
            f"it mapped (2, {n_inputs}) to {shape}"
        )
    return shape[1]
