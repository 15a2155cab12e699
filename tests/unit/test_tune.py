"""Grids are read, checked and ranked; scores fall by what goes wrong."""

import copy
import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.shared.config import load_config
from lib.shared.errors import InputError
from lib.shared.segmentation import Segmentation
from lib.tune import secondary, segmentation, spots
from lib.tune.__main__ import main
from lib.tune.figure import Marks, Panel, plot_comparison
from lib.tune.grid import SCHEMA, make_settings, parse_grid, rank_settings, spell, yaml_lines
from lib.tune.images import Screen

RAW = yaml.safe_load(
    """
all: {root_fp: results/}
preprocess: {sbs_samples_fp: sbs_samples.tsv, phenotype_samples_fp: phenotype_samples.tsv}
sbs:
  {barcode_library_fp: barcode_library.tsv, channel_names: [DAPI, G, T, A, C], bases: [G, T, A, C]}
phenotype: {channel_names: [DAPI, TUBULIN], segmentation: {nucleus_diameter_px: 30}}
"""
)
SEGMENTATION = ("phenotype", "segmentation")


def settings_of(path, **grid):
    return make_settings(RAW, path, grid)


# Grids ------------------------------------------------------------------------------------------


def test_values_of_a_grid_are_yaml():
    grid = parse_grid(["nucleus_diameter_px=20, 30.5,null", "method=watershed", "gpu=true"])

    assert grid == {"nucleus_diameter_px": [20, 30.5, None], "method": ["watershed"], "gpu": [True]}


@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.floats(-1e6, 1e6) | st.sampled_from("abc"),
        min_size=1,
        max_size=5,
        unique_by=repr,
    ).filter(lambda values: len({*values}) == len(values))
)
def test_spelled_values_are_read_back(values):
    assert parse_grid(["key=" + ",".join(map(spell, values))]) == {"key": values}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["spot_threshold"], "write it as key=value,value"),
        (["spot_threshold="], "write it as key=value,value"),
        (["=3"], "write it as key=value,value"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=1,2,1"], "name each value once"),
        (["a=[1"], "not valid YAML"),
    ],
)
def test_a_text_that_is_no_grid_is_refused(texts, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_grid(texts)


def test_settings_are_all_combinations_and_the_configured_one():
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[20, 40], reconcile=["contained"])

    assert [setting.values for setting in settings] == [
        {"nucleus_diameter_px": 30, "reconcile": "consensus"},
        {"nucleus_diameter_px": 20, "reconcile": "contained"},
        {"nucleus_diameter_px": 40, "reconcile": "contained"},
    ]
    assert [setting.configured for setting in settings] == [True, False, False]
    assert [setting.number for setting in settings] == [1, 2, 3]
    sections = [setting.config["phenotype"]["segmentation"] for setting in settings]
    assert [section["nucleus_diameter_px"] for section in sections] == [30, 20, 40]
    assert sections[1]["flow_threshold"] == 0.4  # completed with the defaults


def test_the_configured_setting_stays_in_its_place_where_the_grid_has_it():
    settings = settings_of(("sbs",), spot_threshold=[1.5, "auto", 3])

    assert [setting.configured for setting in settings] == [False, True, False]


@pytest.mark.parametrize(
    ("path", "grid", "sentence"),
    [
        (
            SEGMENTATION,
            {"nucleus_diamter_px": [20]},
            r"phenotype\.segmentation\.nucleus_diamter_px is not known: did you mean "
            r"phenotype\.segmentation\.nucleus_diameter_px\?",
        ),
        (("sbs",), {"spot_treshold": [3]}, r"did you mean sbs\.spot_threshold\?"),
        (("sbs",), {"spot_window_px": [3, 4]}, "spot_window_px is 4: it must be one of 3, 5"),
        (("sbs",), {"max_shift_px": [50]}, "no spot depends on it, only on spot_threshold"),
        (SEGMENTATION, {"method": ["watershet"]}, r"did you mean watershed\?"),
        (
            SEGMENTATION,
            {"min_cell_area_px": [10, 90], "max_cell_area_px": [50]},
            "min_cell_area_px is 90, more than max_cell_area_px",
        ),
        (("sbs",), {"spot_threshold": list(range(1, 17))}, "has 17 settings.* at most 16"),
    ],
)
def test_a_grid_that_the_config_would_not_take_is_refused(path, grid, sentence):
    with pytest.raises(InputError, match=sentence):
        make_settings(RAW, path, grid)


