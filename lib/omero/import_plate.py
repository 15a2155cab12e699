"""A plate of results into OMERO: made once, resumed where it stopped, marked until it is whole.

Fields are saved with their images and channels in one call, so they are there
whole or not at all. The plate carries a key by which a later run finds it, and
a status that says "importing" until the last step is done; so does each well.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lib.omero.connection import NoPermission, group_id
from lib.omero.import_image import (
    NAMESPACE,
    Enumerations,
    ImageDescription,
    check_text,
    delete_objects,
    image_object,
    map_annotation,
    raw_planes,
    upload_planes,
    writing,
)
from lib.omero.import_tables import attach_files
from lib.omero.queries import ALL_GROUPS, batches, rows
from lib.omero.stages import Mode
from lib.shared.errors import InputError
from lib.shared.files import atomic_path

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway
    from omero.model import WellI, WellSampleI


KEY_PREFIX = "poolscope/"
IMPORTING, COMPLETE = "importing", "complete"
RESULTS_PLATE = "results plate"  # in the provenance
FIELDS_IN_A_CALL = 64  # with their images some hundred objects for each field
WELL = re.compile(r"([A-Z]{1,2})([0-9]{1,2})")

OWN_PLATES = """
    select p.id, p.externalIdentifier, p.status from Plate p
    where p.externalIdentifier = :key and p.details.owner.id = :owner order by p.id
"""
PLATE_IMAGES = """
    select s.well.id, s.well.row, s.well.column, i.id, i.name, s.id, s.well.status
    from WellSample s join s.image i where s.well.plate.id = :plate order by s.id
"""
WELL_WITH_FIELDS = "select w from Well w left outer join fetch w.wellSamples where w.id = :id"


@dataclass(frozen=True)
class FieldImage:
    """One image of one field of a well.

    Attributes
    ----------
    image : its metadata; the name is unique within the plate.
    well : such as "A1".
    acquisition : name of the plate run that it belongs to (a stage, a cycle).
    path : the file whose planes are uploaded; for `register` the store in
        `image.store` is read by the server, and this is not opened.
    position : (y, x) of the stage in micrometres, where known.
    masks : names and label images (Y, X) whose objects are drawn over it.
    """

    image: ImageDescription
    well: str
    acquisition: str
    path: Path
    position: tuple[float, float] | None = None
    masks: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class PlateImport:
    """What is to be in OMERO when all is done.

    Attributes
    ----------
    key : names the plate for ever, such as "my_screen/P-1": a second import
        under it finds the first.
    images : in the order of wells and fields.
    tables : files that are attached to the plate.
    provenance : run, version, commit, config hash, inputs and time, in order.
    screen : name of the screen to put the plate into, made when missing, or its number.
    source_plate : number of the plate of raw images; it gets the same annotation and tags.
    mask_cap : most objects that are drawn over an image.
    """

    key: str
    name: str
    images: tuple[FieldImage, ...]
    tables: tuple[Path, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    screen: str | int | None = None
    tags: tuple[str, ...] = ()
    source_plate: int | None = None
    mask_cap: int = 2000

    def digest(self) -> str:
        """Identify the contents: images with their metadata and files, and tables.

        The time of the run and the like are no part of it: the same results are
        imported once.
        """
        masks = (path for entry in self.images for _, path in entry.masks)
        files = chain((entry.path for entry in self.images), masks, self.tables)
        described = ([asdict(entry.image), entry.well, entry.acquisition] for entry in self.images)
        digest = hashlib.sha256(b"[[")
        _add_list(digest, described)
        digest.update(b"], [")
        _add_list(digest, map(_stamp, files))
        digest.update(b"]]")
        return digest.hexdigest()[:16]


def import_plate(
    gateway: "BlitzGateway", plate: PlateImport, mode: Mode, replace: bool = False
) -> dict[str, object]:
    """Bring a plate into OMERO, or finish bringing it; returns the receipt.

    Parameters
    ----------
    mode : "register" has the server read OME-Zarr stores where they lie,
        "upload" sends every plane.
    replace : a plate of the same key with other contents is deleted, after the
        new one is complete. Without it that is an error.

    Raises
    ------
    InputError
        When the plan is wrong, or other contents are there under the key.
    NoPermission
        When the user may not annotate the source plate or write to the screen;
        known before anything is made.
    """
    _check(plate, mode)
    check_rights(gateway, plate.source_plate, plate.screen)
    digest = plate.digest()
    plate_id, done, others = _find_or_make_plate(gateway, plate, digest, replace)
    if not done:
        _delete_twins(gateway, plate_id)
        _import_wells(gateway, plate, plate_id, mode)
        _delete_twins(gateway, plate_id)
        _draw_masks(gateway, plate, _image_numbers(gateway, plate, plate_id))
        attach_files(gateway, plate_id, plate.tables)
    # A plate that is there already may get tags, or its source plate, afterwards.
    _describe(gateway, plate, plate_id)
    if not done:
        _set_status(gateway, "Plate", plate_id, f"{COMPLETE} {digest}")
    for other in others:
        delete_plate(gateway, other)
    return receipt(gateway, plate, plate_id, mode, digest)


def write_receipt(path: Path, values: Mapping[str, object]) -> None:
    """Write a receipt as JSON; it appears whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n")


