"""How a fit went: ELBO, rate and distortion over the epochs."""

from typing import Self

import numpy as np

from skvae.display.arrays import vector
from skvae.display.axes import pyplot, tidy
from skvae.display.colors import FLOOR, MODEL
from skvae.display.reading import learnt


class TrainingCurveDisplay:
    """ELBO, rate and distortion over the epochs of a fit.

    Parameters
    ----------
    rate, distortion : array-like of shape (n_epochs,)
        Mean KL of a row, and its mean expected ``-log p(x|z)``, in each epoch, in nats. The
        ELBO is what both take away: ``-(rate + distortion)``.
    objective : array-like of shape (n_epochs,), default=None
        What training maximised, in nats; drawn where it is not the ELBO.
    validation : array-like of shape (n_epochs,), default=None
        Mean objective of the rows set aside, in nats.
    floor : float, default=None
        Floor of the rate, in nats.

    Attributes
    ----------
    elbo : ndarray of shape (n_epochs,)
        The ELBO in each epoch.
    elbo_line_, rate_line_, distortion_line_ : matplotlib Line2D
        The curves.
    objective_line_, validation_line_, floor_line_ : matplotlib Line2D or None
        Those that there are.
    axes_ : ndarray of shape (3,) of matplotlib Axes
        Of ELBO, rate and distortion.
    figure_ : matplotlib Figure
        What holds them.

    See Also
    --------
    KLDisplay : What the rate consists of in the end.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, TrainingCurveDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> TrainingCurveDisplay.from_estimator(vae)
    <...>
    """

    def __init__(self, rate, distortion, *, objective=None, validation=None, floor=None):
        self.rate = vector("rate", rate)
        n_epochs = len(self.rate)
        self.distortion = vector("distortion", distortion, n_epochs)
        self.elbo = -(self.rate + self.distortion)
        self.objective = None if objective is None else vector("objective", objective, n_epochs)
        self.validation = None
        if validation is not None and len(validation):  # an estimator's is empty without any
            self.validation = vector("validation", validation, n_epochs)
        self.floor = floor

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted; its ``history_`` is read.
        ax : matplotlib Axes or array-like of 3 of them, default=None
            As for `plot`.
        **kwargs : dict
            Passed to the `plot` method of the axes.

        Returns
        -------
        TrainingCurveDisplay
            Drawn.
        """
        history = learnt(estimator, "history_")
        return cls(
            history["rate"],
            history["distortion"],
            objective=np.negative(history["loss"]),
            validation=getattr(estimator, "validation_scores_", None),
            floor=learnt(estimator, "kl_floor_"),
        ).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of 3 of them, default=None
            Where to draw: three axes, or one whose place is shared out to three. None makes a
            figure.
        **kwargs : dict
            Passed to the `plot` method of the axes.

        Returns
        -------
        TrainingCurveDisplay
            Itself.
        """
        self._start_three(ax)
        epochs = np.arange(1, len(self.rate) + 1)
        style = {"color": MODEL, "marker": "o" if len(epochs) == 1 else None} | kwargs
        for name, panel in zip(("elbo", "rate", "distortion"), self.axes_, strict=True):
            (line,) = panel.plot(epochs, getattr(self, name), **style)
            setattr(self, f"{name}_line_", line)
            panel.set(xlabel="epoch", title="ELBO" if name == "elbo" else name)
            panel.xaxis.get_major_locator().set_params(integer=True)
            tidy(panel)
        self.axes_[0].set_ylabel("nats per row")
        self.objective_line_ = self.validation_line_ = self.floor_line_ = None
        others = self.objective is not None and not np.allclose(self.objective, self.elbo)
        if others:
            (self.objective_line_,) = self.axes_[0].plot(
                epochs, self.objective, ":", color=MODEL, label="objective"
            )
        if self.validation is not None:
            label = "objective, rows set aside" if others else "rows set aside"
            (self.validation_line_,) = self.axes_[0].plot(
                epochs, self.validation, "--", color="black", lw=1.2, label=label
            )
        if others or self.validation is not None:
            self.elbo_line_.set_label("ELBO" if others else "training rows")
            self.axes_[0].legend(frameon=False, fontsize="small")
        if self.floor:
            self.floor_line_ = self.axes_[1].axhline(
                self.floor, color=FLOOR, linestyle="--", label=f"floor {self.floor:.2f}"
            )
            self.axes_[1].legend(frameon=False)
        self.axes_[1].set_ylim(0, 1.3 * max(self.rate.max(), self.floor or 0) or 1)
        return self

    def _start_three(self, ax):
        plt = pyplot(self)
        if ax is None:
            _, ax = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
        elif isinstance(ax, plt.Axes):
            ax.set_axis_off()
            place = ax.get_subplotspec()
            if place is None:
                raise ValueError(
                    "ax must be part of a grid, as plt.subplots makes them, to be shared out to "
                    "three; pass three axes instead"
                )
            wspace = 0.45 if ax.figure.get_layout_engine() is None else None
            grid = place.subgridspec(1, 3, wspace=wspace)
            ax = [ax.figure.add_subplot(cell) for cell in grid]
        self.axes_ = np.asarray(ax, dtype=object).ravel()
        if len(self.axes_) != 3:
            raise ValueError(f"ax must be one axes or three; got {len(self.axes_)}")
        self.figure_ = self.axes_[0].figure
