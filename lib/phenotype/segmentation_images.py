"""The images that phenotype tiles are segmented on."""

from collections.abc import Sequence

import numpy as np


def cell_image(image: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Cell bodies, (Y, X) float32: the mean of some channels of a (C, Y, X) image."""
    total = np.zeros(image.shape[1:], np.float32)
    for channel in channels:
        total += image[channel]
    return total / len(channels)
