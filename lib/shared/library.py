"""The barcode library: which sequence stands for which guide and gene."""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.shared.errors import InputError
from lib.shared.sheets import MAX_NAMED, Sheet, name_rows, name_some, read_sheet, without_collection

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("sgRNA", "gene_symbol")
OPTIONAL_COLUMNS = ("gene_id", "prefix", "uniprot_entry", "prefix_recombination")
_SEQUENCE = re.compile("[ACGT]+")


@dataclass(frozen=True)
class Barcodes:
    """The sequences that reads are compared with, one per guide.

    Attributes
    ----------
    sheet : the library as written, sequences in capitals.
    mapping : sequence at the barcode positions that identify the guide, N where
        a cycle failed.
    recombination : the same at the positions that check for recombination, or None.
    ambiguous : whether another guide has the same mapping sequence.
    """

    sheet: Sheet
    mapping: list[str]
    recombination: list[str] | None
    ambiguous: list[bool]


def read_library(
    path: str | os.PathLike,
    n_positions: int,
    failed_positions: Collection[int] = (),
    mapping_positions: Sequence[int] | None = None,
    recombination_positions: Sequence[int] | None = None,
) -> "pd.DataFrame":
    """Read the library as a table with one row per guide.

    Parameters
    ----------
    n_positions : number of sequenced barcode positions.
    failed_positions : positions, from 1, that no read has; the barcode has N there.
    mapping_positions, recombination_positions : see `read_barcodes`.

    Returns the columns of the file, `barcode`, with `recombination_positions`
    also `barcode_recombination`, and `ambiguous`: True for guides that share
    their barcode, so that a read of it names none of them. Sequences are text in
    capitals, empty optional fields null. Ambiguous guides are logged as a warning.
    Raises `InputError` as `read_barcodes` does.
    """
    import pandas as pd

    barcodes = read_barcodes(
        path, n_positions, failed_positions, mapping_positions, recombination_positions
    )
    warning = describe_ambiguous(barcodes)
    if warning:
        logger.warning(warning)
    columns = {
        name: [value or None for value in values] for name, values in barcodes.sheet.columns.items()
    }
    columns["barcode"] = barcodes.mapping
    if barcodes.recombination is not None:
        columns["barcode_recombination"] = barcodes.recombination
    return pd.DataFrame({**columns, "ambiguous": barcodes.ambiguous})


@without_collection()
def read_barcodes(
    path: str | os.PathLike,
    n_positions: int,
    failed_positions: Collection[int] = (),
    mapping_positions: Sequence[int] | None = None,
    recombination_positions: Sequence[int] | None = None,
) -> Barcodes:
    """Read and check the library without pandas, as the Snakefile needs it.

    The sequence of a guide is its `prefix` where the file has that column, else
    its `sgRNA`, cut to the positions read. With `mapping_positions` (from 1) the
    k-th of them reads base k of that sequence; `recombination_positions` read
    `prefix_recombination` in the same way.

    Raises `InputError` for a missing file or column, an empty library, letters
    other than ACGT, a sequence shorter than the positions read, and a guide that
    stands there twice.
    """
    required = REQUIRED_COLUMNS
    if recombination_positions is not None:
        required = (*REQUIRED_COLUMNS, "prefix_recombination")
    optional = [name for name in OPTIONAL_COLUMNS if name not in required]
    sheet = read_sheet(path, required, optional, "barcode library")
    source = "prefix" if "prefix" in sheet.columns else "sgRNA"
    sheet = _in_capitals(sheet, {source, "sgRNA", "prefix_recombination"})
    positions = mapping_positions or range(1, n_positions + 1)
    problems = _check_positions((*positions, *(recombination_positions or ())), n_positions)
    problems += _check_sequences(sheet, source, len(positions))
    if recombination_positions is not None:
        problems += _check_sequences(sheet, "prefix_recombination", len(recombination_positions))
    if problems:
        raise InputError("\n".join(problems))
    mapping = _cut(sheet.columns[source], positions, failed_positions)
    _check_duplicates(sheet, mapping)
    recombination = None
    if recombination_positions is not None:
        sequences = sheet.columns["prefix_recombination"]
        recombination = _cut(sequences, recombination_positions, failed_positions)
    count = Counter(mapping)
    return Barcodes(sheet, mapping, recombination, [count[barcode] > 1 for barcode in mapping])


