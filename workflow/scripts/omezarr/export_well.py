"""Images of one stage and well as fields of an OME-Zarr plate."""

from pathlib import Path

from lib.preprocess.metadata import stage_position
from lib.shared.logging import job_log
from lib.shared.omezarr_utils import WellField, export_well_to_omezarr
from lib.shared.provenance import provenance
from lib.shared.tables import read_table

with job_log(snakemake.log[0]) as log:
    params, images = snakemake.params, list(snakemake.input.images)
    metadata = read_table(snakemake.input.metadata)
    rows = {tile: table.to_dict("records") for tile, table in metadata.groupby("tile")}
    per_tile = len(images) // len(params.tiles)
    fields = [
        WellField(
            tile,
            images[number * per_tile : (number + 1) * per_tile],
            {name: {"tiff_path": snakemake.input[name][number]} for name in params.labels},
            stage_position(rows[tile], params.cycle),
        )
        for number, tile in enumerate(params.tiles)
    ]
    well = export_well_to_omezarr(
        fields,
        Path(snakemake.output[0]).parents[1],
        params.well,
        channel_labels=params.channel_names,
        provenance=provenance(params.stage, snakemake.config),
        threads=snakemake.threads,
        **params.options,
    )
    log.info("%s: %d fields", well, len(fields))
