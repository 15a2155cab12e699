"""From a well to the images of one tile, with the truth that goes with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.simulate import optics
from lib.simulate.parameters import PHENOTYPE_CHANNELS, ScreenParameters
from lib.simulate.shapes import Frame, fill
from lib.simulate.streams import Stream, stream
from lib.simulate.tiles import Tile
from lib.simulate.well import Cells, Well

CANVAS_BORDER = 8  # pixels beyond the largest shift: interpolation and blur need them
PSF_UM = 0.55  # standard deviation of the blur of bodies and nuclei
HAZE_UM = 5.0
HAZE = 0.12
DEFOCUS_PX_PER_UM = 0.6
DEBRIS_DAPI = 0.5  # brightness of dirt, relative to nuclei
DEBRIS_BASES = 2.5  # relative to autofluorescence
MICROTUBULES = 5
MEMBRANE = 0.4
MEMBRANE_UM = 0.35
PHENOTYPE_LEVELS = {"DAPI": 5000.0, "TUBULIN": 1800.0, "P65": 1500.0, "WGA": 1600.0}


@dataclass(frozen=True)
class Scene:
    """A tile before the microscope: which cell each pixel of a canvas belongs to.

    `cells` and `nuclei` (Y, X) hold 1 + the position in `index`, 0 for none; `index` the
    positions of these cells in the well; the radii are relative, inf outside; `frame` is
    the canvas, the tile and `margin` pixels around it.
    """

    frame: Frame
    margin: int
    index: np.ndarray
    cells: np.ndarray
    nuclei: np.ndarray
    cell_radius: np.ndarray
    nucleus_radius: np.ndarray


def make_scene(parameters: ScreenParameters, well: Well, tile: Tile) -> Scene:
    """Lay the well's cells into the pixels of a tile and a margin around it."""
    largest = parameters.max_drift_px + parameters.chromatic_px
    if tile.module == "phenotype":
        largest = parameters.phenotype_chromatic_px
    margin = int(np.ceil(2 * largest)) + CANVAS_BORDER
    frame = tile.frame.grown(margin)
    cells = well.cells
    row, column = frame.to_pixels(cells.y, cells.x)
    reach = cells.body.reach().max(initial=0) / frame.pixel + 1
    near = (row > -reach) & (row < frame.shape[0] + reach)
    near &= (column > -reach) & (column < frame.shape[1] + reach)
    index = np.flatnonzero(near)
    y, x = cells.y[index], cells.x[index]
    cell_labels, cell_radius = fill(frame, y, x, cells.body.take(index))
    nuclei, nucleus_radius = fill(frame, y, x, cells.nucleus.take(index))
    # A nucleus belongs to its own cell, wherever the bodies' border runs.
    stolen = (nuclei > 0) & (cell_labels != nuclei)
    cell_labels[stolen] = nuclei[stolen]
    cell_radius[stolen] = 0.5
    return Scene(frame, margin, index, cell_labels, nuclei, cell_radius, nucleus_radius)


