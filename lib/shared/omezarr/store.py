"""A whole multiscale image: written beside, checked for what it is, renamed when whole."""

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.shared.files import atomic_path
from lib.shared.omezarr.chunks import PyramidWriter
from lib.shared.omezarr.codecs import Compression, choose_codec
from lib.shared.omezarr.colors import channel_colors
from lib.shared.omezarr.metadata import (
    PROVENANCE,
    VERSIONS,
    ArrayLayout,
    Version,
    image_label,
    multiscales,
    numbered_labels,
    omero,
    write_array_json,
    write_group,
)
from lib.shared.omezarr.pyramid import level_shapes
from lib.shared.omezarr.windows import channel_windows

log = logging.getLogger(__name__)

IMAGE_DTYPES = ("uint8", "uint16", "int32", "uint32", "float32")
LABEL_DTYPES = ("int32", "uint32")
STORED_AXES = ("CYX", "TCYX", "YX")
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: free space and run again",
    errno.EDQUOT: "the disk quota is used up: free space and run again",
    errno.EFBIG: "a file grew beyond the limit that is set for files",
    errno.EROFS: "the file system cannot be written to",
    errno.EACCES: "its folder may not be written to: change its permissions",
    errno.EPERM: "its folder may not be written to: change its permissions",
}


@dataclass(frozen=True)
class StoreOptions:
    """How images are stored, whatever they hold.

    Attributes
    ----------
    chunk_shape : of the last axes; leading axes that it does not name get 1.
    coarsening_factor : pixels of a level along y and x that make one of the next.
    max_levels : at most so many levels; None: until one fits into a chunk.
    version : of NGFF.
    sharded : one file per plane and level (0.5 only) in place of one per chunk.
    level_prefix : before the number in the name of a level, `scale0`.
    compression : of chunks.
    threads : that encode and write.
    """

    chunk_shape: tuple[int, ...] = (1, 512, 512)
    coarsening_factor: int = 2
    max_levels: int | None = None
    version: Version = "0.4"
    sharded: bool = True
    level_prefix: str = "scale"
    compression: Compression = "blosc"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise ValueError(f"OME-Zarr {self.version} is not written: choose 0.4 or 0.5")
        if self.coarsening_factor < 2:
            raise ValueError(f"a coarsening factor of {self.coarsening_factor} makes no levels")
        if self.max_levels is not None and self.max_levels < 1:
            raise ValueError(f"{self.max_levels} levels hold no image")
        if len(self.chunk_shape) < 2 or min(self.chunk_shape) < 1:
            raise ValueError(f"{self.chunk_shape} is no shape of chunks (z, y, x)")
        if self.threads < 1:
            raise ValueError(f"{self.threads} threads write nothing")

    def warn_of_readers(self, dtypes: Sequence[np.dtype]) -> None:
        """Log which of the choices OMERO's readers do not understand."""
        choices = {
            f"a coarsening factor of {self.coarsening_factor} (not 2)": self.coarsening_factor != 2,
            f"OME-Zarr {self.version} (not 0.4)": self.version != "0.4",
            f"{self.compression} compression (not blosc)": self.compression != "blosc",
            "uint64 pixels": np.dtype(np.uint64) in dtypes,
        }
        chosen = [name for name, is_chosen in choices.items() if is_chosen]
        if chosen:
            log.warning("OMERO cannot read what is written with %s.", " and ".join(chosen))


@dataclass(frozen=True)
class StoreImage:
    """An image and what is known of it.

    Attributes
    ----------
    pixels : (Y, X), (C, Y, X) or (T, C, Y, X).
    axes : a letter per dimension of `pixels`.
    source_axes : those of the file it comes from, in which it is read back.
    pixel_size : (y, x) in micrometres; None where unknown.
    channel_labels : one per channel.
    origin : (y, x) of the middle of the first pixel, in micrometres of the stage.
    is_label : whether pixels are numbers of objects, not intensities.
    labels : label images (Y, X) of the objects in it, by name.
    label_attributes : further keys of `image-label`, such as `colors`, by name.
    sources : `path` and `bytes` of the files it comes from.
    """

    pixels: np.ndarray
    axes: str
    source_axes: str
    pixel_size: tuple[float, float] | None = None
    channel_labels: Sequence[str] | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    is_label: bool = False
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Sequence[Mapping[str, Any]] = ()


