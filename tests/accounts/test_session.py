"""Logging in and out over HTTP: cookies, fixation, CSRF, rate, who may when there are no accounts."""

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hepcat.web.problems import Problem
from hepcat.web.routes.session import _Comparing
from tests.accounts.support import (
    HERE,
    OTHER,
    OWN_PAGE,
    PASSWORD,
    accounts_of,
    log_in,
    page,
    settings_in,
    shown,
)

pytestmark = pytest.mark.usefixtures("cheap_hashing")


@pytest.fixture
def client(tmp_path: Path, two_users: Path) -> Iterator[TestClient]:
    """The page with two users, ada (admin) and vic (viewer)."""
    settings = settings_in(tmp_path)
    shutil.copy(two_users, settings.data / "accounts.db")
    with page(settings) as client:
        yield client


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[TestClient]:
    """The page without accounts."""
    with page(settings_in(tmp_path)) as client:
        yield client


def test_the_session_is_described(client: TestClient) -> None:
    before = client.get("/api/session").json()
    assert before["user"] is None
    assert before["csrf"] is None
    assert before["login"] == {"password": True, "oidc": None}
    assert log_in(client, "ada")["role"] == "admin"
    after = client.get("/api/session").json()
    assert (after["user"], after["role"], after["via"], after["open"]) == ("ada", "admin", "session", False)
    assert len(after["csrf"]) == 43


def test_cookie_flags(client: TestClient) -> None:
    answer = client.post("/api/session", json={"user": "ada", "password": PASSWORD}, headers=OWN_PAGE)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("hepcat=")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {"httponly", "path=/", "samesite=lax"}
    assert answer.headers["cache-control"] == "no-store"


def test_cookie_flags_behind_tls(tmp_path: Path) -> None:
    with page(settings_in(tmp_path, '[web]\npublic_url = "https://sip.example.org"'), base=HERE) as client:
        accounts_of(client).users.add("ada", PASSWORD, "admin")
        answer = client.post("/api/session", json={"user": "ada", "password": PASSWORD}, headers=OWN_PAGE)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-hepcat=")
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert flags == {"httponly", "path=/", "samesite=lax", "secure"}
    assert answer.headers["strict-transport-security"].startswith("max-age=")


def test_wrong_in_the_same_words(client: TestClient) -> None:
    told = [
        client.post("/api/session", json={"user": user, "password": password}, headers=OWN_PAGE)
        for user, password in (
            ("ada", "wrong password"),
            ("nobody", PASSWORD),
            ("ada\u0000", PASSWORD),
            ("", ""),
        )
    ]
    assert {answer.status_code for answer in told} == {401}
    assert len({answer.text for answer in told}) == 1
    assert not any("set-cookie" in answer.headers for answer in told)


def test_login_makes_a_new_id(client: TestClient) -> None:
    """Whoever left a session in the browser cannot use it afterwards, nor one that was made up."""
    client.cookies.set("hepcat", "A" * 43, domain="127.0.0.1")
    log_in(client, "vic", OTHER)
    first = client.cookies.get("hepcat")
    assert first != "A" * 43
    log_in(client, "ada")
    second = client.cookies.get("hepcat")
    assert second != first
    client.cookies.set("hepcat", first or "", domain="127.0.0.1")
    assert client.get("/api/calls").status_code == 401


def test_logout_ends_the_session_in_the_store(client: TestClient) -> None:
    session = log_in(client, "ada")
    cookie = client.cookies.get("hepcat") or ""
    assert client.get("/api/calls").status_code == 200
    assert client.delete("/api/session", headers=shown(session)).status_code == 204
    assert client.cookies.get("hepcat") is None
    client.cookies.set("hepcat", cookie, domain="127.0.0.1")
    assert client.get("/api/calls").status_code == 401
    assert accounts_of(client).sessions.find(cookie) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": "{csrf}"},
        OWN_PAGE,
        {**OWN_PAGE, "X-CSRF-Token": "no"},
        {"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": "{csrf}", "Sec-Fetch-Site": "same-site"},
        {"X-CSRF-Token": "{csrf}", "Origin": "http://evil.example"},
        {"X-CSRF-Token": "{csrf}", "Origin": "null"},
        {"X-CSRF-Token": "{csrf}", "Origin": "http://127.0.0.1:9081"},
        {"X-CSRF-Token": "{csrf}", "Origin": "http://[", "Host": "["},
    ],
)
def test_forged_requests_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    session = log_in(client, "ada")
    sent = {name: value.replace("{csrf}", session["csrf"]) for name, value in headers.items()}
    answer = client.post("/api/tokens", json={"name": "x"}, headers=sent)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert accounts_of(client).tokens.list() == []


@pytest.mark.parametrize("origin", [OWN_PAGE, {"Origin": HERE}])
def test_requests_of_our_page_are_taken(client: TestClient, origin: dict[str, str]) -> None:
    session = log_in(client, "ada")
    sent = {**origin, "X-CSRF-Token": session["csrf"]}
    assert client.post("/api/tokens", json={"name": "x"}, headers=sent).status_code == 201


