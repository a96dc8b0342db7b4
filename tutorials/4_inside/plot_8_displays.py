"""
Pictures for a paper
====================

The tutorials before this one drew their figures by hand. For the usual ones
there are *displays*, as scikit-learn has them: ``from_estimator`` computes
and draws, ``plot`` draws again, into axes of yours if you like, and the
artists stay at hand. Blue is the model, dashed red the floor, grey the prior.
"""

# %%
# A model to look at
# ------------------
# Digits, eight components, and a tenth of the rows set aside to see when to
# stop.

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


vae = fit(early_stopping=True)
plain = fit(posterior="gaussian", n_components=16)
print(f"BN-VAE: {vae.n_iter_} epochs, {vae.lower_bound_:.2f} nats")

# %%
# Did it train?
# -------------
# The ELBO is what rate and distortion take away together. A rate that sinks
# to zero is a collapse; here it cannot sink below the dashed line.

from skvae import TrainingCurveDisplay

_ = TrainingCurveDisplay.from_estimator(vae)

# %%
# Is the code alive?
# ------------------
# The KL of each component, the largest first. With given ``ax`` two models
# share a figure. A component that the plain VAE has let die is grey, if
# there is one, and the legend counts.

from skvae import KLDisplay

figure, axes = plt.subplots(
    1, 2, figsize=(9, 3.2), layout="constrained"
)
for ax, (name, model) in zip(
    axes, {"BN-VAE": vae, "plain VAE": plain}.items(), strict=True
):
    KLDisplay.from_estimator(model, ax=ax)
    ax.set_title(name)
# sphinx_gallery_thumbnail_number = 2

# %%
# Do samples from the prior make sense?
# -------------------------------------
# They do if the codes of the data are where the prior is. The *aggregated
# posterior*, the mixture of the posteriors of all rows, is drawn exactly, one
# curve for each component, and the one farthest from the prior is named.

from skvae import AggregatedPosteriorDisplay

_ = AggregatedPosteriorDisplay.from_estimator(vae, X_test)

# %%
# What is where?
# --------------
# A latent map shows the two components with the largest KL, unless
# ``components`` says otherwise. Strings and a few whole numbers are
# classes, anything else is an amount; the circles are the prior's one and two
# standard deviations.

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
# A traversal lets one component at a time walk through the quantiles of the
# prior while the others stay at the code of a row, here a held-out 3. Rows
# have to be pictures, of the shape given.

from skvae import TraversalDisplay

three = X_test[y_test == 3][:1]
display = TraversalDisplay.from_estimator(
    vae, three, image_shape=(8, 8), n_shown=5
)

# %%
# Reconstructions show what the code has kept:

from skvae import ReconstructionDisplay

_ = ReconstructionDisplay.from_estimator(
    vae, X_test[:20], image_shape=(8, 8)
)

# %%
# Which tau?
# ----------
# Several fits make a curve in the plane of rate and distortion. Along a grey
# line the ELBO is the same. Another display drawn into the same axes shares
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
# The same in numbers, with what a classifier makes of each code.

from sklearn.linear_model import LogisticRegression

accuracy = [
    LogisticRegression(max_iter=3000)
    .fit(model.transform(X_train), y_train)
    .score(model.transform(X_test), y_test)
    for model in fits
]
table = TauTableDisplay.from_estimators(fits, X_test, accuracy=accuracy)

# %%
# Other looks
# -----------
# Further arguments go to the matplotlib function that draws the data, and
# artists are attributes that end in an underscore. What a display draws is
# an attribute too, without the underscore.

display = KLDisplay.from_estimator(vae, color="tab:purple")
display.ax_.set_title("in the colours of the article's layer")
print("nats, the largest first:", display.kl[display.order].round(2))

# %%
# **What follows.** One line a picture, while working; artists to adjust, for
# the last version. Displays take arrays as well, so the pictures of a model
# of your own come from the same classes: see the constructors, and
# ``from_arrays``.
