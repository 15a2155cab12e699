"""Label images: numbering, pairing of nuclei and cells, tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.shared.errors import InputError
from lib.shared.segmentation import (
    border_labels,
    cytoplasm,
    keep_labels,
    object_table,
    reconcile,
    relabel,
)
from lib.shared.segmentation.labels import largest_pieces
from lib.shared.segmentation.regions import merge_pieces
from lib.shared.segmentation.watershed import enlarge

shapes = st.tuples(st.integers(0, 8), st.integers(0, 8))


def labels(shape):
    return hnp.arrays(np.int32, shape, elements=st.integers(0, 6))


pairs = shapes.flatmap(lambda shape: st.tuples(labels(shape), labels(shape)))


@settings(deadline=None)
@given(shapes.flatmap(labels))
def test_relabelled_objects_are_the_same_without_gaps(before):
    after = relabel(before)

    assert after.dtype == np.int32
    assert sorted(set(after.ravel()) - {0}) == list(range(1, after.max(initial=0) + 1))
    np.testing.assert_array_equal(after > 0, before > 0)
    partners = {(int(a), int(b)) for a, b in zip(before.ravel(), after.ravel(), strict=True)}
    assert len(partners) == len({a for a, _ in partners}) == len({b for _, b in partners})


@settings(deadline=None)
@given(pairs, st.sampled_from(["consensus", "contained"]))
def test_reconciled_nuclei_lie_in_the_cell_of_their_number(before, how):
    nuclei, cells = reconcile(*before, how)

    assert nuclei.dtype == cells.dtype == np.int32
    assert nuclei.shape == cells.shape == before[0].shape
    count = int(cells.max(initial=0))
    assert sorted(set(cells.ravel()) - {0}) == list(range(1, count + 1))
    assert sorted(set(nuclei.ravel()) - {0}) == list(range(1, count + 1))
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
    # nothing appears from nowhere, and a second pass changes nothing
    assert not (nuclei > 0)[before[0] == 0].any()
    assert not (cells > 0)[(before[0] == 0) & (before[1] == 0)].any()
    for again, first in zip(reconcile(nuclei, cells, how), (nuclei, cells), strict=True):
        np.testing.assert_array_equal(again, first)


@settings(deadline=None)
@given(pairs)
def test_consensus_pairs_are_mutual_best(before):
    nuclei, cells = before

    def best(label, one, other):
        partners = sorted(set(other[one == label]) - {0})
        return max(partners, key=lambda k: np.sum((one == label) & (other == k)), default=0)

    expected_nuclei, expected_cells = np.zeros_like(nuclei), np.zeros_like(cells)
    number = 0
    for cell in sorted(set(cells.ravel()) - {0}):
        nucleus = best(cell, cells, nuclei)
        if nucleus and best(nucleus, nuclei, cells) == cell:
            number += 1
            expected_nuclei[nuclei == nucleus] = number
            expected_cells[cells == cell] = number
    expected_cells[expected_cells == 0] = expected_nuclei[expected_cells == 0]
    expected_nuclei[expected_nuclei != expected_cells] = 0

    paired_nuclei, paired_cells = reconcile(nuclei, cells, "consensus")
    np.testing.assert_array_equal(paired_nuclei, expected_nuclei)
    np.testing.assert_array_equal(paired_cells, expected_cells)


#                                   two nuclei in cell 4, one that sticks out of cell 2, one alone
NUCLEI = np.array([[5, 5, 5, 0, 3, 0, 0, 8, 8, 8, 0, 9]])
CELLS_ = np.array([[4, 4, 4, 4, 4, 4, 0, 0, 2, 2, 2, 0]])


def test_consensus_by_hand():
    nuclei, cells = reconcile(NUCLEI, CELLS_, "consensus")
    np.testing.assert_array_equal(nuclei, [[2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(cells, [[2, 2, 2, 2, 2, 2, 0, 1, 1, 1, 1, 0]])


def test_contained_by_hand():
    nuclei, cells = reconcile(NUCLEI, CELLS_, "contained")
    np.testing.assert_array_equal(nuclei, [[2, 2, 2, 0, 2, 0, 0, 1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(cells, [[2, 2, 2, 2, 2, 2, 0, 1, 1, 1, 1, 0]])


def test_a_nucleus_across_two_cells_is_cut_at_the_border():
    nuclei = np.array([[1, 1, 1, 2, 2, 2]])
    cells = np.array([[3, 3, 5, 5, 5, 5]])
    np.testing.assert_array_equal(reconcile(nuclei, cells)[0], [[1, 1, 0, 2, 2, 2]])


def test_a_nucleus_is_not_its_bounding_box():
    """A ring of nucleus around another cell's nucleus belongs to the cell it overlaps most."""
    nuclei = np.ones((7, 7), np.int32)
    nuclei[2:5, 2:5] = 0
    nuclei[3, 3] = 2
    cells = np.ones((7, 7), np.int32)
    cells[2:5, 2:5] = 2
    paired_nuclei, paired_cells = reconcile(nuclei, cells)
    np.testing.assert_array_equal(paired_nuclei, nuclei)
    np.testing.assert_array_equal(paired_cells, cells)


