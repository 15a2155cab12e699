"""Who measures is a choice of the config: the tables are alike in what matters."""

import builtins
import importlib.util

import numpy as np
import pandas as pd
import pytest

from lib.phenotype.features import FeatureParameters, measure
from lib.phenotype.features.cp_engine import measure_cp
from lib.phenotype.features.engines import compartments_of, families_of, measure_with
from lib.phenotype.merging import merge_info
from lib.shared.config import schema_defaults
from lib.shared.errors import InputError
from lib.shared.inputs import check_inputs
from lib.shared.segmentation import object_table

CHANNELS = ["DAPI", "WGA"]
SCHEMA = "workflow/schemas/config.schema.yaml"
HAS_CP_MEASURE = importlib.util.find_spec("cp_measure") is not None
needs_cp_measure = pytest.mark.skipif(not HAS_CP_MEASURE, reason="cp_measure is not installed")


@pytest.fixture
def section(request):
    return schema_defaults(request.config.rootpath / SCHEMA)["phenotype"]["features"]


@pytest.fixture
def tile():
    """Two cells with numbers that do not follow each other; one is all nucleus."""
    image = np.random.default_rng(0).integers(100, 4000, (2, 60, 70), np.uint16)
    cells = np.zeros((60, 70), np.int32)
    cells[5:30, 5:30], cells[32:55, 35:65] = 2, 5
    nuclei = np.where(np.pad(np.ones((12, 70)), ((38, 10), (0, 0))) > 0, cells, 0)
    nuclei[cells == 2] = 2
    cytoplasms = np.where(nuclei == 0, cells, 0)
    return image, {"nucleus": nuclei, "cell": cells, "cytoplasm": cytoplasms}


def test_our_own_engine_takes_its_settings_from_the_section(tile, section):
    section |= {"families": ["radial"], "radial_rings": 2}
    found = measure_with(*tile, CHANNELS, section)
    expected = measure(*tile, CHANNELS, ["radial"], FeatureParameters(radial_rings=2))
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("nuclei_only", [False, True])
def test_every_column_has_a_family(tile, section, nuclei_only):
    families = families_of(section, CHANNELS, nuclei_only)
    image, labels = tile
    chosen = {name: labels[name] for name in compartments_of(nuclei_only)}
    columns = measure_with(image, chosen, CHANNELS, section)
    assert ["label", *families] == list(columns)
    assert families["nucleus_DAPI_WGA_correlation"] == "colocalization"
    assert families["nucleus_area"] == "shape"
    assert families_of(section | {"engine": "cp_measure"}, CHANNELS, nuclei_only) == {}


def test_a_missing_cp_measure_is_named_with_the_command(tile, monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("cp_measure"):
            raise ModuleNotFoundError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "poolscope\[cp_measure\]"'):
        measure_cp(*tile, CHANNELS, ["shape"])


@pytest.mark.skipif(HAS_CP_MEASURE, reason="cp_measure is installed")
def test_a_config_that_wants_it_is_refused_before_any_job(tmp_path, section, request):
    config = schema_defaults(request.config.rootpath / SCHEMA)
    del config["sbs"]
    sheet = tmp_path / "samples.tsv"
    (tmp_path / "raw.tif").touch()
    sheet.write_text(f"sample_fp\tplate\twell\ttile\n{tmp_path}/raw.tif\t1\tA1\t0\n")
    config["all"]["root_fp"] = str(tmp_path / "results")
    config["preprocess"]["phenotype_samples_fp"] = str(sheet)
    config["phenotype"] |= {"channel_names": CHANNELS, "features": section}
    check_inputs(config)
    section["engine"] = "cp_measure"
    with pytest.raises(InputError, match=r"features\.engine is cp_measure, which is not"):
        check_inputs(config)


@needs_cp_measure
def test_cp_measure_gives_a_table_like_ours(tile):
    image, labels = tile
    found = measure_cp(image, labels, CHANNELS, ["shape", "intensity", "colocalization"])
    assert found["label"].tolist() == [2, 5]
    assert {str(values.dtype) for name, values in found.items() if name != "label"} == {"float32"}
    ours = measure(image, labels, CHANNELS, ["shape", "intensity", "colocalization"])
    for theirs, own, factor in (
        ("cell_Area", "cell_area", 1),
        ("nucleus_Area", "nucleus_area", 1),
        ("cytoplasm_WGA_Intensity_MeanIntensity", "cytoplasm_WGA_mean", 65535),
        ("cell_DAPI_WGA_Correlation_Pearson", "cell_DAPI_WGA_correlation", 1),
    ):
        np.testing.assert_allclose(found[theirs] * factor, ours[own], rtol=1e-4, err_msg=own)
    # The cell that is all nucleus has no cytoplasm.
    assert np.isnan(found["cytoplasm_Area"]).tolist() == [True, False]


@needs_cp_measure
def test_cp_measure_gives_the_same_columns_for_an_empty_tile(tile):
    image, labels = tile
    families = ["shape", "zernike", "intensity", "radial", "granularity", "texture"]
    full = measure_cp(image, labels, CHANNELS, families)
    nothing = {name: np.zeros_like(mask) for name, mask in labels.items()}
    empty = measure_cp(image, nothing, CHANNELS, families)
    assert {name: (values.dtype, 0) for name, values in full.items()} == {
        name: (values.dtype, len(values)) for name, values in empty.items()
    }


@needs_cp_measure
def test_families_that_cp_measure_lacks_are_told(tile, caplog):
    measure_cp(*tile, CHANNELS, ["shape", "foci", "neighbors"])
    assert "cp_measure has no foci, neighbors" in caplog.text
    with pytest.raises(InputError, match="has none of the families foci"):
        measure_cp(*tile, CHANNELS, ["foci"])


def test_places_of_cells_keep_their_types_without_any_cell():
    keys = {"plate": ["1"], "well": ["A1"], "tile": ["0"]}
    metadata = pd.DataFrame(
        keys
        | {"x_pos": [10.0], "y_pos": [20.0], "pixel_size_x": [0.5], "pixel_size_y": [0.5]}
        | {"size_y": [5], "size_x": [5]}
    )
    labels = np.zeros((5, 5), np.int32)
    labels[0, 0] = 1
    table = pd.DataFrame(keys | object_table(labels))
    one = merge_info(table, metadata)
    assert (one["x_um"].item(), one["y_um"].item()) == (9.0, 19.0)
    # As read from text files without rows.
    none = merge_info(table.iloc[:0].astype(object), metadata)
    assert none.empty
    assert none.dtypes.to_dict() == one.dtypes.to_dict()
