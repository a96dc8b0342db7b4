"""BNVAEEstimator: the VAE as a scikit-learn transformer, density and generator."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import nn

from skvae._base import BaseVAE
from skvae._data.frames import is_frame, library_of, names_of
from skvae._data.numbers import Numbers
from skvae._data.rows import Rows, missing_cells
from skvae._data.streams import Stream, is_stream, open_stream
from skvae._data.tables import Table
from skvae._data.units import Marginals, Units, in_chunks
from skvae._fit.torch_state import plain_torch
from skvae._linear_start import start_linear
from skvae._random import random_state_of
from skvae._sklearn import Interval, StrOptions, n_samples_of
from skvae._use import check_number
from skvae.diagnostics.evaluation import noise_of_rows
from skvae.likelihoods import (
    LIKELIHOODS,
    BernoulliLikelihood,
    CategoricalLikelihood,
    CountLikelihood,
    GaussianLikelihood,
    Likelihood,
    MixedLikelihood,
)
from skvae.model import VAE, module_of, width_of
from skvae.networks import ACTIVATIONS, MLP
from skvae.objectives import Objective, conditional_mean
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal

COLUMN_BY_COLUMN = BernoulliLikelihood, CountLikelihood  # they check each column by itself


class BNVAEEstimator(BaseVAE):
    """Variational autoencoder whose code cannot collapse.

    Encoder and decoder are neural networks; between them stands a Gaussian posterior whose
    moments over the data are those of the prior, with at least `tau` of each component's unit
    second moment carried by its mean. So the mean KL is at least ``-d/2 log(1 - tau)`` nats:
    the code always says something about the row.

    Parameters
    ----------
    n_components : int, default=10
        Number ``d`` of components of the code.
    tau : float or (float, float), default=0.5
        Lower bound, in (0, 1), of the share of signal in each component. A floor of ``R`` nats
        in total needs ``tau = 1 - exp(-2 R / d)``: see `skvae.bounds.tau_for_rate`. Two numbers,
        lowest and highest, train one model for the whole range; `at_tau` then sets its tau.
    posterior : {"moment", "batchnorm", "batchnorm-mean", "gaussian", "layernorm", "delta"} or \
            callable, default="moment"
        Way in which the encoder's features become the posterior: matched moments (the default), the
        batch normalization of Su (2020) or of Zhu et al. (2020), the plain VAE and, for
        comparison, layer normalization and the constraint of delta-VAE. A callable takes
        ``(in_features, n_components, tau)`` and returns a `skvae.posteriors.Posterior`.
    likelihood : {"gaussian", "student_t", "bernoulli", "poisson", "negative_binomial", \
            "categorical", "auto"}, callable or list of (likelihood, columns), default="gaussian"
        Distribution of a row given its code. "gaussian" has one noise scale per column and does
        not depend on the scale of the columns; "student_t" allows for heavy tails. "bernoulli"
        takes values in [0, 1], "poisson" and "negative_binomial" take counts, and "categorical"
        takes categories. A callable takes ``n_features`` and returns a
        `skvae.likelihoods.Likelihood`. A list of pairs gives each of the columns, by name or
        number, its likelihood. With "auto", and for columns that are not in the list, the values
        decide: numbers are gaussian, booleans bernoulli, strings and categories categorical.
    conditions : list or None, default=None
        Columns of X, by name or number, to condition on: encoder and decoder receive their
        values, and the model does not describe them. `score_samples` then bounds
        log p(other columns | conditions), and `sample` draws rows for the values that it is
        given. Their types decide whether they are numeric or categorical, unless pairs
        ``("numeric", columns)`` and ``("categorical", columns)`` do. None and an empty list mean
        no conditions.
    hidden_layer_sizes : tuple of int or int, default=(128,)
        Numbers of units of the encoder's hidden layers, or of a single one; the decoder has them in
        reverse order.
        ``()`` makes both linear.
    activation : {"relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="relu"
        Nonlinearity of the hidden layers.
    encoder : callable or None, default=None
        Function of ``n_inputs`` that returns the `torch.nn.Module` to use as the encoder, which
        maps ``n_inputs`` columns to features of any width. None builds one from
        `hidden_layer_sizes`. With `conditions`, it is called with ``context_features=`` too, and so
        is `decoder`.
    decoder : callable or None, default=None
        Function of ``(n_components, n_outputs)`` that returns the `torch.nn.Module` to use as the
        decoder. None builds one from `hidden_layer_sizes`.
    objective : {"elbo", "linear-annealing", "cyclical-annealing", "free-bits"} or \
            skvae.objectives.Objective, default="elbo"
        Function that training maximizes. All but the ELBO are remedies from the literature, for
        comparison. A name stands for the default settings; an object such as
        ``FreeBits(nats=0.5)`` has its own.
    beta : float, default=1.0
        Weight of the KL in the objective, on top of the objective's own schedule.
    learning_rate : float, default=3e-3
        Step size of the AdamW optimizer. It rises over the first 50 steps, stays constant, and
        falls to 0 over the last quarter of the training; in `partial_fit` it does not fall. Weights
        from a hidden layer of n > 32 units to the next take steps of ``32 / n`` of it, and those
        from n > 16 columns to the first hidden layer ``16 / n``, but at least a quarter.
    weight_decay : float or "auto", default="auto"
        Share of each weight matrix of the decoder, times the learning rate, by which a step
        shrinks it, as in `torch.optim.AdamW`. "auto" takes ``1 / (2 n_samples learning_rate)``,
        which keeps the decoder of a small table from learning its rows by heart and vanishes
        for large tables; it is 0 for linear decoders and in `partial_fit`.
    average : bool, default=True
        Whether the final weights of the networks are running averages over about the last 50
        steps of a call, which removes the noise of the batches.
    batch_size : int or "auto", default="auto"
        Number of rows of a batch; the batches of an epoch differ by at most one row. "auto" is an
        eighth of the rows, but at least 32 and at most 128.
    max_iter : int or None, default=None
        Number of epochs or, with early stopping, the largest number. None takes 2,000 steps for a
        table of fewer than 1,000 rows, and trains on a larger one until held-out rows no longer
        improve, for at most 1,000 epochs or 10,000 steps, whichever is longer. With
        ``early_stopping=False`` it means 2,000 steps or 200 epochs, whichever is longer. An
        annealed `objective` runs its schedule over this number of epochs, so pass a number with it.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out rows and stop when their ELBO no longer rises. Training then ends with
        all rows. With 1,000 rows or more, it continues from the best weights while the learning
        rate falls; with fewer, it starts anew and takes as many steps and, with weight decay, a
        quarter more. "auto" means True if `max_iter` is None and there are at least 1,000 rows or,
        with ``weight_decay=0``, at least 20.
    validation_fraction : float, default=0.1
        Share of the rows held out by `early_stopping`.
    n_iter_no_change : int or None, default=None
        Number of epochs without a rise after which `early_stopping` stops. None stands for a
        third of all steps so far, but at least 500.
    tol : float, default=0.1
        Smallest rise of the ELBO that counts, in nats per row. Half of the standard error of the
        rise over the held-out rows is added to it.
    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last call.
    checkpoint : str, PathLike or None, default=None
        File that `fit` writes after each epoch. If it exists, `fit` continues from it, with the
        same result, bit for bit, as without the interruption. If training was complete, nothing
        is left to do; delete the file to start anew. A file of other parameters or other data
        raises an error. `partial_fit` writes no checkpoint: use `save` there.
    device : str or torch.device, default="auto"
        Device of the networks: "cpu", "cuda", "cuda:1", "mps" and so on. "auto" takes CUDA where it
        is available and the CPU elsewhere.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling and noise. Pass an int for reproducible results.
    verbose : int, default=0
        Whether to print the loss of every epoch; 0 prints nothing. For progress bars and
        monitoring, use scikit-learn's callbacks, such as ``set_callbacks(ProgressBar())``.

    Attributes
    ----------
    module_ : skvae.model.VAE
        The trained PyTorch module, in evaluation mode. It sees "gaussian" columns as mean 0 and
        variance 1.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if all of them are strings.
    n_iter_ : int
        Number of epochs run.
    loss_curve_ : list of float
        Mean negative objective of a row in each epoch, in nats.
    history_ : dict of list of float
        Curves with one value per epoch, means over the training rows in nats: "loss" (as
        `loss_curve_`), "rate" (KL) and "distortion" (negative reconstruction); and "kl_weight", the
        weight of the KL.
    validation_scores_ : list of float
        Mean objective of the held-out rows after each epoch, in nats. They are scored about every
        50 steps, and after the last epoch before the limit; epochs without a score have NaN. Empty
        without early stopping.
    lower_bound_ : float
        Mean ELBO of the training rows after training, in nats, with one draw per row.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL of each component over the training rows, in nats.
    tau_ : float
        Value in use of `tau`, for a range its middle on the logit scale. Within a range,
        `lower_bound_` and `kl_per_component_` are exact at both ends and in the middle, and
        interpolated to about a hundredth of a nat elsewhere; the floor is exact everywhere.
    kl_floor_ : float
        Lower bound that `tau_` guarantees for the sum of `kl_per_component_`, in nats. It is 0
        for rows that the encoder cannot distinguish.

    See Also
    --------
    sklearn.decomposition.FactorAnalysis : The model that ``hidden_layer_sizes=()`` gives.
    sklearn.decomposition.PCA : The linear code without a noise variance for each column.

    Notes
    -----
    Cells may be missing (NaN or None), in `fit` and afterwards. The encoder receives a mask of the
    observed cells, the likelihood counts only these, and `impute` fills in the others. This assumes
    that cells are missing at random, given the observed ones.

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
        "likelihood": [StrOptions({"auto", *LIKELIHOODS}), callable, list],
        "conditions": [list, None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "encoder": [callable, None],
        "decoder": [callable, None],
    }

    def __init__(
        self,
        n_components: int = 10,
        *,
        tau: float | tuple[float, float] = 0.5,
        posterior: str | Callable[..., nn.Module] = "moment",
        likelihood: str | Callable[..., nn.Module] | list[Any] = "gaussian",
        conditions: list[Any] | None = None,
        hidden_layer_sizes: Sequence[int] = (128,),
        activation: str = "relu",
        encoder: Callable[..., nn.Module] | None = None,
        decoder: Callable[..., nn.Module] | None = None,
        objective: str | Objective = "elbo",
        beta: float = 1.0,
        learning_rate: float = 3e-3,
        weight_decay: float | Literal["auto"] = "auto",
        average: bool = True,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int | None = None,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.tau = tau
        self.posterior = posterior
        self.likelihood = likelihood
        self.conditions = conditions
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.encoder = encoder
        self.decoder = decoder
        self.objective = objective
        self.beta = beta
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.average = average
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

    # -- reading and building --------------------------------------------------------------

    def _read(self, X, reader=None):
        reset = reader is None
        if reset:  # kinds matter if columns differ in likelihood, have categories or are conditions
            mixed = isinstance(self.likelihood, list) or self.likelihood in ("auto", "categorical")
            has_kinds = mixed or bool(self.conditions)
        else:
            has_kinds = reader.has_kinds
        X = summed(unmasked(X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else X))
        if is_stream(X) and not isinstance(X, Stream):
            X = open_stream(X)
        numbers = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
        if not (is_frame(X) or has_kinds):
            _check_no_dates(X)
            if isinstance(X, Stream):
                validate_data(self, X, reset=reset, skip_check_array=True)
            else:
                with hint_at_auto():
                    X = validate_data(self, X, reset=reset, accept_sparse="csr", **numbers)
            return X, Numbers(getattr(self, "feature_names_in_", None)) if reset else reader
        if isinstance(X, Stream):
            raise TypeError(
                "Columns of different kinds need rows in memory; X is a stream of "
                f"{X.shape[0]} rows that are not. Give one likelihood, and no conditions."
            )
        if is_frame(X):
            _check_unique(names_of(X))
        else:
            plain = isinstance(X, np.ndarray) or issparse(X)
            # From lists that hold a single string, NumPy would otherwise make an array of strings.
            X = X if plain else np.asarray(X, dtype=object)
            X = check_array(X, dtype=None, accept_sparse="csr", ensure_all_finite=False)
        validate_data(self, X, reset=reset, skip_check_array=True)
        if reset:
            reader = Table(X, self.likelihood, self.conditions)
        # An estimator that was fitted to an array may be given a frame of numbers.
        table = reader if reader.has_kinds else Table(X, "gaussian")
        return check_array(
            table.to_numbers(X), accept_sparse="csr", input_name="X", **numbers
        ), reader

    def _rows(self, X, reader, units, weight=None, device=None):
        context = reader.context(X)
        return Rows(reader.modeled_columns(X), units, weight, device or self._model.device, context)

    def _check_rows(self, likelihood, rows, reader):
        accepts_anything = type(likelihood).check_support is Likelihood.check_support
        try:
            for some in () if accepts_anything else in_chunks(rows.X):
                likelihood.check_support(some)
        except ValueError:
            self._refuse_columns(likelihood, rows.X, reader)
            raise
        if rows.missing and not likelihood.missing:
            raise ValueError(
                "X has missing cells, but in fit it had none, so the encoder has not learned to do "
                "without them. Fit on rows with missing cells, or fill them, for example with "
                "SimpleImputer."
            )

    def _refuse_columns(self, likelihood, X, reader):
        """Refuse the first column that its likelihood cannot take, by name if it has one."""
        named = reader.names is not None and (reader.schema is not None or not reader.has_kinds)
        mixed = isinstance(likelihood, MixedLikelihood)
        pairs = likelihood.parts_and_columns() if mixed else [(likelihood, range(X.shape[1]))]
        for part, columns in pairs if named else []:
            for j in columns if isinstance(part, COLUMN_BY_COLUMN) else []:
                try:
                    part.check_support(X[:, [j]])
                except ValueError as error:
                    raise ValueError(f"Column {reader.modeled_name(j)!r}: {error}") from error

    def _build(self, rows, reader, tau):
        sizes, d = _sizes(self.hidden_layer_sizes), self.n_components
        n_context = 0 if rows.context is None else rows.context.shape[1]
        context = {"context_features": n_context} if n_context else {}
        likelihood = self._build_likelihood(rows, reader)
        n_inputs, n_outputs = likelihood.n_inputs, likelihood.n_outputs
        if self.encoder is None:
            encoder = MLP(n_inputs, sizes, activation=self.activation, **context)
            width = encoder.out_features
        else:
            encoder = module_of("encoder", self.encoder, n_inputs, **context)
            width = width_of("encoder", encoder, n_inputs, n_context=n_context)
        if self.decoder is None:
            decoder = MLP(d, sizes[::-1], n_outputs, self.activation, **context)
        else:
            decoder = module_of("decoder", self.decoder, d, n_outputs, **context)
            width_of("decoder", decoder, d, expected=n_outputs, n_context=n_context)
        make_posterior = POSTERIORS.get(self.posterior, self.posterior)
        posterior = module_of("posterior", make_posterior, width, d, tau)
        return VAE(encoder, posterior, decoder, likelihood, StandardNormal(d))

    def _build_likelihood(self, rows, reader):
        if reader.has_kinds:
            parts = [self._build_part(reader, *part) for part in reader.likelihoods]
            likelihood = MixedLikelihood(parts) if len(parts) > 1 else parts[0][0]
        else:
            make = LIKELIHOODS.get(self.likelihood, self.likelihood)
            likelihood = module_of("likelihood", make, rows.X.shape[1])
        if rows.missing:
            empty = np.flatnonzero(missing_cells(rows.X).sum(0) == len(rows))
            if len(empty):
                raise ValueError(
                    f"Columns {[reader.modeled_name(j) for j in empty]} of X have no value at "
                    "all, so nothing can be learned about them. Drop them."
                )
            likelihood.missing = True
            if callable(self.likelihood) or isinstance(self.likelihood, list):
                _check_ignores_missing(likelihood)  # one of the user's own may not
        return likelihood

    def _build_part(self, reader, likelihood, columns):
        place = np.searchsorted(reader.modeled, columns)
        if likelihood == "categorical":
            sizes = [len(reader.categories[j]) for j in columns]
            return CategoricalLikelihood(sizes), place
        make = LIKELIHOODS.get(likelihood, likelihood)
        return module_of("likelihood", make, len(columns)), place

    def _initialize(self, module, X, reader, weight):
        marginals = Marginals(X, weight)
        module.likelihood_layer.start(marginals)
        units = Units(*module.likelihood_layer.units(marginals))
        if weight is None:
            start_linear(module, X, units)
        return units

    # -- what was learned ------------------------------------------------------------------

    @property
    def noise_variance_(self) -> np.ndarray:
        """Variance of the noise of each modeled column, in squared units of the data."""
        layer = self._model.module.likelihood_layer
        if not isinstance(layer, GaussianLikelihood):
            raise AttributeError(
                "noise_variance_ exists only under one likelihood with a noise scale per column, "
                f"'gaussian' or 'student_t'; this is a {type(layer).__name__}"
            )
        noise = layer.noise_variance().detach().double().cpu().numpy()
        return noise * np.square(self._model.units.scale)

    # -- using the code --------------------------------------------------------------------

    @plain_torch()
    def inverse_transform(self, X: Any, conditions: Any = None) -> Any:
        """Decode codes as the means of the likelihood, in the units of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.
        conditions : {array-like, DataFrame} of shape (n_samples, n_conditions) or \
                (1, n_conditions), default=None
            Values of the columns that the parameter `conditions` names.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features)
            Expected rows; for categories, the most probable ones. If `fit` was given a frame, the
            result is a frame of the same columns and types. It has the labels of the rows of `X` if
            that is a frame of pandas.
        """
        model, X = self._model, unmasked(X)
        given = self._read_conditions(conditions, n_samples_of(X))
        if given is None and model.reader.n_context:
            raise ValueError(
                "inverse_transform needs conditions=..., the values of the columns "
                f"{model.reader.conditions.names}: the code does not hold them"
            )
        means = self._map_codes(
            X,
            lambda module, z, context: module.likelihood(z, context).mean,
            None if given is None else model.reader.conditions.context(given),
        )
        return model.reader.restored(model.units.array(means), given, index_of(X))

    @plain_torch()
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        conditions: Any = None,
    ) -> Any:
        """Draw new rows: codes from the prior, rows from the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed of this call; None draws different rows each time.
        conditions : {array-like, DataFrame} of shape (n_samples, n_conditions) or \
                (1, n_conditions), default=None
            Values of the columns that the parameter `conditions` names. None draws them as they
            were distributed in `fit`: combinations of categories as often as they occurred, and
            numbers from a normal distribution around their mean for the combination, within their
            range in `fit`.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features)
            Rows in the units of the data, of the type that `inverse_transform` returns.
        """
        model, context = self._model, None
        check_number("n_samples", n_samples)
        given = self._read_conditions(conditions, n_samples)
        if model.reader.n_context:
            random_state = random_state_of(random_state)
            if given is None:
                given = model.reader.sample_conditions(n_samples, random_state)
            context = model.reader.conditions.context(given)
        rows = self._draw(n_samples, random_state, _sample, context)
        return model.reader.restored(model.units.array(rows), given)

    @plain_torch()
    def impute(self, X: Any, n_draws: int = 32) -> Any:
        """Fill missing cells with their expected values, given the observed cells.

        Codes are drawn from the posterior given the observed cells and weighted by importance, as
        in the bound of `score_samples`. So the result estimates ``E[x_missing | x_observed]`` under
        the model itself, and not under the encoder's approximation.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows, NaN or None where cells are missing.
        n_draws : int, default=32
            Number of codes drawn for each row, with noise that is a fixed function of the row.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features)
            Filled rows; for missing categories, the most probable ones. If `fit` was given a frame,
            the result is a frame of the same columns and types, with the labels of the rows of `X`.

        References
        ----------
        Mattei and Frellsen (2019), *MIWAE: deep generative modelling and imputation of incomplete
        data sets*, ICML 2019, arXiv:1812.02633.
        """
        model = self._model
        check_number("n_draws", n_draws)
        numbers, _ = self._read(X, model.reader)
        if issparse(numbers):
            raise TypeError("impute fills dense rows; got a sparse matrix. Pass X.toarray().")
        rows = self._checked_rows(numbers)

        def expected(module, x, context):
            noise = noise_of_rows(module, x, context, n_draws, model.seed)
            return conditional_mean(module, x, noise, context)

        values = torch.cat([found for _, found in model.map(rows, expected)])
        return model.reader.filled(numbers, model.units.array(values), X, index_of(X))

    def _read_conditions(self, conditions, n_samples):
        """Return given conditions as numbers, one row for each sample; None if none are given."""
        if conditions is None:
            return None
        reader = self._model.reader
        if not reader.n_context:
            raise ValueError(
                "conditions are given, but the estimator was fitted without any. Leave them out, "
                "or name the columns by the parameter conditions and fit again."
            )
        numbers = reader.conditions.read(conditions)
        if len(numbers) not in (1, n_samples):
            raise ValueError(
                f"conditions must have one row for all, or one for each of the {n_samples}; got "
                f"{len(numbers)}"
            )
        return np.broadcast_to(numbers, (n_samples, numbers.shape[1]))

    @plain_torch()
    def export(self) -> torch.export.ExportedProgram:
        """Export `transform` as a program that runs without skvae and without Python.

        PyTorch's `torch.export` makes it, so no other package is needed. The program runs wherever
        PyTorch does; ``torch.onnx.export`` converts it to ONNX, as the guide shows. After a fit on
        float64 rows it computes in double precision, which not every runtime supports. In
        particular, onnxruntime has no ``asinh`` in double precision, which
        ``likelihood="student_t"`` needs: fit on float32 rows in that case.

        Returns
        -------
        torch.export.ExportedProgram
            Program from a tensor of any number of rows, in the units of the data and the precision
            of the fit, to their codes. ``torch.export.save`` writes it to a file.

        Raises
        ------
        ValueError
            If there are categories, conditions or columns of different likelihoods, because
            `transform` converts these outside the networks.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=2, random_state=0).fit(X)
        >>> codes = vae.export().module()(torch.from_numpy(X))
        >>> bool((abs(codes.numpy() - vae.transform(X)) < 1e-5).all())
        True
        """
        if not self._model.reader.is_homogeneous:
            raise ValueError(
                "export takes tables of numbers under one likelihood; here columns are categories, "
                "conditions or differ in likelihood. Save the estimator instead."
            )
        like = self.module_.prior().loc
        rows = torch.zeros(3, self.n_features_in_, dtype=like.dtype, device=like.device)
        n_samples = torch.export.Dim("n_samples", min=1)
        model = copy.deepcopy(self._model.alone()).requires_grad_(False)
        with torch.no_grad():
            return torch.export.export(model, (rows,), dynamic_shapes=({0: n_samples},))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _check_no_dates(X):
    """Refuse an array of dates, which NumPy would turn into numbers, missing ones too."""
    dtype = getattr(X, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        raise ValueError(
            f"X is of type {dtype}, which is not a number. Convert it to numbers, of days since "
            "the first date for example."
        )


def _check_unique(names):
    """Refuse a frame in which two columns have the same name."""
    twice = sorted((name for name, n in Counter(names).items() if n > 1), key=str)
    if twice:
        raise ValueError(
            f"Names of the columns of X must be unique; {twice} occur more than once. Rename them."
        )


def index_of(X):
    """Return the labels of the rows of a pandas frame; None for anything else."""
    return X.index if library_of(X) == "pandas" else None


def unmasked(X):
    """Turn the masked cells of a masked array into missing ones; return anything else as it is."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    if X.dtype.kind in "biuf":
        return X.astype(np.promote_types(X.dtype, np.float32)).filled(np.nan)
    return X.astype(object).filled(None)


def summed(X):
    """The same with one entry for each stored cell of a sparse matrix, which is their sum.

    Supports and moments are read off the entries.
    """
    if not issparse(X) or X.format not in ("csr", "csc") or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


@contextmanager
def hint_at_auto():
    """Add to an error about strings in the block that likelihood='auto' takes them."""
    try:
        yield
    except ValueError as error:
        if "could not convert string to float" not in str(error):
            raise
        raise ValueError(
            f"X must hold numbers under one likelihood; {error}. Pass likelihood='auto', which "
            "takes strings and booleans as categories, or convert them."
        ) from error


def _check_ignores_missing(likelihood):
    """Refuse a likelihood for whose log-probability missing cells count."""
    nothing = torch.full((1, likelihood.n_features), torch.nan)
    try:
        worth = likelihood(torch.zeros(1, likelihood.n_outputs)).log_prob(nothing).tolist()
    except ValueError:  # of a distribution that validates its values
        worth = None
    if worth != [0.0]:
        raise ValueError(
            f"X has missing cells, which {type(likelihood).__name__} cannot pass over. Let its "
            "forward make rows by self.row(cells), or fill the cells, for example with "
            "SimpleImputer."
        )


def _sample(likelihood, draws):
    with draws:
        return likelihood.sample()


def _sizes(hidden_layer_sizes):
    """Return the sizes of hidden layers as a tuple; refuse anything but positive integers."""
    single = isinstance(hidden_layer_sizes, Integral)
    sizes = (hidden_layer_sizes,) if single else tuple(hidden_layer_sizes)
    if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must hold integers of at least 1; got {hidden_layer_sizes!r}. "
            "() makes the networks linear."
        )
    return sizes
