"""Pictures of an example tile of one well, and its crosstalk, for the report."""

from lib.qc.decoding_plots import plot_decoding
from lib.qc.example import read_example
from lib.qc.plots import plot_crosstalk, plot_segmentation, plot_spots
from lib.qc.preview import plot_preview
from lib.qc.style import place, write_figure
from lib.sbs.segmentation_images import cytoplasm_cycles, cytoplasm_image
from lib.sbs.spots import log_filter
from lib.shared.chemistry import base_channels
from lib.shared.logging import job_log
from lib.shared.tables import read_table

with job_log(snakemake.log[0]) as log:
    wildcards, output, settings = snakemake.wildcards, snakemake.output, snakemake.params.settings
    names, bases = settings["channel_names"], settings["bases"]
    channels = base_channels(bases, settings["base_encoding"])
    info = read_table(snakemake.input.info)
    example = read_example(
        wildcards.plate, wildcards.well, snakemake.params.tiles, info, snakemake.params.images
    )
    aligned, nuclei, labels = example.aligned, example.nuclei, example.cells
    reads, cells = read_table(snakemake.input.reads), read_table(snakemake.input.cells)
    reads, cells, info = (table[table["tile"] == example.tile] for table in (reads, cells, info))

    preview = plot_preview(
        aligned, names, channels, nuclei, labels, info, reads, cells, **example.shown
    )
    write_figure(output.preview, preview)
    base_planes = [names.index(channel) for channel in channels]
    dapi = settings["dapi_channel"]
    stain = aligned[0, base_planes[0] if dapi is None else names.index(dapi)]
    glow = cytoplasm_image([aligned[t][base_planes] for t in cytoplasm_cycles(len(aligned))])
    segmentation = plot_segmentation(stain, glow, nuclei, labels, **example.shown)
    write_figure(output.segmentation, segmentation)
    filtered, _ = log_filter(aligned[:, base_planes], settings["spot_sigma_px"])
    write_figure(output.spots, plot_spots(filtered, reads, **example.shown))
    decoding = read_table(snakemake.input.decoding)
    here = place(wildcards.plate, wildcards.well)
    if (decoding["parameter"] == "signal").any():
        crosstalk = plot_decoding(decoding, "".join(bases), channels, here)
    else:
        matrix = decoding[decoding["parameter"] == "crosstalk"].pivot_table("value", "to", "from")
        crosstalk = plot_crosstalk(matrix.loc[channels, bases].to_numpy(), "".join(bases), here)
    write_figure(output.crosstalk, crosstalk)
    log.info("tile %s is shown", example.tile)
