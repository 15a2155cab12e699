"""Spots of two molecules: how many there are, and what they are made of."""

import numpy as np
import pytest

from lib.sbs.blends import hidden_pairs, make_blends


def scattered(seed, count=4000, side=1000.0, guides=50):
    """Molecules independent of each other: tile, i, j, guide."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, side, (2, count))
    return np.repeat(["1", "2"], count // 2), *place, rng.integers(0, guides, count)


def told_apart(tile, i, j, guide, least):
    """Which are left where of molecules within `least` px one is seen; how many pairs are lost."""
    kept = np.ones(len(i), bool)
    lost = 0
    for n in range(len(i)):
        before = kept[:n] & (tile[:n] == tile[n])
        near = np.flatnonzero(before & (np.hypot(i[:n] - i[n], j[:n] - j[n]) < least))
        kept[n] = len(near) == 0
        lost += int((guide[near] != guide[n]).any())
    return kept, lost


def test_pairs_that_were_not_told_apart_are_counted():
    expected = true = 0.0
    for seed in range(8):
        spots = scattered(seed)
        kept, lost = told_apart(*spots, least=2.5)
        expected += hidden_pairs(*(values[kept] for values in spots))
        true += lost
    assert true > 250
    assert expected == pytest.approx(true, rel=0.25)


def test_nothing_is_hidden_where_all_molecules_are_seen_or_share_a_guide():
    found = [hidden_pairs(*scattered(seed)) for seed in range(8)]
    tile, i, j, guide = scattered(3)
    kept, lost = told_apart(tile, i, j, guide, least=2.5)
    assert lost > 20
    assert np.mean(found) < lost / 3  # of some 25 pairs within 4 px, by chance
    assert hidden_pairs(tile[kept], i[kept], j[kept], np.zeros(kept.sum())) == 0
    assert hidden_pairs(tile[:0], i[:0], j[:0], guide[:0]) == 0


def test_a_blend_is_the_light_of_one_read_and_at_least_half_of_another():
    rng = np.random.default_rng(0)
    intensity = rng.uniform(1, 2, (30, 6, 4))
    guide = np.arange(30) % 3
    light, pairs, weight = make_blends(intensity, guide, expected=12.0)

    assert (guide[pairs[:, 0]] != guide[pairs[:, 1]]).all()
    share = (light - intensity[pairs[:, 0]]) / intensity[pairs[:, 1]]
    assert (share >= 0.5 - 1e-9).all() and (share <= 1 + 1e-9).all()
    np.testing.assert_allclose(np.ptp(share, axis=(1, 2)), 0, atol=1e-9)
    assert weight * len(pairs) == pytest.approx(12)


def test_one_guide_has_no_blends():
    light, pairs, _ = make_blends(np.ones((5, 3, 4)), np.zeros(5, int), expected=4.0)
    assert light.shape == (0, 3, 4) and len(pairs) == 0
    assert len(make_blends(np.ones((0, 3, 4)), np.zeros(0, int), 0.0)[0]) == 0
