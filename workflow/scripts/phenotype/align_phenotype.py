"""The channels of one phenotype tile, evenly lit, in one frame; or only evenly lit."""

import numpy as np

from lib.phenotype.alignment import (
    channel_alignment_table,
    correct_and_align,
    estimate_channel_alignment,
)
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    output, settings = snakemake.output, snakemake.params.settings
    names = settings["channel_names"]
    info, image = read_image_info(snakemake.input.image), read_image(snakemake.input.image)
    field = read_image(snakemake.input.ic_field[0]) if snakemake.input.ic_field else None

    if "corrected" in output.keys():
        corrected = correct_and_align(image, np.zeros((len(names), 2)), field)
        write_image(output.corrected, corrected, "CYX", info.pixel_size, names)
        log.info("illumination corrected")
    else:
        chosen = settings["alignment"]
        alignment = estimate_channel_alignment(
            image,
            names.index(chosen["reference_channel"]),
            [[names.index(name) for name in group] for group in chosen["groups"]],
            {names.index(name): offset for name, offset in chosen["offsets_px"].items()},
            chosen["max_shift_px"],
        )
        aligned = correct_and_align(image, alignment.offsets, field)
        write_image(output.aligned, aligned, "CYX", info.pixel_size, names)
        table = channel_alignment_table(alignment, names, chosen["residual_limit_px"])
        place = {key: [snakemake.wildcards[key]] * len(names) for key in ("plate", "well", "tile")}
        write_table(output.alignment, place | table)
        log.info("%d channels, %d moved", len(names), alignment.offsets.any(axis=1).sum())
        for name in np.array(names)[table["flagged"]]:
            log.warning("channel %s is not well aligned: flagged", name)