def test_the_origin_behind_a_proxy(tmp_path: Path) -> None:
    text = '[web]\npublic_url = "http://sip.example.org:8080"'
    with page(settings_in(tmp_path, text)) as client:
        accounts_of(client).users.add("ada", PASSWORD, "admin")
        session = log_in(client, "ada")
        for origin, status in (("http://sip.example.org:8080", 201), ("http://sip.example.org", 403)):
            sent = {"Origin": origin, "X-CSRF-Token": session["csrf"]}
            assert client.post("/api/tokens", json={"name": "x"}, headers=sent).status_code == status


def test_another_site_cannot_log_its_visitors_in(client: TestClient) -> None:
    login = {"user": "ada", "password": PASSWORD}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = client.post("/api/session", json=login, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_attempts_are_limited(client: TestClient) -> None:
    """By name: also from elsewhere; by address: also with other names."""
    wrong = [
        client.post("/api/session", json={"user": "ada", "password": f"no {n}"}, headers=OWN_PAGE)
        for n in range(6)
    ]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
    assert int(wrong[-1].headers["retry-after"]) >= 1
    right = client.post("/api/session", json={"user": "vic", "password": OTHER}, headers=OWN_PAGE)
    assert right.status_code == 429
    assert "hepcat user password" in right.json()["hint"]


def test_open_without_accounts(empty: TestClient) -> None:
    session = empty.get("/api/session").json()
    assert session["open"] is True
    assert (session["via"], session["role"]) == ("open", "admin")
    assert empty.get("/api/calls").status_code == 200
    assert empty.post("/api/session", json={"user": "a", "password": "b"}).status_code == 409
    assert empty.post("/api/tokens", json={"name": "x"}).status_code == 403


def test_the_first_account_closes_the_door(empty: TestClient) -> None:
    assert empty.get("/api/calls").status_code == 200
    accounts = accounts_of(empty)
    accounts.users.add("ada", PASSWORD, "admin")
    assert empty.get("/api/calls").status_code == 401
    accounts.users.remove("ada")
    assert empty.get("/api/calls").status_code == 401, "removing the last account opens nothing"


def test_a_disabled_account_is_an_account(empty: TestClient) -> None:
    accounts_of(empty).users.add("ada", PASSWORD, "admin")
    accounts_of(empty).users.set_disabled("ada", True)
    assert empty.get("/api/calls").status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9080", 200),
        ("localhost:9080", 200),
        ("LOCALHOST", 200),
        ("[::1]:9080", 200),
        ("hepcat.localhost", 200),
        ("127.1.2.3", 200),
        ("rebound.example.org:9080", 421),
        ("127.0.0.1.example.org", 421),
        ("localhost.example.org", 421),
        ("192.0.2.1:9080", 421),
        ("127.0.0.1@evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_names_of_strangers_in_open_mode(empty: TestClient, host: str, status: int) -> None:
    """DNS rebinding: a page elsewhere whose name turned into 127.0.0.1."""
    assert empty.get("/api/calls", headers={"Host": host}).status_code == status
    assert empty.get("/api/session", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "", "testclient"])
def test_strangers_in_open_mode(tmp_path: Path, peer: str) -> None:
    with page(settings_in(tmp_path), peer=peer) as client:
        assert client.get("/api/calls").status_code == 403
        assert client.post("/api/capture", json={"mode": "off"}).status_code == 403


def test_a_page_with_a_public_address_is_never_open(tmp_path: Path) -> None:
    """Also where the last account is removed, and whatever a proxy leaves out."""
    with page(settings_in(tmp_path, '[web]\npublic_url = "https://sip.example.org"\n')) as client:
        assert client.get("/api/calls").status_code == 403
    with page(settings_in(tmp_path, '[web]\npublic_url = "http://localhost:9080"\n')) as client:
        assert client.get("/api/session").status_code == 200


def test_whom_a_provider_vouched_for_once(tmp_path: Path, two_users: Path) -> None:
    """Their sessions end with the provider's being configured."""
    settings = settings_in(tmp_path)
    shutil.copy(two_users, settings.data / "accounts.db")
    with page(settings) as client:
        accounts = accounts_of(client)
        client.cookies.set("hepcat", accounts.sessions.begin_foreign("ada", "admin"))
        assert client.get("/api/stores").status_code == 401


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"])
def test_a_proxy_is_nobody_of_this_machine(empty: TestClient, name: str) -> None:
    assert empty.get("/api/calls", headers={name: "127.0.0.1"}).status_code == 403


def test_other_sites_in_open_mode(empty: TestClient) -> None:
    """Neither may they change anything, nor make the server search; links are followed."""
    switch = {"mode": "off"}
    for headers in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "http://localhost:3000"}):
        assert empty.post("/api/capture", json=switch, headers=headers).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert empty.get("/api/calls", headers={**cross, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert empty.get("/api/calls", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_password_is_changed(client: TestClient) -> None:
    session = log_in(client, "vic", OTHER)
    accounts = accounts_of(client)
    secret, _ = accounts.tokens.add("vic", "t", 1)
    other = accounts.users.find("vic")
    assert other is not None
    elsewhere = accounts.sessions.begin(other)
    assert elsewhere is not None
    path, new = "/api/session/password", "a much longer one"
    wrong = client.post(path, json={"old": "no", "new": new}, headers=shown(session))
    assert (wrong.status_code, wrong.json()["title"]) == (403, "Not allowed")
    weak = client.post(path, json={"old": OTHER, "new": "short"}, headers=shown(session))
    assert weak.status_code == 400
    assert client.post(path, json={"old": OTHER, "new": new}, headers=shown(session)).status_code == 204
    assert client.get("/api/session").json()["user"] == "vic", "the browser at hand stays logged in"
    assert accounts.sessions.find(elsewhere) is None
    assert accounts.tokens.find(secret) is None
    assert accounts.users.check("vic", OTHER) is None
    assert accounts.users.check("vic", new)


def test_old_password_cannot_be_guessed(client: TestClient) -> None:
    """A session left open is no way to find the password out."""
    session = log_in(client, "vic", OTHER)
    codes = [
        client.post(
            "/api/session/password", json={"old": f"no {n}", "new": "x" * 12}, headers=shown(session)
        ).status_code
        for n in range(6)
    ]
    assert codes == [403] * 5 + [429]


def test_tokens(client: TestClient) -> None:
    session = log_in(client, "ada")
    made = client.post(
        "/api/tokens", json={"name": "ci", "days": 2, "role": "viewer"}, headers=shown(session)
    ).json()
    assert made["secret"].startswith("hepcat_")
    listed = client.get("/api/tokens").json()["tokens"]
    assert [token["name"] for token in listed] == ["ci"]
    assert "secret" not in listed[0]
    client.cookies.clear()
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    assert client.get("/api/calls", headers=bearer).status_code == 200
    assert client.get("/api/session", headers=bearer).json()["via"] == "token"
    assert client.post("/api/reload", headers=bearer).status_code == 403, "a viewer's token"
    assert client.post("/api/tokens", json={"name": "more"}, headers=bearer).status_code == 403
    log_in(client, "ada")
    again = client.get("/api/session").json()
    gone = client.delete(f"/api/tokens/{made['token']['id']}", headers=shown(again))
    assert gone.status_code == 204
    wrong = client.get("/api/calls", headers=bearer)
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_tokens_of_others_are_theirs(client: TestClient) -> None:
    _, token = accounts_of(client).tokens.add("vic", "t", 1)
    session = log_in(client, "ada")
    assert client.get("/api/tokens").json()["tokens"] == []
    assert client.delete(f"/api/tokens/{token.id}", headers=shown(session)).status_code == 404
    assert len(accounts_of(client).tokens.list("vic")) == 1
    viewer = client.post("/api/tokens", json={"name": "t", "role": "owner"}, headers=shown(session))
    assert viewer.status_code == 400


def test_a_viewer_makes_no_token_of_an_administrator(client: TestClient) -> None:
    session = log_in(client, "vic", OTHER)
    answer = client.post("/api/tokens", json={"name": "t", "role": "admin"}, headers=shown(session))
    assert answer.status_code == 400
    assert accounts_of(client).tokens.list() == []


def test_hostile_bodies(client: TestClient) -> None:
    """Whatever is sent to log in with, the answer is a problem document, and holds no password."""
    for body in (
        b"",
        b"[]",
        b"{}",
        b'{"user": 1, "password": {}}',
        b'{"user": "ada", "password": "\\ud800secret"}',
        b'{"user": "\\ud800", "password": "secret"}',
        b'{"user": "ada", "password": "secret", "role": "admin"}',
        b'{"user": "ada", "password": "' + b"secret" * 400 + b'"}',
        b"\xff\xfe",
        b"[" * 60_000,
    ):
        answer = client.post("/api/session", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 401), body[:60]
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
    form = client.post("/api/session", data={"user": "ada", "password": PASSWORD})
    assert form.status_code == 415, "no form of another site can be JSON"


def test_accounts_that_cannot_be_read_let_nobody_in(client: TestClient) -> None:
    log_in(client, "ada")
    path = accounts_of(client).database.path
    path.chmod(0o644)
    accounts_of(client).database.close()
    answer = client.get("/api/calls")
    assert answer.status_code == 503
    assert str(path) not in answer.text
    path.chmod(0o600)
    assert client.get("/api/calls").status_code == 200


def test_many_logins_at_once_are_bounded() -> None:
    """argon2 takes 64 MiB each: two at a time, some wait, the others are told to come back."""
    running, most, refused, done = 0, 0, 0, 0
    mutex = threading.Lock()

    def compare() -> None:
        nonlocal running, most
        with mutex:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with mutex:
            running -= 1

    async def attempt(comparing: _Comparing) -> None:
        nonlocal refused, done
        try:
            await comparing.run(compare)
            done += 1
        except Problem as problem:
            refused += (problem.status, problem.headers["Retry-After"]) == (429, "2")

    async def all_at_once() -> None:
        comparing = _Comparing()
        await asyncio.gather(*(attempt(comparing) for _ in range(100)))

    asyncio.run(all_at_once())
    assert most == 2
    assert (done, refused) == (34, 66)
