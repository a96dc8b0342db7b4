"""What is kept out of a call and put back after it: generators, threads, defaults."""

import threading

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Gamma, NegativeBinomial, Normal, StudentT

from skvae._fit.torch_state import (
    MULTIPLICATIONS_PER_THREAD,
    SeededDraws,
    plain_torch,
    restored_process,
)

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_generators_and_threads_are_put_back(two_threads):
    state = torch.get_rng_state()
    with restored_process(0, CPU):
        torch.manual_seed(0)
        torch.rand(3)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


def fail_inside():
    with restored_process(0, CPU):
        torch.manual_seed(0)
        raise KeyboardInterrupt


def test_they_are_put_back_after_an_exception(two_threads):
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_it_may_be_nested(two_threads):
    state = torch.get_rng_state()
    with restored_process(0, CPU):
        with restored_process(0, CPU):
            torch.manual_seed(0)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("work", "n_threads"),
    [(0, 1), (1e3, 1), (1.4, 1), (2 * MULTIPLICATIONS_PER_THREAD, 2), (1e15, 2)],
)
def test_threads_follow_the_work_up_to_those_there_are(two_threads, work, n_threads):
    with restored_process(work, CPU):
        assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("first_out", ["first in", "last in"])
@pytest.mark.parametrize("end", [None, RuntimeError])
def test_threads_that_overlap_put_back_what_the_first_found(two_threads, first_out, end):
    state = torch.get_rng_state()
    inside = {name: threading.Event() for name in ("first in", "last in")}
    leave = {name: threading.Event() for name in inside}
    done, seen = [], {}

    def fit(name):
        try:
            with restored_process(0, CPU):
                torch.manual_seed(0)
                torch.rand(3)
                inside[name].set()
                assert leave[name].wait(60)
                if end is not None:
                    raise end
        except RuntimeError:
            pass
        seen[name] = torch.get_num_threads()
        done.append(name)

    threads = {name: threading.Thread(target=fit, args=(name,)) for name in inside}
    for name in ("first in", "last in"):
        threads[name].start()
        assert inside[name].wait(60)
    order = sorted(inside, key=lambda name: name != first_out)
    for name in order:
        leave[name].set()
        threads[name].join(60)
    assert done == order
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    after = []
    later = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert after == [2]  # new threads take the process's setting, which a fit changes as well


DRAWS = {
    "layer": lambda: nn.Linear(3, 3).weight.detach(),
    "recurrence": lambda: nn.GRU(2, 2).weight_hh_l0.detach(),
    "init": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(3, dtype=torch.float64),
    "randint": lambda: torch.randint(1000, (3,)),
    "randint from": lambda: torch.randint(5, 1000, (3,)),
    "randperm": lambda: torch.randperm(50),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)),
    "randn_like": lambda: torch.randn_like(torch.zeros(3)),
    "dropout": lambda: nn.functional.dropout(torch.ones(50)),
    "normal": lambda: Normal(torch.zeros(3), 1.0).sample(),
    "student_t": lambda: StudentT(torch.tensor([3.0])).sample(),
    "gamma": lambda: Gamma(torch.tensor([3.0]), 1.0).rsample(),
    "counts": lambda: NegativeBinomial(torch.tensor([30.0]), 0.9).sample(),
    "categories": lambda: Categorical(logits=torch.zeros(1000)).sample(),
    "bernoulli": lambda: torch.bernoulli(torch.full((50,), 0.5)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_seeded_draws_are_those_of_the_seeded_process_and_leave_it_alone(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = draw(), draw()
    before = torch.get_rng_state()
    with SeededDraws(7):
        found = draw(), draw()
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    with SeededDraws(8):
        assert not torch.equal(draw(), expected[0])


def test_a_generator_that_is_given_is_used():
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    with SeededDraws(7):
        own = torch.Generator().manual_seed(1)
        assert torch.equal(torch.rand(3, generator=own), expected)
        drawn = torch.poisson(torch.full((3,), 50.0), own)
    own = torch.Generator().manual_seed(1)
    torch.rand(3, generator=own)
    assert torch.equal(drawn, torch.poisson(torch.full((3,), 50.0), own))


def test_seeded_draws_go_on_where_they_were_left():
    draws, at_once = SeededDraws(7), SeededDraws(7)
    with at_once:
        expected = [torch.rand(3) for _ in range(2)]
    for one in expected:
        with draws:
            assert torch.equal(torch.rand(3), one)
    assert draws.generator("cpu") is draws.generator(CPU)


def test_seeds_of_threads_at_once_do_not_mix():
    def build(seed):
        with SeededDraws(seed):
            return torch.cat([torch.rand(1) for _ in range(300)])

    expected = [build(seed) for seed in range(4)]
    results = [None] * 4

    def work(seed):
        results[seed] = build(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, other) for one, other in zip(results, expected, strict=True))


def test_default_dtypes_of_calls_that_overlap_are_put_back_by_the_last():
    torch.set_default_dtype(torch.float64)
    try:
        first, second = plain_torch(), plain_torch()
        with first:
            inside, leave, seen = threading.Event(), threading.Event(), []

            def call():
                with second:
                    inside.set()
                    leave.wait(60)
                    seen.append(torch.get_default_dtype())

            thread = threading.Thread(target=call)
            thread.start()
            inside.wait(60)
        assert torch.get_default_dtype() == torch.float32  # the other is still at it
        leave.set()
        thread.join()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_lock_may_be_taken_again_by_a_signal_handler_or_a_finalizer():
    from skvae._fit import torch_state as process_state

    done = []

    def interrupted():
        with process_state._lock, restored_process(0, CPU), plain_torch():
            done.append(True)

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(10)
    assert done == [True]
