"""Generated data whose factors are known."""

import numpy as np

SPRITE_FACTORS = {
    "shape": ("disc", "square", "diamond"),
    "height": (),
    "width": (),
    "size": (),
}


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
    rng = np.random.default_rng(
        random_state.randint(2**31) if hasattr(random_state, "randint") else random_state
    )
    shape = rng.integers(len(SPRITE_FACTORS["shape"]), size=n_samples)
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
