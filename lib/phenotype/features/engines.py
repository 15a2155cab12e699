"""Who measures: this package, or CellProfiler's code, behind one call."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lib.phenotype.features.measure import measure
from lib.phenotype.features.parameters import FeatureParameters
from lib.phenotype.features.registry import COMPARTMENTS, family_of_columns

ENGINES = ("own", "cp_measure")


def measure_with(
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    channel_names: Sequence[str],
    section: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """Measure the features of a tile as the config section `features` says.

    Parameters and result are those of `measure`; the names of features are those of
    the engine.
    """
    if section["engine"] == "cp_measure":
        from lib.phenotype.features.cp_engine import measure_cp

        return measure_cp(image, labels, channel_names, section["families"])
    return measure(image, labels, channel_names, section["families"], feature_parameters(section))


def compartments_of(nuclei_only: bool) -> tuple[str, ...]:
    """The compartments that are measured."""
    return COMPARTMENTS[:1] if nuclei_only else COMPARTMENTS


def families_of(
    section: Mapping[str, Any], channel_names: Sequence[str], nuclei_only: bool
) -> dict[str, str]:
    """The family of each column that `measure_with` makes; none for another engine than ours."""
    if section["engine"] != "own":
        return {}
    compartments, parameters = compartments_of(nuclei_only), feature_parameters(section)
    return family_of_columns(compartments, channel_names, section["families"], parameters)


def feature_parameters(section: Mapping[str, Any]) -> FeatureParameters:
    """Settings from a config section, of which the engine and the families are no part."""
    chosen = {field.name: section[field.name] for field in fields(FeatureParameters)}
    chosen["texture_distances"] = tuple(chosen["texture_distances"])
    return FeatureParameters(**chosen)
