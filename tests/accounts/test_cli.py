"""`hepcat user` and `hepcat token`, alone and beside a page that runs; starting where others reach it."""

import json
import os
import pty
import shutil
import ssl
import subprocess
import termios
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.web.accounts import Accounts
from tests.accounts.support import OTHER, PASSWORD, settings_in, tls
from tests.support import HEPCAT, hepcat_here, wait_for
from tests.web.support import Site

pytestmark = pytest.mark.usefixtures("cheap_hashing")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\nanother line\n")
    return path


def test_users_from_first_to_last(data: Path, password_file: Path) -> None:
    """With --make-folder the first account comes before the first start."""
    given = ("--role", "admin", "--password-file", str(password_file), "--data", str(data), "--make-folder")
    made = hepcat_here("user", "add", "ada", *given)
    assert f"first account in {data}/accounts.db: " in made.stdout
    assert f"No server runs on {data} just now" in made.stdout
    accounts = Accounts(settings_in(data.parent))
    assert accounts.users.check("ada", PASSWORD)
    hepcat_here("user", "add", "vic", "--role=viewer", f"--password-file={password_file}", f"--data={data}")
    listed = hepcat_here("user", "list", "--data", str(data)).stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["ada", "admin"], ["vic", "viewer"]]
    assert "argon2" not in listed
    hepcat_here("user", "role", "vic", "admin", "--data", str(data))
    hepcat_here("user", "disable", "ada", "--data", str(data))
    listed = hepcat_here("user", "list", "--data", str(data)).stdout
    assert [line.split()[-1] for line in listed.splitlines()[1:]] == ["disabled", "ok"]
    hepcat_here("user", "enable", "ada", "--data", str(data))
    password_file.write_text(OTHER)
    hepcat_here("user", "password", "ada", "--password-file", str(password_file), "--data", str(data))
    assert accounts.users.check("ada", OTHER)
    hepcat_here("user", "remove", "ada", "--data", str(data))
    told = hepcat_here("user", "disable", "vic", "--data", str(data)).stdout
    assert "No administrator is left" in told
    told = hepcat_here("user", "remove", "vic", "--data", str(data)).stdout
    assert "no accounts left" in told


def test_accounts_go_where_a_server_can_be(tmp_path: Path, password_file: Path) -> None:
    """An account in a folder that was mistyped would close nothing, and everybody would think it did."""

    def add(folder: Path, code: int) -> str:
        given = ("--role", "viewer", "--password-file", str(password_file), "--data", str(folder))
        done = hepcat_here("user", "add", "ada", *given, check=False)
        assert done.returncode == code, done
        assert (folder / "accounts.db").exists() is (code == 0)
        return done.stderr

    missing = tmp_path / "none" / "data"
    told = add(missing, 1)
    assert f"no folder {missing}" in told
    assert "--make-folder" in told
    assert not missing.parent.exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "holiday.jpg").touch()
    told = add(other, 1)
    assert f"{other} is the folder of no lake" in told
    assert "hepcat serve" in told
    add(password_file, 1)
    for number, name in enumerate(("journal", "spool", "sip", "")):  # "": an empty folder
        (tmp_path / str(number) / name).mkdir(parents=True)
        add(tmp_path / str(number), 0)


def test_what_is_refused(data: Path, password_file: Path) -> None:
    data.mkdir()

    def refused(*arguments: str) -> str:
        done = hepcat_here(*arguments, "--data", str(data), check=False)
        assert done.returncode == 1, done
        return done.stderr

    given = ("--password-file", str(password_file))
    assert "cannot be a user's name" in refused("user", "add", "a/b", "--role", "admin", *given)
    assert "no role" in refused("user", "add", "ada", "--role", "root", *given)
    assert "cannot read" in refused("user", "add", "ada", "--role", "admin", "--password-file", "/none")
    password_file.write_text("\n")
    assert "too short" in refused("user", "add", "ada", "--role", "admin", *given)
    password_file.write_text(PASSWORD)
    hepcat_here("user", "add", "ada", "--role", "admin", *given, "--data", str(data))
    assert "already" in refused("user", "add", "Ada", "--role", "admin", *given)
    for command in (("remove", "eve"), ("password", "eve"), ("role", "eve", "admin"), ("disable", "eve")):
        assert "no user" in refused("user", *command)
    assert "no user" in refused("token", "add", "eve", "--name", "t")
    assert "at most" in refused("token", "add", "ada", "--name", "t", "--days", "99999")
    assert "no role" in refused("token", "add", "ada", "--name", "t", "--role", "root")
    assert "no token" in refused("token", "revoke", "7")


def test_no_lake(tmp_path: Path) -> None:
    done = hepcat_here("user", "list", "--data", str(tmp_path / "none"), check=False)
    assert done.returncode == 1
    assert "no folder" in done.stderr


