"""Images of an OMERO server read from its disk, without a byte over the connection."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from lib.omero.paths import (
    PathMissing,
    PathRefused,
    ServerDisk,
    numbered_path,
    repository_path,
    zarr_root,
)
from lib.omero.queries import (
    OmeroImage,
    batches,
    describe_image,
    fileset_files,
    repository_roots,
    rows,
)
from lib.shared.errors import InputError

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

    from lib.preprocess.readers.image import RawImage

log = logging.getLogger(__name__)

PARENTS = {
    "project": "select c.id from ProjectDatasetLink pl join pl.child d join d.imageLinks l "
    "join l.child c where pl.parent.id = :parent",
    "dataset": "select c.id from DatasetImageLink l join l.child c where l.parent.id = :parent",
    "plate": "select c.id from WellSample s join s.image c where s.well.plate.id = :parent",
}
PYRAMID = "_pyramid"  # added by the server to the name of pixels that it keeps in tiles
TILE = 1024  # rows and columns of a block read over the wire


@dataclass(frozen=True)
class Location:
    """Where the pixels of an image are.

    Attributes
    ----------
    kind : "ngff" (a registered OME-Zarr), "fileset" (the files it was imported
        from), "pixels" (OMERO's own raw planes) or "remote" (only over the wire).
    path : on this machine; None when remote.
    position : index of the image in the file.
    """

    kind: str
    path: Path | None = None
    position: int = 0


@dataclass(frozen=True)
class ImageEntry:
    """One image of a listing."""

    id: int
    name: str
    acquired: datetime | None
    tags: tuple[str, ...]


class OMEROLocalBackend:
    """Reads and saves images of an OMERO server whose disk is reachable here.

    Parameters
    ----------
    gateway : a connection, of `lib.omero.connection.connect`.
    disk : the folders that may be read.
    allow_remote : fetch pixels over the connection where no file can be read.
        Without it such an image is an error.
    """

    def __init__(
        self, gateway: "BlitzGateway", disk: ServerDisk, allow_remote: bool = False
    ) -> None:
        self.gateway, self.disk, self.allow_remote = gateway, disk, allow_remote

    def load(self, image_id: int, time: int = 0) -> np.ndarray:
        """Read an image as (Z, Y, X), or (Z, C, Y, X) when it has several channels.

        Parameters
        ----------
        time : the time point to read.

        Raises
        ------
        InputError
            When the user may not read the image, when no file of it can be
            reached (and `allow_remote` is not set), and when a file does not
            hold what the server says.
        """
        image = describe_image(self.gateway, image_id)
        if not 0 <= time < image.shape[0]:
            raise InputError(
                f"OMERO image {image_id} has no time point {time}: it holds {image.shape[0]}."
            )
        planes = self._read(image, self.locate(image), time)
        return planes[:, 0] if planes.shape[1] == 1 else planes

    def locate(self, image: OmeroImage | int) -> Location:
        """Find where the pixels of an image lie, and check that they are what the server says."""
        if not isinstance(image, OmeroImage):
            image = describe_image(self.gateway, image)
        reasons = []
        for candidates in (self._stores, self._fileset, self._raw_pixels):
            try:
                for location in candidates(image):
                    try:
                        self._verify(image, location)
                    except InputError as error:
                        reasons.append(str(error))
                    else:
                        return location
            except PathRefused as error:
                reasons.append(str(error))
        what = f"OMERO image {image.id} ({image.name}) cannot be read from the server's disk"
        told = " ".join(reasons) or "The server names no file of it."
        if not self.allow_remote:
            raise InputError(f"{what}: {told} Set omero.allow_remote to fetch it instead.")
        log.warning("%s, and is fetched: %s", what, told)
        return Location("remote")

    def save(
        self,
        array: np.ndarray,
        name: str,
        dataset: int,
        provenance: Mapping[str, str],
        pixel_size: tuple[float, float] | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> int:
        """Save (Z, Y, X) or (Z, C, Y, X) as an image of a dataset; returns its number.

        Planes are sent one by one. `provenance` becomes a map annotation. Nothing
        stays on the server when it fails.
        """
        from lib.omero.import_image import upload_array

        planes = array[:, None] if array.ndim == 3 else array
        if planes.ndim != 4:
            raise ValueError(f"an image of shape {array.shape} is neither ZYX nor ZCYX")
        return upload_array(
            self.gateway, planes, name, dataset, provenance, pixel_size, channel_names
        )

    def list_files(
        self,
        project: int | None = None,
        dataset: int | None = None,
        plate: int | None = None,
        name: str | None = None,
        date: tuple[datetime | None, datetime | None] | None = None,
        tags: Sequence[str] = (),
    ) -> list[ImageEntry]:
        """List the images of a project, a dataset or a plate, by number.

        Parameters
        ----------
        name : a pattern with % for any text, in any case.
        date : first and last moment of acquisition, either of them None for any; without a
            time zone they are local. Images without a date are left out.
        tags : every one of them must be on the image.
        """
        given = {"project": project, "dataset": dataset, "plate": plate}
        given = {kind: number for kind, number in given.items() if number is not None}
        if len(given) != 1:
            raise ValueError("name one of project, dataset and plate")
        (kind, number), *_ = given.items()
        where, parameters = f"i.id in ({PARENTS[kind]})", {"parent": number}
        if name is not None:
            where += " and lower(i.name) like :name"
            parameters["name"] = name.lower()
        query = f"select i.id, i.name, i.acquisitionDate from Image i where {where} order by i.id"
        found = rows(self.gateway, query, **parameters)
        of_tag = self._tags([row[0] for row in found]) if found else {}
        entries = [
            ImageEntry(
                number, text,
                None if at is None else datetime.fromtimestamp(at / 1000).astimezone(),
                tuple(sorted(of_tag.get(number, ()))),
            )
            for number, text, at in found
        ]  # fmt: skip
        return [entry for entry in entries if set(tags) <= set(entry.tags) and _within(entry, date)]

    def get_or_create_dataset(self, name: str, project: int | None = None) -> int:
        """Number of the user's own dataset of this name (the lowest), made when there is none."""
        from lib.omero.import_image import get_or_create_dataset

        return get_or_create_dataset(self.gateway, name, project)

    # Where pixels may be, best first

    def _stores(self, image: OmeroImage) -> list[Location]:
        if image.store is None:
            return []
        if image.store_folder is None:
            raise PathRefused(f"Its store {image.store} is in an object store, not on a disk.")
        return [store_location(image.store_folder, self.disk)]

    def _fileset(self, image: OmeroImage) -> list[Location]:
        if image.fileset_id is None:
            return []
        files = fileset_files(self.gateway, [image.fileset_id]).get(image.fileset_id, [])
        parts = fileset_parts(files, self._roots, self.disk)
        return fileset_locations(parts, image.series, self.disk)

    def _raw_pixels(self, image: OmeroImage) -> list[Location]:
        if image.store is not None or image.fileset_id is not None:
            return []
        numbered = numbered_path("Pixels", image.pixels_id)
        paths = [f"{folder}/{numbered}" for folder in data_folders(self._roots.values())]
        try:
            return [Location("pixels", self.disk.first_of(paths))]
        except PathMissing as missing:
            try:
                pyramid = self.disk.first_of([path + PYRAMID for path in paths])
            except PathRefused:
                raise missing from None
        raise PathRefused(
            f"{pyramid} holds it in tiles, in a form of the server's own that is not read here."
        )

    @cached_property
    def _roots(self) -> dict[str, str]:
        return repository_roots(self.gateway)

    # Reading

    def _verify(self, image: OmeroImage, location: Location) -> None:
        """Refuse a file of which size or type is not what the server says of the image."""
        if location.kind == "pixels":
            expected = int(np.prod(image.shape)) * image.dtype.itemsize
            actual = location.path.stat().st_size
            if actual != expected:
                raise InputError(
                    f"{location.path} has {actual} bytes where OMERO image {image.id} needs "
                    f"{expected}: was its upload interrupted?"
                )
            return
        with _opened(location, image.shape) as raw:
            shape = tuple(raw.size(axis) for axis in "TCZYX")
            dtype = np.dtype(raw.dtype).newbyteorder("=")
        if shape != image.shape or dtype != image.dtype:
            raise InputError(
                f"{location.path} holds {dtype} of {_shape(shape)}, but OMERO says "
                f"{image.dtype} of {_shape(image.shape)} of image {image.id}: "
                "was the file replaced?"
            )

    def _read(self, image: OmeroImage, location: Location, time: int) -> np.ndarray:
        """(Z, C, Y, X) of one time point."""
        _, channels, zs, _, _ = image.shape
        if location.kind == "remote":
            return self._fetch(image, time)
        if location.kind == "pixels":
            planes = np.memmap(location.path, image.dtype.newbyteorder(">"), "r", shape=image.shape)
            return planes[time].swapaxes(0, 1).astype(image.dtype)
        with _opened(location, image.shape) as raw:
            block = raw.read(time, range(channels), range(zs))
        return np.ascontiguousarray(block.swapaxes(0, 1).astype(image.dtype, copy=False))

    def _fetch(self, image: OmeroImage, time: int) -> np.ndarray:
        _, channels, zs, height, width = image.shape
        planes = np.empty((zs, channels, height, width), image.dtype)
        wire = image.dtype.newbyteorder(">")
        context = self.gateway.SERVICE_OPTS.copy()
        context.setOmeroGroup(str(image.group_id))
        store = self.gateway.c.sf.createRawPixelsStore(context)
        try:
            store.setPixelsId(image.pixels_id, False, context)
            for z, c, y, x in np.ndindex(zs, channels, -(-height // TILE), -(-width // TILE)):
                rows_, columns = min(TILE, height - y * TILE), min(TILE, width - x * TILE)
                data = store.getTile(z, c, time, x * TILE, y * TILE, columns, rows_, context)
                tile = np.frombuffer(data, wire).reshape(rows_, columns)
                planes[z, c, y * TILE :, x * TILE :][:rows_, :columns] = tile
        finally:
            store.close(context)
        return planes

    def _tags(self, image_ids: Sequence[int]) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        query = (
            "select l.parent.id, t.textValue from ImageAnnotationLink l, TagAnnotation t "
            "where l.child.id = t.id and l.parent.id in (:ids)"
        )
        for batch in batches(image_ids):
            for number, text in rows(self.gateway, query, ids=batch):
                found.setdefault(number, set()).add(text)
        return found


def data_folders(repositories: Iterable[str]) -> list[str]:
    """Folders of the server that can hold its `Pixels`, the most probable first.

    It is the one around the managed repository, which may have been put elsewhere, or the
    root of the public one; that both name it tells them from the folder of the scripts.
    """
    roots = [PurePosixPath(root) for root in repositories]
    counted = Counter([*(root.parent for root in roots), *roots])
    return [str(folder).rstrip("/") for folder, _ in counted.most_common()]


def store_location(server_path: str, disk: ServerDisk) -> Location:
    """A registered OME-Zarr, by its path on the server."""
    store = disk.locate(server_path)
    disk.check_links(store)
    return Location("ngff", store)


@dataclass(frozen=True)
class FilesetPart:
    """A file of a fileset on this machine, or an OME-Zarr, which counts once, by its folder.

    Attributes
    ----------
    fields : paths of its images, of an OME-Zarr plate.
    """

    path: Path
    is_store: bool
    fields: tuple[str, ...] = ()


def fileset_parts(
    files: Sequence[tuple[str, str, str]], roots: Mapping[str, str], disk: ServerDisk
) -> list[FilesetPart]:
    """What a fileset consists of, in its order.

    Raises `PathRefused` when one of the files may not be read, or is not there.
    """
    paths: dict[str, bool] = {}
    for folder, name, repository in files:
        if repository not in roots:
            raise PathRefused(f"{name} lies in the repository {repository}, which is not known.")
        path = repository_path(roots[repository], folder, name)
        store = zarr_root(path)
        paths[store or path] = store is not None
    found = []
    for path, is_store in paths.items():
        real = disk.locate(path)
        fields = plate_fields(real) if is_store else None
        found.append(FilesetPart(real, is_store, tuple(fields or ())))
    return found


def fileset_locations(
    parts: Sequence[FilesetPart], series: int, disk: ServerDisk
) -> list[Location]:
    """Where the image `series` of a fileset can be: of a plate, in the field that it means."""
    found = []
    for part in parts:
        path, position = part.path, series
        if series < len(part.fields):
            # A field's name comes from a file: it is looked at like any other path.
            path, position = ServerDisk((path,)).locate(f"{path}/{part.fields[series]}"), 0
        if part.is_store:
            disk.check_links(path)
        found.append(Location("fileset", path, position))
    return found


def plate_fields(store: Path) -> list[str] | None:
    """Paths of the fields of an OME-Zarr plate, well by well; None when it is no plate."""
    plate = _ome(store).get("plate")
    if plate is None:
        return None
    fields = []
    inside = ServerDisk((store,))  # the wells' names come from a file
    for well in plate["wells"]:
        images = _ome(inside.locate(f"{store}/{well['path']}")).get("well", {}).get("images", [])
        fields += [f"{well['path']}/{image['path']}" for image in images]
    return fields


def _ome(group: Path) -> dict:
    """OME metadata of a Zarr group: under "ome" in 0.5, on top in 0.4."""
    for name, inside in (("zarr.json", ("attributes", "ome")), (".zattrs", ())):
        try:
            attributes = json.loads((group / name).read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise InputError(f"The metadata {group / name} cannot be read: {error}.") from error
        for key in inside:
            attributes = attributes.get(key, {})
        return attributes
    return {}


@contextmanager
def _opened(location: Location, shape: Sequence[int]) -> Iterator["RawImage"]:
    """Open the image of a location; what is wrong with its file becomes a sentence.

    An axis that the file does not name is the one that has more than one plane by
    `shape` (T, C, Z, Y, X), the server's.
    """
    from lib.preprocess.readers.image import UNNAMED
    from lib.preprocess.readers.read import open_raw
    from lib.preprocess.readers.source import RawImageError, RawSource, naming

    with naming(RawSource(location.path)), open_raw(location.path) as file:
        if location.position >= file.n_positions:
            raise RawImageError(f"has no image {location.position}: it holds {file.n_positions}")
        image = file.image(location.position)
        if UNNAMED in image.sizes:
            several = [axis for axis, n in zip("TCZ", shape, strict=False) if n > 1]
            image.name_unnamed(several[0] if len(several) == 1 else UNNAMED)
        yield image


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(f"{axis}{n}" for axis, n in zip("TCZYX", shape, strict=True))


def _within(entry: ImageEntry, date: tuple[datetime | None, datetime | None] | None) -> bool:
    if date is None:
        return True
    first, last = date
    if entry.acquired is None:
        return False
    return (first is None or entry.acquired >= first.astimezone()) and (
        last is None or entry.acquired <= last.astimezone()
    )
