"""Validators and readers that others wrote accept every kind of store, plates included."""

import logging

import numpy as np
import pytest
import zarr

from lib.shared.image_io import write_image
from lib.shared.omezarr_utils import (
    WellField,
    export_tiff_to_omezarr,
    export_well_to_omezarr,
    write_plate_metadata,
)

RANDOM = np.random.default_rng(6)
IMAGE = RANDOM.integers(100, 5000, (2, 3, 150, 130)).astype(np.uint16)  # T C Y X
MASKS = (np.arange(150)[:, None] // 20 * 7 + np.arange(130) // 20).astype(np.int32)
NAMES = ["DAPI", "GFP", "Cy5"]
PIXEL = (0.65, 0.65)
STORE = {"chunk_shape": (1, 64, 64)}
VERSIONS = {
    "0.4": {"version": "0.4"},
    "0.5": {"version": "0.5", "sharded": False},
    "0.5 sharded": {"version": "0.5"},
}
IMAGES = ("image", "time series", "float", "masks", "one mask", "image with labels")


@pytest.fixture(scope="module", params=VERSIONS)
def stores(request, tmp_path_factory):
    """Every kind of store of one version, by name."""
    folder = tmp_path_factory.mktemp("stores")
    write_image(folder / "image.tiff", IMAGE[0], "CYX", PIXEL, NAMES)
    write_image(folder / "time.tiff", IMAGE, "TCYX", PIXEL, NAMES)
    write_image(folder / "float.tiff", IMAGE[0, 0].astype(np.float32) - 500, "YX", PIXEL)
    write_image(folder / "nuclei.tiff", MASKS, "YX", PIXEL)
    nuclei = {"nuclei": {"tiff_path": folder / "nuclei.tiff"}}
    inputs = {
        "image": ("image.tiff", {}),
        "time series": ("time.tiff", {}),
        "float": ("float.tiff", {}),
        "one mask": ("nuclei.tiff", {}),
        "image with labels": ("image.tiff", {"label_metadata": nuclei}),
    }
    options = STORE | VERSIONS[request.param]
    paths = {
        name: export_tiff_to_omezarr(folder / tiff, folder / f"{name}.ome.zarr", **options, **keys)
        for name, (tiff, keys) in inputs.items()
    }
    paths["masks"] = export_tiff_to_omezarr(
        [folder / "nuclei.tiff"] * 2,
        folder / "masks.ome.zarr",
        channel_labels=["Nuclei", "Cells"],
        **options,
    )
    paths["plate"] = folder / "P-1__aligned.ome.zarr"
    fields = [
        WellField(str(n), folder / "image.tiff", nuclei, (0, n * 130 * PIXEL[1])) for n in (1, 2)
    ]
    for well in ("A1", "B2"):
        export_well_to_omezarr(fields, paths["plate"], well, overview_side=100, **options)
    write_plate_metadata(paths["plate"], ["A1", "B2"], options["version"])
    paths["well"] = paths["plate"] / "A/1"
    paths["version"] = options["version"]
    return paths


def test_ome_zarr_models(stores):
    models = pytest.importorskip("ome_zarr_models")
    kinds = {}
    for name in (*IMAGES, "plate", "well"):
        group = zarr.open_group(stores[name], mode="r")
        kinds[name] = type(models.open_ome_zarr(group)).__name__
    assert set(kinds[name] for name in IMAGES) == {"Image"}
    assert (kinds["plate"], kinds["well"]) == ("HCS", "Well")
    labels = zarr.open_group(stores["image with labels"] / "labels/nuclei", mode="r")
    assert type(models.open_ome_zarr(labels)).__name__ == "ImageLabel"


def test_yaozarrs(stores):
    yaozarrs = pytest.importorskip("yaozarrs")
    for name in (*IMAGES, "plate", "well"):
        yaozarrs.validate_zarr_store(stores[name])


def test_ngff_zarr(stores):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    pytest.importorskip("jsonschema")
    for name in IMAGES:
        images = ngff_zarr.from_ngff_zarr(stores[name], validate=True, version=stores["version"])
        assert images.images[0].data.shape[-2:] == (150, 130)


def test_ome_zarr_io(stores):
    ome_zarr_io = pytest.importorskip("ome_zarr_io")
    if stores["version"] != "0.5":
        pytest.skip("ome-zarr-io knows 0.5 only")
    for name in (*IMAGES, "plate"):
        report = ome_zarr_io.validate(stores[name])
        assert report.is_valid, (name, report.errors)


def test_ngio(stores):
    ngio = pytest.importorskip("ngio")
    container = ngio.open_ome_zarr_container(stores["image with labels"])
    image = container.get_image()
    np.testing.assert_array_equal(image.get_as_numpy(), IMAGE[0])
    assert (image.pixel_size.y, image.pixel_size.x) == PIXEL
    assert container.channel_labels == NAMES and container.list_labels() == ["nuclei"]
    np.testing.assert_array_equal(container.get_label("nuclei").get_as_numpy(), MASKS)
    plate = ngio.open_ome_zarr_plate(stores["plate"])
    assert sorted(plate.get_images()) == [
        f"{well}/{field}" for well in ("A/1", "B/2") for field in ("1", "2", "overview")
    ]


def layers_in_napari(path):
    reader = pytest.importorskip("napari_ome_zarr").napari_get_reader
    logging.disable(logging.WARNING)  # it reads what is not there, too
    try:
        return reader(str(path))(str(path))
    finally:
        logging.disable(logging.NOTSET)


def test_napari_ome_zarr(stores):
    image, nuclei = layers_in_napari(stores["image with labels"])
    levels, keys, kind = image
    assert kind == "image" and [level.shape[-2:] for level in levels] == [
        (150, 130),
        (75, 65),
        (38, 33),
    ]
    np.testing.assert_array_equal(np.asarray(levels[0]), IMAGE[0])
    assert [name.rpartition(": ")[2] for name in keys["name"]] == NAMES
    assert keys["contrast_limits"][0][0] < keys["contrast_limits"][0][1]
    assert nuclei[2] == "labels"
    np.testing.assert_array_equal(np.asarray(nuclei[0][0]), MASKS)

    (overview, keys, kind) = layers_in_napari(stores["plate"])[0]
    # Two rows and two columns of wells, of which the overviews are shown.
    assert kind == "image" and overview[0].shape == (3, 200, 200)
    shown = np.asarray(overview[0])
    assert shown[:, :100, :100].any() and not shown[:, :100, 100:].any()


def test_ome_zarr_py(stores):
    """The reader of the reference implementation."""
    pytest.importorskip("ome_zarr")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    nodes = [node for node in Reader(parse_url(stores["image with labels"]))() if node.data]
    assert [node.data[0].shape for node in nodes] == [(3, 150, 130), (150, 130)]
    assert nodes[0].metadata["channel_names"] == NAMES
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), IMAGE[0])


def test_chunks_at_the_edge_are_whole(stores):
    """As the specification asks: zarr cannot read them where a writer crops them."""
    array = zarr.open_group(stores["image"], mode="r")["scale0"]
    assert array.shape == (3, 150, 130) and array.chunks == (1, 64, 64)
    np.testing.assert_array_equal(array[..., 128:, 128:], IMAGE[0, :, 128:, 128:])
