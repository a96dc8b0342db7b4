"""Tables of mixed columns there and back, with gaps, conditions and imputation."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from torch.distributions import Independent, Normal

from skvae import BNVAEEstimator, Explorer, PosteriorCollapseWarning
from skvae._data.columns import columns_of
from skvae._data.tables import Table
from skvae.bounds import kl_floor
from skvae.likelihoods import GaussianLikelihood, NegativeBinomialLikelihood

N = 200


def numbers(n_rows=N, seed=0):
    """Columns of one cause: real, count, yes or no, colour, size."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=n_rows)
    return {
        "length": 3 * cause + 0.3 * rng.normal(size=n_rows) + 50,
        "visits": rng.poisson(np.exp(cause + 1)),
        "member": cause + 0.3 * rng.normal(size=n_rows) > 0,
        "colour": np.array(["red", "green", "blue"])[(cause > -0.4).astype(int) + (cause > 0.4)],
        "size": np.array([1, 2])[(cause > 0).astype(int)],
    }


def frame(library="pandas", **options):
    columns = numbers(**options)
    if library == "polars":
        return pl.DataFrame(columns).with_columns(
            pl.col("colour").cast(pl.Enum(["red", "green", "blue", "grey"])),
            pl.col("visits").cast(pl.UInt16),
        )
    types = {"colour": pd.CategoricalDtype(["red", "green", "blue", "grey"]), "visits": "uint16"}
    return pd.DataFrame(columns).astype(types)


def gappy(table, share=0.2, seed=0):
    """A pandas frame with missing cells, in types that know them."""
    table = table.astype({"visits": "UInt16", "member": "boolean", "size": "Int64"})
    return table.mask(np.random.default_rng(seed).random(table.shape) < share)


MIX = [("poisson", ["visits"]), ("categorical", ["size"])]
LIBRARIES = ["pandas", "polars"]
libraries = pytest.mark.parametrize("library", LIBRARIES)


def small(**parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "likelihood": MIX}
    return BNVAEEstimator(2, **(settings | parameters))


def types(table):
    return dict(table.schema) if isinstance(table, pl.DataFrame) else table.dtypes.to_dict()


# -- what a column is ----------------------------------------------------------------------


@libraries
def test_types_decide_the_likelihood(library):
    table = Table(frame(library), "auto")
    found = {likelihood: columns.tolist() for likelihood, columns in table.likelihoods}
    assert found == {"gaussian": [0, 1, 4], "bernoulli": [2], "categorical": [3]}


@pytest.mark.parametrize(
    ("X", "kinds"),
    [
        (np.zeros((2, 2)), ["number"] * 2),
        (np.zeros((2, 2), dtype=bool), ["bool"] * 2),
        (np.array([["a", "b"], ["b", "a"]]), ["category"] * 2),
        (np.array([[1, "a", True, None], [2.5, None, False, "b"]], dtype=object), None),
    ],
)
def test_arrays_have_types_too(X, kinds):
    kinds = kinds or ["number", "category", "bool", "category"]
    assert [column.kind for column in columns_of(X)] == kinds


@pytest.mark.parametrize("value", [None, np.nan])
def test_none_and_nan_are_missing_among_objects(value):
    (column,) = columns_of(np.array([["a"], [value]], dtype=object))
    assert column.missing.tolist() == [False, True]
    assert np.isnan(column.positions(["a"])[1])


@pytest.mark.parametrize(
    "columns",
    [["visits", "length"], [1, 0], slice(0, 2), [True, True, False, False, False]],
)
def test_columns_are_named_in_scikit_learns_ways(columns):
    table = Table(frame(), [("student_t", columns)])
    assert table.likelihoods[0][0] == "student_t"
    assert table.likelihoods[0][1].tolist() == [0, 1]


def test_columns_are_found_by_a_selector():
    table = Table(frame(), [("poisson", make_column_selector(dtype_include="uint16"))])
    assert table.likelihoods[0][1].tolist() == [1]


