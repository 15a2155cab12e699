"""Alignment of the channels, or rounds of staining, of one phenotype tile.

Channels that move together (those of one round, or one behind a filter of its
own) form a group. Its first channel is registered to the reference channel, the
others ride along; known offsets of single channels come on top. All of a
channel's shift is undone by one interpolation, together with the correction of
its illumination and before the values are rounded. Channels that do not move are
not interpolated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.shared.illumination import correct, to_uint16
from lib.shared.registration import Shift, band_pass, measure_shift, spectrum, translate

BANDS = ((1.0, 4.0), (3.0, 20.0))  # px; texture and edges of a stain, nuclei and cells
CLEAR = 6.0  # standard deviations that a peak must reach to be believed
MAX_RESIDUAL = 3.0  # px within which the remaining shift is looked for


@dataclass(frozen=True)
class ChannelAlignment:
    """Shifts of the channels of a tile against the frame of the reference channel.

    offsets : (C, 2) px, (dy, dx) of a feature in the channel minus in the frame.
    residual : (C,) px that the leader of the channel's group is still off after its
        shift is undone; NaN where the channel is not registered, or where its
        leader or the reference shows nothing to measure it on.
    correlation : (C,) of leader and reference after the shift is undone; NaN likewise.
    unclear : (C,) bool, the channel was to be registered, but no shift is clear: it has
        its known offset alone.
    """

    offsets: np.ndarray
    residual: np.ndarray
    correlation: np.ndarray
    unclear: np.ndarray


def estimate_channel_alignment(
    image: np.ndarray,
    reference: int,
    groups: Sequence[Sequence[int]] = (),
    known: Mapping[int, tuple[float, float]] | None = None,
    max_shift: float = 50.0,
) -> ChannelAlignment:
    """Measure the shifts of the channels of a (C, Y, X) image.

    Parameters
    ----------
    reference : index of the channel whose frame is kept.
    groups : indices of channels that move together, the registered one first.
        Channels in no group move with the reference.
    known : offsets (dy, dx) of single channels in px against the reference, such as
        those of the optics; channels left out have none.
    max_shift : px, the largest shift of a group looked for, per axis.
    """
    channels = len(image)
    offsets = np.zeros((channels, 2))
    for channel, offset in (known or {}).items():
        offsets[channel] = offset
    residual, correlation = np.full(channels, np.nan), np.full(channels, np.nan)
    unclear = np.zeros(channels, bool)
    features = _features(image[reference]) if groups else []
    for group in groups:
        leader, members = group[0], list(group)
        shift = _best_shift(features, image[leader], max_shift, offsets[leader])
        if shift is None:
            unclear[members] = True
            continue
        offsets[members] += np.array(shift[:2]) - offsets[leader]
        residual[members], correlation[members] = _remainder(
            features, translate(image[leader], *offsets[leader])
        )
    return ChannelAlignment(offsets, residual, correlation, unclear)


def correct_and_align(
    image: np.ndarray, offsets: np.ndarray, field: np.ndarray | None = None
) -> np.ndarray:
    """Divide a (C, Y, X) image by its illumination and undo its shifts, as uint16.

    Parameters
    ----------
    offsets : (C, 2) px; a channel whose offset is zero keeps its pixels where they are.
    field : (C, Y, X) float32; None leaves the illumination as it is.

    A channel is rounded once, at the end. One that is neither corrected nor moved
    is the given one, bit for bit.
    """
    out = np.empty(image.shape, np.uint16)
    for channel, plane in enumerate(image):
        if field is not None:
            plane = correct(plane, field[channel])
        if offsets[channel].any():
            plane = translate(plane, *offsets[channel])
        out[channel] = plane if plane.dtype == np.uint16 else to_uint16(plane)
    return out


def channel_alignment_table(
    alignment: ChannelAlignment, channel_names: Sequence[str], limit: float
) -> dict[str, np.ndarray]:
    """Columns of the alignment table, one row per channel.

    `flagged` marks channels that are off by more than `limit` px, or whose shift was
    to be measured and could not be.
    """
    above = np.nan_to_num(alignment.residual) > limit
    return {
        "channel": np.array(list(channel_names)),
        "dy": alignment.offsets[:, 0].round(4) + 0.0,  # -0 becomes 0
        "dx": alignment.offsets[:, 1].round(4) + 0.0,
        "residual": alignment.residual.round(4),
        "correlation": alignment.correlation.round(4),
        "flagged": above | alignment.unclear,
    }


def _features(plane: np.ndarray) -> list[np.ndarray]:
    """Spectra of a channel at two scales: fine detail, and the outlines of nuclei and cells."""
    return [spectrum(band_pass(plane, *band)) for band in BANDS]


def _best_shift(
    reference: Sequence[np.ndarray],
    plane: np.ndarray,
    max_shift: float,
    centre: Sequence[float] = (0.0, 0.0),
) -> Shift | None:
    """The clearest shift of a channel against the features of another; None if none is clear.

    Stains that exclude each other, such as a nuclear and a cytoplasmic one, are
    anticorrelated: both signs are tried. A plane that is the same everywhere shows nothing,
    though its rounding correlates with that of another.
    """
    if plane.min() == plane.max():
        return None
    moving = _features(plane)
    shifts = [
        measure_shift(sign * ours, theirs, max_shift, tuple(centre))
        for ours, theirs in zip(reference, moving, strict=True)
        for sign in (1, -1)
    ]
    best = max(shifts, key=lambda shift: shift.clarity)
    return best if best.clarity >= CLEAR else None


def _remainder(reference: Sequence[np.ndarray], moved: np.ndarray) -> tuple[float, float]:
    """Length of the shift that is left, and the correlation (of either sign)."""
    shift = _best_shift(reference, moved, MAX_RESIDUAL)
    if shift is None:
        return np.nan, np.nan
    return float(np.hypot(*shift[:2])), shift.correlation
