"""Sample sheets: which raw files make up which tile.

A sheet has one row per raw file of a tile (and cycle). It is read and checked
at every parse of the workflow, so the index is a plain dictionary, and a row
becomes an object only when somebody asks for it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations

from lib.shared.errors import InputError
from lib.shared.layout import is_omero_image
from lib.shared.sheets import (
    MAX_NAMED,
    Sheet,
    name_rows,
    name_some,
    natural_key,
    read_sheet,
    without_collection,
)

SBS_COLUMNS = ("sample_fp", "plate", "well", "tile", "cycle")
PHENOTYPE_COLUMNS = ("sample_fp", "plate", "well", "tile")
OPTIONAL_COLUMNS = ("channel", "round", "z", "position")
NUMBER_COLUMNS = ("cycle", "z", "position")
PLACE_COLUMNS = ("plate", "well", "tile", "cycle")
PLANE_COLUMNS = ("round", "channel", "z")

# What P-{plate}_W-{well}_T-{tile} can carry and give back unchanged on any file system.
_NAME = re.compile(r"[A-Za-z0-9.+-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,6}")

Tile = tuple[str, str, str]  # plate, well, tile
Plane = tuple[str, str, str]  # round, channel, z, as written


@dataclass(frozen=True)
class SampleRow:
    """One row of a sample sheet: a raw file and the part of a tile that it holds."""

    path: str
    channel: str | None
    round: str | None
    z: int | None
    position: int | None
    sheet: str
    row: int


@dataclass(frozen=True)
class SkippedTile:
    """A tile that is left out, and why."""

    plate: str
    well: str
    tile: str
    reason: str


@dataclass(frozen=True)
class Samples:
    """The tiles of one sample sheet, and the rows behind each.

    Attributes
    ----------
    sheet : the rows that are used (selected plates and wells, used cycles).
    skipped : incomplete tiles that are left out.
    barcode_cycles : the cycle of each barcode position, failed cycles included;
        empty for a phenotype sheet.
    """

    sheet: Sheet
    skipped: tuple[SkippedTile, ...]
    barcode_cycles: tuple[int, ...]
    _index: dict[Tile, dict[int | None, tuple[int, ...]]] = field(repr=False)
    _tiles: dict[str, dict[str, tuple[str, ...]]] = field(repr=False)

    @property
    def plates(self) -> tuple[str, ...]:
        """Plates in natural order."""
        return tuple(self._tiles)

    def wells(self, plate: str) -> tuple[str, ...]:
        """Wells of a plate in natural order."""
        if plate not in self._tiles:
            known = ", ".join(self._tiles)
            raise InputError(
                f"The sample sheet {self.sheet.path} has no plate {plate}: it has {known}."
            )
        return tuple(self._tiles[plate])

    def tiles(self, plate: str, well: str) -> tuple[str, ...]:
        """Tiles of a well in natural order."""
        if well not in self.wells(plate):
            known = ", ".join(self._tiles[plate])
            place = f"no well {well} on plate {plate}"
            raise InputError(f"The sample sheet {self.sheet.path} has {place}: it has {known}.")
        return self._tiles[plate][well]

    def cycles(self, plate: str, well: str, tile: str) -> tuple[int, ...]:
        """Cycles of a tile whose images are used, ascending; none in a phenotype sheet."""
        return tuple(cycle for cycle in self._cycles(plate, well, tile) if cycle is not None)

    def sources(
        self, plate: str, well: str, tile: str, cycle: int | None = None
    ) -> list[SampleRow]:
        """Rows that make up a tile (at one cycle), by round, then in sheet order."""
        by_cycle = self._cycles(plate, well, tile)
        if cycle not in by_cycle:
            place = f"no cycle {cycle} for {_describe((plate, well, tile))}"
            raise InputError(f"The sample sheet {self.sheet.path} has {place}.")
        rows = [self._row(index) for index in by_cycle[cycle]]
        return sorted(rows, key=lambda row: natural_key(row.round or ""))

    def every_well(self) -> Iterator[tuple[str, str]]:
        """Yield (plate, well) in natural order."""
        for plate, wells in self._tiles.items():
            for well in wells:
                yield plate, well

    def every_tile(self) -> Iterator[Tile]:
        """Yield (plate, well, tile) in natural order."""
        yield from self._index

    def _cycles(self, plate: str, well: str, tile: str) -> dict[int | None, tuple[int, ...]]:
        if (plate, well, tile) not in self._index:
            place = f"no {_describe((plate, well, tile))}"
            raise InputError(f"The sample sheet {self.sheet.path} has {place}.")
        return self._index[plate, well, tile]

    def _row(self, index: int) -> SampleRow:
        def text(name: str) -> str | None:
            return self.sheet.columns[name][index] or None if name in self.sheet.columns else None

        def number(name: str) -> int | None:
            value = text(name)
            return None if value is None else int(value)

        return SampleRow(
            path=self.sheet.columns["sample_fp"][index],
            channel=text("channel"),
            round=text("round"),
            z=number("z"),
            position=number("position"),
            sheet=self.sheet.path,
            row=self.sheet.rows[index],
        )


@without_collection()
def read_sbs_samples(
    path: str | os.PathLike,
    *,
    channel_names: Sequence[str] = (),
    base_channels: Sequence[str] = (),
    no_dapi_cycles: Collection[int] = (),
    skip_cycles: Sequence[int] = (),
    failed_cycles: Sequence[int] = (),
    plate_filter: Sequence[str] = (),
    well_filter: Sequence[str] = (),
    incomplete_tiles: str = "error",
    check_files: bool = True,
) -> Samples:
    """Read and check the sample sheet of the sequencing images.

    Parameters
    ----------
    channel_names : channels that each tile must have at each cycle, where the
        sheet has a column channel; empty checks only tiles against each other.
    base_channels, no_dapi_cycles : channels that a tile has at the cycles named.
    skip_cycles, failed_cycles : cycles whose images are not used.
    plate_filter, well_filter : plates and wells to keep; empty keeps all.
    incomplete_tiles : "error", or "skip" to leave such tiles out (`Samples.skipped`).
    check_files : whether to look for the raw files.

    Raises `InputError`, with one sentence per line, for anything wrong in it.
    """
    sheet = _read_checked(path, SBS_COLUMNS, channel_names)
    sheet = _filter(_filter(sheet, "plate", plate_filter), "well", well_filter)
    _check_duplicates(sheet)
    imaged = {int(cycle) for cycle in set(sheet.columns["cycle"])}
    _check_cycles_known(sheet, imaged, no_dapi_cycles, "no_dapi_cycles")
    positions = _barcode_cycles(sheet, imaged, skip_cycles, failed_cycles)
    unused = {*skip_cycles, *failed_cycles}
    used = [index for index, cycle in enumerate(sheet.columns["cycle"]) if int(cycle) not in unused]
    sheet = sheet.select(used) if len(used) < len(sheet) else sheet
    cycles = [int(cycle) for cycle in sheet.columns["cycle"]]
    channels = {
        cycle: base_channels if cycle in no_dapi_cycles else channel_names for cycle in cycles
    }
    return _build(sheet, cycles, channels, incomplete_tiles, check_files, positions)


@without_collection()
def read_phenotype_samples(
    path: str | os.PathLike,
    *,
    channel_names: Sequence[str] = (),
    plate_filter: Sequence[str] = (),
    well_filter: Sequence[str] = (),
    incomplete_tiles: str = "error",
    check_files: bool = True,
) -> Samples:
    """Read and check the sample sheet of the phenotype images.

    Parameters and errors are those of `read_sbs_samples`; there are no cycles.
    """
    sheet = _read_checked(path, PHENOTYPE_COLUMNS, channel_names)
    sheet = _filter(_filter(sheet, "plate", plate_filter), "well", well_filter)
    _check_duplicates(sheet)
    cycles, channels = [None] * len(sheet), {None: channel_names}
    return _build(sheet, cycles, channels, incomplete_tiles, check_files, ())


def sample_tiles(tiles: Sequence[str], most: int, seed: int) -> list[str]:
    """At most `most` of `tiles`, drawn by `seed`, in their order."""
    if len(tiles) <= most:
        return list(tiles)
    import numpy as np

    chosen = np.random.default_rng(seed).choice(len(tiles), most, replace=False)
    return [tiles[index] for index in sorted(chosen)]


# ---------------------------------------------------------------- rows


def _read_checked(
    path: str | os.PathLike, required: Sequence[str], channel_names: Sequence[str]
) -> Sheet:
    """Read a sheet and check each field on its own."""
    sheet = read_sheet(path, required, OPTIONAL_COLUMNS, "sample sheet")
    problems = []
    for name in ("plate", "well", "tile"):
        wrong = {value for value in set(sheet.columns[name]) if not _NAME.fullmatch(value)}
        if wrong:
            problems.append(
                f"{_say_field(sheet, name, wrong)}: at most 64 letters, digits, '-', '+' and '.' "
                "can be part of a file name here."
            )
    for name in NUMBER_COLUMNS:
        wrong = {v for v in set(sheet.columns.get(name, ())) if v and not _NUMBER.fullmatch(v)}
        if wrong:
            problems.append(
                f"{_say_field(sheet, name, wrong)}: it must be a whole number below a million."
            )
    if channel_names:
        wrong = set(sheet.columns.get("channel", ())) - {"", *channel_names}
        for value in sorted(wrong):
            close = get_close_matches(value, channel_names, n=1)
            hint = f"did you mean {close[0]}?" if close else "add it there or correct the row."
            problems.append(
                f"{_say_field(sheet, 'channel', {value})}, which is none of channel_names "
                f"({', '.join(channel_names)}): {hint}"
            )
    if problems:
        raise InputError("\n".join(problems))
    return _with_plain_numbers(sheet)


def _with_plain_numbers(sheet: Sheet) -> Sheet:
    """Write numbers without leading zeros, so that equal ones are equal as text."""
    columns = dict(sheet.columns)
    for name in NUMBER_COLUMNS:
        values = columns.get(name, [])
        plain = {value: str(int(value)) if value else "" for value in set(values)}
        if any(value != number for value, number in plain.items()):
            columns[name] = [plain[value] for value in values]
    return Sheet(sheet.path, columns, sheet.rows)


def _say_field(sheet: Sheet, name: str, values: set[str]) -> str:
    shown = name_some([f'"{value}"' for value in sorted(values, key=natural_key)])
    rows = sheet.rows_where(name, values)
    return f"The sample sheet {sheet.path} gives the {name} {shown} in {name_rows(rows)}"


def _filter(sheet: Sheet, name: str, values: Sequence[str]) -> Sheet:
    if not values:
        return sheet
    known = set(sheet.columns[name])
    unknown = [value for value in values if value not in known]
    if unknown:
        raise InputError(
            f"config key all.{name}_filter names {', '.join(unknown)}, but the sample sheet "
            f"{sheet.path} has the {name}s {', '.join(sorted(known, key=natural_key))}."
        )
    wanted = set(values)
    return sheet.select([i for i, value in enumerate(sheet.columns[name]) if value in wanted])


def _check_duplicates(sheet: Sheet) -> None:
    """Refuse two rows for one plane of a tile, and one image for two of them."""
    plane = _key_columns(sheet, (*PLACE_COLUMNS, *PLANE_COLUMNS))
    image = _key_columns(sheet, ("sample_fp", "position", "channel", "z"))
    pairs = _repeats(plane)
    named = set(pairs)
    problems = _say_pairs(
        sheet,
        pairs,
        lambda one, _: f"both give {_say_plane(sheet, one)}",
        "keep one, or tell them apart by a column channel, round or z",
    )
    problems += _say_pairs(
        sheet,
        [pair for pair in _repeats(image) if pair not in named],
        lambda one, two: (
            f"both take {sheet.columns['sample_fp'][one]}, for {_say_plane(sheet, one)} "
            f"and for {_say_plane(sheet, two)}"
        ),
        "correct one, or tell the images inside the file apart by a column position",
    )
    if problems:
        raise InputError("\n".join(problems))


def _check_overlaps(
    sheet: Sheet, groups: Mapping[Tile, Mapping[int | None, Sequence[int]]]
) -> None:
    """Refuse a file for a whole tile beside files for single channels or planes of it."""
    if not any("" in sheet.columns.get(name, ()) for name in ("channel", "z")):
        return
    planes = _planes(sheet)
    pairs = [
        (one, two)
        for by_cycle in groups.values()
        for rows in by_cycle.values()
        for one, two in combinations(rows, 2)
        if _overlap(planes[one], planes[two])
    ]
    problems = _say_pairs(
        sheet,
        pairs,
        lambda one, two: f"overlap: {_say_plane(sheet, one)} and {_say_plane(sheet, two)}",
        "keep one, or fill in channel and z in both",
    )
    if problems:
        raise InputError("\n".join(problems))


def _key_columns(sheet: Sheet, names: Sequence[str]) -> list[tuple]:
    columns = [sheet.columns[name] for name in names if name in sheet.columns]
    return list(zip(*columns, strict=True))


def _repeats(keys: list[tuple]) -> list[tuple[int, int]]:
    """List (first, later) index pairs of equal keys."""
    if len(set(keys)) == len(keys):
        return []
    first: dict[tuple, int] = {}
    found = ((first.setdefault(key, index), index) for index, key in enumerate(keys))
    return [(one, two) for one, two in found if one != two]


def _say_pairs(
    sheet: Sheet,
    pairs: list[tuple[int, int]],
    what: Callable[[int, int], str],
    advice: str,
) -> list[str]:
    sentences = [
        f"The sample sheet {sheet.path}: rows {sheet.rows[one]} and {sheet.rows[two]} "
        f"{what(one, two)}: {advice}."
        for one, two in pairs[:MAX_NAMED]
    ]
    if len(pairs) > MAX_NAMED:
        more = len(pairs) - MAX_NAMED
        sentences.append(f"The sample sheet {sheet.path} has {more} more such pairs of rows.")
    return sentences


def _say_plane(sheet: Sheet, index: int) -> str:
    names = (*PLACE_COLUMNS, *PLANE_COLUMNS)
    given = [(name, sheet.columns[name][index]) for name in names if name in sheet.columns]
    return ", ".join(f"{name} {value}" for name, value in given if value)


# ---------------------------------------------------------------- cycles and tiles


def _barcode_cycles(
    sheet: Sheet, imaged: set[int], skip_cycles: Sequence[int], failed_cycles: Sequence[int]
) -> tuple[int, ...]:
    """Give the cycle of each barcode position, and refuse unexplained gaps."""
    _check_cycles_known(sheet, imaged, skip_cycles, "skip_cycles")
    _check_cycles_known(sheet, imaged, failed_cycles, "failed_cycles")
    known = imaged | set(failed_cycles) | set(skip_cycles)
    gaps = [cycle for cycle in _span(imaged) if cycle not in known]
    if gaps:
        raise InputError(
            f"The sample sheet {sheet.path} has cycles up to {max(imaged)} but no cycle "
            f"{name_some(gaps)}: add the rows, or name the cycle in sbs.failed_cycles "
            "(its chemistry was done) or sbs.skip_cycles (it is no part of the sequence)."
        )
    if not imaged - set(skip_cycles) - set(failed_cycles):
        raise InputError(
            f"The sample sheet {sheet.path} has no cycle that sbs.skip_cycles and "
            "sbs.failed_cycles leave to use."
        )
    return tuple(sorted(known - set(skip_cycles)))


def _check_cycles_known(sheet: Sheet, imaged: set[int], cycles: Collection[int], key: str) -> None:
    beyond = [cycle for cycle in sorted(cycles) if cycle not in _span(imaged)]
    if beyond:
        raise InputError(
            f"config key sbs.{key} names cycle {name_some(beyond)}, but the sample sheet "
            f"{sheet.path} has cycles {min(imaged)} to {max(imaged)}: leave it out there."
        )


def _span(imaged: set[int]) -> range:
    """Cycles that a sheet must account for; the first one is 1, or 0 where that is imaged."""
    return range(min(*imaged, 1), max(imaged) + 1)


def _build(
    sheet: Sheet,
    cycles: Sequence[int | None],
    channels: Mapping[int | None, Sequence[str]],
    incomplete_tiles: str,
    check_files: bool,
    barcode_cycles: tuple[int, ...],
) -> Samples:
    groups = _group(sheet, cycles)
    _check_overlaps(sheet, groups)
    _check_channels(sheet, cycles, channels)
    skipped = _incomplete(sheet, groups, set(cycles))
    if skipped and incomplete_tiles == "error":
        first = sorted(skipped, key=_tile_key)[:MAX_NAMED]
        named = "; ".join(f"{_describe(tile)} lacks {skipped[tile]}" for tile in first)
        more = f"; and {len(skipped) - MAX_NAMED} more" if len(skipped) > MAX_NAMED else ""
        raise InputError(
            f"The sample sheet {sheet.path} has {len(skipped)} incomplete tile"
            f"{'s' if len(skipped) > 1 else ''}: {named}{more}: add the rows, or set "
            "all.incomplete_tiles to skip to leave such tiles out."
        )
    if len(skipped) == len(groups):
        tile = min(skipped, key=_tile_key)
        why = f"{_describe(tile)}, for one, lacks {skipped[tile]}"
        raise InputError(f"The sample sheet {sheet.path} has no complete tile: {why}.")
    kept = sorted(groups.keys() - skipped.keys(), key=_tile_key)
    index = {
        tile: {cycle: tuple(rows) for cycle, rows in sorted(groups[tile].items())} for tile in kept
    }
    if check_files:
        used = (row for tile in index.values() for rows in tile.values() for row in rows)
        _check_files(sheet, used)
    tiles: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for plate, well, tile in index:
        tiles[plate][well].append(tile)
    return Samples(
        sheet=sheet,
        skipped=tuple(
            SkippedTile(*tile, f"lacks {skipped[tile]}") for tile in sorted(skipped, key=_tile_key)
        ),
        barcode_cycles=barcode_cycles,
        _index=index,
        _tiles={
            plate: {well: tuple(names) for well, names in wells.items()}
            for plate, wells in tiles.items()
        },
    )


def _group(sheet: Sheet, cycles: Sequence[int | None]) -> dict[Tile, dict[int | None, list[int]]]:
    """Index the rows by tile and cycle."""
    groups: dict[Tile, dict[int | None, list[int]]] = {}
    keys = zip(sheet.columns["plate"], sheet.columns["well"], sheet.columns["tile"], strict=True)
    for index, (key, cycle) in enumerate(zip(keys, cycles, strict=True)):
        by_cycle = groups.get(key)
        if by_cycle is None:
            by_cycle = groups[key] = {}
        if cycle in by_cycle:
            by_cycle[cycle].append(index)
        else:
            by_cycle[cycle] = [index]
    return groups


def _check_channels(
    sheet: Sheet, cycles: Sequence[int | None], channels: Mapping[int | None, Sequence[str]]
) -> None:
    """Refuse channels that a sheet naming channels gives to no tile (at some cycle)."""
    if "channel" not in sheet.columns:
        return
    given: dict[int | None, set[str]] = defaultdict(set)
    for cycle, channel in zip(cycles, sheet.columns["channel"], strict=True):
        given[cycle].add(channel)
    problems = []
    for cycle in sorted(given, key=lambda cycle: cycle or 0):
        missing = [name for name in channels[cycle] if name not in given[cycle]]
        # A row without a channel is a file that holds them all.
        if missing and "" not in given[cycle]:
            place = "" if cycle is None else f" of cycle {cycle}"
            problems.append(
                f"The sample sheet {sheet.path} has no row{place} for the channel "
                f"{name_some(missing)} of channel_names: add the rows or correct channel_names."
            )
    if problems:
        raise InputError("\n".join(problems[:MAX_NAMED]))


def _incomplete(
    sheet: Sheet,
    groups: dict[Tile, dict[int | None, list[int]]],
    cycles: set[int | None],
) -> dict[Tile, str]:
    """Say of each incomplete tile what it lacks: a cycle, or a plane that others have."""
    lacks: dict[Tile, list[str]] = defaultdict(list)
    for tile, by_cycle in groups.items():
        if len(by_cycle) < len(cycles):
            lacks[tile].append(f"cycle {name_some(sorted(cycles - by_cycle.keys()))}")
    named = any(name in sheet.columns for name in PLANE_COLUMNS)
    planes = _planes(sheet) if named else []
    for cycle in cycles if named else ():
        held = {
            tile: frozenset(planes[index] for index in by_cycle[cycle])
            for tile, by_cycle in groups.items()
            if cycle in by_cycle
        }
        kinds = set(held.values())
        every = frozenset().union(*kinds)
        absent = {own: _absent(every, own) for own in kinds}
        for tile, own in held.items():
            if absent[own]:
                where = "" if cycle is None else f" at cycle {cycle}"
                lacks[tile].append(absent[own] + where)
    return {tile: ", ".join(reasons) for tile, reasons in lacks.items()}


def _planes(sheet: Sheet) -> list[Plane]:
    """What each row holds of its tile: (round, channel, z), empty where it holds them all."""
    blank = [""] * len(sheet)
    columns = [sheet.columns.get(name, blank) for name in PLANE_COLUMNS]
    return list(zip(*columns, strict=True))


def _absent(every: Collection[Plane], own: Collection[Plane]) -> str:
    """Say which planes of `every` no row of `own` holds."""
    absent = [plane for plane in every if not any(_overlap(plane, other) for other in own)]
    absent.sort(key=lambda plane: [*map(natural_key, plane)])
    return name_some([_say_parts(plane) for plane in absent]) if absent else ""


def _overlap(one: Plane, two: Plane) -> bool:
    """Whether two rows hold the same plane; one without a channel or z holds all of them."""
    parts = zip(one[1:], two[1:], strict=True)
    return one[0] == two[0] and all(a == b or not a or not b for a, b in parts)


def _say_parts(plane: Plane) -> str:
    named = zip(PLANE_COLUMNS, plane, strict=True)
    return " ".join(f"{name} {value}" for name, value in named if value) or "the first round"


def _tile_key(tile: Tile) -> tuple:
    return tuple(map(natural_key, tile))


def _describe(tile: Tile) -> str:
    return "plate {}, well {}, tile {}".format(*tile)


# ---------------------------------------------------------------- files


def _check_files(sheet: Sheet, indices: Iterable[int]) -> None:
    """Refuse raw files that do not exist, asking each folder only once.

    Those that a rule fetches from OMERO may be missing.
    """
    listings: dict[str, set[str]] = {}
    missing = []
    paths = sheet.columns["sample_fp"]
    rows = {paths[index].rstrip("/"): sheet.rows[index] for index in indices}
    for path, row in rows.items():
        folder, _, name = path.rpartition("/")
        if folder not in listings:
            listings[folder] = _list_folder(folder or ("/" if path.startswith("/") else "."))
        # Links and names such as ".." are in no listing, yet may exist.
        if name in listings[folder] or os.path.exists(path):
            continue
        if not is_omero_image(path):
            missing.append((row, path))
    if missing:
        named = name_some([f"{path} (row {row})" for row, path in sorted(missing)])
        raise InputError(
            f"The sample sheet {sheet.path} names {len(missing)} raw file"
            f"{'s that do' if len(missing) > 1 else ' that does'} not exist: {named}: "
            "correct sample_fp (relative paths count from the working directory)."
        )


def _list_folder(folder: str) -> set[str]:
    """Names in a folder, without links, which may point nowhere."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_symlink()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
