"""Decoys and the error rates they give, reckoned by hand."""

import numpy as np
import pytest

from lib.sbs.decoding import pack
from lib.sbs.decoys import LEAST_DECOYS, least_distance, make_decoys, q_values


def test_q_values_by_hand():
    #  scores 9 8 7 6 5 4, of which 7 and 4 are decoys
    score = np.array([5.0, 9, 8, 7, 6, 4])
    decoy = np.array([False, False, False, True, False, True])
    found, q = q_values(score, decoy)
    assert found.tolist() == [5, 6, 8, 9]
    # 9, 8: no decoy above. 6: 1 decoy to 3 guides. 5: 1 decoy to 4: better, and so 6 is, too.
    assert q.tolist() == [0.25, 0.25, 0, 0]
    assert q_values(score, decoy, ratio=0.5)[1].tolist() == [0.125, 0.125, 0, 0]


def test_equal_scores_are_accepted_together():
    found, q = q_values(np.array([3.0, 3, 3, 1]), np.array([False, True, False, False]))
    assert found.tolist() == [1, 3, 3]
    assert q == pytest.approx([1 / 3, 1 / 3, 1 / 3])  # the cut at 1 gives less than that at 3


def test_no_scores():
    found, q = q_values(np.zeros(0), np.zeros(0, bool))
    assert len(found) == len(q) == 0


def test_q_values_tell_the_true_rate():
    # False reads find guides and decoys alike.
    rng = np.random.default_rng(0)
    true, false = rng.normal(6, 1.5, 20000), rng.normal(0, 2, 8000)
    score = np.concatenate([true, false])
    decoy = np.concatenate([np.zeros(20000, bool), rng.random(8000) < 0.5])
    wrong = np.arange(28000) >= 20000
    found, q = q_values(score, decoy)
    for asked in (0.002, 0.01, 0.05):
        cut = found[q <= asked].min()
        kept = (score >= cut) & ~decoy
        assert wrong[kept].mean() == pytest.approx(asked, rel=0.25)


def test_decoys_are_not_in_the_library_and_keep_its_composition_and_distance():
    rng = np.random.default_rng(1)
    weights = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]])
    draws = [rng.choice(4, 500, p=weights[place % 2]) for place in range(10)]
    library = np.unique(np.stack(draws, axis=1).astype(np.int8), axis=0)
    decoys = make_decoys(library, seed=3)
    assert len(decoys) == len(np.unique(pack(decoys))) >= len(library)
    assert not np.isin(pack(decoys), pack(library)).any()
    for base in range(4):
        shares = [(codes == base).mean(axis=0) for codes in (library, decoys)]
        assert np.abs(shares[0] - shares[1]).max() < 0.1
    assert (make_decoys(library, seed=3) == decoys).all()
    assert (make_decoys(library, seed=4) != decoys).any()


def test_decoys_are_as_far_from_guides_as_guides_from_each_other():
    # All codes with an even sum differ from each other in two places or more.
    every = np.indices((4,) * 8).reshape(8, -1).T.astype(np.int8)
    library = every[every.sum(axis=1) % 4 == 0][::5]
    assert least_distance(library) == 2
    distance = (make_decoys(library)[:200, None] != library).sum(axis=2).min(axis=1)
    assert distance.min() >= 2


def test_small_libraries_have_more_decoys_and_short_codes_all_there_are():
    rng = np.random.default_rng(2)
    few = rng.integers(0, 4, (20, 10)).astype(np.int8)
    assert len(make_decoys(few)) == LEAST_DECOYS
    short = np.unique(rng.integers(0, 4, (50, 4)), axis=0).astype(np.int8)
    decoys = make_decoys(short)
    assert len(decoys) == 256 - len(short)
    assert not np.isin(pack(decoys), pack(short)).any()
    assert len(make_decoys(np.zeros((0, 4), np.int8))) == 0


def test_nearest_guides():
    assert least_distance(np.array([[0, 1, 2], [0, 1, 3]], np.int8)) == 1
    assert least_distance(np.array([[0, 1, 2, 2], [0, 2, 3, 2]], np.int8)) == 2
    assert least_distance(np.array([[0, 1, 2, 2]], np.int8)) == 3
