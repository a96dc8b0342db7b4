"""A page to explore a fitted model in the browser: one file, without a server or a network."""

from html import escape
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import class_styles, finite, is_continuous, rows_as_images
from skvae.display.colors import MODEL_ON_PAGES, SCALE
from skvae.display.explorer.packing import unpacked
from skvae.display.explorer.page import page

OTHER_CLASSES = "#8a8f98"  # color of the classes without a color of their own


class Explorer:
    """An interactive page that shows what each component of a fitted model means.

    The page has a slider for each component, ordered by KL, with its KL and its floor; a map of
    the codes, on which a click selects a row and dragging moves the code; the row, its
    reconstruction, its standard deviations and its neighbors; draws from the prior; the way from
    one row to another; for a model that was fitted for a range of tau, a dial for tau; and, for a
    model of sentences, a field to type one. It is one file of HTML that needs no network. The
    weights of the model are stored in it in float32, and the page computes everything from them.

    Parameters
    ----------
    data : dict
        Content of the page, as collected by `from_estimator`.

    See Also
    --------
    TraversalDisplay : The effect of each component on decoded images, as a figure.
    LatentMapDisplay : The map of the codes, as a figure.

    Notes
    -----
    The file contains the rows that the page shows, the names of columns and categories, and the
    vocabulary of a model of sentences, so whoever has the file has these data. `n_rows` limits the
    number of rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, Explorer
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> explorer = Explorer.from_estimator(vae, X, y, n_rows=50)
    >>> explorer.html().startswith("<!doctype html>")
    True
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        n_rows: int = 500,
        title: str | None = None,
        y_name: str | None = None,
    ) -> Self:
        """Collect the content of the page from a fitted estimator.

        Parameters
        ----------
        estimator : BNVAEEstimator or BNVAETextEstimator
            Fitted estimator, for one tau or for a range.
        X : {array-like, DataFrame, CSR} of shape (n_samples, n_features), or list of str
            Rows to show, as `transform` takes them.
        y : array-like of shape (n_samples,), default=None
            Values that color the rows on the map and appear in their names.
        image_shape : tuple of int, default=None
            Shape of a row as an image, ``(h, w)`` or ``(h, w, 3)``; None if rows are not images.
        n_rows : int, default=500
            Largest number of rows in the page; if X has more, evenly spaced ones are taken.
        title : str, default=None
            Title of the page.
        y_name : str, default=None
            Name of the quantity in `y`.

        Returns
        -------
        Explorer
            Page that can be saved, and that a notebook shows.

        Raises
        ------
        TypeError
            If the page cannot compute a network, the posterior or the likelihood, for example
            because it is not part of skvae.
        ValueError
            If the estimator is not fitted, if the lengths of `y` and `X` differ, if `image_shape`
            does not fit the rows or if `n_rows` is below 1.
        """
        if not isinstance(n_rows, Integral) or n_rows < 1:
            raise ValueError(f"n_rows must be an int of at least 1; got {n_rows!r}")
        # The import is here so that importing the displays does not load PyTorch.
        from skvae.display.explorer.description import described_model, described_rows

        model = described_model(estimator)
        rows, index, n_samples = described_rows(estimator, X, n_rows)
        data = {"model": model, "rows": rows, "index": index.tolist()}
        if "values" in rows:
            data |= _ranges(unpacked(rows["values"]), image_shape)
        elif image_shape is not None:
            raise ValueError("image_shape is for rows of numbers; these are sentences")
        data |= _colored(y, index, n_samples, y_name)
        data["title"] = title or f"{model['name']}: {model['n_components']} components"
        data["summary"] = _summary(estimator, len(index), n_samples)
        return cls(data)

    def html(self) -> str:
        """Make the page.

        Returns
        -------
        str
            The page as HTML.
        """
        return page(self.data, self.data["title"])

    def save(self, path: str | PathLike[str]) -> Self:
        """Write the page to a file, which opens in any browser.

        Parameters
        ----------
        path : str or PathLike
            Path of the file.

        Returns
        -------
        Explorer
            This page.
        """
        Path(path).write_text(self.html(), encoding="utf-8")
        return self

    def _repr_html_(self):
        frame = 'style="width: 100%; height: 860px; border: 0" sandbox="allow-scripts"'
        name = escape(self.data["title"])
        return f'<iframe title="{name}" {frame} srcdoc="{escape(self.html())}"></iframe>'


def _ranges(values, image_shape):
    """Return the ranges of the columns, or of the pixels, over the rows of the page without NaN."""
    low = np.where(np.isnan(values), np.inf, values).min(axis=0)
    high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
    if image_shape is None:
        return {"low": low.tolist(), "high": high.tolist()}
    shape = rows_as_images("image_shape", values, image_shape).shape[1:]
    low, high = float(low.min()), float(high.max())
    if len(shape) == 3:
        low, high = 0.0, 255.0 if high > 2 else 1.0
    return {"image": {"shape": list(shape), "low": low, "high": high}}


def _colored(y, index, n_samples, y_name):
    """Return color and label of each row of the page, and the legend of the colors."""
    if y is None:
        return {"colors": {"rows": [MODEL_ON_PAGES] * len(index)}}
    y = np.asarray(y)
    if y.shape != (n_samples,):
        raise ValueError(f"y must have shape ({n_samples},), one for each row of X; got {y.shape}")
    y = y[index]
    legend = {"name": y_name}
    if is_continuous(y):
        values = finite("y", y)
        low, high = float(values.min()), float(values.max())
        shares = (values - low) / ((high - low) or 1.0)
        colors = [SCALE[round(share * (len(SCALE) - 1))] for share in shares]
        legend["scale"] = {"colors": SCALE, "low": low, "high": high}
        # Rounded to four digits first, so that 12345 is written as 12340 and not as 1.234e+04.
        labels = [f"{float(f'{value:.4g}'):g}" for value in values]
    else:
        colors, labels, legend["classes"] = [""] * len(y), [str(value) for value in y], []
        for of_class, style in class_styles(y):
            color = OTHER_CLASSES if style["color"].startswith("0.") else style["color"]
            legend["classes"].append({"name": style["label"], "color": color})
            for i in np.flatnonzero(of_class):
                colors[i] = color
    if y_name is not None:
        labels = [f"{y_name} {label}" for label in labels]
    return {"colors": {"rows": colors, "legend": legend}, "labels": labels}


def _summary(estimator, n_shown, n_samples):
    """Write the paragraph below the title."""
    rate, floor = estimator.kl_per_component_.sum(), estimator.kl_floor_
    return (
        f"{type(estimator).__name__}, tau {estimator.tau_:.3g}: rate {rate:.2f} nats, floor "
        f"{floor:.2f}. Computed on this page from the fitted weights; {n_shown} of {n_samples} "
        "rows are in this file."
    )
