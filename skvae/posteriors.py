"""q(z|x): from features to a Gaussian posterior that cannot collapse.

Each posterior is a module from features to a `torch.distributions.Normal`, to be put at the
end of any encoder. What sets them apart is how the two raw heads become mean and standard
deviation. Most normalize the heads by moments over the rows. In training these are running
moments, through which the gradient of the batch's own moments flows (batch renormalization);
afterwards they are the running moments as they stand or, once :meth:`Posterior.finalise` has
seen all training rows, the exact moments of those. Only :meth:`Posterior.moments` knows which.
"""

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
    """Mean and variance of some columns and mean square of others, over weighted rows.

    Parameters
    ----------
    weight : Tensor of shape ()
        Sum of the rows' weights.
    mean, variance : Tensor of shape (n_columns,)
        Of the columns.
    mean_square : Tensor of shape (n_squares,)
        Mean of the squares.
    """

    weight: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    mean_square: torch.Tensor

    @staticmethod
    def of(columns, squares, weight=None):
        """Measure them, rows along the first axis.

        Parameters
        ----------
        columns : Tensor of shape (n_samples, ..., n_columns)
            Of which mean and variance are wanted.
        squares : Tensor of shape (n_samples, ..., n_squares)
            Of which the mean is wanted.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            With variances that divide by the number of rows.
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

    def merge(self, other):
        """Merge with the moments of other rows (Chan et al. 1979).

        Parameters
        ----------
        other : Moments
            Of the same columns.

        Returns
        -------
        Moments
            Of the rows of both.
        """
        total = self.weight + other.weight
        return self.mix(other, float(other.weight / total))._replace(weight=total)

    def mix(self, other, share):
        """Take the moments of a mixture of these rows and others.

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

    def at_scale_of(self, running, gradient_share=1.0):
        """Take variance and mean square from other moments, with the gradient of these.

        Parameters
        ----------
        running : Moments
            Moments of the same columns, whose values are taken.
        gradient_share : float or Tensor of shape (n_columns,), default=1.0
            Share of the gradient that flows through them.

        Returns
        -------
        Moments
            Moments with the mean of these. The other two keep the *relative* change of these:
            columns that they normalize are blind to a scale of the raw ones.
        """

        def at_value(value, mine):
            ratio = mine / mine.detach().clamp_min(torch.finfo(mine.dtype).tiny)
            return value * (1.0 + gradient_share * (ratio - ratio.detach()))

        return self._replace(
            variance=at_value(running.variance, self.variance),
            mean_square=at_value(running.mean_square, self.mean_square),
        )


def gamma_squares(tau, theta):
    """The article's scales: ``tau + (1 - tau) sigmoid(theta)`` and the rest of 1.

    Parameters
    ----------
    tau : float or Tensor
        Lower bound of the first, in (0, 1).
    theta : Tensor of shape (n_components,)
        Free.

    Returns
    -------
    tuple of Tensor
        ``gamma_mu^2`` and ``gamma_sigma^2``, whose sum is 1.
    """
    return tau + (1 - tau) * theta.sigmoid(), (1 - tau) * (-theta).sigmoid()


