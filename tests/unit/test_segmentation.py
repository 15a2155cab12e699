"""Nuclei and cells are found where they are, on any scale, and nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.graph import MCP_Geometric

from lib.shared.errors import InputError
from lib.shared.segmentation import SegmentationParameters, relabel, segment
from lib.shared.segmentation.foreground import (
    estimate_background,
    estimate_diameter,
    otsu,
    pixel_noise,
    prepare,
)
from lib.shared.segmentation.geodesic import divide
from lib.shared.segmentation.parameters import as_parameters
from lib.shared.segmentation.regions import ellipticity
from lib.shared.segmentation.watershed import expand_nuclei, grow_cells, has_edge
from lib.simulate.optics import vignette

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def field(diameter, side, count, seed=0, signal=1500.0, noise=20.0, slope=400.0, touching=0.3):
    """A tile of elliptical nuclei in round cells: dapi, cytoplasm, nuclei, cells."""
    rng = np.random.default_rng(seed)
    nuclei, cells = np.zeros((side, side), np.int32), np.zeros((side, side), np.int32)
    dapi = np.zeros((side, side), np.float32)
    placed = np.zeros((0, 3))
    while len(placed) < count:
        radius = diameter / 2 * rng.uniform(0.85, 1.15)
        y, x = rng.uniform(diameter, side - diameter, 2)
        if len(placed) and rng.random() < touching:
            near, angle = placed[rng.integers(len(placed))], rng.uniform(0, 2 * np.pi)
            y, x = near[:2] + (near[2] + radius) * np.array([np.sin(angle), np.cos(angle)])
            if not (diameter < y < side - diameter and diameter < x < side - diameter):
                continue
        if (np.hypot(placed[:, 0] - y, placed[:, 1] - x) < placed[:, 2] + radius - 1e-6).any():
            continue
        placed = np.vstack([placed, (y, x, radius)])
        stretch, angle = rng.uniform(0.85, 1.0), rng.uniform(0, 180)
        centre, axes = (round(x), round(y)), (round(radius), round(radius * stretch))
        cv2.ellipse(nuclei, centre, axes, angle, 0, 360, len(placed), -1)
        dapi[nuclei == len(placed)] = rng.uniform(0.5, 1.5)
    rim, owner = cv2.distanceTransformWithLabels(
        (nuclei == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(owner.max() + 1, np.int32)
    number[owner[nuclei > 0]] = nuclei[nuclei > 0]
    cells = np.where(rim < 0.5 * diameter, number[owner], 0)
    brightness = rng.uniform(0.6, 1.4, count + 1)
    body = np.where(cells > 0, brightness[cells], 0).astype(np.float32)
    shade = slope * np.linspace(0, 1, side, dtype=np.float32)[:, None]

    def photograph(plane):
        plane = cv2.GaussianBlur(plane, (0, 0), 1.2) * signal + 300 + shade
        return np.clip(plane + rng.normal(0, noise, plane.shape), 0, 65535).astype(np.uint16)

    return photograph(dapi), photograph(body), nuclei, cells


def f1(true, found):
    """F1 of objects at intersection over union above one half."""
    width = int(found.max()) + 1
    size = (int(true.max()) + 1) * width
    pairs = np.bincount(true.ravel().astype(np.int64) * width + found.ravel(), minlength=size)
    table = pairs.reshape(-1, width)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    hits = int((table / np.maximum(union, 1) > 0.5)[1:, 1:].sum())
    return 2 * hits / max(1, int(true.max()) + width - 1)


@pytest.mark.parametrize(
    ("diameter", "side", "count"), [(15, 400, 150), (24, 500, 100), (40, 700, 80), (75, 900, 40)]
)
def test_finds_nuclei_and_cells_on_every_scale_without_being_told(diameter, side, count):
    dapi, cytoplasm, nuclei, cells = field(diameter, side, count)

    found = segment(dapi, cytoplasm)

    assert f1(nuclei, found.nuclei) >= 0.95
    assert f1(cells, found.cells) >= 0.93
    assert found.stats["nucleus_diameter_px"] == pytest.approx(diameter, rel=0.25)
    assert found.stats["cells"] == found.cells.max() == found.nuclei.max()
    assert found.nuclei.dtype == found.cells.dtype == np.int32
    assert (found.cells[found.nuclei > 0] == found.nuclei[found.nuclei > 0]).all()


@pytest.mark.parametrize(
    "kind", ["faint", "few", "sloping", "given diameter", "float32", "saturated"]
)
def test_difficult_tiles(kind):
    options = {"faint": {"signal": 250.0, "noise": 40.0}, "sloping": {"slope": 4000.0}}
    count = 5 if kind == "few" else 80
    dapi, _, nuclei, _ = field(20, 420, count, seed=3, **options.get(kind, {}))
    if kind == "saturated":
        dapi = np.where(nuclei > 0, 65535, dapi).astype(np.uint16)
    if kind == "float32":
        dapi = dapi.astype(np.float32) / 65535
    parameters = {"nucleus_diameter_px": 22.0} if kind == "given diameter" else None

    assert f1(nuclei, segment(dapi, None, parameters).nuclei) >= 0.93


def empty_tiles():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:300, :300] / np.float32(300)
    white = rng.normal(0, 20, (300, 300)).astype(np.float32)
    hot = rng.normal(300, 10, (300, 300))
    hot[rng.random(hot.shape) < 3e-4] = 40000
    return {
        "zero": np.zeros((300, 300), np.uint16),
        "saturated": np.full((300, 300), 65535, np.uint16),
        "noise": 500 + white,
        "smooth noise": 500 + cv2.GaussianBlur(white, (0, 0), 1.5),
        "sloping noise": 500 + 900 * y + white,
        "clean slope": 500 + 900 * y + 300 * x,
        "vignette": (3000 * np.exp(-3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))).astype(np.uint16),
        "few photons": rng.poisson(0.1, (300, 300)).astype(np.uint16),
        "hot pixels": np.clip(hot, 0, None).astype(np.uint16),
        "one pixel": np.ones((1, 1), np.uint16),
        "no pixel": np.zeros((0, 8), np.uint16),
    }


@pytest.mark.parametrize("name", empty_tiles())
def test_an_empty_tile_has_no_objects(name):
    tile = empty_tiles()[name]

    found = segment(tile, tile)

    assert found.stats["cells"] == 0
    assert found.nuclei.shape == found.cells.shape == tile.shape
    assert not found.nuclei.any() and not found.cells.any()


@pytest.mark.parametrize("diameter", [None, 24.0, 60.0])
@pytest.mark.parametrize(("offset", "noise"), [(1500, 0), (500, 3), (2000, 10)])
def test_an_offset_bent_by_the_illumination_field_is_no_nucleus(offset, noise, diameter):
    """A tile without light: the camera's offset, brightest in the corners when corrected."""
    field = vignette((512, 512), 0.5, (0.02, -0.05))
    camera = offset + noise * np.random.default_rng(7).standard_normal(field.shape)
    tile = np.rint(camera / (field / np.quantile(field, 0.02))).astype(np.uint16)

    assert segment(tile, None, {"nucleus_diameter_px": diameter}).stats["cells"] == 0


