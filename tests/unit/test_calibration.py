"""Calibrated probabilities, by hand and on errors whose rate is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sbs.calibration import Curve, error_curve, fit_base_errors, isotonic, phred


def test_isotonic_by_hand():
    # 1, 3 violate and pool to 2 (weights 1 and 1), 2.5 with it to 13/6... the rest falls.
    assert isotonic(np.array([5.0, 1, 3, 0]), np.ones(4)).tolist() == [5, 2, 2, 0]
    assert isotonic(np.array([0.0, 1.0]), np.array([1.0, 3.0])).tolist() == [0.75, 0.75]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_isotonic_falls_and_keeps_the_mean(values):
    fitted = isotonic(np.array(values), np.ones(len(values)))
    assert (np.diff(fitted) <= 1e-12).all()
    assert fitted.mean() == pytest.approx(np.mean(values), abs=1e-9)


def test_errors_that_are_seen_give_their_rate():
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 8, 60000)
    truth = 0.5 * np.exp(-score)
    curve = error_curve(score, rng.random(60000) < truth, ratio=0.0)
    for at in (0.5, 1.0, 2.0, 3.0, 4.0):
        assert curve(at) == pytest.approx(0.5 * np.exp(-at), rel=0.3)
    assert (np.diff(curve(np.linspace(-1, 9, 50))) <= 0).all()


@pytest.mark.parametrize("decoys_per_guide", [1.0, 5.0])
def test_decoys_stand_for_the_errors_among_guides(decoys_per_guide):
    rng = np.random.default_rng(1)
    score = np.concatenate([rng.normal(5, 1.5, 40000), rng.normal(0, 1.5, 20000)])
    false = np.arange(60000) >= 40000
    to_decoy = rng.random(60000) < decoys_per_guide / (1 + decoys_per_guide)
    curve = error_curve(score, false & to_decoy, ratio=1 / decoys_per_guide)
    guides = ~(false & to_decoy)
    for low in (0.0, 1.0, 2.0, 3.0):
        here = guides & (score >= low) & (score < low + 0.5)
        assert curve(score[here]).mean() == pytest.approx(false[here].mean(), rel=0.3, abs=0.01)


def test_no_number_of_reads_makes_certain():
    curve = error_curve(np.arange(1000.0), np.zeros(1000, bool))
    assert 0 < curve(1e9) < 2e-3
    assert np.isfinite(phred(curve(np.array([0.0, 1e9])))).all()


def test_nothing_to_learn_from_is_even():
    assert error_curve(np.zeros(0), np.zeros(0, bool))(3.0) == 0.5


def test_phred_by_hand():
    assert phred(np.array([1.0, 0.1, 0.001, 0.0])).tolist() == [0, 10, 30, 40]
    assert Curve(np.array([0.0, 1.0]), np.array([0.5, 0.1]))(0.5) == pytest.approx(0.3)


def blended(rng, count=6000, cycles=8):
    """Margins, fits and mistakes of reads of which a fifth are two molecules at once.

    There, margins are as large but say less.
    """
    double = np.arange(count) % 5 == 0
    margin = rng.uniform(-1, 10, (count, cycles))
    chance = np.where(double[:, None], 0.4, 0.5 * np.exp(-np.maximum(margin, 0)))
    fit = np.where(double, -1.0, 2.0) + 0.3 * rng.standard_normal(count)
    return margin, fit, rng.random(margin.shape) < chance, double


def test_bases_of_blended_reads_are_less_sure():
    rng = np.random.default_rng(2)
    margin, fit, wrong, double = blended(rng)
    errors = fit_base_errors(margin, fit, wrong, np.arange(8), np.ones(len(fit)))
    fresh = blended(rng)
    claimed = errors(fresh[0], fresh[1])
    for part in (double, ~double):
        assert claimed[part].mean() == pytest.approx(fresh[2][part].mean(), rel=0.25)
    # One curve of the margin alone claims for both the same.
    alone = errors.alone(fresh[0])
    assert alone[double].mean() < 0.6 * fresh[2][double].mean()


def test_base_errors_fall_with_the_margin_whatever_little_is_known():
    few = np.zeros((0, 3))
    for margin, wrong in ((few, few > 0), (np.full((2, 3), 4.0), np.zeros((2, 3), bool))):
        errors = fit_base_errors(
            margin, np.zeros(len(margin)), wrong, np.arange(3), np.ones(len(margin))
        )
        rising = np.linspace(-2, 12, 30)[:, None] * np.ones(3)
        error = errors(rising, np.zeros(30))
        assert ((error > 0) & (error < 1)).all() and (np.diff(error, axis=0) <= 1e-9).all()


def test_mistakes_are_learnt_at_the_cycles_where_the_base_is_known():
    rng = np.random.default_rng(6)
    margin, fit, wrong, _ = blended(rng)
    places = np.array([0, 2, 3, 7])
    errors = fit_base_errors(margin, fit, wrong[:, places], places, np.ones(len(fit)))
    claimed = errors(margin, fit)[:, [1, 4, 5, 6]]
    assert claimed.mean() == pytest.approx(wrong[:, [1, 4, 5, 6]].mean(), rel=0.1)
