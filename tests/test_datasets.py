"""Generated data show the factors that they were generated from."""

import numpy as np
import pytest

from skvae.datasets import _ADJECTIVES, _VERBS, SENTENCE_FACTORS, make_sentences


def test_sentences_show_their_factors():
    for sentence, (sentiment, tense) in zip(*make_sentences(200, random_state=0), strict=True):
        words = sentence.split()
        assert sum(word in _ADJECTIVES[sentiment] for word in words) == 2
        assert not set(words) & set(_ADJECTIVES[1 - sentiment])
        assert _VERBS[tense] in words
        assert _VERBS[1 - tense] not in words


def test_factors_are_balanced_and_independent():
    _, factors = make_sentences(4000, random_state=0)
    assert factors.shape == (4000, len(SENTENCE_FACTORS))
    assert np.abs(factors.mean(0) - 0.5).max() < 0.03
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.05


def test_a_seed_decides():
    assert make_sentences(5, random_state=0)[0] == make_sentences(5, random_state=0)[0]
    assert make_sentences(5, random_state=0)[0] != make_sentences(5, random_state=1)[0]
    rng = np.random.RandomState(0)
    assert make_sentences(5, rng)[0] != make_sentences(5, rng)[0]


def test_no_sentences_are_refused():
    with pytest.raises(ValueError, match="n_samples must be at least 1; got 0"):
        make_sentences(0)
