"""What the light of spots is read from, and which measure is chosen for a screen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from brain_tile import BASES as BRAIN_BASES
from brain_tile import anchor_spots, codebook, stack
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import grey_opening, maximum_filter
from synthetic_reads import BASES, bases_table, intensities, library

from lib.sbs.reads import Sequencing
from lib.sbs.spot_choice import choose_light, places
from lib.sbs.spot_light import MEASURES, chosen_measure, light_of, spot_light
from lib.sbs.spots import find_spots, log_filter

BRAIN = Path(__file__).parents[3] / "shared/data/iss_mouse_brain"


def grainy(seed=0, side=60):
    rng = np.random.default_rng(seed)
    return rng.integers(80, 4000, (side, side)).astype(np.uint16)


@pytest.mark.parametrize("sigma", [1.0, 1.4])
def test_matched_light_is_the_least_squares_amplitude_of_a_gaussian(sigma):
    plane = grainy()
    light = spot_light(plane, "matched", sigma)

    radius = round(5 * sigma)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    wave = np.exp(-(y**2 + x**2) / (2 * (1.25 * sigma) ** 2)).ravel()
    design = np.stack([wave, np.ones_like(wave)], axis=1)
    for row, column in ((20, 20), (31, 44), (48, 12), (25, 37)):
        square = plane[row - radius : row + radius + 1, column - radius : column + radius + 1]
        amplitude = np.linalg.lstsq(design, square.ravel().astype(float), rcond=None)[0][0]
        assert light[row, column] == pytest.approx(max(amplitude, 0), rel=1e-3, abs=0.5)


def test_tophat_is_what_stands_out_of_an_opening():
    plane = grainy()
    y, x = np.mgrid[-3:4, -3:4]
    light = spot_light(plane, "tophat", 1.0)
    # OpenCV's disk of 7 px: rows of 1, 5, 7, 7, 7, 5, 1 pixels.
    half = np.array([0, 2, 3, 3, 3, 2, 0])
    disk = np.abs(x) <= half[:, None]
    expected = plane - grey_opening(plane.astype(np.float32), footprint=disk)
    np.testing.assert_allclose(light[8:-8, 8:-8], expected[8:-8, 8:-8])
    assert (np.abs(y) <= 3).all()


def test_spots_are_found_alike_and_measured_otherwise():
    rng = np.random.default_rng(3)
    images = rng.normal(100, 5, (3, 4, 80, 80)).clip(0).astype(np.float32)
    images[0, 1, 30, 40] += 900
    images[1, 2, 30, 40] += 900
    images[2, 0, 30, 40] += 900
    filtered, noise = log_filter(images)
    usual = find_spots(filtered, noise)
    light = light_of(images, None, "tophat", 1.0)
    other = find_spots(filtered, noise, light=light)
    np.testing.assert_array_equal(usual.i, other.i)
    near = maximum_filter(spot_light(images[1, 2], "tophat", 1.0), size=3)
    at = int(np.hypot(usual.i - 30, usual.j - 40).argmin())
    row, column = round(float(usual.i[at])), round(float(usual.j[at]))
    assert other.intensity[at, 1, 2] == near[row, column] > 800
    assert light_of(images, None, "log", 1.0) is None and light_of(images, None, "auto", 1) is None
    with pytest.raises(ValueError, match="no kind of light"):
        spot_light(images[0, 0], "bright", 1.0)


@pytest.fixture(scope="module")
def measured():
    """Reads of 60 guides, measured well and, in a second table, with much noise."""
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 4, (60, 10)), axis=0)
    light = intensities(rng, codes[rng.integers(0, len(codes), 1500)])
    noisy = np.abs(light + 220 * rng.standard_normal(light.shape))
    plan = Sequencing.plan(range(1, 11), list(BASES))
    tables = [bases_table(values) for values in (light, noisy)]
    for table in tables:
        table["i"] *= 20  # far from each other
    return *tables, library(codes), plan


def test_the_measure_that_decodes_clearly_more_is_chosen(measured):
    clear, noisy, codes, plan = measured
    table = choose_light({"log": noisy, "tophat": clear}, codes, plan)
    assert table["chosen"].tolist() == [0, 1]
    assert table["reads"][1] > 1400 > table["reads"][0]
    rows = table.astype(str).to_dict("records")
    assert chosen_measure(rows) == "tophat"


def test_the_usual_measure_stays_where_another_is_no_better(measured):
    clear, noisy, codes, plan = measured
    for others in (noisy, clear):
        table = choose_light({"log": clear, "matched": others}, codes, plan)
        assert table["chosen"].tolist() == [1, 0]


def test_a_molecule_that_is_decoded_twice_counts_once(measured):
    """Light that spreads makes spots beside a read look like it: more reads, no more molecules."""
    clear, _, codes, plan = measured
    junk = clear.copy()
    dim = np.arange(len(junk)) % 10 == 9
    junk.loc[dim, "i"] = junk["i"].to_numpy()[np.flatnonzero(dim) - 1] + 3
    junk.loc[dim, "peak"] *= 0.5
    spread = junk.copy()
    light = plan.intensity_columns()
    junk.loc[dim, light] = (
        np.random.default_rng(1).uniform(20, 60, (dim.sum(), len(light))).astype(np.float32)
    )
    spread.loc[dim, light] = np.float32(0.5) * spread[light].to_numpy()[np.flatnonzero(dim) - 1]
    table = choose_light({"log": junk, "matched": spread}, codes, plan)
    assert table["reads"][1] > 1.05 * table["reads"][0]
    assert table["places"][1] == pytest.approx(table["places"][0], rel=0.01)
    assert table["chosen"].tolist() == [1, 0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_places_by_brute_force(seed, count):
    rng = np.random.default_rng(seed)
    reads = pd.DataFrame(
        {
            "well": "A1",
            "tile": rng.integers(0, 2, count).astype(str),
            "i": rng.uniform(0, 20, count),
            "j": rng.uniform(0, 20, count),
            "peak": rng.permutation(count).astype(float),
            "sgRNA": rng.choice(["a", "b"], count),
        }
    )
    lone = 0
    for _, read in reads.iterrows():
        same = reads[(reads["sgRNA"] == read["sgRNA"]) & (reads["tile"] == read["tile"])]
        apart = np.hypot(same["i"] - read["i"], same["j"] - read["j"])
        lone += not ((apart <= 5) & (same["peak"] > read["peak"])).any()
    assert places(reads) == lone


@pytest.mark.skipif(not BRAIN.exists(), reason="needs the shared test images")
def test_a_tophat_reads_more_of_real_tissue():
    spots, codes = anchor_spots(BRAIN), codebook(BRAIN)
    images, plan = stack(BRAIN), Sequencing.plan(range(1, 5), list("ACGT"))
    at = spots["i"].to_numpy(), spots["j"].to_numpy()
    tables = {"log": spots}
    for measure in MEASURES[1:]:
        tables[measure] = spots.copy()
        light = light_of(images, None, measure, 1.0)
        for t in range(4):
            for c, base in enumerate(BRAIN_BASES):
                tables[measure][f"{base}_{t + 1}"] = maximum_filter(light(t, c), size=3)[at]
    table = choose_light(tables, codes, plan).set_index("measure")
    assert table["chosen"]["tophat"] == 1
    assert table["reads"]["tophat"] / len(spots) > 0.94 > table["reads"]["log"] / len(spots)
