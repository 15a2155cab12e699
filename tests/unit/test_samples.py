"""Sample sheets: the index they give and the sentences with which bad ones are refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.shared.errors import InputError
from lib.shared.layout import TILE
from lib.shared.samples import (
    SampleRow,
    read_phenotype_samples,
    read_sbs_samples,
    sample_tiles,
)
from lib.shared.sheets import name_rows, natural_key

SBS = ("sample_fp", "plate", "well", "tile", "cycle")


def write(path, rows, columns=SBS, separator="\t", end="\n", encoding="utf-8"):
    lines = [separator.join(map(str, row)) for row in (columns, *rows)]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def grid(tiles=("1", "2", "10"), cycles=(1, 2, 3), plate="1", well="A1"):
    return [
        (f"raw/{plate}_{well}_{tile}_{cycle}.tif", plate, well, tile, cycle)
        for tile in tiles
        for cycle in cycles
    ]


def refusal(read, path, **options):
    with pytest.raises(InputError) as error:
        read(path, **{"check_files": False} | options)
    return str(error.value)


def sbs_refusal(path, **options):
    return refusal(read_sbs_samples, path, **options)


def read_sbs(path, **options):
    return read_sbs_samples(path, **{"check_files": False} | options)


# ---------------------------------------------------------------- what a sheet becomes


def test_index_gives_plates_wells_tiles_and_cycles_in_natural_order(tmp_path):
    rows = [*grid(plate="10"), *grid(plate="2", well="B10"), *grid(plate="2", well="B2")]
    samples = read_sbs(write(tmp_path / "s.tsv", reversed(rows)))
    assert samples.plates == ("2", "10")
    assert samples.wells("2") == ("B2", "B10")
    assert samples.tiles("2", "B10") == ("1", "2", "10")
    assert samples.cycles("10", "A1", "2") == (1, 2, 3)
    assert samples.barcode_cycles == (1, 2, 3)
    assert list(samples.every_well()) == [("2", "B2"), ("2", "B10"), ("10", "A1")]
    assert next(samples.every_tile()) == ("2", "B2", "1")
    assert samples.skipped == ()


def test_source_carries_every_column_and_the_row_of_a_spreadsheet(tmp_path):
    columns = (*SBS, "z", "position", "channel", "round")
    path = write(
        tmp_path / "s.tsv", [("raw/a.nd2", "1", "A1", "01", "1", "4", "7", "G", "2")], columns
    )
    (source,) = read_sbs(path).sources("1", "A1", "01", 1)
    assert source == SampleRow("raw/a.nd2", "G", "2", 4, 7, str(path), 2)


def test_optional_columns_may_be_absent_or_empty(tmp_path):
    plain = write(tmp_path / "s.tsv", grid(tiles=("1",), cycles=(1,)))
    (source,) = read_sbs(plain).sources("1", "A1", "1", 1)
    assert (source.channel, source.round, source.z, source.position) == (None, None, None, None)
    empty = write(tmp_path / "e.tsv", [("a.tif", "1", "A1", "1", "1", "")], (*SBS, "position"))
    assert read_sbs(empty).sources("1", "A1", "1", 1)[0].position is None


def test_phenotype_sheet_has_no_cycles_and_orders_sources_by_round(tmp_path):
    columns = ("sample_fp", "plate", "well", "tile", "round")
    rows = [(f"r{n}.tif", "1", "A1", "5", n) for n in (10, 9, 1)]
    samples = read_phenotype_samples(write(tmp_path / "p.tsv", rows, columns), check_files=False)
    assert samples.cycles("1", "A1", "5") == ()
    assert [row.path for row in samples.sources("1", "A1", "5")] == ["r1.tif", "r9.tif", "r10.tif"]
    assert samples.barcode_cycles == ()


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_line_ends_and_byte_order_marks_are_tolerated(
    tmp_path, separator, end, encoding
):
    path = write(tmp_path / "s.csv", grid(), separator=separator, end=end, encoding=encoding)
    assert read_sbs(path).tiles("1", "A1") == ("1", "2", "10")


def test_blank_lines_and_blanks_around_fields_are_tolerated_and_rows_still_counted(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("sample_fp \tplate\twell\ttile\tcycle\n\n a.tif\t1\t A1\t1 \t1\n\t\t\t\t\n")
    (source,) = read_sbs(path).sources("1", "A1", "1", 1)
    assert (source.path, source.row) == ("a.tif", 3)


names = st.text("abcXYZ0123456789.-+", min_size=1, max_size=4)


@given(
    tiles=st.sets(st.tuples(names, names, names), min_size=1, max_size=8),
    cycles=st.integers(1, 4),
    separator=st.sampled_from("\t,;"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    data=st.data(),
)
def test_any_sheet_comes_back_as_written(
    tmp_path_factory, tiles, cycles, separator, end, encoding, data
):
    rows = [
        (f"raw {index} ü.tif", *tile, cycle)
        for index, (tile, cycle) in enumerate((t, c) for t in tiles for c in range(1, cycles + 1))
    ]
    rows = data.draw(st.permutations(rows))
    path = tmp_path_factory.getbasetemp() / "round_trip.tsv"
    samples = read_sbs(write(path, rows, SBS, separator, end, encoding))
    assert set(samples.every_tile()) == tiles
    back = [
        (source.path, *tile, cycle, source.row)
        for tile in samples.every_tile()
        for cycle in samples.cycles(*tile)
        for source in samples.sources(*tile, cycle)
    ]
    assert sorted(back) == sorted((*row, number) for number, row in enumerate(rows, start=2))


@given(plate=names, well=names, tile=names)
def test_allowed_names_come_back_from_file_names(plate, well, tile):
    name = TILE.format(plate=plate, well=well, tile=tile)
    parts = [part.split("-", 1)[1] for part in name.split("_")]
    assert parts == [plate, well, tile]


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_key_sorts_numbers_by_value(numbers):
    texts = [f"T{number}x" for number in numbers]
    assert sorted(texts, key=natural_key) == [f"T{number}x" for number in sorted(numbers)]


def test_rows_are_named_briefly():
    assert name_rows([4]) == "row 4"
    assert name_rows([4, 7]) == "rows 4 and 7"
    assert name_rows([4, 7, 9]) == "rows 4, 7 and 9"
    assert name_rows(range(1, 9)) == "rows 1, 2, 3, 4, 5 and 3 more"


# ---------------------------------------------------------------- the sheet itself


def test_missing_sheet_folder_and_binary_file_are_refused(tmp_path):
    path = tmp_path / "s.tsv"
    assert sbs_refusal(path) == f"The sample sheet {path} does not exist."
    assert sbs_refusal(tmp_path) == f"The sample sheet {tmp_path} is a folder, not a text table."
    path.write_bytes(b"\xff\xfes\x00a\x00")
    assert sbs_refusal(path) == f"The sample sheet {path} is no UTF-8 text: save it as UTF-8."


def test_empty_sheets_are_refused(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("\n")
    assert sbs_refusal(path).endswith("is empty: it needs a header and at least one row.")
    write(path, [])
    assert sbs_refusal(path) == f"The sample sheet {path} has a header but no rows."


def test_missing_unknown_and_repeated_columns_are_named(tmp_path):
    path = write(tmp_path / "s.tsv", [(1, 2, 3, 4)], SBS[:4])
    assert sbs_refusal(path) == (
        f"The sample sheet {path} lacks the column cycle: it has sample_fp, plate, well, tile."
    )
    write(path, [(1, 2, 3, 4, 5)], ("sample", "Plate", "well", "tile", "cycle"))
    assert sbs_refusal(path).split("\n") == [
        f"The sample sheet {path} has a column sample that is not known: did you mean sample_fp?",
        f"The sample sheet {path} has a column Plate that is not known: did you mean plate?",
    ]
    write(path, [(1, 2, 3, 4, 5, 6)], (*SBS, "comment"))
    assert sbs_refusal(path).endswith(
        "has a column comment that is not known: the columns are sample_fp, plate, well, tile, "
        "cycle, channel, round, z, position."
    )
    write(path, [(1, 2, 3, 4, 5, 6)], (*SBS, "tile"))
    assert sbs_refusal(path).endswith("has the column tile twice.")
    write(path, [(1, 2, 3, 4, 5)], SBS)
    message = refusal(read_phenotype_samples, path)
    assert message.startswith(f"The sample sheet {path} has a column cycle that is not known")


def test_rows_of_another_length_are_named(tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("sample_fp\tplate\twell\ttile\tcycle\na.tif\t1\tA1\t1\t1\nb.tif\t1\tA1\t1\n")
    assert sbs_refusal(path) == (
        f"The sample sheet {path} has 5 columns, but another number of fields in row 3."
    )


def test_empty_fields_are_named(tmp_path):
    path = write(tmp_path / "s.tsv", [("", "1", "A1", "1", "1"), ("b.tif", "1", "", "1", "2")])
    assert sbs_refusal(path).split("\n") == [
        f"The sample sheet {path} has no sample_fp in row 2.",
        f"The sample sheet {path} has no well in row 3.",
    ]


@pytest.mark.parametrize("name", ["A_1", "A/1", "A 1", "A:1", "Ä1", "{plate}", "A\\1", "A" * 65])
@pytest.mark.parametrize("column", [1, 2, 3])
def test_names_that_break_file_names_are_refused(tmp_path, name, column):
    rows = [list(row) for row in grid()]
    rows[1][column] = name
    message = sbs_refusal(write(tmp_path / "s.tsv", rows))
    assert message == (
        f'The sample sheet {tmp_path}/s.tsv gives the {SBS[column]} "{name}" in row 3: at most '
        "64 letters, digits, '-', '+' and '.' can be part of a file name here."
    )


@pytest.mark.parametrize("value", ["1.0", "c1", "-1", "²", "1e3", "1" * 5000])
@pytest.mark.parametrize("column", ["cycle", "z", "position"])
def test_numbers_must_be_whole(tmp_path, value, column):
    row = {"sample_fp": "a", "plate": "1", "well": "A1", "tile": "1", "cycle": "1", column: value}
    path = write(tmp_path / "s.tsv", [row.values()], row.keys())
    assert sbs_refusal(path) == (
        f'The sample sheet {path} gives the {column} "{value}" in row 2: '
        "it must be a whole number below a million."
    )


# ---------------------------------------------------------------- rows against each other


def test_duplicate_rows_are_named_with_both_numbers(tmp_path):
    rows = [*grid(), ("other.tif", "1", "A1", "2", "02")]  # the cycle 2 is there already
    path = write(tmp_path / "s.tsv", rows)
    assert sbs_refusal(path) == (
        f"The sample sheet {path}: rows 6 and 11 both give plate 1, well A1, tile 2, cycle 2: "
        "keep one, or tell them apart by a column channel, round or z."
    )
    path = write(tmp_path / "s.tsv", [*grid(), grid()[0]])
    assert sbs_refusal(path).count("rows 2 and 11") == 1


def test_many_duplicates_are_counted(tmp_path):
    rows = grid(tiles=map(str, range(4)))
    lines = sbs_refusal(write(tmp_path / "s.tsv", rows + rows)).split("\n")
    assert len(lines) == 6
    assert lines[-1].endswith("has 7 more such pairs of rows.")


def test_one_image_for_two_tiles_is_refused_unless_positions_differ(tmp_path):
    rows = [("a.nd2", "1", "A1", "1", "1"), ("a.nd2", "1", "A1", "2", "1")]
    path = write(tmp_path / "s.tsv", rows)
    assert sbs_refusal(path) == (
        f"The sample sheet {path}: rows 2 and 3 both take a.nd2, for plate 1, well A1, tile 1, "
        "cycle 1 and for plate 1, well A1, tile 2, cycle 1: correct one, or tell the images "
        "inside the file apart by a column position."
    )
    placed = [(*row, position) for position, row in enumerate(rows)]
    samples = read_sbs(write(path, placed, (*SBS, "position")))
    assert [samples.sources("1", "A1", tile, 1)[0].position for tile in "12"] == [0, 1]


# ---------------------------------------------------------------- filters


def test_filters_keep_what_they_name(tmp_path):
    rows = [*grid(plate="1"), *grid(plate="2"), *grid(plate="2", well="A2")]
    path = write(tmp_path / "s.tsv", rows)
    samples = read_sbs(path, plate_filter=["2"], well_filter=["A2"])
    assert list(samples.every_well()) == [("2", "A2")]


def test_filters_that_match_nothing_name_what_is_known(tmp_path):
    path = write(tmp_path / "s.tsv", [*grid(plate="10"), *grid(plate="2", well="B1")])
    assert sbs_refusal(path, plate_filter=["2", "3"]) == (
        f"config key all.plate_filter names 3, but the sample sheet {path} has the plates 2, 10."
    )
    assert sbs_refusal(path, plate_filter=["2"], well_filter=["A1"]) == (
        f"config key all.well_filter names A1, but the sample sheet {path} has the wells B1."
    )


def test_what_is_filtered_out_is_not_checked_against_others(tmp_path):
    path = write(tmp_path / "s.tsv", [*grid(plate="1"), *grid(plate="2")[:-1]])
    assert read_sbs(path, plate_filter=["1"]).plates == ("1",)


# ---------------------------------------------------------------- cycles


def test_skipped_cycles_close_up_and_failed_ones_keep_their_position(tmp_path):
    path = write(tmp_path / "s.tsv", grid(cycles=(1, 2, 4, 5)))
    samples = read_sbs(path, skip_cycles=[2], failed_cycles=[3, 5])
    assert samples.barcode_cycles == (1, 3, 4, 5)
    assert samples.cycles("1", "A1", "10") == (1, 4)
    with pytest.raises(InputError, match=r"has no cycle 5 for plate 1, well A1, tile 10\."):
        samples.sources("1", "A1", "10", 5)


def test_a_tile_may_lack_a_cycle_that_is_not_used(tmp_path):
    path = write(tmp_path / "s.tsv", grid()[:-1])  # tile 10 without cycle 3
    for key in ("skip_cycles", "failed_cycles"):
        assert read_sbs(path, **{key: [3]}).tiles("1", "A1") == ("1", "2", "10")


def test_a_cycle_missing_everywhere_must_be_explained(tmp_path):
    path = write(tmp_path / "s.tsv", grid(cycles=(2, 3, 5)))
    assert sbs_refusal(path) == (
        f"The sample sheet {path} has cycles up to 5 but no cycle 1 and 4: add the rows, or name "
        "the cycle in sbs.failed_cycles (its chemistry was done) or sbs.skip_cycles (it is no "
        "part of the sequence)."
    )
    assert read_sbs(path, skip_cycles=[1], failed_cycles=[4]).barcode_cycles == (2, 3, 4, 5)


def test_cycles_may_count_from_zero(tmp_path):
    assert read_sbs(write(tmp_path / "s.tsv", grid(cycles=(0, 1)))).barcode_cycles == (0, 1)


@pytest.mark.parametrize("key", ["skip_cycles", "failed_cycles", "no_dapi_cycles"])
def test_cycles_of_the_config_must_be_in_the_sheet(tmp_path, key):
    path = write(tmp_path / "s.tsv", grid())
    assert sbs_refusal(path, **{key: [12]}) == (
        f"config key sbs.{key} names cycle 12, but the sample sheet {path} has cycles 1 to 3: "
        "leave it out there."
    )


def test_some_cycle_must_be_left(tmp_path):
    path = write(tmp_path / "s.tsv", grid(cycles=(1, 2)))
    message = sbs_refusal(path, skip_cycles=[1], failed_cycles=[2])
    assert message.endswith("has no cycle that sbs.skip_cycles and sbs.failed_cycles leave to use.")


# ---------------------------------------------------------------- incomplete tiles


def test_tiles_that_lack_a_cycle_stop_the_run_or_are_left_out(tmp_path):
    rows = [row for row in grid() if (row[3], row[4]) not in {("2", 1), ("2", 3)}]
    path = write(tmp_path / "s.tsv", rows)
    assert sbs_refusal(path) == (
        f"The sample sheet {path} has 1 incomplete tile: plate 1, well A1, tile 2 lacks cycle 1 "
        "and 3: add the rows, or set all.incomplete_tiles to skip to leave such tiles out."
    )
    samples = read_sbs(path, incomplete_tiles="skip")
    assert samples.tiles("1", "A1") == ("1", "10")
    (skipped,) = samples.skipped
    assert (skipped.plate, skipped.well, skipped.tile) == ("1", "A1", "2")
    assert skipped.reason == "lacks cycle 1 and 3"


def test_many_incomplete_tiles_are_counted(tmp_path):
    rows = [row for row in grid(map(str, range(10))) if row[3] == "0" or row[4] != 2]
    message = sbs_refusal(write(tmp_path / "s.tsv", rows))
    assert "has 9 incomplete tiles: plate 1, well A1, tile 1 lacks cycle 2; " in message
    assert "; and 4 more: add the rows" in message


def test_skipping_every_tile_is_refused(tmp_path):
    rows = [row for row in grid(("1", "2"), (1, 2)) if row[3] == str(row[4])]
    message = sbs_refusal(write(tmp_path / "s.tsv", rows), incomplete_tiles="skip")
    assert message.endswith(
        "has no complete tile: plate 1, well A1, tile 1, for one, lacks cycle 2."
    )


def by_channel(tiles, cycles, channels, zs=(0,)):
    return [
        (f"{tile}_{cycle}_{channel}_{z}.tif", "1", "A1", tile, cycle, channel, z)
        for tile in tiles
        for cycle in cycles
        for channel in channels
        for z in zs
    ]


CHANNEL_COLUMNS = (*SBS, "channel", "z")


def test_tiles_that_lack_a_channel_or_plane_are_incomplete(tmp_path):
    rows = by_channel(("1", "2", "3"), (1, 2), ("DAPI", "G"), (0, 1))
    rows.remove(("2_1_G_0.tif", "1", "A1", "2", 1, "G", 0))
    rows.remove(("2_1_G_1.tif", "1", "A1", "2", 1, "G", 1))
    rows.remove(("3_2_DAPI_1.tif", "1", "A1", "3", 2, "DAPI", 1))
    path = write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS)
    message = sbs_refusal(path)
    assert "tile 2 lacks channel G z 0 and channel G z 1 at cycle 1; " in message
    assert "tile 3 lacks channel DAPI z 1 at cycle 2: add the rows" in message
    assert read_sbs(path, incomplete_tiles="skip").tiles("1", "A1") == ("1",)


def test_tiles_may_come_as_one_file_or_as_several(tmp_path):
    rows = by_channel(("1",), (1,), ("DAPI", "G"), (0, 1))
    rows += [(f"2_{channel}.tif", "1", "A1", "2", 1, channel, "") for channel in ("DAPI", "G")]
    rows += [("3.nd2", "1", "A1", "3", 1, "", ""), ("4.tif", "1", "A1", "4", 1, "G", "")]
    path = write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS)
    samples = read_sbs(path, incomplete_tiles="skip", channel_names=["DAPI", "G"])
    assert samples.tiles("1", "A1") == ("1", "2", "3")
    assert samples.skipped[0].reason == (
        "lacks channel DAPI, channel DAPI z 0 and channel DAPI z 1 at cycle 1"
    )


def test_numbers_with_leading_zeros_are_the_same_numbers(tmp_path):
    rows = [*by_channel("1", (1, 2), "G"), *by_channel("2", ("01", "02"), "G", ("00",))]
    samples = read_sbs(write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS))
    assert samples.cycles("1", "A1", "2") == (1, 2)
    assert samples.sources("1", "A1", "2", 2)[0].z == 0


def test_tiles_that_lack_a_round_are_incomplete(tmp_path):
    columns = ("sample_fp", "plate", "well", "tile", "round")
    rows = [(f"{tile}_{n}.tif", "1", "A1", tile, n) for tile in "12" for n in (1, 2)][:-1]
    path = write(tmp_path / "p.tsv", rows, columns)
    assert "plate 1, well A1, tile 2 lacks round 2: add" in refusal(read_phenotype_samples, path)


def test_a_whole_tile_beside_a_part_of_it_is_refused(tmp_path):
    rows = [("a.nd2", "1", "A1", "1", 1, "", ""), ("b.tif", "1", "A1", "1", 1, "G", 0)]
    path = write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS)
    assert sbs_refusal(path) == (
        f"The sample sheet {path}: rows 2 and 3 overlap: plate 1, well A1, tile 1, cycle 1 and "
        "plate 1, well A1, tile 1, cycle 1, channel G, z 0: keep one, or fill in channel and z "
        "in both."
    )


def test_cycles_may_have_different_planes(tmp_path):
    rows = [*by_channel("12", (1,), ("G",), (0, 1)), *by_channel("12", (2,), ("G",), (0,))]
    assert read_sbs(write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS)).skipped == ()


def test_channels_are_compared_with_the_config(tmp_path):
    path = write(tmp_path / "s.tsv", by_channel("12", (1, 2), ("dapi", "G")), CHANNEL_COLUMNS)
    assert sbs_refusal(path, channel_names=["DAPI1", "dapi1", "G"]) == (
        f'The sample sheet {path} gives the channel "dapi" in rows 2, 4, 6 and 8, which is none '
        "of channel_names (DAPI1, dapi1, G): did you mean dapi1?"
    )
    assert sbs_refusal(path, channel_names=["dapi", "G", "T"]).split("\n") == [
        f"The sample sheet {path} has no row of cycle {cycle} for the channel T of channel_names: "
        "add the rows or correct channel_names."
        for cycle in (1, 2)
    ]
    assert read_sbs(path, channel_names=["dapi", "G"]).plates == ("1",)


def test_cycles_without_nuclear_stain_need_only_the_bases(tmp_path):
    rows = [*by_channel("1", (1,), ("DAPI", "G")), *by_channel("1", (2,), ("G",))]
    path = write(tmp_path / "s.tsv", rows, CHANNEL_COLUMNS)
    names = {"channel_names": ["DAPI", "G"], "base_channels": ["G"]}
    assert "no row of cycle 2 for the channel DAPI" in sbs_refusal(path, **names)
    assert read_sbs(path, no_dapi_cycles=[2], **names).cycles("1", "A1", "1") == (1, 2)


# ---------------------------------------------------------------- raw files


def test_missing_raw_files_are_named_and_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = grid(tiles=map(str, range(5)))
    path = write(Path("s.tsv"), rows)
    Path("raw").mkdir()
    for row in rows[:-7]:
        Path(row[0]).touch()
    assert sbs_refusal(path, check_files=True) == (
        "The sample sheet s.tsv names 7 raw files that do not exist: raw/1_A1_2_3.tif (row 10), "
        "raw/1_A1_3_1.tif (row 11), raw/1_A1_3_2.tif (row 12), raw/1_A1_3_3.tif (row 13), "
        "raw/1_A1_4_1.tif (row 14) and 2 more: correct sample_fp (relative paths count from the "
        "working directory)."
    )
    for row in rows:
        Path(row[0]).touch()
    assert read_sbs_samples(path).plates == ("1",)
    os.remove(rows[4][0])
    os.symlink("nowhere", rows[4][0])
    assert "raw/1_A1_1_2.tif (row 6)" in sbs_refusal(path, check_files=True)


def test_folders_count_as_raw_files_wherever_they_lie(tmp_path, monkeypatch):
    store = tmp_path / "plate.zarr/A/1/0"
    store.mkdir(parents=True)
    monkeypatch.chdir(store.parent)
    for index, name in enumerate([f"{store}/", "0", "./0", "../1/0"]):
        path = write(tmp_path / f"{index}.tsv", [(name, "1", "A1", "1", "1")])
        assert read_sbs_samples(path).plates == ("1",)
    message = sbs_refusal(
        write(tmp_path / "no.tsv", [("no/such", "1", "A1", "1", "1")]), check_files=True
    )
    assert "names 1 raw file that does not exist: no/such (row 2):" in message


def test_files_of_unused_cycles_and_skipped_tiles_are_not_sought(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    rows = grid(tiles=("1", "2"))[:-1]  # tile 2 lacks cycle 3
    for row in rows[:3]:
        Path(row[0]).touch()
    os.remove("raw/1_A1_1_2.tif")
    path = write(Path("s.tsv"), rows)
    samples = read_sbs_samples(path, failed_cycles=[2], incomplete_tiles="skip")
    assert list(samples.every_tile()) == [("1", "A1", "1")]


# ---------------------------------------------------------------- questions to the index


def test_questions_about_what_is_not_there_are_answered_by_name(tmp_path):
    samples = read_sbs(write(tmp_path / "s.tsv", grid()))
    with pytest.raises(InputError, match="has no plate 7: it has 1"):
        samples.wells("7")
    with pytest.raises(InputError, match="has no well Z9 on plate 1: it has A1"):
        samples.tiles("1", "Z9")
    with pytest.raises(InputError, match="has no plate 1, well A1, tile 99"):
        samples.cycles("1", "A1", "99")


def test_sampling_is_by_seed_and_in_order():
    names = [str(i) for i in range(50)]
    chosen = sample_tiles(names, 10, seed=4)
    assert chosen == sample_tiles(names, 10, seed=4) != sample_tiles(names, 10, seed=5)
    assert len(set(chosen)) == 10 and chosen == sorted(chosen, key=int)
    assert sample_tiles(names, 99, seed=4) == names
