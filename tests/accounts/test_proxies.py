"""Whom a trusted proxy passed a request on for; what anybody else says of that counts for nothing."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hepcat.config.web import WebSettings
from hepcat.web.proxies import Proxies
from tests.accounts.support import OWN_PAGE, PASSWORD, Clock, accounts_of, page, settings_in

TWO = ("192.0.2.1", "10.0.0.0/8", "2001:db8::/64")


def of(*networks: str, public_url: str | None = None) -> Proxies:
    return Proxies.of(WebSettings.model_validate({"trusted_proxies": networks, "public_url": public_url}))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.9", ["203.0.113.1"], "198.51.100.9"),  # nobody's proxy
        ("127.0.0.1", ["203.0.113.1"], "127.0.0.1"),  # not named: only those named count
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.1"], "203.0.113.1"),
        ("192.0.2.1", ["6.6.6.6, 203.0.113.1"], "203.0.113.1"),  # what the client wrote itself
        ("192.0.2.1", ["6.6.6.6", "203.0.113.1"], "203.0.113.1"),
        ("192.0.2.1", ["10.9.9.9, 203.0.113.1, 10.1.2.3"], "203.0.113.1"),
        ("192.0.2.1", ["10.1.2.3"], "10.1.2.3"),  # a proxy's own request
        ("192.0.2.1", ["203.0.113.1, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.1,"], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.1:55000"], "203.0.113.1"),
        ("192.0.2.1", ["[2001:db8:1::7]:55000"], "2001:db8:1::7"),
        ("192.0.2.1", ["2001:db8:1::7"], "2001:db8:1::7"),
        ("::ffff:192.0.2.1", ["::ffff:203.0.113.1"], "203.0.113.1"),
        ("2001:db8::8", ["203.0.113.1"], "203.0.113.1"),
        ("2001:db8:0:1::8", ["203.0.113.1"], "2001:db8:0:1::8"),
        ("192.0.2.1", [", ".join(["6.6.6.6"] + ["10.0.0.1"] * 9000)], "10.0.0.1"),
        ("testclient", ["203.0.113.1"], "testclient"),
        ("", ["203.0.113.1"], ""),
    ],
)
def test_the_client(peer: str, forwarded: list[str], client: str) -> None:
    assert of(*TWO).client(peer, forwarded) == client


def test_without_the_setting() -> None:
    """With a public_url there is a proxy, and it is on this machine; else there is none."""
    for peer in ("127.0.0.1", "::1"):
        assert of(public_url="https://sip.example.org").client(peer, ["203.0.113.1"]) == "203.0.113.1"
        assert of().client(peer, ["203.0.113.1"]) == peer
    assert of(public_url="https://sip.example.org").client("10.0.0.1", ["203.0.113.1"]) == "10.0.0.1"


@pytest.mark.parametrize("wrong", ["proxy.example.org", "*", "10.0.0.1/8", "", "1.2.3"])
def test_a_setting_that_is_none(wrong: str) -> None:
    with pytest.raises(ValidationError, match="neither an IP address nor a network"):
        of(wrong)


@pytest.mark.parametrize(
    ("peer", "spoofed"), [("192.0.2.1", False), ("198.51.100.9", True)], ids=["trusted", "not trusted"]
)
def test_attempts_are_counted_by_client(tmp_path: Path, peer: str, spoofed: bool) -> None:
    """Who tries behind a trusted proxy holds up nobody else there; an address of one's own choice is no way
    around the limit.
    """
    settings = settings_in(tmp_path, '[web]\ntrusted_proxies = ["192.0.2.1"]\n')
    with page(settings, peer=peer) as client:
        accounts_of(client).users.add("ada", PASSWORD, "admin")
        accounts_of(client).throttle._clock = Clock()

        def attempt(user: str, forwarded: str) -> int:
            headers = {**OWN_PAGE, "X-Forwarded-For": forwarded}
            login = {"user": user, "password": "no"}
            return int(client.post("/api/session", json=login, headers=headers).status_code)

        own = [attempt(f"user{n}", "203.0.113.1") for n in range(6)]
        assert own == [401] * 5 + [429]
        assert attempt("other", "203.0.113.2") == (429 if spoofed else 401)
        assert attempt("other", "203.0.113.2, 203.0.113.1") == 429


def test_a_trusted_proxy_does_not_open_the_page(tmp_path: Path) -> None:
    """Without accounts nobody gets in through it: who is behind it may be anywhere."""
    settings = settings_in(tmp_path, '[web]\ntrusted_proxies = ["127.0.0.1"]\n')
    with page(settings) as client:
        answer = client.get("/api/calls", headers={"X-Forwarded-For": "127.0.0.1"})
        assert (answer.status_code, answer.json()["type"]) == (403, "/api/docs#problem-no-accounts")