def test_blurred_nuclei_are_found():
    """Far out of focus, by a quarter of their diameter."""
    sharp = np.zeros((400, 400), np.float32)
    for i, j in np.ndindex(5, 5):
        cv2.circle(sharp, (40 + 80 * j, 40 + 80 * i), 12, 1000, -1)
    noise = np.random.default_rng(0).normal(300, 15, sharp.shape)
    tile = (cv2.GaussianBlur(sharp, (0, 0), 6) + noise).astype(np.uint16)

    for diameter in (None, 24.0):
        assert segment(tile, None, {"nucleus_diameter_px": diameter}).stats["cells"] == 25


def test_an_edge_is_a_fall_within_the_rims():
    labels = np.zeros((40, 90), np.int32)
    labels[5:35, 5:35], labels[10:30, 10:30] = 1, 2  # 2 meets no background
    labels[5:35, 50:80] = 3
    flat = (labels > 0).astype(np.float32)
    ramp = np.maximum(0, 20 - np.abs(np.arange(90) - 65)).astype(np.float32)  # 5 at the outline
    contrast = np.where(np.arange(90) < 42, flat, ramp * np.ones((40, 1), np.float32))

    assert has_edge(labels, contrast, 3).tolist() == [True, True, True, False]
    assert has_edge(labels, flat, 3).all()
    assert has_edge(np.zeros_like(labels), flat, 3).tolist() == [True]


