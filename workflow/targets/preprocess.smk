from lib.shared import layout

CYCLES = list(INPUTS.cycles)

PREPROCESS_OUTPUTS = rooted(layout.PREPROCESS)
PREPROCESS_TEMPORARY = {"convert_sbs", "convert_phenotype"} - wanted("preprocess")
PREPROCESS_OUTPUT_MAPPINGS = {stage: temp for stage in PREPROCESS_TEMPORARY}
PREPROCESS_OUTPUTS_MAPPED = mapped(PREPROCESS_OUTPUTS, PREPROCESS_TEMPORARY)

# Halves of the screen whose converted tiles are OME-Zarr, and what the compute rules read.
STORED_INPUT = {
    half
    for half in SAMPLES
    if half in config and config[half]["input_format"] == "omezarr"
}
CONVERTED = {
    half: (
        str(ROOT / layout.OMEZARR["preprocess"][f"convert_{half}"])
        if half in STORED_INPUT
        else PREPROCESS_OUTPUTS[f"convert_{half}"][0]
    )
    for half in SAMPLES
}


def preprocess_targets(stage):
    """Files of a stage for the halves of the screen that there are."""
    return [
        path
        for module in ("sbs", "phenotype")
        if SAMPLES[module]
        for path in targets({stage: PREPROCESS_OUTPUTS[f"{stage}_{module}"]}, module)
    ]


PREPROCESS_TARGETS_WELLS = preprocess_targets("calculate_ic") + preprocess_targets(
    "extract_metadata"
)
PREPROCESS_TARGETS_ALL = PREPROCESS_TARGETS_WELLS + [
    path
    for module in ("sbs", "phenotype")
    if SAMPLES[module]
    and (module in STORED_INPUT or f"convert_{module}" not in PREPROCESS_TEMPORARY)
    for path in targets({"convert": [CONVERTED[module]]}, module)
]
