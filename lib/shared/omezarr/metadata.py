"""The JSON of OME-Zarr: arrays and groups of Zarr v2 and v3, attributes of NGFF 0.4 and 0.5.

Specification: Moore et al. (2021), https://ngff.openmicroscopy.org/0.4 and /0.5.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lib.shared.omezarr.codecs import Codec

Version = Literal["0.4", "0.5"]
VERSIONS: tuple[Version, ...] = ("0.4", "0.5")
PROVENANCE = "poolscope"  # key of what is no matter of NGFF
OVERVIEW_NAME = "overview"  # of the stitched image of a well
AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class ArrayLayout:
    """One level of an image as an array of the store.

    Attributes
    ----------
    path : of the array in its group.
    axes : a letter per dimension, such as "CYX".
    chunks : shape of a chunk, no larger than `shape`.
    sharded : whether all chunks of one plane (or group of planes) share a file.
    """

    path: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    codec: Codec
    version: Version
    sharded: bool = False

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def shard(self) -> tuple[int, ...]:
        """Shape of a shard: a chunk in the leading axes, whole planes in Y and X."""
        whole = (g * c for g, c in zip(self.grid[-2:], self.chunks[-2:], strict=True))
        return (*self.chunks[:-2], *whole)

    def json(self) -> tuple[str, dict]:
        """Name and content of the file that describes the array."""
        return (".zarray", self._v2()) if self.version == "0.4" else ("zarr.json", self._v3())

    def _v2(self) -> dict:
        return {
            "zarr_format": 2,
            "shape": self.shape,
            "chunks": self.chunks,
            "dtype": self.dtype.newbyteorder("<").str,
            "compressor": self.codec.v2(),
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        }

    def _v3(self) -> dict:
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        codecs: list[dict] = [little, self.codec.v3()]
        if self.sharded:
            sharding = {
                "chunk_shape": self.chunks,
                "codecs": codecs,
                "index_codecs": [little, {"name": "crc32c"}],
                "index_location": "end",
            }
            codecs = [{"name": "sharding_indexed", "configuration": sharding}]
        grid = {"chunk_shape": self.shard if self.sharded else self.chunks}
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": grid},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": codecs,
            "dimension_names": list(self.axes.lower()),
            "attributes": {},
        }


def write_array_json(group: Path, layout: ArrayLayout) -> None:
    """Describe an array in its folder, which is there and which nobody reads yet."""
    name, content = layout.json()
    (group / layout.path / name).write_text(json.dumps(content), encoding="utf-8")


def write_group(
    folder: Path,
    version: Version,
    ome: Mapping[str, Any] | None = None,
    others: Mapping[str, Any] | None = None,
) -> None:
    """Make `folder` a Zarr group with attributes of NGFF and others beside them.

    Files of another version go first: readers would not know which of both to believe.
    """
    for name in ("zarr.json",) if version == "0.4" else (".zgroup", ".zattrs"):
        (folder / name).unlink(missing_ok=True)
    if version == "0.4":
        write_json(folder / ".zgroup", {"zarr_format": 2})
        if ome or others:
            write_json(folder / ".zattrs", {**(ome or {}), **(others or {})})
        return
    attributes = {"ome": {"version": version, **ome}} if ome else {}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes | dict(others or {})}
    write_json(folder / "zarr.json", group)


def write_json(path: Path, content: Mapping) -> None:
    """Write JSON in one step: who reads it sees it as it was, or as it is."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content), encoding="utf-8")
    os.replace(part, path)


def versioned(version: Version, content: Mapping[str, Any]) -> dict[str, Any]:
    """An object of NGFF; 0.4 states the version in each, 0.5 once."""
    return {"version": version, **content} if version == "0.4" else dict(content)


def multiscales(
    name: str,
    axes: str,
    paths: Sequence[str],
    factor: int,
    pixel_size: tuple[float, float] | None,
    origin: tuple[float, float],
    is_label: bool,
    version: Version,
) -> list[dict]:
    """The `multiscales` of an image.

    Parameters
    ----------
    pixel_size : (y, x) in micrometres; None where unknown: lengths are pixels then.
    origin : (y, x) of the middle of the first pixel, in the same unit.
    is_label : whether levels take every `factor`-th pixel, which stays where it is,
        while the middle of a mean lies in the middle of its block.
    """
    size = np.array(pixel_size or (1.0, 1.0), float)
    leading = len(axes) - 2
    datasets = []
    for level, path in enumerate(paths):
        step = float(factor**level)
        shift = 0.0 if is_label else (step - 1) / 2
        scale = [1.0] * leading + np.round(size * step, 9).tolist()
        # Picometres are enough, and 0.1 + 0.2 stays 0.3.
        translation = [0.0] * leading + np.round(np.array(origin) + size * shift, 6).tolist()
        transforms = [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": translation},
        ]
        datasets.append({"path": path, "coordinateTransformations": transforms})
    function = "label_levels" if is_label else "mean_levels"
    what = "every n-th pixel" if is_label else "mean of all pixels of level 0, rounded half up"
    entry = {
        "name": name,
        "axes": [_axis(letter, pixel_size is not None) for letter in axes.lower()],
        "datasets": datasets,
        "type": "nearest" if is_label else "mean",
        "metadata": {
            "method": f"lib.shared.omezarr.pyramid.{function}",
            "description": what,
            "kwargs": {"factor": factor},
        },
    }
    return [versioned(version, entry)]


def _axis(letter: str, in_micrometres: bool) -> dict[str, str]:
    axis = {"name": letter, "type": AXIS_TYPES[letter]}
    if AXIS_TYPES[letter] == "space" and in_micrometres:
        axis["unit"] = "micrometer"
    return axis


def omero(
    name: str,
    labels: Sequence[str],
    colors: Sequence[str],
    windows: Sequence[Mapping[str, float]],
    version: Version,
) -> dict:
    """The `omero` block: how viewers show each channel at first."""
    channels = [
        {
            "label": label,
            "color": color,
            "window": dict(window),
            "active": True,
            "coefficient": 1.0,
            "family": "linear",
            "inverted": False,
        }
        for label, color, window in zip(labels, colors, windows, strict=True)
    ]
    rdefs = {"model": "color", "defaultT": 0, "defaultZ": 0}
    return versioned(version, {"name": name, "channels": channels, "rdefs": rdefs})


def numbered_labels(count: int) -> list[str]:
    """Labels of channels that nobody named."""
    return [f"channel {number}" for number in range(count)]


def image_label(version: Version, others: Mapping[str, Any] | None = None) -> dict:
    """The `image-label` of a label image that lies in the `labels` of its image."""
    return versioned(version, {**(others or {}), "source": {"image": "../../"}})
