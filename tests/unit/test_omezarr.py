"""OME-Zarr stores hold the image bit for bit, levels that follow from it, and true metadata."""

import json
import logging
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.omezarr import pyramid
from lib.shared.omezarr.axes import guess_axes
from lib.shared.omezarr.colors import channel_colors
from lib.shared.omezarr.pyramid import label_levels, mean_levels
from lib.shared.omezarr_utils import (
    ensure_omero_channel_colors,
    export_tiff_to_omezarr,
    nd2_to_omezarr,
    raw_to_omezarr,
    read_omezarr,
    write_multiscale_omezarr,
)

ND2 = Path(__file__).parents[3] / "shared/data/nd2"
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])
RANDOM = np.random.default_rng(5)
TILE = RANDOM.integers(100, 60000, (3, 70, 45)).astype(np.uint16)
NAMES = ["DAPI", "G", "T"]

dtypes = st.sampled_from(["uint8", "uint16", "int32", "uint32", "float32"])
sides = st.one_of(st.just(1), st.integers(1, 23))
chunk_sides = st.sampled_from([1, 2, 3, 5, 8, 64])


def ome_of(path):
    v2 = path / ".zattrs"
    if v2.is_file():
        return json.loads(v2.read_text())
    return json.loads((path / "zarr.json").read_text())["attributes"]["ome"]


def own_of(path):
    v2 = path / ".zattrs"
    content = json.loads((v2 if v2.is_file() else path / "zarr.json").read_text())
    return content.get("attributes", content)["poolscope"]


def random_image(shape, dtype, seed):
    """Values over the whole range of the type, extremes included."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return random.normal(0, 1000, shape).astype(dtype)
    info = np.iinfo(dtype)
    image = random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return np.where(random.random(shape) < 0.1, np.array(info.max, dtype), image)


def slow_mean_level(image, width):
    """Means of all pixels in each block of `width` x `width`, by Python's own integers."""
    *leading, rows, columns = image.shape
    level = np.empty((*leading, ceil(rows / width), ceil(columns / width)), image.dtype)
    for at in np.ndindex(level.shape):
        block = [slice(n * width, (n + 1) * width) for n in at[-2:]]
        values = image[(*at[:-2], *block)].ravel().tolist()
        if image.dtype.kind == "f":
            level[at] = sum(values) / len(values)
        else:
            level[at] = (2 * sum(values) + len(values)) // (2 * len(values))  # half up
    return level


