"""Likelihoods of counts: Poisson and negative binomial, as rates or as shares of a total."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution, NegativeBinomial
from torch.nn.functional import logsigmoid

from skvae.likelihoods.base import Likelihood, fractional_values, value_range


def _totals(x):
    """Sum the present cells of each row; never 0, whose logarithm would not be finite."""
    return x.nansum(-1, keepdim=True).clamp_min(0.5)


def _positive_means(marginals):
    """Return the means as if half a row of ones had been added, because log 0 is not finite."""
    return marginals.mean + 0.5 / marginals.n_samples


def _of_positive_counts(nats, value, *others):
    """Apply `nats` to the cells whose count is not 0, and return 0 for all others.

    In a wide table few counts are not 0, and gamma functions take most of the time of a score.
    """
    # On other devices, finding the cells would have to wait for the results so far.
    on_cpu = value.device.type == "cpu" and not value.requires_grad
    if not on_cpu or value.dim() < 2 or 4 * value.count_nonzero() > value.numel():
        return nats(value, *others)
    places = value.nonzero(as_tuple=True)
    found = nats(value[places], *(other[places] for other in others))
    return found.new_zeros(value.shape).index_put(places, found)


def _log_factorial(value):
    return (value + 1).lgamma()


def _log_combinations(value, total_count):
    """Return the log of the binomial coefficient of `value` and ``total_count + value - 1``."""
    return (total_count + value).lgamma() - (1.0 + value).lgamma() - total_count.lgamma()


class LogPoisson(Distribution):
    """Poisson distributions given by the logarithms of their rates, which may underflow.

    Parameters
    ----------
    log_rate : Tensor
        Logarithms of the expected counts, of any shape.
    """

    arg_constraints = {}

    def __init__(self, log_rate: torch.Tensor) -> None:
        super().__init__(log_rate.shape, validate_args=False)
        self.log_rate = log_rate

    @property
    def mean(self) -> torch.Tensor:
        return self.log_rate.exp()

    @property
    def variance(self) -> torch.Tensor:
        return self.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        constant = _of_positive_counts(_log_factorial, value)
        return (value * self.log_rate).sub_(self.log_rate.exp()).sub_(constant)

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return torch.poisson(self.log_rate.detach().exp().expand(shape))


class _NegativeBinomial(NegativeBinomial):
    """PyTorch's distribution, without the gamma functions where the count is 0."""

    def log_prob(self, value):
        value, total_count = torch.broadcast_tensors(value, self.total_count)
        nats = total_count * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        return nats + _of_positive_counts(_log_combinations, value, total_count)


class Shares(Distribution):
    """Distribution of rows of counts that are shares of the row's total.

    Parameters
    ----------
    log_share : Tensor of shape (n_samples, n_features)
        Logarithms of the shares, whose exponentials sum to 1 in each row.
    log_total : Tensor of shape (2,)
        Mean and standard deviation of the logarithm of the total, used where no row is given.
    row : callable
        Function from log rates to the distribution of the row.
    """

    arg_constraints = {}

    def __init__(
        self,
        log_share: torch.Tensor,
        log_total: torch.Tensor,
        row: Callable[[torch.Tensor], Distribution],
    ) -> None:
        super().__init__(log_share.shape[:-1], log_share.shape[-1:], validate_args=False)
        self.log_share, self.log_total, self.row = log_share, log_total, row

    @property
    def mean(self) -> torch.Tensor:
        return self.row(self.log_share + self.log_total[0]).mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        # In a row with missing cells, both the total and the shares are those of the other cells.
        present = ~value.isnan()
        log_sum = self.log_share.where(present, -torch.inf).logsumexp(-1, keepdim=True)
        log_sum = log_sum.where(present.any(-1, keepdim=True), 0.0)
        return self.row(self.log_share - log_sum + _totals(value).log()).log_prob(value)

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(
            *shape[:-1], 1, dtype=self.log_share.dtype, device=self.log_share.device
        )
        return self.row(self.log_share + self.log_total[0] + self.log_total[1] * noise).sample()


