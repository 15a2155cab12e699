"""Where a login comes from, and that a password shows up nowhere."""

import os

import pytest

from lib.omero.connection import LostSession, NoPermission, read_account, told
from lib.shared.errors import InputError

SECRET = "open sesame"


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """An environment with no file and no session of the `omero` command."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("lib.omero.connection._cli_session", lambda found: None)
    return {"OMERO_HOST": "omero.example.org", "OMERO_USER": "alice", "OMERO_PASSWORD": SECRET}


def config(tmp_path, text: str, mode: int = 0o600):
    path = tmp_path / "omero.conf"
    path.write_text(text)
    path.chmod(mode)
    return {"OMERO_CONFIG_FILE": str(path)}


def test_the_environment_is_enough(environ):
    account = read_account(environ | {"OMERO_PORT": "14064", "OMERO_GROUP": "lab"})
    assert (account.host, account.port, account.group) == ("omero.example.org", 14064, "lab")
    assert (account.user, account.password) == ("alice", SECRET)
    assert account.session is None


def test_the_port_has_a_default(environ):
    assert read_account(environ).port == 4064


def test_a_password_is_not_shown(environ):
    assert SECRET not in repr(read_account(environ))
    session = {"OMERO_HOST": "h", "OMERO_SESSION": SECRET}
    assert SECRET not in repr(read_account(session))


def test_a_private_file_is_read(environ, tmp_path):
    text = f"# mine\nhost = omero.example.org\n\nuser=alice\npassword = {SECRET}\n"
    account = read_account(config(tmp_path, text))
    assert (account.host, account.user, account.password) == ("omero.example.org", "alice", SECRET)


def test_the_environment_goes_before_the_file(environ, tmp_path):
    file = config(tmp_path, "host = other\nsession = theirs\n")
    account = read_account(environ | file)
    assert (account.host, account.password, account.session) == (
        "omero.example.org",
        SECRET,
        None,
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_open_is_refused(environ, tmp_path, mode):
    with pytest.raises(InputError, match="chmod 600") as caught:
        read_account(config(tmp_path, f"password = {SECRET}\n", mode))
    assert SECRET not in str(caught.value)


def test_a_file_of_somebody_else_is_refused(environ, tmp_path, monkeypatch):
    file = config(tmp_path, "host = h\n")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InputError, match="must be yours alone"):
        read_account(file)


def test_a_wrong_line_is_named_by_its_number_only(environ, tmp_path):
    with pytest.raises(InputError, match="line 2") as caught:
        read_account(config(tmp_path, f"host = h\npasword = {SECRET}\n"))
    assert SECRET not in str(caught.value)


def test_a_file_that_is_named_must_be_there(environ, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_account(environ | {"OMERO_CONFIG_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize("missing", ["OMERO_USER", "OMERO_PASSWORD"])
def test_half_a_login_is_none(environ, missing):
    del environ[missing]
    with pytest.raises(InputError, match="no login for OMERO at omero"):
        read_account(environ)


def test_no_host_is_told(environ):
    with pytest.raises(InputError, match="OMERO_HOST"):
        read_account({})


@pytest.mark.parametrize("port", ["0", "70000", "ssl", "-1"])
def test_a_port_is_a_port(environ, port):
    with pytest.raises(InputError, match=f"OMERO_PORT is {port}"):
        read_account(environ | {"OMERO_PORT": port})


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("PermissionDeniedException", InputError, "refuses user alice"),
        ("DNSException", InputError, "omero.example.org is not known"),
        ("ConnectionRefusedException", InputError, "No OMERO server answers"),
        ("ConnectionLostException", LostSession, "was lost"),
        ("RemovedSessionException", LostSession, "was lost"),
        ("SecurityViolation", NoPermission, "does not permit"),
    ],
)
def test_what_the_server_raises_becomes_a_sentence(environ, name, kind, words):
    account = read_account(environ)
    with pytest.raises(kind, match=words) as caught, told(account):
        raise type(name, (Exception,), {})(f"internal {SECRET}")
    assert SECRET not in str(caught.value)


def test_a_defect_stays_what_it_is(environ):
    with pytest.raises(ZeroDivisionError), told(read_account(environ)):
        _ = 1 / 0
