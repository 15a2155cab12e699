"""The settings of the features; each maps onto one key of the config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureParameters:
    """Settings with their defaults; lengths in pixels of the tile.

    radial_rings : rings from the centre of an object to its edge.
    texture_distances : distances of the pixels of a pair.
    texture_levels : grey levels between the least and the greatest value of an object.
    granularity_length : openings of the spectrum.
    granularity_subsample : side of the blocks of pixels that are averaged before.
    granularity_background : radius of the background's opening, in blocks of such blocks.
    colocalization_threshold : pixels count as stained from this fraction of
        their object's maximum.
    neighbor_distance : objects whose nearest pixels are no farther apart are neighbours.
    foci_radius : of a typical focus.
    foci_deviations : least contrast of a focus in robust standard deviations of its object.
    """

    radial_rings: int = 4
    texture_distances: tuple[int, ...] = (3,)
    texture_levels: int = 16
    granularity_length: int = 16
    granularity_subsample: int = 4
    granularity_background: int = 10
    colocalization_threshold: float = 0.15
    neighbor_distance: int = 5
    foci_radius: float = 3.0
    foci_deviations: float = 5.0
