"""The fitted model: a trained VAE and all that is needed to use it."""

import copy

import numpy as np
import torch
from torch import nn

from skvae._fit.torch_state import SeededDraws, restored_process
from skvae.objectives import Terms


class FittedModel(nn.Module):
    """A trained VAE, the units and the reader of its rows, and the ELBO that it reaches on them.

    An estimator holds one of these; its fitted attributes are views of it. The VAE has the moments
    of all training rows. `terms` are the mean reconstruction and the mean KL of each component over
    these rows, in the networks' units; adding `log_jacobian` gives the ELBO in the units of the
    data. `row_work` is the number of multiplications for one row, which decides the number of
    threads. `every` is the `EveryTau` of a fit for a range of tau.
    """

    def __init__(self, module, units, reader, *, terms, log_jacobian, seed, row_work, every=None):
        super().__init__()
        self.module, self.units, self.reader, self.every = module, units, reader, every
        self.reconstruction, self.kl_per_component = float(terms.reconstruction), _array(terms.kl)
        self.log_jacobian, self.row_work = log_jacobian, row_work
        self.seed = seed  # of the draws for scores and diagnoses
        self.eval()

    def at_tau(self, tau):
        """Return the model at another tau of its range; it shares everything else with this one."""
        module, terms = self.every._at_tau_with_terms(tau)
        return self._with(module=module, terms=terms)

    def alone(self):
        """Return the same model without the `EveryTau`."""
        return self._with(every=None)

    def _with(self, **changes):
        names = ("module", "units", "reader", "log_jacobian", "seed", "row_work", "every")
        fields = {name: getattr(self, name) for name in names}
        fields["terms"] = Terms(self.reconstruction, self.kl_per_component)
        return FittedModel(**fields | changes)

    @property
    def lower_bound(self):
        """Mean ELBO of the training rows, in nats and in the units of the data."""
        return self.reconstruction - float(self.kl_per_component.sum()) + self.log_jacobian

    @property
    def kl_floor(self):
        """Lower bound that the posterior guarantees for the mean KL, in nats."""
        # Below the rounding of the KL, which is a difference of numbers near 1, it is 0.
        layer = self.module.posterior_layer
        rounding = 8 * torch.finfo(layer.heads.weight.dtype).eps
        floor = layer.kl_floor()
        return max(0.0, floor - rounding * (floor + len(self.kl_per_component)))

    @property
    def tau(self):
        """The tau of the module."""
        return float(self.module.posterior_layer.tau)

    @property
    def device(self):
        """Device of the module."""
        return self.module.prior().loc.device

    def forward(self, x):
        """Encode a tensor of rows in the units of the data: their posterior means."""
        return self.module.posterior(self.units.standardized(x)).loc

    def map(self, rows, function):
        """Apply ``function(module, x, context)`` to all rows, chunk by chunk.

        Yields the slice of each chunk and its result, on the CPU and in the precision of the rows.
        """
        module = self.in_precision(rows.dtype)
        dtype, chunks = module.prior().loc.dtype, rows.chunks()
        with self.threads(chunks), torch.no_grad():
            for chunk, batch in zip(chunks, rows.in_order(dtype), strict=True):
                yield chunk, function(module, batch.x, batch.context).cpu()

    def draw(self, n_samples, seed, function, context=None):
        """Draw codes from the prior and return ``function(likelihood, draws)`` of all of them.

        The likelihood is that of some codes; the function draws from it within `draws`, a
        `SeededDraws`.
        """
        draws, chunks, drawn = SeededDraws(seed), self.units.chunks(n_samples), []
        with self.threads(chunks), torch.no_grad():
            for chunk in chunks:
                with draws:
                    z = self.module.prior().sample((chunk.stop - chunk.start,))
                known = None if context is None else torch.from_numpy(context[chunk]).to(z)
                drawn.append(function(self.module.likelihood(z, known), draws).cpu())
        return torch.cat(drawn)

    def in_precision(self, dtype):
        """Return the module in a precision."""
        if self.module.prior().loc.dtype == dtype:
            return self.module
        return copy.deepcopy(self.module).to(dtype)

    def threads(self, chunks):
        """Return the context that takes the number of threads for these chunks of rows."""
        longest = chunks[0].stop - chunks[0].start
        return restored_process(longest * self.row_work, self.device)


def _array(values):
    return np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
