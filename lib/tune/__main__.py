"""`python -m lib.tune segmentation|spots --config FILE` compares settings on a few tiles."""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.qc.style import CELL_OUTLINE, MAPPED_MARK, NUCLEUS_OUTLINE, UNMAPPED_MARK, write_figure
from lib.shared.config import load_config
from lib.shared.errors import InputError
from lib.shared.files import check_folder
from lib.shared.inputs import Inputs, check_inputs
from lib.shared.tables import write_table
from lib.tune import secondary, segmentation, spots
from lib.tune.figure import Panel, plot_comparison
from lib.tune.grid import (
    SCHEMA,
    Setting,
    make_settings,
    parse_grid,
    rank_settings,
    read_config,
    spell,
    yaml_lines,
)
from lib.tune.images import Map, Screen, TileSource

SUBTITLE = "Middle of each tile, counts of the whole tile"
RANKED = "; ranked by their mean score"
LEGENDS = {
    "segmentation": segmentation.TINTS | {"nuclei": NUCLEUS_OUTLINE, "cells": CELL_OUTLINE},
    "spots": {"in library": MAPPED_MARK, "not in library": UNMAPPED_MARK},
}
SECONDARY_LEGEND = {"spots or vacuoles": NUCLEUS_OUTLINE, "cells": CELL_OUTLINE}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    # It reports in its own words what our errors say in a user's.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        if options.out:
            check_folder(options.out, "--out")
        {"segmentation": _segmentation, "spots": _spots}[options.kind](options)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.tune", description="Compare settings on a few tiles of a screen."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in LEGENDS:
        own = kinds.add_parser(kind, help=f"settings of {kind}")
        own.add_argument("--config", required=True, help="of the screen")
        own.add_argument(
            "--module", choices=("sbs", "phenotype"), help="default: sbs, where there is one"
        )
        own.add_argument(
            "--grid",
            action="append",
            default=[],
            metavar="KEY=V1,V2",
            help="values of a key to compare; of several keys all combinations",
        )
        own.add_argument(
            "--tiles", nargs="+", default=[], metavar="P/W/T", help="default: drawn by all.seed"
        )
        own.add_argument("--count", type=_positive, default=3, help="tiles to draw (3)")
        own.add_argument("--crop", type=_positive, help="pixels a side that are shown")
        own.add_argument("--out", help="folder of figure and table (tune/ in all.root_fp)")
        own.add_argument("--jobs", type=_positive, default=1, help="processes (1)")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)


def _segmentation(options: argparse.Namespace) -> None:
    raw = read_config(options.config)
    config = load_config(raw, SCHEMA)
    module = _module(options, config)
    if config[module]["dapi_channel"] is None:
        raise InputError(
            f"config key {module}.channel_names names no nuclear stain to find cells by."
        )
    path, grid = (module, "segmentation"), parse_grid(options.grid)
    # What is wrong with a grid is said before any image is read.
    settings = make_settings(raw, path, grid) if grid else []
    screen = Screen(config, _check_inputs(config, settings), module)
    places = screen.choose(options.tiles, options.count)
    with _workers(options.jobs) as each:
        sources = screen.sources(places, each)
        planes = list(each(segmentation.load_planes, sources))
        typical = segmentation.typical_diameter(list(each(segmentation.tile_diameter, planes)))
        if not settings:
            grid = segmentation.default_grid(typical, config[module]["segmentation"])
            settings = make_settings(raw, path, grid)
        crop = options.crop or segmentation.crop_of(typical)
        compare = partial(segmentation.compare, settings=settings, module=module, crop=crop)
        results = list(each(compare, planes))
    name, legend = f"{module}_segmentation", LEGENDS["segmentation"]
    _report(options, path, sources, settings, results, name, legend)


def _spots(options: argparse.Namespace) -> None:
    raw = read_config(options.config)
    config = load_config(raw, SCHEMA)
    if _module(options, config) == "phenotype":
        _secondary(options, raw, config)
        return
    grid = parse_grid(options.grid) or spots.default_grid(config["sbs"])
    settings = make_settings(raw, ("sbs",), grid)
    screen = Screen(config, _check_inputs(config, []), "sbs")
    places, codebook = screen.choose(options.tiles, options.count), spots.read_codebook(screen)
    compare = partial(
        spots.compare, settings=settings, codebook=codebook, crop=options.crop or spots.CROP_PX
    )
    with _workers(options.jobs) as each:
        sources = screen.sources(places, each)
        results = list(each(compare, sources))
    _report(options, ("sbs",), sources, settings, results, "spots", LEGENDS["spots"])


