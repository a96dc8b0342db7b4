"""The estimator of sentences as its users meet it."""

import pickle
import tracemalloc
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

from skvae import (
    AggregatedPosteriorDisplay,
    BNVAEEstimator,
    BNVAETextEstimator,
    KLDisplay,
    LatentMapDisplay,
    PosteriorCollapseWarning,
    RateDistortionDisplay,
    TauTableDisplay,
    TrainingCurveDisplay,
)
from skvae._data.rows import Batch
from skvae._fit.torch_state import (
    MULTIPLICATIONS_PER_THREAD,
    multiplications_per_row,
    restored_process,
)
from skvae.bounds import kl_floor
from skvae.datasets import make_sentences
from skvae.networks.recurrent import PADDING
from skvae.posteriors import POSTERIORS

SENTENCES, FACTORS = make_sentences(300, random_state=0)
ODD = ["", "zyx zyx", SENTENCES[0], "zyx " + SENTENCES[1]]


def small(n_components=3, **settings):
    defaults = dict(
        tau=0.5,
        embedding_size=8,
        hidden_size=12,
        learning_rate=1e-2,
        max_iter=3,
        max_length=20,
        random_state=0,
    )
    return BNVAETextEstimator(n_components, **defaults | settings)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(SENTENCES)


# -- what comes out ------------------------------------------------------------------------------


def test_the_code_has_the_moments_of_the_prior(fitted):
    loc, scale = fitted.encode(SENTENCES)
    assert loc.shape == (300, 3)
    np.testing.assert_array_equal(loc, fitted.transform(SENTENCES))
    np.testing.assert_allclose(loc.mean(0), 0.0, atol=1e-3)
    np.testing.assert_allclose((loc**2 + scale**2).mean(0), 1.0, atol=1e-2)


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize("posterior", ["moment", "batchnorm"])
def test_the_floor_holds_for_the_sentences_of_the_fit(posterior, tau):
    model = small(tau=tau, posterior=posterior).fit(SENTENCES)
    assert 0.0 < model.kl_floor_ <= kl_floor(tau, 3)
    assert model.kl_per_component_.sum() >= model.kl_floor_ - 1e-4


@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
@pytest.mark.parametrize("posterior", [*POSTERIORS, "none"])
def test_everything_is_finite_with_each_posterior(posterior):
    model = small(posterior=posterior).fit(SENTENCES)
    assert np.isfinite(model.transform(ODD)).all()
    assert np.isfinite(model.score_samples(ODD)).all()
    assert np.isfinite([*model.loss_curve_, model.lower_bound_, model.kl_floor_]).all()
    assert np.isfinite(model.perplexity(ODD))


def test_sentences_come_out_of_codes(fitted):
    words = set(" ".join(SENTENCES).split())
    for written in (
        fitted.inverse_transform(fitted.transform(SENTENCES[:9])),
        fitted.inverse_transform(fitted.transform(SENTENCES[:9]), n_beams=3),
        fitted.sample(9, random_state=0),
        fitted.interpolate(*SENTENCES[:2], 9),
    ):
        assert len(written) == 9
        assert all(isinstance(sentence, str) for sentence in written)
        assert set(" ".join(written).split()) <= words


def test_an_interpolation_begins_and_ends_at_the_two_codes(fitted):
    ends = fitted.inverse_transform(fitted.transform(SENTENCES[:2]))
    walk = fitted.interpolate(*SENTENCES[:2], n_samples=5)
    assert [walk[0], walk[-1]] == ends


def test_a_score_is_no_matter_of_company(fitted):
    alone = [fitted.score_samples([sentence])[0] for sentence in SENTENCES[:5]]
    np.testing.assert_allclose(fitted.score_samples(SENTENCES)[:5], alone, rtol=1e-4)
    alone = np.vstack([fitted.transform([sentence]) for sentence in SENTENCES[:5]])
    np.testing.assert_allclose(fitted.transform(SENTENCES)[:5], alone, atol=1e-5)


def test_perplexity_is_the_mean_surprise_of_a_token(fitted):
    n_tokens = sum(len(sentence.split()) + 1 for sentence in SENTENCES)  # and the end of each
    surprise = -fitted.score_samples(SENTENCES, 8).sum() / n_tokens
    assert fitted.perplexity(SENTENCES, 8) == pytest.approx(np.exp(surprise))


