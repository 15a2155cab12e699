"""A whole simulated screen on disk: raw files, sample tables, library, config and truth."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml

from lib.shared.files import atomic_path
from lib.shared.image_io import write_image
from lib.shared.tables import Columns, write_table
from lib.simulate import render
from lib.simulate.library import EFFECTS, Library, hit_effects, make_library, spell
from lib.simulate.parameters import BASES, ENCODINGS, PHENOTYPE_CHANNELS, ScreenParameters
from lib.simulate.raw_files import RawImage, write_raw
from lib.simulate.tiles import Tile, extent, well_tiles
from lib.simulate.well import Well, make_well

Tables = dict[str, Columns]


def simulate_screen(
    out_dir: str | os.PathLike,
    parameters: ScreenParameters,
    layout: str = "tiff",
    jobs: int = 1,
) -> Path:
    """Write a simulated screen into `out_dir` and return it.

    `layout` is one of `raw_files.LAYOUTS`. Tiles are rendered in `jobs` processes; the
    bytes do not depend on their number. The paths in the sample tables and in
    `config.yml` begin with `out_dir` as given.
    """
    out_dir = Path(out_dir)
    library = make_library(parameters)
    _write_library(out_dir, parameters, library)
    tables: list[Tables] = []
    for plate in parameters.plates:
        for name in parameters.wells:
            tiles = well_tiles(parameters, plate, name)
            well = make_well(parameters, library, plate, name, extent(tiles))
            tables.append(_well_tables(parameters, library, well))
            tables.extend(_each_tile(out_dir, parameters, well, tiles, layout, jobs))
    merged = _merge(tables)
    for module in ("sbs", "phenotype") if parameters.phenotype else ("sbs",):
        write_table(out_dir / f"{module}_samples.tsv", merged.pop(f"{module}_samples"))
    for file_name, table in sorted(merged.items()):
        write_table(out_dir / "truth" / file_name, table)
    _write_config(out_dir, parameters)
    return out_dir


def write_tile(
    out_dir: str | os.PathLike, parameters: ScreenParameters, well: Well, tile: Tile, layout: str
) -> Tables:
    """Render one tile, write its raw files and truth labels, and return its rows of the tables."""
    scene = render.make_scene(parameters, well, tile)
    rows = _write_raw_files(Path(out_dir), parameters, well, tile, scene, layout)
    nuclei, cells, cell_ids = render.truth_labels(scene)
    _write_labels(Path(out_dir), tile, nuclei, cells)
    tables = {
        f"{tile.module}_samples": rows,
        "tiles.tsv": _tile_table(tile),
        "tile_cells.parquet": _tile_cells(tile, nuclei, cells, cell_ids),
    }
    if tile.module == "sbs":
        shifts = render.sbs_shifts(parameters, tile)
        tables["shifts.tsv"] = _sbs_shift_table(tile, shifts, parameters.sbs_channels)
        tables["reads.parquet"] = _read_table(parameters, well, tile, cell_ids, shifts)
    else:
        shifts = render.phenotype_shifts(parameters, tile)
        tables["phenotype_shifts.tsv"] = _phenotype_shift_table(tile, shifts)
    return tables


def _each_tile(
    out_dir: Path,
    parameters: ScreenParameters,
    well: Well,
    tiles: list[Tile],
    layout: str,
    jobs: int,
) -> Iterator[Tables]:
    if jobs == 1:
        for tile in tiles:
            yield write_tile(out_dir, parameters, well, tile, layout)
        return
    # A well travels to each process once, not with every tile.
    with ProcessPoolExecutor(jobs) as pool:
        tasks = [
            pool.submit(_write_tiles, out_dir, parameters, well, tiles[start::jobs], layout)
            for start in range(jobs)
        ]
        shares = [task.result() for task in tasks]
    for number in range(len(tiles)):
        yield shares[number % jobs][number // jobs]


def _write_tiles(
    out_dir: Path, parameters: ScreenParameters, well: Well, tiles: list[Tile], layout: str
) -> list[Tables]:
    return [write_tile(out_dir, parameters, well, tile, layout) for tile in tiles]


def _write_raw_files(
    out_dir: Path,
    parameters: ScreenParameters,
    well: Well,
    tile: Tile,
    scene: render.Scene,
    layout: str,
) -> Columns:
    name = f"P-{tile.plate}_W-{tile.well}_T-{tile.tile}"
    folder = out_dir / "raw" / tile.module
    keys = {"plate": tile.plate, "well": tile.well, "tile": tile.tile}
    rows = []
    if tile.module == "phenotype":
        image = render.phenotype_image(parameters, well, tile, scene)
        raw = _raw(parameters, tile, image, PHENOTYPE_CHANNELS)
        rows = [row | keys for row in write_raw(folder, name, raw, layout)]
    else:
        cycles = range(1, parameters.cycles + 1)
        for cycle, image in render.sbs_cycles(parameters, well, tile, scene, cycles):
            raw = _raw(parameters, tile, image, parameters.sbs_channels)
            files = write_raw(folder, f"{name}_C-{cycle}", raw, layout)
            rows += [row | keys | {"cycle": cycle} for row in files]
    order = ("sample_fp", "plate", "well", "tile", "cycle", "channel", "z")
    return {key: np.array([row[key] for row in rows]) for key in order if key in rows[0]}


def _raw(
    parameters: ScreenParameters, tile: Tile, image: np.ndarray, channels: tuple[str, ...]
) -> RawImage:
    return RawImage(image, channels, tile.frame.pixel, parameters.z_step_um, tile.stage)


def _write_labels(out_dir: Path, tile: Tile, nuclei: np.ndarray, cells: np.ndarray) -> None:
    folder = out_dir / "truth" / "labels" / tile.module
    pixel = (tile.frame.pixel, tile.frame.pixel)
    for info, labels in (("nuclei", nuclei), ("cells", cells)):
        name = f"P-{tile.plate}_W-{tile.well}_T-{tile.tile}__{info}.tiff"
        write_image(folder / name, labels, "YX", pixel_size=pixel)


def _keys(tile: Tile, n: int) -> Columns:
    return {
        "plate": np.full(n, tile.plate),
        "well": np.full(n, tile.well),
        "tile": np.full(n, tile.tile),
    }


def _tile_table(tile: Tile) -> Columns:
    y, x, z = tile.stage
    return _keys(tile, 1) | {
        "module": np.array([tile.module]),
        "stage_y_um": np.array([y]),
        "stage_x_um": np.array([x]),
        "stage_z_um": np.array([z]),
        "well_y_um": np.array([tile.frame.centre[0]]),
        "well_x_um": np.array([tile.frame.centre[1]]),
        "rotation_deg": np.array([np.degrees(tile.frame.angle)]),
        "pixel_um": np.array([tile.frame.pixel]),
    }


def _tile_cells(tile: Tile, nuclei: np.ndarray, cells: np.ndarray, cell_ids: np.ndarray) -> Columns:
    n = len(cell_ids)
    area, i, j = _centroids(cells, n)
    nucleus_area, nucleus_i, nucleus_j = _centroids(nuclei, n)
    seen = nucleus_area > 0
    edge = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])
    label = np.arange(1, n + 1, dtype=np.int32)
    return _keys(tile, n) | {
        "module": np.full(n, tile.module),
        "label": label,
        "cell_id": cell_ids.astype(np.int64),
        "i": np.where(seen, nucleus_i, i),
        "j": np.where(seen, nucleus_j, j),
        "area": area,
        "nucleus_area": nucleus_area,
        "touches_border": np.isin(label, edge),
    }


def _centroids(labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return area and mean row and column of labels 1..n; 0 where a label is absent."""
    flat = labels.ravel()
    rows, columns = np.divmod(np.arange(flat.size), labels.shape[1])
    area = np.bincount(flat, minlength=n + 1)[1:]
    sums = [np.bincount(flat, place, minlength=n + 1)[1:] for place in (rows, columns)]
    i, j = (total / np.maximum(area, 1) for total in sums)
    return area, i, j


