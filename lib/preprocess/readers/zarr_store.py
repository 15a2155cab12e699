"""OME-Zarr 0.4 and 0.5: images, wells with fields, and bioformats2raw collections.

Only level 0 is read, and of it the chunks that hold the planes asked for.
"""

import itertools
import logging
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import zarr

from lib.preprocess.readers.image import (
    PlaneInfo,
    RawFile,
    RawImage,
    micrometres,
    pixel_size_or_none,
)
from lib.preprocess.readers.source import RawImageError

log = logging.getLogger(__name__)

# Version, codec version, flags, type size, then bytes before, of a block, and after compression.
BLOSC_HEADER = struct.Struct("<4B3I")
METADATA_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


class ZarrStore(RawFile):
    """An open OME-Zarr group; its positions are the fields of a well or the series."""

    def __init__(self, path: Path) -> None:
        if not any((path / name).is_file() for name in METADATA_FILES):
            raise RawImageError("is a folder without Zarr metadata: give a file or an OME-Zarr")
        self._root = zarr.open(path, mode="r")
        if not isinstance(self._root, zarr.Group):
            raise RawImageError("is a Zarr array without OME metadata: give its parent group")
        self._paths = _image_paths(self._root)
        self.n_positions = len(self._paths)

    def __exit__(self, *exc_info: object) -> None:
        self._root.store.close()

    def image(self, position: int) -> RawImage:
        path = self._paths[position]
        return ZarrImage(self._root[path] if path else self._root)


