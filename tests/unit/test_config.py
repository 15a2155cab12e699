"""The configuration: defaults, refusals and the reference file."""

import copy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lib.phenotype.features import ALL_FAMILIES, FeatureParameters
from lib.phenotype.features.engines import ENGINES, feature_parameters
from lib.phenotype.secondary import SecondaryParameters
from lib.shared import config as config_module
from lib.shared import layout
from lib.shared.config import key_names, load_config, load_schema
from lib.shared.errors import InputError
from lib.shared.segmentation import parameters

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "workflow/schemas/config.schema.yaml"
REFERENCE = REPOSITORY / "config/config.yml"

MINIMAL = yaml.safe_load(
    """
all: {root_fp: results/}
preprocess: {sbs_samples_fp: sbs_samples.tsv, phenotype_samples_fp: phenotype_samples.tsv}
sbs:
  {barcode_library_fp: barcode_library.tsv, channel_names: [DAPI, G, T, A, C], bases: [G, T, A, C]}
phenotype: {channel_names: [DAPI, TUBULIN, P65, WGA]}
"""
)


def with_values(**values):
    """The minimal config with dotted keys set; a key set to ... is removed."""
    raw = copy.deepcopy(MINIMAL)
    for dotted, value in values.items():
        *sections, name = dotted.split(".")
        place = raw
        for section in sections:
            place = place.setdefault(section, {})
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return raw


def problems_of(**values):
    """The sentences with which the minimal config, so changed, is refused."""
    with pytest.raises(InputError) as refusal:
        load_config(with_values(**values), SCHEMA)
    return str(refusal.value).split("\n")


