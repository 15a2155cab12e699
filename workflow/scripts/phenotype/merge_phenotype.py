"""Features and places of all cells of one well."""

from lib.phenotype.merging import merge_info
from lib.shared.logging import job_log
from lib.shared.tables import read_table, read_tables, stack_tables, write_table

with job_log(snakemake.log[0]) as log:
    metadata = read_table(snakemake.input.metadata[0])
    info = merge_info(read_tables(snakemake.input.info), metadata)
    write_table(snakemake.output.info, info)
    count = stack_tables(snakemake.output.features, snakemake.input.features)
    log.info("%d cells, %d of them measured", len(info), count)
