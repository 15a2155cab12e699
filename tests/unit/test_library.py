"""The barcode library, and all inputs of a screen checked together."""

import logging
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.shared.config import load_config
from lib.shared.errors import InputError
from lib.shared.inputs import check_inputs
from lib.shared.library import describe_ambiguous, read_barcodes, read_library

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "workflow/schemas/config.schema.yaml"
COLUMNS = ("sgRNA", "gene_symbol")


def write(path, rows, columns=COLUMNS):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in (columns, *rows)))
    return path


def refusal(path, *args):
    with pytest.raises(InputError) as error:
        read_barcodes(path, *args)
    return str(error.value)


# ---------------------------------------------------------------- what a library becomes


def test_barcode_is_the_beginning_of_the_guide(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGTA", "TP53"), ("ccgtaaa", "MYC")])
    library = read_library(path, 4)
    assert library["barcode"].tolist() == ["ACGT", "CCGT"]
    assert library["sgRNA"].tolist() == ["ACGTA", "CCGTAAA"]
    assert library["gene_symbol"].tolist() == ["TP53", "MYC"]
    assert library["ambiguous"].tolist() == [False, False]


def test_barcode_is_the_prefix_where_there_is_one(tmp_path):
    columns = (*COLUMNS, "prefix", "gene_id")
    rows = [("ACGTA", "A", "TTTT", 7), ("ACGTA", "A", "GGGGA", "")]
    path = write(tmp_path / "l.tsv", rows, columns)
    library = read_library(path, 4)
    assert library["barcode"].tolist() == ["TTTT", "GGGG"]
    assert library["gene_id"][0] == "7"
    assert library["gene_id"].isna().tolist() == [False, True]


def test_failed_positions_are_n_and_make_guides_ambiguous(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGT", "A"), ("AGGT", "B"), ("ACGA", "C")])
    barcodes = read_barcodes(path, 4, [2])
    assert barcodes.mapping == ["ANGT", "ANGT", "ANGA"]
    assert barcodes.ambiguous == [True, True, False]


def test_dual_barcodes_are_cut_to_their_positions(tmp_path):
    columns = (*COLUMNS, "prefix_recombination")
    path = write(tmp_path / "l.tsv", [("ACGTAC", "A", "GGTT"), ("CCGTAC", "B", "GATT")], columns)
    library = read_library(path, 7, [2, 6], [1, 2, 3], [5, 6])
    assert library["barcode"].tolist() == ["ANG", "CNG"]
    assert library["barcode_recombination"].tolist() == ["GN", "GN"]


def test_ambiguous_guides_are_kept_once_each_and_logged(tmp_path, caplog):
    rows = [("ACGTA", "A"), ("ACGTC", "B"), ("TTTTT", "C")]
    path = write(tmp_path / "l.tsv", rows)
    with caplog.at_level(logging.WARNING):
        library = read_library(path, 4)
    assert len(library) == 3
    assert library["ambiguous"].tolist() == [True, True, False]
    assert caplog.messages == [
        f"The barcode library {path} has 2 guides that share their barcode with another one at "
        "the positions read, so that reads of it are not assigned: ACGT in rows 2 and 3."
    ]
    assert describe_ambiguous(read_barcodes(path, 5)) is None


@given(
    guides=st.lists(st.text("ACGT", min_size=6, max_size=9), min_size=1, max_size=30, unique=True),
    n_positions=st.integers(1, 6),
)
def test_any_library_keeps_its_guides_and_marks_exactly_the_shared_barcodes(
    tmp_path_factory, guides, n_positions
):
    path = write(tmp_path_factory.getbasetemp() / "any.tsv", [(guide, "G") for guide in guides])
    cut = [guide[:n_positions] for guide in guides]
    barcodes = read_barcodes(path, n_positions)
    assert barcodes.sheet.columns["sgRNA"] == guides
    assert barcodes.mapping == cut
    assert barcodes.ambiguous == [cut.count(barcode) > 1 for barcode in cut]


# ---------------------------------------------------------------- what is refused


def test_missing_file_column_and_rows_are_named(tmp_path):
    path = tmp_path / "l.tsv"
    assert refusal(path, 4) == f"The barcode library {path} does not exist."
    write(path, [("ACGT", "A")], ("sgRNA", "gene"))
    assert refusal(path, 4) == (
        f"The barcode library {path} has a column gene that is not known: did you mean gene_id?\n"
        f"The barcode library {path} lacks the column gene_symbol: it has sgRNA, gene."
    )
    write(path, [("ACGT", "A")], ("sgrna", "gene_symbol"))
    assert refusal(path, 4).endswith("column sgrna that is not known: did you mean sgRNA?")
    write(path, [])
    assert refusal(path, 4) == f"The barcode library {path} has a header but no rows."
    write(path, [("ACGT", "A"), ("ACGG", "")])
    assert refusal(path, 4) == f"The barcode library {path} has no gene_symbol in row 3."


def test_other_letters_are_named_with_their_row(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGT", "A"), ("ACNT", "B"), ("ACGU", "C")])
    assert refusal(path, 4) == (
        f"The barcode library {path} has letters other than A, C, G and T in sgRNA "
        '"ACGU" and "ACNT" (rows 3 and 4).'
    )


def test_barcodes_shorter_than_the_cycles_are_named(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGTA", "A"), ("ACGT", "B"), ("ACG", "C")])
    assert refusal(path, 5) == (
        f"The barcode library {path} has a sequence (sgRNA) of 3 bases, shorter than the 5 "
        "sequenced cycles (rows 3 and 4): give longer sequences, "
        "or leave cycles out by sbs.skip_cycles."
    )
    assert read_barcodes(path, 3).mapping == ["ACG", "ACG", "ACG"]


def test_a_guide_twice_is_refused_with_its_rows(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGT", "A"), ("CCCC", "B"), ("acgt", "A")])
    assert refusal(path, 4) == (
        f"The barcode library {path} has 1 guide more than once: ACGT (rows 2 and 4): "
        "keep one row of each."
    )


def test_positions_beyond_the_cycles_and_a_missing_second_barcode_are_refused(tmp_path):
    path = write(tmp_path / "l.tsv", [("ACGTACGT", "A")])
    assert refusal(path, 6, (), [1, 7]) == (
        "config keys sbs.mapping_cycles and sbs.recombination_cycles name position 7, "
        "but only 6 barcode positions are sequenced."
    )
    assert "lacks the column prefix_recombination" in refusal(path, 6, (), [1, 2], [3, 4])


# ---------------------------------------------------------------- all inputs together


@pytest.fixture
def screen(tmp_path, monkeypatch):
    """A raw config of a small screen whose files all exist in the working directory."""
    monkeypatch.chdir(tmp_path)
    sbs = [(f"c{cycle}.tif", "1", "A1", "1", cycle) for cycle in (1, 2, 3)]
    write(Path("sbs.tsv"), sbs, ("sample_fp", "plate", "well", "tile", "cycle"))
    write(Path("p.tsv"), [("p.tif", "1", "A1", "1")], ("sample_fp", "plate", "well", "tile"))
    for name in ("c1.tif", "c2.tif", "c3.tif", "p.tif"):
        Path(name).touch()
    write(Path("library.tsv"), [("ACG", "A"), ("TTT", "B")])
    return yaml.safe_load(
        """
        all: {root_fp: results/}
        preprocess: {sbs_samples_fp: sbs.tsv, phenotype_samples_fp: p.tsv}
        sbs:
          barcode_library_fp: library.tsv
          channel_names: [DAPI, G, T, A, C]
          bases: [G, T, A, C]
        phenotype: {channel_names: [DAPI]}
        """
    )


def check(raw, **options):
    return check_inputs(load_config(raw, SCHEMA), **options)


def check_refusal(raw):
    with pytest.raises(InputError) as error:
        check(raw)
    return str(error.value).split("\n")


def test_inputs_hold_both_sheets_and_the_cycles(screen):
    screen["sbs"] |= {"failed_cycles": [2], "no_dapi_cycles": [1]}
    inputs = check(screen)
    assert inputs.sbs.tiles("1", "A1") == inputs.phenotype.tiles("1", "A1") == ("1",)
    assert (inputs.cycles, inputs.reference_cycle) == ((1, 3), 3)
    assert (inputs.n_positions, inputs.failed_positions) == (3, (2,))


@pytest.mark.parametrize("half", ["sbs", "phenotype"])
def test_either_half_alone_is_enough(screen, half):
    other = {"sbs": "phenotype", "phenotype": "sbs"}[half]
    del screen[other], screen["preprocess"][f"{other}_samples_fp"]
    inputs = check(screen)
    assert getattr(inputs, half).plates == ("1",)
    assert getattr(inputs, other) is None


def test_problems_of_all_inputs_are_listed_at_once(screen):
    write(Path("library.tsv"), [("ACG", "A"), ("TT", "B")])
    Path("p.tif").unlink()
    screen["sbs"]["reference_cycle"] = 4
    screen["phenotype"]["segmentation"] = {"model_path": "no.pt"}
    missing_file, model, reference, library = check_refusal(screen)
    assert "p.tsv names 1 raw file that does not exist: p.tif (row 2)" in missing_file
    assert model == (
        "config key phenotype.segmentation.model_path names no.pt, which does not exist."
    )
    assert reference == (
        "config key sbs.reference_cycle is 4, but the sample sheet sbs.tsv has the cycles 1, 2, 3."
    )
    assert (
        "has a sequence (sgRNA) of 2 bases, shorter than the 3 sequenced cycles (row 3)" in library
    )


def test_a_method_that_is_not_installed_is_known_before_any_job(screen, monkeypatch):
    monkeypatch.setattr("lib.shared.inputs.find_spec", lambda name: None)
    screen["sbs"]["segmentation"] = {"method": "cellpose"}
    (problem,) = check_refusal(screen)
    assert problem.startswith("config key sbs.segmentation.method is cellpose, which is not")
    assert 'pip install "poolscope[cellpose]"' in problem


@pytest.mark.parametrize("root", ["library.tsv", "library.tsv/results", "~/results"])
def test_results_need_a_folder(screen, root):
    screen["all"]["root_fp"] = root
    (problem,) = check_refusal(screen)
    assert problem.startswith(f"config key all.root_fp is {root}")


def test_results_need_a_folder_that_can_be_written_to(screen, monkeypatch):
    # Permissions bind no superuser, as whom tests may run.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != Path.cwd())
    screen["all"]["root_fp"] = "new/results"
    (problem,) = check_refusal(screen)
    assert problem.startswith("config key all.root_fp is new/results, but nothing may be written")


def test_guides_that_cannot_be_told_apart_are_named(screen, caplog):
    write(Path("library.tsv"), [("ACGA", "A"), ("ACGC", "B"), ("TTTT", "C")])
    check(screen)
    assert "2 guides that share their barcode" in caplog.text
    write(Path("library.tsv"), [("ACGA", "A"), ("ACGC", "B")])
    (problem,) = check_refusal(screen)
    assert problem.endswith("No guide is left: sequence more cycles or check the library.")


def test_names_that_a_plate_of_stores_cannot_have_are_refused(screen):
    sheet = Path(screen["preprocess"]["sbs_samples_fp"])
    sheet.write_text(sheet.read_text().replace("A1", "control"))
    check(screen)
    screen["all"]["omezarr_layout"] = "plate"
    (problem,) = check_refusal(screen)
    assert f"{sheet} has the well control: in a plate a well is a row of letters" in problem


def test_raw_files_are_not_sought_when_told_so(screen):
    Path("p.tif").unlink()
    assert check(screen, check_files=False).phenotype.plates == ("1",)


def test_some_cycle_must_show_the_nuclei(screen):
    screen["sbs"]["no_dapi_cycles"] = [1, 2, 3]
    (problem,) = check_refusal(screen)
    assert problem.startswith("config key sbs.no_dapi_cycles names every cycle that is used")


def test_wells_that_are_one_in_a_plate_of_stores_are_refused(screen):
    sheet = Path(screen["preprocess"]["phenotype_samples_fp"])
    sheet.write_text(sheet.read_text() + "c1.tif\t1\ta1\t1\n")
    check(screen)
    screen["all"]["omezarr_layout"] = "plate"
    (problem,) = check_refusal(screen)
    assert f"{sheet} has the wells A1 and a1 on plate 1, which are one well" in problem
