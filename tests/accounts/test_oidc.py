"""OpenID Connect against a real provider (npm's oidc-provider): the whole flow, and what is forged."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from hepcat.config.web import OidcSettings
from hepcat.web.oidc import Identity, Provider, Ticket
from hepcat.web.oidc_fetch import OidcError
from hepcat.web.routes.oidc import own_path
from tests.accounts.support import HERE, OWN_PAGE, accounts_of, page, settings_in, shown
from tests.peers.install import NODE_MODULES, install_node_module
from tests.support import free_port, program, wait_for
from tests.web.support import Site, chromium, expect, open_page

SECRET = "the client's own secret"
GROUPS = {"ada": ["sip-admins", "staff"], "vic": ["staff"], "eve": ["sales"]}
CALLBACK = f"{HERE}/auth/oidc/callback"


@contextmanager
def provider(folder: Path, **options: Any) -> Iterator[str]:
    """Run a provider; gives its issuer."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    why = install_node_module("oidc-provider")
    if why:
        pytest.skip(why)
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    clients = [
        {"client_id": "hepcat", "client_secret": SECRET, "redirect_uris": [CALLBACK]},
        {"client_id": "another", "client_secret": SECRET, "redirect_uris": [CALLBACK]},
    ]
    given = {
        "port": port,
        "issuer": issuer,
        "modules": str(NODE_MODULES),
        "groups": GROUPS,
        "clients": clients,
        "claims_in_userinfo": True,
        **options,
    }
    script = Path(__file__).with_name("provider.mjs")
    log = folder / "provider.log"
    with program(["node", str(script), json.dumps(given)], log=log) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return "listening" in log.read_text()

        wait_for(ready, 60, "provider ready")
        yield issuer


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with provider(tmp_path_factory.mktemp("provider")) as issuer:
        yield issuer


def configuration(issuer: str, **more: str) -> str:
    settings = {
        "issuer": issuer,
        "client_id": "hepcat",
        "client_secret": SECRET,
        "name": "Example Corp",
        "admins": ["sip-admins"],
        "viewers": ["staff"],
        **more,
    }
    return "[web.oidc]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())


@pytest.fixture
def client(issuer: str, tmp_path: Path) -> Iterator[TestClient]:
    with page(settings_in(tmp_path, configuration(issuer))) as client:
        yield client


def at_provider(start: str, user: str) -> str:
    """Do what a person does at the provider: log in, agree. Return where the browser is sent back to."""
    with httpx.Client(follow_redirects=False, timeout=60) as browser:
        answer = browser.get(start)
        for _ in range(12):
            if answer.is_redirect:
                there = urljoin(str(answer.url), answer.headers["location"])
                if there.startswith(CALLBACK):
                    return there
                answer = browser.get(there)
                continue
            assert answer.status_code == 200, answer.text
            action = re.search(r'action="([^"]+)"', answer.text)
            assert action, answer.text
            form = {"prompt": "login", "login": user, "password": "any"}
            if 'name="login"' not in answer.text:
                form = {"prompt": "consent"}
            answer = browser.post(urljoin(str(answer.url), action[1]), data=form)
    raise AssertionError("the provider does not come to an end")


def begin(client: TestClient, next_path: str = "/") -> str:
    answer = client.get("/auth/oidc/login", params={"next": next_path})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.mark.parametrize(("user", "role"), [("ada", "admin"), ("vic", "viewer")])
