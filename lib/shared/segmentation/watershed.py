"""Nuclei and cells by local threshold and watershed, with nothing to tune.

Every length follows from the diameter of a nucleus, which is estimated from
the image. Large nuclei are separated on a reduced copy; their outlines are
always found at full resolution.
"""

import numpy as np

from lib.shared.segmentation.foreground import (
    SMALLEST_DIAMETER_PX,
    estimate_diameter,
    find_foreground,
    gaussian,
    lower_envelope,
    pixel_noise,
    prepare,
    shrink,
)
from lib.shared.segmentation.geodesic import divide
from lib.shared.segmentation.labels import areas, keep_labels, largest_pieces
from lib.shared.segmentation.regions import merge_pieces

# Nuclei are separated, and cells divided, on a copy on which nuclei are about this large.
WORKING_DIAMETER_PX = 20.0
# Part of an object's own brightness at which its outline runs.
OUTLINE_LEVEL = 0.45
# Part of the brightness beside the nucleus at which a cell ends, and its reach in diameters.
CELL_LEVEL, REACH = 0.25, 2.0
# What makes a way dear on which cells are divided, per typical brightness (its square root): a
# step of it over a diameter, and what a pixel is darker than its surroundings.
SLOPE_COST, VALLEY_COST = 2.4, 80.0
# Across its outline, from one rim of this width (in diameters) to the other, a nucleus
# falls by this part of its own brightness: shading has no edge.
EDGE_WIDTH, LEAST_DROP = 0.2, 0.3
# Least area of a nucleus, as part of that of a typical one.
LEAST_AREA = 0.12


def find_nuclei(dapi: np.ndarray, diameter: float | None = None) -> tuple[np.ndarray, float | None]:
    """Nuclei of an image of a nuclear stain.

    Foreground is split at maxima of distance to the edge times brightness
    (seeded watershed), every piece is cut at 45 % of its own brightness, split
    again along the tighter outline, and pieces of one nucleus are merged. What has no
    edge is shading.

    Parameters
    ----------
    dapi : (Y, X), any real type.
    diameter : of a typical nucleus, px; None estimates it.

    Returns
    -------
    labels : (Y, X) int32, 1..n.
    diameter : the one used; None when there is nothing to measure.
    """
    image = prepare(dapi)
    empty = np.zeros(image.shape, np.int32)
    if image.min() == image.max():
        return empty, diameter
    diameter = diameter or estimate_diameter(image)
    if diameter is None:
        return empty, None
    factor = max(1, int(diameter / WORKING_DIAMETER_PX))
    small = diameter / factor
    found = find_foreground(shrink(image, factor), 0.04 * small, 2 * small)
    if not found.mask.any():
        return empty, diameter
    pieces, distance = _split(_without_holes(found.mask, small), found.root, small)
    inside = (
        found.contrast
        >= OUTLINE_LEVEL * _own_level(pieces, found.contrast, int(pieces.max()))[pieces]
    )
    mask = _opened(_without_holes(inside & (pieces > 0), small), 0.05 * small)
    pieces, distance = _split(mask, found.root, small)
    labels = merge_pieces(pieces, distance, gaussian(found.root, max(0.7, 0.04 * small)), small)

    level = OUTLINE_LEVEL * _own_level(labels, found.contrast, int(labels.max()))
    if factor > 1:
        found = find_foreground(image, 0.04 * diameter, 2 * diameter)
        labels = enlarge(labels, factor, image.shape)
    labels = np.where(found.contrast >= level[labels], labels, 0).astype(np.int32)
    labels = np.where(_opened(labels > 0, 0.06 * diameter), labels, 0)
    labels = largest_pieces(labels)
    least = LEAST_AREA * np.pi / 4 * max(diameter, SMALLEST_DIAMETER_PX) ** 2
    labels = keep_labels(labels, areas(labels) > least)
    # What was hidden behind shading is looked at again without it.
    while not (edge := has_edge(labels, found.contrast, EDGE_WIDTH * diameter)).all():
        labels = keep_labels(labels, edge)
    return labels, diameter


def has_edge(labels: np.ndarray, contrast: np.ndarray, width: float) -> np.ndarray:
    """Which labels are clearly darker just outside of their outline than just inside.

    Bool, indexed by label; also those that meet no background. `width` is that of the rims, px.
    """
    import cv2

    size = int(labels.max()) + 1
    if size == 1:
        return np.ones(size, bool)
    inside = cv2.distanceTransform((labels > 0).astype(np.uint8), cv2.DIST_L2, 5)
    outside, owner = _nearest(labels)
    level = []
    for of, distance in ((labels, inside), (owner, outside)):
        rim = (distance > 0) & (distance <= max(width, 1.5))
        count = np.bincount(of[rim], minlength=size)
        total = np.bincount(of[rim], contrast[rim], size)
        level.append(np.divide(total, count, out=np.full(size, np.nan), where=count > 0))
    return ~(level[0] - level[1] < LEAST_DROP * _own_level(labels, contrast, size - 1))


