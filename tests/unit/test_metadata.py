"""The table of tiles: one row each, of one type whatever the files say."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from lib.preprocess.metadata import combine_metadata, raw_pixel_size
from lib.preprocess.readers import RawSource, raw_metadata
from lib.shared.errors import InputError
from lib.shared.tables import read_table, write_table

COLUMNS = [
    *("plate", "well", "tile", "x_pos", "y_pos", "z_pos", "pfs_offset"),
    *("pixel_size_x", "pixel_size_y", "filename", "channels", "acquisition_order"),
    *("size_y", "size_x"),
]
FLOATS = COLUMNS[3:9]
UNKNOWN = {
    **{"channels": None, "pixel_size_y": None, "pixel_size_x": None, "acquired": None},
    **{"x_pos": None, "y_pos": None, "z_pos": None, "pfs_offset": None},
    **{"size_c": 1, "size_z": 1, "size_y": 6, "size_x": 7, "dtype": "uint16"},
}


def row(tile="1", *, well="A1", plate="1", filename=None, **known):
    key = {"plate": plate, "well": well, "tile": tile}
    return UNKNOWN | key | {"filename": filename or f"{well}_{tile}.tif"} | known


def test_columns_and_types_do_not_depend_on_what_is_known(tmp_path):
    place = {"x_pos": 1, "y_pos": 2.5, "z_pos": 3, "pfs_offset": 4, "acquired": 10}
    known = row(channels="DAPI", pixel_size_y=0.5, pixel_size_x=1, **place)
    tables = {
        "known": combine_metadata([known]),
        "unknown": combine_metadata([row()]),
        "mixed": combine_metadata([row("2"), known]),
    }
    for name, table in tables.items():
        assert list(table) == COLUMNS
        assert table.dtypes.equals(tables["known"].dtypes)
        assert (table[FLOATS].dtypes == "float64").all()
        assert table["acquisition_order"].dtype == table["size_y"].dtype == "int64"
        assert table["tile"].map(type).eq(str).all()
        write_table(tmp_path / f"{name}.parquet", table)
        back = read_table(tmp_path / f"{name}.parquet")
        assert list(back) == COLUMNS and (back[FLOATS].dtypes == "float64").all()
    first = tables["mixed"].iloc[0]
    assert first[FLOATS].isna().all() and pd.isna(first["channels"])
    second = tables["mixed"].iloc[1]
    expected = (1.0, 2.5, 3.0, 4.0, 1.0, 0.5)
    assert tuple(second[FLOATS]) == expected and second["channels"] == "DAPI"


def test_identifiers_stay_text():
    table = combine_metadata([row("01", plate="007"), row("1", plate="007")])
    assert table["tile"].tolist() == ["01", "1"] and table["plate"].tolist() == ["007"] * 2


def test_files_of_a_tile_make_one_row():
    table = combine_metadata(
        [
            row("5", filename="a.tif", channels="DAPI"),
            row("4", filename="c.tif", channels="DAPI", x_pos=9.0, y_pos=9.0),
            row("5", filename="b.tif", channels="G", x_pos=3.0, y_pos=4.0),
            row("5", filename="b.tif", channels="G", x_pos=3.5, y_pos=4.0),
        ]
    )
    assert table["tile"].tolist() == ["5", "4"]  # as the sheet has them
    first = table.iloc[0]
    assert (first["filename"], first["channels"]) == ("a.tif;b.tif", "DAPI, G")
    assert (first["x_pos"], first["y_pos"]) == (3.0, 4.0)


def test_cycles_are_rows_of_their_own():
    rows = [row("1", cycle=c, x_pos=float(c), y_pos=0.0) for c in (10, 2, 1)]
    table = combine_metadata(rows)
    assert list(table) == [*COLUMNS[:3], "cycle", *COLUMNS[3:]]
    assert table["cycle"].dtype == "int64" and table["cycle"].tolist() == [10, 2, 1]
    assert table["x_pos"].tolist() == [10.0, 2.0, 1.0]  # one tile a cycle: no reason for doubt
    assert table["acquisition_order"].tolist() == [0, 0, 0]


def test_phenotype_rows_may_say_that_they_have_no_cycle():
    assert list(combine_metadata([row(cycle=None)])) == COLUMNS


def test_configured_pixel_size_goes_first():
    rows = [row("1", pixel_size_y=1.0, pixel_size_x=1.0), row("2")]
    table = combine_metadata(rows, pixel_size_um=0.65)
    assert (table[["pixel_size_y", "pixel_size_x"]] == 0.65).all(axis=None)


@given(st.permutations(range(6)))
def test_order_by_time(times):
    rows = [row(str(n), well="AB"[n % 2], acquired=float(t)) for n, t in enumerate(times)]
    table = combine_metadata(rows)
    for well in "AB":
        own = [t for n, t in enumerate(times) if "AB"[n % 2] == well]
        order = table.loc[table["well"] == well, "acquisition_order"].tolist()
        assert order == [sorted(own).index(t) for t in own]


def test_order_by_the_sheet_when_a_time_is_missing():
    rows = [row("3", acquired=30.0), row("1"), row("2", acquired=20.0)]
    rows += [row("8", well="B", acquired=9.0), row("9", well="B", acquired=8.0)]
    assert combine_metadata(rows)["acquisition_order"].tolist() == [0, 1, 2, 1, 0]


def test_one_position_for_all_tiles_of_a_well_is_none(caplog):
    rows = [row(str(n), x_pos=0.0, y_pos=0.0, z_pos=5.0) for n in range(3)]
    rows += [row(str(n), well="B", x_pos=0.0, y_pos=float(n)) for n in range(3)]
    table = combine_metadata(rows)
    assert table.loc[:2, ["x_pos", "y_pos"]].isna().all(axis=None)
    assert table.loc[:2, "z_pos"].tolist() == [5.0] * 3
    assert table.loc[3:, "y_pos"].tolist() == [0.0, 1.0, 2.0]
    assert "3 tiles claim one and the same position" in caplog.text


def test_disagreement_is_an_error():
    sizes = [row("1", filename="a.tif"), row("1", filename="b.tif", size_x=8)]
    with pytest.raises(InputError, match=r"b\.tif has size_x = 8 .* plate 1, well A1, tile 1"):
        combine_metadata(sizes)
    combine_metadata([row("1"), row("2", size_x=8)])  # tiles may differ
    pixels = [
        row("1"),
        row("2", filename="a.tif", pixel_size_y=0.65, pixel_size_x=0.65),
        row("3", filename="b.tif", pixel_size_y=1.3, pixel_size_x=0.65),
    ]
    with pytest.raises(
        InputError, match=r"b\.tif has pixels of 1\.3 x 0\.65 um, but a\.tif of 0\.65"
    ):
        combine_metadata(pixels)


def write(path, **options):
    tifffile.imwrite(path, np.ones((6, 7), np.uint16), metadata=None, **options)
    return RawSource(path)


def test_pixel_size_of_files(tmp_path):
    unknown = write(tmp_path / "a.tif")
    known = write(tmp_path / "b.tif", resolution=(20000, 40000), resolutionunit=3)
    other = write(tmp_path / "c.tif", resolution=(10000, 10000), resolutionunit=3)
    assert raw_pixel_size(raw_metadata([unknown])) is None
    assert raw_pixel_size(raw_metadata([unknown, known])) == (0.25, 0.5)
    with pytest.raises(InputError, match=r"c\.tif has pixels of 1 x 1 um, but .*b\.tif"):
        raw_pixel_size(raw_metadata([known, other]))


def test_from_files_to_table(tmp_path):
    sources = [write(tmp_path / f"{n}.tif") for n in range(2)]
    keys = [{"plate": "1", "well": "A1", "tile": str(n)} for n in range(2)]
    table = combine_metadata([k | m for k, m in zip(keys, raw_metadata(sources), strict=True)])
    assert table["filename"].tolist() == [str(source.path) for source in sources]
    assert table[["size_y", "size_x"]].to_numpy().tolist() == [[6, 7]] * 2
