"""Seconds and memory of every rule: `make benchmark`, or `python tests/benchmarks/rules.py`.

Simulates a well of four tiles (12 cycles, 5 channels, 1024 x 1024 px), once if a
folder is given to keep it in, and runs the workflow on it. Then measures what it
takes to start the scripts, to estimate illumination and to plan a large plate.
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
from measure import SNAKEFILE, Run, highest_peak, median_cpu, print_table, run_snakemake

PER_TILE = ("convert_sbs", "align_sbs", "segment_sbs", "detect_spots")
SIMULATE = ("--tiles", "4", "--cycles", "12", "--no-phenotype")


def simulated(folder: Path) -> Path:
    """A screen of four tiles in `folder`, simulated if it is not there yet."""
    from lib.simulate.__main__ import main as simulate

    screen = folder / "screen"
    if not (screen / "config.yml").exists():
        simulate([str(screen), *SIMULATE])
    return screen


def run_workflow(screen: Path) -> Run:
    """Run all of the workflow on a simulated screen, from nothing."""
    shutil.rmtree(screen / "results", ignore_errors=True)
    return run_snakemake(screen, SNAKEFILE, "--configfile", "config.yml", "--cores", "2")


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


def report(results: Path, run: Run) -> None:
    """Print what each rule took, and what each tile did."""
    rows, per_tile = [], {"wall": 0.0, "cpu": 0.0, "peak": 0.0}
    for rule, jobs in benchmarks(results).items():
        # Rules that share a script are measured together: calculate_ic stands for ..._sbs.
        costs = next((c for name, c in run.scripts.items() if rule.startswith(name)), None)
        wall = median(_number(job["s"]) for job in jobs)
        sampled = [
            median(_number(job["cpu_time"]) for job in jobs),
            max(_number(job["max_rss"]) for job in jobs),
        ]
        metered = [median_cpu(costs), highest_peak(costs)] if costs else ["", ""]
        rows.append([rule, len(jobs), wall, sampled[0], metered[0], sampled[1], metered[1]])
        if rule in PER_TILE:
            per_tile["wall"] += wall
            per_tile["cpu"] += metered[0]
            per_tile["peak"] = max(per_tile["peak"], metered[1])
    rows.append(["each tile", "", per_tile["wall"], "", per_tile["cpu"], "", per_tile["peak"]])
    rows.append(["snakemake itself", "", "", "", run.snakemake.cpu_s, "", run.snakemake.peak_mb])
    header = ["rule", "jobs", "s", "CPU s, sampled", "CPU s", "MB, sampled", "MB"]
    print_table("Each rule: medians of seconds, highest memory", header, rows)
    print(f"of {', '.join(PER_TILE)}; target: 8 CPU s and 1500 MB for a tile")


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
