"""Posteriors of guides: a toy by hand, and shortcuts against the long way."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_reads import intensities, phasing_operator

from lib.sbs.posterior import (
    Codebook,
    Terms,
    Weights,
    candidates,
    decode,
    estimate_weights,
    sum_by_read,
    weigh,
)
from lib.sbs.signal_model import FreeCalls, call_free, estimate_signal


def codebook(codes, decoys=None):
    codes = np.asarray(codes, np.int8)
    decoys = codes[:0] if decoys is None else np.asarray(decoys, np.int8)
    rows = np.arange(len(codes))
    return Codebook(codes, rows, rows, decoys, np.arange(codes.shape[1]))


def free_calls(index):
    index = np.asarray(index, np.int8)
    gain = np.full((*index.shape, 4), -3.0, np.float32)
    np.put_along_axis(gain, index[..., None].astype(np.int64), 0.0, axis=2)
    return FreeCalls(index, gain, np.zeros(len(index)), np.ones(len(index)))


def test_two_guides_by_hand():
    # One read; likelihoods: guide 0 8, guide 1 2, other sequences 1, no read 0.5.
    book = codebook([[0, 1], [2, 3]])
    terms = Terms(
        rows=np.array([0, 0]),
        code=np.array([0, 1]),
        pair=np.log([8.0, 2.0]),
        other=np.log([1.0]),
        none=np.log([0.5]),
    )
    decoded = decode(free_calls([[0, 1]]), terms, book, Weights(0.5, 0.3, 0.2))
    # Guides share the 0.5: 0.25 * 8 = 2 against 0.25 * 2 + 0.3 * 1 + 0.2 * 0.5 = 0.9.
    assert decoded.best.tolist() == [0]
    assert decoded.score[0] == pytest.approx(np.log(2 / 0.9))
    # If it is wrong: guide 1 by 0.5 / 0.9, which would be bases 2 and 3.
    assert decoded.rivals[0, 0] == pytest.approx([0, 0, 0.5 / 0.9, 0])
    assert decoded.rivals[0, 1] == pytest.approx([0, 0, 0, 0.5 / 0.9])
    assert decoded.unknown[0] == pytest.approx(0.4 / 0.9)


def test_abundant_guides_and_the_decoys_that_borrow_from_them():
    book = codebook([[0, 0], [1, 1]], [[2, 2], [3, 3]]).with_abundance(np.array([8.0, 0.0]))
    # Counts 9 and 1 after one read is added to each; a mean of one; decoys have the same two.
    assert book.prior[:2] == pytest.approx([1.8, 0.2])
    assert sorted(book.prior[2:]) == pytest.approx([0.2, 1.8])
    assert np.exp(book.log_prior()[:2]).sum() == pytest.approx(1)


def test_weights_are_the_shares_of_the_spots():
    book = codebook([[0, 0], [1, 1]])
    # 70 sure reads of guide 0, 20 of no guide, 10 that are no reads.
    rows = np.arange(100)
    pair = np.where(rows < 70, 0.0, -50.0)
    other = np.where((rows >= 70) & (rows < 90), 0.0, -50.0)
    none = np.where(rows >= 90, 0.0, -50.0)
    weights, abundant = estimate_weights(Terms(rows, np.zeros(100, int), pair, other, none), book)
    assert [weights.library, weights.other, weights.none] == pytest.approx(
        [71 / 103, 21 / 103, 11 / 103], abs=1e-6
    )
    assert abundant.prior[:2] == pytest.approx([2 * 71 / 72, 2 / 72], abs=1e-3)


def test_reads_without_candidates_are_no_guides():
    nothing = np.zeros(0, int)
    terms = Terms(nothing, nothing, np.zeros(0), np.zeros(3), np.zeros(3))
    decoded = decode(free_calls([[0, 1]] * 3), terms, codebook([[0, 1]]), Weights())
    assert decoded.best.tolist() == [-1] * 3
    assert (decoded.score == -np.inf).all()
    assert decoded.unknown == pytest.approx(1)


def test_sum_by_read():
    total = sum_by_read(np.array([0, 0, 2]), np.log([1.0, 3.0, 5.0]), 3)
    assert np.exp(total) == pytest.approx([4, 0, 5])


@pytest.fixture(scope="module")
def measured():
    """Reads of 300 guides with phasing, a tenth of other sequences, and their model."""
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 4, (300, 8)), axis=0).astype(np.int8)
    sequences = codes[rng.integers(0, len(codes), 900)]
    sequences[::10] = rng.integers(0, 4, (90, 8))
    light = intensities(rng, sequences, phasing_operator(8, 0.04, 0.01), noise=25.0)
    return codes, sequences, light, estimate_signal(light)


def test_pruned_equals_exhaustive(measured):
    codes, _, light, model = measured
    book = codebook(codes)
    everything = decode(*weigh(model, book, light, near=len(codes)), book, Weights())
    pruned = decode(*weigh(model, book, light), book, Weights())
    likely = everything.score > 0
    assert likely.mean() > 0.8
    assert (pruned.best == everything.best)[likely].all()
    np.testing.assert_allclose(pruned.score[likely], everything.score[likely], atol=0.01)


def test_looking_up_equals_ranking_all(measured, monkeypatch):
    codes, _, light, model = measured
    book = codebook(codes)
    free = call_free(model, light)
    ranked = candidates(free, book, near=4)
    monkeypatch.setattr("lib.sbs.posterior.EXHAUSTIVE", 0)
    found = candidates(free, book, near=4)
    pairs = {tuple(pair) for pair in np.transpose(found)}
    # Whatever is likely is found: the best of all that lies within two mismatches.
    foreseen = free.gain[ranked[0][:, None], np.arange(8), codes[ranked[1]]].sum(axis=1)
    distance = (free.index[ranked[0]] != codes[ranked[1]]).sum(axis=1)
    for row, code, gain, away in zip(*ranked, foreseen, distance, strict=True):
        if away <= 2 and gain > -30:
            assert (row, code) in pairs
    assert (np.bincount(found[0]) <= 4).all()


def test_phased_reads_are_decoded(measured):
    codes, sequences, light, model = measured
    book = codebook(codes)
    free, terms = weigh(model, book, light)
    weights, book = estimate_weights(terms, book)
    decoded = decode(free, terms, book, weights)
    own = (codes[decoded.best] == sequences).all(axis=1)
    in_library = np.arange(len(light)) % 10 > 0
    assert own[in_library].mean() > 0.99
    assert own[in_library].mean() > (free.index == sequences).all(axis=1)[in_library].mean()
    accepted = decoded.score > 3
    assert own[accepted].mean() > 0.99
    assert weights.library == pytest.approx(0.9, abs=0.03)


def test_a_failed_cycle_is_marginalised(measured):
    codes, sequences, light, model = measured
    spoilt = light.copy()
    spoilt[:, 4] = np.random.default_rng(1).lognormal(3, 1, spoilt[:, 4].shape)
    book = codebook(codes)
    in_library = np.arange(len(light)) % 10 > 0
    left_out = model.without(np.array([4]))
    places = np.array([0, 1, 2, 3, 5, 6, 7])
    part = replace(book, codes=codes[:, places], decoys=codes[:0, places], places=places)
    decoded = decode(*weigh(left_out, part, spoilt), part, Weights())
    assert (codes[decoded.best] == sequences).all(axis=1)[in_library].mean() > 0.95
