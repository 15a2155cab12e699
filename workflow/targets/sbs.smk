SBS_OUTPUTS = rooted(layout.SBS)
SBS_OPTIONAL = [
    "apply_ic_field_sbs",
    "log_filter",
    "compute_standard_deviation",
    "find_peaks",
    "max_filter",
]
SBS_WANTED = [
    stage for stage in SBS_OPTIONAL if "sbs" in config and stage in named("sbs")
]
SPOT_MEASURE_CHOSEN = "sbs" in config and config["sbs"]["spot_measure"] == "auto"
if not SPOT_MEASURE_CHOSEN:
    del SBS_OUTPUTS["choose_spot_measure"]
SBS_OUTPUT_MAPPINGS = {}
SBS_OUTPUTS_MAPPED = mapped(SBS_OUTPUTS, SBS_OUTPUT_MAPPINGS)


def sbs_target(path):
    """Whether a file is asked for by itself; the small tables of a tile come with its images."""
    return not ("{tile}" in path and path.endswith(".tsv"))


SBS_TARGETS_ALL = (
    targets(
        {
            stage: [path for path in paths if sbs_target(path)]
            for stage, paths in SBS_OUTPUTS.items()
            if stage not in SBS_OPTIONAL or stage in wanted("sbs")
        },
        "sbs",
    )
    if SAMPLES["sbs"]
    else []
)
