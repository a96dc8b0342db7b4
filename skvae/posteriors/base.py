"""What all posteriors share: two heads, and running moments in place of those of a batch.

In training the moments are running ones that carry the gradient of the batch's own (batch
renormalization). In evaluation they are the stored ones: the last running ones or, after
:meth:`Posterior.finalise`, the exact moments of all training rows. Only `Posterior._moments` makes
this choice.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from skvae._normal import normal
from skvae.posteriors.moments import Moments


class Heads(nn.Linear):
    """Two linear heads side by side; the bias of the first is not trained.

    Posteriors that subtract the mean of the first head need this: its bias has no effect, and the
    gradient of this bias is only rounding error. Adam would turn that into steps of full length,
    which the running mean would follow late.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        trained = torch.cat([torch.zeros(out_features // 2), torch.ones(out_features // 2)])
        self.register_buffer("trained", trained, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (n_samples, in_features) to both raw heads, side by side."""
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
        Lower bound on the second moment of each component's mean, in (0, 1).
    """

    eps = 1e-8  # added to variances; at 1e-5 a small initialization loses the floor
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
        location, spread = self._read(self.heads(features))
        loc, scale = self.standardise(location, spread, self._moments(location, spread, weight))
        if self.training and self.renormalized:
            # The offset between the batch's mean and the running mean is a constant (Ioffe 2017),
            # so that the gradient has no part along a shift or the scale of the raw head.
            with torch.no_grad():
                value, _ = self.standardise(location, spread, self.stored_moments())
            loc = loc + (value - loc).detach()
        return normal(loc, scale)

    def _read(self, heads):
        """Split the raw heads, side by side, and transform the second by `spread`."""
        location, head = heads.chunk(2, dim=-1)
        return location, self.spread(head)

    def _moments(self, location, spread, weight=None):
        """Return the moments to normalize with.

        In evaluation these are the stored moments. In training the stored moments are running
        moments, which the batch first updates. Variance and mean square then have the values of
        the running moments, free of the noise of a single batch, and the gradient of the batch's
        moments, multiplied by `gradient_share`; the mean is that of the batch.
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
        share = self._share_of_batch()
        running = self.stored_moments()._mixed(batch, share)
        # Not in place: the gradient of an earlier batch may still need the former ones.
        self._buffers.update(running._asdict())
        self.n_batches += 1
        return running, share

    def _share_of_batch(self):
        """Return the share of the next batch in the running moments."""
        return max(self.smallest_share, 9 / (9 + self.n_batches))  # the first batch counts whole

    # For `state_dict`, which holds it beside parameters and buffers.
    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor(self.n_batches)

    def set_extra_state(self, state: torch.Tensor) -> None:
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
            new = self._measured(features, weight)
            moments = new if moments is None else moments.merge(new)
        if moments is None:
            raise ValueError("finalise needs at least one batch of rows; got none")
        if previous is not None:
            moments = moments.merge(Moments(*(old.to(moments.mean.dtype) for old in previous)))
        self._store(moments)

    def _measured(self, features, weight=None):
        """Return the moments of rows, in double precision where the device has it."""
        columns, squares = self.collect(*self._read(self.heads(features)))
        dtype = columns.dtype if columns.device.type == "mps" else torch.float64
        weight = torch.ones(len(columns), device=columns.device) if weight is None else weight
        return Moments.of(columns.to(dtype), squares.to(dtype), weight.to(dtype))

    def _store(self, moments):
        """Store moments for evaluation."""
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
