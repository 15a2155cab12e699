"""Nuclei by StarDist (Schmidt et al. 2018)."""

from pathlib import Path
from typing import Any

import numpy as np

from lib.shared.errors import InputError
from lib.shared.segmentation.labels import relabel

INSTALL = 'pip install "poolscope[stardist]"'
BUILTIN = "2D_versatile_fluo"
# Larger tiles are predicted in overlapping pieces of at most this side.
PIECE_PX = 1024


def find_nuclei(dapi: np.ndarray, model_path: str | None = None) -> np.ndarray:
    """Nuclei of an image of a nuclear stain, (Y, X) int32.

    Parameters
    ----------
    dapi : (Y, X); scaled so that its 1st and 99.8th percentiles become 0 and 1.
    model_path : folder of a trained 2D model; None takes `2D_versatile_fluo`.

    Raises
    ------
    InputError : stardist is not installed, or the model cannot be had.
    """
    if dapi.min() == dapi.max():
        return np.zeros(dapi.shape, np.int32)
    model = _load(model_path)
    low, high = np.percentile(dapi, (1, 99.8))
    image = ((dapi - low) / max(high - low, 1e-6)).astype(np.float32)
    pieces = tuple(-(-side // PIECE_PX) for side in image.shape)
    labels, _ = model.predict_instances(image, n_tiles=pieces, show_tile_progress=False)
    return relabel(labels.astype(np.int32))


def _load(model_path: str | None) -> Any:
    try:
        from stardist.models import StarDist2D
    except ImportError as error:
        raise InputError(
            f"Segmentation by stardist needs a package that is not installed: {INSTALL}."
        ) from error
    if model_path is None:
        try:
            return StarDist2D.from_pretrained(BUILTIN)
        except Exception as error:  # keras raises just that when a download fails
            raise InputError(
                f"The weights of stardist's model {BUILTIN} could neither be found nor downloaded "
                f"({error}): let segmentation.model_path name the local folder of a model."
            ) from error
    folder = Path(model_path)
    weights = [*folder.glob("*.h5"), *folder.glob("*.keras")]
    if not (folder / "config.json").is_file() or not weights:
        raise InputError(
            f"segmentation.model_path {model_path} is no stardist model: "
            "give the folder that holds config.json and the weights."
        )
    return StarDist2D(None, name=folder.name, basedir=str(folder.parent))
