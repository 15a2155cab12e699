"""Logging in to OMERO: from the environment, a private file, or a session of the `omero` command.

A password never comes from the workflow's config or from a command line, where
others can read it, and is never part of a message.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lib.shared.errors import InputError

if TYPE_CHECKING:
    import omero
    from omero.gateway import BlitzGateway

log = logging.getLogger(__name__)
_T = TypeVar("_T")

DEFAULT_PORT = 4064
KEEP_ALIVE_SECONDS = 60
CONFIG_FILE = Path("~/.config/poolscope/omero")
KEYS = ("host", "port", "group", "user", "password", "session")
INSTALL = "OMERO's Python package is not installed: run `make omero`, or see docs/omero.md."

# What Ice and OMERO raise, by name: their classes exist only once they are installed.
REFUSED = {"PermissionDeniedException", "CannotCreateSessionException", "AuthenticationException",
           "ExpiredCredentialException"}  # fmt: skip
UNKNOWN_HOST = {"DNSException"}
NO_ANSWER = {"ConnectionRefusedException", "ConnectFailedException", "ConnectTimeoutException",
             "ConnectionTimeoutException", "SocketException", "ProtocolException"}  # fmt: skip
LOST = {"ConnectionLostException", "RemovedSessionException", "SessionTimeoutException",
        "SessionException", "ObjectNotExistException", "CloseConnectionException",
        "ForcedCloseConnectionException", "CommunicatorDestroyedException",
        "ObjectAdapterDeactivatedException"}  # fmt: skip
FORBIDDEN = {"SecurityViolation", "GroupSecurityViolation", "ReadOnlyGroupSecurityViolation",
             "PermissionMismatchGroupSecurityViolation"}  # fmt: skip


class LostSession(InputError):
    """The connection or the session ended during work; the same work can be done again."""


class NoPermission(InputError):
    """The server does not let this user do it."""


@dataclass(frozen=True)
class Account:
    """Where to log in, and as whom: a session, or a user with a password."""

    host: str
    port: int = DEFAULT_PORT
    group: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def read_account(environ: Mapping[str, str] = os.environ) -> Account:
    """Find out where to log in.

    `OMERO_HOST`, `OMERO_PORT`, `OMERO_GROUP` and either `OMERO_SESSION` or
    `OMERO_USER` with `OMERO_PASSWORD`; what is not there comes from the file that
    `OMERO_CONFIG_FILE` names (default ~/.config/poolscope/omero: lines such as
    `host = omero.example.org`, readable by nobody else); and when neither gives a
    session or password, the session of the last `omero login`.

    Raises `InputError` when host or login are nowhere, and when others can read
    the file.
    """
    found = _from_file(environ)
    own = {key: environ.get(f"OMERO_{key.upper()}") for key in KEYS}
    if own["password"] and not own["session"]:
        found.pop("session", None)  # who gives a password does not mean the file's session
    found |= {key: value for key, value in own.items() if value}
    if not found.get("session") and not found.get("password"):
        found = _cli_session(found) or found
    if not found.get("host"):
        raise InputError(
            "No OMERO server is named: set OMERO_HOST, and OMERO_USER with OMERO_PASSWORD or "
            "OMERO_SESSION, or run `omero login`."
        )
    account = Account(**{**found, "port": _port(found.get("port", DEFAULT_PORT))})
    if not account.session and not (account.user and account.password):
        raise InputError(
            f"There is no login for OMERO at {account.place}: set OMERO_SESSION, or OMERO_USER "
            "and OMERO_PASSWORD, or run `omero login`."
        )
    return account


@contextmanager
def connect(account: Account | None = None) -> Iterator["BlitzGateway"]:
    """Log in, keep the session alive, and log out.

    A session that was given stays open; one that is made here is closed. All
    calls are made in the group of the account (default: the session's).

    Raises `InputError` in one sentence when the host is unknown or does not
    answer, when the login is refused, when the session is lost meanwhile
    (`LostSession`), and when the user lacks a permission (`NoPermission`).
    """
    account = account or read_account()
    try:
        import omero
        from omero.gateway import BlitzGateway
    except ImportError as error:
        raise InputError(f"{INSTALL} ({error})") from None
    # They log whole objects and tracebacks of errors that are told here in a sentence.
    for name in ("omero.gateway", "omero.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with told(account), ExitStack() as stack:
        client = omero.client(account.host, account.port)
        # Closes the communicator, whose threads would keep the process alive.
        stack.callback(client.__del__)
        _log_in(client, account)
        stack.callback(_log_out, client, account)
        client.enableKeepAlive(KEEP_ALIVE_SECONDS)
        gateway = BlitzGateway(client_obj=client)
        _choose_group(gateway, account)
        yield gateway


def work_connected(
    work: Callable[["BlitzGateway"], _T], account: Account | None = None, attempts: int = 3
) -> _T:
    """Do work that goes on where it stopped, in a new connection each time that one is lost."""
    for _ in range(attempts - 1):
        try:
            with connect(account) as gateway:
                return work(gateway)
        except LostSession as error:
            log.warning("%s Trying again.", error)
    with connect(account) as gateway:
        return work(gateway)


@contextmanager
def told(account: Account) -> Iterator[None]:
    """Turn what Ice and OMERO raise into sentences for the user."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        sentence = _sentence(error, account)
        if sentence is None:
            raise
        raise sentence from error


def _sentence(error: Exception, account: Account) -> InputError | None:
    name = type(error).__name__
    if name in REFUSED:
        if account.session:
            return InputError(
                f"OMERO at {account.place} does not accept the session: it has ended or belongs "
                "to another server; log in again."
            )
        where = f" in group {account.group}" if account.group else ""
        return InputError(
            f"OMERO at {account.place} refuses user {account.user}{where}: check user name, "
            "password and group."
        )
    if name in UNKNOWN_HOST:
        return InputError(f"The OMERO host {account.host} is not known: check OMERO_HOST.")
    if name in NO_ANSWER:
        return InputError(
            f"No OMERO server answers at {account.place}: check OMERO_HOST and OMERO_PORT, and "
            "that the server runs."
        )
    if name in LOST:
        return LostSession(
            f"The session at OMERO {account.place} was lost ({name}): run the same again, it goes "
            "on where it stopped."
        )
    if name in FORBIDDEN:
        reason = (getattr(error, "message", "") or name).rstrip(".")
        return NoPermission(
            f"OMERO at {account.place} does not permit this ({reason}): ask the owner of the data "
            "or the group for the right."
        )
    return None


def _log_in(client: "omero.client", account: Account) -> None:
    if account.session:
        client.joinSession(account.session).detachOnDestroy()
    else:
        client.createSession(account.user, account.password)


def _log_out(client: "omero.client", account: Account) -> None:
    try:
        if account.session:
            client.closeSession()
        else:
            client.killSession()
    except Exception as error:
        if type(error).__name__ not in LOST | NO_ANSWER | {"ClientError"}:
            raise  # else the session has gone before us


def _choose_group(gateway: "BlitzGateway", account: Account) -> None:
    """Have all calls made in one group: the account's, or the one of the session."""
    context = gateway.getAdminService().getEventContext()
    chosen = context.groupId
    if account.group is not None:
        groups = [gateway.getAdminService().getGroup(number) for number in context.memberOfGroups]
        fitting = [g.id.val for g in groups if account.group in (g.name.val, str(g.id.val))]
        if not fitting:
            raise InputError(
                f"User {context.userName} is not a member of the group {account.group} at OMERO "
                f"{account.place}: check OMERO_GROUP."
            )
        chosen = fitting[0]
    gateway.SERVICE_OPTS.setOmeroGroup(chosen)
    gateway.c.getImplicitContext().put("omero.group", str(chosen))


def group_id(gateway: "BlitzGateway") -> int:
    """Number of the one group in which `gateway` writes."""
    chosen = gateway.SERVICE_OPTS.getOmeroGroup()
    if chosen is not None and int(chosen) >= 0:
        return int(chosen)
    return gateway.getAdminService().getEventContext().groupId


def group_name(gateway: "BlitzGateway") -> str:
    """Name of that group."""
    return gateway.getAdminService().getGroup(group_id(gateway)).name.val


def _port(value: str | int) -> int:
    try:
        port = int(value)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise InputError(f"OMERO_PORT is {value}: it must be a number from 1 to 65535.")
    return port


def _from_file(environ: Mapping[str, str]) -> dict[str, str]:
    """Read the private file, if there is one."""
    named = environ.get("OMERO_CONFIG_FILE")
    path = Path(named or CONFIG_FILE).expanduser()
    try:
        # Looked at and read by one handle, so that it cannot be exchanged in between.
        with open(path, encoding="utf-8") as file:
            state = os.fstat(file.fileno())
            lines = file.read().splitlines()
    except FileNotFoundError:
        if named:
            raise InputError(f"The OMERO config file {path} does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The OMERO config file {path} cannot be read: {error}.") from None
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or state.st_uid != os.geteuid():
        raise InputError(
            f"The OMERO config file {path} is open to others (mode "
            f"{stat.S_IMODE(state.st_mode):03o}): it must be yours alone, chmod 600 it."
        )
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or key.strip() not in KEYS:
            # The line itself may hold a password.
            raise InputError(
                f"The OMERO config file {path} has a line {number} that is none of "
                f"{', '.join(f'{key} = ...' for key in KEYS)}."
            )
        found[key.strip()] = value.strip()
    return found


def _cli_session(found: Mapping[str, str]) -> dict[str, str] | None:
    """The session of the last `omero login`, when it is at the host that is asked for."""
    try:
        from omero.util.sessions import SessionsStore
    except ImportError:
        return None
    host, name, session, port = SessionsStore().get_current()
    if not (host and session) or found.get("host") not in (None, host):
        return None
    own = {"host": host, "session": session, "user": name, "port": port or DEFAULT_PORT}
    return {**own, **{key: value for key, value in found.items() if key == "group"}}
