"""TIFF and OME-TIFF, by `tifffile`, page by page.

A file is read for what it holds itself: of a set of OME-TIFF files that name
each other in their metadata, every file is one row of the sample sheet.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from lib.preprocess.readers.image import (
    UNNAMED,
    PlaneInfo,
    RawFile,
    RawImage,
    micrometres,
    pixel_size_or_none,
)
from lib.preprocess.readers.source import RawImageError

CENTIMETRE = 3  # of the tag ResolutionUnit; inches hold a printer's 72 or 300 too often
DESCRIPTION_TAG = 270
MICRO_MANAGER_TAG = 51123
SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0}
Plane = tuple[int, int, int]  # t, c, z


class TiffImageFile(RawFile):
    """An open TIFF; its positions are the images of an OME-TIFF."""

    def __init__(self, path: Path) -> None:
        self._tiff = tifffile.TiffFile(path)
        try:
            _check_whole(self._tiff)
            self._ome = _ome_images(self._tiff, path)
            if not self._ome and len(self._tiff.series) > 1:
                shapes = ", ".join(str(series.shape) for series in self._tiff.series)
                raise RawImageError(f"holds several images of other shapes ({shapes}): split it")
        except BaseException:
            self._tiff.close()
            raise
        self.n_positions = len(self._ome) or 1

    def __exit__(self, *exc_info: object) -> None:
        self._tiff.close()

    def image(self, position: int) -> RawImage:
        if self._ome:
            return OmeTiffImage(self._tiff, self._ome[position])
        return SeriesImage(self._tiff)


@dataclass(frozen=True)
class OmePixels:
    """What the OME-XML says of one image, and which pages of this file hold its planes."""

    image: ElementTree.Element
    pixels: ElementTree.Element
    pages: Mapping[Plane, int]

    def indices(self) -> list[range | list[int]]:
        """The t, c and z that this file stands for: all, or its part of a set of files."""
        files = {uuid.text for uuid in self.pixels.iter() if uuid.tag.endswith("}UUID")}
        if len(files) > 1:
            return [sorted(set(indices)) for indices in zip(*self.pages, strict=True)]
        return [range(int(self.pixels.get(f"Size{axis}"))) for axis in "TCZ"]


class OmeTiffImage(RawImage):
    """One image of an OME-TIFF: of its planes, those inside this file."""

    def __init__(self, tiff: tifffile.TiffFile, ome: OmePixels) -> None:
        self._tiff, self._ome = tiff, ome
        pixels = ome.pixels
        self._own = ome.indices()
        height, width = int(pixels.get("SizeY")), int(pixels.get("SizeX"))
        lengths = (*map(len, self._own), height, width)
        self.sizes = dict(zip("TCZYX", lengths, strict=True))
        self.dtype = tiff.pages[next(iter(ome.pages.values()))].dtype
        names = [channel.get("Name") for channel in _children(pixels, "Channel")]
        if names and None not in names:
            self.channel_names = tuple(names[channel] for channel in self._own[1])
        size = [_length(pixels, f"PhysicalSize{axis}", "µm") for axis in "YX"]
        self.pixel_size = pixel_size_or_none(*size)

    def read(self, time: int, channels: range, zs: range) -> np.ndarray:
        return np.stack(
            [np.stack([self._plane(time, channel, z) for z in zs]) for channel in channels]
        )

    def plane_info(self, time: int, channel: int, z: int) -> PlaneInfo:
        t, c, z = self._in_set(time, channel, z)
        at = {"TheT": t, "TheC": c, "TheZ": z}
        planes = _children(self._ome.pixels, "Plane")
        plane = next(
            (plane for plane in planes if all(int(plane.get(k)) == v for k, v in at.items())), None
        )
        place = [None if plane is None else _length(plane, f"Position{a}", "µm") for a in "XYZ"]
        label = next(iter(_children(self._ome.image, "StageLabel")), None)
        if place[:2] == [None, None] and label is not None:
            place = [_length(label, axis, "reference frame") for axis in "XYZ"]
        return PlaneInfo(*place, acquired=_acquired(self._ome.image, plane))

    def _in_set(self, *index: int) -> Plane:
        return tuple(own[i] for own, i in zip(self._own, index, strict=True))

    def _plane(self, *index: int) -> np.ndarray:
        plane = self._in_set(*index)
        if plane not in self._ome.pages:
            t, c, z = plane
            raise RawImageError(f"lacks the plane t={t}, c={c}, z={z} that its metadata announces")
        page = self._tiff.pages[self._ome.pages[plane]]
        expected = (self.size("Y"), self.size("X"))
        if page.shape != expected:
            raise RawImageError(f"has a page of shape {page.shape} where OME-XML says {expected}")
        return _page_array(self._tiff, page)


class SeriesImage(RawImage):
    """The image of a TIFF that is no OME-TIFF: axes named by ImageJ or tifffile, or not named."""

    def __init__(self, tiff: tifffile.TiffFile) -> None:
        self._tiff, self._series = tiff, tiff.series[0]
        self.sizes = _understood_axes(self._series.axes, self._series.shape)
        self.dtype = self._series.dtype
        self._n_leading = self._count_leading()
        self._array = None if self._is_paged() else self._whole_array()
        self._micro_manager = _tag(tiff, MICRO_MANAGER_TAG) or {}
        self.pixel_size = self._find_pixel_size()
        labels = (tiff.imagej_metadata or {}).get("Labels") if tiff.is_imagej else None
        labels = [labels] if isinstance(labels, str) else labels  # one plane: no list
        if labels and len(labels) >= self.size("C"):
            # ImageJ labels the planes of the stack, in which C runs fastest.
            self.channel_names = tuple(labels[: self.size("C")])

    def read(self, time: int, channels: range, zs: range) -> np.ndarray:
        return np.stack(
            [np.stack([self._plane(time, channel, z) for z in zs]) for channel in channels]
        )

    def plane_info(self, time: int, channel: int, z: int) -> PlaneInfo:
        place = [self._micro_manager.get(f"{axis}PositionUm") for axis in "XYZ"]
        return PlaneInfo(*(None if value is None else float(value) for value in place))

    def _plane(self, time: int, channel: int, z: int) -> np.ndarray:
        at = {"T": time, "C": channel, "Z": z}
        axes, shape, n = tuple(self.sizes), tuple(self.sizes.values()), self._n_leading
        if self._array is not None:
            block, n = self._array, 0
        else:
            page = 0
            for axis, length in zip(axes[:n], shape[:n], strict=True):
                page = page * length + at[axis]
            block = _page_array(self._tiff, self._series.pages[page]).reshape(shape[n:])
        plane = block[tuple(at.get(axis, slice(None)) for axis in axes[n:])]
        return plane if axes.index("Y") < axes.index("X") else plane.T

    def _count_leading(self) -> int:
        """Count the axes that run over pages; the others lie inside a page."""
        shape, pages = tuple(self.sizes.values()), len(self._series.pages)
        for n in range(len(shape)):
            if math.prod(shape[:n]) == pages and math.prod(shape[n:]) == self._series.keyframe.size:
                return n
        return len(shape)  # one directory for a stack, as ImageJ writes beyond 4 GB

    def _is_paged(self) -> bool:
        """Whether each plane lies inside one page."""
        return {"Y", "X"} <= set(tuple(self.sizes)[self._n_leading :])

    def _whole_array(self) -> np.ndarray:
        """The series as one array: mapped from disk where it lies there as such."""
        shape = tuple(self.sizes.values())
        if self._series.dataoffset is None:
            pages = [_page_array(self._tiff, page) for page in self._series.pages]
            return np.stack(pages).reshape(shape)
        dtype = np.dtype(self._tiff.byteorder + self._series.dtype.char)
        return self._tiff.filehandle.memmap_array(dtype, shape, offset=self._series.dataoffset)

    def _find_pixel_size(self) -> tuple[float, float] | None:
        if "PixelSizeUm" in self._micro_manager:
            size = float(self._micro_manager["PixelSizeUm"])
            return pixel_size_or_none(size, size)
        if _tag(self._tiff, "ResolutionUnit") == CENTIMETRE:
            unit = "cm"  # goes before ImageJ's unit "um", as in ImageJ itself
        else:
            unit = str((self._tiff.imagej_metadata or {}).get("unit", ""))
        per_unit = [_tag(self._tiff, f"{axis}Resolution") for axis in "YX"]
        if None in per_unit or 0 in (per_unit[0][0], per_unit[1][0]):
            return None
        return pixel_size_or_none(*(micrometres(n[1] / n[0], unit) for n in per_unit))


def _understood_axes(axes: str, shape: Sequence[int]) -> dict[str, int]:
    """Name the axes of a series in its order; those of length 1 but Y and X are left out."""
    sizes: dict[str, int] = {}
    for place, (axis, n) in enumerate(zip(axes, shape, strict=True)):
        if n == 1 and axis not in "YX":
            continue
        if axis == "S" and place > axes.index("Y"):
            raise RawImageError("is an RGB image: give the raw grey channels")
        # Samples in planes of their own are channels that a writer took for colours.
        name = {"S": "C", "Q": UNNAMED, "I": UNNAMED}.get(axis, axis)
        if name not in ("T", "C", "Z", "Y", "X", UNNAMED) or name in sizes:
            raise RawImageError(
                f"has axes {axes} of lengths {tuple(shape)} that do not tell channels from planes: "
                "save it as OME-TIFF"
            )
        sizes[name] = n
    if not {"Y", "X"} <= set(sizes):
        raise RawImageError(f"has axes {axes}, no image of y and x")
    return sizes


def _check_whole(tiff: tifffile.TiffFile) -> None:
    """Refuse a file that ends before its pages or its description: tifffile only logs that."""
    file, layout = tiff.filehandle, tiff.tiff
    file.seek(tiff.pages.next_page_offset)
    if struct.unpack(layout.offsetformat, file.read(layout.offsetsize))[0] != 0:
        raise RawImageError(f"is truncated after page {len(tiff.pages)}: copy it again")
    file.seek(tiff.pages.first.offset)
    n_tags = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))[0]
    tags = file.read(n_tags * layout.tagsize)
    codes = [
        struct.unpack_from(f"{layout.byteorder}H", tags, n * layout.tagsize) for n in range(n_tags)
    ]
    if (DESCRIPTION_TAG,) in codes and _tag(tiff, DESCRIPTION_TAG) is None:
        raise RawImageError("is truncated before its description: copy it again")


def _page_array(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage | tifffile.TiffFrame
) -> np.ndarray:
    """Read a page of which all strips or tiles are there: tifffile fills up with zeros."""
    parts = zip(page.dataoffsets, page.databytecounts, strict=True)
    if not all(count and offset + count <= tiff.filehandle.size for offset, count in parts):
        raise RawImageError(f"is truncated in page {page.index} (counted from 0): copy it again")
    return page.asarray()


def _tag(tiff: tifffile.TiffFile, name: int | str) -> object | None:
    tag = tiff.pages.first.tags.get(name)
    return None if tag is None else tag.value


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Children by name in any version of the OME namespace."""
    return element.findall(f"{{*}}{name}")


