"""
Watch a VAE collapse, and prevent it
====================================

Posterior collapse, or KL vanishing, means that the code says nothing about
the row: its distribution is the prior for every row. It was first seen
with text, where the decoder predicts each word from the words before it and
can do without a code. This page builds the smallest such case in plain
PyTorch, watches the code die, and then replaces one layer to prevent it.
"""

# %%
# Rows that reveal their own secret
# ---------------------------------
# A row is a sequence of 20 binary symbols. Each row has a *pace*, the
# probability that the symbol changes from one place to the next. The paces
# are spread evenly from 0.05 to 0.95, and a code should describe them.

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import logsumexp
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

torch.set_num_threads(1)  # small networks: more threads only wait
plt.rc("axes.spines", top=False, right=False)
N_STEPS = 20


def draw_rows(n_rows, seed):
    """Sequences, and the pace of each."""
    generator = torch.Generator().manual_seed(seed)
    pace = 0.05 + 0.9 * torch.rand(n_rows, 1, generator=generator)
    change = torch.rand(n_rows, N_STEPS, generator=generator) < pace
    start = torch.rand(n_rows, generator=generator) < 0.5
    change[:, 0] = start
    return change.float().cumsum(1) % 2, pace[:, 0]


x, pace = draw_rows(2000, seed=0)
x_test, pace_test = draw_rows(2000, seed=1)

order = pace[:60].argsort()
figure, ax = plt.subplots(figsize=(4.4, 3.4), layout="constrained")
ax.imshow(
    x[:60][order].numpy(),
    cmap="gray_r",
    aspect="auto",
    extent=(0.5, N_STEPS + 0.5, 60, 0),
)
_ = ax.set(
    xlabel="place",
    ylabel="60 rows, from slow to fast",
    xticks=[1, 5, 10, 15, 20],
    yticks=[],
)

# %%
# A strong decoder
# ----------------
# The decoder is recurrent: at each place it sees the previous symbols and the
# code. During training it receives the true symbols (teacher forcing). After
# a few places it can infer the pace by itself. The encoder looks at pairs of
# neighboring symbols. The posterior between the two is an argument.


class Encoder(nn.Module):
    """Features of the pairs of neighbors, averaged over the row."""

    def __init__(self, width=32):
        super().__init__()
        self.pairs = nn.Conv1d(1, width, kernel_size=2)

    def forward(self, x):
        return self.pairs(x[:, None]).relu().mean(-1)


class SequenceVAE(nn.Module):
    """A VAE whose decoder also sees all former symbols."""

    def __init__(self, posterior, width=24):
        super().__init__()
        self.encoder = Encoder()
        self.posterior = posterior
        d = posterior.n_components
        self.decoder = nn.GRU(1 + d, width, batch_first=True)
        self.logits = nn.Linear(width, 1)

    def log_prob(self, x, z):
        """log p of every symbol, given those before it and the code."""
        former = nn.functional.pad(x, (1, 0))[:, :-1, None]
        code = z[:, None].expand(-1, x.shape[1], -1)
        hidden, _ = self.decoder(torch.cat([former, code], -1))
        logits = self.logits(hidden)[..., 0]
        return Bernoulli(logits=logits).log_prob(x)


PRIOR = Normal(torch.zeros(()), torch.ones(()))


def train(posterior, ramp=0, n_epochs=36):
    """Train; the KL's weight rises to 1 over `ramp` epochs."""
    torch.manual_seed(0)
    model = SequenceVAE(posterior())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rates = []
    for epoch in range(n_epochs):
        rate = 0.0
        for i, batch in enumerate(x[torch.randperm(len(x))].split(100)):
            weight = min(1.0, (epoch + i / 20) / ramp) if ramp else 1.0
            q = model.posterior(model.encoder(batch))
            kl = kl_divergence(q, PRIOR).sum(-1).mean()
            fit = model.log_prob(batch, q.rsample()).sum(-1).mean()
            optimizer.zero_grad()
            (weight * kl - fit).backward()
            optimizer.step()
            rate += kl.detach() / 20
        rates.append(rate.item())
    model.eval()
    with torch.no_grad():
        model.posterior.finalise([(model.encoder(x), None)])
    return model, rates


# %%
# Three times the same networks
# -----------------------------
# First comes the plain VAE. The second model is the plain VAE with the usual
# remedy, KL annealing: the weight of the KL rises from 0 to 1 over 15 epochs.
# The third uses :class:`~skvae.posteriors.MomentPosterior`, without
# annealing. The code has two components.

from skvae.bounds import kl_floor
from skvae.posteriors import GaussianPosterior, MomentPosterior

TAU = 0.5
runs = {
    "plain VAE": train(lambda: GaussianPosterior(32, 2)),
    "plain VAE, annealed": train(lambda: GaussianPosterior(32, 2), 15),
    "BN-VAE": train(lambda: MomentPosterior(32, 2, tau=TAU)),
}

colors = {
    "plain VAE": "tab:orange",
    "plain VAE, annealed": "tab:orange",
    "BN-VAE": "tab:blue",
}
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
epochs = np.arange(1, 37)
for name, (_, rates) in runs.items():
    style = ":" if "annealed" in name else "-"
    ax.plot(epochs, rates, style, color=colors[name], label=name, lw=2)
