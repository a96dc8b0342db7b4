"""
Interpolating between two sentences
===================================

A code is a point, and between two points lie others. Decode them, and one
sentence turns into another step by step.
"""

# %%
# A model with a high rate
# ------------------------
# The larger ``tau``, the more information about a sentence is in its code. A
# low rate is enough for a map of the codes. To reconstruct a sentence, the
# code must contain almost all of its information.

import matplotlib.pyplot as plt
import numpy as np

from skvae import BNVAETextEstimator
from skvae.datasets import make_sentences

plt.rc("axes.spines", top=False, right=False)

sentences, factors = make_sentences(1500, random_state=0)
vae = BNVAETextEstimator(
    16,
    tau=0.75,
    embedding_size=32,
    hidden_size=48,
    learning_rate=1e-2,
    batch_size=32,
    max_iter=12,
    random_state=0,
).fit(sentences)
print(f"rate {vae.kl_per_component_.sum():.1f} nats")

# %%
# There and back
# --------------
# Here is the most probable sentence for each code, found greedily and by a
# beam search with five beams.

for sentence in sentences[:3]:
    code = vae.transform([sentence])
    print("in    ", sentence)
    print("greedy", *vae.inverse_transform(code))
    print("beam  ", *vae.inverse_transform(code, n_beams=5))

# %%
# Interpolation
# -------------
# We move from a complaint to praise, in a straight line between the two codes.

complaint = "honestly , the fish was very cold and sour for me ."
praise = "as always , the cake is really lovely and fine at lunch !"
for sentence in vae.interpolate(complaint, praise, n_samples=8):
    print(sentence)

# %%
# Where is the sentiment in the code? Its direction is the line between the
# mean codes of negative and positive sentences. Start from the complaint and
# move in this direction: the words that carry the sentiment change, and other
# words change where they have to.

code, y = vae.transform(sentences), factors[:, 0]
direction = code[y == 1].mean(0) - code[y == 0].mean(0)
start = vae.transform([complaint])
steps = np.linspace(0, 2, 5)[:, None]
for sentence in vae.inverse_transform(start + steps * direction):
    print(sentence)

# %%
# The map shows all codes along that direction and along the direction of
# largest variance orthogonal to it.

along = code @ direction / np.linalg.norm(direction)
rest = code - np.outer(along, direction) / np.linalg.norm(direction)
across = rest @ np.linalg.svd(rest, full_matrices=False)[2][0]
figure, ax = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
for sentiment, color in enumerate(("tab:red", "tab:green")):
    of_it = y == sentiment
    name = ("negative", "positive")[sentiment]
    ax.plot(
        along[of_it], across[of_it], ".", ms=4, color=color, label=name
    )
ax.set(xlabel="along the sentiment", ylabel="across it")
ax.legend(frameon=False)
plt.show()

# sphinx_gallery_thumbnail_number = 1

# %%
# New sentences
# -------------
# Draw codes from the prior and then draw words at random. With a lower
# temperature and only the most probable words, the sentences follow the
# grammar more closely.

print("\n".join(vae.sample(4, random_state=0)))
print()
for sentence in vae.sample(
    4, random_state=0, temperature=0.5, top_p=0.9
):
    print(sentence)
