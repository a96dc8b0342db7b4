"""A fitted estimator as plain data: all that a page must know to compute what it computes.

What is read of the estimators' insides is read here, and nowhere else in the explorer. Of a model
for a range of tau that is little: the plain models that it makes at some values of tau.
"""

import numpy as np
import torch
from torch import nn

from skvae import likelihoods, posteriors
from skvae.display.explorer.packing import packed
from skvae.display.reading import learnt
from skvae.likelihoods.sentences import TokensLikelihood
from skvae.networks import ACTIVATIONS, MLP
from skvae.networks.images import _Chain
from skvae.networks.recurrent import N_SPECIAL

N_MOMENTS, N_TERMS = 33, 9  # values of tau that moments and nats are interpolated between
LARGEST = 8_000_000  # numbers in the networks of a page, which are 43 MB

ACTIVATION_NAMES = {layer: name for name, layer in ACTIVATIONS.items()}
POSTERIOR_NAMES = {layer: name for name, layer in posteriors.POSTERIORS.items()}
LIKELIHOOD_NAMES = {layer: name for name, layer in likelihoods.LIKELIHOODS.items()}


class NotComputable(TypeError):
    """A model that the page cannot compute."""


def described_model(estimator):
    """Describe a fitted estimator as plain data.

    Parameters
    ----------
    estimator : BNVAEEstimator or BNVAETextEstimator
        Fitted, for one tau or for a range.

    Returns
    -------
    dict
        What `json.dumps` takes: networks layer by layer, posterior, likelihood, units of the
        columns, conditions, and along the range of tau what changes with it.

    Raises
    ------
    NotComputable
        If a network, the posterior or the likelihood is none that the page can compute.
    """
    module = learnt(estimator, "module_")
    n_numbers = sum(p.numel() for p in module.parameters())
    if n_numbers > LARGEST:
        raise NotComputable(
            f"The networks have {n_numbers:,} weights, and a page takes at most {LARGEST:,}. Fit "
            "smaller networks, or of sentences fewer words (max_features=...)."
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
        return {**description, "writer": _writer(estimator, weights)}
    return {
        **description,
        "encoder": _network("encoder", module.encoder, weights),
        "decoder": _network("decoder", module.decoder, weights),
        "likelihood": _likelihood(module.likelihood_layer, weights),
        "units": {
            "offset": packed(estimator._model.units.offset),
            "scale": packed(estimator._model.units.scale),
        },
        "columns": _columns(estimator),
        "conditions": _conditions(estimator),
    }


class Weights:
    """Weights by their names: numbers, or where tau is a dial parabolas along its logit.

    Parameters
    ----------
    estimator : BNVAEEstimator or BNVAETextEstimator
        Fitted.
    """

    def __init__(self, estimator):
        self.every = estimator._model.every
        modules = [estimator.module_]
        if self.every is not None:
            modules = [self.every.at_tau(self.every.tau_at(t)) for t in (-1.0, 0.0, 1.0)]
        self._states = [module.state_dict() for module in modules]
        self._names = {id(module): name for name, module in estimator.module_.named_modules()}

    def ends(self):
        """The ends of the range of tau, if it is one."""
        return {} if self.every is None else {"low": self.every.low, "high": self.every.high}

    def of(self, layer, name):
        """The weights of a layer, packed."""
        full = f"{self._names[id(layer)]}.{name}"
        values = [state[full].detach().double().cpu().numpy() for state in self._states]
        first = values[0]
        if all(np.array_equal(first, other) for other in values[1:]):
            return packed(first)
        low, middle, high = values
        parabola = middle, (high - low) / 2, (high + low) / 2 - middle  # 1, t and t^2
        return {**packed(parabola), "parabola": True}


# -- networks ----------------------------------------------------------------------------------


def _network(name, network, weights):
    """A network as a list of layers."""
    if type(network) is MLP:
        told = {"layer": "context"}  # what is told stands beside the input; nothing, if nothing is
        return [told, *_network(name, network.layers, weights)]
    if type(network) is _Chain:
        return [
            layer
            for part in (network.first, network.second)
            for layer in _network(name, part, weights)
        ]
    if type(network) is nn.Sequential:
        return [layer for part in network for layer in _network(name, part, weights)]
    if type(network) in LAYERS:
        layers = LAYERS[type(network)](network, weights)
        if layers is not None:
            return layers
    known = sorted(layer.__name__ for layer in (*LAYERS, nn.Sequential))
    raise NotComputable(
        f"The {name} holds a layer that the page cannot compute: {network!r}. It computes those of "
        f"BNVAEEstimator, ConvEncoder and ConvDecoder, and networks of {', '.join(known)} in their "
        "usual forms."
    )


def _linear(layer, weights):
    bias = {} if layer.bias is None else {"bias": weights.of(layer, "bias")}
    return [{"layer": "linear", "weight": weights.of(layer, "weight"), **bias}]


def _convolution(layer, weights):
    unusual = layer.groups != 1 or set(layer.dilation) != {1} or layer.padding_mode != "zeros"
    if unusual or isinstance(layer.padding, str) or layer.bias is None:
        return None
    return [
        {
            "layer": "convolution",
            "weight": weights.of(layer, "weight"),
            "bias": weights.of(layer, "bias"),
            "stride": list(layer.stride),
            "padding": list(layer.padding),
        }
    ]


def _upsample(layer, weights):
    if layer.mode != "nearest" or not isinstance(layer.size, tuple):
        return None
    return [{"layer": "upsample", "size": list(layer.size)}]


def _activation(layer, weights):
    if repr(layer).replace("inplace=True", "") != repr(
        ACTIVATIONS[ACTIVATION_NAMES[type(layer)]]()
    ):
        return None  # of other settings than the usual ones
    return [{"layer": ACTIVATION_NAMES[type(layer)]}]


def _unflatten(layer, weights):
    return [{"layer": "shape", "shape": list(layer.unflattened_size)}]


def _nothing(layer, weights):
    return []


LAYERS = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.Upsample: _upsample,
    nn.Unflatten: _unflatten,
    nn.Flatten: _nothing,
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
    **dict.fromkeys(ACTIVATION_NAMES, _activation),
}

