"""Rounds of staining: files of the same tile whose channels follow one another."""

import numpy as np
import pytest
import tifffile

from lib.preprocess.convert import raw_sources
from lib.preprocess.readers import RawSource, read_raw
from lib.shared.errors import InputError
from lib.shared.samples import read_phenotype_samples

NAMES = ["DAPI", "TUBULIN", "DAPI_2", "P65", "WGA"]
PLACE = {"plate": "1", "well": "A1", "tile": "0"}


@pytest.fixture
def rounds(tmp_path):
    """Two files of a tile, of two and three channels of three planes each, and their sheet."""
    stack = np.random.default_rng(0).integers(0, 60000, (5, 3, 8, 9), np.uint16)
    rows = ["sample_fp\tplate\twell\ttile\tround"]
    for name, channels in (("1", stack[:2]), ("2", stack[2:])):
        path = tmp_path / f"round{name}.ome.tif"
        options = {"photometric": "minisblack", "metadata": {"axes": "CZYX"}}
        tifffile.imwrite(path, channels, ome=True, **options)
        rows.insert(1, f"{path}\t1\tA1\t0\t{name}")  # the sheet lists the second round first
    (tmp_path / "samples.tsv").write_text("\n".join(rows) + "\n")
    return stack, tmp_path / "samples.tsv"


def sources_of(sheet, names):
    samples = read_phenotype_samples(sheet, channel_names=names)
    rows = samples.sources("1", "A1", "0")
    parts = [(row.path, row.channel, row.z, row.position) for row in rows]
    return raw_sources(parts, str(sheet), PLACE)


@pytest.mark.parametrize("z", ["max", 1])
def test_rounds_follow_one_another_in_their_own_order(rounds, z):
    stack, sheet = rounds
    tile = read_raw(sources_of(sheet, NAMES), NAMES, z)
    np.testing.assert_array_equal(tile, stack.max(axis=1) if z == "max" else stack[:, z])


@pytest.mark.parametrize("names", [NAMES[:4], [*NAMES, "GFP"], NAMES[:1]])
def test_rounds_that_do_not_add_up_are_refused(rounds, names):
    sources = sources_of(rounds[1], names)
    said = f"2 files of the tile of .*round1.* hold 5 channels in all, but {len(names)} are"
    with pytest.raises(InputError, match=said):
        read_raw(sources, names)


def test_rounds_of_unequal_size_are_refused(tmp_path):
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, size in zip(paths, (8, 9), strict=True):
        shape = np.zeros((2, size, size), np.uint16)
        tifffile.imwrite(path, shape, photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"b\.tif is 9 x 9 pixels, but .*a\.tif of the same"):
        read_raw([RawSource(path) for path in paths], NAMES[:4])
