"""
Images
======

Convolutional networks replace dense ones. This page shows reconstructions,
samples and traversals of small images with known factors, and a decoder that
is conditioned on one of the factors.
"""

# %%
# Sprites
# -------
# Each image shows a disc, a ring or a cross of some size, somewhere in 16 by
# 16 pixels.

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
# The factories hold settings: the shape of an image, and the number of output
# channels of each convolution. Two factories with the same settings are
# equal, so a grid search can choose among them.

from skvae import BNVAEEstimator, ConvDecoder, ConvEncoder

shape, channels = (1, 16, 16), (16, 32)
settings = {
    "likelihood": "bernoulli",
    "tau": 0.2,
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
# The figures show rows that were not used in the fit and what the decoder
# makes of their codes. The means of the likelihood are gray where the code
# leaves the pixel uncertain. A sample decodes a code from the prior. We show
# its mean, which is easier to look at than random black and white pixels.

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
# Each row changes one component while the others stay at 0. Position and size
# are spread over several components, because nothing in the objective asks
# for one component each. The shape is learned last: it affects few pixels,
# and the reconstructions above still get it wrong.

from skvae import TraversalDisplay

display = TraversalDisplay.from_estimator(vae, image_shape=(16, 16))

# %%
# A regression measures how much of the known factors is in the code:

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
# Conditioned on the shape
# ------------------------
# The shape becomes one more column, and this column is a condition. Encoder
# and decoder receive it, and the code has to describe only the rest. The same
# codes are then decoded as each of the shapes.

labeled = np.column_stack([X, factors[:, 0]])
conditional = BNVAEEstimator(
    6, conditions=[("categorical", [256])], **networks, **settings
).fit(labeled)
figure, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
rows = [
    conditional.inverse_transform(codes[:12], conditions=[kind])[
        :, :256
    ]
    for kind in range(3)
]
draw(ax, rows, 3)
# sphinx_gallery_thumbnail_number = 4
