"""One fit of a VAE: the module in training, its rows, and the finished model that comes of it."""

import copy
from typing import NamedTuple

import numpy as np
import torch

from skvae.model import VAE
from skvae.objectives import elbo_terms, mean_terms
from skvae.posteriors import Moments
from skvae.training import Adam, train_epoch


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
    beta : float
        Weight of the KL, in training and stopping alike.
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
    losses, scores : list of float
        Mean negative objective of the training rows, and mean objective of the rows aside,
        after each epoch; in nats per row and in the units of the data.
    """

    def __init__(
        self, module, rows, *, train, aside, beta, learning_rate, batch_size, stopping, seed
    ):
        self.module, self.rows, self.train, self.aside = module, rows, train, aside
        self.beta, self.batch_size, self.stopping, self.seed = beta, batch_size, stopping, seed
        self.generator = torch.Generator(rows.device).manual_seed(seed)
        self.optimizer = Adam(module.parameters(), learning_rate)
        self.previous = None
        self.losses, self.scores = [], []
        module.train()

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
        ValueError
            If the objective is not finite.
        """
        batches = self.train.shuffled(self.batch_size, self.generator)
        loss = train_epoch(self._loss, batches, self.optimizer)
        self.losses.append(loss - self.rows.log_jacobian())
        self._check_finite(loss)
        if self.stopping is None:
            return False
        self.module.eval()
        terms = self._mean_terms(self.module, self.aside, torch.float32)
        self.module.train()
        objective = float(terms.elbo(self.beta))
        self._check_finite(objective)
        self.scores.append(objective + self.rows.log_jacobian())
        return self.stopping.should_stop(self.scores[-1], self.module)

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
        if self.stopping is not None:
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
        noise = self.module.noise(batch.x, self.generator)
        terms = elbo_terms(self.module, batch.x, noise, batch.context, batch.weight)
        objective = terms.elbo(self.beta)
        return -(objective if batch.weight is None else batch.weight * objective).mean()

    def _mean_terms(self, module, rows, dtype):
        generator = torch.Generator(rows.device).manual_seed(self.seed)  # the same every time
        return mean_terms(module, rows.in_order(dtype), generator)

    def _check_finite(self, value):
        if not np.isfinite(value):
            raise ValueError(
                f"The objective became {value} in epoch {len(self.losses)}. Lower learning_rate "
                f"(now {self.optimizer.learning_rate:g}), look for extreme values in X or, with "
                "a posterior or network of your own, for a division by zero; nothing was kept."
            )
