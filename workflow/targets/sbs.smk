SBS_OUTPUTS = rooted(layout.SBS)
SBS_OPTIONAL = [
    "apply_ic_field_sbs",
    "log_filter",
    "compute_standard_deviation",
    "find_peaks",
    "max_filter",
]
SBS_WANTED = [
    stage for stage in SBS_OPTIONAL if "sbs" in config and stage in wanted("sbs")
]
SBS_OUTPUT_MAPPINGS = {}
SBS_OUTPUTS_MAPPED = mapped(SBS_OUTPUTS, SBS_OUTPUT_MAPPINGS)

SBS_TARGETS_ALL = (
    targets(
        {
            stage: paths
            for stage, paths in SBS_OUTPUTS.items()
            if stage in SBS_WANTED or stage not in SBS_OPTIONAL
        },
        "sbs",
    )
    if SAMPLES["sbs"]
    else []
)
