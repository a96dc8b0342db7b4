"""What the pages in the browser need: models of the digits, and a text VAE while it collapses.

The models are fitted when the pages are built, and again when this file has changed. The text VAE
takes longer, and what it said is stored beside this file, which trains it anew when it is run.
"""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from skvae import BNVAEEstimator, BNVAETextEstimator, Explorer, PosteriorCollapseWarning
from skvae.bounds import gaussian_kl
from skvae.datasets import make_sentences
from skvae.display.arrays import class_styles
from skvae.display.explorer.description import described_model
from skvae.display.explorer.packing import packed
from skvae.display.explorer.page import ARITHMETIC, as_json, script

HERE = Path(__file__).parent
BUILT = HERE / "built"
SNAPSHOTS = HERE / "text_snapshots.json"
FITTED = HERE / "fitted.json"
N_ROWS = 120  # digits and sentences that are shown
# Weight of the KL, and which sentences, of every third: first it costs nothing.
SCHEDULE = [(0.0, None)] * 3 + [(1.0, k) for k in (0, 1, 2)] * 2 + [(1.0, None)] * 2


def digits_models(max_iter):
    """A plain VAE of the digits, and one of the same size for every tau."""
    X, y = load_digits(return_X_y=True)
    settings = {"likelihood": "bernoulli", "max_iter": max_iter, "random_state": 0}
    plain = BNVAEEstimator(16, posterior="gaussian", **settings)
    every = BNVAEEstimator(16, tau=(0.05, 0.95), **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        return plain.fit(X / 16), every.fit(X / 16), X / 16, y


def snapshots(n_sentences, **settings):
    """What a text VAE says of its sentences, after each part of its training."""
    sentences, factors = make_sentences(n_sentences, random_state=0)
    vae = BNVAETextEstimator(
        8,
        embedding_size=24,
        hidden_size=40,
        learning_rate=1e-2,
        batch_size=16,
        random_state=0,
        **settings,
    )
    shown, taken = sentences[:N_ROWS], []
    for beta, part in SCHEDULE:
        vae.set_params(beta=beta).partial_fit(sentences if part is None else sentences[part::3])
        # partial_fit remembers moments of an encoder that has moved on: take those of now.
        rows = vae._read_rows(sentences)
        vae.module_.finalise(rows.in_order(vae.module_.prior().loc.dtype))
        kl = gaussian_kl(*vae.encode(sentences)).mean(0)
        codes = vae.transform(shown)
        if not taken:
            first, second = np.argsort(-kl)[:2]
        taken.append(
            {
                "weight": beta,
                "kl": kl.astype(float).round(4).tolist(),
                "floor": vae.module_.posterior_layer.component_floors().round(4).tolist(),
                "codes": codes[:, [first, second]].round(3).tolist(),
                "rebuilt": vae.inverse_transform(codes[:3]),
            }
        )
    return {"snapshots": taken}, shown[:3], factors[:N_ROWS, 0].tolist()


def colors_of(y):
    """A color for each row, alike for its class."""
    colors = np.empty(len(y), dtype=object)
    for of_class, style in class_styles(y):
        colors[of_class] = style["color"]
    return colors.tolist()


def text_snapshots(n_sentences=600):
    """A plain text VAE while it collapses, and one of matched moments."""
    dead, originals, sentiment = snapshots(n_sentences, posterior="gaussian")
    alive, _, _ = snapshots(n_sentences, tau=0.4)
    colors = colors_of(np.array(sentiment))
    return {"plain": dead, "moments": alive, "originals": originals, "colors": colors}


def lesson(plain, every, X, y):
    """The data of the lesson, which `lesson.js` draws."""
    rows = np.concatenate([np.flatnonzero(y == digit)[: N_ROWS // 10] for digit in range(10)])
    return {
        "plain": described_model(plain),
        "every": described_model(every),
        "rows": packed(X[rows]),
        "labels": y[rows].tolist(),
        "image": {"shape": [8, 8], "low": 0.0, "high": 1.0},
        "noise": packed(np.random.RandomState(0).randn(8, 16)),
        "text": json.loads(SNAPSHOTS.read_text(encoding="utf-8")),
    }


def digits_data(max_iter):
    """The data of the lesson and of the explorer, fitted if they are not stored."""
    made_from = hashlib.sha256(Path(__file__).read_bytes() + SNAPSHOTS.read_bytes()).hexdigest()
    if FITTED.exists():
        data = json.loads(FITTED.read_text(encoding="utf-8"))
        if data["made_from"] == made_from:
            return data
    plain, every, X, y = digits_models(max_iter)
    title = "Handwritten digits: one model for every tau"
    explorer = Explorer.from_estimator(
        every, X, y, image_shape=(8, 8), y_name="digit", n_rows=400, title=title
    )
    data = {"made_from": made_from, "lesson": lesson(plain, every, X, y), "explorer": explorer.data}
    FITTED.write_text(json.dumps(data), encoding="utf-8")
    return data


def write(max_iter=120):
    """Write the lesson's script and the explorer's page into `built`."""
    BUILT.mkdir(exist_ok=True)
    data = digits_data(max_iter)
    Explorer(data["explorer"]).save(BUILT / "explorer.html")
    (BUILT / "lesson.js").write_text(lesson_script(data["lesson"]), encoding="utf-8")


def lesson_script(data):
    """The modules of the explorer that the lesson needs, the lesson and its data as one script."""
    modules = script((*ARITHMETIC, "elements", "views", "codemap"))
    own = script(("lesson",), HERE)
    return f"(() => {{\nconst DATA = {as_json(data)};\n{modules}\n{own}\n}})();\n"


if __name__ == "__main__":
    text = json.dumps(text_snapshots(), separators=(",", ":"))
    SNAPSHOTS.write_text(text + "\n", encoding="utf-8")
