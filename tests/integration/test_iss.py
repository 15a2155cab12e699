"""Real in situ sequencing of mouse brain: four cycles, 50 genes, no nuclear stain, no cells.

Of the 256 possible codes 50 have a gene: reads called at random would be on the
codebook in 20 % of cases. The share of reads that are on it tells how well bases
are called, without any truth.
"""

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

from lib.shared.tables import read_table, write_table

from .conftest import DATA, REPOSITORY, Screen

BRAIN = REPOSITORY.parent / "shared/data/iss_mouse_brain"
EXAMPLE = REPOSITORY / "config/examples/iss.yml"
BASES, CYCLES = "ACGT", range(1, 5)
RANDOM = 50 / 256
READS = "results/sbs/parquets/P-1_W-A1__reads.parquet"

pytestmark = pytest.mark.skipif(not BRAIN.exists(), reason="needs the shared test images")


def rows_of(name: str) -> list[dict[str, str]]:
    with open(BRAIN / name, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_inputs(folder: Path) -> None:
    """Sample sheet, code table and config, from the tables beside the images."""
    dye = {meaning: dye for dye, meaning in rows_of("channel_info.csv")[0].items()}
    raw = BRAIN / "selected-tiles"
    places = [(cycle, base) for cycle in CYCLES for base in BASES]
    paths = [raw / f"out_opt_flow_registered_X12_Y1_c0{c}_{dye[base]}.tif" for c, base in places]
    cycles, channels = zip(*places, strict=True)
    place = {"plate": "1", "well": "A1", "tile": "X12Y1"}
    sheet = {"sample_fp": [str(path) for path in paths]}
    sheet |= {key: [value] * len(places) for key, value in place.items()}
    sheet |= {"cycle": cycles, "channel": channels}
    write_table(folder / "sbs_samples.tsv", sheet)
    codes = rows_of("taglist.csv")
    library = {"sgRNA": [r["Code"] for r in codes], "gene_symbol": [r["Name"] for r in codes]}
    write_table(folder / "codes.tsv", library)
    shutil.copy(EXAMPLE, folder / "config.yml")


@pytest.fixture(scope="module")
def brain(tmp_path_factory) -> Screen:
    screen = Screen(tmp_path_factory.mktemp("brain"))
    write_inputs(screen.folder)
    screen.run(*DATA)
    return screen


def reads_of(screen: Screen) -> pd.DataFrame:
    return read_table(screen.folder / READS)


def on_codebook(reads: pd.DataFrame) -> float:
    return reads["sgRNA"].notna().mean()


def test_reads_are_found_and_called_without_cells(brain):
    reads = reads_of(brain)
    assert 1500 < len(reads) < 2500  # 1827 spots in the anchor channel, which is not used
    assert (reads["cell"] == 0).all()
    assert on_codebook(reads) > 0.7
    cells = read_table(brain.results / "sbs/parquets/P-1_W-A1__cells.parquet")
    assert len(cells) == 0
    assert {"cell", "cell_barcode_0", "gene_symbol_0"} <= set(cells.columns)


def test_quality_and_height_tell_reads_from_grains(brain):
    reads = reads_of(brain)
    clear = reads[reads["Q_min"] >= 10]
    assert len(clear) > 0.4 * len(reads)
    # Called without the library, good reads are on the codebook by themselves.
    codes = {row["Code"] for row in rows_of("taglist.csv")}
    assert clear["barcode_free"].isin(codes).mean() > 0.92
    assert reads.loc[reads["Q_min"] < 10, "barcode_free"].isin(codes).mean() < 0.85
    assert on_codebook(reads.nlargest(1000, "peak")) > 0.85


def test_accepted_reads_are_within_the_rate_asked(brain):
    accepted = reads_of(brain).dropna(subset="sgRNA")
    assert (accepted["q_value"] <= 0.025).all()
    assert (1 - accepted["posterior"]).mean() < 0.05


def test_gene_frequencies_are_those_of_a_brain_not_of_chance(brain):
    counts = reads_of(brain)["gene_symbol"].value_counts()
    # A mistake of channel or cycle order would spread the reads evenly over the codes.
    assert counts.iloc[0] > 4 * counts.median()
    assert len(counts) > 40


def test_callers_of_the_field_are_kept_beside(brain, tmp_path):
    copy = Screen(Path(shutil.copytree(brain.folder, tmp_path / "copy")))
    share = {}
    for method in ("median", "argmax"):
        copy.configure(sbs={"call_reads_method": method})
        copy.run(READS)
        share[method] = on_codebook(reads_of(copy))
    assert RANDOM < share["argmax"] < share["median"] - 0.1
