"""Screenshots of a well of known pixels: in napari under Xvfb, in Vizarr and neuroglancer.

Two overlapping tiles hold a disc each of a colour of its own; the picture must show the
discs where they lie in the well, whatever its scale, and labels and reads on them. The
browser is Chromium without a window. To look at the pictures, keep them:
`pytest tests/integration/test_viewers.py --basetemp shots -o tmp_path_retention_policy=all`.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from lib.shared.image_io import write_image
from lib.shared.layout import OMEZARR, SBS, plate_store
from lib.shared.omezarr_utils import (
    WellField,
    export_tiff_to_omezarr,
    export_well_to_omezarr,
    write_plate_metadata,
)
from lib.shared.tables import write_table
from visualization.packages import vizarr_script
from visualization.serve import Server

pytestmark = pytest.mark.slow

SIDE, STEP = 128, 100  # px: of a tile, and from tile to tile
RADIUS, LABELLED_RADIUS = 14, 10
CHANNELS = ("DAPI", "G", "T")
# Middles (y, x) in the well, px. Time 1 has its green disc elsewhere.
BLUE, LABELLED, GREEN, RED = (100, 160), (40, 40), (96, 64), (64, 190)
READ = (30, 140)
STAGE_UM = {"0": (500.0, 300.0), "1": (500.0, 300.0 + STEP)}
XVFB = ["xvfb-run", "-a", "-s", "-screen 0 1280x900x24 +extension GLX"]
VIZARR_PANEL = 215  # px at the left of its window, with coloured sliders
PAINTED_WITHIN = 90  # seconds


def missing(*needs):
    """Skip where one of (is there, how to get it) is not."""
    lacking = [words for there, words in needs if not there]
    return pytest.mark.skipif(bool(lacking), reason="; ".join(lacking) or "nothing is missing")


INSTALL = 'pip install "poolscope[view]"'
needs_napari = missing(
    (find_spec("napari"), f"napari is not installed ({INSTALL})"),
    (shutil.which("xvfb-run"), "xvfb-run is missing (on Debian: apt install xvfb)"),
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser_there = (CHROMIUM, "Chromium is missing (on Debian: apt install chromium)")
needs_vizarr = missing(
    browser_there,
    (vizarr_script().is_file(), "Vizarr is not there (python -m visualization.packages)"),
)
needs_neuroglancer = missing(
    browser_there, (find_spec("neuroglancer"), f"neuroglancer is not installed ({INSTALL})")
)


# The well.


def disc(middle, corner, radius=RADIUS):
    y, x = np.ogrid[:SIDE, :SIDE]
    middle = np.subtract(middle, corner)
    return (y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2


def tile_pixels(tile):
    image = np.full((2, len(CHANNELS), SIDE, SIDE), 100, np.uint16)
    if tile == "0":
        image[:, 0, disc(LABELLED, (0, 0), LABELLED_RADIUS)] = 1000
        image[0, 1, disc(GREEN, (0, 0))] = 1000
        image[1, 1, disc((30, 75), (0, 0))] = 1000
    else:
        image[:, 0, disc(BLUE, (0, STEP))] = 1000
        image[:, 2, disc(RED, (0, STEP))] = 1000
    return image


def make_results(results, layout):
    """Stores of the well: tiles of 0.4, or a plate of 0.5 with shards; and one read."""
    tiffs = results / "tiffs"
    fields = []
    for tile, middle in STAGE_UM.items():
        nuclei = np.where(disc(LABELLED, (0, 0), LABELLED_RADIUS), 1, 0) * (tile == "0")
        write_image(tiffs / f"{tile}.tiff", tile_pixels(tile), "TCYX", (1.0, 1.0), CHANNELS)
        write_image(tiffs / f"{tile}_nuclei.tiff", nuclei.astype(np.int32), "YX", (1.0, 1.0))
        masks = {"nuclei": {"tiff_path": tiffs / f"{tile}_nuclei.tiff"}}
        fields.append(WellField(tile, tiffs / f"{tile}.tiff", masks, middle))
    template = OMEZARR["sbs"]["align_sbs"]
    options = {"chunk_shape": (1, 64, 64), "max_levels": 2}
    if layout == "tile":
        for field in fields:
            export_tiff_to_omezarr(
                field.tiff_path,
                results / template.format(plate="1", well="A1", tile=field.name),
                label_metadata=field.label_metadata,
                stage_position=field.stage_position,
                **options,
            )
    else:
        plate = results / plate_store(template).format(plate="1")
        export_well_to_omezarr(fields, plate, "A1", version="0.5", overview_side=256, **options)
        write_plate_metadata(plate, ["A1"], "0.5")
    shutil.rmtree(tiffs)
    reads = {name: np.array([value]) for name, value in {"cell": 0, "i": 30.0, "j": 40.0}.items()}
    text = {"tile": ["1"], "barcode": ["ACGT"], "gene_symbol": ["MYC"]}
    write_table(results / SBS["call_reads"][0].format(plate="1", well="A1"), reads | text)


@pytest.fixture(scope="module", params=["tile", "plate"])
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_results(folder, request.param)
    return folder


# What a picture shows.


def blob(picture, color):
    """Middle (y, x) and area of the largest patch of a pure colour; None where there is none."""
    wanted = np.array([channel in color for channel in "rgb"])
    mask = (picture[..., wanted] > 180).all(-1) & (picture[..., ~wanted] < 70).all(-1)
    _, _, found, middles = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(found) < 2:
        return None
    largest = 1 + np.argmax(found[1:, cv2.CC_STAT_AREA])
    return middles[largest][::-1], found[largest, cv2.CC_STAT_AREA]


def is_painted(picture):
    blobs = [blob(picture, color) for color in "rgb"]
    return all(found is not None and found[1] > 200 for found in blobs)


def frame_of(picture):
    """Scale and offset from the well's pixels to the picture's, from the three pure discs.

    They must lie as in the well: neither turned, nor mirrored, nor stretched.
    """
    found = [blob(picture, color) for color in "bgr"]
    assert None not in found, "a colour is missing"
    places = np.array([middle for middle, _ in found])
    known = np.array([BLUE, GREEN, RED], float)
    spread, spread_there = (points - points.mean(axis=0) for points in (known, places))
    scale = (spread * spread_there).sum() / (spread**2).sum()
    offset = places.mean(axis=0) - scale * known.mean(axis=0)
    residual = np.abs(places - (scale * known + offset)).max()
    assert scale > 1 and residual < 0.05 * scale * RADIUS + 1.5, (scale, residual)
    areas = np.array([area for _, area in found])
    assert areas == pytest.approx(np.pi * (RADIUS * scale) ** 2, rel=0.15)
    return scale, offset


def patch(picture, place, frame, reach=0.5):
    """The picture around a place of the well, to `reach` radii of a disc."""
    scale, offset = frame
    y, x = np.rint(scale * np.array(place) + offset).astype(int)
    half = max(1, int(scale * RADIUS * reach))
    return picture[y - half : y + half + 1, x - half : x + half + 1].astype(int)


def read_picture(path):
    return cv2.imread(str(path))[..., ::-1]


# napari.

NAPARI_SCRIPT = """
import sys
from pathlib import Path
import napari
from visualization.napari_viewer import add_layers
from visualization.wells import view_well

