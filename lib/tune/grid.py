"""Grids of parameters: read from the command line, checked like a config, compared and ranked."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lib.shared.config import load_config
from lib.shared.errors import InputError

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
MOST_SETTINGS = 16  # columns of one figure that can still be read
SPOT_KEYS = ("spot_threshold", "spot_sigma_px", "spot_window_px", "spot_measure", "border_px")

Grid = dict[str, list[Any]]


@dataclass(frozen=True)
class Setting:
    """One column of the comparison.

    number : from 1, in the order of the columns.
    values : the value of each key of the grid.
    config : the whole config with these values, checked and completed.
    configured : whether these are the values of the user's config.
    """

    number: int
    values: dict[str, Any]
    config: dict
    configured: bool

    @property
    def words(self) -> str:
        """The values as the config spells them, a line for each key."""
        return "\n".join(f"{key} {spell(value)}" for key, value in self.values.items())


def spell(value: object) -> str:
    """A value as a config has it: null, true, 0.5, auto."""
    return yaml.safe_dump(value, default_flow_style=True, width=np.inf).partition("\n")[0]


def read_config(path: str | Path) -> dict:
    """Read a config file as it is written.

    Raises `InputError` for a file that is missing or no YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"The config {path} does not exist.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"The config {path} is not valid YAML: {reason}.") from None


def parse_grid(texts: Sequence[str]) -> Grid:
    """Read `key=value,value` texts; values are YAML (`20`, `0.5`, `null`, `auto`).

    Raises `InputError` for a text of another form and for a key or value given twice.
    """
    grid: Grid = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not (key and equals and values.strip()):
            raise InputError(f"--grid {text}: write it as key=value,value.")
        if key in grid:
            raise InputError(f"--grid {key} is given twice: give all its values at once.")
        try:
            grid[key] = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            raise InputError(f"--grid {text}: the values are not valid YAML.") from None
        if any(grid[key].count(value) > 1 for value in grid[key]):
            raise InputError(f"--grid {text}: name each value once.")
    return grid


def make_settings(raw: dict, path: Sequence[str], grid: Grid) -> list[Setting]:
    """All combinations of a grid, and the configured setting first where it is none of them.

    Parameters
    ----------
    raw : the config as it is written.
    path : the section that the keys of the grid belong to, as ("sbs", "segmentation").

    Raises `InputError` for unknown keys, with the nearest known name, for values that the
    config would not take, and for a grid too large to look at.
    """
    base = load_config(raw, SCHEMA)
    for key in grid:  # unknown ones first: one sentence rather than one per combination
        load_config(_with(raw, path, {key: grid[key][0]}), SCHEMA)
    if len(path) == 1:
        _check_spot_keys(grid)
    section = base
    for name in path:
        section = section[name]
    now = {key: section[key] for key in grid}
    chosen = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if now not in chosen:
        chosen.insert(0, now)
    if len(chosen) > MOST_SETTINGS:
        raise InputError(
            f"The grid has {len(chosen)} settings, the configured one among them: "
            f"give fewer values, at most {MOST_SETTINGS} can be compared at once."
        )
    return [
        Setting(number, values, load_config(_with(raw, path, values), SCHEMA), values == now)
        for number, values in enumerate(chosen, start=1)
    ]


def _with(raw: dict, path: Sequence[str], values: Mapping[str, Any]) -> dict:
    changed = copy.deepcopy(raw)
    section = changed
    for name in path:
        section = section.setdefault(name, {})
    section.update(values)
    return changed


def _check_spot_keys(grid: Grid) -> None:
    for key in grid:
        if key not in SPOT_KEYS:
            raise InputError(
                f"--grid {key}: no spot depends on it, only on {', '.join(SPOT_KEYS)}."
            )


def rank_settings(scores: np.ndarray, settings: Sequence[Setting]) -> np.ndarray:
    """Ranks (n,) from 1, by the mean over tiles of (tiles, n) scores; 0 where there is none.

    Of equal means, to two decimals, the configured setting comes first, then the order of
    the grid: a setting is worth changing only where that changes something.
    """
    measured = np.isfinite(scores).any(axis=0)
    means = [
        round(float(np.nanmean(column)), 2) if ok else -np.inf
        for column, ok in zip(scores.T, measured, strict=True)
    ]
    order = sorted(
        range(len(settings)),
        key=lambda n: (-means[n], not settings[n].configured, settings[n].number),
    )
    ranks = np.zeros(len(settings), int)
    ranks[order] = np.arange(1, len(settings) + 1)
    return np.where(measured, ranks, 0)


def yaml_lines(setting: Setting, path: Sequence[str]) -> str:
    """The lines of the config that choose a setting."""
    section: dict = dict(setting.values)
    for name in reversed(path):
        section = {name: section}
    return yaml.safe_dump(section, sort_keys=False)
