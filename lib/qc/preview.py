"""The one page a newcomer sees first: the cells, the bases, how reads are spelled, the numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lib.qc.images import centre_crop, composite, draw_outlines, enlarge
from lib.qc.metrics import CATEGORIES, metric_cell_categories, metric_quality
from lib.qc.panels import edges, frame, scale_bar
from lib.qc.style import (
    ACCENT,
    BASE_COLOURS,
    CATEGORY_COLOURS,
    INK,
    MUTED,
    channel_colours,
    say_empty,
    styled,
)

VIEW = 256  # pixels a side of the large picture
EXAMPLES = 6  # reads spelled out
SPOT = 6  # pixels around the centre of such a read


@styled
def plot_preview(
    aligned: np.ndarray,
    channel_names: Sequence[str],
    base_channels: Sequence[str],
    nuclei: np.ndarray,
    cell_labels: np.ndarray,
    sbs_info: pd.DataFrame,
    reads: pd.DataFrame,
    cells: pd.DataFrame,
    place: str,
    pixel_size: float | None = None,
) -> Figure:
    """One tile at a glance.

    Parameters
    ----------
    aligned : (T, C, y, x) aligned stack of one tile.
    channel_names, base_channels : names of its C channels, and those of them that show bases;
        a channel `DAPI`, if there is one, is shown below them.
    nuclei, cell_labels : (y, x) labels of the tile.
    sbs_info, reads, cells : tables of this tile.
    pixel_size : micrometres, for the scale bar.
    """
    figure = Figure(figsize=(12.0, 7.75))
    figure.text(0.02, 0.963, f"Optical pooled screen, {place}", size=16, weight="bold", va="center")
    figure.text(
        0.02,
        0.922,
        "Every dot is a barcode inside a cell; its colour in each cycle is one base, "
        "and the bases spell which gene was perturbed",
        size=9.5,
        color=MUTED,
        va="center",
    )
    window = centre_crop(aligned.shape[-2:], VIEW)
    shape = tuple(length.stop - length.start for length in window)
    picture = figure.add_axes((0.02, 0.03, 0.5575, 0.8632))
    picture.imshow(
        _tile_picture(aligned, channel_names, base_channels, nuclei, cell_labels, window),
        extent=edges(shape),
    )
    picture.set_anchor("NW")
    frame(picture)
    scale_bar(picture, shape, pixel_size)
    stain = ["DAPI"] if "DAPI" in channel_names else []
    _key(picture, [*stain, *base_channels])

    examples = example_reads(reads, window)
    _ring(picture, reads, examples, window)
    _headline(figure.add_axes((0.605, 0.785, 0.385, 0.11)), sbs_info, reads, cells)
    spelled = figure.add_axes((0.605, 0.325, 0.385, 0.385))
    _spell(spelled, aligned, channel_names, base_channels, examples)
    _called(figure.add_axes((0.69, 0.075, 0.105, 0.165)), sbs_info, reads, cells)
    _quality(figure.add_axes((0.845, 0.075, 0.135, 0.165)), reads)
    return figure


def example_reads(reads: pd.DataFrame, window: tuple[slice, slice]) -> pd.DataFrame:
    """The clearest mapped read in a cell, of each of a few genes, whole in `window` (y, x).

    Clearest: highest `Q_min`, then `peak`, then first by position.
    """
    inside = _within(reads, window, SPOT)
    good = inside[inside["gene_symbol"].notna() & (inside["cell"] > 0)]
    good = good.sort_values(["Q_min", "peak", "i", "j"], ascending=[False, False, True, True])
    return good.drop_duplicates("gene_symbol").head(EXAMPLES)


def _within(reads: pd.DataFrame, window: tuple[slice, slice], margin: int = 0) -> pd.DataFrame:
    rows, columns = window
    in_rows = reads["i"].between(rows.start + margin, rows.stop - 1 - margin)
    return reads[in_rows & reads["j"].between(columns.start + margin, columns.stop - 1 - margin)]


def _ring(
    panel: Axes, reads: pd.DataFrame, examples: pd.DataFrame, window: tuple[slice, slice]
) -> None:
    """Thin rings around called reads, and the numbers of the reads that are spelled out."""
    top, left = (length.start for length in window)
    seen = _within(reads, window)
    panel.scatter(
        seen["j"] - left,
        seen["i"] - top,
        s=42,
        facecolors="none",
        edgecolors="white",
        linewidths=0.6,
        alpha=0.6,
    )
    for number, read in enumerate(examples.itertuples(), start=1):
        panel.annotate(
            str(number),
            (read.j - left, read.i - top),
            xytext=(6, 5),
            textcoords="offset points",
            color="white",
            size=9,
            weight="bold",
        )


def _tile_picture(
    aligned: np.ndarray,
    channel_names: Sequence[str],
    base_channels: Sequence[str],
    nuclei: np.ndarray,
    cell_labels: np.ndarray,
    window: tuple[slice, slice],
) -> np.ndarray:
    """First cycle as a composite with outlines, enlarged: RGB."""
    names = [name for name in channel_names if name == "DAPI" or name in base_channels]
    planes = aligned[0][[list(channel_names).index(name) for name in names]]
    planes = planes[(slice(None), *window)].astype(np.float32)
    levels = [(30.0, 99.9) if name == "DAPI" else (80.0, 99.95) for name in names]
    rgb = composite(planes, list(_tints(names).values()), levels)
    factor = max(1, 1024 // max(rgb.shape[:2]))
    rgb = enlarge(rgb, factor)
    rgb = draw_outlines(rgb, enlarge(cell_labels[window], factor), "#FFFFFF", 1, opacity=0.55)
    return draw_outlines(rgb, enlarge(nuclei[window], factor), "#8FB0FF", 2, opacity=0.55)


def _key(panel: Axes, names: Sequence[str]) -> None:
    """Channel names in their colours, in a dark strip over the picture."""
    handles = [Patch(color=colour, label=name) for name, colour in _tints(names).items()]
    legend = panel.legend(
        handles=handles,
        title="cycle 1, called reads ringed",
        loc="upper left",
        ncols=len(handles),
        frameon=True,
        facecolor="black",
        framealpha=0.7,
        edgecolor="none",
        labelcolor="white",
        alignment="left",
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.1,
        fontsize=9,
        title_fontsize=9,
    )
    legend.get_title().set_color("white")


def _tints(names: Sequence[str]) -> dict[str, str]:
    """Colours on black: those of the bases, and a DAPI dim enough to leave them visible."""
    return channel_colours(names) | ({"DAPI": "#3D4F94"} if "DAPI" in names else {})


def _headline(
    panel: Axes, sbs_info: pd.DataFrame, reads: pd.DataFrame, cells: pd.DataFrame
) -> None:
    """Four large numbers."""
    panel.set_axis_off()
    panel.set(xlim=(0, 1), ylim=(0, 1))
    one_gene = int(cells["mapped_single_gene"].fillna(False).astype(bool).sum())
    mapped = int((reads["gene_symbol"].notna() | reads["sgRNA"].notna()).sum())
    numbers = {
        "cells": f"{len(sbs_info):,}",
        "reads": f"{len(reads):,}",
        "reads in\nlibrary": f"{mapped / len(reads):.0%}" if len(reads) else "–",
        "cells with\none gene": f"{one_gene / len(sbs_info):.0%}" if len(sbs_info) else "–",
    }
    for n, (name, number) in enumerate(numbers.items()):
        x = 0.005 + 0.25 * n
        panel.text(x, 0.75, number, size=21, weight="bold", color=ACCENT, va="center")
        panel.text(x, 0.42, name, size=9, color=MUTED, va="top", linespacing=1.25)


def _spell(
    panel: Axes,
    aligned: np.ndarray,
    channel_names: Sequence[str],
    base_channels: Sequence[str],
    examples: pd.DataFrame,
) -> None:
    """One row per read: what the spot looks like in each cycle, with the base called there."""
    panel.set_title("Reads, cycle by cycle", pad=8)
    frame(panel)
    panel.tick_params(length=0, pad=1)
    if examples.empty:
        say_empty(panel, "no reads in the library")
        return
    cycles = aligned.shape[0]
    indices = [list(channel_names).index(channel) for channel in base_channels]
    balanced = _balance(aligned[:, indices])
    colours = channel_colours(base_channels)
    tints = np.array([to_rgb(colours[channel]) for channel in base_channels], np.float32)
    # A contrast of its own for each cycle, shared by its channels: the brightest is the call.
    # Where a base may be dark, one for the whole read, or its noise would look like light.
    axes = (1, 2, 3) if set(base_channels) == set(BASE_COLOURS) else (0, 1, 2, 3)
    for row, read in enumerate(examples.itertuples()):
        i, j = round(read.i), round(read.j)
        spot = balanced[..., i - SPOT : i + SPOT + 1, j - SPOT : j + SPOT + 1]
        spot = spot / np.maximum(spot.max(axis=axes, keepdims=True), 1e-6)
        pictures = np.clip(np.einsum("tcyx,cr->tyxr", spot, tints), 0, 1)
        for cycle in range(cycles):
            box = (cycle - 0.46, cycle + 0.46, row + 0.30, row - 0.46)
            panel.imshow(pictures[cycle], extent=box, interpolation="bicubic")
            letter = read.barcode[cycle]
            panel.text(
                cycle,
                row + 0.415,
                letter,
                color=colours.get(letter, MUTED),
                size=8,
                weight="bold",
                ha="center",
                va="center",
            )
        panel.text(-0.72, row - 0.08, str(row + 1), size=9, weight="bold", ha="center", va="center")
        panel.text(cycles - 0.35, row - 0.08, read.gene_symbol, size=8.5, va="center", color=INK)
    panel.set_xlim(-0.95, cycles + 0.12 * cycles)
    panel.set_ylim(EXAMPLES - 0.4, -0.5)
    panel.set_aspect("auto")
    panel.set_xticks(range(cycles), [str(cycle + 1) for cycle in range(cycles)])
    panel.xaxis.tick_top()


def _balance(stack: np.ndarray) -> np.ndarray:
    """Planes (T, C, y, x) without background, in units of their bright spots: float32 >= 0."""
    sparse = stack[..., ::2, ::2]
    low, high = np.percentile(sparse, [50, 99.8], axis=(-2, -1), keepdims=True).astype(np.float32)
    return np.maximum(stack - low, 0) / np.maximum(high - low, 1e-6)


def _called(panel: Axes, sbs_info: pd.DataFrame, reads: pd.DataFrame, cells: pd.DataFrame) -> None:
    """How many cells were called how, as horizontal bars."""
    panel.set_title("Cells")
    if sbs_info.empty:
        say_empty(panel, "no cells")
        return
    categories = metric_cell_categories(sbs_info, reads, cells, by=("plate",))
    counts = categories[list(CATEGORIES)].sum()
    panel.barh(
        range(len(CATEGORIES)), counts, color=[CATEGORY_COLOURS[name] for name in CATEGORIES]
    )
    for n, count in enumerate(counts):
        panel.text(count + 0.02 * counts.max(), n, f"{count:,}", va="center", size=8)
    panel.set_yticks(range(len(CATEGORIES)), list(CATEGORIES))
    panel.invert_yaxis()
    panel.set_xlim(0, 1.25 * counts.max())
    panel.set_xticks([])
    panel.grid(False)
    panel.tick_params(length=0)
    panel.spines["bottom"].set_visible(False)


def _quality(panel: Axes, reads: pd.DataFrame) -> None:
    """Base quality per cycle: that of the mean error where it is phred, else the median."""
    panel.set_title("Base quality")
    if reads.empty:
        say_empty(panel, "no reads")
        return
    quality = metric_quality(reads)
    x, style = quality["cycle"], {"color": ACCENT, "ms": 3.5, "lw": 1.8}
    if "posterior" in reads:  # in phred
        panel.plot(x, quality["overall"], "o-", **style)
        panel.set_ylim(0, 1.1 * max(quality["overall"].max(), 1.0))
        panel.set_ylabel("phred")
    else:
        panel.fill_between(x, quality["q25"], quality["q75"], color=ACCENT, alpha=0.25, lw=0)
        panel.plot(x, quality["median"], "o-", **style)
        panel.set_ylim(0, 1.05)
        panel.set_yticks([0, 0.5, 1])
    panel.set_xticks(quality["cycle"][:: 1 + len(quality) // 9])
    panel.set_xlabel("cycle")
