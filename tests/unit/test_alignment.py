"""Simulated drift and colour shifts are found, saved and undone."""

from dataclasses import replace

import numpy as np
import pytest

from lib.sbs.alignment import (
    alignment_table,
    apply_alignment,
    common_area,
    corner_shifts,
    estimate_alignment,
    shifts_of_rows,
)
from lib.sbs.spot_registration import turns_from

CHANNELS = ["DAPI", "G", "T", "A", "C"]
COLOUR = np.array([[0, 0], [0.4, -0.3], [-0.5, 0.6], [0.7, 0.2], [-0.6, -0.5]])
SIZE = 320


def render(points, amplitudes, sigma):
    """Gaussians of (n,) amplitudes at exact (n, 2) points."""
    axis = np.arange(SIZE)
    rows = np.exp(-((axis[:, None] - points[:, 0]) ** 2) / (2 * sigma**2))
    columns = np.exp(-((axis[:, None] - points[:, 1]) ** 2) / (2 * sigma**2))
    return (rows * amplitudes) @ columns.T


def tile(cycles=6, seed=0, dapi=True, turns=None):
    """A stack (T, C, Y, X) uint16 of nuclei and reads, with its true offsets (T, C, 2).

    `turns` (T, 2, 2) turn each cycle about the middle of the tile.
    """
    rng = np.random.default_rng(seed)
    nuclei = rng.uniform(0, SIZE, (60, 2))
    reads = rng.uniform(0, SIZE, (500, 2))
    brightness = rng.lognormal(6, 0.4, len(reads))
    drift = rng.uniform(-12, 12, (cycles, 2))
    drift[0] = 0
    stack = np.empty((cycles, 5, SIZE, SIZE), np.uint16)
    offsets = drift[:, None] + COLOUR
    ahead = np.eye(2) + (np.zeros((cycles, 2, 2)) if turns is None else turns)
    middle = (SIZE - 1) / 2
    for t in range(cycles):
        lying = [(places - middle) @ ahead[t].T + middle for places in (nuclei, reads)]
        base = rng.integers(1, 5, len(reads))
        for c in range(5):
            glow = render(lying[0] + offsets[t, c], np.full(len(nuclei), 900 if c == 0 else 60), 6)
            light = 0 if c == 0 else render(lying[1] + offsets[t, c], brightness * (base == c), 1.2)
            stack[t, c] = rng.poisson(100 + glow + light)
    if not dapi:
        stack[2, 0] = 0
    return stack, offsets


def test_offsets_are_found_to_a_tenth_of_a_pixel():
    stack, truth = tile()
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    error = np.hypot(*np.moveaxis(found.offsets - truth, 2, 0))
    assert np.median(error) < 0.1 and error.max() < 0.25
    np.testing.assert_array_equal(found.offsets[0, 0], 0)
    assert np.nanmax(found.residual) < 0.3
    assert not found.turns.any()  # none is seen where there is none
    aligned = apply_alignment(stack, found.offsets, found.turns)
    inside = np.s_[20:-20, 20:-20]
    before, after = (
        np.corrcoef(image[0, 0][inside].ravel(), image[3, 0][inside].ravel())[0, 1]
        for image in (stack, aligned)
    )
    assert before < 0.6 and after > 0.95


@pytest.mark.parametrize("count", [2, 3])
def test_channels_of_fewer_colours_meet(count):
    """Bases without light and, in two channels, one that shines in both."""
    four, truth = tile()
    shown = {2: [[1, 2], [2, 3]], 3: [[1], [2], [3]]}[count]
    stack, offsets = four[:, : count + 1].copy(), truth[:, : count + 1]
    for c, bases in enumerate(shown, start=1):
        planes = [four[:, b] for b in bases]
        # The other base's plane is moved to where this channel shows it.
        moved = [
            apply_alignment(plane[:, None], (truth[:, b] - truth[:, c])[:, None])[:, 0]
            for plane, b in zip(planes, bases, strict=True)
        ]
        stack[:, c] = np.minimum(sum(plane.astype(np.uint32) for plane in moved), 65535)
    found = estimate_alignment(stack, list(range(1, count + 1)), 0)
    error = np.hypot(*np.moveaxis(found.offsets - offsets, 2, 0))
    assert np.median(error) < 0.1 and error.max() < 0.25


