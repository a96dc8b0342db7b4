"""scikit-learn's own checks: those it yields, and those it keeps for itself."""

import numpy as np
import pytest
import sklearn.utils.estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import BNVAEEstimator, BNVAEEstimatorCV
from skvae.networks import ConvDecoder, ConvEncoder
from skvae.posteriors import POSTERIORS

MINIBATCHES = (
    "a row of weight 2 and the same row twice do not meet the same rows in a batch, nor the same "
    "noise, so the two fits differ as two seeds do"
)


def expected_failures(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": MINIBATCHES,
        "check_sample_weight_equivalence_on_sparse_data": MINIBATCHES,
    }


class Encoder:
    """A convolution over the columns; its name is the same in every process."""

    def __call__(self, n_inputs):
        return ConvEncoder((1, 1, n_inputs), channels=(4,), hidden_layer_sizes=(8,))(n_inputs)

    def __repr__(self):
        return "Encoder()"


class Decoder:
    """Back to the columns."""

    def __call__(self, n_components, n_outputs):
        shape = (1, 1, n_outputs)
        return ConvDecoder(shape, channels=(4,), hidden_layer_sizes=(8,))(n_components, n_outputs)

    def __repr__(self):
        return "Decoder()"


VARIANTS = [
    {},
    {"likelihood": "student_t"},
    {"likelihood": "auto"},
    {"likelihood": [("student_t", [0])]},
    {"encoder": Encoder(), "decoder": Decoder()},
    {"tau": (0.2, 0.8)},
]
POSTERIOR_VARIANTS = [{"posterior": name} for name in POSTERIORS if name != "moment"]
ESTIMATORS = [
    BNVAEEstimator(2, max_iter=2, **variant) for variant in [*VARIANTS, *POSTERIOR_VARIANTS]
]
# The checks set `random_state` of an estimator, but not of the one inside.
SEARCH = BNVAEEstimatorCV(BNVAEEstimator(2, max_iter=2, random_state=0), taus=2, cv=2)
ESTIMATORS.append(SEARCH)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures, xfail_strict=True)
def test_yielded_checks(estimator, check):
    check(estimator)


NOT_YIELDED = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


# They are about names, parameters and containers, with which the posterior has nothing to do. Those
# of set_output transform arrays with an estimator fitted on a frame.
@pytest.mark.filterwarnings("ignore:X .* feature names")
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", NOT_YIELDED)
def test_checks_that_are_not_yielded(name, variant):
    getattr(checks, name)("BNVAEEstimator", BNVAEEstimator(2, max_iter=2, **variant))


@pytest.mark.filterwarnings("ignore:X .* feature names")
@pytest.mark.parametrize("name", NOT_YIELDED)
def test_checks_of_a_search_that_are_not_yielded(name):
    getattr(checks, name)("BNVAEEstimatorCV", SEARCH)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 100.0])
def test_what_the_checks_do_not_notice_every_output_is_finite(posterior, scale):
    X = scale * np.random.RandomState(0).randn(20, 3) + scale
    model = BNVAEEstimator(2, posterior=posterior, max_iter=3, random_state=0).fit(X)
    code = model.transform(X)
    assert np.isfinite(code).all()
    assert np.isfinite(model.inverse_transform(code)).all()
    assert np.isfinite(model.sample(20, random_state=0)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite([*model.loss_curve_, model.lower_bound_, model.kl_floor_]).all()
    assert np.isfinite(model.kl_per_component_).all()
