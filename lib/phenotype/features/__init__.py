"""Features of nuclei, cells and cytoplasms, in families named after CellProfiler's."""

from lib.phenotype.features.measure import ALL_FAMILIES, measure
from lib.phenotype.features.parameters import FeatureParameters
from lib.phenotype.features.registry import FAMILIES, feature_columns, markdown_table

__all__ = [
    "ALL_FAMILIES",
    "FAMILIES",
    "FeatureParameters",
    "feature_columns",
    "markdown_table",
    "measure",
]
