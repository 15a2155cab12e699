"""Quality-control tables against counts done by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.qc import metrics as m
from lib.qc.plates import plate_size, row_name, well_position
from lib.shared.errors import InputError


def tile_rows(*keys):
    return pd.DataFrame(keys, columns=["plate", "well", "tile"]).astype(str)


@pytest.fixture
def screen():
    """Two wells. A10 tile 1: cells 1, 2, 3; A2 tile 1: cell 1, tile 2: processed but empty."""
    tiles = tile_rows(("1", "A10", "1"), ("1", "A2", "2"), ("1", "A2", "1"))
    info = pd.DataFrame(
        [("1", "A10", "1", 1), ("1", "A10", "1", 2), ("1", "A10", "1", 3), ("1", "A2", "1", 1)],
        columns=["plate", "well", "tile", "cell"],
    )
    reads = pd.DataFrame(
        [
            ("A10", 1, "GTA", "GTA", "g1", 0.9, 30.0),
            ("A10", 1, "GTA", "GTA", "g1", 0.8, 20.0),
            ("A10", 1, "CCC", None, None, 0.1, 5.0),
            ("A10", 2, "AAA", None, None, 0.2, 10.0),
            ("A10", 0, "TTT", "TTT", "g2", 0.7, 40.0),
        ],
        columns=["well", "cell", "barcode", "sgRNA", "gene_symbol", "Q_min", "peak"],
    ).assign(plate="1", tile="1")
    cells = pd.DataFrame(
        [("A10", 1, "GTA", "g1", True), ("A10", 2, None, None, False)],
        columns=["well", "cell", "sgRNA_0", "gene_symbol_0", "mapped_single_gene"],
    ).assign(plate="1", tile="1")
    return tiles, info, reads, cells


def test_counts_per_well(screen):
    table = m.metric_counts(*screen)
    assert table["well"].tolist() == ["A2", "A10"]  # natural order
    a2, a10 = table.iloc[0], table.iloc[1]
    assert a10[["tiles", *m.COUNTS]].tolist() == [1, 3, 2, 1, 1, 5, 4, 3]
    assert a10["reads_mapped_share"] == pytest.approx(3 / 5)
    assert a10["cells_one_gene_share"] == pytest.approx(1 / 3)
    assert a10["reads_per_cell"] == pytest.approx(4 / 3)
    assert a2[["tiles", *m.COUNTS]].tolist() == [2, 1, 0, 0, 0, 0, 0, 0]
    assert np.isnan(a2["reads_mapped_share"])  # a share of nothing is unknown, not zero
    assert a2["cells_mapped_share"] == 0


def test_counts_tell_an_empty_tile_from_a_missing_one(screen):
    table = m.metric_counts(*screen, by=m.TILE).set_index(["well", "tile"])
    assert table.loc[("A2", "2"), "cells"] == 0
    assert ("A2", "3") not in table.index


def test_counts_do_not_depend_on_row_order(screen):
    shuffled = [table.sample(frac=1, random_state=3) for table in screen]
    pd.testing.assert_frame_equal(m.metric_counts(*shuffled), m.metric_counts(*screen))


def test_counts_of_empty_tables(screen):
    tiles, *others = screen
    table = m.metric_counts(tiles, *(other.iloc[:0] for other in others))
    assert table["cells"].tolist() == [0, 0]
    assert table["cells_one_gene_share"].isna().all()


def test_summary_sums_plates_up(screen):
    wells = m.metric_counts(*screen)
    other = wells.iloc[:1].assign(plate="10")
    table = m.metric_summary(pd.concat([other, wells], ignore_index=True))
    names = list(zip(table["plate"], table["well"], strict=True))
    assert names == [("1", "A2"), ("1", "A10"), ("1", "all"), ("10", "A2"), ("10", "all")]
    total = table.iloc[2]
    assert total["cells"] == 4
    assert total["reads"] == 5
    assert total["cells_one_gene_share"] == pytest.approx(1 / 4)  # not the mean of 0 and 1/3


def test_cell_reads_keep_cells_without_any(screen):
    _, info, reads, _ = screen
    table = m.metric_cell_reads(info, reads)
    assert table["reads"].tolist() == [3, 1, 0, 0]
    assert table["barcodes"].tolist() == [2, 1, 0, 0]


def test_categories_count_each_cell_once(screen):
    _, info, reads, cells = screen
    several = cells.iloc[:1].assign(well="A2", mapped_single_gene=False)
    extra = reads.iloc[:1].assign(well="A2")
    table = m.metric_cell_categories(
        info, pd.concat([reads, extra]), pd.concat([cells, several])
    ).set_index("well")
    assert table.loc["A10", list(m.CATEGORIES)].tolist() == [1, 0, 1, 1]
    assert table.loc["A2", list(m.CATEGORIES)].tolist() == [0, 1, 0, 0]


def test_categories_without_reads_or_cells(screen):
    _, info, reads, cells = screen
    none = m.metric_cell_categories(info, reads.iloc[:0], cells.iloc[:0])
    assert none[m.NO_READS].tolist() == [1, 3]
    assert m.metric_cell_categories(info.iloc[:0], reads.iloc[:0], cells.iloc[:0]).empty


def test_base_composition():
    reads = pd.DataFrame({"barcode": ["GN", "GN", "TN", "AN"]})
    table = m.metric_base_composition(reads, ["GTA", "CTA"]).set_index(["cycle", "base"])
    assert table.loc[1, "share"].to_dict() == {"G": 0.5, "T": 0.25, "A": 0.25, "C": 0}
    assert table.loc[1, "expected"].to_dict() == {"G": 0.5, "T": 0, "A": 0, "C": 0.5}
    assert table.loc[2, "share"].isna().all()  # the failed cycle has no bases
    assert table.loc[(2, "T"), "expected"] == 1
    assert 3 not in table.index  # library letters beyond the reads


def test_base_composition_without_reads():
    table = m.metric_base_composition(pd.DataFrame({"barcode": []}), ["GTA", "CTA"])
    assert table["share"].isna().all()
    assert table["cycle"].max() == 3


def test_quality_orders_cycles_by_number():
    reads = pd.DataFrame({"Q_10": [1.0, 1.0], "Q_2": [0.0, 0.5], "Q_min": [0.0, 0.5]})
    table = m.metric_quality(reads)
    assert table["cycle"].tolist() == [3, 11]
    assert table["median"].tolist() == [0.25, 1.0]
    assert table["q25"].tolist() == [0.125, 1.0]


def test_overall_quality_is_that_of_the_mean_error():
    # Errors of 0.1 and 0.01.
    table = m.metric_quality(pd.DataFrame({"Q_0": [10.0, 20.0, np.nan]}))
    np.testing.assert_allclose(table["overall"], -10 * np.log10(0.055))


def test_mapping_by_threshold():
    reads = pd.DataFrame(
        {
            "plate": "1",
            "peak": [1.0, 2.0, 3.0, 4.0, 4.0],
            "gene_symbol": [None, "a", None, "b", "b"],
            "sgRNA": [None, "x", None, "y", "y"],
        }
    ).sample(frac=1, random_state=0)
    table = m.metric_mapping_by_threshold(reads, "peak", steps=5)
    assert table["threshold"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table["reads"].tolist() == [5, 4, 3, 2]
    assert table["mapped"].tolist() == [3, 3, 2, 2]
    assert table["mapped_share"].tolist() == pytest.approx([3 / 5, 3 / 4, 2 / 3, 1])


def test_mapping_by_threshold_of_wells_share_thresholds(screen):
    reads = screen[2]
    both = pd.concat([reads, reads.assign(well="A2", peak=reads["peak"] / 10)])
    table = m.metric_mapping_by_threshold(both, "peak", by=m.WELL)
    thresholds = {tuple(rows["threshold"]) for _, rows in table.groupby("well")}
    assert len(thresholds) == 1
    last = table[(table["well"] == "A2")].iloc[-1]
    assert last["reads"] == 0
    assert np.isnan(last["mapped_share"])


def test_mapping_by_threshold_without_reads(screen):
    table = m.metric_mapping_by_threshold(screen[2].iloc[:0], "peak")
    assert table.empty
    assert "mapped_share" in table


def test_chance_mapping():
    assert m.chance_mapping(["GTAC", "GTAG", "CCCC"], cycles=3) == 2 / 64


@pytest.fixture
def alignment():
    rows = [
        ("2", 1, "G", 0.0, 0.0, 0.1, 0.9),
        ("2", 1, "T", 1.0, 2.0, 0.7, 0.5),
        ("2", 2, "G", 4.0, 8.0, np.nan, 0.1),
        ("2", 2, "T", 4.0, 8.0, np.nan, 0.2),
        ("10", 1, "G", 0.0, 0.0, np.nan, 0.9),
        ("10", 1, "T", 0.0, 0.0, 0.2, 0.9),
        ("10", 2, "G", 3.0, 1.0, 0.5, 0.9),
        ("10", 2, "T", 5.0, 3.0, 0.1, 0.9),
    ]
    columns = ["tile", "cycle", "channel", "dy", "dx", "residual", "correlation"]
    table = pd.DataFrame(rows, columns=columns).assign(plate="1", well="A1")
    return table.assign(local_residual=np.where(table["cycle"] == 1, 0.1, 0.3))


def test_drift_is_the_median_over_channels(alignment):
    drift = m.metric_drift(alignment).set_index(["tile", "cycle"])
    assert drift.loc[("10", 2), ["dy", "dx"]].tolist() == [4.0, 2.0]
    assert drift.loc[("2", 1), ["dy", "dx"]].tolist() == [0.5, 1.0]


def test_residuals_keep_unmeasured_apart(alignment):
    table = m.metric_residuals(alignment, limit=0.5).set_index(["cycle", "channel"])
    assert table.loc[(1, "G"), ["tiles", "unmeasured", "above_limit"]].tolist() == [2, 1, 0]
    assert table.loc[(1, "G"), "median"] == 0.1
    assert table.loc[(1, "T"), "above_limit"] == 1
    assert table.loc[(2, "G"), "above_limit"] == 0  # at the limit is not above it
    assert table.loc[(2, "T"), "median"] == 0.1


def test_flagged_tiles_say_why(alignment):
    table = m.metric_flagged_tiles(alignment, limit=0.5)
    assert table["tile"].tolist() == ["2"]  # 10 lacks one channel of a cycle, which is no flag
    row = table.iloc[0]
    assert row["cycles"] == "1, 2"
    assert row["channels"] == "G, T"
    assert row["worst_residual"] == 0.7
    assert row["lowest_correlation"] == 0.1
    assert row["reason"] == "residual above 0.5 px, shift not measurable"


def test_tiles_whose_corners_are_off_are_flagged(alignment):
    table = m.metric_flagged_tiles(alignment, limit=0.25)
    rest = table[table["tile"] == "10"].iloc[0]
    assert (rest["cycles"], rest["channels"], rest["worst_residual"]) == ("2", "G, T", 0.5)
    corner = alignment.assign(residual=0.1)
    table = m.metric_flagged_tiles(corner, limit=0.25)
    assert table["worst_residual"].tolist() == [0.3, 0.3]
    assert set(table["reason"]) == {"spots in a part of the tile off by more than 0.25 px"}


def test_local_residuals_count_each_tile_and_cycle_once(alignment):
    table = m.metric_local_residuals(alignment, limit=0.2).set_index("cycle")
    assert table["tiles"].tolist() == [2, 2]
    assert table["above_limit"].tolist() == [0, 2]
    assert table["median"].tolist() == [0.1, 0.3]


def test_a_single_cycle_is_never_unmeasurable(alignment):
    one = alignment[alignment["cycle"] == 1].assign(residual=np.nan)
    assert m.metric_flagged_tiles(one, limit=0.5).empty


def test_flagged_tiles_of_no_tiles(alignment):
    assert m.metric_flagged_tiles(alignment.iloc[:0], limit=0.5).empty


def test_representation_counts_dropouts():
    library = pd.DataFrame({"sgRNA": ["a", "b", "c"], "gene_symbol": ["g", "g", "h"]})
    cells = pd.DataFrame(
        {
            "sgRNA_0": ["b", "b", "a", "c"],
            "gene_symbol_0": ["g", "g", "g", "h"],
            "mapped_single_gene": [True, True, True, False],
        }
    )
    guides = m.metric_representation(cells, library)
    assert guides[["sgRNA", "cells"]].to_numpy().tolist() == [["b", 2], ["a", 1], ["c", 0]]
    genes = m.metric_representation(cells, library, "gene_symbol")
    assert genes.to_numpy().tolist() == [["g", 2, 3], ["h", 1, 0]]


def test_skew_by_hand():
    even = m.metric_skew([5, 5, 5, 5])
    assert (even["gini"], even["skew_ratio"], even["dropouts"]) == (0, 1, 0)
    one = m.metric_skew([0, 0, 0, 8])
    assert one["gini"] == pytest.approx(3 / 4)  # (n - 1) / n when one has all
    assert one["skew_ratio"] == np.inf
    assert one["dropouts"] == 3
    # Of 1, 3: mean absolute difference 1, mean 2, Gini = 1 / (2 * 2).
    assert m.metric_skew([3, 1])["gini"] == pytest.approx(1 / 4)
    assert m.metric_skew(range(1, 12))["skew_ratio"] == pytest.approx(10 / 2)


def test_skew_of_nothing_is_unknown():
    assert np.isnan(m.metric_skew([])["gini"])
    assert np.isnan(m.metric_skew([0, 0])["gini"])
    assert np.isnan(m.metric_skew([0, 0])["skew_ratio"])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts):
    x = np.array(counts, float)
    expected = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    assert m.metric_skew(counts)["gini"] == pytest.approx(expected, abs=1e-9)


def test_example_tile_has_the_median_count():
    tiles = pd.DataFrame(
        [("A1", "1", 10), ("A1", "10", 20), ("A1", "2", 20), ("A1", "3", 90), ("B1", "7", 0)],
        columns=["well", "tile", "cells"],
    ).assign(plate="1")
    chosen = m.example_tiles(tiles.sample(frac=1, random_state=1))
    assert chosen["tile"].tolist() == ["2", "7"]  # 2 before 10 where both are as near


def test_parameters_mark_what_was_changed():
    config = {"sbs": {"threshold": 300, "bases": ["G", "T"], "nothing": None, "on": True, "s": {}}}
    defaults = {"sbs": {"threshold": 200, "bases": ["G", "T"], "nothing": None, "s": {}}}
    table = m.metric_parameters(config, defaults).set_index("key")
    assert table["changed"].to_dict() == {
        "sbs.threshold": True,
        "sbs.bases": False,
        "sbs.nothing": False,
        "sbs.on": True,
        "sbs.s": False,
    }
    assert table.loc["sbs.threshold", ["value", "default"]].tolist() == ["300", "200"]
    assert table.loc["sbs.bases", "value"] == "[G, T]"
    assert table.loc["sbs.nothing", "value"] == "null"


def test_benchmarks_per_rule():
    table = pd.DataFrame(
        {
            "rule": ["align", "align", "align", "call"],
            "s": [10.0, 20.0, 60.0, 0.1],
            "cpu_time": ["9", "18", "NA", "NA"],
            "max_rss": ["1000", "2000", "NA", "NA"],
        }
    )
    result = m.metric_benchmarks(table).set_index("rule")
    assert result.loc["align", "jobs"] == 3
    assert result.loc["align", "median_s"] == 20
    assert result.loc["align", "total_cpu_s"] == 27
    assert result.loc["align", "max_rss_gb"] == pytest.approx(2.097152)  # 2000 MiB
    assert result.index.tolist() == ["align", "call"]
    assert result.loc["call"].isna().tolist() == [False, False, False, True, True]


def test_software_names_what_is_missing():
    table = m.metric_software(["numpy", "no-such-package"]).set_index("software")["version"]
    assert table["numpy"] == np.__version__
    assert table["no-such-package"] == "not installed"
    assert table["python"].count(".") == 2


@pytest.mark.parametrize(
    ("well", "position"), [("A1", (0, 0)), ("A01", (0, 0)), ("h12", (7, 11)), ("AA2", (26, 1))]
)
def test_well_position(well, position):
    assert well_position(well) == position


@pytest.mark.parametrize("well", ["1A", "A", "A0", "", "A-1", "well 1"])
def test_a_bad_well_is_named(well):
    with pytest.raises(InputError, match="row letter"):
        well_position(well)


@given(st.integers(0, 47), st.integers(0, 31))
def test_well_names_round_trip(column, row):
    assert well_position(f"{row_name(row)}{column + 1}") == (row, column)


@pytest.mark.parametrize(
    ("wells", "size"),
    [
        ([], (2, 3)),
        (["A1", "B3"], (2, 3)),
        (["A4"], (3, 4)),
        (["H12"], (8, 12)),
        (["P1"], (16, 24)),
        (["AF48"], (32, 48)),
    ],
)
def test_plate_size(wells, size):
    assert plate_size(wells) == size


def test_a_well_beyond_all_plates_is_named():
    with pytest.raises(InputError, match="A49"):
        plate_size(["A49"])
