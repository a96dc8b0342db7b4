"""Missing cells filled: the model's expectation, its neighbours', a regression's and the mean.

A fifth of the cells is removed at random and filled again. Errors are root mean squares of the
removed numbers, in standard deviations of their columns; for categories, the share of the removed
cells that are hit. Means and standard deviations over the seeds.

    python benchmarks/impute.py [--seeds 3] [--share 0.2]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  makes the next import work
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skvae import BNVAEEstimator

IMPUTERS = {
    "mean": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(max_iter=20, random_state=0),
}
SETTINGS = {"breast cancer": {"n_components": 8}, "wine": {"n_components": 4}}


def generated(seed=0, n_samples=800):
    """Real numbers, counts, yes or no and one of three, all of two hidden causes."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n_samples, 2))
    bent = np.column_stack([cause, np.tanh(2 * cause[:, 0] * cause[:, 1])])
    numbers = bent @ rng.normal(size=(3, 6)) + 0.3 * rng.normal(size=(n_samples, 6))
    table = pd.DataFrame(numbers, columns=[f"number {j}" for j in range(6)])
    for j in range(2):
        table[f"count {j}"] = rng.poisson(np.exp(1 + 0.7 * bent @ rng.normal(size=3))).astype(float)
    for j in range(2):
        logits = 3 * bent @ rng.normal(size=(3, 3))
        choice = (logits + rng.gumbel(size=logits.shape)).argmax(1)
        table[f"category {j}"] = np.array(["red", "green", "blue"])[choice]
    return table


TABLES = {
    "breast cancer": lambda seed: load_breast_cancer(as_frame=True).data,
    "wine": lambda seed: load_wine(as_frame=True).data,
    "generated": generated,
}


def by_indicators(imputer, table):
    """Fill by an imputer of numbers: of a category, the indicator that comes out largest.

    The first indicator is 1 less the others and is left out: a regression on the others would
    only repeat what it began with.
    """
    numbers = table.select_dtypes("number")
    others = table.columns.difference(numbers.columns)
    scale = numbers.std()
    indicators = {name: pd.get_dummies(table[name], dtype=float) for name in others}
    wide = [one.iloc[:, 1:].where(table[name].notna()) for name, one in indicators.items()]
    filled = imputer.fit_transform(pd.concat([numbers / scale, *wide], axis=1).to_numpy())
    done = pd.DataFrame(filled[:, : numbers.shape[1]] * scale.to_numpy(), columns=numbers.columns)
    start = numbers.shape[1]
    for name, one in indicators.items():
        rest = filled[:, start : start + one.shape[1] - 1]
        places = np.column_stack([1 - rest.sum(1), rest]).argmax(1)
        done[name], start = one.columns.to_numpy()[places], start + rest.shape[1]
    return done[table.columns]


def errors(filled, table, removed):
    numbers = table.select_dtypes("number").columns
    lost = removed[numbers]
    off = ((filled[numbers] - table[numbers]) / table[numbers].std()).to_numpy()[lost.to_numpy()]
    others = table.columns.difference(numbers)
    error = np.sqrt(np.mean(off**2))
    if others.empty:
        return error, np.nan
    hits = (filled[others] == table[others]).to_numpy()[removed[others].to_numpy()]
    return error, hits.mean()


def model_of(name, seed):
    counts = [("poisson", ["count 0", "count 1"])] if name == "generated" else "auto"
    settings = {"n_components": 4, "tau": 0.3, "random_state": seed} | SETTINGS.get(name, {})
    return BNVAEEstimator(likelihood=counts, **settings)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':33}{'error':>15}{'hits':>15}")
    for name, load in TABLES.items():
        runs = {}
        for seed in range(options.seeds):
            table = load(seed)
            rng = np.random.default_rng(seed)
            removed = pd.DataFrame(rng.random(table.shape) < options.share, columns=table.columns)
            gaps = table.mask(removed)
            for imputer_name, imputer in IMPUTERS.items():
                filled = by_indicators(imputer, gaps)
                runs.setdefault(imputer_name, []).append(errors(filled, table, removed))
            model = model_of(name, seed).fit(gaps)
            by_code = model.inverse_transform(model.transform(gaps))
            by_code = table.where(~removed, by_code)
            runs.setdefault("VAE, mean code", []).append(errors(by_code, table, removed))
            runs.setdefault("VAE, impute", []).append(errors(model.impute(gaps), table, removed))
        for method, found in runs.items():
            means, spreads = np.mean(found, axis=0), np.std(found, axis=0)
            pairs = zip(means, spreads, strict=True)
            cells = [f"{m:.3f} ±{s:.3f}" if np.isfinite(m) else "" for m, s in pairs]
            print(f"{name + ', ' + method:33}" + "".join(f"{cell:>15}" for cell in cells))


if __name__ == "__main__":
    main()
