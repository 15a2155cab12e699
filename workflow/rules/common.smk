# The config and the inputs, checked before any job starts, and helpers of all rules.
import sys
from functools import cache
from pathlib import Path

from lib.preprocess.convert import check_images, image_pixels, raw_sources
from lib.shared.chemistry import base_channels
from lib.shared.config import load_config, schema_defaults
from lib.shared.errors import InputError
from lib.shared.inputs import check_inputs
from lib.shared.samples import sample_tiles

SCHEMA = workflow.source_path("../schemas/config.schema.yaml")


def refuse(error):
    """End with a sentence for the user, who has no use for a traceback through the Snakefile."""
    sys.exit(f"\nError: {str(error).replace(chr(10), chr(10) + 'Error: ')}\n")


try:
    if not config:
        raise InputError("No config is given: add --configfile config/config.yml.")
    config = load_config(config, SCHEMA)
    INPUTS = check_inputs(config, check_login=workflow.is_main_process)
except InputError as error:
    refuse(error)

ROOT = Path(config["all"]["root_fp"])
SAMPLES = {"sbs": INPUTS.sbs, "phenotype": INPUTS.phenotype}


# For `--software-deployment-method conda`.
# A file, not a name: Snakemake asks conda about a name in every run, and fails where there is none.
ENVIRONMENT = "../../environment.yml"


wildcard_constraints:
    plate=r"[^_/]+",
    well=r"[^_/]+",
    tile=r"[^_/]+",
    cycle=r"\d+",


def rooted(outputs):
    """The templates of layout.py under the results root."""
    return {
        stage: [str(ROOT / path) for path in paths] for stage, paths in outputs.items()
    }


def rooted_one(paths):
    """One template, or templates by name, under the results root."""
    if isinstance(paths, str):
        return str(ROOT / paths)
    return {name: str(ROOT / path) for name, path in paths.items()}


def mapped(outputs, temporary):
    """Outputs as rules declare them: those of `temporary` stages are deleted after use."""
    return {
        stage: [temp(path) if stage in temporary else path for path in paths]
        for stage, paths in outputs.items()
    }


def targets(outputs, module):
    """All files of templates: one per plate, well, tile and cycle as each template has them."""
    samples, files = SAMPLES[module], []
    for path in (path for paths in outputs.values() for path in paths):
        cycles = CYCLES if "{cycle}" in path else [0]
        if "{tile}" in path:
            places = list(samples.every_tile())
        elif "{well}" in path:
            places = [(*well, "") for well in samples.every_well()]
        else:
            places = [(plate, "", "") for plate in samples.plates]
        files += [
            path.format(plate=plate, well=well, tile=tile, cycle=cycle)
            for plate, well, tile in places
            for cycle in cycles
        ]
    return files


def named(module):
    """Optional stages of a module that a target may ask for."""
    section, imported = config[module], config["omero"]["stages"].get(module, [])
    return {*section["checkpoints"], *section["omezarr_stages"], *imported}


def wanted(module):
    """Optional stages of a module that are to stay as images."""
    section = config[module]
    exported = section["omezarr_stages"] if section["omezarr_export"] else []
    imported = config["omero"]["stages"].get(module, [])
    imported = imported if config["omero"]["import"] else []
    return {*section["checkpoints"], *exported, *imported}


def of_tiles(template, module):
    """Input function: the files of `template` for all tiles of a well."""
    return lambda wildcards: [
        template.format(plate=wildcards.plate, well=wildcards.well, tile=tile)
        for tile in SAMPLES[module].tiles(wildcards.plate, wildcards.well)
    ]


def of_tiles_of_plate(template, module):
    """Input function: the files of `template` for all tiles of a plate."""
    return lambda wildcards: [
        template.format(plate=wildcards.plate, well=well, tile=tile)
        for well, tile in places_of_plate(module, wildcards.plate)
    ]


def places_of_plate(module, plate):
    """Wells and tiles of a plate."""
    return [
        (well, tile)
        for well in SAMPLES[module].wells(plate)
        for tile in SAMPLES[module].tiles(plate, well)
    ]


def sampled_places(module, plate, most=4):
    """Wells and tiles of a sample of a plate's tiles."""
    return sample_tiles(places_of_plate(module, plate), most, config["all"]["seed"])


def of_sampled_places(template, module):
    """Input function: the files of `template` for a sample of a plate's tiles."""
    return lambda wildcards: [
        template.format(plate=wildcards.plate, well=well, tile=tile)
        for well, tile in sampled_places(module, wildcards.plate)
    ]


def of_wells(template, module):
    """Input function: the files of `template` for all wells of a plate."""
    return lambda wildcards: [
        template.format(plate=wildcards.plate, well=well)
        for well in SAMPLES[module].wells(wildcards.plate)
    ]


