"""Foci: small bright spots inside objects."""

from typing import NamedTuple

import cv2
import numpy as np

from lib.phenotype.features.channels import ChannelPixels, quantile, sort_within
from lib.phenotype.features.parameters import FeatureParameters

# A focus stands out by this share of the object's maximum at least: a channel
# without noise has no foci by rounding.
LEAST_CONTRAST = 1e-4
# det / trace² of the Hessian, 1/4 on a round spot and 0 on a line (Lowe 2004). From 0.2
# on, the lesser curvature is at least 0.38 of the greater.
ROUNDNESS = 0.2
QUARTILE = 0.3186  # a quarter of |values| of a standard normal law are less
ACROSS, ALONG, SLOPE = (np.array(k, np.float32) for k in ((1, -2, 1), (0, 1, 0), (-0.5, 0, 0.5)))


class Spots(NamedTuple):
    """A channel filtered for small spots, (Y, X).

    response : float32, minus the Laplacian.
    peaks : bool, local maxima that are round.
    hills : bool, where the channel bends down in every direction.
    """

    response: np.ndarray
    peaks: np.ndarray
    hills: np.ndarray


def filter_spots(image: np.ndarray, parameters: FeatureParameters) -> Spots:
    """Top-hat and Laplacian of Gaussian, positive on bright spots.

    The Laplacian's scale is the one that answers most to a disk of
    `foci_radius`: radius / sqrt 2 (Lindeberg 1998). It answers to lines too, such as
    membranes and filaments: peaks on them are told by their curvatures (Lowe 2004).

    Parameters
    ----------
    image : (Y, X) uint16 or float32.
    """
    side = 2 * round(parameters.foci_radius) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    small = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, disk).astype(np.float32)
    sigma = parameters.foci_radius / np.sqrt(2)
    smooth = cv2.GaussianBlur(small, (0, 0), sigma)
    yy = cv2.sepFilter2D(smooth, cv2.CV_32F, ALONG, ACROSS)
    xx = cv2.sepFilter2D(smooth, cv2.CV_32F, ACROSS, ALONG)
    xy = cv2.sepFilter2D(smooth, cv2.CV_32F, SLOPE, SLOPE)
    determinant = yy * xx
    determinant -= np.square(xy, out=xy)
    response = np.add(yy, xx, out=yy)
    np.negative(response, out=response)
    peaks = response >= cv2.dilate(response, np.ones((3, 3), np.uint8))
    peaks &= determinant >= ROUNDNESS * response**2
    return Spots(response, peaks, determinant > 0)


def foci(
    pixels: ChannelPixels, spots: Spots, parameters: FeatureParameters
) -> dict[str, np.ndarray]:
    """Number of peaks and pixels of foci in each object, (n,) integers.

    A focus rises above `foci_deviations` robust standard deviations of the
    filtered channel in its own object, since brighter cells have more noise and more
    texture. They follow from the first quartile of |response|, which is 0.3186 of them in
    normal noise, and which foci, however many, hardly move.
    """
    objects = pixels.objects
    response = objects.gather(spots.response)
    noise = quantile(objects, sort_within(objects.row, response), 0.25) / QUARTILE
    contrast = LEAST_CONTRAST * np.abs(pixels.high)
    threshold = np.maximum(parameters.foci_deviations * noise, contrast).astype(np.float32)
    bright = np.flatnonzero(response > objects.spread(threshold))
    row, index = objects.row[bright], objects.index[bright]
    return {
        name: np.bincount(row[chosen.ravel()[index]], minlength=objects.n)
        for name, chosen in (("foci_count", spots.peaks), ("foci_area", spots.hills))
    }
