"""From reads to the guide of each cell."""

import numpy as np
import pandas as pd

RANKS = 2  # barcodes kept per cell
DOMINANCE = 2  # a cell has a single gene when the next one has at most 1/2 of its support

KEYS = ["plate", "well", "tile", "cell"]


def call_cells(
    reads: pd.DataFrame, info: pd.DataFrame, by: str = "count", min_quality: float = 0.0
) -> pd.DataFrame:
    """Rank the barcodes of each cell and say which gene it carries.

    Parameters
    ----------
    reads : reads table of a well, with `barcode_library` and `mismatches`.
    info : one row per cell: `plate, well, tile, cell, i, j`.
    by : "count" ranks by the number of reads, "peak" by the sum of their peaks.
    min_quality : least `Q_min` of a read that counts.

    Library barcodes come first. Ties are settled by the other measure, then by
    the fewest mismatches, then by the alphabet. Reads known to be recombined do
    not count. Returns one row per cell with a read that counts:
    `cell_barcode_r, cell_barcode_count_r, cell_barcode_peak_r, sgRNA_r,
    gene_symbol_r` for the ranks r = 0 and 1, `barcode_count` (all reads that
    count) and `mapped_single_gene`: the first barcode is in the library, and the
    second is not, or is of the same gene, or has at most half of the support.
    """
    if by not in ("count", "peak"):
        raise ValueError(f"cells are called by count or peak, not {by}")
    counted = (reads["cell"] > 0) & (reads["Q_min"] >= min_quality)
    if "recombined" in reads:
        counted &= ~reads["recombined"].fillna(False).astype(bool)
    reads = reads[counted]
    ranked = _rank_barcodes(reads, by)

    cells = spread_ranks(ranked, reads)
    cells["mapped_single_gene"] = single_gene(cells, by)
    return place_cells(cells, info)


def spread_ranks(ranked: pd.DataFrame, reads: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, a column per rank for what `ranked` says of its barcodes.

    `ranked` has `barcode, count, peak, sgRNA, gene_symbol, rank` per cell and barcode;
    `barcode_count` are all `reads` of a cell.
    """
    cells = reads.groupby(KEYS, sort=True).size().rename("barcode_count").reset_index()
    for rank in range(RANKS):
        columns = ["barcode", "count", "peak", "sgRNA", "gene_symbol"]
        columns += ["gene_id"] if "gene_id" in ranked else []
        names = {name: f"cell_barcode_{name}_{rank}" for name in ("count", "peak")}
        names |= {"barcode": f"cell_barcode_{rank}"}
        names |= {name: f"{name}_{rank}" for name in ("sgRNA", "gene_symbol", "gene_id")}
        own = ranked.loc[ranked["rank"] == rank, KEYS + columns].rename(columns=names)
        cells = cells.merge(own, on=KEYS, how="left", validate="one_to_one")
        count = f"cell_barcode_count_{rank}"
        cells[count] = cells[count].fillna(0).astype("int32")
        peak = f"cell_barcode_peak_{rank}"
        cells[peak] = cells[peak].fillna(0).astype("float32")
    return cells


def place_cells(cells: pd.DataFrame, info: pd.DataFrame) -> pd.DataFrame:
    """Cells with their centres, columns in the order that the table has them."""
    cells = cells.merge(info[[*KEYS, "i", "j"]], on=KEYS, how="left", validate="one_to_one")
    first = [*KEYS, "i", "j"]
    last = ["barcode_count", "mapped_single_gene"]
    last += [name for name in ("p_barcode", "p_doublet") if name in cells]
    middle = [name for name in cells.columns if name not in first + last]
    return cells[first + middle + last]


def single_gene(cells: pd.DataFrame, by: str = "count") -> pd.Series:
    """Whether a cell's reads speak for one gene alone; see `call_cells`."""
    mapped, second = cells["gene_symbol_0"].notna(), cells["gene_symbol_1"]
    same = (second == cells["gene_symbol_0"]).fillna(False).astype(bool)
    support = [cells[f"cell_barcode_{by}_{rank}"] for rank in range(RANKS)]
    weak = support[1] * DOMINANCE <= support[0]
    return mapped & (second.isna() | same | weak)


def _rank_barcodes(reads: pd.DataFrame, by: str) -> pd.DataFrame:
    """One row per cell and barcode with its count, summed peak and rank in the cell."""
    mapped = reads["barcode_library"].notna()
    # A read counts for the library barcode it was matched to, else for itself.
    named = reads.assign(
        barcode=reads["barcode_library"].where(mapped, reads["barcode"]),
        mapped=mapped,
        mismatches=reads["mismatches"].fillna(0).astype("int64"),
    )
    guide = ["sgRNA", "gene_symbol"] + (["gene_id"] if "gene_id" in reads else [])
    ranked = (
        named.groupby([*KEYS, "barcode", "mapped"], sort=True)
        .agg(
            count=("read", "size"),
            peak=("peak", "sum"),
            mismatches=("mismatches", "sum"),
            **{name: (name, "first") for name in guide},
        )
        .reset_index()
    )
    other = "peak" if by == "count" else "count"
    order = [*KEYS, "mapped", by, other, "mismatches", "barcode"]
    ascending = [True] * len(KEYS) + [False, False, False, True, True]
    ranked = ranked.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)
    ranked["rank"] = ranked.groupby(KEYS, sort=False).cumcount().astype(np.int64)
    return ranked
