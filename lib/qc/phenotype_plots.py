"""The figures of the report's phenotype half; rules and looks are those of `plots`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.qc.images import centre_crop, draw_outlines, enlarge, stretch
from lib.qc.metrics import quantiles
from lib.qc.panels import edges, frame, label_colours, legend_above, scale_bar
from lib.qc.phenotype_metrics import metric_missing
from lib.qc.plots import CROP, PERCENT, THOUSANDS, extent_text, quantile_marks
from lib.qc.style import (
    ACCENT,
    CELL_OUTLINE,
    FAINT,
    INK,
    NUCLEUS_OUTLINE,
    WARNING,
    new_figure,
    say_empty,
    styled,
)
from lib.shared.sheets import natural_key

KIND_COLOURS = {
    "complete": ACCENT,
    "some_missing": "#E69F00",
    "mostly_missing": WARNING,
    "constant": "#6B6B6B",
}
WORST = 14  # features, or groups of them, that are named
MOST_BINS = 30
MOST_TICKS = 24


@styled
def plot_channels(
    image: np.ndarray,
    channel_names: Sequence[str],
    nuclei: np.ndarray,
    cells: np.ndarray,
    place: str,
    pixel_size: float | None = None,
) -> Figure:
    """The middle of a tile in each channel, with the outlines of nuclei and cells.

    Parameters
    ----------
    image : (C, y, x).
    nuclei, cells : (y, x) labels.
    pixel_size : micrometres, for the scale bar.
    """
    window = centre_crop(image.shape[1:], CROP)
    planes = image[:, window[0], window[1]]
    shape = planes.shape[1:]
    across = min(4, max(1, len(channel_names)))
    down = -(-len(channel_names) // across)
    figure = new_figure(
        max(5.0, 3.1 * across),
        0.75 + 3.25 * down,
        f"Channels, {place}",
        f"Middle of the tile ({extent_text(shape, pixel_size)}); "
        "each channel from its 1 % to its 99.8 % quantile",
    )
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels:
        frame(panel)
        panel.set_axis_off()
    factor = max(1, 640 // max(shape))
    for panel, name, plane in zip(panels, channel_names, planes, strict=False):
        grey = enlarge(np.repeat(stretch(plane)[..., None], 3, axis=2), factor)
        drawn = draw_outlines(grey, enlarge(cells[window], factor), CELL_OUTLINE, 1, opacity=0.5)
        drawn = draw_outlines(drawn, enlarge(nuclei[window], factor), NUCLEUS_OUTLINE, 1)
        panel.imshow(drawn, extent=edges(shape))
        panel.set_title(name)
    scale_bar(panels[0], shape, pixel_size)
    if cells.any():
        label_colours(panels[0], {"nuclei": NUCLEUS_OUTLINE, "cells": CELL_OUTLINE})
    return figure


@styled
def plot_cells_per_tile(tiles: pd.DataFrame, place: str) -> Figure:
    """How many cells tiles hold, in all and in each well.

    `tiles` has `well, tile, cells`, one row per tile that was processed.
    """
    empty = int((tiles["cells"] == 0).sum())
    figure = new_figure(
        10.0,
        4.2,
        f"Cells per tile, {place}",
        f"{tiles['cells'].sum():,} cells in {len(tiles):,} tiles; {empty:,} of them without a cell",
    )
    if tiles.empty:
        say_empty(figure.subplots(), "no tiles")
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    top = max(1, int(tiles["cells"].max()))
    step = -(-(top + 1) // MOST_BINS)  # whole numbers: bins of equal chances
    left.hist(tiles["cells"], bins=np.arange(-0.5, top + 0.5 + step, step), color=ACCENT, ec="w")
    left.set(xlabel="cells in a tile", ylabel="tiles", title="All tiles")
    left.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    left.grid(False, axis="x")
    rows = {well: quantiles(cells) for well, cells in tiles.groupby("well")["cells"]}
    wells = sorted(rows, key=natural_key)
    _well_marks(right, wells, pd.DataFrame(rows).T.loc[wells])
    right.set(ylim=(0, None), ylabel="cells in a tile", title="Wells")
    right.yaxis.set_major_formatter(THOUSANDS)
    return figure


@styled
def plot_feature_distributions(
    wells: pd.DataFrame, labels: Mapping[str, str], place: str
) -> Figure:
    """Some features in each well: 5 to 95 % of the cells, quartiles and median.

    `wells` comes from `metric_feature_wells`, `labels` says what features are called.
    """
    across = min(3, max(1, len(labels)))
    down = -(-max(1, len(labels)) // across)
    figure = new_figure(
        max(5.6, 3.5 * across),
        0.8 + 2.5 * down,
        f"Features, {place}",
        "Line or light band: 5 to 95 % of the cells; bar or dark band: quartiles; dot: median",
    )
    if wells.empty or not labels:
        say_empty(figure.subplots(), "no cells")
        return figure
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(labels) :]:
        panel.set_axis_off()
    for panel, (feature, label) in zip(panels, labels.items(), strict=False):
        rows = wells[wells["feature"] == feature].set_index("well")
        _well_marks(panel, list(rows.index), rows)
        panel.set_title(label)
        if rows["q05"].min() >= 0:
            panel.set_ylim(0, None)
    return figure


@styled
def plot_feature_gaps(
    families: pd.DataFrame, features: pd.DataFrame, place: str, few: float = 0.001
) -> Figure:
    """Features without a value or without a difference, per family, and the worst by name.

    Parameters
    ----------
    families : of `metric_feature_families`.
    features : of `metric_features`.
    few : a share of missing cells that is not worth naming.
    """
    constant = int(features["constant"].sum())
    gappy = int((features["missing"] > 0).sum())
    figure = new_figure(
        10.0,
        4.6,
        f"Gaps in features, {place}",
        f"{len(features):,} features; {gappy:,} lack a value for some cell, "
        f"{constant:,} are the same for all",
    )
    if features.empty or features["cells"].max() == 0:
        say_empty(figure.subplots(), "no cells")
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    rows = np.arange(len(families))
    start = np.zeros(len(families))
    for kind, colour in KIND_COLOURS.items():
        left.barh(rows, families[kind], left=start, color=colour, label=kind.replace("_", " "))
        start += families[kind].to_numpy(float)
    left.set_yticks(rows, families["family"])
    left.invert_yaxis()
    left.grid(False, axis="y")
    left.set(xlabel="features")
    legend_above(left, columns=len(KIND_COLOURS))
    worst = metric_missing(features, few).head(WORST)
    right.set_title("Most often missing")
    if worst.empty:
        say_empty(right, f"no feature is missing\nin more than {few:.1%} of the cells")
        return figure
    places = np.arange(len(worst))
    right.barh(places, np.ones(len(worst)), color=FAINT, height=0.7)
    right.barh(places, worst["missing_share"], color=WARNING, height=0.7)
    right.set_yticks(places, worst["name"], size=7)
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="share of cells without a value")
    right.xaxis.set_major_formatter(PERCENT)
    right.grid(False, axis="y")
    return figure


def _well_marks(panel: Axes, wells: Sequence[str], rows: pd.DataFrame) -> None:
    """Quantiles of each well beside each other."""
    x = np.arange(len(wells))
    if len(wells) <= MOST_TICKS:
        quantile_marks(panel, x, rows, ACCENT, min(0.3, 6 / max(1, len(wells))), "")
    else:
        panel.fill_between(x, rows["q05"], rows["q95"], color=ACCENT, alpha=0.2, lw=0)
        panel.fill_between(x, rows["q25"], rows["q75"], color=ACCENT, alpha=0.4, lw=0)
        panel.plot(x, rows["median"], ".", color=INK, ms=3)
    step = -(-len(wells) // MOST_TICKS)
    panel.set_xticks(x[::step], wells[::step], rotation=90 if len(wells) > 8 else 0)
    panel.set_xlim(-0.7, len(wells) - 0.3)
    panel.grid(False, axis="x")
    panel.yaxis.set_major_locator(MaxNLocator(5))
