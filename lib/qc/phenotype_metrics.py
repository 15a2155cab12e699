"""The tables behind the report's phenotype half: cells, features, alignment of channels.

A table of features can be larger than memory: what is said of each feature is
reckoned from a few columns at a time, over all wells of a plate.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np
import pandas as pd

from lib.qc.metrics import (
    TILE,
    WELL,
    count_per_unit,
    listed,
    quantiles,
    share,
    sort_by_keys,
    with_totals,
)

FEATURE_COLUMNS = (
    "feature",
    "family",
    "cells",
    "missing",
    "missing_share",
    "constant",
    "min",
    "q05",
    "q25",
    "median",
    "q75",
    "q95",
    "max",
    "well_spread",
)

NO_FLAGS = pd.DataFrame(
    columns=[*TILE, "channels", "worst_residual", "lowest_correlation", "reason"]
)


def metric_phenotype_counts(
    tiles: pd.DataFrame, info: pd.DataFrame, by: Sequence[str] = WELL
) -> pd.DataFrame:
    """Cells per plate, well or tile: `tiles, cells, cells_per_tile, median_area` (px).

    `tiles` lists every tile that was processed, be it empty; `info` has one row per
    cell. Units are in natural order.
    """
    by = list(by)
    units = count_per_unit(tiles, {"cells": info}, by)
    units["cells_per_tile"] = share(units["cells"], units["tiles"])
    area = info.groupby(by)["area"].median().rename("median_area").reset_index()
    units = units.merge(area.astype({key: object for key in by}), on=by, how="left")
    return sort_by_keys(units, by)


def metric_phenotype_summary(wells: pd.DataFrame) -> pd.DataFrame:
    """Wells and, below those of each plate, a row `all` with the plate's totals.

    `wells` comes from `metric_phenotype_counts(..., by=WELL)` with a column `features`.
    The area of a plate is the median of its cells' wells, weighted by their cells.
    """
    plates = wells.groupby("plate")
    totals = (
        plates[["tiles", "cells"]]
        .sum()
        .assign(
            features=plates["features"].max(),
            median_area=plates[["median_area", "cells"]].apply(_weighted_median),
        )
    )
    totals = totals.reset_index().assign(well="all")
    totals["cells_per_tile"] = share(totals["cells"], totals["tiles"])
    return with_totals(wells, totals)


def metric_features(table: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """What can be said of each feature without looking at single cells.

    Parameters
    ----------
    table : `well` and some columns of features, one row per cell of a plate.
    families : the family of each feature; the rows come in this order.

    Returns
    -------
    `FEATURE_COLUMNS`: `missing` cells have no value; a feature is `constant` when all
    others have the same one. `well_spread` is the distance between the least and the
    greatest median of a well over the distance between the quartiles of all cells; it is
    null for one well. Without a value all but the counts is null.
    """
    rows = []
    for feature, family in families.items():
        values = table[feature].astype("float64")
        known = values.dropna()
        some = len(known) > 0
        medians = known.groupby(table.loc[known.index, "well"]).median()
        between = medians.max() - medians.min() if len(medians) > 1 else np.nan
        marks = quantiles(known)
        within = marks["q75"] - marks["q25"]
        rows.append(
            {
                "feature": feature,
                "family": family,
                "cells": len(values),
                "missing": len(values) - len(known),
                "missing_share": float(values.isna().mean()),
                "constant": bool(some and known.min() == known.max()),
                "min": known.min() if some else np.nan,
                **marks,
                "max": known.max() if some else np.nan,
                "well_spread": between / within if within > 0 else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=list(FEATURE_COLUMNS))


def metric_feature_families(features: pd.DataFrame) -> pd.DataFrame:
    """Features of each family by what is wrong with them, from `metric_features`.

    `family, complete, some_missing, mostly_missing` (for half of the cells or more)
    and `constant`; each feature counts once, constant ones as such.
    """
    kind = np.select(
        [features["constant"], features["missing_share"] >= 0.5, features["missing"] > 0],
        ["constant", "mostly_missing", "some_missing"],
        "complete",
    )
    kinds = ["complete", "some_missing", "mostly_missing", "constant"]
    order = list(dict.fromkeys(features["family"]))
    table = pd.crosstab(features["family"], kind) if len(features) else pd.DataFrame()
    table = table.reindex(index=order, columns=kinds, fill_value=0)
    return table.rename_axis("family").reset_index()


def metric_missing(features: pd.DataFrame, few: float = 0.001) -> pd.DataFrame:
    """What is missing in more than a share `few` of the cells, most often missing first.

    Features go missing together, such as the texture of an empty cytoplasm: those of one
    family and compartment that are missing in as many cells are one row. `name` is that of
    the feature, or what the names begin with and how many they are; `missing_share` is that
    of each.
    """
    worst = features[features["missing_share"] > few]
    compartment = worst["feature"].str.split("_").str[0]
    together = worst.groupby(["family", compartment, "missing"], sort=False)
    rows = [
        (_spell_together(list(group["feature"]), family), group["missing_share"].iloc[0])
        for (family, *_), group in together
    ]
    table = pd.DataFrame(rows, columns=["name", "missing_share"])
    return table.sort_values("missing_share", ascending=False, kind="stable", ignore_index=True)


def _spell_together(names: Sequence[str], family: str) -> str:
    if len(names) == 1:
        return names[0]
    words = zip(*(name.split("_") for name in names), strict=False)
    shared = [word for word, *_ in takewhile(lambda column: len(set(column)) == 1, words)]
    count = f"{len(names)}" if family in shared else f"{len(names)} of {family}"
    return "_".join([*shared, f"… ({count})"])


def key_features(names: Sequence[str], channel_names: Sequence[str]) -> dict[str, str]:
    """A few features that everybody knows, of those that there are, and what to call them.

    The areas, then the mean of each channel over the cell, or the nucleus where only
    nuclei were measured.
    """
    wanted = {"nucleus_area": "Area of nuclei (px)", "cell_area": "Area of cells (px)"}
    wanted |= {"nucleus_Area": "Area of nuclei (px)", "cell_Area": "Area of cells (px)"}
    body = "cell" if any(name.startswith("cell_") for name in names) else "nucleus"
    for channel in channel_names:
        wanted[f"{body}_{channel}_mean"] = f"Mean {channel} in {body}"
        wanted[f"{body}_{channel}_Intensity_MeanIntensity"] = f"Mean {channel} in {body}"
    return {name: label for name, label in wanted.items() if name in set(names)}


def metric_medians(
    table: pd.DataFrame, names: Sequence[str], units: pd.DataFrame, by: Sequence[str]
) -> pd.DataFrame:
    """Median of some features per unit; `units` without a cell have null."""
    by, names = list(by), list(names)
    medians = table.groupby(by)[names].median().reset_index().astype({key: object for key in by})
    return sort_by_keys(units[by].drop_duplicates().merge(medians, on=by, how="left"), by)


def metric_feature_wells(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Quantiles of some features in each well: `well, feature, cells` and quantiles."""
    rows = [
        {"well": well, "feature": name, "cells": int(cells[name].notna().sum())}
        | quantiles(cells[name])
        for well, cells in table.groupby("well")
        for name in names
    ]
    columns = ["well", "feature", "cells", "q05", "q25", "median", "q75", "q95"]
    return sort_by_keys(pd.DataFrame(rows, columns=columns), ["well"])


def metric_flagged_channels(alignment: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Tiles of which a channel is not well aligned, as `metrics.metric_flagged_tiles` has them.

    A flagged channel without a residual was to be registered and showed no clear shift.
    """
    rows = []
    for unit, group in alignment[alignment["flagged"].astype(bool)].groupby(list(TILE)):
        reasons = []
        if (group["residual"] > limit).any():
            reasons.append(f"residual above {limit:g} px")
        if group["residual"].isna().any():
            reasons.append("shift not measurable")
        rows.append(
            {
                **dict(zip(TILE, unit, strict=True)),
                "channels": listed(group["channel"]),
                "worst_residual": group["residual"].max(),
                "lowest_correlation": group["correlation"].abs().min(),
                "reason": ", ".join(reasons),
            }
        )
    return sort_by_keys(pd.DataFrame(rows, columns=NO_FLAGS.columns), TILE)


def _weighted_median(wells: pd.DataFrame) -> float:
    known = wells.dropna().sort_values("median_area")
    if known.empty:
        return np.nan
    half = known["cells"].cumsum() >= known["cells"].sum() / 2
    return float(known.loc[half, "median_area"].iloc[0])
