"""The server of the stores: what it gives out, and what it does not."""

import hashlib
import http.client
import io
import json
import os
import tarfile
import threading
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.shared.errors import InputError
from lib.shared.layout import OMEZARR, SBS, plate_store
from lib.shared.omezarr_utils import write_multiscale_omezarr
from visualization import packages
from visualization.packages import install_vizarr, unpack_vizarr, vizarr_script
from visualization.pages import index_page, well_page
from visualization.paths import file_in_store, parse_range
from visualization.serve import Server, main
from visualization.states import well_state
from visualization.stores import TileImage

ALIGNED = OMEZARR["sbs"]["align_sbs"]
STORE = ALIGNED.format(plate="1", well="A1", tile="0")
SECRET = "the table of somebody else"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of two tiles with labels, beside what must not be given out."""
    folder = tmp_path_factory.mktemp("serve")
    results = folder / "results"
    rng = np.random.default_rng(0)
    for tile in (0, 1):
        write_multiscale_omezarr(
            rng.integers(0, 1000, (2, 50, 40)).astype(np.uint16),
            results / ALIGNED.format(plate="1", well="A1", tile=tile),
            (0.5, 0.25),
            axes="CYX",
            channel_labels=["DAPI", "<T&G>"],
            stage_position=(100.0, 100.0 + 10 * tile),
            labels={"nuclei": np.eye(50, 40, dtype=np.int32)},
        )
    table = results / SBS["call_reads"][0].format(plate="1", well="A1")
    for secret in (folder / "secret.txt", table, folder / "results-other.ome.zarr" / "secret.txt"):
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text(SECRET)
    store = results / STORE
    for name, target in {
        "out": folder / "secret.txt",
        "out-relative": "../" * 5 + "secret.txt",
        "table": table,
        "folder": folder,
        "circle": store / "circle",
        "nothing": store / "no such file",
        "inside": store / ".zattrs",
    }.items():
        (store / name).symlink_to(target)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with Server(folder / "results", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    """No Vizarr but what a test puts there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ask(server, address, method="GET", body=None, **headers):
    """Status, headers and body; the address goes out as it is."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.putrequest(method, address, skip_host="Host" in headers)
    if body is not None:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


# Files.


def test_files_of_stores_are_served_as_what_they_are(server, folder):
    store = folder / "results" / STORE
    files = [path for path in store.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 8
    for path in files:
        name = path.relative_to(folder / "results").as_posix()
        status, headers, content = ask(server, f"/data/{name}")
        assert (status, content) == (200, path.read_bytes())
        is_json = path.name in (".zattrs", ".zgroup", ".zarray")
        expected = "application/json" if is_json else "application/octet-stream"
        assert headers["Content-Type"] == expected
        assert headers["Accept-Ranges"] == "bytes"
        # Pages of other origins, which could be anybody's, must not read them.
        assert headers["Access-Control-Allow-Origin"] is None
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(server, f"/data/{STORE}/inside")[2] == (store / ".zattrs").read_bytes()


def test_a_missing_chunk_is_404(server):
    assert ask(server, f"/data/{STORE}/scale0/0/9/9")[0] == 404
    assert ask(server, f"/data/{STORE}")[0] == 404  # a folder is no file


@pytest.mark.parametrize(
    "address",
    [
        f"/data/{STORE}/../../../../../secret.txt",
        f"/data/{STORE}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        f"/data/{STORE}/..%2f..%2f..%2f..%2f..%2fsecret.txt",
        f"/data/{STORE}/%252e%252e/%252e%252e/%252e%252e/%252e%252e/%252e%252e/secret.txt",
        f"/data/{STORE}/..\\..\\..\\..\\..\\secret.txt",
        f"/data/{STORE}/.zattrs%00.txt",
        "/data/../results-other.ome.zarr/secret.txt",
        "/data/%2e%2e/results-other.ome.zarr/secret.txt",
        "/data/{folder}/results-other.ome.zarr/secret.txt",
        "/data/{encoded}%2Fresults-other.ome.zarr%2Fsecret.txt",
        "/data//{folder}/results-other.ome.zarr/secret.txt",
        f"/data/{STORE}/out",
        f"/data/{STORE}/out-relative",
        f"/data/{STORE}/folder/secret.txt",
        f"/data/{STORE}/folder/results-other.ome.zarr/secret.txt",
        f"/data/{STORE}/table",
        f"/data/{STORE}/circle",
        f"/data/{STORE}/nothing",
        "/data/sbs/parquets/P-1_W-A1__reads.parquet",
        "/data/",
        "/data",
        "/secret.txt",
        "/../secret.txt",
        "/vizarr/../../secret.txt",
        "/neuroglancer/v/x/../../../../secret.txt",
        "/neuroglancer/v/x/%2e%2e%2f%2e%2e%2f%2e%2e%2fserver.py",
        "/neuroglancer/v/x/%2Fetc%2Fpasswd",
    ],
)
def test_nothing_else_is_given_out(server, folder, address):
    address = address.format(folder=str(folder), encoded=quote(str(folder), safe=""))
    for method in ("GET", "HEAD"):
        status, _, content = ask(server, address, method)
        assert status == 404
        assert SECRET.encode() not in content and b"root:" not in content


def test_the_traversal_test_can_fail(folder):
    """Each secret is there, and readable, along the ways that are tried."""
    store = folder / "results" / STORE
    for way in ("../../../../../secret.txt", "out", "out-relative", "folder/secret.txt", "table"):
        assert (store / way).read_text() == SECRET


PARTS = (
    *(*STORE.split("/"), "results", "results-other.ome.zarr", "secret.txt", ".zattrs", "out"),
    *("folder", "..", ".", "", "%2e%2e", "%2f", "\\", "\0", ":"),
)


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_no_address_leads_out(folder, parts):
    for results in (folder / "results", Path(os.path.relpath(folder / "results"))):
        path = file_in_store(results, "/".join(parts))
        if path is not None:
            assert path.is_relative_to((folder / "results").resolve())
            assert path.read_text(errors="replace") != SECRET


def test_results_may_be_reached_by_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "results")
    assert file_in_store(tmp_path / "link", f"{STORE}/.zattrs") is not None


# Ranges.


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=10-", (10, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=99-99", (99, 100)),
        (None, None),
        ("bytes=0-1,5-6", None),
        ("bytes=9-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=²-3", None),
        ("chunks=0-9", None),
        ("bytes", None),
    ],
)
def test_ranges(header, expected):
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0)]
)
def test_ranges_beyond_the_end(header, size):
    with pytest.raises(ValueError, match="begins beyond"):
        parse_range(header, size)


@given(st.text(max_size=30), st.integers(0, 50))
def test_any_range_is_refused_ignored_or_inside(text, size):
    for header in (text, f"bytes={text}"):
        try:
            part = parse_range(header, size)
        except ValueError:
            continue
        assert part is None or 0 <= part[0] < part[1] <= size


def test_parts_of_files(server, folder):
    chunk = f"{STORE}/scale0/0/0/0"
    content = (folder / "results" / chunk).read_bytes()
    status, headers, part = ask(server, f"/data/{chunk}", Range="bytes=5-14")
    assert (status, part) == (206, content[5:15])
    assert headers["Content-Range"] == f"bytes 5-14/{len(content)}"
    assert ask(server, f"/data/{chunk}", Range="bytes=-7")[2] == content[-7:]
    assert ask(server, f"/data/{chunk}", Range="bytes=0-1,3-4")[::2] == (200, content)
    status, headers, part = ask(server, f"/data/{chunk}", Range=f"bytes={len(content)}-")
    assert (status, headers["Content-Range"], part) == (416, f"bytes */{len(content)}", b"")
    status, headers, nothing = ask(server, f"/data/{chunk}", "HEAD")
    assert (status, headers["Content-Length"], nothing) == (200, str(len(content)), b"")


# Who is answered.


@pytest.mark.parametrize("host", ["a.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:80@a"])
def test_other_names_for_this_machine_are_refused(server, host):
    """A page of anybody, whose name points to this machine, must not read the images."""
    for method in ("GET", "POST"):
        status, _, content = ask(server, "/", method, Host=host)
        assert status == 403 and b"Plate" not in content


def test_only_this_machine_can_connect(server):
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200


def test_viewers_may_talk_to_this_server_only(server):
    policy = ask(server, "/vizarr/?store=x")[1]["Content-Security-Policy"]
    sources = {word for rule in policy.split(";") for word in rule.split()[1:]}
    assert sources <= {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "blob:", "data:"}
    assert policy.startswith("default-src 'self'")


def test_requests_are_not_logged(server, caplog, capsys):
    ask(server, f"/data/{STORE}/.zattrs")
    ask(server, "/no/such/page")
    assert caplog.text == "" and capsys.readouterr() == ("", "")


# Pages.


def page(server, address):
    status, headers, content = ask(server, address)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    return content.decode()


def test_pages_list_plates_wells_and_stages(server):
    index = page(server, "/")
    assert "<h2>Plate 1</h2>" in index and "<th>sbs: align_<wbr>sbs</th>" in index
    assert '<a href="/well?plate=1&amp;well=A1">A1</a></td><td>2</td>' in index
    well = page(server, "/well?plate=1&well=A1")
    assert "tile 0" in well and "tile 1" in well
    assert "python -m visualization.packages" in well  # no Vizarr is in the cache
    assert ask(server, "/well?plate=1&well=B9")[0] == 404


@pytest.mark.parametrize(
    ("address", "lacking"),
    [
        ("/well", "plate and well"),
        ("/well?plate=1", "well"),
        ("/vizarr/", "store"),
        ("/neuroglancer/events/module%3Dsbs", "stage and plate and well"),
    ],
)
def test_an_address_that_does_not_say_what_to_show(server, address, lacking):
    status, _, content = ask(server, address)
    assert status == 400
    assert content.decode().startswith(f"This address does not say which {lacking} to show: ")


def test_every_link_of_a_well_leads_somewhere(server, monkeypatch):
    write_vizarr(b"vizarr")
    server.client = server.client or Path(__file__).parent  # links are made where it is there
    well = page(server, "/well?plate=1&well=A1")
    links = [part.split('"')[0].replace("&amp;", "&") for part in well.split('<a href="')[1:]]
    vizarr = [link for link in links if link.startswith("/vizarr/")]
    neuroglancer = [link for link in links if link.startswith("/neuroglancer/")]
    assert len(vizarr) == 2 and len(neuroglancer) == 3  # each tile, and the whole well
    for link in vizarr:
        store = page(server, link).split("dataset_id&quot;: &quot;")[1].split("&quot;")[0]
        found = json.loads(ask(server, f"/vizarr/api/datasets/{store}")[2])
        address = found["sources"][0]["source_uri"].removeprefix(server.address.rstrip("/"))
        assert ask(server, f"{address}/.zattrs")[0] == 200
    for link in neuroglancer:
        shown = link.removeprefix("/neuroglancer/v/").rstrip("/")
        state = first_event(server, shown)
        for layer in state["layers"]:
            for source in layer["source"]:
                address = source.removeprefix(server.address.rstrip("/")).split("|")[0]
                assert ask(server, f"{address}.zattrs")[0] == 200


def first_event(server, shown):
    """What neuroglancer is told to show, by the event stream that it listens to."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.request("GET", f"/neuroglancer/events/{shown}?c=1&gs=")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    event = json.loads(answer.readline().removeprefix(b"data: "))
    assert answer.readline() == b"\n" and event["k"] == "s"
    connection.sock and connection.sock.close()
    connection.close()
    return event["s"]


