"""Images beside their reconstructions."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skvae.display.arrays import as_images, rows_as_images
from skvae.display.axes import Display, draw_mosaic

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


class ReconstructionDisplay(Display):
    """Images, each above its reconstruction from the code.

    Parameters
    ----------
    images, reconstructions : array-like of shape (n_samples, h, w) or (n_samples, h, w, 3)
        Images and their reconstructions. Color values lie in [0, 1] or in [0, 255].

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Mosaic of all pairs.
    ax_, figure_ : matplotlib Axes and Figure
        Axes that were drawn into, and their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import BNVAEEstimator, ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = BNVAEEstimator(8, likelihood="bernoulli", max_iter=2, random_state=0).fit(X / 16)
    >>> ReconstructionDisplay.from_estimator(vae, X[:10] / 16, image_shape=(8, 8))
    <...>
    """

    image_: "AxesImage"

    def __init__(self, images: ArrayLike, reconstructions: ArrayLike) -> None:
        self.images = as_images("images", images, 1)
        self.reconstructions = as_images("reconstructions", reconstructions, 1)
        if self.images.shape != self.reconstructions.shape:
            raise ValueError(
                "images and reconstructions must have the same shape; got "
                f"{self.images.shape} and {self.reconstructions.shape}"
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: tuple[int, ...],
        n_columns: int = 10,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw rows and their reconstructions.

        Parameters
        ----------
        estimator : BNVAEEstimator
            Fitted estimator, or any other with `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            Rows, all of which are drawn.
        image_shape : tuple of int
            Shape of a row as an image, (h, w) or (h, w, 3).
        n_columns : int, default=10
            Number of pairs side by side.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        ReconstructionDisplay
            Display with its drawn artists.
        """
        decoded = estimator.inverse_transform(estimator.transform(X))
        display = cls.from_arrays(X, decoded, image_shape=image_shape)
        return display.plot(ax, n_columns=n_columns, **kwargs)

    @classmethod
    def from_arrays(
        cls, X: Any, reconstructions: ArrayLike, *, image_shape: tuple[int, ...]
    ) -> Self:
        """Make a display from rows; call `plot` to draw it.

        Parameters
        ----------
        X, reconstructions : array-like of shape (n_samples, n_features)
            Rows and their reconstructions.
        image_shape : tuple of int
            Shape of a row as an image, (h, w) or (h, w, 3).

        Returns
        -------
        ReconstructionDisplay
            Display that is not drawn yet.
        """
        return cls(
            *(rows_as_images("image_shape", rows, image_shape) for rows in (X, reconstructions))
        )

    def plot(self, ax: "Axes | None" = None, *, n_columns: int = 10, **kwargs: Any) -> Self:
        """Draw the images in bands, each above its reconstructions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        n_columns : int, default=10
            Number of pairs side by side.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        ReconstructionDisplay
            This display.
        """
        if n_columns < 1:
            raise ValueError(f"n_columns must be at least 1; got {n_columns}")
        n_columns = min(n_columns, len(self.images))
        n_bands = -(-len(self.images) // n_columns)
        pairs = np.stack([self.images, self.reconstructions], axis=1)
        padded = np.full((n_bands * n_columns, *pairs.shape[1:]), np.nan)
        padded[: len(pairs)] = pairs
        grid = padded.reshape(n_bands, n_columns, *pairs.shape[1:]).swapaxes(1, 2)
        grid = grid.reshape(2 * n_bands, n_columns, *pairs.shape[2:])
        rows, _ = draw_mosaic(self, ax, grid, n_grouped=2, **kwargs)
        self.ax_.set_yticks(rows, ["row", "decoded"] * n_bands)
        self.ax_.set_xticks([])
        return self
