"""
Tau as a dial
=============

A code may say much or little about a row. ``tau`` sets the least that it
says, in nats if you like. This page moves ``tau`` from one end to the other
and looks at three things: the rate of the code, the distortion of what is
decoded from it, and the accuracy of a classifier on it.
"""

# %%
# From a share to nats
# --------------------
# ``tau`` is a lower limit on the share of signal in a component's unit second
# moment. A channel with that share of signal carries
# :math:`-\frac{1}{2} \log(1 - \tau)` nats, and that is the floor of the KL:
# :eq:`s-floor`. :func:`skvae.bounds.kl_floor` computes it and
# :func:`skvae.bounds.tau_for_rate` is its inverse.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator
from skvae.bounds import kl_floor, tau_for_rate

plt.rc("axes.spines", top=False, right=False)
D = 16

for rate in (1, 2, 4, 8, 16):
    tau = tau_for_rate(rate, D)
    print(f"{rate:2} nats in {D} components: tau {tau:.3f}")

# %%
# Turn it
# -------
# The data are the digits again, with one fit for each tau. Rate and
# distortion are those of the training rows, for which the floor is
# guaranteed. Every fit stores them: the rate is the mean KL, and the
# distortion, the expected :math:`-\log p(x|z)`, is the rest of the negative
# ELBO.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)


def measure(**settings):
    """Rate, distortion, held-out bound and accuracy of one fit."""
    vae = BNVAEEstimator(
        D,
        likelihood="bernoulli",
        hidden_layer_sizes=(256,),
        max_iter=40,
        random_state=0,
        **settings,
    ).fit(X_train)
    rate = vae.kl_per_component_.sum()
    classifier = LogisticRegression(max_iter=3000)
    classifier.fit(vae.transform(X_train), y_train)
    accuracy = classifier.score(vae.transform(X_test), y_test)
    return rate, -(vae.lower_bound_ + rate), vae.score(X_test), accuracy


taus = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, 0.95])
sweep = np.array([measure(tau=tau) for tau in taus])
plain = measure(posterior="gaussian")
rate, distortion, bound, accuracy = sweep.T

figure, axes = plt.subplots(
    2, 2, figsize=(9, 6), sharex=True, layout="constrained"
)
names = (
    "rate (nats)",
    "distortion (nats)",
    "held-out importance bound (nats)",
    "held-out accuracy",
)
for ax, values, flat, name in zip(
    axes.flat, sweep.T, plain, names, strict=True
):
    ax.axhline(flat, color="tab:orange", label="plain VAE")
    ax.plot(taus, values, "o-", color="tab:blue", label="BN-VAE", ms=5)
    ax.set_ylabel(name)
grid = np.linspace(0, 0.96, 200)
axes[0, 0].plot(grid, kl_floor(grid, D), "k--", lw=1, label="floor")
axes[0, 0].legend(frameon=False)
for ax in axes[1]:
    ax.set(xlabel="tau", xlim=(0, 1))

# sphinx_gallery_thumbnail_number = 2

# %%
# Read the figure from the left. As long as the floor is below the rate that
# training would choose anyway, it hardly binds, and BN-VAE is nearly a plain
# VAE, except that all components are alive. From about 0.3 on, it binds. The
# rate follows the floor, the distortion falls, and the classifier improves;
# up to 0.5 the density loses little. At the right end, each component must
# carry more than the digits contain. The bound falls steeply, with no clear
# gain in accuracy (which has an error of about one percent here, on 450
# rows).
#
# The plane
# ---------
# Information theory plots rate against distortion. The ELBO is constant along
# a gray line: a nat of rate saves a nat of distortion. Where the curve is
# flatter than that, more rate lowers the ELBO. You may still want it for
# other reasons, such as a classifier.

figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
for elbo in range(-44, -19, 2):
    ax.axline((0, -elbo), slope=-1, color="0.88", lw=0.8, zorder=0)
ax.plot(rate, distortion, "o-", color="tab:blue", label="BN-VAE")
for index in range(3, len(taus)):
    ax.annotate(
        f"{taus[index]:g}" if index > 3 else "tau up to 0.3",
        (rate[index], distortion[index]),
        xytext=(6, 6),
        textcoords="offset points",
        fontsize=9,
    )
ax.plot(*plain[:2], "o", color="tab:orange", label="plain VAE", ms=8)
ax.set(
    xlabel="rate (nats)",
    ylabel="distortion (nats)",
    xlim=(0, 26),
    ylim=(12, 25),
)
_ = ax.legend(frameon=False, title="grey: equal ELBO")

# %%
# Ask for a rate
# --------------
# If the code is to be stored or sent, it is natural to specify nats. Here is
# the same request for 4, 8 and 12 components: the total stays the same, and
# the share changes.

print("components    tau   floor   rate  accuracy")
for d in (4, 8, 12):
    vae = BNVAEEstimator(
        d,
        tau=tau_for_rate(5.0, d),
        likelihood="bernoulli",
        hidden_layer_sizes=(256,),
        max_iter=40,
        random_state=0,
    ).fit(X_train)
    classifier = LogisticRegression(max_iter=3000)
    classifier.fit(vae.transform(X_train), y_train)
    print(
        f"{d:10}{vae.tau:7.3f}{vae.kl_floor_:8.2f}"
        f"{vae.kl_per_component_.sum():7.2f}"
        f"{classifier.score(vae.transform(X_test), y_test):10.3f}"
    )

# %%
# **What follows.** Start at 0.5, go higher as long as the task gains, and go
# lower if the density matters. If the rate is on its floor, tau determined
# it; if the rate is above, the data did. :doc:`/guide/tau` gives a recipe,
# :doc:`/theory/pca` computes the price of tau exactly in the linear case, and
# :doc:`/tutorials/4_inside/plot_6_pca_to_vae` shows it.
