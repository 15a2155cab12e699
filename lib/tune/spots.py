"""Reads of a tile under several settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from lib.qc.images import centre_crop, stretch
from lib.qc.metrics import chance_mapping
from lib.qc.style import MAPPED_MARK, UNMAPPED_MARK
from lib.sbs.alignment import common_area
from lib.sbs.base_calling import call_bases, confident_reads, spell
from lib.sbs.decoding import match_barcodes
from lib.sbs.reads import Sequencing, part
from lib.sbs.spot_light import light_of
from lib.sbs.spots import Spots, find_spots, log_filter
from lib.shared.chemistry import one_channel_each
from lib.shared.errors import InputError
from lib.shared.library import read_library
from lib.shared.segmentation import segment
from lib.tune.figure import Marks, Panel
from lib.tune.grid import Grid, Setting
from lib.tune.images import Screen, TileSource
from lib.tune.segmentation import sbs_planes

CROP_PX = 128
CALLERS = ("argmax", "median")
# Of the default grid: in units of the noise, and by which it departs from a configured number.
THRESHOLDS = (1.0, 1.25, 1.5, 2.0, 3.0)
FACTORS = (0.25, 0.5, 0.75, 1.5, 2.0)


@dataclass(frozen=True)
class Codebook:
    """What called reads are compared with.

    barcodes : (K,) library sequences at the places of the guide.
    chance : share of random barcodes that are among them.
    """

    sequencing: Sequencing
    barcodes: np.ndarray
    chance: float

    def on(self, index: np.ndarray) -> np.ndarray:
        """Which of (n, T) called reads are a library barcode, without correction: (n,) bool."""
        plan = self.sequencing
        barcodes = spell(index, plan.bases, plan.positions, plan.length)
        return match_barcodes(part(barcodes, plan.mapping), self.barcodes).entry >= 0


def read_codebook(screen: Screen) -> Codebook:
    """The library of a screen, as its cycles read it.

    Raises InputError where not every base has a channel of its own.
    """
    config = screen.settings
    if not one_channel_each(config["bases"], config["base_encoding"]):
        raise InputError(
            "config key sbs.base_encoding does not give every base a channel of its own, which the "
            "callers that spots are compared by need: leave sbs.spot_threshold at auto."
        )
    keys = ("bases", "base_encoding", "failed_cycles", "mapping_cycles", "recombination_cycles")
    plan = Sequencing.plan(screen.cycles, **{key: config[key] for key in keys})
    library = read_library(config["barcode_library_fp"], **plan.library_places())
    barcodes = library["barcode"].to_numpy("U")
    read = len(set(plan.mapping) & set(plan.positions))
    # Letters that no cycle has read tell nothing: N in all barcodes alike.
    codes = [code.replace("N", "") for code in barcodes]
    return Codebook(plan, barcodes, chance_mapping(codes, read))


def default_grid(section: dict[str, Any]) -> Grid:
    """The configured threshold, auto, and others around it."""
    now = section["spot_threshold"]
    others = THRESHOLDS if now == "auto" else [round(factor * now, 2) for factor in FACTORS]
    return {"spot_threshold": list(dict.fromkeys([now, "auto", *others]))}


def compare(
    source: TileSource, settings: Sequence[Setting], codebook: Codebook, crop: int
) -> tuple[list[dict[str, Any]], list[Panel]]:
    """Rows of the table and panels of the figure, one per setting, of a tile."""
    bases = codebook.sequencing.bases
    indices = [source.channel(channel) for channel in codebook.sequencing.channels]
    stack, shifts = source.load_sbs(source.cycles)
    dapi, glow = sbs_planes(stack, source.cycles, source)
    cells = segment(dapi, glow, source.settings["segmentation"]).cells
    area = common_area(shifts[:, indices], stack.shape[-2:])
    field = source.field(stack.shape[-2:])
    field = None if field is None else field[indices]

    found: dict[int, tuple[dict[str, Any], Panel]] = {}
    for sigma, group in _by_sigma(settings):
        filtered, noise = log_filter(stack[:, indices], sigma, field)
        background = _background(filtered, crop)
        for setting in group:
            sbs = setting.config["sbs"]
            chosen = sbs["spot_threshold"], sbs["spot_window_px"], sbs["border_px"]
            light = light_of(stack[:, indices], field, sbs["spot_measure"], sigma)
            spots = find_spots(filtered, noise, *chosen, area, light)
            row, on_codebook = _counts(spots, cells, codebook)
            row |= {f"noise_{base}": noise[c] for c, base in enumerate(bases)}
            window = centre_crop(stack.shape[-2:], crop)
            found[setting.number] = row, _panel(background, spots, on_codebook, window)
    rows, panels = zip(*(found[setting.number] for setting in settings), strict=True)
    rows = scored(rows)
    captioned = [
        replace(panel, caption=_caption(row)) for row, panel in zip(rows, panels, strict=True)
    ]
    return rows, captioned


def _by_sigma(settings: Sequence[Setting]) -> Iterator[tuple[float, list[Setting]]]:
    """Settings by the filter they need: each is computed once, and one is held at a time."""

    def sigma(setting: Setting) -> float:
        return setting.config["sbs"]["spot_sigma_px"]

    for value, group in groupby(sorted(settings, key=sigma), sigma):
        yield value, list(group)


def _counts(
    spots: Spots, cells: np.ndarray, codebook: Codebook
) -> tuple[dict[str, Any], np.ndarray]:
    """Numbers of a setting, and which reads (n,) the median caller finds in the library."""
    count = len(spots.peak)
    rows = np.clip(np.rint(spots.i).astype(int), 0, cells.shape[0] - 1)
    columns = np.clip(np.rint(spots.j).astype(int), 0, cells.shape[1] - 1)
    in_cell = cells[rows, columns] > 0
    table = {
        "candidates": count,
        "share_in_cells": in_cell.mean() if count and cells.any() else np.nan,
        "threshold": spots.threshold,
    }
    confident = confident_reads(spots.peak, in_cell)
    for caller in CALLERS:
        on_codebook = codebook.on(call_bases(spots.intensity, confident, caller).index)
        table[f"on_codebook_{caller}"] = on_codebook.mean() if count else np.nan
    # Reads called at random would be on the codebook by chance: they are taken off.
    table["chance"] = codebook.chance
    beyond = on_codebook.sum() - codebook.chance * count
    table["reads_beyond_chance"] = (
        max(beyond / (1 - codebook.chance), 0.0) if codebook.chance < 1 else np.nan
    )
    return table, on_codebook


def scored(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a tile with the score that settings are ranked by.

    The harmonic mean of how many reads speak (`reads_beyond_chance`, as a share of the most
    that any setting finds) and how many of the candidates do: a threshold too high loses the
    first, one too low the second.
    """
    most = np.nan_to_num([row["reads_beyond_chance"] for row in rows]).max(initial=0)
    # 2 s n / (s + n) with s = speaking / most and n = speaking / candidates, without 0 / 0.
    return [
        row | {"score": 2 * row["reads_beyond_chance"] / (row["candidates"] + most)}
        if most > 0
        else row | {"score": np.nan}
        for row in rows
    ]


