from lib.shared import layout

CYCLES = list(INPUTS.cycles)

PREPROCESS_OUTPUTS = rooted(layout.PREPROCESS)
PREPROCESS_TEMPORARY = {"convert_sbs", "convert_phenotype"} - wanted("preprocess")
PREPROCESS_OUTPUT_MAPPINGS = {stage: temp for stage in PREPROCESS_TEMPORARY}
PREPROCESS_OUTPUTS_MAPPED = mapped(PREPROCESS_OUTPUTS, PREPROCESS_TEMPORARY)


def preprocess_targets(*stages):
    """Files of these stages, those that are deleted after use left out."""
    kept = {
        stage: PREPROCESS_OUTPUTS[stage]
        for stage in stages
        if stage not in PREPROCESS_TEMPORARY
    }
    return targets(kept, "sbs") if SAMPLES["sbs"] else []


PREPROCESS_TARGETS_WELLS = preprocess_targets(
    "calculate_ic_sbs", "extract_metadata_sbs"
)
PREPROCESS_TARGETS_ALL = PREPROCESS_TARGETS_WELLS + preprocess_targets("convert_sbs")
