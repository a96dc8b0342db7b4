"""One fit of a VAE: the module in training, its rows, and the finished model that comes of it."""

import copy
from functools import cached_property
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np
import torch

from skvae._fit.optimizer import Adam, RunningMean, train_epoch
from skvae._fit.torch_state import generator_states, set_generators
from skvae.diagnostics import encode, mutual_information
from skvae.distributed import processes
from skvae.every_tau import EveryTau, RangeAdam
from skvae.model import VAE
from skvae.objectives import Terms, elbo_terms, mean_terms
from skvae.posteriors import Moments


class NotFinite(ValueError):
    """The objective is infinite or NaN.

    Parameters
    ----------
    reason : str
        When, and what to do.
    """

    def __init__(self, reason):
        super().__init__(f"{reason}; nothing was kept.")
        self.reason = reason


class Fitted(NamedTuple):
    """A finished model and what it reaches on the training rows; everything in nats per row.

    Parameters
    ----------
    module : skvae.model.VAE
        In evaluation mode, with the moments of all rows.
    lower_bound : float
        Mean ELBO, in the units of the data.
    kl_per_component : ndarray of shape (n_components,)
        Mean KL of each component.
    kl_floor : float
        What the posterior guarantees for their sum.
    every : skvae.every_tau.EveryTau, optional
        The model at every other tau of a range.
    """

    module: VAE
    lower_bound: float
    kl_per_component: np.ndarray
    kl_floor: float
    every: EveryTau | None = None

    @classmethod
    def of(cls, module, terms, log_jacobian, every=None):
        """Make one from mean terms in the units of the networks.

        Parameters
        ----------
        module : skvae.model.VAE
            In evaluation mode.
        terms : skvae.objectives.Terms
            Of a single reconstruction, and of one KL a component.
        log_jacobian : float
            As of `Units.log_jacobian`.
        every : skvae.every_tau.EveryTau, optional
            The model at every other tau.

        Returns
        -------
        Fitted
            With the floor of the posterior, as far as rounding lets it hold.
        """
        kl = np.asarray(terms.kl.cpu() if isinstance(terms.kl, torch.Tensor) else terms.kl)
        # What is below the rounding of the KL, which is a difference of numbers near 1, is 0.
        rounding = 8 * torch.finfo(module.posterior_layer.heads.weight.dtype).eps
        floor = module.posterior_layer.kl_floor()
        floor = max(0.0, floor - rounding * (floor + len(kl)))
        return cls(module, float(terms.elbo()) + log_jacobian, kl, floor, every)


