"""The effect of each component on decoded images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from skvae.display.arrays import as_images, component_numbers, rows_as_images, vector
from skvae.display.axes import Display, component_name, draw_mosaic
from skvae.display.fitted import fitted_attribute

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


class TraversalDisplay(Display):
    """Images decoded while one component at a time moves through the prior.

    Parameters
    ----------
    images : array-like of shape (n_shown, n_steps, h, w) or (n_shown, n_steps, h, w, 3)
        Decoded images, in a row for each component. Color values lie in [0, 1] or in [0, 255].
    components : array-like of int of shape (n_shown,)
        Indices of the components that move.
    values : array-like of shape (n_steps,)
        Values that each of them takes, in standard deviations of the prior.
    kl : array-like of shape (n_components,), default=None
        KL of all components in nats, which is written beside their names.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Mosaic of all images.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import BNVAEEstimator, TraversalDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = BNVAEEstimator(8, likelihood="bernoulli", max_iter=2, random_state=0).fit(X / 16)
    >>> TraversalDisplay.from_estimator(vae, image_shape=(8, 8))
    <...>
    """

    image_: "AxesImage"

    def __init__(
        self,
        images: ArrayLike,
        *,
        components: Sequence[int] | np.ndarray,
        values: ArrayLike,
        kl: ArrayLike | None = None,
    ) -> None:
        self.components = np.asarray(components)
        self.values = vector("values", values)
        self.images = as_images("images", images, 2)
        if self.images.shape[:2] != (len(self.components), len(self.values)):
            raise ValueError(
                f"images must hold {len(self.components)} components times {len(self.values)} "
                f"values; got shape {self.images.shape}"
            )
        self.kl = None if kl is None else vector("kl", kl)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        image_shape: tuple[int, ...],
        components: Sequence[int] | np.ndarray | None = None,
        n_shown: int = 6,
        quantiles: ArrayLike = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99),
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the decoded images while components move through the prior's quantiles.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator.
        X : array-like of shape (n_samples, n_features), default=None
            Rows whose mean code gives the values of the components that do not move; pass one row
            to vary that row. None stands for the prior's mean.
        image_shape : tuple of int
            Shape of a row as an image, (h, w) or (h, w, 3).
        components : array-like of int, default=None
            Indices of the components to move; None takes those with the largest KL.
        n_shown : int, default=6
            Number of components to move if `components` is None.
        quantiles : array-like of float, default=(0.01, 0.05, 0.15, ..., 0.95, 0.99)
            Quantiles of the prior that each component moves through, in (0, 1).
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        TraversalDisplay
            Display with its drawn artists.
        """
        kl = fitted_attribute(estimator, "kl_per_component_")
        quantiles = vector("quantiles", quantiles)
        if not np.all((quantiles > 0) & (quantiles < 1)):
            raise ValueError(f"quantiles must lie between 0 and 1, both excluded; got {quantiles}")
        if components is None:
            components = np.argsort(-kl, kind="stable")[:n_shown]
        components, values = component_numbers(components, len(kl)), ndtri(quantiles)
        origin = np.zeros(len(kl)) if X is None else np.mean(estimator.transform(X), axis=0)
        codes = np.tile(origin, (len(components), len(values), 1))
        codes[np.arange(len(components)), :, components] = values
        rows = estimator.inverse_transform(codes.reshape(-1, len(kl)))
        images = rows_as_images("image_shape", rows, image_shape)
        return cls(
            images.reshape(codes.shape[:2] + images.shape[1:]),
            components=components,
            values=values,
            kl=kl,
        ).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        rows, columns = draw_mosaic(self, ax, self.images, **kwargs)
        names = [component_name(component, self.kl, "\n") for component in self.components]
        self.ax_.set_yticks(rows, names, fontsize="small")
        values = ["0" if abs(v) < 0.05 else f"{v:+.1f}" for v in self.values]
        self.ax_.set_xticks(columns, [v.replace("-", "\N{MINUS SIGN}") for v in values])
        self.ax_.set_xlabel("value of the component (standard deviations of the prior)")
        return self
