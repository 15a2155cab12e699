"""What holds for every table of features: columns, types, rows, odd tiles, symmetries."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from lib.phenotype.features import (
    ALL_FAMILIES,
    FAMILIES,
    FeatureParameters,
    feature_columns,
    markdown_table,
    measure,
)
from lib.phenotype.features.channels import order_within
from lib.shared.errors import InputError

pytestmark = pytest.mark.filterwarnings("error")

COMPARTMENTS = ("nucleus", "cell", "cytoplasm")
CHANNELS = ("DAPI", "TUBULIN")
DOCS = Path(__file__).parents[2] / "docs" / "features.md"


def tile(seed=0, side=72):
    """Three cells, two of which touch, with nuclei, and two channels."""
    random = np.random.default_rng(seed)
    cells, nuclei = np.zeros((2, side, side), np.int32)
    for number, (i, j, radius) in enumerate([(14, 16, 11), (18, 40, 14), (45, 22, 13)], 1):
        y, x = np.indices(cells.shape)
        wobble = 1 + 0.2 * np.cos(number + 3 * np.arctan2(y - i, x - j))
        cells[np.hypot(y - i, x - j) < radius * wobble] = number
        nuclei[np.hypot(1.3 * (y - i), x - j - 1) < radius / 2] = number
    image = ndimage.gaussian_filter(random.random((2, side, side)), (0, 1.5, 1.5)) * 3000
    return image.astype(np.uint16), with_cytoplasm(nuclei, cells)


def with_cytoplasm(nuclei, cells):
    return {"nucleus": nuclei, "cell": cells, "cytoplasm": np.where(nuclei > 0, 0, cells)}


def types(columns):
    return {name: str(values.dtype) for name, values in columns.items()}


EXPECTED = feature_columns(COMPARTMENTS, CHANNELS, ALL_FAMILIES, FeatureParameters())


def test_columns_are_those_of_the_registry_in_its_order():
    columns = measure(*tile(), CHANNELS)
    assert types(columns) == EXPECTED
    assert list(columns) == list(EXPECTED)
    assert next(iter(columns)) == "label"
    assert {len(values) for values in columns.values()} == {3}
    assert columns["cell_area"].dtype == np.int32
    assert "nucleus_DAPI_TUBULIN_correlation" in columns
    assert "cytoplasm_TUBULIN_mean" in columns
    assert "nucleus_zernike_9_9" in columns


def test_everything_is_defined_in_ordinary_cells():
    columns = measure(*tile(), CHANNELS)
    for name, values in columns.items():
        assert np.isfinite(values).all(), name


def test_an_empty_tile_has_no_rows_and_all_columns():
    image, labels = tile()
    nothing = {name: np.zeros_like(mask) for name, mask in labels.items()}
    columns = measure(image, nothing, CHANNELS)
    assert types(columns) == EXPECTED
    assert {len(values) for values in columns.values()} == {0}


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("value", [0, 100, 65535])
def test_constant_and_saturated_channels(dtype, value):
    image, labels = tile()
    image = np.full_like(image, value).astype(dtype)
    columns = measure(image, labels, CHANNELS)
    assert types(columns) == EXPECTED
    np.testing.assert_array_equal(columns["cell_DAPI_mean"], np.float32([value] * 3))
    np.testing.assert_array_equal(columns["cell_DAPI_std"], np.zeros(3))
    np.testing.assert_array_equal(columns["cell_DAPI_foci_count"], np.zeros(3))
    np.testing.assert_array_equal(columns["cell_DAPI_texture_entropy_3"], np.zeros(3))
    assert np.isnan(columns["cell_DAPI_TUBULIN_correlation"]).all()
    assert np.isnan(columns["cell_DAPI_granularity_1"]).all()
    assert np.isnan(columns["cell_DAPI_mass_displacement"]).all() == (value == 0)


def test_objects_of_one_pixel():
    image, labels = tile()
    spots = {name: np.zeros_like(mask) for name, mask in labels.items()}
    for mask in spots.values():
        mask[5, 7], mask[0, 0], mask[-1, -1] = 4, 9, 2
    columns = measure(image, spots, CHANNELS)
    assert types(columns) == EXPECTED
    np.testing.assert_array_equal(columns["label"], [2, 4, 9])
    np.testing.assert_array_equal(columns["cell_area"], [1, 1, 1])
    np.testing.assert_array_equal(columns["cell_max_radius"], [1, 1, 1])
    np.testing.assert_array_equal(columns["cell_solidity"], [1, 1, 1])
    np.testing.assert_allclose(columns["cell_max_feret_diameter"], [1, 1, 1])
    np.testing.assert_array_equal(columns["cell_DAPI_median"], columns["cell_DAPI_max"])
    np.testing.assert_array_equal(columns["cell_DAPI_std"], [0, 0, 0])
    assert np.isnan(columns["cell_form_factor"]).all()
    assert np.isnan(columns["cell_DAPI_texture_contrast_3"]).all()
    assert np.isnan(columns["cell_DAPI_mean_frac_4"]).all()


def test_one_cell_has_no_neighbors():
    image, labels = tile()
    one = {name: np.where(mask == 2, 2, 0) for name, mask in labels.items()}
    columns = measure(image, one, CHANNELS)
    np.testing.assert_array_equal(columns["label"], [2])
    np.testing.assert_array_equal(columns["cell_number_of_neighbors"], [0])
    np.testing.assert_array_equal(columns["cell_percent_touching"], [0])
    assert np.isnan(columns["cell_first_neighbor_distance"]).all()
    everyone = measure(image, labels, CHANNELS)
    for family in ("shape", "zernike", "intensity", "radial", "texture", "colocalization"):
        for name in feature_columns(COMPARTMENTS, CHANNELS, [family], FeatureParameters()):
            if name != "label":
                np.testing.assert_allclose(columns[name][0], everyone[name][1], 1e-6, 1e-12, name)


def test_a_nucleus_that_fills_its_cell_leaves_no_cytoplasm():
    image, labels = tile()
    nuclei = np.where(labels["cell"] == 2, 2, labels["nucleus"])
    columns = measure(image, with_cytoplasm(nuclei, labels["cell"]), CHANNELS)
    assert types(columns) == EXPECTED
    for name, dtype in EXPECTED.items():
        if name.startswith("cytoplasm"):
            missing = columns[name][1] == 0 if dtype == "int32" else np.isnan(columns[name][1])
            assert missing, name


def test_a_compartment_without_any_pixel():
    image, labels = tile()
    columns = measure(image, with_cytoplasm(labels["cell"], labels["cell"]), CHANNELS)
    assert types(columns) == EXPECTED
    np.testing.assert_array_equal(columns["cytoplasm_area"], [0, 0, 0])
    assert np.isnan(columns["cytoplasm_DAPI_radial_cv_1"]).all()


def test_a_label_of_any_compartment_gets_its_row():
    image, labels = tile()
    labels["nucleus"][68:, 68:] = 1000
    columns = measure(image, labels, CHANNELS, ["shape", "intensity"])
    np.testing.assert_array_equal(columns["label"], [1, 2, 3, 1000])
    np.testing.assert_array_equal(columns["nucleus_area"][3], 16)
    np.testing.assert_array_equal(columns["cell_area"][3], 0)
    assert np.isnan(columns["cell_DAPI_integrated"][3])


def test_a_tile_smaller_than_every_filter():
    image = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)
    columns = measure(image, {"cell": np.ones((2, 3), np.int32)}, ["A"])
    np.testing.assert_array_equal(columns["cell_A_integrated"], [15])


@settings(deadline=None, max_examples=15)
@given(st.permutations([1, 2, 3, 40, 500]), st.integers(0, 3))
def test_other_numbers_only_reorder_the_rows(numbers, seed):
    image, labels = tile(seed)
    number = np.array([0, *numbers[:3]], np.int32)
    columns = measure(image, labels, CHANNELS)
    renumbered = measure(image, {name: number[mask] for name, mask in labels.items()}, CHANNELS)
    order = np.argsort(numbers[:3])
    np.testing.assert_array_equal(renumbered["label"], np.sort(numbers[:3]))
    for name in list(EXPECTED)[1:]:
        np.testing.assert_allclose(renumbered[name], columns[name][order], 1e-6, 1e-12, name)


@settings(deadline=None, max_examples=15)
@given(st.integers(-2, 12), st.integers(-2, 12))
def test_moving_the_scene_moves_positions_only(di, dj):
    image, labels = tile()
    moved = {name: np.roll(mask, (di, dj), (0, 1)) for name, mask in labels.items()}
    families = ["shape", "zernike", "neighbors", "intensity", "radial", "texture", "colocalization"]
    here = measure(image, labels, CHANNELS, families)
    there = measure(np.roll(image, (di, dj), (1, 2)), moved, CHANNELS, families)
    for name, values in here.items():
        shift = 0
        if name.endswith(("center_i", "center_mass_i", "max_i")):
            shift = di
        elif name.endswith(("center_j", "center_mass_j", "max_j")):
            shift = dj
        np.testing.assert_allclose(
            there[name], values + np.float32(shift), rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_a_quarter_turn_changes_no_shape():
    image, labels = tile()
    turned = {name: np.rot90(mask).copy() for name, mask in labels.items()}
    here = measure(image, labels, CHANNELS, ["shape", "zernike"])
    there = measure(image, turned, CHANNELS, ["shape", "zernike"])
    for name, values in here.items():
        if not name.endswith(("center_i", "center_j", "orientation")):
            np.testing.assert_allclose(there[name], values, rtol=1e-4, atol=1e-7, err_msg=name)


def test_brightness_leaves_the_form_of_the_stain():
    image, labels = tile()
    families = ["radial", "granularity", "texture", "colocalization", "foci"]
    here = measure(image, labels, CHANNELS, families)
    there = measure(image * np.uint16(4), labels, CHANNELS, families)
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_families_can_be_chosen():
    columns = measure(*tile(), CHANNELS, ["foci"])
    assert list(columns) == [
        "label",
        *(
            f"{compartment}_{channel}_foci_{what}"
            for compartment in COMPARTMENTS
            for channel in CHANNELS
            for what in ("count", "area")
        ),
    ]


def test_settings_set_the_number_of_columns():
    parameters = FeatureParameters(radial_rings=2, texture_distances=(1, 4), granularity_length=3)
    columns = measure(
        *tile(), CHANNELS, ["radial", "texture", "granularity"], parameters=parameters
    )
    assert "cell_DAPI_frac_at_d_2" in columns
    assert "cell_DAPI_frac_at_d_3" not in columns
    assert "cell_DAPI_texture_entropy_4" in columns
    assert "cell_DAPI_granularity_4" not in columns


def test_bad_input_is_named():
    image, labels = tile()
    with pytest.raises(InputError, match="wings"):
        measure(image, labels, CHANNELS, ["wings"])
    with pytest.raises(InputError, match="nuclei"):
        measure(image, {"nuclei": labels["nucleus"]}, CHANNELS)
    with pytest.raises(InputError, match=r"\(2, 72, 72\)"):
        measure(image, labels, ["DAPI"])
    with pytest.raises(InputError, match=r"cell.*\(72, 60\)"):
        measure(image, {"cell": labels["cell"][:, :60]}, CHANNELS)
    with pytest.raises(InputError, match="float64"):
        measure(image.astype(float), labels, CHANNELS)
    with pytest.raises(InputError, match="column nucleus_DAPI_integrated"):
        measure(image, labels, ["DAPI", "DAPI"])
    with pytest.raises(InputError, match="integers"):
        measure(image, {"cell": labels["cell"] * 1.0}, CHANNELS)
    broken = image.astype(np.float32)
    broken[1, 3, 3] = np.nan
    with pytest.raises(InputError, match="TUBULIN"):
        measure(broken, labels, CHANNELS)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=9), min_size=1, max_size=6))
def test_quantiles_and_deviations_of_any_values(objects):
    labels = np.concatenate([[k + 1] * len(values) for k, values in enumerate(objects)])
    image = np.concatenate(objects).astype(np.uint16)
    found = measure(image[None, None], {"cell": labels[None]}, ["A"], ["intensity"])
    for row, values in enumerate(objects):
        median = np.median(values)
        assert found["cell_A_median"][row] == median
        assert found["cell_A_mad"][row] == np.median(np.abs(values - median))
        assert found["cell_A_lower_quartile"][row] == np.float32(np.percentile(values, 25))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 0.9))
def test_hulls_of_any_pixels(seed, density):
    labels = (np.random.default_rng(seed).random((9, 9)) < density).astype(np.int32)
    labels[4, 4] = 1
    found = measure(np.zeros((1, 9, 9), np.uint16), {"cell": labels}, ["A"], ["shape"])
    hull = convex_hull_image(labels)
    assert found["cell_solidity"][0] == pytest.approx(labels.sum() / hull.sum())
    assert found["cell_max_feret_diameter"][0] == pytest.approx(
        regionprops(labels)[0].feret_diameter_max
    )


@pytest.mark.parametrize("widest", [2**6, 2**20])
def test_order_within_rows_whether_or_not_it_fits_64_bits(widest):
    random = np.random.default_rng(0)
    row = np.sort(random.integers(0, widest, 9000)).astype(np.int32)
    values = random.integers(-40, 40, 9000).astype(np.float32) / 7
    expected = np.lexsort((np.arange(9000), values, row))
    np.testing.assert_array_equal(order_within(row, values), expected)


def test_the_documentation_lists_the_settings_of_the_code():
    for field in fields(FeatureParameters):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        default = int(default) if default in (3.0, 5.0) else default
        assert f"| `{field.name}` | {default} |" in DOCS.read_text(), field.name


def test_the_documentation_lists_the_features_of_the_code():
    assert markdown_table() in DOCS.read_text()
    for family in FAMILIES:
        assert f"`{family}`" in DOCS.read_text(), family


def test_every_column_of_a_table_is_one_row_of_the_documentation():
    rows = re.findall(r"^\| \w+ \| `(\S+)` \| (.+?) \| (.+?) \|", DOCS.read_text(), re.MULTILINE)
    units = {"px", "1", "rad", "%", "grey", "grey/grey", "levels", "levels²", "bit"}
    assert {unit for _, unit, _ in rows} == units
    places = {"compartment": "|".join(COMPARTMENTS), "channel": "|".join(CHANNELS)}
    places |= {"channelA": CHANNELS[0], "channelB": CHANNELS[1]}
    patterns = [
        re.sub(r"\{(\w+)\}", lambda place: f"(?:{places.get(place[1], '[0-9]+')})", column)
        for column, _, _ in rows
    ]
    for name in list(EXPECTED)[1:]:
        assert sum(re.fullmatch(pattern, name) is not None for pattern in patterns) == 1, name
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in EXPECTED), pattern
