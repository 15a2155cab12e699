"""Outputs that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
