"""Barcode matching equals the definition, spelled out by all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sbs.decoding import letters, match_barcodes, pack


def all_pairs(barcodes, library, max_mismatches):
    """The definition: the nearest entry, if within reach and nearer than all others."""
    entries = []
    for barcode in barcodes:
        distances = [
            sum(a != b for a, b in zip(barcode, code, strict=True) if a != "N") for code in library
        ]
        least = min(distances)
        unique = distances.count(least) == 1 and least <= max_mismatches
        entries.append(distances.index(least) if unique else -1)
    return entries


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(0, 2))
def test_equals_all_pairs(data, length, max_mismatches):
    code = st.text("ACGT", min_size=length, max_size=length)
    library = data.draw(st.lists(code, min_size=1, max_size=12))
    barcodes = data.draw(st.lists(code, min_size=1, max_size=12))
    found = match_barcodes(np.array(barcodes), np.array(library), max_mismatches)
    assert found.entry.tolist() == all_pairs(barcodes, library, max_mismatches)


def test_hand_computed():
    library = np.array(["AAAA", "CCCC", "CCCG", "GGTT"])
    barcodes = np.array(["AAAA", "AAAT", "CCCC", "CCCA", "GTTT", "TTTT"])
    found = match_barcodes(barcodes, library, 1)
    # CCCA is one letter from two entries; TTTT is two letters from GGTT.
    assert found.entry.tolist() == [0, 0, 1, -1, 3, -1]
    assert found.mismatches.tolist() == [0, 1, 0, -1, 1, -1]


def test_failed_cycle_is_left_out_and_twins_are_not_guessed():
    library = np.array(["ACGT", "ACCT", "TTTT"])
    found = match_barcodes(np.array(["ACNT", "TTNT"]), library, 0)
    assert found.entry.tolist() == [-1, 2]


def test_nothing_to_match():
    assert match_barcodes(np.array([], "U4"), np.array(["ACGT"]), 1).entry.shape == (0,)
    assert match_barcodes(np.array(["ACGT"]), np.array([], "U4"), 1).entry.tolist() == [-1]


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="4 letters"):
        match_barcodes(np.array(["ACGT"]), np.array(["ACG"]), 0)
    with pytest.raises(ValueError, match="unequal"):
        letters(np.array(["ACGT", "ACG"]))
    with pytest.raises(ValueError, match="longer than 31"):
        pack(np.zeros((1, 32), np.int8))
