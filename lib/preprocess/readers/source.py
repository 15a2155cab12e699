"""A row of the sample sheet, and how what goes wrong with its file is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.shared.errors import InputError


@dataclass(frozen=True)
class RawSource:
    """One raw file, or the part of it that one row of the sample sheet names.

    Attributes
    ----------
    path : a file, or the folder of an OME-Zarr image.
    channel : the one channel that the row stands for; None: all of the file's.
    z : the one plane that the row stands for; None: all of the file's.
    position : index (from 0) inside a multi-position file.
    row : where the row is, for messages: "sbs_samples.tsv, row 7".
    time : index (from 0) inside a file of several time points.
    """

    path: Path
    channel: str | None = None
    z: int | None = None
    position: int | None = None
    row: str = ""
    time: int | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.row})" if self.row else str(self.path)


class RawImageError(ValueError):
    """What is wrong with a raw file, as the end of a sentence that begins with its name."""


@contextmanager
def naming(source: RawSource) -> Iterator[None]:
    """Turn whatever goes wrong inside into an `InputError` that names file and row."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except RawImageError as error:
        raise InputError(f"The raw image {source} {error}.") from error
    except FileNotFoundError as error:
        raise InputError(
            f"The raw image {source} does not exist or lacks a part ({error})."
        ) from error
    except Exception as error:  # the parsers below raise anything on a damaged file
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"The raw image {source} cannot be read ({reason}): it may be damaged or truncated, "
            "copy it again."
        ) from error
