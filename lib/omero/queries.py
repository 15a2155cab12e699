"""Questions to the server in few calls: rows of plain values."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lib.shared.errors import InputError

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

BATCH = 500  # ids in one question
ALL_GROUPS = -1
NGFF_ENTITY = "com.glencoesoftware.ngff:multiscales"
NGFF_ENTITY_ID = 3

# OMERO's names of pixel types; it has none for bool, int64, uint64 and float16.
DTYPES = {
    "int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16,
    "int32": np.int32, "uint32": np.uint32, "float": np.float32, "double": np.float64,
}  # fmt: skip
PIXEL_TYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

IMAGES = """
    select i.id, i.name, i.series, p.id, t.value, p.sizeT, p.sizeC, p.sizeZ, p.sizeY, p.sizeX,
           e.entityType, e.lsid, f.id, i.details.group.id
    from Image i join i.pixels p join p.pixelsType t
    left outer join i.details.externalInfo e left outer join i.fileset f
    where i.id in (:ids) order by i.id, p.id
"""
FILES = """
    select fse.fileset.id, o.path, o.name, o.repo from FilesetEntry fse join fse.originalFile o
    where fse.fileset.id in (:ids) order by fse.id
"""


@dataclass(frozen=True)
class OmeroImage:
    """What the server says of an image.

    Attributes
    ----------
    shape : (T, C, Z, Y, X).
    series : index of the image in the files of its fileset.
    store : path on the server of the OME-Zarr that holds its pixels, if one is registered.
    fileset_id : of the files that it was imported from, if any.
    """

    id: int
    name: str
    series: int
    pixels_id: int
    dtype: np.dtype
    shape: tuple[int, int, int, int, int]
    store: str | None
    fileset_id: int | None
    group_id: int

    @property
    def store_folder(self) -> str | None:
        """The registered store as a path; None when there is none, or none on a disk."""
        if self.store is None:
            return None
        path = self.store.removeprefix("file://")
        return None if "://" in path else path


def rows(
    gateway: "BlitzGateway", query: str, group: int | None = ALL_GROUPS, **parameters: object
) -> list[tuple]:
    """Ask a question in HQL; values come back as plain Python.

    `group` is the one to look into: all of the user's (-1), a number, or None for
    the one of the session. Strings, integers and lists of either are bound by name.
    """
    from omero.rtypes import unwrap

    context = gateway.SERVICE_OPTS.copy()
    if group is not None:
        context.setOmeroGroup(str(group))
    found = gateway.getQueryService().projection(query, _bound(parameters), context)
    return [tuple(unwrap(value) for value in row) for row in found]


def _bound(parameters: dict[str, object]) -> object:
    from omero.rtypes import rlist, rlong, rstring
    from omero.sys import ParametersI

    def typed(value: object) -> object:
        if isinstance(value, str):
            return rstring(value)
        if isinstance(value, int | np.integer):
            return rlong(int(value))
        return rlist([typed(part) for part in value])

    bound = ParametersI()
    for name, value in parameters.items():
        bound.add(name, typed(value))
    return bound


def batches(values: Iterable, size: int = BATCH) -> Iterator[list]:
    """Cut `values` into lists of at most `size`."""
    values = iter(values)
    while batch := list(islice(values, size)):
        yield batch


def describe_images(gateway: "BlitzGateway", image_ids: Sequence[int]) -> dict[int, OmeroImage]:
    """Ask what the server says of images, in one call for every 500; those not seen are absent."""
    found: dict[int, OmeroImage] = {}
    for batch in batches(image_ids):
        for number, name, series, pixels, kind, *rest in rows(gateway, IMAGES, ids=batch):
            *shape, entity, lsid, fileset, group = rest
            if kind not in DTYPES:
                raise InputError(
                    f"OMERO image {number} ({name}) has pixels of type {kind}, which are not read."
                )
            if number in found:
                continue  # it has several sets of pixels: the first is the primary one
            found[number] = OmeroImage(
                number, name or "", series or 0, pixels, np.dtype(DTYPES[kind]), tuple(shape),
                lsid if entity == NGFF_ENTITY else None, fileset, group,
            )  # fmt: skip
    return found


def describe_image(gateway: "BlitzGateway", image_id: int) -> OmeroImage:
    """Ask what the server says of one image.

    Raises `InputError` when there is none, or none that this user may read.
    """
    image = describe_images(gateway, [image_id]).get(image_id)
    if image is None:
        user = gateway.getUser().getName()
        raise InputError(
            f"OMERO has no image {image_id}, or user {user} may not read it: check the number and "
            "the group."
        )
    return image


def fileset_files(
    gateway: "BlitzGateway", fileset_ids: Sequence[int]
) -> dict[int, list[tuple[str, str, str]]]:
    """(folder, name, repository) of the files of filesets, in their order."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    for batch in batches(dict.fromkeys(fileset_ids)):
        for fileset, folder, name, repository in rows(gateway, FILES, ids=batch):
            found.setdefault(fileset, []).append((folder or "", name, repository))
    return found


def repository_roots(gateway: "BlitzGateway") -> dict[str, str]:
    """Root folder on the server of each repository, by its uuid."""
    descriptions = gateway.c.sf.sharedResources().repositories().descriptions
    return {
        description.hash.val: f"{description.path.val.rstrip('/')}/{description.name.val}"
        for description in descriptions
    }
