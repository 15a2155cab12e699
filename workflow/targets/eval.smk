SBS_EVAL, PHENOTYPE_EVAL = (
    {level: rooted_one(paths) for level, paths in templates.items()}
    for templates in (layout.SBS_EVAL, layout.PHENOTYPE_EVAL)
)
RUN_EVAL = rooted_one(layout.RUN_EVAL)


def eval_targets(templates, module):
    """All tables and figures of a module; none where the screen has no such images."""
    if not SAMPLES[module]:
        return []
    wells = [*templates["well"].values(), templates["illumination"]]
    return targets({"plate": list(templates["plate"].values()), "well": wells}, module)


def eval_tables(templates, module, name):
    """A table of a module for every plate; none where the screen has no such images."""
    return (
        targets({name: [templates["plate"][name]]}, module) if SAMPLES[module] else []
    )


SBS_TARGETS_ALL += eval_targets(SBS_EVAL, "sbs")
PHENOTYPE_TARGETS_ALL += eval_targets(PHENOTYPE_EVAL, "phenotype")
EVAL_TARGETS = list(RUN_EVAL.values())
