"""Which tile of a well the pictures show."""

import numpy as np
import pandas as pd
import pytest

from lib.qc.example import read_example
from lib.shared.image_io import write_image


@pytest.fixture
def images(tmp_path):
    """Templates of images of four tiles; every pixel is the tile's number."""
    for tile in range(4):
        image = np.full((8, 9), tile, np.uint16)
        write_image(tmp_path / f"1_A1_{tile}_aligned.tiff", np.stack([image] * 3), axes="CYX")
        for kind in ("nuclei", "cells"):
            write_image(tmp_path / f"1_A1_{tile}_{kind}.tiff", image, axes="YX")
    return {
        kind: str(tmp_path / f"{{plate}}_{{well}}_{{tile}}_{kind}.tiff")
        for kind in ("aligned", "nuclei", "cells")
    }


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ({"0": 5, "1": 6, "2": 7, "3": 60}, "1"),
        ({"3": 4}, "3"),  # most tiles are empty
        ({}, "0"),
    ],
)
def test_the_most_usual_tile_that_is_not_empty(images, cells, shown):
    info = pd.DataFrame({"tile": [tile for tile, count in cells.items() for _ in range(count)]})
    example = read_example("1", "A1", ["0", "1", "2", "3"], info, images)

    assert example.tile == shown
    assert example.aligned.shape == (3, 8, 9) and (example.aligned == int(shown)).all()
    assert (example.nuclei == int(shown)).all() and (example.cells == int(shown)).all()
