"""Colocalization of two channels, pixel by pixel in each object."""

from functools import cached_property

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.objects import ratio


class Stain:
    """A channel cut at a fraction of each object's maximum.

    above : (P,) float32, 1 where a pixel counts as stained, 0 elsewhere.
    stain : (P,) float32, their values, 0 elsewhere.
    """

    def __init__(self, pixels: ChannelPixels, threshold: float) -> None:
        """Cut `pixels` at `threshold`, a fraction of the maximum."""
        self.pixels = pixels
        cut = pixels.objects.spread((threshold * pixels.high).astype(np.float32))
        self.above = (pixels.values >= cut).astype(np.float32)
        self.stain = pixels.values * self.above

    @cached_property
    def total(self) -> np.ndarray:
        """(n,) sum of the stain."""
        return self.pixels.objects.quick_sum(self.stain)


def colocalization(a: Stain, b: Stain) -> dict[str, np.ndarray]:
    """Correlation, slope, overlap, K, Manders and rank-weighted coefficients, each (n,).

    As CellProfiler's MeasureColocalization; all but correlation and slope look at
    the stained pixels only. Feature `_1` is the share of a with b, `_2` of b with a.
    """
    objects = a.pixels.objects
    covariance = objects.quick_sum(a.pixels.centred * b.pixels.centred)
    varies = (a.pixels.squares > 0) & (b.pixels.squares > 0)
    covariance = np.where(varies, covariance, 0)
    correlation = ratio(covariance, np.sqrt(a.pixels.squares * b.pixels.squares))

    a_with_b, b_with_a = a.stain * b.above, b.stain * a.above
    product = objects.quick_sum(a_with_b * b_with_a)
    a_square, b_square = objects.quick_sum(a_with_b**2), objects.quick_sum(b_with_a**2)
    manders = [ratio(objects.quick_sum(x), y.total) for x, y in ((a_with_b, a), (b_with_a, b))]

    ranks = np.maximum(a.pixels.greatest_rank, b.pixels.greatest_rank) + 1
    weight = np.abs(a.pixels.rank - b.pixels.rank)
    weight *= objects.spread((-1 / ranks).astype(np.float32))
    weight += 1
    return {
        "correlation": np.clip(correlation, -1, 1),
        "slope": ratio(covariance, a.pixels.squares),
        "overlap": ratio(product, np.sqrt(a_square * b_square)),
        "k_1": ratio(product, a_square),
        "k_2": ratio(product, b_square),
        "manders_1": manders[0],
        "manders_2": manders[1],
        "rwc_1": ratio(objects.quick_sum(a_with_b * weight), a.total),
        "rwc_2": ratio(objects.quick_sum(b_with_a * weight), b.total),
    }