def test_a_plate_has_links_to_each_stage_and_cycle(tmp_path, monkeypatch):
    write_vizarr(b"vizarr")
    raw = OMEZARR["preprocess"]["convert_sbs"]
    for template, cycles in ((ALIGNED, [""]), (raw, ["1", "2"])):
        for cycle in cycles:
            plate = tmp_path / plate_store(template).format(plate="1", cycle=cycle)
            for image in ("0", "overview"):
                (plate / "A/1" / image).mkdir(parents=True)
                (plate / "A/1" / image / ".zgroup").write_text("{}")
    with Server(tmp_path, port=0) as server:
        stores = server.stores()
        index = index_page(server.site, stores)
        well = well_page(server.site, "1", "A1", stores)
    address = '<a href="/vizarr/?store=sbs%2Fomezarr%2FP-1__aligned.ome.zarr">'
    assert f"<td>sbs: align_sbs</td><td>{address}all wells</a></td>" in index
    links = index.split("<td>preprocess: convert_sbs</td>")[1].split("</td>")[0]
    assert ">cycle 1</a>, <a" in links and links.endswith(">cycle 2</a>")
    # Two overviews of a stage are told from each other.
    assert all(f"<td>overview, cycle {cycle}</td>" in well for cycle in (1, 2))


def test_names_are_escaped(tmp_path):
    """Plates of others may be named as they like."""
    store = tmp_path / plate_store(ALIGNED).format(plate="<b>&") / "A" / "1" / "0"
    write_multiscale_omezarr(np.ones((1, 8, 8), np.uint16), store, axes="CYX")
    with Server(tmp_path, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            index = page(server, "/")
        finally:
            server.shutdown()
            thread.join()
    assert "Plate &lt;b&gt;&amp;" in index and "<b>" not in index
    assert "plate=%3Cb%3E%26&amp;well=A1" in index


def test_an_empty_folder_says_what_to_switch_on(tmp_path):
    with Server(tmp_path, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert "omezarr_export_default: true" in page(server, "/")
        finally:
            server.shutdown()
            thread.join()


def test_what_neuroglancer_reports_changes_nothing(server):
    status, _, content = ask(server, "/neuroglancer/state/x", "POST", b'{"s": {}}')
    assert status == 200 and set(json.loads(content)) == {"g"}
    shown = quote("module=sbs&stage=none&plate=1&well=A1", safe="")
    assert ask(server, f"/neuroglancer/events/{shown}")[0] == 404


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "The results folder nowhere does not exist: give"),
        (["other"], "The results folder other holds no results (none of the folders preprocess, "),
        ([".", "--port", "99999"], "Port 99999 cannot"),
    ],
)
def test_command_line_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sbs").mkdir()
    (tmp_path / "other/images").mkdir(parents=True)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count("\n") == 1


