"""The simulator: its images must show what its truth and parameters say."""

import hashlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.shared.config import load_config
from lib.shared.errors import InputError
from lib.shared.image_io import OME_NAMESPACE, read_image, read_image_info
from lib.shared.registration import warp
from lib.shared.tables import read_table
from lib.simulate import optics, render
from lib.simulate.__main__ import main
from lib.simulate.library import EFFECTS, draw_barcodes, make_library, spell
from lib.simulate.parameters import (
    BASES,
    CONTROL_GENE,
    PRESETS,
    SBS_CHANNELS,
    ScreenParameters,
    parse_override,
    with_overrides,
)
from lib.simulate.raw_files import LAYOUTS, RawImage, write_raw
from lib.simulate.screen import simulate_screen
from lib.simulate.shapes import Frame, Outlines, fill, relative_radius
from lib.simulate.streams import Stream, stream
from lib.simulate.tiles import extent, well_tiles
from lib.simulate.well import make_well

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
TINY = PRESETS["tiny"]
# Nothing but spots, as the chemistry makes them.
BARE = replace(
    TINY,
    guides=1,
    guides_per_gene=1,
    control_fraction=0.0,
    background=0.0,
    autofluorescence=0.0,
    dapi_bleed=0.0,
    debris_per_mm2=0.0,
    noise_reads_per_mm2=0.0,
    vignetting=0.0,
    drift_px=0.0,
    chromatic_px=0.0,
    spot_jitter_px=0.0,
    spot_flicker=0.0,
    camera_offset=0.0,
    read_noise=0.0,
    electrons_per_count=1e9,
    spot_amplitude=2000.0,
    spot_amplitude_sigma=0.1,
    channel_gain=(1.0, 1.0, 1.0, 1.0),
    tiles=1,
    phenotype=False,
)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A tiny screen made by the command line from a relative folder."""
    folder = tmp_path_factory.mktemp("simulated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["demo", "--preset", "tiny", "--set", "hit_fraction=0.33"]) == 0
    return folder / "demo"


def render_sbs(parameters, tile=0):
    """Return the well, the tile and its stack (T, C, Y, X)."""
    tiles = well_tiles(parameters, "1", "A1")
    well = make_well(parameters, make_library(parameters), "1", "A1", extent(tiles))
    scene = render.make_scene(parameters, well, tiles[tile])
    cycles = range(1, parameters.cycles + 1)
    images = [
        image[0] for _, image in render.sbs_cycles(parameters, well, tiles[tile], scene, cycles)
    ]
    return well, tiles[tile], np.stack(images)


def digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


# Library


def test_barcodes_keep_their_distance():
    codes = draw_barcodes(np.random.default_rng(0), 60, 8, 3)
    distance = (codes[:, None] != codes[None]).sum(axis=-1)
    assert distance[~np.eye(60, dtype=bool)].min() == 3
    words = spell(codes)
    assert not any(base * 5 in word for word in words for base in BASES)


def test_impossible_library_is_refused():
    with pytest.raises(InputError, match="20 barcodes of 3 bases"):
        draw_barcodes(np.random.default_rng(0), 20, 3, 3)


def test_library_has_controls_without_effect_and_hits_of_the_stated_size():
    parameters = replace(TINY, guides=40, min_distance=2, control_fraction=0.1, hit_fraction=0.2)
    library = make_library(parameters)
    control = library.genes == CONTROL_GENE
    assert control.sum() == 4
    assert (library.effects[control] == 1).all()
    assert [s[: parameters.cycles] for s in library.sequences] == library.barcodes.tolist()
    assert {len(s) for s in library.sequences} == {20}
    assert np.unique(library.genes[~control], return_counts=True)[1].tolist() == [3] * 12
    sizes = (parameters.p65_effect, parameters.granule_effect, parameters.cell_size_effect)
    for k, size in enumerate(sizes):
        hit = library.effects[:, k] != 1
        assert hit.any() and set(library.effects[hit, k]) == {size}
        assert library.active[hit].all()
    assert ((library.effects != 1).sum(axis=1) <= 1).all()


# Chemistry and light


def test_phasing_matrix_by_hand():
    shares = optics.phasing_matrix(2, 4, phasing=0.1, prephasing=0.2)
    np.testing.assert_allclose(shares[0], [0.7, 0.2, 0, 0])
    np.testing.assert_allclose(shares[1], [0.14, 0.53, 0.28, 0.04])
    np.testing.assert_allclose(optics.phasing_matrix(3, 3, 0, 0), np.eye(3))


def test_crosstalk_goes_where_it_is_named():
    parameters = replace(
        TINY,
        crosstalk_g_in_t=0.5,
        crosstalk_t_in_g=0.4,
        crosstalk_a_in_c=0.3,
        crosstalk_c_in_a=0.2,
        crosstalk_other=0.1,
    )
    # Rows are channels G, T, A, C; columns dyes G, T, A, C.
    expected = [[1, 0.4, 0.1, 0.1], [0.5, 1, 0.1, 0.1], [0.1, 0.1, 1, 0.2], [0.1, 0.1, 0.3, 1]]
    np.testing.assert_allclose(optics.crosstalk_matrix(parameters), expected)


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        # Bases G, T, A, C; G is dark. Of two colours, T is green, C red and A both; of three, T is
        # green, A red and C far red.
        (2, [[0, 0], [1, 0.5 * 0.3], [1 + 0.12, 0.5 * 1.3], [0.12, 0.5]]),
        (3, [[0, 0, 0], [1, 0.15, 0.016], [0.12, 0.5, 0.016], [0.02, 0.01, 0.8]]),
    ],
)
def test_light_of_fewer_colours_by_hand(colours, expected):
    gain = (1.0, 0.5, 0.8, 9.0)
    bare = replace(BARE, colours=colours, cycles=4, channel_gain=gain, phasing=0.0, prephasing=0.0)
    light = optics.spot_amplitudes(np.arange(4)[None], replace(bare, decay=1.0))
    np.testing.assert_allclose(light[0], expected, rtol=1e-6, atol=1e-9)


def test_a_screen_of_two_colours_says_what_its_channels_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--preset", "tiny", "--tiles", "1", "--cycles", "4", "--guides", "4"]
    assert main(["two", *options, "--colours", "2", "--no-phenotype"]) == 0
    config = load_config(yaml.safe_load(Path("two/config.yml").read_text()), SCHEMA)
    assert config["sbs"]["channel_names"] == ["DAPI", "GREEN", "RED"]
    encoding = {"G": [], "T": ["GREEN"], "A": ["GREEN", "RED"], "C": ["RED"]}
    assert config["sbs"]["base_encoding"] == encoding
    info = read_image_info(sorted(Path("two/raw/sbs").iterdir())[0])
    assert info.channel_names == ("DAPI", "GREEN", "RED")
    shifts = read_table("two/truth/shifts.tsv")
    assert shifts["channel"].tolist() == ["DAPI", "GREEN", "RED"] * 4


def test_noiseless_images_have_the_proportions_of_the_parameters():
    parameters = replace(
        BARE,
        phasing=0.1,
        prephasing=0.05,
        decay=0.9,
        crosstalk_other=0.0,
        channel_gain=(1.0, 0.5, 0.8, 0.25),
    )
    well, _, stack = render_sbs(parameters)
    light = stack[:, 1:].sum(axis=(2, 3), dtype=float)
    first, second, third = np.eye(4)[well.reads.codes[0, :3]]
    bleed = np.array([[1, 0.12, 0, 0], [0.3, 1, 0, 0], [0, 0, 1, 0.1], [0, 0, 0.22, 1]])
    gain = np.array([1.0, 0.5, 0.8, 0.25])
    cycle_1 = gain * (bleed @ (0.85 * first + 0.05 * second))
    cycle_2 = gain * (bleed @ (0.17 * first + 0.7325 * second + 0.085 * third)) * 0.9
    # Rounding to counts takes a little of the spots' faint rims.
    scale = light[0].sum() / cycle_1.sum()
    beyond = 0.9 * gain * (bleed @ (0.0025 * np.eye(4)[well.reads.codes[0, 3]]))
    np.testing.assert_allclose(light[0], scale * cycle_1, atol=0.01 * light[0].max())
    np.testing.assert_allclose(light[1], scale * (cycle_2 + beyond), atol=0.01 * light[0].max())


@settings(max_examples=30, deadline=None)
@given(row=st.floats(-6, 36), column=st.floats(-6, 46), sigma=st.floats(0.9, 2.0))
def test_spots_are_gaussians_wherever_they_lie(row, column, sigma):
    image = np.zeros((30, 40), np.float32)
    optics.add_spots(image, np.array([row]), np.array([column]), np.array([100.0]), sigma)
    i, j = np.mgrid[:30, :40]
    exact = 100 * np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
    # Patches end at four standard deviations.
    np.testing.assert_allclose(image, exact, atol=100 * np.exp(-7.5))


@settings(max_examples=30, deadline=None)
@given(dy=st.floats(-5, 5), dx=st.floats(-5, 5))
def test_shift_crop_moves_features_by_the_shift(dy, dx):
    i, j = np.mgrid[:60, :64].astype(float)

    def blob(row, column):
        return np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * 1.5**2))

    canvas = blob(29.3, 31.6).astype(np.float32)
    moved = optics.shift_crop(canvas, dy, dx, (40, 44))
    exact = blob(29.3 + dy, 31.6 + dx)[10:50, 10:54]
    np.testing.assert_allclose(moved, exact, atol=0.005)


def test_map_crop_turns_about_the_middle():
    i, j = np.mgrid[:60, :64].astype(float)

    def blob(row, column):
        return np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * 1.5**2))

    # 10 px down and 5 px right of the middle of the result, which is 40 x 44 px.
    turn = np.array([[0.01, -0.03], [0.03, 0.01]])
    canvas = blob(29.5 + 10, 31.5 + 5).astype(np.float32)
    moved = optics.map_crop(canvas, (1.2, -0.7), turn, (40, 44))
    exact = blob(29.5 + 10 + 1.2 + 0.1 - 0.15, 31.5 + 5 - 0.7 + 0.3 + 0.05)[10:50, 10:54]
    np.testing.assert_allclose(moved, exact, atol=0.02)
    still = optics.map_crop(canvas, (1.2, -0.7), 0 * turn, (40, 44))
    np.testing.assert_array_equal(still, optics.shift_crop(canvas, 1.2, -0.7, (40, 44)))


def test_shift_crop_refuses_to_leave_the_canvas():
    with pytest.raises(ValueError, match="leaves the canvas"):
        optics.shift_crop(np.zeros((40, 40), np.float32), 9.0, 0.0, (20, 20))


def test_camera_noise_has_the_stated_variance():
    parameters = replace(TINY, electrons_per_count=0.5, read_noise=3.0, camera_offset=100.0)
    light = np.full((400, 400), 1000.0, np.float32)
    counts = optics.expose(np.random.default_rng(0), light, parameters)
    assert counts.dtype == np.uint16
    assert counts.mean() == pytest.approx(1100, abs=0.6)
    assert counts.var() == pytest.approx(1000 / 0.5 + 9 + 1 / 12, rel=0.02)


def test_vignette_takes_the_stated_share_from_the_corners():
    field = optics.vignette((101, 101), 0.3, (0.0, 0.0))
    assert field[50, 50] == 1
    np.testing.assert_allclose(field[[0, 0, -1, -1], [0, -1, 0, -1]], 0.7, atol=0.005)


# Shapes


def ellipses(radius, aspect, angle):
    n = len(radius)
    none = np.zeros((n, 1), np.float32)
    values = (radius, aspect, angle)
    return Outlines(*(np.array(v, np.float32) for v in values), none, none)


def test_relative_radius_of_an_ellipse():
    # Radius 4 at aspect 4: half axes 8 along y (angle 90 degrees) and 2 along x.
    outline = ellipses([4.0], [4.0], [np.pi / 2])
    radius = relative_radius(outline, np.array([8.0]), np.array([0.0]))
    np.testing.assert_allclose(radius, 1, rtol=1e-5)
    radius = relative_radius(outline, np.array([0.0]), np.array([1.0]))
    np.testing.assert_allclose(radius, 0.5, rtol=1e-5)


def test_fill_splits_the_plane_between_neighbours():
    frame = Frame((0.0, 0.0), (41, 61), 0.5)
    y, x = np.array([0.0, 0.0, 90.0]), np.array([-5.0, 5.0, 0.0])
    labels, radius = fill(frame, y, x, ellipses([8.0] * 3, [1.0] * 3, [0.0] * 3))
    assert labels[20, 20] == 1 and labels[20, 40] == 2
    assert (labels[20, :30] <= 1).all() and (labels[20, 31:] != 1).all()
    assert set(np.unique(labels)) == {0, 1, 2}
    assert radius[20, 20] == 0 and np.isinf(radius[0, 0])


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(-0.5, 0.5), st.floats(0.1, 2.0))
def test_frame_goes_there_and_back(y, x, angle, pixel):
    frame = Frame((12.0, -7.0), (100, 80), pixel, angle)
    np.testing.assert_allclose(frame.to_well(*frame.to_pixels(y, x)), (y, x), atol=1e-6)
    np.testing.assert_allclose(frame.to_pixels(12.0, -7.0), (49.5, 39.5))


def test_streams_depend_on_the_place_only():
    draws = [
        stream(0, Stream.SPOTS, "1", "A1", tile, cycle).random()
        for tile in ("1", "11")
        for cycle in (1, 11)
    ]
    assert len(set(draws)) == 4
    assert stream(0, Stream.SPOTS, "1", "A1", "11", 1).random() == draws[2]


# The images against the truth


def test_drift_is_where_the_truth_says():
    # Without reads all cycles show the same bodies; without shading nothing stands still.
    parameters = replace(
        TINY, reads_per_cell=0.0, noise_reads_per_mm2=0.0, vignetting=0.0, background_variation=0.0
    )
    _, tile, stack = render_sbs(parameters)
    shifts = render.sbs_shifts(parameters, tile)
    assert np.abs(shifts[1:, 0]).max() > 1
    assert (shifts[0, 0] == 0).all()
    for channel in (0, 1):
        planes = [cv2.GaussianBlur(p[channel].astype(np.float32), (0, 0), 2) for p in stack]
        reference = planes[0][16:-16, 16:-16]
        for t in range(1, 6):
            rough = cv2.matchTemplate(planes[t], reference, cv2.TM_CCOEFF_NORMED)
            column, row = cv2.minMaxLoc(rough)[3]
            start = np.array([[1, 0, column], [0, 1, row]], np.float32)
            _, warp = cv2.findTransformECC(reference, planes[t], start, cv2.MOTION_TRANSLATION)
            found = warp[::-1, 2] - 16
            assert np.hypot(*(found - (shifts[t, channel] - shifts[0, channel]))) < 0.1


def test_turned_cycles_move_reads_and_nuclei_alike():
    parameters = replace(
        TINY, turn_deg=0.5, zoom=0.003, spot_jitter_px=0.0, drift_px=0.0, chromatic_px=0.0
    )
    _, tile, stack = render_sbs(parameters)
    turns = render.sbs_turns(parameters, tile)
    moved = np.hypot(*turns[..., 0].T) * 181  # px at the corners
    assert moved[0] == 0
    far = np.flatnonzero(moved > 1)
    assert len(far) > 2

    def corner(plane):
        return cv2.GaussianBlur(plane, (0, 0), 1)[4:100, 4:100].ravel()

    for channels in ([0], [1, 2, 3, 4]):
        planes = [p[channels].astype(np.float32).sum(axis=0) for p in stack]
        for t in far:
            undone = warp(planes[t], np.zeros(2), turns[t])
            alike, unlike, opposite = (
                np.corrcoef(corner(planes[0]), corner(plane))[0, 1]
                for plane in (undone, planes[t], warp(planes[t], np.zeros(2), -turns[t]))
            )
            assert alike > unlike > opposite


def test_spots_lie_where_the_reads_say(screen):
    reads = read_table(screen / "truth/reads.parquet").query("tile == '0' and amplitude > 900")
    shifts = read_table(screen / "truth/shifts.tsv").query("tile == '0'")
    shifts = shifts.set_index(["cycle", "channel"])[["dy", "dx"]]
    # `i, j` are in the frame of the first base channel of cycle 1.
    origin = shifts.loc[(1, "G")].to_numpy()
    places = reads[["i", "j"]].to_numpy() - origin
    distance = np.hypot(*(places[:, None] - places[None]).T)
    lonely = (distance + 99 * np.eye(len(places)) > 9).all(axis=0)
    window = np.arange(-4, 5)
    errors = []
    for cycle in (1, 4, 6):
        image = tifffile.imread(screen / f"raw/sbs/P-1_W-A1_T-0_C-{cycle}.tif").astype(float)
        for base, channel in zip(BASES, SBS_CHANNELS[1:], strict=True):
            mine = lonely & (reads["barcode"].str[cycle - 1] == base).to_numpy()
            place = places[mine] + shifts.loc[(cycle, channel)].to_numpy()
            place = place[(place > 8).all(axis=1) & (place < 247).all(axis=1)]
            corner = np.rint(place).astype(int)
            plane = image[SBS_CHANNELS.index(channel)]
            patch = plane[
                corner[:, 0, None, None] + window[:, None], corner[:, 1, None, None] + window
            ]
            weight = (patch - np.median(patch, axis=(1, 2), keepdims=True)).clip(0)
            weight *= np.exp(-(window[:, None] ** 2 + window**2) / 8)
            total = weight.sum(axis=(1, 2))
            centre = np.stack(
                [
                    (weight * window[:, None]).sum(axis=(1, 2)) / total,
                    (weight * window).sum(axis=(1, 2)) / total,
                ],
                axis=1,
            )
            errors.append(corner + centre - place)
    errors = np.concatenate(errors)
    assert len(errors) > 60
    assert np.abs(np.median(errors, axis=0)).max() < 0.06
    assert np.median(np.hypot(*errors.T)) < 0.3


def test_nuclei_and_reads_fall_into_their_labels(screen):
    folder = screen / "truth/labels/sbs"
    nuclei = read_image(folder / "P-1_W-A1_T-0__nuclei.tiff")
    cells = read_image(folder / "P-1_W-A1_T-0__cells.tiff")
    assert nuclei.dtype == np.int32
    assert (cells[nuclei > 0] == nuclei[nuclei > 0]).all()
    assert np.unique(cells).tolist() == list(range(cells.max() + 1))
    dapi = tifffile.imread(screen / "raw/sbs/P-1_W-A1_T-0_C-1.tif")[0]
    assert np.median(dapi[nuclei > 0]) > 4 * np.median(dapi[nuclei == 0])
    reads = read_table(screen / "truth/reads.parquet").query("tile == '0' and cell > 0")
    shift = read_table(screen / "truth/shifts.tsv").query(
        "tile == '0' and cycle == 1 and channel == 'G'"
    )
    i = np.rint(reads["i"] - shift["dy"].item()).astype(int).clip(0, 255)
    j = np.rint(reads["j"] - shift["dx"].item()).astype(int).clip(0, 255)
    assert (cells[i, j] == reads["cell"]).mean() > 0.97


def test_one_cell_is_one_cell_in_both_modules(screen):
    tiles = read_table(screen / "truth/tiles.tsv")
    frames = {
        (row.module, row.tile): Frame(
            (row.well_y_um, row.well_x_um), (256, 256), row.pixel_um, np.radians(row.rotation_deg)
        )
        for row in tiles.itertuples()
    }
    cells = read_table(screen / "truth/tile_cells.parquet").query("not touches_border")
    place = [frames[row.module, row.tile].to_well(row.i, row.j) for row in cells.itertuples()]
    cells = cells.assign(**dict(zip(("y", "x"), np.transpose(place), strict=True)))
    both = cells.query("module == 'sbs'").merge(
        cells.query("module == 'phenotype'"), on=["plate", "well", "cell_id"]
    )
    assert both["cell_id"].nunique() > 20
    assert np.hypot(both["y_x"] - both["y_y"], both["x_x"] - both["x_y"]).max() < 0.3
    np.testing.assert_allclose(both["area_y"] / both["area_x"], 4.0, rtol=0.06)
    # The phenotype stage has its own origin and is turned against the first.
    phenotype = tiles.query("module == 'phenotype'")
    offset = (phenotype["stage_y_um"] - phenotype["well_y_um"]).mean()
    assert offset == pytest.approx(35, abs=3)


def test_stage_positions_tell_where_neighbours_lie_in_an_image():
    turned = replace(TINY, stage_error_um=0.0, phenotype_rotation_deg=10.0)
    for module in ("sbs", "phenotype"):
        tiles = [tile for tile in well_tiles(turned, "1", "B3") if tile.module == module]
        first, frame = tiles[0], tiles[0].frame
        for tile in tiles:
            step = np.subtract(tile.stage, first.stage)[:2] / frame.pixel
            place = frame.to_pixels(*tile.frame.centre)
            np.testing.assert_allclose(place, step + 127.5, atol=0.01)


def test_hits_change_the_images(screen):
    hits = read_table(screen / "truth/hits.tsv")
    assert set(hits["phenotype"]) == set(EFFECTS)
    moved = hits.loc[hits["phenotype"] == "p65_nuclear_ratio", "gene_symbol"]
    grainy = hits.loc[hits["phenotype"] == "wga_granule_count", "gene_symbol"]
    active = read_table(screen / "truth/guides.tsv").query("active")["sgRNA"]
    truth = read_table(screen / "truth/cells.parquet").query("n_guides == 1")
    truth = truth[truth["sgRNA_0"].isin(active)]
    tile_cells = read_table(screen / "truth/tile_cells.parquet").query(
        "module == 'phenotype' and not touches_border"
    )
    measured = []
    for tile, group in tile_cells.groupby("tile"):
        image = tifffile.imread(screen / f"raw/phenotype/P-1_W-A1_T-{tile}.tif")[2] - 100.0
        folder = screen / "truth/labels/phenotype"
        nuclei = read_image(folder / f"P-1_W-A1_T-{tile}__nuclei.tiff")
        cells = read_image(folder / f"P-1_W-A1_T-{tile}__cells.tiff")
        cells[nuclei > 0] = 0
        for row in group.itertuples():
            ratio = image[nuclei == row.label].mean() / image[cells == row.label].mean()
            measured.append((row.cell_id, ratio))
    measured = dict(measured)
    truth = truth[truth["cell_id"].isin(measured)].assign(
        ratio=lambda table: table["cell_id"].map(measured)
    )
    hit = truth["gene_symbol"].isin(moved)
    assert hit.sum() >= 5
    assert truth.loc[hit, "ratio"].median() > 1.5 * truth.loc[~hit, "ratio"].median()
    granules = truth.groupby(truth["gene_symbol"].isin(grainy))["wga_granule_count"].mean()
    assert 1.9 < granules[True] / granules[False] < 3.1


# Files


def test_tables_and_config_name_the_folder_as_given(screen):
    config = yaml.safe_load((screen / "config.yml").read_text())
    assert config["all"]["root_fp"] == "demo/results"
    assert config["sbs"]["bases"] == list(BASES)
    for module, count in (("sbs", 12), ("phenotype", 8)):
        samples = read_table(screen.parent / config["preprocess"][f"{module}_samples_fp"])
        assert len(samples) == count
        assert samples["sample_fp"].str.startswith(f"demo/raw/{module}/").all()
        assert all((screen.parent / path).is_file() for path in samples["sample_fp"])
    library = read_table(screen.parent / config["sbs"]["barcode_library_fp"])
    assert library.columns.tolist() == ["sgRNA", "gene_symbol", "gene_id", "prefix"]
    assert (library["sgRNA"].str[:6] == library["prefix"]).all()


def test_truth_reads_agree_with_the_cells(screen):
    reads = read_table(screen / "truth/reads.parquet").query("cell_id > 0")
    cells = read_table(screen / "truth/cells.parquet")
    reads = reads.merge(cells, on=["plate", "well", "cell_id"])
    given_codes = (reads["barcode"] == reads["barcode_0"]) | (
        reads["barcode"] == reads["barcode_1"]
    )
    assert given_codes.all()
    assert ((cells["n_guides"] == 0) == cells["barcode_0"].isna()).all()
    assert (cells.loc[cells["n_guides"] == 0, "n_reads"] == 0).all()
    assert ((cells["n_guides"] == 2) == cells["barcode_1"].notna()).all()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_holds_the_same_pixels(name, depth, tmp_path):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 65535, (depth, 3, 70, 65), dtype=np.uint16)
    raw = RawImage(image, ("DAPI", "G", "T"), 0.65, 1.5, (4500.0, 310.25, 3100.0))
    rows = write_raw(tmp_path, "P-1_W-A1_T-0", raw, name)
    for row in rows:
        expected = image[:, raw.channels.index(row["channel"])] if "channel" in row else image
        expected = expected[row["z"]] if "z" in row else expected
        path = row["sample_fp"]
        if "zarr" in name:
            expected = expected.swapaxes(0, 1)  # NGFF: channels before space
            stored = zarr.open(path, mode="r")["0"][:]
        else:
            stored = tifffile.imread(path)
        np.testing.assert_array_equal(stored.squeeze(), expected.squeeze())
    per_file = {"tiff-per-channel": 3, "tiff-per-plane": 3 * depth}
    assert len(rows) == per_file.get(name, 1)


def test_ome_tiff_tells_stage_and_pixel_size(screen):
    with tifffile.TiffFile(screen / "raw/sbs/P-1_W-A1_T-1_C-2.tif") as tiff:
        root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = next(root.iter(f"{OME_NAMESPACE}Pixels"))
    assert float(pixels.get("PhysicalSizeX")) == 0.65
    names = [channel.get("Name") for channel in root.iter(f"{OME_NAMESPACE}Channel")]
    assert names == list(SBS_CHANNELS)
    true = read_table(screen / "truth/tiles.tsv").query("module == 'sbs' and tile == '1'")
    planes = list(root.iter(f"{OME_NAMESPACE}Plane"))
    assert len(planes) == 5
    for plane in planes:
        for axis in "XYZ":
            stage = true[f"stage_{axis.lower()}_um"].item()
            assert float(plane.get(f"Position{axis}")) == pytest.approx(stage)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_corner_follows_from_the_stage(version, tmp_path):
    image = np.zeros((1, 1, 101, 51), np.uint16)
    raw = RawImage(image, ("DAPI",), 0.5, 1.0, (100.0, 40.0, 0.0))
    [row] = write_raw(tmp_path, "tile", raw, f"ome-zarr-{version}")
    attributes = zarr.open_group(row["sample_fp"], mode="r").attrs.asdict()
    image_entry = attributes.get("ome", attributes)["multiscales"][0]
    transforms = image_entry["datasets"][0]["coordinateTransformations"]
    assert transforms[0]["scale"] == [1.0, 0.5, 0.5]
    assert transforms[1]["translation"] == [0.0, 75.0, 27.5]


@pytest.mark.parametrize("layout", ["tiff", "ome-zarr-0.4", "ome-zarr-0.5"])
def test_same_seed_same_bytes(layout, tmp_path, monkeypatch):
    small = replace(TINY, tile_size=64, cycles=6, z_planes=2, magnification_ratio=1.0)
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        simulate_screen("screen", small, layout)
        found.append(digests("screen"))
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_bytes_do_not_depend_on_processes_but_on_the_seed(tmp_path, monkeypatch):
    small = replace(TINY, tile_size=64, phenotype=False)
    found = []
    for name, parameters, jobs in (
        ("one", small, 1),
        ("two", small, 2),
        ("other", replace(small, seed=1), 1),
    ):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        simulate_screen("screen", parameters, jobs=jobs)
        found.append(digests("screen"))
    assert found[0] == found[1]
    assert found[0]["raw/sbs/P-1_W-A1_T-0_C-1.tif"] != found[2]["raw/sbs/P-1_W-A1_T-0_C-1.tif"]


# Parameters and command line


def test_overrides_are_cast_and_checked():
    values = dict([parse_override("phasing=0.02"), parse_override("channel_gain=[1, 1, 1, 1]")])
    changed = with_overrides(TINY, values | {"drift_px": 2})
    assert changed.phasing == 0.02 and changed.channel_gain == (1.0,) * 4
    assert isinstance(changed.drift_px, float)
    with pytest.raises(InputError, match="did you mean prephasing"):
        with_overrides(TINY, {"prefasing": 0.1})
    with pytest.raises(InputError, match="cycles must be of type int"):
        with_overrides(TINY, {"cycles": "ten"})
    with pytest.raises(InputError, match="channel_gain must be of type list of float"):
        with_overrides(TINY, {"channel_gain": [1, "x", 1, 1]})
    with pytest.raises(InputError, match="phenotype must be of type bool"):
        with_overrides(TINY, {"phenotype": 1})
    assert with_overrides(TINY, {"plates": [1, "b"]}).plates == ("1", "b")
    with pytest.raises(InputError, match="not valid YAML"):
        parse_override("wells=[A1")
    with pytest.raises(InputError, match="key=value"):
        parse_override("phasing")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cycles", 21, "21 cycles"),
        ("tile_size", 10, "at least 64"),
        ("tiles", 0, "tiles of at least 1"),
        ("doublet_fraction", 0.95, "more than 1"),
        ("phasing", 1.0, "less than 1"),
        ("channel_gain", (1.0,), "one number for each"),
        ("colours", 5, "2, 3, 4 colours"),
        ("reads_per_cell", -1.0, "reads_per_cell must not be negative"),
        ("sbs_pixel_um", 0.0, "sbs_pixel_um must be greater than 0"),
        ("wells", ("A/1",), "not 'A/1'"),
    ],
)
def test_impossible_screens_are_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        replace(ScreenParameters(), **{field: value})


def test_command_line_reports_bad_input_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "x"), "--set", "tils=3"]) == 1
    assert capsys.readouterr().err == "The simulation has no parameter tils; did you mean tiles?\n"


def test_an_empty_well_is_a_valid_screen(tmp_path):
    empty = replace(
        TINY, cells_per_mm2=0.0, noise_reads_per_mm2=0.0, debris_per_mm2=0.0, tiles=1, tile_size=64
    )
    simulate_screen(tmp_path, empty)
    assert len(read_table(tmp_path / "truth/reads.parquet")) == 0
    assert read_image(tmp_path / "truth/labels/sbs/P-1_W-A1_T-0__cells.tiff").max() == 0