def test_debris_is_not_a_nucleus():
    dapi, _, nuclei, _ = field(30, 500, 40, seed=4)
    rng = np.random.default_rng(0)
    for y, x in rng.integers(5, 495, (60, 2)):
        if not nuclei[y - 5 : y + 6, x - 5 : x + 6].any():
            dapi[y - 1 : y + 2, x - 1 : x + 2] = 6000

    found = segment(dapi).nuclei

    assert found.max() == pytest.approx(40, abs=1)
    assert f1(nuclei, found) >= 0.95


def test_the_same_tile_gives_the_same_labels_and_is_left_as_it_was():
    dapi, cytoplasm, *_ = field(20, 300, 40)
    before = dapi.copy(), cytoplasm.copy()
    first, second = segment(dapi, cytoplasm), segment(dapi, cytoplasm)

    np.testing.assert_array_equal(first.nuclei, second.nuclei)
    np.testing.assert_array_equal(first.cells, second.cells)
    np.testing.assert_array_equal(dapi, before[0])
    np.testing.assert_array_equal(cytoplasm, before[1])


def test_method_none_finds_nothing():
    dapi, cytoplasm, *_ = field(20, 200, 10)
    assert segment(dapi, cytoplasm, {"method": "none"}).stats["cells"] == 0


def test_remove_border_and_areas():
    dapi = np.full((200, 200), 100, np.uint16)
    for y, x, radius in ((0, 60, 12), (60, 60, 12), (120, 100, 12), (150, 160, 17)):
        cv2.circle(dapi, (x, y), radius, 1000, -1)

    def count(**settings):
        return segment(dapi, None, {"nucleus_diameter_px": 24, "expansion_px": 2} | settings).stats[
            "cells"
        ]

    assert count() == 4
    assert count(remove_border=True) == 3
    assert count(min_nucleus_area_px=350) == 3  # half a disk of radius 12 has 226 px
    assert count(max_nucleus_area_px=600) == 3  # the large disk has 908 px
    assert count(min_nucleus_area_px=350, max_cell_area_px=800) == 2


def test_expansion_is_a_rim_of_the_given_width():
    nuclei = np.zeros((40, 60), np.int32)
    nuclei[20, 15], nuclei[20, 45] = 7, 3

    cells = expand_nuclei(nuclei, 5)

    y, x = np.mgrid[:40, :60]
    for label, column in ((7, 15), (3, 45)):
        radius = np.hypot(y - 20, x - column)
        assert (cells[radius < 4.8] == label).all()
        assert (cells[(radius > 5.2) & (np.abs(x - column) < 15)] == 0).all()


def test_cells_follow_the_cytoplasm_but_not_too_far():
    nuclei = np.zeros((120, 200), np.int32)
    nuclei[50:70, 30:50], nuclei[50:70, 110:130] = 1, 2
    cytoplasm = np.full((120, 200), 100, np.float32)
    cytoplasm[40:80, 20:78] = 1000  # cell 1 reaches to column 78, then a dark gap
    cytoplasm[40:80, 82:200] = 900  # cell 2 runs off to the right

    cells = grow_cells(cytoplasm, nuclei, 20, distance=35)

    assert (cells[45:75, 25:74] == 1).all()
    assert (cells[45:75, 86:150] == 2).all()
    assert not cells[:, 168:].any()  # 35 px from column 130, and no further
    assert not cells[:34].any() and not cells[86:].any()


def test_cells_without_cytoplasm_signal_are_their_nuclei():
    nuclei = np.zeros((60, 60), np.int32)
    nuclei[20:40, 20:40] = 1
    np.testing.assert_array_equal(grow_cells(np.full((60, 60), 9, np.uint16), nuclei, 10), nuclei)


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 9), st.floats(0, 1))
def test_ways_cost_what_another_implementation_says(seed, height, width, open_share):
    """Each pixel goes to a seed from which no other is cheaper, by scikit-image's MCP."""
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0.1, 5, (height, width))
    seeds = np.where(rng.random(cost.shape) < 0.2, rng.integers(1, 4, cost.shape), 0)
    mask = rng.random(cost.shape) < open_share

    labels = divide(cost, seeds.astype(np.int32), mask)

    within = mask | (seeds > 0)
    reach = {}
    for label in np.unique(seeds[seeds > 0]):
        # Seeds are one place each and no way leads through another.
        allowed = np.where((mask & (seeds == 0)) | (seeds == label), cost, -1)
        starts = list(zip(*np.nonzero(seeds == label), strict=True))
        reach[label] = MCP_Geometric(allowed).find_costs(starts)[0]
    least = np.min(list(reach.values()), axis=0) if reach else np.full(cost.shape, np.inf)
    np.testing.assert_array_equal(labels[seeds > 0], seeds[seeds > 0])
    np.testing.assert_array_equal(labels > 0, within & (np.isfinite(least) | (seeds > 0)))
    for label, costs in reach.items():
        own = (labels == label) & (seeds == 0)
        np.testing.assert_allclose(costs[own], least[own], rtol=1e-9)


