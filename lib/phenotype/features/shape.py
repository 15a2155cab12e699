"""Size and shape of objects, from their runs of pixels.

A shape is its horizontal runs: moments, hulls and circles need only the ends of
them, a twentieth of the pixels.
"""

from math import comb, factorial

import numpy as np

from lib.phenotype.features.hull import convex_area, feret_diameters, hull, row_extents
from lib.phenotype.features.objects import DIAGONAL_NEIGHBORS, FOUR_NEIGHBORS, Objects, ratio

ZERNIKE_DEGREE = 9
ZERNIKE = tuple((n, m) for n in range(ZERNIKE_DEGREE + 1) for m in range(n + 1) if (n - m) % 2 == 0)
HU_MOMENTS = 7


def shape(objects: Objects) -> dict[str, np.ndarray]:
    """Area, outline, hull, ellipse of equal moments, distances to the edge, Hu moments.

    Definitions as in scikit-image's `regionprops`.
    """
    area = objects.count
    perimeter_length = np.where(area > 0, perimeter(objects), np.nan)
    centre_i, centre_j = objects.centroid
    moments = central_moments(objects, centre_i, centre_j, 3)
    features = {
        "area": area,
        "perimeter": perimeter_length,
        "form_factor": ratio(4 * np.pi * area, perimeter_length**2),
        "center_i": centre_i,
        "center_j": centre_j,
        "max_radius": objects.max(objects.edge_distance),
        "mean_radius": objects.mean(objects.edge_distance),
    }
    return features | boxes_and_hulls(objects) | ellipse(moments) | hu_moments(moments)


def perimeter(objects: Objects) -> np.ndarray:
    """Length of the outline, px: (n,) float64.

    Border pixels weigh 1, sqrt 2 or their mean by the way in which their
    border neighbours continue (Benkrid and Crookes 2000).
    """
    straight, diagonal, bent = (5, 7, 15, 17, 25, 27), (21, 33), (13, 23)
    weight = np.zeros(50)
    weight[list(straight)] = 1
    weight[list(diagonal)] = np.sqrt(2)
    weight[list(bent)] = (1 + np.sqrt(2)) / 2

    flat, position, width = objects.padded(1)
    position = position[objects.border]
    own = flat[position]
    outline = np.zeros_like(flat)
    outline[position] = own
    code = np.ones(len(own), np.intp)
    for neighbors, value in ((FOUR_NEIGHBORS, 2), (DIAGONAL_NEIGHBORS, 10)):
        for di, dj in neighbors:
            code += value * (outline[position + (di * width + dj)] == own)
    return np.bincount(objects.row[objects.border], weight[code], objects.n)


def boxes_and_hulls(objects: Objects) -> dict[str, np.ndarray]:
    """Extent, solidity and Feret diameters."""
    _, _, height, width = objects.box
    extents = row_extents(objects)
    convex, filled = convex_area(hull(*extents), objects.n)
    greatest, least = feret_diameters(hull(*filled), objects.n)
    return {
        "extent": ratio(objects.count, height * width),
        "solidity": ratio(objects.count, convex),
        "max_feret_diameter": greatest,
        "min_feret_diameter": least,
    }


def central_moments(
    objects: Objects, centre_i: np.ndarray, centre_j: np.ndarray, order: int
) -> np.ndarray:
    """Moments about the given centres: (order + 1, order + 1, n), [p, q] = sum of di^p dj^q.

    Only p + q <= order is filled. The sum over a run of (j - c)^q is a
    difference of Bernoulli polynomials (Faulhaber's formula).
    """
    row, i, first, last = objects.runs
    di = i - centre_i[row]
    begin, end = first - centre_j[row], last + 1 - centre_j[row]
    moments = np.zeros((order + 1, order + 1, objects.n))
    for q in range(order + 1):
        along = _bernoulli(q + 1, end) - _bernoulli(q + 1, begin)
        along /= q + 1
        for p in range(order + 1 - q):
            moments[p, q] = np.bincount(row, along, objects.n)
            along *= di
    return moments


def _bernoulli(degree: int, x: np.ndarray) -> np.ndarray:
    """The Bernoulli polynomial of a degree up to 10 at x."""
    numbers = (1, -1 / 2, 1 / 6, 0, -1 / 30, 0, 1 / 42, 0, -1 / 30, 0, 5 / 66)
    coefficients = [comb(degree, k) * numbers[k] for k in range(degree + 1)]
    return np.polyval(coefficients, x)