@pytest.mark.parametrize("there", [False, True])
def test_results_without_stores_are_served_with_a_hint(
    folder, tmp_path, monkeypatch, caplog, there
):
    """A run that goes on may write them yet."""
    (tmp_path / "sbs").mkdir()
    monkeypatch.setattr(Server, "serve_forever", lambda server: None)
    write_vizarr(b"vizarr")
    with caplog.at_level("INFO"):
        assert main([str(folder / "results" if there else tmp_path), "--port", "0"]) == 0
    assert ("There are no OME-Zarr stores in " in caplog.text) is not there


# What neuroglancer is told.


def test_state_shows_channels_labels_and_all_tiles(folder):
    results = folder / "results"
    images = [
        TileImage(results / ALIGNED.format(plate="1", well="A1", tile=tile), "1", "A1", str(tile))
        for tile in (0, 1)
    ]
    state = well_state(images, results, "http://here/data/")
    assert [layer["name"] for layer in state["layers"]] == ["DAPI", "<T&G>", "nuclei"]
    assert [layer["type"] for layer in state["layers"]] == ["image", "image", "segmentation"]
    assert state["layers"][1]["localPosition"] == [1]
    assert state["layers"][2]["source"] == [
        f"http://here/data/{ALIGNED.format(plate='1', well='A1', tile=tile)}/labels/nuclei/|zarr2:"
        for tile in (0, 1)
    ]
    assert '#uicontrol vec3 color color(default="#0000ff")' in state["layers"][0]["shader"]
    assert state["dimensions"] == {
        "x": [pytest.approx(0.25e-6), "m"],
        "y": [pytest.approx(0.5e-6), "m"],
    }
    # Tiles of 40 px of 0.25 um, whose middles lie at 100 and 110 um: 80 px around 105 um.
    assert state["position"] == pytest.approx([105 / 0.25, 100 / 0.5])


