# Results into OMERO, and images that live only there out of it.


# Once, in the process that starts the jobs, and not in a dry run: a wrong password, or a right
# that is missing, is told before the first job, not by the import, which is the last of them.
onstart:
    talking = [
        job
        for job in workflow.dag.needrun_jobs()
        if job.rule.name.startswith(("import_omero", "fetch_omero_image"))
    ]
    imports = [job for job in talking if job.rule.name == "import_omero"]
    source_plates = config["omero"]["source_plates"]
    numbers = [source_plates.get(job.wildcards.plate) for job in imports]
    if talking:
        from lib.omero.check import check_server

        try:
            check_server(
                [number for number in numbers if number is not None],
                config["omero"]["screen"] if imports else None,
            )
        except InputError as error:
            sys.exit(f"\nError: {error}\n")


# Jobs that talk to the server take a part of `omero_connections`, of which the profiles have few.
rule import_omero:
    input:
        images=of_plate(OMERO_FILES),
        positions=of_plate(OMERO_POSITIONS),
        tables=of_plate(OMERO_TABLES),
    output:
        OMERO_RECEIPT,
    log:
        ROOT / "logs/import_omero/P-{plate}.log",
    benchmark:
        ROOT / "benchmarks/import_omero/P-{plate}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=480,
        omero_connections=1,
    params:
        run=OMERO_RUN,
        inputs=run_inputs(),
        tiles=tiles_of_plate,
        stages=OMERO_STAGES,
        in_plates=OMEZARR_PLATES,
        source_plate=lambda wildcards: config["omero"]["source_plates"].get(
            wildcards.plate
        ),
        settings=settings("omero", "mode", "labels", "mask_cap", "screen", "tags"),
    script:
        "../scripts/omero/import_plate.py"


# `inventory` writes the sheets of both halves beside each other, so there is one folder mostly.
for number, folder in enumerate(omero_image_folders()):

    rule:
        name:
            f"fetch_omero_image_{number}" if number else "fetch_omero_image"
        output:
            f"{folder}/{Path(layout.OMERO_IMAGE).name}",
        log:
            ROOT / f"logs/fetch_omero_image/{number}_I-{{image}}.log",
        wildcard_constraints:
            image="[0-9]+",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=lambda wildcards, attempt: 2000 * attempt,
            runtime=30,
            omero_connections=1,
        script:
            "../scripts/omero/fetch_image.py"
