"""The whole way, with the test server in OMERO's place: raw tiles in, results back, read again.

`python tests/omero_server/demo.py FOLDER` simulates a small screen, has OMERO's
own client upload its tiles as a plate, lists that plate as a sample sheet, runs
the workflow, which fetches the tiles and imports two stages and the tables, and
reads all of it back.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from lib.omero.connection import connect  # noqa: E402
from lib.omero.inventory import inventory, write_sheets  # noqa: E402
from lib.omero.paths import ServerDisk  # noqa: E402
from lib.shared import layout  # noqa: E402
from lib.shared.image_io import read_image  # noqa: E402
from lib.shared.samples import read_sbs_samples  # noqa: E402
from lib.simulate.parameters import PRESETS  # noqa: E402
from lib.simulate.screen import simulate_screen  # noqa: E402
from omero_server.logins import account, variables  # noqa: E402
from omero_server.process import ServerProcess  # noqa: E402

SCREEN = replace(
    PRESETS["tiny"], wells=("A1", "B2"), tiles=2, cycles=3, guides=4, phenotype=False, seed=1
)


def run(folder: Path, say=lambda line: None) -> dict:
    """Go all the way in `folder`; returns the receipt. Raises when anything differs."""
    folder = Path(folder).resolve()
    (folder / "server").mkdir(parents=True)
    simulate_screen(folder / "microscope", SCREEN)
    server = ServerProcess(folder / "server")
    try:
        source = upload_raw(server, folder / "microscope")
        say(f"OMERO's own client uploaded the raw tiles: plate {source}")
        sheet = list_plate(server, source, folder)
        say(f"listed: {sheet}")
        write_config(server, source, folder, sheet)
        server.do("clear")
        run_workflow(server, folder)
        sent = server.do("report")["pixel_bytes_out"]
        say(f"ran the workflow, {sent} bytes of raw pixels over the connection: {folder}/results")
        assert sent == 0, "raw pixels did not come from the server's disk"
        assert "Nothing to be done" in run_workflow(server, folder)
        path = folder / "results" / layout.OMERO_RECEIPT.format(plate=source)
        receipt = json.loads(path.read_text())
        say(f"imported, once: {path}")
        say(check(server, receipt, folder / "results"))
        problems = server.do("report")["problems"]
        assert not problems, problems
    finally:
        server.stop()
    return receipt


def upload_raw(server: ServerProcess, folder: Path) -> int:
    """Upload the tiles of a sample sheet as a plate with a run per cycle, by the stock gateway."""
    import omero.model
    from omero.gateway import BlitzGateway
    from omero.rtypes import rint, rstring

    samples = read_sbs_samples(folder / "sbs_samples.tsv")
    (plate,) = samples.plates
    cycles = samples.cycles(*next(samples.every_tile()))
    conn = BlitzGateway("alice", "alice-secret", host=server.host, port=server.port, secure=True)
    assert conn.connect()
    update = conn.getUpdateService()
    made = omero.model.PlateI()
    made.setName(rstring("raw tiles"))
    for cycle in cycles:
        acquisition = omero.model.PlateAcquisitionI()
        acquisition.setName(rstring(f"Cycle {cycle}"))
        made.addPlateAcquisition(acquisition)
    made = update.saveAndReturnObject(made)
    acquisitions = {a.getName().val: a.id.val for a in made.copyPlateAcquisitions()}
    for name in samples.wells(plate):
        well = omero.model.WellI()
        well.setPlate(omero.model.PlateI(made.id.val, False))
        well.setRow(rint(ord(name[0]) - ord("A")))
        well.setColumn(rint(int(name[1:]) - 1))
        for tile in samples.tiles(plate, name):
            for cycle in cycles:
                (source,) = samples.sources(plate, name, tile, cycle)
                image = read_image(source.path)
                uploaded = conn.createImageFromNumpySeq(
                    iter(image), f"{name} {tile} {cycle}", sizeC=len(image)
                )
                sample = omero.model.WellSampleI()
                sample.setImage(omero.model.ImageI(uploaded.getId(), False))
                run_id = acquisitions[f"Cycle {cycle}"]
                sample.setPlateAcquisition(omero.model.PlateAcquisitionI(run_id, False))
                well.addWellSample(sample)
        update.saveObject(well)
    conn.close()
    return made.id.val


def list_plate(server: ServerProcess, plate: int, folder: Path) -> Path:
    """Write the plate's sample sheet; its images have no file of their own yet."""
    disk = ServerDisk.of([server.folder])
    with connect(account(server)) as gateway:
        listed = inventory(gateway, plate, disk, folder / "omero/images")
    (sheet,) = write_sheets(listed, folder)
    return sheet


