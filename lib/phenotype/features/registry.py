"""What every feature is called, its unit, its type and its definition.

Both the columns of the tables and the table in docs/features.md come from here.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lib.phenotype.features.cellprofiler import spell_counterpart
from lib.phenotype.features.parameters import FeatureParameters
from lib.phenotype.features.shape import HU_MOMENTS, ZERNIKE
from lib.phenotype.features.texture import HARALICK
from lib.shared.errors import InputError

COMPARTMENTS = ("nucleus", "cell", "cytoplasm")
OBJECT, CHANNEL, PAIR = "object", "channel", "pair"
PREFIX = {
    OBJECT: "{compartment}_",
    CHANNEL: "{compartment}_{channel}_",
    PAIR: "{compartment}_{channelA}_{channelB}_",
}

Names = Callable[[FeatureParameters], Sequence[str]]


@dataclass(frozen=True)
class Feature:
    """One feature, or a numbered series of them.

    pattern : the name, with {places} where a series counts.
    unit : of the values; 1 is a pure number, "grey" the channel's grey levels.
    definition : one line.
    names : the names of the series; by default `pattern` alone.
    integer : counts are int32 and 0 where there is no object; all else is
        float32 and NaN where it is not defined.
    """

    pattern: str
    unit: str
    definition: str
    names: Names | None = None
    integer: bool = False

    def expand(self, parameters: FeatureParameters) -> Sequence[str]:
        """The names of the columns, without prefix."""
        return self.names(parameters) if self.names else (self.pattern,)


@dataclass(frozen=True)
class Family:
    """Features that are measured together.

    of : what has them: each object, each channel or each pair of channels.
    compartments : where they are measured.
    """

    of: str
    features: tuple[Feature, ...]
    compartments: tuple[str, ...] = COMPARTMENTS


def _rings(name: str) -> Names:
    return lambda p: [f"{name}_{k + 1}" for k in range(p.radial_rings)]


def _textures(name: str) -> Names:
    return lambda p: [f"texture_{name}_{distance}" for distance in p.texture_distances]


def _texture(name: str, unit: str, definition: str) -> Feature:
    return Feature(f"texture_{name}_{{distance}}", unit, definition, _textures(name))


_HARALICK = {
    "angular_second_moment": ("1", "Σ p², uniformity"),
    "contrast": ("levels²", "Σ (a − b)² p"),
    "correlation": ("1", "Σ (a − μ)(b − μ) p / σ²; 1 for a constant object"),
    "variance": ("levels²", "variance of the level over the pairs"),
    "inverse_difference_moment": ("1", "Σ p / (1 + (a − b)²), homogeneity"),
    "sum_average": ("levels", "mean of a + b; levels count from 1"),
    "sum_variance": ("levels²", "variance of a + b"),
    "sum_entropy": ("bit", "entropy of a + b"),
    "entropy": ("bit", "entropy of p"),
    "difference_variance": ("levels²", "variance of \\|a − b\\|"),
    "difference_entropy": ("bit", "entropy of \\|a − b\\|"),
    "info_meas_1": ("1", "−I / H, I the mutual information of a and b, H the entropy of a"),
    "info_meas_2": ("1", "√(1 − exp(−2 I)), I in bits"),
}

FAMILIES: dict[str, Family] = {
    "shape": Family(
        OBJECT,
        (
            Feature("area", "px", "pixels of the object", integer=True),
            Feature(
                "perimeter",
                "px",
                "length of the line through the centres of the border pixels, weighted 1, √2 or "
                "their mean by direction (Benkrid and Crookes 2000)",
            ),
            Feature("form_factor", "1", "4π area / perimeter²"),
            Feature("center_i", "px", "mean row of the pixels"),
            Feature("center_j", "px", "mean column of the pixels"),
            Feature("max_radius", "px", "greatest distance to the nearest pixel outside"),
            Feature("mean_radius", "px", "mean distance to the nearest pixel outside"),
            Feature("extent", "1", "area / area of the bounding box"),
            Feature(
                "solidity", "1", "area / pixels whose centre lies in the convex hull of the object"
            ),
            Feature(
                "max_feret_diameter", "px", "greatest distance of two points of the convex hull"
            ),
            Feature(
                "min_feret_diameter", "px", "least distance of two parallels that hold the hull"
            ),
            Feature("major_axis", "px", "long axis of the ellipse of equal second moments"),
            Feature("minor_axis", "px", "short axis of that ellipse"),
            Feature("eccentricity", "1", "its focal distance / its long axis"),
            Feature(
                "orientation",
                "rad",
                "angle from the direction of rows (down) to the long axis, positive towards the "
                "right, −π/2 to π/2",
            ),
            Feature(
                "hu_moment_{k}",
                "1",
                "Hu's invariants of the shape, k = 0 … 6 (Hu 1962)",
                lambda _: [f"hu_moment_{k}" for k in range(HU_MOMENTS)],
            ),
        ),
    ),
    "zernike": Family(
        OBJECT,
        (
            Feature(
                "zernike_{n}_{m}",
                "1",
                "magnitude of the Zernike moment of degree n ≤ 9 and order m (30 columns), about "
                "the centroid, in a circle half a pixel beyond the farthest pixel centre, divided "
                "by the area (Teague 1980)",
                lambda _: [f"zernike_{n}_{m}" for n, m in ZERNIKE],
            ),
        ),
    ),
    "neighbors": Family(
        OBJECT,
        (
            Feature(
                "number_of_neighbors",
                "1",
                "objects with a pixel no farther than `neighbor_distance` from one of this object",
                integer=True,
            ),
            Feature(
                "percent_touching",
                "%",
                "border pixels with a pixel of another object among their eight neighbours",
            ),
            Feature("first_neighbor_distance", "px", "distance to the nearest other centroid"),
            Feature("second_neighbor_distance", "px", "distance to the second nearest centroid"),
        ),
        ("nucleus", "cell"),
    ),
    "intensity": Family(
        CHANNEL,
        (
            Feature("integrated", "grey", "sum over the pixels"),
            Feature("mean", "grey", "mean"),
            Feature("std", "grey", "standard deviation (divided by n)"),
            Feature("min", "grey", "least value"),
            Feature("max", "grey", "greatest value"),
            Feature(
                "integrated_edge",
                "grey",
                "sum over the border pixels: those with a direct neighbour outside of the object",
            ),
            Feature("mean_edge", "grey", "mean of the border pixels"),
            Feature("std_edge", "grey", "standard deviation of the border pixels"),
            Feature("min_edge", "grey", "least border pixel"),
            Feature("max_edge", "grey", "greatest border pixel"),
            Feature("lower_quartile", "grey", "25 % quantile, interpolated"),
            Feature("median", "grey", "median"),
            Feature("upper_quartile", "grey", "75 % quantile, interpolated"),
            Feature("mad", "grey", "median of \\|value − median\\|"),
            Feature("mass_displacement", "px", "distance of the centre of mass from the centroid"),
            Feature("center_mass_i", "px", "row of the centre of mass"),
            Feature("center_mass_j", "px", "column of the centre of mass"),
            Feature("max_i", "px", "row of the greatest value, the first in reading order"),
            Feature("max_j", "px", "its column"),
        ),
    ),
    "radial": Family(
        CHANNEL,
        (
            Feature(
                "frac_at_d_{ring}",
                "1",
                "share of the stain in the ring; ring 1 is the innermost",
                _rings("frac_at_d"),
            ),
            Feature(
                "mean_frac_{ring}",
                "1",
                "that share / the ring's share of the pixels",
                _rings("mean_frac"),
            ),
            Feature(
                "radial_cv_{ring}",
                "1",
                "standard deviation / mean of the mean values of the ring's octants",
                _rings("radial_cv"),
            ),
        ),
    ),
    "granularity": Family(
        CHANNEL,
        (
            Feature(
                "granularity_{k}",
                "%",
                "brightness above background that the opening by a diamond of radius k takes away "
                "and that of radius k − 1 does not",
                lambda p: [f"granularity_{k + 1}" for k in range(p.granularity_length)],
            ),
        ),
    ),
    "texture": Family(CHANNEL, tuple(_texture(name, *_HARALICK[name]) for name in HARALICK)),
    "foci": Family(
        CHANNEL,
        (
            Feature("foci_count", "1", "round peaks of foci in the object", integer=True),
            Feature("foci_area", "px", "pixels of foci in the object", integer=True),
        ),
    ),
    "colocalization": Family(
        PAIR,
        (
            Feature("correlation", "1", "Pearson's correlation of A and B over all pixels"),
            Feature("slope", "grey/grey", "least-squares slope of B on A over all pixels"),
            Feature(
                "overlap", "1", "Σ AB / √(Σ A² Σ B²), all over the pixels stained in A and in B"
            ),
            Feature("k_1", "1", "Σ AB / Σ A², over the same pixels"),
            Feature("k_2", "1", "Σ AB / Σ B², over the same pixels"),
            Feature("manders_1", "1", "Σ A where both are stained / Σ A where A is stained"),
            Feature("manders_2", "1", "Σ B where both are stained / Σ B where B is stained"),
            Feature(
                "rwc_1",
                "1",
                "as manders_1, the sum above the line weighted by 1 − \\|rank A − rank B\\| / R, "
                "R the greater number of distinct values",
            ),
            Feature("rwc_2", "1", "as manders_2, with the same weights"),
        ),
    ),
}


def feature_columns(
    compartments: Sequence[str],
    channel_names: Sequence[str],
    families: Sequence[str],
    parameters: FeatureParameters,
) -> dict[str, str]:
    """Names and types of all columns in their order: "label", then by compartment and family.

    Raises
    ------
    InputError : a family or compartment is unknown, or two columns would have one name.
    """
    for kind, given, known in (
        ("compartment", compartments, COMPARTMENTS),
        ("feature family", families, FAMILIES),
    ):
        for name in given:
            if name not in known:
                raise InputError(f"The {kind} {name!r} is unknown: choose of {', '.join(known)}.")
    names, types = ["label"], ["int32"]
    for compartment in compartments:
        for family in map(FAMILIES.get, families):
            if compartment not in family.compartments:
                continue
            for prefix in prefixes(family.of, compartment, channel_names):
                for feature in family.features:
                    expanded = feature.expand(parameters)
                    names += [prefix + name for name in expanded]
                    types += ["int32" if feature.integer else "float32"] * len(expanded)
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise InputError(
            f"Two features would share the column {name}: rename one of the channels "
            f"{', '.join(channel_names)}."
        )
    return dict(zip(names, types, strict=True))


def family_of_columns(
    compartments: Sequence[str],
    channel_names: Sequence[str],
    families: Sequence[str],
    parameters: FeatureParameters,
) -> dict[str, str]:
    """The family of each column of features, in the order of the table."""
    return {
        column: family
        for compartment in compartments
        for family in families
        for column in feature_columns((compartment,), channel_names, (family,), parameters)
        if column != "label"
    }


def prefixes(of: str, compartment: str, channel_names: Sequence[str]) -> list[str]:
    """Beginnings of the columns of a family in one compartment."""
    if of == OBJECT:
        return [f"{compartment}_"]
    if of == CHANNEL:
        return [f"{compartment}_{channel}_" for channel in channel_names]
    return [
        f"{compartment}_{a}_{b}_"
        for k, a in enumerate(channel_names)
        for b in channel_names[k + 1 :]
    ]


def markdown_table() -> str:
    """The table of all features for the documentation."""
    lines = ["| family | column | unit | definition | CellProfiler |", "|---|---|---|---|---|"]
    for name, family in FAMILIES.items():
        for feature in family.features:
            column = f"`{PREFIX[family.of]}{feature.pattern}`"
            definition = feature.definition + (" (integer)" if feature.integer else "")
            other = spell_counterpart(feature.pattern)
            lines.append(f"| {name} | {column} | {feature.unit} | {definition} | {other} |")
    return "\n".join(lines)
