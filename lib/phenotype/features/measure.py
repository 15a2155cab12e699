"""All features of a tile as one table of columns."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from lib.phenotype.features.channels import ChannelPixels
from lib.phenotype.features.colocalization import Stain, colocalization
from lib.phenotype.features.foci import Spots, filter_spots, foci
from lib.phenotype.features.granularity import Blocks, granularity, openings
from lib.phenotype.features.intensity import intensity
from lib.phenotype.features.neighbors import neighbors
from lib.phenotype.features.objects import Objects
from lib.phenotype.features.parameters import FeatureParameters
from lib.phenotype.features.radial import find_sectors, radial_distribution
from lib.phenotype.features.registry import FAMILIES, feature_columns, prefixes
from lib.phenotype.features.shape import shape, zernike
from lib.phenotype.features.texture import texture
from lib.shared.errors import InputError

ALL_FAMILIES = tuple(FAMILIES)


def measure(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    channel_names: Sequence[str],
    families: Sequence[str] = ALL_FAMILIES,
    parameters: FeatureParameters | None = None,
) -> dict[str, np.ndarray]:
    """Measure the features of every object of a tile.

    Parameters
    ----------
    image : (C, Y, X) uint16 or float32.
    labels : (Y, X) integers per compartment, "nucleus", "cell", "cytoplasm" or
        some of them; 0 = background; one object has one number in all.
    channel_names : C names.
    families : which features, of `ALL_FAMILIES`.
    parameters : settings.

    Returns
    -------
    dict of (n,) columns, one row per label that occurs in any compartment, in
    ascending order: "label" (int32), then float32 features and int32 counts as
    `feature_columns` lists them; the types do not depend on the tile. A float is NaN
    where it is not defined, for instance where the compartment has no pixel.

    Raises
    ------
    InputError : shapes, types or names do not fit together, or a pixel is not finite.
    """
    parameters = parameters or FeatureParameters()
    check_tile(image, labels, channel_names)
    types = feature_columns(tuple(labels), channel_names, families, parameters)
    ids = present_labels(labels.values())
    tile = _Tile(image, parameters)
    columns = {"label": ids}
    for compartment, label_image in labels.items():
        found = _Compartment(tile, Objects(label_image, ids))
        for family in families:
            if compartment in FAMILIES[family].compartments:
                starts = prefixes(FAMILIES[family].of, compartment, channel_names)
                for start, features in zip(starts, found.measure(family), strict=True):
                    columns |= {start + name: values for name, values in features.items()}
    return {name: columns[name].astype(dtype) for name, dtype in types.items()}


class _Tile:
    """Images that are filtered as a whole, once for all compartments."""

    def __init__(self, image: np.ndarray, parameters: FeatureParameters) -> None:
        self.image = np.ascontiguousarray(image)
        self.parameters = parameters

    @cached_property
    def openings(self) -> list[np.ndarray]:
        return [openings(channel, self.parameters) for channel in self.image]

    @cached_property
    def spots(self) -> list[Spots]:
        return [filter_spots(channel, self.parameters) for channel in self.image]


class _Compartment:
    """The features of one compartment; what families share is made once."""

    def __init__(self, tile: _Tile, objects: Objects) -> None:
        self.tile = tile
        self.parameters = tile.parameters
        self.objects = objects

    def measure(self, family: str) -> list[dict[str, np.ndarray]]:
        """The features of a family: one dict in all, per channel or per pair of channels."""
        return getattr(self, f"_{family}")()

    @cached_property
    def _channels(self) -> list[ChannelPixels]:
        return [ChannelPixels(self.objects, channel) for channel in self.tile.image]

    def _shape(self) -> list[dict[str, np.ndarray]]:
        return [shape(self.objects)]

    def _zernike(self) -> list[dict[str, np.ndarray]]:
        return [zernike(self.objects)]

    def _neighbors(self) -> list[dict[str, np.ndarray]]:
        return [neighbors(self.objects, self.parameters)]

    def _intensity(self) -> list[dict[str, np.ndarray]]:
        return [intensity(channel) for channel in self._channels]

    def _radial(self) -> list[dict[str, np.ndarray]]:
        sectors = find_sectors(self.objects, self.parameters)
        return [
            radial_distribution(channel, sectors, self.parameters) for channel in self._channels
        ]

    def _granularity(self) -> list[dict[str, np.ndarray]]:
        blocks = Blocks(self.objects, self.parameters.granularity_subsample)
        return [granularity(spectrum, blocks) for spectrum in self.tile.openings]

    def _texture(self) -> list[dict[str, np.ndarray]]:
        return texture(self.objects, self._channels, self.parameters)

    def _foci(self) -> list[dict[str, np.ndarray]]:
        both = zip(self._channels, self.tile.spots, strict=True)
        return [foci(channel, spots, self.parameters) for channel, spots in both]

    def _colocalization(self) -> list[dict[str, np.ndarray]]:
        threshold = self.parameters.colocalization_threshold
        stains = [Stain(channel, threshold) for channel in self._channels]
        return [colocalization(a, b) for k, a in enumerate(stains) for b in stains[k + 1 :]]


def present_labels(images: Sequence[np.ndarray]) -> np.ndarray:
    """All labels that occur, ascending, int32."""
    images = list(images)
    present = np.zeros(max((int(image.max(initial=0)) for image in images), default=0) + 1, bool)
    for image in images:
        present[image.ravel()] = True
    present[0] = False
    return np.flatnonzero(present).astype(np.int32)


def check_tile(
    image: np.ndarray, labels: Mapping[str, np.ndarray], channel_names: Sequence[str]
) -> None:
    """Raise `InputError` where the image, labels and names of a tile do not fit together."""
    if image.ndim != 3 or len(image) != len(channel_names):
        raise InputError(
            f"The image of shape {image.shape} must be (channel, Y, X) with the "
            f"{len(channel_names)} channels {', '.join(channel_names)}."
        )
    if image.dtype not in (np.uint16, np.float32):
        raise InputError(f"The image is {image.dtype}; convert it to uint16 or float32.")
    for compartment, label_image in labels.items():
        if label_image.shape != image.shape[1:]:
            raise InputError(
                f"The labels of the {compartment} have shape {label_image.shape}, the image has "
                f"{image.shape[1:]}: segment the tile that is measured."
            )
        if label_image.dtype.kind not in "iu" or label_image.min(initial=0) < 0:
            raise InputError(f"The labels of the {compartment} must be integers from 0 upwards.")
    if image.dtype == np.float32:
        for name, channel in zip(channel_names, image, strict=True):
            if not np.isfinite(channel).all():
                raise InputError(
                    f"Channel {name} holds pixels that are not finite: correct the tile first."
                )
