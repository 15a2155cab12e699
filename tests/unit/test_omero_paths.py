"""Which of the server's files are read: nothing outside of the allowed folders, by any way."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.omero.paths import (
    PathRefused,
    ServerDisk,
    numbered_path,
    repository_path,
    zarr_root,
)
from lib.shared.errors import InputError


@pytest.fixture
def disk(tmp_path) -> ServerDisk:
    """A server's /OMERO mounted at tmp_path/mnt, beside a folder that nobody allowed."""
    (tmp_path / "mnt/ManagedRepository").mkdir(parents=True)
    (tmp_path / "mnt/ManagedRepository/a.tiff").write_text("image")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("key")
    (tmp_path / "mntsecret").mkdir()
    return ServerDisk.of([tmp_path / "mnt"], {"/OMERO": tmp_path / "mnt"})


def test_a_path_of_the_server_is_found_where_its_folder_is_mounted(disk, tmp_path):
    found = disk.locate("/OMERO/ManagedRepository/a.tiff")
    assert found == tmp_path / "mnt/ManagedRepository/a.tiff"


def test_the_longest_mount_counts(tmp_path):
    (tmp_path / "fast").mkdir()
    (tmp_path / "slow").mkdir()
    mounts = {"/data": tmp_path / "slow", "/data/new": tmp_path / "fast"}
    disk = ServerDisk.of([tmp_path], mounts)
    assert disk.locate("/data/new") == tmp_path / "fast"
    assert disk.locate("/data") == tmp_path / "slow"


def test_a_mount_is_no_prefix_of_text(tmp_path):
    (tmp_path / "mnt").mkdir()
    disk = ServerDisk.of([tmp_path], {"/OMERO": tmp_path / "mnt"})
    with pytest.raises(PathRefused, match="/OMERO2 is not there"):
        disk.locate("/OMERO2")


@pytest.mark.parametrize(
    "path",
    [
        "/OMERO/../secret/key",
        "/OMERO/ManagedRepository/../../secret/key",
        "/OMERO/ManagedRepository/..",
        "OMERO/ManagedRepository/a.tiff",
        "/OMERO/ManagedRepository/a.tiff\0.png",
    ],
)
def test_what_climbs_is_refused_before_it_is_looked_at(disk, path):
    with pytest.raises(PathRefused, match=r"climbs out of a folder|not absolute"):
        disk.locate(path)


def test_a_link_out_of_the_allowed_folders_is_refused_and_told(disk, tmp_path):
    link = tmp_path / "mnt/ManagedRepository/link.tiff"
    link.symlink_to(tmp_path / "secret/key")
    with pytest.raises(PathRefused, match=r"leads to .*secret/key.* outside"):
        disk.locate("/OMERO/ManagedRepository/link.tiff")
    folder = tmp_path / "mnt/ManagedRepository/folder"
    folder.symlink_to(tmp_path / "secret")
    with pytest.raises(PathRefused, match="outside"):
        disk.locate("/OMERO/ManagedRepository/folder/key")


def test_links_inside_a_store_are_followed_up(disk, tmp_path):
    chunks = tmp_path / "mnt/image.ome.zarr/0"
    chunks.mkdir(parents=True)
    (chunks / "0.0").symlink_to(tmp_path / "mnt/ManagedRepository/a.tiff")
    disk.check_links(chunks.parent)
    (chunks / "0.1").symlink_to(tmp_path / "secret/key")
    with pytest.raises(PathRefused, match=r"0/0\.1 \(it leads to .*secret/key\) lies outside"):
        disk.check_links(chunks.parent)
    (chunks / "0.1").unlink()
    (chunks / "0.1").symlink_to(tmp_path / "mnt/none")
    with pytest.raises(PathRefused, match="is not there"):
        disk.check_links(chunks.parent)
    (chunks / "0.1").unlink()
    (chunks.parent / "1").symlink_to(tmp_path / "mnt/ManagedRepository")
    with pytest.raises(PathRefused, match="is a link to a folder"):
        disk.check_links(chunks.parent)
    with pytest.raises(PathRefused, match=r"a\.tiff cannot be read"):
        disk.check_links(tmp_path / "mnt/ManagedRepository/a.tiff")


def test_a_link_inside_the_allowed_folders_is_followed(disk, tmp_path):
    (tmp_path / "mnt/link.tiff").symlink_to(tmp_path / "mnt/ManagedRepository/a.tiff")
    assert disk.locate("/OMERO/link.tiff").name == "a.tiff"


def test_a_folder_that_begins_alike_is_not_allowed(disk, tmp_path):
    with pytest.raises(PathRefused, match="outside"):
        disk.locate(str(tmp_path / "mntsecret"))


def test_without_allowed_folders_nothing_is_read(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(PathRefused, match=r"omero\.local_roots"):
        ServerDisk.of([]).locate(str(tmp_path / "a"))


def test_relative_folders_are_no_settings():
    with pytest.raises(InputError, match="absolute"):
        ServerDisk.of(["data"])
    with pytest.raises(InputError, match="absolute"):
        ServerDisk.of([], {"/OMERO": "data"})


@given(st.text(alphabet="./ab\0", max_size=12))
def test_no_text_leads_out(tmp_path_factory, text):
    base = tmp_path_factory.getbasetemp() / "leads_out"
    (base / "in").mkdir(parents=True, exist_ok=True)
    (base / "a").write_text("outside")
    try:
        found = ServerDisk.of([base / "in"]).locate(f"{base}/in/{text}")
    except PathRefused:
        return
    assert found.is_relative_to(base / "in")


def test_a_file_of_a_fileset_lies_under_its_repository():
    path = repository_path("/OMERO/ManagedRepository", "alice_2/2026-05/21/", "a.ome.tiff")
    assert path == "/OMERO/ManagedRepository/alice_2/2026-05/21/a.ome.tiff"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("alice/", "../key"), ("alice/", ".."), ("../", "key"), ("a/../../", "key"),
     ("/etc/", "passwd"), ("a/", ""), ("a/", "b/c")],
)  # fmt: skip
def test_a_name_that_would_leave_its_repository_is_refused(folder, name):
    with pytest.raises(PathRefused):
        repository_path("/OMERO/ManagedRepository", folder, name)


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (7, "Pixels/7"),
        (999, "Pixels/999"),
        (1000, "Pixels/Dir-001/1000"),
        (123456, "Pixels/Dir-123/123456"),
        (1234567, "Pixels/Dir-001/Dir-234/1234567"),
    ],
)
def test_pixels_lie_in_folders_of_a_thousand(number, path):
    assert numbered_path("Pixels", number) == path


def test_a_zarr_is_its_outermost_folder():
    assert zarr_root("/r/a/p.zarr/A/1/0/.zattrs") == "/r/a/p.zarr"
    assert zarr_root("/r/a.OME.Zarr/0/x.zarr/1") == "/r/a.OME.Zarr"
    assert zarr_root("/r/a/p.tiff") is None
    assert Path(zarr_root("/p.zarr")) == Path("/p.zarr")
