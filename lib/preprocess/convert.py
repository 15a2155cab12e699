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


def check_images(images: "Sequence[Sequence[RawSource]]", channel_names: Sequence[str]) -> None:
    """Refuse `channel_names` that none of some `images` of a screen agrees with.

    A single image that differs or cannot be read is the business of the job that reads it.

    Raises `InputError` with what is wrong with the first of `images`.
    """
    misfits = [_misfit(sources, channel_names) for sources in images]
    if misfits and all(misfits):
        raise misfits[0]


def _misfit(sources: "Sequence[RawSource]", channel_names: Sequence[str]) -> InputError | None:
    """What is wrong with the channels of an image that is one readable file."""
    from lib.preprocess.readers import check_channels, raw_metadata

    try:
        raw_metadata(sources)
    except InputError:
        return None
    try:
        if len(sources) == 1:
            check_channels(sources[0], channel_names)
    except InputError as error:
        return error
    return None
