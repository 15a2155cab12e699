"""Between which values viewers stretch a channel."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (1.0, 99.8)
PIXELS = 50_000  # that percentiles are taken from


def channel_windows(
    coarsest: np.ndarray, lowest: np.ndarray, highest: np.ndarray, is_label: bool
) -> list[dict[str, float]]:
    """The `window` of each channel.

    Parameters
    ----------
    coarsest : the last level, (Y, X), (C, Y, X) or (T, C, Y, X).
    lowest, highest : extremes of each plane, (), (C,) or (T, C).

    `min` and `max` are those extremes, over all time points; `start` and `end`
    percentiles of the coarsest level, so that neither a hot pixel nor the range of the
    type makes the image dark. Zeros do not count: they are what alignment and stitching
    leave at the borders. Labels are shown from 0 to the largest.
    """
    channels = lowest.shape[-1] if lowest.ndim else 1
    planes = coarsest.reshape(-1, channels, *coarsest.shape[-2:])
    extremes = zip(
        lowest.reshape(-1, channels).min(axis=0).tolist(),
        highest.reshape(-1, channels).max(axis=0).tolist(),
        strict=True,
    )
    windows = []
    for channel, (low, high) in enumerate(extremes):
        ends = (0, high) if is_label else _percentiles(planes[:, channel])
        windows.append(_window(low, high, ends))
    return windows


def _percentiles(planes: np.ndarray) -> Sequence[float]:
    step = max(1, int(np.sqrt(planes.size / PIXELS)))
    sample = planes[:, ::step, ::step].ravel()
    sample = np.sort(sample[np.isfinite(sample) & (sample != 0)])
    if not sample.size:
        return 0.0, 1.0
    return [sample[round(p / 100 * (sample.size - 1))].item() for p in PERCENTILES]


def _window(low: float, high: float, ends: Sequence[float]) -> dict[str, float]:
    low, high, start, end = (float(np.nan_to_num(x)) for x in (low, high, *ends))
    if end <= start:  # viewers divide by the difference
        start = min(low, start)
        end = max(end, start + 1)
    return {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
