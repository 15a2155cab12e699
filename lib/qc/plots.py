"""The figures of the report, one function each: tables and small arrays in, a Figure out.

Each has a caption in `workflow/report` that says what good looks like. A figure
without data says so instead of failing. `place` is what the title names:
`style.place(plate, well)`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from lib.qc.images import centre_crop, composite, draw_outlines, enlarge, stretch, thumbnail
from lib.qc.metrics import CATEGORIES, metric_skew
from lib.qc.panels import edges, frame, label_colours, legend_above, note, scale_bar
from lib.qc.plates import plate_size, row_name, well_position
from lib.qc.style import (
    ACCENT,
    BASE_COLOURS,
    CATEGORY_COLOURS,
    CELL_OUTLINE,
    FAINT,
    INK,
    MAPPED_MARK,
    MISSING,
    MUTED,
    NUCLEUS_OUTLINE,
    SEQUENTIAL,
    UNMAPPED_MARK,
    WARNING,
    channel_colours,
    new_figure,
    say_empty,
    styled,
)
from lib.shared.sheets import natural_key

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
PERCENT = PercentFormatter(1, decimals=0)
CROP = 320  # pixels a side of the example images
LEAST_SPAN = 0.1  # of the median, to either side


# Images ---------------------------------------------------------------------------------------


@styled
def plot_illumination(
    fields: Mapping[str, np.ndarray], channel_names: Sequence[str], place: str
) -> Figure:
    """Illumination fields, one column per cycle and one row per channel; a lone one as a row.

    Parameters
    ----------
    fields : (C, y, x) field of each cycle, 1 = unchanged; any size, it is reduced here.
        A channel that a cycle lacks is NaN and stays blank. A phenotype has one field,
        under an empty name.
    """
    cycles = sorted(fields, key=natural_key)
    small = {cycle: thumbnail(np.asarray(fields[cycle], np.float32)) for cycle in cycles}
    lone = len(cycles) == 1
    rows, columns = len(channel_names), max(1, len(cycles))
    rows, columns = (columns, rows) if lone else (rows, columns)
    figure = new_figure(
        max(5.0, 1.0 + 1.0 * columns),
        1.25 + 1.0 * rows,
        f"Illumination, {place}",
        "Brightness across the tile as a factor; images are divided by it",
    )
    if not cycles:
        say_empty(figure.subplots(), "no illumination fields")
        return figure
    axes = figure.subplots(rows, columns, squeeze=False)
    grid = axes.T if lone else axes
    # Few colours show the shape like contour lines, and compress well.
    steps = colormaps[SEQUENTIAL].resampled(20)
    top = max(1.05, *(float(np.nanpercentile(field, 99.9)) for field in small.values()))
    bottom = min(1.0, *(float(np.nanmin(field)) for field in small.values()))
    for column, cycle in enumerate(cycles):
        for row, name in enumerate(channel_names):
            panel = grid[row, column]
            drawn = panel.imshow(small[cycle][row], cmap=steps, vmin=bottom, vmax=top)
            frame(panel)
            if lone:
                panel.set_title(name, size=9, loc="center")
            elif row == 0:
                panel.set_title(f"cycle {cycle}", size=8, weight="normal", loc="center")
            if column == 0 and not lone:
                panel.set_ylabel(name, rotation=0, ha="right", va="center", weight="bold")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=15 if lone else 25, pad=0.02)
    bar.set_label("factor")
    bar.outline.set_visible(False)
    return figure


@styled
def plot_segmentation(
    dapi: np.ndarray,
    cytoplasm: np.ndarray,
    nuclei: np.ndarray,
    cells: np.ndarray,
    place: str,
    pixel_size: float | None = None,
) -> Figure:
    """The middle of a tile without and with the outlines of nuclei and cells.

    Parameters
    ----------
    dapi, cytoplasm : (y, x) images; shown in blue and green.
    nuclei, cells : (y, x) labels.
    pixel_size : micrometres, for the scale bar.
    """
    window = centre_crop(dapi.shape, CROP)
    planes = np.stack([dapi[window], cytoplasm[window]]).astype(np.float32)
    rgb = composite(planes, ["#4C78FF", "#23895C"], [(5, 99.9), (5, 99.9)])
    factor = max(1, 960 // max(rgb.shape[:2]))
    drawn = enlarge(rgb, factor)
    drawn = draw_outlines(drawn, enlarge(cells[window], factor), CELL_OUTLINE, 1, opacity=0.8)
    drawn = draw_outlines(drawn, enlarge(nuclei[window], factor), NUCLEUS_OUTLINE, 2)

    number = int(np.count_nonzero(np.unique(cells)))
    figure = new_figure(
        10.0,
        5.9,
        f"Segmentation, {place}",
        f"Middle of the tile ({extent_text(rgb.shape, pixel_size)}); {number:,} cells in all",
    )
    left, right = figure.subplots(1, 2)
    for panel, image, title in ((left, rgb, "Images"), (right, drawn, "With outlines")):
        panel.imshow(image, extent=edges(rgb.shape))
        panel.set_title(title)
        frame(panel)
    scale_bar(left, rgb.shape, pixel_size)
    label_colours(left, {"DAPI": "#4C78FF", "cytoplasm": "#23895C"})
    if number == 0:
        note(right, "no cells")
    else:
        label_colours(right, {"nuclei": NUCLEUS_OUTLINE, "cells": CELL_OUTLINE})
    return figure


@styled
def plot_spots(
    log_filtered: np.ndarray, reads: pd.DataFrame, place: str, pixel_size: float | None = None
) -> Figure:
    """The middle of a tile, filtered for spots, without and with the reads called there.

    Parameters
    ----------
    log_filtered : (T, C, y, x) Laplacian-of-Gaussian response of the base channels; its
        maximum over cycles and channels is shown.
    reads : those of this tile.
    """
    window = centre_crop(log_filtered.shape[-2:], CROP // 2)
    strongest = log_filtered[..., window[0], window[1]].max(axis=(0, 1))
    image = stretch(np.sqrt(np.maximum(strongest, 0, dtype=np.float32)), 20, 99.9)
    inside = _inside(reads, window)
    mapped = (inside["gene_symbol"].notna() | inside["sgRNA"].notna()).to_numpy()
    figure = new_figure(
        10.0,
        5.9,
        f"Spots and reads, {place}",
        f"Strongest LoG response over cycles and bases, {extent_text(image.shape, pixel_size)}; "
        f"{len(inside):,} reads here, {len(reads):,} in the tile",
    )
    left, right = figure.subplots(1, 2)
    for panel, title in ((left, "Filtered image"), (right, "With called reads")):
        panel.imshow(image, cmap="gray", extent=edges(image.shape), interpolation="nearest")
        panel.set_title(title)
        frame(panel)
    scale_bar(left, image.shape, pixel_size)
    _mark_reads(right, inside, mapped, window, size=64)
    if len(inside) == 0:
        note(right, "no reads")
    return figure


# Alignment ------------------------------------------------------------------------------------


@styled
def plot_drift(drift: pd.DataFrame, place: str) -> Figure:
    """Offset of every tile over cycles (lines) and the median; from `metric_drift`."""
    figure = new_figure(
        9.0,
        3.9,
        f"Stage drift, {place}",
        "Shift of each tile against the reference cycle, before it is undone",
    )
    if drift.empty:
        say_empty(figure.subplots(), "no aligned tiles")
        return figure
    cycles = sorted(drift["cycle"].astype(str).unique(), key=natural_key)
    positions = drift["cycle"].astype(str).map({cycle: n for n, cycle in enumerate(cycles)})
    tiles = drift.groupby(["plate", "well", "tile"]).ngroup()
    for panel, column, title in zip(
        figure.subplots(1, 2, sharey=True), ("dy", "dx"), ("Down (dy)", "Right (dx)"), strict=True
    ):
        grid = np.full((tiles.max() + 1, len(cycles)), np.nan)
        grid[tiles.to_numpy(), positions.to_numpy()] = drift[column].to_numpy(float)
        lines = np.stack(np.broadcast_arrays(np.arange(len(cycles)), grid), axis=-1)
        opacity = float(np.clip(30 / len(grid), 0.05, 0.6))
        panel.add_collection(
            LineCollection(
                lines, colors=ACCENT, linewidths=0.8, alpha=opacity, rasterized=True, label="tiles"
            )
        )
        median = drift[column].groupby(positions).median()
        panel.plot(median.index, median, "o-", color=INK, ms=3.5, lw=1.5, label="median of tiles")
        panel.axhline(0, color=MUTED, lw=0.8, zorder=0)
        panel.set_title(title)
        panel.set_xlabel("cycle")
        _cycle_ticks(panel, cycles)
        panel.autoscale_view()
    figure.axes[0].set_ylabel("offset (pixels)")
    legend = figure.axes[0].legend(loc="best")
    legend.get_lines()[0].set_alpha(1)
    return figure


@styled
def plot_residuals(
    residuals: pd.DataFrame, local: pd.DataFrame, limit: float, place: str
) -> Figure:
    """What remains to be shifted, per cycle and channel and in parts of tiles, against the limit.

    `residuals` comes from `metric_residuals`, `local` from `metric_local_residuals`; both
    hold one plate.
    """
    above, unmeasured = (
        int(residuals[column].sum()) if len(residuals) else 0
        for column in ("above_limit", "unmeasured")
    )
    figure = new_figure(
        9.0,
        4.0,
        f"Alignment residuals, {place}",
        f"Shift left after alignment; {above:,} planes above {limit:g} px, "
        f"{unmeasured:,} without enough signal to measure",
    )
    if residuals.empty:
        say_empty(figure.subplots(), "no aligned tiles")
        return figure
    whole, part = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1.3))
    cycles = sorted(residuals["cycle"].astype(str).unique(), key=natural_key)
    channels = list(dict.fromkeys(residuals["channel"]))
    colours = channel_colours(channels)
    step = 0.8 / len(channels)
    for n, channel in enumerate(channels):
        rows = residuals[residuals["channel"] == channel]
        x = rows["cycle"].astype(str).map(cycles.index) + (n - (len(channels) - 1) / 2) * step
        quantile_marks(whole, x.to_numpy(float), rows, colours[channel], step, channel)
    x = local["cycle"].astype(str).map(cycles.index)
    quantile_marks(part, x.to_numpy(float), local, ACCENT, 0.2, "spots")
    part.set_title("Part farthest off, by its spots")
    for panel in (whole, part):
        panel.axhline(limit, color=WARNING, ls="--", lw=1.2)
        panel.set_xlabel("cycle")
        panel.grid(False, axis="x")
        _cycle_ticks(panel, cycles)
    part.text(
        1.005,
        limit,
        f"limit\n{limit:g} px",
        color=WARNING,
        size=8,
        va="center",
        transform=part.get_yaxis_transform(),
    )
    highest = np.nan_to_num([*residuals["q95"], *local["q95"]]).max()
    whole.set_ylim(0, max(1.25 * limit, 1.08 * highest))
    whole.set_ylabel("residual (pixels)")
    legend_above(whole, columns=len(channels))
    return figure


# Sequencing -----------------------------------------------------------------------------------


@styled
def plot_base_composition(composition: pd.DataFrame, place: str) -> Figure:
    """Share of each base per cycle, solid, and in the library, dashed.

    `composition` comes from `metric_base_composition`.
    """
    figure = new_figure(
        8.0,
        4.0,
        f"Bases per cycle, {place}",
        "Solid: share of all reads; dashed: what the library would give",
    )
    panel = figure.subplots()
    if composition["share"].isna().all():
        say_empty(panel, "no reads")
        return figure
    for base, rows in composition.groupby("base", sort=False):
        colour = BASE_COLOURS.get(base, MUTED)
        panel.plot(rows["cycle"], rows["expected"], "--", color=colour, lw=1.2, alpha=0.8)
        panel.plot(rows["cycle"], rows["share"], "o-", color=colour, lw=2, ms=4.5, label=base)
    panel.set_ylim(0, max(0.5, 1.1 * composition[["share", "expected"]].max().max()))
    panel.yaxis.set_major_formatter(PERCENT)
    panel.set_ylabel("share of reads")
    panel.set_xlabel("cycle")
    panel.set_xticks(sorted(composition["cycle"].unique()))
    legend_above(panel, columns=composition["base"].nunique())
    return figure


@styled
def plot_base_quality(quality: pd.DataFrame, place: str, in_phred: bool = False) -> Figure:
    """Median, quartiles and 5 to 95 % range of the base quality per cycle.

    `quality` comes from `metric_quality`; in phred, or between 0 and 1.
    """
    meaning = "0: two bases are equally bright; 1: only one is"
    if in_phred:
        meaning = "In phred: of bases with Q 10, 20 or 30 one in 10, 100 or 1000 is wrong"
    figure = new_figure(8.0, 3.8, f"Base quality per cycle, {place}", meaning)
    panel = figure.subplots()
    if not quality["reads"].sum():
        say_empty(panel, "no reads")
        return figure
    x = quality["cycle"]
    panel.fill_between(x, quality["q05"], quality["q95"], color=ACCENT, alpha=0.13, lw=0)
    panel.fill_between(x, quality["q25"], quality["q75"], color=ACCENT, alpha=0.3, lw=0)
    panel.plot(x, quality["median"], "o-", color=ACCENT, lw=2, ms=4.5)
    handles = [
        panel.lines[0],
        Patch(color=ACCENT, alpha=0.43, lw=0),
        Patch(color=ACCENT, alpha=0.13, lw=0),
    ]
    names = ["median", "middle half of reads", "middle 90 %"]
    if in_phred:
        handles += panel.plot(x, quality["overall"], "s--", color=INK, lw=1.5, ms=3.5)
        names += ["of the mean error"]
    legend_above(panel, len(names), handles, names)
    panel.set_ylim(0, None if in_phred else 1.02)
    panel.set_xticks(x)
    panel.set_ylabel("quality Q (phred)" if in_phred else "quality Q")
    panel.set_xlabel("cycle")
    return figure


@styled
def plot_mapping_thresholds(
    curves: Mapping[str, pd.DataFrame], place: str, chance: float | None = None
) -> Figure:
    """Mapped share and mapped reads against a threshold, one column per kind of threshold.

    Parameters
    ----------
    curves : axis label (`peak height`, `lowest quality Q_min`) to the table of
        `metric_mapping_by_threshold`; one curve per plate, or per well where
        the table has wells.
    chance : share of random reads that would be in the library.
    """
    figure = new_figure(
        9.0,
        6.0,
        f"Mapping against threshold, {place}",
        "What is left when reads below the threshold are dropped",
    )
    if all(curve.empty for curve in curves.values()):
        say_empty(figure.subplots(), "no reads")
        return figure
    axes = figure.subplots(2, len(curves), sharex="col", sharey="row", squeeze=False)
    for (label, curve), (top, bottom) in zip(curves.items(), axes.T, strict=True):
        units = [name for name in ("plate", "well") if name in curve]
        wells = list(curve.groupby(units))
        many = len(wells) > 1
        for _, rows in wells:
            style = {"color": ACCENT, "lw": 1 if many else 2, "alpha": 0.4 if many else 1}
            top.plot(rows["threshold"], rows["mapped_share"], **style)
            bottom.plot(rows["threshold"], rows["mapped"], **style)
        if many:
            pooled = curve.groupby("threshold", as_index=False)[["reads", "mapped"]].sum()
            share = pooled["mapped"] / pooled["reads"].where(pooled["reads"] > 0)
            top.plot(pooled["threshold"], share, color=INK, lw=2, label="all wells")
        if chance is not None:
            top.axhline(chance, color=WARNING, ls="--", lw=1.2, label="random reads")
        top.set_ylim(0, 1.02)
        top.yaxis.set_major_formatter(PERCENT)
        bottom.set_ylim(bottom=0)
        bottom.yaxis.set_major_formatter(THOUSANDS)
        bottom.set_xlabel(f"threshold: {label}")
    axes[0, 0].set_ylabel("kept reads in library")
    axes[1, 0].set_ylabel("mapped reads" + (" per well" if many else ""))
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(loc="best")
    return figure


@styled
def plot_crosstalk(matrices: np.ndarray, bases: str, place: str) -> Figure:
    """Where the light of each base goes: one heat map, or one per cycle.

    Parameters
    ----------
    matrices : (C, C) or (T, C, C); entry [channel, base], columns summing to 1.
    """
    matrices = np.asarray(matrices, float)
    per_cycle = matrices.ndim == 3
    stack = matrices if per_cycle else matrices[None]
    columns = min(6, max(1, len(stack)))
    rows = -(-max(1, len(stack)) // columns)
    figure = new_figure(
        max(5.2, 1.2 + (1.6 if per_cycle else 3.2) * columns),
        1.2 + (1.8 if per_cycle else 3.2) * rows,
        f"Crosstalk, {place}",
        "Share of a base's light that each channel sees",
    )
    if len(stack) == 0 or np.isnan(stack).all():
        say_empty(figure.subplots(), "no reads")
        return figure
    axes = figure.subplots(rows, columns, squeeze=False)
    for n, panel in enumerate(axes.flat):
        if n >= len(stack):
            panel.set_visible(False)
            continue
        drawn = panel.imshow(stack[n], cmap="cividis", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(stack[n]):
            if np.isfinite(share):
                panel.text(
                    column,
                    row,
                    f"{share:.2f}",
                    ha="center",
                    va="center",
                    size=6.5 if per_cycle else 11,
                    color=INK if share > 0.55 else "white",
                )
        panel.set_xticks(range(len(bases)), list(bases))
        panel.set_yticks(range(len(bases)), list(bases))
        panel.tick_params(length=0)
        panel.grid(False)
        panel.spines[:].set_visible(False)
        if per_cycle:
            panel.set_title(f"cycle {n + 1}", size=8, weight="normal", loc="center")
        panel.set_xlabel("base" if n >= len(stack) - columns else "")
        panel.set_ylabel("channel" if n % columns == 0 else "")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=22, pad=0.02)
    bar.ax.yaxis.set_major_formatter(PERCENT)
    bar.outline.set_visible(False)
    return figure


# Cells and guides -----------------------------------------------------------------------------


@styled
def plot_cells(categories: pd.DataFrame, cell_reads: pd.DataFrame, place: str) -> Figure:
    """How many reads and different barcodes cells have, and how cells of each well were called.

    `categories` comes from `metric_cell_categories` by well, `cell_reads` from
    `metric_cell_reads`.
    """
    figure = new_figure(
        10.0, 6.6, f"Cells and their barcodes, {place}", f"{len(cell_reads):,} segmented cells"
    )
    if cell_reads.empty:
        say_empty(figure.subplots(), "no cells")
        return figure
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.15))
    left, right, below = (
        figure.add_subplot(grid[0, 0]),
        figure.add_subplot(grid[0, 1]),
        figure.add_subplot(grid[1, :]),
    )
    _count_bars(left, cell_reads["reads"], 15, "Reads per cell", "reads in the cell")
    _count_bars(
        right, cell_reads["barcodes"], 8, "Different barcodes per cell", "barcodes in the cell"
    )
    _category_bars(below, categories)
    return figure


@styled
def plot_representation(guides: pd.DataFrame, genes: pd.DataFrame, place: str) -> Figure:
    """Cells per guide and per gene, sorted, on a logarithmic axis; from `metric_representation`."""
    figure = new_figure(
        10.0,
        4.2,
        f"Representation, {place}",
        "Cells called to one gene; shaded: library entries without a cell",
    )
    left, right = figure.subplots(1, 2)
    _ranked(left, guides["cells"], "Guides", "guide", ACCENT)
    _ranked(right, genes["cells"], "Genes", "gene", BASE_COLOURS["G"])
    return figure


# Plates ---------------------------------------------------------------------------------------


@styled
def plot_plate(
    wells: pd.DataFrame,
    value: str,
    place: str,
    label: str,
    tiles: pd.DataFrame | None = None,
    share: bool = False,
) -> Figure:
    """A plate as a heat map: `value` per well or, where positions are known, per tile.

    Wells that are not in the table, and tiles whose value is missing, are
    hatched grey: they are never drawn as zero.

    Parameters
    ----------
    wells : `well` and `value`, one plate.
    label : what the colours mean, for the colour bar and title.
    tiles : `well, tile, x_um, y_um` (centres) and `value`; a NaN value is a missing tile.
    share : the value is a share of 1, drawn as 0 to 100 %.
    """
    rows, columns = _plate_size(wells, tiles)
    side = float(np.clip(7.5 / columns, 0.32, 1.9))
    figure = new_figure(
        max(5.6, 1.6 + side * columns), 1.5 + side * rows, f"{label[0].upper()}{label[1:]}, {place}"
    )
    known = (tiles if _located(tiles) else wells)[value].dropna()
    limits = (0, 1) if share else (0, known.max() if len(known) and known.max() > 0 else 1)
    _draw_plate(figure, figure.subplots(), wells, value, label, tiles, limits, share)
    return figure


@styled
def plot_plates(
    wells: pd.DataFrame,
    values: Mapping[str, str],
    place: str,
    title: str,
    tiles: pd.DataFrame | None = None,
) -> Figure:
    """Several values of one plate, a heat map each.

    Colours go from the least to the greatest value, and by `LEAST_SPAN` at least to either
    side of the median: small differences are not to look large. `values` maps columns of
    `wells` and `tiles`, as `plot_plate` takes them, to what they are called.
    """
    rows, columns = _plate_size(wells, tiles)
    across = min(3, max(1, len(values)))
    down = -(-max(1, len(values)) // across)
    width = 3.5
    figure = new_figure(
        max(5.6, 0.4 + width * across),
        0.8 + down * (0.45 + (width - 1.1) * max(rows / columns, 0.35)),
        f"{title}, {place}",
    )
    if not values:
        say_empty(figure.subplots(), "nothing was measured")
        return figure
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(values) :]:
        panel.set_axis_off()
    for panel, (value, label) in zip(panels, values.items(), strict=False):
        known = (tiles if _located(tiles) else wells)[value].dropna()
        _draw_plate(figure, panel, wells, value, "", tiles, _span(known), numbered=columns <= 6)
        panel.set_title(label, pad=16)
    return figure


def _span(known: pd.Series) -> tuple[float, float]:
    """Limits of colours for some values."""
    if known.empty or not known.any():
        return 0.0, 1.0
    middle = float(known.median())
    reach = LEAST_SPAN * abs(middle)
    return min(float(known.min()), middle - reach), max(float(known.max()), middle + reach)


def _located(tiles: pd.DataFrame | None) -> bool:
    """Whether there are tiles, and all their positions are known."""
    return tiles is not None and len(tiles) > 0 and tiles[["x_um", "y_um"]].notna().all(axis=None)


def _plate_size(wells: pd.DataFrame, tiles: pd.DataFrame | None) -> tuple[int, int]:
    return plate_size([*wells["well"], *(tiles["well"] if tiles is not None else ())])


def _draw_plate(
    figure: Figure,
    panel: Axes,
    wells: pd.DataFrame,
    value: str,
    label: str,
    tiles: pd.DataFrame | None,
    limits: tuple[float, float],
    share: bool = False,
    numbered: bool = True,
) -> None:
    """Wells or tiles of a plate in the colours of `limits`, with a bar beside them."""
    located = _located(tiles)
    table = tiles if located else wells
    known = table[value].dropna()
    rows, columns = _plate_size(wells, tiles)
    colours = {"cmap": SEQUENTIAL, "clim": limits, "rasterized": True}
    empty = {(row, column) for row in range(rows) for column in range(columns)}
    empty -= {well_position(well) for well in table["well"]}
    missing = [Circle((column, row), 0.44) for row, column in sorted(empty)]
    if located:
        patches, absent = _tile_patches(tiles, value)
        missing += absent
        panel.add_collection(
            PatchCollection(
                [Circle(well_position(well)[::-1], 0.47) for well in tiles["well"].unique()],
                facecolor="none",
                edgecolor=FAINT,
                linewidth=0.8,
            )
        )
    else:
        measured = wells[wells[value].notna()]
        patches = [Circle(well_position(well)[::-1], 0.44) for well in measured["well"]]
        absent = wells[wells[value].isna()]
        missing += [Circle(well_position(well)[::-1], 0.44) for well in absent["well"]]
    drawn = PatchCollection(patches, edgecolor="none", **colours)
    drawn.set_array(known.to_numpy(float))
    panel.add_collection(drawn)
    panel.add_collection(PatchCollection(missing, **MISSING))
    if numbered and not located and columns <= 12:
        side = panel.get_position().width * figure.get_figwidth() / columns
        size = float(np.clip(7.5 + 3 * side, 6, 13))
        _well_numbers(panel, wells.dropna(subset=value), value, share, limits, size)

    panel.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), aspect="equal")
    panel.set_xticks(range(columns), [str(column + 1) for column in range(columns)])
    panel.set_yticks(range(rows), [row_name(row) for row in range(rows)])
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=panel, shrink=0.85, aspect=22, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
    if share or limits[1] >= 1000:
        bar.ax.yaxis.set_major_formatter(PERCENT if share else THOUSANDS)
    if missing:
        legend = [Patch(label="no data", **MISSING)]
        panel.legend(
            handles=legend, loc="upper right", bbox_to_anchor=(1.0, 0.0), borderaxespad=0.3
        )


# ----------------------------------------------------------------------------------------------


def extent_text(shape: tuple[int, ...], pixel_size: float | None) -> str:
    """Say how large an image of (y, x) pixels is."""
    if pixel_size is None:
        return f"{shape[1]} x {shape[0]} pixels"
    return f"{shape[1] * pixel_size:.0f} x {shape[0] * pixel_size:.0f} µm"


def _inside(reads: pd.DataFrame, window: tuple[slice, slice]) -> pd.DataFrame:
    rows, columns = window
    keep = reads["i"].between(rows.start, rows.stop - 1) & reads["j"].between(
        columns.start, columns.stop - 1
    )
    return reads[keep]


def _mark_reads(
    panel: Axes, reads: pd.DataFrame, mapped: np.ndarray, window: tuple[slice, slice], size: float
) -> None:
    """Rings around reads in the library, crosses on the others."""
    x = reads["j"].to_numpy(float) - window[1].start
    y = reads["i"].to_numpy(float) - window[0].start
    panel.scatter(
        x[~mapped],
        y[~mapped],
        s=0.6 * size,
        marker="x",
        c=UNMAPPED_MARK,
        linewidths=1.0,
        label="not in library",
    )
    panel.scatter(
        x[mapped],
        y[mapped],
        s=size,
        marker="o",
        facecolors="none",
        edgecolors=MAPPED_MARK,
        linewidths=1.1,
        label="in library",
    )
    if len(reads):
        legend = panel.legend(
            loc="upper left",
            ncols=2,
            frameon=True,
            facecolor="black",
            framealpha=0.7,
            edgecolor="none",
            labelcolor="white",
            handletextpad=0.2,
            columnspacing=0.9,
        )
        legend.set_zorder(5)


def _cycle_ticks(panel: Axes, cycles: Sequence[str]) -> None:
    panel.set_xticks(range(len(cycles)), cycles)
    panel.set_xlim(-0.6, len(cycles) - 0.4)


def quantile_marks(
    panel: Axes, x: np.ndarray, rows: pd.DataFrame, colour: str, width: float, label: str
) -> None:
    """A thin line from 5 to 95 %, a thick one between the quartiles, a dot at the median."""
    thick = min(6.0, 26 * width)
    panel.vlines(x, rows["q05"], rows["q95"], color=colour, lw=1.0)
    panel.vlines(x, rows["q25"], rows["q75"], color=colour, lw=thick, label=label)
    panel.plot(x, rows["median"], "o", color="white", ms=min(3.2, 0.55 * thick), mec=INK, mew=0.5)


def _count_bars(panel: Axes, counts: pd.Series, most: int, title: str, label: str) -> None:
    """Bars of how many cells have 0, 1, 2, ... of something; the last bar is `most` or more."""
    most = min(most, max(1, int(counts.max())))
    cells = np.bincount(np.minimum(counts.to_numpy(int), most), minlength=most + 1)
    colours = [CATEGORY_COLOURS["no reads"], *[ACCENT] * most]
    panel.bar(range(most + 1), cells, color=colours, edgecolor="white", linewidth=0.5)
    names = [str(number) for number in range(most + 1)]
    if counts.max() > most:
        names[-1] += "+"
    panel.set_xticks(range(most + 1), names)
    panel.yaxis.set_major_formatter(THOUSANDS)
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.grid(False, axis="x")
    panel.set_title(title)
    panel.set_xlabel(label)
    panel.set_ylabel("cells")


def _category_bars(panel: Axes, categories: pd.DataFrame) -> None:
    """Stacked shares of `CATEGORIES`, a bar per well."""
    counts = categories[list(CATEGORIES)].to_numpy(float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    floor = np.zeros(len(shares))
    for n, category in enumerate(CATEGORIES):
        overall = counts[:, n].sum() / counts.sum()
        panel.bar(
            range(len(shares)),
            shares[:, n],
            bottom=floor,
            width=min(0.85, 0.12 * len(shares)) if len(shares) < 8 else 0.85,
            color=CATEGORY_COLOURS[category],
            label=f"{category} ({overall:.0%})",
        )
        floor += shares[:, n]
    wells = categories["well"].tolist()
    step = -(-len(wells) // 48)
    panel.set_xticks(
        range(0, len(wells), step), wells[::step], rotation=90 if len(wells) > 24 else 0
    )
    panel.set_xlim(-0.7, len(wells) - 0.3)
    panel.set_ylim(0, 1)
    panel.yaxis.set_major_formatter(PERCENT)
    panel.grid(False, axis="x")
    panel.set_title("How cells were called")
    panel.set_ylabel("share of cells")
    panel.set_xlabel("well")
    legend_above(panel, columns=len(CATEGORIES))


def _ranked(panel: Axes, cells: pd.Series, title: str, entry: str, colour: str) -> None:
    counts = np.sort(cells.to_numpy(float))[::-1]
    panel.set_title(title)
    if counts.sum() == 0:
        say_empty(panel, "no cells called to one gene")
        return
    skew = metric_skew(counts)
    seen = counts[counts > 0]
    rank = np.arange(1, len(seen) + 1)
    panel.plot(rank, seen, color=colour, lw=2, drawstyle="steps-mid")
    panel.fill_between(rank, seen, 0.8, color=colour, alpha=0.15, lw=0, step="mid")
    if skew["dropouts"]:
        panel.axvspan(len(seen) + 0.5, len(counts) + 0.5, color=FAINT, alpha=0.7, lw=0)
    panel.set_yscale("log")
    panel.set_ylim(0.8, 1.6 * seen.max())
    panel.set_xlim(0.5, len(counts) + 0.5)
    panel.xaxis.set_major_formatter(THOUSANDS)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.yaxis.set_major_formatter(THOUSANDS)
    panel.set_xlabel(f"{entry}s, most cells first")
    panel.set_ylabel(f"cells per {entry}")
    ratio = "no limit" if np.isinf(skew["skew_ratio"]) else f"{skew['skew_ratio']:.1f}"
    facts = (
        f"median {skew['median']:,.0f} cells",
        f"Gini {skew['gini']:.2f}",
        f"90/10 ratio {ratio}",
        f"{skew['dropouts']:,} of {skew['entries']:,} without a cell",
    )
    panel.text(
        0.03,
        0.05,
        "\n".join(facts),
        transform=panel.transAxes,
        ha="left",
        va="bottom",
        size=8.5,
        linespacing=1.45,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "#FFFFFFD9", "edgecolor": FAINT},
    )


def _tile_patches(tiles: pd.DataFrame, value: str) -> tuple[list[Rectangle], list[Rectangle]]:
    """Squares of tiles inside their wells: those with a value, and those without.

    Stage positions are centred per well and scaled alike in all wells, so that
    the widest fits. The side of a square is the distance between neighbours.
    """
    middle = tiles.groupby("well")[["x_um", "y_um"]].transform(lambda um: (um.max() + um.min()) / 2)
    offset = (tiles[["x_um", "y_um"]] - middle).to_numpy(float)
    pitch = _pitch(tiles)
    radius = np.hypot(*(np.abs(offset) + pitch / 2).T).max()
    scale = 0.46 / radius
    columns_rows = np.array([well_position(well)[::-1] for well in tiles["well"]], float)
    corners = columns_rows + (offset - pitch / 2) * scale
    squares = [Rectangle(tuple(corner), pitch * scale, pitch * scale) for corner in corners]
    present = tiles[value].notna().to_numpy()
    return (
        [square for square, there in zip(squares, present, strict=True) if there],
        [square for square, there in zip(squares, present, strict=True) if not there],
    )


def _pitch(tiles: pd.DataFrame) -> float:
    """Distance between neighbouring tiles: the smallest step along a row or column of the grid."""
    steps = []
    for axis in ("x_um", "y_um"):
        for _, positions in tiles.groupby("well")[axis]:
            gaps = np.diff(np.unique(np.round(positions.to_numpy(float), 0)))
            # Stages do not return exactly: steps of a few micrometres are jitter.
            steps.extend(gaps[gaps > 20])
    return float(np.median(steps)) if steps else 1.0


def _well_numbers(
    panel: Axes,
    wells: pd.DataFrame,
    value: str,
    share: bool,
    limits: tuple[float, float],
    size: float,
) -> None:
    bright = limits[0] + 0.6 * (limits[1] - limits[0])
    for well, number in zip(wells["well"], wells[value], strict=True):
        row, column = well_position(well)
        panel.text(
            column,
            row,
            f"{number:.0%}" if share else _short(number),
            ha="center",
            va="center",
            size=size,
            color=INK if number > bright else "white",
        )


def _short(number: float) -> str:
    if number >= 9.95e5:
        return f"{number / 1e6:.1f}M"
    if number >= 9950:
        return f"{number / 1e3:.0f}k"
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
