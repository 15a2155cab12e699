"""What of a well is shown: a stage's image, its labels, its reads, each in its place."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lib.shared.layout import SBS
from visualization.mosaic import Mosaic
from visualization.pixels import (
    UNIT_PIXEL,
    Channel,
    Form,
    Pixels,
    StorePixels,
    TiffPixels,
    form_of,
    label_names,
)
from visualization.places import corners_of, tile_origins
from visualization.reads import Reads, read_reads
from visualization.stores import (
    ALIGNED,
    CHECKPOINTS,
    SEGMENTED,
    TileImage,
    images_of_stage,
    select_well,
    stores_of_stage,
    tiffs_of_output,
)

log = logging.getLogger(__name__)

MASKS = ("nuclei", "cells")


@dataclass(frozen=True)
class Picture:
    """One channel, or the labels of one kind of object, of a well.

    Attributes
    ----------
    channel : index into the tiles' axis C.
    """

    mosaic: Mosaic
    channel: int
    shown_as: Channel


@dataclass(frozen=True)
class WellView:
    """All there is to see of a well.

    Attributes
    ----------
    images, labels : from the first to the topmost.
    reads : in pixels of the mosaic; None where there are none.
    pixel_size : (y, x); micrometres where `in_micrometres`, else 1.
    origin : (y, x) of the middle of the mosaic's first pixel, in the same unit.
    """

    name: str
    images: Sequence[Picture]
    labels: Sequence[Picture]
    reads: Reads | None
    pixel_size: tuple[float, float]
    in_micrometres: bool
    origin: tuple[float, float]

    @property
    def is_large(self) -> bool:
        """Whether there is an image whose objects cannot be told apart in the whole."""
        return any(picture.mosaic.is_large for picture in self.images)


def view_well(
    results: Path,
    module: str,
    stage: str,
    plate: str | None = None,
    well: str | None = None,
    tiles: Sequence[str] | None = None,
) -> WellView:
    """Gather a stage of a well, its labels and, of sequencing images, its reads.

    Raises InputError naming what is there, when something that was asked for is not.
    """
    source = f"images of {stage} in {results}"
    images = select_well(images_of_stage(results, module, stage), plate, well, tiles, source)
    if not images[0].path.is_dir():
        log.warning(
            "%s has no OME-Zarr of %s: its TIFFs are shown, which takes longer; "
            "export them by %s.omezarr_export.",
            *(results, stage, module),
        )
    form = form_of([image.path for image in images])
    size = form.pixel_size or UNIT_PIXEL
    corners, origin = corners_of(tile_origins(results, module, images, form), size)
    pictures = _pictures(images, form, corners)
    return WellView(
        f"plate {images[0].plate}, well {images[0].well}",
        [] if form.is_label else pictures,
        pictures if form.is_label else _labels(results, module, images, corners),
        _read_reads(results, images, corners) if module == "sbs" else None,
        size,
        form.pixel_size is not None,
        origin,
    )


def _read_reads(results: Path, images: Sequence[TileImage], corners: np.ndarray) -> Reads | None:
    template, first = SBS["call_reads"][0], images[0]
    path = results / template.format(plate=first.plate, well=first.well)
    by_tile = {image.tile: corner for image, corner in zip(images, corners, strict=True)}
    return read_reads(path, by_tile) if path.is_file() else None


def _labels(
    results: Path, module: str, images: Sequence[TileImage], corners: np.ndarray
) -> list[Picture]:
    """Labels inside the stores, else from the stores of the segmentation, else its TIFFs.

    Labels that only some of the tiles have are not shown.
    """
    aligned = stores_of_stage(results, module, ALIGNED[module])
    for tiles in filter(None, (images, _matching(aligned, images))):
        if inside := _labels_inside(tiles, corners):
            return inside
    stage = SEGMENTED[module]
    if stores := _matching(stores_of_stage(results, module, stage), images):
        return _pictures(stores, form_of([store.path for store in stores]), corners)
    templates = [path for path in CHECKPOINTS[module][stage] if path.endswith(".tiff")]
    tiffs = {
        name: _matching(tiffs_of_output(results, template), images)
        for name, template in zip(MASKS, templates, strict=True)
    }
    return [_label_picture(name, tiles, corners) for name, tiles in tiffs.items() if tiles]


def _labels_inside(tiles: Sequence[TileImage], corners: np.ndarray) -> list[Picture]:
    names = [label_names(tile.path) for tile in tiles]
    common = [name for name in names[0] if all(name in others for others in names)]
    return [
        _label_picture(
            name, [replace(tile, path=tile.path / "labels" / name) for tile in tiles], corners
        )
        for name in common
    ]


def _label_picture(name: str, tiles: Sequence[TileImage], corners: np.ndarray) -> Picture:
    picture = _pictures(tiles, form_of([tile.path for tile in tiles]), corners)[0]
    return replace(picture, shown_as=replace(picture.shown_as, label=name))


def _pictures(tiles: Sequence[TileImage], form: Form, corners: np.ndarray) -> list[Picture]:
    """All channels of some tiles."""
    pixels: list[Pixels] = [
        StorePixels(tile.path) if tile.path.is_dir() else TiffPixels(tile.path, form)
        for tile in tiles
    ]
    mosaic = Mosaic(form, pixels, corners)
    return [Picture(mosaic, number, channel) for number, channel in enumerate(form.channels)]


def _matching(candidates: Sequence[TileImage], images: Sequence[TileImage]) -> list[TileImage]:
    """The candidate of each image's place; empty where one has none."""
    by_place = {image.place: image for image in candidates if not image.is_overview}
    found = [by_place.get(image.place) for image in images]
    return [] if None in found else found
