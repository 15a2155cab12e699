"""Removal of stores that nobody asks for any more."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def remove_stores(folder: str | os.PathLike, keep: Iterable[str | os.PathLike]) -> list[Path]:
    """Delete each `*.ome.zarr` below `folder` that is not among `keep`; return the deleted ones.

    A store steps out of sight before it is taken apart: nobody sees half of one.
    Folders that are empty then are deleted, too. A missing `folder` holds nothing.
    """
    folder, kept = Path(folder), {Path(path) for path in keep}
    stores = sorted(
        Path(parent, name)
        for parent, names, _ in _outside_stores(folder)
        for name in names
        if name.endswith(".ome.zarr")
    )
    removed = [store for store in stores if store not in kept]
    for store in removed:
        gone = store.with_name(f".{store.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)  # of a run that was killed
        store.rename(gone)
        shutil.rmtree(gone)
    for parent in sorted({store.parent for store in removed}, reverse=True):
        if parent != folder and not any(parent.iterdir()):
            parent.rmdir()
    return removed


def _outside_stores(folder: Path) -> Iterable[tuple[str, list[str], list[str]]]:
    """Walk `folder` without going into stores or hidden folders."""
    for parent, names, files in os.walk(folder):
        yield parent, list(names), files
        names[:] = [n for n in names if not n.endswith(".ome.zarr") and not n.startswith(".")]
