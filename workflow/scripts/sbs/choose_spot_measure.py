"""What the light of spots is read from, on a sample of a plate's tiles."""

import pandas as pd

from lib.sbs.reads import Sequencing
from lib.sbs.spot_choice import choose_light
from lib.sbs.spot_light import MEASURES, chosen_measure
from lib.sbs.spot_tiles import spots_of_tile
from lib.sbs.spots import spots_table
from lib.shared.image_io import read_image
from lib.shared.library import read_library
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    paths, settings = snakemake.input, snakemake.params.settings
    sequencing = Sequencing.plan(**snakemake.params.sequencing)
    library = read_library(paths.library, **sequencing.library_places())
    plate = snakemake.wildcards.plate

    def bases(kind: str) -> pd.DataFrame:
        tables = []
        for place, aligned, alignment, cells, *fields in zip(
            snakemake.params.places,
            paths.aligned,
            paths.alignment,
            paths.cells,
            *([paths.ic_field] if paths.ic_field else []),
            strict=True,
        ):
            tile = spots_of_tile(aligned, alignment, fields, settings, kind)
            names = dict(zip(("plate", "well", "tile"), (plate, *place), strict=True))
            table = spots_table(
                tile.spots, read_image(cells), names, sequencing.cycles, tile.channels
            )
            tables.append(pd.DataFrame(table))
        return pd.concat(tables, ignore_index=True)

    samples = {kind: bases(kind) for kind in MEASURES}
    table = choose_light(samples, library, sequencing, settings["fdr"], settings["seed"])
    table.insert(0, "plate", plate)
    write_table(snakemake.output[0], table)
    counts = ", ".join(f"{row.measure} {row.places}" for row in table.itertuples())
    rows = table.astype(str).to_dict("records")
    log.info("%s: reads decoded on %d tiles: %s", chosen_measure(rows), len(paths.cells), counts)
