"""Two processes give the result of one."""

import contextlib
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.testing import assert_close

from skvae import BNVAEEstimator
from skvae import _base as base
from skvae._fit import training as fitting
from skvae._fit.processes import LostProcess, OneProcess, Processes, _GatheredTerms, processes
from skvae.distributed import joined
from skvae.likelihoods import GaussianLikelihood
from skvae.model import VAE
from skvae.objectives import FreeBits
from skvae.posteriors import GaussianPosterior
from skvae.priors import StandardNormal

ROWS = np.random.RandomState(0).randn(90, 3) @ np.random.RandomState(1).randn(3, 5)
ROWS += 0.3 * np.random.RandomState(2).randn(90, 5)
WEIGHTS = np.arange(1.0, 91.0)
STOPS = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9}  # after two epochs
CASES = {
    "moment": {},
    # One epoch: where a standard deviation crosses 0 its gradient has no bound, and rounding grows.
    "batchnorm": {"posterior": "batchnorm", "max_iter": 1},
    "batchnorm-mean": {"posterior": "batchnorm-mean"},
    # Parts of three and four rows are multiplied in other blocks: rounding grows with the steps.
    "odd batches": {"batch_size": 7, "max_iter": 2},
    # Stops, and is trained anew on all rows: 625 steps, and small ones because rounding grows.
    "early stopping": {**STOPS, "max_iter": 250, "learning_rate": 1e-3},
    "no room to train anew": {**STOPS, "max_iter": 4},  # stops, and goes on from the best weights
    "free bits": {"objective": FreeBits(0.7)},
    "a range of tau": {"tau": (0.1, 0.9)},
    "gaps": {},
    "conditions": {"conditions": [0]},
    "weights": {},
}


def model(**parameters):
    return BNVAEEstimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (8,),
            "max_iter": 5,
            "learning_rate": 1e-2,
            "batch_size": 32,
            "random_state": 0,
            **parameters,
        }
    )


def fitted(case):
    X = np.where(ROWS > 2.0, np.nan, ROWS) if case == "gaps" else ROWS
    return model(**CASES[case]).fit(X, sample_weight=WEIGHTS if case == "weights" else None)


def results(found):
    return np.concatenate([[found.lower_bound_], found.loss_curve_, found.transform(ROWS).ravel()])


def in_each_process(folder):
    """What each process of the test below does."""
    folder, rank = Path(folder), os.environ["RANK"]
    with joined(timeout=60.0):
        assert processes().size == 2
        found = {case: results(fitted(case)) for case in CASES}
        found["no seed"] = results(model(random_state=None).fit(ROWS))
        checkpoint = folder / "checkpoint"
        model(checkpoint=checkpoint).fit(ROWS)
        content = checkpoint.read_bytes()
        found["again"] = results(model(checkpoint=checkpoint).fit(ROWS))
        assert checkpoint.read_bytes() == content
        for name, fit in {
            "other rows": lambda: model().fit(ROWS + int(rank)),
            "few rows": lambda: model(batch_size=1).fit(ROWS),
        }.items():
            try:
                fit()
            except ValueError as error:
                found[name] = str(error)
    np.savez(folder / f"{rank}.npz", **found)


def ends_early(folder):
    """One process ends within the fit, and the other says so."""
    folder, rank = Path(folder), os.environ["RANK"]
    # torchrun ends the others when it notices: this one is to say first what it saw.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    class Ends:
        n_left = 3

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            self.n_left -= context.task_name == "epoch"
            if rank == "1" and not self.n_left:
                os._exit(1)

        def on_fit_task_end(self, estimator, context):
            pass

        teardown = setup

    with joined(timeout=20.0):
        try:
            model(checkpoint=folder / "lost").set_callbacks(Ends()).fit(ROWS)
        except RuntimeError as error:
            (folder / "error").write_text(str(error))


