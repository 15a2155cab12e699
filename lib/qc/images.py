"""Pictures of pixels for the figures: crops, contrast, composites, outlines."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb


def centre_crop(shape: tuple[int, int], size: int) -> tuple[slice, slice]:
    """The window of at most `size` pixels a side in the middle of a (y, x) image.

    The middle is where illumination and focus are most typical, and it depends
    on no data, so that figures of runs can be compared.
    """
    starts = [max(0, (length - size) // 2) for length in shape]
    return tuple(
        slice(start, min(start + size, length)) for start, length in zip(starts, shape, strict=True)
    )


def stretch(plane: np.ndarray, low: float = 1.0, high: float = 99.8) -> np.ndarray:
    """Scale a plane to 0..1 float32 between two percentiles; a flat plane becomes zero."""
    bottom, top = np.percentile(plane, [low, high])
    if top <= bottom:
        return np.zeros(plane.shape, np.float32)
    return np.clip((plane - np.float32(bottom)) / np.float32(top - bottom), 0, 1).astype(np.float32)


def composite(
    planes: np.ndarray, colours: Sequence[str], levels: Sequence[tuple[float, float]] | None = None
) -> np.ndarray:
    """Add up planes (C, y, x), each in its colour, to an RGB image (y, x, 3) of 0..1.

    `levels` are the (low, high) percentiles of each plane's contrast.
    """
    levels = levels or [(1.0, 99.8)] * len(planes)
    rgb = np.zeros((*planes.shape[1:], 3), np.float32)
    for plane, colour, (low, high) in zip(planes, colours, levels, strict=True):
        rgb += stretch(plane, low, high)[..., None] * np.array(to_rgb(colour), np.float32)
    return np.clip(rgb, 0, 1)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel `factor` times along the first two axes."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def outlines(labels: np.ndarray, width: int = 1) -> np.ndarray:
    """Mask (y, x) of labelled pixels less than `width` + 1 pixels from another label or none."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        down, right = labels[step:] != labels[:-step], labels[:, step:] != labels[:, :-step]
        edge[step:] |= down
        edge[:-step] |= down
        edge[:, step:] |= right
        edge[:, :-step] |= right
    return edge & (labels > 0)


def draw_outlines(
    rgb: np.ndarray, labels: np.ndarray, colour: str, width: int = 1, opacity: float = 1.0
) -> np.ndarray:
    """The RGB image with the outlines of `labels` (same y, x) drawn in `colour`."""
    drawn = rgb.copy()
    edge = outlines(labels, width)
    drawn[edge] = (1 - opacity) * drawn[edge] + opacity * np.array(to_rgb(colour), np.float32)
    return drawn


def thumbnail(image: np.ndarray, size: int = 96) -> np.ndarray:
    """Reduce (..., y, x) by block means to at most `size` pixels a side; edge rests are dropped."""
    factor = max(1, -(-max(image.shape[-2:]) // size))
    height, width = (length // factor for length in image.shape[-2:])
    cut = image[..., : height * factor, : width * factor]
    blocks = cut.reshape(*image.shape[:-2], height, factor, width, factor)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)
