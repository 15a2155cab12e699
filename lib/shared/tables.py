"""Reading and writing tables: parquet and TSV, chosen by the suffix.

Per-tile scripts pass plain columns (a mapping of names to arrays), so that
they need not pay for importing pandas; well-level code passes data frames.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from lib.shared.errors import InputError
from lib.shared.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Columns = Mapping[str, np.ndarray | Sequence]
Table = Union[Columns, "pd.DataFrame"]

# Identifiers are text everywhere: "01" is not 1, and plates may have names.
KEY_COLUMNS = ("plate", "well", "tile")
GROUP_BYTES = 64 * 2**20  # of a group of rows of a stacked table, in memory


def write_table(path: str | os.PathLike, table: Table) -> None:
    """Write a table of equally long columns to `path` (.parquet or .tsv).

    The file appears whole or not at all. None, and missing values of a data frame,
    are nulls in parquet and empty fields in TSV.
    """
    suffix = Path(path).suffix
    with atomic_path(path) as part:
        if suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            if isinstance(table, Mapping):
                arrays = [_arrow_array(np.asarray(values)) for values in table.values()]
                arrow = pa.Table.from_arrays(arrays, names=list(table))
            else:
                arrow = pa.Table.from_pandas(table, preserve_index=False)
            pq.write_table(arrow, part, compression="zstd")
        elif suffix == ".tsv":
            if isinstance(table, Mapping):
                _write_tsv(part, table)
            else:
                table.to_csv(part, sep="\t", index=False)
        else:
            raise ValueError(f"{path}: a table is written as .parquet or .tsv")


def read_table(path: str | os.PathLike, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a .parquet, .tsv or .csv table, optionally only some columns.

    Plate, well and tile come back as text whatever they look like. A missing or
    unreadable file is an `InputError` that names it.
    """
    import pandas as pd

    try:
        if Path(path).suffix == ".parquet":
            return pd.read_parquet(path, columns=columns)
        text = {name: "str" for name in KEY_COLUMNS}
        separator = "," if Path(path).suffix == ".csv" else "\t"
        return pd.read_csv(path, sep=separator, usecols=columns, dtype=text)
    except FileNotFoundError:
        raise InputError(f"The table {path} does not exist.") from None
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"The table {path} cannot be read: {error}") from error


def read_tables(paths: Sequence[str | os.PathLike]) -> "pd.DataFrame":
    """Read tables of the same columns, one below the other."""
    import pandas as pd

    return pd.concat(map(read_table, paths), ignore_index=True)


def column_names(path: str | os.PathLike) -> list[str]:
    """The columns of a parquet table, in their order."""
    import pyarrow.parquet as pq

    return pq.read_schema(path).names


def read_rows(path: str | os.PathLike) -> list[dict[str, str]]:
    """Read a small .tsv as a list of rows of text, without pandas."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_rows(path: str | os.PathLike, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of the same keys, at least one, as `write_table` does their columns."""
    write_table(path, {name: [row[name] for row in rows] for name in rows[0]})


def stack_tables(path: str | os.PathLike, parts: Sequence[str | os.PathLike]) -> int:
    """Write the rows of parquet tables of the same columns to one, and return their number.

    Memory does not grow with the number of parts: they are read one after the other.

    Raises `InputError` where a part has other columns than the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, rows = pq.read_schema(parts[0]), 0
    options = {"compression": "zstd", "use_dictionary": list(KEY_COLUMNS)}
    with atomic_path(path) as part, pq.ParquetWriter(part, schema, **options) as writer:
        held: list[pa.Table] = []
        for name in parts:
            with pq.ParquetFile(name) as file:
                table = file.read(use_threads=False)
            if not table.schema.equals(schema):
                raise InputError(
                    f"The table {name} has other columns than {parts[0]}: delete it and run again."
                )
            rows += len(table)
            held.append(table)
            # Each group of rows lists all columns once more: few large ones, not one per part.
            if sum(table.nbytes for table in held) >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(held))
                held = []
        if held:
            writer.write_table(pa.concat_tables(held))
    return rows


def _arrow_array(values: np.ndarray) -> "pa.Array":
    """An Arrow array of (n,) values; numbers and text are made from their buffers.

    `pyarrow.array` imports pandas, which costs more than the rest of a job's start.
    """
    import pyarrow as pa

    if values.dtype.kind in "iuf":
        buffer = pa.py_buffer(np.ascontiguousarray(values))
        kind = pa.from_numpy_dtype(values.dtype)
        return pa.Array.from_buffers(kind, len(values), [None, buffer])
    if values.dtype.kind != "U":
        return pa.array(values.tolist())
    words = [word.encode() for word in values.tolist()]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(words))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


def _write_tsv(path: Path, table: Columns) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(table.keys())
        columns = [np.asarray(values).tolist() for values in table.values()]
        for row in zip(*columns, strict=True):
            writer.writerow("" if _is_null(value) else value for value in row)


def _is_null(value: object) -> bool:
    return value is None or value != value
