"""Rate against distortion of several fits."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import vector
from skvae.display.axes import Display, as_texts, axes_for, tidy
from skvae.display.colors import ANNOTATION, MODEL
from skvae.display.fitted import fitted_attribute, rates_and_elbos

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation, Text


EQUAL_ELBO = "equal ELBO"  # group id of the lines of equal ELBO and of their labels


class RateDistortionDisplay(Display):
    """Rate against distortion of several fits, or of one along tau, over lines of equal ELBO.

    A second display on the same axes shares the lines of equal ELBO. A `label` among the keyword
    arguments of `plot` adds a legend.

    Parameters
    ----------
    rate, distortion : array-like of shape (n_fits,)
        Mean KL per row and mean expected ``-log p(x|z)`` per row, in nats. The points are
        connected in the order of the rate.
    tau : array-like of shape (n_fits,), default=None
        Values of tau, which label the points.

    Attributes
    ----------
    elbo : ndarray of shape (n_fits,)
        ELBO of each fit, ``-(rate + distortion)``.
    line_ : matplotlib Line2D
        Points of the fits and the line that connects them.
    labels_ : list of matplotlib Annotation
        Values of tau beside the points.
    elbo_lines_ : list of matplotlib Line2D
        Lines of equal ELBO, of slope -1.
    elbo_labels_ : list of matplotlib Text
        Values of the ELBO on these lines.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, RateDistortionDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> fits = [
    ...     BNVAEEstimator(2, tau=tau, max_iter=5, random_state=0).fit(X) for tau in (0.2, 0.8)
    ... ]
    >>> RateDistortionDisplay.from_estimators(fits)
    <...>
    """

    line_: "Line2D"
    labels_: "list[Annotation]"
    elbo_lines_: "list[Line2D]"
    elbo_labels_: "list[Text]"

    def __init__(
        self, rate: ArrayLike, distortion: ArrayLike, *, tau: ArrayLike | None = None
    ) -> None:
        rate = vector("rate", rate)
        distortion = vector("distortion", distortion, len(rate))
        order = np.argsort(rate, kind="stable")
        self.rate, self.distortion = rate[order], distortion[order]
        self.elbo = -(self.rate + self.distortion)
        self.tau = None if tau is None else vector("tau", tau, len(rate))[order]

    @classmethod
    def from_estimators(
        cls, estimators: Iterable[Any], X: Any = None, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Draw fitted estimators.

        Parameters
        ----------
        estimators : list of BNVAEEstimator
            Fitted estimators, labeled with their tau unless none of them has a floor.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            Rows to take the means over; None stands for the training rows of each estimator.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`, for the fits.

        Returns
        -------
        RateDistortionDisplay
            Display with its drawn artists.
        """
        estimators = list(estimators)
        rate, elbo = rates_and_elbos(estimators, X)
        has_floor = any(fitted_attribute(estimator, "kl_floor_") > 0 for estimator in estimators)
        tau = [estimator.tau_ for estimator in estimators] if has_floor else None
        return cls(rate, -(elbo + rate), tau=tau).plot(ax, **kwargs)

    @classmethod
    def from_curve(cls, curve: Any, *, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """Draw one fit along its range of tau.

        Parameters
        ----------
        curve : RateDistortionCurve
            Result of `skvae.rate_distortion_curve`.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`, for the curve.

        Returns
        -------
        RateDistortionDisplay
            Display with its drawn artists.
        """
        return cls(curve.rate, curve.distortion, tau=curve.tau.round(3)).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        ax = axes_for(self, ax, (5.6, 4.2))
        for artist in [*ax.lines, *ax.texts]:
            if artist.get_gid() == EQUAL_ELBO:  # of an earlier display, for other limits
                artist.remove()
        ax.relim()
        style = {"color": MODEL, "marker": "o", "markersize": 5} | kwargs
        ax.set_autoscale_on(True)
        ax.margins(0.12)
        (self.line_,) = ax.plot(self.rate, self.distortion, **style)
        ax.set(xlabel="rate (nats per row)", ylabel="distortion (nats per row)")
        self._set_limits()
        self._draw_equal_elbo()
        self._label_points()
        if "label" in kwargs:
            ax.legend(frameon=False)
        tidy(ax, None)
        return self

    def _set_limits(self):
        """Fix the limits, with a range of at least two nats and no negative rate."""
        (left, right), (low, high) = self.ax_.get_xlim(), self.ax_.get_ylim()
        x_margin, y_margin = max(0, 2 - (right - left)) / 2, max(0, 2 - (high - low)) / 2
        self.ax_.set(
            xlim=(max(0, left - x_margin), right + x_margin), ylim=(low - y_margin, high + y_margin)
        )

    def _label_points(self):
        """Write tau beside each point; points that are close to each other share a label."""
        self.labels_ = []
        if self.tau is None:
            return
        points = np.column_stack([self.rate, self.distortion])
        positions = self._in_typographic_points(points)
        groups = []
        for i, position in enumerate(positions):
            is_close = groups and np.all(np.abs(position - positions[groups[-1][0]]) < (30, 12))
            if is_close:
                groups[-1].append(i)
            else:
                groups.append([i])
        for group in groups:
            text = ", ".join(f"{tau:g}" for tau in self.tau[group])
            self.labels_.append(
                self.ax_.annotate(
                    text if self.labels_ else rf"$\tau$ = {text}",
                    points[group[-1]],
                    xytext=(5, 5),
                    textcoords="offset points",
                    fontsize="small",
                )
            )

    def _draw_equal_elbo(self):
        """Draw lines of equal ELBO, with labels on the diagonal of the axes where there is room."""
        from matplotlib.ticker import MaxNLocator

        ax = self.ax_
        left, right = ax.get_xlim()
        low, high = ax.get_ylim()
        self.elbo_lines_, self.elbo_labels_ = [], []
        for elbo in MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(-right - high, -left - low):
            # The line crosses the diagonal of the axes at this share of its length.
            share = (-elbo - left - low) / (right - left + high - low)
            if not 0.03 < share < 0.97:
                continue
            line = ax.axline((left, -elbo - left), slope=-1, color="0.85", lw=0.8, zorder=0)
            line.set_gid(EQUAL_ELBO)
            self.elbo_lines_.append(line)
            crossing = left + share * (right - left), low + share * (high - low)
            if self._is_free(crossing):
                self._label_equal_elbo(elbo, crossing)

    def _label_equal_elbo(self, elbo, position):
        text = "ELBO " * (not self.elbo_labels_) + as_texts([elbo], None)[0]
        label = self.ax_.text(
            *position,
            text,
            gid=EQUAL_ELBO,
            color=ANNOTATION,
            fontsize="small",
            ha="center",
            va="center",
            rotation=-45,
            rotation_mode="anchor",
            transform_rotates_text=True,
            bbox={"facecolor": self.ax_.get_facecolor(), "edgecolor": "none", "pad": 0.8},
            zorder=0.5,
        )
        self.elbo_labels_.append(label)

    def _is_free(self, position):
        """Return whether a label at this position overlaps neither curves nor labels of points."""
        x, y = self._in_typographic_points(position)
        for line in self.ax_.lines:
            if line.get_gid() == EQUAL_ELBO:
                continue
            vertices = self._in_typographic_points(line.get_xydata())
            indices = np.arange(len(vertices))
            fine = np.linspace(0, indices[-1], 20 * len(vertices))
            curve_x, curve_y = (np.interp(fine, indices, column) for column in vertices.T)
            if np.hypot(curve_x - x, curve_y - y).min() < 14:
                return False
            if np.any(np.all(abs(vertices - (x - 18, y - 8)) < (34, 16), axis=1)):
                return False
        return True

    def _in_typographic_points(self, positions):
        """Convert positions in the axes from the units of the data to typographic points."""
        return self.ax_.transData.transform(positions) * 72 / self.figure_.dpi
