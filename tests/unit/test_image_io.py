"""Checkpoints come back as they were written, and say what they hold."""

import hashlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.shared.errors import InputError
from lib.shared.image_io import read_image, read_image_info, write_image

dtypes = st.sampled_from([np.uint8, np.uint16, np.float32, np.int32, np.uint32])
axes = st.sampled_from(["YX", "CYX", "TCYX"])
sizes = st.integers(1, 5)
sides = st.integers(2, 9)


@settings(max_examples=60, deadline=None)
@given(dtype=dtypes, axes=axes, data=st.data())
def test_round_trip(tmp_path_factory, dtype, axes, data):
    shape = tuple(data.draw(sides if axis in "YX" else sizes) for axis in axes)
    image = (np.arange(np.prod(shape)) * 37 % 251).astype(dtype).reshape(shape)
    names = [f"ch {i}" for i in range(shape[axes.index("C")])] if "C" in axes else None
    path = tmp_path_factory.mktemp("io") / "image.tiff"

    write_image(path, image, axes, pixel_size=(0.65, 0.5), channel_names=names)

    back, info = read_image(path), read_image_info(path)
    np.testing.assert_array_equal(back, image)
    assert back.dtype == dtype and info.dtype == dtype
    assert (info.axes, info.shape) == (axes, shape)
    assert info.pixel_size == pytest.approx((0.65, 0.5), rel=1e-5)
    assert info.channel_names == (tuple(names) if names else None)


def test_same_image_same_bytes(tmp_path):
    for dtype in (np.uint16, np.int32):
        image = np.arange(64, dtype=dtype).reshape(8, 8)
        digests = set()
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            path = tmp_path / name / "image.tiff"
            write_image(path, image, "YX", (1, 1))
            digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        assert len(digests) == 1


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_])
def test_wide_types_are_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match="not written to disk"):
        write_image(tmp_path / "a.tiff", np.zeros((3, 3), dtype), "YX")


def test_truncated_and_missing_files_are_named(tmp_path):
    path = tmp_path / "image.tiff"
    image = np.random.default_rng(0).integers(0, 60000, (4, 64, 64), dtype=np.uint16)
    write_image(path, image, "CYX")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"image\.tiff"):
        read_image(path)
    with pytest.raises(InputError, match=r"absent\.tiff does not exist"):
        read_image(tmp_path / "absent.tiff")


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "image.tiff"
    write_image(path, np.ones((4, 4), np.uint16), "YX")

    def fail(part, *_, **__):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(path, np.zeros((4, 4), np.uint16), "YX")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert (read_image(path) == 1).all()
