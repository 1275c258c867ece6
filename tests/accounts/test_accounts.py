"""Users, sessions, tokens, passwords in the store; several processes; clocks; the rate of attempts."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from hepcat.errors import HepcatError
from hepcat.web.accounts import Accounts
from hepcat.web.accounts.passwords import Hashing, WeakPassword, check_new
from hepcat.web.accounts.store import AccountsUnavailable
from hepcat.web.accounts.throttle import Throttle, TooMany
from tests.accounts.support import OTHER, PASSWORD, Clock, settings_in

DAY = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


pytestmark = pytest.mark.usefixtures("cheap_hashing")


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    return Accounts(settings_in(tmp_path), clock)


def session_of(accounts: Accounts, name: str) -> str:
    user = accounts.users.find(name)
    assert user is not None
    found = accounts.sessions.begin(user)
    assert found is not None
    return found


def stored(accounts: Accounts) -> bytes:
    """Return every octet of the store's files."""
    folder = accounts.database.path.parent
    return b"".join(path.read_bytes() for path in sorted(folder.glob("accounts.db*")))


def test_files_are_the_owners_only(accounts: Accounts) -> None:
    before = os.umask(0)
    try:
        accounts.users.add("ada", PASSWORD, "admin")
        with accounts.database.write():
            files = sorted(accounts.database.path.parent.glob("accounts.db*"))
    finally:
        os.umask(before)
    assert len(files) >= 2, "the database and its log"
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_looking_makes_no_file(accounts: Accounts) -> None:
    assert accounts.open()
    assert accounts.users.list() == []
    assert accounts.sessions.find("A" * 43) is None
    assert accounts.tokens.find("hepcat_" + "A" * 43) is None
    assert accounts.users.check("ada", PASSWORD) is None
    assert not accounts.database.path.exists()


def test_no_secret_is_stored(accounts: Accounts) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    session = session_of(accounts, "ada")
    secret, _ = accounts.tokens.add("ada", "t", 1)
    octets = stored(accounts)
    for hidden in (PASSWORD, session, secret, secret.removeprefix("hepcat_")):
        assert hidden.encode() not in octets
    assert b"$argon2id$" in octets
    assert session not in repr(accounts.sessions.find(session))
    assert "argon2" not in repr(accounts.users.find("ada"))


def test_users(accounts: Accounts) -> None:
    accounts.users.add("Ada", PASSWORD, "admin")
    assert accounts.users.check("ada", PASSWORD), "names in any case of letters"
    assert accounts.users.check("ada", OTHER) is None
    with pytest.raises(HepcatError, match="already"):
        accounts.users.add("ADA", OTHER, "viewer")
    accounts.users.set_disabled("ada", True)
    assert accounts.users.check("ada", PASSWORD) is None
    accounts.users.set_disabled("ada", False)
    assert accounts.users.check("ada", PASSWORD)
    accounts.users.set_role("ada", "viewer")
    assert [(user.name, user.role) for user in accounts.users.list()] == [("Ada", "viewer")]
    accounts.users.remove("ada")
    assert accounts.users.list() == []
    for change in (accounts.users.remove, lambda name: accounts.users.set_role(name, "admin")):
        with pytest.raises(HepcatError, match="no user"):
            change("ada")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "-x",
        ".x",
        "a b",
        "a/b",
        "a\0b",
        "a\n",
        "<b>",
        "a" * 65,
        "ädam",
        "а",
        "a'--",
        "a\u202eb",
        "\ud800",
    ],
)
def test_hostile_names(accounts: Accounts, name: str) -> None:
    with pytest.raises(HepcatError, match="cannot be a user's name"):
        accounts.users.add(name, PASSWORD, "viewer")
    assert accounts.users.check(name, PASSWORD) is None
    assert not accounts.users.any()


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin\n"])
def test_roles_that_are_none(accounts: Accounts, role: str) -> None:
    with pytest.raises(HepcatError, match="no role"):
        accounts.users.add("ada", PASSWORD, role)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "Abcde",
        "123456789",
        "ada.lovelace",
        "ADA.Lovelace ",
        "a" * 12,
        "ab" * 9,
        "x" * 1025,
        "\ud800" * 12,
    ],
)
def test_weak_passwords(password: str) -> None:
    with pytest.raises(WeakPassword) as error:
        check_new(password, "ada.lovelace")
    assert len(password) < 3 or password not in str(error.value)


def test_the_same_characters_are_the_same_password() -> None:
    """Form C: what one keyboard sends as one character, and another as two."""
    hashing = Hashing()
    hashed = hashing.hash("café de la gare")
    assert hashing.matches(hashed, "cafe\u0301 de la gare")
    assert not hashing.matches(hashed, "cafe de la gare")
    assert not hashing.matches(hashed, "\ud800")
    assert not hashing.matches("no hash at all", "café de la gare")
    assert not hashing.matches(None, "café de la gare")


