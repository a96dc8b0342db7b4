"""From objects to plain arrays and settings and back, through files and pickles."""

import copy
import functools
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
from collections import OrderedDict
from importlib.util import find_spec

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as safetensors
from sklearn.base import clone
from torch import nn

from skvae import BNVAEEstimator, BNVAEEstimatorCV, BNVAETextEstimator
from skvae._data.units import Units
from skvae._fit.files import FORMAT, KEY, _digest, read, replace, write
from skvae._fit.plain import CannotSave, State, restored, state_of
from skvae.likelihoods import GaussianLikelihood
from skvae.objectives import FreeBits
from skvae.posteriors import MomentPosterior


def rows(n_samples=40, n_features=5, seed=0):
    return np.random.RandomState(seed).randn(n_samples, n_features)


# Training that ends by itself: no rise counts after the first score.
STOPS = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9, "max_iter": 10}


def small(**parameters):
    return BNVAEEstimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (8,),
            "max_iter": 2,
            "random_state": 0,
            **parameters,
        }
    )


def in_another_process(code, *arguments):
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Encoder(nn.Module):
    """A network of one's own."""

    def __init__(self, n_features, width=6):
        super().__init__()
        self.linear = nn.Linear(n_features, width)

    def forward(self, x):
        return self.linear(x).relu()


class Decoder(nn.Module):
    """Another one."""

    def __init__(self, n_components, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_components, n_outputs)

    def forward(self, z):
        return self.linear(z)


# -- plain things --------------------------------------------------------------------------

NUMBERS = st.floats() | st.integers() | st.booleans() | st.none() | st.text()
THINGS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
    max_leaves=8,
)


def through_json(state):
    return state._replace(settings=json.loads(json.dumps(state.settings, allow_nan=False)))


@given(THINGS)
def test_plain_things_come_back_as_they_were(thing):
    assert repr(restored(through_json(state_of(thing)))) == repr(thing)


