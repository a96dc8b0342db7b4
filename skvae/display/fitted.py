"""What the displays read from fitted estimators."""

import numpy as np

from skvae.bounds import gaussian_kl


def fitted_attribute(estimator, name):
    """Return an attribute of a fitted estimator, or raise an error that says what to do."""
    try:
        return getattr(estimator, name)
    except AttributeError as error:
        raise ValueError(
            f"the estimator must have {name}, as a fitted BNVAEEstimator has; this "
            f"{type(estimator).__name__} has none. Fit it first; for a pipeline, pass the step."
        ) from error


def posteriors(estimator, X):
    """Return means and standard deviations of the posteriors of rows, in double precision."""
    fitted_attribute(estimator, "module_")
    loc, scale = estimator.encode(X)
    return loc.astype(np.float64), scale.astype(np.float64)


def mean_kl(estimator, X=None):
    """Return the mean KL of each component over X, or over the training rows; in nats."""
    if X is None:
        return fitted_attribute(estimator, "kl_per_component_")
    return gaussian_kl(*posteriors(estimator, X)).mean(axis=0)


def rates_and_elbos(estimators, X=None):
    """Return rate and mean ELBO of each estimator over rows, or over its training rows; in nats."""
    rates = [mean_kl(estimator, X).sum() for estimator in estimators]
    if X is None:
        elbos = [fitted_attribute(estimator, "lower_bound_") for estimator in estimators]
    else:
        elbos = [estimator.score_samples(X, bound="elbo").mean() for estimator in estimators]
    return np.array(rates), np.array(elbos)
