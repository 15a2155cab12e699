"""Features against independent references: scikit-image, mahotas, CellProfiler, plain loops."""

import re
from functools import cache
from math import factorial
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist, pdist
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image, diamond, opening

from lib.phenotype.features import FAMILIES, FeatureParameters, measure
from lib.phenotype.features.cellprofiler import SAME, SIMILAR
from lib.phenotype.features.objects import FOUR_NEIGHBORS, Objects
from lib.phenotype.features.shape import ZERNIKE
from lib.shared.segmentation import segment

DATA = Path(__file__).parents[3] / "shared" / "data"
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def blobs(seed, side=160, objects=14):
    """Irregular objects: concave, touching, with holes, in pieces, at the frame of the image."""
    random = np.random.default_rng(seed)
    seeds = random.integers(0, side, (objects, 2))
    grid = np.moveaxis(np.indices((side, side)), 0, -1).reshape(-1, 2)
    nearest = cdist(grid, seeds).argmin(1).reshape(side, side) + 1
    noise = ndimage.gaussian_filter(random.standard_normal((side, side)), 4)
    return np.where(noise > -0.02, nearest, 0).astype(np.int32) * 3  # numbers have gaps


@cache
def simulated():
    random = np.random.default_rng(5)
    labels = blobs(1)
    smooth = ndimage.gaussian_filter(random.random((2, *labels.shape)), (0, 2, 2))
    return random.poisson(smooth**2 * 20000 + 50).astype(np.uint16), labels


@cache
def real_cells():
    folder = DATA / "translocation_plate"
    green, dna = (
        cv2.imread(str(folder / f"{name}-01-A-01.tif"), cv2.IMREAD_UNCHANGED)
        for name in ("Channel1", "Channel2")
    )
    green, dna = (np.atleast_3d(channel).max(2) for channel in (green, dna))
    image = np.stack([dna, green])[:, :320, :320].astype(np.uint16)
    smooth = cv2.GaussianBlur(image[0], (0, 0), 1.5)
    return image, ndimage.label(smooth > smooth.mean() * 1.6)[0].astype(np.int32)


@cache
def real_masks():
    folder = DATA / "nuclei_with_masks"
    name = sorted(folder.glob("*_lab.png"))[3]
    labels = cv2.imread(str(name), cv2.IMREAD_UNCHANGED).astype(np.int32)
    grey = cv2.imread(str(name).replace("_lab", "_img"), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
    return np.stack([grey, cv2.GaussianBlur(grey, (0, 0), 2)]), labels


@pytest.fixture(params=["simulated", "translocation_plate", "nuclei_with_masks"])
def scene(request):
    if request.param == "simulated":
        return simulated()
    if not (DATA / request.param).is_dir():
        pytest.skip(f"no {request.param}")
    image, labels = real_cells() if request.param == "translocation_plate" else real_masks()
    assert labels.max() > 5
    return image, labels


def features(scene, *families, **parameters):
    image, labels = scene
    return measure(image, {"cell": labels}, ("A", "B"), families, FeatureParameters(**parameters))


def each_object(labels):
    return [labels == number for number in np.unique(labels)[1:]]


def test_shape_equals_regionprops(scene):
    found = features(scene, "shape")
    props = regionprops(scene[1])
    np.testing.assert_array_equal(found["label"], [p.label for p in props])
    for ours, theirs in {
        "area": "area",
        "perimeter": "perimeter",
        "extent": "extent",
        "solidity": "solidity",
        "eccentricity": "eccentricity",
        "major_axis": "axis_major_length",
        "minor_axis": "axis_minor_length",
        "max_feret_diameter": "feret_diameter_max",
    }.items():
        expected = [getattr(p, theirs) for p in props]
        np.testing.assert_allclose(found[f"cell_{ours}"], expected, **CLOSE, err_msg=ours)
    hu = np.stack([found[f"cell_hu_moment_{k}"] for k in range(7)], 1)
    expected = np.array([p.moments_hu for p in props])
    scale = np.abs(expected[:, :1]) ** [1, 2, 3, 3, 6, 4, 6]  # invariants that cancel are small
    np.testing.assert_allclose(hu / scale, expected / scale, rtol=1e-4, atol=1e-7)
    turn = found["cell_orientation"] - [p.orientation for p in props]
    elongated = found["cell_eccentricity"] > 0.1
    np.testing.assert_allclose(np.sin(turn[elongated]), 0, atol=1e-4)  # half turns are no turns
    np.testing.assert_allclose(found["cell_center_i"], [p.centroid[0] for p in props], **CLOSE)


def test_distances_to_the_edge_see_each_object_alone(scene):
    found = features(scene, "shape")
    distances = [
        ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask]
        for mask in each_object(scene[1])
    ]
    np.testing.assert_allclose(found["cell_max_radius"], [d.max() for d in distances], **CLOSE)
    np.testing.assert_allclose(found["cell_mean_radius"], [d.mean() for d in distances], **CLOSE)


