"""`python -m visualization.serve RESULTS` shows a screen's OME-Zarr stores in the browser.

It answers this machine alone, and gives out nothing but what lies in stores.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import time
import webbrowser
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from lib.shared.errors import InputError
from lib.shared.layout import OMEZARR
from visualization.packages import JPX_STUB, install_vizarr, neuroglancer_client, vizarr_script
from visualization.pages import Site, Stores, index_page, vizarr_page, well_page
from visualization.paths import file_below, file_in_store, parse_range
from visualization.states import well_state
from visualization.stores import check_results, select_well, stores_of_stage

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
PORT = 8765
BLOCK = 2**20  # bytes
GENERATION = "0"  # of what neuroglancer shows, which this server never changes
HEARTBEAT = 15  # seconds
DATASETS = "api/datasets/"  # where Vizarr asks which store to show
CONTENT_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".zattrs": "application/json",
    ".zarray": "application/json",
    ".zgroup": "application/json",
}
HTML, JSON, SCRIPT, BYTES = (
    CONTENT_TYPES[".html"],
    CONTENT_TYPES[".json"],
    CONTENT_TYPES[".js"],
    "application/octet-stream",
)
# Viewers run code of others: it may talk to this server and to nobody else.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'"
)


class IncompleteAddress(Exception):
    """An address that does not say what to show."""


class Server(ThreadingHTTPServer):
    """Serves one results folder on this machine's own address."""

    daemon_threads = True

    def __init__(self, results: Path, port: int = PORT) -> None:
        self.results = results.resolve()
        self.client = neuroglancer_client()
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """Of the first page."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def site(self) -> Site:
        """What pages need to know."""
        return Site(self.results, vizarr_script().is_file(), self.client is not None)

    def stores(self) -> Stores:
        """All stores there are now, by module and stage."""
        return {
            (module, stage): stores_of_stage(self.results, module, stage)
            for module, stages in OMEZARR.items()
            for stage in stages
        }

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"  # one connection for many chunks
    server: Server

    def do_GET(self) -> None:
        """Find out which part of the server an address belongs to."""
        # A page of anybody could give its own name this machine's address.
        if not self._is_own_host():
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        room, _, rest = address.path.removeprefix("/").partition("/")
        try:
            match room:
                case "" if not rest:
                    self._send(HTML, index_page(self.server.site, self.server.stores()))
                case "well" if not rest:
                    self._well(query)
                case "data":
                    self._send_file(file_in_store(self.server.results, rest))
                case "vizarr":
                    self._vizarr(rest, query)
                case "neuroglancer":
                    self._neuroglancer(rest)
                case _:
                    self._refuse(HTTPStatus.NOT_FOUND)
        except IncompleteAddress as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (InputError, FileNotFoundError, PermissionError) as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))

    do_HEAD = do_GET

    def _is_own_host(self) -> bool:
        names = [f"{name}:{self.server.server_port}" for name in NAMES]
        return self.headers.get("Host") in names

    @property
    def _data(self) -> str:
        """Address of the stores; viewers may ask only where their page came from."""
        return f"http://{self.headers['Host']}/data/"

    def _well(self, query: Mapping[str, str]) -> None:
        place = _asked(query, "plate", "well")
        stores = {
            stage: [image for image in images if (image.plate, image.well) == place]
            for stage, images in self.server.stores().items()
        }
        if not any(stores.values()):
            self._refuse(HTTPStatus.NOT_FOUND, f"There is no well {place[1]} of plate {place[0]}.")
            return
        self._send(HTML, well_page(self.server.site, *place, stores))

    def _vizarr(self, rest: str, query: Mapping[str, str]) -> None:
        dataset = rest.removeprefix(DATASETS)
        if rest == "":
            self._send(HTML, vizarr_page(*_asked(query, "store")))
        elif rest == "index.js" and (script := vizarr_script()).is_file():
            self._send_file(script)
        elif rest == "jpx.js":
            self._send(SCRIPT, JPX_STUB)
        elif dataset != rest:
            store = unquote(dataset)
            source = self._data + quote(store)
            found = {"state": "deferred", "name": Path(store).name}
            self._send(JSON, json.dumps(found | {"sources": [{"source_uri": source}]}))
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def _neuroglancer(self, rest: str) -> None:
        """Serve the client, and what it asks of the Python server that it is made for.

        `v/<what to show>/` is its page. It takes what to show from the event stream
        `events/<what to show>`, and reports every move of the user to `state/...`.
        """
        part, _, rest = rest.partition("/")
        shown, _, name = rest.partition("/")
        if part == "v" and shown and self.server.client:
            self._send_file(file_below(self.server.client, unquote(name) or "index.html"))
        elif part == "events" and not name and self.command == "GET":
            query = dict(parse_qsl(unquote(shown)))
            self._stream({"k": "s", "g": GENERATION, "s": self._state(query)})
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Take note of nothing: what the user does in neuroglancer stays in the browser."""
        length = self.headers.get("Content-Length", "")
        if not self._is_own_host() or not length.isdecimal() or int(length) > BLOCK:
            self.close_connection = True
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        self.rfile.read(int(length))
        self._send(JSON, json.dumps({"g": GENERATION}))

    def _stream(self, event: Mapping[str, Any]) -> None:
        """Send one event, and keep the connection until the browser goes away."""
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self._end()
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        while True:
            time.sleep(HEARTBEAT)
            self.wfile.write(b":\n\n")

    def _state(self, query: Mapping[str, str]) -> dict[str, Any]:
        module, stage, plate, well = _asked(query, "module", "stage", "plate", "well")
        if stage not in OMEZARR.get(module, ()):
            raise InputError(f"There is no stage {stage} of {module}.")
        images = stores_of_stage(self.server.results, module, stage)
        tiles = [query["tile"]] if "tile" in query else None
        chosen = select_well(images, plate, well, tiles, f"the stores of {stage}")
        if "cycle" in query:
            chosen = [image for image in chosen if image.cycle == query["cycle"]]
        return well_state(chosen, self.server.results, self._data)

    def _send(self, kind: str, content: str | bytes) -> None:
        """Answer with a text that was made for it."""
        body = content if isinstance(content, bytes) else content.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self._end(len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, path: Path | None) -> None:
        """Answer with a file, or with the part of it that is asked for."""
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                part = parse_range(self.headers.get("Range"), size)
            except ValueError:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self._end(0)
                return
            start, end = part or (0, size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
            name = path.suffix or path.name  # .zattrs is a name, not a suffix
            self.send_header("Content-Type", CONTENT_TYPES.get(name, BYTES))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self._end(end - start)
            if self.command != "HEAD":
                file.seek(start)
                while start < end and (block := file.read(min(BLOCK, end - start))):
                    self.wfile.write(block)
                    start += len(block)

    def _refuse(self, status: HTTPStatus, reason: str = "") -> None:
        body = (reason or status.phrase).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self._end(len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _end(self, length: int | None = None) -> None:
        if length is not None:
            self.send_header("Content-Length", str(length))
        # Stores are made anew under the same names.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are many and tell nothing: they are logged where somebody debugs."""
        log.debug(format, *arguments)


def _asked(query: Mapping[str, str], *keys: str) -> tuple[str, ...]:
    """What an address says of `keys`, all of which it needs."""
    missing = [key for key in keys if key not in query]
    if missing:
        raise IncompleteAddress(
            f"This address does not say which {' and '.join(missing)} to show: "
            "follow the links of the first page, /."
        )
    return tuple(query[key] for key in keys)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        check_results(options.results)
        server = _server(options.results, options.port)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not any(server.stores().values()):
        log.warning(
            "There are no OME-Zarr stores in %s yet: switch them on in the config by "
            "all.omezarr_export_default: true, and run the workflow.",
            options.results,
        )
    try:
        install_vizarr()
    except InputError as error:
        log.warning("%s", error)
    log.info("%s shows %s. Stop it by Ctrl-C.", server.address, options.results)
    if options.open:
        webbrowser.open(server.address)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m visualization.serve",
        description="Show a screen's OME-Zarr stores in the browser of this machine.",
    )
    parser.add_argument("results", type=Path, help="the results folder, all.root_fp of the config")
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0: any free one")
    parser.add_argument("--open", action="store_true", help="open the browser")
    return parser


def _server(results: Path, port: int) -> Server:
    try:
        return Server(results, port)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"Port {port} cannot be had ({error}): choose another by --port."
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
