"""A stage of a well as one image that is read where, and as finely as, somebody looks."""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lib.shared.omezarr.pyramid import label_levels, mean_levels
from visualization.pixels import CACHE_BYTES, Form, Pixels

if TYPE_CHECKING:
    import dask.array as da

CHUNK = 1024  # pixels along y and x that are read at once
OVERVIEW_SIDE = 2048  # levels are added until the whole well has no more pixels along a side


class Mosaic:
    """Tiles of one form, put side by side at whole pixels of each level.

    Where some overlap the later one is seen; what none covers is 0. Beyond the levels
    of the tiles there are more, made of the last one, until the whole fits a screen.

    Parameters
    ----------
    form : of the tiles.
    tiles : their pixels.
    corners : (n, 2), pixels from the corner of the mosaic to that of each tile, y and x.
    """

    def __init__(self, form: Form, tiles: Sequence[Pixels], corners: np.ndarray) -> None:
        self._form, self._tiles = form, tiles
        whole = np.array(form.level_shapes[0][-2:])
        shapes = [np.array(shape[-2:]) for shape in form.level_shapes]
        # Sizes of levels are rounded up: the true factor is that of whole numbers.
        self.factors = [round(float((whole / shape).max())) for shape in shapes]
        self._stored = len(shapes)
        extent = corners.max(axis=0) + whole
        while (extent / self.factors[-1]).max() > OVERVIEW_SIDE:
            self.factors.append(2 * self.factors[-1])
            shapes.append(-(-shapes[-1] // 2))
        self._sides = shapes
        self._corners = [np.rint(corners / factor).astype(int) for factor in self.factors]
        piece = int(np.prod(shapes[-1])) * form.dtype.itemsize
        self._reduced = lru_cache(maxsize=max(len(tiles), CACHE_BYTES // piece))(self._reduce)

    @property
    def axes(self) -> str:
        """Those of an image of one channel."""
        return self._form.axes.replace("C", "")

    @property
    def is_large(self) -> bool:
        """Whether even the last level of the tiles is too fine to see the whole at once."""
        return len(self.factors) > self._stored

    def shape(self, level: int) -> tuple[int, ...]:
        """Of a level of one channel."""
        sides = (self._corners[level].max(axis=0) + self._sides[level]).tolist()
        named = zip(self._form.axes[:-2], self._form.level_shapes[0], strict=False)
        return (*(n for axis, n in named if axis != "C"), *sides)

    def levels(self, channel: int) -> "list[da.Array]":
        """The levels of a channel as arrays that read their pixels when asked."""
        import dask.array as da

        arrays = []
        for level in range(len(self.factors)):
            source = _Level(self, level, channel)
            chunks = (*(1 for _ in source.shape[:-2]), CHUNK, CHUNK)
            # A name of its own: else dask would hash what it cannot know.
            name = f"mosaic-{id(self)}-{channel}-{level}"
            arrays.append(da.from_array(source, chunks, name=name, meta=source.meta))
        return arrays

    def read(self, level: int, channel: int, block: Sequence[slice]) -> np.ndarray:
        """A block of a level of one channel."""
        bounds = [cut.indices(n)[:2] for cut, n in zip(block, self.shape(level), strict=True)]
        image = np.zeros([end - start for start, end in bounds], self._form.dtype)
        start, end = np.array(bounds[-2:]).T
        corners = self._corners[level]
        hit = np.all((corners < end) & (corners + self._sides[level] > start), axis=1)
        leading = [range(*ends) for ends in bounds[:-2]]
        for number in np.flatnonzero(hit).tolist():
            at = corners[number]
            low, high = np.maximum(at, start), np.minimum(at + self._sides[level], end)
            inside = tuple(map(slice, (low - at).tolist(), (high - at).tolist()))
            placed = tuple(map(slice, (low - start).tolist(), (high - start).tolist()))
            for index in itertools.product(*leading):
                to = tuple(i - ends[0] for i, ends in zip(index, bounds, strict=False))
                piece = self._piece(number, level, self._plane(index, channel), *inside)
                target = image[(*to, *placed)]
                # A tile that is smaller than the others covers what it has.
                target[: piece.shape[0], : piece.shape[1]] = piece
        return image

    def _plane(self, index: Sequence[int], channel: int) -> tuple[int, ...]:
        """Index along all axes of the tiles before Y and X."""
        rest = iter(index)
        return tuple(channel if axis == "C" else next(rest) for axis in self._form.axes[:-2])

    def _piece(
        self, number: int, level: int, plane: tuple[int, ...], rows: slice, columns: slice
    ) -> np.ndarray:
        if level < self._stored:
            return self._tiles[number].read(level, plane, rows, columns)
        return self._reduced(number, level, plane)[rows, columns]

    def _reduce(self, number: int, level: int, plane: tuple[int, ...]) -> np.ndarray:
        whole = slice(None)
        last = self._tiles[number].read(self._stored - 1, plane, whole, whole)
        count = level - self._stored + 2
        make = label_levels if self._form.is_label else mean_levels
        return np.ascontiguousarray(make(last, 2, count)[-1])


class _Level:
    """What dask takes for an array."""

    def __init__(self, mosaic: Mosaic, level: int, channel: int) -> None:
        self._mosaic, self._level, self._channel = mosaic, level, channel
        self.shape = mosaic.shape(level)
        self.ndim = len(self.shape)
        self.dtype = mosaic._form.dtype
        self.meta = np.empty((0,) * self.ndim, self.dtype)

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        """What is asked for, as numpy gives it: dask passes numbers and steps on, too."""
        cuts = [one if isinstance(one, slice) else slice(one, one + 1) for one in key]
        ranges = [range(n)[cut] for n, cut in zip(self.shape, cuts, strict=True)]
        block = [slice(min(r), max(r) + 1) if r else slice(0, 0) for r in ranges]
        image = self._mosaic.read(self._level, self._channel, block)
        steps = [
            slice(None, None, r.step) if isinstance(one, slice) else 0
            for one, r in zip(key, ranges, strict=True)
        ]
        return image[tuple(steps)]
