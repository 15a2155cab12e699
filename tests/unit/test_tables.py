"""Tables come back as they were written, in both formats, with or without pandas."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.shared import tables
from lib.shared.errors import InputError
from lib.shared.tables import (
    column_names,
    read_rows,
    read_table,
    read_tables,
    stack_tables,
    write_table,
)

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(text, max_size=6),
    number=st.sampled_from([np.int32, np.int64, np.uint16, np.float32, np.float64]),
)
def test_plain_columns_to_parquet(tmp_path_factory, words, number):
    path = tmp_path_factory.mktemp("tables") / "table.parquet"
    numbers = np.arange(len(words), dtype=number)
    write_table(path, {"plate": np.array(words, "U8"), "value": numbers})
    back = read_table(path)
    assert back["plate"].tolist() == words
    np.testing.assert_array_equal(back["value"], numbers)
    assert back["value"].dtype == number


@pytest.mark.parametrize("suffix", ["parquet", "tsv"])
def test_identifiers_stay_text(tmp_path, suffix):
    frame = pd.DataFrame({"plate": ["01"], "well": ["A1"], "tile": ["007"], "cell": [3]})
    path = tmp_path / f"table.{suffix}"
    write_table(path, frame)
    assert read_table(path).loc[0].tolist() == ["01", "A1", "007", 3]


def test_tsv_writes_nulls_as_empty_fields(tmp_path):
    path = tmp_path / "table.tsv"
    write_table(path, {"a": [1.5, float("nan")], "b": ["x", None], "c": [True, False]})
    assert path.read_text() == "a\tb\tc\n1.5\tx\tTrue\n\t\tFalse\n"
    assert read_rows(path) == [
        {"a": "1.5", "b": "x", "c": "True"},
        {"a": "", "b": "", "c": "False"},
    ]


def test_columns_with_nulls_to_parquet(tmp_path):
    columns = {"guide": np.array(["a", None], object), "known": np.array([True, False])}
    write_table(tmp_path / "a.parquet", columns)
    back = read_table(tmp_path / "a.parquet")
    assert back["guide"].isna().tolist() == [False, True]
    assert back["known"].tolist() == [True, False]


def test_unequal_columns_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_table(tmp_path / "a.tsv", {"a": [1, 2], "b": [1]})
    with pytest.raises(ValueError, match=r"\.parquet or \.tsv"):
        write_table(tmp_path / "a.xlsx", {"a": [1]})
    assert list(tmp_path.iterdir()) == []


def test_missing_and_broken_tables_are_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.parquet does not exist"):
        read_table(tmp_path / "absent.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match=r"broken\.parquet cannot be read"):
        read_table(tmp_path / "broken.parquet")


def test_read_tables_keeps_order(tmp_path):
    for name in "ab":
        write_table(tmp_path / f"{name}.tsv", {"name": [name, name]})
    both = read_tables([tmp_path / "b.tsv", tmp_path / "a.tsv"])
    assert both["name"].tolist() == ["b", "b", "a", "a"]


def test_writing_plain_columns_does_not_import_pandas(tmp_path):
    code = (
        "import sys, numpy as np; from lib.shared.tables import write_table;"
        "columns = {'a': np.arange(3), 'b': np.array(['x', 'y', 'z'])};"
        f"write_table(r'{tmp_path}/a.parquet', columns); write_table(r'{tmp_path}/a.tsv', columns);"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stacked_tables_are_those_one_below_the_other(tmp_path, monkeypatch):
    """Also when each part makes a group of rows of its own, and when parts have no row."""
    parts, counts = [], (3, 0, 5, 1)
    for number, count in enumerate(counts):
        parts.append(tmp_path / f"{number}.parquet")
        columns = {
            "tile": np.full(count, str(number)),
            "label": np.arange(count, dtype=np.int32),
            "mean": np.linspace(0, 1, count, dtype=np.float32),
        }
        write_table(parts[-1], columns)
    for group_bytes in (1, 2**20):
        monkeypatch.setattr(tables, "GROUP_BYTES", group_bytes)
        assert stack_tables(tmp_path / "all.parquet", parts) == sum(counts)
        stacked = read_table(tmp_path / "all.parquet")
        assert stacked["tile"].tolist() == list("000222223")
        assert stacked["label"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0]
        assert [str(kind) for kind in stacked.dtypes] == ["str", "int32", "float32"]
    assert column_names(tmp_path / "all.parquet") == ["tile", "label", "mean"]
    assert stack_tables(tmp_path / "none.parquet", parts[1:2]) == 0
    assert [str(kind) for kind in read_table(tmp_path / "none.parquet").dtypes][1:] == [
        "int32",
        "float32",
    ]


def test_stacking_refuses_other_columns_and_leaves_nothing(tmp_path):
    write_table(tmp_path / "a.parquet", {"label": np.arange(2)})
    write_table(tmp_path / "b.parquet", {"label": np.arange(2.0)})
    with pytest.raises(InputError, match=r"b\.parquet has other columns than"):
        stack_tables(tmp_path / "all.parquet", [tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert not (tmp_path / "all.parquet").exists()
