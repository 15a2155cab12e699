"""Probabilities that mean what they say: model scores set against what they were worth."""

from dataclasses import dataclass

import numpy as np

MOST_PHRED = 40.0  # one in 10,000: more than the reads of a well can prove is not claimed


@dataclass(frozen=True)
class Curve:
    """A monotone curve from a score to a probability; flat beyond its ends.

    score : (m,) ascending. value : (m,) probability at each score.
    """

    score: np.ndarray
    value: np.ndarray

    def __call__(self, score: np.ndarray) -> np.ndarray:
        if not len(self.score):
            return np.full(np.shape(score), 0.5)
        return np.interp(score, self.score, self.value)


def isotonic(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Least-squares fit (n,) to `value` that never rises (pool adjacent violators, Ayer 1955)."""
    means: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for v, w in zip(value.tolist(), weight.tolist(), strict=True):
        means.append(v)
        weights.append(w)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            total = weights[-2] + weights[-1]
            means[-2] = (means[-2] * weights[-2] + means[-1] * weights[-1]) / total
            weights[-2] = total
            sizes[-2] += sizes[-1]
            del means[-1], weights[-1], sizes[-1]
    return np.repeat(means, sizes)


def error_curve(score: np.ndarray, wrong: np.ndarray, ratio: float = 1.0, bins: int = 200) -> Curve:
    """Probability of error as a falling function of the score.

    Parameters
    ----------
    score : (n,) of reads or bases.
    wrong : (n,) whether each counts as an error.
    ratio : how many errors hide among those that do not count as one for each that does:
        0 where errors are seen for what they are, guides over decoys where decoys
        stand for them.

    Errors are counted in groups of about equal size. Half an error is added to those
    of each level, so that no finite number of reads makes certain.
    """
    if not len(score):
        return Curve(np.zeros(0), np.zeros(0))
    order = np.argsort(score, kind="stable")
    score, wrong = np.asarray(score, float)[order], np.asarray(wrong, bool)[order]
    groups = min(bins, max(len(score) // 20, 1))
    starts = np.linspace(0, len(score), groups, endpoint=False).astype(int)
    size = np.diff(np.append(starts, len(score)))
    centre = np.add.reduceat(score, starts) / size
    errors = np.add.reduceat(wrong.astype(float), starts)
    shown = size.astype(float)
    if ratio:
        errors, shown = ratio * errors, shown - errors
    fitted = isotonic(np.minimum(errors / np.maximum(shown, 0.5), 1), np.maximum(shown, 0.5))
    level = np.unique(fitted, return_inverse=True)[1]
    shared = np.bincount(level, shown)[level]
    value = (fitted * shared + 0.5 * (ratio or 1.0)) / (shared + 0.5 * (ratio or 1.0) + 0.5)
    return Curve(centre, np.minimum.accumulate(np.minimum(value, 1)))


def phred(error: np.ndarray) -> np.ndarray:
    """-10 log10 of an error probability, at most 40."""
    with np.errstate(divide="ignore"):
        return np.minimum(-10 * np.log10(error), MOST_PHRED).astype(np.float32)
