"""
Pictures for a paper
====================

The previous tutorials drew their figures by hand. For common figures there
are *displays*, as in scikit-learn: ``from_estimator`` computes and draws,
``plot`` draws again, on your own axes if you like, and the artists remain
available as attributes. Blue is the model, dashed red the floor, and grey the
prior.
"""

# %%
# A model to look at
# ------------------
# The model is fitted to the digits with eight components.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)


def fit(**settings):
    """A fit on the digits."""
    settings = {"n_components": 8, "max_iter": 40} | settings
    return BNVAEEstimator(
        likelihood="bernoulli",
        hidden_layer_sizes=(256,),
        random_state=0,
        **settings,
    ).fit(X_train)


vae = fit()
plain = fit(posterior="gaussian", n_components=16)
print(f"BN-VAE: {vae.n_iter_} epochs, {vae.lower_bound_:.2f} nats")

# %%
# Did it train?
# -------------
# The negative ELBO is the sum of rate and distortion. A rate that falls to
# zero is a collapse; here it cannot fall below the dashed line.

from skvae import TrainingCurveDisplay

_ = TrainingCurveDisplay.from_estimator(vae)

# %%
# Is the code alive?
# ------------------
# The KL of each component, largest first. If you pass ``ax``, two models can
# share a figure. Dead components of the plain VAE are gray, and the legend
# counts them.

from skvae import KLDisplay

figure, axes = plt.subplots(
    1, 2, figsize=(9, 3.2), layout="constrained"
)
for ax, (name, model) in zip(
    axes, {"BN-VAE": vae, "plain VAE": plain}.items(), strict=True
):
    KLDisplay.from_estimator(model, ax=ax)
    ax.set_title(name)
# sphinx_gallery_thumbnail_number = 5

# %%
# Do samples from the prior make sense?
# -------------------------------------
# They do if the codes of the data are distributed like the prior. The
# *aggregated posterior*, the mixture of the posteriors of all rows, is drawn
# exactly, with one curve per component. The component farthest from the prior
# is named.

from skvae import AggregatedPosteriorDisplay

_ = AggregatedPosteriorDisplay.from_estimator(vae, X_test)

# %%
# What is where?
# --------------
# A latent map shows the two components with the largest KL, unless
# ``components`` says otherwise. Strings and a few whole numbers are treated
# as classes, everything else as a quantity. The circles are one and two
# standard deviations of the prior.

from skvae import LatentMapDisplay

figure, axes = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained"
)
LatentMapDisplay.from_estimator(vae, X_test, y=y_test, ax=axes[0])
ink = X_test.mean(axis=1)
_ = LatentMapDisplay.from_estimator(vae, X_test, y=ink, ax=axes[1])
axes[0].set_title("by digit")
_ = axes[1].set_title("by ink")

# %%
# What does a component do?
# -------------------------
# A traversal moves one component at a time through the quantiles of the prior
# while the others stay at the code of a row, here a held-out 3. The rows must
# be images of the given shape.

from skvae import TraversalDisplay

three = X_test[y_test == 3][:1]
display = TraversalDisplay.from_estimator(
    vae, three, image_shape=(8, 8), n_shown=5
)

# %%
# Reconstructions show what the code keeps:

from skvae import ReconstructionDisplay

_ = ReconstructionDisplay.from_estimator(
    vae, X_test[:20], image_shape=(8, 8)
)

# %%
# Which tau?
# ----------
# Several fits make a curve in the plane of rate and distortion. The ELBO is
# constant along a gray line. A second display drawn on the same axes shares
# those lines: the plain VAE is a single point.

from skvae import RateDistortionDisplay, TauTableDisplay

fits = [fit(tau=tau, max_iter=25) for tau in (0.1, 0.3, 0.5, 0.7, 0.9)]
display = RateDistortionDisplay.from_estimators(
    fits, X_test, label="BN-VAE"
)
_ = RateDistortionDisplay.from_estimators(
    [fit(posterior="gaussian", max_iter=25)],
    X_test,
    ax=display.ax_,
    color="tab:orange",
    label="plain VAE",
)

# %%
# The same in numbers, with the accuracy of a classifier on each code.

from sklearn.linear_model import LogisticRegression

accuracy = [
    LogisticRegression(max_iter=3000)
    .fit(model.transform(X_train), y_train)
    .score(model.transform(X_test), y_test)
    for model in fits
]
table = TauTableDisplay.from_estimators(fits, X_test, accuracy=accuracy)

# %%
# Change the appearance
# ---------------------
# Further arguments go to the matplotlib function that draws the data. Artists
# are attributes that end in an underscore. The data of a display are
# attributes without an underscore.

display = KLDisplay.from_estimator(vae, color="tab:purple")
display.ax_.set_title("in the colors of the article's layer")
print("nats, the largest first:", display.kl[display.order].round(2))

# %%
# **What follows.** While working, one line makes a figure; for the final
# version, adjust the artists. Displays also take arrays, so the same classes
# draw figures of your own models: see the constructors and ``from_arrays``.