class Fit:
    """The state of one fit between its epochs.

    Parameters
    ----------
    module : skvae.model.VAE
        What to train; changed in place.
    rows : skvae._data.rows.Rows
        The training rows, whose moments the finished model is given.
    train, aside : skvae._data.rows.Rows
        The rows to train on and the rows to stop by; `aside` is None for no early stopping.
    objective : skvae.objectives.Objective
        What is maximised, in training and stopping alike.
    beta : float
        What the KL's weight is multiplied with.
    n_epochs : int
        Length of the training, which the objective's schedule ends within.
    learning_rate : float
        Step of the optimiser.
    average : bool
        Whether the finished model has running averages of the weights.
    batch_size : int
        Rows of a batch, as in `Rows.shuffled`.
    stopping : skvae._fit.optimizer.EarlyStopping or None
        When to stop, by `aside`.
    seed : int
        Of shuffling and noise.

    Attributes
    ----------
    history : dict of list of float
        One value an epoch, means over the training rows in nats per row: "loss" (the negative
        objective), "rate" (KL), "distortion" (negative reconstruction) and "kl_weight" (beta and
        schedule, of the last step).
    scores : list of float
        Mean objective of the rows aside after each epoch, at the same "kl_weight".
    """

    def __init__(
        self,
        module,
        rows,
        *,
        train,
        aside,
        objective,
        beta,
        n_epochs,
        learning_rate,
        average,
        batch_size,
        stopping,
        seed,
    ):
        self.module, self.rows, self.train, self.aside = module, rows, train, aside
        self.objective, self.beta, self.n_epochs = objective, beta, n_epochs
        self.batch_size, self.stopping, self.seed = batch_size, stopping, seed
        self.generator = torch.Generator(rows.device).manual_seed(seed)
        self.processes = processes()
        if self.processes is not None:
            self.processes.check(len(train), batch_size)
        self.optimizer = Adam(module.parameters(), learning_rate, average)
        self.previous = None
        self.history = {"loss": [], "rate": [], "distortion": [], "kl_weight": []}
        self.scores = []
        self.n_rows_seen = 0
        # While its information grows, an encoder that is to be ahead takes steps of its own.
        self.information = None
        if objective.encoder_steps:
            self.information = 0.0
            inference = [*module.encoder.parameters(), *module.posterior_layer.parameters()]
            self.encoder_optimizer = Adam(inference, learning_rate)
        self._kept = None
        module.train()

    @property
    def n_epochs_done(self):
        """Epochs that were trained to their end."""
        return len(self.history["loss"])

    @cached_property
    def row_work(self):
        """As `VAE.work`, of some training rows; the first time in `borrowed_process`."""
        return self.module.work(self.rows.few().in_order(torch.float32))

    def state(self):
        """All that changes during the training; in `borrowed_process`.

        Returns
        -------
        dict
            For `load`. Shares the tensors of the training.
        """
        return {
            "weights": dict(self._trained().state_dict()),
            "optimizers": [optimizer.state() for optimizer in self._optimizers()],
            "generator": self.generator.get_state(),
            "generators": generator_states(self.rows.device),
            "history": self.history,
            "scores": self.scores,
            "n_rows_seen": self.n_rows_seen,
            "information": self.information,
            "averages": None
            if self.optimizer.averages is None
            else self.optimizer.averages.state(),
            "stopping": None if self.stopping is None else self.stopping.state(),
        }

    def load(self, state):
        """Go on from the `state` of another fit of the same settings; in `borrowed_process`."""
        self._trained().load_state_dict(state["weights"])
        for optimizer, theirs in zip(self._optimizers(), state["optimizers"], strict=True):
            optimizer.load(theirs)
        self.generator.set_state(state["generator"])
        set_generators(self.rows.device, state["generators"])
        for name in ("history", "scores", "n_rows_seen", "information"):
            setattr(self, name, state[name])
        if self.optimizer.averages is not None:
            self.optimizer.averages.load(state["averages"])
        if self.stopping is not None:
            self.stopping.load(state["stopping"])

    def keep(self):
        """Remember the state at the end of an epoch, for `go_back`."""
        self._kept = _copied(self.state())

    def go_back(self):
        """Return to the end of the last epoch that was kept; say whether there was one."""
        if self._kept is not None:
            self.load(self._kept)
        return self._kept is not None

    def _trained(self):
        return self.module

    def _optimizers(self):
        ahead = getattr(self, "encoder_optimizer", None)
        return [self.optimizer] if ahead is None else [self.optimizer, ahead]

    def continue_from(self, optimizer_state):
        """Go on with a former optimiser's state, if it was kept, and with former rows' moments."""
        if optimizer_state is not None:
            self.optimizer.load(optimizer_state)
        moments = Moments(*(m.clone() for m in self.module.posterior_layer.stored_moments()))
        self.previous = self._faded(moments)

    def _faded(self, moments):
        # The encoder has moved on since it saw the former rows: they fade.
        return moments._replace(weight=moments.weight.clamp_max(9.0 * len(self.rows)))

    def epoch(self):
        """Train for an epoch; return whether it is time to stop.

        Raises
        ------
        NotFinite
            If the objective is.
        """
        self._seen = RunningMean(), RunningMean()  # reconstruction and KL per component
        batches = self.train.shuffled(self.batch_size, self.generator)
        if self.information is not None:
            batches = self._with_encoder_ahead(batches)
        loss = train_epoch(self._loss, batches, self._joint(self.optimizer))
        reconstruction, kl = (float(mean.value().sum()) for mean in self._seen)
        jacobian = self.rows.log_jacobian()
        epoch = (loss - jacobian, kl, -reconstruction - jacobian, self._kl_weight())
        for curve, value in zip(self.history.values(), epoch, strict=True):
            curve.append(value)
        self._check_finite(loss)
        if self.information is not None:
            self._measure_information()
        return self.stopping is not None and self._should_stop()

    def _with_encoder_ahead(self, batches):
        """Yield the batches, after extra steps of encoder and posterior on others."""
        others = chain.from_iterable(
            self.train.shuffled(self.batch_size, self.generator) for _ in count()
        )
        for batch in batches:
            ahead = islice(others, self.objective.encoder_steps)
            optimizer = self._joint(self.encoder_optimizer)
            train_epoch(lambda other: -self._objective(other)[0], ahead, optimizer)
            yield batch

    def _joint(self, optimizer):
        return optimizer if self.processes is None else self.processes.joint(optimizer)

    def _measure_information(self):
        """Leave the encoder to itself once its information has not risen."""
        first = self.train.part(np.arange(min(500, len(self.train))))
        self.module.eval()
        loc, scale = encode(self.module, first)
        self.module.train()
        information = mutual_information(loc, scale, random_state=self.seed)
        self.information = information if information > self.information else None

    def _should_stop(self):
        module, terms = self._judged()
        value = float(self.objective(terms, self._kl_weight()))
        self._check_finite(value)
        self.scores.append(value + self.rows.log_jacobian())
        # While the weight of the KL still changes, scores of two epochs do not compare.
        if self._progress() < self.objective.constant_from:
            return False
        return self.stopping.should_stop(self.scores[-1], module)

    def _judged(self):
        """What early stopping is to remember, and mean terms of the rows aside."""
        module = self._learnt()
        # The running moments are those of the last weights, not of their averages.
        module.finalise(self.train.in_order(torch.float32))
        return module, self._mean_terms(module, self.aside, torch.float32)

    def _learnt(self):
        """A copy of what is trained, with the averages as its weights, in evaluation mode."""
        averages, trained = self.optimizer.averages, self._trained()
        copied = copy.deepcopy(trained) if averages is None else averages.copied_into(trained)
        return copied.eval()

    def _progress(self):
        return min(1.0, self.n_rows_seen / (len(self.train) * self.n_epochs))

    def _kl_weight(self):
        return self.beta * self.objective.kl_weight(self._progress())

    def finished(self, dtype):
        """The model with the moments of all rows, in evaluation mode; training can go on.

        Parameters
        ----------
        dtype : torch.dtype
            Precision of the finished model.

        Returns
        -------
        Fitted
            Has a copy of the module.
        """
        module = self._learnt()
        if self.stopping is not None and self.stopping.best_state is not None:
            module.load_state_dict(self.stopping.best_state)
        module.to(dtype).finalise(self.rows.in_order(dtype), self.previous)
        terms = self._mean_terms(module, self.rows, dtype)
        self._check_finite(float(terms.elbo()))
        return Fitted.of(module, terms, self.rows.log_jacobian())

    def _loss(self, batch):
        value, terms = self._objective(batch)
        self.n_rows_seen += len(batch.x)
        for mean, term in zip(self._seen, terms, strict=True):
            mean.add(term.detach(), len(batch.x))
        return -value

    def _objective(self, batch):
        noise = self.module.noise(batch.x, self.generator)
        if self.processes is None:
            terms = elbo_terms(self.module, batch.x, noise, batch.context, batch.weight)
            terms = terms.mean(batch.weight)
        else:
            terms = self.processes.terms(self.module, batch, noise)
        return self.objective(terms, self._kl_weight()), terms

    def _mean_terms(self, module, rows, dtype):
        return mean_terms(module, rows.in_order(dtype), self._same_noise())

    def _same_noise(self):
        return torch.Generator(self.rows.device).manual_seed(self.seed)

    def _check_finite(self, value):
        if not np.isfinite(value):
            epoch = len(self.history["loss"])
            raise NotFinite(
                f"The objective became {value} in epoch {epoch}. Lower learning_rate "
                f"(now {self.optimizer.learning_rate:g}), look for extreme values in X or, with "
                "a posterior or network of your own, for a division by zero"
            )


