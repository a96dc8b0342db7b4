"""
Every tau from one training run
===============================

Which tau? So far each answer took one more fit: the curves of
:doc:`/tutorials/4_inside/plot_4_tau_dial` took ten. Here one training run
gives a model for a whole range of tau. You set tau afterwards, the floor
holds at every value, and a search needs one fit per fold.
"""

# %%
# One fit for a range
# -------------------
# Give ``tau`` as two numbers, the lowest and the highest. Each batch uses a
# different tau between them, and some of the weights are functions of it:
# :doc:`/every_tau` explains which. After the fit, the model is set to the
# middle of the range on the logit scale.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator

plt.rc("axes.spines", top=False, right=False)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)
settings = {
    "n_components": 16,
    "likelihood": "bernoulli",
    "hidden_layer_sizes": (256,),
    "max_iter": 60,
    "random_state": 0,
}

vae = BNVAEEstimator(tau=(0.05, 0.95), **settings).fit(X_train)
print(f"parameter: tau {vae.tau}")
print(f"stands at: tau_ {vae.tau_:.2f}, floor {vae.kl_floor_:.2f} nats")

# %%
# Turn it
# -------
# ``at_tau`` returns another fitted estimator and leaves the first unchanged.
# It needs no training, only the values of the functions at that tau. The
# figure shows held-out digits (top row) and their reconstructions from codes
# with a low, a medium and a high rate.

shown = X_test[:10]
rows = {"data": shown}
for tau in (0.05, 0.5, 0.95):
    moved = vae.at_tau(tau)
    decoded = moved.inverse_transform(moved.transform(shown))
    rows[f"tau {moved.tau_:g}"] = decoded
print(f"the first stands where it stood: tau_ {vae.tau_:.2f}")

figure, axes = plt.subplots(4, figsize=(7, 3), layout="constrained")
for ax, (name, images) in zip(axes, rows.items(), strict=True):
    ax.imshow(np.hstack(images.reshape(-1, 8, 8)), cmap="gray_r")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_ylabel(name, rotation=0, ha="right", va="center")

# %%
# The floor holds at every tau
# ----------------------------
# It holds not just at the ends or on average. The moments of all training
# rows are known as functions of tau, so the code has the moments of the prior
# at every tau. Here is the mean KL of the training rows, with the floor:

from skvae.bounds import gaussian_kl

taus = np.linspace(0.05, 0.95, 31)
moved = [vae.at_tau(tau) for tau in taus]
kl = np.array(
    [gaussian_kl(*m.encode(X_train)).sum(axis=1).mean() for m in moved]
)
floor = np.array([m.kl_floor_ for m in moved])
print(f"floor held at {np.sum(kl >= floor)} of {len(taus)} taus")
print(f"least KL above it: {np.min(kl - floor):.4f} nats")

figure, axes = plt.subplots(
    1, 2, figsize=(9, 3.4), sharex=True, layout="constrained"
)
axes[0].plot(taus, kl, "o-", color="tab:blue", ms=4, label="KL")
axes[0].plot(taus, floor, "--", color="tab:red", label="floor")
axes[0].set_ylabel("nats per row")
axes[0].legend(frameon=False)
axes[1].plot(taus, kl - floor, "o-", color="tab:blue", ms=4)
axes[1].axhline(0, ls="--", color="tab:red")
axes[1].set_ylabel("KL less floor (nats per row)")
for ax in axes:
    ax.set(xlabel="tau", xlim=(0, 1))

# %%
# On the left, the code says more than it has to, and tau changes little. On
# the right, the KL is just above the floor: there, tau determines it.
#
# What sharing costs
# ------------------
# :func:`~skvae.rate_distortion_curve` follows one model as tau changes. The
# rings are three other models, each trained for one tau only (the lowest, the
# middle and the highest), on the same rows, with the same networks and the
# same number of epochs. Rate and distortion are for held-out rows.

from skvae import RateDistortionDisplay, rate_distortion_curve

