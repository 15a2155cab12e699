"""What raw images are taken to hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib.shared.errors import InputError

if TYPE_CHECKING:
    from lib.preprocess.readers import RawSource

Part = tuple[str, str | None, int | None, int | None]  # path, channel, z, position


def raw_sources(
    parts: Sequence[Part], sheet: str, place: Mapping[str, str], cycle: int | None = None
) -> "list[RawSource]":
    """The parts of one image, with words that say in messages which row they come from."""
    from lib.preprocess.readers import RawSource

    words = [f"{key} {place[key]}" for key in ("plate", "well", "tile") if key in place]
    words += [] if cycle is None else [f"cycle {cycle}"]
    row = f"{sheet}, {', '.join(words)}"
    return [
        RawSource(Path(path), channel, z, position, row) for path, channel, z, position in parts
    ]


def image_pixels(parts: Sequence[Part], default: int) -> int:
    """Pixels of one plane of a raw image; `default` where it cannot be read.

    Only resources of jobs are reckoned from it: the job that reads the image says
    what is wrong with it.
    """
    from lib.preprocess.readers import raw_metadata

    try:
        first = raw_metadata(raw_sources(parts[:1], "", {}))[0]
    except InputError:
        return default
    return first["size_y"] * first["size_x"]