def test_turned_cycles_are_turned_back():
    turns = turns_from(np.array([0, 0.5, -0.4]), np.array([1, 1, 1.003]))
    stack, truth = tile(cycles=3, turns=turns)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    corner = np.hypot(SIZE, SIZE) / 2
    assert np.abs(found.turns - turns[:, None]).max() * corner < 0.15  # of 2 px
    error = found.offsets - truth
    assert np.abs(error - error[0]).max() < 0.1
    assert np.nanmax(found.spot_residual) < 0.3 and np.nanmax(found.residual) < 0.3
    table = alignment_table(found, [1, 2, 3], CHANNELS, limit=0.5)
    assert table["rotation"][5] == pytest.approx(0.5, abs=0.03)
    assert table["scale"][10] == pytest.approx(1.003, abs=5e-4)
    assert not table["flagged"].any()

    aligned = apply_alignment(stack, found.offsets, found.turns)
    shifted = apply_alignment(stack, found.offsets, 0 * found.turns)
    corners = np.s_[20:80, 20:80]
    for t in (1, 2):
        far, near = (
            np.corrcoef(image[0, 0][corners].ravel(), image[t, 0][corners].ravel())[0, 1]
            for image in (shifted, aligned)
        )
        assert near > max(far, 0.95)


def sharp_nuclei(sign, cycles=6):
    """Nuclei with outlines; in the base channels they stand out, or are missing, from a glow
    that is brightest beside them."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.mgrid[20:SIZE:40, 20:SIZE:40], -1).reshape(-1, 2)
    nuclei = grid + rng.uniform(-6, 6, grid.shape)
    reads = rng.uniform(0, SIZE, (500, 2))
    brightness = rng.lognormal(6, 0.4, len(reads))
    drift = np.vstack([[0, 0], rng.uniform(-12, 12, (cycles - 1, 2))])
    offsets = drift[:, None] + COLOUR + np.array([[0, 0]] + 4 * [[1.5, -1.2]])
    axis = np.arange(SIZE)
    stack = np.empty((cycles, 5, SIZE, SIZE), np.uint16)
    for t, c in np.ndindex(stack.shape[:2]):
        centres = (nuclei + offsets[t, c]).T[:, :, None, None]
        away = np.hypot(axis[:, None] - centres[0], axis - centres[1]).min(axis=0)
        light = (900 if c == 0 else 100 * sign) / (1 + np.exp((away - 9) / 0.8))
        if c > 0:
            shines = rng.integers(1, 5, len(reads)) == c
            light += render(reads + offsets[t, c], brightness * shines, 1.2)
            light += render(nuclei + offsets[t, c] + [6, 2], np.full(len(nuclei), 300), 9)
        stack[t, c] = rng.poisson(np.maximum(150 + light, 1))
    return stack, offsets


@pytest.mark.parametrize("sign", [1, -1])
def test_stain_and_bases_meet_at_the_outlines_of_nuclei(sign):
    stack, truth = sharp_nuclei(sign)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    error = np.hypot(*np.moveaxis(found.offsets - truth, 2, 0))
    assert error.max() < 0.3


def test_cycle_without_stain_is_aligned_by_its_bases():
    stack, truth = tile(dapi=False)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    error = np.hypot(*np.moveaxis(found.offsets - truth, 2, 0))
    assert error[2, 1:].max() < 0.25
    assert np.isnan(found.residual[2, 0]) and np.isfinite(found.residual[2, 1:]).all()


def test_no_stain_at_all():
    stack, truth = tile()
    found = estimate_alignment(stack[:, 1:], [0, 1, 2, 3], None)
    relative = truth[:, 1:] - truth[:, 1:].mean(axis=(0, 1))
    error = found.offsets - found.offsets.mean(axis=(0, 1)) - relative
    assert np.hypot(*np.moveaxis(error, 2, 0)).max() < 0.2


def test_chromatic_alignment_can_be_left_out():
    stack, _ = tile()
    found = estimate_alignment(stack, [1, 2, 3, 4], 0, chromatic=False)
    np.testing.assert_array_equal(found.offsets[:, 0], found.offsets[:, 3])


def test_one_cycle_and_empty_tiles_are_not_moved():
    found = estimate_alignment(tile(cycles=1)[0], [1, 2, 3, 4], 0, chromatic=False)
    np.testing.assert_array_equal(found.offsets, 0)
    empty = estimate_alignment(np.full((3, 5, 64, 64), 100, np.uint16), [1, 2, 3, 4], 0)
    np.testing.assert_array_equal(empty.offsets, 0)
    assert np.isnan(empty.residual).all()


def test_a_cycle_that_cannot_be_aligned_is_flagged():
    stack, _ = tile()
    stack[4] = tile(seed=9)[0][4]  # another field: nothing to align
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    table = alignment_table(found, range(1, 7), CHANNELS, limit=0.5)
    flagged = set(np.asarray(table["cycle"])[table["flagged"]])
    assert flagged == {5}


def test_table_has_one_row_per_plane():
    stack, truth = tile(cycles=3)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    table = alignment_table(found, [1, 2, 4], CHANNELS, limit=0.5)
    assert table["cycle"].tolist() == [1] * 5 + [2] * 5 + [4] * 5
    assert table["channel"].tolist() == CHANNELS * 3
    assert table["dy"][7] == pytest.approx(truth[1, 2, 0], abs=0.2)
    assert not table["flagged"].any()


def test_common_area_is_what_all_planes_cover():
    offsets = np.array([[[0, 0], [2.2, -1.5]], [[-3.1, 0], [0, 4]]])
    # A plane moved by +2.2 px lacks the last three rows of the frame, and so on.
    assert common_area(offsets, (100, 90)) == (slice(4, 97), slice(2, 86))
    turns = np.zeros((2, 2, 2, 2))
    corners = corner_shifts(offsets, turns, (100, 90))
    assert corners.shape == (2, 2, 4, 2)
    assert common_area(corners, (100, 90)) == (slice(4, 97), slice(2, 86))
    # Magnified by 2 %, a plane ends 1 px before the frame above and below, 0.9 px at the sides.
    turns[1, 0] = 0.02 * np.eye(2)
    corners = corner_shifts(offsets, turns, (100, 90))
    assert common_area(corners, (100, 90)) == (slice(5, 97), slice(2, 86))


def test_tables_hold_what_was_undone():
    stack, _ = tile(cycles=2)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    turned = turns_from(np.array([[0.2], [-0.1]]), np.array([[1.001], [0.998]]))
    found = replace(found, turns=np.repeat(turned, 5, axis=1))
    table = alignment_table(found, [1, 2], CHANNELS, limit=0.5)
    rows = [{name: str(column[k]) for name, column in table.items()} for k in range(10)]
    offsets, turns = shifts_of_rows(rows)
    np.testing.assert_allclose(offsets.reshape(2, 5, 2), found.offsets, atol=1e-4)
    np.testing.assert_allclose(turns.reshape(2, 5, 2, 2), found.turns, atol=1e-7)
    assert shifts_of_rows([])[1].shape == (0, 2, 2)


def test_a_part_that_is_off_flags_the_cycle():
    stack, _ = tile(cycles=3)
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    assert not alignment_table(found, [1, 2, 3], CHANNELS, limit=0.5)["flagged"].any()
    found = replace(found, local_residual=np.array([0.1, 0.7, np.nan]))
    table = alignment_table(found, [1, 2, 3], CHANNELS, limit=0.5)
    assert set(np.asarray(table["cycle"])[table["flagged"]]) == {2}


def test_apply_rounds_and_clips():
    stack = np.array([[[[0, 65535, 65535, 0]] * 4]], np.uint16)
    moved = apply_alignment(stack, np.array([[[0, 0.5]]]), np.zeros((1, 1, 2, 2)))
    assert moved.dtype == np.uint16
    # Keys' kernel half-way: (-1, 9, 9, -1) / 16, edges repeated; the overshoot is clipped.
    assert moved[0, 0, 1].tolist() == [32768, 65535, 32768, 0]


def test_spots_that_meet_by_chance_only_are_flagged():
    stack, _ = tile()
    found = estimate_alignment(stack, [1, 2, 3, 4], 0)
    apart = found.spot_residual.copy()
    apart[2, 1:] = [1.3, 1.4, 0.9, np.nan]
    table = alignment_table(replace(found, spot_residual=apart), range(6), CHANNELS, limit=0.5)
    assert set(np.asarray(table["cycle"])[table["flagged"]]) == {2}


def test_tables_without_turns_are_read():
    offsets, turns = shifts_of_rows([{"dy": "1.5", "dx": "-2"}])
    np.testing.assert_array_equal(offsets, [[1.5, -2]])
    np.testing.assert_array_equal(turns, np.zeros((1, 2, 2)))