def test_the_importance_bound_is_above_the_elbo(fitted):
    elbo = fitted.score_samples(SENTENCES, 64, bound="elbo").mean()
    assert elbo < fitted.score_samples(SENTENCES, 64).mean()


def test_a_language_model_has_no_code_and_an_exact_score():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PosteriorCollapseWarning)  # it is what was asked for
        model = small(posterior="none", max_iter=30).fit(SENTENCES)
    assert not model.transform(SENTENCES).any()
    assert model.kl_per_component_.sum() == 0.0
    one, many = (model.score_samples(SENTENCES[:20], n_draws) for n_draws in (1, 7))
    np.testing.assert_allclose(one, many, rtol=1e-6)


def test_training_helps():
    short, long = (small(max_iter=n).fit(SENTENCES) for n in (1, 8))
    assert long.score(SENTENCES) > short.score(SENTENCES) + 1.0


def test_a_plain_vae_says_next_to_nothing_and_ours_the_sentiment():
    sentences, factors = make_sentences(1800, random_state=0)
    train, test = slice(1500), slice(1500, None)
    settings = dict(pooling="last", embedding_size=32, hidden_size=48, learning_rate=1e-2)
    settings |= dict(n_components=8, max_iter=6, batch_size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        plain = small(posterior="gaussian", **settings).fit(sentences[train])
    ours = small(tau=0.4, **settings).fit(sentences[train])
    assert plain.kl_per_component_.sum() < 0.2 < 2.0 < ours.kl_per_component_.sum()
    few = LogisticRegression().fit(ours.transform(sentences[train][:100]), factors[train][:100, 0])
    assert few.score(ours.transform(sentences[test]), factors[test, 0]) > 0.9


# -- words ---------------------------------------------------------------------------------------


def test_the_vocabulary_is_that_of_count_vectorizer():
    model = small(min_df=2, max_df=3, max_features=1)
    with pytest.warns(UserWarning, match="9 of 12 tokens are not in the vocabulary of 1"):
        model.fit(["a b c", "a b c", "a b c d", "a b"])
    assert model.vocabulary_ == {"c": 3}


def test_token_pattern_finds_words_and_marks():
    model = small().fit(["It isn't bad, I say!"])
    assert list(model.vocabulary_) == ["!", ",", "bad", "i", "isn't", "it", "say"]


def test_words_can_keep_their_case_and_be_found_otherwise():
    assert set(small(lowercase=False, tokenizer=str.split).fit(["Ab, cD"]).vocabulary_) == {
        "Ab,",
        "cD",
    }


def test_characters_are_put_together_without_spaces():
    model = small(analyzer="char").fit(["abab", "ba"])
    assert set(model.vocabulary_) == {"a", "b"}
    assert set("".join(model.sample(20, random_state=0))) <= {"a", "b"}


def as_it_is(document):
    return document


def test_documents_are_read_by_the_present_parameters():
    model = small(lowercase=False, max_length=2).fit(["a b", "B"])
    assert model.vocabulary_ == {"B": 3, "a": 4, "b": 5}
    model.set_params(lowercase=True, max_length=3)
    assert model._read_rows(["A B B"]).X.tolist() == [[1, 4, 5, 5, 1]]


def test_documents_can_be_lists_of_tokens():
    model = small(analyzer=as_it_is).fit([["a b", "c"], ["c"]])
    assert set(model.vocabulary_) == {"a b", "c"}


def test_token_numbers_are_as_they_are_said_to_be():
    model = small(max_length=3).fit(["b a", "a", ""])
    numbers = model._read_rows(["b a", "", "a x a"]).X
    assert numbers.tolist() == [[1, 4, 3, 1, 0], [1, 1, 0, 0, 0], [1, 3, 2, 3, 1]]
    assert numbers.dtype == np.int32


def test_unknown_words_are_all_one(fitted):
    np.testing.assert_array_equal(*fitted.transform(["the zyx", "the xyz"])[:, None])


def test_skrub_can_tell_that_it_takes_a_column():
    # skrub passes a column to what has this name, and a frame, which is refused, to all else.
    assert BNVAETextEstimator.__single_column_transformer__
    assert not hasattr(BNVAEEstimator, "__single_column_transformer__")


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Series, lambda s: np.array(s, dtype=object)])
def test_documents_come_in_any_sequence(fitted, kind):
    np.testing.assert_array_equal(
        fitted.transform(kind(SENTENCES[:5])), fitted.transform(SENTENCES[:5])
    )


