"""Logins of the test server's users, as Poolscope takes them."""

from lib.omero.connection import Account
from omero_server.process import ServerProcess


def account(server: ServerProcess, user: str = "alice", group: str | None = None) -> Account:
    """The login of a user of the test server."""
    password = server.users[user]["password"]
    return Account(server.host, server.port, group, user, password)


def variables(server: ServerProcess, user: str = "alice") -> dict[str, str]:
    """The same as environment variables, for processes."""
    login = account(server, user)
    keys = ("host", "port", "user", "password")
    return {f"OMERO_{key.upper()}": str(getattr(login, key)) for key in keys}
