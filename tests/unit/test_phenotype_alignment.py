"""Channels of a phenotype tile: shifts found, undone once, and saved."""

import numpy as np
import pytest

from lib.phenotype.alignment import (
    channel_alignment_table,
    correct_and_align,
    estimate_channel_alignment,
)
from lib.shared.registration import blur, translate

SHAPE = (256, 320)
SHIFT = (7.3, -4.6)


def cells(seed: int = 0) -> np.ndarray:
    """A (Y, X) float32 image of soft blobs, which no shift leaves as it is."""
    random = np.random.default_rng(seed)
    spots = np.zeros(SHAPE, np.float32)
    spots[tuple(random.integers(0, np.array(SHAPE)[:, None], (2, 60)))] = 1
    return 20000 * blur(spots, 4.0)


def shifted(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    return translate(image, -dy, -dx)


def noisy(planes: list[np.ndarray], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(np.stack(planes) + 200).astype(np.uint16)


def two_rounds() -> np.ndarray:
    """DAPI, a stain, and both again in a second round that is shifted; the stain is its hole."""
    nuclei = cells()
    stain = 200 + 3 * cells(2)
    return noisy([nuclei, stain, shifted(nuclei, *SHIFT), shifted(stain, *SHIFT)])


def test_a_round_moves_with_its_first_channel_to_a_tenth_of_a_pixel():
    found = estimate_channel_alignment(two_rounds(), 0, [[2, 3]])
    np.testing.assert_array_equal(found.offsets[:2], 0)
    np.testing.assert_allclose(found.offsets[2:], [SHIFT, SHIFT], atol=0.1)
    assert np.isnan(found.residual[:2]).all()
    assert (found.residual[2:] < 0.1).all()
    assert (found.correlation[2:] > 0.9).all()
    assert not found.unclear.any()


def test_known_offsets_come_on_top_of_what_is_measured():
    image = two_rounds()
    known = {1: (0.5, 0.25), 2: (1.0, 0.0), 3: (1.5, -2.0)}
    found = estimate_channel_alignment(image, 0, [[2, 3]], known)
    np.testing.assert_array_equal(found.offsets[:2], [(0, 0), (0.5, 0.25)])
    np.testing.assert_allclose(found.offsets[2], SHIFT, atol=0.1)
    # The rider keeps its distance to the leader.
    np.testing.assert_allclose(found.offsets[3] - found.offsets[2], (0.5, -2.0), atol=1e-9)


def test_a_stain_that_the_nuclei_lack_is_registered_by_its_holes():
    nuclei = cells()
    body = 3000 + nuclei.max() - nuclei
    found = estimate_channel_alignment(noisy([nuclei, shifted(body, *SHIFT)]), 0, [[1]])
    np.testing.assert_allclose(found.offsets[1], SHIFT, atol=0.2)


def test_what_shows_no_clear_shift_stays_and_is_flagged():
    image = two_rounds()
    image[2] = 100  # an empty channel
    known = {2: (0.5, 0.0)}
    found = estimate_channel_alignment(image, 0, [[2, 3]], known, max_shift=20)
    np.testing.assert_array_equal(found.offsets[2:], [(0.5, 0.0), (0, 0)])
    assert found.unclear.tolist() == [False, False, True, True]
    table = channel_alignment_table(found, ["DAPI", "A", "DAPI_2", "B"], limit=1.0)
    assert table["flagged"].tolist() == [False, False, True, True]


@pytest.mark.parametrize("level", [0, 137, 1000, 65535])
def test_channels_that_are_the_same_everywhere_show_no_shift(level):
    image = np.full((2, *SHAPE), level, np.uint16)
    found = estimate_channel_alignment(image, 0, [[1]])
    assert found.unclear.tolist() == [False, True]
    assert not found.offsets.any()
    assert np.isnan(found.correlation).all()


def test_a_shift_beyond_the_largest_is_not_believed():
    found = estimate_channel_alignment(two_rounds(), 0, [[2, 3]], max_shift=3)
    assert (np.abs(found.offsets) <= 3.5).all()
    table = channel_alignment_table(found, ["DAPI", "A", "DAPI_2", "B"], limit=1.0)
    assert table["flagged"][2:].all()


def test_alignment_undoes_the_shift():
    image = two_rounds()
    found = estimate_channel_alignment(image, 0, [[2, 3]])
    aligned = correct_and_align(image, found.offsets)
    inner = np.s_[16:-16, 16:-16]
    same = np.corrcoef(aligned[0][inner].ravel(), aligned[2][inner].ravel())[0, 1]
    assert same > 0.85  # the rest is noise
    assert np.corrcoef(image[0][inner].ravel(), image[2][inner].ravel())[0, 1] < 0.5


def test_without_offsets_and_field_not_a_bit_changes():
    image = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), np.uint16)
    np.testing.assert_array_equal(correct_and_align(image, np.zeros((3, 2))), image)


def test_only_channels_with_an_offset_are_interpolated():
    image = np.random.default_rng(0).integers(0, 60000, (2, 40, 50), np.uint16)
    field = np.full(image.shape, 2, np.float32)
    aligned = correct_and_align(image, np.array([(0.0, 0.0), (3.0, -2.0)]), field)
    np.testing.assert_array_equal(aligned[0], np.rint(image[0] / 2).astype(np.uint16))
    # A whole number of pixels moves without loss: row 0 shows what was in row 3.
    half = np.rint(image[1] / 2).astype(np.uint16)
    np.testing.assert_array_equal(aligned[1][:-3, 2:], half[3:, :-2])


def test_the_field_is_that_of_the_camera_not_of_the_moved_image():
    """Light is corrected where the camera saw it, before the image moves."""
    field = np.ones((1, 40, 50), np.float32)
    field[0, :, 25:] = 2
    image = np.where(field == 2, 2000, 1000).astype(np.uint16)
    aligned = correct_and_align(image, np.array([(0.0, 6.0)]), field)
    np.testing.assert_array_equal(aligned, 1000)


def test_values_are_rounded_once_and_clipped():
    image = np.array([[[7, 65535, 3]]], np.uint16)
    field = np.array([[[2, 0.5, 2]]], np.float32)
    np.testing.assert_array_equal(
        correct_and_align(image, np.zeros((1, 2)), field), [[[4, 65535, 2]]]
    )


@pytest.mark.parametrize("count", [1, 4])
def test_the_table_has_a_row_for_each_channel(count):
    found = estimate_channel_alignment(np.zeros((count, 64, 64), np.uint16), 0)
    names = [f"C{k}" for k in range(count)]
    table = channel_alignment_table(found, names, 1.0)
    assert list(table) == ["channel", "dy", "dx", "residual", "correlation", "flagged"]
    assert table["channel"].tolist() == names
    assert not table["flagged"].any()
    assert not np.any([table["dy"], table["dx"]])