def test_least_feret_diameter_along_the_edges_of_the_hull(scene):
    """The hull filled up with whole pixels lies between two parallels, one along an edge."""
    found = features(scene, "shape")
    for least, mask in zip(found["cell_min_feret_diameter"], each_object(scene[1]), strict=True):
        pixels = np.argwhere(convex_hull_image(mask))
        middles = pixels[:, None] + [[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]]
        hull = ConvexHull(middles.reshape(-1, 2))
        across = hull.points[hull.vertices] @ hull.equations[:, :2].T
        assert least == pytest.approx(np.ptp(across, axis=0).min(), 1e-4)


def zernike_circle(mask):
    points = np.argwhere(mask)
    centre = points.mean(0)
    return centre, np.sqrt(((points - centre) ** 2).sum(1).max()) + 0.5


def test_zernike_by_summing_polynomials_over_pixels(scene):
    found = features(scene, "zernike")
    for row, mask in enumerate(each_object(scene[1])):
        centre, radius = zernike_circle(mask)
        y, x = ((np.argwhere(mask) - centre) / radius).T
        r, angle = np.hypot(x, y), np.arctan2(y, x)
        for n, m in ZERNIKE:
            radial = sum(
                (-1) ** s
                * factorial(n - s)
                / factorial(s)
                / factorial((n + m) // 2 - s)
                / factorial((n - m) // 2 - s)
                * r ** (n - 2 * s)
                for s in range((n - m) // 2 + 1)
            )
            expected = abs((n + 1) / np.pi * (radial * np.exp(-1j * m * angle)).mean())
            assert found[f"cell_zernike_{n}_{m}"][row] == pytest.approx(expected, 1e-4, 1e-6)


def test_zernike_equals_mahotas(scene):
    mahotas = pytest.importorskip("mahotas")
    found = features(scene, "zernike")
    ours = np.stack([found[f"cell_zernike_{n}_{m}"] for n, m in ZERNIKE], 1)
    theirs = [
        mahotas.features.zernike_moments(mask, zernike_circle(mask)[1], 9)
        for mask in each_object(scene[1])
    ]
    np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_intensity_object_by_object(scene):
    image, labels = scene
    found = features(scene, "intensity")
    cross = ndimage.generate_binary_structure(2, 1)
    for row, mask in enumerate(each_object(labels)):
        for name, channel in zip("AB", image.astype(float), strict=True):
            values = channel[mask]
            edge = channel[mask & ~ndimage.binary_erosion(mask, cross)]
            mass = ndimage.center_of_mass(channel * mask)
            brightest = np.unravel_index(np.where(mask, channel, -1).argmax(), mask.shape)
            expected = {
                "integrated": values.sum(),
                "mean": values.mean(),
                "std": values.std(),
                "min": values.min(),
                "max": values.max(),
                "integrated_edge": edge.sum(),
                "mean_edge": edge.mean(),
                "std_edge": edge.std(),
                "min_edge": edge.min(),
                "max_edge": edge.max(),
                "lower_quartile": np.percentile(values, 25),
                "median": np.median(values),
                "upper_quartile": np.percentile(values, 75),
                "mad": np.median(np.abs(values - np.median(values))),
                "mass_displacement": np.hypot(*(np.argwhere(mask).mean(0) - mass)),
                "center_mass_i": mass[0],
                "center_mass_j": mass[1],
                "max_i": brightest[0],
                "max_j": brightest[1],
            }
            for feature, value in expected.items():
                ours = found[f"cell_{name}_{feature}"][row]
                assert ours == pytest.approx(value, 1e-4, 1e-5), feature


def test_radial_distribution_object_by_object(scene):
    image, labels = scene
    found = features(scene, "radial")
    for row, mask in enumerate(each_object(labels)):
        edge = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].astype(np.float32)
        centre = np.unravel_index(edge.argmax(), mask.shape)
        di, dj = (np.argwhere(mask) - centre).T
        distance = np.hypot(di, dj).astype(np.float32)
        ring = (4 * distance / (distance + edge[mask])).astype(int)
        octant = (di > 0) + 2 * (dj > 0) + 4 * (abs(di) > abs(dj))
        values = image[0][mask].astype(float)
        for k in range(4):
            inside = ring == k
            fraction = values[inside].sum() / values.sum()
            assert found[f"cell_A_frac_at_d_{k + 1}"][row] == pytest.approx(fraction, 1e-4)
            density = fraction / inside.mean() if inside.any() else np.nan
            ours = found[f"cell_A_mean_frac_{k + 1}"][row]
            assert ours == pytest.approx(density, 1e-4, nan_ok=True)
            means = [values[inside & (octant == o)].mean() for o in np.unique(octant[inside])]
            cv = np.std(means) / np.mean(means) if means else np.nan
            ours = found[f"cell_A_radial_cv_{k + 1}"][row]
            assert ours == pytest.approx(cv, 1e-4, 1e-6, nan_ok=True)


def test_radial_distribution_is_near_that_of_cellprofiler():
    cp = pytest.importorskip("cp_measure.core.measureobjectintensitydistribution")
    image, labels = simulated()[0], np.zeros((160, 160), np.int32)
    cv2.ellipse(labels, (60, 50), (40, 25), 20, 0, 360, 1, -1)
    found = measure(image, {"cell": labels}, ("A", "B"), ["radial"])
    theirs = cp.get_radial_distribution(labels, image[0].astype(float))
    for k in range(4):
        expected = theirs[f"RadialDistribution_FracAtD_{k + 1}of4"]
        np.testing.assert_allclose(found[f"cell_A_frac_at_d_{k + 1}"], expected, atol=0.03)


def test_granularity_by_openings_of_block_means(scene):
    image, labels = scene
    side = 4
    found = features(
        scene, "granularity", granularity_length=3, granularity_background=200
    )  # a background that wide is the minimum
    blocks = -(-np.array(labels.shape) // side)
    rest = [(0, b * side - s) for b, s in zip(blocks, labels.shape, strict=True)]
    padded = np.pad(image[0].astype(float), rest, mode="edge")
    means = padded.reshape(blocks[0], side, blocks[1], side).mean((1, 3))
    again = -(-blocks // side)
    rest = [(0, b * side - s) for b, s in zip(again, blocks, strict=True)]
    coarse = np.pad(means, rest, mode="edge").reshape(again[0], side, again[1], side).mean((1, 3))
    signal = means - coarse.min()
    signal = np.maximum(signal, 0)
    opened = [signal, *(opening(signal, diamond(k), mode="ignore") for k in (1, 2, 3))]
    full = [np.kron(o, np.ones((side, side)))[: labels.shape[0], : labels.shape[1]] for o in opened]
    for row, mask in enumerate(each_object(labels)):
        sums = np.array([f[mask].sum() for f in full])
        for k in (1, 2, 3):
            expected = 100 * (sums[k - 1] - sums[k]) / sums[0]
            ours = found[f"cell_A_granularity_{k}"][row]
            assert ours == pytest.approx(expected, 1e-4, 1e-4)


def levels_of(values, levels):
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(len(values), int)
    return np.minimum((values - low) * levels // (high - low), levels - 1).astype(int)


DIRECTION_ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)


def test_texture_equals_graycoprops(scene):
    image, labels = scene
    found = features(scene, "texture", texture_levels=8, texture_distances=(1,))
    for row, mask in enumerate(each_object(labels)):
        quantized = np.zeros(mask.shape, np.uint8)
        quantized[mask] = levels_of(image[0][mask].astype(float), 8) + 1
        counts = graycomatrix(quantized, [1], DIRECTION_ANGLES, 9, symmetric=True)[1:, 1:]
        for ours, theirs in {
            "angular_second_moment": "ASM",
            "contrast": "contrast",
            "correlation": "correlation",
            "variance": "variance",
            "inverse_difference_moment": "homogeneity",
        }.items():
            expected = graycoprops(counts, theirs).mean()
            value = found[f"cell_A_texture_{ours}_1"][row]
            assert value == pytest.approx(expected, 1e-4, 1e-6), ours


def test_texture_equals_mahotas(scene):
    mahotas = pytest.importorskip("mahotas")
    from lib.phenotype.features.texture import HARALICK

    image, labels = scene
    found = features(scene, "texture", texture_levels=16, texture_distances=(2, 3))
    for row, mask in enumerate(each_object(labels)):
        if mask.sum() < 50:
            continue  # mahotas refuses an object without pairs in one direction
        quantized = np.zeros(mask.shape, np.uint8)
        quantized[mask] = levels_of(image[1][mask].astype(float), 16) + 1
        for distance in (2, 3):
            expected = mahotas.features.haralick(
                quantized,
                ignore_zeros=True,
                distance=distance,
                return_mean=True,
                use_x_minus_y_variance=True,
            )
            ours = [found[f"cell_B_texture_{name}_{distance}"][row] for name in HARALICK]
            np.testing.assert_allclose(ours, expected, **CLOSE)


def test_texture_of_a_known_pattern():
    """Columns 0 1 0 1: along a row every pair differs, along a column none does."""
    image = np.tile(np.array([10, 20], np.uint16), (1, 6, 3))
    labels = {"cell": np.ones((6, 6), np.int32)}
    settings = FeatureParameters(texture_levels=2, texture_distances=(1,))
    found = measure(image, labels, ["A"], ["texture"], settings)
    np.testing.assert_allclose(found["cell_A_texture_contrast_1"], [3 / 4])
    np.testing.assert_allclose(found["cell_A_texture_correlation_1"], [(-1 - 1 - 1 + 1) / 4])
    np.testing.assert_allclose(found["cell_A_texture_sum_average_1"], [3])


def stained_pairs(a, b, threshold=0.15):
    above_a, above_b = a >= threshold * a.max(), b >= threshold * b.max()
    return above_a, above_b, above_a & above_b


def test_colocalization_object_by_object(scene):
    image, labels = scene
    found = features(scene, "colocalization")
    for row, mask in enumerate(each_object(labels)):
        a, b = (channel[mask].astype(float) for channel in image)
        above_a, above_b, both = stained_pairs(a, b)
        rank_a, rank_b = (np.unique(v, return_inverse=True)[1] for v in (a, b))
        weight = 1 - abs(rank_a - rank_b) / (max(rank_a.max(), rank_b.max()) + 1)
        product = (a * b)[both].sum()
        with np.errstate(invalid="ignore"):  # a constant object has no correlation
            correlation = np.corrcoef(a, b)[0, 1]
        expected = {
            "correlation": correlation,
            "slope": np.polyfit(a, b, 1)[0],
            "overlap": product / np.sqrt((a[both] ** 2).sum() * (b[both] ** 2).sum()),
            "k_1": product / (a[both] ** 2).sum(),
            "k_2": product / (b[both] ** 2).sum(),
            "manders_1": a[both].sum() / a[above_a].sum(),
            "manders_2": b[both].sum() / b[above_b].sum(),
            "rwc_1": (a * weight)[both].sum() / a[above_a].sum(),
            "rwc_2": (b * weight)[both].sum() / b[above_b].sum(),
        }
        for feature, value in expected.items():
            ours = found[f"cell_A_B_{feature}"][row]
            assert ours == pytest.approx(value, 1e-4, 1e-5, nan_ok=True), feature


@pytest.fixture
def by_cellprofiler(scene):
    """What cp_measure says of the objects, of channel A, and of A with B, by its own names."""
    for name in ("sizeshape", "intensity", "intensitydistribution"):
        pytest.importorskip(f"cp_measure.core.measureobject{name}")
    from cp_measure.core import (
        measurecolocalization,
        measuregranularity,
        measureobjectintensity,
        measureobjectintensitydistribution,
        measureobjectsizeshape,
        measuretexture,
    )
    from skimage.segmentation import relabel_sequential

    image, labels = scene
    a, b = image.astype(float)
    labels = relabel_sequential(labels)[0]
    found = measuretexture.get_texture(labels, a / a.max())
    found |= measureobjectintensity.get_intensity(labels, a)
    found |= measureobjectintensitydistribution.get_radial_distribution(labels, a)
    found |= measuregranularity.get_granularity(labels, a)
    for group in ("sizeshape", "zernike", "feret"):
        found |= getattr(measureobjectsizeshape, f"get_{group}")(labels, a)
    for group in ("pearson", "manders_fold", "rwc", "overlap"):
        found |= getattr(measurecolocalization, f"get_correlation_{group}")(a, b, labels)
    return {name: np.asarray(values) for name, values in found.items()}


def counterparts(table):
    """Our columns of the cell and channel A, or A and B, with the names in CellProfiler."""
    starts = {"object": "cell_", "channel": "cell_A_", "pair": "cell_A_B_"}
    for family in FAMILIES.values():
        for feature in family.features:
            if feature.pattern not in table:
                continue
            places = re.sub(r"\{(\w+)\}", r"(?P<\1>\\d+)", feature.pattern)
            for name in feature.expand(FeatureParameters()):
                numbers = re.fullmatch(places, name).groupdict()
                theirs = table[feature.pattern].format(**numbers, angle="00")
                yield starts[family.of] + name, theirs


def test_every_feature_called_the_same_equals_cellprofiler(scene, by_cellprofiler):
    found = features(scene, *FAMILIES)
    compared = list(counterparts(SAME))
    assert len(compared) == len(SAME) + 6  # seven Hu moments
    for ours, theirs in compared:
        np.testing.assert_allclose(
            found[ours], by_cellprofiler[theirs], rtol=1e-4, atol=1e-5, err_msg=ours
        )


def test_features_that_are_similar_go_by_names_of_cellprofiler(scene, by_cellprofiler):
    patterns = [feature.pattern for family in FAMILIES.values() for feature in family.features]
    assert not set(SAME) & set(SIMILAR)
    assert set(SAME) | set(SIMILAR) == {name for name in patterns if not name.startswith("foci")}
    for _, theirs in counterparts(SIMILAR):  # its neighbours are measured by another function
        assert theirs in by_cellprofiler or theirs.startswith("Neighbors_"), theirs


def test_differences_from_cellprofiler_are_those_of_the_documentation(scene, by_cellprofiler):
    found = features(scene, "shape", "intensity")
    # Orientation in degrees, also where there is no long axis; a half turn is none.
    long = np.isfinite(found["cell_orientation"])
    turn = np.deg2rad(by_cellprofiler["Orientation"]) - found["cell_orientation"]
    np.testing.assert_allclose(np.sin(turn[long]), 0, atol=1e-4)
    assert long.mean() > 0.8
    # Feret diameters between the centres of pixels, not around them.
    for kind in ("Max", "Min"):
        longer = found[f"cell_{kind.lower()}_feret_diameter"]
        longer = longer - by_cellprofiler[f"{kind}FeretDiameter"]
        assert (longer > 0).all() and (longer < 2).all()
    # Edges without the frame of the image.
    labels = scene[1]
    rim = np.ones(labels.shape, bool)
    rim[1:-1, 1:-1] = False
    inner = ~np.isin(found["label"], labels[rim])
    assert inner.sum() >= 2
    for kind in ("Integrated", "Mean", "Std", "Min", "Max"):
        np.testing.assert_allclose(
            found[f"cell_A_{kind.lower()}_edge"][inner],
            by_cellprofiler[f"Intensity_{kind}IntensityEdge"][inner],
            rtol=1e-4,
            atol=1e-5,
        )


def test_float_images_measure_as_integer_images():
    image, labels = simulated()
    as_float = features((image.astype(np.float32), labels), "intensity", "colocalization")
    for name, values in features((image, labels), "intensity", "colocalization").items():
        np.testing.assert_allclose(as_float[name], values, rtol=1e-6, err_msg=name)


def test_neighbors_by_all_distances(scene):
    _, labels = scene
    found = features(scene, "neighbors", neighbor_distance=4)
    objects = [np.argwhere(mask) for mask in each_object(labels)]
    outline = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) for mask in each_object(labels)]
    gaps = np.array([[cdist(a, b).min() for b in outline] for a in outline])
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_array_equal(found["cell_number_of_neighbors"], (gaps <= 4).sum(1))
    centres = np.array([points.mean(0) for points in objects])
    distances = cdist(centres, centres)
    distances.sort(axis=1)
    np.testing.assert_allclose(found["cell_first_neighbor_distance"], distances[:, 1], **CLOSE)
    np.testing.assert_allclose(found["cell_second_neighbor_distance"], distances[:, 2], **CLOSE)
    for row, mask in enumerate(each_object(labels)):
        others = ndimage.binary_dilation((labels > 0) & ~mask, np.ones((3, 3)))
        edge = mask & ~ndimage.binary_erosion(mask)
        expected = 100 * others[edge].mean()
        assert found["cell_percent_touching"][row] == pytest.approx(expected, 1e-4)


def test_foci_are_counted_in_their_cells():
    random = np.random.default_rng(3)
    labels = np.zeros((120, 180), np.int32)
    labels[10:110, 5:60], labels[10:110, 65:120], labels[10:110, 125:175] = 1, 2, 3
    image = random.normal(500, 5, labels.shape) + np.linspace(0, 400, 180)
    places = [(30, 30), (60, 20), (90, 45), (50, 90)]
    i, j = np.indices(labels.shape)
    for y, x in places:
        image += 300 * np.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * 1.5**2))
    found = measure(image.astype(np.float32)[None], {"cell": labels}, ["A"], ["foci"])
    np.testing.assert_array_equal(found["cell_A_foci_count"], [3, 1, 0])
    area = found["cell_A_foci_area"]
    assert 15 <= area[1] <= 40
    assert 2.5 * area[1] < area[0] < 3.5 * area[1]
    assert area[2] == 0


