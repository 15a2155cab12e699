"""The metadata that make a folder of wells an OME-Zarr plate."""

from pathlib import Path

from lib.shared.logging import job_log
from lib.shared.omezarr_utils import write_plate_metadata

with job_log(snakemake.log[0]) as log:
    plate = Path(snakemake.output[0]).parent
    write_plate_metadata(plate, snakemake.params.wells, snakemake.params.version)
    log.info("%s: %d wells", plate, len(snakemake.params.wells))
