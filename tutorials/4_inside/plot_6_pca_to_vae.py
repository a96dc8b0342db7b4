"""
From PCA to VAE
===============

A VAE with linear networks and Gaussian noise is probabilistic PCA, or factor
analysis if each column has its own noise variance. In this one case there is
a closed form for everything that training should find: which components
deserve a rate, how much of each is signal, and how good the model can be.
Does training agree?
"""

# %%
# Data with a known spectrum
# --------------------------
# The data have sixteen columns: five directions of variance 12, 7, 4.5, 2.8
# and 1.8, and noise of variance 1 in all others.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import FactorAnalysis

from skvae import BNVAEEstimator
from skvae.bounds import kl_floor, pca_gamma, pca_rate

plt.rc("axes.spines", top=False, right=False)

rng = np.random.default_rng(0)
variances = np.ones(16)
variances[:5] = [12, 7, 4.5, 2.8, 1.8]
rotation, _ = np.linalg.qr(rng.standard_normal((16, 16)))


def draw_rows(n_rows):
    latent = rng.standard_normal((n_rows, 16)) * np.sqrt(variances)
    return latent @ rotation.T


X, X_test = draw_rows(1500), draw_rows(1500)

# %%
# What the closed form says
# -------------------------
# scikit-learn's :class:`~sklearn.decomposition.FactorAnalysis` finds the best
# model, including the noise variances. In units of that noise, the covariance
# has eigenvalues :math:`\lambda`, and the noise is 1. The rest is
# :eq:`s-pca-gamma` and :eq:`s-pca-rate`: the share of signal of a component
# is :math:`1 - 1/\lambda`, and its rate is :math:`\frac{1}{2} \log \lambda`.
# Components below the noise get nothing.

D = 5
analysis = FactorAnalysis(D, svd_method="lapack", tol=1e-6).fit(X)
scaled = (X - analysis.mean_) / np.sqrt(analysis.noise_variance_)
eigenvalues, axes_of = np.linalg.eigh(np.cov(scaled.T))
eigenvalues, axes_of = eigenvalues[::-1], axes_of[:, ::-1]
share = pca_gamma(eigenvalues[:D], 1.0)
rate = pca_rate(eigenvalues[:D], 1.0)

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
index = np.arange(1, 17)
heights = np.where(index > D, eigenvalues, 1.0)
ax.bar(index, heights, color="0.85", width=0.8)
ax.bar(
    index[:D],
    eigenvalues[:D] - 1,
    bottom=1,
    color="tab:gray",
    width=0.8,
)
ax.axhline(1, color="black", lw=1)
ax.text(16.5, 1.3, "water line: the noise", ha="right")
for j in range(D):
    ax.text(
        j + 1.2, eigenvalues[j] * 1.06, f"{rate[j]:.2f}", ha="center"
    )
ax.set(
    xlabel="eigenvector",
    ylabel="eigenvalue, in units of the noise",
    yscale="log",
    ylim=(0.5, 16),
    yticks=[0.5, 1, 2, 5, 10],
    yticklabels=["0.5", "1", "2", "5", "10"],
    title="reverse water-filling, rates in nats",
)
ax.minorticks_off()
# sphinx_gallery_thumbnail_number = 1

# %%
# Each eigenvalue above the water line gets a rate, half the logarithm of its
# height. (That the sixth eigenvalue and its neighbors rise slightly above the
# line is chance: there are 1,500 rows, and the model has five components.)
#
# What training finds
# -------------------
# ``hidden_layer_sizes=()`` makes both networks linear. The training of such a
# model *starts* at the factors that ``FactorAnalysis`` finds, and maximizes
# the ELBO from there. If that is the best that the ELBO knows, too, it stays.
# The batch is the whole data set, because small batches add noise to the
# gradient and here we want the digits to agree; small batches come at the
# end. The models are the plain VAE, BN-VAE with a tau of 0.4, which is less
# than all shares, and BN-VAE with 0.8, which is more than most.

