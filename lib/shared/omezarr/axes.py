"""From the axes of an image to those of a store, and back."""

from collections.abc import Sequence

import numpy as np

MOST_CHANNELS = 16  # of an image whose axes must be guessed


def guess_axes(shape: Sequence[int], channel_labels: Sequence[str] | None = None) -> str:
    """Axes of an image that does not name them: YX, CYX, YXC or TCYX.

    Three dimensions are YXC where the channel labels say so, or where the last is
    small and the first two are not; else CYX.
    """
    if len(shape) == 2:
        return "YX"
    if len(shape) == 4:
        return "TCYX"
    if len(shape) != 3:
        raise ValueError(f"an image of shape {tuple(shape)} has neither 2, 3 nor 4 dimensions")
    if channel_labels is not None and len(channel_labels) in (shape[0], shape[-1]):
        return "CYX" if len(channel_labels) == shape[0] else "YXC"
    return "YXC" if shape[-1] <= MOST_CHANNELS < min(shape[:2]) else "CYX"


def to_stored(image: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
    """The image as CYX, or as TCYX where it has an axis T, and these axes; a view."""
    if image.ndim != len(axes) or not {"Y", "X"} <= set(axes) <= set("TCYX"):
        raise ValueError(f"axes {axes} do not fit an image of shape {image.shape}")
    stored = "TCYX" if "T" in axes else "CYX"
    there = [axes.index(axis) for axis in stored if axis in axes]
    pixels = image.transpose(there)
    return (pixels if "C" in axes else np.expand_dims(pixels, -3)), stored


def from_stored(pixels: np.ndarray, stored: str, axes: str) -> np.ndarray:
    """What `to_stored` was given: axes that `axes` lacks, of length one, are dropped."""
    dropped = tuple(at for at, axis in enumerate(stored) if axis not in axes)
    kept = "".join(axis for axis in stored if axis in axes)
    return pixels.squeeze(dropped).transpose([kept.index(axis) for axis in axes])
