"""Nothing is lost: checkpoints, Ctrl-C, killed processes, full disks, divergence."""

import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae._data.rows import fingerprint
from skvae._fit.checkpoints import Checkpoint
from skvae._fit.files import read
from skvae.objectives import FreeBits

X = np.random.RandomState(0).randn(60, 4)


def small(**parameters):
    return BNVAEEstimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (8,),
            "max_iter": 6,
            "batch_size": 16,
            "random_state": 0,
            **parameters,
        }
    )


class Drops(nn.Module):
    """A network that draws from the process's generator."""

    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.3))

    def forward(self, x):
        return self.layers(x)


class Stops:
    """A callback that does something after some epochs."""

    def __init__(self, n_epochs, do):
        self.n_epochs, self.do = n_epochs, do

    def setup(self, estimator, context):
        self.n_left = self.n_epochs

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.n_left -= 1
            if not self.n_left:
                return self.do()
        return False

    def teardown(self, estimator, context):
        pass


class Broken(Exception):
    """As if the process had ended."""


def breaks():
    raise Broken


def everything(model):
    """All that a fit has made, as bytes and numbers."""
    module = model._model.every or model.module_
    weights = {
        name: w.numpy().tobytes() if isinstance(w, torch.Tensor) else w
        for name, w in module.state_dict().items()
    }
    curves = model.history_, model.validation_scores_, model.lower_bound_, model._model.seed
    return weights, repr(curves), model.kl_per_component_.tobytes()


# -- checkpoints ---------------------------------------------------------------------------

# Training that stops after two epochs, because no rise counts after the first score.
STOPS = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9}
STOPS |= {"max_iter": 60, "batch_size": 4}
CASES = {
    "plain": {},
    "early stopping": {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 3, "tol": 0.05},
    "annealing": {"objective": "cyclical-annealing"},
    "dropout": {"encoder": Drops},
    "weights": {},
    "a range of tau": {"tau": (0.1, 0.9)},
}


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(3)])
def test_a_fit_without_a_seed_goes_on_with_the_one_it_had(tmp_path, random_state):
    path = tmp_path / "a"
    model = small(random_state=random_state, checkpoint=path).set_callbacks(Stops(3, breaks))
    with pytest.raises(Broken):
        model.fit(X)
    content = path.read_bytes()
    one = small(random_state=random_state, checkpoint=path).fit(X)
    path.write_bytes(content)
    other = small(random_state=random_state, checkpoint=path).fit(X)
    assert everything(one) == everything(other)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_epochs", [1, 4])
def test_a_fit_that_goes_on_from_its_checkpoint_is_the_uninterrupted_one(case, n_epochs, tmp_path):
    weight = np.arange(1.0, 61.0) if case == "weights" else None
    model = small(**CASES[case], checkpoint=tmp_path / "a")
    model.set_callbacks(Stops(n_epochs, breaks))
    with pytest.raises(Broken):  # after the epoch, before it is written
        model.fit(X, sample_weight=weight)
    resumed = small(**CASES[case], checkpoint=tmp_path / "a").fit(X, sample_weight=weight)
    whole = small(**CASES[case]).fit(X, sample_weight=weight)
    assert everything(resumed) == everything(whole)


# What comes before the end, and what is left of it.
ENDS = {
    "anew": {},
    "anew, with averages": {"average": True},
    "anew, over a range of tau": {"tau": (0.1, 0.9)},
    "from the best weights": {"max_iter": 3},
    "from the best weights, with averages": {"max_iter": 3, "average": True},
    "from the best weights, over a range of tau": {"max_iter": 3, "tau": (0.1, 0.9)},
    "with no epoch left": {"max_iter": 2},
    "by default": {"max_iter": None, "n_iter_no_change": None},
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case == "by default")) for case in ENDS]
)
def test_a_fit_goes_on_from_before_at_and_after_the_decision_on_its_end(case, tmp_path):
    parameters = {**STOPS, **ENDS[case]}
    whole = small(**parameters).fit(X)
    n_before = np.isfinite(whole.validation_scores_).nonzero()[0][-1] + 1
    for n_written in {n_before - 1, n_before, n_before + 1} & set(range(whole.n_iter_)):
        path = tmp_path / str(n_written)
        model = small(**parameters, checkpoint=path).set_callbacks(Stops(n_written + 1, breaks))
        with pytest.raises(Broken):
            model.fit(X)
        assert epochs_in(path) == n_written
        assert everything(small(**parameters, checkpoint=path).fit(X)) == everything(whole)