def launch(what, folder, check):
    code = f"import sys; from test_distributed import {what}; {what}(sys.argv[1])"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    script = folder / f"{what}.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(folder)], env=environment, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launch("in_each_process", folder, check=True)
    return [np.load(folder / f"{rank}.npz") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_result_of_one(found, case):
    np.testing.assert_allclose(found[0][case], results(fitted(case)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", [*CASES, "no seed"])
def test_both_processes_hold_the_same_to_the_bit(found, case):
    np.testing.assert_array_equal(found[0][case], found[1][case])


def test_a_checkpoint_is_gone_on_from_by_both(found):
    np.testing.assert_array_equal(found[0]["again"], found[0]["moment"])
    np.testing.assert_array_equal(found[1]["again"], found[0]["moment"])


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_with_other_rows_are_refused(found, rank):
    assert "All processes of a fit must have the same X" in str(found[rank]["other rows"])


@pytest.mark.parametrize("rank", [0, 1])
def test_batches_with_fewer_rows_than_processes_are_refused(found, rank):
    assert "each of the 2 processes has a row of every batch" in str(found[rank]["few rows"])


def test_a_lost_process_is_an_error_and_the_checkpoint_goes_on(tmp_path):
    launch("ends_early", tmp_path, check=False)
    message = (tmp_path / "error").read_text()
    assert "Another process of this fit has ended or does not answer" in message
    assert "2 epochs of 5 were done" in message
    assert "go on from the checkpoint" in message
    resumed = model(checkpoint=tmp_path / "lost").fit(ROWS)
    np.testing.assert_allclose(results(resumed), results(model().fit(ROWS)), atol=1e-5)


def test_a_process_by_itself_fits_as_always():
    with joined():
        assert isinstance(processes(), OneProcess)
        np.testing.assert_array_equal(results(model().fit(ROWS)), results(model().fit(ROWS)))


@pytest.fixture
def group(monkeypatch, tmp_path):
    """A group of this process alone, which fits as if there were others."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    one = Processes(0, 1)
    for module in (fitting, base):
        monkeypatch.setattr(module, "processes", lambda: one)
    yield one
    distributed.destroy_process_group()


@pytest.mark.parametrize("case", ["moment", "conditions", "a range of tau", "weights"])
def test_the_way_of_several_processes_is_that_of_one(case, group, monkeypatch):
    together = results(fitted(case))
    for module in (fitting, base):
        monkeypatch.setattr(module, "processes", OneProcess)
    np.testing.assert_allclose(together, results(fitted(case)), rtol=0, atol=1e-5)


class NoSum(Processes):
    """Processes whose sums are what this one adds to them."""

    def sum(self, tensor):
        return tensor


def test_the_rows_of_a_batch_are_shared_out_to_the_last():
    layers = nn.Linear(5, 4), GaussianPosterior(4, 2), nn.Linear(2, 5), GaussianLikelihood(5)
    vae = VAE(*layers, StandardNormal(2))
    x, noise = torch.randn(8, 5), torch.randn(8, 2)
    parts = [NoSum(rank, 3).shared(vae)(x, noise) for rank in range(3)]
    own = [part.kl.sum(1).nonzero().flatten().tolist() for part in parts]
    assert own == [[0, 1], [2, 3, 4], [5, 6, 7]]
    for whole, shares in zip(vae(x, noise), zip(*parts, strict=True), strict=True):
        assert_close(sum(shares), whole)


def test_several_processes_leave_no_hooks_at_the_model(group):
    layers = nn.Linear(5, 4), GaussianPosterior(4, 2), nn.Linear(2, 5), GaussianLikelihood(5)
    vae = VAE(*layers, StandardNormal(2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        group.shared(vae)(torch.randn(8, 3), torch.randn(8, 2))
    group.shared(vae)(torch.randn(8, 5), torch.randn(8, 2))
    layer = vae.posterior_layer
    assert not layer._forward_pre_hooks
    assert not layer._forward_hooks


def test_gradients_are_added_up_tensor_by_tensor():
    class Doubles(Processes):
        def sum(self, tensor):
            return 2 * tensor

    gradients = [torch.randn(3, 2), torch.randn(()), torch.randn(4)]
    assert_close(Doubles(0, 2).total(gradients), [2 * gradient for gradient in gradients])
    assert OneProcess().total(gradients) is gradients


def test_what_a_collective_raises_is_named(group):
    def fails(tensor):
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(LostProcess, match="has ended or does not answer: Connection closed"):
        group._collective(fails, torch.ones(1))


def test_processes_are_several_in_a_group_of_several(group, monkeypatch):
    assert isinstance(processes(), OneProcess)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    several = processes()
    assert isinstance(several, Processes)
    assert (several.rank, several.size) == (0, 2)


def test_every_process_needs_a_row_of_each_batch():
    Processes(0, 3).check_batches(9, 3)
    with pytest.raises(ValueError, match="each of the 3 processes has a row .* rows have 2"):
        Processes(0, 3).check_batches(8, 2)


def test_processes_that_do_not_agree_are_refused(group, monkeypatch):
    group.check_equal("X", lambda: "00ff")
    monkeypatch.setattr(group, "from_first", lambda numbers: [1 + n for n in numbers])
    with pytest.raises(ValueError, match="All processes of a fit must have the same X"):
        group.check_equal("X", lambda: "00ff")


def test_a_process_lost_in_an_epoch_names_the_epochs_that_were_done(group, monkeypatch):
    def fails(gradients):
        raise LostProcess("gone")

    monkeypatch.setattr(group, "total", fails)
    with pytest.raises(LostProcess, match=r"^gone\. 0 epochs of 5 were done\. Start all processes"):
        model(max_iter=5).fit(ROWS)


@pytest.mark.parametrize("ends", [True, False])
def test_joined_connects_the_processes_and_lets_them_go(ends, monkeypatch):
    calls = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(
        distributed, "init_process_group", lambda backend, timeout: calls.append(timeout)
    )
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: calls.append("destroyed"))
    with contextlib.suppress(KeyError), joined(timeout=5.0):
        if not ends:
            raise KeyError
    assert calls == [timedelta(seconds=5.0), "destroyed"]


def test_gathered_terms_have_the_gradient_of_their_own_rows(group):
    terms = torch.arange(2.0, requires_grad=True)
    whole = _GatheredTerms.apply(terms, group, 5, slice(1, 3))
    assert whole.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(whole @ torch.arange(5.0), [terms])
    assert gradient.tolist() == [1.0, 2.0]
