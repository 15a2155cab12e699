"""What tests need of an OMERO: the test server, or the one that POOLSCOPE_OMERO_HOST names."""

import os
import subprocess
import sys

import pytest

from lib.omero.connection import Account, connect
from omero_server.logins import account
from omero_server.process import ServerProcess

# The command refuses root, but only before this.
RUN_CLI = "import sys; sys.argv[0] = 'omero'; from omero.cli import argv; sys.exit(argv())"
REAL = os.environ.get("POOLSCOPE_OMERO_HOST")
real = pytest.param(
    "real",
    marks=pytest.mark.skipif(not REAL, reason="POOLSCOPE_OMERO_HOST names no real server"),
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
    home = tmp_path_factory.mktemp("home")
    environ = os.environ | {
        "HOME": str(home),
        "OMERO_USERDIR": str(home),
        "OMERO_PASSWORD": "alice-secret",
    }

    def run(*arguments):
        command = [sys.executable, "-c", RUN_CLI, *arguments]
        done = subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("login", "-s", server.host, "-p", str(server.port), "-u", "alice")
    run.home = home
    return run


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
