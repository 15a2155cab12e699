"""The check finds every fault that a store can have, and none in a sound one."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr

from lib.shared.omezarr.check import check_store
from lib.shared.omezarr_utils import main, write_multiscale_omezarr

RANDOM = np.random.default_rng(8)
IMAGE = RANDOM.integers(100, 5000, (2, 60, 50)).astype(np.uint16)
NUCLEI = RANDOM.integers(0, 30, (60, 50)).astype(np.int32)


@pytest.fixture(scope="module", params=["0.4", "0.5", "0.5 sharded"])
def sound(request, tmp_path_factory):
    """A sound store of two channels and two levels, with nuclei."""
    version, _, sharded = request.param.partition(" ")
    path = tmp_path_factory.mktemp("sound") / "a.ome.zarr"
    write_multiscale_omezarr(
        IMAGE, path, (0.5, 0.5), (1, 32, 32), channel_labels=["DAPI", "GFP"],
        labels={"nuclei": NUCLEI}, version=version, sharded=bool(sharded),
    )  # fmt: skip
    return path


@pytest.fixture
def store(sound, tmp_path):
    return Store(shutil.copytree(sound, tmp_path / "a.ome.zarr"))


class Store:
    """A store to be damaged."""

    def __init__(self, path):
        self.path = path
        self.v2 = (path / ".zgroup").is_file()
        self.sharded = not self.v2 and not (path / "scale0/c/0/1").is_dir()

    def chunk(self, level="scale0"):
        folder = self.path / level
        return folder / (("0/0" if level.count("/") else "0/0/0") if self.v2 else self._v3(level))

    def _v3(self, level):
        return "c/0/0" if level.count("/") else "c/0/0/0"

    def edit(self, change, group=""):
        """Change the NGFF attributes of a group."""
        name = self.path / group / (".zattrs" if self.v2 else "zarr.json")
        content = json.loads(name.read_text())
        change(content if self.v2 else content["attributes"]["ome"])
        name.write_text(json.dumps(content))

    def edit_array(self, change, level="scale0"):
        name = self.path / level / (".zarray" if self.v2 else "zarr.json")
        content = json.loads(name.read_text())
        change(content)
        name.write_text(json.dumps(content))

    def change_type(self, name):
        """Let all levels be read as another type."""
        key, value = ("dtype", np.dtype(name).str) if self.v2 else ("data_type", name)
        for level in ("scale0", "scale1"):
            self.edit_array(lambda array: set_in(array, key, value), level)

    def rewrite(self, level, change):
        """Write other pixels into a level, as soundly as zarr-python does."""
        array = zarr.open_array(self.path / level, mode="r+")
        pixels = array[...]
        change(pixels)
        array[...] = pixels


def multiscale(ome):
    return ome["multiscales"][0]


def swap(items, a, b):
    items[a], items[b] = items[b], items[a]


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def garble(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def set_in(container, key, value):
    container[key] = value


def unused_value(pixels):
    pixels[0, 0] = 12345


def one_higher(pixels):
    pixels[..., 3, 3] += 1


# Name of the fault, what makes it, and words that must be in what is said of it.
FAULTS = {
    "missing chunk": (lambda s: remove(s.chunk()), "lacks 1 of"),
    "missing chunk of a label": (lambda s: remove(s.chunk("labels/nuclei/scale1")), "lacks 1 of"),
    "chunk cut short": (lambda s: cut(s.chunk()), "scale0"),
    "empty chunk": (lambda s: s.chunk("scale1").write_bytes(b""), "scale1"),
    "garbled chunk": (lambda s: garble(s.chunk()), "scale0"),
    "file that is no chunk": (lambda s: (s.path / "scale0/x.tmp").touch(), "no chunks"),
    "other pixels": (lambda s: s.rewrite("scale0", one_higher), "checksum differs"),
    "level of another image": (lambda s: s.rewrite("scale1", one_higher), "does not follow"),
    "invented label": (lambda s: s.rewrite("labels/nuclei/scale1", unused_value), "not follow"),
    "missing level": (lambda s: remove(s.path / "scale1"), "lacks the level scale1"),
    "level without metadata": (
        lambda s: remove(s.path / "scale1" / (".zarray" if s.v2 else "zarr.json")),
        "lacks the level scale1",
    ),
    "unknown codec": (
        lambda s: s.edit_array(
            lambda a: (a["compressor"] if s.v2 else a["codecs"][0]).update(id="x", name="x")
        ),
        "cannot be opened",
    ),
    "levels of two types": (
        lambda s: s.edit_array(
            lambda a: a.update(dtype="<i2") if s.v2 else a.update(data_type="int16"), "scale1"
        ),
        "of int16",
    ),
    "all levels of another type": (lambda s: s.change_type("int16"), "was written as uint16"),
    "axes out of order": (lambda s: s.edit(lambda o: swap(multiscale(o)["axes"], 1, 2)), "axes"),
    "an axis too few": (lambda s: s.edit(lambda o: multiscale(o)["axes"].pop(0)), "dimensions"),
    "type of an axis": (
        lambda s: s.edit(lambda o: multiscale(o)["axes"][0].update(type="space")), "of type space"
    ),
    "unit that is none": (
        lambda s: s.edit(lambda o: multiscale(o)["axes"][1].update(unit="micron")), "micron"
    ),
    "no scale": (
        lambda s: s.edit(
            lambda o: multiscale(o)["datasets"][0]["coordinateTransformations"].pop(0)
        ),
        "not by a scale",
    ),
    "scale too short": (
        lambda s: s.edit(
            lambda o: multiscale(o)["datasets"][1]["coordinateTransformations"][0]["scale"].pop()
        ),
        "not of length 3",
    ),
    "scale of another level": (
        lambda s: s.edit(
            lambda o: multiscale(o)["datasets"][1].update(
                coordinateTransformations=multiscale(o)["datasets"][0]["coordinateTransformations"]
            )
        ),
        "another region",
    ),
    "pixels of no size": (
        lambda s: s.edit(
            lambda o: multiscale(o)["datasets"][0]["coordinateTransformations"][0].update(
                scale=[1, 0, 0]
            )
        ),
        "no size of a pixel",
    ),
    "levels swapped": (lambda s: s.edit(lambda o: multiscale(o)["datasets"].reverse()), "grow"),
    "wrong version": (
        lambda s: s.edit(
            lambda o: set_in(multiscale(o) if s.v2 else o, "version", "0.3")
        ),
        "version",
    ),
    "no omero": (lambda s: s.edit(lambda o: o.pop("omero")), "no omero"),
    "a channel too few": (lambda s: s.edit(lambda o: o["omero"]["channels"].pop()), "1 channels"),
    "colour that is none": (
        lambda s: s.edit(lambda o: o["omero"]["channels"][1].update(color="red")), "colour red"
    ),
    "channel without label": (
        lambda s: s.edit(lambda o: o["omero"]["channels"][1].pop("label")), "no label"
    ),
    "no window": (
        lambda s: s.edit(lambda o: o["omero"]["channels"][0].pop("window")), "window without min"
    ),
    "window upside down": (
        lambda s: s.edit(lambda o: o["omero"]["channels"][0]["window"].update(start=9e9)),
        "ends before it starts",
    ),
    "no multiscales": (lambda s: s.edit(lambda o: o.pop("multiscales")), "no OME-Zarr image"),
    "misshapen metadata": (
        lambda s: s.edit(lambda o: set_in(o, "multiscales", {})), "lack a part or are misshapen"
    ),
    "metadata cut short": (
        lambda s: cut(s.path / (".zattrs" if s.v2 else "zarr.json")), "no sound metadata"
    ),
    "two versions in one": (
        lambda s: (s.path / ("zarr.json" if s.v2 else ".zgroup")).write_text("{}"), "no sound"
    ),
    "label that is not listed": (
        lambda s: s.edit(lambda o: o["labels"].clear(), "labels"), "does not list nuclei"
    ),
    "label that is not there": (lambda s: remove(s.path / "labels/nuclei"), "does not exist"),
    "label without image-label": (
        lambda s: s.edit(lambda o: o.pop("image-label"), "labels/nuclei"), "no image-label"
    ),
    "label of no image": (
        lambda s: s.edit(
            lambda o: o["image-label"].update(source={"image": "../b"}), "labels/nuclei"
        ),
        "which is not there",
    ),
    "missing store": (lambda s: remove(s.path), "does not exist"),
}  # fmt: skip


def test_a_sound_store_has_no_fault(store):
    assert check_store(store.path) == []


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told(store, name):
    damage, words = FAULTS[name]
    damage(store)
    faults = check_store(store.path)
    assert faults and any(words in fault for fault in faults), faults
    assert all(fault.startswith(str(store.path)) and fault.endswith(".") for fault in faults)


def test_separator_of_chunks(store):
    if store.v2:
        store.edit_array(lambda a: a.update(dimension_separator="."))
    else:
        encoding = {"name": "default", "configuration": {"separator": "."}}
        store.edit_array(lambda a: a.update(chunk_key_encoding=encoding))
    assert any("by '.', not '/'" in fault for fault in check_store(store.path))


def test_dimension_names(store):
    if store.v2:
        pytest.skip("Zarr v2 names no dimensions")
    store.edit_array(lambda a: a.update(dimension_names=["c", "x", "y"]))
    assert any("names the dimensions" in fault for fault in check_store(store.path))


def test_exit_status_and_sentences(store, capsys):
    assert main(["check", str(store.path)]) == 0
    assert capsys.readouterr().out == f"{store.path} is whole.\n"
    store.chunk().unlink()
    assert main(["check", str(store.path), str(store.path / "labels/nuclei")]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "lacks 1 of" in first and second == f"{store.path}/labels/nuclei is whole."


def test_as_a_program(sound):
    command = [sys.executable, "-m", "lib.shared.omezarr_utils", "check", str(sound)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{sound} is whole.\n"), done.stderr
