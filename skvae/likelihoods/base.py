"""p(x|z): from the decoder's outputs to a distribution over rows.

A likelihood fixes what data it can take (`check_support`), in which units they are counted
(`units`), what of them the encoder sees (`inputs`), how many outputs the decoder must have and
what distribution they mean. A cell that is NaN is missing: it counts nothing, and the encoder is
told so.
"""

import math

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    NegativeBinomial,
    Normal,
    StudentT,
)

LOG_2_PI = math.log(2 * math.pi)


class Likelihood(nn.Module):
    """Abstract base of the likelihoods.

    Parameters
    ----------
    n_features : int
        Columns of the data.

    Attributes
    ----------
    n_outputs : int
        Columns that the decoder must put out.
    n_seen : int
        Columns that `see` makes of a row.
    missing : bool
        Whether cells may be missing; False until set.
    """

    missing = False

    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features
        self.n_outputs = n_features
        self.n_seen = n_features

    @property
    def n_inputs(self):
        """Columns that the encoder is given: those of `inputs`."""
        return self.n_seen + self.missing * self.n_features

    def check_support(self, X):
        """Refuse data that cannot be modelled.

        Parameters
        ----------
        X : ndarray or CSR of shape (n_samples, n_features)
            Rows in the units of the data; NaN where missing.

        Raises
        ------
        ValueError
            If one lies outside the support.
        """

    def units(self, marginals):
        """In which units rows are counted: ``x = (X - offset) / scale``.

        Parameters
        ----------
        marginals : skvae._data.units.Marginals
            Of the training rows.

        Returns
        -------
        tuple of ndarray of shape (n_features,)
            Offset and scale. Here, 0 and 1.
        """
        return np.zeros(self.n_features), np.ones(self.n_features)

    def start(self, marginals):
        """Set what is learnt to the marginals of the data.

        Parameters
        ----------
        marginals : skvae._data.units.Marginals
            Of the training rows, in their own units.
        """

    def code_weights(self):
        """Say which weights multiply the code, where the likelihood is given it as it is.

        Returns
        -------
        list of Parameter
            Here none: it is the decoder that reads the code.
        """
        return []

    def see(self, x):
        """What the encoder sees of complete rows.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows in the likelihood's units.

        Returns
        -------
        Tensor of shape (n_samples, n_seen)
            Here, the rows themselves.
        """
        return x

    def inputs(self, x):
        """What the encoder sees: the values, and beside them which cells are there.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Rows in the likelihood's units; NaN where missing.

        Returns
        -------
        Tensor of shape (n_samples, n_inputs)
            What `see` returns, with 0 for what is missing; and, if cells may be `missing`, 1 for
            each cell that is there and 0 for each that is not.
        """
        if not self.missing:
            return self.see(x)
        return torch.cat([self.see(x).nan_to_num(0.0), (~x.isnan()).to(x)], dim=-1)

    def expected(self, p):
        """What can be averaged over codes: of numbers the mean, of categories their probabilities.

        Parameters
        ----------
        p : Distribution
            As `forward` returns it.

        Returns
        -------
        Tensor of shape (n_samples, n_seen)
            Here, the mean.
        """
        return p.mean

    def settled(self, expected):
        """Rows that an average of `expected` stands for.

        Parameters
        ----------
        expected : Tensor of shape (n_samples, n_seen)
            A weighted mean of what `expected` returned for several codes.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Numbers as they are; of categories, the most probable.
        """
        return expected

    def row(self, cells):
        """A row of independent cells, some of which may be missing.

        Parameters
        ----------
        cells : Distribution
            Of batch shape (n_samples, n_features), with 0 in its support.

        Returns
        -------
        Distribution
            Of batch shape (n_samples,) and event shape (n_features,). Its ``log_prob`` is the
            sum over the cells that are there.
        """
        kind = Observed if self.missing else Independent
        return kind(cells, 1, validate_args=False)

    def forward(self, outputs):
        """Map the decoder's outputs to the distribution of every row.

        Parameters
        ----------
        outputs : Tensor of shape (n_samples, n_outputs)
            What the decoder makes of the codes.

        Returns
        -------
        Distribution
            Of batch shape (n_samples,) and event shape (n_features,).
        """
        raise NotImplementedError


