"""Likelihoods p(x|z): from the decoder's outputs to distributions over rows."""

from skvae.likelihoods.base import Likelihood, Observed
from skvae.likelihoods.binary import BernoulliLikelihood
from skvae.likelihoods.categories import CategoricalLikelihood, Categories
from skvae.likelihoods.counts import (
    CountLikelihood,
    LogPoisson,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    Shares,
)
from skvae.likelihoods.mixed import MixedLikelihood, Side
from skvae.likelihoods.real import Constants, GaussianLikelihood, StudentTLikelihood
from skvae.likelihoods.sentences import Sentences, TokensLikelihood, nucleus

LIKELIHOODS = {
    "gaussian": GaussianLikelihood,
    "student_t": StudentTLikelihood,
    "bernoulli": BernoulliLikelihood,
    "poisson": PoissonLikelihood,
    "negative_binomial": NegativeBinomialLikelihood,
    "categorical": CategoricalLikelihood,
}

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "Categories",
    "Constants",
    "CountLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "LogPoisson",
    "MixedLikelihood",
    "NegativeBinomialLikelihood",
    "Observed",
    "PoissonLikelihood",
    "Sentences",
    "Shares",
    "Side",
    "StudentTLikelihood",
    "TokensLikelihood",
    "nucleus",
]
