"""Where everything lies: the one place that spells a path.

Targets, rules, export, viewers and tests ask this module. A template is a path
relative to the results root (`all.root_fp`) with the wildcards `{plate}`,
`{well}`, `{tile}`, `{cycle}` left open, as Snakemake wants them.
"""

import re

TILE = "P-{plate}_W-{well}_T-{tile}"
WELL = "P-{plate}_W-{well}"
PLATE = "P-{plate}"

# Per module: the name of an output (a stage, for images) and its templates.
PREPROCESS = {
    "convert_sbs": [f"preprocess/images/sbs/{TILE}_C-{{cycle}}__image.tiff"],
    "raw_metadata_sbs": [f"preprocess/metadata/sbs/{TILE}__raw_metadata.tsv"],
    "calculate_ic_sbs": [f"preprocess/ic_fields/sbs/{WELL}_C-{{cycle}}__ic_field.tiff"],
    "extract_metadata_sbs": [f"preprocess/metadata/sbs/{WELL}__combined_metadata.parquet"],
    "convert_phenotype": [f"preprocess/images/phenotype/{TILE}__image.tiff"],
    "raw_metadata_phenotype": [f"preprocess/metadata/phenotype/{TILE}__raw_metadata.tsv"],
    "calculate_ic_phenotype": [f"preprocess/ic_fields/phenotype/{WELL}__ic_field.tiff"],
    "extract_metadata_phenotype": [
        f"preprocess/metadata/phenotype/{WELL}__combined_metadata.parquet"
    ],
}

SBS = {
    "align_sbs": [f"sbs/images/{TILE}__aligned.tiff", f"sbs/tsvs/{TILE}__alignment.tsv"],
    "apply_ic_field_sbs": [f"sbs/images/{TILE}__illumination_corrected.tiff"],
    "segment_sbs": [
        f"sbs/images/{TILE}__nuclei.tiff",
        f"sbs/images/{TILE}__cells.tiff",
        f"sbs/tsvs/{TILE}__segmentation_stats.tsv",
        f"sbs/tsvs/{TILE}__sbs_info.tsv",
    ],
    "log_filter": [f"sbs/images/{TILE}__log_filtered.tiff"],
    "compute_standard_deviation": [f"sbs/images/{TILE}__standard_deviation.tiff"],
    "find_peaks": [f"sbs/images/{TILE}__peaks.tiff"],
    "max_filter": [f"sbs/images/{TILE}__max_filtered.tiff"],
    "choose_spot_measure": [f"sbs/tsvs/{PLATE}__spot_measure.tsv"],
    "detect_spots": [f"sbs/parquets/{TILE}__bases.parquet"],
    "call_reads": [f"sbs/parquets/{WELL}__reads.parquet", f"sbs/tsvs/{WELL}__decoding.tsv"],
    "call_cells": [f"sbs/parquets/{WELL}__cells.parquet", f"sbs/parquets/{WELL}__sbs_info.parquet"],
}

PHENOTYPE = {
    "align_phenotype": [
        f"phenotype/images/{TILE}__aligned.tiff",
        f"phenotype/tsvs/{TILE}__alignment.tsv",
    ],
    "apply_ic_field_phenotype": [f"phenotype/images/{TILE}__illumination_corrected.tiff"],
    "segment_phenotype": [
        f"phenotype/images/{TILE}__nuclei.tiff",
        f"phenotype/images/{TILE}__cells.tiff",
        f"phenotype/tsvs/{TILE}__segmentation_stats.tsv",
        f"phenotype/tsvs/{TILE}__phenotype_info.tsv",
    ],
    "identify_cytoplasm": [f"phenotype/images/{TILE}__identified_cytoplasms.tiff"],
    "segment_secondary": [
        f"phenotype/images/{TILE}__secondary_objects.tiff",
        f"phenotype/tsvs/{TILE}__secondary_info.tsv",
    ],
    "extract_phenotype": [f"phenotype/parquets/{TILE}__phenotype_cp.parquet"],
    "merge_phenotype": [
        f"phenotype/parquets/{WELL}__phenotype_cp.parquet",
        f"phenotype/parquets/{WELL}__phenotype_info.parquet",
    ],
}

# Stages whose images are numbers of objects.
LABEL_STAGES = ("segment_sbs", "segment_phenotype", "identify_cytoplasm", "segment_secondary")