@libraries
def test_declared_categories_count_though_they_do_not_occur(library):
    assert Table(frame(library), "auto").categories[3] == ["blue", "green", "grey", "red"]


@pytest.mark.parametrize(
    ("likelihood", "conditions", "message"),
    [
        ([("poisson", ["age"])], None, "likelihood names columns that X does not have"),
        (
            [("poisson", [0, 1]), ("gaussian", [1])],
            None,
            "likelihood names a column twice, number 1",
        ),
        (["poisson"], None, "likelihood must hold pairs .likelihood, columns.; got 'poisson'"),
        ([("poison", [1])], None, "likelihood names 'poison', which is none of"),
        ("auto", [("ordinal", [1])], "conditions names 'ordinal', which is none of"),
        ([("poisson", [1])], ["visits"], "Column 'visits' is named both in likelihood and in cond"),
        ("auto", [0, 1, 2, 3, 4], "conditions name all columns of X"),
        ([()], None, r"likelihood must hold pairs .likelihood, columns.; got \(\)"),
        ([("poisson",)], None, r"likelihood must hold pairs .*; got \('poisson',\)"),
        ([("poisson", [1], [2])], None, r"likelihood must hold pairs .*; got \('poisson', \[1"),
        ([("poisson", None)], None, r"likelihood must hold pairs .*; got \('poisson', None\)"),
        ([("poisson", [["visits"]])], None, "likelihood names columns that X does not have: unha"),
        ("auto", [["colour", "size"]], r"conditions must hold columns.*; got \['colour', 'size'"),
        ("auto", [["numeric", ["size"]]], r"conditions must hold.* pairs \('numeric', columns\)"),
        ("auto", [("numeric",)], r"conditions must hold columns.*; got \('numeric',\)"),
        ("auto", [[]], r"conditions must hold columns, each by its name.*; got \[\]"),
        ("auto", [slice(0, 2)], "conditions must hold columns.*; got slice"),
        ("auto", [True, False], "conditions must hold columns.*; got True"),
        ("auto", [""], "conditions names columns that X does not have"),
    ],
)
def test_columns_that_cannot_be_assigned_are_refused(likelihood, conditions, message):
    with pytest.raises(ValueError, match=message):
        small(likelihood=likelihood, conditions=conditions).fit(frame())


def test_a_frame_without_columns_is_refused_as_such():
    with pytest.raises(ValueError, match="X has no columns; at least 1 is needed"):
        small(likelihood="auto").fit(frame()[[]])


@pytest.mark.parametrize("likelihood", [[], [("poisson", [])], [("poisson", slice(0, 0))]])
def test_a_list_that_names_no_column_leaves_all_to_their_values(likelihood):
    X = frame()
    listed, auto = (small(likelihood=one).fit(X) for one in (likelihood, "auto"))
    np.testing.assert_array_equal(listed.transform(X), auto.transform(X))


def test_dates_are_refused_by_name():
    table = frame().assign(born=pd.Timestamp("2000-01-01"))
    with pytest.raises(ValueError, match="Column 'born' is of type datetime64.*Convert it"):
        small().fit(table)


def test_strings_are_no_numbers():
    with pytest.raises(
        ValueError, match="Column 'colour' holds values that are not numbers.*categorical"
    ):
        small(likelihood=[("gaussian", ["colour"])]).fit(frame())


def test_categories_without_an_order_are_refused():
    table = pd.DataFrame({"x": pd.Series([1, "a", None] * 10, dtype=object)})
    with pytest.raises(ValueError, match="Column 'x' holds categories that have no order"):
        small(likelihood="auto").fit(table)


def test_a_category_that_fit_did_not_see_is_refused_by_name():
    model = small().fit(frame())
    new = frame()
    new["size"] = 3
    with pytest.raises(ValueError, match=r"Column 'size' holds categories.*seen: \[3.*Name all"):
        model.transform(new)


