"""One look for all figures: colours, fonts, titles, and how a figure is written.

Figures are plain `matplotlib.figure.Figure` objects; pyplot, with its global
state, is never used. Colours are those of Okabe and Ito (2008), which stay apart
for colour-blind readers; a base has the same colour in every figure.
"""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lib.qc.metrics import MULTIPLE, NO_READS, SINGLE, UNMAPPED
from lib.shared.files import atomic_path

INK, MUTED, FAINT, PAPER = "#222222", "#6B6B6B", "#D9D9D9", "#FFFFFF"
ACCENT, WARNING = "#0072B2", "#D55E00"

BASE_COLOURS = {"G": "#009E73", "T": "#D55E00", "A": "#CC79A7", "C": "#56B4E9"}
DYE_COLOURS = {"GREEN": BASE_COLOURS["G"], "RED": BASE_COLOURS["T"]}
DAPI_COLOUR = "#4A5FA5"
SPARE_COLOURS = ("#E69F00", "#7A4E9F", "#8C8C00", "#5B3A29", "#444444")

CATEGORY_COLOURS = {
    SINGLE: ACCENT,
    MULTIPLE: "#E69F00",
    UNMAPPED: "#A8A8A8",
    NO_READS: "#E4E4E4",
}

# On dark images: outlines and markers.
NUCLEUS_OUTLINE, CELL_OUTLINE = "#F0E442", "#FFFFFF"
MAPPED_MARK, UNMAPPED_MARK = "#F0E442", "#FF8A4C"

MISSING = {"facecolor": "#EFEFEF", "edgecolor": "#B5B5B5", "hatch": "////", "linewidth": 0.4}
SEQUENTIAL = "viridis"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#EDEDED",
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.5,
    "figure.dpi": 120,
    "savefig.facecolor": PAPER,
    # Fixed names inside SVG files: the same figure gives the same bytes.
    "svg.hashsalt": "poolscope",
}


def styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a plot function under `STYLE`, leaving the caller's settings as they were."""

    @wraps(plot)
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return plot(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """An empty figure (inches) with a title, and what it means in a smaller line below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    head = 0.62 if subtitle else 0.4  # inches
    figure.get_layout_engine().set(
        w_pad=0.08, h_pad=0.08, hspace=0.04, wspace=0.04, rect=(0, 0, 1, 1 - head / height)
    )
    figure.text(0.012, 1 - 0.1 / height, title, size=12, weight="bold", va="top")
    figure.text(0.012, 1 - 0.36 / height, subtitle, size=9, color=MUTED, va="top")
    return figure


def place(plate: str, well: str | None = None, tile: str | None = None) -> str:
    """How a title names where it is: `plate 1, well A1, tile 3`."""
    parts = [("plate", plate), ("well", well), ("tile", tile)]
    return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


def channel_colours(channels: Sequence[str]) -> dict[str, str]:
    """A colour per channel name: bases, red, green and DAPI have their own, others spare ones."""
    fixed = {**BASE_COLOURS, **DYE_COLOURS, "DAPI": DAPI_COLOUR}
    others = [name for name in dict.fromkeys(channels) if name not in fixed]
    spare = {name: SPARE_COLOURS[n % len(SPARE_COLOURS)] for n, name in enumerate(others)}
    return {name: fixed.get(name) or spare[name] for name in channels}


def say_empty(axes: Axes, message: str) -> None:
    """Write `message` where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        message,
        transform=axes.transAxes,
        ha="center",
        va="center",
        size=11,
        color=MUTED,
        bbox={"boxstyle": "round,pad=0.8", "facecolor": "#F6F6F6", "edgecolor": FAINT},
    )


def write_figure(path: str | os.PathLike, figure: Figure, dpi: int = 100) -> None:
    """Write a figure to `path` (.png or .svg); the same figure gives the same bytes.

    Charts are best as SVG, figures with images as PNG.
    """
    suffix = os.fspath(path).rsplit(".", 1)[-1]
    if suffix not in ("png", "svg"):
        raise ValueError(f"{path}: a figure is written as .png or .svg")
    with matplotlib.rc_context(STYLE), atomic_path(path) as part:
        if suffix == "svg":
            figure.savefig(part, dpi=dpi, metadata={"Date": None})
        else:
            _write_png(part, figure, dpi)


def _write_png(path: Path, figure: Figure, dpi: int) -> None:
    """Write with 52 levels per colour and no transparency: unseen, and half the size."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    # 5 divides 255: black stays black and white stays white.
    levels = (rgb + np.uint16(2)) // 5 * 5
    Image.fromarray(levels.astype(np.uint8)).save(path, optimize=True, dpi=(dpi, dpi))