def receipt(
    gateway: "BlitzGateway", plate: PlateImport, plate_id: int, mode: Mode, digest: str
) -> dict[str, object]:
    """The numbers of all that an import made, as the server tells them."""
    found = rows(gateway, PLATE_IMAGES, plate=plate_id)
    wells = {well_name(row, column): number for number, row, column, *_ in found}
    acquisitions = rows(
        gateway, "select a.name, a.id from PlateAcquisition a where a.plate.id = :plate",
        plate=plate_id,
    )  # fmt: skip
    annotations = {
        kind: [
            number
            for (number,) in rows(
                gateway,
                f"select a.id from PlateAnnotationLink l, {kind} a "
                "where l.child.id = a.id and l.parent.id = :plate order by a.id",
                plate=plate_id,
            )
        ]
        for kind in ("MapAnnotation", "FileAnnotation", "TagAnnotation")
    }
    screens = rows(
        gateway, "select l.parent.id from ScreenPlateLink l where l.child.id = :plate "
        "order by l.id", plate=plate_id,
    )  # fmt: skip
    return {
        "key": KEY_PREFIX + plate.key,
        "digest": digest,
        "mode": mode,
        "host": gateway.c.getProperty("omero.host"),
        "group": group_id(gateway),
        "plate": plate_id,
        "screens": [number for (number,) in screens],
        "source_plate": plate.source_plate,
        "acquisitions": dict(acquisitions),
        "wells": wells,
        "images": {name: number for _, _, _, number, name, _, _ in found},
        "annotations": annotations,
    }


def incomplete_plates(gateway: "BlitzGateway") -> list[tuple[int, str]]:
    """(number, name) of the user's own plates whose import was never finished."""
    query = (
        "select p.id, p.name from Plate p where p.externalIdentifier like :prefix "
        "and p.status like :status and p.details.owner.id = :owner order by p.id"
    )
    return rows(
        gateway, query, prefix=f"{KEY_PREFIX}%", status=f"{IMPORTING}%", owner=gateway.getUserId()
    )


def delete_plate(gateway: "BlitzGateway", plate_id: int) -> None:
    """Delete a plate that an import made, with its images and annotations.

    The provenance goes from its source plate, too, which would else tell of results that
    are not there. Raises `InputError` for a plate that Poolscope did not make.
    """
    plate = object_by_number(gateway, "Plate", plate_id)
    if plate is None:
        raise InputError(
            f"OMERO has no plate {plate_id}, or user {gateway.getUser().getName()} may not read it."
        )
    if not (plate.getExternalIdentifier() or "").startswith(KEY_PREFIX):
        raise InputError(f"OMERO plate {plate_id} was not made by Poolscope: it is not deleted.")
    with in_group(gateway, plate.getDetails().getGroup().getId()):
        told = [
            annotation.getId()
            for annotation in plate.listAnnotations(NAMESPACE)
            if annotation.isOwned()
            and dict(annotation.getValue()).get(RESULTS_PLATE) == str(plate_id)
        ]
        if told:
            delete_objects(gateway, "Annotation", told)
        delete_objects(gateway, "Plate", [plate_id])
    if object_by_number(gateway, "Plate", plate_id) is not None:
        raise NoPermission(f"OMERO did not delete plate {plate_id}: ask its owner.")


def well_name(row: int, column: int) -> str:
    """Name of a well by row and column from 0: "A1", "AF48"."""
    letters = chr(ord("A") + row % 26)
    return f"{chr(ord('A') + row // 26 - 1) if row >= 26 else ''}{letters}{column + 1}"


