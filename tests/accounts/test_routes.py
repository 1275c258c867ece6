"""Every route of the application, asked by everybody; a new one without a rule here is for viewers."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from hepcat.config.settings import Settings
from hepcat.web.accounts import Accounts
from hepcat.web.app import make_app
from hepcat.web.site import Site, SiteOptions
from tests.accounts.support import OTHER, PASSWORD, accounts_of, log_in, page, settings_in, shown

#: Answered to everybody: pages and their parts hold no data; who is logged in, and logging in.
PUBLIC: Final = {
    ("GET", "/"),
    ("GET", "/account"),
    ("GET", "/api/docs"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/session"),
    ("DELETE", "/api/session"),
    ("POST", "/api/session"),
    ("GET", "/auth/oidc/callback"),
    ("GET", "/auth/oidc/login"),
    ("GET", "/call"),
    ("GET", "/dashboard"),
    ("GET", "/favicon.ico"),
    ("GET", "/healthz"),
    ("GET", "/login"),
    ("GET", "/static/{name:path}"),
    ("GET", "/status"),
}
#: Change something for all.
ADMIN: Final = {("POST", "/api/capture"), ("POST", "/api/reload")}
#: Change one's own; for sessions with a password only.
OWN: Final = {
    ("GET", "/api/tokens"),
    ("POST", "/api/tokens"),
    ("DELETE", "/api/tokens/{token}"),
    ("POST", "/api/session/password"),
}
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("POST", "/api/capture"): {"mode": "off"},
    ("POST", "/api/tokens"): {"name": "x", "days": -1},
    ("POST", "/api/session/password"): {"old": "x", "new": 1},
    ("POST", "/api/session"): {"user": "x", "password": "x"},
}


def routes() -> list[tuple[str, str]]:
    app = make_app(Site(SiteOptions(Settings())))
    found = set()
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            if method not in ("HEAD", "OPTIONS"):
                found.add((method, str(route.path)))
    return sorted(found)


ROUTES: Final = routes()
GUARDED: Final = [route for route in ROUTES if route not in PUBLIC]


def test_the_walk_sees_the_routes() -> None:
    assert len(ROUTES) > 25
    assert ("GET", "/api/calls") in GUARDED
    assert not (PUBLIC | ADMIN | OWN) - set(ROUTES), "rules for routes that are not there"


def test_whatever_changes_something_has_a_rule() -> None:
    unsafe = {route for route in GUARDED if route[0] not in ("GET", "HEAD")}
    assert unsafe <= ADMIN | OWN


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, two_users: Path) -> Iterator[TestClient]:
    settings = settings_in(tmp_path_factory.mktemp("routes"))
    shutil.copy(two_users, settings.data / "accounts.db")
    with page(settings) as client:
        yield client


@pytest.fixture(scope="module")
def who(client: TestClient) -> dict[str, dict[str, str]]:
    """Return the headers of everybody who may ask."""
    found: dict[str, dict[str, str]] = {"nobody": {}}
    for name, password in (("ada", PASSWORD), ("vic", OTHER)):
        client.cookies.clear()
        session = log_in(client, name, password)
        found[session["role"]] = {**shown(session), "Cookie": f"hepcat={client.cookies.get('hepcat')}"}
        secret, _ = accounts_of(client).tokens.add(name, "t", 1)
        found[f"{session['role']}'s token"] = {"Authorization": f"Bearer {secret}"}
    client.cookies.clear()
    past = Accounts(client.app.state.site.settings, clock=lambda: time.time() - 864_000)  # type: ignore[attr-defined]
    secret, _ = past.tokens.add("ada", "old", 1)
    ended = past.sessions.begin(past.users.check("ada", PASSWORD))  # type: ignore[arg-type]
    past.close()
    found["expired token"] = {"Authorization": f"Bearer {secret}"}
    found["made-up token"] = {"Authorization": "Bearer hepcat_" + "A" * 43}
    found["expired session"] = {**found["admin"], "Cookie": f"hepcat={ended}"}
    return found


def ask(client: TestClient, route: tuple[str, str], headers: dict[str, str]) -> tuple[int, Any]:
    """Ask in a way that searches nothing: what is let in meets a query that cannot be read."""
    method, path = route
    path = re.sub(r"\{[^}]*\}", "999999", path)
    answer = client.request(
        method, path, headers=headers, json=BODIES.get(route), params={"q": "((", "id": "none", "by": "?"}
    )
    client.cookies.clear()
    kind = ""
    if answer.headers.get("content-type") == "application/problem+json":
        kind = answer.json()["type"].rpartition("#problem-")[2]
    return answer.status_code, kind


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_route(client: TestClient, who: dict[str, dict[str, str]], route: tuple[str, str]) -> None:
    for name in ("nobody", "expired token", "made-up token", "expired session"):
        assert ask(client, route, who[name])[0] == 401, name
    for name in ("admin", "viewer", "admin's token", "viewer's token"):
        status, kind = ask(client, route, who[name])
        if route in ADMIN and name.startswith("viewer"):
            assert (status, kind) == (403, "role"), name
        elif route in OWN and name.endswith("token"):
            assert (status, kind) == (403, "own-account") or status == 400, name
        else:
            assert status not in (401, 403, 500), (name, status, kind)


@pytest.mark.parametrize("route", sorted(PUBLIC), ids=" ".join)
def test_public_route(client: TestClient, who: dict[str, dict[str, str]], route: tuple[str, str]) -> None:
    status, kind = ask(client, route, who["nobody"])
    if route == ("POST", "/api/session"):
        assert (status, kind) in ((401, "password"), (429, "attempts"))
    else:
        assert status not in (401, 403, 500)


@pytest.mark.parametrize("route", [route for route in GUARDED if route[0] != "GET"], ids=" ".join)
def test_unsafe_route_needs_the_pages_proof(
    client: TestClient, who: dict[str, dict[str, str]], route: tuple[str, str]
) -> None:
    without = {name: value for name, value in who["admin"].items() if name != "X-CSRF-Token"}
    assert ask(client, route, without) == (403, "csrf")
    assert ask(client, route, {**who["admin"], "Sec-Fetch-Site": "cross-site"}) == (403, "origin")


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_answer_has_the_headers(
    client: TestClient, who: dict[str, dict[str, str]], route: tuple[str, str]
) -> None:
    path = re.sub(r"\{[^}]*\}", "1", route[1])
    answer = client.request(route[0], path, headers=who["nobody"])
    client.cookies.clear()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
    html = answer.headers.get("content-type", "").startswith("text/html")
    if path.startswith("/api/") and not html:
        assert answer.headers["cache-control"] == "no-store"
    if html:
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_open_metrics(tmp_path: Path, two_users: Path) -> None:
    for text, status in (("", 401), ("[web]\nopen_metrics = true", 503)):  # 503: no server runs
        settings = settings_in(tmp_path, text)
        shutil.copy(two_users, settings.data / "accounts.db")
        with page(settings) as client:
            assert client.get("/metrics").status_code == status


def test_a_file_that_is_as_before_keeps_its_policy(client: TestClient) -> None:
    """A browser lays the headers of 304 over those it has."""
    first = client.get("/login")
    assert "script-src 'self'" in first.headers["content-security-policy"]
    again = client.get("/login", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert "content-security-policy" not in again.headers


def test_bodies_are_bounded(client: TestClient) -> None:
    long = b'{"user": "ada", "password": "' + b"x" * 1_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/session", content=long, headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    pieces = client.post("/api/session", content=iter([long[:60_000]] * 10), headers=headers)
    assert pieces.status_code == 413, "without a Content-Length too"