def test_the_whole_flow(client: TestClient, user: str, role: str) -> None:
    start = begin(client, "/call?id=a%40b")
    asked = parse_qs(urlsplit(start).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    assert asked["redirect_uri"] == [CALLBACK]
    assert len(asked["state"][0]) >= 43
    assert len(asked["nonce"][0]) >= 43
    answer = client.get(local(at_provider(start, user)))
    assert answer.status_code == 303
    assert answer.headers["location"] == "/call?id=a%40b"
    assert client.cookies.get("hepcat-oidc") is None, "the ticket is used up"
    session = client.get("/api/session").json()
    assert (session["user"], session["role"], session["via"]) == (user, role, "oidc")
    assert session["login"] == {"password": False, "oidc": "Example Corp"}
    assert client.get("/api/calls").status_code == 200
    reload = client.post("/api/reload", headers=shown(session))
    assert reload.status_code == (503 if role == "admin" else 403)  # 503: no server runs on this lake
    assert client.post("/api/tokens", json={"name": "x"}, headers=shown(session)).status_code == 403
    assert client.delete("/api/session", headers=shown(session)).status_code == 204
    assert client.get("/api/calls").status_code == 401


def test_the_ticket_is_the_browsers_own(client: TestClient) -> None:
    answer = client.get("/auth/oidc/login")
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert flags == {"httponly", "path=/", "samesite=lax", "max-age=600"}


def test_without_a_role_nobody_gets_in(client: TestClient) -> None:
    answer = client.get(local(at_provider(begin(client), "eve")))
    assert answer.headers["location"] == "/login?problem=role&next=%2F"
    assert client.cookies.get("hepcat") is None
    assert client.get("/api/calls").status_code == 401


def test_everyone_may_look(issuer: str, tmp_path: Path) -> None:
    with page(settings_in(tmp_path, configuration(issuer, viewers=["*"]))) as client:  # type: ignore[arg-type]
        assert client.get(local(at_provider(begin(client), "eve"))).headers["location"] == "/"
        assert client.get("/api/session").json()["role"] == "viewer"


def test_not_open_though_there_are_no_accounts(client: TestClient) -> None:
    assert client.get("/api/calls").status_code == 401
    assert client.get("/api/session").json()["open"] is False


def test_claims_in_the_id_token(tmp_path: Path) -> None:
    with (
        provider(tmp_path, claims_in_userinfo=False) as issuer,
        page(settings_in(tmp_path, configuration(issuer))) as client,
    ):
        assert client.get(local(at_provider(begin(client), "ada"))).headers["location"] == "/"
        assert client.get("/api/session").json()["role"] == "admin"


def failed(client: TestClient, path: str) -> str:
    """Return the reason for which a callback leads to the login page and to no session."""
    answer = client.get(path)
    assert answer.status_code == 303
    assert "hepcat=" not in re.sub(r"hepcat-oidc=", "", answer.headers.get("set-cookie", ""))
    where = urlsplit(answer.headers["location"])
    assert where.path == "/login"
    return parse_qs(where.query)["problem"][0]


def test_forged_state(client: TestClient) -> None:
    back = at_provider(begin(client), "ada")
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert failed(client, local(back.replace(state, state[::-1]))) == "state"


def test_another_browsers_answer(client: TestClient) -> None:
    """Login CSRF: a link with somebody else's code, in a browser that began none, or a login of its own."""
    back = at_provider(begin(client), "ada")
    client.cookies.clear()
    assert failed(client, local(back)) == "state"
    begin(client)
    assert failed(client, local(back)) == "state"


def test_forged_ticket(client: TestClient) -> None:
    back = at_provider(begin(client), "ada")
    head, claims, signature = (client.cookies.get("hepcat-oidc") or "").split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for forged in (f"{none}.{claims}.", f"{head}.{claims}.{signature[::-1]}", "x", "..", ""):
        client.cookies.clear()
        client.cookies.set("hepcat-oidc", forged, domain="127.0.0.1")
        assert failed(client, local(back)) == "state"


def test_a_code_is_good_once_and_for_its_login(client: TestClient) -> None:
    back = at_provider(begin(client), "ada")
    ticket = client.cookies.get("hepcat-oidc") or ""
    assert client.get(local(back)).headers["location"] == "/"
    client.cookies.clear()
    client.cookies.set("hepcat-oidc", ticket, domain="127.0.0.1")
    assert failed(client, local(back)) == "refused"
    other = at_provider(begin(client), "ada")
    mine = begin(client)
    stolen = parse_qs(urlsplit(other).query)["code"][0]
    state = parse_qs(urlsplit(mine).query)["state"][0]
    assert failed(client, f"/auth/oidc/callback?code={stolen}&state={state}") == "refused", "PKCE"


def test_what_the_provider_says_no_to(client: TestClient) -> None:
    start = begin(client)
    state = parse_qs(urlsplit(start).query)["state"][0]
    assert failed(client, f"/auth/oidc/callback?error=access_denied&state={state}") == "refused"
    start = begin(client)
    state = parse_qs(urlsplit(start).query)["state"][0]
    assert failed(client, f"/auth/oidc/callback?code=made-up&state={state}") == "refused"


def test_another_issuers_answer(client: TestClient) -> None:
    back = at_provider(begin(client), "ada")
    there = parse_qs(urlsplit(back).query)
    path = f"/auth/oidc/callback?code={there['code'][0]}&state={there['state'][0]}&iss=https://evil.example"
    assert failed(client, path) == "state"


def settings_of(issuer: str, **more: Any) -> OidcSettings:
    values = {"issuer": issuer, "client_id": "hepcat", "client_secret": SECRET, "viewers": ("*",), **more}
    return OidcSettings.model_validate(values)


async def answer_of(provider: Provider) -> tuple[dict[str, Any], Ticket, dict[str, Any]]:
    """Go through a real login; return the token endpoint's answer, the ticket, the description."""
    begun = await provider.begin(CALLBACK, "/")
    ticket = provider.read_ticket(begun.ticket)
    back = await asyncio.to_thread(at_provider, begun.url, "ada")
    description = await provider._description.get()
    async with provider._client(description, CALLBACK) as asking:
        answer = await asking.fetch_token(
            description["token_endpoint"],
            grant_type="authorization_code",
            code=parse_qs(urlsplit(back).query)["code"][0],
            code_verifier=ticket.verifier,
            redirect_uri=CALLBACK,
        )
    return dict(answer), ticket, description


def refused(provider: Provider, answer: dict[str, Any], ticket: Ticket, description: dict[str, Any]) -> str:
    async def verify() -> None:
        provider._keys._lock = provider._description._lock = None  # of another event loop
        await provider._verified(answer, description, ticket)

    with pytest.raises(OidcError) as error:
        asyncio.run(verify())
    assert error.value.reason == "token"
    return str(error.value)


def test_id_tokens_that_are_not_good(issuer: str) -> None:
    """A real ID token, looked at by one who expects another, later, or after it was changed."""
    answer, ticket, description = asyncio.run(answer_of(Provider(settings_of(issuer))))

    async def good() -> dict[str, Any]:
        return await Provider(settings_of(issuer))._verified(answer, description, ticket)

    assert asyncio.run(good())["sub"] == "ada"
    mine = Provider(settings_of(issuer))
    other = Ticket(ticket.state, "another nonce", ticket.verifier, "/")
    assert "nonce" in refused(mine, answer, other, description)
    assert "aud" in refused(Provider(settings_of(issuer, client_id="another")), answer, ticket, description)
    late = Provider(settings_of(issuer), clock=lambda: 4_000_000_000.0)
    assert "expired" in refused(late, answer, ticket, description)
    elsewhere = Provider(settings_of(issuer))
    elsewhere._issuer = "https://elsewhere.example"
    elsewhere._keys = mine._keys
    assert "iss" in refused(elsewhere, answer, ticket, description)
    head, claims, signature = answer["id_token"].split(".")
    changed = base64.urlsafe_b64encode(
        json.dumps({**json.loads(base64.urlsafe_b64decode(claims + "==")), "sub": "root"}).encode()
    ).rstrip(b"=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    secret = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    for forged in (
        f"{head}.{changed.decode()}.{signature}",
        f"{none}.{changed.decode()}.",
        f"{secret}.{changed.decode()}.{signature}",
        "x",
        None,
    ):
        refused(mine, {**answer, "id_token": forged}, ticket, description)
    greedy = {**description, "id_token_signing_alg_values_supported": ["none", "HS256"]}
    refused(mine, {**answer, "id_token": f"{none}.{claims}."}, ticket, greedy)


def test_a_ticket_does_not_last(issuer: str) -> None:
    times = [1_800_000_000.0]
    provider = Provider(settings_of(issuer), clock=lambda: times[0])
    begun = asyncio.run(provider.begin(CALLBACK, "/"))
    assert provider.read_ticket(begun.ticket).next == "/"
    times[0] += 601
    with pytest.raises(OidcError, match="longer than"):
        provider.read_ticket(begun.ticket)
    with pytest.raises(OidcError, match="none of ours"):
        Provider(settings_of(issuer)).read_ticket(begun.ticket)


def test_provider_away(tmp_path: Path) -> None:
    with page(settings_in(tmp_path, configuration(f"http://127.0.0.1:{free_port()}"))) as client:
        answer = client.get("/auth/oidc/login", params={"next": "/dashboard"})
        assert answer.headers["location"] == "/login?problem=away&next=%2Fdashboard"


def test_provider_of_another_name(issuer: str, tmp_path: Path) -> None:
    text = configuration(issuer.replace("127.0.0.1", "localhost"))
    with page(settings_in(tmp_path, text)) as client:
        assert client.get("/auth/oidc/login").headers["location"].startswith("/login?problem=away")


def test_not_configured(tmp_path: Path) -> None:
    with page(settings_in(tmp_path)) as client:
        assert client.get("/auth/oidc/login").status_code == 404
        assert client.get("/auth/oidc/callback").status_code == 404


def test_no_account_of_the_same_name_is_touched(client: TestClient) -> None:
    """Whom the provider calls ada is not our user ada."""
    accounts_of(client).users.add("ada", "correct horse battery", "viewer")
    client.get(local(at_provider(begin(client), "ada")))
    session = client.get("/api/session").json()
    assert (session["via"], session["role"]) == ("oidc", "admin")
    change = {"old": "correct horse battery", "new": "another password"}
    assert client.post("/api/session/password", json=change, headers=shown(session)).status_code == 403
    accounts_of(client).users.set_disabled("ada", True)
    assert client.get("/api/session").json()["user"] == "ada", "the provider's ada is another"


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/\t/evil.example", "/login?x",
     "/a\r\nSet-Cookie: x=y", "/api/session", "/auth/oidc/login", "/" + "a" * 3000, "/ä"],
)  # fmt: skip
def test_redirects_to_own_pages_only(path: str) -> None:
    assert own_path(path) == "/"


