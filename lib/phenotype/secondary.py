"""Secondary objects: spots or vacuoles inside cells, as objects of their own.

The same interface as for nuclei and cells: images in, labels and a table out. A
secondary object has a number of its own in the tile and belongs to the one cell
that holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lib.shared.segmentation import areas, object_table, relabel

NOISE_SIGMA = 1.0  # px, the smoothing before the search
# Contrast counts from this share of a cell's brightness: an image without noise has no
# spots by rounding.
LEAST_CONTRAST = 1e-3
LONGEST = 2.0  # diameters that an object may be long: membranes and filaments are none
HALF = 0.5  # an object ends where half of its own contrast is left, however bright it is


@dataclass(frozen=True)
class SecondaryParameters:
    """What to look for; each field maps onto one key of the config.

    kind : "bright" (spots) or "dark" (vacuoles).
    diameter_px : of the largest object.
    deviations : least contrast in robust standard deviations of the filtered image in
        the same cell.
    min_area_px : least area.
    """

    kind: str = "bright"
    diameter_px: float = 8.0
    deviations: float = 6.0
    min_area_px: int = 4


def segment_secondary(
    image: np.ndarray, cells: np.ndarray, parameters: SecondaryParameters
) -> np.ndarray:
    """Label the small bright or dark objects inside cells.

    The image is smoothed, and what is wider than `diameter_px` is taken off by a
    top-hat (white for bright objects, black for dark ones). Pixels above a threshold of
    each cell's own make pieces, of which the pixels above half of the piece's contrast are
    kept. Those that touch are one object, but never across the border of two cells. What is
    longer than two diameters, such as a membrane, is none.

    Parameters
    ----------
    image : (Y, X) uint16 or float32.
    cells : (Y, X) integer labels, 0 = background.

    Returns
    -------
    (Y, X) int32 labels 1..n in reading order of their first pixels.
    """
    from skimage.measure import label

    side = 2 * round(parameters.diameter_px / 2) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), NOISE_SIGMA)
    hat = cv2.MORPH_TOPHAT if parameters.kind == "bright" else cv2.MORPH_BLACKHAT
    contrast = cv2.morphologyEx(smooth, hat, disk)
    inside = cells > 0
    least = _thresholds(contrast[inside], smooth[inside], cells[inside], parameters.deviations)
    found = np.zeros(cells.shape, bool)
    found[inside] = contrast[inside] > least[cells[inside]]
    pieces = label(np.where(found, cells, 0), connectivity=1, background=0)
    peak = np.zeros(int(pieces.max(initial=0)) + 1, np.float32)
    np.maximum.at(peak, pieces[found], contrast[found])
    found[found] = contrast[found] >= HALF * peak[pieces[found]]
    pieces = label(np.where(found, cells, 0), connectivity=1, background=0).astype(np.int32)
    wrong = areas(pieces) < parameters.min_area_px
    wrong |= _lengths(pieces) > LONGEST * parameters.diameter_px
    pieces[wrong[pieces]] = 0
    return relabel(pieces)


def secondary_table(secondary: np.ndarray, cells: np.ndarray) -> dict[str, np.ndarray]:
    """One row per secondary object: `label`, the `cell` that holds it, `i`, `j`, `area` (px)."""
    table = object_table(secondary)
    cell = np.zeros(int(secondary.max(initial=0)) + 1, np.int32)
    cell[secondary.ravel()] = cells.ravel()
    columns = {"label": table["label"], "cell": cell[table["label"]]}
    return columns | {name: table[name] for name in ("i", "j", "area")}


def secondary_features(
    secondary: np.ndarray,
    cells: np.ndarray,
    image: np.ndarray,
    channel_names: Sequence[str],
    labels: np.ndarray,
) -> dict[str, np.ndarray]:
    """What each cell holds of secondary objects, one value per label.

    Parameters
    ----------
    secondary, cells : (Y, X) labels.
    image : (C, Y, X); channel_names : C names.
    labels : (n,) cells to list, ascending.

    Returns
    -------
    `cell_secondary_count`, `cell_secondary_area` (px, int32; 0 without), and as float32,
    NaN without any: `cell_secondary_mean_area` (px), `cell_secondary_area_fraction` (of the
    cell) and `cell_{channel}_secondary_mean`, the mean grey level of the objects' pixels.
    """
    table = secondary_table(secondary, cells)
    size = int(max(cells.max(initial=0), labels.max(initial=0))) + 1
    count = np.bincount(table["cell"], minlength=size)[labels]
    area = np.bincount(table["cell"], table["area"], size)[labels]
    whole = np.bincount(cells.ravel(), minlength=size)[labels]
    columns = {
        "cell_secondary_count": count.astype(np.int32),
        "cell_secondary_area": area.astype(np.int32),
        "cell_secondary_mean_area": _ratio(area, count),
        "cell_secondary_area_fraction": _ratio(area, whole),
    }
    inside = secondary > 0
    of = cells[inside]
    for name, plane in zip(channel_names, image, strict=True):
        total = np.bincount(of, plane[inside], size)[labels]
        columns[f"cell_{name}_secondary_mean"] = _ratio(total, area)
    return columns


def _lengths(labels: np.ndarray) -> np.ndarray:
    """Longer side in px of the upright box around each label, indexed by label."""
    table = object_table(labels)
    lengths = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    height, width = (table[f"bounds_{k + 2}"] - table[f"bounds_{k}"] for k in (0, 1))
    lengths[table["label"]] = np.maximum(height, width)
    return lengths


def _thresholds(
    contrast: np.ndarray, brightness: np.ndarray, cell: np.ndarray, deviations: float
) -> np.ndarray:
    """Least contrast of an object for each cell, indexed by label.

    A top-hat is never negative and its lower half is background: the quartile distance
    below the median tells its spread, whatever the number of objects.
    """
    order = np.lexsort((contrast, cell))
    count = np.bincount(cell, minlength=1)
    start = np.cumsum(count) - count
    ordered = contrast[order]

    def quantile(share: float) -> np.ndarray:
        if not len(ordered):
            return np.zeros(len(count))
        place = start + (share * np.maximum(count - 1, 0)).astype(int)
        return ordered[np.minimum(place, len(ordered) - 1)]

    median = quantile(0.5)
    spread = 1.4826 * (median - quantile(0.25))
    level = np.bincount(cell, brightness, len(count)) / np.maximum(count, 1)
    return median + np.maximum(deviations * spread, LEAST_CONTRAST * np.abs(level))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(n,) float32 quotients, NaN where there is nothing to divide by."""
    quotient = np.full(len(whole), np.nan, np.float32)
    np.divide(part, whole, out=quotient, where=whole > 0, casting="unsafe")
    return quotient