def truth_labels(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tile's nuclei and cells (int32, Y, X) and the cell ids of labels 1, 2, ...

    Labels count through the cells that the tile sees, in the order of their ids; the frame is
    that of DAPI in the first cycle.
    """
    inner = slice(scene.margin, -scene.margin)
    cells, nuclei = scene.cells[inner, inner], scene.nuclei[inner, inner]
    present = np.flatnonzero(np.bincount(cells.ravel(), minlength=len(scene.index) + 1)[1:])
    lookup = np.zeros(len(scene.index) + 1, np.int32)
    lookup[present + 1] = np.arange(1, len(present) + 1)
    return lookup[nuclei], lookup[cells], scene.index[present] + 1


def sbs_shifts(parameters: ScreenParameters, tile: Tile) -> np.ndarray:
    """Return (cycles, channels, 2): where features of a plane lie, relative to cycle 1's DAPI.

    The drift of a cycle is partly the well's (the plate was put back) and partly the
    tile's; channels have constant offsets on all of a plate.
    """
    place = (tile.plate, tile.well)
    shape = (parameters.cycles, 2)
    common = stream(parameters.seed, Stream.DRIFT, *place).normal(0, 0.8, shape)
    own = stream(parameters.seed, Stream.DRIFT, *place, tile.tile).normal(0, 0.6, shape)
    drift = parameters.drift_px * (common + own)
    drift = (drift - drift[0]).clip(-parameters.max_drift_px, parameters.max_drift_px)
    chroma = _chromatic_offsets(
        parameters, tile, len(parameters.sbs_channels), parameters.chromatic_px
    )
    return drift[:, None] + chroma[None]


def sbs_turns(parameters: ScreenParameters, tile: Tile) -> np.ndarray:
    """Return (cycles, 2, 2): how far features of a cycle lie off, per pixel from the tile's centre.

    Of a pixel (y, x) away from it, the product of the matrix with it; on top of `sbs_shifts`.
    The turns of a cycle are those of its plate, the first cycle has none.
    """
    rng = stream(parameters.seed, Stream.TURN, tile.plate, tile.well)
    angle, zoom = rng.normal(0, 1, (2, parameters.cycles))
    angle, zoom = parameters.turn_deg * (angle - angle[0]), parameters.zoom * (zoom - zoom[0])
    along, across = (1 + zoom) * (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    return np.array([[along - 1, -across], [across, along - 1]]).transpose(2, 0, 1)


def phenotype_shifts(parameters: ScreenParameters, tile: Tile) -> np.ndarray:
    """Return (channels, 2): where features of a channel lie, relative to DAPI."""
    largest = parameters.phenotype_chromatic_px
    return _chromatic_offsets(parameters, tile, len(PHENOTYPE_CHANNELS), largest)


def spot_positions(well: Well, frame: Frame, margin: int) -> tuple[np.ndarray, ...]:
    """Return which reads lie in a frame or `margin` pixels around it, their rows and columns."""
    row, column = frame.to_pixels(well.reads.y, well.reads.x)
    near = (row > -margin) & (row < frame.shape[0] + margin)
    near &= (column > -margin) & (column < frame.shape[1] + margin)
    index = np.flatnonzero(near)
    return index, row[index], column[index]


def sbs_cycles(
    parameters: ScreenParameters, well: Well, tile: Tile, scene: Scene, cycles: Iterable[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Render cycles (counted from 1) of an SBS tile: yields cycle, uint16 (Z, C, Y, X)."""
    static = _SbsStatics(parameters, well, tile, scene)
    for cycle in cycles:
        yield cycle, static.render(cycle)


class _SbsStatics:
    """What the cycles of a tile share: its bodies of light, its reads, its shifts."""

    def __init__(self, parameters: ScreenParameters, well: Well, tile: Tile, scene: Scene) -> None:
        self.parameters, self.tile, self.well = parameters, tile, well
        self.shifts, self.turns = sbs_shifts(parameters, tile), sbs_turns(parameters, tile)
        dirt = _debris(well, scene)
        self.dapi = parameters.dapi_amplitude * (_dapi(well.cells, scene) + DEBRIS_DAPI * dirt)
        self.body = _bodies(well.cells, scene) + DEBRIS_BASES * dirt
        self.background = parameters.background * _background(parameters, well, tile.frame)
        self.shading = _shading(parameters, tile, len(parameters.sbs_channels))
        self.read, self.row, self.column = spot_positions(well, tile.frame, scene.margin)
        reads = well.reads
        self.sigma = parameters.spot_sigma_px * reads.spread[self.read]
        unit = optics.spot_amplitudes(reads.codes[self.read], parameters)
        self.amplitude = unit * reads.brightness[self.read, None, None].astype(np.float32)

    def render(self, cycle: int) -> np.ndarray:
        """Return the tile in a cycle: uint16 (Z, C, Y, X)."""
        parameters, t, place = self.parameters, cycle - 1, self.tile
        where = (place.plate, place.well, place.tile, cycle)
        rng = stream(parameters.seed, Stream.SPOTS, *where)
        jitter = rng.normal(0, parameters.spot_jitter_px, (2, len(self.read)))
        flicker = rng.lognormal(0, parameters.spot_flicker, len(self.read))
        light = np.empty((len(parameters.sbs_channels), *self.tile.frame.shape), np.float32)
        turn, middle = self.turns[t], (np.array(light.shape[1:]) - 1) / 2
        around = turn @ (np.stack([self.row, self.column]) - middle[:, None]) + jitter
        light[0] = optics.map_crop(self.dapi, self.shifts[t, 0], turn, light.shape[1:])
        light[0] += self.background
        for c in range(parameters.colours):
            dy, dx = self.shifts[t, c + 1]
            gain = parameters.channel_gain[c]
            level = parameters.autofluorescence * parameters.autofluorescence_channel[c]
            canvas = gain * level * parameters.bleaching**t * self.body
            canvas += gain * parameters.dapi_bleed * self.dapi
            plane = light[c + 1]
            plane[:] = optics.map_crop(canvas, (dy, dx), turn, plane.shape)
            plane += gain * self.background
            row, column = self.row + dy + around[0], self.column + dx + around[1]
            amplitude = self.amplitude[:, t, c] * flicker
            optics.add_spots(plane, row, column, amplitude, self.sigma)
        light *= self.shading
        return _expose_stack(stream(parameters.seed, Stream.SBS_PLANE, *where), light, parameters)


def phenotype_image(
    parameters: ScreenParameters, well: Well, tile: Tile, scene: Scene
) -> np.ndarray:
    """Render a phenotype tile: uint16 (Z, C, Y, X), channels DAPI, TUBULIN, P65, WGA."""
    shifts = phenotype_shifts(parameters, tile)
    background = 0.5 * parameters.background * _background(parameters, well, tile.frame)
    shading = _shading(parameters, tile, len(PHENOTYPE_CHANNELS))
    canvases = {
        "DAPI": _dapi(well.cells, scene) + DEBRIS_DAPI * _debris(well, scene),
        "TUBULIN": _tubulin(well.cells, scene),
        "P65": _p65(well.cells, scene),
        "WGA": _wga(well, scene),
    }
    light = np.empty((len(PHENOTYPE_CHANNELS), *tile.frame.shape), np.float32)
    for c, name in enumerate(PHENOTYPE_CHANNELS):
        canvas = PHENOTYPE_LEVELS[name] * canvases[name]
        light[c] = optics.shift_crop(canvas, *shifts[c], light.shape[1:]) + background
    light *= shading
    where = (tile.plate, tile.well, tile.tile)
    rng = stream(parameters.seed, Stream.PHENOTYPE_PLANE, *where)
    return _expose_stack(rng, light, parameters)


def _expose_stack(
    rng: np.random.Generator, light: np.ndarray, parameters: ScreenParameters
) -> np.ndarray:
    middle = (parameters.z_planes - 1) // 2
    planes = []
    for z in range(parameters.z_planes):
        defocus = DEFOCUS_PX_PER_UM * parameters.z_step_um * abs(z - middle)
        seen = np.stack([optics.blur(plane, defocus) for plane in light]) if defocus else light
        planes.append(optics.expose(rng, seen, parameters))
    return np.stack(planes)


def _chromatic_offsets(
    parameters: ScreenParameters, tile: Tile, channels: int, largest: float
) -> np.ndarray:
    rng = stream(parameters.seed, Stream.OPTICS, tile.module, tile.plate)
    offsets = rng.uniform(-largest, largest, (channels, 2))
    offsets[0] = 0
    return offsets


def _shading(parameters: ScreenParameters, tile: Tile, channels: int) -> np.ndarray:
    rng = stream(parameters.seed, Stream.OPTICS, tile.module, tile.plate, "shading")
    loss = (parameters.vignetting * rng.uniform(0.7, 1.2, channels)).clip(0, 0.9)
    tilts = rng.uniform(-0.08, 0.08, (channels, 2))
    shape = tile.frame.shape
    return np.stack([optics.vignette(shape, *pair) for pair in zip(loss, tilts, strict=True)])


def _background(parameters: ScreenParameters, well: Well, frame: Frame) -> np.ndarray:
    """Slow field of the medium, computed on a coarse grid and interpolated."""
    import cv2

    nodes = [np.linspace(0, size - 1, 24) for size in frame.shape]
    y, x = frame.to_well(*np.meshgrid(*nodes, indexing="ij"))
    field = optics.slow_field(well.background, y, x, parameters.background_variation)
    size = frame.shape[::-1]
    return cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_CUBIC).clip(0.1)


