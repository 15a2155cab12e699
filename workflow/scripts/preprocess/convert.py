"""Raw files of one tile to one TIFF or OME-Zarr per image (one, or one per cycle).

With them goes what the files say, where it is among the outputs.
"""

from lib.preprocess.convert import raw_sources
from lib.preprocess.metadata import raw_pixel_size, stage_position
from lib.preprocess.readers import raw_metadata, read_raw
from lib.shared.image_io import write_image
from lib.shared.logging import job_log
from lib.shared.provenance import provenance
from lib.shared.tables import write_rows

with job_log(snakemake.log[0]) as log:
    output, params, place = snakemake.output, snakemake.params, dict(snakemake.wildcards.items())
    headers = []
    for (cycle, names, parts), path in zip(params.images, output.images, strict=True):
        sources = raw_sources(parts, params.sheet, place, cycle)
        found = raw_metadata(sources)
        image = read_raw(sources, names, params.z)
        pixel_size = raw_pixel_size(found, params.pixel_size_um)
        if "options" in params.keys():
            from lib.shared.omezarr_utils import write_multiscale_omezarr

            write_multiscale_omezarr(
                image,
                path,
                pixel_size,
                axes="CYX",
                channel_labels=names,
                stage_position=stage_position(found),
                sources=list(dict.fromkeys(source.path for source in sources)),
                provenance=provenance(snakemake.rule.removesuffix("_omezarr"), snakemake.config),
                **params.options,
            )
        else:
            write_image(path, image, "CYX", pixel_size, names)
        headers += [place | {"cycle": cycle} | header for header in found]
        log.info("%s: %s from %s", path, image.shape, ", ".join(map(str, sources)))
    if "metadata" in output.keys():
        write_rows(output.metadata, headers)
