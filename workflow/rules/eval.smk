# Figures and tables of `snakemake --report`. Captions are in workflow/report.
if SAMPLES["sbs"]:
    PLATE_FIGURES = {
        "cells_per_well": ("plate_heatmap", "2 Plates", "cells"),
        "reads_per_well": ("plate_heatmap", "2 Plates", "reads"),
        "mapped_per_well": ("plate_heatmap", "2 Plates", "reads in library"),
        "drift": ("drift", "4 Alignment", "drift of cycles"),
        "residuals": ("residuals", "4 Alignment", "residuals"),
        "base_composition": ("base_composition", "5 Sequencing", "bases per cycle"),
        "base_quality": ("base_quality", "5 Sequencing", "quality per cycle"),
        "mapping_thresholds": (
            "mapping_thresholds",
            "6 Mapping",
            "mapping against threshold",
        ),
        "cell_calls": ("cells", "7 Cells", "reads and calls of cells"),
        "representation": ("representation", "8 Library", "cells per guide and gene"),
    }
    WELL_FIGURES = {
        "preview": ("preview", "1 Overview", "preview"),
        "segmentation": ("segmentation", "3 Images", "segmentation"),
        "spots": ("spots", "3 Images", "spots and reads"),
        "crosstalk": ("crosstalk", "5 Sequencing", "decoding"),
    }

    rule eval_sbs:
        input:
            reads=of_wells(SBS_OUTPUTS["call_reads"][0], "sbs"),
            cells=of_wells(SBS_OUTPUTS["call_cells"][0], "sbs"),
            info=of_wells(SBS_OUTPUTS["call_cells"][1], "sbs"),
            metadata=of_wells(PREPROCESS_OUTPUTS["extract_metadata_sbs"][0], "sbs"),
            alignment=of_tiles_of_plate(SBS_OUTPUTS["align_sbs"][1], "sbs"),
            library=config["sbs"]["barcode_library_fp"],
        output:
            **{
                name: figure(SBS_EVAL["plate"][name], *shown, "plate")
                for name, shown in PLATE_FIGURES.items()
            },
            counts=SBS_EVAL["plate"]["counts"],
            flagged=SBS_EVAL["plate"]["flagged"],
        log:
            ROOT / "logs/eval_sbs/P-{plate}.log",
        benchmark:
            ROOT / "benchmarks/eval_sbs/P-{plate}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=30,
        params:
            tiles=lambda wildcards: [
                (well, tile)
                for well in SAMPLES["sbs"].wells(wildcards.plate)
                for tile in SAMPLES["sbs"].tiles(wildcards.plate, well)
            ],
            reference_cycle=INPUTS.reference_cycle,
            sequencing=SEQUENCED,
            limit=config["sbs"]["residual_limit_px"],
        script:
            "../scripts/eval/eval_sbs.py"

    rule eval_sbs_well:
        input:
            reads=SBS_OUTPUTS["call_reads"][0],
            decoding=SBS_OUTPUTS["call_reads"][1],
            cells=SBS_OUTPUTS["call_cells"][0],
            info=SBS_OUTPUTS["call_cells"][1],
        output:
            **{
                name: figure(SBS_EVAL["well"][name], *shown, "plate", "well")
                for name, shown in WELL_FIGURES.items()
            },
        log:
            ROOT / "logs/eval_sbs_well/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/eval_sbs_well/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(1000, 10, "sbs"),
            runtime=30,
        params:
            # The tile that is shown is chosen by the tables above, which exist only after
            # the images of all tiles.
            tiles=lambda wildcards: SAMPLES["sbs"].tiles(
                wildcards.plate, wildcards.well
            ),
            images={
                "aligned": SBS_OUTPUTS["align_sbs"][0],
                "nuclei": SBS_OUTPUTS["segment_sbs"][0],
                "cells": SBS_OUTPUTS["segment_sbs"][1],
            },
            settings=settings(
                "sbs",
                "channel_names",
                "bases",
                "base_encoding",
                "dapi_channel",
                "spot_sigma_px",
            ),
        script:
            "../scripts/eval/eval_sbs_well.py"

    rule eval_illumination_sbs:
        input:
            expand(
                PREPROCESS_OUTPUTS["calculate_ic_sbs"],
                cycle=INPUTS.cycles,
                allow_missing=True,
            ),
        output:
            figure(
                SBS_EVAL["illumination"],
                "illumination",
                "3 Images",
                "illumination",
                "plate",
                "well",
            ),
        log:
            ROOT / "logs/eval_illumination_sbs/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/eval_illumination_sbs/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 1000 * attempt,
            runtime=10,
        params:
            cycles=INPUTS.cycles,
            channel_names=config["sbs"]["channel_names"],
        script:
            "../scripts/eval/eval_illumination.py"


