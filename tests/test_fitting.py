"""One fit: what it minimises, when it stops, what it leaves, and how it fails."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skvae._data.rows import Rows
from skvae._data.units import Marginals, Units
from skvae._fit.checkpoints import NoCheckpoint
from skvae._fit.course import Course, EarlyStopping
from skvae._fit.optimizer import Adam
from skvae._fit.training import Training
from skvae.likelihoods import GaussianLikelihood
from skvae.model import VAE
from skvae.networks import MLP
from skvae.objectives import OBJECTIVES, elbo_terms, mean_terms
from skvae.posteriors import POSTERIORS
from skvae.priors import StandardNormal

N_FEATURES, D = 4, 2


def data(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_rows, D))
    return z @ rng.normal(size=(D, N_FEATURES)) + 0.3 * rng.normal(size=(n_rows, N_FEATURES))


def make(posterior="moment"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = VAE(
            MLP(N_FEATURES, (8,)),
            POSTERIORS[posterior](8, D),
            MLP(D, (8,), N_FEATURES),
            GaussianLikelihood(N_FEATURES),
            StandardNormal(D),
        )
    module.likelihood_layer.start(Marginals(data()))
    return module


def start(
    posterior="moment",
    X=None,
    weight=None,
    patience=None,
    beta=1.0,
    learning_rate=0.01,
    seed=0,
    objective="elbo",
    average=False,
    n_epochs=10,
    dtype=torch.float32,
):
    X = data() if X is None else X
    marginals = Marginals(X)
    rows = Rows(X, Units(marginals.mean, marginals.scale), weight, torch.device("cpu"))
    train, held_out, stopping = rows, None, None
    if patience is not None:
        train, held_out = rows.subset(np.arange(len(X))[10:]), rows.subset(np.arange(10))
        stopping = EarlyStopping(patience * train.n_batches(16), 0.0)
    return Training(
        make(posterior),
        rows,
        train=train,
        held_out=held_out,
        objective=OBJECTIVES[objective],
        beta=beta,
        n_epochs=n_epochs,
        learning_rate=learning_rate,
        course=Course(),
        weight_decay=0.0,
        average=average,
        batch_size=16,
        stopping=stopping,
        seeds=[0, seed],
        dtype=dtype,
    )


class StopAfter:
    """Callbacks that end the training after some epochs."""

    def __init__(self, n_epochs):
        self.left = n_epochs

    def begin_epoch(self):
        self.left -= 1

    def end_epoch(self, training):
        return self.left == 0


def run(fit, n_epochs):
    fit.over = False
    fit.run(StopAfter(n_epochs), NoCheckpoint())
    return fit


def epoch(fit):
    return run(fit, 1)


def finished(fit, dtype=torch.float32):
    fit.dtype = dtype
    return fit.finished()


# -- training ------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_loss_falls(posterior):
    losses = run(start(posterior, n_epochs=30), 30).history["loss"]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_the_loss_is_the_negative_objective_in_the_units_of_the_data():
    fit, beta = start(beta=0.3, learning_rate=0.0), 0.3
    fit.batch_size = 60  # one batch, whose noise and order can be drawn again
    generator = torch.Generator().manual_seed(0)
    module = copy.deepcopy(fit.model)
    epoch(fit)
    (batch,) = fit.rows.shuffled(60, generator)
    terms = elbo_terms(module, batch.x, module.noise(batch.x, generator))
    objective = (terms.reconstruction - beta * terms.kl.sum(1)).mean()
    expected = -(objective.item() - np.log(data().std(0)).sum())
    assert fit.history["loss"] == [pytest.approx(expected, rel=1e-6)]


def test_weights_weigh_the_loss():
    weight = np.arange(1.0, 61.0)
    fit = start(weight=weight, learning_rate=0.0)
    fit.batch_size = 60
    generator = torch.Generator().manual_seed(0)
    module = copy.deepcopy(fit.model)
    epoch(fit)
    (batch,) = fit.rows.shuffled(60, generator)
    noise = module.noise(batch.x, generator)
    objective = elbo_terms(module, batch.x, noise, weight=batch.weight).elbo()
    mean = (batch.weight * objective).sum().item() / batch.weight.sum().item()
    assert fit.history["loss"] == [pytest.approx(-mean + np.log(data().std(0)).sum(), rel=1e-6)]


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows_whatever_their_batches():
    fit = start("gaussian", X=data(50), learning_rate=0.0)  # batches of 12 and of 13 rows
    generator = torch.Generator().manual_seed(0)
    objectives = []
    for batch in fit.rows.shuffled(16, generator):
        terms = elbo_terms(fit.model, batch.x, fit.model.noise(batch.x, generator))
        objectives += terms.elbo().tolist()
    run(fit, 1)
    assert len(objectives) == 50
    expected = -np.mean(objectives) + np.log(data(50).std(0)).sum()
    assert fit.history["loss"] == [pytest.approx(expected, rel=1e-6)]


def test_a_parameter_that_the_loss_ignores_is_left_alone():
    fit = start()
    fit.model.unused = torch.nn.Parameter(torch.ones(2))
    fit.optimizer = Adam(fit.model.parameters(), 0.01)
    run(fit, 1)
    assert fit.model.unused.tolist() == [1.0, 1.0]


def test_one_seed_gives_one_fit():
    first, same, other = (run(start(seed=seed), 3).history["loss"] for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_the_process_generator_is_not_used():
    before = torch.get_rng_state()
    finished(run(start(), 2), torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


# -- the finished model --------------------------------------------------------------------


@pytest.mark.parametrize("patience", [None, 100])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_finishing_leaves_training_as_it_was(posterior, patience):
    plain = run(start(posterior, patience=patience), 4)
    looked_at = start(posterior, patience=patience)
    for _ in range(4):
        epoch(looked_at)
        finished(looked_at, torch.float64)
    assert looked_at.history["loss"] == plain.history["loss"]
    assert looked_at.scores == plain.scores
    assert looked_at.model.training
    assert_close(looked_at.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_finished_model_is_ready_to_use(dtype):
    module = finished(run(start(), 2), dtype).module
    assert not module.training
    numbers = [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in numbers} == {dtype}


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 61.0)])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_kl_of_the_training_rows_is_above_the_floor(posterior, weight):
    fitted = finished(run(start(posterior, weight=weight), 10), torch.float64)
    assert fitted.kl_per_component.sum() >= fitted.kl_floor - 1e-10
    if posterior not in ("gaussian", "layernorm"):
        assert fitted.kl_floor > 0.4


def test_the_code_of_the_training_rows_has_mean_zero():
    fit = run(start(), 5)
    (batch,) = fit.rows.in_order(torch.float64)
    loc = finished(fit, torch.float64).module.posterior(batch.x).loc
    assert_close(loc.mean(0), torch.zeros(D).double(), atol=1e-12, rtol=0)


def test_the_lower_bound_is_the_elbo_of_the_rows_in_the_units_of_the_data():
    fit = run(start(seed=3), 5)
    fitted = finished(fit, torch.float64)
    (batch,) = fit.rows.in_order(torch.float64)
    noise = fitted.module.noise(batch.x, torch.Generator().manual_seed(3))
    expected = elbo_terms(fitted.module, batch.x, noise).elbo().mean().item()
    expected -= np.log(data().std(0)).sum()
    assert fitted.lower_bound == pytest.approx(expected, rel=1e-12)


def test_the_lower_bound_and_losses_change_by_the_log_jacobian():
    one, scaled = run(start(), 5), run(start(X=100 * data()), 5)
    step = N_FEATURES * math.log(100)
    np.testing.assert_allclose(
        scaled.history["loss"], np.array(one.history["loss"]) + step, rtol=1e-4
    )
    bounds = [finished(fit, torch.float64).lower_bound for fit in (one, scaled)]
    assert bounds[1] == pytest.approx(bounds[0] - step, rel=1e-4)


# -- early stopping ------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_validation_and_training_weigh_the_kl_alike(beta):
    fit = start(patience=100, beta=beta)
    epoch(fit)
    module = copy.deepcopy(fit.model).eval()
    module.finalise(fit.train.in_order(torch.float32))
    generator = torch.Generator().manual_seed(0)
    terms = mean_terms(module, fit.held_out.in_order(torch.float32), generator)
    expected = terms.reconstruction - beta * terms.kl.sum() + fit.rows.log_jacobian()
    assert fit.scores == [pytest.approx(expected.item(), rel=1e-6)]


def test_validation_does_not_touch_the_moments():
    plain, watched = start(), start(patience=100)
    plain.train = watched.train
    epoch(plain)
    epoch(watched)
    assert_close(watched.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


def test_validation_judges_by_the_moments_of_all_training_rows():
    fit = start(average=True, patience=100)
    epoch(fit)
    module, _, _ = fit.judged()
    expected = copy.deepcopy(module)
    expected.finalise(fit.train.in_order(torch.float32))
    moments = (m.posterior_layer.stored_moments() for m in (module, expected))
    assert_close(*moments, rtol=0, atol=0)


def test_validation_draws_the_same_noise_every_epoch():
    fit = start(patience=100, learning_rate=0.0)
    run(fit, 3)
    assert len(set(fit.scores)) == 1


def test_early_stopping_goes_back_to_the_best_weights():
    fit = run(start(patience=4, n_epochs=9), 3)  # no room for a new training in the end
    best = copy.deepcopy(fit.stopping.kept)
    fit.model.load_state_dict(make().state_dict())  # from here on it is worse
    fit.optimizer.learning_rate = 0.0
    run(fit, 20)
    judged, rest = fit.scores[:7], fit.scores[7:]
    assert max(judged) == judged[2]
    assert fit.converged
    # It stopped four epochs later; the fall of the rate takes a quarter of the three before.
    assert [math.isnan(score) for score in rest] == [True]
    found = finished(fit).module
    for name, weight in found.named_parameters():
        assert_close(weight, best[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("n_rows", "weight_decay", "n_best", "n_more"),
    [
        (1000, 0.1, 8 * 63, 2),  # of many rows, a fall over a quarter of the epochs so far
        (1000, 0.0, 8 * 63 - 1, 1),  # rounded down
        (1000, 0.1, 3 * 63, 1),  # but one at least
        (60, 0.1, 1000, 313),  # of few, a new training with a quarter more steps, 4 an epoch
        (60, 0.1, 21, 157),  # and 500 steps at least before that quarter
        (60, 0.0, 21, 6),  # but no more than the best number without weight decay
    ],
)
def test_what_follows_after_the_best_weights(n_rows, weight_decay, n_best, n_more):
    fit = start(X=data(n_rows), patience=3, n_epochs=1000)
    fit.optimizer.weight_decay = weight_decay
    fit.stopping.kept, fit.stopping.kept_at = fit.model.state_dict(), n_best
    fit.settle()
    assert fit.n_epochs - fit.n_epochs_done == n_more
    assert fit.course.end == n_more * fit.rows.n_batches(16)
    assert fit.train is fit.rows


def test_the_last_epoch_before_the_limit_is_scored_however_near_the_former_score():
    fit = start(patience=100, n_epochs=3)
    fit.stopping.patience = None  # a score every 50 steps
    run(fit, 3)
    assert [math.isnan(score) for score in fit.scores] == [False, True, False]
    assert fit.stopping.kept_at == fit.n_steps


def test_without_early_stopping_no_epoch_is_the_last():
    fit = start()
    assert run(fit, 20).n_epochs_done == 10
    assert not fit.over
    assert fit.scores == []


# -- averages of the weights ---------------------------------------------------------------


def test_the_finished_model_has_the_averages_of_the_weights():
    fit = run(start(average=True), 3)
    found = finished(fit).module
    averages = fit.optimizer.averages.values
    assert_close([p.data for p in found.parameters()], averages, rtol=0, atol=0)
    assert not torch.allclose(fit.model.decoder.layers[0].weight, found.decoder.layers[0].weight)


def test_moments_and_floor_are_those_of_the_averages():
    fit = run(start(average=True), 3)
    found = finished(fit, torch.float64)
    x = torch.from_numpy(data() / data().std(0)) - torch.from_numpy(data().mean(0) / data().std(0))
    with torch.no_grad():
        q = found.module.posterior(x)
    assert_close(q.loc.mean(0), torch.zeros(D).double(), rtol=0, atol=1e-9)
    assert found.kl_per_component.sum() >= found.kl_floor


def test_training_is_the_same_with_averages():
    plain, averaged = run(start(), 3), run(start(average=True), 3)
    assert averaged.history == plain.history
    assert_close(averaged.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


def test_early_stopping_judges_and_remembers_the_averages():
    fit = start(average=True, patience=100)
    epoch(fit)
    averages = [value.clone() for value in fit.optimizer.averages.values]
    best = fit.stopping.kept
    names = [name for name, _ in fit.model.named_parameters()]
    assert_close([best[name] for name in names], averages, rtol=0, atol=0)
    _, terms, _ = fit.judged()
    assert fit.scores == [pytest.approx(float(terms.elbo() + fit.rows.log_jacobian()))]


# -- failure -------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_remedy():
    fit = run(start(), 2)
    with torch.no_grad():
        fit.model.decoder.layers[0].weight.fill_(math.nan)
    message = r"became nan in epoch 3\. Lower learning_rate \(now 0\.01\), look for extreme values"
    with pytest.raises(ValueError, match=message):
        epoch(fit)


def test_a_divergent_step_is_caught():
    fit = start(learning_rate=1e30)
    with pytest.raises(ValueError, match=r"in epoch \d\. Lower learning_rate \(now 1e\+30\)"):
        run(fit, 5)


def test_held_out_rows_that_are_not_finite_name_the_epoch():
    fit = start(patience=3)
    fit.held_out.X = np.full((10, N_FEATURES), 1e200)  # infinite in single precision
    with pytest.raises(ValueError, match="became (nan|-inf) in epoch 1"):
        epoch(fit)


def test_a_finished_model_that_is_not_finite_is_refused():
    fit = run(start(), 1)
    with torch.no_grad():
        fit.model.decoder.layers[0].weight.fill_(math.inf)
    with pytest.raises(ValueError, match="became (nan|-inf) in epoch 1"):
        finished(fit, torch.float32)


# -- going on ------------------------------------------------------------------------------


def gone_on(fitted, former, X):
    """A fit of `X` that goes on from `former`."""
    fit = start(X=X)
    fit.model.load_state_dict(fitted.module.state_dict())
    fit.continue_from(former.optimizer.state())
    return fit


def test_going_on_merges_the_moments_of_all_rows_seen():
    first = run(start(X=data(60)), 3)
    fitted = finished(first, torch.float64)
    fit = gone_on(fitted, first, data(40, seed=1))
    fit.optimizer.learning_rate = 0.0
    before = fitted.module.posterior_layer.stored_moments()
    moments = finished(fit, torch.float64).module.posterior_layer.stored_moments()
    alone = make().double()
    alone.load_state_dict(fitted.module.state_dict())
    alone.finalise(fit.rows.in_order(torch.float64))
    expected = before.merge(alone.posterior_layer.stored_moments())
    assert moments.weight == 100
    assert_close(list(moments), list(expected), rtol=1e-5, atol=1e-6)


def test_going_on_lets_former_rows_fade():
    first = run(start(X=data(600)), 1)
    fit = gone_on(finished(first, torch.float32), first, data(20))
    assert fit.previous.weight == 180
    assert finished(fit, torch.float32).module.posterior_layer.weight == 200


def test_going_on_keeps_the_optimisers_pace():
    first = run(start(), 3)
    fit = gone_on(finished(first, torch.float32), first, data())
    assert_close(fit.optimizer.state(), first.optimizer.state(), rtol=0, atol=0)
    assert fit.optimizer.n_steps == 3 * 4  # batches of 60 rows, at most 16 in each


def test_going_on_leaves_the_former_fit_alone():
    first = run(start(), 3)
    fitted = finished(first, torch.float32)
    before = copy.deepcopy(fitted.module.state_dict()), copy.deepcopy(first.optimizer.state())
    finished(run(gone_on(fitted, first, data(seed=1)), 2))
    assert_close((fitted.module.state_dict(), first.optimizer.state()), before, rtol=0, atol=0)


# -- history and schedules -----------------------------------------------------------------


def test_history_adds_up():
    history = run(start(objective="linear-annealing", beta=0.5), 10).history
    rate, distortion, weight = (
        np.array(history[name]) for name in ("rate", "distortion", "kl_weight")
    )
    # The weight rises within an epoch, so the loss lies between those of the epoch's two ends.
    start_of_epoch = np.concatenate([[0.0], weight[:-1]])
    loss = np.array(history["loss"])
    assert (loss <= distortion + weight * rate + 1e-4).all()
    assert (loss >= distortion + start_of_epoch * rate - 1e-4).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_schedules_end_within_the_fit(objective):
    weight = run(start(objective=objective, beta=0.7), 10).history["kl_weight"]
    assert weight[-1] == pytest.approx(0.7)
    assert max(weight) <= 0.7


def test_no_stop_while_the_weight_still_changes():
    # Weight 0 to 1 over half of ten epochs; a patience of one would else stop at its rise.
    fit = start(patience=1, objective="linear-annealing", learning_rate=0.0)
    run(fit, 20)
    assert fit.converged
    assert 5 < np.isfinite(fit.scores).sum() < len(fit.scores) <= 10
