"""The course of a fit: ELBO, rate and distortion over the epochs."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import vector
from skvae.display.axes import pyplot, tidy
from skvae.display.colors import FLOOR, MODEL
from skvae.display.fitted import fitted_attribute

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


class TrainingCurveDisplay:
    """ELBO, rate and distortion over the epochs of a fit.

    Parameters
    ----------
    rate, distortion : array-like of shape (n_epochs,)
        Mean KL per row and mean expected ``-log p(x|z)`` per row in each epoch, in nats. The ELBO
        is ``-(rate + distortion)``.
    objective : array-like of shape (n_epochs,), default=None
        Objective that training maximized, in nats; drawn if it is not the ELBO.
    validation : array-like of shape (n_epochs,), default=None
        Mean objective over the held-out rows, in nats; NaN in epochs without a value, across which
        the line is continued.
    floor : float, default=None
        Floor of the rate, in nats.

    Attributes
    ----------
    elbo : ndarray of shape (n_epochs,)
        ELBO in each epoch.
    elbo_line_, rate_line_, distortion_line_ : matplotlib Line2D
        Curves of ELBO, rate and distortion.
    objective_line_, validation_line_, floor_line_ : matplotlib Line2D or None
        Further lines, each None if it is not drawn.
    axes_ : ndarray of shape (3,) of matplotlib Axes
        Axes of ELBO, rate and distortion.
    figure_ : matplotlib Figure
        Figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, TrainingCurveDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> TrainingCurveDisplay.from_estimator(vae)
    <...>
    """

    elbo_line_: "Line2D"
    rate_line_: "Line2D"
    distortion_line_: "Line2D"
    objective_line_: "Line2D | None"
    validation_line_: "Line2D | None"
    floor_line_: "Line2D | None"
    axes_: np.ndarray
    figure_: "Figure"

    def __init__(
        self,
        rate: ArrayLike,
        distortion: ArrayLike,
        *,
        objective: ArrayLike | None = None,
        validation: ArrayLike | None = None,
        floor: float | None = None,
    ) -> None:
        self.rate = vector("rate", rate)
        n_epochs = len(self.rate)
        self.distortion = vector("distortion", distortion, n_epochs)
        self.elbo = -(self.rate + self.distortion)
        self.objective = None if objective is None else vector("objective", objective, n_epochs)
        self.validation = None
        if validation is not None and len(validation):  # empty if the fit held out no rows
            self.validation = np.asarray(validation, dtype=float)
            vector(
                "validation", np.where(np.isnan(self.validation), 0.0, self.validation), n_epochs
            )
        self.floor = floor

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator, whose ``history_`` is read.
        ax : matplotlib Axes or array-like of three of them, default=None
            Axes to draw into, which `plot` describes.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        TrainingCurveDisplay
            Display with its drawn artists.
        """
        history = fitted_attribute(estimator, "history_")
        return cls(
            history["rate"],
            history["distortion"],
            objective=np.negative(history["loss"]),
            validation=getattr(estimator, "validation_scores_", None),
            floor=fitted_attribute(estimator, "kl_floor_"),
        ).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the three curves side by side.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of three of them, default=None
            Three axes to draw into, or one whose place is divided among three; None makes a new
            figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        TrainingCurveDisplay
            This display.
        """
        self.axes_ = self._three_axes(ax)
        self.figure_ = self.axes_[0].figure
        epochs = np.arange(1, len(self.rate) + 1)
        self._draw_curves(epochs, kwargs)
        self._draw_objectives(epochs)
        self._draw_floor()
        return self

    def _draw_curves(self, epochs, kwargs):
        style = {"color": MODEL, "marker": "o" if len(epochs) == 1 else None} | kwargs
        for name, panel in zip(("elbo", "rate", "distortion"), self.axes_, strict=True):
            (line,) = panel.plot(epochs, getattr(self, name), **style)
            setattr(self, f"{name}_line_", line)
            panel.set(xlabel="epoch", title="ELBO" if name == "elbo" else name)
            panel.xaxis.get_major_locator().set_params(integer=True)
            tidy(panel)
        self.axes_[0].set_ylabel("nats per row")

    def _draw_objectives(self, epochs):
        """Draw the objective where it is not the ELBO, and that of the held-out rows."""
        panel = self.axes_[0]
        self.objective_line_ = self.validation_line_ = None
        is_elbo = self.objective is None or np.allclose(self.objective, self.elbo)
        if not is_elbo:
            (self.objective_line_,) = panel.plot(
                epochs, self.objective, ":", color=MODEL, label="objective"
            )
        if self.validation is not None:
            label = "held-out rows" if is_elbo else "objective, held-out rows"
            scored = ~np.isnan(self.validation)
            # A line through a single point would be invisible.
            style = {"color": "black", "lw": 1.2, "marker": "." if scored.sum() == 1 else None}
            (self.validation_line_,) = panel.plot(
                epochs[scored], self.validation[scored], "--", label=label, **style
            )
        if not is_elbo or self.validation is not None:
            self.elbo_line_.set_label("training rows" if is_elbo else "ELBO")
            panel.legend(frameon=False, fontsize="small")

    def _draw_floor(self):
        panel = self.axes_[1]
        self.floor_line_ = None
        if self.floor:
            self.floor_line_ = panel.axhline(
                self.floor, color=FLOOR, linestyle="--", label=f"floor {self.floor:.2f}"
            )
            panel.legend(frameon=False)
        panel.set_ylim(0, 1.3 * max(self.rate.max(), self.floor or 0) or 1)

    def _three_axes(self, ax):
        """Return three axes: those given, three in place of a single one, or new ones."""
        plt = pyplot(self)
        if ax is None:
            _, ax = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
        elif isinstance(ax, plt.Axes):
            ax.set_axis_off()
            place = ax.get_subplotspec()
            if place is None:
                raise ValueError(
                    "ax must be part of a grid, as made by plt.subplots, so that its place can be "
                    "divided among three axes; pass three axes instead"
                )
            wspace = 0.45 if ax.figure.get_layout_engine() is None else None
            grid = place.subgridspec(1, 3, wspace=wspace)
            ax = [ax.figure.add_subplot(cell) for cell in grid]
        axes = np.asarray(ax, dtype=object).ravel()
        if len(axes) != 3:
            raise ValueError(f"ax must be one axes or three; got {len(axes)}")
        return axes