class Heads(nn.Linear):
    """Two linear heads, of which the bias of the first is not trained.

    For posteriors that take the mean out of the first head: that bias has no effect, and its
    gradient is nothing but rounding. Adam would make whole steps of it, which the running mean
    follows late.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    out_features : int
        Twice the number of components.
    """

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        trained = torch.cat([torch.zeros(out_features // 2), torch.ones(out_features // 2)])
        self.register_buffer("trained", trained, persistent=False)

    def forward(self, features):
        """Map features to both raw heads.

        Parameters
        ----------
        features : Tensor of shape (n_samples, in_features)
            Output of the encoder.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            The first head and the second, side by side.
        """
        # The value of the bias everywhere, its gradient where `trained` is 1.
        bias = torch.lerp(self.bias.detach(), self.bias, self.trained)
        return F.linear(features, self.weight, bias)


class Posterior(nn.Module):
    """Abstract base: two linear heads, their moments, and a Gaussian made of both.

    A subclass says which moments it needs (`collect`) and how heads and moments become mean and
    standard deviation (`standardise`). The second head is a log variance, unless `spread` says
    otherwise.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
    tau : float, default=0.5
        In (0, 1): lower bound of the second moment of each component's mean.
    """

    eps = 1e-8  # added to variances; at 1e-5 a small initialisation loses the floor
    smallest_share = 0.05  # of the newest batch in the running moments
    renormalized = True  # whether training takes the running moments or those of the batch
    centered = False  # whether `standardise` takes the mean of the first head out

    def __init__(self, in_features, n_components, tau=0.5):
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
        self.n_batches = 0  # batches in the running moments

    def spread(self, head):
        """Read the second head: as the log of a variance, unless overridden.

        Parameters
        ----------
        head : Tensor of shape (n_samples, n_components)
            Any numbers.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The variance.
        """
        # Neither 0 nor infinite, however far a row is from those of the training.
        return head.clamp(-40.0, 30.0).exp()

    def collect(self, location, spread):
        """Name the moments that this posterior asks for; none unless overridden.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            The first head, and the second as `spread` reads it.

        Returns
        -------
        tuple of Tensor
            Columns whose mean and variance are needed, the location first, and squares of which
            only the mean is; rows along the first axis.
        """
        return location[..., :0], spread[..., :0]

    def standardise(self, location, spread, moments):
        """Turn the raw heads into mean and standard deviation.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            The first head, and the second as `spread` reads it.
        moments : Moments
            Of what `collect` returned, over the batch or over all training rows.

        Returns
        -------
        tuple of Tensor
            Mean and standard deviation, both (n_samples, n_components).
        """
        raise NotImplementedError

    def forward(self, features, weight=None):
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
            Of batch shape (n_samples, n_components).
        """
        location, spread = self.read(self.heads(features))
        loc, scale = self.standardise(location, spread, self.moments(location, spread, weight))
        if self.training and self.renormalized:
            # What lies between the batch's mean and the running one is a constant (Ioffe 2017), so
            # that the gradient stays blind to a shift and to the scale of the raw head.
            with torch.no_grad():
                value, _ = self.standardise(location, spread, self.stored_moments())
            loc = loc + (value - loc).detach()
        return Normal(loc, scale, validate_args=False)

    def read(self, heads):
        """Split the raw heads, the second read by `spread`.

        Parameters
        ----------
        heads : Tensor of shape (n_samples, 2 * n_components)
            The raw heads, side by side.

        Returns
        -------
        location, spread : Tensor of shape (n_samples, n_components)
            What the other methods take.
        """
        location, head = heads.chunk(2, dim=-1)
        return location, self.spread(head)

    def moments(self, location, spread, weight=None):
        """Return the moments to normalize with.

        In evaluation these are the stored ones. In training the batch first takes its share in
        the stored ones, which are running moments then. Variance and mean square have their
        values, free of the noise of a single batch, and the gradient of the batch's own, as far
        as `gradient_share` lets it through; the mean is the batch's.

        Parameters
        ----------
        location, spread : Tensor of shape (n_samples, n_components)
            The first head, and the second as `spread` reads it.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            Moments of what `collect` names.
        """
        if not self.training or not len(self.mean):
            return self.stored_moments()
        batch = Moments.of(*self.collect(location, spread), weight)
        with torch.no_grad():
            running, share = self.update_running(batch)
            gradient_share = self.gradient_share(running, share)
        return batch.at_scale_of(running, gradient_share) if self.renormalized else batch

    def update_running(self, batch):
        """Let a batch take its share in the running moments.

        Parameters
        ----------
        batch : Moments
            Moments of a batch of training rows. No gradient is recorded where this is called.

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

    def share_of_batch(self):
        """Return the share of the next batch in the running moments.

        Returns
        -------
        float
            ``max(0.05, 9 / (9 + t))`` after t batches: 1 for the first.
        """
        return max(self.smallest_share, 9 / (9 + self.n_batches))

    def get_extra_state(self):
        """Return what `state_dict` holds beside parameters and buffers.

        Returns
        -------
        Tensor of shape ()
            The number of batches in the running moments, `n_batches`.
        """
        return torch.tensor(self.n_batches)

    def set_extra_state(self, state):
        """Take what `get_extra_state` returned.

        Parameters
        ----------
        state : Tensor of shape ()
            The number of batches in the running moments.
        """
        self.n_batches = int(state)

    def gradient_share(self, running, share):
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
            All of it, unless overridden.
        """
        return 1.0

    def stored_moments(self):
        """Return the moments that evaluation uses.

        Returns
        -------
        Moments
            Views of the buffers; their weight is 0 until `finalise` was called.
        """
        # Not by attribute, which PyTorch would look up in three dictionaries each.
        return Moments(*(self._buffers[name] for name in Moments._fields))

    @torch.no_grad()
    def finalise(self, batches, previous=None):
        """Store the exact moments of all rows, for evaluation.

        Parameters
        ----------
        batches : iterable of (features, weight)
            All rows, as `forward` takes them; computed with the final encoder.
        previous : Moments, optional
            Moments to merge with, of rows seen before.
        """
        moments = None  # merged as they come: small tensors that stay would hold up the memory
        for features, weight in batches:
            part = self.measure(features, weight)
            moments = part if moments is None else moments.merge(part)
        if moments is None:
            raise ValueError("finalise needs at least one batch of rows; got none")
        if previous is not None:
            moments = moments.merge(Moments(*(old.to(moments.mean.dtype) for old in previous)))
        self.store(moments)

    def measure(self, features, weight=None):
        """Take the moments of rows, in double precision where the device has it.

        Parameters
        ----------
        features : Tensor of shape (n_samples, in_features)
            Output of the encoder.
        weight : Tensor of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        Moments
            Of what `collect` names.
        """
        columns, squares = self.collect(*self.read(self.heads(features)))
        dtype = columns.dtype if columns.device.type == "mps" else torch.float64
        weight = torch.ones(len(columns), device=columns.device) if weight is None else weight
        return Moments.of(columns.to(dtype), squares.to(dtype), weight.to(dtype))

    def store(self, moments):
        """Keep moments for evaluation.

        Parameters
        ----------
        moments : Moments
            Of all rows.
        """
        for stored, new in zip(self.stored_moments(), moments, strict=True):
            stored.copy_(new)

    def component_floors(self):
        """Floor of each component's mean KL over the rows of the stored moments, in nats.

        Returns
        -------
        ndarray of shape (n_components,)
            Zero where the encoder cannot tell those rows apart.
        """
        raise NotImplementedError

    def kl_floor(self):
        """Floor of the mean KL over the rows of the stored moments, all components, in nats.

        Returns
        -------
        float
            The sum of `component_floors`, unless the scheme knows only a total.
        """
        return float(self.component_floors().sum())

    def extra_repr(self):
        return f"n_components={self.n_components}, tau={self.tau}"

    def location_variance(self):
        """Stored variance of the raw mean head, for the floors.

        Returns
        -------
        ndarray of shape (n_components,)
            Of the schemes whose first columns of moments are that head.
        """
        return self.variance[: self.n_components].double().cpu().numpy()


class GaussianPosterior(Posterior):
    """The plain VAE: ``mu`` and ``log sigma^2`` are free, and nothing stops them collapsing.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
    tau : float, default=0.5
        Without effect: there is no floor.

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

    def standardise(self, location, spread, moments):
        return location, spread.sqrt()

    def component_floors(self):
        return np.zeros(self.n_components)


class PriorPosterior(GaussianPosterior):
    """The prior itself, for every row: a code that says nothing, and a KL of exactly 0.

    With a decoder that does not listen either, what is left is a model of x alone.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
    tau : float, default=0.5
        Without effect: there is no floor.

    Examples
    --------
    >>> import torch
    >>> from skvae.posteriors import PriorPosterior
    >>> q = PriorPosterior(8, 2)(torch.randn(5, 8))
    >>> q.loc.unique().tolist(), q.scale.unique().tolist()
    ([0.0], [1.0])
    """

    def standardise(self, location, spread, moments):
        return torch.zeros_like(location), torch.ones_like(location)


class BatchNormMeanPosterior(Posterior):
    """Batch normalization on the mean only, as in the paper.

    ``mu = gamma (m - E m) / sqrt(Var m + eps) + beta`` with ``gamma = sqrt(tau)`` fixed and
    ``beta`` learnt; ``log sigma^2`` free. The mean KL over the batch is at least
    ``1/2 sum_j (gamma^2 + beta_j^2)``. Tau is ``gamma^2`` here so that one word serves all
    schemes: the paper's gamma 0.7 is tau 0.49.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
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

    def __init__(self, in_features, n_components, tau=0.5):
        super().__init__(in_features, n_components, tau)
        self.beta = nn.Parameter(torch.zeros(n_components))

    def collect(self, location, spread):
        return location, spread[..., :0]

    def standardise(self, location, spread, moments):
        gamma = (self.tau / (moments.variance + self.eps)).sqrt()
        return gamma * (location - moments.mean) + self.beta, spread.sqrt()

    def component_floors(self):
        beta = self.beta.detach().double().cpu().numpy()
        return mean_kl_floor(self.tau**0.5, beta, variance=self.location_variance(), eps=self.eps)


class BatchNormPosterior(Posterior):
    """Batch normalization on mean *and* standard deviation, as in the article.

    Both heads go through a batch normalization without scale and shift (eps 1e-8) and are then
    multiplied by ``gamma_mu`` and ``gamma_sigma``, tied by one learnt ``theta`` a component::

        gamma_mu^2    = tau + (1 - tau) sigmoid( theta)
        gamma_sigma^2 =       (1 - tau) sigmoid(-theta)

    so that ``E mu = 0`` and ``E mu^2 + E sigma^2 = 1`` over the batch, as under the prior. The
    second head is a *signed* standard deviation; its sign means nothing, the noise being
    symmetric. It crosses zero within the batch, where the gradient of ``log sigma^2`` has no
    bound: :class:`MomentPosterior` keeps the moments without that.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
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

    def __init__(self, in_features, n_components, tau=0.5):
        super().__init__(in_features, n_components, tau)
        self.theta = nn.Parameter(torch.zeros(n_components))

    renormalized = False  # plain BN, as in the article

    def spread(self, head):
        return head  # a standard deviation with a sign

    def collect(self, location, spread):
        return torch.cat([location, spread], dim=-1), spread[..., :0]

    def standardise(self, location, spread, moments):
        columns, _ = self.collect(location, spread)
        standard = (columns - moments.mean) * (moments.variance + self.eps).rsqrt()
        loc, signed = standard.chunk(2, dim=-1)
        gamma_mu, gamma_sigma = (square.sqrt() for square in gamma_squares(self.tau, self.theta))
        # Only a head that is exactly 0 is moved: its log and the noise must stay finite.
        return gamma_mu * loc, (gamma_sigma * signed).abs().clamp_min(1e-15)

    def component_floors(self):
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
        Columns of the features.
    n_components : int
        Components of the code.
    tau : float, default=0.5
        Lower bound of ``gamma_mu^2``, in (0, 1).
    gamma : {"heads", "theta"}, default="heads"
        Where theta comes from: read off the heads as the log of their signal-to-noise ratio
        ``Var m / E r``, or a parameter of its own, ten times as fast as the others under
        Adam because at their pace it hardly leaves 0 in a normal fit.

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

    def collect(self, location, spread):
        return location, spread

    def standardise(self, location, spread, moments):
        signal, noise = self.gains(moments)
        return signal.sqrt() * (location - moments.mean), (noise * spread).sqrt()

    def forward(self, features, weight=None):
        heads = self.heads
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

    def gains(self, moments):
        """Share out the unit second moment of each component, at least tau to its mean.

        Parameters
        ----------
        moments : Moments
            Moments of the two heads.

        Returns
        -------
        signal, noise : Tensor of shape (n_components,)
            Factors of ``(m - E m)^2`` and of r: ``gamma_mu^2 / (Var m + eps)``, and
            ``gamma_sigma^2 / E r`` with what eps takes from the former.
        """
        gamma_sigma_sq = (1 - self.tau) * self.noise_share(moments)
        signal = (1 - gamma_sigma_sq) / (moments.variance + self.eps)
        return signal, torch.add(gamma_sigma_sq, signal, alpha=self.eps) / moments.mean_square

    def noise_share(self, moments):
        """Return the noise's share ``sigmoid(-theta)`` of what tau leaves free.

        Parameters
        ----------
        moments : Moments
            Moments of the two heads.

        Returns
        -------
        Tensor of shape (n_components,)
            ``E r / (Var m + eps + E r)`` where theta is read off the heads.
        """
        if self.theta is not None:
            return (-self.theta_pace * self.theta).sigmoid()
        return moments.mean_square / (moments.variance + self.eps + moments.mean_square)

    def gradient_share(self, running, share):
        """Return the share of the gradient, which is that of the noise in the component.

        The floor holds up a component that is all noise: the force on its scale needs the answer
        that the gradient through the moments gives. A precise component feels no such force on
        average, and the answer would only be noise.

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

    def component_floors(self):
        return kl_floor(self.tau * shrinkage(self.location_variance(), self.eps))


class LayerNormPosterior(Posterior):
    """Normalization within each row instead of over the batch: for teaching why not.

    ``mu = gamma (m - mean_j m) / sqrt(var_j m + eps)`` with ``gamma = sqrt(tau)``, the mean and
    variance taken over the components of one row; ``log sigma^2`` free. Every row's KL is at
    least ``d tau / 2``, yet the same ``mu`` for all rows reaches that and carries no information.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
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

    def collect(self, location, spread):
        variance = location.var(dim=-1, correction=0, keepdim=True)
        return variance / (variance + self.eps), spread[..., :0]

    def standardise(self, location, spread, moments):
        variance, mean = torch.var_mean(location, dim=-1, correction=0, keepdim=True)
        standard = (location - mean) * (variance + self.eps).rsqrt()
        return self.tau**0.5 * standard, spread.sqrt()

    def component_floors(self):
        return np.zeros(self.n_components)

    def kl_floor(self):
        return float(layer_norm_kl_floor(self.tau, self.n_components) * self.mean)


class DeltaPosterior(Posterior):
    """Every row's KL at least delta in every component, by construction; to compare with.

    ``sigma^2`` lies between the roots of ``u - log u - 1 = 2 delta``, and
    ``mu = sqrt(2 delta + 1 + log sigma^2 - sigma^2) + max(0, m)`` makes up for the rest. Delta is
    the floor that tau stands for elsewhere, ``-1/2 log(1 - tau)``. It is a floor for each row, not
    a spread over the rows: a code that is the same for all rows meets it.

    Parameters
    ----------
    in_features : int
        Columns of the features.
    n_components : int
        Components of the code.
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
    def delta(self):
        """Floor of each row's KL in each component, in nats."""
        return float(kl_floor(self.tau))

    def spread(self, head):
        lowest, highest = (
            np.log(-lambertw(-np.exp(-1 - 2 * self.delta), branch).real) for branch in (0, -1)
        )
        return (float(lowest) + float(highest - lowest) * head.sigmoid()).exp()

    def standardise(self, location, spread, moments):
        missing = 2 * self.delta + 1 + spread.log() - spread
        return (missing.clamp_min(0.0) + self.eps).sqrt() + location.relu(), spread.sqrt()

    def component_floors(self):
        return np.full(self.n_components, self.delta)


POSTERIORS = {
    "gaussian": GaussianPosterior,
    "batchnorm-mean": BatchNormMeanPosterior,
    "batchnorm": BatchNormPosterior,
    "moment": MomentPosterior,
    "layernorm": LayerNormPosterior,
    "delta": DeltaPosterior,
}
