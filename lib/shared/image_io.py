"""Reading and writing image checkpoints: the only code that touches image files.

A checkpoint is a losslessly compressed TIFF that says what it holds: its axes,
its pixel size in micrometres and the names of its channels. Integers and floats
that ImageJ knows are written as ImageJ hyperstacks, so that Fiji opens them
natively; label images (32-bit integers) as OME-TIFF. No predictor is used:
Fiji's own reader ignores it with deflate.

An image is read alike from its TIFF and from the OME-Zarr store that mirrors it.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from lib.shared.errors import InputError
from lib.shared.files import atomic_path

IMAGEJ_DTYPES = (np.uint8, np.uint16, np.float32)
LABEL_DTYPES = (np.int32, np.uint32)
SOFTWARE = "poolscope "
OME_NAMESPACE = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@dataclass(frozen=True)
class ImageInfo:
    """What an image file says of itself."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pixel_size: tuple[float, float] | None  # (y, x), micrometres
    channel_names: tuple[str, ...] | None


def write_image(
    path: str | os.PathLike,
    image: np.ndarray,
    axes: str,
    pixel_size: tuple[float, float] | None = None,
    channel_names: Sequence[str] | None = None,
    threads: int = 1,
) -> None:
    """Write `image` to a TIFF that appears whole or not at all.

    Parameters
    ----------
    image : uint8, uint16 or float32 intensities, or int32 or uint32 labels.
    axes : one letter per dimension, of "TZCYX".
    pixel_size : (y, x) in micrometres.
    channel_names : one per entry of axis C.
    """
    if image.ndim != len(axes):
        raise ValueError(f"{path}: axes {axes} do not fit an image of shape {image.shape}")
    if image.dtype not in (*IMAGEJ_DTYPES, *LABEL_DTYPES):
        raise ValueError(f"{path}: {image.dtype} is not written to disk")
    if channel_names is not None and image.shape[axes.index("C")] != len(channel_names):
        raise ValueError(f"{path}: {len(channel_names)} channel names for shape {image.shape}")

    options: dict = {
        "compression": "zlib",
        "compressionargs": {"level": 1},
        "photometric": "minisblack",
        "maxworkers": threads,
        "software": f"{SOFTWARE}{axes} {'x'.join(map(str, image.shape))}",
    }
    if pixel_size is not None:
        options["resolution"] = (1e4 / pixel_size[1], 1e4 / pixel_size[0])
        options["resolutionunit"] = "CENTIMETER"
    if image.dtype in IMAGEJ_DTYPES:
        options |= {
            "imagej": True,
            "metadata": _imagej_metadata(image, axes, pixel_size, channel_names),
        }
    else:
        metadata = _ome_metadata(axes, pixel_size, channel_names)
        options |= {"ome": True, "metadata": metadata}
    with atomic_path(path) as part:
        tifffile.imwrite(part, np.ascontiguousarray(image), **options)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a checkpoint, or its mirror as OME-Zarr, as it was written, with all its axes.

    Raises `InputError` naming the file when it is missing, truncated or no TIFF, and
    for a store that lacks chunks.
    """
    if Path(path).is_dir():
        from lib.shared.omezarr.read import read_store

        return read_store(path)
    with _open(path) as tiff:
        return tiff.series[0].asarray(maxworkers=1).reshape(_info(tiff).shape)


def read_image_info(path: str | os.PathLike) -> ImageInfo:
    """Read what a checkpoint, or its mirror as OME-Zarr, says of itself, without its pixels."""
    if Path(path).is_dir():
        from lib.shared.omezarr.read import read_store_info

        return ImageInfo(*read_store_info(path))
    with _open(path) as tiff:
        return _info(tiff)


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[tifffile.TiffFile]:
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except FileNotFoundError:
        raise InputError(f"The image {path} does not exist.") from None
    except (tifffile.TiffFileError, ValueError, OSError, RuntimeError) as error:
        reason = f"is no whole TIFF ({error}): delete it and run again"
        raise InputError(f"The image {path} {reason}.") from error


def _info(tiff: tifffile.TiffFile) -> ImageInfo:
    page, series = tiff.pages.first, tiff.series[0]
    axes, shape = series.axes, series.shape
    if page.software.startswith(SOFTWARE):
        # tifffile drops axes of length one; our own tag tells what was written.
        axes, written = page.software.removeprefix(SOFTWARE).split()
        shape = tuple(map(int, written.split("x")))
    return ImageInfo(
        axes, shape, series.dtype, _pixel_size(page), _channel_names(tiff, axes, shape)
    )


def _pixel_size(page: tifffile.TiffPage) -> tuple[float, float] | None:
    resolution = [page.tags.get(name) for name in ("YResolution", "XResolution")]
    unit = page.tags.get("ResolutionUnit")
    if None in resolution or unit is None or unit.value != 3:  # 3: per centimetre
        return None
    y, x = (1e4 * tag.value[1] / tag.value[0] for tag in resolution)
    return round(y, 6), round(x, 6)


def _channel_names(
    tiff: tifffile.TiffFile, axes: str, shape: tuple[int, ...]
) -> tuple[str, ...] | None:
    if "C" not in axes:
        return None
    if tiff.is_imagej:
        labels = (tiff.imagej_metadata or {}).get("Labels")
        labels = [labels] if isinstance(labels, str) else labels  # one plane: no list
        return tuple(labels[: shape[axes.index("C")]]) if labels else None
    if tiff.is_ome:
        channels = ElementTree.fromstring(tiff.ome_metadata).iter(f"{OME_NAMESPACE}Channel")
        names = [channel.get("Name") for channel in channels]
        return None if None in names else tuple(names)
    return None


def _imagej_metadata(
    image: np.ndarray,
    axes: str,
    pixel_size: tuple[float, float] | None,
    channel_names: Sequence[str] | None,
) -> dict:
    metadata: dict = {"axes": axes, "mode": "grayscale"}
    if pixel_size is not None:
        metadata["unit"] = "um"
    if channel_names is not None:
        planes = image.size // (image.shape[-1] * image.shape[-2])
        # ImageJ labels planes in the order of the stack, in which C runs fastest.
        metadata["Labels"] = list(channel_names) * (planes // len(channel_names))
        metadata["mode"] = "composite" if len(channel_names) <= 7 else "grayscale"
    return metadata


def _ome_metadata(
    axes: str, pixel_size: tuple[float, float] | None, channel_names: Sequence[str] | None
) -> dict:
    # A fixed identifier, since the same input must give the same bytes.
    metadata: dict = {"axes": axes, "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, axes)}"}
    if pixel_size is not None:
        metadata |= {"PhysicalSizeY": pixel_size[0], "PhysicalSizeX": pixel_size[1]}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    if channel_names is not None:
        metadata["Channel"] = {"Name": list(channel_names)}
    return metadata