def leaves(schema, node=None, prefix=""):
    """Dotted name and node of every key that is no section."""
    for name, child in (node or schema)["properties"].items():
        child = config_module._dereference(child, schema)
        if "properties" in child:
            yield from leaves(schema, child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def value_at(config, dotted):
    for name in dotted.split("."):
        config = config[name]
    return config


# ---------------------------------------------------------------- what loads


def test_minimal_config_gets_every_key_and_its_default():
    config = load_config(MINIMAL, SCHEMA)
    assert set(names_of(config)) == set(key_names(load_schema(SCHEMA)))
    assert config["preprocess"]["checkpoints"] == ["convert_sbs", "convert_phenotype"]
    assert config["sbs"]["omezarr_chunk_shape"] == [1, 512, 512]
    assert config["sbs"]["segmentation"]["method"] == "watershed"
    assert config["all"]["root_fp"] == "results/"


def names_of(config, prefix=""):
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from names_of(value, f"{prefix}{name}.")


def test_null_is_replaced_by_what_it_stands_for():
    config = load_config(
        with_values(
            **{
                "all.omezarr_export_default": True,
                "phenotype.omezarr_export": False,
                "preprocess.pixel_size_um": 0.5,
                "preprocess.sbs_pixel_size_um": 1.3,
            }
        ),
        SCHEMA,
    )
    assert config["sbs"]["dapi_channel"] == "DAPI"
    assert config["sbs"]["cytoplasm_channels"] == ["G", "T", "A", "C"]
    assert config["phenotype"]["dapi_channel"] == "DAPI"
    assert config["phenotype"]["cytoplasm_channels"] == ["TUBULIN", "P65", "WGA"]
    exports = [config[module]["omezarr_export"] for module in ("preprocess", "sbs", "phenotype")]
    assert exports == [True, True, False]
    assert config["preprocess"]["sbs_pixel_size_um"] == 1.3
    assert config["preprocess"]["phenotype_pixel_size_um"] == 0.5


@pytest.mark.parametrize("absent", ["sbs", "phenotype"])
def test_either_half_may_be_absent(absent):
    raw = with_values(**{absent: ..., f"preprocess.{absent}_samples_fp": ...})
    config = load_config(raw, SCHEMA)
    assert absent not in config
    assert config["preprocess"][f"{absent}_samples_fp"] is None


def test_a_loaded_config_loads_again_unchanged_and_raw_is_left_alone():
    raw = copy.deepcopy(MINIMAL)
    config = load_config(raw, SCHEMA)
    assert raw == MINIMAL
    assert load_config(config, SCHEMA) == config


def test_defaults_are_not_shared_between_loads():
    load_config(MINIMAL, SCHEMA)["preprocess"]["checkpoints"].append("x")
    assert "x" not in load_config(MINIMAL, SCHEMA)["preprocess"]["checkpoints"]


# ---------------------------------------------------------------- schema and reference file


def test_schema_is_valid_closed_and_described():
    schema = load_schema(SCHEMA)
    Draft202012Validator.check_schema(schema)

    def sections(node):
        if "properties" in node:
            yield node
            for child in node["properties"].values():
                yield from sections(config_module._dereference(child, schema))

    assert all(section["additionalProperties"] is False for section in sections(schema))
    for name, node in leaves(schema):
        assert node["description"].endswith("."), name
        assert "\n" not in node["description"], name
        required = name in ("all.root_fp", "sbs.barcode_library_fp", "sbs.bases")
        assert ("default" in node) != (required or name.endswith("channel_names")), name


def test_every_default_is_allowed_by_its_own_key():
    schema = load_schema(SCHEMA)
    for name, node in leaves(schema):
        if "default" in node:
            validator = Draft202012Validator({**node, "$defs": schema["$defs"]})
            assert validator.is_valid(node["default"]), name


def test_reference_config_names_every_key_with_its_default():
    schema, reference = load_schema(SCHEMA), yaml.safe_load(REFERENCE.read_text())
    assert set(names_of(reference)) == set(key_names(schema))
    for name, node in leaves(schema):
        if "default" in node and not name.endswith("_fp"):
            assert value_at(reference, name) == node["default"], name
    load_config(reference, SCHEMA)


@pytest.mark.parametrize("module", ["preprocess", "sbs", "phenotype"])
def test_stages_of_the_schema_are_the_images_of_the_layout(module):
    outputs = getattr(layout, module.upper())
    stages = {
        stage for stage, paths in outputs.items() if any(path.endswith(".tiff") for path in paths)
    }
    node = load_schema(SCHEMA)["$defs"][f"{module}_stage"]
    assert set(node["enum"]) == stages


def test_segmentation_section_is_the_dataclass_of_its_parameters():
    node = load_schema(SCHEMA)["$defs"]["segmentation"]["properties"]
    defaults = {field.name: field.default for field in fields(parameters.SegmentationParameters)}
    assert {name: child["default"] for name, child in node.items()} == defaults
    assert node["method"]["enum"] == list(parameters.METHODS)
    assert node["reconcile"]["enum"] == list(parameters.RECONCILE)


def test_features_section_is_the_dataclass_of_its_parameters():
    features = load_config(MINIMAL, SCHEMA)["phenotype"]["features"]
    assert feature_parameters(features) == FeatureParameters()
    names = {field.name for field in fields(FeatureParameters)}
    assert set(features) == {"engine", "families", *names}
    assert features["families"] == list(ALL_FAMILIES)
    defs = load_schema(SCHEMA)["$defs"]
    assert defs["feature_family"]["enum"] == list(ALL_FAMILIES)
    section = load_schema(SCHEMA)["properties"]["phenotype"]["properties"]["features"]
    assert section["properties"]["engine"]["enum"] == list(ENGINES)


def test_secondary_objects_section_is_the_dataclass_of_its_parameters():
    section = load_config(MINIMAL, SCHEMA)["phenotype"]["secondary_objects"]
    assert section.pop("channel") is None
    assert SecondaryParameters(**section) == SecondaryParameters()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "sbs.channel_name",
            [],
            "config key sbs.channel_name is not known: did you mean sbs.channel_names?",
        ),
        ("sbs.z", 1, "config key sbs.z is not known: did you mean preprocess.z?"),
        (
            "sbs.model_path",
            "x",
            "config key sbs.model_path is not known: did you mean sbs.segmentation.model_path?",
        ),
        ("phenotyp", {}, "config key phenotyp is not known: did you mean phenotype?"),
        (
            "all.zzzzzz",
            1,
            "config key all.zzzzzz is not known: the keys of all are root_fp, plate_filter, "
            "well_filter, seed, incomplete_tiles, omezarr_export_default, omezarr_version, "
            "omezarr_layout, omezarr_labels, omezarr_sharded, omezarr_level_prefix.",
        ),
        (
            "sbs.segmentation",
            {"methd": "none"},
            "config key sbs.segmentation.methd is not known: did you mean sbs.segmentation.method?",
        ),
        (
            "all.incomplete_tiles",
            "ignore",
            'config key all.incomplete_tiles is "ignore": it must be one of error, skip.',
        ),
        (
            "sbs.checkpoints",
            ["log_filtr"],
            'config key sbs.checkpoints[0] is "log_filtr": it must be one of align_sbs, '
            "apply_ic_field_sbs, segment_sbs, log_filter, compute_standard_deviation, "
            "find_peaks, max_filter (did you mean log_filter?).",
        ),
        (
            "phenotype.omezarr_stages",
            ["align_sbs"],
            'config key phenotype.omezarr_stages[0] is "align_sbs": it must be one of '
            "apply_ic_field_phenotype, align_phenotype, segment_phenotype, identify_cytoplasm",
        ),
        (
            "sbs.spot_threshold",
            -3,
            "config key sbs.spot_threshold is -3: it must be auto or a number of at least 0.",
        ),
        (
            "sbs.spot_threshold",
            float("nan"),
            "config key sbs.spot_threshold is NaN: it must be auto or a number of at least 0.",
        ),
        (
            "sbs.min_quality",
            2,
            "config key sbs.min_quality is 2: it must be a number of at least 0 and of at most 1.",
        ),
        (
            "preprocess.z",
            "mean",
            'config key preprocess.z is "mean": it must be max or a whole number of at least 0.',
        ),
        (
            "preprocess.pixel_size_um",
            0,
            "config key preprocess.pixel_size_um is 0: it must be a number above 0 or null.",
        ),
        ("all.seed", 1.0, "config key all.seed is 1.0: it must be a whole number of at least 0."),
        (
            "all.plate_filter",
            [1],
            "config key all.plate_filter[0] is 1: it must be text that is not empty, "
            'so write it in quotes, "1".',
        ),
        (
            "sbs.omezarr_chunk_shape",
            [512, 512],
            "config key sbs.omezarr_chunk_shape is [512, 512]: it must be a list of 3, "
            "each a whole number of at least 1.",
        ),
        (
            "sbs.channel_names",
            ["DAPI", "G", "T", "A", "C", "A"],
            'config key sbs.channel_names names "A" twice: name it once.',
        ),
        (
            "phenotype.channel_names",
            [],
            "config key phenotype.channel_names is []: it must be a list of at least 1, "
            "each text that is not empty.",
        ),
        ("phenotype", None, "config key phenotype is null: it must be a section of keys."),
        (
            "sbs.bases",
            ["G", "T", "A"],
            'config key sbs.bases is ["G", "T", "A"]: it must be a list of 4, '
            "each one of A, C, G, T.",
        ),
        (
            "sbs.barcode_library_fp",
            ...,
            "config key sbs.barcode_library_fp is missing: table of the guides, "
            "with columns sgRNA and gene_symbol.",
        ),
        (
            "all.root_fp",
            ...,
            "config key all.root_fp is missing: folder that receives",
        ),
        # keys that contradict each other
        (
            "sbs.channel_names",
            ["DAPI", "G", "T", "A", "Cy5"],
            'config key sbs.bases names "C", which is none of sbs.channel_names '
            "(DAPI, G, T, A, Cy5).",
        ),
        (
            "phenotype.dapi_channel",
            "dapi",
            'config key phenotype.dapi_channel names "dapi", which is none of '
            "phenotype.channel_names (DAPI, TUBULIN, P65, WGA).",
        ),
        (
            "sbs.cytoplasm_channels",
            ["GFP"],
            'config key sbs.cytoplasm_channels names "GFP", which is none of sbs.channel_names',
        ),
        (
            "sbs.dapi_channel",
            "G",
            'config key sbs.dapi_channel is "G", which is a base: '
            "name the channel that shows the nuclei.",
        ),
        (
            "sbs.channel_names",
            ["G", "T", "A", "C"],
            "config key sbs.channel_names holds only bases, so there are no nuclei to segment",
        ),
        (
            "preprocess.sbs_samples_fp",
            None,
            "config key preprocess.sbs_samples_fp is missing: the sbs section needs its sample "
            "sheet, or leave that section out.",
        ),
        (
            "phenotype",
            ...,
            "config key preprocess.phenotype_samples_fp names phenotype_samples.tsv, but there is "
            "no phenotype section: add the section or leave the key out.",
        ),
        (
            "sbs.channel_names",
            ["DAPI", "RED", "GREEN"],
            "config key sbs.channel_names (DAPI, RED, GREEN) names none of the bases G, T, A, C: "
            "say in sbs.base_encoding in which channels each base shines.",
        ),
        (
            "sbs.base_encoding",
            ["G"],
            'config key sbs.base_encoding is ["G"]: it must be a section of keys or null.',
        ),
        (
            "sbs.base_encoding",
            {"A": ["A"], "C": ["C"], "G": "G", "T": ["T"]},
            'config key sbs.base_encoding.G is "G": it must be a list, '
            "each text that is not empty.",
        ),
        (
            "sbs.recombination_cycles",
            [9, 10],
            "config key sbs.recombination_cycles is set without sbs.mapping_cycles",
        ),
    ],
)
def test_each_wrong_value_is_named_in_one_sentence(key, value, sentence):
    (problem,) = problems_of(**{key: value})
    assert problem.startswith(sentence)


