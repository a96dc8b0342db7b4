"""
Sentiment from few labels
=========================

Sentences are cheap, but labels are expensive. Learn a code from all sentences
without labels, and train a classifier on the codes of the few sentences that
have one.
"""

# %%
# A code from 1,500 sentences
# ---------------------------
# None of them has a label yet. The model has eight components and a floor of
# about two nats. That is more than enough for the sentiment of a sentence,
# which needs one bit or 0.69 nats.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skvae import BNVAETextEstimator
from skvae.datasets import make_sentences

plt.rc("axes.spines", top=False, right=False)

sentences, factors = make_sentences(2500, random_state=0)
y = factors[:, 0]
train, test = slice(1500), slice(1500, None)

vae = BNVAETextEstimator(
    8,
    tau=0.4,
    embedding_size=32,
    hidden_size=48,
    learning_rate=1e-2,
    batch_size=32,
    max_iter=8,
    random_state=0,
).fit(sentences[train])
print(f"rate {vae.kl_per_component_.sum():.2f} nats, ", end="")
print(f"floor {vae.kl_floor_:.2f}")

# %%
# How many labels?
# ----------------
# We use 4 to 1,000 labels and draw each number 20 times, always with both
# sentiments. The other classifier counts words. It must have seen an adjective
# in a labeled sentence to know its sentiment, while the code has learned from
# all sentences which adjectives occur together.

SIZES = (4, 8, 16, 32, 100, 1000)
code = vae.transform(sentences)
words = CountVectorizer(token_pattern=r"\S+").fit_transform(sentences)


def accuracies(X):
    """Held-out accuracies, one row for each number of labels."""
    scores = np.empty((len(SIZES), 20))
    for i, draw in np.ndindex(scores.shape):
        order = np.random.RandomState(draw).permutation(1500)
        half = SIZES[i] // 2
        some = [order[y[order] == k][:half] for k in (0, 1)]
        few = np.concatenate(some)
        classifier = LogisticRegression(max_iter=1000)
        classifier.fit(X[few], y[few])
        scores[i, draw] = classifier.score(X[test], y[test])
    return scores


figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, X, color in (
    ("code", code, "tab:blue"),
    ("words", words, "tab:gray"),
):
    scores = accuracies(X)
    mean, spread = scores.mean(axis=1), scores.std(axis=1)
    ax.plot(SIZES, mean, "o-", color=color, label=name)
    ax.fill_between(
        SIZES,
        mean - spread,
        np.minimum(mean + spread, 1.0),
        color=color,
        alpha=0.18,
        linewidth=0,
    )
    for size, value in zip(SIZES, mean, strict=True):
        print(f"{name:6}{size:5} labels: {value:.2f}")
ax.set(
    xscale="log",
    xlabel="labels",
    ylabel="accuracy",
    title="Sentiment of held-out sentences",
)
ax.legend(frameon=False)
plt.show()

# sphinx_gallery_thumbnail_number = 1

# %%
# In a pipeline
# -------------
# The estimator is a transformer of strings like any other. Here everything is
# fitted on the labeled sentences alone. If you have more sentences without
# labels, fit the code first, as above.

pipeline = make_pipeline(
    BNVAETextEstimator(
        8,
        tau=0.4,
        embedding_size=32,
        hidden_size=48,
        learning_rate=1e-2,
        batch_size=32,
        max_iter=8,
        random_state=0,
    ),
    LogisticRegression(),
)
pipeline.fit(sentences[train], y[train])
print(f"{pipeline.score(sentences[test], y[test]):.2f}")
print(pipeline.predict(["well , the cake was so lovely ."]))
