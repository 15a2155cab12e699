"""Alignment of the sequencing cycles and channels of one tile.

All planes of a tile are brought into one frame by shifts and, where it matters, by
small turns. Those of a plane are composed of the drift of its cycle and the
chromatic offset of its channel, and are undone by a single interpolation.

- The drift is first measured on the nuclear stain, or on the sum of the base
  channels where that is clearer or no stain was imaged, then refined on the
  base channels: each amplicon shines in one base channel of every cycle, so
  the sum over channels shows the same spots in all cycles.
- Chromatic offsets are the same in all cycles. Base channels share few spots
  within one cycle, but over all cycles each channel shows nearly all of them:
  the sums over cycles are registered to each other.
- Single spots then tell whether a cycle is turned or a channel is magnified, and what
  remains; see `spot_registration`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lib.sbs.spot_registration import (
    bright_points,
    register_spots,
    rotation_and_scale,
    turns_from,
)
from lib.shared.registration import (
    band_pass,
    blur,
    measure_outline_shift,
    measure_shift,
    spectrum,
    translate,
    warp,
)

SPOT_BAND = (1.0, 3.0)  # px; finer than a spot to coarser than one
NUCLEUS_BAND = (2.0, 12.0)
MAX_CHROMATIC = 6.0  # px, farther than any objective puts two colours apart
MAX_STAIN = 4.0  # px, the same between the stain and the mean of the base channels
OUTLINE_BAND = (1.0, 3.0)  # px; of whitened images
EDGE_BAND = (1.0, 6.0)  # px; of whitened edges
MAX_RESIDUAL = 3.0  # px within which the remaining shift is looked for
BRIGHT = 6.0  # standard deviations of the noise of spots that are registered one by one
CHANCE = 1.0  # px; spots matched by chance within 2 px lie 1.4 px apart, true ones 0.3 px
CLEAR = 6.0  # standard deviations that a peak must reach to be believed


@dataclass(frozen=True)
class Alignment:
    """Shifts of every plane of a tile against the frame of the reference cycle.

    offsets : (T, C, 2) px, (dy, dx) of a feature in the plane minus in the frame, in the middle.
    turns : (T, C, 2, 2) added to that per px from the middle: rotation and magnification.
    residual : (T, C) px that remain after the shift is undone; NaN where the plane
        is missing or shows nothing to measure it on.
    correlation : (T, C) with the other cycles after the shift is undone.
    spots : (T, C) spots of the plane that were found again in another cycle.
    spot_residual : (T, C) px, the median distance of these; NaN where they are few.
    local_residual : (T,) px, the largest median shift of the spots in a part of the tile.
    """

    offsets: np.ndarray
    turns: np.ndarray
    residual: np.ndarray
    correlation: np.ndarray
    spots: np.ndarray
    spot_residual: np.ndarray
    local_residual: np.ndarray


def estimate_alignment(
    stack: np.ndarray,
    base_channels: Sequence[int],
    dapi_channel: int | None = None,
    reference: int = 0,
    max_shift: float = 100.0,
    chromatic: bool = True,
) -> Alignment:
    """Measure the shifts of all planes of a (T, C, Y, X) stack.

    Parameters
    ----------
    base_channels, dapi_channel : indices along C. Other channels move with their cycle.
    reference : index along T of the cycle whose frame is kept.
    max_shift : px, the largest drift looked for, per axis.
    chromatic : whether to measure offsets between channels.

    A plane of one constant value counts as missing: a cycle without nuclear stain
    is aligned by its base channels alone.
    """
    cycles, channels = stack.shape[:2]
    spots = np.empty((cycles, len(base_channels), *stack.shape[2:]), np.float32)
    for t, b in np.ndindex(spots.shape[:2]):
        _spot_feature(stack[t, base_channels[b]], out=spots[t, b])
    points = [[bright_points(plane, np.sqrt(BRIGHT - 2)) for plane in cycle] for cycle in spots]
    drift, clear = _coarse_drift(stack, spots, dapi_channel, reference, max_shift)

    colour = np.zeros((len(base_channels), 2))
    for _ in range(2):  # drift and colour sharpen each other
        if chromatic:
            colour = _colour_offsets(spots, drift, colour)
        drift = _refine_drift(spots, drift, colour, clear)
    drift -= drift[reference]

    bases = list(base_channels)
    found = register_spots(points, drift, colour, stack.shape[2:], reference, chromatic)
    turns = np.repeat(found.cycle_turns[:, None], channels, axis=1)
    turns[:, bases] += found.channel_turns
    offsets = np.repeat(found.drift[:, None], channels, axis=1)
    offsets[:, bases] += found.colour
    if chromatic and dapi_channel is not None:
        offsets[:, bases] -= _stain_offset(stack, bases, dapi_channel, offsets, turns)
    residual, correlation = _residuals(stack, spots, bases, dapi_channel, offsets, turns)
    matched, spot_residual = np.zeros((cycles, channels), np.int32), np.full_like(residual, np.nan)
    matched[:, bases], spot_residual[:, bases] = found.matched, found.residual
    return Alignment(offsets, turns, residual, correlation, matched, spot_residual, found.local)


def apply_alignment(
    stack: np.ndarray, offsets: np.ndarray, turns: np.ndarray | None = None
) -> np.ndarray:
    """Bring a (T, C, Y, X) uint16 stack into one frame by `Alignment.offsets` and `turns`, if any.

    One cubic interpolation; values are rounded, and clipped to the range of uint16.
    """
    turns = np.zeros((*offsets.shape, 2)) if turns is None else turns
    aligned = np.empty_like(stack)
    limits = np.iinfo(stack.dtype)
    for t, c in np.ndindex(stack.shape[:2]):
        moved = warp(stack[t, c], offsets[t, c], turns[t, c])
        np.clip(np.rint(moved, out=moved), limits.min, limits.max, out=moved)
        aligned[t, c] = moved
    return aligned


def common_area(shifts: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a (Y, X) frame that every plane of (..., 2) shifts covers."""
    flat = shifts.reshape(-1, 2)
    low = np.ceil(np.maximum(-flat.min(axis=0), 0)).astype(int)
    high = np.ceil(np.maximum(flat.max(axis=0), 0)).astype(int)
    return tuple(
        slice(int(a), max(int(size - b), int(a)))
        for a, b, size in zip(low, high, shape, strict=True)
    )


