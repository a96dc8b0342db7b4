"""Pictures of fitted models, as scikit-learn's Display classes: arrays in, matplotlib out.

The constructor takes what is drawn, ``from_estimator`` computes it, and ``plot`` draws it,
into a given ``ax`` or a figure of its own. Artists stay at hand as attributes. Nothing is shown
and no global setting of matplotlib is changed. In every picture blue is the model, dashed red
the floor and grey the prior, and information is in nats.
"""

from typing import Self

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import ndtri

from skvae.bounds import gaussian_kl

MODEL = "tab:blue"
FLOOR = "tab:red"
PRIOR = "0.75"
QUIET = "0.45"  # text that is not data
# Ten colours that colour-blind readers can tell apart: Petroff (2021), arXiv:2107.02270.
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2"]
CLASSES += ["#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
GREYS = "#94a4a2", "#717581"  # of these


def _pyplot(display):
    """matplotlib.pyplot, or what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib, which is not installed. "
            "Try: pip install skvae[plot]"
        ) from error
    return plt


def _start(display, ax, figsize):
    """Draw into `ax` from now on, or into a new figure of that size."""
    plt = _pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def _draw_mosaic(display, ax, images, n_grouped=1, **kwargs):
    """Show images (n_rows, n_columns, h, w[, 3]) as one; return the centres of both."""
    gap = max(1, round(max(images.shape[2:4]) / 12))
    mosaic, rows, columns = _tiled(images, gap, n_grouped)
    ax = _start(display, ax, _mosaic_size(mosaic, images.shape[3]))
    settings = {"interpolation": "nearest"}
    if images.ndim == 4:
        settings |= {"cmap": "gray_r", "vmin": np.nanmin(images), "vmax": np.nanmax(images)}
    else:
        inside = np.isfinite(mosaic[..., :1])  # and the gaps are transparent
        mosaic = np.concatenate([np.nan_to_num(mosaic), inside], axis=-1)
    display.image_ = ax.imshow(mosaic, **(settings | kwargs))
    ax.set_facecolor("none")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return rows, columns


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
        self.rate = _vector("rate", rate)
        n_epochs = len(self.rate)
        self.distortion = _vector("distortion", distortion, n_epochs)
        self.elbo = -(self.rate + self.distortion)
        self.objective = None if objective is None else _vector("objective", objective, n_epochs)
        self.validation = None
        if validation is not None and len(validation):  # an estimator's is empty without any
            self.validation = _vector("validation", validation, n_epochs)
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
        history = _learnt(estimator, "history_")
        return cls(
            history["rate"],
            history["distortion"],
            objective=np.negative(history["loss"]),
            validation=getattr(estimator, "validation_scores_", None),
            floor=_learnt(estimator, "kl_floor_"),
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
            _tidy(panel)
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
        plt = _pyplot(self)
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


class KLDisplay:
    """KL of each component against its floor, the largest first.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        Mean KL of each component over the rows, in nats.
    floor : float or array-like of shape (n_components,), default=0.0
        Floor of each component's KL, in nats.
    dead_below : float, default=0.005
        KL in nats below which a component is drawn grey and counted as dead. Below the default
        it cannot be live: its mean varies by less than 0.01.

    Attributes
    ----------
    order : ndarray of shape (n_components,)
        The components as they are drawn.
    bars_ : matplotlib BarContainer
        A bar for each component, in that order.
    floor_line_ : matplotlib Line2D or None
        The floor, if there is any.
    ax_ : matplotlib Axes
        Where they are.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    LatentMapDisplay : What two components say.

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

    def __init__(self, kl, floor=0.0, *, dead_below=0.005):
        self.kl = _vector("kl", kl)
        if np.ndim(floor):
            floor = _vector("floor", floor, len(self.kl))
        self.floor = np.broadcast_to(np.asarray(floor, dtype=float), self.kl.shape)
        self.dead_below = dead_below
        self.order = np.argsort(-self.kl, kind="stable")

    @classmethod
    def from_estimator(cls, estimator, X=None, *, dead_below=0.005, ax=None, **kwargs) -> Self:
        """Draw the KL of a fitted estimator.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            The rows to take the mean over. None is the training rows, for which alone the floor
            is guaranteed.
        dead_below : float, default=0.005
            KL in nats below which a component counts as dead.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.bar`.

        Returns
        -------
        KLDisplay
            Drawn.
        """
        kl = _learnt(estimator, "kl_per_component_") if X is None else _kl(estimator, X)
        floor = _learnt(estimator, "module_").posterior_layer.component_floors()
        return cls(kl, floor, dead_below=dead_below).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.bar`.

        Returns
        -------
        KLDisplay
            Itself.
        """
        ax = _start(self, ax, (5.6, 3.4))
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
            labels.append(f"floor {_span(floor)}")
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
        _tidy(ax, "y")
        return self


class LatentMapDisplay:
    """The codes of rows in the plane of two components, over the prior's circles.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        Codes, as `transform` returns them. A single component is drawn as a strip, whose
        other axis only spreads the rows.
    y : array-like of shape (n_samples,), default=None
        Colours the rows: by class, with a legend, if it holds strings or at most ten whole
        numbers, else on a scale. Of more than ten classes the eight largest get colours.
    kl : array-like of shape (n_components,), default=None
        KL of each component, in nats.
    components : tuple of int, default=None
        The two to draw. None takes those with the largest KL or, without `kl`, the largest
        variance.
    y_name : str, default=None
        Title of the legend.

    Attributes
    ----------
    points_ : list of matplotlib PathCollection
        One for each class, or a single one.
    prior_ : list of matplotlib artists
        The prior's 1 and 2 sigma.
    legend_ : matplotlib Legend or None
        Names of the classes.
    colorbar_ : matplotlib Colorbar or None
        The scale of a continuous `y`.
    ax_ : matplotlib Axes
        Where they are.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    KLDisplay : Which components say most.
    TraversalDisplay : What a component says.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import BNVAEEstimator, LatentMapDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = BNVAEEstimator(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> LatentMapDisplay.from_estimator(vae, X, y=y)
    <...>
    """

    def __init__(self, codes, *, y=None, kl=None, components=None, y_name=None):
        self.codes = _finite("codes", codes)
        if self.codes.ndim != 2 or not self.codes.size:
            raise ValueError(
                "codes must have shape (n_samples, n_components), none of them 0; "
                f"got {self.codes.shape}"
            )
        n_samples, d = self.codes.shape
        self.y = None if y is None else np.asarray(y)
        if y is not None and self.y.shape != (n_samples,):
            raise ValueError(
                f"y must hold one value for each of {n_samples} rows; got shape {self.y.shape}"
            )
        self.kl = None if kl is None else _vector("kl", kl, d)
        if components is None:
            weight = self.codes.var(axis=0) if kl is None else self.kl
            components = np.argsort(-weight, kind="stable")[:2]
        self.components = _components(components, d)
        if len(self.components) != min(2, d):
            raise ValueError(f"components must name {min(2, d)} of {d}; got {components!r}")
        self.y_name = y_name

    @classmethod
    def from_estimator(cls, estimator, X, *, y=None, components=None, ax=None, **kwargs) -> Self:
        """Draw the codes of rows.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted; or any transformer, pipelines among them.
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,), default=None
            Colours the rows; the name of a pandas Series becomes the legend's title.
        components : tuple of int, default=None
            The two to draw; None takes those with the largest KL.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            Drawn.
        """
        return cls(
            np.asarray(estimator.transform(X)),
            y=y,
            kl=getattr(estimator, "kl_per_component_", None),
            components=components,
            y_name=getattr(y, "name", None),
        ).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
            Itself.
        """
        ax = _start(self, ax, (5.6, 4.4))
        n_samples = len(self.codes)
        style = {
            "s": np.clip(8000 / n_samples, 3, 25),
            "linewidths": 0,
            "alpha": 0.85,
            "rasterized": n_samples > 5000,  # a file for print stays small
        } | kwargs
        self.legend_ = self.colorbar_ = None
        across, up = self._plane()
        if self.y is None:
            self.points_ = [ax.scatter(across, up, **({"color": MODEL} | style))]
        elif _is_continuous(self.y):
            self.points_ = [ax.scatter(across, up, c=self.y.astype(float), **style)]
            self.colorbar_ = self.figure_.colorbar(self.points_[0], ax=ax, label=self.y_name)
            self.colorbar_.outline.set_visible(False)
            self.colorbar_.solids.set_alpha(1)
        else:
            self.points_ = [
                ax.scatter(across[rows], up[rows], **(look | style))
                for rows, look in _classes(self.y)
            ]
            self.legend_ = ax.legend(
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
        self._draw_prior()
        return self

    def _plane(self):
        codes = self.codes[:, self.components].T
        if len(codes) == 2:
            return codes
        golden = (np.sqrt(5) - 1) / 2
        return codes[0], 2 * np.modf(golden * np.arange(codes.shape[1]))[0] - 1

    def _draw_prior(self):
        from matplotlib.patches import Circle

        ax = self.ax_
        style = {"color": PRIOR, "linewidth": 1, "zorder": 0}
        if len(self.components) == 2:
            self.prior_ = [ax.add_patch(Circle((0, 0), r, fill=False, **style)) for r in (1, 2)]
            ax.set_aspect("equal", adjustable="datalim")  # the legend stays beside the axes
            ax.autoscale_view()
        else:
            self.prior_ = [ax.axvline(sigma, **style) for sigma in (-2, -1, 1, 2)]
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        names = [_name(component, self.kl) for component in self.components]
        ax.set(**dict(zip(("xlabel", "ylabel"), names, strict=False)))
        _tidy(ax, None)
        for axis in (ax.xaxis, ax.yaxis)[: len(self.components)]:
            axis.set_major_locator(_whole_numbers())


class TraversalDisplay:
    """Pictures decoded while one component at a time walks through the prior.

    Parameters
    ----------
    images : array-like of shape (n_shown, n_steps, h, w) or (n_shown, n_steps, h, w, 3)
        Decoded pictures, a row for each component. Colours lie in [0, 1], or in [0, 255].
    components : array-like of int of shape (n_shown,)
        The components that walk.
    values : array-like of shape (n_steps,)
        Where they stop, in standard deviations of the prior.
    kl : array-like of shape (n_components,), default=None
        KL of all components, in nats, to write beside them.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All pictures as one.
    ax_ : matplotlib Axes
        Where it is.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    ReconstructionDisplay : What the code keeps of a row.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import BNVAEEstimator, TraversalDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = BNVAEEstimator(8, likelihood="bernoulli", max_iter=2, random_state=0).fit(X / 16)
    >>> TraversalDisplay.from_estimator(vae, image_shape=(8, 8))
    <...>
    """

    def __init__(self, images, *, components, values, kl=None):
        self.components = np.asarray(components)
        self.values = _vector("values", values)
        self.images = _images("images", images, 2)
        if self.images.shape[:2] != (len(self.components), len(self.values)):
            raise ValueError(
                f"images must hold {len(self.components)} components times {len(self.values)} "
                f"values; got shape {self.images.shape}"
            )
        self.kl = None if kl is None else _vector("kl", kl)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        image_shape,
        components=None,
        n_shown=6,
        quantiles=(0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99),
        ax=None,
        **kwargs,
    ) -> Self:
        """Draw what the decoder makes of the prior's quantiles.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted.
        X : array-like of shape (n_samples, n_features), default=None
            The mean code of these rows is where the other components stay, so pass one row to
            walk from there. None is the prior's mean.
        image_shape : tuple of int
            (h, w) or (h, w, 3), the shape of a row.
        components : array-like of int, default=None
            The components to walk; None takes those with the largest KL.
        n_shown : int, default=6
            How many, if `components` is None.
        quantiles : array-like of float, default=(0.01, 0.05, 0.15, ..., 0.95, 0.99)
            Stops, as quantiles of the prior, in (0, 1).
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        TraversalDisplay
            Drawn.
        """
        kl = _learnt(estimator, "kl_per_component_")
        quantiles = _vector("quantiles", quantiles)
        if not np.all((quantiles > 0) & (quantiles < 1)):
            raise ValueError(f"quantiles must lie between 0 and 1, both excluded; got {quantiles}")
        if components is None:
            components = np.argsort(-kl, kind="stable")[:n_shown]
        components, values = _components(components, len(kl)), ndtri(quantiles)
        start = np.zeros(len(kl)) if X is None else np.mean(estimator.transform(X), axis=0)
        codes = np.tile(start, (len(components), len(values), 1))
        codes[np.arange(len(components)), :, components] = values
        rows = estimator.inverse_transform(codes.reshape(-1, len(kl)))
        images = _shaped("image_shape", rows, image_shape)
        return cls(
            images.reshape(codes.shape[:2] + images.shape[1:]),
            components=components,
            values=values,
            kl=kl,
        ).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        TraversalDisplay
            Itself.
        """
        rows, columns = _draw_mosaic(self, ax, self.images, **kwargs)
        names = [_name(component, self.kl, "\n") for component in self.components]
        self.ax_.set_yticks(rows, names, fontsize="small")
        values = ["0" if abs(v) < 0.05 else f"{v:+.1f}" for v in self.values]
        self.ax_.set_xticks(columns, [v.replace("-", "\N{MINUS SIGN}") for v in values])
        self.ax_.set_xlabel("value of the component (standard deviations of the prior)")
        return self


class ReconstructionDisplay:
    """Pictures above what the model makes of their codes.

    Parameters
    ----------
    images, reconstructions : array-like of shape (n_samples, h, w) or (n_samples, h, w, 3)
        Pictures, and what is decoded from their codes. Colours lie in [0, 1], or in [0, 255].

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All pairs as one picture.
    ax_ : matplotlib Axes
        Where it is.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    TraversalDisplay : What single components say.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import BNVAEEstimator, ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = BNVAEEstimator(8, likelihood="bernoulli", max_iter=2, random_state=0).fit(X / 16)
    >>> ReconstructionDisplay.from_estimator(vae, X[:10] / 16, image_shape=(8, 8))
    <...>
    """

    def __init__(self, images, reconstructions):
        self.images = _images("images", images, 1)
        self.reconstructions = _images("reconstructions", reconstructions, 1)
        if self.images.shape != self.reconstructions.shape:
            raise ValueError(
                "images and reconstructions must have the same shape; got "
                f"{self.images.shape} and {self.reconstructions.shape}"
            )

    @classmethod
    def from_estimator(cls, estimator, X, *, image_shape, n_columns=10, ax=None, **kwargs) -> Self:
        """Draw rows and their reconstructions.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted; or whatever has `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            The rows; all of them are drawn.
        image_shape : tuple of int
            (h, w) or (h, w, 3), the shape of a row.
        n_columns : int, default=10
            Pairs side by side.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        ReconstructionDisplay
            Drawn.
        """
        decoded = estimator.inverse_transform(estimator.transform(X))
        display = cls.from_arrays(X, decoded, image_shape=image_shape)
        return display.plot(ax, n_columns=n_columns, **kwargs)

    @classmethod
    def from_arrays(cls, X, reconstructions, *, image_shape) -> Self:
        """Make it from rows; call `plot` to draw.

        Parameters
        ----------
        X, reconstructions : array-like of shape (n_samples, n_features)
            Rows, and what is decoded from their codes.
        image_shape : tuple of int
            (h, w) or (h, w, 3), the shape of a row.

        Returns
        -------
        ReconstructionDisplay
            Not drawn yet.
        """
        return cls(*(_shaped("image_shape", rows, image_shape) for rows in (X, reconstructions)))

    def plot(self, ax=None, *, n_columns=10, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        n_columns : int, default=10
            Pairs side by side.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        ReconstructionDisplay
            Itself.
        """
        if n_columns < 1:
            raise ValueError(f"n_columns must be at least 1; got {n_columns}")
        n_columns = min(n_columns, len(self.images))
        n_bands = -(-len(self.images) // n_columns)
        pairs = np.stack([self.images, self.reconstructions], axis=1)
        full = np.full((n_bands * n_columns, *pairs.shape[1:]), np.nan)
        full[: len(pairs)] = pairs
        grid = full.reshape(n_bands, n_columns, *pairs.shape[1:]).swapaxes(1, 2)
        grid = grid.reshape(2 * n_bands, n_columns, *pairs.shape[2:])
        rows, _ = _draw_mosaic(self, ax, grid, n_grouped=2, **kwargs)
        self.ax_.set_yticks(rows, ["row", "decoded"] * n_bands)
        self.ax_.set_xticks([])
        return self


class AggregatedPosteriorDisplay:
    """Density of each component over all rows, against the standard normal prior.

    The aggregated posterior is the mixture of the posteriors of all rows. Where it is not the
    prior, samples from the prior meet codes that the decoder does not know.

    Parameters
    ----------
    grid : array-like of shape (n_points,)
        Values of a component.
    density : array-like of shape (n_components, n_points)
        Density of each component there.

    Attributes
    ----------
    total_variation : ndarray of shape (n_components,)
        Distance of each density from the prior: half the integral of the absolute difference,
        between 0 and 1.
    lines_ : list of matplotlib Line2D
        A curve for each component.
    prior_ : matplotlib artist
        The prior's density, filled.
    ax_ : matplotlib Axes
        Where they are.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    LatentMapDisplay : The rows' codes one by one.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import AggregatedPosteriorDisplay
    >>> loc = np.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> display = AggregatedPosteriorDisplay.from_arrays(loc, np.full((2, 2), [0.3, 1.0]))
    >>> display.total_variation.round(2).tolist()
    [0.45, 0.0]
    """

    def __init__(self, grid, density):
        self.grid = _vector("grid", grid)
        self.density = np.asarray(density, dtype=float)
        if self.density.ndim != 2 or self.density.shape[1] != len(self.grid):
            raise ValueError(
                f"density must have shape (n_components, {len(self.grid)}), as grid; "
                f"got {self.density.shape}"
            )
        gap = np.abs(self.density - _normal(self.grid))
        self.total_variation = trapezoid(gap, self.grid, axis=1) / 2

    @classmethod
    def from_arrays(cls, loc, scale, *, n_points=201) -> Self:
        """Compute the exact mixture density; call `plot` to draw.

        Parameters
        ----------
        loc, scale : array-like of shape (n_samples, n_components)
            Posterior mean and standard deviation of each row.
        n_points : int, default=201
            Points of the grid.

        Returns
        -------
        AggregatedPosteriorDisplay
            Not drawn yet.
        """
        loc, scale = _finite("loc", loc), _finite("scale", scale)
        if loc.ndim != 2 or loc.shape != scale.shape or not loc.size:
            raise ValueError(
                "loc and scale must both have shape (n_samples, n_components); "
                f"got {loc.shape} and {scale.shape}"
            )
        if not np.all(scale > 0):
            raise ValueError(f"scale must be positive; its least value is {scale.min():g}")
        end = max(3.5, np.abs(loc).max() + 2 * np.median(scale))
        grid = np.linspace(-end, end, n_points)
        scale = np.maximum(scale, grid[1] - grid[0])  # narrower ones would slip through
        return cls(grid, _mixture(grid, loc, scale))

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None, **kwargs) -> Self:
        """Draw the mixture of the posteriors of rows.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted.
        X : {array-like, CSR} of shape (n_samples, n_features)
            The rows.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`, for the curves.

        Returns
        -------
        AggregatedPosteriorDisplay
            Drawn.
        """
        return cls.from_arrays(*_posteriors(estimator, X)).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot`, for the curves.

        Returns
        -------
        AggregatedPosteriorDisplay
            Itself.
        """
        ax = _start(self, ax, (5.6, 3.4))
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
        _tidy(ax, None)
        return self


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
        rate = _vector("rate", rate)
        distortion = _vector("distortion", distortion, len(rate))
        order = np.argsort(rate, kind="stable")
        self.rate, self.distortion = rate[order], distortion[order]
        self.elbo = -(self.rate + self.distortion)
        self.tau = None if tau is None else _vector("tau", tau, len(rate))[order]

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
        rate, elbo = _rates_and_elbos(estimators, X)
        bound = any(_learnt(estimator, "kl_floor_") > 0 for estimator in estimators)
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
        ax = _start(self, ax, (5.6, 4.2))
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
        _tidy(ax, None)
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
                        "ELBO " * (not self.elbo_labels_) + _printed([elbo], None)[0],
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


class TauTableDisplay:
    """A table of fits by tau: floor, rate, ELBO and, if given, accuracy.

    Parameters
    ----------
    tau, floor, rate, elbo : array-like of shape (n_fits,)
        The columns, all but the first in nats per row.
    accuracy : array-like of shape (n_fits,), default=None
        One more column, of whatever score the code is used for.

    Attributes
    ----------
    table_ : matplotlib Table
        The best ELBO and accuracy are bold.
    ax_ : matplotlib Axes
        Where it is.
    figure_ : matplotlib Figure
        What holds it.

    See Also
    --------
    RateDistortionDisplay : The same as a picture.

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

    def __init__(self, tau, *, floor, rate, elbo, accuracy=None):
        self.tau = _vector("tau", tau)
        n_fits = len(self.tau)
        self.floor = _vector("floor", floor, n_fits)
        self.rate = _vector("rate", rate, n_fits)
        self.elbo = _vector("elbo", elbo, n_fits)
        self.accuracy = None if accuracy is None else _vector("accuracy", accuracy, n_fits)

    @classmethod
    def from_estimators(cls, estimators, X=None, *, accuracy=None, ax=None, fontsize=10) -> Self:
        """Draw fitted estimators.

        Parameters
        ----------
        estimators : list of BNVAEEstimator
            Fitted.
        X : {array-like, CSR} of shape (n_samples, n_features), default=None
            The rows to take the means over; None is the training rows of each.
        accuracy : array-like of shape (n_fits,), default=None
            What their codes reach in a task.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        fontsize : float, default=10
            In points.

        Returns
        -------
        TauTableDisplay
            Drawn.
        """
        rate, elbo = _rates_and_elbos(estimators, X)
        return cls(
            [estimator.tau_ for estimator in estimators],
            floor=[_learnt(estimator, "kl_floor_") for estimator in estimators],
            rate=rate,
            elbo=elbo,
            accuracy=accuracy,
        ).plot(ax, fontsize=fontsize)

    @classmethod
    def from_curve(cls, curve, *, accuracy=None, ax=None, fontsize=10) -> Self:
        """Draw one fit along its range of tau.

        Parameters
        ----------
        curve : RateDistortionCurve
            As `skvae.rate_distortion_curve` returns it.
        accuracy : array-like of shape (n_taus,), default=None
            What the codes reach in a task.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        fontsize : float, default=10
            In points.

        Returns
        -------
        TauTableDisplay
            Drawn.
        """
        return cls(
            curve.tau.round(3),
            floor=curve.floor,
            rate=curve.rate,
            elbo=curve.elbo,
            accuracy=accuracy,
        ).plot(ax, fontsize=fontsize)

    def plot(self, ax=None, *, fontsize=10):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        fontsize : float, default=10
            In points.

        Returns
        -------
        TauTableDisplay
            Itself.
        """
        columns = {
            r"$\tau$": _printed(self.tau, None),
            "floor (nats)": _printed(self.floor, 2),
            "rate (nats)": _printed(self.rate, 2),
            "ELBO (nats)": _printed(self.elbo, 2),
        }
        best = {(int(np.argmax(self.elbo)) + 1, 3)}
        if self.accuracy is not None:
            columns["accuracy"] = _printed(self.accuracy, 3)
            best.add((int(np.argmax(self.accuracy)) + 1, 4))
        n_rows = len(self.tau) + 1
        ax = _start(self, ax, (1.15 * len(columns), 0.32 * n_rows))
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


# -- from estimators ---------------------------------------------------------------------------


def _learnt(estimator, name):
    """A fitted attribute, or what to do."""
    try:
        return getattr(estimator, name)
    except AttributeError as error:
        raise ValueError(
            f"the estimator must have {name}, as a fitted BNVAEEstimator has; this "
            f"{type(estimator).__name__} has none. Fit it first; of a pipeline, pass the step."
        ) from error


def _posteriors(estimator, X):
    """Means and standard deviations of the posteriors of rows, in double precision."""
    _learnt(estimator, "module_")
    return tuple(part.astype(np.float64) for part in estimator.encode(X))


def _kl(estimator, X):
    """Mean KL of each component over rows, in nats."""
    return gaussian_kl(*_posteriors(estimator, X)).mean(axis=0)


def _rates_and_elbos(estimators, X):
    """Rate and ELBO of each estimator, over its training rows or over those of X, in nats."""
    if X is None:
        kls = [_learnt(estimator, "kl_per_component_") for estimator in estimators]
        elbos = [_learnt(estimator, "lower_bound_") for estimator in estimators]
    else:
        kls = [_kl(estimator, X) for estimator in estimators]
        elbos = [np.mean(estimator.score_samples(X, bound="elbo")) for estimator in estimators]
    return np.array([np.sum(kl) for kl in kls]), np.array(elbos)


# -- arrays ------------------------------------------------------------------------------------


def _finite(name, values):
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return values


def _vector(name, values, length=None):
    """Finite numbers in one dimension, as many as asked for."""
    values = _finite(name, values)
    if values.ndim != 1 or not len(values) or (length is not None and len(values) != length):
        shape = "(n,) with n > 0" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    return values


def _components(components, d):
    """Numbers of components, if they exist."""
    components = np.asarray(components)
    fine = components.ndim == 1 and components.dtype.kind in "iu" and len(components)
    if not fine or not np.all((components >= 0) & (components < d)):
        raise ValueError(f"components must be numbers from 0 to {d - 1}; got {components.tolist()}")
    return components


def _images(name, images, n_axes):
    """Pictures behind `n_axes` axes; colours in [0, 1]."""
    images = np.asarray(images)
    coloured = images.ndim == n_axes + 3
    if not images.size or images.ndim < n_axes + 2 or (coloured and images.shape[-1] != 3):
        coloured = None
    if coloured is None or images.ndim > n_axes + 3:
        raise ValueError(
            f"{name} must hold pictures (h, w) or (h, w, 3) behind {n_axes} "
            f"ax{'es' if n_axes > 1 else 'is'}; got shape {images.shape}"
        )
    images = _finite(name, images)
    if coloured:
        images = np.clip(images / (255 if images.max() > 2 else 1), 0, 1)
    return images


def _shaped(name, rows, image_shape):
    """Rows as pictures."""
    rows, shape = np.asarray(rows), tuple(np.atleast_1d(image_shape).tolist())
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(f"{name} must be (h, w) or (h, w, 3); got {image_shape!r}")
    if rows.ndim != 2 or rows.shape[1] != np.prod(shape):
        raise ValueError(
            f"{name} {shape} takes rows of {np.prod(shape)} columns; got shape {rows.shape}"
        )
    return rows.reshape(-1, *shape)


def _tiled(images, gap, n_grouped=1):
    """One picture of (n_rows, n_columns, h, w, ...), and the centres of rows and columns.

    Gaps are NaN, and larger below each group of so many rows.
    """
    n_rows, n_columns, h, w = images.shape[:4]
    groups = np.arange(n_rows) // n_grouped if n_grouped > 1 else np.zeros(n_rows, dtype=int)
    tops = np.arange(n_rows) * (h + gap) + groups * 3 * gap
    lefts = np.arange(n_columns) * (w + gap)
    mosaic = np.full((tops[-1] + h, lefts[-1] + w, *images.shape[4:]), np.nan)
    for tiles, top in zip(images, tops, strict=True):
        for tile, left in zip(tiles, lefts, strict=True):
            mosaic[top : top + h, left : left + w] = tile
    return mosaic, tops + (h - 1) / 2, lefts + (w - 1) / 2


def _is_continuous(y):
    """Whether these are amounts and not names of classes."""
    if y.dtype.kind not in "fiu":
        return False
    values = np.unique(_finite("y", y))
    return len(values) > 10 or bool(np.any(values != np.round(values)))


def _classes(y):
    """Rows and look of each class; of more than ten, the small ones are one, in grey."""
    y = y.astype(str) if y.dtype.kind == "O" else y
    values, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if y.dtype.kind == "f":
        values = values.astype(int)
    shown, colors = np.arange(len(values)), CLASSES
    if len(values) > 10:
        colors = [color for color in CLASSES if color not in GREYS]
        shown = np.sort(np.argsort(-counts, kind="stable")[: len(colors)])
        look = {"label": f"{len(values) - len(shown)} others", "color": PRIOR, "zorder": 0.5}
        yield ~np.isin(numbers, shown), look
    for number, color in zip(shown, colors, strict=False):
        yield numbers == number, {"label": str(values[number]), "color": color}


def _normal(x):
    """Density of the standard normal."""
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


def _mixture(grid, loc, scale):
    """Mean over rows of N(loc, scale) on the grid: (n_components, n_points)."""
    density = np.zeros((loc.shape[1], len(grid)))
    size = max(1, 2**21 // density.size)
    for start in range(0, len(loc), size):
        m, s = (part[start : start + size, :, None] for part in (loc, scale))
        density += (_normal((grid - m) / s) / s).sum(axis=0)
    return density / len(loc)


# -- axes --------------------------------------------------------------------------------------


def _tidy(ax, grid="both"):
    """Two spines instead of four, and a light grid where it helps to read values."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)


def _whole_numbers():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, nbins=6)


def _mosaic_size(mosaic, tile_width):
    """Figure size for a mosaic: tiles of at most 0.8 inches, all of it at most 8 by 8."""
    h, w = mosaic.shape[:2]
    scale = min(6.4 / w, 7 / h, 0.8 / tile_width)
    return w * scale + 1.2, h * scale + 0.6


def _name(component, kl, gap=" "):
    """A component with its KL, if known."""
    return f"component {component}" + ("" if kl is None else f"{gap}({kl[component]:.2f} nats)")


def _printed(values, n_decimals):
    """Numbers as text, with a minus sign; None keeps as many decimals as they need, up to 4."""
    if n_decimals is None:
        n_decimals = max(len(f"{v:.4f}".rstrip("0").partition(".")[2]) for v in values)
    return [f"{v:.{n_decimals}f}".replace("-", "\N{MINUS SIGN}") for v in values]


def _span(values):
    """A number, or the least and the largest of several."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"
