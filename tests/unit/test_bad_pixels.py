"""Pixels of the camera that are always bright or dark are filled, and reads are left alone."""

import numpy as np
import pytest

from lib.sbs.bad_pixels import fill_bad_pixels

SIZE, CYCLES = 200, 5


def cycles_of_reads(still=False, sigma=0.9, seed=0):
    """Cycles (T, 1, Y, X) uint16 of reads that drift, each bright in a quarter of them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(5, SIZE - 5, (400, 2))
    brightness = rng.lognormal(7, 0.5, len(points))
    axis = np.arange(SIZE)
    stack = np.empty((CYCLES, 1, SIZE, SIZE), np.uint16)
    for t in range(CYCLES):
        at = points if still else points + rng.uniform(-9, 9, 2)
        bright = brightness * (still | (rng.random(len(points)) < 0.25))
        rows, columns = (
            np.exp(-((axis[:, None] - at[:, k]) ** 2) / (2 * sigma**2)) for k in (0, 1)
        )
        stack[t, 0] = rng.poisson(200 + (rows * bright) @ columns.T)
    return stack


def test_bad_pixels_are_found_and_nothing_else():
    stack = cycles_of_reads()
    clean = stack.copy()
    rng = np.random.default_rng(1)
    bad = np.zeros((SIZE, SIZE), bool)
    bad[::4, ::4] = rng.random((SIZE // 4, SIZE // 4)) < 0.03
    bad[0, 0] = bad[-1, 50] = bad[72, 0] = True  # corner and edges
    hot = bad & (rng.random(bad.shape) < 0.7)
    stack[:, 0, hot] += rng.integers(400, 900, hot.sum()).astype(np.uint16)
    stack[:, 0, bad & ~hot] = 3

    assert fill_bad_pixels(stack, [0]) == bad.sum()
    np.testing.assert_array_equal(stack[:, 0, ~bad], clean[:, 0, ~bad])
    # A read under a bad pixel is lost in part; without one, only the noise differs.
    off = stack[:, 0, bad].astype(float) - clean[:, 0, bad]
    assert np.median(np.abs(off)) < 20


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("sigma", [0.8, 1.2])
def test_reads_are_no_bad_pixels(still, sigma):
    """Not even where the sample stands still and a read is bright in all cycles."""
    stack = cycles_of_reads(still, sigma)
    before = stack.copy()
    assert fill_bad_pixels(stack, [0]) == 0
    np.testing.assert_array_equal(stack, before)


def test_the_median_of_the_neighbours_is_filled_in():
    stack = np.full((3, 2, 5, 5), 100, np.uint16)
    stack[:, :, 0, 0] = 110  # no plane is constant
    stack[:, :, 1:4, 1:4] = np.array([[101, 102, 103], [104, 999, 106], [107, 108, 109]])
    assert fill_bad_pixels(stack, [1]) == 1
    assert (stack[:, 1, 2, 2] == 105).all() and (stack[:, 0, 2, 2] == 999).all()


def test_too_few_cycles_to_tell():
    stack = np.full((4, 1, 9, 9), 100, np.uint16)
    stack[:2, 0, 4, 4] = 900  # the other two planes are missing
    assert fill_bad_pixels(stack, [0]) == 0
    assert (stack[:2, 0, 4, 4] == 900).all()
