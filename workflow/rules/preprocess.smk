from lib.shared.illumination import sample_tiles

if SAMPLES["sbs"]:

    rule convert_sbs:
        input:
            lambda wildcards: raw_paths("sbs", wildcards, [wildcards.tile], CYCLES),
        output:
            # A mark such as temp() goes around expand(), not into it.
            PREPROCESS_OUTPUT_MAPPINGS.get("convert_sbs", list)(
                expand(
                    PREPROCESS_OUTPUTS["convert_sbs"], cycle=CYCLES, allow_missing=True
                )
            ),
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
            parts=lambda wildcards: [
                raw_parts("sbs", wildcards, wildcards.tile, cycle) for cycle in CYCLES
            ],
            sheet=config["preprocess"]["sbs_samples_fp"],
            cycles=CYCLES,
            settings=settings("preprocess", "z", "sbs_pixel_size_um"),
            channels=settings("sbs", "channel_names", "bases", "no_dapi_cycles"),
        script:
            "../scripts/preprocess/convert_sbs.py"

    rule extract_metadata_sbs:
        input:
            lambda wildcards: raw_paths(
                "sbs", wildcards, tiles_of("sbs", wildcards), CYCLES
            ),
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
            parts=lambda wildcards: {
                (tile, cycle): raw_parts("sbs", wildcards, tile, cycle)
                for tile in tiles_of("sbs", wildcards)
                for cycle in CYCLES
            },
            sheet=config["preprocess"]["sbs_samples_fp"],
            pixel_size_um=config["preprocess"]["sbs_pixel_size_um"],
        script:
            "../scripts/preprocess/extract_metadata.py"

    rule calculate_ic_sbs:
        input:
            lambda wildcards: expand(
                PREPROCESS_OUTPUTS["convert_sbs"],
                tile=sample_tiles(
                    tiles_of("sbs", wildcards),
                    config["preprocess"]["ic_max_tiles"],
                    config["all"]["seed"],
                ),
                plate=wildcards.plate,
                well=wildcards.well,
                cycle=wildcards.cycle,
            ),
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
