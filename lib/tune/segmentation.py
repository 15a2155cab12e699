"""Nuclei and cells of a tile under several settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.phenotype.features import measure
from lib.qc.images import centre_crop, composite, draw_outlines, enlarge
from lib.qc.style import CELL_OUTLINE, NUCLEUS_OUTLINE
from lib.sbs.segmentation_images import cytoplasm_cycles, cytoplasm_image
from lib.shared.illumination import correct
from lib.shared.segmentation import Segmentation, border_labels, segment
from lib.shared.segmentation.foreground import estimate_diameter, prepare
from lib.simulate.score import segmentation_f1
from lib.tune.figure import PANEL_PX, Panel
from lib.tune.grid import Grid, Setting
from lib.tune.images import TileSource

TINTS = {"nuclear stain": "#4C78FF", "cytoplasm": "#23895C"}
CROP = 9  # nucleus diameters that a panel shows
CROP_PX = (128, 640)  # least and most of that
FACTORS = (0.6, 1.6)  # by which the default grid departs from a length
USUAL_PX = 20.0  # diameter of a nucleus, where no tile shows any

# Nuclear stain and cytoplasm of a tile, (Y, X) each; no cytoplasm where nuclei alone are found.
Planes = tuple[np.ndarray, np.ndarray | None]


def cycles_of(source: TileSource) -> list[int]:
    """The cycles that a tile is segmented on: nuclei on the first, cytoplasm on the others."""
    others = cytoplasm_cycles(len(source.cycles))
    return [source.reference, *(source.cycles[n] for n in others)]


def sbs_planes(stack: np.ndarray, loaded: Sequence[int], source: TileSource) -> Planes:
    """The images that a tile is segmented on, from the aligned (T, C, Y, X) stack of some cycles.

    `loaded` are the cycles of the stack. Without a nuclear stain its image is empty.
    """
    settings = source.settings
    first, *others = cycles_of(source)
    field = source.field(stack.shape[-2:])

    def corrected(cycle: int, channels: list[str]) -> np.ndarray:
        indices = [source.channel(name) for name in channels]
        image = stack[loaded.index(cycle), indices].astype(np.float32)
        return image if field is None else correct(image, field[indices])

    glow = cytoplasm_image([corrected(cycle, settings["cytoplasm_channels"]) for cycle in others])
    dapi = settings["dapi_channel"]
    return np.zeros_like(glow) if dapi is None else corrected(first, [dapi])[0], glow


def load_planes(source: TileSource) -> Planes:
    """The images that a tile is segmented on, float32 or uint16."""
    if source.reference is not None:
        wanted = sorted({*cycles_of(source)})
        return sbs_planes(source.load_sbs(wanted)[0], wanted, source)

    return phenotype_planes(source.load_phenotype(), source)


def phenotype_planes(image: np.ndarray, source: TileSource) -> Planes:
    """The images that a phenotype tile is segmented on, from its (C, Y, X) image."""
    from lib.phenotype.segmentation_images import cell_image

    settings = source.settings
    dapi = image[source.channel(settings["dapi_channel"])]
    if settings["nuclei_only"]:
        return dapi, None
    return dapi, cell_image(image, [source.channel(n) for n in settings["cytoplasm_channels"]])


def tile_diameter(planes: Planes) -> float | None:
    """Diameter in px of a typical nucleus of a tile; None where there is none."""
    dapi, _ = planes
    return None if dapi.min() == dapi.max() else estimate_diameter(prepare(dapi))


def typical_diameter(diameters: Sequence[float | None]) -> float:
    """Median diameter of nuclei, px, from that of each tile."""
    known = [diameter for diameter in diameters if diameter]
    return float(np.median(known)) if known else USUAL_PX


def crop_of(typical: float) -> int:
    """Side in px of what is shown of a tile."""
    return int(np.clip(CROP * typical, *CROP_PX))


def default_grid(typical: float, section: Mapping[str, Any]) -> Grid:
    """The configured nucleus diameter and reach of cells, and less and more of each.

    `typical` is a nucleus diameter in px, by which null lengths are replaced.
    """
    typical = section["nucleus_diameter_px"] or typical
    learned = section["method"] == "cellpose"
    reach = "cell_diameter_px" if learned else "cell_distance_px"  # of null two diameters
    middles = {"nucleus_diameter_px": typical, reach: section[reach] or 2 * typical}
    return {
        key: list(dict.fromkeys([section[key], *(round(f * middle, 1) for f in FACTORS)]))
        for key, middle in middles.items()
    }


def compare(
    planes: Planes, settings: Sequence[Setting], module: str, crop: int
) -> tuple[list[dict[str, Any]], list[Panel]]:
    """Rows of the table and panels of the figure, one per setting, of a tile."""
    dapi, glow = planes
    alone = {"expansion_px": 0} if glow is None else {}
    found = [segment(dapi, glow, s.config[module]["segmentation"] | alone) for s in settings]
    configured = next(n for n, setting in enumerate(settings) if setting.configured)
    background = _background(dapi, glow, crop)
    bodies = [on_root(plane) for plane in (dapi, glow) if plane is not None]
    rows, panels = [], []
    for one in found:
        row = _counts(one) | plausibility(one, bodies)
        row["f1_configured_nuclei"] = _f1(found[configured].nuclei, one.nuclei)
        row["f1_configured_cells"] = _f1(found[configured].cells, one.cells)
        rows.append(row)
        caption = f"{row['nuclei']:,} nuclei, {row['cells']:,} cells\nscore {row['score']:.2f}"
        panels.append(outlined_panel(background, one.nuclei, one.cells, dapi.shape, crop, caption))
    if not any(row["cells"] for row in rows):
        for row in rows:  # nothing to rank by
            row["score"] = np.nan
    return rows, panels


def _counts(found: Segmentation) -> dict[str, Any]:
    stats, cells = found.stats, found.stats["cells"]
    return {
        "nuclei": stats["nuclei_found"],
        "cells": cells,
        "share_nuclei_with_cell": cells / stats["nuclei_found"] if cells else np.nan,
        "diameter_used_px": stats["nucleus_diameter_px"],
        "median_nucleus_area_px": stats["median_nucleus_area_px"],
        "median_cell_area_px": stats["median_cell_area_px"],
        "cell_coverage": stats["cell_coverage"],
        "share_touching_border": border_labels(found.cells).sum() / cells if cells else np.nan,
    }


def plausibility(found: Segmentation, bodies: Sequence[np.ndarray]) -> dict[str, float]:
    """How much objects look like nuclei and cells, by what commonly goes wrong, each 0 to 1.

    `bodies` are the nuclear stain, and the cytoplasm if there is one, (Y, X) float32.
    Merged nuclei are not convex (`nuclei_solidity`), parts of split ones share outlines
    (`nuclei_touching`), missed ones leave stain outside (`stain_explained`), cells drawn too
    small or too wide cut off or let in what the mask should tell apart
    (`cytoplasm_explained`). `score` is the product of what is right.
    """
    names = ("stain_explained", "cytoplasm_explained")
    masks = (found.nuclei > 0, found.cells > 0)
    parts = {
        "nuclei_solidity": solidity(found.nuclei),
        "nuclei_touching": touching(found.nuclei),
        **{
            name: explained(body, mask)
            for name, body, mask in zip(names, bodies, masks, strict=False)
        },
    }
    right = parts | {"nuclei_touching": 1 - parts["nuclei_touching"]}
    return parts | {"score": float(np.prod(list(right.values())))}


def solidity(labels: np.ndarray) -> float:
    """Mean over objects of area / area of the convex hull, weighted by area; 0 without any."""
    nothing = np.zeros((1, *labels.shape), np.float32)
    shapes = measure(nothing, {"nucleus": labels}, ["none"], ["shape"])
    if not len(shapes["label"]):
        return 0.0
    return float(np.average(shapes["nucleus_solidity"], weights=shapes["nucleus_area"]))


def touching(labels: np.ndarray) -> float:
    """Share of the outlines of objects that two of them share; 0 without any."""
    shared = outline = 0
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = one != other
        outline += np.count_nonzero(differ)
        shared += np.count_nonzero(differ & (one > 0) & (other > 0))
    return shared / outline if outline else 0.0


def on_root(plane: np.ndarray) -> np.ndarray:
    """A plane on a scale on which dim and bright objects count more alike, float32."""
    return np.sqrt(np.maximum(plane - np.float32(np.percentile(plane, 1)), 0, dtype=np.float32))


def explained(body: np.ndarray, mask: np.ndarray) -> float:
    """Share of the variance of a plane that lies between the inside and outside of a mask."""
    inside = mask.mean()
    total = body.var(dtype=np.float64)
    if inside in (0, 1) or total == 0:
        return 0.0
    gap = body[mask].mean(dtype=np.float64) - body[~mask].mean(dtype=np.float64)
    return float(inside * (1 - inside) * gap**2 / total)


def _f1(one: np.ndarray, other: np.ndarray) -> float:
    if not one.any() and not other.any():
        return np.nan
    if np.array_equal(one, other):
        return 1.0
    if not one.any() or not other.any():
        return 0.0
    f1 = segmentation_f1(one, other)["f1"]
    return np.nan if f1 is None else f1


def _background(dapi: np.ndarray, glow: np.ndarray | None, crop: int) -> np.ndarray:
    """The middle of a tile in colours, enlarged to about the pixels of a panel."""
    window = centre_crop(dapi.shape, crop)
    planes = [plane[window].astype(np.float32) for plane in (dapi, glow) if plane is not None]
    tints = list(TINTS.values())[: len(planes)]
    rgb = composite(np.stack(planes), tints, [(5, 99.9)] * len(planes))
    return enlarge(rgb, picture_factor(rgb.shape))


def picture_factor(shape: tuple[int, ...]) -> int:
    """How many times a crop is enlarged for its panel."""
    return max(1, -(-PANEL_PX // max(shape[:2])))


def outlined_panel(
    background: np.ndarray,
    inner: np.ndarray,
    cells: np.ndarray,
    shape: tuple[int, int],
    crop: int,
    caption: str,
) -> Panel:
    """The middle of a tile with the outlines of cells and of what lies in them."""
    window = centre_crop(shape, crop)
    cut = cells[window]
    factor = picture_factor(cut.shape)
    drawn = draw_outlines(background, enlarge(cut, factor), CELL_OUTLINE, 1, opacity=0.8)
    drawn = draw_outlines(drawn, enlarge(inner[window], factor), NUCLEUS_OUTLINE, 2)
    return Panel((255 * drawn).astype(np.uint8), cut.shape, caption)
