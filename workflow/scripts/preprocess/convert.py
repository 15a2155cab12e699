"""Raw files of one tile to one TIFF per image (one, or one per cycle), and what they say."""

from lib.preprocess.convert import raw_sources
from lib.preprocess.metadata import raw_pixel_size
from lib.preprocess.readers import raw_metadata, read_raw
from lib.shared.image_io import write_image
from lib.shared.logging import job_log
from lib.shared.tables import write_rows

with job_log(snakemake.log[0]) as log:
    output, params, place = snakemake.output, snakemake.params, dict(snakemake.wildcards.items())
    headers = []
    for (cycle, names, parts), path in zip(params.images, output.images, strict=True):
        sources = raw_sources(parts, params.sheet, place, cycle)
        found = raw_metadata(sources)
        image = read_raw(sources, names, params.z)
        write_image(path, image, "CYX", raw_pixel_size(found, params.pixel_size_um), names)
        headers += [place | {"cycle": cycle} | header for header in found]
        log.info("%s: %s from %s", path, image.shape, ", ".join(map(str, sources)))
    write_rows(output.metadata, headers)
