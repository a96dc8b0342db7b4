"""One fit for every tau of a range against a fit for each: what is lost, and what it costs.

Same networks, epochs and learning rate; held-out ELBO and accuracy of a logistic regression on
the code. Then the choice of tau by cross-validation, both ways. Seconds are of the processor.

    python benchmarks/every_tau.py [--seeds 3] [--scale 1.0] [--only digits wine search]

The fit over the range is made with the epochs of the separate fits, and with a quarter more. With
--open-end every fit finds its own length. With --last-weights the separate fits go without running
averages of their weights.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings

import numpy as np
from gamma import breast_cancer, digits, patches, wine
from moments import images
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator, BNVAEEstimatorCV
from skvae.diagnostics import PosteriorCollapseWarning
from skvae.every_tau import GOLDEN_RATIO, EveryTau

TAUS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
EPOCHS = {digits: 200, breast_cancer: 300, wine: 600, patches: 100, images: 25}


class StartAlike(EveryTau):
    """Without the different shares of signal that the components begin with."""

    def stagger(self, log_ratio=0.0):
        pass


class Uniform(EveryTau):
    """With places that are spread evenly over the whole range, instead of more at its ends."""

    def _tau_of_step(self, number):
        share = (self._first + (number + 1) * GOLDEN_RATIO) % 1.0
        return self.tau_at(2.0 * share - 1.0)


class Independent(EveryTau):
    """With places drawn independently of each other, from the same distribution."""

    def _tau_of_step(self, number):
        source = np.random.RandomState([int(1e9 * self._first), number])
        return self.tau_at(-np.cos(np.pi * source.rand()))


class StraightLines(EveryTau):
    """Without the last term of the parabolas."""

    def _polynomials(self, tau):
        return self.coefficients.new_tensor([1.0, self._place_of(tau), 0.0])


class Variant(BNVAEEstimator):
    """A fit over a range by another `EveryTau`."""

    kind = EveryTau

    def _every_tau(self, module, continues):
        every = self.kind(module, *self.tau)
        every.stagger()
        return every


# What the fit over a range does beyond drawing tau anew, each left out in turn.
VARIANTS = {
    "all of it": (EveryTau, True),
    "components start alike": (StartAlike, True),
    "tau drawn uniformly": (Uniform, True),
    "tau drawn independently": (Independent, True),
    "no averages": (EveryTau, False),
    "straight lines": (StraightLines, True),
}


def timed(function):
    """What it returns, and the processor's seconds."""
    start = time.process_time()
    return function(), time.process_time() - start


def probe():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def measure(model, X, y, train, test):
    """Held-out ELBO, and accuracy of a linear classifier on the code."""
    elbo = model.score_samples(X[test], 64, bound="elbo").mean()
    if y is None:
        return elbo, np.nan
    classifier = probe().fit(model.transform(X[train]), y[train])
    return elbo, classifier.score(model.transform(X[test]), y[test])


def compare(X, y, settings, epochs, longer, seed, average):
    """ELBO and accuracy at each tau, and the costs, of separate fits and of fits for every tau."""
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    if "likelihood" not in settings:  # so that nats are those of columns of variance 1
        X = StandardScaler().fit(X[train]).transform(X)
    make = BNVAEEstimator(max_iter=epochs, random_state=seed, **settings).set_params
    apart, seconds = [], []
    for tau in TAUS:
        model, one = timed(lambda tau=tau: make(tau=tau, average=average).fit(X[train]))
        apart.append(measure(model, X, y, train, test))
        seconds.append(one)
    found, costs = [apart], []
    make(tau=(TAUS[0], TAUS[-1]), average=True)
    for n_epochs in longer:
        every, whole = timed(lambda n_epochs=n_epochs: make(max_iter=n_epochs).fit(X[train]))
        found.append([measure(every.at_tau(tau), X, y, train, test) for tau in TAUS])
        costs.append(whole / np.mean(seconds))
    return np.array(found), np.array(costs)


def table(data, n_seeds, epochs, average):
    """Separate fits, and fits for every tau with as many epochs and with a quarter more."""
    X, y, settings = data()
    longer = [None] if epochs is None else [epochs, round(1.25 * epochs)]
    runs = [compare(X, y, settings, epochs, longer, seed, average) for seed in range(n_seeds)]
    found, costs = (np.array(part) for part in zip(*runs, strict=True))
    loss = found[:, :1, :, 0] - found[:, 1:, :, 0]  # (n_seeds, n_fits, n_taus)
    share = 100 * loss / abs(found[:, :1, :, 0])
    length = "open end" if epochs is None else f"{epochs} epochs"
    print(f"\n{data.__name__}, {X.shape[0]} x {X.shape[1]}, {length}, {n_seeds} seeds")
    names = ["of one", "longer"][: len(longer)]
    heads = ["apart", *names, *(f"{name} %" for name in names), "accuracy", *names]
    print("  tau" + "".join(f"{head:>10}" for head in heads))
    for number, tau in enumerate(TAUS):
        elbo, accuracy = found[:, :, number].mean(0).T
        cells = [f"{one:10.2f}" for one in [*elbo, *share[:, :, number].mean(0)]]
        print(f"{tau:5.2f}" + "".join(cells) + "".join(f"{one:10.3f}" for one in accuracy))
    for number, name in enumerate(names):
        of_seeds = share[:, number].mean(1)
        print(
            f"{name}: mean loss {loss[:, number].mean():.2f} nats, {of_seeds.mean():.2f} % (seeds "
            f"{', '.join(f'{one:.2f}' for one in of_seeds)}); cost {costs[:, number].mean():.2f} "
            f"of a fit",
            flush=True,
        )


