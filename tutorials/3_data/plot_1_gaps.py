"""
A table with gaps
=================

A table with numbers, counts, booleans and categories has a fifth of its cells
missing. One estimator fits it as it is, fills in the missing cells, and draws
new rows with the same columns and types. The removed values are known, so
every claim can be checked.
"""

# %%
# A table and its causes
# ----------------------
# Two hidden causes determine all columns. One of the dependences is
# nonlinear.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
causes = rng.normal(size=(800, 2))
bent = np.tanh(2 * causes[:, 0] * causes[:, 1])
noise = rng.normal(size=(800, 4))
table = pd.DataFrame(
    {
        "length": 50 + 5 * causes[:, 0] + noise[:, 0],
        "weight": 70 + 8 * bent + 4 * causes[:, 0] + noise[:, 1],
        "income": np.exp(7 + 0.5 * causes[:, 1] + 0.1 * noise[:, 2]),
        "visits": rng.poisson(np.exp(1 + 0.8 * causes[:, 0])),
        "member": causes[:, 1] + 0.3 * noise[:, 3] > 0,
        "plan": pd.Categorical(
            np.array(["small", "middle", "large"])[
                (bent > -0.3).astype(int) + (bent > 0.3)
            ]
        ),
    }
).astype({"visits": "Int64", "member": "boolean"})
missing = rng.random(table.shape) < 0.2
gaps = table.mask(missing)
print(gaps.head(4).to_string())

# %%
# Fit it as it is
# ---------------
# The types show which columns are categories. You have to declare that visits
# are counts and that incomes have a long tail. The encoder receives the
# observed cells and a mask that marks them; the likelihood counts only the
# observed cells.

from skvae import BNVAEEstimator

vae = BNVAEEstimator(
    4,
    tau=0.3,
    likelihood=[("poisson", ["visits"]), ("student_t", ["income"])],
    random_state=0,
).fit(gaps)
kl = vae.kl_per_component_.sum()
print(f"KL {kl:.2f} nats, at least {vae.kl_floor_:.2f}")

# %%
# Fill the gaps
# -------------
# We compare with the mean of the column, which ignores the other cells, and
# with the five nearest neighbors. Nearest neighbors need numbers in
# comparable units, so categories become indicators first. The model needs no
# preparation.

from sklearn.impute import KNNImputer

filled = vae.impute(gaps)
numbers = ["length", "weight", "income", "visits"]
indicators = pd.get_dummies(gaps["plan"], dtype=float)
indicators = indicators.where(gaps["plan"].notna())
wide = pd.concat([gaps[[*numbers, "member"]], indicators], axis=1)
wide = wide.astype("Float64").to_numpy(float, na_value=np.nan)
spread = np.nanstd(wide, axis=0)
neighbors = KNNImputer().fit_transform(wide / spread) * spread

errors = {}
for j, name in enumerate(numbers):
    lost = gaps[name].isna().to_numpy()
    truth = table[name].to_numpy(float)
    guesses = {
        "mean": np.full(len(table), np.nanmean(wide[:, j])),
        "neighbors": neighbors[:, j],
        "model": filled[name].to_numpy(float),
    }
    errors[name] = {
        method: np.sqrt(np.mean((guess - truth)[lost] ** 2)) / spread[j]
        for method, guess in guesses.items()
    }
print(pd.DataFrame(errors).round(2).T.to_string())

# %%
# For categories, the table shows the share of missing cells that are filled
# in correctly:

lost = gaps["plan"].isna()
places = neighbors[:, 5:].argmax(1)
by_neighbors = indicators.columns.to_numpy()[places]
hits = {
    "most frequent": (table["plan"] == gaps["plan"].mode()[0])[lost],
    "neighbors": (table["plan"] == by_neighbors)[lost],
    "model": (filled["plan"] == table["plan"])[lost],
}
for method, hit in hits.items():
    print(f"{method:14}{hit.mean():.2f}")

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
colors = {"mean": "0.7", "neighbors": "0.4", "model": "C0"}
for i, (method, color) in enumerate(colors.items()):
    heights = [errors[name][method] for name in numbers]
    ax.bar(np.arange(4) + 0.25 * i, heights, 0.25, color=color)
_ = ax.set_xticks(np.arange(4) + 0.25, numbers)
_ = ax.set_ylabel("error, standard deviations")
_ = ax.legend(colors)
# sphinx_gallery_thumbnail_number = 1

# %%
# New rows
# --------
# Samples have the columns and types of the table and the same dependences:
# members earn more, and large plans go with weight.

new = vae.sample(800, random_state=0)
print("types kept:", new.dtypes.equals(table.dtypes))
for name, rows in {"table": table, "samples": new}.items():
    member = rows["member"].astype(bool)
    incomes = rows["income"].groupby(member).median().round(-1)
    print(f"{name:8} median income by membership", incomes.tolist())

figure, axes = plt.subplots(
    1, 2, figsize=(7, 3), sharex=True, sharey=True, layout="constrained"
)
for ax, rows in zip(axes, (table, new), strict=True):
    for plan, color in {"small": "C0", "large": "C1"}.items():
        one = rows[rows["plan"] == plan]
        ax.scatter(one["length"], one["weight"], s=6, c=color)
_ = axes[0].set(title="table", xlabel="length", ylabel="weight")
_ = axes[1].set(title="samples", xlabel="length")
_ = axes[1].legend(["small plan", "large plan"])
