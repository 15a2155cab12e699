"""Seconds per family and peak memory of the features of a tile of 1000 cells and 4 channels.

OMP_NUM_THREADS=1 python tests/benchmarks/features.py
"""

import resource
import time

import cv2
import numpy as np
import psutil

from lib.phenotype.features import ALL_FAMILIES, measure

SIDE = 2400
GRID = 32  # cells on a grid of 32 x 32, shaken
CHANNELS = ("DAPI", "TUBULIN", "P65", "WGA")
TARGET_S, TARGET_MB = 6.0, 1500


def scene(side: int, grid: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Cells that partly touch, with nuclei inside, and noisy channels with structure."""
    random = np.random.default_rng(0)
    pitch = side / grid
    places = np.stack(np.meshgrid(*[np.arange(grid) + 0.5] * 2, indexing="ij"), -1).reshape(-1, 2)
    places = (places + random.uniform(-0.15, 0.15, places.shape)) * pitch
    cells, nuclei = np.zeros((2, side, side), np.int32)
    for number, (i, j) in enumerate(places[:1000], 1):
        centre = (round(j), round(i))
        angle = random.uniform(0, 180)
        axes = random.uniform(0.38, 0.52, 2) * pitch
        cv2.ellipse(cells, centre, [round(a) for a in axes], angle, 0, 360, number, -1)
        nucleus = [round(a * 0.5) for a in axes]
        cv2.ellipse(nuclei, centre, nucleus, angle, 0, 360, number, -1)
    nuclei[nuclei != cells] = 0
    structure = cv2.GaussianBlur(random.random((side, side, 4), np.float32), (0, 0), 2)
    image = np.moveaxis(structure, 2, 0) * 4000 + 3000 * (cells > 0) + 200
    image[0] += 6000 * (nuclei > 0)
    image = random.poisson(image).astype(np.uint16)
    cytoplasm = np.where(nuclei == 0, cells, 0).astype(np.int32)
    return image, {"nucleus": nuclei, "cell": cells, "cytoplasm": cytoplasm}


def main() -> None:
    """Print one line per family, then all of them together."""
    cv2.setNumThreads(1)
    image, labels = scene(SIDE, GRID)
    pixels = {name: int((labels[name] > 0).sum()) for name in labels}
    print(f"{SIDE} x {SIDE} px, foreground pixels {pixels}")
    before = psutil.Process().memory_info().rss / 2**20
    for family in (*((name,) for name in ALL_FAMILIES), ALL_FAMILIES):
        begin = time.process_time()
        columns = measure(image, labels, CHANNELS, family)
        seconds = time.process_time() - begin
        name = family[0] if len(family) == 1 else "all"
        print(f"{name:16s} {len(columns):5d} columns {seconds:6.2f} s CPU")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB, {before:.0f} MB before (imports, image, labels)")
    print(f"target: all in {TARGET_S} s and {TARGET_MB} MB")


if __name__ == "__main__":
    main()
