"""Reading OME-Zarr 0.4 and 0.5 of anybody, with an eye on what is missing.

Every Zarr reader takes a missing chunk for zeros; here it is looked for.
"""

import itertools
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.shared.errors import InputError
from lib.shared.omezarr.axes import from_stored
from lib.shared.omezarr.metadata import PROVENANCE, numbered_labels

if TYPE_CHECKING:
    import zarr

METADATA_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
# Version, codec version, flags, type size, then bytes before, of a block, and after compression.
BLOSC_HEADER = struct.Struct("<4B3I")


class StoreError(ValueError):
    """What is wrong with a store, as the end of a sentence that begins with its name."""


@contextmanager
def store_error(words: str) -> Iterator[None]:
    """Turn whatever zarr and its codecs raise at damaged stores into a `StoreError`."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{words} ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class StoredImage:
    """What a store says of its image (level 0), and the arrays of its levels.

    Attributes
    ----------
    axes : capital letters, one per dimension.
    pixel_size : (y, x) in micrometres; None where no unit is stated.
    channel_labels : one per channel; None where the store names none.
    provenance : what Poolscope notes of its own stores; empty for others.
    """

    levels: "list[zarr.Array]"
    axes: str
    pixel_size: tuple[float, float] | None
    channel_labels: tuple[str, ...] | None
    provenance: Mapping

    @property
    def source_axes(self) -> str:
        """Axes of the image that was exported."""
        return self.provenance.get("axes", self.axes)


def is_store(path: Path) -> bool:
    """Whether `path` is a folder with metadata of Zarr."""
    return any((path / name).is_file() for name in METADATA_FILES)


def open_image(path: Path) -> StoredImage:
    """Open the image at `path`. Raises StoreError, or what zarr raises at damaged metadata."""
    import zarr

    if not is_store(path):
        raise StoreError("is a folder without Zarr metadata")
    group = zarr.open(path, mode="r")
    attributes = ome_attributes(group)
    if not isinstance(group, zarr.Group) or "multiscales" not in attributes:
        raise StoreError("holds no OME-Zarr image")
    multiscale = attributes["multiscales"][0]
    axes = multiscale["axes"]
    names = "".join(axis["name"] for axis in axes).upper()
    channels = attributes.get("omero", {}).get("channels") or []
    labels = tuple(channel.get("label") for channel in channels)
    scale, _ = transform(list(names), [multiscale["datasets"][0], multiscale])
    in_micrometres = all(axis.get("unit") == "micrometer" for axis in axes if axis["name"] in "yx")
    return StoredImage(
        [group[dataset["path"]] for dataset in multiscale["datasets"]],
        names,
        (scale["Y"], scale["X"]) if in_micrometres and scale else None,
        labels if labels and all(labels) else None,
        group.attrs.asdict().get(PROVENANCE, {}),
    )


def read_attributes(path: Path) -> dict:
    """Attributes of the group at `path`, without zarr-python."""
    v3 = path / "zarr.json"
    if v3.is_file():
        return json.loads(v3.read_text(encoding="utf-8")).get("attributes", {})
    return json.loads((path / ".zattrs").read_text(encoding="utf-8"))


def ome_attributes(group: "zarr.Group | zarr.Array") -> Mapping:
    """Attributes of a group: under "ome" in 0.5, on top in 0.4."""
    attributes = group.attrs.asdict()
    return attributes.get("ome", attributes)


def transform(
    names: Sequence[str], levels: Sequence[Mapping]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Scale and translation from pixels to space; None where no level states one."""
    scale, translation = np.ones(len(names)), np.zeros(len(names))
    stated = set()
    for level in levels:
        for step in level.get("coordinateTransformations", ()):
            kind = step["type"]
            if kind == "scale":
                scale *= step["scale"]
                translation *= step["scale"]
            elif kind == "translation":
                translation += step["translation"]
            stated.add(kind)
    return (
        dict(zip(names, scale.tolist(), strict=True)) if "scale" in stated else None,
        dict(zip(names, translation.tolist(), strict=True)) if "translation" in stated else None,
    )


