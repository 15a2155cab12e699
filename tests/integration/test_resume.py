"""Runs that are killed: what stands is whole, and the same command finishes the rest."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lib.shared import layout
from lib.shared.image_io import read_image
from lib.shared.tables import read_table

from .conftest import DATA, SMALL, Screen, expand

DEADLINE_S = 300


def wait_until(condition: Callable[[], bool], process) -> None:
    """Poll `condition`; a run that ends before it holds is a failure of the test."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until, "the run did not get that far"
        time.sleep(0.005)


def visible(screen: Screen) -> list[Path]:
    """Images and tables under their final names."""
    return [screen.results / path for path in ALL_FILES if (screen.results / path).exists()]


PREPROCESS_STAGES = ["convert_sbs", "raw_metadata_sbs", "calculate_ic_sbs", "extract_metadata_sbs"]
ALL_FILES = sorted(
    expand(layout.PREPROCESS, PREPROCESS_STAGES, SMALL)
    | expand(layout.SBS, ["align_sbs", "segment_sbs", "detect_spots"], SMALL)
    | expand(layout.SBS, ["call_reads", "call_cells"], SMALL)
)


def check_whole(files: list[Path], undisturbed: dict[str, bytes], root: Path) -> None:
    for path in files:
        (read_image if path.suffix == ".tiff" else read_table)(path)
        assert path.read_bytes() == undisturbed[str(path.relative_to(root))], path


@pytest.fixture
def fresh(tmp_path, small_raw) -> Screen:
    return Screen(Path(shutil.copytree(small_raw, tmp_path / "screen")))


# A run is killed when the first of these is there, run again, killed at the second...
MILESTONES = [
    "preprocess/images/sbs/*T-1_C-1__image.tiff",
    "sbs/images/*__nuclei.tiff",
    "sbs/parquets/*__reads.parquet",
]


def test_a_run_killed_again_and_again_ends_like_one_left_alone(fresh, small_finished):
    undisturbed = small_finished.contents()
    for milestone in MILESTONES:
        run = fresh.start(*DATA, "--cores", "2")
        wait_until(lambda milestone=milestone: any(fresh.results.glob(milestone)), run)
        processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert psutil.wait_procs(processes, DEADLINE_S)[1] == []
        left = visible(fresh)
        assert 0 < len(left) < len(ALL_FILES)
        check_whole(left, undisturbed, fresh.results)
        assert fresh.call("--unlock").returncode == 0
    fresh.run(*DATA)
    assert fresh.contents() == undisturbed


def test_a_killed_job_fails_alone_and_is_made_up_for(fresh, small_finished):
    run = fresh.start(*DATA, "--cores", "2")
    wait_until(lambda: any(jobs_of(run.pid, "align_sbs.py")), run)
    for job in jobs_of(run.pid, "align_sbs.py")[:1]:
        job.kill()
    assert run.wait(DEADLINE_S) != 0
    said = (fresh.folder / "output.txt").read_text()
    assert "Error in rule align_sbs" in said
    aligned = list(fresh.results.glob("sbs/images/*__aligned.tiff"))
    assert len(aligned) == SMALL.tiles - 1
    check_whole(visible(fresh), small_finished.contents(), fresh.results)

    fresh.run(*DATA)
    assert fresh.contents() == small_finished.contents()


def jobs_of(pid: int, script: str) -> list[psutil.Process]:
    """The Python processes below `pid` that run a rule's script."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if command and "python" in command[0] and command[-1].endswith(script):
            found.append(process)
    return found
