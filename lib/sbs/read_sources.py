"""From which cells reads come, and what they say about the guides of these.

Cells share borders, and borders are drawn some pixels wrong, so that a read may lie in a
neighbour of its cell. All reads of a tile are therefore weighed together. At the place of read r
the density of reads of its guide g is expected to be, per area of a cell,

    stray * share_g + sum over cells c of carried_cg * l_c * spill(d_rc)

with l the reads of a cell that carries g (gamma-distributed: their number is negative binomial)
and spill the density at a distance d outside of the drawn border relative to that inside (1). The
ratio of likelihoods that c carries g or not is that of a Poisson process over the reads in
and near c, with the densities of other cells as they are expected. Borders are drawn wrong for
several reads at once: what leaks is multiplied by a gamma-distributed factor of mean 1, one for
all reads near c, and now and then a neighbour's border lies much further out than it is drawn.
All are integrated out numerically. Ratios (`cell_evidence` makes probabilities
of them) and expected densities are found by turns.
"""

from dataclasses import dataclass, field

import numpy as np

from lib.sbs.calibration import Curve, isotonic
from lib.sbs.cell_evidence import CellLaw, Groups, estimate_law, weigh_cells

ROUNDS = 10  # of ratios and densities by turns
LAWS = 3  # of the estimates
PRIOR_READS = 5.0  # weight of the starting values of spill
PRIOR_CELLS = 5.0  # and of stray
START = (0.3, 3.0)  # spill just outside, and px over which it falls to a third
DISTANCES = np.arange(1.0, 41.0)
CLUMPED = 1.0  # shape of the gamma law of leaking: exponential
LEAKS = 8  # steps of the integral over it
# Probability that borders are as drawn, or lie further out by a share of the greatest distance at
# which cells are near; and steps of the integral over leaking there.
BORDERS = ((0.0, 0.9), (0.35, 0.07), (0.7, 0.03))
MOVED_LEAKS = 3
RARE = 0.02  # share of a guide up to which that is considered
LEVELS = 12  # of that over the reads of a cell
TELLING = 0.1  # share of a guide up to which it tells spill: neighbours seldom both carry it
TINY = 1e-12


@dataclass(frozen=True)
class SourceLaw:
    """How reads lie about their cells, and what cells hold.

    spill : density at a distance (px) outside of a cell relative to that inside.
    stray : reads of any guide per cell that come from nowhere near.
    cells : see `lib.sbs.cell_evidence`.
    """

    spill: Curve = field(default_factory=lambda: Curve(DISTANCES, _start(DISTANCES)))
    stray: float = 0.02
    cells: CellLaw = field(default_factory=CellLaw)


@dataclass(frozen=True)
class Candidates:
    """Cells that reads may come from: one row per read and cell.

    read : (m,) index of the read. rank : (m,) 0 for the cell it lies in, else 1 + the place among
    its near ones. distance : (m,) px, 0 inside.
    group : (m,) index of the pair of cell and guide; cell, share : (g,) of each group.
    weight : (n,) posterior of each read.
    """

    read: np.ndarray
    rank: np.ndarray
    distance: np.ndarray
    group: np.ndarray
    cell: np.ndarray
    share: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Sources:
    """Where reads come from.

    chance : (m,) probability of each candidate. evidence : (g,) log-ratio of the likelihoods that
    the cell carries the guide or not. strays : expected number of reads from nowhere near.
    """

    chance: np.ndarray
    evidence: np.ndarray
    strays: float


def find_candidates(
    tile: np.ndarray,
    cells: np.ndarray,
    distance: np.ndarray,
    guide: np.ndarray,
    posterior: np.ndarray,
    share: np.ndarray,
) -> Candidates:
    """Candidates of (n,) reads.

    Parameters
    ----------
    cells : (1 + k, n) labels of the cell a read lies in and of those near; 0 for none.
    distance : (k, n) px of those near.
    guide, posterior : (n,) best guide, -1 for none, and its probability.
    share : (K,) of all reads that each guide has.
    """
    tiles = np.unique(tile, return_inverse=True)[1]
    rank, read = np.nonzero((cells > 0) & (guide >= 0))
    place = tiles[read] * (int(cells.max(initial=0)) + 1) + cells[rank, read].astype(np.int64)
    place = np.unique(place, return_inverse=True)[1]
    guides = max(len(share), 1)
    keys, group = np.unique(place * guides + guide[read], return_inverse=True)
    return Candidates(
        read=read,
        rank=rank,
        distance=np.concatenate([np.zeros((1, len(guide))), distance])[rank, read],
        group=group,
        cell=keys // guides,
        share=share[keys % guides],
        weight=posterior,
    )


