"""What CellProfiler calls our features, in the spelling of cp_measure."""

# Equal to 1e-4 on the same masks; quartiles and `mad` in cp_measure only.
SAME = {
    "area": "Area",
    "perimeter": "Perimeter",
    "form_factor": "FormFactor",
    "center_i": "Center_Y",
    "center_j": "Center_X",
    "max_radius": "MaximumRadius",
    "mean_radius": "MeanRadius",
    "extent": "Extent",
    "solidity": "Solidity",
    "major_axis": "MajorAxisLength",
    "minor_axis": "MinorAxisLength",
    "eccentricity": "Eccentricity",
    "hu_moment_{k}": "HuMoment_{k}",
    "integrated": "Intensity_IntegratedIntensity",
    "mean": "Intensity_MeanIntensity",
    "std": "Intensity_StdIntensity",
    "min": "Intensity_MinIntensity",
    "max": "Intensity_MaxIntensity",
    "lower_quartile": "Intensity_LowerQuartileIntensity",
    "median": "Intensity_MedianIntensity",
    "upper_quartile": "Intensity_UpperQuartileIntensity",
    "mad": "Intensity_MADIntensity",
    "mass_displacement": "Intensity_MassDisplacement",
    "center_mass_i": "Location_CenterMassIntensity_Y",
    "center_mass_j": "Location_CenterMassIntensity_X",
    "max_i": "Location_MaxIntensity_Y",
    "max_j": "Location_MaxIntensity_X",
    "correlation": "Correlation_Pearson",
    "slope": "Correlation_Slope",
    "overlap": "Correlation_Overlap",
    "k_1": "Correlation_K_1",
    "k_2": "Correlation_K_2",
    "manders_1": "Correlation_Manders_1",
    "manders_2": "Correlation_Manders_2",
    "rwc_1": "Correlation_RWC_1",
    "rwc_2": "Correlation_RWC_2",
}
# The same idea, defined differently; docs/features.md says how.
SIMILAR = {
    "max_feret_diameter": "MaxFeretDiameter",
    "min_feret_diameter": "MinFeretDiameter",
    "orientation": "Orientation",
    "zernike_{n}_{m}": "Zernike_{n}_{m}",
    "number_of_neighbors": "Neighbors_NumberOfNeighbors",
    "percent_touching": "Neighbors_PercentTouching",
    "first_neighbor_distance": "Neighbors_FirstClosestDistance",
    "second_neighbor_distance": "Neighbors_SecondClosestDistance",
    "integrated_edge": "Intensity_IntegratedIntensityEdge",
    "mean_edge": "Intensity_MeanIntensityEdge",
    "std_edge": "Intensity_StdIntensityEdge",
    "min_edge": "Intensity_MinIntensityEdge",
    "max_edge": "Intensity_MaxIntensityEdge",
    "frac_at_d_{ring}": "RadialDistribution_FracAtD_{ring}of4",
    "mean_frac_{ring}": "RadialDistribution_MeanFrac_{ring}of4",
    "radial_cv_{ring}": "RadialDistribution_RadialCV_{ring}of4",
    "granularity_{k}": "Granularity_{k}",
    "texture_angular_second_moment_{distance}": "AngularSecondMoment_{distance}_{angle}_256",
    "texture_contrast_{distance}": "Contrast_{distance}_{angle}_256",
    "texture_correlation_{distance}": "Correlation_{distance}_{angle}_256",
    "texture_variance_{distance}": "Variance_{distance}_{angle}_256",
    "texture_inverse_difference_moment_{distance}": (
        "InverseDifferenceMoment_{distance}_{angle}_256"
    ),
    "texture_sum_average_{distance}": "SumAverage_{distance}_{angle}_256",
    "texture_sum_variance_{distance}": "SumVariance_{distance}_{angle}_256",
    "texture_sum_entropy_{distance}": "SumEntropy_{distance}_{angle}_256",
    "texture_entropy_{distance}": "Entropy_{distance}_{angle}_256",
    "texture_difference_variance_{distance}": "DifferenceVariance_{distance}_{angle}_256",
    "texture_difference_entropy_{distance}": "DifferenceEntropy_{distance}_{angle}_256",
    "texture_info_meas_1_{distance}": "InfoMeas1_{distance}_{angle}_256",
    "texture_info_meas_2_{distance}": "InfoMeas2_{distance}_{angle}_256",
}


def spell_counterpart(pattern: str) -> str:
    """CellProfiler's name of a feature for the documentation; empty where it has none."""
    if pattern in SAME:
        return f"`{SAME[pattern]}`"
    return f"≈ `{SIMILAR[pattern]}`" if pattern in SIMILAR else ""
