"""The whole way, with the test server in OMERO's place: raw tiles in, results back, read again.

`python tests/omero_server/demo.py FOLDER` simulates a small screen, has OMERO's
own client upload its tiles as a plate, lists that plate as a sample sheet, runs
the workflow, which fetches the tiles and imports two stages and the tables, and
reads all of it back by clients that are not ours.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from lib.omero.connection import connect  # noqa: E402
from lib.omero.import_image import NAMESPACE  # noqa: E402
from lib.omero.inventory import inventory, write_sheets  # noqa: E402
from lib.omero.paths import ServerDisk  # noqa: E402
from lib.shared import layout  # noqa: E402
from lib.shared.image_io import read_image  # noqa: E402
from lib.shared.samples import read_sbs_samples  # noqa: E402
from lib.simulate.parameters import PRESETS  # noqa: E402
from lib.simulate.screen import simulate_screen  # noqa: E402
from omero_server.command import OmeroCommand  # noqa: E402
from omero_server.logins import account, variables  # noqa: E402
from omero_server.process import ServerProcess  # noqa: E402

SCREEN = replace(
    PRESETS["tiny"], wells=("A1", "B2"), tiles=2, cycles=3, guides=4, phenotype=False, seed=1
)
CHANNELS = ("DAPI", "G", "T", "A", "C")
TAGS = ["optical pooled screen"]
WHERE = """\nThe test server has stopped. What it left:
  sample sheet of the plate   {sheet}
  config of the screen        {config}
  ids of all that was made    {receipt}
  results, as imported        {folder}/results
  the plate, as omero-cli-zarr exported it again   {folder}/exported
