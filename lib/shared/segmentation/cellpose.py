"""Nuclei and cells by Cellpose (Stringer et al. 2021; Pachitariu et al. 2025), versions 3 and 4."""

import pickle
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lib.shared.errors import InputError
from lib.shared.segmentation.foreground import estimate_diameter, prepare
from lib.shared.segmentation.labels import relabel
from lib.shared.segmentation.parameters import SegmentationParameters

INSTALL = 'pip install "poolscope[cellpose]"'
# Cellpose 4 has one model for everything; these are names of version 3.
NUCLEUS_MODEL, CELL_MODEL = "nuclei", "cyto3"
CELLS_PER_NUCLEUS_DIAMETER = 2.0


def find_nuclei(
    dapi: np.ndarray, chosen: SegmentationParameters
) -> tuple[np.ndarray, float | None]:
    """Nuclei, (Y, X) int32, and the diameter used (px; None for an image without signal).

    Raises
    ------
    InputError : cellpose is not installed, or its weights cannot be had.
    """
    diameter = chosen.nucleus_diameter_px or estimate_diameter(prepare(dapi))
    if diameter is None or dapi.min() == dapi.max():
        return np.zeros(dapi.shape, np.int32), diameter
    model = _load(NUCLEUS_MODEL, chosen.model_path, chosen.gpu, "model_path")
    return _masks(model, scale_nuclei(dapi)[..., None], diameter, chosen), diameter


def find_cells(
    dapi: np.ndarray, cytoplasm: np.ndarray, diameter: float, chosen: SegmentationParameters
) -> np.ndarray:
    """Cells from cytoplasm and nuclei, (Y, X) int32, numbered independently of the nuclei.

    `diameter` is that of a nucleus; a cell is taken to be twice as wide unless
    its own is given. Raises as `find_nuclei`.
    """
    if cytoplasm.min() == cytoplasm.max():
        return np.zeros(dapi.shape, np.int32)
    model = _load(CELL_MODEL, chosen.cell_model_path, chosen.gpu, "cell_model_path")
    image = np.stack([scale_cytoplasm(cytoplasm), scale_nuclei(dapi)], axis=-1)
    wide = chosen.cell_diameter_px or CELLS_PER_NUCLEUS_DIAMETER * diameter
    return _masks(model, image, wide, chosen)


def scale_nuclei(dapi: np.ndarray) -> np.ndarray:
    """Image over its 99.5th percentile, float32 (Feldman et al. 2019)."""
    image = dapi.astype(np.float32)
    top = float(np.percentile(image, 99.5))
    return image / np.float32(top) if top > 0 else image


def scale_cytoplasm(cytoplasm: np.ndarray) -> np.ndarray:
    """log10(x - b + 1) over its maximum, x clipped below at its 10th percentile b, float32."""
    image = cytoplasm.astype(np.float32)
    base = np.float32(np.percentile(image, 10))
    image = np.log10(np.maximum(image, base) - base + 1)
    return image / max(float(image.max()), 1e-6)


def _load(builtin: str, path: str | None, gpu: bool, key: str) -> Any:
    """A CellposeModel: the built-in one, or the weights at `path`, which setting `key` names."""
    try:
        from cellpose import core, models
    except ImportError as error:
        raise InputError(
            f"Segmentation by cellpose needs a package that is not installed: {INSTALL}."
        ) from error
    if path is not None and not Path(path).is_file():
        raise InputError(f"segmentation.{key} {path} is no file: give the weights of a model.")
    if path is not None:
        which = {"pretrained_model": str(path)}
    else:
        which = {"model_type": builtin} if _major() < 4 else {}
    try:
        return models.CellposeModel(gpu=gpu and core.use_gpu(), **which)
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = (
            f"The weights of cellpose's {which.get('model_type', 'own')} model could neither be "
            "found nor downloaded"
            if path is None
            else f"segmentation.{key} {path} holds no weights of a cellpose {_major()} model"
        )
        cause = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{reason} ({cause}): let segmentation.{key} name a local file."
        ) from error


def _major() -> int:
    return int(version("cellpose").split(".")[0])


def _masks(
    model: Any,
    image: np.ndarray,
    diameter: float,
    chosen: SegmentationParameters,
) -> np.ndarray:
    """Labels of a (Y, X, channels) image; channels: the stain to find, then the nuclei if any."""
    settings: dict = {
        "diameter": float(diameter),
        "flow_threshold": chosen.flow_threshold,
        "cellprob_threshold": chosen.cell_probability_threshold,
        "channel_axis": -1,
    }
    missing = 3 - image.shape[-1]
    image = np.pad(image, ((0, 0), (0, 0), (0, missing)))
    if _major() < 4:  # version 4 takes all three channels as they are
        settings["channels"] = [1, 2 if missing == 1 else 0]
    return relabel(np.asarray(model.eval(image, **settings)[0]).astype(np.int32))
