"""Intensities of reads whose sequences, chemistry and noise are known."""

import numpy as np
import pandas as pd

BASES = "GTAC"
CROSSTALK = np.array(
    [[1.0, 0.15, 0.02, 0.02], [0.35, 0.8, 0.02, 0.02], [0.02, 0.02, 0.9, 0.1], [0, 0.02, 0.3, 0.6]]
)


def phasing_operator(cycles, behind, ahead):
    """Share of strands that show base u in cycle t, by the law of one step per cycle."""
    state = np.zeros(cycles + 3)
    state[0] = 1.0
    shares = np.zeros((cycles, cycles))
    for t in range(cycles):
        moved = behind * state
        moved[1:] += (1 - behind - ahead) * state[:-1]
        moved[2:] += ahead * state[:-2]
        state = moved
        shares[t] = state[1 : cycles + 1]
    return shares


def intensities(rng, codes, phasing=None, mixing=CROSSTALK, noise=12.0, decay=0.97):
    """Measured (n, T, C) of sequences (n, T): lognormal brightness and flicker, normal noise."""
    count, cycles = codes.shape
    phasing = np.eye(cycles) if phasing is None else phasing
    shares = np.einsum("tu,nub->ntb", phasing, np.eye(4)[codes])
    light = np.einsum("ntb,cb->ntc", shares, mixing)
    light *= 300 * rng.lognormal(0, 0.4, (count, 1, 1)) * decay ** np.arange(cycles)[:, None]
    light *= rng.lognormal(0, 0.1, (count, cycles, 1))
    return np.abs(light + noise * rng.standard_normal(light.shape))


def spell(codes):
    return np.array(["".join(BASES[b] for b in code) for code in codes])


def bases_table(intensity, cells=None, tile=None, channels=BASES):
    """The bases table of spots on a line, all of a well."""
    count, cycles, _ = intensity.shape
    table = {
        "plate": "1",
        "well": "A1",
        "tile": np.full(count, "0") if tile is None else tile,
        "read": np.arange(count, dtype=np.int32),
        "cell": np.ones(count, np.int32) if cells is None else cells,
        "i": np.arange(count, dtype=np.float32),
        "j": np.zeros(count, np.float32),
        "peak": intensity.max(axis=2).mean(axis=1).astype(np.float32),
        "cell_near_0": np.zeros(count, np.int32),
        "near_px_0": np.full(count, np.nan, np.float32),
    }
    for t in range(cycles):
        for c, channel in enumerate(channels):
            table[f"{channel}_{t + 1}"] = intensity[:, t, c].astype(np.float32)
    return pd.DataFrame(table)


# Light of G, T, A and C in two and three channels, with crosstalk, and the encoding behind it.
TWO_COLOURS = np.array([[0.0, 1.0, 1.1, 0.1], [0.0, 0.25, 0.8, 0.7]])
TWO_ENCODING = {"G": [], "T": ["GREEN"], "A": ["GREEN", "RED"], "C": ["RED"]}
THREE_COLOURS = np.array([[0.0, 1.0, 0.15, 0.05], [0.0, 0.2, 0.8, 0.15], [0.0, 0.0, 0.1, 0.6]])
THREE_ENCODING = {"G": [], "T": ["GREEN"], "A": ["RED"], "C": ["FAR_RED"]}
# The same without a dark base.
BRIGHT_COLOURS = THREE_COLOURS + np.array([[0.9, 0, 0, 0], [0.7, 0, 0, 0], [0.0, 0, 0, 0]])
BRIGHT_ENCODING = THREE_ENCODING | {"G": ["GREEN", "RED"]}


def library(codes):
    barcodes = spell(codes)
    genes = [f"gene{n // 2}" for n in range(len(codes))]
    return pd.DataFrame({"sgRNA": barcodes, "gene_symbol": genes, "barcode": barcodes})
