"""What viewers show: stores are found, tiles placed, pixels and reads read, without a window."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.shared.errors import InputError
from lib.shared.image_io import write_image
from lib.shared.layout import OMEZARR, PREPROCESS, SBS, plate_store
from lib.shared.omezarr_utils import (
    WellField,
    export_tiff_to_omezarr,
    export_well_to_omezarr,
    write_multiscale_omezarr,
    write_plate_metadata,
)
from lib.shared.tables import write_table
from visualization import mosaic as mosaic_module
from visualization.mosaic import Mosaic
from visualization.napari_viewer import main
from visualization.pixels import Channel, Form, StorePixels, TiffPixels, store_form, tiff_form
from visualization.places import corners_of
from visualization.reads import base_color, gene_color, read_reads
from visualization.stores import images_of_stage, select_well, stores_of_stage
from visualization.wells import view_well

PIXEL = 0.5
SIDE = 64
OVERLAP = 4
CHANNELS = ("DAPI", "G")
STEP = (SIDE - OVERLAP) * PIXEL  # micrometres from tile to tile
MIDDLES = {"0": (100.0, 200.0), "1": (100.0, 200.0 + STEP), "10": (100.0 + STEP, 200.0)}


def tile_image(tile):
    """TCYX: every pixel tells its tile, cycle and channel, and its row."""
    t, c, y, _ = np.ogrid[:2, :2, :SIDE, :SIDE]
    image = 1000 * (int(tile) + 1) + 200 * t + 100 * c + y
    return np.broadcast_to(image, (2, 2, SIDE, SIDE)).astype(np.uint16)


def nuclei(tile):
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[10:20, 30:40] = int(tile) + 1
    return labels


def write_tiffs(results, well="A1", plate="1"):
    for tile in MIDDLES:
        place = {"plate": plate, "well": well, "tile": tile}
        path = results / SBS["align_sbs"][0].format(**place)
        write_image(path, tile_image(tile), "TCYX", (PIXEL, PIXEL), CHANNELS)
        for template in SBS["segment_sbs"][:2]:
            write_image(results / template.format(**place), nuclei(tile), "YX", (PIXEL, PIXEL))


def tiff(results, name, tile, well="A1", plate="1"):
    stage, number = {"aligned": ("align_sbs", 0), "nuclei": ("segment_sbs", 0)}[name]
    return results / SBS[stage][number].format(plate=plate, well=well, tile=tile)


def write_stores(results, layout, well="A1", plate="1", **options):
    """Mirror the TIFFs of `results` in one of the two layouts, and take them away."""
    template = OMEZARR["sbs"]["align_sbs"]
    labels = {
        tile: {"nuclei": {"tiff_path": tiff(results, "nuclei", tile, well, plate)}}
        for tile in MIDDLES
    }
    if layout == "tile":
        for tile, middle in MIDDLES.items():
            export_tiff_to_omezarr(
                tiff(results, "aligned", tile, well, plate),
                results / template.format(plate=plate, well=well, tile=tile),
                label_metadata=labels[tile],
                stage_position=middle,
                **options,
            )
    else:
        fields = [
            WellField(tile, tiff(results, "aligned", tile, well, plate), labels[tile], middle)
            for tile, middle in MIDDLES.items()
        ]
        path = results / plate_store(template).format(plate=plate)
        export_well_to_omezarr(fields, path, well, overview_side=32, **options)
        write_plate_metadata(path, [well], options.get("version", "0.4"))
    for tile in MIDDLES:
        tiff(results, "aligned", tile, well, plate).unlink()


def write_reads(results):
    write_table(
        results / SBS["call_reads"][0].format(plate="1", well="A1"),
        {
            "plate": ["1"] * 3,
            "well": ["A1"] * 3,
            "tile": ["0", "1", "10"],
            "cell": np.array([1, 0, 2], np.int32),
            "i": np.array([5, 6, 7], np.float32),
            "j": np.array([8, 9, 10.5], np.float32),
            "barcode": ["GT", "TT", "AC"],
            "gene_symbol": np.array(["MYC", None, "MYC"], object),
        },
    )


def write_metadata(results, tiles=tuple(MIDDLES)):
    y, x = zip(*(MIDDLES[tile] for tile in tiles), strict=True)
    path = results / PREPROCESS["extract_metadata_sbs"][0].format(plate="1", well="A1")
    write_table(path, {"tile": list(tiles), "y_pos": np.array(y), "x_pos": np.array(x)})


@pytest.fixture
def results(tmp_path):
    write_tiffs(tmp_path)
    return tmp_path


# Which images there are.


@pytest.mark.parametrize("layout", ["tile", "plate"])
def test_stores_of_both_layouts_are_found_in_natural_order(results, layout):
    write_stores(results, layout)
    found = stores_of_stage(results, "sbs", "align_sbs")
    overviews = [image for image in found if image.is_overview]
    assert [image.place for image in found if not image.is_overview] == [
        ("1", "A1", tile, None) for tile in ("0", "1", "10")
    ]
    assert [image.path.name for image in overviews] == ["overview"] * (layout == "plate")
    assert found[: len(overviews)] == overviews


def test_a_tile_of_both_layouts_is_listed_once(results):
    write_stores(results, "plate")
    write_tiffs(results)
    write_stores(results, "tile")
    found = [i for i in stores_of_stage(results, "sbs", "align_sbs") if not i.is_overview]
    assert [image.tile for image in found] == ["0", "1", "10"]
    assert all(image.path.parent.name == "aligned" for image in found)


def test_plate_names_with_dots_and_cycles_are_told_apart(tmp_path):
    for cycle in (2, 10):
        name = OMEZARR["preprocess"]["convert_sbs"].format(
            plate="a.b-1", well="B2", tile="3", cycle=cycle
        )
        write_multiscale_omezarr(np.ones((8, 8), np.uint16), tmp_path / name)
    found = stores_of_stage(tmp_path, "preprocess", "convert_sbs")
    assert [image.place for image in found] == [
        ("a.b-1", "B2", "3", "2"),
        ("a.b-1", "B2", "3", "10"),
    ]


def test_a_folder_that_is_no_store_is_passed_over(results):
    """A killed export leaves an empty folder where Snakemake expected the store."""
    write_stores(results, "tile")
    (results / OMEZARR["sbs"]["align_sbs"].format(plate="1", well="A1", tile="77")).mkdir()
    assert len(stores_of_stage(results, "sbs", "align_sbs")) == 3


def test_tiffs_stand_in_where_there_are_no_stores(results):
    found = images_of_stage(results, "sbs", "align_sbs")
    assert [image.path.suffix for image in found] == [".tiff"] * 3
    assert stores_of_stage(results, "sbs", "align_sbs") == []


def test_refusals_name_what_there_is(results):
    write_tiffs(results, well="A2")
    write_tiffs(results, well="A10", plate="2")
    images = images_of_stage(results, "sbs", "align_sbs")
    for chosen, words in {
        ("3", None, None): r"no plate 3 among images; there are 1, 2\.",
        ("1", "B7", None): r"no well B7 among images of plate 1; there are A1, A2\.",
        ("1", "A1", ("5", "0")): r"no tile 5 among images of well A1; there are 0, 1, 10\.",
        (None, None, None): r"--plate, among images: 1, 2\.",
        ("1", None, None): r"--well, among images of plate 1: A1, A2\.",
    }.items():
        with pytest.raises(InputError, match=words):
            select_well(images, *chosen, "images")
    assert {image.well for image in select_well(images, "2", None, None, "images")} == {"A10"}
    assert [i.tile for i in select_well(images, "1", "A1", ["10", "0"], "images")] == ["0", "10"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "The results folder nowhere does not exist"),
        (
            [".", "--stage", "align"],
            f"There is no stage align; there are {', '.join(OMEZARR['sbs'])} of sbs; "
            f"{', '.join(OMEZARR['phenotype'])} of phenotype.",
        ),
        (
            [".", "--module", "phenotype", "--stage", "align_sbs"],
            "There is no stage align_sbs; there are apply_ic_field_phenotype, align_phenotype, ",
        ),
        ([".", "--stage", "align_phenotype"], "There are no images of align_phenotype in ."),
        ([".", "--module", "phenotype"], "There are no images of align_phenotype in ."),
        ([".", "--plate", "9"], "There is no plate 9 among images of align_sbs in .; there are 1."),
    ],
)
def test_command_line_says_what_is_wrong_in_one_sentence(
    results, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(results)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_the_message_says_how_to_do_without(results, monkeypatch, capsys):
    write_metadata(results)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main([str(results)]) == 1
    assert "\nThere is no screen" in f"\n{capsys.readouterr().err}"


def test_what_is_damaged_is_named(results, tmp_path_factory):
    path = tiff(results, "aligned", "0")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    with pytest.raises(InputError, match=f"The image {path} is no whole TIFF"):
        view_well(results, "sbs", "align_sbs")
    stores = tmp_path_factory.mktemp("stores")
    write_tiffs(stores)
    write_stores(stores, "tile")
    path = stores / OMEZARR["sbs"]["align_sbs"].format(plate="1", well="A1", tile="10")
    (path / ".zattrs").write_text("{")
    with pytest.raises(InputError, match=f"The image {path} .*delete it and run again"):
        view_well(stores, "sbs", "align_sbs")


# Where tiles lie.


def test_corners_keep_fractions_and_the_origin():
    corners, origin = corners_of([(10.0, 40.0), (25.25, 20.0)], (0.5, 2.0))
    assert corners.tolist() == [[0, 10], [30.5, 0]]
    assert origin == (10, 20)


@pytest.mark.parametrize("kind", ["tile", "plate", "tiff"])
def test_a_well_is_stitched_by_stage_position(results, kind):
    if kind == "tiff":
        write_metadata(results)
    else:
        write_stores(results, kind)
    view = view_well(results, "sbs", "align_sbs", "1", "A1")
    assert view.name == "plate 1, well A1"
    assert view.pixel_size == (PIXEL, PIXEL) and view.in_micrometres
    half = (SIDE - 1) / 2 * PIXEL
    assert view.origin == pytest.approx((100 - half, 200 - half))
    assert [picture.shown_as.label for picture in view.images] == list(CHANNELS)
    assert [picture.shown_as.color for picture in view.images] == ["0000FF", "00FF00"]
    assert view.images[0].mosaic.axes == "TYX"

    image = np.asarray(view.images[1].mosaic.levels(1)[0])
    step = SIDE - OVERLAP
    assert image.shape == (2, SIDE + step, SIDE + step)
    expected = np.zeros_like(image)
    for tile, (row, column) in {"0": (0, 0), "1": (0, step), "10": (step, 0)}.items():
        expected[:, row : row + SIDE, column : column + SIDE] = tile_image(tile)[:, 1]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("kind", ["inside", "store", "tiff"])
def test_labels_lie_on_their_objects(results, kind):
    if kind == "inside":
        write_stores(results, "tile")
    else:
        write_metadata(results)
    if kind == "store":
        for tile in MIDDLES:
            path = OMEZARR["sbs"]["segment_sbs"].format(plate="1", well="A1", tile=tile)
            both = [tiff(results, "nuclei", tile)] * 2
            export_tiff_to_omezarr(both, results / path, channel_labels=["Nuclei", "Cells"])
            for template in SBS["segment_sbs"][:2]:
                (results / template.format(plate="1", well="A1", tile=tile)).unlink()
    view = view_well(results, "sbs", "align_sbs")
    names = [picture.shown_as.label for picture in view.labels]
    assert (
        names
        == {
            "inside": ["nuclei"],
            "store": ["Nuclei", "Cells"],
            "tiff": ["nuclei", "cells"],
        }[kind]
    )
    last = view.labels[-1]
    labels = np.asarray(last.mosaic.levels(last.channel)[0])
    step = SIDE - OVERLAP
    assert last.mosaic.axes == "YX"
    assert np.unique(labels).tolist() == [0, 1, 2, 11]
    assert (labels[10:20, step + 30 : step + 40] == 2).all()
    assert (labels[step + 10 : step + 20, 30:40] == 11).all()


def test_labels_that_a_tile_lacks_are_not_shown(results):
    write_stores(results, "tile")
    store = results / OMEZARR["sbs"]["align_sbs"].format(plate="1", well="A1", tile="1")
    (store / "labels").rename(store / "elsewhere")
    for template in SBS["segment_sbs"][:2]:
        (results / template.format(plate="1", well="A1", tile="0")).unlink()
    assert view_well(results, "sbs", "align_sbs").labels == []
    assert len(view_well(results, "sbs", "align_sbs", tiles=["0", "10"]).labels) == 1


def test_masks_as_a_stage_of_their_own_are_labels(results):
    for tile in MIDDLES:
        path = OMEZARR["sbs"]["segment_sbs"].format(plate="1", well="A1", tile=tile)
        export_tiff_to_omezarr([tiff(results, "nuclei", tile)] * 2, results / path)
    view = view_well(results, "sbs", "segment_sbs", tiles=["0"])
    assert not view.images and len(view.labels) == 2


def test_tiles_of_unknown_place_are_put_in_a_grid(results, caplog):
    write_metadata(results, tiles=("0", "1"))  # not of tile 10
    view = view_well(results, "sbs", "align_sbs")
    assert view.images[0].mosaic.shape(0) == (2, 2 * SIDE, 2 * SIDE)
    assert "put side by side" in caplog.text


def test_version_0_5_is_shown_alike(results, tmp_path_factory):
    other = tmp_path_factory.mktemp("v04")
    write_tiffs(other)
    write_stores(results, "plate", version="0.5")
    write_stores(other, "plate")
    views = [view_well(folder, "sbs", "align_sbs") for folder in (results, other)]
    first, second = (np.asarray(view.images[0].mosaic.levels(0)[0]) for view in views)
    np.testing.assert_array_equal(first, second)
    assert views[0].images[0].shown_as == views[1].images[0].shown_as
    assert views[0].origin == views[1].origin


def test_windows_suit_the_usual_tile(tmp_path):
    """The first tile is brighter than all others: the median of the windows counts."""
    for tile, scale in enumerate((9, 1, 1)):
        image = np.tile(np.arange(100, dtype=np.uint16) * scale, (100, 1))[None]
        path = tmp_path / OMEZARR["sbs"]["align_sbs"].format(plate="1", well="A1", tile=tile)
        write_multiscale_omezarr(image, path, (1.0, 1.0), axes="CYX")
    view = view_well(tmp_path, "sbs", "align_sbs")
    start, end = view.images[0].shown_as.window
    assert 0 <= start < 5 and 95 < end < 100


# What is read, and when.


class Counted:
    """Pixels of a tile that note what is read of them."""

    def __init__(self, levels):
        self.levels, self.asked = levels, []

    def read(self, level, plane, rows, columns):
        self.asked.append((level, tuple(plane)))
        return self.levels[level][(*plane, rows, columns)]


def form_of_levels(levels, axes):
    channels = (Channel("a", "FFFFFF", None),) * levels[0].shape[axes.index("C")]
    shapes = tuple(level.shape for level in levels)
    return Form(axes, shapes, levels[0].dtype, (1.0, 1.0), channels)


def test_only_what_is_looked_at_is_read():
    levels = [np.ones((3, 2, n, n), np.uint16) for n in (400, 200)]
    tiles = [Counted(levels) for _ in range(100)]
    corners = np.array([(400 * (n // 10), 400 * (n % 10)) for n in range(100)], float)
    mosaic = Mosaic(form_of_levels(levels, "TCYX"), tiles, corners)
    assert mosaic.levels(1)[0].shape == (3, 4000, 4000)
    assert not any(tile.asked for tile in tiles)

    part = np.asarray(mosaic.levels(1)[0][2, 1030:1100, 2060:2400])
    assert part.shape == (70, 340) and (part == 1).all()
    # One block of 1024 x 1024 px at (1024, 2048): rows 1024-2047, columns 2048-3071.
    touched = {number for number, tile in enumerate(tiles) if tile.asked}
    assert 25 in touched
    assert touched <= {10 * row + column for row in (2, 3, 4, 5) for column in (5, 6, 7)}
    assert {asked for tile in tiles for asked in tile.asked} == {(0, (2, 1))}


def test_levels_are_added_until_a_well_fits_a_screen(monkeypatch):
    monkeypatch.setattr(mosaic_module, "OVERVIEW_SIDE", 100)
    rng = np.random.default_rng(0)
    full = rng.integers(0, 1000, (1, 80, 80)).astype(np.uint16)
    half = full.reshape(1, 40, 2, 40, 2).mean(axis=(2, 4)).astype(np.uint16)
    tiles = [Counted([full, half]) for _ in range(9)]
    corners = np.array([(80 * (n // 3), 80 * (n % 3)) for n in range(9)], float)
    mosaic = Mosaic(form_of_levels([full, half], "CYX"), tiles, corners)
    assert mosaic.factors == [1, 2, 4] and mosaic.is_large
    overview = np.asarray(mosaic.levels(0)[2])
    assert overview.shape == (60, 60)
    one = half[0].reshape(20, 2, 20, 2).astype(np.uint32).sum(axis=(1, 3))
    np.testing.assert_array_equal(overview, np.tile((one + 2) // 4, (3, 3)))
    before = [len(tile.asked) for tile in tiles]
    np.asarray(mosaic.levels(0)[2])
    assert [len(tile.asked) for tile in tiles] == before, "the overview is kept"


def test_added_levels_of_labels_invent_no_label(monkeypatch):
    monkeypatch.setattr(mosaic_module, "OVERVIEW_SIDE", 50)
    labels = np.repeat(np.repeat(np.arange(1, 401, dtype=np.int32).reshape(20, 20), 4, 0), 4, 1)
    tiles = [Counted([labels])] * 2
    form = Form("YX", ((80, 80),), labels.dtype, None, (Channel("cells", "FFFFFF", None),))
    mosaic = Mosaic(form, tiles, np.array([(0.0, 0.0), (0.0, 80.0)]))
    overview = np.asarray(mosaic.levels(0)[-1])
    np.testing.assert_array_equal(overview[:20, :20], labels[::4, ::4])


@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), min_size=1, max_size=5),
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 30), st.integers(1, 30)),
)
def test_any_block_is_what_pasting_all_tiles_gives(places, block):
    places = [(0.0, 0.0), *places]  # the mosaic begins at its first tile
    tiles = [Counted([np.full((1, 20, 15), n + 1, np.uint8)]) for n in range(len(places))]
    form = form_of_levels(tiles[0].levels, "CYX")
    mosaic = Mosaic(form, tiles, np.array(places))
    pasted = np.zeros(mosaic.shape(0), np.uint8)
    for number, (y, x) in enumerate(np.rint(places).astype(int).tolist()):
        pasted[y : y + 20, x : x + 15] = number + 1
    y, x, height, width = block
    asked = (slice(y, y + height), slice(x, x + width))
    np.testing.assert_array_equal(mosaic.read(0, 0, asked), pasted[asked])


@pytest.mark.parametrize(
    "key",
    [
        (1, slice(3, 9), slice(None)),
        (slice(0, 2), slice(1, 60, 7), slice(50, 3, -4)),
        (slice(None), 5, 6),
        (0, slice(4, 4), slice(None)),
    ],
)
def test_a_level_is_cut_as_numpy_cuts(results, key):
    write_metadata(results)
    level = view_well(results, "sbs", "align_sbs").images[1].mosaic.levels(1)[0]
    np.testing.assert_array_equal(np.asarray(level[key]), np.asarray(level)[key])


def test_tiff_and_store_hold_the_same_plane(results):
    path = tiff(results, "aligned", "1")
    form = tiff_form(path)
    store = export_tiff_to_omezarr(path, results / "one.ome.zarr")
    assert form.axes == store_form(store).axes == "TCYX"
    assert form.pixel_size == store_form(store).pixel_size == (PIXEL, PIXEL)
    rows, columns = slice(3, 30), slice(7, 9)
    for pixels in (TiffPixels(path, form), StorePixels(store)):
        piece = pixels.read(0, (1, 0), rows, columns)
        np.testing.assert_array_equal(piece, tile_image("1")[1, 0, rows, columns])


# Reads.


def test_reads_lie_where_their_tile_lies(results):
    write_reads(results)
    write_metadata(results)
    view = view_well(results, "sbs", "align_sbs")
    step = SIDE - OVERLAP
    assert view.reads.places.tolist() == [[5, 8], [6, 9 + step], [7 + step, 10.5]]
    assert view.reads.table["gene_symbol"].tolist() == ["MYC", "", "MYC"]
    only = view_well(results, "sbs", "align_sbs", tiles=["10"])
    assert only.reads.places.tolist() == [[7, 10.5]]


def test_reads_are_coloured_by_base_or_gene(results):
    write_reads(results)
    path = results / SBS["call_reads"][0].format(plate="1", well="A1")
    reads = read_reads(path, {tile: (0, 0) for tile in MIDDLES})
    green, red, magenta = [0, 1, 0, 1], [1, 0, 0, 1], [1, 0, 1, 1]
    assert reads.colors("base").tolist() == [green, red, magenta]
    by_gene = reads.colors("gene")
    assert by_gene[0].tolist() == by_gene[2].tolist() != by_gene[1].tolist()


def test_no_reads_are_no_points(results):
    write_reads(results)
    path = results / SBS["call_reads"][0].format(plate="1", well="A1")
    reads = read_reads(path, {"none": (0, 0)})
    assert reads.places.shape == (0, 2) and reads.colors("gene").shape == (0, 4)


def test_colours_follow_from_names():
    assert base_color("N") == base_color("") == gene_color("") == "808080"
    genes = [gene_color(f"GENE{number}") for number in range(50)]
    assert len(set(genes)) > 45
    assert gene_color("MYC") == gene_color("MYC") != "808080"
