"""Spots or vacuoles inside the cells of one phenotype tile."""

from lib.phenotype.secondary import SecondaryParameters, secondary_table, segment_secondary
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    chosen = dict(snakemake.params.settings["secondary_objects"])
    channel = snakemake.params.settings["channel_names"].index(chosen.pop("channel"))
    info = read_image_info(snakemake.input.aligned)
    cells = read_image(snakemake.input.cells)
    image = read_image(snakemake.input.aligned)[channel]
    objects = segment_secondary(image, cells, SecondaryParameters(**chosen))
    write_image(snakemake.output.objects, objects, "YX", info.pixel_size)
    table = secondary_table(objects, cells)
    place = {
        key: [snakemake.wildcards[key]] * len(table["label"]) for key in ("plate", "well", "tile")
    }
    write_table(snakemake.output.info, place | table)
    log.info("%d secondary objects", len(table["label"]))
