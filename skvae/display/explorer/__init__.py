"""A page to explore one's own fitted model in the browser: one file, no server and no network."""

from html import escape
from numbers import Integral
from pathlib import Path
from typing import Self

import numpy as np

from skvae.display.arrays import class_looks, finite, is_continuous, rows_as_images
from skvae.display.colors import MODEL_ON_PAGES, SCALE
from skvae.display.explorer.packing import unpacked
from skvae.display.explorer.page import page


class Explorer:
    """A page on which a fitted model answers at once: move a component, and see what it means.

    The page has a slider for each component, ordered by KL, with its KL and its floor; a map of
    the codes, on which a click takes a row and dragging moves the code; the row, its
    reconstruction, its standard deviations and its neighbours; draws from the prior; the way from
    one row to another; and, of a model that was fitted for a range of tau, the dial. It is one
    file of HTML that needs no network. The networks' weights are in it, in float32, and the page
    computes all it shows from them.

    Parameters
    ----------
    data : dict
        What the page shows, as `from_estimator` collects it.

    See Also
    --------
    TraversalDisplay : What a component means, as a figure.
    LatentMapDisplay : The map, as a figure.

    Notes
    -----
    The rows that the page shows are in the file, and so are names of columns, categories and of
    sentences the vocabulary: who has the file has them. `n_rows` limits the rows.

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

    def __init__(self, data):
        self.data = data

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, image_shape=None, n_rows=500, title=None, y_name=None
    ) -> Self:
        """Collect what the page of a fitted estimator shows.

        Parameters
        ----------
        estimator : BNVAEEstimator or BNVAETextEstimator
            Fitted, for one tau or for a range.
        X : {array-like, DataFrame, CSR} of shape (n_samples, n_features), or list of str
            Rows to show, as `transform` takes them.
        y : array-like of shape (n_samples,), default=None
            Colors the rows on the map, and names them.
        image_shape : tuple of int, default=None
            ``(h, w)`` or ``(h, w, 3)`` of rows that are images.
        n_rows : int, default=500
            So many rows at most are put into the page, at even distances in X.
        title : str, default=None
            Title of the page.
        y_name : str, default=None
            What y is.

        Returns
        -------
        Explorer
            To be saved, or shown by a notebook.

        Raises
        ------
        TypeError
            If the page cannot compute a network, the posterior or the likelihood; such as are
            no part of skvae.
        ValueError
            If the estimator is not fitted, if y has another length than X, if rows have no such
            shape or if `n_rows` is below 1.
        """
        if not isinstance(n_rows, Integral) or n_rows < 1:
            raise ValueError(f"n_rows must be an int of at least 1; got {n_rows!r}")
        # Here, so that importing displays does not load PyTorch.
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

    def html(self):
        """Make the page.

        Returns
        -------
        str
            HTML.
        """
        return page(self.data, self.data["title"])

    def save(self, path):
        """Write the page into a file.

        Parameters
        ----------
        path : str or PathLike
            Where to; the file opens in any browser.

        Returns
        -------
        Explorer
            Itself.
        """
        Path(path).write_text(self.html(), encoding="utf-8")
        return self

    def _repr_html_(self):
        frame = 'style="width: 100%; height: 860px; border: 0" sandbox="allow-scripts"'
        name = escape(self.data["title"])
        return f'<iframe title="{name}" {frame} srcdoc="{escape(self.html())}"></iframe>'


def _ranges(values, image_shape):
    """What bars and images reach from and to, by the rows that are shown."""
    with np.errstate(all="ignore"):
        there = np.where(np.isnan(values), np.inf, values)
        low = there.min(axis=0)
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
    """A color for each row that is shown, what the colors mean, and the rows' names."""
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
        labels = [f"{value:.4g}" for value in values]
    else:
        colors, labels, legend["classes"] = [""] * len(y), [str(one) for one in y], []
        for of_it, look in class_looks(y):
            color = MISCELLANEOUS if look["color"].startswith("0.") else look["color"]
            legend["classes"].append({"name": look["label"], "color": color})
            for i in np.flatnonzero(of_it):
                colors[i] = color
    named = [label if y_name is None else f"{y_name} {label}" for label in labels]
    return {"colors": {"rows": colors, "legend": legend}, "labels": named}


MISCELLANEOUS = "#8a8f98"  # classes without a color of their own


def _summary(estimator, n_shown, n_samples):
    rate, floor = estimator.kl_per_component_.sum(), estimator.kl_floor_
    return (
        f"{type(estimator).__name__}, tau {estimator.tau_:.3g}: rate {rate:.2f} nats, floor "
        f"{floor:.2f}. Computed on this page from the fitted weights; {n_shown} of {n_samples} "
        "rows are in this file."
    )