few = [0.05, 0.5, 0.95]
apart = [
    BNVAEEstimator(tau=tau, **settings).fit(X_train) for tau in few
]
rates = np.array(
    [gaussian_kl(*m.encode(X_test)).sum(axis=1).mean() for m in apart]
)
elbos = np.array(
    [m.score_samples(X_test, bound="elbo").mean() for m in apart]
)

figure, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
ax.plot(
    rates,
    -elbos - rates,
    "o",
    color="black",
    mfc="none",
    ms=11,
    label="a fit for one tau",
)
curve = rate_distortion_curve(
    vae, X_test, [0.05, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
)
display = RateDistortionDisplay.from_curve(
    curve, ax=ax, label="one fit for all"
)
# sphinx_gallery_thumbnail_number = 1

# %%
# The ELBO is constant along a gray line, so the cost of sharing is the
# distance of a ring from the dot of the same tau *across* the lines. In
# numbers, where a negative loss is a gain:

of_one = rate_distortion_curve(vae, X_test, few).elbo
print(" tau   ELBO apart   of one    loss")
for row in zip(few, elbos, of_one, elbos - of_one, strict=True):
    print("{:4.2f}{:13.2f}{:9.2f}{:8.2f}".format(*row))

# %%
# Compare the last column with the effect of tau itself on the ELBO, from one
# line to the next. :doc:`/every_tau` has tables for more data sets, longer
# training and several seeds, and the time that the one fit takes.
#
# Choose
# ------
# To choose tau by cross-validation, ``BNVAEEstimatorCV`` fits each fold once
# for the range and scores it at each tau; finally it fits the range to all
# rows. ``GridSearchCV`` would fit each fold again for each tau. With a final
# estimator, the score is that of the final estimator on the code.

from skvae import BNVAEEstimatorCV

search = BNVAEEstimatorCV(
    BNVAEEstimator(**settings),
    taus=10,
    cv=3,
    final_estimator=LogisticRegression(max_iter=3000),
).fit(X_train, y_train)
best = search.best_params_["tau"]
tried = search.cv_results_["param_tau"].data
n_splits = search.n_splits_
print(f"fits here: {n_splits} + 1 = {n_splits + 1}")
print(
    f"fits of GridSearchCV: {len(tried)} x {n_splits} + 1 = "
    f"{len(tried) * n_splits + 1}"
)

mean = search.cv_results_["mean_test_score"]
error = search.cv_results_["std_test_score"] / np.sqrt(n_splits - 1)
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
ax.errorbar(tried, mean, error, fmt="o-", color="tab:blue", capsize=3)
ax.axvline(best, ls=":", color="0.4")
ax.annotate(
    f"chosen: {best:.2f}",
    (best, 0.04),
    xycoords=("data", "axes fraction"),
    xytext=(5, 0),
    textcoords="offset points",
)
_ = ax.set(xlabel="tau", ylabel="accuracy, rows left out", xlim=(0, 1))

# %%
# The bars are standard errors over the folds. Where they overlap, the choice
# is partly chance, and you may follow your own preference: a lower tau keeps
# more of the ELBO. ``best_estimator_`` is the fit to all rows at the chosen
# tau, and can still be moved to another one.

classifier = LogisticRegression(max_iter=3000)
for model in (search.best_estimator_, search.at_tau(0.05)):
    classifier.fit(model.transform(X_train), y_train)
    accuracy = classifier.score(model.transform(X_test), y_test)
    elbo = model.score_samples(X_test, bound="elbo").mean()
    print(
        f"tau {model.tau_:.2f}: held-out accuracy {accuracy:.3f}, "
        f"ELBO {elbo:.2f}"
    )

# %%
# **What follows.** Give a range if you do not know tau, or if you need
# several: one for a classifier, one to sample from. If you know tau and need
# no other, a fit for that tau alone is simpler. :doc:`/guide/tau` gives a
# recipe.
