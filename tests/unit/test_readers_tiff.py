"""TIFF and OME-TIFF: what axes mean, sets of files, damage, and metadata."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.preprocess.readers import RawSource, raw_metadata, read_raw
from lib.shared.errors import InputError
from lib.shared.image_io import write_image

MOUSE_BRAIN = Path(__file__).parents[3] / "shared" / "data" / "iss_mouse_brain" / "selected-tiles"
STACK = np.random.default_rng(3).integers(1, 60000, (3, 4, 12, 10)).astype(np.uint16)  # C Z Y X


def plain(path, image, **options):
    tifffile.imwrite(path, image, photometric="minisblack", metadata=None, **options)
    return RawSource(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_unnamed_stack(tmp_path, compression):
    source = plain(tmp_path / "a.tif", STACK[:, 0], compression=compression)
    np.testing.assert_array_equal(read_raw([source], ["A", "B", "C"]), STACK[:, 0])
    named = RawSource(source.path, channel="A")
    np.testing.assert_array_equal(read_raw([named], ["A"])[0], STACK[:, 0].max(axis=0))
    np.testing.assert_array_equal(read_raw([named], ["A"], z=2)[0], STACK[2, 0])
    with pytest.raises(InputError, match="has 3 planes that it does not name, and 2 channels"):
        read_raw([source], ["A", "B"])


def test_two_unnamed_axes_are_ambiguous(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")  # QQYX
    with pytest.raises(InputError, match=r"axes QQYX .* do not tell channels from planes"):
        read_raw([RawSource(tmp_path / "a.tif")], ["A", "B", "C"])


def test_colours(tmp_path):
    rgb = STACK[:, 0].transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    with pytest.raises(InputError, match="is an RGB image"):
        read_raw([RawSource(tmp_path / "rgb.tif")], ["A", "B", "C"])
    # What tifffile makes of three channels when it is told nothing.
    for name in ("planar.tif", "planar.ome.tif"):
        tifffile.imwrite(tmp_path / name, STACK[:, 0], photometric="rgb", planarconfig="separate")
        read = read_raw([RawSource(tmp_path / name)], ["A", "B", "C"])
        np.testing.assert_array_equal(read, STACK[:, 0])


def test_images_of_other_shapes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(STACK[0, 0], metadata=None)
        tiff.write(STACK[0, 0, :5], metadata=None)
    with pytest.raises(InputError, match="holds several images of other shapes"):
        read_raw([RawSource(tmp_path / "a.tif")], ["A"])


def test_one_directory_for_a_stack(tmp_path):
    # As ImageJ writes stacks beyond 4 GB: further planes follow without a directory.
    path = tmp_path / "a.tif"
    description = "ImageJ=1.53\nimages=12\nchannels=3\nslices=4\nhyperstack=true\n"
    tifffile.imwrite(path, STACK[0, 0], description=description, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.is_final
    planes = STACK.transpose(1, 0, 2, 3).reshape(12, 12, 10)
    with open(path, "ab") as file:
        file.write(planes[1:].astype("<u2").tobytes())
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1 and tiff.series[0].shape == (4, 3, 12, 10)
    np.testing.assert_array_equal(read_raw([RawSource(path)], ["A", "B", "C"], z=3), STACK[:, 3])


def test_own_checkpoints_are_readable(tmp_path):
    names = ["DAPI", "G", "T"]
    write_image(tmp_path / "a.tiff", STACK[:, 0], "CYX", (0.65, 0.5), names)
    np.testing.assert_array_equal(read_raw([RawSource(tmp_path / "a.tiff")], names), STACK[:, 0])
    (row,) = raw_metadata([RawSource(tmp_path / "a.tiff")])
    assert (row["pixel_size_y"], row["pixel_size_x"]) == pytest.approx((0.65, 0.5), rel=1e-5)
    assert row["channels"] == "DAPI, G, T"


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTCZ"])
def test_positions_of_an_ome_tiff(tmp_path, order):
    path = tmp_path / "a.ome.tif"
    axes = order[:1:-1].replace("T", "")
    image = STACK if axes == "CZ" else STACK.swapaxes(0, 1)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for position in range(3):
            metadata = {"axes": axes + "YX", "PhysicalSizeX": 650.0, "PhysicalSizeXUnit": "nm"}
            metadata |= {"PhysicalSizeY": 0.00065, "PhysicalSizeYUnit": "mm"}
            place = {"PositionX": [1.5 + position] * 12, "PositionXUnit": ["mm"] * 12}
            place |= {"PositionY": [7.0] * 12, "PositionZ": list(range(12))}
            metadata["Plane"] = place
            shown = image[..., : 10 - position] + np.uint16(position)  # sizes differ, too
            tiff.write(shown, photometric="minisblack", metadata=metadata)
    source = RawSource(path, position=2)
    read = read_raw([source], ["A", "B", "C"], z=1)
    np.testing.assert_array_equal(read, STACK[:, 1, :, :8] + np.uint16(2))
    (row,) = raw_metadata([source])
    assert (row["pixel_size_y"], row["pixel_size_x"]) == pytest.approx((0.65, 0.65))
    assert (row["x_pos"], row["y_pos"], row["z_pos"]) == (3500.0, 7.0, 0.0)
    with pytest.raises(InputError, match=r"holds 3 positions: .*column position \(0 to 2\)"):
        read_raw([RawSource(path)], ["A", "B", "C"])
    with pytest.raises(InputError, match="has no position 3: it holds 3"):
        read_raw([RawSource(path, position=3)], ["A", "B", "C"])


OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0">{date}<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="10"
SizeY="12" SizeC="3" SizeZ="2" SizeT="1"><Channel ID="Channel:0:0" Name="x"/>
<Channel ID="Channel:0:1" Name="y"/><Channel ID="Channel:0:2" Name="z"/>{data}</Pixels></Image>
</OME>"""
TIFF_DATA = """<TiffData FirstC="{c}" FirstZ="{z}" IFD="{ifd}">
<UUID FileName="{name}">{uuid}</UUID></TiffData>"""


