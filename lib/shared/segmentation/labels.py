"""Label images: numbering, filters, pairing of nuclei with cells, tables.

A label image is (Y, X) of integers; 0 is background, every other number one
object. Everything works on whole images through histograms of labels, so that
the cost does not grow with the number of objects.
"""

import numpy as np

from lib.shared.errors import InputError


def areas(labels: np.ndarray) -> np.ndarray:
    """Pixels per label, indexed by label; the background counts as 0."""
    count = np.bincount(labels.ravel(), minlength=1)
    count[0] = 0
    return count


def keep_labels(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Labels for which `keep` (bool, indexed by label) holds, renumbered 1..n in order, int32."""
    keep = keep & (areas(labels) > 0)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def relabel(labels: np.ndarray) -> np.ndarray:
    """The same objects numbered 1..n without gaps, in the order of their numbers, int32."""
    return keep_labels(labels, np.ones(int(labels.max(initial=0)) + 1, bool))


def largest_pieces(labels: np.ndarray) -> np.ndarray:
    """Each label reduced to its largest 4-connected piece, int32; numbers stay.

    Of equally large pieces the one that comes first in reading order is kept.
    """
    from skimage.measure import label

    pieces = label(labels, connectivity=1, background=0)
    size = areas(pieces)
    owner = np.zeros(len(size), np.int32)
    owner[pieces.ravel()] = labels.ravel()
    order = np.lexsort((-np.arange(len(size)), size))
    largest = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    largest[owner[order]] = order  # the last one written is the largest
    keep = largest[owner] == np.arange(len(size))
    return np.where(keep, owner, 0)[pieces]


def border_labels(labels: np.ndarray) -> np.ndarray:
    """Which labels touch the rim of the image: bool, indexed by label."""
    touches = np.zeros(int(labels.max(initial=0)) + 1, bool)
    for edge in (labels[:1], labels[-1:], labels[:, :1], labels[:, -1:]):
        touches[edge.ravel()] = True
    touches[0] = False
    return touches


def reconcile(
    nuclei: np.ndarray, cells: np.ndarray, how: str = "consensus"
) -> tuple[np.ndarray, np.ndarray]:
    """Pair nuclei with cells and give both the same numbers, 1..n, in the order of the cells.

    Objects without partner are dropped. A nucleus lies in its cell: what sticks
    out into background extends the cell, what lies in another cell is cut off.

    Parameters
    ----------
    nuclei, cells : (Y, X) label images.
    how : "consensus" pairs one nucleus with one cell, where each is the other's
        largest overlap; "contained" puts every nucleus into the cell it overlaps
        most and merges the nuclei of one cell. Of equal overlaps the lower number wins.

    Returns
    -------
    nuclei, cells : (Y, X) int32.

    Raises
    ------
    InputError : `how` is neither.
    """
    if how not in ("consensus", "contained"):
        raise InputError(f"Reconciliation {how!r} is unknown: choose consensus or contained.")
    nucleus, cell, overlap = _overlaps(nuclei, cells)
    best_cell = _best(nucleus, cell, overlap, int(nuclei.max(initial=0)) + 1)
    paired = best_cell[nucleus] == cell
    if how == "consensus":
        best_nucleus = _best(cell, nucleus, overlap, int(cells.max(initial=0)) + 1)
        paired &= best_nucleus[cell] == nucleus
    nucleus, cell = nucleus[paired], cell[paired]

    has_nucleus = np.zeros(int(cells.max(initial=0)) + 1, bool)
    has_nucleus[cell] = True
    number = np.where(has_nucleus, np.cumsum(has_nucleus), 0).astype(np.int32)
    nucleus_number = np.zeros(int(nuclei.max(initial=0)) + 1, np.int32)
    nucleus_number[nucleus] = number[cell]

    new_nuclei, new_cells = nucleus_number[nuclei], number[cells]
    new_cells = np.where(new_cells == 0, new_nuclei, new_cells)
    new_nuclei = np.where(new_nuclei == new_cells, new_nuclei, 0)
    return new_nuclei, new_cells


def _overlaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping pairs of labels and their common pixels, ordered by pair."""
    both = (a > 0) & (b > 0)
    width = int(b.max(initial=0)) + 1
    pair, count = np.unique(a[both].astype(np.int64) * width + b[both], return_counts=True)
    return pair // width, pair % width, count


def _best(of: np.ndarray, partner: np.ndarray, overlap: np.ndarray, size: int) -> np.ndarray:
    """The partner of largest overlap for each label; 0 where there is none."""
    order = np.lexsort((-partner, overlap))
    best = np.zeros(size, np.int64)
    best[of[order]] = partner[order]  # the last one written has the largest overlap
    return best


def keep_pairs(
    nuclei: np.ndarray, cells: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Paired nuclei and cells for which `keep` (indexed by label) holds, renumbered alike."""
    return keep_labels(nuclei, keep), keep_labels(cells, keep)


def cytoplasm(nuclei: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Cells without their nuclei: (Y, X) int32, numbered as the cells."""
    return np.where(nuclei == 0, cells, 0).astype(np.int32)


def object_table(labels: np.ndarray) -> dict[str, np.ndarray]:
    """One row per object of a label image, as columns.

    `label`; centroid `i` (row) and `j` (column) in pixels; `area` in pixels;
    `bounds_0` to `bounds_3`, the half-open bounding box (first row, first
    column, last row + 1, last column + 1); `fov_distance`, from the centroid to
    the centre of the tile, in pixels.
    """
    rows, columns = np.nonzero(labels)
    of = labels[rows, columns]
    count = np.bincount(of)
    label = np.flatnonzero(count)
    area = count[label]
    i = np.bincount(of, rows)[label] / area
    j = np.bincount(of, columns)[label] / area
    table: dict[str, np.ndarray] = {"label": label.astype(np.int32), "i": i, "j": j}
    table["area"] = area.astype(np.int32)
    size = len(count)
    low = np.full((2, size), np.iinfo(np.int32).max, np.int32)
    high = np.full((2, size), -1, np.int32)
    for axis, position in enumerate((rows, columns)):
        np.minimum.at(low[axis], of, position.astype(np.int32))
        np.maximum.at(high[axis], of, position.astype(np.int32))
    for k, bound in enumerate((*low[:, label], *(high[:, label] + 1))):
        table[f"bounds_{k}"] = bound
    centre_i, centre_j = ((side - 1) / 2 for side in labels.shape)
    table["fov_distance"] = np.hypot(i - centre_i, j - centre_j)
    return table