def describe_ambiguous(barcodes: Barcodes) -> str | None:
    """Say in one sentence which guides cannot be told apart, or None."""
    rows = defaultdict(list)
    for row, barcode, ambiguous in zip(
        barcodes.sheet.rows, barcodes.mapping, barcodes.ambiguous, strict=True
    ):
        if ambiguous:
            rows[barcode].append(row)
    if not rows:
        return None
    groups = "; ".join(
        f"{barcode} in {name_rows(rows[barcode])}" for barcode in [*rows][:MAX_NAMED]
    )
    more = f"; and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
    return (
        f"The barcode library {barcodes.sheet.path} has {sum(barcodes.ambiguous)} guides that "
        f"share their barcode with another one at the positions read, so that reads of it "
        f"are not assigned: {groups}{more}."
    )


def _in_capitals(sheet: Sheet, names: Collection[str]) -> Sheet:
    columns = {
        name: [value.upper() for value in values] if name in names else values
        for name, values in sheet.columns.items()
    }
    return Sheet(sheet.path, columns, sheet.rows)


def _check_positions(positions: Sequence[int], n_positions: int) -> list[str]:
    beyond = sorted({position for position in positions if position > n_positions})
    if not beyond:
        return []
    return [
        f"config keys sbs.mapping_cycles and sbs.recombination_cycles name position "
        f"{name_some(beyond)}, but only {n_positions} barcode positions are sequenced."
    ]


def _check_sequences(sheet: Sheet, name: str, length: int) -> list[str]:
    subject = f"The barcode library {sheet.path}"
    problems = []
    wrong = {value for value in sheet.columns[name] if not _SEQUENCE.fullmatch(value)}
    if wrong:
        shown = name_some([f'"{value}"' for value in sorted(wrong)])
        rows = name_rows(sheet.rows_where(name, wrong))
        problems.append(
            f"{subject} has letters other than A, C, G and T in {name} {shown} ({rows})."
        )
    short = {value for value in sheet.columns[name] if len(value) < length} - wrong
    if short:
        rows = sheet.rows_where(name, short)
        shortest = min(map(len, short))
        problems.append(
            f"{subject} has a sequence ({name}) of {shortest} bases, shorter than the "
            f"{length} sequenced cycles ({name_rows(rows)}): give longer sequences, "
            "or leave cycles out by sbs.skip_cycles."
        )
    return problems


def _cut(
    sequences: Sequence[str], positions: Sequence[int], failed_positions: Collection[int]
) -> list[str]:
    """Cut sequences to the positions read, with N at those that failed."""
    cut = [sequence[: len(positions)] for sequence in sequences]
    failed = [index for index, position in enumerate(positions) if position in failed_positions]
    for index in failed:
        cut = [f"{barcode[:index]}N{barcode[index + 1 :]}" for barcode in cut]
    return cut


def _check_duplicates(sheet: Sheet, mapping: Sequence[str]) -> None:
    """Refuse a guide that stands there twice; it may have several different prefixes."""
    rows = defaultdict(list)
    for row, guide in zip(
        sheet.rows, zip(sheet.columns["sgRNA"], mapping, strict=True), strict=True
    ):
        rows[guide].append(row)
    twice = {guide: found for guide, found in rows.items() if len(found) > 1}
    if not twice:
        return
    named = name_some([f"{sgrna} ({name_rows(found)})" for (sgrna, _), found in twice.items()])
    raise InputError(
        f"The barcode library {sheet.path} has {len(twice)} "
        f"guide{'s' if len(twice) > 1 else ''} more than once: {named}: keep one row of each."
    )