@settings(max_examples=80, deadline=None)
@given(
    dtype=dtypes,
    shape=st.tuples(st.integers(1, 2), sides, sides),
    factor=st.integers(2, 4),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_mean_levels_equal_a_slow_reference(dtype, shape, factor, count, seed):
    image = random_image(shape, dtype, seed)
    levels = mean_levels(image, factor, count)
    assert len(levels) == count - 1
    for number, level in enumerate(levels, start=1):
        expected = slow_mean_level(image, factor**number)
        assert (level.dtype, level.shape) == (image.dtype, expected.shape)
        if dtype == "float32":
            np.testing.assert_allclose(level, expected, rtol=1e-6, atol=1e-3)
        else:
            np.testing.assert_array_equal(level, expected)


@pytest.mark.parametrize("band", [1, 4000, 2**19])
@pytest.mark.parametrize("factor", [2, 3])
def test_large_images_have_the_same_means(monkeypatch, band, factor):
    # More rows than are summed at a time, whatever their number, and planes at once.
    monkeypatch.setattr(pyramid, "BAND", band)
    image = RANDOM.integers(0, 65536, (2, 151, 102)).astype(np.uint16)
    for pixels in (image, image[:, :, ::-1], image.astype(np.float32)):
        for number, level in enumerate(mean_levels(pixels, factor, 4), start=1):
            np.testing.assert_array_equal(level, slow_mean_level(pixels, factor**number))


def test_a_hand_made_mean():
    image = np.array([[1, 2, 9], [2, 1, 10], [7, 8, 65535]], np.uint16)
    (level,) = mean_levels(image, 2, 2)
    # 6/4 and 19/2 and 15/2 are halves, which go up; the corner is one pixel.
    assert level.tolist() == [[2, 10], [8, 65535]]


@settings(max_examples=60, deadline=None)
@given(
    dtype=dtypes,
    axes=st.sampled_from(["YX", "CYX", "YXC", "TCYX"]),
    factor=st.integers(2, 4),
    max_levels=st.one_of(st.none(), st.integers(1, 5)),
    chunks=st.tuples(st.integers(1, 2), chunk_sides, chunk_sides),
    version=st.sampled_from(["0.4", "0.5"]),
    sharded=st.booleans(),
    is_label=st.booleans(),
    threads=st.integers(1, 3),
    compression=st.sampled_from(["blosc", "zstd"]),
    data=st.data(),
)
def test_stores_hold_the_image_and_its_levels(
    tmp_path_factory, dtype, axes, factor, max_levels, chunks, version, sharded, is_label, threads,
    compression, data,
):  # fmt: skip
    shape = tuple(data.draw(sides if a in "YX" else st.integers(1, 3)) for a in axes)
    is_label = is_label and dtype != "float32"
    image = random_image(shape, dtype, data.draw(st.integers(0, 99)))
    path = tmp_path_factory.mktemp("store") / "a.ome.zarr"

    write_multiscale_omezarr(
        image, path, (0.5, 0.25), chunks, factor, max_levels, axes=axes, is_label=is_label,
        version=version, sharded=sharded, threads=threads, compression=compression,
    )  # fmt: skip

    # As it was given, through our own reader; as it is stored, through zarr-python.
    np.testing.assert_array_equal(read_image(path), image)
    assert read_image(path).dtype == image.dtype
    info = read_image_info(path)
    assert (info.axes, info.shape, info.dtype) == (axes, shape, image.dtype)
    assert (info.pixel_size, info.channel_names) == ((0.5, 0.25), None)

    group = zarr.open_group(path, mode="r")
    stored = image if axes != "YXC" else np.moveaxis(image, -1, 0)
    stored = stored if axes != "YX" else stored[None]
    (multiscale,) = ome_of(path)["multiscales"]
    arrays = [group[dataset["path"]] for dataset in multiscale["datasets"]]
    assert [array.basename for array in arrays] == [f"scale{n}" for n in range(len(arrays))]
    np.testing.assert_array_equal(arrays[0][...], stored)
    make = label_levels if is_label else mean_levels
    for array, level in zip(arrays[1:], make(stored, factor, len(arrays)), strict=True):
        assert array.shape == level.shape and array.dtype == image.dtype
        np.testing.assert_array_equal(array[...], level)
        if is_label:
            assert set(np.unique(array[...])) <= set(np.unique(image))
    # Levels go on until one fits into a chunk.
    fits = [all(n <= c for n, c in zip(a.shape[-2:], chunks[-2:], strict=True)) for a in arrays]
    assert not any(fits[:-1]) and (fits[-1] or len(arrays) == max_levels)
    # Nothing but chunks and metadata; no temporary file.
    assert list(path.parent.iterdir()) == [path]
    assert not list(path.rglob("*.part"))


@VERSIONS
def test_metadata_of_axes_and_scales(tmp_path, version):
    path = write_multiscale_omezarr(
        TILE, tmp_path / "t.ome.zarr", (0.5, 0.25), (1, 20, 20), version=version,
        stage_position=(100.0, 50.0),
    )  # fmt: skip
    (multiscale,) = ome_of(path)["multiscales"]
    assert multiscale["name"] == "t" and multiscale["type"] == "mean"
    assert multiscale["axes"] == [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    steps = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert [kind["type"] for kind in steps[0]] == ["scale", "translation"]
    assert [step[0]["scale"] for step in steps] == [[1, 0.5, 0.25], [1, 1, 0.5], [1, 2, 1]]
    # The first pixel lies 34.5 and 22 px before the middle; a mean of 2 x 2 px half a pixel on.
    expected = [[0, 82.75, 44.5], [0, 83.0, 44.625], [0, 83.5, 44.875]]
    assert [step[1]["translation"] for step in steps] == expected
    # The raw reader finds the middle again.
    (row,) = raw_metadata([RawSource(path)])
    assert (row["y_pos"], row["x_pos"]) == pytest.approx((100.0, 50.0))


@VERSIONS
def test_arrays_are_described_as_zarr_python_does(tmp_path, version):
    path = write_multiscale_omezarr(
        TILE, tmp_path / "t.ome.zarr", None, (1, 32, 32), version=version, sharded=False
    )
    name = ".zarray" if version == "0.4" else "zarr.json"
    codec = zarr.open_group(path)["scale0"].compressors
    again = zarr.create_array(
        tmp_path / "again",
        shape=TILE.shape,
        chunks=(1, 32, 32),
        dtype="uint16",
        compressors=codec,
        zarr_format=2 if version == "0.4" else 3,
        dimension_names=None if version == "0.4" else ["c", "y", "x"],
        chunk_key_encoding={"name": "v2" if version == "0.4" else "default", "separator": "/"},
    )
    ours = json.loads((path / "scale0" / name).read_text())
    theirs = json.loads((tmp_path / "again" / name).read_text())
    theirs.pop("storage_transformers", None)
    assert ours == theirs
    # Same codec, same chunks: the same bytes but for chunks that reach beyond the edge.
    again[...] = TILE
    key = "1/0/0" if version == "0.4" else "c/1/0/0"
    ours, theirs = (folder / key for folder in (path / "scale0", tmp_path / "again"))
    assert abs(ours.stat().st_size - theirs.stat().st_size) <= 64


@VERSIONS
def test_channels_as_viewers_show_them(tmp_path, version):
    image = np.zeros((2, 600, 600), np.uint16)
    image[0] = np.arange(600)[:, None]  # percentiles are known
    image[1, 100, 100] = 9000
    path = write_multiscale_omezarr(
        image, tmp_path / "t.ome.zarr", max_levels=1, channel_labels=["DAPI", "AF568"],
        version=version,
    )  # fmt: skip
    omero = ome_of(path)["omero"]
    first, second = omero["channels"]
    assert (first["label"], first["color"], second["color"]) == ("DAPI", "0000FF", "FF8000")
    assert omero["rdefs"] == {"model": "color", "defaultT": 0, "defaultZ": 0}
    window = first["window"]
    assert (window["min"], window["max"]) == (0, pytest.approx(599, abs=3))
    assert window["start"] == pytest.approx(7, abs=3)
    assert window["end"] == pytest.approx(598, abs=3)
    # A channel with next to nothing in it still has a window that is none of nothing.
    assert second["window"]["start"] < second["window"]["end"] <= second["window"]["max"] == 9000


def test_reads_are_no_brighter_in_a_deeper_pyramid(tmp_path):
    """Means of blocks dilute reads: a window that suits them turns cells white."""
    image = RANDOM.integers(100, 200, (1, 512, 512)).astype(np.uint16)
    image[:, ::8, ::8] = 5000  # 1.6 % of all pixels
    windows = []
    for levels in (1, 5):
        path = tmp_path / f"{levels}.ome.zarr"
        write_multiscale_omezarr(image, path, chunk_shape=(1, 32, 32), max_levels=levels)
        windows.append(ome_of(path)["omero"]["channels"][0]["window"])
    assert windows[0] == windows[1]
    assert windows[0]["start"] < 110 and windows[0]["end"] == windows[0]["max"] == 5000


def test_dark_borders_do_not_set_the_window(tmp_path):
    image = np.zeros((1, 400, 400), np.uint16)
    image[:, 100:] = RANDOM.integers(1000, 2000, (300, 400))
    path = write_multiscale_omezarr(image, tmp_path / "t.ome.zarr")
    window = ome_of(path)["omero"]["channels"][0]["window"]
    assert 1000 <= window["start"] < 1100 and 1900 < window["end"] < 2000


def test_infinite_and_missing_values_leave_a_window(tmp_path):
    image = np.full((1, 30, 30), np.nan, np.float32)
    image[0, :5] = np.inf
    path = write_multiscale_omezarr(image, tmp_path / "t.ome.zarr")
    window = ome_of(path)["omero"]["channels"][0]["window"]
    assert all(np.isfinite(list(window.values()))) and window["start"] < window["end"]
    np.testing.assert_array_equal(read_image(path), image)
    json.loads((path / ".zattrs").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["DAPI", "G", "T", "A", "C"], ["0000FF", "00FF00", "FF0000", "FF00FF", "00FFFF"]),
        (["Hoechst 33342", "Alexa 568", "AF647"], ["0000FF", "FF8000", "FF00FF"]),
        (["DAPI_1x", "alexa-488"], ["0000FF", "00FF00"]),
        (["x", "y"], ["00FF00", "FF00FF"]),
        (["DAPI", "GREEN", "RED", "FAR_RED"], ["0000FF", "00FF00", "FF0000", "FF00FF"]),
        (["DAPI", "DAPI"], ["0000FF", "00FF00"]),
        (["thing", "GFP"], ["FF00FF", "00FF00"]),  # a known dye goes before its neighbours
    ],
)
def test_colours(labels, expected):
    assert channel_colors(labels) == expected


