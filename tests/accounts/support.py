"""What the tests of accounts share: settings, the application in this process, a clock that is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from starlette.testclient import TestClient

from hepcat.config.loader import load_settings
from hepcat.config.settings import Settings
from hepcat.web.accounts import Accounts
from hepcat.web.app import make_app
from hepcat.web.site import Site, SiteOptions

PASSWORD: Final = "correct horse battery"
OTHER: Final = "staple of another stable"
HERE: Final = "http://127.0.0.1:9080"
#: What a page of ours sends with each request.
OWN_PAGE: Final = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


class Clock:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def settings_in(folder: Path, text: str = "") -> Settings:
    """Return the settings of a configuration, with the lake in a folder."""
    file = folder / "hepcat.toml"
    file.write_text(f'data = "{folder / "data"}"\n{text}')
    (folder / "data").mkdir(exist_ok=True)
    return load_settings(file, environ={})


@contextmanager
def page(settings: Settings, peer: str = "127.0.0.1", base: str = HERE) -> Iterator[TestClient]:
    """Run the application in this process; gives who asks it."""
    site = Site(SiteOptions(settings))
    with TestClient(
        make_app(site),
        base_url=base,
        client=(peer, 50_000),
        follow_redirects=False,
        raise_server_exceptions=False,
    ) as client:
        yield client


def accounts_of(client: TestClient) -> Accounts:
    """Return the accounts of the application."""
    app: Any = client.app
    found: Accounts = app.state.site.accounts
    return found


def log_in(client: TestClient, user: str, password: str = PASSWORD) -> dict[str, Any]:
    """Log in as a page does; return the session as the API tells it."""
    answer = client.post("/api/session", json={"user": user, "password": password}, headers=OWN_PAGE)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shown(session: dict[str, Any]) -> dict[str, str]:
    """Return the headers that a page of ours sends with an unsafe request."""
    return {**OWN_PAGE, "X-CSRF-Token": session["csrf"]}


def tls(folder: Path, certificate: str = "localhost.pem", key: str = "localhost.key") -> str:
    """Return the settings of TLS with files of the fixture `certificates`."""
    return f'[web]\ncertificate = "{folder / certificate}"\nkey = "{folder / key}"\n'
