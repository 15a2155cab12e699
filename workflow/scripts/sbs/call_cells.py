"""Reads of one well to the guide of each cell."""

from lib.sbs.cell_calling import call_cells
from lib.sbs.cell_evidence import call_cells_by_evidence
from lib.shared.coordinates import add_well_coordinates
from lib.shared.logging import job_log
from lib.shared.tables import read_table, read_tables, write_table

with job_log(snakemake.log[0]) as log:
    settings = snakemake.params.settings
    metadata = read_table(snakemake.input.metadata[0])
    metadata = metadata[metadata["cycle"] == snakemake.params.reference_cycle]
    info = read_tables(snakemake.input.info)
    info = add_well_coordinates(info, metadata)
    reads = read_table(snakemake.input.reads)
    if settings["call_reads_method"] == "posterior":
        cells, law = call_cells_by_evidence(reads, info)
        log.info("%s", law)
    else:
        cells = call_cells(reads, info, settings["call_cells_by"], settings["min_quality"])
    write_table(snakemake.output.cells, cells)
    write_table(snakemake.output.info, info)
    log.info("%d cells, %d with reads", len(info), len(cells))