def test_a_fit_that_was_over_is_read_and_not_run(tmp_path):
    model = small(checkpoint=tmp_path / "a").fit(X)
    again = small(checkpoint=tmp_path / "a").set_callbacks(Stops(1, breaks)).fit(X)
    assert everything(again) == everything(model)


def test_a_fit_that_a_callback_ended_is_over(tmp_path):
    stop = Stops(2, lambda: True)
    small(checkpoint=tmp_path / "a").set_callbacks(stop).fit(X)
    assert small(checkpoint=tmp_path / "a").fit(X).n_iter_ == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.1}, "learning_rate was 0.003 and is 0.1"),
        ({"max_iter": 7}, "max_iter was 6 and is 7"),
        ({"encoder": Drops}, "encoder was None and is Drops"),
        (
            {"objective": FreeBits()},
            r"objective was 'elbo' and is FreeBits\(nats=0.25, per='component'\)",
        ),
        ({"random_state": None}, "random_state was 0 and is None"),
    ],
)
def test_a_checkpoint_of_other_parameters_is_an_error_that_names_them(tmp_path, changed, message):
    small(checkpoint=tmp_path / "a").fit(X)
    with pytest.raises(ValueError, match=f"is of another fit: {message}. Delete it to start anew"):
        small(checkpoint=tmp_path / "a", **changed).fit(X)


def drops(n_features, share=0.3):
    return Drops(n_features)


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        (
            {"encoder": functools.partial(drops, share=0.1)},
            {"encoder": functools.partial(drops, share=0.2)},
            r"encoder was partial\(drops, share=0.1\) and is partial\(drops, share=0.2\)",
        ),
        (
            {"likelihood": [("gaussian", slice(0, 4))]},
            {"likelihood": [("student_t", slice(0, 4))]},
            r"likelihood was \[\('gaussian', slice\(0, 4, None\)\)\] and is \[\('student_t'",
        ),
        (
            {"conditions": [("numeric", slice(0, 1))]},
            {"conditions": [("numeric", slice(1, 2))]},
            "conditions was .*0, 1, None.* and is .*1, 2, None",
        ),
    ],
)
def test_a_checkpoint_knows_parameters_that_hold_functions_or_slices(tmp_path, was, now, message):
    small(checkpoint=tmp_path / "a", **was).fit(X)
    small(checkpoint=tmp_path / "a", **was).fit(X)
    with pytest.raises(ValueError, match=message):
        small(checkpoint=tmp_path / "a", **now).fit(X)


def test_a_checkpoint_knows_each_number_of_a_long_mask(tmp_path):
    wide = np.random.RandomState(0).randn(20, 1200)
    masks = np.ones((2, 1200), dtype=bool)
    masks[:, :9], masks[1, 600] = False, False  # in the middle, which NumPy would not print
    was, now = ([("student_t", mask)] for mask in masks)
    small(checkpoint=tmp_path / "a", likelihood=was, max_iter=1).fit(wide)
    with pytest.raises(ValueError, match=r"likelihood was .* the shape \(1200,\) and"):
        small(checkpoint=tmp_path / "a", likelihood=now, max_iter=1).fit(wide)