TWO_COLOURS = {"A": ["RED", "GREEN"], "C": ["RED"], "T": ["GREEN"], "G": []}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"A": ...},
            "config key sbs.base_encoding says nothing of A: give each of A, C, G, T the list of "
            "its channels, [] for a base without light.",
        ),
        (
            {"T": ..., "U": ["GREEN"]},
            'config key sbs.base_encoding says nothing of T and names "U", which is no base: give '
            "each of A, C, G, T the list of its channels, [] for a base without light.",
        ),
        (
            {"A": ["GREEN"]},
            "config key sbs.base_encoding gives T and A the same channels (GREEN): "
            "no caller can tell them apart.",
        ),
        (
            {"T": []},
            "config key sbs.base_encoding gives G and T the same channels (none): "
            "no caller can tell them apart.",
        ),
        (
            {"G": ["BLUE"]},
            'config key sbs.base_encoding.G names "BLUE", which is none of sbs.channel_names '
            "(DAPI, RED, GREEN, GFP).",
        ),
        (
            {"G": ["DAPI"]},
            'config key sbs.dapi_channel is "DAPI", which is a channel of bases: '
            "name the channel that shows the nuclei.",
        ),
    ],
)
def test_encodings_that_cannot_be_are_refused(change, sentence):
    encoding = {base: shown for base, shown in (TWO_COLOURS | change).items() if shown is not ...}
    names = ["DAPI", "RED", "GREEN", "GFP"]
    keys = {"sbs.channel_names": names, "sbs.dapi_channel": "DAPI", "sbs.base_encoding": encoding}
    assert problems_of(**keys) == [sentence]


