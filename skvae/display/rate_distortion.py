"""Rate and distortion of several fits."""

from typing import Self

import numpy as np

from skvae.display.arrays import vector
from skvae.display.axes import begin, printed, tidy
from skvae.display.colors import MODEL, QUIET
from skvae.display.reading import learnt, rates_and_elbos


class RateDistortionDisplay:
    """Rate against distortion of several fits, or of one along tau, over lines of equal ELBO.

    Parameters
    ----------
    rate, distortion : array-like of shape (n_fits,)
        Mean KL of a row, and its mean expected ``-log p(x|z)``, in nats; drawn and connected in
        the order of the rate.
    tau : array-like of shape (n_fits,), default=None
        Labels of the points.

    Attributes
    ----------
    elbo : ndarray of shape (n_fits,)
        ``-(rate + distortion)``.
    line_ : matplotlib Line2D
        The fits.
    labels_ : list of matplotlib Annotation
        The taus.
    elbo_lines_ : list of matplotlib Line2D
        Of slope -1.
    elbo_labels_ : list of matplotlib Text
        Their values.
    ax_ : matplotlib Axes
        Where they are.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    TauTableDisplay : The same in numbers.

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

    def __init__(self, rate, distortion, *, tau=None):
        rate = vector("rate", rate)
        distortion = vector("distortion", distortion, len(rate))
        order = np.argsort(rate, kind="stable")
        self.rate, self.distortion = rate[order], distortion[order]
        self.elbo = -(self.rate + self.distortion)
        self.tau = None if tau is None else vector("tau", tau, len(rate))[order]

    @classmethod
    def from_estimators(cls, estimators, X=None, *, ax=None, **kwargs) -> Self:
        """Draw fitted estimators.

        Parameters
        ----------
        estimators : list of BNVAEEstimator
            Fitted. They are labelled with their tau, unless none of them has a floor.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            The rows to take the means over; None is the training rows of each.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`, for the fits.

        Returns
        -------
        RateDistortionDisplay
            Drawn.
        """
        rate, elbo = rates_and_elbos(estimators, X)
        bound = any(learnt(estimator, "kl_floor_") > 0 for estimator in estimators)
        tau = [estimator.tau_ for estimator in estimators] if bound else None
        return cls(rate, -(elbo + rate), tau=tau).plot(ax, **kwargs)

    @classmethod
    def from_curve(cls, curve, *, ax=None, **kwargs) -> Self:
        """Draw one fit along its range of tau.

        Parameters
        ----------
        curve : RateDistortionCurve
            As `skvae.rate_distortion_curve` returns it.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`, for the curve.

        Returns
        -------
        RateDistortionDisplay
            Drawn.
        """
        return cls(curve.rate, curve.distortion, tau=curve.tau.round(3)).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw; a second display on the same axes shares the lines of equal ELBO.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`, for the fits; with a `label` there is a legend.

        Returns
        -------
        RateDistortionDisplay
            Itself.
        """
        ax = begin(self, ax, (5.6, 4.2))
        for artist in [*ax.lines, *ax.texts]:  # another display's: the limits may change
            if artist.get_gid() == "equal ELBO":
                artist.remove()
        ax.relim()
        style = {"color": MODEL, "marker": "o", "markersize": 5} | kwargs
        ax.set_autoscale_on(True)
        ax.margins(0.12)
        (self.line_,) = ax.plot(self.rate, self.distortion, **style)
        ax.set(xlabel="rate (nats per row)", ylabel="distortion (nats per row)")
        self._widen()
        self._draw_equal_elbo()
        self._label_points()
        if "label" in kwargs:
            ax.legend(frameon=False)
        tidy(ax, None)
        return self

    def _widen(self):
        """Fix the limits: two nats at least, and no negative rate."""
        (left, right), (low, high) = self.ax_.get_xlim(), self.ax_.get_ylim()
        across, up = max(0, 2 - (right - left)) / 2, max(0, 2 - (high - low)) / 2
        self.ax_.set(xlim=(max(0, left - across), right + across), ylim=(low - up, high + up))

    def _label_points(self):
        """Write taus beside the points; neighbours share a label."""
        self.labels_ = []
        if self.tau is None:
            return
        points = np.column_stack([self.rate, self.distortion])
        places = self.ax_.transData.transform(points) * 72 / self.figure_.dpi
        groups = []
        for number, place in enumerate(places):
            near = groups and np.all(np.abs(place - places[groups[-1][0]]) < (30, 12))
            groups[-1].append(number) if near else groups.append([number])
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
        from matplotlib.ticker import MaxNLocator

        ax = self.ax_
        left, right = ax.get_xlim()
        low, high = ax.get_ylim()
        self.elbo_lines_, self.elbo_labels_ = [], []
        for elbo in MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(-right - high, -left - low):
            along = (-elbo - left - low) / (right - left + high - low)  # up the diagonal
            if not 0.03 < along < 0.97:
                continue
            line = ax.axline((left, -elbo - left), slope=-1, color="0.85", lw=0.8, zorder=0)
            line.set_gid("equal ELBO")
            self.elbo_lines_.append(line)
            place = left + along * (right - left), low + along * (high - low)
            if self._is_free(place):
                self.elbo_labels_.append(
                    ax.text(
                        *place,
                        "ELBO " * (not self.elbo_labels_) + printed([elbo], None)[0],
                        gid="equal ELBO",
                        color=QUIET,
                        fontsize="small",
                        ha="center",
                        va="center",
                        rotation=-45,
                        rotation_mode="anchor",
                        transform_rotates_text=True,
                        bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.8},
                        zorder=0.5,
                    )
                )

    def _is_free(self, place):
        """Whether a label fits there, between points and their labels."""
        scale = 72 / self.figure_.dpi
        x, y = self.ax_.transData.transform(place) * scale
        for line in self.ax_.lines:
            if line.get_gid() == "equal ELBO":
                continue
            points = self.ax_.transData.transform(line.get_xydata()) * scale
            numbers = np.arange(len(points))
            fine = np.linspace(0, numbers[-1], 20 * len(points))
            along = [np.interp(fine, numbers, column) for column in points.T]
            if np.hypot(along[0] - x, along[1] - y).min() < 14:
                return False
            if np.any(np.all(abs(points - (x - 18, y - 8)) < (34, 16), axis=1)):
                return False
        return True
