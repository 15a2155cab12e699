"""Any order of axes, any format and any split into files give the same tile."""

import itertools

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError

NAMES = ["DAPI", "G", "T", "A", "C"]


def coded_tile(c, z, y=6, x=7):
    """(C, Z, Y, X) in which every pixel has a value of its own, maxima lying in any plane."""
    values = np.random.default_rng(5).permutation(c * z * y * x) + 1
    return values.astype(np.uint16).reshape(c, z, y, x)


def arrange(tile, axes):
    """Order the axes of a (C, Z, Y, X) tile; those left out have length 1."""
    left_out = [axis for axis in "TCZYX" if axis not in axes]
    full = tile[np.newaxis].transpose(["TCZYX".index(a) for a in [*left_out, *axes]])
    return np.ascontiguousarray(full.reshape(full.shape[len(left_out) :]))


def write_shaped(path, tile, axes):
    path = path.with_suffix(".tif")
    options = {"photometric": "minisblack", "metadata": {"axes": axes}}
    tifffile.imwrite(path, arrange(tile, axes), **options)
    return path


def write_compressed(path, tile, axes):
    path = path.with_suffix(".tiff")
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, "compression": "zlib"}
    tifffile.imwrite(path, arrange(tile, axes), **options)
    return path


def write_ome_tiff(path, tile, axes):
    path = path.with_suffix(".ome.tif")
    axes = "".join(axis for axis in axes if axis not in "YX") + "YX"  # what OME allows
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, "ome": True}
    tifffile.imwrite(path, arrange(tile, axes), **options)
    return path


def write_imagej(path, tile, axes):
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, arrange(tile, "TZCYX"), imagej=True, metadata={"axes": "TZCYX"})
    return path


def write_zarr(version):
    def write(path, tile, axes):
        path = path.with_suffix(".ome.zarr")
        image = arrange(tile, axes)
        group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
        chunks = tuple(min(n, 4) for n in image.shape)
        separator = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        group.create_array(
            "0", data=image, chunks=chunks, **(separator if version == "0.4" else {})
        )
        kinds = {"T": "time", "C": "channel"}
        named = [{"name": a.lower(), "type": kinds.get(a, "space")} for a in axes]
        scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        ome = {"multiscales": [{"axes": named, "datasets": datasets, "version": version}]}
        group.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **ome}})
        return path

    return write


WRITERS = [
    write_shaped,
    write_compressed,
    write_ome_tiff,
    write_imagej,
    write_zarr("0.4"),
    write_zarr("0.5"),
]


@settings(max_examples=120, deadline=None)
@given(
    c=st.integers(1, 3),
    z=st.integers(1, 3),
    choice=st.sampled_from(["max", 0, 1, 2]),
    by_channel=st.booleans(),
    by_plane=st.booleans(),
    data=st.data(),
)
def test_any_axes_and_split(tmp_path_factory, c, z, choice, by_channel, by_plane, data):
    folder = tmp_path_factory.mktemp("tile")
    tile = coded_tile(c, z)
    names = data.draw(st.permutations(NAMES[:c]))
    channel_parts = [[i] for i in range(c)] if by_channel else [list(range(c))]
    plane_parts = [[i] for i in range(z)] if by_plane else [list(range(z))]
    sources = []
    for number, (cs, zs) in enumerate(itertools.product(channel_parts, plane_parts)):
        part = tile[np.ix_(cs, zs)]
        needed = {"Y", "X"} | {a for a, n in zip("CZ", part.shape, strict=False) if n > 1}
        axes = data.draw(st.permutations("TCZYX"))
        axes = [a for a in axes if a in needed or data.draw(st.booleans())]
        write = data.draw(st.sampled_from(WRITERS))
        path = write(folder / f"part{number}", part, "".join(axes))
        channel = names[cs[0]] if by_channel else None
        sources.append(RawSource(path, channel, zs[0] if by_plane else None))
    sources = data.draw(st.permutations(sources))

    # Files with all channels hold them in the order of the names.
    expected = tile.max(axis=1) if choice == "max" else tile[:, min(choice, z - 1)]
    read = read_raw(sources, names, choice if choice == "max" else min(choice, z - 1))

    np.testing.assert_array_equal(read, expected)
    assert read.dtype == np.uint16 and read.flags.c_contiguous


