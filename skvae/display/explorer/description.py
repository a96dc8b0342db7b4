"""A fitted estimator as plain data, from which a page computes codes and decoded rows.

The explorer reads private attributes of estimators in this file only. A model for a range of tau is
described by the plain models that it becomes at some values of tau.
"""

import numpy as np
import torch

from skvae import likelihoods, posteriors
from skvae.display.explorer.layers import NotComputable, described_network, linear
from skvae.display.explorer.packing import packed
from skvae.display.explorer.sentences import described_reader, described_writer
from skvae.display.fitted import fitted_attribute
from skvae.every_tau import N_MOMENTS, N_TERMS, nodes
from skvae.likelihoods.sentences import TokensLikelihood

MOST_WEIGHTS = 8_000_000  # in the networks of a page, which then takes 43 MB

POSTERIOR_NAMES = {layer: name for name, layer in posteriors.POSTERIORS.items()}
LIKELIHOOD_NAMES = {layer: name for name, layer in likelihoods.LIKELIHOODS.items()}


def described_model(estimator):
    """Describe a fitted estimator as plain data."""
    module = fitted_attribute(estimator, "module_")
    n_weights = sum(p.numel() for p in module.parameters())
    if n_weights > MOST_WEIGHTS:
        raise NotComputable(
            f"The networks have {n_weights:,} weights, and a page takes at most {MOST_WEIGHTS:,}. "
            "Fit smaller networks or, for sentences, fewer words (max_features=...)."
        )
    weights = Weights(estimator)
    description = {
        "name": type(estimator).__name__,
        "n_components": module.posterior_layer.n_components,
        "tau": {"at": estimator.tau_, **weights.ends()},
        "posterior": _posterior(estimator, weights),
        "terms": _terms(estimator),
    }
    if isinstance(module.likelihood_layer, TokensLikelihood):
        analysis = estimator._analysis()
        return {
            **description,
            "reader": described_reader(module.encoder, analysis, weights),
            "writer": described_writer(module, estimator.vocabulary_, analysis, weights),
        }
    return {
        **description,
        "encoder": described_network("encoder", module.encoder, weights),
        "decoder": described_network("decoder", module.decoder, weights),
        "likelihood": _likelihood(module.likelihood_layer, weights),
        "units": {
            "offset": packed(estimator._model.units.offset),
            "scale": packed(estimator._model.units.scale),
        },
        "columns": _columns(estimator),
        "conditions": _conditions(estimator),
    }


class Weights:
    """Packed weights of the layers of an estimator.

    The weights of a model for a range of tau are parabolas along the logit of tau.

    Parameters
    ----------
    estimator : BNVAEEstimator or BNVAETextEstimator
        Fitted estimator.
    """

    def __init__(self, estimator):
        self.every = estimator._model.every
        modules = [estimator.module_]
        if self.every is not None:
            modules = [self.every.at_tau(self.every.tau_at(t)) for t in (-1.0, 0.0, 1.0)]
        self._states = [module.state_dict() for module in modules]
        self._names = {id(module): name for name, module in estimator.module_.named_modules()}

    def ends(self):
        """Return the ends of the range of tau; nothing for a model of a single tau."""
        return {} if self.every is None else {"low": self.every.low, "high": self.every.high}

    def of(self, layer, name):
        """Return the packed weights of a layer, or the packed coefficients of their parabolas."""
        full = f"{self._names[id(layer)]}.{name}"
        values = [state[full].detach().double().cpu().numpy() for state in self._states]
        first = values[0]
        if all(np.array_equal(first, other) for other in values[1:]):
            return packed(first)
        low, middle, high = values
        parabola = middle, (high - low) / 2, (high + low) / 2 - middle  # factors of 1, t, t^2
        return {**packed(parabola), "parabola": True}


# -- distributions -----------------------------------------------------------------------------


def _posterior(estimator, weights):
    """Describe the posterior: kind, heads, moments along the range of tau, further weights."""
    layer = estimator.module_.posterior_layer
    if type(layer) is posteriors.PriorPosterior:
        raise NotComputable("posterior='none' has no code to explore. Fit another posterior.")
    if type(layer) not in POSTERIOR_NAMES:
        raise NotComputable(
            f"The page cannot compute the custom posterior {type(layer).__name__}; it computes "
            f"{sorted(POSTERIOR_NAMES.values())}."
        )
    moments = [at.posterior_layer.stored_moments() for at in _models(estimator, N_MOMENTS)]
    described = {
        "kind": POSTERIOR_NAMES[type(layer)],
        "eps": layer.eps,
        "heads": linear(layer.heads, weights),
        "moments": {
            name: packed([getattr(each, name).double().cpu().numpy() for each in moments])
            for name in ("mean", "variance", "mean_square")
        },
    }
    for name in ("beta", "theta"):
        if getattr(layer, name, None) is not None:
            described[name] = weights.of(layer, name)
    if "theta" in described:
        described["theta_pace"] = getattr(layer, "theta_pace", 1.0)
    return described


