"""Known shifts are found and undone."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lib.shared.registration import (
    band_pass,
    blur,
    keys_kernel,
    measure_outline_shift,
    measure_shift,
    spectrum,
    translate,
    warp,
)


def scene(shape, shift=(0.0, 0.0), seed=0, spots=150):
    """Gaussian spots rendered exactly where they lie, moved by `shift`."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    for i, j in rng.uniform(20, np.array(shape) - 20, (spots, 2)) + shift:
        image += np.exp(-((rows - i) ** 2 + (columns - j) ** 2) / 4.5).astype(np.float32)
    return image


@settings(max_examples=25, deadline=None)
@given(st.floats(-12, 12), st.floats(-12, 12), st.sampled_from([(128, 160), (151, 127)]))
def test_shift_is_measured_to_hundredths(dy, dx, shape):
    found = measure_shift(spectrum(scene(shape)), spectrum(scene(shape, (dy, dx))), 20)
    assert (found.dy, found.dx) == pytest.approx((dy, dx), abs=0.05)
    assert 0.8 < found.correlation < 1.001 and found.clarity > 6


def test_an_image_correlates_with_itself():
    still = spectrum(scene((96, 128)))
    assert measure_shift(still, still, 5) == pytest.approx((0, 0, 1, 25), abs=1e-3, rel=1)
    assert measure_shift(still, still, 5).correlation == pytest.approx(1, abs=1e-4)


def test_shift_search_is_bounded():
    still, moved = spectrum(scene((96, 96))), spectrum(scene((96, 96), (9, 0)))
    assert abs(measure_shift(still, moved, 4).dy) <= 4.5
    assert measure_shift(still, moved, 4, centre=(8, 0)).dy == pytest.approx(9, abs=0.05)


def test_constant_image_gives_no_clear_shift():
    flat = spectrum(np.full((64, 64), 7, np.uint16))
    assert measure_shift(flat, flat, 5).clarity == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(-9, 9), st.floats(-9, 9))
def test_translate_undoes_a_shift(dy, dx):
    # Few spots, which hardly overlap: the bound is a share of the height of one.
    reference, moved = (scene((90, 80), shift, spots=12) for shift in ((0, 0), (dy, dx)))
    inside = np.s_[12:-12, 12:-12]
    assert np.abs(translate(moved, dy, dx) - reference)[inside].max() < 0.03


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.sampled_from([1, -1]))
def test_outlines_are_matched_whatever_the_brightness(dy, dx, sign):
    """Discs against the same discs, or holes, under a glow that lies beside them."""
    rows, columns = np.mgrid[:160, :140].astype(np.float32)

    def discs(dy, dx):
        centres = np.random.default_rng(0).uniform(15, 125, (12, 2)) + np.array([dy, dx])
        away = np.min([np.hypot(rows - i, columns - j) for i, j in centres], axis=0)
        glow = sum(np.exp(-((rows - i - 6) ** 2 + (columns - j) ** 2) / 200) for i, j in centres)
        return 1 / (1 + np.exp((away - 8) / 0.8)), glow

    still, (moved, glow) = discs(0, 0)[0], discs(dy, dx)
    other = 0.2 * sign * moved + glow
    found = measure_outline_shift(sign * still, other, (1, 3), 5)
    assert (found.dy, found.dx) == pytest.approx((dy, dx), abs=0.15) and found.clarity > 6


def test_translate_by_whole_pixels_is_exact_and_repeats_edges():
    image = np.random.default_rng(0).integers(0, 60000, (20, 30)).astype(np.uint16)
    moved = translate(image, 3, -2)
    np.testing.assert_array_equal(moved[:-3, 2:], image[3:, :-2])
    np.testing.assert_array_equal(moved[-3:, 2:], np.repeat(image[-1:, :-2], 3, axis=0))


def test_warp_undoes_a_shift_and_a_turn():
    rng = np.random.default_rng(4)
    turn, offset = np.array([[0.002, -0.01], [0.01, 0.002]]), np.array([2.3, -1.6])
    middle = np.array([47.5, 63.5])
    places = rng.uniform(15, 80, (30, 2))
    rows, columns = np.arange(96)[:, None], np.arange(128)

    def drawn(points):
        return sum(np.exp(-((rows - i) ** 2 + (columns - j) ** 2) / 4.5) for i, j in points)

    turned = drawn(places + offset + (places - middle) @ turn.T).astype(np.float32)
    undone = warp(turned, offset, turn)
    assert undone.dtype == np.float32
    np.testing.assert_allclose(undone[8:-8, 8:-8], drawn(places)[8:-8, 8:-8], atol=0.03)
    still = warp(turned, offset, np.zeros((2, 2)))
    np.testing.assert_array_equal(still, translate(turned, *offset))


def test_keys_kernel_reproduces_quadratics():
    for fraction in (0.0, 0.25, 0.5, 0.9):
        weights, x = keys_kernel(fraction), np.arange(-1, 3)
        for power in range(3):
            assert weights @ x**power == pytest.approx(fraction**power, abs=1e-6)


def test_wide_blur_equals_scipy():
    image = np.random.default_rng(1).normal(size=(200, 240)).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 6)
    truth = ndimage.gaussian_filter(image, 12, mode="mirror")
    assert np.abs(blur(image, 12) - truth)[30:-30, 30:-30].max() < 0.1 * truth.std()
    assert abs(band_pass(np.full((50, 50), 3.0), 1, 8)).max() < 1e-4
