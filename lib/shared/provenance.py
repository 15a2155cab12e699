"""Where a result comes from."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
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
