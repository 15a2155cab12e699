"""The thread between a test and its server: commands as lines of JSON."""

import json
from pathlib import Path

from omero_server.server import OmeroServer
from omero_server.store import Caller
from omero_server.wire import Fault


def serve(source, sink) -> None:
    """Start a server with the settings of the first line, then obey until the source ends."""
    settings = json.loads(source.readline())
    server = OmeroServer(
        Path(settings["folder"]), settings["groups"], settings["users"], settings["root_password"]
    )
    _say(sink, {"tcp": server.tcp_port, "ssl": server.ssl_port})
    try:
        for line in source:
            command = json.loads(line)
            _say(sink, COMMANDS[command.pop("do")](server, **command))
    finally:
        server.stop()


def _say(sink, answer: object) -> None:
    sink.write(json.dumps(answer) + "\n")
    sink.flush()


def _fault(server, **settings) -> None:
    with server.lock:
        server.wire.released.clear()
        server.wire.faults.append(Fault(**settings))


def _clear(server) -> None:
    """Forget faults and counters; what is held goes on."""
    with server.lock:
        server.wire.released.set()
        server.wire.faults.clear()
        server.wire.calls.clear()
        server.wire.pixel_bytes_out = server.wire.pixel_bytes_in = 0


def _report(server) -> dict:
    with server.lock:
        return server.wire.report()


def _count(server) -> dict:
    """How many objects there are of each type."""
    counts: dict[str, int] = {}
    with server.lock:
        for table in server.store.records.values():
            for rec in table.values():
                counts[rec.type.name] = counts.get(rec.type.name, 0) + 1
    return counts


def _orphans(server) -> list[str]:
    """Objects of which the owner is missing, or that nothing holds."""
    found = []
    with server.lock:
        store = server.store
        for table in store.records.values():
            for rec in table.values():
                for name, value in rec.fields.items():
                    known = getattr(value, "type", None)
                    if known is not None and store.find(value.type.name, value.id) is not value:
                        found.append(f"{rec.type.name}:{rec.id} refers by {name} to a deleted one")
        for image in store.all("Image"):
            if not image.collection("wellSamples") and not image.collection("datasetLinks"):
                found.append(f"Image:{image.id} lies nowhere")
        for annotation in store.all("Annotation"):
            if not annotation.back["child"]:
                found.append(f"{annotation.type.name}:{annotation.id} is linked to nothing")
        for file in store.all("OriginalFile"):
            if file not in server.repositories and not any(file.back.values()):
                found.append(f"OriginalFile:{file.id} is used by nothing")
    return found


def _expire(server) -> None:
    with server.lock:
        for session in list(server.sessions.values()):
            server.end_session(session)


def _fileset(server, image: int, files: list, series: int = 0) -> None:
    """Make `image` one of a fileset: `files` are (path, name) under the managed repository."""
    with server.lock:
        store = server.store
        rec = store.find("Image", image)
        owner = Caller(rec.owner, rec.group.id, False, frozenset())
        fileset = store.add_for(owner, "Fileset", templatePrefix="")
        for path, name in files:
            file = store.add_for(
                owner,
                "OriginalFile",
                path=path,
                name=name,
                size=0,
                repo=server.repository.fields["hash"],
            )
            store.add_for(
                owner, "FilesetEntry", fileset=fileset, originalFile=file, clientPath=name
            )
        store.assign(rec, "fileset", fileset)
        store.assign(rec, "series", series)


COMMANDS = {
    "fault": _fault, "clear": _clear, "report": _report, "count": _count, "orphans": _orphans,
    "expire": _expire, "fileset": _fileset,
}  # fmt: skip
