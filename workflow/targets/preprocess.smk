from lib.shared import layout

CYCLES = list(INPUTS.cycles)

PREPROCESS_OUTPUTS = rooted(layout.PREPROCESS)
PREPROCESS_TEMPORARY = {"convert_sbs", "convert_phenotype"} - wanted("preprocess")
PREPROCESS_OUTPUT_MAPPINGS = {stage: temp for stage in PREPROCESS_TEMPORARY}
PREPROCESS_OUTPUTS_MAPPED = mapped(PREPROCESS_OUTPUTS, PREPROCESS_TEMPORARY)


def preprocess_targets(stage):
    """Files of a stage for the halves of the screen that there are; none if they are temporary."""
    return [
        path
        for module in ("sbs", "phenotype")
        if SAMPLES[module] and f"{stage}_{module}" not in PREPROCESS_TEMPORARY
        for path in targets({stage: PREPROCESS_OUTPUTS[f"{stage}_{module}"]}, module)
    ]


PREPROCESS_TARGETS_WELLS = preprocess_targets("calculate_ic") + preprocess_targets(
    "extract_metadata"
)
PREPROCESS_TARGETS_ALL = PREPROCESS_TARGETS_WELLS + preprocess_targets("convert")
