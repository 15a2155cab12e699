"""Light and camera: spots, sub-pixel shifts, chemistry of the cycles, shading, noise.

Functions on arrays only; intensities are camera counts above the offset.
"""

import cv2
import numpy as np

from lib.simulate.parameters import BASES, ENCODINGS, ScreenParameters

TAPS = np.arange(-3, 5)  # of the interpolating kernel


def phasing_matrix(cycles: int, bases: int, phasing: float, prephasing: float) -> np.ndarray:
    """Return P (cycles, bases): the share of strands whose base u shows in cycle t.

    Each cycle a strand stays with probability `phasing` and takes two bases with
    probability `prephasing`: P[t, u] = p P[t-1, u] + (1-p-q) P[t-1, u-1] + q P[t-1, u-2].
    Strands that have taken no base are dark, so the rows of P sum to 1 - p^t (t from 1),
    less what has run off the end.
    """
    state = np.zeros(bases + 1)
    state[0] = 1.0
    shares = np.empty((cycles, bases))
    for t in range(cycles):
        moved = phasing * state
        moved[1:] += (1 - phasing - prephasing) * state[:-1]
        moved[2:] += prephasing * state[:-2]
        state = moved
        shares[t] = state[1:]
    return shares


def crosstalk_matrix(parameters: ScreenParameters) -> np.ndarray:
    """Return M (channel, dye): light of each dye in each channel, its own = 1.

    With four colours, dyes are those of G, T, A and C; of fewer, the first are taken.
    """
    g, t, a, c = range(len(BASES))
    matrix = np.full((4, 4), parameters.crosstalk_other)
    np.fill_diagonal(matrix, 1.0)
    matrix[t, g], matrix[g, t] = parameters.crosstalk_g_in_t, parameters.crosstalk_t_in_g
    matrix[c, a], matrix[a, c] = parameters.crosstalk_a_in_c, parameters.crosstalk_c_in_a
    return matrix[: parameters.colours, : parameters.colours]


def dyes_of_bases(parameters: ScreenParameters) -> np.ndarray:
    """Return E (base, dye): 1 where a base carries the dye of a channel."""
    encoding, channels = ENCODINGS[parameters.colours], parameters.base_channels
    return np.array([[channel in encoding[base] for channel in channels] for base in BASES], float)


def spot_amplitudes(codes: np.ndarray, parameters: ScreenParameters) -> np.ndarray:
    """Return the peak heights (n, cycles, channels) of spots of unit brightness.

    `codes` (n, L) are the bases of their sequences. Phasing, decay, crosstalk and the
    channels' gains are in; noise, flicker and each spot's brightness are not.
    """
    shares = phasing_matrix(
        parameters.cycles, codes.shape[1], parameters.phasing, parameters.prephasing
    )
    shares *= (parameters.decay ** np.arange(parameters.cycles))[:, None]
    gain = np.array(parameters.channel_gain[: parameters.colours])
    response = crosstalk_matrix(parameters) @ dyes_of_bases(parameters).T * gain[:, None]
    dyes = np.eye(4, dtype=np.float32)[codes]
    return np.einsum("tu,nub,cb->ntc", shares, dyes, response, optimize=True).astype(np.float32)


def add_spots(
    image: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray | float,
) -> None:
    """Add Gaussian spots to the float32 `image` (Y, X), in place.

    `row, column` (n,) are sub-pixel centres, `amplitude` (n,) peak heights, `sigma`
    standard deviations in pixels. Spots may lie partly or wholly outside.
    """
    sigma = np.broadcast_to(np.asarray(sigma, np.float32), row.shape)
    if not row.size:
        return
    half = int(np.ceil(4 * sigma.max()))
    height, width = image.shape
    near = (row > -half) & (row < height - 1 + half) & (column > -half)
    near &= column < width - 1 + half
    row, column, amplitude, sigma = row[near], column[near], amplitude[near], sigma[near]
    steps = np.arange(-half, half + 1)
    rows = np.rint(row).astype(np.int64)[:, None] + steps
    columns = np.rint(column).astype(np.int64)[:, None] + steps
    profile_y = np.exp(-0.5 * ((rows - row[:, None]) / sigma[:, None]) ** 2)
    profile_x = np.exp(-0.5 * ((columns - column[:, None]) / sigma[:, None]) ** 2)
    # A frame of `2 * half` pixels around the image takes what falls outside.
    pad = 2 * half
    wide = width + 2 * pad
    index = (rows + pad)[:, :, None] * wide + (columns + pad)[:, None, :]
    light = (amplitude[:, None] * profile_y)[:, :, None] * profile_x[:, None, :]
    total = np.bincount(index.ravel(), light.ravel(), minlength=(height + 2 * pad) * wide)
    image += total.reshape(-1, wide)[pad : pad + height, pad : pad + width]


