"""p(x|z): from the decoder's outputs to a distribution over rows.

A likelihood fixes what data it can take (`check_support`), in which units the networks see them
(`standardises`), how many outputs the decoder must have and what distribution they mean.
"""

import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal


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
    """

    standardises = False  # whether the networks see columns of mean 0 and variance 1

    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features
        self.n_outputs = n_features

    @staticmethod
    def check_support(minimum, maximum):
        """Refuse data that cannot be modelled.

        Parameters
        ----------
        minimum, maximum : float
            Smallest and largest value of the data.

        Raises
        ------
        ValueError
            If either lies outside the support.
        """

    def start(self, mean, constant):
        """Set what is learnt to the marginals of the data.

        Parameters
        ----------
        mean : Tensor of shape (n_features,)
            Mean of each column, in the units that the networks see.
        constant : Tensor of shape (n_features,)
            Whether the column has a single value.
        """

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


class GaussianLikelihood(Likelihood):
    """A normal distribution around the outputs, with one noise scale per feature.

    ``x_j ~ N(output_j, scale_j^2)``, the scale learnt as in factor analysis and bounded below,
    so that a column that the decoder reproduces exactly does not take the likelihood to
    infinity. It starts at the scale of the data.

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

    standardises = True
    smallest_scale = 1e-3  # in units of the column's standard deviation
    pace = 10.0  # Adam moves log scale by this times the learning rate a step

    def __init__(self, n_features):
        super().__init__(n_features)
        self.log_scale = nn.Parameter(torch.zeros(n_features))
        self.register_buffer("scale_floor", torch.full((n_features,), self.smallest_scale))

    def start(self, mean, constant):
        # A constant column would only be fitted ever more sharply: it keeps its unit scale.
        self.scale_floor[constant] = 1.0
        with torch.no_grad():
            self.log_scale.copy_((1 - self.scale_floor.square()).clamp_min(1e-12).log() / 2)
            self.log_scale /= self.pace

    def scale(self):
        """Return the standard deviation of the noise.

        Returns
        -------
        Tensor of shape (n_features,)
            One for each feature, in the units that the networks see.
        """
        return torch.hypot((self.pace * self.log_scale).exp(), self.scale_floor)

    def forward(self, outputs):
        normal = Normal(outputs, self.scale(), validate_args=False)
        return Independent(normal, 1, validate_args=False)


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

    @staticmethod
    def check_support(minimum, maximum):
        if minimum < 0.0 or maximum > 1.0:
            raise ValueError(
                "likelihood='bernoulli' takes values from 0 to 1; "
                f"got values from {minimum:g} to {maximum:g}. "
                "Rescale X, with MinMaxScaler(clip=True) say, or use likelihood='gaussian'."
            )

    def start(self, mean, constant):
        with torch.no_grad():
            self.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())

    def forward(self, outputs):
        coins = Bernoulli(logits=outputs + self.bias, validate_args=False)
        return Independent(coins, 1, validate_args=False)


LIKELIHOODS = {
    "gaussian": GaussianLikelihood,
    "bernoulli": BernoulliLikelihood,
}
