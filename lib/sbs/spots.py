"""Finding reads in the aligned cycles of a tile and measuring their intensities.

A read shines in one base channel of each cycle, and in changing ones: it stands
out in the standard deviation over cycles, where cells, debris and background,
which shine alike in every cycle, do not (Feldman et al. 2019).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from lib.shared.illumination import correct

# Standard deviations above the median of the score that a peak must reach under
# "auto". Clear of most of the noise of 10^6 pixels and of the brighter noise inside cells, of
# which decoding leaves little; of weaker reads few would be decoded.
AUTO_DEVIATIONS = 5.0

# The score of a pixel of mere noise is about this; an image without any noise has less.
LEAST_AUTO = 0.5
NEAR = 0.3  # of a cell's diameter: how far its edge may be drawn wrong
NEAR_PX = (4, 40)  # least and most of that, px
FINE_PX = 8  # up to which every pixel around a spot is looked at
NEAR_CELLS = 4  # so many neighbours of a spot are remembered


@dataclass(frozen=True)
class Spots:
    """Reads of one tile, with the images they were found in.

    i, j : (n,) float32, row and column in px.
    peak : (n,) float32, height of the score in units of the noise.
    intensity : (n, T, C) float32, intensities of the base channels.
    score : (Y, X) float32, mean over channels of the standard deviation over cycles.
    peaks : (Y, X) float32, `score` where there is a peak, else 0.
    threshold : the least `peak`.
    """

    i: np.ndarray
    j: np.ndarray
    peak: np.ndarray
    intensity: np.ndarray
    score: np.ndarray
    peaks: np.ndarray
    threshold: float


def find_spots(
    filtered: np.ndarray,
    noise: np.ndarray,
    threshold: float | str = "auto",
    window: int = 3,
    border: int = 5,
    area: tuple[slice, slice] = (slice(None), slice(None)),
    light: Callable[[int, int], np.ndarray] | None = None,
) -> Spots:
    """Find and measure the reads of a tile.

    Parameters
    ----------
    filtered : (T, C, Y, X) float32 of the base channels, as from `log_filter`.
    noise : (C,) standard deviation of the noise of each filtered channel.
    threshold : least score in units of the noise, or "auto" for one that stands
        clear of the scores of the tile's background.
    window : px, side of the square in which a peak is the largest value.
    border : px at the edges of the tile in which no read is taken.
    area : rows and columns that all cycles cover; reads outside are not taken.
    light : the (Y, X) plane that intensities of cycle t and channel c are read from, by
        default `filtered`; the largest value within a pixel counts.
    """
    score = spot_score(filtered, noise)
    limit = background_limit(score[area]) if threshold == "auto" else float(threshold)
    peaks = find_peaks(score, window)
    peaks[peaks < limit] = 0
    covered, inner = np.zeros(score.shape, bool), np.zeros(score.shape, bool)
    covered[area] = True
    inner[tuple(slice(border, max(size - border, 0)) for size in score.shape)] = True
    peaks[~(covered & inner)] = 0

    rows, columns = np.nonzero(peaks)
    shift_i, shift_j = subpixel(score, rows, columns)
    intensity = np.empty((len(rows), *filtered.shape[:2]), np.float32)
    for t, c in np.ndindex(filtered.shape[:2]):
        plane = filtered[t, c] if light is None else light(t, c)
        intensity[:, t, c] = _max_plane(plane)[rows, columns]
    return Spots(
        (rows + shift_i).astype(np.float32),
        (columns + shift_j).astype(np.float32),
        score[rows, columns],
        intensity,
        score,
        peaks,
        limit,
    )


def log_filter(
    stack: np.ndarray, sigma: float = 1.0, field: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Laplacian of Gaussian, negated and clipped at zero, of each plane of (T, C, Y, X).

    A (C, Y, X) illumination `field` is divided out first. `sigma` is in px.

    Returns the filtered stack as float32 and the standard deviation (C,) of the
    noise of each filtered channel before the clip: from the median absolute
    deviation, the median over cycles.
    """
    radius = int(4 * sigma + 0.5)
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * sigma**2))
    smooth /= smooth.sum()
    bend = (x**2 / sigma**4 - 1 / sigma**2) * smooth
    bend -= bend.mean()  # a constant image has no Laplacian

    filtered = np.empty(stack.shape, np.float32)
    noise = np.empty(stack.shape[:2])
    edge = {"borderType": cv2.BORDER_REFLECT}
    for t, c in np.ndindex(stack.shape[:2]):
        plane = stack[t, c] if field is None else correct(stack[t, c], field[c])
        curvature = cv2.sepFilter2D(plane, cv2.CV_32F, bend, smooth, **edge)
        curvature += cv2.sepFilter2D(plane, cv2.CV_32F, smooth, bend, **edge)
        sample = curvature[::4, ::4]
        noise[t, c] = 1.4826 * np.median(np.abs(sample - np.median(sample)))
        np.maximum(np.negative(curvature, out=curvature), 0, out=filtered[t, c])
    return filtered, np.median(noise, axis=0)


