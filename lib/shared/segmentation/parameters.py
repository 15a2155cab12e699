"""What a user can set about segmentation; the config section `segmentation` maps onto it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from lib.shared.errors import InputError

METHODS = ("watershed", "cellpose", "stardist", "none")
RECONCILE = ("consensus", "contained")


@dataclass(frozen=True)
class SegmentationParameters:
    """Settings of `segment`; none needs tuning, null leaves the choice to the method."""

    #: how objects are found: watershed, cellpose, stardist, or none (empty labels)
    method: str = "watershed"
    #: diameter of a typical nucleus in pixels; null estimates it from the image
    nucleus_diameter_px: float | None = None
    #: diameter of a typical cell in pixels, for cellpose; null takes two nucleus diameters
    cell_diameter_px: float | None = None
    #: farthest that a cell reaches from its nucleus, in pixels; null: two nucleus diameters
    cell_distance_px: float | None = None
    #: width of the rim around a nucleus when no cytoplasm is stained; null: 0.3 nucleus diameters
    expansion_px: float | None = None
    #: pairs of nuclei and cells: consensus (one nucleus each) or contained (nuclei merged)
    reconcile: str = "consensus"
    #: leave out objects that touch the rim of the tile
    remove_border: bool = False
    #: least area of a nucleus, in pixels; null: none beyond the method's own
    min_nucleus_area_px: float | None = None
    #: greatest area of a nucleus, in pixels; null: any
    max_nucleus_area_px: float | None = None
    #: least area of a cell, in pixels; null: any
    min_cell_area_px: float | None = None
    #: greatest area of a cell, in pixels; null: any
    max_cell_area_px: float | None = None
    #: weights for nuclei (a file for cellpose, a folder for stardist); null: built-in
    model_path: str | None = None
    #: weights for cells (a file, for cellpose); null: built-in, or watershed beside a model_path
    cell_model_path: str | None = None
    #: least logit of a pixel inside an object, for cellpose
    cell_probability_threshold: float = 0.0
    #: greatest disagreement of an object's flow with its shape, for cellpose; 0 turns it off
    flow_threshold: float = 0.4
    #: let a learned model use a GPU where there is one
    gpu: bool = True

    def __post_init__(self) -> None:
        _known(self.method, METHODS, "method")
        _known(self.reconcile, RECONCILE, "reconcile")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_px") and value is not None and value < 0:
                raise InputError(f"segmentation.{field.name} is {value}: give pixels, 0 or more.")
        for name in ("nucleus_diameter_px", "cell_diameter_px"):
            if getattr(self, name) == 0:
                raise InputError(f"segmentation.{name} is 0: give a positive number or null.")


def as_parameters(
    parameters: SegmentationParameters | Mapping[str, Any] | None,
) -> SegmentationParameters:
    """Parameters from a config section, which is left as it is.

    Raises `InputError` on a key that does not exist, naming the nearest that does.
    """
    if isinstance(parameters, SegmentationParameters):
        return parameters
    section = dict(parameters or {})
    names = [field.name for field in fields(SegmentationParameters)]
    for key in section:
        _known(key, names, "key")
    return SegmentationParameters(**section)


def _known(value: str, known: tuple[str, ...] | list[str], what: str) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}."
        raise InputError(f"The segmentation {what} {value!r} is unknown: {hint}")
