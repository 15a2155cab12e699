"""Which guide a cell carries, by probability: empty, one guide, or two.

The reads in and near a cell speak for a guide by a likelihood ratio e: that the cell carries it
against that all of them come from elsewhere (`read_sources`). With x_g = share_g * e_g, a cell is
empty with weight z, carries one guide with weight (1 - z - d) * sum x_g, and two with weight
d * sum over pairs 2 x_g x_h. Guides of which no read was found are included: they have e = P(no
reads), by the law of reads per guide (negative binomial). The shares z and d and that law are
estimated by expectation maximisation over all cells of the well.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.sbs.cell_calling import KEYS, place_cells, spread_ranks

ROUNDS = 15
LEAST = 1e-4  # of any share or rate that is estimated
PRIOR_CELLS = 5.0  # weight of the starting values
CALLED = 0.8  # probability from which a guide is said to be a cell's: a wrong one harms more
MOST_EVIDENCE = 60.0  # logarithm; more makes no difference


@dataclass(frozen=True)
class CellLaw:
    """Rates estimated from the cells of a well; see the module."""

    empty: float = 0.1
    double: float = 0.05
    mean: float = 5.0
    size: float = 3.0  # of the negative binomial law: the smaller, the wider


@dataclass(frozen=True)
class Groups:
    """Reads by cell and guide.

    cell : (g,) cells, counted from 0. share : (g,) the guide's share of all reads.
    support : (g,) the guide's reads in the cell. evidence : (g,) natural logarithm of the ratio
    of likelihoods, see the module.
    """

    cell: np.ndarray
    share: np.ndarray
    support: np.ndarray
    evidence: np.ndarray


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
    support, evidence = (groups[name].to_numpy(float) for name in ("support", "evidence"))
    counted = Groups(number, share, support, evidence)
    law = estimate_law(counted, len(info))
    found = weigh_cells(counted, law)

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
    """One row per cell and guide, from the accepted reads: `support, evidence, count, peak`.

    `support` is the sum of `posterior` times `p_cell`, `count` the number of reads and `peak` the
    sum of their peaks.
    """
    decoded = reads[(reads["cell"] > 0) & reads["sgRNA"].notna()]
    table = decoded.assign(
        barcode=decoded["barcode_library"],
        support=decoded["posterior"].astype(float) * decoded["p_cell"],
    )
    return (
        table.groupby([*KEYS, "barcode"], sort=True)
        .agg(
            support=("support", "sum"),
            evidence=("evidence", "first"),
            count=("read", "size"),
            peak=("peak", "sum"),
            **{name: (name, "first") for name in _names(reads)},
        )
        .reset_index()
    )


def log_binomial(support: np.ndarray, mean: np.ndarray | float, size: float) -> np.ndarray:
    """Log-probability of a support, which need not be whole, in a negative binomial law."""
    from scipy.special import gammaln

    log = gammaln(support + size) - gammaln(size) - gammaln(support + 1)
    return log + size * np.log(size / (mean + size)) + support * np.log(mean / (mean + size))


def weigh_cells(groups: Groups, law: CellLaw) -> CellPosterior:
    """Probabilities of the states of each cell."""
    cell = groups.cell
    count = int(cell.max(initial=-1)) + 1
    factor = groups.share * np.exp(np.clip(groups.evidence, -MOST_EVIDENCE, MOST_EVIDENCE))
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


def estimate_law(groups: Groups, cells: int) -> CellLaw:
    """Rates by expectation maximisation; `cells` counts those without any read, too."""
    law = start = CellLaw()
    if not len(groups.cell):
        return law
    seen, support = int(groups.cell.max()) + 1, groups.support
    for _ in range(ROUNDS):
        found = weigh_cells(groups, law)
        unseen = _unseen(law)
        one = 1 - law.empty - law.double
        blank = law.empty / (law.empty + one * unseen + law.double * unseen**2)
        empty = found.empty.sum() + (cells - seen) * blank
        # Cells that carry a guide of which no read was found belong to the law of reads, too.
        hidden = (found.empty * one * unseen / law.empty).sum() + (cells - seen) * (1 - blank)
        weight = found.carried
        carriers = max(weight.sum() + hidden, LEAST)
        mean = (weight @ support) / carriers
        spread = (weight @ (support - mean) ** 2 + hidden * mean**2) / carriers
        size = mean**2 / max(spread - mean, 0.02 * mean, LEAST)
        law = CellLaw(
            empty=min(_rate(empty, cells, start.empty), 0.9),
            double=min(_rate(found.double.sum(), cells, start.double), 0.5),
            mean=float(max(mean, 0.5)),
            size=float(np.clip(size, 0.3, 50.0)),
        )
    return law


def _unseen(law: CellLaw) -> float:
    """Probability that none of a carried guide's reads is found."""
    return float(np.exp(log_binomial(np.zeros(1), law.mean, law.size))[0])


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
    # Guides that are as good as certain go by their reads.
    rounded = table.assign(carried=table["carried"].round(2))
    by = rounded.sort_values(order, ascending=ascending, kind="stable").index
    table = table.loc[by].reset_index(drop=True)
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
