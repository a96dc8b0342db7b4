"""The likelihood of binary values, and of gray levels between 0 and 1."""

from typing import Any

import torch
from torch import nn
from torch.distributions import Bernoulli, Distribution

from skvae.likelihoods.base import Likelihood, value_range


class BernoulliLikelihood(Likelihood):
    """Independent Bernoulli variables, whose logits are the outputs plus a bias per column.

    ``p(x_j = 1) = sigmoid(output_j + bias_j)``, where the bias starts at the logit of the column's
    mean. Values strictly between 0 and 1, such as gray levels, are accepted too. Then ``log p`` is
    the usual cross-entropy: it is not the log of any density, but serves to train and to compare.

    Parameters
    ----------
    n_features : int
        Number of columns of the data.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import BernoulliLikelihood
    >>> p = BernoulliLikelihood(3)(torch.zeros(5, 3))
    >>> p.mean[0].tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.bias = nn.Parameter(torch.zeros(n_features))

    def check_support(self, X: Any) -> None:
        minimum, maximum = value_range(X)
        if minimum < 0.0 or maximum > 1.0:
            raise ValueError(
                "likelihood='bernoulli' takes values from 0 to 1; "
                f"got values from {minimum:g} to {maximum:g}. "
                "Rescale X, for example with MinMaxScaler(clip=True), or use likelihood='gaussian'."
            )

    def start(self, marginals: Any) -> None:
        mean = torch.from_numpy(marginals.mean)
        with torch.no_grad():
            self.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())

    def forward(self, outputs: torch.Tensor) -> Distribution:
        return self.row(Bernoulli(logits=outputs + self.bias, validate_args=False))
