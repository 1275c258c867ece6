"""Where a query is wrong: the API counts in code points, JavaScript in UTF-16, and the mark stands right."""

import json
from typing import Any

from tests.web.search_pages import search_page
from tests.web.support import Site

#: What the mark's left edge is compared with: the same text, measured as the box sets it.
PLACES = """() => {
    const input = document.querySelector('[name=q]');
    const mark = document.querySelector('.mirror mark');
    const before = mark.previousSibling?.textContent ?? '';
    const style = getComputedStyle(input);
    const ruler = document.createElement('span');
    ruler.style.font = style.font;
    ruler.style.letterSpacing = style.letterSpacing;
    ruler.style.whiteSpace = 'pre';
    ruler.style.position = 'absolute';
    ruler.textContent = before;
    document.body.append(ruler);
    const width = ruler.getBoundingClientRect().width;
    ruler.remove();
    const left = input.getBoundingClientRect().left + parseFloat(style.paddingLeft) + 1 - input.scrollLeft;
    return { before, mark: mark.textContent, at: mark.getBoundingClientRect().left, wanted: left + width };
}"""


#: What stands before the fault, the fault, and what follows.
QUERIES = [
    ("from:😀 ", "frm", ":alice"),
    ('"👩‍👩‍👧 𝄞" AND ', "frm", ":alice"),
    ("from:é🇩🇪 ua:x ", "nosuch", ":1"),
    ("from:😀 AND ", ")", " to:😀"),
]


def test_the_mark_stands_behind_an_emoji(browser: Any, search_site: Site) -> None:
    page = search_page(browser, search_site)
    for before, wrong, after in QUERIES:
        query = before + wrong + after
        problem = search_site.get("/api/parse", q=query)
        assert (problem["query"], problem["position"]) == (query, len(before)), (
            "code points, as Python counts"
        )
        page.fill("[name=q]", query)
        page.wait_for_selector(".mirror mark")
        as_typed = page.evaluate(PLACES)
        page.press("[name=q]", "Enter")
        page.wait_for_selector(f".instead:has-text({json.dumps(problem['detail'])})")
        for seen in (as_typed, page.evaluate(PLACES)):
            assert (seen["before"], seen["mark"]) == (before, wrong)
            assert abs(seen["at"] - seen["wanted"]) < 2
    assert [fault for fault in page.faults if "400" not in fault] == []
    page.context.close()


def test_a_query_that_is_refused_is_asked_for_once(browser: Any, search_site: Site) -> None:
    """What is drawn for it has no rows; the table must not want more of them."""
    page = search_page(browser, search_site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/calls" in request.url else None)
    page.fill("[name=q]", "frm:alice")
    page.press("[name=q]", "Enter")
    page.wait_for_selector(".instead h2")
    page.wait_for_timeout(1000)
    assert len(asked) == 1
    page.context.close()
