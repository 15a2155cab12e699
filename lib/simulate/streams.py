"""Independent random streams, one for each thing that is drawn.

A stream depends on the seed and on what it is for (plate, well, tile, cycle), never
on what was drawn before, so that any tile can be rendered alone.
"""

import enum
import zlib

import numpy as np


class Stream(enum.IntEnum):
    """What a stream of random numbers decides."""

    LIBRARY = 0
    EFFECTS = 1
    OPTICS = 2
    CELLS = 3
    READS = 4
    GRANULES = 5
    DEBRIS = 6
    STAGE = 7
    DRIFT = 8
    SBS_PLANE = 9
    PHENOTYPE_PLANE = 10
    SPOTS = 11
    TURN = 12


def stream(seed: int, purpose: Stream, *place: str | int) -> np.random.Generator:
    """Return the generator for a purpose at a place (plate, well, tile, cycle...)."""
    key = (int(purpose), *(_number(part) for part in place))
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def _number(part: str | int) -> int:
    return part if isinstance(part, int) else zlib.crc32(part.encode())
