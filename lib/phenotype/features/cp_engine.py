"""The measurements of CellProfiler, by the package cp_measure, in tables like our own."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np

from lib.phenotype.features.measure import check_tile, present_labels
from lib.shared.errors import InputError

log = logging.getLogger(__name__)

# What cp_measure calls our families. It has no foci, and its neighbours need a second
# label image.
GROUPS = {
    "shape": ("sizeshape", "feret"),
    "zernike": ("zernike",),
    "intensity": ("intensity",),
    "radial": ("radial_distribution", "radial_zernikes"),
    "granularity": ("granularity",),
    "texture": ("texture",),
    "colocalization": (
        "correlation_pearson",
        "correlation_costes",
        "correlation_manders_fold",
        "correlation_rwc",
    ),
}
FULL_SCALE = 65535  # CellProfiler takes 16-bit images as 0 to 1
PROBE = 24  # px, side of the image that tells the names of features


def measure_cp(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    channel_names: Sequence[str],
    families: Sequence[str],
) -> dict[str, np.ndarray]:
    """Measure the features of a tile with cp_measure.

    Parameters and result are those of `measure`, but for the names of features,
    which are cp_measure's: `{compartment}_{channel}_{feature}`. All are float32.
    Intensities are shares of the full 16 bits. Families that cp_measure does not have
    are left out, and the log says so.

    Raises
    ------
    InputError : cp_measure is not installed, or it has none of the families.
    """
    featurizer = _featurizer()
    check_tile(image, labels, channel_names)
    names = [str(number) for number in range(len(channel_names))]
    config = _config(featurizer, names, families)
    ids = present_labels(labels.values())
    scaled = image.astype(np.float32) / FULL_SCALE
    features = _columns(featurizer, config, len(names))
    found = {"label": ids}
    for compartment, label_image in labels.items():
        values = np.full((len(ids), len(features)), np.nan, np.float32)
        if label_image.any():
            data, _, rows = _featurize(featurizer, scaled, label_image, config)
            values[np.searchsorted(ids, [row[-1] for row in rows])] = data
        for column, feature in enumerate(features):
            found[_name(compartment, feature, channel_names)] = values[:, column]
    return found


def _featurizer() -> ModuleType:
    try:
        from cp_measure import featurizer
    except ModuleNotFoundError as error:
        raise InputError(
            "The features are to be measured by cp_measure, which is not installed: "
            'pip install "poolscope[cp_measure]", or set phenotype.features.engine to own.'
        ) from error
    return featurizer


def _config(featurizer: ModuleType, names: Sequence[str], families: Sequence[str]) -> dict:
    missing = [family for family in families if family not in GROUPS]
    if missing:
        log.warning("cp_measure has no %s: left out", ", ".join(missing))
    wanted = {group for family in families for group in GROUPS.get(family, ())}
    if not wanted:
        raise InputError(
            f"cp_measure has none of the families {', '.join(families)}: choose of "
            f"{', '.join(GROUPS)}, or set phenotype.features.engine to own."
        )
    switches = {group: group in wanted for groups in GROUPS.values() for group in groups}
    return featurizer.make_featurizer_config(
        list(names), **switches, correlation_costes_params={"scale_max": FULL_SCALE}
    )


def _columns(featurizer: ModuleType, config: dict, channels: int) -> list[str]:
    """Names of the features, which are the same for every tile, asked of a small one."""
    image = np.random.default_rng(0).random((channels, PROBE, PROBE), np.float32)
    labels = np.zeros((PROBE, PROBE), np.int32)
    labels[4:-4, 4:-4] = 1
    return list(_featurize(featurizer, image, labels, config)[1])


def _featurize(
    featurizer: ModuleType, image: np.ndarray, labels: np.ndarray, config: dict
) -> tuple[np.ndarray, list[str], list[tuple]]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Quotients of nothing are NaN in the table, which says as much.
        warnings.simplefilter("ignore", RuntimeWarning)
        return featurizer.featurize(image[None], labels[None, None], config)


def _name(compartment: str, feature: str, channel_names: Sequence[str]) -> str:
    """`Feature__0__1` of a compartment as `{compartment}_{channelA}_{channelB}_Feature`."""
    name, *numbers = feature.split("__")
    channels = [channel_names[int(number)] for number in numbers]
    return "_".join([compartment, *channels, name])
