"""A small screen through the real `snakemake`: what it writes, and what it makes again."""

import numpy as np
import pytest

from lib.shared import layout
from lib.shared.image_io import ImageInfo, read_image, read_image_info
from lib.shared.tables import read_table
from lib.simulate.parameters import BASES, SBS_CHANNELS
from lib.simulate.score import score_screen

from .conftest import DATA, TINY, Job, Screen, expand, made_by

OPTIONAL = {
    "apply_ic_field_sbs",
    "log_filter",
    "compute_standard_deviation",
    "find_peaks",
    "max_filter",
}
PREPROCESS_STAGES = ["convert_sbs", "raw_metadata_sbs", "calculate_ic_sbs", "extract_metadata_sbs"]
SBS_STAGES = [stage for stage in layout.SBS if stage not in {*OPTIONAL, "choose_spot_measure"}]
WELLS = [f"1 {well}" for well in TINY.wells]
TILES = [f"{well} {tile}" for well in WELLS for tile in range(TINY.tiles)]


def of(rules: list[str], places: list[str]) -> set[Job]:
    return {Job(rule, place) for rule in rules for place in places}


# ---------------------------------------------------------------- what is written


def test_results_agree_with_the_truth(finished):
    scores = score_screen(finished.folder, finished.results)
    assert scores["nuclei"]["f1"] > 0.9
    assert scores["cells"]["f1"] > 0.88
    assert scores["alignment"]["median"] < 0.3
    assert scores["alignment"]["planes_missing"] == 0
    assert scores["reads"]["mapped_correct"] > 0.95
    assert scores["reads"]["exact_of_found"] > 0.95
    assert scores["genotypes"]["recall"] > 0.85
    assert scores["genotypes"]["precision"] > 0.92


def test_results_are_the_files_of_the_layout_and_no_others(finished):
    expected = expand(layout.PREPROCESS, PREPROCESS_STAGES, TINY)
    expected |= expand(layout.SBS, SBS_STAGES, TINY)
    found = {
        str(path.relative_to(finished.results))
        for path in finished.results.rglob("*")
        if path.is_file()
    }
    apart = {path for path in found if path.startswith(("logs/", "benchmarks/"))}
    assert found - apart == expected


def test_every_job_leaves_a_log_and_a_tile_takes_four_jobs(screen, finished):
    jobs = screen.plan(*DATA)
    cycles = [f"{well} {cycle}" for well in WELLS for cycle in range(1, TINY.cycles + 1)]
    assert jobs == (
        of(["convert_sbs", "align_sbs", "segment_sbs", "detect_spots"], TILES)
        | of(["extract_metadata_sbs", "call_reads", "call_cells"], WELLS)
        | of(["calculate_ic_sbs"], cycles)
    )
    logs = {(path.parent.name, path.stem) for path in finished.results.glob("logs/*/*.log")}
    assert len(logs) == len(jobs)
    assert {rule for rule, _ in logs} == {job.rule for job in jobs}
    assert all(path.stat().st_size for path in finished.results.glob("logs/*/*.log"))


def test_figures_re_run_nothing_else_and_then_nothing_is_left_to_do(copy):
    jobs = of(["eval_sbs"], ["1"]) | {Job("eval_run")}
    assert copy.plan() == jobs | of(["eval_illumination_sbs", "eval_sbs_well"], WELLS)
    copy.run()
    expected = {
        template.format(plate="1", well=well)
        for level in (*layout.SBS_EVAL.values(), layout.RUN_EVAL)
        for template in ([level] if isinstance(level, str) else level.values())
        for well in TINY.wells
    }
    files = [path for path in copy.results.glob("**/eval/**/*.*") if path.stat().st_size > 0]
    assert {str(path.relative_to(copy.results)) for path in files} == expected
    assert copy.plan() == set()


def test_images_say_what_they_hold(finished):
    size, pixel = (TINY.tile_size, TINY.tile_size), (TINY.sbs_pixel_um, TINY.sbs_pixel_um)
    channels = len(SBS_CHANNELS)
    plane = (TINY.cycles, channels, *size)
    expected = {
        "image": ImageInfo("CYX", (channels, *size), np.dtype("uint16"), pixel, SBS_CHANNELS),
        "ic_field": ImageInfo("CYX", (channels, *size), np.dtype("float32"), pixel, SBS_CHANNELS),
        "aligned": ImageInfo("TCYX", plane, np.dtype("uint16"), pixel, SBS_CHANNELS),
        "nuclei": ImageInfo("YX", size, np.dtype("int32"), pixel, None),
        "cells": ImageInfo("YX", size, np.dtype("int32"), pixel, None),
    }
    images = list(finished.results.rglob("*.tiff"))
    found = {path: read_image_info(path) for path in images}
    infos = {path: path.stem.rpartition("__")[2] for path in images}
    assert set(infos.values()) == set(expected)
    assert {path: expected[infos[path]] for path in images} == found


