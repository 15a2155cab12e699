"""Which guide a cell carries, by probability: empty, one guide, or two.

The reads of guide g in cell c, weighted by the probability that they are decoded right, add
up to m. If c carries g, m is a draw from the law of reads per guide (negative
binomial). If not, they came from elsewhere: leaked from neighbours that hold reads of g, or
are strays, and m is a draw from a wide negative binomial law (borders are drawn wrong for
several reads at once) of mean

    leak * (reads of g in the cells that these reads lie near) + stray * (share of g).

With x_g = share_g * P(m | carried) / P(m | foreign), a cell is empty with weight e, carries one
guide with weight (1 - e - d) * sum x_g, and two with weight d * sum over pairs 2 x_g x_h. The
shares e and d, leak, stray and the law of reads are estimated by expectation maximisation
over all cells of the well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.sbs.cell_calling import KEYS, place_cells, spread_ranks

ROUNDS = 15
LEAST = 1e-4  # of any share or rate that is estimated
PRIOR_CELLS = 5.0  # weight of the starting values
CLUMPED = 0.3  # size of the negative binomial law of foreign reads
CALLED = 0.5  # probability from which a guide is said to be a cell's


@dataclass(frozen=True)
class CellLaw:
    """Rates estimated from the cells of a well; see the module."""

    empty: float = 0.1
    double: float = 0.05
    leak: float = 0.02
    stray: float = 0.02
    mean: float = 5.0
    size: float = 3.0  # of the negative binomial law: the smaller, the wider


@dataclass(frozen=True)
class CellPosterior:
    """Probabilities of groups (one per cell and guide) and of their cells.

    carried : (g,) that the cell carries this guide. single : (g,) this guide and no other.
    double : (c,) that it carries two. empty : (c,) that it carries none.
    """

    carried: np.ndarray
    single: np.ndarray
    double: np.ndarray
    empty: np.ndarray


def call_cells_by_evidence(reads: pd.DataFrame, info: pd.DataFrame) -> tuple[pd.DataFrame, CellLaw]:
    """Rank the guides of each cell by the probability that it carries them.

    Parameters
    ----------
    reads : reads table of a well by the posterior caller.
    info : one row per cell: `plate, well, tile, cell, i, j`.

    Returns the columns of `lib.sbs.cell_calling.call_cells` and `p_barcode` (probability
    that the cell carries its first guide) and `p_doublet` (that it carries two guides), and the
    law they rest on. Guides come first, by probability, then other barcodes by number.
    `sgRNA_r` and `gene_symbol_r` are null where the reads are more likely foreign.
    `mapped_single_gene`: more likely than not, the cell carries guides of its first gene only.
    Reads known to be recombined do not count.
    """
    reads = reads[reads["cell"] > 0]
    if "recombined" in reads:
        reads = reads[~reads["recombined"].fillna(False).astype(bool)]
    groups = gather(reads)
    number = groups.groupby(KEYS, sort=True).ngroup().to_numpy()
    total = groups.groupby("barcode")["support"].transform("sum").to_numpy()
    share = total / max(groups["support"].sum(), LEAST)
    columns = {name: groups[name].to_numpy(float) for name in ("support", "nearby")}
    law = estimate_law(number, share, columns, len(info))
    found = weigh_cells(number, share, columns, law)

    groups["carried"] = found.carried
    groups["p_doublet"] = found.double[number]
    groups["one_gene"] = _one_gene(number, pd.factorize(groups["gene_symbol"])[0], found)
    groups["guide"] = True
    ranked = _rank(pd.concat([groups, _unmapped(reads)], ignore_index=True))
    first = ranked[ranked["rank"] == 0].reset_index(drop=True)
    called = ranked["carried"] >= CALLED
    for name in _names(reads):
        ranked[name] = ranked[name].where(called)
    cells = spread_ranks(ranked, reads)
    cells["mapped_single_gene"] = (first["carried"] >= CALLED) & (first["one_gene"] >= CALLED)
    cells["p_barcode"] = first["carried"].astype("float32")
    cells["p_doublet"] = first["p_doublet"].astype("float32")
    return place_cells(cells, info), law


def gather(reads: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and guide, from the accepted reads: `support`, `nearby`, `count`, `peak`.

    `support` is the sum of the posteriors, `nearby` the mean of the reads' `near_support`
    (weighted by posterior), `count` their number and `peak` the sum of their peaks.
    """
    decoded = reads[(reads["cell"] > 0) & reads["sgRNA"].notna()]
    posterior = decoded["posterior"].astype(float)
    table = decoded.assign(
        barcode=decoded["barcode_library"],
        support=posterior,
        nearby=posterior * decoded["near_support"],
    )
    groups = (
        table.groupby([*KEYS, "barcode"], sort=True)
        .agg(
            support=("support", "sum"),
            nearby=("nearby", "sum"),
            count=("read", "size"),
            peak=("peak", "sum"),
            **{name: (name, "first") for name in _names(reads)},
        )
        .reset_index()
    )
    groups["nearby"] /= groups["support"]
    return groups


