"""Notes what a Python process has cost when it ends; Python loads this by way of PYTHONPATH.

Snakemake's own benchmark files sample a job twice a second and miss its end, which
is most of a job of a second.
"""

import atexit
import os
import resource
import sys


def _peak_mb() -> float:
    # ru_maxrss would count what Snakemake held when it forked.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def _note() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Snakemake runs a copy of a script, named tmpabc123.script.py.
    script = os.path.basename(sys.argv[0]).removesuffix(".py").rpartition(".")[2]
    name = os.path.join(os.environ["METER_FOLDER"], f"{os.getpid()}.tsv")
    with open(name, "w") as file:
        file.write(f"{script}\t{used.ru_utime + used.ru_stime:.3f}\t{_peak_mb():.1f}\n")


if "METER_FOLDER" in os.environ:
    atexit.register(_note)
