"""Generated data whose factors are known."""

import numpy as np

SENTENCE_FACTORS = {"sentiment": ("negative", "positive"), "tense": ("present", "past")}

_OPENINGS = ("honestly", "as always", "this time", "for once", "to be fair", "well")
_NOUNS = ("soup", "pizza", "salad", "coffee", "bread", "fish", "cake", "pie")
_VERBS = ("is", "was")
_DEGREES = ("really", "very", "quite", "so", "rather", "truly")
_ADJECTIVES = (
    ("stale", "cold", "bland", "greasy", "awful", "poor", "sour", "burnt"),
    ("fresh", "tasty", "crisp", "rich", "great", "lovely", "perfect", "fine"),
)
_CLOSINGS = ("for me", "for us", "for the price", "at lunch", "at night", "on monday")
_ENDS = (".", "!")


def make_sentences(n_samples=1000, random_state=None):
    """Generate short reviews with two factors: sentiment and tense.

    Such as "honestly , the soup was very stale and cold at lunch ." The sentiment decides the
    list that both adjectives are drawn from, the tense is the verb's, and all other words are
    drawn at random. Once a decoder has learnt that one adjective announces the other, it gains
    nothing from a code, however well that were to tell the sentiment.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of sentences.
    random_state : int, RandomState instance or None, default=None
        Seed; None generates other sentences each time.

    Returns
    -------
    sentences : list of str
        Words and marks with spaces between them.
    factors : ndarray of shape (n_samples, 2)
        Sentiment and tense, as indices into the values of `SENTENCE_FACTORS`.

    Raises
    ------
    ValueError
        If `n_samples` is below 1.

    Examples
    --------
    >>> from skvae.datasets import make_sentences
    >>> sentences, factors = make_sentences(2, random_state=0)
    >>> sentences[0]
    'for once , the coffee was so burnt and cold at lunch !'
    >>> factors[0].tolist()
    [0, 1]
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples!r}")
    rng = random_state
    if not isinstance(rng, np.random.RandomState):
        rng = np.random.RandomState(random_state)
    factors = rng.randint(2, size=(n_samples, 2))
    choices = rng.randint([6, 8, 6, 8, 8, 6, 2], size=(n_samples, 7))
    return [_sentence(*row) for row in np.hstack([factors, choices]).tolist()], factors


def _sentence(sentiment, tense, opening, noun, degree, first, second, closing, end):
    adjectives = _ADJECTIVES[sentiment]
    return (
        f"{_OPENINGS[opening]} , the {_NOUNS[noun]} {_VERBS[tense]} {_DEGREES[degree]} "
        f"{adjectives[first]} and {adjectives[second]} {_CLOSINGS[closing]} {_ENDS[end]}"
    )
