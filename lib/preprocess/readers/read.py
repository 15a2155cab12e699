"""One tile from its raw files: which planes make which channel, whatever the format."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from lib.preprocess.readers.image import UNNAMED, RawFile, RawImage
from lib.preprocess.readers.source import RawImageError, RawSource, naming
from lib.shared.errors import InputError

ND2_MAGIC = (b"\xda\xce\xbe\n", b"\x00\x00\x00\x0c")  # of today, and of before 2009
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

ZChoice = int | Literal["max"]


def read_raw(
    sources: Sequence[RawSource], channel_names: Sequence[str], z: ZChoice = "max"
) -> np.ndarray:
    """Read one tile (of one cycle) as (C, Y, X) uint16, channels in the order of `channel_names`.

    Parameters
    ----------
    sources : the rows of the sample sheet for this tile: one file with all
        channels, one per round of staining, one per channel, one per z plane, or
        one per channel and plane.
    channel_names : the channels of the tile. A file without a channel in its
        row must hold exactly these, in this order, under whatever names; files of
        rounds must hold them one after the other, in the order of `sources`.
    z : index (from 0) of the plane to take, or "max" for the maximum of all.

    Raises
    ------
    InputError
        When the rows do not make each channel once, when a file is missing,
        damaged, of an unknown format or lacks what its row asks for, and when
        files differ in size or hold values that uint16 does not.
    """
    if not sources:
        raise ValueError("a tile needs at least one source")
    if len(sources) > 1 and all(s.channel is None and s.z is None for s in sources):
        return _read_rounds(sources, channel_names, z)
    tile: np.ndarray | None = None
    for source, channels in _plan(sources, channel_names, z):
        with naming(source), open_raw(source.path) as file:
            planes = _read_source(file, source, channel_names, z)
            if tile is None:
                tile = np.zeros((len(channel_names), *planes.shape[1:]), np.uint16)
            _check_size(planes, tile, sources[0])
            part = tile[channels.start : channels.stop]
            np.maximum(part, planes, out=part)
    return tile


def _read_rounds(
    sources: Sequence[RawSource], channel_names: Sequence[str], z: ZChoice
) -> np.ndarray:
    """Read a tile of which each source holds some channels, the next of `channel_names`."""
    rounds: list[np.ndarray] = []
    given = 0
    for source in sources:
        with naming(source), open_raw(source.path) as file:
            image = _image(file, source)
            count = image.size(UNNAMED if UNNAMED in image.sizes else "C")
            names = channel_names[given : given + count]
            given += count
            if len(names) == count:
                rounds.append(_read_source(file, source, names, z))
                _check_size(rounds[-1], rounds[0], sources[0])
    if given != len(channel_names):
        raise InputError(
            f"The {len(sources)} files of the tile of {sources[0]} hold {given} channels in all, "
            f"but {len(channel_names)} are expected ({', '.join(channel_names)}): fill in the "
            "column z or channel, or correct channel_names."
        )
    return np.concatenate(rounds)


def _check_size(planes: np.ndarray, tile: np.ndarray, first: RawSource) -> None:
    if planes.shape[1:] != tile.shape[1:]:
        raise RawImageError(
            f"is {_size(planes)} pixels, but {first.path} of the same tile is {_size(tile)}"
        )


def raw_metadata(sources: Sequence[RawSource]) -> list[dict[str, object]]:
    """Tell what the raw files say of themselves: one mapping for each source, in their order.

    Each file is opened once. Keys: `filename`, `channels` (names joined by
    ", "), `pixel_size_y`, `pixel_size_x`, `x_pos`, `y_pos`, `z_pos`
    (micrometres; of the first plane of the source), `pfs_offset`, `acquired`
    (seconds since 1970), `size_c`, `size_z`, `size_y`, `size_x`, `dtype`.
    What a file does not say is None.

    Raises `InputError` for a file that cannot be read.
    """
    by_path: dict[Path, list[int]] = defaultdict(list)
    for number, source in enumerate(sources):
        by_path[source.path].append(number)
    rows: list[dict[str, object]] = [{} for _ in sources]
    for path, numbers in by_path.items():
        with naming(sources[numbers[0]]), open_raw(path) as file:
            for number in numbers:
                with naming(sources[number]):
                    rows[number] = _describe(file, sources[number])
    return rows


def check_channels(source: RawSource, channel_names: Sequence[str]) -> None:
    """Look whether a file holds the channels that its row stands for.

    Raises `InputError` where it does not, and for a file that cannot be read.
    """
    with naming(source), open_raw(source.path) as file:
        image = _image(file, source)
        if UNNAMED in image.sizes:
            image.name_unnamed(_sense_of_unnamed(image, source, len(channel_names)))
        _channels(image, source, channel_names)


@contextmanager
def open_raw(path: Path) -> Iterator[RawFile]:
    """Open a raw file by what it is, not by what it is called."""
    path = Path(path)
    if path.is_dir():
        from lib.preprocess.readers.zarr_store import ZarrStore as Reader
    else:
        with open(path, "rb") as file:
            magic = file.read(4)
        if magic in ND2_MAGIC:
            from lib.preprocess.readers.nd2_file import Nd2File as Reader
        elif magic in TIFF_MAGIC:
            from lib.preprocess.readers.tiff_file import TiffImageFile as Reader
        else:
            what = "begins like none of" if magic else "is empty and so none of"
            raise RawImageError(
                f"{what} ND2, TIFF, OME-TIFF and OME-Zarr: convert or copy it again"
            )
    with Reader(path) as raw:
        yield raw


def _plan(
    sources: Sequence[RawSource], channel_names: Sequence[str], z: ZChoice
) -> list[tuple[RawSource, range]]:
    """Tell which channels each source makes, leaving out planes that are not asked for."""
    by_channel: dict[str | None, list[RawSource]] = defaultdict(list)
    for source in sources:
        by_channel[source.channel].append(source)
    if None in by_channel and len(by_channel) > 1:
        raise InputError(
            f"The row of {by_channel[None][0]} names no channel, while that of "
            f"{next(s for s in sources if s.channel is not None)} of the same tile does: "
            "fill in the column channel."
        )
    if None not in by_channel:
        _check_channels(by_channel, sources[0], channel_names)
    taken = {channel: _choose_planes(rows, z) for channel, rows in by_channel.items()}
    if z == "max":
        _check_same_planes(taken)
    whole = range(len(channel_names))
    places = {name: range(at, at + 1) for at, name in enumerate(channel_names)} | {None: whole}
    return [(source, places[channel]) for channel, rows in taken.items() for source in rows]


def _check_channels(
    by_channel: Mapping[str, Sequence[RawSource]], first: RawSource, channel_names: Sequence[str]
) -> None:
    names = ", ".join(channel_names)
    for name in by_channel:
        if name not in channel_names:
            raise InputError(
                f"The row of {by_channel[name][0]} has the channel {name}, which is none of the "
                f"channel_names {names}."
            )
    missing = [name for name in channel_names if name not in by_channel]
    if missing:
        raise InputError(
            f"The tile of {first} has no file for the channel {', '.join(missing)} of {names}: "
            "add its row to the sample sheet."
        )


def _choose_planes(rows: Sequence[RawSource], z: ZChoice) -> list[RawSource]:
    """Check that the rows of one channel are one file or different planes, and choose of them."""
    if len(rows) == 1 and rows[0].z is None:
        return list(rows)
    by_z: dict[int | None, RawSource] = {}
    for row in rows:
        if row.z is None:
            raise InputError(
                f"The row of {row} is one of {len(rows)} for the same tile and channel: fill in "
                "the column z or channel, or remove it."
            )
        if row.z in by_z:
            raise InputError(f"The row of {row} repeats the plane z = {row.z} of {by_z[row.z]}.")
        by_z[row.z] = row
    if z == "max":
        return list(rows)
    if z not in by_z:
        given = ", ".join(map(str, sorted(by_z)))
        raise InputError(f"The tile of {rows[0]} has no plane z = {z}: its rows give z = {given}.")
    return [by_z[z]]


def _check_same_planes(taken: Mapping[str | None, Sequence[RawSource]]) -> None:
    """Refuse channels given plane by plane that do not all have the same planes."""
    planes = {name: {s.z for s in rows} for name, rows in taken.items() if rows[0].z is not None}
    every = set().union(*planes.values())
    for name, own in planes.items():
        if own != every:
            missing = ", ".join(map(str, sorted(every - own)))
            raise InputError(
                f"The tile of {taken[name][0]} lacks the plane z = {missing} of channel {name}, "
                "which another channel has: add its row to the sample sheet."
            )


def _read_source(
    file: RawFile, source: RawSource, channel_names: Sequence[str], z: ZChoice
) -> np.ndarray:
    """Read what one source stands for as (channels, Y, X) uint16."""
    image = _image(file, source)
    if UNNAMED in image.sizes:
        image.name_unnamed(_sense_of_unnamed(image, source, len(channel_names)))
    time, channels = _time(image, source), _channels(image, source, channel_names)
    zs = _planes(image, source, z)
    planes = None
    for start in range(zs.start, zs.stop, image.z_step):
        block = image.read(time, channels, range(start, min(start + image.z_step, zs.stop)))
        highest = _as_uint16(block).max(axis=1)
        planes = highest if planes is None else np.maximum(planes, highest, out=planes)
    return planes


def _image(file: RawFile, source: RawSource) -> RawImage:
    n = file.n_positions
    if source.position is None and n != 1:
        raise RawImageError(
            f"holds {n} positions: tell which in the column position (0 to {n - 1})"
        )
    position = source.position or 0
    if not 0 <= position < n:
        raise RawImageError(f"has no position {position}: it holds {n}, counted from 0")
    return file.image(position)


def _sense_of_unnamed(image: RawImage, source: RawSource, n_channels: int) -> str:
    """Take an axis without a name as planes of a named channel, or as all the channels."""
    n = image.size(UNNAMED)
    if source.channel is not None and "Z" not in image.sizes:
        return "Z"
    if n == n_channels and "C" not in image.sizes:
        return "C"
    raise RawImageError(
        f"has {n} planes that it does not name, and {n_channels} channels are expected: save it "
        "with its axes (OME-TIFF), or give one file per channel"
    )


def _time(image: RawImage, source: RawSource) -> int:
    n = image.size("T")
    if source.time is None and n != 1:
        raise RawImageError(
            f"holds {n} time points where one image is expected: export each to a file of its own"
        )
    time = source.time or 0
    if not 0 <= time < n:
        raise RawImageError(f"has no time point {time}: it holds {n}, counted from 0")
    return time


def _channels(image: RawImage, source: RawSource, channel_names: Sequence[str]) -> range:
    n, names = image.size("C"), image.channel_names
    found = f" ({', '.join(names)})" if names else ""
    if source.channel is None:
        if n != len(channel_names):
            raise RawImageError(
                f"holds {n} channels{found}, but {len(channel_names)} are expected "
                f"({', '.join(channel_names)}): correct channel_names in the config"
            )
        return range(n)
    if n == 1:
        return range(1)
    at = [index for index, name in enumerate(names or ()) if name == source.channel]
    if len(at) != 1:
        raise RawImageError(
            f"holds {n} channels{found}, and not one of them is called {source.channel}, the "
            "channel of its row"
        )
    return range(at[0], at[0] + 1)


def _planes(image: RawImage, source: RawSource, z: ZChoice) -> range:
    n = image.size("Z")
    if source.z is not None:
        if n == 1:
            return range(1)  # the file is that plane
        chosen = source.z
    elif z == "max":
        return range(n)
    else:
        chosen = z
    if not 0 <= chosen < n:
        raise RawImageError(f"has no plane z = {chosen}: it holds {n}, counted from 0")
    return range(chosen, chosen + 1)


def _as_uint16(block: np.ndarray) -> np.ndarray:
    """Convert to uint16 where that loses nothing."""
    if block.dtype == np.uint16:
        return block
    with np.errstate(invalid="ignore"):
        narrow = block.astype(np.uint16)
    if not np.can_cast(block.dtype, np.uint16):
        wrong = narrow != block
        if wrong.any():
            raise RawImageError(
                f"holds {block.dtype} values such as {block[wrong][0]} that are no whole numbers "
                "from 0 to 65535: export the raw 16-bit intensities"
            )
    return narrow


def _describe(file: RawFile, source: RawSource) -> dict[str, object]:
    image = _image(file, source)
    channels = [source.channel] if source.channel is not None else image.channel_names
    pixel_size = image.pixel_size or (None, None)
    first_plane = _planes(image, source, "max").start
    info = image.plane_info(_time(image, source), 0, first_plane)
    return {
        "filename": str(source.path),
        "channels": ", ".join(channels) if channels else None,
        "pixel_size_y": pixel_size[0],
        "pixel_size_x": pixel_size[1],
        **vars(info),
        "size_c": image.size("C"),
        "size_z": image.size("Z"),
        "size_y": image.size("Y"),
        "size_x": image.size("X"),
        "dtype": np.dtype(image.dtype).name,
    }


def _size(planes: np.ndarray) -> str:
    return f"{planes.shape[-2]} x {planes.shape[-1]}"
