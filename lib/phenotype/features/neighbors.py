"""How crowded objects stand."""

import numpy as np

from lib.phenotype.features.objects import (
    DIAGONAL_NEIGHBORS,
    FOUR_NEIGHBORS,
    Objects,
    ratio,
)
from lib.phenotype.features.parameters import FeatureParameters

DISTANCES_AT_ONCE = 4_000_000  # bounds the memory


def neighbors(objects: Objects, parameters: FeatureParameters) -> dict[str, np.ndarray]:
    """Number of neighbours, share of the border that touches, distances of the nearest two."""
    a, _ = objects.close_pairs(_disk(parameters.neighbor_distance))
    touching = np.zeros(len(objects.border), bool)
    for border, _, _ in objects.border_contacts(FOUR_NEIGHBORS + DIAGONAL_NEIGHBORS):
        touching[border] = True
    row = objects.row[objects.border]
    nearest = nearest_distances(*objects.centroid, 2)
    return {
        "number_of_neighbors": np.bincount(a, minlength=objects.n),
        "percent_touching": 100
        * ratio(
            np.bincount(row, touching, objects.n),
            np.bincount(row, minlength=objects.n),
        ),
        "first_neighbor_distance": nearest[0],
        "second_neighbor_distance": nearest[1],
    }


def _disk(radius: int) -> tuple[tuple[int, int], ...]:
    """Offsets within a Euclidean radius, at least the four direct neighbours."""
    reach = range(-radius, radius + 1)
    disk = tuple((di, dj) for di in reach for dj in reach if 0 < di**2 + dj**2 <= radius**2)
    return disk or FOUR_NEIGHBORS


def nearest_distances(i: np.ndarray, j: np.ndarray, k: int) -> np.ndarray:
    """Distance from each point to its k nearest others: (k, n), NaN where there are fewer."""
    out = np.full((k, len(i)), np.nan)
    known = np.flatnonzero(~np.isnan(i))
    found = min(k, len(known) - 1)
    if found < 1:
        return out
    step = max(1, DISTANCES_AT_ONCE // len(known))
    for begin in range(0, len(known), step):
        part = known[begin : begin + step]
        distance = np.hypot(i[part, None] - i[known], j[part, None] - j[known])
        distance[np.arange(len(part)), begin + np.arange(len(part))] = np.inf
        nearest = np.sort(np.partition(distance, found - 1, axis=1)[:, :found], axis=1)
        out[:found, part] = nearest.T
    return out
