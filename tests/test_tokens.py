"""The likelihood of sentences: log-probabilities sum over tokens, and sentences are generated."""

import itertools

import pytest
import torch
from torch import nn

from skvae.likelihoods import TokensLikelihood, nucleus
from skvae.networks.recurrent import BOUNDARY, PADDING, UNKNOWN

X = torch.tensor([[1, 3, 4, 1, 0], [1, 4, 1, 0, 0], [1, 1, 0, 0, 0]])


def likelihood(n_tokens=6, max_length=4, seed=0, scale=4.0, **settings):
    """A likelihood with weights so large that the words differ in probability."""
    torch.manual_seed(seed)
    module = TokensLikelihood(n_tokens, max_length, 2, 4, 8, **settings).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module.eval()


def by_hand(module, z, row):
    """Log-probability of one sentence by PyTorch's own cross entropy, step by step."""
    network, state, total = module.network, module.network.first_state(z), 0.0
    for here, following in itertools.pairwise(row[row != PADDING]):
        logits, state = network.step(here[None], z, state)
        total = total - nn.functional.cross_entropy(logits, following[None])
    return total


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_log_prob_is_the_sum_over_the_tokens(cell):
    module, z = likelihood(cell=cell), torch.randn(3, 2, dtype=torch.float64)
    expected = torch.stack([by_hand(module, z[k : k + 1], X[k]) for k in range(3)])
    torch.testing.assert_close(module(z).log_prob(X), expected)


def test_gradients_of_log_prob_are_right():
    module = likelihood(scale=1.5)
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: module(z).log_prob(X), (z,))
    value = module(z).log_prob(X) @ weight
    output = module.network.output.weight
    (ours,) = torch.autograd.grad(value, output)
    by_torch = sum(w * by_hand(module, z[k : k + 1], X[k]) for k, w in enumerate(weight))
    (theirs,) = torch.autograd.grad(by_torch, output)
    torch.testing.assert_close(ours, theirs)


