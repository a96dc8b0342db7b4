"""Checks and conversions of the arrays that displays draw: numbers, images and classes."""

import numpy as np

from skvae.display.colors import CLASSES, GRAYS, PRIOR


def finite(name, values):
    """Return values in double precision; refuse NaN and infinity."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return values


def vector(name, values, length=None):
    """Return finite numbers in one dimension; refuse any but a given length, if one is given."""
    values = finite(name, values)
    if values.ndim != 1 or not len(values) or (length is not None and len(values) != length):
        shape = "(n,) with n > 0" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    return values


def component_numbers(components, d):
    """Return indices of components as an array; refuse any that does not exist."""
    components = np.asarray(components)
    are_indices = components.ndim == 1 and components.dtype.kind in "iu" and len(components)
    if not are_indices or not np.all((components >= 0) & (components < d)):
        raise ValueError(
            f"components must be integers from 0 to {d - 1}; got {components.tolist()}"
        )
    return components


def as_images(name, images, n_axes):
    """Return images behind `n_axes` leading axes, with color values in [0, 1]."""
    images = np.asarray(images)
    has_color = images.ndim == n_axes + 3 and images.shape[-1] == 3
    if not images.size or not (has_color or images.ndim == n_axes + 2):
        raise ValueError(
            f"{name} must hold images (h, w) or (h, w, 3) behind {n_axes} "
            f"ax{'es' if n_axes > 1 else 'is'}; got shape {images.shape}"
        )
    images = finite(name, images)
    if has_color:
        images = np.clip(images / (255 if images.max() > 2 else 1), 0, 1)
    return images


def rows_as_images(name, rows, image_shape):
    """Return rows of numbers as images."""
    rows, shape = np.asarray(rows), tuple(np.atleast_1d(image_shape).tolist())
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(f"{name} must be (h, w) or (h, w, 3); got {image_shape!r}")
    if rows.ndim != 2 or rows.shape[1] != np.prod(shape):
        raise ValueError(
            f"{name} {shape} takes rows of {np.prod(shape)} columns; got shape {rows.shape}"
        )
    return rows.reshape(-1, *shape)


def tiled(images, gap, n_grouped=1):
    """Join images (n_rows, n_columns, h, w, ...) into a mosaic; return it and its centers.

    The space between images is NaN, and larger below each group of `n_grouped` rows. The centers
    are those of the rows, and those of the columns.
    """
    n_rows, n_columns, h, w = images.shape[:4]
    groups = np.arange(n_rows) // n_grouped if n_grouped > 1 else np.zeros(n_rows, dtype=int)
    tops = np.arange(n_rows) * (h + gap) + groups * 3 * gap
    lefts = np.arange(n_columns) * (w + gap)
    mosaic = np.full((tops[-1] + h, lefts[-1] + w, *images.shape[4:]), np.nan)
    for tiles, top in zip(images, tops, strict=True):
        for tile, left in zip(tiles, lefts, strict=True):
            mosaic[top : top + h, left : left + w] = tile
    return mosaic, tops + (h - 1) / 2, lefts + (w - 1) / 2


def is_continuous(y):
    """Return whether y holds amounts, as opposed to names of classes."""
    if y.dtype.kind not in "fiu":
        return False
    values = np.unique(finite("y", y))
    return len(values) > 10 or bool(np.any(values != np.round(values)))


def class_styles(y):
    """Yield a mask of rows and a matplotlib style for each class.

    If there are more than ten classes, the small ones are drawn as one, in gray.
    """
    y = y.astype(str) if y.dtype.kind == "O" else y
    values, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if y.dtype.kind == "f":
        values = values.astype(int)
    shown, colors = np.arange(len(values)), CLASSES
    if len(values) > 10:
        colors = [color for color in CLASSES if color not in GRAYS]
        shown = np.sort(np.argsort(-counts, kind="stable")[: len(colors)])
        style = {"label": f"{len(values) - len(shown)} others", "color": PRIOR, "zorder": 0.5}
        yield ~np.isin(numbers, shown), style
    for number, color in zip(shown, colors, strict=False):
        yield numbers == number, {"label": str(values[number]), "color": color}
