"""Between which values viewers stretch a channel."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (1.0, 99.8)
PIXELS = 50_000  # of a channel that are looked at


def channel_windows(pixels: np.ndarray, is_label: bool) -> list[dict[str, float]]:
    """The `window` of each channel of an image (Y, X), (C, Y, X) or (T, C, Y, X).

    `start` and `end` are percentiles, so that neither a hot pixel nor the range of the
    type makes the image dark; `min` and `max` the extremes of the pixels looked at, which
    lie in a grid all over the image. These are of the full resolution: means of blocks
    dilute reads, and cells would be white. Zeros do not count: they are what alignment
    and stitching leave at the borders. Labels are shown from 0 to the largest.
    """
    channels = pixels.shape[-3] if pixels.ndim > 2 else 1
    planes = pixels.reshape(-1, channels, *pixels.shape[-2:])
    of_channel = _label_window if is_label else _window
    return [of_channel(planes[:, channel]) for channel in range(channels)]


def _label_window(planes: np.ndarray) -> dict[str, float]:
    return _in_order(0, planes.max(), (0, planes.max()))


def _window(planes: np.ndarray) -> dict[str, float]:
    step = max(1, int(np.sqrt(planes.size / PIXELS)))
    sample = planes[:, ::step, ::step].ravel()
    sample = np.sort(sample[np.isfinite(sample)])
    inside = sample[sample != 0]
    if not inside.size:
        return _in_order(0, 1, (0, 1))
    ends = [inside[round(p / 100 * (inside.size - 1))] for p in PERCENTILES]
    return _in_order(sample[0], sample[-1], ends)


def _in_order(low: float, high: float, ends: Sequence[float]) -> dict[str, float]:
    low, high, start, end = (float(x) for x in (low, high, *ends))
    if end <= start:  # viewers divide by the difference
        start = min(low, start)
        end = max(end, start + 1)
    return {"min": low, "max": max(high, end), "start": start, "end": end}