def _sbs_shift_table(tile: Tile, shifts: np.ndarray, channels: Sequence[str]) -> Columns:
    cycles = len(shifts)
    return _keys(tile, cycles * len(channels)) | {
        "cycle": np.repeat(np.arange(1, cycles + 1), len(channels)),
        "channel": np.tile(channels, cycles),
        "dy": shifts[..., 0].ravel().round(5),
        "dx": shifts[..., 1].ravel().round(5),
    }


def _phenotype_shift_table(tile: Tile, shifts: np.ndarray) -> Columns:
    return _keys(tile, len(shifts)) | {
        "channel": np.array(PHENOTYPE_CHANNELS),
        "dy": shifts[:, 0].round(5),
        "dx": shifts[:, 1].round(5),
    }


def _read_table(
    parameters: ScreenParameters,
    well: Well,
    tile: Tile,
    cell_ids: np.ndarray,
    shifts: np.ndarray,
) -> Columns:
    """Reads whose centre lies in the tile, in the frame of the first base channel of cycle 1."""
    index, row, column = render.spot_positions(well, tile.frame, margin=2)
    dy, dx = shifts[0, parameters.sbs_channels.index(parameters.base_channels[0])]
    row, column = row + dy, column + dx
    height, width = tile.frame.shape
    inside = (row > -0.5) & (row < height - 0.5) & (column > -0.5) & (column < width - 0.5)
    index, row, column = index[inside], row[inside], column[inside]
    cell_id = well.reads.owner[index] + 1
    label = np.zeros(len(well.cells.y) + 1, np.int32)
    label[cell_ids] = np.arange(1, len(cell_ids) + 1)
    barcodes = spell(well.reads.codes[index, : parameters.cycles])
    return _keys(tile, len(index)) | {
        "cell": label[cell_id],
        "cell_id": cell_id.astype(np.int64),
        "i": row,
        "j": column,
        "barcode": barcodes,
        "amplitude": well.reads.brightness[index],
    }