@given(st.lists(st.sampled_from(["DAPI", "GFP", "A", "C", "x", "Cy5", "AF647", ""]), max_size=14))
def test_colours_are_distinct(labels):
    colors = channel_colors(labels)
    assert len(set(colors)) == len(colors) == len(labels)


@VERSIONS
def test_labels_beside_their_image(tmp_path, version):
    nuclei = RANDOM.integers(0, 9, (70, 45)).astype(np.int32)
    path = write_multiscale_omezarr(
        TILE, tmp_path / "t.ome.zarr", (0.5, 0.5), (1, 20, 20), version=version,
        labels={"nuclei": nuclei, "cells": nuclei.astype(np.int64) * 2},
        label_attributes={"nuclei": {"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]}},
    )  # fmt: skip
    assert ome_of(path / "labels")["labels"] == ["nuclei", "cells"]
    ome = ome_of(path / "labels/nuclei")
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert ome["image-label"]["colors"][0]["label-value"] == 1
    (multiscale,), (of_image,) = ome["multiscales"], ome_of(path)["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["y", "x"]
    assert len(multiscale["datasets"]) == len(of_image["datasets"]) == 3
    # Every other pixel is kept where it is.
    for dataset in multiscale["datasets"]:
        assert dataset["coordinateTransformations"][1]["translation"] == [0, 0]
    np.testing.assert_array_equal(read_image(path / "labels/nuclei"), nuclei)
    for level in range(3):
        np.testing.assert_array_equal(
            read_omezarr(path / "labels/nuclei", level), nuclei[:: 2**level, :: 2**level]
        )
    assert read_image(path / "labels/cells").dtype == np.int32


def test_masks_stacked_as_channels(tmp_path):
    masks = [RANDOM.integers(0, 9, (40, 30)).astype(np.int32) for _ in range(2)]
    for name, mask in zip("nc", masks, strict=True):
        write_image(tmp_path / f"{name}.tiff", mask, "YX", (0.5, 0.5))
    paths = [tmp_path / "n.tiff", tmp_path / "c.tiff"]
    path = export_tiff_to_omezarr(
        paths, tmp_path / "s.ome.zarr", chunk_shape=(1, 16, 16), channel_labels=["Nuclei", "Cells"]
    )
    np.testing.assert_array_equal(read_image(path), np.stack(masks))
    assert read_image_info(path).channel_names == ("Nuclei", "Cells")
    np.testing.assert_array_equal(read_omezarr(path, 1), np.stack(masks)[:, ::2, ::2])
    window = ome_of(path)["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (0, masks[0].max())
    assert [source["path"] for source in own_of(path)["source"]] == [str(p) for p in paths]


@VERSIONS
@pytest.mark.parametrize("axes", ["YX", "CYX", "TCYX"])
def test_a_tiff_and_its_mirror_read_alike(tmp_path, version, axes):
    image = RANDOM.integers(0, 65536, (2, 3, 41, 30)[4 - len(axes) :]).astype(np.uint16)
    names = NAMES if "C" in axes else None
    write_image(tmp_path / "t.tiff", image, axes, (0.65, 0.325), names)
    path = export_tiff_to_omezarr(
        tmp_path / "t.tiff", tmp_path / "t.ome.zarr", version=version,
        provenance={"stage": "align_sbs", "config_hash": "abc", "version": "1"},
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path), read_image(tmp_path / "t.tiff"))
    assert read_image_info(path) == read_image_info(tmp_path / "t.tiff")
    own = own_of(path)
    assert (own["stage"], own["config_hash"], own["version"]) == ("align_sbs", "abc", "1")
    bytes_of = (tmp_path / "t.tiff").stat().st_size
    assert own["source"] == [{"path": str(tmp_path / "t.tiff"), "bytes": bytes_of}]
    stored = ome_of(path)["multiscales"][0]["axes"]
    assert "".join(a["name"] for a in stored).upper() == ("TCYX" if "T" in axes else "CYX")


def test_a_tiff_without_pixel_size_gets_no_unit(tmp_path):
    tifffile.imwrite(tmp_path / "t.tiff", TILE[0])
    path = export_tiff_to_omezarr(tmp_path / "t.tiff", tmp_path / "t.ome.zarr")
    assert all("unit" not in axis for axis in ome_of(path)["multiscales"][0]["axes"])
    assert read_image_info(path).pixel_size is None
    sized = export_tiff_to_omezarr(tmp_path / "t.tiff", tmp_path / "s.ome.zarr", (0.5, 0.25))
    assert read_image_info(sized).pixel_size == (0.5, 0.25)


@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {
            "axes": "CYX", "PhysicalSizeY": 650, "PhysicalSizeYUnit": "nm",
            "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm",
        }},
        {"imagej": True, "resolution": (1 / 0.325, 1 / 0.65),
         "metadata": {"axes": "CYX", "unit": "micron"}},
    ],
    ids=["OME-TIFF", "ImageJ"],
)  # fmt: skip
def test_the_pixel_size_of_tiffs_of_other_programs(tmp_path, options):
    tifffile.imwrite(tmp_path / "t.tif", TILE, **options)
    path = export_tiff_to_omezarr(tmp_path / "t.tif", tmp_path / "t.ome.zarr")
    assert read_image_info(path).pixel_size == pytest.approx((0.65, 0.325))
    np.testing.assert_array_equal(read_image(path), TILE)


