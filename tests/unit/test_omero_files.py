"""What is told to OMERO of files, wells and labels."""

import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from lib.omero.import_files import describe_file, describe_store
from lib.omero.import_image import channel_styles, pixel_type
from lib.omero.import_masks import label_masks
from lib.omero.import_plate import well_name, well_place
from lib.omero.inventory import SheetRow, _modules, write_sheets
from lib.omero.local_backend import plate_fields
from lib.omero.paths import PathRefused
from lib.shared.errors import InputError
from lib.shared.image_io import write_image
from lib.shared.samples import read_sbs_samples


def write_store(path, shape=(2, 64, 48), factors=(1, 2), version=2):
    """An OME-Zarr image of axes c, y, x."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for level, factor in enumerate(factors):
        small = (shape[0], *(-(-n // factor) for n in shape[1:]))
        group.create_array(str(level), shape=small, dtype=np.uint16)
    scales = [[1.0, 0.5 * f, 0.5 * f] for f in factors]
    multiscale = {
        "version": "0.4",
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": [
            {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for n, scale in enumerate(scales)
        ],
    }
    channels = [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 10, "end": 900}},
        {"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 500}},
    ]
    group.attrs.update({"multiscales": [multiscale], "omero": {"channels": channels}})
    return path


def test_a_tiff_tells_its_planes_channels_and_pixel_size(tmp_path):
    image = np.zeros((3, 2, 5, 6), np.uint16)
    write_image(tmp_path / "a.tiff", image, "TCYX", (0.5, 0.25), ["DAPI", "G"])
    found = describe_file(tmp_path / "a.tiff", "a")
    assert found.shape == (3, 2, 1, 5, 6)
    assert found.dtype == np.uint16
    assert found.pixel_size == pytest.approx((0.5, 0.25))
    assert [style.name for style in found.channels] == ["DAPI", "G"]
    assert found.store is None


def test_another_number_of_channel_names_is_refused(tmp_path):
    write_image(tmp_path / "a.tiff", np.zeros((2, 5, 6), np.uint16), "CYX")
    with pytest.raises(InputError, match="2 channels, not 3"):
        describe_file(tmp_path / "a.tiff", "a", ["A", "B", "C"])


def test_a_store_tells_colours_and_windows(tmp_path):
    path = write_store(tmp_path / "a.ome.zarr")
    found = describe_store(path, "a")
    assert found.store == str(path)
    assert found.shape == (1, 2, 1, 64, 48)
    assert [style.colour for style in found.channels] == ["0000FF", "00FF00"]
    assert [style.window for style in found.channels] == [(10, 900), (0, 500)]
    assert found.pixel_size == pytest.approx((0.5, 0.5))


def test_a_store_of_zarr_3_cannot_be_registered(tmp_path):
    path = write_store(tmp_path / "a.ome.zarr", version=3)
    with pytest.raises(InputError, match=r"OME-Zarr 0\.4 alone"):
        describe_store(path, "a")


def test_a_store_of_other_levels_cannot_be_registered(tmp_path):
    path = write_store(tmp_path / "a.ome.zarr", factors=(1, 4))
    with pytest.raises(InputError, match="from 64 to 16 pixels in y"):
        describe_store(path, "a")


def test_nuclear_stains_are_blue_and_the_others_differ():
    styles = channel_styles(["G", "DAPI", "T", "Hoechst 33342", "A"])
    colours = [style.colour for style in styles]
    assert colours[1] == colours[3] == "0000FF"
    assert len({colours[0], colours[2], colours[4], "0000FF"}) == 4


@pytest.mark.parametrize("dtype", ["int64", "uint64", "bool", "float16"])
def test_types_that_omero_lacks_are_refused(dtype):
    with pytest.raises(InputError, match=dtype):
        pixel_type(np.dtype(dtype))


@pytest.mark.parametrize(
    ("name", "place"),
    [("A1", (0, 0)), ("H12", (7, 11)), ("P24", (15, 23)), ("Z1", (25, 0)), ("AA1", (26, 0)),
     ("AF48", (31, 47))],
)  # fmt: skip
def test_wells_have_rows_and_columns_from_zero(name, place):
    assert well_place(name) == place
    assert well_name(*place) == name


@given(st.integers(0, 31), st.integers(0, 47))
def test_well_names_are_unique(row, column):
    assert well_place(well_name(row, column)) == (row, column)


@pytest.mark.parametrize("name", ["", "1A", "A0", "a1", "A", "AAA1", "A1 "])
def test_what_is_no_well_is_refused(name):
    with pytest.raises(InputError, match="The well"):
        well_place(name)


def test_a_mask_is_the_object_row_by_row():
    labels = np.zeros((4, 5), np.int32)
    labels[0, 1:3] = 2  # 2 x 3 box with 5 pixels, touching the first row
    labels[1, 0:3] = 2
    labels[3, 4] = 7
    two, seven = label_masks(labels, 10)
    assert (two.label, two.y, two.x, two.height, two.width) == (2, 0, 0, 2, 3)
    assert two.bits == bytes([0b01111100])
    assert (seven.label, seven.y, seven.x, seven.bits) == (7, 3, 4, bytes([0b10000000]))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_masks_put_together_are_the_labels(height, width, seed):
    labels = np.random.default_rng(seed).integers(0, 4, (height, width)).astype(np.int32)
    again = np.zeros_like(labels)
    for mask in label_masks(labels, 100):
        bits = np.unpackbits(np.frombuffer(mask.bits, np.uint8))[: mask.height * mask.width]
        inside = bits.reshape(mask.height, mask.width).astype(bool)
        again[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width][inside] = mask.label
    assert (again == labels).all()


def test_masks_are_capped():
    assert len(label_masks(np.arange(1, 26, dtype=np.int32).reshape(5, 5), 7)) == 7


def test_runs_are_cycles_by_name_or_by_order():
    by_name = _modules({5: "Cycle 2", 6: "cycle_1", 7: "Phenotype 20x"})
    assert by_name == {5: ("sbs", 2), 6: ("sbs", 1), 7: ("phenotype", None)}
    by_order = _modules({9: "second", 4: "first"})
    assert by_order == {4: ("sbs", 1), 9: ("sbs", 2)}
    assert _modules({None: ""}) == {None: ("sbs", 1)}


def test_sheets_are_what_the_workflow_reads(tmp_path):
    image = tmp_path / "a.tiff"
    image.write_bytes(b"")
    listed = [
        SheetRow("sbs", str(image), "1", "A1", "0", cycle, position, 10 + cycle, False)
        for cycle, position in ((1, 0), (2, 3))
    ]
    (sheet,) = write_sheets(listed, tmp_path)
    samples = read_sbs_samples(sheet)
    assert samples.cycles("1", "A1", "0") == (1, 2)
    assert samples.sources("1", "A1", "0", 2)[0].position == 3
    lines = sheet.read_text().splitlines()
    assert lines[0].split("\t") == ["sample_fp", "plate", "well", "tile", "cycle", "position"]
    assert lines[1].split("\t") == [str(image), "1", "A1", "0", "1", "0"]
    assert lines[2].split("\t")[-2:] == ["2", "3"]


def test_the_fields_of_a_plate_are_counted_well_by_well(tmp_path):
    plate = {"plate": {"wells": [{"path": "A/2"}, {"path": "B/1"}]}}
    (tmp_path / ".zattrs").write_text(json.dumps(plate))
    for well, n in (("A/2", 2), ("B/1", 1)):
        (tmp_path / well).mkdir(parents=True)
        images = [{"path": str(k)} for k in range(n)]
        (tmp_path / well / ".zattrs").write_text(json.dumps({"well": {"images": images}}))
    assert plate_fields(tmp_path) == ["A/2/0", "A/2/1", "B/1/0"]


def test_a_well_outside_of_its_plate_is_refused(tmp_path):
    store = tmp_path / "p.zarr"
    store.mkdir()
    (store / ".zattrs").write_text(json.dumps({"plate": {"wells": [{"path": "../other"}]}}))
    with pytest.raises(PathRefused):
        plate_fields(store)