def test_numbers_of_numpy_are_the_same_parameters(tmp_path):
    small(checkpoint=tmp_path / "a", tau=0.25, hidden_layer_sizes=(8,)).fit(X)
    numpy = {"tau": np.float64(0.25), "hidden_layer_sizes": (np.int64(8),)}
    assert small(checkpoint=tmp_path / "a", **numpy).fit(X).n_iter_ == 6


@pytest.mark.parametrize("other", [X[:-1], X + 1, X.astype(np.float32)])
def test_a_checkpoint_of_other_rows_is_an_error(tmp_path, other):
    small(checkpoint=tmp_path / "a").fit(X)
    with pytest.raises(ValueError, match="is of another fit: X was"):
        small(checkpoint=tmp_path / "a").fit(other)


def test_a_checkpoint_of_other_weights_is_an_error(tmp_path):
    small(checkpoint=tmp_path / "a").fit(X)
    with pytest.raises(ValueError, match="is of another fit: X was"):
        small(checkpoint=tmp_path / "a").fit(X, sample_weight=np.arange(1.0, 61.0))


@pytest.mark.parametrize("weight", [2.0, np.ones(60)])
def test_a_checkpoint_of_equal_weights_goes_on(tmp_path, weight):
    found = small(checkpoint=tmp_path / "a").fit(X, sample_weight=np.ones(60))
    again = small(checkpoint=tmp_path / "a").fit(X, sample_weight=weight)
    np.testing.assert_array_equal(found.transform(X), again.transform(X))


def test_with_a_checkpoint_weights_of_another_length_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(59,\), expected \(60,\)"):
        small(checkpoint=tmp_path / "a").fit(X, sample_weight=np.ones(59))


def test_where_the_fit_runs_and_what_it_prints_may_change(tmp_path):
    small(checkpoint=tmp_path / "a").fit(X)
    small(checkpoint=str(tmp_path / "a"), verbose=1, device="cpu").fit(X)


def test_a_damaged_checkpoint_is_an_error_and_stays(tmp_path):
    small(checkpoint=tmp_path / "a").fit(X)
    content = (tmp_path / "a").read_bytes()[:-1]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match="damaged or cut off"):
        small(checkpoint=tmp_path / "a").fit(X)
    assert (tmp_path / "a").read_bytes() == content


def test_a_saved_estimator_is_no_checkpoint(tmp_path):
    small().fit(X).save(tmp_path / "a")
    with pytest.raises(ValueError, match="is not a checkpoint that this version"):
        small(checkpoint=tmp_path / "a").fit(X)


def test_a_checkpoint_is_no_saved_estimator(tmp_path):
    small(checkpoint=tmp_path / "a").fit(X)
    with pytest.raises(ValueError, match="if it is a checkpoint, pass it as the parameter"):
        BNVAEEstimator.load(tmp_path / "a")


def test_a_checkpoint_that_names_no_file_is_refused_before_the_fit(tmp_path):
    with pytest.raises(ValueError, match="checkpoint must name a file; got an empty name"):
        small(checkpoint="").fit(X)
    with pytest.raises(IsADirectoryError, match="checkpoint must name a file, and .* is a folder"):
        small(checkpoint=tmp_path).fit(X)


def test_a_checkpoint_does_not_go_with_a_warm_start(tmp_path):
    model = small(checkpoint=tmp_path / "a", warm_start=True).fit(X)
    with pytest.raises(ValueError, match="checkpoint does not go with warm_start=True"):
        model.fit(X)


def test_partial_fit_writes_none(tmp_path):
    small(checkpoint=tmp_path / "a").partial_fit(X)
    assert os.listdir(tmp_path) == []


