"""The illumination field is found in spite of cells, dirt and empty tiles."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from lib.shared.illumination import correct, estimate_field, reduce_tile, to_uint16

SHAPE = (160, 192)
DATA = Path(__file__).parents[3] / "shared" / "data" / "illumination"


def vignette(shape):
    rows, columns = (np.linspace(-1, 1, size) for size in shape)
    return (1 - 0.35 * ((rows[:, None] - 0.1) ** 2 + columns**2) / 2).astype(np.float32)


def tiles(count, seed=0):
    """Tiles with random bright cells under one vignette, two of them bad."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        tile = np.full(SHAPE, 200.0)
        for i, j in rng.integers(0, np.array(SHAPE) - 12, (60, 2)):
            tile[i : i + 12, j : j + 12] += rng.uniform(50, 400)
        if index == 3:
            tile[:80, :90] += 20000  # dirt
        tile = rng.poisson(tile * vignette(SHAPE))
        yield (np.zeros((1, *SHAPE)) if index == 5 else tile[None]).astype(np.uint16)


def test_field_of_known_vignette():
    field = estimate_field(map(reduce_tile, tiles(30)), SHAPE)[0]
    truth = vignette(SHAPE)
    ratio = (field / field.mean()) / (truth / truth.mean())
    assert np.abs(ratio - 1).max() < 0.06
    assert np.abs(ratio - 1).mean() < 0.015
    assert np.quantile(field, 0.02) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "share"), [(2, 1), (3, 1), (7, 0.5)])
def test_cells_of_a_handful_of_tiles_leave_no_imprint(count, share, seed):
    """From few tiles a field is no worse than none, from a few more it is much better."""
    field = estimate_field(map(reduce_tile, tiles(count, seed)), SHAPE)[0]
    truth = vignette(SHAPE)
    error = (field / field.mean()) / (truth / truth.mean()) - 1
    assert error.std() < share * (truth / truth.mean()).std()


def test_one_even_tile_gives_ones():
    field = estimate_field([reduce_tile(np.full((2, *SHAPE), 300, np.uint16))], SHAPE)
    np.testing.assert_allclose(field, 1, atol=1e-5)


def test_only_empty_tiles_give_ones_and_no_tiles_an_error():
    empty = np.zeros((1, *SHAPE), np.uint16)
    np.testing.assert_array_equal(estimate_field([reduce_tile(empty)], SHAPE), 1)
    with pytest.raises(ValueError):
        estimate_field([], SHAPE)


def test_correction_rounds_and_clips():
    image = np.array([[10, 65535, 7]], np.uint16)
    field = np.array([[4, 0.5, 2]], np.float32)
    np.testing.assert_array_equal(to_uint16(correct(image, field)), [[2, 65535, 4]])


@pytest.mark.skipif(not DATA.exists(), reason="real images are not here")
def test_real_shading_is_evened_out():
    fields = [tifffile.imread(path)[None] for path in sorted(DATA.glob("*.TIF"))]
    field = estimate_field(map(reduce_tile, fields[::2]), fields[0].shape[1:])

    def unevenness(images):
        """Spread of the mean of tiles that the field has not seen, over a coarse grid."""
        mean = np.mean([reduce_tile(image)[0] for image in images], axis=0)
        return mean.std() / mean.mean()

    unseen = fields[1::2]
    assert unevenness([correct(image, field) for image in unseen]) < 0.6 * unevenness(unseen)