def test_nobody_takes_as_long_as_somebody(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a name that is not there, one hash is compared as well, with the same parameters."""
    accounts.users.add("ada", PASSWORD, "admin")
    hasher = accounts.users._hashing._argon2()
    compared = []
    verify = type(hasher).verify
    monkeypatch.setattr(
        type(hasher), "verify", lambda self, h, p: (compared.append(h.split("$")[3]), verify(self, h, p))[1]
    )
    for name in ("ada", "nobody", "no body", ""):
        accounts.users.check(name, OTHER)
    assert len(compared) == 4
    assert len(set(compared)) == 1


def test_hashes_have_todays_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9106 section 4, the second choice: 64 MiB, three passes."""
    monkeypatch.undo()
    assert Hashing().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_of_yesterday_is_made_anew(accounts: Accounts) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD.encode())
    with accounts.database.write() as connection:
        connection.execute("UPDATE users SET hash = ?", (weak,))
    session = session_of(accounts, "ada")
    assert accounts.users.check("ada", OTHER) is None
    assert accounts.users.find("ada").hash == weak  # type: ignore[union-attr]
    found = accounts.users.check("ada", PASSWORD)
    assert found is not None
    assert found.hash != weak
    assert accounts.sessions.begin(found), "the new hash is the one that is stored"
    assert accounts.sessions.find(session), "no session ends by it"


def test_sessions_end(accounts: Accounts, clock: Clock) -> None:
    """After session_hours (12) however busy, after idle_hours (4) without use."""
    accounts.users.add("ada", PASSWORD, "admin")
    idle, busy = session_of(accounts, "ada"), session_of(accounts, "ada")
    for _ in range(7):
        clock.pass_(1.7 * 3600)
        if accounts.sessions.find(busy) is None:
            raise AssertionError("it ended too early")
    assert accounts.sessions.find(idle) is None
    clock.pass_(0.2 * 3600)
    assert accounts.sessions.find(busy) is None
    with accounts.database.read() as connection:
        assert connection is not None
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_clock_that_is_set_back(accounts: Accounts, clock: Clock) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    session = session_of(accounts, "ada")
    clock.pass_(-60)
    assert accounts.sessions.find(session)
    clock.pass_(-DAY)
    assert accounts.sessions.find(session) is None, "a session from tomorrow could last for ever"


@pytest.mark.parametrize(
    "change",
    [
        lambda users: users.remove("ada"),
        lambda users: users.set_disabled("ada", True),
        lambda users: users.set_password("ada", OTHER),
    ],
)
def test_what_ends_sessions_and_tokens(accounts: Accounts, change: Any) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    accounts.users.add("vic", OTHER, "viewer")
    session, others = session_of(accounts, "ada"), session_of(accounts, "vic")
    secret, _ = accounts.tokens.add("ada", "t", 1)
    user = accounts.users.find("ada")
    assert user is not None
    change(accounts.users)
    assert accounts.sessions.find(session) is None
    assert accounts.tokens.find(secret) is None
    assert accounts.sessions.begin(user) is None, "a login that was on its way"
    assert accounts.sessions.find(others)
    if accounts.users.find("ada"):
        accounts.users.set_disabled("ada", False)
        assert accounts.sessions.find(session) is None, "they do not come back"
        assert accounts.tokens.find(secret) is None


def test_a_role_is_that_of_now(accounts: Accounts) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    session = session_of(accounts, "ada")
    secret, token = accounts.tokens.add("ada", "t", 1)
    assert token.role == "admin"
    accounts.users.set_role("ada", "viewer")
    assert accounts.sessions.find(session).role == "viewer"  # type: ignore[union-attr]
    assert accounts.tokens.find(secret).role == "viewer"  # type: ignore[union-attr]


def test_sessions_of_a_user_are_bounded(accounts: Accounts, clock: Clock) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    sessions = []
    for _ in range(51):
        sessions.append(session_of(accounts, "ada"))
        clock.pass_(1)
    assert accounts.sessions.find(sessions[0]) is None
    assert all(accounts.sessions.find(session) for session in sessions[1:])


@pytest.mark.parametrize(
    "session", ["", "x", "A" * 43, "ä" * 43, "\ud800" * 43, "A" * 100_000, "A" * 42 + "\0"]
)
def test_sessions_that_are_none(accounts: Accounts, session: str) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    assert accounts.sessions.find(session) is None