def well_place(name: str) -> tuple[int, int]:
    """Row and column, from 0, of a well such as "A1" or "AF48"."""
    match = WELL.fullmatch(name)
    if match is None or int(match[2]) == 0:
        raise InputError(f"The well {name} is none that OMERO has: such as A1 to AF48.")
    row = 0
    for letter in match[1]:
        row = row * 26 + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


# Steps


def _check(plate: PlateImport, mode: Mode) -> None:
    if not plate.images:
        raise InputError(f"There is no image to import for {plate.name}.")
    check_text(KEY_PREFIX + plate.key, "the key of the plate")
    check_text(plate.name, "the name of the plate")
    name, times = Counter(entry.image.name for entry in plate.images).most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} images of {plate.name} are called {name}: name each once.")
    for entry in plate.images:
        well_place(entry.well)
        check_text(entry.image.name, "the image name")
        check_text(entry.image.store or "", "the path of the store")
        if mode == "register" and not Path(entry.image.store or "").is_absolute():
            raise InputError(
                f"The image {entry.image.name} has no OME-Zarr store with an absolute path: "
                "registering needs one that the server sees under the same path."
            )
        if mode == "upload" and entry.image.store is not None:
            raise InputError(f"The image {entry.image.name} has a store: it would be registered.")
    for path in plate.tables:
        if not path.is_file():
            raise InputError(f"The table {path} does not exist.")


def check_rights(
    gateway: "BlitzGateway", source_plate: int | None, screen: str | int | None
) -> None:
    """Refuse before anything is made what the server would refuse later.

    Raises `NoPermission` when the user may not annotate the source plate or put
    plates into the screen, and `InputError` when the source is in another group.
    """
    user = gateway.getUser().getName()
    if source_plate is not None:
        source = object_by_number(gateway, "Plate", source_plate)
        if source is None:
            raise NoPermission(
                f"OMERO has no plate {source_plate}, or user {user} may not read it."
            )
        if not source.canAnnotate():
            raise NoPermission(
                f"User {user} may not annotate the source plate {source_plate} "
                f"({source.getName()}): ask its owner."
            )
        if source.getDetails().getGroup().getId() != group_id(gateway):
            raise InputError(
                f"The source plate {source_plate} is in the OMERO group "
                f"{source.getDetails().getGroup().getName()}, and links do not cross groups: set "
                "OMERO_GROUP to it."
            )
    if isinstance(screen, int):
        found = object_by_number(gateway, "Screen", screen)
        if found is None or not found.canLink():
            raise NoPermission(f"User {user} may not put plates into the screen {screen}.")


def object_by_number(gateway: "BlitzGateway", kind: str, number: int) -> object:
    """An object of any of the user's groups, by number."""
    with in_group(gateway, ALL_GROUPS):
        return gateway.getObject(kind, number)


@contextmanager
def in_group(gateway: "BlitzGateway", number: int) -> Iterator[None]:
    """Have calls made in a group, or in all of them (-1)."""
    previous = gateway.SERVICE_OPTS.getOmeroGroup()
    gateway.SERVICE_OPTS.setOmeroGroup(str(number))
    try:
        yield
    finally:
        gateway.SERVICE_OPTS.setOmeroGroup(previous)


def _find_or_make_plate(
    gateway: "BlitzGateway", plate: PlateImport, digest: str, replace: bool
) -> tuple[int, bool, list[int]]:
    """Number of the plate to fill, whether it is complete, and the plates to delete after it."""
    key = KEY_PREFIX + plate.key
    found = rows(gateway, OWN_PLATES, group=group_id(gateway), key=key, owner=gateway.getUserId())
    same = [(number, status) for number, _, status in found if (status or "").endswith(digest)]
    others = [number for number, _, status in found if not (status or "").endswith(digest)]
    finished = [n for n, _, status in found if n in others and (status or "").startswith(COMPLETE)]
    if finished and not replace:
        raise InputError(
            f"OMERO plate {finished[0]} has other contents under the key {key}: import under "
            "another name, or set omero.replace."
        )
    if same:
        # A complete one goes before one that was begun; the lowest number counts.
        number, status = min(same, key=lambda pair: (not pair[1].startswith(COMPLETE), pair[0]))
        others += [other for other, _ in same if other != number]
        return number, status.startswith(COMPLETE), others
    return _make_plate(gateway, plate, f"{IMPORTING} {digest}"), False, others


