"""The login page and one's own account, in a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.web.accounts import Accounts
from tests.accounts.support import OTHER, PASSWORD, settings_in
from tests.web.pictures import keep
from tests.web.support import SCREENSHOTS, Site, chromium, expect, open_page

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, two_users: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    settings = settings_in(folder)
    shutil.copy(two_users, settings.data / "accounts.db")
    os.chmod(settings.data / "accounts.db", 0o600)
    with Site(settings.data, folder) as site:
        yield site


@pytest.fixture
def accounts(site: Site, tmp_path: Path) -> Iterator[Accounts]:
    found = Accounts(settings_in(tmp_path, f'[web]\naccounts = "{site.data / "accounts.db"}"'))
    yield found
    found.close()


def log_in(page: Any, user: str, password: str) -> None:
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def violations(page: Any) -> list[str]:
    """Return what axe-core finds fault with."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_logging_in_leads_back(browser: Any, site: Site) -> None:
    """Without a session a page leads to the login, and the login back to where one wanted to go."""
    page = open_page(browser, f"{site.url}/account?x=1#y")
    page.wait_for_url("**/login?next=*")
    expect(page.get_by_label("User name")).to_be_focused()
    expect(page.locator("#told"), "nobody was here before").to_have_text("")
    expect(page.get_by_role("navigation"), "there is nowhere to go").to_have_count(0)
    page.keyboard.press("Alt+3")
    assert violations(page) == []
    box, button = (page.locator(one).bounding_box() for one in ("main", "button[type=submit]"))
    assert box["y"] + box["height"] - button["y"] - button["height"] < 40, "an empty strip"
    log_in(page, "ada", "wrong password")
    page.get_by_text("The user name or the password is wrong.").wait_for()
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    log_in(page, "ada", PASSWORD)
    page.wait_for_url(f"{site.url}/account?x=1#y")
    page.get_by_role("navigation").wait_for()
    cookies = page.context.cookies()
    assert [(one["name"], one["httpOnly"], one["sameSite"]) for one in cookies] == [("hepcat", True, "Lax")]
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{site.url}/account")
    page.wait_for_url("**/login?next=*")
    assert not [fault for fault in page.faults if "401" not in fault]


def test_live_results_that_end_with_the_session_lead_to_the_login(browser: Any, site: Site) -> None:
    page = open_page(browser, f"{site.url}/login?next=/?live=1%26of=messages")
    log_in(page, "ada", PASSWORD)
    page.wait_for_selector(".summary:has-text('live')")
    page.route("**/api/histogram*", lambda route: route.abort())  # so that nothing else asks
    other = page.context.new_page()
    other.goto(f"{site.url}/account")
    other.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login?next=%2F%3Flive%3D1%26of%3Dmessages&was=session")
    page.get_by_text("Your session ended").wait_for()
    assert violations(page) == []
    page.context.close()


