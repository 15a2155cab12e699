"""Text tables that users write: sample sheets and the barcode library.

They are read at every parse of the workflow, so with the csv module alone, and
as columns, so that most checks are one set or one `in`.
"""

import csv
import gc
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from lib.shared.errors import InputError

MAX_NAMED = 5  # how many rows, files or tiles a message lists by name


@dataclass(frozen=True)
class Sheet:
    """A text table as columns of text; optional columns that it lacks are absent."""

    path: str
    columns: dict[str, list[str]]
    rows: list[int]  # numbers as a spreadsheet shows them: the header is row 1

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, keep: Sequence[int]) -> "Sheet":
        """Return the sheet with only the rows at the indices `keep`."""
        columns = {name: [values[index] for index in keep] for name, values in self.columns.items()}
        return Sheet(self.path, columns, [self.rows[index] for index in keep])

    def rows_where(self, name: str, values: Iterable[str]) -> list[int]:
        """List the numbers of the rows whose column `name` holds one of `values`."""
        values = set(values)
        pairs = zip(self.rows, self.columns[name], strict=True)
        return [row for row, value in pairs if value in values]


def read_sheet(
    path: str | os.PathLike, required: Sequence[str], optional: Sequence[str], kind: str
) -> Sheet:
    """Read a tab-, comma- or semicolon-separated table with the named columns.

    A byte order mark, any line ending, blank lines and blanks around a field are
    tolerated. `kind` says in messages what the table is ("sample sheet").

    Raises `InputError` when the file is missing, is no UTF-8 text, is empty,
    lacks a column or has an unknown or repeated one, or when a row has the wrong
    number of fields or nothing in a required column.
    """
    path = os.fspath(path)
    numbers, lines = _read_lines(path, kind)
    if not lines:
        raise InputError(f"The {kind} {path} is empty: it needs a header and at least one row.")
    header = [name.strip() for name in lines[0]]
    _check_header(header, required, optional, f"The {kind} {path}")
    del numbers[0], lines[0]
    if not lines:
        raise InputError(f"The {kind} {path} has a header but no rows.")
    width = len(header)
    ragged = [row for row, fields in zip(numbers, lines, strict=True) if len(fields) != width]
    if ragged:
        raise InputError(
            f"The {kind} {path} has {width} columns, but another number of fields "
            f"in {name_rows(ragged)}."
        )
    fields = zip(*lines, strict=True)
    # Most fields repeat from row to row: one copy of each saves most of a large table.
    once: dict[str, str] = {}
    columns = {
        name: [once.setdefault(value, value) for value in map(str.strip, values)]
        for name, values in zip(header, fields, strict=True)
    }
    sheet = Sheet(path, columns, numbers)
    empty = [
        f"The {kind} {path} has no {name} in {name_rows(sheet.rows_where(name, ['']))}."
        for name in required
        if "" in columns[name]
    ]
    if empty:
        raise InputError("\n".join(empty))
    return sheet


@contextmanager
def without_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector.

    A table makes a container per row, all of them alive: while it is read the
    collector goes through them again and again and finds nothing, which doubles
    the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def name_rows(rows: Sequence[int]) -> str:
    """Name rows in a sentence: "row 4", "rows 4, 7 and 9", "rows 4, 5, ... and 8 more"."""
    return f"row{'s' if len(rows) > 1 else ''} {name_some(rows)}"


def name_some(values: Sequence[object]) -> str:
    """Name the first few values in a sentence and count the others."""
    shown = [str(value) for value in values[:MAX_NAMED]]
    if len(values) > MAX_NAMED:
        return f"{', '.join(shown)} and {len(values) - MAX_NAMED} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


@cache
def natural_key(text: str) -> tuple:
    """Sort key that puts "2" before "10" and "A2" before "A10"."""
    parts = re.split(r"([0-9]+)", text)
    # The longer number is the greater one; text has no limit of digits as int() has.
    digits = [number.lstrip("0") for number in parts[1::2]]
    parts[1::2] = [(len(number), number) for number in digits]
    return (tuple(parts), text)


def _read_lines(path: str, kind: str) -> tuple[list[int], list[list[str]]]:
    """Read the numbers and the fields of the rows that are not blank, header included."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"The {kind} {path} does not exist.") from None
    except IsADirectoryError:
        raise InputError(f"The {kind} {path} is a folder, not a text table.") from None
    except UnicodeDecodeError:
        raise InputError(f"The {kind} {path} is no UTF-8 text: save it as UTF-8.") from None
    header = text.lstrip().partition("\n")[0]
    separator = max("\t,;", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"The {kind} {path} is no text table ({error}).") from None
    numbers = list(range(1, len(rows) + 1))
    suspects = [i for i, fields in enumerate(rows) if not fields or not fields[0].strip()]
    for index in reversed(suspects):
        if not any(map(str.strip, rows[index])):
            del numbers[index], rows[index]
    return numbers, rows


def _check_header(
    header: list[str], required: Sequence[str], optional: Sequence[str], subject: str
) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{subject} has the column {repeated[0]} twice.")
    known = [*required, *optional]
    missing = [name for name in required if name not in header]
    problems = []
    for name in header:
        if name in known:
            continue
        # A misspelt required column explains the missing one.
        free = {other.lower(): other for other in known if other not in header}
        close = [free[match] for match in get_close_matches(name.lower(), free, n=1)]
        missing = [other for other in missing if other not in close]
        hint = f"did you mean {close[0]}?" if close else f"the columns are {', '.join(known)}."
        problems.append(f"{subject} has a column {name} that is not known: {hint}")
    found = ", ".join(header)
    problems += [f"{subject} lacks the column {name}: it has {found}." for name in missing]
    if problems:
        raise InputError("\n".join(problems))
