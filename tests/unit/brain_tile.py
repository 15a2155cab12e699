"""Spots of the real mouse brain tile, found in its anchor channel, which shows every read."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.sbs.spots import find_peaks, log_filter, max_filter
from lib.shared.image_io import read_image

BASES = "ACGT"
SPOTS = 1827  # the number that the literature on this tile uses
BORDER = 5


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def codebook(folder: Path) -> pd.DataFrame:
    rows = _rows(folder, "taglist.csv")
    codes = [row["Code"] for row in rows]
    return pd.DataFrame(
        {"sgRNA": codes, "gene_symbol": [row["Name"] for row in rows], "barcode": codes}
    )


def stack(folder: Path, names: Sequence[str] = BASES) -> np.ndarray:
    """Channels of the four cycles (T, C, Y, X) uint16."""
    dye = {meaning: dye for dye, meaning in _rows(folder, "channel_info.csv")[0].items()}
    raw = folder / "selected-tiles"
    planes = [
        [read_image(raw / f"out_opt_flow_registered_X12_Y1_c0{c}_{dye[n]}.tif") for n in names]
        for c in range(1, 5)
    ]
    return np.array(planes).reshape(4, len(names), *planes[0][0].shape[-2:])


def anchor_spots(folder: Path) -> pd.DataFrame:
    """The bases table of the brightest spots of the anchor, the mean over four cycles."""
    score = log_filter(stack(folder, ["anchor"]))[0].mean(axis=(0, 1))
    peaks = find_peaks(score, window=5)
    inner = np.zeros(peaks.shape, bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    peaks[~inner] = 0
    least = np.sort(peaks[peaks > 0])[::-1][SPOTS]
    i, j = np.nonzero(peaks > least)
    light = max_filter(log_filter(stack(folder))[0])[:, :, i, j]
    table = {"plate": "1", "well": "A1", "tile": "X12Y1", "read": np.arange(len(i)), "cell": 0}
    table |= {"i": i, "j": j, "peak": peaks[i, j], "cell_near_0": 0}
    table["near_px_0"] = np.float32(np.nan)
    for t in range(4):
        for c, base in enumerate(BASES):
            table[f"{base}_{t + 1}"] = light[t, c]
    return pd.DataFrame(table)
