PHENOTYPE_OUTPUTS = rooted(layout.PHENOTYPE)
PHENOTYPE_OPTIONAL = ["apply_ic_field_phenotype", "segment_secondary"]
PHENOTYPE_WANTED = []
if "phenotype" in config:
    # Secondary objects are sought where there is a channel for them, and are always kept.
    SECONDARY_CHANNEL = config["phenotype"]["secondary_objects"]["channel"]
    PHENOTYPE_WANTED += [
        stage
        for stage in PHENOTYPE_OPTIONAL
        if (
            SECONDARY_CHANNEL
            if stage == "segment_secondary"
            else stage in named("phenotype")
        )
    ]
PHENOTYPE_OUTPUT_MAPPINGS = {}
PHENOTYPE_OUTPUTS_MAPPED = mapped(PHENOTYPE_OUTPUTS, PHENOTYPE_OUTPUT_MAPPINGS)


def phenotype_stage_kept(stage):
    """Whether the files of a stage stay by themselves."""
    if stage == "segment_secondary":
        return stage in PHENOTYPE_WANTED
    return stage not in PHENOTYPE_OPTIONAL or stage in wanted("phenotype")


PHENOTYPE_TARGETS_ALL = (
    targets(
        {
            stage: [path for path in paths if sbs_target(path)]
            for stage, paths in PHENOTYPE_OUTPUTS.items()
            if phenotype_stage_kept(stage)
        },
        "phenotype",
    )
    if SAMPLES["phenotype"]
    else []
)