def test_tokens(data: Path, password_file: Path) -> None:
    data.mkdir()
    hepcat_here(
        "user", "add", "ada", "--role", "admin", "--password-file", str(password_file), "--data", str(data)
    )
    made = hepcat_here("token", "add", "ada", "--name", "ci\u202e", "--data", str(data), check=False)
    assert made.returncode == 1, "no characters that turn a line round"
    made = hepcat_here(
        "token", "add", "ada", "--name", "ci", "--days", "2", "--role", "viewer", "--data", str(data)
    )
    secret = made.stdout.strip()
    accounts = Accounts(settings_in(data.parent))
    token = accounts.tokens.find(secret)
    assert token is not None
    assert token.role == "viewer"
    assert token.expires - token.created == 2 * 86_400
    by_default = hepcat_here("token", "add", "ada", "--name", "d", "--data", str(data)).stdout.strip()
    found = accounts.tokens.find(by_default)
    assert found is not None
    assert found.expires - found.created == 90 * 86_400
    listed = hepcat_here("token", "list", "--data", str(data)).stdout
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        ["1", "ada", "viewer"],
        ["2", "ada", "admin"],
    ]
    assert secret[10:20] not in listed
    assert "no tokens" in hepcat_here("token", "list", "vic", "--data", str(data)).stderr
    hepcat_here("token", "revoke", "1", "--data", str(data))
    assert accounts.tokens.find(secret) is None


def test_the_password_is_typed_twice_and_not_shown(data: Path) -> None:
    """On a terminal of its own; two that differ change nothing."""
    data.mkdir()
    for second, code in ((OTHER, 1), (PASSWORD, 0)):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(HEPCAT[0], [*HEPCAT, "user", "add", "ada", "--role", "admin", "--data", str(data)])
        shown = b""
        for prompt, answer in ((b"New password of ada: ", PASSWORD), (b"Once more: ", second)):
            while not shown.endswith(prompt):
                shown += os.read(terminal, 1000)
            # getpass turns the echo off, then throws away what was typed too early
            wait_for(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, what="the echo off")  # noqa: B023
            os.write(terminal, answer.encode() + b"\n")
        while True:
            try:
                shown += os.read(terminal, 1000)
            except OSError:
                break
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, shown
        assert PASSWORD.encode() not in shown
        assert bool(Accounts(settings_in(data.parent)).users.find("ada")) is (code == 0)


def test_the_password_from_a_pipe(data: Path) -> None:
    data.mkdir()
    command = [*HEPCAT, "user", "add", "ada", "--role", "admin", "--data", str(data)]
    done = subprocess.run(command, input=f"{PASSWORD}\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Accounts(settings_in(data.parent)).users.check("ada", PASSWORD)


def status_of(url: str, context: ssl.SSLContext | None = None, **headers: str) -> int:
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def test_beside_a_page_that_runs(data: Path, password_file: Path, tmp_path: Path) -> None:
    """Each change is seen at once: the first account, a token, its end."""
    data.mkdir()
    with Site(data, tmp_path) as site:
        calls = f"{site.url}/api/calls"
        assert status_of(calls) == 200
        hepcat_here(
            "user", "add", "ada", "--role", "admin", f"--password-file={password_file}", f"--data={data}"
        )
        assert status_of(calls) == 401
        secret = hepcat_here("token", "add", "ada", "--name", "t", "--data", str(data)).stdout.strip()
        assert status_of(calls, Authorization=f"Bearer {secret}") == 200
        hepcat_here("user", "disable", "ada", "--data", str(data))
        assert status_of(calls, Authorization=f"Bearer {secret}") == 401
        hepcat_here("user", "enable", "ada", "--data", str(data))
        assert status_of(calls, Authorization=f"Bearer {secret}") == 401
        log = site.log.read_text()
    assert secret not in log
    assert PASSWORD not in log


def test_the_page_alone_does_not_start_there_either(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    command = [*HEPCAT, "web", "--data", str(tmp_path / "data"), "--listen", "0.0.0.0:9080"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "there are no accounts" in done.stderr
    assert "hepcat user add NAME --role admin" in done.stderr


@pytest.fixture
def secure(tmp_path: Path, certificates: Path, two_users: Path) -> Iterator[Site]:
    settings = settings_in(tmp_path, tls(certificates))
    shutil.copy(two_users, settings.data / "accounts.db")
    site = Site(settings.data, tmp_path, "--config", str(tmp_path / "hepcat.toml"))
    site.url = f"https://localhost:{site.port}"
    trusting = ssl.create_default_context(cafile=certificates / "localhost.pem")
    site._ready = lambda: _answers(site.url, trusting)  # type: ignore[method-assign]
    with site:
        yield site


def _answers(url: str, trusting: ssl.SSLContext) -> bool:
    try:
        return bool(status_of(f"{url}/healthz", trusting))
    except OSError:
        return False


def test_over_tls(secure: Site, certificates: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificates / "localhost.pem")
    body = json.dumps({"user": "ada", "password": PASSWORD}).encode()
    request = urllib.request.Request(
        f"{secure.url}/api/session", body, {"Content-Type": "application/json", "Origin": secure.url}
    )
    with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"]
    assert cookie.startswith("__Host-hepcat=")
    assert "Secure" in cookie.split("; ")
    sent = cookie.partition(";")[0]
    assert status_of(f"{secure.url}/api/calls", trusting, Cookie=sent) == 200
    assert status_of(f"{secure.url}/api/calls", trusting, Cookie=sent.replace("__Host-", "")) == 401
    trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(urllib.error.URLError):
        status_of(f"{secure.url}/healthz", trusting)