def find_sources(candidates: Candidates, law: SourceLaw) -> Sources:
    """Weigh all reads of a tile, or of several, together."""
    one = candidates
    count, size = len(one.weight), len(one.cell)
    inside = one.distance == 0
    spills = _spills(one, law)
    spill = spills[0]
    stray = law.stray * one.share[one.group]
    weight = one.weight[one.read]
    expected = np.bincount(one.group, weight * inside, minlength=size)
    evidence = np.zeros(size)

    def by_read(values: np.ndarray) -> np.ndarray:
        return np.bincount(one.read, values, minlength=count)[one.read]

    for _ in range(ROUNDS):
        settled, *leaked = (
            np.maximum(by_read(density) - density, 0)
            for density in (expected[one.group] * part for part in (inside, *spills * ~inside))
        )
        evidence, reads = _evidence(one, spill, settled + stray, leaked, weight, law.cells)
        support = np.zeros(size)
        found = weigh_cells(Groups(one.cell, one.share, support, evidence), law.cells)
        expected = (expected + found.carried * reads) / 2
    density = expected[one.group] * spill
    total = by_read(density) + stray
    # A read that its cell does not carry is a stray or has leaked.
    foreign = inside * weight * (1 - found.carried[one.group])
    strays = (foreign * stray / (total - inside * density)).sum()
    return Sources(density / total, evidence, strays)


def _spills(candidates: Candidates, law: SourceLaw) -> np.ndarray:
    """Density (b, m) at the reads relative to that inside of the cell, for each of BORDERS.

    For guides that neighbours often both carry borders stay: cells would lose their own reads.
    """
    distance = candidates.distance
    rare = candidates.share[candidates.group] <= RARE
    moved = np.array([share for share, _ in BORDERS]) * distance.max(initial=0)
    away = distance - moved[:, None] * rare
    return np.where(away <= 0, 1.0, law.spill(away))


def _evidence(
    candidates: Candidates,
    spill: np.ndarray,
    settled: np.ndarray,
    leaked: list[np.ndarray],
    weight: np.ndarray,
    law: CellLaw,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-ratio of likelihoods (g,), and the reads (g,) of the cell if it carries the guide.

    `settled` (m,) and `leaked` (m,), one for each of BORDERS, are the densities expected from
    other cells: those in which the read lies, and those that it would have leaked from.
    """
    from scipy.special import gammaincinv, logsumexp

    def levels(shape: float, mean: float, steps: int) -> np.ndarray:
        middle = gammaincinv(shape, (np.arange(steps) + 0.5) / steps)
        return mean * middle / middle.mean()

    size = len(candidates.cell)

    from_others, chances = [], []
    for (_, chance), density in zip(BORDERS, leaked, strict=True):
        steps = MOVED_LEAKS if from_others else LEAKS
        from_others += [settled + leak * density + TINY for leak in levels(CLUMPED, 1.0, steps)]
        chances += [np.log(chance / steps)] * steps

    def log_density(own: float) -> np.ndarray:
        logs = [
            np.bincount(candidates.group, weight * np.log(others + own * spill), minlength=size)
            for others in from_others
        ]
        return logsumexp(np.stack(logs) + np.array(chances)[:, None], axis=0)

    reads = levels(law.size, law.mean, LEVELS)
    foreign = log_density(0.0)
    carried = np.stack([log_density(own) - own for own in reads])
    total = logsumexp(carried, axis=0)
    mean = np.exp(carried - total).T @ reads
    return total - np.log(LEVELS) - foreign, mean


def estimate_sources(candidates: Candidates, cells: int) -> SourceLaw:
    """The law by turns with the sources of reads; `cells` counts those without reads, too."""
    one = candidates
    law = start = SourceLaw()
    if not len(one.read):
        return law
    for _ in range(LAWS):
        found = find_sources(one, law)
        added = found.chance * one.weight[one.read]
        support = np.bincount(one.group, added, minlength=len(one.cell))
        law = SourceLaw(
            _spill(one, added),
            (found.strays + PRIOR_CELLS * start.stray) / (cells + PRIOR_CELLS),
            estimate_law(Groups(one.cell, one.share, support, found.evidence), cells),
        )
    return law


def _spill(candidates: Candidates, added: np.ndarray) -> Curve:
    """Density outside of cells relative to that inside, by whole px of distance.

    Of the reads that lie at a distance from some cell, a share comes from there. It is
    compared with the share of reads inside of cells that come from these.
    """
    telling = candidates.share[candidates.group] <= TELLING
    step = np.rint(candidates.distance).astype(int)
    most = max(int(step.max(initial=0)), 2) + 1
    seen = np.bincount(step, telling * candidates.weight[candidates.read], minlength=most)
    own = np.bincount(step, telling * added, minlength=most)
    inside = own[0] / seen[0] if own[0] > 0 else 1.0
    distance = np.arange(1.0, most)
    ratio = (own[1:] / inside + PRIOR_READS * _start(distance)) / (seen[1:] + PRIOR_READS)
    return Curve(distance, isotonic(np.clip(ratio, 1e-4, 1), seen[1:] + PRIOR_READS))


def _start(distance: np.ndarray) -> np.ndarray:
    return START[0] * np.exp(-distance / START[1])


def likeliest(candidates: Candidates, chance: np.ndarray) -> np.ndarray:
    """Row of `candidates` (n,) that each read most likely comes from; -1 for those without any."""
    order = np.lexsort((candidates.rank, -chance, candidates.read))
    read = candidates.read[order]
    first = np.flatnonzero(np.r_[True, read[1:] != read[:-1]]) if len(read) else read
    best = np.full(len(candidates.weight), -1)
    best[read[first]] = order[first]
    return best
