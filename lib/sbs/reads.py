"""The reads table: bases of a well in, called and decoded reads out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.sbs.base_calling import BaseCalls, call_bases, confident_reads, spell
from lib.sbs.decoding import match_barcodes
from lib.shared.chemistry import BaseEncoding, base_channels, full_encoding

MUCH_MORE = 2  # times as many reads of a guide speak for the other side of a border


@dataclass(frozen=True)
class Sequencing:
    """What was sequenced: which cycles were read, in what letters, and how barcodes lie in them.

    cycles : cycle numbers of the intensity columns, in order.
    positions : the 0-based place of each of them in the barcode.
    length : letters of a barcode, failed cycles included.
    bases : their letters, in the order in which calls count them.
    channels : the C channels that show them.
    encoding : (B, C) float, 1 where base b shines in channel c; the identity where each base
        has a channel of its own.
    mapping, recombination : 0-based barcode places of a dual barcode's two parts;
        `recombination` None for simple barcodes, whose `mapping` is all places.
    """

    cycles: Sequence[int]
    positions: np.ndarray
    length: int
    bases: str
    channels: Sequence[str]
    encoding: np.ndarray
    mapping: np.ndarray
    recombination: np.ndarray | None = None

    @classmethod
    def plan(
        cls,
        cycles: Sequence[int],
        bases: Sequence[str],
        failed_cycles: Sequence[int] = (),
        mapping_cycles: Sequence[int] | None = None,
        recombination_cycles: Sequence[int] | None = None,
        base_encoding: BaseEncoding | None = None,
    ) -> "Sequencing":
        """Work out the places from the cycles whose images are used.

        The chemistry of failed cycles advanced too: their place stays, as N. The
        parts of a dual barcode are given as places counted from 1. `base_encoding` gives
        the channels of each base, by default the one of its name.
        """
        chemistry = sorted({*cycles, *failed_cycles})
        mapping, recombination = (
            None if places is None else np.array(places, int) - 1
            for places in (mapping_cycles, recombination_cycles)
        )
        shown = full_encoding(bases, base_encoding)
        channels = base_channels(bases, base_encoding)
        return cls(
            cycles=sorted(cycles),
            positions=np.searchsorted(chemistry, sorted(cycles)),
            length=len(chemistry),
            bases="".join(bases),
            channels=channels,
            encoding=np.array([[float(c in shown[base]) for c in channels] for base in bases]),
            mapping=np.arange(len(chemistry)) if mapping is None else mapping,
            recombination=recombination,
        )

    def library_places(self) -> dict:
        """Arguments of `lib.shared.library.read_library`, which counts places from 1."""
        read = {*(self.positions + 1).tolist()}
        simple = self.recombination is None and len(self.mapping) == self.length
        return {
            "n_positions": self.length,
            "failed_positions": [p for p in range(1, self.length + 1) if p not in read],
            "mapping_positions": None if simple else (self.mapping + 1).tolist(),
            "recombination_positions": (
                None if self.recombination is None else (self.recombination + 1).tolist()
            ),
        }

    def intensity_columns(self) -> list[str]:
        """Names of the intensity columns of the bases table, cycle by cycle."""
        return [f"{channel}_{cycle}" for cycle in self.cycles for channel in self.channels]

    def intensities(self, bases: pd.DataFrame, dtype: type) -> np.ndarray:
        """Intensities (n, T, C) of a bases table."""
        shape = (len(bases), len(self.cycles), len(self.channels))
        return bases[self.intensity_columns()].to_numpy(dtype).reshape(shape)


def call_reads(
    bases: pd.DataFrame,
    library: pd.DataFrame,
    sequencing: Sequencing,
    method: str = "median",
    max_mismatches: int = 1,
) -> tuple[pd.DataFrame, BaseCalls]:
    """Call and decode the reads of a well.

    Parameters
    ----------
    bases : one row per spot: `plate, well, tile, read, cell, i, j, peak`, the
        neighbours `cell_near_0` and on, and an intensity column for each cycle and channel.
    library : `sgRNA, gene_symbol, barcode`, for dual barcodes `barcode_recombination`,
        as `lib.shared.library.read_library` gives them.
    max_mismatches : see `lib.sbs.decoding.match_barcodes`.

    Returns the reads table (DESIGN: one row per spot, `sgRNA` and `gene_symbol`
    null when not in the library) and the calls it rests on. `barcode` is as
    called; `barcode_library` the entry it was matched to, `mismatches` letters away.

    Raises ValueError where not every base has a channel of its own.
    """
    if not np.array_equal(sequencing.encoding, np.eye(len(sequencing.bases))):
        raise ValueError(f"{method} needs one channel for each base")
    intensity = sequencing.intensities(bases, np.float32)
    confident = confident_reads(bases["peak"].to_numpy(), bases["cell"].to_numpy() > 0)
    calls = call_bases(intensity, confident, method)
    barcodes = spell(calls.index, sequencing.bases, sequencing.positions, sequencing.length)

    reads = bases[["plate", "well", "tile", "cell", "read", "i", "j"]].copy()
    reads["barcode"] = pd.array(barcodes, dtype="str")
    quality = np.full((len(bases), sequencing.length), np.nan, np.float32)
    quality[:, sequencing.positions] = calls.quality
    names = [f"Q_{position}" for position in range(sequencing.length)]
    reads[names] = quality
    reads["Q_min"] = calls.quality.min(axis=1, initial=1)
    reads["peak"] = bases["peak"]

    match = match_barcodes(
        part(barcodes, sequencing.mapping), library["barcode"].to_numpy("U"), max_mismatches
    )
    entry = match.entry
    for name, column in {
        "barcode_library": "barcode",
        "sgRNA": "sgRNA",
        "gene_symbol": "gene_symbol",
        **({"gene_id": "gene_id"} if "gene_id" in library else {}),
    }.items():
        reads[name] = look_up(library[column], entry)
    reads["mismatches"] = pd.array(match.mismatches, "Int8")
    reads.loc[entry < 0, "mismatches"] = pd.NA
    near = bases.filter(regex=r"^cell_near_\d+$").to_numpy().T
    reads["cell"] = settle_borders(bases["tile"].to_numpy(), reads["cell"].to_numpy(), near, entry)
    if sequencing.recombination is not None:
        reads["recombined"] = find_recombined(
            part(barcodes, sequencing.recombination),
            library["barcode_recombination"].to_numpy("U"),
            entry,
            max_mismatches,
        )
    return reads, calls


def settle_borders(
    tile: np.ndarray, cell: np.ndarray, near: np.ndarray, entry: np.ndarray
) -> np.ndarray:
    """Cell (n,) of each read, when reads at cell borders have gone to the likelier side.

    Cells share borders, and borders are drawn a few pixels wrong: a read may lie in
    a neighbour of the cell that it comes from. A decoded read goes to that one of
    its `near` cells (k, n; 0 for none) that holds most reads of its guide, if it
    holds at least twice as many as the read's own. Reads outside of cells have no
    own. `entry` (n,) is the library entry, -1 for none.
    """
    tiles = np.unique(tile, return_inverse=True)[1]
    counted = pd.DataFrame({"tile": tiles, "cell": cell, "entry": entry})
    counted = counted[(cell > 0) & (entry >= 0)]
    counts = counted.groupby(["tile", "cell", "entry"]).size()

    def support(label: np.ndarray) -> np.ndarray:
        keys = pd.MultiIndex.from_arrays([tiles, label, entry])
        return counts.reindex(keys, fill_value=0).to_numpy()

    others = np.stack([support(label) for label in near])
    best = others.argmax(axis=0)
    reads = np.arange(len(cell))
    most = others[best, reads]
    moves = (most > 0) & (most >= MUCH_MORE * support(cell))
    return np.where(moves, near[best, reads], cell)


def find_recombined(
    barcodes: np.ndarray, expected: np.ndarray, entry: np.ndarray, max_mismatches: int
) -> pd.arrays.BooleanArray:
    """Whether the second part of each dual barcode belongs to another guide than the first.

    Parameters
    ----------
    barcodes : (n,) second parts as called.
    expected : (K,) second parts of the library's guides; they may recur.
    entry : (n,) library entry of the first part, -1 for none.

    Null where it is not known: the first part is not mapped, or the second is
    nearest to no library entry.
    """
    distinct, kind = np.unique(expected, return_inverse=True)
    match = match_barcodes(barcodes, distinct, max_mismatches)
    known = (entry >= 0) & (match.entry >= 0)
    own = kind[np.maximum(entry, 0)] if len(kind) else np.zeros(len(entry), int)
    return pd.arrays.BooleanArray(match.entry != own, ~known)


def part(barcodes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The letters of (n,) barcodes at `places`, as (n,) shorter barcodes."""
    if not len(barcodes):
        return np.array([], f"U{max(len(places), 1)}")
    single = np.ascontiguousarray(barcodes).view("U1").reshape(len(barcodes), -1)
    return np.ascontiguousarray(single[:, places]).view(f"U{len(places)}")[:, 0]


def look_up(values: pd.Series, entry: np.ndarray) -> pd.Series:
    """`values` at `entry`, null at -1."""
    found = values.astype("str").reset_index(drop=True).reindex(entry)
    return found.reset_index(drop=True).set_axis(pd.RangeIndex(len(entry)))


def decoding_table(calls: BaseCalls, sequencing: Sequencing, place: dict[str, str]) -> pd.DataFrame:
    """What the correction of a well rests on: `plate, well, parameter, from, to, value`.

    `crosstalk`: share of base `from` that shows in channel `to`. `scale`: median
    intensity by which channel `to` was divided.
    """
    rows = [
        {"parameter": "crosstalk", "from": base, "to": channel, "value": calls.crosstalk[c, b]}
        for b, base in enumerate(sequencing.bases)
        for c, channel in enumerate(sequencing.channels)
    ]
    rows += [
        {"parameter": "scale", "from": None, "to": channel, "value": calls.scale[c]}
        for c, channel in enumerate(sequencing.channels)
    ]
    return pd.DataFrame([place | row for row in rows])
