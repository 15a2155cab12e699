"""What is noted beside the results of a run."""

import hashlib
import re

from lib.shared import provenance
from lib.shared.provenance import provenance_of_run, workflow_commit


def test_a_run_notes_its_name_its_config_and_its_inputs(tmp_path):
    sheet = tmp_path / "sbs_samples.tsv"
    sheet.write_bytes(b"abc")
    noted = provenance_of_run("screen", {"all": {"seed": 1}}, [sheet])
    assert noted["run"] == "screen"
    assert noted["input sbs_samples.tsv"] == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", noted["time"])
    other = provenance_of_run("screen", {"all": {"seed": 2}}, [sheet])
    assert other["config_hash"] != noted["config_hash"]


def test_outside_of_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "lib/shared/provenance.py"))
    assert workflow_commit() is None
    assert "commit" not in provenance_of_run("screen", {}, [])
