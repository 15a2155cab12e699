"""Cellpose and StarDist: the calls made, and what a user reads when something is missing."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lib.shared.errors import InputError
from lib.shared.segmentation import cellpose as adapter
from lib.shared.segmentation import segment
from lib.shared.segmentation.parameters import SegmentationParameters

TINY = Path(__file__).parents[2].parent / "shared" / "data" / "cellpose_tiny" / "tiny8.pt"


def disks():
    """Twelve nuclei of 20 px on a grid: image and truth."""
    y, x = np.mgrid[:160, :200]
    true = np.zeros((160, 200), np.int32)
    for k, (i, j) in enumerate((i, j) for i in (30, 80, 130) for j in (30, 80, 130, 180)):
        true[(y - i) ** 2 + (x - j) ** 2 <= 100] = k + 1
    noise = np.random.default_rng(0).normal(0, 20, true.shape)
    return (300 + 2000 * (true > 0) + noise).astype(np.uint16), true


@pytest.mark.parametrize("method", ["cellpose", "stardist"])
def test_a_missing_package_names_the_install_command(method, monkeypatch):
    monkeypatch.setitem(sys.modules, method, None)
    monkeypatch.setitem(sys.modules, f"{method}.models", None)
    with pytest.raises(InputError, match=rf'pip install "poolscope\[{method}\]"'):
        segment(disks()[0], None, {"method": method})


@pytest.mark.parametrize("method", ["cellpose", "stardist"])
def test_an_empty_tile_needs_no_model(method, monkeypatch):
    monkeypatch.setitem(sys.modules, method, None)
    tile = np.full((50, 60), 400, np.uint16)
    assert segment(tile, tile, {"method": method}).stats["cells"] == 0


def test_scaling():
    image = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    assert adapter.scale_nuclei(image).max() == pytest.approx(999 / np.percentile(image, 99.5))
    scaled = adapter.scale_cytoplasm(image)
    assert scaled.dtype == np.float32
    assert scaled.max() == 1 and (scaled.ravel()[:100] == 0).all()
    base = np.percentile(image, 10)
    assert scaled[10, 25] == pytest.approx(np.log10(525 - base + 1) / np.log10(999 - base + 1))


class Model:
    """Stands in for a CellposeModel: notes what it is asked, finds one object."""

    def eval(self, image, **settings):
        self.image, self.settings = image, settings
        masks = np.zeros(image.shape[:2], np.uint16)
        masks[2:5, 2:5] = 40
        return masks, None, None


@pytest.mark.parametrize(
    ("major", "planes", "channels"), [(3, 1, [1, 0]), (3, 2, [1, 2]), (4, 1, None), (4, 2, None)]
)
def test_each_version_is_asked_in_its_own_way(major, planes, channels, monkeypatch):
    monkeypatch.setattr(adapter, "_major", lambda: major)
    chosen = SegmentationParameters(flow_threshold=0.6, cell_probability_threshold=-1.0)
    model = Model()

    masks = adapter._masks(model, np.ones((8, 9, planes), np.float32), 21.0, chosen)

    assert masks.dtype == np.int32 and masks.max() == 1 and (masks > 0).sum() == 9
    assert model.image.shape == (8, 9, 3)
    assert model.settings.get("channels") == channels
    assert model.settings["diameter"] == 21.0
    assert model.settings["flow_threshold"] == 0.6
    assert model.settings["cellprob_threshold"] == -1.0


def test_cells_are_asked_for_with_cytoplasm_first(monkeypatch):
    model, image = Model(), disks()[0]
    monkeypatch.setattr(adapter, "_load", lambda *_: model)
    monkeypatch.setattr(adapter, "_major", lambda: 3)
    cytoplasm = np.roll(image, 20, axis=0)

    found = segment(image, cytoplasm, {"method": "cellpose", "nucleus_diameter_px": 20})

    assert model.settings["diameter"] == 40.0
    np.testing.assert_array_equal(model.image[..., 0], adapter.scale_cytoplasm(cytoplasm))
    np.testing.assert_array_equal(model.image[..., 1], adapter.scale_nuclei(image))
    assert found.stats["cells"] == 1


@pytest.fixture
def cellpose():
    return pytest.importorskip("cellpose.models", reason="needs cellpose")


def test_missing_or_wrong_weights_are_named(cellpose, tmp_path, monkeypatch):
    image, _ = disks()
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no weights")
    for path, message in ((tmp_path / "absent.pt", "is no file"), (wrong, "holds no weights")):
        with pytest.raises(InputError, match=message):
            segment(image, None, {"method": "cellpose", "model_path": str(path)})

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(cellpose, "MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr(cellpose.utils, "download_url_to_file", no_network)
    with pytest.raises(InputError, match=r"neither be found nor downloaded.*model_path"):
        segment(image, None, {"method": "cellpose"})


@pytest.mark.skipif(not TINY.is_file(), reason="needs the small network")
def test_cellpose_finds_nuclei(cellpose, monkeypatch):
    """The whole code path of cellpose 3 with a network of a thirtieth of the usual size."""
    if not hasattr(cellpose, "CPnet"):
        pytest.skip("the small network is one of cellpose 3")
    torch = pytest.importorskip("torch")

    class SmallNet(cellpose.CPnet):
        def __init__(self, nbase, *rest, **options):
            super().__init__([nbase[0], 8, 16, 32, 64], *rest, **options)

        def forward(self, data):
            output, style, *rest = super().forward(data)
            return output, torch.nn.functional.pad(style, (0, 256 - style.shape[1])), *rest

    monkeypatch.setattr(cellpose, "CPnet", SmallNet)
    image, true = disks()

    found = segment(image, image, {"method": "cellpose", "model_path": str(TINY), "gpu": False})

    assert found.stats["cells"] == 12
    overlap = (found.nuclei > 0) & (true > 0)
    assert overlap.sum() > 0.8 * ((found.nuclei > 0) | (true > 0)).sum()
    assert (found.cells[found.nuclei > 0] == found.nuclei[found.nuclei > 0]).all()


@pytest.mark.skipif(find_spec("stardist") is None, reason="needs stardist")
def test_a_folder_without_a_stardist_model_is_named(tmp_path):
    with pytest.raises(InputError, match="is no stardist model"):
        segment(disks()[0], None, {"method": "stardist", "model_path": str(tmp_path)})