def spot_score(filtered: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Mean over channels of the standard deviation over cycles, in units of the noise.

    `filtered` is (T, C, Y, X), `noise` (C,). A channel without noise, because it
    is empty, adds nothing. With a single cycle the deviation from zero serves.
    """
    cycles, channels = filtered.shape[:2]
    score = np.zeros(filtered.shape[2:], np.float32)
    for c in range(channels):
        if noise[c] <= 0:
            continue
        mean = filtered[:, c].mean(axis=0) if cycles > 1 else np.float32(0)
        variance = np.zeros_like(score)
        for t in range(cycles):
            deviation = filtered[t, c] - mean
            variance += deviation * deviation
        score += np.sqrt(variance / cycles) / np.float32(noise[c])
    return score / channels


def find_peaks(score: np.ndarray, window: int = 3) -> np.ndarray:
    """`score` where it is the largest in a square of `window` px, elsewhere 0.

    Of equal neighbours only the first in reading order counts, so a plateau makes
    one peak where it is smaller than the window.
    """
    reach = window // 2
    square = np.ones((window, window), np.uint8)
    is_peak = (score == cv2.dilate(score, square)) & (score > 0)
    # Equal values earlier in reading order: those above, and those left in the same row.
    earlier = np.zeros((window, window), np.uint8)
    earlier[:reach] = 1
    earlier[reach, :reach] = 1
    tied = is_peak & (cv2.dilate(is_peak.astype(np.uint8), earlier, borderValue=0) > 0)
    is_peak &= ~tied
    return np.where(is_peak, score, np.float32(0))


def max_filter(filtered: np.ndarray) -> np.ndarray:
    """Largest value within one pixel of a (T, C, Y, X) stack: cycles may lie half a pixel off."""
    result = np.empty_like(filtered)
    for t, c in np.ndindex(filtered.shape[:2]):
        result[t, c] = _max_plane(filtered[t, c])
    return result


def _max_plane(plane: np.ndarray) -> np.ndarray:
    return cv2.dilate(plane, np.ones((3, 3), np.uint8))


def background_limit(score: np.ndarray) -> float:
    """Least score that stands clear of the background's.

    The background fills most of a tile. Its spread is taken from the lower half
    of the scores, which reads do not reach.
    """
    sample = score[::2, ::2]
    if sample.size == 0:
        return LEAST_AUTO
    low, middle = np.quantile(sample, [0.1587, 0.5])
    return max(float(middle + AUTO_DEVIATIONS * (middle - low)), LEAST_AUTO)


def subpixel(
    score: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n,), (n,) of the summit of a parabola through each peak's neighbours."""
    here = score[rows, columns]
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, score.shape[0] - 1)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, score.shape[1] - 1)

    def vertex(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        bend = before - 2 * here + after
        slope = (before - after) / (2 * np.where(bend < 0, bend, np.float32(-1)))
        return np.clip(np.where(bend < 0, slope, 0), -0.5, 0.5)

    vertical = vertex(score[above, columns], score[below, columns])
    return vertical, vertex(score[rows, left], score[rows, right])


def spots_table(
    spots: Spots,
    cells: np.ndarray,
    place: Mapping[str, str],
    cycles: list[int],
    channels: list[str],
) -> dict[str, np.ndarray]:
    """Columns of the bases table: one row per spot, one intensity column per cycle and channel.

    `cells` are the (Y, X) labels that say in which cell a spot lies, and which others
    are near (`cell_near_0` and on, nearest first, and their distances `near_px_0` and on in
    px; 0 and not-a-number for none); `place` gives plate, well and tile.
    """
    row = np.clip(np.rint(spots.i).astype(int), 0, cells.shape[0] - 1)
    column = np.clip(np.rint(spots.j).astype(int), 0, cells.shape[1] - 1)
    count = len(spots.peak)
    table = {key: np.full(count, value) for key, value in place.items()}
    table |= {
        "read": np.arange(count, dtype=np.int32),
        "cell": cells[row, column].astype(np.int32),
        "i": spots.i,
        "j": spots.j,
        "peak": spots.peak,
    }
    near, distance = near_cells(cells, row, column, edge_reach(cells))
    for rank in range(len(near)):
        table[f"cell_near_{rank}"] = near[rank].astype(np.int32)
        table[f"near_px_{rank}"] = distance[rank]
    for t, cycle in enumerate(cycles):
        for c, channel in enumerate(channels):
            table[f"{channel}_{cycle}"] = np.ascontiguousarray(spots.intensity[:, t, c])
    return table


def near_cells(
    cells: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    reach: int,
    most: int = NEAR_CELLS,
) -> tuple[np.ndarray, np.ndarray]:
    """The labels nearest to (n,) pixels, their own left out: (most, n), 0 for none.

    Only labels within `reach` px count, nearest first; beyond 8 px not every pixel
    is looked at, since cells are larger than the gaps between. Also returns their
    distances (most, n) in px, float32, not-a-number for none.
    """
    padded = np.pad(cells, reach)
    own = cells[rows, columns]
    found = np.zeros((most, len(rows)), cells.dtype)
    distance = np.full((most, len(rows)), np.nan, np.float32)
    for dy, dx in _around(reach):
        label = padded[rows + reach + dy, columns + reach + dx]
        new = (label > 0) & (label != own) & (label != found).all(axis=0)
        for rank in range(most):  # into the first place that is free
            here = new & (found[rank] == 0)
            found[rank, here] = label[here]
            distance[rank, here] = np.hypot(dy, dx)
            new &= ~here
    return found, distance


def edge_reach(cells: np.ndarray) -> int:
    """How far (px) a read may lie outside the cell it comes from, by the size of the cells."""
    areas = np.bincount(cells.ravel())[1:]
    areas = areas[areas > 0]
    diameter = 2 * np.sqrt(np.median(areas) / np.pi) if len(areas) else 0
    return int(np.clip(round(NEAR * diameter), *NEAR_PX))


def _around(reach: int) -> list[tuple[int, int]]:
    """Offsets within `reach` px, nearest first; on a coarser grid where they are far."""
    step = -(-reach // FINE_PX)
    span = range(-reach, reach + 1)
    offsets = [
        (dy, dx)
        for dy in span
        for dx in span
        if 0 < dy**2 + dx**2 <= reach**2
        and (dy**2 + dx**2 <= FINE_PX**2 or dy % step == dx % step == 0)
    ]
    return sorted(offsets, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset))