def _well_tables(parameters: ScreenParameters, library: Library, well: Well) -> Tables:
    cells, n = well.cells, len(well.cells.y)
    codes = np.arange(parameters.guides, dtype=np.int64)
    owned = well.reads.owner >= 0
    reads = np.bincount(well.reads.owner[owned], minlength=n)
    table: dict = {
        "plate": np.full(n, well.plate),
        "well": np.full(n, well.name),
        "cell_id": np.arange(1, n + 1),
        "y_um": cells.y,
        "x_um": cells.x,
        "n_guides": (cells.guide >= 0).sum(axis=1),
        "n_reads": reads,
    }
    for rank in (0, 1):
        guide = codes[cells.guide[:, rank]]
        without = cells.guide[:, rank] < 0
        for name, values in (
            ("sgRNA", library.sequences),
            ("barcode", library.barcodes),
            ("gene_symbol", library.genes),
        ):
            table[f"{name}_{rank}"] = np.where(without, None, values[guide].astype(object))
    table["gene_symbol"] = table["gene_symbol_0"]
    table |= {
        "p65_nuclear_ratio": cells.p65_ratio,
        "wga_granule_count": np.bincount(well.granules.owner, minlength=n),
        "cell_radius_um": cells.body.radius,
        "mitotic": cells.mitotic,
    }
    return {"cells.parquet": table}


def _write_library(out_dir: Path, parameters: ScreenParameters, library: Library) -> None:
    table = {
        "sgRNA": library.sequences,
        "gene_symbol": library.genes,
        "gene_id": library.gene_ids,
        "prefix": library.barcodes,
    }
    write_table(out_dir / "barcode_library.tsv", table)
    effects = {f"effect_{name}": library.effects[:, k] for k, name in enumerate(EFFECTS)}
    guides = {"sgRNA": library.sequences, "gene_symbol": library.genes, "active": library.active}
    write_table(out_dir / "truth" / "guides.tsv", guides | effects)
    hits = [
        (gene, effect, factor)
        for effect, genes in hit_effects(parameters, library.genes).items()
        for gene, factor in genes.items()
    ]
    columns = ("gene_symbol", "phenotype", "fold_change")
    values = list(zip(*hits, strict=True)) or [[], [], []]
    write_table(
        out_dir / "truth" / "hits.tsv",
        {name: np.array(column) for name, column in zip(columns, values, strict=True)},
    )


def _write_config(out_dir: Path, parameters: ScreenParameters) -> None:
    sbs = {"sbs_samples_fp": str(out_dir / "sbs_samples.tsv")}
    phenotype = {"phenotype_samples_fp": str(out_dir / "phenotype_samples.tsv")}
    config: dict = {
        "all": {"root_fp": str(out_dir / "results")},
        "preprocess": sbs | phenotype if parameters.phenotype else sbs,
        "sbs": {
            "barcode_library_fp": str(out_dir / "barcode_library.tsv"),
            "channel_names": list(parameters.sbs_channels),
            "bases": list(BASES),
        },
    }
    if parameters.base_channels != BASES:
        encoding = ENCODINGS[parameters.colours]
        config["sbs"]["base_encoding"] = {base: list(encoding[base]) for base in BASES}
    if parameters.phenotype:
        config["phenotype"] = {"channel_names": list(PHENOTYPE_CHANNELS)}
    with atomic_path(out_dir / "config.yml") as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))
    plain = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(parameters).items()
    }
    with atomic_path(out_dir / "truth" / "parameters.yml") as part:
        part.write_text(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))


def _merge(parts: list[Tables]) -> Tables:
    names = dict.fromkeys(name for part in parts for name in part)
    merged = {}
    for name in names:
        tables = [part[name] for part in parts if name in part]
        merged[name] = {key: np.concatenate([t[key] for t in tables]) for key in tables[0]}
    return merged
