"""Decoy barcodes, and what they say about how many reads are decoded falsely.

Reads are decoded against the library and, at once, against as many barcodes that no
cell can carry (target-decoy competition, Elias & Gygi 2007). A read that is
decoded falsely goes to a decoy as easily as to a guide, so the decoys found above a score
tell how many guides above that score were found by chance.
"""

import numpy as np

from lib.sbs.decoding import flips, pack

LEAST_DECOYS = 1000  # for small libraries, whose own number would count too roughly
ROOM = 100  # as many times as many sequences must there be, to have more decoys than guides
TRIES = 50
LOOKED_AT = 5000  # guides whose neighbours tell how near guides lie


def make_decoys(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Barcodes (D, T) with the base composition per place of the library `codes` (K, T).

    None is in the library or nearer to a guide than guides are to each other (up to
    a distance of 3), none occurs twice. D is K, for small libraries more where there are enough
    sequences. Of short codes, all that are not in the library are decoys.
    """
    count, length = codes.shape
    if not count or not length:
        return np.zeros((0, length), np.int8)
    space = 4.0**length - count
    if space <= LEAST_DECOYS:
        every = np.indices((4,) * length).reshape(length, -1).T.astype(np.int8)
        return every[~np.isin(pack(every), pack(codes))]
    rng = np.random.default_rng(seed)
    wanted = min(max(count, min(LEAST_DECOYS, int(4.0**length / ROOM))), int(space))
    # A pseudocount lets small libraries have decoys where all guides share a base.
    frequency = np.stack([(codes == base).mean(axis=0) for base in range(4)], axis=1)
    frequency = (frequency * count + 0.5) / (count + 2)
    edges = frequency.cumsum(axis=1)[:, :3]
    gap = least_distance(codes)
    library = np.sort(pack(codes))
    found = np.zeros((0, length), np.int8)
    for attempt in range(TRIES):
        draws = rng.random((2 * wanted + 16, length, 1))
        drawn = (draws > edges).sum(axis=2).astype(np.int8)
        found = np.concatenate([found, drawn])
        _, first = np.unique(pack(found), return_index=True)
        found = found[np.sort(first)]
        # Where the library fills the space, distance cannot be kept.
        reach = gap - 1 if attempt < TRIES // 2 else 0
        found = found[~_near_any(found, library, reach)]
        if len(found) >= wanted:
            break
    return found[:wanted]


def least_distance(codes: np.ndarray) -> int:
    """Least Hamming distance between two of the library's guides, counted up to 3."""
    library = np.sort(pack(codes))
    some = codes[np.linspace(0, len(codes) - 1, min(len(codes), LOOKED_AT)).astype(int)]
    for distance in (1, 2):
        if (
            distance <= codes.shape[1]
            and _has_at(pack(some), library, codes.shape[1], distance).any()
        ):
            return distance
    return 3


def _near_any(codes: np.ndarray, library: np.ndarray, reach: int) -> np.ndarray:
    packed, near = pack(codes), np.zeros(len(codes), bool)
    for distance in range(min(reach, codes.shape[1]) + 1):
        near |= _has_at(packed, library, codes.shape[1], distance)
    return near


def _has_at(packed: np.ndarray, library: np.ndarray, length: int, distance: int) -> np.ndarray:
    """Whether the sorted `library` has a code at exactly `distance` from each of (n,)."""
    found = np.zeros(len(packed), bool)
    for flip in flips(length, distance):
        query = packed ^ flip
        place = np.minimum(np.searchsorted(library, query), len(library) - 1)
        found |= library[place] == query
    return found


def q_values(
    score: np.ndarray, is_decoy: np.ndarray, ratio: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and the false discovery rate when all at or above them are accepted.

    `score` (n,) are those of the winners, of which `is_decoy` (n,) went to decoys;
    `ratio` is guides over decoys. Returns ascending scores (m,) of the guides found and
    their q-values (m,), which never rise with the score: q = ratio * decoys / guides,
    the least over all lower cuts.
    """
    order = np.argsort(-score, kind="stable")
    decoy = is_decoy[order]
    ordered = score[order]
    decoys, targets = np.cumsum(decoy), np.cumsum(~decoy)
    # Equal scores are accepted together.
    last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    group = np.cumsum(np.append(0, last[:-1])) if len(ordered) else np.zeros(0, int)
    rate = ratio * decoys[last] / np.maximum(targets[last], 1)
    rate = np.minimum(rate, 1.0)
    rate = np.minimum.accumulate(rate[::-1])[::-1] if len(rate) else rate
    q = rate[group][~decoy]
    return ordered[~decoy][::-1], q[::-1]
