"""Spots and vacuoles inside cells, as objects of their own."""

from itertools import chain

import numpy as np
import pytest
from skimage.draw import disk

from lib.phenotype.secondary import (
    SecondaryParameters,
    secondary_features,
    secondary_table,
    segment_secondary,
)

SHAPE = (120, 160)
CENTRES = {1: [(30, 30), (40, 50)], 2: [(60, 120)], 3: []}  # of spots, by cell


def scene(sign: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Three cells of 60 px with spots of radius 3, and one spot outside of all cells."""
    cells = np.zeros(SHAPE, np.int32)
    cells[10:70, 10:70], cells[10:70, 90:150], cells[80:110, 40:120] = 1, 2, 3
    image = np.random.default_rng(0).normal(2000, 15, SHAPE)
    for centre in [*chain(*CENTRES.values()), (100, 20)]:
        image[disk(centre, 3.5)] += sign * 600
    return image.astype(np.float32), cells


@pytest.mark.parametrize(("kind", "sign"), [("bright", 1), ("dark", -1)])
def test_spots_and_vacuoles_are_found_in_their_cells(kind, sign):
    image, cells = scene(sign)
    objects = segment_secondary(image, cells, SecondaryParameters(kind=kind))
    table = secondary_table(objects, cells)
    found = sorted(zip(table["cell"], table["i"].round(), table["j"].round(), strict=True))
    assert found == sorted((cell, *c) for cell, places in CENTRES.items() for c in places)
    true_area = len(disk((9, 9), 3.5)[0])
    assert (np.abs(table["area"] / true_area - 1) < 0.25).all()
    assert table["label"].tolist() == [1, 2, 3]


def test_the_other_kind_is_not_found():
    image, cells = scene(-1)
    assert not segment_secondary(image, cells, SecondaryParameters()).any()


def test_larger_things_and_smaller_ones_are_none():
    image, cells = scene()
    image[disk((40, 120), 14)] += 600
    small = segment_secondary(image, cells, SecondaryParameters(min_area_px=200))
    assert not small.any()
    objects = segment_secondary(image, cells, SecondaryParameters())
    assert objects[40, 120] == 0


def test_a_membrane_is_none():
    image, cells = scene()
    expected = segment_secondary(image, cells, SecondaryParameters())
    image[85:105, 60:62] += 600  # 20 px long, 2 px wide
    found = segment_secondary(image, cells, SecondaryParameters())
    np.testing.assert_array_equal(found, expected)
    short = segment_secondary(image, cells, SecondaryParameters(diameter_px=14))
    assert short[95, 60] > 0


def test_an_object_ends_at_the_border_of_its_cell():
    cells = np.ones((60, 60), np.int32)
    cells[:, 30:] = 2
    image = np.random.default_rng(0).normal(1000, 5, (60, 60)).astype(np.float32)
    image[disk((30, 29.5), 3.5)] += 500
    objects = segment_secondary(image, cells, SecondaryParameters())
    table = secondary_table(objects, cells)
    assert table["cell"].tolist() == [1, 2]


def test_features_by_hand():
    cells = np.zeros((6, 12), np.int32)
    cells[:, :4], cells[:, 4:8], cells[:, 10:] = 2, 5, 9
    objects = np.zeros_like(cells)
    objects[0, 0], objects[2, 0:3], objects[4, 5] = 1, 2, 3
    image = np.zeros((2, 6, 12), np.uint16)
    image[0, 0, 0], image[0, 2, 0:3], image[1] = 10, 30, 7
    labels = np.array([2, 5, 9], np.int32)
    found = secondary_features(objects, cells, image, ["A", "B"], labels)
    expected = {
        "cell_secondary_count": [2, 1, 0],
        "cell_secondary_area": [4, 1, 0],
        "cell_secondary_mean_area": [2, 1, np.nan],
        "cell_secondary_area_fraction": [4 / 24, 1 / 24, 0],
        "cell_A_secondary_mean": [25, 0, np.nan],
        "cell_B_secondary_mean": [7, 7, np.nan],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    kinds = {name: "int32" if name.endswith(("count", "_area")) else "float32" for name in found}
    kinds["cell_secondary_mean_area"] = "float32"
    assert {name: str(values.dtype) for name, values in found.items()} == kinds


@pytest.mark.parametrize("value", [0, 1000, 65535])
def test_even_images_and_empty_tiles_hold_none(value):
    image = np.full((40, 50), value, np.uint16)
    for cells in (np.zeros((40, 50), np.int32), np.ones((40, 50), np.int32)):
        objects = segment_secondary(image, cells, SecondaryParameters())
        assert objects.dtype == np.int32
        assert not objects.any()
        assert len(secondary_table(objects, cells)["label"]) == 0
        labels = np.flatnonzero(np.bincount(cells.ravel())[1:]) + 1
        found = secondary_features(objects, cells, image[None], ["A"], labels)
        assert {len(values) for values in found.values()} == {len(labels)}
        assert str(found["cell_A_secondary_mean"].dtype) == "float32"
