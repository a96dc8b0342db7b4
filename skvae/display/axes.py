"""Drawing code that the displays share: figures, mosaics of images and labels."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skvae.display.arrays import tiled

if TYPE_CHECKING:  # matplotlib may not be installed
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Display:
    """Base of the displays that draw into one pair of axes."""

    ax_: "Axes"
    figure_: "Figure"

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """Draw into given axes, or into a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a new figure.
        **kwargs : dict
            Keyword arguments for the method of matplotlib that `from_estimator` names.

        Returns
        -------
        Display
            This display.
        """
        raise NotImplementedError


def pyplot(display):
    """Return the module matplotlib.pyplot, or raise an error that says what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib, which is not installed. "
            "Try: pip install skvae[plot]"
        ) from error
    return plt


def axes_for(display, ax, figsize):
    """Return the given axes, or those of a new figure, and keep them in the display."""
    plt = pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def draw_mosaic(display, ax, images, n_grouped=1, **kwargs):
    """Draw images (n_rows, n_columns, h, w[, 3]) as one; return the centers of rows and columns."""
    gap = max(1, round(max(images.shape[2:4]) / 12))
    mosaic, rows, columns = tiled(images, gap, n_grouped)
    h, w = mosaic.shape[:2]
    scale = min(6.4 / w, 7 / h, 0.8 / images.shape[3])  # 0.8 inches per tile, about 8 by 8 in total
    ax = axes_for(display, ax, (w * scale + 1.2, h * scale + 0.6))
    settings = {"interpolation": "nearest"}
    if images.ndim == 4:
        settings |= {"cmap": "gray_r", "vmin": np.nanmin(images), "vmax": np.nanmax(images)}
    else:
        opaque = np.isfinite(mosaic[..., :1])  # the space between images is transparent
        mosaic = np.concatenate([np.nan_to_num(mosaic), opaque], axis=-1)
    display.image_ = ax.imshow(mosaic, **(settings | kwargs))
    ax.set_facecolor("none")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return rows, columns


def tidy(ax, grid="both"):
    """Draw two spines instead of four, and a light grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)


def component_name(component, kl, gap=" "):
    """Name a component, with its KL if that is given."""
    return f"component {component}" + ("" if kl is None else f"{gap}({kl[component]:.2f} nats)")


def as_texts(values, n_decimals):
    """Write numbers with a true minus sign; None stands for the decimals needed, up to 4."""
    if n_decimals is None:
        n_decimals = max(len(f"{v:.4f}".rstrip("0").partition(".")[2]) for v in values)
    return [f"{v:.{n_decimals}f}".replace("-", "\N{MINUS SIGN}") for v in values]
