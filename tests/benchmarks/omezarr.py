"""Writing OME-Zarr: against the least that it can cost, and against other writers.

`python tests/benchmarks/omezarr.py [--only TOPIC]`. L is that least: to compute the
levels and encode them with the same codec on one thread, then to write the same
files. All writers take turns, each time in a process of its own that first reads the
tile's TIFF, as a job does: in a process that has written stores before, memory costs
less than it costs a job. Only ratios to L mean anything where others use the machine
too, and ratios of CPU time mean most.

Nothing is deleted before the end: for minutes ext4 does not reuse the inodes of what
was deleted, and looks at each of them anew for every file that is made (0.5 ms in place
of 0.02), which L would pay as well and which says nothing of any writer.
"""

import argparse
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import zarr
from measure import print_table, python_environment

from lib.shared.image_io import read_image, write_image
from lib.shared.omezarr.chunks import filled, write_file
from lib.shared.omezarr.images import image_of_array
from lib.shared.omezarr.pyramid import mean_levels
from lib.shared.omezarr.store import StoreOptions, level_layouts
from lib.shared.omezarr_utils import WellField, export_well_to_omezarr, write_multiscale_omezarr

SHAPE = (5, 2400, 2400)
CHUNKS = (1, 512, 512)
PIXEL = (0.65, 0.65)
ROUNDS = 5
LEVELS = 4
CORNER = 600  # px
Writer = Callable[[Path], None]

EXPORT = """
import logging, resource, sys
logging.disable(logging.WARNING)
from lib.shared.omezarr_utils import export_tiff_to_omezarr
export_tiff_to_omezarr(sys.argv[1], sys.argv[2], threads=int(sys.argv[3]), version=sys.argv[4])
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, int(peak) / 1024)
"""


def tile() -> np.ndarray:
    """An image like a tile's: smooth blobs with the noise of photons."""
    random = np.random.default_rng(0)
    planes = []
    for _ in range(SHAPE[0]):
        blobs = random.gamma(2, 300, (150, 150)).astype(np.float32)
        smooth = cv2.resize(blobs, SHAPE[:0:-1], interpolation=cv2.INTER_CUBIC)
        planes.append(100 + random.poisson(smooth.clip(50)).astype(np.uint16))
    return np.stack(planes)


def least(image: np.ndarray, folder: Path) -> None:
    """L: levels and chunks on one thread, then plain files."""
    layouts = level_layouts(image_of_array(image), StoreOptions())
    encoded = {}
    levels = [image, *mean_levels(image, 2, len(layouts))]
    for layout, level in zip(layouts, levels, strict=True):
        encode, (_, height, width) = layout.codec.encoder(), layout.chunks
        for c, y, x in np.ndindex(layout.grid):
            rows = slice(y * height, (y + 1) * height)
            chunk = level[c : c + 1, rows, x * width : (x + 1) * width]
            encoded[f"{layout.path}/{c}/{y}/{x}"] = encode(filled(chunk, layout.chunks))
    for parent in dict.fromkeys(map(os.path.dirname, encoded)):
        os.makedirs(os.path.join(folder, parent))
    for name, data in encoded.items():
        write_file(os.path.join(folder, name), data)


def ours(image: np.ndarray, folder: Path, **options: object) -> None:
    write_multiscale_omezarr(image, folder, PIXEL, CHUNKS, **options)


def zarr_python(image: np.ndarray, folder: Path, zarr_format: int) -> None:
    """The arrays alone, with levels made as here."""
    codec = _codec(zarr_format)
    for number, level in enumerate([image, *mean_levels(image, 2, LEVELS)]):
        array = zarr.create_array(
            folder / str(number),
            shape=level.shape,
            chunks=tuple(map(min, CHUNKS, level.shape)),
            dtype=level.dtype,
            compressors=codec,
            zarr_format=zarr_format,
            config={"write_empty_chunks": True},
        )
        array[...] = level


def ome_zarr_py(image: np.ndarray, folder: Path, zarr_format: int, method: str | None) -> None:
    from ome_zarr import format as formats
    from ome_zarr.writer import write_image as write

    version = formats.FormatV04() if zarr_format == 2 else formats.FormatV05()
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    codec = {"compressor": _codec(2)} if zarr_format == 2 else {"compressors": [_codec(3)]}
    keys = {"method": method} if method else {}
    options = {"chunks": CHUNKS, **codec}
    scales = [2, 4, 8]
    write(image, group, axes="cyx", fmt=version, scale_factors=scales, storage_options=options,
          **keys)  # fmt: skip


def ngff_zarr(image: np.ndarray, folder: Path, version: str, mean: bool) -> None:
    import ngff_zarr as nz

    y, x = PIXEL
    whole = nz.to_ngff_image(image, dims=["c", "y", "x"], scale={"c": 1.0, "y": y, "x": x})
    method = {"method": nz.Methods.DASK_BIN_SHRINK} if mean else {}
    factors = [{"y": 2**n, "x": 2**n} for n in range(1, LEVELS)]
    chunks = dict(zip("cyx", CHUNKS, strict=True))
    levels = nz.to_multiscales(whole, scale_factors=factors, chunks=chunks, **method)
    codec = {"compressor": _codec(2)} if version == "0.4" else {"compressors": _codec(3)}
    nz.to_ngff_zarr(str(folder), levels, version=version, **codec)


