"""The page that describes the API: every route, requests to try, problems that can be linked to."""

import json
import re
from typing import Any

import pytest

from hepcat.web.openapi import KINDS
from tests.support import wait_for
from tests.web.support import Site, expect, open_page


@pytest.fixture
def page(browser: Any, search_site: Site) -> Any:
    opened = open_page(browser, f"{search_site.url}/api/docs")
    opened.wait_for_selector(".operation")
    yield opened
    assert opened.faults == []
    opened.context.close()


def body(page: Any, operation: str) -> Any:
    """Return the answer that is shown."""
    shown = page.locator(f"{operation} .result > pre")
    wait_for(lambda: shown.inner_text().endswith("}"), what="the answer")
    return json.loads(shown.inner_text())


def test_every_route_is_there(page: Any, search_site: Site) -> None:
    document = search_site.get("/api/openapi.json")
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    heads = page.locator(".operation > summary")
    shown = {
        " ".join((head.locator(".verb").inner_text(), head.locator(".path").inner_text()))
        for head in heads.all()
    }
    assert shown == routes
    expect(page.locator("#contents li[data-of]")).to_have_count(len(routes))


def test_a_request_is_tried(page: Any) -> None:
    page.click("#get-api-calls > summary")
    page.fill("#get-api-calls-q", "method:INVITE 'x")
    page.fill("#get-api-calls-q", "method:INVITE")
    page.fill("#get-api-calls-limit", "2")
    curl = page.locator("#get-api-calls .curl code").inner_text()
    assert curl.startswith("curl '")
    assert "/api/calls?q=method%3AINVITE&limit=2" in curl
    page.click("#get-api-calls button.primary")
    page.wait_for_selector("#get-api-calls .result .chip")
    expect(page.locator("#get-api-calls .result .chip")).to_have_text(re.compile(r"^200"))
    answer = body(page, "#get-api-calls")
    assert len(answer["calls"]) == 2
    page.click("#get-api-calls .result summary")
    expect(page.locator("#get-api-calls .result details pre")).to_contain_text(
        "content-type: application/json"
    )


def test_a_problem_is_shown_as_it_is(page: Any) -> None:
    page.click("#get-api-parse > summary")
    page.fill("#get-api-parse-q", "fro:x")
    page.click("#get-api-parse button.primary")
    page.wait_for_selector("#get-api-parse .result .chip.client")
    problem = body(page, "#get-api-parse")
    assert problem["type"] == "/api/docs#problem-query"
    # the browser itself says in its console that the answer was 400
    page.faults[:] = [fault for fault in page.faults if "400" not in fault]


def test_a_stream_is_shown_until_it_is_stopped(page: Any) -> None:
    page.click("#get-api-live > summary")
    page.click("#get-api-live button.primary")
    page.wait_for_selector("#get-api-live .result > pre")
    shown = page.locator("#get-api-live .result > pre")
    wait_for(lambda: shown.inner_text().startswith("retry:"), what="the stream's beginning")
    page.click("#get-api-live button:has-text('Stop')")
    page.wait_for_selector("#get-api-live button:has-text('Stop')[disabled]")


def test_what_changes_something_is_asked_twice(page: Any, search_site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.click("#post-api-reload > summary")
    page.click("#post-api-reload button.primary")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert "POST" not in asked


def test_the_type_of_each_problem_leads_somewhere(page: Any) -> None:
    for kind in KINDS:
        page.evaluate("(hash) => (location.hash = hash)", f"problem-{kind}")
        page.wait_for_selector(f"#problem-{kind}.wanted")
        assert page.locator(f"#problem-{kind} + dd").inner_text()


def test_the_filter(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("histo")
    wait_for(lambda: page.locator(".operation:visible").count() == 1, what="one route")
    expect(page.locator(".operation:visible .path")).to_have_text("/api/histogram")


def test_an_address_opens_its_route(browser: Any, search_site: Site) -> None:
    page = open_page(browser, f"{search_site.url}/api/docs#get-api-top", phone=True)
    page.wait_for_selector("#get-api-top[open] form")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.faults == []
    page.context.close()
