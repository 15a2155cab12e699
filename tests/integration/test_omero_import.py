"""Plates brought into OMERO: what stands there, once, whatever breaks off on the way."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("omero.gateway", reason="omero-py is not installed: run `make omero`")

import zarr
from omero_server.logins import account, variables
from omero_server.wire import QUIET

from lib.omero.connection import Account, LostSession, NoPermission, connect, work_connected
from lib.omero.import_files import describe_file, describe_store
from lib.omero.import_image import NAMESPACE, ChannelStyle, upload_planes
from lib.omero.import_plate import (
    FieldImage,
    PlateImport,
    delete_plate,
    import_plate,
    incomplete_plates,
    object_by_number,
    write_receipt,
)
from lib.omero.local_backend import OMEROLocalBackend
from lib.omero.paths import ServerDisk
from lib.shared.errors import InputError
from lib.shared.image_io import write_image

pytest_plugins = ["omero_server.fixtures"]

CHANNELS = ["DAPI", "G"]
WELLS = ("A1", "B3")
FIELDS = 2
# What a plate of these has, by type, and what one that is uploaded has besides.
WHOLE = {
    "Plate": 1, "PlateAcquisition": 1, "Well": 2, "WellSample": 4, "Image": 4, "Pixels": 4,
    "Channel": 8, "LogicalChannel": 8, "StatsInfo": 8, "RenderingDef": 4, "ChannelBinding": 8,
    "QuantumDef": 4, "ScreenPlateLink": 1, "PlateAnnotationLink": 3, "MapAnnotation": 1,
    "FileAnnotation": 1, "OriginalFile": 1,
}  # fmt: skip
# What one has with all that an import can make: a screen and a tag of its own, masks, and a
# source plate, which gets the map annotation and the tag too.
EVERYTHING = WHOLE | {
    "Screen": 1, "TagAnnotation": 1, "PlateAnnotationLink": 5, "Roi": 2, "Mask": 2,
}  # fmt: skip
STORES = {"upload": {}, "register": {"ExternalInfo": 4}}
BOOKKEEPING = {"Event", "Session"}  # the server's own, by call and by login


def coded(well: str, field: int) -> np.ndarray:
    """(T, C, Z, Y, X) in which every value tells where it is: well, field, t, c, z, y and x."""
    t, c, z, y, x = np.indices((3, 2, 2, 6, 5))
    first = WELLS.index(well) * FIELDS + field
    return (((((first * 3 + t) * 2 + c) * 2 + z) * 6 + y) * 5 + x).astype(np.uint16)


def write_tile(path: Path, planes: np.ndarray) -> None:
    write_image(path, planes.swapaxes(1, 2), "TZCYX", (0.5, 0.4), CHANNELS)


def small_plate(folder: Path, key: str, **changes) -> PlateImport:
    """Two wells of two fields, with one table, in files under `folder`."""
    images = []
    for well in WELLS:
        for field in range(FIELDS):
            name = f"P-1_W-{well}_T-{field}"
            path = folder / f"{name}.tiff"
            if not path.exists():
                write_tile(path, coded(well, field))
            described = describe_file(path, name)
            images.append(FieldImage(described, well, "aligned", path, (10.0 * field, 2.5)))
    table = folder / "P-1__reads.tsv"
    if not table.exists():
        table.write_text("read\tbarcode\n1\tACGT\n")
    plan = PlateImport(
        key, "P-1", tuple(images), (table,), {"version": "0.1", "commit": "abc"}, "screen", ("ops",)
    )
    return replace(plan, **changes)


def counts(server) -> dict[str, int]:
    """How many objects of every type there are, but for those by which the server keeps books."""
    return {kind: n for kind, n in server.do("count").items() if kind not in BOOKKEEPING}


def plus(before: dict[str, int], plates: int, made: dict[str, int] = WHOLE) -> dict[str, int]:
    return before | {kind: before.get(kind, 0) + plates * n for kind, n in made.items()}


class Bringer:
    """Imports plates into the test server or a real one, and removes them again."""

    def __init__(self, gateway) -> None:
        self.gateway, self._made = gateway, {}

    def __call__(self, plan: PlateImport) -> dict:
        receipt = import_plate(self.gateway, plan, "upload")
        self._made[receipt["plate"]] = True
        return receipt

    def remove(self) -> None:
        for number in self._made:
            delete_plate(self.gateway, number)


@pytest.fixture
def bring(place):
    with connect(place) as gateway:
        bringer = Bringer(gateway)
        yield bringer
        bringer.remove()


def test_a_plate_stands_as_it_was_planned(place, tmp_path):
    plan = small_plate(tmp_path, "stands")
    with connect(place) as gateway:
        receipt = import_plate(gateway, plan, "upload")
        plate = gateway.getObject("Plate", receipt["plate"])
        assert plate.getName() == "P-1"
        assert plate.getStatus().startswith("complete")
        assert [screen.getName() for screen in plate.listParents()] == ["screen"]
        wells = {well.getWellPos(): well for well in plate.listChildren()}
        assert set(wells) == set(WELLS)
        assert receipt["wells"] == {name: well.getId() for name, well in wells.items()}
        for name, well in wells.items():
            samples = list(well.listChildren())
            assert [sample.getPosY().getValue() for sample in samples] == [0, 10]
            for field, sample in enumerate(samples):
                image = sample.getImage()
                assert image.getName() == f"P-1_W-{name}_T-{field}"
                assert receipt["images"][image.getName()] == image.getId()
                _check_image(image, coded(name, field))
        annotations = {type(a).__name__: a for a in plate.listAnnotations()}
        pairs = dict(annotations["MapAnnotationWrapper"].getValue())
        assert pairs["version"] == "0.1"
        assert pairs["results plate"] == str(receipt["plate"])
        assert annotations["TagAnnotationWrapper"].getValue() == "ops"
        file = annotations["FileAnnotationWrapper"]
        table = plan.tables[0].read_bytes()
        assert b"".join(file.getFileInChunks()) == table
        assert file.getFile().getHash() == hashlib.sha1(table).hexdigest()
        delete_plate(gateway, receipt["plate"])
        assert gateway.getObject("Plate", receipt["plate"]) is None


def _check_image(image, planes):
    pixels = image.getPrimaryPixels()
    for t, c, z in np.ndindex(planes.shape[:3]):
        assert (pixels.getPlane(z, c, t) == planes[t, c, z]).all()
    assert image.getPixelSizeY() == pytest.approx(0.5)
    assert image.getPixelSizeX() == pytest.approx(0.4)
    dapi, green = image.getChannels()
    assert [dapi.getLabel(), green.getLabel()] == CHANNELS
    assert [dapi.getColor().getHtml(), green.getColor().getHtml()] == ["0000FF", "00FF00"]
    assert (dapi.getWindowStart(), dapi.getWindowEnd()) == (0, 65535)


def test_ezomero_finds_the_wells_and_pixels(bring, tmp_path):
    ezomero = pytest.importorskip("ezomero", reason="ezomero is not installed")
    receipt = bring(small_plate(tmp_path, "ezomero"))
    assert sorted(ezomero.get_well_ids(bring.gateway, plate=receipt["plate"])) == sorted(
        receipt["wells"].values()
    )
    number = receipt["images"]["P-1_W-B3_T-1"]
    _, image = ezomero.get_image(bring.gateway, number)  # t, z, y, x, c
    assert (image == coded("B3", 1).transpose(0, 2, 3, 4, 1)).all()


def test_omero_cli_zarr_exports_the_plate(cli, gateway, tmp_path):
    pytest.importorskip("omero_zarr", reason="omero-cli-zarr is not installed")
    receipt = import_plate(gateway, small_plate(tmp_path, "exported"), "upload")
    cli("zarr", "export", f"Plate:{receipt['plate']}")
    (path,) = cli.home.glob("*.zarr")
    group = zarr.open_group(path, mode="r")
    attributes = group.attrs.get("ome", group.attrs)
    assert sorted(well["path"] for well in attributes["plate"]["wells"]) == ["A/1", "B/3"]
    for well, place in (("A1", "A/1"), ("B3", "B/3")):
        row, column = place.split("/")
        fields = sorted(group[row][column].groups())
        assert len(fields) == FIELDS
        for number, (_, field) in enumerate(fields):
            attributes = field.attrs.get("ome", field.attrs)
            level = field[attributes["multiscales"][0]["datasets"][0]["path"]]
            assert (level[:] == coded(well, number)).all()


def test_the_same_again_is_the_same_plate(bring, tmp_path):
    plan = small_plate(tmp_path, "same")
    assert bring(plan) == bring(plan)


def test_a_second_import_makes_nothing(server, gateway, tmp_path):
    plan = small_plate(tmp_path, "twice")
    first = import_plate(gateway, plan, "upload")
    before = counts(server)
    server.do("clear")
    assert import_plate(gateway, plan, "upload") == first
    assert counts(server) == before
    report = server.do("report")
    assert report["pixel_bytes_in"] == 0
    assert not {"saveObject", "saveAndReturnObject", "saveAndReturnArray"} & set(report["calls"])


def test_fields_of_a_well_may_take_several_calls(server, gateway, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.omero.import_plate.FIELDS_IN_A_CALL", 1)
    before = counts(server)
    receipt = import_plate(gateway, small_plate(tmp_path, "by ones"), "upload")
    assert counts(server) == plus(before, 1)
    _check_pixels(gateway, server, receipt)


@pytest.mark.parametrize("fields_in_a_call", [1, 64])
def test_what_breaks_on_our_side_is_resumed(bring, tmp_path, monkeypatch, fields_in_a_call):
    """Faults need the test server; this one is for a real one, too."""
    monkeypatch.setattr("lib.omero.import_plate.FIELDS_IN_A_CALL", fields_in_a_call)
    plan, planes = small_plate(tmp_path, f"ours {fields_in_a_call}"), []

    def break_off(gateway, pixels_id, shape, dtype, read):
        def counted(*place):
            planes.append(place)
            if len(planes) == 15:  # of the second image
                raise OSError("the disk is gone")
            return read(*place)

        upload_planes(gateway, pixels_id, shape, dtype, counted)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is gone"):
        patch.setattr("lib.omero.import_plate.upload_planes", break_off)
        bring(plan)
    plate = bring.gateway.getObject("Plate", bring(plan)["plate"])
    for well in plate.listChildren():
        name = well.getWellPos()
        for field, sample in enumerate(well.listChildren()):
            assert sample.getImage().getName() == f"P-1_W-{name}_T-{field}"
            _check_image(sample.getImage(), coded(name, field))


def test_what_was_sent_is_not_sent_again(server, tmp_path):
    plan = small_plate(tmp_path, "sent")
    one_image = coded("A1", 0).nbytes
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=15)  # of the second image
    with pytest.raises(LostSession), connect(account(server)) as gateway:
        import_plate(gateway, plan, "upload")
    server.do("clear")
    with connect(account(server)) as gateway:
        receipt = import_plate(gateway, plan, "upload")
        assert server.do("report")["pixel_bytes_in"] == 3 * one_image
        _check_pixels(gateway, server, receipt)


def test_a_lost_session_is_made_up_for_by_another(server, tmp_path):
    plan, login = small_plate(tmp_path, "again"), account(server)
    before = counts(server)
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=15)
    receipt = work_connected(lambda gateway: import_plate(gateway, plan, "upload"), login)
    assert counts(server) == plus(before, 1)
    with connect(login) as gateway:
        _check_pixels(gateway, server, receipt)

    def lose(gateway):
        tried.append(gateway)
        raise LostSession("lost")

    tried = []
    with pytest.raises(LostSession):
        work_connected(lose, login)
    assert len(tried) == 3


def test_tags_may_come_later(server, gateway, tmp_path):
    first = import_plate(gateway, small_plate(tmp_path, "tagged", tags=()), "upload")
    before = counts(server)
    later = import_plate(gateway, small_plate(tmp_path, "tagged", tags=("late",)), "upload")
    assert (later["plate"], later["images"]) == (first["plate"], first["images"])
    assert counts(server) == plus(before, 1, {"TagAnnotation": 1, "PlateAnnotationLink": 1})
    plate = gateway.getObject("Plate", later["plate"])
    assert "late" in [a.getValue() for a in plate.listAnnotations()]


def test_a_well_that_came_late_is_not_there_twice(server, tmp_path):
    from lib.omero.import_plate import _FieldSaver

    before = counts(server)
    plan = small_plate(tmp_path, "late")
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=15)
    with pytest.raises(LostSession), connect(account(server)) as gateway:
        import_plate(gateway, plan, "upload")
    with connect(account(server)) as gateway:
        ((number, _),) = incomplete_plates(gateway)
        late = [entry for entry in plan.images if entry.well == "A1"]
        _FieldSaver(gateway, number)("A1", None, late)
        receipt = import_plate(gateway, plan, "upload")
        _check_pixels(gateway, server, receipt)
    assert counts(server) == plus(before, 1)
    assert server.do("orphans") == []


def test_a_source_plate_of_another_group_is_told(server, tmp_path):
    with connect(account(server, "alice", "team")) as gateway:
        source = import_plate(gateway, small_plate(tmp_path, "team's"), "upload")["plate"]
    plan = small_plate(tmp_path, "across", source_plate=source)
    with connect(account(server)) as gateway:
        before = counts(server)
        with pytest.raises(InputError, match="in the OMERO group team"):
            import_plate(gateway, plan, "upload")
        assert counts(server) == before


def test_other_contents_need_leave_to_replace(server, gateway, tmp_path):
    old = import_plate(gateway, small_plate(tmp_path, "replace"), "upload")
    write_tile(tmp_path / "P-1_W-A1_T-0.tiff", coded("B3", 1))
    before = counts(server)
    plan = small_plate(tmp_path, "replace")
    with pytest.raises(InputError, match=r"has other contents .*omero\.replace"):
        import_plate(gateway, plan, "upload")
    assert counts(server) == before
    new = import_plate(gateway, plan, "upload", replace=True)
    assert counts(server) == before
    assert new["plate"] != old["plate"]
    assert gateway.getObject("Plate", old["plate"]) is None
    assert server.do("orphans") == []


def store(path: Path, planes: np.ndarray) -> None:
    """Write an OME-Zarr 0.4 of (C, Y, X) with two levels."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=planes, chunks=planes.shape)
    small = planes[:, ::2, ::2]
    group.create_array("1", data=small, chunks=small.shape)
    space = {"type": "space", "unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, {"name": "y"} | space, {"name": "x"} | space]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [1, size, size]}],
        }
        for level, size in enumerate((0.5, 1.0))
    ]
    channels = [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 3, "end": 77}},
        {"label": "G", "color": "FF8000", "window": {"start": 1, "end": 88}},
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["omero"] = {"channels": channels}


