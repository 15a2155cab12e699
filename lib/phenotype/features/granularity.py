"""Granularity: how much of the brightness disappears with structures of growing size."""

import cv2
import numpy as np

from lib.phenotype.features.objects import Objects, ratio
from lib.phenotype.features.parameters import FeatureParameters


def openings(image: np.ndarray, parameters: FeatureParameters) -> np.ndarray:
    """The image without background, and its openings by growing diamonds.

    Parameters
    ----------
    image : (Y, X) uint16 or float32.

    Returns
    -------
    (K + 1, Y', X') float32 on blocks of pixels: [0] the image minus its
    background, [k] its opening by the diamond of radius k.
    """
    reduced = block_mean(image.astype(np.float32), parameters.granularity_subsample)
    signal = np.maximum(reduced - _background(reduced, parameters), 0)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    spectrum = [signal]
    eroded = signal
    for k in range(1, parameters.granularity_length + 1):
        eroded = cv2.erode(eroded, cross)
        spectrum.append(cv2.dilate(eroded, cross, iterations=k))
    return np.stack(spectrum)


def _background(image: np.ndarray, parameters: FeatureParameters) -> np.ndarray:
    """A wide opening, found on a reduced image."""
    radius = parameters.granularity_background
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    small = block_mean(image, parameters.granularity_subsample)
    opened = cv2.morphologyEx(small, cv2.MORPH_OPEN, disk)
    return cv2.resize(opened, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def block_mean(image: np.ndarray, side: int) -> np.ndarray:
    """Means of blocks of side x side pixels; the last ones are filled up by the edge pixels."""
    height, width = (-(-size // side) for size in image.shape)
    bottom, right = height * side - image.shape[0], width * side - image.shape[1]
    filled = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(filled, (width, height), interpolation=cv2.INTER_AREA)


class Blocks:
    """How many pixels of each object lie in each block: sparse, by object.

    row, block, count : object, flat index of the block, and pixels.
    """

    def __init__(self, objects: Objects, side: int) -> None:
        """Count the pixels of `objects` in blocks of side x side."""
        height, width = (-(-size // side) for size in objects.shape)
        size = max(1, height * width)
        narrow = objects.n * size < 2**32  # half the bits are sorted in half the time
        pair = objects.row.astype(np.uint32 if narrow else np.uint64)
        pair *= size
        pair += (objects.i // side * width + objects.j // side).astype(pair.dtype)
        pair, self.count = np.unique(pair, return_counts=True)
        self.row, self.block = (part.astype(np.intp) for part in np.divmod(pair, size))
        self.n = objects.n
        self._start = np.flatnonzero(np.diff(self.row, prepend=-1))

    def sum(self, image: np.ndarray) -> np.ndarray:
        """Sum of a (Y', X') image of blocks over each object: (n,)."""
        out = np.zeros(self.n)
        if len(self.row):
            values = image.ravel()[self.block] * self.count
            out[self.row[self._start]] = np.add.reduceat(values, self._start)
        return out


def granularity(spectrum: np.ndarray, blocks: Blocks) -> dict[str, np.ndarray]:
    """Percent of each object's brightness that each opening takes away, each (n,)."""
    sums = np.stack([blocks.sum(image) for image in spectrum])
    lost = 100 * ratio(sums[:-1] - sums[1:], sums[:1])
    return {f"granularity_{k + 1}": values for k, values in enumerate(lost)}