def test_an_unknown_reconciliation_is_refused():
    with pytest.raises(InputError, match="consensus or contained"):
        reconcile(NUCLEI, CELLS_, "consensu")


@settings(deadline=None)
@given(pairs)
def test_cytoplasm_is_cell_without_nucleus(images):
    nuclei, cells = reconcile(*images)
    ring = cytoplasm(nuclei, cells)
    assert ring.dtype == np.int32
    np.testing.assert_array_equal(ring + nuclei, cells)


def test_border_labels_and_keep_labels():
    image = np.zeros((5, 6), np.int32)
    image[0, 1], image[2, 5], image[2:4, 2:4] = 4, 2, 3
    np.testing.assert_array_equal(border_labels(image), [False, False, True, False, True])
    kept = keep_labels(image, ~border_labels(image))
    np.testing.assert_array_equal(kept, image == 3)
    assert kept.dtype == np.int32


def test_largest_pieces():
    image = np.array([[1, 1, 0, 1, 2], [1, 0, 0, 2, 2], [0, 3, 0, 3, 2]])
    expected = [[1, 1, 0, 0, 2], [1, 0, 0, 2, 2], [0, 3, 0, 0, 2]]
    np.testing.assert_array_equal(largest_pieces(image), expected)


def test_object_table_by_hand():
    image = np.zeros((5, 9), np.int32)
    image[1:3, 2:5], image[4, 8] = 3, 7

    table = object_table(image)

    assert {name: column.tolist() for name, column in table.items()} == {
        "label": [3, 7],
        "i": [1.5, 4.0],
        "j": [3.0, 8.0],
        "area": [6, 1],
        "bounds_0": [1, 4],
        "bounds_1": [2, 8],
        "bounds_2": [3, 5],
        "bounds_3": [5, 9],
        "fov_distance": pytest.approx([np.hypot(0.5, 1), np.hypot(2, 4)]),
    }


@settings(deadline=None)
@given(shapes.flatmap(labels))
def test_object_table_agrees_with_each_object(image):
    table = object_table(image)
    assert table["label"].tolist() == sorted(set(image.ravel()) - {0})
    for row, label in enumerate(table["label"]):
        rows, columns = np.nonzero(image == label)
        assert table["area"][row] == len(rows)
        assert table["i"][row] == pytest.approx(rows.mean())
        assert table["j"][row] == pytest.approx(columns.mean())
        bounds = [table[f"bounds_{k}"][row] for k in range(4)]
        assert bounds == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


def halves(shape, column):
    """A mask cut in two at a column, its distance to the edge, even brightness."""
    import cv2

    distance = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5)
    pieces = np.where(np.arange(shape.shape[1]) < column, 1, 2).astype(np.int32)
    return pieces * shape, distance, shape.astype(np.float32)


def test_pieces_of_one_nucleus_merge_and_touching_nuclei_do_not():
    y, x = np.mgrid[:60, :100]
    one = ((y - 30) / 15) ** 2 + ((x - 50) / 20) ** 2 <= 1
    two = ((y - 30) ** 2 + (x - 35) ** 2 <= 16**2) | ((y - 30) ** 2 + (x - 65) ** 2 <= 16**2)

    assert len(np.unique(merge_pieces(*halves(one, 50), diameter=32))) == 2
    assert len(np.unique(merge_pieces(*halves(two, 50), diameter=32))) == 3


def test_a_dark_line_keeps_pieces_apart():
    y, x = np.mgrid[:60, :100]
    one = ((y - 30) / 15) ** 2 + ((x - 50) / 20) ** 2 <= 1
    pieces, distance, brightness = halves(one, 50)
    brightness[:, 48:52] *= 0.3
    assert len(np.unique(merge_pieces(pieces, distance, brightness, diameter=32))) == 3


@settings(deadline=None)
@given(shapes.flatmap(labels), st.integers(1, 4))
def test_enlarged_labels_keep_every_pixel(image, factor):
    if image.size:
        full = enlarge(image, factor, tuple(side * factor for side in image.shape))
        block = np.kron(image, np.ones((factor, factor), np.int32))
        np.testing.assert_array_equal(full[block > 0], block[block > 0])
