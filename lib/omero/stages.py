"""Which images of a stage go to OMERO. Read at every parse of the workflow: nothing heavy here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lib.shared import layout
from lib.shared.errors import InputError

Mode = Literal["register", "upload"]
Labels = Literal["zarr", "image", "masks"]

FIELD = "{row}/{column}/{tile}"  # of an OME-Zarr plate
STAGES = {"sbs": layout.SBS, "phenotype": layout.PHENOTYPE}


@dataclass(frozen=True)
class StageImages:
    """Images that become one run of a plate: one per tile.

    Attributes
    ----------
    template : path of the image, or store, of a tile under the results root. The stores
        of plates also have the {row} and the {column} of the well in it.
    masks : templates of the label images that are drawn over them.
    """

    module: str
    template: str
    is_label: bool
    masks: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Name of the run of the plate: "sbs aligned"."""
        return f"{self.module} {info(self.template)}"


def stage_images(
    stages: Mapping[str, Sequence[str]], mode: Mode, labels: Labels, in_plates: bool = False
) -> list[StageImages]:
    """What of `stages`, by module, becomes images.

    "upload" takes the TIFFs, "register" the OME-Zarr stores of the tiles, or with
    `in_plates` the fields of plates that hold the same. Masks of objects stay in the
    stores ("zarr"), become images of their own ("image"), or are drawn over the first
    stage of their module ("masks").

    Raises `InputError` when a stage has no image per tile.
    """
    found = []
    for module, names in stages.items():
        pictures = [name for name in names if name not in layout.LABEL_STAGES]
        masks = [name for name in names if name in layout.LABEL_STAGES]
        drawn = [t for name in masks for t in _templates(module, name, "upload")]
        drawn = drawn if labels == "masks" else []
        for name in pictures + (masks if labels == "image" else []):
            for template in _templates(module, name, mode, in_plates):
                is_label = name in layout.LABEL_STAGES
                found.append(StageImages(module, template, is_label, tuple(drawn)))
                drawn = []  # over the first stage only
    return found


def run_name(root: Path) -> str:
    """Name of a screen by its results folder, or by the folder around one called results."""
    folder = root.resolve()
    return folder.parent.name if folder.name == "results" and folder.parent.name else folder.name


def info(template: str) -> str:
    """What an image is called in its path: "aligned"."""
    return template.rpartition("__")[2].partition(".")[0]


def _templates(module: str, stage: str, mode: Mode, in_plates: bool = False) -> list[str]:
    """Paths of the images of a stage that lie tile by tile."""
    if mode == "register":
        found = [layout.OMEZARR[module][stage]] if stage in layout.OMEZARR.get(module, {}) else []
    else:
        found = [t for t in STAGES[module].get(stage, ()) if t.endswith(".tiff")]
    if not found or any("{tile}" not in t or "{cycle}" in t for t in found):
        raise InputError(
            f"The stage {stage} of {module} has no image per tile to import: choose of "
            f"{', '.join(_importable(module))}."
        )
    if mode == "register" and in_plates:
        return [f"{layout.plate_store(template)}/{FIELD}" for template in found]
    return found


def _importable(module: str) -> list[str]:
    return [
        stage
        for stage, templates in STAGES[module].items()
        if any(t.endswith(".tiff") and "{tile}" in t and "{cycle}" not in t for t in templates)
    ]
