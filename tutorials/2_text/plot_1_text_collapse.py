"""
A text VAE collapses, and how to stop it
========================================

A decoder that predicts each word from the previous words can write well
without any code. So it learns to do without, and the code dies: this is KL
vanishing, first seen in text VAEs. Here it happens within seconds, and
matched moments prevent it.
"""

# %%
# Sentences with two known factors
# --------------------------------
# The sentences are short reviews. The sentiment determines which adjectives
# can occur, the tense determines the verb, and everything else is drawn at
# random. The two adjectives of a sentence share its sentiment; there is no
# other dependence across the sentence.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skvae import BNVAETextEstimator, PosteriorCollapseWarning
from skvae.datasets import make_sentences

plt.rc("axes.spines", top=False, right=False)
warnings.simplefilter("ignore", PosteriorCollapseWarning)

sentences, factors = make_sentences(1800, random_state=0)
train, test = sentences[:1500], sentences[1500:]
print("\n".join(train[:4]))

# %%
# Three models
# ------------
# All three have the same decoder: a language model without a code
# (``posterior="none"``), a plain VAE (``posterior="gaussian"``) and matched
# moments, the default. As in most text VAEs of the literature, the encoder
# returns its last state (``pooling="last"``).

SETTINGS = {
    "n_components": 8,
    "embedding_size": 32,
    "hidden_size": 48,
    "pooling": "last",
    "learning_rate": 1e-2,
    "batch_size": 32,
    "max_iter": 6,
    "random_state": 0,
}
models = {
    "language model": BNVAETextEstimator(posterior="none", **SETTINGS),
    "plain VAE": BNVAETextEstimator(posterior="gaussian", **SETTINGS),
    "matched moments": BNVAETextEstimator(tau=0.4, **SETTINGS),
}
for model in models.values():
    model.fit(train)

# %%
# The KL is an upper bound on the information in the code. In the plain VAE it
# stays near 0 from the first epoch on. With matched moments there is a floor
# of ``-d/2 log(1 - tau)``, :eq:`s-floor`. The rate has to be paid in any
# case, so the decoder learns to use it.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(8, 3.6), layout="constrained"
)
colors = "tab:gray", "tab:orange", "tab:blue"
for (name, model), color in zip(models.items(), colors, strict=True):
    epochs = np.arange(1, model.n_iter_ + 1)
    history = model.history_
    left.plot(epochs, history["rate"], "o-", color=color, label=name)
    right.plot(epochs, history["distortion"], "o-", color=color)
floor = models["matched moments"].kl_floor_
left.axhline(floor, color="k", ls=":", lw=1)
left.set(title="rate: what the code costs", ylabel="nats per sentence")
right.set(title="distortion: what is left for the words")
for ax in (left, right):
    ax.set_xlabel("epoch")
left.legend(frameon=False)
plt.show()

# sphinx_gallery_thumbnail_number = 1

# %%
# Does the decoder use the code?
# ------------------------------
# Give it the codes of other sentences. The loss in reconstruction, the
# shuffled gap, is 0 for a decoder that does not use the code.

for name in ("plain VAE", "matched moments"):
    found = models[name].diagnose(test, n_draws=8)
    print(f"{name:16} {found.verdict}")
    print(f"{'':16} rate {found.rate:.2f} nats,", end=" ")
    print(f"lost by shuffled codes {found.shuffled_gap:.2f} nats")

# %%
# What the code contains
# ----------------------
# Here is the accuracy of a linear classifier on the posterior means, trained
# with 100 labels.

y = factors[:, 0]
for name in ("plain VAE", "matched moments"):
    code = models[name].transform(sentences)
    few = LogisticRegression().fit(code[:100], y[:100])
    accuracy = few.score(code[1500:], y[1500:])
    print(f"{name:16} {accuracy:.2f} of sentiments right")

# %%
# And the cost? The score of the language model is exact; the scores of the
# VAEs are lower bounds from 64 draws of the code. All scores are on held-out
# sentences.

for name, model in models.items():
    bound = model.score_samples(test, n_draws=64).mean()
    print(f"{name:16} {bound:.2f} nats per sentence")
