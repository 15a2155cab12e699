"""Wells and plates: names such as `A1` and the standard plate sizes."""

import re
from collections.abc import Iterable

from lib.shared.errors import InputError

PLATE_SIZES = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))  # rows, columns


def well_position(well: str) -> tuple[int, int]:
    """Row and column, from 0, of a well: `A1` and `A01` are (0, 0), `AA2` is (26, 1)."""
    match = re.fullmatch(r"([A-Za-z]{1,2})0*([1-9]\d?)", well)
    if match is None:
        raise InputError(
            f"The well {well!r} is not a row letter and a column number such as A1: "
            "correct it in the samples table."
        )
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


def row_name(row: int) -> str:
    """Letter of a row from 0: 0 is `A`, 26 is `AA`."""
    letters = ""
    row += 1
    while row:
        row, rest = divmod(row - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def plate_size(wells: Iterable[str]) -> tuple[int, int]:
    """Rows and columns of the smallest standard plate (6 to 1536 wells) that has all `wells`."""
    positions = [well_position(well) for well in wells]
    last_row = max((row for row, _ in positions), default=0)
    last_column = max((column for _, column in positions), default=0)
    for rows, columns in PLATE_SIZES:
        if last_row < rows and last_column < columns:
            return rows, columns
    raise InputError(
        f"The well {row_name(last_row)}{last_column + 1} lies outside of a 1536-well plate: "
        "correct it in the samples table."
    )