ax.axhline(
    kl_floor(TAU, 2), color="black", ls="--", lw=1, label="floor"
)
ax.set(xlabel="epoch", ylabel="KL of a row (nats)", ylim=(-0.02, 0.9))
_ = ax.legend(frameon=False, ncols=2, loc="upper right")
# sphinx_gallery_thumbnail_number = 2

# %%
# The code of the plain VAE is unused from the first epoch on. With annealing,
# the code carries information as long as it is cheap; then the information
# fades from epoch to epoch. This has a reason. If a decoder does as well
# without the code, the objective is highest when the code is noise:
# :eq:`s-ignored-code`. BN-VAE has the same objective, but its rate cannot
# fall that far. It stays on its floor, :math:`-\frac{d}{2} \log(1 - \tau)`
# with :math:`d = 2`, :eq:`s-floor`, because the layer cannot express less.
#
# What is in the code
# -------------------
# The figure shows draws of the codes of held-out rows. In a collapsed model
# they are noise, and slow and fast rows overlap. (The *means* of a collapsed
# posterior may still differ by a few hundredths, and a sensitive classifier
# can read them. The decoder sees draws, and cannot.)

torch.manual_seed(1)
figure, axes = plt.subplots(
    1,
    2,
    figsize=(8, 3.8),
    sharex=True,
    sharey=True,
    layout="constrained",
)
with torch.no_grad():
    for ax, name in zip(axes, ("plain VAE", "BN-VAE"), strict=True):
        model = runs[name][0]
        z = model.posterior(model.encoder(x_test)).sample().numpy()
        points = ax.scatter(
            *z.T,
            c=pace_test.numpy(),
            s=6,
            cmap="viridis",
            vmin=0,
            vmax=1,
        )
        ax.set(title=name, xlabel="$z_1$", aspect="equal")
axes[0].set_ylabel("$z_2$")
_ = figure.colorbar(points, ax=axes, label="pace of the row")

# %%
# What the decoder gains
# ----------------------
# All numbers are for held-out rows, in nats per row. *Reconstruction* is the
# mean of :math:`\log p(x|z)`, the ELBO is the reconstruction minus the KL,
# and *shuffled* is the reconstruction from the code of another row. If
# shuffling loses nothing, the decoder does not use the code. Here the exact
# optimum is known too, because the number of changes contains all information
# of a row about its pace.

grid = np.linspace(0.05, 0.95, 1001)[:, None]
changes = x_test.diff(dim=1).abs().sum(1).numpy()
log_p = changes * np.log(grid) + (19 - changes) * np.log1p(-grid)
best = np.mean(logsumexp(log_p, axis=0) - np.log(2 * len(grid)))

torch.manual_seed(2)
by_place = {}
print(f"{'':20} reconstruction    KL    ELBO  shuffled")
with torch.no_grad():
    for name, (model, _) in runs.items():
        q = model.posterior(model.encoder(x_test))
        draws = q.sample((20,))  # of every code
        rec = torch.stack(
            [model.log_prob(x_test, draw) for draw in draws]
        )
        other = draws[:, torch.randperm(len(x_test))]
        lost = torch.stack(
            [model.log_prob(x_test, draw) for draw in other]
        )
        by_place[name] = rec.mean((0, 1)).numpy()
        fit, shuffled = (t.sum(-1).mean().item() for t in (rec, lost))
        kl = kl_divergence(q, PRIOR).sum(-1).mean().item()
        row = f"{fit:15.2f}{kl:6.2f}{fit - kl:8.2f}{shuffled:10.2f}"
        print(f"{name:20}{row}")
print(f"{'exact log p(x)':20}{best:29.2f}")

# %%
# To be fair, the ELBO of the plain VAE is slightly higher. BN-VAE
# reconstructs much better, but the code costs as much as it gains, and a few
# hundredths more. This is typical of a strong decoder: the code cannot
# improve the density. It contains what the decoder would otherwise have to
# infer along the way. This helps early in the row, as long as the previous
# symbols do not reveal the pace. (The first symbol does not depend on it.)

gain = by_place["BN-VAE"] - by_place["plain VAE"]
figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.bar(np.arange(1, N_STEPS + 1), gain, color="tab:blue")
ax.axhline(0, color="black", linewidth=0.8)
_ = ax.set(
    xlabel="place",
    ylabel="gain over plain VAE (nats)",
    title=f"what the code is worth: {gain.sum():.2f} nats in total",
    xticks=[1, 5, 10, 15, 20],
)

# %%
# **What follows.** If you need only a density, a strong decoder needs no
# code. If you need the code, the objective will not provide it, and schedules
# only delay the collapse. A posterior that cannot express collapse does
# provide it, for nearly the same ELBO. :doc:`/theory/vanishing` explains the
# reasons and :doc:`/theory/floor` the floor. To use the layer in your own
# model, see :doc:`/guide/layer` and
# :doc:`/tutorials/4_inside/plot_7_pytorch`.
