"""OME-Zarr 0.4 and 0.5: images, wells with fields, and bioformats2raw collections.

Only level 0 is read, and of it the chunks that hold the planes asked for.
"""

import itertools
import logging
from collections.abc import Mapping
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
from lib.shared.omezarr.metadata import OVERVIEW_NAME
from lib.shared.omezarr.read import (
    StoreError,
    array_folder,
    check_blosc,
    chunk_files,
    is_blosc,
    is_store,
    ome_attributes,
    stored_shape,
    transform,
)

log = logging.getLogger(__name__)


class ZarrStore(RawFile):
    """An open OME-Zarr group; its positions are the fields of a well or the series."""

    def __init__(self, path: Path) -> None:
        if not is_store(path):
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
        attributes = ome_attributes(group)
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
        self.z_step = dict(zip(names, stored_shape(self._array), strict=True)).get("Z", 1)
        channels = attributes.get("omero", {}).get("channels")
        if channels:
            self.channel_names = tuple(str(channel.get("label", "?")) for channel in channels)
        units = {name: axis.get("unit") for name, axis in zip(names, axes, strict=True)}
        scale, translation = transform(names, [dataset, multiscale])
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

    def _check_chunks(self, at: list[range]) -> None:
        """Refuse truncated chunks and planes of which nothing is stored; log other missing chunks.

        A missing chunk reads as zeros by the specification, and writers leave out
        chunks that are zero; a plane of a camera is never zero all over.
        """
        folder = array_folder(self._array)
        missing = 0
        for files in chunk_files(self._array, list(self.sizes), at):
            found = [path for path in files if path.is_file()]
            if not found:
                raise RawImageError(
                    "stores nothing for a whole plane "
                    f"(chunk {files[0].relative_to(folder)}): copy it again"
                )
            missing += len(files) - len(found)
            if is_blosc(self._array):
                for path in found:
                    _refuse_truncated(path)
        if missing:
            log.warning("%s: %d chunks are not stored and read as 0", folder, missing)


def _refuse_truncated(path: Path) -> None:
    try:
        check_blosc(path)
    except StoreError as error:
        raise RawImageError(f"{error}: copy it again") from error


def _image_paths(root: zarr.Group) -> list[str]:
    """Paths of the images that a group holds, in its order."""
    ome = ome_attributes(root)
    if "multiscales" in ome:
        return [""]
    if "well" in ome:
        return _fields(ome)
    if "plate" in ome:
        wells = [well["path"] for well in ome["plate"]["wells"]]
        if len(wells) != 1:
            raise RawImageError(
                f"is a plate of {len(wells)} wells: give the path of a well in it, "
                f"such as {Path(str(root.store.root)).name}/{wells[0] if wells else 'A/1'}"
            )
        return [f"{wells[0]}/{field}" for field in _fields(ome_attributes(root[wells[0]]))]
    if "bioformats2raw.layout" in ome:
        if "OME" in root and "series" in ome_attributes(root["OME"]):
            return list(ome_attributes(root["OME"])["series"])
        return list(itertools.takewhile(lambda name: name in root, map(str, itertools.count())))
    raise RawImageError("is a Zarr group without OME-Zarr images, wells or series in its metadata")


def _fields(ome: Mapping) -> list[str]:
    """Fields of a well in its order, without the overview that Poolscope puts before them."""
    paths = [image["path"] for image in ome["well"]["images"]]
    return [path for path in paths if path != OVERVIEW_NAME]


def _length(
    values: Mapping[str, float] | None, units: Mapping[str, str | None], axis: str
) -> float | None:
    """One axis of `values` in micrometres; None where value or unit is not stated."""
    if values is None or axis not in values or units[axis] is None:
        return None
    return micrometres(values[axis], units[axis])