def registered_plate(folder: Path, key: str) -> tuple[PlateImport, dict[str, np.ndarray]]:
    images, planes = [], {}
    for well in WELLS:
        for field in range(FIELDS):
            name = f"P-1_W-{well}_T-{field}"
            planes[name] = coded(well, field)[0, :, 0].copy()
            path = folder / f"{name}.ome.zarr"
            if not path.exists():
                store(path, planes[name])
            images.append(FieldImage(describe_store(path, name), well, "aligned", path))
    return PlateImport(key, "P-1", tuple(images)), planes


def test_a_registered_plate_is_read_in_place(server, gateway, tmp_path):
    plan, planes = registered_plate(tmp_path, "registered")
    server.do("clear")
    receipt = import_plate(gateway, plan, "register")
    assert server.do("report")["pixel_bytes_in"] == 0
    backend = OMEROLocalBackend(gateway, ServerDisk.of([tmp_path]))
    for name, number in receipt["images"].items():
        image = gateway.getObject("Image", number)
        pixels = image.getPrimaryPixels()
        for c in range(2):
            assert (pixels.getPlane(0, c, 0) == planes[name][c]).all()
        dapi, green = image.getChannels()
        assert (dapi.getWindowStart(), dapi.getWindowEnd()) == (3, 77)
        assert (green.getColor().getHtml(), green.getWindowEnd()) == ("FF8000", 88)
        assert backend.locate(number).kind == "ngff"
        assert (backend.load(number) == planes[name][None]).all()
    delete_plate(gateway, receipt["plate"])
    assert all(Path(entry.image.store).exists() for entry in plan.images)
    assert server.do("orphans") == []