if SAMPLES["phenotype"]:
    PHENOTYPE_PLATE_FIGURES = {
        "cells_per_well": ("plate_heatmap", "2 Plates", "phenotype cells"),
        "feature_plates": ("feature_plates", "2 Plates", "features"),
        "cells_per_tile": ("cells_per_tile", "9 Phenotype", "cells per tile"),
        "feature_distributions": (
            "feature_distributions",
            "9 Phenotype",
            "distributions of features",
        ),
        "feature_gaps": (
            "feature_gaps",
            "9 Phenotype",
            "missing and constant features",
        ),
    }
    PHENOTYPE_WELL_FIGURES = {
        "segmentation": ("segmentation", "3 Images", "phenotype segmentation"),
        "channels": ("channels", "3 Images", "phenotype channels"),
    }

    rule eval_phenotype:
        input:
            features=of_wells(PHENOTYPE_OUTPUTS["merge_phenotype"][0], "phenotype"),
            info=of_wells(PHENOTYPE_OUTPUTS["merge_phenotype"][1], "phenotype"),
            metadata=of_wells(
                PREPROCESS_OUTPUTS["extract_metadata_phenotype"][0], "phenotype"
            ),
            # Only where channels were registered is there anything to flag.
            alignment=(
                of_tiles_of_plate(PHENOTYPE_OUTPUTS["align_phenotype"][1], "phenotype")
                if config["phenotype"]["alignment"]["groups"]
                else []
            ),
        output:
            **{
                name: figure(PHENOTYPE_EVAL["plate"][name], *shown, "plate")
                for name, shown in PHENOTYPE_PLATE_FIGURES.items()
            },
            counts=PHENOTYPE_EVAL["plate"]["counts"],
            features=PHENOTYPE_EVAL["plate"]["features"],
            flagged=PHENOTYPE_EVAL["plate"]["flagged"],
        log:
            ROOT / "logs/eval_phenotype/P-{plate}.log",
        benchmark:
            ROOT / "benchmarks/eval_phenotype/P-{plate}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=60,
        params:
            tiles=lambda wildcards: [
                (well, tile)
                for well in SAMPLES["phenotype"].wells(wildcards.plate)
                for tile in SAMPLES["phenotype"].tiles(wildcards.plate, well)
            ],
            settings=settings(
                "phenotype", "channel_names", "nuclei_only", "features", "alignment"
            ),
        script:
            "../scripts/eval/eval_phenotype.py"

    rule eval_phenotype_well:
        input:
            info=PHENOTYPE_OUTPUTS["merge_phenotype"][1],
        output:
            **{
                name: figure(PHENOTYPE_EVAL["well"][name], *shown, "plate", "well")
                for name, shown in PHENOTYPE_WELL_FIGURES.items()
            },
        log:
            ROOT / "logs/eval_phenotype_well/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/eval_phenotype_well/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=megabytes(1000, 10, "phenotype"),
            runtime=30,
        params:
            # The tile that is shown is chosen by the table above, which exists only after the
            # images of all tiles.
            tiles=lambda wildcards: SAMPLES["phenotype"].tiles(
                wildcards.plate, wildcards.well
            ),
            images={
                "aligned": PHENOTYPE_OUTPUTS["align_phenotype"][0],
                "nuclei": PHENOTYPE_OUTPUTS["segment_phenotype"][0],
                "cells": PHENOTYPE_OUTPUTS["segment_phenotype"][1],
            },
            settings=settings(
                "phenotype", "channel_names", "dapi_channel", "cytoplasm_channels"
            ),
        script:
            "../scripts/eval/eval_phenotype_well.py"

    rule eval_illumination_phenotype:
        input:
            PREPROCESS_OUTPUTS["calculate_ic_phenotype"],
        output:
            figure(
                PHENOTYPE_EVAL["illumination"],
                "illumination",
                "3 Images",
                "phenotype illumination",
                "plate",
                "well",
            ),
        log:
            ROOT / "logs/eval_illumination_phenotype/P-{plate}_W-{well}.log",
        benchmark:
            ROOT / "benchmarks/eval_illumination_phenotype/P-{plate}_W-{well}.tsv"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 1000 * attempt,
            runtime=10,
        params:
            cycles=[""],
            channel_names=config["phenotype"]["channel_names"],
        script:
            "../scripts/eval/eval_illumination.py"


RUN_PAGES = {
    "summary": ("summary", "1 Overview", "summary"),
    "tiles": ("flagged_tiles", "4 Alignment", "skipped and doubtful tiles"),
    "parameters": ("parameters", "Run", "parameters and versions"),
    "costs": ("benchmarks", "Run", "seconds and gigabytes"),
}


rule eval_run:
    input:
        sbs=eval_tables(SBS_EVAL, "sbs", "counts"),
        phenotype=eval_tables(PHENOTYPE_EVAL, "phenotype", "counts"),
        flagged_sbs=eval_tables(SBS_EVAL, "sbs", "flagged"),
        flagged_phenotype=eval_tables(PHENOTYPE_EVAL, "phenotype", "flagged"),
    output:
        **{name: figure(path, *RUN_PAGES[name]) for name, path in RUN_EVAL.items()},
    log:
        ROOT / "logs/eval_run.log",
    benchmark:
        ROOT / "benchmarks/eval_run/all.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=10,
    params:
        config=config,
        defaults=schema_defaults(SCHEMA),
        skipped=[
            (tile.plate, tile.well, tile.tile, tile.reason)
            for samples in SAMPLES.values()
            if samples
            for tile in samples.skipped
        ],
        benchmarks=str(ROOT / "benchmarks"),
    script:
        "../scripts/eval/eval_run.py"
