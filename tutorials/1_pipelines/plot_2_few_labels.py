"""
Few labels
==========

Rows are cheap, but labels are expensive. Learn a code from all rows, without
labels, and train a classifier on the codes of the few rows that have one. How
many labels does it need? We compare 10 to 1,000 labels on codes from PCA,
from a plain VAE and from BN-VAE.
"""

# %%
# Three codes
# -----------
# The two VAEs differ only in their posterior. None of the three methods sees
# a label. A penalized classifier depends on the scale of its columns. For a
# fair comparison, each code is used twice: as it is, and with every component
# scaled to variance 1.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skvae import BNVAEEstimator

plt.rc("axes.spines", top=False, right=False)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)


def vae(posterior, d):
    return BNVAEEstimator(
        d,
        posterior=posterior,
        likelihood="bernoulli",
        hidden_layer_sizes=(256, 256),
        max_iter=40,
        random_state=0,
    )


def codes_of(d):
    """Codes of d components, for training and held-out rows."""
    encoders = {
        "PCA": PCA(d, random_state=0),
        "plain VAE": vae("gaussian", d),
        "BN-VAE": vae("moment", d),
    }
    codes = {}
    for name, encoder in encoders.items():
        code = encoder.fit_transform(X_train), encoder.transform(X_test)
        codes[name, "as it is"] = code
        scale = code[0].std(axis=0)
        codes[name, "standardized"] = code[0] / scale, code[1] / scale
    return codes


# %%
# The probe
# ---------
# A classifier on top of a fixed code is called a probe. A linear probe
# measures what can be read from the code directly. With few labels, it
# matters which rows are labeled. So each number of labels is drawn 20 times,
# with at least one of each digit, and the draws are the same for every code.

N_DRAWS = 20


def probe(codes, sizes):
    """Held-out accuracies, (sizes, draws) for each code."""
    accuracies = {key: np.empty((len(sizes), N_DRAWS)) for key in codes}
    for i, draw in np.ndindex(len(sizes), N_DRAWS):
        labeled, _ = train_test_split(
            np.arange(len(y_train)),
            train_size=sizes[i],
            stratify=y_train,
            random_state=draw,
        )
        for key, (code, code_test) in codes.items():
            classifier = LogisticRegression(max_iter=1000)
            classifier.fit(code[labeled], y_train[labeled])
            score = classifier.score(code_test, y_test)
            accuracies[key][i, draw] = score
    return accuracies


sizes = [10, 20, 50, 100, 200, 500, 1000]
accuracies = probe(codes_of(8), sizes)

# %%
# Eight components
# ----------------
# The bands show the standard deviation over the draws.

colors = {
    "PCA": "tab:gray",
    "plain VAE": "tab:orange",
    "BN-VAE": "tab:blue",
}
figure, axes = plt.subplots(
    1, 2, figsize=(8, 4.2), sharey=True, layout="constrained"
)
for (name, scaling), values in accuracies.items():
    ax = axes[0] if scaling == "as it is" else axes[1]
    mean, spread = values.mean(axis=1), values.std(axis=1)
    ax.plot(sizes, mean, "o-", color=colors[name], label=name, ms=5)
    ax.fill_between(
        sizes,
        mean - spread,
        mean + spread,
        color=colors[name],
        alpha=0.18,
        linewidth=0,
    )
for ax, title in zip(
    axes, ("code as it is", "standardized"), strict=True
):
    ax.set(
        title=title,
        xlabel="labels",
        xscale="log",
        xticks=sizes,
        xticklabels=[str(size) for size in sizes],
    )
    ax.minorticks_off()
axes[0].set_ylabel("held-out accuracy of a linear probe")
_ = axes[0].legend(frameon=False, loc="lower right")
# sphinx_gallery_thumbnail_number = 1

# %%
# BN-VAE is best in both panels, and the scaling does not matter to it: its
# components already have nearly the same variance, the one that tau requires.
# For the other codes, the scale is one more setting, and the best choice
# depends on the number of labels.
#
# The draws are the same for all codes, so compare draw by draw. The table
# shows the gain of BN-VAE, as it is, over the *better* scaling of each of the
# others, with its standard error.

ours = accuracies["BN-VAE", "as it is"]
for name in ("PCA", "plain VAE"):
    print(f"over {name}:")
    both = [accuracies[name, s] for s in ("as it is", "standardized")]
    for i, size in enumerate(sizes):
        rival = max(both, key=lambda values, i=i: values[i].mean())
        gain = ours[i] - rival[i]
        error = gain.std(ddof=1) / np.sqrt(N_DRAWS)
        print(f"{size:6,} labels: {gain.mean():+.3f} +- {error:.3f}")

# %%
# Fewer components, and more
# --------------------------
# The gain depends on the size of the code. The table uses the better scaling
# of each code again:

print(f"{'components':22}{'4':>7}{'8':>7}{'16':>7}")
tables = {8: accuracies}
for d in (4, 16):
    tables[d] = probe(codes_of(d), [10, 100, 1000])
for size, index in ((10, (0, 0)), (100, (3, 1)), (1000, (6, 2))):
    for name in colors:
        row = ""
        for d in (4, 8, 16):
            i = index[0] if d == 8 else index[1]
            both = [
                tables[d][name, s][i].mean()
                for s in ("as it is", "standardized")
            ]
            row += f"{max(both):7.3f}"
        print(f"{size:5,} labels {name:10}{row}")

# %%
# With four components, a network puts more into the code than a linear map
# can, and both VAEs beat PCA. With 16, PCA has caught up, because so many
# principal components keep almost everything in 64 pixels. The plain VAE has
# not, because it lets most of its 16 components die.
#
# **What follows.** Try PCA first, as always. If the code has to be small, or
# the rows are less simple than these, a VAE has more to offer. Its components
# should then be alive, because a classifier can use only what the code
# contains. These results are from a single split of one small data set.
# :doc:`/guide/pipelines` shows how to do the same within cross-validation,
# and :doc:`/theory/diagnostics` what else to look at.