def near_support(
    tile: np.ndarray,
    cell: np.ndarray,
    near: np.ndarray,
    guide: np.ndarray,
    posterior: np.ndarray,
) -> np.ndarray:
    """Support (n,) of each read's guide in the cells that it lies near, but not in.

    `near` (k, n) are labels, 0 for none; `guide` (n,) is -1 where there is none.
    """
    tiles = np.unique(tile, return_inverse=True)[1]
    counted = pd.DataFrame({"tile": tiles, "cell": cell, "guide": guide, "support": posterior})
    counted = counted[(cell > 0) & (guide >= 0)]
    sums = counted.groupby(["tile", "cell", "guide"])["support"].sum()
    total = np.zeros(len(cell), np.float32)
    for label in near:
        keys = pd.MultiIndex.from_arrays([tiles, label, guide])
        found = sums.reindex(keys, fill_value=0).to_numpy()
        total += np.where(label != cell, found, 0)
    return total


def log_binomial(support: np.ndarray, mean: np.ndarray | float, size: float) -> np.ndarray:
    """Log-probability of a support, which need not be whole, in a negative binomial law."""
    from scipy.special import gammaln

    log = gammaln(support + size) - gammaln(size) - gammaln(support + 1)
    return log + size * np.log(size / (mean + size)) + support * np.log(mean / (mean + size))


def weigh_cells(
    cell: np.ndarray, share: np.ndarray, groups: Mapping[str, np.ndarray], law: CellLaw
) -> CellPosterior:
    """Probabilities of the states of each cell.

    `cell` (g,) counts cells from 0, `share` (g,) is that of the guide among all reads,
    `groups` holds `support` and `nearby` (g,).
    """
    count = int(cell.max(initial=-1)) + 1
    support = np.asarray(groups["support"])
    foreign = log_binomial(support, sum(_foreign_rates(share, groups, law)), CLUMPED)
    carried = log_binomial(support, law.mean, law.size)
    factor = share * np.exp(np.clip(carried - foreign, -60, 60))
    unseen = _unseen(law)
    total = np.bincount(cell, factor, minlength=count) + unseen
    square = np.bincount(cell, factor**2, minlength=count) + unseen**2
    one = 1 - law.empty - law.double
    pairs = np.maximum(total**2 - square, 0)
    weight = law.empty + one * total + law.double * pairs
    single = one * factor / weight[cell]
    together = law.double * 2 * factor * np.maximum(total[cell] - factor, 0) / weight[cell]
    return CellPosterior(
        np.minimum(single + together, 1), single, law.double * pairs / weight, law.empty / weight
    )


