"""What the reader of each format offers: positions, and in each an image with named axes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

# An axis that the file has and does not name: channels or planes, as the sheet decides.
UNNAMED = "?"


@dataclass(frozen=True)
class PlaneInfo:
    """Where and when a plane was taken; None where the file does not say."""

    x_pos: float | None = None  # stage, micrometres
    y_pos: float | None = None
    z_pos: float | None = None
    pfs_offset: float | None = None  # focus lock, in the unit of the microscope
    acquired: float | None = None  # seconds since 1970


class RawImage(ABC):
    """One position of a raw file, of which single planes can be read.

    Attributes
    ----------
    sizes : length of each axis in the order of the file, named by the letters
        of "TCZYX" or `UNNAMED`; an absent axis has length 1.
    dtype : type of the pixels in the file.
    channel_names : one per channel, where the file names them.
    pixel_size : (y, x) in micrometres, where the file tells.
    z_step : planes that are best read together (1 unless stored together).
    """

    sizes: Mapping[str, int]
    dtype: np.dtype
    channel_names: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None
    z_step: int = 1

    @abstractmethod
    def read(self, time: int, channels: range, zs: range) -> np.ndarray:
        """Read planes of one time point as (channels, zs, Y, X), in the type of the file."""

    @abstractmethod
    def plane_info(self, time: int, channel: int, z: int) -> PlaneInfo:
        """Tell where and when a plane was taken."""

    def size(self, axis: str) -> int:
        """Length of `axis`."""
        return self.sizes.get(axis, 1)

    def name_unnamed(self, axis: str) -> None:
        """Call the unnamed axis `axis`."""
        self.sizes = {axis if name == UNNAMED else name: n for name, n in self.sizes.items()}


class RawFile(AbstractContextManager):
    """An open raw file: a sequence of positions."""

    n_positions: int

    @abstractmethod
    def image(self, position: int) -> RawImage:
        """Return one position, without reading its pixels."""


def micrometres(value: float, unit: str) -> float | None:
    """Convert a length; None when `unit` is no unit of length."""
    factor = _MICROMETRES.get(unit.strip().lower().replace("\\u00b5", "µ").replace("μ", "µ"))
    return None if factor is None else value * factor


_MICROMETRES = {
    **dict.fromkeys(("µm", "um", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
}


def pixel_size_or_none(y: float | None, x: float | None) -> tuple[float, float] | None:
    """Pair the two sizes when both are known and can be sizes."""
    if y is None or x is None or not (0 < y < np.inf and 0 < x < np.inf):
        return None
    return float(y), float(x)
