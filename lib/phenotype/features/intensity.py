"""Brightness of objects and where it lies."""

import numpy as np

from lib.phenotype.features.channels import ChannelPixels, deviation, median_deviation, quantile
from lib.phenotype.features.objects import Objects, ratio


def intensity(pixels: ChannelPixels) -> dict[str, np.ndarray]:
    """Sums, means, quantiles and places of one channel, each (n,)."""
    objects, values = pixels.objects, pixels.values
    total = objects.sum(values)
    ordered = pixels.ordered
    median = quantile(objects, ordered, 0.5)
    shift_i, shift_j = (ratio(objects.sum(values * part), total) for part in objects.from_centroid)
    brightest = objects.first_maximum(values)
    return {
        "integrated": np.where(objects.count > 0, total, np.nan),
        "mean": pixels.mean,
        "std": deviation(pixels),
        "min": pixels.low,
        "max": pixels.high,
        **_edge(objects, values),
        "lower_quartile": quantile(objects, ordered, 0.25),
        "median": median,
        "upper_quartile": quantile(objects, ordered, 0.75),
        "mad": median_deviation(objects, ordered, median),
        "mass_displacement": np.hypot(shift_i, shift_j),
        "center_mass_i": objects.centroid[0] + shift_i,
        "center_mass_j": objects.centroid[1] + shift_j,
        "max_i": objects.at(objects.i, brightest),
        "max_j": objects.at(objects.j, brightest),
    }


def _edge(objects: Objects, values: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of the border pixels."""
    row, edge = objects.row[objects.border], values[objects.border].astype(np.float64)
    count = np.bincount(row, minlength=objects.n)
    total = np.bincount(row, edge, objects.n)
    mean = ratio(total, count)
    least, greatest = np.full(objects.n, np.inf), np.full(objects.n, -np.inf)
    np.minimum.at(least, row, edge)
    np.maximum.at(greatest, row, edge)
    squares = np.bincount(row, (edge - mean[row]) ** 2, objects.n)
    return {
        "integrated_edge": np.where(count > 0, total, np.nan),
        "mean_edge": mean,
        "std_edge": np.where(least == greatest, 0.0, np.sqrt(ratio(squares, count))),
        "min_edge": np.where(count > 0, least, np.nan),
        "max_edge": np.where(count > 0, greatest, np.nan),
    }