results, out = map(Path, sys.argv[1:])
viewer = napari.Viewer(show=True)
viewer.window._qt_window.resize(1200, 850)
add_layers(viewer, view_well(results, "sbs", "align_sbs", "1", "A1"))
viewer.canvas.overlays.scale_bar.visible = False
for name, hidden in {"all": (), "no_labels": ("nuclei",), "image": ("nuclei", "reads")}.items():
    for layer in viewer.layers:
        layer.visible = layer.name not in hidden
    viewer.screenshot(str(out / f"{name}.png"), canvas_only=True, flash=False)
print([(layer.name, type(layer).__name__) for layer in viewer.layers])
viewer.close()
"""


def in_xvfb(*command):
    environment = os.environ | {"QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}
    done = subprocess.run(
        [*XVFB, sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_napari
def test_napari_shows_channels_labels_and_reads(results, tmp_path):
    said = in_xvfb("-c", NAPARI_SCRIPT, str(results), str(tmp_path))
    layers = [(name, "Image") for name in CHANNELS] + [("nuclei", "Labels"), ("reads", "Points")]
    assert said.strip() == str(layers)
    image, no_labels, everything = (
        read_picture(tmp_path / f"{name}.png") for name in ("image", "no_labels", "all")
    )
    frame = frame_of(image)
    assert (patch(image, LABELLED, frame)[..., 2] > 180).all()

    # A read of base A is magenta, as its channel; nothing else has changed.
    changed = np.argwhere((image != no_labels).any(-1))
    scale, offset = frame
    assert np.abs(changed.mean(axis=0) - (scale * np.array(READ) + offset)).max() < scale
    red, green, blue = patch(no_labels, READ, frame, reach=0.05).mean(axis=(0, 1))
    assert red > 150 and blue > 150 and green < 80

    # Outlines of labels lie on the border of their disc.
    changed = np.argwhere((everything != no_labels).any(-1))
    distance = np.hypot(*(changed - (scale * np.array(LABELLED) + offset)).T) / scale
    assert len(changed) > 100
    assert distance.min() > LABELLED_RADIUS - 4 and distance.max() < LABELLED_RADIUS + 2


@needs_napari
def test_napari_command_line_writes_a_screenshot(results, tmp_path):
    path = tmp_path / "well.png"
    command = ["-m", "visualization.napari_viewer", str(results), "--plate", "1", "--well", "A1"]
    in_xvfb(*command, "--screenshot", str(path))
    frame_of(read_picture(path))


# The browser.


class Browser:
    """Chromium without a window, spoken to through a pipe (Chrome DevTools Protocol)."""

    FLAGS = (
        "--headless=new --no-first-run --remote-debugging-pipe --window-size=1000,800 "
        "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"
    )

    def __init__(self, profile):
        flags = [*self.FLAGS.split(), f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "-", CHROMIUM, *flags],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._number, self.addresses = 0, []

    def close(self):
        self._say("Browser.close")
        self._process.wait(30)
        self._out.close()
        self._in.close()

    def look(self, address, until):
        """A picture of a page once `until` holds of it."""
        target = self._say("Target.createTarget", url="about:blank")["targetId"]
        page = self._say("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._say("Network.enable", page)
        self._say("Page.enable", page)
        self._say("Page.navigate", page, url=address)
        while self._hear().get("method") != "Page.loadEventFired":
            pass
        end = time.monotonic() + PAINTED_WITHIN
        while time.monotonic() < end:
            png = base64.b64decode(self._say("Page.captureScreenshot", page)["data"])
            picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            if until(picture):
                break
            time.sleep(0.5)
        self._say("Target.closeTarget", targetId=target)
        return picture

    def _say(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._hear()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _hear(self):
        """The next message; addresses that pages ask for are noted."""
        message = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "Chromium has stopped"
            message += byte
        answer = json.loads(message)
        if answer.get("method") == "Network.requestWillBeSent":
            self.addresses.append(answer["params"]["request"]["url"])
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def server(results):
    with Server(results, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def keep(picture, path):
    cv2.imwrite(str(path), picture[..., ::-1])


def check_addresses(browser, server):
    """Pages have asked for something, and nobody but the server."""
    assert browser.addresses
    assert all(one.startswith(("data:", "blob:", server.address)) for one in browser.addresses)
    browser.addresses.clear()


@needs_vizarr
def test_vizarr_shows_colours_where_the_signal_is(server, browser, results, tmp_path):
    """Of a plate it shows the overviews of wells, else a tile."""
    store = next(results.glob("sbs/omezarr/*.ome.zarr"), None)
    discs = {"b": (BLUE, RADIUS), "g": (GREEN, RADIUS), "r": (RED, RADIUS)}
    if store is None:
        name = OMEZARR["sbs"]["align_sbs"].format(plate="1", well="A1", tile="0")
        store, discs = results / name, {"b": (LABELLED, LABELLED_RADIUS), "g": discs["g"]}
    address = quote(store.relative_to(results).as_posix(), safe="")

    def found(picture):
        return {color: blob(picture[:, VIZARR_PANEL:], color) for color in "rgb"}

    def is_shown(picture):
        return all(found(picture)[color] and found(picture)[color][1] > 300 for color in discs)

    picture = browser.look(f"{server.address}vizarr/?store={address}", is_shown)
    keep(picture, tmp_path / "vizarr.png")
    blobs = found(picture)
    assert {color for color, one in blobs.items() if one} == set(discs)
    scale = np.sqrt(blobs["g"][1] / np.pi) / RADIUS
    for color, (place, radius) in discs.items():
        middle, area = blobs[color]
        assert area == pytest.approx(np.pi * (radius * scale) ** 2, rel=0.15)
        expected = scale * np.subtract(place, GREEN)
        assert middle - blobs["g"][0] == pytest.approx(expected, abs=0.2 * scale * RADIUS)
    check_addresses(browser, server)


@needs_neuroglancer
def test_neuroglancer_shows_the_well_with_labels_on_their_objects(server, browser, tmp_path):
    shown = quote("module=sbs&stage=align_sbs&plate=1&well=A1", safe="")

    def is_labelled(picture):
        try:
            return is_painted(picture) and is_tinted(picture)
        except AssertionError:  # some tiles are not yet there
            return False

    picture = browser.look(f"{server.address}neuroglancer/v/{shown}/", is_labelled)
    keep(picture, tmp_path / "neuroglancer.png")
    assert is_tinted(picture), "no label lies on the disc that has one"
    frame = frame_of(picture)
    # Around it there is nothing: the label is as large as its disc.
    y, x = LABELLED
    beside = 1.4 * LABELLED_RADIUS
    for place in ((y + beside, x), (y, x + beside), (y - beside, x)):
        assert (patch(picture, place, frame, reach=0.1) < 40).all()
    # The disc without a label has none.
    assert (patch(picture, BLUE, frame)[..., :2] < 15).all()
    check_addresses(browser, server)


def is_tinted(picture):
    """Whether the labelled blue disc has the colour of a label on it, all over."""
    inside = patch(picture, LABELLED, frame_of(picture), reach=0.4)
    return bool((inside[..., :2].max(axis=-1) > 25).all())


@needs_vizarr
@needs_neuroglancer
def test_pages_lead_to_the_viewers(server, browser, tmp_path):
    """The list is a page that a browser shows; its links are tested without one."""
    picture = browser.look(f"{server.address}well?plate=1&well=A1", lambda p: p.std() > 1)
    keep(picture, tmp_path / "page.png")
    assert picture.mean() > 200, "a light page with some text on it"
    browser.addresses.clear()
