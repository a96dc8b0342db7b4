"""Remedies against KL vanishing on sentences: what a code costs a language model, and what it says.

Reads two files of sentences, one a line, words apart by spaces: `negative.txt` and `positive.txt`
in the folder --data, such as those of Shen et al. (2017) from reviews on Yelp. Every row of the
table is one fit, or the mean of several seeds' fits; as soon as a fit is measured, it is appended
to --output, and fits that are there already are not done again. So a run that was stopped goes on
where it was.

    python benchmarks/text.py --data yelp --output text.jsonl [--size full] [--rows "plain VAE"]

With --step instead: what a training step costs, in multiples of its matrix products.

    python benchmarks/text.py --data yelp --step
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import torch
from lagging import LaggingTextVAE
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAETextEstimator, PosteriorCollapseWarning
from skvae.objectives import FreeBits

ROWS = {
    "language model": {"posterior": "none"},
    "plain VAE": {"posterior": "gaussian"},
    "moment, tau 0.1": {"posterior": "moment", "tau": 0.1},
    "moment, tau 0.2": {"posterior": "moment", "tau": 0.2},
    "moment, tau 0.3": {"posterior": "moment", "tau": 0.3},
    "BN mean, gamma 0.4": {"posterior": "batchnorm-mean", "tau": 0.16},
    "BN mean, gamma 0.6": {"posterior": "batchnorm-mean", "tau": 0.36},
    "BN mean, gamma 0.7": {"posterior": "batchnorm-mean", "tau": 0.49},
    "linear annealing": {"posterior": "gaussian", "objective": "linear-annealing"},
    "cyclical annealing": {"posterior": "gaussian", "objective": "cyclical-annealing"},
    "free bits 4 in all": {"posterior": "gaussian", "objective": FreeBits(4.0, per="code")},
    "free bits, 1/8 each": {"posterior": "gaussian", "objective": FreeBits(0.125)},
    "article, tau 0.2": {"posterior": "batchnorm", "tau": 0.2},
    "lagging encoder": {"posterior": "gaussian", "type": LaggingTextVAE},
}
# Sentences to train on, how long, and held-out sentences for the importance bound.
CONVERGED = {"max_iter": 30, "early_stopping": True, "n_iter_no_change": 2}
SIZES = {"small": (40_000, {"max_iter": 3}, 500), "full": (None, CONVERGED, 2_000)}
LABELS = {100: 10, 500: 10, 1_000: 5, 2_000: 5, 10_000: 1}  # and how often they are drawn
WORDS = 15
DRAWS = 100


def read(folder):
    """Sentences cut to 15 words, and whether they are positive, in random order."""
    files = [Path(folder, name).read_text(encoding="utf-8") for name in FILES]
    lines = [text.splitlines() for text in files]
    sentences = np.array([" ".join(line.split()[:WORDS]) for part in lines for line in part])
    y = np.repeat([0, 1], [len(part) for part in lines])
    order = np.random.RandomState(0).permutation(len(y))
    return sentences[order].tolist(), y[order]


FILES = "negative.txt", "positive.txt"


def split(sentences, y, n_train):
    """The first sentences to train on, and a ninth of their number to test on: the last ones.

    Defaults of the estimator were chosen on those right after the small size's training sentences.
    """
    n_train = n_train or len(y) * 9 // 10
    n_test = -(-n_train // 9)
    return sentences[:n_train], y[:n_train], sentences[-n_test:], y[-n_test:]


def measure(settings, data, n_scored, seed):
    X, y, X_test, y_test = data
    settings = dict(settings)
    model = settings.pop("type", BNVAETextEstimator)(
        32, tokenizer=str.split, min_df=5, max_length=WORDS, random_state=seed
    ).set_params(**settings)
    start = time.process_time()
    model.fit(X)
    seconds = time.process_time() - start
    found = model.diagnose(X_test[:2_000], n_draws=2)
    scored = X_test[:n_scored]
    n_draws = 1 if model.posterior == "none" else DRAWS  # its score is exact with any number
    return {
        "NLL": -float(model.score_samples(scored, n_draws).mean()),
        "perplexity": model.perplexity(scored, n_draws) if n_draws == 1 else None,
        "ELBO": found.elbo,
        "rate": found.rate,
        "MI": found.mutual_information,
        "active": found.active_units,
        "shuffled": found.shuffled_gap,
        "probe": probe(model.transform(X), y, model.transform(X_test), y_test),
        "training ELBO": model.lower_bound_,
        "loss curve": model.loss_curve_,
        "rate curve": model.history_["rate"],
        "seconds": seconds,
        "seconds an epoch": seconds / model.n_iter_,
    }


def probe(code, y, code_test, y_test):
    """Accuracy of a linear classifier of the means, by the number of labels."""
    accuracy = {}
    for n_labels, n_times in LABELS.items():
        scores = []
        for seed in range(n_times):
            few = np.random.RandomState(seed).permutation(len(y))[:n_labels]
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            scores.append(classifier.fit(code[few], y[few]).score(code_test, y_test))
        accuracy[n_labels] = float(np.mean(scores))
    return accuracy


def step(data, n_rounds=5, n_sentences=640):
    """Milliseconds of a step, and of its products alone; medians over rounds in turn."""
    model = BNVAETextEstimator(tokenizer=str.split, min_df=5, max_length=WORDS, random_state=0)
    model._validate_rows(data[0], reset=True)
    X = model._validate_rows(data[0][:n_sentences], reset=False)
    fit = model._prepare(X, None, torch.device("cpu"), 1, [0, 0])
    n_steps = n_sentences // fit.batch_size
    multiply = products(model, X[: fit.batch_size])

    def epoch_of_products():
        for _ in range(n_steps):
            multiply()

    times = [
        [_seconds(f) / n_steps for f in (epoch_of_products, fit.epoch)] for _ in range(n_rounds)
    ]
    ratio = np.median([ours / floor for floor, ours in times])
    floor, ours = 1e3 * np.median(times, axis=0)
    return f"products {floor:.1f} ms, step {ours:.1f} ms, ratio {ratio:.2f}"


def products(model, X):
    """One step's matrix products on random numbers, as a function to call."""
    n, e, h = len(X), model.embedding_size, model.hidden_size
    steps = [int(((X[:, 1:] != 0).sum(1) > t).sum()) for t in range(X.shape[1] - 1)]
    n_tokens, n_words = sum(steps), 3 + len(model.vocabulary_)
    ends = np.cumsum(steps)
    # Inputs of both LSTMs, the map to the size of a word, and the output layer.
    layers = [(n_tokens, e, 4 * h)] * 2 + [(n_tokens, h, e), (n_tokens, e, n_words)]
    layers += [(n, h, 2 * model.n_components)]
    operands = [[torch.randn(s) for s in ((r, a), (b, a), (r, b))] for r, a, b in layers]
    state, weight, gates = (
        torch.randn(n_tokens, h),
        torch.randn(4 * h, h),
        torch.randn(n_tokens, 4 * h),
    )

    def multiply():
        for x, w, g in operands:
            x @ w.T, g.T @ x, g @ w
        for _ in range(2):  # the recurrences of encoder and decoder
            for end, size in zip(ends, steps, strict=True):
                state[end - size : end] @ weight.T, gates[end - size : end] @ weight
            gates.T @ state

    return multiply


