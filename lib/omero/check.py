"""Whether the server will take what a run brings: asked before the first job, not by the last."""

from collections.abc import Sequence

from lib.omero.connection import Account, connect, group_name, read_account
from lib.omero.import_plate import check_rights


def check_server(
    source_plates: Sequence[int] = (),
    screen: str | int | None = None,
    account: Account | None = None,
) -> str:
    """Log in, and ask for the rights that an import needs; returns who is logged in where.

    Raises `InputError`, in one sentence, as `connect` and `check_rights` do.
    """
    account = account or read_account()
    with connect(account) as gateway:
        for plate in source_plates:
            check_rights(gateway, plate, None)
        check_rights(gateway, None, screen)
        user = gateway.getUser().getName()
        return f"OMERO at {account.place}: user {user}, group {group_name(gateway)}"
