"""`python -m visualization.napari_viewer RESULTS --plate 1 --well A1` opens a well in napari."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lib.shared.errors import InputError
from lib.shared.layout import OMEZARR
from visualization.reads import ColorBy
from visualization.stores import ALIGNED, check_results
from visualization.wells import Picture, WellView, view_well

if TYPE_CHECKING:
    import napari

INSTALL = 'pip install "poolscope[view]"'
READ_SIZE = 5  # pixels of the image, across
OUTLINE = 2  # pixels of labels, which would hide what they outline


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        module, stage = _choose_stage(options.results, options.module, options.stage)
        view = view_well(options.results, module, stage, options.plate, options.well, options.tile)
        napari = _import_napari()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    viewer = napari.Viewer(title=f"{view.name}: {stage}")
    add_layers(viewer, view, options.color_reads)
    if options.screenshot:
        save_screenshot(viewer, options.screenshot)
    else:
        napari.run()
    return 0


def add_layers(viewer: "napari.Viewer", view: WellView, color_reads: ColorBy = "base") -> None:
    """Add images, labels above them, and reads on top.

    In a well of many tiles, where outlines and points would hide everything, they wait
    to be switched on.
    """
    scale, translate = view.pixel_size, view.origin
    unit = "micrometer" if view.in_micrometres else "pixel"

    def placed(axes: str) -> dict[str, Any]:
        """Where a layer of these axes lies: time, and whatever else, by number."""
        others = len(axes) - 2
        return {
            "scale": [1.0] * others + list(scale),
            "translate": [0.0] * others + list(translate),
            "units": ["pixel"] * others + [unit] * 2,
            "axis_labels": list(axes.lower()),
        }

    def pixels(picture: Picture) -> dict[str, Any]:
        levels = picture.mosaic.levels(picture.channel)
        # napari takes the rows of a single level for levels.
        several = len(levels) > 1
        return {"data": levels if several else levels[0], "multiscale": several}

    for picture in view.images:
        channel, mosaic = picture.shown_as, picture.mosaic
        viewer.add_image(
            **pixels(picture),
            name=channel.label,
            colormap=f"#{channel.color}",
            contrast_limits=channel.window,
            blending="additive",
            **placed(mosaic.axes),
        )
    for picture in view.labels:
        layer = viewer.add_labels(
            **pixels(picture),
            name=picture.shown_as.label,
            visible=not view.is_large,
            **placed(picture.mosaic.axes),
        )
        layer.contour = OUTLINE
    if view.reads is not None:
        viewer.add_points(
            view.reads.places,
            name="reads",
            size=READ_SIZE,
            face_color=view.reads.colors(color_reads),
            border_width=0,
            features=view.reads.table,
            visible=not view.is_large,
            **placed("YX"),
        )
    viewer.dims.current_step = (0,) * viewer.dims.ndim
    viewer.reset_view()
    viewer.canvas.overlays.scale_bar.visible = view.in_micrometres


def save_screenshot(viewer: "napari.Viewer", path: Path) -> None:
    """Write what the canvas shows as an image, and close the window."""
    from qtpy.QtWidgets import QApplication

    QApplication.processEvents()
    viewer.screenshot(str(path), canvas_only=True, flash=False)
    viewer.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m visualization.napari_viewer",
        description="Show a well in napari: images, labels and reads, tiles stitched.",
    )
    parser.add_argument("results", type=Path, help="the results folder, all.root_fp of the config")
    parser.add_argument("--plate", help="default: the only one")
    parser.add_argument("--well", help="default: the only one")
    parser.add_argument("--tile", nargs="+", help="only these tiles")
    parser.add_argument("--module", choices=ALIGNED, help="default: that of the stage, or sbs")
    parser.add_argument("--stage", help="stage to show; default: the aligned images")
    parser.add_argument("--color-reads", choices=get_args(ColorBy), default="base")
    parser.add_argument("--screenshot", type=Path, metavar="PNG", help="write this, and close")
    return parser


def _choose_stage(results: Path, module: str | None, stage: str | None) -> tuple[str, str]:
    """Module and stage to show; either may be left out."""
    check_results(results)
    if stage is None:
        module = module or next((one for one in ALIGNED if (results / one).is_dir()), "sbs")
        return module, ALIGNED[module]
    among = [module] if module else list(ALIGNED)
    for one in among:
        if stage in OMEZARR[one]:
            return one, stage
    known = "; ".join(f"{', '.join(OMEZARR[one])} of {one}" for one in among)
    raise InputError(f"There is no stage {stage}; there are {known}.")


def _import_napari() -> Any:
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise InputError(
            "There is no screen for napari to open a window on: for a --screenshot begin "
            "the command with xvfb-run -a."
        )
    try:
        import napari
    except ImportError:
        raise InputError(f"The viewer needs a package that is not installed: {INSTALL}.") from None
    return napari


if __name__ == "__main__":
    raise SystemExit(main())