class CountLikelihood(Likelihood):
    """Abstract base of the likelihoods of counts.

    The outputs are log rates relative to those of the data. The encoder sees ``log(1 + x)``,
    standardized.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.
    exposure : {None, "total"}, default=None
        Whether the rates are shares of the row's total, which is given.
    """

    name: str | None = None
    # Beyond e^10 times the column's mean the rate grows linearly instead of exponentially, so
    # that the gradient stays finite if an output diverges.
    exponential_until = 10.0

    def __init__(self, n_features: int, exposure: Literal["total"] | None = None) -> None:
        super().__init__(n_features)
        if exposure not in (None, "total"):
            raise ValueError(
                f"exposure must be None or 'total', for rates that are shares of the row's total; "
                f"got {exposure!r}"
            )
        self.exposure = exposure
        self.log_mean = nn.Parameter(torch.zeros(n_features))
        self.register_buffer("seen_offset", torch.zeros(n_features))
        self.register_buffer("seen_scale", torch.ones(n_features))
        self.register_buffer("log_total", torch.tensor([np.log(n_features), 0.0]))

    def check_support(self, X: Any) -> None:
        (minimum, maximum), fractional = value_range(X), fractional_values(X)
        if maximum > 2**53:
            raise ValueError(
                f"likelihood={self.name!r} takes counts up to 2**53, beyond which floats are not "
                f"exact; got {maximum:g}. Count in other units, or use likelihood='student_t'."
            )
        if minimum < 0.0 or len(fractional):
            refused = minimum if minimum < 0.0 else fractional[0]
            raise ValueError(
                f"likelihood={self.name!r} takes counts, whole numbers from 0 on; got {refused:g}. "
                "Use likelihood='gaussian' or 'student_t' for other numbers."
            )

    def start(self, marginals: Any) -> None:
        log1p = marginals.log1p()
        with torch.no_grad():
            self.log_mean.copy_(torch.from_numpy(np.log(_positive_means(marginals))))
            self.seen_offset.copy_(torch.from_numpy(log1p.mean))
            self.seen_scale.copy_(torch.from_numpy(log1p.scale))
            if self.exposure == "total":
                self.log_total.copy_(torch.tensor(marginals.log_total()))

    def see(self, x: torch.Tensor) -> torch.Tensor:
        if self.exposure == "total":
            x = x * (self.log_total[0].exp() / _totals(x))
        return (x.log1p() - self.seen_offset) / self.seen_scale

    def cells(self, log_rate: torch.Tensor) -> Distribution:
        """Return the distribution of the counts given their log rates.

        Parameters
        ----------
        log_rate : Tensor of shape (n_samples, n_features)
            Logarithms of the expected counts.

        Returns
        -------
        Distribution
            Distribution of batch shape (n_samples, n_features).
        """
        raise NotImplementedError

    def forward(self, outputs: torch.Tensor) -> Distribution:
        if self.exposure == "total":
            log_share = (outputs + self.log_mean).log_softmax(-1)
            return Shares(log_share, self.log_total, lambda rate: self.row(self.cells(rate)))
        return self.row(self.cells(self._slowed(outputs) + self.log_mean))

    def _slowed(self, outputs):
        """Return outputs whose exponential grows only linearly from `exponential_until` on."""
        # Usually no output is so large, and finding that out takes a tenth of the time of the rest.
        if outputs.device.type == "cpu" and bool(outputs.max() <= self.exponential_until):
            return outputs
        excess = (outputs - self.exponential_until).clamp_min(0.0)
        return outputs.clamp_max(self.exponential_until) + excess.log1p()


class PoissonLikelihood(CountLikelihood):
    """Independent counts whose variance equals their mean.

    ``x_j ~ Poisson(m_j exp(output_j))``, where ``m_j`` starts at the column's mean. With
    ``exposure="total"`` it is ``x_j ~ Poisson(t s_j)``, where ``t`` is the row's total and the
    shares ``s`` are the softmax of ``output_j + log m_j``.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.
    exposure : {None, "total"}, default=None
        Whether the decoder describes the rates, or the shares of a total that is given. In the
        second case ``log_prob`` takes the total from the row and is that of the row *given* its
        total: such values compare with each other only. ``sample`` draws totals from a
        log-normal distribution with the moments of the data, and ``mean`` uses its median.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import PoissonLikelihood
    >>> p = PoissonLikelihood(3)(torch.zeros(5, 3))
    >>> p.log_prob(torch.zeros(5, 3)).tolist()  # exp(-1) for each of three counts of 0
    [-3.0, -3.0, -3.0, -3.0, -3.0]
    """

    name = "poisson"

    def cells(self, log_rate: torch.Tensor) -> Distribution:
        return LogPoisson(log_rate)


class NegativeBinomialLikelihood(CountLikelihood):
    """Independent counts whose variance exceeds their mean: ``m + dispersion m^2``.

    The mean is that of `PoissonLikelihood`. The dispersion is learned for each column and
    starts at that of the data. Such counts arise if the rate of a Poisson distribution varies
    with a gamma distribution. The dispersion stays above a thousandth, which is close to Poisson.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.
    exposure : {None, "total"}, default=None
        Whether the decoder describes rates or shares of a given total, as in `PoissonLikelihood`.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import NegativeBinomialLikelihood
    >>> p = NegativeBinomialLikelihood(3)(torch.zeros(5, 3))
    >>> p.mean[0].tolist(), p.variance[0].tolist()
    ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    """

    name = "negative_binomial"
    smallest_dispersion = 1e-3

    def __init__(self, n_features: int, exposure: Literal["total"] | None = None) -> None:
        super().__init__(n_features, exposure)
        # The dispersion is 1 before `start`.
        initial = np.log(1 - self.smallest_dispersion) / self.pace
        self.log_dispersion = nn.Parameter(torch.full((n_features,), initial))

    def start(self, marginals: Any) -> None:
        super().start(marginals)
        mean = _positive_means(marginals)
        variance = np.square(marginals.scale) * ~marginals.constant
        dispersion = np.clip((variance - mean) / np.square(mean), 0.1, 10.0)
        initial = np.log(dispersion - self.smallest_dispersion) / self.pace
        with torch.no_grad():
            self.log_dispersion.copy_(torch.from_numpy(initial))

    def dispersion(self) -> torch.Tensor:
        """Return the dispersion: the variance beyond that of Poisson, over the squared mean.

        Returns
        -------
        Tensor of shape (n_features,)
            Dispersion of each column.
        """
        return self.smallest_dispersion + (self.pace * self.log_dispersion).clamp_max(7.0).exp()

    def cells(self, log_rate: torch.Tensor) -> Distribution:
        dispersion = self.dispersion()
        logits = log_rate + dispersion.log()
        return _NegativeBinomial(1 / dispersion, logits=logits, validate_args=False)