def test_the_config_is_left_as_it_is():
    before = copy.deepcopy(RAW)

    settings_of(("sbs", "segmentation"), nucleus_diameter_px=[20])

    assert before == RAW


def test_the_lines_choose_the_setting():
    for path, grid in (
        (SEGMENTATION, {"nucleus_diameter_px": [None, 44.5], "reconcile": ["contained"]}),
        (("sbs",), {"spot_threshold": ["auto", 2], "spot_window_px": [5]}),
    ):
        for setting in make_settings(RAW, path, grid):
            lines = yaml.safe_load(yaml_lines(setting, path))
            for name in path:
                lines = lines[name]
            assert lines == setting.values


# Ranks ------------------------------------------------------------------------------------------


def test_ranks_follow_the_mean_over_tiles():
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[20, 30, 40, 50])
    scores = np.array([[0.2, 0.5, 0.9, np.nan], [0.4, 0.9, 0.3, np.nan]])  # .3, .7, .6

    assert rank_settings(scores, settings).tolist() == [3, 1, 2, 0]


def test_a_setting_that_changes_nothing_ranks_behind_the_configured_one():
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[20, 40, 30])
    assert rank_settings(np.array([[0.904, 0.901, 0.9]]), settings).tolist() == [2, 3, 1]


def test_nothing_is_ranked_where_there_is_no_score():
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[20, 30])

    assert rank_settings(np.full((3, 2), np.nan), settings).tolist() == [0, 0]


# Scores of segmentation -------------------------------------------------------------------------


def test_explained_is_the_share_of_variance_between_inside_and_outside():
    body, mask = np.array([[0.0, 2.0, 8.0, 10.0]]), np.array([[False, False, True, True]])

    # Means 1 and 9 about 5: 16 between, 1 within.
    assert segmentation.explained(body, mask) == pytest.approx(16 / 17)
    assert segmentation.explained(body, ~mask) == pytest.approx(16 / 17)
    assert segmentation.explained(body, np.zeros((1, 4), bool)) == 0
    assert segmentation.explained(np.ones((1, 4)), mask) == 0


def test_touching_is_the_share_of_the_outline_that_two_objects_share():
    labels = np.zeros((6, 10), np.int32)
    labels[1:5, 1:5], labels[1:5, 5:9] = 1, 2  # two squares of side 4, side by side

    # 24 pixel edges to the background, 4 between the squares.
    assert segmentation.touching(labels) == pytest.approx(4 / 28)
    assert segmentation.touching(np.where(labels == 2, 1, labels)) == 0
    assert segmentation.touching(np.zeros_like(labels)) == 0


def test_solidity_falls_by_what_is_not_convex():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 2:12] = 1
    assert segmentation.solidity(labels) == pytest.approx(1)
    assert segmentation.solidity(np.zeros_like(labels)) == 0
    labels[20:30, 2:12], labels[28:38, 10:20] = 2, 2  # two squares that meet at a corner
    assert segmentation.solidity(labels) < 0.9