def test_four_channels_without_one_for_each_base_are_refused():
    encoding = {"G": ["G"], "T": ["T"], "A": ["A", "C"], "C": []}
    (problem,) = problems_of(**{"sbs.base_encoding": encoding})
    assert problem.startswith("config key sbs.base_encoding names 4 channels, but not one for each")


@pytest.mark.parametrize("method", ["median", "percentile", "argmax"])
def test_classic_callers_need_a_channel_for_each_base(method):
    names = ["DAPI", "RED", "GREEN"]
    keys = {"sbs.channel_names": names, "sbs.call_reads_method": method}
    (problem,) = problems_of(**keys, **{"sbs.base_encoding": TWO_COLOURS})
    assert problem.startswith(f"config key sbs.call_reads_method is {method}, which takes the")
    # Four dyes under their own names are one channel each.
    dyes = {"G": ["Cy3"], "T": ["AF594"], "A": ["Cy5"], "C": ["Cy7"]}
    keys["sbs.channel_names"] = ["DAPI", "Cy5", "Cy7", "Cy3", "AF594"]
    config = load_config(with_values(**keys, **{"sbs.base_encoding": dyes}), SCHEMA)
    assert config["sbs"]["cytoplasm_channels"] == ["Cy3", "AF594", "Cy5", "Cy7"]


def test_channels_of_two_colours():
    names = ["GREEN", "NUCLEI", "RED"]
    keys = {"sbs.channel_names": names, "sbs.base_encoding": TWO_COLOURS}
    config = load_config(with_values(**keys), SCHEMA)
    assert config["sbs"]["dapi_channel"] == "NUCLEI"
    assert config["sbs"]["cytoplasm_channels"] == ["GREEN", "RED"]
    assert load_config(config, SCHEMA) == config


