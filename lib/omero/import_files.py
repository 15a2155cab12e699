"""What OMERO is told of an image, from the file or store that holds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from lib.omero.import_image import (
    ChannelStyle,
    ImageDescription,
    channel_styles,
    pixel_type,
    raw_planes,
)
from lib.shared.errors import InputError

WINDOW_PERCENTILES = (1, 99.9)
ONLY_04 = "OMERO's Zarr reader takes OME-Zarr 0.4 alone: export that, or set omero.mode: upload."


def describe_file(
    path: Path, name: str, channel_names: Sequence[str] | None = None
) -> ImageDescription:
    """Describe an image whose planes will be uploaded: TIFF, OME-TIFF, ND2 or OME-Zarr.

    `channel_names` go before what the file says. Raises `InputError` for a file that
    cannot be read, and for pixels of a type that OMERO does not have.
    """
    from lib.preprocess.readers.read import open_raw
    from lib.preprocess.readers.source import RawSource, naming

    with naming(RawSource(path)), open_raw(path) as file:
        image = file.image(0)
        shape = tuple(image.size(axis) for axis in "TCZYX")
        names = channel_names or image.channel_names or [str(n) for n in range(shape[1])]
        dtype, pixel_size = image.dtype.newbyteorder("="), image.pixel_size
    if len(names) != shape[1]:
        raise InputError(f"{path} holds {shape[1]} channels, not {len(names)}: {', '.join(names)}.")
    pixel_type(dtype)
    return ImageDescription(name, shape, dtype, channel_styles(names), pixel_size)


def describe_store(
    path: Path, name: str, channel_names: Sequence[str] | None = None
) -> ImageDescription:
    """Describe an OME-Zarr image that the server will read where it lies.

    Colours and windows are those of its `omero` metadata.

    Raises
    ------
    InputError
        When the store is not what the server's reader takes: OME-Zarr 0.4 whose
        levels differ by a factor of 2 in y and x.
    """
    path = Path(path).resolve()
    attributes = _json(path / ".zattrs", path)
    multiscale = attributes["multiscales"][0]
    axes = [axis["name"] for axis in multiscale["axes"]]
    levels = [_json(path / level["path"] / ".zarray", path) for level in multiscale["datasets"]]
    _check_levels(path, axes, [level["shape"] for level in levels])
    described = describe_file(path, name, channel_names)
    styles = described.channels
    known = attributes.get("omero", {}).get("channels", ())
    if len(known) == len(styles):
        styles = tuple(map(_style, known, styles))
    return replace(described, channels=styles, store=str(path))


def measure_windows(path: Path, is_label: bool = False) -> list[tuple[float, float]]:
    """Windows in which the channels of an image are shown first, of its first time point.

    From the 1st to the 99.9th percentile of the middle plane; of labels, all numbers.
    """
    with raw_planes(path) as (shape, _, read):
        planes = [read(0, c, shape[2] // 2) for c in range(shape[1])]
    windows = []
    for plane in planes:
        low, high = (0, plane.max()) if is_label else np.percentile(plane, WINDOW_PERCENTILES)
        windows.append((float(low), float(max(high, low + 1))))
    return windows


def with_windows(
    image: ImageDescription, windows: Sequence[tuple[float, float]]
) -> ImageDescription:
    """The description with other windows, one per channel."""
    pairs = zip(image.channels, windows, strict=True)
    return replace(image, channels=tuple(replace(style, window=w) for style, w in pairs))


def _style(channel: Mapping, default: ChannelStyle) -> ChannelStyle:
    window = channel.get("window", {})
    limits = (window["start"], window["end"]) if {"start", "end"} <= set(window) else None
    return ChannelStyle(default.name, channel.get("color", default.colour), limits)


def _check_levels(path: Path, axes: Sequence[str], shapes: Sequence[Sequence[int]]) -> None:
    for axis in "yx":
        lengths = [shape[axes.index(axis)] for shape in shapes]
        for larger, smaller in pairwise(lengths):
            if smaller not in (larger // 2, -(-larger // 2)):
                raise InputError(
                    f"The store {path} goes from {larger} to {smaller} pixels in {axis} between "
                    "two levels: OMERO's Zarr reader needs omezarr_coarsening_factor: 2."
                )


def _json(file: Path, store: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise InputError(f"The store {store} has no {file.name}: {ONLY_04}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from error
