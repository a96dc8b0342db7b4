"""Moments of columns over weighted rows."""

from typing import NamedTuple

import torch


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
        return self._mixed(other, float(other.weight / total))._replace(weight=total)

    def _mixed(self, other, share):
        """Return the moments of a mixture of these rows and a share of others; the weight stays."""
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
            constant = own.detach()
            ratio = value / constant.clamp_min(torch.finfo(own.dtype).tiny)
            # The ratio is bounded because a batch of equal rows has no variance.
            return torch.addcmul(value, gradient_share * ratio.clamp_max(1e12), own - constant)

        return self._replace(
            variance=with_value(running.variance, self.variance),
            mean_square=with_value(running.mean_square, self.mean_square),
        )
