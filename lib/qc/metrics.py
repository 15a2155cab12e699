"""The tables behind the report: what was measured, per tile, well, plate, cycle and guide.

Every function takes tables as DESIGN states them and returns a new one. Rows are
joined by `plate, well, tile`, never by their order. A well or tile that was not
processed has no row, and what cannot be computed is NaN: nothing missing is
ever counted as zero.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.shared.sheets import natural_key

PLATE = ("plate",)
WELL = ("plate", "well")
TILE = ("plate", "well", "tile")

SINGLE, MULTIPLE, UNMAPPED, NO_READS = "one gene", "several genes", "not in library", "no reads"
CATEGORIES = (SINGLE, MULTIPLE, UNMAPPED, NO_READS)

COUNTS = (
    "cells",
    "cells_with_reads",
    "cells_mapped",
    "cells_one_gene",
    "reads",
    "reads_in_cells",
    "reads_mapped",
)


def sort_by_keys(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Sort rows by identifiers in natural order (A2 before A10)."""
    ranks = {
        key: table[key].map(
            {value: rank for rank, value in enumerate(sorted(table[key].unique(), key=natural_key))}
        )
        for key in keys
    }
    order = pd.DataFrame(ranks, index=table.index).sort_values(list(keys), kind="stable").index
    return table.loc[order].reset_index(drop=True)


def count_per_unit(
    tiles: pd.DataFrame, found: Mapping[str, pd.DataFrame], by: Sequence[str]
) -> pd.DataFrame:
    """Count the `tiles` of each unit and, by name, the rows of other tables.

    A unit of `tiles` without a row counts zero; one not listed there has no row.
    """
    by = list(by)
    units = tiles.drop_duplicates(list(TILE))
    units = units.groupby(by, as_index=False).agg(tiles=("tile", "size"))
    for name, rows in found.items():
        counts = rows.groupby(by).size().rename(name).reset_index()
        units = units.merge(counts.astype({key: object for key in by}), on=by, how="left")
        units[name] = units[name].fillna(0).astype(np.int64)
    return units


# Cells and reads ------------------------------------------------------------------------------


def metric_counts(
    tiles: pd.DataFrame,
    sbs_info: pd.DataFrame,
    reads: pd.DataFrame,
    cells: pd.DataFrame,
    by: Sequence[str] = WELL,
) -> pd.DataFrame:
    """Cells, reads and mapped shares per plate, well or tile.

    Parameters
    ----------
    tiles : `plate, well, tile` of every tile that was processed, be it empty. A
        unit listed here with no cell counts zero; one not listed has no row.
    sbs_info : one row per segmented cell.
    reads, cells : tables of reads and of called cells.
    by : `PLATE`, `WELL` or `TILE`.

    Returns
    -------
    One row per unit, in natural order, with `tiles`, `COUNTS` and the shares
    `reads_mapped_share` (of all reads), `cells_mapped_share` and
    `cells_one_gene_share` (of all segmented cells), `reads_per_cell` (reads in
    cells over all cells). A share of nothing is NaN.
    """
    by = list(by)
    mapped = reads["gene_symbol"].notna() | reads["sgRNA"].notna()
    in_cells = reads["cell"] > 0
    cell_mapped = cells["gene_symbol_0"].notna()
    one_gene = cells["mapped_single_gene"].fillna(False).astype(bool)
    found = {
        "cells": sbs_info,
        "cells_with_reads": reads[in_cells].drop_duplicates([*TILE, "cell"]),
        "cells_mapped": cells[cell_mapped],
        "cells_one_gene": cells[one_gene],
        "reads": reads,
        "reads_in_cells": reads[in_cells],
        "reads_mapped": reads[mapped],
    }
    units = count_per_unit(tiles, found, by)
    units["reads_mapped_share"] = share(units["reads_mapped"], units["reads"])
    units["cells_mapped_share"] = share(units["cells_mapped"], units["cells"])
    units["cells_one_gene_share"] = share(units["cells_one_gene"], units["cells"])
    units["reads_per_cell"] = share(units["reads_in_cells"], units["cells"])
    return sort_by_keys(units, by)