def test_a_colour_tiff_has_its_samples_as_channels(tmp_path):
    image = RANDOM.integers(0, 256, (40, 30, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "t.tiff", image, photometric="rgb")
    path = export_tiff_to_omezarr(tmp_path / "t.tiff", tmp_path / "t.ome.zarr")
    np.testing.assert_array_equal(zarr.open_group(path)["scale0"][...], np.moveaxis(image, -1, 0))
    np.testing.assert_array_equal(read_image(path), image)


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((30, 40), None, "YX"),
        ((3, 30, 40), None, "CYX"),
        ((30, 40, 3), None, "YXC"),
        ((12, 40, 3), None, "CYX"),  # twelve channels of a narrow image
        ((12, 40, 3), "abc", "YXC"),
        ((2, 3, 30, 40), None, "TCYX"),
    ],
)
def test_axes_that_are_not_told(shape, labels, axes):
    assert guess_axes(shape, labels) == axes


@VERSIONS
def test_raw_files_straight_to_a_store(tmp_path, version):
    for number, name in enumerate(NAMES):
        tifffile.imwrite(tmp_path / f"{name}.tif", TILE[number])
    sources = [RawSource(tmp_path / f"{name}.tif", channel=name) for name in NAMES]
    path = raw_to_omezarr(
        sources, tmp_path / "t.ome.zarr", NAMES, pixel_size=(0.5, 0.5), version=version
    )
    np.testing.assert_array_equal(read_image(path), TILE)
    # And a store is itself a raw file.
    np.testing.assert_array_equal(read_raw([RawSource(path)], NAMES), TILE)
    assert [s["path"] for s in own_of(path)["source"]] == [str(s.path) for s in sources]


