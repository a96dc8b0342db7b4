"""KL of each component against its floor."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import vector
from skvae.display.axes import Display, axes_for, tidy
from skvae.display.colors import FLOOR, MODEL, PRIOR
from skvae.display.fitted import fitted_attribute, mean_kl

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.lines import Line2D


class KLDisplay(Display):
    """KL of each component against its floor: bars, the largest first.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        Mean KL of each component over the rows, in nats.
    floor : float or array-like of shape (n_components,), default=0.0
        Floor of each component's KL, in nats.
    dead_below : float, default=0.005
        KL in nats below which a component is drawn gray and counted as dead. Below the default,
        its mean varies by less than 0.01, so the component cannot be live.

    Attributes
    ----------
    order : ndarray of shape (n_components,)
        Indices of the components in the order of drawing.
    bars_ : matplotlib BarContainer
        Bars of the components, in the order of drawing.
    floor_line_ : matplotlib Line2D or None
        Line of the floor, if any component has one.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, KLDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> display = KLDisplay.from_estimator(vae)
    >>> len(display.bars_)
    2
    """

    bars_: "BarContainer"
    floor_line_: "Line2D | None"

    def __init__(self, kl: ArrayLike, floor: ArrayLike = 0.0, *, dead_below: float = 0.005) -> None:
        self.kl = vector("kl", kl)
        if np.ndim(floor):
            floor = vector("floor", floor, len(self.kl))
        self.floor = np.broadcast_to(np.asarray(floor, dtype=float), self.kl.shape)
        self.dead_below = dead_below
        self.order = np.argsort(-self.kl, kind="stable")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        dead_below: float = 0.005,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the mean KL of each component of a fitted estimator.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            Rows to take the mean over. None stands for the training rows, the only rows for which
            the floor is guaranteed.
        dead_below : float, default=0.005
            KL in nats below which a component counts as dead.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.bar`.

        Returns
        -------
        KLDisplay
            Display with its drawn artists.
        """
        kl = mean_kl(estimator, X)
        floor = fitted_attribute(estimator, "module_").posterior_layer.component_floors()
        return cls(kl, floor, dead_below=dead_below).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        ax = axes_for(self, ax, (5.6, 3.4))
        from matplotlib.patheffects import withStroke

        d = len(self.kl)
        kl, floor = self.kl[self.order], self.floor[self.order]
        dead = kl < self.dead_below
        live_color = kwargs.pop("color", MODEL)
        colors = [PRIOR if is_dead else live_color for is_dead in dead]
        self.bars_ = ax.bar(np.arange(d), kl, **({"color": colors} | kwargs))
        handles, labels = [], []
        if not dead.all():
            handles, labels = [self.bars_[0]], [f"{d - dead.sum()} live"]
        if dead.any():
            handles.append(self.bars_[d - 1])
            labels.append(f"{dead.sum()} dead (below {self.dead_below:g} nats)")
        self.floor_line_ = None
        if floor.any():
            edges = np.repeat(np.arange(d + 1) - 0.5, 2)[1:-1]
            (self.floor_line_,) = ax.plot(edges, np.repeat(floor, 2), "--", color=FLOOR)
            self.floor_line_.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
            handles.append(self.floor_line_)
            low, high = f"{floor.min():.2f}", f"{floor.max():.2f}"
            labels.append(f"floor {low}" if low == high else f"floor {low} to {high}")
        ax.legend(handles, labels, frameon=False, loc="upper right")
        top = max(kl.max(), floor.max(), self.dead_below)
        half = max(d / 2 + 0.2, 2)
        ax.set(ylabel="KL (nats)", ylim=(0, 1.3 * top))
        ax.set_xlim((d - 1) / 2 - half, (d - 1) / 2 + half)
        if d <= 20:
            ax.set_xticks(np.arange(d), self.order)
            ax.set_xlabel("component")
        else:
            step = 10 if d <= 100 else 50 * (1 + d // 500)
            ranks = np.arange(0, d + 1, step).clip(1)
            ax.set_xticks(ranks - 1, ranks)
            ax.set_xlabel("component, by rank")
        ax.tick_params(axis="x", length=0)
        tidy(ax, "y")
        return self