def test_who_was_let_in_before_there_were_accounts_is_told_so(browser: Any, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with Site(settings.data, tmp_path) as site:
        page = open_page(browser, f"{site.url}/status")
        page.get_by_text("No server runs on this lake").wait_for()
        expect(page.locator(".who")).to_have_text("open")
        accounts = Accounts(settings)
        accounts.users.add("ada", PASSWORD, "admin")
        accounts.close()
        page.wait_for_url("**/login?next=%2Fstatus&was=open")
        page.get_by_text("This server has accounts now").wait_for()
        log_in(page, "ada", PASSWORD)
        page.wait_for_url(f"{site.url}/status")
        page.goto(f"{site.url}/login?was=constructor")
        page.get_by_text("You are logged in as ada.").wait_for()
        page.get_by_role("navigation").wait_for()
        page.context.close()


def test_a_hash_of_yesterday_is_made_anew_at_login(browser: Any, site: Site, accounts: Accounts) -> None:
    log_in(page := open_page(browser, f"{site.url}/login"), "ada", PASSWORD)
    page.wait_for_url(f"{site.url}/")
    user = accounts.users.find("ada")
    assert user is not None
    assert "$m=65536,t=3,p=4$" in user.hash


@pytest.mark.parametrize(
    "where", ["//evil.example/x", "https://evil.example/x", "javascript:alert(1)", "/\\evil.example"]
)
def test_the_way_back_is_ours(browser: Any, site: Site, where: str) -> None:
    page = open_page(browser, f"{site.url}/login")
    page.goto(f"{site.url}/login?next={where}")
    log_in(page, "vic", OTHER)
    page.wait_for_url(lambda url: "/login" not in url)
    assert page.url.startswith(f"{site.url}/")


def test_tokens_and_password(browser: Any, site: Site, accounts: Accounts) -> None:
    accounts.users.add("eve", PASSWORD, "admin")
    page = open_page(browser, f"{site.url}/login?next=/account")
    log_in(page, "eve", PASSWORD)
    page.wait_for_url("**/account")
    page.get_by_label("What it is for").fill("<b>grafana</b>")
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator(".secret code").inner_text()
    token = accounts.tokens.find(secret)
    assert token is not None
    assert (token.user, token.role, token.name) == ("eve", "viewer", "<b>grafana</b>")
    expect(page.locator("#list td.name")).to_have_text("<b>grafana</b>")
    assert violations(page) == []
    page.reload()
    page.locator("#list td.name").wait_for()
    assert secret not in page.content(), "it is shown once"
    page.get_by_role("button", name="Revoke <b>grafana</b>").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text("No tokens.").wait_for()
    assert accounts.tokens.find(secret) is None
    page.get_by_label("Old password").fill(PASSWORD)
    page.get_by_label("New password").fill("a new and longer one")
    page.get_by_label("Once more").fill("a new and other one")
    page.get_by_role("button", name="Change it").click()
    page.get_by_text("The two new passwords are not the same.").wait_for()
    page.get_by_label("Once more").fill("a new and longer one")
    page.get_by_role("button", name="Change it").click()
    page.get_by_text("The password is changed.").wait_for()
    page.reload()
    page.get_by_role("heading", name="API tokens").wait_for()
    assert accounts.users.check("eve", "a new and longer one")
    assert page.faults == []


def test_a_form_that_cannot_be_sent_yet_is_not_shown(browser: Any, site: Site) -> None:
    """How many days a token is good for comes with the list of tokens."""
    page = open_page(browser, f"{site.url}/login")
    log_in(page, "vic", OTHER)
    page.wait_for_url(f"{site.url}/")
    held: list[Any] = []
    page.route("**/api/tokens", lambda route: held.append(route))
    page.goto(f"{site.url}/account")
    page.get_by_text("with a password").wait_for()
    expect(page.get_by_role("button", name="Make a token")).to_be_hidden()
    for route in held:
        route.continue_()
    expect(page.get_by_role("button", name="Make a token")).to_be_visible()
    expect(page.get_by_label("Days")).not_to_have_value("")


def test_a_viewer_makes_tokens_of_a_viewer(browser: Any, site: Site) -> None:
    page = open_page(browser, f"{site.url}/login?next=/account")
    log_in(page, "vic", OTHER)
    page.wait_for_url("**/account")
    page.get_by_role("heading", name="API tokens").wait_for()
    expect(page.get_by_label("Role").locator("option")).to_have_text(["viewer"])


@pytest.mark.parametrize(
    ("name", "dark", "phone"), [("light", False, False), ("dark", True, False), ("phone", False, True)]
)
def test_how_it_looks(
    browser: Any, site: Site, accounts: Accounts, tmp_path: Path, name: str, dark: bool, phone: bool
) -> None:
    """Nothing is wider than the screen; screenshots are kept where they are asked for."""
    folder = IMAGES if SCREENSHOTS else tmp_path
    folder.mkdir(exist_ok=True)
    page = open_page(browser, f"{site.url}/login?next=/account", dark=dark, phone=phone)
    page.get_by_label("User name").wait_for()
    keep(page, folder / f"login-{name}.png")
    assert violations(page) == []
    log_in(page, "ada", PASSWORD)
    page.get_by_role("heading", name="API tokens").wait_for()
    if not accounts.tokens.list("ada"):
        accounts.tokens.add("ada", "grafana", 90, "viewer")
        accounts.tokens.add("ada", "night shift's script", 7)
        page.reload()
    page.locator("#list td.name").first.wait_for()
    keep(page, folder / f"account-{name}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert violations(page) == []
    assert page.faults == []
