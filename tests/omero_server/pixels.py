"""The services that hold pixels and bytes: planes and files on disk, settings, tables."""

import hashlib
from pathlib import Path

import numpy as np
import omero
import omero.grid
import omero.rtypes

from omero_server.services import find, load
from omero_server.store import Rec

TYPES = {
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8",
}  # fmt: skip
PENDING = "Pending..."
MAX_PLANE = 3192 * 3192
PYRAMID = "_pyramid"
NGFF = "com.glencoesoftware.ngff:multiscales"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def place(kind: str, number: int) -> str:
    """Where the server keeps the bytes of pixels or files of a number, under its data folder."""
    parts, rest = [], number
    while rest > 999:
        rest //= 1000
        parts.insert(0, f"Dir-{rest % 1000:03d}")
    return "/".join([kind, *parts, str(number)])


class Pixels:
    """IPixels."""

    def createImage(
        self, call, sizeX, sizeY, sizeZ, sizeT, channelList, pixelsType, name, description
    ):
        store, caller = call.server.store, call.caller(writes=True)
        order = omero.model.DimensionOrderI()
        order._value = omero.rtypes.rstring("XYZCT")
        pixels = omero.model.PixelsI()
        for axis, size in zip("XYZCT", (sizeX, sizeY, sizeZ, len(channelList), sizeT), strict=True):
            setattr(pixels, f"_size{axis}", omero.rtypes.rint(size))
        pixels._pixelsType, pixels._dimensionOrder = pixelsType, order
        pixels._sha1 = omero.rtypes.rstring(PENDING)
        pixels._methodology = omero.rtypes.rstring("unknown")
        for number in channelList:
            channel = omero.model.ChannelI()
            channel._logicalChannel = omero.model.LogicalChannelI()
            channel._logicalChannel._emissionWave = (
                omero.model.LengthI(float(number), omero.model.enums.UnitsLength.NANOMETER)
                if number > 0
                else None
            )
            pixels.addChannel(channel)
        image = omero.model.ImageI()
        image._name = omero.rtypes.rstring(name)
        image._description = omero.rtypes.rstring(description or "")
        image.addPixels(pixels)
        rec, _, _ = store.save(image, caller)
        return omero.rtypes.rlong(rec.id)

    def setChannelGlobalMinMax(self, call, pixelsId, channelIndex, min, max):
        store, caller = call.server.store, call.caller(writes=True)
        pixels = find(call, "Pixels", pixelsId)
        if not store.may(caller, pixels, "edit"):
            raise omero.SecurityViolation(None, None, f"Cannot change Pixels:{pixelsId}.")
        channel = pixels.collection("channels")[channelIndex]
        info = store.add_for(caller, "StatsInfo", globalMin=min, globalMax=max)
        store.assign(channel, "statsInfo", info)

    def retrievePixDescription(self, call, pixId):
        pixels = find(call, "Pixels", pixId)
        channels = pixels.collection("channels")
        parts = [
            rec
            for c in channels
            for rec in (c, c.fields.get("logicalChannel"), c.fields.get("statsInfo"))
            if rec
        ]
        return load(
            call, pixels, *parts, pixels.fields["pixelsType"], pixels.fields["dimensionOrder"],
            collections={(pixels, "channels"): channels},
        )  # fmt: skip

    def retrieveRndSettings(self, call, pixId):
        found = self.retrieveAllRndSettings(call, pixId, call.caller().user.id)
        return found[0] if found else None

    def retrieveAllRndSettings(self, call, pixId, userId):
        settings = find(call, "Pixels", pixId).collection("settings")
        settings = [rec for rec in settings if userId in (-1, rec.owner.id)]
        return [self._settings(call, rec) for rec in settings]

    def loadRndSettings(self, call, renderingSettingsId):
        return self._settings(call, find(call, "RenderingDef", renderingSettingsId))

    def getAllEnumerations(self, call, enumClass):
        return [load(call, rec) for rec in call.server.store.all(enumClass)]

    def getEnumeration(self, call, enumClass, value):
        for rec in call.server.store.all(enumClass):
            if rec.fields["value"] == value:
                return load(call, rec)
        return None

    def _settings(self, call, rec):
        bindings = rec.collection("waveRendering")
        parts = [*bindings, *(b.fields["family"] for b in bindings), rec.fields["quantization"],
                 rec.fields["model"]]  # fmt: skip
        return load(call, rec, *parts, collections={(rec, "waveRendering"): bindings})


