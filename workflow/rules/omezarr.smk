# Mirrors of images as OME-Zarr. One script serves all stages; compute rules never read these
# stores, except the converted tiles where `input_format` says so.
for stage, module in OMEZARR_MODULES.items():
    half = half_of(module, stage)
    images, labels = images_of(stage), labels_of(stage)
    export_params = dict(
        stage=stage,
        channel_names=MASK_NAMES.get(stage),
        labels=list(labels),
        cycle=position_cycle(half),
        options=omezarr_options(module),
    )

    if in_plates(stage):

        rule:
            name:
                f"export_{stage}_omezarr"
            input:
                **{name: of_tiles_at([path], half) for name, path in labels.items()},
                images=of_tiles_at(images, half),
                metadata=lambda wildcards, half=half: PREPROCESS_OUTPUTS[
                    f"extract_metadata_{half}"
                ][0].format(plate=wildcards.plate, well=well_at(wildcards, half)),
            output:
                directory(f"{plate_of(stage)}/{{row}}/{{column}}"),
            log:
                ROOT
                / f"logs/export_{stage}_omezarr/{Path(plate_of(stage)).name}_{{row}}{{column}}.log",
            benchmark:
                ROOT
                / f"benchmarks/export_{stage}_omezarr/{Path(plate_of(stage)).name}_{{row}}{{column}}.tsv"
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(400, 4, half),
                runtime=60,
            params:
                **export_params,
                well=lambda wildcards, half=half: well_at(wildcards, half),
                tiles=lambda wildcards, half=half: SAMPLES[half].tiles(
                    wildcards.plate, well_at(wildcards, half)
                ),
            script:
                "../scripts/omezarr/export_well.py"

        rule:
            name:
                f"assemble_{stage}_omezarr"
            input:
                wells_of_plate(plate_of(stage), half),
            output:
                f"{plate_of(stage)}/{PLATE_METADATA}",
            log:
                ROOT / f"logs/assemble_{stage}_omezarr/{Path(plate_of(stage)).name}.log",
            conda:
                ENVIRONMENT
            resources:
                mem_mb=500,
                runtime=10,
            params:
                wells=lambda wildcards, half=half: SAMPLES[half].wells(wildcards.plate),
                version=config["all"]["omezarr_version"],
            script:
                "../scripts/omezarr/assemble_plate.py"

    elif not conversion(stage):

        rule:
            name:
                f"export_{stage}_omezarr"
            input:
                **labels,
                images=images,
                metadata=(
                    PREPROCESS_OUTPUTS[f"raw_metadata_{half}"]
                    if "{tile}" in OMEZARR[stage]
                    else []
                ),
            output:
                directory(OMEZARR[stage]),
            log:
                ROOT / f"logs/export_{stage}_omezarr/{Path(OMEZARR[stage]).stem}.log",
            benchmark:
                (
                    ROOT
                    / f"benchmarks/export_{stage}_omezarr/{Path(OMEZARR[stage]).stem}.tsv"
                )
            conda:
                ENVIRONMENT
            resources:
                mem_mb=megabytes(300, 3, half),
                runtime=10,
            params:
                **export_params,
            script:
                "../scripts/omezarr/export_image.py"


if "sbs" in STORED_INPUT or "convert_sbs" in filter(conversion, OMEZARR):

    rule convert_sbs_omezarr:
        input:
            lambda wildcards: raw_paths("sbs", wildcards, [wildcards.tile], CYCLES),
        output:
            **(
                {"metadata": PREPROCESS_OUTPUTS["raw_metadata_sbs"][0]}
                if "sbs" in STORED_INPUT
                else {}
            ),
            images=[
                directory(path)
                for path in expand(
                    str(ROOT / layout.OMEZARR["preprocess"]["convert_sbs"]),
                    cycle=CYCLES,
                    allow_missing=True,
                )
            ],
        log:
            ROOT / "logs/convert_sbs_omezarr/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT / "benchmarks/convert_sbs_omezarr/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 600 * attempt,
            runtime=10,
        params:
            **CONVERT_SBS_PARAMS,
            options=omezarr_options("preprocess"),
        script:
            "../scripts/preprocess/convert.py"


if "phenotype" in STORED_INPUT or "convert_phenotype" in filter(conversion, OMEZARR):

    rule convert_phenotype_omezarr:
        input:
            lambda wildcards: raw_paths(
                "phenotype", wildcards, [wildcards.tile], [None]
            ),
        output:
            **(
                {"metadata": PREPROCESS_OUTPUTS["raw_metadata_phenotype"][0]}
                if "phenotype" in STORED_INPUT
                else {}
            ),
            images=[
                directory(
                    str(ROOT / layout.OMEZARR["preprocess"]["convert_phenotype"])
                )
            ],
        log:
            ROOT / "logs/convert_phenotype_omezarr/P-{plate}_W-{well}_T-{tile}.log",
        benchmark:
            ROOT
            / "benchmarks/convert_phenotype_omezarr/P-{plate}_W-{well}_T-{tile}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 800 * attempt,
            runtime=10,
        params:
            **CONVERT_PHENOTYPE_PARAMS,
            options=omezarr_options("preprocess"),
        script:
            "../scripts/preprocess/convert.py"


# On request only: what the config no longer asks for is deleted.
for module in layout.OMEZARR:
    if module in config:

        rule:
            name:
                f"cleanup_omezarr_{module}"
            log:
                ROOT / f"logs/cleanup_omezarr_{module}.log",
            localrule: True
            conda:
                ENVIRONMENT
            resources:
                mem_mb=500,
                runtime=60,
            params:
                folder=ROOT / module / "omezarr",
                keep=lambda wildcards, module=module: stores_in_use(module),
            script:
                "../scripts/omezarr/cleanup.py"
