"""How often bases called without a library are wrong, learnt from spots whose bases are known.

Known are the bases of decoded reads, and of blends made of two of them (`lib.sbs.blends`).
"""

from dataclasses import dataclass

import numpy as np

from lib.sbs.blends import hidden_pairs, make_blends
from lib.sbs.calibration import BaseErrors, Curve, fit_base_errors, phred
from lib.sbs.posterior import Codebook, Decoded, Weights, decode, weigh
from lib.sbs.signal_model import SignalModel

QUALITY_BIN = 5.0  # of the reliability of bases, in phred
LIKELY = 0.5  # least posterior of reads whose bases count as known
MISTAKEN = 0.34  # share of these that may differ from the guide: the read is another's else


@dataclass(frozen=True)
class KnownBases:
    """Bases called without library whose mistakes are known; see `fit_base_errors`.

    margin : (n, T). fit : (n,). wrong : (n, t) bool, at `places` (t,). weight : (n,).
    """

    margin: np.ndarray
    fit: np.ndarray
    wrong: np.ndarray
    places: np.ndarray
    weight: np.ndarray

    def and_also(self, others: "KnownBases") -> "KnownBases":
        names = ("margin", "fit", "wrong", "weight")
        both = {n: np.concatenate([getattr(self, n), getattr(others, n)]) for n in names}
        return KnownBases(**both, places=self.places)

    def errors(self, rows: slice = slice(None)) -> BaseErrors:
        read = (part[rows] for part in (self.margin, self.fit, self.wrong))
        return fit_base_errors(*read, self.places, self.weight[rows])

    def reliability(self) -> list[tuple[float, float, float, float]]:
        """Quality, number, claimed and observed errors; each half judged by the other's errors."""
        claimed = np.empty(self.wrong.shape)
        for half in (0, 1):
            own, other = slice(half, None, 2), slice(1 - half, None, 2)
            claimed[own] = self.errors(other)(self.margin[own], self.fit[own])[:, self.places]
        bins = np.floor(phred(claimed) / QUALITY_BIN) * QUALITY_BIN
        weight = np.broadcast_to(self.weight[:, None], bins.shape)
        rows = []
        for low in np.unique(bins):
            own = bins == low
            means = [float(np.average(v[own], weights=weight[own])) for v in (claimed, self.wrong)]
            rows.append((float(low), float(weight[own].sum()), *means))
        return rows


def margins(decoded: Decoded) -> np.ndarray:
    """Log-odds (n, T) of each base called without library against the other three."""
    total = np.exp(decoded.free.gain.astype(np.float64)).sum(axis=2)
    return -np.log(np.maximum(total - 1, 1e-30))


def fits(decoded: Decoded) -> np.ndarray:
    """Log-odds (n,), per cycle, of the sequence called without library against no read."""
    return decoded.evidence / max(decoded.free.index.shape[1], 1)


def decoded_bases(decoded: Decoded, codebook: Codebook, error: Curve) -> KnownBases:
    """Bases of reads whose guide is likely, by the `error` of their scores.

    Reads must be as bad as those that are judged by them: also those that are not accepted.
    """
    known = (decoded.best >= 0) & (decoded.best < len(codebook.codes))
    known &= error(decoded.score) <= 1 - LIKELY
    called, codes = decoded.free.index[:, codebook.places], codebook.all_codes()
    wrong = np.zeros(called.shape, bool)
    wrong[known] = called[known] != codes[decoded.best[known]]
    known &= wrong.sum(axis=1) <= MISTAKEN * wrong.shape[1]
    return _of(decoded, known, wrong, codebook, 1.0)


def _of(
    decoded: Decoded, rows: np.ndarray, wrong: np.ndarray, codebook: Codebook, weight: float
) -> KnownBases:
    """Those of `rows` (n,)."""
    read = (margins(decoded), fits(decoded), wrong)
    weights = np.full(np.count_nonzero(rows), weight)
    return KnownBases(*(part[rows] for part in read), codebook.places, weights)


def blended_bases(
    model: SignalModel,
    codebook: Codebook,
    weights: Weights,
    reads: tuple[np.ndarray, np.ndarray, np.ndarray],
    intensity: np.ndarray,
    guide: np.ndarray,
    least_score: float,
    seed: int = 0,
) -> KnownBases:
    """Bases of as many blends as are expected among spots that are not decoded.

    Parameters
    ----------
    reads : tile, row and column (n,) of decoded reads. intensity : (n, T, C) of them.
    guide : (n,) their rows of `codebook`.
    least_score : from which a blend would count as a decoded read.

    A base of a blend is right if it is that of the molecule with which more bases agree.
    """
    expected = hidden_pairs(*reads, guide)
    light, pairs, weight = make_blends(intensity, guide, expected, seed)
    free, terms = weigh(model, codebook, light)
    decoded = decode(free, terms, codebook, weights)
    called = free.index[:, None, codebook.places]
    differ = called != codebook.codes[guide[pairs]]
    nearer = differ.sum(axis=2).argmin(axis=1)
    wrong = np.take_along_axis(differ, nearer[:, None, None], axis=1)[:, 0]
    lost = (decoded.best >= len(codebook.codes)) | (decoded.score < least_score)
    return _of(decoded, lost, wrong, codebook, weight)
