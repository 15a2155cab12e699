"""Which files of a run become which images of a plate."""

from pathlib import Path

import numpy as np
import pytest

from lib.omero.import_results import plan_results
from lib.shared import layout
from lib.shared.errors import InputError
from lib.shared.image_io import write_image
from lib.shared.tables import write_table

TILES = [("B2", "10"), ("A1", "0"), ("B2", "2")]


@pytest.fixture
def root(tmp_path) -> Path:
    """Results of three tiles: aligned stacks, nuclei and cells, and positions of well B2."""
    for well, tile in TILES:
        place = {"plate": "1", "well": well, "tile": tile}
        aligned, *_ = layout.SBS["align_sbs"]
        image = np.zeros((3, 5, 6, 7), np.uint16)
        write_image(tmp_path / aligned.format(**place), image, "TCYX", (0.5, 0.5), list("DGTAC"))
        for template in layout.SBS["segment_sbs"][:2]:
            write_image(tmp_path / template.format(**place), np.zeros((6, 7), np.int32), "YX")
    table = {
        "plate": ["1", "1"],
        "well": ["B2", "B2"],
        "tile": ["2", "10"],
        "y_pos": [1.0, 2.0],
        "x_pos": [10.0, np.nan],
    }
    (metadata,) = layout.PREPROCESS["extract_metadata_sbs"]
    write_table(tmp_path / metadata.format(plate="1", well="B2"), table)
    return tmp_path


def plan(root, stages=("align_sbs", "segment_sbs"), **changes):
    settings = {"mode": "upload", "screen_key": "screen"} | changes
    return plan_results(root, "1", {"sbs": TILES}, {"sbs": stages}, **settings)


def test_fields_come_in_the_order_of_wells_and_tiles(root):
    images = plan(root).images
    assert [entry.image.name for entry in images] == [
        "sbs P-1_W-A1_T-0__aligned",
        "sbs P-1_W-B2_T-2__aligned",
        "sbs P-1_W-B2_T-10__aligned",
    ]
    assert {entry.acquisition for entry in images} == {"sbs aligned"}
    assert images[0].image.shape == (3, 5, 1, 6, 7)
    assert [entry.position for entry in images] == [None, (1.0, 10.0), None]


def test_all_fields_of_a_stage_share_the_windows_of_the_first(root):
    first = layout.SBS["align_sbs"][0].format(plate="1", well="A1", tile="0")
    image = np.zeros((3, 5, 6, 7), np.uint16)
    image[:, 1] = np.arange(42).reshape(6, 7) * 10
    write_image(root / first, image, "TCYX", (0.5, 0.5), list("DGTAC"))
    nuclei = layout.SBS["segment_sbs"][0].format(plate="1", well="A1", tile="0")
    write_image(root / nuclei, np.full((6, 7), 9, np.int32), "YX")
    images = plan(root, labels="image").images
    for entry in images[:3]:
        dapi, green, *_ = (style.window for style in entry.image.channels)
        assert green == pytest.approx((0.41 * 10, 40.959 * 10))
        assert dapi == (0, 1)  # an empty channel still has a window
    for entry in images[3:6]:
        assert [style.window for style in entry.image.channels] == [(0, 9)]


def test_labels_become_images_or_masks_when_asked(root):
    as_images = plan(root, labels="image").images
    runs = [entry.acquisition for entry in as_images]
    assert runs == ["sbs aligned"] * 3 + ["sbs nuclei"] * 3 + ["sbs cells"] * 3
    first, *_ = plan(root, labels="masks").images
    assert [name for name, _ in first.masks] == ["nuclei", "cells"]
    assert all(path.exists() for _, path in first.masks)
    assert all(not entry.masks for entry in plan(root).images)


def test_the_same_results_have_the_same_digest(root):
    digest = plan(root).digest()
    assert plan(root, provenance={"time": "later"}).digest() == digest
    assert plan(root, labels="image").digest() != digest
    path = plan(root).images[0].path
    write_image(path, np.ones((3, 5, 6, 7), np.uint16), "TCYX", (0.5, 0.5), list("DGTAC"))
    assert plan(root).digest() != digest


def test_a_stage_without_an_image_per_tile_is_refused(root):
    with pytest.raises(InputError, match=r"call_reads of sbs has no image per tile.*align_sbs"):
        plan(root, ["call_reads"])


def test_a_missing_file_is_named(root):
    (root / layout.SBS["align_sbs"][0].format(plate="1", well="A1", tile="0")).unlink()
    with pytest.raises(InputError, match=r"P-1_W-A1_T-0__aligned\.tiff.*does not exist"):
        plan(root)


def test_registering_needs_the_stores(root):
    with pytest.raises(InputError, match=r"has no \.zattrs"):
        plan(root, ["align_sbs"], mode="register")