def write_set(folder, date=""):
    """One file per channel, its planes in reversed order; each file tells of all three."""
    data = "".join(
        TIFF_DATA.format(c=c, z=z, ifd=1 - z, name=f"c{c}.ome.tif", uuid=f"urn:uuid:{c}")
        for c in range(3)
        for z in range(2)
    )
    data += '<Plane TheC="1" TheZ="0" TheT="0" PositionX="5" DeltaT="1500" DeltaTUnit="ms"/>'
    for c in range(3):
        xml = OME.format(own=c, data=data, date=date)
        options = {"description": xml, "metadata": None, "photometric": "minisblack"}
        tifffile.imwrite(folder / f"c{c}.ome.tif", STACK[c, 1::-1], **options)
    return [RawSource(folder / f"c{c}.ome.tif", f"dye {c}") for c in range(3)]


def test_set_of_ome_tiff_files(tmp_path):
    sources = write_set(tmp_path, "<AcquisitionDate>1970-01-02T00:00:00</AcquisitionDate>")
    names = ["dye 2", "dye 0", "dye 1"]
    np.testing.assert_array_equal(read_raw(sources, names, 0), STACK[[2, 0, 1], 0])
    np.testing.assert_array_equal(read_raw(sources, names), STACK[[2, 0, 1], :2].max(axis=1))
    rows = raw_metadata(sources)
    assert [row["x_pos"] for row in rows] == [None, 5.0, None]
    assert [row["acquired"] for row in rows] == [86400.0, 86401.5, 86400.0]
    with pytest.raises(InputError, match=r"holds 1 channels \(x\), but 3 are expected"):
        read_raw([RawSource(sources[0].path)], names)


def test_renamed_file_of_a_set(tmp_path):
    source = write_set(tmp_path)[1]
    moved = source.path.rename(tmp_path / "moved.tif")  # its identifier still tells it
    np.testing.assert_array_equal(read_raw([RawSource(moved)], ["G"], 0)[0], STACK[1, 0])
    content = moved.read_bytes().replace(b'UUID="urn:uuid:1"', b'UUID="urn:uuid:9"')
    moved.write_bytes(content)
    with pytest.raises(InputError, match="holds none of the planes of its OME metadata"):
        read_raw([RawSource(moved)], ["G"])


def test_announced_plane_is_missing(tmp_path):
    data = "".join(f'<TiffData FirstC="{c}" FirstZ="0" IFD="{c}"/>' for c in range(3))
    xml = OME.format(own=0, data=data, date="")
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK[:, 0], description=xml, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read_raw([RawSource(path)], ["A", "B", "C"], 0), STACK[:, 0])
    with pytest.raises(InputError, match=r"lacks the plane t=0, c=0, z=1 that its metadata"):
        read_raw([RawSource(path)], ["A", "B", "C"])