@pytest.mark.parametrize("path", ["/", "/call?id=a%40b&id=c", "/?q=method%3AINVITE#x", "/dashboard"])
def test_own_pages(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["a"]}, "admin"),
        ({"groups": "a"}, "admin"),
        ({"groups": ["b", "a"]}, "admin"),
        ({"groups": ["v"]}, "viewer"),
        ({"groups": ["A"]}, None),
        ({"groups": None}, None),
        ({"groups": {"a": 1}}, None),
        ({"groups": [["a"]]}, None),
        ({}, None),
    ],
)
def test_roles(claims: dict[str, Any], role: str | None) -> None:
    provider = Provider(settings_of("https://id.example", admins=("a",), viewers=("v",)))
    claims = {"sub": "s", "preferred_username": "n", **claims}
    if role is None:
        with pytest.raises(OidcError) as error:
            provider._identity(claims)
        assert error.value.reason == "role"
    else:
        assert provider._identity(claims) == Identity("n", role)  # type: ignore[arg-type]


def test_names_and_nested_roles() -> None:
    provider = Provider(
        settings_of("https://id.example", role_claim="realm_access.roles", admins=("root",), viewers=())
    )
    claims = {"sub": "s-1", "realm_access": {"roles": ["root"]}}
    assert provider._identity(claims) == Identity("s-1", "admin")
    hostile = {**claims, "preferred_username": "a\x1b[2J\u202e<b>" + "x" * 500}
    assert provider._identity(hostile).name.startswith("a[2J<b>x")
    assert len(provider._identity(hostile).name) == 128


