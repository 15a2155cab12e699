"""Raw files of one tile to one TIFF per image: one, or one per cycle."""

from lib.preprocess.convert import pixel_size_of, raw_sources
from lib.preprocess.readers import read_raw
from lib.shared.image_io import write_image
from lib.shared.logging import job_log

with job_log(snakemake.log[0]) as log:
    params, place = snakemake.params, dict(snakemake.wildcards.items())
    for (cycle, names, parts), path in zip(params.images, snakemake.output, strict=True):
        sources = raw_sources(parts, params.sheet, place, cycle)
        image = read_raw(sources, names, params.z)
        pixel_size = pixel_size_of(sources, params.pixel_size_um)
        write_image(path, image, "CYX", pixel_size, names)
        log.info("%s: %s from %s", path, image.shape, ", ".join(map(str, sources)))
