"""Raw images as microscopes write them, in the layouts that screens are delivered in.

Each writer takes one tile (and cycle) as uint16 (Z, C, Y, X) and yields the rows of
the sample table that name its files.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from lib.shared.files import atomic_path


@dataclass(frozen=True)
class RawImage:
    """One acquisition: `image` uint16 (Z, C, Y, X), `stage` (y, x, z) in micrometres."""

    image: np.ndarray
    channels: tuple[str, ...]
    pixel_um: float
    z_step_um: float
    stage: tuple[float, float, float]


Row = dict[str, str | int]
Writer = Callable[[Path, str, RawImage], Iterator[Row]]


def write_raw(folder: Path, name: str, raw: RawImage, layout: str) -> list[Row]:
    """Write one acquisition under `folder` in one of `LAYOUTS`; return its sample rows.

    A row holds `sample_fp` and, where one file is not the whole tile, `channel` and `z`.
    """
    return list(LAYOUTS[layout](folder, name, raw))


def _one_tiff(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    yield {"sample_fp": _ome_tiff(folder / f"{name}.tif", raw)}


def _one_ome_tiff(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    yield {"sample_fp": _ome_tiff(folder / f"{name}.ome.tif", raw)}


def _tiff_per_channel(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    for c, channel in enumerate(raw.channels):
        path = folder / f"{name}_{channel}.tif"
        yield {"sample_fp": _plain_tiff(path, raw.image[:, c], raw), "channel": channel}


def _tiff_per_plane(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    for c, channel in enumerate(raw.channels):
        for z in range(len(raw.image)):
            path = folder / f"{name}_{channel}_z{z}.tif"
            plane = _plain_tiff(path, raw.image[z : z + 1, c], raw)
            yield {"sample_fp": plane, "channel": channel, "z": z}


def _zarr_04(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    yield {"sample_fp": _ome_zarr(folder / f"{name}.ome.zarr", raw, "0.4")}


def _zarr_05(folder: Path, name: str, raw: RawImage) -> Iterator[Row]:
    yield {"sample_fp": _ome_zarr(folder / f"{name}.ome.zarr", raw, "0.5")}


LAYOUTS: dict[str, Writer] = {
    "tiff": _one_tiff,
    "tiff-per-channel": _tiff_per_channel,
    "tiff-per-plane": _tiff_per_plane,
    "ome-tiff": _one_ome_tiff,
    "ome-zarr-0.4": _zarr_04,
    "ome-zarr-0.5": _zarr_05,
}


def _plain_tiff(path: Path, stack: np.ndarray, raw: RawImage) -> str:
    """A TIFF of one or more pages that knows its pixel size and nothing else."""
    with atomic_path(path) as part:
        tifffile.imwrite(
            part,
            stack[0] if len(stack) == 1 else stack,
            photometric="minisblack",
            resolution=(1e4 / raw.pixel_um, 1e4 / raw.pixel_um),
            resolutionunit="CENTIMETER",
            metadata=None,
            software="poolscope simulation",
        )
    return os.fspath(path)


def _ome_tiff(path: Path, raw: RawImage) -> str:
    """An OME-TIFF with pixel size, channel names and the stage position of each plane."""
    y, x, z = raw.stage
    depth, channels = raw.image.shape[:2]
    stack, axes = (raw.image[0], "CYX") if depth == 1 else (raw.image, "ZCYX")
    planes = depth * channels
    height = z + raw.z_step_um * (np.arange(depth) - (depth - 1) // 2)
    metadata = {
        "axes": axes,
        "Name": path.name,
        "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, path.name)}",
        "PhysicalSizeX": raw.pixel_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": raw.pixel_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": list(raw.channels)},
        "Plane": {
            "PositionX": [x] * planes,
            "PositionXUnit": ["µm"] * planes,
            "PositionY": [y] * planes,
            "PositionYUnit": ["µm"] * planes,
            "PositionZ": np.repeat(height, channels).round(3).tolist(),
            "PositionZUnit": ["µm"] * planes,
        },
    }
    if depth > 1:
        metadata |= {"PhysicalSizeZ": raw.z_step_um, "PhysicalSizeZUnit": "µm"}
    with atomic_path(path) as part:
        tifffile.imwrite(
            part,
            stack,
            ome=True,
            photometric="minisblack",
            resolution=(1e4 / raw.pixel_um, 1e4 / raw.pixel_um),
            resolutionunit="CENTIMETER",
            metadata=metadata,
        )
    return os.fspath(path)


def _ome_zarr(path: Path, raw: RawImage, version: str) -> str:
    """An OME-Zarr image of one level; its translation is the corner that the stage implies."""
    import zarr

    # NGFF wants channels before space.
    depth = len(raw.image)
    stack = raw.image[0] if depth == 1 else raw.image.swapaxes(0, 1)
    axes = "cyx" if depth == 1 else "czyx"
    zarr_format = 2 if version == "0.4" else 3
    with atomic_path(path) as part:
        group = zarr.open_group(part, mode="w", zarr_format=zarr_format)
        chunks = (1,) * (stack.ndim - 2) + tuple(min(512, n) for n in stack.shape[-2:])
        options: dict = {"dimension_names": list(axes)} if zarr_format == 3 else {}
        array = group.create_array(
            "0", shape=stack.shape, dtype=stack.dtype, chunks=chunks, **options
        )
        array[:] = stack
        attributes = _zarr_attributes(path.name, axes, stack.shape, raw)
        if version == "0.4":
            attributes["multiscales"][0]["version"] = version
            group.attrs.update(attributes)
        else:
            group.attrs.update({"ome": {"version": version, **attributes}})
        _sort_json(part)
    return os.fspath(path)


def _zarr_attributes(name: str, axes: str, shape: tuple[int, ...], raw: RawImage) -> dict:
    y, x, z = raw.stage
    size = {"z": raw.z_step_um, "c": 1.0, "y": raw.pixel_um, "x": raw.pixel_um}
    extent = dict(zip(axes, shape, strict=True))
    # The stage tells the middle of the image; NGFF's translation is that of the first pixel.
    corner = {
        "z": z - raw.z_step_um * ((extent.get("z", 1) - 1) // 2),
        "c": 0.0,
        "y": y - raw.pixel_um * (extent["y"] - 1) / 2,
        "x": x - raw.pixel_um * (extent["x"] - 1) / 2,
    }
    scale = {"type": "scale", "scale": [size[axis] for axis in axes]}
    translation = {"type": "translation", "translation": [round(corner[a], 4) for a in axes]}
    datasets = [{"path": "0", "coordinateTransformations": [scale, translation]}]
    units = [
        {"name": "c", "type": "channel"}
        if axis == "c"
        else {"name": axis, "type": "space", "unit": "micrometer"}
        for axis in axes
    ]
    colours = ("0000FF", "00FF00", "FF0000", "FF00FF", "FFFF00", "00FFFF")
    windows = [
        {"start": 0, "end": int(np.percentile(raw.image[:, c], 99.9)), "min": 0, "max": 65535}
        for c in range(len(raw.channels))
    ]
    channels = [
        {"label": label, "color": colours[c % len(colours)], "window": windows[c], "active": True}
        for c, label in enumerate(raw.channels)
    ]
    return {
        "multiscales": [{"name": name, "axes": units, "datasets": datasets}],
        "omero": {"channels": channels},
    }


def _sort_json(folder: Path) -> None:
    """Order the keys of all metadata, since zarr's own order is not promised."""
    for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata"):
        for path in sorted(folder.rglob(name)):
            path.write_text(json.dumps(json.loads(path.read_text()), indent=2, sort_keys=True))
