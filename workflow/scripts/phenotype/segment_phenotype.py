"""Nuclei, cells and cytoplasms of one phenotype tile."""

from lib.phenotype.segmentation_images import cell_image
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.segmentation import cytoplasm, object_table, segment
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    output, settings = snakemake.output, snakemake.params.settings
    names, chosen, bodies = settings["channel_names"], settings["segmentation"], None
    info, image = read_image_info(snakemake.input.aligned), read_image(snakemake.input.aligned)
    if settings["nuclei_only"]:
        chosen = chosen | {"expansion_px": 0}
    else:
        bodies = cell_image(image, [names.index(name) for name in settings["cytoplasm_channels"]])
    found = segment(image[names.index(settings["dapi_channel"])], bodies, chosen)
    images = {
        "nuclei": found.nuclei,
        "cells": found.cells,
        "cytoplasms": cytoplasm(found.nuclei, found.cells),
    }
    for name, labels in images.items():
        write_image(output[name], labels, "YX", info.pixel_size)
    place = {key: snakemake.wildcards[key] for key in ("plate", "well", "tile")}
    write_table(output.stats, {key: [value] for key, value in (place | found.stats).items()})
    cells = object_table(found.cells)
    here = {key: [value] * len(cells["label"]) for key, value in place.items()}
    write_table(output.info, here | cells)
    log.info("%d cells", len(cells["label"]))
