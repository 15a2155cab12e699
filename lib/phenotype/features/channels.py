"""The values of one channel in the objects of one label image."""

from functools import cached_property

import numpy as np

from lib.phenotype.features.objects import Objects, ratio

SORTED_AT_ONCE = 2**15  # about as many pixels


class ChannelPixels:
    """The values of a channel, pixel by pixel as in `Objects`, and what several families need.

    objects : the pixels.
    values : (P,) float32.
    """

    def __init__(self, objects: Objects, image: np.ndarray) -> None:
        """Gather the pixels of `image`, (Y, X) uint16 or float32."""
        self.objects = objects
        self._raw = objects.gather(image)
        self.values = self._raw.astype(np.float32)

    @cached_property
    def low(self) -> np.ndarray:
        """(n,) least value of each object."""
        return self.objects.min(self.values)

    @cached_property
    def high(self) -> np.ndarray:
        """(n,) greatest value of each object."""
        return self.objects.max(self.values)

    @cached_property
    def mean(self) -> np.ndarray:
        """(n,) mean of each object."""
        return self.objects.mean(self.values)

    @cached_property
    def centred(self) -> np.ndarray:
        """(P,) float32, values minus the mean of their object."""
        return self.values - self.objects.spread(self.mean).astype(np.float32)

    @cached_property
    def squares(self) -> np.ndarray:
        """(n,) sum of squared deviations from the mean; exactly 0 for a constant object."""
        return np.where(self.low == self.high, 0.0, self.objects.sum(self.centred**2))

    @cached_property
    def order(self) -> np.ndarray:
        """(P,) positions by object, then by value."""
        return order_within(self.objects.row, self._raw)

    @cached_property
    def ordered(self) -> np.ndarray:
        """(P,) float32, the values in that order."""
        return self.values[self.order]

    @cached_property
    def rank(self) -> np.ndarray:
        """(P,) float32, rank of each value among the distinct values of its object, from 0."""
        new = np.zeros(len(self.ordered), np.int32)
        np.not_equal(self.ordered[1:], self.ordered[:-1], out=new[1:], casting="unsafe")
        rank = np.cumsum(new, dtype=np.int32)
        least = np.nan_to_num(self.objects.min(rank)).astype(np.int32)
        rank -= self.objects.spread(least)
        out = np.empty(len(rank), np.float32)
        out[self.order] = rank
        return out

    @cached_property
    def greatest_rank(self) -> np.ndarray:
        """(n,) number of distinct values of each object, minus 1."""
        return self.objects.max(self.rank)


def order_within(row: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Order by row, then by value; the rows ascend already.

    Row, value and position are packed into one integer each where 64 bits are
    enough: sorting those is ten times faster than a stable sort of positions.
    """
    key = sortable(values)
    value_bits = key.dtype.itemsize * 8
    position_bits = max(1, len(row) - 1).bit_length()
    row_bits = int(row[-1]).bit_length() if len(row) else 0
    if row_bits + value_bits + position_bits > 64:
        order = np.argsort(key, kind="stable")
        return order[np.argsort(row[order], kind="stable")]
    packed = row.astype(np.uint64) << np.uint64(value_bits)
    packed |= key
    packed <<= np.uint64(position_bits)
    packed |= np.arange(len(row), dtype=np.uint64)
    _sort_by_row(packed, row)
    packed &= np.uint64(2**position_bits - 1)
    return packed.view(np.int64)


def sort_within(row: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Absolute float32 values sorted within each row; the rows ascend already."""
    packed = row.astype(np.uint64) << np.uint64(32)
    packed |= np.abs(values).view(np.uint32)  # the bits of non-negative floats sort as they do
    _sort_by_row(packed, row)
    return packed.astype(np.uint32).view(np.float32)


def _sort_by_row(packed: np.ndarray, row: np.ndarray) -> None:
    """Sort integers in place that ascend by row already: some rows at a time, in the cache."""
    cuts = np.searchsorted(row, row[SORTED_AT_ONCE::SORTED_AT_ONCE])
    for part in np.split(packed, np.unique(cuts)):
        part.sort()


def sortable(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the values (uint16 or float32)."""
    if values.dtype == np.uint16:
        return values
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def quantile(objects: Objects, ordered: np.ndarray, fraction: float) -> np.ndarray:
    """Quantile of each object from its sorted values, linear as numpy's: (n,) float64."""
    position = np.maximum(objects.count - 1, 0) * fraction
    low = np.floor(position).astype(np.intp)
    weight = position - low
    high = np.minimum(low + 1, np.maximum(objects.count - 1, 0))
    out = np.full(objects.n, np.nan)
    present = objects.count > 0
    start = objects.start[present]
    lower = ordered[start + low[present]].astype(np.float64)
    upper = ordered[start + high[present]].astype(np.float64)
    out[present] = lower + (upper - lower) * weight[present]
    return out


def median_deviation(objects: Objects, ordered: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Median absolute deviation from the median of each object, from its sorted values: (n,)."""
    out = np.full(objects.n, np.nan)
    present = objects.count > 0
    start, count = objects.start[present], objects.count[present]
    lower, upper = (
        _nearest(ordered, start, count, median[present], k)
        for k in ((count + 1) // 2, count // 2 + 1)
    )
    out[present] = (lower + upper) / 2
    return out


def _nearest(
    ordered: np.ndarray, start: np.ndarray, count: np.ndarray, centre: np.ndarray, k: np.ndarray
) -> np.ndarray:
    """The k-th least distance to the centre of each segment of sorted values.

    The k nearest values are neighbours in the order: their window is found by
    bisection, where the distance of its last value overtakes that of its first.
    """

    def ends(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        begin, end = ordered[start + first], ordered[start + first + k - 1]
        return centre - begin, end - centre

    low, high = np.zeros_like(count), count - k
    while (searching := low < high).any():
        middle = (low + high) // 2
        below, above = ends(middle)
        overtaken = above >= below
        high = np.where(searching & overtaken, middle, high)
        low = np.where(searching & ~overtaken, middle + 1, low)
    windows = [np.maximum(*ends(first)) for first in (low, np.maximum(low - 1, 0))]
    return np.minimum(*windows)


def deviation(pixels: ChannelPixels) -> np.ndarray:
    """Population standard deviation of each object: (n,)."""
    return np.sqrt(ratio(pixels.squares, pixels.objects.count))