WHOLE = {
    "plain": {"metadata": None},
    "shaped": {"metadata": {"axes": "CYX"}},
    "compressed": {"metadata": {"axes": "CYX"}, "compression": "zlib"},
    "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
    "ome": {"ome": True, "metadata": {"axes": "CYX"}},
    "ome compressed": {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zlib"},
    "tiled": {"metadata": {"axes": "CYX"}, "tile": (16, 16)},
}


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), cut=st.integers(1, 2000))
def test_truncated_file_is_refused_or_whole(tmp_path_factory, kind, cut):
    path = tmp_path_factory.mktemp("cut") / "a.tif"
    options = {"photometric": "minisblack", **WHOLE[kind]}
    tifffile.imwrite(path, STACK[:, 0], **options)
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    try:
        read = read_raw([RawSource(path)], ["A", "B", "C"])
    except InputError as error:
        assert str(path) in str(error)
    else:
        np.testing.assert_array_equal(read, STACK[:, 0])


def test_imagej_metadata(tmp_path):
    metadata = {"axes": "ZCYX", "unit": "um", "Labels": ["DAPI", "G", "T"] * 4}
    options = {"imagej": True, "metadata": metadata, "resolution": (2.0, 4.0)}
    tifffile.imwrite(tmp_path / "a.tif", STACK.swapaxes(0, 1), **options)
    (row,) = raw_metadata([RawSource(tmp_path / "a.tif")])
    assert (row["pixel_size_y"], row["pixel_size_x"]) == (0.25, 0.5)
    assert (row["channels"], row["size_c"], row["size_z"]) == ("DAPI, G, T", 3, 4)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [((2000, 1000), 3, (10.0, 5.0)), ((300, 300), 2, (None, None)), ((1, 1), 1, (None, None))],
)
def test_resolution_counts_only_per_centimetre(tmp_path, resolution, unit, expected):
    source = plain(tmp_path / "a.tif", STACK[0, 0], resolution=resolution, resolutionunit=unit)
    (row,) = raw_metadata([source])
    assert (row["pixel_size_y"], row["pixel_size_x"]) == expected


def test_micro_manager_plane(tmp_path):
    tag = '{"XPositionUm": -12.5, "YPositionUm": 3, "ZPositionUm": 8.25, "PixelSizeUm": 0.65}'
    extra = [(51123, "s", len(tag) + 1, tag, True)]
    (row,) = raw_metadata([plain(tmp_path / "a.tif", STACK[0, 0], extratags=extra)])
    assert (row["x_pos"], row["y_pos"], row["z_pos"]) == (-12.5, 3.0, 8.25)
    assert (row["pixel_size_y"], row["pixel_size_x"]) == (0.65, 0.65)


def test_unreadable_metadata_is_an_error(tmp_path):
    sources = write_set(tmp_path, "<AcquisitionDate>yesterday</AcquisitionDate>")
    with pytest.raises(InputError, match=r"c0\.ome\.tif .*yesterday"):
        raw_metadata(sources[:1])


def test_only_the_planes_asked_for_are_read(tmp_path):
    path = tmp_path / "a.tif"
    options = {"metadata": {"axes": "CZYX"}, "compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(path, STACK, **options)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.dataoffsets[0] for page in tiff.pages]
    content = bytearray(path.read_bytes())
    for plane in set(range(12)) - {1, 5, 9}:  # all but z = 1: no zlib stream any more
        content[offsets[plane]] = 0xFF
    path.write_bytes(content)
    np.testing.assert_array_equal(read_raw([RawSource(path)], ["A", "B", "C"], z=1), STACK[:, 1])
    with pytest.raises(InputError, match="cannot be read"):
        read_raw([RawSource(path)], ["A", "B", "C"])


@pytest.mark.skipif(not MOUSE_BRAIN.is_dir(), reason="shared/data is not there")
def test_real_files_one_per_channel():
    names = ["Atto_490LS", "Atto_425", "Alexa_488", "Alexa_568", "Alexa_647"]
    for cycle in (1, 4):
        stem = f"out_opt_flow_registered_X12_Y1_c0{cycle}"
        sources = [RawSource(MOUSE_BRAIN / f"{stem}_{name}.tif", name) for name in reversed(names)]
        read = read_raw(sources, names)
        expected = [tifffile.imread(MOUSE_BRAIN / f"{stem}_{name}.tif") for name in names]
        np.testing.assert_array_equal(read, expected)
        assert read.shape == (5, 1000, 1000)
