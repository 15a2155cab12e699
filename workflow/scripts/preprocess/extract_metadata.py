"""Headers of the raw files of one well to a table."""

from lib.preprocess.convert import raw_sources
from lib.preprocess.metadata import combine_metadata
from lib.preprocess.readers import raw_metadata
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    params = snakemake.params
    places, sources = [], []
    for (tile, cycle), parts in params.parts.items():
        place = {**dict(snakemake.wildcards.items()), "tile": tile}
        found = raw_sources(parts, params.sheet, place, cycle)
        places += [{**place, "cycle": cycle}] * len(found)
        sources += found
    # One call for the whole well: it opens a file of many positions only once.
    rows = [place | found for place, found in zip(places, raw_metadata(sources), strict=True)]
    table = combine_metadata(rows, pixel_size_um=params.pixel_size_um)
    write_table(snakemake.output[0], table)
    log.info("metadata of %d images", len(table))