def estimate_law(
    cell: np.ndarray, share: np.ndarray, groups: Mapping[str, np.ndarray], cells: int
) -> CellLaw:
    """Rates by expectation maximisation; `cells` counts those without any read, too."""
    law = start = CellLaw()
    if not len(cell):
        return law
    seen, support = int(cell.max()) + 1, np.asarray(groups["support"])
    for _ in range(ROUNDS):
        found = weigh_cells(cell, share, groups, law)
        unseen = _unseen(law)
        one = 1 - law.empty - law.double
        blank = law.empty / (law.empty + one * unseen + law.double * unseen**2)
        empty = found.empty.sum() + (cells - seen) * blank
        rates = _foreign_rates(share, groups, law)
        foreign = (1 - found.carried) * support / sum(rates)
        leaked, stray = ((foreign * rate).sum() for rate in rates)
        weight = found.carried
        mean = (weight @ support) / max(weight.sum(), LEAST)
        spread = weight @ (support - mean) ** 2 / max(weight.sum(), LEAST)
        size = mean**2 / max(spread - mean, 0.02 * mean, LEAST)
        law = CellLaw(
            empty=min(_rate(empty, cells, start.empty), 0.9),
            double=min(_rate(found.double.sum(), cells, start.double), 0.5),
            leak=_rate(leaked, support.sum(), start.leak),
            stray=_rate(stray, cells, start.stray),
            mean=float(max(mean, 0.5)),
            size=float(np.clip(size, 0.3, 50.0)),
        )
    return law


def _unseen(law: CellLaw) -> float:
    """Probability that none of a carried guide's reads is found."""
    return float(np.exp(log_binomial(np.zeros(1), law.mean, law.size))[0])


def _foreign_rates(
    share: np.ndarray, groups: Mapping[str, np.ndarray], law: CellLaw
) -> tuple[np.ndarray, np.ndarray]:
    """Expected foreign reads (g,) that leaked from neighbours, and that are strays."""
    return law.leak * np.asarray(groups["nearby"]), law.stray * share


def _rate(events: float, exposed: float, start: float) -> float:
    """Events per exposed, held to `start` by a few."""
    rate = (events + PRIOR_CELLS * start) / (exposed + PRIOR_CELLS)
    return float(np.clip(rate, LEAST, 1.0))


def _one_gene(cell: np.ndarray, gene: np.ndarray, found: CellPosterior) -> np.ndarray:
    """Probability (g,) that the cell carries guides of this group's gene and no other."""
    if not len(cell):
        return np.zeros(0)
    kind = np.unique(np.stack([cell, gene]), axis=1, return_inverse=True)[1].ravel()
    single = np.bincount(kind, found.single)[kind]
    # Two guides of one gene: their part of all doublets, by the weights of pairs.
    total = np.bincount(cell, found.single)[cell]
    square = np.bincount(cell, found.single**2)[cell]
    own_square = np.bincount(kind, found.single**2)[kind]
    pairs = np.maximum(total**2 - square, 1e-300)
    return single + found.double[cell] * np.maximum(single**2 - own_square, 0) / pairs


def _rank(table: pd.DataFrame) -> pd.DataFrame:
    """Barcodes of each cell in order, with their `rank` from 0."""
    order = [*KEYS, "guide", "carried", "count", "peak", "barcode"]
    ascending = [True] * len(KEYS) + [False] * 4 + [True]
    table = table.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)
    table["rank"] = table.groupby(KEYS, sort=False).cumcount().astype(np.int64)
    return table


def _unmapped(reads: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and barcode of reads that are no accepted guide's."""
    others = reads[reads["sgRNA"].isna()]
    table = others.groupby([*KEYS, "barcode"], sort=True).agg(
        count=("read", "size"), peak=("peak", "sum")
    )
    return table.reset_index().assign(guide=False, carried=0.0, p_doublet=0.0, one_gene=0.0)


def _names(reads: pd.DataFrame) -> list[str]:
    return ["sgRNA", "gene_symbol"] + (["gene_id"] if "gene_id" in reads else [])