def _make_plate(gateway: "BlitzGateway", plate: PlateImport, status: str) -> int:
    """Save the plate with its runs, linked to its screen, in one call."""
    import omero.model
    from omero.rtypes import rint, rstring

    places = [well_place(entry.well) for entry in plate.images]
    made = omero.model.PlateI()
    made.setName(rstring(plate.name))
    made.setRows(rint(max(row for row, _ in places) + 1))
    made.setColumns(rint(max(column for _, column in places) + 1))
    made.setRowNamingConvention(rstring("letter"))
    made.setColumnNamingConvention(rstring("number"))
    made.setExternalIdentifier(rstring(KEY_PREFIX + plate.key))
    made.setStatus(rstring(status))
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in plate.images:
        counts[entry.acquisition][entry.well] += 1
    for name, wells in counts.items():
        acquisition = omero.model.PlateAcquisitionI()
        acquisition.setName(rstring(name))
        acquisition.setMaximumFieldCount(rint(max(wells.values())))
        made.addPlateAcquisition(acquisition)
    if plate.screen is not None:
        link = omero.model.ScreenPlateLinkI()
        link.setParent(_screen(gateway, plate.screen))
        made.addScreenPlateLink(link)
    return gateway.getUpdateService().saveAndReturnObject(made, writing(gateway)).id.val


def _screen(gateway: "BlitzGateway", screen: str | int) -> object:
    """The screen by number, or the user's own by name, or a new one that is saved with the link."""
    import omero.model
    from omero.rtypes import rstring

    if isinstance(screen, int):
        return omero.model.ScreenI(screen, False)
    query = (
        "select s.id from Screen s where s.name = :name and s.details.owner.id = :owner "
        "order by s.id"
    )
    found = rows(gateway, query, group=group_id(gateway), name=screen, owner=gateway.getUserId())
    if found:
        return omero.model.ScreenI(found[0][0], False)
    made = omero.model.ScreenI()
    made.setName(rstring(screen))
    return made


def _import_wells(gateway: "BlitzGateway", plate: PlateImport, plate_id: int, mode: Mode) -> None:
    """Make the wells and fields that are missing, with their planes.

    Pixels have a checksum on the server, which is no sign that they are whole: it
    also makes one of what a broken connection left. So each well says in its
    status how many of its images were sent, in the order of the plan. The others
    are made anew: the server does not let pixels be written a second time.
    """
    saver = _FieldSaver(gateway, plate_id)
    samples: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    wells: dict[tuple[int, int], tuple[int, str]] = {}
    for number, row, column, _, name, sample, status in rows(gateway, PLATE_IMAGES, plate=plate_id):
        samples[row, column][name] = sample
        wells[row, column] = (number, status or "")
    for well, entries in _by_well(plate.images):
        place = well_place(well)
        well_id, status = wells.get(place, (None, IMPORTING))
        if status == COMPLETE:
            continue
        if mode == "upload":
            n_sent = int(status.removeprefix(IMPORTING) or 0)
            well_id = _upload_well(gateway, saver, well_id, entries, samples[place], n_sent)
        elif well_id is None and len(entries) <= FIELDS_IN_A_CALL:
            saver.save_complete(well, entries)
            continue
        else:
            missing = [entry for entry in entries if entry.image.name not in samples[place]]
            for batch in batches(missing, FIELDS_IN_A_CALL):
                well_id, _ = saver(well, well_id, batch)
        _set_status(gateway, "Well", well_id, COMPLETE)


def _upload_well(
    gateway: "BlitzGateway",
    saver: "_FieldSaver",
    well_id: int | None,
    entries: Sequence[FieldImage],
    samples: Mapping[str, int],
    n_sent: int,
) -> int:
    """Make the fields of a well from the number `n_sent` on, with their planes.

    `samples` are the numbers of the fields that are there, by image. Returns the well.
    """
    sent = {entry.image.name for entry in entries[:n_sent]}
    begun = [number for name, number in samples.items() if name not in sent]
    if begun:  # they are the last of the well, so the order of the others stays
        delete_objects(gateway, "WellSample", begun)
    for batch in batches(entries[n_sent:], FIELDS_IN_A_CALL):
        well_id, pixels = saver(batch[0].well, well_id, batch)
        for entry in batch:
            _send(gateway, entry, pixels[entry.image.name])
            n_sent += 1
            if n_sent < len(entries):
                _set_status(gateway, "Well", well_id, f"{IMPORTING} {n_sent}")
    return well_id


