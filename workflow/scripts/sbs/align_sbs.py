"""The cycles of one tile, brought into one frame."""

import numpy as np

from lib.sbs.alignment import alignment_table, apply_alignment, estimate_alignment
from lib.sbs.bad_pixels import fill_bad_pixels
from lib.shared.chemistry import base_channels
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    settings, cycles = snakemake.params.settings, snakemake.params.cycles
    names, dapi = settings["channel_names"], settings["dapi_channel"]
    first = read_image_info(snakemake.input[cycles.index(snakemake.params.reference_cycle)])

    # A cycle imaged without nuclear stain keeps an empty plane for it.
    stack = np.zeros((len(cycles), len(names), *first.shape[-2:]), np.uint16)
    for t, path in enumerate(snakemake.input):
        present = [names.index(name) for name in read_image_info(path).channel_names]
        stack[t, present] = read_image(path)

    shown = base_channels(settings["bases"], settings["base_encoding"])
    bases = [names.index(channel) for channel in shown]
    for t, c in np.ndindex(len(cycles), len(bases)):
        if stack[t, bases[c]].min() == stack[t, bases[c]].max():
            log.warning(
                "cycle %s shows nothing in channel %s: its bases cannot be told; if this is so in "
                "all tiles, name the cycle in sbs.failed_cycles",
                cycles[t],
                shown[c],
            )
    log.info("%d bad pixels of the camera filled", fill_bad_pixels(stack, bases))
    alignment = estimate_alignment(
        stack,
        base_channels=bases,
        dapi_channel=None if dapi is None else names.index(dapi),
        reference=cycles.index(snakemake.params.reference_cycle),
        max_shift=settings["max_shift_px"],
        chromatic=settings["chromatic_alignment"],
    )
    aligned = apply_alignment(stack, alignment.offsets, alignment.turns)
    write_image(snakemake.output.aligned, aligned, "TCYX", first.pixel_size, names)
    table = alignment_table(alignment, cycles, names, settings["residual_limit_px"])
    place = {
        key: [snakemake.wildcards[key]] * len(table["dy"]) for key in ("plate", "well", "tile")
    }
    write_table(snakemake.output.alignment, place | table)
    log.info(
        "largest residual %.2f px; turned by up to %.3f degrees, largest shift of a part %.2f px",
        np.nanmax(alignment.residual, initial=0),
        np.abs(table["rotation"]).max(),
        np.nanmax(alignment.local_residual, initial=0),
    )
    if np.any(table["flagged"]):
        log.warning("residual above %s px: tile flagged", settings["residual_limit_px"])
