"""Try the estimators with other libraries, and print which versions were tried.

In an environment of its own::

    python -m venv clients
    clients/bin/python -m pip install -c constraints.txt . optuna mlflow-skinny skops shap \
        imbalanced-learn umap-learn hdbscan skrub "dask[array]" distributed pandas \
        onnx onnxscript onnxruntime
    clients/bin/python benchmarks/clients.py

A client that is not installed is left out; ``--only`` takes some of them.
"""

import argparse
import os
import tempfile
import warnings
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import BNVAEEstimator, BNVAETextEstimator
from skvae.datasets import make_sentences

X, Y = load_breast_cancer(return_X_y=True)
CLIENTS = {}


def client(*packages):
    """Register a trial under the packages that it needs; the first gives it its name."""

    def register(trial):
        CLIENTS[packages[0]] = packages, trial
        return trial

    return register


def small(**parameters):
    return BNVAEEstimator(4, **{"max_iter": 20, "random_state": 0} | parameters)


@client("scikit-learn")
def with_scikit_learn():
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401  for the import below
    from sklearn.feature_selection import SelectFromModel
    from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_union

    classifier = make_pipeline(StandardScaler(), small(), LogisticRegression())
    grid = {"bnvaeestimator__tau": [0.2, 0.6]}
    halves = [slice(0, 15), slice(15, 30)]
    columns = make_column_transformer(*((small(), half) for half in halves))
    unions = make_pipeline(make_union(small(), StandardScaler()), LogisticRegression(max_iter=5000))
    chosen = make_pipeline(small(), SelectFromModel(LogisticRegression()), LogisticRegression())
    pairs = [("code", classifier), ("plain", make_pipeline(StandardScaler(), LogisticRegression()))]
    for model in (
        classifier,
        GridSearchCV(classifier, grid, cv=2),
        HalvingGridSearchCV(classifier, grid, cv=2, random_state=0),
        make_pipeline(columns, LogisticRegression()),
        unions,
        chosen,
        OneVsRestClassifier(classifier),
        BaggingClassifier(classifier, 2, random_state=0),
        VotingClassifier(pairs),
        StackingClassifier(pairs, cv=2),
    ):
        assert model.fit(X, Y).score(X, Y) > 0.85, model
    assert np.isfinite(cross_val_score(small(), X, cv=2)).all()


@client("optuna")
def with_optuna():
    import optuna
    from sklearn.model_selection import cross_val_score

    def objective(trial):
        tau = trial.suggest_float("tau", 0.05, 0.9)
        model = make_pipeline(small(tau=tau), LogisticRegression())
        return cross_val_score(model, X, Y, cv=2).mean()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=4)
    assert study.best_value > 0.85


@client("mlflow-skinny", "pandas")
def with_mlflow():
    import mlflow

    model = make_pipeline(StandardScaler(), small(), LogisticRegression()).fit(X, Y)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.sklearn.save_model(model, Path(folder) / "model", serialization_format="cloudpickle")
        loaded = mlflow.sklearn.load_model(Path(folder) / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@client("skops")
def with_skops():
    from skops.io import dumps, get_untrusted_types, loads

    model = make_pipeline(StandardScaler(), small()).fit(X)
    data = dumps(model)
    untrusted = get_untrusted_types(data=data)
    assert all(name.startswith("skvae.") for name in untrusted), untrusted
    np.testing.assert_array_equal(loads(data, trusted=untrusted).transform(X), model.transform(X))


@client("shap")
def with_shap():
    import shap

    vae = small().fit(X[:, :5])
    rows = X[:10, :5]
    explained = shap.Explainer(vae.transform, X[:50, :5], seed=0)(rows, silent=True)
    sums = explained.values.sum(1) + explained.base_values
    np.testing.assert_allclose(sums, vae.transform(rows), atol=1e-6)


@client("imbalanced-learn")
def with_imbalanced_learn():
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline as make_resampling_pipeline

    few = np.r_[np.flatnonzero(Y == 0)[:40], np.flatnonzero(Y == 1)]
    model = make_resampling_pipeline(small(), SMOTE(random_state=0), LogisticRegression())
    assert model.fit(X[few], Y[few]).score(X[few], Y[few]) > 0.85


@client("umap-learn")
def with_umap():
    import umap

    plane = make_pipeline(small(), umap.UMAP(n_neighbors=10, random_state=0, n_jobs=1))
    assert np.isfinite(plane.fit_transform(X)).all()


@client("hdbscan")
def with_hdbscan():
    import hdbscan

    labels = hdbscan.HDBSCAN(min_cluster_size=20).fit_predict(small().fit_transform(X))
    assert labels.shape == (len(X),)


@client("skrub", "pandas")
def with_skrub():
    import pandas as pd
    import skrub

    iris = load_iris(as_frame=True)
    frame = iris.data.assign(
        color=pd.Categorical.from_codes(iris.target % 2, ["red", "blue"]),
        day=pd.date_range("2026-01-01", periods=len(iris.data)),
    )
    model = make_pipeline(skrub.TableVectorizer(), small(), LogisticRegression(max_iter=1000))
    assert model.fit(frame, iris.target).score(frame, iris.target) > 0.6
    documents, _ = make_sentences(100, random_state=0)
    text = BNVAETextEstimator(2, hidden_size=8, embedding_size=8, max_iter=1, random_state=0)
    with_text = pd.DataFrame({"text": documents, "number": np.arange(100.0)})
    expected = text.fit_transform(documents)
    for taker in (
        skrub.ApplyToCols(text, cols="text"),
        skrub.TableVectorizer(high_cardinality=text, cardinality_threshold=5),
    ):
        codes = taker.fit_transform(with_text)[text.get_feature_names_out()]
        np.testing.assert_allclose(codes, expected, atol=1e-6)


@client("dask", "distributed")
def with_dask():
    import dask.array
    import joblib
    from dask.distributed import Client
    from sklearn.model_selection import cross_val_score

    lazy = dask.array.from_array(X, chunks=(100, 30))
    np.testing.assert_allclose(small().fit(lazy).transform(X), small().fit(X).transform(X))
    cluster = Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None)
    with cluster, joblib.parallel_backend("dask"):
        scores = cross_val_score(small(), X, cv=2, n_jobs=2)
    np.testing.assert_array_equal(scores, cross_val_score(small(), X, cv=2))


@client("onnxruntime", "onnx", "onnxscript")
def with_onnxruntime():
    import onnxruntime
    import torch

    rows = X.astype(np.float32)
    vae = small().fit(rows)
    program = torch.onnx.export(vae.export(), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (codes,) = session.run(None, {session.get_inputs()[0].name: rows})
    np.testing.assert_allclose(codes, vae.transform(rows), atol=1e-4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    failed = []
    for name in parser.parse_args().only:
        packages, trial = CLIENTS[name]
        try:
            versions = ", ".join(f"{package} {version(package)}" for package in packages)
        except PackageNotFoundError as missing:
            print(f"{name:18} left out: {missing} is not installed", flush=True)
            continue
        try:
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")  # of what others use in each other
                trial()
        except Exception as error:  # of any kind: the others are tried, then it fails
            failed.append(name)
            print(f"{versions:55} {type(error).__name__}: {str(error)[:300]}", flush=True)
        else:
            print(f"{versions:55} works", flush=True)
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
