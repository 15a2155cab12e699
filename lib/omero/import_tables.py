"""Files attached to a plate: reads, cells and features as they lie on disk."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib.omero.import_image import Enumerations, check_text, writing
from lib.omero.queries import rows

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

NAMESPACE = "poolscope/table/v1"
BLOCK = 2**22  # bytes of a file in one call
HASHER = "SHA1-160"
MIMETYPES = {
    ".tsv": "text/tab-separated-values",
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
}
ATTACHED = """
    select f.id, f.name, f.size, f.hash from PlateAnnotationLink l, FileAnnotation a join a.file f
    where l.child.id = a.id and l.parent.id = :plate and a.ns = :ns order by f.id
"""


def attach_files(gateway: "BlitzGateway", plate_id: int, paths: Sequence[Path]) -> None:
    """Attach files to a plate by their names; those that are there whole are left alone.

    Annotation, link and an empty file are saved in one call before the bytes go
    out, so a file whose sending broke off is found again and sent anew.
    """
    found = {
        name: (number, size, digest)
        for number, name, size, digest in rows(gateway, ATTACHED, plate=plate_id, ns=NAMESPACE)
    }
    enumerations = Enumerations(gateway)
    for path in paths:
        size, digest = path.stat().st_size, _sha1(path)
        number, *there = found.get(path.name, (None,))
        if number is None:
            number = _announce(gateway, plate_id, path, enumerations)
        if there != [size, digest]:
            _send(gateway, number, path)


def _announce(
    gateway: "BlitzGateway", plate_id: int, path: Path, enumerations: Enumerations
) -> int:
    """Save the link to a file that has no bytes yet; returns the number of the file."""
    import omero.model
    from omero.rtypes import rlong, rstring

    check_text(path.name, "the name of the table")
    file = omero.model.OriginalFileI()
    file.setName(rstring(path.name))
    file.setPath(rstring(f"{path.parent}/"))
    file.setSize(rlong(0))
    # Without it the server makes no checksum of the bytes.
    file.setHasher(enumerations("ChecksumAlgorithm", HASHER))
    file.setMimetype(rstring(MIMETYPES.get(path.suffix, "application/octet-stream")))
    annotation = omero.model.FileAnnotationI()
    annotation.setNs(rstring(NAMESPACE))
    annotation.setFile(file)
    link = omero.model.PlateAnnotationLinkI()
    link.setParent(omero.model.PlateI(plate_id, False))
    link.setChild(annotation)
    saved = gateway.getUpdateService().saveAndReturnObject(link, writing(gateway))
    return saved.getChild().getFile().id.val


def _send(gateway: "BlitzGateway", number: int, path: Path) -> None:
    """Send the bytes of a file in blocks; the server then notes size and checksum."""
    context = writing(gateway)
    store = gateway.c.sf.createRawFileStore(context)
    try:
        store.setFileId(number, context)
        position = 0
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                store.write(block, position, len(block), context)
                position += len(block)
        store.truncate(position, context)  # of a longer file that was sent before
        store.save(context)
    finally:
        store.close(context)


def _sha1(path: Path) -> str:
    """What the server itself computes of a file that it is sent."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