def tiff(image: np.ndarray, folder: Path) -> None:
    write_image(folder / "image.tiff", image, "CYX", PIXEL)


def _codec(zarr_format: int) -> object:
    if zarr_format == 2:
        from numcodecs import Blosc

        return Blosc("zstd", 1, Blosc.SHUFFLE)
    return zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2)


def writers(image: np.ndarray) -> dict[str, Writer]:
    """All writers that are installed, by what the table calls them."""
    both = {f"{n} thread{'s'[: n - 1]}": n for n in (1, 2)}
    found: dict[str, Writer] = {"L": partial(least, image)}
    for words, threads in both.items():
        found[f"0.4, {words}"] = partial(ours, image, threads=threads)
    for words, threads in both.items():
        found[f"0.5 sharded, {words}"] = partial(ours, image, version="0.5", threads=threads)
    found["0.5, 2 threads"] = partial(ours, image, version="0.5", sharded=False, threads=2)
    found["TIFF checkpoint"] = partial(tiff, image)
    found["zarr-python v2, arrays alone"] = partial(zarr_python, image, zarr_format=2)
    found["zarr-python v3, arrays alone"] = partial(zarr_python, image, zarr_format=3)
    if find_spec("ome_zarr"):
        found["ome-zarr 0.4, mean"] = partial(
            ome_zarr_py, image, zarr_format=2, method="local_mean"
        )
        found["ome-zarr 0.5, mean"] = partial(
            ome_zarr_py, image, zarr_format=3, method="local_mean"
        )
        found["ome-zarr 0.5, default"] = partial(ome_zarr_py, image, zarr_format=3, method=None)
    if find_spec("ngff_zarr"):
        found["ngff-zarr 0.4, mean"] = partial(ngff_zarr, image, version="0.4", mean=True)
        found["ngff-zarr 0.5, mean"] = partial(ngff_zarr, image, version="0.5", mean=True)
        found["ngff-zarr 0.5, default"] = partial(ngff_zarr, image, version="0.5", mean=False)
    return found


def one_store(scratch: Path) -> None:
    """Each writer in turn, a round unmeasured, then `ROUNDS`."""
    image, path, folder = tile(), scratch / "tile.tiff", scratch / "store.ome.zarr"
    write_image(path, image, "CYX", PIXEL)
    wall, cpu, sizes = defaultdict(list), defaultdict(list), {}
    for number in range(ROUNDS + 1):
        for name in writers(image):
            command = [sys.executable, __file__, "--write", name, str(path), str(folder)]
            output = _output(command)
            if number:
                for seconds, value in zip((wall, cpu), output.split(), strict=True):
                    seconds[name].append(float(value))
            sizes[name] = _files_and_bytes(folder)
            put_aside(folder)
    base = median(wall["L"]), median(cpu["L"])
    rows = []
    for name in sizes:
        ms = median(wall[name]), median(cpu[name])
        files, size = sizes[name]
        ratios = [part / whole for part, whole in zip(ms, base, strict=True)]
        rows.append([name, round(1e3 * ms[0]), *ratios, files, f"{size / 1e6:.1f}"])
    header = ["writer", "ms", "in L", "CPU in L", "files", "MB"]
    print_table(f"One tile of {SHAPE} uint16, {LEVELS} levels", header, rows)
    print("target: at most 1.0 L with one thread and 0.6 L with two")
    empty = _ms_of_a_file(scratch)
    print(f"making an empty file takes {empty:.2f} ms: much above 0.02, wait some minutes")


def write_once(name: str, path: str, folder: str) -> None:
    """Write the store of a TIFF; print the seconds that took, and those of a core.

    What a writer imports, it imports for the corner of the tile that it writes before.
    """
    image = read_image(path)
    corner = tempfile.mkdtemp(prefix="corner", dir=Path(folder).parent)
    writers(image[:, :CORNER, :CORNER].copy())[name](Path(corner, "store.ome.zarr"))
    write = writers(image)[name]
    start = time.perf_counter(), time.process_time()
    write(Path(folder))
    print(time.perf_counter() - start[0], time.process_time() - start[1])


def two_processes(scratch: Path) -> None:
    """The same stores by one process and by two, one thread each."""
    image, stores = tile(), 6
    context = multiprocessing.get_context("fork")
    names = {"L": partial(least, image), "0.4": partial(ours, image),
             "0.5 sharded": partial(ours, image, version="0.5")}  # fmt: skip
    seconds = defaultdict(list)
    for number in range(ROUNDS + 1):
        for name, write in names.items():
            for processes in (1, 2):
                start = time.perf_counter()
                share = [range(first, stores, processes) for first in range(processes)]
                running = [
                    context.Process(target=_write_many, args=(write, scratch, part))
                    for part in share
                ]
                for process in running:
                    process.start()
                for process in running:
                    process.join()
                if number:
                    seconds[name, processes].append((time.perf_counter() - start) / stores)
                for folder in scratch.glob("many*"):
                    put_aside(folder)
    rows = [
        [name, *(1e3 * median(seconds[name, n]) for n in (1, 2)),
         median(seconds[name, 1]) / median(seconds[name, 2])]
        for name in names
    ]  # fmt: skip
    print_table("Two processes", ["writer", "ms a store", "with two", "faster by"], rows)
    print("target: 1.9 times")


