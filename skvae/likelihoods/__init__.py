"""p(x|z): from the decoder's outputs to a distribution over rows."""

from skvae.likelihoods.base import (
    LIKELIHOODS,
    BernoulliLikelihood,
    CategoricalLikelihood,
    CountLikelihood,
    GaussianLikelihood,
    Likelihood,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from skvae.likelihoods.sentences import TokensLikelihood

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "CountLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "MixedLikelihood",
    "NegativeBinomialLikelihood",
    "PoissonLikelihood",
    "StudentTLikelihood",
    "TokensLikelihood",
]