# -- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a single sentence", r"X must be a list of documents; got a single string. Pass \[X\]"),
        ([], "X must hold at least one document; got none"),
        (["a", 3], "X must hold strings; document 1 is of type int"),
        (["a", None], "X must hold strings; document 1 is of type NoneType. Replace missing"),
        (["a", ["b"]], "X must hold strings; document 1 is of type list"),
        (np.array([["a"], ["b"]]), r"of one dimension; got the shape \(2, 1\). Pass one column"),
        (pd.DataFrame({"text": ["a"]}), r"of one dimension; got the shape \(1, 1\)"),
        (["", " "], "X leaves no vocabulary: .* Lower min_df"),
    ],
)
def test_documents_that_are_none(X, message):
    with pytest.raises(ValueError, match=message):
        small().fit(X)


def test_a_vocabulary_of_nothing():
    with pytest.raises(ValueError, match=r"X leaves no vocabulary: .*min_df \(now 2\)"):
        small(min_df=2).fit(["a b", "c d"])


def test_long_documents_are_cut_and_counted():
    model = small(max_length=3)
    with pytest.warns(UserWarning, match="2 of 4 documents are longer than max_length=3 .* 5 tok"):
        model.fit(["a b c", "a", "a b c d", "a b c d e"])
    with pytest.warns(UserWarning, match="1 of 1 documents"):
        cut = model.transform(["a b c d"])
    np.testing.assert_array_equal(cut, model.transform(["a b c"]))
    with pytest.warns(UserWarning, match="1 of 1 documents") as caught:
        model.perplexity(["a b c d"])
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.inverse_transform(np.zeros((2, 5))), "X has 5 columns.* codes of 3"),
        (lambda m: m.inverse_transform(np.zeros((2, 3)), 0), "n_beams must be an int of at least"),
        (lambda m: m.sample(0), "n_samples must be an int of at least 1; got 0"),
        (lambda m: m.sample(temperature=0.0), "temperature must be above 0; got 0.0"),
        (lambda m: m.sample(temperature="1"), "temperature must be above 0; got '1'"),
        (lambda m: m.sample(temperature=np.inf), "temperature must be finite; got inf"),
        (lambda m: m.sample(top_p="1"), r"top_p must lie in \(0, 1\]; got '1'"),
        (lambda m: m.sample(top_p=0.0), r"top_p must lie in \(0, 1\]; got 0.0"),
        (lambda m: m.interpolate("a", "b", 1), "n_samples must be an int of at least 2; got 1"),
        (lambda m: m.transform([1.0]), "X must hold strings; document 0 is of type float"),
    ],
)
def test_calls_that_mean_nothing(fitted, call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted)


@pytest.mark.parametrize("settings", [{"temperature": 1e-300}, {"top_p": 1e-300}])
def test_the_smallest_settings_draw_the_most_probable_words(fitted, settings):
    draw = {"random_state": 0}
    assert fitted.sample(20, **draw, **settings) == fitted.sample(20, **draw, top_p=1e-6)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"token_pattern must be a regular expression; got '\(': missing \)"),
        (r"(\w)(\w)", "token_pattern must have at most one capturing group; got .* with 2"),
    ],
)
def test_a_pattern_that_is_none_is_named(pattern, message):
    with pytest.raises(ValueError, match=message):
        small(token_pattern=pattern).fit(SENTENCES)


# -- as any estimator ----------------------------------------------------------------------------


CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", CHECKS)
def test_checks_of_scikit_learn_that_need_no_table(name):
    getattr(estimator_checks, name)("BNVAETextEstimator", small())


def test_tags_say_that_it_takes_strings():
    tags = get_tags(small()).input_tags
    assert tags.string
    assert not tags.two_d_array
    assert not tags.sparse


