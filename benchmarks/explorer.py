"""How large an explorer's page is, and how long it takes to answer, in a headless Chromium.

An update is what one movement of a slider costs: decoding, the picture, the sliders, the map with
500 points, and laying out the page. A movement of the dial also encodes the selected row and, for
3 ms, rows of the map; the other rows follow in the next frames, and "map" says how long that takes.
Strips of small pictures wait until the input pauses. Medians of 200 updates, of 20 for the map, in
milliseconds, and the fastest tenth, which other work on the machine disturbs less; each line is one
of 3 runs. A frame has 16 ms.

    python benchmarks/explorer.py
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_digits

from skvae import BNVAEEstimator, BNVAETextEstimator, Explorer
from skvae.datasets import make_sentences

UPDATES = """(what) => Array.from({length: 200}, () => {
    const start = performance.now();
    if (what === "dial") explorer.setTau(0.1 + 0.8 * Math.random());
    else explorer.moveComponent(0, 2 * Math.random() - 1);
    explorer.update();
    document.body.offsetHeight; // lays out
    return performance.now() - start;
})"""
# From a movement of the dial until the map has the codes of its tau, in frames of the browser.
WHOLE_MAP = """async () => {
    const times = [];
    for (let i = 0; i < 20; i++) {
        const start = performance.now();
        explorer.setTau(0.1 + 0.8 * Math.random());
        while (explorer.nOutdated) await new Promise(requestAnimationFrame);
        times.push(performance.now() - start);
    }
    return times;
}"""
N_RUNS = 3


def explorers():
    """Name and page of some models, hardly trained: that makes no difference here."""
    digits, y = load_digits(return_X_y=True)
    settings = {"likelihood": "bernoulli", "max_iter": 1, "random_state": 0}
    ends = {"tau": (0.05, 0.95)}
    vae = BNVAEEstimator(16, **ends, **settings).fit(digits / 16)
    yield "64-128-16, every tau", Explorer.from_estimator(vae, digits / 16, y, image_shape=(8, 8))
    large = np.random.RandomState(0).rand(600, 784)
    for name, range_ in (("784-500-500-32", {}), ("784-500-500-32, every tau", ends)):
        vae = BNVAEEstimator(32, hidden_layer_sizes=(500, 500), **range_, **settings).fit(large)
        yield name, Explorer.from_estimator(vae, large, image_shape=(28, 28))
    sentences, _ = make_sentences(600, random_state=0)
    vae = BNVAETextEstimator(16, embedding_size=32, hidden_size=48, max_iter=1, random_state=0)
    yield "sentences, 32-48-16", Explorer.from_estimator(vae.fit(sentences), sentences)


def main():
    header = "".join(f"{name:>9}{'tenth':>7}" for name in ("slider", "dial", "map"))
    print(f"{'model':28}{'kB':>8}{header}")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        for name, explorer in explorers():
            file = Path(folder) / "explorer.html"
            explorer.save(file)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(file.as_uri(), timeout=0)
            has_dial = page.evaluate("explorer.model.hasDial")
            for _ in range(N_RUNS):
                runs = [page.evaluate(UPDATES, "slider")]
                if has_dial:
                    runs += [page.evaluate(UPDATES, "dial"), page.evaluate(WHOLE_MAP)]
                line = f"{name:28}{file.stat().st_size / 1000:8.0f}"
                for times in runs:
                    line += f"{np.median(times):9.1f}{np.percentile(times, 10):7.1f}"
                print(line, flush=True)
            page.close()


if __name__ == "__main__":
    main()
