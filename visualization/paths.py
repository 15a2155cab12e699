"""From addresses of a browser to files of the results, and to no other files."""

from pathlib import Path
from urllib.parse import unquote

STORE_SUFFIX = ".ome.zarr"


def file_in_store(results: Path, address: str) -> Path | None:
    """The file of an OME-Zarr store that an address names; None where there is none.

    Parameters
    ----------
    results : the folder out of which no address leads, by `..`, by an absolute path or
        by a link.
    address : path from `results`, percent-encoded once, as it came from the browser.

    Only what lies in stores is given out, so neither tables nor logs nor configs are.
    """
    parts = unquote(address, errors="replace").split("/")
    if any(part in ("", ".", "..") or set(part) & set("\\\0:") for part in parts):
        return None
    path = file_below(results, "/".join(parts))
    # Looked at after links are followed: one inside a store could lead out of it.
    return path if path and _in_store(path.relative_to(results.resolve())) else None


def _in_store(path: Path) -> bool:
    return any(folder.name.endswith(STORE_SUFFIX) for folder in path.parents)


def file_below(folder: Path, name: str) -> Path | None:
    """The file `name` of `folder`; None where there is none, or it lies elsewhere."""
    try:
        path = (folder / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # no such file, no such name, a circle of links
        return None
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and one past the last byte that a header `Range` asks of `size` bytes.

    None where it asks for all, or for what RFC 9110 (14.2) lets a server ignore: other
    units, several ranges, nonsense.

    Raises
    ------
    ValueError
        When the range begins beyond the end.
    """
    unit, _, ranges = (header or "").partition("=")
    first, dash, last = ranges.strip().partition("-")
    numbers = [part for part in (first, last) if part]
    if unit.strip() != "bytes" or not dash or not numbers:
        return None
    if not all(part.isascii() and part.isdecimal() and len(part) < 20 for part in numbers):
        return None
    if not first:  # the last so many
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise ValueError(f"the range {ranges} begins beyond {size} bytes")
    return start, end
