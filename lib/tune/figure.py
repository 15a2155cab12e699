"""The comparison figure: a row per tile, a column per setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lib.qc.panels import edges, frame, scale_bar
from lib.qc.style import ACCENT, INK, new_figure, styled

PANEL_IN = 2.6  # side of a panel, inches
PANEL_PX = 400  # pixels that a panel is drawn with, about
LEAST_IN = 7.5  # width that the words above need
LINE_IN = 0.16  # a line of a column's title, inches


@dataclass(frozen=True)
class Marks:
    """Rings around (n,) places of a crop, x to the right and y down."""

    x: np.ndarray
    y: np.ndarray
    colour: str


@dataclass(frozen=True)
class Panel:
    """A crop: its picture (drawn, drawn, 3) uint8, its size in pixels of the tile, its numbers."""

    picture: np.ndarray
    shape: tuple[int, ...]
    caption: str = ""
    marks: tuple[Marks, ...] = ()


@styled
def plot_comparison(
    panels: Mapping[str, Sequence[Panel]],
    titles: Sequence[str],
    configured: int,
    ranks: Sequence[int],
    legend: Mapping[str, str],
    title: str,
    subtitle: str,
    pixel_size: float | None = None,
) -> Figure:
    """All settings on all tiles.

    Parameters
    ----------
    panels : by the name of a tile, one panel per setting.
    titles : what each setting is, lines of `key value`.
    configured : index of the setting to mark.
    ranks : of the settings, from 1; 0 where there is none.
    legend : colours of what is drawn, by name.
    pixel_size : micrometres, for the scale bar.
    """
    lines = max(text.count("\n") for text in titles) + 2
    width = max(LEAST_IN, 0.5 + PANEL_IN * len(titles))
    height = 0.9 + LINE_IN * lines + PANEL_IN * len(panels)
    figure = new_figure(width, height, title, subtitle)
    axes = figure.subplots(len(panels), len(titles), squeeze=False)
    for row, (name, own) in zip(axes, panels.items(), strict=True):
        for column, (axis, panel) in enumerate(zip(row, own, strict=True)):
            _draw(axis, panel, marked=column == configured)
        row[0].set_ylabel(f"tile {name}", weight="bold")
        scale_bar(row[0], own[0].shape, pixel_size)
    for column, (axis, text) in enumerate(zip(axes[0], titles, strict=True)):
        notes = ["configured"] * (column == configured)
        notes += [f"rank {ranks[column]}"] * (ranks[column] > 0)
        head = f"{column + 1}" + (f" ({', '.join(notes)})" if notes else "")
        colour = ACCENT if column == configured or ranks[column] == 1 else INK
        axis.set_title(f"{head}\n{text}", size=9, loc="left", color=colour)
    _explain(figure, legend)
    return figure


def _explain(figure: Figure, colours: Mapping[str, str]) -> None:
    """What the colours stand for, beside the title; on black, as in the panels."""
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
        loc="upper right",
        ncols=2,
        frameon=True,
        facecolor="black",
        framealpha=1,
        labelcolor="white",
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.0,
    )


def _draw(axis: Axes, panel: Panel, marked: bool) -> None:
    height, width = panel.shape[:2]
    axis.imshow(panel.picture, extent=edges(panel.shape), interpolation="antialiased")
    for marks in panel.marks:
        axis.scatter(
            marks.x, marks.y, s=36, facecolors="none", edgecolors=marks.colour, linewidths=0.9
        )
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
    frame(axis)
    axis.text(
        0.98,
        0.025,
        panel.caption,
        transform=axis.transAxes,
        ha="right",
        va="bottom",
        size=8,
        color="white",
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "#000000B0", "edgecolor": "none"},
    )
    if marked:
        axis.spines[:].set(visible=True, color=ACCENT, linewidth=3)
