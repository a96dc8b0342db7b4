"""q(z|x): from features to a Gaussian posterior that cannot collapse.

Each posterior is a module that maps features to a `torch.distributions.Normal` and can follow any
encoder. Posteriors differ in how the two raw heads become mean and standard deviation. Most
normalize the heads by moments over the rows. In training these are running moments that carry
the gradient of the batch's own moments (batch renormalization). In evaluation they are the stored
moments: the last running ones or, after :meth:`Posterior.finalise`, the exact moments of all
training rows. Only :meth:`Posterior.moments` makes this choice.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.special import lambertw
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from skvae._closed_form import MatchedMoments
from skvae._torch import normal
from skvae.bounds import kl_floor, layer_norm_kl_floor, mean_kl_floor, shrinkage


class Moments(NamedTuple):
    """Mean and variance of some columns and mean of some squares, over weighted rows.

    Parameters
    ----------
    weight : Tensor of shape ()
        Sum of the rows' weights.
    mean, variance : Tensor of shape (n_columns,)
        Mean and variance of each column.
    mean_square : Tensor of shape (n_squares,)
        Mean of each column of squares.
    """

    weight: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    mean_square: torch.Tensor

    @staticmethod
    def of(
        columns: torch.Tensor, squares: torch.Tensor, weight: torch.Tensor | None = None
    ) -> "Moments":
        """Compute the moments of rows.

        Parameters
        ----------
        columns : Tensor of shape (n_samples, ..., n_columns)
            Values whose mean and variance are computed.
        squares : Tensor of shape (n_samples, ..., n_squares)
            Squares whose mean is computed.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            Moments over the first axis; the variance divides by the number of rows.
        """
        if weight is None:
            mean = columns.mean(0)  # var_mean takes two to three times as long
            variance = (columns - mean).square().mean(0)
            return Moments(columns.new_full((), len(columns)), mean, variance, squares.mean(0))
        total = weight.sum()
        share = (weight / total).view(-1, *[1] * (columns.dim() - 1))
        mean = (share * columns).sum(0)
        variance = (share * (columns - mean).square()).sum(0)
        return Moments(total, mean, variance, (share * squares).sum(0))

    def merge(self, other: "Moments") -> "Moments":
        """Combine with the moments of other rows (Chan et al. 1979).

        Parameters
        ----------
        other : Moments
            Moments of the same columns.

        Returns
        -------
        Moments
            Moments of all rows together.
        """
        total = self.weight + other.weight
        return self.mix(other, float(other.weight / total))._replace(weight=total)

    def mix(self, other: "Moments", share: float) -> "Moments":
        """Compute the moments of a mixture of these rows and others.

        Parameters
        ----------
        other : Moments
            Moments of the same columns.
        share : float
            Probability of the other rows, in [0, 1].

        Returns
        -------
        Moments
            Moments of the mixture, with the weight of this one.
        """
        step = other.mean - self.mean
        return Moments(
            self.weight,
            torch.lerp(self.mean, other.mean, share),
            torch.lerp(self.variance, other.variance, share).addcmul_(
                step, step, value=share * (1 - share)
            ),
            torch.lerp(self.mean_square, other.mean_square, share),
        )

    def with_values_of(
        self, running: "Moments", gradient_share: float | torch.Tensor = 1.0
    ) -> "Moments":
        """Give variance and mean square other values, but keep their gradient.

        Parameters
        ----------
        running : Moments
            Moments of the same columns, which provide the values.
        gradient_share : float or Tensor of shape (n_columns,), default=1.0
            Share of the gradient that flows through variance and mean square.

        Returns
        -------
        Moments
            Moments with the mean of this one. Variance and mean square keep their *relative*
            derivatives, so that the gradient of columns normalized by them has no part along the
            scale of the raw columns.
        """

        def with_value(value, own):
            ratio = own / own.detach().clamp_min(torch.finfo(own.dtype).tiny)
            return value * (1.0 + gradient_share * (ratio - ratio.detach()))

        return self._replace(
            variance=with_value(running.variance, self.variance),
            mean_square=with_value(running.mean_square, self.mean_square),
        )


def gamma_squares(
    tau: float | torch.Tensor, theta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the article's scales ``gamma_mu^2`` and ``gamma_sigma^2``.

    These are ``tau + (1 - tau) sigmoid(theta)`` and the rest of 1.

    Parameters
    ----------
    tau : float or Tensor
        Lower bound of ``gamma_mu^2``, in (0, 1).
    theta : Tensor of shape (n_components,)
        Any real numbers.

    Returns
    -------
    tuple of Tensor
        ``gamma_mu^2`` and ``gamma_sigma^2``, whose sum is 1.
    """
    return tau + (1 - tau) * theta.sigmoid(), (1 - tau) * (-theta).sigmoid()