def test_a_sparse_matrix_holds_no_categories():
    with pytest.raises(TypeError, match="need a dense X; got a sparse matrix"):
        small(likelihood="categorical").fit(csr_matrix(np.eye(5)))


def test_a_sparse_matrix_may_mix_numbers():
    X = csr_matrix(np.random.default_rng(0).poisson(1.0, size=(50, 4)).astype(float))
    mix = [("poisson", [0, 2]), ("negative_binomial", [1])]
    sparse, dense = small(likelihood=mix).fit(X), small(likelihood=mix).fit(X.toarray())
    np.testing.assert_allclose(sparse.transform(X), dense.transform(X.toarray()), atol=1e-6)


# -- there and back ------------------------------------------------------------------------


@libraries
def test_numbers_are_the_table_again(library):
    X = frame(library)
    table = Table(X, MIX)
    back = table.to_table(table.to_numbers(X))
    assert type(back) is type(X)
    assert back.equals(X)


def test_numbers_of_objects_are_the_objects_again():
    X = np.array([["a", 1.5], ["b", 2.5]], dtype=object)
    table = Table(X, "auto")
    np.testing.assert_array_equal(table.to_table(table.to_numbers(X)), X)


@libraries
@pytest.mark.parametrize("method", ["inverse_transform", "sample", "impute"])
def test_a_frame_comes_back_in_its_columns_and_types(library, method):
    X = frame(library)
    model = small().fit(X)
    back = {
        "inverse_transform": lambda: model.inverse_transform(model.transform(X)),
        "sample": lambda: model.sample(50, random_state=0),
        "impute": lambda: model.impute(X),
    }[method]()
    assert type(back) is type(X)
    assert types(back) == types(X)
    assert set(back["size"]) <= {1, 2}


def test_types_that_know_missing_cells_come_back():
    X = gappy(frame())
    model = small().fit(X)
    for back in (model.sample(20, random_state=0), model.impute(X)):
        assert types(back) == types(X)
        assert not back.isna().any(axis=None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auto_on_an_array_of_numbers_is_gaussian(dtype):
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype)
    auto, gaussian = (small(likelihood=name).fit(X) for name in ("auto", "gaussian"))
    np.testing.assert_array_equal(auto.transform(X), gaussian.transform(X))
    assert auto.transform(X).dtype == dtype


def test_a_mix_knows_its_cause():
    X = frame()
    model = small(max_iter=30, learning_rate=2e-2).fit(X)
    lengths = model.inverse_transform(model.transform(X))["length"]
    assert np.corrcoef(lengths, X["length"])[0, 1] > 0.95
    drawn = model.sample(2000, random_state=0)
    # What goes together in the data does so in what is drawn.
    assert drawn[drawn["member"]]["length"].mean() > drawn[~drawn["member"]]["length"].mean() + 2
    assert drawn["colour"].isin(["red", "green", "blue"]).mean() > 0.98


def test_the_score_is_the_sum_over_the_parts_in_the_units_of_the_data():
    X = frame()
    model = small().fit(X)
    moved = X.assign(length=1000 * X["length"])
    other = small().fit(moved)
    assert other.score(moved) == pytest.approx(model.score(X) - np.log(1000), abs=1e-2)


def test_it_stands_in_a_pipeline_and_a_search():
    X, y = frame(), numbers()["length"] > 50
    pipeline = make_pipeline(small(), LogisticRegression())
    mixes = [MIX, [(NegativeBinomialLikelihood, ["visits"])], "auto"]
    search = GridSearchCV(pipeline, {"bnvaeestimator__likelihood": mixes}, cv=2).fit(X, y)
    assert search.best_score_ > 0.6
    assert np.isfinite(cross_val_score(small(), X, cv=3)).all()


def test_it_clones_and_pickles():
    X = gappy(frame())
    model = small().fit(X)
    assert clone(model).likelihood == MIX
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.sample(5, random_state=0).equals(model.sample(5, random_state=0))


