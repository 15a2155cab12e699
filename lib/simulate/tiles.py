"""Which tiles a screen has, where the stage says they are and where they really are."""

import math
from dataclasses import dataclass

import numpy as np

from lib.simulate.parameters import ScreenParameters
from lib.simulate.shapes import Frame
from lib.simulate.streams import Stream, stream

EXTENT_MARGIN_UM = 40.0
WELL_PITCH_UM = 9000.0  # of a 96-well plate
FOCUS_UM = 3100.0


@dataclass(frozen=True)
class Tile:
    """One field of view; `stage` (y, x, z) is the position its files report, in micrometres."""

    module: str
    plate: str
    well: str
    tile: str
    stage: tuple[float, float, float]
    frame: Frame


def well_tiles(parameters: ScreenParameters, plate: str, well: str) -> list[Tile]:
    """Return all SBS tiles of a well, then its phenotype tiles.

    The SBS grid is nearly square and numbered along a snake. The phenotype grid covers
    the same region on its own stage, whose positions are the well's turned by
    `phenotype_rotation_deg` and moved by `phenotype_offset_um`.
    """
    columns = math.ceil(math.sqrt(parameters.tiles))
    rows = math.ceil(parameters.tiles / columns)
    centre = _well_centre(well)
    tiles = [
        _tile(parameters, "sbs", plate, well, number, place, centre)
        for number, place in enumerate(_snake(rows, columns)[: parameters.tiles])
    ]
    if parameters.phenotype:
        ratio = parameters.magnification_ratio
        places = _snake(math.ceil(rows * ratio), math.ceil(columns * ratio))
        tiles += [
            _tile(parameters, "phenotype", plate, well, number, place, centre)
            for number, place in enumerate(places)
        ]
    return tiles


def extent(tiles: list[Tile]) -> tuple[float, float, float, float]:
    """Return the part of the well (y0, y1, x0, x1 in micrometres) that tiles see, with a margin."""
    corners = [
        tile.frame.to_well(np.array([0, 0, 1, 1]) * h, np.array([0, 1, 0, 1]) * w)
        for tile in tiles
        for h, w in [tile.frame.shape]
    ]
    y, x = np.array(corners).transpose(1, 0, 2)
    margin = EXTENT_MARGIN_UM
    return y.min() - margin, y.max() + margin, x.min() - margin, x.max() + margin


def _snake(rows: int, columns: int) -> list[tuple[float, float]]:
    """Grid places (row, column) relative to the middle, every other row backwards."""
    return [
        (row - (rows - 1) / 2, column - (columns - 1) / 2)
        for row in range(rows)
        for column in (range(columns) if row % 2 == 0 else reversed(range(columns)))
    ]


def _tile(
    parameters: ScreenParameters,
    module: str,
    plate: str,
    well: str,
    number: int,
    place: tuple[float, float],
    centre: tuple[float, float],
) -> Tile:
    rng = stream(parameters.seed, Stream.STAGE, module, plate, well, number)
    size = parameters.tile_size
    pixel = parameters.sbs_pixel_um if module == "sbs" else parameters.phenotype_pixel_um
    pitch = size * pixel * (1 - parameters.overlap)
    offset = np.array(place) * pitch
    true = offset + rng.normal(0, parameters.stage_error_um, 2)
    angle, moved = 0.0, np.zeros(2)
    if module == "phenotype":
        angle = math.radians(parameters.phenotype_rotation_deg)
        moved = np.array(parameters.phenotype_offset_um)
        true = _turned(true, -angle)
    stage = np.array(centre) + offset + moved
    focus = FOCUS_UM + rng.normal(0, 2.0)
    frame = Frame((centre[0] + true[0], centre[1] + true[1]), (size, size), pixel, angle)
    position = (round(float(stage[0]), 3), round(float(stage[1]), 3), round(focus, 3))
    return Tile(module, plate, well, str(number), position, frame)


def _turned(offset: np.ndarray, angle: float) -> np.ndarray:
    y, x = offset
    return np.array(
        [y * math.cos(angle) + x * math.sin(angle), x * math.cos(angle) - y * math.sin(angle)]
    )


def _well_centre(well: str) -> tuple[float, float]:
    """Where the well lies on the plate; wells that are not named like A1 lie at the corner."""
    letter, number = well[:1].upper(), well[1:]
    if not ("A" <= letter <= "P" and number.isdecimal()):
        return 0.0, 0.0
    return (ord(letter) - ord("A") + 0.5) * WELL_PITCH_UM, (int(number) - 0.5) * WELL_PITCH_UM