def test_the_stores_of_a_run_are_registered(gateway, tmp_path):
    from lib.omero.import_results import plan_results
    from lib.shared import layout
    from lib.shared.omezarr_utils import write_multiscale_omezarr

    image = np.arange(2 * 3 * 41 * 57, dtype=np.uint16).reshape(2, 3, 41, 57)
    labels = np.arange(2 * 41 * 57, dtype=np.int32).reshape(2, 41, 57)
    place = {"plate": "1", "well": "C7", "tile": "5"}
    options = {"chunk_shape": (1, 16, 16), "max_levels": 3}
    for stage, planes, names in (
        ("align_sbs", image, ["DAPI", "G", "T"]),
        ("segment_sbs", labels, ["nuclei", "cells"]),
    ):
        path = tmp_path / layout.OMEZARR["sbs"][stage].format(**place)
        write_multiscale_omezarr(planes, path, (0.5, 0.5), channel_labels=names, **options)
    plan = plan_results(
        tmp_path, "1", {"sbs": [("C7", "5")]}, {"sbs": ["align_sbs", "segment_sbs"]}, "register",
        "image", screen_key="stores",
    )  # fmt: skip
    receipt = import_plate(gateway, plan, "register")
    assert set(receipt["acquisitions"]) == {"sbs aligned", "sbs segmentation"}
    aligned, segmented = (gateway.getObject("Image", n) for n in receipt["images"].values())
    for t, c in np.ndindex(2, 3):
        assert (aligned.getPrimaryPixels().getPlane(0, c, t) == image[t, c]).all()
    for c in range(2):
        assert (segmented.getPrimaryPixels().getPlane(0, c, 0) == labels[c]).all()
    assert [c.getLabel() for c in aligned.getChannels()] == ["DAPI", "G", "T"]