def corner_shifts(offsets: np.ndarray, turns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shifts (..., 4, 2) at the corners of (Y, X) planes, by (..., 2) shifts and their turns."""
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * np.array(shape) / 2
    return offsets[..., None, :] + corners @ np.swapaxes(turns, -1, -2)


def _spot_feature(plane: np.ndarray, out: np.ndarray) -> None:
    """Spots of a plane as float32: band-passed, scaled by its noise, background at zero.

    The square root keeps a few bright grains of dirt from outweighing all reads.
    """
    if plane.min() == plane.max():
        out[:] = 0
        return
    detail = band_pass(plane, *SPOT_BAND)
    sample = detail[::3, ::3]
    noise = 1.4826 * np.median(np.abs(sample - np.median(sample)))
    detail -= 2 * noise
    np.maximum(detail, 0, out=detail)
    np.sqrt(detail / max(noise, 1e-3), out=out)


def _coarse_drift(
    stack: np.ndarray,
    spots: np.ndarray,
    dapi: int | None,
    reference: int,
    max_shift: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Drift (T, 2) of each cycle from its clearest image, and how clear that was (T,)."""
    kinds = [[spectrum(cv2.GaussianBlur(s.sum(axis=0), (0, 0), 1.0)) for s in spots]]
    if dapi is not None:
        kinds.append([spectrum(band_pass(cycle[dapi], *NUCLEUS_BAND)) for cycle in stack])
    drift, clear = np.zeros((len(stack), 2)), np.zeros(len(stack))
    for t in range(len(stack)):
        shifts = [measure_shift(kind[reference], kind[t], max_shift) for kind in kinds]
        best = max(shifts, key=lambda shift: shift.clarity)
        drift[t], clear[t] = best[:2], best.clarity
    return drift, clear


def _colour_offsets(spots: np.ndarray, drift: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Chromatic offsets (bases, 2), of mean zero, refined from an earlier estimate."""
    sums = [
        sum(translate(spots[t, c], *(drift[t] + colour[c])) for t in range(len(spots)))
        for c in range(spots.shape[1])
    ]
    total = sum(sums)
    # A channel is measured against the others, and of n channels it lies (n - 1) / n as far
    # from the mean of all.
    step = (len(sums) - 1) / len(sums)
    refined = colour.copy()
    for c, own in enumerate(sums):
        shift = measure_shift(spectrum(total - own), spectrum(own), MAX_CHROMATIC)
        if shift.clarity >= CLEAR:
            refined[c] += step * np.array(shift[:2])
    return refined - refined.mean(axis=0)


def _refine_drift(
    spots: np.ndarray, drift: np.ndarray, colour: np.ndarray, clear: np.ndarray
) -> np.ndarray:
    """Drift (T, 2) measured again on the spots of each cycle against those of all others."""
    frames = [
        sum(translate(plane, *(drift[t] + colour[c])) for c, plane in enumerate(spots[t]))
        for t in range(len(spots))
    ]
    total = sum(frames)
    refined = drift.copy()
    for t, frame in enumerate(frames):
        shift = measure_shift(spectrum(total - frame), spectrum(frame), MAX_CHROMATIC)
        if shift.clarity >= CLEAR:
            refined[t] += shift[:2]
    return refined


def _stain_offset(
    stack: np.ndarray,
    bases: Sequence[int],
    dapi: int,
    offsets: np.ndarray,
    turns: np.ndarray,
) -> np.ndarray:
    """Chromatic offset (2,) of the nuclear stain against the mean of the base channels.

    Both show the nuclei, the base channels faintly: by bleed-through, or as what
    is missing from the glow of the cytoplasm. What lies around a nucleus may
    outweigh it, so that the images correlate best far from where they belong:
    only outlines count, by whitened spectra, either of the images, of which one
    may be the negative of the other, or of their edges. Zero where neither is clear.
    """
    nuclei = np.sqrt(_least(stack, [dapi], offsets, turns))
    glow = np.sqrt(_least(stack, bases, offsets, turns))
    shifts = [
        measure_outline_shift(sign * view(glow), view(nuclei), band, MAX_STAIN)
        for view, sign, band in (
            (np.asarray, 1, OUTLINE_BAND),
            (np.asarray, -1, OUTLINE_BAND),
            (_edges, 1, EDGE_BAND),
        )
    ]
    best = max(shifts, key=lambda shift: shift.clarity)
    return np.array(best[:2]) if best.clarity >= CLEAR else np.zeros(2)


def _least(
    stack: np.ndarray, channels: Sequence[int], offsets: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """Sum over channels of the least value over cycles: the reads, which come and go, are gone."""
    total = np.zeros(stack.shape[2:], np.float32)
    for c in channels:
        planes = [
            warp(cycle[c], offsets[t, c], turns[t, c])
            for t, cycle in enumerate(stack)
            if cycle[c].min() < cycle[c].max()
        ]
        if planes:
            total += np.maximum(np.minimum.reduce(planes), 0)
    return total


def _edges(image: np.ndarray) -> np.ndarray:
    """Steepness of a (Y, X) image over its surroundings; the steepest count no more than others."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    steep = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    steep -= blur(steep, 6.0)
    limit = 6 * np.median(np.abs(steep[::3, ::3]))
    return np.clip(steep, -limit, limit)


def _residuals(
    stack: np.ndarray,
    spots: np.ndarray,
    bases: Sequence[int],
    dapi: int | None,
    offsets: np.ndarray,
    turns: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What remains to be shifted (T, C), and the correlation (T, C), plane by plane.

    Each plane is compared with the same kind of plane in all other cycles. The
    planes in `spots` are moved in place, to save the memory of a second stack.
    """
    cycles, channels = stack.shape[:2]
    residual = np.full((cycles, channels), np.nan)
    correlation = np.full((cycles, channels), np.nan)

    for t in range(cycles):
        for b, c in enumerate(bases):
            spots[t, b] = warp(spots[t, b], offsets[t, c], turns[t, c])
    frames = spots.sum(axis=1)
    total = frames.sum(axis=0)
    for t in range(cycles):
        others = spectrum(total - frames[t])
        for b, c in enumerate(bases):
            residual[t, c], correlation[t, c] = _remainder(others, spots[t, b])
    if dapi is not None:
        nuclei = [warp(stack[t, dapi], offsets[t, dapi], turns[t, dapi]) for t in range(cycles)]
        features = np.stack([band_pass(image, *NUCLEUS_BAND) for image in nuclei])
        total = features.sum(axis=0)
        for t in range(cycles):
            others = spectrum(total - features[t])
            residual[t, dapi], correlation[t, dapi] = _remainder(others, features[t])
    return residual, correlation


def _remainder(others: np.ndarray, feature: np.ndarray) -> tuple[float, float]:
    if not feature.any():
        return np.nan, np.nan
    shift = measure_shift(others, spectrum(feature), MAX_RESIDUAL)
    return (np.hypot(*shift[:2]) if shift.clarity >= CLEAR else np.nan), shift.correlation


def alignment_table(
    alignment: Alignment, cycles: Sequence[int], channel_names: Sequence[str], limit: float
) -> dict[str, np.ndarray]:
    """Columns of the alignment table, one row per cycle and channel.

    `flagged` marks the planes of cycles that are misaligned by more than `limit`
    px, by the median residual of their channels or by the spots in a part of the
    tile, whose spots meet those of another cycle by chance only, or not measurable at all.
    """
    count = len(channel_names)
    measured = np.isfinite(alignment.residual)
    level = np.array(
        [
            np.median(row[ok]) if ok.any() else np.inf
            for row, ok in zip(alignment.residual, measured, strict=True)
        ]
    )
    level = np.fmax(level, alignment.local_residual)
    apart = np.array(
        [
            np.median(row[ok]) if ok.any() else 0.0
            for row, ok in zip(
                alignment.spot_residual, np.isfinite(alignment.spot_residual), strict=True
            )
        ]
    )
    level = np.where(apart > CHANCE, np.fmax(level, apart), level)
    rotation, scale = rotation_and_scale(alignment.turns)
    return {
        "cycle": np.repeat(list(cycles), count),
        "channel": np.tile(list(channel_names), len(cycles)),
        "dy": alignment.offsets[..., 0].ravel().round(4),
        "dx": alignment.offsets[..., 1].ravel().round(4),
        "rotation": rotation.ravel().round(6),
        "scale": scale.ravel().round(8),
        "residual": alignment.residual.ravel().round(4),
        "correlation": alignment.correlation.ravel().round(4),
        "spots": alignment.spots.ravel(),
        "spot_residual": alignment.spot_residual.ravel().round(4),
        "local_residual": np.repeat(alignment.local_residual.round(4), count),
        "flagged": np.repeat(level > limit, count),
    }


def shifts_of_rows(rows: Sequence[Mapping[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Shifts (n, 2) and turns (n, 2, 2) of n planes, from rows of an alignment table."""
    # Tables of earlier versions know no turns.
    names = {"dy": None, "dx": None, "rotation": 0.0, "scale": 1.0}
    values = [[row.get(name, none) for name, none in names.items()] for row in rows]
    values = np.array(values, float).reshape(-1, 4)
    return values[:, :2], turns_from(values[:, 2], values[:, 3])
