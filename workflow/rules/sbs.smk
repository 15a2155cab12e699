from lib.sbs.segmentation_images import cytoplasm_cycles

if SAMPLES["sbs"]:
    REFERENCE_CYCLE = INPUTS.reference_cycle

    SEQUENCED = {
        "cycles": CYCLES,
        **settings(
            "sbs",
            "bases",
            "base_encoding",
            "failed_cycles",
            "mapping_cycles",
            "recombination_cycles",
        ),
    }

    rule align_sbs:
        input:
            expand(CONVERTED["sbs"], cycle=CYCLES, allow_missing=True),
        output:
            aligned=SBS_OUTPUTS_MAPPED["align_sbs"][0],
            alignment=SBS_OUTPUTS_MAPPED["align_sbs"][1],
        log:
            ROOT / "logs/align_sbs/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/align_sbs/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(300, 14, "sbs"),
            runtime=10,
        params:
            cycles=CYCLES,
            reference_cycle=REFERENCE_CYCLE,
            settings=settings(
                "sbs",
                "channel_names",
                "bases",
                "base_encoding",
                "dapi_channel",
                "max_shift_px",
                "residual_limit_px",
                "chromatic_alignment",
            ),
        script:
            "../scripts/sbs/align_sbs.py"

    # Indices of the cycles that cells are found on: nuclei on the first of them.
    SEGMENT_SBS_CYCLES = [
        CYCLES.index(REFERENCE_CYCLE),
        *cytoplasm_cycles(len(CYCLES)),
    ]
    SEGMENT_SBS_INPUT = dict(
        aligned=SBS_OUTPUTS["align_sbs"][0],
        ic_field=ic_field_sbs(),
    )
    SEGMENT_SBS_SETTINGS = settings(
        "sbs", "channel_names", "dapi_channel", "cytoplasm_channels", "segmentation"
    )

    rule segment_sbs:
        input:
            **SEGMENT_SBS_INPUT,
        output:
            nuclei=SBS_OUTPUTS_MAPPED["segment_sbs"][0],
            cells=SBS_OUTPUTS_MAPPED["segment_sbs"][1],
            stats=SBS_OUTPUTS_MAPPED["segment_sbs"][2],
            info=SBS_OUTPUTS_MAPPED["segment_sbs"][3],
        log:
            ROOT / "logs/segment_sbs/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/segment_sbs/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(segmentation_resources("sbs")["base_mb"], 8, "sbs"),
            runtime=10,
            gpu=segmentation_resources("sbs")["gpu"],
        params:
            cycles=SEGMENT_SBS_CYCLES,
            settings=SEGMENT_SBS_SETTINGS,
        script:
            "../scripts/sbs/segment_sbs.py"

    DETECT_SPOTS_INPUT = dict(
        aligned=SBS_OUTPUTS["align_sbs"][0],
        alignment=SBS_OUTPUTS["align_sbs"][1],
        ic_field=ic_field_sbs(),
        cells=SBS_OUTPUTS["segment_sbs"][1],
    )
    if SPOT_MEASURE_CHOSEN:
        DETECT_SPOTS_INPUT["measure"] = SBS_OUTPUTS["choose_spot_measure"][0]
    DETECT_SPOTS_SETTINGS = settings(
        "sbs",
        "channel_names",
        "bases",
        "base_encoding",
        "spot_sigma_px",
        "spot_window_px",
        "spot_threshold",
        "spot_measure",
        "border_px",
    )
    if SPOT_MEASURE_CHOSEN:

        rule choose_spot_measure:
            input:
                aligned=of_sampled_places(SBS_OUTPUTS["align_sbs"][0], "sbs"),
                alignment=of_sampled_places(SBS_OUTPUTS["align_sbs"][1], "sbs"),
                cells=of_sampled_places(SBS_OUTPUTS["segment_sbs"][1], "sbs"),
                ic_field=(
                    of_sampled_places(ic_field_sbs()[0], "sbs")
                    if ic_field_sbs()
                    else []
                ),
                library=config["sbs"]["barcode_library_fp"],
            output:
                SBS_OUTPUTS_MAPPED["choose_spot_measure"][0],
            log:
                ROOT / "logs/choose_spot_measure/P-{plate}.log",
            benchmark:
                ROOT / "benchmarks/choose_spot_measure/P-{plate}.tsv"
            conda:
                ENVIRONMENT
            resources:
                mem_mb=lambda wildcards, attempt: 3000 * attempt,
                runtime=30,
            params:
                sequencing=SEQUENCED,
                places=lambda wildcards: sampled_places("sbs", wildcards.plate),
                settings=DETECT_SPOTS_SETTINGS
                | settings("sbs", "fdr")
                | settings("all", "seed"),
            script:
                "../scripts/sbs/choose_spot_measure.py"

    rule detect_spots:
        input:
            **DETECT_SPOTS_INPUT,
        output:
            bases=SBS_OUTPUTS_MAPPED["detect_spots"][0],
        log:
            ROOT / "logs/detect_spots/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/detect_spots/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(300, 10, "sbs"),
            runtime=10,
        params:
            cycles=CYCLES,
            settings=DETECT_SPOTS_SETTINGS,
        script:
            "../scripts/sbs/detect_spots.py"

    # Stages that somebody wants to look at are made by rules of their own, which share the
    # scripts of the rules above: switching one on or off never re-runs what tables hang on.
    if SBS_WANTED and "apply_ic_field_sbs" in SBS_WANTED:

        rule apply_ic_field_sbs:
            input:
                **SEGMENT_SBS_INPUT,
            output:
                corrected=SBS_OUTPUTS_MAPPED["apply_ic_field_sbs"][0],
            log:
                ROOT / "logs/apply_ic_field_sbs/P-{plate}_W-{well}_T-{tile}.log",
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(300, 5, "sbs"),
                runtime=10,
            params:
                cycles=SEGMENT_SBS_CYCLES,
                settings=SEGMENT_SBS_SETTINGS,
            script:
                "../scripts/sbs/segment_sbs.py"

    SPOT_IMAGES = {
        stage: SBS_OUTPUTS_MAPPED[stage][0]
        for stage in SBS_WANTED
        if stage != "apply_ic_field_sbs"
    }
    if SPOT_IMAGES:

        rule detect_spots_images:
            input:
                **DETECT_SPOTS_INPUT,
            output:
                **SPOT_IMAGES,
            log:
                ROOT / "logs/detect_spots_images/P-{plate}_W-{well}_T-{tile}.log",
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(300, 12, "sbs"),
                runtime=10,
            params:
                cycles=CYCLES,
                settings=DETECT_SPOTS_SETTINGS,
            script:
                "../scripts/sbs/detect_spots.py"

    rule call_reads:
        input:
            bases=of_tiles(SBS_OUTPUTS["detect_spots"][0], "sbs"),
            pooled=(
                of_tiles_of_plate(SBS_OUTPUTS["detect_spots"][0], "sbs")
                if config["sbs"]["pool_wells"]
                else []
            ),
            library=config["sbs"]["barcode_library_fp"],
        output:
            reads=SBS_OUTPUTS_MAPPED["call_reads"][0],
            decoding=SBS_OUTPUTS_MAPPED["call_reads"][1],
        log:
            ROOT / "logs/call_reads/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/call_reads/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=30,
        params:
            sequencing=SEQUENCED,
            settings=settings("sbs", "call_reads_method", "max_mismatches", "fdr")
            | settings("all", "seed"),
        script:
            "../scripts/sbs/call_reads.py"

    rule call_cells:
        input:
            reads=SBS_OUTPUTS["call_reads"][0],
            info=of_tiles(SBS_OUTPUTS["segment_sbs"][3], "sbs"),
            metadata=PREPROCESS_OUTPUTS["extract_metadata_sbs"],
        output:
            cells=SBS_OUTPUTS_MAPPED["call_cells"][0],
            info=SBS_OUTPUTS_MAPPED["call_cells"][1],
        log:
            ROOT / "logs/call_cells/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/call_cells/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=30,
        params:
            reference_cycle=REFERENCE_CYCLE,
            settings=settings(
                "sbs", "call_reads_method", "call_cells_by", "min_quality"
            ),
        script:
            "../scripts/sbs/call_cells.py"
