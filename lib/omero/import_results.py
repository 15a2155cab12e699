"""Which files of a finished run become which images of a plate in OMERO."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lib.omero.import_files import (
    describe_file,
    describe_store,
    measure_windows,
    with_windows,
)
from lib.omero.import_plate import FieldImage, PlateImport
from lib.omero.stages import Labels, Mode, StageImages, info, stage_images
from lib.shared import layout
from lib.shared.omezarr.plate import split_well
from lib.shared.sheets import natural_key
from lib.shared.tables import read_table

Tiles = Sequence[tuple[str, str]]  # (well, tile)


def plan_results(
    root: Path,
    plate: str,
    tiles: Mapping[str, Tiles],
    stages: Mapping[str, Sequence[str]],
    mode: Mode,
    labels: Labels = "zarr",
    mask_cap: int = 2000,
    in_plates: bool = False,
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
    tiles : per module ("sbs", "phenotype") the (well, tile) of the plate.
    stages : per module the stages to import.
    mode, labels, in_plates : as of `stage_images`; of an image `mask_cap` masks are drawn at most.
    screen_key : names the run among others on the server.
    tables, provenance, screen, tags, source_plate : as of `PlateImport`.

    Raises
    ------
    InputError
        When a stage has no image per tile, or a file is missing or unreadable.
    """
    images: list[FieldImage] = []
    own = {module: stages[module] for module in tiles}
    for chosen in stage_images(own, mode, labels, in_plates):
        images += _run(root, plate, chosen, tiles[chosen.module], mode)
    return PlateImport(
        f"{screen_key}/P-{plate}", f"P-{plate}", tuple(images), tuple(tables), provenance or {},
        screen, tuple(tags), source_plate, mask_cap,
    )  # fmt: skip


def _run(root: Path, plate: str, chosen: StageImages, tiles: Tiles, mode: Mode) -> list[FieldImage]:
    """The images of one stage. Uploaded ones share the windows of the first, to compare them by."""
    fields = []
    positions = _positions(root, plate, chosen.module, {well for well, _ in tiles})
    for well, tile in sorted(tiles, key=lambda place: tuple(map(natural_key, place))):
        row, column = split_well(well)
        place = {"plate": plate, "well": well, "tile": tile, "row": row, "column": column}
        path = root / chosen.template.format(**place)
        name = f"{chosen.module} {layout.TILE.format(**place)}__{info(chosen.template)}"
        image = describe_store(path, name) if mode == "register" else describe_file(path, name)
        over = tuple((info(mask), root / mask.format(**place)) for mask in chosen.masks)
        position = positions.get((well, tile))
        fields.append(FieldImage(image, well, chosen.run, path, position, over))
    if mode == "upload" and fields:
        windows = measure_windows(fields[0].path, chosen.is_label)
        fields = [replace(entry, image=with_windows(entry.image, windows)) for entry in fields]
    return fields


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
