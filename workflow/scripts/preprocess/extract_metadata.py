"""What the raw files of one well say, tile by tile, to one table."""

from lib.preprocess.metadata import combine_metadata
from lib.shared.logging import job_log
from lib.shared.tables import read_tables, write_table

with job_log(snakemake.log[0]) as log:
    headers = read_tables(snakemake.input)
    table = combine_metadata(headers, pixel_size_um=snakemake.params.pixel_size_um)
    write_table(snakemake.output[0], table)
    log.info("metadata of %d images", len(table))
