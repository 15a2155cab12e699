"""One image into OMERO: its metadata in one call, its planes one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.omero.queries import NGFF_ENTITY, NGFF_ENTITY_ID, PIXEL_TYPES, rows
from lib.shared.errors import InputError

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway
    from omero.model import ImageI, MapAnnotationI, RenderingDefI

NAMESPACE = "poolscope/provenance/v1"
PENDING = "Pending..."  # what the server itself writes for pixels without planes
MAX_PLANE = 3192 * 3192  # pixels of an integer plane that the server takes whole
MAX_TEXT = 255  # characters of most text columns of the server's database

# Channels get these in turn; nuclear stains are blue wherever they stand.
COLOURS = ("00FF00", "FF0000", "FF00FF", "00FFFF", "FFFF00", "FFFFFF")
NUCLEAR_COLOUR = "0000FF"
NUCLEAR = ("DAPI", "HOECHST", "DNA")

ReadPlane = Callable[[int, int, int], np.ndarray]  # (t, c, z) to (Y, X)


@dataclass(frozen=True)
class ChannelStyle:
    """How a channel is called and first shown.

    Attributes
    ----------
    colour : RRGGBB.
    window : lowest and highest intensity shown; None: the range of the type.
    """

    name: str
    colour: str
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class ImageDescription:
    """What OMERO is told of an image.

    Attributes
    ----------
    shape : (T, C, Z, Y, X).
    pixel_size : (y, x) in micrometres.
    store : absolute path of the OME-Zarr group that the server reads in place;
        None when planes are uploaded.
    """

    name: str
    shape: tuple[int, int, int, int, int]
    dtype: np.dtype
    channels: tuple[ChannelStyle, ...]
    pixel_size: tuple[float, float] | None = None
    description: str = ""
    store: str | None = None


@dataclass
class Enumerations:
    """The server's own objects that images refer to, looked up once for each connection."""

    gateway: "BlitzGateway"
    _found: dict[tuple[str, str], int] = field(default_factory=dict)

    def __call__(self, kind: str, value: str) -> object:
        """The object `value` of the enumeration `kind`, unloaded."""
        import omero.model

        if (kind, value) not in self._found:
            found = rows(self.gateway, f"select e.value, e.id from {kind} e", group=None)
            self._found.update({(kind, text): number for text, number in found})
        return getattr(omero.model, f"{kind}I")(self._found[kind, value], False)


def channel_styles(names: Sequence[str]) -> tuple[ChannelStyle, ...]:
    """Colours for channels by name and order."""
    styles, others = [], 0
    for name in names:
        if name.upper().startswith(NUCLEAR):
            styles.append(ChannelStyle(name, NUCLEAR_COLOUR))
        else:
            styles.append(ChannelStyle(name, COLOURS[others % len(COLOURS)]))
            others += 1
    return tuple(styles)


def pixel_type(dtype: np.dtype) -> str:
    """OMERO's name of a type; refused where it has none."""
    name = PIXEL_TYPES.get(np.dtype(dtype))
    if name is None:
        known = ", ".join(str(known) for known in PIXEL_TYPES)
        raise InputError(f"OMERO has no pixels of type {dtype}: convert to one of {known}.")
    return name


def image_object(image: ImageDescription, enumerations: Enumerations) -> "ImageI":
    """The whole graph of an image (pixels, channels, first rendering settings), not yet saved.

    Saved as one, it is there whole or not at all.
    """
    import omero.model
    from omero.rtypes import rint, rlong, rstring

    check_text(image.name, "the image name")
    pixels = omero.model.PixelsI()
    for axis, size in zip("TCZYX", image.shape, strict=True):
        getattr(pixels, f"setSize{axis}")(rint(size))
    pixels.setPixelsType(enumerations("PixelsType", pixel_type(image.dtype)))
    pixels.setDimensionOrder(enumerations("DimensionOrder", "XYZCT"))
    pixels.setSha1(rstring(PENDING))
    if image.pixel_size is not None:
        pixels.setPhysicalSizeY(_micrometres(image.pixel_size[0]))
        pixels.setPhysicalSizeX(_micrometres(image.pixel_size[1]))
    for style in image.channels:
        pixels.addChannel(_channel(style, image.dtype))
    pixels.addRenderingDef(_settings(image, enumerations))
    made = omero.model.ImageI()
    made.setName(rstring(image.name))
    made.setDescription(rstring(image.description))
    made.addPixels(pixels)
    if image.store is not None:
        check_text(image.store, "the path of the store")
        external = omero.model.ExternalInfoI()
        external.setEntityType(rstring(NGFF_ENTITY))
        external.setEntityId(rlong(NGFF_ENTITY_ID))
        external.setLsid(rstring(image.store))
        made.getDetails().setExternalInfo(external)
    return made


