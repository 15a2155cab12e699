"""Adding what viewers need to stores that are there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.shared.omezarr.colors import distinct_colors, known_color, valid_color
from lib.shared.omezarr.metadata import numbered_labels, omero, write_json
from lib.shared.omezarr.read import StoredImage, StoreError, open_image, read_attributes
from lib.shared.omezarr.store import store_name
from lib.shared.omezarr.windows import channel_windows

WINDOW_KEYS = {"min", "max", "start", "end"}
MOST_PIXELS = 2**28  # that are read to find windows


def patch_channels(path: Path, labels: Sequence[str] | None) -> None:
    """Complete the `omero` block of the image at `path`."""
    image = open_image(path)
    attributes = read_attributes(path)
    ome = attributes.get("ome", attributes)
    version = ome.get("version", "0.4")
    found = ome.get("omero", {})
    count = image.levels[0].shape[image.axes.index("C")] if "C" in image.axes else 1
    channels = (found.get("channels") or [])[:count]
    channels += [{}] * (count - len(channels))
    if labels is None:
        own = numbered_labels(count)
        labels = [channel.get("label") or name for channel, name in zip(channels, own, strict=True)]
    elif len(labels) != count:
        raise StoreError(f"has {count} channels, and {len(labels)} labels are given")

    kept = [valid_color(channel.get("color")) for channel in channels]
    colors = distinct_colors(
        [color or known_color(label) for color, label in zip(kept, labels, strict=True)]
    )
    name = found.get("name") or store_name(path)
    block = omero(name, labels, colors, _windows(image, channels), version)
    # How a channel is told apart goes before what was there, all else behind.
    block["channels"] = [
        new | old | {key: new[key] for key in ("label", "color", "window")}
        for old, new in zip(channels, block["channels"], strict=True)
    ]
    ome["omero"] = found | block
    _replace_attributes(path, attributes)


def _windows(image: StoredImage, channels: Sequence[dict]) -> list[dict[str, Any]]:
    found = [channel.get("window", {}) for channel in channels]
    if all(set(window) >= WINDOW_KEYS for window in found):
        return found
    axes = [image.axes.index(axis) for axis in "TCYX" if axis in image.axes]
    if len(axes) != len(image.axes):
        raise StoreError(f"has axes {image.axes}, of which T, C, Y and X are understood")
    # The finest that is no burden to read; stores of others may hold whole slides.
    level = next((one for one in image.levels if one.size <= MOST_PIXELS), image.levels[-1])
    pixels = np.asarray(level[...]).transpose(axes)
    windows = channel_windows(pixels, is_label=False)
    return [
        old if set(old) >= WINDOW_KEYS else new for old, new in zip(found, windows, strict=True)
    ]


def _replace_attributes(path: Path, attributes: dict) -> None:
    v3 = path / "zarr.json"
    if v3.is_file():
        whole = json.loads(v3.read_text(encoding="utf-8"))
        write_json(v3, whole | {"attributes": attributes})
    else:
        write_json(path / ".zattrs", attributes)
