"""Callers side by side on simulated wells that differ in one thing, and on a real tile.

    python tests/benchmarks/decoding.py [--only NAME ...] [--tiles N] [--tile-size N] [--keep DIR]

Every caller gets the same spots and segmentation, from one run of the workflow. `classic` is
the recipe of the field, written anew here: one crosstalk matrix of medians of the spots
brightest in each channel, brightest base, exact match, most frequent barcode of a cell.
Columns: share of true reads exactly called (of those found); share of spots accepted; share
of these whose guide is no true read's within 3 px (asked: 1 %); recall and precision of the
guides of cells.

A second table holds the qualities of the posterior caller against the truth: all bases of all
spots that have a true read within 3 px, by quality, and how many are wrong against how many are
claimed to be. Where several true reads are near, the one that agrees in most bases counts.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lib.sbs.cell_calling import call_cells
from lib.sbs.cell_evidence import call_cells_by_evidence
from lib.sbs.posterior_caller import call_tile, fit_caller
from lib.sbs.reads import Sequencing, call_reads
from lib.shared.image_io import read_image
from lib.shared.library import read_library
from lib.shared.tables import read_table, read_tables
from lib.simulate.parameters import BASES, PRESETS
from lib.simulate.score import match_labels, score_genotypes, score_reads, tile_truth
from lib.simulate.screen import simulate_screen

REPOSITORY = Path(__file__).parents[2]
BRAIN = REPOSITORY.parent / "shared/data/iss_mouse_brain"
CELLS = Path("results/sbs/parquets/P-1_W-A1__cells.parquet")
TILE = ["plate", "well", "tile"]
QUALITIES = (5, 10, 15, 20, 25, 30)
CALLERS = ("posterior", "median", "percentile", "argmax", "classic")

# What differs from the default preset; keys without a parameter are handled below.
VARIANTS: dict[str, dict] = {
    "default": {},
    "hard": {"preset": "hard"},
    "phasing 0": {"cycles": 12, "phasing": 0.0, "prephasing": 0.0},
    "phasing 2 %": {"cycles": 12, "phasing": 0.02},
    "phasing 4 %": {"cycles": 12, "phasing": 0.04, "prephasing": 0.015},
    "phasing 7 %": {"preset": "phased"},
    "phasing 8 %": {"cycles": 12, "phasing": 0.08, "prephasing": 0.02},
    "8 cycles": {"cycles": 8},
    "16 cycles": {"cycles": 16},
    "20 cycles": {"cycles": 20},
    "dense": {"preset": "dense"},
    "dim": {"preset": "dim"},
    "misaligned": {"spot_jitter_px": 0.5},
    # Corners off by some px, as in a tile of 2048 px whose plate was put back 0.2 degrees turned.
    "turned": {"turn_deg": 0.22, "zoom": 0.002},
    "1 guide": {"guides": 1, "guides_per_gene": 1},
    "5 guides": {"guides": 5, "guides_per_gene": 1},
    "20 guides, skewed": {"guides": 20, "abundance_sigma": 1.5},
    "2,000 guides": {"library": 2000},
    "20,000 guides": {"library": 20_000},
    "100,000 guides": {"library": 100_000},
    "failed cycle, known": {"failed": 4},
    "failed cycle, unknown": {"spoilt": 4},
}


def make_screen(folder: Path, changes: dict, tiles: int, size: int, seed: int) -> None:
    """Simulate a well and run the workflow on it, as far as there is none yet."""
    if (folder / CELLS).exists():
        return
    own = {k: v for k, v in changes.items() if k not in ("preset", "library", "failed", "spoilt")}
    preset = PRESETS[changes.get("preset", "default")]
    common = {"tiles": tiles, "tile_size": size, "phenotype": False, "seed": seed}
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):  # paths in the config stay relative
        simulate_screen(".", replace(preset, **common, **own))
    command = [sys.executable, "-m", "snakemake", str(CELLS), "--cores", "2", "--quiet", "all"]
    command += ["--snakefile", str(REPOSITORY / "workflow/Snakefile")]
    command += ["--configfile", "config.yml"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, cwd=folder, env=environment)


def classic_calls(bases: pd.DataFrame, library: pd.DataFrame, plan: Sequencing) -> pd.DataFrame:
    """Reads by the recipe of the field (Feldman et al. 2019); none of this library's code."""
    light = plan.intensities(bases, np.float64)
    training = light[bases["cell"].to_numpy() > 0].reshape(-1, light.shape[2])
    brightest = training.argmax(axis=1)
    columns = [np.median(training[brightest == c], axis=0) for c in range(light.shape[2])]
    matrix = np.stack([column / column.sum() for column in columns], axis=1)
    index = (light @ np.linalg.inv(matrix).T).argmax(axis=2)
    called = np.full((len(index), plan.length), "N")
    called[:, plan.positions] = np.array(list(plan.bases))[index]
    barcode = pd.Series(["".join(word) for word in called], index=bases.index)
    known = dict(zip(library["barcode"], library["sgRNA"], strict=True))
    reads = bases[[*TILE, "cell", "read", "i", "j", "peak"]].assign(barcode=barcode)
    reads["sgRNA"] = barcode.map(known)
    reads["gene_symbol"] = reads["sgRNA"]
    return reads.assign(barcode_library=barcode.where(reads["sgRNA"].notna()))


