"""Run the server as a process: settings on standard input, then one command a line, as JSON."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from omero_server.control import serve

    serve(sys.stdin, sys.stdout)