def test_labels_become_masks_up_to_a_cap(bring, tmp_path):
    labels = np.zeros((6, 5), np.int32)
    labels[:2, :2], labels[3, 4], labels[5, 0] = 1, 2, 3
    write_image(tmp_path / "cells.tiff", labels, "YX")
    plan = small_plate(tmp_path, "masks", mask_cap=2)
    first, *others = plan.images
    masked = replace(first, masks=(("cells", tmp_path / "cells.tiff"),))
    plan = replace(plan, images=(masked, *others))
    receipt = bring(plan)
    found = bring.gateway.getRoiService().findByImage(receipt["images"][first.image.name], None)
    names = [roi.getName().val for roi in found.rois]
    assert names == ["cells 1", "cells 2"]
    (shape,) = found.rois[0].copyShapes()
    assert (shape.getWidth().val, shape.getHeight().val) == (2, 2)
    assert np.unpackbits(np.frombuffer(shape.getBytes(), np.uint8))[:4].tolist() == [1, 1, 1, 1]


def test_the_source_plate_gets_the_annotation_and_the_tags(bring, tmp_path):
    source = bring(small_plate(tmp_path, "source", tags=()))["plate"]
    receipt = bring(small_plate(tmp_path, "of source", source_plate=source))
    annotations = list(bring.gateway.getObject("Plate", source).listAnnotations())
    tags = [a.getValue() for a in annotations if type(a).__name__ == "TagAnnotationWrapper"]
    assert tags == ["ops"]
    pairs = [dict(a.getValue()) for a in annotations if type(a).__name__ == "MapAnnotationWrapper"]
    assert {"source plate": str(source), "results plate": str(receipt["plate"])}.items() <= pairs[
        -1
    ].items()


