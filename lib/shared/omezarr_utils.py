"""OME-Zarr stores: written from TIFF checkpoints and raw files, read, coloured and checked.

`python -m lib.shared.omezarr_utils check STORE...` says what is wrong with stores.

Stores are mirrors of images for viewers (napari, Vizarr, OMERO); how they are
made is told in docs/omezarr.md.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lib.shared.omezarr.images import (
    UNKNOWN_PIXEL_SIZE,
    LabelMetadata,
    Paths,
    PixelSize,
    image_of_array,
    image_of_raw,
    image_of_tiff,
)
from lib.shared.omezarr.metadata import Version, numbered_labels
from lib.shared.omezarr.store import StoreOptions, write_store

if TYPE_CHECKING:
    from lib.preprocess.readers import RawSource


def export_tiff_to_omezarr(
    tiff_path: Paths,
    output_dir: str | os.PathLike,
    pixel_size: PixelSize | None = UNKNOWN_PIXEL_SIZE,
    chunk_shape: tuple[int, ...] = (1, 512, 512),
    coarsening_factor: int = 2,
    max_levels: int | None = None,
    channel_labels: Sequence[str] | None = None,
    label_metadata: LabelMetadata | None = None,
    *,
    stage_position: tuple[float, float] | None = None,
    is_label: bool | None = None,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Mirror a TIFF as the multiscale OME-Zarr `output_dir`; level 0 is its pixels, bit for bit.

    Parameters
    ----------
    tiff_path : image of axes YX, CYX, YXC or TCYX; several of axes YX are stacked as
        channels (the masks of nuclei and cells as one store).
    pixel_size : (y, x) in micrometres. None, or the default, stands for what the
        TIFF says; where it says nothing lengths are pixels and no unit is written.
    chunk_shape : of the last axes; leading axes that it does not name get 1.
    coarsening_factor : pixels of a level along y and x that make one of the next.
    max_levels : at most so many levels; None: until one fits into a chunk.
    channel_labels : one per channel; None: those of the TIFF.
    label_metadata : masks of objects in this image, by name (`nuclei`, `cells`), each a
        mapping with `tiff_path` and, if wanted, keys of NGFF's `image-label` such as
        `colors` and `properties`. They become `labels/<name>` in the store.
    stage_position : (y, x) of the middle of the image in micrometres.
    is_label : whether pixels are numbers of objects; None: 32-bit integers are.
    provenance : what is noted beside the metadata of NGFF: `version` of the workflow,
        `stage`, `config_hash`. Path and size of the TIFF are added as `source`.
    options : `version`, `sharded`, `level_prefix`, `compression` and `threads` of
        `lib.shared.omezarr.store.StoreOptions`.

    Raises
    ------
    InputError
        When a TIFF is missing or damaged.
    ValueError
        When the image, or its masks, cannot be stored as told.
    OSError
        When the disk refuses; nothing of the store is left then.
    """
    chosen = StoreOptions(tuple(chunk_shape), coarsening_factor, max_levels, **options)
    image = image_of_tiff(
        tiff_path, pixel_size, channel_labels, label_metadata, stage_position, is_label
    )
    return write_store(output_dir, image, chosen, provenance)


