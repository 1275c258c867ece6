"""Errors: each kind is described, has one title, and says what to do; who mistypes an address gets a page."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from hepcat.web.headers import CONTENT_SECURITY_POLICY
from hepcat.web.openapi import KINDS
from tests.web.support import Site, expect, open_page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def ask(url: str, data: bytes | None = None, method: str = "", **headers: str) -> tuple[int, str, str, Any]:
    """Return status, type, text and headers of an answer that is an error."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, given, method=method or None)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=60)
    error = raised.value
    return error.code, error.headers["Content-Type"], error.read().decode(), error.headers


@pytest.mark.parametrize(
    ("path", "kind", "title"),
    [
        ("/api/calls?sort=shoe_size", "parameter", "Wrong parameter"),
        ("/api/messages?sort=shoe_size", "parameter", "Wrong parameter"),
        ("/api/calls?fields=shoe_size", "parameter", "Wrong parameter"),
        ("/api/calls?since=yore", "parameter", "Wrong parameter"),
        ("/api/calls?limit=many", "parameter", "Wrong parameter"),
        ("/api/top?by=shoe_size", "parameter", "Wrong parameter"),
        ("/api/values?field=shoe", "parameter", "Wrong parameter"),
        ("/api/calls?q=shoe:9", "query", "The query cannot be understood"),
        ("/api/nothere", "not-found", "Not found"),
        ("/nothere", "not-found", "Not found"),
        ("/static/nothere.js", "not-found", "Not found"),
    ],
)
def test_each_leads_to_its_description(search_site: Site, path: str, kind: str, title: str) -> None:
    status, media_type, text, _ = ask(search_site.url + path)
    problem = json.loads(text)
    assert media_type == "application/problem+json"
    assert (problem["type"], problem["title"]) == (f"/api/docs#problem-{kind}", title)
    assert kind in KINDS
    assert status == problem["status"] == (404 if kind == "not-found" else 400)
    assert problem["detail"] not in ("", "Not Found")


def test_a_wrong_method_leads_to_its_description(search_site: Site) -> None:
    status, _, text, headers = ask(f"{search_site.url}/api/calls", method="DELETE")
    assert (status, headers["Allow"]) == (405, "GET")
    assert json.loads(text)["type"] == "/api/docs#problem-method"


@pytest.mark.parametrize("said", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_does_not_say_what_it_is(search_site: Site, said: str | None) -> None:
    """`curl -d '{...}'` alone calls it a form."""
    headers = {} if said is None else {"Content_Type": said}
    status, _, text, _ = ask(f"{search_site.url}/api/capture", b'{"mode": "on"}', **headers)
    problem = json.loads(text)
    assert (status, problem["type"]) == (415, "/api/docs#problem-media-type")
    assert "Send Content-Type: application/json" in problem["hint"]


def test_a_body_that_says_so_and_is_wrong(search_site: Site) -> None:
    for body in (b"[]", b'{"mode": "maybe"}', b'"on"'):
        for said in ("application/json", "application/json; charset=utf-8", "application/x+json"):
            status, _, text, _ = ask(f"{search_site.url}/api/capture", body, Content_Type=said)
            assert (status, json.loads(text)["type"]) == (400, "/api/docs#problem-parameter")


def test_a_page_for_people_where_there_is_none(search_site: Site, browser: Any) -> None:
    status, media_type, text, headers = ask(f"{search_site.url}/nothere/at?all", Accept=BROWSER)
    assert (status, media_type) == (404, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "nothere" not in text, "nothing of the address is in it"
    for path in ("/api/nothere", "/static/nothere", "/auth/nothere"):
        assert ask(search_site.url + path, Accept=BROWSER)[1] == "application/problem+json"
    page = open_page(browser, f"{search_site.url}/nothere")
    try:
        expect(page.get_by_role("heading", name="No such page")).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Search").wait_for()
        page.get_by_role("main").get_by_role("link", name="Dashboard").click()
        page.wait_for_url("**/dashboard")
        assert [fault for fault in page.faults if "404" not in fault] == []
    finally:
        page.context.close()