# Vizarr's package.


def write_vizarr(content):
    script = vizarr_script()
    script.parent.mkdir(parents=True)
    script.write_bytes(content)


def package(monkeypatch, script):
    """A package of the known name and content, and its hash as the known one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        entry = tarfile.TarInfo(packages.SCRIPT)
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    monkeypatch.setattr(packages, "VIZARR_SHA512", hashlib.sha512(file.getvalue()).hexdigest())
    return file.getvalue()


def test_vizarr_needs_no_network(monkeypatch):
    script = b'import{J}from"' + packages.FOREIGN_IMPORT + b'";let url="https://react.dev"'
    content = unpack_vizarr(package(monkeypatch, script))
    assert content == b'import{J}from"./jpx.js";let url="https://react.dev"'


def test_a_changed_package_is_refused_and_not_kept(monkeypatch, tmp_path, capsys):
    content = package(monkeypatch, b"script")
    (tmp_path / "package.tgz").write_bytes(content + b" ")
    with pytest.raises(InputError, match="is not the one at https"):
        install_vizarr(tmp_path / "package.tgz")
    assert not vizarr_script().exists()
    (tmp_path / "package.tgz").write_bytes(content)
    assert packages.main([str(tmp_path / "package.tgz")]) == 0
    assert capsys.readouterr().out == f"{vizarr_script()}\n"
    assert vizarr_script().read_bytes() == b"script"


def test_a_package_that_is_given_is_looked_at_though_vizarr_is_there(monkeypatch, tmp_path):
    write_vizarr(b"old")
    (tmp_path / "package.tgz").write_bytes(package(monkeypatch, b"script"))
    install_vizarr(tmp_path / "package.tgz")
    assert vizarr_script().read_bytes() == b"script"
    with pytest.raises(InputError, match=r"nothing\.tgz cannot be read"):
        install_vizarr(tmp_path / "nothing.tgz")


def test_a_package_is_downloaded_once(monkeypatch, tmp_path):
    (tmp_path / "package.tgz").write_bytes(package(monkeypatch, b"script"))
    monkeypatch.setattr(packages, "VIZARR_URL", (tmp_path / "package.tgz").as_uri())
    script = install_vizarr()
    assert script.read_bytes() == b"script"
    (tmp_path / "package.tgz").unlink()
    assert install_vizarr() == script


def test_without_network_the_message_says_where_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(packages, "VIZARR_URL", (tmp_path / "package.tgz").as_uri())
    assert packages.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Vizarr cannot be downloaded") and said.count("\n") == 1


def test_the_server_gives_out_vizarr_where_it_is_there(server):
    assert ask(server, "/vizarr/index.js")[0] == 404
    write_vizarr(b"vizarr")
    status, headers, content = ask(server, "/vizarr/index.js")
    assert (status, headers["Content-Type"], content) == (200, "text/javascript", b"vizarr")
    assert ask(server, "/vizarr/jpx.js")[2] == packages.JPX_STUB