@pytest.mark.skipif(not ND2.is_dir(), reason="real test images are not there")
def test_a_real_nd2_straight_to_a_store(tmp_path):
    (nd2_path,) = ND2.glob("*.nd2")
    path = nd2_to_omezarr(nd2_path, tmp_path / "t.ome.zarr", time=1)
    info = read_image_info(path)
    names = info.channel_names
    assert (info.axes, info.shape, len(names)) == ("CYX", (2, 31, 38), 2)
    np.testing.assert_array_equal(read_image(path), read_raw([RawSource(nd2_path, time=1)], names))
    assert info.pixel_size == pytest.approx((0.1678, 0.1678), abs=1e-4)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"coarsening_factor": 3}, "coarsening factor of 3"),
        ({"version": "0.5"}, "OME-Zarr 0.5"),
        ({"compression": "zstd"}, "zstd compression"),
        ({"labels": {"a": np.full((70, 45), 2**40, np.uint64)}}, "uint64"),
        ({}, None),
    ],
)
def test_choices_that_omero_does_not_read_are_told(tmp_path, caplog, keys, words):
    with caplog.at_level(logging.WARNING):
        write_multiscale_omezarr(TILE, tmp_path / "t.ome.zarr", **keys)
    assert (words in caplog.text) if words else not caplog.text


