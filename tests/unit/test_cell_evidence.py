"""Which guide a cell carries, by probability: cases by hand and simulated cells."""

import numpy as np
import pandas as pd
import pytest

from lib.sbs.cell_evidence import (
    CellLaw,
    Groups,
    call_cells_by_evidence,
    estimate_law,
    log_binomial,
    weigh_cells,
)


def reads(*rows):
    """Accepted reads from (cell, guide, evidence of the group); no guide: an unmapped read."""
    table = pd.DataFrame(rows, columns=["cell", "sgRNA", "evidence"])
    guide = table["sgRNA"]
    return table.assign(
        plate="1",
        well="A1",
        tile="0",
        read=range(len(table)),
        gene_symbol=guide.str[:1],
        barcode=guide.fillna("TTTT"),
        barcode_library=guide,
        posterior=np.where(guide.notna(), 0.999, 0.0),
        p_cell=np.where(guide.notna(), 1.0, np.nan),
        peak=5.0,
    )


def info(count):
    cells = np.arange(1, count + 1)
    return pd.DataFrame({"cell": cells, "i": 1.0, "j": 2.0}).assign(plate="1", well="A1", tile="0")


def test_negative_binomial_by_hand():
    # Size 1 is the geometric law: P(m) = p (1 - p)^m with p = 1 / (1 + mean).
    assert np.exp(log_binomial(np.arange(3.0), 1.0, 1.0)) == pytest.approx([0.5, 0.25, 0.125])


def test_a_cell_with_one_guide_by_hand():
    law = CellLaw(empty=0.2, double=0.0, mean=5.0, size=3.0)
    groups = Groups(np.array([0]), np.array([0.01]), np.array([2.0]), np.array([4.0]))
    found = weigh_cells(groups, law)
    unseen = np.exp(log_binomial(np.zeros(1), 5.0, 3.0))
    one = 0.8 * 0.01 * np.exp(4.0)
    assert found.carried == pytest.approx(one / (0.2 + one + 0.8 * unseen))
    assert found.empty == pytest.approx(0.2 / (0.2 + one + 0.8 * unseen))
    assert found.double[0] == 0


def test_a_doublet_by_hand():
    law = CellLaw(empty=0.2, double=0.1, mean=50.0, size=50.0)  # no carried guide goes unseen
    share, evidence = np.array([0.1, 0.2]), np.log([30.0, 40.0])
    found = weigh_cells(Groups(np.zeros(2, int), share, np.ones(2), evidence), law)
    total = 0.2 + 0.7 * (3 + 8) + 0.1 * 2 * 3 * 8
    assert found.single == pytest.approx([0.7 * 3 / total, 0.7 * 8 / total])
    assert found.double == pytest.approx([0.1 * 2 * 3 * 8 / total])
    assert found.carried == pytest.approx(found.single + found.double)


def many_cells(rng, count=400, guides=20, leak=0.03):
    """Cells with about six reads each, a tenth empty, a tenth of two guides, and some leaks."""
    rows, truth = [], []
    for cell in range(1, count + 1):
        kind = rng.choice(3, p=[0.1, 0.8, 0.1])
        own = rng.choice(guides, kind, replace=False)
        truth.append(set(own))
        for g in own:
            found = rng.poisson(6)
            rows += [(cell, f"{chr(65 + g)}1", 4.0 * found)] * found
        if rng.random() < leak:
            rows.append((cell, f"{chr(65 + rng.integers(guides))}1", -3.0))
    return reads(*rows), truth


