"""Nuclei and cells of one SBS tile; the corrected image they are found on, where it is wanted."""

import numpy as np

from lib.sbs.segmentation_images import cytoplasm_image
from lib.shared.illumination import correct, to_uint16
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    output, settings = snakemake.output, snakemake.params.settings
    names, cycles = settings["channel_names"], snakemake.params.cycles
    info = read_image_info(snakemake.input.aligned)
    aligned = read_image(snakemake.input.aligned)
    fields = [read_image(path) for path in snakemake.input.ic_field]

    def corrected(cycle: int, channels: list[str]) -> np.ndarray:
        indices = [names.index(name) for name in channels]
        image = aligned[cycle, indices].astype(np.float32)
        return correct(image, fields[0][indices]) if fields else image

    if "corrected" in output.keys():
        image = to_uint16(corrected(cycles[0], names))
        write_image(output.corrected, image, "CYX", info.pixel_size, names)
    else:
        from lib.shared.segmentation import object_table, segment

        dapi = settings["dapi_channel"]
        nothing = np.zeros(info.shape[-2:], np.float32)
        cytoplasm = [corrected(cycle, settings["cytoplasm_channels"]) for cycle in cycles[1:]]
        found = segment(
            nothing if dapi is None else corrected(cycles[0], [dapi])[0],
            cytoplasm_image(cytoplasm),
            settings["segmentation"],
        )
        write_image(output.nuclei, found.nuclei, "YX", info.pixel_size)
        write_image(output.cells, found.cells, "YX", info.pixel_size)
        keys = ("plate", "well", "tile")
        place = {key: snakemake.wildcards[key] for key in keys}
        write_table(output.stats, {key: [value] for key, value in (place | found.stats).items()})
        cells = object_table(found.cells)
        cells["cell"] = cells.pop("label")
        here = {key: [value] * len(cells["cell"]) for key, value in place.items()}
        write_table(output.info, here | cells)
        log.info("%d cells", len(cells["cell"]))
