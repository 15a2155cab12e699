"""Raw files of one tile to one TIFF per cycle."""

from lib.preprocess.convert import channels_of_cycle, pixel_size_of, raw_sources
from lib.preprocess.readers import read_raw
from lib.shared.image_io import write_image
from lib.shared.logging import job_log

with job_log(snakemake.log[0]) as log:
    params, settings = snakemake.params, snakemake.params.settings
    for cycle, parts, path in zip(params.cycles, params.parts, snakemake.output, strict=True):
        sources = raw_sources(parts, params.sheet, dict(snakemake.wildcards.items()), cycle)
        names = channels_of_cycle(**params.channels, cycle=cycle)
        image = read_raw(sources, names, settings["z"])
        pixel_size = pixel_size_of(sources, settings["sbs_pixel_size_um"])
        write_image(path, image, "CYX", pixel_size, names)
        log.info("cycle %s: %s from %s", cycle, image.shape, ", ".join(map(str, sources)))