def test_otsu_separates_two_levels():
    assert 10 < otsu(np.array([10.0] * 90 + [50.0] * 10)) <= 50
    assert otsu(np.full(5, 3.0)) >= 3


def test_background_of_a_crowded_sloping_tile():
    dapi, _, nuclei, _ = field(20, 400, 180, slope=1500.0)
    true = 300 + 1500 * np.linspace(0, 1, 400)[:, None]

    error = estimate_background(prepare(dapi), 40) - true

    assert (nuclei > 0).mean() > 0.25
    assert np.abs(error).max() < 150  # nuclei stand out by 750 to 2250


def test_noise_is_measured_beside_structure():
    noise = np.random.default_rng(0).normal(0, 12, (300, 300))
    ramp = np.linspace(0, 5000, 300)[:, None]
    assert pixel_noise((ramp + noise).astype(np.float32)) == pytest.approx(12, rel=0.05)


def test_diameter_of_an_empty_image_is_unknown():
    assert estimate_diameter(np.full((200, 200), 3, np.float32)) is None


def test_ellipticity_is_one_for_ellipses_and_less_for_two():
    y, x = np.mgrid[:200, :200]

    def moments(mask):
        rows, columns = np.nonzero(mask)
        sums = (rows**0, rows, columns, rows**2, columns**2, rows * columns)
        return np.array([[np.sum(value, dtype=float) for value in sums]])

    left = (y - 100) ** 2 + (x - 60) ** 2 <= 30**2
    right = (y - 100) ** 2 + (x - 120) ** 2 <= 30**2
    slanted = ((y - x) / 20) ** 2 + ((y + x - 200) / 70) ** 2 <= 1
    assert ellipticity(moments(left))[0] == pytest.approx(1, abs=0.01)
    assert ellipticity(moments(slanted))[0] == pytest.approx(1, abs=0.01)
    # two touching disks: A = 2 pi r², C = diag(r²/4, r²/4 + r²), so 1/sqrt(1.25)
    both = ellipticity(moments(left) + moments(right))[0]
    assert both == pytest.approx(1 / np.sqrt(1.25), abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methd": "watershed"}, "did you mean method"),
        ({"method": "watersheds"}, "did you mean watershed"),
        ({"reconcile": "both"}, "choose one of consensus, contained"),
        ({"nucleus_diameter_px": -3}, "nucleus_diameter_px is -3"),
        ({"nucleus_diameter_px": 0}, "positive number or null"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        as_parameters(settings)


def test_settings_are_left_alone():
    settings = {"method": "none", "remove_border": True}
    chosen = as_parameters(settings)
    assert settings == {"method": "none", "remove_border": True}
    assert chosen == SegmentationParameters(method="none", remove_border=True)


@pytest.mark.parametrize(
    ("dapi", "cytoplasm", "message"),
    [
        (np.zeros((2, 9, 9), np.uint16), None, "one plane"),
        (np.zeros((9, 9), np.uint16), np.zeros((9, 8), np.uint16), "same tile"),
        (np.full((9, 9), np.nan, np.float32), None, "not finite"),
    ],
)
def test_bad_images_are_named(dapi, cytoplasm, message):
    with pytest.raises(InputError, match=message):
        segment(dapi, cytoplasm)


@pytest.mark.skipif(not (DATA / "nuclei_with_masks").is_dir(), reason="needs the real images")
def test_real_nuclei():
    """Every third of the manually outlined fluorescence images, nuclei of 9 to 55 px."""
    hits = objects = 0
    for path in sorted((DATA / "nuclei_with_masks").glob("*_img.png"))[::3]:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        masks = cv2.imread(str(path).replace("_img", "_lab"), cv2.IMREAD_UNCHANGED)
        true, found = relabel(masks.astype(np.int32)), segment(image).nuclei
        count = int(true.max()) + int(found.max())
        hits += f1(true, found) * count / 2
        objects += count
    assert 2 * hits / objects >= 0.86