@pytest.mark.parametrize(
    "thing",
    [
        np.float32(0.1),
        np.int64(-3),
        np.bool_(True),
        float("-inf"),
        {1, 2},
        frozenset("a"),
        OrderedDict(a=1),
        torch.device("cuda:1"),
        torch.float64,
        FreeBits(nats=0.5, per="code"),
        MomentPosterior,
        slice(0, 4),
        slice("a", None, 2),
    ],
    ids=repr,
)
def test_a_thing_of_its_own_kind_comes_back_equal_and_of_its_type(thing):
    found = restored(through_json(state_of(thing)))
    assert found == thing
    assert type(found) is (dict if type(thing) is OrderedDict else type(thing))


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.zeros((0, 3), dtype=np.float32),
    np.array(2.5),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(6.0)[::2],
    np.array([True, False]),
    np.array([np.nan, np.inf]),
    np.array(["a", "bcd"]),
    np.array([["a", 1], [None, 2.5]], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_comes_back_with_its_dtype_and_shape_and_memory_of_its_own(array):
    found = restored(through_json(state_of(array)))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert not np.shares_memory(found, array)
    assert found.flags.writeable


def test_units_come_back_as_units():
    found = restored(through_json(state_of(Units(np.ones(2), np.full(2, 3.0)))))
    assert isinstance(found, Units)
    np.testing.assert_array_equal(found.scale, [3.0, 3.0])


def test_a_generator_goes_on_where_it_was():
    generator = np.random.RandomState(3)
    generator.randn(5)
    assert restored(through_json(state_of(generator))).randn() == generator.randn()


@pytest.mark.parametrize(
    "module",
    [
        MomentPosterior(4, 2, tau=0.3, gamma="theta"),
        GaussianLikelihood(3),
        nn.GRU(3, 2),
        nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.1), nn.BatchNorm1d(3)).double(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_module_comes_back_with_weights_settings_and_mode(module):
    module.eval()
    found = restored(through_json(state_of(module)))
    assert repr(found) == repr(module)
    assert not found.training
    for name, weight in module.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight)
    assert [p.requires_grad for p in found.parameters()] == [True] * len([*module.parameters()])


def test_a_recurrent_module_works_after_coming_back():
    module, x = nn.GRU(3, 2), torch.randn(4, 1, 3)
    assert torch.equal(restored(through_json(state_of(module)))(x)[0], module(x)[0])


def test_what_two_modules_share_they_still_share():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    module.append(module[0])
    found = restored(through_json(state_of(module)))
    assert found[1].weight is found[0].weight
    assert found[2] is found[0]


@pytest.mark.parametrize(
    "thing", [lambda x: x, object(), 1j, np.array([1j]), torch.zeros(1, dtype=torch.bfloat16)]
)
def test_a_thing_of_unknown_kind_is_an_error_in_a_file_and_kept_for_a_pickle(thing):
    with pytest.raises(CannotSave, match="cannot be put into a file without pickle"):
        state_of([thing])
    assert restored(state_of([thing], keep_foreign=True))[0] is thing


# -- a file of an estimator ----------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return small(**STOPS, objective=FreeBits(0.1)).fit(rows())


def saved(model, path):
    model.save(path)
    return type(model).load(path)


def test_what_was_saved_gives_the_same_results(fitted, tmp_path):
    found, X = saved(fitted, tmp_path / "model"), rows(seed=1)
    np.testing.assert_array_equal(found.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(found.score_samples(X), fitted.score_samples(X))
    np.testing.assert_array_equal(found.sample(3, 0), fitted.sample(3, 0))


VARIANTS = {
    "a range of tau": ({"tau": (0.1, 0.9)}, rows()),
    "gaps": ({}, np.where(rows() > 1.5, np.nan, rows())),
    "counts": ({"likelihood": "negative_binomial"}, np.floor(np.exp(rows()))),
    "a mix": ({"likelihood": [("bernoulli", [0]), ("student_t", [1, 2])]}, rows() > 0),
    "categories": ({"likelihood": "auto"}, np.array([["a", 1.5], ["b", 2.0]] * 20, dtype=object)),
    "conditions": ({"conditions": [0]}, rows()),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_estimator_comes_back(name, tmp_path):
    parameters, X = VARIANTS[name]
    model = small(**parameters).fit(X)
    found = saved(model, tmp_path / "model")
    np.testing.assert_array_equal(found.transform(X), model.transform(X))
    np.testing.assert_array_equal(found.score_samples(X), model.score_samples(X))
    assert found.sample(3, 0).tolist() == model.sample(3, 0).tolist()
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))


def test_a_frame_of_mixed_columns_comes_back_in_its_types(tmp_path):
    pandas = pytest.importorskip("pandas")
    kinds = pandas.Categorical(["a", "b", "c", "a"] * 10, ordered=True)
    X = pandas.DataFrame({"number": rows()[:, 0], "kind": kinds, "flag": rows()[:, 1] > 0})
    model = small(likelihood="auto").fit(X)
    found = saved(model, tmp_path / "model")
    pandas.testing.assert_frame_equal(found.sample(3, 0), model.sample(3, 0))


def test_a_frame_of_polars_comes_back_in_its_types(tmp_path):
    polars = pytest.importorskip("polars")
    letters, kinds = (
        list("abca") * 10,
        {"enum": polars.Enum(list("abc")), "text": polars.Categorical},
    )
    columns = {name: polars.Series(letters, dtype=dtype) for name, dtype in kinds.items()}
    X = polars.DataFrame({"number": rows()[:, 0], **columns})
    model = small(likelihood="auto").fit(X)
    found, expected = saved(model, tmp_path / "model").sample(3, 0), model.sample(3, 0)
    assert found.equals(expected)
    assert found.schema == X.schema


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_estimator_of_sentences_comes_back(cell, tmp_path):
    texts = ["a b c", "b c d", "c d e a", "d"] * 5
    model = BNVAETextEstimator(2, cell=cell, hidden_size=4, max_iter=2, random_state=0).fit(texts)
    found = saved(model, tmp_path / "model")
    np.testing.assert_array_equal(found.transform(texts), model.transform(texts))
    assert found.sample(3, random_state=0) == model.sample(3, random_state=0)
    assert found.inverse_transform(np.eye(2)) == model.inverse_transform(np.eye(2))
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.transform(texts), model.transform(texts))


