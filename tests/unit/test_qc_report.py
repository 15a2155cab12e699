"""The report's HTML tables and captions."""

from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from lib.qc import html
from lib.qc.metrics import COUNTS

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"


class Rows(HTMLParser):
    """Rows of all tables as lists of text, and the classes of the rows."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.classes, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
            self.classes.append(dict(attrs).get("class"))
        self.inside = tag in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1].append(data)

    def handle_endtag(self, tag):
        self.inside = False


def test_summary_page_formats_and_marks_totals():
    wells = pd.DataFrame({"plate": ["1", "1"], "well": ["A1", "all"], "tiles": [1, 1]})
    for name in COUNTS:
        wells[name] = [12345, 0]
    for name in ("reads_mapped_share", "cells_mapped_share", "cells_one_gene_share"):
        wells[name] = [0.1234, float("nan")]
    wells["reads_per_cell"] = [2.5, float("nan")]
    page = Rows(html.summary_page(wells))
    header, first, total = page.rows
    assert header[:4] == ["plate", "well", "tiles", "cells"]
    assert first == ["1", "A1", "1", "12,345", "12.3%", "12.3%", "12,345", "12.3%", "2.50"]
    assert total[4:6] == ["–", "–"]
    assert page.classes[1:] == [None, "marked"]


def test_pages_are_escaped_and_self_contained():
    table = pd.DataFrame({"reason": ["<script>alert(1)</script> & more"]})
    page = html.html_page("A < B", [html.Section("H & I", table)])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "A &lt; B" in page
    assert "H &amp; I" in page
    assert "http" not in page
    assert Rows(page).rows[1] == ["<script>alert(1)</script> & more"]


def test_number_columns_are_flush_right():
    table = pd.DataFrame({"rule": ["align"], "jobs": [3]})
    page = html.html_page("T", [html.Section("H", table, formats={"jobs": html.COUNT})])
    assert "#t0 tr > :nth-child(2) { text-align: right; }" in page


def test_parameters_page_marks_changes():
    parameters = pd.DataFrame(
        {"key": ["a", "b"], "value": ["1", "2"], "default": ["1", "3"], "changed": [False, True]}
    )
    software = pd.DataFrame({"software": ["python"], "version": ["3.11"]})
    page = Rows(html.parameters_page(parameters, software))
    assert [row for row, kind in zip(page.rows, page.classes, strict=True) if kind == "marked"] == [
        ["b", "2", "3"]
    ]
    assert ["python", "3.11"] in page.rows


def test_empty_tables_say_so():
    tiles = pd.DataFrame({"plate": [], "well": [], "tile": [], "reason": []})
    page = html.tiles_page(tiles, tiles)
    assert "No tile was skipped." in page
    assert "Every tile is aligned" in page
    assert "<table" not in page


def test_benchmarks_page_shows_unsampled_as_missing():
    table = pd.DataFrame(
        {
            "rule": ["call"],
            "jobs": [1200],
            "median_s": [0.25],
            "total_s": [300.0],
            "total_cpu_s": [float("nan")],
            "max_rss_gb": [1.234],
        }
    )
    rows = Rows(html.benchmarks_page(table)).rows
    assert rows[1] == ["call", "1,200", "0.2", "300.0", "–", "1.23"]
    assert "largest memory (GB)" in rows[0]


def test_write_html(tmp_path):
    html.write_html(tmp_path / "page.html", html.html_page("µm", []))
    assert "µm" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("caption", sorted(CAPTIONS.glob("*.rst")), ids=lambda path: path.stem)
def test_captions_render_and_say_what_to_do(caption):
    context = SimpleNamespace(
        wildcards=SimpleNamespace(plate="7", well="A1"), config={"all": {"root_fp": "results/"}}
    )
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(
        caption.read_text()
    )
    warnings = StringIO()
    body = publish_parts(
        template.render(snakemake=context),
        writer="html",
        settings_overrides={"warning_stream": warnings},
    )["html_body"]
    assert warnings.getvalue() == ""
    assert "{{" not in body
    if caption.stem != "workflow":
        assert "<strong>Bad:</strong>" in body and "<strong>Good:</strong>" in body


def test_there_are_captions():
    assert len(list(CAPTIONS.glob("*.rst"))) >= 18
