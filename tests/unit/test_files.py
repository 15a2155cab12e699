"""Outputs appear whole or not at all."""

import pytest

from lib.shared.files import atomic_path


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "table.tsv"
    with atomic_path(path) as part:
        part.write_text("whole")
        assert part.suffix == ".tsv" and not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), atomic_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "image.zarr"
    path.mkdir()
    (path / "old").touch()
    with atomic_path(path) as part:
        part.mkdir()
        (part / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    path = tmp_path / "table.tsv"
    (tmp_path / ".table.tsv.part").mkdir()
    (tmp_path / ".table.tsv.part" / "table.tsv").write_text("half")
    with atomic_path(path) as part:
        assert not part.exists()
        part.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]
