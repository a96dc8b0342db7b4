"""One fit of a VAE: the module in training, its rows, and the finished model that comes of it."""

import copy
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np
import torch

from skvae.diagnostics import mutual_information
from skvae.model import VAE
from skvae.objectives import elbo_terms, mean_terms
from skvae.posteriors import Moments
from skvae.training import Adam, generator_states, mean_over, set_generators, train_epoch


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
    """

    module: VAE
    lower_bound: float
    kl_per_component: np.ndarray
    kl_floor: float


class Fit:
    """The state of one fit between its epochs.

    Parameters
    ----------
    module : skvae.model.VAE
        What to train; changed in place.
    rows : skvae.batches.Rows
        The training rows, whose moments the finished model is given.
    train, aside : skvae.batches.Rows
        The rows to train on and the rows to stop by; `aside` is None for no early stopping.
    objective : skvae.objectives.Objective
        What is maximised, in training and stopping alike.
    beta : float
        What the KL's weight is multiplied with.
    n_epochs : int
        Length of the training, which the objective's schedule ends within.
    learning_rate : float
        Step of the optimiser.
    batch_size : int
        Rows of a batch, as in `Rows.shuffled`.
    stopping : skvae.training.EarlyStopping or None
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
        batch_size,
        stopping,
        seed,
    ):
        self.module, self.rows, self.train, self.aside = module, rows, train, aside
        self.objective, self.beta, self.n_epochs = objective, beta, n_epochs
        self.batch_size, self.stopping, self.seed = batch_size, stopping, seed
        self.generator = torch.Generator(rows.device).manual_seed(seed)
        self.optimizer = Adam(module.parameters(), learning_rate)
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

    def state(self):
        """All that changes during the training; in `borrowed_process`.

        Returns
        -------
        dict
            For `load`. Shares the tensors of the training.
        """
        return {
            "weights": dict(self.module.state_dict()),
            "optimizers": [optimizer.state() for optimizer in self._optimizers()],
            "generator": self.generator.get_state(),
            "generators": generator_states(self.rows.device),
            "history": self.history,
            "scores": self.scores,
            "n_rows_seen": self.n_rows_seen,
            "information": self.information,
            "stopping": None if self.stopping is None else self.stopping.state(),
        }

    def load(self, state):
        """Go on from the `state` of another fit of the same settings; in `borrowed_process`."""
        self.module.load_state_dict(state["weights"])
        for optimizer, theirs in zip(self._optimizers(), state["optimizers"], strict=True):
            optimizer.load(theirs)
        self.generator.set_state(state["generator"])
        set_generators(self.rows.device, state["generators"])
        for name in ("history", "scores", "n_rows_seen", "information"):
            setattr(self, name, state[name])
        if self.stopping is not None:
            self.stopping.load(state["stopping"])

    def keep(self):
        """Remember the state at the end of an epoch, for `go_back`."""
        state = self.state()
        self._kept = {
            **state,
            "weights": {name: tensor.clone() for name, tensor in state["weights"].items()},
            "optimizers": [[[t.clone() for t in ts] for ts in one] for one in state["optimizers"]],
            "history": {name: list(curve) for name, curve in self.history.items()},
            "scores": list(self.scores),
        }

    def go_back(self):
        """Return to the end of the last epoch that was kept; say whether there was one."""
        if self._kept is not None:
            self.load(self._kept)
        return self._kept is not None

    def _optimizers(self):
        ahead = getattr(self, "encoder_optimizer", None)
        return [self.optimizer] if ahead is None else [self.optimizer, ahead]

    def continue_from(self, optimizer_state):
        """Go on with a former optimiser's state, and merge with the moments of former rows."""
        self.optimizer.load(optimizer_state)
        moments = Moments(*(m.clone() for m in self.module.posterior_layer.stored_moments()))
        # The encoder has moved on since it saw the former rows: they fade.
        weight = moments.weight.clamp_max(9.0 * len(self.rows))
        self.previous = moments._replace(weight=weight)

    def epoch(self):
        """Train for an epoch; return whether it is time to stop.

        Raises
        ------
        NotFinite
            If the objective is.
        """
        self._seen = []  # of each batch: rows, mean reconstruction, mean KL per component
        batches = self.train.shuffled(self.batch_size, self.generator)
        if self.information is not None:
            batches = self._with_encoder_ahead(batches)
        loss = train_epoch(self._loss, batches, self.optimizer)
        sizes, *means = zip(*self._seen, strict=True)
        reconstruction, kl = (float(mean_over(values, sizes).sum()) for values in means)
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
            train_epoch(lambda other: -self._objective(other)[0], ahead, self.encoder_optimizer)
            yield batch

    def _measure_information(self):
        """Leave the encoder to itself once its information has not risen."""
        first = next(self.train.in_order(torch.float32)).x[:500]
        self.module.eval()
        with torch.no_grad():
            q = self.module.posterior(first)
        self.module.train()
        loc, scale = (moment.cpu().numpy().astype(float) for moment in (q.loc, q.scale))
        information = mutual_information(loc, scale, random_state=self.seed)
        self.information = information if information > self.information else None

    def _should_stop(self):
        self.module.eval()
        terms = self._mean_terms(self.module, self.aside, torch.float32)
        self.module.train()
        value = float(self.objective(terms, self._kl_weight()))
        self._check_finite(value)
        self.scores.append(value + self.rows.log_jacobian())
        # While the weight of the KL still changes, scores of two epochs do not compare.
        if self._progress() < self.objective.settled:
            return False
        return self.stopping.should_stop(self.scores[-1], self.module)

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
        module = copy.deepcopy(self.module).eval()
        if self.stopping is not None and self.stopping.best_state is not None:
            module.load_state_dict(self.stopping.best_state)
        module.to(dtype).finalise(self.rows.in_order(dtype), self.previous)
        terms = self._mean_terms(module, self.rows, dtype)
        bound = float(terms.elbo())
        self._check_finite(bound)
        return Fitted(
            module,
            bound + self.rows.log_jacobian(),
            terms.kl.cpu().numpy(),
            module.posterior_layer.kl_floor(),
        )

    def _loss(self, batch):
        value, terms = self._objective(batch)
        self.n_rows_seen += len(batch.x)
        self._seen.append((len(batch.x), terms.reconstruction.detach(), terms.kl.detach()))
        return -value

    def _objective(self, batch):
        noise = self.module.noise(batch.x, self.generator)
        terms = elbo_terms(self.module, batch.x, noise, batch.context, batch.weight)
        terms = terms.mean(batch.weight)
        return self.objective(terms, self._kl_weight()), terms

    def _mean_terms(self, module, rows, dtype):
        generator = torch.Generator(rows.device).manual_seed(self.seed)  # the same every time
        return mean_terms(module, rows.in_order(dtype), generator)

    def _check_finite(self, value):
        if not np.isfinite(value):
            epoch = len(self.history["loss"])
            raise NotFinite(
                f"The objective became {value} in epoch {epoch}. Lower learning_rate "
                f"(now {self.optimizer.learning_rate:g}), look for extreme values in X or, with "
                "a posterior or network of your own, for a division by zero"
            )
