"""Which files of a finished run become which images of a plate in OMERO."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lib.omero.import_files import (
    describe_file,
    describe_store,
    measure_windows,
    with_windows,
)
from lib.omero.import_plate import FieldImage, Mode, PlateImport
from lib.shared import layout
from lib.shared.errors import InputError
from lib.shared.sheets import natural_key
from lib.shared.tables import read_table

Labels = Literal["zarr", "image", "masks"]

STAGES = {"sbs": layout.SBS, "phenotype": layout.PHENOTYPE}
# Stages whose images are numbers of objects.
LABEL_STAGES = {"segment_sbs", "segment_phenotype", "identify_cytoplasm", "segment_secondary"}


def plan_results(
    root: Path,
    plate: str,
    tiles: Sequence[tuple[str, str]],
    stages: Mapping[str, Sequence[str]],
    mode: Mode,
    labels: Labels = "zarr",
    mask_cap: int = 2000,
    *,
    screen_key: str,
    tables: Sequence[Path] = (),
    provenance: Mapping[str, str] | None = None,
    screen: str | int | None = None,
    tags: Sequence[str] = (),
    source_plate: int | None = None,
) -> PlateImport:
    """Plan the import of one plate of a run.

    Each stage becomes a plate run (PlateAcquisition) "sbs aligned", each tile a
    field of its well, in the order of the tiles.

    Parameters
    ----------
    root : `all.root_fp`.
    tiles : (well, tile) of the plate.
    stages : per module ("sbs", "phenotype") the stages to import.
    mode : "upload" takes the TIFFs, "register" the OME-Zarr stores of the tiles.
    labels : masks of objects stay in the stores ("zarr"), become images of their
        own ("image"), or are drawn over the first stage of their module ("masks",
        `mask_cap` of an image at most).
    screen_key : names the run among others on the server.
    tables, provenance, screen, tags, source_plate : as of `PlateImport`.

    Raises
    ------
    InputError
        When a stage has no image per tile, or a file is missing or unreadable.
    """
    images: list[FieldImage] = []
    ordered = sorted(tiles, key=lambda place: (natural_key(place[0]), natural_key(place[1])))
    for module, names in stages.items():
        positions = _positions(root, plate, module, {well for well, _ in tiles})
        pictures = [name for name in names if name not in LABEL_STAGES]
        masks = [name for name in names if name in LABEL_STAGES]
        chosen = pictures + (masks if labels == "image" else [])
        drawn = [t for name in masks for t in _templates(module, name, "upload")]
        drawn = drawn if labels == "masks" else []
        for name in chosen:
            for template in _templates(module, name, mode):
                images += _run(
                    root, plate, module, template, ordered, mode, positions, drawn,
                    is_label=name in LABEL_STAGES,
                )  # fmt: skip
                drawn = []  # over the first stage only
    return PlateImport(
        f"{screen_key}/P-{plate}", f"P-{plate}", tuple(images), tuple(tables), provenance or {},
        screen, tuple(tags), source_plate, mask_cap,
    )  # fmt: skip


def _run(
    root: Path,
    plate: str,
    module: str,
    template: str,
    tiles: Sequence[tuple[str, str]],
    mode: Mode,
    positions: Mapping[tuple[str, str], tuple[float, float]],
    masks: Sequence[str],
    is_label: bool,
) -> list[FieldImage]:
    """The images of one stage. Uploaded ones share the windows of the first, to compare them by."""
    fields = []
    for well, tile in tiles:
        place = {"plate": plate, "well": well, "tile": tile}
        path = root / template.format(**place)
        name = f"{module} {path.name.partition('.')[0]}"
        image = describe_store(path, name) if mode == "register" else describe_file(path, name)
        over = tuple((_info(mask), root / mask.format(**place)) for mask in masks)
        run = f"{module} {_info(template)}"
        fields.append(FieldImage(image, well, run, path, positions.get((well, tile)), over))
    if mode == "upload" and fields:
        windows = measure_windows(fields[0].path, is_label)
        fields = [replace(entry, image=with_windows(entry.image, windows)) for entry in fields]
    return fields


def _templates(module: str, stage: str, mode: Mode) -> list[str]:
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
    return found


def _importable(module: str) -> list[str]:
    return [
        stage
        for stage, templates in STAGES[module].items()
        if any(t.endswith(".tiff") and "{tile}" in t and "{cycle}" not in t for t in templates)
    ]


def _info(template: str) -> str:
    return template.rpartition("__")[2].partition(".")[0]


def _positions(
    root: Path, plate: str, module: str, wells: set[str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """(y, x) of the stage by well and tile, from the metadata of the raw files, where known."""
    (template,) = layout.PREPROCESS[f"extract_metadata_{module}"]
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for well in sorted(wells):
        path = root / template.format(plate=plate, well=well)
        if not path.exists():
            continue
        table = read_table(path, ["tile", "y_pos", "x_pos"]).dropna()
        for tile, y, x in table.drop_duplicates("tile").itertuples(index=False):
            found[well, tile] = (float(y), float(x))
    return found
