"""What an import costs the client: calls, seconds, memory and bytes, against the test server.

python tests/benchmarks/omero_plates.py      (after make omero; a minute)

Every plate is a process of its own, so that its memory is its own. The seconds
are those of the client's CPU: the test server says nothing of a real one's speed.
"""

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from measure import REPOSITORY, print_table, python_environment

sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from omero_server.logins import account  # noqa: E402
from omero_server.process import ServerProcess  # noqa: E402

from lib.omero.connection import connect  # noqa: E402
from lib.omero.import_image import ImageDescription, channel_styles  # noqa: E402
from lib.omero.import_plate import (  # noqa: E402
    FieldImage,
    PlateImport,
    delete_plate,
    import_plate,
    well_name,
)
from lib.omero.inventory import inventory  # noqa: E402
from lib.omero.local_backend import OMEROLocalBackend  # noqa: E402
from lib.omero.paths import ServerDisk  # noqa: E402
from lib.shared.image_io import write_image  # noqa: E402

CHANNELS = ("DAPI", "G", "T", "A", "C")
COLUMNS = 24
READ = 20  # images that are read back
# (mode, wells, fields of a well, pixels a side)
PLATES = [
    ("register", 96, 4, 2400), ("register", 384, 4, 2400),
    ("upload", 5, 2, 1024), ("upload", 10, 4, 1024),
]  # fmt: skip


@dataclass
class Step:
    """What one step of a plate cost."""

    plate: str
    step: str
    calls: int
    calls_per_well: float
    cpu_s: float
    wall_s: float
    mb_sent: float
    bytes_received: int
    peak_mb_more: float


def plan_of(folder: Path, mode: str, wells: int, fields: int, side: int) -> PlateImport:
    """A plate of noise; of one that is registered there are no files, for nothing opens them."""
    rng, images = np.random.default_rng(0), []
    for number in range(wells * fields):
        well = well_name(*divmod(number // fields, COLUMNS))
        name = f"P-1_W-{well}_T-{number % fields}"
        path, store = folder, str(folder / f"{name}.ome.zarr")
        if mode == "upload":
            path, store = folder / f"{name}.tiff", None
            noise = rng.integers(0, 60000, (len(CHANNELS), side, side), np.uint16)
            write_image(path, noise, "CYX", (0.5, 0.5), CHANNELS)
        described = ImageDescription(
            name, (1, len(CHANNELS), 1, side, side), np.dtype("uint16"),
            channel_styles(CHANNELS), (0.5, 0.5), store=store,
        )  # fmt: skip
        images.append(FieldImage(described, well, "sbs aligned", path, (1.0, 2.0)))
    provenance = {"version": "0", "run": "benchmark"}
    return PlateImport("bench/P-1", "P-1", tuple(images), (), provenance, "bench", ("ops",))


def measure_plate(mode: str, wells: int, fields: int, side: int) -> list[Step]:
    """All steps of one plate, in this process."""
    steps = []
    title = f"{mode}, {wells} x {fields}"

    def step(name: str, work: Callable[[], object]) -> object:
        server.do("clear")
        before, cpu, wall = _peak_mb(), time.process_time(), time.perf_counter()
        result = work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        report = server.do("report")
        calls = sum(report["calls"].values())
        sent, received = report["pixel_bytes_in"] / 1e6, report["pixel_bytes_out"]
        more = _peak_mb() - before
        steps.append(Step(title, name, calls, calls / wells, cpu, wall, sent, received, more))
        return result

    logging.disable(logging.WARNING)  # that images are fetched is what is wanted here
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plan = plan_of(folder, mode, wells, fields, side)
        server = ServerProcess(folder)
        try:
            with connect(account(server)) as gateway:
                disk = ServerDisk.of([folder])
                receipt = step("import", lambda: import_plate(gateway, plan, mode))
                step("import again", lambda: import_plate(gateway, plan, mode))
                step("inventory", lambda: inventory(gateway, receipt["plate"], disk, folder))
                numbers = list(receipt["images"].values())[:READ]
                readers = {
                    "from the disk": OMEROLocalBackend(gateway, disk),
                    "over the wire": OMEROLocalBackend(gateway, ServerDisk.of([]), True),
                }
                for how, backend in readers.items() if mode == "upload" else ():
                    name = f"read {len(numbers)} images {how}"
                    step(name, lambda backend=backend: [backend.load(n).sum() for n in numbers])
                step("delete", lambda: delete_plate(gateway, receipt["plate"]))
        finally:
            server.stop()
    return steps


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every plate in a process of its own, and print one table."""
    rows = []
    for plate in PLATES:
        command = [sys.executable, __file__, *map(str, plate)]
        done = subprocess.run(
            command, env=python_environment(), check=True, capture_output=True, text=True
        )
        rows += [tuple(step.values()) for step in json.loads(done.stdout)]
    header = [
        "wells x fields", "step", "calls", "a well", "CPU s", "wall s", "MB sent",
        "bytes received", "MB more memory",
    ]  # fmt: skip
    print_table(f"Plates of images of {len(CHANNELS)} channels, uint16", header, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mode, *numbers = sys.argv[1:]
        print(json.dumps([asdict(step) for step in measure_plate(mode, *map(int, numbers))]))
    else:
        main()
