"""One continuous well: where its cells lie, what they are, and where their reads are.

Everything is in micrometres of the well and known before a tile is cut from it, so a
cell is the same cell in every tile and module that sees it. A well is a few arrays; only
tiles become images.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.simulate.library import EFFECTS, Library
from lib.simulate.optics import slow_field
from lib.simulate.parameters import ScreenParameters
from lib.simulate.shapes import Outlines, draw_outlines, relative_radius
from lib.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

RELAXATIONS = 25
TRIALS = 6  # places tried for a point inside a cell
RIVALS = 6  # neighbours asked whether the place is theirs
ON_NUCLEUS = 0.25  # points that may lie above or below the nucleus
CLEARANCE = 1.05  # of points from the border, as a factor on relative radii
POINTS_AT_ONCE = 4096
TEXTURE_WAVES = 12
NUCLEOLI = 3


@dataclass(frozen=True)
class Cells:
    """The n cells of a well; a cell's id is 1 + its position."""

    y: np.ndarray
    x: np.ndarray
    nucleus: Outlines
    body: Outlines
    dapi: np.ndarray  # relative brightness of the nucleus
    stain: np.ndarray  # relative brightness of the body
    mitotic: np.ndarray
    texture: np.ndarray  # (n, TEXTURE_WAVES, 3): wave numbers along y and x per um, phase
    nucleoli: np.ndarray  # (n, NUCLEOLI, 3): offset y and x in um, radius in um
    guide: np.ndarray  # (n, 2): index into the library, -1: none
    p65_ratio: np.ndarray
    granules: np.ndarray  # expected number


@dataclass(frozen=True)
class Points:
    """Points in a well: their cell (position in `Cells`, -1: none) and place in micrometres."""

    owner: np.ndarray
    y: np.ndarray
    x: np.ndarray
    brightness: np.ndarray


@dataclass(frozen=True)
class Reads(Points):
    """Amplified molecules with their sequences, `codes` (n, guide length)."""

    codes: np.ndarray
    spread: np.ndarray  # relative width


@dataclass(frozen=True)
class Debris(Points):
    """Bright dirt; `spread` is its standard deviation in micrometres."""

    spread: np.ndarray


@dataclass(frozen=True)
class Well:
    """All that a well holds, and the slow waves of its background (n, 3)."""

    plate: str
    name: str
    cells: Cells
    reads: Reads
    granules: Points
    debris: Debris
    background: np.ndarray


def make_well(
    parameters: ScreenParameters,
    library: Library,
    plate: str,
    name: str,
    extent: tuple[float, float, float, float],
) -> Well:
    """Draw the well `name` of `plate` over `extent` (y0, y1, x0, x1 in micrometres)."""

    def rng(purpose: Stream) -> np.random.Generator:
        return stream(parameters.seed, purpose, plate, name)

    cells = _draw_cells(rng(Stream.CELLS), parameters, library, extent)
    granules = _draw_granules(rng(Stream.GRANULES), cells)
    debris, background = _draw_debris(rng(Stream.DEBRIS), parameters, extent)
    reads = _draw_reads(rng(Stream.READS), parameters, library, cells, extent)
    return Well(plate, name, cells, reads, granules, debris, background)


