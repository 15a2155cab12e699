"""Pictures of an example tile of one well of the phenotype, for the report."""

from lib.phenotype.segmentation_images import cell_image
from lib.qc.metrics import example_tiles
from lib.qc.phenotype_plots import plot_channels
from lib.qc.plots import plot_segmentation
from lib.qc.style import place, write_figure
from lib.shared.image_io import read_image, read_image_info
from lib.shared.logging import job_log
from lib.shared.tables import read_table

with job_log(snakemake.log[0]) as log:
    wildcards, settings = snakemake.wildcards, snakemake.params.settings
    names = settings["channel_names"]
    info = read_table(snakemake.input.info)
    counts = info.groupby("tile").size().reindex(list(snakemake.params.tiles), fill_value=0)
    tiles = counts.rename("cells").rename_axis("tile").reset_index()
    tile = example_tiles(tiles.assign(plate=wildcards.plate, well=wildcards.well))["tile"].item()
    paths = {
        name: template.format(plate=wildcards.plate, well=wildcards.well, tile=tile)
        for name, template in snakemake.params.images.items()
    }
    aligned, nuclei, labels = (read_image(paths[name]) for name in ("aligned", "nuclei", "cells"))
    size = read_image_info(paths["aligned"]).pixel_size
    pixel_size = None if size is None else size[0]
    shown = {"place": place(wildcards.plate, wildcards.well, tile), "pixel_size": pixel_size}
    dapi = aligned[names.index(settings["dapi_channel"])]
    bodies = cell_image(aligned, [names.index(name) for name in settings["cytoplasm_channels"]])
    segmentation = plot_segmentation(dapi, bodies, nuclei, labels, **shown)
    write_figure(snakemake.output.segmentation, segmentation)
    write_figure(snakemake.output.channels, plot_channels(aligned, names, nuclei, labels, **shown))
    log.info("tile %s is shown", tile)
