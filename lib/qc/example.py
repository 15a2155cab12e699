"""The tile of a well that its pictures show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.qc.metrics import example_tiles
from lib.qc.style import place
from lib.shared.image_io import read_image, read_image_info


@dataclass(frozen=True)
class Example:
    """A tile with its images: `aligned` ([T,] C, y, x), `nuclei` and `cells` (y, x).

    `shown` is what figures say of it: its place, and the pixel size in micrometres.
    """

    tile: str
    aligned: np.ndarray
    nuclei: np.ndarray
    cells: np.ndarray
    shown: dict[str, str | float | None]


def read_example(
    plate: str, well: str, tiles: Sequence[str], info: pd.DataFrame, images: Mapping[str, str]
) -> Example:
    """Read the tile whose number of cells is the most usual of `tiles`; empty ones do not count.

    Parameters
    ----------
    info : has a row per cell, with its `tile`.
    images : path templates of `aligned`, `nuclei` and `cells`.
    """
    counts = info.groupby("tile").size()
    counts = counts.reindex([tile for tile in tiles if tile in counts.index] or tiles, fill_value=0)
    table = counts.rename("cells").rename_axis("tile").reset_index()
    tile = example_tiles(table.assign(plate=plate, well=well))["tile"].item()
    paths = {
        name: template.format(plate=plate, well=well, tile=tile)
        for name, template in images.items()
    }
    size = read_image_info(paths["aligned"]).pixel_size
    shown = {"place": place(plate, well, tile), "pixel_size": None if size is None else size[0]}
    arrays = {name: read_image(path) for name, path in paths.items()}
    return Example(tile, shown=shown, **arrays)
