"""A plate of an OMERO server as sample sheets: the rules read its files as ordinary ones."""

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lib.omero.import_plate import object_by_number, well_name
from lib.omero.local_backend import (
    FilesetPart,
    Location,
    OMEROLocalBackend,
    fileset_locations,
    fileset_parts,
    store_location,
)
from lib.omero.paths import PathRefused, ServerDisk
from lib.omero.queries import (
    OmeroImage,
    describe_images,
    fileset_files,
    repository_roots,
    rows,
)
from lib.shared.errors import InputError
from lib.shared.layout import OMERO_IMAGE
from lib.shared.samples import PHENOTYPE_COLUMNS, SBS_COLUMNS
from lib.shared.tables import write_table

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

Module = Literal["sbs", "phenotype"]

SHEET_COLUMNS = {"sbs": SBS_COLUMNS, "phenotype": PHENOTYPE_COLUMNS}
# What a sheet's plate may be called, which becomes part of file names.
PLAIN_NAME = re.compile(r"[A-Za-z0-9.+-]{1,64}")
CYCLE = re.compile(r"(?:cycle|round|\bc)[ _-]*([0-9]{1,4})", re.IGNORECASE)
PHENOTYPE = re.compile(r"pheno", re.IGNORECASE)

FIELDS = """
    select w.row, w.column, a.id, a.name, i.id from WellSample s join s.well w join s.image i
    left outer join s.plateAcquisition a where w.plate.id = :plate
    order by w.row, w.column, s.id
"""


@dataclass(frozen=True)
class SheetRow:
    """One image of a plate as a row of a sample sheet."""

    module: Module
    sample_fp: str
    plate: str
    well: str
    tile: str
    cycle: int | None
    position: int | None
    image_id: int
    is_fetched: bool  # the file is not there yet: the image lives only on the server


def inventory(
    gateway: "BlitzGateway", plate_id: int, disk: ServerDisk, fetch_folder: Path
) -> list[SheetRow]:
    """List the images of a plate with the files that hold them.

    Plate acquisitions (runs) whose name has "pheno" in it are phenotype; each of
    the others is a cycle, by the number in its name ("Cycle 3"), or in their order
    when none has one. Fields of a well are tiles from 0. The number of calls does
    not grow with the wells, but by one for 500 images.

    Parameters
    ----------
    disk : the folders in which the server's files may be read.
    fetch_folder : where images that have no file of their own will be put; the workflow
        fetches them by itself into a folder "omero/images".

    Raises
    ------
    InputError
        When the user may not read the plate, and when it has no images.
    """
    found = rows(gateway, "select p.name from Plate p where p.id = :id", id=plate_id)
    if not found:
        user = gateway.getUser().getName()
        raise InputError(f"OMERO has no plate {plate_id}, or user {user} may not read it.")
    plate = found[0][0] or ""
    plate = plate if PLAIN_NAME.fullmatch(plate) else str(plate_id)
    fields = rows(gateway, FIELDS, plate=plate_id)
    if not fields:
        raise InputError(f"OMERO plate {plate_id} has no images.")
    runs = _modules({number: name or "" for _, _, number, name, _ in fields})
    images = describe_images(gateway, [row[-1] for row in fields])
    locations = _locate(gateway, list(images.values()), disk)
    tiles: dict[tuple, int] = defaultdict(int)
    fetched = Path(OMERO_IMAGE).name
    listed = []
    for row, column, run, _, number in fields:
        module, cycle = runs[run]
        place = (row, column, run)
        location = locations.get(number)
        listed.append(
            SheetRow(
                module,
                str(location.path if location else fetch_folder / fetched.format(image=number)),
                plate,
                well_name(row, column),
                str(tiles[place]),
                cycle,
                location.position if location else None,
                number,
                location is None,
            )
        )
        tiles[place] += 1
    return listed


def write_sheets(listed: Sequence[SheetRow], folder: Path) -> list[Path]:
    """Write sbs_samples.tsv and phenotype_samples.tsv, as far as there are rows; returns them."""
    written = []
    for module, columns in SHEET_COLUMNS.items():
        own = [row for row in listed if row.module == module]
        if not own:
            continue
        names = [*columns, *(["position"] if any(row.position for row in own) else [])]
        table = {name: [_text(getattr(row, name)) for row in own] for name in names}
        path = folder / f"{module}_samples.tsv"
        write_table(path, table)
        written.append(path)
    return written


def fetch_image(
    gateway: "BlitzGateway", image_id: int, disk: ServerDisk, allow_remote: bool, path: Path
) -> None:
    """Write an image of the server to a TIFF: from its disk, or over the wire where allowed."""
    from lib.shared.image_io import write_image

    planes = OMEROLocalBackend(gateway, disk, allow_remote).load(image_id)
    if planes.ndim == 3:
        planes = planes[:, None]
    wrapped = object_by_number(gateway, "Image", image_id)
    lengths = [getattr(wrapped, f"getPixelSize{axis}")(units="MICROMETER") for axis in "YX"]
    pixel_size = None if None in lengths else tuple(length.getValue() for length in lengths)
    names = [channel.getLabel() for channel in wrapped.getChannels(noRE=True)]
    if len(planes) == 1:
        write_image(path, planes[0], "CYX", pixel_size, names)
    else:
        write_image(path, planes, "ZCYX", pixel_size, names)


def _modules(runs: dict[int | None, str]) -> dict[int | None, tuple[Module, int | None]]:
    """Module and cycle of each plate acquisition."""
    sbs = sorted(
        (number or 0, number) for number, name in runs.items() if not PHENOTYPE.search(name)
    )
    cycles = {number: CYCLE.search(runs[number]) for _, number in sbs}
    found: dict[int | None, tuple[Module, int | None]] = {
        number: ("phenotype", None) for number in runs if number not in cycles
    }
    named = [int(match[1]) for match in cycles.values() if match]
    by_name = len(set(named)) == len(cycles)
    for order, (number, match) in enumerate(cycles.items(), 1):
        found[number] = ("sbs", int(match[1]) if by_name else order)
    return found


def _locate(
    gateway: "BlitzGateway", images: Sequence[OmeroImage], disk: ServerDisk
) -> dict[int, Location]:
    """Files of those images that have one here which is read like any other file."""
    roots = repository_roots(gateway)
    files = fileset_files(gateway, [i.fileset_id for i in images if i.fileset_id is not None])
    filesets: dict[int | None, list[OmeroImage]] = defaultdict(list)
    found: dict[int, Location] = {}
    for image in images:
        if image.store_folder is None:
            filesets[image.fileset_id].append(image)
            continue
        with suppress(PathRefused):  # it is fetched, which says why if that fails too
            found[image.id] = store_location(image.store_folder, disk)
    filesets.pop(None, None)
    for number, own in filesets.items():
        parts: list[FilesetPart] = []
        with suppress(PathRefused):
            parts = fileset_parts(files.get(number, []), roots, disk)
        for image in own if len(parts) == 1 else ():
            with suppress(PathRefused):
                (found[image.id],) = fileset_locations(parts, image.series, disk)
    return found


def _text(value: object) -> str:
    return "" if value is None else str(value)