def metric_summary(wells: pd.DataFrame) -> pd.DataFrame:
    """Wells and, below those of each plate, a row `all` with the plate's totals.

    `wells` comes from `metric_counts(..., by=WELL)`. Shares of a plate are those
    of its totals, not means over wells.
    """
    totals = wells.groupby("plate", as_index=False)[["tiles", *COUNTS]].sum().assign(well="all")
    totals["reads_mapped_share"] = share(totals["reads_mapped"], totals["reads"])
    totals["cells_mapped_share"] = share(totals["cells_mapped"], totals["cells"])
    totals["cells_one_gene_share"] = share(totals["cells_one_gene"], totals["cells"])
    totals["reads_per_cell"] = share(totals["reads_in_cells"], totals["cells"])
    return with_totals(wells, totals)


def with_totals(wells: pd.DataFrame, totals: pd.DataFrame) -> pd.DataFrame:
    """Put the row of each plate's totals, whose well is `all`, below its wells."""
    table = pd.concat([sort_by_keys(wells, WELL), totals[wells.columns]], ignore_index=True)
    plates = {plate: n for n, plate in enumerate(sorted(table["plate"].unique(), key=natural_key))}
    order = table["plate"].map(plates).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def metric_cell_reads(sbs_info: pd.DataFrame, reads: pd.DataFrame) -> pd.DataFrame:
    """Per segmented cell the number of `reads` and of different `barcodes` in it, zeros included.

    Returns `plate, well, tile, cell, reads, barcodes`, in the order of `sbs_info`.
    """
    keys = [*TILE, "cell"]
    inside = reads.loc[reads["cell"] > 0, [*keys, "barcode"]]
    per_cell = inside.groupby(keys).agg(reads=("barcode", "size"), barcodes=("barcode", "nunique"))
    per_cell = per_cell.reset_index().astype({key: object for key in TILE})
    table = sbs_info[keys].merge(per_cell, on=keys, how="left")
    return table.fillna({"reads": 0, "barcodes": 0}).astype({"reads": int, "barcodes": int})


def metric_cell_categories(
    sbs_info: pd.DataFrame, reads: pd.DataFrame, cells: pd.DataFrame, by: Sequence[str] = WELL
) -> pd.DataFrame:
    """Segmented cells by how they were called: a row per unit, a column per category.

    `one gene`: `mapped_single_gene`; `several genes`: called in the library but
    not to one gene; `not in library`: reads, none of which is in the library;
    `no reads`: nothing was read. Each cell counts once.
    """
    by, keys = list(by), [*TILE, "cell"]
    table = metric_cell_reads(sbs_info, reads)
    called = cells[[*keys, "gene_symbol_0", "mapped_single_gene"]]
    table = table.merge(called, on=keys, how="left")
    one_gene = table["mapped_single_gene"].fillna(False).astype(bool)
    conditions = [one_gene, table["gene_symbol_0"].notna(), table["reads"] > 0]
    table["category"] = np.select(conditions, [SINGLE, MULTIPLE, UNMAPPED], NO_READS)
    for category in CATEGORIES:
        table[category] = table["category"] == category
    counts = table.groupby(by, as_index=False)[list(CATEGORIES)].sum()
    return sort_by_keys(counts, by)


# Sequencing -----------------------------------------------------------------------------------


def metric_base_composition(
    reads: pd.DataFrame, codes: Iterable[str], bases: str = "GTAC"
) -> pd.DataFrame:
    """Share of each base at each cycle, in the reads and in the library.

    Parameters
    ----------
    codes : the library barcodes, at least as long as the reads.
    bases : the letters to count; any other letter (N at a failed cycle) is left out.

    Returns
    -------
    `cycle` (from 1), `base`, `share` (of the reads) and `expected` (of the
    library); NaN where there is nothing to count.
    """
    observed = _letters(reads["barcode"].dropna())
    codes = _letters(codes)
    cycles = observed.shape[1] if len(observed) else codes.shape[1]
    return pd.DataFrame(
        {
            "cycle": np.repeat(np.arange(1, cycles + 1), len(bases)),
            "base": np.tile(list(bases), cycles),
            "share": _letter_shares(observed, bases, cycles).ravel(),
            "expected": _letter_shares(codes[:, :cycles], bases, cycles).ravel(),
        }
    )


