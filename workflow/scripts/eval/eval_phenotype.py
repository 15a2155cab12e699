"""Tables and figures of the phenotype of one plate for the report."""

import pandas as pd

from lib.phenotype.features.engines import families_of
from lib.qc import phenotype_metrics as metrics
from lib.qc import phenotype_plots, plots
from lib.qc.metrics import TILE, WELL
from lib.qc.style import place, write_figure
from lib.shared.logging import job_log
from lib.shared.tables import KEY_COLUMNS, column_names, read_table, read_tables, write_table

COLUMNS_AT_A_TIME = 16  # of all cells of a plate, in memory

with job_log(snakemake.log[0]) as log:
    plate, output, settings = snakemake.wildcards.plate, snakemake.output, snakemake.params.settings
    here, channels = place(plate), settings["channel_names"]
    tiles = pd.DataFrame(snakemake.params.tiles, columns=["well", "tile"]).assign(plate=plate)
    info = read_tables(snakemake.input.info)
    families = families_of(settings["features"], channels, settings["nuclei_only"])
    named = column_names(snakemake.input.features[0])
    features = [name for name in named if name not in (*KEY_COLUMNS, "label")]

    def cells(columns: list[str]) -> pd.DataFrame:
        paths = snakemake.input.features
        return pd.concat([read_table(path, columns) for path in paths], ignore_index=True)

    parts = []
    for start in range(0, len(features), COLUMNS_AT_A_TIME):
        chunk = features[start : start + COLUMNS_AT_A_TIME]
        of_chunk = {name: families.get(name, "other") for name in chunk}
        parts.append(metrics.metric_features(cells(["well", *chunk]), of_chunk))
    measured = pd.concat(parts, ignore_index=True)
    write_table(output.features, measured)
    log.info("%d features of %d cells", len(measured), len(info))

    wells = metrics.metric_phenotype_counts(tiles, info, WELL).assign(features=len(features))
    per_tile = metrics.metric_phenotype_counts(tiles, info, TILE)
    write_table(output.counts, wells)
    limit, flagged = settings["alignment"]["residual_limit_px"], metrics.NO_FLAGS
    if snakemake.input.alignment:
        alignment = read_tables(snakemake.input.alignment)
        flagged = metrics.metric_flagged_channels(alignment, limit)
    write_table(output.flagged, flagged)

    stage = read_tables(snakemake.input.metadata).rename(columns={"x_pos": "x_um", "y_pos": "y_um"})
    placed = per_tile.merge(stage[["well", "tile", "x_um", "y_um"]], on=["well", "tile"])
    placed = placed.dropna(subset=["x_um", "y_um"])
    shown = placed if len(placed) else None
    figure = plots.plot_plate(wells, "cells", here, "cells", shown)
    write_figure(output.cells_per_well, figure)
    write_figure(output.cells_per_tile, phenotype_plots.plot_cells_per_tile(per_tile, here))

    known = metrics.key_features(features, channels)
    values = cells([*KEY_COLUMNS, *known])
    by_well = metrics.metric_medians(values, list(known), tiles, WELL)
    if shown is not None:
        by_tile = metrics.metric_medians(values, list(known), tiles, TILE)
        shown = placed[["well", "tile", "x_um", "y_um"]].merge(by_tile, on=["well", "tile"])
    title = "Medians of features"
    write_figure(output.feature_plates, plots.plot_plates(by_well, known, here, title, shown))
    distributions = metrics.metric_feature_wells(values, list(known))
    figure = phenotype_plots.plot_feature_distributions(distributions, known, here)
    write_figure(output.feature_distributions, figure)
    gaps = metrics.metric_feature_families(measured)
    write_figure(output.feature_gaps, phenotype_plots.plot_feature_gaps(gaps, measured, here))
