"""Cells and features of simulated and real tiles against what is known of them."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from lib.phenotype.alignment import correct_and_align
from lib.phenotype.features import FeatureParameters, measure
from lib.phenotype.segmentation_images import cell_image
from lib.shared.segmentation import border_labels, cytoplasm, segment
from lib.simulate import render
from lib.simulate.library import CONTROL_GENE, hit_effects, make_library
from lib.simulate.parameters import PHENOTYPE_CHANNELS, PRESETS
from lib.simulate.score import match_labels, segmentation_counts
from lib.simulate.tiles import extent, well_tiles
from lib.simulate.well import make_well

PLATE = Path(__file__).parents[3] / "shared/data/translocation_plate"
# Granules are of 0.4 um, 1.2 px: finer than the defaults are made for.
PARAMETERS = FeatureParameters(foci_radius=2.0, foci_deviations=4.0)
# Eight genes, three of which do something: a ratio, a number of granules, a size.
SCREEN = replace(
    PRESETS["default"],
    seed=3,
    tiles=3,
    tile_size=768,
    guides=40,
    control_fraction=0.2,
    hit_fraction=0.12,
)


@pytest.fixture(scope="module")
def screen():
    """Features of all cells with one guide, their genes, and how well cells were found."""
    library = make_library(SCREEN)
    tiles = well_tiles(SCREEN, "1", "A1")
    well = make_well(SCREEN, library, "1", "A1", extent(tiles))
    tables, counts = [], {"nuclei": [], "cells": []}
    for tile in (tile for tile in tiles if tile.module == "phenotype"):
        scene = render.make_scene(SCREEN, well, tile)
        image = render.phenotype_image(SCREEN, well, tile, scene)[0]
        image = correct_and_align(image, np.zeros((len(image), 2)))
        found = segment(image[0], cell_image(image, [1, 2, 3]))
        true_nuclei, true_cells, ids = render.truth_labels(scene)
        counts["nuclei"].append(segmentation_counts(true_nuclei, found.nuclei))
        counts["cells"].append(segmentation_counts(true_cells, found.cells))
        labels = {"nucleus": found.nuclei, "cell": found.cells}
        labels["cytoplasm"] = cytoplasm(found.nuclei, found.cells)
        pairs = match_labels(true_cells, found.cells)
        pairs["cell_id"] = ids[pairs["truth_label"] - 1]
        columns = measure(image, labels, PHENOTYPE_CHANNELS, parameters=PARAMETERS)
        features = pd.DataFrame(columns)
        # Cells that the tile's rim cuts have other sizes and counts than whole ones.
        features = features[~border_labels(found.cells)[features["label"]]]
        tables.append(features.merge(pairs[["label", "cell_id"]], on="label"))
    table = pd.concat(tables).drop_duplicates("cell_id")
    guides = well.cells.guide[table["cell_id"].to_numpy() - 1]
    single = (guides[:, 0] >= 0) & (guides[:, 1] < 0)
    genes = library.genes[guides[single, 0]]
    planted = {
        gene for genes_of in hit_effects(SCREEN, library.genes).values() for gene in genes_of
    }
    features = table[single].drop(columns=["label", "cell_id"])
    return features, genes, planted, {name: pd.DataFrame(rows) for name, rows in counts.items()}


@pytest.mark.parametrize(("kind", "least"), [("nuclei", 0.93), ("cells", 0.85)])
def test_nuclei_and_cells_are_those_that_were_drawn(screen, kind, least):
    counts = screen[3][kind].sum()
    assert counts["truth"] > 300
    assert 2 * counts["matched"] / (counts["found"] + counts["truth"]) >= least


def test_planted_hits_are_found_and_no_more_false_ones_than_allowed(screen):
    """Mann-Whitney's test of medians against non-targeting cells, Benjamini-Hochberg at 5 %.

    A gene's p-value is the least of its features times their number (Bonferroni): only then
    is the rate of false discoveries one of genes.
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    features, genes, planted, _ = screen
    differ = features.notna().all() & (features.max() > features.min())
    values = features.loc[:, differ].to_numpy(float)
    others = sorted(set(genes) - {CONTROL_GENE})
    tests = [mannwhitneyu(values[genes == g], values[genes == CONTROL_GENE]) for g in others]
    p = np.array([min(1, test.pvalue.min() * values.shape[1]) for test in tests])
    found = {gene for gene, q in zip(others, false_discovery_control(p), strict=True) if q <= 0.05}
    assert len(planted) == 3
    assert planted <= found
    assert len(found - planted) <= 0.05 * len(found)


def test_each_planted_effect_shows_in_its_own_feature(screen):
    features, genes, _, _ = screen
    effects = hit_effects(SCREEN, genes)
    shown = {
        "p65_nuclear_ratio": features["nucleus_P65_mean"] / features["cytoplasm_P65_mean"],
        "wga_granule_count": features["cell_WGA_foci_count"],
        "cell_radius": features["nucleus_area"],
    }
    for effect, values in shown.items():
        control = values[genes == CONTROL_GENE]
        spread = 1.4826 * (control - control.median()).abs().median()
        for gene in effects[effect]:
            assert values[genes == gene].median() > control.median() + spread, effect


@pytest.mark.skipif(not PLATE.exists(), reason="real images are not here")
def test_real_translocation_separates_its_controls():
    """Row A of the plate: FKHR moves into the nucleus with the dose (CellProfiler's example).

    It has two negative controls and one positive. The positive's replicates are the three
    highest doses beside it, where the response is saturated.
    """
    with open(PLATE / "1049_Metadata.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Row"].strip() == "A"]
    doses = {int(row["Column"]): float(row["SBS_Doses"]) for row in rows}
    controls = {int(row["Column"]): int(row["SBS_Controls"]) for row in rows}
    ratio = {}
    for column in doses:
        name = f"-{column:02d}-A-{column:02d}.tif"
        stack = [tifffile.imread(PLATE / f"Channel{c}{name}").astype(np.uint16) for c in (2, 1)]
        image = np.stack(stack)
        found = segment(image[0], cell_image(image, [1]))
        labels = {"nucleus": found.nuclei, "cytoplasm": cytoplasm(found.nuclei, found.cells)}
        features = measure(image, labels, ["DNA", "FKHR"], ["intensity"])
        assert len(features["label"]) > 150
        per_cell = features["nucleus_FKHR_mean"] / features["cytoplasm_FKHR_mean"]
        ratio[column] = float(np.nanmedian(per_cell))
    negative = [ratio[column] for column, kind in controls.items() if kind == -1]
    positive = [ratio[column] for column, dose in doses.items() if dose >= max(doses.values()) - 3]
    assert len(negative) == 2 and len(positive) == 4
    window = np.mean(positive) - np.mean(negative)
    z_prime = 1 - 3 * (np.std(positive, ddof=1) + np.std(negative, ddof=1)) / window
    assert z_prime > 0.5
    ordered = [ratio[column] for column in sorted(doses, key=doses.get)]
    assert np.corrcoef(np.argsort(np.argsort(ordered)), np.arange(len(ordered)))[0, 1] > 0.85