def test_cycles_that_contradict_each_other_are_refused():
    (both,) = problems_of(**{"sbs.skip_cycles": [2, 3], "sbs.failed_cycles": [3]})
    assert both.startswith("config keys sbs.skip_cycles and sbs.failed_cycles both name cycle 3:")
    for key in ("skip_cycles", "failed_cycles", "no_dapi_cycles"):
        (left_out,) = problems_of(**{f"sbs.{key}": [2], "sbs.reference_cycle": 2})
        assert left_out.startswith(f"config key sbs.reference_cycle is 2, which sbs.{key} names")
    (shared,) = problems_of(**{"sbs.mapping_cycles": [1, 2], "sbs.recombination_cycles": [2, 3]})
    assert "both name position 2:" in shared


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("reference_channel", "P56", 'alignment.reference_channel names "P56", which is none of'),
        ("groups", [["P65", "GFP"]], 'alignment.groups names "GFP", which is none of'),
        ("groups", [["DAPI", "P65"]], "alignment.groups names DAPI, which is the reference"),
        ("groups", [["P65"], ["WGA", "P65"]], "alignment.groups names P65 in two groups"),
        ("offsets_px", {"GFP": [0, 1]}, 'alignment.offsets_px names "GFP", which is none of'),
        ("offsets_px", {"DAPI": [0, 1]}, "alignment.offsets_px names DAPI, which is the reference"),
        ("offsets_px", {"P65": [1]}, "alignment.offsets_px.P65 is [1]: it must be a list of 2"),
    ],
)
def test_alignments_that_cannot_be_are_refused(key, value, sentence):
    (problem,) = problems_of(**{f"phenotype.alignment.{key}": value})
    assert problem.startswith(f"config key phenotype.{sentence}")


def test_the_reference_channel_is_that_of_the_nuclei():
    config = load_config(with_values(**{"phenotype.dapi_channel": "WGA"}), SCHEMA)
    assert config["phenotype"]["alignment"]["reference_channel"] == "WGA"


def test_secondary_objects_need_a_channel_and_cells():
    (named,) = problems_of(**{"phenotype.checkpoints": ["segment_secondary"]})
    assert named.startswith("config key phenotype.checkpoints names segment_secondary, but")
    (wrong,) = problems_of(**{"phenotype.secondary_objects": {"channel": "GFP"}})
    assert "phenotype.secondary_objects.channel" in wrong
    nuclei = {"phenotype.secondary_objects": {"channel": "WGA"}, "phenotype.nuclei_only": True}
    (no_cells,) = problems_of(**nuclei)
    assert no_cells.startswith("config key phenotype.nuclei_only is true")


def test_areas_that_leave_nothing_are_refused():
    (problem,) = problems_of(
        **{"phenotype.segmentation": {"min_cell_area_px": 90, "max_cell_area_px": 80}}
    )
    assert problem.startswith(
        "config key phenotype.segmentation.min_cell_area_px is 90, more than max_cell_area_px"
    )


def test_all_problems_are_listed_at_once():
    problems = problems_of(
        **{
            "all.sed": 1,
            "sbs.max_mismatches": 9,
            "phenotype.dapi_channel": "Hoechst",
        }
    )
    assert [problem.split()[2] for problem in problems] == [
        "all.sed",
        "sbs.max_mismatches",
        "phenotype.dapi_channel",
    ]


@pytest.mark.parametrize("empty", [None, {}, []])
def test_an_empty_config_is_refused(empty):
    with pytest.raises(InputError):
        load_config(empty, SCHEMA)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(name=st.sampled_from(key_names(load_schema(SCHEMA))), value=json_values)
def test_any_value_anywhere_loads_or_is_refused_by_name(name, value):
    try:
        config = load_config(with_values(**{name: value}), SCHEMA)
    except InputError as refusal:
        assert name.rsplit(".", 1)[-1] in str(refusal)
    else:
        assert load_config(config, SCHEMA) == config


def test_loading_imports_nothing_heavy():
    code = (
        "import sys, lib.shared.config, lib.shared.inputs;"
        "print(sorted({'numpy', 'pandas', 'scipy', 'cv2'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