def test_another_kind_of_estimator_is_named(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(ValueError, match="a BNVAEEstimator, not a BNVAETextEstimator; use BNVAEE"):
        BNVAETextEstimator.load(tmp_path / "model")


def test_a_search_comes_back(tmp_path):
    search = BNVAEEstimatorCV(small(), cv=2).fit(rows())
    found = pickle.loads(pickle.dumps(search))
    assert found.best_params_ == search.best_params_
    for model in (found, saved(search.best_estimator_, tmp_path / "model")):
        np.testing.assert_array_equal(model.transform(rows()), search.transform(rows()))
        np.testing.assert_array_equal(
            model.at_tau(0.5).transform(rows()), search.at_tau(0.5).transform(rows())
        )


def test_a_range_of_tau_moves_and_goes_on_after_coming_back(tmp_path):
    model = small(tau=(0.1, 0.9)).fit(rows())
    found = saved(model, tmp_path / "model")
    codes = [one.partial_fit(rows()).at_tau(0.3).transform(rows()) for one in (model, found)]
    np.testing.assert_array_equal(*codes)


def test_all_attributes_and_parameters_come_back(fitted, tmp_path):
    found = saved(fitted, tmp_path / "model")
    assert vars(found).keys() == vars(fitted).keys()
    assert found.get_params() == fitted.get_params()
    assert found.history_ == fitted.history_
    assert repr(found.module_) == repr(fitted.module_)


def test_names_of_columns_and_output_come_back(tmp_path):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rows(), columns=list("abcde"))
    found = saved(small().set_output(transform="pandas").fit(X), tmp_path / "model")
    assert list(found.transform(X).columns) == ["bnvaeestimator0", "bnvaeestimator1"]
    assert found.feature_names_in_.tolist() == list("abcde")


def test_what_was_saved_goes_on_learning_as_the_original(tmp_path):
    model = small().fit(rows())
    found = saved(model, tmp_path / "model")
    np.testing.assert_array_equal(
        found.partial_fit(rows()).transform(rows()), model.partial_fit(rows()).transform(rows())
    )


def test_parameters_that_were_set_after_the_fit_do_not_disturb_it(tmp_path):
    model = small().fit(rows())
    before = model.transform(rows())
    model.set_params(n_components=7, tau=0.9, hidden_layer_sizes=(3, 3))
    found = saved(model, tmp_path / "model")
    assert found.tau == 0.9
    np.testing.assert_array_equal(found.transform(rows()), before)


def test_an_estimator_that_was_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        small().save(tmp_path / "model")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_was_fitted_on_a_gpu_loads_on_a_cpu(tmp_path):
    found = saved(small(device="cuda").fit(rows()), tmp_path / "model")
    assert next(found.module_.parameters()).device.type == "cpu"


# -- functions of one's own ----------------------------------------------------------------


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    model = small(encoder=Encoder, decoder=lambda d, n: Decoder(d, n)).fit(rows())
    path = tmp_path_factory.mktemp("custom") / "model"
    model.save(path)
    return model, path


def test_networks_of_ones_own_come_back_when_their_functions_are_given(custom):
    model, path = custom
    found = BNVAEEstimator.load(path, encoder=Encoder, decoder=Decoder)
    assert isinstance(found.module_.encoder, Encoder)
    np.testing.assert_array_equal(found.transform(rows()), model.transform(rows()))
    assert found.encoder is Encoder


def test_networks_of_double_precision_come_back_in_it(custom):
    found = BNVAEEstimator.load(custom[1], encoder=Encoder, decoder=Decoder)
    assert found.module_.encoder.linear.weight.dtype == torch.float64