def test_a_nucleus_has_the_label_of_its_cell(finished):
    for place in TILES:
        nuclei_path, cells_path, _, info_path = made_by("segment_sbs", place)
        nuclei = read_image(finished.results / nuclei_path)
        cells = read_image(finished.results / cells_path)
        inside = nuclei > 0
        assert inside.any()
        np.testing.assert_array_equal(nuclei[inside], cells[inside])
        labels = np.unique(cells[cells > 0])
        np.testing.assert_array_equal(np.unique(nuclei[inside]), labels)
        info = read_table(finished.results / info_path)
        np.testing.assert_array_equal(info["cell"], labels)


# One letter for each kind of column: text, whole number, number, truth.
KEYS = {"plate": "s", "well": "s", "tile": "s"}
TABLES = {
    "sbs/parquets/P-1_W-A1_T-0__bases.parquet": KEYS
    | {"read": "i", "cell": "i", "i": "f", "j": "f", "peak": "f"}
    | {f"{base}_{cycle}": "f" for cycle in range(1, TINY.cycles + 1) for base in BASES},
    "sbs/parquets/P-1_W-A1__reads.parquet": KEYS
    | {"cell": "i", "read": "i", "i": "f", "j": "f", "barcode": "s"}
    | {f"Q_{n}": "f" for n in range(TINY.cycles)}
    | {"Q_min": "f", "peak": "f", "sgRNA": "s", "gene_symbol": "s"},
    "sbs/parquets/P-1_W-A1__cells.parquet": KEYS
    | {"cell": "i", "i": "f", "j": "f", "barcode_count": "i", "mapped_single_gene": "b"}
    | {f"cell_barcode_{n}": "s" for n in (0, 1)}
    | {f"cell_barcode_count_{n}": "i" for n in (0, 1)}
    | {f"gene_symbol_{n}": "s" for n in (0, 1)},
    "sbs/parquets/P-1_W-A1__sbs_info.parquet": KEYS
    | {"cell": "i", "i": "f", "j": "f", "area": "i", "fov_distance": "f", "x_um": "f", "y_um": "f"},
    "sbs/tsvs/P-1_W-A1_T-0__alignment.tsv": KEYS
    | {"cycle": "i", "channel": "s", "dy": "f", "dx": "f", "residual": "f", "correlation": "f"}
    | {"rotation": "f", "scale": "f", "spots": "i", "spot_residual": "f", "local_residual": "f"},
    "preprocess/metadata/sbs/P-1_W-A1__combined_metadata.parquet": KEYS
    | {"cycle": "i", "x_pos": "f", "y_pos": "f"},
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_columns_of_the_contract(finished, name):
    import pandas as pd

    checks = {
        "s": lambda column: column.dropna().map(lambda value: isinstance(value, str)).all(),
        "i": pd.api.types.is_integer_dtype,
        "f": pd.api.types.is_float_dtype,
        "b": pd.api.types.is_bool_dtype,
    }
    table = read_table(finished.results / name)
    assert len(table) > 0
    wrong = {
        column: str(table[column].dtype) if column in table else "missing"
        for column, kind in TABLES[name].items()
        if column not in table or not checks[kind](table[column])
    }
    assert wrong == {}
    assert list(table.columns[:3]) == ["plate", "well", "tile"]
    assert table[["plate", "well", "tile"]].notna().all(axis=None)
    assert set(table["tile"]) <= {"0", "1"}


def test_reads_and_cells_name_cells_that_exist(finished):
    for well in TINY.wells:
        folder = finished.results / "sbs/parquets"
        reads, cells, info = (
            read_table(folder / f"P-1_W-{well}__{name}.parquet")
            for name in ("reads", "cells", "sbs_info")
        )
        known = set(zip(info["tile"], info["cell"], strict=True))
        assert len(known) == len(info)
        called = list(zip(cells["tile"], cells["cell"], strict=True))
        assert len(called) == len(set(called))
        assert set(called) <= known
        inside = reads[reads["cell"] > 0]
        assert set(zip(inside["tile"], inside["cell"], strict=True)) <= known
        assert not reads.duplicated(["tile", "read"]).any()
        assert (reads["barcode"].str.len() == TINY.cycles).all()
        assert (reads["sgRNA"].isna() == reads["gene_symbol"].isna()).all()


# ---------------------------------------------------------------- another folder, another choice


def test_one_well_elsewhere_gives_the_same_bytes_and_keeps_no_converted_images(screen, finished):
    screen.configure(
        all={"well_filter": ["B2"], "root_fp": str(screen.results)},
        preprocess={"checkpoints": []},
    )
    screen.run(*DATA)
    expected = {
        path: content
        for path, content in finished.contents().items()
        if "W-B2" in path and not path.startswith("preprocess/images")
    }
    found = screen.contents()
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path] != expected[path]] == []
    assert not list(screen.results.rglob("*__image.tiff"))


def test_incomplete_tiles_stop_the_run_or_are_left_out(screen):
    screen.edit(
        "sbs_samples.tsv",
        lambda lines: [line for line in lines if "W-A1_T-0_C-3" not in line],
    )
    said = screen.refusal(*DATA)
    assert "sbs_samples.tsv" in said
    assert "plate 1, well A1, tile 0" in said
    assert "incomplete_tiles" in said
    screen.configure(all={"incomplete_tiles": "skip"})
    jobs = screen.plan(*DATA)
    assert {job.place for job in jobs if job.rule == "align_sbs"} == {*TILES} - {"1 A1 0"}