def test_channel_order_is_that_of_the_names(tmp_path):
    tile = coded_tile(2, 1)
    rows = [
        RawSource(write_shaped(tmp_path / "a", tile[:1], "YX"), "G"),
        RawSource(write_shaped(tmp_path / "b", tile[1:], "YX"), "T"),
    ]
    np.testing.assert_array_equal(read_raw(rows, ["T", "G"]), tile[::-1, 0])


def test_one_channel_of_a_file_by_its_name(tmp_path):
    path = tmp_path / "a.ome.tif"
    tile = coded_tile(3, 1)[:, 0]
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "G", "T"]}}
    tifffile.imwrite(path, tile, photometric="minisblack", metadata=metadata)
    np.testing.assert_array_equal(read_raw([RawSource(path, "T")], ["T"]), tile[2:])
    with pytest.raises(InputError, match=r"3 channels \(DAPI, G, T\), and not one .* called A"):
        read_raw([RawSource(path, "A")], ["A"])


def test_row_picks_a_plane_of_a_stack(tmp_path):
    tile = coded_tile(1, 3)
    path = write_shaped(tmp_path / "a", tile, "ZYX")
    np.testing.assert_array_equal(read_raw([RawSource(path, z=1)], ["G"]), tile[:, 1])
    # Rows that name planes of one stack leave out the third on purpose.
    rows = [RawSource(path, z=0), RawSource(path, z=2)]
    np.testing.assert_array_equal(read_raw(rows, ["G"]), tile[:, [0, 2]].max(axis=1))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int32", "float32", "bool"])
def test_types_that_fit_are_converted(tmp_path, dtype):
    image = (np.arange(20) % 2 if dtype == "bool" else np.arange(20)).reshape(4, 5).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image)
    read = read_raw([RawSource(path)], ["G"])
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[0], image)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int16", -1), ("uint32", 65536), ("float32", 0.5), ("float32", np.nan), ("float64", 1e9)],
)
def test_types_that_do_not_fit_are_refused(tmp_path, dtype, value):
    image = np.zeros((4, 5), dtype)
    image[2, 2] = value
    tifffile.imwrite(tmp_path / "a.tif", image)
    with pytest.raises(InputError, match=rf"a\.tif .*holds {dtype} values such as {value}"):
        read_raw([RawSource(tmp_path / "a.tif")], ["G"])


def test_big_endian(tmp_path):
    tile = coded_tile(2, 2)
    for compression in (None, "zlib"):
        path = tmp_path / "a.tif"
        options = {"byteorder": ">", "metadata": {"axes": "CZYX"}, "compression": compression}
        tifffile.imwrite(path, tile, photometric="minisblack", **options)
        np.testing.assert_array_equal(read_raw([RawSource(path)], ["G", "T"], 1), tile[:, 1])


@pytest.fixture
def plane(tmp_path):
    """Write a small one-plane TIFF and return its path."""

    def write(name, shape=(4, 5), value=1):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, np.full(shape, value, np.uint16))
        return path

    return write


def message(sources, names, z="max"):
    with pytest.raises(InputError) as caught:
        read_raw(sources, names, z)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_missing_file_names_file_and_row(tmp_path):
    text = message([RawSource(tmp_path / "no.tif", row="sbs_samples.tsv, row 7")], ["G"])
    assert "no.tif (sbs_samples.tsv, row 7) does not exist" in text


