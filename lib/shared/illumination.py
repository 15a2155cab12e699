"""Illumination fields: estimated from many tiles, divided out of each.

Every tile is reduced to a coarse grid as it is read, so that memory does not
depend on the number or the size of tiles. The field of a channel is the median
over tiles of the reduced tiles, each divided by its own level: a few dirty,
empty or crowded tiles do not move it. The median is smoothed as the classic
pipeline does (Feldman et al. 2019), drawn towards a plain surface where tiles are
few, and brought back to full size.
"""

from collections.abc import Iterable

import cv2
import numpy as np

GRID = 32  # cells along the longer side; illumination is smoother than that
SMOOTH = 2.0  # grid cells
LOW_QUANTILE = 0.02  # the dim end of the field, which is set to one
LEAST_LEVEL = 1e-6
FEW = 50  # tiles at which a field is half its own and half the plain surface through it
ROUNDS = 15  # of reweighting; the surface is settled well before
TUKEY = 4.685  # robust standard deviations beyond which a grid cell does not count


def reduce_tile(tile: np.ndarray) -> np.ndarray:
    """A (C, Y, X) tile as (C, y, x) float32 means over the cells of a coarse grid."""
    height, width = tile.shape[1:]
    longer = max(height, width)
    size = max(round(GRID * width / longer), 1), max(round(GRID * height / longer), 1)
    planes = (plane.astype(np.float32) for plane in tile)
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes])


def estimate_field(reduced: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Illumination field (C, Y, X) float32 from tiles reduced by `reduce_tile`.

    Corrected = image / field. The field is one at its dim end (2 % quantile), so
    that correction hardly raises any value. Tiles and channels without signal are
    left out; with none left the field is one everywhere.

    Raises ValueError when there is no tile.
    """
    tiles = np.stack(list(reduced))  # (n, C, y, x)
    if not len(tiles):
        raise ValueError("an illumination field needs at least one tile")
    levels = np.median(tiles, axis=(2, 3), keepdims=True)
    relative = tiles / np.maximum(levels, LEAST_LEVEL)
    relative[np.broadcast_to(levels <= LEAST_LEVEL, relative.shape)] = np.nan

    field = np.empty((tiles.shape[1], *shape), np.float32)
    for c in range(tiles.shape[1]):
        lit = ~np.isnan(relative[:, c, 0, 0])
        if not lit.any():
            field[c] = 1
            continue
        middle = cv2.medianBlur(np.median(relative[lit, c], axis=0).astype(np.float32), 3)
        surface = _surface(middle, relative[lit, c])
        # Cells leave an imprint in the median of few tiles: what it has beside a plain
        # surface counts as much as there are tiles to believe it.
        own = lit.sum() / (lit.sum() + FEW)
        smooth = surface * _smooth(middle / surface) ** np.float32(own)
        full = cv2.resize(smooth, shape[::-1], interpolation=cv2.INTER_CUBIC)
        field[c] = full / np.quantile(full[::4, ::4], LOW_QUANTILE)
    return field


def correct(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(..., Y, X) intensities divided by a field of the same trailing shape, as float32."""
    return np.divide(image, field, dtype=np.float32)


def to_uint16(image: np.ndarray) -> np.ndarray:
    """Float intensities rounded and clipped to uint16."""
    return np.clip(np.rint(image), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _surface(grid: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """Plain surface through a (y, x) grid: a quadratic in its logarithm, float32.

    Vignetting is one hill. Cells and dirt stand out of it, and count the less the
    more they do (Tukey's biweight, Beaton and Tukey 1974). The hill is as high as the
    `tiles` (n, y, x) that the grid is the median of agree on: it is drawn towards an even
    one by its error, told by how much their own surfaces differ (James and Stein 1961).
    """
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in grid.shape), indexing="ij")
    terms = np.stack([y**0, y, x, y * y, y * x, x * x], axis=-1).reshape(-1, 6)
    values = np.log(np.maximum(grid, LEAST_LEVEL)).astype(np.float64).ravel()
    weights = np.ones_like(values)
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        fit = terms @ np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)[0]
        off = values - fit
        spread = 1.4826 * np.median(np.abs(off - np.median(off)))
        if spread < 1e-6:
            break
        weights = np.clip(1 - (off / (TUKEY * spread)) ** 2, 1e-6, None) ** 2
    fit -= fit.mean()
    own = np.log(np.maximum(tiles, LEAST_LEVEL)).reshape(len(tiles), -1).astype(np.float64)
    own = own @ np.linalg.pinv(terms).T @ terms.T
    own -= own.mean(axis=1, keepdims=True)
    spread = np.median(((own - fit) ** 2).mean(axis=1))
    # Of one tile nothing tells cells from light, and of few the spread is uncertain, too.
    # A median errs pi/2 as much as a mean.
    n = len(tiles)
    error = np.pi / 2 * spread * (n + 1) / (n - 1) ** 2 if n > 1 else np.inf
    height = (fit**2).mean()
    trust = max(1 - error / height, 0) if height > 0 else 0.0
    return np.exp(trust * fit).reshape(grid.shape).astype(np.float32)


def _smooth(grid: np.ndarray) -> np.ndarray:
    """Gaussian blur that keeps the slope at the edges, where vignetting is steepest.

    The grid is continued by point reflection: values past an edge are as much
    above or below it as those inside, mirrored.
    """
    reach = min(int(4 * SMOOTH), min(grid.shape) - 1)
    padded = np.pad(grid, reach, mode="reflect", reflect_type="odd")
    blurred = cv2.GaussianBlur(padded, (0, 0), SMOOTH)
    inner = slice(reach, -reach or None)
    return np.ascontiguousarray(blurred[inner, inner])
