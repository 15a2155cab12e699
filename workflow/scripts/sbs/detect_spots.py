"""Reads of one SBS tile; or, as its outputs say, the images they are found on."""

from lib.sbs.spot_light import chosen_measure
from lib.sbs.spot_tiles import spots_of_tile
from lib.sbs.spots import max_filter, spots_table
from lib.shared.image_io import read_image, write_image
from lib.shared.logging import job_log
from lib.shared.tables import read_rows, write_table

with job_log(snakemake.log[0]) as log:
    paths, output, settings = snakemake.input, snakemake.output, snakemake.params.settings
    measure = settings["spot_measure"]
    if measure == "auto":
        measure = chosen_measure(read_rows(paths.measure))
    tile = spots_of_tile(paths.aligned, paths.alignment, paths.ic_field, settings, measure)
    spots = tile.spots
    log.info(
        "%d spots above %.2f, measured by %s; noise %s",
        len(spots.peak),
        spots.threshold,
        measure,
        tile.noise.round(1),
    )

    if "bases" in output.keys():
        cells = read_image(paths.cells)
        place = {key: snakemake.wildcards[key] for key in ("plate", "well", "tile")}
        cycles = snakemake.params.cycles
        write_table(output.bases, spots_table(spots, cells, place, cycles, tile.channels))
    images = {
        "log_filter": ("TCYX", lambda: tile.filtered),
        "max_filter": ("TCYX", lambda: max_filter(tile.filtered)),
        "compute_standard_deviation": ("YX", lambda: spots.score),
        "find_peaks": ("YX", lambda: spots.peaks),
    }
    for stage, (axes, image) in images.items():
        if stage in output.keys():
            names = tile.channels if "C" in axes else None
            write_image(output[stage], image(), axes, tile.pixel_size, names)
