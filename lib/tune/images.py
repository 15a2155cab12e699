"""Tiles as a run of the workflow sees them: from its checkpoints where they are, else raw.

A tile needs no run: raw files are read, aligned and corrected here by the functions that
the rules call. An illumination field that no run has written is estimated from a few tiles
of the well.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.preprocess.convert import Part, raw_sources
from lib.preprocess.readers import raw_metadata, read_raw
from lib.shared import layout
from lib.shared.chemistry import base_channels
from lib.shared.errors import InputError
from lib.shared.illumination import estimate_field, reduce_tile
from lib.shared.image_io import read_image, read_image_info
from lib.shared.inputs import Inputs
from lib.shared.samples import sample_tiles
from lib.shared.tables import read_rows

FIELD_TILES = 12  # of a well, for an illumination field that no run has written
logger = logging.getLogger(__name__)

Map = Callable[[Callable, Iterable], Iterable]


@dataclass(frozen=True)
class RawImage:
    """What is needed to read the raw image of a tile, of one cycle for SBS."""

    place: dict[str, str]
    cycle: int | None
    channels: list[str]
    parts: tuple[Part, ...]
    sheet: str
    z: int | str
    pixel_size_um: float | None

    def read(self) -> np.ndarray:
        """The image, (C, Y, X) uint16."""
        return read_raw(self._sources(), self.channels, self.z)

    def pixel_size(self) -> float | None:
        """Pixel size along rows in micrometres: the configured one, else that of the file."""
        return self.pixel_size_um or raw_metadata(self._sources()[:1])[0]["pixel_size_y"]

    def _sources(self) -> list:
        return raw_sources(self.parts, self.sheet, self.place, self.cycle)


@dataclass(frozen=True)
class TileSource:
    """A tile, its raw images by cycle (None for phenotype) and what a run wrote of it.

    Attributes
    ----------
    settings : section `sbs` or `phenotype` of the config.
    reference : the cycle that nuclei are found in.
    aligned : checkpoint of the aligned image and table of its shifts, or None.
    ic_field : the illumination field of the reference cycle: its file, or (n, C, y, x)
        reduced tiles to estimate it from; None where images are not corrected.
    """

    place: dict[str, str]
    settings: dict[str, Any]
    images: dict[int | None, RawImage]
    reference: int | None
    aligned: tuple[str, str] | None
    ic_field: str | np.ndarray | None

    @property
    def name(self) -> str:
        """`plate/well/tile`, as `--tiles` takes it."""
        return "/".join(self.place.values())

    @property
    def cycles(self) -> list[int | None]:
        """Cycles in the order of the aligned image."""
        return list(self.images)

    def channel(self, name: str) -> int:
        """Index of a channel."""
        return self.settings["channel_names"].index(name)

    def pixel_size(self) -> float | None:
        """Pixel size along rows in micrometres, where files or config have it."""
        if self.aligned is None:
            return self.images[self.reference].pixel_size()
        size = read_image_info(self.aligned[0]).pixel_size
        return None if size is None else size[0]

    def load_sbs(self, cycles: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Some cycles in one frame, (T, C, Y, X) uint16, and shifts of their corners (T, C, 4, 2).

        `cycles` contains the reference cycle.
        """
        from lib.sbs.alignment import (
            apply_alignment,
            corner_shifts,
            estimate_alignment,
            shifts_of_rows,
        )
        from lib.sbs.bad_pixels import fill_bad_pixels

        if self.aligned is not None:
            picks = [self.cycles.index(cycle) for cycle in cycles]
            stack = read_image(self.aligned[0])[picks]
            planes = shifts_of_rows(read_rows(self.aligned[1]))
            shape = len(self.cycles), len(self.settings["channel_names"]), 4, 2
            return stack, corner_shifts(*planes, stack.shape[-2:]).reshape(shape)[picks]

        stack = None
        for t, cycle in enumerate(cycles):
            image = self.images[cycle].read()
            if stack is None:
                channels = len(self.settings["channel_names"])
                stack = np.zeros((len(cycles), channels, *image.shape[-2:]), np.uint16)
            elif image.shape[-2:] != stack.shape[-2:]:
                raise InputError(
                    f"Tile {self.name} has {image.shape[-2]} x {image.shape[-1]} pixels in cycle "
                    f"{cycle}, {stack.shape[-2]} x {stack.shape[-1]} in cycle {cycles[0]}: "
                    "all cycles of a tile must be of one size."
                )
            stack[t, [self.channel(name) for name in self.images[cycle].channels]] = image
        dapi = self.settings["dapi_channel"]
        bases = [self.channel(name) for name in _base_channels(self.settings)]
        fill_bad_pixels(stack, bases)
        alignment = estimate_alignment(
            stack,
            base_channels=bases,
            dapi_channel=None if dapi is None else self.channel(dapi),
            reference=cycles.index(self.reference),
            max_shift=self.settings["max_shift_px"],
            chromatic=self.settings["chromatic_alignment"],
        )
        planes = alignment.offsets, alignment.turns
        return apply_alignment(stack, *planes), corner_shifts(*planes, stack.shape[-2:])

    def load_phenotype(self) -> np.ndarray:
        """The channels of a phenotype tile, evenly lit and in one frame, (C, Y, X) uint16."""
        if self.aligned is not None:
            return read_image(self.aligned[0])

        from lib.phenotype.alignment import correct_and_align, estimate_channel_alignment

        image, chosen = self.images[None].read(), self.settings["alignment"]
        alignment = estimate_channel_alignment(
            image,
            self.channel(chosen["reference_channel"]),
            [[self.channel(name) for name in group] for group in chosen["groups"]],
            {self.channel(name): offset for name, offset in chosen["offsets_px"].items()},
            chosen["max_shift_px"],
        )
        return correct_and_align(image, alignment.offsets, self.field(image.shape[-2:]))

    def field(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Illumination field (C, Y, X); None where images are not corrected."""
        if self.ic_field is None:
            return None
        if isinstance(self.ic_field, str):
            return read_image(self.ic_field)
        return estimate_field(self.ic_field, shape)


@dataclass(frozen=True)
class Screen:
    """The tiles of one half of a screen, as config and sample sheet give them."""

    config: dict
    inputs: Inputs
    module: str

    @property
    def settings(self) -> dict[str, Any]:
        """Section `sbs` or `phenotype`."""
        return self.config[self.module]

    @property
    def cycles(self) -> list[int | None]:
        """Cycles of a tile; one without number for phenotype tiles."""
        return list(self.inputs.cycles) if self.module == "sbs" else [None]

    @property
    def reference(self) -> int | None:
        """The cycle that nuclei are found in."""
        return self.inputs.reference_cycle if self.module == "sbs" else None

    def choose(self, names: Sequence[str], count: int) -> list[dict[str, str]]:
        """The tiles named (`plate/well/tile`), or `count` of all drawn by the config's seed."""
        samples = getattr(self.inputs, self.module)
        if not names:
            drawn = sample_tiles(list(samples.every_tile()), count, self.config["all"]["seed"])
            return [_place(*tile) for tile in drawn]
        return [self._named(name) for name in dict.fromkeys(names)]

    def _named(self, name: str) -> dict[str, str]:
        parts = name.split("/")
        if len(parts) != 3 or not all(parts):
            raise InputError(f"--tiles {name}: write a tile as plate/well/tile, as in 1/A1/0.")
        plate, well, tile = parts
        known = getattr(self.inputs, self.module).tiles(plate, well)
        if tile not in known:
            some = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
            raise InputError(f"--tiles {name}: well {well} of plate {plate} has the tiles {some}.")
        return _place(plate, well, tile)

    def sources(self, places: Sequence[dict[str, str]], each: Map) -> list[TileSource]:
        """What is there of some tiles; `each` maps over raw images."""
        wells = {(place["plate"], place["well"]): None for place in places}
        fields = {well: self._field(*well, each) for well in wells}
        return [
            TileSource(
                place,
                self.settings,
                {cycle: self._image(place, cycle) for cycle in self.cycles},
                self.reference,
                self._aligned(place),
                fields[place["plate"], place["well"]],
            )
            for place in places
        ]

    def _image(self, place: dict[str, str], cycle: int | None) -> RawImage:
        names, preprocess = list(self.settings["channel_names"]), self.config["preprocess"]
        if cycle is not None and cycle in self.settings["no_dapi_cycles"]:
            names = [name for name in names if name in _base_channels(self.settings)]
        rows = getattr(self.inputs, self.module).sources(*place.values(), cycle)
        parts = tuple((row.path, row.channel, row.z, row.position) for row in rows)
        sheet = preprocess[f"{self.module}_samples_fp"]
        size = preprocess[f"{self.module}_pixel_size_um"]
        return RawImage(place, cycle, names, parts, sheet, preprocess["z"], size)

    def _aligned(self, place: dict[str, str]) -> tuple[str, str] | None:
        """Checkpoints of a tile's alignment, where they are those of this config."""
        templates = {"sbs": layout.SBS, "phenotype": layout.PHENOTYPE}[self.module]
        paths = [self._path(template, place) for template in templates[f"align_{self.module}"]]
        if not all(path.exists() for path in paths):
            return None
        planes = read_image_info(paths[0]).shape[:-2]
        expected: tuple[int, ...] = (len(self.settings["channel_names"]),)
        if self.module == "sbs":
            expected = len(self.cycles), *expected
        if planes != expected:
            logger.warning(
                "%s is not used: it has planes %s, and the config asks for %s.",
                paths[0],
                planes,
                expected,
            )
            return None
        return str(paths[0]), str(paths[1])

    def _field(self, plate: str, well: str, each: Map) -> str | np.ndarray | None:
        """The file of a well's illumination field, else a few of its tiles, reduced."""
        if not self.settings["illumination_correction"]:
            return None
        template = layout.PREPROCESS[f"calculate_ic_{self.module}"][0]
        path = self._path(template, {"plate": plate, "well": well}, self.reference)
        if path.exists():
            return str(path)
        most = min(FIELD_TILES, self.config["preprocess"]["ic_max_tiles"])
        tiles = getattr(self.inputs, self.module).tiles(plate, well)
        chosen = sample_tiles(tiles, most, self.config["all"]["seed"])
        images = [self._image(_place(plate, well, tile), self.reference) for tile in chosen]
        return np.stack(list(each(_reduced, images)))

    def _path(self, template: str, place: dict[str, str], cycle: int | None = None) -> Path:
        return Path(self.config["all"]["root_fp"]) / template.format(**place, cycle=cycle)


def _place(plate: str, well: str, tile: str) -> dict[str, str]:
    return {"plate": plate, "well": well, "tile": tile}


def _base_channels(settings: dict[str, Any]) -> list[str]:
    return base_channels(settings["bases"], settings["base_encoding"])


def _reduced(image: RawImage) -> np.ndarray:
    return reduce_tile(image.read())