def raw_paths(module, wildcards, tiles, cycles):
    """The distinct raw files of some tiles of a well."""
    place = wildcards.plate, wildcards.well
    rows = (
        row
        for tile in tiles
        for cycle in cycles
        for row in SAMPLES[module].sources(*place, tile, cycle)
    )
    return list(dict.fromkeys(row.path for row in rows))


def raw_parts(module, plate, well, tile, cycle):
    """What a script needs to find one image in the raw files.

    Plain values without row numbers: a row added to the sheet re-runs no other tile.
    """
    rows = SAMPLES[module].sources(plate, well, tile, cycle)
    return [(row.path, row.channel, row.z, row.position) for row in rows]


def tiles_of(module, wildcards):
    return SAMPLES[module].tiles(wildcards.plate, wildcards.well)


def sampled_tiles(module):
    """Input function: the converted tiles that an illumination field is estimated from."""
    template = CONVERTED[module]
    most, seed = config["preprocess"]["ic_max_tiles"], config["all"]["seed"]
    return lambda wildcards: [
        template.format(**wildcards, tile=tile)
        for tile in sample_tiles(tiles_of(module, wildcards), most, seed)
    ]


@cache
def channels_of_cycle(cycle):
    """Channels that the files of an SBS cycle hold; the bases' where no stain was imaged."""
    sbs = config["sbs"]
    shown = base_channels(sbs["bases"], sbs["base_encoding"])
    stained = cycle not in sbs["no_dapi_cycles"]
    return [name for name in sbs["channel_names"] if stained or name in shown]


def ic_field_sbs():
    """The illumination field that all cycles are corrected by; none when they are not.

    The light of a channel is the same in all cycles, as far as cells and reads can tell,
    and each further file costs every tile's jobs.
    """
    if not config["sbs"]["illumination_correction"]:
        return []
    return expand(
        PREPROCESS_OUTPUTS["calculate_ic_sbs"],
        cycle=INPUTS.reference_cycle,
        allow_missing=True,
    )


def figure(path, caption, category, label, *by):
    """An output shown in the report, labelled by what it shows and of which plate and well."""
    labels = {"shows": label} | {key: f"{{{key}}}" for key in by}
    return report(
        path, caption=f"../report/{caption}.rst", category=category, labels=labels
    )


def settings(module, *keys):
    """The config keys that a job depends on; changing any other one does not re-run it."""
    return {key: config[module][key] for key in keys}


def megabytes(base, per_tile_megabyte, module):
    """Memory of a job from the size of a tile's images in memory, more at each attempt."""
    need = base + per_tile_megabyte * TILE_MEGABYTES[module]
    return lambda wildcards, attempt: int(need * 1.5 ** (attempt - 1))


def tile_megabytes(module):
    """Size of all images of a tile (uint16), by the first raw image of the sheet."""
    samples = SAMPLES[module]
    if not samples:
        return 0
    plate, well, tile = next(samples.every_tile())
    cycles = samples.cycles(plate, well, tile) or [None]
    parts = raw_parts(module, plate, well, tile, cycles[0])
    planes = len(cycles) * len(config[module]["channel_names"])
    return 2e-6 * planes * image_pixels(parts, default=2048 * 2048)


def segmentation_resources(module):
    """Base memory (MB) and GPUs of a segmentation job: learned models need more of both."""
    method = config[module]["segmentation"]["method"] if module in config else "none"
    learned = method in ("cellpose", "stardist")
    wants_gpu = learned and config[module]["segmentation"]["gpu"]
    return {"base_mb": 4000 if learned else 500, "gpu": int(wants_gpu)}


def check_first_and_last(module):
    """Compare channel_names with the first and the last tile, before any job starts."""
    sheet = config["preprocess"][f"{module}_samples_fp"]
    tiles = list(SAMPLES[module].every_tile())
    for cycle in INPUTS.cycles if module == "sbs" else [None]:
        images = [
            raw_sources(
                raw_parts(module, plate, well, tile, cycle),
                sheet,
                {"plate": plate, "well": well, "tile": tile},
                cycle,
            )
            for plate, well, tile in dict.fromkeys([tiles[0], tiles[-1]])
        ]
        names = (
            channels_of_cycle(cycle)
            if module == "sbs"
            else config[module]["channel_names"]
        )
        check_images(images, names)


if workflow.is_main_process:
    try:
        for module in SAMPLES:
            if SAMPLES[module]:
                check_first_and_last(module)
    except InputError as error:
        refuse(error)

TILE_MEGABYTES = {module: tile_megabytes(module) for module in SAMPLES}
