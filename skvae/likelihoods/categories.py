"""The likelihood of categories, given by their numbers 0, 1, 2, ..."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Distribution

from skvae.likelihoods.base import Likelihood, fractional_values, value_range


class Categories(Distribution):
    """Categorical distributions over numbers stored as floats, like the other cells of a row.

    Parameters
    ----------
    logits : Tensor of shape (..., n_categories)
        Unnormalized log-probabilities; -inf where a column has fewer categories than others.
    """

    arg_constraints = {}

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__(logits.shape[:-1], validate_args=False)
        self.log_probs = logits.log_softmax(-1)

    @property
    def probs(self) -> torch.Tensor:
        """Probability of each category."""
        return self.log_probs.exp()

    @property
    def mean(self) -> torch.Tensor:
        return self.log_probs.argmax(-1).to(self.log_probs)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        number, log_probs = torch.broadcast_tensors(value.long().unsqueeze(-1), self.log_probs)
        return log_probs.gather(-1, number[..., :1]).squeeze(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        categorical = Categorical(logits=self.log_probs, validate_args=False)
        return categorical.sample(torch.Size(sample_shape)).to(self.log_probs)


class CategoricalLikelihood(Likelihood):
    """One of several categories in each column, which holds their numbers 0, 1, 2, ...

    The outputs are logits relative to the log frequencies of the data, first all of the first
    column, then those of the second and so on. The encoder sees one-hot vectors. Categories have
    no mean: in its place ``mean`` gives the most probable one.

    Parameters
    ----------
    n_categories : sequence of int
        Number of categories of each column.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import CategoricalLikelihood
    >>> p = CategoricalLikelihood([2, 3])(torch.zeros(5, 2 + 3))
    >>> p.log_prob(torch.ones(5, 2)).exp().detach()  # 1/2 times 1/3
    tensor([0.1667, 0.1667, 0.1667, 0.1667, 0.1667])
    """

    def __init__(self, n_categories: Sequence[int]) -> None:
        super().__init__(len(n_categories))
        self.n_categories = [int(n) for n in n_categories]
        self.n_outputs = self.n_seen = sum(self.n_categories)
        self.bias = nn.Parameter(torch.zeros(self.n_outputs))
        # For each output, the column and the number of the category whose logit it is.
        column = np.repeat(np.arange(self.n_features), self.n_categories)
        number = np.concatenate([np.arange(n) for n in self.n_categories])
        # For each column and number, the place of its output: (n_features, most categories). Where
        # a column has fewer categories, the place is one past the end, where `_by_column` pads.
        place = np.full((self.n_features, max(self.n_categories)), self.n_outputs)
        place[column, number] = np.arange(self.n_outputs)
        for name, index in (("column", column), ("number", number), ("place", place)):
            self.register_buffer(name, torch.from_numpy(index), persistent=False)

    def check_support(self, X: Any) -> None:
        for column, n in enumerate(self.n_categories):
            numbers = X[:, [column]]
            minimum, maximum = value_range(numbers)
            if minimum < 0.0 or maximum > n - 1 or len(fractional_values(numbers)):
                raise ValueError(
                    f"likelihood='categorical' takes the numbers of categories, here from 0 to "
                    f"{n - 1} in column {column}; got values from {minimum:g} to {maximum:g}. "
                    "Number the categories of each column 0, 1, 2, ..."
                )

    def start(self, marginals: Any) -> None:
        # As if half a row of each category had been added, so that none has probability 0.
        shares = [
            (marginals.n_samples * marginals.frequencies(j, n) + 0.5)
            / (marginals.n_samples + n / 2)
            for j, n in enumerate(self.n_categories)
        ]
        with torch.no_grad():
            self.bias.copy_(torch.from_numpy(np.log(np.concatenate(shares))))

    def see(self, x: torch.Tensor) -> torch.Tensor:
        return (x[..., self.column] == self.number).to(x)

    def expectation(self, p: Distribution) -> torch.Tensor:
        return p.base_dist.probs[..., self.column, self.number]

    def point_estimate(self, expectation: torch.Tensor) -> torch.Tensor:
        return self._by_column(expectation, missing=-1.0).argmax(-1).to(expectation)

    def forward(self, outputs: torch.Tensor) -> Distribution:
        return self.row(Categories(self._by_column(outputs + self.bias, missing=-torch.inf)))

    def _by_column(self, values, missing):
        """Return the values of all categories as (..., n_features, most categories)."""
        return nn.functional.pad(values, (0, 1), value=missing)[..., self.place]