def test_what_was_loaded_with_networks_of_ones_own_can_be_saved_again(custom, tmp_path):
    model, path = custom
    BNVAEEstimator.load(path, encoder=Encoder, decoder=Decoder).save(tmp_path / "again")
    found = BNVAEEstimator.load(tmp_path / "again", encoder=Encoder, decoder=Decoder)
    np.testing.assert_array_equal(found.transform(rows()), model.transform(rows()))


def test_a_function_that_is_not_given_is_named(custom):
    with pytest.raises(
        ValueError, match=r"given again: load\(path, encoder=... \(it was Encoder\)"
    ):
        BNVAEEstimator.load(custom[1], decoder=Decoder)


def test_a_function_that_is_not_asked_for_is_named(custom):
    with pytest.raises(ValueError, match=r"load was given \['likelihood'\]"):
        BNVAEEstimator.load(custom[1], encoder=Encoder, decoder=Decoder, likelihood="gaussian")


def test_a_function_that_builds_another_network_is_named(custom):
    wide = functools.partial(Encoder, width=9)
    with pytest.raises(ValueError, match="encoder returned a Encoder that is not built as"):
        BNVAEEstimator.load(custom[1], encoder=wide, decoder=Decoder)


@pytest.mark.parametrize("encoder", [lambda n: None, 3])
def test_a_function_that_builds_no_network_is_an_error(custom, encoder):
    with pytest.raises(ValueError, match="must return the module|not callable"):
        BNVAEEstimator.load(custom[1], encoder=encoder, decoder=Decoder)


def test_a_posterior_with_settings_is_given_again(tmp_path):
    posterior = functools.partial(MomentPosterior, gamma="theta")
    model = small(posterior=posterior).fit(rows())
    model.save(tmp_path / "model")
    found = BNVAEEstimator.load(tmp_path / "model", posterior=posterior)
    np.testing.assert_array_equal(found.transform(rows()), model.transform(rows()))


def test_a_class_of_the_package_need_not_be_given_again(tmp_path):
    assert saved(small(posterior=MomentPosterior).fit(rows()), tmp_path / "a").posterior is (
        MomentPosterior
    )


def test_a_network_put_in_by_hand_cannot_be_saved(tmp_path):
    model = small().fit(rows())
    model.module_.encoder = Encoder(5)
    with pytest.raises(ValueError, match=r"cannot be saved: an object of type .*Encoder cannot"):
        model.save(tmp_path / "model")


def test_an_attribute_of_unknown_kind_cannot_be_saved(tmp_path):
    model = small().fit(rows())
    model.secret_ = object()
    with pytest.raises(ValueError, match="cannot be saved: an object of type builtins.object"):
        model.save(tmp_path / "model")


# -- damaged, foreign and forged files -----------------------------------------------------


@pytest.fixture(scope="module")
def content(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("content") / "model"
    fitted.save(path)
    return path.read_bytes()


def load_bytes(content, folder):
    (folder / "broken").write_bytes(content)
    return BNVAEEstimator.load(folder / "broken")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("broken")


def test_a_file_that_is_not_there_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        BNVAEEstimator.load(tmp_path / "nothing")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_that_was_cut_off_anywhere_is_a_clear_error(content, folder, data):
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match="damaged or cut off"):
        load_bytes(content[:length], folder)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_anywhere_is_a_clear_error(content, folder, data):
    where = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != content[where]))
    with pytest.raises(ValueError, match=r"damaged|changed since|was not written by skvae"):
        load_bytes(content[:where] + bytes([value]) + content[where + 1 :], folder)


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda b: struct.pack("<Q", 20) + b))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_are_a_clear_error(folder, data):
    with pytest.raises(ValueError, match="is not a file of skvae, or it is damaged"):
        load_bytes(data, folder)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OSError, match="is a folder"):
        BNVAEEstimator.load(tmp_path)


