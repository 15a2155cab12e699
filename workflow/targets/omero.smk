# Plates of results in OMERO: one receipt for each.
from lib.omero.stages import FIELD, run_name, stage_images
from lib.shared.layout import is_omero_image
from lib.shared.sheets import natural_key

OMERO_RECEIPT = rooted_one(layout.OMERO_RECEIPT)
OMERO_RUN = config["omero"]["run"] or run_name(ROOT)
OMERO_STAGES = {
    half: stages for half, stages in config["omero"]["stages"].items() if SAMPLES[half]
}


def whole_plate(template):
    """The metadata of the plate, which come last, where a template is that of a field."""
    folder = template.removesuffix(FIELD)
    return template if folder == template else folder + PLATE_METADATA


# Templates of what is imported, each with the half of the screen that it belongs to.
OMERO_IMAGES = stage_images(
    OMERO_STAGES, config["omero"]["mode"], config["omero"]["labels"], OMEZARR_PLATES
)
OMERO_FILES = [
    (chosen.module, template)
    for chosen in OMERO_IMAGES
    for template in [whole_plate(chosen.template), *chosen.masks]
]
OMERO_POSITIONS = [
    (half, layout.PREPROCESS[f"extract_metadata_{half}"][0]) for half in OMERO_STAGES
]
OMERO_TABLES = [
    (half, template)
    for half, outputs in (("sbs", layout.SBS), ("phenotype", layout.PHENOTYPE))
    if half in OMERO_STAGES and config["omero"]["tables"]
    for stage in ("call_reads", "call_cells", "merge_phenotype")
    for template in outputs.get(stage, [])
]


def halves_of_plate(plate):
    """The halves of the screen that have images of a plate."""
    return [half for half in OMERO_STAGES if plate in SAMPLES[half].plates]


def of_plate(templates):
    """Input function: files of (half, template) for all tiles or wells of a plate, or its own."""
    return lambda wildcards: list(
        dict.fromkeys(
            path
            for half, template in templates
            if half in halves_of_plate(wildcards.plate)
            for gather in [of_tiles_of_plate if "{tile}" in template else of_wells]
            for path in gather(str(ROOT / template), half)(wildcards)
        )
    )


def tiles_of_plate(wildcards):
    """(well, tile) of each half of the screen that has images of a plate."""
    return {
        half: [
            (well, tile)
            for well in SAMPLES[half].wells(wildcards.plate)
            for tile in SAMPLES[half].tiles(wildcards.plate, well)
        ]
        for half in halves_of_plate(wildcards.plate)
    }


def run_inputs():
    """The tables that a user gives."""
    sheets = [SAMPLES[half].sheet.path for half in OMERO_STAGES]
    library = [config["sbs"]["barcode_library_fp"]] if SAMPLES["sbs"] else []
    return [*sheets, *library]


def omero_image_folders():
    """Folders of the images that the sample sheets name and that come from the server."""
    paths = (
        path
        for samples in SAMPLES.values()
        if samples
        for path in samples.sheet.columns["sample_fp"]
    )
    return sorted({path.rpartition("/")[0] for path in filter(is_omero_image, paths)})


OMERO_PLATES = sorted(
    {plate for chosen in OMERO_IMAGES for plate in SAMPLES[chosen.module].plates},
    key=natural_key,
)
OMERO_TARGETS = expand(OMERO_RECEIPT, plate=OMERO_PLATES)