@pytest.mark.parametrize(
    ("user", "words"), [("bob", "may not annotate"), ("carol", "may not read")]
)
def test_who_may_not_write_beside_the_source_makes_nothing(server, gateway, tmp_path, user, words):
    source = import_plate(gateway, small_plate(tmp_path, f"of {user}"), "upload")["plate"]
    plan = small_plate(tmp_path, "beside", source_plate=source)
    before = counts(server)
    with connect(account(server, user)) as other, pytest.raises(NoPermission, match=words):
        import_plate(other, plan, "upload")
    assert counts(server) == before


def test_a_refused_write_is_told_and_leaves_the_plate_incomplete(server, tmp_path):
    plan = small_plate(tmp_path, "refused")
    server.do("clear")
    server.do("fault", kind="refuse", operation="setPlane", at=5)
    with pytest.raises(NoPermission, match="does not permit"), connect(account(server)) as gateway:
        import_plate(gateway, plan, "upload")
    with connect(account(server)) as gateway:
        (left,) = incomplete_plates(gateway)
        assert left[1] == "P-1"
        delete_plate(gateway, left[0])
        assert incomplete_plates(gateway) == []
    assert server.do("orphans") == []


def test_the_command_line_removes_what_was_not_finished(server, tmp_path, monkeypatch, capsys):
    from lib.omero.__main__ import main

    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables(server).items():
        monkeypatch.setenv(name, value)
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=2)
    with pytest.raises(LostSession), connect(account(server)) as gateway:
        import_plate(gateway, small_plate(tmp_path, "left"), "upload")
    assert main(["clean", "--list"]) == 0
    assert "incomplete: " in capsys.readouterr().out
    assert main(["clean"]) == 0
    assert "removed: " in capsys.readouterr().out
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == ""


