"""What PyTorch is set to around a call does not change it, and calls do not wait for each other."""

import pickle
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from skvae import BNVAEEstimator, BNVAEEstimatorCV, BNVAETextEstimator
from skvae.likelihoods import GaussianLikelihood

X = np.random.RandomState(0).randn(40, 4).astype(np.float32)
GAPS = np.where(X > 1.5, np.nan, X)
CODES = X[:5, :2]
SENTENCES = ["the cat sleeps .", "the dog sleeps .", "a dog barks !", "a cat runs ."] * 5


def small(**parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 2, "batch_size": 20, "random_state": 0}
    return BNVAEEstimator(2, **settings | parameters)


def small_text():
    return BNVAETextEstimator(
        2, embedding_size=4, hidden_size=8, max_iter=1, max_length=6, random_state=0
    )


def small_search():
    return BNVAEEstimatorCV(small(max_iter=1, batch_size="auto"), taus=(0.2, 0.8), cv=2)


# -- states ------------------------------------------------------------------------------------


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def everything():
    with (
        torch.inference_mode(),
        default_dtype(torch.float64),
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.device("meta"),
    ):
        yield


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "double": partial(default_dtype, torch.float64),
    "half": partial(default_dtype, torch.float16),
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "device": partial(torch.device, "meta"),
    "default device": partial(default_device, "meta"),
}


def state():
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "device": torch.get_default_device(),
    }


def saved_and_loaded(vae, folder):
    vae.save(folder / "model")
    return type(vae).load(folder / "model").transform(vae_rows(vae))


def vae_rows(vae):
    return SENTENCES if isinstance(vae, BNVAETextEstimator) else X


def numbers(module):
    return [value.detach() for value in (*module.parameters(), *module.buffers())]


def fitted_again(vae, _):
    return numbers(vae.fit(vae_rows(vae)).module_)


def trained_on(vae, _):
    return numbers(vae.partial_fit(vae_rows(vae)).module_)


def unpickled_and_trained_on(vae, _):
    return trained_on(pickle.loads(pickle.dumps(vae)), _)


COMMON = {
    "fit": fitted_again,
    "partial_fit": trained_on,
    "transform": lambda vae, _: vae.transform(vae_rows(vae)),
    "encode": lambda vae, _: vae.encode(vae_rows(vae)),
    "score_samples": lambda vae, _: vae.score_samples(vae_rows(vae), 4),
    "score": lambda vae, _: [vae.score(vae_rows(vae))],
    "diagnose": lambda vae, _: vae.diagnose(vae_rows(vae), 8).kl_per_component,
    "inverse_transform": lambda vae, _: vae.inverse_transform(CODES),
    "sample": lambda vae, _: vae.sample(3, random_state=0),
    "sample_posterior": lambda vae, _: vae.sample_posterior(vae_rows(vae), 2, random_state=0),
    "save": saved_and_loaded,
    "load": saved_and_loaded,
    "pickle": unpickled_and_trained_on,
}
CALLS = {
    BNVAEEstimator: {
        **COMMON,
        "impute": lambda vae, _: vae.impute(GAPS),
        "export": lambda vae, _: [vae.export().graph_module.code],
    },
    BNVAEEstimatorCV: {
        "fit": lambda search, _: numbers(search.fit(X).best_estimator_.module_),
        "at_tau": lambda search, _: numbers(search.at_tau(0.3).module_),
    },
    BNVAETextEstimator: {
        **COMMON,
        "interpolate": lambda vae, _: vae.interpolate(*SENTENCES[:2], 3),
        "perplexity": lambda vae, _: [vae.perplexity(SENTENCES)],
    },
}
CASES = [(kind, call) for kind, calls in CALLS.items() for call in calls]


@pytest.fixture(scope="module")
def pickles():
    fitted = small().fit(GAPS), small_search().fit(X), small_text().fit(SENTENCES)
    return {type(vae): pickle.dumps(vae) for vae in fitted}


def check_it_does_the_same(run, pickled, folder, surrounded):
    expected = run(pickle.loads(pickled), folder)
    with surrounded():
        before = state()
        found = run(pickle.loads(pickled), folder)
        assert state() == before
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("surrounded", STATES)
def test_a_fit_is_the_same_in_any_state(pickles, tmp_path, surrounded):
    pickled = pickles[BNVAEEstimator]
    check_it_does_the_same(fitted_again, pickled, tmp_path, STATES[surrounded])