def shift_crop(canvas: np.ndarray, dy: float, dx: float, shape: tuple[int, int]) -> np.ndarray:
    """Cut the middle of `canvas`, its features moved by (dy, dx) pixels.

    A feature at q of the middle lies at q + (dy, dx) in the result (float32, `shape`).
    Interpolates with a Lanczos kernel of eight taps: exact to a part in a thousand for
    images as smooth as a microscope's. The canvas must be large enough on every side.
    """
    top, kernel_y = _split((canvas.shape[0] - shape[0]) // 2 - dy)
    left, kernel_x = _split((canvas.shape[1] - shape[1]) // 2 - dx)
    low, high = top + TAPS[0], top + shape[0] + TAPS[-1]
    start, stop = left + TAPS[0], left + shape[1] + TAPS[-1]
    if min(low, start) < 0 or high > canvas.shape[0] or stop > canvas.shape[1]:
        raise ValueError(f"a shift of ({dy}, {dx}) leaves the canvas of shape {canvas.shape}")
    patch = np.ascontiguousarray(canvas[low:high, start:stop], np.float32)
    anchor = (-int(TAPS[0]), -int(TAPS[0]))
    moved = cv2.sepFilter2D(patch, cv2.CV_32F, kernel_x, kernel_y, anchor=anchor)
    return moved[anchor[0] : anchor[0] + shape[0], anchor[1] : anchor[1] + shape[1]]


def map_crop(
    canvas: np.ndarray, shift: tuple[float, float], turn: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """`shift_crop` with a (2, 2) matrix `turn` on top: a feature at q from the centre of the middle

    lies at q + shift + turn @ q in the result. Turned images are interpolated by OpenCV's Lanczos
    kernel, in steps of 1/32 px; what lies outside of the canvas repeats its edge.
    """
    if not turn.any():
        return shift_crop(canvas, *shift, shape)
    back = np.linalg.inv(np.eye(2) + turn)
    middle = (np.array(shape) - 1) / 2
    start = middle + (np.array(canvas.shape) - shape) // 2 - back @ (middle + shift)
    # OpenCV counts columns first.
    matrix = np.array([[back[1, 1], back[1, 0], start[1]], [back[0, 1], back[0, 0], start[0]]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    size, source = shape[::-1], np.ascontiguousarray(canvas, np.float32)
    return cv2.warpAffine(source, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _split(position: float) -> tuple[int, np.ndarray]:
    whole = int(np.floor(position))
    distance = TAPS - (position - whole)
    kernel = np.sinc(distance) * np.sinc(distance / 4)
    return whole, (kernel / kernel.sum()).astype(np.float32)


def vignette(shape: tuple[int, int], loss: float, tilt: tuple[float, float]) -> np.ndarray:
    """Return the relative brightness (Y, X) of an objective's field, 1 at its brightest.

    Falls with the fourth power of the cosine of an angle chosen so that `loss` of the
    light is missing in the corners; `tilt` (y, x) moves the brightest point, as a share
    of the image.
    """
    y = (np.arange(shape[0]) + 0.5) / shape[0] * 2 - 1 - 2 * tilt[0]
    x = (np.arange(shape[1]) + 0.5) / shape[1] * 2 - 1 - 2 * tilt[1]
    slope = (1 - loss) ** -0.5 - 1
    field = (1 + slope * (y[:, None] ** 2 + x**2) / 2) ** -2.0
    return (field / field.max()).astype(np.float32)


def expose(rng: np.random.Generator, light: np.ndarray, parameters: ScreenParameters) -> np.ndarray:
    """Turn expected counts (float32) into what a 16-bit camera writes.

    Shot noise is normal with the variance of the electrons' Poisson law, read noise
    adds to it, the offset is the camera's, and values saturate.
    """
    variance = np.maximum(light, 0) / parameters.electrons_per_count + parameters.read_noise**2
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    counts = light + noise * np.sqrt(variance, dtype=np.float32)
    return np.rint(counts + parameters.camera_offset).clip(0, 65535).astype(np.uint16)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a float32 image (Y, X) by a Gaussian of `sigma` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def slow_field(waves: np.ndarray, y: np.ndarray, x: np.ndarray, variation: float) -> np.ndarray:
    """Return a smooth field of mean about 1 at well positions (micrometres).

    `waves` (n, 3) holds wave numbers along y and x and a phase.
    """
    phase = waves[:, 0] * y[..., None] + waves[:, 1] * x[..., None] + waves[:, 2]
    return 1 + variation * np.cos(phase).sum(axis=-1) / np.sqrt(len(waves))