def grow_cells(
    cytoplasm: np.ndarray, nuclei: np.ndarray, diameter: float, distance: float | None = None
) -> np.ndarray:
    """Cells: the cytoplasm divided among the nuclei, numbered as they are, (Y, X) int32.

    A cell ends at `distance` (px; by default two diameters of a nucleus) from its nucleus,
    or where the cytoplasm falls to a quarter of what it is beside the nucleus. A pixel goes to the
    nucleus from which the cheapest way leads there: pixels that are darker than their
    surroundings, and steps of brightness, make a way dear. A cell always holds its nucleus.
    """
    import cv2

    distance = REACH * diameter if distance is None else distance
    if distance == 0 or not nuclei.any():
        return nuclei.astype(np.int32)
    image = prepare(cytoplasm)
    outside, owner = _nearest(nuclei)
    smooth = gaussian(image, max(0.7, 0.05 * diameter))
    contrast = np.maximum(smooth - lower_envelope(image, 4 * diameter), 0)
    beside = np.where((outside > 0) & (outside <= 0.3 * diameter), owner, 0)
    level = np.maximum(
        CELL_LEVEL * _own_level(beside, contrast, int(nuclei.max()), 0.5), 2 * pixel_noise(image)
    )
    foreground = (outside <= distance) & (contrast > level[owner]) | (nuclei > 0)

    factor = max(1, int(diameter / WORKING_DIAMETER_PX))
    thin = np.s_[factor // 2 :: factor, factor // 2 :: factor]
    small, inside = diameter / factor, foreground[thin]
    cost = _border_cost(np.sqrt(contrast)[thin], inside, small)
    cells = divide(cost, nuclei[thin], inside)
    if factor > 1:
        cells = np.where(foreground, enlarge(cells, factor, nuclei.shape), 0)
    cells = np.where(nuclei > 0, nuclei, cells)
    opened = cv2.morphologyEx((cells > 0).astype(np.uint8), cv2.MORPH_OPEN, _disk(0.06 * diameter))
    return _attached(np.where((opened > 0) | (nuclei > 0), cells, 0), nuclei)


def _border_cost(glow: np.ndarray, inside: np.ndarray, diameter: float) -> np.ndarray:
    """Cost (Y, X) of a way through each pixel: high where two cells seem to meet."""
    typical = max(float(np.median(glow[inside])), 1e-6)
    fine = gaussian(glow, max(0.7, 0.04 * diameter)) / np.float32(typical)
    wide = gaussian(glow, 0.2 * diameter) / np.float32(typical)
    slope = np.hypot(*np.gradient(fine)) * diameter
    return 1 + SLOPE_COST * slope + VALLEY_COST * np.maximum(wide - fine, 0)


def expand_nuclei(nuclei: np.ndarray, distance: float) -> np.ndarray:
    """Nuclei with a rim of at most `distance` px; pixels go to the nearest, (Y, X) int32."""
    if not nuclei.any():
        return np.zeros(nuclei.shape, np.int32)
    outside, owner = _nearest(nuclei)
    return np.where(outside <= distance, owner, 0).astype(np.int32)


def _nearest(nuclei: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest nucleus (px, float32) and its number, both (Y, X)."""
    import cv2

    inside = nuclei > 0
    distance, nearest = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[inside]] = nuclei[inside]
    return distance, owner[nearest]


def enlarge(labels: np.ndarray, factor: int, shape: tuple[int, int]) -> np.ndarray:
    """Labels of a reduced copy at full size, reaching one reduced pixel further, (Y, X) int32."""
    import cv2

    # float32 holds integers to 2^24 exactly; the larger number wins where two would reach.
    wide = cv2.dilate(labels.astype(np.float32), np.ones((3, 3), np.uint8))
    wide = np.where(labels > 0, labels, wide).astype(np.float32)
    full = cv2.resize(wide, shape[::-1], interpolation=cv2.INTER_NEAREST)
    return full.astype(np.int32)


def _split(mask: np.ndarray, root: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Over-segmented foreground and smoothed distance to its edge (both (Y, X))."""
    import cv2
    from skimage.segmentation import watershed

    inside = mask.astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance = gaussian(distance, max(0.7, 0.05 * diameter)) * inside
    glow = gaussian(root, max(1.0, 0.12 * diameter))
    side = int(diameter) | 1
    local = gaussian(cv2.dilate(glow, np.ones((side, side), np.uint8)), 0.5 * diameter)
    relief = distance * (0.4 + 0.6 * glow / np.maximum(local, 1e-6))
    peaks = (relief >= cv2.dilate(relief, _disk(0.15 * diameter))) & mask
    _, seeds = cv2.connectedComponents(peaks.astype(np.uint8), connectivity=8)
    return watershed(-relief, seeds, mask=mask).astype(np.int32), distance


def _own_level(
    labels: np.ndarray, contrast: np.ndarray, largest: int, quantile: float = 0.75
) -> np.ndarray:
    """Quantile of the contrast of each label from 0 to `largest`; 0 where there is none."""
    inside = labels > 0
    of = labels[inside]
    # Floats that are not negative order like their bits: one sort of integers
    # orders by label, then by contrast, ten times faster than a lexical sort.
    bits = np.maximum(contrast[inside], np.float32(0)).view(np.int32)
    ordered = np.sort((of.astype(np.int64) << 32) | bits)
    value = (ordered & 0x7FFFFFFF).astype(np.int32).view(np.float32)
    count = np.bincount(of, minlength=largest + 1)
    start = np.cumsum(count) - count
    level = np.zeros(largest + 1, np.float32)
    some = count > 0
    level[some] = value[(start + (quantile * (count - 1)).astype(np.int64))[some]]
    return level


def _without_holes(mask: np.ndarray, diameter: float) -> np.ndarray:
    """The mask with holes filled that are smaller than 15 % of a nucleus."""
    import cv2

    _, holes, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.15 * np.pi / 4 * diameter**2
    small[0] = False
    return mask | small[holes]


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    import cv2

    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disk(radius)) > 0


def _disk(radius: float) -> np.ndarray:
    import cv2

    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _attached(cells: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """Cells without pieces that are cut off from the piece holding the nucleus."""
    from skimage.measure import label

    pieces = label(cells, connectivity=1, background=0)
    holds = np.zeros(int(pieces.max()) + 1, bool)
    holds[pieces[nuclei > 0]] = True
    return np.where(holds[pieces], cells, 0).astype(np.int32)