def test_unfitted_it_says_so():
    with pytest.raises(ValueError, match="not fitted"):
        small().transform(SENTENCES)
    with pytest.raises(AttributeError, match="not fitted yet"):
        small().vocabulary_  # noqa: B018


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "rnn"},
        {"pooling": "sum"},
        {"dropout": 1.0},
        {"word_dropout": -0.1},
        {"max_length": 0},
        {"min_df": 1.5},
        {"analyzer": "char_wb"},
        {"posterior": "nothing"},
        {"hidden_size": 0},
    ],
)
def test_parameters_are_checked_in_fit(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"The '{name}' parameter of BNVAETextEstimator"):
        small(**settings).fit(SENTENCES)


@pytest.mark.parametrize(
    "settings",
    [{}, {"cell": "gru", "pooling": "max"}, {"dropout": 0.2, "word_dropout": 0.3, "tied": False}],
)
def test_one_seed_one_result(settings):
    state = torch.get_rng_state()
    a, b = (small(**settings).fit(SENTENCES).transform(SENTENCES) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    other = small(**settings).set_params(random_state=1).fit(SENTENCES).transform(SENTENCES)
    assert not np.allclose(other, a)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_belong_to_their_seed(fitted):
    assert fitted.sample(5, random_state=0) == fitted.sample(5, random_state=0)
    assert fitted.sample(5, random_state=0) != fitted.sample(5, random_state=1)


def test_clones_and_pickles(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(ODD), fitted.transform(ODD))
    assert again.sample(3, random_state=0) == fitted.sample(3, random_state=0)


def test_files_hold_it(fitted, tmp_path):
    fitted.save(tmp_path / "text.safetensors")
    again = BNVAETextEstimator.load(tmp_path / "text.safetensors")
    np.testing.assert_array_equal(again.transform(ODD), fitted.transform(ODD))
    assert again.sample(3, random_state=0) == fitted.sample(3, random_state=0)
    network = again.module_.likelihood_layer.network
    assert network.output.weight is network.embedding.weight


class StopAfterTwoEpochs:
    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == 1:
            raise RuntimeError("the power is off")

    def teardown(self, estimator, context):
        pass


def test_a_checkpoint_is_gone_on_from(tmp_path):
    settings = dict(max_iter=4, checkpoint=tmp_path / "text.safetensors")
    with pytest.raises(RuntimeError, match="power"):
        small(**settings).set_callbacks(StopAfterTwoEpochs()).fit(SENTENCES)
    resumed, whole = small(**settings).fit(SENTENCES), small(max_iter=4).fit(SENTENCES)
    np.testing.assert_array_equal(resumed.transform(SENTENCES), whole.transform(SENTENCES))


def test_names_of_the_components(fitted):
    assert fitted.get_feature_names_out().tolist() == [f"bnvaetextestimator{k}" for k in range(3)]


def test_in_a_pipeline_and_a_search():
    pipeline = make_pipeline(small(4), LogisticRegression())
    search = GridSearchCV(pipeline, {"bnvaetextestimator__tau": [0.3, 0.6]}, cv=2)
    search.fit(SENTENCES, FACTORS[:, 0])
    assert 0.3 < search.best_score_ <= 1.0
    assert set(search.best_params_) == {"bnvaetextestimator__tau"}


def test_going_on_keeps_the_vocabulary():
    model = small().partial_fit(SENTENCES[:100])
    words = model.vocabulary_
    model.partial_fit(["something new altogether", *SENTENCES[100:200]])
    assert model.vocabulary_ is words
    assert model.n_iter_ == 2
    warm = small(warm_start=True).fit(SENTENCES).fit(SENTENCES)
    assert warm.n_iter_ == 6


def test_early_stopping_sets_sentences_aside():
    model = small(early_stopping=True, max_iter=6, n_iter_no_change=1, tol=1e9).fit(SENTENCES)
    assert 2 < len(model.validation_scores_) == model.n_iter_ <= 6
    assert np.isfinite(model.validation_scores_).sum() == 2  # then on all sentences


def test_weights_count():
    weight = np.where(FACTORS[:, 0] == 0, 10.0, 0.1)
    even, tilted = (
        small(max_iter=5).fit(SENTENCES, sample_weight=w).score_samples(SENTENCES)
        for w in (None, weight)
    )
    gain = tilted - even
    assert gain[FACTORS[:, 0] == 0].mean() > gain[FACTORS[:, 0] != 0].mean() + 1.0


@pytest.mark.parametrize("kind", [list, iter, pd.Series, pl.Series, np.array])
def test_words_of_documents_of_weight_0_are_not_learned(kind):
    weight = np.repeat([1.0, 0.0], [50, 10])
    documents = SENTENCES[:50] + ["zyx zyx"] * 10
    found = small().fit(kind(documents), sample_weight=weight)
    expected = small().fit(SENTENCES[:50], sample_weight=weight[:50])
    assert found.vocabulary_ == expected.vocabulary_
    np.testing.assert_array_equal(found.transform(documents), expected.transform(documents))


def test_callbacks_see_the_documents():
    monitor = ScoringMonitor(scoring={"score": lambda model, X, y: model.score(X)})
    model = small(max_iter=3).set_callbacks(monitor).fit(SENTENCES)
    assert model.n_iter_ == 3


def test_a_failed_fit_leaves_the_former_one(fitted):
    model = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(ValueError, match="no vocabulary"):
        model.fit([""])
    np.testing.assert_array_equal(model.transform(ODD), fitted.transform(ODD))


def test_a_diagnosis(fitted):
    found = fitted.diagnose(SENTENCES, n_draws=4)
    assert found.rate == pytest.approx(fitted.kl_per_component_.sum(), rel=1e-4)
    assert found.importance_bound > found.elbo


@pytest.mark.parametrize(
    "draw",
    [
        lambda model: TrainingCurveDisplay.from_estimator(model),
        lambda model: KLDisplay.from_estimator(model, SENTENCES),
        lambda model: LatentMapDisplay.from_estimator(model, SENTENCES, y=FACTORS[:, 0]),
        lambda model: AggregatedPosteriorDisplay.from_estimator(model, SENTENCES),
        lambda model: RateDistortionDisplay.from_estimators([model], SENTENCES),
        lambda model: TauTableDisplay.from_estimators([model], SENTENCES),
    ],
)
def test_displays_that_need_no_table(fitted, draw):
    figure = draw(fitted).figure_
    figure.canvas.draw()
    assert any(ax.has_data() or ax.tables or ax.texts for ax in figure.axes)
    plt.close(figure)


def test_rows_take_little_memory():
    documents = SENTENCES * 20
    model = small().fit(SENTENCES)
    tracemalloc.start()
    model._read_rows(documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / len(documents) < 4_000  # bytes; a hundred thousand take less than 0.4 GB


# -- work ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("tied", [True, False])
def test_work_is_that_of_every_token(cell, tied):
    vae = small(cell=cell, tied=tied, max_iter=1).fit(SENTENCES)
    x = torch.from_numpy(vae._read_rows(SENTENCES).X).long()
    n_gates, n_states, n_tokens = {"lstm": (4, 2), "gru": (3, 1)}[cell] + (
        len(vae.vocabulary_) + 3,
    )
    recurrence = n_gates * (8 * 12 + 12 * 12)
    output = 12 * 8 + 8 * n_tokens if tied else 12 * n_tokens
    of_code = 12 * 2 * 3 + 3 * (n_states * 12 + 8 + (8 if tied else 12))
    per_token = 2 * recurrence + output
    for some in (slice(10), slice(10, 300)):
        tokens = (x[some, 1:] != PADDING).sum(1).double().mean().item()
        found = multiplications_per_row(vae.module_, [Batch(x[some])])
        assert found == pytest.approx(of_code + per_token * tokens, rel=1e-12)


def test_at_the_defaults_there_is_work_for_two_threads(monkeypatch):
    asked = []

    def borrowed(work, *others):
        asked.append(work)
        return restored_process(0, *others)

    monkeypatch.setattr("skvae._base.restored_process", borrowed)
    sentences, _ = make_sentences(512, random_state=0)
    vae = BNVAETextEstimator(max_iter=1, random_state=0).fit(sentences)
    assert max(asked) == 3 * 64 * vae._model.row_work
    assert round(max(asked) / MULTIPLICATIONS_PER_THREAD) == 2
