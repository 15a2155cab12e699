"""The section omero of the config: what is refused, and in which words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.omero.stages import run_name, stage_images
from lib.shared import inputs, layout
from lib.shared.config import load_config
from lib.shared.errors import InputError
from lib.shared.inputs import check_inputs
from lib.shared.samples import read_sbs_samples

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
LIBRARY = "sgRNA\tgene_symbol\nGATC\tA\nCATG\tB\n"
HEADER = "sample_fp\tplate\twell\ttile\tcycle\tposition\n"


def configured(omero, **sections):
    """A config of both halves with a section omero."""
    raw = {
        "all": {"root_fp": "results/"},
        "preprocess": {
            "sbs_samples_fp": "sbs_samples.tsv",
            "phenotype_samples_fp": "phenotype_samples.tsv",
        },
        "sbs": {
            "barcode_library_fp": "library.tsv",
            "channel_names": ["DAPI", "G", "T", "A", "C"],
            "bases": ["G", "T", "A", "C"],
        },
        "phenotype": {"channel_names": ["DAPI", "WGA"]},
        "omero": omero,
    }
    for name, keys in sections.items():
        raw[name] |= keys
    return raw


def load(omero, **sections):
    return load_config(configured(omero, **sections), SCHEMA)


def problems(omero, **sections):
    with pytest.raises(InputError) as refusal:
        load(omero, **sections)
    return str(refusal.value).split("\n")


# ---------------------------------------------------------------- the section


def test_without_the_section_nothing_is_imported():
    section = load({})["omero"]
    assert section["import"] is False
    assert section["stages"]["sbs"] == ["align_sbs", "segment_sbs"]


@pytest.mark.parametrize(
    ("key", "variable"),
    [("password", "OMERO_PASSWORD"), ("Host", "OMERO_HOST"), ("session", "OMERO_SESSION")],
)
def test_logins_are_refused_and_sent_where_they_belong(key, variable):
    (sentence,) = problems({key: "secret"})
    assert f"config key omero.{key} is never read from a config" in sentence
    assert variable in sentence
    assert "~/.config/poolscope/omero" in sentence
    assert "secret" not in sentence


def test_other_unknown_keys_get_the_nearest():
    assert problems({"tag": []}) == ["config key omero.tag is not known: did you mean omero.tags?"]


def test_plates_are_text_however_they_are_written():
    config = load({"source_plates": {1: 42, "2": 43}})
    assert config["omero"]["source_plates"] == {"1": 42, "2": 43}
    assert load_config(config, SCHEMA) == config


def test_stages_without_an_image_per_tile_are_refused_with_those_that_have_one():
    (sentence,) = problems({"stages": {"sbs": ["call_reads"]}})
    assert sentence.startswith('config key omero.stages.sbs[0] is "call_reads"')
    assert "one of align_sbs, apply_ic_field_sbs, segment_sbs" in sentence


def test_folders_are_absolute():
    found = problems({"local_roots": ["mnt"], "mounts": {"/OMERO": "here", "there": "/x"}})
    assert found == [
        'config key omero.local_roots names "mnt": write an absolute path.',
        'config key omero.mounts names "there": write an absolute path.',
        'config key omero.mounts names "here": write an absolute path.',
    ]


def test_an_import_of_nothing_is_refused():
    only_masks = {"stages": {"sbs": ["segment_sbs"], "phenotype": []}}
    assert problems({"import": True, **only_masks}) == [
        "config key omero.stages leaves no image to import: name stages there, and for masks set "
        "omero.labels to image."
    ]
    assert load({"import": True, "labels": "image", **only_masks})
    assert load(only_masks)


def test_masks_are_drawn_over_an_image():
    (sentence,) = problems({"labels": "masks", "stages": {"sbs": ["segment_sbs"]}})
    assert "omero.stages.sbs names segment_sbs alone" in sentence
    assert "such as align_sbs" in sentence


def test_secondary_objects_that_nobody_seeks_are_not_imported():
    (sentence,) = problems({"stages": {"phenotype": ["align_phenotype", "segment_secondary"]}})
    assert sentence.startswith("config key omero.stages.phenotype names segment_secondary, but no")


EXPORTED = {"omezarr_export_default": True}


@pytest.mark.parametrize(
    ("omero", "sections", "words"),
    [
        ({}, {}, "omero.mode is register, but sbs writes no OME-Zarr stores"),
        ({}, {"all": {**EXPORTED, "omezarr_version": "0.5"}}, "all.omezarr_version is 0.5"),
        (
            {},
            {"all": EXPORTED, "sbs": {"omezarr_coarsening_factor": 3}},
            "sbs.omezarr_coarsening_factor is 3",
        ),
        (
            {},
            {"all": EXPORTED, "phenotype": {"omezarr_stages": ["segment_phenotype"]}},
            "names align_phenotype, which is not in phenotype.omezarr_stages",
        ),
        (
            {"labels": "image"},
            {"all": EXPORTED, "phenotype": {"omezarr_stages": ["align_phenotype"]}},
            "names segment_phenotype, which is not in phenotype.omezarr_stages",
        ),
    ],
)
def test_registering_needs_stores_that_the_server_reads(omero, sections, words):
    found = problems({"mode": "register", **omero}, **sections)
    assert any(words in sentence and "set omero.mode to upload" in sentence for sentence in found)


def test_registering_with_its_stores_is_accepted():
    load({"mode": "register", "import": True}, all=EXPORTED)
    # Masks that stay in the stores of the images need none of their own.
    load({"mode": "register"}, all=EXPORTED, phenotype={"omezarr_stages": ["align_phenotype"]})


# ---------------------------------------------------------------- inputs


@pytest.fixture
def screen(tmp_path, monkeypatch):
    """Sheets of one tile of a half each, and a way to check them with a section omero."""
    monkeypatch.chdir(tmp_path)
    Path("library.tsv").write_text(LIBRARY)
    for name in ("raw.tiff", "phenotype.tiff"):
        Path(name).touch()
    Path("phenotype_samples.tsv").write_text(
        "sample_fp\tplate\twell\ttile\nphenotype.tiff\t1\tA1\t0\n"
    )

    def check(omero, path="raw.tiff", well="A1"):
        rows = "".join(f"{path}\t1\t{well}\t0\t{cycle}\t{cycle}\n" for cycle in (1, 2, 3, 4))
        Path("sbs_samples.tsv").write_text(HEADER + rows)
        return check_inputs(load(omero), check_login=True)

    return check


@pytest.fixture
def installed(monkeypatch):
    """Whether omero-py is there, as the checks find it; with a login."""
    monkeypatch.setenv("OMERO_HOST", "omero.example.org")
    monkeypatch.setenv("OMERO_SESSION", "a-session")

    def set_to(is_there):
        monkeypatch.setattr(inputs, "find_spec", lambda name: name if is_there else None)

    return set_to


def test_a_missing_omero_py_is_named_before_any_job(screen, installed):
    installed(False)
    screen({})
    with pytest.raises(InputError, match=r"omero\.import is true, but omero-py.*make omero"):
        screen({"import": True})
    installed(True)
    screen({"import": True})


def test_images_on_the_server_need_no_file_but_omero_py(screen, installed):
    path = "/sheets/omero/images/I-17__image.tiff"
    installed(True)
    screen({}, path)
    installed(False)
    with pytest.raises(InputError, match=rf"names {path}, which is fetched from OMERO, but omero-"):
        screen({}, path)


def test_a_missing_login_is_named_before_any_job(screen, installed, monkeypatch, tmp_path):
    installed(True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OMERO_HOST")
    screen({})
    with pytest.raises(InputError, match=r"omero\.import is true\. No OMERO server is named"):
        screen({"import": True})


def test_wells_that_omero_has_not_are_refused(screen, installed):
    installed(True)
    with pytest.raises(InputError, match=r"has the well mock1: wells in OMERO are named A1"):
        screen({"import": True}, well="mock1")
    screen({}, well="mock1")


def test_source_plates_are_plates_of_the_sheets(screen, installed):
    installed(True)
    screen({"import": True, "source_plates": {"1": 5}})
    with pytest.raises(
        InputError, match="names the plate 7, but the sample sheets have the plates 1"
    ):
        screen({"import": True, "source_plates": {"7": 5}})


@pytest.mark.parametrize(
    "path",
    [
        "omero/images/I-x__image.tiff",
        "omero/images/I-1__image.tif",
        "omero/I-1__image.tiff",
        "myomero/images/I-1__image.tiff",
        "omero/images/I-1__image.tiff/x",
    ],
)
def test_other_missing_files_are_refused_as_ever(tmp_path, path):
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"{HEADER}{path}\t1\tA1\t0\t1\t0\n")
    with pytest.raises(InputError, match="does not exist"):
        read_sbs_samples(sheet)


@given(st.integers(min_value=0, max_value=10**12), st.sampled_from(["", "/", "/a/b/", "../"]))
def test_every_image_of_the_server_is_known_by_its_path(number, folder):
    assert layout.is_omero_image(folder + layout.OMERO_IMAGE.format(image=number))


# ---------------------------------------------------------------- names and stages


@pytest.mark.parametrize(
    ("root", "name"),
    [("/data/my_screen/results", "my_screen"), ("/data/my_screen/", "my_screen"),
     ("/results", "results")],
)  # fmt: skip
def test_a_run_is_called_as_its_folder(root, name):
    assert run_name(Path(root)) == name


def test_which_files_a_stage_gives():
    stages = {"sbs": ["align_sbs", "segment_sbs"]}
    aligned, *masks = stage_images(stages, "upload", "image")
    assert (aligned.run, aligned.is_label) == ("sbs aligned", False)
    assert [mask.run for mask in masks] == ["sbs nuclei", "sbs cells"]
    assert all(mask.is_label for mask in masks)
    (drawn_over,) = stage_images(stages, "register", "masks")
    assert drawn_over.template == layout.OMEZARR["sbs"]["align_sbs"]
    assert [Path(mask).suffix for mask in drawn_over.masks] == [".tiff", ".tiff"]
