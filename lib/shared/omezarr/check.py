"""Finding what is wrong with OME-Zarr stores, missing chunks above all.

Validators look at metadata; none of them sees that a chunk is missing, which every
reader takes for zeros. Here all files are counted, all pixels decoded (by
zarr-python, which had no part in writing them) and compared with what was noted
when the store was written.
"""

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from lib.shared.omezarr.chunks import checksum
from lib.shared.omezarr.metadata import AXIS_TYPES, PROVENANCE, VERSIONS
from lib.shared.omezarr.pyramid import label_levels, mean_levels
from lib.shared.omezarr.read import (
    METADATA_FILES,
    StoreError,
    check_blosc,
    is_blosc,
    naming_store,
    open_image,
    store_error,
)

# Of space and time, as NGFF recommends them; what else is written is a slip of the pen.
UNITS = {
    "space": "angstrom nanometer micrometer millimeter centimeter meter",
    "time": "nanosecond microsecond millisecond second minute hour day",
}
WINDOW = ("min", "max", "start", "end")
Faults = Iterator[str]


def check_store(path: str | os.PathLike) -> list[str]:
    """What is wrong with the image, labels, well or plate at `path`: a sentence for each fault."""
    return list(_check_group(Path(path)))


def main(arguments: Sequence[str]) -> int:
    """Check the stores named on a command line; 0 where nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.shared.omezarr_utils", description=__doc__.partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="say what is wrong with OME-Zarr stores")
    check.add_argument("stores", nargs="+", metavar="STORE", type=Path)
    wrong = 0
    for store in parser.parse_args(arguments).stores:
        faults = check_store(store)
        wrong += bool(faults)
        for fault in faults or [f"{store} is whole."]:
            sys.stdout.write(fault + "\n")
    return int(wrong > 0)


def _check_group(path: Path) -> Faults:
    """Faults of whatever kind of group `path` is, and of what is in it."""
    if not path.is_dir():
        yield f"{path} does not exist."
        return
    try:
        version, ome, own = _attributes(path)
    except (StoreError, OSError, ValueError) as error:
        yield f"{path} has no sound metadata: {error}."
        return
    parts = {
        "multiscales": lambda: _check_image(path, version, ome, own),
        "plate": lambda: _check_plate(path, ome["plate"], version),
        "well": lambda: _check_well(path, ome["well"], version),
        "labels": lambda: _check_labels(path, ome["labels"]),
    }
    kinds = [kind for kind in parts if kind in ome]
    if not kinds:
        yield f"{path} is no OME-Zarr image, labels, well or plate."
    for kind in kinds:
        try:
            yield from parts[kind]()
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            what = f"{type(error).__name__}: {error}"
            yield f"{path} has metadata of {kind} that lack a part or are misshapen ({what})."


def _attributes(path: Path) -> tuple[str, dict, dict]:
    """Version, attributes of NGFF and those of Poolscope of a group."""
    v2, v3 = (path / ".zgroup").is_file(), (path / "zarr.json").is_file()
    if v2 and v3:
        raise StoreError("files of Zarr v2 and of v3 lie in one folder")
    if not v2 and not v3:
        raise StoreError("neither .zgroup nor zarr.json is there")
    if v2:
        attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
        return "0.4", attributes, attributes.get(PROVENANCE, {})
    attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    ome = attributes.get("ome", {})
    if ome.get("version") != "0.5":
        raise StoreError(f"version is {ome.get('version')}, not 0.5 as in Zarr v3")
    return "0.5", ome, attributes.get(PROVENANCE, {})


def _check_version(path: Path, entry: Mapping, version: str) -> Faults:
    """NGFF 0.4 states the version in each object."""
    if version == VERSIONS[0] and entry.get("version") != version:
        yield f"{path} states version {entry.get('version')}, not {version} as in Zarr v2."


def _check_image(path: Path, version: str, ome: Mapping, own: Mapping) -> Faults:
    multiscale = ome["multiscales"][0]
    yield from _check_version(path, multiscale, version)
    axes = multiscale["axes"]
    yield from _check_axes(path, axes)
    arrays = {}
    for dataset in multiscale["datasets"]:
        arrays[dataset["path"]] = yield from _open_array(path, dataset["path"], version)
    known = [array for array in arrays.values() if array is not None]
    is_label = "image-label" in ome
    faults = [
        *_check_arrays(path, known, [axis["name"] for axis in axes], version),
        *_check_transforms(path, multiscale["datasets"], arrays),
        *([] if is_label else _check_omero(path, ome.get("omero"), known, axes, version)),
        *(_check_image_label(path, ome["image-label"], known, version) if is_label else []),
    ]
    for array in known:
        faults += _check_files(path, array, own)
    yield from faults
    if not faults and len(known) == len(arrays):
        yield from _check_pixels(path, known, multiscale, own)
    if (path / "labels").is_dir():
        yield from _check_group(path / "labels")
        yield from _check_label_shapes(path, known)
    elif own.get("labels"):
        yield f"{path} had the labels {', '.join(own['labels'])}, which are not there."


def _check_axes(path: Path, axes: Sequence[Mapping]) -> Faults:
    names = [axis.get("name") for axis in axes]
    order = [name for name in AXIS_TYPES if name in names]
    if names != order or names[-2:] != ["y", "x"]:
        yield f"{path} has axes {names}, which must be some of t, c, z, y, x in this order."
    for axis in axes:
        name, kind, unit = axis.get("name"), axis.get("type"), axis.get("unit")
        if name in AXIS_TYPES and kind != AXIS_TYPES[name]:
            yield f"{path} has axis {name} of type {kind}, not {AXIS_TYPES[name]}."
        if unit is not None and unit not in UNITS.get(str(kind), "").split():
            yield f"{path} has axis {name} in {unit}, which is no unit of {kind}."


def _open_array(path: Path, name: str, version: str) -> Iterator[str]:
    """Yield faults of the metadata of a level; return its array, or None."""
    found = [file for file in METADATA_FILES if (path / name / file).is_file()]
    expected = [".zarray"] if version == "0.4" else ["zarr.json"]
    if found != expected:
        what = "nothing" if not found else ", ".join(found)
        yield f"{path} lacks the level {name}: {what} is there in place of {expected[0]}."
        return None
    try:
        with store_error(f"has a level {name} that cannot be opened"):
            return zarr.open_array(path / name, mode="r")
    except StoreError as error:
        yield f"{path} {error}."
        return None


def _check_arrays(path: Path, arrays: Sequence, names: Sequence[str], version: str) -> Faults:
    for array in arrays:
        level = _level_name(path, array)
        if array.ndim != len(names):
            yield f"{path} has {len(names)} axes, and {level} has {array.ndim} dimensions."
        if array.dtype != arrays[0].dtype:
            yield f"{path} has {level} of {array.dtype}, and level 0 of {arrays[0].dtype}."
        if version == "0.5" and list(array.metadata.dimension_names or ()) != list(names):
            dimensions = array.metadata.dimension_names
            yield f"{path} names the dimensions of {level} {dimensions}, not {names} as its axes."
        separator = _separator(array)
        if separator != "/":
            yield f"{path} separates chunk numbers of {level} by {separator!r}, not '/'."
    for before, after in itertools.pairwise(arrays):
        if any(a > b for a, b in zip(after.shape, before.shape, strict=False)):
            yield f"{path} has levels that grow from {before.shape} to {after.shape}."


def _separator(array: Any) -> str:
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return metadata.dimension_separator
    return metadata.chunk_key_encoding.separator


def _check_transforms(path: Path, datasets: Sequence[Mapping], arrays: Mapping) -> Faults:
    """Each level has one scale, then perhaps one translation, and covers the same region."""
    whole = None
    for dataset in datasets:
        name, steps = dataset["path"], dataset.get("coordinateTransformations", [])
        kinds = [step.get("type") for step in steps]
        array = arrays[name]
        if kinds not in (["scale"], ["scale", "translation"]):
            yield f"{path} transforms {name} by {kinds}, not by a scale and then a translation."
        elif array is None:
            continue  # told already
        elif any(len(step[kind]) != array.ndim for step, kind in zip(steps, kinds, strict=True)):
            yield f"{path} transforms {name} by vectors that are not of length {array.ndim}."
        else:
            scale = np.array(steps[0]["scale"], float)
            extent = scale * array.shape
            whole = extent if whole is None else whole
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                yield f"{path} scales {name} by {scale.tolist()}, which is no size of a pixel."
            elif (abs(extent - whole) > 1.001 * scale).any():
                yield f"{path} scales {name} by {scale.tolist()}, so that it covers another region."


def _check_omero(
    path: Path, omero: Mapping | None, arrays: Sequence, axes: Sequence[Mapping], version: str
) -> Faults:
    if omero is None:
        yield f"{path} has no omero metadata, so that viewers must guess colours and contrast."
        return
    yield from _check_version(path, omero, version)
    channels = omero["channels"]
    names = [axis["name"] for axis in axes]
    count = arrays[0].shape[names.index("c")] if arrays and "c" in names else 1
    if len(channels) != count:
        yield f"{path} describes {len(channels)} channels of {count}."
    for number, channel in enumerate(channels):
        if not re.fullmatch("[0-9A-Fa-f]{6}", str(channel.get("color"))):
            yield f"{path} gives channel {number} the colour {channel.get('color')}, not RRGGBB."
        if not channel.get("label"):
            yield f"{path} gives channel {number} no label."
        window = channel.get("window") or {}
        lacking = [key for key in WINDOW if not isinstance(window.get(key), int | float)]
        if lacking:
            yield f"{path} gives channel {number} a window without {', '.join(lacking)}."
        elif not window["start"] < window["end"]:
            yield f"{path} gives channel {number} a window that ends before it starts."


def _check_image_label(path: Path, label: Mapping, arrays: Sequence, version: str) -> Faults:
    yield from _check_version(path, label, version)
    source = label.get("source", {}).get("image")
    if source is None or not any((path / source / name).is_file() for name in METADATA_FILES):
        yield f"{path} are labels of the image {source}, which is not there."
    if arrays and arrays[0].dtype.kind not in "iu":
        yield f"{path} are labels of {arrays[0].dtype}, which are no whole numbers."


def _check_labels(path: Path, listed: Sequence[str]) -> Faults:
    there = sorted(child.name for child in path.iterdir() if child.is_dir())
    for name in there:
        if name not in listed:
            yield f"{path} does not list {name}, which is there."
    for name in listed:
        if name in there:
            attributes = _attributes(path / name)[1]
            if "image-label" not in attributes:
                yield f"{path / name} has no image-label metadata."
        yield from _check_group(path / name)


def _check_label_shapes(path: Path, arrays: Sequence) -> Faults:
    for folder in sorted((path / "labels").iterdir()):
        if not folder.is_dir() or not arrays:
            continue
        try:
            with naming_store(folder):
                shape = open_image(folder).levels[0].shape
        except ValueError:
            continue  # told already
        if shape[-2:] != arrays[0].shape[-2:]:
            yield f"{folder} has shape {shape}, and its image {arrays[0].shape}."


def _check_files(path: Path, array: Any, own: Mapping) -> Faults:
    """Every chunk, or shard, is a file of its own, and nothing else is there."""
    level = _level_name(path, array)
    folder = path / level
    stored = array.shards or array.chunks
    grid = tuple(-(-n // c) for n, c in zip(array.shape, stored, strict=True))
    expected = {array.metadata.encode_chunk_key(index) for index in np.ndindex(grid)}
    found = {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and file.name not in METADATA_FILES
    }
    missing, surplus = sorted(expected - found), sorted(found - expected)
    noted = own.get("chunks", {}).get(level)
    chunks = int(np.prod([-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]))
    if noted is not None and noted != chunks:
        yield f"{path} was written with {noted} chunks in {level}, and now has room for {chunks}."
    if missing:
        yield (
            f"{path} lacks {len(missing)} of {len(expected)} files of {level}, such as "
            f"{missing[0]}, which read as 0."
        )
    if surplus:
        yield f"{path} has files in {level} that are no chunks, such as {surplus[0]}."
    if is_blosc(array):
        size = int(np.prod(array.chunks)) * array.dtype.itemsize
        for name in sorted(expected & found):
            try:
                check_blosc(folder / name, size)
            except StoreError:
                yield f"{path} has a chunk of {level} that is cut short or of a wrong size: {name}."


def _level_name(path: Path, array: Any) -> str:
    return str(Path(str(array.store.root), array.path).relative_to(path))


def _check_pixels(path: Path, arrays: Sequence, multiscale: Mapping, own: Mapping) -> Faults:
    """Pixels can be decoded, are those that were written, and levels follow from level 0."""
    levels = []
    for array in arrays:
        try:
            with store_error(f"has chunks of {_level_name(path, array)} that cannot be decoded"):
                levels.append(np.asarray(array[...]))
        except StoreError as error:
            yield f"{path} {error}."
            return
    noted = own.get("checksum", {})
    name, dtype = _level_name(path, arrays[0]), levels[0].dtype.name
    if noted.get("dtype", dtype) != dtype:
        yield f"{path} was written as {noted['dtype']}, and {name} is of {dtype}."
        return
    if noted and noted["crc32c"] != f"{checksum(levels[0]):08x}":
        yield f"{path} does not hold in {name} what was written: its checksum differs."
        return
    make = {"mean": mean_levels, "nearest": label_levels}.get(multiscale.get("type"))
    factor = multiscale.get("metadata", {}).get("kwargs", {}).get("factor")
    if not own or make is None or factor is None:
        return
    for array, level, right in zip(
        arrays[1:], levels[1:], make(levels[0], factor, len(levels)), strict=True
    ):
        if not np.array_equal(level, right, equal_nan=level.dtype.kind == "f"):
            yield f"{path} has in {_level_name(path, array)} what does not follow from level 0."


def _check_well(path: Path, well: Mapping, version: str) -> Faults:
    yield from _check_version(path, well, version)
    listed = [image["path"] for image in well["images"]]
    for name in listed:
        yield from _check_group(path / name)
    for child in sorted(path.iterdir()):
        if child.is_dir() and child.name not in listed:
            yield f"{path} does not list {child.name}, which is there."


def _check_plate(path: Path, plate: Mapping, version: str) -> Faults:
    yield from _check_version(path, plate, version)
    rows = [row["name"] for row in plate["rows"]]
    columns = [column["name"] for column in plate["columns"]]
    listed = set()
    for well in plate["wells"]:
        if well["path"] in listed:
            yield f"{path} lists the well {well['path']} twice."
        listed.add(well["path"])
        row, _, column = well["path"].partition("/")
        at = well.get("rowIndex"), well.get("columnIndex")
        if row not in rows or column not in columns:
            yield f"{path} lists the well {well['path']}, whose row or column it does not name."
        elif at != (rows.index(row), columns.index(column)):
            yield f"{path} puts the well {well['path']} at {at}, not in its row and column."
        yield from _check_group(path / well["path"])
    for folder in sorted(path.glob("*/*/")):
        if folder.is_dir() and str(folder.relative_to(path)) not in listed:
            yield f"{path} does not list the well {folder.relative_to(path)}, which is there."