def test_headers_of_a_page_that_is_none(client: TestClient) -> None:
    answer = client.get("/auth/oidc/login", headers=OWN_PAGE)
    assert answer.headers["cache-control"] == "no-store"
    assert "form-action 'none'" in answer.headers["content-security-policy"]


def test_in_a_browser(tmp_path: Path) -> None:
    """The button, the provider's own pages, and back to where one wanted to go, logged in."""
    settings = settings_in(tmp_path)
    site = Site(settings.data, tmp_path, "--config", str(tmp_path / "hepcat.toml"))
    redirect = {
        "client_id": "hepcat",
        "client_secret": SECRET,
        "redirect_uris": [f"{site.url}/auth/oidc/callback"],
    }
    with provider(tmp_path, clients=[redirect]) as issuer:
        settings_in(tmp_path, configuration(issuer))
        with site, chromium() as browser:
            page = open_page(browser, f"{site.url}/account?a=b")
            button = page.get_by_role("link", name="Log in with Example Corp")
            button.wait_for()
            expect(page.get_by_label("Password")).to_be_hidden()
            button.click()
            page.fill("input[name=login]", "ada")
            page.fill("input[name=password]", "any")
            page.click("button[type=submit]")
            page.get_by_role("button", name="Continue").click()
            page.wait_for_url(f"{site.url}/account?a=b")
            page.get_by_text("You came by single sign-on").wait_for()
            assert page.locator("#who").inner_text().split()[:2] == ["ada", "administrator"]
            page.get_by_role("button", name="Log out").click()
            page.wait_for_url("**/login")
            page.goto(f"{site.url}/login?problem=role")
            page.get_by_text("you have no role here").wait_for()
            page.goto(f"{site.url}/login?problem=constructor")
            page.get_by_text("The login came to nothing.").wait_for()
