"""Small parts that several figures share: frames, notes, scale bars, legends."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch


def frame(panel: Axes) -> None:
    """Take ticks, grid and spines off an image."""
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(False)
    panel.spines[:].set_visible(False)


def note(panel: Axes, message: str) -> None:
    """Write `message` in the middle of a dark image."""
    panel.text(
        0.5,
        0.5,
        message,
        transform=panel.transAxes,
        ha="center",
        va="center",
        size=12,
        color="white",
        bbox={"boxstyle": "round,pad=0.6", "facecolor": "#000000B0", "edgecolor": "none"},
    )


def edges(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Extent of an image whose pixel centres are whole numbers, however finely it is drawn."""
    return -0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5


def scale_bar(panel: Axes, shape: tuple[int, ...], pixel_size: float | None) -> None:
    """A bar of about a fifth of the width in the lower left corner."""
    unit = "µm" if pixel_size else "px"
    pixel_size = pixel_size or 1.0
    wanted = 0.2 * shape[1] * pixel_size
    decade = 10 ** np.floor(np.log10(wanted))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= wanted)
    x, y = 0.04 * shape[1], 0.955 * shape[0]
    panel.plot([x, x + length / pixel_size], [y, y], color="white", lw=3, solid_capstyle="butt")
    panel.text(x, y - 0.015 * shape[0], f"{length:g} {unit}", color="white", size=8, va="bottom")


def label_colours(panel: Axes, colours: Mapping[str, str]) -> None:
    """Names in their own colours along the upper edge of a dark image."""
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    legend = panel.legend(
        handles=handles,
        loc="upper left",
        ncols=len(handles),
        frameon=True,
        facecolor="black",
        framealpha=0.6,
        edgecolor="none",
        labelcolor="white",
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.0,
        borderpad=0.5,
    )
    legend.set_zorder(5)


def legend_above(
    panel: Axes,
    columns: int,
    handles: Sequence | None = None,
    labels: Sequence[str] | None = None,
) -> None:
    """A one-line legend above the axes, where it can cover no data."""
    if handles is None:
        handles, labels = panel.get_legend_handles_labels()
    panel.legend(
        handles,
        labels,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.4,
    )
