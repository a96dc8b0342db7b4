"""The methods of a fitted estimator: what it has learned, and the use of its code."""

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skvae._data.rows import Rows
from skvae._data.units import Units
from skvae._fit.torch_state import plain_torch
from skvae._random import random_state_of
from skvae._sklearn import UNUSED
from skvae.diagnostics import Diagnosis, diagnose
from skvae.diagnostics.evaluation import noise_of_rows
from skvae.model import VAE
from skvae.objectives import BOUNDS


class UseMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Fitted attributes and methods of an estimator that holds a `FittedModel`.

    The methods `_read` and `_rows` of the estimator define how rows are read.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    history_: dict[str, list[float]]
    validation_scores_: list[float]

    def _read(self, X, reader=None):
        """Return the rows of X as numbers, and their reader: a new one unless given."""
        raise NotImplementedError

    def _rows(self, X, reader, units, weight=None, device=None):
        """Return rows of numbers as the networks see them, by default on the module's device."""
        return Rows(X, units, weight, device or self._model.device)

    # -- what was learned ------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return "_fitted_model" in vars(self)

    @property
    def _model(self):
        """All that a fit has learned; before a fit a NotFittedError, which is an AttributeError."""
        check_is_fitted(self)
        return self._fitted_model

    @property
    def module_(self) -> VAE:
        """The trained PyTorch module, in evaluation mode."""
        return self._model.module

    @property
    def tau_(self) -> float:
        """The tau in use."""
        return self._model.tau

    @property
    def lower_bound_(self) -> float:
        """Mean ELBO of the training rows, in nats."""
        return self._model.lower_bound

    @property
    def kl_per_component_(self) -> np.ndarray:
        """Mean KL of each component over the training rows, in nats."""
        return self._model.kl_per_component

    @property
    def kl_floor_(self) -> float:
        """Lower bound that tau guarantees for the sum of `kl_per_component_`, in nats."""
        return self._model.kl_floor

    @property
    def n_iter_(self) -> int:
        """Number of epochs."""
        return len(self.history_["loss"])

    @property
    def loss_curve_(self) -> list[float]:
        """Mean negative objective of a row in each epoch, in nats."""
        return self.history_["loss"]

    @property
    def _n_features_out(self):
        return self.module_.posterior_layer.n_components

    @plain_torch()
    def at_tau(self, tau: float) -> Self:
        """Move to another tau of the range that this was fitted for, without training.

        Parameters
        ----------
        tau : float
            Tau in the range of the fit.

        Returns
        -------
        estimator instance
            A fitted estimator whose `tau_` is that tau; this one stays as it is. Its parameters
            are the same, so that a clone of it would be fitted for the range again.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, tau=(0.1, 0.9), max_iter=5, random_state=0).fit(X)
        >>> for tau in (0.1, 0.5, 0.9):
        ...     print(f"tau {tau}: at least {vae.at_tau(tau).kl_floor_:.2f} nats")
        tau 0.1: at least 0.11 nats
        tau 0.5: at least 0.69 nats
        tau 0.9: at least 2.30 nats
        """
        low, high = self._required_range()
        if not isinstance(tau, Real) or not low <= tau <= high:
            raise ValueError(
                f"tau must lie in the range of the fit, from {low:g} to {high:g}; got {tau!r}. "
                "Fit a wider range."
            )
        moved = type(self).__new__(type(self))
        vars(moved).update(vars(self), _fitted_model=self._model.at_tau(float(tau)))
        return moved

    def _fitted_range(self):
        """Return the range of tau of the fit; None after a fit at a single tau."""
        every = self._model.every
        return None if every is None else (every.low, every.high)

    def _required_range(self):
        """Return the range of tau of the fit; raise an error after a fit at a single tau."""
        if self._model.every is None:
            raise ValueError(
                f"a range of tau is needed, and this was fitted for tau={self.tau_:g} alone. "
                "Fit it with tau=(lowest, highest)."
            )
        return self._fitted_range()

    # -- using the code --------------------------------------------------------------------

    __metadata_request__transform = {"out": UNUSED}  # it is not metadata of the rows

    @plain_torch()
    def transform(self, X: Any, out: Any = None) -> Any:
        """Encode rows as the means of their posteriors.

        Parameters
        ----------
        X : {array-like, CSR, stream} of shape (n_samples, n_features)
            The rows.
        out : array of shape (n_samples, n_components), default=None
            Destination of the codes, filled in chunks: an ndarray, a memmap, a dataset of h5py or
            any other object that takes slices of rows. It is returned.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Codes, which are not random. The code of a row does not depend on the other rows.
        """
        return self._map(X, lambda module, x, context: module.posterior(x, context).loc, out)

    @plain_torch()
    def encode(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows as the means and standard deviations of their posteriors.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        tuple of ndarray of shape (n_samples, n_components)
            Means, as `transform` returns them, and standard deviations.
        """

        def moments(module, x, context):
            q = module.posterior(x, context)
            return torch.stack([q.loc, q.scale], dim=1)

        loc, scale = np.moveaxis(self._map(X, moments), 1, 0)
        return loc, scale

    @plain_torch()
    def sample_posterior(
        self, X: Any, n_draws: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> np.ndarray:
        """Draw codes of rows from their posteriors.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        n_draws : int, default=1
            Number of codes drawn for each row.
        random_state : int, RandomState instance or None, default=None
            Seed of this call; None draws different codes each time.

        Returns
        -------
        ndarray of shape (n_draws, n_samples, n_components)
            Codes: posterior means plus standard deviations times standard normal noise.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=5, random_state=0).fit(X)
        >>> vae.sample_posterior(X, n_draws=10, random_state=0).shape
        (10, 150, 2)
        """
        check_number("n_draws", n_draws)
        loc, scale = self.encode(X)
        noise = random_state_of(random_state).standard_normal((n_draws, *loc.shape))
        return (loc + scale * noise).astype(loc.dtype, copy=False)

    @plain_torch()
    def score_samples(
        self,
        X: Any,
        n_draws: int = 32,
        bound: Literal["importance", "elbo"] = "importance",
        out: Any = None,
    ) -> np.ndarray:
        """Compute a lower bound on the log-density of each row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        n_draws : int, default=32
            Number of codes drawn for each row, with noise that is a fixed function of the row.
        bound : {"importance", "elbo"}, default="importance"
            The importance-weighted bound, which more draws tighten, or the ELBO, which more
            draws only estimate better.
        out : array of shape (n_samples,), default=None
            Destination of the scores, as in `transform`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Bound in nats for each row, in the units of the data; larger is better.
        """
        check_number("n_draws", n_draws)
        if bound not in BOUNDS:
            raise ValueError(f"bound must be one of {sorted(BOUNDS)}; got {bound!r}")

        def nats(module, x, context):
            noise = noise_of_rows(module, x, context, n_draws, self._model.seed)
            return BOUNDS[bound](module, x, noise, context)

        rows = self._read_rows(X)
        return _filled(rows, self._model.map(rows, nats), out, offsets=rows.log_jacobians)

    def score(self, X: Any, y: Any = None) -> float:
        """Compute the mean of `score_samples`, a lower bound on the log-likelihood of a row.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Mean bound in nats per row; larger is better, as `GridSearchCV` expects.
        """
        return float(self.score_samples(X).mean())

    @plain_torch()
    def diagnose(self, X: Any, n_draws: int = 32) -> Diagnosis:
        """Find out whether the code is alive and whether the decoder uses it.

        Parameters
        ----------
        X : {array-like, CSR} of shape (n_samples, n_features)
            At least two rows, preferably held out from the training.
        n_draws : int, default=32
            Number of codes drawn for each row in ELBO and importance bound, the same ones as in
            `score_samples`. The fit fixes the draws, so the same rows give the same result.

        Returns
        -------
        skvae.diagnostics.Diagnosis
            Measures in nats per row and in the units of the data, which print as a table with a
            verdict.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import BNVAEEstimator
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = BNVAEEstimator(2, max_iter=100, random_state=0).fit(X)
        >>> vae.diagnose(X).verdict
        'alive'
        """
        check_number("n_draws", n_draws)
        rows = self._read_rows(X)
        with self._model.threads(rows.chunks()):
            module = self._model.in_precision(rows.dtype)
            return diagnose(module, rows, n_draws, self._model.seed)

    def _read_rows(self, X):
        """Return rows that the fitted module can take."""
        data, _ = self._read(X, self._model.reader)
        return self._checked_rows(data)

    def _checked_rows(self, data):
        model = self._model
        rows = self._rows(data, model.reader, model.units)
        self._check_rows(model.module.likelihood_layer, rows, model.reader)
        return rows

    def _check_rows(self, likelihood, rows, reader):
        """Refuse rows that the likelihood cannot take; there are none unless overridden."""

    def _map(self, X, function, out=None):
        """Apply ``function(module, x, context)`` to rows, and put the results into an array."""
        rows = self._read_rows(X)
        return _filled(rows, self._model.map(rows, function), out)

    def _map_codes(self, X, function, context=None):
        """Apply ``function(module, z, context)`` to codes."""
        d = self._n_features_out
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != d:
            raise ValueError(
                f"X has {X.shape[1]} columns, but inverse_transform takes codes of {d} components, "
                "as transform returns them"
            )
        codes = Rows(X, Units.identity(d), None, self._model.device, context)
        return torch.cat([found for _, found in self._model.map(codes, function)])

    def _draw(self, n_samples, random_state, function, context=None):
        """Draw codes from the prior, and apply ``function(likelihood, draws)``."""
        model = self._model
        check_number("n_samples", n_samples)
        seed = int(random_state_of(random_state).randint(2**31 - 1))
        return model.draw(n_samples, seed, function, context)


def _filled(rows, results, out=None, offsets=None):
    """Put the results for chunks of rows, plus an offset for each row, into an array."""
    for chunk, found in results:
        values = found.numpy()
        if offsets is not None:
            values += offsets[chunk]  # in place, so that the precision stays that of the rows
        shape = (len(rows), *values.shape[1:])
        if out is None:
            out = np.empty(shape, dtype=values.dtype)
        elif tuple(getattr(out, "shape", ())) != shape:
            got = getattr(out, "shape", type(out))
            raise ValueError(f"out must have the shape {shape}; got {got}")
        out[chunk] = values
    return out


def check_number(name, value, least=1):
    """Refuse a value that is not an integer of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}; got {value!r}")