def test_a_fit_of_sentences_goes_on_from_its_checkpoint(tmp_path):
    texts = ["a b c", "b c d", "c d e a", "d"] * 5
    parameters = {"hidden_size": 4, "max_iter": 4, "random_state": 0, "dropout": 0.2}
    model = BNVAETextEstimator(2, **parameters, checkpoint=tmp_path / "a")
    with pytest.raises(Broken):
        model.set_callbacks(Stops(3, breaks)).fit(texts)
    resumed = BNVAETextEstimator(2, **parameters, checkpoint=tmp_path / "a").fit(texts)
    assert everything(resumed) == everything(BNVAETextEstimator(2, **parameters).fit(texts))


def test_a_fingerprint_knows_rows_from_other_rows():
    prints = [
        fingerprint(X),
        fingerprint(X + 1),
        fingerprint(X, np.ones(60)),
        fingerprint(X[:, :3]),
    ]
    assert len({*prints, fingerprint(X.copy())}) == 4


# -- Ctrl-C --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard, even in a process that was started in the background, to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupts():
    signal.raise_signal(signal.SIGINT)


def interrupted(model, match):
    with pytest.warns(UserWarning, match=match):
        return model.fit(X)


def ended_after(n_epochs, model):
    """The fit of a model that a callback ends: a smaller max_iter would have another course."""
    return model.set_callbacks(Stops(n_epochs, lambda: True)).fit(X)


def test_ctrl_c_leaves_the_fit_of_the_epochs_that_were_run():
    model = interrupted(
        small().set_callbacks(Stops(3, interrupts)), "interrupted; .* after epoch 3 of 6"
    )
    assert everything(model) == everything(ended_after(3, small()))


class PressedWithin(nn.Module):
    """A network during whose n-th call of the training Ctrl-C is pressed."""

    def __init__(self, n_features, n_calls):
        super().__init__()
        self.linear, self.n_left = nn.Linear(n_features, 8), n_calls

    def forward(self, x):
        if self.training and len(x) > 2:  # the first call is with two rows, to find the width
            self.n_left -= 1
            if not self.n_left:
                interrupts()
        return self.linear(x)


@pytest.mark.parametrize(("n_calls", "n_epochs"), [(5, 1), (7, 1), (10, 2)])
def test_ctrl_c_within_an_epoch_goes_back_to_the_epoch_before(n_calls, n_epochs):
    def network(n_calls):
        return functools.partial(PressedWithin, n_calls=n_calls)

    model = interrupted(small(encoder=network(n_calls)), f"after epoch {n_epochs} of 6")
    assert everything(model) == everything(ended_after(n_epochs, small(encoder=network(10_000))))


def test_ctrl_c_in_the_first_epoch_leaves_the_weights_of_that_moment():
    model = small(encoder=functools.partial(PressedWithin, n_calls=2))
    interrupted(model, "in the middle of epoch 1")
    assert model.n_iter_ == 0
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))


def test_after_ctrl_c_the_checkpoint_goes_on_to_the_same_end(tmp_path):
    interrupted(
        small(checkpoint=tmp_path / "a").set_callbacks(Stops(3, interrupts)), "after epoch 3 of 6"
    )
    assert everything(small(checkpoint=tmp_path / "a").fit(X)) == everything(small().fit(X))


def test_a_fit_after_ctrl_c_starts_anew():
    model = interrupted(small().set_callbacks(Stops(1, interrupts)), "after epoch 1 of 6")
    assert model.set_callbacks().fit(X).n_iter_ == 6


def test_generators_and_threads_are_put_back_after_ctrl_c():
    before = torch.get_rng_state(), torch.get_num_threads()
    interrupted(small(encoder=functools.partial(PressedWithin, n_calls=5)), "after epoch 1")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


# -- divergence ----------------------------------------------------------------------------


class Explodes(nn.Module):
    """A decoder whose outputs are infinite from a step of the training on."""

    def __init__(self, n_components, n_outputs, n_calls):
        super().__init__()
        self.linear, self.n_left = nn.Linear(n_components, n_outputs), n_calls

    def forward(self, z):
        self.n_left -= self.training
        return self.linear(z) / (not self.training or self.n_left > 0)


