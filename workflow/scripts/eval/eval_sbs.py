"""Tables and figures of one plate for the report."""

import pandas as pd

from lib.qc import metrics, plots
from lib.qc.style import place, write_figure
from lib.sbs.reads import Sequencing
from lib.shared.library import read_library
from lib.shared.logging import job_log
from lib.shared.tables import read_tables, write_table

with job_log(snakemake.log[0]):
    plate, output, params = snakemake.wildcards.plate, snakemake.output, snakemake.params
    here, limit = place(plate), params.limit
    sequencing = Sequencing.plan(**params.sequencing)
    library = read_library(snakemake.input.library, **sequencing.library_places())
    info, cells = read_tables(snakemake.input.info), read_tables(snakemake.input.cells)
    reads, alignment = read_tables(snakemake.input.reads), read_tables(snakemake.input.alignment)
    tiles = pd.DataFrame(params.tiles, columns=["well", "tile"]).assign(plate=plate)

    tables = tiles, info, reads, cells
    wells, per_tile = (metrics.metric_counts(*tables, by=by) for by in (metrics.WELL, metrics.TILE))
    write_table(output.counts, wells)
    write_table(output.flagged, metrics.metric_flagged_tiles(alignment, limit))

    stage = read_tables(snakemake.input.metadata)
    stage = stage[stage["cycle"] == params.reference_cycle].rename(
        columns={"x_pos": "x_um", "y_pos": "y_um"}
    )
    placed = per_tile.merge(stage[["well", "tile", "x_um", "y_um"]], on=["well", "tile"])
    placed = placed.dropna(subset=["x_um", "y_um"])
    for name, value, label in (
        ("cells_per_well", "cells", "cells"),
        ("reads_per_well", "reads", "reads"),
        ("mapped_per_well", "reads_mapped_share", "reads in library"),
    ):
        shown = placed if len(placed) else None
        share = value.endswith("share")
        figure = plots.plot_plate(wells, value, here, label, shown, share)
        write_figure(output[name], figure)

    codes = library["barcode"]
    curves = {
        "peak height": metrics.metric_mapping_by_threshold(reads, "peak", by=metrics.WELL),
        "lowest quality Q_min": metrics.metric_mapping_by_threshold(
            reads, "Q_min", by=metrics.WELL
        ),
    }
    figures = {
        "drift": plots.plot_drift(metrics.metric_drift(alignment), here),
        "residuals": plots.plot_residuals(
            metrics.metric_residuals(alignment, limit),
            metrics.metric_local_residuals(alignment, limit),
            limit,
            here,
        ),
        "base_composition": plots.plot_base_composition(
            metrics.metric_base_composition(reads, codes, sequencing.bases), here
        ),
        "base_quality": plots.plot_base_quality(
            metrics.metric_quality(reads), here, in_phred="posterior" in reads
        ),
        "mapping_thresholds": plots.plot_mapping_thresholds(
            curves, here, metrics.chance_mapping(codes, len(sequencing.mapping))
        ),
        "cell_calls": plots.plot_cells(
            metrics.metric_cell_categories(info, reads, cells),
            metrics.metric_cell_reads(info, reads),
            here,
        ),
        "representation": plots.plot_representation(
            metrics.metric_representation(cells, library, "sgRNA"),
            metrics.metric_representation(cells, library, "gene_symbol"),
            here,
        ),
    }
    for name, figure in figures.items():
        write_figure(output[name], figure)