def classic_cells(reads: pd.DataFrame) -> pd.DataFrame:
    """The most frequent library barcode of each cell."""
    mapped = reads[(reads["cell"] > 0) & reads["sgRNA"].notna()]
    counts = mapped.groupby([*TILE, "cell", "barcode"]).size().rename("n").reset_index()
    counts = counts.sort_values("n", ascending=False, kind="stable")
    cells = counts.drop_duplicates([*TILE, "cell"]).rename(columns={"barcode": "cell_barcode_0"})
    return cells.assign(gene_symbol_0=cells["cell_barcode_0"])


def false_share(reads: pd.DataFrame, truth: pd.DataFrame, reach: float = 3.0) -> float:
    """Share of accepted reads whose guide is no true read's within `reach` px."""
    accepted = reads[reads["sgRNA"].notna()]
    wrong = 0
    for tile, own in accepted.groupby("tile"):
        here = truth[truth["tile"] == tile]
        near = cKDTree(here[["i", "j"]]).query_ball_point(own[["i", "j"]], reach)
        codes = here["barcode"].to_numpy()
        said = own["barcode_library"].to_numpy()
        wrong += sum(name not in codes[index] for name, index in zip(said, near, strict=True))
    return wrong / max(len(accepted), 1)


def quality_table(reads: pd.DataFrame, truth: pd.DataFrame, reach: float = 3.0) -> np.ndarray:
    """Bases, wrong ones, and wrong ones claimed (3, q) by quality, from each of QUALITIES on."""
    claimed, wrong = [], []
    names = reads.filter(regex=r"^Q_\d+$").columns
    for tile, own in reads.groupby("tile"):
        here = truth[truth["tile"] == tile]
        codes = np.array([list(code) for code in here["barcode"]])
        near = cKDTree(here[["i", "j"]]).query_ball_point(own[["i", "j"]], reach)
        for called, error, index in zip(own["barcode"], own[names].to_numpy(), near, strict=True):
            if len(index):
                differ = codes[index] != np.array(list(called))
                wrong.append(differ[differ.sum(axis=1).argmin()])
                claimed.append(10 ** (-error / 10))
    claimed, wrong = np.array(claimed).ravel(), np.array(wrong).ravel()
    known = np.isfinite(claimed)  # no quality where a cycle failed
    claimed, wrong = claimed[known], wrong[known]
    quality = np.digitize(-10 * np.log10(claimed), QUALITIES) - 1
    kept = quality >= 0
    return np.stack(
        [
            np.bincount(quality[kept], weight, minlength=len(QUALITIES))
            for weight in (np.ones(kept.sum()), wrong[kept], claimed[kept])
        ]
    )


def compare(folder: Path, changes: dict) -> list[dict]:
    """One row per caller."""
    bases = read_tables(sorted((folder / "results/sbs/parquets").glob("*__bases.parquet")))
    info = read_table(folder / "results/sbs/parquets/P-1_W-A1__sbs_info.parquet")
    truth = read_table(folder / "truth/reads.parquet")
    cycles = sum(name.startswith("G_") for name in bases.columns)
    rng = np.random.default_rng(0)
    if "spoilt" in changes or "failed" in changes:
        bad = changes.get("spoilt", changes.get("failed"))
        names = [f"{base}_{bad}" for base in BASES]
        level = bases[names].to_numpy().mean()
        bases[names] = rng.lognormal(np.log(level), 0.5, (len(bases), 4)).astype(np.float32)
    failed = [changes["failed"]] if "failed" in changes else []
    used = [cycle for cycle in range(1, cycles + 1) if cycle not in failed]
    plan = Sequencing.plan(used, list(BASES), failed_cycles=failed)
    library = read_library(folder / "barcode_library.tsv", **plan.library_places())
    if "library" in changes:
        library = with_absent_guides(library, changes["library"], rng)
    if failed:
        truth = truth.assign(barcode=[f"{b[: bad - 1]}N{b[bad:]}" for b in truth["barcode"]])
    matches = label_matches(folder)
    expected = tile_truth(folder)
    rows = []
    for caller in CALLERS:
        start = time.process_time()
        if caller == "posterior":
            reads = call_tile(fit_caller(bases, library, plan), bases)
            cells = call_cells_by_evidence(reads, info)[0]
        elif caller == "classic":
            reads = classic_calls(bases, library, plan)
            cells = classic_cells(reads)
        else:
            reads, _ = call_reads(bases, library, plan, caller)
            cells = call_cells(reads, info)
        seconds = time.process_time() - start
        if failed:
            cells["cell_barcode_0"] = cells["cell_barcode_0"].astype(object)
            for name in ("barcode_0", "barcode_1"):
                known = expected[name].notna()
                masked = expected[name].str[: bad - 1] + "N" + expected[name].str[bad:]
                expected[name] = masked.where(known)
        marks = score_genotypes(cells, expected, matches)
        rows.append(
            {
                "caller": caller,
                "quality": quality_table(reads, truth) if caller == "posterior" else None,
                "exact": score_reads(reads, truth)["exact_of_found"],
                "accepted": reads["sgRNA"].notna().mean(),
                "false": false_share(reads, truth),
                "recall": marks["recall"],
                "precision": marks["precision"],
                "cpu_s": seconds,
            }
        )
    return rows