def test_a_pickle_is_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    with pytest.raises(ValueError, match="is not a file of skvae"):
        load_bytes(pickle.dumps(Bomb()), tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_tensors_of_somebody_else_are_no_model(tmp_path):
    with pytest.raises(ValueError, match="was not written by skvae"):
        load_bytes(safetensors({"a": np.ones(2)}), tmp_path)


def forged(path, change):
    """A file whose contents were changed by somebody who knows the checksum."""
    state = read(path)
    head = {"format": FORMAT, "settings": state.settings}
    arrays = dict(state.arrays)
    head = change(head, arrays)
    text = head if isinstance(head, str) else json.dumps(head)
    content = safetensors(arrays, metadata={KEY: text, "sha256": _digest(text, arrays)})
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("other", [3, 99])  # an earlier and a later one
def test_another_version_is_named(fitted, tmp_path, other):
    fitted.save(tmp_path / "model")
    forged(tmp_path / "model", lambda head, arrays: {**head, "format": other})
    with pytest.raises(
        ValueError, match=f"is of format {other}, written by skvae .*, and skvae .* reads format 4"
    ):
        BNVAEEstimator.load(tmp_path / "model")


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", "[" * 100_000, '{"format": 1}'])
def test_settings_that_cannot_be_read_are_a_clear_error(fitted, tmp_path, text):
    fitted.save(tmp_path / "model")
    forged(tmp_path / "model", lambda head, arrays: text)
    with pytest.raises(ValueError, match="settings cannot be read|damaged"):
        BNVAEEstimator.load(tmp_path / "model")


def without_an_array(head, arrays):
    del arrays["3"]
    return head


def test_a_missing_array_is_named(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    forged(tmp_path / "model", without_an_array)
    with pytest.raises(ValueError, match="the array '3' is missing"):
        BNVAEEstimator.load(tmp_path / "model")


def replaced(old, new):
    return lambda head, arrays: json.dumps(head).replace(old, new)


MATCHED = "skvae.posteriors.matched:MomentPosterior"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (MATCHED, "os:system", "is not a class that a file may name"),
        (MATCHED, "skvae.posteriors.matched:reduce", "is not a class"),
        (MATCHED, "skvae.posteriors.matched:Normal", "is not a class"),
        (MATCHED, "skvae.__main__:main", "is not a class"),
        (MATCHED, "skvae._data.units:Units", "is not a module"),
        (MATCHED, "skvae...:x", "is not a class"),
        ("skvae._data.units:Units", "skvae._data.rows:Rows", "is not a tuple"),
        ("skvae._data.units:Units", "subprocess:Popen", "is not a class"),
        ("skvae.objectives:FreeBits", MATCHED, "not an object of"),
        ('"nats"', '"knots"', "unexpected keyword"),
        ('{"dict"', '{"eval"', "an object of an unknown kind, 'eval'"),
        ('"estimator": "BNVAEEstimator"', '"estimator": "Other"', "holds a Other, not a BNVAE"),
        ('"estimator": "BNVAEEstimator"', '"animator": "Other"', "holds no estimator"),
        ('"n_components", 2', '"n_parts", 2', "unexpected keyword"),
    ],
)
def test_settings_that_were_forged_run_nothing(fitted, tmp_path, old, new, message):
    fitted.save(tmp_path / "model")
    forged(tmp_path / "model", replaced(old, new))
    with pytest.raises(ValueError, match=message):
        BNVAEEstimator.load(tmp_path / "model")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_forged_settings_are_either_harmless_or_a_clear_error(content, folder, data):
    path = folder / "forged"
    path.write_bytes(content)

    def change(head, arrays):
        text = json.dumps(head)
        where = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 40))
        return text[:where] + data.draw(st.text('0:{}[]",ax', max_size=5)) + text[where + length :]

    forged(path, change)
    try:
        found = BNVAEEstimator.load(path)
    except ValueError as error:
        found = error
    assert isinstance(found, BNVAEEstimator) or "forged" in str(found)


# -- writing -------------------------------------------------------------------------------