class RawPixelsStore:
    """Planes as the server keeps them: no header, big-endian, T outermost, then C, then Z."""

    def __init__(self) -> None:
        self._pixels: Rec | None = None
        self._written = False

    def setPixelsId(self, call, pixelsId, bypassOriginalFile):
        self._pixels = find(call, "Pixels", pixelsId)
        fields = self._pixels.fields
        self._shape = tuple(fields[f"size{axis}"] for axis in "TCZYX")
        self._type = np.dtype(">" + TYPES[fields["pixelsType"].fields["value"]])
        path = call.server.folder / place("Pixels", pixelsId)
        # The real one makes a tiled TIFF of such an image; this only gives it its name.
        self._path = path.with_name(path.name + PYRAMID) if self._is_big() else path
        self._may_write = not self._path.exists()

    def getPixelsId(self, call):
        return self._pixels.id

    def getByteWidth(self, call):
        return self._type.itemsize

    def isFloat(self, call):
        return self._type.kind == "f"

    def isSigned(self, call):
        return self._type.kind != "u"

    def getPlaneSize(self, call):
        return self._plane_bytes()

    def getTileSize(self, call):
        return [min(1024, self._shape[4]), min(1024, self._shape[3])]

    def requiresPixelsPyramid(self, call):
        return self._is_big()

    def getResolutionLevels(self, call):
        return 1

    def getResolutionLevel(self, call):
        return 0

    def getResolutionDescriptions(self, call):
        return [omero.romio.ResolutionDescription(self._shape[4], self._shape[3])]

    def getPlane(self, call, z, c, t):
        return self._out(call, self._planes(call)[t, c, z])

    def getTile(self, call, z, c, t, x, y, w, h):
        if x < 0 or y < 0 or x + w > self._shape[4] or y + h > self._shape[3]:
            raise omero.ApiUsageException(None, None, "The tile lies outside of the plane.")
        return self._out(call, self._planes(call)[t, c, z, y : y + h, x : x + w])

    def getHypercube(self, call, offset, size, step):
        cut = tuple(
            slice(o, o + n, s) for o, n, s in zip(offset[::-1], size[::-1], step[::-1], strict=True)
        )
        return self._out(call, self._planes(call)[cut])

    def setPlane(self, call, buf, z, c, t):
        if self._is_big():
            raise omero.ApiUsageException(None, None, "Non-tile based writing unsupported.")
        self._in(call, buf, (t, c, z))

    def setTile(self, call, buf, z, c, t, x, y, w, h):
        self._in(call, buf, (t, c, z, slice(y, y + h), slice(x, x + w)))

    def save(self, call):
        self.finish()
        return load(call, self._pixels)

    def close(self, call):
        if self._pixels is not None:
            self.finish()
        self._pixels = None

    def _is_big(self) -> bool:
        return self._shape[3] * self._shape[4] > MAX_PLANE and self._type.kind != "f"

    def _plane_bytes(self) -> int:
        return self._shape[3] * self._shape[4] * self._type.itemsize

    def _planes(self, call) -> np.ndarray:
        external = self._pixels.fields["image"].external
        if external is not None and external.fields.get("entityType") == NGFF:
            return _registered(external.fields["lsid"])
        if not self._path.exists():
            raise omero.ResourceError(None, None, f"No pixels for Pixels:{self._pixels.id}")
        return np.memmap(self._path, self._type, "r", shape=self._shape)

    def _out(self, call, block: np.ndarray) -> bytes:
        data = np.ascontiguousarray(block, self._type).tobytes()
        call.server.wire.pixel_bytes_out += len(data)
        return data

    def _in(self, call, buf: bytes, at: tuple) -> None:
        if not call.server.store.may(call.caller(writes=True), self._pixels, "edit"):
            raise omero.SecurityViolation(
                None, None, f"Cannot write Pixels:{self._pixels.id} of another user."
            )
        if not self._may_write:
            # What was closed once, whole or not, is opened for reading only.
            raise omero.ApiUsageException(None, None, "Write-method not permitted.")
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "wb") as file:
                file.truncate(int(np.prod(self._shape)) * self._type.itemsize)
        planes = np.memmap(self._path, self._type, "r+", shape=self._shape)
        place_ = planes[at]
        if len(buf) != place_.nbytes:
            raise omero.ApiUsageException(
                None, None, f"{len(buf)} bytes where {place_.nbytes} are expected"
            )
        planes[at] = np.frombuffer(buf, self._type).reshape(place_.shape)
        self._written = True
        call.server.wire.pixel_bytes_in += len(buf)

    def finish(self) -> None:
        if self._written:
            digest = hashlib.sha1(self._path.read_bytes()).hexdigest()
            self._pixels.fields["sha1"] = digest
            self._written = False


