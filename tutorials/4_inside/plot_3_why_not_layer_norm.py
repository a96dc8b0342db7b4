"""
Why not layer normalization, in pictures
========================================

Batch normalization gives the KL a floor, and so does layer normalization: it
fixes the second moment of the means as well. The difference is the axis. This
page trains both in front of the strong decoder of
:doc:`/tutorials/4_inside/plot_1_collapse`. One of them collapses although its
KL is half a nat.
"""

# %%
# The axis
# --------
# Take a table of raw means, with one line per row and one column per
# component. Batch normalization (BN) gives every *column* mean 0 and a fixed
# variance; layer normalization (LN) does so for every *line*. Suppose that
# the raw means are nearly the same for all rows. BN then magnifies the small
# differences. LN does not look at other rows at all, so it keeps the
# constant.

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from skvae.posteriors import BatchNormMeanPosterior, LayerNormPosterior

torch.set_num_threads(1)  # small networks: more threads only wait
plt.rc("axes.spines", top=False, right=False)

TAU = 0.5
colors = {"LN": "tab:red", "BN": "tab:green"}
layers = {"LN": LayerNormPosterior, "BN": BatchNormMeanPosterior}

# %%
# The same rows, the same decoder
# -------------------------------
# Each row is a binary sequence with its own pace of change, and the recurrent
# decoder also sees the previous symbols;
# :doc:`/tutorials/4_inside/plot_1_collapse` explains both. The two posteriors
# differ only in the normalization of the mean, and both have the floor
# :math:`\frac{1}{2} d \tau`: 0.5 nats for two components.

N_STEPS = 20


def draw_rows(n_rows, seed):
    """Sequences, and the pace of each."""
    generator = torch.Generator().manual_seed(seed)
    pace = 0.05 + 0.9 * torch.rand(n_rows, 1, generator=generator)
    change = torch.rand(n_rows, N_STEPS, generator=generator) < pace
    start = torch.rand(n_rows, generator=generator) < 0.5
    change[:, 0] = start
    return change.float().cumsum(1) % 2, pace[:, 0]


class SequenceVAE(nn.Module):
    """A VAE whose decoder also sees all former symbols."""

    def __init__(self, posterior, width=24):
        super().__init__()
        self.pairs = nn.Conv1d(1, 32, kernel_size=2)
        self.posterior_layer = posterior
        d = posterior.n_components
        self.decoder = nn.GRU(1 + d, width, batch_first=True)
        self.logits = nn.Linear(width, 1)

    def features(self, x):
        return self.pairs(x[:, None]).relu().mean(-1)

    def posterior(self, x):
        return self.posterior_layer(self.features(x))

    def reconstruction(self, x, z):
        former = nn.functional.pad(x, (1, 0))[:, :-1, None]
        code = z[:, None].expand(-1, x.shape[1], -1)
        hidden, _ = self.decoder(torch.cat([former, code], -1))
        logits = self.logits(hidden)[..., 0]
        return Bernoulli(logits=logits).log_prob(x).sum(-1)


# %%
# What to watch
# -------------
# The mean KL has two parts, :eq:`s-rate-split`: the *information* that the
# code carries about the row, and the *mismatch* between the codes of all rows
# together and the prior. The information can be estimated from one draw of
# each row's code: how much more probable is the draw under the row's own
# posterior than under the mixture of all posteriors?

PRIOR = Normal(torch.zeros(()), torch.ones(()))
x, pace = draw_rows(2000, seed=0)


@torch.no_grad()
def rate_and_information(model):
    """Mean KL over the rows, and the information over 1,000 of them."""
    model.eval().posterior_layer.finalise([(model.features(x), None)])
    q = model.posterior(x)
    kl = kl_divergence(q, PRIOR).sum(-1).mean()
    q = model.posterior(x[:1000])
    log_q = q.log_prob(q.sample()[:, None]).sum(-1)  # draw, posterior
    mixture = log_q.logsumexp(1) - np.log(1000)
    return kl.item(), (log_q.diagonal() - mixture).mean().item()


