"""What a run found of a simulated screen, in a few lines."""

import os
from collections.abc import Mapping
from pathlib import Path

from lib.shared import layout
from lib.shared.tables import read_tables


def summarise(results_dir: str | os.PathLike, scores: Mapping[str, Mapping]) -> list[str]:
    """Lines to print: counts from the tables, and the `scores` of `score_screen`.

    Raises InputError when the run has left no counts.
    """
    template = layout.SBS_EVAL["plate"]["counts"].format(plate="*")
    counts = read_tables(sorted(Path(results_dir).glob(template)))
    cells, reads = counts["cells"].sum(), counts["reads"].sum()
    one_gene, mapped = counts["cells_one_gene"].sum(), counts["reads_mapped"].sum()
    genotypes, shift = scores["genotypes"], scores["alignment"]
    rows = {
        "cells": f"{cells:,}, {_share(one_gene, cells)} of them called to one gene",
        "reads": f"{reads:,}, {_share(mapped, reads)} of them in the library",
        "truth recovered": f"{genotypes['recall']:.1%} of the cells with a guide, "
        f"{genotypes['precision']:.1%} of the calls right",
        "nuclei, cells": f"F1 {scores['nuclei']['f1']:.3f}, {scores['cells']['f1']:.3f} at IoU 0.5",
        "alignment": f"error {shift['median']:.2f} px (median), {shift['p99']:.2f} px (99 %)",
    }
    rows |= _phenotype(Path(results_dir))
    return [f"{name:<18}{text}" for name, text in rows.items()]


def _phenotype(results: Path) -> dict[str, str]:
    """What was measured of the phenotype; nothing where there is none."""
    paths = sorted(results.glob(layout.PHENOTYPE_EVAL["plate"]["counts"].format(plate="*")))
    if not paths:
        return {}
    counts = read_tables(paths)
    cells, tiles, features = counts["cells"].sum(), counts["tiles"].sum(), counts["features"].max()
    return {"phenotype": f"{cells:,} cells in {tiles:,} tiles, {features:,} features of each"}


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