class Observed(Independent):
    """Independent cells, of which those that are NaN count nothing.

    Parameters
    ----------
    base_distribution : Distribution
        The cells, with 0 in their support.
    reinterpreted_batch_ndims : int
        1: the last axis of the cells is a row.
    validate_args : bool or None, default=None
        As in `torch.distributions`.
    """

    def log_prob(self, value):
        there = ~value.isnan()
        nats = self.base_dist.log_prob(value.where(there, 0.0))
        return nats.where(there, 0.0).sum(-1)


class GaussianLikelihood(Likelihood):
    """A normal distribution around the outputs, with one noise scale per feature.

    ``x_j ~ N(output_j, scale_j^2)``, the scale learnt as in factor analysis and bounded below,
    so that a column that the decoder reproduces exactly does not take the likelihood to
    infinity. It starts at the scale of the data.

    A column with a single value has no scale, and a density there would be infinite. It is
    described by the value and a probability, see `Constants`.

    Parameters
    ----------
    n_features : int
        Columns of the data.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import GaussianLikelihood
    >>> p = GaussianLikelihood(3)(torch.zeros(5, 3))
    >>> p.log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    smallest_scale = 1e-3  # in units of the column's standard deviation
    pace = 10.0  # Adam moves log scale by this times the learning rate a step
    rounding = 1e-6  # of a constant, relative: it may come in single precision

    def __init__(self, n_features):
        super().__init__(n_features)
        self.log_scale = nn.Parameter(torch.zeros(n_features))
        self.register_buffer("scale_floor", torch.full((n_features,), self.smallest_scale))
        self.register_buffer("constant", torch.zeros(n_features, dtype=torch.bool))
        self.register_buffer("tolerance", torch.zeros(n_features))
        self.n_rows = None  # of the training, if there are constant columns

    def units(self, marginals):
        return marginals.mean, marginals.scale

    def start(self, marginals):
        self.constant.copy_(torch.from_numpy(marginals.constant))
        self.tolerance.copy_(torch.from_numpy(self.rounding * abs(marginals.mean)))
        self.n_rows = marginals.n_samples if marginals.constant.any() else None
        self.scale_floor[self.constant] = 1.0  # which nobody looks at, but it is finite
        with torch.no_grad():
            self.log_scale.copy_((1 - self.scale_floor.square()).clamp_min(1e-12).log() / 2)
            self.log_scale /= self.pace

    def scale(self):
        """Return the scale of the noise.

        Returns
        -------
        Tensor of shape (n_features,)
            One for each feature, in the likelihood's units; without a meaning for a constant one.
        """
        return torch.hypot((self.pace * self.log_scale).exp(), self.scale_floor)

    def see(self, x):
        return x if self.n_rows is None else x.masked_fill(self.constant, 0.0)

    def row(self, cells):
        if self.n_rows is not None:
            cells = Constants(cells, self.constant, self.tolerance, self.n_rows)
        return super().row(cells)

    def forward(self, outputs):
        return self.row(_Noise(outputs, self.scale()))


class Constants(Distribution):
    """Cells of real numbers, where columns with a single value in the training have only that.

    To find it again in such a column has the probability ``(n + 1/2) / (n + 1)`` after ``n`` rows,
    any other value ``1/2 / (n + 1)``: as if half a row of each had been seen too. Being
    probabilities, these do not depend on units; and a value that never was there costs a finite
    number of nats, however far away it is.

    Parameters
    ----------
    cells : Distribution
        Of batch shape (n_samples, n_features), with 0 in its support.
    constant : Tensor of bool of shape (n_features,)
        Which columns have a single value. It is 0 in the likelihood's units.
    tolerance : Tensor of shape (n_features,)
        How far from it a cell counts as equal.
    n_rows : int
        Rows of the training.

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

    def __init__(self, cells, constant, tolerance, n_rows):
        super().__init__(cells.batch_shape, validate_args=False)
        self.cells, self.constant, self.tolerance = cells, constant, tolerance
        self.n_rows = n_rows

    @property
    def mean(self):
        return self.cells.mean.masked_fill(self.constant, 0.0)

    @property
    def variance(self):
        return self.cells.variance.masked_fill(self.constant, 0.0)

    def log_prob(self, value):
        same = value.abs() <= self.tolerance
        odds = math.log(2 * self.n_rows + 1)
        nats = self.cells.log_prob(value.masked_fill(self.constant, 0.0))
        return nats.where(~self.constant, odds * same - math.log(2 * self.n_rows + 2))

    def sample(self, sample_shape=()):
        return self.cells.sample(sample_shape).masked_fill(self.constant, 0.0)


