"""Outlines of nuclei and cells, and how they fill the pixels of a tile."""

from dataclasses import dataclass

import numpy as np

CELLS_AT_ONCE = 64
LOWEST_HARMONIC = 2


@dataclass(frozen=True)
class Outlines:
    """Irregular ellipses (n of them, lengths in micrometres).

    The radius in direction theta is `radius * (1 + sum_k amplitude[k] cos((k + 2) theta +
    phase[k]))`, measured after the plane was stretched by `aspect` along `angle`.
    """

    radius: np.ndarray  # (n,)
    aspect: np.ndarray  # (n,) long over short axis
    angle: np.ndarray  # (n,) radians, of the long axis, from x towards y
    amplitude: np.ndarray  # (n, K)
    phase: np.ndarray  # (n, K)

    def take(self, index: np.ndarray) -> "Outlines":
        """Return the outlines at `index`."""
        return Outlines(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def reach(self) -> np.ndarray:
        """Return the distance (n,) beyond which each outline does not extend."""
        return self.radius * np.sqrt(self.aspect) * (1 + np.abs(self.amplitude).sum(axis=1))


def draw_outlines(
    rng: np.random.Generator, radius: np.ndarray, aspect: float, ruggedness: float
) -> Outlines:
    """Draw outlines of the given radii; `ruggedness` scales the harmonics, which fall as 1/k."""
    n, harmonics = len(radius), np.arange(LOWEST_HARMONIC, 6)
    return Outlines(
        radius=radius.astype(np.float32),
        aspect=(1 + aspect * rng.random(n)).astype(np.float32),
        angle=rng.uniform(0, np.pi, n).astype(np.float32),
        amplitude=(ruggedness * rng.standard_normal((n, len(harmonics))) / harmonics)
        .clip(-0.2, 0.2)
        .astype(np.float32),
        phase=rng.uniform(0, 2 * np.pi, (n, len(harmonics))).astype(np.float32),
    )


def relative_radius(outlines: Outlines, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Return distance from the centre over the outline's radius in that direction.

    `dy, dx` (n, ...) are offsets in micrometres from the centre of outline n; the
    result is 0 in the centre, 1 on the outline.
    """
    spread = (slice(None), *(None,) * (dy.ndim - 1))
    cosine, sine = np.cos(outlines.angle)[spread], np.sin(outlines.angle)[spread]
    stretch = np.sqrt(outlines.aspect)[spread]
    along = (dx * cosine + dy * sine) / stretch
    across = (dy * cosine - dx * sine) * stretch
    distance = np.hypot(along, across)
    direction = (along + 1j * across) / np.maximum(distance, 1e-6)
    outline, power = np.ones_like(distance), direction
    for k in range(outlines.amplitude.shape[1]):
        power = power * direction
        swing = outlines.amplitude[:, k] * np.exp(1j * outlines.phase[:, k])
        outline += (power * swing[spread]).real
    return distance / (outlines.radius[spread] * outline)


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the well.

    `centre` (y, x) is the well position, in micrometres, of the middle of the image;
    `pixel` its pixel size; `angle` (radians) turns well directions into image
    directions.
    """

    centre: tuple[float, float]
    shape: tuple[int, int]
    pixel: float
    angle: float = 0.0

    def to_pixels(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn well positions in micrometres into (row, column); pixel centres are integers."""
        dy, dx = y - self.centre[0], x - self.centre[1]
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        row = (dy * cosine + dx * sine) / self.pixel + (self.shape[0] - 1) / 2
        column = (dx * cosine - dy * sine) / self.pixel + (self.shape[1] - 1) / 2
        return row, column

    def to_well(self, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn (row, column) into well positions in micrometres."""
        dy, dx = self.to_well_offsets(
            row - (self.shape[0] - 1) / 2, column - (self.shape[1] - 1) / 2
        )
        return self.centre[0] + dy, self.centre[1] + dx

    def to_well_offsets(self, dy: np.ndarray, dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn offsets in pixels into offsets in the well in micrometres."""
        cosine, sine = np.cos(self.angle) * self.pixel, np.sin(self.angle) * self.pixel
        return dy * cosine - dx * sine, dx * cosine + dy * sine

    def grown(self, margin: int) -> "Frame":
        """Return the frame with `margin` pixels more on each side."""
        shape = (self.shape[0] + 2 * margin, self.shape[1] + 2 * margin)
        return Frame(self.centre, shape, self.pixel, self.angle)


def fill(
    frame: Frame, y: np.ndarray, x: np.ndarray, outlines: Outlines
) -> tuple[np.ndarray, np.ndarray]:
    """Draw outlines centred at well positions `y, x` into the pixels of `frame`.

    Returns int32 labels (Y, X), 1 + the position in `y` or 0, and the float32
    relative radius of each labelled pixel (inf outside). Where outlines overlap the
    relatively nearer centre wins, so that neighbours meet on a smooth border.
    """
    labels = np.zeros(frame.shape, np.int32)
    nearest = np.full(frame.shape, np.inf, np.float32)
    row, column = frame.to_pixels(y, x)
    reach = outlines.reach() / frame.pixel
    # Cells of like size share a patch size; the patch of the largest would waste most pixels.
    by_size = np.argsort(reach, kind="stable")
    for start in range(0, len(y), CELLS_AT_ONCE):
        cells = by_size[start : start + CELLS_AT_ONCE]
        pixel, owner, dy, dx = _pixels_around(frame, row[cells], column[cells], reach[cells])
        radius = relative_radius(outlines.take(cells[owner]), dy, dx)
        nearer = np.flatnonzero((radius < 1) & (radius < nearest.ravel()[pixel]))
        # Of repeated targets numpy keeps the last: the nearest one must come last.
        order = nearer[np.argsort(-radius[nearer], kind="stable")]
        labels.ravel()[pixel[order]] = cells[owner[order]] + 1
        nearest.ravel()[pixel[order]] = radius[order]
    return labels, nearest


def _pixels_around(
    frame: Frame, row: np.ndarray, column: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, ...]:
    """List the pixels of `frame` within `reach` pixels of each centre.

    Returns their flat numbers, the number of the centre, and offsets y, x in micrometres
    of the well.
    """
    half = int(np.ceil(reach.max())) + 1
    steps = np.arange(-half, half + 1)
    rows = np.rint(row).astype(np.int64)[:, None] + steps
    columns = np.rint(column).astype(np.int64)[:, None] + steps
    dy = (rows - row[:, None]).astype(np.float32)
    dx = (columns - column[:, None]).astype(np.float32)
    inside_y = (rows >= 0) & (rows < frame.shape[0])
    inside_x = (columns >= 0) & (columns < frame.shape[1])
    near = (dy**2)[:, :, None] + (dx**2)[:, None, :] < (reach**2)[:, None, None]
    owner, p, q = np.nonzero(near & inside_y[:, :, None] & inside_x[:, None, :])
    pixel = rows[owner, p] * frame.shape[1] + columns[owner, q]
    return pixel, owner, *frame.to_well_offsets(dy[owner, p], dx[owner, q])
