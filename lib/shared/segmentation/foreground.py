"""What stands out of the background of a fluorescence image, and how large it is.

All images are (Y, X) float32. Lengths are in pixels.
"""

from dataclasses import dataclass

import numpy as np

MAD_TO_SIGMA = 1.4826
# A nucleus of fewer pixels across is not told from a speck.
SMALLEST_DIAMETER_PX = 6.0
# What is wider, as a part of the tile, is shading or out of focus.
LARGEST_PART_OF_TILE = 0.4
# Side of the copy on which the diameter is estimated.
ESTIMATE_SIDE_PX = 1200
# What stands out by less, in standard deviations of the background or as a
# part of its level, is no object.
LEAST_CONTRAST_SIGMA = 6.0
LEAST_CONTRAST_PART = 0.02


@dataclass(frozen=True)
class Foreground:
    """An image without its background, and the level above which something is there."""

    contrast: np.ndarray  # (Y, X) float32, smoothed, background subtracted
    root: np.ndarray  # (Y, X) float32, square root of the positive contrast
    floor: float  # least contrast of an object
    noise: float  # standard deviation of the background, after smoothing
    background: float  # median level of the background

    @property
    def mask(self) -> np.ndarray:
        return self.contrast > self.floor


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that best separates two classes (Otsu 1979); the maximum if all are equal."""
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    mass = np.cumsum(counts * centres)
    total = float(counts.sum())
    apart = (below > 0) & (below < total)
    if not apart.any():
        return float(np.max(values))
    between = np.zeros_like(below)
    between[apart] = (mass[-1] * below[apart] / total - mass[:-1][apart]) ** 2 / (
        below[apart] * (total - below[apart])
    )
    return float(edges[1:-1][between.argmax()])


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing, float32."""
    import cv2

    return cv2.GaussianBlur(image, (0, 0), sigma)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of `factor` x `factor` pixels, float32."""
    import cv2

    if factor == 1:
        return image
    size = tuple(max(1, side // factor) for side in image.shape)[::-1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def prepare(image: np.ndarray) -> np.ndarray:
    """float32 copy without isolated hot or dead pixels (3 x 3 median)."""
    import cv2

    return cv2.medianBlur(np.ascontiguousarray(image, dtype=np.float32), 3)


def estimate_background(image: np.ndarray, scale: float) -> np.ndarray:
    """Uneven background below objects smaller than `scale`, (Y, X) float32.

    On a reduced copy, the lower envelope (grey opening, window twice the scale)
    marks a first background; pixels within 2.5 standard deviations of the mode
    of the difference are background pixels, and their normalised Gaussian mean
    (Knutsson and Westin 1993) is the next one, three times.
    """
    import cv2

    small, background, sigma = _envelope(image, scale)
    for _ in range(3):
        above = small - background
        mode, spread = _mode_and_spread(above)
        weight = (np.abs(above - mode) <= 2.5 * spread).astype(np.float32)
        weight += 1e-4 * (above <= mode) + 1e-9  # so that no place is without an estimate
        capped = np.minimum(small, background + np.float32(mode + 2.5 * spread))
        # A plane is taken off first: on a slope, the mean over a window that ends
        # at the rim of the image is wrong.
        plane = _plane_fit(capped, weight)
        rest = (capped - plane) * weight
        background = plane + gaussian(rest, sigma) / gaussian(weight, sigma)
    size = image.shape[::-1]
    return cv2.resize(background.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)


def _plane_fit(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least-squares plane, float32."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in image.shape)
    step = max(1, min(image.shape) // 64)
    some = image[::step, ::step]
    terms = np.stack(
        [np.ones_like(some), *np.meshgrid(y[::step], x[::step], indexing="ij")], axis=-1
    )
    root = np.sqrt(weight[::step, ::step])
    level, along_y, along_x = np.linalg.lstsq(
        (terms * root[..., None]).reshape(-1, 3), (some * root).ravel(), rcond=None
    )[0]
    return (level + along_y * y[:, None] + along_x * x).astype(np.float32)


def lower_envelope(image: np.ndarray, scale: float) -> np.ndarray:
    """Smooth level of the darkest places within `scale` px, (Y, X) float32.

    Unlike `estimate_background` it needs no more than a gap here and there: it
    also serves where objects cover nearly all of the image.
    """
    import cv2

    _, envelope, _ = _envelope(image, scale)
    return cv2.resize(envelope, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _envelope(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Reduced copy, its smoothed grey opening (window: twice the scale), and their smoothing."""
    import cv2

    factor = max(1, min(int(scale // 16), min(image.shape) // 16))
    small = shrink(image, factor)
    window = min(int(2 * scale / factor) | 1, 2 * min(small.shape) - 1)
    opened = cv2.morphologyEx(
        gaussian(small, 1.0), cv2.MORPH_OPEN, np.ones((window, window), np.uint8)
    )
    sigma = max(1.0, window / 4)
    return small, gaussian(opened, sigma), sigma


def pixel_noise(image: np.ndarray) -> float:
    """Standard deviation of white noise, from second differences along both axes.

    Robust (median) form of Immerkaer (1996): structure smooth over 3 px cancels.
    """
    if min(image.shape) < 3:
        return 0.0
    half = image[:-2] - 2 * image[1:-1] + image[2:]
    second = half[:, :-2] - 2 * half[:, 1:-1] + half[:, 2:]
    return MAD_TO_SIGMA * float(np.median(np.abs(second[::2, ::2]))) / 6


def _mode_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Centre of the densest quarter of the lower Otsu class, and the spread to its left."""
    lower = np.sort(values[values <= otsu(values)], axis=None)
    if lower.size == 0:
        return 0.0, 0.0
    width = max(1, lower.size // 4)
    start = int((lower[width:] - lower[:-width]).argmin()) if lower.size > width else 0
    mode = lower[min(start + width // 2, lower.size - 1)]
    return float(mode), MAD_TO_SIGMA * float(np.median(mode - lower[lower <= mode]))


def find_foreground(image: np.ndarray, smoothing: float, scale: float) -> Foreground:
    """Background-free image and the level above which it shows objects.

    The floor is half of Otsu's level, found on square roots since objects differ
    in brightness, but never less than six standard deviations of the background
    or 2 % of its level: an empty tile has no foreground.

    Parameters
    ----------
    smoothing : standard deviation of the Gaussian, px.
    scale : size above which structure is background, px.
    """
    smooth = gaussian(image, max(0.7, smoothing))
    background = estimate_background(smooth, scale)
    contrast = smooth - background
    sample = contrast[::2, ::2]
    negative = sample[sample < 0]
    noise = MAD_TO_SIGMA * float(np.median(-negative)) if negative.size else 0.0
    level = float(np.median(background[::8, ::8]))
    root = np.sqrt(np.maximum(contrast, 0))
    floor = max(
        0.5 * otsu(root[::2, ::2]) ** 2,
        LEAST_CONTRAST_SIGMA * noise,
        LEAST_CONTRAST_PART * level,
    )
    return Foreground(contrast, root, floor, noise, level)


def estimate_diameter(image: np.ndarray) -> float | None:
    """Diameter of a typical nucleus in px, from the image alone; None without any.

    Twice the largest inscribed radius (maxima of the distance transform of the
    foreground), median weighted by area, so that specks count little. The first
    round takes the background at a sixth of the tile, the second at twice the
    diameter of the first.
    """
    factor = max(1, round(min(image.shape) / ESTIMATE_SIDE_PX))
    root = np.sqrt(np.maximum(shrink(image, factor) - np.percentile(image[::4, ::4], 1), 0))
    side = min(root.shape)
    diameter = None
    for smoothing, scale in ((1.0, side / 6), (None, None)):
        if diameter is not None:
            smoothing, scale = max(1.0, 0.08 * diameter), 2 * diameter
        found = find_foreground(root, smoothing, max(scale, SMALLEST_DIAMETER_PX))
        # Otsu on square roots already: half its level would swell the objects.
        level = max(otsu(found.contrast[::2, ::2]), LEAST_CONTRAST_SIGMA * found.noise)
        measured = _inscribed_diameter(found.contrast > level)
        if measured is None or measured > LARGEST_PART_OF_TILE * side:
            return None
        diameter = measured
    return max(diameter * factor, SMALLEST_DIAMETER_PX)


def _inscribed_diameter(mask: np.ndarray) -> float | None:
    import cv2

    distance = gaussian(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), 1.0)
    peak = (distance == cv2.dilate(distance, np.ones((5, 5), np.uint8))) & (distance > 1.5)
    radii = np.sort(distance[peak])
    if radii.size == 0:
        return None
    weight = np.cumsum(radii.astype(np.float64) ** 2)
    # Smoothing lowers the maxima and nuclei are longer than wide: 2.2, not 2.
    return 2.2 * float(radii[np.searchsorted(weight, weight[-1] / 2)])
