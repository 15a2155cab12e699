"""A screen of two-colour chemistry, from raw images and config to cells and the report."""

from dataclasses import replace

import pytest

from lib.shared import layout
from lib.shared.tables import read_table
from lib.simulate.parameters import PRESETS
from lib.simulate.score import score_screen

from .conftest import Screen, _simulate

TWO_COLOURS = replace(
    PRESETS["default"], colours=2, tiles=1, tile_size=512, cycles=8, guides=60, phenotype=False
)
PLACE = {"plate": "1", "well": "A1", "tile": "0"}


@pytest.fixture(scope="module")
def two_colours(tmp_path_factory) -> Screen:
    folder = tmp_path_factory.mktemp("two_colours")
    _simulate(folder, TWO_COLOURS)
    screen = Screen(folder)
    screen.run()
    return screen


def test_cells_get_the_guides_they_carry(two_colours):
    scores = score_screen(two_colours.folder, two_colours.results)
    assert scores["genotypes"]["eligible"] > 60
    assert scores["genotypes"]["recall"] > 0.95
    assert scores["genotypes"]["precision"] > 0.97
    assert scores["reads"]["mapped_correct"] > 0.98
    assert scores["reads"]["exact_of_found"] > 0.95
    assert scores["alignment"]["median"] < 0.1


def test_bases_are_measured_by_channel(two_colours):
    path = layout.SBS["detect_spots"][0].format(**PLACE)
    columns = set(read_table(two_colours.results / path).columns)
    measured = {f"{name}_{cycle}" for name in ("GREEN", "RED") for cycle in range(1, 9)}
    assert measured <= columns
    assert not {f"{base}_1" for base in "GTAC"} & columns


def test_the_decoding_table_and_the_report_know_the_channels(two_colours):
    path = layout.SBS["call_reads"][1].format(**PLACE)
    table = read_table(two_colours.results / path)
    crosstalk = table[table["parameter"] == "crosstalk"]
    assert set(crosstalk["to"]) == {"GREEN", "RED"}
    assert set(crosstalk["from"]) == set("TAC")  # G is dark
    for name in layout.SBS_EVAL["well"].values():
        assert (two_colours.results / name.format(**PLACE)).stat().st_size > 0


def test_nothing_is_left_to_do(two_colours):
    assert two_colours.plan() == set()