def _image_numbers(gateway: "BlitzGateway", plate: PlateImport, plate_id: int) -> dict[str, int]:
    """Numbers of the images by name; refuses a plate that does not have each once."""
    found = rows(gateway, PLATE_IMAGES, plate=plate_id)
    numbers = {name: number for *_, number, name, _, _ in found}
    if len(found) != len(plate.images) or numbers.keys() != {e.image.name for e in plate.images}:
        raise InputError(
            f"OMERO plate {plate_id} has {len(found)} images, not {len(plate.images)}: "
            "did another import work at it? Remove it (python -m lib.omero clean) and import it "
            "again."
        )
    return numbers


def _delete_twins(gateway: "BlitzGateway", plate_id: int) -> None:
    """Delete wells that are there twice, and keep a complete one, or else the first.

    The server may carry out the last call of an import that was killed when the
    next one has already looked.
    """
    query = "select w.row, w.column, w.id, w.status from Well w where w.plate.id = :plate"
    wells: dict[tuple[int, int], list[tuple[bool, int]]] = defaultdict(list)
    for row, column, number, status in rows(gateway, query, plate=plate_id):
        wells[row, column].append((status != COMPLETE, number))
    twins = [number for found in wells.values() for _, number in sorted(found)[1:]]
    if twins:
        delete_objects(gateway, "Well", twins)


def _by_well(images: Sequence[FieldImage]) -> Iterator[tuple[str, list[FieldImage]]]:
    wells: dict[str, list[FieldImage]] = defaultdict(list)
    for entry in images:
        wells[entry.well].append(entry)
    yield from wells.items()


class _FieldSaver:
    """Saves fields of wells, each with its image, several in one call."""

    def __init__(self, gateway: "BlitzGateway", plate_id: int) -> None:
        self.gateway, self.plate_id = gateway, plate_id
        self.enumerations = Enumerations(gateway)
        query = "select a.name, a.id from PlateAcquisition a where a.plate.id = :plate"
        self.acquisitions = dict(rows(gateway, query, plate=plate_id))

    def save_complete(self, well: str, entries: Sequence[FieldImage]) -> None:
        """Save a well with all its fields, of which no plane is to be sent.

        Nothing of it comes back: to read the answer costs as much as to ask.
        """
        made = self._well(well, entries, COMPLETE)
        self.gateway.getUpdateService().saveObject(made, writing(self.gateway))

    def __call__(
        self, well: str, well_id: int | None, entries: Sequence[FieldImage]
    ) -> tuple[int, dict[str, int]]:
        """Save all of `entries` or none; returns the well and the numbers of pixels by image.

        A well without a number is made with them. One that is there already is saved with
        the list of its fields: the server orders them by it, and takes none without.
        """
        from omero.sys import ParametersI

        update, context = self.gateway.getUpdateService(), writing(self.gateway)
        if well_id is None:
            made, n_present = self._well(well, entries, IMPORTING), 0
        else:
            query = self.gateway.getQueryService()
            made = query.findByQuery(WELL_WITH_FIELDS, ParametersI().addId(well_id), context)
            n_present = made.sizeOfWellSamples()
            made.addAllWellSampleSet([self._sample(entry) for entry in entries])
        saved = update.saveAndReturnObject(made, context)
        images = [sample.getImage() for sample in saved.copyWellSamples()[n_present:]]
        return saved.id.val, {image.name.val: image.getPixels(0).id.val for image in images}

    def _well(self, name: str, entries: Sequence[FieldImage], status: str) -> "WellI":
        import omero.model
        from omero.rtypes import rint, rstring

        row, column = well_place(name)
        well = omero.model.WellI()
        well.setPlate(omero.model.PlateI(self.plate_id, False))
        well.setRow(rint(row))
        well.setColumn(rint(column))
        well.setExternalIdentifier(rstring(name))
        well.setStatus(rstring(status))
        well.addAllWellSampleSet([self._sample(entry) for entry in entries])
        return well

    def _sample(self, entry: FieldImage) -> "WellSampleI":
        import omero.model

        sample = omero.model.WellSampleI()
        run = self.acquisitions[entry.acquisition]
        sample.setPlateAcquisition(omero.model.PlateAcquisitionI(run, False))
        if entry.position is not None:
            unit = omero.model.enums.UnitsLength.MICROMETER
            sample.setPosY(omero.model.LengthI(float(entry.position[0]), unit))
            sample.setPosX(omero.model.LengthI(float(entry.position[1]), unit))
        sample.setImage(image_object(entry.image, self.enumerations))
        return sample