def _caption(row: dict[str, Any]) -> str:
    lines = [f"{row['candidates']:,} reads above {row['threshold']:.2f}"]
    if row["candidates"]:
        lines.append(f"{row['on_codebook_median']:.0%} in library")
    if np.isfinite(row["score"]):
        lines[-1] += f", score {row['score']:.2f}"
    return "\n".join(lines)


def _background(filtered: np.ndarray, crop: int) -> np.ndarray:
    """The middle of a tile, strongest response over cycles and bases, in grey (y, x, 3)."""
    window = centre_crop(filtered.shape[-2:], crop)
    strongest = filtered[..., window[0], window[1]].max(axis=(0, 1))
    grey = stretch(np.sqrt(strongest), 20, 99.9)
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)


def _panel(
    background: np.ndarray, spots: Spots, on_codebook: np.ndarray, window: tuple[slice, slice]
) -> Panel:
    i, j = spots.i - window[0].start, spots.j - window[1].start
    inside = (i > -0.5) & (i < background.shape[0] - 0.5)
    inside &= (j > -0.5) & (j < background.shape[1] - 0.5)
    marks = [
        Marks(j[inside & kind], i[inside & kind], colour)
        for kind, colour in ((on_codebook, MAPPED_MARK), (~on_codebook, UNMAPPED_MARK))
    ]
    return Panel(background, background.shape[:2], marks=tuple(marks))
