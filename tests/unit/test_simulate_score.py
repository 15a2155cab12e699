"""Scores of results that are right, wrong or absent in known ways."""

import json

import numpy as np
import pandas as pd
import pytest

from lib.shared.errors import InputError
from lib.shared.image_io import read_image, write_image
from lib.shared.tables import read_table, write_table
from lib.simulate.__main__ import main
from lib.simulate.score import (
    match_labels,
    score_genotypes,
    score_reads,
    score_screen,
    score_shifts,
    segmentation_f1,
    tile_truth,
)

PLACE = {"plate": "1", "well": "A1", "tile": "0"}


def table(**columns):
    return pd.DataFrame(columns).assign(**PLACE)


def squares(*boxes, shape=(20, 20)):
    labels = np.zeros(shape, np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = number
    return labels


def test_match_labels_by_hand():
    truth = squares((2, 2, 6, 6), (8, 8, 12, 12), (14, 2, 18, 6))
    # The first lacks a row (12 of 16 pixels), the second is moved by half, the third is alone.
    found = squares((8, 10, 12, 14), (2, 2, 5, 6))
    matches = match_labels(truth, found)
    assert matches["truth_label"].tolist() == [1]
    assert matches["label"].tolist() == [2]
    assert matches["iou"].tolist() == [0.75]


def test_an_iou_of_half_is_no_match():
    assert match_labels(squares((2, 2, 6, 6)), squares((2, 2, 6, 4))).empty
    with pytest.raises(ValueError, match="two partners"):
        match_labels(squares(), squares(), iou=0.4)


def test_segmentation_leaves_the_border_out():
    truth = squares((0, 0, 5, 5), (6, 6, 12, 12), (14, 2, 18, 6))
    # Found: the border object (kept whole by some), one right, one invented.
    found = squares((1, 1, 5, 5), (6, 6, 12, 12), (14, 12, 18, 16))
    scores = segmentation_f1(truth, found)
    assert (scores["truth"], scores["found"], scores["matched"]) == (2, 2, 1)
    assert scores["f1"] == scores["precision"] == scores["recall"] == 0.5
    assert scores["mean_iou"] == 1


def test_segmentation_of_nothing():
    scores = segmentation_f1(squares((4, 4, 9, 9)), squares())
    assert scores["recall"] == 0 and scores["precision"] is None


@pytest.fixture
def genotypes():
    truth = table(
        label=[1, 2, 3, 4, 5, 6],
        n_guides=[1, 1, 1, 0, 2, 1],
        n_reads=[4, 3, 0, 0, 9, 5],
        touches_border=[False, False, False, False, False, True],
        barcode_0=["AC", "GT", "AC", None, "CC", "TT"],
        barcode_1=[None, None, None, None, "GG", None],
    )
    matches = table(truth_label=[1, 2, 3, 4, 5, 6], label=[11, 12, 13, 14, 15, 16])
    cells = table(
        cell=[11, 12, 14, 15, 16, 99],
        cell_barcode_0=["AC", "AA", "AC", "GG", "TT", "AC"],
        gene_symbol_0=["X", "Y", "X", "Z", "W", "X"],
    )
    return cells, truth, matches


def test_genotypes_by_hand(genotypes):
    scores = score_genotypes(*genotypes)
    # Eligible are cells 1 and 2; 1 is right. Calls with a partner: 1, 5 and 6 right, 2 and 4 wrong.
    assert scores["recall"] == scores["recall_segmented"] == 0.5
    assert scores["precision"] == 0.6
    assert scores["called_empty"] == 1.0
    assert (scores["eligible"], scores["called"], scores["called_without_partner"]) == (2, 5, 1)


def test_a_cell_not_segmented_costs_recall_only(genotypes):
    cells, truth, matches = genotypes
    scores = score_genotypes(cells, truth, matches.query("truth_label != 1"))
    assert scores["recall"] == 0 and scores["eligible"] == 2
    assert scores["precision"] == 0.5


def test_calls_outside_the_library_do_not_count(genotypes):
    cells, truth, matches = genotypes
    scores = score_genotypes(cells.assign(gene_symbol_0=None), truth, matches)
    assert scores["recall"] == 0 and scores["precision"] is None


def test_reads_by_hand():
    truth = table(
        i=[10.0, 30.0, 50.0, 70.0],
        j=[10.0] * 4,
        barcode=["AC", "GT", "CC", "TT"],
        cell_id=[1, 1, 2, 0],
    )
    # Right; wrong in one base; none; right on a stray read; invented.
    reads = table(
        i=[11.0, 30.5, 70.0, 90.0],
        j=[10.5, 10.0, 10.0, 10.0],
        barcode=["AC", "GG", "TT", "AC"],
        gene_symbol=["X", None, "Y", "X"],
    )
    scores = score_reads(reads, truth)
    assert scores["found"] == pytest.approx(2 / 3)
    assert scores["exact"] == pytest.approx(1 / 3)
    assert scores["exact_of_found"] == 0.5
    assert scores["mapped"] == 0.75
    assert scores["mapped_correct"] == pytest.approx(2 / 3)


def test_reads_of_other_tiles_are_no_partners():
    truth = table(i=[10.0], j=[10.0], barcode=["AC"], cell_id=[1])
    reads = truth.assign(tile="1", gene_symbol="X")
    assert score_reads(reads, truth)["found"] == 0


def shifts(n=50):
    rng = np.random.default_rng(0)
    moves = {"dy": rng.normal(0, 3, n), "dx": rng.normal(0, 3, n)}
    return table(cycle=np.arange(n) // 5 + 1, channel=list("DGTAC") * (n // 5), **moves)


def test_a_constant_of_the_tile_is_no_shift_error():
    truth = shifts()
    scores = score_shifts(truth.assign(dy=truth["dy"] + 0.7, dx=truth["dx"] - 2), truth)
    assert scores["max"] == pytest.approx(0, abs=1e-9)


def test_shift_errors_are_distances():
    truth = shifts()
    wrong = truth.copy()
    wrong.loc[7, ["dy", "dx"]] += [3.0, -4.0]
    scores = score_shifts(wrong.iloc[:-1], truth)
    assert scores["max"] == pytest.approx(5) and scores["median"] == pytest.approx(0, abs=1e-9)
    assert (scores["planes"], scores["planes_missing"]) == (49, 1)
    with pytest.raises(InputError, match="no plane in common"):
        score_shifts(truth.assign(tile="9"), truth)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("scored") / "screen"
    arguments = ["--preset", "tiny", "--tile-size", "160", "--no-phenotype"]
    assert main([str(out_dir), *arguments]) == 0
    return out_dir


@pytest.fixture
def perfect(screen, tmp_path):
    """Results of a run that made no mistake; its labels are numbered otherwise."""
    truth = screen / "truth"
    for path in sorted((truth / "labels/sbs").glob("*.tiff")):
        labels = read_image(path)
        write_image(tmp_path / "sbs/images" / path.name, np.where(labels > 0, labels + 5, 0), "YX")
    table = read_table(truth / "shifts.tsv")
    table["dy"] -= 0.4
    for tile, part in table.groupby("tile"):
        write_table(tmp_path / f"sbs/tsvs/P-1_W-A1_T-{tile}__alignment.tsv", part)
    reads = read_table(truth / "reads.parquet").assign(gene_symbol="X")
    write_table(tmp_path / "sbs/parquets/P-1_W-A1__reads.parquet", reads)
    cells = tile_truth(screen).query("n_guides > 0 and n_reads > 0")
    cells = cells.assign(cell=cells["label"] + 5, cell_barcode_0=cells["barcode_0"])
    cells = cells.rename(columns={"gene_symbol": "gene_symbol_0"})
    write_table(tmp_path / "sbs/parquets/P-1_W-A1__cells.parquet", cells)
    return tmp_path


def test_a_perfect_run_gets_full_marks(screen, perfect, capsys):
    assert main(["score", str(screen), str(perfect)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["nuclei"]["f1"] == scores["cells"]["f1"] == 1
    assert scores["cells"]["truth"] > 5
    assert scores["alignment"]["max"] < 1e-6
    assert scores["alignment"]["planes"] == 2 * 6 * 5
    assert scores["reads"]["exact"] == scores["reads"]["mapped_correct"] == 1
    genotypes = scores["genotypes"]
    assert genotypes["recall"] == genotypes["precision"] == 1
    assert genotypes["called_empty"] == 0 and genotypes["eligible"] > 5


def test_cycles_that_were_not_read_cost_no_marks(screen, perfect):
    """The third of six failed, and the last was left out."""
    for info, name in (("reads", "barcode"), ("cells", "cell_barcode_0")):
        path = perfect / f"sbs/parquets/P-1_W-A1__{info}.parquet"
        table = read_table(path)
        table[name] = table[name].str.slice_replace(2, 3, "N").str[:5]
        write_table(path, table)
    scores = score_screen(screen, perfect)
    assert scores["reads"]["exact"] == 1
    assert scores["genotypes"]["recall"] == scores["genotypes"]["precision"] == 1


def test_mistakes_cost_marks(screen, perfect):
    path = perfect / "sbs/parquets/P-1_W-A1__cells.parquet"
    cells = read_table(path)
    wrong = cells.index % 2 == 0
    cells.loc[wrong, "cell_barcode_0"] = "NNNNNN"
    write_table(path, cells)
    genotypes = score_screen(screen, perfect)["genotypes"]
    assert genotypes["precision"] == pytest.approx(1 - wrong.mean())
    assert 0.2 < genotypes["recall"] < 0.8


def test_a_missing_result_is_named(screen, perfect):
    (perfect / "sbs/images/P-1_W-A1_T-1__cells.tiff").unlink()
    with pytest.raises(InputError, match=r"P-1_W-A1_T-1__cells\.tiff does not exist"):
        score_screen(screen, perfect)
