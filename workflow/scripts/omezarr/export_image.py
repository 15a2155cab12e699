"""The image, or the masks, of one stage and tile as an OME-Zarr store."""

from lib.preprocess.metadata import stage_position
from lib.shared.logging import job_log
from lib.shared.omezarr_utils import export_tiff_to_omezarr
from lib.shared.provenance import provenance
from lib.shared.tables import read_rows

with job_log(snakemake.log[0]) as log:
    params = snakemake.params
    headers = [row for path in snakemake.input.metadata for row in read_rows(path)]
    store = export_tiff_to_omezarr(
        list(snakemake.input.images),
        snakemake.output[0],
        channel_labels=params.channel_names,
        label_metadata={name: {"tiff_path": snakemake.input[name]} for name in params.labels},
        stage_position=stage_position(headers, params.cycle),
        provenance=provenance(params.stage, snakemake.config),
        threads=snakemake.threads,
        **params.options,
    )
    log.info("%s", store)
