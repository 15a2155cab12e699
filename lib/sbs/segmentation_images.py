"""The two images that SBS tiles are segmented on."""

from collections.abc import Sequence

import numpy as np


def cytoplasm_cycles(count: int) -> list[int]:
    """Indices of the three cycles that `cytoplasm_image` takes of a run of `count`."""
    return [0, count // 2, count - 1]


def cytoplasm_image(cycles: Sequence[np.ndarray]) -> np.ndarray:
    """Glow of the cells without their reads, (Y, X) float32, from three (C, Y, X) images.

    A read is bright in a given channel in about one cycle of four; the median of
    three cycles spread over the run mostly leaves it out. The mean over channels
    is returned.
    """
    first, middle, last = cycles
    median = np.maximum(np.minimum(first, middle), np.minimum(np.maximum(first, middle), last))
    return median.mean(axis=0, dtype=np.float32)
