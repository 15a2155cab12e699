"""The viewers of the browser, as files: Vizarr from an npm package, neuroglancer from PyPI.

`python -m visualization.packages [TARBALL]` puts Vizarr into the cache, from the npm
registry or from a tarball that was brought to a machine without network.
"""

import argparse
import hashlib
import io
import logging
import os
import sys
import tarfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from lib.shared.errors import InputError
from lib.shared.files import atomic_path

log = logging.getLogger(__name__)

# @galaxyproject/vizarr carries Vizarr as built files, which vizarr itself has not on npm.
VIZARR_URL = "https://registry.npmjs.org/@galaxyproject/vizarr/-/vizarr-0.1.8.tgz"
VIZARR_SHA512 = (
    "68daacf889b44f8868b29008306f241bbd65ce8b2b5988ca1914148c5d21ff27"
    "6aa56a832744b9f5a753f201f61cd249668abd18784600b1691c5d0346ce1e15"
)
SCRIPT = "package/static/index.js"
# The one thing that Vizarr takes from the network: a decoder of JPEG 2000, not used in stores.
FOREIGN_IMPORT = b"https://cdn.jsdelivr.net/gh/mozilla/pdf.js@30bd5f0/src/core/jpx.js"
OWN_IMPORT = b"./jpx.js"
JPX_STUB = b"export class JpxImage {}\n"
TIMEOUT = 60  # seconds


def vizarr_script() -> Path:
    """Where the cache holds Vizarr, or will."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = VIZARR_URL.rpartition("/")[2].removesuffix(".tgz")
    return cache / "poolscope" / version / "index.js"


def install_vizarr(tarball: Path | None = None) -> Path:
    """Put Vizarr into the cache; return its script.

    Parameters
    ----------
    tarball : the package as a file; None downloads it, unless it is there.

    Raises InputError where it cannot be had, or is not what it should be.
    """
    script = vizarr_script()
    if tarball is not None or not script.is_file():
        content = unpack_vizarr(_download() if tarball is None else _read(tarball))
        with atomic_path(script) as part:
            part.write_bytes(content)
    return script


def unpack_vizarr(package: bytes) -> bytes:
    """The script of the package, which needs nothing from the network any more.

    Raises InputError when the package is not the one that is known.
    """
    if hashlib.sha512(package).hexdigest() != VIZARR_SHA512:
        raise InputError(f"The package of Vizarr is not the one at {VIZARR_URL}: get it again.")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        script = archive.extractfile(SCRIPT).read()
    return script.replace(FOREIGN_IMPORT, OWN_IMPORT)


def neuroglancer_client() -> Path | None:
    """The folder of neuroglancer's pages; None where it is not installed."""
    found = find_spec("neuroglancer")
    folder = Path(found.origin).parent / "static" / "client" if found and found.origin else None
    return folder if folder and (folder / "index.html").is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m visualization.packages", description="Put Vizarr into the cache."
    )
    parser.add_argument("tarball", type=Path, nargs="?", help=f"default: {VIZARR_URL}")
    try:
        sys.stdout.write(f"{install_vizarr(parser.parse_args(arguments).tarball)}\n")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _read(tarball: Path) -> bytes:
    try:
        return tarball.read_bytes()
    except OSError as error:
        raise InputError(f"The package {tarball} cannot be read: {error.strerror}.") from error


def _download() -> bytes:
    try:
        with urlopen(VIZARR_URL, timeout=TIMEOUT) as answer:
            return answer.read()
    except (URLError, OSError) as error:
        raise InputError(
            f"Vizarr cannot be downloaded ({error}): on a machine with network get {VIZARR_URL}, "
            "and give it to python -m visualization.packages."
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
