"""From which cells reads come: cases by hand and a row of cells whose borders are drawn wrong."""

import numpy as np
import pytest

from lib.sbs.calibration import Curve
from lib.sbs.cell_evidence import CellLaw
from lib.sbs.read_sources import (
    SourceLaw,
    estimate_sources,
    find_candidates,
    find_sources,
    likeliest,
)

LAW = SourceLaw(Curve(np.array([1.0, 5.0]), np.array([0.4, 0.02])), 0.02, CellLaw())


def candidates(rows, share):
    """Reads from (cell it lies in, near cell, distance, guide)."""
    own, near, distance, guide = (np.array(column) for column in zip(*rows, strict=True))
    cells, distance = np.stack([own, near]), np.where(near > 0, distance, np.nan)[None]
    weight = np.where(guide >= 0, 1.0, 0.0)
    return find_candidates(np.full(len(own), "0"), cells, distance, guide, weight, share)


def sources(rows, share, law=LAW):
    """Cell that each read most likely comes from (0: not known), and its candidates."""
    found = candidates(rows, share)
    result = find_sources(found, law)
    best = likeliest(found, result.chance)
    cells = np.array([row[:2] for row in rows])
    taken = found.rank[np.maximum(best, 0)] if len(found.rank) else np.zeros(len(rows), int)
    return np.where(best >= 0, cells[np.arange(len(rows)), taken], 0).tolist(), found, result


def test_candidates_by_hand():
    found = candidates(
        [(1, 2, 3.0, 0), (0, 2, 1.0, 0), (1, 0, 0.0, 1), (2, 1, 2.0, -1)], np.ones(2)
    )
    assert sorted(zip(found.read, found.rank, found.distance, strict=True)) == [
        (0, 0, 0), (0, 1, 3), (1, 1, 1), (2, 0, 0),
    ]  # fmt: skip
    # Groups: guide 0 in cell 1, guide 1 in cell 1, guide 0 in cell 2.
    assert len(found.cell) == 3 and len(set(found.cell)) == 2


def test_a_read_goes_back_over_the_border_to_the_cell_of_its_guide():
    rare = np.full(100, 0.01)
    rows = [(1, 0, 0, 0)] * 6 + [(2, 0, 0, 1)] * 6 + [(2, 1, 1.0, 0)]
    assert sources(rows, rare)[0] == [1] * 6 + [2] * 6 + [1]


def test_reads_of_a_cell_drawn_wholly_elsewhere_find_it():
    # Cell 3 has no read inside; two of a guide that nobody else has lie in its neighbours.
    rare = np.full(100, 0.01)
    rows = [(1, 0, 0, 0)] * 6 + [(2, 0, 0, 1)] * 6 + [(1, 3, 1.0, 2), (2, 3, 1.0, 2)]
    assert sources(rows, rare)[0][-2:] == [3, 3]


def test_a_common_guide_is_not_taken_from_its_cell():
    # Both cells may well carry it: reads deep in the second are its own.
    common = np.array([0.9, 0.1])
    rows = [(1, 0, 0, 0)] * 8 + [(2, 1, 5.0, 0)] * 2
    assert sources(rows, common)[0][-2:] == [2, 2]


def test_evidence_of_a_lone_read_by_its_place():
    rare = np.full(100, 0.01)
    rows = [(1, 0, 0, 0)] * 8 + [(2, 1, 1.0, 0), (3, 0, 0, 0)]
    _, found, result = sources(rows, rare)
    leaked, alone = (result.evidence[found.group[found.rank == 0][read]] for read in (8, 9))
    assert leaked < 2 < 4 < alone


def test_law_of_a_row_of_cells():
    rng = np.random.default_rng(0)
    rows, share = [], np.full(200, 1 / 200)
    for cell in range(1, 401):
        guide = rng.integers(200)
        for _ in range(rng.poisson(6)):
            lost = rng.random() < 0.1  # these lie in the next cell
            rows.append((cell + 1, cell, 1.0, guide) if lost else (cell, cell + 1, 1.0, guide))
    found = candidates(rows, share)
    law = estimate_sources(found, 401)
    # All reads lie 1 px from a neighbour: a tenth against nine tenths.
    assert law.spill(np.array([1.0])) == pytest.approx(0.1 / 0.9, rel=0.3)
    assert law.cells.mean == pytest.approx(6, rel=0.1)
    assert law.cells.empty < 0.05 and law.stray < 0.03


def test_no_reads():
    for rows in ([(1, 0, 0.0, -1)], [(0, 0, 0.0, 0)]):
        found = candidates(rows, np.ones(1))
        assert estimate_sources(found, 1).stray == SourceLaw().stray
        result = find_sources(found, LAW)
        assert likeliest(found, result.chance).tolist() == [-1]
