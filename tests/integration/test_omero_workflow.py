"""OMERO through the real `snakemake`: plates go in once, images that live only there come out."""

import contextlib
import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("omero.gateway", reason="omero-py is not installed: run `make omero`")

import psutil
from omero_server.demo import upload_raw
from omero_server.logins import account, variables

from lib.omero.connection import connect
from lib.omero.import_plate import incomplete_plates
from lib.omero.inventory import inventory, write_sheets
from lib.omero.paths import ServerDisk
from lib.shared import layout
from lib.shared.image_io import read_image
from lib.shared.samples import Samples, read_phenotype_samples, read_sbs_samples

from .conftest import SMALL, Job, Screen, _simulate

pytest_plugins = ["omero_server.fixtures"]

PARAMETERS = replace(SMALL, phenotype=True)
RECEIPT = layout.OMERO_RECEIPT.format(plate="1")
DEADLINE_S = 300
RUNS = {"sbs aligned", "sbs nuclei", "sbs cells"}
RUNS |= {"phenotype aligned", "phenotype nuclei", "phenotype cells"}


@pytest.fixture(scope="module", autouse=True)
def _login(server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(server).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def imported(server, tmp_path_factory) -> Screen:
    """A screen that was killed while it was imported, and run again. Look, do not touch."""
    folder = tmp_path_factory.mktemp("imported")
    _simulate(folder, PARAMETERS)
    screen = Screen(folder)
    screen.configure(omero={"import": True, "run": "killed", "labels": "image", "tags": ["ops"]})
    server.do("fault", kind="hold_before", operation="setPlane", at=20)
    run = screen.start("all_omero", "--cores", "2")
    until = time.monotonic() + DEADLINE_S
    while server.do("report")["faults"][0]["seen"] < 20:
        assert run.poll() is None, (folder / "output.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert psutil.wait_procs(processes, DEADLINE_S)[1] == []
    assert not (screen.results / RECEIPT).exists()
    with connect(account(server)) as gateway:
        assert [name for _, name in incomplete_plates(gateway)] == ["P-1"]
    server.do("clear")
    assert screen.call("--unlock").returncode == 0
    screen.run("all_omero")
    return screen


@pytest.fixture
def copy(tmp_path, imported) -> Screen:
    return Screen(Path(shutil.copytree(imported.folder, tmp_path / "copy")))


def receipt(screen: Screen) -> dict:
    return json.loads((screen.results / RECEIPT).read_text())


def sheets(folder: Path) -> tuple[Samples, Samples]:
    with contextlib.chdir(folder):
        return (
            read_sbs_samples("sbs_samples.tsv"), read_phenotype_samples("phenotype_samples.tsv")
        )  # fmt: skip


def file_of(screen: Screen, name: str) -> Path:
    """The TIFF of an image that the server calls "sbs P-1_W-A1_T-0__aligned"."""
    module, stem = name.split(" ")
    return screen.results / module / "images" / f"{stem}.tiff"


def planes_of(gateway, number: int, image: np.ndarray) -> np.ndarray:
    """All planes of an image of the server, in the shape of (T, C, Y, X) or fewer axes."""
    pixels = gateway.getObject("Image", number).getPrimaryPixels()
    t, c = (1, 1, *image.shape[:-2])[-2:]
    return np.array([pixels.getPlane(0, c, t) for t, c in np.ndindex(t, c)]).reshape(image.shape)


@pytest.mark.slow
def test_a_screen_killed_while_it_is_imported_is_there_once(server, imported, gateway):
    made = receipt(imported)
    assert set(made["acquisitions"]) == RUNS
    count = server.do("count")
    assert {kind: count[kind] for kind in ("Plate", "Screen", "Well", "PlateAcquisition")} == {
        "Plate": 1, "Screen": 1, "Well": 1, "PlateAcquisition": len(RUNS),
    }  # fmt: skip
    tiles = [len(list(sheet.every_tile())) for sheet in sheets(imported.folder)]
    assert tiles[0] != tiles[1]
    assert count["Image"] == count["WellSample"] == len(made["images"]) == 3 * sum(tiles)
    assert server.do("orphans") == []
    assert incomplete_plates(gateway) == []
    for name, number in made["images"].items():
        image = read_image(file_of(imported, name))
        assert (planes_of(gateway, number, image) == image).all(), name


def test_tables_provenance_and_tags_are_there(imported, gateway):
    plate = gateway.getObject("Plate", receipt(imported)["plate"])
    assert [screen.getName() for screen in plate.listParents()] == ["killed"]
    annotations = list(plate.listAnnotations())
    files = {a.getFile().getName(): a.getFile() for a in annotations if hasattr(a, "getFile")}
    stages = [layout.SBS["call_reads"], layout.SBS["call_cells"]]
    stages += [layout.PHENOTYPE["merge_phenotype"]]
    tables = [imported.results / t.format(plate="1", well="A1") for paths in stages for t in paths]
    assert files.keys() == {path.name for path in tables}
    for path in tables:
        assert b"".join(files[path.name].getFileInChunks()) == path.read_bytes(), path
    (pairs,) = [dict(a.getValue()) for a in annotations if type(a).__name__.startswith("Map")]
    assert pairs["run"] == "killed"
    assert re.fullmatch("[0-9a-f]{64}", pairs["config_hash"])
    assert re.fullmatch("sha256:[0-9a-f]{64}", pairs["input barcode_library.tsv"])
    assert {"version", "time", "input sbs_samples.tsv", "input phenotype_samples.tsv"} <= set(pairs)
    assert [a.getValue() for a in annotations if type(a).__name__.startswith("Tag")] == ["ops"]


def test_a_second_run_does_nothing(server, copy):
    server.do("clear")
    assert copy.plan("all_omero") == set()
    copy.configure(omero={"replace": True, "local_roots": ["/mnt"]})
    assert copy.plan("all_omero") == set()
    assert server.do("report")["calls"] == {}
    copy.configure(omero={"tags": ["ops", "late"]})
    assert copy.plan("all_omero") == {Job("import_omero", "1")}


def test_what_an_import_needs_is_made_for_it(copy):
    stages = {"sbs": ["align_sbs", "max_filter"], "phenotype": []}
    copy.configure(omero={"stages": stages})
    assert {"detect_spots_images", "import_omero"} <= {job.rule for job in copy.plan()}
    copy.configure(omero={"import": False})
    assert not {"detect_spots_images", "import_omero"} & {job.rule for job in copy.plan()}
    assert {"detect_spots_images", "import_omero"} <= {job.rule for job in copy.plan("all_omero")}


def test_a_missing_login_is_told_before_any_job(copy, monkeypatch):
    for name in ("HOST", "PORT", "USER", "PASSWORD"):
        monkeypatch.delenv(f"OMERO_{name}")
    monkeypatch.setenv("HOME", str(copy.folder))
    done = copy.call("all_omero", "--cores", "1")
    assert done.returncode != 0
    assert "Error: config key omero.import is true. No OMERO server is named" in done.stdout
    assert "Traceback" not in done.stdout


def test_what_is_there_is_not_imported_again(server, imported, gateway):
    made, count = receipt(imported), server.do("count")
    (imported.results / RECEIPT).unlink()
    server.do("clear")
    imported.run("all_omero")
    assert receipt(imported) == made
    assert server.do("report")["pixel_bytes_in"] == 0
    kinds = ("Plate", "Image", "OriginalFile", "MapAnnotation", "TagAnnotation")
    assert [server.do("count")[kind] for kind in kinds] == [count[kind] for kind in kinds]


def test_other_results_of_the_same_name_need_leave(server, copy, gateway):
    old = receipt(copy)["plate"]
    copy.configure(omero={"run": "changed"})
    copy.run("all_omero")
    changed = receipt(copy)["plate"]
    assert changed != old
    copy.configure(omero={"labels": "zarr", "tables": False})
    done = copy.call("all_omero", "--cores", "2")
    assert done.returncode != 0
    assert "has other contents under the key poolscope/changed/P-1" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (copy.results / RECEIPT).exists()
    copy.configure(omero={"replace": True})
    copy.run("all_omero")
    assert set(receipt(copy)["acquisitions"]) == {"sbs aligned", "phenotype aligned"}
    assert gateway.getObject("Plate", changed) is None
    assert gateway.getObject("Plate", old) is not None
    assert server.do("orphans") == []


@pytest.mark.slow
@pytest.mark.parametrize("layout_of_stores", ["tile", "plate"])
def test_stores_are_registered_where_they_lie(server, copy, gateway, layout_of_stores):
    copy.configure(
        all={"omezarr_export_default": True, "omezarr_layout": layout_of_stores},
        preprocess={"omezarr_export": False},
        omero={"mode": "register", "labels": "masks", "run": f"in {layout_of_stores}s"},
    )
    server.do("clear")
    copy.run("all_omero")
    assert server.do("report")["pixel_bytes_in"] == 0
    made = receipt(copy)
    assert set(made["acquisitions"]) == {"sbs aligned", "phenotype aligned"}
    for name, number in made["images"].items():
        image = read_image(file_of(copy, name))
        assert (planes_of(gateway, number, image) == image).all(), name
        rois = gateway.getRoiService().findByImage(number, None).rois
        cells = read_image(file_of(copy, name.replace("aligned", "cells")))
        drawn = [roi for roi in rois if roi.getName().val.startswith("cells ")]
        assert len(drawn) == len(np.unique(cells[cells > 0]))
    assert server.do("orphans") == []


@pytest.fixture
def listed(server, tmp_path, small_raw, monkeypatch) -> Screen:
    """A screen whose sheet was made of a plate of images that have no files of their own."""
    screen = Screen(Path(shutil.copytree(small_raw, tmp_path / "screen")))
    monkeypatch.chdir(screen.folder)
    source = upload_raw(server, Path())
    with connect(account(server)) as gateway:
        rows = inventory(gateway, source, ServerDisk.of([server.folder]), Path("omero/images"))
    (screen.folder / "raw").rename(screen.folder / "kept")
    shutil.copy(screen.folder / "sbs_samples.tsv", screen.folder / "raw_samples.tsv")
    write_sheets(rows, screen.folder)
    screen.configure(omero={"local_roots": [str(server.folder)]})
    return screen


def converted(screen: Screen) -> list[str]:
    """The converted images of the first tile of the sheet."""
    plate, well, tile = next(read_sbs_samples(screen.folder / "sbs_samples.tsv").every_tile())
    (template,) = layout.PREPROCESS["convert_sbs"]
    places = [{"plate": plate, "well": well, "tile": tile, "cycle": c} for c in (1, 2, 3)]
    return [f"results/{template.format(**place)}" for place in places]


def test_images_that_live_on_the_server_are_fetched_when_they_are_needed(server, listed):
    files = converted(listed)
    server.do("clear")
    listed.run(*files)
    assert server.do("report")["pixel_bytes_out"] == 0
    fetched = list((listed.folder / "omero/images").iterdir())
    assert len(fetched) == SMALL.cycles
    raw = read_sbs_samples(listed.folder / "raw_samples.tsv", check_files=False)
    for cycle, path in enumerate(files, 1):
        (source,) = raw.sources(*next(raw.every_tile()), cycle)
        kept = listed.folder / source.path.replace("raw/", "kept/")
        assert (read_image(listed.folder / path) == read_image(kept)).all()
    assert listed.plan(*files) == set()
    assert {job.rule for job in listed.plan("all_preprocess")} >= {"fetch_omero_image"}


def test_what_cannot_be_fetched_is_told(listed):
    listed.configure(omero={"local_roots": []})
    done = listed.call(converted(listed)[0], "--cores", "1")
    assert done.returncode != 0
    assert "lies outside of the folders of omero.local_roots" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_wrong_login_is_told_before_any_job(copy, monkeypatch):
    monkeypatch.setenv("OMERO_PASSWORD", "guessed-badly")
    shutil.rmtree(copy.results / "logs")
    (copy.results / RECEIPT).unlink()
    assert copy.plan("all_omero") == {Job("import_omero", "1")}  # without the server
    done = copy.call("all_omero", "--cores", "1")
    assert done.returncode != 0
    assert "Error: OMERO at 127.0.0.1:" in done.stdout
    assert "refuses user alice: check user name, password and group" in done.stdout
    assert "Traceback" not in done.stdout
    assert "guessed-badly" not in done.stdout
    assert not (copy.results / "logs").exists()
    assert not (copy.results / RECEIPT).exists()
    # A run that has nothing to do with OMERO does not ask it, and nothing stayed locked.
    copy.run("cleanup_omezarr_sbs")


def test_a_missing_right_is_told_before_any_job(copy):
    shutil.rmtree(copy.results / "logs")
    copy.configure(omero={"source_plates": {"1": 4711}})
    done = copy.call("all_omero", "--cores", "1")
    assert done.returncode != 0
    assert "Error: OMERO has no plate 4711, or user alice may not read it." in done.stdout
    assert not (copy.results / "logs").exists()