def test_names_of_the_code_and_set_output_are_as_ever():
    code = small().set_output(transform="pandas").fit(frame()).transform(frame())
    assert list(code.columns) == ["bnvaeestimator0", "bnvaeestimator1"]


def test_other_columns_are_refused_as_ever():
    model = small().fit(frame())
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame().rename(columns={"size": "shoe"}))


def test_lists_of_objects_are_taken():
    X = [[float(i % 5), "ab"[i % 2]] for i in range(30)]
    model = small(likelihood="auto").fit(X)
    assert {row[1] for row in model.sample(20, random_state=0)} <= {"a", "b"}


@libraries
def test_weights_may_drop_rows_of_a_mix(library):
    weight = np.arange(N) % 3
    model = small().fit(frame(library), sample_weight=weight)
    assert model.kl_per_component_.sum() >= model.kl_floor_


def test_partial_fit_goes_on_with_the_categories_of_the_first_call():
    model = small().partial_fit(frame())
    model.partial_fit(frame(seed=1))
    assert model.n_iter_ == 2
    assert model.sample(3, random_state=0).shape == (3, 5)


# -- missing cells -------------------------------------------------------------------------


def table_of(rng, n_rows=300):
    code = rng.normal(size=(n_rows, 2))
    return np.tanh(code @ rng.normal(size=(2, 8))) + 0.1 * rng.normal(size=(n_rows, 8))


def holes(X, share=0.2, seed=0):
    missing = np.random.default_rng(seed).random(X.shape) < share
    return np.where(missing, np.nan, X), missing


@pytest.mark.parametrize(
    "likelihood", ["gaussian", "student_t", "bernoulli", "poisson", "negative_binomial"]
)
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_gaps_fit_under_every_likelihood(likelihood, form):
    X = np.random.default_rng(0).integers(0, 2, size=(60, 4)).astype(float)
    X = form(holes(X)[0])
    model = small(likelihood=likelihood).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite([*model.loss_curve_, model.lower_bound_]).all()
    assert model.kl_per_component_.sum() >= model.kl_floor_
    assert np.isfinite(model.sample(5, random_state=0)).all()


def test_the_tag_says_that_gaps_are_allowed():
    assert small().__sklearn_tags__().input_tags.allow_nan


def test_complete_data_are_not_told_of_gaps():
    X = table_of(np.random.default_rng(0))
    assert small(likelihood="gaussian").fit(X).module_.encoder.layers[0].in_features == 8
    assert small(likelihood="gaussian").fit(holes(X)[0]).module_.encoder.layers[0].in_features == 16


def test_a_missing_cell_has_no_unit():
    # In other units the score changes by the logarithm of those of the cells that are there.
    X, missing = holes(table_of(np.random.default_rng(0)))
    one, other = (small(likelihood="gaussian").fit(k * X) for k in (1, 10))
    shift = one.score_samples(X) - other.score_samples(10 * X)
    np.testing.assert_allclose(shift, (~missing).sum(1) * np.log(10), atol=1e-3)
    assert one.loss_curve_[-1] - other.loss_curve_[-1] == pytest.approx(
        -(~missing).sum(1).mean() * np.log(10), abs=1e-2
    )


def test_a_row_with_gaps_is_the_same_in_any_company():
    X, _ = holes(table_of(np.random.default_rng(0), 40))
    model = small(likelihood="gaussian").fit(X)
    for method in (model.transform, model.score_samples, model.impute):
        alone = np.concatenate([method(X[[i]]) for i in range(len(X))])
        np.testing.assert_allclose(method(X), alone, rtol=1e-9)


def test_imputing_keeps_what_is_there_and_fills_the_rest():
    X, missing = holes(table_of(np.random.default_rng(0)))
    filled = small(likelihood="gaussian").fit(X).impute(X)
    np.testing.assert_array_equal(filled[~missing], X[~missing])
    assert np.isfinite(filled).all()


def test_imputing_complete_rows_changes_nothing():
    X = table_of(np.random.default_rng(0))
    np.testing.assert_array_equal(small(likelihood="gaussian").fit(X).impute(X), X)