def write_config(server: ServerProcess, source: int, folder: Path, sheet: Path) -> None:
    """Write the config of the screen: its library, and where things lie on the server."""
    config = {
        "all": {"root_fp": str(folder / "results")},
        "preprocess": {"sbs_samples_fp": str(sheet), "pixel_size_um": 0.5},
        "sbs": {
            "barcode_library_fp": str(folder / "microscope/barcode_library.tsv"),
            "channel_names": ["DAPI", "G", "T", "A", "C"],
            "bases": ["G", "T", "A", "C"],
        },
        "omero": {
            "import": True,
            "stages": {"sbs": ["align_sbs", "segment_sbs"]},
            "labels": "image",
            "screen": "Poolscope demo",
            "tags": ["optical pooled screen"],
            "source_plates": {str(source): source},
            "local_roots": [str(server.folder)],
        },
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))


def run_workflow(server: ServerProcess, folder: Path) -> str:
    """Run `snakemake`: it fetches the raw tiles, and imports stages and tables at the end."""
    figures = ["eval_illumination_sbs", "eval_sbs_well", "eval_sbs", "eval_run"]
    snakefile = str(REPOSITORY / "workflow/Snakefile")
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--cores", "2"]
    command += ["--configfile", "config.yml", "--omit-from", *figures]
    environ = os.environ | {"OMP_NUM_THREADS": "1"} | variables(server)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check(server: ServerProcess, receipt: dict, results: Path) -> str:
    """Read everything back by other clients than wrote it, and compare with the files."""
    from omero.gateway import BlitzGateway

    conn = BlitzGateway("alice", "alice-secret", host=server.host, port=server.port, secure=True)
    assert conn.connect()
    planes = 0
    for name, number in receipt["images"].items():
        image = read_image(results / "sbs/images" / f"{name.removeprefix('sbs ')}.tiff")
        pixels = conn.getObject("Image", number).getPrimaryPixels()
        image = image.reshape((-1, *image.shape[-3:]) if image.ndim > 2 else (1, 1, *image.shape))
        for t, c in np.ndindex(image.shape[:2]):
            assert (pixels.getPlane(0, c, t) == image[t, c]).all(), f"{name} differs"
            planes += 1
    plate = conn.getObject("Plate", receipt["plate"])
    grid = sorted(well.getWellPos() for well in plate.listChildren())
    assert grid == sorted(SCREEN.wells), grid
    aligned = conn.getObject("Image", next(iter(receipt["images"].values())))
    assert [c.getLabel() for c in aligned.getChannels()] == ["DAPI", "G", "T", "A", "C"]
    assert aligned.getChannels()[0].getColor().getHtml() == "0000FF"
    files = [a.getFile() for a in plate.listAnnotations() if hasattr(a, "getFileInChunks")]
    for file in files:
        (own,) = results.rglob(file.getName())
        assert b"".join(file.getFileInChunks()) == own.read_bytes(), f"{own} differs"
    conn.close()
    return f"read back, equal: {planes} planes, {len(files)} tables, wells {', '.join(grid)}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), say=lambda line: sys.stdout.write(f"{line}\n"))
