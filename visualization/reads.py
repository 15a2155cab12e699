"""Reads as points: where each lies in the mosaic, and its colour."""

import colorsys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lib.shared.omezarr.colors import known_color
from lib.shared.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

ColorBy = Literal["base", "gene"]
COLUMNS = ("tile", "cell", "i", "j", "barcode", "gene_symbol")
UNKNOWN = "808080"  # no base, or no gene of the library
GOLDEN_RATIO = (1 + 5**0.5) / 2


@dataclass(frozen=True)
class Reads:
    """The reads of some tiles of a well.

    Attributes
    ----------
    places : (n, 2), y and x in pixels of the mosaic.
    table : `tile, cell, barcode, gene_symbol` of each; "" for a read of no gene.
    """

    places: np.ndarray
    table: "pd.DataFrame"

    def colors(self, by: ColorBy) -> np.ndarray:
        """(n, 4) red, green, blue and opacity from 0 to 1.

        By the base of the first cycle, as its channel is shown, or by gene, each of
        which has the same colour in every well.
        """
        if by == "base":
            return _colors(self.table["barcode"].str[:1], base_color)
        return _colors(self.table["gene_symbol"], gene_color)


def read_reads(path: Path, corners: Mapping[str, Sequence[float]]) -> Reads:
    """Read the reads of the tiles whose corners (y, x) in the mosaic are given, in pixels."""
    table = read_table(path, list(COLUMNS))
    table = table[table["tile"].isin(list(corners))].reset_index(drop=True)
    text = ["tile", "barcode", "gene_symbol"]
    table[text] = table[text].astype("object").fillna("")
    corner = np.array([corners[tile] for tile in table["tile"]], float).reshape(-1, 2)
    places = table[["i", "j"]].to_numpy(float) + corner
    return Reads(places, table.drop(columns=["i", "j"]))


def base_color(base: str) -> str:
    """RRGGBB of a base, the colour of its channel."""
    return (known_color(base) if base else None) or UNKNOWN


def gene_color(gene: str) -> str:
    """RRGGBB of a gene: a hue that follows from its name."""
    if not gene:
        return UNKNOWN
    hue = zlib.crc32(gene.encode()) * GOLDEN_RATIO % 1
    return "".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(hue, 0.75, 1))


def _colors(names: "pd.Series", color: Callable[[str], str]) -> np.ndarray:
    codes, uniques = names.factorize()
    table = [[*bytes.fromhex(color(name)), 255] for name in uniques]
    return np.array(table, float).reshape(-1, 4)[codes] / 255
