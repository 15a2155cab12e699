"""The report's phenotype half: its tables by hand, and what its figures show."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from lib.qc import html, plots, style
from lib.qc import phenotype_metrics as metrics
from lib.qc import phenotype_plots as figures
from lib.qc.metrics import TILE, WELL

PLACE = style.place("7")
TILES = pd.DataFrame(
    {"plate": "7", "well": ["A1", "A1", "A10", "A2"], "tile": ["1", "2", "1", "1"]}
)


@pytest.fixture
def info():
    """Three cells in one tile, one in another; well A10 is empty."""
    return pd.DataFrame(
        {
            "plate": "7",
            "well": ["A1", "A1", "A1", "A2"],
            "tile": ["1", "1", "1", "1"],
            "label": [1, 2, 3, 1],
            "area": [100, 300, 200, 50],
        }
    )


@pytest.fixture
def features(info):
    columns = {
        "nucleus_area": [10, 20, 30, 40],
        "cell_area": [100, 300, 200, 50],
        "cell_DAPI_mean": [1.0, 2.0, np.nan, 4.0],
        "cell_DAPI_std": [np.nan] * 4,
        "cell_WGA_mean": [5.0, 5.0, np.nan, 5.0],
    }
    return info[["plate", "well", "tile", "label"]].assign(**columns)


FAMILIES = {
    "nucleus_area": "shape",
    "cell_area": "shape",
    "cell_DAPI_mean": "intensity",
    "cell_DAPI_std": "intensity",
    "cell_WGA_mean": "intensity",
}


def texts(figure):
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


# ---------------------------------------------------------------- tables


def test_cells_are_counted_per_well_and_tile_and_empty_ones_are_zero(info):
    wells = metrics.metric_phenotype_counts(TILES, info, WELL)
    assert wells["well"].tolist() == ["A1", "A2", "A10"]
    assert wells["tiles"].tolist() == [2, 1, 1]
    assert wells["cells"].tolist() == [3, 1, 0]
    assert wells["cells_per_tile"].tolist() == [1.5, 1, 0]
    np.testing.assert_array_equal(wells["median_area"], [200, 50, np.nan])
    tiles = metrics.metric_phenotype_counts(TILES, info, TILE)
    assert dict(
        zip(zip(tiles["well"], tiles["tile"], strict=True), tiles["cells"], strict=True)
    ) == {
        ("A1", "1"): 3,
        ("A1", "2"): 0,
        ("A2", "1"): 1,
        ("A10", "1"): 0,
    }


def test_the_summary_adds_plates_up(info):
    wells = metrics.metric_phenotype_counts(TILES, info, WELL).assign(features=5)
    summary = metrics.metric_phenotype_summary(wells)
    total = summary[summary["well"] == "all"].iloc[0]
    assert (total["tiles"], total["cells"], total["features"]) == (4, 4, 5)
    assert total["cells_per_tile"] == 1
    assert total["median_area"] == 200  # of three cells of four
    page = html.summary_page(None, summary)
    assert "Cells and features" in page and "Cells and reads" not in page
    empty = metrics.metric_phenotype_counts(TILES, info.iloc[:0], WELL).assign(features=5)
    assert metrics.metric_phenotype_summary(empty)["median_area"].isna().all()


def test_features_by_hand(features):
    table = metrics.metric_features(features, FAMILIES).set_index("feature")
    assert list(table.index) == list(FAMILIES)
    assert table["missing"].tolist() == [0, 0, 1, 4, 1]
    assert table["missing_share"].tolist() == [0, 0, 0.25, 1, 0.25]
    assert table["constant"].tolist() == [False, False, False, False, True]
    nuclei = table.loc["nucleus_area"]
    assert (nuclei["min"], nuclei["median"], nuclei["max"]) == (10, 25, 40)
    # Medians of 20 and 40 in the wells; quartiles 17.5 and 32.5.
    assert nuclei["well_spread"] == pytest.approx(20 / 15)
    assert np.isnan(table.loc["cell_WGA_mean", "well_spread"])
    assert table.loc["cell_DAPI_std", ["min", "median", "max"]].isna().all()
    one_well = metrics.metric_features(features[features["well"] == "A1"], FAMILIES)
    assert one_well["well_spread"].isna().all()


def test_each_feature_of_a_family_counts_once(features):
    table = metrics.metric_features(features, FAMILIES)
    families = metrics.metric_feature_families(table).set_index("family")
    kinds = ["complete", "some_missing", "mostly_missing", "constant"]
    assert families.loc["shape", kinds].tolist() == [2, 0, 0, 0]
    assert families.loc["intensity", kinds].tolist() == [0, 1, 1, 1]


def test_without_cells_features_are_all_missing_and_none_constant(features):
    table = metrics.metric_features(features.iloc[:0], FAMILIES)
    assert (table["cells"] == 0).all()
    assert table["missing_share"].isna().all()
    assert not table["constant"].any()
    assert len(metrics.metric_feature_families(table)) == 2


def test_what_goes_missing_together_is_one_row():
    shares = {
        "nucleus_A_granularity_1": 0.5,
        "nucleus_A_granularity_2": 0.5,
        "nucleus_A_granularity_3": 0.25,
        "cell_A_granularity_1": 0.5,
        "cell_B_foci_area": 0.75,
        "cell_B_foci_count": 0.0,
    }
    features = pd.DataFrame(
        {
            "feature": list(shares),
            "family": ["granularity"] * 4 + ["foci"] * 2,
            "missing": [round(8 * share) for share in shares.values()],
            "missing_share": list(shares.values()),
        }
    )
    assert metrics.metric_missing(features).to_numpy().tolist() == [
        ["cell_B_foci_area", 0.75],
        ["nucleus_A_granularity_… (2)", 0.5],
        ["cell_A_granularity_1", 0.5],
        ["nucleus_A_granularity_3", 0.25],
    ]
    assert metrics.metric_missing(features, 0.6)["name"].tolist() == ["cell_B_foci_area"]
    assert metrics.metric_missing(features, 0.75).empty


def test_key_features_are_those_there_are(features):
    names = list(features.columns)
    assert list(metrics.key_features(names, ["DAPI", "WGA", "GFP"])) == [
        "nucleus_area",
        "cell_area",
        "cell_DAPI_mean",
        "cell_WGA_mean",
    ]
    nuclei = ["nucleus_area", "nucleus_DAPI_mean", "nucleus_DAPI_max"]
    assert list(metrics.key_features(nuclei, ["DAPI"])) == nuclei[:2]
    assert list(metrics.key_features(["nucleus_Area"], ["DAPI"])) == ["nucleus_Area"]


def test_medians_of_units_without_cells_are_null(features):
    table = metrics.metric_medians(features, ["nucleus_area", "cell_DAPI_mean"], TILES, WELL)
    assert table["well"].tolist() == ["A1", "A2", "A10"]
    np.testing.assert_array_equal(table["nucleus_area"], [20, 40, np.nan])
    np.testing.assert_array_equal(table["cell_DAPI_mean"], [1.5, 4, np.nan])


def test_flagged_channels_say_why():
    alignment = pd.DataFrame(
        {
            "plate": "7",
            "well": "A1",
            "tile": ["1", "1", "2", "2"],
            "channel": ["DAPI", "DAPI_2", "DAPI", "DAPI_2"],
            "residual": [np.nan, 2.5, np.nan, np.nan],
            "correlation": [np.nan, -0.4, np.nan, np.nan],
            "flagged": [False, True, False, True],
        }
    )
    flagged = metrics.metric_flagged_channels(alignment, 1.0)
    assert flagged["reason"].tolist() == ["residual above 1 px", "shift not measurable"]
    assert flagged["channels"].tolist() == ["DAPI_2", "DAPI_2"]
    assert flagged["lowest_correlation"].iloc[0] == 0.4
    none = metrics.metric_flagged_channels(alignment.assign(flagged=False), 1.0)
    assert list(none.columns) == list(metrics.NO_FLAGS.columns) and none.empty


# ---------------------------------------------------------------- figures


def test_channels_are_shown_by_name_with_outlines():
    image = np.random.default_rng(0).integers(0, 4000, (5, 400, 360), np.uint16)
    cells = np.zeros((400, 360), np.int32)
    cells[100:300, 100:300] = 1
    nuclei = np.where(np.pad(np.ones((80, 80)), ((160, 160), (140, 140))) > 0, cells, 0)
    names = ["DAPI", "A", "B", "C", "D"]
    figure = figures.plot_channels(image, names, nuclei, cells, PLACE, 0.5)
    shown = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title(loc="left") for panel in shown] == names
    drawn = shown[0].images[0].get_array()
    colours = {tuple(colour) for colour in np.round(drawn.reshape(-1, 3), 2)}
    assert any(red > 0.9 and blue < 0.3 for red, _, blue in colours)  # the yellow outline
    assert "nuclei" in texts(figure)
    without = figures.plot_channels(image, names, nuclei * 0, cells * 0, PLACE)
    assert "nuclei" not in texts(without)
    assert "pixels" in texts(without)


def test_cells_per_tile_counts_empty_tiles(info):
    tiles = metrics.metric_phenotype_counts(TILES, info, TILE)
    figure = figures.plot_cells_per_tile(tiles, PLACE)
    assert "4 cells in 4 tiles; 2 of them without a cell" in texts(figure)
    histogram, wells = figure.axes
    assert sum(bar.get_height() for bar in histogram.patches) == 4
    crowded = figures.plot_cells_per_tile(tiles.assign(cells=[0, 7, 55, 55]), PLACE)
    assert {bar.get_width() for bar in crowded.axes[0].patches} == {2.0}
    assert [bar.get_height() for bar in crowded.axes[0].patches][-1] == 2
    assert [label.get_text() for label in wells.get_xticklabels()] == ["A1", "A2", "A10"]


def test_distributions_have_a_panel_for_each_feature(features):
    labels = metrics.key_features(list(features.columns), ["DAPI", "WGA"])
    wells = metrics.metric_feature_wells(features, list(labels))
    figure = figures.plot_feature_distributions(wells, labels, PLACE)
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert [title for title in titles if title] == [
        "Area of nuclei (px)",
        "Area of cells (px)",
        "Mean DAPI in cell",
        "Mean WGA in cell",
    ]
    assert "no cells" in texts(figures.plot_feature_distributions(wells.iloc[:0], labels, PLACE))


def test_gaps_are_counted_and_the_worst_named(features):
    table = metrics.metric_features(features, FAMILIES)
    figure = figures.plot_feature_gaps(metrics.metric_feature_families(table), table, PLACE)
    said = texts(figure)
    assert "5 features; 3 lack a value for some cell, 1 are the same for all" in said
    named = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert named == ["cell_DAPI_std", "cell_… (2 of intensity)"]
    widths = [bar.get_width() for bar in figure.axes[1].patches[2:]]
    assert widths == [1, 0.25]
    whole = table[table["missing"] == 0]
    figure = figures.plot_feature_gaps(metrics.metric_feature_families(whole), whole, PLACE)
    assert "no feature is missing" in texts(figure)
    none = metrics.metric_features(features.iloc[:0], FAMILIES)
    figure = figures.plot_feature_gaps(metrics.metric_feature_families(none), none, PLACE)
    assert "no cells" in texts(figure)


def test_plates_of_several_features_have_colours_of_their_own(features):
    wells = metrics.metric_medians(features, ["nucleus_area", "cell_area"], TILES, WELL)
    values = {"nucleus_area": "nuclei", "cell_area": "cells"}
    figure = plots.plot_plates(wells, values, PLACE, "Medians")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [panel.get_title(loc="left") for panel in panels] == ["nuclei", "cells"]
    coloured = [
        collection
        for panel in panels
        for collection in panel.collections
        if collection.get_array() is not None
    ]
    assert [collection.get_clim() for collection in coloured] == [(20, 40), (50, 200)]
    assert [collection.get_array().tolist() for collection in coloured] == [[20, 40], [200, 50]]
    alike = wells.assign(nucleus_area=[99.0, 101.0, np.nan], cell_area=0.0)
    figure = plots.plot_plates(alike, values, PLACE, "Medians")
    spans = [c.get_clim() for axes in figure.axes for c in axes.collections if c.get_cmap().name]
    assert (90, 110) in [tuple(np.round(span, 6)) for span in spans if None not in span]
    assert "nothing was measured" in texts(plots.plot_plates(wells, {}, PLACE, "Medians"))


def test_a_lone_illumination_field_lies_in_a_row():
    field = np.ones((3, 40, 50), np.float32)
    figure = plots.plot_illumination({"": field}, ["DAPI", "A", "B"], PLACE)
    shown = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title(loc="center") for panel in shown] == ["DAPI", "A", "B"]
    assert "cycle" not in texts(figure)