def _write_many(write: Writer, scratch: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        write(scratch / f"many{number}.ome.zarr")


def fresh_process(scratch: Path) -> None:
    """A process that exports one TIFF: its imports, and its memory."""
    path, folder = scratch / "tile.tiff", scratch / "tile.ome.zarr"
    image = tile()
    write_image(path, image, "CYX", PIXEL)
    mb, rows = image.nbytes / 2**20, []
    results = defaultdict(list)
    for number in range(ROUNDS + 1):
        for options in (("1", "0.4"), ("2", "0.4"), ("2", "0.5")):
            start = time.perf_counter()
            command = [sys.executable, "-c", EXPORT, str(path), str(folder), *options]
            output = _output(command)
            if number:
                results[options].append((time.perf_counter() - start, *map(float, output.split())))
            put_aside(folder)
    for (threads, version), runs in results.items():
        wall, cpu, peak = (median(values) for values in zip(*runs, strict=True))
        rows.append([f"{version}, threads: {threads}", wall, cpu, round(peak), peak / mb])
    header = ["export of one TIFF", "s", "CPU s", "peak MB", "in inputs"]
    print_table("A fresh process", header, rows)
    print("target: 0.6 s, 2.5 inputs")


def many_small(scratch: Path) -> None:
    """Small stores, few and many: time goes with their number."""
    image = tile()[:2, :256, :256]
    rows = []
    for count in (125, 250, 500, 1000):
        start = time.perf_counter(), time.process_time()
        for number in range(count):
            ours(image, scratch / "small" / f"{number}.ome.zarr", threads=1)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        rows.append([count, 1e3 * wall / count, 1e3 * cpu / count])
        put_aside(scratch / "small")
    print_table("Small stores (2 x 256 x 256)", ["stores", "ms each", "CPU ms each"], rows)


def file_counts(scratch: Path) -> None:
    """Files and folders of a tile with two label images, and of a well of a plate."""
    image = tile()
    masks = (np.arange(2400)[:, None] // 40 * 60 + np.arange(2400) // 40).astype(np.int32)
    write_image(scratch / "t.tiff", image, "CYX", PIXEL)
    write_image(scratch / "m.tiff", masks, "YX", PIXEL)
    labels = {name: {"tiff_path": scratch / "m.tiff"} for name in ("nuclei", "cells")}
    rows = []
    for name, options in {
        "0.4": {},
        "0.5 unsharded": {"version": "0.5", "sharded": False},
        "0.5 sharded": {"version": "0.5"},
    }.items():
        counts = []
        for fields in (1, 2):
            listed = [WellField(str(n), scratch / "t.tiff", labels) for n in range(fields)]
            export_well_to_omezarr(listed, scratch / "p.ome.zarr", "A1", threads=2, **options)
            counts.append(_files_and_bytes(scratch / "p.ome.zarr/A/1"))
            if fields == 1:
                one = _files_and_bytes(scratch / "p.ome.zarr/A/1/0")
            shutil.rmtree(scratch / "p.ome.zarr")
        tile_files = counts[1][0] - counts[0][0]
        well = counts[0][0] - tile_files
        plate = 6 * (well + 1300 * tile_files) + 3
        rows.append([name, tile_files, f"{one[1] / 1e6:.1f}", well, f"{plate:,}"])
    header = ["version", "files a tile", "MB", "and a well", "plate of 6 wells of 1300 tiles"]
    print_table("Files: 5 channels of 2400 x 2400 with nuclei and cells", header, rows)


def _output(command: Sequence[str]) -> str:
    """What a program of Python prints."""
    environment = python_environment()
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def put_aside(folder: Path) -> None:
    """Take a store out of the way: its files are emptied, and none is deleted."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    folder.rename(tempfile.mkdtemp(prefix="aside", dir=folder.parent))


def _ms_of_a_file(scratch: Path, count: int = 100) -> float:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    start = time.perf_counter()
    for number in range(count):
        write_file(str(folder / str(number)))
    return 1e3 * (time.perf_counter() - start) / count


def _files_and_bytes(folder: Path) -> tuple[int, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


TOPICS = (one_store, two_processes, fresh_process, many_small, file_counts)


def measure(scratch: Path, only: str | None = None) -> None:
    """Print all tables, or one."""
    for topic in TOPICS:
        if only in (None, topic.__name__):
            topic(scratch)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the topic named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=[topic.__name__ for topic in TOPICS])
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if options.write:
        write_once(*options.write)
        return 0
    with tempfile.TemporaryDirectory(prefix="benchmark") as scratch:
        measure(Path(scratch), options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
