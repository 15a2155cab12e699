"""Which of the server's files may be read here, and where they lie.

Reading from disk goes round OMERO's permissions, so two things hold for every
path: the server itself named it, in answer to a question of the user for an
image that the user may read; and where it really leads, links followed, is
inside a folder that the site has allowed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.shared.errors import InputError


class PathRefused(InputError):
    """A path of the server that is not read here, and why."""


class PathMissing(PathRefused):
    """A path of the server that does not exist on this machine."""


@dataclass(frozen=True)
class ServerDisk:
    """The server's disk as it is seen from here.

    Attributes
    ----------
    roots : folders of this machine from which files may be read, and nothing else.
    mounts : folders of the server (or its container) to the folders of this
        machine where they are mounted; others have the same path on both.
    """

    roots: tuple[Path, ...]
    mounts: tuple[tuple[PurePosixPath, Path], ...] = ()

    @classmethod
    def of(
        cls, roots: Sequence[str | os.PathLike], mounts: Mapping[str, str | os.PathLike] = {}
    ) -> "ServerDisk":
        """Make it of what a config holds; relative roots and mounts are refused."""
        for path in [*roots, *mounts, *mounts.values()]:
            if not PurePosixPath(os.fspath(path)).is_absolute():
                raise InputError(f"The OMERO folder {path} must be an absolute path.")
        pairs = [(PurePosixPath(server), Path(host)) for server, host in mounts.items()]
        # The longest mount that fits counts, as in a file system.
        pairs.sort(key=lambda pair: len(pair[0].parts), reverse=True)
        return cls(tuple(Path(os.path.realpath(root)) for root in roots), tuple(pairs))

    def locate(self, server_path: str) -> Path:
        """Find a file or folder of the server on this machine, its links followed.

        Raises `PathRefused` when the path is relative, has `..` in it, or leads
        outside of `roots`, and `PathMissing` when it does not exist here.
        """
        return self._allowed(self._mounted(_checked(server_path)), server_path)

    def first_of(self, server_paths: Sequence[str]) -> Path:
        """Find the first of several paths, any of which may be the right one, as `locate` does.

        Raises what is most worth telling: that one is refused, before that one is missing.
        """
        refused: list[str] = []
        missing: list[str] = []
        for path in server_paths:
            try:
                return self.locate(path)
            except PathMissing as error:
                missing.append(str(error))
            except PathRefused as error:
                refused.append(str(error))
        if refused:
            raise PathRefused(refused[0])
        raise PathMissing(missing[0])

    def check_links(self, store: Path) -> None:
        """Look at the links inside a store of this machine: a chunk may be one.

        An import by links makes a link of every file, so they are not forbidden.
        Raises `PathRefused` when one leads outside of `roots`, nowhere, or to a folder.
        """
        try:
            for link in _links(store):
                if self._allowed(link, str(link)).is_dir():
                    raise PathRefused(f"{link} is a link to a folder, which is not followed.")
        except OSError as error:
            raise PathRefused(f"The store {store} cannot be read: {error}.") from None

    def _allowed(self, path: Path, name: str) -> Path:
        """Where a path of this machine, called `name` in messages, really leads."""
        try:
            real = Path(os.path.realpath(path, strict=True))
        except OSError as error:
            raise PathMissing(
                f"{name} is not there on this machine ({error.strerror}): is the server's "
                "disk mounted, and omero.mounts right?"
            ) from None
        if not any(real.is_relative_to(root) for root in self.roots):
            leads = f" (it leads to {real})" if real != path else ""
            raise PathRefused(
                f"{name}{leads} lies outside of the folders of omero.local_roots: "
                "add its folder there if it may be read."
            )
        return real

    def _mounted(self, path: PurePosixPath) -> Path:
        for server, host in self.mounts:
            if path.is_relative_to(server):
                return host / path.relative_to(server)
        return Path(path)


def repository_path(root: str, folder: str, name: str) -> str:
    """Path on the server of a file of a fileset: repository root, `OriginalFile.path` and name.

    Raises `PathRefused` when folder or name would lead out of the repository.
    """
    if folder.startswith("/") or "/" in name or name in ("", ".", ".."):
        raise PathRefused(f"The server names a file {folder!r} {name!r}, which is no plain path.")
    relative = PurePosixPath(folder) / name
    _checked(f"/{relative}")
    return str(PurePosixPath(root) / relative)


def numbered_path(kind: str, number: int) -> str:
    """Where OMERO keeps the bytes of `Pixels` or `Files` of a number, under its data folder.

    Folders hold a thousand entries each: 7 is Pixels/7, 1234567 is
    Pixels/Dir-001/Dir-234/1234567.
    """
    folders: list[str] = []
    rest = number // 1000
    while rest > 0:
        folders.insert(0, f"Dir-{rest % 1000:03d}")
        rest //= 1000
    return "/".join([kind, *folders, str(number)])


def zarr_root(path: str) -> str | None:
    """The folder of an OME-Zarr in which a file lies; None when there is none."""
    parts = PurePosixPath(path).parts
    for at, part in enumerate(parts):
        if part.lower().endswith(".zarr"):
            return str(PurePosixPath(*parts[: at + 1]))
    return None


def _links(folder: str | os.PathLike) -> Iterator[Path]:
    """Symbolic links under a folder; none of them is followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(entry.path)


def _checked(server_path: str) -> PurePosixPath:
    # `..` is refused before it is resolved: no server has a reason to send one.
    if "\0" in server_path or ".." in PurePosixPath(server_path).parts:
        raise PathRefused(
            f"The server names the path {server_path!r}, which climbs out of a folder."
        )
    path = PurePosixPath(server_path)
    if not path.is_absolute():
        raise PathRefused(f"The server names the path {server_path!r}, which is not absolute.")
    return path
