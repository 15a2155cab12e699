"""Levels of a multiscale image: exact means of intensities, thinned labels."""

from collections.abc import Sequence

import numpy as np

# Pixels whose sums are made at a time: they stay in the processor's cache, and are
# small beside the image.
BAND = 2**19


def level_shapes(
    shape: tuple[int, int], factor: int, max_levels: int | None, chunk: tuple[int, int]
) -> list[tuple[int, int]]:
    """Shapes (Y, X) of all levels, from the full image on.

    Levels follow until one fits into a chunk, or there are `max_levels`. A level
    has as many pixels as it needs to cover the image: sizes are rounded up.
    """
    shapes = [shape]
    while len(shapes) != max_levels and any(n > c for n, c in zip(shapes[-1], chunk, strict=True)):
        shapes.append(tuple(-(-n // factor) for n in shapes[-1]))
    return shapes


def mean_levels(image: np.ndarray, factor: int, count: int) -> list[np.ndarray]:
    """Levels 1 to `count` - 1 of `image` (..., Y, X) by block means.

    Each pixel is the mean of all pixels of the full image that it covers, fewer at
    the far edges. Integers are rounded once, half up: sums are carried from level
    to level, so that rounding errors do not add up. Type and other axes stay.
    """
    if count < 2:
        return []
    if np.issubdtype(image.dtype, np.floating):
        total = np.float64
    else:
        largest = factor ** (2 * (count - 1)) * (int(np.iinfo(image.dtype).max) + 1)
        unsigned = np.issubdtype(image.dtype, np.unsignedinteger)
        total = (np.uint32 if largest < 2**32 else np.uint64) if unsigned else np.int64
    *leading, rows, columns = image.shape
    shapes = level_shapes((rows, columns), factor, count, (0, 0))[1:]
    levels = [np.empty((*leading, *shape), image.dtype) for shape in shapes]
    coarsest = factor ** (count - 1)
    height = -(-BAND * rows // (image.size * coarsest)) * coarsest
    for top in range(0, rows, height):
        band = sums = image[..., top : top + height, :]
        for number, level in enumerate(levels, start=1):
            sums = _block_sums(sums, factor, total)
            start = top // factor**number
            means = _means(sums, band.shape[-2:], factor**number, image.dtype)
            level[..., start : start + means.shape[-2], :] = means
    return levels


def label_levels(labels: np.ndarray, factor: int, count: int) -> list[np.ndarray]:
    """Levels 1 to `count` - 1 of `labels` (..., Y, X): every `factor`-th pixel.

    No label is invented, as a mean would, and areas stay what they are on average,
    where a majority vote eats small objects.
    """
    return [labels[..., :: factor**level, :: factor**level] for level in range(1, count)]


def _block_sums(values: np.ndarray, factor: int, total: type) -> np.ndarray:
    """Sums over blocks of `factor` x `factor`, in type `total`; smaller blocks at the edges."""
    columns_first = _sums_of_pairs if _in_pairs(values, factor, total) else _sums_along
    return _sums_along(columns_first(values, factor, -1, total), factor, -2, total)


def _sums_along(values: np.ndarray, factor: int, axis: int, total: type) -> np.ndarray:
    """Sums of `factor` neighbours along `axis`; the last of fewer, where they do not go up."""

    def every(first: int) -> np.ndarray:
        at: list = [slice(None)] * values.ndim
        at[axis] = slice(first, None, factor)
        return values[tuple(at)]

    parts = [every(first) for first in range(factor)]
    even = parts[1].shape == parts[0].shape
    sums = np.add(*parts[:2], dtype=total) if even else parts[0].astype(total)
    for part in parts[1 + even :]:
        sums[tuple(map(slice, part.shape))] += part
    return sums


def _in_pairs(values: np.ndarray, factor: int, total: type) -> bool:
    """Whether `_sums_of_pairs` holds for these values."""
    return (
        (values.dtype, factor, total) == (np.uint16, 2, np.uint32)
        and values.shape[-1] % 2 == 0
        and values.strides[-1] == values.itemsize
    )


def _sums_of_pairs(values: np.ndarray, factor: int, axis: int, total: type) -> np.ndarray:
    """`_sums_along` for pairs of uint16 in a row: both halves of a 32-bit word, twice as fast."""
    pairs = values.view(np.uint32)
    sums = pairs >> 16
    sums += pairs & 0xFFFF
    return sums


def _means(sums: np.ndarray, shape: Sequence[int], width: int, dtype: np.dtype) -> np.ndarray:
    """Divide sums over blocks of `width` x `width` px of an image of `shape` (Y, X)."""
    means = _divide(sums, width * width, dtype)
    heights, widths = (_last_block(n, width) for n in shape)
    # Blocks at the far edges may hold fewer pixels.
    if heights < width:
        means[..., -1, :] = _divide(sums[..., -1, :], heights * width, dtype)
    if widths < width:
        means[..., :, -1] = _divide(sums[..., :, -1], width * widths, dtype)
        means[..., -1, -1] = _divide(sums[..., -1, -1], heights * widths, dtype)
    return means


def _last_block(n: int, width: int) -> int:
    """How many of `n` pixels lie in the last block."""
    return (n - 1) % width + 1


def _divide(sums: np.ndarray, pixels: int, dtype: np.dtype) -> np.ndarray:
    """Means as `dtype`; integers rounded half up."""
    if np.issubdtype(dtype, np.floating):
        return (sums / pixels).astype(dtype)
    number = sums.dtype.type
    means = sums + number(pixels // 2)
    means //= number(pixels)
    return means.astype(dtype)