@pytest.mark.parametrize("content", [b"", b"II", b"\x89PNG\r\n", b"II*\0", b"II*\0\x08\0\0\0"])
def test_unknown_and_broken_files(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert f"The raw image {path} (s.tsv, row 2) " in message(
        [RawSource(path, row="s.tsv, row 2")], ["G"]
    )


def test_folder_that_is_no_zarr(tmp_path):
    assert "is a folder without Zarr metadata" in message([RawSource(tmp_path)], ["G"])


def test_number_of_channels(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Cy3"]}}
    tifffile.imwrite(path, np.ones((2, 4, 5), np.uint16), metadata=metadata)
    text = message([RawSource(path, row="s.tsv, row 3")], ["DAPI", "G", "T"])
    assert "a.ome.tif (s.tsv, row 3) holds 2 channels (DAPI, Cy3), but 3 are expected" in text


def test_sizes_differ(plane):
    sources = [RawSource(plane("a"), "G"), RawSource(plane("b", (4, 6)), "T", row="row 9")]
    text = message(sources, ["G", "T"])
    assert "b.tif (row 9) is 4 x 6 pixels" in text and "a.tif of the same tile is 4 x 5" in text


def test_channels_of_rows(plane):
    a, b = plane("a"), plane("b")
    assert "is none of the channel_names G, T" in message([RawSource(a, "X")], ["G", "T"])
    assert "no file for the channel T" in message([RawSource(a, "G")], ["G", "T"])
    assert "names no channel" in message([RawSource(a), RawSource(b, "T")], ["G", "T"])
    twice = [RawSource(a, "G"), RawSource(b, "G")]
    assert "is one of 2 for the same tile and channel" in message(twice, ["G"])


def test_planes_of_rows(plane):
    a, b, c = plane("a"), plane("b"), plane("c")
    twice = [RawSource(a, z=0), RawSource(b, z=0)]
    assert "repeats the plane z = 0" in message(twice, ["G"])
    assert "fill in the column z" in message([RawSource(a, z=0), RawSource(b)], ["G"])
    both = [RawSource(a, z=0), RawSource(b, z=1)]
    assert "has no plane z = 2: its rows give z = 0, 1" in message(both, ["G"], 2)
    uneven = [RawSource(a, "G", 0), RawSource(b, "G", 1), RawSource(c, "T", 0)]
    assert "lacks the plane z = 1 of channel T" in message(uneven, ["G", "T"])


def test_planes_of_a_stack(tmp_path):
    path = write_shaped(tmp_path / "a", coded_tile(1, 3), "ZYX")
    assert "has no plane z = 3: it holds 3" in message([RawSource(path)], ["G"], 3)
    assert "has no plane z = 5: it holds 3" in message([RawSource(path, z=5)], ["G"])


def test_positions_and_times(tmp_path):
    path = write_shaped(tmp_path / "a", coded_tile(1, 1), "YX")
    assert "has no position 1: it holds 1" in message([RawSource(path, position=1)], ["G"])
    assert "has no time point 2: it holds 1" in message([RawSource(path, time=2)], ["G"])
    movie = tmp_path / "t.tif"
    tifffile.imwrite(movie, coded_tile(1, 3)[0], photometric="minisblack", metadata={"axes": "TYX"})
    assert "holds 3 time points" in message([RawSource(movie)], ["G"])
    read = read_raw([RawSource(movie, time=2)], ["G"])
    np.testing.assert_array_equal(read, coded_tile(1, 3)[:, 2])


def test_metadata_comes_in_the_order_of_the_sources(tmp_path):
    a = write_shaped(tmp_path / "a", coded_tile(1, 2), "ZYX")
    b = write_shaped(tmp_path / "b", coded_tile(3, 1, y=9), "CYX")
    rows = raw_metadata([RawSource(b), RawSource(a, "G", 1), RawSource(b)])
    assert [row["filename"] for row in rows] == [str(b), str(a), str(b)]
    assert rows[0] == rows[2]
    expected = {"channels": "G", "size_c": 1, "size_z": 2, "size_y": 6, "size_x": 7}
    assert expected.items() <= rows[1].items()
    assert (rows[0]["size_c"], rows[0]["size_y"], rows[0]["dtype"]) == (3, 9, "uint16")
    unknown = ("channels", "pixel_size_y", "x_pos", "z_pos", "pfs_offset", "acquired")
    assert [rows[0][name] for name in unknown] == [None] * len(unknown)
    with pytest.raises(InputError, match=r"row 5.* has no plane z = 2"):
        raw_metadata([RawSource(a, z=2, row="row 5")])
