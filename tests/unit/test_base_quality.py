"""Qualities of bases where spots hide a second molecule."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from synthetic_reads import BASES, bases_table, intensities, library

from lib.sbs.base_quality import blended_bases, fits, margins
from lib.sbs.posterior import decode, weigh
from lib.sbs.posterior_caller import call_tile, fit_caller
from lib.sbs.reads import Sequencing

CYCLES = 12
PLAN = Sequencing.plan(range(1, CYCLES + 1), list(BASES))


@pytest.fixture(scope="module")
def crowd():
    """Spots of which one in nine hides a second molecule, their molecules, and the caller."""
    rng = np.random.default_rng(5)
    codes = np.unique(rng.integers(0, 4, (5000, CYCLES)), axis=0)
    molecules = codes[rng.integers(0, 400, 6000)]
    place = rng.uniform(0, 700, (6000, 2))
    first, owner = np.ones(len(place), bool), np.arange(len(place))
    near = cKDTree(place).query_pairs(2.5, output_type="ndarray")
    for a, b in near[np.lexsort(near.T[::-1])]:
        if first[a] and first[b]:
            first[b], owner[b] = False, a
    light = intensities(rng, molecules)
    for b in np.flatnonzero(~first):
        light[owner[b]] += rng.uniform(0.5, 1) * light[b]
    spots = bases_table(light[first])
    spots[["i", "j"]] = place[first]
    truth = [molecules[owner == a] for a in np.flatnonzero(first)]
    caller = fit_caller(spots, library(codes), PLAN)
    free, terms = weigh(caller.model, caller.codebook, PLAN.intensities(spots, np.float64))
    decoded = decode(free, terms, caller.codebook, caller.weights)
    return spots, truth, caller, decoded, call_tile(caller, spots)


def mistakes(truth, called):
    """Wrong bases (n, T), by the molecule of each spot that agrees in more of them."""
    differ = [own != word for own, word in zip(truth, called, strict=True)]
    return np.array([each[each.sum(axis=1).argmin()] for each in differ])


def test_blends_are_as_many_and_as_bad_as_the_hidden_pairs_that_are_not_decoded(crowd):
    spots, truth, caller, decoded, reads = crowd
    sure = reads["sgRNA"].notna().to_numpy()
    light, guide = PLAN.intensities(spots, np.float64)[sure], decoded.best[sure]
    where = tuple(spots[name].to_numpy()[sure] for name in ("tile", "i", "j"))
    least = decoded.score[sure].min()
    blends = blended_bases(
        caller.model, caller.codebook, caller.weights, where, light, guide, least
    )

    several = np.array([len(np.unique(own, axis=0)) > 1 for own in truth])
    lost = several & ~sure
    assert lost.sum() > 200
    assert blends.weight.sum() == pytest.approx(lost.sum(), rel=0.35)
    wrong = mistakes(truth, decoded.free.index)
    assert blends.wrong.mean() == pytest.approx(wrong[lost].mean(), rel=0.15)
    assert wrong[lost].mean() > 3 * wrong[~lost].mean()


def test_errors_of_free_calls_are_those_expected(crowd):
    """Without blends, only 92 % of the wrong bases would be expected."""
    _, truth, caller, decoded, _ = crowd
    wrong = mistakes(truth, decoded.free.index).sum()
    expected = caller.base_errors(margins(decoded), fits(decoded)).sum()
    assert expected == pytest.approx(wrong, rel=0.05)