def _send(gateway: "BlitzGateway", entry: FieldImage, pixels_id: int) -> None:
    with raw_planes(entry.path) as (shape, dtype, read):
        if shape != tuple(entry.image.shape) or dtype != entry.image.dtype:
            raise InputError(
                f"{entry.path} holds {dtype} of {shape}, unlike {entry.image.dtype} of "
                f"{tuple(entry.image.shape)} as planned: did it change meanwhile?"
            )
        upload_planes(gateway, pixels_id, shape, dtype, read)


def _draw_masks(gateway: "BlitzGateway", plate: PlateImport, numbers: Mapping[str, int]) -> None:
    """Draw the objects of label images over the images, of which `numbers` are by name."""
    from lib.omero.import_masks import import_masks
    from lib.shared.image_io import read_image

    for entry in plate.images:
        for name, path in entry.masks:
            labels = read_image(path).squeeze()
            import_masks(gateway, numbers[entry.image.name], name, labels, plate.mask_cap)


def _describe(gateway: "BlitzGateway", plate: PlateImport, plate_id: int) -> None:
    """Link provenance and tags to the plate and its source, each unless it is there."""
    targets = [plate_id] + ([] if plate.source_plate is None else [plate.source_plate])
    _annotate(gateway, plate, plate_id, targets)
    for tag in plate.tags:
        _tag(gateway, tag, targets)


def _annotate(
    gateway: "BlitzGateway", plate: PlateImport, plate_id: int, targets: Sequence[int]
) -> None:
    linked = rows(
        gateway, "select l.child.id from PlateAnnotationLink l where l.parent.id = :plate "
        "and l.child.ns = :ns order by l.child.id", plate=plate_id, ns=NAMESPACE,
    )  # fmt: skip
    if linked:
        _link(gateway, linked[0][0], "MapAnnotation", targets)
        return
    values = {"plate": KEY_PREFIX + plate.key, RESULTS_PLATE: plate_id}
    if plate.source_plate is not None:
        values["source plate"] = plate.source_plate
    made = map_annotation({**values, **plate.provenance})
    _save_links(gateway, made, targets)


def _tag(gateway: "BlitzGateway", text: str, targets: Sequence[int]) -> None:
    import omero.model
    from omero.rtypes import rstring

    check_text(text, "the tag")
    query = (
        "select t.id from TagAnnotation t where t.textValue = :text and t.ns is null "
        "and t.details.owner.id = :owner order by t.id"
    )
    found = rows(gateway, query, group=group_id(gateway), text=text, owner=gateway.getUserId())
    if found:
        _link(gateway, found[0][0], "TagAnnotation", targets)
        return
    tag = omero.model.TagAnnotationI()
    tag.setTextValue(rstring(text))
    _save_links(gateway, tag, targets)


def _link(gateway: "BlitzGateway", number: int, kind: str, targets: Sequence[int]) -> None:
    """Link an annotation to the plates that lack it."""
    import omero.model

    linked = rows(
        gateway, "select l.parent.id from PlateAnnotationLink l where l.child.id = :child "
        "and l.details.owner.id = :owner", child=number, owner=gateway.getUserId(),
    )  # fmt: skip
    missing = [target for target in targets if (target,) not in linked]
    if missing:
        _save_links(gateway, getattr(omero.model, f"{kind}I")(number, False), missing)


def _save_links(gateway: "BlitzGateway", annotation: object, targets: Sequence[int]) -> None:
    """Save an annotation with all its links in one call."""
    import omero.model

    links = []
    for target in targets:
        link = omero.model.PlateAnnotationLinkI()
        link.setParent(omero.model.PlateI(target, False))
        link.setChild(annotation)
        links.append(link)
    gateway.getUpdateService().saveAndReturnArray(links, writing(gateway))


def _set_status(gateway: "BlitzGateway", kind: str, number: int, status: str) -> None:
    from omero.rtypes import rstring

    found = gateway.getQueryService().get(kind, number, writing(gateway))
    found.setStatus(rstring(status))
    gateway.getUpdateService().saveObject(found, writing(gateway))


def _add_list(digest: "hashlib._Hash", values: Iterable) -> None:
    """Add the JSON of values, one by one: a plate has thousands."""
    for number, value in enumerate(values):
        text = json.dumps(value, sort_keys=True, default=str)
        digest.update(f"{', ' if number else ''}{text}".encode())


def _stamp(path: Path) -> tuple[str, int, int]:
    """What tells that a file is another one: its path, size and time of change."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be imported: {error.strerror}.") from None
    return str(path), state.st_size, state.st_mtime_ns
