"""Labelled objects as masks over an image, for looking at: few, since each is a database row."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.omero.import_image import check_text, writing
from lib.omero.queries import rows

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

COLOURS = (0xE6194BFF, 0x3CB44BFF, 0x4363D8FF, 0xF58231FF, 0x911EB4FF, 0x46F0F0FF)
ALPHA = 0x60


@dataclass(frozen=True)
class LabelMask:
    """One object: its label, its box (first row and column, rows, columns), its bits."""

    label: int
    y: int
    x: int
    height: int
    width: int
    bits: bytes


def label_masks(labels: np.ndarray, cap: int) -> list[LabelMask]:
    """Masks of the first `cap` objects of (Y, X) labels, by label.

    Bits go row by row, the first pixel in the highest bit, without padding of rows.
    """
    from scipy import ndimage

    masks = []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue  # numbers may have gaps
        if len(masks) == cap:
            break
        inside = labels[box] == label
        height, width = inside.shape
        bits = np.packbits(inside).tobytes()
        masks.append(LabelMask(label, box[0].start, box[1].start, height, width, bits))
    return masks


def import_masks(
    gateway: "BlitzGateway", image_id: int, name: str, labels: np.ndarray, cap: int
) -> int:
    """Put masks called "`name` 17" on an image, all in one call; returns how many it has.

    An image that has masks of this name keeps them.
    """
    import omero.model
    from omero.rtypes import rdouble, rint, rstring

    check_text(name, "the name of the labels")
    count = "select count(r.id) from Roi r where r.image.id = :image and r.name like :name"
    present = rows(gateway, count, image=image_id, name=f"{name} %")[0][0]
    if present:
        return present
    made = []
    for mask in label_masks(labels, cap):
        shape = omero.model.MaskI()
        for key in ("x", "y", "width", "height"):
            getattr(shape, f"set{key.title()}")(rdouble(getattr(mask, key)))
        shape.setBytes(mask.bits)
        shape.setTextValue(rstring(str(mask.label)))
        shape.setFillColor(rint(_signed(COLOURS[mask.label % len(COLOURS)])))
        roi = omero.model.RoiI()
        roi.setName(rstring(f"{name} {mask.label}"))
        roi.setImage(omero.model.ImageI(image_id, False))
        roi.addShape(shape)
        made.append(roi)
    if made:
        gateway.getUpdateService().saveAndReturnIds(made, writing(gateway))
    return len(made)


def _signed(colour: int) -> int:
    """RGBA, translucent, as the signed 32-bit number that OMERO keeps."""
    translucent = (colour & 0xFFFFFF00) | ALPHA
    return translucent - 2**32 if translucent >= 2**31 else translucent
