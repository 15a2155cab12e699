"""Marks for the results of a run, against the truth of a simulated screen."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib.shared import layout
from lib.shared.errors import InputError
from lib.shared.image_io import read_image
from lib.shared.tables import KEY_COLUMNS, read_table

TILE = list(KEY_COLUMNS)
PLANE = [*TILE, "cycle", "channel"]

Counts = dict[str, float]
Scores = dict[str, float | None]


def match_labels(truth_labels: np.ndarray, labels: np.ndarray, iou: float = 0.5) -> pd.DataFrame:
    """Pair the objects of two label images (Y, X) by intersection over union.

    Returns columns `truth_label, label, iou` of the pairs above `iou`, which must be 0.5 or
    more: then no object can have two partners.
    """
    if iou < 0.5:
        raise ValueError(f"an iou of {iou} can give an object two partners")
    if truth_labels.shape != labels.shape:
        raise ValueError(f"label images of {truth_labels.shape} and {labels.shape} do not match")
    truth_flat, flat = truth_labels.ravel().astype(np.int64), labels.ravel().astype(np.int64)
    width = int(flat.max(initial=0)) + 1
    pairs, shared = np.unique(truth_flat * width + flat, return_counts=True)
    truth_label, label = np.divmod(pairs, width)
    union = np.bincount(truth_flat)[truth_label] + np.bincount(flat)[label] - shared
    ratio = shared / union
    good = (truth_label > 0) & (label > 0) & (ratio > iou)
    return pd.DataFrame(
        {"truth_label": truth_label[good], "label": label[good], "iou": ratio[good]}
    )


def segmentation_counts(truth_labels: np.ndarray, labels: np.ndarray, iou: float = 0.5) -> Counts:
    """Count objects of two label images (Y, X) that are whole and that agree.

    Objects that touch the border are left out on both sides, and so is what was found
    in place of a true object that touches it: pipelines may keep or drop these. Returns
    `truth, found, matched` and `iou_sum` over the matched.
    """
    matches = match_labels(truth_labels, labels, iou)
    whole = _whole(truth_labels)
    kept = matches[matches["truth_label"].isin(whole)]
    at_border = matches.loc[~matches["truth_label"].isin(whole), "label"]
    found = np.union1d(np.setdiff1d(_whole(labels), at_border), kept["label"])
    return {
        "truth": len(whole),
        "found": len(found),
        "matched": len(kept),
        "iou_sum": float(kept["iou"].sum()),
    }


def segmentation_f1(truth_labels: np.ndarray, labels: np.ndarray, iou: float = 0.5) -> Scores:
    """Return `precision, recall, f1, mean_iou` and the counts of `segmentation_counts`."""
    return _with_rates(segmentation_counts(truth_labels, labels, iou))


def score_genotypes(cells: pd.DataFrame, truth: pd.DataFrame, matches: pd.DataFrame) -> Scores:
    """Compare called barcodes with those that the cells were given.

    Parameters
    ----------
    cells : results, `plate, well, tile, cell, cell_barcode_0, gene_symbol_0` (null when the
        barcode is not in the library).
    truth : one row per cell and tile, `plate, well, tile, label, n_guides, n_reads` (in that
        tile), `touches_border, barcode_0, barcode_1`.
    matches : `plate, well, tile, truth_label, label`.

    Returns
    -------
    dict: `recall` over true cells with one guide and a read or more in the tile that do not
    touch its border; `recall_segmented` over those of them that were segmented; `precision`
    over calls in the library in a cell that has a true partner: right when it is a
    barcode of that cell; `called_empty`, the share of true cells without guide that got a
    call; and the counts behind them.
    """
    called = cells.loc[cells["gene_symbol_0"].notna(), [*TILE, "cell", "cell_barcode_0"]]
    partners = matches.rename(columns={"label": "cell", "truth_label": "label"})
    paired = truth.merge(partners, how="left", on=[*TILE, "label"])
    segmented = paired["cell"].notna()
    paired = paired.merge(called, how="left", on=[*TILE, "cell"])
    has_call = paired["cell_barcode_0"].notna()
    right = has_call & (
        (paired["cell_barcode_0"] == paired["barcode_0"])
        | (paired["cell_barcode_0"] == paired["barcode_1"])
    )
    eligible = (paired["n_guides"] == 1) & (paired["n_reads"] > 0) & ~paired["touches_border"]
    empty = (paired["n_guides"] == 0) & segmented
    return {
        "recall": _ratio((right & eligible).sum(), eligible.sum()),
        "recall_segmented": _ratio((right & eligible).sum(), (eligible & segmented).sum()),
        "precision": _ratio(right.sum(), has_call.sum()),
        "called_empty": _ratio((has_call & empty).sum(), empty.sum()),
        "eligible": int(eligible.sum()),
        "called": int(has_call.sum()),
        "called_without_partner": len(called) - int(has_call.sum()),
    }


def score_reads(reads: pd.DataFrame, truth: pd.DataFrame, tolerance: float = 2.0) -> Scores:
    """Compare reads by place and sequence.

    `reads` and `truth` have `plate, well, tile, i, j, barcode`; truth also `cell_id` (0 for
    stray reads), results `gene_symbol`. Partners are mutual nearest neighbours within
    `tolerance` pixels. `found` and `exact` are shares of the true reads in cells; `mapped`
    is the share of results in the library, `mapped_correct` the share of those that have
    a true partner of equal barcode.
    """
    partner = pd.Series(None, index=reads.index, dtype=object)
    own = truth["cell_id"] > 0
    true_groups = truth.groupby(TILE).indices
    found = exact = 0
    for tile, index in reads.groupby(TILE).indices.items():
        rows = true_groups.get(tile, np.empty(0, int))
        true, called = _mutual_nearest(truth.iloc[rows], reads.iloc[index], tolerance)
        barcodes = truth["barcode"].to_numpy()[rows[true]]
        partner.iloc[index[called]] = barcodes
        mine = own.to_numpy()[rows[true]]
        found += int(mine.sum())
        exact += int((mine & (reads["barcode"].to_numpy()[index[called]] == barcodes)).sum())
    mapped = reads["gene_symbol"].notna()
    correct = mapped & (reads["barcode"] == partner)
    return {
        "found": _ratio(found, own.sum()),
        "exact": _ratio(exact, own.sum()),
        "exact_of_found": _ratio(exact, found),
        "mapped": _ratio(mapped.sum(), len(reads)),
        "mapped_correct": _ratio(correct.sum(), mapped.sum()),
        "truth": int(own.sum()),
        "called": len(reads),
    }


def score_shifts(alignment: pd.DataFrame, truth: pd.DataFrame) -> Scores:
    """Compare measured with true shifts (`plate, well, tile, cycle, channel, dy, dx`).

    Both say where the features of a plane lie; a constant of each tile (the choice of the
    reference frame) is removed as the median difference. Errors are distances in pixels.

    Raises `InputError` when no plane is in both tables.
    """
    both = alignment.merge(truth, on=PLANE, suffixes=("", "_true"))
    if both.empty:
        raise InputError("The alignment table and the true shifts have no plane in common.")
    error = pd.DataFrame({axis: both[axis] - both[f"{axis}_true"] for axis in ("dy", "dx")})
    keys = [both[name] for name in TILE]
    error -= error.groupby(keys).transform("median")
    distance = np.hypot(error["dy"], error["dx"])
    return {
        "median": float(distance.median()),
        "p99": float(distance.quantile(0.99)),
        "max": float(distance.max()),
        "planes": len(both),
        "planes_missing": len(truth) - len(both),
    }


def tile_truth(out_dir: str | os.PathLike) -> pd.DataFrame:
    """Return one row per SBS tile and cell of a simulated screen, with what is true of it.

    Columns of `truth/tile_cells.parquet` and `n_reads` in that tile, `n_guides`,
    `barcode_0`, `barcode_1` and `gene_symbol` of the cell.
    """
    folder = Path(out_dir) / "truth"
    tile_cells = read_table(folder / "tile_cells.parquet").query("module == 'sbs'")
    cells = read_table(folder / "cells.parquet").drop(columns="n_reads")
    reads = read_table(folder / "reads.parquet")
    counts = reads[reads["cell_id"] > 0].groupby([*TILE, "cell_id"]).size().rename("n_reads")
    wanted = ["n_guides", "barcode_0", "barcode_1", "gene_symbol"]
    truth = tile_cells.merge(cells[["plate", "well", "cell_id", *wanted]])
    truth = truth.merge(counts.reset_index(), how="left", on=[*TILE, "cell_id"])
    truth["n_reads"] = truth["n_reads"].fillna(0).astype(int)
    return truth


def score_screen(out_dir: str | os.PathLike, results_dir: str | os.PathLike) -> dict[str, Scores]:
    """Compare the results of a run (`all.root_fp`) with the truth of `out_dir`.

    Returns the scores of `nuclei`, `cells` (segmentation), `alignment`, `reads` and
    `genotypes`. Raises `InputError` naming the first result that is missing.
    """
    truth, results = Path(out_dir) / "truth", Path(results_dir)
    expected = tile_truth(out_dir)
    tiles = read_table(truth / "tiles.tsv").query("module == 'sbs'")
    places = [dict(zip(TILE, row, strict=True)) for row in tiles[TILE].itertuples(index=False)]
    wells = [{"plate": plate, "well": well} for plate, well in _unique_wells(tiles)]

    scores, matches = {}, []
    for info in ("nuclei", "cells"):
        counts = []
        for place in places:
            name = f"{layout.TILE}__{info}.tiff".format(**place)
            true = read_image(truth / "labels" / "sbs" / name)
            labels = read_image(results / _template(info, "tiff").format(**place))
            counts.append(segmentation_counts(true, labels))
            if info == "cells":
                matches.append(match_labels(true, labels).assign(**place))
        scores[info] = _with_rates(pd.DataFrame(counts).sum().to_dict())

    alignment = [read_table(results / _template("alignment", "tsv").format(**p)) for p in places]
    shifts = read_table(truth / "shifts.tsv")
    scores["alignment"] = score_shifts(pd.concat(alignment), shifts)
    reads = [read_table(results / _template("reads", "parquet").format(**w)) for w in wells]
    reads = pd.concat(reads, ignore_index=True)
    true_reads = read_table(truth / "reads.parquet")
    for table, names in ((true_reads, ["barcode"]), (expected, ["barcode_0", "barcode_1"])):
        for name in names:
            table[name] = _as_read(table[name], reads["barcode"])
    scores["reads"] = score_reads(reads, true_reads)
    cells = [read_table(results / _template("cells", "parquet").format(**w)) for w in wells]
    scores["genotypes"] = score_genotypes(pd.concat(cells), expected, pd.concat(matches))
    return scores


def _as_read(barcodes: pd.Series, called: pd.Series) -> pd.Series:
    """True `barcodes` as far as `called` ones go, with N where all those have it: failed cycles."""
    if called.empty:
        return barcodes
    places = list(zip(*called, strict=True))
    barcodes = barcodes.str[: len(places)]
    failed = [k for k, letters in enumerate(places) if set(letters) == {"N"}]
    for k in failed:
        barcodes = barcodes.str.slice_replace(k, k + 1, "N")
    return barcodes


def _template(info: str, suffix: str) -> str:
    """Find the path template of an SBS output by the end of its name."""
    ending = f"__{info}.{suffix}"
    paths = [path for stage in layout.SBS.values() for path in stage]
    return next(path for path in paths if path.endswith(ending))


def _unique_wells(tiles: pd.DataFrame) -> list[tuple[str, str]]:
    return list(tiles[["plate", "well"]].drop_duplicates().itertuples(index=False, name=None))


def _whole(labels: np.ndarray) -> np.ndarray:
    """Return the labels that do not touch the border of the image."""
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.setdiff1d(labels, np.append(edge, 0))


def _with_rates(counts: Counts) -> Scores:
    precision = _ratio(counts["matched"], counts["found"])
    recall = _ratio(counts["matched"], counts["truth"])
    return {
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * counts["matched"], counts["found"] + counts["truth"]),
        "mean_iou": _ratio(counts["iou_sum"], counts["matched"]),
        **{name: int(counts[name]) for name in ("truth", "found", "matched")},
    }


def _mutual_nearest(
    truth: pd.DataFrame, reads: pd.DataFrame, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of true and called reads that are each other's nearest."""
    from scipy.spatial import cKDTree

    if truth.empty or reads.empty:
        return np.empty(0, int), np.empty(0, int)
    a, b = truth[["i", "j"]].to_numpy(), reads[["i", "j"]].to_numpy()
    distance, nearest = cKDTree(b).query(a)
    _, back = cKDTree(a).query(b)
    position = np.arange(len(a))
    mutual = (distance <= tolerance) & (back[nearest] == position)
    return position[mutual], nearest[mutual]


def _ratio(part: float, whole: float) -> float | None:
    """Return a share, or None where there is nothing to have a share of."""
    return float(part) / float(whole) if whole else None
