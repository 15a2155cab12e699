"""Where, when and how large each tile was taken: one table, whatever the files say."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.shared.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

TILE = ("plate", "well", "tile")
POSITION = ("x_pos", "y_pos", "z_pos", "pfs_offset")
PIXEL_SIZE = ("pixel_size_x", "pixel_size_y")
SIZE = ("size_y", "size_x")
SAME_PIXEL_SIZE = 1e-2  # relative: calibrations drift less, objectives differ by more


def combine_metadata(
    rows: "Sequence[Mapping[str, object]] | pd.DataFrame", pixel_size_um: float | None = None
) -> "pd.DataFrame":
    """Make one row per tile (and cycle) of what `raw_metadata` says of each source.

    Parameters
    ----------
    rows : one per source, in the order of the sample sheet: the mapping of
        `raw_metadata` with `plate`, `well`, `tile` and, for SBS, `cycle` (absent
        or None for a phenotype).
    pixel_size_um : goes before what the files say, in y and x.

    Returns
    -------
    Columns `plate, well, tile` (text), `cycle` (integer; SBS only), `x_pos,
    y_pos, z_pos, pfs_offset, pixel_size_x, pixel_size_y` (float, micrometres,
    null where unknown), `filename`, `channels` (text; of several files joined
    by ";" and ", "), `acquisition_order` (integer from 0 within plate, well and
    cycle, by time where each tile tells it, else by the sheet), `size_y`,
    `size_x` (pixels); sorted as the tiles first come in `rows`. Of several files
    of a tile the first that knows a position gives it. Tiles of a well that
    all have the same x and y have no known position: a stage moves.

    Raises
    ------
    InputError
        When files of a tile, or tiles of a table, disagree in pixel size, or
        files of a tile in image size.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    with_cycle = "cycle" in frame and frame["cycle"].notna().any()
    key = [*TILE, "cycle"] if with_cycle else list(TILE)
    numbers = [*POSITION, *PIXEL_SIZE, "acquired"]
    frame = frame.astype(dict.fromkeys(TILE, "str") | dict.fromkeys(numbers, "float64"))
    if pixel_size_um is not None:
        frame[list(PIXEL_SIZE)] = float(pixel_size_um)
    _check_pixel_sizes(frame)
    tiles = frame.groupby(key, sort=False)
    _check_sizes(frame, tiles)
    # `first` takes the first value that is not null.
    first = tiles[[*POSITION, *PIXEL_SIZE, *SIZE]].first()
    first["filename"] = tiles["filename"].agg(lambda names: ";".join(dict.fromkeys(names)))
    first["channels"] = tiles["channels"].agg(_join_channels)
    first["acquired"] = tiles["acquired"].min()
    table = first.reset_index()
    groups = [*TILE[:2], "cycle"] if with_cycle else list(TILE[:2])
    table = _forget_impossible_positions(table, groups)
    table["acquisition_order"] = table.groupby(groups, sort=False)["acquired"].transform(_order)
    columns = [*key, *POSITION, *PIXEL_SIZE, "filename", "channels", "acquisition_order", *SIZE]
    integers = ["acquisition_order", *SIZE, *(["cycle"] if with_cycle else [])]
    text = dict.fromkeys(["filename", "channels"], "string") | dict.fromkeys(TILE, "str")
    return table[columns].astype(text | dict.fromkeys(integers, "int64"))


def raw_pixel_size(
    rows: Sequence[Mapping[str, object]], pixel_size_um: float | None = None
) -> tuple[float, float] | None:
    """Pixel size (y, x) in micrometres that raw files agree on; None when none tells.

    `rows` are those of `raw_metadata`; `pixel_size_um` goes before what they say.
    Raises `InputError` when they disagree.
    """
    if pixel_size_um is not None:
        return pixel_size_um, pixel_size_um
    known = [
        (row["pixel_size_y"], row["pixel_size_x"], row["filename"])
        for row in rows
        if row["pixel_size_y"] is not None
    ]
    for y, x, filename in known:
        if not (_alike(y, known[0][0]) and _alike(x, known[0][1])):
            raise _pixel_sizes_differ(known[0], (y, x, filename))
    return known[0][:2] if known else None


def stage_position(
    rows: Sequence[Mapping[str, object]], cycle: int | None = None
) -> tuple[float, float] | None:
    """Stage position (y, x) in micrometres of a tile, of the first row that knows one.

    `rows` are of one tile, from `combine_metadata` or of `raw_metadata`, numbers also as
    text; those of another cycle than `cycle`, where it is given, are left out.
    """
    for row in rows:
        if cycle is None or int(row["cycle"]) == cycle:
            place = [float(row[key] or "nan") for key in ("y_pos", "x_pos")]
            if all(map(math.isfinite, place)):
                return place[0], place[1]
    return None


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_PIXEL_SIZE * other


def _pixel_sizes_differ(one: Sequence, other: Sequence) -> InputError:
    return InputError(
        f"The raw image {other[2]} has pixels of {other[0]:.4g} x {other[1]:.4g} um, but {one[2]} "
        f"of {one[0]:.4g} x {one[1]:.4g} um: all images of one table must come from one objective."
    )


def _check_pixel_sizes(frame: "pd.DataFrame") -> None:
    known = frame.dropna(subset=list(PIXEL_SIZE))
    if known.empty:
        return
    columns = ["pixel_size_y", "pixel_size_x"]
    first = known.iloc[0]
    off = (known[columns] - first[columns].astype(float)).abs() > SAME_PIXEL_SIZE * known[columns]
    if off.any(axis=None):
        other = known[off.any(axis=1)].iloc[0]
        raise _pixel_sizes_differ(*(tuple(row[[*columns, "filename"]]) for row in (first, other)))


def _check_sizes(frame: "pd.DataFrame", tiles: "pd.api.typing.DataFrameGroupBy") -> None:
    for axis in SIZE:
        off = frame[axis] != tiles[axis].transform("first")
        if off.any():
            bad = frame[off].iloc[0]
            raise InputError(
                f"The raw image {bad['filename']} has {axis} = {bad[axis]} pixels, unlike the "
                f"first file of plate {bad['plate']}, well {bad['well']}, tile {bad['tile']}."
            )


def _join_channels(names: "pd.Series") -> str | None:
    """Join the names of the files of a tile; None when a file does not tell."""
    return None if names.isna().any() else ", ".join(dict.fromkeys(names))


def _forget_impossible_positions(table: "pd.DataFrame", groups: list[str]) -> "pd.DataFrame":
    """Set positions to null where all tiles of a well claim the same one."""
    wells = table.groupby(groups, sort=False)
    place, n_tiles = wells[["x_pos", "y_pos"]], wells["tile"].transform("size")
    same = (place.transform("nunique") == 1).all(axis=1)
    known = place.transform("count").eq(n_tiles, axis=0).all(axis=1)
    impossible = same & known & (n_tiles > 1)
    if impossible.any():
        log.warning("%d tiles claim one and the same position: taken as unknown", impossible.sum())
        table.loc[impossible, ["x_pos", "y_pos"]] = float("nan")
    return table


def _order(acquired: "pd.Series") -> "pd.Series":
    """Ranks from 0: by time when every time is known, else as they come."""
    times = acquired if acquired.notna().all() else acquired.isna() & False
    return times.rank(method="first") - 1