def test_tokens(accounts: Accounts, clock: Clock) -> None:
    accounts.users.add("vic", OTHER, "viewer")
    secret, token = accounts.tokens.add("vic", "  grafana ", 2)
    assert (token.name, token.role, token.used) == ("grafana", "viewer", None)
    found = accounts.tokens.find(secret)
    assert found is not None
    assert accounts.tokens.list()[0].used == clock.now
    assert accounts.tokens.find(secret[:-1] + ("A" if secret[-1] != "A" else "B")) is None
    clock.pass_(2 * DAY - 1)
    assert accounts.tokens.find(secret)
    clock.pass_(1)
    assert accounts.tokens.find(secret) is None
    accounts.tokens.revoke(token.id)
    assert accounts.tokens.list() == []
    with pytest.raises(HepcatError, match="no token"):
        accounts.tokens.revoke(token.id)


@pytest.mark.parametrize(
    ("name", "days", "role"),
    [
        ("", 1, None), ("   ", 1, None), ("x" * 65, 1, None), ("a\x1b[2Jb", 1, None), ("t", 0, None),
        ("t", -1, None), ("t", 4000, None), ("t", float("inf"), None), ("t", float("nan"), None),
        ("t", 1, "admin"), ("t", 1, "root"),
    ],
)  # fmt: skip
def test_tokens_that_are_not_made(accounts: Accounts, name: str, days: float, role: str | None) -> None:
    accounts.users.add("vic", OTHER, "viewer")
    with pytest.raises(HepcatError):
        accounts.tokens.add("vic", name, days, role)
    assert accounts.tokens.list() == []


def test_tokens_are_bounded(accounts: Accounts) -> None:
    accounts.users.add("vic", OTHER, "viewer")
    for _ in range(100):
        accounts.tokens.add("vic", "t", 1)
    with pytest.raises(HepcatError, match="100 tokens"):
        accounts.tokens.add("vic", "t", 1)


def test_two_processes(accounts: Accounts) -> None:
    """Others write while this one looks: no lost change, no error, each change seen at once."""
    accounts.users.add("ada", PASSWORD, "admin")
    session = session_of(accounts, "ada")
    code = (
        "import sys; from pathlib import Path; from hepcat.config.loader import load_settings;"
        "from hepcat.web.accounts import Accounts;"
        "a = Accounts(load_settings(Path(sys.argv[1]), environ={}));"
        "[a.tokens.add('ada', sys.argv[2], 1) for _ in range(12)]"
    )
    file = accounts.database.path.parent.parent / "hepcat.toml"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(file), name], cwd=Path(__file__).parents[2])
        for name in ("one", "two")
    ]
    looks = 0
    while any(writer.poll() is None for writer in writers):
        assert accounts.sessions.find(session)
        looks += 1
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert looks > 10
    assert len(accounts.tokens.list("ada")) == 24


def test_threads_share_the_store(accounts: Accounts) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    made: list[str] = []

    def work() -> None:
        for _ in range(5):
            session = session_of(accounts, "ada")
            if accounts.sessions.find(session):
                made.append(session)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 40


def test_a_file_that_others_may_read_is_refused(accounts: Accounts) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    accounts.close()
    accounts.database.path.chmod(0o640)
    with pytest.raises(AccountsUnavailable, match="read or changed by others") as error:
        accounts.users.any()
    assert "chmod 600" in error.value.hint


def test_files_that_are_none(accounts: Accounts) -> None:
    path = accounts.database.path
    path.write_bytes(b"this is no database, but long enough to look like one" * 40)
    path.chmod(0o600)
    with pytest.raises(AccountsUnavailable, match="not a database"):
        accounts.users.any()
    path.unlink()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    path.chmod(0o600)
    with pytest.raises(AccountsUnavailable, match="version 99"):
        accounts.users.any()
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(AccountsUnavailable):
        accounts.users.add("ada", PASSWORD, "admin")


def test_a_link_is_not_followed_when_the_file_is_made(accounts: Accounts, tmp_path: Path) -> None:
    target = tmp_path / "target"
    accounts.database.path.symlink_to(target)
    with pytest.raises(AccountsUnavailable):
        accounts.users.add("ada", PASSWORD, "admin")
    assert not target.exists()


def test_a_file_that_was_replaced_is_seen(accounts: Accounts, tmp_path: Path) -> None:
    accounts.users.add("ada", PASSWORD, "admin")
    other = Accounts(settings_in(tmp_path, f'[web]\naccounts = "{tmp_path / "other.db"}"'))
    other.users.add("vic", OTHER, "viewer")
    other.close()
    for path in accounts.database.path.parent.glob("accounts.db-*"):
        path.unlink()
    (tmp_path / "other.db").replace(accounts.database.path)
    assert [user.name for user in accounts.users.list()] == ["vic"]


