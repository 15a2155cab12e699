"""A small screen through the project's Slurm profile, on a real Slurm of one node."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from lib.simulate.screen import simulate_screen

from .conftest import DATA, REPOSITORY, SMALL, Screen, made_by

NODE = Path(__file__).with_name("slurm_node.sh")
PROFILE = REPOSITORY / "workflow/profiles/slurm"
DEADLINE_S = 300
TILES = 4
# Fewer tiles in a cluster job than the profile has, so that the screen needs two of them.
GROUPED = 2

# What a cluster of this kind needs besides the profile: no accounting, so that `sacct` knows
# nothing; a partition; little patience between looks at jobs of a second.
# As workflow profile, the profile takes the place of the default one and its `cores: all`.
SITE = (
    *("--workflow-profile", str(PROFILE)),
    *("--group-components", f"tiles={GROUPED}", f"spots={GROUPED}"),
    *("--slurm-status-command", "squeue"),
    "--slurm-no-account",
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "10"),
    *("--default-resources", "slurm_partition=main", "mem_mb=300", "runtime=5"),
)

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Slurm of this one machine, gone after the tests."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm node")
    # Sockets have short paths, which pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
        try:
            ports = map(str, free_ports(2))
            subprocess.run([NODE, "start", folder, *ports], check=True)
            yield
        finally:
            subprocess.run([NODE, "stop", folder], check=True)
            shutil.rmtree(folder)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """The folder of a screen of one well, not yet run."""
    folder = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        # Paths in the config stay relative, so that the folder can be copied.
        patch.chdir(folder)
        simulate_screen(".", replace(SMALL, tiles=TILES))
    return folder


@pytest.fixture
def local(tmp_path, raw) -> Screen:
    """The screen after a run on this machine without Slurm."""
    screen = Screen(Path(shutil.copytree(raw, tmp_path / "local")))
    screen.run(*DATA)
    return screen


@pytest.fixture
def broken(tmp_path, raw) -> Screen:
    """The screen with one raw file that is truncated; the whole one lies beside it."""
    screen = Screen(Path(shutil.copytree(raw, tmp_path / "screen")))
    path = screen.folder / RAW
    path.rename(path.with_suffix(".whole"))
    path.write_bytes(path.with_suffix(".whole").read_bytes()[:1000])
    return screen


RAW = "raw/sbs/P-1_W-A1_T-1_C-2.tif"
BROKEN_LOG = "logs/convert_sbs/P-1_W-A1_T-1.log"


def repair(screen: Screen) -> None:
    path = screen.folder / RAW
    path.with_suffix(".whole").replace(path)


def test_a_bad_tile_costs_only_its_group_and_is_made_up_for_when_repaired(broken, local):
    before = len(requests())
    done = broken.call(*DATA, *SITE, "--retries", "0")
    assert done.returncode != 0
    assert RAW in done.stdout, done.stdout
    assert RAW in (broken.results / BROKEN_LOG).read_text()
    aligned = [tile for tile in range(TILES) if is_aligned(broken, tile)]
    assert len(aligned) == TILES - GROUPED, done.stdout
    assert 1 not in aligned
    first_run = requests()[before:]
    # Metadata of the well wait for all of its tiles.
    assert len(first_run) == TILES // GROUPED
    # All steps of all tiles of a group run in turn.
    group = Request(1, CONVERT_MB, GROUPED * 2 * STEP_MINUTES)
    assert first_run.count(group) == TILES // GROUPED

    repair(broken)
    done = broken.call(*DATA, *SITE)
    assert done.returncode == 0, done.stdout
    assert broken.contents() == local.contents()
    second_run = requests()[before + len(first_run) :]
    mended, metadata, fields, spots, reads_and_cells = 1, 1, SMALL.cycles, TILES // GROUPED, 2
    assert len(second_run) == mended + metadata + fields + spots + reads_and_cells


def is_aligned(screen: Screen, tile: int) -> bool:
    return all((screen.results / path).exists() for path in made_by("align_sbs", f"1 A1 {tile}"))


def test_a_group_that_failed_is_tried_again_with_more_memory(broken):
    before = len(requests())
    run = broken.start(*SITE, "--until", "convert_sbs")
    log = broken.results / BROKEN_LOG
    until = time.monotonic() + DEADLINE_S
    while not (log.exists() and RAW in log.read_text()):
        assert run.poll() is None, (broken.folder / "output.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    repair(broken)
    assert run.wait(DEADLINE_S) == 0, (broken.folder / "output.txt").read_text()
    group = Request(1, CONVERT_MB, GROUPED * STEP_MINUTES)
    assert requests()[before:] == [group, group, group._replace(megabytes=2 * CONVERT_MB)]
    images = list(broken.results.glob("preprocess/images/sbs/*.tiff"))
    assert len(images) == TILES * SMALL.cycles


# What one tile of `convert_sbs` asks for at the first attempt; `align_sbs` needs less of such
# small images, and as many minutes.
CONVERT_MB = 600
STEP_MINUTES = 10


class Request(NamedTuple):
    """What a job of the cluster asked for."""

    cpus: int
    megabytes: int
    minutes: int


def requests() -> list[Request]:
    """What each job of the cluster asked for, in the order of submission."""
    told = subprocess.check_output(["scontrol", "show", "job", "--oneliner"], text=True)
    pattern = r"JobId=(\d+) .*?TimeLimit=00:(\d+):00 .*?TRES=cpu=(\d+),mem=(\d+)M"
    found = sorted([int(value) for value in values] for values in re.findall(pattern, told))
    return [Request(cpus, megabytes, minutes) for _, minutes, cpus, megabytes in found]