def parts(data, epochs, n_seeds):
    """The loss with something left out: its mean over the range, and at both ends."""
    X, _, settings = data()
    if "likelihood" not in settings:
        X = StandardScaler().fit_transform(X)
    losses = {name: [] for name in VARIANTS}
    for seed in range(n_seeds):
        train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
        make = BNVAEEstimator(max_iter=epochs, random_state=seed, **settings).set_params

        def elbo(model, test=test):
            return model.score_samples(X[test], 64, bound="elbo").mean()

        apart = np.array([elbo(make(tau=tau).fit(X[train])) for tau in TAUS])
        for name, (kind, average) in VARIANTS.items():
            every = Variant(max_iter=epochs, random_state=seed, average=average, **settings)
            every.kind = kind
            every.set_params(tau=(TAUS[0], TAUS[-1])).fit(X[train])
            loss = apart - [elbo(every.at_tau(tau)) for tau in TAUS]
            losses[name].append(100 * loss / abs(apart))
    print(f"\n{data.__name__}, {epochs} epochs, {n_seeds} seeds: loss in % of the ELBO")
    print(f"{'':24}{'mean':>8}{'lowest tau':>12}{'highest':>9}")
    for name, loss in losses.items():
        mean = np.mean(loss, 0)
        print(f"{name:24}{mean.mean():8.2f}{mean[0]:12.2f}{mean[-1]:9.2f}", flush=True)


def searches(X, y, settings, taus, final, seed):
    """Tau by a grid search and from one fit a fold, and the cost of the second."""
    cv = StratifiedKFold(5, shuffle=True, random_state=seed)
    vae = BNVAEEstimator(**settings)
    pipeline = vae if final is None else make_pipeline(vae, final)
    grid = {"tau" if final is None else "bnvaeestimator__tau": taus}
    apart, slow = timed(lambda: GridSearchCV(pipeline, grid, cv=cv).fit(X, y))
    search = BNVAEEstimatorCV(vae, taus=taus, cv=cv, final_estimator=final)
    one, fast = timed(lambda: search.fit(X, y))
    return apart, one, fast / slow


def search(n_seeds, scale):
    """Ten taus and five folds, by cross-validated accuracy and by importance bound."""
    taus = np.round(np.linspace(0.05, 0.95, 10), 2)
    X, y, settings = digits()
    settings |= {"max_iter": max(1, round(scale * 60)), "random_state": 0}
    for name, final in (("accuracy", probe()), ("importance bound", None)):
        for seed in range(n_seeds):
            apart, one, cost = searches(X, y, settings, taus, final, seed)
            scores, others = (found.cv_results_["mean_test_score"] for found in (apart, one))
            print(
                f"\nby {name}, seed {seed}: GridSearchCV takes tau {taus[apart.best_index_]}, "
                f"BNVAEEstimatorCV {one.best_params_['tau']:g}, at {cost:.3f} of the cost"
            )
            print("tau     ", *(f"{tau:8.2f}" for tau in taus))
            print("apart   ", *(f"{score:8.3f}" for score in scores))
            print("of one  ", *(f"{score:8.3f}" for score in others))
            error = apart.cv_results_["std_test_score"].mean() / 5**0.5
            print(
                f"apart, the tau of one scores {scores.max() - scores[one.best_index_]:.3f} below "
                f"the best; the standard error of a score is {error:.3f}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the epochs")
    parser.add_argument("--open-end", action="store_true", help="the default length, of the tables")
    parser.add_argument("--last-weights", action="store_true")
    sections = [*(data.__name__ for data in EPOCHS), "parts", "search"]
    parser.add_argument("--only", nargs="+", choices=sections, default=sections)
    args = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    for data in EPOCHS:
        if data.__name__ in args.only:
            epochs = None if args.open_end else max(1, round(args.scale * EPOCHS[data]))
            table(data, args.seeds, epochs, not args.last_weights)
    if "parts" in args.only:
        parts(digits, max(1, round(60 * args.scale)), args.seeds)
        parts(breast_cancer, max(1, round(300 * args.scale)), args.seeds)
    if "search" in args.only:
        search(args.seeds, args.scale)


if __name__ == "__main__":
    main()
