"""The pixels of all objects of a label image, ordered by object.

What is measured per object is a reduction of one segment of an array: the cost
grows with the pixels, hardly with the objects.
"""

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np

FOUR_NEIGHBORS = ((-1, 0), (1, 0), (0, -1), (0, 1))
DIAGONAL_NEIGHBORS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
STRIP_WIDTH = 4096  # px


class Objects:
    """The foreground of one label image, object after object, each in reading order.

    n : number of rows, one per label asked for, whether present or not.
    number : (Y, X) int32, the row of each pixel of the image plus 1, 0 = background.
    count : (n,) pixels of each.
    row : (P,) int32, the row of each pixel.
    index : (P,) its flat position in the image.
    i, j : (P,) int32, its row and column in the image.
    runs : horizontal runs of pixels: row of the object, i, first and last j, (R,) int32 each.
    """

    def __init__(self, labels: np.ndarray, ids: np.ndarray) -> None:
        """Order the pixels of `labels` (Y, X), 0 = background, by the ascending labels `ids`."""
        self.shape = labels.shape
        self.n = len(ids)
        number = np.zeros(max(int(labels.max(initial=0)), int(ids.max(initial=0))) + 1, np.int32)
        number[ids] = np.arange(1, self.n + 1)
        self.number = number[labels]
        self.runs = self._find_runs()
        row, i, first, last = self.runs
        length = last - first + 1
        before = np.cumsum(length) - length
        self.row, self.i = np.repeat(row, length), np.repeat(i, length)
        self.j = np.arange(len(self.row), dtype=np.int32) + np.repeat(first - before, length)
        self.index = self.i * np.intp(self.shape[1]) + self.j
        self.count = np.bincount(self.row, minlength=self.n)
        self._present = np.flatnonzero(self.count)
        self.start = np.cumsum(self.count) - self.count

    def _find_runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Row of the object, i, first and last j of each horizontal run, by object and i."""
        begins = self.number > 0
        ends = begins.copy()
        differs = self.number[:, 1:] != self.number[:, :-1]
        begins[:, 1:] &= differs
        ends[:, :-1] &= differs
        first, last = (np.flatnonzero(mask) for mask in (begins, ends))
        row = self.number.ravel()[first] - 1
        order = np.argsort(row, kind="stable")
        first, last = first[order], last[order]
        i = first // max(1, self.shape[1])
        return tuple(
            part.astype(np.int32)
            for part in (row[order], i, first - i * self.shape[1], last - i * self.shape[1])
        )

    def _reduce(
        self, ufunc: np.ufunc, values: np.ndarray, fill: float, dtype: type | None = None
    ) -> np.ndarray:
        """Reduction of each object in `dtype`, that of the values unless given: (n,) float64."""
        out = np.full(self.n, fill, np.float64)
        if len(self._present):
            out[self._present] = ufunc.reduceat(values, self.start[self._present], dtype=dtype)
        return out

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum of (P,) values over each object: (n,) float64, 0 without pixels."""
        return self._reduce(np.add, values, 0, np.float64)

    def quick_sum(self, values: np.ndarray) -> np.ndarray:
        """As `sum` of float32 values, added pairwise to some 1e-7, four times as fast."""
        return self._reduce(np.add, values, 0)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over each object: (n,) float64, NaN without pixels."""
        return ratio(self.sum(values), self.count)

    def max(self, values: np.ndarray) -> np.ndarray:
        """Greatest value of each object: (n,) float64, NaN without pixels."""
        return self._reduce(np.maximum, values, np.nan)

    def min(self, values: np.ndarray) -> np.ndarray:
        """Least value of each object: (n,) float64, NaN without pixels."""
        return self._reduce(np.minimum, values, np.nan)

    def spread(self, per_object: np.ndarray) -> np.ndarray:
        """One value per object (n,), repeated for each of its pixels (P,)."""
        return np.repeat(per_object, self.count)

    def first_maximum(self, values: np.ndarray) -> np.ndarray:
        """Position (in P) of each object's greatest value, the first in reading order.

        (n,) intp; -1 without pixels.
        """
        greatest = self._reduce(np.maximum, values, 0, values.dtype.type)
        candidates = np.flatnonzero(values == self.spread(greatest))
        first = np.full(self.n, -1, np.intp)
        first[self.row[candidates][::-1]] = candidates[::-1]  # the last one written is the first
        return first

    def at(self, values: np.ndarray, position: np.ndarray) -> np.ndarray:
        """(P,) values at one position per object: (n,) float64, NaN where it is -1."""
        out = np.full(self.n, np.nan)
        out[position >= 0] = values[position[position >= 0]]
        return out

    def gather(self, image: np.ndarray) -> np.ndarray:
        """The pixels of a (Y, X) image: (P,)."""
        return image.ravel().take(self.index)

    def padded(self, margin: int) -> tuple[np.ndarray, np.ndarray, int]:
        """`number` within a frame of background, flat; (P,) positions therein; its row length."""
        width = self.shape[1] + 2 * margin
        flat = np.pad(self.number, margin).ravel()
        return flat, self.index + margin * (2 * self.i + width + 1), width

    @cached_property
    def centroid(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean i and mean j of each object: 2 x (n,) float64, NaN without pixels."""
        return self.mean(self.i), self.mean(self.j)

    @cached_property
    def from_centroid(self) -> tuple[np.ndarray, np.ndarray]:
        """i and j of each pixel, less those of the centroid: 2 x (P,) float32."""
        di, dj = (
            (part - self.spread(centre)).astype(np.float32)
            for part, centre in zip((self.i, self.j), self.centroid, strict=True)
        )
        return di, dj

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """First i, first j, height, width of each object: 4 x (n,) float64, NaN without pixels."""
        first_i, first_j = self.min(self.i), self.min(self.j)
        return first_i, first_j, self.max(self.i) - first_i + 1, self.max(self.j) - first_j + 1

    @cached_property
    def border(self) -> np.ndarray:
        """Positions (in P) of the pixels with a 4-neighbour outside of their object.

        Beyond the frame of the image is outside.
        """
        outside = np.ones(self.shape, bool)
        outside[1:-1, 1:-1] = False
        for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            differs = self.number[before] != self.number[after]
            outside[before] |= differs
            outside[after] |= differs
        return np.flatnonzero(self.gather(outside))

    def pairs(self, di: int, dj: int) -> tuple[np.ndarray, int]:
        """Pairs of pixels of one object that lie (di, dj) apart, di >= 0, in reading order.

        Flat position in the image of the first, and how much farther the second lies.
        """
        height, width = max(0, self.shape[0] - di), max(0, self.shape[1] - abs(dj))
        left, right = max(0, -dj), max(0, dj)
        first, second = np.s_[:height, left : left + width], np.s_[di:, right : right + width]
        same = np.zeros(self.shape, bool)
        same[first] = self.number[first] == self.number[second]
        same &= self.number > 0
        return np.flatnonzero(same), di * self.shape[1] + dj

    @cached_property
    def edge_distance(self) -> np.ndarray:
        """(P,) float32, Euclidean distance to the nearest pixel outside of the object, px.

        Touching objects must not see each other as one: they are laid side by side,
        each in a frame of background, in strips that are transformed one by one.
        """
        first_i, first_j, height, width = np.nan_to_num(self.box).astype(np.intp)
        right = np.cumsum(width + 1)
        strip = right // STRIP_WIDTH
        before = np.searchsorted(strip, strip)  # first object of the strip
        left = right - width - np.where(before > 0, right[before - 1], 0)
        y = self.i - self.spread((first_i - 1).astype(np.int32))
        x = self.j - self.spread((first_j - left).astype(np.int32))
        distance = np.zeros(len(self.row), np.float32)
        for begin in np.unique(before):
            end = np.searchsorted(strip, strip[begin], "right") - 1
            pixels = np.s_[self.start[begin] : self.start[end] + self.count[end]]
            size = height[begin : end + 1].max() + 2, left[end] + width[end] + 1
            mask = np.zeros(size, np.uint8)
            place = y[pixels] * size[1] + x[pixels]
            mask.ravel()[place] = 1
            transformed = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            distance[pixels] = transformed.ravel()[place]
        # Squares of distances are integers; where in memory a mask lies tells in the last bit.
        return np.sqrt(np.rint(distance * distance))

    def close_pairs(self, offsets: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of rows with pixels that lie one of the `offsets` apart, each in both orders.

        The offsets are symmetric: one of each opposite two is looked at.
        """
        half = tuple(offset for offset in offsets if offset > (0, 0))
        pairs = [
            np.unique(row * np.int64(self.n) + other)
            for _, row, other in self.border_contacts(half)
        ]
        a, b = np.divmod(np.unique(np.concatenate(pairs)), max(1, self.n))
        both = np.unique(np.concatenate([a * self.n + b, b * self.n + a]))
        return np.divmod(both, max(1, self.n))

    def border_contacts(
        self, offsets: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each offset, the border pixels that meet another object there.

        Their positions in `border`, their rows and the rows they meet.
        """
        margin = max(max(abs(di), abs(dj)) for di, dj in offsets)
        flat, position, width = self.padded(margin)
        row, position = self.row[self.border], position[self.border]
        for di, dj in offsets:
            other = flat[position + (di * width + dj)] - 1
            meets = np.flatnonzero((other >= 0) & (other != row))
            yield meets, row[meets], other[meets]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient as float64, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