def test_a_file_is_replaced_whole(tmp_path):
    replace(tmp_path / "file", b"old")
    replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "file"
    replace(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            replace(path, b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_state_goes_through_a_file(tmp_path):
    write(tmp_path / "file", state_of({"a": np.arange(3), "b": "c"}))
    found = restored(read(tmp_path / "file"))
    np.testing.assert_array_equal(found["a"], np.arange(3))
    assert found["b"] == "c"


def test_a_file_of_something_else_is_no_estimator(tmp_path):
    write(tmp_path / "file", state_of({"a": 1}))
    with pytest.raises(ValueError, match="holds no estimator; if it is a checkpoint"):
        BNVAEEstimator.load(tmp_path / "file")


def test_a_state_is_a_tuple_of_three():
    assert State._fields == ("settings", "arrays", "foreign")


# -- pickle, joblib, copy and skops, in another process ------------------------------------

READ = """
import pickle, sys
import joblib, numpy as np
from skvae import BNVAEEstimator, BNVAEEstimatorCV, BNVAETextEstimator
folder = sys.argv[1]
models = {"joblib": joblib.load(f"{folder}/joblib"), "save": BNVAEEstimator.load(f"{folder}/save")}
with open(f"{folder}/pickle", "rb") as file:
    models["pickle"] = pickle.load(file)
try:
    import skops.io
    models["skops"] = skops.io.load(f"{folder}/skops", trusted=["skvae.estimator.BNVAEEstimator"])
except ImportError:
    pass
for name, model in models.items():
    print(name, model.transform(np.load(f"{folder}/rows.npy")).tobytes().hex())
"""


@pytest.fixture(scope="module")
def elsewhere(fitted, tmp_path_factory):
    """Codes of one estimator, by the way on which it came to another process."""
    folder = tmp_path_factory.mktemp("elsewhere")
    fitted.save(folder / "save")
    (folder / "pickle").write_bytes(pickle.dumps(fitted))
    joblib.dump(fitted, folder / "joblib")
    np.save(folder / "rows.npy", rows())
    if find_spec("skops"):
        import skops.io

        skops.io.dump(small(**STOPS).fit(rows()), folder / "skops")
    lines = in_another_process(READ, folder).splitlines()
    return dict(line.split() for line in lines)


@pytest.mark.parametrize("how", ["save", "pickle", "joblib", "skops"])
def test_another_process_reads_it_and_has_the_same_codes(fitted, elsewhere, how):
    if how == "skops":
        pytest.importorskip("skops")
        fitted = small(**STOPS).fit(rows())
    assert elsewhere[how] == fitted.transform(rows()).tobytes().hex()


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_keep_networks_of_ones_own_and_share_nothing(twin):
    model = small(encoder=Encoder).fit(rows())
    found = twin(model)
    assert isinstance(found.module_.encoder, Encoder)
    np.testing.assert_array_equal(found.transform(rows()), model.transform(rows()))
    before = model.transform(rows())
    found.partial_fit(rows())
    np.testing.assert_array_equal(model.transform(rows()), before)


def test_what_was_not_fitted_can_be_copied():
    model = copy.deepcopy(small(tau=0.3))
    assert model.tau == 0.3
    assert not hasattr(model, "module_")
    assert clone(model).get_params() == model.get_params()


def test_a_pickle_of_a_fitted_estimator_holds_no_tensor():
    seen = []

    class Watching(pickle.Unpickler):
        def find_class(self, module, name):
            seen.append(module)
            return super().find_class(module, name)

    Watching(io.BytesIO(pickle.dumps(small().fit(rows())))).load()
    assert {name.partition(".")[0] for name in seen} <= {"skvae", "numpy", "_codecs"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"again": "module 7"}, "KeyError: 'module 7'"),
        ({"foreign": "encoder"}, "'encoder' is missing"),
        ({"dtype": "nn"}, "'nn' is not a dtype"),
    ],
)
def test_a_damaged_state_says_what_is_wrong(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        restored(State(settings, {}, {}))


def test_a_likelihood_of_a_slice_of_columns_need_not_be_given_again(tmp_path):
    X = rows()
    model = small(likelihood=[("gaussian", slice(0, 2))]).fit(X)
    model.save(tmp_path / "a")
    found = BNVAEEstimator.load(tmp_path / "a")
    assert found.likelihood == model.likelihood
    np.testing.assert_array_equal(found.transform(X), model.transform(X))
