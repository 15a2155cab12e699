"""Pixels of one tile, read piece by piece: from its store, or from its TIFF."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lib.shared.errors import InputError
from lib.shared.image_io import read_image_info
from lib.shared.omezarr.colors import channel_colors, valid_color
from lib.shared.omezarr.metadata import numbered_labels
from lib.shared.omezarr.read import naming_store, open_image, read_attributes, transform
from lib.shared.omezarr.store import LABEL_DTYPES
from lib.shared.omezarr.windows import channel_windows

if TYPE_CHECKING:
    import zarr

UNIT_PIXEL = (1.0, 1.0)  # size where it is unknown
CACHE_BYTES = 256 * 2**20  # of decoded planes that a source may keep
SAMPLED_TILES = 9  # whose windows are looked at
SAMPLE = 4  # every so many pixels of a TIFF are looked at for its windows


class Pixels(Protocol):
    """Levels of a tile, from which pieces are read."""

    def read(self, level: int, plane: Sequence[int], rows: slice, columns: slice) -> np.ndarray:
        """A piece (Y, X) of a level; `plane` is an index for each axis before Y and X."""
        ...


@dataclass(frozen=True)
class Channel:
    """How a channel is called and shown.

    Attributes
    ----------
    color : RRGGBB.
    window : values shown as black and as the full colour; None where unknown.
    """

    label: str
    color: str
    window: tuple[float, float] | None


@dataclass(frozen=True)
class Form:
    """What all tiles of a stage have in common.

    Attributes
    ----------
    axes : capital letters, Y and X last.
    level_shapes : of each level, all axes.
    dtype : of all levels.
    pixel_size : (y, x) in micrometres of level 0; None where unknown.
    channels : one per entry of axis C, or one.
    """

    axes: str
    level_shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype
    pixel_size: tuple[float, float] | None
    channels: tuple[Channel, ...]

    @property
    def is_label(self) -> bool:
        """Whether pixels are numbers of objects: labels, and nothing else, have 32 bits."""
        return self.dtype.name in LABEL_DTYPES


class StorePixels:
    """An OME-Zarr image; nothing is opened before the first piece is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _levels(self) -> "list[zarr.Array]":
        with naming_store(self._path):
            return open_image(self._path).levels

    def read(self, level: int, plane: Sequence[int], rows: slice, columns: slice) -> np.ndarray:
        """A piece (Y, X) of a level."""
        return self._levels[level][(*plane, rows, columns)]


class TiffPixels:
    """A TIFF checkpoint, of which whole planes are decoded; it has one level."""

    def __init__(self, path: Path, form: Form) -> None:
        self._path = path
        self._leading = form.level_shapes[0][:-2]
        height, width = form.level_shapes[0][-2:]
        # Each tile keeps the plane that was looked at last: panning reads it again and again.
        self._plane = lru_cache(maxsize=1)(self._decode)
        self._shape = height, width

    def read(self, level: int, plane: Sequence[int], rows: slice, columns: slice) -> np.ndarray:
        """A piece (Y, X) of level 0."""
        return self._plane(tuple(plane))[rows, columns]

    def _decode(self, plane: tuple[int, ...]) -> np.ndarray:
        return read_plane(self._path, plane, self._leading)


def read_plane(path: Path, plane: Sequence[int], leading: Sequence[int]) -> np.ndarray:
    """One plane (Y, X) of a TIFF checkpoint whose axes before Y and X are of lengths `leading`.

    Raises InputError naming the file when it is cut short.
    """
    import tifffile

    page = int(np.ravel_multi_index(tuple(plane), tuple(leading))) if leading else 0
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages[page].asarray()
    except (tifffile.TiffFileError, ValueError, OSError, RuntimeError, IndexError) as error:
        reason = f"is no whole TIFF ({error}): delete it and run again"
        raise InputError(f"The image {path} {reason}.") from error


def form_of(images: Sequence[Path]) -> Form:
    """The form of tiles, stores or TIFFs; windows suit the usual tile, not just the first.

    Raises InputError naming what cannot be read.
    """
    if not images[0].is_dir():
        return tiff_form(images[0])
    forms = [store_form(path) for path in images[:: -(-len(images) // SAMPLED_TILES)]]
    channels = []
    for first, *others in zip(*(form.channels for form in forms), strict=True):
        windows = [one.window for one in (first, *others) if one.window]
        window = tuple(np.median(windows, axis=0).tolist()) if windows else None
        channels.append(replace(first, window=window))
    return replace(forms[0], channels=tuple(channels))


def store_form(path: Path) -> Form:
    """The form of a store. Raises InputError naming it."""
    with naming_store(path):
        image = open_image(path)
        attributes = ome_of(path)
        shapes = tuple(tuple(level.shape) for level in image.levels)
        count = shapes[0][image.axes.index("C")] if "C" in image.axes else 1
        labels = image.channel_labels or numbered_labels(count)
        found = (attributes.get("omero", {}).get("channels") or [{}] * count)[:count]
        colors = channel_colors(labels)
        channels = tuple(
            Channel(label, valid_color(entry.get("color")) or color, _window(entry))
            for label, color, entry in zip(labels, colors, found, strict=True)
        )
        return Form(image.axes, shapes, image.levels[0].dtype, image.pixel_size, channels)


def ome_of(path: Path) -> dict:
    """Attributes of NGFF, of 0.4 or 0.5, of the store `path`."""
    attributes = read_attributes(path)
    return attributes.get("ome", attributes)


def store_origin(path: Path) -> tuple[float, float] | None:
    """Where the store places the middle of its first pixel, (y, x) in micrometres.

    None where it does not say, or says zero, as stores of unknown place do.
    """
    with naming_store(path):
        multiscale = ome_of(path)["multiscales"][0]
        axes = [axis["name"].upper() for axis in multiscale["axes"]]
        _, shift = transform(axes, [multiscale["datasets"][0], multiscale])
    return (shift["Y"], shift["X"]) if shift and (shift["Y"], shift["X"]) != (0, 0) else None


def label_names(path: Path) -> list[str]:
    """Names of the label images inside the store of an image."""
    if not (path / "labels").is_dir():
        return []
    with naming_store(path / "labels"):
        return list(ome_of(path / "labels").get("labels", ()))


def tiff_form(path: Path) -> Form:
    """The form of a TIFF checkpoint; windows are those of this image. Raises InputError."""
    info = read_image_info(path)
    axes = info.axes
    leading = info.shape[:-2]
    count = info.shape[axes.index("C")] if "C" in axes else 1
    labels = info.channel_names or numbered_labels(count)
    first = np.stack(
        [
            read_plane(path, _plane_of_channel(axes, channel), leading)[::SAMPLE, ::SAMPLE]
            for channel in range(count)
        ]
    )
    windows = channel_windows(first, info.dtype.name in LABEL_DTYPES)
    channels = tuple(
        Channel(label, color, (window["start"], window["end"]))
        for label, color, window in zip(labels, channel_colors(labels), windows, strict=True)
    )
    return Form(axes, (info.shape,), info.dtype, info.pixel_size, channels)


def _plane_of_channel(axes: str, channel: int) -> list[int]:
    return [channel if axis == "C" else 0 for axis in axes[:-2]]


def _window(entry: dict) -> tuple[float, float] | None:
    window = entry.get("window", {})
    return (window["start"], window["end"]) if {"start", "end"} <= set(window) else None
