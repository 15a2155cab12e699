"""Screens in working directories of their own, and the real `snakemake` run in them."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lib.shared import layout
from lib.simulate.parameters import PRESETS, ScreenParameters
from lib.simulate.screen import simulate_screen

REPOSITORY = Path(__file__).parents[2]
SNAKEFILE = REPOSITORY / "workflow/Snakefile"

EVAL_RULES = ("eval_illumination_sbs", "eval_sbs_well", "eval_sbs", "eval_run")
# Figures take as long as all the rest, and only one test looks at them.
DATA = ("--omit-from", *EVAL_RULES)

TINY = replace(
    PRESETS["tiny"], wells=("A1", "B2"), tiles=2, cycles=4, guides=12, phenotype=False, seed=1
)
SMALL = replace(TINY, wells=("A1",), cycles=3, guides=4)
_JOB = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", re.MULTILINE)
_WILDCARDS = re.compile(r"^    wildcards: (.*)$", re.MULTILINE)


class Job(NamedTuple):
    """A job as a dry run lists it: its rule and the values of its wildcards, in order."""

    rule: str
    place: str = ""


@dataclass(frozen=True)
class Screen:
    """A working directory that holds a simulated screen: raw files, sheet, library, config."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def command(self, *arguments: str) -> list[str]:
        # The workflow's own profile is picked up by itself, as for a user.
        fixed = ["--snakefile", str(SNAKEFILE)]
        if (self.folder / "config.yml").exists():
            fixed += ["--configfile", "config.yml"]
        return [sys.executable, "-m", "snakemake", *arguments, *fixed]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start `snakemake` in a process group of its own, its output in `output.txt`."""
        with open(self.folder / "output.txt", "w") as output:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `snakemake` to its end, whatever that is; stdout holds errors too."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *targets: str) -> str:
        """Run `snakemake`, which must succeed, and return what it says."""
        done = self.call(*targets, "--cores", "2")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def plan(self, *targets: str) -> set[Job]:
        """The jobs that a dry run lists, without the targets that only gather files."""
        done = self.call(*targets, "--cores", "2", "--dry-run")
        assert done.returncode == 0, done.stdout
        jobs = []
        for rule, body in _JOB.findall(done.stdout):
            found = _WILDCARDS.search(body)
            pairs = found.group(1).split(", ") if found else []
            jobs.append(Job(rule, " ".join(pair.partition("=")[2] for pair in pairs)))
        assert len(jobs) == len(set(jobs)), "a job is listed twice"
        return {job for job in jobs if not job.rule.startswith("all")}

    def refusal(self, *arguments: str) -> str:
        """What a user reads of a run that must not start; checked to be no traceback."""
        done = self.call(*arguments, "--cores", "2", "--dry-run")
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        assert not (self.folder / "results").exists()
        return done.stdout

    def configure(self, **sections: dict) -> None:
        """Merge `sections` into config.yml."""
        path = self.folder / "config.yml"
        config = yaml.safe_load(path.read_text())
        for name, keys in sections.items():
            config[name] = config.get(name, {}) | keys
        path.write_text(yaml.safe_dump(config))

    def edit(self, name: str, change: Callable[[list[str]], list[str]]) -> None:
        """Rewrite the lines of one of the screen's tables."""
        path = self.folder / name
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    def contents(self) -> dict[str, bytes]:
        """The bytes of every image and table, by path under the results; no costs, no figures.

        What a killed job was writing stays in a hidden folder, where nobody looks for results.
        """
        return {
            str(path.relative_to(self.results)): path.read_bytes()
            for path in sorted(self.results.rglob("*"))
            if path.suffix in (".tiff", ".parquet", ".tsv")
            and not {"benchmarks", "eval"} & set(path.relative_to(self.results).parts)
            and not path.parent.name.startswith(".")
        }


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def expand(stages: dict[str, list[str]], names: list[str], parameters: ScreenParameters) -> set:
    """The files of some stages of `lib.shared.layout`, for every place of a screen."""
    return {
        template.format(plate=plate, well=well, tile=tile, cycle=cycle)
        for name in names
        for template in stages[name]
        for plate in parameters.plates
        for well in parameters.wells
        for tile in range(parameters.tiles)
        for cycle in range(1, parameters.cycles + 1)
    }


def made_by(rule: str, place: str) -> list[str]:
    """The SBS files that one job of a rule writes."""
    plate, well, tile = place.split()
    return [path.format(plate=plate, well=well, tile=tile) for path in layout.SBS[rule]]


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of all test processes makes and the others use."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, part = base / name, base / f"{name}.part"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder


def _simulate(folder: Path, parameters: ScreenParameters) -> None:
    # Paths in the config stay relative, so that the folder can be copied.
    with contextlib.chdir(folder):
        simulate_screen(".", parameters)


@pytest.fixture(scope="session")
def _raw_screen(tmp_path_factory) -> Path:
    return _once(tmp_path_factory, "raw_screen", lambda folder: _simulate(folder, TINY))


@pytest.fixture(scope="session")
def finished(tmp_path_factory, _raw_screen) -> Screen:
    """A screen of two wells that ran without disturbance. Look, do not touch."""

    def make(folder: Path) -> None:
        shutil.copytree(_raw_screen, folder, dirs_exist_ok=True)
        Screen(folder).run(*DATA)

    return Screen(_once(tmp_path_factory, "finished_screen", make))


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory) -> Path:
    """The folder of a screen of one well and three cycles, not yet run. Copy, do not touch."""
    return _once(tmp_path_factory, "small_raw", lambda folder: _simulate(folder, SMALL))


@pytest.fixture(scope="session")
def small_finished(tmp_path_factory, small_raw) -> Screen:
    """The small screen after a run without disturbance. Look, do not touch."""

    def make(folder: Path) -> None:
        shutil.copytree(small_raw, folder, dirs_exist_ok=True)
        Screen(folder).run(*DATA)

    return Screen(_once(tmp_path_factory, "small_finished", make))


@pytest.fixture
def screen(tmp_path, _raw_screen) -> Screen:
    """A screen of two wells, not yet run."""
    return Screen(Path(shutil.copytree(_raw_screen, tmp_path / "screen")))


@pytest.fixture
def copy(tmp_path, finished) -> Iterator[Screen]:
    """A finished screen that a test may change."""
    yield Screen(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    shutil.rmtree(tmp_path / "copy")
