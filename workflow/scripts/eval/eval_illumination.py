"""Illumination fields of one well for the report."""

import numpy as np

from lib.qc.plots import plot_illumination
from lib.qc.style import place, write_figure
from lib.shared.illumination import reduce_tile
from lib.shared.image_io import read_image, read_image_info
from lib.shared.logging import job_log

with job_log(snakemake.log[0]):
    names, fields = snakemake.params.channel_names, {}
    for cycle, path in zip(snakemake.params.cycles, snakemake.input, strict=True):
        reduced = reduce_tile(read_image(path))
        # A cycle without nuclear stain has fewer channels than the others.
        field = np.full((len(names), *reduced.shape[1:]), np.nan, np.float32)
        field[[names.index(name) for name in read_image_info(path).channel_names]] = reduced
        fields[str(cycle)] = field
    where = place(snakemake.wildcards.plate, snakemake.wildcards.well)
    write_figure(snakemake.output[0], plot_illumination(fields, names, where))
