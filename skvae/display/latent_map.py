"""Codes of rows in the plane of two components."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import class_styles, component_numbers, finite, is_continuous, vector
from skvae.display.axes import Display, axes_for, component_name, tidy
from skvae.display.colors import MODEL, PRIOR

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.legend import Legend


class LatentMapDisplay(Display):
    """The codes of rows in the plane of two components, over circles of the prior.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        Codes, as `transform` returns them. A single component is drawn as a strip, whose
        second axis has no meaning and only keeps the points apart.
    y : array-like of shape (n_samples,), default=None
        Values that color the rows: by class, with a legend, if these are strings or at most ten
        whole numbers, and otherwise on a continuous scale. Of more than ten classes, the eight
        largest get colors of their own.
    kl : array-like of shape (n_components,), default=None
        KL of each component, in nats.
    components : tuple of int, default=None
        Indices of the two components to draw. None takes those with the largest KL or, without
        `kl`, with the largest variance.
    y_name : str, default=None
        Title of the legend.

    Attributes
    ----------
    points_ : list of matplotlib PathCollection
        Points of each class, or of all rows.
    prior_ : list of matplotlib artists
        Circles, or lines, at one and two standard deviations of the prior.
    legend_ : matplotlib Legend or None
        Names of the classes.
    colorbar_ : matplotlib Colorbar or None
        Color scale of a continuous `y`.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, LatentMapDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> LatentMapDisplay.from_estimator(vae, X, y=y)
    <...>
    """

    points_: "list[PathCollection]"
    prior_: list[Any]
    legend_: "Legend | None"
    colorbar_: "Colorbar | None"

    def __init__(
        self,
        codes: ArrayLike,
        *,
        y: ArrayLike | None = None,
        kl: ArrayLike | None = None,
        components: Sequence[int] | np.ndarray | None = None,
        y_name: str | None = None,
    ) -> None:
        self.codes = finite("codes", codes)
        if self.codes.ndim != 2 or not self.codes.size:
            raise ValueError(
                "codes must have shape (n_samples, n_components), both at least 1; "
                f"got {self.codes.shape}"
            )
        n_samples, d = self.codes.shape
        self.y = None if y is None else np.asarray(y)
        if y is not None and self.y.shape != (n_samples,):
            raise ValueError(
                f"y must hold one value for each of {n_samples} rows; got shape {self.y.shape}"
            )
        self.kl = None if kl is None else vector("kl", kl, d)
        if components is None:
            weight = self.codes.var(axis=0) if kl is None else self.kl
            components = np.argsort(-weight, kind="stable")[:2]
        self.components = component_numbers(components, d)
        if len(self.components) != min(2, d):
            raise ValueError(f"components must name {min(2, d)} of {d}; got {components!r}")
        self.y_name = y_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: ArrayLike | None = None,
        components: Sequence[int] | np.ndarray | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the codes of rows.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator, or any other fitted transformer, such as a pipeline.
        X : {array-like, CSR} of shape (n_samples, n_features)
            Rows to encode.
        y : array-like of shape (n_samples,), default=None
            Values that color the rows; the name of a pandas Series becomes the legend's title.
        components : tuple of int, default=None
            Indices of the two components to draw; None takes those with the largest KL.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            Display with its drawn artists.
        """
        return cls(
            np.asarray(estimator.transform(X)),
            y=y,
            kl=getattr(estimator, "kl_per_component_", None),
            components=components,
            y_name=getattr(y, "name", None),
        ).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        ax = axes_for(self, ax, (5.6, 4.4))
        n_samples = len(self.codes)
        style = {
            "s": np.clip(8000 / n_samples, 3, 25),
            "linewidths": 0,
            "alpha": 0.85,
            "rasterized": n_samples > 5000,  # keeps vector files small
        } | kwargs
        self.legend_ = self.colorbar_ = None
        x, y = self._plane()
        if self.y is None:
            self.points_ = [ax.scatter(x, y, **({"color": MODEL} | style))]
        elif is_continuous(self.y):
            self.points_ = [ax.scatter(x, y, c=self.y.astype(float), **style)]
            self._draw_colorbar()
        else:
            self.points_ = [
                ax.scatter(x[rows], y[rows], **(class_style | style))
                for rows, class_style in class_styles(self.y)
            ]
            self._draw_legend()
        self._draw_prior()
        return self

    def _draw_colorbar(self):
        self.colorbar_ = self.figure_.colorbar(self.points_[0], ax=self.ax_, label=self.y_name)
        self.colorbar_.outline.set_visible(False)
        self.colorbar_.solids.set_alpha(1)

    def _draw_legend(self):
        self.legend_ = self.ax_.legend(
            handles=sorted(self.points_, key=lambda points: points.get_zorder() < 1),
            frameon=False,
            title=self.y_name,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            borderaxespad=0.2,
            handletextpad=0.1,
        )
        for handle in self.legend_.legend_handles:
            handle.set(sizes=[36], alpha=1)

    def _plane(self):
        """Return two coordinates of each code, of which a single component gives only the first."""
        codes = self.codes[:, self.components].T
        if len(codes) == 2:
            return codes
        golden = (np.sqrt(5) - 1) / 2
        return codes[0], 2 * np.modf(golden * np.arange(codes.shape[1]))[0] - 1

    def _draw_prior(self):
        from matplotlib.patches import Circle
        from matplotlib.ticker import MaxNLocator

        ax = self.ax_
        style = {"color": PRIOR, "linewidth": 1, "zorder": 0}
        if len(self.components) == 2:
            self.prior_ = [ax.add_patch(Circle((0, 0), r, fill=False, **style)) for r in (1, 2)]
            ax.set_aspect("equal", adjustable="datalim")  # keeps the legend beside the axes
            ax.autoscale_view()
        else:
            self.prior_ = [ax.axvline(sigma, **style) for sigma in (-2, -1, 1, 2)]
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        names = [component_name(component, self.kl) for component in self.components]
        ax.set(**dict(zip(("xlabel", "ylabel"), names, strict=False)))
        tidy(ax, None)
        for axis in (ax.xaxis, ax.yaxis)[: len(self.components)]:
            axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
