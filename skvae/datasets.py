"""Generated data with known factors of variation."""

import numpy as np

from skvae._random import random_state_of

SENTENCE_FACTORS = {"sentiment": ("negative", "positive"), "tense": ("present", "past")}

# The values of each factor; () stands for a continuous one.
SPRITE_FACTORS = {"shape": ("disc", "ring", "cross"), "height": (), "width": (), "size": ()}

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


def make_sentences(
    n_samples: int = 1000,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> tuple[list[str], np.ndarray]:
    """Generate short reviews with two factors of variation, sentiment and tense.

    An example is "honestly , the soup was very stale and cold at lunch ." The sentiment decides
    from which list both adjectives are drawn, the tense decides the verb, and all other words are
    drawn at random. A decoder that has learned to infer the list from the first adjective gains
    from a code with the sentiment no more than its KL costs, so these data provoke collapse.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of sentences.
    random_state : int, RandomState instance or None, default=None
        Seed; None generates different sentences on each call.

    Returns
    -------
    sentences : list of str
        Words and punctuation marks, separated by spaces.
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
    rng = random_state_of(random_state)
    factors = rng.randint(2, size=(n_samples, 2))
    choices = rng.randint([6, 8, 6, 8, 8, 6, 2], size=(n_samples, 7))
    return [_sentence(*row) for row in np.hstack([factors, choices]).tolist()], factors


def _sentence(sentiment, tense, opening, noun, degree, first, second, closing, end):
    adjectives = _ADJECTIVES[sentiment]
    return (
        f"{_OPENINGS[opening]} , the {_NOUNS[noun]} {_VERBS[tense]} {_DEGREES[degree]} "
        f"{adjectives[first]} and {adjectives[second]} {_CLOSINGS[closing]} {_ENDS[end]}"
    )


def make_sprites(
    n_samples: int = 1000,
    size: int = 16,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate images of one shape each, with random position and size.

    A gray level is approximately the share of the pixel that the shape covers. The factors are
    independent, except that the position keeps the shape inside the image.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    size : int, default=16
        Height and width of the images, in pixels.
    random_state : int, RandomState instance or None, default=None
        Seed; None generates different images on each call.

    Returns
    -------
    X : ndarray of shape (n_samples, size * size)
        Gray levels in [0, 1] of a single channel, row by row.
    factors : ndarray of shape (n_samples, 4)
        Index of the shape in ``SPRITE_FACTORS["shape"]``, row and column of its center, and its
        radius, in pixels.

    Raises
    ------
    ValueError
        If `n_samples` is below 1 or `size` below 8.

    Examples
    --------
    >>> from skvae.datasets import make_sprites
    >>> X, factors = make_sprites(5, random_state=0)
    >>> X.shape, factors.shape
    ((5, 256), (5, 4))
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples!r}")
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, so that every shape fits; got {size!r}")
    rng = random_state_of(random_state)
    shape = rng.randint(len(SPRITE_FACTORS["shape"]), size=n_samples)
    radius = rng.uniform(0.15, 0.28, n_samples) * size
    center = rng.uniform(radius, size - 1 - radius, size=(2, n_samples))
    pixels = np.arange(size)
    down = abs(pixels[:, None] - center[0, :, None, None])  # (n_samples, size, 1)
    along = abs(pixels - center[1, :, None, None])
    disc, third = np.hypot(down, along), radius[:, None, None] / 3
    ring = abs(disc - 2 * third) + 2 * third  # from one third of the radius to the whole
    cross = np.minimum(np.maximum(down, along + 2 * third), np.maximum(down + 2 * third, along))
    distance = np.choose(shape[:, None, None], [disc, ring, cross])
    X = np.clip(radius[:, None, None] - distance + 0.5, 0.0, 1.0).reshape(n_samples, -1)
    return X, np.column_stack([shape, *center, radius])
