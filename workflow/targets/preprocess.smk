from lib.shared import layout

CYCLES = list(INPUTS.cycles)

PREPROCESS_OUTPUTS = rooted(layout.PREPROCESS)
PREPROCESS_TEMPORARY = {"convert_sbs", "convert_phenotype"} - wanted("preprocess")
PREPROCESS_OUTPUT_MAPPINGS = {stage: temp for stage in PREPROCESS_TEMPORARY}
PREPROCESS_OUTPUTS_MAPPED = mapped(PREPROCESS_OUTPUTS, PREPROCESS_TEMPORARY)

PREPROCESS_STAGES = ["convert_sbs", "calculate_ic_sbs", "extract_metadata_sbs"]
PREPROCESS_TARGETS_ALL = (
    targets(
        {
            stage: PREPROCESS_OUTPUTS[stage]
            for stage in PREPROCESS_STAGES
            if stage not in PREPROCESS_TEMPORARY
        },
        "sbs",
    )
    if SAMPLES["sbs"]
    else []
)
