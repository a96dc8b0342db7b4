"""The lagging encoder of He et al. (2019), arXiv:1901.05534: a remedy to compare with.

Before each step of the whole model, encoder and posterior alone take extra steps on other
batches, until the mutual information of code and row, measured after each epoch over up to 500
training rows, has not risen. It shows how a training of another kind is made of skvae's parts.
"""

from itertools import chain, count, islice

import numpy as np
import torch

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae._fit.optimizer import Adam, rates_of
from skvae._fit.training import Training
from skvae.diagnostics import encode, mutual_information


class LaggingTraining(Training):
    """A training whose encoder is ahead of the decoder while the information of the code grows."""

    n_ahead = 10  # extra steps of the encoder

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.information = 0.0  # None once it no longer grows
        inference = [*self.vae.encoder.parameters(), *self.vae.posterior_layer.parameters()]
        rates = rates_of(self.vae, self.vae.encoder)
        self.ahead = Adam(inference, self.optimizer.learning_rate, rates=rates)

    def batches(self):
        others = chain.from_iterable(super(LaggingTraining, self).batches() for _ in count())
        n_ahead = 0 if self.information is None else self.n_ahead
        for batch in super().batches():
            for x, weight, context in islice(others, n_ahead):
                noise = self.vae.noise(x, self.generator)
                terms = self.vae(x, noise, context, weight).mean(weight)
                loss = -self.objective(terms, self.kl_weight())
                gradients = torch.autograd.grad(loss, self.ahead.parameters)
                self.ahead.step(gradients, self.course.factor(self.n_steps))
            yield batch

    def record(self, *means):
        super().record(*means)
        if self.information is None:
            return
        rows = self.train.subset(np.arange(min(500, len(self.train))))
        self.vae.eval()
        loc, scale = encode(self.vae, rows)
        self.vae.train()
        information = mutual_information(loc, scale, random_state=self.seed)
        self.information = information if information > self.information else None


class TwoSteps(LaggingTraining):
    """The same with two extra steps."""

    n_ahead = 2


class LaggingVAE(BNVAEEstimator):
    """A plain VAE of tables with a lagging encoder."""

    _training_type = LaggingTraining


class LaggingTextVAE(BNVAETextEstimator):
    """A plain VAE of sentences with a lagging encoder."""

    _training_type = TwoSteps
