"""The whole way: raw tiles in OMERO, sample sheet, workflow, import, and reading it all back."""

from pathlib import Path

import pytest

for package in ("omero.gateway", "ezomero", "omero_zarr"):
    pytest.importorskip(package, reason=f"{package} is not installed: run `make omero`")


@pytest.mark.slow
def test_a_screen_goes_from_omero_to_omero(tmp_path):
    from omero_server.demo import run

    said = []
    receipt = run(tmp_path / "demo", said.append)
    assert set(receipt["acquisitions"]) == {"sbs aligned", "sbs nuclei", "sbs cells"}
    assert len(receipt["images"]) == 12
    told = "\n".join(said)
    assert "0 bytes of them over the connection" in told
    assert "BlitzGateway: 68 planes of 12 images" in told
    assert "wells A1, B2; 8 tables; provenance and tags" in told
    assert "ezomero: 2 wells, 12 whole stacks" in told
    assert "omero-cli-zarr: 12 fields" in told
    # It ends with where to look.
    places = [line.split()[-1] for line in said[-1].splitlines() if line.startswith("  ")]
    assert len(places) == 5
    assert all(Path(place).exists() for place in places)