def metric_quality(reads: pd.DataFrame) -> pd.DataFrame:
    """Quartiles and 5 and 95 % quantiles of Q_t per cycle.

    Returns `cycle` (from 1), `reads`, `q05, q25, median, q75, q95` (NaN without reads), and
    `overall`, the quality of the mean error where Q are phred.
    """
    columns = sorted((name for name in reads if re.fullmatch(r"Q_\d+", name)), key=natural_key)
    return pd.DataFrame(
        [
            {
                "cycle": int(name[2:]) + 1,
                "reads": int(reads[name].notna().sum()),
                **quantiles(reads[name]),
                "overall": -10 * np.log10((10 ** (-reads[name].astype(float) / 10)).mean()),
            }
            for name in columns
        ],
        columns=["cycle", "reads", *_QUANTILES, "overall"],
    )


def metric_mapping_by_threshold(
    reads: pd.DataFrame, column: str, by: Sequence[str] = PLATE, steps: int = 100
) -> pd.DataFrame:
    """What remains when only reads with `column` at or above a threshold are kept.

    Thresholds are `steps` quantiles of all reads, the same for each unit, so
    that curves of wells can be compared; the lowest keeps every read.

    Returns `*by, threshold, reads, mapped, mapped_share` (NaN where no read is left).
    """
    by = list(by)
    values = reads[column].to_numpy(float)
    values = values[np.isfinite(values)]
    thresholds = values
    if len(values):
        levels = np.linspace(0, 1, steps, endpoint=False)
        thresholds = np.unique(np.quantile(values, levels, method="lower"))
    rows = []
    for unit, group in reads.groupby(by):
        group = group[np.isfinite(group[column].to_numpy(float))].sort_values(column)
        mapped = (group["gene_symbol"].notna() | group["sgRNA"].notna()).to_numpy()
        below = np.searchsorted(group[column].to_numpy(float), thresholds, side="left")
        kept = len(group) - below
        mapped_kept = mapped.sum() - np.r_[0, np.cumsum(mapped)][below]
        counts = {"threshold": thresholds, "reads": kept, "mapped": mapped_kept}
        rows.append(pd.DataFrame({**dict(zip(by, unit, strict=True)), **counts}))
    columns = [*by, "threshold", "reads", "mapped"]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
    table = table.astype({"threshold": float, "reads": np.int64, "mapped": np.int64})
    table["mapped_share"] = share(table["mapped"], table["reads"])
    return table


def chance_mapping(codes: Iterable[str], cycles: int, bases: int = 4) -> float:
    """The share of random reads of `cycles` bases that fall on a library barcode."""
    return len({code[:cycles] for code in codes}) / float(bases) ** cycles


# Alignment ------------------------------------------------------------------------------------


def metric_drift(alignment: pd.DataFrame) -> pd.DataFrame:
    """Offset of each tile and cycle: the median over its channels of `dy` and `dx` in pixels."""
    keys = [*TILE, "cycle"]
    return alignment.groupby(keys, as_index=False, sort=False)[["dy", "dx"]].median()


