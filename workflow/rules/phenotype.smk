if SAMPLES["phenotype"]:
    ALIGN_PHENOTYPE_INPUT = dict(
        image=CONVERTED["phenotype"],
        ic_field=(
            PREPROCESS_OUTPUTS["calculate_ic_phenotype"]
            if config["phenotype"]["illumination_correction"]
            else []
        ),
    )

    rule align_phenotype:
        input:
            **ALIGN_PHENOTYPE_INPUT,
        output:
            aligned=PHENOTYPE_OUTPUTS_MAPPED["align_phenotype"][0],
            alignment=PHENOTYPE_OUTPUTS_MAPPED["align_phenotype"][1],
        log:
            ROOT / "logs/align_phenotype/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/align_phenotype/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(300, 8, "phenotype"),
            runtime=10,
        params:
            settings=settings("phenotype", "channel_names", "alignment"),
        script:
            "../scripts/phenotype/align_phenotype.py"

    rule segment_phenotype:
        input:
            aligned=PHENOTYPE_OUTPUTS["align_phenotype"][0],
        output:
            nuclei=PHENOTYPE_OUTPUTS_MAPPED["segment_phenotype"][0],
            cells=PHENOTYPE_OUTPUTS_MAPPED["segment_phenotype"][1],
            cytoplasms=PHENOTYPE_OUTPUTS_MAPPED["identify_cytoplasm"][0],
            stats=PHENOTYPE_OUTPUTS_MAPPED["segment_phenotype"][2],
            info=PHENOTYPE_OUTPUTS_MAPPED["segment_phenotype"][3],
        log:
            ROOT / "logs/segment_phenotype/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/segment_phenotype/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(
                segmentation_resources("phenotype")["base_mb"], 25, "phenotype"
            ),
            runtime=10,
            gpu=segmentation_resources("phenotype")["gpu"],
        params:
            settings=settings(
                "phenotype",
                "channel_names",
                "dapi_channel",
                "cytoplasm_channels",
                "segmentation",
                "nuclei_only",
            ),
        script:
            "../scripts/phenotype/segment_phenotype.py"

    SECONDARY = (
        PHENOTYPE_OUTPUTS["segment_secondary"][0]
        if "segment_secondary" in PHENOTYPE_WANTED
        else []
    )

    rule extract_phenotype:
        input:
            aligned=PHENOTYPE_OUTPUTS["align_phenotype"][0],
            nuclei=PHENOTYPE_OUTPUTS["segment_phenotype"][0],
            cells=PHENOTYPE_OUTPUTS["segment_phenotype"][1],
            cytoplasms=PHENOTYPE_OUTPUTS["identify_cytoplasm"][0],
            secondary=SECONDARY,
        output:
            features=PHENOTYPE_OUTPUTS_MAPPED["extract_phenotype"][0],
        log:
            ROOT / "logs/extract_phenotype/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/extract_phenotype/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(400, 30, "phenotype"),
            runtime=10 if config["phenotype"]["features"]["engine"] == "own" else 60,
        params:
            settings=settings("phenotype", "channel_names", "nuclei_only", "features"),
        script:
            "../scripts/phenotype/extract_phenotype.py"

    # Stages that somebody wants to look at are made by rules of their own: switching one on
    # or off never re-runs what tables hang on.
    if "apply_ic_field_phenotype" in PHENOTYPE_WANTED:

        rule apply_ic_field_phenotype:
            input:
                **ALIGN_PHENOTYPE_INPUT,
            output:
                corrected=PHENOTYPE_OUTPUTS_MAPPED["apply_ic_field_phenotype"][0],
            log:
                ROOT / "logs/apply_ic_field_phenotype/P-{plate}_W-{well}_T-{tile}.log",
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(300, 8, "phenotype"),
                runtime=10,
            params:
                settings=settings("phenotype", "channel_names"),
            script:
                "../scripts/phenotype/align_phenotype.py"

    if "segment_secondary" in PHENOTYPE_WANTED:

        rule segment_secondary:
            input:
                aligned=PHENOTYPE_OUTPUTS["align_phenotype"][0],
                cells=PHENOTYPE_OUTPUTS["segment_phenotype"][1],
            output:
                objects=PHENOTYPE_OUTPUTS_MAPPED["segment_secondary"][0],
                info=PHENOTYPE_OUTPUTS_MAPPED["segment_secondary"][1],
            log:
                ROOT / "logs/segment_secondary/P-{plate}_W-{well}_T-{tile}.log",
            benchmark:
                ROOT / "benchmarks/segment_secondary/P-{plate}_W-{well}_T-{tile}.tsv"
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(300, 12, "phenotype"),
                runtime=10,
            params:
                settings=settings("phenotype", "channel_names", "secondary_objects"),
            script:
                "../scripts/phenotype/segment_secondary.py"

    rule merge_phenotype:
        input:
            features=of_tiles(PHENOTYPE_OUTPUTS["extract_phenotype"][0], "phenotype"),
            info=of_tiles(PHENOTYPE_OUTPUTS["segment_phenotype"][3], "phenotype"),
            metadata=PREPROCESS_OUTPUTS["extract_metadata_phenotype"],
        output:
            features=PHENOTYPE_OUTPUTS_MAPPED["merge_phenotype"][0],
            info=PHENOTYPE_OUTPUTS_MAPPED["merge_phenotype"][1],
        log:
            ROOT / "logs/merge_phenotype/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/merge_phenotype/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=60,
        script:
            "../scripts/phenotype/merge_phenotype.py"