@pytest.mark.parametrize("likelihood", ["auto", "gaussian", [("gaussian", [0, 1, 2])]])
@pytest.mark.parametrize("kind", [np.array, pd.DataFrame])
def test_imputing_leaves_x_as_it_is(kind, likelihood):
    gaps, missing = holes(table_of(np.random.default_rng(0)))
    X = kind(gaps.copy())
    filled = small(likelihood=likelihood).fit(X).impute(X)
    np.testing.assert_array_equal(np.asarray(X), gaps)
    np.testing.assert_array_equal(np.asarray(filled)[~missing], gaps[~missing])
    assert np.isfinite(np.asarray(filled)).all()


def test_imputing_meets_the_conditional_mean_of_a_linear_model():
    # Factor analysis: E[x2 | x1] is known, for the parameters that were learnt.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1)) @ np.array([[1.0, 2.0, -1.0]]) + 0.5 * rng.normal(size=(400, 3))
    X, missing = holes(X, 0.3)
    model = BNVAEEstimator(
        1, hidden_layer_sizes=(), tau=0.1, max_iter=100, learning_rate=1e-2, random_state=0
    ).fit(X)
    module, units = model.module_, model._model.units
    decoder = module.decoder.layers[0]
    loading, mean = decoder.weight.detach().numpy(), decoder.bias.detach().numpy()
    noise = np.square(module.likelihood_layer.scale().detach().numpy())
    covariance = loading @ loading.T + np.diag(noise)
    x = (X - units.offset) / units.scale
    expected = np.array(x)
    for row, gaps in zip(expected, missing, strict=True):
        known = ~gaps
        if gaps.any():
            gain = covariance[np.ix_(gaps, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
            row[gaps] = mean[gaps] + gain @ (row[known] - mean[known])
    filled = (model.impute(X, n_draws=500) - units.offset) / units.scale
    code = model.inverse_transform(model.transform(X))
    by_code = np.where(missing, (code - units.offset) / units.scale, x)
    assert abs(filled - expected)[missing].mean() < 0.03
    assert abs(by_code - expected)[missing].mean() > 0.04  # which weights and draws make good


def test_imputing_is_better_than_the_mean_of_the_column():
    X = table_of(np.random.default_rng(0))
    with_gaps, missing = holes(X)
    model = small(likelihood="gaussian", max_iter=30, learning_rate=2e-2).fit(with_gaps)
    error = np.square(model.impute(with_gaps) - X)[missing].mean()
    assert error < 0.5 * np.square(X - np.nanmean(with_gaps, axis=0))[missing].mean()


def test_imputing_finds_categories():
    X = frame()
    with_gaps = gappy(X, 0.3)
    model = small(max_iter=30, learning_rate=2e-2).fit(with_gaps)
    gaps = with_gaps["colour"].isna()
    hits = (model.impute(with_gaps)["colour"] == X["colour"])[gaps].mean()
    assert hits > X["colour"].value_counts(normalize=True).max() + 0.2


def test_imputing_sparse_rows_is_refused():
    X = csr_matrix(holes(np.eye(5))[0])
    with pytest.raises(TypeError, match="impute fills dense rows"):
        small(likelihood="gaussian").fit(X).impute(X)


def test_a_column_of_gaps_is_refused_by_number():
    X = table_of(np.random.default_rng(0))
    X[:, 3] = np.nan
    with pytest.raises(ValueError, match=r"Columns \[3\] of X have no value at all.*Drop them"):
        small(likelihood="gaussian").fit(X)


class Stubborn(GaussianLikelihood):
    """Makes its rows by itself."""

    validates = False

    def forward(self, outputs):
        cells = Normal(outputs, self.scale(), validate_args=self.validates)
        return Independent(cells, 1, validate_args=False)


@pytest.mark.parametrize("validates", [False, True])
def test_a_likelihood_that_cannot_pass_over_gaps_is_refused(validates, monkeypatch):
    monkeypatch.setattr(Stubborn, "validates", validates)
    X = table_of(np.random.default_rng(0))
    small(likelihood=Stubborn).fit(X)
    with pytest.raises(
        ValueError, match="missing cells, which Stubborn cannot pass over.*self.row"
    ):
        small(likelihood=Stubborn).fit(holes(X)[0])


def test_a_row_of_gaps_has_the_score_of_nothing():
    # log p of no cell is 0, and so is its bound: the posterior may still differ from the prior.
    X, _ = holes(table_of(np.random.default_rng(0)))
    model = small(likelihood="gaussian").fit(X)
    nothing = np.full((1, 8), np.nan)
    assert -3 < model.score_samples(nothing, n_draws=1000)[0] <= 0.1


# -- conditions ----------------------------------------------------------------------------


def conditioned(**parameters):
    return small(**({"conditions": ["colour"], "max_iter": 30, "learning_rate": 2e-2} | parameters))


@pytest.fixture(scope="module")
def of_colour():
    """A model of the other columns given the colour."""
    return conditioned().fit(frame())


@libraries
def test_a_sample_has_the_conditions_that_are_given(library):
    model = conditioned(max_iter=3).fit(frame(library))
    for given in (["red"], [["red"]], {"colour": "red"}, frame(library)[:1]):
        drawn = model.sample(20, random_state=0, conditions=given)
        wanted = "red" if not hasattr(given, "columns") else frame(library)["colour"][0]
        assert set(drawn["colour"]) == {wanted}
        assert types(drawn) == types(frame(library))


def test_a_sample_follows_its_condition(of_colour):
    means = [
        of_colour.sample(500, random_state=0, conditions={"colour": colour})["length"].mean()
        for colour in ("red", "green", "blue")
    ]
    truth = frame().groupby("colour", observed=True)["length"].mean()[["red", "green", "blue"]]
    np.testing.assert_allclose(means, truth, atol=1.0)


def test_without_given_conditions_they_are_drawn_from_those_of_fit():
    X = frame()
    drawn = conditioned(max_iter=3).fit(X).sample(3000, random_state=0)
    shares = drawn["colour"].value_counts(normalize=True)
    expected = X["colour"].value_counts(normalize=True)
    np.testing.assert_allclose(shares[expected.index], expected, atol=0.05)


def test_the_score_is_given_the_conditions(of_colour):
    # Knowing the colour, which the cause decides, makes the rest more probable.
    X = frame()
    rest = X.drop(columns="colour")
    assert of_colour.score(X) > small(max_iter=30, learning_rate=2e-2).fit(rest).score(rest) + 0.2


def test_conditions_are_inputs_and_not_modeled():
    model = conditioned(max_iter=3).fit(frame())
    assert model.module_.likelihood_layer.n_features == 4
    assert model.n_features_in_ == 5
    assert model.module_.encoder.layers[0].in_features == 5 + 4  # size is seen as two indicators


def test_a_numeric_condition_is_standardised():
    X = frame()
    model = conditioned(conditions=["length"], max_iter=3).fit(X)
    context = model._read_rows(X).context
    np.testing.assert_allclose([context.mean(), context.std()], [0, 1], atol=1e-12)
    moved = X.assign(length=10 * X["length"] + 3)
    other = conditioned(conditions=["length"], max_iter=3).fit(moved)
    np.testing.assert_allclose(other.score_samples(moved), model.score_samples(X), atol=1e-4)


@pytest.mark.parametrize("magnitude", [-1000, -600, 0, 600, 1000])
def test_a_numeric_condition_may_be_of_any_magnitude(magnitude):
    X = np.random.RandomState(0).randn(60, 3)
    far = X.copy()
    far[:, 0] = np.ldexp(X[:, 0], magnitude)
    one, other = (small(conditions=[0], likelihood="gaussian").fit(rows) for rows in (X, far))
    np.testing.assert_allclose(other.transform(far), one.transform(X), atol=1e-5)
    drawn, expected = other.sample(50, random_state=0), one.sample(50, random_state=0)
    expected[:, 0] = np.ldexp(expected[:, 0], magnitude)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["sample", "inverse_transform"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_a_condition_that_is_not_finite_is_refused_by_name(method, bad):
    model = small(conditions=["length"]).fit(frame())
    rows = 2 if method == "sample" else np.zeros((2, model.n_components))
    with pytest.raises(ValueError, match="Column 'length' is a condition, .* must be finite"):
        getattr(model, method)(rows, conditions={"length": bad})


def test_labels_in_an_array_are_conditions_by_number():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=150)
    X = np.column_stack([y + 0.1 * rng.normal(size=150), rng.normal(size=150), y])
    model = conditioned(likelihood="gaussian", conditions=[("categorical", [2])]).fit(X)
    drawn = model.sample(100, random_state=0, conditions=[1])
    assert (drawn[:, 2] == 1).all()
    assert drawn[:, 0].mean() == pytest.approx(1, abs=0.1)


def test_codes_are_decoded_under_conditions(of_colour):
    X = frame()
    code = of_colour.transform(X)
    back = of_colour.inverse_transform(code, conditions=X)
    assert (back["colour"] == X["colour"]).all()
    assert np.corrcoef(back["length"], X["length"])[0, 1] > 0.9
    with pytest.raises(ValueError, match="inverse_transform needs conditions=.*'colour'"):
        of_colour.inverse_transform(code)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["red"], ["green"]], "one row for all, or one for each of the 5; got 2"),
        ([["red", 1.0]], r"conditions must have a column for each of \['colour'\]"),
        ({"color": "red"}, r"conditions lack \['colour'\]"),
        (["pink"], "Column 'colour' holds categories that fit has not seen"),
        ([None], "Column 'colour' is a condition, and none of its cells may be missing"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(of_colour, given, message):
    with pytest.raises(ValueError, match=message):
        of_colour.sample(5, conditions=given)


def test_conditions_of_an_estimator_without_any_are_refused():
    with pytest.raises(ValueError, match="conditions are given, but the estimator was fitted with"):
        small().fit(frame()).sample(5, conditions=["red"])


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
@pytest.mark.parametrize(
    "conditions",
    [[], [("numeric", [])], [("categorical", make_column_selector(dtype_include="category"))]],
    ids=["none", "a pair of none", "a selector of none"],
)
def test_conditions_that_name_no_column_are_none(likelihood, conditions):
    X = frame()[["length", "visits"]].astype(float)
    bare, model = (
        small(likelihood=likelihood, conditions=one).fit(X) for one in (None, conditions)
    )
    code = bare.transform(X)
    np.testing.assert_array_equal(model.transform(X), code)
    pd.testing.assert_frame_equal(model.sample(5, random_state=0), bare.sample(5, random_state=0))
    pd.testing.assert_frame_equal(model.inverse_transform(code), bare.inverse_transform(code))
    pd.testing.assert_frame_equal(model.impute(X), X)
    assert Explorer.from_estimator(model, X).data["model"]["conditions"] == []
    assert model.export().module()(torch.from_numpy(X.to_numpy())).shape == code.shape
    with pytest.raises(ValueError, match="the estimator was fitted without any"):
        model.sample(5, conditions=[["red"]])


@pytest.mark.parametrize("rows", [csr_matrix, np.asarray])
def test_an_empty_list_of_conditions_takes_all_that_none_takes(rows):
    X = rows(table_of(np.random.default_rng(0)))
    model = small(likelihood="gaussian", conditions=[]).fit(X)
    assert model.sample(3).shape == (3, X.shape[1])


def test_conditions_are_those_of_the_fit():
    model = conditioned(max_iter=1).fit(frame()).set_params(conditions=None)
    assert len(model.sample(3, random_state=0, conditions=["red"])) == 3
    with pytest.raises(ValueError, match=r"needs conditions=..., the values of .*\['colour'\]"):
        model.inverse_transform(np.zeros((2, 2)))


def test_a_missing_condition_is_refused():
    X = frame()
    X.loc[3, "colour"] = None
    with pytest.raises(ValueError, match="Column 'colour' is a condition.*missing"):
        conditioned().fit(X)


@pytest.mark.parametrize("posterior", ["moment", "batchnorm"])
def test_our_floor_holds_given_conditions(posterior):
    model = conditioned(posterior=posterior, tau=0.4, max_iter=5).fit(frame())
    assert model.kl_floor_ == pytest.approx(kl_floor(0.4, 2), rel=1e-5)
    assert model.kl_per_component_.sum() >= model.kl_floor_


def test_the_papers_floor_holds_given_conditions():
    # Batch normalization of the recognition mean only, and a prior that no condition moves: the
    # KL is at least (gamma^2 + beta^2) / 2 a component, whatever the labels.
    model = conditioned(posterior="batchnorm-mean", tau=0.36, max_iter=5).fit(frame())
    beta = model.module_.posterior_layer.beta.detach().numpy()
    assert model.kl_floor_ == pytest.approx(np.sum(0.36 + beta**2) / 2, rel=1e-5)
    assert model.kl_per_component_.sum() >= model.kl_floor_
    prior = model.module_.prior()
    assert torch.equal(prior.loc, torch.zeros(2, dtype=prior.loc.dtype))


def test_a_plain_conditional_vae_may_ignore_its_code():
    # What the conditions decide entirely leaves nothing to say: the plain VAE dies, ours does not.
    rng = np.random.default_rng(0)
    c = rng.normal(size=300)
    X = pd.DataFrame({"c": c, "x": 2 * c + 1.0 * rng.normal(size=300)})
    settings = {"conditions": ["c"], "likelihood": "gaussian"}
    plain, ours = (conditioned(posterior=name, **settings) for name in ("gaussian", "moment"))
    with pytest.warns(PosteriorCollapseWarning):
        plain.fit(X)
    assert plain.kl_per_component_.sum() < 0.1
    assert ours.fit(X).kl_per_component_.sum() >= kl_floor(0.5, 2) - 1e-6


def test_conditions_go_with_gaps_and_imputation():
    X = frame()
    with_gaps = X.copy()
    with_gaps.loc[::3, "length"] = np.nan
    model = conditioned().fit(with_gaps)
    filled = model.impute(with_gaps)
    assert (filled["colour"] == X["colour"]).all()
    assert np.corrcoef(filled["length"], X["length"])[0, 1] > 0.9


@pytest.mark.parametrize("objective", ["cyclical-annealing", "free-bits"])
def test_conditions_go_with_other_objectives_and_early_stopping(objective):
    stops = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9, "max_iter": 20}
    model = conditioned(objective=objective, **stops).fit(frame())
    assert len(model.validation_scores_) == model.n_iter_ <= 20


def test_conditions_go_with_diagnosis(of_colour):
    assert of_colour.diagnose(frame()).n_samples == N


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_mixed_model_comes_back_from_a_file_with_the_types_of_its_columns(library, tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "size": rng.normal(size=60),
        "kind": np.array(["a", "b", "c"])[rng.integers(3, size=60)],
        "flag": rng.random(60) < 0.5,
        "n": rng.integers(5, size=60).astype(np.uint8),
    }
    if library == "pandas":
        X = pd.DataFrame(columns).astype({"kind": pd.CategoricalDtype(list("cbad"), ordered=True)})
    else:
        X = pl.DataFrame(columns).with_columns(pl.col("kind").cast(pl.Enum(list("cbad"))))
    model = small(likelihood="auto").fit(X)
    model.save(tmp_path / "model")
    again = BNVAEEstimator.load(tmp_path / "model")
    first, second = (m.sample(8, random_state=0) for m in (model, again))
    assert first.equals(second)
    assert list(second.dtypes) == list(X.dtypes)