def upload_planes(
    gateway: "BlitzGateway", pixels_id: int, shape: Sequence[int], dtype: np.dtype, read: ReadPlane
) -> None:
    """Send the planes of an image, each read when its turn comes.

    Parameters
    ----------
    shape : (T, C, Z, Y, X).
    read : gives the plane (t, c, z) as (Y, X) of `dtype`.

    The server marks the pixels as whole (by a checksum) only after the last one.
    """
    wire = np.dtype(dtype).newbyteorder(">")
    context = writing(gateway)
    store = gateway.c.sf.createRawPixelsStore(context)
    try:
        store.setPixelsId(pixels_id, True, context)
        for t, c, z in np.ndindex(*shape[:3]):
            plane = read(t, c, z)
            if plane.shape != tuple(shape[3:]) or plane.dtype != dtype:
                raise InputError(
                    f"Plane t={t}, c={c}, z={z} is {plane.dtype} of {plane.shape}, where "
                    f"{np.dtype(dtype)} of {tuple(shape[3:])} is expected."
                )
            if plane.size <= MAX_PLANE:
                store.setPlane(plane.astype(wire).tobytes(), z, c, t, context)
                continue
            width, height = store.getTileSize(context)
            for (y, x), block in _blocks(plane, height, width):
                h, w = block.shape
                store.setTile(block.astype(wire).tobytes(), z, c, t, x, y, w, h, context)
        store.save(context)
    finally:
        store.close(context)


def upload_array(
    gateway: "BlitzGateway",
    planes: np.ndarray,
    name: str,
    dataset: int,
    provenance: Mapping[str, str],
    pixel_size: tuple[float, float] | None = None,
    channel_names: Sequence[str] | None = None,
) -> int:
    """Upload (Z, C, Y, X) as an image of a dataset; returns its number, or leaves nothing."""
    import omero.model

    n_channels = planes.shape[1]
    names = channel_names or [str(number) for number in range(n_channels)]
    if len(names) != n_channels:
        raise ValueError(f"{len(names)} channel names for an image of shape {planes.shape}")
    shape = (1, n_channels, planes.shape[0], *planes.shape[2:])
    description = ImageDescription(name, shape, planes.dtype, channel_styles(names), pixel_size)
    made = image_object(description, Enumerations(gateway))
    link = omero.model.DatasetImageLinkI()
    link.setParent(omero.model.DatasetI(dataset, False))
    made.addDatasetImageLink(link)
    annotation = omero.model.ImageAnnotationLinkI()
    annotation.setChild(map_annotation(provenance))
    made.addImageAnnotationLink(annotation)
    saved = gateway.getUpdateService().saveAndReturnObject(made, writing(gateway))
    image_id, pixels_id = saved.id.val, saved.getPixels(0).id.val
    with removed_on_error(gateway, "Image", image_id):
        upload_planes(gateway, pixels_id, shape, planes.dtype, lambda t, c, z: planes[z, c])
    return image_id


@contextmanager
def removed_on_error(gateway: "BlitzGateway", kind: str, number: int) -> Iterator[None]:
    """Delete an object again when what it was made for fails."""
    import Ice

    try:
        yield
    except BaseException as error:
        try:
            delete_objects(gateway, kind, [number])
        except Ice.Exception as second:  # the connection itself may be what failed
            error.add_note(f"{kind} {number} stayed on the server: {type(second).__name__}")
        raise


def map_annotation(values: Mapping[str, str], namespace: str = NAMESPACE) -> "MapAnnotationI":
    """Key and value pairs in order, not yet saved; not editable in OMERO.web."""
    import omero.model
    from omero.rtypes import rstring

    made = omero.model.MapAnnotationI()
    made.setNs(rstring(namespace))
    made.setMapValue([omero.model.NamedValue(key, str(value)) for key, value in values.items()])
    return made


def get_or_create_dataset(gateway: "BlitzGateway", name: str, project: int | None = None) -> int:
    """Number of the user's own dataset of this name (in a project), the lowest of several."""
    import omero.model
    from omero.rtypes import rstring

    from lib.omero.connection import group_id

    check_text(name, "the dataset name")
    query = "select d.id from Dataset d where d.name = :name and d.details.owner.id = :owner"
    parameters: dict[str, object] = {"name": name, "owner": gateway.getUserId()}
    if project is not None:
        query += (
            " and exists (select l from ProjectDatasetLink l where l.child.id = d.id "
            "and l.parent.id = :project)"
        )
        parameters["project"] = project
    found = rows(gateway, f"{query} order by d.id", group=group_id(gateway), **parameters)
    if found:
        return found[0][0]
    dataset = omero.model.DatasetI()
    dataset.setName(rstring(name))
    if project is not None:
        link = omero.model.ProjectDatasetLinkI()
        link.setParent(omero.model.ProjectI(project, False))
        dataset.addProjectDatasetLink(link)
    return gateway.getUpdateService().saveAndReturnObject(dataset, writing(gateway)).id.val


