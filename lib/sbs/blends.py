"""Spots of two molecules that lie too near to be told apart.

Such a spot shows neither's sequence, and is seldom decoded: from decoded reads alone
one cannot learn how often its bases are wrong. So spots are made of two decoded reads each, and
as many of them as the well seems to hold: where molecules lie independently, pairs are
as dense at small distances as at larger ones, and what lacks there are pairs that were not
told apart.
"""

import numpy as np

TOLD_APART_PX = 4.0  # distance from which two molecules always make two spots
AROUND_PX = 8.0  # up to which pairs are counted
FAINTER = 0.5  # share of its light that the second molecule shows at least: it lies aside
COPIES = 10  # blends made for each that is expected, for a smooth estimate
MOST_BLENDS = 2000


def hidden_pairs(tile: np.ndarray, i: np.ndarray, j: np.ndarray, sequence: np.ndarray) -> float:
    """Expected number of pairs of molecules of different sequences within one spot.

    Parameters
    ----------
    tile : (n,) of each read. i, j : (n,) its place, px. sequence : (n,) a number for each.

    Pairs nearer than 4 px that are missing, by the density of pairs at 4 to 8 px, times the
    share of those seen nearer than 4 px whose sequences differ: reads of one cell share theirs.
    """
    from scipy.spatial import cKDTree

    near = far = differ = 0
    for name in np.unique(tile):
        own = np.flatnonzero(tile == name)
        place = np.stack([i[own], j[own]], axis=1).astype(float)
        pairs = cKDTree(place).query_pairs(AROUND_PX, output_type="ndarray")
        apart = np.hypot(*(place[pairs[:, 0]] - place[pairs[:, 1]]).T)
        close = pairs[apart < TOLD_APART_PX]
        near += len(close)
        far += len(pairs) - len(close)
        differ += int((sequence[own[close[:, 0]]] != sequence[own[close[:, 1]]]).sum())
    missing = far * TOLD_APART_PX**2 / (AROUND_PX**2 - TOLD_APART_PX**2) - near
    return max(missing, 0.0) * differ / max(near, 1)


def make_blends(
    intensity: np.ndarray, sequence: np.ndarray, expected: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Blends of pairs of reads.

    Parameters
    ----------
    intensity : (n, T, C) of reads. sequence : (n,) a number for each.
    expected : number of blends that they stand for.

    Returns
    -------
    light : (m, T, C). pairs : (m, 2) reads that each was made of. weight : of each blend.
    """
    count = int(min(np.ceil(COPIES * expected), MOST_BLENDS)) if len(sequence) else 0
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, max(len(sequence), 1), (count, 2))
    if count:
        pairs = pairs[sequence[pairs[:, 0]] != sequence[pairs[:, 1]]]
    share = rng.uniform(FAINTER, 1, len(pairs))[:, None, None]
    light = intensity[pairs[:, 0]] + share * intensity[pairs[:, 1]]
    return light, pairs, expected / max(len(pairs), 1)
