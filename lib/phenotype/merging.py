"""Tables of the tiles of a well to one table of the well."""

import numpy as np
import pandas as pd

from lib.shared.coordinates import add_well_coordinates
from lib.shared.segmentation import object_table
from lib.shared.tables import KEY_COLUMNS


def merge_info(info: pd.DataFrame, metadata: pd.DataFrame) -> pd.DataFrame:
    """Place the cells of a well, with the same types of columns however many there are.

    Parameters
    ----------
    info : `plate, well, tile` and the columns of `object_table`, the tiles of a well one
        below the other.
    metadata : one row per tile, as `add_well_coordinates` takes it.

    Returns
    -------
    The same with `x_um`, `y_um`. Without any cell a text file tells no types: they are
    those of `object_table`.
    """
    types = {name: column.dtype for name, column in _no_objects().items()}
    typed = info.astype(dict.fromkeys(KEY_COLUMNS, "str") | types)
    return add_well_coordinates(typed, metadata)


def _no_objects() -> dict[str, np.ndarray]:
    return object_table(np.zeros((1, 1), np.int32))
