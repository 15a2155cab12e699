"""Tables written and read piece by piece, for what is too long to be held at once."""

import os
from collections.abc import Iterable

import pandas as pd

from lib.shared.files import atomic_path


def write_pieces(path: str | os.PathLike, pieces: Iterable[pd.DataFrame]) -> int:
    """Write tables of equal columns, one below the other, to the parquet file `path`.

    Each piece becomes a row group, and only one is held at a time; the types of all columns
    are those of the first piece. The file appears whole or not at all. Returns the
    number of rows. Raises ValueError when there is no piece.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, writer = 0, None
    with atomic_path(path) as part:
        try:
            for piece in pieces:
                table = pa.Table.from_pandas(piece, preserve_index=False)
                if writer is None:
                    writer = pq.ParquetWriter(part, table.schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
                rows += len(piece)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError(f"{path}: no piece to write")
    return rows