def _models(estimator, n_nodes):
    """Return the plain models at the nodes of the range of tau, or the only model there is."""
    every = estimator._model.every
    if every is None:
        return [estimator.module_]
    return [every.at_tau(every.tau_at(t)) for t in nodes(n_nodes)]


def _terms(estimator):
    """Describe KL and floor of each component, and distortion, along the range of tau."""
    every = estimator._model.every
    taus = [] if every is None else [every.tau_at(t) for t in nodes(N_TERMS)]
    moved = [estimator.at_tau(tau) for tau in taus] or [estimator]
    kl = np.array([one.kl_per_component_ for one in moved])
    bounds = np.array([one.lower_bound_ for one in moved])
    return {
        "kl": packed(kl),
        "floor": packed([one.module_.posterior_layer.component_floors() for one in moved]),
        "distortion": packed(-bounds - kl.sum(axis=1)),
    }


def _likelihood(layer, weights):
    """Describe the likelihood, in one part for each kind of columns."""
    pairs = [(layer, range(layer.n_features))]
    if type(layer) is likelihoods.MixedLikelihood:
        pairs = zip(layer.parts, layer.columns, strict=True)
    parts = [
        {"columns": [int(j) for j in columns], **_kind(part, weights)} for part, columns in pairs
    ]
    return {"parts": parts, "missing": bool(layer.missing), "n_columns": layer.n_features}


def _kind(layer, weights):
    """Describe a likelihood whose columns are all of one kind."""
    if type(layer) not in LIKELIHOOD_NAMES:
        raise NotComputable(
            f"The page cannot compute the custom likelihood {type(layer).__name__}; it "
            f"computes {sorted(LIKELIHOOD_NAMES.values())}."
        )
    described = {"kind": LIKELIHOOD_NAMES[type(layer)], "n_outputs": layer.n_outputs}
    if isinstance(layer, likelihoods.CountLikelihood):
        described |= {"exposure": layer.exposure, "until": layer.exponential_until}
    if isinstance(layer, likelihoods.CategoricalLikelihood):
        described["n_categories"] = layer.n_categories
    if getattr(layer, "n_rows", None) is not None:
        described["constant"] = weights.of(layer, "constant")
    # The page shows means and no noise, so it needs no scales of the noise.
    for name in ("bias", "log_mean", "seen_offset", "seen_scale", "log_total"):
        if hasattr(layer, name):
            described[name] = weights.of(layer, name)
    return described


# -- tables and rows ---------------------------------------------------------------------------


def _columns(estimator):
    """List names and categories of the columns that the model describes."""
    table = estimator._model.reader
    described = table.modeled.tolist() if table.has_kinds else range(estimator.n_features_in_)
    columns = []
    for j in described:
        column = {"name": _column_name(table, j)}
        if table.has_kinds and j in table.categories:
            column["categories"] = [str(one) for one in table.categories[j]]
        columns.append(column)
    return columns


def _column_name(table, j):
    """Return the name of a column or, if it has none, its number."""
    is_named = table.names is not None and not isinstance(table.names[j], int)
    return str(table.names[j]) if is_named else f"column {j}"


def _conditions(estimator):
    """List name and categories, or name and range, of each condition, in the context's order."""
    table, conditions = estimator._model.reader, []
    if not table.n_context:
        return []
    distribution = table.conditions.distribution
    ranges = zip(distribution.low.tolist(), distribution.high.tolist(), strict=True)
    for j in table.conditions.columns:
        condition = {"name": _column_name(table, j)}
        if j in table.categories:
            condition["categories"] = [str(one) for one in table.categories[j]]
        else:
            mean, scale = table.conditions.standards[j]
            condition |= {"mean": mean, "scale": scale if np.isfinite(scale) else 0.0}
            condition["low"], condition["high"] = next(ranges)
        conditions.append(condition)
    return conditions


def described_rows(estimator, X, n_rows):
    """Describe evenly spaced rows; return this, their positions and the number of all rows."""
    rows = estimator._read_rows(X)
    index = np.unique(np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int))
    chosen = rows.subset(index)
    if isinstance(estimator.module_.likelihood_layer, TokensLikelihood):
        module = estimator.module_
        with torch.no_grad():
            features = [module.features(b.x, b.context) for b in chosen.in_order(torch.float32)]
        documents = list(X)  # by place: a series may have other numbers for labels
        sentences = [str(documents[i])[:500] for i in index]
        features = torch.cat(features).double().cpu().numpy()
        return {"sentences": sentences, "features": packed(features)}, index, len(rows)
    values = chosen.X.toarray() if hasattr(chosen.X, "toarray") else np.asarray(chosen.X)
    context = {} if chosen.context is None else {"context": packed(chosen.context)}
    return {"values": packed(values), **context}, index, len(rows)
