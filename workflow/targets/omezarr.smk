# Mirrors of images as OME-Zarr: the stages of `omezarr_stages`, made when a target names them.
OMEZARR_PLATES = config["all"]["omezarr_layout"] == "plate"
PLATE_METADATA = ".zattrs" if config["all"]["omezarr_version"] == "0.4" else "zarr.json"
if OMEZARR_PLATES:
    from lib.shared.omezarr.plate import split_well


def half_of(module, stage):
    """The half of the screen whose tiles a stage is made of."""
    if module == "preprocess":
        return "sbs" if stage.endswith("_sbs") else "phenotype"
    return module


def in_plates(stage):
    """Whether a stage is exported as fields of plates: one of tiles, where these are asked for."""
    return OMEZARR_PLATES and "{tile}" in OMEZARR[stage]


def plate_of(stage):
    return layout.plate_store(OMEZARR[stage])


# Stages that can be exported here: the module that names them, and the store of each.
OMEZARR_MODULES = {
    stage: module
    for module in layout.OMEZARR
    if module in config
    for stage in config[module]["omezarr_stages"]
    if SAMPLES[half_of(module, stage)]
}
OMEZARR = {
    stage: str(ROOT / layout.OMEZARR[module][stage])
    for stage, module in OMEZARR_MODULES.items()
}


def omezarr_targets(module):
    """Stores, or the metadata of plates, of the stages that a module exports."""
    return [
        path
        for stage in OMEZARR
        if OMEZARR_MODULES[stage] == module
        for path in targets(
            {
                stage: [
                    (
                        f"{plate_of(stage)}/{PLATE_METADATA}"
                        if in_plates(stage)
                        else OMEZARR[stage]
                    )
                ]
            },
            half_of(module, stage),
        )
    ]


# Names of the planes of stages that are masks; the other TIFFs name theirs.
MASK_NAMES = {
    "segment_sbs": ["Nuclei", "Cells"],
    "segment_phenotype": ["Nuclei", "Cells"],
    "identify_cytoplasm": ["Cytoplasm"],
    "segment_secondary": ["Secondary objects"],
}


def omezarr_options(module):
    """How a module's stores are written."""
    keys = ("chunk_shape", "coarsening_factor", "max_levels")
    options = {key: config[module][f"omezarr_{key}"] for key in keys}
    keys = ("version", "sharded", "level_prefix")
    return options | {key: config["all"][f"omezarr_{key}"] for key in keys}


def images_of(stage):
    """Templates of the images that a stage writes."""
    if stage.startswith("convert_"):
        return [CONVERTED[half_of("preprocess", stage)]]
    paths = {**PREPROCESS_OUTPUTS, **SBS_OUTPUTS, **PHENOTYPE_OUTPUTS}[stage]
    return [path for path in paths if path.endswith(".tiff")]


def labels_of(stage):
    """Templates of the masks that lie as labels in the stores of a stage, by name."""
    outputs = {"align_sbs": SBS_OUTPUTS, "align_phenotype": PHENOTYPE_OUTPUTS}.get(
        stage
    )
    if outputs is None or not config["all"]["omezarr_labels"]:
        return {}
    segmented = stage.replace("align", "segment")
    labels = {}
    if segmented in OMEZARR:
        labels["nuclei"], labels["cells"] = outputs[segmented][:2]
    others = {
        "identify_cytoplasm": "cytoplasm",
        "segment_secondary": "secondary_objects",
    }
    for other, name in others.items():
        if stage == "align_phenotype" and other in OMEZARR:
            labels[name] = outputs[other][0]
    return labels


def well_at(wildcards, module):
    """The well at a row and a column of a plate."""
    place = wildcards.row, wildcards.column
    wells = SAMPLES[module].wells(wildcards.plate)
    return next(well for well in wells if split_well(well) == place)


def of_tiles_at(templates, module):
    """Input function: the files of `templates` for all tiles of a place, tile by tile."""
    return lambda wildcards: [
        template.format(**wildcards, well=well, tile=tile)
        for well in [well_at(wildcards, module)]
        for tile in SAMPLES[module].tiles(wildcards.plate, well)
        for template in templates
    ]


def wells_of_plate(plate, module):
    """Input function: the folders of all wells of a plate."""
    return lambda wildcards: [
        "/".join([plate.format(**wildcards), *split_well(well)])
        for well in SAMPLES[module].wells(wildcards.plate)
    ]


def position_cycle(module):
    """The cycle whose stage positions the images of a half of the screen have."""
    return INPUTS.reference_cycle if module == "sbs" else None


def conversion(stage):
    """Whether a stage is made from the raw files, without a TIFF between."""
    return stage.startswith("convert_") and not in_plates(stage)


def stores_in_use(module):
    """Stores of a module that the config asks for: exported, or read by the next stages."""
    stores = omezarr_targets(module) if config[module]["omezarr_export"] else []
    if module == "preprocess":
        for stored in STORED_INPUT:
            stores += targets({"convert": [CONVERTED[stored]]}, stored)
    return [store.removesuffix(PLATE_METADATA).rstrip("/") for store in stores]


PREPROCESS_TARGETS_OMEZARR = omezarr_targets("preprocess")
SBS_TARGETS_OMEZARR = omezarr_targets("sbs")
PHENOTYPE_TARGETS_OMEZARR = omezarr_targets("phenotype")

if config["preprocess"]["omezarr_export"]:
    PREPROCESS_TARGETS_WELLS += PREPROCESS_TARGETS_OMEZARR
    PREPROCESS_TARGETS_ALL += PREPROCESS_TARGETS_OMEZARR
if "sbs" in config and config["sbs"]["omezarr_export"]:
    SBS_TARGETS_ALL += SBS_TARGETS_OMEZARR
if "phenotype" in config and config["phenotype"]["omezarr_export"]:
    PHENOTYPE_TARGETS_ALL += PHENOTYPE_TARGETS_OMEZARR
