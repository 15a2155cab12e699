"""The stock `omero` command as a user of the test server has it."""

import os
import subprocess
import sys
from pathlib import Path

from omero_server.process import ServerProcess

# The command refuses root, but only before this.
RUN = "import sys; sys.argv[0] = 'omero'; from omero.cli import argv; sys.exit(argv())"


class OmeroCommand:
    """The `omero` command, logged in as alice.

    Attributes
    ----------
    home : the folder in which it runs and keeps its logins.
    """

    def __init__(self, server: ServerProcess, home: Path) -> None:
        self.home = home
        self._environ = os.environ | {
            "HOME": str(home),
            "OMERO_USERDIR": str(home),
            "OMERO_PASSWORD": server.users["alice"]["password"],
        }
        self("login", "-s", server.host, "-p", str(server.port), "-u", "alice")

    def __call__(self, *arguments: str) -> str:
        """Run it; returns what it says. It must succeed."""
        command = [sys.executable, "-c", RUN, *arguments]
        done = subprocess.run(
            command, env=self._environ, cwd=self.home, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
