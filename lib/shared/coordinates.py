"""From pixels of a tile to micrometres of the well."""

import pandas as pd


def add_well_coordinates(info: pd.DataFrame, metadata: pd.DataFrame) -> pd.DataFrame:
    """Add `x_um` and `y_um`, an object's place in the well, to a table of objects.

    Parameters
    ----------
    info : `plate, well, tile, i, j` in px of the tile.
    metadata : one row per tile: `plate, well, tile, x_pos, y_pos` (stage position
        of the tile's centre), `pixel_size_x, pixel_size_y` (micrometres),
        `size_y, size_x` (px).

    x grows with the column and y with the row. Without stage positions or pixel
    sizes the coordinates are null.
    """
    keys = ["plate", "well", "tile"]
    columns = ["x_pos", "y_pos", "pixel_size_x", "pixel_size_y", "size_y", "size_x"]
    tiles = metadata.drop_duplicates(keys)[keys + columns]
    placed = info[keys].merge(tiles, on=keys, how="left", validate="many_to_one")
    placed.index = info.index
    column = info["j"] - (placed["size_x"] - 1) / 2
    row = info["i"] - (placed["size_y"] - 1) / 2
    return info.assign(
        x_um=(placed["x_pos"] + column * placed["pixel_size_x"]).astype("float64"),
        y_um=(placed["y_pos"] + row * placed["pixel_size_y"]).astype("float64"),
    )