def test_translocation_moves_the_stain_into_the_nucleus():
    folder = DATA / "translocation_plate"
    if not folder.is_dir():
        pytest.skip("no translocation_plate")
    ratios = []
    for well in (1, 12):  # the negative and the positive control
        green, dna = (
            np.atleast_3d(cv2.imread(str(folder / f"{name}-{well:02d}-A-{well:02d}.tif"), -1))
            for name in ("Channel1", "Channel2")
        )
        image = np.stack([dna.max(2), green.max(2)]).astype(np.uint16)
        found = segment(image[0], image[1], {"method": "watershed"})
        labels = {
            "nucleus": found.nuclei,
            "cytoplasm": np.where(found.nuclei > 0, 0, found.cells),
        }
        columns = measure(image, labels, ("DNA", "GFP"), ["intensity"])
        ratios.append(np.nanmedian(columns["nucleus_GFP_mean"] / columns["cytoplasm_GFP_mean"]))
    assert 0.6 < ratios[0] < 1
    assert ratios[1] > 4


def test_objects_that_touch_are_told():
    _, labels = simulated()
    objects = Objects(labels, np.unique(labels)[1:])
    a, b = objects.close_pairs(FOUR_NEIGHBORS)
    assert len(a) > 10
    gaps = {tuple(sorted(p)) for p in zip(a.tolist(), b.tolist(), strict=True)}
    masks = each_object(labels)
    for k, mask in enumerate(masks):
        grown = ndimage.binary_dilation(mask)
        touched = {j for j, other in enumerate(masks) if j != k and (grown & other).any()}
        assert touched == {j for j in range(len(masks)) if tuple(sorted((j, k))) in gaps and j != k}


