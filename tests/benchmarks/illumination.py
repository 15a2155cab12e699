"""Memory of an illumination field from few and from many tiles."""

from pathlib import Path

import numpy as np
from measure import REPOSITORY, highest_peak, median_cpu, print_table, run_snakemake

from lib.shared.image_io import write_image

TILES = (5, 50)
SHAPE = (5, 1024, 1024)
RULE = """
rule {name}:
    input: {tiles}
    output: "{name}.tiff"
    log: "{name}.log"
    script: "{script}"
"""


def measure(scratch: Path) -> None:
    """Print the peak memory of the script for numbers of tiles of 5 x 1024 x 1024 px."""
    folder = scratch / "illumination"
    folder.mkdir()
    image = np.random.default_rng(0).integers(100, 4000, SHAPE).astype(np.uint16)
    write_image(folder / "0.tiff", image, "CYX", channel_names=list("DGTAC"))
    for n in range(1, max(TILES)):
        (folder / f"{n}.tiff").hardlink_to(folder / "0.tiff")
    script = REPOSITORY / "workflow/scripts/preprocess/calculate_ic.py"
    rows = []
    for count in TILES:
        name = f"field_{count}"
        tiles = ", ".join(f"'{n}.tiff'" for n in range(count))
        snakefile = folder / f"{name}.smk"
        snakefile.write_text(RULE.format(name=name, tiles=tiles, script=script))
        costs = run_snakemake(folder, snakefile, "--cores", "1").scripts["calculate_ic"]
        rows.append([str(count), median_cpu(costs), highest_peak(costs)])
    print_table("Illumination field", ["tiles", "CPU s", "MB"], rows)
    print("target: equal memory")