class _Noise(Normal):
    """A normal distribution around the outputs whose scale is one for all rows."""

    def __init__(self, loc, scale):
        super().__init__(loc, scale, validate_args=False)
        self.shared_scale = scale

    def log_prob(self, value):
        # The scale's log is taken once a feature, not once a cell.
        residual = (value - self.loc) / self.shared_scale
        return -0.5 * residual.square() - (self.shared_scale.log() + LOG_2_PI / 2)


class StudentTLikelihood(GaussianLikelihood):
    """Student's t around the outputs: for real numbers with heavy tails.

    ``(x_j - output_j) / scale_j ~ t(df_j)``, scale and degrees of freedom learnt for each feature,
    ``df_j > 2`` so that there is a variance. A value far out costs its logarithm and not its
    square. The units are median and interquartile range, and the encoder sees ``asinh`` of
    the values, so that no outlier drowns the others.

    Parameters
    ----------
    n_features : int
        Columns of the data.

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

    def __init__(self, n_features):
        super().__init__(n_features)
        # df starts at 4
        self.log_df = nn.Parameter(torch.full((n_features,), np.log(2.0) / self.pace))

    def units(self, marginals):
        return marginals.median, marginals.robust_scale

    def see(self, x):
        return super().see(x).asinh()

    def df(self):
        """Return the degrees of freedom.

        Returns
        -------
        Tensor of shape (n_features,)
            One for each feature, above 2. Far above, the distribution is the normal one.
        """
        return self.fewest_df + (self.pace * self.log_df).clamp_max(7.0).exp()

    def forward(self, outputs):
        return self.row(StudentT(self.df(), outputs, self.scale(), validate_args=False))


class BernoulliLikelihood(Likelihood):
    """Independent coin flips, the outputs being logits beside those of the data's means.

    Values strictly between 0 and 1 are taken as well (grey levels): then ``log p`` is the
    usual cross-entropy, a bound on nothing but good to train and compare on.

    Parameters
    ----------
    n_features : int
        Columns of the data.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import BernoulliLikelihood
    >>> p = BernoulliLikelihood(3)(torch.zeros(5, 3))
    >>> p.mean[0].tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, n_features):
        super().__init__(n_features)
        self.bias = nn.Parameter(torch.zeros(n_features))

    def check_support(self, X):
        minimum, maximum = _range(X)
        if minimum < 0.0 or maximum > 1.0:
            raise ValueError(
                "likelihood='bernoulli' takes values from 0 to 1; "
                f"got values from {minimum:g} to {maximum:g}. "
                "Rescale X, with MinMaxScaler(clip=True) say, or use likelihood='gaussian'."
            )

    def start(self, marginals):
        mean = torch.from_numpy(marginals.mean)
        with torch.no_grad():
            self.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())

    def forward(self, outputs):
        return self.row(Bernoulli(logits=outputs + self.bias, validate_args=False))


