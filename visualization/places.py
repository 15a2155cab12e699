"""Where the tiles of a well lie."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.shared.layout import PREPROCESS
from lib.shared.omezarr.plate import in_a_grid
from lib.shared.tables import read_table
from visualization.pixels import UNIT_PIXEL, Form, store_origin
from visualization.stores import TileImage

log = logging.getLogger(__name__)


def tile_origins(
    results: Path, module: str, images: Sequence[TileImage], form: Form
) -> list[tuple[float, float]]:
    """Middle (y, x) of the first pixel of each tile, in micrometres of the stage.

    From the stores, else from the stage positions that the raw files gave, else side by
    side in a grid.
    """
    if images[0].path.is_dir():
        found = [store_origin(image.path) for image in images]
        if None not in found:
            return found
    size, shape = form.pixel_size or UNIT_PIXEL, form.level_shapes[0][-2:]
    template = PREPROCESS[f"extract_metadata_{module}"][0]
    table = results / template.format(plate=images[0].plate, well=images[0].well)
    if form.pixel_size and table.is_file():
        placed = stage_origins(table, size, shape)
        if all(image.tile in placed for image in images):
            return [placed[image.tile] for image in images]
    if len(images) > 1:
        log.warning("Where the tiles lie is not known: they are put side by side.")
    return in_a_grid(len(images), shape, size)


def stage_origins(
    table: Path, pixel_size: tuple[float, float], shape: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """Origins of the tiles, from the stage positions of their middles, where known."""
    rows = read_table(table, ["tile", "y_pos", "x_pos"]).dropna().drop_duplicates("tile")
    half = [(n - 1) / 2 * size for n, size in zip(shape, pixel_size, strict=True)]
    origins = zip(rows["y_pos"] - half[0], rows["x_pos"] - half[1], strict=True)
    return dict(zip(rows["tile"], origins, strict=True))


def corners_of(
    origins: Sequence[tuple[float, float]], pixel_size: tuple[float, float]
) -> tuple[np.ndarray, tuple[float, float]]:
    """Place tiles in their mosaic.

    Parameters
    ----------
    origins : (y, x) of the middle of each tile's first pixel, in micrometres.
    pixel_size : (y, x) in micrometres.

    Returns
    -------
    (n, 2) pixels from the corner of the mosaic to that of each tile, fractions kept, and
    (y, x) of the middle of the mosaic's first pixel, in micrometres.
    """
    places = np.array(origins, float)
    first = places.min(axis=0)
    return (places - first) / np.array(pixel_size), (float(first[0]), float(first[1]))
