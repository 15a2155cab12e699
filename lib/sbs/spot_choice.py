"""Which kind of light serves a screen best: that by which most of its spots are decoded.

The Laplacian of Gaussian keeps near spots apart and serves best on cultured cells. Between
grains of glowing tissue a top-hat, which takes off what is wider than a spot, may read more. Which
does is told by decoys: each kind measures the same spots, and decodes some of them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.sbs.posterior_caller import call_tile, fit_caller
from lib.sbs.reads import Sequencing

CLEARLY_MORE = 0.01  # share that another kind must decode more to be taken instead of the first
SAME_SPOT_PX = 5.0


def choose_light(
    bases: Mapping[str, pd.DataFrame],
    library: pd.DataFrame,
    sequencing: Sequencing,
    fdr: float = 0.01,
    seed: int = 0,
) -> pd.DataFrame:
    """Which kind of light decodes most reads at a false discovery rate.

    Parameters
    ----------
    bases : the same spots of a sample of tiles by kind, the usual one first.
    library, sequencing, fdr, seed : see `lib.sbs.posterior_caller.fit_caller`.

    Returns one row per kind: `measure, spots, reads` (accepted), `places` (where they lie: of
    reads of one guide within 5 px only the brightest counts) and `chosen` (0 or 1). A filter
    that spreads light decodes a molecule at its neighbours' places, too, which decoys do not tell:
    so places are compared, and another kind than the first must decode 1 % more.
    """
    rows = []
    for kind, spots in bases.items():
        reads = call_tile(fit_caller(spots, library, sequencing, fdr, seed=seed), spots)
        accepted = reads[reads["sgRNA"].notna()]
        rows.append((kind, len(reads), len(accepted), places(accepted)))
    table = pd.DataFrame(rows, columns=["measure", "spots", "reads", "places"])
    best = int(table["places"].argmax()) if len(table) else 0
    if best and table["places"][best] <= (1 + CLEARLY_MORE) * table["places"][0]:
        best = 0
    return table.assign(chosen=(np.arange(len(table)) == best).astype(int))


def places(reads: pd.DataFrame) -> int:
    """Number of reads of which no brighter one of the same guide lies within 5 px."""
    from scipy.spatial import cKDTree

    lone = 0
    for _, own in reads.groupby(["well", "tile"], observed=True):
        at, peak = own[["i", "j"]].to_numpy(float), own["peak"].to_numpy()
        guide = pd.factorize(own["sgRNA"])[0]
        pairs = cKDTree(at).query_pairs(SAME_SPOT_PX, output_type="ndarray")
        a, b = pairs[guide[pairs[:, 0]] == guide[pairs[:, 1]]].T
        lone += len(own) - len(np.unique(np.where(peak[a] < peak[b], a, b)))
    return lone
