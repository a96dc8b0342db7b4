"""
Images
======

Convolutional networks in place of dense ones: reconstructions, samples and
traversals of small images whose factors are known, and a decoder that is
told one of the factors.
"""

# %%
# Sprites
# -------
# A disc, a ring or a cross, somewhere in 16 by 16 pixels, of some size.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skvae.datasets import SPRITE_FACTORS, make_sprites

X, factors = make_sprites(1600, size=16, random_state=0)
X, X_test, factors, factors_test = train_test_split(
    X, factors, test_size=400, random_state=0
)


def draw(ax, images, n_rows):
    """Images of 16 by 16 pixels in rows."""
    grid = np.reshape(images, (n_rows, -1, 16, 16)).swapaxes(1, 2)
    ax.imshow(grid.reshape(16 * n_rows, -1), cmap="gray_r")
    ax.set_axis_off()


figure, ax = plt.subplots(figsize=(7, 1.5), layout="constrained")
draw(ax, X[:24], 2)

# %%
# Encoder and decoder
# -------------------
# The factories are settings: a shape, and how many channels each convolution
# puts out. Two of the same settings are equal, so that a grid search can
# choose among them.

from skvae import BNVAEEstimator, ConvDecoder, ConvEncoder

shape, channels = (1, 16, 16), (16, 32)
settings = {
    "likelihood": "bernoulli",
    "tau": 0.2,
    "learning_rate": 3e-3,
    "max_iter": 40,
    "random_state": 0,
}
networks = {
    "encoder": ConvEncoder(shape, channels),
    "decoder": ConvDecoder(shape, channels),
}
vae = BNVAEEstimator(6, **networks, **settings).fit(X)
dense = BNVAEEstimator(
    6, hidden_layer_sizes=(160, 160), **settings
).fit(X)
for name, model in {"convolutional": vae, "dense": dense}.items():
    n = sum(weight.numel() for weight in model.module_.parameters())
    elbo = model.score_samples(X_test, bound="elbo").mean()
    print(f"{name:14}{n:7} weights, held-out ELBO {elbo:.2f}")

# %%
# Reconstructions and samples
# ---------------------------
# Rows that no fit has seen, and what the decoder makes of their codes. Means
# of the likelihood are grey where the code leaves a doubt. A sample draws a
# code from the prior; to look at, its mean is better than its coins.

from skvae import ReconstructionDisplay

display = ReconstructionDisplay.from_estimator(
    vae, X_test[:10], image_shape=(16, 16)
)

codes = np.random.default_rng(0).normal(size=(24, 6))
figure, ax = plt.subplots(figsize=(7, 1.5), layout="constrained")
draw(ax, vae.inverse_transform(codes), 2)

# %%
# Traversals
# ----------
# One component at a time, the others at 0. Place and size are spread over
# several components; nothing in the objective asks for one each. The shape
# is learnt last: it is worth few pixels, and the reconstructions above still
# mix it up.

from skvae import TraversalDisplay

display = TraversalDisplay.from_estimator(vae, image_shape=(16, 16))

# %%
# How much of the known factors is in the code says a regression:

from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures

expand = PolynomialFeatures(3)
code = expand.fit_transform(vae.transform(X))
code_test = expand.transform(vae.transform(X_test))
for j, name in enumerate(SPRITE_FACTORS):
    if name != "shape":
        line = LinearRegression().fit(code, factors[:, j])
        found = line.score(code_test, factors_test[:, j])
        print(f"{name:7} R^2 {found:.2f}")

# %%
# Told the shape
# --------------
# The shape as one more column, and as a condition: encoder and decoder are
# told it, and the code has only to say the rest. The same codes are then
# drawn as any of the shapes.

labelled = np.column_stack([X, factors[:, 0]])
told = BNVAEEstimator(
    6, conditions=[("categorical", [256])], **networks, **settings
).fit(labelled)
figure, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
rows = [
    told.inverse_transform(codes[:12], conditions=[kind])[:, :256]
    for kind in range(3)
]
draw(ax, rows, 3)
# sphinx_gallery_thumbnail_number = 3
