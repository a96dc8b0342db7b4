"""A table of several fits by tau."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import vector
from skvae.display.axes import Display, as_texts, axes_for
from skvae.display.fitted import fitted_attribute, rates_and_elbos

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.table import Table


class TauTableDisplay(Display):
    """A table of fits by tau: floor, rate, ELBO and, if given, accuracy.

    Parameters
    ----------
    tau, floor, rate, elbo : array-like of shape (n_fits,)
        Columns of the table; all but the first are in nats per row.
    accuracy : array-like of shape (n_fits,), default=None
        One more column, such as the accuracy of a classifier on the code.

    Attributes
    ----------
    table_ : matplotlib Table
        Table in which the best ELBO and the best accuracy are bold.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, TauTableDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> fits = [
    ...     BNVAEEstimator(2, tau=tau, max_iter=5, random_state=0).fit(X) for tau in (0.2, 0.8)
    ... ]
    >>> display = TauTableDisplay.from_estimators(fits)
    >>> display.floor.round(2).tolist()
    [0.22, 1.61]
    """

    table_: "Table"

    def __init__(
        self,
        tau: ArrayLike,
        *,
        floor: ArrayLike,
        rate: ArrayLike,
        elbo: ArrayLike,
        accuracy: ArrayLike | None = None,
    ) -> None:
        self.tau = vector("tau", tau)
        n_fits = len(self.tau)
        self.floor = vector("floor", floor, n_fits)
        self.rate = vector("rate", rate, n_fits)
        self.elbo = vector("elbo", elbo, n_fits)
        self.accuracy = None if accuracy is None else vector("accuracy", accuracy, n_fits)

    @classmethod
    def from_estimators(
        cls,
        estimators: Iterable[Any],
        X: Any = None,
        *,
        accuracy: ArrayLike | None = None,
        ax: "Axes | None" = None,
        fontsize: float = 10,
    ) -> Self:
        """Draw a table of fitted estimators.

        Parameters
        ----------
        estimators : list of BNVAEEstimator
            Fitted estimators.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            Rows to take the means over; None stands for the training rows of each estimator.
        accuracy : array-like of shape (n_fits,), default=None
            Score of each code in a task.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        fontsize : float, default=10
            Size of the text, in points.

        Returns
        -------
        TauTableDisplay
            Display with its drawn artists.
        """
        estimators = list(estimators)
        rate, elbo = rates_and_elbos(estimators, X)
        return cls(
            [estimator.tau_ for estimator in estimators],
            floor=[fitted_attribute(estimator, "kl_floor_") for estimator in estimators],
            rate=rate,
            elbo=elbo,
            accuracy=accuracy,
        ).plot(ax, fontsize=fontsize)

    @classmethod
    def from_curve(
        cls,
        curve: Any,
        *,
        accuracy: ArrayLike | None = None,
        ax: "Axes | None" = None,
        fontsize: float = 10,
    ) -> Self:
        """Draw a table of one fit along its range of tau.

        Parameters
        ----------
        curve : RateDistortionCurve
            Result of `skvae.rate_distortion_curve`.
        accuracy : array-like of shape (n_taus,), default=None
            Score of the code at each tau in a task.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        fontsize : float, default=10
            Size of the text, in points.

        Returns
        -------
        TauTableDisplay
            Display with its drawn artists.
        """
        return cls(
            curve.tau.round(3),
            floor=curve.floor,
            rate=curve.rate,
            elbo=curve.elbo,
            accuracy=accuracy,
        ).plot(ax, fontsize=fontsize)

    def plot(self, ax: "Axes | None" = None, *, fontsize: float = 10) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        fontsize : float, default=10
            Size of the text, in points.

        Returns
        -------
        TauTableDisplay
            This display.
        """
        columns = {
            r"$\tau$": as_texts(self.tau, None),
            "floor (nats)": as_texts(self.floor, 2),
            "rate (nats)": as_texts(self.rate, 2),
            "ELBO (nats)": as_texts(self.elbo, 2),
        }
        best = {(int(np.argmax(self.elbo)) + 1, 3)}
        if self.accuracy is not None:
            columns["accuracy"] = as_texts(self.accuracy, 3)
            best.add((int(np.argmax(self.accuracy)) + 1, 4))
        n_rows = len(self.tau) + 1
        ax = axes_for(self, ax, (1.15 * len(columns), 0.32 * n_rows))
        ax.set_axis_off()
        self.table_ = ax.table(
            list(zip(*columns.values(), strict=True)),
            colLabels=list(columns),
            cellLoc="right",
            colLoc="right",
            edges="open",
            bbox=(0, 0, 1, 1),
        )
        self.table_.auto_set_font_size(False)
        self.table_.set_fontsize(fontsize)
        for place in best:
            self.table_[place].set_text_props(weight="bold")
        for height, width in (0, 1.2), (1 - 1 / n_rows, 0.7), (1, 1.2):
            ax.axhline(height, color="black", linewidth=width, clip_on=False)
        ax.set(xlim=(0, 1), ylim=(0, 1))
        return self