def test_cells_are_told_apart():
    rng = np.random.default_rng(0)
    table, truth = many_cells(rng)
    cells, law = call_cells_by_evidence(table, info(400))
    assert law.empty == pytest.approx(0.1, abs=0.04)
    assert law.double == pytest.approx(0.1, abs=0.04)
    assert law.mean == pytest.approx(6, abs=0.5)
    own = [truth[cell - 1] for cell in cells["cell"]]
    first = cells["sgRNA_0"].fillna("?").str[0]
    right = np.array([ord(f) - 65 in t for f, t in zip(first, own, strict=True)])
    called = cells["sgRNA_0"].notna().to_numpy()
    assert right[called].mean() > 0.99
    assert called[np.array([len(t) > 0 for t in own])].mean() > 0.98
    two = np.array([len(t) == 2 for t in own])
    assert cells["p_doublet"][two].mean() > 0.9 and cells["p_doublet"][~two].mean() < 0.05
    # Probabilities mean what they say.
    assert cells["p_barcode"][called].mean() == pytest.approx(right[called].mean(), abs=0.02)
    single = cells["mapped_single_gene"].to_numpy()
    assert not single[two].any() or single[two].mean() < 0.1
    assert single[~two & called].mean() > 0.95


def test_a_guide_that_leaked_is_named_but_not_called():
    rng = np.random.default_rng(1)
    table, _ = many_cells(rng)
    lone = reads((401, "A1", -3.0), (402, "B1", 7.0))
    cells, _ = call_cells_by_evidence(pd.concat([table, lone], ignore_index=True), info(402))
    leaked, own = (cells[cells["cell"] == cell].iloc[0] for cell in (401, 402))
    assert leaked["p_barcode"] < 0.5 < own["p_barcode"]
    assert pd.isna(leaked["gene_symbol_0"]) and own["gene_symbol_0"] == "B"
    assert leaked["cell_barcode_0"] == "A1"


def test_two_guides_of_one_gene_are_one_gene():
    rng = np.random.default_rng(2)
    table, _ = many_cells(rng)
    pair = reads(*[(401, "A1", 20.0)] * 5, *[(401, "A2", 20.0)] * 5)
    others = reads(*[(402, "A1", 20.0)] * 5, *[(402, "B1", 20.0)] * 5)
    spare = reads(*[(403, "A2", 20.0)] * 6)
    cells, _ = call_cells_by_evidence(
        pd.concat([table, pair, others, spare], ignore_index=True), info(403)
    )
    cells = cells.set_index("cell")
    assert cells.loc[401, "mapped_single_gene"] and cells.loc[401, "p_doublet"] > 0.9
    assert not cells.loc[402, "mapped_single_gene"]
    assert cells.loc[403, "mapped_single_gene"] and cells.loc[403, "p_doublet"] < 0.1


def test_recombined_and_unmapped_reads():
    table = reads(*[(1, "A1", 20.0)] * 4, *[(1, "B1", 20.0)] * 5, (2, None, 0.0), (2, None, 0.0))
    table["recombined"] = pd.array([False] * 4 + [True] * 5 + [pd.NA] * 2, "boolean")
    cells, _ = call_cells_by_evidence(table, info(3))
    assert cells["cell"].tolist() == [1, 2]
    assert cells["sgRNA_0"].fillna("").tolist() == ["A1", ""]
    assert cells["cell_barcode_0"].tolist() == ["A1", "TTTT"]
    assert cells["cell_barcode_count_0"].tolist() == [4, 2]
    assert cells["mapped_single_gene"].tolist() == [True, False]


def test_no_reads():
    full, _ = call_cells_by_evidence(reads((1, "A1", 0.0), (1, None, 0.0)), info(2))
    empty, law = call_cells_by_evidence(reads((0, "A1", 0.0)), info(2))
    assert len(empty) == 0 and list(empty.columns) == list(full.columns)
    assert law == estimate_law(Groups(np.zeros(0, int), *[np.zeros(0)] * 3), 0)


def test_certain_guides_of_a_cell_go_by_their_reads():
    few, many = [(1, "A1", 30.0)] * 2, [(1, "B1", 25.0)] * 6
    others = [(cell, "C1", 20.0) for cell in range(2, 40) for _ in range(5)]
    cells, _ = call_cells_by_evidence(reads(*few, *many, *others), info(40))
    assert cells.loc[0, "sgRNA_0"] == "B1" and cells.loc[0, "sgRNA_1"] == "A1"
