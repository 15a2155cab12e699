SBS_EVAL = {
    level: rooted_one(layout.SBS_EVAL[level])
    for level in ("plate", "well", "illumination")
}
# The summary is one of reads and cells, so far.
RUN_EVAL = {
    name: path
    for name, path in rooted_one(layout.RUN_EVAL).items()
    if SAMPLES["sbs"] or name != "summary"
}

if SAMPLES["sbs"]:
    SBS_TARGETS_ALL += targets(
        {
            "plate": list(SBS_EVAL["plate"].values()),
            "well": [*SBS_EVAL["well"].values(), SBS_EVAL["illumination"]],
        },
        "sbs",
    )
EVAL_TARGETS = list(RUN_EVAL.values())
