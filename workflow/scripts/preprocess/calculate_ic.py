"""Illumination field of one well and cycle from a sample of its tiles."""

from lib.shared.illumination import estimate_field, reduce_tile
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log

with job_log(snakemake.log[0]) as log:
    info = read_image_info(snakemake.input[0])
    reduced = (reduce_tile(read_image(path)) for path in snakemake.input)
    field = estimate_field(reduced, info.shape[-2:])
    write_image(snakemake.output[0], field, "CYX", info.pixel_size, info.channel_names)
    log.info("field of %d tiles, highest %s", len(snakemake.input), field.max(axis=(1, 2)))
