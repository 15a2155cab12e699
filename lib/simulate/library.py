"""The pooled library: guides, their barcodes, their genes and what the genes do."""

from dataclasses import dataclass

import numpy as np

from lib.shared.errors import InputError
from lib.simulate.parameters import BASES, CONTROL_GENE, ScreenParameters
from lib.simulate.streams import Stream, stream

EFFECTS = ("p65_nuclear_ratio", "wga_granule_count", "cell_radius")
LONGEST_RUN = 4
CANDIDATES_PER_GUIDE = 400


@dataclass(frozen=True)
class Library:
    """Guides of a screen (n guides of L bases).

    `codes` (n, L) uint8 indexes `BASES`; `effects` (n, 3) is the factor by which a
    guide changes each of `EFFECTS`, 1 where it changes nothing.
    """

    codes: np.ndarray
    sequences: np.ndarray
    barcodes: np.ndarray
    genes: np.ndarray
    gene_ids: np.ndarray
    active: np.ndarray
    effects: np.ndarray
    share: np.ndarray


def make_library(parameters: ScreenParameters) -> Library:
    """Draw the library of a screen; it depends on the seed but not on plates or wells."""
    rng = stream(parameters.seed, Stream.LIBRARY)
    n = parameters.guides
    barcodes = draw_barcodes(rng, n, parameters.cycles, parameters.min_distance)
    rest = rng.integers(0, 4, (n, parameters.guide_length - parameters.cycles), dtype=np.uint8)
    codes = np.hstack([barcodes, rest])
    share = rng.lognormal(0, parameters.abundance_sigma, n)

    n_control = round(n * parameters.control_fraction)
    number = np.arange(n - n_control) // parameters.guides_per_gene + 1
    genes = [f"GENE{k:04d}" for k in number] + [CONTROL_GENE] * n_control
    gene_ids = [f"SIM{k:06d}" for k in number] + ["SIM000000"] * n_control
    active = rng.random(n) >= parameters.inactive_fraction
    return Library(
        codes=codes,
        sequences=spell(codes),
        barcodes=spell(barcodes),
        genes=np.array(genes),
        gene_ids=np.array(gene_ids),
        active=active,
        effects=_guide_effects(parameters, np.array(genes), active),
        share=share / share.sum(),
    )


def draw_barcodes(rng: np.random.Generator, n: int, length: int, min_distance: int) -> np.ndarray:
    """Draw `n` barcodes (n, length) of which any two differ in `min_distance` bases or more.

    Greedy; runs of more than four equal bases are left out. Raises `InputError` when
    the code space is too small.
    """
    accepted = np.empty((n, length), np.uint8)
    count = 0
    for _ in range(CANDIDATES_PER_GUIDE):
        for candidate in _without_long_runs(rng.integers(0, 4, (n, length), dtype=np.uint8)):
            distance = (accepted[:count] != candidate).sum(axis=1)
            if count == 0 or distance.min() >= min_distance:
                accepted[count] = candidate
                count += 1
            if count == n:
                return accepted
    raise InputError(
        f"No {n} barcodes of {length} bases with {min_distance} differences were found: "
        "lower guides or min_distance, or raise cycles."
    )


def spell(codes: np.ndarray) -> np.ndarray:
    """Turn (n, length) indices into `BASES` into n strings."""
    letters = np.frombuffer("".join(BASES).encode(), np.uint8)[codes]
    return np.ascontiguousarray(letters).view(f"S{codes.shape[1]}")[:, 0].astype(str)


def hit_effects(parameters: ScreenParameters, genes: np.ndarray) -> dict[str, dict[str, float]]:
    """Return {effect: {gene: factor}} for the genes planted as hits; no gene has two effects."""
    rng = stream(parameters.seed, Stream.EFFECTS)
    targets = rng.permutation(np.unique(genes[genes != CONTROL_GENE]))
    n_hits = min(max(1, round(len(targets) * parameters.hit_fraction)), len(targets) // 3)
    sizes = (parameters.p65_effect, parameters.granule_effect, parameters.cell_size_effect)
    return {
        effect: dict.fromkeys(sorted(targets[k * n_hits : (k + 1) * n_hits].tolist()), size)
        for k, (effect, size) in enumerate(zip(EFFECTS, sizes, strict=True))
    }


def _guide_effects(
    parameters: ScreenParameters, genes: np.ndarray, active: np.ndarray
) -> np.ndarray:
    hits = hit_effects(parameters, genes)
    factors = [[hits[effect].get(gene, 1.0) for effect in EFFECTS] for gene in genes]
    return np.where(active[:, None], np.array(factors), 1.0)


def _without_long_runs(codes: np.ndarray) -> np.ndarray:
    if codes.shape[1] <= LONGEST_RUN:
        return codes
    windows = np.lib.stride_tricks.sliding_window_view(codes, LONGEST_RUN + 1, axis=1)
    return codes[~(windows == windows[..., :1]).all(axis=-1).any(axis=-1)]
