"""A phenotype-only screen through the real `snakemake`, with tiles as they should not be."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from lib.phenotype.features import ALL_FAMILIES, FeatureParameters, feature_columns
from lib.phenotype.features.registry import COMPARTMENTS
from lib.shared import layout
from lib.shared.illumination import correct, to_uint16
from lib.shared.image_io import ImageInfo, read_image, read_image_info
from lib.shared.tables import read_table
from lib.simulate.parameters import PHENOTYPE_CHANNELS, PRESETS
from lib.simulate.score import segmentation_f1
from lib.simulate.screen import simulate_screen

from .conftest import Job, Screen, _once, expand

PARAMETERS = replace(PRESETS["tiny"], wells=("A1",), tiles=1, tile_size=320, cycles=3, guides=4)
WELL = "1 A1"
EVAL = ("eval_illumination_phenotype", "eval_phenotype_well", "eval_phenotype", "eval_run")
DATA = ("--omit-from", *EVAL)
# What is done to the tiles of these numbers.
EMPTY, SATURATED, LONELY = "1", "2", "3"
PER_TILE = ("convert_phenotype", "align_phenotype", "segment_phenotype", "extract_phenotype")
OPTIONAL = ("apply_ic_field_phenotype", "segment_secondary")


def spoil(screen: Screen) -> None:
    """Make one tile empty, one saturated in a channel and constant in another, one with a cell.

    Where no cell is there is the camera's offset and its noise, which the illumination field
    bends; one channel of the empty tile is black.
    """
    import tifffile

    random = np.random.default_rng(0)
    for tile in (EMPTY, SATURATED, LONELY):
        path = screen.folder / f"raw/phenotype/P-1_W-A1_T-{tile}.tif"
        with tifffile.TiffFile(path) as file:
            image, description = file.asarray(), file.pages.first.description
        level = np.quantile(image, 0.02, axis=(1, 2))[:, None, None]
        quiet = random.poisson(level, image.shape).astype(np.uint16)
        if tile == EMPTY:
            image[:] = quiet
            image[PHENOTYPE_CHANNELS.index("WGA")] = 0
        elif tile == SATURATED:
            image[PHENOTYPE_CHANNELS.index("WGA")] = 65535
            image[PHENOTYPE_CHANNELS.index("P65")] = 500
        else:
            cells = read_image(screen.folder / truth("cells", tile))
            inner = np.zeros(cells.shape, bool)
            inner[40:-40, 40:-40] = True
            whole = np.setdiff1d(cells[inner], [*cells[~inner], 0])
            image = np.where(cells == whole[0], image, quiet)
        options = {"photometric": "minisblack", "metadata": None}
        tifffile.imwrite(path, image, description=description.encode(), **options)


def truth(info: str, tile: str) -> str:
    return f"truth/labels/phenotype/P-1_W-A1_T-{tile}__{info}.tiff"


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Screen:
    """The screen after a run of everything. Look, do not touch."""

    def make(folder: Path) -> None:
        with contextlib.chdir(folder):
            simulate_screen(".", PARAMETERS)
        config = yaml.safe_load((folder / "config.yml").read_text())
        del config["sbs"], config["preprocess"]["sbs_samples_fp"]
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        screen = Screen(folder)
        spoil(screen)
        screen.run()

    return Screen(_once(tmp_path_factory, "phenotype_screen", make))


@pytest.fixture
def copy(tmp_path, measured):
    """The measured screen, for a test that changes it."""
    yield Screen(Path(shutil.copytree(measured.folder, tmp_path / "copy")))
    shutil.rmtree(tmp_path / "copy")


@pytest.fixture(scope="module")
def tiles(measured) -> list[str]:
    return list(read_table(measured.folder / "phenotype_samples.tsv")["tile"])


def image_of(screen: Screen, info: str, tile: str) -> np.ndarray:
    return read_image(screen.results / f"phenotype/images/P-1_W-A1_T-{tile}__{info}.tiff")


def features_path(screen: Screen, tile: str | None = None) -> Path:
    place = "P-1_W-A1" if tile is None else f"P-1_W-A1_T-{tile}"
    return screen.results / f"phenotype/parquets/{place}__phenotype_cp.parquet"


def planned(rules, places) -> set[Job]:
    return {Job(rule, place) for rule in rules for place in places}


# ---------------------------------------------------------------- what is written


def test_results_are_the_files_of_the_layout_and_a_tile_takes_four_jobs(measured, tiles):
    parameters = replace(PARAMETERS, tiles=len(tiles))
    preprocess = [stage for stage in layout.PREPROCESS if stage.endswith("_phenotype")]
    expected = expand(layout.PREPROCESS, preprocess, parameters)
    kept = [stage for stage in layout.PHENOTYPE if stage not in OPTIONAL]
    expected |= expand(layout.PHENOTYPE, kept, parameters)
    expected |= {
        template.format(plate="1", well="A1")
        for level in (*layout.PHENOTYPE_EVAL.values(), layout.RUN_EVAL)
        for template in ([level] if isinstance(level, str) else level.values())
    }
    files = (path for path in measured.results.rglob("*") if path.is_file())
    found = {str(path.relative_to(measured.results)) for path in files}
    apart = {path for path in found if path.startswith(("logs/", "benchmarks/"))}
    assert found - apart == expected
    logs = {(path.parent.name, path.stem) for path in measured.results.glob("logs/*/*.log")}
    of_tiles = {(rule, name) for rule, name in logs if "_T-" in name}
    names = {f"P-1_W-A1_T-{tile}" for tile in tiles}
    assert of_tiles == {(rule, name) for rule in PER_TILE for name in names}
    assert measured.plan() == set()


def test_images_say_what_they_hold(measured, tiles):
    size, pixel = (PARAMETERS.tile_size,) * 2, (PARAMETERS.phenotype_pixel_um,) * 2
    channels, masks = (len(PHENOTYPE_CHANNELS), *size), np.dtype("int32")
    names = PHENOTYPE_CHANNELS
    expected = {
        "aligned": ImageInfo("CYX", channels, np.dtype("uint16"), pixel, names),
        "nuclei": ImageInfo("YX", size, masks, pixel, None),
        "cells": ImageInfo("YX", size, masks, pixel, None),
        "identified_cytoplasms": ImageInfo("YX", size, masks, pixel, None),
    }
    for tile in tiles:
        for info, described in expected.items():
            path = measured.results / f"phenotype/images/P-1_W-A1_T-{tile}__{info}.tiff"
            assert read_image_info(path) == described, path


def test_cells_are_the_true_ones_and_their_parts_share_a_number(measured, tiles):
    for tile in set(tiles) - {EMPTY, SATURATED, LONELY}:
        for info, least in (("nuclei", 0.93), ("cells", 0.85)):
            true = read_image(measured.folder / truth(info, tile))
            assert segmentation_f1(true, image_of(measured, info, tile))["f1"] >= least
    for tile in tiles:
        infos = ("nuclei", "cells", "identified_cytoplasms")
        nuclei, cells, cytoplasms = (image_of(measured, info, tile) for info in infos)
        np.testing.assert_array_equal(np.where(nuclei > 0, nuclei, cytoplasms), cells)
        assert not np.any((nuclei > 0) & (cytoplasms > 0))


def test_without_alignment_no_pixel_moves(measured, tiles):
    field = read_image(measured.results / "preprocess/ic_fields/phenotype/P-1_W-A1__ic_field.tiff")
    for tile in tiles[:2]:
        path = f"preprocess/images/phenotype/P-1_W-A1_T-{tile}__image.tiff"
        expected = to_uint16(correct(read_image(measured.results / path), field))
        np.testing.assert_array_equal(image_of(measured, "aligned", tile), expected)
        table = measured.results / f"phenotype/tsvs/P-1_W-A1_T-{tile}__alignment.tsv"
        alignment = read_table(table)
        assert alignment["channel"].tolist() == list(PHENOTYPE_CHANNELS)
        assert not alignment[["dy", "dx", "flagged"]].any(axis=None)


# ---------------------------------------------------------------- tables, whatever the tile


def test_every_table_of_features_has_the_same_typed_columns(measured, tiles):
    columns = feature_columns(COMPARTMENTS, PHENOTYPE_CHANNELS, ALL_FAMILIES, FeatureParameters())
    types = {"int32": "int32", "float32": "float"}
    expected = dict.fromkeys(("plate", "well", "tile"), "string")
    expected |= {name: types[kind] for name, kind in columns.items()}
    for path in [features_path(measured, tile) for tile in tiles] + [features_path(measured)]:
        schema = pq.read_schema(path)
        assert dict(zip(schema.names, map(str, schema.types), strict=True)) == expected
    per_tile = pd.concat([read_table(features_path(measured, tile)) for tile in tiles])
    merged = read_table(features_path(measured))
    pd.testing.assert_frame_equal(per_tile.reset_index(drop=True), merged)


def test_features_and_places_are_those_of_the_cells(measured, tiles):
    features = read_table(features_path(measured))
    info = read_table(measured.results / "phenotype/parquets/P-1_W-A1__phenotype_info.parquet")
    keys = ["plate", "well", "tile", "label"]
    pd.testing.assert_frame_equal(features[keys], info[keys])
    for tile in tiles:
        labels = np.unique(image_of(measured, "cells", tile))[1:]
        np.testing.assert_array_equal(info.loc[info["tile"] == tile, "label"], labels)
    np.testing.assert_array_equal(features["cell_area"], info["area"])
    np.testing.assert_allclose(features["cell_center_i"], info["i"], rtol=1e-5)
    assert info[["x_um", "y_um", "fov_distance"]].notna().all(axis=None)


def test_an_empty_tile_has_no_row_and_a_lonely_cell_one(measured):
    counts = read_table(features_path(measured)).groupby("tile").size()
    assert EMPTY not in counts
    lonely = read_table(features_path(measured, LONELY))
    assert len(lonely) == 1
    assert lonely["cell_number_of_neighbors"].item() == 0
    assert np.isnan(lonely["cell_first_neighbor_distance"].item())
    assert lonely["cell_area"].item() > 300


def test_a_saturated_and_a_constant_channel_give_valid_rows(measured):
    rows = read_table(features_path(measured, SATURATED))
    assert len(rows) > 0
    assert (rows["nucleus_DAPI_std"] > 0).all()
    assert (rows["cell_P65_foci_count"] == 0).all()
    # The light of a constant channel is that of the field alone.
    assert rows["cell_P65_mean"].between(50, 501).all()
    assert not np.isinf(rows.select_dtypes("float32")).any(axis=None)


def test_the_report_counts_every_tile(measured, tiles):
    counts = read_table(measured.results / "phenotype/eval/P-1__counts.tsv")
    assert counts["tiles"].tolist() == [len(tiles)]
    assert counts["cells"].item() == len(read_table(features_path(measured)))
    features = read_table(measured.results / "phenotype/eval/P-1__features.tsv")
    assert len(features) == counts["features"].item()
    assert (features["cells"] == counts["cells"].item()).all()
    summary = (measured.results / "eval/summary.html").read_text()
    assert "Cells and features" in summary and "Cells and reads" not in summary


# ---------------------------------------------------------------- other choices, and making again


def test_a_kept_image_runs_only_what_makes_it(copy, tiles):
    copy.configure(phenotype={"checkpoints": ["apply_ic_field_phenotype"]})
    places = [f"{WELL} {tile}" for tile in tiles]
    assert copy.plan(*DATA) == planned(["apply_ic_field_phenotype"], places)
    template = layout.PHENOTYPE["apply_ic_field_phenotype"][0]
    path = template.format(plate="1", well="A1", tile=tiles[0])
    copy.run(f"results/{path}")
    corrected = read_image(copy.results / path)
    np.testing.assert_array_equal(corrected, image_of(copy, "aligned", tiles[0]))


def test_settings_of_features_run_only_what_measures(copy, tiles):
    copy.configure(phenotype={"features": {"families": ["shape", "foci"], "foci_radius": 2.0}})
    places = [f"{WELL} {tile}" for tile in tiles]
    jobs = planned(["extract_phenotype"], places) | planned(["merge_phenotype"], [WELL])
    assert copy.plan(*DATA) == jobs


def test_rounds_secondary_objects_and_nuclei_alone(copy, tiles):
    """Alignment by groups, and secondary objects; then nuclei alone."""
    copy.configure(
        phenotype={
            "alignment": {"groups": [["TUBULIN", "P65"]], "offsets_px": {"WGA": [0.5, -0.25]}},
            "secondary_objects": {"channel": "WGA", "diameter_px": 6},
            "features": {"families": ["shape"]},
        }
    )
    copy.run(*DATA)
    alignment = read_table(copy.results / "phenotype/tsvs/P-1_W-A1_T-0__alignment.tsv")
    moved = alignment.set_index("channel")[["dy", "dx"]]
    assert moved.loc["DAPI"].tolist() == [0, 0]
    assert moved.loc["WGA"].tolist() == [0.5, -0.25]
    assert moved.loc["TUBULIN"].tolist() == moved.loc["P65"].tolist() != [0, 0]
    table = read_table(features_path(copy))
    objects = read_table(copy.results / "phenotype/tsvs/P-1_W-A1_T-0__secondary_info.tsv")
    here = table[table["tile"] == "0"].set_index("label")
    counted = objects.groupby("cell").size().reindex(here.index, fill_value=0)
    np.testing.assert_array_equal(here["cell_secondary_count"], counted)
    assert counted.sum() > 0
    assert len(pq.read_table(features_path(copy, EMPTY))) == 0
    assert pq.read_schema(features_path(copy, EMPTY)) == pq.read_schema(features_path(copy))

    copy.configure(
        phenotype={
            "nuclei_only": True,
            "secondary_objects": {},
            "features": {"families": ["shape"]},
        }
    )
    copy.run(*DATA)
    names = pq.read_schema(features_path(copy)).names
    assert all(name.startswith("nucleus_") for name in names[4:])
    np.testing.assert_array_equal(image_of(copy, "cells", "0"), image_of(copy, "nuclei", "0"))
    assert not image_of(copy, "identified_cytoplasms", "0").any()
