"""Bases of all tiles of one well to called and decoded reads."""

from lib.sbs.reads import Sequencing, call_reads, decoding_table
from lib.shared.library import read_library
from lib.shared.logging import job_log
from lib.shared.tables import read_tables, write_table

with job_log(snakemake.log[0]) as log:
    settings = snakemake.params.settings
    sequencing = Sequencing.plan(**snakemake.params.sequencing)
    bases = read_tables(snakemake.input.bases)
    library = read_library(snakemake.input.library, **sequencing.library_places())
    reads, calls = call_reads(
        bases, library, sequencing, settings["call_reads_method"], settings["max_mismatches"]
    )
    write_table(snakemake.output.reads, reads)
    place = {"plate": snakemake.wildcards.plate, "well": snakemake.wildcards.well}
    write_table(snakemake.output.decoding, decoding_table(calls, sequencing, place))
    log.info("%d reads, %.3f in the library", len(reads), reads["sgRNA"].notna().mean())
