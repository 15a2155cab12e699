"""`python -m lib.simulate OUT_DIR` writes a screen; `... score OUT_DIR RESULTS_DIR` marks one.

`... summary OUT_DIR RESULTS_DIR` says in a few lines what a run found of it.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from lib.shared.errors import InputError
from lib.simulate.parameters import PRESETS, ScreenParameters, parse_override, with_overrides
from lib.simulate.raw_files import LAYOUTS
from lib.simulate.screen import simulate_screen

# Options of the command line that are parameters of the same name.
NAMED = {
    "plates": str,
    "wells": str,
    "tiles": int,
    "cycles": int,
    "colours": int,
    "tile_size": int,
    "guides": int,
    "seed": int,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["score"]:
            _score(arguments[1:])
        elif arguments[:1] == ["summary"]:
            _summary(arguments[1:])
        else:
            _simulate(arguments)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _simulate(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lib.simulate",
        description="Simulate an optical pooled screen with known truth.",
        epilog="Score results against the truth: python -m lib.simulate score OUT_DIR RESULTS_DIR",
    )
    parser.add_argument("out_dir")
    parser.add_argument("--preset", choices=PRESETS, default="default")
    parser.add_argument("--format", choices=LAYOUTS, default="tiff", help="of the raw images")
    for name, kind in NAMED.items():
        nargs = "+" if name in ("plates", "wells") else None
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, nargs=nargs, help="default: the preset's")
    parser.add_argument("--no-phenotype", action="store_true", help="sequencing images only")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other parameter"
    )
    options = parser.parse_args(arguments)
    simulate_screen(options.out_dir, _parameters(options), options.format, options.jobs)


def _parameters(options: argparse.Namespace) -> ScreenParameters:
    overrides = {name: getattr(options, name) for name in NAMED}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if options.no_phenotype:
        overrides["phenotype"] = False
    overrides |= dict(parse_override(text) for text in options.set)
    return with_overrides(PRESETS[options.preset], overrides)


def _score(arguments: Sequence[str]) -> None:
    from lib.simulate.score import score_screen

    parser = argparse.ArgumentParser(
        prog="python -m lib.simulate score",
        description="Compare the results of a run with the truth of a simulated screen.",
    )
    parser.add_argument("out_dir", help="of the simulation")
    parser.add_argument("results_dir", help="all.root_fp of the run")
    options = parser.parse_args(arguments)
    scores = score_screen(options.out_dir, options.results_dir)
    sys.stdout.write(json.dumps(scores, indent=2) + "\n")


def _summary(arguments: Sequence[str]) -> None:
    from lib.simulate.score import score_screen
    from lib.simulate.summary import summarise

    parser = argparse.ArgumentParser(prog="python -m lib.simulate summary")
    parser.add_argument("out_dir", help="of the simulation")
    parser.add_argument("results_dir", help="all.root_fp of the run")
    parser.add_argument("--show", action="append", default=[], metavar="NAME=PATH")
    options = parser.parse_args(arguments)
    scores = score_screen(options.out_dir, options.results_dir)
    lines = summarise(options.results_dir, scores)
    shown = (text.partition("=") for text in options.show)
    lines += [f"{name:<18}{path}" for name, _, path in shown]
    sys.stdout.write("\n" + "\n".join(lines) + "\n\n")


if __name__ == "__main__":
    sys.exit(main())
