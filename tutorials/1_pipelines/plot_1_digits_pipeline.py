"""
Digits in a pipeline
====================

First steps with :class:`~skvae.BNVAEEstimator`: learn a code of 16 numbers
for pictures of 64 pixels, use it as input of a classifier, and search for the
most important setting, ``tau``, like for any other setting in scikit-learn.
You need no knowledge of variational autoencoders (VAEs); the :doc:`/glossary`
explains the terms.
"""

# %%
# The data
# --------
# The data are handwritten digits of 8 by 8 pixels. Each pixel is a gray level
# from 0 to 16. Divided by 16 they lie between 0 and 1, as the likelihood
# ``"bernoulli"`` requires: it reads a gray level as the probability of ink. No
# other scaling is needed.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

plt.rc("axes.spines", top=False, right=False)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)
print(f"{len(X_train)} rows to train on, {len(X_test)} to test on")

# %%
# A pipeline
# ----------
# The estimator is a transformer. ``fit`` ignores the labels and trains two
# networks: an *encoder* from a row to its code, and a *decoder* from a code
# back to the row. ``transform`` returns the code, and the classifier takes it
# as input.

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skvae import BNVAEEstimator

vae = BNVAEEstimator(
    n_components=16,
    likelihood="bernoulli",
    max_iter=30,  # epochs
    random_state=0,
)
pipeline = make_pipeline(vae, LogisticRegression(max_iter=2000))
pipeline.fit(X_train, y_train)
print(f"held-out accuracy: {pipeline.score(X_test, y_test):.3f}")

# %%
# Is that good? The usual method to get 16 numbers is PCA:

from sklearn.decomposition import PCA

linear = make_pipeline(
    PCA(16, random_state=0), LogisticRegression(max_iter=2000)
)
linear.fit(X_train, y_train)
print(f"with PCA: {linear.score(X_test, y_test):.3f}")

# %%
# The VAE is as good, but not better: 16 principal components keep almost
# everything in these small pictures. With a smaller code the result is
# different (:doc:`/tutorials/1_pipelines/plot_2_few_labels`), and a VAE
# provides more than a code. Look at what it has learned.
#
# What the code keeps
# -------------------
# ``inverse_transform`` decodes. The top row shows ten rows that the model has
# never seen, the bottom row what it decodes from their codes. Single pixels
# are lost, but the digit and its slant remain.

fitted = pipeline[0]
code = fitted.transform(X_test)
some = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
pictures = np.stack(
    [X_test[some], fitted.inverse_transform(code[some])]
)

figure, axes = plt.subplots(2, 10, figsize=(6.4, 1.8))
figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02)
for ax, picture in zip(
    axes.flat, pictures.reshape(20, 8, 8), strict=True
):
    ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    ax.set_axis_off()
axes[0, 0].set_title("held-out rows", loc="left", fontsize=10)
_ = axes[1, 0].set_title(
    "decoded from 16 numbers", loc="left", fontsize=10
)

# %%
# Watch a fit
# -----------
# Progress reporting uses scikit-learn's callbacks, which also work inside
# pipelines and searches. In a terminal, with the package rich installed,
# ``vae.set_callbacks(ProgressBar())`` shows a progress bar. A
# :class:`~sklearn.callback.ScoringMonitor` records the score after each epoch
# and prints nothing.

from sklearn.base import clone
from sklearn.callback import ScoringMonitor

monitor = ScoringMonitor(
    scoring={"bound": lambda vae, X, y: vae.score(X)}
)
_ = clone(vae).set_callbacks(monitor).fit(X_train)
entries = monitor.get_logs().data
scores = [e["bound"] for e in entries if e["task_name"] == "epoch"]
print("nats per row, after epochs 1, 10 and 30:")
print(f"{scores[0]:.2f}, {scores[9]:.2f}, {scores[-1]:.2f}")

# %%
# The score is a lower bound on the mean log-likelihood of a row, in nats
# (natural logarithms): larger is better, and negative is normal.
#
# Search for tau
# --------------
# A plain VAE may switch off parts of its code, at worst all of it. Here a
# share of at least ``tau`` of each component must be *signal*; the rest is
# noise that training adds. Which share is good for the classifier?
# :class:`~sklearn.model_selection.GridSearchCV` can find out. The name of the
# parameter consists of the step's name, two underscores, and ``tau``.

from sklearn.model_selection import GridSearchCV

taus = [0.02, 0.1, 0.3, 0.5, 0.9]
search = GridSearchCV(
    pipeline,
    {"bnvaeestimator__tau": taus},
    cv=3,
    n_jobs=1,  # -1 for all cores
).fit(X_train, y_train)
best = search.best_params_["bnvaeestimator__tau"]
print(
    f"best tau {best}, accuracy {search.best_score_:.3f} in the folds,"
)
print(f"{search.score(X_test, y_test):.3f} on the rows held out")

# %%
# What tau does
# -------------
# The share of signal determines how much information a component carries *at
# least*. The measure is the Kullback-Leibler divergence (KL) from the
# distribution of a row's code to the prior, the distribution of codes before
# any row has been seen. Its mean over the training rows is
# ``kl_per_component_``, in nats. Its smallest possible value is called the
# floor.

shown = {
    tau: clone(vae).set_params(tau=tau).fit(X_train)
    for tau in (0.02, 0.5, 0.9)
}

figure, axes = plt.subplots(
    2, 2, figsize=(7, 5.4), layout="constrained"
)
axes = axes.ravel()
for ax, (tau, model) in zip(axes, shown.items(), strict=False):
    kl = np.sort(model.kl_per_component_)[::-1]
    ax.bar(np.arange(1, 17), kl, color="tab:blue")
    floor = model.kl_floor_ / 16
    ax.axhline(floor, color="black", linestyle="--", label="floor")
    ax.set(
        title=f"tau = {tau}", ylim=(0, 1.3), xlabel="component, sorted"
    )
    ax.set_ylabel("KL (nats)")
axes[0].legend(frameon=False)

results = search.cv_results_
axes[3].errorbar(
    taus,
    results["mean_test_score"],
    results["std_test_score"],
    color="tab:blue",
    marker="o",
    capsize=3,
)
_ = axes[3].set(
    title="search over tau",
    xlabel="tau",
    ylabel="accuracy in the folds",
    xlim=(0, 1),
)
# sphinx_gallery_thumbnail_number = 1

# %%
# With ``tau`` near 0, each component carries only what is worthwhile for
# training, which is little. With 0.5, the default, each must carry half a
# bit, 0.35 nats, and the classifier gets better. With 0.9 it is three times
# as much, with hardly any gain: these pictures contain no more, and whatever
# the code must carry beyond that makes the fit worse.

print("  tau    KL  floor  held-out score")
for tau, model in shown.items():
    kl, floor = model.kl_per_component_.sum(), model.kl_floor_
    print(
        f"{tau:5.2f} {kl:5.2f} {floor:6.2f} {model.score(X_test):15.2f}"
    )

# %%
# **What follows.** Use the estimator like any transformer, start with the
# default ``tau``, and search over it by the score of the *task*. Do not use
# the score of the VAE itself for this search: it never favors more
# information than the data require. :doc:`/guide/tau` has a recipe,
# :doc:`/theory/floor` derives the floor, and the next tutorial shows what it
# protects against.
