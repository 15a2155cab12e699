"""What was run and what it cost, as pages for the report."""

from pathlib import Path

import pandas as pd

from lib.qc import html, metrics
from lib.qc.phenotype_metrics import metric_phenotype_summary
from lib.shared.logging import job_log
from lib.shared.tables import read_table, read_tables

SOFTWARE = ["poolscope", "snakemake", "numpy", "scipy", "scikit-image", "opencv-python-headless"]
SOFTWARE += ["tifffile", "pandas", "pyarrow", "nd2", "zarr", "cellpose", "stardist"]

with job_log(snakemake.log[0]):
    output, params = snakemake.output, snakemake.params
    counts = {name: snakemake.input[name] for name in ("sbs", "phenotype")}
    sequencing = metrics.metric_summary(read_tables(counts["sbs"])) if counts["sbs"] else None
    phenotype = None
    if counts["phenotype"]:
        phenotype = metric_phenotype_summary(read_tables(counts["phenotype"]))
    html.write_html(output.summary, html.summary_page(sequencing, phenotype))
    flagged = [
        read_tables(paths).assign(images=name)
        for name, paths in (
            ("sequencing", snakemake.input.flagged_sbs),
            ("phenotype", snakemake.input.flagged_phenotype),
        )
        if paths
    ]
    flagged = pd.concat([table for table in flagged if len(table)] or flagged[:1])
    skipped = pd.DataFrame(params.skipped, columns=["plate", "well", "tile", "reason"])
    html.write_html(output.tiles, html.tiles_page(skipped, flagged))
    parameters = metrics.metric_parameters(params.config, params.defaults)
    page = html.parameters_page(parameters, metrics.metric_software(SOFTWARE))
    html.write_html(output.parameters, page)
    costs = [
        read_table(path).assign(rule=path.parent.name)
        for path in sorted(Path(params.benchmarks).glob("*/*.tsv"))
    ]
    columns = ["rule", "s", "cpu_time", "max_rss"]
    table = pd.concat(costs)[columns] if costs else pd.DataFrame(columns=columns)
    html.write_html(output.costs, html.benchmarks_page(metrics.metric_benchmarks(table)))