def _registered(lsid: str) -> np.ndarray:
    """Pixels (T, C, Z, Y, X) of a registered OME-Zarr, as the server's Zarr reader gives them."""
    import zarr

    group = zarr.open_group(lsid, mode="r")
    multiscale = group.attrs["multiscales"][0]
    axes = [axis["name"] for axis in multiscale["axes"]]
    array = group[multiscale["datasets"][0]["path"]][:]
    return array.reshape([array.shape[axes.index(a)] if a in axes else 1 for a in "tczyx"])


class RawFileStore:
    """Bytes of an OriginalFile."""

    def __init__(self) -> None:
        self._file: Rec | None = None
        self._written = False

    def setFileId(self, call, fileId):
        self._file = find(call, "OriginalFile", fileId)
        self._path = call.server.folder / place("Files", fileId)

    def getFileId(self, call):
        return self._file.id

    def exists(self, call):
        return self._path.exists()

    def size(self, call):
        return self._path.stat().st_size if self._path.exists() else 0

    def read(self, call, position, length):
        with open(self._path, "rb") as file:
            file.seek(position)
            return file.read(length)

    def write(self, call, buf, position, length):
        if not call.server.store.may(call.caller(writes=True), self._file, "edit"):
            raise omero.SecurityViolation(None, None, "Cannot write this file.")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "r+b" if self._path.exists() else "wb") as file:
            file.seek(position)
            file.write(buf[:length])
        self._written = True

    def truncate(self, call, length):
        if not self._path.exists() or self._path.stat().st_size <= length:
            return False
        with open(self._path, "r+b") as file:
            file.truncate(length)
        return True

    def save(self, call):
        self._written = False
        data = self._path.read_bytes() if self._path.exists() else b""
        self._file.fields["size"] = len(data)
        hasher = self._file.fields.get("hasher")
        if hasher is not None:
            assert hasher.fields["value"] == "SHA1-160", hasher.fields["value"]
            self._file.fields["hash"] = hashlib.sha1(data).hexdigest()
        return load(call, self._file)

    def close(self, call):
        if self._written:
            self.save(call)
        self._file = None


