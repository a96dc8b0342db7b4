"""The networks that read and write sentences, and the vocabulary, as plain data."""

from torch import nn

from skvae._data import words
from skvae.display.explorer.layers import NotComputable, linear
from skvae.networks.recurrent import N_SPECIAL, RecurrentEncoder


def described_reader(encoder, analysis, weights):
    """Describe the encoder of sentences and how a sentence is cut into tokens.

    If the page cannot do the same, the result is the reason, and sentences cannot be typed.
    """
    refusal = _refusal(encoder, analysis)
    if refusal is not None:
        return {"refusal": f"Sentences cannot be typed on this page: {refusal}."}
    names = ("UNSPACED", "JOINERS", "STACKERS")
    return {
        "tokens": {
            "unit": analysis.analyzer,
            "lowercase": bool(analysis.lowercase),
            "scripts": {name.lower(): getattr(words, name) for name in names},
        },
        **_recurrence(encoder, weights),
        "pooling": encoder.pooling,
    }


def _refusal(encoder, analysis):
    """Return why the page cannot encode a sentence; None if it can."""
    cut = "the model cuts them into tokens by {}, which only Python can call"
    if callable(analysis.analyzer):
        return cut.format("a function of its own, its analyzer")
    if analysis.analyzer == "word" and analysis.tokenizer is not None:
        return cut.format("a function of its own, its tokenizer")
    if analysis.analyzer == "word" and analysis.token_pattern is not None:
        return cut.format("a pattern of its own, its token_pattern")
    if type(encoder) is not RecurrentEncoder:
        return f"it cannot compute the encoder, {type(encoder).__name__}"
    return None


def described_writer(module, vocabulary, analysis, weights):
    """Describe the network that writes sentences, and the words of its vocabulary in order."""
    if type(module.decoder) is not nn.Identity:
        raise NotComputable("The page cannot compute a decoder between the code and the writer.")
    network = module.likelihood_layer.network
    has_narrow = isinstance(network.narrow, nn.Linear)
    output = {"bias": weights.of(network.output, "bias")}
    if network.output.weight is not network.embedding.weight:
        output["weight"] = weights.of(network.output, "weight")
    # Special tokens come first, and have no word.
    in_order = [""] * N_SPECIAL + sorted(vocabulary, key=vocabulary.get)
    join = analysis.joined
    return {
        **_recurrence(network, weights),
        "to_state": linear(network.to_state, weights),
        "to_input": linear(network.to_input, weights),
        "to_output": linear(network.to_output, weights),
        "narrow": linear(network.narrow, weights) if has_narrow else None,
        "output": output,
        "max_length": module.likelihood_layer.max_length,
        "words": in_order,
        # 1 for each word after which, or before which, no space is written.
        "tight_after": [int(join([word, "x"]) == word + "x") for word in in_order],
        "tight_before": [int(join(["x", word]) == "x" + word) for word in in_order],
    }


def _recurrence(network, weights):
    """Describe cell, weights and word vectors of a recurrent network."""
    recurrence = network.recurrence
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return {
        "cell": "gru" if isinstance(recurrence, nn.GRU) else "lstm",
        "recurrence": {name: weights.of(recurrence, name) for name in names},
        "embedding": weights.of(network.embedding, "weight"),
    }
