"""From a call on the wire to a Python method: locks, faults, counters, errors."""

import inspect
import re
import threading
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import Glacier2
import Ice
import omero

VOID = re.compile(r"(\w+)\._op_(\w+) = IcePy\.Operation\(.*, None, \([^()]*\)\)$", re.MULTILINE)
SKIPPED = {"ice_id", "ice_ids", "ice_isA", "ice_ping"}


@dataclass
class Fault:
    """What goes wrong, and when.

    Attributes
    ----------
    kind : drop_before (the connection breaks and nothing was done), drop_after
        (it was done, and the answer is lost), hold_before and hold_after (the same, but
        the client waits until the faults are cleared: time to kill it), refuse
        (SecurityViolation), slow,
        expire (the session ends).
    at : the call at which it happens, counted from 1 from the setting of the
        fault, over the calls that match.
    operation : only calls of this name; None: any but those of logging in.
    """

    kind: str
    at: int = 1
    operation: str | None = None
    seconds: float = 0.0
    seen: int = 0


@dataclass
class Wire:
    """What the server counts, and the faults that wait."""

    calls: Counter = field(default_factory=Counter)
    pixel_bytes_out: int = 0
    pixel_bytes_in: int = 0
    problems: list[str] = field(default_factory=list)  # unimplemented, not understood, crashed
    faults: list[Fault] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def due(self, operation: str) -> Fault | None:
        for fault in self.faults:
            if fault.operation not in (None, operation):
                continue
            fault.seen += 1
            if fault.seen == fault.at:
                return fault
        return None

    def report(self) -> dict:
        """The counters, as plain values."""
        return {
            "calls": dict(self.calls),
            "pixel_bytes_out": self.pixel_bytes_out,
            "pixel_bytes_in": self.pixel_bytes_in,
            "problems": self.problems,
            "faults": [asdict(fault) for fault in self.faults],
        }


class Dropped(Exception):
    """The connection broke: no answer goes out."""


# Logging in and keeping alive: faults count the calls of work, so they leave these alone.
QUIET = {
    "createSession", "destroySession", "getServerProxy", "getClientProxy", "addProxies",
    "getCategoryForClient", "setCallback", "detachOnDestroy", "closeOnDestroy", "getSession",
    "keepAlive", "keepAllAlive", "closeSession", "getSessionTimeout", "getACMTimeout",
    "refreshSession", "getReferenceCount",
}  # fmt: skip


@cache
def void_operations() -> set[tuple[str, str]]:
    """(class, operation) of all operations that return nothing."""
    found: set = set()
    for name in ("omero_*_ice.py", "Glacier2_*_ice.py"):
        for path in Path(omero.__file__).parents[1].glob(name):
            found.update(VOID.findall(path.read_text()))
    return found


def operations(slice_class: type) -> dict[str, type]:
    """Operations of a slice class, with the class that declares each."""
    found = {}
    for base in reversed(slice_class.__mro__):
        for name in vars(base):
            if name.startswith("_op_") and name[4:] not in SKIPPED:
                found[name[4:]] = base
    return found


def servant(slice_class: type, service: object, server: object, session: object = None) -> object:
    """An Ice servant that answers each operation by the method of its name of `service`.

    A service takes the caller's `Call` and then what the operation takes.
    """
    members = {}
    for name, base in operations(slice_class).items():
        is_void = (base.__name__, name) in void_operations()
        forward = _amd if hasattr(slice_class, f"{name}_async") else _plain
        key = f"{name}_async" if forward is _amd else name
        members[key] = forward(name, is_void, service, server, session)
    return type(f"{slice_class.__name__}Servant", (slice_class,), members)()


def _plain(name, is_void, service, server, session):
    def operation(self, *arguments):
        try:
            return run(name, service, server, session, arguments[:-1], arguments[-1])
        except Dropped:
            return None

    return operation


def _amd(name, is_void, service, server, session):
    def operation(self, callback, *arguments):
        try:
            result = run(name, service, server, session, arguments[:-1], arguments[-1])
        except Dropped:
            # It goes nowhere, but a call without an end would keep the server from stopping.
            callback.ice_exception(Ice.ConnectionLostException())
            return
        except (Ice.Exception, Glacier2.PermissionDeniedException) as error:
            callback.ice_exception(error)
            return
        if is_void:
            callback.ice_response()
        else:
            callback.ice_response(result)

    return operation


@dataclass
class Call:
    """One call: who, in which context, over which connection."""

    server: object
    session: object
    current: object

    @property
    def context(self) -> dict:
        return self.current.ctx or {}

    def caller(self, writes: bool = False) -> object:
        return self.session.caller(self.context, writes)


def run(name, service, server, session, arguments, current) -> object:
    """Run one operation with everything that may happen to it."""
    wire = server.wire
    with server.lock:
        wire.calls[name] += 1
        fault = None if name in QUIET else wire.due(name)
    if session is not None and name not in QUIET:
        server.check_connection(session, current)
    if fault is not None:
        _before(fault, server, session, current)
    method = getattr(service, name, None)
    if method is None:
        text = f"{type(service).__name__}.{name} is not implemented by the test server"
        wire.problems.append(text)
        raise omero.InternalException("", "UnsupportedOperation", text)
    try:
        with server.lock:
            result = method(Call(server, session, current), *arguments)
    except Dropped:
        raise
    except Exception as error:
        if isinstance(error, Ice.Exception) or hasattr(error, "_ice_name"):
            raise  # what the slice declares
        text = f"{type(service).__name__}.{name}: {type(error).__name__}: {error}"
        wire.problems.append(text + "\n" + traceback.format_exc())
        raise omero.InternalException(traceback.format_exc(), type(error).__name__, text) from None
    if fault is not None and fault.kind in ("drop_after", "hold_after"):
        _drop(fault, server, session, current)
    return result


def _before(fault: Fault, server, session, current) -> None:
    if fault.kind == "slow":
        time.sleep(fault.seconds)
    elif fault.kind in ("drop_before", "hold_before"):
        _drop(fault, server, session, current)
    elif fault.kind == "refuse":
        raise omero.SecurityViolation(None, "refused", "Cannot write: refused for a test.")
    elif fault.kind == "expire":
        server.end_session(session)
        raise omero.RemovedSessionException(None, None, "The session has expired.")


def _drop(fault: Fault, server, session, current) -> None:
    if fault.kind.startswith("hold"):
        server.wire.released.wait(60)
    current.con.close(True)
    server.close_services(session)
    raise Dropped


def check_services(services: list[tuple[type, type]]) -> list[str]:
    """Methods of services that no slice operation has, or with other parameters."""
    wrong = []
    for slice_class, service in services:
        known = operations(slice_class)
        for name, method in inspect.getmembers(service, inspect.isfunction):
            if name.startswith("_") or name == "finish":
                continue
            if name not in known:
                wrong.append(f"{service.__name__}.{name} is no operation")
                continue
            amd = getattr(slice_class, f"{name}_async", None)
            wanted = list(inspect.signature(amd or getattr(slice_class, name)).parameters)
            wanted = [n for n in wanted if n not in ("self", "_cb", "current")]
            own = list(inspect.signature(method).parameters)[2:]
            if own != wanted:
                wrong.append(f"{service.__name__}.{name}{own} should take {wanted}")
    return wrong


def in_background(function, *arguments) -> None:
    """Call back a client outside of the dispatch that it waits for."""
    threading.Thread(target=function, args=arguments, daemon=True).start()
