"""Outputs that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it when the block succeeds.

    The sibling keeps the suffix of `path`, so writers that look at it behave as
    usual. It may become a file or a folder. When the block raises, nothing of
    it stays and an earlier `path` is untouched. Missing parents are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    part = scratch / path.name
    try:
        yield part
        if part.is_dir() and path.is_dir():
            # A folder cannot be renamed over a full one: the old one steps aside first.
            path.rename(scratch / "old")
        part.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
