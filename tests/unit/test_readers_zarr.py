"""OME-Zarr 0.4 and 0.5: written by ome-zarr and by zarr, images, wells, plates and series."""

import logging
import shutil

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError

NAMES = ["DAPI", "G", "T"]
STACK = np.random.default_rng(4).integers(1, 60000, (3, 4, 40, 33)).astype(np.uint16)  # C Z Y X
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])
AXES = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def new_group(path, version):
    return zarr.open_group(path, mode="a", zarr_format=2 if version == "0.4" else 3)


def set_ome(group, version, **attributes):
    attributes = attributes | {"version": version}
    group.attrs.update(attributes if version == "0.4" else {"ome": attributes})


def write_image(path, version, image=STACK, chunks=(1, 1, 16, 16), axes=AXES, **keys):
    group = new_group(path, version)
    separator = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    array = group.create_array(
        "0",
        shape=image.shape,
        dtype=image.dtype,
        chunks=chunks,
        **(separator if version == "0.4" else {}),
        **keys,
    )
    array[:] = image
    datasets = [
        {
            "path": "0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 2.0, 0.25, 125.0]},
                {"type": "translation", "translation": [0, 8.0, 100.0, 200000.0]},
            ],
        }
    ]
    multiscale = {
        "axes": axes,
        "datasets": datasets,
        "version": version,
        "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2.0, 4.0]}],
    }
    channels = [{"label": name} for name in NAMES]
    set_ome(group, version, multiscales=[multiscale], omero={"channels": channels})
    return RawSource(path)


@VERSIONS
@pytest.mark.parametrize("chunks", [(1, 1, 16, 16), (3, 4, 40, 33), (2, 3, 7, 9), (1, 4, 40, 33)])
def test_image_whatever_its_chunks(tmp_path, version, chunks):
    source = write_image(tmp_path / "a.zarr", version, chunks=chunks)
    np.testing.assert_array_equal(read_raw([source], NAMES), STACK.max(axis=1))
    np.testing.assert_array_equal(read_raw([source], NAMES, 2), STACK[:, 2])
    one = RawSource(source.path, "G", 1)
    np.testing.assert_array_equal(read_raw([one], ["G"]), STACK[1:2, 1])


def test_sharded_image(tmp_path):
    source = write_image(tmp_path / "a.zarr", "0.5", chunks=(1, 1, 8, 8), shards=(1, 2, 40, 40))
    np.testing.assert_array_equal(read_raw([source], NAMES), STACK.max(axis=1))


@VERSIONS
def test_metadata(tmp_path, version):
    (row,) = raw_metadata([write_image(tmp_path / "a.zarr", version)])
    # Two scales after each other; x is given in nanometres. Half the image is added.
    assert (row["pixel_size_y"], row["pixel_size_x"]) == pytest.approx((0.5, 0.5))
    assert (row["z_pos"], row["y_pos"], row["x_pos"]) == pytest.approx((8.0, 209.75, 808.0))
    assert row["channels"] == "DAPI, G, T"
    assert (row["size_c"], row["size_z"], row["size_y"], row["size_x"]) == (3, 4, 40, 33)


def test_lengths_without_a_unit_are_unknown(tmp_path):
    axes = [{key: axis[key] for key in ("name", "type")} for axis in AXES]
    (row,) = raw_metadata([write_image(tmp_path / "a.zarr", "0.4", axes=axes)])
    assert (row["pixel_size_y"], row["x_pos"]) == (None, None)


@VERSIONS
def test_image_written_by_ome_zarr(tmp_path, version):
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image as write

    fmt = FormatV04() if version == "0.4" else FormatV05()
    group = new_group(tmp_path / "a.ome.zarr", version)
    write(STACK, group, axes="czyx", fmt=fmt, scale_factors=[2])
    read = read_raw([RawSource(tmp_path / "a.ome.zarr")], NAMES)
    np.testing.assert_array_equal(read, STACK.max(axis=1))
    (row,) = raw_metadata([RawSource(tmp_path / "a.ome.zarr")])
    assert (row["size_y"], row["pixel_size_y"], row["channels"]) == (40, None, None)


def write_plate(root, version, wells):
    plate = new_group(root, version)
    listed = [{"path": w, "rowIndex": 0, "columnIndex": i} for i, w in enumerate(wells)]
    set_ome(plate, version, plate={"wells": listed, "rows": [], "columns": []})
    for number, well in enumerate(wells):
        set_ome(
            plate.create_group(well),
            version,
            well={"images": [{"path": "1"}, {"path": "0"}]},
        )
        for field in (0, 1):
            image = STACK + np.uint16(10 * number + field)
            write_image(root / well / str(field), version, image)
    return root