def test_a_plate_of_somebody_else_is_not_cleaned(gateway):
    import omero.model
    from omero.rtypes import rstring

    plate = omero.model.PlateI()
    plate.setName(rstring("raw data"))
    number = gateway.getUpdateService().saveAndReturnObject(plate).id.val
    with pytest.raises(InputError, match="not made by Poolscope"):
        delete_plate(gateway, number)
    assert gateway.getObject("Plate", number) is not None
    gateway.deleteObjects("Plate", [number], wait=True)


def full_plate(folder: Path, key: str, mode: str, source: int) -> PlateImport:
    """A plate that makes everything an import can make, in files under `folder`."""
    plan = small_plate(folder, key, screen=key, tags=(key,), source_plate=source, mask_cap=2)
    if mode == "register":
        plan = replace(plan, images=registered_plate(folder, key)[0].images)
    labels = folder / "cells.tiff"
    if not labels.exists():
        write_image(labels, np.arange(30, dtype=np.int32).reshape(6, 5), "YX")
    first, *others = plan.images
    return replace(plan, images=(replace(first, masks=(("cells", labels),)), *others))


@pytest.fixture
def source(server, tmp_path) -> int:
    """A plate of raw images."""
    with connect(account(server)) as gateway:
        plan = small_plate(tmp_path, f"source of {tmp_path.name}", screen=None, tags=())
        return import_plate(gateway, plan, "upload")["plate"]


@pytest.mark.parametrize("mode", ["upload", "register"])
def test_dropped_connections_leave_no_trace(server, source, tmp_path, mode):
    """25 imports, each broken off at a random call, before or after its work was done.

    The next attempt may break off too; the one after that has to make up for all.
    """
    rng = np.random.default_rng(3)
    before = counts(server)
    n_calls = _working_calls(server, full_plate(tmp_path, f"whole {mode}", mode, source), mode)
    made = EVERYTHING | STORES[mode]
    assert counts(server) == plus(before, 1, made)
    before, broken = counts(server), []
    for number in range(25):
        plan = full_plate(tmp_path, f"dropped {mode}/{number}", mode, source)
        for kind in rng.permutation(["drop_before", "drop_after"]):
            server.do("clear")
            server.do("fault", kind=str(kind), at=int(rng.integers(1, n_calls)))
            try:
                with connect(account(server)) as gateway:
                    import_plate(gateway, plan, mode)
            except LostSession:
                broken.append(number)
        _check_resumed(server, plan, mode)
    assert set(broken) == set(range(25))
    assert len(broken) > 25
    assert counts(server) == plus(before, 25, made)
    assert server.do("orphans") == []


def _check_resumed(server, plan: PlateImport, mode: str) -> None:
    """Import again what broke off: then nothing is missing, and no plate is left unfinished."""
    server.do("clear")
    with connect(account(server)) as gateway:
        receipt = import_plate(gateway, plan, mode)
        assert incomplete_plates(gateway) == []
        assert set(receipt["images"]) == {entry.image.name for entry in plan.images}
        plate = gateway.getObject("Plate", receipt["plate"])
        (file,) = [a for a in plate.listAnnotations() if hasattr(a, "getFileInChunks")]
        assert b"".join(file.getFileInChunks()) == plan.tables[0].read_bytes()
        if mode == "upload":
            _check_pixels(gateway, server, receipt)


def _check_pixels(gateway, server, receipt) -> None:
    """Every plane of every image is there, by the bytes on the server's disk."""
    backend = OMEROLocalBackend(gateway, ServerDisk.of([server.folder]))
    for well in WELLS:
        for field in range(FIELDS):
            number = receipt["images"][f"P-1_W-{well}_T-{field}"]
            for time_point, planes in enumerate(coded(well, field)):
                assert (backend.load(number, time=time_point) == planes.swapaxes(0, 1)).all()


