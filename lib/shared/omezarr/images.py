"""Images to be stored, from arrays, TIFFs and raw files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lib.shared.errors import InputError
from lib.shared.image_io import ImageInfo, read_image, read_image_info
from lib.shared.omezarr.axes import guess_axes, to_stored
from lib.shared.omezarr.store import LABEL_DTYPES, StoreImage, narrow_labels

if TYPE_CHECKING:
    from lib.preprocess.readers import RawSource

Paths = str | os.PathLike | Sequence[str | os.PathLike]
PixelSize = tuple[float, float]
LabelMetadata = Mapping[str, Mapping[str, Any]]
UNKNOWN_PIXEL_SIZE: PixelSize = (1.0, 1.0)


def image_of_array(
    image: np.ndarray,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    channel_labels: Sequence[str] | None = None,
    stage_position: tuple[float, float] | None = None,
    is_label: bool | None = None,
    labels: Mapping[str, np.ndarray] | None = None,
    label_attributes: LabelMetadata | None = None,
    sources: Sequence[str | os.PathLike] = (),
) -> StoreImage:
    """An image as it is stored; the meaning of all is told in `lib.shared.omezarr_utils`."""
    source_axes = axes or guess_axes(image.shape, channel_labels)
    pixels, stored_axes = to_stored(image, source_axes)
    is_label = pixels.dtype.name in LABEL_DTYPES if is_label is None else is_label
    return StoreImage(
        narrow_labels(pixels) if is_label else pixels,
        stored_axes,
        source_axes,
        None if pixel_size is None else (float(pixel_size[0]), float(pixel_size[1])),
        channel_labels,
        _origin(stage_position, pixels.shape[-2:], pixel_size),
        is_label,
        {name: narrow_labels(masks) for name, masks in (labels or {}).items()},
        label_attributes or {},
        [_source(path) for path in sources],
    )


def image_of_tiff(
    tiff_path: Paths,
    pixel_size: PixelSize | None = None,
    channel_labels: Sequence[str] | None = None,
    label_metadata: LabelMetadata | None = None,
    stage_position: tuple[float, float] | None = None,
    is_label: bool | None = None,
) -> StoreImage:
    """The image of a TIFF, or of several stacked as channels, with masks from other TIFFs."""
    paths = [tiff_path] if isinstance(tiff_path, str | os.PathLike) else list(tiff_path)
    image, axes, info = _read_tiffs(paths)
    labels, attributes = {}, {}
    for name, entry in (label_metadata or {}).items():
        labels[name] = read_image(entry["tiff_path"])
        attributes[name] = {key: value for key, value in entry.items() if key != "tiff_path"}
    if pixel_size is None or tuple(pixel_size) == UNKNOWN_PIXEL_SIZE:
        pixel_size = info.pixel_size or _pixel_size_of_others(paths[0])
    names = channel_labels or info.channel_names
    return image_of_array(
        image, axes, pixel_size, names, stage_position, is_label, labels, attributes, paths
    )


def image_of_raw(
    sources: "Sequence[RawSource]",
    channel_labels: Sequence[str],
    z: int | Literal["max"] = "max",
    pixel_size: PixelSize | None = None,
    stage_position: tuple[float, float] | None = None,
) -> StoreImage:
    """The image of one tile from its raw files, where the stage was when they do not differ."""
    from lib.preprocess.metadata import raw_pixel_size
    from lib.preprocess.readers import raw_metadata, read_raw

    rows = raw_metadata(sources)
    image = read_raw(sources, channel_labels, z)
    if stage_position is None and None not in (rows[0]["y_pos"], rows[0]["x_pos"]):
        stage_position = rows[0]["y_pos"], rows[0]["x_pos"]
    paths = list(dict.fromkeys(source.path for source in sources))
    size = pixel_size or raw_pixel_size(rows)
    return image_of_array(image, "CYX", size, channel_labels, stage_position, sources=paths)


def _pixel_size_of_others(path: str | os.PathLike) -> PixelSize | None:
    """What the headers of another program say (OME-XML, ImageJ, Micro-Manager); None if nothing."""
    from lib.preprocess.readers.read import open_raw
    from lib.preprocess.readers.source import RawImageError

    try:
        with open_raw(Path(path)) as file:
            return file.image(0).pixel_size
    except RawImageError:  # no image as microscopes leave them, such as a colour photograph
        return None


def _read_tiffs(paths: Sequence[str | os.PathLike]) -> tuple[np.ndarray, str, ImageInfo]:
    info = read_image_info(paths[0])
    images = [read_image(path) for path in paths]
    if len(paths) == 1:
        axes = info.axes.replace("S", "C")  # samples of a colour image
        return images[0], axes if set(axes) <= set("TCYX") else guess_axes(info.shape), info
    for path, image in zip(paths, images, strict=True):
        if image.ndim != 2 or image.shape != images[0].shape:
            raise InputError(
                f"The image {path} has shape {image.shape}, and {paths[0]} has "
                f"{images[0].shape}: only planes of one size are stacked."
            )
    return np.stack(images), "CYX", info


def _origin(
    stage_position: tuple[float, float] | None,
    shape: Sequence[int],
    pixel_size: PixelSize | None,
) -> tuple[float, float]:
    """Middle of the first pixel of an image whose middle is at `stage_position`."""
    if stage_position is None or pixel_size is None:
        return 0.0, 0.0
    y, x = (
        float(middle - (n - 1) / 2 * size)
        for middle, n, size in zip(stage_position, shape, pixel_size, strict=True)
    )
    return y, x


def _source(path: str | os.PathLike) -> dict[str, Any]:
    """How provenance names a file: a folder (a store) has no size."""
    path = Path(path)
    return {"path": str(path)} | ({"bytes": path.stat().st_size} if path.is_file() else {})
