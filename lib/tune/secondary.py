"""Spots or vacuoles inside the cells of a phenotype tile under several settings.

Nothing tells from the image alone which of them are meant: settings are not ranked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.phenotype.secondary import SecondaryParameters, secondary_table, segment_secondary
from lib.qc.images import centre_crop, enlarge, stretch
from lib.shared.errors import InputError
from lib.shared.segmentation import areas, segment
from lib.tune.figure import Panel
from lib.tune.grid import Grid, Setting
from lib.tune.images import TileSource
from lib.tune.segmentation import outlined_panel, phenotype_planes, picture_factor

CROP_PX = 192
FACTORS = (0.6, 1.6)  # by which the default grid departs from a value
LEAST = {"deviations": 0.1, "diameter_px": 2.0}


def default_grid(section: Mapping[str, Any]) -> Grid:
    """The configured contrast and diameter, and less and more of each."""
    return {
        key: list(dict.fromkeys([section[key], *_around(section[key], least)]))
        for key, least in LEAST.items()
    }


def _around(value: float, least: float) -> list[float]:
    return [max(least, round(factor * value, 1)) for factor in FACTORS]


def check_channel(settings: Sequence[Setting]) -> None:
    """Raise `InputError` where no channel is named in which to seek."""
    if any(_section(setting)["channel"] is None for setting in settings):
        raise InputError(
            "config key phenotype.secondary_objects.channel is null: name the channel that shows "
            "the spots or vacuoles."
        )


def compare(
    source: TileSource, settings: Sequence[Setting], crop: int
) -> tuple[list[dict[str, Any]], list[Panel]]:
    """Rows of the table and panels of the figure, one per setting, of a tile."""
    image = source.load_phenotype()
    cells = segment(*phenotype_planes(image, source), source.settings["segmentation"]).cells
    rows, panels = [], []
    for setting in settings:
        chosen = dict(_section(setting))
        plane = image[source.channel(chosen.pop("channel"))]
        found = segment_secondary(plane, cells, SecondaryParameters(**chosen))
        row = _counts(found, cells)
        caption = f"{row['objects']:,} objects in {row['cells']:,} cells"
        rows.append(row)
        background = _background(plane, crop)
        panels.append(outlined_panel(background, found, cells, plane.shape, crop, caption))
    return rows, panels


def _section(setting: Setting) -> dict[str, Any]:
    return setting.config["phenotype"]["secondary_objects"]


def _counts(found: np.ndarray, cells: np.ndarray) -> dict[str, Any]:
    table = secondary_table(found, cells)
    count, in_all = len(table["label"]), int(np.count_nonzero(areas(cells)))
    return {
        "cells": in_all,
        "objects": count,
        "objects_per_cell": count / in_all if in_all else np.nan,
        "share_of_cells": len(np.unique(table["cell"])) / in_all if in_all else np.nan,
        "median_area_px": float(np.median(table["area"])) if count else np.nan,
        "score": np.nan,
    }


def _background(plane: np.ndarray, crop: int) -> np.ndarray:
    """The middle of the channel in grey, (y, x, 3), enlarged to about the pixels of a panel."""
    grey = stretch(plane[centre_crop(plane.shape, crop)].astype(np.float32), 1, 99.9)
    return enlarge(np.repeat(grey[..., None], 3, axis=2), picture_factor(grey.shape))
