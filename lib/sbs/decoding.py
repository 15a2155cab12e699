"""Matching called barcodes to the guide library.

Barcodes are compared as integers, two bits a base, so that exact matches and
all near neighbours are found by binary search, whatever the library's size.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

LETTERS = "ACGT"
MOST_LETTERS = 31  # two bits each in a signed 64-bit integer
BLOCK = 2_000_000  # neighbours looked up at a time


@dataclass(frozen=True)
class Match:
    """Library entries of barcodes.

    entry : (n,) index into the library, -1 where none is nearest alone.
    mismatches : (n,) int8, letters that differ; -1 where there is no entry.
    """

    entry: np.ndarray
    mismatches: np.ndarray


def match_barcodes(barcodes: np.ndarray, library: np.ndarray, max_mismatches: int = 0) -> Match:
    """Find for each barcode the one library entry that is nearest to it.

    Parameters
    ----------
    barcodes : (n,) text of equal lengths. Places that are N in all of them are
        left out of the comparison, in the library too.
    library : (K,) text of that length. Entries that are equal at the places
        compared cannot be told apart: nothing is matched to them.
    max_mismatches : largest Hamming distance at which an entry is taken; it must
        be nearer than every other entry.

    Raises ValueError for lengths that differ or exceed 31 letters.
    """
    entry = np.full(len(barcodes), -1)
    mismatches = np.full(len(barcodes), -1, np.int8)
    if not len(barcodes) or not len(library):
        return Match(entry, mismatches)
    queries, known = letters(barcodes), letters(library)
    if queries.shape[1] != known.shape[1]:
        raise ValueError(f"barcodes of {queries.shape[1]} letters, library of {known.shape[1]}")
    read = (queries >= 0).any(axis=0)
    queries, known = queries[:, read], known[:, read]
    readable = (queries >= 0).all(axis=1)

    codes, first, copies = np.unique(pack(known), return_index=True, return_counts=True)
    names = np.where(copies == 1, first, -1)
    distinct, inverse = np.unique(pack(np.maximum(queries, 0)), return_inverse=True)
    found = np.full(len(distinct), -1)
    distance = np.full(len(distinct), -1, np.int8)
    pending = np.arange(len(distinct))
    for d in range(min(max_mismatches, known.shape[1]) + 1):
        hits, at = _search_at(distinct[pending], codes, known.shape[1], d)
        # A hit at this distance ends the search, whether it is alone or not.
        alone = (hits == 1) & (names[at] >= 0)
        found[pending[alone]] = names[at[alone]]
        distance[pending[alone]] = d
        pending = pending[hits == 0]
    entry[readable] = found[inverse][readable]
    mismatches[readable] = distance[inverse][readable]
    return Match(entry, mismatches)


def letters(barcodes: np.ndarray) -> np.ndarray:
    """Barcodes (n,) as (n, length) int8, A C G T as 0 to 3 and anything else as -1."""
    text = np.asarray(barcodes, dtype="S")
    table = np.full(256, -1, np.int8)
    table[np.frombuffer(LETTERS.encode(), np.uint8)] = range(4)
    width = text.dtype.itemsize
    if (np.char.str_len(text) != width).any():
        raise ValueError("barcodes of unequal lengths")
    return table[np.ascontiguousarray(text).view(np.uint8).reshape(len(text), width)]


def pack(indices: np.ndarray) -> np.ndarray:
    """(n, length) letters 0 to 3 as (n,) int64, two bits a letter."""
    length = indices.shape[1]
    if length > MOST_LETTERS:
        raise ValueError(f"barcodes of {length} letters are longer than {MOST_LETTERS}")
    weights = 4 ** np.arange(length, dtype=np.int64)
    return indices.astype(np.int64) @ weights


def _search_at(
    queries: np.ndarray, codes: np.ndarray, length: int, distance: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many library codes lie at exactly `distance` from each query, and one of them."""
    changes = flips(length, distance)
    hits = np.zeros(len(queries), int)
    at = np.zeros(len(queries), int)
    step = max(BLOCK // len(changes), 1)
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        near = queries[part, None] ^ changes
        place = np.minimum(np.searchsorted(codes, near), len(codes) - 1)
        equal = codes[place] == near
        hits[part] = equal.sum(axis=1)
        at[part] = place[np.arange(len(place)), equal.argmax(axis=1)]
    return hits, at


def flips(length: int, distance: int) -> np.ndarray:
    """All patterns that change exactly `distance` letters of a packed barcode by XOR."""
    patterns = [
        sum(change << (2 * place) for place, change in zip(places, changes, strict=True))
        for places in combinations(range(length), distance)
        for changes in product((1, 2, 3), repeat=distance)
    ]
    return np.array(patterns, np.int64)
