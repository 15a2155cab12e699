"""Haralick's texture features from the co-occurrence of grey levels, all objects at once."""

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.objects import Objects
from lib.phenotype.features.parameters import FeatureParameters

DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
HARALICK = (
    "angular_second_moment",
    "contrast",
    "correlation",
    "variance",
    "inverse_difference_moment",
    "sum_average",
    "sum_variance",
    "sum_entropy",
    "entropy",
    "difference_variance",
    "difference_entropy",
    "info_meas_1",
    "info_meas_2",
)
MATRICES_AT_ONCE = 1024  # bounds the memory

Pairs = list[tuple[np.ndarray, np.ndarray]]


def pixel_pairs(objects: Objects, parameters: FeatureParameters) -> dict[int, Pairs]:
    """For each distance, the pairs of pixels in each direction, as of `Objects.pairs`."""
    return {
        distance: [objects.pairs(distance * di, distance * dj) for di, dj in DIRECTIONS]
        for distance in parameters.texture_distances
    }


def texture(
    pixels: ChannelPixels, pairs: dict[int, Pairs], parameters: FeatureParameters
) -> dict[str, np.ndarray]:
    """Haralick's 13 features for each distance, averaged over the directions, each (n,)."""
    levels = parameters.texture_levels
    level = grey_levels(pixels, levels)
    image = np.zeros(pixels.objects.shape, level.dtype).ravel()
    image[pixels.objects.index] = level
    bins = pixels.objects.n * levels**2
    row = pixels.objects.row.astype(np.int32 if bins < 2**31 else np.int64)
    base = (row * levels + level) * levels
    features = {}
    for distance, directions in pairs.items():
        total, measured = 0.0, 0
        for first, second in directions:
            code = base[first]
            code += image[second]
            counts = np.bincount(code, minlength=bins)
            values = haralick(counts.reshape(-1, levels, levels))
            total = total + np.nan_to_num(values)
            measured = measured + ~np.isnan(values[:1])
        mean = np.where(measured > 0, total / np.maximum(measured, 1), np.nan)
        for name, values in zip(HARALICK, mean, strict=True):
            features[f"texture_{name}_{distance}"] = values
    return features


def grey_levels(pixels: ChannelPixels, levels: int) -> np.ndarray:
    """Levels 0 … levels - 1, equal steps from the least to the greatest value of an object.

    (P,) of the smallest unsigned type; integers fall exactly where they should.
    """
    objects = pixels.objects
    low, high = objects.min(pixels.values), objects.max(pixels.values)
    scale = np.where(high > low, high - low, 1).astype(np.float32)
    above = pixels.values - objects.spread(low.astype(np.float32))
    above *= np.float32(levels)
    above /= objects.spread(scale)
    return np.minimum(above, levels - 1).astype(np.min_scalar_type(levels - 1))


def haralick(counts: np.ndarray) -> np.ndarray:
    """Haralick's 13 features of co-occurrence counts (Haralick et al. 1973).

    Difference variance is the variance of |a - b|; entropies are in bits.

    Parameters
    ----------
    counts : (n, G, G) pairs of levels, in one order; they count in both.

    Returns
    -------
    (13, n) float64, in the order of `HARALICK`; NaN without pairs.
    """
    n = len(counts)
    out = np.empty((len(HARALICK), n))
    for begin in range(0, n, MATRICES_AT_ONCE):
        part = slice(begin, begin + MATRICES_AT_ONCE)
        out[:, part] = _haralick(counts[part])
    return out


def _haralick(counts: np.ndarray) -> np.ndarray:
    n, size, _ = counts.shape
    level = np.arange(1.0, size + 1)
    a, b = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    sums, differences = np.arange(2.0, 2 * size + 1), np.arange(float(size))
    by_sum = ((a + b).ravel()[:, None] == np.arange(2 * size - 1)).astype(float)
    by_difference = (np.abs(a - b).ravel()[:, None] == np.arange(size)).astype(float)

    total = 2 * counts.sum((1, 2))
    p = counts + counts.transpose(0, 2, 1)
    p = p.reshape(n, -1) / np.maximum(total, 1)[:, None]
    marginal = p.reshape(n, size, size).sum(1)
    p_sum, p_difference = p @ by_sum, p @ by_difference

    mean = marginal @ level
    variance = marginal @ level**2 - mean**2
    constant = (marginal > 0).sum(1) <= 1
    product = p @ np.outer(level, level).ravel() - mean**2
    entropy, marginal_entropy = _entropy(p), _entropy(marginal)
    shared = 2 * marginal_entropy - entropy  # mutual information
    sum_average = p_sum @ sums
    features = np.stack(
        [
            (p**2).sum(1),
            p_difference @ differences**2,
            np.where(constant, 1.0, product / np.where(constant, 1.0, variance)),
            np.where(constant, 0.0, variance),
            p_difference @ (1 / (1 + differences**2)),
            sum_average,
            np.where(constant, 0.0, p_sum @ sums**2 - sum_average**2),
            _entropy(p_sum),
            entropy,
            p_difference @ differences**2 - (p_difference @ differences) ** 2,
            _entropy(p_difference),
            np.where(constant, 0.0, -shared / np.where(constant, 1.0, marginal_entropy)),
            np.sqrt(np.maximum(0, 1 - np.exp(-2 * shared))),
        ]
    )
    features[:, total == 0] = np.nan
    return features


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of distributions (n, k) in bits: (n,)."""
    logarithm = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return -(p * logarithm).sum(1)