class Heads(nn.Linear):
    """Two linear heads side by side; the bias of the first is not trained.

    Posteriors that subtract the mean of the first head need this: its bias has no effect, and the
    gradient of this bias is only rounding error. Adam would turn that into steps of full length,
    which the running mean would follow late.

    Parameters
    ----------
    in_features : int
        Number of features.
    out_features : int
        Twice the number of components.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        trained = torch.cat([torch.zeros(out_features // 2), torch.ones(out_features // 2)])
        self.register_buffer("trained", trained, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features to both raw heads.

        Parameters
        ----------
        features : Tensor of shape (n_samples, in_features)
            Output of the encoder.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            First and second head, side by side.
        """
        # The value is that of the bias; its gradient is 0 where `trained` is 0.
        bias = torch.lerp(self.bias.detach(), self.bias, self.trained)
        return F.linear(features, self.weight, bias)


class Posterior(nn.Module):
    """Abstract base class: two linear heads, their moments, and the Gaussian that they define.

    A subclass defines which moments it needs (`collect`) and how heads and moments become mean and
    standard deviation (`standardise`). The second head is a log variance unless `spread` is
    overridden.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Lower bound of the second moment of each component's mean, in (0, 1).
    """

    eps = 1e-8  # added to variances; at 1e-5 a small initialisation loses the floor
    smallest_share = 0.05  # smallest share of a new batch in the running moments
    renormalized = True  # whether training normalizes by running moments or by those of the batch
    centered = False  # whether `standardise` subtracts the mean of the first head

    __call__: Callable[..., Normal]  # what type checkers know of a call

    def __init__(self, in_features: int, n_components: int, tau: float = 0.5) -> None:
        super().__init__()
        if not 0.0 < tau < 1.0:
            raise ValueError(f"tau must lie between 0 and 1, both excluded; got {tau!r}")
        self.tau = tau
        self.n_components = n_components
        heads_type = Heads if self.centered else nn.Linear
        self.heads = heads_type(in_features, 2 * n_components)
        columns, squares = self.collect(*torch.zeros(2, 1, n_components))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(columns.shape[1]))
        self.register_buffer("variance", torch.ones(columns.shape[1]))
        self.register_buffer("mean_square", torch.ones(squares.shape[1]))
        self.n_batches = 0  # number of batches in the running moments

    def spread(self, head: torch.Tensor) -> torch.Tensor:
        """Transform the second head; unless overridden it is the logarithm of a variance.

        Parameters
        ----------
        head : Tensor of shape (n_samples, n_components)
            Raw second head, any real numbers.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Variance, called `spread` in the other methods.
        """
        # Neither 0 nor infinite, however far a row lies from the training rows.
        return head.clamp(-40.0, 30.0).exp()

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Select the columns whose moments this posterior needs; none unless overridden.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            First head, and second head transformed by `spread`.

        Returns
        -------
        tuple of Tensor
            Columns whose mean and variance are needed, the location first, and squares whose mean
            is needed; rows along the first axis.
        """
        return location[..., :0], spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the raw heads into mean and standard deviation.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            First head, and second head transformed by `spread`.
        moments : Moments
            Moments of what `collect` returns, over the batch or over all training rows.

        Returns
        -------
        tuple of Tensor
            Mean and standard deviation, both (n_samples, n_components).
        """
        raise NotImplementedError

    def forward(self, features: torch.Tensor, weight: torch.Tensor | None = None) -> Normal:
        """Map features (n_samples, in_features) to the posterior of every row.

        Parameters
        ----------
        features : Tensor of shape (n_samples, in_features)
            Output of the encoder.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows in the batch's moments.

        Returns
        -------
        Normal
            Distribution of batch shape (n_samples, n_components).
        """
        location, spread = self.read(self.heads(features))
        loc, scale = self.standardise(location, spread, self.moments(location, spread, weight))
        if self.training and self.renormalized:
            # The offset between the batch's mean and the running mean is a constant (Ioffe 2017),
            # so that the gradient has no part along a shift or the scale of the raw head.
            with torch.no_grad():
                value, _ = self.standardise(location, spread, self.stored_moments())
            loc = loc + (value - loc).detach()
        return Normal(loc, scale, validate_args=False)

    def read(self, heads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Split the raw heads and transform the second by `spread`.

        Parameters
        ----------
        heads : Tensor of shape (n_samples, 2 * n_components)
            Raw heads, side by side.

        Returns
        -------
        location, spread : Tensor of shape (n_samples, n_components)
            First head, and second head transformed by `spread`.
        """
        location, head = heads.chunk(2, dim=-1)
        return location, self.spread(head)

    def moments(
        self, location: torch.Tensor, spread: torch.Tensor, weight: torch.Tensor | None = None
    ) -> Moments:
        """Return the moments to normalize with.

        In evaluation these are the stored moments. In training the stored moments are running
        moments, which the batch first updates. Variance and mean square then have the values of
        the running moments, free of the noise of a single batch, and the gradient of the batch's
        moments, multiplied by `gradient_share`; the mean is that of the batch.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            First head, and second head transformed by `spread`.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            Moments of what `collect` returns.
        """
        if not self.training or not len(self.mean):
            return self.stored_moments()
        batch = Moments.of(*self.collect(location, spread), weight)
        with torch.no_grad():
            running, share = self.update_running(batch)
            gradient_share = self.gradient_share(running, share)
        return batch.with_values_of(running, gradient_share) if self.renormalized else batch

    def update_running(self, batch: Moments) -> tuple[Moments, float]:
        """Update the running moments by a batch, outside the graph of the gradient.

        Parameters
        ----------
        batch : Moments
            Moments of a batch of training rows.

        Returns
        -------
        running : Moments
            The running moments, which are the stored ones now.
        share : float
            Share of the batch in them.
        """
        share = self.share_of_batch()
        running = self.stored_moments().mix(batch, share)
        # Not in place: the gradient of an earlier batch may still need the former ones.
        self._buffers.update(running._asdict())
        self.n_batches += 1
        return running, share

    def share_of_batch(self) -> float:
        """Return the share of the next batch in the running moments.

        Returns
        -------
        float
            ``max(0.05, 9 / (9 + t))`` after t batches: 1 for the first.
        """
        return max(self.smallest_share, 9 / (9 + self.n_batches))

    def get_extra_state(self) -> torch.Tensor:
        """Return what `state_dict` holds in addition to parameters and buffers.

        Returns
        -------
        Tensor of shape ()
            The number of batches in the running moments, `n_batches`.
        """
        return torch.tensor(self.n_batches)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Restore what `get_extra_state` returned.

        Parameters
        ----------
        state : Tensor of shape ()
            The number of batches in the running moments.
        """
        self.n_batches = int(state)

    def gradient_share(self, running: Moments, share: float) -> float | torch.Tensor:
        """Return the share of the batch's gradient that flows through variance and mean square.

        Parameters
        ----------
        running : Moments
            Running moments, the batch included.
        share : float
            Share of the batch in them.

        Returns
        -------
        float or Tensor of shape (n_columns,)
            1, the whole gradient, unless overridden.
        """
        return 1.0

    def stored_moments(self) -> Moments:
        """Return the moments that evaluation uses.

        Returns
        -------
        Moments
            Buffers, not copies; the weight is 0 until `finalise` is called.
        """
        # Not by attribute, which PyTorch would look up in three dictionaries each.
        return Moments(*(self._buffers[name] for name in Moments._fields))

    @torch.no_grad()
    def finalise(
        self,
        batches: Iterable[tuple[torch.Tensor, torch.Tensor | None]],
        previous: Moments | None = None,
    ) -> None:
        """Store the exact moments of all rows, for evaluation.

        Parameters
        ----------
        batches : iterable of (features, weight)
            Arguments of `forward` for all rows, computed with the final encoder.
        previous : Moments, optional
            Moments of earlier rows, to merge with.
        """
        moments = None  # merged one by one: many small tensors kept alive would fragment the memory
        for features, weight in batches:
            new = self.measure(features, weight)
            moments = new if moments is None else moments.merge(new)
        if moments is None:
            raise ValueError("finalise needs at least one batch of rows; got none")
        if previous is not None:
            moments = moments.merge(Moments(*(old.to(moments.mean.dtype) for old in previous)))
        self.store(moments)

    def measure(self, features: torch.Tensor, weight: torch.Tensor | None = None) -> Moments:
        """Compute the moments of rows, in double precision where the device has it.

        Parameters
        ----------
        features : Tensor of shape (n_samples, in_features)
            Output of the encoder.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            Moments of what `collect` returns.
        """
        columns, squares = self.collect(*self.read(self.heads(features)))
        dtype = columns.dtype if columns.device.type == "mps" else torch.float64
        weight = torch.ones(len(columns), device=columns.device) if weight is None else weight
        return Moments.of(columns.to(dtype), squares.to(dtype), weight.to(dtype))

    def store(self, moments: Moments) -> None:
        """Store moments for evaluation.

        Parameters
        ----------
        moments : Moments
            Moments of all rows.
        """
        for stored, new in zip(self.stored_moments(), moments, strict=True):
            stored.copy_(new)

    def component_floors(self) -> np.ndarray:
        """Compute the floor of each component's mean KL, in nats.

        The mean is over the rows of the stored moments.

        Returns
        -------
        ndarray of shape (n_components,)
            Lower bounds; 0 where the encoder does not distinguish these rows.
        """
        raise NotImplementedError

    def kl_floor(self) -> float:
        """Compute the floor of the mean KL of all components together, in nats.

        Returns
        -------
        float
            Sum of `component_floors`, unless a posterior has only a floor of the total.
        """
        return float(self.component_floors().sum())

    def extra_repr(self) -> str:
        return f"n_components={self.n_components}, tau={self.tau}"

    def location_variance(self) -> np.ndarray:
        """Return the stored variance of the raw first head, on which the floors depend.

        Returns
        -------
        ndarray of shape (n_components,)
            Variance in double precision, for posteriors whose `collect` returns that head first.
        """
        return self.variance[: self.n_components].double().cpu().numpy()


class GaussianPosterior(Posterior):
    """The plain VAE: ``mu`` and ``log sigma^2`` are free, and nothing stops them collapsing.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Ignored, because there is no floor.

    References
    ----------
    Kingma and Welling (2014), *Auto-encoding variational Bayes*, arXiv:1312.6114.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import GaussianPosterior
    >>> GaussianPosterior(8, 2)(torch.randn(5, 8)).batch_shape
    torch.Size([5, 2])
    """

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.zeros(self.n_components)


class PriorPosterior(GaussianPosterior):
    """The prior itself for every row: a code without information, and a KL of exactly 0.

    With a decoder that ignores the code, what remains is a model of x alone.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Ignored, because there is no floor.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import PriorPosterior
    >>> q = PriorPosterior(8, 2)(torch.randn(5, 8))
    >>> q.loc.unique().tolist(), q.scale.unique().tolist()
    ([0.0], [1.0])
    """

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(location), torch.ones_like(location)


class BatchNormMeanPosterior(Posterior):
    """Batch normalization on the mean only, as in the paper.

    ``mu = gamma (m - E m) / sqrt(Var m + eps) + beta`` with ``gamma = sqrt(tau)`` fixed and
    ``beta`` learned; ``log sigma^2`` free. The mean KL over the batch is at least
    ``1/2 sum_j (gamma^2 + beta_j^2)``. Tau is ``gamma^2`` here, so that it means the same in all
    posteriors: the paper's gamma 0.7 is tau 0.49.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        ``gamma^2``, in (0, 1).

    References
    ----------
    Zhu et al. (2020), *A batch normalized inference network keeps the KL vanishing away*,
    ACL 2020, arXiv:2004.12585.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import BatchNormMeanPosterior
    >>> q = BatchNormMeanPosterior(8, 2, tau=0.25)(torch.randn(100, 8))
    >>> q.loc.std(0, correction=0).round(decimals=3).tolist()
    [0.5, 0.5]
    """

    centered = True

    def __init__(self, in_features: int, n_components: int, tau: float = 0.5) -> None:
        super().__init__(in_features, n_components, tau)
        self.beta = nn.Parameter(torch.zeros(n_components))

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gamma = (self.tau / (moments.variance + self.eps)).sqrt()
        return gamma * (location - moments.mean) + self.beta, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        beta = self.beta.detach().double().cpu().numpy()
        return mean_kl_floor(self.tau**0.5, beta, variance=self.location_variance(), eps=self.eps)


class BatchNormPosterior(Posterior):
    """Batch normalization on mean *and* standard deviation, as in the article.

    Both heads go through a batch normalization without scale and shift (eps 1e-8) and are then
    multiplied by ``gamma_mu`` and ``gamma_sigma``, tied by one learned ``theta`` per component::

        gamma_mu^2    = tau + (1 - tau) sigmoid( theta)
        gamma_sigma^2 =       (1 - tau) sigmoid(-theta)

    so that ``E mu = 0`` and ``E mu^2 + E sigma^2 = 1`` over the batch, as under the prior. The
    second head is a *signed* standard deviation; its sign has no effect, since the noise is
    symmetric. It crosses zero within the batch, where the gradient of ``log sigma^2`` is
    unbounded. :class:`MomentPosterior` has the same moments without this flaw.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Lower bound of ``gamma_mu^2``, in (0, 1).

    References
    ----------
    Su (2020), *VAE + BN = a better VAE* (in Chinese), kexue.fm/archives/7381.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import BatchNormPosterior
    >>> q = BatchNormPosterior(8, 2)(torch.randn(100, 8))
    >>> (q.loc.square() + q.scale.square()).mean(0).round(decimals=3).tolist()
    [1.0, 1.0]
    """

    def __init__(self, in_features: int, n_components: int, tau: float = 0.5) -> None:
        super().__init__(in_features, n_components, tau)
        self.theta = nn.Parameter(torch.zeros(n_components))

    renormalized = False  # plain BN, as in the article

    def spread(self, head: torch.Tensor) -> torch.Tensor:
        return head  # a standard deviation with a sign

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([location, spread], dim=-1), spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        columns, _ = self.collect(location, spread)
        standard = (columns - moments.mean) * (moments.variance + self.eps).rsqrt()
        loc, signed = standard.chunk(2, dim=-1)
        gamma_mu, gamma_sigma = (square.sqrt() for square in gamma_squares(self.tau, self.theta))
        # Only a head of almost exactly 0 is changed: its logarithm must stay finite.
        return gamma_mu * loc, (gamma_sigma * signed).abs().clamp_min(1e-15)

    def component_floors(self) -> np.ndarray:
        return kl_floor(self.tau * shrinkage(self.location_variance(), self.eps))


class MomentPosterior(Posterior):
    """Matched moments with a positive standard deviation; the default.

    The mean is batch-normalized, the variance divided by its mean over the batch::

        mu      = gamma_mu (m - E m) / sqrt(Var m + eps)
        sigma^2 = gamma_sigma^2 r / E r,    r = exp(l)

    with ``gamma_mu^2 = tau + (1 - tau) sigmoid(theta)`` and ``gamma_sigma^2`` the rest of 1, so
    that ``E mu = 0`` and ``E mu^2 + E sigma^2 = 1`` over the batch, eps included: what eps
    takes from the mean goes to the noise. The mean KL over the batch is at least
    ``-d/2 log(1 - tau)``, at the gradients of a plain VAE.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        Lower bound of ``gamma_mu^2``, in (0, 1).
    gamma : {"heads", "theta"}, default="heads"
        Source of theta: the logarithm of the heads' signal-to-noise ratio ``Var m / E r``, or a
        separate parameter. The latter moves ten times as fast as the others under Adam, because
        at their pace it would hardly leave 0 during a fit.

    Examples
    --------
    The posterior of a batch has the moments of the prior, and its KL a floor:

    >>> import torch
    >>> from skvae.posteriors import MomentPosterior
    >>> posterior = MomentPosterior(8, 2, tau=0.5)
    >>> q = posterior(torch.randn(100, 8))
    >>> (q.loc.square() + q.scale.square()).mean(0).round(decimals=3).tolist()
    [1.0, 1.0]
    >>> kl = -q.scale.log().mean(0)
    >>> bool((kl > 0.3466).all())
    True
    """

    centered = True
    theta_pace = 10.0

    def __init__(
        self,
        in_features: int,
        n_components: int,
        tau: float = 0.5,
        gamma: Literal["heads", "theta"] = "heads",
    ) -> None:
        super().__init__(in_features, n_components, tau)
        self.closed_form = gamma == "heads"
        if gamma not in ("heads", "theta"):
            raise ValueError(f"gamma must be 'heads' or 'theta'; got {gamma!r}")
        self.theta = nn.Parameter(torch.zeros(n_components)) if gamma == "theta" else None

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return location, spread

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        signal, noise = self.gains(moments)
        return signal.sqrt() * (location - moments.mean), (noise * spread).sqrt()

    def forward(self, features: torch.Tensor, weight: torch.Tensor | None = None) -> Normal:
        heads = self.heads
        # The closed form contains the equations of this class and the product of plain heads.
        closed_form = self.closed_form and type(self) is MomentPosterior and type(heads) is Heads
        if not (closed_form and self.training):
            return super().forward(features, weight)
        with torch.no_grad():
            location, spread = self.read(F.linear(features, heads.weight, heads.bias))
            batch = Moments.of(location, spread, weight)
            running, share = self.update_running(batch)
        row_share = 1 / len(features) if weight is None else (weight / batch.weight).unsqueeze(-1)
        values = location, spread, row_share, batch, running, share, self.tau, self.eps
        return normal(*MatchedMoments.apply(features, heads.weight, heads.bias, *values))

    def gains(self, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """Divide the unit second moment of each component between mean and noise.

        Parameters
        ----------
        moments : Moments
            Moments of the two heads.

        Returns
        -------
        signal, noise : Tensor of shape (n_components,)
            Factors of ``(m - E m)^2`` and of r: ``gamma_mu^2 / (Var m + eps)``, and
            ``gamma_sigma^2 / E r`` plus what eps takes from the mean.
        """
        gamma_sigma_sq = (1 - self.tau) * self.noise_share(moments)
        signal = (1 - gamma_sigma_sq) / (moments.variance + self.eps)
        return signal, torch.add(gamma_sigma_sq, signal, alpha=self.eps) / moments.mean_square

    def noise_share(self, moments: Moments) -> torch.Tensor:
        """Return the share ``sigmoid(-theta)`` that the noise has in ``1 - tau``.

        Parameters
        ----------
        moments : Moments
            Moments of the two heads.

        Returns
        -------
        Tensor of shape (n_components,)
            ``E r / (Var m + eps + E r)`` where theta comes from the heads.
        """
        if self.theta is not None:
            return (-self.theta_pace * self.theta).sigmoid()
        return moments.mean_square / (moments.variance + self.eps + moments.mean_square)

    def gradient_share(self, running: Moments, share: float) -> float | torch.Tensor:
        """Return the share of the batch's gradient, which grows with the component's noise.

        In a component that is all noise, the floor is active, and the loss pulls at the scale of
        its raw heads in every step; the gradient through the moments cancels that pull. A precise
        component feels no such pull on average, and the gradient through its moments is only noise.

        Parameters
        ----------
        running : Moments
            Running moments, the batch included.
        share : float
            Share of the batch in them.

        Returns
        -------
        Tensor of shape (n_components,)
            ``share + (1 - share) noise_share``.
        """
        return self.noise_share(running).mul_(1 - share).add_(share)

    def component_floors(self) -> np.ndarray:
        return kl_floor(self.tau * shrinkage(self.location_variance(), self.eps))


class LayerNormPosterior(Posterior):
    """Normalization within each row instead of over the batch, to show why that is not enough.

    ``mu = gamma (m - mean_j m) / sqrt(var_j m + eps)`` with ``gamma = sqrt(tau)``, the mean and
    variance taken over the components of one row; ``log sigma^2`` free. Every row's KL is at
    least ``d tau / 2``, yet the same ``mu`` for all rows reaches that and carries no information.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        ``gamma^2``, in (0, 1).

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import LayerNormPosterior
    >>> q = LayerNormPosterior(8, 4, tau=0.5)(torch.randn(3, 8))
    >>> q.loc.square().sum(1).round(decimals=3).tolist()
    [2.0, 2.0, 2.0]
    """

    def collect(
        self, location: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        variance = location.var(dim=-1, correction=0, keepdim=True)
        return variance / (variance + self.eps), spread[..., :0]

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        variance, mean = torch.var_mean(location, dim=-1, correction=0, keepdim=True)
        standard = (location - mean) * (variance + self.eps).rsqrt()
        return self.tau**0.5 * standard, spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.zeros(self.n_components)

    def kl_floor(self) -> float:
        return float(layer_norm_kl_floor(self.tau, self.n_components) * self.mean)


class DeltaPosterior(Posterior):
    """The constraint of delta-VAEs: every row's KL is at least delta in every component.

    ``sigma^2`` lies between the roots of ``u - log u - 1 = 2 delta``, and
    ``mu = sqrt(2 delta + 1 + log sigma^2 - sigma^2) + max(0, m)`` adds what is missing. Delta is
    the floor that tau implies in the other posteriors, ``-1/2 log(1 - tau)``. It is a floor for
    each row and does not require that rows differ: a code that is the same for all rows meets it.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_components : int
        Number of components of the code.
    tau : float, default=0.5
        In (0, 1); delta is `skvae.bounds.kl_floor` of it.

    References
    ----------
    Razavi et al. (2019), *Preventing posterior collapse with delta-VAEs*, arXiv:1901.03416.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal, kl_divergence
    >>> from skvae.posteriors import DeltaPosterior
    >>> kl = kl_divergence(DeltaPosterior(8, 2)(torch.randn(5, 8)), Normal(0.0, 1.0))
    >>> bool((kl > 0.3465).all())
    True
    """

    @property
    def delta(self) -> float:
        """Floor of each row's KL in each component, in nats."""
        return float(kl_floor(self.tau))

    def spread(self, head: torch.Tensor) -> torch.Tensor:
        lowest, highest = (
            np.log(-lambertw(-np.exp(-1 - 2 * self.delta), branch).real) for branch in (0, -1)
        )
        return (float(lowest) + float(highest - lowest) * head.sigmoid()).exp()

    def standardise(
        self, location: torch.Tensor, spread: torch.Tensor, moments: Moments
    ) -> tuple[torch.Tensor, torch.Tensor]:
        missing = 2 * self.delta + 1 + spread.log() - spread
        return (missing.clamp_min(0.0) + self.eps).sqrt() + location.relu(), spread.sqrt()

    def component_floors(self) -> np.ndarray:
        return np.full(self.n_components, self.delta)


POSTERIORS = {
    "gaussian": GaussianPosterior,
    "batchnorm-mean": BatchNormMeanPosterior,
    "batchnorm": BatchNormPosterior,
    "moment": MomentPosterior,
    "layernorm": LayerNormPosterior,
    "delta": DeltaPosterior,
}
