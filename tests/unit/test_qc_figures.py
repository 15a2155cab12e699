"""Quality-control figures: what they show, and that they do so without any data."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from lib.qc import images, metrics, plots, style
from lib.qc.decoding_plots import plot_decoding
from lib.qc.preview import example_reads, plot_preview

PLACE = style.place("7", "A1", "3")
CHANNELS = ["DAPI", "G", "T", "A", "C"]


def texts(figure):
    """All that is written in a figure."""
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def overlapping(figure):
    """Pairs of texts of one figure that lie over each other."""
    renderer = style.FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    unseen = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        for label in (tick.label1, tick.label2)
    }
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_text().strip() and text.get_visible() and text not in unseen
    ]
    return [
        (one, two)
        for n, (one, a) in enumerate(boxes)
        for two, b in boxes[n + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


@pytest.fixture
def reads():
    """Ten reads over a 64-pixel tile, 3 cycles, the first six in the library."""
    n = 10
    return pd.DataFrame(
        {
            "plate": "7",
            "well": "A1",
            "tile": "3",
            "cell": [1, 1, 1, 2, 2, 3, 3, 0, 0, 4],
            "i": np.linspace(12, 50, n),
            "j": np.linspace(50, 12, n),
            "barcode": ["GTA"] * 4 + ["CCC"] * 2 + ["AAA"] * 4,
            "Q_0": np.linspace(0.5, 0.9, n),
            "Q_1": 0.8,
            "Q_2": 0.6,
            "Q_min": np.linspace(0.5, 0.6, n),
            "peak": np.arange(100.0, 200.0, 10),
            "sgRNA": ["GTA"] * 4 + ["CCC"] * 2 + [None] * 4,
            "gene_symbol": ["one"] * 4 + ["two"] * 2 + [None] * 4,
        }
    )


@pytest.fixture
def info():
    return pd.DataFrame({"plate": "7", "well": "A1", "tile": "3", "cell": range(1, 6)})


@pytest.fixture
def cells():
    return pd.DataFrame(
        {
            "plate": "7",
            "well": "A1",
            "tile": "3",
            "cell": [1, 2, 3, 4],
            "sgRNA_0": ["GTA", "GTA", "CCC", None],
            "gene_symbol_0": ["one", "one", "two", None],
            "mapped_single_gene": [True, False, True, False],
        }
    )


@pytest.fixture
def library():
    return pd.DataFrame({"sgRNA": ["GTA", "CCC", "TTT"], "gene_symbol": ["one", "two", "three"]})


@pytest.fixture
def alignment():
    rng = np.random.default_rng(0)
    keys = [(tile, cycle, name) for tile in "12" for cycle in (1, 2, 10) for name in CHANNELS]
    table = pd.DataFrame(keys, columns=["tile", "cycle", "channel"]).assign(plate="7", well="A1")
    n = len(table)
    return table.assign(
        dy=table["cycle"] * 1.0,
        dx=-2.0,
        residual=rng.uniform(0, 0.3, n),
        correlation=0.9,
        local_residual=0.2,
    )


@pytest.fixture
def labels():
    cell_labels = np.zeros((64, 64), np.int32)
    cell_labels[5:30, 5:30] = 1
    cell_labels[32:60, 20:60] = 2
    nuclei = np.zeros_like(cell_labels)
    nuclei[10:20, 10:20] = 1
    nuclei[40:50, 30:45] = 2
    return nuclei, cell_labels


# Images ---------------------------------------------------------------------------------------


def test_outlines_of_a_square():
    labels = np.zeros((7, 7), int)
    labels[2:5, 2:5] = 4
    expected = labels > 0
    expected[3, 3] = False
    assert (images.outlines(labels) == expected).all()
    assert (images.outlines(labels, width=2) == (labels > 0)).all()


def test_outlines_part_touching_labels():
    labels = np.ones((3, 6), int)
    labels[:, 3:] = 2
    assert images.outlines(labels).nonzero()[1].tolist() == [2, 3] * 3


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 60))
def test_centre_crop_lies_in_the_middle(height, width, size):
    window = images.centre_crop((height, width), size)
    for length, part in zip((height, width), window, strict=True):
        assert part.stop - part.start == min(length, size)
        assert abs(part.start - (length - part.stop)) <= 1


@given(arrays(np.uint16, (6, 5)))
def test_stretch_stays_between_zero_and_one(plane):
    stretched = images.stretch(plane)
    assert stretched.dtype == np.float32
    assert stretched.min() >= 0
    assert stretched.max() <= 1


def test_composite_adds_colours():
    planes = np.array([[[0, 1, 0, 1]], [[0, 0, 1, 1]]], np.float32)
    rgb = images.composite(planes, ["#FF0000", "#0000FF"], [(0, 100)] * 2)
    assert rgb[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]]


def test_thumbnail_takes_block_means():
    image = np.arange(16.0).reshape(1, 4, 4)
    assert images.thumbnail(image, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert images.thumbnail(image, 4).tolist() == image.tolist()


def test_illumination_has_a_panel_per_cycle_and_channel():
    fields = {"10": np.full((5, 32, 40), 1.5), "2": np.ones((5, 32, 40))}
    figure = plots.plot_illumination(fields, CHANNELS, PLACE)
    written = texts(figure)
    assert len(panels(figure)) == 10
    assert "plate 7, well A1" in written
    assert written.index("cycle 2") < written.index("cycle 10")
    first, second = (panel.images[0] for panel in panels(figure)[:2])
    assert first.get_array().max() == 1
    assert second.get_array().max() == 1.5
    assert first.get_clim() == second.get_clim()  # the colours can be compared
    assert not overlapping(figure)


def test_segmentation_draws_outlines_only_on_the_right(labels):
    nuclei, cell_labels = labels
    black = np.zeros((64, 64), np.uint16)
    figure = plots.plot_segmentation(black, black, nuclei, cell_labels, PLACE, pixel_size=0.5)
    left, right = (panel.images[0].get_array() for panel in panels(figure))
    assert left.max() == 0
    drawn = {to_hex(colour).upper() for colour in np.unique(right.reshape(-1, 3), axis=0)}
    assert style.NUCLEUS_OUTLINE in drawn
    assert len(drawn) == 3  # black, nuclei and (dimmed) cells
    written = texts(figure)
    assert "2 cells" in written
    assert "32 x 32 µm" in written
    assert "5 µm" in written  # the scale bar


def test_segmentation_without_cells_says_so(labels):
    empty = np.zeros((64, 64), np.int32)
    figure = plots.plot_segmentation(empty, empty, empty, empty, PLACE)
    assert "no cells" in texts(figure)


def test_spots_mark_mapped_and_unmapped_reads_in_place(reads):
    response = np.zeros((3, 4, 400, 300), np.float32)  # the crop starts at row 120, column 70
    reads = reads.assign(i=reads["i"] + 120, j=reads["j"] + 70)
    reads.loc[0, "i"] = 5  # outside of the crop
    figure = plots.plot_spots(response, reads, PLACE)
    crosses, rings = panels(figure)[1].collections
    assert len(crosses.get_offsets()) == 4
    assert len(rings.get_offsets()) == 5
    np.testing.assert_allclose(rings.get_offsets()[0], (reads["j"][1] - 70, reads["i"][1] - 120))
    written = texts(figure)
    assert "9 reads here, 10 in the tile" in written
    assert "not in library" in written


def test_spots_without_reads_say_so(reads):
    figure = plots.plot_spots(np.zeros((3, 4, 64, 64), np.float32), reads.iloc[:0], PLACE)
    assert "no reads" in texts(figure)


# Charts ---------------------------------------------------------------------------------------


def test_drift_draws_a_line_per_tile_and_the_median(alignment):
    figure = plots.plot_drift(metrics.metric_drift(alignment), PLACE)
    down, right = panels(figure)
    (lines,) = down.collections
    assert len(lines.get_segments()) == 2
    assert lines.get_segments()[0][:, 1].tolist() == [1, 2, 10]
    assert down.lines[0].get_ydata().tolist() == [1, 2, 10]
    assert right.lines[0].get_ydata().tolist() == [-2, -2, -2]
    assert [tick.get_text() for tick in down.get_xticklabels()] == ["1", "2", "10"]
    assert down.get_ylabel() == "offset (pixels)"
    assert not overlapping(figure)


def test_residuals_show_the_limit_and_channel_colours(alignment):
    figure = plots.plot_residuals(
        metrics.metric_residuals(alignment, 0.5),
        metrics.metric_local_residuals(alignment, 0.5),
        0.5,
        PLACE,
    )
    panel, part = panels(figure)
    for shown in (panel, part):
        assert any(set(line.get_ydata()) == {0.5} for line in shown.lines)
    medians = part.lines[0].get_ydata()
    assert len(medians) == alignment["cycle"].nunique() and set(medians) == {0.2}
    legend = panel.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == CHANNELS
    assert to_hex(legend.legend_handles[1].get_color()).upper() == style.BASE_COLOURS["G"]
    assert panel.get_ylabel() == "residual (pixels)"
    assert panel.get_ylim()[1] > 0.5
    assert not overlapping(figure)


def test_base_composition_draws_share_and_expectation(reads, library):
    figure = plots.plot_base_composition(
        metrics.metric_base_composition(reads, library["sgRNA"]), PLACE
    )
    (panel,) = panels(figure)
    lines = {line.get_label(): line for line in panel.lines if line.get_linestyle() == "-"}
    assert set(lines) == set("GTAC")
    assert lines["G"].get_ydata().tolist() == [0.4, 0, 0]
    assert lines["G"].get_color() == style.BASE_COLOURS["G"]
    assert sum(line.get_linestyle() == "--" for line in panel.lines) == 4
    assert not overlapping(figure)


def test_base_quality_draws_the_median(reads):
    figure = plots.plot_base_quality(metrics.metric_quality(reads), PLACE)
    (panel,) = panels(figure)
    np.testing.assert_allclose(panel.lines[0].get_ydata(), [0.7, 0.8, 0.6])
    assert panel.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert not overlapping(figure)


def test_base_quality_in_phred_has_room_for_it(reads):
    names = ["Q_0", "Q_1", "Q_2"]
    quality = metrics.metric_quality(reads.assign(**{name: reads[name] * 40 for name in names}))
    figure = plots.plot_base_quality(quality, PLACE, in_phred=True)
    (panel,) = panels(figure)
    assert panel.get_ylim()[1] >= 32 and panel.get_ylabel() == "quality Q (phred)"
    np.testing.assert_allclose(panel.lines[1].get_ydata(), quality["overall"])


def test_mapping_thresholds_draw_share_and_number(reads):
    curve = metrics.metric_mapping_by_threshold(reads, "peak", metrics.WELL, steps=10)
    figure = plots.plot_mapping_thresholds({"peak height": curve}, PLACE, chance=0.1)
    top, bottom = panels(figure)
    assert top.lines[0].get_ydata()[0] == 0.6
    assert bottom.lines[0].get_ydata()[[0, 6]].tolist() == [6, 0]
    assert set(top.lines[1].get_ydata()) == {0.1}
    assert bottom.get_xlabel() == "threshold: peak height"
    assert not overlapping(figure)


def test_mapping_thresholds_pool_wells(reads):
    both = pd.concat([reads, reads.assign(well="A2", gene_symbol=None, sgRNA=None)])
    curve = metrics.metric_mapping_by_threshold(both, "peak", metrics.WELL, steps=10)
    figure = plots.plot_mapping_thresholds({"peak height": curve}, PLACE)
    pooled = panels(figure)[0].lines[2]
    assert pooled.get_label() == "all wells"
    assert pooled.get_ydata()[0] == 0.3


def test_crosstalk_writes_each_share():
    matrix = np.array([[0.8, 0.1], [0.2, 0.9]])
    figure = plots.plot_crosstalk(matrix, "GT", PLACE)
    assert {"0.80", "0.10", "0.20", "0.90"} <= set(texts(figure).split("\n"))
    assert panels(figure)[0].get_xlabel() == "base"
    assert panels(figure)[0].get_ylabel() == "channel"
    assert not overlapping(figure)


def test_decoding_of_two_colours_leaves_the_dark_base_blank():
    rows = [
        ("signal", 1, base, None, level) for base, level in zip("GTAC", (0.1, 1, 2, 1), strict=True)
    ]
    shares = {"T": (0.8, 0.2), "A": (0.5, 0.5), "C": (0.1, 0.9)}
    for base, values in shares.items():
        rows += [
            ("crosstalk", 1, base, name, v)
            for name, v in zip(("GREEN", "RED"), values, strict=True)
        ]
    table = pd.DataFrame(rows, columns=["parameter", "cycle", "from", "to", "value"])
    figure = plot_decoding(table.assign(error=0.0), "GTAC", ["GREEN", "RED"], PLACE)
    (image,) = (image for axes in figure.subfigs[0].axes for image in axes.images)
    expected = [[np.nan, 0.8, 0.5, 0.1], [np.nan, 0.2, 0.5, 0.9]]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), expected)
    panel = figure.subfigs[0].axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["GREEN", "RED"]
    assert [label.get_text() for label in panel.get_xticklabels()] == list("GTAC")


def test_crosstalk_per_cycle_has_a_panel_each():
    figure = plots.plot_crosstalk(np.stack([np.eye(4)] * 8), "GTAC", PLACE)
    assert "cycle 8" in texts(figure)
    assert sum(panel.get_visible() for panel in panels(figure)) == 8


def test_cells_show_histograms_and_shares(info, reads, cells):
    categories = metrics.metric_cell_categories(info, reads, cells)
    figure = plots.plot_cells(categories, metrics.metric_cell_reads(info, reads), PLACE)
    per_cell, barcodes, called = panels(figure)
    assert [bar.get_height() for bar in per_cell.patches] == [1, 1, 2, 1]  # 0, 1, 2, 3 reads
    assert [bar.get_height() for bar in barcodes.patches] == [1, 2, 2]
    heights = [bar.get_height() for bar in called.patches]
    assert heights == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert "one gene (40%)" in texts(figure)
    assert called.get_xticklabels()[0].get_text() == "A1"
    assert not overlapping(figure)


def test_cells_of_many_wells_do_not_overlap(info, reads, cells):
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)]
    categories = metrics.metric_cell_categories(info, reads, cells)
    categories = pd.concat([categories.assign(well=well) for well in wells], ignore_index=True)
    figure = plots.plot_cells(categories, metrics.metric_cell_reads(info, reads), PLACE)
    assert len(panels(figure)[2].patches) == 4 * 96
    assert not overlapping(figure)


def test_representation_tells_dropouts(cells, library):
    guides = metrics.metric_representation(cells, library)
    genes = metrics.metric_representation(cells, library, "gene_symbol")
    figure = plots.plot_representation(guides, genes, PLACE)
    left, right = panels(figure)
    assert left.lines[0].get_ydata().tolist() == [1, 1]
    assert left.get_yscale() == "log"
    assert "1 of 3 without a cell" in texts(figure)
    assert right.get_ylabel() == "cells per gene"
    assert not overlapping(figure)


# Plates ---------------------------------------------------------------------------------------


def collections_of(figure):
    """Coloured patches and their values, and the hatched ones."""
    found = [c for c in panels(figure)[0].collections if isinstance(c, PatchCollection)]
    coloured = [c for c in found if c.get_array() is not None]
    hatched = [c for c in found if c.get_hatch()]
    return coloured, hatched


def test_plate_hatches_missing_wells_and_never_shows_them_as_zero():
    wells = pd.DataFrame({"well": ["A1", "A2", "B3"], "cells": [10.0, np.nan, 0.0]})
    figure = plots.plot_plate(wells, "cells", style.place("7"), "cells")
    (coloured,), (hatched,) = collections_of(figure)
    assert coloured.get_array().tolist() == [10, 0]
    assert len(coloured.get_paths()) == 2
    assert len(hatched.get_paths()) == 6 - 2
    written = texts(figure)
    assert "Cells, plate 7" in written
    assert "no data" in written
    assert not overlapping(figure)


def test_plate_places_rows_down_and_columns_right():
    wells = pd.DataFrame({"well": ["B3"], "cells": [1.0]})
    figure = plots.plot_plate(wells, "cells", style.place("7"), "cells")
    (coloured,), _ = collections_of(figure)
    middle = coloured.get_paths()[0].get_extents()
    assert ((middle.x0 + middle.x1) / 2, (middle.y0 + middle.y1) / 2) == pytest.approx((2, 1))
    panel = panels(figure)[0]
    assert panel.yaxis_inverted()
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["A", "B"]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["1", "2", "3"]


def test_plate_of_shares_is_drawn_from_0_to_100_percent():
    wells = pd.DataFrame({"well": ["A1"], "share": [0.25]})
    figure = plots.plot_plate(wells, "share", style.place("7"), "reads in library", share=True)
    (coloured,), _ = collections_of(figure)
    assert coloured.get_clim() == (0, 1)
    assert "25%" in texts(figure)


@pytest.mark.parametrize("columns", [3, 12, 24])
def test_plate_of_any_size_is_readable(columns):
    rows = {3: 2, 12: 8, 24: 16}[columns]
    wells = [f"{chr(65 + row)}{column + 1}" for row in range(rows) for column in range(columns)]
    table = pd.DataFrame({"well": wells, "cells": 1000.0 * np.arange(len(wells))})
    figure = plots.plot_plate(table, "cells", style.place("7"), "cells")
    (coloured,), hatched = collections_of(figure)
    assert len(coloured.get_paths()) == rows * columns
    assert not any(collection.get_paths() for collection in hatched)
    assert not overlapping(figure)


def test_plate_draws_tiles_where_positions_are_known():
    tiles = pd.DataFrame(
        {
            "well": ["A1"] * 4 + ["A2"],
            "tile": list("12341"),
            "x_um": [0, 1000, 0, 1002.0, 9000],
            "y_um": [0, 0, 1001, 1000.0, 9000],
            "cells": [5, 6, np.nan, 0, 8],
        }
    )
    wells = pd.DataFrame({"well": ["A1", "A2"], "cells": [11, 8]})
    figure = plots.plot_plate(wells, "cells", style.place("7"), "cells", tiles)
    (coloured,), (hatched,) = collections_of(figure)
    assert coloured.get_array().tolist() == [5, 6, 0, 8]
    extents = [path.get_extents() for path in coloured.get_paths()]
    assert extents[0].x1 == pytest.approx(extents[1].x0, abs=0.01)  # neighbours touch
    assert extents[0].y0 < extents[2].y0  # y grows downwards
    assert (extents[3].x0 + extents[3].x1) / 2 == pytest.approx(1)  # a lone tile is centred
    assert len(hatched.get_paths()) == 1 + 4  # one tile, four wells
    squares, circles = plots._tile_patches(tiles, "cells")
    assert all(isinstance(patch, Rectangle) for patch in [*squares, *circles])
    assert not any(isinstance(patch, Circle) for patch in squares)


def test_plate_falls_back_to_wells_without_positions():
    tiles = pd.DataFrame(
        {"well": ["A1"], "tile": ["1"], "x_um": [np.nan], "y_um": [np.nan], "cells": [3]}
    )
    wells = pd.DataFrame({"well": ["A1"], "cells": [3]})
    figure = plots.plot_plate(wells, "cells", style.place("7"), "cells", tiles)
    (coloured,), _ = collections_of(figure)
    assert len(coloured.get_paths()) == 1
    assert "\n3\n" in texts(figure)


# Nothing to show ------------------------------------------------------------------------------


def test_without_reads_every_chart_says_so(info, reads, cells, library):
    none, no_cells = reads.iloc[:0], cells.iloc[:0]
    curve = metrics.metric_mapping_by_threshold(none, "peak")
    figures = [
        plots.plot_base_composition(metrics.metric_base_composition(none, library["sgRNA"]), PLACE),
        plots.plot_base_quality(metrics.metric_quality(none), PLACE),
        plots.plot_mapping_thresholds({"peak": curve}, PLACE),
        plots.plot_crosstalk(np.full((4, 4), np.nan), "GTAC", PLACE),
    ]
    for figure in figures:
        assert "no reads" in texts(figure)
        assert "plate 7" in texts(figure)
    guides = metrics.metric_representation(no_cells, library)
    assert "no cells called" in texts(plots.plot_representation(guides, guides, PLACE))
    # Cells without reads are still cells.
    categories = metrics.metric_cell_categories(info, none, no_cells)
    figure = plots.plot_cells(categories, metrics.metric_cell_reads(info, none), PLACE)
    assert "no reads (100%)" in texts(figure)


def test_without_cells_or_tiles_charts_say_so(info, reads, cells, alignment):
    none = info.iloc[:0], reads.iloc[:0]
    categories = metrics.metric_cell_categories(*none, cells.iloc[:0])
    figure = plots.plot_cells(categories, metrics.metric_cell_reads(*none), PLACE)
    assert "no cells" in texts(figure)
    nothing = alignment.iloc[:0]
    assert "no aligned tiles" in texts(plots.plot_drift(metrics.metric_drift(nothing), PLACE))
    tables = (f(nothing, 0.5) for f in (metrics.metric_residuals, metrics.metric_local_residuals))
    assert "no aligned tiles" in texts(plots.plot_residuals(*tables, 0.5, PLACE))


# Preview --------------------------------------------------------------------------------------


def test_preview_spells_the_clearest_reads(info, reads, cells, labels):
    nuclei, cell_labels = labels
    rng = np.random.default_rng(0)
    aligned = rng.integers(100, 200, (3, 5, 64, 64)).astype(np.uint16)
    figure = plot_preview(
        aligned, CHANNELS, list("GTAC"), nuclei, cell_labels, info, reads, cells, PLACE, 1.0
    )
    written = texts(figure).split("\n")
    assert {"5", "10", "60%", "40%"} <= set(written)  # cells, reads, mapped, one gene
    assert {"one", "two"} <= set(written)
    spelled = next(axes for axes in figure.axes if "cycle by cycle" in axes.get_title(loc="left"))
    assert len(spelled.images) == 2 * 3
    letters = [text for text in spelled.texts if text.get_text() in "GTAC"]
    assert [text.get_text() for text in letters] == list("CCCGTA")  # the higher Q_min first
    assert letters[0].get_color() == style.BASE_COLOURS["C"]
    assert not overlapping(figure)


def test_preview_of_two_colours_has_one_contrast_for_a_read(info, reads, cells, labels):
    first = example_reads(reads, (slice(0, 64), slice(0, 64))).iloc[0]
    i, j = round(first["i"]), round(first["j"])
    aligned = np.full((3, 3, 64, 64), 100, np.uint16)
    aligned[:, 1:, ::7, ::7] = 10100
    aligned[:, 1:, i, j] = 10100
    # In the second cycle the read is dark, but for some noise.
    aligned[1, 1:, i - 6 : i + 7, j - 6 : j + 7] = 100
    aligned[1, 1:, i, j] = 200
    figure = plot_preview(
        aligned, ["DAPI", "GREEN", "RED"], ["GREEN", "RED"], *labels, info, reads, cells, PLACE
    )
    spelled = next(axes for axes in figure.axes if "cycle by cycle" in axes.get_title(loc="left"))
    letters = {text.get_color() for text in spelled.texts if text.get_text() in "GTAC"}
    assert letters == {style.MUTED}  # T is no longer of the colour of its channel
    brightest = [image.get_array().max() for image in spelled.images[:3]]
    assert brightest[1] < 0.05 and min(brightest[0], brightest[2]) > 0.5
    assert {"DAPI", "GREEN", "RED"} <= {
        text.get_text()
        for axes in figure.axes
        if axes.get_legend()
        for text in axes.get_legend().get_texts()
    }


def test_preview_without_reads_or_cells(info, reads, cells):
    zeros = np.zeros((3, 4, 64, 64), np.uint16)
    empty = np.zeros((64, 64), np.int32)
    tables = info.iloc[:0], reads.iloc[:0], cells.iloc[:0]
    figure = plot_preview(zeros, CHANNELS[1:], list("GTAC"), empty, empty, *tables, PLACE)
    written = texts(figure)
    assert "no reads in the library" in written
    assert "no cells" in written
    assert "DAPI" not in written


def test_example_reads_are_whole_in_the_window(reads):
    everywhere = (slice(0, 64), slice(0, 64))
    assert example_reads(reads, everywhere)["gene_symbol"].tolist() == ["two", "one"]
    corner = (slice(6, 40), slice(30, 64))
    chosen = example_reads(reads, corner)
    assert (chosen["i"] - 6 >= 6).all()
    assert (63 - chosen["j"] >= 6).all()


# Style and files ------------------------------------------------------------------------------


def test_colours_of_bases_hold_everywhere():
    colours = style.channel_colours(["DAPI", "C", "CY5", "G"])
    assert colours["C"] == style.BASE_COLOURS["C"]
    assert colours["CY5"] not in {*style.BASE_COLOURS.values(), style.DAPI_COLOUR}
    assert len(set(colours.values())) == 4


def test_plotting_leaves_global_settings_alone(reads):
    before = dict(matplotlib.rcParams)
    plots.plot_base_quality(metrics.metric_quality(reads), PLACE)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(tmp_path, reads, suffix):
    written = []
    for name in ("one", "two"):
        figure = plots.plot_base_quality(metrics.metric_quality(reads), PLACE)
        style.write_figure(tmp_path / f"{name}.{suffix}", figure)
        written.append((tmp_path / f"{name}.{suffix}").read_bytes())
    assert written[0] == written[1]
    assert len(written[0]) < 100_000


def test_png_keeps_colours(tmp_path, labels):
    nuclei, cell_labels = labels
    black = np.zeros((64, 64), np.uint16)
    figure = plots.plot_segmentation(black, black, nuclei, cell_labels, PLACE)
    style.write_figure(tmp_path / "figure.png", figure)
    image = Image.open(tmp_path / "figure.png")
    assert image.size == (1000, 590)
    assert image.getpixel((2, 300)) == (255, 255, 255)
    assert image.getpixel((250, 560)) == (0, 0, 0)


def test_other_file_types_are_refused(tmp_path, reads):
    figure = plots.plot_base_quality(metrics.metric_quality(reads), PLACE)
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        style.write_figure(tmp_path / "figure.pdf", figure)
    assert list(tmp_path.iterdir()) == []
