"""From intensities to decoded reads, on cases small enough to reckon by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sbs.reads import (
    Sequencing,
    call_reads,
    decoding_table,
    find_recombined,
    part,
    settle_borders,
)

BASES = "GTAC"


def spots(barcodes, cycles, cells=None):
    """Bases table of noiseless spots; positions of a barcode follow the cycles."""
    count = len(barcodes)
    table = {
        "plate": ["1"] * count,
        "well": ["A1"] * count,
        "tile": ["3"] * count,
        "read": range(count),
        "cell": cells or range(1, count + 1),
        "i": np.arange(count) + 0.5,
        "j": np.arange(count) * 2.0,
        "peak": np.linspace(5, 9, count),
        "cell_near_0": 0,
    }
    for t, cycle in enumerate(cycles):
        for base in BASES:
            table[f"{base}_{cycle}"] = [500.0 if code[t] == base else 10.0 for code in barcodes]
    return pd.DataFrame(table)


def library(barcodes, **columns):
    count = len(barcodes)
    names = {"sgRNA": [f"guide{n}" for n in range(count)], "gene_symbol": list("XYZW")[:count]}
    return pd.DataFrame({**names, "barcode": barcodes, **columns})


def test_brightest_channels_spell_no_bases_that_share_them():
    encoding = {"G": [], "T": ["T"], "A": ["T", "C"], "C": ["C"]}
    sequencing = Sequencing.plan([1], list(BASES), base_encoding=encoding)
    with pytest.raises(ValueError, match="median needs one channel for each base"):
        call_reads(spots(["G"], [1]), library(["G"]), sequencing)


def test_reads_table_of_noiseless_spots():
    sequencing = Sequencing.plan([1, 2, 3, 4], list(BASES))
    found = ["GTAC", "ACGT", "ACGG", "TTTT"]
    reads, _ = call_reads(spots(found, [1, 2, 3, 4]), library(["GTAC", "ACGT"]), sequencing)
    assert reads["barcode"].tolist() == found
    assert reads["sgRNA"].fillna("").tolist() == ["guide0", "guide1", "guide1", ""]
    assert reads["gene_symbol"].fillna("").tolist() == ["X", "Y", "Y", ""]
    assert reads["mismatches"].fillna(-1).tolist() == [0, 0, 1, -1]
    expected = ["plate", "well", "tile", "cell", "read", "i", "j", "barcode"]
    expected += ["Q_0", "Q_1", "Q_2", "Q_3", "Q_min", "peak"]
    assert reads.columns[: len(expected)].tolist() == expected
    assert reads["Q_min"].to_numpy() == pytest.approx(
        reads[["Q_0", "Q_1", "Q_2", "Q_3"]].min(axis=1).to_numpy()
    )


def test_failed_cycle_is_n_and_matches_without_it():
    sequencing = Sequencing.plan([1, 2, 4], list(BASES), failed_cycles=[3])
    assert (sequencing.length, sequencing.positions.tolist()) == (4, [0, 1, 3])
    assert sequencing.library_places()["failed_positions"] == [3]
    reads, _ = call_reads(spots(["GTC", "ACT"], [1, 2, 4]), library(["GTNC", "ACNT"]), sequencing)
    assert reads["barcode"].tolist() == ["GTNC", "ACNT"]
    assert reads["sgRNA"].tolist() == ["guide0", "guide1"]
    assert reads["Q_2"].isna().all() and reads["Q_min"].notna().all()


def test_skipped_cycle_closes_up():
    sequencing = Sequencing.plan([1, 2, 4], list(BASES))
    assert (sequencing.length, sequencing.positions.tolist()) == (3, [0, 1, 2])
    assert sequencing.library_places() == {
        "n_positions": 3,
        "failed_positions": [],
        "mapping_positions": None,
        "recombination_positions": None,
    }


def test_dual_barcodes_tell_recombined_from_unknown():
    sequencing = Sequencing.plan(
        range(1, 7), list(BASES), mapping_cycles=[1, 2, 3], recombination_cycles=[4, 5, 6]
    )
    guides = library(["GTA", "CCA", "AGG"], barcode_recombination=["TTT", "AAA", "GGG"])
    found = ["GTATTT", "GTAAAA", "CCAGCT", "TCTTTT"]
    reads, _ = call_reads(spots(found, range(1, 7)), guides, sequencing, max_mismatches=0)
    assert reads["sgRNA"].fillna("").tolist() == ["guide0", "guide0", "guide1", ""]
    # Its own second part; that of another guide; of none; first part unknown.
    assert reads["recombined"].tolist() == [False, True, pd.NA, pd.NA]


def test_shared_second_parts_are_not_recombined():
    entry, expected = np.array([0, 1, 2]), np.array(["TT", "TT", "AA"])
    found = find_recombined(np.array(["TT", "TT", "TT"]), expected, entry, 0)
    assert found.tolist() == [False, False, True]


def test_no_reads_keep_the_columns_and_types():
    sequencing = Sequencing.plan([1, 2, 3, 4], list(BASES))
    some = spots(["GTAC"], [1, 2, 3, 4])
    empty, _ = call_reads(some[:0], library(["GTAC"]), sequencing)
    full, _ = call_reads(some, library(["GTAC"]), sequencing)
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


def test_border_reads_go_to_the_cell_with_twice_the_reads():
    #       cell 1 has two reads of guide 0, cell 2 one, near 1; outside one near 1;
    #       cell 3 has one of guide 5, near 1, which has none of it.
    cell = np.array([1, 1, 2, 0, 3, 1])
    near = np.array([[0, 0, 1, 1, 1, 3]])
    entry = np.array([0, 0, 0, 0, 5, -1])
    tile = np.array(["0"] * 6)
    assert settle_borders(tile, cell, near, entry).tolist() == [1, 1, 1, 1, 3, 1]


def test_border_reads_stay_within_their_tile_and_choose_the_better_neighbour():
    cell = np.array([1, 1, 4, 4, 4, 2, 1])
    near = np.array([[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 4, 0]])
    entry = np.zeros(7, int)
    tile = np.array(["0"] * 6 + ["1"])
    assert settle_borders(tile, cell, near, entry).tolist() == [1, 1, 4, 4, 4, 4, 1]


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 8))
def test_part_takes_letters_at_places(data, length):
    code = st.text("ACGTN", min_size=length, max_size=length)
    barcodes = data.draw(st.lists(code, max_size=6))
    places = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=length))
    taken = part(np.array(barcodes, f"U{length}"), np.array(places))
    assert taken.tolist() == ["".join(code[p] for p in places) for code in barcodes]


def test_decoding_table_names_from_and_to():
    sequencing = Sequencing.plan([1, 2], list(BASES))
    _, calls = call_reads(spots(["GT", "AC"], [1, 2]), library(["GT"]), sequencing)
    table = decoding_table(calls, sequencing, {"plate": "1", "well": "A1"})
    matrix = table[table["parameter"] == "crosstalk"].pivot_table("value", "to", "from")
    np.testing.assert_allclose(matrix.sum(), 1)
    np.testing.assert_allclose(matrix.loc[list(BASES), list(BASES)], calls.crosstalk)