def scatter(
    rng: np.random.Generator,
    extent: tuple[float, float, float, float],
    density: float,
    variation: float,
    spacing: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Scatter points at `density` per um^2, then push apart those nearer than `spacing`.

    The density varies slowly by about `variation`. Returns y and x.
    """
    from scipy.spatial import cKDTree

    y0, y1, x0, x1 = extent
    n = rng.poisson(2 * density * (y1 - y0) * (x1 - x0))
    y, x = rng.uniform(y0, y1, n), rng.uniform(x0, x1, n)
    waves = _waves(rng, 6, 150.0, 500.0)
    keep = rng.random(n) < 0.5 * slow_field(waves, y, x, variation)
    points = np.stack([y[keep], x[keep]], axis=1)
    for _ in range(RELAXATIONS):
        pairs = cKDTree(points).query_pairs(spacing, output_type="ndarray")
        if not len(pairs):
            break
        offset = points[pairs[:, 0]] - points[pairs[:, 1]]
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        push = 0.45 * (spacing - distance) * offset / np.maximum(distance, 1e-9)
        for axis in (0, 1):
            for column, sign in ((0, 1), (1, -1)):
                weight = sign * push[:, axis]
                points[:, axis] += np.bincount(pairs[:, column], weight, minlength=len(points))
    return points[:, 0], points[:, 1]


def _draw_cells(
    rng: np.random.Generator,
    parameters: ScreenParameters,
    library: Library,
    extent: tuple[float, float, float, float],
) -> Cells:
    spacing = 1.08 * parameters.nucleus_diameter_um
    density = parameters.cells_per_mm2 * 1e-6
    y, x = scatter(rng, extent, density, parameters.density_variation, spacing)
    n = len(y)
    guide = _draw_guides(rng, parameters, library, n)
    # Where a cell has two guides, the stronger change of each kind shows.
    effect = np.where(guide[..., None] >= 0, library.effects[guide], 1.0).max(axis=1)
    p65, granule, size = (effect[:, EFFECTS.index(name)] for name in EFFECTS)

    mitotic = rng.random(n) < parameters.mitotic_fraction
    scale = size * rng.lognormal(0, parameters.nucleus_diameter_sigma, n)
    nucleus_radius = parameters.nucleus_diameter_um / 2 * scale * np.where(mitotic, 0.7, 1.0)
    nucleus = draw_outlines(rng, nucleus_radius, aspect=0.5, ruggedness=0.1)
    body = draw_outlines(rng, parameters.cell_radius_um * scale, aspect=0.7, ruggedness=0.25)
    wave_number = 2 * np.pi / rng.uniform(1.5, 5.0, (n, TEXTURE_WAVES))
    direction, phase = rng.uniform(0, 2 * np.pi, (2, n, TEXTURE_WAVES))
    texture = [wave_number * np.sin(direction), wave_number * np.cos(direction), phase]
    place = rng.uniform(-0.5, 0.5, (n, NUCLEOLI, 2)) * nucleus_radius[:, None, None]
    width = rng.uniform(0.6, 1.3, (n, NUCLEOLI, 1))
    return Cells(
        y=y,
        x=x,
        nucleus=nucleus,
        body=body,
        dapi=rng.lognormal(0, 0.2, n) * np.where(mitotic, 2.2, 1.0),
        stain=rng.lognormal(0, 0.25, n),
        mitotic=mitotic,
        texture=np.stack(texture, axis=-1).astype(np.float32),
        nucleoli=np.concatenate([place, width], axis=-1).astype(np.float32),
        guide=guide,
        p65_ratio=parameters.p65_ratio * p65 * rng.lognormal(0, 0.12, n),
        granules=parameters.granules_per_cell * granule,
    )


def _draw_guides(
    rng: np.random.Generator, parameters: ScreenParameters, library: Library, n: int
) -> np.ndarray:
    guide = rng.choice(parameters.guides, (n, 2), p=library.share)
    kind = rng.random(n)
    none = parameters.unperturbed_fraction
    two = (kind >= none) & (kind < none + parameters.doublet_fraction)
    guide[~two | (guide[:, 0] == guide[:, 1]), 1] = -1
    guide[kind < none] = -1
    return guide


def _draw_reads(
    rng: np.random.Generator,
    parameters: ScreenParameters,
    library: Library,
    cells: Cells,
    extent: tuple[float, float, float, float],
) -> Reads:
    sigma = parameters.expression_sigma
    expression = rng.lognormal(-(sigma**2) / 2, sigma, (len(cells.y), 1))  # of mean 1
    number = rng.poisson(parameters.reads_per_cell * expression, cells.guide.shape)
    number *= cells.guide >= 0
    owner = np.repeat(np.arange(len(cells.y)).repeat(2), number.ravel())
    codes = library.codes[np.repeat(cells.guide.ravel(), number.ravel())]
    y, x = place_inside(rng, cells, owner)

    y0, y1, x0, x1 = extent
    stray = rng.poisson(parameters.noise_reads_per_mm2 * 1e-6 * (y1 - y0) * (x1 - x0))
    shape = (stray, parameters.guide_length)
    owner = np.concatenate([owner, np.full(stray, -1)])
    codes = np.concatenate([codes, rng.integers(0, 4, shape, dtype=np.uint8)])
    n = len(owner)
    brightness = rng.lognormal(0, parameters.spot_amplitude_sigma, n) * parameters.spot_amplitude
    brightness[owner < 0] *= parameters.noise_read_brightness
    return Reads(
        owner=owner,
        y=np.concatenate([y, rng.uniform(y0, y1, stray)]),
        x=np.concatenate([x, rng.uniform(x0, x1, stray)]),
        brightness=brightness,
        codes=codes,
        spread=1 + parameters.spot_sigma_variation * rng.standard_normal(n).clip(-2, 2),
    )


def _draw_granules(rng: np.random.Generator, cells: Cells) -> Points:
    owner = np.repeat(np.arange(len(cells.y)), rng.poisson(cells.granules))
    y, x = place_inside(rng, cells, owner)
    return Points(owner, y, x, rng.lognormal(0, 0.35, len(owner)))


def _draw_debris(
    rng: np.random.Generator,
    parameters: ScreenParameters,
    extent: tuple[float, float, float, float],
) -> tuple[Debris, np.ndarray]:
    y0, y1, x0, x1 = extent
    n = rng.poisson(parameters.debris_per_mm2 * 1e-6 * (y1 - y0) * (x1 - x0))
    debris = Debris(
        owner=np.full(n, -1),
        y=rng.uniform(y0, y1, n),
        x=rng.uniform(x0, x1, n),
        brightness=rng.lognormal(0, 0.8, n),
        spread=rng.uniform(0.6, 2.2, n),
    )
    return debris, _waves(rng, 6, 400.0, 1500.0)


def place_inside(
    rng: np.random.Generator, cells: Cells, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a place (y, x in um) in the body of each `owner`, mostly outside its nucleus.

    A place is taken when no neighbour is relatively nearer, the rule by which tiles are
    labelled, and none has its nucleus there; where all trials fail it is on the nucleus.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(np.stack([cells.y, cells.x], axis=1))
    y, x = np.empty(len(owner)), np.empty(len(owner))
    for start in range(0, len(owner), POINTS_AT_ONCE):
        part = slice(start, start + POINTS_AT_ONCE)
        y[part], x[part] = _place_some(rng, cells, owner[part], tree)
    return y, x


def _place_some(
    rng: np.random.Generator, cells: Cells, owner: np.ndarray, tree: "cKDTree"
) -> tuple[np.ndarray, np.ndarray]:
    n = len(owner)
    angle = rng.uniform(0, 2 * np.pi, (n, TRIALS))
    radius = cells.body.radius[owner, None] * np.sqrt(rng.random((n, TRIALS)))
    tolerates_nucleus = rng.random(n) < ON_NUCLEUS
    y = cells.y[owner, None] + radius * np.sin(angle)
    x = cells.x[owner, None] + radius * np.cos(angle)

    count = min(RIVALS, len(cells.y))
    _, rivals = tree.query(np.stack([y, x], axis=-1), k=np.arange(1, count + 1))
    mine = rivals == owner[:, None, None]
    body = _distance(cells, cells.body, rivals, y, x)
    nucleus = _distance(cells, cells.nucleus, rivals, y, x)
    own = np.where(mine, body, np.inf).min(axis=-1)
    theirs = np.where(mine, np.inf, body).min(axis=-1)
    fits = (own < 1 / CLEARANCE) & (own < theirs / CLEARANCE)
    fits &= np.where(mine, np.inf, nucleus).min(axis=-1) > CLEARANCE
    on_nucleus = np.where(mine, nucleus, np.inf).min(axis=-1) < 1
    fits &= tolerates_nucleus[:, None] | ~on_nucleus

    row, first = np.arange(n), fits.argmax(axis=1)
    found = fits[row, first]
    shrink = 0.15 * cells.body.radius[owner] / np.maximum(radius[:, 0], 1e-6)
    near_y = cells.y[owner] + shrink * (y[:, 0] - cells.y[owner])
    near_x = cells.x[owner] + shrink * (x[:, 0] - cells.x[owner])
    return np.where(found, y[row, first], near_y), np.where(found, x[row, first], near_x)


def _distance(
    cells: Cells, outlines: Outlines, index: np.ndarray, y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Relative radius of places `y, x` (n, m) to the cells `index`, which is (n, m or 1, k)."""
    index = np.broadcast_to(index, (*y.shape, index.shape[-1]))
    dy = (y[..., None] - cells.y[index]).astype(np.float32)
    dx = (x[..., None] - cells.x[index]).astype(np.float32)
    flat = outlines.take(index.ravel())
    return relative_radius(flat, dy.ravel(), dx.ravel()).reshape(index.shape)


def _waves(rng: np.random.Generator, n: int, shortest: float, longest: float) -> np.ndarray:
    number = 2 * np.pi / rng.uniform(shortest, longest, n)
    direction = rng.uniform(0, 2 * np.pi, n)
    phase = rng.uniform(0, 2 * np.pi, n)
    return np.stack([number * np.sin(direction), number * np.cos(direction), phase], axis=1)