def _seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def finished(path):
    """Fits in the output file, by size, name and seed."""
    if not path.exists():
        return {}
    fits = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(fit["size"], fit["name"], fit["seed"]): fit for fit in fits}


COLUMNS = ("NLL", "ELBO", "rate", "MI", "active", "shuffled")


def head():
    labels = "".join(f"{n:>8}" for n in LABELS)
    return f"{'':21}{'seeds':>6}" + "".join(f"{c:>9}" for c in COLUMNS) + labels + f"{'s/epoch':>9}"


def line(fits):
    """A row of the table: means over the fits of its seeds."""
    cells = "".join(f"{np.mean([fit[column] for fit in fits]):9.2f}" for column in COLUMNS)
    probes = np.mean([list(fit["probe"].values()) for fit in fits], axis=0)
    seconds = np.mean([fit["seconds an epoch"] for fit in fits])
    accuracies = "".join(f"{accuracy:8.3f}" for accuracy in probes)
    return f"{fits[0]['name']:21}{len(fits):6}{cells}{accuracies}{seconds:9.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--output", type=Path, default=Path("text.jsonl"))
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    warnings.simplefilter("ignore", PosteriorCollapseWarning)  # it is what this is about
    n_train, length, n_scored = SIZES[options.size]
    data = split(*read(options.data), n_train)
    if options.step:
        print(step(data))
        return
    print(head(), flush=True)
    for seed, name in product(options.seeds, options.rows):
        if (options.size, name, seed) in finished(options.output):
            continue
        fit = {"size": options.size, "name": name, "seed": seed}
        fit |= measure(ROWS[name] | length, data, n_scored, seed)
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fit) + "\n")
        print(line([fit]), flush=True)
    fits = finished(options.output)
    print()
    print(head())
    for name in ROWS:
        mine = [fit for (size, row, _), fit in fits.items() if (size, row) == (options.size, name)]
        if mine:
            print(line(mine))


if __name__ == "__main__":
    main()
