"""Foci: small bright spots inside objects."""

from typing import NamedTuple

import cv2
import numpy as np

from lib.phenotype.features.channels import ChannelPixels, quantile, sort_within
from lib.phenotype.features.parameters import FeatureParameters

# A focus stands out by this share of the object's maximum at least: a channel
# without noise has no foci by rounding.
LEAST_CONTRAST = 1e-4


class Spots(NamedTuple):
    """A channel filtered for small spots, (Y, X) float32, and its local maxima, bool."""

    response: np.ndarray
    peaks: np.ndarray


def filter_spots(image: np.ndarray, parameters: FeatureParameters) -> Spots:
    """Top-hat and Laplacian of Gaussian, positive on bright spots.

    The Laplacian's scale is the one that answers most to a disk of
    `foci_radius`: radius / sqrt 2 (Lindeberg 1998).

    Parameters
    ----------
    image : (Y, X) uint16 or float32.
    """
    side = 2 * round(parameters.foci_radius) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    small = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, disk).astype(np.float32)
    sigma = parameters.foci_radius / np.sqrt(2)
    response = -cv2.Laplacian(cv2.GaussianBlur(small, (0, 0), sigma), cv2.CV_32F)
    return Spots(response, response >= cv2.dilate(response, np.ones((3, 3), np.uint8)))


def foci(
    pixels: ChannelPixels, spots: Spots, parameters: FeatureParameters
) -> dict[str, np.ndarray]:
    """Number of peaks and pixels of foci in each object, (n,) integers.

    A focus rises above `foci_deviations` robust standard deviations of the
    filtered channel in its own object, 1.4826 median |response|: brighter
    cells have more noise and more texture.
    """
    objects = pixels.objects
    response = objects.gather(spots.response)
    noise = 1.4826 * quantile(objects, sort_within(objects.row, response), 0.5)
    contrast = LEAST_CONTRAST * np.abs(objects.max(pixels.values))
    threshold = np.maximum(parameters.foci_deviations * noise, contrast)
    bright = response > objects.spread(threshold).astype(np.float32)
    peaks = bright & objects.gather(spots.peaks)
    return {
        "foci_count": np.bincount(objects.row[peaks], minlength=objects.n),
        "foci_area": np.bincount(objects.row[bright], minlength=objects.n),
    }