def _ome_images(tiff: tifffile.TiffFile, path: Path) -> list[OmePixels]:
    """List the images of which this file holds planes; none if it is no OME-TIFF."""
    if not tiff.is_ome:
        return []
    root = ElementTree.fromstring(tiff.ome_metadata)
    images = [
        (image, pixels)
        for image in _children(root, "Image")
        for pixels in _children(image, "Pixels")
    ]
    channels = [channel for _, pixels in images for channel in _children(pixels, "Channel")]
    if any(int(channel.get("SamplesPerPixel", 1)) > 1 for channel in channels):
        return []  # samples: tifffile's series sorts planar ones from RGB
    own = _own_uuids(root, path)
    found = [
        OmePixels(image, pixels, _own_pages(pixels, own, len(tiff.pages)))
        for image, pixels in images
    ]
    if images and not any(ome.pages for ome in found):
        raise RawImageError("holds none of the planes of its OME metadata: was it renamed?")
    return [ome for ome in found if ome.pages]


def _own_uuids(root: ElementTree.Element, path: Path) -> set[str | None]:
    """Identifiers by which the OME-XML means this very file (None: it names no file)."""
    uuids = [uuid for uuid in root.iter() if uuid.tag.endswith("}UUID")]
    named = {uuid.text for uuid in uuids if uuid.get("FileName") == path.name}
    # A single file that was renamed is still itself.
    single = {uuid.text for uuid in uuids} if len({uuid.text for uuid in uuids}) == 1 else set()
    return {None, root.get("UUID")} | named | single


