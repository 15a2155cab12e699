"""Shifts between images: measuring them to hundredths of a pixel, and undoing them.

A shift `(dy, dx)` is where a feature lies in the moving image minus where it
lies in the reference. Correlation runs in single precision on packed real
spectra (OpenCV), which is several times faster than a complex transform.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

PAD = 3  # pixels that the interpolation kernel reaches beyond an image


class Shift(NamedTuple):
    """A measured translation."""

    dy: float
    dx: float
    correlation: float  # of the two images at this shift, -1 to 1
    clarity: float  # height of the peak in standard deviations of the correlation surface


def spectrum(image: np.ndarray) -> np.ndarray:
    """Packed spectrum of a (Y, X) image, edge-tapered, of zero mean and unit norm.

    Constant images have an all-zero spectrum.
    """
    tapered = _tapered(image)
    norm = np.sqrt(np.vdot(tapered, tapered))
    if norm > 0:
        tapered /= norm
    return cv2.dft(tapered.astype(np.float32, copy=False))


def measure_shift(
    reference: np.ndarray,
    moving: np.ndarray,
    max_shift: float,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Shift:
    """Shift of one `spectrum` against another, at most `max_shift` px from `centre` per axis.

    The peak of the cross-correlation is refined by a parabola through the
    logarithm of its neighbours, exact for a Gaussian peak. No spectral
    whitening is done: band-pass the images before, as suits them.
    """
    # Correlation theorem: the surface at lag s is sum_x moving(x + s) * reference(x).
    surface = cv2.idft(cv2.mulSpectrums(moving, reference, 0, conjB=True), flags=cv2.DFT_SCALE)
    return _peak(surface, max_shift, centre)


def measure_outline_shift(
    reference: np.ndarray, moving: np.ndarray, band: tuple[float, float], max_shift: float
) -> Shift:
    """Shift of a (Y, X) float32 image against another by phase correlation within a band.

    Every frequency counts the same (Kuglin and Hines 1975), weighted by a band pass of
    standard deviations `band` px: for images that share outlines rather than brightness.
    """
    cross = np.fft.rfft2(_tapered(moving)) * np.fft.rfft2(_tapered(reference)).conj()
    cross /= np.abs(cross) + np.finfo(np.float32).tiny
    height, width = reference.shape
    square = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    fine, coarse = (np.exp(-2 * np.pi**2 * square * sigma**2) for sigma in band)
    surface = np.fft.irfft2(cross * (fine - coarse), s=reference.shape).astype(np.float32)
    return _peak(surface / (fine - coarse).mean(), max_shift, (0.0, 0.0))


def _peak(surface: np.ndarray, max_shift: float, centre: tuple[float, float]) -> Shift:
    """Highest point of a correlation surface within `max_shift` px of `centre`, refined."""
    height, width = surface.shape
    rows = _lags(height, centre[0], max_shift)
    columns = _lags(width, centre[1], max_shift)
    window = surface[np.ix_(rows % height, columns % width)]
    y, x = np.unravel_index(np.argmax(window), window.shape)
    row, column = rows[y], columns[x]
    around = np.arange(-1, 2)
    near = surface[np.ix_((row + around) % height, (column + around) % width)]
    noise = float(surface[::7, ::5].std())
    peak = float(near[1, 1])
    return Shift(
        float(row + _vertex(near[:, 1])),
        float(column + _vertex(near[1])),
        peak,
        peak / noise if noise > 0 else 0.0,
    )


def translate(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Undo a shift of a (Y, X) image by one cubic interpolation (Keys 1981), as float32.

    `result[y, x] = image[y + dy, x + dx]`; what lies beyond the edge repeats the
    edge, so that filters see no step there.
    """
    height, width = image.shape
    row, column = int(np.floor(dy)), int(np.floor(dx))
    pad_y, pad_x = abs(row) + PAD, abs(column) + PAD
    padded = cv2.copyMakeBorder(image, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REPLICATE)
    top, left = pad_y + row, pad_x + column
    source = padded[top - 1 : top + height + 2, left - 1 : left + width + 2]
    kernels = keys_kernel(dx - column), keys_kernel(dy - row)
    # The anchor is the tap of weight one at zero shift; the margin of one keeps it inside.
    moved = cv2.sepFilter2D(source, cv2.CV_32F, *kernels, anchor=(1, 1))
    return np.ascontiguousarray(moved[1 : 1 + height, 1 : 1 + width])


def warp(image: np.ndarray, offset: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Undo a shift (2,) and a turn (2, 2) of a (Y, X) image by one interpolation, as float32.

    What lies at q from the middle of the result lies at q + offset + turn @ q from that of the
    image. Without turn this is `translate`; else OpenCV's cubic kernel, in steps of 1/32 px.
    """
    if not np.any(turn):
        return translate(image, *offset)
    middle = (np.array(image.shape) - 1) / 2
    ahead = np.eye(2) + turn
    start = middle + offset - ahead @ middle
    # OpenCV counts columns first.
    matrix = np.array([[*ahead[1, ::-1], start[1]], [*ahead[0, ::-1], start[0]]])
    return cv2.warpAffine(
        image.astype(np.float32, copy=False),
        matrix,
        image.shape[::-1],
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def keys_kernel(fraction: float) -> np.ndarray:
    """Weights of the pixels at -1, 0, 1, 2 for a point `fraction` of a pixel past 0 (Keys 1981)."""
    distance = np.abs(np.arange(-1, 3) - fraction)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, far).astype(np.float32)


def band_pass(image: np.ndarray, fine: float, coarse: float) -> np.ndarray:
    """Difference of Gaussians of a (Y, X) image with standard deviations in px, as float32."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), fine)
    return smooth - blur(smooth, coarse)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a (Y, X) float32 image; wide ones are done on a reduced copy."""
    factor = int(sigma // 3)
    if factor < 2:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    height, width = image.shape
    size = max(width // factor, 1), max(height // factor, 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _tapered(image: np.ndarray) -> np.ndarray:
    tapered = (image - image.mean(dtype=np.float64).astype(np.float32)) * _taper(image.shape)
    tapered -= tapered.mean()
    return tapered


def _lags(size: int, centre: float, max_shift: float) -> np.ndarray:
    reach = min(round(max_shift), (size - 1) // 2)
    return np.arange(-reach, reach + 1) + round(centre)


def _vertex(values: np.ndarray) -> float:
    """Where a Gaussian through three samples peaks, relative to the middle one."""
    if values.min() > 0:
        values = np.log(values.astype(np.float64))
    before, here, after = values.astype(np.float64)
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


@lru_cache(maxsize=4)
def _taper(shape: tuple[int, int]) -> np.ndarray:
    """One inside, falling to zero over the outer tenth (Tukey 1967)."""
    sides = []
    for size in shape:
        edge = max(size // 10, 1)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
        side = np.ones(size, np.float32)
        side[:edge] = ramp
        side[size - edge :] = ramp[::-1]
        sides.append(side)
    return np.outer(*sides)
