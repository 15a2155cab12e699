"""Base calling on intensities whose bases, gains and crosstalk are known."""

import numpy as np
import pytest

from lib.sbs.base_calling import (
    base_quality,
    call_bases,
    channel_scale,
    confident_reads,
    dark_level,
    median_crosstalk,
    percentile_crosstalk,
    spell,
)

# Column b: what a spot of base b shows in each channel, sum 1.
CROSSTALK = np.array(
    [
        [0.70, 0.10, 0.02, 0.00],
        [0.24, 0.85, 0.03, 0.02],
        [0.04, 0.03, 0.77, 0.08],
        [0.02, 0.02, 0.18, 0.90],
    ]
)


def simulate(n=3000, cycles=6, gains=(1.0, 1.0, 1.0, 1.0), noise=0.0, present=4, seed=0):
    """Bases (n, T) and intensities (n, T, C) of spots with lognormal brightness."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, present, (n, cycles))
    brightness = 500 * rng.lognormal(0, 0.4, (n, cycles, 1))
    intensity = brightness * CROSSTALK.T[bases] + rng.normal(0, noise, (n, cycles, 4))
    return bases, np.maximum(intensity, 0) * gains


def everyone(intensity):
    return np.ones(len(intensity), bool)


def test_crosstalk_is_recovered():
    _, intensity = simulate()
    spots = intensity.reshape(-1, 4)
    np.testing.assert_allclose(median_crosstalk(spots[:, None]), CROSSTALK, atol=1e-6)
    _, noisy = simulate(noise=15)
    np.testing.assert_allclose(median_crosstalk(noisy), CROSSTALK, atol=0.02)


def test_crosstalk_columns_sum_to_one_and_a_base_that_never_shows_stays_alone():
    _, intensity = simulate(present=3)
    matrix = median_crosstalk(intensity)
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    np.testing.assert_array_equal(matrix[:, 3], [0, 0, 0, 1])
    np.testing.assert_allclose(matrix[:, :3], CROSSTALK[:, :3], atol=1e-6)


def test_bases_are_called_through_crosstalk_unequal_gains_and_noise():
    bases, intensity = simulate(gains=(0.3, 1.0, 0.2, 1.0), noise=5)
    median = call_bases(intensity, everyone(intensity))
    argmax = call_bases(intensity, everyone(intensity), "argmax")
    assert (median.index == bases).mean() > 0.999
    assert (argmax.index == bases).mean() < 0.9
    assert median.index.dtype == np.int8
    assert median.corrected.dtype == median.quality.dtype == np.float32


def test_correction_undoes_crosstalk_exactly_where_there_is_no_noise():
    bases, intensity = simulate()
    calls = call_bases(intensity, everyone(intensity))
    assert (calls.index == bases).all()
    own = np.take_along_axis(calls.corrected, bases[..., None], axis=2)[..., 0]
    others = calls.corrected.sum(axis=2) - own
    assert np.abs(others).max() < 1e-3 * own.min()


def test_gain_of_the_camera_changes_neither_calls_nor_quality():
    _, intensity = simulate(noise=25)
    low = call_bases(intensity, everyone(intensity))
    high = call_bases(intensity * 64, everyone(intensity))
    np.testing.assert_array_equal(low.index, high.index)
    np.testing.assert_allclose(low.quality, high.quality, atol=1e-4)
    np.testing.assert_allclose(low.crosstalk, high.crosstalk)


def test_argmax_is_the_brightest_channel_as_measured():
    intensity = np.array([[[1.0, 5.0, 2.0, 0.0], [9.0, 5.0, 2.0, 8.0]]])
    calls = call_bases(intensity, everyone(intensity), "argmax")
    assert calls.index.tolist() == [[1, 0]]
    np.testing.assert_array_equal(calls.corrected, intensity)
    np.testing.assert_array_equal(calls.crosstalk, np.eye(4))
    np.testing.assert_array_equal(calls.scale, np.ones(4))


def test_only_confident_reads_train():
    _, good = simulate(n=400)
    haze = np.full((4000, good.shape[1], 4), (400.0, 100.0, 100.0, 100.0))
    intensity = np.concatenate([good, haze])
    confident = np.arange(len(intensity)) < len(good)
    alone = call_bases(good, everyone(good))
    calls = call_bases(intensity, confident)
    np.testing.assert_array_equal(calls.crosstalk, alone.crosstalk)
    np.testing.assert_array_equal(calls.index[: len(good)], alone.index)
    # With no confident read all of them train.
    nobody = call_bases(good, ~everyone(good))
    np.testing.assert_array_equal(nobody.crosstalk, alone.crosstalk)


@pytest.mark.parametrize("method", ["median", "argmax"])
def test_no_reads_give_no_calls(method):
    calls = call_bases(np.zeros((0, 5, 4), np.float32), np.zeros(0, bool), method)
    assert calls.index.shape == calls.quality.shape == (0, 5)
    assert calls.corrected.shape == (0, 5, 4)


def test_a_dark_channel_does_not_spoil_the_others():
    bases, intensity = simulate(present=3)
    intensity[..., 3] = 0
    calls = call_bases(intensity, everyone(intensity))
    assert np.isfinite(calls.corrected).all()
    assert (calls.index == bases).all()


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown base calling method softmax"):
        call_bases(np.ones((1, 1, 4)), np.ones(1, bool), "softmax")


def test_scale_is_the_median_and_of_the_positive_values_where_that_is_zero():
    intensity = np.zeros((5, 1, 3))
    intensity[:, 0, 0] = [1, 2, 3, 4, 5]
    intensity[:, 0, 1] = [0, 0, 0, 4, 8]
    np.testing.assert_array_equal(channel_scale(intensity), [3, 6, 1])


def test_quality_computed_by_hand():
    intensity = np.array(
        [
            [[0.0, 0.0, 0.0, 0.0], [6.0, 0.0, 0.0, 0.0]],  # nothing; 2 (1 - ln 2 / ln 8) = 4/3
            [[14.0, 2.0, 1.0, 0.0], [14.0, 14.0, 0.0, 0.0]],  # 2 (1 - ln 4 / ln 16) = 1; alike
            [[62.0, -30.0, 0.0, 0.0], [62.0, 14.0, 14.0, 0.0]],  # 2 (1 - ln 16 / ln 64) = 2/3
        ]
    )
    quality = base_quality(intensity, noise=1.0)
    against_minus_30 = 2 * (1 - np.log(32) / np.log(64))  # what is below zero counts as much
    expected = [[0, 1], [1, 0], [against_minus_30, 2 / 3]]
    np.testing.assert_allclose(quality, expected, rtol=1e-6)
    np.testing.assert_allclose(base_quality(7 * intensity, noise=7.0), expected, rtol=1e-6)


def test_quality_tells_wrong_calls_from_right_ones_and_dim_noise_from_reads():
    bases, intensity = simulate(noise=40)
    rng = np.random.default_rng(1)
    grains = np.abs(rng.normal(0, 40, intensity.shape))
    calls = call_bases(np.concatenate([intensity, grains]), np.arange(2 * len(bases)) < len(bases))
    real, noise = calls.quality[: len(bases)], calls.quality[len(bases) :]
    right = calls.index[: len(bases)] == bases
    assert np.median(real[right]) > 3 * np.median(real[~right])
    assert np.median(real.min(axis=1)) > 2 * np.quantile(noise.min(axis=1), 0.9)


def test_dark_level_is_the_deviation_of_the_channels_that_are_off():
    rng = np.random.default_rng(0)
    corrected = rng.normal(0, 30, (2000, 8, 4))
    corrected[..., 2] += 1000
    assert dark_level(corrected) == pytest.approx(30, rel=0.03)
    assert dark_level(np.zeros((3, 2, 4))) == 1
    assert dark_level(np.zeros((0, 2, 4))) == 1


def test_the_brighter_half_of_the_reads_in_cells_is_confident():
    peak = np.arange(400.0)
    in_cell = np.arange(400) % 2 == 0
    chosen = confident_reads(peak, in_cell)
    np.testing.assert_array_equal(np.flatnonzero(chosen), np.arange(200, 400, 2))
    # Where hardly any read lies in a cell, all of them are looked at.
    few = np.arange(400) < 10
    np.testing.assert_array_equal(np.flatnonzero(confident_reads(peak, few)), np.arange(200, 400))
    # Of a handful none is left out.
    assert confident_reads(peak[:20], few[:20]).all()


def test_spelling_with_failed_cycles():
    index = np.array([[0, 1, 3], [2, 2, 0]])
    assert spell(index, "GTAC", np.array([0, 1, 2]), 3).tolist() == ["GTC", "AAG"]
    assert spell(index, "GTAC", np.array([0, 2, 4]), 5).tolist() == ["GNTNC", "ANANG"]
    assert spell(index[:0], "GTAC", np.array([0, 1, 2]), 3).tolist() == []


def test_percentile_crosstalk_by_hand():
    # The brightest spots of channel 0 show a quarter of their light in channel 1.
    spots = np.zeros((100, 1, 4))
    spots[:, 0] = np.eye(4)[np.arange(100) % 4]
    spots[::4, 0] = [3.0, 1.0, 0, 0]
    matrix = percentile_crosstalk(spots)
    assert matrix[:, 0].tolist() == [0.75, 0.25, 0, 0]
    assert matrix[:, 2:].tolist() == np.eye(4)[:, 2:].tolist()
