"""Tables written piece by piece."""

import pandas as pd
import pytest

from lib.shared.table_stream import write_pieces
from lib.shared.tables import read_table


def test_pieces_become_one_table_of_row_groups(tmp_path):
    import pyarrow.parquet as pq

    pieces = [pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame({"a": [3], "b": ["y"]})]
    assert write_pieces(tmp_path / "t.parquet", pieces) == 3
    table = read_table(tmp_path / "t.parquet")
    assert table["a"].tolist() == [1, 2, 3] and table["b"].fillna("").tolist() == ["x", "", "y"]
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 2


def test_nothing_is_left_of_a_table_that_fails(tmp_path):
    def pieces():
        yield pd.DataFrame({"a": [1]})
        raise RuntimeError("bad tile")

    with pytest.raises(RuntimeError, match="bad tile"):
        write_pieces(tmp_path / "t.parquet", pieces())
    with pytest.raises(ValueError, match="no piece"):
        write_pieces(tmp_path / "t.parquet", [])
    assert not list(tmp_path.iterdir())