@pytest.mark.parametrize(
    ("image", "keys", "words"),
    [
        (TILE.astype(np.float64), {}, "float64 is not written"),
        (TILE.astype(np.uint64), {}, "uint64 is not written"),
        (TILE > 5, {}, "bool is not written"),
        (TILE.astype(np.float32), {"is_label": True}, "labels are whole numbers"),
        (-TILE[0].astype(np.int64), {"is_label": True}, "not -"),
        (TILE, {"channel_labels": ["a"]}, "1 channel labels"),
        (TILE, {"pixel_size": (0, 1)}, "no pixel size"),
        (TILE, {"pixel_size": (float("nan"), 1)}, "no pixel size"),
        (TILE, {"axes": "ZYX"}, "axes ZYX"),
        (TILE, {"axes": "YX"}, "axes YX"),
        (TILE[:, :0], {}, "no pixels"),
        (TILE, {"labels": {"a": TILE[0, :5]}}, "labels a are uint16 of shape"),
        (TILE, {"labels": {"a": TILE[0] / 2}}, "labels a are float64"),
        (TILE, {"labels": {"../a": TILE[0]}}, "no name"),
        (TILE, {"coarsening_factor": 1}, "factor of 1"),
        (TILE, {"max_levels": 0}, "0 levels"),
        (TILE, {"version": "0.6"}, "0.6 is not written"),
        (TILE, {"chunk_shape": (1, 0, 5)}, "no shape of chunks"),
        (TILE, {"threads": 0}, "0 threads"),
        (TILE[None, None], {}, "neither 2, 3 nor 4"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path, image, keys, words):
    with pytest.raises(ValueError, match=words):
        write_multiscale_omezarr(image, tmp_path / "t.ome.zarr", **keys)
    assert not list(tmp_path.iterdir())


def test_same_image_same_bytes(tmp_path):
    def files(name, threads, **keys):
        path = write_multiscale_omezarr(
            TILE, tmp_path / name / "t.ome.zarr", None, (1, 16, 16), threads=threads, **keys
        )
        return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}

    for keys in ({}, {"version": "0.5"}):
        assert files("a" + str(len(keys)), 1, **keys) == files("b" + str(len(keys)), 4, **keys)


@VERSIONS
def test_missing_and_short_chunks_are_not_read_as_zeros(tmp_path, version):
    path = write_multiscale_omezarr(
        TILE, tmp_path / "t.ome.zarr", None, (1, 32, 32), version=version, sharded=False
    )
    chunk = path / ("scale0/1/1/0" if version == "0.4" else "scale0/c/1/1/0")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"t\.ome\.zarr has a truncated chunk"):
        read_image(path)
    chunk.unlink()
    with pytest.raises(InputError, match=r"t\.ome\.zarr lacks 1 of its chunks"):
        read_image(path)


