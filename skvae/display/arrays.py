"""Arrays as the displays draw them: checked, as images, as classes."""

import numpy as np

from skvae.display.colors import CLASSES, GREYS, PRIOR


def finite(name, values):
    """Numbers, if all of them are finite."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return values


def vector(name, values, length=None):
    """Finite numbers in one dimension, as many as asked for."""
    values = finite(name, values)
    if values.ndim != 1 or not len(values) or (length is not None and len(values) != length):
        shape = "(n,) with n > 0" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    return values


def component_numbers(components, d):
    """Numbers of components, if they exist."""
    components = np.asarray(components)
    fine = components.ndim == 1 and components.dtype.kind in "iu" and len(components)
    if not fine or not np.all((components >= 0) & (components < d)):
        raise ValueError(f"components must be numbers from 0 to {d - 1}; got {components.tolist()}")
    return components


def as_images(name, images, n_axes):
    """Pictures behind `n_axes` axes; colours in [0, 1]."""
    images = np.asarray(images)
    coloured = images.ndim == n_axes + 3
    if not images.size or images.ndim < n_axes + 2 or (coloured and images.shape[-1] != 3):
        coloured = None
    if coloured is None or images.ndim > n_axes + 3:
        raise ValueError(
            f"{name} must hold pictures (h, w) or (h, w, 3) behind {n_axes} "
            f"ax{'es' if n_axes > 1 else 'is'}; got shape {images.shape}"
        )
    images = finite(name, images)
    if coloured:
        images = np.clip(images / (255 if images.max() > 2 else 1), 0, 1)
    return images


def rows_as_images(name, rows, image_shape):
    """Rows as pictures."""
    rows, shape = np.asarray(rows), tuple(np.atleast_1d(image_shape).tolist())
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(f"{name} must be (h, w) or (h, w, 3); got {image_shape!r}")
    if rows.ndim != 2 or rows.shape[1] != np.prod(shape):
        raise ValueError(
            f"{name} {shape} takes rows of {np.prod(shape)} columns; got shape {rows.shape}"
        )
    return rows.reshape(-1, *shape)


def tiled(images, gap, n_grouped=1):
    """One picture of (n_rows, n_columns, h, w, ...), and the centres of rows and columns.

    Gaps are NaN, and larger below each group of so many rows.
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
    """Whether these are amounts and not names of classes."""
    if y.dtype.kind not in "fiu":
        return False
    values = np.unique(finite("y", y))
    return len(values) > 10 or bool(np.any(values != np.round(values)))


def class_looks(y):
    """Rows and look of each class; of more than ten, the small ones are one, in grey."""
    y = y.astype(str) if y.dtype.kind == "O" else y
    values, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if y.dtype.kind == "f":
        values = values.astype(int)
    shown, colors = np.arange(len(values)), CLASSES
    if len(values) > 10:
        colors = [color for color in CLASSES if color not in GREYS]
        shown = np.sort(np.argsort(-counts, kind="stable")[: len(colors)])
        look = {"label": f"{len(values) - len(shown)} others", "color": PRIOR, "zorder": 0.5}
        yield ~np.isin(numbers, shown), look
    for number, color in zip(shown, colors, strict=False):
        yield numbers == number, {"label": str(values[number]), "color": color}
