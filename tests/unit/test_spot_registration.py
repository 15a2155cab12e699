"""Turned and magnified cycles are told by their spots; what cannot be undone is measured."""

from pathlib import Path

import numpy as np
import pytest
from brain_tile import stack as brain_stack
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sbs.alignment import estimate_alignment
from lib.sbs.spot_registration import (
    bright_points,
    mutual_nearest,
    register_spots,
    rotation_and_scale,
    turns_from,
)
from lib.shared.registration import warp

BRAIN = Path(__file__).parents[3] / "shared/data/iss_mouse_brain"
SHAPE = (900, 1100)
MIDDLE = (np.array(SHAPE) - 1) / 2
CORNER = np.hypot(*SHAPE) / 2
COLOUR = np.array([[0.3, -0.2], [-0.4, 0.5], [0.6, 0.1], [-0.5, -0.4]])


def spots_of(rotation, scale, drift, reads=2000, magnified=(0, 0, 0, 0), seed=0, bend=None):
    """Spots of each cycle and channel as they lie in their plane.

    Each read shines in a random channel of each cycle; a tenth is missing, a fifth is dirt.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, SHAPE, (reads, 2))
    points = []
    for t in range(len(drift)):
        channel = rng.integers(0, 4, reads)
        shown = rng.random(reads) < 0.9
        planes = []
        for c in range(4):
            own = places[shown & (channel == c)] - MIDDLE
            own = own + (bend(own) if bend and t else 0) + rng.normal(0, 0.15, own.shape)
            turn = np.eye(2) + turns_from(rotation[t], scale[t] * (1 + magnified[c]))
            plane = own @ turn.T + MIDDLE + drift[t] + COLOUR[c]
            planes.append(np.vstack([plane, rng.uniform(0, SHAPE, (reads // 20, 2))]))
        points.append(planes)
    return points


def corner_error(found, truth):
    """How far (px) corners lie from where they should, by the turns (..., 2, 2)."""
    return np.hypot(*np.moveaxis((found - truth)[..., 0], -1, 0)) * CORNER


ROTATION = np.array([0, 0.1, -0.06, 0.2])
SCALE = np.array([1, 1.001, 0.9995, 1.0])
DRIFT = np.array([[0, 0], [4.3, -2.2], [-7.1, 3.0], [0.4, 9.5]])


def test_turns_and_magnifications_are_found():
    points = spots_of(ROTATION, SCALE, DRIFT)
    guess = DRIFT + np.array([[0, 0], [0.6, -0.5], [0, 0.7], [-0.4, 0]])  # not quite right
    found = register_spots(points, guess, COLOUR, SHAPE)
    assert corner_error(found.cycle_turns, turns_from(ROTATION, SCALE)).max() < 0.05
    np.testing.assert_allclose(found.drift, DRIFT, atol=0.04)
    np.testing.assert_array_equal(found.channel_turns, 0)
    # Rayleigh: two places that are 0.15 px off along each axis, by sqrt(2 ln 2).
    assert np.abs(found.residual / (0.15 * np.sqrt(2) * 1.177) - 1).max() < 0.25
    assert found.local.max() < 0.12
    # Of the reads 0.9 ** 2 are seen in both cycles.
    assert np.abs(found.matched.sum(axis=1) / (0.81 * 2000) - 1).max() < 0.1


def test_strong_turns_are_followed_outwards_by_few_spots():
    """Corners move by 9 px; within the first circle lie 80 spots."""
    rotation = np.array([0, 0.7, -0.7])
    found = register_spots(spots_of(rotation, np.ones(3), DRIFT[:3], 500), DRIFT[:3], COLOUR, SHAPE)
    assert corner_error(found.cycle_turns, turns_from(rotation, np.ones(3))).max() < 0.1


def test_other_reference_cycle():
    points = spots_of(ROTATION, SCALE, DRIFT)
    found = register_spots(points, DRIFT - DRIFT[2], COLOUR, SHAPE, reference=2)
    rotation, scale = rotation_and_scale(found.cycle_turns)
    np.testing.assert_allclose(rotation, ROTATION - ROTATION[2], atol=0.004)
    np.testing.assert_allclose(scale, SCALE / SCALE[2], atol=7e-5)


def test_magnification_of_channels_is_told_against_their_mean():
    magnified = np.array([0.001, -0.001, 0.0005, 0.0])
    points = spots_of(ROTATION, SCALE, DRIFT, magnified=magnified)
    found = register_spots(points, DRIFT, COLOUR, SHAPE)
    truth = turns_from(np.zeros(4), 1 + magnified - magnified.mean())
    # The last is 0.09 px at the corners, too little to be undone.
    assert corner_error(found.channel_turns[:3], truth[:3]).max() < 0.06
    np.testing.assert_array_equal(found.channel_turns[3], 0)
    left_out = register_spots(points, DRIFT, COLOUR, SHAPE, chromatic=False)
    np.testing.assert_array_equal(left_out.channel_turns, 0)
    np.testing.assert_array_equal(left_out.colour, COLOUR)


@pytest.mark.parametrize(
    "rotation, reads", [(0.0, 2000), (0.005, 2000), (0.2, 120)], ids=["even", "slight", "few spots"]
)
def test_nothing_is_undone_without_need_or_proof(rotation, reads):
    points = spots_of([0, rotation, rotation], [1, 1, 1], DRIFT[:3], reads)
    found = register_spots(points, DRIFT[:3], COLOUR, SHAPE)
    np.testing.assert_array_equal(found.drift, DRIFT[:3])
    np.testing.assert_array_equal(found.colour, COLOUR)
    assert not found.cycle_turns.any() and not found.channel_turns.any()


def test_other_distortions_show_in_the_worst_part():
    def bend(place):  # one corner is pulled by up to a pixel, nothing else moves
        pull = np.clip(place / MIDDLE, 0, 1).prod(axis=1)
        return np.stack([pull, pull], axis=1)

    points = spots_of([0, 0, 0], [1, 1, 1], DRIFT[:3], bend=bend)
    found = register_spots(points, DRIFT[:3], COLOUR, SHAPE)
    assert (found.local[1:] > 0.3).all()
    # The whole is hardly worse than without: most of the tile is where it should be.
    assert found.residual[1:].max() < 0.4


def test_cycles_of_unlike_spots_are_left_alone():
    points = spots_of([0, 0], [1, 1], DRIFT[:2])
    points[1] = spots_of([0], [1], DRIFT[:1], seed=5)[0]
    found = register_spots(points, DRIFT[:2], COLOUR, SHAPE)
    assert not found.cycle_turns.any()
    np.testing.assert_array_equal(found.drift, DRIFT[:2])


def test_no_spots_and_one_cycle():
    nothing = [[np.zeros((0, 2))] * 4] * 3
    found = register_spots(nothing, DRIFT[:3], COLOUR, SHAPE)
    assert (
        not found.matched.any() and np.isnan(found.residual).all() and np.isnan(found.local).all()
    )
    one = register_spots(spots_of([0], [1], DRIFT[:1]), DRIFT[:1], COLOUR, SHAPE)
    np.testing.assert_array_equal(one.drift, DRIFT[:1])
    assert not one.matched.any()


def test_bright_points_lie_between_pixels():
    places = np.array([[20.3, 30.4], [40.0, 12.75], [55.6, 55.1], [0.0, 8.0]])
    heights = np.array([5.0, 9.0, 7.0, 6.0])
    axis = np.arange(64)
    rows = np.exp(-((axis[:, None] - places[:, 0]) ** 2) / (2 * 1.5**2))
    columns = np.exp(-((axis[:, None] - places[:, 1]) ** 2) / (2 * 1.5**2))
    image = ((rows * heights) @ columns.T).astype(np.float32)
    found = bright_points(image, 2.0)
    assert len(found) == 3  # none at the edge
    np.testing.assert_allclose(found[found[:, 0].argsort()], places[:3], atol=0.05)
    assert len(bright_points(image, 5.5)) == 2
    two = bright_points(image, 2.0, most=2)
    np.testing.assert_allclose(np.sort(two[:, 0]), [40.0, 55.6], atol=0.05)
    assert bright_points(np.zeros((8, 8), np.float32), 1.0).shape == (0, 2)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 40),
    other=st.integers(0, 40),
    radius=st.floats(0.5, 5),
)
def test_pairs_are_those_of_a_full_search(seed, count, other, radius):
    rng = np.random.default_rng(seed)
    # A pixel each, so that all are seen; some a little outside of the image.
    cells = rng.permutation(40 * 30)[: count + other]
    points = np.stack(np.divmod(cells, 30), 1) + rng.uniform(-0.49, 0.49, (count + other, 2))
    one, two = points[:count], points[count:]
    distance = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1))
    expected = {
        (i, j)
        for i in range(count)
        for j in range(other)
        if distance[i, j] < radius and distance[i].min() == distance[i, j] == distance[:, j].min()
    }
    found = mutual_nearest(one, two, (40, 30), radius)
    assert set(zip(*(index.tolist() for index in found), strict=True)) == expected


@given(st.floats(-2, 2), st.floats(0.98, 1.02))
def test_rotation_and_scale_make_the_turn_again(rotation, scale):
    turn = turns_from(rotation, scale)
    assert rotation_and_scale(turn) == pytest.approx((rotation, scale), abs=1e-9)
    # Counter-clockwise: what lies to the right (0, 1) goes up, to a smaller row.
    moved = (np.eye(2) + turn) @ [0, 1]
    assert np.hypot(*moved) == pytest.approx(scale)
    assert np.sign(moved[0]).round() == -np.sign(rotation) or abs(rotation) < 1e-12


@pytest.mark.skipif(not BRAIN.exists(), reason="needs the shared test images")
def test_turns_of_a_real_tile_are_found():
    stack = brain_stack(BRAIN)
    rotation, scale = np.array([0, 0.1, -0.06, 0.15]), np.array([1, 1.001, 1, 0.9993])
    turns = turns_from(rotation, scale)
    back = np.linalg.inv(np.eye(2) + turns) - np.eye(2)
    turned = stack.copy()
    for t, c in np.ndindex(4, 4):
        turned[t, c] = np.clip(
            np.rint(warp(stack[t, c], np.array([3.0, -2.0]) * t, back[t])), 0, 65535
        )
    before, after = (estimate_alignment(s, range(4)) for s in (stack, turned))
    # The tile itself is not free of turns, and the channels do not differ in what is added.
    added = (after.turns - before.turns).mean(axis=1)
    assert np.hypot(*(added - turns)[..., 0].T).max() * 707 < 0.15  # px at the corners, of 2
    assert np.nanmax(after.local_residual) < 0.5
