"""What the benchmarks share: running Snakemake under a meter, and printing tables."""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).parents[2]
SNAKEFILE = REPOSITORY / "workflow/Snakefile"
METER = Path(__file__).parent / "meter"

# Programs are compiled once and kept, as in any installation, but outside of it.
BYTECODE = Path(tempfile.gettempdir()) / f"poolscope-bytecode-{os.getuid()}"


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds of a core, and the most memory it held (MB)."""

    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Run:
    """A finished run of Snakemake: its own cost, its user seconds, and those of its scripts."""

    snakemake: Cost
    user_s: float
    scripts: dict[str, list[Cost]]


def python_environment() -> dict[str, str]:
    """Environment of what is measured: one thread, programs compiled once."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"PYTHONPYCACHEPREFIX": str(BYTECODE), "OMP_NUM_THREADS": "1"}


def run_snakemake(folder: Path, snakefile: Path, *arguments: str) -> Run:
    """Run `snakemake` in `folder`; what it says goes to `snakemake.log` there.

    Raises RuntimeError with the end of the log when it fails.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *arguments]
    log = folder / "snakemake.log"
    with tempfile.TemporaryDirectory() as notes, open(log, "w") as output:
        environment = python_environment() | {
            "PYTHONPATH": os.pathsep.join([str(METER), str(REPOSITORY)]),
            "METER_FOLDER": notes,
        }
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        scripts = _read_notes(Path(notes))
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    # The children that wait4 adds to the times of a process are those of jobs, noted apart.
    own = scripts.pop("__main__")[0]
    return Run(own, used.ru_utime, scripts)


def _read_notes(folder: Path) -> dict[str, list[Cost]]:
    scripts = defaultdict(list)
    for path in folder.iterdir():
        script, cpu, peak = path.read_text().split("\t")
        scripts[script].append(Cost(float(cpu), float(peak)))
    return dict(scripts)


def median_cpu(costs: Iterable[Cost]) -> float:
    """Median of the seconds of a core."""
    return median(cost.cpu_s for cost in costs)


def highest_peak(costs: Iterable[Cost]) -> float:
    """Most memory (MB) of any."""
    return max(cost.peak_mb for cost in costs)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Print a table with aligned columns, and the load under which it was measured."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{title}\n({os.cpu_count()} cores; load of the last 1, 5, 15 minutes {load})")
    cells = [[_text(value) for value in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