class CountLikelihood(Likelihood):
    """Abstract base of the likelihoods of counts.

    The outputs are log rates beside those of the data's means. The encoder sees ``log(1 + x)``,
    standardised.

    Parameters
    ----------
    n_features : int
        Columns of the data.
    exposure : {None, "total"}, default=None
        Whether the rates are shares of the row's total, which is given.
    """

    name = None
    # Beyond e^10 times the column's mean the rate grows linearly and no longer exponentially, so
    # that the gradient of an output that has run away is finite.
    exponential_until = 10.0

    def __init__(self, n_features, exposure=None):
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

    def check_support(self, X):
        (minimum, maximum), broken = _range(X), _not_whole(X)
        if maximum > 2**53:
            raise ValueError(
                f"likelihood={self.name!r} takes counts up to 2**53, beyond which floats are not "
                f"exact; got {maximum:g}. Count in other units, or use likelihood='student_t'."
            )
        if minimum < 0.0 or len(broken):
            came = minimum if minimum < 0.0 else broken[0]
            raise ValueError(
                f"likelihood={self.name!r} takes counts, whole numbers from 0 on; got {came:g}. "
                "Use likelihood='gaussian' or 'student_t' for other numbers."
            )

    def start(self, marginals):
        # As if half a row of ones had been seen too: log 0 is no start.
        mean = marginals.mean + 0.5 / marginals.n_samples
        seen = marginals.log1p()
        with torch.no_grad():
            self.log_mean.copy_(torch.from_numpy(np.log(mean)))
            self.seen_offset.copy_(torch.from_numpy(seen.mean))
            self.seen_scale.copy_(torch.from_numpy(seen.scale))
            if self.exposure == "total":
                self.log_total.copy_(torch.tensor(marginals.log_total()))

    def see(self, x):
        if self.exposure == "total":
            x = x * (self.log_total[0].exp() / _total(x))
        return (x.log1p() - self.seen_offset) / self.seen_scale

    def cells(self, log_rate):
        """The distribution of the counts at a log rate.

        Parameters
        ----------
        log_rate : Tensor of shape (n_samples, n_features)
            Logarithms of the expected counts.

        Returns
        -------
        Distribution
            Of batch shape (n_samples, n_features).
        """
        raise NotImplementedError

    def forward(self, outputs):
        if self.exposure == "total":
            log_share = (outputs + self.log_mean).log_softmax(-1)
            return Shares(log_share, self.log_total, lambda rate: self.row(self.cells(rate)))
        slowed = (outputs - self.exponential_until).clamp_min(0.0).log1p()
        return self.row(
            self.cells(outputs.clamp_max(self.exponential_until) + slowed + self.log_mean)
        )


class PoissonLikelihood(CountLikelihood):
    """Independent counts whose variance is their mean.

    ``x_j ~ Poisson(m_j exp(output_j))``, where ``m_j`` starts at the column's mean. With
    ``exposure="total"`` it is ``x_j ~ Poisson(t s_j)``: ``t`` is the row's total and the shares
    ``s`` are the softmax of the outputs beside the data's log means.

    Parameters
    ----------
    n_features : int
        Columns of the data.
    exposure : {None, "total"}, default=None
        Whether the decoder describes the rates, or the shares of a total that is given. Then
        ``log_prob`` takes the total from the row, and what is modelled is the row *given* its
        total: such values compare with each other only. ``sample`` draws totals from a
        log-normal distribution of the data's moments, ``mean`` takes its median.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import PoissonLikelihood
    >>> p = PoissonLikelihood(3)(torch.zeros(5, 3))
    >>> p.log_prob(torch.zeros(5, 3)).tolist()  # exp(-1) for each of three counts of 0
    [-3.0, -3.0, -3.0, -3.0, -3.0]
    """

    name = "poisson"

    def cells(self, log_rate):
        return LogPoisson(log_rate)


