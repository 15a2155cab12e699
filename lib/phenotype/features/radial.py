"""Distribution of a stain between the centre of an object and its edge."""

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.objects import Objects, ratio
from lib.phenotype.features.parameters import FeatureParameters

WEDGES = 8


def radial_distribution(
    pixels: ChannelPixels, sectors: np.ndarray, parameters: FeatureParameters
) -> dict[str, np.ndarray]:
    """Fraction of the stain, its density and its unevenness in each ring.

    Parameters
    ----------
    pixels : one channel.
    sectors : (P,) as from `sectors`.
    """
    n, rings = pixels.objects.n, parameters.radial_rings
    count = np.bincount(sectors, minlength=n * rings * WEDGES).reshape(n, rings, WEDGES)
    stain = np.bincount(sectors, pixels.values, n * rings * WEDGES).reshape(count.shape)

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


def sectors(objects: Objects, parameters: FeatureParameters) -> np.ndarray:
    """The sector (row, ring, wedge) of each pixel as one number: (P,) int64.

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
    from_centre = np.sqrt((di * di + dj * dj).astype(np.float32))
    rings = parameters.radial_rings
    ring = (rings * from_centre / (from_centre + edge)).astype(np.int64)  # edge >= 1
    wedge = (di > 0) + 2 * (dj > 0) + 4 * (np.abs(di) > np.abs(dj))
    return (objects.row * np.int64(rings) + np.minimum(ring, rings - 1)) * WEDGES + wedge