class ZarrImage(RawImage):
    """Level 0 of one OME-Zarr image."""

    def __init__(self, group: zarr.Group) -> None:
        attributes = _ome(group)
        multiscale = attributes["multiscales"][0]
        axes = multiscale.get("axes")
        if not axes or not all(isinstance(axis, Mapping) for axis in axes):
            raise RawImageError("names no axes as OME-Zarr 0.4 and 0.5 do: convert it to 0.4")
        names = [axis["name"].upper() for axis in axes]
        dataset = multiscale["datasets"][0]
        self._array = group[dataset["path"]]
        if len(names) != self._array.ndim or not {"Y", "X"} <= set(names) <= set("TCZYX"):
            raise RawImageError(
                f"has axes {','.join(names)} on an array of {self._array.ndim} dimensions, "
                "where t, c, z, y and x are understood"
            )
        self.sizes = dict(zip(names, self._array.shape, strict=True))
        self.dtype = self._array.dtype
        self.z_step = dict(zip(names, self._stored(), strict=True)).get("Z", 1)
        codecs = self._array.compressors
        whole_files = self._array.shards is None and len(codecs) == 1
        self._is_blosc = whole_files and type(codecs[0]).__name__ in ("Blosc", "BloscCodec")
        channels = attributes.get("omero", {}).get("channels")
        if channels:
            self.channel_names = tuple(str(channel.get("label", "?")) for channel in channels)
        units = {name: axis.get("unit") for name, axis in zip(names, axes, strict=True)}
        scale, translation = _transform(names, [dataset, multiscale])
        size = {axis: _length(scale, units, axis) for axis in "YX"}
        self.pixel_size = pixel_size_or_none(size["Y"], size["X"])
        place = {axis: _length(translation, units, axis) for axis in "ZYX"}
        # A stage tells the middle of the image, NGFF where the first pixel lies.
        for axis in "YX":
            if place[axis] is not None and size[axis] is not None:
                place[axis] += size[axis] * (self.sizes[axis] - 1) / 2
        self._info = PlaneInfo(place["X"], place["Y"], place["Z"])

    def read(self, time: int, channels: range, zs: range) -> np.ndarray:
        at = {"T": range(time, time + 1), "C": channels, "Z": zs}
        at = {axis: at.get(axis, range(n)) for axis, n in self.sizes.items()}
        self._check_chunks(list(at.values()))
        block = self._array[tuple(slice(r.start, r.stop) for r in at.values())]
        order = [axis for axis in "TCZYX" if axis in self.sizes]
        block = block.transpose([list(self.sizes).index(axis) for axis in order])
        return block.reshape(len(channels), len(zs), self.size("Y"), self.size("X"))

    def plane_info(self, time: int, channel: int, z: int) -> PlaneInfo:
        return self._info

    def _stored(self) -> tuple[int, ...]:
        """Shape of what one file of the store holds."""
        return self._array.shards or self._array.chunks

    def _check_chunks(self, at: list[range]) -> None:
        """Refuse truncated chunks and planes of which nothing is stored; log other missing chunks.

        A missing chunk reads as zeros by the specification, and writers leave out
        chunks that are zero; a plane of a camera is never zero all over.
        """
        parts = [
            range(r.start // n, (r.stop - 1) // n + 1)
            for r, n in zip(at, self._stored(), strict=True)
        ]
        folder = Path(self._array.store.root) / self._array.path
        missing = 0
        for chunks in _by_plane(parts, [axis in "YX" for axis in self.sizes]):
            keys = [self._array.metadata.encode_chunk_key(chunk) for chunk in chunks]
            found = [folder / key for key in keys if (folder / key).is_file()]
            absent = len(keys) - len(found)
            if not found:
                raise RawImageError(
                    f"stores nothing for a whole plane (chunk {keys[0]}): copy it again"
                )
            missing += absent
            if self._is_blosc:
                for path in found:
                    _check_blosc(path)
        if missing:
            log.warning("%s: %d chunks are not stored and read as 0", folder, missing)


def _check_blosc(path: Path) -> None:
    """Refuse a chunk shorter than its header says: numcodecs would read beyond its end."""
    with open(path, "rb") as file:
        header = file.read(BLOSC_HEADER.size)
    if len(header) < BLOSC_HEADER.size or BLOSC_HEADER.unpack(header)[-1] > path.stat().st_size:
        raise RawImageError(f"has a truncated chunk ({path}): copy it again")


def _by_plane(parts: list[range], in_plane: list[bool]) -> Iterator[list[tuple[int, ...]]]:
    """Group the chunks of a block by the planes that they cover."""
    leading = [(0,) if inside else part for part, inside in zip(parts, in_plane, strict=True)]
    for first in itertools.product(*leading):
        axes = zip(parts, in_plane, first, strict=True)
        yield list(itertools.product(*(part if inside else (at,) for part, inside, at in axes)))


def _ome(group: zarr.Group) -> Mapping:
    """Attributes of a group: under "ome" in 0.5, on top in 0.4."""
    attributes = group.attrs.asdict()
    return attributes.get("ome", attributes)


def _image_paths(root: zarr.Group) -> list[str]:
    """Paths of the images that a group holds, in its order."""
    ome = _ome(root)
    if "multiscales" in ome:
        return [""]
    if "well" in ome:
        return [image["path"] for image in ome["well"]["images"]]
    if "plate" in ome:
        wells = [well["path"] for well in ome["plate"]["wells"]]
        if len(wells) != 1:
            raise RawImageError(
                f"is a plate of {len(wells)} wells: give the path of a well in it, "
                f"such as {Path(str(root.store.root)).name}/{wells[0] if wells else 'A/1'}"
            )
        return [f"{wells[0]}/{image['path']}" for image in _ome(root[wells[0]])["well"]["images"]]
    if "bioformats2raw.layout" in ome:
        if "OME" in root and "series" in _ome(root["OME"]):
            return list(_ome(root["OME"])["series"])
        return list(itertools.takewhile(lambda name: name in root, map(str, itertools.count())))
    raise RawImageError("is a Zarr group without OME-Zarr images, wells or series in its metadata")


def _transform(
    names: list[str], levels: list[Mapping]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Scale and translation from pixels to space; None where no level states one."""
    scale, translation = np.ones(len(names)), np.zeros(len(names))
    stated = set()
    for level in levels:
        for step in level.get("coordinateTransformations", ()):
            kind = step["type"]
            if kind == "scale":
                scale *= step["scale"]
                translation *= step["scale"]
            elif kind == "translation":
                translation += step["translation"]
            stated.add(kind)
    return (
        dict(zip(names, scale.tolist(), strict=True)) if "scale" in stated else None,
        dict(zip(names, translation.tolist(), strict=True)) if "translation" in stated else None,
    )


def _length(
    values: Mapping[str, float] | None, units: Mapping[str, str | None], axis: str
) -> float | None:
    """One axis of `values` in micrometres; None where value or unit is not stated."""
    if values is None or axis not in values or units[axis] is None:
        return None
    return micrometres(values[axis], units[axis])