@contextmanager
def raw_planes(path: Path) -> Iterator[tuple[tuple[int, ...], np.dtype, ReadPlane]]:
    """Shape (T, C, Z, Y, X), type and planes of an image file, read when asked for."""
    from lib.preprocess.readers.read import open_raw
    from lib.preprocess.readers.source import RawSource, naming

    source = RawSource(path)
    with ExitStack() as stack:
        with naming(source):
            image = stack.enter_context(open_raw(path)).image(0)
            shape = tuple(image.size(axis) for axis in "TCZYX")
            dtype = np.dtype(image.dtype).newbyteorder("=")

        def read(t: int, c: int, z: int) -> np.ndarray:
            with naming(source):
                plane = image.read(t, range(c, c + 1), range(z, z + 1))[0, 0]
            return plane.astype(dtype, copy=False)

        yield shape, dtype, read


def _channel(style: ChannelStyle, dtype: np.dtype) -> object:
    import omero.model
    from omero.rtypes import rdouble, rint, rstring

    check_text(style.name, "the channel name")
    channel = omero.model.ChannelI()
    logical = omero.model.LogicalChannelI()
    logical.setName(rstring(style.name))
    channel.setLogicalChannel(logical)
    low, high = _window(style, dtype)
    stats = omero.model.StatsInfoI()
    stats.setGlobalMin(rdouble(low))
    stats.setGlobalMax(rdouble(high))
    channel.setStatsInfo(stats)
    for name, value in zip(("Red", "Green", "Blue"), _rgb(style), strict=True):
        getattr(channel, f"set{name}")(rint(value))
    channel.setAlpha(rint(255))
    return channel


def _settings(image: ImageDescription, enumerations: Enumerations) -> "RenderingDefI":
    import omero.model
    from omero.rtypes import rbool, rdouble, rint

    quantum = omero.model.QuantumDefI()
    quantum.setCdStart(rint(0))
    quantum.setCdEnd(rint(255))
    quantum.setBitResolution(rint(255))
    settings = omero.model.RenderingDefI()
    settings.setDefaultZ(rint(image.shape[2] // 2))
    settings.setDefaultT(rint(0))
    settings.setModel(enumerations("RenderingModel", "rgb"))
    settings.setQuantization(quantum)
    for style in image.channels:
        binding = omero.model.ChannelBindingI()
        low, high = _window(style, image.dtype)
        binding.setFamily(enumerations("Family", "linear"))
        binding.setCoefficient(rdouble(1.0))
        binding.setActive(rbool(True))
        binding.setNoiseReduction(rbool(False))
        binding.setInputStart(rdouble(low))
        binding.setInputEnd(rdouble(high))
        for name, value in zip(("Red", "Green", "Blue"), _rgb(style), strict=True):
            getattr(binding, f"set{name}")(rint(value))
        binding.setAlpha(rint(255))
        settings.addChannelBinding(binding)
    return settings


def _window(style: ChannelStyle, dtype: np.dtype) -> tuple[float, float]:
    if style.window is not None:
        return float(style.window[0]), float(style.window[1])
    if np.dtype(dtype).kind == "f":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _rgb(style: ChannelStyle) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(style.colour))


def _micrometres(value: float) -> object:
    import omero.model

    return omero.model.LengthI(float(value), omero.model.enums.UnitsLength.MICROMETER)


def check_text(text: str, what: str) -> None:
    if len(text) > MAX_TEXT:
        raise InputError(
            f"OMERO keeps at most {MAX_TEXT} characters, and {what} has {len(text)}: {text[:60]}..."
        )


def _blocks(
    plane: np.ndarray, height: int, width: int
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Cut a plane into blocks, each with its first row and column."""
    for y in range(0, plane.shape[0], height):
        for x in range(0, plane.shape[1], width):
            yield (y, x), plane[y : y + height, x : x + width]


def writing(gateway: "BlitzGateway") -> object:
    """The context of a call that writes: one group, never all of them."""
    from lib.omero.connection import group_id

    context = gateway.SERVICE_OPTS.copy()
    context.setOmeroGroup(str(group_id(gateway)))
    return context


def delete_objects(gateway: "BlitzGateway", kind: str, numbers: Sequence[int]) -> None:
    """Delete objects with all that hangs on them alone, and wait until they are gone."""
    handle = gateway.deleteObjects(kind, numbers, deleteAnns=True, deleteChildren=True, wait=True)
    handle.close()
