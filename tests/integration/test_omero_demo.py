"""The whole way: raw tiles in OMERO, sample sheet, workflow, import, and reading it all back."""

import pytest

pytest.importorskip("omero.gateway", reason="omero-py is not installed: run `make omero`")


@pytest.mark.slow
def test_a_screen_goes_from_omero_to_omero(tmp_path):
    from omero_server.demo import run

    said = []
    receipt = run(tmp_path / "demo", said.append)
    assert set(receipt["acquisitions"]) == {"sbs aligned", "sbs nuclei", "sbs cells"}
    assert len(receipt["images"]) == 12
    assert "read back, equal: 68 planes, 8 tables, wells A1, B2" in said[-1]
