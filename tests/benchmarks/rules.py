"""Seconds and memory of every rule: `make benchmark`, or `python tests/benchmarks/rules.py`.

Simulates a well of four tiles (12 cycles, 5 channels, 1024 x 1024 px) and its phenotype
(4 channels, tiles of the same size), once if a folder is given to keep it in, and runs
the workflow on it. Then measures what it takes to start the scripts, to estimate
illumination and to plan a large plate.
"""

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import dry_run
import illumination
import start_up
from measure import SNAKEFILE, Cost, Run, highest_peak, median_cpu, print_table, run_snakemake

PER_TILE = {
    "sequencing tile": ("convert_sbs", "align_sbs", "segment_sbs", "detect_spots"),
    "phenotype tile": (
        "convert_phenotype",
        "align_phenotype",
        "segment_phenotype",
        "extract_phenotype",
    ),
}
SIMULATE = ("--tiles", "4", "--cycles", "12")


def simulated(folder: Path) -> Path:
    """A screen of four tiles in `folder`, simulated if it is not there yet."""
    from lib.simulate.__main__ import main as simulate

    screen = folder / "screen"
    if not (screen / "config.yml").exists():
        simulate([str(screen), *SIMULATE])
    return screen


def run_workflow(screen: Path) -> dict[str, Run]:
    """Run all of the workflow on a simulated screen, from nothing: one half, then the other.

    The halves share scripts, whose costs are noted by script.
    """
    shutil.rmtree(screen / "results", ignore_errors=True)
    targets = {"sbs": "all_sbs", "phenotype": "all"}
    arguments = ("--configfile", "config.yml", "--cores", "2")
    return {
        half: run_snakemake(screen, SNAKEFILE, target, *arguments)
        for half, target in targets.items()
    }


def benchmarks(results: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of Snakemake's benchmark files, by rule."""
    rules = {}
    for folder in sorted((results / "benchmarks").iterdir()):
        rules[folder.name] = []
        for path in sorted(folder.glob("*.tsv")):
            with open(path, newline="") as file:
                rules[folder.name] += csv.DictReader(file, delimiter="\t")
    return rules


def _number(text: str) -> float:
    return float(text) if text not in ("NA", "-") else 0.0


def _costs(rule: str, runs: dict[str, Run]) -> list[Cost] | None:
    """What the jobs of a rule took; calculate_ic, say, is the script of calculate_ic_sbs."""
    late = "phenotype" in rule or rule == "eval_run"
    scripts = runs["phenotype" if late else "sbs"].scripts
    name = max(filter(rule.startswith, scripts), key=len, default=None)
    return scripts.get(name)


def report(results: Path, runs: dict[str, Run]) -> None:
    """Print what each rule took, and what each tile did."""
    rows, measured = [], {}
    for rule, jobs in benchmarks(results).items():
        costs = _costs(rule, runs)
        wall = median(_number(job["s"]) for job in jobs)
        sampled = [
            median(_number(job["cpu_time"]) for job in jobs),
            max(_number(job["max_rss"]) for job in jobs),
        ]
        metered = [median_cpu(costs), highest_peak(costs)] if costs else ["", ""]
        rows.append([rule, len(jobs), wall, sampled[0], metered[0], sampled[1], metered[1]])
        measured[rule] = wall, metered[0], metered[1]
    for kind, rules in PER_TILE.items():
        wall, cpu, peak = zip(*(measured[rule] for rule in rules), strict=True)
        rows.append([f"each {kind}", "", sum(wall), "", sum(cpu), "", max(peak)])
    for half, run in runs.items():
        own = run.snakemake
        rows.append([f"snakemake itself, {half}", "", "", "", own.cpu_s, "", own.peak_mb])
    header = ["rule", "jobs", "s", "CPU s, sampled", "CPU s", "MB, sampled", "MB"]
    print_table("Each rule: medians of seconds, highest memory", header, rows)
    for kind, rules in PER_TILE.items():
        print(f"each {kind}: {', '.join(rules)}; target: 8 CPU s and 1500 MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="keeps the simulated screen")
    topics = ("rules", "start_up", "illumination", "dry_run")
    parser.add_argument("--only", choices=topics, help="measure one thing alone")
    options = parser.parse_args(arguments)
    wanted = topics if options.only is None else (options.only,)
    with tempfile.TemporaryDirectory(prefix="benchmark") as scratch:
        folder = Path(options.folder or scratch).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if "rules" in wanted:
            screen = simulated(folder)
            report(screen / "results", run_workflow(screen))
        for topic in (start_up, illumination, dry_run):
            if topic.__name__ in wanted:
                topic.measure(Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
