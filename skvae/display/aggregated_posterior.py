"""Density of the aggregated posterior against that of the prior."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid

from skvae.display.arrays import finite, vector
from skvae.display.axes import Display, axes_for, tidy
from skvae.display.colors import MODEL, PRIOR
from skvae.display.fitted import posteriors

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


class AggregatedPosteriorDisplay(Display):
    """Density of each component over all rows, against the standard normal prior.

    The aggregated posterior is the mixture of the posteriors of all rows. Where it differs from
    the prior, samples from the prior are codes on which the decoder was not trained.

    Parameters
    ----------
    grid : array-like of shape (n_points,)
        Values at which the density is given.
    density : array-like of shape (n_components, n_points)
        Density of each component at these values.

    Attributes
    ----------
    total_variation : ndarray of shape (n_components,)
        Distance of each density from the prior: half the integral of the absolute difference,
        between 0 and 1.
    lines_ : list of matplotlib Line2D
        Curves of the components.
    prior_ : matplotlib artist
        Filled density of the prior.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import AggregatedPosteriorDisplay
    >>> loc = np.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> display = AggregatedPosteriorDisplay.from_arrays(loc, np.full((2, 2), [0.3, 1.0]))
    >>> display.total_variation.round(2).tolist()
    [0.45, 0.0]
    """

    lines_: "list[Line2D]"
    prior_: Any

    def __init__(self, grid: ArrayLike, density: ArrayLike) -> None:
        self.grid = vector("grid", grid)
        self.density = np.asarray(density, dtype=float)
        if self.density.ndim != 2 or self.density.shape[1] != len(self.grid):
            raise ValueError(
                f"density must have shape (n_components, {len(self.grid)}), as grid; "
                f"got {self.density.shape}"
            )
        gap = np.abs(self.density - _normal(self.grid))
        self.total_variation = trapezoid(gap, self.grid, axis=1) / 2

    @classmethod
    def from_arrays(cls, loc: ArrayLike, scale: ArrayLike, *, n_points: int = 201) -> Self:
        """Compute the exact mixture density; call `plot` to draw it.

        Parameters
        ----------
        loc, scale : array-like of shape (n_samples, n_components)
            Posterior mean and standard deviation of each row.
        n_points : int, default=201
            Number of points of the grid.

        Returns
        -------
        AggregatedPosteriorDisplay
            Display that is not drawn yet.
        """
        loc, scale = finite("loc", loc), finite("scale", scale)
        if loc.ndim != 2 or loc.shape != scale.shape or not loc.size:
            raise ValueError(
                "loc and scale must both have shape (n_samples, n_components); "
                f"got {loc.shape} and {scale.shape}"
            )
        if not np.all(scale > 0):
            raise ValueError(f"scale must be positive; its smallest value is {scale.min():g}")
        end = max(3.5, np.abs(loc).max() + 2 * np.median(scale))
        grid = np.linspace(-end, end, n_points)
        scale = np.maximum(scale, grid[1] - grid[0])  # narrower peaks would fall between points
        return cls(grid, _mixture(grid, loc, scale))

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Draw the mixture of the posteriors of rows, and the component farthest from the prior.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator.
        X : {array-like, CSR} of shape (n_samples, n_features)
            Rows to encode.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`, for the curves.

        Returns
        -------
        AggregatedPosteriorDisplay
            Display with its drawn artists.
        """
        return cls.from_arrays(*posteriors(estimator, X)).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        ax = axes_for(self, ax, (5.6, 3.4))
        d, worst = len(self.density), int(np.argmax(self.total_variation))
        self.prior_ = ax.fill_between(
            self.grid, _normal(self.grid), color=PRIOR, alpha=0.6, lw=0, label="prior"
        )
        style = {"color": MODEL, "lw": 1, "alpha": float(np.clip(6 / d, 0.25, 0.9))} | kwargs
        self.lines_ = ax.plot(self.grid, self.density.T, **style)
        self.lines_[worst].set(linewidth=2, alpha=1, zorder=3)
        handles, labels = [self.prior_], ["prior"]
        if d > 1:
            handles.append(self.lines_[worst - 1])
            labels.append(f"{d} components")
        handles.append(self.lines_[worst])
        labels.append(
            f"component {worst}{', the farthest' * (d > 1)}\n"
            f"(total variation {self.total_variation[worst]:.2f})"
        )
        ax.legend(handles, labels, frameon=False, loc="upper right", fontsize="small")
        top = max(self.density.max(), _normal(0.0))
        ax.set(
            xlabel="value of the component",
            ylabel="density",
            xlim=self.grid[[0, -1]],
            ylim=(0, 1.3 * top),
        )
        tidy(ax, None)
        return self


def _normal(x):
    """Return the density of the standard normal distribution."""
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


def _mixture(grid, loc, scale):
    """Return the density of each component, the mean over the rows of ``N(loc, scale**2)``."""
    density = np.zeros((loc.shape[1], len(grid)))
    chunk_size = max(1, 2**21 // density.size)
    for start in range(0, len(loc), chunk_size):
        chunk = slice(start, start + chunk_size)
        m, s = loc[chunk, :, None], scale[chunk, :, None]
        density += (_normal((grid - m) / s) / s).sum(axis=0)
    return density / len(loc)
