"""Illumination fields of one well for the report."""

from lib.qc.plots import plot_illumination
from lib.qc.style import place, write_figure
from lib.shared.illumination import reduce_tile
from lib.shared.image_io import read_image, read_image_info
from lib.shared.logging import job_log

with job_log(snakemake.log[0]):
    fields = {
        str(cycle): reduce_tile(read_image(path))
        for cycle, path in zip(snakemake.params.cycles, snakemake.input, strict=True)
    }
    # A cycle without nuclear stain has fewer channels: the fullest one names them.
    names = max((read_image_info(path).channel_names for path in snakemake.input), key=len)
    where = place(snakemake.wildcards.plate, snakemake.wildcards.well)
    write_figure(snakemake.output[0], plot_illumination(fields, names, where))
