"""Refinement of the alignment of cycles by their spots: turns, magnification, and what remains.

Correlation of whole images gives the mean shift of a plane. A plate that was put back turned, or
an objective that magnifies colours differently, moves the corners of a tile by pixels while
the mean is right. Each amplicon shows a spot at its place in every cycle, so spots
that are each other's nearest tell the shift at hundreds of places, and a similarity (shift,
turn, magnification) is fitted to them. Other distortions of a camera are the same in all cycles.

Points are (n, 2) rows and columns in px. A feature that lies at q from the middle of the frame
lies at q + offset + turn @ q from that of the plane, with a (2, 2) matrix `turn`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from lib.sbs.spots import subpixel

MOST_POINTS = 1000  # of a plane, the brightest
LEAST_MATCHED = 200  # spots of a cycle or channel from which its turn is measured
LEAST_NEAR = 50  # spots from which it is followed outwards, until all are within reach
LEAST_SHOWN = 20  # spots from which a residual is given
LEAST_LOCAL = 50  # spots in a part of the tile, from which its own shift is told
PARTS = 3  # of a tile along each axis
LEAST_TURN = 0.15  # px at the corners; less is not worth an interpolation of another kind
CERTAIN = 5.0  # standard errors that a turn must reach
# Radius (px) within which spots are matched, and how far from the middle (share of the half
# diagonal): a turn known from the middle brings spots farther out within reach.
ROUNDS = ((3.0, 0.35), (3.0, 0.6), (3.0, 1.0), (2.0, 1.0))
CHECKED = 2.0  # px, the radius at last
BIWEIGHT = 4.685  # standard deviations beyond which a spot has no say (Beaton and Tukey 1974)
FITS = 3

Spots = tuple[np.ndarray, np.ndarray]  # places (n, 2) in the frame, and channels (n,)


@dataclass(frozen=True)
class SpotRegistration:
    """What the spots of a tile say of its T cycles and C base channels.

    drift : (T, 2) px, of cycles. colour : (C, 2) px, of channels.
    cycle_turns : (T, 2, 2). channel_turns : (C, 2, 2). Zero where there is none to speak of.
    matched : (T, C) spots that were found again in another cycle.
    residual : (T, C) px, the median distance between these when all is undone; NaN for few.
    local : (T,) px, the largest median shift in a part of the tile; NaN where spots are few.
    """

    drift: np.ndarray
    colour: np.ndarray
    cycle_turns: np.ndarray
    channel_turns: np.ndarray
    matched: np.ndarray
    residual: np.ndarray
    local: np.ndarray


@dataclass(frozen=True)
class _Matches:
    """Spots of a cycle that were found again in another.

    place : (n, 2) px from the middle of the frame. shift : (n, 2) px, how far off they lie.
    channel : (n,) in which they shine.
    """

    place: np.ndarray
    shift: np.ndarray
    channel: np.ndarray

    def of_channel(self, channel: int) -> "_Matches":
        own = self.channel == channel
        return _Matches(self.place[own], self.shift[own], self.channel[own])


@dataclass(frozen=True)
class _Fit:
    """A similarity: shift (2) px, then what it adds to the diagonal of a turn and beside it (2).

    count : spots it is fitted to. error : standard error of the turn, px per px.
    """

    change: np.ndarray
    count: int
    error: float

    def at(self, place: np.ndarray) -> np.ndarray:
        """The shift (n, 2) at places (n, 2) from the middle."""
        return self.change[:2] + place @ turn_matrix(*self.change[2:]).T


def bright_points(image: np.ndarray, least: float, most: int = MOST_POINTS) -> np.ndarray:
    """Sub-pixel places (n, 2) of the highest maxima of a (Y, X) float32 image, above `least`.

    At its edges, where a maximum may lie outside, there are none.
    """
    rows, columns = (index + 1 for index in np.nonzero(image[1:-1, 1:-1] > least))
    value = image[rows, columns]
    peak = value == cv2.dilate(image, np.ones((3, 3), np.uint8))[rows, columns]
    rows, columns, value = rows[peak], columns[peak], value[peak]
    if len(value) > most:
        highest = np.argpartition(-value, most)[:most]
        rows, columns = rows[highest], columns[highest]
    return np.stack([rows, columns], 1) + np.stack(subpixel(image, rows, columns), 1)


def register_spots(
    points: Sequence[Sequence[np.ndarray]],
    drift: np.ndarray,
    colour: np.ndarray,
    shape: tuple[int, int],
    reference: int = 0,
    chromatic: bool = True,
) -> SpotRegistration:
    """Fit a turn to each cycle and, with `chromatic`, to each channel of a tile.

    Parameters
    ----------
    points : for each of T cycles and C base channels its spots (n, 2) as they lie in the plane.
    drift, colour : (T, 2) and (C, 2) px, known from whole images, good to a pixel in the middle.
    shape : (Y, X) of the planes. reference : index of the cycle whose frame is kept.

    Channels turn about their mean, since nothing tells how that lies against the sample. Where
    spots are fewer than 200, or a turn is of no consequence, shifts stay as they are.
    """
    cycles, channels = len(drift), len(colour)
    others = [t for t in range(cycles) if t != reference]
    by_cycle, by_channel = np.zeros((cycles, 4)), np.zeros((channels, 4))
    worth_cycle, worth_channel = np.zeros(cycles, bool), np.zeros(channels, bool)
    corner = np.hypot(*shape) / 2

    def in_frame() -> list[Spots]:
        both = by_cycle[:, None] + by_channel
        shifts = (drift[:, None] + colour) + both[..., :2]
        return _to_frame(points, shifts, turn_matrix(both[..., 2], both[..., 3]), shape)

    for number, (radius, reach) in enumerate(ROUNDS, start=1):
        frames = in_frame()
        for t in others:
            found = _match(frames[t], frames[reference], shape, radius, reach)
            fit = _fit_similarity(found, LEAST_MATCHED if number == len(ROUNDS) else LEAST_NEAR)
            by_cycle[t] += fit.change
            worth_cycle[t] = _matters(by_cycle[t], fit, corner)
        if chromatic and others and number == len(ROUNDS):
            # Neighbours in time, so that no cycle's own scatter counts in all pairs.
            frames = in_frame()
            pairs = [_match(*two, shape, radius) for two in pairwise([*frames, frames[0]])]
            fits = [_fit_similarity(_join(pairs).of_channel(c)) for c in range(channels)]
            by_channel += [fit.change for fit in fits]
            by_channel -= by_channel.mean(axis=0)
            worth_channel = np.array(
                [
                    _matters(change, fit, corner)
                    for change, fit in zip(by_channel, fits, strict=True)
                ]
            )
    by_cycle[~worth_cycle] = 0
    by_channel[~worth_channel] = 0
    return SpotRegistration(
        drift + by_cycle[:, :2],
        colour + by_channel[:, :2],
        turn_matrix(by_cycle[:, 2], by_cycle[:, 3]),
        turn_matrix(by_channel[:, 2], by_channel[:, 3]),
        *_remaining(in_frame(), channels, shape, reference),
    )


def mutual_nearest(
    points: np.ndarray, targets: np.ndarray, shape: tuple[int, int], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (k,), (k,) of points (n, 2) and targets (m, 2) that are each other's nearest.

    They lie in an image of `shape`, closer than `radius` px. Of those of one kind that
    share a pixel only the last is seen by the other kind.
    """
    there = _nearest(points, targets, shape, radius)
    back = _nearest(targets, points, shape, radius)
    own = np.flatnonzero(there >= 0)
    own = own[back[there[own]] == own]
    return own, there[own]