# -- distributions -----------------------------------------------------------------------------


def _posterior(estimator, weights):
    layer = estimator.module_.posterior_layer
    if type(layer) is posteriors.PriorPosterior:
        raise NotComputable("posterior='none' has no code to explore. Fit another posterior.")
    if type(layer) not in POSTERIOR_NAMES:
        raise NotComputable(
            f"The page cannot compute a posterior of your own, {type(layer).__name__}; it computes "
            f"{sorted(POSTERIOR_NAMES.values())}."
        )
    moments = [at.posterior_layer.stored_moments() for at in _models(estimator, N_MOMENTS)]
    described = {
        "kind": POSTERIOR_NAMES[type(layer)],
        "eps": layer.eps,
        "heads": _linear(layer.heads, weights)[0],
        "moments": {
            name: packed(np.array([getattr(one, name).double().cpu().numpy() for one in moments]))
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
    """The plain models at so many values of tau, spread as `nodes` spreads them."""
    every = estimator._model.every
    if every is None:
        return [estimator.module_]
    return [every.at_tau(every.tau_at(t)) for t in nodes(n_nodes)]


def nodes(n):
    """Places from -1 to 1 that a polynomial is known by.

    Parameters
    ----------
    n : int
        How many.

    Returns
    -------
    ndarray of shape (n,)
        The extremes of a Chebyshev polynomial, rising.
    """
    return np.sin(np.pi * np.arange(1 - n, n, 2) / (2 * (n - 1)))


def _terms(estimator):
    """Mean KL and floor of each component and the distortion, along the range of tau, in nats."""
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
    """Means and inputs of each kind of columns: what kind, which columns, which outputs."""
    pairs = [(layer, range(layer.n_features))]
    if type(layer) is likelihoods.MixedLikelihood:
        pairs = zip(layer.parts, layer.columns, strict=True)
    parts = [
        {"columns": [int(j) for j in columns], **_part(part, weights)} for part, columns in pairs
    ]
    return {"parts": parts, "missing": bool(layer.missing), "n_columns": layer.n_features}


def _part(layer, weights):
    if type(layer) not in LIKELIHOOD_NAMES:
        raise NotComputable(
            f"The page cannot compute a likelihood of your own, {type(layer).__name__}; it "
            f"computes {sorted(LIKELIHOOD_NAMES.values())}."
        )
    described = {"kind": LIKELIHOOD_NAMES[type(layer)], "n_outputs": layer.n_outputs}
    if isinstance(layer, likelihoods.CountLikelihood):
        described |= {"exposure": layer.exposure, "until": layer.exponential_until}
    if isinstance(layer, likelihoods.CategoricalLikelihood):
        described["n_categories"] = layer.n_categories
    if getattr(layer, "n_rows", None) is not None:
        described["constant"] = weights.of(layer, "constant")
    # All that means and inputs are made of; noise scales are not drawn.
    for name in ("bias", "log_mean", "seen_offset", "seen_scale", "log_total"):
        if hasattr(layer, name):
            described[name] = weights.of(layer, name)
    return described


# -- tables and sentences ----------------------------------------------------------------------


def _columns(estimator):
    """Names of the columns that are described, and their categories."""
    table = estimator._model.reader
    described = table.modeled.tolist() if table.has_kinds else range(estimator.n_features_in_)
    names, columns = table.names, []
    for j in described:
        column = {
            "name": f"column {j}" if names is None or isinstance(names[j], int) else str(names[j])
        }
        if table.has_kinds and j in table.categories:
            column["categories"] = [str(one) for one in table.categories[j]]
        columns.append(column)
    return columns


def _conditions(estimator):
    """What the conditions are, each with its place in the context."""
    if estimator.conditions is None:
        return []
    table, conditions = estimator._model.reader, []
    distribution = table.conditions.distribution
    ranges = zip(distribution.low.tolist(), distribution.high.tolist(), strict=True)
    for j in table.conditions.columns:
        condition = {"name": str(table.names[j]) if table.schema else f"column {j}"}
        if j in table.categories:
            condition["categories"] = [str(one) for one in table.categories[j]]
        else:
            mean, scale = table.conditions.standards[j]
            condition |= {"mean": mean, "scale": scale if np.isfinite(scale) else 0.0}
            condition["low"], condition["high"] = next(ranges)
        conditions.append(condition)
    return conditions


def _writer(estimator, weights):
    """The network that writes sentences, and its words by their numbers."""
    module = estimator.module_
    if type(module.decoder) is not nn.Identity:
        raise NotComputable("The page cannot compute a decoder between the code and the writer.")
    network = module.likelihood_layer.network
    recurrence = network.recurrence
    tied = network.output.weight is network.embedding.weight
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    known = {number: word for word, number in estimator.vocabulary_.items()}
    vocabulary = [str(known.get(number, "")) for number in range(N_SPECIAL + len(known))]
    join = estimator._analysis().joined
    return {
        "cell": "gru" if isinstance(recurrence, nn.GRU) else "lstm",
        "recurrence": {name: weights.of(recurrence, name) for name in names},
        "embedding": weights.of(network.embedding, "weight"),
        "to_state": _linear(network.to_state, weights)[0],
        "to_input": _linear(network.to_input, weights)[0],
        "to_output": _linear(network.to_output, weights)[0],
        "narrow": _linear(network.narrow, weights)[0]
        if isinstance(network.narrow, nn.Linear)
        else None,
        "output": {
            "bias": weights.of(network.output, "bias"),
            **({} if tied else {"weight": weights.of(network.output, "weight")}),
        },
        "max_length": module.likelihood_layer.max_length,
        "words": vocabulary,
        # After and before which words no space is written.
        "tight_after": [int(join([word, "x"]) == word + "x") for word in vocabulary],
        "tight_before": [int(join(["x", word]) == "x" + word) for word in vocabulary],
    }


def described_rows(estimator, X, n_rows):
    """Describe some rows, at even distances.

    Parameters
    ----------
    estimator : BNVAEEstimator or BNVAETextEstimator
        Fitted.
    X : {array-like, DataFrame, CSR, list of str}
        The rows, as `transform` takes them.
    n_rows : int
        How many, at most.

    Returns
    -------
    described : dict
        The rows as the page takes them: the "values" of a table in its own units, or "sentences"
        and the "features" that the encoder makes of them; and the "context".
    index : ndarray of int
        Which rows they are.
    n_samples : int
        Rows of X.
    """
    rows = estimator._read_rows(X)
    index = np.unique(np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int))
    chosen = rows.subset(index)
    if isinstance(estimator.module_.likelihood_layer, TokensLikelihood):
        module = estimator.module_
        with torch.no_grad():
            features = [module.features(b.x, b.context) for b in chosen.in_order(torch.float32)]
        sentences = [str(X[i])[:500] for i in index]
        features = torch.cat(features).double().cpu().numpy()
        return {"sentences": sentences, "features": packed(features)}, index, len(rows)
    values = chosen.X.toarray() if hasattr(chosen.X, "toarray") else np.asarray(chosen.X)
    context = {} if chosen.context is None else {"context": packed(chosen.context)}
    return {"values": packed(values), **context}, index, len(rows)