def train(layer, n_components, n_epochs=20):
    torch.manual_seed(0)
    model = SequenceVAE(layer(32, n_components, tau=TAU))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    curve = [rate_and_information(model)]
    for _ in range(n_epochs):
        model.train()
        for batch in x[torch.randperm(len(x))].split(100):
            q = model.posterior(batch)
            kl = kl_divergence(q, PRIOR).sum(-1)
            fit = model.reconstruction(batch, q.rsample())
            optimizer.zero_grad()
            (kl - fit).mean().backward()
            optimizer.step()
        curve.append(rate_and_information(model))
    return model, np.array(curve)


runs = {name: train(layer, 2) for name, layer in layers.items()}

figure, axes = plt.subplots(
    1, 2, figsize=(8, 3.3), sharey=True, layout="constrained"
)
for ax, (name, (_, curve)) in zip(axes, runs.items(), strict=True):
    rate, information = curve.T
    epochs = np.arange(len(curve))
    color = colors[name]
    ax.plot(epochs, rate, color=color, lw=2, label="KL")
    ax.fill_between(
        epochs,
        information,
        color=color,
        alpha=0.3,
        lw=0,
        label="information",
    )
    ax.axhline(0.5, color="black", ls="--", lw=1, label="floor")
    ax.set(title=name, xlabel="epoch", ylim=(-0.01, 0.8))
axes[0].set_ylabel("nats per row")
_ = axes[0].legend(frameon=False, loc="upper center", ncols=3)

# %%
# The KL of LN is on its floor from beginning to end, and looks healthy. But
# it contains no information: all of the half nat is mismatch. The raw means
# of a new encoder are nearly the same for all rows. LN keeps it that way, and
# training has no reason to change it. BN starts with the same weights, and
# its KL is nearly all information. (The estimate has an error of a few
# hundredths.)
#
# Where the codes are
# -------------------
# Each colored point is the mean of a row, and each gray point is a draw of
# its code.

figure, axes = plt.subplots(
    1,
    2,
    figsize=(8, 3.9),
    sharex=True,
    sharey=True,
    layout="constrained",
)
torch.manual_seed(1)
for ax, (name, (model, _)) in zip(axes, runs.items(), strict=True):
    with torch.no_grad():
        q = model.posterior(x)
        draws = q.sample().numpy()
    ax.scatter(*draws.T, color="0.82", s=4, label="draws")
    points = ax.scatter(
        *q.loc.numpy().T,
        c=pace.numpy(),
        s=24,
        cmap="viridis",
        vmin=0,
        vmax=1,
    )
    spread = q.loc.var(dim=0, correction=0).mean().item()
    ax.set(
        title=f"{name}: variance of the means {spread:.3f}",
        xlabel="component 1",
        aspect="equal",
        xlim=(-3, 3),
        ylim=(-3, 3),
    )
axes[0].set_ylabel("component 2")
_ = figure.colorbar(points, ax=axes, label="pace of the row")
# sphinx_gallery_thumbnail_number = 2

# %%
# Under LN all rows have the *same* mean, a point that is not the origin. This
# is collapse to another place: :eq:`s-ln-constant`. LN demands that the mean
# of each row be long, and a mean that is the same for all rows satisfies
# that. BN cannot express such a code: the means of each component must differ
# from row to row, :eq:`s-bn-each`.
#
# In fairness
# -----------
# LN does not force collapse; it only does not prevent it. With two
# components, LN allows only two values of the mean, plus and minus, because
# one component is minus the other. With four components there is more room,
# the decoder finds some use for the code, and most of the KL is information:

print("    components   KL  information")
for name, d in (("LN", 2), ("LN", 4), ("BN", 2), ("BN", 4)):
    model, curve = runs[name] if d == 2 else train(layers[name], d)
    kl, information = curve[-1]
    print(f"{name}{d:12}{kl:7.2f}{information:11.2f}")

# %%
# Whether a posterior with LN carries information depends on the data, the
# networks and luck, and the KL does not show it. With BN, the layer itself
# guarantees that the components vary.
#
# **What follows.** A floor on the KL of *each row* is not enough, because a
# constant code satisfies it. A floor on the *variation between rows* is
# needed. :doc:`/theory/layernorm` proves both statements, and
# :doc:`/theory/diagnostics` explains which other numbers reveal this kind of
# collapse.
