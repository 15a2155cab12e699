"""Start the server as a process of its own, and talk to it from a test. Needs no Ice itself."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
GROUPS = {"lab": "rwr---", "private": "rw----", "shared": "rwra--", "team": "rwrw--"}
USERS = {
    "alice": {"password": "alice-secret", "groups": ["lab", "private", "shared", "team"]},
    "bob": {"password": "bob-secret", "groups": ["lab", "private", "shared", "team"]},
    "carol": {"password": "carol-secret", "groups": ["shared"]},
}


class ServerProcess:
    """A running test server.

    Attributes
    ----------
    folder : its data folder.
    port : of SSL, as clients are given it.
    """

    def __init__(self, folder: Path, groups: dict = GROUPS, users: dict = USERS) -> None:
        self.folder = Path(folder)
        self.users = users
        with open(self.folder / "server.log", "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        settings = {"folder": str(self.folder), "groups": groups, "users": users,
                    "root_password": "root-secret"}  # fmt: skip
        ports = self._exchange(settings)
        self.host, self.port, self.tcp_port = "127.0.0.1", ports["ssl"], ports["tcp"]

    def _exchange(self, message: dict) -> object:
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError((self.folder / "server.log").read_text())
        return json.loads(line)

    def do(self, command: str, **arguments: object) -> object:
        """Give a command of `control.COMMANDS`."""
        return self._exchange({"do": command, **arguments})

    def stop(self) -> None:
        """End the process, by force when it hangs."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._process.stdout.close()
