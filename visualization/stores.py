"""Which images a results folder holds: OME-Zarr stores of both layouts, and TIFF checkpoints.

Only names of files are looked at, never pixels, so that a screen of a hundred
thousand tiles is listed in a second.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.shared.errors import InputError
from lib.shared.layout import OMEZARR, PHENOTYPE, PREPROCESS, SBS, plate_store
from lib.shared.omezarr.plate import OVERVIEW_NAME
from lib.shared.omezarr.read import is_store
from lib.shared.sheets import MAX_NAMED, natural_key

CHECKPOINTS = {"preprocess": PREPROCESS, "sbs": SBS, "phenotype": PHENOTYPE}
ALIGNED = {"sbs": "align_sbs", "phenotype": "align_phenotype"}
SEGMENTED = {"sbs": "segment_sbs", "phenotype": "segment_phenotype"}
_WILDCARD = re.compile(r"\\\{(\w+)\\\}")  # as re.escape leaves it
NO_WELL = ""  # of a whole plate
_ROW, _COLUMN = re.compile("[A-Za-z]+"), re.compile("[0-9]+")


@dataclass(frozen=True)
class TileImage:
    """An image of a stage: a store, a field of a plate, or a TIFF.

    Attributes
    ----------
    tile, cycle : None where a stage has one image for all.
    is_overview : whether it shows a whole well at low resolution.
    """

    path: Path
    plate: str
    well: str
    tile: str | None = None
    cycle: str | None = None
    is_overview: bool = False

    @property
    def place(self) -> tuple[str, str, str | None, str | None]:
        """What tells it from the other images of its stage."""
        return self.plate, self.well, self.tile, self.cycle


def stores_of_stage(results: Path, module: str, stage: str) -> list[TileImage]:
    """All stores of a stage, by plate, well, tile and cycle; overviews of wells come first.

    A tile that has a store of its own and is a field of a plate, too, is listed once,
    as the store of its own.
    """
    template = OMEZARR[module][stage]
    tiles = [image for image in _named(results, template) if is_store(image.path)]
    there = {image.place for image in tiles}
    fields = [image for image in _fields(results, plate_store(template))]
    return _sorted([*tiles, *(image for image in fields if image.place not in there)])


def tiffs_of_output(results: Path, template: str) -> list[TileImage]:
    """All TIFFs of a template of `lib.shared.layout`, by plate, well, tile and cycle."""
    return _sorted(_named(results, template))


def checkpoint_template(module: str, stage: str) -> str | None:
    """Template of the one TIFF that a stage writes; None for a stage of several."""
    tiffs = [path for path in CHECKPOINTS[module][stage] if path.endswith(".tiff")]
    return tiffs[0] if len(tiffs) == 1 else None


def images_of_stage(results: Path, module: str, stage: str) -> list[TileImage]:
    """Stores of a stage, or, where there are none, its TIFFs."""
    stores = stores_of_stage(results, module, stage)
    template = checkpoint_template(module, stage)
    return stores if stores or template is None else tiffs_of_output(results, template)


def check_results(results: Path) -> None:
    """Raise InputError where there is no such folder, or it is another."""
    what = None
    if not results.is_dir():
        what = "does not exist"
    elif not any((results / module).is_dir() for module in CHECKPOINTS):
        what = f"holds no results (none of the folders {', '.join(CHECKPOINTS)})"
    if what:
        raise InputError(
            f"The results folder {results} {what}: give the folder that the config "
            "names as all.root_fp."
        )


def select_well(
    images: Iterable[TileImage],
    plate: str | None,
    well: str | None,
    tiles: Sequence[str] | None,
    source: str,
) -> list[TileImage]:
    """The images of some tiles of a well, without its overview.

    Parameters
    ----------
    plate, well : None takes the only one there is.
    tiles : None takes all.
    source : what the images are, and where, for messages.

    Raises InputError naming those that there are.
    """
    images = [image for image in images if not image.is_overview]
    if not images:
        raise InputError(f"There are no {source}: run the workflow first.")
    images = _of(images, "plate", plate, source)
    images = _of(images, "well", well, f"{source} of plate {images[0].plate}")
    if tiles is None:
        return images
    known = {image.tile for image in images}
    for tile in tiles:
        if tile not in known:
            raise _unknown("tile", tile, known, f"{source} of well {images[0].well}")
    return [image for image in images if image.tile in set(tiles)]


def _of(images: list[TileImage], key: str, wanted: str | None, source: str) -> list[TileImage]:
    known = {getattr(image, key) for image in images}
    if wanted is None and len(known) > 1:
        raise InputError(f"Choose one of several by --{key}, among {source}: {_list(known)}.")
    if wanted is not None and wanted not in known:
        raise _unknown(key, wanted, known, source)
    return [image for image in images if wanted in (None, getattr(image, key))]


def _unknown(key: str, wanted: str, known: Iterable[str], source: str) -> InputError:
    return InputError(f"There is no {key} {wanted} among {source}; there are {_list(known)}.")


def _list(names: Iterable[str]) -> str:
    names = sorted(names, key=natural_key)
    shown = names[: 4 * MAX_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _named(results: Path, template: str) -> Iterator[TileImage]:
    """Files or folders of one folder whose names fit a template."""
    folder, name = template.rsplit("/", 1)
    pattern = re.compile(_WILDCARD.sub(r"(?P<\1>[^_/]+)", re.escape(name)))
    if not (results / folder).is_dir():
        return
    for path in (results / folder).iterdir():
        if match := pattern.fullmatch(path.name):
            yield TileImage(path, **({"well": NO_WELL} | match.groupdict()))


def _fields(results: Path, template: str) -> Iterator[TileImage]:
    """Fields, and overviews, of the plates of a template, whether or not they are complete."""
    for plate in _named(results, template):
        for row in _folders(plate.path, _ROW):
            for column in _folders(row, _COLUMN):
                for image in column.iterdir():
                    if is_store(image):
                        overview = image.name == OVERVIEW_NAME
                        tile = None if overview else image.name
                        yield TileImage(
                            image,
                            plate.plate,
                            f"{row.name}{column.name}",
                            tile,
                            plate.cycle,
                            overview,
                        )


def _folders(parent: Path, name: re.Pattern) -> list[Path]:
    return [path for path in parent.iterdir() if name.fullmatch(path.name) and path.is_dir()]


def _sorted(images: Iterable[TileImage]) -> list[TileImage]:
    def key(image: TileImage) -> tuple:
        return tuple(natural_key(part or "") for part in image.place)

    return sorted(images, key=lambda image: (key(image)[:2], not image.is_overview, key(image)))