def _secondary(options: argparse.Namespace, raw: dict, config: dict) -> None:
    path = ("phenotype", "secondary_objects")
    grid = parse_grid(options.grid) or secondary.default_grid(config[path[0]][path[1]])
    settings = make_settings(raw, path, grid)
    secondary.check_channel(settings)
    screen = Screen(config, _check_inputs(config, []), "phenotype")
    places = screen.choose(options.tiles, options.count)
    compare = partial(secondary.compare, settings=settings, crop=options.crop or secondary.CROP_PX)
    with _workers(options.jobs) as each:
        sources = screen.sources(places, each)
        results = list(each(compare, sources))
    _report(options, path, sources, settings, results, "phenotype_spots", SECONDARY_LEGEND)


def _module(options: argparse.Namespace, config: Mapping[str, Any]) -> str:
    """The section to tune: the one asked for, else sbs where there is one."""
    module = options.module or ("sbs" if "sbs" in config else "phenotype")
    if module not in config:
        raise InputError(f"The config {options.config} has no section {module} to tune.")
    return module


def _check_inputs(config: dict, settings: Sequence[Setting]) -> Inputs:
    """Check sheets and library, and the packages and weights that any setting asks for."""
    for setting in settings:
        check_inputs(setting.config, check_files=False)
    return check_inputs(config, check_files=False)


@contextmanager
def _workers(jobs: int) -> Iterator[Map]:
    """A `map` over `jobs` processes."""
    if jobs == 1:
        yield map
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield pool.map


def _report(
    options: argparse.Namespace,
    path: Sequence[str],
    sources: Sequence[TileSource],
    settings: Sequence[Setting],
    results: Sequence[tuple[list[dict[str, Any]], list[Panel]]],
    name: str,
    legend: Mapping[str, str],
) -> None:
    """Write table and figure, and say which lines of the config choose the best setting."""
    scores = np.array([[row["score"] for row in rows] for rows, _ in results])
    ranks = rank_settings(scores, settings)
    best = next((s for s, rank in zip(settings, ranks, strict=True) if rank == 1), None)
    configured = next(setting for setting in settings if setting.configured)

    root = settings[0].config["all"]["root_fp"]
    stem = Path(options.out or Path(root) / "tune") / name
    table = [
        source.place
        | {"setting": setting.number, "configured": setting.configured, "rank": rank}
        | {key: spell(value) for key, value in setting.values.items()}
        | {key: _rounded(value) for key, value in row.items()}
        for source, (rows, _) in zip(sources, results, strict=True)
        for setting, row, rank in zip(settings, rows, ranks.tolist(), strict=True)
    ]
    write_table(f"{stem}.tsv", {key: [row[key] for row in table] for key in table[0]})
    figure = plot_comparison(
        {source.name: panels for source, (_, panels) in zip(sources, results, strict=True)},
        [setting.words for setting in settings],
        settings.index(configured),
        ranks.tolist(),
        legend,
        f"{options.kind.capitalize()} ({path[0]}), {len(settings)} settings",
        SUBTITLE + (RANKED if best else ""),
        sources[0].pixel_size(),
    )
    write_figure(f"{stem}.png", figure, dpi=150)
    sys.stdout.write(f"{stem}.png\n{stem}.tsv\n\n")
    sys.stdout.write(_advice(best, path))


def _advice(best: Setting | None, path: Sequence[str]) -> str:
    if best is None:
        return "# Nothing ranks the settings: look at the figure.\n"
    note = "the one configured" if best.configured else "not the one configured"
    head = f"# Setting {best.number} scores best, {note}. Look at the figure before you copy:\n"
    return head + yaml_lines(best, path)


def _rounded(value: float | np.number) -> float:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


if __name__ == "__main__":
    sys.exit(main())
