"""Pixels of the camera that are always bright or always dark.

They stay where they are while the sample drifts from cycle to cycle, so that in the frame
of the sample one of them flashes in another place in every cycle, like a read. They are
found in the raw cycles of a tile and filled in before anything moves.
"""

from collections.abc import Sequence

import cv2
import numpy as np

DEVIATIONS = 8.0  # robust standard deviations by which one differs from its surroundings
SHARP = 0.25  # share of its height that its neighbours reach at most; next to a read's peak: 0.4
LEAST_CYCLES = 3  # in fewer, a read may be bright in all

RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)


def fill_bad_pixels(stack: np.ndarray, channels: Sequence[int]) -> int:
    """Replace bad pixels of a (T, C, Y, X) uint16 stack in place; returns how many there were.

    Bad is what stands out from its neighbours in all cycles of a channel, upwards or
    downwards, as a single pixel. It gets the median of its eight neighbours.

    `channels` are the indices along C that show reads: in a channel that shows the same
    in all cycles, fine structure would pass for bad pixels. Planes of one constant value
    count as missing.
    """
    found = 0
    for c in channels:
        planes = [plane for plane in stack[:, c] if plane.min() < plane.max()]
        if len(planes) < LEAST_CYCLES:
            continue
        bright = _single(np.minimum.reduce(planes).astype(np.float32))
        dark = _single(-np.maximum.reduce(planes).astype(np.float32))
        rows, columns = np.nonzero(bright | dark)
        found += len(rows)
        for plane in planes:
            _fill(plane, rows, columns)
    return found


def _single(image: np.ndarray) -> np.ndarray:
    """Mask (Y, X) of single pixels far above all that is around them."""
    around = cv2.medianBlur(image, 5)
    height = image - around
    sample = height[::3, ::3]
    # Of differences between neighbours of whole numbers, the median may be zero.
    noise = max(1.4826 * float(np.median(np.abs(sample))), float(sample.std()) / 10, 1.0)
    return (height > DEVIATIONS * noise) & (cv2.dilate(image, RING) - around < SHARP * height)


def _fill(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    padded = np.pad(plane, 1, mode="reflect")
    steps = [(dy, dx) for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)]
    near = np.stack([padded[rows + dy, columns + dx] for dy, dx in steps])
    plane[rows, columns] = np.median(near, axis=0).astype(plane.dtype)