class NegativeBinomialLikelihood(CountLikelihood):
    """Independent counts whose variance exceeds their mean: ``m + dispersion m^2``.

    The mean is as in `PoissonLikelihood`; the dispersion is learnt, one for each feature, and
    starts at the data's. It is what a Poisson rate that varies by a gamma distribution leaves,
    and stays above a thousandth, which is next to Poisson.

    Parameters
    ----------
    n_features : int
        Columns of the data.
    exposure : {None, "total"}, default=None
        As in `PoissonLikelihood`: whether the decoder describes rates or shares of a given total.

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
    pace = 10.0  # as in GaussianLikelihood

    def __init__(self, n_features, exposure=None):
        super().__init__(n_features, exposure)
        start = np.log(1 - self.smallest_dispersion) / self.pace
        self.log_dispersion = nn.Parameter(torch.full((n_features,), start))

    def start(self, marginals):
        super().start(marginals)
        mean = marginals.mean + 0.5 / marginals.n_samples
        excess = (np.square(marginals.scale) * ~marginals.constant - mean) / np.square(mean)
        excess = np.clip(excess, 0.1, 10.0) - self.smallest_dispersion
        with torch.no_grad():
            self.log_dispersion.copy_(torch.from_numpy(np.log(excess) / self.pace))

    def dispersion(self):
        """Return the variance beyond that of Poisson, in units of the squared mean.

        Returns
        -------
        Tensor of shape (n_features,)
            One for each feature.
        """
        return self.smallest_dispersion + (self.pace * self.log_dispersion).clamp_max(7.0).exp()

    def cells(self, log_rate):
        dispersion = self.dispersion()
        logits = log_rate + dispersion.log()
        return NegativeBinomial(1 / dispersion, logits=logits, validate_args=False)


class LogPoisson(Distribution):
    """Poisson distributions given by the logarithm of their rate, which may underflow.

    Parameters
    ----------
    log_rate : Tensor
        Of any shape.
    """

    arg_constraints = {}

    def __init__(self, log_rate):
        super().__init__(log_rate.shape, validate_args=False)
        self.log_rate = log_rate

    @property
    def mean(self):
        return self.log_rate.exp()

    @property
    def variance(self):
        return self.log_rate.exp()

    def log_prob(self, value):
        return value * self.log_rate - self.log_rate.exp() - (value + 1).lgamma()

    def sample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        return torch.poisson(self.log_rate.detach().exp().expand(shape))


class Shares(Distribution):
    """Counts that share the total of their row.

    Parameters
    ----------
    log_share : Tensor of shape (n_samples, n_features)
        Their exponentials sum to 1 in each row.
    log_total : Tensor of shape (2,)
        Mean and standard deviation of the logarithm of the total, where no row gives it.
    row : callable
        From log rates to the distribution of the row.
    """

    arg_constraints = {}

    def __init__(self, log_share, log_total, row):
        super().__init__(log_share.shape[:-1], log_share.shape[-1:], validate_args=False)
        self.log_share, self.log_total, self.row = log_share, log_total, row

    @property
    def mean(self):
        return self.row(self.log_share + self.log_total[0]).mean

    def log_prob(self, value):
        # Of a row with missing cells, the total of what is there, and the shares among it.
        there = ~value.isnan()
        among = self.log_share.where(there, -torch.inf).logsumexp(-1, keepdim=True)
        among = among.where(there.any(-1, keepdim=True), 0.0)
        return self.row(self.log_share - among + _total(value).log()).log_prob(value)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(
            *shape[:-1], 1, dtype=self.log_share.dtype, device=self.log_share.device
        )
        return self.row(self.log_share + self.log_total[0] + self.log_total[1] * noise).sample()


def _total(x):
    """Sum of what is there of each row; never 0, whose logarithm would not be finite."""
    return x.nansum(-1, keepdim=True).clamp_min(0.5)


class CategoricalLikelihood(Likelihood):
    """One of several categories in each column, which holds their numbers 0, 1, 2, ...

    The outputs are logits beside those of the data's frequencies, those of a column after those
    of another. The encoder sees a 1 in the place of the category and 0 in those of the others.

    Parameters
    ----------
    n_categories : sequence of int
        For each column, how many categories there are.

    Notes
    -----
    Categories have no mean. In its place ``mean`` gives the most probable one.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import CategoricalLikelihood
    >>> p = CategoricalLikelihood([2, 3])(torch.zeros(5, 2 + 3))
    >>> p.log_prob(torch.ones(5, 2)).exp().detach()  # 1/2 times 1/3
    tensor([0.1667, 0.1667, 0.1667, 0.1667, 0.1667])
    """

    def __init__(self, n_categories):
        super().__init__(len(n_categories))
        self.n_categories = [int(n) for n in n_categories]
        self.n_outputs = self.n_seen = sum(self.n_categories)
        self.bias = nn.Parameter(torch.zeros(self.n_outputs))
        column = np.repeat(np.arange(self.n_features), self.n_categories)
        number = np.concatenate([np.arange(n) for n in self.n_categories])
        # Where in the outputs the logit of each category is; one past the end, for none.
        place = np.full((self.n_features, max(self.n_categories)), self.n_outputs)
        place[column, number] = np.arange(self.n_outputs)
        for name, index in (("column", column), ("number", number), ("place", place)):
            self.register_buffer(name, torch.from_numpy(index), persistent=False)

    def check_support(self, X):
        for column, n in enumerate(self.n_categories):
            numbers = X[:, [column]]
            minimum, maximum = _range(numbers)
            if minimum < 0.0 or maximum > n - 1 or len(_not_whole(numbers)):
                raise ValueError(
                    f"likelihood='categorical' takes the numbers of categories, here from 0 to "
                    f"{n - 1} in column {column}; got values from {minimum:g} to {maximum:g}"
                )

    def start(self, marginals):
        # As if half a row of each category had been seen too.
        shares = [
            (marginals.n_samples * marginals.frequencies(j, n) + 0.5)
            / (marginals.n_samples + n / 2)
            for j, n in enumerate(self.n_categories)
        ]
        with torch.no_grad():
            self.bias.copy_(torch.from_numpy(np.log(np.concatenate(shares))))

    def see(self, x):
        return (x[..., self.column] == self.number).to(x)

    def expected(self, p):
        return p.base_dist.probs[..., self.column, self.number]

    def settled(self, expected):
        return (
            nn.functional.pad(expected, (0, 1), value=-1.0)[..., self.place].argmax(-1).to(expected)
        )

    def forward(self, outputs):
        logits = nn.functional.pad(outputs + self.bias, (0, 1), value=-torch.inf)
        return self.row(Categories(logits[..., self.place]))


class Categories(Distribution):
    """Categorical distributions over numbers that are floats, as the other cells of a row.

    Parameters
    ----------
    logits : Tensor of shape (..., n_categories)
        Unnormalized; -inf for a category that there is not.
    """

    arg_constraints = {}

    def __init__(self, logits):
        super().__init__(logits.shape[:-1], validate_args=False)
        self.log_probs = logits.log_softmax(-1)

    @property
    def probs(self):
        """Probability of each category."""
        return self.log_probs.exp()

    @property
    def mean(self):
        return self.log_probs.argmax(-1).to(self.log_probs)

    def log_prob(self, value):
        number, log_probs = torch.broadcast_tensors(value.long().unsqueeze(-1), self.log_probs)
        return log_probs.gather(-1, number[..., :1]).squeeze(-1)

    def sample(self, sample_shape=()):
        drawn = torch.distributions.Categorical(logits=self.log_probs, validate_args=False)
        return drawn.sample(torch.Size(sample_shape)).to(self.log_probs)


class MixedLikelihood(Likelihood):
    """Columns of different kinds, each under a likelihood of its own.

    Parameters
    ----------
    parts : sequence of (Likelihood, sequence of int)
        Likelihoods and the numbers of their columns, which together are all columns once.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import BernoulliLikelihood, GaussianLikelihood, MixedLikelihood
    >>> p = MixedLikelihood([(GaussianLikelihood(2), [0, 2]), (BernoulliLikelihood(1), [1])])
    >>> p(torch.zeros(5, 3)).mean[0].tolist()
    [0.0, 0.5, 0.0]
    """

    def __init__(self, parts):
        likelihoods, columns = zip(*parts, strict=True)
        super().__init__(sum(len(c) for c in columns))
        self.parts = nn.ModuleList(likelihoods)
        self.columns = [np.asarray(c) for c in columns]
        self.n_outputs = sum(part.n_outputs for part in likelihoods)
        self.n_seen = sum(part.n_seen for part in likelihoods)
        for i, c in enumerate(self.columns):
            self.register_buffer(f"columns_{i}", torch.from_numpy(c), persistent=False)

    @property
    def missing(self):
        """Whether cells may be missing, in any part."""
        return self.parts[0].missing

    @missing.setter
    def missing(self, value):
        for part in self.parts:
            part.missing = value

    def each(self):
        """Pair the likelihoods with their columns.

        Returns
        -------
        iterator of (Likelihood, array of int)
            One pair for each likelihood of the mix.
        """
        return zip(self.parts, self.columns, strict=True)

    def _index(self):
        return [getattr(self, f"columns_{i}") for i in range(len(self.parts))]

    def check_support(self, X):
        for part, columns in self.each():
            part.check_support(X[:, columns])

    def units(self, marginals):
        offset, scale = np.empty((2, self.n_features))
        for part, columns in self.each():
            offset[columns], scale[columns] = part.units(marginals.of_columns(columns))
        return offset, scale

    def start(self, marginals):
        for part, columns in self.each():
            part.start(marginals.of_columns(columns))

    def see(self, x):
        seen = [part.see(x[..., i]) for part, i in zip(self.parts, self._index(), strict=True)]
        return torch.cat(seen, dim=-1)

    def expected(self, p):
        pairs = zip(self.parts, p.rows, strict=True)
        return torch.cat([part.expected(row) for part, row in pairs], dim=-1)

    def settled(self, expected):
        expected = expected.split([part.n_seen for part in self.parts], dim=-1)
        rows = [part.settled(one) for part, one in zip(self.parts, expected, strict=True)]
        return placed(rows, self._index())

    def forward(self, outputs):
        outputs = outputs.split([part.n_outputs for part in self.parts], dim=-1)
        rows = [part(output) for part, output in zip(self.parts, outputs, strict=True)]
        return Side(rows, self._index())


class Side(Distribution):
    """Distributions over some columns each, side by side as one over rows.

    Parameters
    ----------
    rows : sequence of Distribution
        Of the same batch shape, and event shapes (n_columns,).
    columns : sequence of Tensor of int
        The columns of each.
    """

    arg_constraints = {}

    def __init__(self, rows, columns):
        n_features = sum(len(c) for c in columns)
        super().__init__(rows[0].batch_shape, torch.Size([n_features]), validate_args=False)
        self.rows, self.columns = rows, columns

    @property
    def mean(self):
        return placed([row.mean for row in self.rows], self.columns)

    def log_prob(self, value):
        pairs = zip(self.rows, self.columns, strict=True)
        return sum(row.log_prob(value[..., columns]) for row, columns in pairs)

    def sample(self, sample_shape=()):
        return placed([row.sample(sample_shape) for row in self.rows], self.columns)


def placed(values, columns):
    """Values of some columns each as one tensor of all columns, in their order."""
    return torch.cat(values, dim=-1)[..., torch.cat(list(columns)).argsort()]


def _there(X):
    """The values of X that are not missing; of a sparse matrix, those that it stores."""
    values = X.data if issparse(X) else np.asarray(X).ravel()
    return values[~np.isnan(values)] if np.isnan(values.sum()) else values


def _range(X):
    """Smallest and largest value; 0 and 0 if nothing is there."""
    values = _there(X)
    if not values.size:
        return 0.0, 0.0
    # What a sparse matrix does not store is 0.
    least, most = (0.0, 0.0) if issparse(X) else (np.inf, -np.inf)
    return min(least, float(values.min())), max(most, float(values.max()))


def _not_whole(X):
    """The values of X that are no whole numbers."""
    values = _there(X)
    return values[values != np.floor(values)]


LIKELIHOODS = {
    "gaussian": GaussianLikelihood,
    "student_t": StudentTLikelihood,
    "bernoulli": BernoulliLikelihood,
    "poisson": PoissonLikelihood,
    "negative_binomial": NegativeBinomialLikelihood,
    "categorical": CategoricalLikelihood,
}
