"""The training of a model for every tau of a range."""

from functools import partial

import torch

from skvae._fit.training import Training


class RangeTraining(Training):
    """A training for every tau of a range: each batch has another tau.

    Its history holds means over the taus of an epoch; it stops by the mean of both ends and the
    middle of the range.

    Parameters
    ----------
    every : skvae.every_tau.EveryTau
        The model to train; changed in place.
    rows, reader : object
        Training rows and their reader, as for `Training`.
    tau : float
        Tau of the finished model.
    **settings : dict
        Settings as for `Training`.
    """

    def __init__(self, every, rows, reader=None, *, tau, **settings):
        super().__init__(every, rows, reader, vae=every.module, **settings)
        self.tau = tau
        every._restart(self.seed)

    def step(self, loss):
        shrinks = self.optimizer.weight_decay * self.optimizer.learning_rate
        self.model._shrink(shrinks * self.course.factor(self.n_steps))
        super().step(loss)

    def judged(self):
        every = self.judge()
        every.finalise(self.some_rows().in_order(torch.float32), n_nodes=3)
        return every, *self.scores_of(*(every.at_tau(every.tau_at(t)) for t in (-1.0, 0.0, 1.0)))

    def measured(self):
        every = self.best()
        every.finalise(self.rows.in_order(self.dtype), self.previous)
        every._measure_terms(partial(self.rows.in_order, self.dtype), self.same_noise)
        return *every._at_tau_with_terms(self.tau), every

    def continue_from(self, optimizer_state):
        self.continue_steps(optimizer_state)
        self.previous = [self.faded(moments) for moments in self.model.moments]