The same with an OMERO of your own: docs/omero.md"""


def run(folder: Path, say=lambda line: None) -> dict:
    """Go all the way in `folder`; returns the receipt. Raises when anything differs."""
    folder = Path(folder).resolve()
    (folder / "server").mkdir(parents=True)
    simulate_screen(folder / "microscope", SCREEN)
    server = ServerProcess(folder / "server")
    try:
        source = upload_raw(server, folder / "microscope")
        say(f"OMERO's own client has uploaded the raw tiles as plate {source} of a test server.")
        sheet = list_plate(server, source, folder)
        say("Poolscope has listed the plate as a sample sheet. The workflow runs (half a minute):")
        write_config(server, source, folder, sheet)
        server.do("clear")
        run_workflow(server, folder)
        sent = server.do("report")["pixel_bytes_out"]
        assert sent == 0, "raw pixels did not come from the server's disk"
        say("  raw tiles read from the server's disk, 0 bytes of them over the connection;")
        assert "Nothing to be done" in run_workflow(server, folder)
        path = folder / "results" / layout.OMERO_RECEIPT.format(plate=source)
        receipt = json.loads(path.read_text())
        images, tables = len(receipt["images"]), len(receipt["annotations"]["FileAnnotation"])
        say(f"  imported once: plate {receipt['plate']}, {images} images, {tables} tables.")
        say("Read back and found equal to the files on disk:")
        for line in check(server, receipt, folder):
            say(f"  {line}")
        problems = server.do("report")["problems"]
        assert not problems, problems
    finally:
        server.stop()
    say(WHERE.format(sheet=sheet, config=folder / "config.yml", receipt=path, folder=folder))
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
            "channel_names": list(CHANNELS),
            "bases": ["G", "T", "A", "C"],
        },
        "omero": {
            "import": True,
            "stages": {"sbs": ["align_sbs", "segment_sbs"]},
            "labels": "image",
            "screen": "Poolscope demo",
            "tags": TAGS,
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


def check(server: ServerProcess, receipt: dict, folder: Path) -> Iterator[str]:
    """Read all back by other clients than wrote it, and compare; says what was found equal."""
    from omero.gateway import BlitzGateway

    images = {name: stack_of(folder / "results", name) for name in receipt["images"]}
    conn = BlitzGateway("alice", "alice-secret", host=server.host, port=server.port, secure=True)
    assert conn.connect()
    try:
        yield f"BlitzGateway: {check_planes(conn, receipt, images)}"
        yield f"BlitzGateway: {check_plate(conn, receipt, folder / 'results')}"
        yield f"ezomero: {check_ezomero(conn, receipt, images)}"
    finally:
        conn.close()
    yield f"omero-cli-zarr: {check_export(server, receipt, images, folder / 'exported')}"


def stack_of(results: Path, name: str) -> np.ndarray:
    """(T, C, Y, X) of the file that the server calls "sbs P-1_W-A1_T-0__aligned"."""
    module, stem = name.split(" ")
    image = read_image(results / module / "images" / f"{stem}.tiff")
    return image[(np.newaxis,) * (4 - image.ndim)]


def check_planes(conn, receipt: dict, images: dict) -> str:
    """Every plane, and how each channel of the aligned images is shown."""
    planes, windows = 0, None
    for name, number in receipt["images"].items():
        shown, stack = conn.getObject("Image", number), images[name]
        for t, c in np.ndindex(stack.shape[:2]):
            plane = shown.getPrimaryPixels().getPlane(0, c, t)
            assert (plane == stack[t, c]).all(), f"{name} differs"
            planes += 1
        if not name.endswith("__aligned"):
            continue
        channels = shown.getChannels()
        assert [channel.getLabel() for channel in channels] == list(CHANNELS), name
        assert [channel.getColor().getHtml() for channel in channels][:2] == ["0000FF", "00FF00"]
        found = [(channel.getWindowStart(), channel.getWindowEnd()) for channel in channels]
        # All fields are shown alike, by the first.
        windows = windows or [tuple(np.percentile(plane, (1, 99.9))) for plane in stack[0]]
        assert np.allclose(found, windows), f"windows of {name}: {found}"
        assert np.isclose(shown.getPixelSizeX(), 0.5), name
    return f"{planes} planes of {len(images)} images; channels, colours, windows, pixel size"


def check_plate(conn, receipt: dict, results: Path) -> str:
    """Grid, runs, positions, tables, provenance and tags."""
    plate, source = (conn.getObject("Plate", receipt[key]) for key in ("plate", "source_plate"))
    wells = {well.getWellPos(): well for well in plate.listChildren()}
    assert sorted(wells) == sorted(SCREEN.wells), wells
    runs = {run.getName() for run in plate.listPlateAcquisitions()}
    assert runs == {"sbs aligned", "sbs nuclei", "sbs cells"}
    for well in wells.values():
        assert len(list(well.listChildren())) == SCREEN.tiles * len(runs)
    files = [a.getFile() for a in plate.listAnnotations() if hasattr(a, "getFileInChunks")]
    assert files
    for file in files:
        (own,) = results.rglob(file.getName())
        assert b"".join(file.getFileInChunks()) == own.read_bytes(), f"{own} differs"
    for marked in (plate, source):
        (pairs,) = [dict(a.getValue()) for a in marked.listAnnotations(NAMESPACE)]
        assert pairs["results plate"] == str(receipt["plate"])
        assert {"run", "version", "config_hash", "time", "input sbs_samples.tsv"} <= set(pairs)
        tags = [a for a in marked.listAnnotations() if type(a).__name__ == "TagAnnotationWrapper"]
        assert [tag.getValue() for tag in tags] == TAGS
    return (
        f"wells {', '.join(sorted(wells))}; {len(files)} tables; provenance and tags, at the "
        "source plate too"
    )


def check_ezomero(conn, receipt: dict, images: dict) -> str:
    """Whole stacks, in the order of axes that ezomero gives: T, Z, Y, X, C."""
    import ezomero

    wells = ezomero.get_well_ids(conn, plate=receipt["plate"])
    assert sorted(wells) == sorted(receipt["wells"].values())
    for name, number in receipt["images"].items():
        _, pixels = ezomero.get_image(conn, number)
        assert (pixels == images[name].transpose(0, 2, 3, 1)[:, np.newaxis]).all(), name
    return f"{len(wells)} wells, {len(images)} whole stacks"


def check_export(server: ServerProcess, receipt: dict, images: dict, home: Path) -> str:
    """The plate as an OME-Zarr: every field is one of our images, each once."""
    import zarr

    home.mkdir()
    OmeroCommand(server, home)("zarr", "export", f"Plate:{receipt['plate']}")
    (path,) = home.glob("*.zarr")
    exported = {}
    for well in SCREEN.wells:
        group = zarr.open_group(path / well[0] / well[1:], mode="r")
        exported[well] = [np.squeeze(field["0"][:]) for _, field in group.groups()]
    for name, stack in images.items():
        (well,) = (well for well in exported if f"_W-{well}_" in name)
        equal = [np.array_equal(field, stack.squeeze()) for field in exported[well]]
        assert sum(equal) == 1, name
        exported[well].pop(equal.index(True))
    assert not any(exported.values())
    return f"{len(images)} fields of the plate, exported as OME-Zarr"


if __name__ == "__main__":
    run(Path(sys.argv[1]), say=lambda line: sys.stdout.write(f"{line}\n"))