def exploding(n_calls, **parameters):
    return small(decoder=functools.partial(Explodes, n_calls=n_calls), **parameters)


def test_divergence_goes_back_to_the_last_good_epoch_and_says_why():
    message = r"became nan in epoch 3. Lower learning_rate .* as it was after epoch 2 of 6"
    with pytest.warns(ConvergenceWarning, match=message):
        model = exploding(10).fit(X)
    assert everything(model) == everything(ended_after(2, exploding(10_000)))


def test_divergence_in_the_first_epoch_is_an_error():
    with pytest.raises(ValueError, match="became nan in epoch 1.*; nothing was kept"):
        exploding(2).fit(X)


# -- full disks ----------------------------------------------------------------------------


def test_a_full_disk_is_reported_and_training_goes_on(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "a"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.warns(RuntimeWarning, match="'.*a' could not be written: .*too large"):
            model = small(checkpoint=path).fit(X)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(model) == everything(small().fit(X))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_reported_and_training_goes_on(tmp_path):
    with pytest.warns(RuntimeWarning, match="a folder that exists; .*nowhere' does not"):
        model = small(checkpoint=tmp_path / "nowhere" / "a").fit(X)
    assert model.n_iter_ == 6


# -- killed processes ----------------------------------------------------------------------

LONG = {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 60, "encoder": Drops}


def fit_in_this_process(path, started):
    model = small(**LONG, checkpoint=path)
    started.set()
    model.fit(X)


@pytest.fixture(scope="module")
def server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skvae.estimator", "skvae._fit.training"])
    return context


def killed_at(server, path, n_epochs, wait):
    """Fit in another process, and kill it some time after that epoch; return whether in time."""
    started = server.Event()
    process = server.Process(target=fit_in_this_process, args=(path, started))
    process.start()
    started.wait()
    while process.is_alive() and epochs_in(path) < n_epochs:
        time.sleep(0.001)
    time.sleep(wait)
    in_time = process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return in_time


def epochs_in(path):
    """Epochs that a checkpoint holds; reading it fails if it is not whole."""
    if not path.exists():
        return 0
    pairs = dict(read(path).settings["fit"]["dict"])
    history = dict(pairs["history"]["dict"])
    return len(history["loss"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_a_process_killed_at_random_moments_loses_no_file_and_at_most_an_epoch(server, tmp_path):
    path, rng = tmp_path / "a", np.random.RandomState(0)
    before, n_kills = 0, 0
    while before < 60 and n_kills < 8:
        n_kills += killed_at(server, path, min(60, before + 5), rng.uniform(0, 0.02))
        done = epochs_in(path)
        assert done >= min(60, before + 5)  # what was there when it was looked at is still there
        before = done
    assert n_kills >= 3
    with pytest.warns(ConvergenceWarning, match="at the limit of 60 epochs"):
        resumed = small(**LONG, checkpoint=path).fit(X)
    with pytest.warns(ConvergenceWarning, match="at the limit of 60 epochs"):
        whole = small(**LONG).fit(X)
    assert everything(resumed) == everything(whole)
    assert set(os.listdir(tmp_path)) <= {"a", ".a.part"}


# -- many at once --------------------------------------------------------------------------


def test_sixteen_threads_transform_alike():
    model = small().fit(X)
    alone, found = model.transform(X), []
    threads = [
        threading.Thread(target=lambda: found.extend(model.transform(X) for _ in range(5)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(np.array_equal(one, alone) for one in found)


def test_no_warning_is_given_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(X)


def test_a_process_that_is_not_the_first_writes_no_checkpoint(tmp_path):
    Checkpoint(tmp_path / "file", {}, writes=False).write({"over": False})
    assert not (tmp_path / "file").exists()
    Checkpoint(tmp_path / "file", {}).write({"over": False})
    assert Checkpoint(tmp_path / "file", {}).read() == {"over": False}
