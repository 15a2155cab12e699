"""From spot intensities to bases: crosstalk correction, calls and qualities.

Arrays are (n, T, C): reads, cycles, base channels in the order of `bases`.
"""

from dataclasses import dataclass

import numpy as np

ITERATIONS = 3
LEAST_TRAINING = 50  # reads; with fewer the brightest share is not looked for
CONFIDENT_SHARE = 0.5  # of the reads in cells, the brightest
MAD_TO_DEVIATION = 1.4826  # of a normal law
BRIGHTEST = 0.98  # quantile above which spots count for the percentile correction


@dataclass(frozen=True)
class BaseCalls:
    """Calls and what they rest on.

    index : (n, T) int8, the called channel.
    quality : (n, T) float32, 0 (two channels alike) to 1.
    corrected : (n, T, C) float32, intensities after correction.
    crosstalk : (C, C) column b: what a spot of base b shows in each channel, sum 1.
    scale : (C,) by which channels were divided first.
    """

    index: np.ndarray
    quality: np.ndarray
    corrected: np.ndarray
    crosstalk: np.ndarray
    scale: np.ndarray


def call_bases(intensity: np.ndarray, confident: np.ndarray, method: str = "median") -> BaseCalls:
    """Call the base of each read and cycle.

    Parameters
    ----------
    intensity : (n, T, C), not negative.
    confident : (n,) bool, the reads that train the correction; all when none is.
    method : "median" corrects channel gains and crosstalk by medians (Feldman et
        al. 2019, channels normalised first); "percentile" takes crosstalk from the
        brightest spots of each channel instead; "argmax" takes the brightest channel.
    """
    channels = intensity.shape[2]
    scale, crosstalk = np.ones(channels), np.eye(channels)
    corrected = intensity.astype(np.float32)
    training = confident if confident.any() else np.ones(len(intensity), bool)
    if method in ESTIMATES and len(intensity):
        scale = channel_scale(intensity[training])
        crosstalk = ESTIMATES[method](intensity[training] / scale)
        inverse = np.linalg.pinv(crosstalk)
        corrected = ((intensity / scale) @ inverse.T).astype(np.float32)
        # Back in units of intensity, so that both methods can be compared.
        corrected *= np.float32(np.median(scale))
    elif method not in (*ESTIMATES, "argmax"):
        raise ValueError(f"unknown base calling method {method}")
    return BaseCalls(
        corrected.argmax(axis=2).astype(np.int8),
        base_quality(corrected, dark_level(corrected[training])),
        corrected,
        crosstalk,
        scale,
    )


def confident_reads(peak: np.ndarray, in_cell: np.ndarray) -> np.ndarray:
    """Reads (n,) fit to train on: the brighter half of those in cells.

    Noise and haze taken for reads would blur the crosstalk. Where hardly any read
    lies in a cell, all reads count as if they did.
    """
    pool = in_cell if in_cell.sum() >= LEAST_TRAINING else np.ones_like(in_cell)
    if pool.sum() < LEAST_TRAINING:
        return pool
    return pool & (peak >= np.quantile(peak[pool], 1 - CONFIDENT_SHARE))


def channel_scale(intensity: np.ndarray) -> np.ndarray:
    """Median (C,) of each channel over all reads and cycles; 1 for an empty channel."""
    scale = np.median(intensity, axis=(0, 1)).astype(np.float64)
    positive = intensity > 0
    for c in np.flatnonzero(scale <= 0):
        values = intensity[..., c][positive[..., c]]
        scale[c] = np.median(values) if values.size else 1.0
    return scale


def median_crosstalk(intensity: np.ndarray) -> np.ndarray:
    """Crosstalk matrix (C, C) from the medians of the spots called as each base.

    Column b is the median over all spots that are brightest in b, of sum 1. The
    calls are made again with the matrix found, until they settle. A base that no
    spot shows keeps a column of the identity.
    """
    channels = intensity.shape[2]
    spots = intensity.reshape(-1, channels)
    matrix = np.eye(channels)
    for _ in range(ITERATIONS):
        called = (spots @ np.linalg.pinv(matrix).T).argmax(axis=1)
        for base in range(channels):
            own = spots[called == base]
            column = np.median(own, axis=0) if len(own) else np.zeros(channels)
            matrix[:, base] = column / column.sum() if column.sum() > 0 else np.eye(channels)[base]
    return matrix


def percentile_crosstalk(intensity: np.ndarray) -> np.ndarray:
    """Crosstalk matrix (C, C) from the spots that are brightest in each channel.

    Column b is the median over the 2 % of spots and cycles that are brightest in b, of
    sum 1 (Feldman et al. 2019, where it is the alternative to medians of called spots).
    """
    channels = intensity.shape[2]
    spots = intensity.reshape(-1, channels)
    matrix = np.eye(channels)
    for base in range(channels):
        own = spots[spots[:, base] >= np.quantile(spots[:, base], BRIGHTEST)]
        column = np.median(own, axis=0)
        if column.sum() > 0:
            matrix[:, base] = column / column.sum()
    return matrix


ESTIMATES = {"median": median_crosstalk, "percentile": percentile_crosstalk}


def dark_level(corrected: np.ndarray) -> float:
    """Noise of channels whose base is not there, from (n, T, C) corrected intensities.

    The standard deviation about zero of all but the brightest channel of each
    spot and cycle, by the median of their absolute values; 1 where that is zero.
    """
    if not len(corrected):
        return 1.0
    dark = np.sort(corrected, axis=2)[..., :-1]
    return float(MAD_TO_DEVIATION * np.median(np.abs(dark))) or 1.0


def base_quality(intensity: np.ndarray, noise: float) -> np.ndarray:
    """Quality (n, T) from the two brightest of (n, T, C) channels, after Feldman et al. 2019.

    2 (1 - ln(2 + second) / ln(2 + first)), clipped to 0..1: no probability. The
    constant 2 keeps dim spots from getting a good quality by chance. It can do so
    at any gain of the camera only if intensities are counted in units of `noise`.
    """
    ordered = np.sort(np.abs(intensity) / np.float32(noise), axis=2)
    second, first = ordered[..., -2], ordered[..., -1]
    quality = 2 * (1 - np.log(2 + second) / np.log(2 + first))
    return np.clip(quality, 0, 1).astype(np.float32)


def spell(index: np.ndarray, bases: str, positions: np.ndarray, length: int) -> np.ndarray:
    """Barcodes (n,) of `length` letters from (n, T) calls; N where no cycle was read.

    `positions` (T,) are the places of the cycles in the barcode.
    """
    letters = np.full((len(index), length), b"N", dtype="S1")
    letters[:, positions] = np.array(list(bases), dtype="S1")[index]
    return letters.view(f"S{length}")[:, 0].astype(f"U{length}")
