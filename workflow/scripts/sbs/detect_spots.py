"""Reads of one SBS tile; or, as its outputs say, the images they are found on."""

from lib.sbs.alignment import common_area, corner_shifts, shifts_of_rows
from lib.sbs.spots import find_spots, log_filter, max_filter, spots_table
from lib.shared.chemistry import base_channels
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.tables import read_rows, write_table

with job_log(snakemake.log[0]) as log:
    output, settings, cycles = snakemake.output, snakemake.params.settings, snakemake.params.cycles
    channels = base_channels(settings["bases"], settings["base_encoding"])
    indices = [settings["channel_names"].index(channel) for channel in channels]
    info = read_image_info(snakemake.input.aligned)
    stack = read_image(snakemake.input.aligned)[:, indices]

    fields = [read_image(path)[indices] for path in snakemake.input.ic_field]
    filtered, noise = log_filter(stack, settings["spot_sigma_px"], *fields)
    rows = [row for row in read_rows(snakemake.input.alignment) if row["channel"] in channels]
    shape = info.shape[-2:]
    shifts = corner_shifts(*shifts_of_rows(rows), shape)
    spots = find_spots(
        filtered,
        noise,
        settings["spot_threshold"],
        settings["spot_window_px"],
        settings["border_px"],
        common_area(shifts, shape),
    )
    log.info("%d spots above %.2f; noise %s", len(spots.peak), spots.threshold, noise.round(1))

    if "bases" in output.keys():
        cells = read_image(snakemake.input.cells)
        place = {key: snakemake.wildcards[key] for key in ("plate", "well", "tile")}
        write_table(output.bases, spots_table(spots, cells, place, cycles, channels))
    images = {
        "log_filter": ("TCYX", lambda: filtered),
        "max_filter": ("TCYX", lambda: max_filter(filtered)),
        "compute_standard_deviation": ("YX", lambda: spots.score),
        "find_peaks": ("YX", lambda: spots.peaks),
    }
    for stage, (axes, image) in images.items():
        if stage in output.keys():
            names = channels if "C" in axes else None
            write_image(output[stage], image(), axes, info.pixel_size, names)
