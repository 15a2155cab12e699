"""Writing the pixels: levels are computed, encoded and written row by row, by all threads.

A slab is what one chunk spans in the leading axes, usually one plane. Its levels
are computed when the first of its chunks is due. A thread encodes a row of chunks,
then writes it, so that what it needs for either stays in the processor's cache;
while it waits for the disk others encode.
"""

import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import google_crc32c
import numpy as np

from lib.shared.omezarr.metadata import ArrayLayout
from lib.shared.omezarr.pyramid import label_levels, mean_levels

Task = Callable[[], None]
Index = tuple[int, ...]


class PyramidWriter:
    """Writes an image (..., Y, X) as the arrays `layouts` (levels) of the group `folder`.

    Attributes
    ----------
    checksum : CRC-32C of level 0 in C order, little-endian.
    """

    def __init__(
        self, folder: Path, image: np.ndarray, layouts: Sequence[ArrayLayout], factor: int
    ) -> None:
        self._image = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
        self._layouts, self._factor = layouts, factor
        self._sinks = [_sink(folder, layout) for layout in layouts]
        self.checksum = 0

    def write(self, is_label: bool, threads: int) -> None:
        """Write all chunks. An error of any thread stops all of them and is raised."""
        run_tasks(self._tasks(is_label), threads)

    def _tasks(self, is_label: bool) -> Iterator[Task]:
        yield self._add_up
        for index in np.ndindex(self._layouts[0].grid[:-2]):
            slab = _Slab(self, index, is_label)
            yield slab.make_levels
            for level, layout in enumerate(self._layouts):
                for row in range(layout.grid[-2]):
                    yield partial(slab.write_row, level, row)

    def _add_up(self) -> None:
        self.checksum = checksum(self._image)


class _Slab:
    """The planes of one chunk index in the leading axes, with their levels."""

    def __init__(self, writer: PyramidWriter, index: Index, is_label: bool) -> None:
        self._writer, self._index, self._is_label = writer, index, is_label
        chunks = writer._layouts[0].chunks[:-2]
        self._at = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))
        self._lock = threading.Lock()
        self._image = writer._image[self._at]
        self._levels: list[np.ndarray] | None = None

    def make_levels(self) -> list[np.ndarray]:
        """All levels, made once: who comes first makes them, others wait."""
        with self._lock:
            if self._levels is None:
                below = label_levels if self._is_label else mean_levels
                factor, count = self._writer._factor, len(self._writer._layouts)
                self._levels = [self._image, *below(self._image, factor, count)]
        return self._levels

    def write_row(self, level: int, row: int) -> None:
        """Encode and write one row of chunks."""
        image = self._image if level == 0 else self.make_levels()[level]
        layout, sink = self._writer._layouts[level], self._writer._sinks[level]
        height, width = layout.chunks[-2:]
        rows = image[..., row * height : (row + 1) * height, :]
        lefts = range(0, image.shape[-1], width)
        chunks = (filled(rows[..., left : left + width], layout.chunks) for left in lefts)
        sink.put(self._index, row, list(map(sink.encode, chunks)))


def checksum(array: np.ndarray) -> int:
    """CRC-32C of the values of an array in C order, little-endian."""
    return google_crc32c.value(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))


def run_tasks(tasks: Iterator[Task], threads: int) -> None:
    """Run `tasks` in their order by the calling thread and `threads` - 1 others.

    Tasks are drawn one at a time, so that they may be made as they are needed.
    """
    lock, stop = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    task = next(tasks, None)
                if task is None:
                    return
                task()
        finally:
            stop.set()  # at the end, and for the others when this one failed

    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
    for other in others:
        other.result()


def write_file(path: str, *parts: bytes) -> None:
    """Write a new file from parts; raises OSError where they do not all fit."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def filled(chunk: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The chunk, contiguous, with zeros beyond the edges of the image: chunks are stored whole."""
    if chunk.shape == shape:
        return np.ascontiguousarray(chunk)
    whole = np.zeros(shape, chunk.dtype)
    whole[tuple(map(slice, chunk.shape))] = chunk
    return whole


def _sink(folder: Path, layout: ArrayLayout) -> "_Files | _Shards":
    return (_Shards if layout.sharded else _Files)(folder, layout)


class _Files:
    """A file per chunk."""

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self.encode = layout.codec.encoder()
        self._root = os.path.join(folder, layout.path, *(["c"] if layout.version == "0.5" else []))
        # All at once, which takes half as long as one by one between files.
        for index in np.ndindex(layout.grid[:-1]):
            os.makedirs(os.path.join(self._root, *map(str, index)), exist_ok=True)

    def put(self, index: Index, row: int, chunks: Sequence[bytes]) -> None:
        """Write one row of chunks, which has a folder of its own."""
        folder = "/".join([self._root, *map(str, (*index, row))])
        for column, data in enumerate(chunks):
            write_file(f"{folder}/{column}", data)


class _Shards:
    """A file per chunk of the leading axes: all its chunks, then where each lies.

    Zarr v3 `sharding_indexed` with the index, and its CRC-32C, at the end. Chunks
    stand in C order whatever thread finishes first, so that the same image gives
    the same bytes.
    """

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self.encode = layout.codec.encoder()
        self._root = os.path.join(folder, layout.path, "c")
        self._rows = layout.grid[-2]
        self._waiting: dict[Index, dict[int, Sequence[bytes]]] = defaultdict(dict)
        self._lock = threading.Lock()
        for index in np.ndindex(layout.grid[:-2]):
            os.makedirs(os.path.join(self._root, *map(str, (*index, 0))))

    def put(self, index: Index, row: int, chunks: Sequence[bytes]) -> None:
        """Keep one row of chunks; write the shard when this was the last to come."""
        with self._lock:
            rows = self._waiting[index]
            rows[row] = chunks
            if len(rows) < self._rows:
                return
            del self._waiting[index]
        whole = [chunk for _, row_chunks in sorted(rows.items()) for chunk in row_chunks]
        path = "/".join([self._root, *map(str, (*index, 0, 0))])
        write_file(path, *whole, shard_index(list(map(len, whole))))


def shard_index(lengths: Sequence[int]) -> bytes:
    """Offset and length of each chunk of a shard, and the CRC-32C of that."""
    offsets = [0, *itertools.accumulate(lengths)][:-1]
    index = np.array([offsets, lengths], "<u8").T.tobytes()
    return index + google_crc32c.value(index).to_bytes(4, "little")
