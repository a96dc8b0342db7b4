"""Generated data whose factors are known."""

import numpy as np

SENTENCE_FACTORS = {
    "topic": ("food", "staff", "place"),
    "sentiment": ("negative", "positive"),
    "tense": ("present", "past"),
    "number": ("singular", "plural"),
}

SPRITE_FACTORS = {
    "shape": ("disc", "square", "diamond"),
    "height": (),
    "width": (),
    "size": (),
}

_NOUNS = (
    ("soup", "pizza", "salad", "coffee", "cake", "pie"),
    ("waiter", "cook", "owner", "manager", "host", "server"),
    ("room", "garden", "bar", "kitchen", "hall", "terrace"),
)
_ADJECTIVES = (
    (
        ("stale", "cold", "bland", "greasy", "burnt", "sour"),
        ("fresh", "tasty", "delicious", "crisp", "hot", "rich"),
    ),
    (
        ("rude", "slow", "loud", "careless", "unkind", "bored"),
        ("kind", "quick", "polite", "helpful", "friendly", "calm"),
    ),
    (
        ("dirty", "dark", "noisy", "cramped", "ugly", "dusty"),
        ("clean", "bright", "quiet", "cosy", "lovely", "airy"),
    ),
)
_VERBS = (("is", "are"), ("was", "were"))
_DEGREES = ("really", "very", "quite", "so", "rather", "truly")
_TIMES = ("today", "at lunch", "at night", "on monday")
_ENDS = (".", "!")


def make_sentences(n_samples=1000, random_state=None):
    """Generate short reviews that four independent factors run through.

    Two clauses, such as "the soup was very stale and the cake was cold .": topic, sentiment, tense
    and number are the same in both, each word being drawn from the six that fit. A network that
    reads the first clause knows all factors for the second, which is why the decoder of a plain
    VAE does without a code.

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
    factors : ndarray of shape (n_samples, 4)
        Values of topic, sentiment, tense and number, as indices into `SENTENCE_FACTORS`.

    Raises
    ------
    ValueError
        If `n_samples` is below 1.

    Examples
    --------
    >>> from skvae.datasets import make_sentences
    >>> sentences, factors = make_sentences(2, random_state=0)
    >>> factors.shape
    (2, 4)
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples!r}")
    rng = _random_state(random_state)
    sizes = [len(values) for values in SENTENCE_FACTORS.values()]
    factors = rng.randint(sizes, size=(n_samples, len(sizes)))
    choices = rng.randint([6, 6, 6, 6, 6, 4, 2], size=(n_samples, 7))
    return [_sentence(*row) for row in np.hstack([factors, choices]).tolist()], factors


def _sentence(topic, sentiment, tense, number, noun, degree, first, second, third, time, end):
    subject, adjectives = _NOUNS[topic][noun] + ("", "s")[number], _ADJECTIVES[topic][sentiment]
    return (
        f"the {subject} {_VERBS[tense][number]} {_DEGREES[degree]} {adjectives[first]} , "
        f"{adjectives[second]} and {adjectives[third]} {_TIMES[time]} {_ENDS[end]}"
    )


def make_sprites(n_samples=1000, size=16, random_state=None):
    """Generate images of one shape each, at some place and of some size.

    Grey levels are the share of a pixel that the shape covers, roughly. The factors are
    independent but for the place, which leaves the shape within the image.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    size : int, default=16
        Their height and width, in pixels.
    random_state : int, RandomState instance or None, default=None
        Seed; None generates other images each time.

    Returns
    -------
    X : ndarray of shape (n_samples, size * size)
        Grey levels in [0, 1], row by row: a single channel.
    factors : ndarray of shape (n_samples, 4)
        Number of the shape in ``SPRITE_FACTORS["shape"]``, row and column of its centre, and its
        radius, in pixels.

    Raises
    ------
    ValueError
        If the image has no room for a shape.

    Examples
    --------
    >>> from skvae.datasets import make_sprites
    >>> X, factors = make_sprites(5, random_state=0)
    >>> X.shape, factors.shape
    ((5, 256), (5, 4))
    """
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, or no shape has room; got {size!r}")
    rng = _random_state(random_state)
    shape = rng.randint(len(SPRITE_FACTORS["shape"]), size=n_samples)
    radius = rng.uniform(0.15, 0.28, n_samples) * size
    centre = rng.uniform(radius, size - 1 - radius, size=(2, n_samples))
    pixels = np.arange(size)
    down = abs(pixels[:, None] - centre[0, :, None, None])  # (n_samples, size, 1)
    along = abs(pixels - centre[1, :, None, None])
    # Distances in the norms whose balls are the shapes, all of the disc's area.
    distance = np.choose(
        shape[:, None, None],
        [np.hypot(down, along), np.maximum(down, along) * 1.128, (down + along) * 0.798],
    )
    X = np.clip(radius[:, None, None] - distance + 0.5, 0.0, 1.0).reshape(n_samples, -1)
    return X, np.column_stack([shape, *centre, radius])


def _random_state(random_state):
    made = isinstance(random_state, np.random.RandomState)
    return random_state if made else np.random.RandomState(random_state)