def _working_calls(server, plan: PlateImport, mode: str) -> int:
    """Import a plate; returns the number of calls, as faults count them."""
    with connect(account(server)) as gateway:
        server.do("clear")
        import_plate(gateway, plan, mode)
    calls = server.do("report")["calls"]
    return sum(number for name, number in calls.items() if name not in QUIET)


def import_in_a_process(folder: str, key: str, mode: str, source: str, port: str) -> None:
    """What `test_killed_imports_leave_no_trace` kills."""
    login = Account("127.0.0.1", int(port), None, "alice", os.environ["OMERO_PASSWORD"])
    with connect(login) as gateway:
        import_plate(gateway, full_plate(Path(folder), key, mode, int(source)), mode)


@pytest.mark.parametrize("mode", ["upload", "register"])
def test_killed_imports_leave_no_trace(server, source, tmp_path, mode):
    """2 processes killed at a random call of an import, before or after its work was done."""
    rng = np.random.default_rng(4)
    tests, repository = Path(__file__).parents[1], Path(__file__).parents[2]
    code = (
        "import sys; from integration.test_omero_import import import_in_a_process as run; "
        "run(*sys.argv[1:])"
    )
    environ = os.environ | {
        "PYTHONPATH": f"{tests}:{repository}",
        "OMERO_PASSWORD": server.users["alice"]["password"],
    }
    n_calls = _working_calls(server, full_plate(tmp_path, f"not killed {mode}", mode, source), mode)
    before = counts(server)
    for number, kind in enumerate(("hold_before", "hold_after")):
        key = f"killed {mode}/{number}"
        server.do("clear")
        at = int(rng.integers(1, n_calls))
        server.do("fault", kind=kind, at=at)
        arguments = [str(tmp_path), key, mode, str(source), str(server.port)]
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environ)
        while server.do("report")["faults"][0]["seen"] < at:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _check_resumed(server, full_plate(tmp_path, key, mode, source), mode)
    assert counts(server) == plus(before, 2, EVERYTHING | STORES[mode])
    assert server.do("orphans") == []