class RangeFit(Fit):
    """A fit for every tau of a range, which draws another tau for each batch.

    What it reports of an epoch are means over the taus drawn in it, what it stops by is the mean
    of both ends and the middle of the range.

    Parameters
    ----------
    every : skvae.every_tau.EveryTau
        What to train; changed in place.
    rows : skvae._data.rows.Rows
        The training rows, whose moments the finished model is given.
    tau : float
        Of the finished model.
    **settings : dict
        As of `Fit`.
    """

    def __init__(self, every, rows, tau, **settings):
        super().__init__(every.module, rows, **settings)
        if self.information is not None:
            raise ValueError(
                "objective='lagging-encoder' takes extra steps at one tau and cannot be trained "
                "over a range. Give tau as a number, or take another objective."
            )
        self.every, self.tau = every, tau
        self.optimizer = RangeAdam(every, settings["learning_rate"], self.seed, settings["average"])

    def _trained(self):
        return self.every

    def _loss(self, batch):
        with self.every.running():
            return super()._loss(batch)

    def state(self):
        return {**super().state(), "n_steps": self.optimizer.n_steps}

    def load(self, state):
        super().load(state)
        self.optimizer.go_to(state["n_steps"])

    def continue_from(self, optimizer_state):
        if optimizer_state is not None:
            self.optimizer.load(optimizer_state)
        self.previous = [self._faded(moments) for moments in self.every.moments]

    def _judged(self):
        every = self._learnt()
        every.finalise(self.train.in_order(torch.float32), n_nodes=3)
        models = (every.model(every.tau(t)) for t in (-1.0, 0.0, 1.0))
        terms = [self._mean_terms(model, self.aside, torch.float32) for model in models]
        return every, Terms(*(torch.stack(parts).mean(0) for parts in zip(*terms, strict=True)))

    def finished(self, dtype):
        every = self._learnt()
        if self.stopping is not None and self.stopping.best_state is not None:
            every.load_state_dict(self.stopping.best_state)
        every.to(dtype).finalise(self.rows.in_order(dtype), self.previous)
        every.measure(lambda: self.rows.in_order(dtype), self._same_noise)
        module, terms = every.at(self.tau)
        self._check_finite(float(terms.elbo()))
        return Fitted.of(module, terms, self.rows.log_jacobian(), every)


def _copied(thing):
    """A copy of tensors in dicts and lists that shares nothing with them."""
    if isinstance(thing, torch.Tensor):
        return thing.clone()
    if isinstance(thing, dict):
        return {name: _copied(one) for name, one in thing.items()}
    return [_copied(one) for one in thing] if isinstance(thing, list) else thing
