"""A killed export, a full disk and a read-only folder leave a whole store or none."""

import errno
import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pytest

from lib.shared.image_io import read_image
from lib.shared.omezarr import chunks
from lib.shared.omezarr.check import check_store
from lib.shared.omezarr_utils import write_multiscale_omezarr

IMAGE = np.random.default_rng(3).integers(0, 60000, (2, 600, 600)).astype(np.uint16)
OTHER = IMAGE[:, ::-1]
OPTIONS = {"chunk_shape": (1, 200, 200), "labels": {"nuclei": IMAGE[0].astype(np.int32)}}
NOBODY = 65534


def in_a_child(function, *arguments):
    """Start `function` in a process of its own, which shares what is imported."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def export(path, **keys):
    write_multiscale_omezarr(IMAGE, path, (0.5, 0.5), **(OPTIONS | keys))


def report_error(pipe, prepare, path):
    """Export after `prepare`, and tell the error that comes of it."""
    prepare()
    try:
        export(path)
    except OSError as error:
        pipe.send((error.errno, str(error)))
    else:
        pipe.send(None)


def error_of_export(prepare, path):
    ours, theirs = multiprocessing.Pipe()
    process = in_a_child(report_error, theirs, prepare, path)
    assert ours.poll(20), "the export did not end"
    answer = ours.recv()
    process.join()
    return answer


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("is_there", [False, True])
def test_killed_at_any_moment(tmp_path, version, is_there):
    path = tmp_path / "a.ome.zarr"
    start = time.perf_counter()
    export(path, version=version)
    duration = time.perf_counter() - start
    states = set()
    for delay in np.linspace(0, 1.5 * duration, 8):
        if is_there:
            write_multiscale_omezarr(OTHER, path, (0.5, 0.5), version=version, **OPTIONS)
        elif path.exists():
            path.rename(tmp_path / f"whole{delay}")
        process = in_a_child(lambda: export(path, version=version, threads=2))
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():
            assert check_store(path) == []
            image = read_image(path)
            states.add("new" if np.array_equal(image, IMAGE) else "old")
            assert np.array_equal(image, IMAGE) or (is_there and np.array_equal(image, OTHER))
        else:
            states.add("none")
    # The moments were such that both ends of an export were met.
    assert ("old" if is_there else "none") in states
    export(path, version=version)
    assert check_store(path) == []
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("moment", [0, 1, 30])
@pytest.mark.parametrize("threads", [1, 3])
def test_full_disk(tmp_path, monkeypatch, moment, threads, is_there):
    path = tmp_path / "a.ome.zarr"
    if is_there:
        write_multiscale_omezarr(OTHER, path, (0.5, 0.5), **OPTIONS)
    left = iter(range(moment))
    write = os.write

    def fill(file, data):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(chunks.os, "write", fill)
    with pytest.raises(OSError, match=r"a\.ome\.zarr cannot be written.*disk is full") as caught:
        export(path, threads=threads)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == ([path] if is_there else [])
    if is_there:
        np.testing.assert_array_equal(read_image(path), OTHER)
    export(path)
    assert check_store(path) == []


def test_short_writes_are_carried_on(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(chunks.os, "write", lambda file, data: write(file, data[:1000]))
    export(tmp_path / "a.ome.zarr")
    export(tmp_path / "b.ome.zarr", version="0.5")
    monkeypatch.undo()
    assert check_store(tmp_path / "a.ome.zarr") == check_store(tmp_path / "b.ome.zarr") == []


def test_files_that_may_not_grow(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    number, words = error_of_export(limit, tmp_path / "a.ome.zarr")
    assert number == errno.EFBIG and "a.ome.zarr cannot be written, since a file grew" in words
    assert not list(tmp_path.iterdir())


def test_read_only_folder(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)

    def become_nobody():
        if os.geteuid() == 0:  # whom permissions do not stop
            os.setuid(NOBODY)

    number, words = error_of_export(become_nobody, folder / "a.ome.zarr")
    assert number == errno.EACCES
    assert "a.ome.zarr cannot be written, since its folder may not be written to" in words
    assert not list(folder.iterdir())
    folder.chmod(0o755)


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(chunks, "write_file", interrupt)
    for threads in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / "a.ome.zarr", threads=threads)
        assert not list(tmp_path.iterdir())