def _pixels(scene: Scene, labels: np.ndarray, cells: Cells) -> tuple[np.ndarray, ...]:
    """Return flat pixel numbers of labelled pixels, their cell in the well, and offsets in um."""
    pixel = np.flatnonzero(labels)
    owner = scene.index[labels.ravel()[pixel] - 1]
    row, column = np.divmod(pixel, labels.shape[1])
    y, x = scene.frame.to_well(row, column)
    dy, dx = (y - cells.y[owner]).astype(np.float32), (x - cells.x[owner]).astype(np.float32)
    return pixel, owner, dy, dx


def _texture(waves: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Sum of plane waves (n, waves, 3), of unit variance."""
    total = np.zeros_like(dy)
    for k in range(waves.shape[1]):
        total += np.cos(waves[:, k, 0] * dy + waves[:, k, 1] * dx + waves[:, k, 2])
    return total * np.float32(np.sqrt(2 / waves.shape[1]))


def _dapi(cells: Cells, scene: Scene) -> np.ndarray:
    """Nuclei of brightness about 1 with chromatin, nucleoli, soft edge and some haze."""
    image = np.zeros(scene.frame.shape, np.float32)
    pixel, owner, dy, dx = _pixels(scene, scene.nuclei, cells)
    radius = scene.nucleus_radius.ravel()[pixel]
    chromatin = 1 + 0.16 * _texture(cells.texture[owner], dy, dx)
    for k in range(cells.nucleoli.shape[1]):
        y, x, width = cells.nucleoli[owner, k].T
        hole = np.exp(-((dy - y) ** 2 + (dx - x) ** 2) / (2 * width**2))
        chromatin -= np.where(cells.mitotic[owner], 0, 0.35 * hole)
    dome = np.sqrt(np.clip(1 - 0.75 * radius**2, 0, 1))
    image.ravel()[pixel] = cells.dapi[owner] * chromatin.clip(0.2) * dome
    return _imaged(image, scene.frame.pixel)


def _bodies(cells: Cells, scene: Scene) -> np.ndarray:
    """Cell bodies of brightness about 1, thickest around the nucleus, grainy."""
    image = np.zeros(scene.frame.shape, np.float32)
    pixel, owner, dy, dx = _pixels(scene, scene.cells, cells)
    grain = 1 + 0.09 * _texture(cells.texture[owner], 0.8 * dy, 0.8 * dx)
    thickness = _thickness(scene, pixel)
    image.ravel()[pixel] = cells.stain[owner] * thickness * grain.clip(0.2)
    return _imaged(image, scene.frame.pixel)


def _thickness(scene: Scene, pixel: np.ndarray) -> np.ndarray:
    radius = scene.cell_radius.ravel()[pixel].clip(0, 1)
    return 0.45 + 0.75 * (1 - radius**2) ** 2


def _tubulin(cells: Cells, scene: Scene) -> np.ndarray:
    """Bundles of wavy filaments through the body, dense around the nucleus."""
    image = np.zeros(scene.frame.shape, np.float32)
    pixel, owner, dy, dx = _pixels(scene, scene.cells, cells)
    waves = cells.texture[owner]
    fibres = np.zeros_like(dy)
    for k in range(MICROTUBULES):
        # Filaments run along the cell, within half a radian of its axis.
        direction = cells.body.angle[owner] + 0.35 * (k - MICROTUBULES // 2)
        across = dy * np.cos(direction) - dx * np.sin(direction)
        bend = np.cos(0.35 * (waves[:, k, 0] * dy + waves[:, k, 1] * dx) + waves[:, k, 2])
        phase = 2 * np.pi * across / (1.9 + 0.5 * k) + 1.8 * bend + waves[:, k, 2]
        fibres += ((1 + np.cos(phase)) / 2) ** 4
    inside = scene.nuclei.ravel()[pixel] > 0
    body = _thickness(scene, pixel) * np.where(inside, 0.55, 1.0)
    image.ravel()[pixel] = cells.stain[owner] * body * (0.35 + 0.5 * fibres)
    return _imaged(image, scene.frame.pixel)


def _p65(cells: Cells, scene: Scene) -> np.ndarray:
    """A protein in the cytoplasm (1) and the nucleus (the cell's own ratio)."""
    image = np.zeros(scene.frame.shape, np.float32)
    pixel, owner, dy, dx = _pixels(scene, scene.cells, cells)
    grain = 1 + 0.06 * _texture(cells.texture[owner], dy, dx)
    # Thickness would add to the ratio: the protein is drawn flat, thinner only at the rim.
    rim = 0.4 + 0.6 * (1 - scene.cell_radius.ravel()[pixel].clip(0, 1) ** 6)
    inside = scene.nuclei.ravel()[pixel] > 0
    level = np.where(inside, cells.p65_ratio[owner], rim)
    image.ravel()[pixel] = cells.stain[owner] * level * grain.clip(0.2)
    return _imaged(image, scene.frame.pixel)


def _wga(well: Well, scene: Scene) -> np.ndarray:
    """Membranes at the cells' rims, a Golgi cloud beside the nucleus, and granules."""
    cells = well.cells
    image = np.zeros(scene.frame.shape, np.float32)
    pixel, owner, dy, dx = _pixels(scene, scene.cells, cells)
    side = cells.nucleus.angle[owner]
    away = 1.2 * cells.nucleus.radius[owner]
    golgi = np.exp(-((dy - away * np.sin(side)) ** 2 + (dx - away * np.cos(side)) ** 2) / 18)
    image.ravel()[pixel] = cells.stain[owner] * (0.22 + 0.35 * golgi)
    image += MEMBRANE * _borders(scene.cells, scene.frame.pixel)
    row, column = scene.frame.to_pixels(well.granules.y, well.granules.x)
    optics.add_spots(image, row, column, 0.9 * well.granules.brightness, 0.4 / scene.frame.pixel)
    return _imaged(image, scene.frame.pixel)


def _borders(labels: np.ndarray, pixel: float) -> np.ndarray:
    """Lines of peak brightness about 1 where labels meet each other or the background."""
    image = np.zeros(labels.shape, np.float32)
    image[:, 1:] += labels[:, 1:] != labels[:, :-1]
    image[1:] += labels[1:] != labels[:-1]
    sigma = MEMBRANE_UM / pixel
    return optics.blur(image.clip(0, 1), sigma) * np.float32(sigma * np.sqrt(2 * np.pi))


def _debris(well: Well, scene: Scene) -> np.ndarray:
    image = np.zeros(scene.frame.shape, np.float32)
    row, column = scene.frame.to_pixels(well.debris.y, well.debris.x)
    sigma = well.debris.spread / scene.frame.pixel
    optics.add_spots(image, row, column, well.debris.brightness, sigma)
    return image


def _imaged(image: np.ndarray, pixel: float) -> np.ndarray:
    sharp = optics.blur(image, max(PSF_UM / pixel, 1.0))
    return (1 - HAZE) * sharp + HAZE * optics.blur(sharp, HAZE_UM / pixel)
