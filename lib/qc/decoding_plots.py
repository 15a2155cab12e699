"""One figure of what the posterior caller estimated in a well, from its decoding table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lib.qc.style import ACCENT, BASE_COLOURS, INK, MUTED, WARNING, new_figure, say_empty, styled

MAPS_IN_A_ROW = 12


@styled
def plot_decoding(
    decoding: pd.DataFrame, bases: str, channels: Sequence[str], place: str
) -> Figure:
    """Crosstalk per cycle, phasing, signal, quality and scores of one well.

    `decoding` comes from `lib.sbs.posterior_caller.signal_table`; `bases` are the
    letters, `channels` the names of what they shine in.
    """
    cycles = sorted(decoding.loc[decoding["parameter"] == "signal", "cycle"].unique())
    rows = max(-(-len(cycles) // MAPS_IN_A_ROW), 1)
    figure = new_figure(
        12.0,
        5.8 + 1.1 * rows,
        f"Decoding, {place}",
        "What the caller estimated from this well's own reads; bars are standard errors",
    )
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.1 * rows, 5.0])
    _crosstalk(top, decoding, cycles, bases, channels)
    signal, phasing, quality, score = bottom.subplots(2, 2).flat
    _signal(signal, decoding, bases)
    _phasing(phasing, decoding)
    _quality(quality, decoding)
    _scores(score, decoding)
    return figure


def _rows(decoding: pd.DataFrame, parameter: str) -> pd.DataFrame:
    return decoding[decoding["parameter"] == parameter]


def _crosstalk(
    part: Figure, decoding: pd.DataFrame, cycles: list, bases: str, channels: Sequence[str]
) -> None:
    shares = _rows(decoding, "crosstalk")
    if not len(cycles):
        say_empty(part.subplots(), "no reads")
        return
    columns = min(len(cycles), MAPS_IN_A_ROW)
    panels = part.subplots(-(-len(cycles) // columns), columns, squeeze=False).flat
    for number, panel in enumerate(panels):
        if number >= len(cycles):
            panel.set_visible(False)
            continue
        here = shares[shares["cycle"] == cycles[number]]
        matrix = here.pivot_table("value", "to", "from")
        matrix = matrix.reindex(index=list(channels), columns=list(bases))
        panel.imshow(matrix.to_numpy(), cmap="cividis", vmin=0, vmax=1)
        panel.set_title(f"{cycles[number]:g}", size=8)
        panel.grid(False)
        panel.set_xticks(range(len(bases)), list(bases), size=6)
        first = number % columns == 0
        panel.set_yticks(range(len(channels)), list(channels) if first else [], size=6)
    part.supylabel("channel", size=8)


def _signal(panel: Axes, decoding: pd.DataFrame, bases: str) -> None:
    panel.set_title("Light of each base per cycle")
    signal = _rows(decoding, "signal")
    for base in bases:
        own = signal[signal["from"] == base]
        panel.plot(own["cycle"], own["value"], "o-", color=BASE_COLOURS[base], ms=3.5, label=base)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("cycle")
    panel.set_ylabel("relative to the mean")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(ncols=len(bases))


def _phasing(panel: Axes, decoding: pd.DataFrame) -> None:
    panel.set_title("Strands out of step")
    shares = _rows(decoding, "phasing").copy()
    if not len(shares):
        say_empty(panel, "phasing is not modelled")
        return
    shares["lag"] = shares["cycle"].astype(float) - shares["from"].astype(float)
    for label, own, colour in (
        ("behind", shares["lag"] > 0, ACCENT),
        ("ahead", shares["lag"] < 0, WARNING),
    ):
        sums = shares[own].groupby("cycle")["value"].sum()
        sums = sums.reindex(sorted(shares["cycle"].unique()), fill_value=0.0)
        error = np.sqrt((shares[own].set_index("cycle")["error"] ** 2).groupby("cycle").sum())
        error = error.reindex(sums.index, fill_value=0.0)
        panel.errorbar(
            sums.index, sums, error, fmt="o-", color=colour, ms=3.5, capsize=2, label=label
        )
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.set_xlabel("cycle")
    panel.set_ylabel("share of strands")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend()


def _quality(panel: Axes, decoding: pd.DataFrame) -> None:
    panel.set_title("Does quality mean what it says?")
    claimed = _rows(decoding, "quality_claimed")["value"].to_numpy(float)
    observed = _rows(decoding, "quality_observed")
    seen = observed["value"].to_numpy(float)
    shown = (claimed > 0) & (seen > 0)
    if not shown.any():
        say_empty(panel, "no read whose guide is sure is wrong in a base")
        return
    error = observed["error"].to_numpy(float)[shown]
    panel.errorbar(
        claimed[shown], seen[shown], error, fmt="o", color=ACCENT, ms=4, capsize=2, label="bases"
    )
    ends = np.array([min(claimed[shown].min(), seen[shown].min()) / 2, 1.0])
    panel.plot(ends, ends, color=INK, lw=1, label="as claimed")
    panel.fill_between(ends, ends / 1.5, ends * 1.5, color=MUTED, alpha=0.15, lw=0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("claimed error of a base")
    panel.set_ylabel("observed error")
    panel.legend()


def _scores(panel: Axes, decoding: pd.DataFrame) -> None:
    panel.set_title("Guides against decoys")
    score = _rows(decoding, "score")
    if not len(score):
        say_empty(panel, "no reads")
        return
    width = score["to"].astype(float).drop_duplicates().sort_values().diff().min()
    width = width if np.isfinite(width) else 2.0
    for kind, colour in (("guide", ACCENT), ("decoy", WARNING)):
        own = score[score["from"] == kind]
        edge = own["to"].to_numpy(float)
        panel.bar(
            edge, own["value"], width, align="edge", color=colour, alpha=0.6, label=f"{kind}s"
        )
    panel.set_yscale("log")
    panel.set_xlabel("log-odds of the best barcode")
    panel.set_ylabel("spots")
    panel.legend()
