"""What the displays read off fitted estimators."""

import numpy as np

from skvae.bounds import gaussian_kl


def learnt(estimator, name):
    """A fitted attribute, or what to do."""
    try:
        return getattr(estimator, name)
    except AttributeError as error:
        raise ValueError(
            f"the estimator must have {name}, as a fitted BNVAEEstimator has; this "
            f"{type(estimator).__name__} has none. Fit it first; of a pipeline "
            "pass the step, of a search its best_estimator_."
        ) from error


def posteriors(estimator, X):
    """Means and standard deviations of the posteriors of rows, in double precision."""
    learnt(estimator, "module_")
    return tuple(part.astype(np.float64) for part in estimator.encode(X))


def mean_kl(estimator, X):
    """Mean KL of each component over rows, in nats."""
    return gaussian_kl(*posteriors(estimator, X)).mean(axis=0)


def rates_and_elbos(estimators, X):
    """Rate and ELBO of each estimator, over its training rows or over those of X, in nats."""
    if X is None:
        kls = [learnt(estimator, "kl_per_component_") for estimator in estimators]
        elbos = [learnt(estimator, "lower_bound_") for estimator in estimators]
    else:
        kls = [mean_kl(estimator, X) for estimator in estimators]
        elbos = [np.mean(estimator.score_samples(X, bound="elbo")) for estimator in estimators]
    return np.array([np.sum(kl) for kl in kls]), np.array(elbos)