def tile(radius=9, pitch=30, side=150):
    """Round nuclei in round cells: images of both, and their labels."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((side, side))
    away = np.hypot(rows % pitch - pitch / 2, columns % pitch - pitch / 2)
    number = 1 + rows // pitch * (side // pitch) + columns // pitch
    labels = [
        np.where(away < reach, number, 0).astype(np.int32) for reach in (radius, 1.4 * radius)
    ]
    planes = [np.where(label > 0, 1000, 100) + rng.normal(0, 8, label.shape) for label in labels]
    return *(plane.astype(np.float32) for plane in planes), *labels


def score_of(planes, nuclei, cells):
    return segmentation.plausibility(Segmentation(nuclei, cells, {}), planes)["score"]


def test_whatever_goes_wrong_lowers_the_score():
    dapi, glow, nuclei, cells = tile()
    rows, columns = np.indices(nuclei.shape)
    split = np.where((nuclei > 0) & (columns % 30 < 15), nuclei + 100, nuclei)
    merged = np.where(nuclei > 0, 1 + rows // 30 * 3 + columns // 60, 0)
    missed = np.where(nuclei % 3 > 0, nuclei, 0)
    small, wide = nuclei, np.where(cells > 0, cells, 1)
    best = score_of((dapi, glow), nuclei, cells)

    assert best > 0.95
    for wrong in (split, merged, missed):
        assert score_of((dapi, glow), wrong.astype(np.int32), cells) < best - 0.02
    for wrong in (small, wide):
        assert score_of((dapi, glow), nuclei, wrong) < best - 0.02
    assert score_of((dapi,), nuclei, wide) == pytest.approx(best, rel=0.05)
    assert score_of((dapi, glow), np.zeros_like(nuclei), np.zeros_like(cells)) == 0


def test_the_table_counts_what_is_there():
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[18, 90])

    rows, panels = segmentation.compare(tile()[:2], settings, "phenotype", crop=100)

    assert [row["nuclei"] for row in rows] == [25, 25, 0]  # the configured 30 px, 18 and 90
    assert rows[1]["cells"] == 25
    assert rows[1]["share_nuclei_with_cell"] == 1
    assert rows[1]["median_nucleus_area_px"] == pytest.approx(np.pi * 9**2, rel=0.1)
    assert rows[1]["share_touching_border"] == 0
    assert rows[0]["f1_configured_nuclei"] == rows[0]["f1_configured_cells"] == 1
    assert rows[2]["f1_configured_nuclei"] == rows[2]["score"] == 0
    assert [panel.shape for panel in panels] == [(100, 100)] * 3


def test_an_empty_tile_has_no_score():
    empty = np.zeros((64, 64), np.float32)
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[20])

    rows, _ = segmentation.compare((empty, empty), settings, "phenotype", crop=64)

    assert all(row["cells"] == 0 and math.isnan(row["score"]) for row in rows)


def test_without_cytoplasm_cells_are_nuclei():
    dapi = tile()[0]
    settings = settings_of(SEGMENTATION, nucleus_diameter_px=[18])

    rows, _ = segmentation.compare((dapi, None), settings, "phenotype", crop=64)

    assert rows[1]["median_cell_area_px"] == rows[1]["median_nucleus_area_px"]
    assert "cytoplasm_explained" not in rows[1]


def test_the_default_grid_goes_both_ways_from_what_is_configured():
    section = load_config(RAW, SCHEMA)["phenotype"]["segmentation"]
    assert segmentation.default_grid(12.0, section) == {
        "nucleus_diameter_px": [30, 18.0, 48.0],
        "cell_distance_px": [None, 36.0, 96.0],
    }
    free = section | {"nucleus_diameter_px": None}
    assert segmentation.default_grid(20.0, free | {"method": "cellpose"}) == {
        "nucleus_diameter_px": [None, 12.0, 32.0],
        "cell_diameter_px": [None, 24.0, 64.0],
    }


def test_the_typical_nucleus_is_that_of_the_tiles_that_have_some():
    assert segmentation.typical_diameter([10.0, None, 14.0]) == 12
    assert segmentation.typical_diameter([None]) == segmentation.USUAL_PX
    assert segmentation.tile_diameter((np.zeros((64, 64), np.float32), None)) is None
    assert segmentation.tile_diameter((tile()[0], None)) == pytest.approx(18, abs=2)


# Scores of spots --------------------------------------------------------------------------------


def test_the_score_of_spots_is_a_harmonic_mean():
    rows = [
        {"candidates": 400, "reads_beyond_chance": 100.0},  # all that speak, a quarter of them
        {"candidates": 100, "reads_beyond_chance": 80.0},  # four fifths of both
        {"candidates": 0, "reads_beyond_chance": 0.0},
    ]

    assert [row["score"] for row in spots.scored(rows)] == pytest.approx([0.4, 0.8, 0])


@pytest.mark.parametrize("speaking", [0.0, math.nan])
def test_spots_that_say_nothing_have_no_score(speaking):
    rows = spots.scored([{"candidates": 5, "reads_beyond_chance": speaking}])

    assert math.isnan(rows[0]["score"])


def test_the_default_thresholds_surround_the_configured_one():
    assert spots.default_grid({"spot_threshold": "auto"})["spot_threshold"][:2] == ["auto", 1.0]
    values = spots.default_grid({"spot_threshold": 8})["spot_threshold"]
    assert values == [8, "auto", 2, 4, 6, 12, 16]


# The figure -------------------------------------------------------------------------------------


def test_the_figure_has_a_panel_for_each_tile_and_setting():
    panel = Panel(np.zeros((8, 8, 3), np.uint8), (8, 8), "3 nuclei")
    marked = Panel(panel.picture, (8, 8), "", (Marks(np.array([2]), np.array([3]), "#FF0000"),))

    figure = plot_comparison(
        {"1/A1/0": [panel] * 3, "1/A1/1": [panel, marked, panel]},
        ["a 1", "a 2", "a 3"],
        configured=1,
        ranks=[2, 1, 0],
        legend={"cells": "#FFFFFF"},
        title="T",
        subtitle="S",
    )

    assert len(figure.axes) == 6
    titles = [axis.get_title(loc="left") for axis in figure.axes[:3]]
    assert titles == ["1 (rank 2)\na 1", "2 (configured, rank 1)\na 2", "3\na 3"]
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["tile 1/A1/0", "tile 1/A1/1"]
    places = figure.axes[4].collections[0].get_offsets()
    assert places.tolist() == [[2, 3]]


# The command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (None, [], "does not exist"),
        ("", ["--out", "config.yml/tune"], "--out is config.yml/tune, but"),
        ("a: [", [], "not valid YAML"),
        ("all: {root_fp: x}", [], "neither an sbs nor a phenotype section"),
        (yaml.safe_dump(RAW), ["--grid", "nucleus=3"], "is not known"),
        (yaml.safe_dump(RAW), [], "sbs_samples.tsv"),
        (
            yaml.safe_dump({key: RAW[key] for key in ("all", "preprocess", "sbs")}).replace(
                "phenotype_samples_fp: phenotype_samples.tsv", ""
            ),
            ["--module", "phenotype"],
            "no section phenotype to tune",
        ),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path, monkeypatch, capsys, text, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "config.yml").write_text(text)

    assert main(["segmentation", "--config", "config.yml", *arguments]) == 1

    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_spots_of_two_colours_are_not_compared():
    raw = copy.deepcopy(RAW)
    encoding = {"G": [], "T": ["GREEN"], "A": ["GREEN", "RED"], "C": ["RED"]}
    raw["sbs"] |= {"channel_names": ["DAPI", "GREEN", "RED"], "base_encoding": encoding}
    screen = Screen(load_config(raw, SCHEMA), None, "sbs")
    with pytest.raises(InputError, match="does not give every base a channel"):
        spots.read_codebook(screen)


def test_spots_need_sequencing(tmp_path, capsys):
    raw = {"all": RAW["all"], "phenotype": RAW["phenotype"]}
    raw["preprocess"] = {"phenotype_samples_fp": "phenotype_samples.tsv"}
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(raw))

    assert main(["spots", "--module", "sbs", "--config", str(path)]) == 1

    assert "no section sbs to tune" in capsys.readouterr().err


def test_the_default_grid_of_secondary_objects_stays_within_what_a_config_takes():
    grid = secondary.default_grid({"deviations": 6, "diameter_px": 3})
    assert grid == {"deviations": [6, 3.6, 9.6], "diameter_px": [3, 2.0, 4.8]}
    assert secondary.default_grid({"deviations": 0.1, "diameter_px": 2}) == {
        "deviations": [0.1, 0.2],
        "diameter_px": [2, 3.2],
    }