def with_absent_guides(library: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """The library and random guides that no cell carries, `count` in all."""
    length = len(library["barcode"].iloc[0])
    letters = rng.choice(list("ACGT"), (count, length))
    more = pd.Series(["".join(word) for word in letters])
    more = more[~more.isin(library["barcode"])].drop_duplicates()[: count - len(library)]
    absent = pd.DataFrame({"sgRNA": more, "gene_symbol": "absent", "barcode": more})
    return pd.concat([library, absent], ignore_index=True)


def label_matches(folder: Path) -> pd.DataFrame:
    found = []
    for path in sorted((folder / "truth/labels/sbs").glob("*__cells.tiff")):
        place = path.name.removesuffix("__cells.tiff").split("_")
        keys = {name: part.split("-", 1)[1] for name, part in zip(TILE, place, strict=True)}
        own = read_image(folder / "results/sbs/images" / path.name)
        found.append(match_labels(read_image(path), own).assign(**keys))
    return pd.concat(found, ignore_index=True)


def real_tile() -> None:
    """Share on codebook of the real tile's anchor spots, the same for all callers."""
    sys.path.insert(0, str(REPOSITORY / "tests/unit"))
    from brain_tile import anchor_spots, codebook

    bases, library = anchor_spots(BRAIN), codebook(BRAIN)
    plan = Sequencing.plan(range(1, 5), list("ACGT"))
    codes = set(library["barcode"])
    print(f"\nreal tile of mouse brain, {len(bases)} anchor spots, share on codebook")
    for caller in ("median", "percentile", "argmax"):
        reads, _ = call_reads(bases, library, plan, caller, max_mismatches=0)
        print(f"{caller:<28}{reads['sgRNA'].notna().mean():.3f}")
    classic = classic_calls(bases.assign(cell=1), library, plan)
    print(f"{'classic':<28}{classic['sgRNA'].notna().mean():.3f}")
    for fdr in (0.025, 0.01):
        reads = call_tile(fit_caller(bases, library, plan, fdr), bases)
        if fdr == 0.025:
            print(f"{'posterior, library-free':<28}{reads['barcode_free'].isin(codes).mean():.3f}")
        print(f"{f'posterior, at {fdr:.1%} FDR':<28}{reads['sgRNA'].notna().mean():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--tile-size", type=int, default=640)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument(
        "--keep", help="folder for the simulated wells; a temporary one if left out"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(options.keep or scratch)
        head = f"{'well':<24}{'caller':<12}"
        print(head + "".join(f"{n:>10}" for n in ("exact", "accepted", "false", "recall")), end="")
        print(f"{'precision':>11}{'cpu s':>8}")
        qualities = {}
        for name in options.only:
            changes = VARIANTS[name]
            # Variants of the calling alone share a well.
            well = "default" if {"library", "failed", "spoilt"} & set(changes) else name
            folder = root / well.replace(" ", "_").replace("%", "pc").replace(",", "")
            make_screen(folder, VARIANTS[well], options.tiles, options.tile_size, options.seed)
            for row in compare(folder, changes):
                if row["quality"] is not None:
                    qualities[name] = row["quality"]
                numbers = [row[key] for key in ("exact", "accepted", "false", "recall")]
                text = "".join(f"{value:>10.4f}" for value in numbers)
                print(
                    f"{name:<24}{row['caller']:<12}{text}{row['precision'] or np.nan:>11.4f}"
                    f"{row['cpu_s']:>8.1f}",
                    flush=True,
                )
        print_qualities(qualities)
    if BRAIN.exists():
        real_tile()


def print_qualities(qualities: dict[str, np.ndarray]) -> None:
    """Wrong bases per claimed one, and numbers, by quality; last, over Q10 to Q30."""
    print(
        "\nquality against the truth: wrong bases / as many as are claimed, ratio over Q10 to Q30"
    )
    edges = [f"Q{low}-{high}" for low, high in itertools.pairwise(QUALITIES)]
    print(f"{'well':<24}" + "".join(f"{edge:>14}" for edge in edges) + f"{'ratio':>8}")
    inner = slice(1, len(QUALITIES) - 1)
    qualities = qualities | {"all": sum(qualities.values())}
    for name, (_, wrong, claimed) in qualities.items():
        pairs = [f"{w:.0f} / {c:.1f}" for w, c in zip(wrong, claimed, strict=True)][:-1]
        ratio = wrong[inner].sum() / claimed[inner].sum()
        print(f"{name:<24}" + "".join(f"{pair:>14}" for pair in pairs) + f"{ratio:>8.2f}")


if __name__ == "__main__":
    main()