@pytest.fixture(params=[1, 2])
def opencv_threads(request):
    """One thread and two: OpenCV then runs different code."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(request.param)
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("opencv_threads")
@pytest.mark.parametrize("name", ["simulated", "wide disks", "more than a strip"])
def test_distances_to_the_edge_are_exact(name):
    labels = simulated()[1]
    if name == "wide disks":
        labels = np.zeros((130, 240), np.int32)
        for number, (j, radius) in enumerate(((60, 60), (161, 40), (222, 20)), 1):
            cv2.circle(labels, (j, 64), radius, number, -1)
    elif name == "more than a strip":
        width = 3000  # rows of objects, each in a strip of its own
        labels = np.repeat(np.arange(1, 8, dtype=np.int32), 5)[:, None] * np.ones(width, np.int32)
    ids = np.unique(labels[labels > 0])
    objects = Objects(labels, ids)
    for row, number in enumerate(ids):
        inside = np.pad(labels == number, 1)
        squares = np.round(ndimage.distance_transform_edt(inside) ** 2)[inside]
        exact = np.sqrt(squares.astype(np.float32))
        np.testing.assert_array_equal(objects.edge_distance[objects.row == row], exact)


@pytest.mark.parametrize("seed", range(30))
def test_runs_border_and_pairs_of_tiny_images(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, random.integers(1, 6, 2)).astype(np.int32)
    objects = Objects(labels, np.array([1, 2]))
    places = [np.argwhere(labels == number) for number in (1, 2)]
    np.testing.assert_array_equal(np.stack([objects.i, objects.j], 1), np.concatenate(places))
    assert objects.count.tolist() == [len(place) for place in places]
    framed = np.pad(labels, 1)
    border = [
        any(framed[i + di + 1, j + dj + 1] != labels[i, j] for di, dj in FOUR_NEIGHBORS)
        for i, j in zip(objects.i, objects.j, strict=True)
    ]
    np.testing.assert_array_equal(objects.border, np.flatnonzero(border))
    for di, dj in ((0, 1), (0, 3), (3, 3), (2, 0), (2, -2), (1, -4)):
        first, step = objects.pairs(di, dj)
        inside = {tuple(place) for place in np.argwhere(labels).tolist()}
        expected = [
            i * labels.shape[1] + j
            for i, j in sorted(inside)
            if (i + di, j + dj) in inside and labels[i + di, j + dj] == labels[i, j]
        ]
        assert first.tolist() == expected
        assert step == di * labels.shape[1] + dj


def test_feret_diameter_of_a_bar():
    labels = np.zeros((9, 20), np.int32)
    labels[4, 3:15] = 1
    found = measure(np.zeros((1, 9, 20), np.uint16), {"cell": labels}, ["A"], ["shape"])
    assert found["cell_max_feret_diameter"][0] == pytest.approx(12)
    points = np.argwhere(labels)
    assert pdist(points).max() == 11
    assert found["cell_min_feret_diameter"][0] == pytest.approx(1)
    assert found["cell_solidity"][0] == 1
