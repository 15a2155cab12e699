"""Features of every nucleus, cell and cytoplasm of one phenotype tile."""

import numpy as np

from lib.phenotype.features.engines import compartments_of, measure_with
from lib.phenotype.secondary import secondary_features
from lib.shared.image_io import read_image
from lib.shared.logging import job_log
from lib.shared.tables import write_table

with job_log(snakemake.log[0]) as log:
    files, settings = snakemake.input, snakemake.params.settings
    names, image = settings["channel_names"], read_image(files.aligned)
    paths = {"nucleus": files.nuclei, "cell": files.cells, "cytoplasm": files.cytoplasms}
    labels = {name: read_image(paths[name]) for name in compartments_of(settings["nuclei_only"])}
    columns = measure_with(image, labels, names, settings["features"])
    if files.secondary:
        cells, objects = read_image(files.cells), read_image(files.secondary)
        columns |= secondary_features(objects, cells, image, names, columns["label"])
    # An array of text keeps its type where there are no rows.
    keys = ("plate", "well", "tile")
    place = {key: np.full(len(columns["label"]), snakemake.wildcards[key]) for key in keys}
    write_table(snakemake.output.features, place | columns)
    log.info("%d cells, %d features", len(columns["label"]), len(columns) - 1)