schemes = {
    "plain VAE": {"posterior": "gaussian"},
    "BN-VAE, tau 0.4": {"tau": 0.4},
    "BN-VAE, tau 0.8": {"tau": 0.8},
}
fitted = {
    name: BNVAEEstimator(
        D,
        hidden_layer_sizes=(),
        batch_size=len(X),
        max_iter=500,
        random_state=0,
        **settings,
    ).fit(X)
    for name, settings in schemes.items()
}

print(f"{'':18} rates in nats, sorted            total")
print(f"{'closed form':18}{np.round(rate, 2)}{rate.sum():9.2f}")
for name, vae in fitted.items():
    kl = np.sort(vae.kl_per_component_)[::-1]
    print(f"{name:18}{np.round(kl, 2)}{kl.sum():9.2f}")

# %%
# Plain VAE and BN-VAE with tau 0.4 stay at the closed form to about a
# hundredth of a nat. With 0.8 they cannot: three components are near their
# floor.

colors = ["tab:gray", "tab:orange", "tab:blue", "tab:blue"]
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
curves = {"closed form": rate}
for name, vae in fitted.items():
    curves[name] = np.sort(vae.kl_per_component_)[::-1]
for i, (name, values) in enumerate(curves.items()):
    ax.bar(
        np.arange(1, D + 1) + 0.2 * (i - 1.5),
        values,
        width=0.18,
        color=colors[i],
        alpha=0.5 if name.endswith("0.8") else 1,
        label=name,
    )
for tau in (0.4, 0.8):
    ax.axhline(kl_floor(tau), color="black", ls="--", lw=1)
    ax.text(5.75, kl_floor(tau) + 0.02, f"floor, tau {tau}", fontsize=9)
ax.set(
    xlabel="component, sorted",
    ylabel="rate (nats)",
    xlim=(0.5, 7),
    xticks=[1, 2, 3, 4, 5],
)
_ = ax.legend(frameon=False)

# %%
# The shares of signal agree as well. They are the variances of the components
# of the code:

code = fitted["BN-VAE, tau 0.4"].transform(X)
found = np.sort(code.var(axis=0))[::-1]
print("closed form    ", np.round(share, 3))
print("BN-VAE, tau 0.4", np.round(found, 3))

# %%
# The components are the principal axes. A linear decoder does not depend on
# the rotation of the code; the axes are singled out by the posterior, whose
# noise is independent in each component.

scores = scaled @ axes_of[:, :D]
order = np.argsort(-code.var(axis=0))
cosines = np.abs(np.corrcoef(scores.T, code[:, order].T)[:D, D:])
figure, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
image = ax.imshow(cosines, cmap="Blues", vmin=0, vmax=1)
for i, j in np.ndindex(D, D):
    ax.text(
        j,
        i,
        f"{cosines[i, j]:.2f}",
        ha="center",
        va="center",
        color="white" if cosines[i, j] > 0.5 else "black",
    )
ax.set(
    xlabel="component of the code",
    ylabel="principal axis",
    xticks=range(D),
    xticklabels=range(1, D + 1),
    yticks=range(D),
    yticklabels=range(1, D + 1),
)
_ = figure.colorbar(image, label="correlation, without sign")

# %%
# As good as can be
# -----------------
# Where tau does not bind, the scheme can express the exact posterior. Then
# every single draw gives :math:`\log p(x)` itself, :eq:`s-pca-evidence`, and
# the held-out score is that of factor analysis, which needs no draws:

print(f"{'':18} one draw  32 draws")
print(f"{'FactorAnalysis':18}{analysis.score(X_test):9.3f}")
for name, vae in fitted.items():
    one = vae.score_samples(X_test, n_draws=1).mean()
    print(f"{name:18}{one:9.3f}{vae.score(X_test):10.3f}")

# %%
# The last model pays for a tau that is too high for three of the five
# components. The price has a closed form as well, :eq:`s-tau-price`:

least = np.maximum(share, 0.8)
saved = eigenvalues[:D] * (least - share) / 2
price = np.sum(kl_floor(least) - rate - saved)
print(f"price of tau 0.8: {price:.3f} nats")

