"""Fit and encode a table that is larger than the memory it may use; print what was used.

``python benchmarks/memory.py 20`` writes 20 GB of rows to a file in the current folder, removes
it afterwards, and prints one line a step: seconds, the largest memory of the process's own
(anonymous: what no file backs), and with it the pages of the file that the system kept.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from skvae import BNVAEEstimator
from skvae._data.streams import IN_MEMORY

N_FEATURES = 1000


def memory(name):
    """A line of the process's status, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 2**20
    raise LookupError(name)


class Peak:
    """The largest memory during a block, looked at every 20 ms."""

    largest = 0.0

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        self.peak, self.over, self.start = 0.0, False, time.perf_counter()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self):
        while not self.over:
            self.peak = max(self.peak, memory("RssAnon"))
            time.sleep(0.02)

    def __exit__(self, *error):
        self.over = True
        self.thread.join()
        seconds = time.perf_counter() - self.start
        Peak.largest = max(Peak.largest, self.peak)
        print(
            f"{self.what:10s} {seconds:7.1f} s, own memory {self.peak:.2f} GB, "
            f"with pages of files {memory('VmHWM'):.2f} GB",
            flush=True,
        )


def write(path, n_rows):
    """Rows of 20 factors and noise, written piece by piece."""
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((20, N_FEATURES), dtype=np.float32)
    rows = np.memmap(path, dtype=np.float32, mode="w+", shape=(n_rows, N_FEATURES))
    noise = rng.standard_normal((5000, N_FEATURES), dtype=np.float32)
    for start in range(0, n_rows, 5000):
        factors = rng.standard_normal((min(5000, n_rows - start), 20), dtype=np.float32)
        rows[start : start + 5000] = factors @ loadings + noise[: len(factors)]
    rows.flush()


parser = argparse.ArgumentParser()
parser.add_argument("gigabytes", type=float)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--limit", type=float, help="GB of own memory beyond which to fail")
arguments = parser.parse_args()
n_rows = int(arguments.gigabytes * 1e9 / (4 * N_FEATURES))
with tempfile.TemporaryDirectory(dir=".") as folder:
    with Peak("write"):
        write(f"{folder}/rows", n_rows)
    X = np.memmap(f"{folder}/rows", dtype=np.float32, mode="r", shape=(n_rows, N_FEATURES))
    codes = np.memmap(f"{folder}/codes", dtype=np.float32, mode="w+", shape=(n_rows, 20))
    print(f"{X.nbytes / 1e9:.1f} GB of rows; a stream: {X.nbytes > IN_MEMORY}")
    model = BNVAEEstimator(
        20,
        hidden_layer_sizes=(32,),
        batch_size=1024,
        max_iter=arguments.epochs,
        random_state=0,
    )
    with Peak("fit"):
        model.fit(X)
    with Peak("transform"):
        model.transform(X, out=codes)
    with Peak("score"):
        scores = model.score_samples(X, n_draws=1)
    print(f"mean score {scores.mean():.2f} nats, KL {model.kl_per_component_.sum():.2f} nats")
if arguments.limit and Peak.largest > arguments.limit:
    sys.exit(f"more than {arguments.limit} GB")
