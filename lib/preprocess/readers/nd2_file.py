"""Nikon ND2, by the `nd2` package: frames are mapped from disk, and only those asked for read."""

import math
from pathlib import Path

import nd2
import numpy as np

from lib.preprocess.readers.image import PlaneInfo, RawFile, RawImage, pixel_size_or_none
from lib.preprocess.readers.source import RawImageError

JULIAN_DAY_OF_1970 = 2440587.5
FRAME_AXES = ("C", "Y", "X")  # the axes inside a frame, in its order


class Nd2File(RawFile):
    """An open ND2 file; its positions are those of the XY loop."""

    def __init__(self, path: Path) -> None:
        self._file = nd2.ND2File(path)
        try:
            self._sizes = _checked_sizes(self._file)
        except BaseException:
            self._file.close()
            raise
        self.n_positions = self._sizes.get("P", 1)

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def image(self, position: int) -> RawImage:
        return Nd2Image(self._file, self._sizes, position)


class Nd2Image(RawImage):
    """One position of an ND2 file."""

    def __init__(self, file: nd2.ND2File, sizes: dict[str, int], position: int) -> None:
        self._file = file
        self._position = position
        self._loops = {axis: n for axis, n in sizes.items() if axis not in FRAME_AXES}
        self.sizes = {axis: n for axis, n in sizes.items() if axis != "P"}
        self.dtype = file.dtype
        channels = file.metadata.channels or []
        self.channel_names = tuple(channel.channel.name for channel in channels) or None
        if channels and all(channels[0].volume.axesCalibrated[:2]):
            voxel = file.voxel_size()
            self.pixel_size = pixel_size_or_none(voxel.y, voxel.x)

    def read(self, time: int, channels: range, zs: range) -> np.ndarray:
        frames = [self._frame(self._frame_index(time, z)) for z in zs]
        return np.stack([frame[channels.start : channels.stop] for frame in frames], axis=1)

    def plane_info(self, time: int, channel: int, z: int) -> PlaneInfo:
        index = self._frame_index(time, z)
        point = _stage_point(self._file, self._position)
        pfs_offset = None if point is None else point.pfsOffset
        try:
            frame = self._file.frame_metadata(index).channels[channel]
        except IndexError:
            # The file lacks the list of frame times, and with it the rest for a frame.
            if point is None:
                return PlaneInfo()
            return PlaneInfo(*point.stagePositionUm, pfs_offset)
        day = frame.time.absoluteJulianDayNumber
        # A file without a date counts from day zero.
        acquired = (day - JULIAN_DAY_OF_1970) * 86400 if day > JULIAN_DAY_OF_1970 else None
        return PlaneInfo(*frame.position.stagePositionUm, pfs_offset, acquired)

    def _frame_index(self, time: int, z: int) -> int:
        at = {"P": self._position, "T": time, "Z": z}
        index = 0
        for axis, n in self._loops.items():
            index = index * n + at[axis]
        return index

    def _frame(self, index: int) -> np.ndarray:
        """Read a frame as (C, Y, X)."""
        frame = self._file.read_frame(index)
        # The package gives zeros for a frame that the file lacks, and says nothing.
        if not frame.any() and not self._is_stored(index):
            raise RawImageError(
                f"lacks frame {index} (counted from 0), though it announces it: the acquisition "
                "was stopped or the file is truncated"
            )
        return frame.reshape([self.size(axis) for axis in FRAME_AXES])

    def _is_stored(self, index: int) -> bool:
        """Whether the file's table of chunks has the frame, inside the file."""
        chunk = self._file._rdr.chunkmap.get(f"ImageDataSeq|{index}!".encode())
        return chunk is not None and sum(chunk) <= Path(self._file.path).stat().st_size


def _checked_sizes(file: nd2.ND2File) -> dict[str, int]:
    if file.is_legacy:
        raise RawImageError("is an ND2 of before 2009, which is not read: save it as OME-TIFF")
    if file.components_per_channel != 1:
        raise RawImageError("is an RGB image: give the raw grey channels")
    sizes = dict(file.sizes)
    loops = math.prod(loop.count for loop in file.experiment)
    frames = math.prod(n for axis, n in sizes.items() if axis not in FRAME_AXES)
    unknown = set(sizes) - {*FRAME_AXES, "P", "T", "Z"}
    if unknown or loops != frames or (not file.experiment and file.attributes.sequenceCount > 1):
        names = ", ".join(loop.type for loop in file.experiment) or "none"
        raise RawImageError(
            f"has {file.attributes.sequenceCount} frames whose loops ({names}) are not positions, "
            "times and z planes: save it as OME-TIFF"
        )
    return sizes


def _stage_point(file: nd2.ND2File, position: int) -> "nd2.structures.Position | None":
    for loop in file.experiment:
        if loop.type == "XYPosLoop":
            return loop.parameters.points[position]
    return None