# ---------------------------------------------------------------- making again


AFTER_TILE = {
    "align_sbs": ["align_sbs", "segment_sbs", "detect_spots"],
    "segment_sbs": ["segment_sbs", "detect_spots"],
    "detect_spots": ["detect_spots"],
}


def what_hangs_on(rule: str, place: str) -> set[Job]:
    well = place.rpartition(" ")[0]
    return of(AFTER_TILE[rule], [place]) | of(["call_reads", "call_cells"], [well])


def test_deleted_checkpoints_are_remade_with_what_hangs_on_them(copy, finished):
    lost = {"align_sbs": "1 A1 0", "segment_sbs": "1 A1 1", "detect_spots": "1 B2 0"}
    for rule, place in lost.items():
        path = copy.results / made_by(rule, place)[0]
        aside = path.rename(copy.folder / "aside")
        assert copy.plan(*DATA) == what_hangs_on(rule, place)
        aside.rename(path)
    for rule, place in lost.items():
        (copy.results / made_by(rule, place)[0]).unlink()
    copy.run(*DATA)
    assert copy.contents() == finished.contents()


def test_more_checkpoints_run_only_what_makes_them(copy):
    copy.configure(sbs={"checkpoints": sorted(OPTIONAL)})
    assert copy.plan(*DATA) == of(["apply_ic_field_sbs", "detect_spots_images"], TILES)
    place = TILES[0]
    made = {stage: made_by(stage, place)[0] for stage in OPTIONAL}
    copy.run(*(f"results/{path}" for path in made.values()))

    size, pixel = (TINY.tile_size, TINY.tile_size), (TINY.sbs_pixel_um, TINY.sbs_pixel_um)
    stack = (TINY.cycles, len(BASES), *size)
    float32 = np.dtype("float32")
    planes = (len(SBS_CHANNELS), *size)
    infos = {stage: read_image_info(copy.results / path) for stage, path in made.items()}
    assert infos == {
        "apply_ic_field_sbs": ImageInfo("CYX", planes, np.dtype("uint16"), pixel, SBS_CHANNELS),
        "log_filter": ImageInfo("TCYX", stack, float32, pixel, BASES),
        "max_filter": ImageInfo("TCYX", stack, float32, pixel, BASES),
        "compute_standard_deviation": ImageInfo("YX", size, float32, pixel, None),
        "find_peaks": ImageInfo("YX", size, float32, pixel, None),
    }
    check_spot_images(copy, place, {s: read_image(copy.results / p) for s, p in made.items()})


def test_what_light_is_read_from_is_chosen_on_a_sample(copy, finished):
    copy.configure(sbs={"spot_measure": "auto"})
    again = of(["detect_spots"], TILES) | of(["call_reads", "call_cells"], WELLS)
    assert copy.plan(*DATA) == again | of(["choose_spot_measure"], ["1"])
    copy.run(*DATA)

    table = read_table(copy.results / layout.SBS["choose_spot_measure"][0].format(plate="1"))
    assert list(table.columns) == ["plate", "measure", "spots", "reads", "places", "chosen"]
    assert table["measure"].tolist() == ["log", "tophat", "matched"]
    assert (table["spots"] == table["spots"][0]).all() and (
        table["reads"] > 0.5 * table["spots"]
    ).all()
    assert table["chosen"].tolist() == [1, 0, 0]
    # It is what was measured before.
    kept = [path for rule in ("detect_spots", "call_reads") for path in made_by(rule, TILES[0])]
    assert all((copy.results / p).read_bytes() == (finished.results / p).read_bytes() for p in kept)
    copy.configure(sbs={"spot_measure": "tophat"})
    assert copy.plan(*DATA) == again
    copy.run(f"results/{made_by('detect_spots', TILES[0])[0]}")
    new, old = (read_table(s.results / kept[0]) for s in (copy, finished))
    assert new["i"].equals(old["i"]) and not new["G_1"].equals(old["G_1"])


def check_spot_images(screen: Screen, place: str, images: dict[str, np.ndarray]) -> None:
    """The images show what the table of the same tile was read from."""
    bases = read_table(screen.results / made_by("detect_spots", place)[0])
    rows, columns = bases["i"].round().astype(int), bases["j"].round().astype(int)
    peaks, score = images["find_peaks"], images["compute_standard_deviation"]
    # A read lies within half a pixel of its peak, so that rounding can miss it by one.
    near = [
        np.roll(peaks, (-di, -dj), axis=(0, 1))[rows, columns]
        for di in (-1, 0, 1)
        for dj in (-1, 0, 1)
    ]
    np.testing.assert_allclose(np.max(near, axis=0), bases["peak"], rtol=1e-6)
    np.testing.assert_array_equal(peaks[peaks > 0], score[peaks > 0])
    assert (images["max_filter"] >= images["log_filter"]).all()
    assert images["log_filter"].min() == 0
