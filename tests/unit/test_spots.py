"""Spot detection on images whose spots are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_laplace, maximum_filter

from lib.sbs.spots import (
    AUTO_DEVIATIONS,
    LEAST_AUTO,
    background_limit,
    edge_reach,
    find_peaks,
    find_spots,
    log_filter,
    max_filter,
    near_cells,
    spot_score,
    spots_table,
)

SHAPE, CYCLES, BASES = (120, 150), 5, 4
SIGMA = 1.2


def gaussians(centres, amplitude, shape=SHAPE):
    """(Y, X) sum of Gaussian spots at (n, 2) sub-pixel centres."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for i, j in centres:
        image += amplitude * np.exp(-((y - i) ** 2 + (x - j) ** 2) / (2 * SIGMA**2))
    return image


def grid(rng, step=15, margin=12, shape=SHAPE):
    """Sub-pixel places (n, 2), one in each square of `step` px."""
    axes = [np.arange(margin, size - margin + 1, step, dtype=float) for size in shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return places + rng.uniform(-0.5, 0.5, places.shape)


def screen(places, amplitude=800.0, noise=10.0, seed=0):
    """(T, C, Y, X) uint16 of reads of random bases at (n, 2) places, and the bases (n, T)."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, BASES, (len(places), CYCLES))
    bases[:, 0], bases[:, 1] = np.arange(len(places)) % BASES, (np.arange(len(places)) + 1) % BASES
    stack = 300 + rng.normal(0, noise, (CYCLES, BASES, *SHAPE))
    for t in range(CYCLES):
        for c in range(BASES):
            stack[t, c] += gaussians(places[bases[:, t] == c], amplitude)
    return np.rint(stack).astype(np.uint16), bases


def nearest(places, spots):
    """Distance (n, 2) and index (n,) of the spot nearest to each place."""
    found = np.stack([spots.i, spots.j], axis=1)
    offset = found[None] - places[:, None]
    index = np.hypot(*np.moveaxis(offset, -1, 0)).argmin(axis=1)
    return offset[np.arange(len(places)), index], index


# ---------------------------------------------------------------- whole detection


def test_known_spots_are_found_where_they_are_and_show_their_bases():
    places = grid(np.random.default_rng(1))
    stack, bases = screen(places)
    spots = find_spots(*log_filter(stack))
    assert len(spots.peak) == len(places) == 63
    offset, index = nearest(places, spots)
    assert sorted(index) == list(range(len(places)))
    assert np.abs(offset).max() < 0.15
    assert np.abs(offset.mean(axis=0)).max() < 0.03
    np.testing.assert_array_equal(spots.intensity[index].argmax(axis=2), bases)
    assert spots.i.dtype == spots.j.dtype == spots.intensity.dtype == np.float32


def test_reads_that_are_dark_in_some_cycles_are_found():
    """Two colours: base 0 is dark, base 2 shines in both channels."""
    places = grid(np.random.default_rng(1))
    stack, bases = screen(places)
    two = np.stack([stack[:, 1] + (stack[:, 2] - 300), stack[:, 3] + (stack[:, 2] - 300)], axis=1)
    spots = find_spots(*log_filter(two))
    bright = (bases > 0).sum(axis=1) > 1
    offset, index = nearest(places[bright], spots)
    assert np.abs(offset).max() < 0.25
    assert len(spots.peak) == len(places)
    shines = spots.intensity[index] > 0.5 * np.quantile(spots.intensity, 0.9)
    expected = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], bool)[bases[bright]]
    np.testing.assert_array_equal(shines, expected)


def test_noise_alone_and_constant_images_have_no_spots():
    stack, _ = screen(np.zeros((0, 2)))
    assert len(find_spots(*log_filter(stack)).peak) == 0
    flat = find_spots(*log_filter(np.full_like(stack, 700)))
    assert flat.intensity.shape == (0, CYCLES, BASES)
    assert not flat.score.any()


def test_what_shines_alike_in_all_cycles_is_no_read():
    places = grid(np.random.default_rng(2))
    debris, reads = places[::2], places[1::2]
    stack, _ = screen(reads)
    bright = np.rint(stack + gaussians(debris, 3000)).astype(np.uint16)
    spots = find_spots(*log_filter(bright))
    assert len(spots.peak) == len(reads)
    assert np.abs(nearest(reads, spots)[0]).max() < 0.15


def test_an_empty_channel_loses_no_spot():
    places = grid(np.random.default_rng(3))
    stack, bases = screen(places)
    stack[:, 2] = 0
    spots = find_spots(*log_filter(stack))
    seen = (bases != 2).any(axis=1) & (np.array([len(set(b[b != 2])) for b in bases]) > 0)
    offset, _ = nearest(places[seen], spots)
    assert np.abs(offset).max() < 0.3
    assert np.isfinite(spots.score).all()


def test_border_and_area_keep_spots_out():
    places = grid(np.random.default_rng(4))
    filtered, noise = log_filter(screen(places)[0])
    every = find_spots(filtered, noise, border=0)
    rows, columns = np.rint(every.i), np.rint(every.j)

    spots = find_spots(filtered, noise, border=30)
    within = (rows >= 30) & (rows < 90) & (columns >= 30) & (columns < 120)
    assert len(spots.peak) == within.sum() > 0
    assert spots.i.min() >= 29.5 and spots.i.max() <= 89.5

    area = (slice(0, 60), slice(50, 150))
    spots = find_spots(filtered, noise, spot_limit(every), border=0, area=area)
    within = (rows < 60) & (columns >= 50)
    assert len(spots.peak) == within.sum() > 0

    assert len(find_spots(filtered, noise, border=60).peak) == 0


def spot_limit(spots):
    """A threshold that all of `spots` reach."""
    return float(spots.peak.min()) * 0.99


def test_a_threshold_is_in_units_of_the_noise():
    places = grid(np.random.default_rng(5))
    stack, _ = screen(places)
    filtered, noise = log_filter(stack)
    spots = find_spots(filtered, noise, threshold=10.0)
    assert spots.threshold == 10
    assert spots.peak.min() >= 10
    louder = find_spots(filtered * 8, noise * 8, threshold=10.0)
    np.testing.assert_allclose(louder.peak, spots.peak, rtol=1e-5)
    none = find_spots(filtered, noise, threshold=float(spots.peak.max()) + 1)
    assert len(none.peak) == 0
    assert not none.peaks.any()


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_log_filter_is_the_negative_laplacian_of_gaussian_of_scipy(sigma):
    rng = np.random.default_rng(6)
    stack = rng.integers(200, 3000, (2, 3, 40, 50)).astype(np.uint16)
    filtered, noise = log_filter(stack, sigma)
    for t, c in np.ndindex(2, 3):
        reference = -gaussian_laplace(stack[t, c].astype(float), sigma, mode="reflect")
        tolerance = 2e-3 * reference.max()
        np.testing.assert_allclose(filtered[t, c], np.maximum(reference, 0), atol=tolerance)
    assert noise.shape == (3,)


def test_log_filter_measures_the_noise():
    rng = np.random.default_rng(7)
    stack = rng.normal(500, [[[[20]], [[40]]]], (3, 2, 200, 200)).astype(np.float32)
    _, noise = log_filter(stack)
    expected = [-gaussian_laplace(stack[0, c].astype(float), 1.0) for c in range(2)]
    np.testing.assert_allclose(noise, [image.std() for image in expected], rtol=0.05)


def test_log_filter_divides_by_the_field_first():
    rng = np.random.default_rng(8)
    stack = rng.integers(200, 3000, (2, 2, 30, 30)).astype(np.uint16)
    field = np.full((2, 30, 30), 2, np.float32)
    np.testing.assert_allclose(
        log_filter(stack, 1.0, field)[0], log_filter(stack)[0] / 2, rtol=1e-4, atol=1e-2
    )


def test_score_computed_by_hand():
    filtered = np.zeros((2, 2, 1, 2), np.float32)
    filtered[:, 0, 0, 0] = [0, 6]  # deviation 3, in units of 2: 1.5
    filtered[:, 1, 0, 0] = [10, 2]  # deviation 4, in units of 4: 1
    filtered[:, :, 0, 1] = 9  # alike in both cycles
    noise = np.array([2.0, 4.0])
    np.testing.assert_allclose(spot_score(filtered, noise), [[1.25, 0]])
    np.testing.assert_allclose(spot_score(filtered, np.array([2.0, 0.0])), [[0.75, 0]])
    # Of a single cycle the deviation from zero: 6 / 2 and 2 / 4.
    np.testing.assert_allclose(spot_score(filtered[1:], noise), [[1.75, (4.5 + 2.25) / 2]])


def test_peaks_computed_by_hand():
    score = np.array(
        [
            [0, 0, 0, 0, 0],
            [0, 5, 5, 0, 1],
            [0, 5, 4, 0, 0],
            [0, 0, 0, 0, 0],
            [2, 0, 0, 3, 0],
        ],
        np.float32,
    )
    expected = np.zeros_like(score)
    expected[1, 1], expected[1, 4], expected[4, 0], expected[4, 3] = 5, 1, 2, 3
    np.testing.assert_array_equal(find_peaks(score, 3), expected)
    # In a wider window only the 5 that comes first is left.
    np.testing.assert_array_equal(find_peaks(score, 5), np.where(expected == 5, 5, 0))


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, (12, 13), elements=st.integers(0, 4)),
    st.sampled_from([3, 5]),
)
def test_peaks_are_maxima_and_no_two_lie_in_one_window(values, window):
    score = values.astype(np.float32)
    peaks = find_peaks(score, window)
    at = peaks > 0
    np.testing.assert_array_equal(peaks[at], score[at])
    highest = maximum_filter(score, window, mode="nearest")
    np.testing.assert_array_equal(score[at], highest[at])
    rows, columns = np.nonzero(at)
    apart = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    np.fill_diagonal(apart, 99)
    assert (apart > window // 2).all()
    # The highest value of the tile is never lost.
    assert not score.any() or peaks.max() == score.max()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 18), st.integers(1, 18), st.integers(1, 2), st.integers(1, 2))
def test_a_plateau_within_the_window_makes_one_peak(row, column, height, width):
    score = np.zeros((20, 20), np.float32)
    score[row : row + height, column : column + width] = 7
    rows, columns = np.nonzero(find_peaks(score, 3))
    assert (rows.tolist(), columns.tolist()) == ([row], [column])


def test_max_filter_reaches_one_pixel():
    stack = np.random.default_rng(9).random((2, 2, 9, 11), dtype=np.float32)
    expected = maximum_filter(stack, (1, 1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(max_filter(stack), expected)


def test_background_limit_is_not_moved_by_reads():
    score = np.random.default_rng(10).normal(5, 0.5, (200, 200)).astype(np.float32)
    assert background_limit(score) == pytest.approx(5 + AUTO_DEVIATIONS * 0.5, rel=0.05)
    score[::7, ::7] = 200
    assert background_limit(score) == pytest.approx(5 + AUTO_DEVIATIONS * 0.5, rel=0.05)


def test_images_without_any_noise_have_no_spots():
    assert background_limit(np.zeros((50, 50), np.float32)) == LEAST_AUTO
    assert background_limit(np.zeros((0, 50), np.float32)) == LEAST_AUTO


# ---------------------------------------------------------------- cells and table


def test_near_cells_computed_by_hand():
    cells = np.zeros((12, 12), np.int32)
    cells[:, :4] = 1
    cells[:, 6:] = 2
    cells[0, 4] = 3
    rows = np.array([6, 6, 6, 6, 1, 6, 2])
    columns = np.array([0, 3, 4, 7, 4, 11, 5])
    # Far from others; 2 is 3 px away; outside of cells, 1 is nearer than 2; in 2, 4 px from 1;
    # 3 above and 1 beside equally near: reading order; far from others, at the edge of the
    # tile; outside, with 2, 1 and 3 one, two and sqrt(5) px away.
    near, distance = near_cells(cells, rows, columns, reach=4, most=3)
    nearest_first = [[0, 2, 1, 1, 3, 0, 2], [0, 0, 2, 0, 1, 0, 1], [0, 0, 0, 0, 2, 0, 3]]
    assert near.tolist() == nearest_first
    assert distance[:, 0].tolist() == pytest.approx([np.nan] * 3, nan_ok=True)
    assert distance[:, 6].tolist() == pytest.approx([1, 2, np.sqrt(5)])
    assert near_cells(cells, rows, columns, reach=4, most=1)[0].tolist() == nearest_first[:1]
    assert near_cells(cells, rows, columns, 2, 2)[0].tolist() == [
        [0, 0, 1, 0, 3, 0, 2],
        [0, 0, 2, 0, 1, 0, 1],
    ]


def test_reach_grows_with_the_cells():
    cells = np.zeros((200, 200), np.int32)
    assert edge_reach(cells) == 4
    for label, corner in enumerate([10, 80, 150], start=1):
        cells[corner : corner + 44, corner : corner + 44] = label
    # A disk of 44 x 44 px is 49.6 px wide; 0.3 of that are 15 px.
    assert edge_reach(cells) == 15


def test_far_neighbours_are_found_on_the_coarse_grid():
    cells = np.zeros((80, 80), np.int32)
    cells[:, 40:] = 7
    columns = np.arange(40)
    near = near_cells(cells, np.full(40, 40), columns, reach=20, most=1)[0][0]
    # Within a step of 3 px of the exact reach.
    assert (near[columns >= 22] == 7).all() and (near[columns < 20] == 0).all()


def test_table_names_columns_cycle_by_cycle_and_looks_up_the_cell():
    places = grid(np.random.default_rng(11))
    stack, _ = screen(places)
    spots = find_spots(*log_filter(stack))
    cells = np.zeros(SHAPE, np.int32)
    cells[:, 72:] = 9
    place = {"plate": "1", "well": "A1", "tile": "07"}
    table = spots_table(spots, cells, place, [1, 2, 4, 5, 6], list("GTAC"))
    measured = [f"{base}_{cycle}" for cycle in (1, 2, 4, 5, 6) for base in "GTAC"]
    known = ["plate", "well", "tile", "read", "cell", "i", "j", "peak"]
    near = [name for name in table if "near" in name]
    assert list(table) == known + near + measured
    assert near[:2] == ["cell_near_0", "near_px_0"]
    assert (np.isnan(table["near_px_0"]) == (table["cell_near_0"] == 0)).all()
    at_border = np.abs(spots.j - 72) < 2
    assert at_border.sum() > 5
    np.testing.assert_array_equal(
        table["cell_near_0"][at_border], np.where(table["cell"][at_border] == 9, 0, 9)
    )
    np.testing.assert_array_equal(table["cell"], np.where(np.rint(spots.j) >= 72, 9, 0))
    np.testing.assert_array_equal(table["A_4"], spots.intensity[:, 2, 2])
    assert set(table["tile"]) == {"07"}
    assert table["read"].tolist() == list(range(len(spots.peak)))
    assert {len(column) for column in table.values()} == {len(places)}
