"""`python -m lib.omero inventory --plate 42` lists a plate as sample sheets.

`check` tries the login, `clean` removes what an import left unfinished.

Where to log in comes from the environment or a private file, never from here:
see `lib.omero.connection.read_account`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.omero.check import check_server
from lib.omero.connection import connect
from lib.omero.import_plate import delete_plate, incomplete_plates
from lib.omero.inventory import fetch_image, inventory, write_sheets
from lib.omero.paths import ServerDisk
from lib.shared.errors import InputError
from lib.shared.layout import OMERO_IMAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.omero")
    commands = parser.add_subparsers(required=True)
    checking = commands.add_parser("check", help="try the login, and the rights of an import")
    checking.add_argument("--plate", type=int, help="plate of raw images: may it be annotated?")
    checking.add_argument("--screen", type=int, help="screen: may plates be put into it?")
    checking.set_defaults(run=_check)
    listing = commands.add_parser("inventory", help="write the sample sheets of a plate")
    listing.add_argument("--plate", type=int, required=True, help="number of the plate")
    listing.add_argument("--out", type=Path, default=Path(), help="folder for the sheets")
    listing.add_argument(
        "--root", action="append", default=[], help="folder of this machine that may be read"
    )
    listing.add_argument(
        "--mount", action="append", default=[], metavar="SERVER=HERE", type=_mount,
        help="folder of the server, and where it is mounted here",
    )  # fmt: skip
    listing.add_argument(
        "--fetch", action="store_true", help="write the images that have no file of their own"
    )
    listing.add_argument(
        "--allow-remote", action="store_true",
        help="fetch over the connection what the server's disk does not give",
    )  # fmt: skip
    listing.set_defaults(run=_inventory)
    cleaning = commands.add_parser("clean", help="remove plates whose import was not finished")
    which = cleaning.add_mutually_exclusive_group()
    which.add_argument("--plate", type=int, help="remove this one, finished or not")
    which.add_argument("--list", action="store_true", help="only list them")
    cleaning.set_defaults(run=_clean)
    return parser


def _check(options: argparse.Namespace) -> None:
    plates = [] if options.plate is None else [options.plate]
    sys.stdout.write(f"{check_server(plates, options.screen)}\n")


def _mount(text: str) -> tuple[str, str]:
    server, equals, here = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not of the form /OMERO=/mnt/omero")
    return server, here


def _inventory(options: argparse.Namespace) -> None:
    disk = ServerDisk.of(options.root, dict(options.mount))
    with connect() as gateway:
        listed = inventory(
            gateway, options.plate, disk, (options.out / OMERO_IMAGE).parent.resolve()
        )
        missing = [row for row in listed if row.is_fetched]
        for row in missing if options.fetch else ():
            path = Path(row.sample_fp)
            if not path.exists():
                fetch_image(gateway, row.image_id, disk, options.allow_remote, path)
    for path in write_sheets(listed, options.out):
        sys.stdout.write(f"{path}\n")
    done = "fetched" if options.fetch else "to be fetched"
    sys.stdout.write(f"{len(listed)} images, {len(missing)} of them {done} from the server\n")


def _clean(options: argparse.Namespace) -> None:
    with connect() as gateway:
        every = options.plate is None
        found = incomplete_plates(gateway) if every else [(options.plate, "")]
        for number, name in found:
            if not options.list:
                delete_plate(gateway, number)
            sys.stdout.write(f"{'incomplete' if options.list else 'removed'}: {number} {name}\n")


if __name__ == "__main__":
    sys.exit(main())
