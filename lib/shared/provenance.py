"""Where a result comes from."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def provenance(stage: str, config: Mapping[str, Any]) -> dict[str, str]:
    """What is noted beside a result: the stage, the version of the workflow, a hash of its config.

    `config` is the whole configuration, with its defaults.
    """
    text = json.dumps(config, sort_keys=True, default=str)
    return {
        "stage": stage,
        "version": version("poolscope"),
        "config_hash": hashlib.sha256(text.encode()).hexdigest(),
    }


def provenance_of_run(
    run: str, config: Mapping[str, Any], inputs: Sequence[Path]
) -> dict[str, str]:
    """What is noted beside the results of a whole run.

    Its name, version and commit of the workflow (where it is a git repository), a
    hash of the config, the `inputs` (sheets and libraries) with theirs, and now.
    """
    noted = {"run": run, **provenance("run", config)}
    del noted["stage"]
    commit = workflow_commit()
    if commit is not None:
        noted["commit"] = commit
    for path in inputs:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        noted[f"input {path.name}"] = f"sha256:{digest}"
    noted["time"] = datetime.now(UTC).isoformat(timespec="seconds")
    return noted


def workflow_commit() -> str | None:
    """The commit of the workflow, "-dirty" when files differ from it; None outside of git."""
    repository = Path(__file__).parents[2]
    if not (repository / ".git").exists():
        return None
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40",
               "--exclude=*"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