def stored_shape(array: "zarr.Array") -> tuple[int, ...]:
    """Shape of what one file of an array holds."""
    return array.shards or array.chunks


def array_folder(array: "zarr.Array") -> Path:
    """Where the files of an array lie."""
    return Path(array.store.root) / array.path


def chunk_files(
    array: "zarr.Array", axes: Sequence[str], at: Sequence[range]
) -> Iterator[list[Path]]:
    """Files, there or not, that hold a block of `array`: those of each plane (Y, X) together.

    `axes` and `at` are a capital letter and a range for each dimension.
    """
    parts = [
        range(r.start // n, (r.stop - 1) // n + 1)
        for r, n in zip(at, stored_shape(array), strict=True)
    ]
    in_plane = [axis in "YX" for axis in axes]
    leading = [(0,) if inside else part for part, inside in zip(parts, in_plane, strict=True)]
    folder = array_folder(array)
    for first in itertools.product(*leading):
        every = zip(parts, in_plane, first, strict=True)
        chunks = itertools.product(*(part if inside else (at,) for part, inside, at in every))
        yield [folder / array.metadata.encode_chunk_key(chunk) for chunk in chunks]


def is_blosc(array: "zarr.Array") -> bool:
    """Whether each file of `array` is one chunk encoded by Blosc."""
    codecs = array.compressors
    names = [type(codec).__name__ for codec in codecs]
    return array.shards is None and names in (["Blosc"], ["BloscCodec"])


def check_blosc(path: Path, size: int | None = None) -> None:
    """Refuse a chunk whose length is not what its header says.

    numcodecs would read beyond the end of a shorter one. `size` is how many bytes it
    must decode to.
    """
    with open(path, "rb") as file:
        header = file.read(BLOSC_HEADER.size)
    if len(header) == BLOSC_HEADER.size:
        *_, before, _, after = BLOSC_HEADER.unpack(header)
        if after <= path.stat().st_size and size in (None, before):
            return
    raise StoreError(f"has a truncated chunk ({path})")


def read_level(image: StoredImage, level: int = 0) -> np.ndarray:
    """Read a whole level. Raises StoreError for chunks that are missing or cut short."""
    array = image.levels[level]
    blosc, missing = is_blosc(array), []
    for files in chunk_files(array, image.axes, [range(n) for n in array.shape]):
        for path in files:
            if not path.is_file():
                missing.append(path)
            elif blosc:
                check_blosc(path)
    if missing:
        raise StoreError(f"lacks {len(missing)} of its chunks, such as {missing[0]}")
    return array[...]


def read_store(path: str | os.PathLike, level: int = 0) -> np.ndarray:
    """Read a level of the store `path` in the axes of the image it mirrors.

    Raises `InputError` naming the store when it is missing, lacks chunks or is damaged.
    """
    with naming_store(path):
        image = open_image(Path(path))
        return from_stored(read_level(image, level), image.axes, image.source_axes)


def read_store_info(
    path: str | os.PathLike,
) -> tuple[str, tuple[int, ...], np.dtype, tuple[float, float] | None, tuple[str, ...] | None]:
    """Axes, shape and type of the image that a store mirrors, pixel size and channel labels.

    Raises `InputError` naming the store.
    """
    with naming_store(path):
        image = open_image(Path(path))
        array = image.levels[0]
        sizes = dict(zip(image.axes, array.shape, strict=True))
        axes = image.source_axes
        labels = image.channel_labels if "C" in axes else None
        if labels == tuple(numbered_labels(len(labels or ()))):
            labels = None  # nobody named them
        shape = tuple(sizes[axis] for axis in axes)
        return axes, shape, array.dtype, image.pixel_size, labels


@contextmanager
def naming_store(path: str | os.PathLike) -> Iterator[None]:
    """Turn what goes wrong with a store into an `InputError` that names it."""
    if not Path(path).exists():
        raise InputError(f"The image {path} does not exist.")
    try:
        with store_error("is no whole OME-Zarr"):
            yield
    except StoreError as error:
        raise InputError(f"The image {path} {error}: delete it and run again.") from error