def _own_pages(pixels: ElementTree.Element, own: set[str | None], n_pages: int) -> dict[Plane, int]:
    """Map (t, c, z) to the page of this file that holds the plane."""
    order = pixels.get("DimensionOrder")[:1:-1]  # slowest first
    shape = [int(pixels.get(f"Size{axis}")) for axis in order]
    pages: dict[Plane, int] = {}
    for data in _children(pixels, "TiffData"):
        uuid = next(iter(_children(data, "UUID")), None)
        if (None if uuid is None else uuid.text) not in own:
            continue
        first = [int(data.get(f"First{axis}", 0)) for axis in order]
        first_flat = int(np.ravel_multi_index(first, shape))
        page = int(data.get("IFD", 0))
        rest = 1 if "IFD" in data.attrib else math.prod(shape) - first_flat
        count = int(data.get("PlaneCount", data.get("NumPlanes", rest)))
        for step in range(min(count, n_pages - page)):
            at = dict(zip(order, np.unravel_index(first_flat + step, shape), strict=True))
            pages[int(at["T"]), int(at["C"]), int(at["Z"])] = page + step
    return pages


def _length(element: ElementTree.Element, name: str, default_unit: str) -> float | None:
    value = element.get(name)
    return (
        None
        if value is None
        else micrometres(float(value), element.get(f"{name}Unit", default_unit))
    )


def _acquired(image: ElementTree.Element, plane: ElementTree.Element | None) -> float | None:
    """Seconds since 1970; a date without a zone is taken as UTC, since only the order counts."""
    date = next((date.text for date in _children(image, "AcquisitionDate")), None)
    if date is None:
        return None
    start = datetime.fromisoformat(date)
    seconds = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    if plane is None or plane.get("DeltaT") is None:
        return seconds
    unit = plane.get("DeltaTUnit", "s")
    if unit not in SECONDS:
        raise RawImageError(f"gives the time of a plane in {unit}, which is not understood")
    return seconds + float(plane.get("DeltaT")) * SECONDS[unit]
