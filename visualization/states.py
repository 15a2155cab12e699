"""What neuroglancer is told to show: a well's images as channels, its labels on top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visualization.pixels import UNIT_PIXEL, Form, form_of, label_names, store_origin
from visualization.places import corners_of
from visualization.stores import TileImage

SHADER = """#uicontrol invlerp contrast(range=[{start}, {end}])
#uicontrol vec3 color color(default="#{color}")
void main() {{
  emitRGB(color * contrast());
}}
"""
WINDOW_SIDE = 700  # pixels of a window in which all should be seen
MICROMETRE = 1e-6  # metres
LABEL_ALPHA = 0.3  # of labels, which lie on each other and on an image
NEUTRAL = (0.0, 65535.0)  # window of a channel that has none


def well_state(images: Sequence[TileImage], results: Path, data_url: str) -> dict[str, Any]:
    """The state of neuroglancer for tiles of one stage, each where its store places it.

    Parameters
    ----------
    images : stores, at least one.
    data_url : address under which the files of `results` are found, with a "/" at its end.
    """

    def source(path: Path) -> str:
        driver = "zarr3" if (path / "zarr.json").is_file() else "zarr2"
        return f"{data_url}{path.relative_to(results).as_posix()}/|{driver}:"

    paths = [image.path for image in images]
    form = form_of(paths)
    sources = [source(path) for path in paths]
    make = _label_layer if form.is_label else _image_layer
    layers = [make(form, number, sources) for number in range(len(form.channels))]
    for name in label_names(paths[0]):
        inside = [path / "labels" / name for path in paths if name in label_names(path)]
        shown = {"name": name, "source": [*map(source, inside)], "selectedAlpha": LABEL_ALPHA}
        layers.append({"type": "segmentation", **shown})
    origins = [store_origin(path) or (0.0, 0.0) for path in paths]
    return {
        "layers": layers,
        "layout": "xy",
        "displayDimensions": ["x", "y"],
        "showDefaultAnnotations": False,
        "showAxisLines": False,
        "crossSectionBackgroundColor": "#000000",
        **_camera(form, origins),
    }


def _camera(form: Form, origins: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Axes of the view, in pixels, and a view of all tiles at the first time point."""
    size = form.pixel_size or UNIT_PIXEL
    corners, origin = corners_of(origins, size)
    extent = corners.max(axis=0) + form.level_shapes[0][-2:]
    middle = np.array(origin) / size + (extent - 1) / 2
    unit = (MICROMETRE, "m") if form.pixel_size else (1.0, "")
    dimensions = {"x": [size[1] * unit[0], unit[1]], "y": [size[0] * unit[0], unit[1]]}
    position = [middle[1].item(), middle[0].item()]
    if "T" in form.axes:
        dimensions["t"] = [1, ""]
        position.append(0)
    # In pixels of the image for a pixel of the window.
    scale = float(extent.max()) / WINDOW_SIDE
    return {"dimensions": dimensions, "position": position, "crossSectionScale": scale}


def _image_layer(form: Form, number: int, sources: Sequence[str]) -> dict[str, Any]:
    channel = form.channels[number]
    start, end = channel.window or NEUTRAL
    return {
        "type": "image",
        "blend": "additive",
        "opacity": 1,
        "shader": SHADER.format(start=start, end=end, color=channel.color.lower()),
        **_channel(form, number, sources),
    }


def _label_layer(form: Form, number: int, sources: Sequence[str]) -> dict[str, Any]:
    return {"type": "segmentation", **_channel(form, number, sources)}


def _channel(form: Form, number: int, sources: Sequence[str]) -> dict[str, Any]:
    """One channel of the sources."""
    layer: dict[str, Any] = {"name": form.channels[number].label, "source": list(sources)}
    if "C" in form.axes:
        layer |= {"localDimensions": {"c'": [1, ""]}, "localPosition": [number]}
    return layer