@VERSIONS
def test_fields_of_a_plate(tmp_path, version):
    root = write_plate(tmp_path / "plate.zarr", version, ["A/1", "A/2"])
    for position, field in enumerate((1, 0)):  # as the well lists them
        read = read_raw([RawSource(root / "A/2", position=position)], NAMES)
        np.testing.assert_array_equal(read, STACK.max(axis=1) + np.uint16(10 + field))
    direct = read_raw([RawSource(root / "A/2/1")], NAMES)
    np.testing.assert_array_equal(direct, STACK.max(axis=1) + np.uint16(11))
    with pytest.raises(InputError, match="holds 2 positions"):
        read_raw([RawSource(root / "A/2")], NAMES)
    with pytest.raises(InputError, match=r"plate of 2 wells: .*plate\.zarr/A/1"):
        read_raw([RawSource(root, position=0)], NAMES)


@VERSIONS
def test_plate_of_one_well(tmp_path, version):
    root = write_plate(tmp_path / "plate.zarr", version, ["B/3"])
    read = read_raw([RawSource(root, position=1)], NAMES)
    np.testing.assert_array_equal(read, STACK.max(axis=1))


@VERSIONS
@pytest.mark.parametrize("listed", [True, False])
def test_series_of_bioformats2raw(tmp_path, version, listed):
    root = new_group(tmp_path / "a.zarr", version)
    set_ome(root, version, **{"bioformats2raw.layout": 3})
    for number in range(11):
        write_image(tmp_path / "a.zarr" / str(number), version, STACK[:, :1] + np.uint16(number))
    if listed:
        series = [str(number) for number in reversed(range(11))]
        set_ome(root.create_group("OME"), version, series=series)
    read = read_raw([RawSource(tmp_path / "a.zarr", position=10)], NAMES)
    np.testing.assert_array_equal(read, STACK[:, 0] + np.uint16(0 if listed else 10))


@VERSIONS
def test_missing_chunks(tmp_path, version, caplog):
    source = write_image(tmp_path / "a.zarr", version)
    z2 = source.path / ("0/1/2" if version == "0.4" else "0/c/1/2")
    (z2 / "0/0").unlink()
    with caplog.at_level(logging.WARNING):
        read = read_raw([source], NAMES, 2)
    assert "1 chunks are not stored" in caplog.text and not read[1, :16, :16].any()
    shutil.rmtree(z2)
    with pytest.raises(InputError, match="stores nothing for a whole plane"):
        read_raw([source], NAMES)
    # Only what is asked for is looked at.
    for z in (1, 3):
        np.testing.assert_array_equal(read_raw([source], NAMES, z), STACK[:, z])


def codecs_of(version):
    if version == "0.4":
        return [numcodecs.Blosc("zstd"), numcodecs.Zlib(), numcodecs.Zstd(), None]
    return [BloscCodec(cname="lz4"), GzipCodec(), ZstdCodec(), None]


@VERSIONS
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("length", [0, 10, 40, 300])
def test_truncated_chunk(tmp_path, version, number, length):
    codec = codecs_of(version)[number]
    source = write_image(tmp_path / "a.zarr", version, STACK[:1, :1], compressors=codec)
    np.testing.assert_array_equal(read_raw([source], ["G"])[0], STACK[0, 0])
    chunk = source.path / ("0/0/0/1/1" if version == "0.4" else "0/c/0/0/1/1")
    chunk.write_bytes(chunk.read_bytes()[:length])
    with pytest.raises(InputError, match=r"a\.zarr .*(may be damaged|has a truncated chunk)"):
        read_raw([source], ["G"])


@VERSIONS
def test_groups_that_are_no_images(tmp_path, version):
    new_group(tmp_path / "a.zarr", version)
    with pytest.raises(InputError, match="is a Zarr group without OME-Zarr images"):
        read_raw([RawSource(tmp_path / "a.zarr")], NAMES)
    source = write_image(tmp_path / "b.zarr", version)
    with pytest.raises(InputError, match="is a Zarr array without OME metadata"):
        read_raw([RawSource(source.path / "0")], NAMES)
    other = write_image(tmp_path / "c.zarr", version, axes=None)
    with pytest.raises(InputError, match="names no axes as OME-Zarr"):
        read_raw([other], NAMES)


@VERSIONS
def test_image_that_the_well_lists_is_missing(tmp_path, version):
    root = write_plate(tmp_path / "plate.zarr", version, ["A/1"])
    shutil.rmtree(root / "A/1/1")
    with pytest.raises(InputError, match=r"A/1 \(row 4\)"):
        read_raw([RawSource(root / "A/1", position=0, row="row 4")], NAMES)
