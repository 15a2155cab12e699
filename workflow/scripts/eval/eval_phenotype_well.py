"""Pictures of an example tile of one well of the phenotype, for the report."""

from lib.phenotype.segmentation_images import cell_image
from lib.qc.example import read_example
from lib.qc.phenotype_plots import plot_channels
from lib.qc.plots import plot_segmentation
from lib.qc.style import write_figure
from lib.shared.logging import job_log
from lib.shared.tables import read_table

with job_log(snakemake.log[0]) as log:
    wildcards, settings = snakemake.wildcards, snakemake.params.settings
    names = settings["channel_names"]
    info = read_table(snakemake.input.info)
    example = read_example(
        wildcards.plate, wildcards.well, snakemake.params.tiles, info, snakemake.params.images
    )
    aligned, nuclei, labels = example.aligned, example.nuclei, example.cells
    dapi = aligned[names.index(settings["dapi_channel"])]
    bodies = cell_image(aligned, [names.index(name) for name in settings["cytoplasm_channels"]])
    segmentation = plot_segmentation(dapi, bodies, nuclei, labels, **example.shown)
    write_figure(snakemake.output.segmentation, segmentation)
    write_figure(
        snakemake.output.channels, plot_channels(aligned, names, nuclei, labels, **example.shown)
    )
    log.info("tile %s is shown", example.tile)
