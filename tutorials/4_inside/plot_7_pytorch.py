"""
The posterior layer in your own PyTorch model
=============================================

Suppose that you have your own encoder, decoder and training loop, and do not
need scikit-learn. Then use one module,
:class:`~skvae.posteriors.MomentPosterior`, in place of the two linear layers
for mean and log variance. Three things change in the code; they are marked
below.
"""

# %%
# A convolutional VAE
# -------------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from skvae.bounds import kl_floor
from skvae.posteriors import GaussianPosterior, MomentPosterior

torch.set_num_threads(1)  # small networks: more threads only wait
plt.rc("axes.spines", top=False, right=False)

images, digit = load_digits(return_X_y=True)
# Half of the gray levels or more is ink.
x = torch.tensor(images > 7.5, dtype=torch.float32).view(-1, 1, 8, 8)
x, x_test = x[:1400], x[1400:]

D, TAU = 8, 0.5


class ConvVAE(nn.Module):
    def __init__(self, posterior):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 64),
            nn.ReLU(),
        )
        self.posterior = posterior  # 1. features in, a Normal out
        self.decoder = nn.Sequential(
            nn.Linear(D, 16 * 4 * 4),
            nn.ReLU(),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        """Reconstruction and KL of every row, in nats."""
        q = self.posterior(self.encoder(x))
        p = Bernoulli(logits=self.decoder(q.rsample()))
        kl = kl_divergence(q, Normal(0.0, 1.0))
        return p.log_prob(x).sum((1, 2, 3)), kl.sum(-1)


# %%
# Your training loop
# ------------------
# Nothing in it is special. In training mode the layer normalizes with running
# moments of the batches, and the gradient is that of the batch. So shuffle
# the rows, and avoid a last batch of very few rows: a single row has no
# variance.


def train(posterior, n_epochs=30):
    torch.manual_seed(0)
    model = ConvVAE(posterior())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rates = []
    for _ in range(n_epochs):
        for batch in x[torch.randperm(len(x))].split(100):
            reconstruction, kl = model(batch)
            loss = (kl - reconstruction).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.append(kl.mean().item())
    return model, rates


model, rates = train(lambda: MomentPosterior(64, D, tau=TAU))
plain, plain_rates = train(lambda: GaussianPosterior(64, D))

floor = kl_floor(TAU, D)
print(f"floor {floor:.3f}; least KL of any batch {min(rates):.3f} nats")

# %%
# Evaluation mode and finalizing
# ------------------------------
# The code of a row must not depend on the other rows in the batch. In
# evaluation mode the layer therefore does not update the running moments.
# They lag behind the weights, so they are not exactly the moments of the
# rows, and the floor holds only approximately; the smallest KL above is
# slightly below it. When training is over, compute the exact moments over all
# rows:

model.eval()


def mean_kl(rows):
    with torch.no_grad():
        return model(rows)[1].mean().item()


print(f"running moments:  {mean_kl(x):.4f} nats")

with torch.no_grad():
    features = [(model.encoder(part), None) for part in x.split(500)]
model.posterior.finalise(features)  # 2. after the last epoch

print(f"finalized:        {mean_kl(x):.4f} nats")
print(f"guaranteed:       {model.posterior.kl_floor():.4f} nats")
print(f"rows held out:    {mean_kl(x_test):.4f} nats")

# %%
# ``posterior.kl_floor()`` is the floor for the rows whose moments are stored.
# For new rows it holds to the extent that they are like the training rows.
# Over the training rows each component now has the moments of the prior: mean
# 0, and a mean square of the means and a mean square of the noise that add up
# to 1.

with torch.no_grad():
    q = model.posterior(model.encoder(x))
moments = q.loc.square().mean(0) + q.scale.square().mean(0)
print(f"largest mean: {q.loc.mean(0).abs().max().item():.0e}")
print(f"second moments: {moments.min().item():.4f} to ", end="")
print(f"{moments.max().item():.4f}")

# %%
# The stored moments are buffers, so they are part of the ``state_dict``.

again = ConvVAE(MomentPosterior(64, D, tau=TAU)).eval()
again.load_state_dict(model.state_dict())  # 3. nothing to add
with torch.no_grad():
    same = again.posterior(again.encoder(x_test)).loc
    print(torch.equal(same, model.posterior(model.encoder(x_test)).loc))

# %%
# What the floor looks like
# -------------------------
# The figure shows the rate of every batch. For comparison, it also shows the
# plain posterior, :class:`~skvae.posteriors.GaussianPosterior`, with the same
# networks and the same seed:

steps = np.arange(len(rates))
figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.plot(steps, plain_rates, color="tab:orange", lw=1, label="plain VAE")
ax.plot(steps, rates, color="tab:blue", lw=1, label="BN-VAE")
ax.axhline(floor, color="black", ls="--", label="floor")
ax.set(xlabel="step", ylabel="KL of the batch (nats)", ylim=(0, None))
_ = ax.legend(frameon=False, loc="lower right")

# %%
# BN-VAE starts on its floor and leaves it when it has learned to use more.
# These pictures contain much information, and in the end both models have a
# rate above the floor, which then costs nothing. The floor is for cases in
# which the orange curve would not rise, as in
# :doc:`/tutorials/4_inside/plot_1_collapse`.
#
# Interpolation
# -------------
# We move from one held-out digit to another, in a straight line between their
# codes.
# Every picture in between is decoded from a code that belongs to no row.

pairs = [(0, 6), (4, 9), (2, 3), (1, 7)]
label = digit[1400:]
first = {d: np.flatnonzero(label == d)[0] for d in range(10)}
figure, axes = plt.subplots(
    len(pairs), 9, figsize=(8, 3.7), layout="constrained"
)
with torch.no_grad():
    for line, pair in zip(axes, pairs, strict=True):
        ends = x_test[[first[d] for d in pair]]
        start, stop = model.posterior(model.encoder(ends)).loc
        way = torch.linspace(0, 1, 9)[:, None]
        walk = model.decoder(torch.lerp(start, stop, way)).sigmoid()
        for ax, picture in zip(line, walk, strict=True):
            ax.imshow(picture[0].numpy(), cmap="gray_r", vmin=0, vmax=1)
            ax.set_axis_off()
# sphinx_gallery_thumbnail_number = 2

# %%
# **What follows.** The layer fits any model with a Gaussian posterior over
# rows: features in, distribution out, ``finalise`` at the end.
# :doc:`/guide/layer` lists what to know about batches, padding, several
# processes and optimizers, and :doc:`/theory/batchnorm` explains why the
# moments of a few rows are not enough.
