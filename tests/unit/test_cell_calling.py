"""Which guide a cell carries: rules reckoned by hand."""

import pandas as pd
import pytest

from lib.sbs.cell_calling import call_cells


def reads(*rows):
    """Reads from (cell, guide or None, barcode, peak, Q_min)."""
    table = pd.DataFrame(rows, columns=["cell", "sgRNA", "barcode", "peak", "Q_min"])
    table["gene_symbol"] = table["sgRNA"].str[:1]
    table["barcode_library"] = table["barcode"].where(table["sgRNA"].notna())
    table["mismatches"] = pd.array([0] * len(table), "Int8")
    return table.assign(plate="1", well="A1", tile="0", read=range(len(table)))


def info(*cells):
    return pd.DataFrame({"cell": cells, "i": 1.0, "j": 2.0}).assign(plate="1", well="A1", tile="0")


def call(table, **options):
    return call_cells(table, info(*range(1, 9)), **options).set_index("cell")


def test_most_reads_win_and_library_comes_first():
    table = reads(
        (1, "a1", "AA", 5, 0.9),
        (1, "a1", "AA", 5, 0.9),
        (1, "b1", "CC", 50, 0.9),
        (2, None, "GG", 9, 0.9),
        (2, None, "GG", 9, 0.9),
        (2, "b1", "CC", 1, 0.9),
        (0, "b1", "CC", 1, 0.9),
    )
    cells = call(table)
    assert cells.index.tolist() == [1, 2]
    assert cells.loc[1, ["cell_barcode_0", "cell_barcode_1"]].tolist() == ["AA", "CC"]
    assert cells.loc[1, ["cell_barcode_count_0", "cell_barcode_count_1"]].tolist() == [2, 1]
    assert cells.loc[2, ["cell_barcode_0", "cell_barcode_1"]].tolist() == ["CC", "GG"]
    assert cells["barcode_count"].tolist() == [3, 3]
    assert cells.loc[2, "gene_symbol_0"] == "b" and pd.isna(cells.loc[2, "gene_symbol_1"])
    assert cells[["i", "j"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_by_peak():
    table = reads((1, "a1", "AA", 5, 0.9), (1, "a1", "AA", 5, 0.9), (1, "b1", "CC", 50, 0.9))
    assert call(table, by="peak").loc[1, "cell_barcode_0"] == "CC"
    with pytest.raises(ValueError, match="count or peak"):
        call(table, by="colour")


def test_ties_are_settled_by_peak_then_by_the_alphabet():
    table = reads(
        (1, "a1", "CC", 5, 0.9),
        (1, "b1", "AA", 6, 0.9),
        (2, "a1", "CC", 5, 0.9),
        (2, "b1", "AA", 5, 0.9),
    )
    assert call(table)["cell_barcode_0"].tolist() == ["AA", "AA"]


@pytest.mark.parametrize(
    ("first", "second", "guide", "single"),
    [
        (2, 1, "b1", True),  # at most half of the support
        (3, 2, "b1", False),
        (1, 1, "b1", False),
        (1, 1, "a2", True),  # another guide of the same gene
        (1, 1, None, True),  # not in the library
    ],
)
def test_single_gene(first, second, guide, single):
    rows = [(1, "a1", "AA", 5, 0.9)] * first + [(1, guide, "CC", 5, 0.9)] * second
    assert call(reads(*rows)).loc[1, "mapped_single_gene"] == single


def test_unmapped_cell_is_not_single():
    assert not call(reads((1, None, "AA", 5, 0.9))).loc[1, "mapped_single_gene"]


def test_low_quality_and_recombined_reads_do_not_count():
    table = reads((1, "a1", "AA", 5, 0.1), (1, "b1", "CC", 5, 0.9), (2, "a1", "AA", 5, 0.9))
    table["recombined"] = pd.array([None, False, True], "boolean")
    cells = call(table, min_quality=0.5)
    assert cells.index.tolist() == [1]
    assert cells.loc[1, ["cell_barcode_0", "barcode_count"]].tolist() == ["CC", 1]


def test_no_reads_keep_columns_and_types():
    some = reads((1, "a1", "AA", 5, 0.9))
    empty, full = (call_cells(table, info(1)) for table in (some[:0], some))
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
