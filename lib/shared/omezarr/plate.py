"""A plate of wells of fields: NGFF's HCS layout, with a stitched overview of each well.

Wells are written by jobs of their own, each whole or not at all; the plate's own
metadata come last, when all wells are there. Viewers show the first image of each
well, so the overview is that; it is an acquisition of its own, apart from the fields.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.shared.errors import InputError
from lib.shared.files import atomic_path
from lib.shared.omezarr.metadata import OVERVIEW_NAME, Version, versioned, write_group
from lib.shared.omezarr.pyramid import label_levels, mean_levels
from lib.shared.omezarr.store import (
    StoreImage,
    StoreOptions,
    check_image,
    store_name,
    told_in_words,
    write_image_group,
)
from lib.shared.sheets import natural_key

FIELDS, OVERVIEW = 0, 1  # acquisitions


class Mosaic:
    """An image of a well at low resolution, put together field by field.

    Fields have one shape. Where some overlap the later one is seen. The canvas is a
    square of `side` px whatever the number of fields, since viewers take all wells of
    a plate to be alike; what no field covers is 0.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_size: tuple[float, float],
        middles: Sequence[tuple[float, float]],
        factor: int,
        side: int,
        is_label: bool,
    ) -> None:
        self._shape, self._factor, self._side = shape, factor, side
        self._first = tuple(map(min, zip(*middles, strict=True)))
        last = tuple(map(max, zip(*middles, strict=True)))
        spans = [
            (end - start) / size + n
            for start, end, size, n in zip(self._first, last, pixel_size, shape, strict=True)
        ]
        self._levels = 0
        while max(spans) > side * factor**self._levels:
            self._levels += 1
        width = factor**self._levels
        self._levels_of = label_levels if is_label else mean_levels
        self.pixel_size = (pixel_size[0] * width, pixel_size[1] * width)
        self._margin = [int((side - span / width) // 2) for span in spans]
        # Middle of the first pixel of a field, and of a block of which it is the mean.
        shift = 0 if is_label else (width - 1) / 2
        self.origin = tuple(
            middle + (shift - (n - 1) / 2 - margin * width) * size
            for middle, n, size, margin in zip(
                self._first, shape, pixel_size, self._margin, strict=True
            )
        )
        self.pixels: np.ndarray | None = None

    def add(self, pixels: np.ndarray, middle: tuple[float, float]) -> None:
        """Put a field (..., Y, X) whose middle is at `middle` on the canvas."""
        if pixels.shape[-2:] != self._shape:
            raise InputError(
                f"A field of {pixels.shape[-2]} x {pixels.shape[-1]} px is among fields of "
                f"{self._shape[0]} x {self._shape[1]} px: a plate takes fields of one size."
            )
        small = [pixels, *self._levels_of(pixels, self._factor, self._levels + 1)][-1]
        if self.pixels is None:
            self.pixels = np.zeros((*pixels.shape[:-2], self._side, self._side), pixels.dtype)
        places = [
            # Rounding must not push the last field over the edge.
            slice(start := min(margin + round((at - first) / size), self._side - n), start + n)
            for at, first, size, margin, n in zip(
                middle, self._first, self.pixel_size, self._margin, small.shape[-2:], strict=True
            )
        ]
        canvas = self.pixels[(..., *places)]
        canvas[...] = small[..., : canvas.shape[-2], : canvas.shape[-1]]


def in_a_grid(
    count: int, shape: tuple[int, int], pixel_size: tuple[float, float]
) -> list[tuple[float, float]]:
    """Middles (y, x) of `count` fields side by side, row after row, for want of positions."""
    columns = math.ceil(math.sqrt(count))
    steps = [n * size for n, size in zip(shape, pixel_size, strict=True)]
    return [(number // columns * steps[0], number % columns * steps[1]) for number in range(count)]


def write_well(
    path: str | os.PathLike,
    names: Sequence[str],
    fields: Iterable[StoreImage],
    middles: Sequence[tuple[float, float]] | None,
    options: StoreOptions,
    provenance: Mapping[str, Any],
    overview_side: int,
) -> Path:
    """Write a well with its fields and the overview, which appears whole or not at all.

    Parameters
    ----------
    path : `<plate>.ome.zarr/<row>/<column>`.
    names : of the fields in their folder, letters and digits.
    fields : one image per name, drawn one at a time.
    middles : (y, x) of each field in micrometres; None where unknown: a grid is made.
    overview_side : px of the square overview; 0 for none.
    """
    path = Path(path)
    for name in names:
        if not re.fullmatch("[A-Za-z0-9]+", name):
            raise InputError(f"The field {name!r} of {path} must be named by letters and digits.")
    mosaic = first = None
    with told_in_words(path), atomic_path(path) as part:
        part.mkdir()
        for number, (name, image) in enumerate(zip(names, fields, strict=True)):
            check_image(path / name, image)
            if first is None:
                # All but the pixels, of which one field at a time is held.
                first = replace(image, pixels=np.empty(0), labels={})
                options.warn_of_readers([image.pixels.dtype])
                size, shape = image.pixel_size or (1.0, 1.0), image.pixels.shape[-2:]
                middles = middles or in_a_grid(len(names), shape, size)
                factor = options.coarsening_factor
                if overview_side:
                    mosaic = Mosaic(shape, size, middles, factor, overview_side, image.is_label)
            (part / name).mkdir()
            write_image_group(part / name, name, image, options, provenance)
            if mosaic:
                mosaic.add(image.pixels, middles[number])
        images = [{"path": name, "acquisition": FIELDS} for name in names]
        if mosaic:
            _write_overview(part, mosaic, first, options, provenance)
            images.insert(0, {"path": OVERVIEW_NAME, "acquisition": OVERVIEW})
        write_group(part, options.version, {"well": versioned(options.version, {"images": images})})
    return path


def write_plate(
    path: str | os.PathLike, wells: Sequence[str], version: Version, name: str | None = None
) -> Path:
    """Write the metadata of a plate and its rows, when all `wells` (such as "A1") are there.

    Raises InputError for a well that is not, or that has another version.
    """
    path = Path(path)
    places = {well: split_well(well) for well in wells}
    rows = sorted({row for row, _ in places.values()}, key=lambda row: (len(row), row))
    columns = sorted({column for _, column in places.values()}, key=natural_key)
    most, listed = 0, []
    acquisitions: set[int] = set()
    for well in sorted(wells, key=lambda well: (rows.index(places[well][0]), natural_key(well))):
        row, column = places[well]
        images = _images_of_well(path / row / column, well, version)
        fields = [image for image in images if image["acquisition"] == FIELDS]
        most = max(most, len(fields))
        acquisitions |= {image["acquisition"] for image in images}
        index = {"rowIndex": rows.index(row), "columnIndex": columns.index(column)}
        listed.append({"path": f"{row}/{column}", **index})
    plate = {
        "name": name or store_name(path),
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": listed,
        "field_count": most + (OVERVIEW in acquisitions),
        "acquisitions": [
            {"id": number, "name": what, "maximumfieldcount": count}
            for number, what, count in ((FIELDS, "fields", most), (OVERVIEW, OVERVIEW_NAME, 1))
            if number in acquisitions
        ],
    }
    with told_in_words(path):
        for row in rows:
            write_group(path / row, version)
        write_group(path, version, {"plate": versioned(version, plate)})
    return path


def split_well(well: str) -> tuple[str, str]:
    """Row and column of a well: ("A", "1") of "A1"."""
    match = re.fullmatch(r"([A-Za-z]+)([0-9]+)", well)
    if match is None:
        raise InputError(
            f"The well {well!r} is not a row letter and a column number such as A1: "
            "use all.omezarr_layout: tile, or correct it in the samples table."
        )
    return match[1].upper(), match[2]


def _write_overview(
    folder: Path,
    mosaic: Mosaic,
    like: StoreImage,
    options: StoreOptions,
    provenance: Mapping[str, Any],
) -> None:
    overview = replace(
        like,
        pixels=mosaic.pixels,
        source_axes=like.axes,
        pixel_size=mosaic.pixel_size if like.pixel_size else None,
        origin=mosaic.origin,
        sources=(),
    )
    (folder / OVERVIEW_NAME).mkdir()
    write_image_group(folder / OVERVIEW_NAME, OVERVIEW_NAME, overview, options, provenance)


def _images_of_well(folder: Path, well: str, version: Version) -> list[dict[str, Any]]:
    name = ".zattrs" if version == "0.4" else "zarr.json"
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"The well {well} has no OME-Zarr {version} at {folder}: export it before the plate."
        ) from None
    attributes = content if version == "0.4" else content["attributes"]["ome"]
    return attributes["well"]["images"]
