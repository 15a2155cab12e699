"""Distribution of a stain between the centre of an object and its edge."""

from typing import NamedTuple

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.objects import Objects, ratio
from lib.phenotype.features.parameters import FeatureParameters

WEDGES = 8


class Sectors(NamedTuple):
    """Where between centre and edge pixels lie.

    of_pixel : (P,) int64, row of the object, ring and wedge as one number.
    count : (n, rings, WEDGES) pixels of each sector.
    """

    of_pixel: np.ndarray
    count: np.ndarray


def radial_distribution(
    pixels: ChannelPixels, sectors: Sectors, parameters: FeatureParameters
) -> dict[str, np.ndarray]:
    """Fraction of the stain, its density and its unevenness in each ring.

    Parameters
    ----------
    pixels : one channel.
    sectors : as from `find_sectors`.
    """
    count, rings = sectors.count, parameters.radial_rings
    stain = np.bincount(sectors.of_pixel, pixels.values, count.size).reshape(count.shape)

    fraction = ratio(stain.sum(2), stain.sum((1, 2))[:, None])
    area_fraction = ratio(count.sum(2), count.sum((1, 2))[:, None])
    density = ratio(fraction, area_fraction)

    filled = count > 0
    wedge = np.divide(stain, count, out=np.zeros(stain.shape), where=filled)
    wedges = filled.sum(2)
    mean = ratio(wedge.sum(2), wedges)
    squares = np.where(filled, (wedge - mean[..., None]) ** 2, 0).sum(2)
    variation = ratio(np.sqrt(ratio(squares, wedges)), mean)

    features = {}
    for k in range(rings):
        features[f"frac_at_d_{k + 1}"] = fraction[:, k]
        features[f"mean_frac_{k + 1}"] = density[:, k]
        features[f"radial_cv_{k + 1}"] = variation[:, k]
    return features


def find_sectors(objects: Objects, parameters: FeatureParameters) -> Sectors:
    """The ring and wedge of each pixel.

    The centre is the pixel farthest from the edge, the first of equals in
    reading order. A pixel at distance c from the centre and e from the edge
    lies at c / (c + e) of the way. Wedges are the octants about the centre.
    """
    edge = objects.edge_distance
    centre = objects.first_maximum(edge)
    centre_i, centre_j = (
        objects.spread(np.nan_to_num(objects.at(part, centre)).astype(np.int32))
        for part in (objects.i, objects.j)
    )
    di, dj = objects.i - centre_i, objects.j - centre_j
    di_square, dj_square = di * di, dj * dj
    from_centre = np.sqrt((di_square + dj_square).astype(np.float32))
    rings = parameters.radial_rings
    ring = (rings * from_centre / (from_centre + edge)).astype(np.int32)  # edge >= 1
    sector = objects.row * rings + np.minimum(ring, rings - 1)
    for side in (di_square > dj_square, dj > 0, di > 0):
        sector *= 2
        sector += side
    of_pixel = sector.astype(np.intp)
    size = objects.n, rings, WEDGES
    return Sectors(of_pixel, np.bincount(of_pixel, minlength=np.prod(size)).reshape(size))
