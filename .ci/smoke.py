"""What a user does first, with skvae as it is installed: run from a folder without the checkout."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.distributions import Normal, kl_divergence

import skvae
from skvae import BNVAEEstimator, BNVAETextEstimator, MomentPosterior
from skvae.datasets import make_sentences

assert Path(skvae.__file__).is_relative_to(sys.prefix), f"not the installed one: {skvae.__file__}"

with tempfile.TemporaryDirectory() as folder:
    # rows of numbers
    X, _ = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), BNVAEEstimator(2, max_iter=20, random_state=0))
    code = pipeline.fit_transform(X)
    vae = pipeline[-1]
    assert code.shape == (150, 2)
    assert vae.kl_per_component_.sum() >= vae.kl_floor_ > 0
    assert pipeline.inverse_transform(code).shape == X.shape
    assert np.isfinite(pipeline.score_samples(X)).all()
    assert vae.diagnose(pipeline[0].transform(X)).rate > vae.kl_floor_
    vae.save(Path(folder, "vae.safetensors"))
    again = BNVAEEstimator.load(Path(folder, "vae.safetensors"))
    np.testing.assert_array_equal(again.sample(5, random_state=0), vae.sample(5, random_state=0))

    # sentences
    sentences, _ = make_sentences(200, random_state=0)
    text = BNVAETextEstimator(2, hidden_size=8, max_iter=2, random_state=0).fit(sentences)
    assert text.transform(sentences).shape == (200, 2)
    text.save(Path(folder, "text.safetensors"))
    again = BNVAETextEstimator.load(Path(folder, "text.safetensors"))
    assert again.sample(3, random_state=0) == text.sample(3, random_state=0)

# the layer alone
posterior = MomentPosterior(in_features=4, n_components=2, tau=0.5)
q = posterior(torch.from_numpy(X).float())
q.rsample().sum().backward()
assert kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean() >= posterior.kl_floor() - 1e-4

print(f"skvae {skvae.__version__}, torch {torch.__version__}, numpy {np.__version__}: it works")
