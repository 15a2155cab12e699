"""Convex hulls of all objects at once.

Coordinates are doubled, so that the middle of a pixel's edge is an integer and
every test is exact.
"""

from typing import NamedTuple

import numpy as np

from lib.phenotype.features.objects import Objects

CORNERS = np.array((-1, 0, 1)), np.array((0, -1, 0))  # y and x of the left ones of a pixel


class Chains(NamedTuple):
    """Hull vertices of all objects, by object and descending the image; doubled coordinates.

    Of each side, left and right: row of the object, i, j.
    """

    left: tuple[np.ndarray, np.ndarray, np.ndarray]
    right: tuple[np.ndarray, np.ndarray, np.ndarray]


def row_extents(
    objects: Objects,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and last pixel of each object in each row of the image it has pixels in.

    Row of the object, i, first j, last j: (R,) int64 each.
    """
    row, i, first, last = (part.astype(np.int64) for part in objects.runs)
    new = np.ones(len(row), bool)
    new[1:] = (np.diff(row) != 0) | (np.diff(i) != 0)
    starts = np.flatnonzero(new)
    if len(starts) == 0:
        return row, i, first, last
    return row[starts], i[starts], first[starts], np.maximum.reduceat(last, starts)


def hull(row: np.ndarray, i: np.ndarray, first: np.ndarray, last: np.ndarray) -> Chains:
    """The hull of the pixels' diamonds (the middles of their edges), from rows of extents."""
    r, y, x = _chain(row, i, -last)
    return Chains(_chain(row, i, first), (r, y, -x))


def _chain(
    row: np.ndarray, i: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The left chain of each object's hull: row, y, x of its vertices.

    A point that lies on or right of the chord of two others is no vertex, even
    if these are none either: all such points leave together, until none is left.
    """
    # The upper, left and lower corner of each leftmost pixel, which descend already.
    row = np.repeat(row, 3)
    y, x = (np.add.outer(2 * p, c).ravel() for p, c in zip((i, first), CORNERS, strict=True))
    new = np.ones(len(row), bool)
    new[1:] = (np.diff(row) != 0) | (np.diff(y) != 0)
    starts = np.flatnonzero(new)
    row, y = row[starts], y[starts]
    x = np.minimum.reduceat(x, starts) if len(starts) else x
    while len(row) > 2:
        dy, dx = np.diff(y), np.diff(x)
        inner = (row[:-2] == row[1:-1]) & (row[2:] == row[1:-1])
        keep = np.ones(len(row), bool)
        keep[1:-1] = ~inner | (dx[:-1] * dy[1:] < dx[1:] * dy[:-1])
        if keep.all():
            break
        row, y, x = row[keep], y[keep], x[keep]
    return row, y, x


def convex_area(
    chains: Chains, n: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels with their centre in or on the hull: (n,), and their extents as of `row_extents`."""
    row, i, first = _crossings(*chains.left)
    _, _, last = _crossings(*(chains.right[0], chains.right[1], -chains.right[2]))
    last = -last
    return np.bincount(row, last - first + 1, n), (row, i, first, last)


def _crossings(
    row: np.ndarray, y: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row of the object, i, and the first pixel right of the chain, for each image row crossed."""
    edge = np.flatnonzero(row[1:] == row[:-1])
    top, bottom = y[edge], y[edge + 1]
    begin, end = (top + 1) // 2, (bottom + 1) // 2  # rows i with top <= 2 i < bottom
    count = end - begin
    edge = np.repeat(edge, count)
    i = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    i += np.repeat(begin, count)
    dy, dx = y[edge + 1] - y[edge], x[edge + 1] - x[edge]
    doubled = x[edge] * dy + (2 * i - y[edge]) * dx  # 2 j dy on the chain
    return row[edge], i, -(-doubled // (2 * dy))


def feret_diameters(chains: Chains, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Greatest and least distance of two parallel lines that enclose each hull, px: 2 x (n,)."""
    (row_a, y_a, x_a), (row_b, y_b, x_b) = chains
    # Around each hull: down its left chain, up its right one.
    row = np.concatenate([row_a, row_b])
    side = np.repeat([0, 1], [len(row_a), len(row_b)])
    along = np.concatenate([y_a, -y_b])
    order = np.lexsort((along, side, row))
    row = row[order]
    y = np.concatenate([y_a, y_b])[order]
    x = np.concatenate([x_a, x_b])[order]
    count = np.bincount(row, minlength=n)
    start = np.cumsum(count) - count
    vertex = np.arange(len(row))
    following = np.where(vertex + 1 == (start + count)[row], start[row], vertex + 1)

    a = np.repeat(vertex, count[row])
    first = np.cumsum(count[row]) - count[row]
    b = np.arange(len(a)) - np.repeat(first, count[row]) + np.repeat(start[row], count[row])
    greatest, least = np.full(n, np.nan), np.full(n, np.nan)
    if len(row) == 0:
        return greatest, least
    present = np.flatnonzero(count)
    between = np.hypot(y[b] - y[a], x[b] - x[a])
    greatest[present] = np.maximum.reduceat(np.maximum.reduceat(between, first), start[present]) / 2

    dy, dx = (y[following] - y)[a], (x[following] - x)[a]
    length = np.hypot(dy, dx)
    away = np.abs((y[b] - y[a]) * dx - (x[b] - x[a]) * dy)
    width = np.where(length > 0, away / np.maximum(length, 1), np.inf)
    widest = np.maximum.reduceat(width, first)
    least[present] = np.minimum.reduceat(widest, start[present]) / 2
    return greatest, least
