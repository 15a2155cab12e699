"""Bases of all tiles of one well to called and decoded reads."""

from lib.sbs.posterior_caller import (
    add_wells,
    call_tile,
    fit_caller,
    sample_tiles,
    signal_table,
    spread,
)
from lib.sbs.reads import Sequencing, call_reads, decoding_table
from lib.shared.library import read_library
from lib.shared.logging import job_log
from lib.shared.table_stream import write_pieces
from lib.shared.tables import read_table, read_tables, write_table

with job_log(snakemake.log[0]) as log:
    settings, tiles = snakemake.params.settings, list(snakemake.input.bases)
    sequencing = Sequencing.plan(**snakemake.params.sequencing)
    library = read_library(snakemake.input.library, **sequencing.library_places())
    place = {"plate": snakemake.wildcards.plate, "well": snakemake.wildcards.well}
    method = settings["call_reads_method"]
    if method == "posterior":
        others = [path for path in snakemake.input.pooled if path not in set(tiles)]
        sample = sample_tiles(read_table(path) for path in spread(tiles))
        sample = add_wells(sample, (read_table(path) for path in spread(others)))
        caller = fit_caller(sample, library, sequencing, settings["fdr"], seed=settings["seed"])
        pieces = (call_tile(caller, read_table(path)) for path in tiles)
        count = write_pieces(snakemake.output.reads, pieces)
        write_table(snakemake.output.decoding, signal_table(caller, place))
        log.info("%d reads; %s", count, caller.describe())
    else:
        bases = read_tables(tiles)
        reads, calls = call_reads(bases, library, sequencing, method, settings["max_mismatches"])
        write_table(snakemake.output.reads, reads)
        write_table(snakemake.output.decoding, decoding_table(calls, sequencing, place))
        log.info("%d reads, %.3f in the library", len(reads), reads["sgRNA"].notna().mean())
