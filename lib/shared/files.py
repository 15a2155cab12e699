"""Outputs that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.shared.errors import InputError


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it when the block succeeds.

    The sibling keeps the suffix of `path`, so writers that look at it behave as
    usual. It may become a file or a folder. When the block raises, nothing of
    it stays and an earlier `path` is untouched; what a killed process left is
    cleared by the next one. Missing parents are made. Only one process may write
    a path at a time, as Snakemake sees to.
    """
    path = Path(path)
    scratch = path.parent / f".{path.name}.part"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    scratch.mkdir(parents=True)
    part = scratch / path.name
    try:
        yield part
        if part.is_dir() and path.is_dir():
            # A folder cannot be renamed over a full one: the old one steps aside first.
            path.rename(scratch / "old")
        part.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_folder(path: str | os.PathLike, what: str) -> None:
    """Raise `InputError`, which begins with `what`, unless `path` is, or can become, a folder
    to write to.
    """
    path = Path(path)
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError(f"{what} is {path}, but {nearest} is a file: name a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{what} is {path}, but nothing may be written to {nearest}: name another folder, or "
            "see to its permissions."
        )