def test_log_prob_and_gradients_of_an_impossible_word_are_finite():
    module = TokensLikelihood(6, 4, 2, 4, 8)
    with torch.no_grad():
        module.network.output.bias[3] = -1e4
    nats = module(torch.zeros(1, 2)).log_prob(torch.tensor([[1, 3, 1]]))
    gradients = torch.autograd.grad(nats.sum(), list(module.network.output.parameters()))
    assert float(nats.detach()) == pytest.approx(-1e4, rel=0.01)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_log_prob_of_a_row_does_not_depend_on_the_other_rows():
    module, z = likelihood(), torch.randn(3, 2, dtype=torch.float64)
    alone = torch.cat([module(z[k : k + 1]).log_prob(X[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(module(z).log_prob(X), alone)


def test_start_sets_the_bias_to_the_log_shares():
    module = TokensLikelihood(5, 4, 2, 4, 8)
    module.start(torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2]))
    bias = module.network.output.bias.exp()
    torch.testing.assert_close(bias, torch.tensor([0.02, 0.5, 0.02, 0.3, 0.2]))


def test_word_dropout_replaces_input_words_in_training_only():
    module, z = likelihood(word_dropout=1.0), torch.zeros(1, 2, dtype=torch.float64)
    x = torch.tensor([[1, 3, 4, 1]])
    usual = float(module(z).log_prob(x).detach())
    module.train()
    network, state, dropped = module.network, module.network.first_state(z), 0.0
    for read, following in ((BOUNDARY, 3), (UNKNOWN, 4), (UNKNOWN, BOUNDARY)):
        logits, state = network.step(torch.tensor([read]), z, state)
        dropped += float(logits.log_softmax(-1)[0, following].detach())
    assert float(module(z).log_prob(x).detach()) == pytest.approx(dropped)
    assert dropped != pytest.approx(usual)


# -- generation ----------------------------------------------------------------------------------


def sentences(n_words, max_length):
    """All sentences that can be generated; words are the tokens from 3 on."""
    for n in range(max_length + 1):
        for words in itertools.product(range(3, 3 + n_words), repeat=n):
            yield [BOUNDARY, *words, BOUNDARY, *[PADDING] * (max_length - n)]


def generated_nats(module, z, row):
    """Log-probability of generating a row: two tokens are excluded, and the last end is certain."""
    state, nats = module.network.first_state(z), 0.0
    for step, (here, following) in enumerate(itertools.pairwise(row[: row.index(1, 1) + 1])):
        if step == module.max_length:
            break
        logits, state = module.network.step(torch.tensor([here]), z, state)
        logits[:, [PADDING, UNKNOWN]] = -torch.inf
        nats += float(logits.log_softmax(-1)[0, following].detach())
    return nats


def test_frequencies_of_samples_are_their_probabilities():
    module, z = likelihood(n_tokens=5, max_length=2), torch.randn(1, 2, dtype=torch.float64)
    rows = list(sentences(2, 2))
    expected = torch.tensor([generated_nats(module, z, row) for row in rows]).exp()
    assert float(expected.sum()) == pytest.approx(1.0)
    n = 4000
    drawn = module(z.expand(n, -1)).sample().tolist()
    shares = torch.tensor([drawn.count(row) / n for row in rows])
    assert (shares - expected).abs().max() < 4 * 0.5 / n**0.5


def test_a_beam_that_keeps_everything_finds_the_most_probable_sentence():
    for seed in range(5):
        module, z = likelihood(n_tokens=5, max_length=3, seed=seed), torch.ones(1, 2).double()
        best = max(sentences(2, 3), key=lambda row: generated_nats(module, z, row))
        assert module(z).mode(n_beams=16)[0].tolist() == best


def test_one_beam_takes_the_most_probable_word_each_time():
    module, z = likelihood(n_tokens=8), torch.randn(20, 2, dtype=torch.float64)
    words = module(z).mode()
    state = module.network.first_state(z)
    for step in range(4):
        logits, state = module.network.step(words[:, step], z, state)
        logits[:, [PADDING, UNKNOWN]] = -torch.inf
        unfinished = (words[:, 1 : step + 1] != BOUNDARY).all(1)
        assert torch.equal(words[unfinished, step + 1], logits.argmax(1)[unfinished])


def test_more_beams_find_sentences_at_least_as_probable():
    module, z = likelihood(n_tokens=8), torch.randn(20, 2, dtype=torch.float64)
    for k in range(20):
        one, many = (
            generated_nats(module, z[k : k + 1], module(z[k : k + 1]).mode(n)[0].tolist())
            for n in (1, 64)
        )
        assert many >= one - 1e-9


@pytest.mark.parametrize(
    "generate", [lambda p: p.sample(), lambda p: p.mode(), lambda p: p.mode(3)]
)
def test_generated_rows_are_sentences(generate):
    torch.manual_seed(0)
    words = generate(TokensLikelihood(9, 4, 2, 4, 8)(torch.randn(50, 2)))
    assert words.shape == (50, 6)
    assert (words[:, 0] == BOUNDARY).all()
    assert not (words == UNKNOWN).any()
    for row in words.tolist():
        end = row.index(BOUNDARY, 1)
        assert PADDING not in row[:end]
        assert set(row[end + 1 :]) <= {PADDING}


def test_a_sample_at_low_temperature_is_the_greedy_sentence():
    module, z = likelihood(n_tokens=8), torch.randn(20, 2, dtype=torch.float64)
    assert torch.equal(module(z).sample(temperature=1e-4), module(z).mode())
    assert torch.equal(module(z).sample(top_p=1e-6), module(z).mode())


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1.0, [0, 1, 2]), (0.9, [0, 1, 2]), (0.75, [0, 2]), (0.5, [0]), (0.1, [0])]
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    remaining = nucleus(torch.tensor([[0.5, 0.125, 0.375]]), top_p)[0]
    assert remaining.nonzero().flatten().tolist() == kept
