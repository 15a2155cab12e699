"""In which channels each base shines: a channel of its own, or an own pattern of fewer dyes."""

from collections.abc import Mapping, Sequence

BaseEncoding = Mapping[str, Sequence[str]]


def full_encoding(bases: Sequence[str], encoding: BaseEncoding | None) -> dict[str, list[str]]:
    """The channels of each base, in the order of `bases`; without an encoding that of its name."""
    given = {base: [base] for base in bases} if encoding is None else encoding
    return {base: list(given[base]) for base in bases}


def base_channels(bases: Sequence[str], encoding: BaseEncoding | None = None) -> list[str]:
    """The channels that show bases, in the order in which `bases` first shine in them."""
    shown = full_encoding(bases, encoding).values()
    return list(dict.fromkeys(channel for channels in shown for channel in channels))


def one_channel_each(bases: Sequence[str], encoding: BaseEncoding | None = None) -> bool:
    """Whether every base shines in one channel, and in no other base's."""
    shown = full_encoding(bases, encoding).values()
    single = all(len(channels) == 1 for channels in shown)
    return single and len(base_channels(bases, encoding)) == len(bases)
