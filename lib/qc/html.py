"""Tables as small HTML pages that need nothing else: no script, no font, no network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from lib.shared.files import atomic_path

PERCENT, COUNT, DECIMAL, SECONDS, GIGABYTES = "percent", "count", "decimal", "seconds", "gigabytes"

CSS = """
body { font: 14px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #222;
       background: #fff; margin: 1.6rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
p { color: #666; margin: .1rem 0 .7rem; max-width: 48rem; }
div.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem; text-align: left; border: 0; border-bottom: 1px solid #e8e8e8; }
th { font-weight: 600; border-bottom: 2px solid #0072b2; white-space: nowrap; position: sticky;
     top: 0; background: #fff; }
tbody tr:hover td { background: #f3f8fc; }
tr.marked td { font-weight: 600; background: #fff6e3; }
p.none { background: #f6f6f6; border-radius: .4rem; padding: .6rem .9rem; display: inline-block; }
"""


@dataclass(frozen=True)
class Section:
    """A table with its heading.

    formats : column to `PERCENT` (a share of 1), `COUNT`, `DECIMAL`, `SECONDS` or
        `GIGABYTES`; such columns are set flush right. Others are text.
    names : column to the words of its heading; by default its name with spaces.
    marked : one boolean per row; marked rows stand out.
    empty : what is said instead of a table without rows.
    """

    heading: str
    table: pd.DataFrame
    note: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    marked: Sequence[bool] | None = None
    empty: str = "None."


def html_page(title: str, sections: Sequence[Section]) -> str:
    """One self-contained page: a title and the sections below each other."""
    bodies = [_section(section, f"t{number}") for number, section in enumerate(sections)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(bodies) + "\n</body>\n</html>\n"
    )


def write_html(path: str | os.PathLike, page: str) -> None:
    """Write a page to `path`; it appears whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")


# Pages of the report --------------------------------------------------------------------------


def summary_page(summary: pd.DataFrame | None = None, phenotype: pd.DataFrame | None = None) -> str:
    """Cells, reads, mapped shares and features per well and plate, of the halves there are.

    `summary` comes from `metrics.metric_summary`, `phenotype` from
    `phenotype_metrics.metric_phenotype_summary`.
    """
    sections = [] if summary is None else [_sequencing_summary(summary)]
    sections += [] if phenotype is None else [_phenotype_summary(phenotype)]
    return html_page("Run summary", sections)


def _sequencing_summary(summary: pd.DataFrame) -> Section:
    columns = {
        "plate": "plate",
        "well": "well",
        "tiles": "tiles",
        "cells": "cells",
        "cells_mapped_share": "cells in library",
        "cells_one_gene_share": "cells with one gene",
        "reads": "reads",
        "reads_mapped_share": "reads in library",
        "reads_per_cell": "reads per cell",
    }
    formats = {name: COUNT for name in ("tiles", "cells", "reads")}
    formats |= {name: PERCENT for name in columns if name.endswith("_share")}
    return Section(
        "Cells and reads",
        summary[list(columns)],
        "Sequencing images. Shares of cells are of all segmented cells, shares of reads of all "
        "reads. The row “all” sums a plate up.",
        {**formats, "reads_per_cell": DECIMAL},
        columns,
        (summary["well"] == "all").tolist(),
        "No well was processed.",
    )


def _phenotype_summary(phenotype: pd.DataFrame) -> Section:
    columns = {
        "plate": "plate",
        "well": "well",
        "tiles": "tiles",
        "cells": "cells",
        "cells_per_tile": "cells per tile",
        "median_area": "median area of a cell (px)",
        "features": "features",
    }
    formats = {name: COUNT for name in ("tiles", "cells", "median_area", "features")}
    return Section(
        "Cells and features",
        phenotype[list(columns)],
        "Phenotype images. The row “all” sums a plate up.",
        {**formats, "cells_per_tile": DECIMAL},
        columns,
        (phenotype["well"] == "all").tolist(),
        "No well was processed.",
    )


def parameters_page(parameters: pd.DataFrame, software: pd.DataFrame) -> str:
    """Config and versions, from `metrics.metric_parameters` and `metrics.metric_software`."""
    shown = Section(
        "Parameters",
        parameters[["key", "value", "default"]],
        "Marked: differs from the default.",
        marked=parameters["changed"].tolist(),
        empty="The config is empty.",
    )
    return html_page("Parameters and software", [shown, Section("Software", software)])


def tiles_page(skipped: pd.DataFrame, flagged: pd.DataFrame) -> str:
    """Tiles left out (`plate, well, tile, reason`) and tiles whose alignment is doubtful.

    `flagged` comes from `metrics.metric_flagged_tiles` or
    `phenotype_metrics.metric_flagged_channels`.
    """
    sections = [
        Section(
            "Skipped tiles",
            skipped,
            "Not processed; they are missing from every count, not zero in it.",
            empty="No tile was skipped.",
        ),
        Section(
            "Doubtful alignment",
            flagged,
            "Processed, but a cycle or channel is off by more than the limit or could not be "
            "measured.",
            {"worst_residual": DECIMAL, "lowest_correlation": DECIMAL},
            {"worst_residual": "worst residual (px)"},
            empty="Every tile is aligned within the limit.",
        ),
    ]
    return html_page("Skipped and doubtful tiles", sections)


def benchmarks_page(benchmarks: pd.DataFrame) -> str:
    """Seconds and gigabytes per rule, from `metrics.metric_benchmarks`."""
    section = Section(
        "Cost of each rule",
        benchmarks,
        "Wall-clock seconds of jobs, processor seconds and the largest memory of one job. "
        "Jobs too short to be sampled have no processor time or memory.",
        {
            "jobs": COUNT,
            "median_s": SECONDS,
            "total_s": SECONDS,
            "total_cpu_s": SECONDS,
            "max_rss_gb": GIGABYTES,
        },
        {
            "median_s": "median per job (s)",
            "total_s": "all jobs (s)",
            "total_cpu_s": "processor, all jobs (s)",
            "max_rss_gb": "largest memory (GB)",
        },
        empty="No benchmark file was found.",
    )
    return html_page("Time and memory", [section])


# ----------------------------------------------------------------------------------------------

_FORMATS = {
    PERCENT: "{:.1%}",
    COUNT: "{:,.0f}",
    DECIMAL: "{:,.2f}",
    SECONDS: "{:,.1f}",
    GIGABYTES: "{:.2f}",
}


def _section(section: Section, identifier: str) -> str:
    head = f"<h2>{escape(section.heading)}</h2>"
    if section.table.empty:
        return f'{head}\n<p class="none">{escape(section.empty)}</p>'
    table = section.table
    headings = [section.names.get(name, str(name).replace("_", " ")) for name in table]
    # Cells are formatted beforehand, since to_html leaves missing values to one na_rep only.
    text = pd.DataFrame(
        {
            number: [_cell(value, section.formats.get(name)) for value in table[name]]
            for number, name in enumerate(table)
        }
    ).set_axis(headings, axis=1)
    html = text.to_html(index=False, border=0, table_id=identifier, justify="left")
    if section.marked is not None:
        html = _mark_rows(html, section.marked)
    note = f"<p>{escape(section.note)}</p>\n" if section.note else ""
    right = ", ".join(
        f"#{identifier} tr > :nth-child({number})"
        for number, name in enumerate(table, start=1)
        if name in section.formats
    )
    style = f"<style>{right} {{ text-align: right; }}</style>\n" if right else ""
    return f'{head}\n{note}{style}<div class="table">{html}</div>'


def _cell(value: object, kind: str | None) -> str:
    if pd.isna(value):
        return "–"
    return _FORMATS[kind].format(value) if kind else str(value)


def _mark_rows(html: str, marked: Sequence[bool]) -> str:
    head, body = html.split("<tbody>")
    first, *rows = body.split("<tr>")
    opened = ('<tr class="marked">' if mark else "<tr>" for mark in marked)
    return f"{head}<tbody>{first}" + "".join(
        tag + row for tag, row in zip(opened, rows, strict=True)
    )
