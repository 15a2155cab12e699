"""What a per-tile script costs before it does anything: Snakemake's start and the imports."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from measure import REPOSITORY, median_cpu, print_table, python_environment, run_snakemake

SCRIPTS = {
    name: REPOSITORY / f"workflow/scripts/{folder}/{name}.py"
    for folder, names in {
        "preprocess": ["convert_sbs", "calculate_ic"],
        "sbs": ["align_sbs", "segment_sbs", "detect_spots"],
    }.items()
    for name in names
}
# What scripts import only where they use it, or not at all.
OTHERS = {
    "import_scipy": "import scipy.ndimage",
    "import_skimage": "from skimage.segmentation import watershed",
    "import_pyarrow": "import pyarrow.parquet",
    "import_pandas": "import pandas",
}
REPEATS = 5
_IMPORT_TIME = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)")


def imports_of(script: Path) -> str:
    """All import statements of a script, those inside of branches too, as a program."""
    found = [
        node
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return "\n".join(map(ast.unparse, found)) + "\n"


def import_times(program: Path) -> Counter:
    """Seconds that a program spends importing, by top-level package."""
    command = [sys.executable, "-X", "importtime", str(program)]
    environment = python_environment() | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds = Counter()
    for microseconds, module in _IMPORT_TIME.findall(done.stderr):
        seconds[module.partition(".")[0]] += int(microseconds) / 1e6
    return seconds


def measure(scratch: Path) -> None:
    """Print the CPU seconds of scripts that only import, and which packages take them."""
    folder = scratch / "start_up"
    folder.mkdir()
    programs = {"empty": ""} | {name: imports_of(path) for name, path in SCRIPTS.items()} | OTHERS
    rules = []
    for name, program in programs.items():
        (folder / f"{name}.py").write_text(program)
        rules.append(f"rule {name}:\n    output: touch('{name}_{{n}}')\n    script: '{name}.py'\n")
    wanted = [f"{name}_{n}" for name in programs for n in range(REPEATS)]
    (folder / "Snakefile").write_text("".join(rules))
    run = run_snakemake(folder, folder / "Snakefile", "--cores", "1", *wanted)

    rows = []
    for name in programs:
        packages = import_times(folder / f"{name}.py").most_common(5)
        costly = ", ".join(f"{package} {seconds:.2f}" for package, seconds in packages)
        rows.append([name, median_cpu(run.scripts[name]), costly])
    print_table("Start of a script, before it does anything", ["script", "CPU s", "most"], rows)
    print("target: 0.5 CPU s")