@pytest.mark.parametrize(("kind", "call"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_every_call_is_the_same_in_all_states_at_once(pickles, tmp_path, kind, call):
    check_it_does_the_same(CALLS[kind][call], pickles[kind], tmp_path, everything)


def test_these_are_all_public_calls():
    inherited = {"fit_transform", "get_params", "set_params", "clone"}  # of scikit-learn
    public = {
        name
        for kind in CALLS
        for base in kind.__mro__
        if base.__module__.startswith("skvae.")
        for name, value in vars(base).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, classmethod))
    }
    tested = {call for calls in CALLS.values() for call in calls}
    assert public - inherited - {"set_output"} == tested - {"pickle"}


def test_what_was_loaded_in_inference_mode_goes_on_training(pickles, tmp_path):
    vae = pickle.loads(pickles[BNVAEEstimator])
    vae.save(tmp_path / "model")
    with torch.inference_mode():
        loaded = BNVAEEstimator.load(tmp_path / "model")
    loaded.partial_fit(GAPS)
    for one, other in zip(
        numbers(loaded.module_), numbers(vae.partial_fit(GAPS).module_), strict=True
    ):
        assert torch.equal(one, other)


def test_a_fit_that_fails_puts_the_state_back():
    with torch.no_grad(), default_dtype(torch.float64):
        before = state()
        with pytest.raises(ValueError, match="n_components"):
            small().set_params(n_components=0).fit(X)
        assert state() == before


# -- code of others ------------------------------------------------------------------------------


def in_time(*calls, seconds=20):
    """What calls in threads of their own return, if all do."""
    found = {}
    threads = [
        threading.Thread(target=lambda n=n, call=call: found.update({n: call()}), daemon=True)
        for n, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "it hangs"
    return [found[n] for n in range(len(calls))]


class Pretrained(nn.Module):
    """Calls a fitted estimator while it is built."""

    teacher = None

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 8)
        codes = self.teacher.transform(X)
        drawn = self.teacher.sample(3, random_state=0)
        self.register_buffer("scale", torch.from_numpy(codes).std() + float(abs(drawn).max()))

    def forward(self, x):
        return self.layer(x).tanh() * self.scale


def test_a_network_may_call_another_estimator_while_it_is_built(monkeypatch):
    monkeypatch.setattr(Pretrained, "teacher", small().fit(X))
    (vae,) = in_time(lambda: small(encoder=Pretrained).fit(X))
    assert np.isfinite(vae.transform(X)).all()


class InAnotherThread(Pretrained):
    """Waits for a fitted estimator that another thread calls."""

    def __init__(self, n_features):
        super().__init__(n_features)
        in_time(lambda: self.teacher.sample(2, random_state=1), seconds=5)


def test_a_network_may_wait_for_another_thread_while_it_is_built(monkeypatch):
    monkeypatch.setattr(Pretrained, "teacher", small().fit(X))
    (vae,) = in_time(lambda: small(encoder=InAnotherThread).fit(X))
    assert np.isfinite(vae.transform(X)).all()


class Meeting(GaussianLikelihood):
    """Rows that are only drawn once two threads draw them."""

    barrier = None

    def forward(self, outputs):
        if self.barrier is not None and not self.training:
            self.barrier.wait(10)
        return super().forward(outputs)


def test_samples_are_drawn_at_once_and_do_not_mix(monkeypatch):
    vae = small(likelihood=Meeting).fit(X)
    alone = [vae.sample(2000, random_state=seed) for seed in (0, 1)]
    monkeypatch.setattr(Meeting, "barrier", threading.Barrier(2))
    together = in_time(*(partial(vae.sample, 2000, random_state=seed) for seed in (0, 1)))
    np.testing.assert_array_equal(together, alone)


LIKELIHOODS = ("gaussian", "student_t", "bernoulli", "poisson", "negative_binomial", "categorical")


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_sampling_leaves_the_process_generator_alone(likelihood):
    vae = small(likelihood=likelihood).fit((X > 0).astype(float))
    expected = vae.sample(50, random_state=3)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(vae.sample(50, random_state=3), expected)
    assert torch.equal(torch.get_rng_state(), before)
