"""Delete the OME-Zarr stores of a module that its config no longer asks for."""

from lib.shared.logging import job_log
from lib.shared.omezarr.cleanup import remove_stores

with job_log(snakemake.log[0]) as log:
    for store in remove_stores(snakemake.params.folder, snakemake.params.keep):
        log.info("deleted %s", store)
