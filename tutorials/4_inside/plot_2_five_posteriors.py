"""
Five posteriors side by side
============================

The posterior layer turns the encoder's features into a distribution of the
code. The five schemes of this library differ only in this layer. Here each of
them gets the same digits, the same networks and the same seed.
"""

# %%
# The five
# --------
# ``"gaussian"`` is the plain VAE: mean and standard deviation are free, and
# ``tau`` has no effect. ``"batchnorm-mean"`` is the paper's scheme
# (:doc:`/theory/batchnorm`): batch normalization of the mean, where ``tau``
# is the squared scale. ``"batchnorm"`` is the article's scheme
# (:doc:`/theory/moments`): it normalizes the standard deviation too, so that
# the second moments sum to 1. ``"moment"``, the default, keeps these moments
# with a standard deviation that does not cross zero (:doc:`/theory/std`).
# ``"layernorm"`` normalizes within each row, and is included to show why this
# does not work (:doc:`/theory/layernorm`).

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import BNVAEEstimator

plt.rc("axes.spines", top=False, right=False)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)
colors = {
    "gaussian": "tab:orange",
    "batchnorm-mean": "tab:green",
    "batchnorm": "tab:purple",
    "moment": "tab:blue",
    "layernorm": "tab:red",
}
fitted = {}
for posterior in colors:
    fitted[posterior] = BNVAEEstimator(
        16,
        tau=0.5,
        posterior=posterior,
        likelihood="bernoulli",
        hidden_layer_sizes=(256, 256),
        max_iter=40,
        random_state=0,
    ).fit(X_train)

# %%
# In numbers
# ----------
# *Rate* is the mean KL of the training rows, summed over all 16 components,
# and *floor* is the guaranteed minimum. *ELBO* and *bound*, the importance
# bound with 128 draws, are for held-out rows. So is the accuracy of five
# nearest neighbors on the means. PCA is hard to beat by that measure, because
# nearest neighbors suit such small pictures. *Live* counts the components
# whose mean varies over the held-out rows with a variance above 0.01.
# Information is in nats per row.

from sklearn.decomposition import PCA

neighbors = KNeighborsClassifier(5)


def accuracy_of(encoder):
    """Of nearest neighbors on the code of the held-out rows."""
    neighbors.fit(encoder.transform(X_train), y_train)
    return neighbors.score(encoder.transform(X_test), y_test)


table = {}
print(f"{'':15} rate  floor    ELBO   bound  accuracy  live")
for posterior, vae in fitted.items():
    accuracy = accuracy_of(vae)
    elbo = vae.score_samples(X_test, 64, bound="elbo").mean()
    bound = vae.score_samples(X_test, 128).mean()
    rate = vae.kl_per_component_.sum()
    live = (vae.transform(X_test).var(axis=0) > 0.01).sum()
    table[posterior] = rate, elbo, bound, accuracy
    print(
        f"{posterior:15}{rate:5.1f}{vae.kl_floor_:7.2f}{elbo:8.2f}"
        f"{bound:8.2f}{accuracy:10.3f}{live:6}"
    )
linear = PCA(16, random_state=0).fit(X_train)
print(f"{'PCA':15}{accuracy_of(linear):38.3f}")

# %%
# Component by component
# ----------------------
# The KL of each component, sorted. The dashed line is the floor of a single
# component. The floor of layer normalization holds only for the sum; the
# dotted line is a sixteenth of it.

figure, axes = plt.subplots(
    1, 5, figsize=(11, 2.8), sharey=True, layout="constrained"
)
for ax, (posterior, vae) in zip(axes, fitted.items(), strict=True):
    kl = np.sort(vae.kl_per_component_)[::-1]
    ax.bar(np.arange(1, 17), kl, color=colors[posterior])
    style = ":" if posterior == "layernorm" else "--"
    if vae.kl_floor_:
        ax.axhline(vae.kl_floor_ / 16, color="black", linestyle=style)
    ax.set(title=posterior, xlabel="component, sorted", xticks=[1, 16])
_ = axes[0].set_ylabel("KL (nats)")

# %%
# The plain VAE puts nearly everything into three components and lets the
# others fade. Every other scheme uses all 16. ``"batchnorm-mean"`` and
# ``"moment"`` stay close to their floors. ``"batchnorm"`` has the same floor
# as ``"moment"`` and is far above it. Its standard deviation changes sign
# over the rows; near zero it claims a useless precision, which costs rate
# (:eq:`s-shape-cost`). ``"layernorm"`` does well here, because the decoder of
# digits needs the code. But nothing guarantees that any given component is
# used, and :doc:`/tutorials/4_inside/plot_3_why_not_layer_norm` shows it
# fail.
#
# Cost and gain
# -------------
# Points to the right have a better density, and points at the top a better
# code.

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for posterior, (_, elbo, bound, accuracy) in table.items():
    color = colors[posterior]
    ax.plot([elbo, bound], [accuracy] * 2, color=color, linewidth=1.5)
    ax.plot(elbo, accuracy, "o", color=color, label=posterior, ms=9)
    ax.plot(bound, accuracy, "|", color=color, ms=14, mew=2)
ax.set(
    xlabel="held-out ELBO (dot) and importance bound (bar), nats",
    ylabel="5-NN accuracy",
)
_ = ax.legend(frameon=False, loc="lower left")
# sphinx_gallery_thumbnail_number = 2

# %%
# A binding floor lowers the ELBO, as it must. The importance bound, which
# forgives an imprecise posterior, differs much less: as a *model of the
# rows*, ``"moment"`` is about as good as the plain VAE, with a better code.
# The length of a line shows how imprecise the posterior is, and
# ``"batchnorm"`` has by far the longest.
#
# **What follows.** Use ``"moment"``. Use ``"batchnorm-mean"`` or
# ``"batchnorm"`` to reproduce the paper or the article, and ``"gaussian"`` as
# the baseline that every comparison needs.
# :doc:`/tutorials/4_inside/plot_4_tau_dial` makes the same comparison for
# ``tau`` instead of the schemes. :doc:`/guide/score` explains how far to
# trust such numbers.
