"""Likelihoods of real numbers: the normal distribution and Student's t.

Both have a noise scale for each column. A column with a single value has a probability instead of a
density.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution, Normal, StudentT

from skvae.likelihoods.base import Likelihood

LOG_2_PI = math.log(2 * math.pi)


class _Noise(Normal):
    """A normal distribution around the outputs, with one scale per column for all rows."""

    def __init__(self, loc, scale):
        super().__init__(loc, scale, validate_args=False)
        self.shared_scale = scale

    def log_prob(self, value):
        # -1/2 residual^2 - log scale - 1/2 log 2 pi, with one logarithm per column.
        residual = (value - self.loc) / self.shared_scale
        log_peak = -self.shared_scale.log() - LOG_2_PI / 2
        return torch.addcmul(log_peak, residual, residual, value=-0.5)


class Constants(Distribution):
    """Distribution of real numbers, where some columns had a single value in the training rows.

    After ``n`` rows, such a column has this value again with probability ``(n + 1/2) / (n + 1)``
    and any other value with ``1/2 / (n + 1)``, as if half a row of each had been added to the
    data. Probabilities do not depend on units, and a value that never occurred costs a finite
    number of nats, however far away it is.

    Parameters
    ----------
    cells : Distribution
        Distribution of batch shape (n_samples, n_features), with 0 in its support.
    constant : Tensor of bool of shape (n_features,)
        Mask of the columns with a single value, which is 0 in the likelihood's units.
    tolerance : Tensor of shape (n_features,)
        Largest distance from 0 at which a cell still counts as equal.
    n_rows : int
        Number of training rows.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from skvae.likelihoods import Constants
    >>> cells = Normal(torch.zeros(1, 2), 1.0)
    >>> p = Constants(cells, torch.tensor([False, True]), torch.zeros(2), n_rows=9)
    >>> p.log_prob(torch.tensor([[0.0, 0.0], [0.0, 7.0]]))[:, 1].exp()
    tensor([0.9500, 0.0500])
    """

    arg_constraints = {}

    def __init__(
        self, cells: Distribution, constant: torch.Tensor, tolerance: torch.Tensor, n_rows: int
    ) -> None:
        super().__init__(cells.batch_shape, validate_args=False)
        self.cells, self.constant, self.tolerance = cells, constant, tolerance
        self.n_rows = n_rows

    @property
    def mean(self) -> torch.Tensor:
        return self.cells.mean.masked_fill(self.constant, 0.0)

    @property
    def variance(self) -> torch.Tensor:
        return self.cells.variance.masked_fill(self.constant, 0.0)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        same = value.abs() <= self.tolerance
        log_odds = math.log(2 * self.n_rows + 1)
        nats = self.cells.log_prob(value.masked_fill(self.constant, 0.0))
        return nats.where(~self.constant, log_odds * same - math.log(2 * self.n_rows + 2))

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        return self.cells.sample(sample_shape).masked_fill(self.constant, 0.0)


class GaussianLikelihood(Likelihood):
    """A normal distribution around the outputs, with one noise scale per column.

    ``x_j ~ N(output_j, scale_j^2)``. The scale is learned as in factor analysis, starts at that of
    the data, and is bounded below: otherwise a column that the decoder reproduces exactly would
    take the likelihood to infinity.

    A column with a single value has no scale, and its density would be infinite. It is
    described by the value and a probability instead (see `Constants`).

    Parameters
    ----------
    n_features : int
        Number of columns of the data.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import GaussianLikelihood
    >>> p = GaussianLikelihood(3)(torch.zeros(5, 3))
    >>> p.log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    smallest_scale = 1e-3  # in units of the column's standard deviation
    rounding = 1e-6  # relative error of a constant that was stored in single precision

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.log_scale = nn.Parameter(torch.zeros(n_features))
        self.register_buffer("scale_floor", torch.full((n_features,), self.smallest_scale))
        self.register_buffer("constant", torch.zeros(n_features, dtype=torch.bool))
        self.register_buffer("tolerance", torch.zeros(n_features))
        self.n_rows = None  # number of training rows, set if there are constant columns

    def units(self, marginals: Any) -> tuple[np.ndarray, np.ndarray]:
        return marginals.mean, marginals.scale

    def start(self, marginals: Any) -> None:
        self.constant.copy_(torch.from_numpy(marginals.constant))
        self.tolerance.copy_(torch.from_numpy(self.rounding * abs(marginals.mean)))
        self.n_rows = marginals.n_samples if marginals.constant.any() else None
        # The density of a constant column is computed but not used; it only has to be finite.
        self.scale_floor[self.constant] = 1.0
        with torch.no_grad():
            self.log_scale.copy_((1 - self.scale_floor.square()).clamp_min(1e-12).log() / 2)
            self.log_scale /= self.pace

    def scale(self) -> torch.Tensor:
        """Return the scale of the noise.

        Returns
        -------
        Tensor of shape (n_features,)
            Scale of each column in the likelihood's units; it has no meaning for a constant one.
        """
        return torch.hypot((self.pace * self.log_scale).exp(), self.scale_floor)

    def noise_variance(self) -> torch.Tensor:
        """Return the variance of the noise, ``Var(x_j | z)``, which is the same for all codes.

        Returns
        -------
        Tensor of shape (n_features,)
            Variance of each column in the likelihood's units; 0 for a column with a single value.

        Examples
        --------
        >>> from skvae.likelihoods import StudentTLikelihood
        >>> StudentTLikelihood(2).noise_variance().detach()  # scale 1 and 4 degrees of freedom
        tensor([2.0000, 2.0000])
        """
        return self(self.log_scale.new_zeros(1, self.n_outputs)).variance[0]

    def see(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.n_rows is None else x.masked_fill(self.constant, 0.0)

    def row(self, cells: Distribution) -> Distribution:
        if self.n_rows is not None:
            cells = Constants(cells, self.constant, self.tolerance, self.n_rows)
        return super().row(cells)

    def forward(self, outputs: torch.Tensor) -> Distribution:
        return self.row(_Noise(outputs, self.scale()))


class StudentTLikelihood(GaussianLikelihood):
    """Student's t distribution around the outputs, for real numbers with heavy tails.

    ``(x_j - output_j) / scale_j ~ t(df_j)``. Scale and degrees of freedom are learned for each
    column, with ``df_j > 2`` so that there is a variance. The cost of an outlier grows with the
    logarithm of its distance instead of the square. The units are median and interquartile range,
    and the encoder sees ``asinh`` of the values, so that an outlier does not drown out the others.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import GaussianLikelihood, StudentTLikelihood
    >>> x = torch.tensor([[20.0]])
    >>> for likelihood in (GaussianLikelihood, StudentTLikelihood):
    ...     print(f"{likelihood(1)(torch.zeros(1, 1)).log_prob(x).item():.1f}")
    -200.9
    -12.5
    """

    fewest_df = 2.0

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        # The degrees of freedom start at 4.
        self.log_df = nn.Parameter(torch.full((n_features,), np.log(2.0) / self.pace))

    def units(self, marginals: Any) -> tuple[np.ndarray, np.ndarray]:
        return marginals.median, marginals.robust_scale

    def see(self, x: torch.Tensor) -> torch.Tensor:
        return super().see(x).asinh()

    def df(self) -> torch.Tensor:
        """Return the degrees of freedom.

        Returns
        -------
        Tensor of shape (n_features,)
            Degrees of freedom of each column, above 2. The larger they are, the closer the
            distribution is to the normal one.
        """
        return self.fewest_df + (self.pace * self.log_df).clamp_max(7.0).exp()

    def forward(self, outputs: torch.Tensor) -> Distribution:
        return self.row(StudentT(self.df(), outputs, self.scale(), validate_args=False))
