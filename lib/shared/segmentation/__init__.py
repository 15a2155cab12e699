"""Nuclei and cells of a tile, for sequencing and phenotype images alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.shared.errors import InputError
from lib.shared.segmentation.labels import (
    areas,
    border_labels,
    cytoplasm,
    keep_labels,
    keep_pairs,
    object_table,
    reconcile,
    relabel,
)
from lib.shared.segmentation.parameters import SegmentationParameters, as_parameters

__all__ = [
    "Segmentation",
    "SegmentationParameters",
    "areas",
    "border_labels",
    "cytoplasm",
    "keep_labels",
    "object_table",
    "reconcile",
    "relabel",
    "segment",
]


@dataclass(frozen=True)
class Segmentation:
    """Nuclei and cells of a tile; the nucleus of cell k is nucleus k."""

    nuclei: np.ndarray  # (Y, X) int32, 0 is background, 1..n
    cells: np.ndarray  # (Y, X) int32, the same numbers
    stats: dict[str, Any]  # one row of the table of segmentation statistics


def segment(
    dapi: np.ndarray,
    cytoplasm: np.ndarray | None = None,
    parameters: SegmentationParameters | Mapping[str, Any] | None = None,
) -> Segmentation:
    """Find nuclei and cells and pair them.

    Parameters
    ----------
    dapi : (Y, X) image of the nuclear stain, uint16 or float32.
    cytoplasm : (Y, X) image in which cell bodies are bright; None makes cells by
        widening the nuclei.
    parameters : the config section `segmentation`, or the same as an object;
        None takes every default.

    Raises
    ------
    InputError : an unknown key, method or reconciliation; images of unequal
        shape; a package or the weights of a learned model are missing.
    """
    chosen = as_parameters(parameters)
    _check(dapi, cytoplasm)
    nuclei, cells, diameter = _find(dapi, cytoplasm, chosen)
    found = {"nuclei_found": _count(nuclei), "cells_found": _count(cells)}
    nuclei, cells = reconcile(nuclei, cells, chosen.reconcile)
    paired = int(cells.max(initial=0))
    nuclei, cells = keep_pairs(nuclei, cells, _within_limits(nuclei, cells, chosen))
    return Segmentation(nuclei, cells, _stats(nuclei, cells, chosen, diameter, found, paired))


def _check(dapi: np.ndarray, cytoplasm: np.ndarray | None) -> None:
    if dapi.ndim != 2:
        raise InputError(f"The nuclear stain has shape {dapi.shape}: give one plane (Y, X).")
    if cytoplasm is not None and cytoplasm.shape != dapi.shape:
        raise InputError(
            f"The cytoplasm has shape {cytoplasm.shape}, the nuclear stain {dapi.shape}: "
            "both must come from the same tile."
        )
    for name, image in (("nuclear stain", dapi), ("cytoplasm", cytoplasm)):
        if image is not None and not np.isfinite(image).all():
            raise InputError(f"The {name} holds values that are not finite: correct the image.")


def _find(
    dapi: np.ndarray, cytoplasm: np.ndarray | None, chosen: SegmentationParameters
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Nuclei, cells, and the diameter of a nucleus where one was used."""
    if chosen.method == "none" or dapi.size == 0:
        empty = np.zeros(dapi.shape, np.int32)
        return empty, empty.copy(), chosen.nucleus_diameter_px
    if chosen.method == "cellpose":
        from lib.shared.segmentation import cellpose

        nuclei, diameter = cellpose.find_nuclei(dapi, chosen)
        # A model for nuclei says nothing of cells: with own weights for nuclei
        # alone, cells are grown from them like those of the other methods.
        learned = chosen.model_path is None or chosen.cell_model_path is not None
        if cytoplasm is not None and learned and nuclei.any():
            return nuclei, cellpose.find_cells(dapi, cytoplasm, diameter, chosen), diameter
    elif chosen.method == "stardist":
        from lib.shared.segmentation import stardist

        nuclei = stardist.find_nuclei(dapi, chosen.model_path)
        diameter = chosen.nucleus_diameter_px or median_diameter(nuclei)
    else:
        from lib.shared.segmentation import watershed

        nuclei, diameter = watershed.find_nuclei(dapi, chosen.nucleus_diameter_px)
    return nuclei, cells_of(nuclei, cytoplasm, diameter, chosen), diameter


def cells_of(
    nuclei: np.ndarray,
    cytoplasm: np.ndarray | None,
    diameter: float | None,
    chosen: SegmentationParameters,
) -> np.ndarray:
    """Cells around given nuclei, numbered as they are, (Y, X) int32."""
    from lib.shared.segmentation.watershed import expand_nuclei, grow_cells

    if diameter is None:
        return nuclei.copy()
    if cytoplasm is None:
        width = chosen.expansion_px
        return expand_nuclei(nuclei, 0.3 * diameter if width is None else width)
    return grow_cells(cytoplasm, nuclei, diameter, chosen.cell_distance_px)


def median_diameter(labels: np.ndarray) -> float | None:
    """Diameter of the circle as large as the median object, px; None without objects."""
    area = areas(labels)
    area = area[area > 0]
    return 2 * float(np.sqrt(np.median(area) / np.pi)) if area.size else None


def _within_limits(
    nuclei: np.ndarray, cells: np.ndarray, chosen: SegmentationParameters
) -> np.ndarray:
    """Which labels pass the limits on area and border: bool, indexed by label."""
    size = int(cells.max(initial=0)) + 1
    keep = np.ones(size, bool)
    for labels, least, most in (
        (nuclei, chosen.min_nucleus_area_px, chosen.max_nucleus_area_px),
        (cells, chosen.min_cell_area_px, chosen.max_cell_area_px),
    ):
        area = areas(labels)
        keep &= area >= (0 if least is None else least)
        keep &= area <= (np.inf if most is None else most)
    if chosen.remove_border:
        keep &= ~border_labels(cells)
    return keep


def _count(labels: np.ndarray) -> int:
    return int(np.count_nonzero(areas(labels)))


def _stats(
    nuclei: np.ndarray,
    cells: np.ndarray,
    chosen: SegmentationParameters,
    diameter: float | None,
    found: dict[str, int],
    paired: int,
) -> dict[str, Any]:
    cell_area, nucleus_area = (areas(labels)[1:] for labels in (cells, nuclei))
    count = len(cell_area)
    return {
        "method": chosen.method,
        **found,
        "pairs_found": paired,
        "cells": count,
        "nucleus_diameter_px": float("nan") if diameter is None else float(diameter),
        "median_nucleus_area_px": float(np.median(nucleus_area)) if count else float("nan"),
        "median_cell_area_px": float(np.median(cell_area)) if count else float("nan"),
        "cell_coverage": float(np.count_nonzero(cells) / max(1, cells.size)),
    }
