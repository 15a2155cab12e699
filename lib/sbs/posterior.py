"""Decoding reads against a library by the probability of each guide.

For every spot the likelihoods of near guides, of near decoys, of any other
sequence and of no sequence at all are set against each other. See `signal_model` for
the likelihood, `decoys` for what the resulting score is worth.

Guides are compared at `places`, the cycles that carry their barcode; the other cycles
keep the bases that were called without a library.
"""

from dataclasses import dataclass, replace

import numpy as np

from lib.sbs.decoding import flips, pack
from lib.sbs.signal_model import (
    FreeCalls,
    SignalModel,
    call_free,
    generic_likelihood,
    likelihood,
)

NEAR = 16  # candidates per read that are weighed
EXHAUSTIVE = 6000  # barcodes up to which all are ranked
UNSURE = 8  # places at which the second-best base is tried in all combinations
FLIPS = 2  # bases that are replaced anywhere by any other
ROUNDS = 20
START = (0.8, 0.1, 0.1)
BLOCK = 1 << 22


@dataclass(frozen=True)
class Codebook:
    """Barcodes that reads are decoded against.

    codes : (K, m) int8 bases of the guides, distinct, at `places`.
    entry : (K,) library entry of each; -1 where several entries share it.
    row : (L,) the row of `codes` of each library entry.
    decoys : (D, m) int8.
    places : (m,) cycles, as indices of those read, that the barcode lies in.
    prior : (K + D,) share of each among the reads of its kind, times K; None for even ones.
    """

    codes: np.ndarray
    entry: np.ndarray
    row: np.ndarray
    decoys: np.ndarray
    places: np.ndarray
    prior: np.ndarray | None = None

    @property
    def ratio(self) -> float:
        """Guides per decoy."""
        return len(self.codes) / max(len(self.decoys), 1)

    def all_codes(self) -> np.ndarray:
        return np.concatenate([self.codes, self.decoys])

    def log_prior(self) -> np.ndarray:
        """Log-probability (K + D,) of each barcode, given that a read is of the library."""
        count = len(self.codes) + len(self.decoys)
        prior = np.ones(count) if self.prior is None else self.prior
        return np.log(prior / max(len(self.codes), 1))

    def with_abundance(self, counts: np.ndarray, seed: int = 0) -> "Codebook":
        """The codebook with priors after the (K,) expected reads of each guide.

        One read is added to each. Decoys take over the priors of guides drawn at random,
        so that a false read finds decoys and guides equally attractive.
        """
        own = (counts + 1.0) / (counts + 1.0).mean()
        rng = np.random.default_rng(seed)
        repeats = -(-len(self.decoys) // max(len(own), 1))
        lent = np.concatenate([rng.permutation(own) for _ in range(repeats)] or [own[:0]])
        return replace(self, prior=np.concatenate([own, lent[: len(self.decoys)]]))


@dataclass(frozen=True)
class Weights:
    """Shares of the spots that are a guide, another sequence, or no read."""

    library: float = START[0]
    other: float = START[1]
    none: float = START[2]


@dataclass(frozen=True)
class Decoded:
    """Reads set against a codebook.

    best : (n,) row of `Codebook.all_codes`; -1 where none is near.
    score : (n,) log-odds of the best against all else; -inf where there is none.
    rivals : (n, T, B) share of each base among the other barcodes, if the best is wrong.
    unknown : (n,) probability of no barcode at all, if the best is wrong: the rest.
    evidence : (n,) log-likelihood ratio of the sequence called without library to no read.
    free : the calls without a library.
    """

    best: np.ndarray
    score: np.ndarray
    rivals: np.ndarray
    unknown: np.ndarray
    evidence: np.ndarray
    free: FreeCalls


@dataclass(frozen=True)
class Terms:
    """Log-likelihoods of all that a read may be; pairs are sorted by read.

    rows, code, pair : (m,) read, barcode and log-likelihood of each candidate.
    other : (n,) mean over all sequences. none : (n,) of a spot without a sequence.
    """

    rows: np.ndarray
    code: np.ndarray
    pair: np.ndarray
    other: np.ndarray
    none: np.ndarray


def weigh(
    model: SignalModel, codebook: Codebook, intensity: np.ndarray, near: int = NEAR
) -> tuple[FreeCalls, Terms]:
    """Free calls and `Terms` of (n, T, C) intensities."""
    intensity = np.asarray(intensity, np.float64)
    free = call_free(model, intensity)
    places = codebook.places
    rows, code = candidates(free, codebook, near)
    index = free.index[rows].copy()
    if len(rows):
        index[:, places] = codebook.all_codes()[code]
    pair = likelihood(model, intensity, index, rows, free.amplitude)
    gain = free.gain[:, places].astype(np.float64)
    # Sum over all sequences, as if replacements of bases added up.
    other = free.log_likelihood + _log_sum(gain, axis=2).sum(axis=1) - len(places) * np.log(4)
    none = generic_likelihood(model, intensity, free.amplitude)
    return free, Terms(rows, code, pair, other, none)


def candidates(
    free: FreeCalls, codebook: Codebook, near: int = NEAR
) -> tuple[np.ndarray, np.ndarray]:
    """Reads (m,) and barcodes (m,) to be compared: the `near` most likely ones of each read.

    Likelihoods are foreseen from the gains of single replacements, added up. Large
    codebooks are searched near the free call only: all barcodes within two replacements,
    and any mixture of first and second bases at the least sure places.
    """
    codes = codebook.all_codes()
    gain = np.ascontiguousarray(free.gain[:, codebook.places])
    count, length = gain.shape[:2]
    if not len(codes) or not count:
        return np.zeros(0, int), np.zeros(0, int)
    if len(codes) <= EXHAUSTIVE:
        near = min(near, len(codes))
        one_hot = np.eye(4, dtype=np.float32)[codes].reshape(len(codes), -1)
        found = np.empty((count, near), np.int64)
        step = max(BLOCK // len(codes), 1)
        for start in range(0, count, step):
            part = slice(start, start + step)
            foreseen = gain[part].reshape(-1, 4 * length) @ one_hot.T
            found[part] = np.argpartition(-foreseen, near - 1, axis=1)[:, :near]
        return np.repeat(np.arange(count), near), found.ravel()
    return _look_up(free.index[:, codebook.places], gain, codes, near)


def _look_up(
    index: np.ndarray, gain: np.ndarray, codes: np.ndarray, near: int
) -> tuple[np.ndarray, np.ndarray]:
    count, length = index.shape
    order = np.argsort(pack(codes))
    known = pack(codes)[order]
    packed = pack(index)
    shifts = 2 * np.arange(length, dtype=np.int64)

    # The second-best base at the least sure places, as bits to flip.
    masked = gain.copy()
    np.put_along_axis(masked, index[:, :, None].astype(np.int64), -np.inf, axis=2)
    second, loss = masked.argmax(axis=2), masked.max(axis=2)
    unsure = np.argsort(-loss, axis=1)[:, :UNSURE]
    flip = (index.astype(np.int64) ^ second) << shifts
    flip = np.take_along_axis(flip, unsure, axis=1)
    subsets = (np.arange(2 ** flip.shape[1])[:, None] >> np.arange(flip.shape[1])) & 1
    anywhere = np.concatenate([flips(length, d) for d in range(min(FLIPS, length) + 1)])

    rows, found = [], []
    step = max(BLOCK // (len(anywhere) + len(subsets)), 1)
    for start in range(0, count, step):
        part = slice(start, start + step)
        near_codes = np.concatenate(
            [packed[part, None] ^ anywhere, packed[part, None] ^ (flip[part] @ subsets.T)], axis=1
        )
        place = np.minimum(np.searchsorted(known, near_codes), len(known) - 1)
        row, column = np.nonzero(known[place] == near_codes)
        hit = np.unique(np.stack([row + start, order[place[row, column]]], axis=1), axis=0)
        rows.append(hit[:, 0])
        found.append(hit[:, 1])
    rows, found = np.concatenate(rows), np.concatenate(found)
    foreseen = gain[rows[:, None], np.arange(length), codes[found]].sum(axis=1)
    ranked = np.lexsort((-foreseen, rows))
    rows, found = rows[ranked], found[ranked]
    first = np.searchsorted(rows, rows)
    kept = np.arange(len(rows)) - first < near
    return rows[kept], found[kept]


def estimate_weights(terms: Terms, codebook: Codebook) -> tuple[Weights, Codebook]:
    """Shares of guides, other sequences and empty spots, and how many reads each guide has.

    By expectation maximisation over (n,) spots; decoys take no part in it.
    """
    count, guides = len(terms.other), len(codebook.codes)
    own = terms.code < guides
    rows, code, pair = terms.rows[own], terms.code[own], terms.pair[own]
    shares, counts = np.array(START), np.zeros(guides)
    if not count or not guides:
        return Weights(), codebook
    for _ in range(ROUNDS):
        prior = np.log((counts + 1.0) / (counts + 1.0).sum())
        weighted = pair + prior[code]
        library = sum_by_read(rows, weighted, count)
        logs = np.stack([library, terms.other, terms.none]) + np.log(shares)[:, None]
        total = _log_sum(logs, axis=0)
        shares = (np.exp(logs - total).sum(axis=1) + 1.0) / (count + 3.0)
        responsible = np.exp(weighted + np.log(shares[0]) - total[rows])
        counts = np.bincount(code, responsible, minlength=guides)
    return Weights(*shares.tolist()), codebook.with_abundance(counts)


def decode(free: FreeCalls, terms: Terms, codebook: Codebook, weights: Weights) -> Decoded:
    """The best barcode of each read, its log-odds, and the bases if it is wrong."""
    count = len(terms.other)
    pair = terms.pair + np.log(weights.library) + codebook.log_prior()[terms.code]
    other = terms.other + np.log(weights.other)
    none = terms.none + np.log(weights.none)

    best, top = np.full(count, -1), np.full(count, -np.inf)
    order = np.lexsort((terms.code, -pair, terms.rows))
    rows, code, pair = terms.rows[order], terms.code[order], pair[order]
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, int)
    best[rows[first]], top[rows[first]] = code[first], pair[first]
    rest = np.ones(len(rows), bool)
    rest[first] = False
    others = sum_by_read(rows[rest], pair[rest], count)
    against = np.logaddexp(np.logaddexp(others, other), none)

    weight = np.exp(pair[rest] - against[rows[rest]])
    index = free.index[rows[rest]].copy()
    if len(index):
        index[:, codebook.places] = codebook.all_codes()[code[rest]]
    rivals = np.empty(free.gain.shape, np.float32)
    for t in range(index.shape[1]):
        flat = rows[rest] * 4 + index[:, t]
        rivals[:, t] = np.bincount(flat, weight, minlength=4 * count).reshape(count, 4)
    unknown = np.exp(np.logaddexp(other, none) - against)
    evidence = free.log_likelihood - terms.none
    return Decoded(best, top - against, rivals, unknown, evidence, free)


def sum_by_read(rows: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """log of the sum of exp(value) for each read; -inf where it has none."""
    top = np.full(count, -np.inf)
    np.maximum.at(top, rows, value)
    safe = np.where(np.isfinite(top), top, 0)
    total = np.bincount(rows, np.exp(value - safe[rows]), minlength=count)
    with np.errstate(divide="ignore"):
        return safe + np.log(total)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis)