def turn_matrix(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Matrices (..., 2, 2) that hold `along` on the diagonal and minus and plus `across` beside."""
    return np.stack([np.stack([along, -across], -1), np.stack([across, along], -1)], -2)


def rotation_and_scale(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (...), counter-clockwise as seen, and magnification of (..., 2, 2) turns."""
    along, across = 1 + turns[..., 0, 0], turns[..., 1, 0]
    return np.degrees(np.arctan2(across, along)), np.hypot(along, across)


def turns_from(rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Turns (..., 2, 2) from what `rotation_and_scale` gives."""
    angle = np.radians(rotation)
    return turn_matrix(scale * np.cos(angle) - 1, scale * np.sin(angle))


def _to_frame(
    points: Sequence[Sequence[np.ndarray]],
    offsets: np.ndarray,
    turns: np.ndarray,
    shape: tuple[int, int],
) -> list[Spots]:
    """For each cycle the places (n, 2) of its spots in the frame, and their channels (n,)."""
    middle, back = (np.array(shape) - 1) / 2, np.linalg.inv(np.eye(2) + turns)
    frames = []
    for t, planes in enumerate(points):
        own = [
            (plane - middle - offsets[t, c]) @ back[t, c].T + middle
            for c, plane in enumerate(planes)
        ]
        channel = np.repeat(np.arange(len(planes)), [len(plane) for plane in planes])
        frames.append((np.concatenate(own), channel))
    return frames


def _match(
    spots: Spots,
    others: Spots,
    shape: tuple[int, int],
    radius: float,
    reach: float = 1.0,
) -> _Matches:
    """Pairs of spots that are each other's nearest within `radius` px.

    Only those count that lie within `reach` of half the diagonal from the middle.
    """
    place, channel = spots
    middle = (np.array(shape) - 1) / 2
    near = np.hypot(*(place - middle).T) <= reach * np.hypot(*shape) / 2
    place, channel = place[near], channel[near]
    own, other = mutual_nearest(place, others[0], shape, radius)
    target = others[0][other]
    return _Matches(target - middle, place[own] - target, channel[own])


def _nearest(
    points: np.ndarray, targets: np.ndarray, shape: tuple[int, int], radius: float
) -> np.ndarray:
    """The nearest of the targets (m, 2) to each point (n,) within `radius` px; -1 for none."""
    edge = int(np.ceil(radius + np.sqrt(2)))
    limit = np.array(shape) - 1
    pixel, target_pixel = (
        np.clip(np.rint(own), 0, limit).astype(np.int64) + edge for own in (points, targets)
    )
    wide = shape[1] + 2 * edge
    owner = np.full((shape[0] + 2 * edge) * wide, -1, np.int32)
    owner[target_pixel @ [wide, 1]] = np.arange(len(targets))
    best, least = np.full(len(points), -1), np.full(len(points), radius**2)
    flat = pixel @ [wide, 1]
    for dy, dx in np.ndindex(2 * edge + 1, 2 * edge + 1):
        if np.hypot(dy - edge, dx - edge) >= radius + np.sqrt(2):  # two roundings
            continue
        found = owner[flat + (dy - edge) * wide + dx - edge]
        seen = np.flatnonzero(found >= 0)
        square = ((points[seen] - targets[found[seen]]) ** 2).sum(axis=1)
        nearer = square < least[seen]
        seen = seen[nearer]
        best[seen], least[seen] = found[seen], square[nearer]
    return best


def _join(parts: Sequence[_Matches]) -> _Matches:
    names = ("place", "shift", "channel")
    return _Matches(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _fit_similarity(found: _Matches, least: int = LEAST_MATCHED) -> _Fit:
    """Shift and turn by least squares with Tukey's biweight; nothing from fewer than `least`."""
    count = len(found.place)
    fit = _Fit(np.zeros(4), count, np.inf)
    if count < least:
        return fit
    left = found.shift - np.median(found.shift, axis=0)
    for _ in range(FITS):
        spread = 1.4826 * np.median(np.abs(left)) + 1e-6
        distance = np.hypot(*left.T) / (BIWEIGHT * spread)
        weight = np.clip(1 - distance**2, 0, None) ** 2
        total = weight.sum()
        centre, shift = weight @ found.place / total, weight @ found.shift / total
        (y, x), (dy, dx) = (found.place - centre).T, (found.shift - shift).T
        square = weight @ (y**2 + x**2)
        along, across = weight @ (y * dy + x * dx) / square, weight @ (y * dx - x * dy) / square
        change = np.array([*(shift - turn_matrix(along, across) @ centre), along, across])
        fit = _Fit(change, count, spread / np.sqrt(square))
        left = found.shift - fit.at(found.place)
    return fit


def _matters(change: np.ndarray, fit: _Fit, corner: float) -> bool:
    """Whether a turn moves the corners by more than is forgiven, and than chance does."""
    turn = np.hypot(*change[2:])
    return turn * corner >= LEAST_TURN and turn >= CERTAIN * fit.error


def _remaining(
    frames: list[Spots], channels: int, shape: tuple[int, int], reference: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`matched`, `residual` and `local` between each cycle and the reference cycle.

    That itself is compared with the next.
    """
    cycles = len(frames)
    matched, residual = np.zeros((cycles, channels), np.int32), np.full((cycles, channels), np.nan)
    local = np.full(cycles, np.nan)
    for t in range(cycles) if cycles > 1 else ():
        other = reference if t != reference else (reference + 1) % cycles
        found = _match(frames[t], frames[other], shape, CHECKED)
        local[t] = _local_shift(found, shape)
        for c in range(channels):
            distance = np.hypot(*found.of_channel(c).shift.T)
            matched[t, c] = len(distance)
            if len(distance) >= LEAST_SHOWN:
                residual[t, c] = np.median(distance)
    return matched, residual, local


def _local_shift(found: _Matches, shape: tuple[int, int]) -> float:
    """Largest shift (px), the median of the spots, of a part of the tile; NaN where all are few."""
    row, column = ((found.place / shape + 0.5) * PARTS).astype(int).clip(0, PARTS - 1).T
    part = row * PARTS + column
    counts = np.bincount(part, minlength=PARTS**2)
    shifts = [
        np.hypot(*np.median(found.shift[part == number], axis=0))
        for number in np.flatnonzero(counts >= LEAST_LOCAL)
    ]
    return max(shifts, default=np.nan)
