"""The modules of the search page, one by one, in a real browser."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hepcat.batch.schema import columns_of
from hepcat.search.calls import CALL_COLUMNS
from hepcat.search.parser import parse_query
from tests.web.search_pages import done, module, search_page
from tests.web.support import Site


def test_the_columns_are_those_of_the_server(modules: Any) -> None:
    for of, names in (
        ("calls", {column.name for column in CALL_COLUMNS}),
        ("messages", {column.name for column in columns_of("sip")} - {"payload", "extra"}),
    ):
        assert set(module(modules, "search/columns", f"m.all('{of}').map((one) => one.name)")) == names


def test_examples_are_queries(modules: Any, search_site: Site) -> None:
    examples = module(modules, "search/advice", "m.EXAMPLES.map((example) => example[0])")
    assert len(examples) >= 5
    for query in examples:
        parse_query(query)
        assert "calls" in search_site.get("/api/calls", q=query), query
    for query in module(modules, "search/buckets", "m.PARTS.map((part) => part.query)"):
        parse_query(query)


@pytest.mark.parametrize(
    ("text", "kind", "typed", "field"),
    [
        ("fr", "field", "fr", None),
        ("method:INVITE -fr", "field", "fr", None),
        ("(fr", "field", "fr", None),
        ("from:al", "value", "al", "from"),
        ("from:a,al", "value", "al", "from"),
        ("status:>=4", "value", "4", "status"),
        ("status!=4", "value", "4", "status"),
        ('from:"a b', "value", "a b", "from"),
        ("method:(INVITE OR BY", "value", "BY", "method"),
        ("(method:INVITE) fr", "field", "fr", None),
        ('"some words', "none", "", None),
        ("ua:~Aster.*", "none", "", None),
        ("from:al ", "field", "", None),
    ],
)
def test_completion_knows_where_the_caret_is(
    modules: Any, text: str, kind: str, typed: str, field: str | None
) -> None:
    found = module(modules, "search/complete", f"m.contextAt({json.dumps(text)}, {len(text)})")
    assert (found["kind"], found["typed"], found.get("field")) == (kind, typed, field)


@pytest.fixture(scope="module")
def modules(browser: Any, search_site: Site) -> Iterator[Any]:
    """Return a page whose modules are looked at one by one."""
    page = search_page(browser, search_site, "since=&zone=utc")
    yield page
    done(page)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("m.clock(1795435606912345, 6)", "12:06:46.912345"),
        ("m.stamp(1795435606912345)", "2026-11-23 12:06:46.912"),
        ("m.delta(132000)", "+0.132"),
        ("m.delta(62500000)", "+1:02.500"),
        ("m.delta(-3723000000)", "-1:02:03"),
        ("m.parseLength('1h30m')", 5_400_000_000),
        ("m.parseLength('soon')", None),
        ("m.parseTime('2026-11-23 12:06:46.9')", 1795435606900000),
        ("m.parseTime('12:00', 1795435606912345)", 1795435200000000),
        ("m.parseTime('15m', 1795435606912345)", 1795434706912345),
        ("m.parseTime('tomorrow')", None),
        ("m.parseTime('2026-13-01')", None),
        ("m.label({since: '15m', until: ''})", "last 15 min"),
        ("m.label({since: '7d', until: ''})", "last 7 days"),
        ("m.label({since: '', until: ''})", "all time"),
        ("m.label({since: '1795435200000000', until: '1795438800000000'})", "2026-11-23 12:00 – 13:00"),
        ("m.step({since: 100, until: 150}, -1)", {"since": "50", "until": "100"}),
        ("m.length(5400000000)", "1h30m"),
        ("m.isRelative({since: '1795435200000000', until: ''})", False),
    ],
)
def test_times(modules: Any, expression: str, value: object) -> None:
    assert module(modules, "time", expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("m.duration(0.00042)", "0.42 ms"),
        ("m.duration(0.132)", "132 ms"),
        ("m.duration(3.2)", "3.20 s"),
        ("m.duration(59.99)", "1:00"),
        ("m.duration(3723)", "1:02:03"),
        ("m.duration(null)", ""),
        ("m.number(1234567)", "1,234,567"),
        ("m.short(12345)", "12.3 k"),
        ("m.percent(0.5)", "50 %"),
        ("m.bytes(123456)", "123 kB"),
        ("m.outcome({status: 486, state: 'busy'}).class", "o-client"),
        ("m.outcome({status: 603, state: 'rejected'}).key", "client"),
        ("m.outcome({status: 503, state: 'failed'}).key", "server"),
        ("m.outcome({status: 401, state: 'trying'}).key", "running"),
        ("m.outcome({status: 487, state: 'cancelled'}).key", "ended"),
        ("m.outcome({status: null}).key", "running"),
    ],
)
def test_numbers_and_outcomes(modules: Any, expression: str, value: object) -> None:
    assert module(modules, "format", expression) == value


@pytest.mark.parametrize(
    "call",
    [
        "m.h('a', {href: 'javascript:alert(1)'})",
        "m.h('a', {href: ' jAvAscript:alert(1)'})",
        "m.h('div', {innerHTML: '<b>x</b>'})",
        "m.h('div', {onclick: 'alert(1)'})",
        "m.h('div', {style: 'color: red'})",
        "m.h('iframe', {srcdoc: 'x'})",
        "m.svg('a', {'xlink:href': 'data:text/html,x'})",
    ],
)
def test_elements_take_nothing_that_runs(modules: Any, call: str) -> None:
    told = module(
        modules, "dom", f"(() => {{ try {{ {call}; return 'made'; }} catch (e) {{ return e.name; }} }})()"
    )
    assert told == "TypeError"
    text = "<img src=x onerror=alert(1)>"
    assert module(modules, "dom", f"m.h('p', {{}}, {json.dumps(text)}).textContent") == text


def test_the_axis_has_whole_days_and_years_when_clocks_change(modules: Any) -> None:
    autumn = """(() => {
        const berlin = (us) => (us < 1761440400000000 ? 72e8 : 36e8); // 2025-10-26 01:00 UTC
        return m.ticks(1761256800000000, 1761606000000000, 14, berlin).at.map((us) => {
            return new Date((us + berlin(us)) / 1000).toISOString().slice(5, 16);
        });
    })()"""
    shown = module(modules, "search/buckets", autumn)
    assert {"10-26T00:00", "10-27T00:00"} <= set(shown)
    assert {one[-5:] for one in shown} <= {"00:00", "12:00"}
    decade = "m.ticks(1450000000000000, 1765000000000000, 4, () => 0)"
    assert module(modules, "search/buckets", f"{decade}.step >= m.YEAR")
    years = module(modules, "search/buckets", f"{decade}.at.map((us) => new Date(us / 1000).toISOString())")
    assert years == ["2020-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z"]


def test_a_moment_is_seen_between_times(modules: Any) -> None:
    one = "{start: [1795435606000000], width: 1000000, total: [3], request: [3]," + ",".join(
        f"'{n}xx': [0]" for n in range(1, 7)
    )
    data = module(modules, "search/buckets", f"m.barsOf({one}}}, {{since: null, until: null}}, 200)")
    assert data["to"] - data["from"] == 60_000_000
    assert data["from"] + 20_000_000 < data["bars"][0]["start"] < data["to"] - 20_000_000
    shown = module(modules, "search/buckets", f"m.ticks({data['from']}, {data['to']}, 9, () => 0).at.length")
    assert shown >= 3
    bounds = "{since: 1795435600000000, until: 1795435607000000}"
    data = module(modules, "search/buckets", f"m.barsOf({one}}}, {bounds}, 200)")
    assert (data["from"], data["to"]) == (1795435600000000, 1795435607000000), "what was asked for is shown"


@pytest.mark.parametrize(
    ("query", "noun"),
    [
        ("", "calls"),
        ("alice", "calls"),
        ("from:alice -to:bob", "calls"),
        ('from:alice "status:200"', "calls"),
        ("from:alice status:4xx", "parts of calls"),
        ("-method:OPTIONS", "parts of calls"),
        ("status>=400", "parts of calls"),
    ],
)
def test_what_a_histogram_of_calls_counts(modules: Any, query: str, noun: str) -> None:
    assert module(modules, "search/buckets", f"m.nounOf('calls', {json.dumps(query)})") == noun
    assert module(modules, "search/buckets", f"m.nounOf('messages', {json.dumps(query)})") == "messages"


def test_a_sparkline_fills_no_gaps(modules: Any) -> None:
    drawn = """(() => {
        const { node, show } = m.sparkline();
        show([1, 2, null, null, 2, null]);
        return [...node.children].map((path) => path.getAttribute("d").match(/M/g).length);
    })()"""
    assert module(modules, "dashboard/charts", drawn) == [2, 2], "a run of two, and a dash for the one alone"


def test_methods_keep_their_looks_whatever_their_rank(modules: Any) -> None:
    drawn = """(() => {
        const spec = m.CHARTS.find((one) => one.name === "methods");
        const looks = (methods) => {
            return Object.fromEntries(spec.of({ start: [0], methods }).map((one) => [one.word, one.key]));
        };
        return [looks({ INVITE: [9], REGISTER: [5], ACK: [4], "X-A": [3], "X-B": [2], BYE: [1], INFO: [1] }),
            looks({ INVITE: [1], REGISTER: [4], ACK: [5], "X-B": [3], "X-A": [2] })];
    })()"""
    before, after = module(modules, "dashboard/model", drawn)
    assert before["others"] == "rest"
    assert list(before)[:3] == list(after)[:3] == ["INVITE", "REGISTER", "ACK"]
    assert {word: look for word, look in before.items() if word != "others"} == after
    assert len(set(after.values())) == 5


def test_no_two_looks_are_alike(modules: Any) -> None:
    drawn = """(async () => {
        const { LOOKS } = await import('/static/js/dashboard/model.js');
        const one = (look) => ({ key: `c${look}`, look, word: `${look}`, values: [1] });
        const series = Array.from({ length: LOOKS }, (_, look) => one(look));
        const chart = new m.Chart({ title: "all", kind: "bars", format: String, id: "all" });
        chart.show({ since: 0, until: 1, start: [0], width: 1, series });
        const patterns = [...chart.legend.querySelectorAll("pattern")];
        return patterns.map((one) => one.getAttribute("patternTransform") + one.innerHTML);
    })()"""
    looks = module(modules, "dashboard/charts", f"await {drawn}")
    assert len(looks) == len(set(looks)) == 36


def test_live_rows_stand_where_their_time_has_them(modules: Any) -> None:
    merged = """(() => {
        const rows = new m.Rows({ of: "calls", params: {} });
        const call = (start, state = "trying") => ({ call_id: `c${start}`, start, state });
        rows.list.push(call(50), call(30), call(20));
        const places = rows.merge([call(40), call(60), call(30, "busy"), call(10)]);
        return [places, rows.list.map((row) => row.start), rows.list[3].state];
    })()"""
    # The one of 10 is on a page that is not here yet; the one of 30 is here and became busy.
    assert module(modules, "search/rows", merged) == [[0, 2], [60, 50, 40, 30, 20], "busy"]
