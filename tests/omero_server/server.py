"""The server: communicator, adapter, router, sessions, accounts."""

import subprocess
import threading
import uuid
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import Glacier2
import Ice
import omero
import omero.all
import omero.ObjectFactoryRegistrar
import omero.rtypes
import omero.sys

from omero_server import pixels, services
from omero_server.store import Caller, Rec, Store, now
from omero_server.wire import Wire, servant

ENUMERATIONS = {
    "PixelsType": ["bit", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float", "double",
                   "complex", "double-complex"],
    "DimensionOrder": ["XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"],
    "RenderingModel": ["rgb", "greyscale"],
    "Family": ["linear", "polynomial", "exponential", "logarithmic"],
    "ChecksumAlgorithm": ["Adler-32", "CRC-32", "MD5-128", "Murmur3-32", "Murmur3-128", "SHA1-160",
                          "File-Size-64"],
    "Format": ["Directory", "text/plain", "application/octet-stream", "OMERO.tables"],
    "AcquisitionMode": ["WideField", "Other"],
    "Illumination": ["Epifluorescence", "Other"],
    "ContrastMethod": ["Fluorescence", "Other"],
    "PhotometricInterpretation": ["Monochrome", "RGB"],
    "EventType": ["Internal", "User"],
}  # fmt: skip


@dataclass(eq=False)
class Session:
    """Somebody who is logged in."""

    uuid: str
    user: Rec
    group: Rec
    server: "OmeroServer"
    rec: Rec
    references: int = 1
    detached: bool = False
    connections: set[str] = field(default_factory=set)
    proxies: dict = field(default_factory=dict)
    stateful: list = field(default_factory=list)

    def memberships(self) -> list[Rec]:
        return [rec.fields["parent"] for rec in self.user.collection("groupExperimenterMap")]

    def caller(self, context: dict, writes: bool = False) -> Caller:
        """Who calls, in the group that the call names or the session's."""
        wanted = context.get("omero.group", "")
        group_id = self.group.id
        if wanted.lstrip("-").isdigit():
            group_id = int(wanted)
        member_of = frozenset(group.id for group in self.memberships())
        is_admin = 0 in member_of
        if group_id != -1 and group_id not in member_of and not is_admin:
            raise omero.SecurityViolation(
                None, None, f"User {self.user.id} is not a member of group {group_id}."
            )
        event = self.server.store.add("Event", time=now()) if writes else None
        return Caller(self.user, group_id, is_admin, member_of, event)

    def event_context(self, caller: Caller) -> object:
        group = self.group
        if caller.group_id >= 0:
            group = self.server.store.find("ExperimenterGroup", caller.group_id)
        return omero.sys.EventContext(
            -1, self.rec.id, self.uuid, self.user.id, self.user.fields["omeName"], None, None,
            group.id, group.fields["name"], caller.is_admin, [], -1, "User",
            sorted(caller.group_ids), [], omero.model.PermissionsI(group.fields["permissions"]),
        )  # fmt: skip


class Router:
    """Glacier2's part: logging in and out."""

    def __init__(self, server: "OmeroServer") -> None:
        self._server = server

    def getClientProxy(self, call):
        return None

    def getServerProxy(self, call):
        return self._server.adapter.createDirectProxy(Ice.Identity("server", ""))

    def addProxies(self, call, proxies):
        return []

    def getCategoryForClient(self, call):
        return "client"

    def createSession(self, call, userId, password):
        return self._server.log_in(userId, password, call.current)

    def destroySession(self, call):
        connection = call.current.con.toString()
        for session in list(self._server.sessions.values()):
            if connection in session.connections:
                session.connections.discard(connection)
                session.references -= 1
                if session.references <= 0 and not session.detached:
                    self._server.end_session(session)
                return

    def refreshSession(self, call):
        pass

    def getSessionTimeout(self, call):
        return 600

    def getACMTimeout(self, call):
        return 60