def test_a_disk_that_takes_no_more(accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is logged in can look; nothing is made or changed."""
    accounts.users.add("ada", PASSWORD, "admin")
    session = session_of(accounts, "ada")
    secret, _ = accounts.tokens.add("ada", "t", 1)
    clock.pass_(3600)
    connect = accounts.database._connect

    def full() -> sqlite3.Connection:
        connection = connect()
        connection.execute("PRAGMA max_page_count = 1")  # the database is that large already
        connection.execute("PRAGMA query_only = ON")
        return connection

    accounts.close()
    monkeypatch.setattr(accounts.database, "_connect", full)
    assert accounts.sessions.find(session)
    assert accounts.tokens.find(secret)
    with pytest.raises(AccountsUnavailable):
        accounts.users.set_role("ada", "viewer")
    clock.pass_(5 * 3600)
    assert accounts.sessions.find(session) is None


class TestThrottle:
    """Names, addresses, waits."""

    def test_waits_grow(self, clock: Clock) -> None:
        throttle, waits = Throttle(3, clock), []
        for _ in range(9):
            throttle.begin("ada", "192.0.2.1")
            with_wait = self.wait(throttle, "ada", "192.0.2.1")
            waits.append(with_wait)
            clock.pass_(with_wait)
        assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 64]

    def test_at_most_and_forgotten(self, clock: Clock) -> None:
        throttle = Throttle(1, clock)
        for _ in range(40):
            clock.pass_(self.wait(throttle, "x", "192.0.2.1"))
            throttle.begin("x", "192.0.2.1")
        assert self.wait(throttle, "x", "192.0.2.1") == 900
        assert self.wait(throttle, "x", "192.0.2.2") == 60, "a name that others try is held back for less"
        clock.pass_(3601)
        throttle.begin("x", "192.0.2.1")
        assert self.wait(throttle, "x", "192.0.2.1") == 1

    def test_the_owner_is_not_locked_out(self, clock: Clock) -> None:
        throttle = Throttle(3, clock)
        throttle.begin("ada", "10.0.0.1")
        throttle.succeeded("ada", "10.0.0.1")
        for n in range(30):
            if not self.wait(throttle, "ada", f"192.0.2.{n}"):
                throttle.begin("ada", f"192.0.2.{n}")
        assert self.wait(throttle, "ada", "192.0.2.99") > 0
        assert self.wait(throttle, "ada", "10.0.0.1") == 0

    def test_own_account_is_no_way_to_try_others(self, clock: Clock) -> None:
        throttle = Throttle(3, clock)
        tried = 0
        for n in range(20):
            if self.wait(throttle, "mallory", "192.0.2.1"):
                break
            throttle.begin("mallory", "192.0.2.1")
            throttle.succeeded("mallory", "192.0.2.1")
            if self.wait(throttle, f"victim{n}", "192.0.2.1"):
                break
            throttle.begin(f"victim{n}", "192.0.2.1")
            tried += 1
        assert tried <= 4

    def test_one_who_has_ipv6_has_many_addresses(self, clock: Clock) -> None:
        throttle = Throttle(2, clock)
        for n in range(2):
            throttle.begin(f"u{n}", f"2001:db8::{n}")
        assert self.wait(throttle, "u9", "2001:db8::9") > 0
        assert self.wait(throttle, "u9", "2001:db8:0:1::9") == 0
        for n in range(2):
            throttle.begin(f"v{n}", "::ffff:192.0.2.1")
        assert self.wait(throttle, "v9", "192.0.2.1") > 0

    def test_memory_is_bounded(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hepcat.web.accounts.throttle.MOST", 500)
        throttle = Throttle(5, clock)
        for n in range(1_500):
            throttle.begin(f"{n}" * 100, f"2001:db8:{n % 65536:x}:{n // 65536}::1")
            throttle.succeeded(f"{n}", f"2001:db8:{n % 65536:x}::1")
        assert 450 < len(throttle._records) <= 500
        assert len(throttle._known) == 500
        assert max(map(len, throttle._records)) < 200

    def test_many_at_once_are_no_way_around(self, clock: Clock) -> None:
        throttle, allowed = Throttle(5, clock), []

        def attempt() -> None:
            try:
                throttle.begin("ada", "192.0.2.1")
            except TooMany:
                return
            allowed.append(1)

        threads = [threading.Thread(target=attempt) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(allowed) == 5

    @staticmethod
    def wait(throttle: Throttle, name: str, peer: str) -> int:
        """Return the seconds that an attempt would have to wait; counts none."""
        from hepcat.web.accounts.throttle import network_of

        keys = throttle._keys(name, network_of(peer))
        now = throttle._clock()
        left = max(
            (throttle._records[key].until - now for key, _ in keys if key in throttle._records), default=0
        )
        return max(0, round(left))