def test_stores_that_are_none(tmp_path):
    (tmp_path / "empty.ome.zarr").mkdir()
    with pytest.raises(InputError, match=r"empty\.ome\.zarr is a folder without Zarr metadata"):
        read_image(tmp_path / "empty.ome.zarr")
    zarr.open_group(tmp_path / "g.ome.zarr", mode="w", zarr_format=2)
    with pytest.raises(InputError, match="holds no OME-Zarr image"):
        read_image_info(tmp_path / "g.ome.zarr")
    with pytest.raises(InputError, match="does not exist"):
        read_omezarr(tmp_path / "absent.ome.zarr")


def bare_store(path, version, channels=None):
    """A store as another tool may leave it, without channels."""
    write_multiscale_omezarr(TILE, path, (0.5, 0.5), version=version)
    name = path / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(name.read_text())
    ome = content if version == "0.4" else content["attributes"]["ome"]
    del ome["omero"]
    if channels is not None:
        ome["omero"] = {"channels": channels}
    name.write_text(json.dumps(content))
    return path


@VERSIONS
def test_channels_are_added_to_a_store_without(tmp_path, version):
    path = bare_store(tmp_path / "t.ome.zarr", version)
    before = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    ensure_omero_channel_colors(path, NAMES)
    omero = ome_of(path)["omero"]
    assert [c["color"] for c in omero["channels"]] == ["0000FF", "00FF00", "FF0000"]
    assert [c["label"] for c in omero["channels"]] == NAMES
    for channel in omero["channels"]:
        assert 100 <= channel["window"]["start"] < channel["window"]["end"] <= 60000
    after = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    assert sum(before[f] != after[f] for f in before) == 1 and before.keys() == after.keys()
    ensure_omero_channel_colors(path)
    assert ome_of(path)["omero"] == omero  # nothing is left to do


@VERSIONS
def test_what_a_store_says_of_its_channels_stays(tmp_path, version):
    window = {"min": 0, "max": 9, "start": 1, "end": 5}
    channels = [
        {"label": "mine", "color": "#abcdef", "window": window, "active": False},
        {"color": "red"},
    ]
    path = bare_store(tmp_path / "t.ome.zarr", version, channels)
    ensure_omero_channel_colors(path)
    first, second, third = ome_of(path)["omero"]["channels"]
    assert (first["label"], first["color"], first["active"]) == ("mine", "ABCDEF", False)
    assert first["window"] == window
    assert second["color"] != third["color"] and set(second["window"]) == set(window)
    with pytest.raises(InputError, match="3 channels, and 1 labels"):
        ensure_omero_channel_colors(path, ["one"])