def write_store(
    path: str | os.PathLike,
    image: StoreImage,
    options: StoreOptions,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write `image` as the OME-Zarr `path`, which appears whole or not at all.

    Raises ValueError for an image that cannot be stored as told, and OSError with
    what to do where the disk refuses.
    """
    path = Path(path)
    check_image(path, image)
    options.warn_of_readers([image.pixels.dtype, *(label.dtype for label in image.labels.values())])
    with told_in_words(path), atomic_path(path) as part:
        part.mkdir()
        write_image_group(part, store_name(path), image, options, provenance or {})
    return path


def store_name(path: Path) -> str:
    """Name of a store without its suffix."""
    return path.name.removesuffix(".zarr").removesuffix(".ome")


@contextmanager
def told_in_words(path: Path) -> Iterator[None]:
    """Say of an error of the disk which store it prevented, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        words = f"{path} cannot be written, since {DISK_ERRORS[error.errno]}; nothing of it is left"
        raise OSError(error.errno, words) from error


def check_image(path: Path, image: StoreImage) -> None:
    """Refuse what NGFF, or its readers, do not take."""
    pixels = image.pixels
    if image.axes not in STORED_AXES or pixels.ndim != len(image.axes):
        raise ValueError(f"{path}: axes {image.axes} do not fit an image of shape {pixels.shape}")
    if 0 in pixels.shape:
        raise ValueError(f"{path}: an image of shape {pixels.shape} has no pixels")
    wide = ("int64", "uint64") if image.is_label else ()
    if pixels.dtype.name not in (*IMAGE_DTYPES, *wide):
        raise ValueError(f"{path}: {pixels.dtype} is not written to disk")
    if image.is_label and pixels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels are whole numbers, not {pixels.dtype}")
    channels = pixels.shape[image.axes.index("C")] if "C" in image.axes else 1
    names = image.channel_labels
    if names is not None and len(names) != channels:
        raise ValueError(f"{path}: {len(names)} channel labels for shape {pixels.shape}")
    if image.pixel_size is not None and not all(0 < size < np.inf for size in image.pixel_size):
        raise ValueError(f"{path}: {image.pixel_size} is no pixel size")
    for name, labels in image.labels.items():
        if not name.isidentifier():
            raise ValueError(
                f"{path}: {name!r} is no name of a label image: use letters and digits"
            )
        if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[-2:]:
            raise ValueError(
                f"{path}: the labels {name} are {labels.dtype} of shape {labels.shape}, and not "
                f"whole numbers of shape {pixels.shape[-2:]} as the image"
            )


def write_image_group(
    folder: Path,
    name: str,
    image: StoreImage,
    options: StoreOptions,
    provenance: Mapping[str, Any],
) -> None:
    """Write an image and its labels into `folder`, which is empty; its metadata last."""
    if image.labels:
        write_labels_group(folder, image, options)
    ome, own = _write_pyramid(folder, name, image, options)
    own = {**provenance, "source": list(image.sources), "labels": list(image.labels), **own}
    write_group(folder, options.version, ome, {PROVENANCE: own})


def write_labels_group(folder: Path, image: StoreImage, options: StoreOptions) -> None:
    """Write the labels of an image as `labels` of its group."""
    group = folder / "labels"
    for name, labels in image.labels.items():
        write_label_image(group / name, image, labels, options, image.label_attributes.get(name))
    write_group(group, options.version, {"labels": list(image.labels)})


def write_label_image(
    folder: Path,
    image: StoreImage,
    labels: np.ndarray,
    options: StoreOptions,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write one label image of `image` into a new `folder`."""
    folder.mkdir(parents=True)
    label = StoreImage(labels, "YX", "YX", image.pixel_size, origin=image.origin, is_label=True)
    ome, own = _write_pyramid(folder, folder.name, label, options)
    del ome["omero"]  # it would make viewers show an image
    ome["image-label"] = image_label(options.version, attributes)
    write_group(folder, options.version, ome, {PROVENANCE: own})


def narrow_labels(labels: np.ndarray) -> np.ndarray:
    """Labels in 32 bits, which every reader knows, where their numbers allow.

    What is no whole number is left to be refused.
    """
    if labels.dtype.name in IMAGE_DTYPES or labels.dtype.kind not in "iu":
        return labels
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if lowest >= 0 and highest < 2**32:
        return labels.astype(np.int32 if highest < 2**31 else np.uint32)
    if lowest < 0:
        raise ValueError(f"labels are numbers from 0 on, not {lowest}")
    return labels.astype(np.uint64)


def _write_pyramid(
    folder: Path, name: str, image: StoreImage, options: StoreOptions
) -> tuple[dict, dict]:
    """Write all levels; return what NGFF and what provenance say of them."""
    layouts = level_layouts(image, options)
    for layout in layouts:
        (folder / layout.path).mkdir()
        write_array_json(folder, layout)
    writer = PyramidWriter(folder, image.pixels, layouts, options.coarsening_factor)
    writer.write(image.is_label, options.threads)

    paths = [layout.path for layout in layouts]
    scales = multiscales(
        name,
        image.axes,
        paths,
        options.coarsening_factor,
        image.pixel_size,
        image.origin,
        image.is_label,
        options.version,
    )
    windows = channel_windows(image.pixels, image.is_label)
    labels = image.channel_labels or numbered_labels(len(windows))
    channels = omero(name, labels, channel_colors(labels), windows, options.version)
    own = {
        "axes": image.source_axes,
        "chunks": {layout.path: int(np.prod(layout.grid)) for layout in layouts},
        "checksum": {
            "crc32c": f"{writer.checksum:08x}",
            "of": paths[0],
            "dtype": image.pixels.dtype.name,  # the same bytes of another type are other pixels
        },
    }
    return {"multiscales": scales, "omero": channels}, own


def level_layouts(image: StoreImage, options: StoreOptions) -> list[ArrayLayout]:
    """The arrays of an image's levels."""
    ndim, dtype = image.pixels.ndim, image.pixels.dtype
    chunk = ((1,) * ndim + tuple(options.chunk_shape))[-ndim:]
    leading = image.pixels.shape[:-2]
    shapes = level_shapes(
        image.pixels.shape[-2:], options.coarsening_factor, options.max_levels, chunk[-2:]
    )
    layouts = []
    for level, shape in enumerate(shapes):
        whole = (*leading, *shape)
        # No chunk is larger than what it holds: the rest would only be padding.
        chunks = tuple(map(min, chunk, whole))
        codec = choose_codec(dtype, chunks, image.is_label, options.compression)
        path = f"{options.level_prefix}{level}"
        sharded = options.sharded and options.version == "0.5"
        layouts.append(
            ArrayLayout(path, image.axes, whole, dtype, chunks, codec, options.version, sharded)
        )
    return layouts
