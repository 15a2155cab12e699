"""Haralick's texture features from the co-occurrence of grey levels, all objects at once."""

from collections.abc import Iterator, Sequence

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.objects import Objects, ratio
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


def texture(
    objects: Objects, channels: Sequence[ChannelPixels], parameters: FeatureParameters
) -> list[dict[str, np.ndarray]]:
    """Haralick's 13 features of each channel for each distance, averaged over the directions.

    Each (n,); directions without pairs are left out.
    """
    levels = parameters.texture_levels
    images = [_level_image(pixels, levels) for pixels in channels]
    features: list[dict[str, np.ndarray]] = [{} for _ in channels]
    for distance in parameters.texture_distances:
        of_direction = np.array(
            [
                [haralick(counts) for counts in _cooccurrences(objects, images, levels, pair)]
                for pair in distance * np.array(DIRECTIONS)
            ]
        )
        measured = (~np.isnan(of_direction)).sum(0)
        mean = ratio(np.nansum(of_direction, 0), measured)
        for found, values in zip(features, mean, strict=True):
            found |= {f"texture_{HARALICK[k]}_{distance}": v for k, v in enumerate(values)}
    return features


def _level_image(pixels: ChannelPixels, levels: int) -> np.ndarray:
    """Grey levels as a flat image, of a type that holds a pair of levels as one number."""
    image = np.zeros(pixels.objects.number.size, np.min_scalar_type(levels**2 - 1))
    image[pixels.objects.index] = grey_levels(pixels, levels)
    return image


def _cooccurrences(
    objects: Objects, images: list[np.ndarray], levels: int, offset: np.ndarray
) -> Iterator[np.ndarray]:
    """Counts of the pairs of levels at an offset (di, dj) in each image: (n, levels, levels)."""
    first, step = objects.pairs(*offset.tolist())
    start = objects.number.ravel()[first].astype(np.intp)
    start -= 1
    start *= levels**2
    for image in images:
        pair = image * levels
        pair += np.roll(image, -step)
        counts = np.bincount(start + pair.take(first), minlength=objects.n * levels**2)
        yield counts.reshape(-1, levels, levels)


def grey_levels(pixels: ChannelPixels, levels: int) -> np.ndarray:
    """Levels 0 … levels - 1, equal steps from the least to the greatest value of an object.

    (P,) of the smallest unsigned type; integers fall exactly where they should.
    """
    objects = pixels.objects
    span = pixels.high - pixels.low
    scale = np.where(span > 0, span, 1).astype(np.float32)
    above = pixels.values - objects.spread(pixels.low.astype(np.float32))
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
            np.einsum("ij,ij->i", p, p),
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
    logarithm = np.log2(np.where(p > 0, p, 1))
    return -np.einsum("ij,ij->i", p, logarithm)
