"""What the displays share in drawing: figures, mosaics of images, labels."""

import numpy as np

from skvae.display.arrays import tiled


def pyplot(display):
    """matplotlib.pyplot, or what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib, which is not installed. "
            "Try: pip install skvae[plot]"
        ) from error
    return plt


def begin(display, ax, figsize):
    """Draw into `ax` from now on, or into a new figure of that size."""
    plt = pyplot(display)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def draw_mosaic(display, ax, images, n_grouped=1, **kwargs):
    """Show images (n_rows, n_columns, h, w[, 3]) as one; return the centres of both."""
    gap = max(1, round(max(images.shape[2:4]) / 12))
    mosaic, rows, columns = tiled(images, gap, n_grouped)
    ax = begin(display, ax, _mosaic_size(mosaic, images.shape[3]))
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


def tidy(ax, grid="both"):
    """Two spines instead of four, and a light grid where it helps to read values."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)


def _mosaic_size(mosaic, tile_width):
    """Figure size for a mosaic: tiles of at most 0.8 inches, all of it at most 8 by 8."""
    h, w = mosaic.shape[:2]
    scale = min(6.4 / w, 7 / h, 0.8 / tile_width)
    return w * scale + 1.2, h * scale + 0.6


def component_name(component, kl, gap=" "):
    """A component with its KL, if known."""
    return f"component {component}" + ("" if kl is None else f"{gap}({kl[component]:.2f} nats)")


def printed(values, n_decimals):
    """Numbers as text, with a minus sign; None keeps as many decimals as they need, up to 4."""
    if n_decimals is None:
        n_decimals = max(len(f"{v:.4f}".rstrip("0").partition(".")[2]) for v in values)
    return [f"{v:.{n_decimals}f}".replace("-", "\N{MINUS SIGN}") for v in values]