# %%
# The actual price is lower, because the formula lets each component represent
# one axis only. Training finds a better solution: where the floor binds,
# components with little information of their own help to transmit the strong
# axes.
#
# Small batches
# -------------
# So far every batch was the whole data set. In practice a batch is a few
# dozen rows, and its mean and variance are only estimates. A code that is
# standardized with them depends on the other rows in the batch. BN-VAE
# therefore trains with *running* moments, which average over many batches;
# only the gradient is that of the batch. :doc:`/theory/noise` explains this.
#
# To see the effect, we undo it: one line makes a posterior that trains with
# the moments of the batch alone. The components above are too noisy for a
# visible effect. Those of the breast cancer data are not: its thirty columns
# are strongly correlated.

from copy import deepcopy

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skvae.posteriors import MomentPosterior


class OfTheBatch(MomentPosterior):
    renormalized = False


cells, cells_test = train_test_split(
    StandardScaler().fit_transform(load_breast_cancer().data),
    random_state=0,
)
factors = FactorAnalysis(D, svd_method="lapack").fit(cells)
kinds = {
    "moments of the batch": OfTheBatch,
    "running moments": MomentPosterior,
}
small = {
    name: BNVAEEstimator(
        D,
        tau=0.1,
        posterior=kind,
        hidden_layer_sizes=(),
        batch_size=32,
        max_iter=60,
        random_state=0,
    ).fit(cells)
    for name, kind in kinds.items()
}

# %%
# Now follow five rows. The weights do not change, and the model is in
# training mode. Each batch contains the five rows and 27 other rows,
# different ones each time. The figure shows the code of the most precise
# component:

x = torch.from_numpy(cells)


@torch.no_grad()
def codes_in_batches(vae, n_batches=150):
    """Codes of five rows in many batches, and their noise."""
    best = vae.kl_per_component_.argmax()
    q = vae.module_.posterior(x)
    order = q.loc[:, best].argsort()
    watched = order[[20, 120, 220, 320, 400]]
    module = deepcopy(vae.module_).train()
    codes = []
    for _ in range(n_batches):
        others = rng.choice(len(x), 27, replace=False)
        batch = torch.cat([x[watched], x[others]])
        codes.append(module.posterior(batch).loc[:5, best])
    # The running moments need some batches to come to rest.
    at_rest = torch.stack(codes[50:])
    return at_rest.numpy(), q.scale[watched, best].numpy()


figure, axes = plt.subplots(
    1, 2, figsize=(8, 3.6), sharey=True, layout="constrained"
)
print(f"{'':21} moves by  own noise  rate  held out")
print(f"{'FactorAnalysis':21}{factors.score(cells_test):36.2f}")
for ax, (name, vae) in zip(axes, small.items(), strict=True):
    codes, noise = codes_in_batches(vae)
    ax.plot(codes, lw=1)
    for j in range(5):
        mean = codes[:, j].mean()
        ax.axhspan(
            mean - noise[j],
            mean + noise[j],
            color=f"C{j}",
            alpha=0.25,
            lw=0,
        )
    ax.set(title=name, xlabel="batch")
    moves = np.sqrt(codes.var(axis=0).mean())
    print(
        f"{name:21}{moves:9.3f}{np.sqrt(np.mean(noise**2)):11.3f}"
        f"{vae.kl_per_component_.max():6.2f}"
        f"{vae.score(cells_test):10.2f}"
    )
_ = axes[0].set_ylabel("code, most precise component")

# %%
# Each line is a row, and the band around it is the noise of its posterior. On
# the left, a code moves by several times that noise, because of the other
# rows in the batch. No decoder can use a precision that the encoder does not
# have. So training, which starts at the factors, has chosen a noisier code,
# of 3.6 nats, and the held-out score is more than 4 nats below that of factor
# analysis. With running moments, a code moves an eighth as far, though still
# by more than its noise, which is smaller, too: the component carries 4.7
# nats. The score is that of factor analysis to within a tenth of a nat.
#
# **What follows.** Collapse of a component can be right: below the noise its
# best rate is 0. Tau costs nothing where the data contain more information
# than it asks for, and elsewhere its price can be bounded in advance. With
# hidden layers none of this is exact, but the picture of a water line remains
# useful. A precise code needs running moments if the batches are small.
# :doc:`/theory/pca` derives all of this.