def metric_residuals(alignment: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Distribution over tiles of what remains to be shifted, per plate, cycle and channel.

    Returns `plate, cycle, channel, tiles, unmeasured, above_limit` and the
    quantiles `q05, q25, median, q75, q95` in pixels. A NaN residual is counted
    as unmeasured and in nothing else.
    """
    rows = []
    groups = alignment.groupby(["plate", "cycle", "channel"], sort=False)["residual"]
    for (plate, cycle, channel), residual in groups:
        rows.append(
            {
                "plate": plate,
                "cycle": cycle,
                "channel": channel,
                "tiles": len(residual),
                "unmeasured": int(residual.isna().sum()),
                "above_limit": int((residual > limit).sum()),
                **quantiles(residual),
            }
        )
    columns = ["plate", "cycle", "channel", "tiles", "unmeasured", "above_limit", *_QUANTILES]
    return pd.DataFrame(rows, columns=columns)


def metric_local_residuals(alignment: pd.DataFrame, limit: float) -> pd.DataFrame:
    """`metric_residuals` of the part of each tile that is farthest off, per plate and cycle."""
    one = alignment.drop_duplicates([*TILE, "cycle"])
    return metric_residuals(one.assign(channel="spots", residual=one["local_residual"]), limit)


def metric_flagged_tiles(alignment: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Tiles to look at: a residual above `limit` pixels, of a plane or of the spots in a part of

    the tile, or a cycle without any measured residual.

    A tile with one cycle has nothing to be aligned to and is never flagged.

    Returns `plate, well, tile, cycles, channels` (comma-separated, what is above
    the limit or unmeasured), `worst_residual` (px), `lowest_correlation` and
    `reason`, in natural order.
    """
    keys = list(TILE)
    columns = [*keys, "cycles", "channels", "worst_residual", "lowest_correlation", "reason"]
    per_cycle = alignment.groupby([*keys, "cycle"])["residual"]
    unmeasured = per_cycle.transform("count") == 0
    several = alignment.groupby(keys)["cycle"].transform("nunique") > 1
    above, local = alignment["residual"] > limit, alignment["local_residual"] > limit
    marked = alignment.assign(above=above, local=local, unmeasured=unmeasured)
    bad = marked[above | local | (unmeasured & several)]
    rows = []
    for unit, group in bad.groupby(keys):
        reasons = []
        if group["above"].any():
            reasons.append(f"residual above {limit:g} px")
        if group["local"].any():
            reasons.append(f"spots in a part of the tile off by more than {limit:g} px")
        if group["unmeasured"].any():
            reasons.append("shift not measurable")
        rows.append(
            {
                **dict(zip(keys, unit, strict=True)),
                "cycles": listed(group["cycle"]),
                "channels": listed(group["channel"]),
                "worst_residual": group[["residual", "local_residual"]].max(axis=None),
                "lowest_correlation": group["correlation"].min(),
                "reason": ", ".join(reasons),
            }
        )
    return sort_by_keys(pd.DataFrame(rows, columns=columns), keys)


# Guides and genes -----------------------------------------------------------------------------


def metric_representation(
    cells: pd.DataFrame, library: pd.DataFrame, level: str = "sgRNA"
) -> pd.DataFrame:
    """Cells called to one gene, per guide or gene of the library, the missing ones as zero.

    Parameters
    ----------
    cells : counted where `mapped_single_gene`.
    library : `sgRNA, gene_symbol`.
    level : `sgRNA` or `gene_symbol`.

    Returns
    -------
    `level` (and `gene_symbol`, and for genes `guides`), `cells`, most cells first.
    """
    one_gene = cells["mapped_single_gene"].fillna(False).astype(bool)
    counts = cells.loc[one_gene, f"{level}_0"].value_counts()
    if level == "sgRNA":
        table = library[["sgRNA", "gene_symbol"]].drop_duplicates("sgRNA")
    else:
        guides = library.drop_duplicates("sgRNA").groupby("gene_symbol", as_index=False)
        table = guides.agg(guides=("sgRNA", "size"))
    table = table.assign(cells=table[level].map(counts).fillna(0).astype(np.int64))
    table = table.sort_values(["cells", level], ascending=[False, True], kind="stable")
    return table.reset_index(drop=True)


def metric_skew(counts: Sequence[int] | pd.Series) -> dict[str, float]:
    """How evenly cells spread over guides (or genes).

    `gini`: 0 when all are equal, towards 1 when one has all (Gini, 1912).
    `skew_ratio`: 90 % over 10 % quantile, infinite when the latter is zero.
    `dropouts`: entries without a cell. NaN where there is nothing to divide.
    """
    counts = np.sort(np.asarray(counts, dtype=float))
    n, total = len(counts), counts.sum()
    gini = ((2 * np.arange(1, n + 1) - n - 1) @ counts) / (n * total) if total else np.nan
    low, high = np.quantile(counts, [0.1, 0.9]) if n else (np.nan, np.nan)
    if low > 0:
        ratio = high / low
    else:
        ratio = np.inf if high > 0 else np.nan
    return {
        "entries": n,
        "dropouts": int((counts == 0).sum()),
        "median": float(np.median(counts)) if n else np.nan,
        "gini": float(gini),
        "skew_ratio": float(ratio),
    }


# Choice of examples ---------------------------------------------------------------------------


def example_tiles(tiles: pd.DataFrame) -> pd.DataFrame:
    """One tile per well to show: the one whose number of cells is closest to the well's median.

    `tiles` has `plate, well, tile, cells`. Of equally close tiles the first in
    natural order is taken, so that the choice depends on no row order.
    """
    table = sort_by_keys(tiles, TILE)
    median = table.groupby(list(WELL))["cells"].transform("median")
    table = table.assign(distance=(table["cells"] - median).abs())
    first = table.sort_values("distance", kind="stable").drop_duplicates(list(WELL))
    return sort_by_keys(first[[*TILE, "cells"]], WELL)


# The run --------------------------------------------------------------------------------------


def metric_parameters(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> pd.DataFrame:
    """The config of a run, flattened: `key` (dotted), `value`, `default`, `changed`.

    A key without a default (a path to the user's tables, say) counts as changed.
    """
    given, usual = _flatten(config), _flatten(defaults)
    rows = [
        {
            "key": key,
            "value": _spelled(value),
            "default": _spelled(usual[key]) if key in usual else "",
            "changed": key not in usual or value != usual[key],
        }
        for key, value in given.items()
    ]
    return pd.DataFrame(rows, columns=["key", "value", "default", "changed"])


def metric_benchmarks(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """What each rule cost, from Snakemake's benchmark files.

    Parameters
    ----------
    benchmarks : the rows of all benchmark files with a column `rule` added; of
        Snakemake's columns `s` (seconds), `cpu_time` (seconds) and `max_rss`
        (MiB) are used. A job shorter than the sampling interval has NA there.

    Returns
    -------
    `rule, jobs, median_s, total_s, total_cpu_s, max_rss_gb`, most seconds first.
    Sums and maxima are over the jobs that were sampled, NaN if none was.
    """
    numbers = benchmarks[["s", "cpu_time", "max_rss"]].apply(pd.to_numeric, errors="coerce")
    grouped = numbers.assign(rule=benchmarks["rule"]).groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "median_s": grouped["s"].median(),
            "total_s": grouped["s"].sum(min_count=1),
            "total_cpu_s": grouped["cpu_time"].sum(min_count=1),
            "max_rss_gb": grouped["max_rss"].max() * 2**20 / 1e9,
        }
    )
    table = table.reset_index().sort_values(["total_s", "rule"], ascending=[False, True])
    return table.reset_index(drop=True)


def metric_software(packages: Sequence[str]) -> pd.DataFrame:
    """Versions of Python and of installed `packages`: `software, version`."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    rows = [{"software": "python", "version": platform.python_version()}]
    for package in packages:
        try:
            rows.append({"software": package, "version": version(package)})
        except PackageNotFoundError:
            rows.append({"software": package, "version": "not installed"})
    return pd.DataFrame(rows)


# ----------------------------------------------------------------------------------------------

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def quantiles(values: pd.Series) -> dict[str, float]:
    """Return the quantiles that figures mark."""
    return {name: values.quantile(level) for name, level in _QUANTILES.items()}


def share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return quotients, unknown where there is nothing to have a share of."""
    return part / whole  # nothing of nothing is NaN


def _letters(words: Iterable[str]) -> np.ndarray:
    """Words as a (words, letters) array of ASCII codes, cut to the shortest."""
    words = list(words)
    length = min(map(len, words), default=0)
    if length == 0:
        return np.zeros((len(words), 0), np.uint8)
    return np.array(words, dtype=f"S{length}").view(np.uint8).reshape(len(words), length)


def _letter_shares(words: np.ndarray, bases: str, cycles: int) -> np.ndarray:
    """(cycles, bases) share of each base; NaN at cycles where no word has one of them."""
    counts = np.zeros((cycles, len(bases)))
    known = min(cycles, words.shape[1])
    for column, base in enumerate(bases):
        counts[:known, column] = np.count_nonzero(words[:, :known] == ord(base), axis=0)
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.where(total > 0, total, np.nan)


def listed(values: pd.Series) -> str:
    """Return the different values in natural order, separated by commas."""
    return ", ".join(sorted(values.astype(str).unique(), key=natural_key))


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_spelled, value)) + "]"
    return str(value)