# The export layer: per module, the store of each stage that can be mirrored as OME-Zarr.
OMEZARR = {
    "preprocess": {
        "convert_sbs": f"preprocess/omezarr/sbs/image/{TILE}_C-{{cycle}}__image.ome.zarr",
        "calculate_ic_sbs": (
            f"preprocess/omezarr/sbs/ic_field/{WELL}_C-{{cycle}}__ic_field.ome.zarr"
        ),
        "convert_phenotype": f"preprocess/omezarr/phenotype/image/{TILE}__image.ome.zarr",
        "calculate_ic_phenotype": (
            f"preprocess/omezarr/phenotype/ic_field/{WELL}__ic_field.ome.zarr"
        ),
    },
    "sbs": {
        stage: f"sbs/omezarr/{info}/{TILE}__{info}.ome.zarr"
        for stage, info in {
            "align_sbs": "aligned",
            "apply_ic_field_sbs": "illumination_corrected",
            "segment_sbs": "segmentation",
            "log_filter": "log_filtered",
            "compute_standard_deviation": "standard_deviation",
            "find_peaks": "peaks",
            "max_filter": "max_filtered",
        }.items()
    },
    "phenotype": {
        stage: f"phenotype/omezarr/{info}/{TILE}__{info}.ome.zarr"
        for stage, info in {
            "apply_ic_field_phenotype": "illumination_corrected",
            "align_phenotype": "aligned",
            "segment_phenotype": "segmentation",
            "identify_cytoplasm": "cytoplasm",
            "segment_secondary": "secondary_objects",
        }.items()
    },
}


def plate_store(store: str) -> str:
    """Template of the plate that holds, as fields, what `store` of OMEZARR holds by tile.

    `sbs/omezarr/P-{plate}__aligned.ome.zarr` for the aligned tiles; images of
    several cycles make a plate per cycle.
    """
    folder, name = store.split("/omezarr/")
    parts = name.split("/")
    parent = "/".join([folder, "omezarr", *parts[:-2]])
    return f"{parent}/{parts[-1].replace('_W-{well}', '').replace('_T-{tile}', '')}"


# Evaluation, figures and tables of the report: per plate, per well, or of the whole run.
SBS_EVAL = {
    "plate": {
        name: f"sbs/eval/{PLATE}__{name}.{suffix}"
        for name, suffix in {
            "counts": "tsv",
            "flagged": "tsv",
            "cells_per_well": "svg",
            "reads_per_well": "svg",
            "mapped_per_well": "svg",
            "drift": "svg",
            "residuals": "svg",
            "base_composition": "svg",
            "base_quality": "svg",
            "mapping_thresholds": "svg",
            "cell_calls": "svg",
            "representation": "svg",
        }.items()
    },
    "well": {
        name: f"sbs/eval/{WELL}__{name}.png"
        for name in ("preview", "segmentation", "spots", "crosstalk")
    },
    "illumination": f"preprocess/eval/sbs/{WELL}__illumination.png",
}
PHENOTYPE_EVAL = {
    "plate": {
        name: f"phenotype/eval/{PLATE}__{name}.{suffix}"
        for name, suffix in {
            "counts": "tsv",
            "features": "tsv",
            "flagged": "tsv",
            "cells_per_well": "svg",
            "cells_per_tile": "svg",
            "feature_plates": "svg",
            "feature_distributions": "svg",
            "feature_gaps": "svg",
        }.items()
    },
    "well": {name: f"phenotype/eval/{WELL}__{name}.png" for name in ("segmentation", "channels")},
    "illumination": f"preprocess/eval/phenotype/{WELL}__illumination.png",
}
RUN_EVAL = {name: f"eval/{name}.html" for name in ("summary", "tiles", "parameters", "costs")}

# OMERO: the numbers of what an import made, and images that live only on the server. These lie
# wherever a sample sheet says, and are told by the end of their path.
OMERO_RECEIPT = f"omero/{PLATE}__receipt.json"
OMERO_IMAGE = "omero/images/I-{image}__image.tiff"
_OMERO_IMAGE = re.compile(r"(?:.*/)?omero/images/I-[0-9]+__image\.tiff")


def is_omero_image(path: str) -> bool:
    """Whether `path` is that of an image which is fetched from OMERO where it is missing."""
    return "omero/images/" in path and _OMERO_IMAGE.fullmatch(path) is not None
