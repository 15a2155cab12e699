"""Pages that list what there is to see, as HTML."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote, urlencode

from lib.shared.sheets import natural_key
from visualization.paths import STORE_SUFFIX
from visualization.stores import TileImage

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin-bottom: 1rem; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #8884; }
th { font-size: .8rem; vertical-align: bottom; }
.note { color: #888; }
"""
NO_STORES = (
    "There are no OME-Zarr stores in this folder: switch them on in the config, by "
    "<code>all: {omezarr_export_default: true}</code>, and run the workflow again."
)
NO_VIZARR = "Vizarr is not there: <code>python -m visualization.packages</code> gets it."
NO_NEUROGLANCER = (
    'neuroglancer is not installed: <code>pip install "poolscope[view]"</code> gets it.'
)

Stage = tuple[str, str]  # its module and its name
Stores = Mapping[Stage, Sequence[TileImage]]


@dataclass(frozen=True)
class Site:
    """Where the stores lie, and which viewers can be opened."""

    results: Path
    vizarr: bool
    neuroglancer: bool


def index_page(site: Site, stores: Stores) -> str:
    """Plates, and in each the wells with how many images of each stage they have."""
    images = [image for found in stores.values() for image in found]
    body = [_notes(site)]
    if not images:
        body.append(f"<p>{NO_STORES}</p>")
    for plate in sorted({image.plate for image in images}, key=natural_key):
        of_plate = {
            stage: [image for image in found if image.plate == plate]
            for stage, found in stores.items()
        }
        body.append(f"<h2>Plate {escape(plate)}</h2>")
        body.append(_wells(plate, {stage: found for stage, found in of_plate.items() if found}))
        body.append(_whole_plates(site, of_plate))
    return _list(f"{site.results.resolve().name}: images", body)


def well_page(site: Site, plate: str, well: str, stores: Stores) -> str:
    """The stages of a well, and in each its images with links to the viewers."""
    body = ['<p><a href="/">All wells</a></p>', _notes(site)]
    for (module, stage), images in stores.items():
        if not images:
            continue
        rows = []
        cycles = Counter(image.cycle for image in images if image.tile)
        for cycle in [cycle for cycle, count in cycles.items() if site.neuroglancer and count > 1]:
            place = {"cycle": cycle} if cycle else {}
            link = _neuroglancer(module, stage, plate, well, **place)
            name = f"whole well, cycle {cycle}" if cycle else "whole well"
            rows.append([name, "", _link(link, "neuroglancer")])
        for image in images:
            vizarr = _link(_vizarr(image.path, site.results), "Vizarr") if site.vizarr else ""
            place = {"tile": image.tile or "", "cycle": image.cycle or ""}
            link = _neuroglancer(module, stage, plate, well, **place)
            can_neuroglancer = site.neuroglancer and not image.is_overview
            rows.append([_name(image), vizarr, _link(link, "neuroglancer") * can_neuroglancer])
        body += [f"<h2>{escape(module)}: {escape(stage)}</h2>", _table(["image", "", ""], rows)]
    return _list(f"Plate {plate}, well {well}", body)


def vizarr_page(store: str) -> str:
    """The page in which Vizarr runs; it asks `/vizarr/api/datasets/<store>` for an address."""
    dataset = quote(store, safe="")
    told = f'{{"visualization_config": {{"dataset_id": "{dataset}"}}, "root": "/vizarr/"}}'
    head = (
        "<style>body { background: #000; margin: 0; }</style>"
        '<script type="module" src="/vizarr/index.js"></script>'
    )
    return _page(_store_name(store), head, f'<div id="app" data-incoming="{escape(told)}"></div>')


def _notes(site: Site) -> str:
    missing = [NO_VIZARR] * (not site.vizarr) + [NO_NEUROGLANCER] * (not site.neuroglancer)
    return "".join(f'<p class="note">{note}</p>' for note in missing)


def _wells(plate: str, stores: Stores) -> str:
    counts = {
        stage: Counter(image.well for image in images if not image.is_overview)
        for stage, images in stores.items()
    }
    rows = []
    for well in sorted(set().union(*counts.values()), key=natural_key):
        link = "/well?" + urlencode({"plate": plate, "well": well})
        rows.append([_link(link, well), *(str(count[well] or "") for count in counts.values())])
    return _table(["well", *(f"{module}: {stage}" for module, stage in stores)], rows)


def _whole_plates(site: Site, stores: Stores) -> str:
    """Links to the stores that hold a whole plate."""
    rows = []
    for (module, stage), images in stores.items():
        plates = {
            folder: image.cycle
            for image in images
            for folder in image.path.parents
            if folder.name.endswith(STORE_SUFFIX)
        }
        if plates:
            links = [
                _link(_vizarr(path, site.results), f"cycle {plates[path]}")
                if plates[path]
                else _link(_vizarr(path, site.results), "all wells")
                for path in sorted(plates, key=lambda path: natural_key(path.name))
            ]
            rows.append([f"{escape(module)}: {escape(stage)}", ", ".join(links)])
    return _table(["whole plate", "in Vizarr"], rows) if rows and site.vizarr else ""


def _name(image: TileImage) -> str:
    parts = {"tile": image.tile, "cycle": image.cycle}
    words = ["overview"] * image.is_overview
    words += [f"{key} {value}" for key, value in parts.items() if value]
    return escape(", ".join(words)) or "image"


def _vizarr(store: Path, results: Path) -> str:
    return "/vizarr/?" + urlencode({"store": store.relative_to(results).as_posix()})


def _neuroglancer(module: str, stage: str, plate: str, well: str, **place: str) -> str:
    chosen = {"module": module, "stage": stage, "plate": plate, "well": well} | place
    shown = urlencode({key: value for key, value in chosen.items() if value})
    return f"/neuroglancer/v/{quote(shown, safe='')}/"


def _store_name(store: str) -> str:
    return Path(store).name.removesuffix(STORE_SUFFIX)


def _link(address: str, text: str) -> str:
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the cells of `rows` are HTML already."""
    breakable = [escape(name).replace("_", "_<wbr>") for name in header]
    head = "".join(f"<th>{name}</th>" for name in breakable)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _list(title: str, body: Sequence[str]) -> str:
    return _page(title, f"<style>{STYLE}</style>", f"<h1>{escape(title)}</h1>{''.join(body)}")


def _page(title: str, head: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>{head}'
        f"</head><body>{body}</body></html>"
    )