def write_multiscale_omezarr(
    image: np.ndarray,
    output_dir: str | os.PathLike,
    pixel_size: PixelSize | None = None,
    chunk_shape: tuple[int, ...] = (1, 512, 512),
    coarsening_factor: int = 2,
    max_levels: int | None = None,
    *,
    axes: str | None = None,
    channel_labels: Sequence[str] | None = None,
    stage_position: tuple[float, float] | None = None,
    is_label: bool | None = None,
    labels: Mapping[str, np.ndarray] | None = None,
    label_attributes: LabelMetadata | None = None,
    sources: Sequence[str | os.PathLike] = (),
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write an image, and masks of its objects, as the OME-Zarr `output_dir`.

    Parameters are those of `export_tiff_to_omezarr`, and
    axes : a letter per dimension, of "TCYX"; None: guessed from the shape.
    labels : masks (Y, X) of objects in this image, by name.
    label_attributes : further keys of their `image-label`, by name.
    sources : files that the image comes from, noted with `provenance`.

    The store appears whole or not at all. Raises ValueError for what cannot be stored
    as told, OSError when the disk refuses.
    """
    chosen = StoreOptions(tuple(chunk_shape), coarsening_factor, max_levels, **options)
    content = image_of_array(
        image,
        axes,
        pixel_size,
        channel_labels,
        stage_position,
        is_label,
        labels,
        label_attributes,
        sources,
    )
    return write_store(output_dir, content, chosen, provenance)


def raw_to_omezarr(
    sources: "Sequence[RawSource]",
    output_dir: str | os.PathLike,
    channel_labels: Sequence[str],
    z: int | Literal["max"] = "max",
    pixel_size: PixelSize | None = None,
    *,
    stage_position: tuple[float, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write one tile from its raw files (ND2, TIFF, OME-TIFF, OME-Zarr), without a TIFF between.

    Parameters
    ----------
    sources : `RawSource` of each row of the sample sheet for this tile, as
        `lib.preprocess.readers.read_raw` takes them.
    channel_labels : the channels of the tile.
    z : plane to take, or "max" for the maximum of all.
    pixel_size, stage_position : None: what the files say.
    options : of `StoreOptions`, `chunk_shape` and so on.

    Raises `InputError` for raw files as `read_raw` does, OSError when the disk refuses.
    """
    image = image_of_raw(sources, channel_labels, z, pixel_size, stage_position)
    return write_store(output_dir, image, StoreOptions(**options), provenance)


def nd2_to_omezarr(
    nd2_path: str | os.PathLike,
    output_dir: str | os.PathLike,
    channel_labels: Sequence[str] | None = None,
    z: int | Literal["max"] = "max",
    position: int | None = None,
    time: int | None = None,
    **others: Any,
) -> Path:
    """Write one position of an ND2 file, all its channels; `others` are of `raw_to_omezarr`.

    channel_labels : None: those of the file.
    position, time : index in a file of several positions or time points.
    """
    from lib.preprocess.readers import RawSource, raw_metadata

    source = RawSource(Path(nd2_path), position=position, time=time)
    if channel_labels is None:
        row = raw_metadata([source])[0]
        names = row["channels"]
        channel_labels = names.split(", ") if names else numbered_labels(row["size_c"])
    return raw_to_omezarr([source], output_dir, channel_labels, z, **others)


@dataclass(frozen=True)
class WellField:
    """One tile of a well as a field of a plate.

    Attributes
    ----------
    name : of its folder in the well: letters and digits, the tile.
    tiff_path, label_metadata : as of `export_tiff_to_omezarr`.
    stage_position : (y, x) of its middle in micrometres; None where unknown.
    """

    name: str
    tiff_path: Paths
    label_metadata: LabelMetadata = field(default_factory=dict)
    stage_position: tuple[float, float] | None = None


def export_well_to_omezarr(
    fields: Sequence[WellField],
    plate_dir: str | os.PathLike,
    well: str,
    pixel_size: PixelSize | None = UNKNOWN_PIXEL_SIZE,
    chunk_shape: tuple[int, ...] = (1, 512, 512),
    coarsening_factor: int = 2,
    max_levels: int | None = None,
    channel_labels: Sequence[str] | None = None,
    *,
    is_label: bool | None = None,
    provenance: Mapping[str, Any] | None = None,
    overview_side: int = 1024,
    **options: Any,
) -> Path:
    """Write the fields of one well ("A1") into the plate `plate_dir`; wells may run in parallel.

    Each field has a `translation` to its stage position where all are known. The first
    image of the well is `overview`, all fields stitched (in a grid, where positions are
    not known) on a square of `overview_side` px, or none with 0. The well appears whole
    or not at all; `write_plate_metadata` follows when all wells are there. The rest is as
    in `export_tiff_to_omezarr`. Returns the folder of the well.
    """
    from lib.shared.omezarr.plate import split_well, write_well

    chosen = StoreOptions(tuple(chunk_shape), coarsening_factor, max_levels, **options)
    placed = all(one.stage_position is not None for one in fields)
    images = (
        image_of_tiff(
            one.tiff_path,
            pixel_size,
            channel_labels,
            one.label_metadata,
            one.stage_position if placed else None,
            is_label,
        )
        for one in fields
    )
    middles = [one.stage_position for one in fields] if placed else None
    names = [one.name for one in fields]
    path = Path(plate_dir, *split_well(well))
    return write_well(path, names, images, middles, chosen, provenance or {}, overview_side)


def write_plate_metadata(
    plate_dir: str | os.PathLike,
    wells: Sequence[str],
    version: Version = "0.4",
    name: str | None = None,
) -> Path:
    """Make `plate_dir` a plate of `wells` (such as "A1"), which are all there; runs last.

    Raises `InputError` for a well that is not there or of another version.
    """
    from lib.shared.omezarr.plate import write_plate

    return write_plate(plate_dir, wells, version, name)


def read_omezarr(path: str | os.PathLike, level: int = 0) -> np.ndarray:
    """Read a level of an OME-Zarr (0.4 or 0.5), in the axes of the image it mirrors.

    Raises `InputError` naming the store when it is missing, lacks chunks or is damaged.
    """
    from lib.shared.omezarr.read import read_store

    return read_store(path, level)


def ensure_omero_channel_colors(
    path: str | os.PathLike, channel_labels: Sequence[str] | None = None
) -> Path:
    """Give every channel of an existing image a label, a colour of its own and a window.

    What a store of anybody says soundly of its channels stays, except that
    `channel_labels`, where given, go before its labels. Only the attributes are
    replaced, in one step. Raises `InputError` naming the store.
    """
    from lib.shared.omezarr.patch import patch_channels
    from lib.shared.omezarr.read import naming_store

    with naming_store(path):
        patch_channels(Path(path), channel_labels)
    return Path(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check stores from the command line; 0 where nothing is wrong, else 1."""
    from lib.shared.omezarr.check import main as check

    return check(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    raise SystemExit(main())
