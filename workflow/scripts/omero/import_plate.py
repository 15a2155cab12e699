"""The results of one plate into OMERO; what of them is there already stays."""

from pathlib import Path

from lib.omero.connection import work_connected
from lib.omero.import_plate import import_plate, write_receipt
from lib.omero.import_results import plan_results
from lib.shared.logging import job_log
from lib.shared.provenance import provenance_of_run

with job_log(snakemake.log[0]) as log:
    params, settings, config = snakemake.params, snakemake.params.settings, snakemake.config
    mode, output = settings["mode"], Path(snakemake.output[0])
    plan = plan_results(
        output.parents[1],
        snakemake.wildcards.plate,
        params.tiles,
        params.stages,
        mode,
        settings["labels"],
        settings["mask_cap"],
        params.in_plates,
        screen_key=params.run,
        tables=[Path(path) for path in snakemake.input.tables],
        provenance=provenance_of_run(params.run, config, [Path(path) for path in params.inputs]),
        screen=params.run if settings["screen"] is None else settings["screen"],
        tags=settings["tags"],
        source_plate=params.source_plate,
    )
    # Not of the params: leave to replace is no reason to import again.
    replace = config["omero"]["replace"]
    receipt = work_connected(lambda gateway: import_plate(gateway, plan, mode, replace))
    write_receipt(output, receipt)
    log.info("plate %d: %d images", receipt["plate"], len(receipt["images"]))