# Places where an import is weak, each broken off again and again: (mode, fields in a call,
# faults). A field that was begun is deleted by "submit", and one is added by "findByQuery".
WEAK = {
    "deleting what was begun": ("upload", 64, [
        ("drop_before", "setPlane", 15), ("drop_before", "submit", 1), ("drop_after", "submit", 1),
    ]),
    "sending": ("upload", 64, [
        ("drop_after", "setPlane", 1), ("drop_after", "save", 1), ("expire", "setPlane", 20),
    ]),
    "adding fields to send": ("upload", 1, [
        ("drop_after", "saveAndReturnObject", 3), ("drop_before", "saveAndReturnObject", 2),
        ("drop_before", "findByQuery", 1),
    ]),
    "adding fields": ("register", 1, [
        ("drop_after", "saveAndReturnObject", 3), ("drop_before", "findByQuery", 1),
        ("drop_after", "saveObject", 1),
    ]),
    "attaching": ("register", 64, [
        ("drop_before", "write", 1), ("drop_after", "write", 1), ("drop_after", "setFileId", 1),
        ("drop_after", "saveAndReturnArray", 1),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("weak", WEAK)
def test_what_breaks_at_a_weak_place_is_made_up_for(server, source, tmp_path, monkeypatch, weak):
    mode, fields_in_a_call, faults = WEAK[weak]
    monkeypatch.setattr("lib.omero.import_plate.FIELDS_IN_A_CALL", fields_in_a_call)
    before = counts(server)
    plan = full_plate(tmp_path, weak, mode, source)
    for kind, operation, at in faults:
        server.do("clear")
        server.do("fault", kind=kind, operation=operation, at=at)
        with pytest.raises(LostSession), connect(account(server)) as gateway:
            import_plate(gateway, plan, mode)
    _check_resumed(server, plan, mode)
    assert counts(server) == plus(before, 1, EVERYTHING | STORES[mode])
    assert server.do("orphans") == []


def test_fields_keep_their_order_when_some_are_made_anew(server, tmp_path):
    plan = small_plate(tmp_path, "ordered")
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=15)  # of the second image
    with pytest.raises(LostSession), connect(account(server)) as gateway:
        import_plate(gateway, plan, "upload")
    server.do("clear")
    with connect(account(server)) as gateway:
        plate = gateway.getObject("Plate", import_plate(gateway, plan, "upload")["plate"])
        for well in plate.listChildren():
            names = [sample.getImage().getName() for sample in well.listChildren()]
            assert names == [f"P-1_W-{well.getWellPos()}_T-{field}" for field in range(FIELDS)]


def test_a_plate_that_was_worked_at_by_two_is_not_called_complete(server, tmp_path):
    from lib.omero.import_plate import _FieldSaver

    plan = small_plate(tmp_path, "two at once")
    server.do("clear")
    server.do("fault", kind="drop_before", operation="setPlane", at=15)
    with pytest.raises(LostSession), connect(account(server)) as gateway:
        import_plate(gateway, plan, "upload")
    with connect(account(server)) as gateway:
        ((number, _),) = incomplete_plates(gateway)
        first = replace(plan.images[0].image, name="somebody else's")
        _FieldSaver(gateway, number)("C5", None, [replace(plan.images[0], image=first)])
        with pytest.raises(InputError, match=f"plate {number} has 5 images, not 4: did another"):
            import_plate(gateway, plan, "upload")
        assert [found for found, _ in incomplete_plates(gateway)] == [number]
        delete_plate(gateway, number)


@pytest.mark.parametrize("group", [None, "team"])
def test_what_is_removed_is_no_longer_told_of(server, tmp_path, group):
    login = account(server, "alice", group)
    with connect(login) as gateway:
        raw = small_plate(tmp_path, f"raw {group}", screen=None, tags=())
        source = import_plate(gateway, raw, "upload")["plate"]
    plan = small_plate(tmp_path, f"removed {group}", source_plate=source)
    server.do("clear")
    server.do("fault", kind="drop_before", operation="saveAndReturnArray", at=2)  # of the tag
    with pytest.raises(LostSession), connect(login) as gateway:
        import_plate(gateway, plan, "upload")
    server.do("clear")
    with connect(account(server)) as gateway:  # whichever group it works in
        kept, gone = _told(gateway, source), incomplete_plates(gateway)
        assert len(kept) == 2
        for number, _ in gone:
            delete_plate(gateway, number)
        assert len(gone) == 1
        assert _told(gateway, source) == [kept[0]]  # its own
    assert server.do("orphans") == []


def _told(gateway, plate: int) -> list[str]:
    """The results plates that the provenance of a plate names."""
    annotations = object_by_number(gateway, "Plate", plate).listAnnotations(NAMESPACE)
    return [dict(annotation.getValue())["results plate"] for annotation in annotations]


def test_a_receipt_is_json(bring, tmp_path):
    receipt = bring(small_plate(tmp_path, "receipt"))
    write_receipt(tmp_path / "omero/P-1__receipt.json", receipt)
    assert json.loads((tmp_path / "omero/P-1__receipt.json").read_text()) == receipt


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": ()}, "no image to import"),
        ({"name": "n" * 300}, "at most 255 characters"),
        ({"tables": (Path("none.tsv"),)}, "none.tsv does not exist"),
    ],
)
def test_a_wrong_plan_is_told_before_anything_is_made(server, gateway, tmp_path, changes, words):
    before = counts(server)
    with pytest.raises(InputError, match=words):
        import_plate(gateway, small_plate(tmp_path, "wrong", **changes), "upload")
    assert counts(server) == before


def test_a_name_given_twice_is_told(gateway, tmp_path):
    plan = small_plate(tmp_path, "same names")
    with pytest.raises(InputError, match="2 images of P-1 are called"):
        import_plate(gateway, replace(plan, images=(*plan.images, plan.images[0])), "upload")


def test_a_window_that_is_given_is_kept(bring, tmp_path):
    plan = small_plate(tmp_path, "windows")
    styles = (ChannelStyle("DAPI", "00FFFF", (5, 50)), ChannelStyle("G", "FF0000", (6, 60)))
    images = tuple(
        replace(entry, image=replace(entry.image, channels=styles)) for entry in plan.images
    )
    receipt = bring(replace(plan, images=images))
    image = bring.gateway.getObject("Image", receipt["images"]["P-1_W-A1_T-0"])
    shown = [(c.getColor().getHtml(), c.getWindowStart(), c.getWindowEnd()) for c in
             image.getChannels()]  # fmt: skip
    assert shown == [("00FFFF", 5, 50), ("FF0000", 6, 60)]
