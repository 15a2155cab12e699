"""The spots of a tile, from its files."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.sbs.alignment import common_area, corner_shifts, shifts_of_rows
from lib.sbs.spot_light import light_of
from lib.sbs.spots import Spots, find_spots, log_filter
from lib.shared.chemistry import base_channels
from lib.shared.image_io import read_image, read_image_info
from lib.shared.tables import read_rows


@dataclass(frozen=True)
class TileSpots:
    """Spots of a tile and what they were found in.

    channels : C names, of the bases. filtered : (T, C, Y, X) float32. noise : (C,).
    pixel_size : um, None if unknown.
    """

    spots: Spots
    channels: list[str]
    filtered: np.ndarray
    noise: np.ndarray
    pixel_size: float | None


def spots_of_tile(
    aligned: str | os.PathLike,
    alignment: str | os.PathLike,
    ic_field: Iterable[str | os.PathLike],
    settings: Mapping[str, Any],
    measure: str = "log",
) -> TileSpots:
    """Find and measure the reads of a tile.

    Parameters
    ----------
    aligned, alignment : files of `align_sbs`. ic_field : the illumination field, if any.
    settings : keys of the config section `sbs`.
    measure : what their light is read from, see `lib.sbs.spot_light`.
    """
    channels = base_channels(settings["bases"], settings["base_encoding"])
    indices = [settings["channel_names"].index(channel) for channel in channels]
    info = read_image_info(aligned)
    stack = read_image(aligned)[:, indices]
    fields = [read_image(path)[indices] for path in ic_field]
    sigma = settings["spot_sigma_px"]
    filtered, noise = log_filter(stack, sigma, *fields)
    rows = [row for row in read_rows(alignment) if row["channel"] in channels]
    shape = info.shape[-2:]

    spots = find_spots(
        filtered,
        noise,
        settings["spot_threshold"],
        settings["spot_window_px"],
        settings["border_px"],
        common_area(corner_shifts(*shifts_of_rows(rows), shape), shape),
        light_of(stack, fields[0] if fields else None, measure, sigma),
    )
    return TileSpots(spots, channels, filtered, noise, info.pixel_size)