class RenderingEngine:
    """What a client asks of the settings of an image; it renders nothing."""

    def lookupPixels(self, call, pixelsId):
        self._pixels = find(call, "Pixels", pixelsId)
        self._settings = None

    def lookupRenderingDef(self, call, pixelsId):
        own = [
            rec
            for rec in self._pixels.collection("settings")
            if rec.owner in (call.caller().user, self._pixels.owner)
        ]
        self._settings = own[0] if own else None
        return self._settings is not None

    def loadRenderingDef(self, call, renderingDefId):
        self._settings = find(call, "RenderingDef", renderingDefId)

    def resetDefaultSettings(self, call, save):
        store, caller = call.server.store, call.caller()
        kinds = {rec.fields["value"]: rec for rec in store.all("RenderingModel")}
        families = {rec.fields["value"]: rec for rec in store.all("Family")}
        quantum = store.add_for(caller, "QuantumDef", cdStart=0, cdEnd=255, bitResolution=255)
        rec = store.add_for(
            caller,
            "RenderingDef",
            pixels=self._pixels,
            model=kinds["rgb"],
            quantization=quantum,
            defaultZ=0,
            defaultT=0,
        )
        for number, channel in enumerate(self._pixels.collection("channels")):
            stats = channel.fields.get("statsInfo")
            red, green, blue = COLOURS[number % 3]
            store.add_for(
                caller, "ChannelBinding", renderingDef=rec,
                family=families["linear"], coefficient=1.0, active=number < 3, noiseReduction=False,
                inputStart=stats.fields["globalMin"] if stats else 0.0,
                inputEnd=stats.fields["globalMax"] if stats else 65535.0,
                red=red, green=green, blue=blue, alpha=255,
            )  # fmt: skip
        self._settings = rec
        return rec.id

    def getRenderingDefId(self, call):
        return self._settings.id

    def load(self, call):
        pass

    def getModel(self, call):
        return load(call, self._settings.fields["model"])

    def getAvailableModels(self, call):
        return [load(call, rec) for rec in call.server.store.all("RenderingModel")]

    def getDefaultZ(self, call):
        return self._settings.fields["defaultZ"]

    def getDefaultT(self, call):
        return self._settings.fields["defaultT"]

    def getPixels(self, call):
        return Pixels().retrievePixDescription(call, self._pixels.id)

    def getChannelWindowStart(self, call, w):
        return self._binding(w)["inputStart"]

    def getChannelWindowEnd(self, call, w):
        return self._binding(w)["inputEnd"]

    def getRGBA(self, call, w):
        return [self._binding(w)[name] for name in ("red", "green", "blue", "alpha")]

    def isActive(self, call, w):
        return bool(self._binding(w)["active"])

    def getChannelFamily(self, call, w):
        return load(call, self._binding(w)["family"])

    def getChannelCurveCoefficient(self, call, w):
        return self._binding(w)["coefficient"]

    def getChannelLookupTable(self, call, w):
        return ""

    def getCodomainMapContext(self, call, w):
        return []

    def getPixelsTypeLowerBound(self, call, w):
        return 0.0

    def getPixelsTypeUpperBound(self, call, w):
        return 65535.0

    def close(self, call):
        pass

    def _binding(self, number: int) -> dict:
        return self._settings.collection("waveRendering")[number].fields


class TableService:
    """omero.grid.Table, its columns in memory."""

    def __init__(self, rec: Rec) -> None:
        self._rec = rec

    def _columns(self, call) -> list:
        return call.server.tables.setdefault(self._rec.id, [])

    def initialize(self, call, cols):
        call.server.tables[self._rec.id] = [_emptied(column) for column in cols]

    def addData(self, call, cols):
        columns = self._columns(call)
        if [c.name for c in cols] != [c.name for c in columns]:
            raise omero.ApiUsageException(None, None, "The columns differ from the table's.")
        if len({len(column.values) for column in cols}) != 1:
            raise omero.ApiUsageException(None, None, "The columns differ in length.")
        for column, more in zip(columns, cols, strict=True):
            column.values = [*column.values, *more.values]

    def getHeaders(self, call):
        return [_emptied(column) for column in self._columns(call)]

    def getNumberOfRows(self, call):
        columns = self._columns(call)
        return len(columns[0].values) if columns else 0

    def read(self, call, colNumbers, start, stop):
        rows = list(range(self.getNumberOfRows(call)))[start : stop or None]
        return self.slice(call, colNumbers, rows)

    def readCoordinates(self, call, rowNumbers):
        return self.slice(call, list(range(len(self._columns(call)))), rowNumbers)

    def slice(self, call, colNumbers, rowNumbers):
        columns = self._columns(call)
        colNumbers = colNumbers or list(range(len(columns)))
        rows = list(rowNumbers) or list(range(self.getNumberOfRows(call)))
        picked = []
        for number in colNumbers:
            column = _emptied(columns[number])
            column.values = [columns[number].values[row] for row in rows]
            picked.append(column)
        return omero.grid.Data(0, rows, picked)

    def getOriginalFile(self, call):
        return load(call, self._rec)

    def setMetadata(self, call, key, value):
        pass

    def getAllMetadata(self, call):
        return {}

    def close(self, call):
        self._rec.fields["size"] = max(1, self.getNumberOfRows(call))


def _emptied(column):
    made = type(column)()
    made.name, made.description, made.values = column.name, column.description, []
    if hasattr(column, "size"):
        made.size = column.size
    return made


def remove_bytes(folder: Path, rec: Rec) -> None:
    """Remove from disk what belonged to a deleted record."""
    for kind, name in (("Pixels", "Pixels"), ("Files", "OriginalFile")):
        if rec.is_a(name):
            for suffix in ("", PYRAMID):
                (folder / (place(kind, rec.id) + suffix)).unlink(missing_ok=True)
