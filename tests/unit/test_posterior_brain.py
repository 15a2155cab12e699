"""The posterior caller on real spots: the anchor's of a tile of mouse brain, without truth.

Of 256 codes 50 have a gene, so the share on codebook tells how well bases are called.
"""

from pathlib import Path

import pytest
from brain_tile import anchor_spots, codebook

from lib.sbs.posterior_caller import call_tile, fit_caller
from lib.sbs.reads import Sequencing, call_reads

BRAIN = Path(__file__).parents[3] / "shared/data/iss_mouse_brain"
PLAN = Sequencing.plan(range(1, 5), list("ACGT"))

pytestmark = pytest.mark.skipif(not BRAIN.exists(), reason="needs the shared test images")


@pytest.fixture(scope="module")
def brain():
    return anchor_spots(BRAIN), codebook(BRAIN)


def test_more_reads_on_codebook_than_by_the_other_callers(brain):
    bases, library = brain
    reads = call_tile(fit_caller(bases, library, PLAN, fdr=0.025), bases)
    assert len(reads) == 1827
    assert reads["barcode_free"].isin(library["barcode"]).mean() >= 0.91
    accepted = reads["sgRNA"].notna()
    assert accepted.mean() >= 0.94
    assert (reads.loc[accepted, "q_value"] <= 0.025).all()
    for method in ("median", "percentile", "argmax"):
        classic, _ = call_reads(bases, library, PLAN, method, max_mismatches=0)
        assert classic["sgRNA"].notna().mean() < 0.9
