"""Plates: fields where the stage was, an overview stitched from them, metadata last."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError
from lib.shared.image_io import read_image, read_image_info, write_image
from lib.shared.omezarr.check import check_store
from lib.shared.omezarr.plate import Mosaic, in_a_grid, split_well
from lib.shared.omezarr_utils import WellField, export_well_to_omezarr, write_plate_metadata

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])
PIXEL = (0.5, 0.5)
SIDE = 64
# A well of 2 x 2 tiles of 64 px that touch: cut from one picture, which the overview must show.
WELL = np.random.default_rng(2).integers(1, 60000, (2, 128, 128)).astype(np.uint16)
PLACES = {"7": (0, 0), "8": (0, 1), "12": (1, 0), "3": (1, 1)}


def write_tiles(folder):
    """TIFFs of the tiles with masks, as fields with stage positions."""
    fields = []
    for number, (name, (row, column)) in enumerate(PLACES.items()):
        tile = WELL[:, row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        write_image(folder / f"{name}.tiff", tile, "CYX", PIXEL, ["DAPI", "GFP"])
        write_image(folder / f"{name}_n.tiff", np.full((SIDE, SIDE), number, np.int32), "YX", PIXEL)
        position = (1000 + row * SIDE * PIXEL[0], -500 + column * SIDE * PIXEL[1])
        labels = {"nuclei": {"tiff_path": folder / f"{name}_n.tiff"}}
        fields.append(WellField(name, folder / f"{name}.tiff", labels, position))
    return fields


def ome_of(path, version):
    name = path / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(name.read_text())
    return content if version == "0.4" else content["attributes"]["ome"]


@VERSIONS
def test_a_plate(tmp_path, version):
    fields = write_tiles(tmp_path)
    plate = tmp_path / "P-1__aligned.ome.zarr"
    for well in ("B10", "A2"):
        export_well_to_omezarr(
            fields, plate, well, chunk_shape=(1, 32, 32), overview_side=80, version=version
        )
    write_plate_metadata(plate, ["B10", "A2"], version)

    ome = ome_of(plate, version)["plate"]
    assert ome["name"] == "P-1__aligned"
    assert ome["rows"] == [{"name": "A"}, {"name": "B"}]
    assert ome["columns"] == [{"name": "2"}, {"name": "10"}]
    assert ome["wells"] == [
        {"path": "A/2", "rowIndex": 0, "columnIndex": 0},
        {"path": "B/10", "rowIndex": 1, "columnIndex": 1},
    ]
    images = ome_of(plate / "A/2", version)["well"]["images"]
    assert [image["path"] for image in images] == ["overview", *PLACES]
    assert [image["acquisition"] for image in images] == [1, 0, 0, 0, 0]

    for field in fields:
        folder = plate / "A/2" / field.name
        np.testing.assert_array_equal(read_image(folder), read_image(field.tiff_path))
        assert read_image_info(folder).channel_names == ("DAPI", "GFP")
        masks = read_image(folder / "labels/nuclei")
        np.testing.assert_array_equal(masks, read_image(tmp_path / f"{field.name}_n.tiff"))
        (row,) = raw_metadata([RawSource(folder)])
        assert (row["y_pos"], row["x_pos"]) == pytest.approx(field.stage_position)
    # As raw files the well and its plate hold the fields alone.
    read = read_raw([RawSource(plate / "A/2", position=0)], ["DAPI", "GFP"])
    np.testing.assert_array_equal(read, read_image(fields[0].tiff_path))
    assert check_store(plate) == []


@VERSIONS
def test_a_plate_of_the_other_version_is_written_over(tmp_path, version):
    fields, plate = write_tiles(tmp_path), tmp_path / "P-1__aligned.ome.zarr"
    for this in ({"0.4": "0.5", "0.5": "0.4"}[version], version):
        export_well_to_omezarr(fields, plate, "A1", version=this)
        write_plate_metadata(plate, ["A1"], this)
    assert check_store(plate) == []
    other = "zarr.json" if version == "0.4" else ".z*"
    assert not list(plate.rglob(other))


@VERSIONS
def test_overview_is_the_well_at_low_resolution(tmp_path, version):
    fields = write_tiles(tmp_path)
    path = export_well_to_omezarr(fields, tmp_path / "p.ome.zarr", "A1", overview_side=80,
                                  version=version)  # fmt: skip
    overview = read_image(path / "overview")
    # Twice as coarse so that 128 px fit into 80, which leaves 8 around.
    assert overview.shape == (2, 80, 80) and read_image_info(path / "overview").pixel_size == (1, 1)
    means = WELL.reshape(2, 64, 2, 64, 2).sum(axis=(2, 4), dtype=np.int64)
    np.testing.assert_array_equal(overview[:, 8:72, 8:72], (means + 2) // 4)
    overview[:, 8:72, 8:72] = 0
    assert not overview.any()
    # Its middle is the middle of the tiles' positions.
    (row,) = raw_metadata([RawSource(path / "overview")])
    assert (row["y_pos"], row["x_pos"]) == pytest.approx((1016, -484))


def test_without_positions_fields_lie_in_a_grid(tmp_path):
    fields = [WellField(f.name, f.tiff_path) for f in write_tiles(tmp_path)]
    path = export_well_to_omezarr(fields, tmp_path / "p.ome.zarr", "A1", overview_side=128)
    np.testing.assert_array_equal(read_image(path / "overview"), WELL)
    assert in_a_grid(3, (10, 20), (1, 0.5)) == [(0, 0), (0, 10), (10, 0)]


def test_no_overview_on_request(tmp_path):
    plate = tmp_path / "p.ome.zarr"
    path = export_well_to_omezarr(write_tiles(tmp_path), plate, "A1", overview_side=0)
    assert not (path / "overview").exists()
    write_plate_metadata(plate, ["A1"])
    assert [a["name"] for a in ome_of(plate, "0.4")["plate"]["acquisitions"]] == ["fields"]
    assert check_store(plate) == []


@given(
    places=st.lists(
        st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=6, unique=True
    ),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factor=st.integers(2, 3),
    is_label=st.booleans(),
)
@example([(0.0, 4001.0), (0.0, -8735.0)], (1, 1), 2, False)
def test_every_field_is_on_the_canvas(places, shape, factor, is_label):
    mosaic = Mosaic(shape, (0.5, 0.25), places, factor, 100, is_label)
    for number, place in enumerate(places, start=1):
        mosaic.add(np.full(shape, number, np.uint16), place)
        y, x = (
            (middle - (n - 1) / 2 * full - origin) / size
            for middle, n, full, origin, size in zip(
                place, shape, (0.5, 0.25), mosaic.origin, mosaic.pixel_size, strict=True
            )
        )
        # The first pixel of the field lies within a pixel of the canvas of where it was put.
        seen = np.argwhere(mosaic.pixels == number)
        assert len(seen) and (abs(seen.min(axis=0) - (y, x)) <= 1.01).all()
    assert mosaic.pixels.shape == (100, 100)


def test_wells_that_are_not_there_or_not_alike(tmp_path):
    fields = write_tiles(tmp_path)
    plate = tmp_path / "p.ome.zarr"
    export_well_to_omezarr(fields, plate, "A1", overview_side=80)
    with pytest.raises(InputError, match=r"well B1 has no OME-Zarr 0\.4"):
        write_plate_metadata(plate, ["A1", "B1"])
    with pytest.raises(InputError, match=r"well A1 has no OME-Zarr 0\.5"):
        write_plate_metadata(plate, ["A1"], "0.5")
    assert not (plate / ".zattrs").exists()
    write_image(tmp_path / "8.tiff", WELL[:, :40], "CYX", PIXEL)
    fields = [WellField(field.name, field.tiff_path) for field in fields]
    with pytest.raises(InputError, match="40 x 128 px is among fields of 64 x 64"):
        export_well_to_omezarr(fields, plate, "A2", overview_side=80)
    assert not (plate / "A/2").exists() and [p.name for p in (plate / "A").iterdir()] == ["1"]


def test_names_of_wells_and_fields(tmp_path):
    assert [split_well(well) for well in ("A1", "aa12", "B03")] == [
        ("A", "1"),
        ("AA", "12"),
        ("B", "03"),
    ]
    with pytest.raises(InputError, match="well 'well-1' is not"):
        split_well("well-1")
    fields = [WellField("1.5", tmp_path / "absent.tiff")]
    with pytest.raises(InputError, match=r"field '1\.5' of .* letters and digits"):
        export_well_to_omezarr(fields, tmp_path / "p.ome.zarr", "A1")


@VERSIONS
def test_faults_of_a_plate_are_told(tmp_path, version):
    fields = write_tiles(tmp_path)[:2]
    plate = tmp_path / "p.ome.zarr"
    for well in ("A1", "B2"):
        export_well_to_omezarr(fields, plate, well, overview_side=80, version=version)
    write_plate_metadata(plate, ["A1", "B2"], version)
    assert check_store(plate) == []

    shutil.copytree(plate / "A/1", plate / "A/2")
    assert check_store(plate) == [f"{plate} does not list the well A/2, which is there."]
    shutil.rmtree(plate / "A/2")
    shutil.copytree(plate / "A/1/7", plate / "A/1/9")
    assert check_store(plate) == [f"{plate}/A/1 does not list 9, which is there."]
    shutil.rmtree(plate / "A/1/9")
    shutil.rmtree(plate / "B/2/7")
    assert check_store(plate) == [f"{plate}/B/2/7 does not exist."]
    attributes = plate / (".zattrs" if version == "0.4" else "zarr.json")
    attributes.write_text(attributes.read_text().replace('"rowIndex": 1', '"rowIndex": 0'))
    assert f"{plate} puts the well B/2 at (0, 1), not in its row and column." in check_store(plate)


@VERSIONS
def test_a_well_listed_twice_and_labels_that_are_gone_are_told(tmp_path, version):
    fields, plate = write_tiles(tmp_path), tmp_path / "P-1__aligned.ome.zarr"
    export_well_to_omezarr(fields, plate, "A1", version=version)
    write_plate_metadata(plate, ["A1"], version)
    name = plate / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(name.read_text())
    ome = content if version == "0.4" else content["attributes"]["ome"]
    ome["plate"]["wells"] *= 2
    name.write_text(json.dumps(content))
    shutil.rmtree(plate / "A/1/7/labels")
    faults = check_store(plate)
    assert any("lists the well A/1 twice" in fault for fault in faults)
    assert any("had the labels nuclei, which are not there" in fault for fault in faults)