class OmeroServer:
    """A running server.

    Parameters
    ----------
    folder : its data: Pixels, Files and ManagedRepository, as on a real one.
    groups : name to permissions ("rw----", "rwr---", "rwra--", "rwrw--").
    users : name to {"password", "groups"}; root is always there.
    """

    def __init__(self, folder: Path, groups: dict, users: dict, root_password: str) -> None:
        self.folder = Path(folder)
        self.store, self.wire, self.lock = Store(), Wire(), threading.RLock()
        self.store.on_delete.append(lambda rec: pixels.remove_bytes(self.folder, rec))
        self.sessions: dict[str, Session] = {}
        self.tables: dict[int, list] = {}
        self.uuid = str(uuid.uuid4())
        self.passwords: dict[str, str] = {}
        self._accounts(groups, users, root_password)
        self._listen()

    # Setting up

    def _accounts(self, groups: dict, users: dict, root_password: str) -> None:
        store = self.store
        for kind in ("ExperimenterGroup", "Experimenter"):
            store.numbers[kind] = count(0)
        builtin = {"system": "rw----", "user": "rwr---", "guest": "rwr---"}
        made = {
            name: store.add("ExperimenterGroup", name=name, permissions=level, ldap=False)
            for name, level in (builtin | groups).items()
        }
        everybody = {
            "root": {"password": root_password, "groups": ["system"]},
            "guest": {"password": "guest", "groups": ["guest"]},
        }
        for name, account in (everybody | users).items():
            user = store.add(
                "Experimenter", omeName=name, firstName=name.title(), lastName="Test", ldap=False
            )
            self.passwords[name] = account["password"]
            memberships = [*account["groups"]] + ([] if name == "guest" else ["user"])
            for group in memberships:
                store.add("GroupExperimenterMap", parent=made[group], child=user, owner=False)
        for kind, values in ENUMERATIONS.items():
            for value in values:
                store.add(kind, value=value)
        # A real one has these three, in no order that it promises.
        places = [
            ("/opt/omero/server/OMERO.server/lib", "scripts"),
            (self.folder.parent, self.folder.name),
            (self.folder, "ManagedRepository"),
        ]
        self.repositories = [
            store.add(
                "OriginalFile", next(store.all("Experimenter")), made["user"], name=name,
                path=f"{path}/", mimetype="Repository", hash=str(uuid.uuid4()), size=0,
            )
            for path, name in places
        ]  # fmt: skip
        self.repository = self.repositories[-1]
        for name in ("ManagedRepository", "Pixels", "Files"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def _listen(self) -> None:
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7"]
        files = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*request, *files], check=True, capture_output=True)
        properties = {
            "Ice.Plugin.IceSSL": "IceSSL:createIceSSL", "IceSSL.CertFile": str(certificate),
            "IceSSL.KeyFile": str(key), "IceSSL.VerifyPeer": "0", "Ice.MessageSizeMax": "250000",
            "Ice.ThreadPool.Server.SizeMax": "16", "Ice.ACM.Server.Close": "0",
            "Ice.CacheMessageBuffers": "0",
        }  # fmt: skip
        data = Ice.InitializationData()
        data.properties = Ice.createProperties()
        for name, value in properties.items():
            data.properties.setProperty(name, value)
        self.communicator = Ice.initialize(data)
        omero.ObjectFactoryRegistrar.registerObjectFactory(self.communicator, None)
        for factory in omero.rtypes.ObjectFactories.values():
            factory.register(self.communicator)
        self.adapter = self.communicator.createObjectAdapterWithEndpoints(
            "server", "tcp -h 127.0.0.1:ssl -h 127.0.0.1"
        )
        router = servant(Glacier2.Router, Router(self), self)
        self.adapter.add(router, self.communicator.stringToIdentity("OMERO.Glacier2/router"))
        self.adapter.activate()
        self.tcp_port, self.ssl_port = (e.getInfo().port for e in self.adapter.getEndpoints())

    # Sessions

    def log_in(self, name: str, password: str, current) -> object:
        session = self.sessions.get(name) if name == password else None
        if session is None and self.passwords.get(name, object()) != password:
            raise Glacier2.PermissionDeniedException("Password check failed")
        if session is None:
            session = self._new_session(name, (current.ctx or {}).get("omero.group"))
        else:
            session.references += 1
        session.connections.add(current.con.toString())
        proxy = self.adapter.createDirectProxy(Ice.Identity(session.uuid, "client"))
        return Glacier2.SessionPrx.uncheckedCast(proxy)

    def _new_session(self, name: str, wanted: str | None) -> Session:
        user = next(r for r in self.store.all("Experimenter") if r.fields["omeName"] == name)
        groups = [rec.fields["parent"] for rec in user.collection("groupExperimenterMap")]
        group = groups[0]
        if wanted:
            fitting = [g for g in groups if wanted in (g.fields["name"], str(g.id))]
            if not fitting:
                raise omero.AuthenticationException(
                    None, None, f"{name} is not a member of {wanted}"
                )
            group = fitting[0]
        token = str(uuid.uuid4())
        rec = self.store.add("Session", uuid=token, timeToIdle=600000, timeToLive=0, started=now())
        session = Session(token, user, group, self, rec)
        self.sessions[token] = session
        factory = servant(omero.api.ServiceFactory, services.Factory(self), self, session)
        self.adapter.add(factory, Ice.Identity(token, "client"))
        return session

    def check_session(self, session: Session) -> None:
        if session.uuid not in self.sessions:
            raise omero.RemovedSessionException(None, None, "The session has expired.")

    def check_connection(self, session: Session, current) -> None:
        """Refuse calls of ended sessions, and over connections that did not log in."""
        self.check_session(session)
        if current.con.toString() not in session.connections:
            raise Ice.ObjectNotExistException

    def end_session(self, session: Session) -> None:
        self.sessions.pop(session.uuid, None)
        self.close_services(session)

    def close_services(self, session: Session) -> None:
        """Close what a client left open, which saves what it had written, whole or not."""
        with self.lock:
            for service in session.stateful:
                getattr(service, "finish", lambda: None)()
            session.stateful.clear()

    # Services

    def stateless(self, call, kind: str) -> object:
        """The proxy of a service without state, one for each session."""
        session = call.session
        if kind not in session.proxies:
            if kind == "SharedResources":
                slice_class, service = omero.grid.SharedResources, services.Resources()
            elif kind == "IPixels":
                slice_class, service = omero.api.IPixels, pixels.Pixels()
            else:
                slice_class, service = getattr(omero.api, kind), services.SERVICES[kind]()
            made = servant(slice_class, service, self, session)
            proxy = self.adapter.add(made, Ice.Identity(f"{session.uuid}-{kind}", "client"))
            session.proxies[kind] = _cast(slice_class, proxy)
        return session.proxies[kind]

    def open_stateful(self, call, slice_class: type, service: object) -> object:
        made = servant(slice_class, service, self, call.session)
        call.session.stateful.append(service)
        identity = Ice.Identity(f"{call.session.uuid}-{uuid.uuid4()}", "client")
        return _cast(slice_class, self.adapter.add(made, identity))

    def stop(self) -> None:
        self.communicator.destroy()


def _cast(slice_class: type, proxy: object) -> object:
    import sys

    module = sys.modules[slice_class.__module__]
    return getattr(module, f"{slice_class.__name__}Prx").uncheckedCast(proxy)
