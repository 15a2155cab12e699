"""Probabilities that mean what they say: model scores set against what they were worth."""

from dataclasses import dataclass

import numpy as np

SLOPES = (0.0, 1.0, 0.0, 0.0)  # what is believed of them without data: errors as of single bases
RIDGE = 1.0  # weight of that belief
NEWTON_STEPS = 20
MOST_LOGIT = 30.0
LEAST_ERROR = 1e-5  # of the other bases of a read
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


def error_curve(
    score: np.ndarray,
    wrong: np.ndarray,
    ratio: float = 1.0,
    bins: int = 200,
    weight: np.ndarray | None = None,
) -> Curve:
    """Probability of error as a falling function of the score.

    Parameters
    ----------
    score : (n,) of reads or bases.
    wrong : (n,) whether each counts as an error.
    ratio : how many errors hide among those that do not count as one for each that does:
        0 where errors are seen for what they are, guides over decoys where decoys
        stand for them.
    weight : (n,) of each; by default 1.

    Errors are counted in groups of about equal size. Half an error is added to those
    of each level, so that no finite number of reads makes certain.
    """
    if not len(score):
        return Curve(np.zeros(0), np.zeros(0))
    order = np.argsort(score, kind="stable")
    score, wrong = np.asarray(score, float)[order], np.asarray(wrong, bool)[order]
    weight = np.ones(len(score)) if weight is None else weight[order]
    groups = min(bins, max(len(score) // 20, 1))
    starts = np.linspace(0, len(score), groups, endpoint=False).astype(int)
    shown = np.add.reduceat(weight, starts)
    centre = np.add.reduceat(score * weight, starts) / shown
    errors = np.add.reduceat(wrong * weight, starts)
    if ratio:
        errors, shown = ratio * errors, shown - errors
    fitted = isotonic(np.minimum(errors / np.maximum(shown, 0.5), 1), np.maximum(shown, 0.5))
    level = np.unique(fitted, return_inverse=True)[1]
    shared = np.bincount(level, shown)[level]
    value = (fitted * shared + 0.5 * (ratio or 1.0)) / (shared + 0.5 * (ratio or 1.0) + 0.5)
    return Curve(centre, np.minimum.accumulate(np.minimum(value, 1)))


@dataclass(frozen=True)
class BaseErrors:
    """How often bases called without library are wrong.

    A base is judged by its own margin, and by its read: the other bases' margins, and how well
    any sequence explains it. Two molecules at one place mislead several bases at once.

    alone : margin to the probability that it is wrong. slopes : (4,) of its
        log-odds, see `_features`. together : the sum of these, with the sign changed, to the
        probability.
    """

    alone: Curve
    slopes: np.ndarray
    together: Curve

    def __call__(self, margin: np.ndarray, fit: np.ndarray) -> np.ndarray:
        """Probability (n, T) that bases of these margins and fits are wrong."""
        return self.together(-_features(self.alone, margin, fit) @ self.slopes)


def fit_base_errors(
    margin: np.ndarray,
    fit: np.ndarray,
    wrong: np.ndarray,
    places: np.ndarray,
    weight: np.ndarray,
) -> BaseErrors:
    """Base errors from reads whose sequence is known.

    Parameters
    ----------
    margin : (n, T) log-odds of the base called against the other three.
    fit : (n,) log-odds of the sequence called against no read, per cycle.
    wrong : (n, t) whether the base is wrong, at the cycles `places` (t,) where that is known.
    weight : (n,) of each read.
    """
    if not wrong.size:
        alone = Curve(np.array([0.0, 12.0]), np.array([0.75, 1e-3]))
        features = _features(alone, np.array([[-5.0, 20.0]]), np.zeros(1))
        error = alone(np.array([20.0, -5.0]))
        return BaseErrors(alone, np.array(SLOPES), Curve(np.sort(-features[0, :, 1]), error[::-1]))
    known, of = wrong.ravel(), np.repeat(weight, wrong.shape[1])
    alone = error_curve(margin[:, places].ravel(), known, ratio=0.0, weight=of)
    features = _features(alone, margin, fit)[:, places].reshape(-1, len(SLOPES))
    slopes = _logistic(features, known, of)
    together = error_curve(-features @ slopes, known, ratio=0.0, weight=of)
    return BaseErrors(alone, slopes, together)


def _features(alone: Curve, margin: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """What bases are judged by (n, T, 4).

    One, the log-odds that it is wrong by its margin, the logarithm of the mean error of the other
    bases of the read by theirs, and the fit of the read.
    """
    error = alone(margin)
    others = (error.sum(axis=1, keepdims=True) - error) / max(margin.shape[1] - 1, 1)
    return np.stack(
        [
            np.ones(margin.shape),
            np.log(error / (1 - np.minimum(error, 1 - LEAST_ERROR))),
            np.log(np.maximum(others, LEAST_ERROR)),
            np.broadcast_to(fit[:, None], margin.shape),
        ],
        axis=2,
    )


def _logistic(features: np.ndarray, wrong: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted logistic regression (4,) held to `SLOPES` (Newton's method)."""
    start = np.array(SLOPES)
    slopes, ridge = start.copy(), RIDGE * np.eye(len(start))
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(features @ slopes, -MOST_LOGIT, MOST_LOGIT)))
        slope = features.T @ (weight * (wrong - chance)) - ridge @ (slopes - start)
        bend = (features * (weight * chance * (1 - chance))[:, None]).T @ features + ridge
        slopes = slopes + np.linalg.solve(bend, slope)
    return slopes


def phred(error: np.ndarray) -> np.ndarray:
    """-10 log10 of an error probability, at most 40."""
    with np.errstate(divide="ignore"):
        return np.minimum(-10 * np.log10(error), MOST_PHRED).astype(np.float32)