def ellipse(moments: np.ndarray) -> dict[str, np.ndarray]:
    """Axes, eccentricity and orientation of the ellipse of equal second moments."""
    area = moments[0, 0]
    ii, jj, ij = (ratio(moments[p, q], area) for p, q in ((2, 0), (0, 2), (1, 1)))
    middle = (ii + jj) / 2
    spread = np.hypot((ii - jj) / 2, ij)
    spread = np.where(spread < 1e-9 * middle, 0.0, spread)  # rounding makes no axis
    major, minor = middle + spread, np.maximum(middle - spread, 0)
    eccentricity = np.sqrt(1 - ratio(minor, major))
    angle = 0.5 * np.arctan2(2 * ij, ii - jj)
    return {
        "major_axis": 4 * np.sqrt(major),
        "minor_axis": 4 * np.sqrt(minor),
        "eccentricity": np.where(major == 0, 0.0, eccentricity),
        "orientation": np.where(spread == 0, np.nan, angle),
    }


def hu_moments(moments: np.ndarray) -> dict[str, np.ndarray]:
    """Hu's seven invariants of the binary shape (Hu 1962)."""
    area = moments[0, 0]

    def eta(p: int, q: int) -> np.ndarray:
        return ratio(moments[p, q], area ** (1 + (p + q) / 2))

    difference, cross = eta(2, 0) - eta(0, 2), 2 * eta(1, 1)
    a, b = eta(3, 0) + eta(1, 2), eta(2, 1) + eta(0, 3)
    c, d = eta(3, 0) - 3 * eta(1, 2), 3 * eta(2, 1) - eta(0, 3)
    invariants = (
        eta(2, 0) + eta(0, 2),
        difference**2 + cross**2,
        c**2 + d**2,
        a**2 + b**2,
        c * a * (a**2 - 3 * b**2) + d * b * (3 * a**2 - b**2),
        difference * (a**2 - b**2) + 2 * cross * a * b,
        d * a * (a**2 - 3 * b**2) - c * b * (3 * a**2 - b**2),
    )
    return {f"hu_moment_{k}": value for k, value in enumerate(invariants)}


def zernike(objects: Objects) -> dict[str, np.ndarray]:
    """Magnitudes of the Zernike moments of the shape up to degree 9 (Teague 1980).

    About the centroid, in the circle that just holds every pixel; divided by
    the area, so that the size does not count.
    """
    centre_i, centre_j = objects.centroid
    row, i, first, last = objects.runs
    farthest = np.maximum(np.abs(first - centre_j[row]), np.abs(last - centre_j[row]))
    radius = np.zeros(objects.n)
    np.maximum.at(radius, row, np.hypot(i - centre_i[row], farthest))
    radius += 0.5  # the whole of the pixel
    moments = central_moments(objects, centre_i, centre_j, ZERNIKE_DEGREE)
    power = np.add.outer(*[np.arange(ZERNIKE_DEGREE + 1)] * 2)
    moments = ratio(moments, moments[0, 0] * radius ** power[..., None])
    moments = np.where((power <= ZERNIKE_DEGREE)[..., None], moments, 0)
    return {
        f"zernike_{n}_{m}": np.abs(np.tensordot(_zernike_polynomial(n, m), moments, 2))
        for n, m in ZERNIKE
    }


def _zernike_polynomial(n: int, m: int) -> np.ndarray:
    """(n + 1) / pi R_nm(r) exp(i m t) as coefficients of y^p x^q: complex, [p, q]."""
    size = ZERNIKE_DEGREE + 1
    polynomial = np.zeros((size, size), complex)
    for s in range((n - m) // 2 + 1):
        radial = (-1) ** s * factorial(n - s)
        radial /= factorial(s) * factorial((n + m) // 2 - s) * factorial((n - m) // 2 - s)
        pairs = (n - m) // 2 - s  # (x² + y²)^pairs (x + iy)^m
        for a in range(pairs + 1):
            for b in range(m + 1):
                factor = comb(pairs, a) * comb(m, b) * 1j**b
                polynomial[2 * a + b, 2 * (pairs - a) + m - b] += radial * factor
    return polynomial * (n + 1) / np.pi
