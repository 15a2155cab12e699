"""What tests need of an OMERO: the test server, or the one that POOLSCOPE_OMERO_HOST names."""

import os

import pytest

from lib.omero.connection import Account, connect
from omero_server.command import OmeroCommand
from omero_server.logins import account
from omero_server.process import ServerProcess

REAL = os.environ.get("POOLSCOPE_OMERO_HOST")
real = pytest.param(
    "real",
    marks=[
        pytest.mark.omero_real,
        pytest.mark.skipif(not REAL, reason="POOLSCOPE_OMERO_HOST names no real server"),
    ],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A test server; at the end it must have understood all that it was asked."""
    process = ServerProcess(tmp_path_factory.mktemp("omero"))
    yield process
    problems = process.do("report")["problems"]
    process.stop()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def cli(server, tmp_path_factory):
    """The `omero` command, logged in."""
    return OmeroCommand(server, tmp_path_factory.mktemp("home"))


@pytest.fixture(params=["double", real])
def place(request) -> Account:
    """Where tests run that hold for every OMERO: on the test server, and on a real one."""
    if request.param == "real":
        environ = os.environ
        return Account(
            REAL,
            int(environ.get("POOLSCOPE_OMERO_PORT", "4064")),
            environ.get("POOLSCOPE_OMERO_GROUP"),
            environ["POOLSCOPE_OMERO_USER"],
            environ["POOLSCOPE_OMERO_PASSWORD"],
        )
    return account(request.getfixturevalue("server"))


@pytest.fixture
def gateway(server):
    """Alice, logged in to the test server."""
    with connect(account(server)) as connected:
        yield connected
