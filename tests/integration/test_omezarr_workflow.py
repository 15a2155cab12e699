"""OME-Zarr mirrors through the real `snakemake`: what is written, when, and from what."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.shared import layout
from lib.shared.image_io import read_image, read_image_info
from lib.shared.omezarr.check import check_store
from lib.shared.tables import read_table

from .conftest import DATA, SMALL, Job, Screen, _once, _simulate

PARAMETERS = replace(SMALL, phenotype=True, tiles=2)
WELL, CYCLES = "1 A1", range(1, PARAMETERS.cycles + 1)
COMPUTE = ("convert_", "align_", "segment_", "detect_", "extract_", "call_", "calculate_", "merge_")
STAGES = {
    "preprocess": ["convert_sbs", "calculate_ic_sbs", "convert_phenotype"],
    "sbs": list(layout.OMEZARR["sbs"]),
    # Secondary objects are sought only where a channel of them is named.
    "phenotype": [name for name in layout.OMEZARR["phenotype"] if name != "segment_secondary"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Screen:
    """Both halves of a small screen, run without any export. Look, do not touch."""

    def make(folder: Path) -> None:
        _simulate(folder, PARAMETERS)
        Screen(folder).run(*DATA)

    return Screen(_once(tmp_path_factory, "omezarr_finished", make))


@pytest.fixture
def copy(tmp_path, finished) -> Screen:
    return Screen(Path(shutil.copytree(finished.folder, tmp_path / "copy")))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory, finished) -> Screen:
    """The same with every stage mirrored, in stores of tiles. Look, do not touch."""

    def make(folder: Path) -> None:
        shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
        screen = Screen(folder)
        switch_on(screen)
        screen.configure(**{name: {"omezarr_stages": list(s)} for name, s in STAGES.items()})
        screen.run(*DATA)

    return Screen(_once(tmp_path_factory, "omezarr_mirrored", make))


def switch_on(screen: Screen, **keys: object) -> None:
    screen.configure(all={"omezarr_export_default": True, **keys})


def stores(screen: Screen) -> list[Path]:
    return sorted(screen.results.glob("*/omezarr/**/*.ome.zarr"))


def names(jobs: set[Job]) -> set[str]:
    return {job.rule for job in jobs}


def places(template: str, tiles: int) -> list[dict]:
    here = {"plate": "1", "well": "A1"}
    return [
        here | {"tile": tile, "cycle": cycle}
        for tile in (range(tiles) if "{tile}" in template else [0])
        for cycle in (CYCLES if "{cycle}" in template else [0])
    ]


def test_every_stage_is_mirrored_bit_for_bit_and_no_other_store_is_made(mirrored):
    images = {**layout.PREPROCESS, **layout.SBS, **layout.PHENOTYPE}
    expected = []
    for module, stages in STAGES.items():
        for stage in stages:
            template = layout.OMEZARR[module][stage]
            half = "phenotype" if "phenotype" in template else "sbs"
            tiles = len(list(mirrored.results.glob(f"preprocess/metadata/{half}/*_T-*.tsv")))
            assert tiles >= 2
            for place in places(template, tiles):
                store = mirrored.results / template.format(**place)
                expected.append(store)
                tiffs = [path for path in images[stage] if path.endswith(".tiff")]
                planes = [read_image(mirrored.results / path.format(**place)) for path in tiffs]
                mirror = read_image(store)
                assert mirror.dtype == planes[0].dtype
                one = planes[0] if len(planes) == 1 else np.stack(planes)
                np.testing.assert_array_equal(mirror.squeeze(), one.squeeze(), err_msg=str(store))
    assert stores(mirrored) == sorted(expected)
    assert [fault for store in expected for fault in check_store(store)] == []


def test_stores_know_their_channels_their_size_and_where_they_come_from(mirrored):
    place = {"plate": "1", "well": "A1", "tile": 0}
    store = mirrored.results / layout.OMEZARR["sbs"]["align_sbs"].format(**place)
    info = read_image_info(store)
    assert info.channel_names == ("DAPI", "G", "T", "A", "C")
    assert info.pixel_size == pytest.approx((PARAMETERS.sbs_pixel_um,) * 2)
    attributes = json.loads((store / ".zattrs").read_text())
    noted = next(value for value in attributes.values() if "config_hash" in value)
    assert noted["stage"] == "align_sbs" and noted["version"] and len(noted["config_hash"]) == 64
    metadata = read_table(
        mirrored.results / layout.PREPROCESS["extract_metadata_sbs"][0].format(**place)
    )
    tile = metadata[(metadata["tile"] == "0") & (metadata["cycle"] == 1)].iloc[0]
    first = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    half = (PARAMETERS.tile_size - 1) / 2 * PARAMETERS.sbs_pixel_um
    expected = [tile["y_pos"] - half, tile["x_pos"] - half]
    np.testing.assert_allclose(first[1]["translation"][-2:], expected)


def test_converted_raw_files_know_where_they_come_from(mirrored):
    sheet = read_table(mirrored.folder / "sbs_samples.tsv").astype(str)
    for cycle in CYCLES:
        place = {"plate": "1", "well": "A1", "tile": "0", "cycle": str(cycle)}
        store = mirrored.results / layout.OMEZARR["preprocess"]["convert_sbs"].format(**place)
        noted = json.loads((store / ".zattrs").read_text())["poolscope"]
        here = (sheet[list(place)] == pd.Series(place)).all(axis=1)
        names = sorted(Path(path).name for path in sheet.loc[here, "sample_fp"])
        assert sorted(Path(source["path"]).name for source in noted["source"]) == names
        assert names and noted["stage"] == "convert_sbs"


def test_masks_lie_as_labels_in_the_store_of_the_aligned_image(mirrored):
    for module, masks in (("sbs", ["nuclei", "cells"]), ("phenotype", ["nuclei", "cells"])):
        store = mirrored.results / layout.OMEZARR[module][f"align_{module}"].format(
            plate="1", well="A1", tile=0
        )
        for name in masks:
            tiff = mirrored.results / f"{module}/images/P-1_W-A1_T-0__{name}.tiff"
            label = read_image(store / "labels" / name)
            np.testing.assert_array_equal(label, read_image(tiff))
            assert label.max() > 0
    assert (store / "labels/cytoplasm").is_dir()


def test_an_export_computes_nothing_again_and_off_and_on_makes_nothing_new(copy):
    assert copy.plan(*DATA) == set()
    switch_on(copy)
    jobs = copy.plan(*DATA)
    assert names(jobs) == {
        "export_calculate_ic_sbs_omezarr",
        "export_calculate_ic_phenotype_omezarr",
        "export_align_sbs_omezarr",
        "export_segment_sbs_omezarr",
        "export_align_phenotype_omezarr",
        "export_segment_phenotype_omezarr",
        "export_identify_cytoplasm_omezarr",
    }
    copy.run(*DATA)
    assert copy.plan(*DATA) == set()
    copy.configure(sbs={"omezarr_export": False})
    assert copy.plan(*DATA) == set()
    before = stores(copy)
    copy.configure(sbs={"omezarr_export": None})
    assert copy.plan(*DATA) == set() and stores(copy) == before

    gone = copy.results / "sbs/omezarr/segmentation/P-1_W-A1_T-1__segmentation.ome.zarr"
    shutil.rmtree(gone)
    assert names(copy.plan(*DATA)) == {"export_segment_sbs_omezarr"}


def test_a_module_is_exported_on_request_while_the_switch_is_off(copy):
    copy.configure(sbs={"omezarr_stages": ["align_sbs", "max_filter"]})
    assert copy.plan(*DATA) == set()
    jobs = copy.plan("all_sbs_omezarr")
    assert names(jobs) == {
        "export_align_sbs_omezarr",
        "export_max_filter_omezarr",
        "detect_spots_images",
    }
    assert names(copy.plan("all_phenotype_omezarr")) == {
        "export_align_phenotype_omezarr",
        "export_segment_phenotype_omezarr",
        "export_identify_cytoplasm_omezarr",
    }


def test_cleaning_up_deletes_the_stores_that_nobody_asks_for(tmp_path, mirrored):
    screen = Screen(Path(shutil.copytree(mirrored.folder, tmp_path / "copy")))
    screen.configure(sbs={"omezarr_stages": ["align_sbs"]})
    others = [path for path in stores(screen) if "/sbs/omezarr/" not in str(path)]
    screen.run("cleanup_omezarr_sbs")
    left = stores(screen)
    assert set(others) < set(left)
    assert {path.parent.name for path in set(left) - set(others)} == {"aligned"}
    assert list(screen.results.glob("sbs/omezarr/*")) == [screen.results / "sbs/omezarr/aligned"]
    switch_on(screen, omezarr_export_default=False)
    screen.run("cleanup_omezarr_preprocess", "cleanup_omezarr_phenotype")
    assert all("sbs/omezarr/aligned" in str(path) for path in stores(screen))
    assert (screen.results / "sbs/images").is_dir()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_plates_hold_wells_of_fields_where_the_stage_was(copy, version):
    switch_on(copy, omezarr_layout="plate", omezarr_version=version)
    jobs = copy.plan(*DATA)
    assert not any(name.startswith(COMPUTE) for name in names(jobs))
    copy.run(*DATA)
    assert copy.plan(*DATA) == set()
    for module in ("sbs", "phenotype"):
        plate = copy.results / f"{module}/omezarr/P-1__aligned.ome.zarr"
        assert check_store(plate) == []
        for tile in range(PARAMETERS.tiles):
            tiff = copy.results / f"{module}/images/P-1_W-A1_T-{tile}__aligned.tiff"
            np.testing.assert_array_equal(read_image(plate / f"A/1/{tile}"), read_image(tiff))
    metadata = read_table(
        copy.results / "preprocess/metadata/sbs/P-1_W-A1__combined_metadata.parquet"
    )
    centres = metadata[metadata["cycle"] == 1].set_index("tile")[["y_pos", "x_pos"]]
    origins = [origin(copy.results / f"sbs/omezarr/P-1__aligned.ome.zarr/A/1/{t}") for t in (0, 1)]
    moved = np.subtract(centres.loc["1"], centres.loc["0"])
    assert np.abs(moved).max() > 10
    np.testing.assert_allclose(np.subtract(*origins[::-1]), moved)


def origin(field: Path) -> list[float]:
    """The place of the first pixel of a field, in micrometres."""
    old = field / ".zattrs"
    if old.exists():
        scales = json.loads(old.read_text())["multiscales"]
    else:
        scales = json.loads((field / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    return scales[0]["datasets"][0]["coordinateTransformations"][1]["translation"][-2:]


def test_the_same_is_computed_from_stores_as_from_tiffs(tmp_path, finished):
    screen = Screen(tmp_path / "stored")
    raw = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(finished.folder, screen.folder, ignore=raw)
    screen.configure(sbs={"input_format": "omezarr"}, phenotype={"input_format": "omezarr"})
    screen.run(*DATA)
    images = {path for path in finished.contents() if path.startswith("preprocess/images/")}
    assert images
    expected = {p: c for p, c in finished.contents().items() if p not in images}
    assert screen.contents() == expected
    assert {path.name.partition("__")[2] for path in stores(screen)} == {"image.ome.zarr"}


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(copy):
    shutil.rmtree(copy.results)
    copy.configure(sbs={"omezarr_stages": ["align_sbs", "segment_cells"]})
    said = copy.refusal()
    assert 'sbs.omezarr_stages[1] is "segment_cells"' in said
    assert all(stage in said for stage in layout.OMEZARR["sbs"])
