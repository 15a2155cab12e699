"""The test server's interpreter of HQL, against answers worked out by hand."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("omero.model", reason="omero-py is not installed: run `make omero`")
sys.path.insert(0, str(Path(__file__).parents[1]))

from omero_server.hql import Evaluator, HqlError, Parser
from omero_server.store import Store


@pytest.fixture(scope="module")
def store() -> Store:
    """Plate 1: A1 with images 1 and 2, B3 with image 3; plate 2 is empty; image 4 is loose."""
    store = Store()
    plates = [store.add("Plate", name=name) for name in ("One", "two")]
    for number, name in enumerate(("a", "b", "c", "d"), 1):
        store.add("Image", name=name, series=number * 10)
    wells = [store.add("Well", plate=plates[0], row=r, column=c) for r, c in ((0, 0), (1, 2))]
    for well, image in ((0, 1), (0, 2), (1, 3)):
        store.add("WellSample", well=wells[well], image=store.find("Image", image))
    tag = store.add("TagAnnotation", textValue="t", ns="x")
    number = store.add("LongAnnotation", longValue=5)
    for child in (tag, number):
        store.add("ImageAnnotationLink", parent=store.find("Image", 1), child=child)
    return store


def ask(store: Store, text: str, **parameters) -> list[tuple]:
    rows = Evaluator(store, lambda rec: True, parameters).run(Parser(text).parse()).rows
    return [tuple(getattr(value, "id", value) for value in row) for row in rows]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("from Plate", [(1,), (2,)]),
        ("from Plate as p where p.name='two'", [(2,)]),
        ("SELECT p.id FROM Plate p ORDER BY lower(p.name) DESC", [(2,), (1,)]),
        ("select max(row), max(column) from Well where plate.id = 1", [(1, 2)]),
        ("select i.name from WellSample s join s.image i where s.well.plate.id = 1",
         [("a",), ("b",), ("c",)]),
        ("select p.id, w.id from Plate p left outer join p.wells w", [(1, 1), (1, 2), (2, None)]),
        ("select p.id, w.id from Plate p left join p.wells w with w.row = 1",
         [(1, 2), (2, None)]),
        ("select p.id from Plate p where p.wells is not null and not exists "
         "(select w from Well w where w.plate.id = p.id)", [(2,)]),
        ("select count(*) from Image", [(4,)]),
        ("select w.plate.id, count(s.id) from WellSample s join s.well w group by w.plate.id",
         [(1, 3)]),
        ("select distinct w.plate.id from Well w", [(1,)]),
        ("select i.id from Image i where i.id in (select s.image.id from WellSample s)",
         [(1,), (2,), (3,)]),
        ("select i.id from Image i where i.id not in (1, 3)", [(2,), (4,)]),
        ("select i.id from Image i where i.series between 20 and 30", [(2,), (3,)]),
        ("select i.id from Image i where i.series > 10 and not (i.name = 'c' or i.name = 'd')",
         [(2,)]),
        ("select i.name || '-' || i.series from Image i where i.id = 1", [("a-10",)]),
        ("select index(s) from WellSample s where s.image.id = 2", [(1,)]),
        ("select minIndex(s), maxIndex(s) from Well w join w.wellSamples s where w.id = 1",
         [(0, 1)]),
        ("select a.id from ImageAnnotationLink l join l.child a where a.class = LongAnnotation",
         [(2,)]),
        ("select sum(case when a.class = TagAnnotation then 1 else 0 end) from Annotation a",
         [(1,)]),
        ("select l.parent.id from ImageAnnotationLink l, TagAnnotation t where l.child.id = t.id",
         [(1,)]),
        ("select coalesce(a.ns, 'none') from Annotation a order by a.id", [("x",), ("none",)]),
        ("select (select count(s.id) from WellSample s where s.well.id = w.id) from Well w",
         [(2,), (1,)]),
        ("select i.id from Image i where i.fileset is null and i.name like '%b%'", [(2,)]),
        ("select i.id from Image i where i.description <> 'x'", []),
    ],
)  # fmt: skip
def test_answers(store, text, answer):
    assert ask(store, text) == answer


def test_parameters_are_bound_by_name(store):
    text = "select i.id from Image i where i.id in (:ids) and i.name = :name"
    assert ask(store, text, ids=[1, 2], name="b") == [(2,)]


def test_a_fetch_loads_and_repeats_roots(store):
    query = Parser("select w from Well w join fetch w.wellSamples s join fetch s.image").parse()
    result = Evaluator(store, lambda rec: True, {}).run(query)
    wells = [row[0] for row in result.rows]
    assert [well.id for well in wells] == [1, 1, 2]
    assert [rec.id for rec in result.collections[wells[0], "wellSamples"]] == [1, 2]
    assert store.find("Image", 3) in result.loaded
    assert store.find("Plate", 1) not in result.loaded


def test_what_is_not_seen_is_not_there(store):
    query = Parser("select i.id from Image i").parse()
    seen = Evaluator(store, lambda rec: rec.id != 2, {}).run(query)
    assert seen.rows == [(1,), (3,), (4,)]


@pytest.mark.parametrize(
    "text",
    [
        "select",
        "select i from Picture i",
        "select i.colour from Image i",
        "select i from Image i where i.id = :missing",
        "select frobnicate(i) from Image i",
        "select i from Image i where",
        "select i from Image i limit 5",
        "select i.rois.id from Image i",
        "select p.id from Plate p where p.name = 'a' ; drop",
    ],
)
def test_what_is_not_understood_is_an_error(store, text):
    with pytest.raises(HqlError):
        ask(store, text)
