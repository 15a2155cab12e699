if SAMPLES["sbs"]:

    CONVERT_SBS_PARAMS = dict(
        images=lambda wildcards: [
            (
                cycle,
                channels_of_cycle(cycle),
                raw_parts("sbs", **wildcards, cycle=cycle),
            )
            for cycle in CYCLES
        ],
        sheet=config["preprocess"]["sbs_samples_fp"],
        z=config["preprocess"]["z"],
        pixel_size_um=config["preprocess"]["sbs_pixel_size_um"],
    )

    rule convert_sbs:
        input:
            lambda wildcards: raw_paths("sbs", wildcards, [wildcards.tile], CYCLES),
        output:
            **(
                {}
                if "sbs" in STORED_INPUT
                else {"metadata": PREPROCESS_OUTPUTS["raw_metadata_sbs"][0]}
            ),
            # A mark such as temp() goes around expand(), not into it.
            images=PREPROCESS_OUTPUT_MAPPINGS.get("convert_sbs", list)(
                expand(
                    PREPROCESS_OUTPUTS["convert_sbs"], cycle=CYCLES, allow_missing=True
                )
            ),
            # What the files say comes with the tiles that the next stages read.
        log:
            ROOT / "logs/convert_sbs/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/convert_sbs/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 600 * attempt,
            runtime=10,
        params:
            **CONVERT_SBS_PARAMS,
        script:
            "../scripts/preprocess/convert.py"

    rule extract_metadata_sbs:
        input:
            of_tiles(PREPROCESS_OUTPUTS["raw_metadata_sbs"][0], "sbs"),
        output:
            PREPROCESS_OUTPUTS_MAPPED["extract_metadata_sbs"],
        log:
            ROOT / "logs/extract_metadata_sbs/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/extract_metadata_sbs/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 500 * attempt,
            runtime=30,
        params:
            pixel_size_um=config["preprocess"]["sbs_pixel_size_um"],
        script:
            "../scripts/preprocess/extract_metadata.py"

    rule calculate_ic_sbs:
        input:
            sampled_tiles("sbs"),
        output:
            PREPROCESS_OUTPUTS_MAPPED["calculate_ic_sbs"],
        log:
            ROOT / "logs/calculate_ic_sbs/P-{plate}_W-{well}_C-{cycle}.log",
        benchmark:
            ROOT / "benchmarks/calculate_ic_sbs/P-{plate}_W-{well}_C-{cycle}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 500 * attempt,
            runtime=30,
        script:
            "../scripts/preprocess/calculate_ic.py"


if SAMPLES["phenotype"]:

    CONVERT_PHENOTYPE_PARAMS = dict(
        images=lambda wildcards: [
            (
                None,
                config["phenotype"]["channel_names"],
                raw_parts("phenotype", **wildcards, cycle=None),
            )
        ],
        sheet=config["preprocess"]["phenotype_samples_fp"],
        z=config["preprocess"]["z"],
        pixel_size_um=config["preprocess"]["phenotype_pixel_size_um"],
    )

    rule convert_phenotype:
        input:
            lambda wildcards: raw_paths(
                "phenotype", wildcards, [wildcards.tile], [None]
            ),
        output:
            **(
                {}
                if "phenotype" in STORED_INPUT
                else {"metadata": PREPROCESS_OUTPUTS["raw_metadata_phenotype"][0]}
            ),
            images=PREPROCESS_OUTPUTS_MAPPED["convert_phenotype"],
        log:
            ROOT / "logs/convert_phenotype/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/convert_phenotype/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 800 * attempt,
            runtime=10,
        params:
            **CONVERT_PHENOTYPE_PARAMS,
        script:
            "../scripts/preprocess/convert.py"

    rule extract_metadata_phenotype:
        input:
            of_tiles(PREPROCESS_OUTPUTS["raw_metadata_phenotype"][0], "phenotype"),
        output:
            PREPROCESS_OUTPUTS_MAPPED["extract_metadata_phenotype"],
        log:
            ROOT / "logs/extract_metadata_phenotype/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/extract_metadata_phenotype/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 500 * attempt,
            runtime=30,
        params:
            pixel_size_um=config["preprocess"]["phenotype_pixel_size_um"],
        script:
            "../scripts/preprocess/extract_metadata.py"

    rule calculate_ic_phenotype:
        input:
            sampled_tiles("phenotype"),
        output:
            PREPROCESS_OUTPUTS_MAPPED["calculate_ic_phenotype"],
        log:
            ROOT / "logs/calculate_ic_phenotype/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/calculate_ic_phenotype/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 800 * attempt,
            runtime=30,
        script:
            "../scripts/preprocess/calculate_ic.py"
